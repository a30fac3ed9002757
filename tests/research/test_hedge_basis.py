"""The basis of a hedge measured from quotes, and hedges compared over the same sessions."""

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.backtesting.simulate import BacktestConfig
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import OrderFilled
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.datasets.store import connect
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.futures import future_contract
from scalpdesk.research.hedge_basis import hedged_run, measure_basis, spread_of
from scalpdesk_testing.kit.index_hedge import LEVELS, RULES, straddle_market
from scalpdesk_testing.kit.tape import TapeBuilder, at

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
CENT = Decimal("0.01")


def audited(settings, tape):
    """Run a backtest; return its row, its result, and the columns as an auditor finds them in the fills.

    The auditor has nothing but what was filled when, and the mids of hedge and index at that instant.
    """
    config = BacktestConfig.of(settings)
    header, engine = build_backtest(config, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    assembled = assemble_backtest(config, tape, header, engine, None)
    handle, desk, fills = engine.handle, engine.desk, []

    def watch(event):
        outputs = handle(event)
        if isinstance(event, OrderFilled):
            order = desk.orders.orders[event.client_order_id].submitted
            mids = desk.market.mark(desk.view.hedge), desk.market.mark(desk.view.underlying)
            fills.append((order.instrument_id, order.side.sign * event.quantity, event, *mids))
        return outputs

    engine.handle = watch
    for _ in assembled.runner.steps():
        pass
    result, hedge = assembled.result(0.0), desk.instruments[desk.view.hedge]
    assert result.end_positions == {}
    options = -sum(
        units * event.price * desk.instruments[number].multiplier + event.fee
        for number, units, event, _, _ in fills
        if number != desk.view.hedge
    )
    mine = [each[1:] for each in fills if each[0] == desk.view.hedge]
    scale = hedge.multiplier
    gain = -sum(units * event.price * scale + event.fee for units, event, _, _ in mine)
    cost = -sum(
        float(units) * scale * (float(event.price) - mid) + float(event.fee) for units, event, mid, _ in mine
    )
    held = own = underlying = 0.0
    for (units, _, mid, level), (_, _, next_mid, next_level) in pairwise(mine):
        held += float(units) * scale
        own += held * (next_mid - mid)
        underlying += held * mid / level * (next_level - level)
    columns = {"options": options, "hedge_pnl": gain, "underlying_gain": underlying}
    return hedged_run("h", result), result, columns | {"basis": own - underlying, "hedge_cost": cost}, mine


def assert_fills_give(row, result, columns):
    """Hold each column against the auditor's, and the sums to the cent."""
    for name, amount in columns.items():
        assert float(getattr(row, name)) == pytest.approx(float(amount), abs=0.03), name
    assert row.options + row.hedge_pnl == row.pnl == result.pnl["total"]
    assert row.underlying_gain + row.basis + row.hedge_cost == row.hedge_pnl
    assert abs(sum(result.pnl_by_symbol.values()) - row.pnl) <= CENT
    assert abs(sum(row.basis_by_day.values()) - row.basis) <= 3 * CENT


def with_hedge(name, *rules):
    return load_settings("gamma-scalper", overrides=(*RULES, f"hedge.instrument={name}", *rules))


@given(
    ratio=st.sampled_from((0.1, 0.05, 0.4, 1.0)),
    premium=st.floats(-20.0, 20.0),
    noise=st.floats(0.0, 0.002),
    every=st.sampled_from((1, 7, 30)),
    spread=st.sampled_from((0.0, 0.02)),
    fees=st.sampled_from(("none", "ibkr")),
)
@settings(max_examples=12)
def test_each_column_of_a_hedge_follows_from_its_fills(ratio, premium, noise, every, spread, fees):
    def price_of(level, minute):
        return round((level + premium) * ratio * (1.0 + noise * math.sin(5.0 * minute)), 2)

    tape = straddle_market(Equity("SPY"), price_of, spread=spread, every=every)
    row, result, columns, mine = audited(with_hedge("SPY", f"simulation.fees={fees}"), tape)
    assert len(mine) > 2
    assert_fills_give(row, result, columns)


def index_row():
    tape = replace(straddle_market(Equity("SPY"), lambda level, _: level), hedge="")
    rules = (*RULES, "risk.index_orders=true")
    return audited(load_settings("gamma-scalper", overrides=rules), tape)


@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.5])
def test_a_constant_multiple_of_the_index_without_a_spread_is_the_index_but_for_whole_units(ratio):
    index, _, _, _ = index_row()
    row, _, _, _ = audited(
        with_hedge("SPY"), straddle_market(Equity("SPY"), lambda level, _: round(level * ratio, 3))
    )
    assert (row.basis, row.hedge_cost, row.options) == (0, 0, index.options)
    # one is off its target by half a unit of the index, the other by half a share, over the whole path
    path = sum(abs(after - before) for before, after in pairwise(LEVELS))
    assert abs(float(row.hedge_pnl - index.hedge_pnl)) <= 0.5 * (1.0 + ratio) * path
    assert abs(float(index.hedge_pnl)) > 10.0 * path


