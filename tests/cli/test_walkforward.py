"""``scalpdesk walkforward``: the document, the page of text, the rows that a sweep has left, refusals."""

import json
import re

import pytest

from scalpdesk.cli.main import main
from scalpdesk.research.sweep import ROWS_FILE

WORDS = (
    *("walkforward", "st0cka", "--start", "2017-07-03", "--end", "2017-07-06", "--train", "2", "--test", "1"),
    *("--param", "profit_target=0.01,0.05", "--workers", "1", "--runs-dir", "kept"),
)


@pytest.mark.second
def test_the_document_the_text_and_a_sweep_share_their_backtests(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--param", "position_size_max=4,0", "--metric", "pnl", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (fold,) = found["folds"]
    assert (fold["train_first"], fold["test_last"]) == ("2017-07-03", "2017-07-06")
    assert fold["settings"]["position_size_max"] == "4"
    assert list(found["daily"]) == ["2017-07-06"]
    assert found["out_of_sample"]["total"] == f"{float(found['daily']['2017-07-06']):.2f}"
    assert (found["combinations"], found["overfitting"]["trials"]) == (2, 2)
    assert len(found["problems"]) == 2
    assert all("position_size_max=0" in settings for settings in found["problems"])
    kept = {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)}
    assert len(kept) == 2  # over all sessions, and over those of the choice
    more = ("--earlier-trials", "7", "--html", "folds.html")
    assert main([*WORDS, "--param", "position_size_max=4", *more]) == 0
    text = capsys.readouterr().out
    page = (tmp_path / "folds.html").read_text("utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(data)["running"]["days"] == ["2017-07-06"]
    assert "9 trials" in text
    assert "profit_target=" in text
    assert {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)} == kept  # nothing was run again
    sweep = ("sweep", *WORDS[1:6], *WORDS[-6:], "--param", "position_size_max=4", "--json")
    assert main([*sweep]) == 0
    swept = json.loads(capsys.readouterr().out)
    assert {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)} == kept
    assert len(swept["rows"]) == 2
    assert swept["overfitting"]["trials"] == 2
    assert swept["overfitting"]["deflated_sharpe"] == found["overfitting"]["deflated_sharpe"]
    assert main([*sweep[:-1]]) == 0
    assert "2 trials over 3 sessions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "where"), [(("--folds", "9"), "--start, --end"), (("--purge", "-1"), "--purge")]
)
def test_what_does_not_fit_is_refused_before_anything_is_run(capsys, tmp_path, monkeypatch, more, where):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, *more, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == where
    assert not (tmp_path / "kept").exists()
