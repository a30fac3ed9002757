"""A watchdog that dies or hangs is replaced, and the new one knows what the old one knew."""

import sys
import threading
import time

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
    for name in ("a", "b"):
        bench.guard.order_sent(order(name))
    bench.guard.order_ended("a")
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert bench.guard.is_alive
    bench.beat_until(lambda: len(bench.told(2)) >= 4)
    told = [one for one in bench.told(2) if one.kind != "beat"]
    assert kinds(told) == ["begin", "started", "sent"]
    assert told[0].run_dir.endswith("run")
    assert told[2].order.client_order_id == "b"
    assert [level for level, _ in bench.said] == ["warning"]
    bench.guard.end(clean=True)
    assert bench.guard.wait(120.0) == 0
    assert kinds(bench.told(2))[-1] == "end"


def test_one_that_hangs_is_ended_before_its_pipe_is(bench):
    hangs = bench.guard.line
    hangs._failed = True  # as when its pipe is full
    process = hangs._process
    assert not bench.guard.is_alive
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert process.poll() is not None
    assert bench.guard.line is not hangs


def test_refusals_are_said_and_tried_again(bench):
    bench.refuses = 2
    bench.guard.line._process.kill()
    bench.beat_until(lambda: bench.guard.restarts == 1)
    assert [level for level, _ in bench.said] == ["alarm", "alarm", "warning"]
    assert "does not come up" in bench.said[0][1]


def test_nothing_is_started_any_more_after_the_end(bench):
    bench.guard.end(clean=True)
    assert bench.guard.wait(120.0) == 0
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