QUARTERS = (
    "entry.not_before=10:15",
    "hedge.band=time_based",
    "hedge.band_settings.interval_seconds=900",
    "hedge.least_fraction=0",
)


def test_a_constant_multiple_quoted_each_quarter_of_an_hour_has_no_basis_at_its_quotes():
    tape = straddle_market(Equity("SPY"), lambda level, _: level / 10.0, every=15)
    row, result, columns, mine = audited(with_hedge("SPY", *QUARTERS), tape)
    assert len(mine) > 3
    assert abs(row.basis) <= CENT
    assert_fills_give(row, result, columns)


def test_ten_times_the_price_at_a_tenth_of_the_multiplier_changes_nothing():
    rows = [
        audited(
            with_hedge(name),
            straddle_market(future_contract(f"{name}_202103"), lambda level, _, by=by: by * level),
        )[0]
        for name, by in (("ES", 1.0), ("MES", 10.0))
    ]
    assert msgspec.structs.replace(rows[0], largest_delta=0.0) == msgspec.structs.replace(
        rows[1], largest_delta=0.0
    )
    assert rows[0].hedges > 3


def test_a_constant_premium_does_not_drift():
    """Its basis is the premium's part of the index's gain, and the path ends where it began."""
    row, result, columns, mine = audited(
        with_hedge("SPY"), straddle_market(Equity("SPY"), lambda level, _: level - 9.5)
    )
    assert_fills_give(row, result, columns)
    assert float(row.basis) == pytest.approx(float(row.underlying_gain) * 9.5 / 3690.5, rel=0.02)
    assert len(mine) > 3


def test_a_hedge_that_is_seldom_quoted_goes_by_the_delta_of_one_that_always_is():
    """Where it is quoted the options are too wide: their volatility is that of the minutes before."""
    fills = []
    for every in (1, 15):
        tape = straddle_market(Equity("SPY"), lambda level, _: level / 10.0, every=every, wide=(30, 45, 60))
        *_, mine = audited(with_hedge("SPY", *QUARTERS), tape)
        fills.append([(units, event.ts_event_ns) for units, event, _, _ in mine])
    assert fills[0] == fills[1]
    assert len(fills[0]) > 3


@pytest.mark.second
@pytest.mark.recorded
def test_a_recorded_week_hedged_by_spy_has_the_options_of_the_index_hedge_and_a_basis(
    recorded_catalog, tmp_path
):
    """docs/evidence/hedging.md has these figures."""
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
        config = load_settings("gamma-scalper", config_file=CONFIG, overrides=overrides)
        tape = load_market(config, "lean", underlying="SPXW", **SPAN)
        row, result, columns, _ = audited(config, tape)
        assert_fills_give(row, result, columns)
        runs[hedge] = row
    index, spy = runs["none"], runs["SPY"]
    assert (index.pnl, spy.pnl) == (Decimal("761.33"), Decimal("529.86"))
    assert index.options == spy.options == Decimal("-16100.00")
    assert (index.underlying_gain, spy.underlying_gain) == (Decimal("16861.33"), Decimal("16869.70"))
    assert (spy.hedge_cost, spy.basis) == (Decimal("-354.44"), Decimal("114.60"))
    assert (index.basis, index.hedge_cost) == (0, 0)
    assert index.hedges == spy.hedges == 20
