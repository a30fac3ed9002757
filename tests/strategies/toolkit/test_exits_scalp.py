"""The exits of a st0ckg scalp, in their order."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.contract import Right
from scalpdesk.strategies.toolkit.exits import (
    ExitAction,
    ScalpExitConfig,
    ScalpView,
    first_reason,
    gain_in_r,
    scale_out_contracts,
    scalp_rules,
)

RULES = scalp_rules(ScalpExitConfig())
CALL = ScalpView(
    right=Right.CALL,
    entry_spot=Decimal("590.00"),
    spot=Decimal("590.00"),
    entry_price=Decimal("1.00"),
    price=Decimal("1.00"),
    is_past_deadline=False,
    is_scaled=False,
    is_breakeven_armed=False,
    invalid_below=Decimal("589.50"),
    invalid_above=Decimal("590.50"),
)
PUT = replace(CALL, right=Right.PUT)


def at(state, spot, price="1.00", **flags):
    worth = None if price is None else Decimal(price)
    return replace(state, spot=Decimal(spot), price=worth, **flags)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (CALL, None),
        (at(CALL, "590.30", "0.40", is_past_deadline=True), ExitAction.TIME_EXIT),
        (at(CALL, "590.30", "0.50"), ExitAction.STOP_LOSS),
        (at(CALL, "590.30", "1.00", is_breakeven_armed=True), ExitAction.BREAKEVEN_STOP),
        (at(CALL, "590.30", "1.20", is_breakeven_armed=True), ExitAction.FINAL_TARGET),
        (at(CALL, "590.15", "1.20"), ExitAction.SCALE_OUT),
        (at(CALL, "590.15", "1.20", is_scaled=True), ExitAction.SET_BREAKEVEN),
        (at(CALL, "590.29", "1.20", is_scaled=True, is_breakeven_armed=True), None),
        (at(CALL, "590.10"), ExitAction.SET_BREAKEVEN),
        (at(CALL, "589.49", "0.80"), ExitAction.INVALIDATED),
        (at(CALL, "589.50", "0.80"), None),
        (at(CALL, "590.60", "1.20", is_scaled=True, is_breakeven_armed=True), ExitAction.FINAL_TARGET),
        (at(PUT, "589.85", "1.10", is_breakeven_armed=True), ExitAction.SCALE_OUT),
        (at(PUT, "589.70", "1.10"), ExitAction.FINAL_TARGET),
        (at(PUT, "590.51", "0.80"), ExitAction.INVALIDATED),
        (at(PUT, "590.30", "0.80"), None),
    ],
)
def test_the_first_rule_that_says_so_wins(state, action):
    assert first_reason(RULES, state) == action


def test_without_a_price_the_rules_of_the_underlying_still_hold():
    assert first_reason(RULES, at(CALL, "590.00", None, is_breakeven_armed=True)) is None
    assert first_reason(RULES, at(CALL, "590.30", None)) is ExitAction.FINAL_TARGET
    assert first_reason(RULES, at(CALL, "590.00", None, is_past_deadline=True)) is ExitAction.TIME_EXIT


def test_no_levels_no_invalidation():
    assert first_reason(RULES, at(CALL, "500", "0.80", invalid_below=None)) is None


@given(st.integers(-500, 500))
def test_a_put_gains_what_a_call_loses(cents):
    spot = Decimal(590) + Decimal(cents) / 100
    gains = [gain_in_r(right, Decimal(590), spot, Decimal("0.10")) for right in (Right.CALL, Right.PUT)]
    assert gains[0] == -gains[1] == Decimal(cents) / 10


@pytest.mark.parametrize(("held", "sold"), [(1, 0), (2, 1), (3, 1), (10, 5)])
def test_scale_out_is_half_rounded_down(held, sold):
    assert scale_out_contracts(Decimal(held)) == sold


def test_steps_that_do_not_rise_are_refused():
    with pytest.raises(ConfigError):
        ScalpExitConfig(scale_out_at_r=Decimal(3))
