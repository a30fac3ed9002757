import contextlib
import io
import json
import math
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from msgspec.structs import replace

from scalpdesk.cli import vol
from scalpdesk.cli.main import main
from scalpdesk.core.units import CENT, SATOSHI
from scalpdesk.datasets.daily_history import find_history, packaged_history
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.instruments.sessions import session_on
from scalpdesk.report.trades import Trade
from scalpdesk.volatility.variance_time import EMBEDDED_SESSIONS

REPORT = ["vol", "spy", "--session", "2018-02-05"]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The report of 2018-02-05, made once."""
    out = io.StringIO()
    with contextlib.chdir(tmp_path_factory.mktemp("report")), contextlib.redirect_stdout(out):
        assert main([*REPORT, "--json"]) == 0
    return json.loads(out.getvalue())


def csv_of(path, days=400, symbol=None, seed=1):
    rng = np.random.default_rng(seed)
    price, day = 100.0, date(2016, 1, 4)
    lines = ["Date,Open,High,Low,Close" + (",Symbol" if symbol else "")]
    for _ in range(days):
        close = price * float(np.exp(0.01 * rng.standard_normal()))
        high, low = 1.004 * max(price, close), 0.996 * min(price, close)
        lines.append(f"{day},{price},{high},{low},{close}" + (f",{symbol}" if symbol else ""))
        price, day = close, day + timedelta(days=1)
    path.write_text("\n".join(lines), encoding="ascii")
    return path


def test_every_estimator_and_model_is_in_the_report(document):
    assert document["data"] == {"name": "embedded", "kind": "reconstructed"}
    assert {one["estimator"] for one in document["realised"]} == {
        "close_to_close", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang", "bipower",
        "realized_kernel",
    }  # fmt: skip
    assert [one["model"] for one in document["forecasts"]] == [
        "har", "combined", "gjr", "egarch", "garch", "ewma",
    ]  # fmt: skip
    for one in document["forecasts"]:
        assert 0.0 < one["low"] < one["vol"] < one["high"] < 2.0
        assert one["made_by"] == one["model"]
    assert document["desk_default"] == "har"


def test_nothing_of_the_session_itself_is_in_its_history(document):
    assert document["history"]["last"] == "2018-02-02"
    assert document["history"]["days"] == 1500
    assert document["implied_history"]["vix"] == pytest.approx(0.1731)  # the close of the Friday before


def test_implied_premium_and_regime_belong_together(document):
    implied = document["implied"]
    assert implied["clock"] == "calendar-365"
    assert implied["days"] == pytest.approx(30.0)
    assert 0.12 < implied["vol"] < 0.25
    assert implied["vol_by_session_clock"] == pytest.approx(implied["vol"], rel=0.1)
    expected = document["forecasts"][0]["vol"]
    assert document["variance_premium"]["ratio"] == pytest.approx(implied["vol"] / expected)
    assert document["variance_premium"]["variance"] == pytest.approx(implied["vol"] ** 2 - expected**2)
    assert document["regime"] == "normal"
    assert document["implied_history"]["rank"] == 1.0
    assert document["implied_history"]["observations"] == 252


def test_what_the_session_itself_realised_stands_apart(document):
    """The path was drawn to the day's Garman-Klass estimate: 0.5·ln(h/l)² − 0.386·ln(c/o)², 39.6 % a year."""
    came = document["session_itself"]
    for name in ("five_minutes", "bipower", "kernel"):
        assert came[name] == pytest.approx(0.396, rel=0.2)


def test_implied_volatilities_of_a_coin_are_kept_of_every_day_weekends_too(document_of, somewhere_else):
    history = csv_of(somewhere_else / "coin.csv")
    words = ["--data", "embedded-btc", "--session", "2025-03-10", "--history", str(history)]
    kept = document_of("vol", "BTC-PERPETUAL", *words, "--keep", "--days", "3")["implied_kept"]
    assert [row["session"] for row in kept["sessions"]] == ["2025-03-08", "2025-03-09", "2025-03-10"]
    assert kept["skipped"] == []


