"""The watchdog: it outlives the desk, takes its orders off the book, and leaves a healthy desk alone."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import pytest

from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import OrderNotFound
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.live import watchdog_program
from scalpdesk.live.assembly import lock_account
from scalpdesk.live.watchdog import ACTED_FILE, DeskMessage
from scalpdesk.live.watchdog_program import (
    WatchdogProcess,
    WatchdogSettings,
    Watched,
    drain,
    guard,
    hold_account,
    start_watchdog,
    watch,
)
from scalpdesk_deribit.wire import LONGEST_LABEL
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.virtual_time import VirtualLoop
from tests.live.emergency_venue import EmergencyVenue
from tests.live.killing import BUSY, Exchange, guarded_desk, plan_for


def order(name):
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
    )


@pytest.fixture
def exchange(socket_enabled):
    running = Exchange()
    yield running
    running.close()


@pytest.fixture
def no_watchdog_left(tmp_path):
    """End the watchdog with the test, however the test ends."""
    yield
    path = tmp_path / "watchdog.pid"
    if path.exists():
        with suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def wait_for(what, seconds=300.0):
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)


def open_orders(exchange):
    over = ("filled", "canceled", "expired", "rejected", "replaced")
    return [one for one in exchange.get("orders") if one["status"] not in over]


RESTING = (*BUSY, "straddles=4", "entry.order_ttl_seconds=3600", "hedge.order_ttl_seconds=3600")


@pytest.mark.enable_socket
@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.second)])
@pytest.mark.usefixtures("no_watchdog_left")
def test_orders_of_a_dead_or_hanging_desk_are_cancelled(exchange, tmp_path, how):
    # every order is filled by half and then rests
    exchange.post("faults", name="partial_fill", times=0, fraction=0.5, seconds=3_600)
    plan = plan_for(exchange, tmp_path, *RESTING)
    # only who hangs is waited for; a desk that is slow must not pass for one
    stall_seconds = 5.0 if how is signal.SIGSTOP else 60.0
    desk = guarded_desk(exchange, plan, tmp_path, RESTING, flatten=False, stall_seconds=stall_seconds)
    exchange.speed(60)
    wait_for(lambda: open_orders(exchange))
    os.kill(desk.pid, how)
    wait_for(lambda: not open_orders(exchange))  # of themselves they rest for an hour of the market
    desk.join()  # the watchdog ends a desk that hangs
    assert desk.exitcode == -signal.SIGKILL
    assert "ALARM" in (tmp_path / "watchdog.log").read_text()
    (acted,) = (tmp_path / "runs").glob(f"*/{ACTED_FILE}")
    assert acted.read_text().startswith("ALARM")


@pytest.mark.enable_socket
def test_what_keeps_it_from_coming_up_is_said_in_its_own_words(tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for name in ("TRADING_API_KEY", "TRADING_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    orders = WatchdogSettings(
        "gamma-scalper", "alpaca", live=False, desk_pid=os.getpid(), url=url, state=str(tmp_path)
    )
    with pytest.raises(ConfigError, match="needs a key and a secret") as refused:
        start_watchdog(orders, tmp_path / "watchdog.log")
    assert "TRADING_API_KEY" in refused.value.fix
    monkeypatch.setenv("TRADING_API_KEY", "PKTEST")
    monkeypatch.setenv("TRADING_API_SECRET", "secret")
    with pytest.raises(StopError, match="cannot be reached") as away:
        start_watchdog(orders, tmp_path / "watchdog.log")
    assert away.value.where == url


# the program's own steps ---------------------------------------------------------------------------------


@pytest.mark.rows(
    ("desk_pid", "parent", "killed"),
    [(4_242, 4_242, [(4_242, signal.SIGKILL)]), (4_242, 1, []), (1, 1, []), (0, 0, [])],
)
def test_only_a_desk_that_is_still_the_parent_is_killed(desk_pid, parent, killed):
    found, said = [], []
    process = WatchdogProcess(parent=lambda: parent, kill=lambda *call: found.append(call))
    process.fence(desk_pid, said.append)
    assert found == killed
    assert len(said) == len(killed)


def test_a_desk_that_is_gone_already_is_not_said_to_be_killed():
    said = []

    def gone(*_):
        raise ProcessLookupError

    WatchdogProcess(parent=lambda: 4_242, kill=gone).fence(4_242, said.append)
    assert said == []


def test_messages_move_what_is_known_of_the_desk():
    watched = Watched()
    watched.apply(DeskMessage("begin", run_dir="first"))
    watched.apply(DeskMessage("started"))
    assert (watched.run_dir, watched.has_begun, watched.has_started) == ("first", True, True)
    watched.apply(DeskMessage("begin", run_dir="second"))
    assert (watched.run_dir, watched.has_started) == ("second", False)
    watched.apply(DeskMessage("sent", order=order("leg"), parent="combo"))
    watched.apply(DeskMessage("sent"))
    watched.apply(DeskMessage("over", name="never-sent"))
    assert (watched.parents, list(watched.live)) == ({"leg": "combo"}, ["leg"])
    watched.apply(DeskMessage("end", clean=False, keeps_positions=True))
    assert (watched.has_ended, watched.keeps_positions) == (False, True)
    watched.apply(DeskMessage("end", clean=True))
    assert watched.has_ended


class Watchdog:
    """A watchdog with a venue in memory, a desk's pipe that the test writes, and a log in a file.

    Parameters
    ----------
    settings
        Of the watchdog, beside its strategy and venue.
    """

    def __init__(self, folder, *, venue=None, stderr=None, stdout=None, **settings):
        self.folder, self.venue = folder, venue or EmergencyVenue()
        self.killed, self.plans, self.clocks = [], [], []
        self.reader = None
        self.settings = WatchdogSettings(
            "gamma-scalper",
            **{"venue": "alpaca", "live": False, "desk_pid": 77, "state": str(folder)} | settings,
        )
        self.stderr = stderr or (folder / "log").open("w", errors="surrogateescape")
        self.stdout = stdout or (folder / "answers").open("w")
        self.process = WatchdogProcess(
            stdin=None,
            stdout=self.stdout,
            stderr=self.stderr,
            parent=lambda: self.settings.desk_pid,
            kill=lambda pid, _: self.killed.append((pid, len(self.venue.looks))),
            gateway=self.connection,
        )

    def connection(self, plan, instruments, clock):
        self.plans.append(plan)
        self.clocks.append(clock)
        return self.venue

    def run(self, *lines, ends=True, meanwhile=None):
        """Feed the pipe, and its end; return the exit code."""

        async def play():
            reader = asyncio.StreamReader()
            for line in lines:
                reader.feed_data(line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n")
            guarding = asyncio.ensure_future(guard(self.settings, reader, self.process))
            if meanwhile is not None:
                await asyncio.sleep(0.1)
                meanwhile()
            if ends:
                reader.feed_eof()
            return await guarding

        try:
            return self.venue.loop.run_until_complete(play())
        finally:
            self.venue.loop.close()
            for file in (self.stderr, self.stdout):
                with suppress(OSError):
                    file.close()

    def logged(self):
        """Return the messages of the log, without their times."""
        lines = (self.folder / "log").read_text(errors="surrogateescape").splitlines()
        return [line.partition(" watchdog: ")[2] for line in lines]

    def acted(self):
        return (self.folder / "run" / ACTED_FILE).read_text("utf-8").splitlines()

    def begin(self, book=None):
        """Return the message with which a run begins whose journal is there."""
        run = self.folder / "run"
        data = {"order_prefix": "sd12345p3oloo9"}
        listed = tuple(self.venue.book if book is None else book)
        header = JournalHeader(SCHEMA, "r", "s", "v", "paper", {}, "0" * 64, "t", listed, (), data, 1)
        JournalWriter.create(run, header).abandon()
        return DeskMessage("begin", run_dir=str(run))


@pytest.mark.rows(("is_begun", "is_clean", "code"), [(True, True, 0), (False, False, 0), (True, False, 3)])
def test_the_watchdog_acts_only_when_a_run_had_begun_and_did_not_end_well(tmp_path, is_begun, is_clean, code):
    dog = Watchdog(tmp_path)
    refused = []

    def lock_taken():
        """Take the account as a new desk would, while the watchdog acts."""
        try:
            lock_account(dog.plans[0], "a1", "a new run").release()
        except StopError as error:
            refused.append(error.value)

    dog.venue.rest("x", Side.BUY, 1)
    cancel = dog.venue.cancel_at_venue

    async def cancel_at_venue(name):
        lock_taken()
        return await cancel(name)

    dog.venue.cancel_at_venue = cancel_at_venue
    lines = [dog.begin()] * is_begun + [DeskMessage("end", clean=True)] * is_clean
    assert dog.run(*lines) == code
    assert dog.venue.log == ["connected", "closed, graceful False"]
    assert len(dog.venue.cancels) == len(refused) == (code == 3)
    assert all(value.startswith(f"process {os.getpid()}, run") for value in refused)
    lock_taken()
    assert len(refused) == (code == 3)
    assert (tmp_path / "answers").read_text() == "ready\n"
    assert (dog.plans[0].venue, dog.plans[0].live, dog.plans[0].state) == ("alpaca", False, tmp_path)


@pytest.mark.parametrize(("url", "kind"), [(None, SystemClock), ("http://127.0.0.1:9", FollowingClock)])
def test_the_watchdogs_clock_is_that_of_a_simulated_exchange_where_it_watches_one(tmp_path, url, kind):
    dog = Watchdog(tmp_path, url=url)
    dog.run()
    assert [type(clock) for clock in dog.clocks] == [kind]


# what it does ----------------------------------------


def waited(messages, *, stall_seconds=3.0, end=True, **how):
    """Watch these lines in virtual time, then their end or silence; return the verdict and its time."""
    loop, watched = VirtualLoop(), Watched()

    async def play():
        reader = asyncio.StreamReader()
        for message in messages:
            line = message if isinstance(message, bytes) else msgspec.json.encode(message) + b"\n"
            reader.feed_data(line)
        if end:
            reader.feed_eof()
        return await watch(reader, stall_seconds, watched, **how)

    try:
        return loop.run_until_complete(play()), loop.time()
    finally:
        loop.close()


BEGIN, STARTED = DeskMessage("begin", run_dir="r"), DeskMessage("started")


@pytest.mark.rows(
    ("messages", "how", "seconds"),
    [
        ([], {}, 300.0),  # imports and connection of the desk itself
        ([STARTED], {}, 300.0),
        ([BEGIN], {}, 60.0),
        ([BEGIN], {"stall_seconds": 90.0}, 90.0),
        ([BEGIN], {"start_stall_seconds": 7.0}, 7.0),
        ([BEGIN], {"start_stall_seconds": 2.0}, 3.0),
        ([BEGIN, STARTED], {}, 3.0),
        ([BEGIN, STARTED], {"stall_seconds": 90.0}, 90.0),
        ([BEGIN, STARTED, BEGIN], {}, 60.0),
    ],
)
def test_a_desk_hangs_after_a_time_that_depends_on_how_far_it_has_come(messages, how, seconds):
    verdict_, took = waited(messages, end=False, **how)
    assert verdict_ == f"no heartbeat for {seconds:g} s: the desk hangs"
    assert took == pytest.approx(seconds)


@pytest.mark.rows(
    ("messages", "verdict_"),
    [
        ([], "the desk died"),
        ([BEGIN, STARTED], "the desk died"),
        ([BEGIN, b"rubbish\n", b"{}\n"], "the desk died"),
        ([BEGIN, DeskMessage("end", clean=False)], "the run did not end in order"),
        ([BEGIN, DeskMessage("end", clean=True)], None),
        ([BEGIN, b"rubbish\n", DeskMessage("end", clean=True), b"never read\n"], None),
    ],
)
def test_the_end_of_the_pipe_is_the_desks_death_unless_it_said_goodbye(messages, verdict_):
    assert waited(messages) == (verdict_, 0.0)


@pytest.mark.parametrize("end", [True, False])
def test_a_desk_that_ended_well_is_not_waited_for(end):
    assert waited([BEGIN, DeskMessage("end", clean=True)], end=end) == (None, 0.0)


def test_a_desk_that_reports_an_unclean_end_has_ten_seconds_to_disconnect():
    left = "the run did not end in order, and the desk is still there after 10 s"
    assert waited([BEGIN, STARTED, DeskMessage("end", clean=False)], end=False) == (left, 10.0)
    assert waited([BEGIN, STARTED, DeskMessage("end", clean=False)]) == ("the run did not end in order", 0.0)


HANGS = "no heartbeat for 3 s: the desk hangs"


@pytest.mark.rows(
    ("beats", "expected"),
    [
        (range(60), (None, 15.0)),  # the watchdog alone was stopped
        ([*range(4), *range(41, 60)], (None, 15.0)),  # the desk with it
        (range(4), (HANGS, 12.5)),  # a part of half a second had begun: the rest of the stall has to pass
    ],
)
def test_the_time_in_which_the_watchdog_itself_was_stopped_is_no_stall(beats, expected):
    loop, watched = VirtualLoop(), Watched()

    async def play():
        reader = asyncio.StreamReader()
        for message in (BEGIN, STARTED):
            reader.feed_data(msgspec.json.encode(message) + b"\n")
        for beat in beats:
            loop.call_later(0.25 * beat, reader.feed_data, b'{"kind":"beat"}\n')
        loop.call_later(15.0, reader.feed_data, b'{"kind":"end","clean":true}\n')
        loop.call_later(1.0, loop.leap, 9.0)
        return await watch(reader, 3.0, watched)

    found = loop.run_until_complete(play()), loop.time()
    loop.close()
    assert found == expected


@pytest.mark.parametrize(("messages", "is_killed"), [([], True), ([DeskMessage("end", clean=False)], False)])
def test_only_a_desk_that_is_through_with_its_end_is_not_killed(tmp_path, messages, is_killed):
    dog = Watchdog(tmp_path)
    assert dog.run(dog.begin(), *messages) == 3
    assert dog.killed == [(77, 0)] * is_killed  # before the first look at the account


def test_a_pipe_that_does_not_end_with_the_desk_holds_nothing_up():
    loop, watched = VirtualLoop(), Watched()

    async def play():
        reader = asyncio.StreamReader()
        reader.feed_data(msgspec.json.encode(DeskMessage("sent", order=order("a"))) + b"\n")
        await drain(reader, watched)

    loop.run_until_complete(play())
    assert (list(watched.live), loop.time()) == (["a"], 1.0)
    loop.close()


def test_each_heartbeat_is_answered_and_nothing_else():
    answers, beat = [], DeskMessage("beat")
    messages = [BEGIN, STARTED, beat, b"rubbish\n", beat, DeskMessage("sent", order=order("a"))]
    waited(messages, answer=lambda: answers.append(1))
    assert len(answers) == 2


def test_an_answer_leaves_at_once_and_one_that_nobody_reads_is_no_trouble():
    read, write = os.pipe()
    with os.fdopen(write, "w") as stdout:
        process = WatchdogProcess(stdout=stdout)
        process.answer(b"beat\n")
        assert os.read(read, 100) == b"beat\n"
        os.close(read)
        process.answer(b"beat\n")


@pytest.mark.rows("takes_cancels", [True, False])
@pytest.mark.rows("leaves_foreign", [True, False])
def test_the_watchdog_ends_the_desk_before_it_cancels_and_writes_down_what_came_of_it(
    tmp_path, leaves_foreign, takes_cancels
):
    dog = Watchdog(tmp_path, leaves_foreign=leaves_foreign)
    venue = dog.venue
    venue.takes_cancels = takes_cancels
    venue.failures = [RetryError("señal \udce4")]  # a path, or a venue's text, may hold anything
    venue.rest("sd12345p3oloo9-1", Side.BUY, 1)
    venue.rest("by-hand", Side.BUY, 1)
    venue.on_query = lambda name: venue.tell(OrderNotFound(name, 0, 0))
    sent = [DeskMessage("sent", order=order(name), parent="combo" * (name == "a")) for name in ("a", "late")]
    assert dog.run(dog.begin(), *sent, b'{"kind":"se') == (3 if takes_cancels else 4)
    assert dog.killed == [(77, 0)]
    cancelled = {"v-sd12345p3oloo9-1", *([] if leaves_foreign else ["v-by-hand"])}
    assert {name for _, name in venue.cancels} == cancelled
    assert [(known.submitted.client_order_id, known.parent_id) for known in venue.adopted] == [
        ("a", "combo"),
        ("late", ""),
    ]
    assert dog.logged()[0].startswith("ALARM: ")
    assert "señal \udce4" in dog.logged()[2]
    assert [line.replace("\udce4", r"\udce4") for line in dog.logged()] == dog.acted()
    seconds = float(re.search(r"after ([0-9.]+) s", dog.acted()[-1])[1])
    assert (seconds < 5.0) is takes_cancels
    assert ("NOT DONE" in dog.acted()[-1]) is not takes_cancels


class Released:
    """A lock that notes its release."""

    def __init__(self, released):
        self.release = partial(released.append, 1)


def held_for(seconds, lock):
    """Let a watchdog hold the account's lock for so long; return its messages."""
    said, loop = [], VirtualLoop()

    async def play():
        holding = asyncio.create_task(hold_account(lock, said.append))
        await asyncio.sleep(seconds)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

    loop.run_until_complete(play())
    loop.close()
    return said


