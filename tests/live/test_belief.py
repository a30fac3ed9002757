"""Positions that lie: no list makes a desk sell what it does not hold, and what a true one shows is sold."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.units import InstrumentId
from scalpdesk.live.belief import LAG_SECONDS, PositionBelief
from scalpdesk.venues.contract import VenuePosition

D = Decimal
CALL, PUT, SHARE = (InstrumentId(number) for number in range(3))
STRADDLE = {CALL: D(2), PUT: D(2), SHARE: D(-48)}


def listed(units):
    return [VenuePosition(str(number), number, D(quantity), D(1)) for number, quantity in units.items()]


def without_zeros(units):
    return {number: quantity for number, quantity in units.items() if quantity}


def leave(books, true, answer, seconds=60.0, lag=0.0):
    """Look each second and close what may be closed; return what the account holds at the end.

    ``answer``: Makes the list that the venue shows from what the account holds, and has held at first.
    """
    belief, account, first, now = PositionBelief(books), dict(true), dict(true), 0.0
    before, held = [], dict(account)
    while now < seconds:
        before.append(dict(account))
        seen = before[max(len(before) - 1 - int(lag), 0)]
        if belief.believes(listed(answer(seen, first)), now):
            for number, units in tuple((belief.held or {}).items()):
                if units:
                    held = account.get(number, D(0))
                    account[number] = held - units
                    assert abs(account[number]) <= abs(held), (number, held, units)
                    assert account[number] * held >= 0, (number, held, units)
                    belief.fill(number, -units)
                    break
        now += 1.0
    return without_zeros(account), belief


LIES = {
    "doubled": lambda units, first: {number: 2 * quantity for number, quantity in units.items()},
    "old": lambda units, first: first,
    "of before the hedge": lambda units, first: {CALL: D(2), PUT: D(2), SHARE: D(12)},
    "true": lambda units, first: units,
}


@pytest.mark.parametrize("lie", LIES)
def test_no_list_makes_more_be_closed_than_is_held(lie):
    left, belief = leave(STRADDLE, STRADDLE, LIES[lie])
    assert not {CALL, PUT} & left.keys()
    if lie != "of before the hedge":
        assert left == {}
        assert not any(belief.books.values())


def test_an_empty_list_is_no_flat_account():
    left, belief = leave(STRADDLE, STRADDLE, lambda units, first: {})
    assert left == STRADDLE
    assert belief.unshown() == STRADDLE


def test_a_list_that_is_filled_again_is_closed():
    answers = iter(range(1_000))
    left, belief = leave(STRADDLE, STRADDLE, lambda units, first: {} if next(answers) < 30 else units)
    assert left == {}
    assert belief.unshown() == {}


def test_an_account_that_moved_without_the_run_is_closed_once_its_list_has_proven_itself():
    left, belief = leave(STRADDLE, {CALL: D(2), PUT: D(2), SHARE: D(-60)}, LIES["true"])
    assert (left, belief.is_proven) == ({}, True)


def test_a_list_of_what_no_book_knows_is_believed_when_it_lasts():
    belief = PositionBelief({})
    assert not belief.believes(listed({SHARE: 100}), 0.0)
    assert not belief.believes(listed({SHARE: 100}), LAG_SECONDS - 0.1)
    assert belief.believes(listed({SHARE: 100}), LAG_SECONDS)
    assert belief.held == {SHARE: D(100)}


def test_a_leg_that_a_person_has_closed_is_gone_once_the_list_has_proven_itself():
    left, belief = leave(STRADDLE, {PUT: D(2), SHARE: D(-48)}, LIES["true"])
    assert (left, belief.unshown()) == ({}, {})


@given(
    true=st.dictionaries(st.sampled_from([CALL, PUT, SHARE]), st.integers(-9, 9).filter(bool), min_size=1),
    books=st.dictionaries(st.sampled_from([CALL, PUT, SHARE]), st.integers(-9, 9).filter(bool)),
    lag=st.integers(0, 4),
)
def test_a_true_list_is_closed_whatever_the_books_hold(true, books, lag):
    """Also one that is some seconds behind the executions: never through zero, and to the end."""
    left, _ = leave(
        {number: D(units) for number, units in books.items()},
        {number: D(units) for number, units in true.items()},
        LIES["true"],
        seconds=120.0,
        lag=lag,
    )
    assert left == {}


@given(
    held=st.dictionaries(st.sampled_from([CALL, PUT, SHARE]), st.integers(-9, 9).filter(bool)),
    lie=st.sampled_from(["doubled", "old", "true"]),
)
def test_right_books_close_all_beside_any_list(held, lie):
    account = {number: D(units) for number, units in held.items()}
    assert leave(account, account, LIES[lie], seconds=120.0)[0] == {}
