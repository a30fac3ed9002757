from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.structure import Structure, StructureLeg, bounds_of, least_worth
from scalpdesk_testing.kit.instruments import option, straddle_book

RATIOS = st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=5)


def structure_of(*ratios):
    """Return a structure of calls 5 apart, the options 1, 2, ... in these ratios."""
    return Structure(
        tuple(StructureLeg(n, option("C", 500 + 5 * n), ratio) for n, ratio in enumerate(ratios, start=1))
    )


@given(RATIOS, st.integers(0, 50))
def test_what_is_missing_to_some_sets_makes_the_structure_whole_with_so_many(ratios, sets):
    structure = structure_of(*ratios)
    held = {number: Decimal(7 * number - 12) for number in structure.option_ids}
    for number, quantity in structure.missing(sets, held.__getitem__).items():
        held[number] += quantity
    assert held == {leg.option_id: sets * leg.ratio for leg in structure.legs}
    assert structure.is_whole(held.__getitem__)
    assert structure.sets_held(held.__getitem__) == sets
    assert not any(structure.missing(sets, held.__getitem__).values())


@given(RATIOS, st.data())
def test_no_more_sets_are_held_than_each_leg_has(ratios, data):
    structure = structure_of(*ratios)
    held = {number: Decimal(data.draw(st.integers(-30, 30))) for number in structure.option_ids}
    sets, missing = structure.sets_held(held.__getitem__), structure.missing

    def has_each(count):
        return all(missing(count, held.__getitem__)[leg.option_id] * leg.ratio <= 0 for leg in structure.legs)

    assert sets <= 0 or has_each(sets)
    assert sets < 0 or not has_each(sets + 1)


def test_a_figure_of_a_set_counts_each_option_by_its_signed_ratio():
    assert structure_of(1, -2, 3).total([0.5, 0.25, 2.0]) == 6.0


@pytest.mark.rows(
    ("call", "put", "is_whole", "sets"),
    [
        (2, 2, True, 2),
        (2, 1, False, 1),
        (1, 0, False, 0),
        (0, 0, True, 0),
        (-1, -1, True, -1),
        (2, -1, False, -1),
    ],
)
def test_half_a_straddle_is_not_whole(call, put, is_whole, sets):
    (straddle,) = STRADDLE.at(options_in_order(straddle_book(500), "SPY"))
    held = {1: Decimal(call), 2: Decimal(put)}
    assert straddle.is_whole(held.__getitem__) is is_whole
    assert straddle.sets_held(held.__getitem__) == sets


@pytest.mark.rows(
    "legs",
    [
        (),
        (StructureLeg(1, option("C"), 0),),
        (StructureLeg(1, option("C"), 1), StructureLeg(2, option("P"), 1), StructureLeg(1, option("C"), -1)),
    ],
)
def test_a_structure_without_legs_or_with_a_leg_twice_cannot_be_made(legs):
    with pytest.raises(ArgumentError):
        Structure(legs)


LEGS = st.lists(
    st.tuples(st.sampled_from("CP"), st.integers(95, 105), st.integers(-3, 3).filter(bool)),
    min_size=1,
    max_size=6,
)


@given(LEGS, st.lists(st.floats(0.01, 5_000.0), min_size=1, max_size=20))
def test_no_price_of_the_underlying_brings_a_set_out_of_its_bounds_and_some_strike_reaches_them(legs, prices):
    found = bounds_of([(option(right, 5 * strike), float(units)) for right, strike, units in legs])

    def worth(price):
        sides = [(1 if right == "C" else -1, 5.0 * strike, units) for right, strike, units in legs]
        return sum(100.0 * units * max(side * (price - strike), 0.0) for side, strike, units in sides)

    at_kinks = [worth(price) for price in (0.0, *(5.0 * strike for _, strike, _ in legs))]
    for bound, sign in ((found.least, 1.0), (found.most, -1.0)):
        calls = sign * sum(units for right, _, units in legs if right == "C")
        assert (bound is None) is (calls < 0)
        if bound is None:
            assert sign * worth(1e7) < min(sign * each for each in at_kinks)
        else:
            assert sign * bound == pytest.approx(min(sign * each for each in at_kinks), abs=1e-3)
            assert all(sign * worth(price) >= sign * bound - 1e-3 for price in prices)
    assert found.is_exact


def test_a_later_option_that_is_sold_leaves_the_least_unknown_and_one_that_is_bought_does_not():
    near, far = option("C", 500), option("C", 500, date(2024, 12, 20))
    assert least_worth([(far, 1.0), (near, -1.0)]) == pytest.approx(0.0, abs=1e-6)
    assert least_worth([(far, -1.0), (near, 1.0)]) is None
    assert not bounds_of([(far, 1.0), (near, -1.0)]).is_exact
