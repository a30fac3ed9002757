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
def test_entries_of_all_runs_on_record_and_of_a_named_run_are_the_same(run, capsys):
    folder = ["--runs-dir", str(run.run_dir.parent), "--json"]
    assert main(["research", "entries", *folder]) == 0
    every = json.loads(capsys.readouterr().out)
    assert main(["research", "entries", "last", *folder]) == 0
    assert json.loads(capsys.readouterr().out) == every
    (found,) = every["strategies"]
    assert (found["strategy"], found["entries"], found["won"]) == ("gamma-scalper", 1, False)
    assert found["finding"]["verdict"] == "not tested"
    assert "minute_of_day" in found["features"]


def test_a_model_of_too_few_entries_is_not_written(run, tmp_path, capsys):
    folder, file = ["--runs-dir", str(run.run_dir.parent)], tmp_path / "gate.json"
    assert main(["research", "entries", "last", *folder]) == 0
    assert "1 entries, at least 100" in capsys.readouterr().out
    assert main(["research", "entries", "last", *folder, "--save", str(file)]) == 2
    assert "--save" in capsys.readouterr().err
    assert not file.exists()


def test_without_runs_on_record_there_is_nothing_to_test(tmp_path, capsys):
    assert main(["research", "entries", "--runs-dir", str(tmp_path / "absent")]) == 2
    assert "desk.runs_dir" in capsys.readouterr().err
