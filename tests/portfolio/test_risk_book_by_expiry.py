"""Vega by expiry, beside its weight: published closed forms of a book of three expiries, and laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.portfolio.risk_book import RiskBook, RiskLeg, RiskPart

SPOT, RATE, YIELD = 600.0, 0.04, 0.012
HELD = (
    (-20, True, 605.0, 7, 0.135),
    (-20, False, 590.0, 7, 0.165),
    (15, True, 600.0, 35, 0.15),
    (15, False, 600.0, 35, 0.15),
    (8, False, 560.0, 98, 0.19),
    (-5, True, 650.0, 98, 0.135),
)


def leg(quantity, is_call, strike, days, vol):
    years = days / 365.0
    return RiskLeg(
        symbol=f"{strike}{is_call}",
        strike=strike,
        is_call=is_call,
        units=100.0 * quantity,
        vol=vol,
        forward=SPOT * math.exp((RATE - YIELD) * years),
        years=(years,),
        clock_years=(years,),
        rate=RATE,
        dividend_yield=YIELD,
        style="european",
    )


def book(held=HELD, shares=0.0):
    legs = tuple(leg(*each) for each in held)
    return RiskBook(as_of_ns=0, parts=(RiskPart(underlying="SPY", spot=SPOT, legs=legs, shares=shares),))


def test_a_book_of_three_expiries_is_long_raw_and_short_weighted_vega():
    """Black-Scholes-Merton in closed form, against a derivative of 40 digits."""
    rows = book().by_expiry().rows
    assert [round(row.days) for row in rows] == [7, 35, 98]
    assert [row.vega for row in rows] == pytest.approx([-1103.02034, 2213.83236, 328.706851], rel=1e-6)
    weighted = [-2283.46905, 2049.61049, 181.868023]
    assert [row.weighted_vega for row in rows] == pytest.approx(weighted, rel=1e-6)
    total = book().by_expiry().total
    assert (total["vega"], total["weighted_vega"]) == pytest.approx((1439.51887, -51.9905323), rel=1e-6)
    assert sum(row.delta for row in rows) == pytest.approx(-388.800671, rel=1e-6)
    assert sum(row.gamma for row in rows) == pytest.approx(-65.0201427, rel=1e-6)
    assert total["theta"] == pytest.approx(673.467886, rel=1e-6)
    assert sum(row.vanna for row in rows) == pytest.approx(-17.205969, rel=1e-6)
    assert total["volga"] == pytest.approx(-32.0828856, rel=1e-6)
    assert sum(row.charm for row in rows) == pytest.approx(-4.31537099, rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "weigh", "full", "first", "second"),
    [
        ("parallel", None, 2821.54993, 2879.03773, -64.1657712),
        ("root of time", None, -281.646543, -103.981065, -218.058054),
        ("slope", {7: 1.5, 35: 0.0, 98: -0.5}, -3738.10474, -3637.76788, -116.193726),
    ],
)
def test_a_move_of_the_term_structure_costs_what_full_repricing_says(shape, weigh, full, first, second):
    by_days = None if weigh is None else lambda years: weigh[round(365 * years)]
    found = book().term_shock(shape, 2.0, by_days)
    assert (found.full, found.first, found.second) == pytest.approx((full, first, second), rel=1e-6)
    assert found.rest == pytest.approx(full - first - second, abs=1e-4)


LEGS = st.tuples(
    st.integers(-20, 20).filter(bool),
    st.booleans(),
    st.floats(500.0, 700.0),
    st.integers(1, 400),
    st.floats(0.08, 0.6),
)


@given(st.lists(LEGS, max_size=6), st.randoms(use_true_random=False), st.integers(2, 5))
def test_sums_are_of_the_book_linear_and_whatever_the_order(held, order, times):
    total = book(held).by_expiry().total
    shuffled = list(held)
    order.shuffle(shuffled)
    more = [(times * quantity, *rest) for quantity, *rest in held]
    closed = [*held, *((-quantity, *rest) for quantity, *rest in held)]
    for name, amount in total.items():
        alone = sum(book([each]).by_expiry().total[name] for each in held)
        near = 1e-9 * (1.0 + sum(abs(book([each]).by_expiry().total[name]) for each in held))
        assert amount == pytest.approx(alone, abs=near)
        assert book(shuffled).by_expiry().total[name] == pytest.approx(amount, abs=near)
        assert book(more).by_expiry().total[name] == pytest.approx(times * amount, abs=times * near)
        assert book(closed).by_expiry().total[name] == pytest.approx(0.0, abs=near)


def test_shares_have_no_row_and_an_empty_book_has_zeros():
    assert book((), shares=100.0).by_expiry().rows == []
    assert set(book(()).by_expiry().total.values()) == {0.0}
    assert book((), shares=100.0).term_shock("parallel").full == 0.0