def test_a_coin_is_reported_by_years_of_365_days(document_of, somewhere_else):
    history = csv_of(somewhere_else / "coin.csv")
    words = ["--data", "embedded-btc", "--session", "2025-03-05", "--history", str(history), "--keep"]
    made = document_of("vol", "BTC-PERPETUAL", *words)
    closes = np.loadtxt(history, delimiter=",", skiprows=1, usecols=4)
    moves = np.diff(np.log(closes))
    realised = {row["estimator"]: row["vol"] for row in made["realised"]}
    assert realised["close_to_close"] == pytest.approx(np.std(moves[-20:], ddof=1) * math.sqrt(365))
    variance = np.mean(moves[:20] ** 2)
    for move in moves[20:]:
        variance = 0.94 * variance + 0.06 * move**2
    forecasts = {row["model"]: row["vol"] for row in made["forecasts"]}
    assert forecasts["ewma"] == pytest.approx(math.sqrt(365 * variance))
    kept = [json.loads(line) for line in Path("runs/forecasts.jsonl").read_text("ascii").splitlines()]
    assert {row["periods_per_year"] for row in kept} == {365.0}
    # the day of account in 288 steps of five minutes, 365 of them a year
    tape = reconstruct_coin(date(2025, 3, 5), date(2025, 3, 5))
    quotes, session = tape.quotes.whole(), tape.sessions[0]
    mine = quotes.instrument_id == tape.instruments.id_of("BTC-PERPETUAL")
    at, mids = quotes.ts_ns[mine], 0.5 * (quotes.bid + quotes.ask)[mine]
    prices = [mids[at <= session.open_ns + n * 300 * 10**9][-1:] for n in range(289)]
    prices[0] = prices[0] if len(prices[0]) else mids[:1]
    squares = np.diff(np.log(np.concatenate(prices))) ** 2
    assert made["session_itself"]["five_minutes"] == pytest.approx(math.sqrt(365 * squares.sum()))
    axes = MagicMock()
    vol._draw_past(axes, made, find_history(somewhere_else, "embedded-btc", "BTC-PERPETUAL", str(history)))
    (drawn,) = (
        call.args[1] for call in axes.plot.call_args_list if call.kwargs["label"].startswith("close to close")
    )
    assert drawn[-1] == pytest.approx(100 * realised["close_to_close"])


def test_implied_volatility_is_converted_to_the_markets_own_clock(document):
    implied = document["implied"]
    session = session_on(date(2018, 2, 5))
    start, end = session.open_ns + 300 * 10**9, session.open_ns + 300 * 10**9 + 30 * 86_400 * 10**9
    years = EMBEDDED_SESSIONS.years(start, end)
    assert implied["days"] == pytest.approx(30.0)
    assert implied["vol_by_session_clock"] == pytest.approx(implied["vol"] * math.sqrt(30 / 365 / years))
    assert document["days_per_year"] == 252


def test_without_daily_bars_the_report_says_what_is_missing(told_by, document_of, monkeypatch):
    from scalpdesk.datasets.daily_history import NO_HISTORY

    monkeypatch.setattr(vol, "_history", lambda *_: NO_HISTORY)
    shown = told_by(*REPORT).out
    assert "give --history NAME or FILE.csv" in shown
    assert "implied at the money, 30 days" in shown
    assert "the session itself, known only afterwards" in shown
    assert "garman" not in shown
    made = document_of(*REPORT)
    assert made["variance_premium"] is made["regime"] is None
    assert {one["vol"] for one in (*made["realised"], *made["forecasts"])} == {None}


def test_the_text_names_what_a_trader_looks_for(told_by):
    shown = told_by(*REPORT, "--horizon", "1", "--window", "10").out
    for words in (
        "reconstructed", "realised, last 10 days", "yang zhang", "forecast, next 1 trading days",
        "desk default", "IV rank", "IV percentile", "variance premium", "regime",
    ):  # fmt: skip
        assert words in shown


