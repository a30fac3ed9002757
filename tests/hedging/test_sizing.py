import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import exact, round_half_away
from scalpdesk.hedging.sizing import quantity_to_target, split_at_zero, up_to_zero
from scalpdesk_testing.kit.hedges import hedge_quantity

SHARES = st.integers(-100_000, 100_000)


@given(delta=st.floats(-1e5, 1e5), owned=SHARES, pending=SHARES, straddles=st.integers(1, 50))
def test_a_hedge_leaves_at_most_half_a_share(delta, owned, pending, straddles):
    quantity = hedge_quantity(delta, owned, pending, straddles, threshold=0.0)
    assert abs(delta + owned + quantity + pending) <= 0.5 + 1e-9


@given(delta=st.floats(-1e5, 1e5), owned=SHARES, pending=SHARES)
def test_what_is_in_flight_counts_like_what_is_owned(delta, owned, pending):
    together = hedge_quantity(delta, owned + pending, 0, 1, 2.0)
    assert hedge_quantity(delta, owned, pending, 1, 2.0) == together
    assert hedge_quantity(-delta, -owned, -pending, 1, 2.0) == -together


@given(delta=st.floats(-1e4, 1e4), owned=SHARES)
def test_no_second_hedge_while_the_first_is_in_flight(delta, owned):
    first = hedge_quantity(delta, owned, 0, 1, 1.0)
    assert hedge_quantity(delta, owned, first, 1, 1.0) == 0


def test_floats_that_stand_for_the_threshold_are_equal_to_it():
    assert hedge_quantity(0.07 * 100, 0, 0, 1, 7.0) == 0
    assert hedge_quantity(0.1 + 0.2, 0, 0, 1, 0.3) == 0
    assert hedge_quantity(7.001, 0, 0, 1, 7.0) == -7


@pytest.mark.parametrize("delta", [math.nan, math.inf])
def test_an_unknown_delta_is_refused(delta):
    with pytest.raises(ArgumentError, match="finite"):
        hedge_quantity(delta, 0, 0, 1, 2.0)
    with pytest.raises(ArgumentError, match="unknown delta"):
        quantity_to_target(delta, 0.0)
    with pytest.raises(ArgumentError, match="unknown delta"):
        quantity_to_target(0.0, delta)


@pytest.mark.rows(
    ("net", "target", "quantity"),
    [(7.4, 3.1, -4), (-7.4, -3.1, 4), (3.4, 3.1, 0), (2.5, 0.0, -3), (-2.5, 0.0, 3)],
)
def test_quantity_to_target(net, target, quantity):
    assert quantity_to_target(net, target) == quantity


@given(owned=SHARES, quantity=SHARES)
def test_a_split_trades_the_whole_and_no_order_turns_the_sign(owned, quantity):
    orders = split_at_zero(owned, quantity)
    assert sum(orders) == quantity
    assert 0 not in orders
    held = owned
    for order in orders:
        assert held * (held + order) >= 0
        held += order
    assert len(orders) <= 2


@given(signed=SHARES, held=SHARES, leaves=st.integers(0, 1_000))
def test_no_order_beside_those_at_the_venue_crosses_zero(signed, held, leaves):
    at_venue = Decimal(leaves if signed > 0 else -leaves)
    part = up_to_zero(Decimal(signed), Decimal(held), at_venue)
    assert 0 <= part * signed <= signed**2
    if held * signed < 0 and part:
        assert held * (held + part + at_venue) >= 0
    if held * signed >= 0 or abs(signed) + leaves <= abs(held):
        assert part == signed


@given(
    st.sampled_from([0.0, 0.5, 1.5, 2.5, 7.5, 100.5, 1_000_000.5]),
    st.sampled_from([0.0, 1e-12, 4.9e-10, 1e-9, 1e-7, 9e-7, 2e-6]) | st.floats(0, 1_000),
    st.sampled_from([1, -1]),
    st.sampled_from([0.0, 0.25, -0.5]) | st.floats(-50, 50),
)
def test_the_quick_rounding_is_the_exact_one(half, off, sign, target):
    for net in (sign * (half + off), sign * (half - off)):
        assert quantity_to_target(net, target) == round_half_away(exact(target, 9) - exact(net, 9))
