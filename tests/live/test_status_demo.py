"""Halting, flattening and resuming a demo over the socket that a live desk has."""

import contextlib
import gc
import socket
import threading
from datetime import date

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.reader import JournalTail
from scalpdesk.live.run import DemoControl
from scalpdesk.live.status import SOCKET_NAME, ask, running_desks
from scalpdesk.strategies.registry import find_strategy

DAY = date(2018, 2, 5)
MINUTE_NS = 60 * 10**9


class EnoughError(Exception):
    """Ends the run in the middle of its session."""


def run_demo(folder, observe):
    demo_settings = find_strategy("gamma-scalper").demo_settings
    # a band in which the first minutes are hedged
    narrow = ("hedge.band_settings.risk_aversion=0.25", "hedge.least_fraction=0.35")
    settings = load_settings("gamma-scalper", overrides=(*demo_settings, *narrow))
    tape = load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)
    run_backtest(settings, tape, SystemClock(), mode="demo", seed=1, runs_dir=folder, observer=observe)


def asked(control, run, now_ns, folder, request):
    """Ask from another thread, as another process would, while the run goes on stepping."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(folder, request)))
    asking.start()
    while asking.is_alive():
        control.on_step(run, now_ns)
    asking.join()
    return answers[0]


def test_a_demo_is_halted_resumed_and_flattened_and_replays_the_same(tmp_path):
    open_ns = session_on(DAY).open_ns
    answers = {}
    plan = [
        (6, "halt", {"do": "halt", "reason": "test"}),
        (7, "status", {"do": "status"}),
        (7.5, "without a reason", {"do": "resume"}),
        (8, "resume", {"do": "resume", "reason": "test"}),
        (9, "flatten", {"do": "flatten"}),
    ]

    with DemoControl(tmp_path) as control:

        def observe(run, now_ns):
            folder = tmp_path / run.header.run_id
            control.on_step(run, now_ns)
            while not (folder / SOCKET_NAME).exists():
                control.on_step(run, now_ns)
            if plan and now_ns > open_ns + plan[0][0] * MINUTE_NS:
                _, name, request = plan.pop(0)
                assert running_desks(tmp_path) == [folder]
                answers[name] = asked(control, run, now_ns, folder, request)
                answers[f"held after {name}"] = len(run.engine.desk.positions.held())
            if now_ns > open_ns + 12 * MINUTE_NS:
                answers["held"] = len(run.engine.desk.positions.held())
                raise EnoughError

        with pytest.raises(EnoughError):
            run_demo(tmp_path, observe)
    assert (answers["halt"]["was"], answers["halt"]["mode"]) == ("ACTIVE", "HALTED")
    assert "takes halt" in answers["status"]["error"]
    assert "needs a reason" in answers["without a reason"]["error"]
    assert (answers["resume"]["was"], answers["resume"]["mode"]) == ("HALTED", "ACTIVE")
    assert answers["flatten"]["mode"] == "FLATTENING"
    assert (answers["held after halt"], answers["held"]) == (3, 0)
    assert running_desks(tmp_path) == []
    (folder,) = tmp_path.iterdir()
    assert replay(folder).identical


def test_a_demos_journal_is_written_as_it_goes(tmp_path):
    seen = []

    with DemoControl(tmp_path) as control:

        def observe(run, now_ns):
            control.on_step(run, now_ns)
            tail = JournalTail(tmp_path / run.header.run_id)
            seen.extend(event.ts_recv_ns for item in tail.read() if isinstance(item, list) for event in item)
            tail.close()
            assert seen[-1] == now_ns  # the first step writes at once; nothing waits for a megabyte
            raise EnoughError

        with pytest.raises(EnoughError):
            run_demo(tmp_path, observe)


def test_a_demo_that_ends_closes_the_connections_to_its_socket(tmp_path, caplog):
    lines = []

    def observe(run, now_ns):
        control.on_step(run, now_ns)
        path = tmp_path / run.header.run_id / SOCKET_NAME
        while not path.exists():
            control.on_step(run, now_ns)
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(30.0)
        with contextlib.chdir(path.parent):  # a path of a socket has 108 bytes
            line.connect(SOCKET_NAME)
        line.sendall(b'{"do": "status"}\n')
        assert b"error" in line.recv(65_536)  # it waits for the next request now
        lines.append(line)
        raise EnoughError

    with pytest.raises(EnoughError), DemoControl(tmp_path) as control:
        run_demo(tmp_path, observe)
    (line,) = lines
    assert line.recv(1) == b""
    line.close()
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
