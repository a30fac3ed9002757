"""A reconstructed SPX 0DTE day at the simulated TWS, hedged with MES, beside the exchange and a backtest."""

from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Purpose
from scalpdesk.instruments.broker_terms import venue_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.deadlines import order_cutoff_ns
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk_testing.kit.desk import orders
from scalpdesk_testing.kit.live_session import (
    Played,
    Wanted,
    backtest,
    differing,
    ledger_differences,
    play,
    received_market,
    rows,
)
from scalpdesk_testing.kit.spx_day import NAME, import_spx_day

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
DAY, FUTURE = date(2018, 2, 9), "MES_201803"


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    folder = tmp_path_factory.mktemp("spx")
    import_spx_day(folder / "catalog", folder, DAY, FUTURE)
    wanted = Wanted(
        day=DAY,
        strategy="zero-dte",
        venue="ibkr",
        data=NAME,
        catalog=folder / "catalog",
        underlyings=("SPX", "MES"),
        streams=1,
        speed=60,
        cash=Decimal(1_000_000),
        overrides=(
            "underlying=SPX",
            "hedge.instrument=MES",
            "entry.mode=straddle",
            "venue.forecast=false",
            "rates.flat=0.0142",
        ),
    )
    return play(folder, wanted, patience_seconds=1_500.0)


def test_it_trades_a_straddle_of_the_day_and_hedges_with_the_future(played):
    traded = {fill[2] for fill in played.truth_fills()}
    options = {us_option(symbol) for symbol in traded - {FUTURE}}
    assert {option.expiry for option in options} == {DAY}
    assert len({option.strike for option in options}) == 1
    assert sum(one.purpose is Purpose.HEDGE for one in orders(played.outputs)) > 10


def test_ends_flat_with_the_exchanges_ledger(played):
    assert ledger_differences(played) == []
    assert played.truth_positions() == {}
    gained = played.desk_cash() - played.wanted.cash
    assert Decimal(played.summary["pnl"]["total"]) == gained.quantize(Decimal("0.01"))


def test_parts_with_the_basis_sum_to_the_change_of_cash(played):
    parts = {name: Decimal(amount) for name, amount in played.summary["pnl"].items()}
    assert parts.pop("total") == sum(parts.values())


def test_options_are_never_held_past_the_cut_off(played):
    options = [fill for fill in played.truth_fills() if fill[2] != FUTURE]
    cutoff_ns = order_cutoff_ns(us_option(options[0][2]), venue_cutoff("ibkr"))
    assert cutoff_ns == new_york_ns(DAY, time(15, 15))
    assert max(fill[-1] for fill in options) < cutoff_ns
    held = sum(fill[4] if fill[3] == "buy" else -fill[4] for fill in options)
    assert held == 0


def test_decisions_are_the_backtests_on_the_quotes_that_the_desk_received(played):
    tape, ends = received_market(played)
    alone = backtest(played, tape, arrivals=ends)
    last_ns = max(one.ts_recv_ns for one in played.events if isinstance(one, QuoteEvent))
    ours, theirs = (rows(said, played.symbols, last_ns) for said in (played.outputs, alone.outputs))
    assert len(theirs) > 100
    # at the venue the runner, too, sees to it that nothing is held past the cut-off: the desk flattens
    alone_live, alone_tested = differing(ours, theirs)
    assert ([row.kind for row in alone_live], alone_tested) == ([DecisionKind.MODE], [])
