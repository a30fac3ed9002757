"""``scalpdesk tax``: what the accountant's tables say of a backtest is what the run says of itself."""

import csv
import json
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main

D = Decimal


def backtest(folder, strategy, *words):
    words = [*words, "--set", "simulation.fees=alpaca", "--set", f"desk.runs_dir={folder}", "--json"]
    assert main(["backtest", strategy, *words]) == 0


@pytest.fixture(scope="module")
def runs_dir(finished_run, tmp_path_factory):
    loose = ("min_volume_ratio=0", "min_conviction_to_scalp=40", "simulation.fees=alpaca")
    return finished_run(tmp_path_factory.mktemp("runs"), "ema-scalper", date(2018, 2, 5), *loose).parent


def shown(capsys, runs_dir, *words):
    capsys.readouterr()
    code = main([*words, "--runs-dir", str(runs_dir), "--json"])
    return code, json.loads(capsys.readouterr().out)


def gains(document):
    return sum((D(row["gain"]) for row in document["schedule_d"]), D(0))


def check_the_tables_come_to_the_result(capsys, runs_dir):
    """Gains and income are the change of the account to the cent; return the losses that were disallowed."""
    _, run = shown(capsys, runs_dir, "report", "last")
    totals = set()
    for method in ("fifo", "highest-cost"):
        code, document = shown(capsys, runs_dir, "tax", "2018", "last", "--method", method)
        assert code == 0
        assert document["lots"] == []
        totals.add(gains(document) + sum((D(row["cash"]) for row in document["income"]), D(0)))
        disallowed = sum((D(row["adjustment"]) for row in document["form_8949"]), D(0))
    assert run["end_positions"] == {}
    assert totals == {D(run["nav_change"])}
    assert D(run["nav_change"])
    return disallowed


def test_the_tables_of_a_day_come_to_its_result(capsys, runs_dir):
    check_the_tables_come_to_the_result(capsys, runs_dir)


@pytest.mark.slow
def test_the_tables_of_weeks_with_positions_overnight_come_to_their_result(capsys, tmp_path):
    backtest(tmp_path, "gamma-scalper", "--start", "2018-02-05", "--end", "2018-02-16")
    # the hedge buys again what it sold at a loss
    assert check_the_tables_come_to_the_result(capsys, tmp_path) > 0


def test_the_files_hold_every_line(capsys, told_by, runs_dir, tmp_path):
    code, document = shown(capsys, runs_dir, "tax", "2018", "last", "--csv", str(tmp_path / "csv"))
    assert code == 0
    with (tmp_path / "csv" / "form_8949.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == document["form_8949"]
    assert "1b" in told_by("tax", "2018", "last", "--runs-dir", str(runs_dir)).out


def test_lots_that_were_held_before_and_identified_ones(capsys, runs_dir, tmp_path):
    carry, chosen = tmp_path / "carry.csv", tmp_path / "specific.csv"
    carry.write_text("symbol,units,cost,acquired\nKO,10,600.00,2016-05-02\n", encoding="utf-8")
    _, plain = shown(capsys, runs_dir, "tax", "2018", "last")
    first = plain["form_8949"][0]
    chosen.write_text(f"disposal,lot,quantity\n{first['disposal']},{first['lot']},1\n", encoding="utf-8")
    words = "--carry", str(carry), "--method", "specific", "--specific", str(chosen)
    code, document = shown(capsys, runs_dir, "tax", "2018", "last", *words)
    assert code == 0
    assert [(row["symbol"], row["cost"], row["held_since"]) for row in document["lots"]] == [
        ("KO", "600.00", "2016-05-02")
    ]
    assert gains(document) == gains(plain)


def test_the_facts_have_their_sources(capsys, runs_dir):
    code, document = shown(capsys, runs_dir, "tax", "--facts")
    assert code == 0
    assert all(fact["source"] and fact["says"] for fact in document["facts"])


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("2018",), "runs"),
        (("2018", "last", "--method", "specific"), "--method"),
        (("2018", "last", "--carry", "{file}"), "{file}"),
        (("2018", "last", "--marks", "{file}"), "{file}, line 2"),
        ((), "scalpdesk tax"),
    ],
)
def test_what_is_missing_or_wrong_is_named(capsys, runs_dir, tmp_path, words, where):
    file = tmp_path / "table.csv"
    file.write_text("year,symbol,price\n2018,SPX,much\n", encoding="utf-8")
    code, document = shown(capsys, runs_dir, "tax", *(word.format(file=file) for word in words))
    assert code != 0
    assert where.format(file=file) in document["error"]["where"]
    assert document["error"]["fix"]
