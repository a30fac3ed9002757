"""A sweep from Python: its table, frames and plots, going on, and the list of sweeps."""

from dataclasses import replace
from datetime import date, time
from decimal import Decimal

import duckdb
import numpy as np
import pytest

from scalpdesk import BacktestConfig, PreparedMarket, simulate, sweep
from scalpdesk.core.errors import ArgumentError, ConfigError, RefusalFacts
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.research.sweep import ROWS_FILE, SweepResult, SweepRow, list_sweeps
from scalpdesk_testing.kit.folders import BUY_ONE, folder

DAYS = date(2017, 7, 3), date(2017, 7, 6)
TARGETS = ["0.01", "0.05", "0.10"]


def mornings(first, last):
    """Return the sessions of a span to a quarter past ten, each as a session of its own."""
    whole = embedded.reconstruct_span(first, last)
    short = tuple(replace(each, close_ns=new_york_ns(each.day, time(10, 15))) for each in whole.sessions)
    return PreparedMarket(replace(whole, sessions=short))


@pytest.fixture(scope="module")
def market():
    return mornings(*DAYS)


@pytest.mark.second
def test_a_row_has_the_days_and_the_sharpe_ratio_of_its_backtest(market):
    found = sweep("st0cka", market, {"profit_target": TARGETS})
    assert (found.new, len(found.rows)) == (3, 3)
    totals = [row.total for row in found.rows]
    assert totals == sorted(totals, reverse=True)
    for row in found.rows:
        alone = simulate(BacktestConfig.load("st0cka", row.settings), market)
        assert row.decision_hash == alone.decision_hash
        by_day = {day.isoformat(): figures["total"] for day, figures in alone.daily().items()}
        assert {day: Decimal(text) for day, text in row.daily.items()} == by_day
        assert (row.traded, row.sharpe) == (np.count_nonzero(list(by_day.values())), None)


def test_a_ratio_takes_five_sessions_that_traded():
    week = mornings(date(2018, 2, 5), date(2018, 2, 9))
    (row,) = sweep("st0cka", week, {"profit_target": TARGETS[:1]}).rows
    amounts = np.array([float(amount) for amount in row.daily.values()])
    assert row.traded == np.count_nonzero(amounts) == 5
    assert row.sharpe == pytest.approx(amounts.mean() / amounts.std(ddof=1) * np.sqrt(252), rel=1e-12)


def test_a_sweep_of_which_no_combination_is_a_configuration_refuses_as_the_first_is_refused(market):
    with pytest.raises(ConfigError) as alone:
        BacktestConfig.load("gamma-scalper", {"hedge.bend": "1"})
    with pytest.raises(ConfigError) as refused:
        sweep("gamma-scalper", market, {"hedge.bend": ["1", "2"]})
    first, whole = alone.value, refused.value
    assert first.what in whole.what
    assert (whole.value, whole.nearest, whole.fix) == (first.value, first.nearest, first.fix)
    assert whole.where == f"{first.where} of --param"


def test_a_row_has_its_refusal_as_a_value(market):
    found = sweep("gamma-scalper", market, {"hedge.band": ["fixed", "fixd"]})
    (failed,) = [row for row in found.rows if row.refusal]
    assert (failed.settings["hedge.band"], failed.refusal.value) == ("fixd", "fixd")
    assert failed.refusal.where
    document = failed.as_document()
    assert document["refusal"]["value"] == "fixd"
    assert document["problem"] == failed.problem == failed.refusal.text


def test_a_sweep_without_a_trade_says_why_and_what_to_set(market):
    found = sweep("gamma-scalper", market, {"entry.min_edge_usd": [5_000, 6_000]})
    assert [row.fills for row in found.rows] == [0, 0]
    assert "entry.gate=advise" in found.why_no_trade
    assert sweep("st0cka", market, {"profit_target": TARGETS[:1]}).why_no_trade is None


def test_a_parameter_that_changes_nothing_is_named(market):
    axes = {"profit_target": TARGETS[:2], "risk.max_live_orders": [40, 50]}
    found = sweep("st0cka", market, axes)
    assert len({row.pnl["total"] for row in found.rows}) == 2
    assert found.without_effect == ["risk.max_live_orders"]
    assert sweep("st0cka", market, {"profit_target": TARGETS[:1]}).without_effect == []


@pytest.mark.second
def test_a_kept_sweep_goes_on_and_another_market_is_another_result(market, tmp_path):
    kept = tmp_path / "sweeps" / "mine"
    sweep("st0cka", market, {"profit_target": TARGETS[:2]}, out=kept)
    found = sweep("st0cka", market, {"profit_target": TARGETS}, out=kept)
    assert found.new == 1
    lines = (kept / ROWS_FILE).read_bytes()
    assert sweep("st0cka", market, {"profit_target": TARGETS}, out=kept).new == 0
    assert (kept / ROWS_FILE).read_bytes() == lines
    other = mornings(DAYS[0], DAYS[0])
    assert sweep("st0cka", other, {"profit_target": TARGETS[:1]}, out=kept).new == 1
    (listed,) = list_sweeps(kept.parent)
    assert (listed["name"], listed["rows"], listed["about"]["strategy"]) == ("mine", 4, "st0cka")
    assert float(listed["best"]["pnl"]) == max(
        row.total for row in (*found.rows, *sweep("st0cka", other, {"profit_target": "0.01"}, out=kept).rows)
    )


