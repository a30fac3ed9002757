"""The runner's single steps: what follows from a notice, a close, a look at the account and a tick."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import SimpleNamespace

import pytest

from fakes.instruments import option, share
from fakes.live import FAST, LiveBench, follower, walk
from scalpdesk.core.enums import ChangeCause, Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    AccountLimits,
    OperatorEvent,
    OrderAccepted,
    OrderFilled,
    PositionChanged,
    QuoteEvent,
    TimerEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import DAY_NS, NEVER_NS, InstrumentId
from scalpdesk.instruments.contract import Settlement
from scalpdesk.live import runner as runner_
from scalpdesk.live.consumer import Ended, Operation
from scalpdesk.live.reconciliation import Viewed
from scalpdesk.live.recovery import Start
from scalpdesk.live.runner import LiveRunner, RunnerOptions
from scalpdesk.live.sessions import RunEnd, StopMode
from scalpdesk.live.supervision import RESTART_ONCE, RESTART_TWICE
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.contract import Notice, NoticeKind
from scalpdesk_testing.virtual_time import VirtualLoop


class Asked:
    """Stands for the queries of the account; keeps how each was asked for."""

    def __init__(self):
        self.calls, self.latest, self.is_asking, self.last_at = [], None, False, 0.0

    def ask(self, seconds=0.0):
        self.calls.append(("ask", seconds))

    def ask_anew(self):
        self.calls.append("anew")

    def take(self, view):
        self.calls.append("take")


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A desk whose run has ended, for its parts."""
    bench = LiveBench(tmp_path_factory.mktemp("steps"), walk(1), lambda: follower(10))
    assert bench.live() is not None
    return bench


@pytest.fixture
def runner(lived):
    """A new runner on that desk, in virtual time, with queries and gateway that only write down."""
    sent, said = [], []
    gateway = SimpleNamespace(
        send=sent.append, health=lambda: SimpleNamespace(silent_seconds={}, streams={}), name="stand-in"
    )
    made = LiveRunner(
        lived.core, gateway, lived.gateway._clock, FAST, notify=lambda *words: said.append(words)
    )
    made.queries, made.sent, made.said, made.loop = Asked(), sent, said, VirtualLoop()
    gate = lived.engine.desk.gate
    mode = gate.mode
    yield made
    gate.mode = mode
    made.loop.close()


def do(runner, call, *arguments, **named):
    async def inside():
        return call(*arguments, **named)

    return runner.loop.run_until_complete(inside())


def notice(kind, stream="orders", name="lost", detail="no pong"):
    return Notice(NoticeKind(kind), 0, stream, name, detail)


@pytest.mark.parametrize(
    ("kind", "stream", "times", "is_settled", "looks"),
    [
        ("connected", "orders", 1, False, False),  # the connection that the run began with
        ("connected", "orders", 1, True, True),
        ("connected", "orders", 2, False, True),
        ("connected", "quotes", 2, True, False),
        ("gap", "orders", 1, False, True),
        ("gap", "quotes", 1, True, True),
        ("disconnected", "orders", 1, True, False),
        ("limited", "requests", 1, True, False),
        ("refused", "orders", 1, True, False),
    ],
)
def test_a_notice_is_counted_and_leads_to_a_look_where_something_may_be_missed(
    runner, kind, stream, times, is_settled, looks
):
    runner.reconciler = SimpleNamespace(is_settled=is_settled)
    for _ in range(times):
        runner.queries.calls.clear()
        assert do(runner, runner._on_notice, notice(kind, stream)) == []
    assert runner.queries.calls == (["anew"] if looks else [])
    assert runner.state.counters == {f"{kind}/{stream}/lost": times}
    assert len(runner.state.notices) == times
    warned = (
        [("warning", f"{stream} {kind}: lost no pong")] if kind in ("gap", "disconnected", "limited") else []
    )
    assert runner.said == warned


def test_the_end_of_the_session_by_the_venue_halts_the_desk_once(runner):
    fed = []

    def feed(event):
        fed.append((event.action, event.reason, event.who))
        runner.core.engine.desk.gate.mode = Mode.HALTED
        return ["cancel"]

    runner._feed = feed
    dead = notice("dead", name="keys", detail="revoked")
    assert [do(runner, runner._on_notice, dead) for _ in range(2)] == [["cancel"], []]
    assert fed == [(OperatorAction.HALT, "the venue ended the session: orders keys", "venue")]
    assert runner.said == [("alarm", "the venue ended the session for good: keys revoked")]


@pytest.mark.parametrize(
    ("sessions", "is_asking", "looks", "asked"),
    [
        (None, False, None, [("ask", 0.0)]),
        (2, False, None, [("ask", 0.0)]),
        (1, False, 1, ["anew"]),
        (1, True, 2, ["anew"]),  # the look under way may have begun before the close
    ],
)
def test_a_close_is_followed_by_a_look_and_the_last_one_by_the_end(runner, sessions, is_asking, looks, asked):
    runner.options = SimpleNamespace(sessions=sessions, stop=StopMode.LEAVE)
    runner.queries.is_asking = is_asking
    assert do(runner, runner._on_close) == []
    assert runner._looks_before_stop == looks
    assert runner.queries.calls == asked
    assert runner.calendar.is_at_end is (looks is not None)
    runner.loop.run_until_complete(asyncio.sleep(29.9))
    assert not runner._queue.items
    runner.loop.run_until_complete(asyncio.sleep(0.2))
    ended = [(item.reason, item.who, item.stop) for item in runner._queue.items]
    assert ended == ([("stop: leave", "the end of the session", StopMode.LEAVE)] if looks else [])
    assert runner._looks_before_stop is None


