import math

import numpy as np
import pytest

from scalpdesk.marketdata.vol_filter import VolFilter
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk_testing.field_formulas import quoted_vol

MINUTE = 1.0 / 252 / 390


def black(forward, strike, vol, years, is_call):
    return option_greeks(forward, strike, years, vol, is_call, american=False)


@pytest.mark.rows("strike", [250.0, 275.0, 300.0])
@pytest.mark.rows("is_call", [True, False])
def test_a_quote_gives_back_its_volatility_whichever_side_it_is_on(strike, is_call):
    price = black(275.0, strike, 0.2, 0.1, is_call).price
    found = quoted_vol(275.0, strike, is_call, price - 0.01, price + 0.01, 0.1)
    assert found.mid == pytest.approx(0.2, rel=1e-9)
    assert found.bid < found.mid < found.ask
    # the spread is 2·√3 standard deviations of the mid, in volatility
    assert found.ask - found.bid == pytest.approx(2.0 * math.sqrt(3.0) * found.deviation, rel=2e-2)


def test_call_and_put_of_one_strike_have_one_volatility():
    call = quoted_vol(274.8, 282.0, True, 3.05, 3.13, 0.1139)
    turned = quoted_vol(274.8, 282.0, False, 3.05 + 7.2, 3.13 + 7.2, 0.1139)
    assert turned.mid == pytest.approx(call.mid, rel=1e-12)


def test_a_price_below_intrinsic_has_no_volatility():
    # the put at 15.30 against an intrinsic value of 25.63
    found = quoted_vol(265.37, 291.0, False, 15.2, 15.4, 0.0794)
    assert found.mid is None
    assert found.deviation is None
    assert quoted_vol(100.0, 90.0, False, 0.0, 0.02, 0.0119).bid is None


def test_noise_of_the_quotes_hardly_reaches_the_state():
    rng = np.random.default_rng(5)
    state = VolFilter()
    seen = []
    noise = 0.0043
    for measured in 0.157 + noise * rng.standard_normal(390):
        state.update(MINUTE, float(measured), noise)
        seen.append(state.vol)
    settled = np.array(seen[30:])
    assert np.abs(settled - 0.157).max() < noise
    assert np.diff(settled).std() < 0.25 * noise
    assert state.deviation < 0.4 * noise


def test_the_state_follows_a_volatility_that_moves():
    rng = np.random.default_rng(6)
    true = 0.15 * np.exp(np.cumsum(rng.standard_normal(3900)) * math.sqrt(MINUTE))
    state = VolFilter()
    misses = []
    for vol in true:
        state.update(MINUTE, float(vol + 0.002 * rng.standard_normal()), 0.002)
        misses.append((state.vol - vol) / state.deviation)
    # its own standard deviation is that of its errors
    assert float(np.std(misses[100:])) == pytest.approx(1.0, abs=0.15)


def test_one_wild_quote_is_passed_over_and_a_new_level_is_taken():
    state = VolFilter()
    state.update(0.0, 0.16, 0.001)
    assert [state.update(MINUTE, vol, 0.001) for vol in (0.3, 0.161, 0.19, 0.19, 0.19)] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert state.vol == 0.19


def test_a_tighter_quote_weighs_more():
    tight, wide = VolFilter(), VolFilter()
    for state, deviation in ((tight, 0.001), (wide, 0.01)):
        state.update(0.0, 0.16, 0.002)
        state.update(0.0, 0.162, deviation)
    assert 0.16 < wide.vol < tight.vol < 0.162
