"""The live runner: consequences of a notice, a close, a view of the account, a command and the time."""

import asyncio
from dataclasses import replace as replaced
from decimal import Decimal
from functools import partial
from itertools import pairwise

import msgspec
import pytest

from scalpdesk.core.enums import (
    ChangeCause,
    DecisionKind,
    Mode,
    OperatorAction,
    OperatorCause,
    SessionPhase,
)
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    AccountSnapshot,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    PositionChanged,
    QuoteEvent,
    RateEvent,
    SessionEvent,
    TimerEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    LegOrders,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    SubmitOrder,
)
from scalpdesk.core.units import DAY_NS, NANOS_PER_MS, NANOS_PER_SECOND
from scalpdesk.engine.timers import Timers
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.sessions import coin_session, session_on
from scalpdesk.live.recovery import Start
from scalpdesk.live.sessions import MORNING_NS, ROLLED, RunEnd, StopMode, deadline_ns
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import buy, wanting
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.live import OPTIONS, SLEEPY, RunnerBench

D = Decimal
OPEN, CLOSE = 0.0, 23_400.0
"""Seconds from the open of the session."""


def resting(quantity=10, number=0):
    """Return a strategy that bids far below the market once."""
    kind, price = OrderType.LIMIT, D("1.00")
    return wanting(OrderIntent(number, Side.BUY, D(quantity), Purpose.OPEN, "rest", kind, price))


# notices -------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("kind", "stream", "looks", "is_warned"),
    [
        ("connected", "orders", 1, False),
        ("connected", "quotes", 0, False),
        ("gap", "orders", 1, True),
        ("gap", "quotes", 1, True),
        ("disconnected", "orders", 0, True),
        ("limited", "requests", 0, True),
        ("refused", "orders", 0, True),
        ("refused", "quotes", 0, False),
    ],
)
def test_a_notice_leads_to_a_look_where_something_may_have_been_missed(kind, stream, looks, is_warned):
    bench = RunnerBench()

    async def play():
        await bench.wait()
        before = len(bench.gateway.looks)
        bench.gateway.notice(kind, stream)
        await bench.wait()
        since = [since_ns for _, since_ns in bench.gateway.looks[before:]]
        assert since == [bench.started_ns - NANOS_PER_MS] * looks  # what was before is the account's past

    bench.play(play)
    assert bench.runner.state.counters == {f"{kind}/{stream}/lost": 1}
    assert len(bench.notified("warning")) == is_warned


@pytest.mark.parametrize("kind", ["connected", "gap"])
def test_after_events_may_have_been_missed_nothing_is_sent_until_the_account_is_compared(kind):
    bench = RunnerBench(resting(), options=replaced(OPTIONS, confirm_seconds=2.0))
    bench.gateway.notice("connected")  # the one that the run begins with
    bench.gateway.answer_seconds = 1.0

    async def play():
        await bench.wait(6.0)  # two looks at the start
        bench.gateway.notice(kind)
        bench.gateway.holdings[0] = D(7)  # sold by the broker's own hand, nothing explains it
        bench.gateway.quote(499.99, 500.01)
        await bench.wait(3.5)  # one look has come
        assert bench.gateway.sent == []
        assert [event.is_compared for event in bench.fed(AccountComparison)] == [False]
        await bench.wait(3.5)  # the second one, which is acted on
        assert [event.is_compared for event in bench.fed(AccountComparison)] == [False, True]

    bench.play(play)
    assert bench.engine.desk.gate.mode is Mode.REDUCING


def test_an_overdue_comparison_has_come_only_once_what_it_shows_is_acted_on():
    bench = RunnerBench(options=replaced(OPTIONS, confirm_seconds=2.0, reconcile_seconds=5.0))
    modes = []

    async def play():
        await bench.wait(3.0)
        bench.gateway.shows = False
        await bench.wait(20.0)
        modes.append(bench.engine.desk.gate.mode)
        bench.gateway.holdings[0] = D(7)  # while the venue showed no account
        bench.gateway.cash -= 3_500
        looks, bench.gateway.shows = len(bench.gateway.looks), True
        while len(bench.gateway.looks) == looks:
            await bench.wait(0.1)
        await bench.wait(1.5)  # one look has come, and differs
        assert len(bench.gateway.looks) == looks + 1
        modes.append(bench.engine.desk.gate.mode)
        modes.append(bench.fed(AccountComparison)[-1].overdue == "")
        await bench.wait(3.0)  # the second one agrees
        modes.append(bench.fed(AccountComparison)[-1].overdue == "")

    bench.play(play)
    assert modes == [Mode.REDUCING, Mode.REDUCING, False, True]
    assert bench.engine.desk.gate.mode is Mode.REDUCING  # for a person: nothing explains it


