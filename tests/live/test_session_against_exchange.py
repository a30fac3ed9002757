"""``scalpdesk run`` at ``scalpdesk exchange`` over sockets: its ledger is the exchange's, its decisions the backtest's."""

from decimal import Decimal

import pytest

from fakes.exchange import Bench
from fakes.instruments import DAY
from fakes.live_session import Played, Wanted, backtest, differing, known_market, play, rows
from fakes.tape import TapeBuilder
from scalpdesk.core.clock import ManualClock
from scalpdesk.core.events import QuoteEvent
from scalpdesk.exchange.driver import Pace
from scalpdesk.exchange.server import EVENING_NS, _end_of
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import session_on

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]
ENDED = {"filled", "canceled", "expired", "rejected"}


def ledger_differences(played: Played) -> list[str]:
    """Return where the desk's books are not the exchange's truth, in words."""
    found = []
    ours, theirs = played.desk_fills(), played.truth_fills()
    found += [f"only the desk has {fill}" for fill in ours if fill not in theirs]
    found += [f"only the exchange has {fill}" for fill in theirs if fill not in ours]
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} fills at the desk, {len(theirs)} at the exchange")
    if played.desk_positions() != played.truth_positions():
        found.append(f"holds {played.desk_positions()}, exchange {played.truth_positions()}")
    if played.engine.desk.account.cash != played.truth_cash():
        found.append(f"cash {played.engine.desk.account.cash}, exchange {played.truth_cash()}")
    states = played.truth_orders()
    orders = played.engine.desk.orders.orders
    if set(orders) != set(states):
        found.append(f"orders of one side only: {set(orders) ^ set(states)}")
    found += [
        f"{name} is {order.state} here, {states.get(name)} there"
        for name, order in orders.items()
        if order.is_live or states.get(name) not in ENDED
    ]
    return found


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Twenty minutes of 5 February 2018: entry and hedges."""
    pytest_socket = pytest.importorskip("pytest_socket")
    pytest_socket.enable_socket()
    played = play(tmp_path_factory.mktemp("morning"), Wanted(minutes=20.0))
    yield played
    pytest_socket.disable_socket(allow_unix_socket=True)


def test_ledger_is_the_exchanges_truth_fill_by_fill(morning, socket_enabled):
    assert ledger_differences(morning) == []
    assert len(morning.desk_fills()) > 5
    assert any(symbol != "SPY" for symbol in morning.desk_positions())
    assert morning.summary["differences"] == []
    assert Decimal(morning.summary["fees"] if "fees" in morning.summary else 0) == 0


def test_what_was_paid_is_what_the_fills_say(morning, socket_enabled):
    multiplier = {one.symbol: getattr(one, "multiplier", 1) for one in morning.header.instruments}
    paid = sum(
        (1 if side == "buy" else -1) * quantity * price * multiplier[symbol] + fee
        for _, _, symbol, side, quantity, price, fee, _ in morning.truth_fills()
    )
    assert morning.truth_cash() == Decimal(100_000) - paid


def test_decisions_are_the_backtests_on_the_same_quotes(morning, socket_enabled):
    tape = known_market(morning)
    alone = backtest(morning, tape)
    until_ns = max(one.ts_recv_ns for one in morning.events if isinstance(one, QuoteEvent))
    live = rows(morning.outputs, morning.symbols, until_ns)
    tested = rows(alone.outputs, morning.symbols, until_ns)
    only_live, only_tested = differing(live, tested)
    # an order that a busy machine brings late meets a later quote, and what follows may shift by a little
    assert [row.what for row in live[:1]] == [row.what for row in tested[:1]]
    assert len(only_live) + len(only_tested) <= len(tested) // 2, (only_live, only_tested)
    assert abs(len(live) - len(tested)) <= max(2, len(tested) // 10)


def test_desk_saw_every_quote_of_its_market(morning, socket_enabled):
    columns = known_market(morning).quotes
    shown = {
        (one.instrument_id, one.ts_event_ns, one.bid, one.ask)
        for one in morning.events
        if isinstance(one, QuoteEvent)
    }
    played = set(
        zip(
            columns.instrument_id.tolist(),
            columns.ts_ns.tolist(),
            columns.bid.tolist(),
            columns.ask.tolist(),
            strict=True,
        )
    )
    assert shown <= played
    assert {one for one in played - shown if one[1] < max(stamp for _, stamp, _, _ in shown)} == set()


@pytest.mark.slow
def test_whole_session(tmp_path, socket_enabled):
    played = play(tmp_path, Wanted(), patience_seconds=900.0)
    assert ledger_differences(played) == []
    assert played.summary["differences"] == []
    assert played.truth["clock"]["now_ns"] == session_on(DAY_PLAYED).close_ns + EVENING_NS
    tape = known_market(played)
    until_ns = session_on(DAY_PLAYED).close_ns
    live = rows(played.outputs, played.symbols, until_ns)
    tested = rows(backtest(played, tape).outputs, played.symbols, until_ns)
    only_live, only_tested = differing(live, tested)
    assert len(only_live) + len(only_tested) <= len(tested) // 10, (only_live, only_tested)


DAY_PLAYED = Wanted().day


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
