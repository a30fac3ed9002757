"""``scalpdesk research entries`` on small runs."""

import json

import pytest

from scalpdesk.cli.main import main
from scalpdesk.notebook import backtest
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder


@pytest.fixture
def run(tmp_path):
    tape = TapeBuilder(straddle_book(500)).path("10:00", 60, [500.0] * 5).build()
    settings = {"entry.gate": "off", "exits.flat_minutes_before_close": 357}
    return backtest("gamma-scalper", tape, settings=settings, runs_dir=tmp_path, clock=ManualClock(1))


@pytest.mark.second
def test_entries_of_all_runs_on_record_and_of_a_named_run_are_the_same(run, told_by):
    folder = ["--runs-dir", str(run.run_dir.parent), "--json"]
    every = json.loads(told_by("research", "entries", *folder).out)
    assert json.loads(told_by("research", "entries", "last", *folder).out) == every
    (found,) = every["strategies"]
    assert (found["strategy"], found["entries"], found["won"]) == ("gamma-scalper", 1, False)
    assert found["finding"]["verdict"] == "not tested"
    assert "minute_of_day" in found["features"]


def test_a_model_of_too_few_entries_is_not_written(run, tmp_path, told_by):
    folder, file = ["--runs-dir", str(run.run_dir.parent)], tmp_path / "gate.json"
    assert "1 entries, at least 100" in told_by("research", "entries", "last", *folder).out
    assert "--save" in told_by("research", "entries", "last", *folder, "--save", str(file), code=2).err
    assert not file.exists()


def test_without_runs_on_record_there_is_nothing_to_test(tmp_path, capsys):
    assert main(["research", "entries", "--runs-dir", str(tmp_path / "absent")]) == 2
    assert "desk.runs_dir" in capsys.readouterr().err
