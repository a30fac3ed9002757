"""A live run from start to end with stand-ins for its parts: the order of steps, whatever the end is."""

import asyncio
import dataclasses
import getpass
import os
import signal
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import InvariantError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    GammaExposureEvent,
    OperatorEvent,
    OrderStatusUnknown,
    QuoteEvent,
    RateEvent,
)
from scalpdesk.core.intents import SetTimer
from scalpdesk.core.units import NEVER_NS
from scalpdesk.live import run
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.recovery import Start, adoption, continuation, known_orders, quotes_of_holdings, rebuild
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import ROLLED, RunEnd, StopMode
from scalpdesk.orders.order import OrderState


class Parts:
    """Stands for all parts of a desk, and writes down what is done to them in order."""

    def __init__(
        self, ends=("stopped: leave",), *, reason="done", live=(), held=(), left=(), end=RunEnd.STOPPED
    ):
        self.steps, self.ends, self.said = [], list(ends), []
        self.fails = set()
        desk = SimpleNamespace(
            orders=SimpleNamespace(live=live), positions=SimpleNamespace(held=lambda: held)
        )
        self.runner = SimpleNamespace(
            run=self.live,
            supervisor=SimpleNamespace(
                start=lambda name, *_: self.step(f"{name} kept"), end=self.later("tasks ended")
            ),
            options=SimpleNamespace(stop=StopMode.HOLD),
            state=SimpleNamespace(
                closes=2,
                recovered_seconds=0.5,
                reason=reason,
                open_orders=left,
                stop_asked=None,
                end=end,
            ),
            reconciler=SimpleNamespace(unexplained=[17]),
            core=SimpleNamespace(events=9),
            stop=lambda *how: self.steps.append(("stop", *how)),
        )
        self.desk = SimpleNamespace(
            header="header",
            run_dir="folder",
            tally="tally",
            runner=self.runner,
            engine=SimpleNamespace(desk=desk),
            gateway=SimpleNamespace(close=self.later("gateway closed")),
            folder=SimpleNamespace(close=lambda: self.step("folder closed")),
            journal=SimpleNamespace(
                close=lambda summary: self.step("journal sealed"),
                abandon=lambda: self.step("journal left"),
            ),
            lock=SimpleNamespace(release=lambda: self.step("lock released")),
            start=Start(),
        )
        self.watchdog = SimpleNamespace(
            beat=lambda *_: None,
            begin=lambda folder: self.step("watchdog begun"),
            end=self.part,
            leave=lambda: self.step("watchdog left"),
        )
        self.opened, self.clocks = [], []

    def notify(self, *words):
        self.said.append(words)

    def step(self, name):
        self.steps.append(name)
        if name in self.fails:
            raise StopError(f"{name}: failed")

    def part(self, *, clean, keeps_positions=False):
        self.step(f"watchdog ended {clean}{' keeping positions' * keeps_positions}")

    def later(self, name):
        async def call():
            self.step(name)

        return call

    async def live(self, start):
        self.step("ran")
        return self.end_next()

    def end_next(self):
        if self.ends[0] == ROLLED:
            self.runner.state.end = RunEnd.ROLLED
        elif self.runner.state.end is RunEnd.ROLLED:
            self.runner.state.end = RunEnd.STOPPED
        return self.ends.pop(0)

    async def open(self, plan, clock, *, notify, gateway, watchdog):
        self.opened.append((plan, gateway))
        self.clocks.append(clock)
        self.step("opened")
        return self.desk

    def control(self, folder, answer, on_failure):
        return SimpleNamespace(
            start=self.later("socket listens"), serve=None, close=lambda: self.step("socket closed")
        )


@pytest.fixture
def wire(monkeypatch):
    def put_in(parts):
        monkeypatch.setattr(run, "open_desk", parts.open)
        monkeypatch.setattr(run, "ControlServer", parts.control)
        monkeypatch.setattr(run, "warm_up", lambda: parts.step("compiled"))
        monkeypatch.setattr(run, "_listen_to_signals", lambda desk: parts.step("listens to signals"))
        monkeypatch.setattr(run, "_release_signals", lambda: parts.step("signals released"))
        monkeypatch.setattr(
            run,
            "run_summary",
            lambda *how: {"run_id": "r", "verdict": "fine", "pnl": {"total": "3"}, "of": how},
        )
        for name in ("collect", "freeze", "unfreeze"):
            monkeypatch.setattr(run.gc, name, lambda name=name: parts.steps.append(name))
        return parts

    return put_in


def plan(**options):
    settings = load_settings("gamma-scalper", environ={})
    return LivePlan(settings, runner=RunnerOptions(**options), resume=True, set_aside=True)


