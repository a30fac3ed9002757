"""The watchdog: it outlives the desk, takes its orders off the book, and leaves a healthy desk alone."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from fakes.killing import BUSY, Exchange, guarded_desk, plan_for
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.live import watchdog_program
from scalpdesk.live.assembly import lock_account
from scalpdesk.live.watchdog import ACTED_FILE, DeskMessage
from scalpdesk.live.watchdog_program import WatchdogSettings, Watched, start_watchdog, watch
from scalpdesk.venues.deribit.wire import LONGEST_LABEL
from scalpdesk_testing.virtual_time import VirtualLoop


def order(name):
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
    )


def verdict(*lines, stall_seconds=0.05, ends=True, start_stall_seconds=0.2):
    """Feed lines to a watch; return its verdict and what it knows."""

    async def play():
        reader = asyncio.StreamReader()
        for line in lines:
            reader.feed_data(msgspec.json.encode(line) + b"\n" if isinstance(line, DeskMessage) else line)
        if ends:
            reader.feed_eof()
        watched = Watched()
        verdict = await watch(reader, stall_seconds, watched, start_stall_seconds=start_stall_seconds)
        return verdict, watched

    return asyncio.run(play())


def test_death_stall_and_farewell_are_told_apart():
    begin, started, beat = DeskMessage("begin", run_dir="r"), DeskMessage("started"), DeskMessage("beat")
    assert verdict(begin, beat)[0] == "the desk died"
    assert verdict(begin, started, beat, ends=False)[0] == "no heartbeat for 0.05 s: the desk hangs"
    assert verdict(begin, beat, ends=False)[0] == "no heartbeat for 0.2 s: the desk hangs"
    assert verdict(begin, DeskMessage("end", clean=True))[0] is None
    assert verdict(begin, DeskMessage("end", clean=False))[0] == "the run did not end in order"
    assert verdict(begin, b"rubbish\n", DeskMessage("end", clean=True))[0] is None


def test_watchdog_knows_the_orders_that_may_be_on_their_way():
    told = (
        DeskMessage("sent", order=order("a")),
        DeskMessage("sent", order=order("b")),
        DeskMessage("over", name="a"),
    )
    _, watched = verdict(DeskMessage("begin", run_dir="r"), *told)
    assert list(watched.live) == ["b"]


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
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
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
@pytest.mark.usefixtures("no_watchdog_left")
def test_positions_are_closed_when_the_watchdog_was_told_to(exchange, tmp_path):
    plan = plan_for(exchange, tmp_path, *BUSY)
    desk = guarded_desk(exchange, plan, tmp_path, BUSY, flatten=True)
    exchange.speed(60)
    wait_for(lambda: len(exchange.get("fills")) >= 4)
    desk.kill()
    desk.join()
    wait_for(lambda: all(float(one["qty"]) == 0 for one in exchange.get("positions")))
    wait_for(lambda: "done after" in (tmp_path / "watchdog.log").read_text())
    assert "the account is flat" in (tmp_path / "watchdog.log").read_text()


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


@pytest.mark.parametrize(
    ("desk_pid", "parent", "killed"),
    [(4_242, 4_242, [(4_242, signal.SIGKILL)]), (4_242, 1, []), (1, 1, []), (0, 0, [])],
)
def test_only_a_desk_that_is_still_the_parent_is_killed(monkeypatch, desk_pid, parent, killed):
    found, said = [], []
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(os, "kill", lambda *call: found.append(call))
    watchdog_program.fence(desk_pid, said.append)
    assert found == killed
    assert said == [f"the hanging desk (process {pid}) was killed" for pid, _ in killed]


def test_a_desk_that_is_gone_already_is_not_said_to_be_killed(monkeypatch):
    said = []

    def gone(*_):
        raise ProcessLookupError

    monkeypatch.setattr(os, "getppid", lambda: 4_242)
    monkeypatch.setattr(os, "kill", gone)
    watchdog_program.fence(4_242, said.append)
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


@pytest.mark.parametrize(
    ("messages", "code", "logged"),
    [
        ((DeskMessage("begin", run_dir="r"), DeskMessage("end", clean=True)), 0, []),
        ((), 0, ["the desk died; no run had begun, nothing is done"]),
        ((DeskMessage("begin", run_dir="r"),), 7, []),
    ],
)
def test_the_watchdog_acts_only_when_a_run_had_begun_and_did_not_end_well(
    monkeypatch, capfd, tmp_path, messages, code, logged
):
    calls, said = [], []

    class Gateway:
        async def connect(self):
            calls.append("connect")
            return SimpleNamespace(account_id="a1")

        async def events(self):
            while True:
                yield await asyncio.sleep(0.0)

        async def close(self, *, graceful):
            calls.append(("close", graceful))

    async def act(gateway, reader, instruments, limits, settings, watched, trouble):
        calls.append((watched.run_dir, trouble))
        await asyncio.sleep(0)
        with pytest.raises(StopError, match="is still acting on this account") as refused:
            lock_account(plans[0], "a1", "a new run")
        calls.append(refused.value.value.partition(" in ")[0])
        return 7

    plans = []
    monkeypatch.setattr(watchdog_program, "venue_gateway", lambda plan, *_: plans.append(plan) or Gateway())
    monkeypatch.setattr(watchdog_program, "_act", act)
    monkeypatch.setattr(watchdog_program, "log", said.append)

    async def play():
        reader = asyncio.StreamReader()
        for message in messages:
            reader.feed_data(msgspec.json.encode(message) + b"\n")
        reader.feed_eof()
        settings = WatchdogSettings("gamma-scalper", "alpaca", live=False, desk_pid=1, state=str(tmp_path))
        return await watchdog_program.guard(settings, reader)

    assert asyncio.run(play()) == code
    acted = [("r", "the desk died"), f"process {os.getpid()}, r"] if code else []
    assert calls == ["connect", *acted, ("close", False)]
    assert said == logged
    lock_account(plans[0], "a1", "a new run").release()
    assert capfd.readouterr().out == "ready\n"
    assert (plans[0].venue, plans[0].live, plans[0].state) == ("alpaca", False, tmp_path)


@pytest.mark.parametrize(("url", "kind"), [(None, SystemClock), ("http://127.0.0.1:9", FollowingClock)])
def test_the_watchdogs_clock_is_that_of_a_simulated_exchange_where_it_watches_one(monkeypatch, url, kind):
    clocks = []

    def gateway(plan, instruments, clock):
        clocks.append(clock)
        raise StopError("no line")

    monkeypatch.setattr(watchdog_program, "venue_gateway", gateway)
    settings = WatchdogSettings("gamma-scalper", "alpaca", live=False, desk_pid=1, url=url, state="armings")

    async def play():
        await watchdog_program.guard(settings, asyncio.StreamReader())

    with pytest.raises(StopError, match="no line"):
        asyncio.run(play())
    assert [type(clock) for clock in clocks] == [kind]


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
        return await watchdog_program.watch(reader, stall_seconds, watched, **how)

    try:
        return loop.run_until_complete(play()), loop.time()
    finally:
        loop.close()


BEGIN, STARTED = DeskMessage("begin", run_dir="r"), DeskMessage("started")


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
        return await watchdog_program.watch(reader, 3.0, watched)

    found = loop.run_until_complete(play()), loop.time()
    loop.close()
    assert found == expected


@pytest.mark.parametrize(("messages", "is_killed"), [([], True), ([DeskMessage("end", clean=False)], False)])
def test_only_a_desk_that_is_through_with_its_end_is_not_killed(monkeypatch, messages, is_killed):
    killed = []
    monkeypatch.setattr(watchdog_program, "fence", lambda pid, log: killed.append(pid))
    _, watched = verdict(DeskMessage("begin", run_dir="r"), *messages)
    assert act(monkeypatch, watched)[0] == 3
    assert killed == [0] * is_killed


def test_a_pipe_that_does_not_end_with_the_desk_holds_nothing_up():
    loop, watched = VirtualLoop(), Watched()

    async def play():
        reader = asyncio.StreamReader()
        reader.feed_data(msgspec.json.encode(DeskMessage("sent", order=order("a"))) + b"\n")
        await watchdog_program.drain(reader, watched)

    loop.run_until_complete(play())
    assert (list(watched.live), loop.time()) == (["a"], 1.0)
    loop.close()


def test_each_heartbeat_is_answered_and_nothing_else():
    answers, beat = [], DeskMessage("beat")
    messages = [BEGIN, STARTED, beat, b"rubbish\n", beat, DeskMessage("sent", order=order("a"))]
    waited(messages, answer=lambda: answers.append(1))
    assert len(answers) == 2


def test_an_answer_leaves_at_once_and_one_that_nobody_reads_is_no_trouble(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(watchdog_program.sys, "stdout", stdout)
        watchdog_program.answer(b"beat\n")
        assert os.read(read, 100) == b"beat\n"
        os.close(read)
        watchdog_program.answer(b"beat\n")


def test_the_settings_of_a_watchdog_name_what_it_needs_and_no_more():
    settings = WatchdogSettings("gamma-scalper", "alpaca", live=False, desk_pid=1)
    assert (settings.config_file, settings.overrides, settings.url, settings.keys) == (None, (), None, {})
    assert (settings.stall_seconds, settings.flatten, settings.leaves_foreign) == (3.0, False, False)
    assert settings.state == ""
    fresh = Watched()
    assert (fresh.run_dir, fresh.has_begun, fresh.has_started, fresh.has_ended) == ("", False, False, False)
    assert (fresh.is_ending, fresh.is_gone, fresh.keeps_positions, fresh.header) == (
        False,
        False,
        False,
        None,
    )
    assert (fresh.live, fresh.parents) == ({}, {})


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("leaves_foreign", [True, False])
@pytest.mark.parametrize("keeps_positions", [True, False])
@pytest.mark.parametrize("flatten", [True, False])
def test_the_watchdog_ends_the_desk_before_it_cancels_and_writes_down_what_came_of_it(
    tmp_path, monkeypatch, flatten, keeps_positions, leaves_foreign, done
):
    loop, steps, made = VirtualLoop(), [], {}

    class Trader:
        def __init__(self, **how):
            made.update(how)

        async def clear(self, orders, **how):
            steps.append(("clear", list(orders), how))
            made["log"]("two orders: señal \udce4")  # a path, or a venue's text, may hold anything
            await asyncio.sleep(1.25)
            return done

    header = SimpleNamespace(instruments=(Equity("SPY"),), data={"order_prefix": "sd1"})
    monkeypatch.setattr(watchdog_program, "peek_header", lambda folder: steps.append(folder) or header)
    monkeypatch.setattr(watchdog_program, "EmergencyTrader", Trader)
    monkeypatch.setattr(watchdog_program, "Flattener", lambda *how: how)
    monkeypatch.setattr(watchdog_program, "fence", lambda pid, log: steps.append(("fence", pid)))
    monkeypatch.setattr(watchdog_program, "log", steps.append)
    settings = WatchdogSettings(
        "gamma-scalper", "alpaca", live=False, desk_pid=77, flatten=flatten, leaves_foreign=leaves_foreign
    )
    watched, book = Watched(str(tmp_path), has_begun=True, keeps_positions=keeps_positions), Instruments()
    closes = flatten and not keeps_positions  # of a run that was to keep them only orders are cancelled
    watched.live["a"], watched.parents["a"] = order("a"), "combo"

    async def act():
        reader = piped(DeskMessage("sent", order=order("late")), b'{"kind":"se')
        return await watchdog_program._act(
            "gateway", reader, book, "limits", settings, watched, "the desk died"
        )

    assert loop.run_until_complete(act()) == (3 if done else 4)
    loop.close()
    outcome = f"{'done' if done else 'NOT DONE: act by hand'} after 1.25 s"
    assert steps == [
        "ALARM: the desk died; cancelling all orders",
        ("fence", 77),
        tmp_path,
        ("clear", [order("a"), order("late")], {"flatten": closes, "parents": {"a": "combo", "late": ""}}),
        "two orders: señal \udce4",
        outcome,
    ]
    assert list(book) == [Equity("SPY")]
    assert made["flattener"] == (book, "sd1-250")
    assert (made["gateway"], made["instruments"], made["limits"]) == ("gateway", book, "limits")
    assert made["only_ids"] == ("sd1" if leaves_foreign else None)
    written = (tmp_path / ACTED_FILE).read_text(encoding="utf-8").splitlines()
    assert written == ["ALARM: the desk died; cancelling all orders", r"two orders: señal \udce4", outcome]


def held_for(seconds, lock):
    """Let a watchdog hold the account's lock for so long; return its messages."""
    said, loop = [], VirtualLoop()

    async def play():
        holding = asyncio.create_task(watchdog_program.hold_account(lock))
        await asyncio.sleep(seconds)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watchdog_program, "log", said.append)
        loop.run_until_complete(play())
    loop.close()
    return said


