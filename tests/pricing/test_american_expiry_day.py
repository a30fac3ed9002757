"""From an hour to one second before expiry: ten thousand random contracts."""

import numpy as np
import pytest

from scalpdesk.pricing import greeks, implied_vol

COUNT = 10_000
SECONDS_A_YEAR = 365 * 86_400
NINE = ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")


@pytest.fixture(scope="module", params=["american", "european"])
def contracts(request):
    rng = np.random.default_rng(20_260_105)
    years = rng.uniform(1.0, 3600.0, COUNT) / SECONDS_A_YEAR
    vol = np.exp(rng.uniform(np.log(0.05), np.log(3.0), COUNT))
    deviation = vol * np.sqrt(years)
    strike = 100.0 * np.exp(deviation * rng.uniform(-6.0, 6.0, COUNT))
    rate, dividend_yield = rng.choice([-0.01, 0.0, 0.02, 0.05], COUNT), rng.choice([0.0, 0.013, 0.06], COUNT)
    terms = {"rate": rate, "dividend_yield": dividend_yield, "style": request.param}
    return strike, years, vol, rng.random(COUNT) < 0.5, deviation, terms


def test_nothing_is_nan_and_prices_keep_their_bounds(contracts):
    strike, years, vol, call, _, terms = contracts
    g = greeks(100.0, strike, years, vol, call, **terms)
    for name in NINE:
        assert np.isfinite(getattr(g, name)).all(), name
    ds = 100.0 * np.exp(-terms["dividend_yield"] * years)
    dk = strike * np.exp(-terms["rate"] * years)
    least = np.maximum(np.where(call, ds - dk, dk - ds), 0.0)
    most = np.where(call, ds, dk)
    if terms["style"] == "american":
        least = np.maximum(least, np.where(call, 100.0 - strike, strike - 100.0))
        most = np.where(call, np.maximum(ds, 100.0), np.maximum(dk, strike))
    assert (g.price >= least - 1e-11).all()
    assert (g.price <= most).all()
    assert (np.abs(g.delta) <= 1.0 + 1e-9).all()
    assert (g.gamma >= 0.0).all()


def test_prices_are_monotone_and_convex_in_the_strike(contracts):
    strike, years, vol, call, deviation, terms = contracts
    ladder = strike[:, None] * np.exp(deviation[:, None] * np.array([-0.5, 0.0, 0.5]))
    wide = {name: value if isinstance(value, str) else value[:, None] for name, value in terms.items()}
    price = greeks(100.0, ladder, years[:, None], vol[:, None], call[:, None], **wide).price
    slope = np.diff(price, axis=1) / np.diff(ladder, axis=1)
    toward = np.where(call, -1.0, 1.0)[:, None]
    assert (slope * toward >= -1e-9).all()
    assert (np.diff(slope, axis=1) >= -1e-9).all()


def test_the_volatility_of_a_price_with_time_value_comes_back(contracts):
    strike, years, vol, call, deviation, terms = contracts
    near = np.abs(np.log(strike / 100.0)) < 2.0 * deviation
    chosen = {name: value if isinstance(value, str) else value[near] for name, value in terms.items()}
    price = greeks(100.0, strike[near], years[near], vol[near], call[near], **chosen).price
    certain = greeks(100.0, strike[near], years[near], 0.0, call[near], **chosen).price
    iv = implied_vol(price, 100.0, strike[near], years[near], call[near], **chosen)
    alive = price - certain > 1e-3 * 100.0 * deviation[near]
    assert alive.sum() > 1000
    assert (iv.status[alive] == "ok").all()
    assert iv.vol[alive] == pytest.approx(vol[near][alive], rel=1e-7)
    assert (np.isnan(iv.vol) == (iv.status != "ok")).all()
