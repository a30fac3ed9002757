import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.special import ndtr

from scalpdesk.pricing.svi import SmileFit, SviSmile, _forced, check_arbitrage, flat_smile

VOGT = SviSmile(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)
"""Axel Vogt's example with a butterfly arbitrage (Gatheral and Jacquier 2014, example 3.1)."""

smiles = st.builds(
    lambda lowest, b, rho, m, s: SviSmile(lowest - b * s * (1 - rho**2) ** 0.5, b, rho, m, s),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.6),
    st.floats(-0.7, 0.4),
    st.floats(-0.4, 0.4),
    st.floats(0.3, 1.2),
)
"""In units of the money variance and its root: the shapes that equity chains show."""


def quoted(smile, theta, years, half_width=1e-3, count=31):
    k = np.linspace(-3.0, 3.0, count) * np.sqrt(theta)
    vol = np.sqrt(smile.scaled(theta).total_variance(k) / years)
    return SmileFit(k, vol * (1 - half_width), vol * (1 + half_width), years), vol


def density(smile, k):
    """Risk-neutral density of ln(S_T/F); Gatheral and Jacquier (2014), equation 2.2."""
    root = np.sqrt(smile.total_variance(k))
    d2 = -k / root - 0.5 * root
    return smile.butterfly(k) * np.exp(-0.5 * d2**2) / (root * np.sqrt(2.0 * np.pi))


def test_total_variance_is_gatheral_s_formula():
    smile = SviSmile(0.04, 0.4, -0.4, 0.1, 0.2)
    assert float(smile.total_variance(0.3)) == pytest.approx(
        0.04 + 0.4 * (-0.4 * 0.2 + np.sqrt(0.04 + 0.04)), abs=1e-15
    )
    assert smile.wing_slopes == pytest.approx((0.56, 0.24))
    assert smile.lowest_variance == pytest.approx(
        float(np.min(smile.total_variance(np.linspace(-1, 1, 20001))))
    )


def test_g_agrees_with_differences_of_the_variance():
    k, h = np.linspace(-1.0, 1.0, 21), 1e-4
    w, up, down = (VOGT.total_variance(k + step) for step in (0.0, h, -h))
    slope, bend = (up - down) / (2 * h), (up - 2 * w + down) / h**2
    expected = (1 - k * slope / (2 * w)) ** 2 - slope**2 / 4 * (1 / w + 0.25) + bend / 2
    assert VOGT.butterfly(k) == pytest.approx(expected, abs=1e-6)


def test_vogt_s_smile_is_caught_and_a_flat_one_is_not():
    assert check_arbitrage(VOGT, float(VOGT.total_variance(0.0)), None).butterfly > 0.0
    flat = flat_smile(0.2, 0.25)
    assert check_arbitrage(flat, 0.01, None).is_free
    assert density(flat, 0.01) == pytest.approx(
        np.exp(-((0.01 + 0.005) ** 2) / 0.02) / np.sqrt(2 * np.pi * 0.01), rel=1e-12
    )


def test_a_wing_steeper_than_two_and_a_variance_below_zero_are_caught():
    assert check_arbitrage(SviSmile(0.04, 1.6, 0.5, 0.0, 0.2), 0.1, None).butterfly >= 0.4
    assert check_arbitrage(SviSmile(-0.3, 0.5, 0.0, 0.0, 0.2), 0.1, None).butterfly > 0.0


def test_a_calendar_spread_is_measured_in_volatility():
    early, late = flat_smile(0.30, 0.1), flat_smile(0.20, 0.1)
    assert check_arbitrage(late, 0.004, early).calendar == pytest.approx(1.0 / 3.0)
    assert check_arbitrage(early, 0.009, late).is_free


@settings(deadline=None)
@given(smiles, smiles, st.floats(0.8, 3.0))
def test_a_crossing_is_found_however_far_out(early, late, growth):
    late = late.scaled(growth)
    found = check_arbitrage(late, growth, early).calendar
    k = np.concatenate((-np.geomspace(1e4, 1e-3, 4000), np.geomspace(1e-3, 1e4, 4000)))
    fall = float(np.max(1.0 - np.sqrt(late.total_variance(k) / early.total_variance(k))))
    assert (found > 0.0) == (fall > 1e-9)


def test_the_density_integrates_to_one_and_to_the_forward():
    smile = SviSmile(0.4, 0.45, -0.4, 0.1, 0.7).scaled(0.02)
    k = np.linspace(-2.5, 2.5, 100_001)
    mass = density(smile, k)
    assert np.trapezoid(mass, k) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(mass * np.exp(k), k) == pytest.approx(1.0, abs=1e-6)


def test_the_density_prices_calls_as_black_does():
    smile = SviSmile(0.4, 0.45, -0.4, 0.1, 0.7).scaled(0.02)
    k = np.linspace(-2.5, 2.5, 100_001)
    for at in (-0.2, 0.0, 0.15):
        root = float(np.sqrt(smile.total_variance(at)))
        black = ndtr(-at / root + root / 2) - np.exp(at) * ndtr(-at / root - root / 2)
        payoff = np.maximum(np.exp(k) - np.exp(at), 0.0)
        assert np.trapezoid(density(smile, k) * payoff, k) == pytest.approx(black, abs=1e-6)


def test_recovers_the_parameters_it_was_made_from():
    made = SviSmile(0.35, 0.5, -0.5, 0.2, 0.6)
    fit, _ = quoted(made, 0.01, 0.1, half_width=1e-4)
    got = fit.free().scaled(1.0 / 0.01)
    for name in ("a", "b", "rho", "m", "s"):
        assert getattr(got, name) == pytest.approx(getattr(made, name), abs=2e-3), name


