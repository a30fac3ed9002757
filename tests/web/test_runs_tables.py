"""Tables of a run in files and in Python: numbers are numbers, and every sum is the run's own."""

import csv
import json
import math
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.cli.main import main
from scalpdesk.datasets.store import connect, write_rows
from scalpdesk.report.session_tables import realised_path
from scalpdesk.volatility.variance_time import EMBEDDED_SESSIONS


def test_rows_in_parquet_keep_their_types_and_what_is_unknown(tmp_path):
    exact = Decimal("1234.500000000001")
    rows = [
        {"n": 1, "x": 0.1, "a": exact, "ok": True, "t": 'a "b, c"\nd', "l": ["u", 1]},
        {"n": None, "x": float("nan"), "a": None, "ok": False, "t": None, "l": {"k": Decimal("1.5")}},
    ]
    write_rows(tmp_path / "r.parquet", rows)
    write_rows(tmp_path / "r.csv", rows)
    with connect() as connection:
        found = connection.execute(f"FROM '{tmp_path}/r.parquet'").fetchall()
    assert found[0] == (1, 0.1, exact, True, 'a "b, c"\nd', '["u", 1]')
    assert found[1] == (None, None, None, False, None, '{"k": "1.5"}')
    with (tmp_path / "r.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["a"] == "1234.500000000001"
    assert first["t"] == rows[0]["t"]
    assert (second["x"], second["t"]) == ("", "")


def test_report_writes_every_table_and_compares_runs(ended_runs, tmp_path, capsys):
    folder, summary = ended_runs
    runs = ["--set", f"desk.runs_dir={folder}"]
    target = str(tmp_path / "t")
    assert main(["report", "last", "--csv", target, "--parquet", target, "--json", *runs]) == 0
    files = {
        row["file"].rpartition("/")[2]: row["rows"] for row in json.loads(capsys.readouterr().out)["files"]
    }
    assert files["fills.csv"] == files["fills.parquet"] == summary["fills"]
    assert files["orders.parquet"] == summary["orders"]
    assert files["hedges.csv"] == summary["hedges"]
    with connect() as connection:
        for table, column in (("marks", "nav_change"), ("sessions", "pnl"), ("trades", "pnl")):
            (total,) = connection.execute(f"SELECT sum({column}) FROM '{target}/{table}.parquet'").fetchone()
            assert total == Decimal(summary["nav_change"]), table
        (hedged, last_ns, rows) = connection.execute(
            f"SELECT sum(pnl), max(ts_ns), count(*) FROM '{target}/hedges.parquet'"
        ).fetchone()
        (after,) = connection.execute(
            f"SELECT sum(nav_change) FROM '{target}/marks.parquet' WHERE ts_ns > {last_ns}"
        ).fetchone()
        assert after != 0
        rounding = Decimal("0.005") * rows
        assert abs(hedged + after - Decimal(summary["nav_change"])) <= rounding
        parts = connection.execute(
            f"SELECT sum(pnl_gamma), sum(pnl_vega) FROM '{target}/marks.parquet'"
        ).fetchone()
    assert [f"{amount:.2f}" for amount in parts] == [summary["pnl"]["gamma"], summary["pnl"]["vega"]]
    assert main(["report", "--compare", summary["run_id"], "last", "--json", *runs]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["runs"] == [summary["run_id"]] * 2
    assert compared["pnl"] == {name: [amount] * 2 for name, amount in summary["pnl"].items()}
    assert compared["settings"] == {}
    assert set(compared["pnl_differences"]["gamma"]) == {"0.00"}
    assert main(["report", "last", "--compare", summary["run_id"], *runs]) == 0
    shown = capsys.readouterr().out
    assert f"{Decimal(summary['nav_change']):+,.2f}" in shown


def test_a_run_in_python_is_a_frame_of_numbers(python_run):
    result, frame = python_run, python_run.to_frame()
    assert len(frame) == len(result.marks)
    assert set(frame.dtypes.astype(str)) == {"float64"}
    assert frame["pnl"].iloc[-1] == pytest.approx(float(result.summary["nav_change"]), abs=1e-9)
    parts = [name for name in frame if name.startswith("pnl_")]
    assert frame[parts].sum(axis=1).to_numpy() == pytest.approx(frame["pnl"].to_numpy(), abs=1e-9)
    assert str(frame.index[0]).startswith("2017-07-03 09:")
    assert str(frame.index.tz) == "America/New_York"


def test_a_run_in_a_notebook_shows_its_summary_and_draws(python_run):
    result, shown = python_run, python_run._repr_html_()
    assert f">{result.summary['pnl']['total']}</td>" in shown.partition("P&amp;L total")[2]
    upper, delta, gamma, decay, vols, lower = result.plot().axes
    assert upper.lines[0].get_ydata()[-1] == pytest.approx(float(result.summary["nav_change"]))
    assert lower.get_ylabel() == "SPY"
    frame = result.to_frame()
    assert delta.lines[0].get_ydata() == pytest.approx(frame["net_delta_shares"].to_numpy())
    assert gamma.lines[0].get_ydata().max() == frame["gamma_shares_per_usd"].max() > 1.0
    assert [line.get_label() for line in decay.lines] == ["theta", "vega"]
    implied, realised = (line.get_ydata() for line in vols.lines)
    assert np.nanmax(implied) == pytest.approx(100.0 * frame["implied_vol"].max())
    assert 1.0 < np.nanmin(realised) < np.nanmax(realised) < 40.0
    looks = [(at.value, spot) for at, spot in frame["spot"].items()]
    known = [math.nan if vol is None else 100.0 * vol for vol in realised_path(looks, EMBEDDED_SESSIONS)]
    assert realised == pytest.approx(np.array(known), nan_ok=True)


def test_a_stored_run_is_drawn_into_a_file_and_shown_in_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ("--set", "entry.gate=off", "--set", "exits.flat_minutes_before_close=10")
    assert main(["backtest", "gamma-scalper", "--start", "2017-07-03", *words]) == 0
    shown = capsys.readouterr().out
    assert main(["report", "last", "--plot", "run.png", "--json"]) == 0
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
    for name, unit in (("Δ", "shares"), ("IV", "%"), ("RV", "%")):
        (line,) = (each for each in shown.splitlines() if each.startswith(name))
        assert line.rstrip().endswith(unit)
        assert any(block in line for block in "▂▃▄▅▆▇█")
