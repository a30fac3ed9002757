"""The watchdog: it outlives the desk, takes its orders off the book, and leaves a healthy desk alone."""

import asyncio
import os
import signal
import socket
import time

import msgspec
import pytest

from fakes.killing import BUSY, Exchange, plan_for, warm_up
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.run import carry_out
from scalpdesk.live.watchdog import ACTED_FILE, DeskMessage, WatchdogSupervisor
from scalpdesk.live.watchdog_program import WatchdogSettings, Watched, start_watchdog, watch


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
    assert verdict(begin, DeskMessage("end", clean=False))[0] == "the desk died"
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


def fork_guarded_desk(exchange, plan, folder, overrides, *, flatten, stall_seconds=60.0):
    """Start a desk with a watchdog in a child; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ |= {"TRADING_API_KEY": exchange.key, "TRADING_API_SECRET": exchange.secret}
        settings = WatchdogSettings(
            "gamma-scalper",
            "alpaca",
            live=False,
            desk_pid=os.getpid(),
            overrides=(*overrides, f"desk.runs_dir={folder / 'runs'}"),
            url=exchange.url,
            stall_seconds=stall_seconds,
            flatten=flatten,
            state=str(folder / "state"),
        )
        guard = WatchdogSupervisor(lambda: start_watchdog(settings, folder / "watchdog.log"), lambda *_: None)
        asyncio.run(carry_out(plan, notify=lambda *_: None, watchdog=guard))
    finally:
        os._exit(1)


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
def test_orders_of_a_dead_or_hanging_desk_are_cancelled(exchange, tmp_path, how):
    warm_up()
    # every order is filled by half and then rests
    exchange.post("faults", name="partial_fill", times=0, fraction=0.5, seconds=3_600)
    plan = plan_for(exchange, tmp_path, *RESTING)
    # only who hangs is waited for; a desk that is slow must not pass for one
    stall_seconds = 5.0 if how is signal.SIGSTOP else 60.0
    pid = fork_guarded_desk(exchange, plan, tmp_path, RESTING, flatten=False, stall_seconds=stall_seconds)
    exchange.speed(60)
    wait_for(lambda: open_orders(exchange))
    os.kill(pid, how)
    wait_for(lambda: not open_orders(exchange))  # of themselves they rest for an hour of the market
    _, status = os.waitpid(pid, 0)  # the watchdog ends a desk that hangs
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert "ALARM" in (tmp_path / "watchdog.log").read_text()
    (acted,) = (tmp_path / "runs").glob(f"*/{ACTED_FILE}")
    assert acted.read_text().startswith("ALARM")


@pytest.mark.enable_socket
def test_positions_are_closed_when_the_watchdog_was_told_to(exchange, tmp_path):
    warm_up()
    plan = plan_for(exchange, tmp_path, *BUSY)
    pid = fork_guarded_desk(exchange, plan, tmp_path, BUSY, flatten=True)
    exchange.speed(60)
    wait_for(lambda: len(exchange.get("fills")) >= 4)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
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