@settings(deadline=None, max_examples=60)
@given(smiles, st.floats(-14.0, -1.0), st.floats(1e-6, 2.0))
def test_recovers_any_smile_at_any_scale(smile, log_theta, years):
    fit, vol = quoted(smile, np.exp(log_theta), years)
    got = np.sqrt(fit.free().total_variance(fit.k) / years)
    assert np.max(np.abs(got / vol - 1.0)) < 1e-3


@settings(deadline=None, max_examples=60)
@given(smiles, st.integers(0, 2**32 - 1), st.floats(0.001, 0.2))
@example(SviSmile(0.357421875, 0.546875, 0.0, 0.1875, 0.375), 481, 0.15625)  # a dip between grid points
def test_held_fits_of_noisy_quotes_have_a_density(smile, seed, noise):
    theta, years = 0.004, 0.05
    fit, vol = quoted(smile, theta, years)
    noisy = vol * np.exp(noise * np.random.default_rng(seed).standard_normal(len(vol)))
    rough = SmileFit(fit.k, noisy * 0.99, noisy * 1.01, years)
    held, left = rough.without_arbitrage(rough.free(), None)
    assert left.is_free
    k = np.linspace(-12.0, 12.0, 4001) * np.sqrt(theta)
    assert np.min(held.total_variance(k)) > 0.0
    assert np.min(density(held, k)) >= -1e-6


def test_a_refit_from_the_last_fit_ends_where_a_cold_one_does():
    made = SviSmile(0.35, 0.5, -0.5, 0.2, 0.6)
    fit, _ = quoted(made, 0.01, 0.1)
    cold = fit.free()
    moved = SmileFit(fit.k + 0.004, fit.low_vol * 1.02, fit.high_vol * 1.02, fit.years)
    warm = moved.free(cold)
    assert warm.total_variance(moved.k) == pytest.approx(moved.free().total_variance(moved.k), rel=1e-4)


def test_one_bad_quote_pulls_little():
    made = SviSmile(0.35, 0.5, -0.5, 0.2, 0.6)
    fit, vol = quoted(made, 0.01, 0.1, half_width=0.01)
    low, high = fit.low_vol.copy(), fit.high_vol.copy()
    low[15], high[15] = 2.0 * low[15], 2.0 * high[15]
    got = np.sqrt(SmileFit(fit.k, low, high, fit.years).free().total_variance(fit.k) / fit.years)
    assert np.max(np.abs(got / vol - 1.0)) < 0.01


@pytest.mark.rows("before", [None, flat_smile(0.3, 0.25), SviSmile(0.0, 0.3, -0.5, 0.0, 0.3)])
@pytest.mark.rows("broken", [VOGT, SviSmile(0.02, 1.5, 0.6, 0.0, 0.05), SviSmile(-0.2, 0.5, 0.0, 0.1, 0.3)])
def test_the_last_resort_always_has_a_way_out(broken, before):
    theta = max(float(broken.total_variance(0.0)), 1e-3)
    assert not check_arbitrage(broken, theta, before).is_free
    assert any(check.is_free for _, check in _forced(broken, theta, before, 0.0))


def test_quotes_that_no_smile_fits_still_end_in_one_without_arbitrage():
    """A saw of ten volatility points between neighbouring strikes, on top of a steeper, higher expiry."""
    k = np.linspace(-0.3, 0.3, 21)
    level = 0.25 + 0.05 * (-1.0) ** np.arange(21)
    saw = SmileFit(k, level - 1e-4, level + 1e-4, 0.1)
    before = SviSmile(0.002, 0.2, -0.8, 0.05, 0.02)
    held, left = saw.without_arbitrage(saw.free(), before)
    assert left.is_free
    wide = np.linspace(-3.0, 3.0, 2001)
    assert np.all(held.total_variance(wide) >= before.total_variance(wide) * (1.0 - 1e-8))
    assert np.min(held.butterfly(wide)) > -1e-3


def test_a_free_fit_is_the_least_squares_solution_of_an_independent_solver():
    fit, vol = quoted(SviSmile(0.3, 0.5, -0.5, 0.05, 0.6), 0.004, 0.1, half_width=0.01, count=25)
    noisy = vol * (1 + 0.005 * np.sin(7.0 * np.arange(len(vol))))
    fit = SmileFit(fit.k, noisy * 0.99, noisy * 1.01, 0.1)
    theta = fit.theta
    prior = np.array([0.02, 0.02, 0.1, 0.1, 0.3])

    def smile_of(v):
        b, s, rho = np.exp(v[1]), np.exp(v[4]), np.tanh(v[2])
        return SviSmile(np.exp(v[0]) - b * s * np.sqrt(1 - rho**2), b, rho, v[3], s).scaled(theta)

    def residuals(v):  # every quote lies within one half-spread, where Huber's loss is the square
        model = np.sqrt(smile_of(v).total_variance(fit.k) / 0.1)
        return np.concatenate(((model - noisy) / (0.01 * noisy), prior * v))

    best = least_squares(residuals, [-1.0, -0.7, -0.5, 0.0, -0.5], xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    expected = np.sqrt(smile_of(best).total_variance(fit.k) / 0.1)
    assert np.sqrt(fit.free().total_variance(fit.k) / 0.1) == pytest.approx(expected, abs=2e-7)