@pytest.mark.parametrize(("dies_after", "logs"), [(1, 0), (5, 0), (30, 1), (1_000, 1)])
def test_the_lock_of_a_desk_that_is_just_dying_is_waited_for_and_released_at_the_end(dies_after, logs):
    tries, released = [], []

    def lock():
        tries.append(1)
        if len(tries) <= dies_after:
            raise StopError("another desk trades this account; nothing was sent", value="process 7")
        return SimpleNamespace(release=lambda: released.append(1))

    text = "acting without the account's lock: another desk trades this account; nothing was sent (process 7)"
    assert held_for(19.9, lock) == [text] * logs
    assert released == [1] * (dies_after < 100)
    assert len(tries) == min(dies_after + 1, 100)


def test_a_disk_that_takes_no_lock_is_no_obstacle():
    def lock():
        raise OSError(28, "No space left on device")

    (said,) = held_for(1.0, lock)
    assert said.startswith("acting without the account's lock: OSError: [Errno 28] No space left on device")


def test_the_orders_of_each_watchdog_have_ids_of_their_own_that_every_venue_takes(tmp_path, monkeypatch):
    started = []
    line = SimpleNamespace(wait_until_ready=lambda: None)
    monkeypatch.setattr(
        watchdog_program, "HeartbeatChannel", lambda command, settings, log: started.append(settings) or line
    )
    clock = iter([1_800_000_000 * 10**9, 1_800_000_060 * 10**9])
    monkeypatch.setattr(watchdog_program, "SystemClock", lambda: SimpleNamespace(now_ns=clock.__next__))
    settings = WatchdogSettings("gamma-scalper", "deribit", live=False, desk_pid=4_194_304)
    for _ in range(2):  # in a container the desk has the same process id each time
        start_watchdog(settings, tmp_path / "watchdog.log")
    monkeypatch.setattr(watchdog_program, "EmergencyTrader", Cancels)
    monkeypatch.setattr(watchdog_program, "log", lambda text: None)
    longest = Equity("AVAX_USDC-25DEC26-100d55-C")  # its symbol is all that counts here
    header = SimpleNamespace(instruments=(longest,), data={"order_prefix": "sd12345p3oloo9"})
    names = []
    for one in started:
        acted(msgspec.convert(one, WatchdogSettings), Watched("r", header=header))
        orders = [OrderIntent(0, Side.SELL, 1, Purpose.CLOSE, "flattening")] * 120
        names.append([made.client_order_id for made in Cancels.made["flattener"].name_orders(orders)])
    assert not set(names[0]) & set(names[1])
    assert max(map(len, names[0])) <= LONGEST_LABEL