def test_forecasts_are_kept_once_and_scored_when_their_days_have_passed(
    capsys, told_by, document_of, somewhere_else
):
    for _ in range(2):
        pending = document_of(*REPORT, "--keep")["track_record"]
    lines = (somewhere_else / "runs" / "forecasts.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {(one["forecasts"], one["pending"]) for one in pending} == {(0, 1)}
    assert main(["vol", "SPY", "--session", "2018-02-20", "--json"]) == 0
    scored = {one["model"]: one for one in json.loads(capsys.readouterr().out)["track_record"]}
    assert scored["har"]["forecasts"] == 1
    # the week of 2018-02-05 moved 3 % a day: every forecast was too low and the week outside its interval
    assert scored["har"]["bias"] < 0.3
    assert scored["har"]["inside"] == 0.0
    assert "track record har, 5 days: 1 came due" in told_by("vol", "SPY", "--session", "2018-02-20").out


def test_a_damaged_track_record_is_named(told_by, somewhere_else):
    (somewhere_else / "runs").mkdir()
    (somewhere_else / "runs" / "forecasts.jsonl").write_text("{}\n")
    assert "forecasts.jsonl:1" in told_by(*REPORT, code=2).err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_is_a_picture(suffix, somewhere_else):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    assert main([*REPORT, "--plot", f"vol.{suffix}"]) == 0
    written = (somewhere_else / f"vol.{suffix}").read_bytes()
    assert written[:8] == b"\x89PNG\r\n\x1a\n" if suffix == "png" else b"<svg" in written


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "scalpdesk vol SPY"),
        (["SPY", "--horizon", "0"], "--horizon"),
        (["SPY", "--history", "none.csv"], "no such file"),
        (["SPY", "--history", "none"], "none"),
        (["SPY", "--evaluate", "--keep"], "leave --keep out, or --evaluate"),
        (["SPY", "--track", "last", "--plot", "x.png"], "leave --plot out, or --track"),
        (["--evaluate", "--series", "dax"], "--series"),
        (["--evaluate", "--model", "garhc"], "nearest: garch"),
    ],
)
def test_wrong_requests_are_refused(words, told, told_by):
    assert told in told_by("vol", *words, code=2).err


def test_a_history_of_the_users_own(document_of, somewhere_else):
    csv_of(somewhere_else / "mine.csv", symbol="spy")
    made = document_of(*REPORT, "--history", "mine.csv")
    assert made["history"]["source"] == "mine.csv"
    assert made["history"]["days"] == 276  # sessions among 400 days of the calendar
    by_model = {one["model"]: one for one in made["forecasts"]}
    assert by_model["har"]["vol"] == pytest.approx(0.16, rel=0.3)
    assert by_model["garch"]["made_by"] == "ewma"
    assert "garch needs 500 returns" in by_model["garch"]["reason"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("date,open,high,low\n2016-01-04,1,1,1\n", "no column close"),
        ("date,open,high,low,close\n2016-01-04,1,1,1,x\n", "mine.csv:2"),
        ("date,open,high,low,close\n4.1.2016,1,1,1,1\n", "mine.csv:2"),
        ("date,open,high,low,close,symbol\n2016-01-04,1,1,1,1,QQQ\n", "no daily bar of SPY"),
    ],
)
def test_a_history_that_cannot_be_read_is_named(content, told, told_by, somewhere_else):
    (somewhere_else / "mine.csv").write_text(content)
    assert told in told_by(*REPORT, "--history", "mine.csv", code=2).err


def test_parquet_histories_and_their_refusals(told_by, somewhere_else):
    import duckdb

    csv_of(somewhere_else / "mine.csv", symbol="SPY")
    with duckdb.connect() as connection:
        connection.execute("COPY (SELECT * FROM 'mine.csv') TO 'mine.parquet' (FORMAT parquet)")
        connection.execute("COPY (SELECT 1 AS date) TO 'thin.parquet' (FORMAT parquet)")
    one, other = (find_history(somewhere_else, "x", "SPY", f"mine.{kind}") for kind in ("csv", "parquet"))
    assert one.days == other.days
    assert one.bars == other.bars
    (somewhere_else / "torn.parquet").write_bytes(b"PAR1")
    for name, told in (("thin", "no column open"), ("torn", "cannot read daily bars")):
        assert told in told_by(*REPORT, "--history", f"{name}.parquet", code=2).err


