"""A held leg that is quoted no more over two nights is marked with its expiry, not with its last quote."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Mark, Purpose, orders_of
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.engine.unquoted import on_model
from scalpdesk_testing.kit.scalp_days import KeptRun

pytestmark = pytest.mark.second

HELD = (
    *("entry.gate=off", "exits.edge_gone=false", "exits.stop_fraction=none", "exits.arm_fraction=none"),
    "entry.not_after=10:30",
)
SECOND_NS = 10**9


def run(tape):
    settings = load_settings("gamma-scalper", overrides=HELD)
    header, engine = build_backtest(settings, tape, run_id="t", mode="backtest", started_ns=0, seed=1)
    day = KeptRun(engine=engine)
    assemble_backtest(settings, tape, header, engine, day).runner.run()
    return day


@pytest.fixture(scope="module")
def days():
    """The run on every quote, and with one leg's until 12:30 of the first day."""
    tape = embedded.reconstruct_span(date(2018, 2, 2), date(2018, 2, 6))
    plain = run(tape)
    sent = (order for output in plain.outputs for order in orders_of(output))
    call = tape.instruments[min(order.instrument_id for order in sent if order.purpose is Purpose.OPEN)]
    quotes = tape.quotes.whole()
    near = [
        number
        for number, each in enumerate(tape.instruments)
        if not each.is_option or (each.expiry == call.expiry and abs(each.strike - call.strike) <= 8)
    ]
    lost = (quotes.instrument_id == tape.instruments.id_of(call.symbol)) & (
        quotes.ts_ns > tape.sessions[0].open_ns + 3 * 3_600 * SECOND_NS
    )
    return tape, plain, run(replace(tape, quotes=quotes.take(np.isin(quotes.instrument_id, near) & ~lost)))


def marks(day):
    return [one for one in day.outputs if isinstance(one, Mark)]


def nav_at(found, at_ns):
    return float(next(one.nav for one in reversed(found) if one.ts_ns <= at_ns))


def test_a_leg_without_quotes_moves_over_the_nights_with_its_expiry(days):
    """Volatility rises from 14 % to 29 % in these nights; by the leg's last quote 500 USD are missing."""
    tape, plain, lost = days
    for session in tape.sessions[1:]:
        for seconds in (90, 300, 3_600):
            at_ns = session.open_ns + seconds * SECOND_NS
            assert nav_at(marks(lost), at_ns) == pytest.approx(nav_at(marks(plain), at_ns), abs=80.0)


def test_its_first_mark_of_a_session_is_that_of_the_evening_before_moved_by_the_spot(days):
    tape, plain, lost = days
    open_ns = tape.sessions[2].open_ns
    first = next(one for one in marks(lost) if one.ts_ns >= open_ns)
    undisturbed = next(one for one in marks(plain) if one.ts_ns >= open_ns)
    assert first.implied_vol == pytest.approx(undisturbed.implied_vol, abs=0.02)
    # the first hedge waits for quotes: by then the plain day's own leg has moved, this one's surface not yet
    assert abs(float(first.nav - undisturbed.nav)) < 200.0


def test_its_parts_close_and_nothing_is_left_open(days):
    for day in days[1:]:
        total = sum(float(one.nav_change) for one in marks(day))
        parts = sum(float(amount) for one in marks(day) for amount in one.parts.values())
        assert parts == pytest.approx(total, abs=1e-6)


def test_the_account_states_how_much_of_it_stands_on_no_quote(days):
    tape, plain, lost = days
    assert on_model(plain.engine.desk, plain.engine.now_ns) is None
    found = on_model(lost.engine.desk, lost.engine.now_ns)
    (symbol,) = found.symbols
    position = lost.engine.desk.positions.positions[tape.instruments.id_of(symbol)]
    mark = lost.engine.desk.view.mark(position.instrument_id)
    assert float(found.worth) == pytest.approx(100 * float(position.quantity) * mark, abs=0.1)
    assert found.least < found.worth < found.most
    assert found.since_ns <= tape.sessions[0].open_ns + 3 * 3_600 * SECOND_NS
