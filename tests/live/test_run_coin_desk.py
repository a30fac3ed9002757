"""``scalpdesk run gamma-scalper`` at the simulated Deribit: coin and dollars as in the exchange's ledger."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged, QuoteEvent
from scalpdesk.core.intents import MultiLegOrder, Purpose, SubmitOrder
from scalpdesk_testing.kit.live_session import (
    COIN_CASH,
    Played,
    Wanted,
    backtest,
    differing,
    known_market,
    ledger_differences,
    play,
    rows,
)

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]
SWAP, SATOSHI = "BTC-PERPETUAL", Decimal("1e-8")
PARAMS = Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml"
WANTED = Wanted(
    day=date(2025, 3, 5),
    venue="deribit",
    data="embedded-btc",
    cash=COIN_CASH,
    streams=2,
    underlyings=(SWAP,),
    config=PARAMS,
    overrides=(
        "entry.gate=off",
        "hedge.threshold_shares=0.02",  # hedges often
        "entry.not_before=03:01",
        "venue.forecast=false",
        "venue.requests_per_minute=1000000",  # its seconds are real
        "venue.reconcile_seconds=0.5",
        "venue.confirm_seconds=0.1",
    ),
)


def changes(played: Played, cause: ChangeCause) -> list[PositionChanged]:
    return [one for one in played.events if isinstance(one, PositionChanged) and one.cause is cause]


def cash_of(changes: Iterable[PositionChanged]) -> Decimal:
    return sum((one.cash_change for one in changes), Decimal(0))


def activities(played: Played) -> Counter[str]:
    return Counter(line["activity_type"] for line in played.truth["activities"])


def assert_ledger_is_the_exchanges(played: Played) -> None:
    """Fills and holdings equal; cash and net asset value to the satoshi."""
    assert [line for line in ledger_differences(played) if not line.startswith("cash")] == []
    assert abs(played.desk_cash() - played.truth_cash()) < SATOSHI / 2
    instruments = {item.symbol: item for item in played.header.instruments}
    paid = sum(
        instruments[symbol].cash_flow(quantity if side == "buy" else -quantity, price) - fee
        for _, _, symbol, side, quantity, price, fee, _ in played.truth_fills()
    )
    moved = [one for one in played.events if isinstance(one, PositionChanged)]
    assert abs(COIN_CASH + paid + sum(one.cash_change for one in moved) - played.truth_cash()) < SATOSHI
    worth = Decimal(played.truth["accounts"][0]["equity"])
    assert abs(played.engine.desk.attribution.current_nav() - worth) < SATOSHI
    assert played.summary["differences"] == []


def assert_summary_is_the_exchanges(played: Played) -> None:
    """The run reports the exchange's equity: in coin to the satoshi, in dollars to the cent."""
    worth = Decimal(played.truth["accounts"][0]["equity"])
    assert abs(COIN_CASH + Decimal(played.summary["nav_change"]) - worth) <= SATOSHI
    usd = {name: Decimal(text) for name, text in played.summary["usd"].items()}
    assert usd["trading"] + usd["currency"] == usd["nav_change"] == usd["nav_end"] - usd["nav_start"]
    spot = Decimal(str(played.engine.desk.market.quotes[0].mid))
    assert abs(usd["nav_end"] - worth * spot) <= Decimal("0.01")


def assert_decided_as_in_a_backtest(played: Played) -> None:
    """Decisions at the same instants for the same orders, the same fills; cash but for the fundings."""
    until_ns = max(one.ts_recv_ns for one in played.events if isinstance(one, QuoteEvent))
    alone = backtest(played, known_market(played), arrivals=played.arrivals())
    live = [row for row in rows(played.outputs, played.symbols, until_ns) if row.kind != "mode"]  # its stop
    tested = rows(alone.outputs, played.symbols, until_ns)
    assert differing(live, tested) == ([], [])
    filled = [(one.client_order_id, one.quantity, one.price) for one in alone.fills]
    assert filled == [(name, quantity, price) for _, name, _, _, quantity, price, _, _ in played.desk_fills()]
    # the backtest goes on to the end of the day and its fundings
    assert {one.cause for one in alone.changes} <= {ChangeCause.FUNDING}
    own = alone.engine.desk.account.cash - cash_of(alone.changes)
    assert abs(own - (played.desk_cash() - cash_of(changes(played, ChangeCause.FUNDING)))) < SATOSHI


@pytest.mark.second
def test_an_hour_of_trading(tmp_path):
    # on a slow machine the market would go on before the order has come
    played = play(tmp_path, replace(WANTED, minutes=63.0, lockstep_ms=20.0))
    assert_ledger_is_the_exchanges(played)
    assert {fill[2] for fill in played.truth_fills()} > {SWAP}
    assert len(played.truth_fills()) > 5
    assert_decided_as_in_a_backtest(played)


def test_straddles_as_combos(tmp_path):
    """Each straddle goes in as one order at the venue, and all is as in a backtest that sends combos too."""
    whole = (*WANTED.overrides, "entry.orders=combo")
    # two requests an order: on a slow machine the market would go on between them
    wanted = replace(WANTED, minutes=30.0, overrides=whole, lockstep_ms=40.0)
    played = play(tmp_path, wanted)
    assert_ledger_is_the_exchanges(played)
    sent = [one for one in played.outputs if isinstance(one, MultiLegOrder)]
    options = [fill for fill in played.truth_fills() if fill[2] != SWAP]
    assert sent
    assert len(options) == 2 * len(sent)
    assert not [one for one in played.outputs if isinstance(one, SubmitOrder) and one.purpose is Purpose.OPEN]
    assert_decided_as_in_a_backtest(played)


@pytest.mark.slow
def test_a_day_ends_with_a_look_at_its_last_funding(tmp_path):
    day = play(tmp_path, WANTED, patience_seconds=600.0)
    assert_ledger_is_the_exchanges(day)
    assert_summary_is_the_exchanges(day)
    assert day.desk_positions()[SWAP]
    assert len(changes(day, ChangeCause.FUNDING)) == activities(day)["INT"] > 3


@pytest.mark.slow
def test_a_week_of_nights_and_fundings(tmp_path):
    one_run = (*WANTED.overrides, "venue.roll=false")
    week = play(tmp_path, replace(WANTED, sessions=7, overrides=one_run), patience_seconds=1_800.0)
    assert_ledger_is_the_exchanges(week)
    assert_summary_is_the_exchanges(week)
    assert len(changes(week, ChangeCause.FUNDING)) == activities(week)["INT"] > 10