def test_a_daily_set_of_the_catalogue_is_found_and_adjusted_for_splits(somewhere_else):
    from scalpdesk.datasets.manifests import Manifest
    from scalpdesk.datasets.store import SCHEMAS, connect, write_table

    catalog = somewhere_else / "catalog"
    folder = catalog / "mine-daily"
    with connect() as connection:
        rows = ", ".join(
            f"(TIMESTAMPTZ '2018-02-0{d + 1} 05:00:00+00', TIMESTAMPTZ '2018-02-0{d} 05:00:00+00', 'XYZ', "
            f"{p}, {p + 1}, {p - 1}, {p}, 5.0)"
            for d, p in ((1, 100), (2, 102), (5, 52))
        )
        names = ", ".join(SCHEMAS["trades"])
        write_table(
            connection,
            f"SELECT * FROM (VALUES {rows}) AS t({names})",
            folder / "trades" / "XYZ" / "2018.parquet",
        )
        write_table(
            connection,
            "SELECT 'XYZ' AS symbol, DATE '2018-02-05' AS ex_date, 'split' AS action, "
            "0.5::DECIMAL(18,6) AS amount",
            folder / "corporate_actions" / "XYZ" / "all.parquet",
        )
    manifest = Manifest(name="mine-daily", source="made", bar_seconds=86_400)
    import msgspec

    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    found = find_history(catalog, "mine", "XYZ", None)
    assert found.bars["close"] == [50.0, 51.0, 52.0]
    assert [day.day for day in found.days] == [1, 2, 5]
    assert found.notes == ("adjusted for 1 split; dividends are not",)
    assert find_history(catalog, "other", "XYZ", None).days == ()
    assert found.before(date(2018, 2, 5)).bars["high"] == [50.5, 51.5]


def test_evaluation_from_the_command_line(told_by, document_of):
    """The average alone takes no time; the whole table is held by tests/golden."""
    got = document_of("vol", "--evaluate", "--series", "nasdaq", "--model", "ewma")
    assert (got["days"], got["first_day"], got["last_day"]) == (3508, "2004-12-22", "2018-11-27")
    assert [round(one["qlike"], 3) for one in got["scores"]] == [1.116, 1.151, 1.265]
    shown = told_by("vol", "--evaluate", "--model", "ewma", "--model", "har").out
    assert "S&P 500, 3,508 days 2004-12-22 to 2018-11-27" in shown
    assert "0.696" in shown


def test_the_packaged_series_are_whole():
    for series, first_close in (("sp500", 1228.099976), ("nasdaq", 2208.050049)):
        history = packaged_history(series)
        assert len(history.days) == 5031
        assert history.bars["close"][0] == first_close
        assert history.days[0] == date(1999, 1, 4)


def test_the_gates_edges_stand_beside_what_was_earned(told_by, document_of, monkeypatch):
    zero = Decimal(0)
    told = {
        "opened_ns": 1_517_841_300_000_000_000, "closed_ns": 1_517_845_000_000_000_000, "why": "edge gone",
        "forecast_vol": 0.18, "implied_level": 0.15, "realised_vol": 0.21, "edge_usd": 12.5,
        "edge_stderr_usd": 4.0, "pnl": Decimal("9.754"), "parts": {}, "legs": (),
        **dict.fromkeys(("cash_in", "cash_out", "costs"), zero),
    }  # fmt: skip
    row = Trade(**dict.fromkeys(Trade.__struct_fields__) | told)
    ungated = replace(row, edge_usd=None)
    stored = SimpleNamespace(trades=[row, ungated], decimals=2, unit=CENT, currency="USD")
    monkeypatch.setattr("scalpdesk.cli.history.find_run", lambda *_: Path("20180205-one"))
    monkeypatch.setattr("scalpdesk.cli.history.read_stored", lambda *_: stored)
    told = document_of("vol", "--track", "last")
    assert told["runs"] == ["20180205-one"]
    assert told["record"]["trades"] == 1
    assert told["record"]["promised"] == 12.5
    (listed,) = told["trades"]
    assert (listed["pnl"], listed["edge_usd"], listed["why"]) == ("9.75", 12.5, "edge gone")
    shown = told_by("vol", "--track", "last").out
    assert "1 trades" not in shown
    assert "1 trade: the gate promised 12.50 each, they earned 9.75" in shown
    assert "forecast over implied 1.20, realised over implied 1.40" in shown
    monkeypatch.setattr(stored, "trades", [ungated])
    assert "nothing to compare" in told_by("vol", "--track", "last").out
    coin = replace(row, edge_usd=0.000525, edge_stderr_usd=0.0001, pnl=Decimal("-0.00415078"))
    in_coin = SimpleNamespace(trades=[coin], decimals=8, unit=SATOSHI, currency="BTC")
    monkeypatch.setattr("scalpdesk.cli.history.read_stored", lambda *_: in_coin)
    assert "promised 0.00052500 each, they earned -0.00415078;" in told_by("vol", "--track", "last").out
    both = iter((stored, in_coin))
    monkeypatch.setattr("scalpdesk.cli.history.read_stored", lambda *_: next(both))
    assert "value: 'BTC, USD'" in told_by("vol", "--track", "one", "--track", "two", code=2).err
