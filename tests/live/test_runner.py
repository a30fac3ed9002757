"""The live loop on a simulated venue: what reaches the venue, what comes back, and dying at any step."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import OrderFilled, QuoteEvent
from scalpdesk.core.intents import (
    Decision,
    LegOrders,
    Mark,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.reconciler import Viewed
from scalpdesk.live.recovery import rebuild
from scalpdesk.live.sessions import StopMode
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.simulation.orders import OrderRequest
from scalpdesk.strategies.contract import Proposal
from scalpdesk.venues.contract import VenueFill
from scalpdesk.venues.simulated import SimulatedGateway
from scalpdesk_deribit.wire import clock_of
from scalpdesk_testing.kit.broker import give
from scalpdesk_testing.kit.desk import DAY, Scripted, build_engine, run_tape
from scalpdesk_testing.kit.live import FAST, SHARE, BenchWatchdog, DyingCore, LiveBench, follower, until, walk
from tests.live.venue_views import venue_view

D = Decimal
TARGETS = (10, 25, 5, 40, 40, 12)


def bench_on(tmp_path, *, tape=None, strategy=None, **how):
    return LiveBench(tmp_path, tape or walk(), strategy or (lambda: follower(*TARGETS)), **how)


def test_live_run_decides_what_the_backtest_decides(tmp_path):
    bench = bench_on(tmp_path, mark_seconds=60.0)
    assert bench.live() is not None
    backtest = run_tape(walk(), follower(*TARGETS), latency_ms=5.0)

    def told(outputs):
        return [one for one in outputs if isinstance(one, Decision | SubmitOrder | Mark)]

    live = [one for _, outputs in JournalReader(bench.run_dir).steps() for one in told(outputs)]
    assert live == told(backtest.outputs)
    assert bench.differences() == []
    assert bench.engine.desk.positions.quantity(SHARE) == 12


def test_every_event_and_output_is_in_the_journal(tmp_path):
    bench = bench_on(tmp_path, mark_seconds=60.0)
    bench.live()
    reader = JournalReader(bench.run_dir)
    events = [event for step, _ in reader.steps() for event in step]
    assert sum(type(one) is QuoteEvent for one in events) == len(bench.tape.quotes)
    assert sum(type(one) is OrderFilled for one in events) == len(bench.orders)
    kinds = [type(one).__name__ for one in events if type(one) is not QuoteEvent]
    assert kinds[0] == "AccountSnapshot"
    assert kinds[1] == "SessionEvent"
    assert "TimerEvent" in kinds
    assert kinds[-1] == "SessionEvent"


def test_death_at_any_step_loses_nothing_and_doubles_nothing(tmp_path):
    tape = walk(3, per_minute=2)
    whole = bench_on(tmp_path / "whole", tape=tape)
    whole.live()
    wanted = whole.engine.desk.positions.quantity(SHARE)
    assert wanted == TARGETS[2]
    for step in range(1, whole.core.steps + 1):
        bench = bench_on(tmp_path / str(step), tape=tape)
        assert bench.live(dies_at=step) is None
        assert bench.live() is not None, step
        assert bench.differences() == [], step
        assert bench.engine.desk.positions.quantity(SHARE) == wanted, step
        journaled = {
            one.client_order_id
            for _, outputs in JournalReader(bench.run_dir).steps()
            for one in outputs
            if isinstance(one, SubmitOrder)
        }
        assert set(bench.venue.record.submitted) <= journaled, step
        assert all(not order.is_live for order in bench.engine.desk.orders.orders.values()), step


@pytest.mark.rows(
    ("wrote", "reads", "why"),
    [
        (lambda: follower(*TARGETS), lambda: follower(11), "quantity: 10 in the journal, 11 here"),
        (lambda: follower(*TARGETS), Scripted, "submit order: in the journal alone"),
        (Scripted, lambda: follower(*TARGETS), "submit order: here alone"),
    ],
)
def test_a_journal_is_not_gone_on_with_by_a_desk_that_decides_otherwise(tmp_path, wrote, reads, why):
    bench = bench_on(tmp_path, tape=walk(2), strategy=wrote)
    bench.live()
    bench.make_strategy = reads
    with pytest.raises(InvariantError, match="this build decides otherwise") as refused:
        bench.live()
    assert why in refused.value.where


@pytest.mark.parametrize("shortable", [None, (SHARE,)], ids=["as Deribit", "as Alpaca"])
def test_what_was_closed_while_the_desk_was_dead_is_not_closed_once_more(tmp_path, shortable):
    by_others = []

    class Shared(SimulatedGateway):
        async def snapshot(self, *, fills_since_ns=None):
            view = await super().snapshot(fills_since_ns=fills_since_ns)
            return msgspec.structs.replace(view, shortable=shortable, fills=(*view.fills, *by_others))

    class DiesBeforeTheExitLeaves(DyingCore):
        def note_outputs(self, outputs):
            commands = super().note_outputs(outputs)
            if any(order.side is Side.SELL for order in commands):
                self.dies_at = self.steps + 1
            return commands

    bench = bench_on(tmp_path, strategy=lambda: follower(10, 0, 0, 0), gateway_class=Shared)
    bench.core_class = DiesBeforeTheExitLeaves
    assert bench.live() is None
    bench.core_class = DyingCore
    assert bench.account.quantity(SHARE) == 10
    by_hand = SubmitOrder(
        "by-hand", SHARE, Side.SELL, D(10), OrderType.MARKET, None, TimeInForce.DAY, Purpose.CLOSE
    )
    cash = bench.account.cash
    bench.venue.record.connection.send(by_hand, bench.venue.now_ns)
    while bench.account.quantity(SHARE):
        bench.venue.step()
    price = (bench.account.cash - cash) / 10
    by_others.append(VenueFill("x2", "hand", "SPY", Side.SELL, D(10), None, price, bench.venue.now_ns))
    assert bench.live() is not None
    assert [(one.side, one.quantity) for one in bench.orders] == [(Side.BUY, 10)]
    assert bench.account.quantity(SHARE) == 0
    assert bench.differences() == []


def test_death_again_and_again(tmp_path):
    bench = bench_on(tmp_path)
    while bench.live(dies_at=13) is None:  # four steps of each life are the comparison of its account
        assert bench.lives < 200
    assert bench.lives > 5
    assert bench.differences() == []
    assert bench.engine.desk.positions.quantity(SHARE) == 12


def test_fill_that_was_never_told_is_asked_for_and_booked_once(tmp_path):
    bench = bench_on(tmp_path, options=replace(FAST, reconcile_seconds=0.0))

    async def cut_the_line(bench):
        await until(lambda: bench.venue.record.submitted)
        bench.gateway.cut = True
        await until(lambda: bench.account.holdings)
        await asyncio.sleep(0)
        bench.gateway.cut = False

    assert bench.live(meanwhile=cut_the_line) is not None
    assert bench.runner.state.counters["doubts_resolved"] >= 1
    assert bench.differences() == []
    assert bench.engine.desk.positions.quantity(SHARE) == 12


def test_the_watchdog_hears_of_each_order_before_and_after_and_its_end_is_said(tmp_path):
    watchdog = BenchWatchdog(most_beats=3)
    bench = bench_on(tmp_path, watchdog=watchdog)
    assert bench.live() is not None
    names = [order.client_order_id for order in bench.orders]
    assert len(names) == 5
    told = [event for name in names for event in (("reported", name, ""), ("ended", name))]
    assert watchdog.heard == ["started", *told]
    assert ("warning", "no watchdog runs: nothing cancels orders if this desk fails") in bench.said


def test_an_order_that_rests_has_not_ended_for_the_watchdog_until_the_close(tmp_path):
    resting, heard = lambda: follower(10, limit="400"), []
    bench = bench_on(tmp_path, strategy=resting, watchdog=BenchWatchdog(most_beats=3))

    async def listen(bench):
        await until(lambda: any(one.venue_order_id for one in bench.engine.desk.orders.live.values()))
        heard.extend(bench.watchdog.heard)

    bench.live(meanwhile=listen)
    name = bench.orders[0].client_order_id
    assert heard == ["started", ("reported", name, "")]
    assert bench.watchdog.heard[:3] == [*heard, ("ended", name)]


def test_the_watchdog_hears_of_each_leg_with_its_combo(tmp_path):
    legs = tuple(OrderIntent(leg, Side.BUY, D(1), Purpose.OPEN, "straddle") for leg in (1, 2))
    wanted = [Proposal(DecisionKind.ENTRY, ("straddle",), {}, legs, leg_orders=LegOrders.COMBO)]

    def think(view, _wake, _event):
        return (wanted.pop(),) if wanted and view.market.quotes[SHARE] else ()

    strategy = Scripted(think, [EveryQuote(SHARE)])
    bench = bench_on(tmp_path, strategy=lambda: strategy, watchdog=BenchWatchdog(most_beats=3))
    assert bench.live() is not None
    _, (_, call, parent), (_, put, other), *ended = bench.watchdog.heard
    assert parent == other != ""
    assert [order.client_order_id for order in bench.engine.desk.orders.orders.values()] == [call, put]
    assert sorted(ended) == sorted([("ended", call), ("ended", put)])


def test_what_a_fresh_run_finds_in_the_account_is_said(tmp_path):
    bench = bench_on(tmp_path)
    give(bench.account, 1, 2, 5)
    resting = OrderRequest("SPY", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, D(1), limit_price=D(400))
    bench.venue.record.connection.broker.submit(bench.account.name, resting)
    assert bench.live() is not None
    call = bench.tape.instruments[1].symbol
    unquoted = "valued at what was paid, neither hedged nor closed until it is quoted"
    assert bench.said[:3] == [
        ("info", f"taken over from the account: +2 {call}; a flatten closes all of it"),
        (
            "alarm",
            f"the venue has no quote of what the account holds: {call}: {unquoted}",
        ),
        ("alarm", "the account has open orders that this run did not send: SPY client-1"),
    ]


def test_halt_cancels_what_works_and_sends_no_more(tmp_path):
    bench = bench_on(tmp_path, strategy=lambda: follower(10, 20, 30, limit="400"))  # far below: it rests

    async def halt(bench):
        await until(lambda: bench.engine.desk.orders.live)
        said = await bench.runner.operate("halt", "enough", "me")
        bench.said.append(("halted", str(said)))

    assert bench.live(meanwhile=halt) is not None
    assert ("halted", str({"was": "ACTIVE", "mode": "HALTED", "cancels": 1})) in bench.said
    assert len(bench.orders) == 1
    (order,) = bench.engine.desk.orders.orders.values()
    assert order.state is OrderState.CANCELLED
    assert bench.engine.desk.gate.mode == "HALTED"


def test_flatten_ends_once_the_venue_shows_a_flat_account(tmp_path):
    bench = bench_on(tmp_path, options=replace(FAST, stop=StopMode.FLATTEN))

    async def stop(bench):
        await until(lambda: bench.engine.desk.positions.quantity(SHARE))
        bench.runner.stop(StopMode.FLATTEN, "me")

    runner = bench.live(meanwhile=stop)
    assert runner is not None
    assert runner.state.reason == "stopped: flat, and the venue shows it"
    assert not bench.account.quantity(SHARE)
    assert bench.differences() == []


def test_no_session_follows_the_last_where_the_market_never_closes(tmp_path):
    bench = bench_on(tmp_path, options=replace(FAST, sessions=1))
    assert bench.live() is not None
    calendar = bench.runner.calendar
    assert bench.engine.desk.view.session is None
    at_ns = bench.engine.now_ns
    view = venue_view(at_ns, clock=clock_of(at_ns // 1_000_000, coin_session(DAY).close_ns))
    calendar.plan(view.clock, view.ts_event_ns)
    assert calendar.due_ns == NEVER_NS
    calendar.is_at_end = False
    calendar.plan(view.clock, view.ts_event_ns)
    assert calendar.due_ns <= at_ns


def test_hold_keeps_positions_without_orders_and_leave_keeps_both(tmp_path):
    async def stop_with(bench, how):
        await until(lambda: bench.engine.desk.orders.live)
        await until(lambda: any(bench.venue.record.connection.working.values()))
        bench.runner.stop(StopMode(how))

    for how, left in (("hold", 0), ("leave", 1)):
        bench = bench_on(tmp_path / how, strategy=lambda: follower(10, limit="400"))
        assert bench.live(meanwhile=lambda bench, how=how: stop_with(bench, how)) is not None
        assert sum(map(len, bench.venue.record.connection.working.values())) == left, how


@pytest.mark.parametrize(("shares", "what"), [(7, "SPY"), (0, "cash")])
def test_unexplained_difference_stops_new_risk_and_shows_both_sides(tmp_path, shares, what):
    bench = bench_on(tmp_path, options=replace(FAST, reconcile_seconds=0.0))

    async def from_nowhere(bench):
        await until(lambda: bench.engine.desk.positions.quantity(SHARE))
        if shares:
            give(bench.account, SHARE, shares, 0)
        else:
            bench.account.cash += D("3.20")

    assert bench.live(meanwhile=from_nowhere) is not None
    assert bench.engine.desk.gate.mode == "REDUCING"
    alarms = [text for level, text in bench.said if level == "alarm"]
    assert len(alarms) == 1
    assert "desk" in alarms[0]
    assert "venue" in alarms[0]
    assert what in alarms[0]


def test_a_view_from_before_the_account_was_adopted_is_not_compared(tmp_path):
    bench = bench_on(tmp_path)

    async def late(bench):
        await until(lambda: bench.engine.desk.positions.quantity(SHARE) and bench.runner.queries.latest)
        view = bench.runner.queries.latest
        account = msgspec.structs.replace(view.account, cash=view.account.cash + 5)
        adopted_ns = bench.runner.reconciler.begins_ns
        earlier = msgspec.structs.replace(view, ts_event_ns=adopted_ns - 1, account=account)
        for _ in range(3):
            bench.runner.put(Viewed(earlier, adopted_ns))
        await asyncio.sleep(0)

    assert bench.live(meanwhile=late) is not None
    assert [text for level, text in bench.said if level == "alarm"] == []
    assert bench.engine.desk.gate.mode == "ACTIVE"
    assert bench.differences() == []


def test_word_about_a_foreign_order_goes_into_quarantine(tmp_path):
    bench = bench_on(tmp_path)

    async def foreign(bench):
        now_ns = bench.venue.now_ns
        bench.runner.put(OrderFilled("not-ours", now_ns, now_ns, "x9", D(5), D(500), D(0)))
        await asyncio.sleep(0)

    assert bench.live(meanwhile=foreign) is not None
    assert [one.why for one in bench.engine.desk.orders.unmatched] == ["the desk never sent this order"]
    assert bench.differences() == []
    reborn = build_engine(bench.make_strategy(), bench.tape.instruments, mark_seconds=bench.mark_seconds)
    rebuild(JournalReader(bench.run_dir), reborn)
    (known,) = reborn.desk.orders.unmatched
    assert (known.event.execution_id, known.why) == ("x9", "the desk never sent this order")


def test_a_timer_set_twice_fires_once_live_and_in_a_backtest(tmp_path):
    def think(view, wake, event):
        if wake is Wake.SESSION and view.now_ns == view.session.open_ns:
            due_ns = view.session.open_ns + 90 * 1_000_000_000
            return (SetTimer("again", due_ns), SetTimer("again", due_ns))
        return ()

    made = []

    def strategy():
        made.append(Scripted(think))
        return made[-1]

    assert bench_on(tmp_path, strategy=strategy).live() is not None
    run_tape(walk(), strategy())
    assert [one.wakes.count(Wake.TIMER) for one in made] == [1, 1]


def test_a_timer_set_before_the_death_fires_after_it(tmp_path):
    def think(view, wake, event):
        if wake is Wake.SESSION and view.now_ns == view.session.open_ns:
            return (SetTimer("later", view.session.open_ns + 33 * 60 * 1_000_000_000),)
        return ()

    made = []

    def strategy():
        made.append(Scripted(think))
        return made[-1]

    bench = bench_on(tmp_path, strategy=strategy)
    assert bench.live(dies_at=9) is None
    assert Wake.TIMER not in made[0].wakes
    assert bench.live() is not None
    assert made[1].wakes.count(Wake.TIMER) == 1


def test_full_disk_takes_orders_off_the_book_and_stops(tmp_path):
    from scalpdesk.core.errors import StopError

    bench = bench_on(tmp_path, strategy=lambda: follower(10, limit="400"))

    async def disk_full(bench):
        await until(lambda: any(bench.venue.record.connection.working.values()))

        def refuse(*_):
            raise StopError("the disk is full")

        bench.core.journal.add_event = refuse

    with pytest.raises(StopError, match="disk is full"):
        bench.live(meanwhile=disk_full)
    assert ("alarm", "the desk stops: the disk is full") in bench.said
    for _ in range(50):
        bench.venue.step()
    assert not any(bench.venue.record.connection.working.values())


def test_strategy_that_does_nothing_meets_open_and_close(tmp_path):
    bench = bench_on(tmp_path, strategy=Scripted)
    runner = bench.live()
    assert runner is not None
    assert runner.state.closes == 1
    assert runner.state.reason == "the venue's events ended"
