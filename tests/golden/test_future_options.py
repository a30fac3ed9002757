"""Options on futures against published figures, laws, and recorded closes of ES options."""

import math
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from scalpdesk.instruments.futures import future_option
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks

HULL = 20.0, 20.0, 4 / 12, 0.25, 0.09
"""Hull, Options, Futures, and Other Derivatives, Black's model: a put on a crude oil future costs 1.12."""
HAUG = 19.0, 19.0, 0.75, 0.28, 0.10
"""Haug, The Complete Guide to Option Pricing Formulas, Black-76: call and put 1.7011."""
BARONE_ADESI_WHALEY = [
    (0.1, 0.15, (0.0206, 1.8770, 10.0089)),
    (0.1, 0.35, (0.9495, 4.3777, 11.1679)),
    (0.5, 0.15, (0.8208, 4.0842, 10.8087)),
    (0.5, 0.35, (5.0063, 9.5106, 15.5689)),
]
"""American calls at 100 on futures of 90, 100 and 110, rate 0.10 (Haug's table of their approximation, which
is up to 0.04 too dear at half a year)."""
CLOSES = {
    3000: (266.625, 24.75),
    3050: (223.25, 31.125),
    3100: (181.375, 39.25),
    3150: (141.50, 49.25),
    3200: (104.375, 61.875),
    3240: (77.125, 74.625),
    3250: (70.875, 78.375),
}
"""Last mids of calls and puts of 2020-03-20 on ES on 2020-01-06 by strike (QuantConnect LEAN, Apache-2.0:
Data/futureoption/cme/universes/es/20200320/20200106.csv)."""
YEARS = (date(2020, 3, 20) - date(2020, 1, 6)).days / 365
RATE = 0.0154
TICK = 0.25


def on_future(future, strike, years, vol, is_call, rate, *, american=False):
    return option_greeks(future, strike, years, vol, is_call, rate, rate, american=american)


def black(future, strike, years, vol, is_call, rate):
    """Black 1976, equation 16, written from the paper."""
    sd = vol * math.sqrt(years)
    upper = math.log(future / strike) / sd + sd / 2
    sign = 1.0 if is_call else -1.0
    return math.exp(-rate * years) * sign * (future * ndtr(sign * upper) - strike * ndtr(sign * (upper - sd)))


def test_the_published_figures_of_blacks_model():
    *terms, rate = HULL
    assert on_future(*terms, False, rate).price == pytest.approx(1.12, abs=0.005)
    *terms, rate = HAUG
    assert on_future(*terms, True, rate).price == pytest.approx(1.7011, abs=5e-5)
    assert on_future(*terms, False, rate).price == pytest.approx(1.7011, abs=5e-5)


@pytest.mark.parametrize(("years", "vol", "published"), BARONE_ADESI_WHALEY)
def test_the_published_american_calls_on_futures(years, vol, published):
    found = [on_future(f, 100.0, years, vol, True, 0.10, american=True).price for f in (90.0, 100.0, 110.0)]
    assert found == pytest.approx(list(published), abs=0.015 if years < 0.5 else 0.04)


terms = {
    "future": st.floats(3000, 4500),
    "strike": st.floats(3000, 4500),
    "years": st.floats(0.01, 1.0),
    "vol": st.floats(0.08, 0.6),
    "rate": st.floats(0.0, 0.08),
}


@given(**terms)
@settings(max_examples=30)
def test_parity_with_the_future_and_the_bounds_of_early_exercise(future, strike, years, vol, rate):
    call, put = (on_future(future, strike, years, vol, each, rate) for each in (True, False))
    discount = math.exp(-rate * years)
    assert call.price == pytest.approx(black(future, strike, years, vol, True, rate), abs=1e-7 * future)
    assert call.price - put.price == pytest.approx(discount * (future - strike), abs=1e-7 * future)
    assert call.delta - put.delta == pytest.approx(discount, abs=1e-7)
    early_call, early_put = (
        on_future(future, strike, years, vol, each, rate, american=True).price for each in (True, False)
    )
    slack = 2e-4 * future
    assert early_call >= max(call.price, future - strike) - slack
    assert early_put >= max(put.price, strike - future) - slack
    # F e^-rT - K <= C - P <= F - K e^-rT
    assert future * discount - strike - slack <= early_call - early_put
    assert early_call - early_put <= future - strike * discount + slack


def test_a_contract_on_a_future_is_priced_with_its_rate_as_the_yield():
    option = future_option("ES_202003-200117C03250000")
    found = ContractPricer().greeks(option, 3242.5, YEARS, 0.12, RATE, RATE)
    assert found.price == pytest.approx(black(3242.5, 3250.0, YEARS, 0.12, True, RATE), abs=1e-6)


def test_recorded_closes_of_a_day_stand_on_one_future_within_a_tick():
    """Put-call parity: each strike's call and put imply the same future."""
    implied = [strike + (call - put) * math.exp(RATE * YEARS) for strike, (call, put) in CLOSES.items()]
    assert max(implied) - min(implied) < TICK
    future = sum(implied) / len(implied)
    assert future == pytest.approx(3242.55, abs=0.05)
    for strike, prices in CLOSES.items():
        vols = [
            implied_vol_scalar(price, future, float(strike), YEARS, is_call, RATE, RATE, american=True)[0]
            for price, is_call in zip(prices, (True, False), strict=True)
        ]
        assert vols[0] == pytest.approx(vols[1], abs=0.002)
    # the smile of an index falls with the strike
    puts = [
        implied_vol_scalar(put, future, float(k), YEARS, False, RATE, RATE, american=True)[0]
        for k, (_, put) in CLOSES.items()
    ]
    assert puts == sorted(puts, reverse=True)