@pytest.mark.parametrize("held", ["less", "none", "more"])
def test_a_flatten_beside_units_that_nothing_explains_closes_what_venue_and_books_hold(held):
    shown = {"less": D(4), "none": D(0), "more": D(12)}[held]
    bench = RunnerBench()
    bench.gateway.holdings[0] = D(10)
    bench.gateway.notice("connected")

    async def play():
        await bench.wait(2.0)
        bench.gateway.quote(499.99, 500.01)
        await bench.wait(1.0)
        bench.gateway.holdings[0] = shown  # a part was taken back, or more came, without a word
        bench.gateway.notice("gap")
        await bench.wait(4.0)
        assert bench.engine.desk.positions.quantity(0) == D(10)
        assert bench.engine.desk.gate.mode is Mode.REDUCING
        before = len(bench.gateway.sent)
        await bench.runner.operate("flatten", "enough", "me")
        for _ in range(15):
            bench.gateway.quote(499.99, 500.01)
            await bench.wait(1.0)
        exits = [each for each in bench.gateway.sent[before:] if type(each) is SubmitOrder]
        wanted = min(shown, D(10))  # nobody sells what no book knows
        assert {(each.side, each.quantity) for each in exits} == ({(Side.SELL, wanted)} if shown else set())

    bench.play(play)


def test_a_comparison_that_is_overdue_takes_nothing_back_of_what_a_list_has_shown():
    bench = RunnerBench(options=replaced(OPTIONS, confirm_seconds=2.0, reconcile_seconds=5.0))
    bench.gateway.holdings[0] = D(10)
    bench.gateway.notice("connected")

    async def play():
        await bench.wait(2.0)
        bench.gateway.quote(499.99, 500.01)
        await bench.wait(1.0)
        bench.gateway.holdings[0] = D(4)
        bench.gateway.notice("gap")
        await bench.wait(6.0)
        await bench.runner.operate("flatten", "enough", "me")
        for _ in range(8):
            bench.gateway.quote(499.99, 500.01)
            await bench.wait(1.0)
        bench.gateway.holdings[0] = D(0)
        bench.gateway.shows = False
        for _ in range(25):
            bench.gateway.quote(499.99, 500.01)
            await bench.wait(1.0)
        assert any(each.overdue for each in bench.fed(AccountComparison))
        exits = [each for each in bench.gateway.sent if type(each) is SubmitOrder]
        assert {(each.side, each.quantity) for each in exits} == {(Side.SELL, D(4))}

    bench.play(play)


def test_a_look_from_before_the_connection_came_back_does_not_count():
    bench = RunnerBench()
    bench.gateway.notice("connected")

    async def play():
        await bench.wait(3.0)
        bench.gateway.answer_seconds = 1.0
        bench.gateway.notice("gap", "quotes")  # a look begins
        await bench.wait(0.5)
        bench.gateway.notice("connected")
        await bench.wait(0.7)  # its answer has come
        assert not bench.engine.desk.gate.is_compared
        await bench.wait(2.0)
        assert bench.engine.desk.gate.is_compared

    bench.play(play)


@pytest.mark.parametrize("times", [1, 2])
def test_the_connection_that_a_run_begins_with_leads_to_no_second_look(times):
    bench = RunnerBench()
    bench.gateway.answer_seconds = 0.1
    for _ in range(times):
        bench.gateway.notice("connected")
    bench.play(bench.wait)
    assert len(bench.gateway.looks) == 1 + times  # a start takes two of its own


@pytest.mark.rows(
    "old",
    [
        ("positions",),  # a liquidation between the two questions of a look
        ("cash",),
        ("positions", "cash"),  # two looks, each torn in its own way
    ],
)
def test_a_start_takes_over_only_what_two_looks_agree_on(old):
    bench = RunnerBench()
    bench.gateway.holdings[1], bench.gateway.cash = D(2), D(1_000)
    torn = [(part,) for part in old]

    def shown(view):
        """Return a view of after the sale, with what of it is from before."""
        truth = msgspec.structs.replace(view.account, cash=D(1_826))
        now = msgspec.structs.replace(view, account=truth, positions=())
        for part in torn.pop(0) if torn else ():
            before = {"positions": {"positions": view.positions}, "cash": {"account": view.account}}
            now = msgspec.structs.replace(now, **before[part])
        return now

    bench.gateway.compared = shown
    bench.gateway.quote(4.0, 4.2, number=1)
    bench.play(partial(bench.wait, 6.0))
    (adopted,) = bench.fed(AccountSnapshot)
    assert (adopted.cash, adopted.positions) == (D(1_826), ())
    assert bench.runner.reconciler.unexplained == ()
    assert bench.engine.desk.gate.mode is Mode.ACTIVE