class Cancels:
    """Stands for an emergency trader: keeps how it was made, and which orders it was given and when."""

    made, given, at, flatten = None, None, (), None

    def __init__(self, **how):
        type(self).made, type(self).given, type(self).at = how, None, ()

    async def clear(self, orders, **how):
        type(self).given, type(self).flatten = list(orders), how["flatten"]
        type(self).at += (asyncio.get_running_loop().time(),)
        return True


def piped(*lines):
    """Return a pipe that holds these lines and has ended."""
    reader = asyncio.StreamReader()
    for line in lines:
        reader.feed_data(msgspec.json.encode(line) + b"\n" if isinstance(line, DeskMessage) else line)
    reader.feed_eof()
    return reader


def acted(settings, watched, *lines):
    """Let a watchdog act whose pipe still holds these lines; return its exit code."""

    async def play():
        book = Instruments()
        return await watchdog_program._act("g", piped(*lines), book, "limits", settings, watched, "why")

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


def act(monkeypatch, watched, *, leaves_foreign=False):
    """Let a watchdog act; return its exit code, its messages, and how its trader was made."""
    said = []
    monkeypatch.setattr(watchdog_program, "log", said.append)
    monkeypatch.setattr(watchdog_program, "EmergencyTrader", Cancels)
    monkeypatch.setattr(watchdog_program, "Flattener", lambda *how: how)
    settings = WatchdogSettings(
        "gamma-scalper", "alpaca", live=False, desk_pid=0, leaves_foreign=leaves_foreign
    )
    return acted(settings, watched), said, Cancels.made


