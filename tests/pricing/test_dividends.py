import math

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.kernels.grid import CashTerms, fill_dividend

NAMES = ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")
PAID = [(0.1, 0.8), (0.35, 0.8)]


def test_dividends_at_or_before_now_and_after_expiry_do_not_count():
    terms = {"rate": 0.04, "style": "european"}
    plain = greeks(100.0, 100.0, 0.2, 0.25, True, **terms)
    for schedule in ([(0.0, 1.0)], [(-0.1, 1.0)], [(0.3, 1.0)], [(0.1, 0.0)], []):
        for model in ("escrowed", "spot"):
            paid = greeks(100.0, 100.0, 0.2, 0.25, True, dividends=schedule, model=model, **terms)
            for name in NAMES:
                assert float(getattr(paid, name)) == float(getattr(plain, name))


def test_the_order_of_the_schedule_does_not_matter():
    forward = greeks(100.0, 100.0, 0.5, 0.25, False, rate=0.04, dividends=PAID)
    backward = greeks(100.0, 100.0, 0.5, 0.25, False, rate=0.04, dividends=PAID[::-1])
    assert float(forward.price) == float(backward.price)


@pytest.mark.parametrize("style", ["american", "european"])
def test_only_the_dividends_before_each_expiry_count(style):
    both = greeks(100.0, 100.0, [0.05, 0.2, 0.5], 0.25, True, rate=0.04, dividends=PAID, style=style)
    none = greeks(100.0, 100.0, 0.05, 0.25, True, rate=0.04, style=style)
    one = greeks(100.0, 100.0, 0.2, 0.25, True, rate=0.04, dividends=PAID[:1], style=style)
    assert both.price[0] == float(none.price)
    assert both.price[1] == float(one.price)
    assert np.isfinite([getattr(both, name) for name in NAMES]).all()


@pytest.mark.parametrize("model", ["escrowed", "spot"])
@pytest.mark.parametrize("style", ["american", "european"])
@pytest.mark.parametrize("is_call", [True, False])
def test_greeks_are_the_slopes_of_the_price(model, style, is_call):
    def price(spot=100.0, vol=0.25, rate=0.04, shift=0.0):
        schedule = [(when - shift, cash) for when, cash in PAID]
        terms = {"rate": rate, "dividends": schedule, "model": model, "style": style}
        return greeks(spot, 102.0, 0.5 - shift, vol, is_call, **terms)

    g = price()
    up, down = price(spot=100.5), price(spot=99.5)
    assert float(g.delta) == pytest.approx(float(up.price - down.price), abs=2e-4)
    assert float(g.gamma) == pytest.approx(float(up.delta - down.delta), rel=5e-3)
    assert float(g.vega) == pytest.approx(
        float(price(vol=0.26).price - price(vol=0.24).price) / 0.02, rel=2e-3
    )
    assert float(g.rho) == pytest.approx(
        float(price(rate=0.041).price - price(rate=0.039).price) / 0.002, abs=0.05
    )
    day = 1.0 / 365.0
    later, earlier = price(shift=day), price(shift=-day)
    assert float(g.theta) == pytest.approx(float(later.price - earlier.price) / (2 * day), rel=5e-3)
    assert float(g.charm) == pytest.approx(float(later.delta - earlier.delta) / (2 * day), abs=5e-3)
    assert float(g.vanna) == pytest.approx(
        float(price(vol=0.26).delta - price(vol=0.24).delta) / 0.02, abs=5e-3
    )


def test_a_deep_call_is_exercised_before_a_large_dividend_and_not_otherwise():
    large = greeks(100.0, 60.0, 0.5, 0.2, True, rate=0.02, dividends=[(0.01, 5.0)])
    # exercise just before the ex-date: 100 - 60 e^{-0.02·0.01}
    assert float(large.price) == pytest.approx(100.0 - 60.0 * np.exp(-0.0002), abs=1e-3)
    european = greeks(100.0, 60.0, 0.5, 0.2, True, rate=0.02, dividends=[(0.01, 5.0)], style="european")
    assert float(large.price) > float(european.price) + 4.0


@pytest.mark.parametrize("model", ["escrowed", "spot"])
@pytest.mark.parametrize("style", ["american", "european"])
@pytest.mark.parametrize("is_call", [True, False])
def test_the_volatility_comes_back_from_the_price(model, style, is_call):
    terms = {"rate": 0.04, "dividends": PAID, "model": model, "style": style}
    price = greeks(100.0, [95.0, 100.0, 105.0], 0.5, 0.3, is_call, **terms).price
    iv = implied_vol(price, 100.0, [95.0, 100.0, 105.0], 0.5, is_call, **terms)
    assert iv.status.tolist() == ["ok"] * 3
    assert iv.vol == pytest.approx([0.3] * 3, abs=1e-8)