@pytest.mark.rows(("dies_after", "logs"), [(1, 0), (5, 0), (30, 1), (1_000, 1)])
def test_the_lock_of_a_desk_that_is_just_dying_is_waited_for_and_released_at_the_end(dies_after, logs):
    tries, released = [], []

    def lock():
        tries.append(1)
        if len(tries) <= dies_after:
            raise StopError("another desk trades this account; nothing was sent", value="process 7")
        return Released(released)

    text = "acting without the account's lock: another desk trades this account; nothing was sent (process 7)"
    assert held_for(19.9, lock) == [text] * logs
    assert released == [1] * (dies_after < 100)
    assert len(tries) == min(dies_after + 1, 100)


def test_a_disk_that_takes_no_lock_is_no_obstacle():
    def lock():
        raise OSError(28, "No space left on device")

    (said,) = held_for(1.0, lock)
    assert said.startswith("acting without the account's lock: OSError: [Errno 28] No space left on device")


def test_each_watchdog_is_told_when_it_was_started(tmp_path):
    echo = "import sys; print(sys.stdin.readline(), end='', flush=True); sys.stdin.read()"
    settings = WatchdogSettings("gamma-scalper", "deribit", live=False, desk_pid=4_194_304)
    with pytest.raises(StopError) as refused:  # it answers with its settings
        start_watchdog(
            settings, tmp_path / "log", command=[sys.executable, "-c", echo], clock=ManualClock(1_800_000_060)
        )
    told = msgspec.json.decode(refused.value.value, type=WatchdogSettings)
    assert told == msgspec.structs.replace(settings, started_ns=1_800_000_060)


