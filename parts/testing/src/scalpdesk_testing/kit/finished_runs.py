"""Backtests that have ended, made once for all tests that read one, and kept until the program changes."""

import fcntl
import shutil
import sys
from collections.abc import Callable
from datetime import date
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock

__all__ = ["FinishedRun", "finished_runs"]

FinishedRun = Callable[..., Path]
"""Takes a folder of runs, a strategy, a day and overrides; returns the folder of the run."""


def finished_runs(kept: Path) -> FinishedRun:
    """Return a function that copies a backtest of one embedded session into a folder of runs.

    ``kept``: Where the runs lie from one session of tests to the next; those of another program are removed.
    """
    shelf = kept / _digest_of_the_program()

    def finished_run(folder: Path, strategy: str, day: date, *overrides: str) -> Path:
        words = repr((strategy, day, overrides)).encode()
        made = shelf / sha256(words).hexdigest()[:16]
        shelf.mkdir(parents=True, exist_ok=True)
        with (kept / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.is_dir():
                for other in kept.iterdir():
                    if other.is_dir() and other != shelf:
                        shutil.rmtree(other)
                part = made.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                _trade(part, strategy, day, overrides)
                part.rename(made)
        (run_dir,) = (each for each in made.iterdir() if each.is_dir())
        return shutil.copytree(run_dir, folder / run_dir.name)

    return finished_run


def _trade(folder: Path, strategy: str, day: date, overrides: tuple[str, ...]) -> None:
    settings = load_settings(strategy, overrides=overrides, environ={}, cwd=folder.parent)
    tape = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    run_backtest(settings, tape, SystemClock(), mode="backtest", seed=1, runs_dir=folder)


@cache
def _digest_of_the_program() -> str:
    """Return what every file of the packages that run comes to, with the versions of what they compute by."""
    found = sha256(repr((sys.version, version("numpy"), version("numba"))).encode())
    specs = (find_spec("scalpdesk"), find_spec("scalpdesk_strategies"))
    for root in (Path(spec.origin).parent for spec in specs if spec is not None and spec.origin):
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]
