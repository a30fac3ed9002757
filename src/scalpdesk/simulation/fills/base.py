"""The contract of a fill model."""

from decimal import Decimal
from typing import Protocol

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.structs import IdentityLeaf
from scalpdesk.instruments.contract import Instrument


class Resting(IdentityLeaf, eq=False, gc=False):
    """A working order as its fill model sees it, and what the model remembers of it."""

    sign: int
    """+1 for a buy, -1 for a sell."""
    leaves: Decimal
    limit_price: Decimal | None
    """None at the market."""
    queue_ahead: float = -1.0
    """Displayed size in front of a resting order; below zero until it has joined."""
    seen_size: float = 0.0
    was_met: bool = False
    """Whether the near side was ever at its price or better: only then can it move away through it."""
    tries: int = 0


Match = tuple[Decimal, Decimal]
"""Quantity (unsigned) and price per unit of one match."""


class FillModel(Protocol):
    """Says what of an order a quote fills. One model is one set of assumptions, stated up front."""

    name: str

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Match | None:
        """Return what this quote fills of the order, or None.

        Called when the order arrives and again on each new quote of its instrument.
        """
        ...


def takes_liquidity(resting: Resting, quote: QuoteEvent) -> bool:
    """Return whether the order could trade at the far side of the quote."""
    limit = resting.limit_price
    if resting.sign > 0:
        return quote.ask > 0 and (limit is None or float(limit) >= quote.ask - 1e-9)
    return quote.bid > 0 and (limit is None or float(limit) <= quote.bid + 1e-9)


def displayed(resting: Resting, quote: QuoteEvent) -> Decimal:
    """Return how much of the order the far side's displayed size can fill.

    A size of zero beside a price means that the source gives no sizes (an index, a bar): then the
    whole order is filled.
    """
    size = quote.ask_size if resting.sign > 0 else quote.bid_size
    if not size > 0:
        return resting.leaves
    shown, leaves = int(size), resting.leaves
    return leaves if leaves <= shown else Decimal(shown)
