"""Statistics of daily P&L: against independent calculations, limit cases and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.report.statistics import (
    bootstrap_interval,
    drawdown,
    error_of_mean,
    mean_block_length,
    quantile_interval,
    sharpe_ratio,
    sortino_ratio,
    stationary_positions,
    trade_figures,
)
from scalpdesk_testing.field_formulas import bootstrap_error_of_mean

PNL = [12.4, -8.1, -3.3, 25.0, -14.2, 3.1, -6.6, -2.0, 41.5, -9.9, -12.3, 7.7, 0.0, -5.1, 18.2, -20.4, 4.4]
amounts = st.lists(st.floats(-1e4, 1e4).map(lambda x: round(x, 2)), min_size=2, max_size=60)


def test_uncorrelated_sharpe_is_the_textbook_one() -> None:
    ratio = sharpe_ratio(PNL, lags=0)
    expected = np.mean(PNL) / np.std(PNL, ddof=1)
    assert ratio.per_period == pytest.approx(expected, rel=1e-12)
    assert ratio.annual == pytest.approx(expected * math.sqrt(252), rel=1e-12)


def test_positive_autocorrelation_lowers_the_annual_sharpe() -> None:
    noise = np.random.default_rng(5).normal(1, 10, 2_000)
    trending = np.convolve(noise, np.ones(5) / 5, "valid")
    ratio = sharpe_ratio(trending, lags=10)
    assert ratio.annual is not None
    assert ratio.annual < 0.7 * ratio.annual_independent
    # five-day means have the variance of a year's sum that the noise itself has: its Sharpe comes back
    assert ratio.annual == pytest.approx(sharpe_ratio(noise, lags=0).annual, rel=0.2)


def test_amounts_that_do_not_vary_have_no_sharpe() -> None:
    with pytest.raises(ValueError, match="do not vary"):
        sharpe_ratio([3.0, 3.0, 3.0])
    with pytest.raises(ValueError, match="do not vary"):
        sharpe_ratio([0.1] * 7)  # whose deviation is 1.5e-17 in floats
    with pytest.raises(ValueError, match="2 or more finite"):
        sharpe_ratio([3.0, math.nan])


def test_sortino_counts_losses_only() -> None:
    assert sortino_ratio([1.0, 2.0]) is None
    # mean 1, downside deviation √((0 + 4 + 0 + 0) / 4) = 1
    assert sortino_ratio([2.0, -2.0, 3.0, 1.0], periods=1) == pytest.approx(1.0)


@given(curve=st.lists(st.floats(1, 1e4), min_size=1, max_size=40))
def test_drawdown_is_the_largest_of_all_pairs(curve: list[float]) -> None:
    fall = drawdown(curve)
    largest = max(curve[i] - curve[j] for j in range(len(curve)) for i in range(j + 1))
    assert fall.amount == pytest.approx(largest)
    assert fall.peak <= fall.trough
    if fall.recovered is not None:
        assert curve[fall.recovered] >= curve[fall.peak]


@given(pnl=amounts)
def test_trades_add_up(pnl: list[float]) -> None:
    figures = trade_figures(pnl)
    assert figures.expectancy * figures.number == pytest.approx(sum(pnl), abs=1e-6)
    if figures.hit_rate is not None and figures.payoff is not None and figures.profit_factor is not None:
        odds = figures.hit_rate / (1 - figures.hit_rate)
        assert figures.profit_factor == pytest.approx(odds * figures.payoff, rel=1e-9)


def test_error_of_the_mean_is_the_textbook_one_without_lags() -> None:
    assert error_of_mean(PNL, 0) == pytest.approx(np.std(PNL) / math.sqrt(len(PNL)), rel=1e-12)


def test_exact_bootstrap_error_is_met_by_sampling() -> None:
    series, block, draws = np.asarray(PNL), 4.0, 4_000
    generator, number = np.random.default_rng(7), len(series)
    starts = generator.integers(number, size=draws)
    steps = ((generator.integers(number, size=draws), generator.random(draws)) for _ in range(number - 1))
    means = series[stationary_positions(starts, steps, number, block)].mean(axis=1)
    exact = bootstrap_error_of_mean(PNL, block)
    assert np.std(means) == pytest.approx(exact, rel=0.04)  # standard error of a deviation: 1.1 %
    # blocks of one are the ordinary bootstrap
    assert bootstrap_error_of_mean(PNL, 1.0) == pytest.approx(np.std(PNL) / math.sqrt(len(PNL)), rel=1e-12)


def test_interval_of_the_mean_covers_as_it_says() -> None:
    generator = np.random.default_rng(11)
    inside = 0
    for _ in range(120):
        sample = generator.normal(2.0, 10.0, 120)
        ends = bootstrap_interval(sample, np.mean, level=0.9, draws=300, seed=3)
        inside += ends.low <= 2.0 <= ends.high
    assert 0.80 <= inside / 120 <= 0.98  # 0.9 ± 3 standard errors of 0.027


def test_interval_is_the_same_for_the_same_seed() -> None:
    assert bootstrap_interval(PNL, np.mean, seed=4) == bootstrap_interval(PNL, np.mean, seed=4)
    assert bootstrap_interval(PNL, np.mean, seed=4) != bootstrap_interval(PNL, np.mean, seed=5)


def test_blocks_follow_the_dependence() -> None:
    rho, number = 0.8, 4_000
    shocks = np.random.default_rng(2).normal(size=number)
    series = np.empty(number)
    series[0] = shocks[0]
    for i in range(1, number):
        series[i] = rho * series[i - 1] + shocks[i]
    # first-order autoregression: (2 G² / D · n)^⅓ with G / g(0) = 2ρ / (1 − ρ²), D = 2 g(0)²
    expected = (2 * (2 * rho / (1 - rho**2)) ** 2 / 2 * number) ** (1 / 3)
    assert mean_block_length(series) == pytest.approx(expected, rel=0.3)
    assert mean_block_length(shocks) < 5
    assert mean_block_length([1.0] * 8) == 5.0
    assert mean_block_length([1.0, 2.0]) == 2.0


def test_quantiles_interpolate() -> None:
    ends = quantile_interval([0.0, 1.0, 2.0, 3.0, 4.0], 0.5)
    assert (ends.low, ends.high) == (1.0, 3.0)