@pytest.mark.parametrize("leaves_foreign", [True, False])
def test_the_watchdog_cancels_everything_though_the_runs_folder_is_gone(
    tmp_path, monkeypatch, leaves_foreign
):
    watched = Watched()
    watched.apply(DeskMessage("begin", run_dir=str(tmp_path / "gone")))
    watched.apply(DeskMessage("sent", order=order("a")))
    code, said, made = act(monkeypatch, watched, leaves_foreign=leaves_foreign)
    assert code == 3
    assert said[0] == "ALARM: why; cancelling all orders"
    assert "the run's header cannot be read (the journal cannot be read: No such file" in said[1]
    assert said[2].startswith("done after")
    assert (list(made["instruments"]), made["only_ids"]) == ([], None)
    assert made["flattener"][1] == "wd-00"
    assert Cancels.given == []  # without the header its instrument is not known
    assert Cancels.at == (0.0, 10.0)  # it may have been on its way at the first look


def test_the_header_is_read_as_the_run_begins_and_not_when_the_disk_may_be_gone(tmp_path, monkeypatch):
    headers = [SimpleNamespace(instruments=(Equity("SPY"),), data={"order_prefix": "sd1"})]
    monkeypatch.setattr(watchdog_program, "peek_header", lambda folder: headers.pop())
    watched = Watched()
    watched.apply(DeskMessage("begin", run_dir=str(tmp_path)))
    watched.apply(DeskMessage("sent", order=order("a")))
    code, said, made = act(monkeypatch, watched)
    assert (code, headers, len(said)) == (3, [], 2)
    assert list(made["instruments"]) == [Equity("SPY")]
    assert (Cancels.given, Cancels.at) == ([order("a")], (0.0,))


