import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks, implied_vol

NAMES = ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")


def test_in_usd_it_is_black_on_the_forward():
    g = greeks(60_000.0, [55_000.0, 65_000.0], 0.1, 0.6, [True, False], model="inverse")
    black = greeks(60_000.0, [55_000.0, 65_000.0], 0.1, 0.6, [True, False], model="black76", style="european")
    for name in NAMES:
        assert (getattr(g.usd, name) == getattr(black, name)).all()
    assert g.price * 60_000.0 == pytest.approx(black.price, rel=1e-14)


@pytest.mark.parametrize("is_call", [True, False])
def test_greeks_in_coin_are_slopes_in_coin(is_call):
    def at(forward=60_000.0, years=0.1, vol=0.6):
        return greeks(forward, 62_000.0, years, vol, is_call, model="inverse")

    g = at()
    up, down = at(forward=60_060.0), at(forward=59_940.0)
    # coins gained per relative move of the forward
    assert float(g.delta) == pytest.approx(float(up.price - down.price) / 120.0 * 60_000.0, rel=1e-5)
    assert float(g.gamma) == pytest.approx(float(up.delta - down.delta) / 120.0, rel=1e-4)
    assert float(g.vega) == pytest.approx(float(at(vol=0.601).price - at(vol=0.599).price) / 0.002, rel=1e-4)
    assert float(g.vanna) == pytest.approx(float(at(vol=0.601).delta - at(vol=0.599).delta) / 0.002, rel=1e-4)
    assert float(g.volga) == pytest.approx(float(at(vol=0.601).vega - at(vol=0.599).vega) / 0.002, rel=1e-3)
    assert float(g.theta) == pytest.approx(
        float(at(years=0.0999).price - at(years=0.1001).price) / 2e-4, rel=1e-4
    )
    assert float(g.charm) == pytest.approx(
        float(at(years=0.0999).delta - at(years=0.1001).delta) / 2e-4, rel=1e-4
    )


def test_expired_it_is_worth_its_intrinsic_value_in_coin():
    g = greeks(125_000.0, [100_000.0, 125_000.0, 150_000.0], 0.0, 0.5, True, model="inverse")
    assert g.price == pytest.approx([0.2, 0.0, 0.0])
    assert g.usd.delta.tolist() == [1.0, 0.5, 0.0]


def test_the_volatility_comes_back_from_the_premium_in_coin():
    strikes = np.array([40_000.0, 60_000.0, 90_000.0])
    price = greeks(60_000.0, strikes, 0.2, 0.7, True, model="inverse").price
    iv = implied_vol(price, 60_000.0, strikes, 0.2, True, model="inverse")
    assert iv.vol == pytest.approx([0.7] * 3, rel=1e-12)


@pytest.mark.rows("terms", [{"rate": 0.01}, {"dividend_yield": 0.01}, {"dividends": [(0.1, 1.0)]}])
def test_rates_and_dividends_have_no_place_in_it(terms):
    with pytest.raises(ArgumentError, match="forward"):
        greeks(60_000.0, 60_000.0, 0.2, 0.7, True, model="inverse", **terms)


def test_a_forward_of_zero_is_refused():
    with pytest.raises(ArgumentError, match="above 0"):
        greeks(0.0, 60_000.0, 0.2, 0.7, True, model="inverse")


def test_other_models_have_no_second_currency():
    with pytest.raises(ArgumentError, match="inverse"):
        _ = greeks(100.0, 100.0, 0.2, 0.7, True).usd