def test_a_start_waits_for_no_cash_that_moves_by_the_second():
    bench = RunnerBench()
    bench.gateway.holdings[0] = D(3)
    bench.gateway.compared = lambda view: msgspec.structs.replace(
        view, account=msgspec.structs.replace(view.account, cash=D(len(bench.gateway.looks)))
    )
    bench.play(partial(bench.wait, 6.0))
    (adopted,) = bench.fed(AccountSnapshot)
    assert [held.quantity for held in adopted.positions] == [3]


def test_the_latest_fifty_notices_are_kept():
    bench = RunnerBench()
    for number in range(51):
        bench.gateway.notice("refused", name=str(number))
    bench.play(bench.wait)
    assert [item.name for item in bench.runner.state.notices] == [str(number) for number in range(1, 51)]


def test_the_end_of_the_session_by_the_venue_halts_the_desk_once_and_cancels_before_the_alarm():
    bench = RunnerBench(resting())

    async def play():
        order = await bench.order()
        for _ in range(2):
            bench.gateway.notice("dead", name="keys")
        await bench.wait()
        assert bench.gateway.log[-2:] == [CancelOrder(order.client_order_id), "alarm"]

    bench.play(play)
    ((action, cause),) = [(event.action, event.cause) for event in bench.fed(OperatorEvent)]
    assert (action, cause) == (OperatorAction.HALT, OperatorCause.VENUE)
    assert bench.engine.desk.gate.mode is Mode.HALTED


def test_a_failed_event_stream_counts_as_a_lost_order_stream():
    bench = RunnerBench()

    async def play():
        await bench.wait()
        before = len(bench.gateway.looks)
        bench.gateway.stream_failures.append(ValueError("broken"))
        bench.gateway.notice("refused")
        await bench.wait()
        assert len(bench.gateway.looks) == before + 1
        bench.gateway.quote(501.0, 501.1)
        await bench.wait()
        assert bench.engine.desk.market.mark(0) == 501.05

    bench.play(play)
    _, *seen = [(item.kind, item.stream, item.name) for item in bench.runner.state.notices]
    assert seen == [(kind, "orders", "internal_fault") for kind in ("disconnected", "gap")]


# the last session ----------------------------------------------------------------------------------------


def near_the_close(**how):
    changed = replaced(OPTIONS, **how.pop("options", {}))
    return RunnerBench(at=CLOSE - 10.0, options=changed, **how)


@pytest.mark.parametrize(
    ("book", "ends"),
    [
        (Instruments([perpetual("BTC"), deribit_option("BTC-4MAR24-90000-C")]), 30.5),
        (Instruments([perpetual("BTC"), deribit_option("BTC-6MAR24-90000-C")]), 10.5),
        (straddle_book(expiry=DAY), 10.5),
    ],
    ids=["of a coin", "of a coin, later", "of shares"],
)
def test_after_the_last_session_the_end_waits_for_the_cash_of_an_expired_coin_option_alone(book, ends):
    bench = RunnerBench(book=book, at=CLOSE - 10.0, options=replaced(OPTIONS, sessions=1))
    bench.gateway.holdings[1] = D(1)

    async def delivered():
        await bench.wait(30.0)
        at_ns = bench.gateway.now_ns
        expiry = PositionChanged(1, at_ns, at_ns, ChangeCause.EXPIRED_WORTHLESS, D(-1), D(0), D(0), "r")
        bench.gateway.holdings.clear()
        bench.gateway.put(expiry)
        await bench.wait(1e5)

    assert bench.play(delivered) == "stopped: leave"
    assert bench.loop.time() == pytest.approx(ends, abs=0.8)


@pytest.mark.parametrize("sessions", [None, 2])
def test_a_close_is_followed_by_a_look_and_the_run_goes_on(sessions):
    bench = near_the_close(options={"sessions": sessions})
    bench.play(partial(bench.wait, 60.0))
    assert [at for at, _ in bench.gateway.looks if at > 9.0] == [pytest.approx(10.0, abs=0.6)]
    assert bench.runner.state.closes == 1
    assert bench.loop.time() == pytest.approx(60.0, abs=1.0)


@pytest.mark.rows(("answer_seconds", "ends"), [(0.0, 10.5), (3.0, 13.5), (40.0, 40.5)])
def test_the_run_ends_with_the_first_equal_look_that_began_after_the_last_close(answer_seconds, ends):
    bench = near_the_close(options={"sessions": 1})
    bench.gateway.answer_seconds = 0.0

    async def slow():
        await bench.wait(5.0)
        bench.gateway.answer_seconds = answer_seconds
        await bench.wait(1e5)

    assert bench.play(slow) == "stopped: leave"
    assert bench.loop.time() == pytest.approx(ends, abs=0.6)
    assert bench.runner.state.end is RunEnd.STOPPED


