"""Beside and beyond the exercise boundary, where the golden rows do not go."""

import numpy as np
import pytest

from scalpdesk.pricing import greeks
from scalpdesk.pricing.american import WITHOUT
from scalpdesk.pricing.base import checked_inputs
from scalpdesk.pricing.kernels.grid import fill_by_grid

PUT, CALL = False, True
REGIMES = [
    # rate, yield, volatility, side
    (0.05, 0.0, 0.2, PUT),
    (0.05, 0.02, 0.8, PUT),
    (0.01, 0.06, 1.2, PUT),  # yield above the rate, high volatility: the boundary starts at r/q
    (0.03, 0.0301, 0.9, PUT),
    (0.06, 0.01, 1.2, CALL),
    (0.0, 0.05, 0.4, CALL),
    (-0.02, 0.03, 0.5, CALL),
    (-0.02, 0.0, 0.3, CALL),
]


def exercise_spot(terms, years, vol, call):
    """Spot at which the strike of 100 is just exercised, by bisection on delta."""
    inside, outside = (5000.0, 60.0) if call else (1.0, 180.0)
    for _ in range(70):
        middle = 0.5 * (inside + outside)
        if float(greeks(middle, 100.0, years, vol, call, **terms).delta) == (1.0 if call else -1.0):
            inside = middle
        else:
            outside = middle
    return outside


@pytest.mark.rows("years", [1 / 8760, 7 / 365, 0.3, 1.0])
@pytest.mark.rows(("rate", "dividend_yield", "vol", "call"), REGIMES)
def test_value_and_slope_join_smoothly_at_the_boundary(rate, dividend_yield, vol, call, years):
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    edge = exercise_spot(terms, years, vol, call)
    sign, away = (1.0, -1.0) if call else (-1.0, 1.0)
    steps = np.array([1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.2])
    spots = edge * np.exp(away * steps * vol * np.sqrt(years))
    g = greeks(spots, 100.0, years, vol, call, **terms)
    intrinsic = sign * (spots - 100.0)
    # high contact: what the price adds to intrinsic starts with the square of the distance
    assert (g.price - intrinsic >= -2e-8 * 100.0).all()
    assert abs(float(g.price[0]) - intrinsic[0]) <= 3e-5
    assert float(g.delta[0]) == pytest.approx(sign, abs=2e-4)
    assert (sign * g.delta <= 1.0 + 1e-4).all()
    # the pricing equation at value |S - K|, slope of one and no decay leaves only gamma
    expected = 2.0 * abs(rate * 100.0 - dividend_yield * edge) / (vol * edge) ** 2
    assert float(g.gamma[0]) == pytest.approx(expected, rel=0.02)
    beyond = greeks(edge * np.exp(-away * np.array([1e-6, 0.1, 1.0])), 100.0, years, vol, call, **terms)
    assert (beyond.delta == sign).all()
    assert (beyond.gamma == 0.0).all()
    assert (beyond.theta == 0.0).all()


@pytest.mark.rows(("rate", "dividend_yield", "vol", "call"), REGIMES)
def test_the_boundary_method_agrees_with_finite_differences_beside_the_boundary(
    rate, dividend_yield, vol, call
):
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    edge = exercise_spot(terms, 0.3, vol, call)
    price, delta, gamma = found = np.empty((3, 1))
    for step in (0.02, 0.2, 0.6):
        spot = edge * np.exp((-1.0 if call else 1.0) * step * vol * np.sqrt(0.3))
        g = greeks(spot, 100.0, 0.3, vol, call, **terms)
        fill_by_grid(checked_inputs(spot, 100.0, 0.3, vol, call, **terms).terms(), WITHOUT, False, found)
        assert float(g.price) == pytest.approx(price[0], abs=1e-5 * max(spot, 100.0))
        assert float(g.delta) == pytest.approx(delta[0], abs=2e-4)
        if step > 0.1:  # closer, the grid's own gamma smears the jump over its cells
            assert float(g.gamma) == pytest.approx(gamma[0], rel=0.02)


@pytest.mark.rows(("rate", "dividend_yield"), [(-0.01, -0.03), (-0.005, -0.02), (-0.02, -0.05)])
def test_two_boundaries_leave_prices_between_their_bounds(rate, dividend_yield):
    # yield below a negative rate: a put is exercised between two boundaries only
    spots = np.linspace(40.0, 180.0, 29)
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    g = greeks(spots, 100.0, 0.5, 0.25, PUT, **terms)
    european = greeks(spots, 100.0, 0.5, 0.25, PUT, style="european", **terms).price
    assert (g.price >= np.maximum(european, 100.0 - spots) - 1e-4).all()
    assert (g.price <= 100.0 * np.exp(-rate * 0.5)).all()
    assert (np.diff(g.price) <= 1e-9).all()
    assert (np.diff(g.price, 2) >= -1e-5).all()
    mirrored = greeks(100.0, spots, 0.5, 0.25, CALL, rate=dividend_yield, dividend_yield=rate)
    assert mirrored.price == pytest.approx(g.price, abs=5e-4)
    assert np.isfinite([g.vega, g.theta, g.rho, g.charm]).all()
