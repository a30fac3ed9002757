"""Bought options that cover sold options: they are kept until those are bought back, however long it takes.

A sold option without its cover is a larger risk than both together, and many venues refuse a sale that would
leave one behind.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from scalpdesk.core.intents import OrderIntent, Side
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments, Right


def uncovered(held: Mapping[InstrumentId, Decimal], instruments: Instruments) -> Decimal:
    """Return the sold contracts that no bought option covers.

    One of the same underlying and right that ends no earlier covers, whatever its strike.

    ``held``: Signed contracts by option; shares are left out.
    ``instruments``: All that can be held.
    """
    kinds: defaultdict[tuple[str, Right, int], list[tuple[date, Decimal]]] = defaultdict(list)
    for number, units in held.items():
        contract = instruments[number]
        if contract.is_option and units:
            kind = contract.underlying, contract.right, contract.multiplier
            kinds[kind].append((contract.expiry, units))
    total = ZERO
    for ends in kinds.values():
        free = ZERO
        for _, units in sorted(ends, key=lambda each: (each[0], each[1]), reverse=True):  # the latest first
            free += units
            if free < 0:
                total, free = total - free, ZERO
    return total


def keep_covers(
    orders: Sequence[OrderIntent],
    held: Mapping[InstrumentId, Decimal],
    instruments: Instruments,
    allowed: Decimal = ZERO,
) -> list[OrderIntent]:
    """Return orders without the sales, or their parts, that would leave a sold option uncovered.

    ``orders``: Each on its own.
    ``held``: Signed quantities, less what working sales may still take away.
    ``instruments``: All that can be held.
    ``allowed``: Sold contracts that may be uncovered: those of what is wanted.
    """
    left, kept = dict(held), []
    for order in orders:
        number = order.instrument_id
        if order.side is Side.BUY or not instruments[number].is_option:
            kept.append(order)
            continue
        after = left | {number: left.get(number, ZERO) - order.quantity}
        most = max(uncovered(left, instruments), allowed)
        quantity = order.quantity - max(uncovered(after, instruments) - most, ZERO)
        if quantity > 0:
            left[number] = left.get(number, ZERO) - quantity
            kept.append(msgspec.structs.replace(order, quantity=quantity))
    return kept