@pytest.mark.parametrize(
    ("before", "is_equal", "after", "ends"),
    [(None, True, None, 0), (2, True, 1, 0), (1, False, 0, 0), (1, True, None, 1), (0, True, None, 1)],
)
def test_the_run_ends_with_the_first_equal_look_after_the_last_close(runner, before, is_equal, after, ends):
    runner._looks_before_stop = before
    do(runner, runner._look_finally, is_equal=is_equal)
    assert runner._looks_before_stop == after
    assert len(runner._queue.items) == ends
    do(runner, runner._end_sessions)
    assert len(runner._queue.items) == (0 if before is None else 1)


def test_no_morning_follows_the_last_session(runner):
    told = []
    runner._rollover = SimpleNamespace(before_open=lambda: told.append("prepared"))
    runner._looks_before_stop = 1
    runner._on_morning()
    runner._looks_before_stop = None
    runner._on_morning()
    assert told == ["prepared"]


@pytest.mark.parametrize(
    ("mode", "seconds", "why"),
    [
        (StopMode.FLATTEN, 120.0, "not flat in time"),
        (StopMode.HOLD, 5.0, "stopped; the venue has not confirmed every cancel"),
        (StopMode.LEAVE, None, None),
    ],
)
def test_a_stop_that_is_not_complete_ends_the_run_in_time(runner, mode, seconds, why):
    do(runner, runner._bound_stop, mode)
    before = 120.0 if seconds is None else seconds
    runner.loop.run_until_complete(asyncio.sleep(before - 0.1))
    assert not runner._queue.items
    runner.loop.run_until_complete(asyncio.sleep(0.2))
    assert [item.why for item in runner._queue.items] == ([] if why is None else [why])


@pytest.mark.parametrize(
    ("held", "shown"),
    [(None, ""), ([], ""), ([5, 0], ": the venue shows 5 SPY")],
)
def test_what_the_venue_showed_last_is_named_when_the_desk_is_not_flat_in_time(runner, held, shown):
    class Line(SimpleNamespace):
        def __str__(self):
            return f"{self.quantity} SPY"

    if held is not None:
        runner.queries.latest = SimpleNamespace(positions=[Line(quantity=quantity) for quantity in held])
    assert runner._take(Ended("not flat in time", RunEnd.NOT_FLAT)) == []
    assert runner._stop.reason == f"not flat in time{shown}"


@pytest.mark.parametrize(
    ("quantity", "number", "refused"), [(1, None, True), (0, None, False), (1, 0, False)]
)
def test_what_came_into_the_account_during_the_start_refuses_it(runner, quantity, number, refused):
    class Line(SimpleNamespace):
        def __str__(self):
            return f"{self.quantity} X"

    view = SimpleNamespace(positions=[Line(quantity=quantity, instrument_id=number)])
    if refused:
        with pytest.raises(RetryError, match="holdings changed while the desk started") as error:
            runner._note_holdings(view)
        assert (error.value.where, error.value.value) == ("account", "1 X")
        assert runner.said == []
    else:
        runner._note_holdings(view)
        text = "taken over from the account: 1 X; a flatten closes all of it"
        assert runner.said == ([("info", text)] if quantity else [])


def test_a_failed_event_stream_counts_as_a_lost_order_stream(runner):
    runner._stream_restarts(ValueError("broken"))
    lost, gap = runner._queue.items
    assert [(one.kind, one.stream, one.name, one.detail) for one in (lost, gap)] == [
        (kind, "orders", "internal_fault", "ValueError: broken")
        for kind in (NoticeKind.DISCONNECTED, NoticeKind.GAP)
    ]
    assert lost.ts_recv_ns == gap.ts_recv_ns >= runner.core.engine.now_ns


# the house -------------------------------------------------------------------------------------------------


@pytest.fixture
def house(runner, monkeypatch):
    """Return when, by the clock of the loop, the runner flushed its journal and asked for the account."""
    runner.options = SimpleNamespace(reconcile_seconds=5.0, flush_seconds=1.0)
    flushed = []
    monkeypatch.setattr(runner.core.journal, "flush", lambda: flushed.append(now[0]))
    now = [0.0]

    def keep(until, step=0.5):
        asked = []
        while now[0] <= until:
            runner.queries.calls.clear()
            do(runner, runner._keep_house, now[0])
            asked += [now[0]] * len(runner.queries.calls)
            now[0] += step
        return flushed, asked

    return keep


def test_the_house_flushes_each_second_and_looks_at_the_account_on_its_timer(runner, house):
    woken = []
    runner._queue.wake = lambda: woken.append(1)
    flushed, asked = house(12.0)
    assert flushed == [1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5, 12.0]
    assert asked == [5.5, 11.0]
    assert len(woken) == 25


def test_a_disk_that_refuses_is_an_alarm_and_the_house_goes_on(runner, house, monkeypatch):
    def refuse():
        raise StopError("the disk is full")

    monkeypatch.setattr(runner.core.journal, "flush", refuse)
    _, asked = house(6.0)
    assert set(runner.said) == {("alarm", "the disk is full")}
    assert asked == [5.5]


