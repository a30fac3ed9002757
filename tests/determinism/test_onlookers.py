"""Questions of pages, terminal and status change no later answer of a run."""

import io
from dataclasses import replace
from datetime import date
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from rich.console import Console

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest, run_backtest
from scalpdesk.cli.summary_view import LiveView
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.intents import Mark, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.monitor import documents, market, order_documents, position_documents
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.simulation.tape_reader import session_quotes

pytestmark = pytest.mark.second

DAY = date(2018, 2, 5)
MINUTES = 17
"""The forward's carry is measured again after fifteen."""
LATER_NS = 7 * NANOS_PER_SECOND
"""Call and put of a strike, which the embedded market quotes at one instant, are quoted so far apart."""
WRONG_YIELD = "rates.dividend_yields.SPY=0.06"
"""Configured borrow; quotes show none of it, so that each measurement of the forward moves the values."""
RUNS = {
    "gamma-scalper": ("entry.gate=off", "exits.edge_gone=false", WRONG_YIELD),
    "st0cka+gamma-scalper": ("gamma-scalper.entry.gate=off", WRONG_YIELD),
}


@pytest.fixture(scope="module")
def tape():
    """Twenty minutes of a day of the embedded market, its puts quoted after its calls."""
    whole = load_market(
        load_settings("gamma-scalper"), "embedded", underlying="SPY", start=DAY, end=DAY, seed=1
    )
    session = whole.sessions[0]
    short = replace(session, close_ns=session.open_ns + MINUTES * 60 * NANOS_PER_SECOND)
    rows = session_quotes(whole, short)
    is_put = np.array([each.is_option and not each.is_call for each in whole.instruments])
    later = replace(rows, ts_ns=rows.ts_ns + LATER_NS * is_put[rows.instrument_id])
    quotes = later.take(np.argsort(later.ts_ns, kind="stable")).until(short.close_ns)
    return replace(whole, sessions=(short,), quotes=quotes, loaded=None, load_again=None)


class Outputs(Journal):
    """Keeps what the engine gave."""

    def __init__(self):
        self.outputs = []

    def add_outputs(self, outputs):
        self.outputs += outputs


def outputs_of(tape, strategy, ask=None, *, every_quote=False):
    """Return the outputs of a run; ``ask`` is called with its engine between every two events."""
    made = load_settings(strategy, overrides=RUNS[strategy])
    header, engine = build_backtest(made, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    journal = Outputs()
    with pytest.MonkeyPatch.context() as patch:
        if ask is not None:
            handle = TradingEngine.handle

            def asked(self, event):
                found = handle(self, event)
                ask(self)
                return found

            patch.setattr(TradingEngine, "handle", asked)
        assemble_backtest(made, tape, header, engine, journal, every_quote=every_quote).runner.run()
    return journal.outputs


def first_difference(given, unasked):
    """Return the first outputs that differ, cut short; None where all are equal."""
    pairs = zip_longest(given, unasked)
    return next(((str(one)[:200], str(other)[:200]) for one, other in pairs if one != other), None)


def numbers_of(engine):
    return [InstrumentId(number) for number, each in enumerate(engine.desk.instruments) if each.is_option]


def ask_of_an_option(engine, number):
    """Ask all that a page asks about an option."""
    valuer, now_ns = engine.desk.delta_engine, engine.now_ns
    engine.desk.view.mark(number)
    state = valuer.state(number, now_ns)
    if state is not None:
        assert state.low <= state.high
        assert state.greeks.price >= 0.0
    valuer.greeks_at(number, now_ns, 0.2)
    valuer.smile(number, now_ns)
    valuer.skew(number, now_ns)
    valuer.knows_forward(number, now_ns)


def ask_of_the_desk(engine):
    """Ask all that the terminal and a status report ask."""
    desk = engine.desk
    desk.delta_engine.position_greeks(desk.positions.held(), engine.now_ns)
    desk.attribution.current_nav()
    desk.margin_distance()
    desk.is_near_loss_limit()
    by_strategy(desk)
    by_underlying(desk)


@pytest.mark.parametrize("strategy", RUNS)
def test_a_run_that_is_asked_between_every_two_events_is_the_run_that_is_not(tape, strategy):
    count = 0

    def ask(engine):
        nonlocal count
        count += 1
        numbers = numbers_of(engine)
        ask_of_the_desk(engine)
        ask_of_an_option(engine, numbers[7 * count % len(numbers)])

    unasked = outputs_of(tape, strategy)
    assert first_difference(outputs_of(tape, strategy, ask), unasked) is None
    assert count > 400
    assert {Mark, SubmitOrder} <= {type(output) for output in unasked}


@pytest.fixture(scope="module")
def unasked(tape):
    return outputs_of(tape, "gamma-scalper")


@budget(max_examples=8, deadline=None)
@given(asked=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 10_000)), min_size=1, max_size=60))
def test_it_does_not_matter_which_option_is_asked_about_when(tape, unasked, asked):
    count, due = 0, dict(asked)

    def ask(engine):
        nonlocal count
        count += 1
        if count in due:
            numbers = numbers_of(engine)
            ask_of_an_option(engine, numbers[due[count] % len(numbers)])
            ask_of_the_desk(engine)

    assert first_difference(outputs_of(tape, "gamma-scalper", ask), unasked) is None


PAGES = (
    documents.desk_page,
    documents.performance,
    market.picker_page,
    market.volatility_page,
    order_documents.orders_page,
    position_documents.contracts_document,
    position_documents.flatten_plan,
    position_documents.greeks_document,
    position_documents.position_page,
    position_documents.positions,
    position_documents.risk_level,
    position_documents.worst_case,
)


def test_a_desk_whose_pages_are_read_all_day_decides_as_the_run_that_it_follows(tape, unasked, tmp_path):
    made = load_settings("gamma-scalper", overrides=RUNS["gamma-scalper"])
    run = run_backtest(made, replace(tape), SystemClock(), seed=1, runs_dir=tmp_path)
    given, pages, count = [], 0, 0
    with pytest.MonkeyPatch.context() as patch:
        handle = TradingEngine.handle

        def kept(self, event):
            nonlocal pages, count
            found = handle(self, event)
            given.extend(found)
            count += 1
            if count % 120 == 0:
                PAGES[pages % len(PAGES)](follower)
                pages += 1
            return found

        patch.setattr(TradingEngine, "handle", kept)
        follower = RunFollower(run.run_dir)
        while follower.advance():
            pass
    assert not follower.problem
    assert pages > 5 * len(PAGES)
    assert first_difference(given, unasked) is None


def test_a_terminal_that_shows_the_run_changes_nothing(tape, unasked):
    shown = 0
    with LiveView("reconstructed", Console(file=io.StringIO())) as view:

        def ask(engine):
            nonlocal shown
            if engine.desk.view.session is not None:
                shown += 1
                if shown % 50 == 0:
                    view.draw(engine, "gamma-scalper", 0, None)

        assert first_difference(outputs_of(tape, "gamma-scalper", ask), unasked) is None
    assert shown > 400
