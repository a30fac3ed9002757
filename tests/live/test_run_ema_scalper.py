"""``scalpdesk run ema-scalper`` at the simulated Alpaca: the backtest's decisions, the exchange's ledger."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.core.events import BarEvent, ImpliedVolEvent, QuoteEvent, SessionBarsEvent
from scalpdesk.core.intents import OrderType, SubmitOrder
from scalpdesk.records.projection import project_journal
from scalpdesk.records.scalps import open_scalps, scalp_history
from scalpdesk.records.store import open_store
from scalpdesk_testing.kit.live_session import (
    Played,
    Wanted,
    backtest,
    differing,
    known_market,
    ledger_differences,
    play,
    rows,
)

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
DAY = date(2018, 2, 5)
WANTED = Wanted(
    day=DAY,
    strategy="ema-scalper",
    contracts=40,
    overrides=("min_volume_ratio=0", "rates.flat=0.0", "venue.forecast=false"),
)


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    """Return thirty-five minutes, in which one scalp is bought and sold."""
    return play(tmp_path_factory.mktemp("ema"), replace(WANTED, minutes=35.0), patience_seconds=600.0)


def market_with_bars(played: Played):
    """Return the exchange's market as the desk saw it, the shares' minutes among it."""
    tape, whole = known_market(played), played.wanted.market()
    bars = whole.bars.whole()
    last_ns = max(one.ts_event_ns for one in played.events if isinstance(one, BarEvent))
    mine = bars.take(bars.ts_ns <= last_ns)
    named = (whole.instruments[number].symbol for number in mine.instrument_id.tolist())
    numbers = np.array([played.symbols.index(symbol) for symbol in named], dtype=np.int32)
    return replace(tape, bars=replace(mine, instrument_id=numbers))


def assert_decided_alike(played: Played) -> None:
    """Every decision at the same instant, for the same orders at the same limits."""
    known = tuple(one for one in played.events if isinstance(one, SessionBarsEvent | ImpliedVolEvent))
    alone = backtest(played, market_with_bars(played), arrivals=played.arrivals(), known_at_open=known)
    until_ns = max(one.ts_recv_ns for one in played.events if isinstance(one, QuoteEvent))
    live, tested = (rows(each, played.symbols, until_ns) for each in (played.outputs, alone.outputs))
    assert differing(live, tested) == ([], [])
    assert live == tested
    if not played.desk_positions():  # what is held when the desk stops goes on to its expiry in the backtest
        assert alone.engine.desk.account.cash == played.desk_cash()


def assert_records_are_the_ledgers(played: Played, folder) -> None:
    """Each scalp on record has the contracts and the gain that the exchange's fills give it."""
    with open_store(f"sqlite:///{folder / 'desk.sqlite'}") as store:
        project_journal(played.run_dir, store)
        assert open_scalps(store) == []
        found = scalp_history(store, limit=1_000)
    fills = played.truth_fills()
    bought = sum(fill[4] for fill in fills if fill[3] == "buy")
    paid = sum((1 if fill[3] == "buy" else -1) * fill[4] * fill[5] * 100 + fill[6] for fill in fills)
    assert sum(row["contracts"] for row in found) == bought > 0
    assert sum(row["pnl"] for row in found) == pytest.approx(-float(paid))
    assert {row["broker"] for row in found} == {"alpaca"}


def test_its_ledger_is_the_exchanges_and_its_orders_are_limits(played):
    assert ledger_differences(played) == []
    sent = [one for one in played.outputs if isinstance(one, SubmitOrder)]
    assert sent
    assert {one.order_type for one in sent} == {OrderType.LIMIT}


def test_it_decides_what_the_backtest_decides(played):
    assert_decided_alike(played)


def test_its_records_are_the_journals_and_the_exchanges(played, tmp_path):
    assert_records_are_the_ledgers(played, tmp_path)


def test_a_whole_session(tmp_path):
    whole = play(tmp_path, WANTED, patience_seconds=1_500.0)
    assert ledger_differences(whole) == []
    assert whole.desk_positions() == {}
    assert_decided_alike(whole)
    assert_records_are_the_ledgers(whole, tmp_path)


def test_two_underlyings_trade_as_in_the_backtest(tmp_path):
    symbols = ("SPY", "QQQ")
    wanted = replace(
        WANTED,
        underlyings=symbols,
        contracts=80,
        minutes=40.0,
        overrides=(*WANTED.overrides, "underlying=SPY,QQQ", "require_macro_alignment=false"),
    )
    both = play(tmp_path, wanted, patience_seconds=900.0)
    assert ledger_differences(both) == []
    assert {fill[2][:3] for fill in both.truth_fills()} == set(symbols)
    assert_decided_alike(both)
    rows = both.summary["underlyings"]
    assert sum(Decimal(row["pnl"]["total"]) for row in rows.values()) == Decimal(both.summary["nav_change"])
    assert all(row["fills"] for row in rows.values())
