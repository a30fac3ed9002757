"""From a delta to whole shares to trade, and from those to orders a broker accepts.

Hedging options in coin with an inverse perpetual.

The holder who counts in coin is exposed by the premium-adjusted delta Δ − v; a perpetual of A USD
carries A/S coins of delta. So the target is A* = −N·(Δ − v)·S, and the order is what is missing to it,
in whole contracts. (Deribit, "Inverse Options"; Reiswich and Wystup, 2010.)
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import ZERO, exact, round_half_away
from scalpdesk.hedging.kernels.rules import nearest_whole
from scalpdesk.instruments.contract import Equity, Instrument

SHARES = Equity("")
_DECIMALS = 9
"""Deltas are read to a billionth of a share, so that 7.000000000000001 is 7."""


def quantity_to_target(net_delta: float, target_delta: float) -> int:
    """Whole shares that bring the net delta nearest to a band's target; 0 when less than half a share.

    ``net_delta``: Shares, with what is owned and in flight.
    ``target_delta``: Shares, as in :attr:`scalpdesk.hedging.base.BandVerdict.target_delta_shares`.

    Raises ArgumentError when either is not finite.

    >>> quantity_to_target(7.4, 3.1)
    -4
    """
    for name, value in (("net_delta", net_delta), ("target_delta", target_delta)):
        if not math.isfinite(value):
            raise ArgumentError("an unknown delta cannot be hedged", where=name, value=value)
    whole = nearest_whole(target_delta - net_delta)
    if whole == whole:  # noqa: PLR0124 - a call less; exact only where it matters
        return int(whole)
    return round_half_away(exact(target_delta, _DECIMALS) - exact(net_delta, _DECIMALS))


def least_fraction_of(config: Mapping[str, Any]) -> float:
    """Return the part of a half width that a hedge of a run has at least, from its stored configuration.

    >>> least_fraction_of({"strategies": {"gamma-scalper": {"hedge": {"least_fraction": 0.35}}}})
    0.35
    """
    hedges = (
        each.get("hedge") for each in config.get("strategies", {}).values() if isinstance(each, Mapping)
    )
    fractions = (each.get("least_fraction", 0.0) for each in hedges if isinstance(each, Mapping))
    return max(map(float, fractions), default=0.0)


def unhedged_from(
    facts: Mapping[str, Any], least_fraction: float, hedge: Instrument = SHARES
) -> float | None:
    """Return the net delta beyond which a desk hedges, as its last hedge has it; None without a width.

    Beyond the half width, where hedges end at the band's edge: a smaller hedge than ``least_fraction`` of
    the half width, or than half a share or contract, is not sent.

    ``facts``: Of the hedge's decision: ``half_width_shares``, and its ``net_delta_shares``,
    ``quantity_shares`` and ``spot``, which say where it ends.
    ``least_fraction``: From `least_fraction_of`.
    ``hedge``: What hedges: shares, or a perpetual.

    >>> edge = {"half_width_shares": 4.0, "net_delta_shares": 6.0, "quantity_shares": -2, "spot": 100.0}
    >>> unhedged_from(edge, 0.35), unhedged_from(edge | {"quantity_shares": -6}, 0.35)
    (5.4, 4.0)
    >>> unhedged_from({"half_width_shares": 0.75, "net_delta_shares": 1.25, "quantity_shares": -1}, 0.35)
    1.25
    """
    width = facts.get("half_width_shares")
    if not isinstance(width, float | int):
        return None
    unit = hedge.delta(1.0, facts.get("spot", 0.0))
    end = abs(facts.get("net_delta_shares", 0.0) + facts.get("quantity_shares", 0) * unit)
    unit *= float(hedge.step)
    # else to zero: a hedge ends within half a step of its target
    to_edge = end > 0.5 * width or abs(end - width) <= 0.5 * unit + 1e-9
    return float(width + max(width * least_fraction, 0.5 * unit) if to_edge else width)


def up_to_zero(signed: Decimal, held: Decimal, leaves: Decimal = ZERO) -> Decimal:
    """Return how much of an order may go before the holding crosses zero: the desk's only rule for it.

    Brokers take no order that closes a holding and opens its opposite.

    ``signed``: Units to trade, signed.
    ``held``: Units held, signed.
    ``leaves``: Signed units that live orders on the order's side may still fill.

    >>> up_to_zero(Decimal(-15), Decimal(10)), up_to_zero(Decimal(-15), Decimal(10), Decimal(-4))
    (Decimal('-10'), Decimal('-6'))
    """
    if held * signed >= 0:
        return signed
    free = max(abs(held) - abs(leaves), ZERO)
    return min(signed, free) if signed > 0 else max(signed, -free)


def split_at_zero(owned: int, quantity: int) -> tuple[int, ...]:
    """Split a trade that would turn the holding's sign into one that flattens and one that opens.

    The second order may go only once the first is terminal, and from a fresh delta.

    ``owned``: Shares held, signed.
    ``quantity``: Shares to trade, signed.

    Empty when there is nothing to trade.

    >>> split_at_zero(10, -15), split_at_zero(-4, 9), split_at_zero(0, -5)
    ((-10, -5), (4, 5), (-5,))
    """
    first = int(up_to_zero(Decimal(quantity), Decimal(owned)))
    return tuple(part for part in (first, quantity - first) if part)


def perpetual_trade_usd(target_usd: float, held_usd: float, contract_size: int = 10) -> int:
    """Signed USD amount to trade: what is missing to the target, in whole contracts, ties away from zero.

    Raises ArgumentError when a contract is not a positive amount.

    >>> perpetual_trade_usd(258_122.78, -200_000.0)
    458120
    """
    if contract_size <= 0:
        raise ArgumentError("a contract must be above zero", where="contract_size", value=contract_size)
    return contract_size * round_half_away((target_usd - held_usd) / contract_size)