def test_a_silent_stream_is_reconnected_and_named(runner, house):
    renewed = []

    async def reconnect(stream):
        renewed.append(stream)

    runner.gateway.reconnect = reconnect
    runner._stale_streams = SimpleNamespace(due=lambda now, is_open: [("quotes", 61.4)] if now == 2.0 else [])
    house(3.0)
    runner.loop.run_until_complete(asyncio.sleep(0.0))
    assert renewed == ["quotes"]
    assert runner.said == [("warning", "quotes silent: no message for 61 s in an open session; reconnecting")]


@pytest.mark.parametrize(("proven", "is_live"), [(True, True), (True, False), (False, True)])
def test_a_proven_order_that_is_still_live_leads_to_a_look(runner, proven, is_live):
    settled = []

    async def query(name):
        return proven

    runner.gateway.query_order = query
    runner._unknown = SimpleNamespace(settle=settled.append)
    live = runner.core.engine.desk.orders.live
    if is_live:
        live["a"] = None
    try:
        runner.loop.run_until_complete(runner._resolve("a"))
    finally:
        live.pop("a", None)
    assert settled == (["a"] if proven else [])
    assert runner.state.counters["doubts_resolved"] == int(proven)
    assert runner.queries.calls == ([("ask", 0.0)] if proven and is_live else [])


def test_at_the_worst_every_order_is_cancelled_though_one_cancel_fails(runner):
    def send(command):
        if command.client_order_id == "b":
            raise ValueError("no line")
        runner.sent.append(command)

    runner.gateway.send = send
    live = runner.core.engine.desk.orders.live
    live |= dict.fromkeys("abc")
    try:
        runner.loop.run_until_complete(runner._cancel_everything())
    finally:
        live.clear()
    assert runner.sent == [CancelOrder("a"), CancelOrder("c")]
    ((level, text),) = runner.said
    assert (level, text.partition(" at ")[0]) == ("alarm", "the cancel of b failed: ValueError: no line")
    assert runner.loop.time() == pytest.approx(0.1)  # they are written before the connection ends


# figures -------------------------------------------------------------------------------------------------


def test_a_runner_that_is_told_nothing_takes_these_times(lived):
    made = LiveRunner(lived.core, SimpleNamespace(), lived.gateway._clock)
    assert (
        made.options
        == RunnerOptions()
        == RunnerOptions(
            reconcile_seconds=60.0,
            confirm_seconds=1.0,
            resolve_seconds=1.0,
            absent_after_seconds=10.0,
            silent_seconds=60.0,
            flush_seconds=1.0,
            tick_seconds=0.05,
            deadline_margin_seconds=300.0,
            flatten_seconds=120.0,
            most_waiting=2_000,
            rolls=False,
            sessions=None,
            stop=StopMode.HOLD,
        )
    )


def test_a_new_runner_has_counted_nothing_and_keeps_the_latest_fifty_notices(lived):
    made = LiveRunner(lived.core, SimpleNamespace(), lived.gateway._clock)
    state = made.state
    assert (state.reason, state.closes, state.recovered_seconds, state.counters) == ("", 0, None, {})
    state.notices.extend(notice("gap", name=str(number)) for number in range(51))
    assert [one.name for one in state.notices] == [str(number) for number in range(1, 51)]
    made._notify("info", "not heard")


# what an item leads to -----------------------------------------------------------------------------------


@pytest.fixture
def due(runner, monkeypatch):
    """Let a timer and an appointment of the calendar be due as the test says; return what is carried out."""
    steps = []
    timers, agenda = [], []
    next_of = property(lambda self: self.times[0] if self.times else NEVER_NS)
    core = type("Core", (), {"due_ns": next_of, "times": timers, "engine": runner.core.engine})()
    core.feed = lambda event: steps.append(("fed", event)) or [f"after {event}"]
    core.next_timer = lambda now_ns: f"timer {timers.pop(0)}"
    calendar = type("Calendar", (), {"due_ns": next_of, "times": agenda})()
    calendar.fire = lambda now_ns: steps.append(("calendar", agenda.pop(0))) or ["opened"]
    runner.core, runner.calendar = core, calendar
    runner.due = lambda *, by_timer=(), by_calendar=(): (timers.extend(by_timer), agenda.extend(by_calendar))
    return steps


@pytest.mark.parametrize(
    ("by_timer", "by_calendar", "now_ns", "steps", "left"),
    [
        ([], [], 10, [], (0, 0)),
        ([10], [], 10, [("fed", "timer 10")], (0, 0)),
        ([11], [], 10, [], (1, 0)),
        ([], [10], 10, [("calendar", 10)], (0, 0)),
        ([], [11], 10, [], (0, 1)),
        ([5], [5], 10, [("calendar", 5), ("fed", "timer 5")], (0, 0)),  # the session opens first
        ([4, 6], [5, 12], 10, [("fed", "timer 4"), ("calendar", 5), ("fed", "timer 6")], (0, 1)),
    ],
)
def test_what_is_due_is_carried_out_in_its_order(runner, due, by_timer, by_calendar, now_ns, steps, left):
    runner.due(by_timer=by_timer, by_calendar=by_calendar)
    commands = runner._fire(now_ns)
    assert due == steps
    assert commands == ["opened" if kind == "calendar" else f"after {what}" for kind, what in steps]
    assert (len(runner.core.times), len(runner.calendar.times)) == left


