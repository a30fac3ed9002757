"""A live run from start to end: what is opened, served and closed, whatever the end is."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.enums import DecisionKind, Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import InvariantError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    AccountSnapshot,
    GammaExposureEvent,
    OperatorEvent,
    OrderStatusUnknown,
    QuoteEvent,
    RateEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import NEVER_NS
from scalpdesk.core.version import BUILD
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import run
from scalpdesk.live.assembly import lock_account
from scalpdesk.live.quote_watch import QuoteWatch
from scalpdesk.live.recovery import (
    Start,
    adoption,
    continuation,
    doubts,
    known_orders,
    quotes_of_holdings,
    rebuild,
)
from scalpdesk.live.sessions import ROLLED, RunEnd, StopMode
from scalpdesk.live.status import SOCKET_NAME, ask
from scalpdesk.orders.order import Order, OrderState
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.live import SESSION, BenchGateway, Life, bench_plan, until


@pytest.fixture
def life(tmp_path, monkeypatch):
    return Life(tmp_path, monkeypatch)


def resting(desk):
    """Let an order of the desk rest at the venue."""
    order = desk.engine.desk.orders.submit(buy(), desk.engine.now_ns)
    desk.gateway.working[order.client_order_id] = order
    return order.client_order_id


def test_a_run_is_opened_served_and_closed(life):
    async def serves(desk):
        answer = await asyncio.to_thread(ask, desk.run_dir, {"do": "status"})
        assert (answer["run_id"], answer["run"]) == (desk.header.run_id, "running")
        with pytest.raises(StopError):
            lock_account(life.plan, "a", "another run")
        desk.runner.stop(StopMode.LEAVE)

    summary = life.run(serves)
    (desk,) = life.desks
    assert (summary["ended"], summary["end"]) == ("stopped: leave", RunEnd.STOPPED)
    assert (summary["sessions_closed"], summary["differences"], summary["open_orders"]) == (0, [], [])
    assert summary["recovered_seconds"] >= 0.0
    assert (summary["resumable"], JournalReader(desk.run_dir).sealed) == (False, True)
    assert life.said[-1] == ("info", "stopped: leave")
    assert life.log == [("connect", []), ("closed", True)]
    assert not (desk.run_dir / SOCKET_NAME).exists()
    lock_account(life.plan, "a", "another run").release()


def test_a_watchdog_begins_with_the_run_and_leaves_after_it_has_disconnected(life):
    life.run(watchdog=life.watchdog)
    assert [what for what in life.log if what != "info"] == [
        ("connect", []),
        ("begin", life.desks[0].run_dir),
        "started",
        ("closed", True),
        ("end", True, True),
        "leave",
    ]
    assert life.watchdog.beats > 0


@pytest.mark.rows("is_resting", [True, False])
@pytest.mark.rows(
    ("mode", "end", "clean", "keeps"),
    [
        (StopMode.LEAVE, RunEnd.STOPPED, True, True),
        (StopMode.HOLD, RunEnd.STOPPED, True, True),
        (StopMode.FLATTEN, RunEnd.NOT_FLAT, False, False),
    ],
)
def test_an_end_is_clean_only_when_no_order_works_and_a_flatten_is_through(
    life, is_resting, mode, end, clean, keeps
):
    def prepare(gateway):
        gateway.holdings[0] = Decimal(5)
        gateway.confirms = False

    async def stops(desk):
        if is_resting:
            resting(desk)
        desk.runner.stop(mode)

    life.prepares = prepare
    summary = life.run(stops, watchdog=life.watchdog)
    if is_resting and mode is not StopMode.LEAVE:
        clean, end = False, RunEnd.UNCONFIRMED if mode is StopMode.HOLD else end
        assert len(summary["open_orders"]) == 1
    assert summary["end"] is end
    assert life.ended()[-2:] == [("end", clean, keeps), "leave"]
    assert summary["resumable"]


class RefusedJournal:
    """A journal on a disk that takes no event."""

    def add_event(self, event):
        raise StopError("the disk is full")


def test_a_run_that_fails_is_closed_like_any_other_and_the_watchdog_acts(life):
    async def breaks(desk):
        desk.runner.core.journal = RefusedJournal()
        desk.gateway.put(RateEvent(1, 1, (1.0,), (0.03,)))

    with pytest.raises(StopError, match="the disk is full"):
        life.run(breaks, watchdog=life.watchdog)
    (desk,) = life.desks
    assert life.ended() == [("end", False, False), ("closed", True), "leave"]  # from here on it acts
    assert not JournalReader(desk.run_dir).sealed
    assert not (desk.run_dir / SOCKET_NAME).exists()
    lock_account(life.plan, "a", "another run").release()


async def through_the_night(life, desk):
    """Let a desk close its session, and wake it in the morning after."""
    life.clock.move_to(SESSION.close_ns + 10**9)
    await until(lambda: desk.runner.state.closes == 1 and desk.runner.calendar.session.day != DAY, 0.001)
    life.clock.move_to(desk.runner.calendar.session.open_ns - 300 * 10**9)


@pytest.mark.parametrize(("sessions", "left"), [(None, None), (5, 4)])
def test_a_run_that_rolled_is_followed_by_a_run_of_its_own(life, sessions, left):
    async def nights(desk):
        await through_the_night(life, desk)
        await until(lambda: len(life.desks) == 2, 0.001)
        await until(lambda: life.desks[1].runner.state.recovered_seconds is not None, 0.001)
        life.desks[1].runner.stop(StopMode.LEAVE)

    summary = life.run(nights, watchdog=life.watchdog, rolls=True, sessions=sessions)
    first, second = life.desks
    assert (first.runner.options.sessions, second.runner.options.sessions) == (sessions, left)
    assert first.header.run_id != second.header.run_id == summary["run_id"]
    assert JournalReader(first.run_dir).sealed
    assert summary["ended"] == "stopped: leave"
    assert ("info", ROLLED) in life.said
    assert life.ended() == [("closed", True), ("closed", True), ("end", True, True), "leave"]


@pytest.mark.rows("mode", list(StopMode))
def test_a_stop_that_comes_as_a_run_rolls_lets_no_other_run_follow(life, mode):
    """The signal was handled by a run that had ended already, and the next day's run began."""

    async def nights(desk):
        await through_the_night(life, desk)
        await until(lambda: desk.runner.state.reason, 0.0)
        desk.runner.stop(mode)

    summary = life.run(nights, watchdog=life.watchdog, rolls=True)
    assert (len(life.desks), summary["ended"]) == (1, f"stopped: {mode}")
    assert life.ended()[-2:] == [("end", True, True), "leave"]


