"""Every Greek is finite and the slope of the price, over far more than what is traded."""

import numpy as np
import pytest

from scalpdesk.pricing import greeks
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import option_greeks

COUNT = 200
NAMES = OptionGreeks._fields


class Options:
    """Random options: seconds to five years, volatilities of 0.5 to 500 %, rates at and around 0."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)

        def rates(low, high):
            drawn = np.where(rng.random(count) < 0.1, 0.0, rng.uniform(low, high, count))
            return np.where(rng.random(count) < 0.2, drawn * 1e-4, drawn)

        self.spot = 10.0 ** rng.uniform(0.0, 4.0, count)
        self.years = 10.0 ** rng.uniform(-6.0, np.log10(5.0), count)
        self.vol = 10.0 ** rng.uniform(np.log10(0.005), np.log10(5.0), count)
        self.rate, self.dividend_yield = rates(-0.05, 0.15), rates(-0.05, 0.30)
        far = np.clip(
            rng.normal(0.0, 1.5, count) * np.minimum(self.vol * np.sqrt(self.years), 3.0), -6.0, 6.0
        )
        near = rng.normal(0.0, 0.02, count)
        self.strike = self.spot * np.exp(np.where(rng.random(count) < 0.3, near, far))
        self.is_call = rng.random(count) < 0.5

    def greeks(self, *, spot=None, vol=None, rate=None, years=None):
        return greeks(
            self.spot if spot is None else spot,
            self.strike,
            self.years if years is None else years,
            self.vol if vol is None else vol,
            self.is_call,
            rate=self.rate if rate is None else rate,
            dividend_yield=self.dividend_yield,
        )


@pytest.fixture(scope="module")
def options():
    return Options(COUNT, seed=20)


@pytest.fixture(scope="module")
def found(options):
    return options.greeks()


def test_every_greek_is_finite(found):
    for name in NAMES:
        assert np.isfinite(getattr(found, name)).all(), name


@pytest.mark.rows(
    ("spot", "strike", "years", "vol", "is_call", "rate", "dividend_yield"),
    [
        (1150.9040259271212, 1157.837595111883, 4.6436938946552304e-07, 0.0358, False, 5.134e-09, 5.4705e-06),
        (8895.878176941484, 2810.4732172130603, 1.9468570503351988e-08, 0.01475, False, 0.1167, 0.22912),
        (
            5.864972845186107,
            5.331168951635055,
            1.0573767063278289e-08,
            0.01165,
            False,
            7.8469e-06,
            1.0736e-05,
        ),
        (8.012947088410852, 8.029558710814468, 1.08819, 0.012233822508875315, True, 0.00345874, 0.27944589),
        (100.0, 174.958, 0.14588, 3.04, False, 0.0, -0.00553),
    ],
)
def test_options_that_once_had_no_finite_greeks_have(spot, strike, years, vol, is_call, rate, dividend_yield):
    g = greeks(spot, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield)
    assert np.isfinite([getattr(g, name) for name in NAMES]).all()
    intrinsic = max(spot - strike if is_call else strike - spot, 0.0)
    assert intrinsic <= float(g.price) <= max(spot, strike)


@pytest.mark.second
def test_greeks_are_finite_for_the_shortest_times_and_the_smallest_and_largest_volatilities():
    rng = np.random.default_rng(77)
    count = 500
    spot = 10.0 ** rng.uniform(-2.0, 5.0, count)
    strike = spot * np.exp(rng.normal(0.0, 1.0, count) * rng.choice([0.01, 0.2, 2.0], count))
    years = 10.0 ** rng.uniform(-8.0, 1.6, count)
    vol = 10.0 ** rng.uniform(-4.0, 2.0, count)
    is_call = rng.random(count) < 0.5
    # few pairs of rates, whose tables are shared
    for rate, dividend_yield in [(0.04, 0.0), (0.0, 0.05), (0.117, 0.229), (5e-9, 5e-6), (-0.01, -0.005)]:
        own = ~is_call if rate < 0.0 else np.full(count, fill_value=True)  # such calls have two boundaries
        terms = (spot[own], strike[own], years[own], vol[own], is_call[own])
        g = greeks(*terms, rate=rate, dividend_yield=dividend_yield)
        for name in NAMES:
            assert np.isfinite(getattr(g, name)).all(), name


def test_spot_and_volatility_slopes_are_those_of_the_price(options, found):
    deviation = options.vol * np.sqrt(options.years)
    step = 1e-3 * options.spot * np.minimum(deviation, 0.3)
    bump = 1e-3 * options.vol
    above, below = options.greeks(spot=options.spot + step), options.greeks(spot=options.spot - step)
    wilder, calmer = options.greeks(vol=options.vol + bump), options.greeks(vol=options.vol - bump)
    # gamma jumps at the exercise boundary; below a minute the differences are the rounding of the price
    smooth = options.years > 2e-6
    for shifted in (found, above, below, wilder, calmer):
        smooth &= shifted.gamma != 0.0
    assert smooth.sum() > COUNT / 2
    scaled = {
        "delta": (found.delta - (above.price - below.price) / (2 * step), 1.0, 5e-3),
        "gamma": (found.gamma - (above.delta - below.delta) / (2 * step), options.spot * deviation, 3e-2),
        "vega": (
            found.vega - (wilder.price - calmer.price) / (2 * bump),
            1.0 / (options.spot * np.sqrt(options.years)),
            3e-3,
        ),
        "vanna": (found.vanna - (wilder.delta - calmer.delta) / (2 * bump), options.vol, 2e-3),
    }
    for name, (gap, scale, limit) in scaled.items():
        gaps = np.abs(gap * scale)[smooth]
        assert gaps.max() <= limit, name
        assert np.quantile(gaps, 0.98) <= 1e-3 * max(1.0, limit / 1e-2), name


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows("gain", [0.0, 1e-9, 1e-6, 3e-5])
def test_rho_is_the_slope_of_the_price_at_rates_near_zero(is_call, gain):
    # the rate that exercise earns is next to nothing: the two sides of the boundary's equation vanish
    cost = -0.006 if gain == 0.0 else 0.15
    vols = np.array([0.2, 0.8, 2.0])
    step = 1e-5 if gain == 0.0 else 0.4 * gain

    def priced(shift=0.0):
        rate, dividend_yield = (cost + shift, gain) if is_call else (gain + shift, cost)
        return greeks(100.0, 104.0, 0.3, vols, is_call, rate=rate, dividend_yield=dividend_yield)

    up, down = (priced(step), priced(0.0)) if gain == 0.0 else (priced(step), priced(-step))
    slope = (up.price - down.price) / (step if gain == 0.0 else 2.0 * step)
    assert priced().rho == pytest.approx(slope, abs=3e-2 if gain <= 1e-6 else 3e-3)


def perpetual_price(is_call, spot, strike, vol, rate, dividend_yield):
    """Merton (1973): the American option without expiry."""
    variance = 0.5 * vol * vol
    tilt = (rate - dividend_yield) / variance - 1.0
    root = np.sqrt(tilt * tilt + 4.0 * rate / variance)
    power = 0.5 * (-tilt + root) if is_call else 0.5 * (-tilt - root)
    boundary = strike * power / (power - 1.0)
    return abs(boundary - strike) * (spot / boundary) ** power


@pytest.mark.rows(
    ("is_call", "spot", "years", "vol", "rate", "dividend_yield"),
    [
        (True, 99.79, 1.09, 0.01223, 0.00346, 0.2794),
        (True, 99.79, 5.0, 0.01223, 0.00346, 0.2794),
        (True, 99.8, 0.47, 0.0057, 0.0, 0.1728),
        (False, 100.3, 4.0, 0.02, 0.12, 0.0),
        (False, 102.0, 30.0, 0.05, 0.10, 0.01),
    ],
)
def test_an_option_whose_drift_outruns_its_volatility_is_a_perpetual_one(
    is_call, spot, years, vol, rate, dividend_yield
):
    g = greeks(spot, 100.0, years, vol, is_call, rate=rate, dividend_yield=dividend_yield)
    expected = perpetual_price(is_call, spot, 100.0, vol, rate, dividend_yield)
    assert float(g.price) == pytest.approx(expected, rel=2e-2, abs=1e-9)
    assert abs(float(g.theta)) <= 2e-2 * expected + 1e-6


def test_single_options_have_the_digits_of_the_arrays(options, found):
    for index in range(0, COUNT, 5):
        alone = option_greeks(
            options.spot[index],
            options.strike[index],
            options.years[index],
            options.vol[index],
            bool(options.is_call[index]),
            options.rate[index],
            options.dividend_yield[index],
        )
        assert alone == tuple(getattr(found, name)[index] for name in NAMES)
