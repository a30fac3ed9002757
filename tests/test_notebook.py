"""The Python interface: days of every kind, tables and lists as settings, one catalogue for a run."""

from datetime import UTC, date, datetime
from operator import methodcaller

import numpy as np
import pandas as pd
import pytest

from scalpdesk import Strategy, backtest, load_data, load_run, parity, premium_history, run_desk, walk_forward
from scalpdesk.backtesting.runs import replay
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError
from scalpdesk.datasets.implied_vols import DailyImpliedVol, ImpliedVolHistory
from scalpdesk.instruments.sessions import session_days
from scalpdesk.journal.reader import peek_header
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.tape import TapeBuilder

DAY = date(2018, 2, 5)


@pytest.mark.parametrize(
    "day", ["2018-02-05", DAY, datetime(2018, 2, 5, tzinfo=UTC), pd.Timestamp("2018-02-05")]
)
def test_a_day_is_a_text_a_date_or_midnight_of_a_timestamp(day):
    assert [session.day for session in load_data(start=day, end=day).sessions] == [DAY]


@pytest.mark.parametrize(
    "day",
    [
        "05.02.2018",
        20180205,
        None,
        datetime(2018, 2, 5, 22, tzinfo=UTC),
        pd.Timestamp("2018-02-05 09:30"),
        np.datetime64("2018-02-05"),
        pd.NaT,
    ],
)
def test_what_is_no_day_is_refused_by_its_argument(day):
    with pytest.raises(ArgumentError, match="not a day") as caught:
        load_data(start=day)
    assert (caught.value.where, caught.value.fix) == ("start", 'write it as start="2018-02-05"')


@pytest.mark.parametrize(
    ("where", "value"),
    [("name", None), ("underlying", ["SPY", "QQQ"]), ("seed", "7"), ("seed", True), ("catalog", 5)],
)
def test_a_name_or_seed_of_another_type_is_refused_by_its_argument(where, value):
    with pytest.raises(ArgumentError) as caught:
        load_data(**({"start": DAY} | {where: value}))
    assert (caught.value.where, caught.value.value) == (where, repr(value))


def test_an_underlying_named_twice_is_refused_with_the_names_once():
    with pytest.raises(DataError, match="an underlying is named twice") as caught:
        load_data(start=DAY, underlying="SPY,QQQ,SPY")
    assert (caught.value.where, caught.value.fix) == ("underlying", "name each once: SPY,QQQ")


def test_a_span_that_ends_before_it_begins_is_refused():
    with pytest.raises(ArgumentError, match="the last day lies before the first") as caught:
        load_data(start="2018-02-06", end=DAY)
    assert (caught.value.where, caught.value.value) == ("end", "2018-02-05")


def test_a_coin_market_is_asked_for_by_its_own_name():
    with pytest.raises(ConfigError, match="BTC-PERPETUAL alone") as caught:
        load_data("embedded-btc", start="2025-03-05", underlying="BTC")
    assert caught.value.fix == "name BTC-PERPETUAL"


