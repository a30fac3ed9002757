"""The runner's single steps: what follows from a notice, a close, a look at the account and a tick."""

import asyncio
from types import SimpleNamespace

import pytest

from fakes.live import FAST, LiveBench, follower, walk
from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.intents import CancelOrder
from scalpdesk.live.consumer import Ended
from scalpdesk.live.runner import LiveRunner
from scalpdesk.live.sessions import StopMode
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
    runner._rollover = SimpleNamespace(before_open=lambda **how: told.append(how))
    runner._looks_before_stop = 1
    runner._on_morning()
    runner._looks_before_stop = None
    runner._on_morning()
    assert told == [{"flattened_by_deadline": False}]


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
    assert list(runner._queue.items) == ([] if why is None else [Ended(why)])


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
    assert runner._take(Ended("not flat in time")) == []
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
