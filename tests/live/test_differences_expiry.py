"""Expiries that owners on both sides decide: what was bought by the close, what was sold by a later price."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.units import ZERO
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.settlement import settle_option
from scalpdesk.live.differences import AccountPicture, explain
from scalpdesk_testing.kit.instruments import DAY, straddle_book

D = Decimal
BOOK = straddle_book(495, 500, 505, expiry=DAY)
SHARE, CALL_495, PUT_495, CALL_500, PUT_500, CALL_505, PUT_505 = range(7)
ENDS_NS = expiry_instant_ns(BOOK[CALL_500])
AFTER_NS = ENDS_NS + 90 * 60 * 10**9


def explained(held, shares, cash):
    """Book what is found; return the causes by instrument, nothing being left over."""
    ours = AccountPicture(ENDS_NS - 1, D(0), {number: D(units) for number, units in held.items()})
    theirs = AccountPicture(AFTER_NS, D(cash), {SHARE: D(shares)} if shares else {})
    found = explain(ours, theirs, BOOK)
    assert found.unexplained == ()
    assert sum((each.cash for each in found.explained), ZERO) == cash
    assert len({each.event.reference for each in found.explained}) == len(found.explained)
    return sorted((str(each.cause), each.instrument_id, int(each.units)) for each in found.explained)


def test_a_bought_call_is_exercised_by_the_close_and_a_sold_one_below_it_is_not_assigned_later():
    """The close is 505.50; by the last notice the price is 499.50."""
    assert explained({CALL_505: 1, CALL_500: -1}, 100, -50_500) == [
        ("delivery", SHARE, 100),
        ("exercise", CALL_505, -1),
        ("expired_worthless", CALL_500, 1),
    ]


def test_of_several_sold_contracts_a_part_is_assigned():
    assert explained({PUT_500: -5}, 200, -100_000) == [
        ("assignment", PUT_500, 2),
        ("delivery", SHARE, 200),
        ("expired_worthless", PUT_500, 3),
    ]
    assert explained({PUT_500: -5, CALL_500: -2}, -200, 100_000)[0] == ("assignment", CALL_500, 2)


def test_beside_a_holding_that_is_assigned_whole_a_part_of_another_is():
    """The close is 495: of the puts at 495 the holders of one take shares all the same."""
    assert explained({PUT_500: -3, PUT_495: -4}, 400, -199_500) == [
        ("assignment", PUT_495, 1),
        ("assignment", PUT_500, 3),
        ("delivery", SHARE, 100),
        ("delivery", SHARE, 300),
        ("expired_worthless", PUT_495, 3),
    ]
    assert explained({CALL_500: -3, CALL_505: -4}, -400, 200_500)[:2] == [
        ("assignment", CALL_500, 3),
        ("assignment", CALL_505, 1),
    ]


@pytest.mark.rows(("shares", "cash"), [(250, -125_000), (600, -300_000), (-100, 50_000)])
def test_shares_that_no_part_delivers_are_the_operators(shares, cash):
    with pytest.raises(AssertionError):
        explained({PUT_500: -5}, shares, cash)


@given(
    held=st.dictionaries(st.integers(1, 6), st.integers(-4, 4).filter(bool), min_size=1, max_size=4),
    close=st.integers(49_300, 50_700),
    later=st.integers(49_300, 50_700),
)
def test_any_two_levels_are_explained(held, close, later):
    """Whatever the close and the later price are, the desk's book is the venue's afterwards."""
    moves = [
        change
        for number, units in held.items()
        for change in settle_option(
            BOOK[number], number, SHARE, D(units), D(close if units > 0 else later) / 100, ENDS_NS
        )
    ]
    shares = sum((each.quantity_change for each in moves if each.instrument_id == SHARE), ZERO)
    explained(held, shares, sum((each.cash_change for each in moves), ZERO))
