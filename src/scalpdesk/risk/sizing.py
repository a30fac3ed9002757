"""How much of a trade may go: its size cut to the caps, to the volatility, to what may be sold.

The legs of one trade are cut together, so that their ratio holds: a trade is a whole number of sets,
and the largest number within every cap is what goes.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.intents import OrderIntent, Side
from scalpdesk.risk.context import OPENING
from scalpdesk.risk.exposure import Exposure, Room, largest_within

LEAST_FACTOR = 0.25
ZERO = Decimal(0)


class Cut(NamedTuple):
    """How many sets of a trade may go, and why not all."""

    sets: int
    reason: str = ""


def sets_of(quantities: Sequence[Decimal]) -> int:
    """Return into how many equal sets of whole units a trade divides.

    >>> sets_of([Decimal(4), Decimal(6)])
    2
    """
    finest = max((-int(one.as_tuple().exponent) for one in quantities), default=0)
    scale = 10 ** max(finest, 0)
    return math.gcd(*(int(one * scale) for one in quantities)) if quantities else 0


def cut_to(intents: Sequence[OrderIntent], sets: int, of: int) -> tuple[OrderIntent, ...]:
    """Return the intents cut to ``sets`` of their ``of`` sets; none when nothing is left."""
    if sets == of:
        return tuple(intents)
    if not sets:
        return ()
    return tuple(msgspec.structs.replace(one, quantity=_plain(one.quantity / of * sets)) for one in intents)


def _plain(quantity: Decimal) -> Decimal:
    whole = quantity.to_integral_value()
    return whole if whole == quantity else quantity.normalize()


def volatility_factor(target_vol: float, vol: float) -> float:
    """Return what sizes are multiplied with: target over actual, from a quarter to one.

    >>> volatility_factor(0.15, 0.30)
    0.5
    """
    return min(max(target_vol / vol, LEAST_FACTOR), 1.0)


def cut_by_volatility(intents: Sequence[OrderIntent], sets: int, target_vol: float, vol: float | None) -> Cut:
    """Cut an opening trade to the volatility; nothing opens while that is not known.

    Parameters
    ----------
    intents
        The trade's orders.
    sets
        How many sets it has.
    target_vol, vol
        Fractions a year; ``vol`` is the forecast, None when there is none.
    """
    if not any(one.purpose in OPENING for one in intents):
        return Cut(sets)
    if vol is None or not math.isfinite(vol) or vol <= 0.0:
        return Cut(0, "risk.target_vol is set and no volatility is known")
    allowed = math.floor(sets * volatility_factor(target_vol, vol) + 1e-12)
    if allowed == sets:
        return Cut(sets)
    return Cut(allowed, f"volatility {vol:.1%} is above the target {target_vol:.1%} (risk.target_vol)")


def cut_to_caps(before: Exposure, trade: Exposure, sets: int, caps: tuple[Room, ...]) -> Cut:
    """Cut a trade to the Greeks caps.

    Parameters
    ----------
    before, trade
        Exposure of the book and of the whole trade.
    sets
        How many sets the trade has.
    caps
        From :func:`scalpdesk.risk.exposure.rooms`.
    """
    per_set = Exposure(*(figure / sets for figure in trade))
    allowed, binding = largest_within(before, per_set, sets, caps)
    if allowed == sets:
        return Cut(sets)
    after = before.plus(trade)
    reasons = []
    for start, end, room in zip(before, after, caps, strict=True):
        if room in binding:
            cap = room.high if end > 0 else -room.low
            reasons.append(f"{room.name} would be {end:.0f} (now {start:.0f}), cap {cap:.0f} ({room.key})")
    return Cut(allowed, "; ".join(reasons))


def cut_to_holding(intent: OrderIntent, held: Decimal, selling: Decimal, why: str) -> tuple[Decimal, str]:
    """Cut a sale of shares that may not be sold short to what is held; return quantity and reason.

    Parameters
    ----------
    intent
        The order.
    held
        Signed shares held.
    selling
        Shares that orders at the venue already sell.
    why
        Why they may not be sold short.
    """
    if intent.side is Side.BUY:
        return intent.quantity, ""
    most = min(intent.quantity, max(held - selling, ZERO))
    if most == intent.quantity:
        return most, ""
    return most, f"{why}: {intent.quantity - most} shares stay unhedged"
