"""Bounds of prices without arbitrage: from one second to thirty years, volatilities of 0.1 to 10,000 %."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from scalpdesk.pricing import greeks
from scalpdesk.pricing.base import OptionGreeks

NAMES = OptionGreeks._fields
COUNT = 1500


def perpetual_price(is_call, spot, strike, vol, rate, dividend_yield):
    """Merton (1973): American options without expiry; rates and yields above 0."""
    variance = 0.5 * vol * vol
    tilt = (rate - dividend_yield) / variance - 1.0
    root = np.sqrt(tilt * tilt + 4.0 * rate / variance)
    power = np.where(is_call, 0.5 * (-tilt + root), 0.5 * (-tilt - root))
    boundary = strike * power / (power - 1.0)
    held = abs(boundary - strike) * np.exp(np.minimum(power * np.log(spot / boundary), 0.0))
    exercised = np.where(is_call, spot >= boundary, spot <= boundary)
    return np.where(exercised, abs(spot - strike), held)


@pytest.mark.second
def test_american_prices_keep_every_bound_over_extreme_volatilities_times_and_rates():
    rng = np.random.default_rng(10)
    spot = 10.0 ** rng.uniform(-1.0, 4.0, COUNT)
    strike = spot * np.exp(rng.uniform(-3.0, 3.0, COUNT) * rng.choice([1.0, 0.05], COUNT))
    years = 10.0 ** rng.uniform(-7.5, 1.5, COUNT)
    vol = 10.0 ** rng.uniform(-3.0, 2.0, COUNT)
    rate = rng.uniform(-0.02, 0.20, COUNT) * rng.choice([0.0, 1.0], COUNT, p=[0.2, 0.8])
    carry = rng.uniform(-0.02, 0.30, COUNT) * rng.choice([0.0, 1.0], COUNT, p=[0.3, 0.7])
    is_call = rng.random(COUNT) < 0.5
    # two boundaries are solved by finite differences: slow, and tested elsewhere
    one = np.where(is_call, (carry > 0.0) | (rate >= carry), (rate > 0.0) | (carry >= rate))
    spot, strike, years, vol, rate, carry, is_call = (
        column[one] for column in (spot, strike, years, vol, rate, carry, is_call)
    )
    terms = {"rate": rate, "dividend_yield": carry}
    american = greeks(spot, strike, years, vol, is_call, **terms)
    european = greeks(spot, strike, years, vol, is_call, style="european", **terms)
    for name in NAMES:
        assert np.isfinite(getattr(american, name)).all(), name
        assert np.isfinite(getattr(european, name)).all(), name
    price, slack = american.price, 1e-7 * np.maximum(spot, strike)
    assert (price >= european.price - slack).all()
    assert (price >= np.where(is_call, spot - strike, strike - spot)).all()
    most = np.where(
        is_call,
        spot * np.exp(np.maximum(-carry, 0.0) * years),
        strike * np.exp(np.maximum(-rate, 0.0) * years),
    )
    assert (price <= most + slack).all()
    endless = (rate > 1e-3) & (carry > 1e-3)
    assert endless.sum() > 500
    bound = perpetual_price(*(column[endless] for column in (is_call, spot, strike, vol, rate, carry)))
    # the series of the boundary is good to 5e-5 of the strike over years
    slack = np.where(years > 1.0, 5e-5, 1e-6) * np.maximum(spot, strike)
    assert (price[endless] <= bound + slack[endless]).all()


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["escrowed", "spot"]),
    st.booleans(),
    st.floats(-1.0, 1.0),
    st.floats(-3.0, 1.0).map(lambda power: 10.0**power),
    st.floats(-2.0, 2.0).map(lambda power: 10.0**power),
    st.floats(0.0, 0.15),
    st.floats(0.05, 1.0),
    st.floats(0.01, 8.0),
)
@example("escrowed", True, 0.0, 1.0, 100.0, 0.04, 0.5, 1.0)
@example("escrowed", True, 0.0, 0.1, 50.0, 0.04, 0.5, 1.0)
@example("spot", True, 0.0, 1.0, 50.0, 0.04, 0.5, 1.0)
@example("escrowed", False, 0.0, 0.1, 100.0, 0.04, 0.5, 1.0)
@example("spot", False, 0.0, 0.1, 100.0, 0.04, 0.5, 1.0)
@example("escrowed", False, 0.0, 1.0, 1.0, 2.4e-23, 0.996, 1.0)
@example("spot", False, 0.0, 1.0, 1.0, 0.0, 0.996, 4.0)
def test_prices_with_a_cash_dividend_keep_theirs(model, is_call, tilt, years, vol, rate, share, cash):
    strike = 100.0 * np.exp(tilt)
    schedule = [(share * years, cash)]
    terms = {"rate": rate, "dividends": schedule, "model": model}
    american = greeks(100.0, strike, years, vol, is_call, **terms)
    european = greeks(100.0, strike, years, vol, is_call, style="european", **terms)
    assert np.isfinite([getattr(american, name) for name in NAMES]).all()
    price, ahead = float(american.price), cash * np.exp(-rate * share * years)
    assert price >= float(european.price) - 2e-3
    assert price >= (100.0 - strike if is_call else strike - 100.0)
    assert price <= (100.0 if is_call else strike) * (1.0 + 1e-9)
    if is_call:
        # exercise just before the ex-date and at expiry are what there is
        least = max(100.0 - strike * np.exp(-rate * share * years), 0.0)
        assert price >= least - 2e-3
    else:
        assert price >= strike * np.exp(-rate * share * years) - (100.0 - ahead) - 2e-3


def european_put_with_one_dividend(strike, years, vol, rate, share, cash):
    """The closed form after the ex-date, integrated over the spot before it (model ``spot``)."""
    before, left = share * years, years - share * years
    z = np.linspace(-9.0, 9.0, 200_001)
    after = 100.0 * np.exp((rate - 0.5 * vol * vol) * before + vol * np.sqrt(before) * z) - cash
    alive, sd = np.maximum(after, 1e-300), vol * np.sqrt(left)
    d1 = (np.log(alive / strike) + rate * left) / sd + 0.5 * sd
    held = strike * np.exp(-rate * left) * ndtr(sd - d1) - np.maximum(after, 0.0) * ndtr(-d1)
    return np.exp(-rate * before) * np.trapezoid(held * np.exp(-0.5 * z * z), z) / np.sqrt(2.0 * np.pi)


@pytest.mark.rows("share", [0.5, 0.99, 0.996, 0.9999])
@pytest.mark.rows("rate", [0.0, 2.4e-23, 1e-12, 1e-6, 1e-4])
def test_an_american_put_approaches_the_european_one_as_the_rate_does_zero(share, rate):
    for model in ("escrowed", "spot"):
        for cash in (1.0, 4.0):
            terms = {"rate": rate, "dividends": [(share, cash)], "model": model}
            american = float(greeks(100.0, 100.0, 1.0, 1.0, False, **terms).price)
            european = float(greeks(100.0, 100.0, 1.0, 1.0, False, style="european", **terms).price)
            if model == "spot":
                whole = european_put_with_one_dividend(100.0, 1.0, 1.0, rate, share, cash)
                assert european == pytest.approx(whole, abs=1e-5)
            # exercise at any time gains no more than the interest on the strike
            assert european - 1e-4 <= american <= european + 100.0 * rate + 1e-4


@pytest.mark.rows("model", ["escrowed", "spot"])
@pytest.mark.rows("is_call", [True, False])
def test_a_higher_volatility_never_costs_less_with_a_dividend_to_come(model, is_call):
    vols = np.array([0.01, 0.1, 0.5, 1.0, 2.9, 3.1, 5.0, 10.0, 30.0, 100.0])
    g = greeks(100.0, 100.0, 1.0, vols, is_call, rate=0.04, dividends=[(0.5, 1.0)], model=model)
    assert (np.diff(g.price) >= -2e-3).all()
    # without a limit to the volatility: the spot, less what is not paid out to the holder, or the strike
    limit = 100.0 if model == "spot" else 100.0 - np.exp(-0.02)
    assert g.price[-1] == pytest.approx(limit, abs=0.02)