@pytest.mark.parametrize("data", ["embedded", None, pd.DataFrame({"bid": [1.0]})])
def test_what_is_no_market_is_refused(data):
    with pytest.raises(ArgumentError, match="a backtest takes a market") as caught:
        backtest("gamma-scalper", data)
    assert (caught.value.where, caught.value.value) == ("data", type(data).__name__)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("strategy", None, "a strategy goes by its name"),
        ("strategy", Strategy, "a strategy goes by its name"),
        ("settings", "hedge.band=fixed", "not a table of keys and values"),
        ("settings", ["hedge.band=fixed"], "not a table of keys and values"),
        ("settings", pd.DataFrame({"hedge.band": ["fixed"]}), "not a table of keys and values"),
        ("seed", "7", "not a whole number"),
        ("runs_dir", 5, "not a folder"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_its_name(where, value, message):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    with pytest.raises(ArgumentError, match=message) as caught:
        backtest(**({"strategy": "gamma-scalper", "data": tape} | {where: value}))
    assert (caught.value.where, caught.value.value) == (where, repr(value))


@pytest.mark.parametrize("make", [np.array, pd.Series], ids=["array", "series"])
def test_a_list_of_settings_may_be_an_array_or_a_column(make, tmp_path):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    settings = {"risk.allowed_underlyings": make(["SPY", "QQQ"])}
    run = backtest("gamma-scalper", tape, settings=settings, runs_dir=tmp_path, clock=ManualClock(1))
    assert peek_header(run.run_dir).config["risk"]["allowed_underlyings"] == ["SPY", "QQQ"]


def test_settings_may_be_tables_and_lists(tmp_path):
    settings = {
        "simulation.positions": {"SPY": 100},
        "hedge": {"band": "fixed", "threshold_shares": 5},
        "risk.allowed_underlyings": ["SPY", "QQQ"],
        "risk.betas": {"QQQ": 0.9},
    }
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    run = backtest("gamma-scalper", tape, settings=settings, runs_dir=tmp_path, clock=ManualClock(1))
    config = peek_header(run.run_dir).config
    assert config["simulation"]["positions"] == {"SPY": 100}
    assert config["strategies"]["gamma-scalper"]["hedge"]["threshold_shares"] == 5.0
    assert config["risk"]["allowed_underlyings"] == ["SPY", "QQQ"]
    assert config["risk"]["betas"] == {"QQQ": 0.9}


@pytest.mark.recorded
def test_a_run_on_a_named_catalogue_is_replayed_from_there(recorded_catalog, tmp_path):
    day = load_data("lean", start="2015-12-23", underlying="GOOG", catalog=recorded_catalog)
    settings = {"underlying": "GOOG", "entry.gate": "off", "exits.min_dte": None}
    settings |= {"selection.min_expiration_days": 0, "selection.max_expiration_days": 30}
    run = backtest("gamma-scalper", day, settings=settings, runs_dir=tmp_path / "runs", clock=ManualClock(1))
    assert run.summary["pnl"]["total"] == "-112.52"
    assert replay(run.run_dir).identical


@pytest.mark.recorded
def test_without_a_named_catalogue_it_is_that_of_the_configuration(recorded_catalog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scalpdesk.toml").write_text(f'[data]\ncatalog = "{recorded_catalog}"\n', encoding="utf-8")
    assert load_data("lean", start="2015-12-23", underlying="GOOG").name == "lean"


def test_settings_are_chosen_and_tested_from_python():
    builder = TapeBuilder(days=(date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 6), date(2024, 3, 7)))
    for session in builder.sessions:
        builder.path(session.open_ns + 60 * 10**9, 60, [500.0 + 0.2 * minute for minute in range(12)])
    settings = {"entry.gate": "off", "entry.not_before": "09:31", "exits.edge_gone": False}
    made = walk_forward(
        "gamma-scalper",
        builder.build(),
        {"hedge.threshold_shares": [2, 1_000], "hedge.band": ("fixed",)},
        folds=1,
        test=2,
        metric="pnl",
        settings=settings,
    )
    assert [row.settings for row in made.rows] == [
        {"hedge.threshold_shares": value, "hedge.band": "fixed"} for value in ("2", "1000")
    ]
    assert made.report.folds[0].settings in [row.settings for row in made.rows]
    frame = made.to_frame()
    assert frame["pnl"].sum() == pytest.approx(float(made.report.out_of_sample.total), abs=0.005)
    assert len(frame) == made.report.out_of_sample.sessions == 2


@pytest.mark.parametrize(
    ("argument", "value", "where"),
    [
        ("params", {}, "--param"),
        ("params", ["straddles=2"], "params"),
        ("metric", "profit", "metric"),
        ("folds", 0, "--folds"),
        ("data", "embedded", "data"),
        ("strategy", Strategy, "strategy"),
    ],
)
def test_what_a_walk_forward_cannot_use_is_refused_by_its_argument(argument, value, where):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    right = {"strategy": "gamma-scalper", "data": tape, "params": {"straddles": [1, 2]}}
    with pytest.raises(ArgumentError) as caught:
        walk_forward(**(right | {argument: value}))
    assert caught.value.where == where


TWO_DAYS = (date(2024, 3, 4), date(2024, 3, 5))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("data", TapeBuilder(days=TWO_DAYS)),
        ("venue", "latency_ms=400"),
        ("runs_dir", 5),
        ("runs_dir", None),
        ("strategy", None),
    ],
)
def test_what_a_desk_cannot_run_on_is_refused_by_its_argument(where, value, tmp_path):
    if where == "data":
        value = value.path("10:00", 60, [500.0] * 5).build()
    right = {"strategy": "gamma-scalper", "data": TapeBuilder().path("10:00", 60, [500.0] * 5).build()}
    with pytest.raises(ArgumentError) as caught:
        run_desk(**(right | {"runs_dir": tmp_path, where: value}))
    assert caught.value.where == where


