"""What every fill model is asked."""

from decimal import Decimal
from typing import NamedTuple, Protocol

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.instruments.contract import Instrument

ZERO = Decimal(0)


class Resting:
    """An order at the simulated exchange, and what its fill model remembers of it."""

    __slots__ = ("arrived_ns", "command", "leaves", "queue_ahead", "seen_size", "tries")

    def __init__(self, command: SubmitOrder, arrived_ns: int) -> None:
        self.command = command
        self.leaves = command.quantity
        self.arrived_ns = arrived_ns
        self.queue_ahead = -1.0
        """Displayed size in front of a resting order; below zero until it has joined."""
        self.seen_size = 0.0
        self.tries = 0


class Execution(NamedTuple):
    """Quantity (unsigned) and price per unit of one match."""

    quantity: Decimal
    price: Decimal


class FillModel(Protocol):
    """Says what of an order a quote fills. One model is one set of assumptions, stated up front."""

    name: str

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Execution | None:
        """Return what this quote fills of the order, or None.

        Called when the order arrives and again on each new quote of its instrument.
        """
        ...


def takes_liquidity(resting: Resting, quote: QuoteEvent) -> bool:
    """Return whether the order could trade at the far side of the quote."""
    command = resting.command
    limit = command.limit_price
    if command.side.sign > 0:
        return quote.ask > 0 and (limit is None or float(limit) >= quote.ask - 1e-9)
    return quote.bid > 0 and (limit is None or float(limit) <= quote.bid + 1e-9)


def displayed(resting: Resting, quote: QuoteEvent) -> Decimal:
    """Return how much of the order the far side's displayed size can fill.

    A size of zero beside a price means that the source gives no sizes (an index, a bar): then the
    whole order is filled.
    """
    size = quote.ask_size if resting.command.side.sign > 0 else quote.bid_size
    if not size > 0:
        return resting.leaves
    return min(resting.leaves, Decimal(int(size)))
