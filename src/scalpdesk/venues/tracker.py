"""Follows orders at a venue: reports become the desk's events, each execution exactly once.

A venue tells of the same execution in several ways: on its stream, in its history, and summed up in
the order itself. What they share is the order's cumulative quantity. Each execution covers a span
of it, from the cumulative before to the cumulative after; an execution whose span is covered is a
repetition, whatever id it came under, and a hole in the cover is something missed. Pure: no I/O.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.venues.contract import KnownOrder

ZERO = Decimal(0)


class Span(NamedTuple):
    """Cumulative quantity from ``start`` (excluded) to ``end`` (included)."""

    start: Decimal
    end: Decimal


class Report(msgspec.Struct, frozen=True):
    """What a venue says of one order, in terms that venues share.

    Parameters
    ----------
    client_order_id, venue_order_id
        Its names; the first may be empty when only the venue's is known.
    ts_event_ns
        When it happened, UTC nanoseconds.
    outcome
        ``open``, ``filled``, ``cancelled``, ``expired`` or ``rejected``.
    filled
        Cumulative quantity.
    average_price
        Of what is filled, per unit; None when nothing is or the venue does not say.
    reason
        Of a rejection or cancellation.
    """

    client_order_id: str
    venue_order_id: str
    ts_event_ns: int
    outcome: str
    filled: Decimal
    average_price: Decimal | None
    reason: str = ""


class Tracked:
    """One order as the gateway knows it."""

    __slots__ = (
        "accepted", "answered_ns", "cover", "doubted", "ended", "executions", "parent_id", "sent_ns",
        "submitted", "value", "venue_order_id",
    )  # fmt: skip

    def __init__(self, submitted: SubmitOrder, sent_ns: int, parent_id: str = "") -> None:
        self.submitted = submitted
        self.sent_ns = sent_ns
        self.parent_id = parent_id
        self.venue_order_id = ""
        self.accepted = False
        self.ended = False
        self.doubted = False
        self.answered_ns: int | None = None
        """When the request that sent it ended, answered or not; None while it is under way."""
        self.cover: list[Span] = []
        self.value = ZERO
        """Quantity times price over the cover."""
        self.executions: dict[str, tuple[Span, Decimal]] = {}
        """Span and price by execution id; a span without length was booked before this connection."""

    @property
    def covered(self) -> Decimal:
        """Quantity of all spans."""
        return sum((span.end - span.start for span in self.cover), ZERO)

    def holes(self, upto: Decimal) -> list[Span]:
        """Return what is not covered from zero to ``upto``, in order."""
        holes = []
        at = ZERO
        for span in self.cover:
            if span.start >= upto:
                break
            if span.start > at:
                holes.append(Span(at, span.start))
            at = max(at, span.end)
        if at < upto:
            holes.append(Span(at, upto))
        return holes

    def is_free(self, span: Span) -> bool:
        """Return whether nothing of ``span`` is covered."""
        return all(one.end <= span.start or one.start >= span.end for one in self.cover)

    def take(self, execution_id: str, span: Span, price: Decimal) -> None:
        """Cover a span."""
        self.cover.append(span)
        self.cover.sort()
        self.value += (span.end - span.start) * price
        self.executions[execution_id] = (span, price)

    def give_back(self, execution_id: str) -> Span | None:
        """Uncover the span of an execution that was busted; close the hole behind it."""
        known = self.executions.pop(execution_id, None)
        if known is None or known[0] not in self.cover:
            return None
        span, price = known
        length = span.end - span.start
        self.value -= length * price

        def moved(one: Span) -> Span:
            return one if one.end <= span.start else Span(one.start - length, one.end - length)

        self.cover = [moved(one) for one in self.cover if one != span]
        self.executions = {name: (moved(one), paid) for name, (one, paid) in self.executions.items()}
        return span


class OrderTracker:
    """All orders that one gateway answers for.

    Parameters
    ----------
    book
        Instruments, for the fees.
    fees
        Fee schedule, where the venue's messages state none.
    """

    def __init__(self, book: Instruments, fees: FeeSchedule = NO_FEES) -> None:
        self._book = book
        self._fees = fees
        self.orders: dict[str, Tracked] = {}
        self._client_id_of: dict[str, str] = {}

    def know(
        self, known_orders: Iterable[KnownOrder], answered_ns: Callable[[KnownOrder], int] = lambda _: 0
    ) -> None:
        """Take in what the journal remembers.

        ``answered_ns`` says, in the time of :attr:`Tracked.answered_ns`, when the request that sent an order
        had ended at the latest.
        """
        for known in known_orders:
            one = Tracked(known.submitted, 0, known.parent_id)
            one.accepted = bool(known.venue_order_id) or known.filled > 0
            one.ended = not known.is_live
            one.answered_ns = answered_ns(known)
            one.value = known.value
            if known.filled:
                one.cover = [Span(ZERO, known.filled)]
            for execution_id in known.execution_ids:
                one.executions[execution_id] = (Span(ZERO, ZERO), ZERO)
            self.orders[known.submitted.client_order_id] = one
            if known.venue_order_id:
                self.bind(known.submitted.client_order_id, known.venue_order_id)

    def sent(self, command: SubmitOrder, now_ns: int, parent_id: str = "") -> Tracked:
        """Follow an order from now on."""
        one = Tracked(command, now_ns, parent_id)
        self.orders[command.client_order_id] = one
        return one

    def bind(self, client_order_id: str, venue_order_id: str) -> None:
        """Learn the venue's name of an order."""
        self.orders[client_order_id].venue_order_id = venue_order_id
        self._client_id_of[venue_order_id] = client_order_id

    def find(self, client_order_id: str, venue_order_id: str) -> Tracked | None:
        """Return an order by either name, None when it is not the desk's."""
        found = self.orders.get(client_order_id)
        if found is None:
            found = self.orders.get(self._client_id_of.get(venue_order_id, ""))
        return found

    def doubted(self) -> tuple[str, ...]:
        """Client order ids in doubt."""
        return tuple(name for name, one in self.orders.items() if one.doubted)

    # what becomes of an order ---------------------------------------------------------------------

    def accept(self, one: Tracked, venue_order_id: str, at_ns: int, now_ns: int) -> list[OrderEvent]:
        """The venue has the order; says so once, and again when that ends a doubt."""
        client_id = one.submitted.client_order_id
        if venue_order_id and not one.venue_order_id:
            self.bind(client_id, venue_order_id)
        if one.accepted and not one.doubted:
            return []
        one.accepted, one.doubted = True, False
        return [OrderAccepted(client_id, at_ns, now_ns, one.venue_order_id)]

    def doubt(self, one: Tracked, reason: str, now_ns: int) -> list[OrderEvent]:
        """Nobody knows whether the venue has the order, or what became of its cancel."""
        if one.ended:
            return []
        one.doubted = True
        return [OrderStatusUnknown(one.submitted.client_order_id, now_ns, now_ns, reason)]

    def reject(self, one: Tracked, reason: str, at_ns: int, now_ns: int) -> list[OrderEvent]:
        """The venue refused the order."""
        return self._end(one, OrderRejected(one.submitted.client_order_id, at_ns, now_ns, reason))

    def absent(self, one: Tracked, now_ns: int) -> list[OrderEvent]:
        """The venue never had the order; doubts it first when it was not in doubt."""
        doubts = [] if one.doubted else self.doubt(one, "not at the venue", now_ns)
        return doubts + self._end(one, OrderNotFound(one.submitted.client_order_id, now_ns, now_ns))

    def refuse_cancel(self, one: Tracked, reason: str, now_ns: int) -> list[OrderEvent]:
        """The cancel (or replacement) did not go through; the order stands as it stood."""
        if one.ended:
            return []
        return [CancelRejected(one.submitted.client_order_id, now_ns, now_ns, reason)]

    @staticmethod
    def _end(one: Tracked, event: OrderEvent) -> list[OrderEvent]:
        if one.ended:
            return []
        one.ended, one.doubted = True, False
        return [event]

    # executions -----------------------------------------------------------------------------------

    def execution(
        self,
        one: Tracked,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        cumulative: Decimal,
        at_ns: int,
        now_ns: int,
    ) -> list[OrderEvent]:
        """One execution that took the order to ``cumulative``; nothing when it was given before."""
        span = Span(cumulative - quantity, cumulative)
        if execution_id in one.executions or not one.is_free(span) or span.start < 0:
            return []
        one.take(execution_id, span, price)
        accepted = self.accept(one, one.venue_order_id, at_ns, now_ns)
        command = one.submitted
        fee = self._fees.fee(self._book[command.instrument_id], command.side, quantity, price)
        filled = OrderFilled(command.client_order_id, at_ns, now_ns, execution_id, quantity, price, fee)
        if one.covered >= command.quantity:
            one.ended, one.doubted = True, False
        return [*accepted, filled]

    def bust(
        self,
        one: Tracked,
        execution_id: str,
        reason: str,
        at_ns: int,
        now_ns: int,
        *,
        is_corrected: bool = False,
    ) -> list[OrderEvent]:
        """The venue took an execution back, or corrects it: then the one in its place follows."""
        one.give_back(execution_id)
        client_id = one.submitted.client_order_id
        return [FillBusted(client_id, at_ns, now_ns, execution_id, reason, is_corrected)]

    def report(self, one: Tracked, said: Report, now_ns: int, *, infer: bool) -> list[OrderEvent]:
        """An order as the venue shows it.

        Parameters
        ----------
        one, said
            The order and what is said of it.
        now_ns
            When the desk knows.
        infer
            Make up executions for what the report counts and nobody told of: their total quantity
            and value are the venue's, their number and times are not. False where the stream is
            about to tell.
        """
        if said.outcome == "rejected" and not one.covered and not said.filled:
            if said.venue_order_id and not one.venue_order_id:
                self.bind(one.submitted.client_order_id, said.venue_order_id)
            return self.reject(one, said.reason or "rejected by the venue", said.ts_event_ns, now_ns)
        events: list[OrderEvent] = []
        if not one.ended:
            events = self.accept(one, said.venue_order_id, said.ts_event_ns, now_ns)
        if infer:
            events += self._infer(one, said, now_ns)
        client_id = one.submitted.client_order_id
        at_ns = said.ts_event_ns
        if said.outcome in ("cancelled", "rejected"):
            events += self._end(
                one, OrderCancelled(client_id, at_ns, now_ns, said.reason or "cancelled by the venue")
            )
        elif said.outcome == "expired":
            events += self._end(one, OrderExpired(client_id, at_ns, now_ns))
        elif said.outcome == "filled" and said.filled < one.submitted.quantity:
            # an execution was taken back after the end: the venue will not work the rest again
            why = f"ended at the venue with {said.filled} of {one.submitted.quantity}"
            events += self._end(one, OrderCancelled(client_id, at_ns, now_ns, why))
        return events

    def _infer(self, one: Tracked, said: Report, now_ns: int) -> list[OrderEvent]:
        holes = one.holes(min(said.filled, one.submitted.quantity))
        if not holes or said.average_price is None:
            return []
        if one.cover and one.cover[-1].end > said.filled:
            return []  # the report is older than what is known: its average says nothing of the rest
        missing = sum((hole.end - hole.start for hole in holes), ZERO)
        price = (said.average_price * said.filled - one.value) / missing
        if price < 0:  # the average is rounded, or of another count: never a price that cannot be
            price = said.average_price
        events: list[OrderEvent] = []
        for hole in holes:
            name = f"{said.venue_order_id}/{hole.start.normalize():f}-{hole.end.normalize():f}"
            quantity = hole.end - hole.start
            events += self.execution(one, name, quantity, price, hole.end, said.ts_event_ns, now_ns)
        return events
