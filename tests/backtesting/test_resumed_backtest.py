"""A backtest over sessions that is killed and resumed ends as one that never was."""

import errno
import gc
import os
import signal
import time
from datetime import date

import pytest

from fakes.clock import ManualClock
from scalpdesk.assembly import load_market
from scalpdesk.backtesting import runs
from scalpdesk.backtesting.runs import STATE_NAME, YOUNG_OBJECTS, resume_backtest, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import JournalError
from scalpdesk.journal.reader import JournalReader, run_dirs

HALF_DAY, NEXT = date(2017, 11, 24), date(2017, 11, 27)


@pytest.fixture(scope="module")
def settings():
    return load_settings("gamma-scalper", overrides=("entry.gate=off", "exits.edge_gone=false"))


@pytest.fixture(scope="module")
def tape(settings):
    return load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=NEXT, seed=1)


def test_a_run_that_fails_leaves_the_garbage_collector_as_it_found_it(settings, tape):
    before, seen = gc.get_threshold(), []

    def fail(run, now_ns):
        del run, now_ns
        seen.append(gc.get_threshold())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_backtest(settings, tape, ManualClock(1), seed=1, observer=fail)
    assert before[0] < YOUNG_OBJECTS
    assert seen == [(YOUNG_OBJECTS, *before[1:])]
    assert gc.get_threshold() == before


def test_a_killed_run_resumed_gives_the_hash_of_one_never_killed(settings, tape, tmp_path, monkeypatch):
    killed_at_ns = tape.sessions[1].open_ns + 600 * 10**9

    def kill(run, now_ns):
        del run
        if now_ns >= killed_at_ns:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            run_backtest(
                settings, tape, ManualClock(1), seed=1, runs_dir=tmp_path, observer=kill, save_seconds=0.0
            )
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (run_dir,) = run_dirs(tmp_path)

    resumed = resume_backtest(run_dir, ManualClock(2))

    # a saving that falls due within a session waits for its end
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def pass_time(run, now_ns):
        del run
        now[0] = 100.0 if now_ns > killed_at_ns else 0.0

    whole = run_backtest(
        settings, tape, ManualClock(1), seed=1, runs_dir=tmp_path / "whole", observer=pass_time
    )
    assert resumed.summary["decision_hash"] == whole.summary["decision_hash"]
    assert resumed.summary["pnl"] == whole.summary["pnl"]
    assert resumed.summary["events"] == whole.summary["events"]
    assert list(resumed.marks) == list(whole.marks)
    assert whole.summary["fills"] > 2
    journal = JournalReader(run_dir)
    assert journal.sealed
    assert journal.decisions.hex() == whole.summary["decision_hash"]
    assert journal.totals.events == whole.summary["events"]
    assert not (run_dir / STATE_NAME).exists()
    (run_dir / STATE_NAME).write_bytes(b"left by a kill between the seal and the end of the process")
    with pytest.raises(JournalError, match="the run has ended") as refused:
        resume_backtest(run_dir, ManualClock(3))
    assert refused.value.fix == f"scalpdesk report {run_dir.name}"
    assert not (run_dir / STATE_NAME).exists()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("zero-dte", ("entry.mode=straddle",)),
        ("hybrid", ("volatility=0.3", "strategies.gamma-scalper.entry.gate=off")),
        ("st0cka+gamma-scalper", ("strategies.gamma-scalper.entry.gate=off",)),
    ],
)
def test_other_strategies_are_resumed_too(name, overrides, tmp_path):
    settings = load_settings(name, overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=NEXT, seed=1)

    def stop(run, now_ns):
        if run.runner.sessions_done and now_ns > tape.sessions[1].open_ns:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_backtest(
            settings, tape, ManualClock(1), seed=1, runs_dir=tmp_path, observer=stop, save_seconds=0.0
        )
    (run_dir,) = run_dirs(tmp_path)
    resumed = resume_backtest(run_dir, ManualClock(2)).summary
    whole = run_backtest(settings, tape, ManualClock(1), seed=1).summary
    assert resumed["decision_hash"] == whole["decision_hash"]
    assert resumed["fills"] == whole["fills"] > 2


def test_a_state_of_other_code_is_refused(settings, tape, tmp_path):
    def stop(run, now_ns):
        if run.runner.sessions_done and now_ns > tape.sessions[1].open_ns:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_backtest(
            settings, tape, ManualClock(1), seed=1, runs_dir=tmp_path, observer=stop, save_seconds=0.0
        )
    (run_dir,) = run_dirs(tmp_path)
    state = run_dir / STATE_NAME
    state.write_bytes(b"0" * 64 + state.read_bytes()[64:])
    with pytest.raises(JournalError, match="another version of the code"):
        resume_backtest(run_dir, ManualClock(2))


def test_a_state_that_the_disk_refuses_is_named_and_takes_no_room(settings, tape, tmp_path, monkeypatch):
    def refuse(writer, state):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs._StateWriter, "dump", refuse)
    with pytest.raises(OSError, match="No space left") as refused:
        run_backtest(settings, tape, ManualClock(1), seed=1, runs_dir=tmp_path, save_seconds=0.0)
    (run_dir,) = run_dirs(tmp_path)
    assert refused.value.filename == str(run_dir / STATE_NAME)
    assert sorted(path.name for path in run_dir.iterdir()) == ["journal-000001.sdj", "journal.lock"]
