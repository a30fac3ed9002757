"""A watchdog that dies or hangs is replaced, and the new one knows what the old one knew."""

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack

import msgspec
import pytest

from scalpdesk.core.errors import StopError
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.watchdog import DeskMessage, HeartbeatChannel, WatchdogSupervisor, startup_heartbeat

PROGRAM = """
import os, sys
with open(sys.argv[1], "a") as out:
    print(os.getpid(), file=out, flush=True)
    print("ready", flush=True)
    for line in sys.stdin:
        if '"beat"' in line:
            print("beat", flush=True)
        out.write(line); out.flush()
"""


def order(name):
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
    )


class Bench:
    """Starts programs that write down what they are told, each into a file of its own."""

    def __init__(self, folder, pause_seconds=0.01):
        self.folder = folder
        self.started = 0
        self.failures = []
        self.said = []
        self.guard = WatchdogSupervisor(
            self.start, lambda *words: self.said.append(words), pause_seconds=pause_seconds
        )
        self.guard.begin(folder / "run")

    def start(self):
        if self.failures:
            raise self.failures.pop()
        self.started += 1
        command = [sys.executable, "-c", PROGRAM, str(self.folder / f"told-{self.started}")]
        line = HeartbeatChannel(command, {}, self.folder / "log")
        line.wait_until_ready()
        return line

    def told(self, number):
        path = self.folder / f"told-{number}"
        lines = path.read_bytes().splitlines()[2:] if path.exists() else []  # before: its number and settings
        return [msgspec.json.decode(line, type=DeskMessage) for line in lines]

    def signal(self, what=signal.SIGKILL):
        """Send the latest watchdog a signal."""
        os.kill(self.process, what)
        if what == signal.SIGSTOP:
            os.waitpid(self.process, os.WUNTRACED)  # until it has stopped

    @property
    def process(self):
        return int((self.folder / f"told-{self.started}").read_text().split()[0])

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
    bench.signal()
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


@pytest.mark.parametrize(("run_dir", "expected"), [("run", ["begin", "flatten"]), ("other", ["begin"])])
def test_a_run_that_begins_again_starts_and_keeps_the_wish_to_flatten(bench, tmp_path, run_dir, expected):
    bench.guard.started()
    bench.guard.flatten_asked(flatten=True)
    bench.guard.begin(tmp_path / run_dir)
    bench.signal()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    bench.beat_until(lambda: len(kinds(bench.told(2))) >= len(expected))
    assert kinds(bench.told(2)) == expected
    bench.guard.end(clean=True)
    assert bench.guard.line.wait(120.0) == 0


def beats(line, count):
    for _ in range(count):
        line.send(DeskMessage("beat"))


@pytest.mark.parametrize("is_full", [False, True])
def test_one_that_reads_nothing_hangs_and_is_ended_before_its_pipe_is(bench, is_full):
    hangs, process = bench.guard.line, bench.process
    bench.signal(signal.SIGSTOP)
    if is_full:
        for _ in range(100_000):
            hangs.send(DeskMessage("begin", run_dir="x" * 1_000))
            if not hangs.is_alive:
                break
    else:
        beats(hangs, 20)
        assert hangs.is_alive
        beats(hangs, 1)
    assert not hangs.is_alive
    bench.beat_until(lambda: bench.guard.restarts == 1)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert bench.guard.line is not hangs


def test_one_answer_shows_that_a_watchdog_reads(bench):
    line = bench.guard.line
    for times in (1, 2, 3):
        beats(line, 20)
        while len(bench.told(1)) <= 20 * times:
            time.sleep(0.001)  # another process is at work
    beats(line, 1)
    assert line.is_alive


def test_refusals_are_said_and_tried_again(bench):
    bench.failures = [StopError("the watchdog does not come up", where="here") for _ in range(2)]
    bench.signal()
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
    bench.failures = [ValueError("a setting of another shape")]
    bench.signal()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert [level for level, _ in bench.said] == ["alarm", "warning"]
    assert "ValueError: a setting of another shape" in bench.said[0][1]


@pytest.mark.parametrize("comes_up", [True, False])
def test_an_end_with_work_left_starts_a_watchdog_at_once_where_none_runs(tmp_path, comes_up):
    bench = Bench(tmp_path, pause_seconds=60.0)
    no = StopError("no", where="here")
    bench.failures = [no] * (1 if comes_up else 2)
    bench.signal()
    bench.beat_until(lambda: bench.said)
    assert "cannot be started" in bench.said[0][1]
    bench.guard.end(clean=False)
    bench.guard.leave()
    assert bench.guard.has_taken_over is comes_up
    assert bench.started == (2 if comes_up else 1)
    if comes_up:
        bench.guard.line.wait(120.0)
        assert [one.kind for one in bench.told(2)] == ["begin", "end"]
        assert not bench.told(2)[-1].clean
        bench.guard.line.kill()


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


@pytest.mark.rows(
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
    assert line.wait(0.1) is None  # it reads on: its pipe has no end yet
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


@pytest.mark.rows("clean", [True, False])
@pytest.mark.rows("comes_up", [True, False])
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
    threading.Timer(0.05, may_start.set).start()
    guard.end(clean=clean)
    assert first.told == ["begin", "kill", *([] if comes_up else [("end", clean, False)])]
    assert second.told == (["begin", ("end", clean, False)] if comes_up else [])
    assert [level for level, _ in said] == ["warning" if comes_up else "alarm"]


def test_tries_to_start_a_watchdog_grow_apart_to_a_minute_and_a_beat_leaves_four_times_a_second():
    now, refuses = [100.0], [False]
    line, tries, said = StandIn(), [], []

    def start():
        if refuses[0]:
            tries.append(now[0] - 100.0)
            raise StopError("no", where="here")
        return line

    guard = WatchdogSupervisor(start, lambda *words: said.append(words), monotonic=lambda: now[0])
    for _ in range(9):
        guard.beat()
        now[0] += 0.125
    assert line.told == ["beat"] * 5
    refuses[0], line.is_alive, now[0] = True, False, 100.0
    for _ in range(400):
        guard.beat()
        for thread in threading.enumerate():
            if thread.name == "watchdog-start":
                thread.join()
        guard.beat()
        now[0] += 0.5
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0]
    assert [level for level, _ in said] == ["alarm"] * len(tries)
    assert guard.restarts == 0


def test_the_start_up_heartbeat_ends_with_an_alarm_after_five_minutes():
    times = iter([0.0, 0.0, 299.9, 300.0])
    beats, said, over = [], [], threading.Event()

    def notify(*words):
        said.append(words)
        over.set()

    with startup_heartbeat(lambda: beats.append(1), notify, monotonic=lambda: next(times)):
        assert over.wait(120.0)
    assert (len(beats), [level for level, _ in said]) == (2, ["alarm"])


def test_what_has_the_number_of_a_killed_watchdogs_pipe_is_not_written_to(tmp_path):
    killed = channel(tmp_path, "ready\n", more="sys.stdin.read()")
    killed.kill()
    paths = [tmp_path / str(number) for number in range(4)]
    with ExitStack() as stack:
        for path in paths:  # the lowest free numbers: those of the pipes
            stack.enter_context(path.open("wb", buffering=0))
        killed.send(DeskMessage("beat"))
        killed.end(clean=True)
    assert [path.read_bytes() for path in paths] == [b""] * 4


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
