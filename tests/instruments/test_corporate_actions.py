from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.corporate_actions import (
    ActionKind,
    CorporateAction,
    adjusted_option,
    split_ratio,
    whole_units,
)

D = Decimal
DAY = date(2024, 6, 10)
CALL = us_option("XYZ240621C00060000", ["XYZ"])


def action(kind="split", ratio="1", **terms):
    return CorporateAction(symbol="XYZ", ex_date=DAY, kind=ActionKind(kind), ratio=D(ratio), **terms)


@pytest.mark.rows(
    ("happens", "symbol", "contracts", "multiplier", "delivers", "is_standard"),
    [
        (action(ratio="2"), "XYZ240621C00030000", 2, 100, 100, True),
        (action(ratio="7"), "XYZ240621C00008570", 7, 100, 100, True),
        (action(ratio="1.5"), "XYZ1240621C00040000", 1, 150, 150, True),
        (action(ratio="0.1"), "XYZ1240621C00060000", 1, 100, 10, False),
        (action("special_dividend", cash=D("3.75")), "XYZ240621C00056250", 1, 100, 100, True),
    ],
)
def test_an_option_is_adjusted_by_the_rules_of_the_clearing_house(
    happens, symbol, contracts, multiplier, delivers, is_standard
):
    after = adjusted_option(CALL, happens)
    assert (after.contract.symbol, after.contracts, after.contract.multiplier) == (
        symbol,
        contracts,
        multiplier,
    )
    assert (after.delivers, after.is_standard) == (delivers, is_standard)


def test_a_second_adjustment_takes_the_next_root():
    first = adjusted_option(CALL, action(ratio="1.5")).contract
    second = adjusted_option(first, action(ratio="1.5")).contract
    assert (second.root, second.multiplier) == ("XYZ2", 225)


RATIOS = st.sampled_from(["2", "3", "4", "7", "10", "20", "1.5", "1.25", "0.5", "0.1", "0.04"]).map(D)


@given(RATIOS, st.integers(1, 4_000), st.floats(0.01, 3_000))
def test_a_split_conserves_what_an_option_is_worth_at_expiry(ratio, strike, spot):
    option = us_option(f"XYZ240621P{strike * 1000:08d}", ["XYZ"])
    after = adjusted_option(option, action(ratio=str(ratio)))
    before_value = max(strike - spot, 0) * 100
    paid = float(after.contract.strike) * after.contract.multiplier
    value = after.contracts * max(paid - spot / float(ratio) * float(after.delivers), 0)
    rounding = 0.005 * after.contracts * after.contract.multiplier  # of the strike, to the cent
    assert value == pytest.approx(before_value, abs=rounding + 1e-6)


@given(st.decimals(-10_000, 10_000, places=3))
def test_whole_units_and_fraction_are_all_there_is(units):
    whole, fraction = whole_units(units)
    assert whole + fraction == units
    assert whole == int(whole)
    assert abs(fraction) < 1
    assert whole * units >= 0
    assert fraction * units >= 0


@given(st.integers(1, 100), st.integers(1, 30))
def test_a_ratio_is_found_again_from_the_rounded_factor_of_a_data_set(before, after):
    factor = round(D(before) / D(after), 6)
    assert split_ratio(factor) == D(after) / D(before)


@given(st.integers(1, 100), st.integers(1, 30), st.integers(-100_000, 100_000))
def test_a_holding_that_a_ratio_divides_leaves_no_fraction(before, after, lots):
    """300 shares are 100 after one for three; by the decimals of a third they were 99 and a fraction."""
    ratio = split_ratio(round(D(before) / D(after), 6))
    assert whole_units(before * lots * ratio) == (after * lots, 0)


@pytest.mark.rows(
    "terms",
    [
        {"ratio": "0"},
        {"ratio": "-1"},
        {"kind": "special_dividend", "cash": D(-1)},
    ],
)
def test_what_no_action_has_is_refused(terms):
    with pytest.raises(ArgumentError):
        action(**terms)
    with pytest.raises(ArgumentError, match="another share"):
        adjusted_option(replace(CALL, underlying="ABC"), action())
