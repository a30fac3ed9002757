"""Options with known cash dividends at the desk's speed, against other programs and by their laws."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scalpdesk.pricing import greeks
from scalpdesk.pricing.known_dividends import (
    due_by,
    known_corners,
    known_greeks,
    known_implied_vol,
    known_vols_and_greeks,
    value_ahead,
    years_ahead,
)
from scalpdesk.pricing.scalar import PricedState, corner_prices, implied_vol_scalar, option_greeks
from scalpdesk_testing.kit.trees import tree_price

QUOTED = [
    # spot, strike, days to expiry, days from ex to expiry, dividend, call, put, their volatilities
    (209.725, 209.0, 30, 0, 1.033, 3.25, 3.045, 0.1192, 0.1211),
    (216.895, 216.0, 36, 0, 1.329, 3.85, 3.61, 0.1239, 0.1254),
    (232.925, 233.0, 32, 0, 1.033, 2.485, 3.00, 0.0909, 0.0881),
    (208.155, 207.0, 31, 28, 1.078, 4.61, 3.865, 0.1891, 0.1628),
    (194.855, 194.0, 52, 28, 1.033, 6.70, 6.77, 0.2289, 0.2292),
    (205.59, 209.0, 29, 0, 1.0334, 1.66, 5.77, 0.1311, 0.1316),
    (199.8, 209.0, 28, 0, 1.0334, 1.02, 11.075, 0.1798, 0.1815),
    (194.72, 209.0, 24, 0, 1.0334, 0.625, 15.79, 0.2254, 0.2232),
]
"""Mids of SPY, and the volatilities of QuantLib 1.44's FdBlackScholesVanillaEngine, American, 400 by 800, at
a rate of 0.2 %. There the spot itself is lognormal, here the spot less its dividend: up to .15 points apart.
"""
OPTIONS = st.tuples(
    st.booleans(),
    st.floats(-2.0, 2.0),
    st.floats(2.0, 120.0),
    st.floats(0.08, 0.6),
    st.sampled_from([0.0, 0.002, 0.02, 0.05]),
    st.sampled_from([0.0, 0.004]),
    st.floats(0.01, 0.9),
    st.sampled_from([0.3, 1.0, 2.0]),
)
"""Side, deviations from the money, days, volatility, rate, borrow, part of them after the ex-date, amount."""


def terms_of(option):
    is_call, away, days, vol, rate, borrow, part, amount = option
    years = days / 365.0
    spot = 200.0 * math.exp(away * vol * math.sqrt(years))
    return (spot, 200.0, years), vol, (is_call, rate, borrow, ((part * years, amount),))


@pytest.mark.rows("row", QUOTED)
def test_volatility_is_that_of_another_program_to_three_tenths_of_a_point(row):
    spot, strike, days, after, amount, call, put, call_vol, put_vol = row
    schedule = ((max(after / 365.0, 1e-4), amount),)
    for is_call, price, expected in ((True, call, call_vol), (False, put, put_vol)):
        terms = spot, strike, days / 365.0, is_call, 0.002, 0.0, schedule
        vol, status = known_implied_vol(price, *terms, american=True)
        assert status == "ok"
        assert vol == pytest.approx(expected, abs=0.002)


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows(
    ("spot", "vol", "rate", "schedule"),
    [
        (209.7, 0.12, 0.002, ((0.001, 1.033),)),
        (222.0, 0.12, 0.002, ((0.001, 1.033),)),
        (196.0, 0.25, 0.05, ((0.02, 1.8),)),
        (215.0, 0.30, 0.05, ((0.05, 1.8),)),
        (230.0, 0.20, 0.02, ((0.09, 1.0), (0.01, 1.0))),
    ],
)
def test_price_and_delta_are_those_of_a_tree(spot, vol, rate, schedule, is_call):
    terms = 209.0, 0.1, vol, is_call, rate
    found = known_greeks(spot, *terms, 0.0, schedule, american=True)
    assert found.price == pytest.approx(tree_price(spot, *terms, schedule), abs=0.01)
    up, down = (tree_price(spot + by, *terms, schedule) for by in (2.0, -2.0))
    assert found.delta == pytest.approx((up - down) / 4.0, abs=0.002)


DAY = 1.0 / 365.0
EVES = [
    # years to the expiry, from the ex-date to it, and from the last notice to it
    (5 / 24 * DAY + 1.0 * DAY, 6.5 / 24 * DAY, 22.5 / 24 * DAY),  # in the morning of the eve
    (0.1, 0.1 - 17.5 / 24 * DAY, 0.1 - 1.5 / 24 * DAY),  # at its close
    (0.1, 0.1 - 3.0 * DAY, 0.1 - 3.0 * DAY + 64 / 24 * DAY),  # on a Friday before a Monday
    (0.1, 0.05, 0.05 + 16 / 24 * DAY),
]
"""A holder may exercise until 17:30 of the evening before an ex-date; the share goes ex at 9:30."""


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows(("years", "before", "noticed"), EVES)
def test_a_holder_exercises_until_the_last_notice_before_an_ex_date(years, before, noticed, is_call):
    schedule = ((before, 1.329, noticed),)
    for strike in (222.0, 225.0, 226.8, 229.0):
        terms = strike, years, 0.1, is_call, 0.02
        found = known_greeks(226.8, *terms, 0.0, schedule, american=True)
        expected = np.mean([tree_price(226.8, *terms, schedule, steps) for steps in (1500, 1501)])
        assert found.price == pytest.approx(expected, abs=0.01)
        alone = known_greeks(226.8, *terms, 0.0, schedule, american=False)
        assert alone == known_greeks(226.8, *terms, 0.0, ((before, 1.329),), american=False)
        exact = greeks(226.8, *terms[:2], 0.1, is_call, rate=0.02, dividends=years_ahead(schedule, years))
        assert found.price == pytest.approx(float(exact.price), abs=3e-4)
        assert found.delta == pytest.approx(float(exact.delta), abs=2e-4)


@given(OPTIONS, st.floats(0.1, 0.9))
def test_between_the_last_notice_and_the_ex_date_nobody_exercises_into_the_dividend(option, part):
    (spot, strike, _), vol, (is_call, rate, borrow, ((before, amount),)) = terms_of(option)
    years = before + part * 16 / 24 * DAY  # the notice ended 16 hours before the ex-date
    schedule = ((before, amount, before + 16 / 24 * DAY),)
    found = known_greeks(spot, strike, years, vol, is_call, rate, borrow, schedule, american=True)
    ex = spot - value_ahead(schedule, years, rate)
    assert found == option_greeks(ex, strike, years, vol, is_call, rate, borrow, american=True)
    terms = spot, strike, years, vol, is_call
    exact = greeks(
        *terms, rate=rate, dividend_yield=borrow, dividends=years_ahead(schedule, years), style="american"
    )
    assert found.price == pytest.approx(float(exact.price), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(OPTIONS)
def test_price_and_slopes_are_those_of_the_grid(option):
    at, vol, (is_call, rate, borrow, schedule) = terms_of(option)
    found = known_greeks(*at, vol, is_call, rate, borrow, schedule, american=True)
    ahead = years_ahead(schedule, at[2])
    exact = greeks(*at, vol, is_call, rate=rate, dividend_yield=borrow, dividends=ahead)
    assert found.price == pytest.approx(float(exact.price), abs=1.5e-4)
    assert found.delta == pytest.approx(float(exact.delta), abs=2e-5)
    assert found.gamma == pytest.approx(float(exact.gamma), abs=1e-4)
    assert found.vega == pytest.approx(float(exact.vega), abs=0.03)
    assert found.theta == pytest.approx(float(exact.theta), abs=0.05)


@settings(max_examples=40, deadline=None)
@given(OPTIONS)
@example((False, -1.9, 30.0, 0.2, 0.05, 0.0, 0.02, 1.0))
def test_laws_of_exercise_and_parity(option):
    (spot, strike, years), vol, (is_call, rate, borrow, schedule) = terms_of(option)
    terms = spot, strike, years, vol
    american = known_greeks(*terms, is_call, rate, borrow, schedule, american=True)
    call, put = (
        known_greeks(*terms, side, rate, borrow, schedule, american=False).price for side in (True, False)
    )
    held = call if is_call else put
    forward = (spot - value_ahead(schedule, years, rate)) * math.exp((rate - borrow) * years)
    assert call - put == pytest.approx(math.exp(-rate * years) * (forward - strike), abs=1e-9)
    side = 1.0 if is_call else -1.0
    assert american.price >= held - 1e-9
    assert american.price >= side * (spot - strike) - 1e-9
    assert -1.0 <= side * american.delta - 1.0 <= 1e-6


@settings(max_examples=40, deadline=None)
@given(OPTIONS)
def test_the_volatility_of_a_price_has_that_price(option):
    at, vol, (is_call, rate, borrow, schedule) = terms_of(option)
    paid = known_greeks(*at, vol, is_call, rate, borrow, schedule, american=True)
    assume(paid.vega > 0.5)
    found, status = known_implied_vol(paid.price, *at, is_call, rate, borrow, schedule, american=True)
    assert status == "ok"
    assert found == pytest.approx(vol, abs=1e-7)
    again = known_greeks(*at, found, is_call, rate, borrow, schedule, american=True)
    assert again.price == pytest.approx(paid.price, abs=1e-9)


@given(OPTIONS)
def test_without_a_dividend_ahead_the_numbers_are_the_same_to_the_bit(option):
    at, vol, (is_call, rate, borrow, _) = terms_of(option)
    gone = ((at[2], 1.0),)  # goes ex now
    for schedule in ((), gone):
        for american in (True, False):
            terms = {"american": american}
            plain = option_greeks(*at, vol, is_call, rate, borrow, **terms)
            assert known_greeks(*at, vol, is_call, rate, borrow, schedule, **terms) == plain
            asked = (plain.price, *at, is_call, rate, borrow)
            assert known_implied_vol(*asked, schedule, **terms) == pytest.approx(
                implied_vol_scalar(*asked, **terms), nan_ok=True
            )


def test_a_dividend_of_next_to_nothing_is_none():
    for is_call in (True, False):
        terms = 205.0, 209.0, 0.1, 0.2, is_call, 0.03, 0.0
        plain = option_greeks(*terms)
        with_it = known_greeks(*terms, ((0.05, 1e-9),), american=True)
        assert with_it.price == pytest.approx(plain.price, abs=1e-4)
        assert with_it.delta == pytest.approx(plain.delta, abs=2e-5)


@settings(max_examples=40, deadline=None)
@given(OPTIONS)
def test_over_an_ex_date_the_value_stands_but_for_a_call_that_is_exercised(option):
    """A minute before and after, the spot a dividend higher before."""
    (spot, strike, _), vol, (is_call, rate, borrow, schedule) = terms_of(option)
    ((before, amount),) = schedule
    minute = 1.0 / 525_600.0
    terms = vol, is_call, rate, borrow, schedule
    for american in (True, False):
        held = known_greeks(spot + amount, strike, before + minute, *terms, american=american)
        after = known_greeks(spot, strike, before, *terms, american=american)
        decay = abs(after.theta) * minute + 2e-3
        if american and is_call and after.price <= spot + amount - strike:
            assert held.price == pytest.approx(spot + amount - strike, abs=decay)
        else:
            assert held.price == pytest.approx(after.price, abs=decay)


def test_an_answer_does_not_depend_on_what_was_asked_before():
    schedule, strikes = ((0.01, 1.0),), np.linspace(196.0, 204.0, 5)

    def asked(order, vol):
        found = {}
        for strike in order:
            terms = (float(strike), 0.1, vol, False, 0.03, 0.0, schedule)
            found[float(strike)] = known_greeks(200.0, *terms, american=True)
        return found

    once = asked(strikes, 0.1777)
    for vol in (0.05, 0.9, 0.3):
        asked(strikes, vol)
    assert asked(strikes[::-1], 0.1777) == once


def test_delta_is_smooth_in_spot_time_and_volatility():
    """Across the nodes of the tables nothing jumps."""
    schedule = ((0.001, 1.033),)

    def deltas(points):
        return np.array(
            [known_greeks(*each, False, 0.03, 0.0, schedule, american=True).delta for each in points]
        )

    spots = deltas([(spot, 209.0, 0.08, 0.2) for spot in np.linspace(200.0, 214.0, 281)])
    years = deltas([(205.0, 209.0, years, 0.2) for years in np.linspace(0.05, 0.14, 281)])
    vols = deltas([(205.0, 209.0, 0.08, vol) for vol in np.linspace(0.1, 0.4, 281)])
    for row in (spots, years, vols):
        assert np.abs(np.diff(row, 3)).max() < 2e-5


def test_many_quotes_have_the_volatilities_and_greeks_of_each():
    schedule = ((0.01, 1.0),)
    strike, is_call = np.array([190.0, 200.0, 210.0, 260.0]), np.array([False, False, True, True])
    ones = np.ones(4)
    price = np.array([1.1, 4.0, 0.9, 0.0])
    terms = price, is_call, 200.0 * ones, strike, 0.08 * ones, 0.02 * ones, 0.0 * ones
    vol, columns = known_vols_and_greeks(*terms, schedule, american=True)
    for at in range(3):
        option = 200.0, float(strike[at]), 0.08
        own, _ = known_implied_vol(
            float(price[at]), *option, bool(is_call[at]), 0.02, 0.0, schedule, american=True
        )
        assert vol[at] == own
        alone = known_greeks(*option, own, bool(is_call[at]), 0.02, 0.0, schedule, american=True)
        assert tuple(columns[:, at]) == tuple(alone)
    assert math.isnan(vol[3])


@pytest.mark.rows("price", [3.99, 0.0, -1.0, math.nan, 250.0])
def test_a_price_that_no_volatility_has_says_why(price):
    vol, status = known_implied_vol(price, 205.0, 209.0, 0.1, False, 0.02, 0.0, ((0.01, 1.0),), american=True)
    assert math.isnan(vol)
    assert status != "ok"


@pytest.mark.rows("american", [True, False])
@pytest.mark.rows("is_call", [True, False])
def test_corners_over_an_ex_night_have_no_step_of_the_dividend(is_call, american):
    schedule, night = ((0.05, 1.0),), 1e-9
    start = PricedState(205.0, 0.2, 0.05, 0.05 + night, 0.02, 0.0, schedule)
    end = PricedState(204.0, 0.2, 0.05, 0.05, 0.02, 0.0, schedule)
    corners = known_corners(209.0, is_call, start, end, 205.0, 204.0, american=american)
    assert corners[-3:] == pytest.approx([corners[0]] * 3, abs=2e-3)
    plain = PricedState(*start[:6]), PricedState(*end[:6])
    without = known_corners(209.0, is_call, *plain, 205.0, 204.0, american=american)
    assert without == pytest.approx(
        corner_prices(209.0, is_call, *plain, 205.0, 204.0, american=american), abs=1e-9
    )


def test_what_has_gone_ex_is_no_longer_ahead():
    schedule = ((0.3, 1.0), (0.05, 2.0))
    assert due_by(schedule, 0.4) == schedule
    assert due_by(schedule, 0.3) == schedule[1:]
    assert due_by(schedule, 0.05) == ()
    assert np.array(years_ahead(schedule, 0.4)) == pytest.approx(np.array([(0.1, 1.0), (0.35, 2.0)]))
    assert value_ahead(schedule, 0.4, 0.0) == 3.0
    assert value_ahead(schedule, 0.05, 0.0) == 0.0
