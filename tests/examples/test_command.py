"""The package of docs/developing/add_a_command.md, built from the page: its command and study are used."""

import json
import sys
from datetime import date

import pytest

from scalpdesk.cli.main import main
from scalpdesk_testing.kit.packages import install_points
from tests.docs.pages import DOCS, install_page


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_a_command.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == "desk_ranges"]:
        del sys.modules[module]


def test_a_command_of_a_package_reads_a_run_on_record(finished_run, tmp_path, capsys):
    settings = ("entry.gate=off", "simulation.fees=alpaca")
    run_dir = finished_run(tmp_path / "runs", "gamma-scalper", date(2017, 7, 3), *settings)
    assert main(["report", "last", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main(["fees-of", "last", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == summary["run_id"] == run_dir.name
    assert float(found["fees"]) == pytest.approx(-float(summary["pnl"]["fees"]), abs=0.01)
    assert float(found["fees"]) > 0


def test_a_study_of_a_package_stands_below_research(capsys):
    assert main(["research", "--help"]) == 0
    assert "ranges" in capsys.readouterr().out
    assert main(["research", "ranges", "SPY", "--start", "2018-02-05", "--end", "2018-02-06", "--json"]) == 0
    ranges = json.loads(capsys.readouterr().out)["ranges"]
    assert list(ranges) == ["2018-02-05", "2018-02-06"]
    assert all(0.5 < share < 10 for share in ranges.values())


def test_an_unknown_command_names_the_nearest_of_all(capsys):
    assert main(["fees-off"]) == 2
    assert "nearest: fees-of" in capsys.readouterr().err


def test_what_is_no_command_is_refused_and_all_others_work(tmp_path, capsys):
    points = {"broken": "desk_ranges.ranges:print_table", "absent": "desk_ranges.nowhere:x"}
    install_points(tmp_path / "site", "other-commands", {"scalpdesk.commands": points})
    for name, what in (("broken", "not of the type Command"), ("absent", "cannot be loaded")):
        assert main([name]) == 2
        refusal = capsys.readouterr().err
        assert what in refusal
        assert f"entry point {name} of scalpdesk.commands (other-commands 0.1.0)" in refusal
    assert main(["fees-of", "--help"]) == 0


def test_a_command_whose_function_does_not_take_its_options_is_refused_before_it_runs(tmp_path, capsys):
    (tmp_path / "site" / "half_options.py").write_text(
        "import click\n"
        "@click.command('half')\n@click.option('--days')\n@click.option('--symbol')\n"
        "def half(days): ...\n"
    )
    install_points(tmp_path / "site", "half", {"scalpdesk.commands": {"half": "half_options:half"}})
    assert main(["half"]) == 2
    refusal = capsys.readouterr().err
    assert "symbol" in refusal
    assert "entry point half of scalpdesk.commands (half 0.1.0)" in refusal