def test_a_look_from_before_the_last_close_does_not_end_the_run():
    bench = near_the_close(options={"sessions": 1})

    async def looks():
        await bench.wait(8.0)
        bench.gateway.answer_seconds = 4.0
        bench.gateway.notice("gap")  # asked for at 8 s, answered at 12 s
        await bench.wait(1e5)

    bench.play(looks)
    assert bench.loop.time() == pytest.approx(16.0, abs=0.6)


def test_the_end_waits_half_a_minute_for_a_venue_that_shows_no_account():
    bench = near_the_close(options={"sessions": 1})

    async def mute():
        await bench.wait(5.0)
        bench.gateway.shows = False
        await bench.wait(1e5)

    bench.play(mute)
    assert bench.loop.time() == pytest.approx(40.5, abs=0.6)


def around_the_clock(**how):
    """Return a bench whose next session begins with the close of the last one."""
    session = coin_session(DAY)
    at = (session.close_ns - session_on(DAY).open_ns) / NANOS_PER_SECOND - 10.0
    bench = RunnerBench(at=at, options=replaced(OPTIONS, **how.pop("options")), **how)
    bench.gateway.bounds = (session.open_ns, session.close_ns)
    return bench


@pytest.mark.parametrize("stop", [StopMode.FLATTEN, StopMode.HOLD])
def test_a_flatten_after_the_last_session_waits_for_the_next(stop):
    bench = around_the_clock(options={"sessions": 1, "stop": stop})
    bench.gateway.holdings[0] = D(5)
    bench.gateway.quote(499.0, 501.0)

    async def play():
        bench.gateway.answer_seconds = 1.5
        await bench.wait(11.0)
        if stop is StopMode.HOLD:  # an operator asks between the close and the last look
            await bench.runner.operate("flatten", "enough", "me")
        await bench.wait(1.0)
        bench.gateway.quote(499.0, 501.0)
        await bench.wait(20.0)  # the strategy does not close it: the desk does, after its grace
        (order,) = bench.gateway.sent
        assert (order.side, order.quantity) == (Side.SELL, 5)
        bench.gateway.fill(order, "499.00")
        await bench.wait(1e5)

    bench.play(play)
    phases = [event.phase for event in bench.fed(SessionEvent)]
    assert phases == [SessionPhase.OPEN, SessionPhase.CLOSE, SessionPhase.OPEN]
    assert (bench.runner.state.end, bench.gateway.holdings) == (RunEnd.STOPPED, {0: D(0)})


def test_no_daily_update_follows_the_last_session():
    updates = []

    async def update():
        updates.append(bench.loop.time())
        return (RateEvent(1, 1, (1.0,), (0.03,)),)

    for sessions in (2, 1):
        bench = around_the_clock(options={"sessions": sessions}, daily_update=update)
        updates.clear()
        bench.play(partial(bench.wait, 30.0))
        assert len(updates) == len(bench.fed(RateEvent)) == sessions - 1


# stops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "seconds", "end"),
    [(StopMode.FLATTEN, 120.0, RunEnd.NOT_FLAT), (StopMode.HOLD, 5.0, RunEnd.UNCONFIRMED)],
)
def test_a_stop_that_is_not_complete_ends_the_run_in_time(mode, seconds, end):
    bench = RunnerBench(resting(), options=replaced(OPTIONS, reconcile_seconds=10.0))
    bench.gateway.confirms = False
    bench.gateway.holdings = {0: D(5), 1: D(0)}

    async def play():
        await bench.order()
        bench.runner.stop(mode, "me")
        await bench.wait(seconds - 0.2)
        bench.gateway.quote(400.0, 401.0)
        await bench.wait(1e5)

    bench.play(play)
    assert bench.engine.desk.market.mark(0) == 400.5  # it heard until then
    assert bench.runner.state.end is end
    assert ("+5 SPY" in bench.runner.state.reason) is (mode is StopMode.FLATTEN)


# the account at the start ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "is_refused"), [(1, True), (0, False)])
def test_a_holding_that_came_during_the_start_and_is_not_in_the_market_refuses_it(quantity, is_refused):
    bench = RunnerBench()
    bench.gateway.strangers["QQQ"] = D(quantity)
    if is_refused:
        with pytest.raises(RetryError) as error:
            bench.play()
        assert (error.value.where, error.value.value) == ("account", "+1 QQQ")
        assert bench.gateway.sent == bench.journal.events == []
    else:
        bench.play(bench.wait)


def test_a_fresh_run_takes_the_account_over_and_names_what_it_cannot_value():
    bench = RunnerBench()
    bench.gateway.quote(499.0, 501.0)
    bench.gateway.holdings = {0: D(5), 1: D(0), 2: D(-2)}
    bench.play(bench.wait)
    assert bench.gateway.looks[0] == (0.0, None)
    assert bench.engine.desk.positions.quantity(0) == 5
    (taken,) = [text for text in bench.notified("info") if "SPY" in text]
    assert all(held in taken for held in ("+5 SPY", f"-2 {bench.book[2].symbol}"))
    (unquoted,) = bench.notified("alarm")
    assert bench.book[2].symbol in unquoted
    assert bench.gateway.subscribed == [0, 1, 2]


