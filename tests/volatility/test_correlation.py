"""Correlation of returns: known values, nights and gaps, and amounts taken together."""

import math

import numpy as np
import pytest

from scalpdesk.volatility.correlation import LEAST_OBSERVATIONS, ReturnCorrelation, combined


def fed(prices, half_life=1e9):
    found = ReturnCorrelation(len(prices[0]), half_life)
    for row in prices:
        found.add([float(price) for price in row])
    return found


def walk(rho, count, seed=1):
    """Return two prices whose log returns correlate by ``rho``, of 10 and of 20 basis points."""
    first, other = np.random.default_rng(seed).standard_normal((2, count))
    second = rho * first + math.sqrt(1.0 - rho * rho) * other
    return np.exp(np.cumsum(np.stack((0.001 * first, 0.002 * second), axis=1), axis=0)) * (270.0, 180.0)


@pytest.mark.rows("rho", [-0.95, -0.4, 0.0, 0.3, 0.944])
def test_the_known_correlation_of_a_generator_is_found(rho):
    count = 20_000
    found = fed(walk(rho, count)).matrix()
    assert found[0][1] == found[1][0] == pytest.approx(rho, abs=4.0 * (1.0 - rho * rho) / math.sqrt(count))
    assert [found[0][0], found[1][1]] == [pytest.approx(1.0), pytest.approx(1.0)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_prices_in_step_correlate_wholly(sign):
    prices = walk(0.0, 100)[:, 0]
    assert fed(np.stack((prices, prices**sign), axis=1)).matrix()[0][1] == pytest.approx(sign)


def test_it_is_numpys_about_zero_with_equal_weights():
    prices = walk(0.5, 200)
    returns = np.diff(np.log(prices), axis=0)
    expected = (returns.prod(axis=1)).sum() / math.sqrt((returns**2).sum(axis=0).prod())
    assert fed(prices).matrix()[0][1] == pytest.approx(expected)


def test_the_latest_returns_weigh_most():
    prices = np.concatenate((walk(0.9, 2_000), walk(-0.9, 2_000, seed=2)))
    assert fed(prices, half_life=100.0).matrix()[0][1] == pytest.approx(-0.9, abs=0.08)


def test_a_night_and_an_unknown_price_leave_no_return():
    found = fed(walk(0.9, 50))
    before, count = found.matrix(), found.observations
    found.forget_prices()
    found.add([300.0, 100.0])
    found.add([301.0, None])
    assert (found.matrix(), found.observations) == (before, count)


def test_it_is_not_known_at_first_nor_while_a_price_stands_still():
    prices = walk(0.9, LEAST_OBSERVATIONS + 1)
    assert fed(prices[:-1]).matrix() is None
    assert fed(prices).matrix() is not None
    prices[:, 1] = 180.0
    assert fed(prices).matrix() is None


@pytest.mark.rows(
    ("rho", "size"), [(1.0, 200.0), (0.0, math.hypot(500.0, 300.0)), (-1.0, 800.0), (0.5, None)]
)
def test_amounts_together(rho, size):
    """A long and a short: wholly correlated their difference is left, against each other their sum."""
    found = combined((500.0, -300.0), ((1.0, rho), (rho, 1.0)))
    expected = math.sqrt(500.0**2 + 300.0**2 - 2.0 * rho * 500.0 * 300.0)
    assert found == pytest.approx(expected)
    assert size is None or found == pytest.approx(size)
