"""Prices of a closing order by the model: from the value towards the least, on either side."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.ladder import DEEPEST, PriceLadder
from scalpdesk.core.intents import Side
from scalpdesk_testing.kit.instruments import option

D = Decimal


@given(st.floats(1.0, 50.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_each_step_by_the_model_gives_more_away_up_to_a_twentieth(value, one, other):
    first, second = sorted((one, other))
    buys, sells = (PriceLadder(option("C"), side, 0.0, 0.0) for side in (Side.BUY, Side.SELL))
    tick = D("0.05")
    bought = [buys.by_model(value, 0.0, step) for step in (0.0, first, second, 1.0)]
    assert bought == sorted(bought)
    assert abs(bought[0] - D(value)) <= tick
    assert abs(bought[-1] - D(value) / DEEPEST) <= tick
    sold = [sells.by_model(value, 0.0, step) for step in (0.0, first, second, 1.0)]
    assert sold == sorted(sold, reverse=True)
    assert abs(sold[0] - D(value)) <= tick
    assert abs(sold[-1] - D(value) * DEEPEST) <= tick