class BrokenJournal:
    """A journal on a disk that takes no seal."""

    def close(self, summary):
        raise StopError("the disk is full")


@pytest.mark.rows("fails", [None, "gateway", "journal"])
@pytest.mark.rows(("is_held", "is_resting"), [(False, False), (True, False), (False, True)])
def test_a_flat_account_seals_the_journal_and_the_lock_is_released_in_any_case(
    life, is_held, is_resting, fails
):
    async def close(*, graceful=True):
        raise StopError("no line")

    def prepare(gateway):
        gateway.holdings[0] = Decimal(5 * is_held)
        if fails == "gateway":
            gateway.close = close

    async def stops(desk):
        if is_resting:
            resting(desk)
        if fails == "journal":
            desk.journal.abandon()
            desk.journal = BrokenJournal()
        desk.runner.stop(StopMode.LEAVE)

    life.prepares = prepare
    is_flat = not (is_held or is_resting)
    if fails == "journal":
        with pytest.raises(StopError if is_flat else AttributeError):
            life.run(stops)
    else:
        assert life.run(stops)["resumable"] is not is_flat
        assert JournalReader(life.desks[0].run_dir).sealed is is_flat
    lock_account(life.plan, "a", "another run").release()


# signals ----------------------------------------


@pytest.fixture
def signals():
    """Signals as in a process with a terminal; the tests may run in a process that outlives its own."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_stops_in_order_and_the_second_would_end_at_once(life, signals, number):
    unheard = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    async def interrupted(desk):
        assert all(signal.getsignal(each) is not handler for each, handler in unheard.items())
        os.kill(os.getpid(), number)
        await until(lambda: desk.runner.state.stop_asked, 0.0)
        for each in (signal.SIGINT, signal.SIGTERM):
            assert signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler)

    assert life.run(interrupted)["ended"] == "stopped: hold"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_terminal_that_closes_stops_in_order_however_often_it_says_so(life, signals):
    async def hung_up(desk):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: desk.runner.state.stop_asked, 0.0)
        os.kill(os.getpid(), signal.SIGHUP)

    async def close(*, graceful=True):
        os.kill(os.getpid(), signal.SIGHUP)  # while the run closes

    life.prepares = lambda gateway: setattr(gateway, "close", close)
    assert life.run(hung_up)["ended"] == "stopped: hold"


def test_a_desk_that_was_started_to_outlive_its_terminal_hears_nothing_of_it(life, signals):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def hung_up(desk):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)
        assert desk.runner.state.stop_asked is None
        desk.runner.stop(StopMode.LEAVE)

    assert life.run(hung_up)["ended"] == "stopped: leave"


# dealer gamma ----------------------------------------


@pytest.mark.rows(("venue", "value"), [("bench", -2e9), ("bench", None), ("simulated", -2e9)])
def test_dealer_gamma_is_polled_where_it_has_a_source_and_not_on_a_tape(life, tmp_path, venue, value):
    given = [] if value is None else [f"marketdata.gex_value={value}"]
    life.plan = bench_plan(tmp_path, *given, venue=venue)
    gateway = BenchGateway(life.plan, life.clock) if venue == "simulated" else None
    seen = []

    async def polled(desk):
        if value is not None and venue == "bench":
            await until(lambda: desk.engine.desk.market.gamma_exposures, 0.001)
        else:
            await asyncio.sleep(0.05)
        desk.journal.flush()
        events = [event for step, _ in JournalReader(desk.run_dir).steps() for event in step]
        seen.extend(event for event in events if isinstance(event, GammaExposureEvent))
        desk.runner.stop(StopMode.LEAVE)

    life.run(polled, gateway=gateway)
    assert [event.exposure_usd for event in seen] == ([-2e9] if venue == "bench" and value else [])
    assert all(event.ts_recv_ns >= life.clock.now_ns() for event in seen)


# what the operator asks ----------------------------------------


def test_requests_of_the_operator_are_answered(life, monkeypatch):
    monkeypatch.setenv("LOGNAME", "me")

    async def asks(desk):
        async def answer(**request):
            return await run.answer(desk, request)

        assert "error" in await answer(do="stop", how="now")
        assert "error" in await answer()
        assert desk.runner.state.stop_asked is None
        assert (await answer(do="status"))["run_id"] == desk.header.run_id
        assert "error" in await answer(do="why")  # nothing was decided
        assert "error" in await answer(do="why", what=7)
        assert "error" in await answer(do="resume")  # without a reason
        halted = await answer(do="halt")
        assert (halted["was"], halted["mode"]) == ("ACTIVE", "HALTED")
        assert halted["milliseconds"] >= 0.0
        assert (await answer(do="resume", reason=" fine "))["mode"] == "ACTIVE"
        assert (await answer(do="flatten", reason="enough"))["mode"] == "FLATTENING"
        assert await answer(do="stop", how="") == {"stopping": "hold"}
        too_late = await answer(do="resume", reason="x")
        assert set(too_late) == {"error", "where", "fix", *run.whose(desk.header, desk.run_dir)}

    assert life.run(asks)["ended"] == "stopped: hold"
    events = [event for step, _ in JournalReader(life.desks[0].run_dir).steps() for event in step]
    commands = [
        (event.action, event.reason, event.who) for event in events if isinstance(event, OperatorEvent)
    ]
    assert commands[:3] == [
        (OperatorAction.HALT, "asked by me", "me"),
        (OperatorAction.RESUME, "fine", "me"),
        (OperatorAction.FLATTEN, "enough", "me"),
    ]


def test_a_stop_is_as_it_is_asked_for(life):
    async def asks(desk):
        assert await run.answer(desk, {"do": "stop", "how": "flatten"}) == {"stopping": "flatten"}

    assert life.run(asks)["end"] is RunEnd.STOPPED
    assert life.desks[0].runner.state.stop_asked is StopMode.FLATTEN


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_an_operator_without_a_name_is_a_number(error):
    def unknown():
        raise error

    assert run.operator_name(unknown) == str(os.getuid())


# the beginning of a run ----------------------------------------


def timer(at_ns):
    return SetTimer(f"of {at_ns}", at_ns)


def rate(at_ns):
    return RateEvent(at_ns, at_ns, (1.0,), (0.03,))


def test_prices_are_asked_for_only_where_something_is_held():
    desk = HandDesk(Scripted())
    gateway = BenchGateway(desk.book, ManualClock(1))
    gateway.quote(1.0, 2.0, number=2)
    for held, quoted in (({}, []), ({0: Decimal(0), 1: Decimal(1), 2: Decimal(-1)}, [2])):
        gateway.holdings = held
        view = asyncio.run(gateway.snapshot())
        quotes = asyncio.run(quotes_of_holdings(gateway, view, QuoteWatch(desk.engine.desk.market, 60.0)))
        assert [quote.instrument_id for quote in quotes] == quoted


def test_a_new_run_begins_with_its_market_the_prices_of_what_is_held_and_the_account():
    quote = QuoteEvent(0, 2, 2, 1.0, 2.0, 1.0, 1.0)
    view = asyncio.run(BenchGateway(HandDesk(Scripted()).book, ManualClock(3)).snapshot())
    events = list(adoption(Start((rate(1),)), view, (quote,), 9))
    assert [(type(event), event.ts_event_ns, event.ts_recv_ns) for event in events] == [
        (RateEvent, 1, 9),
        (QuoteEvent, 2, 9),
        (AccountSnapshot, 3, 9),
    ]


@pytest.mark.rows(("stop", "resumes"), [(Mode.HALTED, True), (Mode.FLATTENING, True), (None, False)])
def test_a_run_goes_on_with_doubt_about_what_was_never_acknowledged(stop, resumes):
    desk = HandDesk(Scripted())
    orders = desk.engine.desk.orders
    sent, named, working = [orders.submit(buy(), desk.now_ns) for _ in range(3)]
    orders.order(named.client_order_id).venue_order_id = "v"
    desk.accept(working)
    desk.engine.desk.gate.desk_mode.stop_with(stop)
    events = [*doubts(desk.engine, 9), *continuation(desk.engine, Start(is_fresh=False), 9)]
    doubt = OrderStatusUnknown(sent.client_order_id, 9, 9, "the desk ended before the venue answered")
    why = "the run goes on after its stop"
    lifted = OperatorEvent(9, 9, OperatorAction.RESUME, why, "operator", OperatorCause.STOP)
    held_back = AccountComparison(9, 9, is_compared=False)
    assert events == [held_back, doubt, lifted][: 2 + resumes]


@pytest.mark.rows(
    ("state", "filled", "venue_id"),
    [(OrderState.UNKNOWN, 0, ""), (OrderState.UNKNOWN, 4, "v"), (OrderState.WORKING, 0, "v")],
)
def test_a_gateway_learns_of_each_order_what_was_booked_and_of_an_unproven_one_no_id(state, filled, venue_id):
    desk = HandDesk(Scripted())
    orders = desk.engine.desk.orders
    sent = orders.submit(buy(), 7)
    orders.orders[sent.client_order_id] = Order(
        sent,
        7,
        state,
        Decimal(filled),
        Decimal("1.5"),
        "v",
        executions={"y": (Decimal(4), Decimal("1.5"))} if filled else {},
        busted={"x": Decimal(1)},
        parent_id="p",
    )
    (known,) = known_orders(desk.engine)
    assert (known.submitted, known.filled, known.value) == (sent, filled, Decimal("1.5") * filled)
    assert (known.is_live, known.venue_order_id, known.parent_id, known.sent_ns) == (True, venue_id, "p", 7)
    booked = {"y": (4, Decimal("1.5"))} if filled else {}
    assert known.executions == {"x": (0, 0)} | booked


@dataclass
class Build:
    """The part of a journal's header that names the version that wrote it."""

    build: str = BUILD


