"""Deltas by how a strike's volatility moves with the spot, and the noise that a hedge must exceed."""

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.hedging.delta_models import (
    fit_minimum_variance,
    least_hedge,
    minimum_variance_delta,
    skew_delta,
)
from scalpdesk.pricing.scalar import option_greeks


def test_the_skew_turns_the_delta_of_a_straddle_by_its_stickiness():
    # 30 days at the money, volatility 16: at a stickiness of 1.5 eleven shares more per hundred are held
    years, spot = 28.7 / 252, 275.0
    vega = 2.0 * option_greeks(spot, spot, years, 0.16, True, american=False).vega
    assert skew_delta(vega, spot, -0.83, 1.0) == 0.0
    assert 100 * skew_delta(vega, spot, -0.83, 1.5) == pytest.approx(-11.2, abs=0.1)
    assert skew_delta(vega, spot, -0.83, 0.0) == -2.0 * skew_delta(vega, spot, -0.83, 1.5)


def test_minimum_variance_shifts_call_and_put_alike():
    # parity: the two deltas still differ by one; without coefficients nothing moves
    assert minimum_variance_delta(275.0, 280.0, 0.1, 0.15, (0.0, 0.0, 0.0)) == 0.0
    shift = minimum_variance_delta(275.0, 275.0, 28.7 / 252, 0.16, (-0.25, 0.4, -0.5))
    assert shift == pytest.approx(-0.0702420627611, rel=1e-9)


@pytest.mark.rows(("deviation", "least"), [(0.0, 1), (0.0043, 3), (0.043, 24)])
def test_a_hedge_exceeds_the_noise_of_its_delta(deviation, least):
    assert least_hedge(2.68789002179 * deviation * 100) == least


def test_the_fit_of_minimum_variance_finds_the_coefficients_that_made_the_data():
    """Calls of a market whose volatility moves with the spot by the formula itself, without other noise."""
    rng = np.random.default_rng(3)
    spot, years, d_spot = 275.0, rng.uniform(0.02, 0.2, 200), rng.normal(0.0, 2.5, 200)
    delta, a, b, c = rng.uniform(0.05, 0.95, 200), -0.25, 0.40, -0.35
    vega = rng.uniform(10.0, 40.0, 200)
    by_vol = vega * d_spot / (spot * np.sqrt(years)) * (a + b * delta + c * delta**2)
    found = fit_minimum_variance(delta * d_spot + by_vol, delta, vega, np.full(200, spot), years, d_spot)
    assert found.coefficients == pytest.approx((a, b, c), abs=1e-9)
    assert found.gain == pytest.approx(1.0)
    noise = rng.normal(0.0, by_vol.std(), 200)  # as large as what is to be explained
    halved = fit_minimum_variance(
        delta * d_spot + by_vol + noise, delta, vega, np.full(200, spot), years, d_spot
    )
    assert 0.3 < halved.gain < 0.7


@pytest.mark.parametrize("rows", [(1, 1), (5, 4)])
def test_a_fit_without_rows_enough_is_refused(rows):
    long, short = rows
    with pytest.raises(ArgumentError, match="three rows"):
        fit_minimum_variance(*[np.ones(long)] * 5, np.ones(short))
