import json
from pathlib import Path

import pytest

from scalpdesk.cli.main import main

STRADDLE = ["SPY180316C00265000=2", "SPY180316P00265000=2", "SPY=-10"]
AT = ["--start", "2018-02-05", "--time", "12:00", "--seed", "1"]


def answer(capsys, *words):
    code = main(["risk", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def positions(tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "positions.csv"
    lines = [each.replace("=", ", ") for each in STRADDLE]
    path.write_text("\n".join(["Symbol,Quantity", *lines, ""]))
    return str(path)


def test_positions_of_the_command_line_and_of_a_file_are_one_book(capsys, positions):
    words = [word for each in STRADDLE for word in ("--position", each)]
    code, typed = answer(capsys, *words, *AT)
    assert code == 0
    assert answer(capsys, "--book", positions, *AT) == (0, typed)
    assert [row["symbol"] for row in typed["positions"]] == [each.partition("=")[0] for each in STRADDLE]
    assert {row["method"] for row in typed["measures"]} == {"historical", "ewma"}
    assert all(row["es"] >= row["var"] > 0.0 for row in typed["measures"])
    assert (typed["history"]["last"], typed["horizon"]) == ("2018-02-02", "next session")
    assert len(typed["stress"]) == 9


def test_the_tables_show_the_figures_of_the_document(capsys, told_by, positions):
    words = ["--book", positions, *AT, "--filter", "ewma", "--smile", "sticky-strike", "--instant"]
    _, document = answer(capsys, *words)
    assert (document["smile"], document["horizon"]) == ("sticky-strike", "now")
    shown = told_by("risk", *words).out
    for row in document["measures"]:
        assert f"{row['var']:,.0f}" in shown
    for row in document["stress"]:
        assert f"{row['pnl']:+,.0f}" in shown
    assert f"{document['worst_case']['pnl']:+,.0f}" in shown


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ([], "RUN, --position, --book, --coverage"),
        (["last", "--coverage"], "RUN, --position, --book, --coverage"),
        (["--position", "SPY"], "--position"),
        (["--position", "SPY=nan"], "--position"),
        (["--position", "SPY=0"], "--position"),
        (["--book", "nowhere.csv"], "--book"),
        (["--position", "SPY=1", "--time", "3 pm"], "--time"),
    ],
)
def test_what_names_no_book_is_refused_with_its_place(capsys, words, where):
    code, found = answer(capsys, *words)
    assert code != 0
    assert found["error"]["where"] == where


def test_a_file_of_another_form_is_refused_with_its_column_and_line(capsys, tmp_path):
    path = tmp_path / "book.csv"
    path.write_text("symbol,amount\nSPY,1\n")
    assert answer(capsys, "--book", str(path))[1]["error"]["where"] == str(path)
    path.write_text("symbol,quantity\nSPY,1\nQQQ,many\n")
    assert answer(capsys, "--book", str(path))[1]["error"]["where"] == f"{path}:3"


@pytest.mark.second
def test_coverage_has_index_books_of_five_years_and_straddles_of_four(told_by):
    lines = told_by("risk", "--coverage").out.splitlines()
    spans = [line.split()[0] for line in lines if " sessions of " in line]
    assert spans == ["1,257", "976"]
    rows = [line for line in lines if " historical " in line or " ewma " in line]
    assert len(rows) == 20
    (plain,) = (
        line.split() for line in rows if line.startswith("long SPY ") and " 97.5  historical " in line
    )
    assert plain[4:7] == ["47", "31.4", "5"]


@pytest.mark.recorded
def test_a_recorded_strangle_is_priced_by_its_quotes_and_its_own_daily_bars(capsys, recorded_catalog):
    data = Path(__file__).resolve().parents[2] / "../shared/data"
    code, found = answer(
        capsys,
        *("--data", "lean", "--start", "2023-08-03", "--time", "12:00"),
        *("--set", f"data.catalog={recorded_catalog}"),
        *("--position", "SPY230901C00470000=-10", "--position", "SPY230901P00430000=-10"),
        *("--history", str(data / "daily_history/equity_daily.parquet")),
        *("--vix", str(data / "vol_models/vix_ohlc_daily_1990_2026.parquet")),
    )
    assert code == 0
    spot = found["spots"]["SPY"]
    crash = next(row for row in found["stress"] if row["day"] == "1987-10-19")
    intrinsic = 1_000 * (430.0 - spot * 224.84 / 282.70)
    assert -intrinsic < crash["pnl"] < -intrinsic + 4_000  # less what was received, more what time is left
    assert (found["history"]["first"], found["history"]["last"]) == ("1998-01-05", "2021-03-31")
    assert {row["method"] for row in found["measures"]} == {"historical"}
    assert len(found["notes"]) >= 1