def test_a_timer_that_is_gone_leads_to_nothing(runner, due):
    runner.due(by_timer=[3])
    runner.core.next_timer = lambda now_ns: runner.core.times.clear()
    assert (runner._fire(5), due) == ([], [])


@pytest.mark.parametrize(
    ("by_timer", "by_calendar", "fires"),
    [([], [], False), ([8], [], False), ([7], [], True), ([], [7], True), ([], [8], False), ([6], [6], True)],
)
def test_a_quote_is_handled_after_what_was_due_before_it(runner, due, by_timer, by_calendar, fires):
    quote = QuoteEvent(0, 7, 7, 1.0, 2.0, 1.0, 1.0)
    runner.due(by_timer=by_timer, by_calendar=by_calendar)
    commands = runner._take(quote)
    assert due[-1] == ("fed", quote)
    assert commands[-1] == f"after {quote}"
    assert (len(due) > 1) is fires is (len(commands) > 1)


def test_a_run_that_ends_in_the_morning_opens_no_session_that_is_due_as_well(runner, due):
    """A process that slept (a closed laptop) wakes after the open: the session is the next run's."""
    end = runner.calendar.fire

    def fire(now_ns):
        commands = end(now_ns)
        runner._stop.finish("rolled")
        return commands

    runner.calendar.fire = fire
    for item in (QuoteEvent(0, 7, 7, 1.0, 2.0, 1.0, 1.0), TimerEvent(7, 7, "x")):
        runner._stop.reason = ""
        runner.due(by_timer=[6], by_calendar=[4, 5])
        assert runner._take(item) == ["opened"]
        assert due == [("calendar", 4)]
        assert (runner.core.times.pop(), runner.calendar.times.pop()) == (6, 5)
        due.clear()


def test_a_quote_from_before_a_standstill_is_not_handled_until_its_connection_has_ended(runner, due):
    quote, ended = QuoteEvent(0, 7, 7, 1.0, 2.0, 1.0, 1.0), []
    runner._standstill = SimpleNamespace(limit_ns=6, is_late=lambda _: not ended, ended=ended.append)
    runner.due(by_timer=[7])
    assert runner._take(quote) == ["after timer 7"]
    assert due == [("fed", "timer 7")]
    assert runner.state.counters == {"quotes_passed_over": 1}
    for kind in ("gap", "disconnected", "dead"):
        runner.core.engine.desk.gate.mode = Mode.HALTED
        do(runner, runner._on_notice, notice(kind, "stocks"))
    assert ended == ["stocks", "stocks"]
    assert runner._take(quote) == [f"after {quote}"]


def test_another_event_is_handled_after_what_was_due_before_it_and_a_view_is_judged(runner, due):
    event = TimerEvent(7, 7, "x")
    runner.due(by_timer=[7])
    assert runner._take(event) == ["after timer 7", f"after {event}"]
    runner._on_view = lambda viewed: ["seen", viewed.view]
    assert runner._take(Viewed("view")) == ["seen", "view"]
    runner._on_operation = lambda item: ["carried out", item.reason]
    assert runner._take(Operation("halt", "why", "me")) == ["carried out", "why"]
    runner._on_notice = lambda item: ["noted", item.name]
    assert runner._take(notice("gap")) == ["noted", "lost"]


# the watchdog --------------------------------------------------------------------------------------------


class Dog:
    """Writes down what the watchdog hears."""

    def __init__(self):
        self.heard, self.is_alive = [], True

    def __getattr__(self, name):
        return lambda *what: self.heard.append((name, *what))


def leg(name):
    return SubmitOrder(name, 0, Side.BUY, Decimal(1), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN)


@pytest.mark.parametrize(
    ("event", "times"),
    [
        (OrderFilled("a", 1, 1, "x", Decimal(1), Decimal(4), Decimal(0)), 1),
        (
            PositionChanged(
                InstrumentId(1), 1, 1, ChangeCause.MANUAL_TRADE, Decimal(1), Decimal(4), Decimal(0), "r"
            ),
            1,
        ),
        (OrderAccepted("a", 1, 1, "v"), 0),
    ],
)
def test_what_changes_a_holding_sets_its_deadline_before_the_next_look_at_the_account(runner, event, times):
    """Options bought after the last look had no deadline: held past it, they were left to the venue."""
    planned = []
    runner.calendar = SimpleNamespace(plan_deadline=lambda: planned.append(len(fed)))
    fed = []
    runner.core = SimpleNamespace(
        engine=runner.core.engine, feed=lambda item: fed.append(item) or ("command",)
    )
    assert runner._feed(event) == ["command"]
    assert (fed, planned) == ([event], [1] * times)