def carry_out(parts, the_plan=None, **how):
    return asyncio.run(run.carry_out(the_plan or plan(), notify=parts.notify, **how))


BEGINS = ["opened", "collect", "freeze", "socket listens", "the control server kept", "listens to signals"]
CLOSES = ["unfreeze", "tasks ended", "socket closed", "signals released"]
PARTED = ["gateway closed", "folder closed", "journal sealed", "lock released"]


def test_a_run_is_opened_served_and_closed_in_order(wire):
    parts = wire(Parts())
    summary = carry_out(
        parts, clock="clock", gateway="venue", on_ready=lambda desk: parts.step(f"ready {desk.run_dir}")
    )
    assert parts.steps == [*BEGINS, "ready folder", "ran", *CLOSES, *PARTED]
    assert parts.said == [("info", "stopped: leave")]
    assert ([gateway for _, gateway in parts.opened], parts.clocks) == (["venue"], ["clock"])
    assert summary["of"][:4] == ("header", parts.desk.engine, "tally", 9)
    assert (summary["ended"], summary["sessions_closed"]) == ("stopped: leave", 2)
    assert (summary["recovered_seconds"], summary["differences"]) == (0.5, ["17"])
    assert summary["resumable"] is False


def test_a_watchdog_begins_with_the_run_and_ends_cleanly_after_it(wire):
    parts = wire(Parts())
    carry_out(parts, watchdog=parts.watchdog)
    steps = [
        "compiled",
        *BEGINS,
        "watchdog begun",
        "ran",
        *CLOSES,
        *PARTED,
        "watchdog ended True keeping positions",
        "watchdog left",
    ]
    assert parts.steps == steps


@pytest.mark.parametrize(
    ("end", "left", "told"),
    [
        (RunEnd.STOPPED, (), "True keeping positions"),
        (RunEnd.UNCONFIRMED, ("a",), "False keeping positions"),
        (RunEnd.STOPPED, ("a", "b"), "False keeping positions"),
        (RunEnd.NOT_FLAT, (), "False"),
        (RunEnd.NOT_FLAT, ("a",), "False"),
    ],
)
def test_an_end_is_clean_only_when_no_order_works_and_a_flatten_is_through(wire, end, left, told):
    parts = wire(Parts(ends=("in other words",), live=left, left=left, end=end))
    summary = carry_out(parts, watchdog=parts.watchdog)
    assert parts.steps[-2:] == [f"watchdog ended {told}", "watchdog left"]
    assert summary["open_orders"] == list(left)


@pytest.mark.parametrize("at", ["socket listens", "ran"])
def test_a_run_that_fails_is_closed_like_any_other_and_the_watchdog_acts(wire, at):
    parts = wire(Parts(reason=""))
    parts.fails.add(at)
    with pytest.raises(StopError, match=f"{at}: failed"):
        carry_out(parts, watchdog=parts.watchdog)
    left = [step if step != "journal sealed" else "journal left" for step in PARTED]
    after = parts.steps[parts.steps.index(at) + 1 :]
    assert [step for step in after if not step.startswith(("the control", "listens", "watchdog begun"))] == [
        *CLOSES,
        "watchdog ended False",
        *left,
        "watchdog left",  # from here on it acts
    ]


@pytest.mark.parametrize(("sessions", "left"), [(None, None), (5, 3)])
def test_a_run_that_rolled_is_followed_by_one_of_its_own(wire, sessions, left):
    parts = wire(Parts(ends=(ROLLED, "stopped: leave")))
    summary = carry_out(parts, plan(sessions=sessions), gateway="venue", watchdog=parts.watchdog)
    (first, gateway), (second, none) = parts.opened
    assert (gateway, none) == ("venue", None)
    assert (first.runner.sessions, second.runner.sessions) == (sessions, left)
    assert (second.resume, second.set_aside, second.settings) == (False, False, first.settings)
    assert parts.said == [("info", ROLLED), ("info", "r: fine; P&L 3"), ("info", "stopped: leave")]
    assert [type(clock) for clock in parts.clocks] == [FollowingClock] * 2  # the plan's, of a simulated venue
    assert parts.clocks[0] is parts.clocks[1]
    assert [step for step in parts.steps if step.startswith("watchdog ended")] == [
        "watchdog ended True keeping positions"
    ]
    assert summary["ended"] == "stopped: leave"


