import math

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.kernels.black_iv import normalised_iv, price_over_vega


@pytest.mark.parametrize("style", ["american", "european"])
def test_each_element_has_its_own_verdict(style):
    price = [5.0, 0.5, 101.0, 5.0, float("nan"), -1.0, 0.0, 5.0, 5.0]
    spot = [100.0, 103.0, 100.0, 100.0, 100.0, 100.0, 100.0, 0.0, float("inf")]
    years = [0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1]
    iv = implied_vol(price, spot, 100.0, years, True, style=style)
    assert iv.status.tolist() == [
        "ok",
        "below_intrinsic",
        "above_maximum",
        "expired",
        "bad_input",
        "bad_input",
        "below_intrinsic",
        "bad_input",
        "bad_input",
    ]
    assert np.isfinite(iv.vol).tolist() == [status == "ok" for status in iv.status]


@pytest.mark.parametrize("style", ["american", "european"])
def test_a_price_at_intrinsic_has_no_volatility(style):
    iv = implied_vol(20.0, 120.0, 100.0, 0.1, True, style=style)
    assert str(iv.status) == "below_intrinsic"
    assert math.isnan(float(iv.vol))


def test_an_american_put_may_cost_more_than_any_european_one():
    # between K e^{-rT} and K there is an American volatility and no European one
    price = 99.0
    american = implied_vol(price, 50.0, 100.0, 2.0, False, rate=0.05)
    european = implied_vol(price, 50.0, 100.0, 2.0, False, rate=0.05, style="european")
    assert str(european.status) == "above_maximum"
    assert str(american.status) == "ok"
    again = greeks(50.0, 100.0, 2.0, american.vol, False, rate=0.05).price
    assert float(again) == pytest.approx(price, abs=1e-7)


def test_below_the_european_floor_an_american_at_exercise_has_none():
    iv = implied_vol(40.0, 60.0, 100.0, 0.5, False, rate=0.05)
    assert str(iv.status) == "below_intrinsic"


@pytest.mark.rows("years", [1.0 / (365.0 * 86_400.0), 1.0 / (365.0 * 24.0), 2.0])
@pytest.mark.rows("style", ["american", "european"])
def test_from_a_second_to_years_the_volatility_comes_back(years, style):
    strikes = 100.0 * np.exp(np.linspace(-2.0, 2.0, 9) * 0.4 * math.sqrt(years))
    for is_call in (True, False):
        price = greeks(100.0, strikes, years, 0.4, is_call, rate=0.03, dividend_yield=0.01, style=style).price
        iv = implied_vol(price, 100.0, strikes, years, is_call, rate=0.03, dividend_yield=0.01, style=style)
        exercised = (style == "american") & (
            price <= np.maximum((100.0 - strikes) * (1.0 if is_call else -1.0), 0.0)
        )
        assert (iv.status == np.where(exercised, "below_intrinsic", "ok")).all()
        # prices in the money keep only the digits that their intrinsic value leaves
        assert iv.vol[~exercised] == pytest.approx(np.full(9, 0.4)[~exercised], rel=1e-6)


def test_broadcasting_and_shape():
    iv = implied_vol([[5.0], [6.0]], 100.0, [95.0, 100.0, 105.0], 0.25, True)
    assert iv.vol.shape == iv.status.shape == (2, 3)


def test_unknown_names_and_text_raise_where_numbers_only_get_a_verdict():
    with pytest.raises(ArgumentError, match="style"):
        implied_vol(5.0, 100.0, 100.0, 0.1, True, style="bermudan")
    with pytest.raises(ArgumentError, match="price must be a number"):
        implied_vol("five", 100.0, 100.0, 0.1, True)


@pytest.mark.rows("style", ["american", "european"])
@pytest.mark.rows("dividend_yield", [1e-300, 3e-53, 1e-20, 1e-9])
def test_a_hair_off_the_money_is_no_harder_than_on_it(style, dividend_yield):
    terms = {"dividend_yield": dividend_yield, "style": style}
    for vol in (0.05, 1.0, 3.0):
        g = greeks(20.0, 20.0, 1.0, vol, True, **terms)
        assert float(implied_vol(g.price, 20.0, 20.0, 1.0, True, **terms).vol) == pytest.approx(
            vol, rel=1e-12
        )


def test_one_inversion_is_exact_from_the_smallest_to_the_largest_deviation():
    rng = np.random.default_rng(4)
    deviations = 10.0 ** rng.uniform(-5.0, 1.0, 3000)
    for s, h in zip(deviations, -8.0 * rng.uniform(0.0, 1.0, 3000) ** 2, strict=True):
        x = max(h * s, -14.0)
        slope = math.exp(-0.5 * ((x / s) ** 2 + 0.25 * s * s)) / math.sqrt(2.0 * math.pi)
        price = price_over_vega(x, s) * slope
        if 0.0 < price < math.exp(0.5 * x) * (1.0 - 1e-6):
            attainable = 2.2e-16 * (1.0 + price / (s * slope))  # what the rounding of the price leaves
            assert abs(normalised_iv(x, price) / s - 1.0) <= 40.0 * attainable