@dataclass
class Steps:
    """A journal that was read: events and outputs, step by step."""

    listed: list
    run_dir: Path = Path("folder")
    header: Build = field(default_factory=Build)

    def steps(self) -> Iterator:
        yield from self.listed


def given(n):
    return CancelOrder(str(n)), timer(n)


@pytest.mark.rows(
    ("steps", "unwritten", "watched"),
    [
        ([], (), []),
        ([([1], ())], (), [1]),
        ([([2, 3], given(3)), ([4], ())], (), [2, 3, 4]),
        ([([2, 3], given(3)[:1]), ([4], ())], (), [2, 3, 4]),
        ([([2], ()), ([3], ())], given(3), [2, 3]),
        ([([3], ()), ([2], ())], "output 1, cancel order: here alone", None),
        ([([3, 2], given(3))], "output 1, cancel order: here alone", None),
        ([([3], given(4))], "output 1, cancel order, client_order_id: 4 in the journal, 3 here", None),
        ([([2], given(3))], "output 1, cancel order: in the journal alone", None),
    ],
)
def test_a_journal_is_replayed_step_by_step(steps, unwritten, watched):
    """Only numbered events that can be divided by 3 give outputs: a cancel, which is compared, a timer."""
    told = []
    number = {rate(n): n for n in range(9)}

    class Engine:
        def handle(self, event):
            n = number[event]
            return given(n) if n % 3 == 0 else ()

    reader = Steps([([rate(n) for n in step], outputs) for step, outputs in steps])
    if watched is None:
        with pytest.raises(InvariantError, match="this build decides otherwise") as refused:
            rebuild(reader, Engine())
        assert refused.value.where == f"folder, event 1: {unwritten}"
        return
    found = rebuild(reader, Engine(), lambda event, _outputs: told.append(number[event]))
    assert (found.unwritten, told) == (unwritten, watched)
    assert found.events == sum(len(step) for step, _ in steps)
    assert found.timers.due_ns == (3 if 3 in watched else NEVER_NS)


