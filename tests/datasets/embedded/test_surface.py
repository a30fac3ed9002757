import math
from datetime import date
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.datasets.embedded.days import market_day
from scalpdesk.datasets.embedded.path import UnderlyingPath
from scalpdesk.datasets.embedded.surface import (
    money_variance_from_vix,
    option_prices,
    smile_factor,
    swap_over_money,
    total_variance,
    variance_years,
    vix_path,
)

THETAS = st.floats(1e-7, 0.2)
VIX_LEVELS = st.floats(9.0, 60.0)


@given(theta=THETAS, share=st.floats(100.0, 400.0))
def test_no_butterfly_arbitrage_on_a_dense_grid_of_strikes(theta, share):
    strikes = share * np.exp(np.sqrt(theta) * np.linspace(-8.0, 8.0, 161))
    call, put, *_ = option_prices(np.full(161, share), strikes, np.full(161, theta))
    slope = np.diff(call) / np.diff(strikes)
    small = 1e-9
    assert np.all(np.diff(slope) >= -small)
    assert np.all(slope <= small)
    assert np.all(slope >= -1.0 - small)
    assert np.all(call >= np.maximum(share - strikes, 0.0) - small)
    assert np.all(put >= np.maximum(strikes - share, 0.0) - small)


@given(vix=VIX_LEVELS, near=st.floats(1e-4, 0.3), further=st.floats(1e-4, 0.3))
def test_no_calendar_arbitrage_at_any_strike(vix, near, further):
    variance = money_variance_from_vix(np.array([vix]))
    strikes = 200.0 * np.exp(np.linspace(-0.6, 0.6, 81))
    share = np.full(81, 200.0)
    first, second = (
        option_prices(share, strikes, np.full(81, total_variance(variance, np.array([years]))[0]))[0]
        for years in (near, near + further)
    )
    assert np.all(second >= first - 1e-9)


@given(theta=THETAS, share=st.floats(100.0, 400.0), log_strike=st.floats(-0.5, 0.5))
def test_parity_is_exact(theta, share, log_strike):
    strike = share * np.exp(log_strike)
    call, put, *_ = option_prices(np.array([share]), np.array([strike]), np.array([theta]))
    assert call[0] - put[0] == pytest.approx(share - strike, abs=1e-9)


def test_the_smile_falls_with_the_strike_and_rises_again_far_out():
    y = np.array([-3.0, -1.0, 0.0, 1.0, 4.0])
    below, low, money, high, far = smile_factor(y)
    assert money == pytest.approx(1.0)
    assert below > low > money > high
    assert far > high


def black_call(share, strike, root):
    d1 = math.log(share / strike) / root + 0.5 * root
    return share * NormalDist().cdf(d1) - strike * NormalDist().cdf(d1 - root)


def test_call_delta_is_the_slope_of_the_price_when_the_smile_moves_with_the_share():
    # At a fixed total variance of the strike the Black delta is the derivative: check with a flat move.
    share, strike, theta = np.array([200.0]), np.array([205.0]), np.array([0.002])
    total = theta * smile_factor(np.log(strike / share) / np.sqrt(theta))
    found, root = option_prices(share, strike, theta), float(np.sqrt(total)[0])
    assert found.deviation[0] == pytest.approx(root, rel=1e-15)
    up, down = (black_call(spot, 205.0, root) for spot in (200.001, 199.999))
    assert found.call[0] == pytest.approx(black_call(200.0, 205.0, root), abs=1e-12)
    assert found.call_delta[0] == pytest.approx((up - down) / 0.002, abs=1e-9)


@given(vix=VIX_LEVELS)
def test_the_whole_smile_at_30_days_is_worth_the_vix(vix):
    years = 30.0 / 365.0
    variance = money_variance_from_vix(np.array([vix]))
    theta = total_variance(variance, np.array([years]))[0]
    # Carr and Madan: 2/T ∫ out-of-the-money price / K² dK, another route than the module takes.
    k = np.linspace(-14.0, 14.0, 8001) * np.sqrt(theta)
    strikes = 100.0 * np.exp(k)
    call, put, *_ = option_prices(np.full(len(k), 100.0), strikes, np.full(len(k), theta))
    integrand = np.where(k > 0, call, put) / strikes
    fair = 2.0 / years * np.sum(0.5 * (integrand[1:] + integrand[:-1]) * np.diff(k))
    assert 100.0 * np.sqrt(fair) == pytest.approx(vix, rel=0.004)


def test_the_whole_smile_is_worth_more_than_the_money():
    assert 1.1 < swap_over_money(0.002) < 1.6


def test_variance_time_of_a_session_ends_at_its_close_and_a_night_follows():
    day, following = date(2018, 2, 5), date(2018, 2, 6)
    edges = np.array([0.0, 0.5, 1.0])
    same = variance_years(day, edges, day, half_day=False) * 252
    later = variance_years(day, edges, following, half_day=False) * 252
    assert same[0] == pytest.approx(0.7)
    assert same[2] == pytest.approx(0.0)
    assert later - same == pytest.approx(1.0)


def test_a_weekend_is_one_night_and_a_holiday_adds_nothing():
    friday, tuesday = date(2018, 1, 12), date(2018, 1, 16)  # Monday 15 January 2018 was a holiday
    close = np.ones(1)
    assert variance_years(friday, close, tuesday, half_day=False)[0] * 252 == pytest.approx(1.0)


def test_a_half_day_carries_less_variance():
    eve = date(2018, 7, 3)
    half = variance_years(eve, np.zeros(1), eve, half_day=True)[0]
    assert half * 252 == pytest.approx(0.7 * 0.6)
    before = variance_years(date(2018, 7, 2), np.ones(1), eve, half_day=False)[0]
    assert before * 252 == pytest.approx(0.3 + 0.7 * 0.6)


def test_the_short_end_reacts_more_than_the_30_day_point():
    calm, wild = money_variance_from_vix(np.array([12.0])), money_variance_from_vix(np.array([37.0]))
    short, long = np.array([0.01]), np.array([0.3])

    def volatility(variance, years):
        return float(np.sqrt(total_variance(variance, years) / years)[0])

    assert volatility(wild, short) > volatility(wild, long)
    assert volatility(calm, short) < volatility(calm, long)
    reaction_short = volatility(wild, short) / volatility(calm, short)
    reaction_long = volatility(wild, long) / volatility(calm, long)
    assert reaction_short > reaction_long


@pytest.mark.parametrize("session", [date(2018, 2, 5), date(2017, 5, 1), date(2015, 8, 24)])
def test_the_vix_starts_from_the_night_and_ends_on_the_real_level(session):
    day = market_day(session)
    seconds = 23_400
    cents = np.linspace(day.open * 10, day.close * 10, seconds + 1).astype(np.int64)
    path = UnderlyingPath(cents, cents, np.array([0, seconds]), np.linspace(0.0, 1.0, seconds + 1))
    level = vix_path(np.random.Generator(np.random.PCG64(1)), day, path)
    assert level[-1] == pytest.approx(day.vix, rel=1e-12)
    night = day.open / day.previous_close
    assert level[0] == pytest.approx(day.previous_vix * night**-8.0, rel=1e-9)