@pytest.mark.parametrize(
    ("lines", "flatten"),
    [
        ([], False),
        ([DeskMessage("flatten", flatten=True)], True),
        ([DeskMessage("flatten", flatten=True), DeskMessage("end")], True),
        ([DeskMessage("flatten", flatten=True), DeskMessage("flatten")], False),
        ([DeskMessage("flatten", flatten=True), DeskMessage("end", keeps_positions=True)], False),
        ([DeskMessage("flatten", flatten=True), DeskMessage("begin", run_dir="next")], False),
    ],
)
def test_a_watchdog_closes_the_positions_where_an_operator_asked_the_desk_for_it(
    tmp_path, monkeypatch, lines, flatten
):
    watched = Watched()
    for line in [DeskMessage("begin", run_dir=str(tmp_path)), *lines]:
        watched.apply(line)
    act(monkeypatch, watched)
    assert Cancels.flatten is flatten


def test_a_log_on_a_full_disk_never_keeps_the_watchdog_from_cancelling(monkeypatch):
    log = watchdog_program.log
    with Path("/dev/full").open("w", buffering=1) as full, monkeypatch.context() as patched:
        patched.setattr(watchdog_program.sys, "stderr", full)
        patched.setattr(watchdog_program, "EmergencyTrader", Cancels)
        settings = WatchdogSettings("gamma-scalper", "alpaca", live=False, desk_pid=0)
        watched = Watched("/nonexistent", has_begun=True)
        assert (acted(settings, watched), Cancels.given) == (3, [])
        log("and again")
        with suppress(OSError):  # what it holds back cannot be written either
            full.close()


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


def test_a_watchdog_whose_desk_is_killed_while_it_starts_ends_quietly(monkeypatch, tmp_path):
    said = []

    class Gateway:
        async def connect(self):
            return SimpleNamespace(account_id="a1")

        async def events(self):
            while True:
                yield await asyncio.sleep(0.0)

        async def close(self, *, graceful):
            said.append(f"closed, graceful {graceful}")

    async def play():
        reader = asyncio.StreamReader()
        reader.feed_eof()
        settings = WatchdogSettings("gamma-scalper", "alpaca", live=False, desk_pid=1, state=str(tmp_path))
        return await watchdog_program.guard(settings, reader)

    monkeypatch.setattr(watchdog_program, "venue_gateway", lambda *_: Gateway())
    monkeypatch.setattr(watchdog_program, "log", said.append)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(watchdog_program.sys, "stdout", stdout)
        assert asyncio.run(play()) == 0
    assert said == ["the desk died; no run had begun, nothing is done", "closed, graceful False"]


def test_a_refusal_to_start_is_written_for_the_desk_to_read(monkeypatch, capfd):
    async def refuse():
        raise ConfigError("no key", where="here", fix="do this")

    monkeypatch.setattr(watchdog_program, "_main", refuse)
    assert watchdog_program.main() == 2
    shown = capfd.readouterr()
    assert msgspec.json.decode(shown.out) == {
        "what": "no key",
        "where": "here",
        "fix": "do this",
        "exit_code": 2,
    }
    assert " watchdog: " in shown.err

    async def well():
        return 3

    monkeypatch.setattr(watchdog_program, "_main", well)
    assert watchdog_program.main() == 3


def test_the_first_line_of_the_pipe_holds_the_settings_however_long_and_the_rest_is_the_desks(monkeypatch):
    heard = []

    async def guard(settings, reader):
        heard.append((settings, await reader.readline()))
        return 5

    settings = WatchdogSettings("gamma-scalper", "alpaca", live=True, desk_pid=7, overrides=("x" * 40_000,))
    read, write = os.pipe()
    os.write(write, msgspec.json.encode(settings) + b"\nthe first message\n")
    os.close(write)
    monkeypatch.setattr(watchdog_program, "guard", guard)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(watchdog_program.sys, "stdin", stdin)
        assert asyncio.run(watchdog_program._main()) == 5
    assert heard == [(settings, b"the first message\n")]