def test_the_orders_of_each_watchdog_have_ids_of_their_own_that_every_venue_takes(tmp_path):
    """In a container the desk has the same process id each time."""
    longest = Equity("AVAX_USDC-25DEC26-100d55-C")  # its symbol is all that counts here
    names = []
    for minute in range(2):
        (tmp_path / str(minute)).mkdir()
        started_ns = (1_800_000_000 + 60 * minute) * 10**9
        dog = Watchdog(tmp_path / str(minute), desk_pid=4_194_304, flatten=True, started_ns=started_ns)
        dog.venue.book = Instruments([longest])
        dog.venue.held = {0: Decimal(5)}
        dog.venue.on_send = lambda order: None  # it never fills
        assert dog.run(dog.begin()) == 4
        names.append({name for *_, name in dog.venue.orders()})
    assert all(names)
    assert not names[0] & names[1]
    assert max(map(len, names[0] | names[1])) <= LONGEST_LABEL


@pytest.mark.parametrize("leaves_foreign", [True, False])
def test_the_watchdog_cancels_everything_though_the_runs_folder_is_gone(tmp_path, leaves_foreign):
    dog = Watchdog(tmp_path, leaves_foreign=leaves_foreign)
    dog.venue.rest("x", Side.BUY, 1)
    gone = DeskMessage("begin", run_dir=str(tmp_path / "gone"))
    assert dog.run(gone, DeskMessage("sent", order=order("a"))) == 3
    assert [name for _, name in dog.venue.cancels] == ["v-x"]
    assert dog.venue.adopted == []  # without the header its instrument is not known
    first, *_, last = dog.venue.looks
    assert last - first == pytest.approx(10.0, abs=1.0)  # it may have been on its way at the first look


