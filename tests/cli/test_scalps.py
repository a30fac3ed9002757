"""``scalpdesk scalps`` after a backtest: the rows are those of its journal."""

import json
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.web.runs import scalps_document

LOOSE = ("min_volume_ratio=0", "min_conviction_to_scalp=40", "simulation.fees=alpaca")


@pytest.fixture(scope="module")
def runs_dir(finished_run, tmp_path_factory):
    """A run of the scalper over a day of which much is known: four scalps, all closed."""
    return finished_run(tmp_path_factory.mktemp("runs"), "ema-scalper", date(2018, 2, 5), *LOOSE).parent


def shown(capsys, runs_dir, *words):
    capsys.readouterr()
    assert main(["scalps", *words, "--set", f"desk.runs_dir={runs_dir}", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_three_views_agree_with_one_another_and_with_the_run(capsys, document_of, runs_dir):
    found = shown(capsys, runs_dir)
    assert found["positions"] == []
    history, total = found["history"], found["performance"]["total"]
    assert total["scalps"] == len(history) > 0
    assert total["pnl"] == pytest.approx(sum(row["pnl"] for row in history), abs=0.01)
    summary = document_of("report", "last", "--set", f"desk.runs_dir={runs_dir}")
    assert float(Decimal(summary["nav_change"])) == pytest.approx(total["pnl"], abs=0.01)
    assert summary["end_positions"] == {}
    assert {row["metadata"]["run_id"] for row in history} == {summary["run_id"]}


def test_the_dashboards_rows_are_those_of_the_command_times_in_utc_and_all(capsys, runs_dir):
    found, page = shown(capsys, runs_dir), scalps_document(runs_dir, None, refresh=True)
    rows = [{**row, "metadata": json.loads(row["metadata_json"])} for row in page["history"]]
    assert [{name: row[name] for name in mine} for row, mine in zip(rows, found["history"], strict=True)] == (
        found["history"]
    )
    assert {row["entry_time"][-1] for row in rows} == {"Z"}
    assert page["performance"]["total"] == found["performance"]["total"]


def test_one_view_and_its_filters(capsys, runs_dir):
    assert set(shown(capsys, runs_dir, "history", "--limit", "1")) == {"unreadable", "history"}
    assert len(shown(capsys, runs_dir, "history", "--limit", "1", "--run", "last")["history"]) == 1
    assert shown(capsys, runs_dir, "history", "--ticker", "qqq")["history"] == []
    assert shown(capsys, runs_dir, "performance", "--ticker", "qqq")["performance"]["total"]["scalps"] == 0
    whole = shown(capsys, runs_dir, "performance")
    assert shown(capsys, runs_dir, "performance", "--ticker", "spy") == whole
    for view in (["history"], ["performance"], ["positions"], []):
        assert main(["scalps", *view, "--ticker", "qqq", "--set", f"desk.runs_dir={runs_dir}"]) == 0
        assert capsys.readouterr().out == f"no scalps in QQQ on record in {runs_dir}/\n"


def test_the_tables_show_every_scalp(told_by, runs_dir):
    text = told_by("scalps", "--set", f"desk.runs_dir={runs_dir}").out
    assert text.count("SPY180205P") + text.count("SPY180205C") >= 4
    assert "conviction medium" in text


def test_without_scalps_it_says_how_to_get_some(told_by, tmp_path):
    assert "scalpdesk backtest ema-scalper" in told_by("scalps", "--set", f"desk.runs_dir={tmp_path}").out


@pytest.mark.parametrize(
    "words",
    ["runs", "why last --list", "report last", "diary", "scalps", "risk last", "tax 2018 last"],
)
def test_a_wrong_key_of_a_strategy_keeps_no_record_from_a_reader(runs_dir, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scalpdesk.toml").write_text(
        f"[desk]\nruns_dir = {str(runs_dir)!r}\n[strategies.ema-scalper]\nnot_a_key = 1\n"
        "[strategies.nobodys]\nx = 2\n"
    )
    assert main(words.split()) == 0
    assert main(["config", "check", "ema-scalper"]) == 2
