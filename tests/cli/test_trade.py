"""``scalpdesk backtest`` and ``demo``: what an interrupt leaves."""

import json
import os
import shlex
import signal
from contextlib import nullcontext

import pytest

from scalpdesk.backtesting.runs import replay
from scalpdesk.cli import summary_view
from scalpdesk.cli.main import main

DAYS = ("--start", "2017-07-03", "--end", "2017-07-05")
WORDS = ("backtest", "gamma-scalper", *DAYS, "--set=entry.gate=off", "--set=exits.edge_gone=false")


@pytest.fixture
def interrupted(monkeypatch, tmp_path):
    """Send a signal to the program itself in a later step of the market."""
    monkeypatch.chdir(tmp_path)
    steps = []

    def on_step(_run, now_ns):
        steps.append(now_ns)
        if len(steps) == 40:
            os.kill(os.getpid(), interrupted.number)

    def interrupted(number, *words):
        interrupted.number = number
        return main([*WORDS, *words])

    monkeypatch.setattr(summary_view, "progress_view", lambda _sessions: nullcontext(on_step))
    return interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backtest_says_what_was_held_and_how_to_begin_anew(
    interrupted, tmp_path, capsys, number
):
    before = signal.getsignal(number)
    assert interrupted(number) == 130
    assert signal.getsignal(number) == before
    (run_dir,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert f"scalpdesk report {run_dir.name}" in told.err
    assert "SPY" in lines[1]
    assert shlex.split(lines[-1].partition("scalpdesk ")[2]) == list(WORDS)
    assert replay(run_dir).identical


def test_with_json_an_interrupted_backtest_is_one_document(interrupted, capsys):
    assert interrupted(signal.SIGINT, "--json", "--no-journal") == 130
    found = json.loads(capsys.readouterr().out)
    assert found["run_id"] is None
    assert found["cut"]["sessions_played"] == 0
    assert found["cut"]["sessions"] == 2
    assert set(found["end_positions"].values()) >= {"1"}
