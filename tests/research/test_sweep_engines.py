"""Engines: a worker that is killed loses nothing, and what a killed sweep leaves is removed."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from scalpdesk import PreparedMarket
from scalpdesk.config.settings import load_settings
from scalpdesk.config.sources import overrides_of
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.research.sweep import JobMaker
from scalpdesk.research.sweep_engines import FOLDER_PREFIX, LocalEngine, block_folder
from scalpdesk_testing.kit.folders import BUY_ONE, folder

KILLS_ITS_PROCESS = """
import os, signal
from pathlib import Path

mark = Path(__file__).with_name("lives")
if mark.exists():
    left = int(mark.read_text())
    mark.write_text(str(left - 1)) if left > 1 else mark.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def jobs_of(path, market):
    made = folder(path, BUY_ONE, before=KILLS_ITS_PROCESS)
    chosen = {"folder": str(made), "isolate": False, "heartbeat_seconds": 600, "price_change_usd": 5}

    def load(texts):
        return load_settings("external", overrides=[*overrides_of(chosen), *texts], environ={}, cwd=Path())

    maker = JobMaker(load, 1, market)
    return made / "lives", [maker.job({"max_age_seconds": str(age)}) for age in (5, 6, 7)]


def timeless(row):
    return msgspec.structs.replace(row, seconds=0.0, cpu_seconds=0.0)


@pytest.mark.second
def test_a_backtest_whose_process_is_killed_runs_again(tmp_path):
    market = PreparedMarket(embedded.reconstruct(date(2017, 7, 3)))
    lives, jobs = jobs_of(tmp_path, market)
    lives.write_text("1")
    with LocalEngine(market, 2) as engine:
        there = {row.key: timeless(row) for row in engine.run(jobs)}
        assert not lives.exists()
        with LocalEngine(market, 1) as alone:
            here = {row.key: timeless(row) for row in alone.run(jobs)}
        assert there == here
        assert all(row.fills for row in here.values())


def test_the_folder_of_a_killed_sweep_is_removed_by_the_next(tmp_path):
    left = tmp_path / f"{FOLDER_PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    with block_folder(tmp_path) as first, block_folder(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert not left.exists()
    assert not list(tmp_path.iterdir())
