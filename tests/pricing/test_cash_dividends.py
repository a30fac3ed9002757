import math

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks, implied_vol

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


@pytest.mark.rows("model", ["escrowed", "spot"])
@pytest.mark.rows("style", ["american", "european"])
@pytest.mark.rows("is_call", [True, False])
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


@pytest.mark.rows("model", ["escrowed", "spot"])
@pytest.mark.rows("style", ["american", "european"])
@pytest.mark.rows("is_call", [True, False])
def test_the_volatility_comes_back_from_the_price(model, style, is_call):
    terms = {"rate": 0.04, "dividends": PAID, "model": model, "style": style}
    price = greeks(100.0, [95.0, 100.0, 105.0], 0.5, 0.3, is_call, **terms).price
    iv = implied_vol(price, 100.0, [95.0, 100.0, 105.0], 0.5, is_call, **terms)
    assert iv.status.tolist() == ["ok"] * 3
    assert iv.vol == pytest.approx([0.3] * 3, abs=1e-8)


@pytest.mark.rows(
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


@pytest.mark.rows("bad", [[(0.1,)], [(0.1, -1.0)], [(float("nan"), 1.0)], [("soon", 1.0)], [0.1]])
def test_a_bad_entry_of_the_schedule_is_named(bad):
    with pytest.raises(ArgumentError) as refusal:
        greeks(100.0, 100.0, 0.5, 0.2, True, dividends=[(0.05, 1.0), *bad])
    assert refusal.value.where == "dividends[1]"


def test_dividends_worth_the_whole_spot_are_refused():
    with pytest.raises(ArgumentError, match="reach the spot") as refusal:
        greeks([100.0, 3.0], 100.0, 0.5, 0.2, True, dividends=[(0.1, 4.0)])
    assert refusal.value.value == 3.0


@pytest.mark.rows(
    ("model", "is_call", "strike", "schedule", "price", "delta", "gamma"),
    [  # QuantLib 1.44, finite differences on 2,000 nodes and 1,000 steps, extrapolated from half of them: its
        # exercise at discrete times makes an error of first order
        ("escrowed", True, 100.0, [(0.1, 0.8)], 9.17218, 0.57387, 0.018631),
        ("escrowed", True, 85.0, [(0.05, 1.5), (0.3, 1.5)], 16.86133, 0.81691, 0.014163),
        ("escrowed", True, 125.0, [(0.25, 0.3), (0.3, 1.0)], 1.95102, 0.18706, 0.012834),
        ("escrowed", True, 100.0, [(0.0001, 1.0), (0.499, 1.0)], 8.96346, 0.57024, 0.018904),
        ("escrowed", False, 100.0, [(0.1, 0.8)], 7.74246, -0.44577, 0.020114),
        ("escrowed", False, 85.0, [(0.05, 1.5), (0.3, 1.5)], 2.57962, -0.20369, 0.014002),
        ("escrowed", False, 125.0, [(0.25, 0.3), (0.3, 1.0)], 25.93861, -0.83984, 0.013517),
        ("escrowed", False, 100.0, [(0.0001, 1.0), (0.499, 1.0)], 8.03680, -0.45177, 0.019567),
        ("spot", True, 100.0, [(0.1, 0.8)], 9.18550, 0.57377, 0.018603),
        ("spot", True, 85.0, [(0.05, 1.5), (0.3, 1.5)], 16.92721, 0.81423, 0.014043),
        ("spot", True, 125.0, [(0.25, 0.3), (0.3, 1.0)], 1.99104, 0.18886, 0.012807),
        ("spot", True, 100.0, [(0.0001, 1.0), (0.499, 1.0)], 9.04558, 0.56996, 0.018719),
        ("spot", False, 100.0, [(0.1, 0.8)], 7.75687, -0.44593, 0.020088),
        ("spot", False, 85.0, [(0.05, 1.5), (0.3, 1.5)], 2.64652, -0.20627, 0.013914),
        ("spot", False, 125.0, [(0.25, 0.3), (0.3, 1.0)], 25.97733, -0.83765, 0.013430),
        ("spot", False, 100.0, [(0.0001, 1.0), (0.499, 1.0)], 8.11882, -0.45180, 0.019364),
    ],
)
def test_prices_and_slopes_agree_with_quantlib(model, is_call, strike, schedule, price, delta, gamma):
    g = greeks(100.0, strike, 0.5, 0.3, is_call, rate=0.05, dividends=schedule, model=model)
    assert float(g.price) == pytest.approx(price, abs=1e-4)
    assert float(g.delta) == pytest.approx(delta, abs=5e-5)
    assert float(g.gamma) == pytest.approx(gamma, abs=1e-4)


def priced(*, spot=100.0, strike=100.0, vol=1.2, is_call=False, **terms):
    return greeks(spot, strike, 0.955, vol, is_call, **terms)


@pytest.mark.rows(
    "terms",
    [
        {"rate": -0.01466, "vol": 1.498, "strike": 349.03},
        {"rate": -0.01, "strike": [20.0, 100.0, 500.0]},
        {"rate": 0.0, "dividend_yield": 0.02},
        {"rate": -0.02, "dividend_yield": -0.01, "vol": 0.2},
        # dividends of 2 % against interest of 4 and 10 % of the strike
        {"is_call": True, "rate": 0.1, "strike": [60.0, 100.0, 140.0]},
        {"is_call": True, "rate": 0.15, "dividend_yield": -0.01, "vol": 0.1},
    ],
)
def test_an_option_that_early_exercise_gains_nothing_has_the_european_closed_form(terms):
    schedule = [(0.1, 0.8), (0.35, 0.8)]
    american = priced(dividends=schedule, **terms)
    european = priced(dividends=schedule, style="european", **terms)
    for name in NAMES:
        assert getattr(american, name) == pytest.approx(getattr(european, name), abs=1e-12), name
    found = implied_vol(
        american.price,
        100.0,
        terms.get("strike", 100.0),
        0.955,
        terms.get("is_call", False),
        rate=terms["rate"],
        dividend_yield=terms.get("dividend_yield", 0.0),
        dividends=schedule,
    )
    assert found.vol == pytest.approx(terms.get("vol", 1.2), abs=1e-9)


def test_a_call_at_a_negative_yield_is_worth_exercising_at_the_ex_date():
    # 56.8056 by a tree of Cox, Ross and Rubinstein, 3,000 and 3,001 steps
    terms = {"rate": 0.036114, "dividend_yield": -0.02596, "dividends": [(0.0912836, 0.3692111)]}
    g = greeks(100.0, 43.6828, 0.11180395, 1.1501487, True, **terms)
    assert float(g.price) == pytest.approx(56.8056, abs=5e-4)


def test_a_call_whose_dividends_outweigh_the_interest_is_worth_more_than_the_european():
    schedule = [(0.1, 0.8), (0.9, 0.8)]  # 0.055 years of interest on the strike after the last
    american, european = (
        priced(is_call=True, vol=0.2, strike=70.0, rate=0.05, dividends=schedule, style=style)
        for style in ("american", "european")
    )
    assert float(american.price) > float(european.price) + 0.05


@pytest.mark.parametrize("model", ["escrowed", pytest.param("spot", marks=pytest.mark.second)])
@pytest.mark.parametrize("is_call", [True, pytest.param(False, marks=pytest.mark.second)])
def test_prices_are_monotone_and_convex_across_the_exercise_boundary(model, is_call):
    side = 1.0 if is_call else -1.0
    spots = np.linspace(60.0, 160.0, 101)
    g = priced(spot=spots, vol=0.25, is_call=is_call, rate=0.05, dividends=[(0.6, 0.5)], model=model)
    assert (side * np.diff(g.price) >= -1e-9).all()
    assert (np.abs(np.diff(g.price)) <= 1.0 + 1e-5).all()
    assert (np.diff(g.price, 2) >= -2e-4).all()
    assert (g.price >= side * (spots - 100.0) - 1e-9).all()
    strikes = priced(strike=spots, vol=0.25, is_call=is_call, rate=0.05, dividends=[(0.6, 0.5)], model=model)
    assert (side * np.diff(strikes.price) <= 1e-9).all()
    vols = np.linspace(0.05, 1.5, 30)
    wilder = priced(vol=vols, is_call=is_call, rate=0.05, dividends=[(0.6, 0.5)], model=model)
    assert (np.diff(wilder.price) > 0.0).all()


@pytest.mark.rows("strike", [85.0, 100.0, 120.0])
def test_american_parity_with_dividends_is_an_inequality(strike):
    schedule, rate = [(0.2, 1.0), (0.7, 1.0)], 0.05
    worth = sum(cash * math.exp(-rate * when) for when, cash in schedule)
    for model in ("escrowed", "spot"):
        call, put = (
            float(priced(strike=strike, vol=0.3, is_call=c, rate=rate, dividends=schedule, model=model).price)
            for c in (True, False)
        )
        assert 100.0 - worth - strike <= call - put <= 100.0 - strike * math.exp(-rate * 0.955)


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows("strike", [80.0, 100.0, 125.0])
def test_the_two_models_meet_where_the_dividend_is_about_to_be_paid(is_call, strike):
    terms = {"strike": strike, "vol": 0.3, "is_call": is_call, "rate": 0.05, "dividends": [(1e-5, 2.0)]}
    escrowed, spot = (float(priced(model=model, **terms).price) for model in ("escrowed", "spot"))
    assert spot == pytest.approx(escrowed, abs=2e-3)


@pytest.mark.rows(
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


@pytest.mark.rows("model", ["escrowed", "spot"])
def test_options_that_march_side_by_side_do_not_change_one_another(model):
    rng, count = np.random.default_rng(5), 23
    strike, vol = rng.uniform(80.0, 120.0, count), rng.uniform(0.1, 0.9, count)
    years, is_call = rng.choice([0.2, 0.5], count), rng.random(count) < 0.5
    terms = {"rate": 0.04, "dividends": PAID, "model": model}
    together = greeks(100.0, strike, years, vol, is_call, **terms)
    found = implied_vol(together.price, 100.0, strike, years, is_call, **terms)
    for at in range(0, count, 4):
        own = strike[at], years[at]
        alone = greeks(100.0, *own, vol[at], is_call[at], **terms)
        for name in NAMES:
            assert getattr(together, name)[at] == float(getattr(alone, name))
        assert found.vol[at] == float(implied_vol(alone.price, 100.0, *own, is_call[at], **terms).vol)