def test_the_watchdog_hears_of_an_order_before_the_venue_and_of_its_end_once(runner):
    dog, order = Dog(), leg("a")
    combo = MultiLegOrder("c", (leg("c1"), leg("c2")), None, TimeInForce.DAY)
    runner._watchdog = dog
    runner.gateway.send = lambda command: dog.heard.append(("sent", command))
    runner._hand_over([order, combo, CancelOrder("z")])
    assert dog.heard == [
        ("order_sent", order),
        ("sent", order),
        ("order_sent", combo.legs[0], "c"),
        ("order_sent", combo.legs[1], "c"),
        ("sent", combo),
        ("sent", CancelOrder("z")),
    ]
    dog.heard.clear()
    live = runner.core.engine.desk.orders.live
    live |= dict.fromkeys(["a", "c2"])
    runner.core = SimpleNamespace(engine=runner.core.engine, feed=lambda event: ("command",))
    try:
        for _ in range(2):
            assert runner._feed("event") == ["command"]
        assert dog.heard == [("order_ended", "c1")]
        live.clear()
        runner._feed("event")
        assert sorted(dog.heard[1:]) == [("order_ended", "a"), ("order_ended", "c2")]
        runner._feed("event")
        assert len(dog.heard) == 3
    finally:
        live.clear()


def test_without_a_watchdog_orders_go_to_the_venue_alone(runner):
    runner._hand_over([leg("a")])
    assert runner.sent == [leg("a")]
    assert runner._reported_orders == set()


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_house_lets_the_watchdog_know_that_the_desk_lives_and_says_when_none_runs(
    runner, house, is_alive
):
    runner._watchdog = dog = Dog()
    dog.is_alive = is_alive
    house(1.0)
    assert dog.heard == [("beat",)] * 3
    warning = ("warning", "no watchdog runs: nothing cancels orders if this desk fails")
    assert runner.said == ([] if is_alive else [warning])


@pytest.mark.parametrize("is_open", [True, False])
def test_the_house_asks_about_unknown_orders_and_about_streams_of_an_open_session(
    runner, house, monkeypatch, is_open
):
    asked, judged = [], []

    async def resolve(name):
        asked.append(name)

    runner._resolve = resolve
    runner._unknown = SimpleNamespace(due=lambda now: ["a", "b"] if now == 0.5 else [])
    runner._stale_streams = SimpleNamespace(due=lambda now, is_open: judged.append((now, is_open)) or [])
    monkeypatch.setattr(runner.core.engine.desk.view, "session", "session" if is_open else None)
    house(1.0)
    runner.loop.run_until_complete(asyncio.sleep(0.0))
    assert asked == ["a", "b"]
    assert judged == [(at, is_open) for at in (0.0, 0.5, 1.0)]


# looks at the account ------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks_again", [True, False])
def test_a_view_is_judged_and_what_follows_is_asked_for(runner, monkeypatch, looks_again):
    steps = []
    verdict = SimpleNamespace(commands=["booked"], query=["a", "b"], look_again=looks_again)
    runner.reconciler = SimpleNamespace(
        begins_ns=7, judge=lambda view, since_ns: steps.append(f"judged from {since_ns}") or verdict
    )
    runner._unknown = SimpleNamespace(add=lambda name: steps.append(f"unknown {name}"))
    runner.calendar = SimpleNamespace(plan=lambda view: steps.append("planned"))
    runner._stop = SimpleNamespace(check=lambda view: steps.append("checked"))
    runner._fire = lambda now_ns: steps.append(f"fired {now_ns}") or ["timer"]
    runner._look_finally = lambda *, is_equal: steps.append(f"equal {is_equal}")
    runner._note_limits = lambda view: steps.append("limits") or ["limited"]
    view = SimpleNamespace(ts_event_ns=7, ts_recv_ns=7)
    assert runner._on_view(Viewed(view, 5)) == ["timer", "booked", "limited"]
    assert runner.queries.calls == ["take"] + [("ask", 0.0)] * looks_again  # FAST confirms at once
    assert steps == [
        *("fired 7", "judged from 5", "unknown a", "unknown b", f"equal {not looks_again}"),
        *("limits", "planned", "checked"),
    ]


@pytest.mark.parametrize(
    ("known", "reported", "is_fed"),
    [
        (None, None, False),
        ("3", None, False),
        (None, "3", True),
        ("3", "3", False),  # only the instants differ
        ("3", "4", True),
    ],
)
def test_the_accounts_limits_reach_the_engine_when_they_have_changed(
    runner, monkeypatch, known, reported, is_fed
):
    def limits(power, at_ns):
        if power is None:
            return None
        return AccountLimits(at_ns, at_ns, True, True, 3, Decimal(power), Decimal(0), ())

    engine_ns, fed, asked = runner.core.engine.now_ns, [], []
    monkeypatch.setattr(runner.core.engine.desk.gate, "venue_limits", limits(known, 1))
    runner.core = SimpleNamespace(engine=runner.core.engine, feed=lambda event: fed.append(event) or ("out",))
    for received_ns in (engine_ns - 1, engine_ns + 1):
        view = SimpleNamespace(
            ts_recv_ns=received_ns, limits=lambda now_ns: asked.append(now_ns) or limits(reported, now_ns)
        )
        assert runner._note_limits(view) == (["out"] if is_fed else [])
    assert asked == [engine_ns, engine_ns + 1]
    assert fed == ([limits(reported, at_ns) for at_ns in asked] if is_fed else [])


