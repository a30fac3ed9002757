"""Sweeps: parameters, combinations, rows equal to single backtests, failures as rows, going on."""

from datetime import date
from pathlib import Path

import duckdb
import msgspec
import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ArgumentError, DataError, RefusalFacts
from scalpdesk.portfolio.strike_vols import StrikeVols
from scalpdesk.research.sweep import (
    ROWS_FILE,
    Job,
    SweepFolder,
    SweepRow,
    combinations,
    find_sweep,
    read_parameter,
    run_job,
    run_together,
    stored_sweep,
)
from scalpdesk.research.sweep_engines import LocalEngine

HALF_DAY = date(2017, 7, 3)


def timeless(row):
    return msgspec.structs.replace(row, seconds=0.0, cpu_seconds=0.0)


TRADES = ("entry.gate=advise", "entry.not_before=09:31")


def job(**settings):
    texts = {key.replace("__", "."): value for key, value in settings.items()}
    overrides = (*TRADES, *(f"{key}={value}" for key, value in texts.items()))
    loaded = load_settings("gamma-scalper", overrides=overrides, environ={}, cwd=Path())
    return Job(texts, BacktestConfig.of(loaded, seed=1))


@pytest.fixture(scope="module")
def market():
    settings = load_settings("gamma-scalper", environ={}, cwd=Path())
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=HALF_DAY, seed=1)
    return PreparedMarket(tape)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("hedge.band=fixed,whalley_wilmott", ("fixed", "whalley_wilmott")),
        ("straddles=2, 2,3", ("2", "3")),
        ("hedge.threshold_shares=1:3:lin:5", ("1", "1.5", "2", "2.5", "3")),
        ("hedge.risk_aversion=0.001:0.1:log:3", ("0.001", "0.01", "0.1")),
        ("entry.not_before=09:31,10:00", ("09:31", "10:00")),
        ("entry.not_before=09:31:30", ("09:31:30",)),
        ("entry.not_before=09:31:10:00:lin:3", None),
    ],
)
def test_a_parameter_is_a_list_or_a_range(text, values):
    if values is None:  # times of day make no range
        with pytest.raises(ArgumentError, match="a range is") as refused:
            read_parameter(text)
        example = str(refused.value.fix).split()[0]
        assert example.startswith(text.partition("=")[0])
        assert len(read_parameter(example).values) == 2
    else:
        assert read_parameter(text).values == values


@pytest.mark.parametrize(
    "text",
    [
        "straddles",
        "=3",
        "straddles=",
        "straddles=1,,2",
        "a=1:2:lin",
        "a=0:1:log:3",
        "a=1:2:cubic:3",
        "a=1:2:lin:1",
    ],
)
def test_what_is_neither_is_refused_with_its_key(text):
    with pytest.raises(ArgumentError) as refused:
        read_parameter(text)
    assert "--param" in refused.value.where


def test_every_combination_comes_once():
    found = combinations([read_parameter("a=1,2,3"), read_parameter("b=x,y")])
    assert len(found) == 6
    assert found[:2] == [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}]
    with pytest.raises(ArgumentError, match="twice"):
        combinations([read_parameter("a=1,2"), read_parameter("a=3")])


@pytest.mark.second
def test_a_row_is_the_backtest_of_its_configuration_in_whatever_process(market):
    jobs = [job(hedge__threshold_shares=value) for value in ("2", "8")]
    jobs.append(job(underlying="QQQ"))  # the market holds SPY
    here = [run_job(each, market) for each in jobs]
    for each, row in zip(jobs[:2], here, strict=False):
        alone = simulate(each.config, market)
        assert (row.decision_hash, row.fills) == (alone.decision_hash, alone.fills)
        assert row.pnl == {name: str(amount) for name, amount in alone.pnl.items()}
        assert list(row.daily) == [HALF_DAY.isoformat()]
        assert f"{float(row.daily[HALF_DAY.isoformat()]):.2f}" == row.pnl["total"]
    assert here[0].hedges > here[1].hedges > 0
    assert here[2].pnl == {}
    assert "QQQ" in here[2].problem
    with LocalEngine(market, 2, [job.config for job in jobs]) as engine:
        there = {row.config_hash: row for row in engine.run(jobs)}
    assert len(there) == 3
    for row in here:
        assert timeless(there[row.config_hash]) == timeless(row)


def test_a_folder_goes_on_after_a_torn_line_and_tries_failures_again(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    rows = [
        SweepRow(config_hash="a", settings={"x": "1"}, pnl={"total": "1.25", "fees": "-0.10"}, hedges=3),
        SweepRow(config_hash="b", settings={"x": "2"}, refusal=RefusalFacts("no")),
    ]
    for row in rows:
        folder.add(row)
    with (folder.path / ROWS_FILE).open("ab") as file:
        file.write(b'{"config_hash": "c", "sett')
    assert folder.rows() == {("a", ""): rows[0]}
    folder.add(SweepRow(config_hash="c", settings={"x": "3"}, pnl={"total": "2.00", "fees": "0"}))
    assert sorted(folder.rows()) == [("a", ""), ("c", "")]
    path = folder.write_table(rows)
    found = duckdb.sql(f"SELECT x, problem, hedges, pnl_total FROM read_parquet('{path}')").fetchall()
    assert [(x, problem, hedges, total and float(total)) for x, problem, hedges, total in found] == [
        ("1", None, 3, 1.25),
        ("2", "no", 0, None),
    ]


def test_the_table_of_a_folder_gives_its_rows_back(tmp_path):
    done = SweepRow(
        config_hash="c",
        settings={"hedge.band": "fixed", "pnl_target": "2"},
        decision_hash="d",
        pnl={"total": "12.5", "gamma": "0.00000001"},
        daily={"2018-02-05": "4.25", "2018-02-06": "8.25"},
        sharpe=1.25,
        sessions=2,
        hedges=7,
    )
    failed = SweepRow(config_hash="", settings={"hedge.band": "x"}, refusal=RefusalFacts("no such band"))
    kept = SweepFolder(tmp_path / "direction-1")
    kept.add(done)
    kept.write_table([done, failed], {"strategy": "direction", "sessions_per_year": 365})
    assert kept.read_table() == (done, failed)
    found = stored_sweep(tmp_path / "direction-1")
    assert (found.rows, found.about["strategy"]) == ((done, failed), "direction")
    for name in ("direction-1", "direction", str(tmp_path / "direction-1")):
        assert find_sweep(tmp_path, name) == tmp_path / "direction-1"
    assert find_sweep(tmp_path, "other") is None
    SweepFolder(tmp_path / "direction-2").write_table([], {})
    assert find_sweep(tmp_path, "direction") is None
    with pytest.raises(DataError):
        SweepFolder(tmp_path / "empty").read_table()


def test_runs_with_equal_terms_share_the_smiles_and_each_does_what_it_does_alone(market, monkeypatch):
    fit, fits = StrikeVols.smile, []
    monkeypatch.setattr(StrikeVols, "smile", lambda *terms: fits.append(terms[2]) or fit(*terms))
    jobs = [job(hedge__threshold_shares=each, rates__flat=rate) for rate in ("0.01", "0.05") for each in "29"]
    alone = [timeless(run_job(each, market)) for each in jobs]
    alone_fits = len(fits)
    fits.clear()
    assert [timeless(row) for row in run_together(jobs, market)] == alone
    assert len({row.decision_hash for row in alone}) == len(jobs)
    assert 0 < len(fits) <= 0.52 * alone_fits
