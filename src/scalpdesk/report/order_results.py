"""What each order came to: realised P&L, fees, and the cost against the mid at which it was decided.

Realised P&L is that of the account's ledger: at average cost, before fees, in the currency of the instrument.
What positions realise without an order (expiry, exercise, daily settlement) stands apart, so that all of it
sums to the ledger's own.
"""

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from scalpdesk.core.events import AccountSnapshot, Event, FillBusted, OrderFilled, PositionChanged
from scalpdesk.core.intents import Output, orders_of
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.engine.desk import Desk
from scalpdesk.portfolio.positions import exact_price


class FillResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution came to, or several together, in currency."""

    realised: Decimal | None = None
    """None where nothing was closed."""
    against_mid: Decimal | None = None
    """P&L of its price against the instrument's mid when the order was decided; None if that is not known."""
    fee: Decimal = ZERO


def _sum_of(results: Iterable[FillResult]) -> FillResult:
    """Return several executions together; a figure is None where that of each is."""
    found = list(results)
    return FillResult(
        realised=_sum(each.realised for each in found),
        against_mid=_sum(each.against_mid for each in found),
        fee=sum((each.fee for each in found), ZERO),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [each for each in amounts if each is not None]
    return sum(known, ZERO) if known else None


class OrderResults:
    """Keeps the result of each execution, from each event after the desk took it and each output.

    Attributes
    ----------
    mids
        By order the mid of its instrument when it was decided; without those whose quote had none.
    elsewhere
        What was realised without an order.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[InstrumentId, tuple[Decimal, Decimal]] = {}
        """Units and realised P&L of each position after the last event."""
        self._results: dict[str, dict[str, FillResult]] = {}
        self._instruments: dict[str, InstrumentId] = {}
        """By order its instrument: the desk forgets orders of earlier sessions."""
        self.mids: dict[str, Decimal] = {}
        self.elsewhere = ZERO

    def note(self, output: Output) -> None:
        """Take an output: the mids at which its orders were decided."""
        for sent in orders_of(output):
            quote = self._desk.market.quotes[sent.instrument_id]
            if quote is not None and math.isfinite(quote.mid):
                self.mids[sent.client_order_id] = exact_price(quote.mid)

    def take(self, event: Event) -> None:
        """Take an event that the desk has taken."""
        if isinstance(event, OrderFilled):
            self._fill(event)
        elif isinstance(event, FillBusted):
            self._bust(event)
        elif isinstance(event, PositionChanged | AccountSnapshot):
            for number in self._desk.positions.positions:
                _, realised = self._moved(number)
                self.elsewhere += realised if self._counts(number) else ZERO

    def fill(self, client_order_id: str, execution_id: str) -> FillResult:
        """Return the result of an execution."""
        return self._results.get(client_order_id, {}).get(execution_id, FillResult())

    def order(self, client_order_id: str) -> FillResult:
        """Return the result of an order's executions together; busts are in it."""
        return _sum_of(self._results.get(client_order_id, {}).values())

    def total(self) -> FillResult:
        """Return the result of all orders in the account's currency."""
        return _sum_of(self._counted())

    def _counted(self) -> Iterator[FillResult]:
        for name, results in self._results.items():
            if self._counts(self._instruments[name]):
                yield from results.values()

    def _counts(self, number: InstrumentId) -> bool:
        return self._desk.instruments[number].currency == self._desk.account.currency

    def _moved(self, number: InstrumentId) -> tuple[Decimal, Decimal]:
        """Return by how much units and realised P&L of a position have moved, and keep how they stand."""
        position = self._desk.positions.positions[number]
        units, realised = self._known.get(number, (ZERO, ZERO))
        self._known[number] = position.quantity, position.realized
        return position.quantity - units, position.realized - realised

    def _fill(self, event: OrderFilled) -> None:
        number = self._desk.orders.order(event.client_order_id).submitted.instrument_id
        held, _ = self._known.get(number, (ZERO, ZERO))
        units, realised = self._moved(number)
        if not units:  # reported once more
            return
        mid, instrument = self.mids.get(event.client_order_id), self._desk.instruments[number]
        against = None if mid is None else instrument.value(units, mid) - instrument.value(units, event.price)
        self._instruments[event.client_order_id] = number
        self._results.setdefault(event.client_order_id, {})[event.execution_id] = FillResult(
            realised=realised if held and (held > 0) != (units > 0) else None,
            against_mid=against,
            fee=event.fee,
        )

    def _bust(self, event: FillBusted) -> None:
        number = self._desk.orders.order(event.client_order_id).submitted.instrument_id
        units, realised = self._moved(number)
        if units:
            before = self.fill(event.client_order_id, event.execution_id).realised or ZERO
            results = self._results[event.client_order_id]
            results[event.execution_id] = FillResult(realised=before + realised or None)
