"""``scalpdesk run`` at ``scalpdesk exchange``: its ledger is the exchange's, its decisions the backtest's."""

from dataclasses import replace

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.exchange.market import Pace
from scalpdesk.exchange.server import EVENING_NS, _end_of
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import session_on
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import combos
from scalpdesk_testing.kit.exchange import Bench
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.live_session import (
    CASH,
    Played,
    Wanted,
    backtest,
    differing,
    known_market,
    ledger_differences,
    play,
    rows,
)
from scalpdesk_testing.kit.tape import TapeBuilder

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]
PLAYED = Wanted().day
EARLY = ("entry.not_before=09:31", "hedge.threshold_shares=2.0")


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Ten minutes of 5 February 2018: entry and hedges."""
    wanted = Wanted(minutes=10.0, contracts=12, as_users_start_it=True)
    return play(tmp_path_factory.mktemp("morning"), replace(wanted, overrides=(*wanted.overrides, *EARLY)))


def quotes_seen(played: Played) -> list[QuoteEvent]:
    return [one for one in played.events if isinstance(one, QuoteEvent)]


def test_ledger_is_the_exchanges_truth_fill_by_fill(morning):
    assert ledger_differences(morning) == [], "\n".join(ledger_differences(morning))
    assert len(morning.desk_fills()) > 5
    (straddle,) = combos(morning.outputs)  # what the venue takes as one order goes as one
    assert len(morning.desk_fills()) - len(straddle.legs) >= 4
    assert morning.truth_orders()[straddle.client_order_id] == "filled"
    assert len(morning.desk_positions()) == 3
    assert morning.summary["differences"] == []


def test_what_was_paid_is_what_the_fills_say(morning):
    multiplier = {one.symbol: getattr(one, "multiplier", 1) for one in morning.header.instruments}
    paid = sum(
        (1 if side == "buy" else -1) * quantity * price * multiplier[symbol] + fee
        for _, _, symbol, side, quantity, price, fee, _ in morning.truth_fills()
    )
    assert morning.desk_cash() == CASH - paid


def test_decisions_are_the_backtests_on_the_same_quotes_and_latency(morning):
    assert_decided_alike(morning)


def test_desk_saw_every_quote_of_its_market_after_the_first_instant(morning):
    columns = known_market(morning).quotes
    shown = {(one.instrument_id, one.ts_event_ns, one.bid, one.ask) for one in quotes_seen(morning)}
    last_ns = max(stamp for _, stamp, _, _ in shown)
    played = zip(
        columns.instrument_id.tolist(),
        columns.ts_ns.tolist(),
        columns.bid.tolist(),
        columns.ask.tolist(),
        strict=True,
    )
    # the first instant is played before anybody can listen, the last one may be cut by the stop
    assert {one for one in played if session_on(PLAYED).open_ns < one[1] < last_ns} == {
        one for one in shown if one[1] < last_ns
    }


def assert_decided_alike(played: Played) -> None:
    """Every decision at the same instant for the same orders, every fill at the same price."""
    until_ns = max(one.ts_recv_ns for one in quotes_seen(played))
    alone = backtest(played, known_market(played), arrivals=played.arrivals())
    live = rows(played.outputs, played.symbols, until_ns)
    tested = rows(alone.outputs, played.symbols, until_ns)
    assert differing(live, tested) == ([], [])
    assert live == tested
    assert alone.engine.desk.account.cash == played.desk_cash()
    filled = [(one.client_order_id, one.quantity, one.price) for one in alone.fills]
    assert filled == [(name, quantity, price) for _, name, _, _, quantity, price, _, _ in played.desk_fills()]


@pytest.mark.slow
def test_whole_session(tmp_path):
    played = play(tmp_path, Wanted(), patience_seconds=1_200.0)
    assert ledger_differences(played) == []
    assert played.summary["differences"] == []
    close_ns = session_on(PLAYED).close_ns
    assert close_ns < played.truth["clock"]["now_ns"] <= close_ns + EVENING_NS
    assert len(played.desk_fills()) > 100
    assert_decided_alike(played)


def test_market_as_fast_as_can_be_stands_still_in_the_evening():
    builder = TapeBuilder().spot("09:31", 500.0).spot("15:59", 501.0)
    bench = Bench(TapeSource(builder.build()))
    bench.advance(120)
    bench.order()
    option = next(one.symbol for one in builder.book if isinstance(one, OptionContract))
    bench.order(symbol=option)
    world, pace = bench.world, Pace(ManualClock(0), 0, 0, float("inf"))
    while (end_ns := _end_of(world, pace)) > world.now_ns:
        world.advance_to(end_ns)
    assert world.next_ns > world.now_ns + EVENING_NS  # the contract held still has its expiry before it
    assert session_on(DAY).close_ns < world.now_ns <= session_on(DAY).close_ns + EVENING_NS
    assert {one["symbol"] for one in bench.get("/v2/positions")} == {"SPY", option}
