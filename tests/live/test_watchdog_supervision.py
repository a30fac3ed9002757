"""A watchdog that dies or hangs is replaced, and the new one knows what the old one knew."""

import os
import select
import signal
import sys
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

from scalpdesk.core.errors import StopError
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.watchdog import DeskMessage, HeartbeatChannel, WatchdogSupervisor, startup_heartbeat

PROGRAM = """
import sys
sys.stdout.write("ready\\n"); sys.stdout.flush()
with open(sys.argv[1], "a") as out:
    for line in sys.stdin:
        out.write(line); out.flush()
        if '"beat"' in line:
            sys.stdout.write("beat\\n"); sys.stdout.flush()
"""


def order(name):
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
    )


class Bench:
    """Starts programs that write down what they are told, each into a file of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.started = 0
        self.refuses = 0
        self.said = []
        self.guard = WatchdogSupervisor(self.start, self.say, pause_seconds=0.01)
        self.guard.begin(folder / "run")

    def say(self, level, text):
        self.said.append((level, text))

    def start(self):
        if self.refuses:
            self.refuses -= 1
            raise StopError("the watchdog does not come up", where="here", fix="read its log")
        self.started += 1
        command = [sys.executable, "-c", PROGRAM, str(self.folder / f"told-{self.started}")]
        line = HeartbeatChannel(command, {}, self.folder / "log")
        line.wait_until_ready()
        return line

    def told(self, number):
        path = self.folder / f"told-{number}"
        lines = path.read_bytes().splitlines()[1:] if path.exists() else []  # the first one is its settings
        return [msgspec.json.decode(one, type=DeskMessage) for one in lines]

    def beat_until(self, condition):
        ends = time.monotonic() + 120.0
        while not condition():
            assert time.monotonic() < ends
            self.guard.beat()
            time.sleep(0.005)  # another process is at work


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.guard.line.kill()  # also lets go of its pipes


def kinds(told):
    return [one.kind for one in told if one.kind != "beat"]


def test_another_one_takes_over_with_the_run_and_the_orders_that_live(bench):
    bench.guard.started()
    bench.guard.flatten_asked(flatten=True)
    for name in ("a", "b"):
        bench.guard.order_sent(order(name))
    bench.guard.order_ended("a")
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert bench.guard.is_alive
    bench.beat_until(lambda: len(bench.told(2)) >= 5)
    told = [one for one in bench.told(2) if one.kind != "beat"]
    assert kinds(told) == ["begin", "started", "flatten", "sent"]
    assert told[0].run_dir.endswith("run")
    assert told[2].flatten
    assert told[3].order.client_order_id == "b"
    assert [level for level, _ in bench.said] == ["warning"]
    bench.guard.end(clean=True)
    assert bench.guard.line.wait(120.0) == 0
    assert kinds(bench.told(2))[-1] == "end"


def test_one_that_hangs_is_ended_before_its_pipe_is(bench):
    hangs = bench.guard.line
    hangs._failed = True  # as when its pipe is full
    process = hangs._process
    assert not bench.guard.is_alive
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert process.poll() is not None
    assert bench.guard.line is not hangs


def beats(line, count):
    for _ in range(count):
        line.send(DeskMessage("beat"))


def test_one_that_answers_no_heartbeat_hangs_though_its_pipe_has_room(bench):
    hangs = bench.guard.line
    os.kill(hangs._process.pid, signal.SIGSTOP)
    os.waitpid(hangs._process.pid, os.WUNTRACED)  # until it has stopped
    beats(hangs, 20)
    assert hangs.is_alive
    beats(hangs, 1)
    assert not hangs.is_alive
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert hangs._process.poll() is not None


def test_one_answer_shows_that_a_watchdog_reads(bench):
    line = bench.guard.line
    for _ in range(3):
        beats(line, 20)
        if line._unanswered:  # the last answer is on its way: another process is at work
            assert select.select([line._process.stdout], [], [], 120.0)[0]
    beats(line, 1)
    assert line.is_alive


def test_refusals_are_said_and_tried_again(bench):
    bench.refuses = 2
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert [level for level, _ in bench.said] == ["alarm", "alarm", "warning"]
    assert "does not come up" in bench.said[0][1]


def test_nothing_is_started_any_more_after_the_end(bench):
    bench.guard.end(clean=True)
    assert bench.guard.line.wait(120.0) == 0
    for _ in range(3):
        bench.guard.beat()
    assert (bench.guard.restarts, bench.started) == (0, 1)


def test_a_start_that_raises_anything_is_reported_and_tried_again(bench):
    start, failures = bench.guard._start, [ValueError("a setting of another shape")]

    def breaks_once():
        if failures:
            raise failures.pop()
        return start()

    bench.guard._start = breaks_once
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert [level for level, _ in bench.said] == ["alarm", "warning"]
    assert "ValueError: a setting of another shape" in bench.said[0][1]


@pytest.mark.parametrize("comes_up", [True, False])
def test_an_end_with_work_left_starts_a_watchdog_at_once_where_none_runs(bench, comes_up):
    bench.refuses = 1
    bench.guard._first_pause = bench.guard._pause = 1_000.0  # until the next try
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.said)
    assert "cannot be started" in bench.said[0][1]
    bench.refuses = 0 if comes_up else 1
    bench.guard.end(clean=False)
    bench.guard.leave()
    assert bench.guard.has_taken_over is comes_up
    assert bench.started == (2 if comes_up else 1)
    if comes_up:
        bench.guard.line.wait(120.0)
        assert [one.kind for one in bench.told(2)] == ["begin", "end"]
        assert not bench.told(2)[-1].clean


def test_a_watchdog_that_never_gets_ready_is_given_up_in_time(tmp_path):
    hangs = HeartbeatChannel([sys.executable, "-c", "import sys; sys.stdin.read()"], {}, tmp_path / "log")
    with pytest.raises(StopError, match=r"not ready within 0\.05 s") as refused:
        hangs.wait_until_ready(0.05)
    assert "--no-watchdog" in refused.value.fix
    hangs.kill()


def test_the_start_up_heartbeat_goes_on_while_the_loop_stands_still():
    beats, enough = [], threading.Event()

    def beat():
        beats.append(threading.current_thread().name)
        if len(beats) == 3:
            enough.set()

    with startup_heartbeat(beat, lambda *_: None):
        assert enough.wait(120.0)  # nothing else runs here: as in an import or a compilation
    count = len(beats)
    assert set(beats) == {"startup-heartbeat"}
    assert count == len(beats)
    assert not any(thread.name == "startup-heartbeat" for thread in threading.enumerate())


# the channel's beginning, and its end while another one starts ------------------------------------------


def channel(tmp_path, text, *, more=""):
    program = f"import sys, time; sys.stdout.write({text!r}); sys.stdout.flush(); {more}"
    return HeartbeatChannel([sys.executable, "-c", program], {}, tmp_path / "log")


@pytest.mark.parametrize(
    ("text", "message", "value"),
    [
        ("rea", "does not come up; nothing was sent", "rea"),  # it ended in the middle of its line
        ('{"what":"no keys"}\n', "does not come up; nothing was sent", '{"what":"no keys"}'),
        ("", r"not ready within 60 s, or ended; nothing was sent", None),
        ("x" * 9_000 + "\n", "does not come up", "x" * 9_000),  # longer than one read
    ],
)
def test_a_start_that_fails_names_the_log_and_what_the_program_wrote(tmp_path, text, message, value):
    line = channel(tmp_path, text)
    with pytest.raises(StopError, match=message) as refused:
        line.wait_until_ready()
    assert (refused.value.where, refused.value.value) == (str(tmp_path / "log"), value)
    line.kill()


def test_a_line_that_comes_in_parts_is_read_whole(tmp_path):
    line = channel(tmp_path, "re", more="time.sleep(0.05); print('ady')")
    line.wait_until_ready()
    line.kill()


def test_nothing_is_written_after_the_end_and_an_end_after_a_kill_does_nothing(tmp_path):
    line = channel(tmp_path, "ready\n", more="sys.exit(len(sys.stdin.readlines()))")
    line.wait_until_ready()
    line.send(DeskMessage("beat"))
    line.end(clean=True)
    line.send(DeskMessage("beat"))
    line.end(clean=False)
    assert line.wait(120.0) == 3  # its settings, the beat and one end
    assert not line.is_alive
    line.kill()  # lets go of its other pipe
    killed = channel(tmp_path, "ready\n", more="sys.stdin.read()")
    killed.kill()
    killed.end(clean=True)
    assert not killed.is_alive
    assert oct((tmp_path / "log").stat().st_mode)[-3:] == "600"


def test_after_an_unclean_end_the_pipe_stays_open_until_the_desk_has_disconnected(tmp_path):
    line = channel(tmp_path, "ready\n", more="sys.exit(len(sys.stdin.readlines()))")
    line.wait_until_ready()
    line.end(clean=False)
    os.fstat(line._pipe)
    assert line._process.poll() is None  # it reads on: its pipe has no end yet
    line.leave()
    line.leave()
    assert line.wait(120.0) == 2  # its settings and the end
    line.kill()


class StandIn:
    """A channel that keeps what it is told."""

    def __init__(self):
        self.told, self.is_alive = [], True

    def send(self, message):
        self.told.append(message.kind.value)

    def end(self, *, clean, keeps_positions=False):
        self.told.append(("end", clean, keeps_positions))

    def leave(self):
        self.told.append("leave")

    def kill(self):
        self.told.append("kill")


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("comes_up", [True, False])
def test_the_end_of_a_run_waits_for_a_watchdog_that_is_starting(tmp_path, clean, comes_up):
    lines, said, may_start = [StandIn(), StandIn()], [], threading.Event()

    def start():
        if len(lines) == 1:
            assert may_start.wait(120.0)
            if not comes_up:
                raise StopError("no", where="here")
        return lines.pop(0)

    first, second = lines
    guard = WatchdogSupervisor(start, lambda *words: said.append(words))
    guard.begin(tmp_path)
    first.is_alive = False
    guard.beat()
    waited = []
    join = guard._starting.join
    guard._starting.join = lambda seconds: (waited.append(seconds), may_start.set(), join(120.0))
    guard.end(clean=clean)
    assert waited == [1.0 if clean else 60.0]
    assert first.told == ["begin", "kill", *([] if comes_up else [("end", clean, False)])]
    assert second.told == (["begin", ("end", clean, False)] if comes_up else [])
    assert [level for level, _ in said] == ["warning" if comes_up else "alarm"]


def test_tries_to_start_a_watchdog_grow_apart_to_a_minute_and_a_beat_leaves_four_times_a_second(monkeypatch):
    now, refuses = [100.0], [False]
    monkeypatch.setattr("scalpdesk.live.watchdog.time", SimpleNamespace(monotonic=lambda: now[0]))
    line, tries, said = StandIn(), [], []

    def start():
        if refuses[0]:
            tries.append(now[0] - 100.0)
            raise StopError("no", where="here")
        return line

    guard = WatchdogSupervisor(start, lambda *words: said.append(words))
    for _ in range(9):
        guard.beat()
        now[0] += 0.125
    assert line.told == ["beat"] * 5
    refuses[0], line.is_alive, now[0] = True, False, 100.0
    for _ in range(400):
        guard.beat()
        if guard._starting is not None:
            guard._starting.join()
            guard.beat()
        now[0] += 0.5
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0]
    assert said == [("alarm", "the watchdog cannot be started and does not run: no")] * len(tries)
    assert guard.restarts == 0


def test_the_start_up_heartbeat_ends_with_an_alarm_after_five_minutes(monkeypatch):
    times = iter([0.0, *range(0, 301, 100)])
    monkeypatch.setattr("scalpdesk.live.watchdog.time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr("scalpdesk.live.watchdog.BEAT_SECONDS", 0.0)
    beats, said, over = [], [], threading.Event()

    def notify(*words):
        said.append(words)
        over.set()

    with startup_heartbeat(lambda: beats.append(1), notify):
        assert over.wait(120.0)
    assert len(beats) == 3  # at 0, 100 and 200 s
    assert said == [("alarm", "the desk has not started within 300 s: its heartbeat ends")]


def test_what_has_the_number_of_a_killed_watchdogs_pipe_is_not_written_to(tmp_path):
    killed = channel(tmp_path, "ready\n", more="sys.stdin.read()")
    killed.kill()
    path = tmp_path / "another file"
    with path.open("wb") as other:
        if other.fileno() != killed._pipe:
            os.dup2(other.fileno(), killed._pipe)
        killed.send(DeskMessage("beat"))
        killed.end(clean=True)
        if other.fileno() != killed._pipe:
            os.close(killed._pipe)
    assert path.read_bytes() == b""


def test_a_watchdog_that_no_longer_reads_is_not_alive_and_holds_nothing_up(tmp_path):
    line = HeartbeatChannel.__new__(HeartbeatChannel)
    line._failed = line._has_ended = False
    line._unanswered = 0
    line._process = SimpleNamespace(poll=lambda: None, stdout=SimpleNamespace(fileno=lambda: -1))
    read, line._pipe = os.pipe()
    os.set_blocking(line._pipe, False)
    try:
        line.send(DeskMessage("beat"))
        assert line.is_alive
        while line.is_alive:
            line.send(DeskMessage("begin", run_dir="x" * 1_000))
        assert os.read(read, 17) == b'{"kind":"beat"}\n{'
    finally:
        os.close(read)
        os.close(line._pipe)
    line._failed, line._process.poll = False, lambda: 0
    assert not line.is_alive


def test_each_word_of_the_run_goes_to_the_watchdog_that_runs(tmp_path):
    line = StandIn()
    guard = WatchdogSupervisor(lambda: line, lambda *_: None)
    guard.begin(tmp_path)
    guard.started()
    guard.order_sent(
        SubmitOrder("a", InstrumentId(0), Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN)
    )
    guard.order_ended("a")
    guard.order_ended("never-sent")
    guard.beat()
    guard.end(clean=True)
    assert line.told == ["begin", "started", "sent", "over", "over", "beat", ("end", True, False)]
    guard.leave()
    assert line.told.pop() == "leave"
    guard.beat()
    assert len(line.told) == 7  # the next one is due in a quarter of a second