@pytest.mark.parametrize(
    ("strike", "years", "rate", "is_call", "schedule", "model", "certain"),
    [  # worth of the best fixed time of exercise, worked out by hand
        (
            95.0,
            0.5,
            0.05,
            True,
            [(0.27380497, 0.05)],
            "spot",
            100.0 - 95.0 * math.exp(-0.025) - 0.05 * 0.986403,
        ),
        (120.0, 1 / 365, 0.05, False, [(0.00059, 0.5)], "spot", 120.5 * math.exp(-0.05 * 0.00059) - 100.0),
        (
            105.0,
            0.5,
            0.2,
            True,
            [(0.2, 2.0)],
            "escrowed",
            100.0 - 105.0 * math.exp(-0.1) - 2.0 * math.exp(-0.04),
        ),
    ],
)
def test_a_price_below_the_value_without_volatility_has_none(
    strike, years, rate, is_call, schedule, model, certain
):
    terms = {"rate": rate, "dividends": schedule, "model": model}
    below = implied_vol(certain - 0.015, 100.0, strike, years, is_call, **terms)
    assert str(below.status) == "below_intrinsic"
    assert np.isnan(below.vol)
    above = implied_vol(certain + 0.015, 100.0, strike, years, is_call, **terms)
    assert str(above.status) == "ok"
    found = greeks(100.0, strike, years, float(above.vol), is_call, **terms)
    assert float(found.price) == pytest.approx(certain + 0.015, abs=1e-9)


@pytest.mark.parametrize("bad", [[(0.1,)], [(0.1, -1.0)], [(float("nan"), 1.0)], [("soon", 1.0)], [0.1]])
def test_a_bad_entry_of_the_schedule_is_named(bad):
    with pytest.raises(ArgumentError) as refusal:
        greeks(100.0, 100.0, 0.5, 0.2, True, dividends=[(0.05, 1.0), *bad])
    assert refusal.value.where == "dividends[1]"


def test_dividends_worth_the_whole_spot_are_refused():
    with pytest.raises(ArgumentError, match="reach the spot") as refusal:
        greeks([100.0, 3.0], 100.0, 0.5, 0.2, True, dividends=[(0.1, 4.0)])
    assert refusal.value.value == 3.0


@pytest.mark.parametrize("model", ["escrowed", "spot"])
@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize(
    ("strike", "schedule"),
    [
        (100.0, [(0.1, 0.8)]),
        (85.0, [(0.05, 1.5), (0.3, 1.5)]),
        (125.0, [(0.25, 0.3), (0.3, 1.0)]),  # a put is exercised well before the first ex-date
        (100.0, [(0.0001, 1.0), (0.499, 1.0)]),
    ],
)
def test_quadrature_agrees_with_finite_differences(model, is_call, strike, schedule):
    phi, times, cash = 1.0 if is_call else -1.0, *(np.array(column) for column in zip(*schedule, strict=True))
    g = greeks(100.0, strike, 0.5, 0.3, is_call, rate=0.05, dividends=schedule, model=model)
    terms = (np.array([term]) for term in (phi, 100.0, strike, 0.5, 0.3, 0.05, 0.0))
    columns = np.empty((9, 1))
    fill_dividend(*terms, CashTerms(times, cash, spot_model=model == "spot", american=True), columns)
    # price, then Greeks in the order of the names: theta follows from gamma
    limits = (4e-4, 6e-5, 1e-4, 5e-2, 3e-2, 0.1, 1e-2, 1.0, 5e-2)
    for name, expected, limit in zip(NAMES, columns[:, 0], limits, strict=True):
        assert float(getattr(g, name)) == pytest.approx(expected, abs=limit), name


@pytest.mark.parametrize(
    ("strike", "years", "vol", "rate", "when", "cash", "model", "price", "delta"),
    [  # QuantLib 1.44, finite differences on 2,000 nodes and 800 steps, extrapolated from half of them
        (108.856, 0.5, 0.1, 0.02, 0.623, 0.05, "spot", 8.8899, -0.9437),
        (161.607, 1.0, 0.4, 0.05, 0.611, 0.3, "spot", 61.7864, -0.9370),
        (121.17, 1.0, 0.2, 0.05, 0.6, 0.3, "escrowed", 21.2424, -0.9328),
        (106.184, 1.0, 0.2, 0.2, 0.502, 1.0, "spot", 6.6782, -0.7041),
    ],
)
def test_a_put_before_a_far_ex_date_is_held_until_its_boundary(
    strike, years, vol, rate, when, cash, model, price, delta
):
    terms = {"rate": rate, "dividends": [(when * years, cash)], "model": model}
    held = greeks(100.0, strike, years, vol, False, **terms)
    assert float(held.price) == pytest.approx(price, abs=8e-4)
    assert float(held.delta) == pytest.approx(delta, abs=1e-3)
    assert float(held.gamma) > 0.0
    for deeper in (1.1, 1.3):  # beyond the boundary
        exercised = greeks(100.0, deeper * strike, years, vol, False, **terms)
        assert float(exercised.price) == pytest.approx(deeper * strike - 100.0, abs=3e-4)


def test_two_dividends_on_one_day_are_one():
    whole = greeks(100.0, 102.0, 0.5, 0.25, [True, False], rate=0.04, dividends=[(0.2, 1.0)])
    parts = greeks(100.0, 102.0, 0.5, 0.25, [True, False], rate=0.04, dividends=[(0.2, 0.4), (0.2, 0.6)])
    assert parts.price == pytest.approx(whole.price, abs=1e-12)