def test_a_condition_of_the_venue_that_does_not_exist_is_refused_with_the_nearest(tmp_path):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    with pytest.raises(ConfigError) as caught:
        run_desk("gamma-scalper", tape, venue={"latency": 400}, runs_dir=tmp_path)
    assert caught.value.nearest == "simulation.latency_ms"


@pytest.mark.parametrize("function", [parity, load_run])
def test_a_run_without_a_journal_is_refused(function):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    with pytest.raises(ArgumentError, match="no journal") as caught:
        function(backtest("gamma-scalper", tape, clock=ManualClock(1)))
    assert caught.value.where == "run"


def test_no_figure_goes_by_another_name():
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    with pytest.raises(ArgumentError) as caught:
        backtest("gamma-scalper", tape, clock=ManualClock(1)).plot("pnl")
    assert (caught.value.where, caught.value.value) == ("figure", "pnl")


def test_implied_volatilities_that_were_kept_are_compared_with_own_daily_bars(tmp_path):
    days = session_days(date(2022, 1, 3), date(2024, 12, 31))[:620]
    closes = 100.0 * np.exp(np.cumsum(np.where(np.arange(620) % 2, 0.01, -0.01)))
    rows = [
        f"{day},{a},{max(a, b)},{min(a, b)},{b}"
        for day, a, b in zip(days, [100.0, *closes[:-1]], closes, strict=True)
    ]
    (tmp_path / "bars.csv").write_text("date,open,high,low,close\n" + "\n".join(rows), encoding="utf-8")
    kept = [DailyImpliedVol("XYZ", day, 0.2, "own") for day in days[450:]]
    ImpliedVolHistory(tmp_path).keep(kept)
    own = {"underlying": "XYZ", "catalog": tmp_path, "history": tmp_path / "bars.csv"}
    found = premium_history("own", start=days[0], end=days[-1], horizon=10, **own)
    assert [row.day for row in found.rows] == list(days[450:-11])
    # returns of 1 % a day, up and down: a volatility of 0.01·√252, which any forecast of a constant finds
    assert {round(row.realised, 12) for row in found.rows} == {round(0.01 * 252**0.5, 12)}
    forecasts = [row.forecast for row in found.rows]
    assert forecasts[:50] == [None] * 50
    assert forecasts[50:] == pytest.approx([0.01 * 252**0.5] * (len(forecasts) - 50), rel=0.01)
    assert found.mean_premium == pytest.approx(0.2**2 - 252e-4, rel=1e-9)
    assert found.to_frame()["expected_premium"].isna().sum() == 50
    assert methodcaller("_repr_html_")(found).count("<tr>") == 11


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": 5}, "name"),
        ({"horizon": 0.5}, "horizon"),
        ({"start": "then"}, "start"),
        ({"catalog": 1}, "catalog"),
    ],
)
def test_what_no_history_can_be_made_of_is_refused_by_its_argument(wrong, where):
    with pytest.raises(ArgumentError) as caught:
        premium_history(**({"start": "2014-01-02", "end": "2014-12-31"} | wrong))
    assert caught.value.where == where


@pytest.mark.parametrize("more", [{"underlying": "QQQ"}, {"end": "2013-12-31", "start": "2013-01-02"}])
def test_a_history_without_implied_volatilities_is_refused(more, tmp_path):
    with pytest.raises(DataError):
        premium_history(**({"start": "2014-01-02", "end": "2014-12-31", "catalog": tmp_path} | more))