class Deciding:
    """An engine whose every event leads to a decision and an order; in other words than another version's."""

    def __init__(self, words, quantity=1):
        self.words, self.quantity = words, quantity

    def handle(self, event):
        terms = Side.BUY, Decimal(self.quantity), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
        order = SubmitOrder("a-1", 0, *terms)
        return Decision(event.ts_recv_ns, DecisionKind.ENTRY, True, (self.words,), {}), order


@pytest.mark.rows(
    ("build", "quantity", "is_resumed"), [("0.0.9", 1, True), ("0.0.9", 2, False), (BUILD, 1, True)]
)
def test_another_versions_journal_is_gone_on_with_where_its_commands_are_the_same(
    build, quantity, is_resumed
):
    """An order that differs is always refused, in one line that names the builds; other words never are."""
    written = Deciding("in its words").handle(rate(1))
    reader = Steps([([rate(1)], written)], header=Build(build))
    if is_resumed:
        assert rebuild(reader, Deciding("in ours", quantity)).events == 1
        return
    with pytest.raises(InvariantError, match="this build decides otherwise") as refused:
        rebuild(reader, Deciding("in ours", quantity))
    assert refused.value.where.endswith("submit order, quantity: 1 in the journal, 2 here")
    assert refused.value.value == f"written by {build}, this is {BUILD}"


def test_an_event_that_ended_the_run_and_fails_again_is_named_with_the_ways_on():
    class Engine:
        def handle(self, event):
            if event.ts_recv_ns == 3:
                raise ZeroDivisionError("float division by zero")
            return ()

    steps = [([rate(n) for n in (1, 2, 3)], ())]
    reader = Steps(steps)
    with pytest.raises(StopError, match="event 3: ZeroDivisionError: float division by zero at ") as refused:
        rebuild(reader, Engine())
    assert (refused.value.where, "--new-run" in refused.value.fix) == ("folder", True)
