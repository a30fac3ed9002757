import numpy as np
import pytest

from scalpdesk.pricing import greeks

E = {"style": "european"}


@pytest.mark.rows("style", ["european", "american"])
@pytest.mark.rows("years", [0.0, -0.01])
def test_expired_is_intrinsic_with_delta_none_half_or_one(style, years):
    calls = greeks(100.0, [90.0, 100.0, 110.0], years, 0.2, True, rate=0.05, style=style)
    puts = greeks(100.0, [90.0, 100.0, 110.0], years, 0.2, False, rate=0.05, style=style)
    assert calls.price.tolist() == [10.0, 0.0, 0.0]
    assert puts.price.tolist() == [0.0, 0.0, 10.0]
    assert calls.delta.tolist() == [1.0, 0.5, 0.0]
    assert puts.delta.tolist() == [0.0, -0.5, -1.0]
    for g in (calls, puts):
        for name in ("gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
            assert not getattr(g, name).any()


def test_without_volatility_the_forward_decides():
    g = greeks(100.0, [90.0, 110.0], 1.0, 0.0, True, rate=0.05, **E)
    assert g.price == pytest.approx([100.0 - 90.0 * np.exp(-0.05), 0.0], rel=1e-14)
    assert g.delta.tolist() == [1.0, 0.0]
    # a sure claim on S - K e^{-rT} loses r K e^{-rT} a year
    assert g.theta == pytest.approx([-0.05 * 90.0 * np.exp(-0.05), 0.0], rel=1e-12)
    assert g.rho == pytest.approx([90.0 * np.exp(-0.05), 0.0], rel=1e-12)


@pytest.mark.parametrize("style", ["european", "american"])
def test_one_second_to_expiry_is_finite_and_keeps_its_theta(style):
    second = 1.0 / (365.0 * 86_400.0)
    g = greeks(100.0, np.linspace(95.0, 105.0, 41), second, 0.2, [[True], [False]], rate=0.04, style=style)
    for name in ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
        assert np.isfinite(getattr(g, name)).all(), name
    at = 20
    assert g.price[0, at] == pytest.approx(100.0 * 0.2 * np.sqrt(second / (2.0 * np.pi)), rel=1e-3)
    assert g.theta[0, at] < -1e3


def test_an_hour_to_expiry_decays_twelve_times_the_option_a_day():
    g = greeks(100.0, 100.0, 1.0 / (365.0 * 24.0), 0.2, True, **E)
    assert float(g.price) == pytest.approx(0.0852, abs=1e-4)
    assert float(g.theta) / 365.0 == pytest.approx(-1.022, abs=1e-3)


@pytest.mark.parametrize("style", ["european", "american"])
def test_nothing_is_nan_over_a_wide_range_of_arguments(style):
    spot, strike, years, vol, call = np.meshgrid(
        [0.0, 1e-8, 1.0, 100.0, 1e9],
        [0.0, 1e-8, 1.0, 100.0, 1e9],
        [0.0, 1e-9, 1e-4, 0.5, 30.0],
        [0.0, 1e-9, 0.01, 0.3, 5.0],
        [True, False],
    )
    for rate, dividend_yield in ((0.0, 0.0), (0.05, 0.0), (0.0, 0.05), (0.03, 0.06), (-0.01, 0.02)):
        g = greeks(spot, strike, years, vol, call, rate=rate, dividend_yield=dividend_yield, style=style)
        for name in ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
            assert np.isfinite(getattr(g, name)).all(), name
        assert (g.price >= 0.0).all()
        assert (np.abs(g.delta) <= 1.0 + 1e-9).all()
