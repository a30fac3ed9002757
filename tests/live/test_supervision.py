"""Nothing that runs beside the consumer fails in silence: each kind of work has its policy."""

import asyncio
import itertools

import pytest

from scalpdesk.core.errors import StopError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import CancelOrder
from scalpdesk.live.supervision import (
    RESTART,
    RESTART_ONCE,
    RESTART_TWICE,
    FaultError,
    LogThrottle,
    Policy,
    StaleStreamMonitor,
    Supervisor,
    describe,
)
from scalpdesk.venues.contract import Health
from scalpdesk_testing.kit.live import BenchWatchdog, LiveBench, VenueDesk, follower, until, walk
from scalpdesk_testing.kit.served import AlpacaBench
from scalpdesk_testing.virtual_time import VirtualLoop


class Watched:
    """A supervisor whose messages and halts are kept, on a loop in virtual time."""

    def __init__(self):
        self.loop = VirtualLoop()
        self.messages = []
        self.halts = []
        self.supervisor = Supervisor(lambda *message: self.messages.append(message), self.halts.append)

    def run(self, seconds, *starts):
        """Start work and let time pass; return when each piece of work began."""

        async def play():
            for start in starts:
                start()
            await asyncio.sleep(seconds)
            await self.supervisor.end()

        self.loop.run_until_complete(play())
        self.loop.close()


def failing(began, error, *, lives_seconds=0.0, times=None):
    """Return work that fails after a while, each time or so many times, and then runs on."""

    async def work():
        loop = asyncio.get_running_loop()
        began.append(round(loop.time(), 3))
        await asyncio.sleep(lives_seconds)
        if times is None or len(began) <= times:
            raise error
        await asyncio.sleep(1e6)

    return work


@pytest.mark.rows(
    ("policy", "starts", "halts"),
    [(Policy(), 1, 0), (RESTART_ONCE, 2, 1), (RESTART_TWICE, 3, 1), (RESTART, None, 0)],
)
def test_work_that_fails_is_restarted_as_its_policy_says_then_reported_or_halts_the_desk(
    policy, starts, halts
):
    watched, began = Watched(), []
    work = failing(began, ValueError("broken"))
    watched.run(100.0, lambda: watched.supervisor.start("the pump", work, policy))
    assert len(watched.halts) == halts
    assert all(
        level == "alarm" and "the pump failed: ValueError: broken" in text for level, text in watched.messages
    )
    if starts is None:  # without limit, at growing intervals, half a minute apart at most
        assert began[:4] == [0.0, 0.1, 0.3, 0.7]
        assert len(watched.messages) == watched.supervisor.counters["internal_fault"] == len(began)
        assert max(after - before for before, after in itertools.pairwise(began)) <= 30.0
    else:
        assert len(began) == len(watched.messages) == starts
        assert ("the run goes on from its journal" in watched.messages[-1][1]) == bool(halts)


def test_a_failure_names_the_place_that_raised_it_and_a_refusal_its_sentence():
    async def divide():
        _ = 1 / 0

    async def refuse():
        raise StopError("the disk refuses", where="disk")

    watched = Watched()
    watched.run(
        1.0,
        lambda: watched.supervisor.spawn("a query", divide()),
        lambda: watched.supervisor.spawn("a flush", refuse()),
    )
    texts = [text for _, text in watched.messages]
    assert "a query failed: ZeroDivisionError: division by zero at " in texts[0]
    assert "test_supervision.py:" in texts[0]
    assert texts[1] == "a flush failed: the disk refuses; the desk goes on without it"


def bench_on(tmp_path, *, limit=None, **how):
    return LiveBench(tmp_path, walk(), lambda: follower(10, limit=limit), **how)


def alarms(bench):
    return [text for level, text in bench.said if level == "alarm"]


def through(bench, look):
    """Let each event of the venue's stream pass ``look``, which may raise or wait."""
    play = bench.gateway.events

    async def events():
        async for item in play():
            await look(item)
            yield item

    bench.gateway.events = events