@pytest.mark.parametrize("reported", [True, False])  # Deribit and the simulated venue report no limits
def test_a_resumed_run_is_let_trade_once_its_account_has_been_compared(runner, monkeypatch, reported):
    limits = AccountLimits(1, 1, True, True, 3, Decimal(4), Decimal(0), ())
    fed, now_ns = [], runner.core.engine.now_ns
    monkeypatch.setattr(runner.core.engine.desk.gate, "is_compared", False)
    runner.core = SimpleNamespace(engine=runner.core.engine, feed=lambda event: fed.append(event) or ("out",))
    view = SimpleNamespace(
        ts_event_ns=now_ns, ts_recv_ns=now_ns, limits=lambda _now_ns: limits if reported else None
    )
    assert runner._note_limits(view) == []
    runner.reconciler.is_settled = True
    assert runner._note_limits(view) == ["out"] * (1 + reported)
    assert fed == [AccountComparison(now_ns, now_ns, is_compared=True), limits][: 1 + reported]


@pytest.mark.parametrize(
    ("settlement", "is_option", "expired_ns", "waits"),
    [
        (Settlement.CASH_MEAN, True, 0, True),
        (Settlement.CASH_MEAN, True, 1, False),
        (Settlement.CASH_MEAN, True, -1, True),
        (Settlement.CASH_PM, True, 0, False),
        (Settlement.CASH_MEAN, False, 0, False),
    ],
)
def test_the_run_waits_for_the_delivery_of_what_settles_at_a_mean_price(
    runner, monkeypatch, settlement, is_option, expired_ns, waits
):
    now_ns = runner.core.engine.now_ns
    contract = replace(option("C", 500), settlement=settlement) if is_option else share()
    monkeypatch.setattr(runner_, "expiry_instant_ns", lambda contract: now_ns + expired_ns)
    held = [SimpleNamespace(instrument_id=0)]
    desk = SimpleNamespace(instruments=[contract], positions=SimpleNamespace(held=lambda: held))
    runner.core = SimpleNamespace(engine=SimpleNamespace(desk=desk, now_ns=now_ns))
    runner._looks_before_stop = 1
    do(runner, runner._look_finally, is_equal=True)
    assert runner.queries.calls == ([("ask", 0.0)] if waits else [])
    assert len(runner._queue.items) == int(not waits)
    assert runner._looks_before_stop == (0 if waits else None)


# commands of the operator --------------------------------------------------------------------------------


def operated(runner, action="", stop=None, *, answer=True, mode_after=None):
    """Carry out an operation on stand-ins; return its result and what was fed."""
    fed = []
    gate = runner.core.engine.desk.gate

    def feed(event):
        fed.append(event)
        if mode_after is not None:
            gate.mode = mode_after
        return [CancelOrder("a"), leg("b"), CancelOrder("c")]

    runner._feed = feed

    async def inside():
        future = asyncio.get_running_loop().create_future() if answer else None
        commands = runner._on_operation(Operation(action, "why", "me", stop, answer=future))
        return commands, future.result() if future is not None else None

    commands, result = runner.loop.run_until_complete(inside())
    return commands, result, fed


def test_an_operators_command_is_fed_at_the_desks_time_told_and_answered(runner):
    gate = runner.core.engine.desk.gate
    gate.mode = Mode.ACTIVE
    runner._clock = SimpleNamespace(now_ns=lambda: runner.core.engine.now_ns + 5)
    commands, result, (event,) = operated(runner, "halt", mode_after=Mode.HALTED)
    at_ns = runner.core.engine.now_ns + 5
    assert event == OperatorEvent(at_ns, at_ns, OperatorAction.HALT, "why", "me", OperatorCause.PERSON)
    assert commands == [CancelOrder("a"), leg("b"), CancelOrder("c")]
    assert result == {"was": "ACTIVE", "mode": "HALTED", "cancels": 2}
    assert runner.said == [("warning", "ACTIVE to HALTED: why (me)")]
    assert runner._stop.mode is None
    runner._clock = SimpleNamespace(now_ns=lambda: runner.core.engine.now_ns - 5)
    _, result, (event,) = operated(runner, "halt", mode_after=Mode.HALTED)
    assert event.ts_recv_ns == runner.core.engine.now_ns
    assert result == {"was": "HALTED", "mode": "HALTED", "cancels": 2}
    assert len(runner.said) == 1
    assert operated(runner, "halt", answer=False)[1] is None


@pytest.mark.parametrize("action", ["halt", "flatten"])
def test_a_command_to_a_run_that_has_just_rolled_is_refused(runner, due, action):
    """It was answered "ACTIVE to HALTED", and the next day's run began ACTIVE."""
    fire = runner.calendar.fire

    def rolls(now_ns):
        runner._stop.finish("rolled")
        return fire(now_ns)

    async def inside():
        asked = asyncio.create_task(runner.operate(action, "why", "me"))
        await asyncio.sleep(0)
        assert runner._take(runner._queue.items.popleft()) == ["opened"]
        runner._refuse_unanswered()
        await asked

    runner.calendar.fire, runner._feed = rolls, pytest.fail
    runner._clock = SimpleNamespace(now_ns=lambda: runner.core.engine.now_ns)
    runner.due(by_calendar=[0])
    for asked in (inside, partial(runner.operate, action, "why", "me")):  # the second one after the end
        with pytest.raises(StopError, match="the run ended before it carried this out: rolled"):
            runner.loop.run_until_complete(asked())
    assert not runner._queue.items


def test_a_command_whose_asker_has_gone_is_carried_out_without_an_answer(runner):
    async def inside():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return runner._on_operation(Operation("halt", "why", "me", answer=future))

    runner._feed = lambda event: ["command"]
    assert runner.loop.run_until_complete(inside()) == ["command"]


