"""``scalpdesk sweep``: the table, and the same command again."""

import json
import re

from scalpdesk.cli.main import main
from scalpdesk.research.sweep import ROWS_FILE


def data_of(file):
    """Return the figures in a tear sheet."""
    (data,) = re.findall(r'id="data">(.*?)</script>', file.read_text("utf-8"), flags=re.DOTALL)
    return json.loads(data)


WORDS = (
    *("sweep", "gamma-scalper", "--start", "2017-07-03", "--workers", "1", "--set", "entry.gate=advise"),
    *("--set", "exits.close_at=10:15"),
    *("--param", "hedge.threshold_shares=2,8", "--json", "--out", "kept"),
)


def test_the_same_command_goes_on_and_a_wrong_value_is_a_row(
    capsys, told_by, document_of, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    first = json.loads(told_by(*WORDS, "--param", "straddles=1,0").out)
    assert (first["fees"], first["fill_model"]) == ("none", "cross")
    totals = [float(row["pnl"]["total"]) for row in first["rows"] if row["problem"] is None]
    assert len(totals) == 2
    assert totals == sorted(totals, reverse=True)
    problems = [row["problem"] for row in first["rows"] if row["problem"]]
    assert len(problems) == 2
    assert all("straddles" in problem for problem in problems)
    lines = (tmp_path / "kept" / ROWS_FILE).read_bytes()
    assert document_of("report", "kept", "--html", "kept.html")["rows"] == len(first["rows"])
    stored = data_of(tmp_path / "kept.html")
    assert stored["values"] == totals
    assert stored["problems"] == [
        [", ".join(f"{key}={value}" for key, value in row["settings"].items()), row["problem"]]
        for row in first["rows"]
        if row["problem"]
    ]
    assert stored["command"].split()[:2] == ["scalpdesk", "sweep"]
    assert "--html" in document_of("report", "kept", code=2)["error"]["fix"]
    assert main([*WORDS, "--param", "straddles=1", "--html", "missing/sweep.html"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--html"
    assert main([*WORDS, "--param", "straddles=1", "--html", "sweep.html"]) == 0
    assert data_of(tmp_path / "sweep.html")["values"] == totals
    again = json.loads(capsys.readouterr().out)
    assert [row["decision_hash"] for row in again["rows"]] == [
        row["decision_hash"] for row in first["rows"] if row["problem"] is None
    ]
    assert (tmp_path / "kept" / ROWS_FILE).read_bytes() == lines  # nothing was run again