def sent_by(bench):
    """Return the list of what the desk sends from now on."""
    sent, send = [], bench.gateway.send

    def keep(command):
        sent.append(command)
        send(command)

    bench.gateway.send = keep
    return sent


def test_an_event_stream_that_keeps_failing_halts_the_desk_and_takes_its_orders_back(tmp_path):
    bench = bench_on(tmp_path, limit="400")
    sent = []

    async def breaks(bench):
        async def look(item):
            if bench.engine.desk.orders.live:
                raise ValueError("broken for good")

        through(bench, look)
        sent.append(sent_by(bench))

    with pytest.raises(FaultError, match="the venue's event stream failed"):
        bench.live(meanwhile=breaks)
    assert any("are cancelled: the venue's event stream failed" in text for text in alarms(bench))
    assert sent[0] == [sent[0][0], CancelOrder(sent[0][0].client_order_id)]


class BrokenWatchdog(BenchWatchdog):
    """A watchdog whose heartbeat raises."""

    def beat(self):
        raise KeyError("a stream without a name")


def test_housekeeping_is_restarted_once_and_then_halts_the_desk(tmp_path):
    bench = bench_on(tmp_path)
    bench.watchdog = BrokenWatchdog()

    async def stands_still(bench):
        async def look(item):
            if type(item) is QuoteEvent:
                await asyncio.Event().wait()

        through(bench, look)

    with pytest.raises(FaultError, match="housekeeping failed: KeyError"):
        bench.live(meanwhile=stands_still)
    outcomes = [text.rpartition("; ")[2] for text in alarms(bench)]
    assert outcomes[:2] == ["it is started again in 0.1 s", "the run goes on from its journal"]


def test_an_unexpected_exception_of_the_engine_takes_the_orders_back_and_ends_the_run_with_it(tmp_path):
    bench = bench_on(tmp_path, limit="400")
    sent = []

    async def breaks(bench):
        await until(lambda: bench.engine.desk.orders.live)
        sent.append(sent_by(bench))

        def handle(event):
            raise ArithmeticError("a ledger that does not add up")

        bench.engine.handle = handle

    with pytest.raises(FaultError, match="ArithmeticError"):
        bench.live(meanwhile=breaks)
    assert any("ArithmeticError: a ledger that does not add up" in text for text in alarms(bench))
    assert [type(command) for command in sent[0]] == [CancelOrder]


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_data_stream_whose_reader_fails_is_reconnected_and_reported(tmp_path, socket_enabled):
    bench = AlpacaBench()
    desk = VenueDesk(tmp_path, bench)

    async def meanwhile(desk):
        await until(lambda: desk.engine.desk.market.quotes[0] is not None, 0.01)
        (stocks,) = [one for one in desk.gateway._data.connections() if one.name == "stocks"]
        read = stocks._handler.on_frame

        def fails_once(frame):
            stocks._handler.on_frame = read
            raise KeyError("a field that was never missing")

        stocks._handler.on_frame = fails_once
        await until(lambda: stocks.reconnects == 1 and stocks.is_up, 0.01)
        seen = desk.engine.desk.market.quotes[0].ts_event_ns
        await until(lambda: desk.engine.desk.market.quotes[0].ts_event_ns > seen, 0.01)

    desk.live(meanwhile)
    assert desk.runner.state.counters["disconnected/stocks/internal_fault"] == 1
    assert any("stocks disconnected: internal_fault KeyError" in text for _, text in desk.said)


def test_a_repeated_warning_is_said_ever_more_seldom_until_it_comes_no_more_for_a_while():
    said = []
    throttle = LogThrottle(lambda level, text: said.append((level, text)))
    for now in (100.0, 100.1, 109.9, 110.0, 120.0, 129.9, 130.0, 131.0, 900.0, 910.0):
        throttle.warn("stocks", "late", now)
    throttle.warn("options", "late", 910.0)
    twice, once = "stocks late (2 times more since)", "stocks late (1 times more since)"
    texts = ["stocks late", twice, twice, once, "stocks late", "options late"]
    assert said == [("warning", text) for text in texts]