@pytest.mark.parametrize(
    ("stop", "is_at_end", "still_at_end", "asked"),
    [
        (StopMode.FLATTEN, True, False, [("ask", 0.0)]),
        (StopMode.FLATTEN, False, False, []),
        (StopMode.HOLD, True, True, []),
        (None, True, True, []),
    ],
)
def test_a_flatten_after_the_last_session_waits_for_the_next(runner, stop, is_at_end, still_at_end, asked):
    bound, checked = [], []
    runner._bound_stop = bound.append
    runner._stop = SimpleNamespace(mode=None, reason="", check=checked.append)
    runner.calendar.is_at_end = is_at_end
    _, _, fed = operated(runner, "" if stop is None else stop.action, stop)
    assert runner.calendar.is_at_end is still_at_end
    assert runner.queries.calls == asked
    assert (bound, runner._stop.mode) == ([stop] if stop else [], stop)
    assert checked == [None]
    assert len(fed) == (0 if stop is None else 1)


# the beginning -------------------------------------------------------------------------------------------


class Line(SimpleNamespace):
    """A holding at the venue."""

    def __str__(self):
        return f"{self.quantity} {self.symbol}"


def begin(runner, monkeypatch, *, is_fresh, positions=(), open_orders=(), quoted=(), received_ns=0, **known):
    """Begin a run on stand-ins; return which history was asked for and the first events in order."""
    steps = []
    view = SimpleNamespace(
        ts_recv_ns=received_ns,
        ts_event_ns=77,
        account=SimpleNamespace(equity=Decimal(100_000)),
        positions=positions,
        open_orders=open_orders,
    )

    async def first(since_ns):
        steps.append(since_ns)
        return view

    async def quotes(gateway, seen):
        return tuple(SimpleNamespace(instrument_id=number) for number in quoted)

    async def send(commands):
        steps.append(("sent", *commands))

    runner.queries.first = first
    monkeypatch.setattr(runner_, "quotes_of_holdings", quotes)
    monkeypatch.setattr(runner_, "adoption", lambda start, seen, marks, now_ns: ["adopt", now_ns])
    monkeypatch.setattr(runner_, "continuation", lambda engine, now_ns: ["go on", now_ns])
    runner._feed = lambda event: [f"after {event}"]
    runner._consumer = SimpleNamespace(send=send)
    runner.loop.run_until_complete(runner._begin(Start(is_fresh=is_fresh, **known)))
    (viewed,) = runner._queue.items
    assert viewed == Viewed(view, steps[0] if steps[0] is not None else NEVER_NS)
    return steps


UNQUOTED = "valued at what was paid, neither hedged nor closed until it is quoted"


@pytest.mark.parametrize("late_ns", [-1, 0, 1])
def test_a_fresh_run_takes_the_account_over_and_names_what_it_cannot_value(runner, monkeypatch, late_ns):
    engine_ns = runner.core.engine.now_ns
    positions = [
        Line(quantity=5, symbol="SPY", instrument_id=0),
        Line(quantity=0, symbol="OLD", instrument_id=1),
        Line(quantity=-2, symbol="CALL", instrument_id=2),
    ]
    strangers = [SimpleNamespace(symbol="SPY", client_order_id="x1")]
    steps = begin(
        runner,
        monkeypatch,
        is_fresh=True,
        positions=positions,
        open_orders=strangers,
        quoted=[0],
        received_ns=engine_ns + late_ns,
    )
    now_ns = max(engine_ns, engine_ns + late_ns)
    assert steps == [None, ("sent", "after adopt"), ("sent", f"after {now_ns}")]
    assert runner.reconciler.fills_since_ns == 77
    assert runner.said == [
        ("info", "taken over from the account: 5 SPY, -2 CALL; a flatten closes all of it"),
        ("alarm", f"the venue has no quote of what the account holds: CALL: {UNQUOTED}"),
        ("alarm", "the account has open orders that this run did not send: SPY x1"),
    ]


def test_a_fresh_run_on_an_empty_account_says_nothing(runner, monkeypatch):
    begin(runner, monkeypatch, is_fresh=True)
    assert runner.said == []


@pytest.mark.parametrize(("engine_ns", "since_ns"), [(DAY_NS - 1, 0), (DAY_NS, 0), (DAY_NS + 1, 1)])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_resumed_run_asks_for_a_day_of_history_and_cancels_again_what_was_being_cancelled(
    runner, monkeypatch, engine_ns, since_ns, is_open
):
    live = {
        name: SimpleNamespace(state=state)
        for name, state in (("a", OrderState.PENDING_CANCEL), ("b", OrderState.WORKING))
    }
    desk = SimpleNamespace(
        view=SimpleNamespace(session="session" if is_open else None), orders=SimpleNamespace(live=live)
    )
    runner.core = SimpleNamespace(engine=SimpleNamespace(desk=desk, now_ns=engine_ns))
    steps = begin(runner, monkeypatch, is_fresh=False)
    assert steps == [since_ns, ("sent", "after go on"), ("sent", f"after {engine_ns}")]
    assert runner.sent == [CancelOrder("a")]
    assert runner.reconciler.fills_since_ns == since_ns
    assert runner.calendar.has_closed is not is_open
    assert runner.said == []


