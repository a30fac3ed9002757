"""The last words of ``scalpdesk run``, and its exit code."""

import asyncio
import os
import pty
import shlex
from contextlib import suppress
from types import SimpleNamespace

import pytest

from scalpdesk.cli import run as command
from scalpdesk.cli.main import main

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
LEFT = (
    "alarm: orders may still work at simulated: a, b; nothing guards them: cancel them at the venue,"
    " or go on with --resume\n"
)


@pytest.mark.parametrize(
    ("facts", "code", "alarm"),
    [
        ({}, 0, ""),
        ({"ended": "in other words", "end": "not_flat"}, 1, ""),
        ({"differences": ["SPY: desk 4, venue 5"]}, 1, ""),
        (
            {"ended": "stopped; the venue has not confirmed every cancel", "open_orders": ["a", "b"]},
            1,
            LEFT,
        ),
    ],
)
def test_an_end_with_something_left_says_what_and_fails(monkeypatch, tmp_path, capsys, facts, code, alarm):
    monkeypatch.setattr(command, "_carry_out", lambda *_: SUMMARY | facts)
    words = ["run", "gamma-scalper", "--no-dashboard", "--set", f"desk.runs_dir={tmp_path}"]
    assert main(words) == code
    shown = capsys.readouterr()
    assert shown.err == alarm
    assert "mode ACTIVE; positions: 4 SPY" in shown.out


def test_a_stop_names_the_command_that_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "_carry_out", lambda *_: SUMMARY)
    words = ["run", "gamma-scalper", "--new-run", "--no-dashboard", f"--set=desk.runs_dir={tmp_path}"]
    assert main(words) == 0
    again = shlex.split(capsys.readouterr().out.partition("scalpdesk ")[2])
    assert again == ["run", "gamma-scalper", "--no-dashboard", f"--set=desk.runs_dir={tmp_path}", "--resume"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_second_interrupt_says_what_is_held_and_how_to_go_on(monkeypatch, tmp_path, capsys, has_begun):
    held = SimpleNamespace(quantity=31, instrument_id=0)
    book = SimpleNamespace(
        instruments=[SimpleNamespace(symbol="SPY")],
        positions=SimpleNamespace(held=lambda: [held]),
        orders=SimpleNamespace(live={"r-000007": None}),
    )
    desk = SimpleNamespace(engine=SimpleNamespace(desk=book), header=SimpleNamespace(run_id="r"))

    def interrupted(_plan, _line, _watcher, desks):
        desks += [desk] if has_begun else []
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_carry_out", interrupted)
    assert main(["run", "gamma-scalper", "--no-dashboard", f"--set=desk.runs_dir={tmp_path}"]) == 130
    told = capsys.readouterr().err
    for text in ("31 SPY", "r-000007", "--resume"):
        assert (text in told) is has_begun


def test_orders_left_to_the_watchdog_name_its_log(tmp_path):
    plan = type("Plan", (), {"venue": "alpaca", "runs_dir": tmp_path})
    text = command._orders_left(["a"], plan, is_guarded=True)
    log = tmp_path / "watchdog.log"
    assert text == f"orders may still work at alpaca: a; the watchdog goes on cancelling, see {log}"


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
def test_a_message_that_nobody_takes_stops_nothing(monkeypatch, stderr):
    file = stderr()
    with monkeypatch.context() as patched:
        patched.setattr(command.sys, "stderr", file)
        command._say("alarm", "the desk stops")
        command._say("info", "stopped: hold")
    with suppress(OSError):  # what it holds back cannot be written either
        file.close()


@pytest.mark.parametrize(("ends", "length"), [(pty.openpty, 50), (os.pipe, 500), (os.pipe, 6_000)])
def test_a_reader_that_stands_still_holds_up_one_message_and_never_the_desk(monkeypatch, ends, length):
    reader, writer = ends()
    messages, waits = command._Messages(), []
    with os.fdopen(writer, "w", buffering=1) as stderr, monkeypatch.context() as patched:
        patched.setattr(command, "_MESSAGES", messages)
        patched.setattr(command.sys, "stderr", stderr)
        written = 0
        while messages._writing is None or not messages._writing.is_alive():
            command._say("info", "x" * length)
            written += 1
            messages._writing.join(0.5)  # what is only slow is through by then
        waits.append(messages._writing)
        for _ in range(1_000):
            command._say("alarm", "dropped")
        assert messages._writing is waits[0]
        shown = ""
        while shown.count("\n") < written:
            shown += os.read(reader, 65_536).decode()
        waits[0].join()
        command._say("alarm", "read again")
        messages._writing.join()
        shown += os.read(reader, 65_536).decode()
    os.close(reader)
    assert shown.replace("\r", "") == ("x" * length + "\n") * written + "alarm: read again\n"


def test_progress_that_cannot_be_shown_is_tried_again(monkeypatch):
    monkeypatch.setattr(command, "PROGRESS_SECONDS", 0.0)
    tries = []
    session = SimpleNamespace(open_ns=0, close_ns=2)
    attribution = SimpleNamespace(nav_change=0, unit="USD")
    desk = SimpleNamespace(view=SimpleNamespace(session=session), attribution=attribution)
    live = SimpleNamespace(engine=SimpleNamespace(desk=desk, now_ns=1))

    def report(*words):
        tries.append(words)
        raise BrokenPipeError

    async def play():
        showing = asyncio.create_task(command._show_progress(live, report))
        for _ in range(3):
            await asyncio.sleep(0)
        showing.cancel()

    monkeypatch.setattr("scalpdesk.core.units.to_cents", lambda amount, unit: amount)
    asyncio.run(play())
    assert len(tries) == 3