def test_the_header_is_read_as_the_run_begins_and_not_when_the_disk_may_be_gone(tmp_path):
    dog = Watchdog(tmp_path)
    dog.venue.on_query = lambda name: dog.venue.tell(OrderNotFound(name, 0, 0))
    lines = dog.begin(), DeskMessage("sent", order=order("a"))
    assert dog.run(*lines, meanwhile=lambda: shutil.rmtree(tmp_path / "run")) == 3
    assert [known.submitted for known in dog.venue.adopted] == [order("a")]
    assert dog.venue.looks[-1] < 5.0


FLATTEN = DeskMessage("flatten", flatten=True)


@pytest.mark.rows(
    ("lines", "flatten", "is_flat"),
    [
        ([], False, False),
        ([], True, True),
        ([DeskMessage("end", keeps_positions=True)], True, False),
        ([FLATTEN], False, True),
        ([FLATTEN, DeskMessage("end")], False, True),
        ([FLATTEN, DeskMessage("flatten")], False, False),
        ([FLATTEN, DeskMessage("end", keeps_positions=True)], False, False),
        ([FLATTEN, "begin"], False, True),  # the same run, which goes on after a fault
    ],
)
def test_a_watchdog_closes_the_positions_where_its_settings_or_an_operator_ask_for_it(
    tmp_path, lines, flatten, is_flat
):
    dog = Watchdog(tmp_path, venue=EmergencyVenue(SPY=5), flatten=flatten)
    begin = dog.begin()
    assert dog.run(begin, *(begin if line == "begin" else line for line in lines)) == 3
    assert dog.venue.held == {0: 0 if is_flat else 5}