@pytest.mark.parametrize("mode", list(StopMode))
def test_a_stop_that_comes_as_a_run_rolls_lets_no_other_one_follow(wire, mode):
    """The signal was handled by a run that had ended already, and the next day's run began."""
    parts = wire(Parts(ends=(ROLLED, "stopped: leave")))

    async def live(start):
        parts.runner.state.stop_asked = mode
        return parts.end_next()

    parts.runner.run = live
    summary = carry_out(parts, watchdog=parts.watchdog)
    assert len(parts.opened) == 1
    assert summary["ended"] == f"stopped: {mode}"
    assert parts.steps[-2:] == ["watchdog ended True keeping positions", "watchdog left"]


@pytest.mark.parametrize(
    ("state", "sealed"),
    [
        ({}, True),
        ({"live": ["a"]}, False),
        ({"held": ["a"]}, False),
        ({"reason": ""}, False),
    ],
)
@pytest.mark.parametrize("fails", [None, "gateway closed", "journal"])
def test_a_flat_account_seals_the_journal_and_the_lock_is_released_in_any_case(
    wire, monkeypatch, state, sealed, fails
):
    parts = wire(Parts(**state))
    journal = "journal sealed" if sealed else "journal left"
    parts.fails.add(journal if fails == "journal" else fails)
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: 12.5))
    if fails == "journal":
        with pytest.raises(StopError):
            asyncio.run(run._close(parts.desk, 10.0))
    else:
        summary = asyncio.run(run._close(parts.desk, 10.0))
        assert (summary["resumable"], summary["of"][-1]) == (not sealed, 2.5)
    assert parts.steps == ["gateway closed", "folder closed", journal, "lock released"]


@pytest.fixture
def handlers(monkeypatch):
    """Answer of a desk to each signal, in a process with a terminal."""
    found = {}
    loop = SimpleNamespace(
        add_signal_handler=found.__setitem__, remove_signal_handler=lambda number: found.pop(number, None)
    )
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    return found


def test_the_first_interrupt_stops_in_order_and_the_second_ends_at_once(handlers):
    parts = Parts()
    run._listen_to_signals(parts.desk)
    assert set(handlers) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    handlers[signal.SIGTERM]()
    assert (set(handlers), parts.steps) == ({signal.SIGHUP}, [("stop", StopMode.HOLD)])
    run._listen_to_signals(parts.desk)
    run._release_signals()
    assert handlers == {}


def test_a_terminal_that_closes_stops_in_order_however_often_and_late_it_says_so():
    parts, before = Parts(), signal.getsignal(signal.SIGHUP)

    async def play():
        run._listen_to_signals(parts.desk)
        os.kill(os.getpid(), signal.SIGHUP)
        while not parts.steps:  # noqa: ASYNC110 - the loop hears of a signal in its own time
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        run._release_signals()
        os.kill(os.getpid(), signal.SIGHUP)  # while the run closes

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run in a process that outlives its terminal
    try:
        asyncio.run(play())
    finally:
        signal.signal(signal.SIGHUP, before)
    assert parts.steps == [("stop", StopMode.HOLD)]