def halting(bench):
    """Bring the desk, before its run, to an order whose cancel was journaled."""
    at_ns, session = bench.started_ns - NANOS_PER_SECOND, session_on(DAY)
    opening = SessionEvent(
        at_ns, at_ns, DAY.isoformat(), SessionPhase.OPEN, session.open_ns, session.close_ns
    )
    bench.engine.handle(opening)
    (order,) = [
        output
        for output in bench.engine.handle(QuoteEvent(0, at_ns, at_ns, 499.9, 500.1, 9.0, 9.0))
        if hasattr(output, "limit_price")
    ]
    bench.engine.handle(OrderAccepted(order.client_order_id, at_ns, at_ns, "v"))
    halt = OperatorEvent(at_ns, at_ns, OperatorAction.HALT, "x", "me", OperatorCause.PERSON)
    assert CancelOrder(order.client_order_id) in bench.engine.handle(halt)
    bench.gateway.working[order.client_order_id] = order
    return order


def test_a_resumed_run_asks_for_a_day_of_history_and_cancels_again_before_it_has_compared():
    bench = RunnerBench(resting())
    order = halting(bench)
    bench.play(bench.wait, Start(is_fresh=False))
    assert bench.gateway.looks[0] == (0.0, bench.started_ns - NANOS_PER_SECOND - DAY_NS)
    assert bench.gateway.sent == [CancelOrder(order.client_order_id)]
    assert [event.is_compared for event in bench.fed(AccountComparison)] == [False, True]


def test_a_resumed_run_is_let_trade_only_once_its_account_was_judged():
    bench = RunnerBench(at=2 * DAY_NS / NANOS_PER_SECOND, options=replaced(OPTIONS, confirm_seconds=2.0))
    bench.gateway.cash += 5  # unexplained: a second look makes sure

    async def play():
        await bench.wait(1.0)
        assert [event.is_compared for event in bench.fed(AccountComparison)] == [False]
        assert bench.gateway.subscribed == []
        await bench.wait(2.0)
        assert [event.is_compared for event in bench.fed(AccountComparison)] == [False, True]
        assert bench.gateway.subscribed == [0, 1, 2]
        (first, again) = [since_ns for _, since_ns in bench.gateway.looks]
        assert first == again

    bench.play(play, Start(is_fresh=False))


@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_run_resumed_between_two_sessions_refreshes_its_figures_before_the_next(is_fresh):
    asked = []

    async def update():
        asked.append(1)
        return ()

    bench = RunnerBench(at=-MORNING_NS / NANOS_PER_SECOND - 10.0, daily_update=update)
    bench.play(partial(bench.wait, 20.0), Start(is_fresh=is_fresh))
    assert len(asked) == (not is_fresh)


# the house -----------------------------------------------------------------------------------------------


def test_the_house_flushes_each_second_and_looks_at_the_account_on_its_timer():
    bench = RunnerBench(
        options=replaced(OPTIONS, reconcile_seconds=5.0, flush_seconds=1.0), with_watchdog=True
    )
    bench.play(partial(bench.wait, 12.2))
    assert bench.journal.flushed == [1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5, 12.0]
    assert [at for at, _ in bench.gateway.looks] == [0.0, 0.25, 5.5, 11.0]
    assert bench.watchdog.beats == 24


def test_a_disk_that_refuses_is_an_alarm_and_the_house_goes_on():
    bench = RunnerBench(options=replaced(OPTIONS, reconcile_seconds=5.0))
    bench.journal.refuses = StopError("the disk is full")
    bench.play(partial(bench.wait, 6.0))
    assert set(bench.notified("alarm")) == {"the disk is full"}
    assert [at for at, _ in bench.gateway.looks] == [0.0, 0.25, 5.5]


@pytest.mark.rows("answer", ["works", "cancelled", "silence"])
def test_an_unknown_order_is_asked_about_until_there_is_proof_and_one_that_is_live_leads_to_a_look(answer):
    bench = RunnerBench(resting())

    async def play():
        name = (await bench.order()).client_order_id
        looks, now_ns = len(bench.gateway.looks), bench.gateway.now_ns
        proofs = {
            "works": OrderAccepted(name, now_ns, now_ns, "v"),
            "cancelled": OrderCancelled(name, now_ns, now_ns, "x"),
        }
        bench.gateway.proofs = {name: [proofs[answer]]} if answer in proofs else {}
        bench.gateway.lose_track(name)
        await bench.wait(7.5)
        gaps = [round(later - at) for (at, _), (later, _) in pairwise(bench.gateway.queried)]
        assert gaps == ([1, 2, 4] if answer == "silence" else [])
        assert len(bench.gateway.looks) - looks == (answer == "works")

    bench.play(play)
    assert bench.runner.state.counters["doubts_resolved"] == (answer != "silence")


