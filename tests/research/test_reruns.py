"""Runs made again: the same run gives the same result, the run stays as it is, and each result is kept."""

from datetime import date

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.research import reruns
from scalpdesk.research.reruns import RerunState, kept_reruns, rerun

DAY = date(2017, 7, 3)


def traded(folder, *overrides, seed=1):
    words = ("entry.gate=off", "exits.close_at=10:30", *overrides)
    settings = load_settings("gamma-scalper", overrides=words, environ={})
    tape = load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=seed)
    return run_backtest(settings, tape, SystemClock(), mode="backtest", seed=seed, runs_dir=folder)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return traded(tmp_path_factory.mktemp("runs")).run_dir


def again(run_dir, report=lambda *_: None, **ways):
    return rerun(run_dir, SystemClock(), report, **{"fill_models": False, "paths": 0} | ways)


def files_of(run_dir):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run_dir.rglob("*") if path.is_file()
    }


def test_each_result_is_that_of_a_run_made_so_from_the_start_and_the_run_stays_as_it_is(run_dir, tmp_path):
    before, told = files_of(run_dir), []
    found = again(run_dir, lambda *words: told.append(words), fill_models=True, paths=2)
    assert [each.name for each in found.fill_models] == ["mid", "queue", "adverse"]
    mid = traded(tmp_path, "simulation.fill_model=mid").summary
    second = traded(tmp_path, seed=2).summary
    assert [str(each.pnl) for each in (found.fill_models[0], found.paths[0])] == [
        mid["nav_change"],
        second["nav_change"],
    ]
    assert [done for done, _, _ in told] == [0, 1, 2, 3]
    assert {total for _, total, _ in told} == {4}
    assert files_of(run_dir) == before
    assert kept_reruns(run_dir.parent, run_dir.name) == found
    assert (found.state, found.done, found.total) == (RerunState.ENDED, 4, 4)


def test_results_of_the_other_kind_stay(run_dir):
    models = again(run_dir, fill_models=True).fill_models
    found = again(run_dir, paths=2)
    assert (found.fill_models, len(found.paths), found.done, found.total) == (models, 1, 4, 4)


def test_what_was_made_before_a_failure_is_kept_with_its_reason(run_dir):
    def fail(done, total, what):
        if what == "fill model queue":
            raise DataError("the disk is gone")

    with pytest.raises(DataError):
        again(run_dir, fail, fill_models=True)
    found = kept_reruns(run_dir.parent, run_dir.name)
    assert (found.state, found.problem) == (RerunState.FAILED, "the disk is gone")
    assert [each.name for each in found.fill_models] == ["mid"]


def test_reruns_of_a_process_that_is_gone_are_cancelled(run_dir):
    nobody = 2**22 + 1  # above the largest id of a process
    reruns.keep_reruns(run_dir.parent, reruns.Reruns(run_id=run_dir.name, pid=nobody))
    assert kept_reruns(run_dir.parent, run_dir.name).state is RerunState.CANCELLED


@pytest.mark.parametrize("ways", [{}, {"paths": 1}])
def test_nothing_to_make_is_refused(run_dir, ways):
    with pytest.raises(ArgumentError):
        again(run_dir, **ways)
