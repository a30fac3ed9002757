"""``scalpdesk gex``: what it shows, keeps, draws and publishes."""

import importlib.util
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk.datasets.dealer_gamma import FILE, ExposureHistory, SessionExposure

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / ".." / "shared" / "data"
CHAINS = RECORDED / "eod_chains_2026" / "spy_qqq.parquet"
AT = ["SPY", "--session", "2018-02-05", "--at", "12:00", "--seed", "1"]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in a folder of its own; return its exit code and what it wrote."""
    monkeypatch.chdir(tmp_path)
    for name in ("FIRESTORE_EMULATOR_HOST", "FIREBASE_PROJECT_ID", "GEX_VALUE"):
        monkeypatch.delenv(name, raising=False)

    def with_arguments(*arguments):
        code = main(["gex", *arguments])
        return code, capsys.readouterr()

    return with_arguments


def test_the_document_adds_up(run):
    code, said = run(*AT, "--json")
    found = json.loads(said.out)
    assert code == 0
    assert found["data"] == {"name": "embedded", "kind": "reconstructed"}
    assert found["coverage"] == 1.0
    assert sum(one["net_usd"] for one in found["strikes"]) == pytest.approx(found["net_usd"])
    assert sum(one["net_usd"] for one in found["expiries"]) == pytest.approx(found["net_usd"])
    assert found["call_wall"] == max(found["strikes"], key=lambda one: one["call_usd"])["strike"]
    assert found["put_wall"] == min(found["strikes"], key=lambda one: one["put_usd"])["strike"]
    assert (found["usual_usd"], found["relative"]) == (None, None)


def test_the_flip_lies_where_the_profile_changes_sign(run):
    found = json.loads(run(*AT, "--json")[1].out)
    profile = found["profile"]
    assert len(profile) == 121
    below = max(i for i, one in enumerate(profile) if one["spot"] < found["flip"])
    assert profile[below]["net_usd"] * profile[below + 1]["net_usd"] < 0.0


def test_the_table_says_what_it_is_and_what_it_is_not(run):
    code, said = run(*AT, "--strikes", "3")
    assert code == 0
    assert "dealers short gamma, if the convention holds" in said.out
    assert "nobody can observe it" in said.out
    assert "coverage      100.0%: 342 of 342 contracts, 0–74 days" in said.out
    assert sum(line.strip()[:3].isdigit() for line in said.out.splitlines()) == 7


def test_a_kept_history_says_what_is_usual(run, tmp_path):
    history = ExposureHistory(tmp_path / "catalog", "embedded", "SPY")
    history.keep(SessionExposure(date(2018, 1, day), 1e8, 1e7) for day in range(1, 29))
    found = json.loads(run(*AT, "--json", "--keep")[1].out)
    assert found["usual_usd"] == 1e8
    assert found["relative"] == pytest.approx(found["net_usd"] / 1e8)
    assert history.read()[-1].exposure_usd == pytest.approx(found["net_usd"])
    assert history.read()[-1].near_usd == pytest.approx(found["near_usd"])


def test_chain_files_of_a_symbol_are_one_history(run, tmp_path):
    """A file a day: under their own names no exposure would ever meet another one."""
    for day in range(5, 10):
        rows = [
            f"2018-02-{day:02d}T17:00:00Z,SPY180216{right}{strike * 1000:08d},265,{bid},{bid + 0.02:.2f},10"
            for strike, call, put in ((263, 4.4, 2.3), (264, 3.7, 2.7), (265, 3.1, 3.1), (266, 2.6, 3.5))
            for right, bid in (("C", call), ("P", put))
        ]
        path = tmp_path / f"chain-2018-02-{day:02d}.csv"
        path.write_text("\n".join(["ts,symbol,spot,bid,ask,open_interest", *rows]))
        assert run("SPY", "--chain", path.name, "--keep", "--json")[0] == 0
    kept = ExposureHistory(tmp_path / "catalog", "chain files", "SPY").read()
    assert [one.session.day for one in kept] == [5, 6, 7, 8, 9]


def test_the_last_days_are_kept_one_by_one(run, tmp_path):
    assert run(*AT, "--days", "2", "--json")[0] == 0
    kept = ExposureHistory(tmp_path / "catalog", "embedded", "SPY").read()
    assert [one.session for one in kept] == [date(2018, 2, 2), date(2018, 2, 5)]


def test_without_being_told_nothing_is_kept(run, tmp_path):
    run(*AT, "--json")
    assert not (tmp_path / "catalog" / FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SPY", "--session", "2018-02-05", "--at", "17:00"], "the exchange is closed"),
        (["SPY", "--session", "2018-02-05", "--at", "noon"], "not a time of day"),
        (["SPY", "--session", "soon"], "not a date"),
        (["SPY", "--chain", "none.csv"], "no such file"),
        (["SPY", "--chain", "none.csv", "--data", "lean"], "without --data"),
        (["SPY", "--chain", "none.csv", "--seed", "2"], "without --seed"),
        (["SPY", "--chain", "none.csv", "--days", "2"], "without --days"),
        (["SPY", "--data", "lean", "--seed", "2"], "has no seed"),
    ],
)
def test_wrong_use_is_named(run, arguments, said):
    code, shown = run(*arguments)
    assert code == 2
    assert said in shown.err


def test_a_chain_with_too_little_open_interest_is_not_known_and_not_published(run, tmp_path):
    lines = ["ts,symbol,spot,bid,ask,open_interest"]
    lines += [
        f"2018-02-05T17:00:00Z,SPY180216{right}{strike * 1000:08d},265,{bid:.2f},{bid + 0.02:.2f},{held}"
        for strike, call, put in ((263, 4.4, 2.3), (264, 3.7, 2.7), (265, 3.1, 3.1), (266, 2.6, 3.5))
        for right, bid, held in (("C", call, ""), ("P", put, 10))
    ]
    (tmp_path / "thin.csv").write_text("\n".join(lines))
    code, said = run("SPY", "--chain", "thin.csv")
    assert code == 0
    assert "not known: coverage 50% is below 80%" in said.out
    assert "a sample of a chain, not a chain" in said.out
    code, said = run("SPY", "--chain", "thin.csv", "--publish")
    assert code == 2
    assert "not published" in said.err


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra plots")
def test_the_picture_is_a_png(run, tmp_path):
    assert run(*AT, "--plot", "gex.png")[0] == 0
    assert (tmp_path / "gex.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra plots")
@pytest.mark.parametrize("file", ["gex.nothing", "no/such/folder/gex.png"])
def test_a_picture_that_cannot_be_written_is_refused(run, file):
    code, said = run(*AT, "--plot", file)
    assert code == 2
    assert f"value: {file!r}" in said.err


def test_no_strikes_but_the_spots_own_and_never_fewer(run):
    code, said = run(*AT, "--strikes", "0")
    assert code == 0
    assert sum(line.strip()[:3].isdigit() for line in said.out.splitlines()) == 1
    assert run(*AT, "--strikes", "-1")[0] == 2


@pytest.mark.enable_socket
def test_publishing_writes_the_document_that_a_desk_reads(run, monkeypatch):
    pytest.importorskip("google.cloud.firestore")
    from scalpdesk_testing.kit.firestore_server import firestore_server

    with firestore_server() as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        monkeypatch.setenv("FIREBASE_PROJECT_ID", "demo")
        code, said = run(*AT, "--publish", "--json")
        found = json.loads(said.out)
        assert code == 0
        kept = server.documents["market_regime/SPY_GEX"]
        assert kept["gex_value"] == found["net_usd"]
        assert kept["symbol"] == "SPY"
        assert kept["last_update"].replace(microsecond=0) == datetime(2018, 2, 5, 17, tzinfo=UTC)
        assert found["published"]["document"] == "market_regime/SPY_GEX"
        assert run(*AT, "--publish", "--document", "a/b")[0] == 0
        assert "a/b" in server.documents
        server.stop()
        code, said = run(*AT, "--publish", "--set", "gex.timeout_seconds=0.5")
    assert code == 1
    assert "Firestore did not take the exposure" in said.err


@pytest.mark.parametrize(("value", "verdict"), [("-15000", "ok"), ("-15k", "note")])
def test_the_doctor_asks_where_a_desk_would_ask(run, told_by, document_of, monkeypatch, value, verdict):
    monkeypatch.setenv("GEX_VALUE", value)
    found = {one["name"]: one for one in document_of("doctor")["findings"]}
    assert found["dealer gamma"]["verdict"] == verdict
    monkeypatch.delenv("GEX_VALUE")
    assert "dealer gamma" not in told_by("doctor", "--json").out


@pytest.mark.enable_socket
def test_the_doctor_reads_the_document_within_the_time_out(run, capsys, monkeypatch):
    pytest.importorskip("google.cloud.firestore")
    from scalpdesk_testing.kit.firestore_server import firestore_server

    with firestore_server() as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        assert main(["doctor", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert "the document is missing (market_regime/SPX_GEX)" in found["dealer gamma"]["detail"]


@pytest.mark.recorded
@pytest.mark.skipif(not CHAINS.exists(), reason="the recorded data is not there")
def test_recorded_chains_of_2026_are_covered(run):
    found = json.loads(run("SPY", "--chain", str(CHAINS), "--session", "2026-08-12", "--json")[1].out)
    assert found["coverage"] > 0.99
    assert found["rows"]["listed"] == 5472
    assert (found["call_wall"], found["put_wall"]) == (780.0, 770.0)
    assert 765.0 < found["flip"] < 775.0


@pytest.mark.recorded
@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded data is not there")
def test_google_on_a_half_day_is_covered(run, tmp_path, capsys):
    imported = ["data", "import", "lean", str(RECORDED / "raw_lean" / "Data"), "--only", "goog"]
    assert main(imported) == 0
    capsys.readouterr()
    code, said = run("GOOG", "--data", "lean", "--session", "2015-12-24", "--at", "11:00", "--json")
    found = json.loads(said.out)
    assert code == 0
    assert found["coverage"] == pytest.approx(0.939, abs=0.001)
    assert (found["call_wall"], found["put_wall"]) == (750.0, 750.0)
    assert found["expiries"][0]["expiry"] == "2015-12-24"
    assert run("GOOG", "--data", "lean", "--session", "2015-12-24", "--at", "14:00")[0] == 2
