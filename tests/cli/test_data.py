import gzip
import json

import pytest

from scalpdesk.cli.data import show_imports
from scalpdesk.cli.main import main
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.datasets.embedded import COIN_MARKETS
from scalpdesk.datasets.embedded.days import SHARES
from scalpdesk.datasets.importers.base import ImportReport

CSV = """ts,symbol,bid,ask,bid_size,ask_size
2015-12-23T14:31:00Z,XYZ,100.0,100.2,300,200
2015-12-23T14:31:00Z,XYZ151224C00100000,0.6,0.7,5,5
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALPDESK_CATALOG", raising=False)


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def import_csv(capsys, text: str = CSV) -> tuple[int, str, str]:
    from pathlib import Path

    Path("rows.csv").write_text(text)
    return run(capsys, "data", "import", "csv", "rows.csv", "--name", "mine", "--underlying", "XYZ", "--json")


def test_an_import_reports_its_rows_as_one_json_document(capsys, tmp_path):
    code, out, err = import_csv(capsys)
    assert (code, err) == (0, "")
    (written,) = json.loads(out)["data_sets"]
    assert written["name"] == "mine"
    assert written["rows"] == {"option_quotes/XYZ": 1, "quotes/XYZ": 1}
    assert written["rows_total"] == 2
    assert (tmp_path / "catalog" / "mine" / "manifest.json").is_file()


def test_ls_shows_what_was_imported_beside_the_embedded_market(capsys):
    import_csv(capsys)
    code, out, _ = run(capsys, "data", "ls", "--json")
    assert code == 0
    by_name = {row["name"]: row for row in json.loads(out)["data_sets"]}
    assert by_name["mine"] | {"source": ""} == {
        "name": "mine",
        "kind": "recorded",
        "underlying": "XYZ",
        "sessions": 1,
        "first": "2015-12-23",
        "last": "2015-12-23",
        "instruments": 2,
        "rows": 2,
        "tables": {"option_quotes/XYZ": 1, "quotes/XYZ": 1},
        "bar_seconds": 60,
        "source": "",
    }
    assert by_name["embedded"]["kind"] == "reconstructed"
    assert by_name["embedded"]["last"].startswith("2018-12-")
    code, out, _ = run(capsys, "data", "ls")
    assert code == 0
    assert "mine" in out
    assert "2015-12-23" in out


def test_ls_of_an_empty_catalogue_says_how_to_fill_it(capsys):
    code, out, _ = run(capsys, "data", "ls", "--catalog", "nowhere")
    assert code == 0
    assert "embedded" in out
    assert "scalpdesk data import lean PATH" in out


def test_the_catalogue_may_be_named_by_the_environment(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALPDESK_CATALOG", str(tmp_path / "other"))
    import_csv(capsys)
    assert (tmp_path / "other" / "mine").is_dir()
    assert not (tmp_path / "catalog").exists()


def test_verify_prints_what_it_checked_and_exits_0_when_sound(capsys):
    import_csv(capsys)
    code, out, _ = run(capsys, "data", "verify")
    assert code == 0
    assert "mine XYZ" in out
    assert "quotes not crossed" in out
    assert "put-call parity" in out
    assert "fit to trade on: 0 failed" in out
    code, out, _ = run(capsys, "data", "verify", "mine", "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (0, True)
    assert {"name": "quotes not crossed", "checked": 2, "found": 0, "verdict": "ok", "detail": ""} in (
        document["reports"][0]["checks"]
    )


def test_verify_exits_1_on_a_crossed_quote(capsys):
    import_csv(capsys, CSV.replace("0.6,0.7", "0.8,0.7"))
    code, out, _ = run(capsys, "data", "verify", "mine")
    assert code == 1
    assert "NOT fit to trade on: 1 failed" in out
    code, out, _ = run(capsys, "data", "verify", "mine", "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)


def test_verify_of_nothing_and_of_an_unknown_set_are_refused(capsys):
    code, _, err = run(capsys, "data", "verify")
    assert code == 2
    assert "there is no recorded data" in err
    import_csv(capsys)
    code, out, _ = run(capsys, "data", "verify", "mime", "--json")
    assert code == 2
    assert json.loads(out)["error"]["nearest"] == "mine"


def test_the_embedded_market_is_verified_like_any_other(capsys):
    code, out, _ = run(capsys, "data", "verify", "embedded", "--session", "2015-08-24", "--json")
    (report,) = json.loads(out)["reports"]
    assert code == 0
    assert report["sessions"] == ["2015-08-24"]
    checked = {check["name"]: (check["checked"], check["found"]) for check in report["checks"]}
    assert checked["put-call parity"][0] > 1000
    assert checked["quotes not crossed"][1] == 0


def test_a_wrong_column_is_refused_with_the_nearest(capsys):
    code, out, _ = import_csv(capsys, CSV.replace("bid_size", "bid_siez"))
    assert code == 2
    error = json.loads(out)["error"]
    assert (error["type"], error["value"], error["nearest"]) == ("DataError", "'bid_siez'", "bid_size")


def test_a_wrong_zone_and_a_missing_option_are_refused(capsys):
    words = ["data", "import", "csv", "rows.csv", "--name", "mine", "--underlying", "XYZ"]
    code, _, err = run(capsys, *words, "--timezone", "America/NewYork")
    assert code == 2
    assert "nearest: America/New_York" in err
    code, _, err = run(capsys, *words[:-2])
    assert code == 2
    assert "--underlying" in err


def test_a_lean_folder_is_imported_by_word(capsys, tmp_path):
    import zipfile

    shares = tmp_path / "Data" / "equity" / "usa" / "minute" / "xyz"
    shares.mkdir(parents=True)
    with zipfile.ZipFile(shares / "20151223_trade.zip", "w") as archive:
        archive.writestr("20151223_xyz_minute_trade.csv", "34200000,1000000,1003000,999000,1001000,1500\n")
    code, out, _ = run(capsys, "data", "import", "lean", "Data", "--only", "xyz", "--name", "mine")
    assert code == 0
    assert "mine: 1 file, 1 row in catalog/" in out
    assert "trades/XYZ" in out
    assert "note: no market-hours-database.json" in out
    assert "next: scalpdesk data verify mine" in out
    code, _, err = run(capsys, "data", "import", "lean", "Data", "--only", "xyy")
    assert code == 2
    assert "nearest: xyz" in err
    (shares / "20151224_trade.zip").write_bytes(b"no zip")
    code, out, _ = run(capsys, "data", "import", "lean", "Data", "--name", "mine")
    assert code == 1
    assert "mine: 1 file, 1 row in catalog/" in out
    assert f"not imported: {shares / '20151224_trade.zip'}".replace(f"{tmp_path}/", "") in out


def test_a_parquet_file_that_is_none_is_refused(capsys, tmp_path):
    (tmp_path / "rows.parquet").write_text(CSV)
    code, _, err = run(
        capsys, "data", "import", "parquet", "rows.parquet", "--name", "mine", "--underlying", "XYZ"
    )
    assert code == 2
    assert "this Parquet file cannot be read" in err
    assert "rows.parquet" in err


def test_a_damaged_day_file_fails_verify_and_is_named(capsys, tmp_path):
    import_csv(capsys)
    path = tmp_path / "catalog" / "mine" / "quotes" / "XYZ" / "2015-12-23.parquet"
    path.write_bytes(path.read_bytes()[:100])
    code, out, _ = run(capsys, "data", "verify", "mine", "--json")
    assert code == 1
    failed = [check for check in json.loads(out)["reports"][0]["checks"] if check["verdict"] == "failed"]
    assert [check["name"] for check in failed] == ["files can be read"]
    assert path.name in failed[0]["detail"]


def test_without_a_terminal_long_work_writes_plain_lines(capsys, monkeypatch):
    from scalpdesk.cli import waiting as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with progress_bar(as_json=False) as report:
        for done in (20, 21, 22, 40, 90):  # a resumed run: 20 were done before
            report(done, 100, f"session {done}")
            now[0] += 40.0
    said = capsys.readouterr()
    assert said.out == ""
    # one in 40 s, two in 80 s, twenty in 120 s
    assert said.err.splitlines() == [
        "session 21  21.0%, 53 min left",
        "session 22  22.0%, 52 min left",
        "session 40  40.0%, 6 min left",
        "session 90  90.0%, 23 s left",
    ]


def test_in_a_terminal_long_work_draws_a_bar(capsys, monkeypatch):
    import sys

    from scalpdesk.cli import waiting as module

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(module, "SHOWN_AFTER_SECONDS", -1.0)
    with progress_bar(as_json=False) as report:
        report(1, 2, "20151223_quote.zip")
    said = capsys.readouterr()
    assert said.out == ""
    assert "20151223_quote.zip" in said.err
    with progress_bar(as_json=True) as report:
        report(1, 2, "20151223_quote.zip")
    said = capsys.readouterr()
    assert said.out == ""  # that is for the document
    assert "20151223_quote.zip" in said.err


def test_a_damaged_manifest_hides_no_other_data_set(capsys, tmp_path):
    import_csv(capsys)
    damaged = tmp_path / "catalog" / "other" / "manifest.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    code, out, _ = run(capsys, "data", "ls", "--json")
    document = json.loads(out)
    assert code == 1
    assert "mine" in {row["name"] for row in document["data_sets"]}
    assert [problem["name"] for problem in document["damaged"]] == ["other"]
    code, out, _ = run(capsys, "data", "ls")
    assert (code, "mine" in out, "not listed: other" in out) == (1, True, True)
    code, out, _ = run(capsys, "data", "verify", "--json")
    assert code == 1
    assert [(report["name"], report["ok"]) for report in json.loads(out)["reports"]] == [
        ("other", False),
        ("mine", True),
    ]


def test_a_capture_is_not_imported_under_the_name_of_a_reconstructed_market(capsys, tmp_path):
    (tmp_path / "capture.gz").write_bytes(b"")
    words = ["data", "import", "deribit", "capture.gz", "--name", "embedded", "--catalog", "c"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "belongs to a reconstructed market" in err
    assert not (tmp_path / "c").exists()


def test_a_file_without_a_message_is_no_capture(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    code, _, err = run(capsys, "data", "import", "deribit", "notes.txt", "--catalog", "c")
    assert code == 2
    assert "holds no JSON-RPC message" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["DAILY.CSV", "daily.csv.gz"])
def test_a_table_of_a_coin_is_one_by_any_spelling_of_its_ending(capsys, tmp_path, name):
    text = b"date,symbol,open,high,low,close,volume\n2025-03-05,BTCUSD,1,3,0.5,2,10\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    code, out, _ = run(capsys, "data", "import", "deribit", name, "--name", "own", "--catalog", "c", "--json")
    assert code == 0
    assert json.loads(out)["data_sets"][0]["rows"] == {"trades/BTC": 1}


def test_ls_shows_every_underlying_that_the_reconstructed_markets_serve(capsys):
    code, out, _ = run(capsys, "data", "ls", "--json")
    assert code == 0
    rows = json.loads(out)["data_sets"]
    assert [(row["name"], row["underlying"]) for row in rows] == [
        *(("embedded", symbol) for symbol in SHARES),
        *COIN_MARKETS.items(),
    ]


def test_what_was_recorded_came_from_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = ImportReport("deribit")
    report.rows["tickers/BTC"] = 1_524
    show_imports([report], tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines()[0] == f"deribit: 1,524 rows in {tmp_path}/"