def test_the_code_of_a_strategy_folder_is_part_of_its_result(market, tmp_path):
    made = folder(tmp_path, BUY_ONE)
    chosen = {"folder": str(made), "isolate": False, "heartbeat_seconds": 600, "price_change_usd": 5}
    one_day = mornings(DAYS[0], DAYS[0])
    params, kept = {"max_age_seconds": [5, 30]}, tmp_path / "kept"
    first = sweep("external", one_day, params, settings=chosen, out=kept)
    assert [row.problem for row in first.rows] == [None, None]
    assert first.rows[0].fills > 1
    assert sweep("external", one_day, params, settings=chosen, out=kept).new == 0
    folder(tmp_path, "return None")
    changed = sweep("external", one_day, params, settings=chosen, out=kept)
    assert changed.new == 2
    assert [row.fills for row in changed.rows] == [0, 0]


def row(total, sharpe=1.0, **settings):
    return SweepRow(
        config_hash="c",
        settings={key.replace("__", "."): value for key, value in settings.items()},
        pnl={"total": total, "fees": "-1.00"},
        sharpe=sharpe,
        daily={"2018-02-05": total},
    )


def test_frames_and_the_table_have_a_column_for_each_parameter_and_figure(tmp_path):
    rows = (row("2.50", a__b="10", band="fixed"), row("1.25", a__b="9", band="none"))
    failed = SweepRow(config_hash="", settings={"a.b": "11", "band": "fixed"}, refusal=RefusalFacts("no"))
    frame = SweepResult((*rows, failed), 3).to_frame()
    assert frame["a.b"].tolist() == [10.0, 9.0, 11.0]
    assert frame["band"].tolist() == ["fixed", "none", "fixed"]
    assert frame["pnl_total"].tolist()[:2] == [2.5, 1.25]
    assert np.isnan(frame["pnl_total"].iloc[2])
    with pytest.raises(ArgumentError):
        SweepResult(rows, 2).to_frame("spark")
    text = SweepResult((*rows, failed), 3)._repr_html_()
    assert text.count("<tr>") == 4
    assert "2.50" in text


def test_a_frame_of_polars_has_the_same_rows():
    polars = pytest.importorskip("polars")
    found = SweepResult((row("2.50", a="10"), row("1.25", a="9")), 2).to_frame("polars")
    assert isinstance(found, polars.DataFrame)
    assert found["a"].to_list() == ["10", "9"]
    assert [float(amount) for amount in found["pnl_total"]] == [2.5, 1.25]


def test_one_parameter_is_a_line_and_two_are_a_heat_map():
    pytest.importorskip("matplotlib")
    line = SweepResult((row("3", a="10"), row("1", a="2"), row("2", a="100")), 3).plot()
    (drawn,) = line.axes[0].lines
    assert [tuple(point) for point in drawn.get_xydata()] == [(2.0, 1.0), (10.0, 3.0), (100.0, 2.0)]
    cells = (row("1", sharpe=5.0, a="2", b="x"), row("2", sharpe=6.0, a="10", b="y"))
    image = SweepResult(cells, 2).plot("sharpe").axes[0].images[0].get_array()
    assert image.shape == (2, 2)
    assert (image[0, 0], image[1, 1]) == (5.0, 6.0)
    assert np.ma.getmaskarray(np.ma.masked_invalid(image)).sum() == 2
    for rows, figure in ((cells[:1], "total"), (cells, "gamma")):
        with pytest.raises(ArgumentError):
            SweepResult(rows, 2).plot(figure)


def test_what_a_sweep_cannot_be_is_refused(market):
    for params, rest in (
        ({}, {}),
        ({"profit_target": "0.01:1:log"}, {}),
        ({"profit_target": [1]}, {"address": "auto"}),
    ):
        with pytest.raises(ArgumentError):
            sweep("st0cka", market, params, **rest)
    with pytest.raises(ConfigError):
        sweep("st0cka", market, {"no_such_key": [1, 2]})
    with pytest.raises(ArgumentError):
        sweep("st0cka", market, ["profit_target=1"])


def test_a_table_on_disk_has_the_days_of_each_row(market, tmp_path):
    found = sweep("st0cka", market, {"profit_target": TARGETS[:1]}, out=tmp_path)
    ((daily,),) = duckdb.sql(f"SELECT daily FROM read_parquet('{found.table}')").fetchall()
    assert daily == found.rows[0].daily