def test_an_order_that_the_venue_never_acknowledged_is_asked_about_after_its_acceptance_time():
    bench = RunnerBench(resting(), options=replaced(OPTIONS, absent_after_seconds=7.0))
    bench.gateway.accepts = False

    async def play():
        name = (await bench.order()).client_order_id
        bench.gateway.lose_track(name)
        bench.gateway.proofs[name] = [bench.gateway.absent(name)]
        bench.gateway.working.clear()
        await bench.wait(10.0)
        assert not bench.engine.desk.orders.live

    bench.play(play)
    assert bench.gateway.queried[0][0] == pytest.approx(7.0, abs=0.5)


@pytest.mark.rows(
    ("doing", "purpose", "side", "quantity", "again"),
    [
        ("", Purpose.HEDGE, Side.SELL, 10, 10),
        ("", Purpose.CLOSE, Side.SELL, 10, 10),
        ("", Purpose.OPEN, Side.SELL, 10, None),  # what opens is not wanted at any time
        ("reduce", Purpose.HEDGE, Side.SELL, 10, 10),
        ("halt", Purpose.HEDGE, Side.SELL, 10, None),
        ("flatten", Purpose.HEDGE, Side.SELL, 10, 10),  # beside it another one would reverse the position
        ("flatten", Purpose.HEDGE, Side.SELL, 60, 40),  # no more than is held
    ],
)
def test_an_order_in_doubt_goes_out_again_while_it_lowers_risk(doing, purpose, side, quantity, again):
    sent = wanting(OrderIntent(0, side, D(quantity), purpose, "now", OrderType.LIMIT, D("500.00")))
    bench = RunnerBench(sent)
    bench.gateway.holdings[0] = D(40)
    bench.gateway.accepts = False

    async def play():
        name = (await bench.order()).client_order_id
        bench.gateway.lose_track(name)
        bench.gateway.working.clear()  # on its way, or lost
        await bench.wait(0.1)
        if doing:
            await bench.runner.operate(doing, "try", "me")
        await bench.wait(15.0)
        wanted = bench.gateway.again[name]
        assert (wanted and wanted.quantity) == again
        if wanted:
            assert wanted.client_order_id == name

    bench.play(play)


# the order of what is due --------------------------------------------------------------------------------


@pytest.mark.rows(
    ("timers", "then", "fed"),
    [
        ([], 5.0, ["open", "quote"]),
        ([5.0], 5.0, ["open", "timer 5", "quote"]),  # the session opens first
        ([4.0, 6.0], 7.0, ["timer 4", "open", "timer 6", "quote"]),
        ([4.0, 8.0], 4.0, ["timer 4", "quote"]),
        ([8.0], 4.999, ["quote"]),
    ],
)
@pytest.mark.rows("is_quote", [True, False])
def test_what_was_due_before_an_event_is_carried_out_before_it_in_its_order(timers, then, fed, is_quote):
    """The process sleeps through it all: the event wakes it."""
    waiting = Timers()
    for at in timers:
        at_ns = session_on(DAY).open_ns + int((at - 5.0) * NANOS_PER_SECOND)
        waiting.set(SetTimer(f"timer {at:g}", at_ns))
    bench = RunnerBench(at=OPEN - 5.0, options=SLEEPY, timers=waiting)

    async def play():
        await bench.wait(then)
        before = len(bench.journal.events)
        at_ns = bench.gateway.now_ns
        bench.gateway.put(
            QuoteEvent(0, at_ns, at_ns, 499.0, 501.0, 1.0, 1.0)
            if is_quote
            else RateEvent(at_ns, at_ns, (1.0,), (0.03,))
        )
        await bench.wait(0.0001)
        names = {QuoteEvent: "quote", RateEvent: "quote", SessionEvent: "open"}
        seen = [
            event.name if type(event) is TimerEvent else names[type(event)]
            for event in bench.journal.events[before:]
        ]
        assert seen == fed

    bench.play(play)


def until_the_morning_after(bench):
    """Let a process sleep from the close of its session into the next one."""

    async def play():
        await bench.wait(12.0)
        bench.gateway.notice("refused")  # it closes its session and looks at its account
        await bench.wait(5.0)
        await bench.until_ns(session_on(DAY).open_ns + DAY_NS + NANOS_PER_SECOND)

    return play


