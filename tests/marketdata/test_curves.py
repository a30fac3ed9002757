import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.marketdata.curves import parity_implied_forward, tightest_parity_levels


@given(
    st.floats(50, 5000), st.floats(0.5, 1.5), st.floats(0.9, 1.0), st.floats(0.0, 2.0), st.floats(0.0, 2.0)
)
def test_prices_that_obey_parity_give_back_their_forward(forward, moneyness, discount, call_half, put_half):
    strike = forward * moneyness
    put = 30.0
    call = put + discount * (forward - strike)
    found, width = parity_implied_forward(
        strike, call - call_half, call + call_half, put - put_half, put + put_half, discount
    )
    assert found == pytest.approx(forward, rel=1e-12)
    assert width == pytest.approx((call_half + put_half) / discount, abs=1e-9)


def test_a_missing_side_gives_no_forward():
    forward, width = parity_implied_forward([100.0, 100.0], [1.0, np.nan], [1.2, 1.2], [0.9, 0.9], [1.0, 1.0])
    assert np.isfinite(forward).tolist() == [True, False]
    assert np.isfinite(width).tolist() == [True, False]


def test_a_discount_factor_of_zero_is_refused():
    with pytest.raises(ArgumentError, match="above 0"):
        parity_implied_forward(100.0, 1.0, 1.1, 1.0, 1.1, 0.0)


def test_the_tightest_pair_of_each_instant_speaks_and_the_lower_strike_breaks_ties():
    levels = tightest_parity_levels(
        np.array([2, 1, 1, 2, 3], dtype=np.int64),
        np.array([3800.0, 3800.0, 3700.0, 3700.0, 3700.0]),
        np.array([20.0, 10.0, 11.0, 21.0, np.nan]),
        np.array([0.5, 0.4, 0.9, 0.5, 0.1]),
    )
    assert levels.ts_ns.tolist() == [1, 2]
    assert levels.strike.tolist() == [3800.0, 3700.0]
    assert levels.level.tolist() == [10.0, 21.0]
    assert levels.uncertainty.tolist() == [0.4, 0.5]