def test_a_desk_that_was_started_to_outlive_its_terminal_hears_nothing_of_it(handlers, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    run._listen_to_signals(Parts().desk)
    assert set(handlers) == {signal.SIGINT, signal.SIGTERM}


# dealer gamma ----------------------------------------


@pytest.mark.parametrize(
    ("venue", "has_any", "watches"),
    [("alpaca", True, True), ("alpaca", False, False), ("simulated", True, False)],
)
def test_dealer_gamma_is_polled_where_it_has_a_source_and_not_on_a_tape(
    wire, monkeypatch, venue, has_any, watches
):
    parts, sources, kept = wire(Parts()), [], []
    event = GammaExposureEvent("SPX", 1, 1, -2e9, "chain")

    class Watch:
        def __init__(self, source, clock, post, *, every_seconds, notify):
            kept.append((source, every_seconds, notify, post))

        def start(self):
            parts.step("polls")
            kept[0][3](event)

        def stop(self):
            parts.step("polls no more")

    def source(config, *, history_folder, notify):
        sources.append(notify)
        notify("warning", "late")
        return SimpleNamespace(has_any=has_any, say="say")

    async def lives(start):
        await asyncio.sleep(0)  # what a thread found comes in the loop's next turn
        return "stopped: leave"

    parts.runner.run = lives
    parts.runner.put = parts.steps.append
    parts.desk.engine.now_ns = 70
    monkeypatch.setattr(run, "live_source", source)
    monkeypatch.setattr(run, "ExposureWatch", Watch)
    the_plan = dataclasses.replace(plan(), venue=venue)
    carry_out(parts, the_plan, clock=SimpleNamespace(now_ns=lambda: 50))
    told = [("warning", "late")] if venue == "alpaca" else []
    assert parts.said == [*told, ("info", "stopped: leave")]
    polled = msgspec.structs.replace(event, ts_recv_ns=70)
    steps = [*BEGINS[:-1], "polls", BEGINS[-1], polled, CLOSES[0], "polls no more", *CLOSES[1:], *PARTED]
    assert parts.steps == (steps if watches else [*BEGINS, *CLOSES, *PARTED])
    if watches:
        ((_, every_seconds, notify, post),) = kept
        assert (every_seconds, notify) == (the_plan.settings.config.gex.cache_seconds, "say")
        post(event)  # after the end of the loop: dropped
        sources[0]("warning", "later")
        assert len(parts.said) == 2


# what the operator asks ----------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected", "stops"),
    [
        ({"do": "stop"}, {"stopping": "hold"}, [("stop", StopMode.HOLD, "me")]),
        ({"do": "stop", "how": ""}, {"stopping": "hold"}, [("stop", StopMode.HOLD, "me")]),
        ({"do": "stop", "how": "flatten"}, {"stopping": "flatten"}, [("stop", StopMode.FLATTEN, "me")]),
        ({"do": "stop", "how": "now"}, {"error": "stop how?", "fix": "leave, hold or flatten"}, []),
        ({"do": "halt"}, {"mode": "HALTED", "milliseconds": 0.0}, [("halt", "asked by me", "me")]),
        ({"do": "status"}, ("header", "runner"), []),
        ({"do": "why"}, ("runner", None), []),
        ({"do": "why", "what": 7}, ("runner", "7"), []),
        ({}, {"error": "unknown request None"}, []),
    ],
)
def test_a_request_is_answered(monkeypatch, request_, expected, stops):
    parts = Parts()
    named = {"runner": parts.runner}
    monkeypatch.setattr(getpass, "getuser", lambda: "me")

    async def operate(*how):
        parts.steps.append(how)
        return {"mode": "HALTED"}

    parts.runner.operate = operate
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: 1.0))
    monkeypatch.setattr(run, "status", lambda *how: how)
    monkeypatch.setattr(run, "why", lambda *how: how)
    answer = asyncio.run(run.answer(parts.desk, request_))
    if isinstance(expected, tuple):
        expected = tuple(named.get(part, part) for part in expected)
    assert (answer, parts.steps) == (expected, stops)


@pytest.mark.parametrize(
    ("request_", "acted"),
    [
        ({"do": "halt"}, ("halt", "asked by me", "me")),
        ({"do": "flatten", "reason": "enough"}, ("flatten", "enough", "me")),
        ({"do": "resume", "reason": "fine"}, ("resume", "fine", "me")),
        ({"do": "resume"}, None),
    ],
)
def test_a_command_is_timed_and_a_resume_needs_a_reason(monkeypatch, request_, acted):
    asked, times = [], iter([10.0, 10.0123456])
    monkeypatch.setattr(getpass, "getuser", lambda: "me")
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: next(times)))

    async def act(*how):
        asked.append(how)
        return {"mode": "HALTED"}

    answer = asyncio.run(run.operate(request_, act))
    if acted is None:
        fix = "scalpdesk resume --reason TEXT"
        assert answer == {"error": "going back to work needs a reason", "fix": fix}
    else:
        assert answer == {"mode": "HALTED", "milliseconds": 12.346}
    assert asked == ([] if acted is None else [acted])


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_an_operator_without_a_name_is_a_number(monkeypatch, error):
    def unknown():
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert run.operator_name() == str(os.getuid())


# the beginning of a run ----------------------------------------


def timer(at_ns):
    return SetTimer(f"of {at_ns}", at_ns)


def rate(at_ns):
    return RateEvent(at_ns, at_ns, (1.0,), (0.03,))


def test_prices_are_asked_for_only_where_something_is_held():
    held = SimpleNamespace(instrument_id=3, quantity=Decimal(-1))

    class Gateway:
        async def quotes(self, numbers):
            return tuple(numbers)

    for positions, quotes in (((), ()), ((held,), (3,))):
        view = SimpleNamespace(positions=positions)
        assert asyncio.run(quotes_of_holdings(Gateway(), view)) == quotes


def test_a_new_run_begins_with_its_market_the_prices_of_what_is_held_and_the_account():
    account, quote = rate(3), QuoteEvent(0, 2, 2, 1.0, 2.0, 1.0, 1.0)
    view = SimpleNamespace(as_event=lambda: account)
    events = list(adoption(Start((rate(1),)), view, (quote,), 9))
    assert [(type(event), event.ts_event_ns, event.ts_recv_ns) for event in events] == [
        (RateEvent, 1, 9),
        (QuoteEvent, 2, 9),
        (RateEvent, 3, 9),
    ]