def test_a_run_that_ends_in_the_morning_opens_no_session_that_is_due_as_well():
    """A process that slept (a closed laptop) wakes after the open: the session is the next run's."""
    bench = RunnerBench(at=CLOSE - 10.0, options=replaced(SLEEPY, rolls=True))

    async def play():
        await until_the_morning_after(bench)()
        bench.gateway.quote(1.0, 2.0)
        await bench.wait(1e5)

    assert bench.play(play) == ROLLED
    assert [event.phase for event in bench.fed(SessionEvent)] == [SessionPhase.OPEN, SessionPhase.CLOSE]
    assert bench.fed(QuoteEvent) == []


def test_a_command_to_a_run_that_has_just_rolled_is_refused():
    """It was answered "ACTIVE to HALTED", and the next day's run began ACTIVE."""
    bench = RunnerBench(at=CLOSE - 10.0, options=replaced(SLEEPY, rolls=True))
    refused = []

    async def play():
        await until_the_morning_after(bench)()
        for _ in range(2):  # the second one after the end
            with pytest.raises(StopError) as error:
                await bench.runner.operate("halt", "why", "me")
            refused.append(error.value)

    assert bench.play(play) == ROLLED
    assert (len(refused), bench.fed(OperatorEvent)) == (2, [])


def test_a_quote_from_before_a_standstill_is_not_handled_until_its_connection_has_ended():
    bench = RunnerBench(options=replaced(OPTIONS, tick_seconds=1.0), is_on_machine_clock=True)
    bench.gateway.silent = {"stocks": 0.0}
    marks = []

    async def quoted(price):
        bench.gateway.quote(price, price + 0.1)
        await bench.wait(0.01)
        marks.append(bench.engine.desk.market.mark(0))

    async def play():
        await bench.wait(3.0)
        await quoted(500.0)
        bench.loop.leap(60.0)
        await quoted(600.0)
        assert bench.gateway.reconnected == ["stocks"]
        bench.gateway.notice("disconnected", "stocks")
        await quoted(700.0)

    bench.play(play)
    assert marks == [500.05, 500.05, 700.05]
    assert bench.runner.state.counters["quotes_passed_over"] == 1


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_a_holding_sets_its_deadline_before_the_next_look_at_the_account(is_by_hand):
    """Options bought after the last look had no deadline: held past it, they were left to the venue."""
    bench = RunnerBench(resting(2, number=1), at=CLOSE - 3_600.0)
    due_ns = deadline_ns(bench.book[1], bench.engine.desk.view.cutoff, 300.0)

    async def play():
        bench.gateway.quote(3.0, 3.1, number=1)
        order = await bench.order()
        if is_by_hand:
            at_ns = bench.gateway.now_ns
            manual = ChangeCause.MANUAL_TRADE
            bench.gateway.put(PositionChanged(1, at_ns, at_ns, manual, D(1), D(4), D(-400), "r"))
        else:
            bench.gateway.fill(order, "1.00")
        await bench.until_ns(due_ns + 2 * NANOS_PER_SECOND)

    bench.play(play)
    assert [(event.ts_event_ns, event.cause) for event in bench.fed(OperatorEvent)] == [
        (due_ns, OperatorCause.DEADLINE)
    ]


# the watchdog --------------------------------------------------------------------------------------------


def test_the_watchdog_hears_of_an_order_before_the_venue_and_of_its_end_once():
    legs = tuple(OrderIntent(leg, Side.BUY, D(1), Purpose.OPEN, "straddle") for leg in (1, 2))
    wanted = [Proposal(DecisionKind.ENTRY, ("straddle",), {}, legs, leg_orders=LegOrders.COMBO)]
    strategy = resting()
    single = strategy.think
    strategy.think = lambda view, wake, event: [
        *single(view, wake, event),
        *([wanted.pop()] if wanted and wake is Wake.PRICE and event.bid > 500 else []),
    ]
    bench = RunnerBench(strategy, with_watchdog=True)

    async def play():
        order = await bench.order()
        for number in (1, 2):
            bench.gateway.quote(3.0, 3.1, number=number)
        bench.gateway.quote(500.5, 500.6)
        await bench.wait()
        combo = bench.gateway.sent[-1]
        names = [leg.client_order_id for leg in combo.legs]
        heard = [item for item in bench.gateway.log if item not in ("info", "warning")]
        assert heard == [
            "started",
            ("reported", order.client_order_id, ""),
            order,
            *(("reported", name, combo.client_order_id) for name in names),
            combo,
        ]
        bench.gateway.fill(combo.legs[1], "3.10")
        bench.gateway.fill(order, "1.00")
        await bench.wait(5.0)
        assert bench.gateway.log[-2:] == [("ended", names[1]), ("ended", order.client_order_id)]

    bench.play(play)


# commands of the operator --------------------------------------------------------------------------------


