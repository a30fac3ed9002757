"""When a st0ckg scalp is closed: six rules and the signal's own end, in one order."""

from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.contract import Right


class ExitAction(StrEnum):
    """What a rule asks for; the order is the precedence."""

    TIME_EXIT = "time_exit"
    STOP_LOSS = "stop_loss"
    BREAKEVEN_STOP = "breakeven_stop"
    FINAL_TARGET = "final_target"
    SCALE_OUT = "scale_out"
    SET_BREAKEVEN = "set_breakeven"
    INVALIDATED = "invalidated"


CLOSES_ALL = frozenset(ExitAction) - {ExitAction.SCALE_OUT, ExitAction.SET_BREAKEVEN}
"""Actions after which nothing is held."""


class ScalpExitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Distances and times of the exits.

    Parameters
    ----------
    risk_unit_usd
        1R: so far the underlying has to go the right way (currency per share).
    breakeven_at_r, scale_out_at_r, final_target_at_r
        In R: from here the entry price is the stop; half is sold; all is sold.
    stop_fraction
        Sell when the option is worth this fraction of its entry price or less.
    flat_minutes_before_close
        Sell so many minutes before the session's close (half days included).
    """

    risk_unit_usd: Decimal = Decimal("0.10")
    breakeven_at_r: Decimal = Decimal(1)
    scale_out_at_r: Decimal = Decimal("1.5")
    final_target_at_r: Decimal = Decimal(3)
    stop_fraction: Decimal = Decimal("0.50")
    flat_minutes_before_close: float = 10.0

    def __post_init__(self) -> None:
        """Refuse distances that cannot follow one another."""
        steps = (Decimal(0), self.breakeven_at_r, self.scale_out_at_r, self.final_target_at_r)
        if self.risk_unit_usd <= 0 or any(a >= b for a, b in pairwise(steps)):
            raise ConfigError(
                "the steps of an exit must rise: breakeven, scale-out, final target",
                where="exits",
                value=[str(step) for step in steps[1:]],
            )


class ScalpState(msgspec.Struct, frozen=True):
    """One open scalp as its rules see it."""

    right: Right
    entry_spot: Decimal
    """Underlying when the entry was filled."""
    spot: Decimal
    entry_price: Decimal
    """Average price paid per unit."""
    price: Decimal | None
    """What a unit is worth now; None while there is no usable quote."""
    is_past_deadline: bool
    is_scaled: bool
    is_breakeven_armed: bool
    invalid_below: Decimal | None = None
    invalid_above: Decimal | None = None
    """Levels of the underlying beyond which a bullish (bearish) reason no longer holds."""


def gain_in_r(right: Right, entry_spot: Decimal, spot: Decimal, risk_unit_usd: Decimal) -> Decimal:
    """Return how many risk units the underlying went the right way: up for a call, down for a put."""
    moved = spot - entry_spot
    return (moved if right.is_call else -moved) / risk_unit_usd


def exit_action(state: ScalpState, config: ScalpExitConfig) -> ExitAction | None:
    """Return the first rule that asks for something, in the order of :class:`ExitAction`.

    Without a usable price the two rules that need one are passed over; the others still hold.
    """
    gain = gain_in_r(state.right, state.entry_spot, state.spot, config.risk_unit_usd)
    price = state.price
    if state.is_past_deadline:
        return ExitAction.TIME_EXIT
    if price is not None and price <= config.stop_fraction * state.entry_price:
        return ExitAction.STOP_LOSS
    if price is not None and state.is_breakeven_armed and price <= state.entry_price:
        return ExitAction.BREAKEVEN_STOP
    if gain >= config.final_target_at_r:
        return ExitAction.FINAL_TARGET
    if gain >= config.scale_out_at_r and not state.is_scaled:
        return ExitAction.SCALE_OUT
    if gain >= config.breakeven_at_r and not state.is_breakeven_armed:
        return ExitAction.SET_BREAKEVEN
    if is_beyond(state.right, state.spot, state.invalid_below, state.invalid_above):
        return ExitAction.INVALIDATED
    return None


def is_beyond(right: Right, spot: Decimal, below: Decimal | None, above: Decimal | None) -> bool:
    """Return whether the underlying has left the level that the reason stands on; False where none is known.

    A bullish reason (a call) ends below ``below``, a bearish one (a put) above ``above``.
    """
    if right.is_call:
        return below is not None and spot < below
    return above is not None and spot > above


def scale_out_contracts(held: Decimal) -> int:
    """Return how many of ``held`` contracts a scale-out sells: half, rounded down; none of one."""
    return int(held // 2)
