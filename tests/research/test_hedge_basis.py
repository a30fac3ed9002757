"""The basis of a hedge measured from quotes, and hedges compared over the same sessions."""

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.tape import TapeBuilder, at
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.datasets.store import connect
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.futures import future_contract
from scalpdesk.research.hedge_basis import hedged_run, measure_basis, spread_of

DAY = date(2021, 1, 4)
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
DOLLARS = 1_000_000.0


def market(instrument, prices):
    builder = TapeBuilder(Instruments([instrument]), days=(DAY,))
    for minute, price in enumerate(prices):
        builder.quote(0, at("10:00", DAY) + minute * 60 * 10**9, price - 0.125, price + 0.125)
    return builder.build()


INDEX = [3700.0 * math.exp(0.002 * math.sin(minute)) for minute in range(60)]


def test_a_hedge_in_proportion_has_no_basis_and_a_beta_of_one():
    spots, futures = (
        market(Equity("SPY"), INDEX),
        market(future_contract("ES_202103"), [0.997 * x for x in INDEX]),
    )
    (found,) = measure_basis(spots, futures, DOLLARS)
    assert (found.basis, found.per_minute) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert (found.beta, found.correlation) == pytest.approx((1.0, 1.0))
    assert found.minutes == 59


def test_half_the_moves_are_a_beta_of_two_and_with_it_no_basis_to_speak_of():
    half = [math.sqrt(x) * 60.0 for x in INDEX]
    spots, futures = market(Equity("SPY"), INDEX), market(Equity("X"), half)
    (found,) = measure_basis(spots, futures, DOLLARS, 2.0)
    assert found.beta == pytest.approx(2.0)
    assert found.per_minute < 0.003 * 0.003 * DOLLARS  # the convexity of returns that are not logarithms
    (plain,) = measure_basis(spots, futures, DOLLARS)
    assert plain.per_minute > 100 * found.per_minute


def test_a_jump_of_the_hedge_alone_is_the_basis_in_dollars():
    prices = [x * (1.001 if minute > 30 else 1.0) for minute, x in enumerate(INDEX)]
    (found,) = measure_basis(market(Equity("SPY"), INDEX), market(Equity("X"), prices), DOLLARS)
    assert found.basis == pytest.approx(1_000.0, rel=0.01)


def test_markets_without_a_minute_in_common_are_refused():
    later = market(Equity("X"), INDEX)
    later = replace(later, quotes=replace(later.quotes, ts_ns=later.quotes.ts_ns + 3 * 3_600 * 10**9))
    with pytest.raises(DataError):
        measure_basis(market(Equity("SPY"), INDEX), later, DOLLARS)


def test_the_spread_of_daily_amounts():
    assert spread_of([Decimal(1), Decimal(3)]) == pytest.approx(math.sqrt(2.0))
    assert math.isnan(spread_of([Decimal(1)]))


CONFIG = Path(__file__).resolve().parents[2] / "examples" / "validation" / "spx-hedges.toml"
SPAN = {"start": date(2021, 1, 4), "end": date(2021, 1, 8), "seed": 1}


@pytest.mark.recorded
def test_a_recorded_week_hedged_by_spy_has_the_options_of_the_index_hedge_and_a_basis(
    recorded_catalog, tmp_path
):
    """docs/strategies/spx.md has these figures."""
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for each in recorded_catalog.iterdir():
        (catalog / each.name).symlink_to(each)
    hours, week = SHARED / "daily_history" / "spy_hourly.parquet", tmp_path / "week.parquet"
    connect().execute(
        f"COPY (FROM '{hours}' WHERE ts BETWEEN '2021-01-04' AND '2021-01-09') TO '{week}' (FORMAT parquet)"
    )
    choices = ImportChoices("spy-hour", "SPY", bar_seconds=3_600)
    import_table(catalog, week, choices, file_format="parquet")
    runs = {}
    for hedge in ("none", "SPY"):
        overrides = (f"hedge.instrument={hedge}", f"data.catalog={catalog}")
        settings = load_settings("gamma-scalper", config_file=CONFIG, overrides=overrides)
        tape = load_market(settings, "lean", underlying="SPXW", **SPAN)
        runs[hedge] = hedged_run(hedge, simulate(BacktestConfig.of(settings), PreparedMarket(tape)))
    index, spy = runs["none"], runs["SPY"]
    assert (index.pnl, spy.pnl) == (Decimal("761.33"), Decimal("851.01"))
    assert (spy.hedge_cost, spy.basis) == (Decimal("-357.72"), Decimal("172.33"))
    assert (index.basis, index.hedge_cost) == (0, 0)
    assert spy.options + spy.hedge_cost + spy.basis == spy.pnl
    assert abs(sum(spy.basis_by_day.values()) - spy.basis) <= Decimal("0.03")
    assert index.hedges == spy.hedges == 20