def test_an_operators_command_is_fed_at_the_desks_time_and_answered_after_its_cancels_have_left():
    bench = RunnerBench(resting(), with_watchdog=True)

    async def play():
        order = await bench.order()
        at_ns = bench.gateway.now_ns
        first = await bench.runner.operate("halt", "why", "me")
        assert first == {"was": "ACTIVE", "mode": "HALTED", "cancels": 1}
        (event,) = bench.fed(OperatorEvent)
        assert event == OperatorEvent(at_ns, at_ns, OperatorAction.HALT, "why", "me", OperatorCause.PERSON)
        await bench.wait()
        place = bench.gateway.log.index(CancelOrder(order.client_order_id))
        assert "warning" in bench.gateway.log[place:]
        assert "warning" not in bench.gateway.log[:place]
        again = await bench.runner.operate("halt", "why", "me")
        assert again == {"was": "HALTED", "mode": "HALTED", "cancels": 0}
        await bench.wait()
        assert len(bench.notified("warning")) == 1

    bench.play(play)


def test_a_command_whose_asker_has_gone_is_carried_out_without_an_answer():
    bench = RunnerBench()

    async def play():
        await bench.wait()
        asking = asyncio.ensure_future(bench.runner.operate("halt", "why", "me"))
        await asyncio.sleep(0)
        asking.cancel()
        await bench.wait()
        assert bench.engine.desk.gate.mode is Mode.HALTED

    bench.play(play)


# the end -------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("error", "is_cancelled"),
    [
        (StopError("the disk is full"), True),
        (ValueError("broken"), True),
        (RetryError("no answer"), False),
        (ConfigError("wrong"), False),
    ],
)
def test_a_run_that_fails_cancels_its_orders_before_the_alarm_though_one_cancel_fails(error, is_cancelled):
    """A refusal of the start cancels nothing: nothing can have been sent."""
    twice = [OrderIntent(0, Side.BUY, D(n), Purpose.OPEN, "x", OrderType.LIMIT, D(1)) for n in (1, 2)]
    bench, failed_at = RunnerBench(wanting(*twice)), []

    async def play():
        await bench.order()
        bench.gateway.broken_lines = set(list(bench.gateway.working)[:1])
        bench.gateway.log.clear()
        bench.journal.fails = error
        bench.gateway.quote(501.0, 501.1)
        failed_at.append(bench.loop.time())
        await bench.wait(1e5)

    with pytest.raises(type(error)) as raised:
        bench.play(play)
    assert raised.value is error
    _, second = bench.engine.desk.orders.live
    assert bench.gateway.log == (["alarm", CancelOrder(second), "alarm"] if is_cancelled else [])
    assert bench.runner.state.end is RunEnd.FAILED
    # the cancels are written before the connection ends
    assert bench.loop.time() - failed_at[0] == pytest.approx(0.1 * is_cancelled)


def test_a_run_that_was_stopped_while_starting_follows_no_market():
    bench = RunnerBench(with_watchdog=True)
    bench.gateway.shows = False

    async def play():
        await bench.wait(0.1)
        bench.runner.stop(StopMode.HOLD)
        await bench.wait(1e5)

    bench.play(play)
    assert (bench.gateway.subscribed, bench.runner.state.recovered_seconds) == ([], None)
    assert bench.gateway.log == ["warning"]


def test_a_run_that_has_settled_measures_its_start():
    bench = RunnerBench(with_watchdog=True, options=SLEEPY)
    bench.gateway.answer_seconds = 3.0
    assert bench.play(partial(bench.wait, 10.0)) == bench.runner.state.reason == "stopped: leave"
    assert bench.runner.state.recovered_seconds == pytest.approx(7.0)  # two looks, a second apart
    assert "started" in bench.watchdog.heard


def test_a_quote_that_meets_an_idle_desk_is_handled_where_it_was_read():
    bench = RunnerBench()

    async def play():
        await bench.wait()
        bench.gateway.quote(500.0, 500.1)
        assert bench.engine.desk.market.mark(0) == 500.05

    bench.play(play)


def test_an_order_of_a_timer_that_a_look_finds_due_is_sent():
    waiting = Timers()
    bench = RunnerBench(wanting(buy(), on=Wake.TIMER), options=SLEEPY, timers=waiting)
    waiting.set(SetTimer("x", bench.started_ns + 5 * NANOS_PER_SECOND))

    async def play():
        await bench.wait(1.5)  # the start has looked twice
        bench.gateway.quote(499.99, 500.01)
        bench.gateway.answer_seconds = 6.0
        bench.runner.queries.ask()
        await bench.wait(5.9)
        assert bench.gateway.sent == []
        await bench.wait(0.2)
        assert [order.quantity for order in bench.gateway.sent] == [10]

    bench.play(play)


def test_a_watcher_sees_the_event_whose_order_did_not_leave():
    bench = RunnerBench(resting())
    bench.gateway.is_broken = True
    with pytest.raises(ValueError, match="no line"):
        bench.play(bench.order)
    assert type(bench.watched[-1]) is QuoteEvent