@pytest.mark.parametrize("is_over", [True, False])
def test_the_market_is_followed_in_all_instruments_unless_the_run_is_over_already(runner, is_over):
    asked = []

    async def subscribe(numbers):
        asked.append(numbers)

    runner.gateway.subscribe = subscribe
    runner._stop = SimpleNamespace(reason="over" if is_over else "")
    runner.loop.run_until_complete(runner._follow_market())
    count = len(runner.core.engine.desk.instruments)
    assert asked == ([] if is_over else [list(range(count))])


# the run -------------------------------------------------------------------------------------------------


def run_through(runner, *, fails=None, watchdog=None, seconds=(3.0, 4.0), cancel=None):
    """Run on stand-ins whose two parts take so many seconds; return the steps and the reason or the error."""
    steps = []
    spent = iter(seconds)

    async def consume(until):
        steps.append(("consume", until()))
        await asyncio.sleep(next(spent))
        if fails is not None:
            raise fails
        runner._stop.reason = "over"

    async def follow():
        steps.append("follow")
        runner._stop.reason = ""

    async def begin(start):
        steps.append(("begin", start))

    async def cancel_everything():
        steps.append("cancel everything")

    async def take_orders_off():
        steps.append("orders off")

    async def end():
        steps.append("end")

    runner._take_orders_off = take_orders_off
    runner.reconciler = SimpleNamespace(is_settled=False)
    runner._stop = SimpleNamespace(reason="", end=RunEnd.STOPPED)
    runner._consumer = SimpleNamespace(consume=consume, take_at_once="at once")
    runner._begin, runner._follow_market = begin, follow
    runner._cancel_everything = cancel or cancel_everything
    runner._watchdog = watchdog
    runner.gateway.shortcut = lambda take: steps.append(("shortcut", take))
    runner.supervisor = SimpleNamespace(
        start=lambda name, make, policy, **more: steps.append((name, policy, *more.values())), end=end
    )
    runner.core = SimpleNamespace(inform_watchers=lambda: steps.append("informed"))
    runner.loop.run_until_complete(asyncio.sleep(100.0))
    try:
        return steps, runner.loop.run_until_complete(runner.run())
    except Exception as error:  # noqa: BLE001 - the test compares it
        return steps, error


def test_a_run_begins_settles_follows_the_market_and_ends_with_its_reason(runner):
    runner.options = RunnerOptions(absent_after_seconds=7.0)
    dog, unanswered = Dog(), runner.loop.create_future()
    runner._unanswered.add(unanswered)
    steps, reason = run_through(runner, watchdog=dog)
    assert steps == [
        ("the venue's event stream", RESTART_TWICE, runner._stream_restarts),
        ("shortcut", "at once"),
        ("housekeeping", RESTART_ONCE),
        ("begin", Start()),
        ("consume", False),
        "follow",
        ("consume", False),
        "orders off",
        "informed",
        "end",
    ]
    assert reason == runner.state.reason == "over"
    assert runner._unknown.may_prove_absence_at == 107.0
    assert runner.state.recovered_seconds == 3.0
    assert dog.heard == [("started",)]
    assert "before it carried this out: over" in str(unanswered.exception())


@pytest.mark.parametrize(
    ("error", "cancels"),
    [
        (StopError("the disk is full"), True),
        (ValueError("broken"), True),
        (RetryError("no answer"), False),
        (ConfigError("wrong"), False),
    ],
)
def test_a_run_that_fails_cancels_its_orders_unless_nothing_can_have_been_sent(runner, error, cancels):
    steps, raised = run_through(runner, fails=error)
    assert raised is error
    assert steps[-2:] == ["informed", "end"]
    assert ("cancel everything" in steps) is cancels
    assert [level for level, _ in runner.said] == ["alarm"] * cancels
    if cancels:
        assert runner.said[0][1].startswith("the desk stops: ")
    assert runner.state.recovered_seconds is None


def test_housekeeping_ticks(runner):
    kept = []
    runner.options = RunnerOptions(tick_seconds=0.25)
    runner._keep_house = kept.append

    async def some_time():
        house = asyncio.ensure_future(runner._housekeeping())
        await asyncio.sleep(1.1)
        house.cancel()

    runner.loop.run_until_complete(some_time())
    assert kept == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("cause", ["operator", "venue"])
def test_the_cancels_of_a_halt_are_handed_over_before_anybody_is_told(runner, cause):
    runner._feed = lambda event: setattr(runner.core.engine.desk.gate, "mode", Mode.HALTED) or [event]
    runner._hand_over = lambda commands: runner.said.append("handed over")
    runner._consumer._hand_over = runner._hand_over
    halt = Operation("halt", "enough", "me") if cause == "operator" else notice("dead")

    async def take():
        await runner._consumer.send(runner._take(halt))

    runner.core.engine.desk.gate.mode = Mode.ACTIVE
    runner.loop.run_until_complete(take())
    assert runner.said[0] == "handed over"
    assert len(runner.said) == 2


def test_orders_are_cancelled_before_a_failure_is_reported(runner):
    runner._notify = lambda level, text: runner.said.append((level, text, len(runner.sent)))

    async def cancel():
        runner.sent.append("cancel")

    run_through(runner, fails=StopError("the disk is full"), cancel=cancel)
    assert runner.said == [("alarm", "the desk stops: the disk is full", 1)]
