from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.instruments import EXPIRY, option, share, straddle_book
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.instruments.contract import Instruments, Right, options_in_order
from scalpdesk.instruments.structure import STRADDLE, Shape, ShapeLeg, Structure, StructureLeg

LATER = date(2024, 5, 17)
RATIOS = st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=5)


def structure_of(*ratios):
    """Return a structure of calls 5 apart, the options 1, 2, ... in these ratios."""
    return Structure(
        tuple(StructureLeg(n, option("C", 500 + 5 * n), ratio) for n, ratio in enumerate(ratios, start=1))
    )


def test_a_straddle_is_a_call_and_a_put_of_one_strike_bought_one_each():
    book = straddle_book(500, 490)
    assert STRADDLE.at(reversed(options_in_order(book, "SPY"))) == [
        Structure((StructureLeg(3, option("C", 490), 1), StructureLeg(4, option("P", 490), 1))),
        Structure((StructureLeg(1, option("C", 500), 1), StructureLeg(2, option("P", 500), 1))),
    ]


def test_options_without_a_partner_of_their_root_are_left_out():
    book = Instruments(
        [
            share("SPX"),
            option("C", 5000, root="SPX"),
            option("P", 5000, root="SPXW"),
            option("C", 5100, root="SPXW"),
            option("P", 5100, root="SPXW"),
            option("P", 5200, root="SPXW"),
            option("C", 5200, LATER, root="SPXW"),
        ]
    )
    assert [each.option_ids for each in STRADDLE.at(options_in_order(book, "SPX"))] == [(3, 4)]


def test_a_shape_is_data_its_rules_place_the_legs_beside_the_first():
    """A put sold against a call ten below it and a month later: rows of data alone make another shape."""
    book = Instruments(
        [share(), option("P", 500), option("C", 490, LATER), option("P", 510), option("C", 500)]
    )
    shape = Shape(
        "diagonal of both kinds",
        (
            ShapeLeg(Right.PUT, Side.SELL, 2),
            ShapeLeg(Right.CALL, Side.BUY, 3, strike=lambda first: first.strike - 10, expiry=lambda _: LATER),
        ),
    )
    (found,) = shape.at(options_in_order(book, "SPY"))
    assert (str(found), found.first_expiry, found.last_expiry) == (
        "-2 SPY240419P00500000, +3 SPY240517C00490000",
        EXPIRY,
        LATER,
    )
    assert found.label == "2024-04-19/2024-05-17 500/490"


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