@pytest.mark.parametrize(
    ("stopped_from", "resumes"), [(Mode.HALTED, True), (Mode.ACTIVE, True), (None, False)]
)
def test_a_run_goes_on_with_doubt_about_what_was_never_acknowledged(stopped_from, resumes):
    live = {
        name: SimpleNamespace(state=state, venue_order_id=venue_id)
        for name, state, venue_id in [
            ("a", OrderState.PENDING_NEW, ""),
            ("b", OrderState.PENDING_NEW, "v"),
            ("c", OrderState.WORKING, ""),
        ]
    }
    desk = SimpleNamespace(orders=SimpleNamespace(live=live), gate=SimpleNamespace(stopped_from=stopped_from))
    events = list(continuation(SimpleNamespace(desk=desk), 9))
    doubt = OrderStatusUnknown("a", 9, 9, "the desk ended before the venue answered")
    why = "the run goes on after its stop"
    lifted = OperatorEvent(9, 9, OperatorAction.RESUME, why, "operator", OperatorCause.STOP)
    held_back = AccountComparison(9, 9, is_compared=False)
    assert events == [held_back, doubt, lifted][: 2 + resumes]


@pytest.mark.parametrize(
    ("state", "filled", "venue_id"),
    [(OrderState.UNKNOWN, 0, ""), (OrderState.UNKNOWN, 4, "v"), (OrderState.WORKING, 0, "v")],
)
def test_a_gateway_learns_of_each_order_what_was_booked_and_of_an_unproven_one_no_id(state, filled, venue_id):
    order = SimpleNamespace(
        submitted="sent",
        state=state,
        filled=Decimal(filled),
        average_price=Decimal("1.5"),
        is_live=True,
        venue_order_id="v",
        parent_id="p",
        busted=("x",),
        executions={"y": (Decimal(4), Decimal("1.5"))},
        created_ns=7,
    )
    engine = SimpleNamespace(desk=SimpleNamespace(orders=SimpleNamespace(orders={"a": order})))
    (known,) = known_orders(engine)
    assert (known.submitted, known.filled, known.value) == ("sent", filled, Decimal("1.5") * filled)
    assert (known.is_live, known.venue_order_id, known.parent_id, known.sent_ns) == (True, venue_id, "p", 7)
    assert known.executions == {"x": (0, 0), "y": (4, Decimal("1.5"))}


@pytest.mark.parametrize(
    ("steps", "unwritten", "watched"),
    [
        ([], (), []),
        ([([1], ())], (), []),
        ([([2, 3], (timer(3),)), ([4], ())], (), [3]),
        ([([2], ()), ([3], ())], (timer(3),), [3]),
        ([([3], ()), ([2], ())], "outputs that the journal does not have, at event 1", None),
        ([([3, 2], (timer(3),))], "outputs that the journal does not have, at event 1", None),
        ([([3], (timer(4),))], "other outputs than the journal has, at event 1", None),
    ],
)
def test_a_journal_is_replayed_step_by_step(steps, unwritten, watched):
    """Only numbered events that can be divided by 3 lead to an output, a timer."""
    told = []
    number = {rate(n): n for n in range(9)}

    class Engine:
        def handle(self, event):
            n = number[event]
            return (timer(n),) if n % 3 == 0 else ()

    reader = SimpleNamespace(
        run_dir="folder",
        recovered=4,
        steps=lambda: [([rate(n) for n in step], outputs) for step, outputs in steps],
    )
    if watched is None:
        with pytest.raises(InvariantError, match=unwritten) as refused:
            rebuild(reader, Engine())
        assert refused.value.where == "folder"
        return
    found = rebuild(reader, Engine(), lambda event, _outputs: told.append(number[event]))
    assert (found.unwritten, told) == (unwritten, watched)
    assert (found.events, found.truncated) == (sum(len(step) for step, _ in steps), "4")
    assert found.timers.due_ns == (3 if watched else NEVER_NS)


def test_an_event_that_ended_the_run_and_fails_again_is_named_with_the_ways_on():
    class Engine:
        def handle(self, event):
            if event.ts_recv_ns == 3:
                raise ZeroDivisionError("float division by zero")
            return ()

    steps = [([rate(n) for n in (1, 2, 3)], ())]
    reader = SimpleNamespace(run_dir="folder", recovered=None, steps=lambda: steps)
    with pytest.raises(StopError, match="event 3: ZeroDivisionError: float division by zero at ") as refused:
        rebuild(reader, Engine())
    assert (refused.value.where, "--new-run" in refused.value.fix) == ("folder", True)
