from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.cli.summary_view import money
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import (
    exact,
    exceeds,
    floor_to,
    number_text,
    round_half_away,
    round_to_tick,
    rounded_text,
    to_cents,
    years_between,
)
from scalpdesk.monitor.texts import plain, signed


def test_a_float_becomes_the_exact_price_it_stands_for():
    assert exact(0.1 + 0.2) == Decimal("0.3000")
    assert exact(590.125, 2) == Decimal("590.12")
    assert str(exact(1.0)) == "1.0000"


@pytest.mark.rows("value", [float("nan"), float("inf"), float("-inf")])
def test_a_price_that_is_not_finite_is_refused(value):
    with pytest.raises(ArgumentError, match="finite") as caught:
        exact(value)
    assert caught.value.where == "value"


@given(st.integers(-10_000_000, 10_000_000))
def test_a_price_in_ten_thousandths_survives_the_float(ten_thousandths):
    price = Decimal(ten_thousandths) / 10_000
    assert exact(float(price)) == price


def test_cents_round_halves_away_from_zero():
    assert [to_cents(Decimal(x)) for x in ("2.675", "-2.675", "2.6749")] == [
        Decimal("2.68"),
        Decimal("-2.68"),
        Decimal("2.67"),
    ]


def test_whole_numbers_round_halves_away_from_zero_with_a_guard_for_float_sums():
    assert [round_half_away(x) for x in (2.5, -2.5, 0.5, -0.5, 1.49, -1.49)] == [3, -3, 1, -1, 1, -1]
    assert round_half_away(2.4999999999) == 3
    assert round_half_away(2.49999999) == 2
    assert round_half_away(Decimal("-3.5")) == -4


def test_prices_round_to_the_tick_grid_up_down_and_to_even():
    tick = Decimal("0.05")
    assert round_to_tick(Decimal("1.02"), tick, "up") == Decimal("1.05")
    assert round_to_tick(Decimal("1.04"), tick, "down") == Decimal("1.00")
    assert round_to_tick(Decimal("1.025"), tick) == Decimal("1.00")
    assert round_to_tick(Decimal("1.075"), tick) == Decimal("1.10")
    assert round_to_tick(Decimal("1.05"), tick, "up") == Decimal("1.05")


@pytest.mark.rows(
    ("tick", "side", "where"), [("0", "up", "tick"), ("-0.01", "up", "tick"), ("0.01", "sideways", "side")]
)
def test_a_wrong_tick_or_side_is_refused(tick, side, where):
    with pytest.raises(ArgumentError) as caught:
        round_to_tick(Decimal(1), Decimal(tick), side)
    assert caught.value.where == where


def test_sizes_are_cut_toward_zero():
    assert floor_to(Decimal("1.29"), Decimal("0.1")) == Decimal("1.2")
    assert floor_to(Decimal("-1.29"), Decimal("0.1")) == Decimal("-1.2")


def test_a_threshold_is_exceeded_only_strictly():
    assert not exceeds(0.3 / 0.1, 3.0)
    assert not exceeds(3.0, 3.0)
    assert exceeds(3.000001, 3.0)
    assert not exceeds(1e9 + 1e-4, 1e9)


def test_years_are_act_365_and_never_negative():
    assert years_between(0, 365 * 86_400 * 1_000_000_000) == 1.0
    assert years_between(0, 86_400 * 1_000_000_000) == pytest.approx(1 / 365, rel=1e-15)
    assert years_between(5, 4) == 0.0


@pytest.mark.rows(
    ("value", "shown"),
    [
        ("-0.00", "0"),
        ("-2.50", "-2.5"),
        ("10.50", "10.5"),
        ("1E+2", "100"),
        ("0.00", "0"),
        ("100", "100"),
        ("1E-7", "0.0000001"),
        ("5.0", "5"),
    ],
)
def test_an_exact_number_is_written_without_exponent_and_needless_zeros(value, shown):
    assert number_text(Decimal(value)) == shown


@pytest.mark.rows("value", [66.445, Decimal("66.4450"), Decimal("66.445")])
def test_a_figure_is_rounded_alike_as_a_float_and_exactly(value):
    """Python's format gives 66.44 for the exact figure, and for the float what its last bit decides."""
    assert rounded_text(value, 2) == str(to_cents(Decimal("66.445"))) == "66.45"
    assert signed(value) == "+66.45"
    assert plain(-value) == "−66.45"
    assert "+66.45" in money(value)


@given(st.decimals(-(10**9), 10**9, places=6), st.integers(0, 4))
def test_what_is_shown_is_the_nearest_and_a_tie_goes_away_from_zero(value, decimals):
    shown, unit = Decimal(rounded_text(value, decimals, "")), Decimal(1).scaleb(-decimals)
    assert abs(shown - value) <= unit / 2
    if abs(shown - value) == unit / 2:
        assert abs(shown) > abs(value)
    assert rounded_text(float(value), decimals, "") == rounded_text(value, decimals, "")


def test_a_figure_that_is_not_finite_or_too_large_for_cents_is_shown():
    assert [rounded_text(value, 2) for value in (float("nan"), float("inf"), 1e18)] == [
        "nan",
        "inf",
        "1,000,000,000,000,000,000.00",
    ]
