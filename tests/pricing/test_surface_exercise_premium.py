import numpy as np
import pytest

from scalpdesk.pricing import greeks
from scalpdesk.pricing.american import premiums_at_yields
from scalpdesk.pricing.exercise_premium import exercise_premium, implied_vol_through_premium

STRIKES = np.array([90.0, 100.0, 110.0])
TERMS = {"rate": 0.05, "dividend_yield": 0.01}


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows("dividends", [None, [(0.4, 1.0)], [(0.05, 0.6), (0.2, 0.6)]])
def test_it_is_american_less_european(is_call, dividends):
    american, european = (
        greeks(100.0, STRIKES, 0.25, 0.3, is_call, dividends=dividends, style=style, **TERMS).price
        for style in ("american", "european")
    )
    # a dividend after expiry is none of this option's
    premium = exercise_premium(100.0, STRIKES, 0.25, np.full(3, 0.3), is_call, dividends=dividends, **TERMS)
    assert premium == pytest.approx(american - european, abs=2e-6)
    assert (premium >= 0.0).all()


@pytest.mark.parametrize("is_call", [True, False])
def test_the_volatility_of_quotes_is_seen_through_the_premium(is_call):
    strikes = np.arange(100.0, 116.0, 1.5) if is_call else np.arange(85.0, 100.1, 1.5)
    vol = 0.3 - 0.3 * np.log(strikes / 100.0)
    dividends = [(0.06, 0.9)]
    price = greeks(100.0, strikes, 0.15, vol, is_call, dividends=dividends, **TERMS).price
    sides = np.stack((price - 0.02, price + 0.02))
    sides[0, 2] = np.nan
    low, high = implied_vol_through_premium(
        sides, 100.0, strikes, 0.15, is_call, dividends=dividends, **TERMS
    )
    assert np.isnan(low[2])
    known = np.arange(len(strikes)) != 2
    assert (low[known] < vol[known]).all()
    assert (high[known] > vol[known]).all()
    assert 0.5 * (low + high)[known] == pytest.approx(vol[known], abs=3e-4)


def test_quotes_without_any_volatility_stay_unknown():
    sides = np.full((2, 3), np.nan)
    got = implied_vol_through_premium(sides, 100.0, STRIKES, 0.1, True, dividends=[(0.05, 1.0)], **TERMS)
    assert np.isnan(got).all()


@pytest.mark.rows("years", [1e-3, 0.1, 1.5])
def test_the_premiums_at_two_yields_are_those_of_a_chain_to_the_last_digit(years):
    strike, vol, yields = np.array([70.0, 95.0, 100.0, 130.0]), np.array([0.4, 0.2, 0.2, 0.9]), (0.0, 0.0165)
    found = premiums_at_yields(100.0, strike, years, vol, 0.03, yields)
    for at, dividend_yield in enumerate(yields):
        for side, is_call in enumerate((True, False)):
            expected = exercise_premium(
                100.0, strike, years, vol, is_call, rate=0.03, dividend_yield=dividend_yield
            )
            assert found[at, side].tolist() == expected.tolist()
    assert found[1].max() > 0.0
    assert found[0, 0].max() == 0.0
