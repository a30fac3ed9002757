"""Names of positions: every shape is recognised by its legs alone."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.entry.shape_names import name_structure, structure_text
from scalpdesk.entry.shapes import SHAPES
from scalpdesk_testing.kit.chain_desk import best_of, tools_of, view_at
from scalpdesk_testing.kit.instruments import option, share

SAME = {("ratio", "short"): ("back_ratio", "long"), ("back_ratio", "short"): ("ratio", "long")}
"""What has two names has that of the long side."""


@pytest.fixture(scope="module")
def view():
    return view_at(date(2017, 5, 10), "11:00")


def held_of(structure, sets):
    return [(leg.contract, Decimal(sets * leg.ratio)) for leg in structure.legs]


@pytest.mark.rows("right", ["call", "put"])
@pytest.mark.rows("side", ["long", "short"])
@pytest.mark.rows("name", sorted(SHAPES))
def test_every_shape_is_named_by_its_legs(view, name, side, right):
    structure = best_of(tools_of(view, shape=name, side=side, right=right), view).structure
    named = name_structure(reversed(held_of(structure, 3)))
    expected = SAME.get((name, side), (name, side))
    if name in {"butterfly", "broken_wing"}:  # wings by delta are seldom of equal width
        strikes = [leg.contract.strike for leg in structure.legs]
        equal = strikes[0] - strikes[1] == strikes[2] - strikes[0]
        expected = ("butterfly" if equal else "broken_wing", side)
    assert (named.shape, named.side, named.sets) == (*expected, 3)
    assert named.structure.ratios == {
        number: leg.ratio for number, leg in zip(named.structure.option_ids, structure.legs, strict=True)
    }


def test_a_ratio_of_one_to_three_is_a_ratio():
    legs = [(option("C", 500), Decimal(2)), (option("C", 510), Decimal(-6))]
    assert str(name_structure(legs)).startswith("2 × long ratio")


@pytest.mark.rows(
    "quantities",
    [
        {("C", 500): 1},
        {("C", 500): 1, ("P", 500): 2},
        {("C", 500): 1, ("P", 500): "0.5"},
        {("C", 500): 1, ("C", 510): 1},
        {("C", 500): 1, ("P", 500): 1, ("C", 510): -1},
        {(right, strike): 1 for right in "CP" for strike in (500, 510, 520, 530)},
    ],
)
def test_other_books_have_no_name(quantities):
    held = [(option(*which), Decimal(amount)) for which, amount in quantities.items()]
    assert name_structure(held) is None


@given(sets=st.integers(1, 50), parts=st.integers(1, 49), shares=st.integers(-500, 500))
def test_an_option_that_comes_in_parts_is_one_leg(sets, parts, shares):
    call, put = option("C", 500), option("P", 500)
    held = [(call, Decimal(sets)), (share("SPY"), Decimal(shares)), (put, Decimal(-sets))]
    split = [(call, Decimal(sets - parts)), (call, Decimal(parts))] if parts < sets else held[:1]
    assert structure_text([*split, *held[1:]]) == structure_text(held)
    straddle = [(call, Decimal(-sets)), (put, Decimal(-sets))]
    assert "short straddle" in structure_text(straddle)
