"""The end of ``scalpdesk run``, its exit code, and messages without a reader."""

import asyncio
import os
import pty
import shlex
import threading
from contextlib import suppress
from dataclasses import dataclass

import click
import pytest

from scalpdesk.cli.command import WORDS
from scalpdesk.cli.main import main
from scalpdesk.cli.run import DeskMessages, interrupted, report_end, show_progress
from scalpdesk.config.settings import load_settings
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.live.plan import LivePlan
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy

SUMMARY = {
    "run_id": "r",
    "verdict": "traded",
    "orders": 2,
    "fills": 1,
    "pnl": {"total": "3.00"},
    "end_positions": {"SPY": "4"},
    "mode": "ACTIVE",
    "resumable": True,
    "differences": [],
    "open_orders": [],
    "ended": "stopped: hold",
    "end": "stopped",
}


@pytest.fixture
def typed():
    """The command line that is carried out."""
    with click.Context(click.Command("run")) as context:
        context.meta[WORDS] = ["run", "gamma-scalper", "--new-run", "--set=desk.seed=3"]
        yield


def plan_in(folder, venue="simulated"):
    settings = load_settings("gamma-scalper", overrides=[f"desk.runs_dir={folder}"], environ={}, cwd=folder)
    return LivePlan(settings, venue)


@pytest.mark.parametrize("is_guarded", [False, True])
@pytest.mark.parametrize(
    ("facts", "code", "orders"),
    [
        ({}, None, ""),
        ({"ended": "in other words", "end": "not_flat"}, 1, ""),
        ({"differences": ["SPY: desk 4, venue 5"]}, 1, ""),
        ({"ended": "stopped", "end": "unconfirmed", "open_orders": ["a", "b"]}, 1, "a, b"),
    ],
)
@pytest.mark.usefixtures("typed")
def test_an_end_with_something_left_says_what_and_fails(tmp_path, capsys, facts, code, orders, is_guarded):
    plan = plan_in(tmp_path, "alpaca")
    assert report_end(SUMMARY | facts, plan, is_guarded=is_guarded, as_json=False) == code
    shown = capsys.readouterr()
    assert orders in shown.err
    assert bool(shown.err) is bool(orders)
    assert (str(tmp_path / "watchdog.log") in shown.err) is (bool(orders) and is_guarded)
    assert "mode ACTIVE; positions: 4 SPY" in shown.out
    again = shlex.split(shown.out.partition("scalpdesk ")[2])
    assert again == ["run", "gamma-scalper", "--set=desk.seed=3", "--resume"]


@dataclass
class Begun:
    """A desk that has begun."""

    engine: TradingEngine
    header: JournalHeader


@pytest.mark.parametrize("venue", ["simulated", "alpaca"])
@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.usefixtures("typed")
def test_a_second_interrupt_says_what_is_held_and_how_to_go_on(tmp_path, has_begun, venue):
    desk = HandDesk(Scripted())
    desk.adopt({0: (31, "500")})
    order = desk.engine.desk.orders.submit(buy(), 1)
    header = JournalHeader(SCHEMA, "r", "s", "v", "paper", {}, "c", "t", (), (), {}, 1)
    begun = Begun(desk.engine, header) if has_begun else None
    text = interrupted(begun, plan_in(tmp_path, venue), None, flattens=False)
    for part in ("31 SPY", order.client_order_id, "--resume"):
        assert (part in text) is has_begun
    assert ("at alpaca" in text) is (has_begun and venue == "alpaca")


def broken_pipe():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


def closed():
    file = broken_pipe()
    file.close()
    return file


def full_disk():
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)


@pytest.mark.parametrize("stderr", [broken_pipe, closed, full_disk])
def test_a_message_that_nobody_takes_stops_nothing(stderr):
    file = stderr()
    messages = DeskMessages(file)
    messages.say("alarm", "the desk stops")
    messages.say("info", "stopped: hold")
    with suppress(OSError):  # what it holds back cannot be written either
        file.close()


def writers():
    return [thread for thread in threading.enumerate() if thread.name == "message"]


@pytest.mark.parametrize(("ends", "length"), [(pty.openpty, 50), (os.pipe, 500), (os.pipe, 6_000)])
def test_a_reader_that_stands_still_holds_up_one_message_and_never_the_desk(ends, length):
    reader, writer = ends()
    with os.fdopen(writer, "w", buffering=1) as stderr:
        messages, written, waits = DeskMessages(stderr), 0, []
        while not waits:
            messages.say("info", "x" * length)
            written += 1
            for thread in writers():
                thread.join(0.5)  # what is only slow is through by then
            waits = writers()
        for _ in range(1_000):
            messages.say("alarm", "dropped")
        assert writers() == waits
        shown = ""
        while shown.count("\n") < written:
            shown += os.read(reader, 65_536).decode()
        waits[0].join()
        messages.say("alarm", "read again")
        for thread in writers():
            thread.join()
        shown += os.read(reader, 65_536).decode()
    os.close(reader)
    assert shown.replace("\r", "") == ("x" * length + "\n") * written + "alarm: read again\n"


def test_progress_that_cannot_be_shown_is_tried_again():
    desk, tries = HandDesk(Scripted()), []
    desk.open()
    desk.wait(60.0).timer()

    def report(*shown):
        tries.append(shown[:2])
        raise BrokenPipeError

    async def play():
        showing = asyncio.create_task(
            show_progress(desk.engine, report, messages=DeskMessages(), pause_seconds=0.0)
        )
        for _ in range(3):
            await asyncio.sleep(0)
        showing.cancel()

    asyncio.run(play())
    assert tries == [(60 * 10**9, 23_400 * 10**9)] * 3


def test_missing_keys_are_named_before_anything_is_compiled(tmp_path, monkeypatch):
    """A first start without keys compiled for minutes, then asked for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    assert main(["run", "gamma-scalper", "--venue", "alpaca"]) == 2
    assert not list(tmp_path.rglob("*.nbi"))
