import numpy as np
import pytest

from scalpdesk.pricing import greeks


def tree(phi, strike, years, vol, rate, dividend_yield, steps=2000):
    """Cox, Ross and Rubinstein (1979), averaged over two parities: slow, simple, of another kind."""
    prices = []
    for n in (steps, steps + 1):
        dt = years / n
        up = np.exp(vol * np.sqrt(dt))
        p = (np.exp((rate - dividend_yield) * dt) - 1 / up) / (up - 1 / up)
        discount = np.exp(-rate * dt)
        spots = 100.0 * up ** (2.0 * np.arange(n + 1) - n)
        values = np.maximum(phi * (spots - strike), 0.0)
        for _ in range(n):
            spots = spots[1:] / up
            values = discount * (p * values[1:] + (1 - p) * values[:-1])
            values = np.maximum(values, phi * (spots - strike))
        prices.append(values[0])
    return sum(prices) / 2


@pytest.mark.rows(
    ("is_call", "strike", "years", "vol", "rate", "dividend_yield"),
    [
        (False, 105.0, 0.5, 0.3, 0.05, 0.0),  # the textbook put
        (False, 95.0, 1.0, 0.25, 0.02, 0.07),  # yield above the rate: the boundary starts below the strike
        (True, 100.0, 1.0, 0.25, 0.02, 0.07),
        (True, 100.0, 1.0, 0.25, 0.05, 0.05),  # a future
        (False, 110.0, 1.0, 0.3, 0.0, -0.04),  # no rate, negative yield
        (False, 100.0, 2.0, 0.3, -0.01, -0.06),  # two boundaries
        (True, 100.0, 2.0, 0.3, -0.06, -0.01),  # two boundaries, mirrored
        (False, 100.0, 2.0, 0.3, 0.04, -0.03),
    ],
)
def test_prices_agree_with_a_tree(is_call, strike, years, vol, rate, dividend_yield):
    g = greeks(100.0, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield)
    expected = tree(1.0 if is_call else -1.0, strike, years, vol, rate, dividend_yield)
    assert float(g.price) == pytest.approx(expected, abs=2e-3)


def test_in_the_exercise_region_the_option_is_its_intrinsic_value():
    g = greeks(60.0, 100.0, 0.5, 0.2, False, rate=0.05)
    assert float(g.price) == 40.0
    assert float(g.delta) == -1.0
    for name in ("gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
        assert float(getattr(g, name)) == 0.0


def test_price_and_delta_are_continuous_across_the_boundary():
    spots = np.linspace(80.0, 95.0, 3001)
    g = greeks(spots, 100.0, 0.25, 0.2, False, rate=0.06)
    exercised = g.gamma == 0.0
    assert exercised.any()
    assert not exercised.all()
    edge = int(np.argmin(exercised))
    assert not exercised[edge:].any()
    assert g.price[edge] - (100.0 - spots[edge]) < 1e-4
    assert g.delta[edge] == pytest.approx(-1.0, abs=2e-3)


def test_a_call_without_yield_is_european():
    terms = {"rate": 0.05}
    american = greeks(100.0, [80.0, 100.0, 120.0], 0.5, 0.3, True, **terms)
    european = greeks(100.0, [80.0, 100.0, 120.0], 0.5, 0.3, True, style="european", **terms)
    assert (american.price == european.price).all()
    assert (american.charm == european.charm).all()


def test_the_least_volatile_options_are_still_right():
    # next to no randomness: the best fixed time of exercise is the whole value
    g = greeks(100.0, 120.0, 40.0, 1e-6, False, rate=0.01, dividend_yield=0.5)
    when = np.log(0.01 * 120.0 / (0.5 * 100.0)) / (0.01 - 0.5)
    assert float(g.price) == pytest.approx(
        120.0 * np.exp(-0.01 * when) - 100.0 * np.exp(-0.5 * when), abs=1e-3
    )


@pytest.mark.rows("vol", [0.01, 0.03, 0.06])
def test_low_volatility_and_high_rates_stay_between_their_bounds(vol):
    spots = np.linspace(98.0, 103.0, 21)
    g = greeks(spots, 100.0, 9.0, vol, False, rate=0.08)
    assert (g.price >= np.maximum(100.0 - spots, 0.0)).all()
    assert (np.diff(g.price) <= 1e-9).all()
    assert (np.diff(g.price, 2) >= -1e-6).all()
    expected = [
        tree(-1.0, 100.0 * 100.0 / s, 9.0, vol, 0.08, 0.0, steps=3000) * s / 100.0 for s in spots[10:13]
    ]
    assert g.price[10:13] == pytest.approx(expected, abs=3e-3)


def test_neighbours_in_an_array_do_not_change_one_another():
    spots = np.array([95.0, 100.0, 95.0, 105.0, 100.0, 95.0])
    calls = np.array([True, False, False, True, False, True])
    vols = np.array([0.2, 0.2, 0.2, 0.3, 0.2, 0.2])
    together = greeks(spots, 100.0, 0.4, vols, calls, rate=0.03, dividend_yield=0.02)
    for index in range(spots.size):
        alone = greeks(spots[index], 100.0, 0.4, vols[index], calls[index], rate=0.03, dividend_yield=0.02)
        for name in ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
            assert getattr(together, name)[index] == float(getattr(alone, name))


@pytest.mark.rows("years", [0.02, 0.5])
@pytest.mark.rows("is_call", [True, False])
def test_gamma_reaches_its_value_at_the_boundary(is_call, years):
    rate, dividend_yield, vol = (0.01, 0.06, 0.2) if is_call else (0.06, 0.01, 0.2)
    inside, outside = (200.0, 100.0) if is_call else (50.0, 100.0)
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    for _ in range(60):
        middle = 0.5 * (inside + outside)
        if float(greeks(middle, 100.0, years, vol, is_call, **terms).gamma) == 0.0:
            inside = middle
        else:
            outside = middle
    # the pricing equation at value |S - K|, delta of one and no decay leaves only gamma
    expected = 2.0 * abs(rate * 100.0 - dividend_yield * outside) / (vol * outside) ** 2
    assert float(greeks(outside, 100.0, years, vol, is_call, **terms).gamma) == pytest.approx(
        expected, rel=1e-3
    )
    near = outside * (1.0 + (-1e-3 if is_call else 1e-3) * vol * np.sqrt(years))
    assert float(greeks(near, 100.0, years, vol, is_call, **terms).gamma) == pytest.approx(expected, rel=5e-3)


def test_a_call_at_a_negative_rate_without_yield_keeps_one_boundary():
    g = greeks(100.0, 95.0, 0.5, 0.3, True, rate=-0.0001)
    assert float(g.price) >= float(greeks(100.0, 95.0, 0.5, 0.3, True, rate=-0.0001, style="european").price)
    deep = greeks(200.0, 95.0, 2.0, 0.1, True, rate=-0.03)
    assert float(deep.price) == 105.0
    assert float(deep.gamma) == 0.0
