"""Laws that every price must obey, whatever the numbers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scalpdesk.pricing import greeks, implied_vol

SPOT = st.floats(20.0, 500.0)
MONEYNESS = st.floats(-2.5, 2.5)  # ln(K/S) in total standard deviations
YEARS = st.floats(1e-4, 2.0)
VOL = st.floats(0.05, 1.5)
RATE = st.floats(-0.03, 0.10)
YIELD = st.floats(-0.02, 0.10)
STYLE = st.sampled_from(["american", "european"])
LAWS = settings(max_examples=60, deadline=None, derandomize=True)


def strike_at(spot, moneyness, vol, years):
    return spot * math.exp(moneyness * vol * math.sqrt(years))


@LAWS
@given(SPOT, MONEYNESS, YEARS, VOL, RATE, YIELD)
def test_european_calls_and_puts_keep_parity(spot, moneyness, years, vol, rate, dividend_yield):
    strike = strike_at(spot, moneyness, vol, years)
    g = greeks(
        spot, strike, years, vol, [True, False], rate=rate, dividend_yield=dividend_yield, style="european"
    )
    forward = spot * math.exp(-dividend_yield * years) - strike * math.exp(-rate * years)
    assert g.price[0] - g.price[1] == pytest.approx(forward, abs=1e-12 * (spot + strike))
    assert g.delta[0] - g.delta[1] == pytest.approx(math.exp(-dividend_yield * years), rel=1e-12)
    for name in ("gamma", "vega", "vanna", "volga"):
        values = getattr(g, name)
        assert values[0] == pytest.approx(values[1], rel=1e-12)


@LAWS
@given(SPOT, MONEYNESS, YEARS, VOL, RATE, YIELD, st.booleans())
def test_an_american_is_worth_its_european_its_exercise_and_no_more_than_the_asset(
    spot, moneyness, years, vol, rate, dividend_yield, is_call
):
    strike = strike_at(spot, moneyness, vol, years)
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    american = float(greeks(spot, strike, years, vol, is_call, **terms).price)
    european = float(greeks(spot, strike, years, vol, is_call, style="european", **terms).price)
    slack = 1e-7 * (spot + strike)
    assert american >= european - slack
    assert american >= (spot - strike if is_call else strike - spot)
    most = (spot, -dividend_yield) if is_call else (strike, -rate)
    assert american <= most[0] * math.exp(max(most[1] * years, 0.0)) + slack


@LAWS
@given(SPOT, YEARS, VOL, st.floats(0.0, 0.10), st.floats(0.0, 0.10), STYLE, st.booleans())
def test_prices_are_monotone_and_convex_in_the_strike(spot, years, vol, rate, dividend_yield, style, is_call):
    strikes = spot + np.linspace(-2.0, 2.0, 41) * spot * min(vol * math.sqrt(years), 0.45)
    price = greeks(
        spot, strikes, years, vol, is_call, rate=rate, dividend_yield=dividend_yield, style=style
    ).price
    slack = 3e-7 * spot
    slope = np.diff(price) * (-1.0 if is_call else 1.0)
    assert (slope >= -slack).all()
    assert (slope <= np.diff(strikes) + slack).all()
    assert (np.diff(price, 2) >= -slack).all()


@LAWS
@given(SPOT, MONEYNESS, YEARS, st.floats(0.0, 0.10), st.floats(0.0, 0.10), STYLE, st.booleans())
def test_prices_rise_with_the_volatility(spot, moneyness, years, rate, dividend_yield, style, is_call):
    strike = strike_at(spot, moneyness, 0.3, years)
    vols = np.linspace(0.05, 1.5, 30)
    price = greeks(
        spot, strike, years, vols, is_call, rate=rate, dividend_yield=dividend_yield, style=style
    ).price
    assert (np.diff(price) >= -3e-7 * spot).all()


@LAWS
@given(SPOT, MONEYNESS, VOL, st.floats(0.0, 0.10), st.floats(0.0, 0.10), st.booleans())
def test_an_american_gains_with_time(spot, moneyness, vol, rate, dividend_yield, is_call):
    years = np.array([0.0, 1e-7, 1e-5, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0])
    strike = strike_at(spot, moneyness, vol, 0.1)
    price = greeks(spot, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield).price
    assert (np.diff(price) >= -3e-7 * spot).all()


@LAWS
@given(SPOT, MONEYNESS, YEARS, VOL, RATE, YIELD, STYLE, st.booleans(), st.floats(0.01, 50.0))
def test_prices_scale_with_spot_and_strike_together(
    spot, moneyness, years, vol, rate, dividend_yield, style, is_call, factor
):
    strike = strike_at(spot, moneyness, vol, years)
    terms = {"rate": rate, "dividend_yield": dividend_yield, "style": style}
    one = greeks(spot, strike, years, vol, is_call, **terms)
    many = greeks(factor * spot, factor * strike, years, vol, is_call, **terms)
    assert float(many.price) == pytest.approx(factor * float(one.price), rel=1e-8, abs=1e-9 * factor * spot)
    assert float(many.delta) == pytest.approx(float(one.delta), abs=1e-7)
    assert float(many.gamma) == pytest.approx(float(one.gamma) / factor, rel=1e-5, abs=1e-9 / spot)


@LAWS
@given(SPOT, MONEYNESS, YEARS, VOL, st.floats(0.0, 0.10), st.floats(0.0, 0.10))
def test_an_american_call_is_a_put_with_the_rates_exchanged(
    spot, moneyness, years, vol, rate, dividend_yield
):
    # McDonald and Schroder (1998)
    strike = strike_at(spot, moneyness, vol, years)
    call = greeks(spot, strike, years, vol, True, rate=rate, dividend_yield=dividend_yield).price
    put = greeks(strike, spot, years, vol, False, rate=dividend_yield, dividend_yield=rate).price
    assert float(call) == pytest.approx(float(put), abs=1e-7 * spot)


@LAWS
@given(
    SPOT,
    MONEYNESS,
    st.floats(1e-3, 2.0),
    VOL,
    st.floats(0.005, 0.10),
    st.floats(0.0, 0.10),
    STYLE,
    st.booleans(),
)
def test_greeks_are_the_slopes_of_the_price(
    spot, moneyness, years, vol, rate, dividend_yield, style, is_call
):
    strike = strike_at(spot, moneyness, vol, years)
    deviation = vol * math.sqrt(years)
    terms = {"dividend_yield": dividend_yield, "style": style}

    def at(s=spot, t=years, v=vol, r=rate):
        return greeks(s, strike, t, v, is_call, rate=r, **terms)

    ds, dv, dt, dr = 0.02 * deviation * spot, 0.01 * vol, 0.01 * years, 3e-5
    ups = [at(s=spot + ds), at(v=vol + dv), at(t=years - dt), at(r=rate + dr)]
    downs = [at(s=spot - ds), at(v=vol - dv), at(t=years + dt), at(r=rate - dr)]
    g = at()
    # a bump across the exercise boundary measures its kink, not a slope
    assume(all((float(other.gamma) == 0.0) == (float(g.gamma) == 0.0) for other in ups + downs))
    far = at(s=spot + (3.0 if not is_call else -3.0) * -ds)
    assume((float(far.gamma) == 0.0) == (float(g.gamma) == 0.0))

    def slope(name, which, step):
        return (float(getattr(ups[which], name)) - float(getattr(downs[which], name))) / (2.0 * step)

    unit = max(float(greeks(spot, strike, years, vol, is_call, rate=rate, **terms).vega), 1e-3 * spot)
    assert float(g.delta) == pytest.approx(slope("price", 0, ds), abs=2e-3)
    assert float(g.gamma) == pytest.approx(slope("delta", 0, ds), rel=0.02, abs=2e-3 / (spot * deviation))
    assert float(g.vega) == pytest.approx(slope("price", 1, dv), rel=2e-3, abs=2e-3 * unit)
    assert float(g.vanna) == pytest.approx(slope("delta", 1, dv), rel=0.05, abs=0.02 / vol)
    assert float(g.theta) == pytest.approx(slope("price", 2, dt), rel=5e-3, abs=2e-3 * unit * vol / years)
    assert float(g.charm) == pytest.approx(slope("delta", 2, dt), rel=0.05, abs=0.02 / years)
    assert float(g.rho) == pytest.approx(slope("price", 3, dr), rel=5e-3, abs=2e-3 * spot * years)


@LAWS
@given(SPOT, MONEYNESS, YEARS, VOL, RATE, YIELD, STYLE, st.booleans())
def test_the_implied_volatility_of_a_price_is_its_volatility(
    spot, moneyness, years, vol, rate, dividend_yield, style, is_call
):
    strike = strike_at(spot, moneyness, vol, years)
    terms = {"rate": rate, "dividend_yield": dividend_yield, "style": style}
    g = greeks(spot, strike, years, vol, is_call, **terms)
    assume(float(g.vega) > 1e-3 * spot * math.sqrt(years))
    iv = implied_vol(g.price, spot, strike, years, is_call, **terms)
    assert str(iv.status) == "ok"
    again = greeks(spot, strike, years, iv.vol, is_call, **terms).price
    assert float(again) == pytest.approx(float(g.price), abs=1e-9 * spot)
    assert float(iv.vol) == pytest.approx(vol, abs=1e-8 * spot / float(g.vega))


@LAWS
@given(SPOT, st.floats(0.9, 1.1), st.floats(0.02, 0.5), st.floats(0.1, 0.8), st.booleans(), st.data())
def test_a_dividend_lowers_calls_and_lifts_puts(spot, ratio, years, vol, is_call, data):
    cash = data.draw(st.floats(0.001, 0.02)) * spot
    ex_date = data.draw(st.floats(0.1, 0.9)) * years
    terms = {"rate": 0.04, "style": "european"}
    paid = greeks(spot, ratio * spot, years, vol, is_call, dividends=[(ex_date, cash)], **terms).price
    unpaid = greeks(spot, ratio * spot, years, vol, is_call, **terms).price
    assert (float(paid) < float(unpaid)) == is_call
    assert abs(float(paid) - float(unpaid)) <= cash
