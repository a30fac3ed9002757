"""``scalpdesk walkforward``: the document, the page of text, the rows that a sweep has left, refusals."""

import json
import re

import pytest

from scalpdesk.research.sweep import ROWS_FILE

WORDS = (
    *("walkforward", "st0cka", "--start", "2017-07-03", "--end", "2017-07-06", "--train", "2", "--test", "1"),
    *("--param", "profit_target=0.01,0.05", "--workers", "1", "--runs-dir", "kept"),
)


@pytest.mark.second
def test_the_document_the_text_and_a_sweep_share_their_backtests(told_by, document_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = document_of(*WORDS, "--param", "position_size_max=4,0", "--metric", "pnl")
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
    text = told_by(*WORDS, "--param", "position_size_max=4", *more).out
    page = (tmp_path / "folds.html").read_text("utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(data)["running"]["days"] == ["2017-07-06"]
    assert "9 trials" in text
    assert "profit_target=" in text
    assert {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)} == kept  # nothing was run again
    sweep = ("sweep", *WORDS[1:6], *WORDS[-6:], "--param", "position_size_max=4", "--json")
    swept = json.loads(told_by(*sweep).out)
    assert {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)} == kept
    assert len(swept["rows"]) == 2
    assert swept["overfitting"]["trials"] == 2
    assert swept["overfitting"]["deflated_sharpe"] == found["overfitting"]["deflated_sharpe"]
    assert "2 trials over 3 sessions" in told_by(*sweep[:-1]).out


@pytest.mark.parametrize(
    ("more", "where"), [(("--folds", "9"), "--start, --end"), (("--purge", "-1"), "--purge")]
)
def test_what_does_not_fit_is_refused_before_anything_is_run(document_of, tmp_path, monkeypatch, more, where):
    monkeypatch.chdir(tmp_path)
    assert document_of(*WORDS, *more, code=2)["error"]["where"] == where
    assert not (tmp_path / "kept").exists()
