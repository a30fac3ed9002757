"""The size of an entry by the risk of its budget, and of straddles by a budget or their edge."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.strategies.toolkit.sizing import (
    ScaleConfig,
    ScaleRule,
    SizeConfig,
    StraddleRisk,
    pnl_deviation,
    size_by_risk,
    structure_size,
)

MOST = 10


def contracts_for(equity, ask, multiplier):
    return size_by_risk(equity, ask * multiplier, equity_fraction=Decimal("0.01"), most=MOST)


@pytest.mark.parametrize(
    ("equity", "ask", "count"),
    [("20000", "0.85", 2), ("20000", "2.50", 0), ("200000", "0.50", 10), ("8500", "0.85", 1), ("0", "1", 0)],
)
def test_the_budget_buys_whole_units_and_none_where_one_costs_more(equity, ask, count):
    assert contracts_for(Decimal(equity), Decimal(ask), 100) == count


@given(
    equity=st.decimals(0, 10_000_000, places=2),
    ask=st.decimals("0.01", 500, places=2),
    multiplier=st.sampled_from([1, 10, 100]),
)
def test_the_premium_never_exceeds_the_budget_and_one_more_would(equity, ask, multiplier):
    count = contracts_for(equity, ask, multiplier)
    assert 0 <= count <= MOST
    budget = equity / 100
    assert count * ask * multiplier <= budget or count == 0
    if count < MOST:
        assert (count + 1) * ask * multiplier > budget


RISK = StraddleRisk(1_180.0, 73.0, -13.1, edge=42.0, stderr=18.0, pnl_sd=85.0)
replaced = StraddleRisk._replace


@pytest.mark.parametrize(
    ("sizing", "raw", "count", "bound_by"),
    [
        ("fixed", 3.0, 3, "size"),
        ("premium_fraction", 5_000 / 1_180, 4, "size"),
        ("vega", 200 / 73, 2, "size"),
        ("theta_budget", 100 / 13.1, 4, "premium"),
        ("kelly_fraction", 25_000 * 24 / 85**2, 4, "premium"),
    ],
)
def test_straddles_by_each_measure(sizing, raw, count, bound_by):
    found = structure_size(sizing, 100_000.0, RISK, fixed=3)
    assert found == (pytest.approx(raw), count, bound_by)


def test_a_cap_and_buying_power_bound_the_size_and_no_edge_is_no_size():
    assert structure_size("vega", 1e6, RISK, config=SizeConfig(max_straddles=7)).bound_by == "cap"
    assert structure_size("fixed", 1e5, RISK, fixed=3, buying_power=2_500.0)[1:] == (2, "buying_power")
    assert structure_size("kelly_fraction", 1e5, replaced(RISK, edge=18.0)).straddles == 0
    assert structure_size("theta_budget", 1e5, replaced(RISK, theta=0.0)).straddles == 0


@given(
    st.sampled_from(["premium_fraction", "vega", "theta_budget", "kelly_fraction"]),
    st.floats(0, 1e7),
    st.floats(1, 1e5),
    st.floats(0.0, 1e5),
)
def test_no_more_premium_is_paid_than_the_limit_and_twice_the_equity_never_buys_less(
    sizing, equity, premium, power
):
    risk = replaced(RISK, premium=premium)
    found = structure_size(sizing, equity, risk, buying_power=power)
    assert found.straddles * premium <= min(0.05 * equity, power) * (1 + 1e-9) + 1e-6
    assert structure_size(sizing, 2 * equity, risk, buying_power=power).straddles >= found.straddles


def test_hedging_more_often_leaves_less_deviation_and_forecast_error_what_it_is():
    rare, often = (pnl_deviation(5.4, 275.0, 0.16, 5 / 252, hedges, 84.0, 73.0) for hedges in (15, 60))
    assert rare.hedging == pytest.approx(2 * often.hedging)
    assert rare.forecast == often.forecast == 84.0
    # a log volatility moves by 1 a root year: 16 points by 2.254 points in five sessions
    assert often.volatility == pytest.approx(73.0 * 16.0 * (5 / 252) ** 0.5)
    assert often.total == pytest.approx((often.hedging**2 + 84.0**2 + often.volatility**2) ** 0.5)


def test_a_straddle_that_is_sold_again_deviates_as_its_marks_do():
    """Kelly took 14.5 where the P&L of such straddles deviated by 53: hedging and volatility, simulated."""
    rng, paths, days, vol = np.random.default_rng(7), 20_000, 5, 0.16
    gamma, spot, vega = 5.4, 275.0, 73.0
    moves = rng.normal(0.0, vol / math.sqrt(252), (paths, days))
    hedged = 0.5 * gamma * spot**2 * (moves**2 - vol**2 / 252).sum(axis=1)
    level = vol * np.exp(rng.normal(0.0, math.sqrt(days / 252), paths))
    sold = hedged + vega * 100.0 * (level - vol)
    assert pnl_deviation(gamma, spot, vol, days / 252, days, 0.0, vega).total == pytest.approx(
        sold.std(), rel=0.03
    )


@given(
    sizing=st.sampled_from(["fixed", "premium_fraction", "vega", "theta_budget", "kelly_fraction"]),
    equity=st.floats(0.0, 1e7),
    stress=st.floats(0.01, 1e5),
    edge=st.floats(0.0, 1e4),
    power=st.one_of(st.none(), st.floats(0.0, 1e7)),
)
def test_no_size_loses_more_than_the_account_in_a_large_move(sizing, equity, stress, edge, power):
    risk = replaced(RISK, stress=stress, edge=edge, premium=1.0, pnl_sd=0.5)
    found = structure_size(sizing, equity, risk, fixed=10_000, buying_power=power)
    assert found.straddles * stress <= equity * (1 + 1e-6) + 1e-6


class AtOnce(ScaleConfig, frozen=True, kw_only=True):
    passes = 1


@given(
    first=st.integers(1, 8),
    multiple=st.floats(1.0, 5.0),
    edges=st.lists(st.floats(-50.0, 400.0), min_size=3, max_size=60),
)
def test_a_size_follows_the_edge_and_turns_round_only_where_the_edge_has(first, multiple, edges):
    """Added straddles stay until so much of the edge is gone; sold straddles are not bought back."""
    config = AtOnce(max_multiple=multiple)
    hysteresis = config.hysteresis
    rule, held, last = ScaleRule(config, first), first, None
    back = (1.0 + hysteresis) / (2.0 * (1.0 - hysteresis))
    for number, edge in enumerate((100.0, *edges)):
        wanted = rule.wanted(number * 60 * 10**9, held, edge)
        assert 1 <= wanted <= max(multiple * first, held)
        if wanted == held:
            continue
        worth = first * edge / 100.0
        is_more = wanted > held
        if is_more:
            assert wanted <= worth + 1e-6
            assert worth >= (1.0 + hysteresis) * held - 1e-6
        else:
            assert wanted == held - held // 2
            assert worth <= (1.0 - hysteresis) * held + 1e-6
        if last is not None and last[0] and not is_more:
            assert edge <= (1.0 - hysteresis) * last[1] + 1e-6
        elif last is not None and not last[0] and is_more:
            assert edge >= back * last[1] - 1e-6
        held, last = wanted, (is_more, edge)


def test_a_size_waits_for_looks_in_a_row_and_an_unknown_edge_breaks_the_row():
    rule = ScaleRule(ScaleConfig(max_multiple=2), 1)
    edges = (10.0, 25.0, 25.0, None, 25.0, 25.0, 25.0)
    sizes = [rule.wanted(minute * 60 * 10**9, 1, edge) for minute, edge in enumerate(edges)]
    assert sizes == [1, 1, 1, 1, 1, 1, 2]
    worthless = ScaleRule(AtOnce(max_multiple=2), 2)
    assert [worthless.wanted(at * 60 * 10**9, 2, edge) for at, edge in enumerate((-5.0, 50.0, 1.0))] == [
        2
    ] * 3