def test_work_that_is_done_is_no_longer_kept_and_work_that_runs_is_ended():
    watched, ended = Watched(), []

    async def short():
        await asyncio.sleep(1.0)

    async def fails():
        raise ValueError("no")

    async def long():
        try:
            await asyncio.sleep(100.0)
        finally:
            ended.append(asyncio.get_running_loop().time())

    kept = []

    def count():
        names = {task.get_name() for task in asyncio.all_tasks(watched.loop)}
        kept.append(len(names & {"short", "fails", "long"}))

    def begin():
        for name, work in (("short", short()), ("fails", fails()), ("long", long())):
            watched.supervisor.spawn(name, work)
        count()
        watched.loop.call_later(2.0, count)

    watched.run(3.0, begin)
    assert kept == [3, 1]
    assert ended == [3.0]
    assert len(watched.messages) == 1
    assert watched.supervisor.counters == {"internal_fault": 1}


@pytest.mark.parametrize(("lives_seconds", "is_steady"), [(59.9, False), (60.1, True)])
def test_work_is_steady_from_a_minute_on(lives_seconds, is_steady):
    watched, began = Watched(), []
    work = failing(began, ValueError("broken"), lives_seconds=lives_seconds)
    watched.run(400.0, lambda: watched.supervisor.start("the pump", work, RESTART_TWICE))
    assert bool(watched.halts) is not is_steady
    assert len(began) == (7 if is_steady else 3)
    pauses = [after - before - lives_seconds for before, after in itertools.pairwise(began)]
    assert pauses == pytest.approx([0.1] * 6 if is_steady else [0.1, 0.2], abs=2e-3)


def test_a_halt_names_the_work_and_a_restart_is_told_to_whoever_asked():
    watched, began, told = Watched(), [], []
    error = ValueError("broken")
    work = failing(began, error)
    watched.run(
        1.0, lambda: watched.supervisor.start("the pump", work, RESTART_TWICE, on_restart=told.append)
    )
    assert told == [error, error]
    (halt,) = watched.halts
    assert halt.where == "the pump"
    assert halt.what.startswith("the pump failed: ValueError: broken at ")
    ends = [text.rpartition("; ")[2] for _, text in watched.messages]
    assert ends == [
        "it is started again in 0.1 s",
        "it is started again in 0.2 s",
        "the run goes on from its journal",
    ]


def test_work_that_returns_is_not_started_again():
    watched, began = Watched(), []

    async def work():
        began.append(1)

    watched.run(100.0, lambda: watched.supervisor.start("the pump", work, RESTART))
    assert (began, watched.messages, watched.halts) == ([1], [], [])


def test_the_notes_of_an_error_follow_it():
    error = ArithmeticError("no")
    error.add_note("raised by the strategy zero-dte")
    assert describe(error) == "ArithmeticError: no; raised by the strategy zero-dte"


def test_a_long_error_is_cut_and_one_that_was_never_raised_has_no_place():
    assert describe(ValueError("x" * 400)) == f"ValueError: {'x' * 288}"
    assert describe(ValueError("no")) == "ValueError: no"


@pytest.mark.rows(("silent_seconds", "is_due"), [(59.9, False), (60.0, False), (60.1, True)])
def test_a_stream_is_silent_beyond_its_time_and_looked_at_once_a_second(silent_seconds, is_due):
    class Gateway:
        looks = 0

        def health(self):
            self.looks += 1
            streams = {"stocks": True, "orders": True}
            return Health(streams, dict.fromkeys(streams, silent_seconds), 0, (), 1, {})

    gateway = Gateway()
    monitor = StaleStreamMonitor(gateway, 60.0)
    found = [bool(list(monitor.due(now, is_open=True))) for now in (0.0, 0.9, 1.0, 1.9, 2.1, 3.0)]
    assert gateway.looks == 3
    assert found == [is_due, False, is_due, False, is_due, False]
