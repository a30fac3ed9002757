import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.risk.caps import (
    SizeCut,
    cut_by_volatility,
    cut_to,
    cut_to_holding,
    sets_of,
    volatility_factor,
)

D = Decimal


def intent(quantity=4, purpose=Purpose.OPEN, side=Side.BUY, number=0):
    return OrderIntent(number, side, D(quantity), purpose, "")


@pytest.mark.rows(
    ("quantities", "sets"),
    [
        (["4", "6"], 2),
        (["5"], 5),
        (["3", "3"], 3),
        (["0.5", "1.5"], 5),
        (["0.25", "0.1"], 5),
        (["1E+2"], 100),
        ([], 0),
    ],
)
def test_a_trade_divides_into_the_largest_number_of_equal_sets(quantities, sets):
    assert sets_of([D(one) for one in quantities]) == sets


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.data())
def test_cutting_keeps_the_ratio_of_the_legs_exactly(quantities, data):
    trade = [intent(one, number=number) for number, one in enumerate(quantities)]
    of = sets_of([one.quantity for one in trade])
    sets = data.draw(st.integers(0, of))
    left = cut_to(trade, sets, of)
    if not sets:
        assert left == ()
        return
    assert [one.quantity * of for one in left] == [one.quantity * sets for one in trade]
    assert all(one.quantity == int(one.quantity) for one in left)
    assert str(left[0].quantity).isdigit()  # no 1E+2 and no 2.0 on its way to a venue


def test_a_whole_trade_is_left_as_it_is():
    trade = (intent(4), intent(6))
    assert cut_to(trade, 2, 2) == trade


@pytest.mark.rows(
    ("vol", "factor"), [(0.05, 1.0), (0.15, 1.0), (0.20, 0.75), (0.30, 0.5), (0.60, 0.25), (3.0, 0.25)]
)
def test_size_follows_the_target_over_the_volatility_between_a_quarter_and_one(vol, factor):
    assert volatility_factor(0.15, vol) == pytest.approx(factor)


@pytest.mark.rows(
    ("sets", "vol", "left"),
    [(4, 0.30, 2), (5, 0.30, 2), (1, 0.1501, 0), (1, 0.15, 1), (4, 0.60, 1), (3, 0.60, 0)],
)
def test_the_scaled_size_is_rounded_down(sets, vol, left):
    cut = cut_by_volatility([intent(sets)], 0.15, vol)
    reason = f"volatility {vol:.1%} is above the target 15.0% (risk.target_vol)"
    assert cut == (None if left == sets else SizeCut(left, reason))


@pytest.mark.rows("vol", [None, math.nan, math.inf, 0.0, -0.2])
def test_without_a_volatility_nothing_opens(vol):
    cut = cut_by_volatility([intent()], 0.15, vol)
    assert cut == SizeCut(0, "risk.target_vol is set and no volatility is known")


@pytest.mark.rows("purpose", [Purpose.HEDGE, Purpose.CLOSE, Purpose.UNWIND_HEDGE])
def test_volatility_scales_only_what_opens(purpose):
    assert cut_by_volatility([intent(purpose=purpose)], 0.15, 3.0) is None


@pytest.mark.rows(
    ("side", "held", "selling", "most"),
    [
        (Side.SELL, 10, 0, 8),
        (Side.SELL, 5, 0, 5),
        (Side.SELL, 5, 3, 2),
        (Side.SELL, 5, 7, 0),
        (Side.SELL, 0, 1, 0),
        (Side.SELL, -5, 0, 0),
        (Side.BUY, -5, 0, 8),
    ],
)
def test_what_may_not_be_sold_short_is_sold_as_far_as_it_is_held(side, held, selling, most):
    found, reason = cut_to_holding(intent(8, Purpose.HEDGE, side), D(held), D(selling), "no borrow")
    assert found == most
    assert reason == ("" if most == 8 else f"no borrow: {8 - most} shares stay unhedged")