def test_a_log_on_a_full_disk_never_keeps_the_watchdog_from_cancelling(tmp_path):
    with suppress(OSError), Path("/dev/full").open("w", buffering=1) as full:
        dog = Watchdog(tmp_path, stderr=full)
        dog.venue.rest("x", Side.BUY, 1)
        assert dog.run(dog.begin()) == 3
        assert dog.venue.open == {}
        dog.process.log("and again")


def test_a_refusal_that_no_desk_reads_is_logged_and_nothing_else_is():
    read, write = os.pipe()
    os.close(read)
    settings = msgspec.json.encode(WatchdogSettings("no-strategy", "alpaca", live=False, desk_pid=1))
    command = [sys.executable, "-m", "scalpdesk.live.watchdog_program"]
    done = subprocess.run(command, input=settings + b"\n", stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 2
    assert b"watchdog: " in done.stderr
    assert b"no-strategy" in done.stderr
    assert b"BrokenPipeError" not in done.stderr


def test_a_watchdog_whose_desk_is_killed_while_it_starts_ends_quietly(tmp_path):
    read, write = os.pipe()
    os.close(read)
    dog = Watchdog(tmp_path, stdout=os.fdopen(write, "w"))
    assert dog.run() == 0
    assert dog.venue.log == ["connected", "closed, graceful False"]


def run_program(folder, first_line):
    """Run the program on a pipe with its settings and the clean end of a run."""
    read, write = os.pipe()
    os.write(write, first_line + b"\n" + msgspec.json.encode(DeskMessage("end", clean=True)) + b"\n")
    os.close(write)
    dog = Watchdog(folder)
    with os.fdopen(read) as stdin, dog.stdout, dog.stderr:
        code = watchdog_program.main(replace(dog.process, stdin=stdin))
    dog.venue.loop.close()
    return code, (folder / "answers").read_text(), dog


def test_a_refusal_to_start_is_written_for_the_desk_to_read(tmp_path):
    settings = WatchdogSettings("no-strategy", "alpaca", live=False, desk_pid=1)
    code, answer, _ = run_program(tmp_path, msgspec.json.encode(settings))
    refusal = msgspec.json.decode(answer)
    assert (code, refusal["exit_code"], set(refusal)) == (2, 2, {"what", "where", "fix", "exit_code"})
    assert "no-strategy" in (tmp_path / "log").read_text()


def test_the_first_line_of_the_pipe_holds_the_settings_however_long_and_the_rest_is_the_desks(tmp_path):
    settings = WatchdogSettings(
        "gamma-scalper", "alpaca", live=False, desk_pid=7, keys={"TRADING_API_KEY": "x" * 40_000}
    )
    code, answer, dog = run_program(tmp_path, msgspec.json.encode(settings))
    assert (code, answer) == (0, "ready\n")
    assert len(dog.plans) == 1
