import numpy as np
import pytest

from scalpdesk.pricing import greeks
from scalpdesk.pricing.exercise_premium import exercise_premium, implied_vol_through_premium

STRIKES = np.array([90.0, 100.0, 110.0])
TERMS = {"rate": 0.05, "dividend_yield": 0.01}


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows("dividends", [None, [(0.4, 1.0)], [(0.05, 0.6), (0.2, 0.6)]])
@pytest.mark.rows("years", [1e-3, 0.25, 1.5])
@pytest.mark.rows("carry", [(0.05, 0.01), (0.03, 0.0), (-0.02, -0.05)])
def test_it_is_american_less_european(is_call, dividends, years, carry):
    terms = {"rate": carry[0], "dividend_yield": carry[1], "dividends": dividends}
    american, european = (
        greeks(100.0, STRIKES, years, 0.3, is_call, style=style, **terms).price
        for style in ("american", "european")
    )
    # a dividend after expiry is none of this option's
    premium = exercise_premium(100.0, STRIKES, years, np.full(3, 0.3), is_call, **terms)
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
