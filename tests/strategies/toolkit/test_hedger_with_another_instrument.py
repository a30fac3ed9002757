"""Options on an index hedged with another instrument: sizes in dollars of delta, beta, and the basis."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import Decision, Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.futures import future_contract
from scalpdesk.portfolio.interval import LegSnapshot, explain
from scalpdesk_testing.kit.index_hedge import DAY, LEVELS, RULES, straddle_market
from scalpdesk_testing.kit.tape import at

HEDGE, UNWIND = InstrumentId(3), Purpose.UNWIND_HEDGE
ES, MES, SPY = future_contract("ES_202103"), future_contract("MES_202103"), Equity("SPY")


def market(hedge, price_of, spread):
    """The market with the hedge's price on its grid of ticks."""
    return straddle_market(
        hedge, lambda level, minute: round(price_of(level, minute) / spread) * spread, spread=spread
    )


def run(tape, *rules):
    config = load_settings("gamma-scalper", overrides=(*RULES, *rules))
    header, engine = build_backtest(config, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    assembled = assemble_backtest(config, tape, header, engine, None)
    decisions, handle = [], engine.handle

    def watch(event):
        outputs = handle(event)
        decisions.extend(each for each in outputs if isinstance(each, Decision))
        return outputs

    engine.handle = watch
    for _ in assembled.runner.steps():
        pass
    return assembled.result(0.0), engine.desk, decisions


HEDGES = {
    "ES": (ES, lambda spot, _: spot - 9.5, 0.25),
    "MES": (MES, lambda spot, _: spot - 9.5, 0.25),
    "SPY": (SPY, lambda spot, _: spot / 10.0, 0.01),
}


@pytest.fixture(scope="module")
def results():
    return {name: run(market(*made), f"hedge.instrument={name}") for name, made in HEDGES.items()}


@pytest.mark.parametrize("name", HEDGES)
def test_each_hedge_brings_the_dollar_delta_to_its_target_in_whole_contracts(results, name):
    _, _, decisions = results[name]
    hedges = [each.facts for each in decisions if each.kind == "hedge" and "hedge_quantity" in each.facts]
    assert len(hedges) > 3
    multiplier = HEDGES[name][0].multiplier
    for facts in hedges:
        price, spot = facts["hedge_price"], facts["spot"]
        unit = price * multiplier / spot
        assert facts["hedge_unit_shares"] == pytest.approx(unit)
        assert facts["hedge_quantity"] == int(facts["hedge_quantity"])
        # what is left is less than half a contract, unless the order stops where the holding crosses zero
        left = (facts["net_delta_shares"] + facts["quantity_shares"]) * spot
        if facts["owned_shares"] + facts["quantity_shares"]:
            assert abs(left) <= 0.5 * price * multiplier + 1e-6


@pytest.mark.parametrize("name", HEDGES)
def test_the_parts_with_the_basis_sum_to_the_cent(results, name):
    result, _, _ = results[name]
    assert "basis" in result.pnl
    total = result.pnl["total"]
    assert sum((amount for part, amount in result.pnl.items() if part != "total"), Decimal(0)) == total
    assert result.end_positions == {}
    for mark in result.marks:
        assert sum(mark.parts.values(), Decimal(0)) == mark.nav_change
    assert abs(sum((row["total"] for row in result.daily().values()), Decimal(0)) - total) < Decimal("0.01")


def test_the_basis_is_what_the_hedge_gains_while_the_index_stands(results):
    """SPY jumps a dollar above its index for good: the holding earns it, and the basis says so."""

    def price_of(spot, minute):
        return spot / 10.0 + (1.0 if minute >= 60 else 0.0)

    tape = market(SPY, price_of, 0.01)
    result, desk, _ = run(tape, "hedge.instrument=SPY")
    orders = desk.orders.orders.values()
    jumped_ns = at("10:00", DAY) + 60 * 60 * 10**9
    held = sum(
        each.submitted.side.sign * each.filled
        for each in orders
        if each.submitted.instrument_id == HEDGE and each.created_ns < jumped_ns
    )
    assert held
    plain = results["SPY"][0].pnl["basis"]
    assert float(result.pnl["basis"] - plain) == pytest.approx(float(held), abs=0.03 * abs(float(held)) + 5.0)


def test_a_beta_of_two_takes_two_dollars_of_the_hedge_for_one_of_delta():
    made = HEDGES["SPY"]
    one, two = (
        run(market(*made), "hedge.instrument=SPY", f"hedge.beta={beta}", "hedge.least_fraction=0")[2]
        for beta in (1, 2)
    )
    first = [
        next(each.facts for each in decisions if "hedge_unit_shares" in each.facts)
        for decisions in (one, two)
    ]
    assert first[1]["hedge_quantity"] == pytest.approx(2 * first[0]["hedge_quantity"], abs=1)
    assert first[1]["hedge_unit_shares"] == pytest.approx(first[0]["hedge_unit_shares"] / 2)


def test_a_market_without_what_hedges_is_refused():
    tape = replace(market(*HEDGES["SPY"]), hedge="")
    with pytest.raises(ConfigError) as refused:
        run(tape, "hedge.instrument=SPY")
    assert refused.value.where == "hedge.instrument"


def test_ids_of_runs_without_it_stay():
    """The settings' hash, which names orders, has the new keys only where they are set."""
    plain, named = (
        load_settings("gamma-scalper"),
        load_settings("gamma-scalper", overrides=("hedge.beta=1.0",)),
    )
    assert plain.config_hash == named.config_hash
    other = load_settings("gamma-scalper", overrides=("hedge.instrument=ES",))
    assert other.config_hash != plain.config_hash


floats = st.floats(-0.05, 0.05)


@given(move=floats, other=floats, units=st.integers(-500, 500), beta=st.floats(0.5, 2.0))
@settings(max_examples=30)
def test_delta_and_basis_are_the_gain_of_the_hedge(move, other, units, beta):
    price, spot = 3690.0, 3700.0
    start = LegSnapshot(
        HEDGE, ES, 0, units * 50.0, price, proxied=units * 50.0 * price / (beta * spot), spot=spot
    )
    end = replace_mark(start, price * (1 + other), spot * (1 + move))
    parts = explain(start, end)
    assert parts.delta + parts.basis == pytest.approx(units * 50.0 * price * other, abs=1e-6)
    assert parts.delta == pytest.approx(units * 50.0 * price * move / beta, abs=1e-6)


def replace_mark(start, mark, spot):
    return LegSnapshot(HEDGE, ES, 1, start.units, mark, spot=spot)


ZERO_DTE = (
    "underlying=SPXW",
    "entry.mode=straddle",
    "entry.at=10:05",
    "entry.not_after=10:30",
    "exit.at=11:15",
    "entry.max_straddle_delta=none",
    "simulation.starting_cash=20000000",
    "simulation.displayed_sizes=false",
)


def test_the_zero_dte_scalper_hedges_with_a_future_and_counts_its_dollars():
    config = load_settings("zero-dte", overrides=(*ZERO_DTE, "hedge.instrument=MES"))
    tape = market(*HEDGES["MES"])
    header, engine = build_backtest(config, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    assembled = assemble_backtest(config, tape, header, engine, None)
    for _ in assembled.runner.steps():
        pass
    result, desk = assembled.result(0.0), engine.desk
    assert result.end_positions == {}
    held = desk.positions.positions[HEDGE]
    report = engine.strategy.meter.whole_run.report()
    assert report["fills"] > 4
    assert Decimal(report["realized"]) == desk.positions.scalps[HEDGE].realized * 5
    assert abs(held.realized - desk.positions.scalps[HEDGE].realized * 5) < Decimal("1e-12")
    parts = sum((amount for part, amount in result.pnl.items() if part != "total"), Decimal(0))
    assert parts == result.pnl["total"]


def test_a_hedge_that_is_quoted_late_waits_for_its_first_quote():
    tape = market(*HEDGES["SPY"])
    rows = tape.quotes
    keeps = (rows.instrument_id != HEDGE) | (rows.ts_ns > at("10:20", DAY))
    late = type(rows)(*(getattr(rows, each)[keeps] for each in rows.__dataclass_fields__))
    config = load_settings("zero-dte", overrides=(*ZERO_DTE, "hedge.instrument=SPY"))
    settings = BacktestConfig.of(config)
    result = simulate(settings, PreparedMarket(replace(tape, quotes=late)))
    assert result.document["hedges"] > 2
    assert result.end_positions == {}


@pytest.mark.parametrize(("every", "waits", "price"), [(30, 0, LEVELS[60]), (45, 60, LEVELS[45])])
def test_a_hedge_is_unwound_at_a_fresh_quote_where_one_comes_within_a_minute(every, waits, price):
    """SPY is quoted each half hour, and the exit at 11:00 waits for that quote; or not before 11:30."""
    tape = straddle_market(SPY, lambda level, _: level / 10.0, every=every)
    config = load_settings("zero-dte", overrides=(*ZERO_DTE, "exit.at=11:00", "hedge.instrument=SPY"))
    header, engine = build_backtest(config, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    for _ in assemble_backtest(config, tape, header, engine, None).runner.steps():
        pass
    (order,) = (one for one in engine.desk.orders.orders.values() if one.submitted.purpose is UNWIND)
    assert float(order.average_price) == pytest.approx(price / 10.0)
    assert (order.created_ns - at("11:00", DAY)) / 1e9 == pytest.approx(waits, abs=10)
    assert not engine.desk.positions.held()
