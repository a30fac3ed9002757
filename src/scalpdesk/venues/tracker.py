"""Order tracking at a venue: reports become the desk's events, each execution exactly once.

A venue reports the same execution in several ways: on its stream, in its history, and summed up in
the order itself. What they share is the order's cumulative quantity. Each execution covers a span
of it, from the cumulative before to the cumulative after. An execution whose span is covered is a
duplicate, whatever id it came under; a hole in the cover is an execution that was missed. No I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import ChangeCause
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
    PositionChanged,
)
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder
from scalpdesk.core.units import ZERO, number_text
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeBook, FeeModel
from scalpdesk.instruments.postings import LATE_FEE
from scalpdesk.venues.contract import KnownOrder, VenueFill

_CANCEL_SECONDS, _LONGEST_CANCEL_SECONDS = 5.0, 60.0
"""A cancel that the venue took may go without effect for so long: at first, and at most after others."""


_FEE_DIGITS = 8
"""Decimals of a part of a fee: a coin account counts to the satoshi."""


class Span(NamedTuple):
    """Cumulative quantity from ``start`` (excluded) to ``end`` (included)."""

    start: Decimal
    end: Decimal


class Outcome(StrEnum):
    """Meaning of a venue's status for what may still become of an order."""

    OPEN = "open"
    """The venue may still fill it."""
    CANCELLING = "cancelling"
    """As :attr:`OPEN`; a cancel is under way, and not confirmed."""
    FILLED = "filled"
    """Filled in whole. The executions end the order, not this status."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    """``CANCELLED``, ``EXPIRED``, ``REJECTED``: the rest of the order is gone."""
    UNKNOWN = "unknown"
    """A status that the venue's pages do not list: the order stays in doubt."""


MAY_FILL = frozenset({Outcome.OPEN, Outcome.CANCELLING, Outcome.UNKNOWN})
"""Outcomes of an order that the venue may still fill."""


class OrderReport(msgspec.Struct, frozen=True):
    """The state of one order as a venue reports it, in terms that venues share."""

    client_order_id: str
    venue_order_id: str
    """``client_order_id``, ``venue_order_id``: Its names; the first may be empty when only the venue's is
    known.
    """
    ts_event_ns: int
    """When it happened, UTC nanoseconds."""
    outcome: Outcome
    filled: Decimal
    """Cumulative quantity."""
    average_price: Decimal | None
    """Mean price of the filled quantity, per unit; None without a fill or where the venue does not say."""
    reason: str = ""
    """Reason of a rejection or cancellation."""


class TrackedOrder:
    """One order as the gateway knows it."""

    __slots__ = (
        "accepted",
        "answered_ns",
        "awaits_cancel",
        "busted_ns",
        "busts",
        "cancels",
        "cover",
        "end",
        "ended",
        "executions",
        "inferred",
        "over",
        "parent_id",
        "sent_ns",
        "submitted",
        "unknown",
        "unplaced",
        "value",
        "venue_order_id",
    )  # fmt: skip

    def __init__(self, submitted: SubmitOrder, sent_ns: int, parent_id: str = "") -> None:
        self.submitted = submitted
        self.sent_ns = sent_ns
        self.parent_id = parent_id
        self.venue_order_id = ""
        self.accepted = False
        self.ended = False
        self.unknown = False
        self.busted_ns = 0
        """The venue's time of the latest bust, UTC nanoseconds: earlier answers count what is gone."""
        self.busts: list[tuple[int, Decimal | None]] = []
        """Time of each bust at the venue, UTC nanoseconds, and its quantity; None if that is not known."""
        self.answered_ns: int | None = None
        """When the request that sent it ended, answered or not; None while it is under way."""
        self.awaits_cancel = False
        """The venue took a cancel, and has not shown the end."""
        self.cancels: BackOff | None = None
        """Spaces the looks at what came of a cancel, on the clock of ``answered_ns``; None without one."""
        self.cover: list[Span] = []
        self.value = ZERO
        """Quantity times price over the cover."""
        self.executions: dict[str, tuple[Span, Decimal]] = {}
        """Span and price by execution id; a span without length was taken back, or is covered by another."""
        self.unplaced: set[str] = set()
        """Executions of the journal, which keeps no spans: from zero on until the venue says where."""
        self.over: OrderReport | None = None
        """The venue's end of the order, while executions that it counts are missing."""
        self.end: OrderReport | None = None
        """The venue's end of the order, once all that it counts is known."""
        self.inferred = ZERO
        """Quantity that was inferred, less what executions without a cumulative quantity turned out to be."""

    @property
    def covered(self) -> Decimal:
        """Quantity of all spans."""
        return sum((span.end - span.start for span in self.cover), ZERO)

    def counted(self, report: OrderReport) -> Decimal:
        """Return the quantity that a report counts of what stands; what is known where it cannot be told."""
        gone = [quantity for at_ns, quantity in self.busts if at_ns > report.ts_event_ns]
        if None in gone:
            return self.covered
        return min(report.filled, self.submitted.quantity) - sum(filter(None, gone), ZERO)

    @property
    def coins(self) -> Decimal:
        """Quantity over price of all spans: the mean price of an inverse contract is the harmonic one."""
        parts = ((span.end - span.start) / price for span, price in self.executions.values() if price)
        return sum(parts, ZERO)

    def holes(self, upto: Decimal) -> list[Span]:
        """Return what is not covered from zero to ``upto``, in order."""
        holes = []
        at = ZERO
        for start, end in (*self.cover, Span(upto, upto)):
            if at < min(start, upto):
                holes.append(Span(at, min(start, upto)))
            at = max(at, end)
        return holes

    def is_uncovered(self, span: Span) -> bool:
        """Return whether nothing of ``span`` is covered."""
        return all(known.end <= span.start or known.start >= span.end for known in self.cover)

    def add_execution(self, execution_id: str, span: Span, price: Decimal) -> None:
        """Cover a span by an execution."""
        self.cover.append(span)
        self.cover.sort()
        self.value += (span.end - span.start) * price
        self.executions[execution_id] = (span, price)

    def place(self, execution_id: str, span: Span) -> None:
        """Move an execution of the journal to the span that the venue states, where nothing else is."""
        known, price = self.executions[execution_id]
        if execution_id not in self.unplaced or known.end - known.start != span.end - span.start:
            return
        self.cover.remove(known)
        if self.is_uncovered(span):
            self.unplaced.remove(execution_id)
            known = span
            self.executions[execution_id] = (span, price)
        self.cover.append(known)
        self.cover.sort()

    def remove_execution(self, execution_id: str) -> Span | None:
        """Uncover the span of a busted execution and close the hole behind it."""
        self.unplaced.clear()  # the venue states spans of before and after the bust
        known = self.executions.pop(execution_id, None)
        if known is None or known[0] not in self.cover:
            return None
        span, price = known
        length = span.end - span.start
        self.value -= length * price

        def moved(other: Span) -> Span:
            return other if other.end <= span.start else Span(other.start - length, other.end - length)

        self.cover = [moved(other) for other in self.cover if other != span]
        self.executions = {name: (moved(other), paid) for name, (other, paid) in self.executions.items()}
        return span


def request_ended_ns(known: KnownOrder, *, loop_ns: int, utc_ns: int | None, request_ns: int) -> int:
    """Return when the request of an order of another process had ended at the latest, in the loop's time.

    It ended with that process or by its time-out; at an unknown instant, it may have ended just now.

    ``loop_ns``, ``utc_ns``: The time of now on the loop's clock and on that of :attr:`KnownOrder.sent_ns`;
    the second is None where that clock runs at another pace than the loop's.
    ``request_ns``: Longest time that a request takes, nanoseconds.
    """
    if not known.sent_ns or utc_ns is None:
        return loop_ns
    return loop_ns - max(utc_ns - known.sent_ns - request_ns, 0)


def mean_of_rest(
    mean: Decimal, filled: Decimal, known: Decimal, missing: Decimal, *, is_inverse: bool
) -> Decimal:
    """Return the mean price of what is missing from an order's executions.

    ``mean``, ``filled``: Mean price and quantity of the whole.
    ``known``: Quantity times price of the rest; of inverse contracts quantity over price.
    ``missing``: Quantity that is not in ``known``.
    ``is_inverse``: Whether the mean is the harmonic one.
    """
    if is_inverse:
        coins = filled / mean - known
        price = missing / coins if coins else ZERO
        is_possible = price > 0
    else:
        price = (mean * filled - known) / missing
        is_possible = price >= 0
    # the mean is rounded, or of another count: never a price that cannot be
    return price if is_possible else mean


class OrderTracker:
    """All orders of one gateway.

    Parameters
    ----------
    instruments
        Instruments, for fees and symbols.
    fees
        Fee schedule, where the venue's messages state no fee.
    are_stated
        Whether the venue states the fee of an execution in a message that comes after it.
    """

    def __init__(
        self, instruments: Instruments, fees: FeeModel = NO_FEES, *, are_stated: bool = False
    ) -> None:
        self._instruments = instruments
        self._fees = FeeBook(fees, are_stated=are_stated)
        self.orders: dict[str, TrackedOrder] = {}
        self.combos: dict[str, tuple[str, ...]] = {}
        """Client order ids of a combo's legs by the combo's."""
        self._client_id_of: dict[str, str] = {}

    def restore(
        self, known_orders: Iterable[KnownOrder], answered_ns: Callable[[KnownOrder], int] = lambda _: 0
    ) -> None:
        """Add the orders of the journal.

        ``answered_ns`` gives the latest time at which the request that sent an order had ended, on the
        clock of :attr:`TrackedOrder.answered_ns`; without it the absence of an order proves at once that the
        venue never had it.
        """
        for known in known_orders:
            order = TrackedOrder(known.submitted, 0, known.parent_id)
            order.accepted = bool(known.venue_order_id) or known.filled > 0
            order.ended = not known.is_live
            order.answered_ns = answered_ns(known)
            order.value = known.value
            at = ZERO
            for execution_id, (quantity, price) in known.executions.items():
                order.executions[execution_id] = (Span(at, at + quantity), price)
                if quantity:
                    self._fee(order, execution_id, quantity, price, known.sent_ns)
                at += quantity
            own = f"{known.venue_order_id}/"
            named = [name for name in order.executions if not (known.venue_order_id and name.startswith(own))]
            order.inferred = known.filled - sum((known.executions[name][0] for name in named), ZERO)
            spans = [span for span, _ in order.executions.values()] + [Span(at, known.filled)]
            order.cover = [span for span in spans if span.start < span.end]
            if all(span.start < span.end for span in spans[:-1]):
                order.unplaced.update(named)
            self.orders[known.submitted.client_order_id] = order
            if known.venue_order_id:
                self.bind(known.submitted.client_order_id, known.venue_order_id)
            if known.parent_id:
                mates = (*self.combos.get(known.parent_id, ()), known.submitted.client_order_id)
                self.combos[known.parent_id] = tuple(dict.fromkeys(mates))

    def track(self, command: SubmitOrder, now_ns: int, parent_id: str = "") -> TrackedOrder:
        """Track an order that is about to be sent."""
        order = TrackedOrder(command, now_ns, parent_id)
        self.orders[command.client_order_id] = order
        return order

    def track_combo(self, command: MultiLegOrder, now_ns: int) -> list[TrackedOrder]:
        """Track the legs of a combo that is about to be sent."""
        name = command.client_order_id
        self.combos[name] = tuple(leg.client_order_id for leg in command.legs)
        return [self.track(leg, now_ns, name) for leg in command.legs]

    def legs(self, combo: str) -> list[TrackedOrder]:
        """Return the legs of a combo by its client order id; nothing of one that the desk did not send."""
        return [self.orders[name] for name in self.combos.get(combo, ())]

    def leg(self, combo: str, symbol: str) -> TrackedOrder | None:
        """Return the leg of a combo in an instrument."""
        found = self.legs(combo)
        return next((leg for leg in found if self.symbol(leg) == symbol), None)

    def together(self, order: TrackedOrder) -> list[TrackedOrder]:
        """Return the legs of an order's combo, itself included; of an order on its own just that."""
        return self.legs(order.parent_id) or [order]

    def symbol(self, order: TrackedOrder) -> str:
        """Return the symbol of an order's instrument."""
        return self._instruments[order.submitted.instrument_id].symbol

    def bind(self, client_order_id: str, venue_order_id: str) -> None:
        """Record the venue's id of an order."""
        self.orders[client_order_id].venue_order_id = venue_order_id
        self._client_id_of[venue_order_id] = client_order_id

    def find(self, client_order_id: str, venue_order_id: str) -> TrackedOrder | None:
        """Return an order by either id, None when it is not the desk's."""
        found = self.orders.get(client_order_id)
        if found is None:
            found = self.orders.get(self._client_id_of.get(venue_order_id, ""))
        return found

    def unknown(self) -> tuple[str, ...]:
        """Client order ids of the orders whose status is unknown."""
        return tuple(name for name, order in self.orders.items() if order.unknown)

    # what becomes of an order ---------------------------------------------------------------------

    def accept(self, order: TrackedOrder, venue_order_id: str, at_ns: int, now_ns: int) -> list[OrderEvent]:
        """Return the acceptance: once, and again when it ends an unknown status."""
        client_id = order.submitted.client_order_id
        if venue_order_id and not order.venue_order_id:
            self.bind(client_id, venue_order_id)
        if order.accepted and not order.unknown:
            return []
        order.accepted, order.unknown = True, False
        return [OrderAccepted(client_id, at_ns, now_ns, order.venue_order_id)]

    def mark_unknown(self, order: TrackedOrder, reason: str, now_ns: int) -> list[OrderEvent]:
        """Set the status to unknown: the venue may have the order, or its cancel, or not."""
        if order.ended:
            return []
        order.unknown = True
        return [OrderStatusUnknown(order.submitted.client_order_id, now_ns, now_ns, reason)]

    def reject(self, order: TrackedOrder, reason: str, at_ns: int, now_ns: int) -> list[OrderEvent]:
        """End an order that the venue refused."""
        return self._end(order, OrderRejected(order.submitted.client_order_id, at_ns, now_ns, reason))

    def not_found(self, order: TrackedOrder, now_ns: int) -> list[OrderEvent]:
        """End an order that the venue never had; its status is set to unknown first."""
        before = [] if order.unknown else self.mark_unknown(order, "not at the venue", now_ns)
        return before + self._end(order, OrderNotFound(order.submitted.client_order_id, now_ns, now_ns))

    def reject_cancel(self, order: TrackedOrder, reason: str, now_ns: int) -> list[OrderEvent]:
        """Return the refusal of a cancel or replacement; the order is as it was."""
        if order.ended:
            return []
        return [CancelRejected(order.submitted.client_order_id, now_ns, now_ns, reason)]

    @staticmethod
    def cancel_taken(order: TrackedOrder, now_ns: int) -> int:
        """Record that the venue took a cancel; return from when on a working order proves it lost.

        Both instants are on the clock of :attr:`TrackedOrder.answered_ns`.
        """
        order.awaits_cancel = True
        order.cancels = order.cancels or BackOff(_CANCEL_SECONDS, _LONGEST_CANCEL_SECONDS)
        return order.cancels.fail(now_ns)

    def cancel_lost(self, order: TrackedOrder, asked_ns: int, now_ns: int) -> list[OrderEvent]:
        """Return the refusal of a cancel that the venue took and dropped: it shows the order working.

        ``asked_ns`` is when the venue was asked for the order, on the clock of
        :attr:`TrackedOrder.answered_ns`: soon after the cancel it proves nothing.
        """
        if not order.awaits_cancel or order.cancels is None or asked_ns < order.cancels.until_ns:
            return []
        order.awaits_cancel = False
        return self.reject_cancel(order, "the venue took the cancel and works the order on", now_ns)

    @staticmethod
    def _end(order: TrackedOrder, event: OrderEvent) -> list[OrderEvent]:
        if order.ended:
            return []
        order.ended, order.unknown = True, False
        return [event]

    # executions -----------------------------------------------------------------------------------

    def with_fee(self, fill: VenueFill) -> VenueFill:
        """Return an execution with the schedule's fee, for a venue whose history states no fee."""
        number = self._instruments.find(fill.symbol)
        if number is None:
            return fill
        terms = self._instruments[number], fill.side, fill.quantity, fill.price
        known = self.find("", fill.venue_order_id)
        order = fill.venue_order_id
        if known is not None:
            order = known.parent_id or known.submitted.client_order_id
        fee = self._fees.charge(fill.execution_id, *terms, order=order, ts_ns=fill.ts_event_ns)
        return msgspec.structs.replace(fill, fee=fee)

    def _fee(
        self, order: TrackedOrder, execution_id: str, quantity: Decimal, price: Decimal, at_ns: int
    ) -> Decimal:
        """Return the schedule's fee of an execution."""
        command = order.submitted
        terms = self._instruments[command.instrument_id], command.side, quantity, price
        whole = order.parent_id or command.client_order_id
        return self._fees.charge(execution_id, *terms, order=whole, ts_ns=at_ns)

    def execution(
        self,
        order: TrackedOrder,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        cumulative: Decimal,
        at_ns: int,
        now_ns: int,
        *,
        fee: Decimal | None = None,
    ) -> list[OrderEvent]:
        """Return the fill that took the order to ``cumulative``; nothing when it was returned before.

        ``fee`` is the venue's own, in the instrument's currency; None charges the schedule's.
        """
        span = Span(cumulative - quantity, cumulative)
        if execution_id in order.executions:
            order.place(execution_id, span)
            return []
        if order.inferred and at_ns < order.busted_ns:  # its place is one of before the bust
            return self.next_execution(order, execution_id, quantity, price, at_ns, now_ns, fee=fee)
        if not order.is_uncovered(span) or span.start < 0:
            return []
        order.add_execution(execution_id, span, price)
        accepted: list[OrderEvent] = self.accept(order, order.venue_order_id, at_ns, now_ns)
        command = order.submitted
        if fee is None:
            fee = self._fee(order, execution_id, quantity, price, at_ns)
        filled = OrderFilled(command.client_order_id, at_ns, now_ns, execution_id, quantity, price, fee)
        if order.covered >= command.quantity:
            order.ended, order.unknown = True, False
        rest = [] if order.over is None else self.apply(order, order.over, now_ns, infer=False)
        return [*accepted, filled, *rest]

    def fee_reported(
        self, order: TrackedOrder, execution_id: str, fee: Decimal, at_ns: int, now_ns: int
    ) -> list[PositionChanged]:
        """Return the difference of a fee that a venue reports after the fill to what was booked with it.

        ``fee`` is in the instrument's currency. The execution's id is the reference: it is booked once.
        """
        if execution_id not in order.executions:
            return []
        (start, end), price = order.executions[execution_id]
        number, booked = (
            order.submitted.instrument_id,
            self._fee(order, execution_id, end - start, price, at_ns),
        )
        if fee == booked or start == end:
            return []
        self._fees.state(execution_id, fee)
        reference, change = LATE_FEE + execution_id, booked - fee
        return [PositionChanged(number, at_ns, now_ns, ChangeCause.FEE, ZERO, ZERO, change, reference)]

    def next_execution(
        self,
        order: TrackedOrder,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        at_ns: int,
        now_ns: int,
        *,
        fee: Decimal | None = None,
        earlier: Iterable[TrackedOrder] = (),
    ) -> list[OrderEvent]:
        """Return the fill of an execution whose message states no cumulative quantity.

        What was inferred before covers it: its quantity counts no second time. Only what goes beyond is a
        fill. ``fee`` as in :meth:`execution`, of the whole; ``earlier`` are the order's earlier names.
        """
        names = (*earlier, order)
        if any(execution_id in each.executions for each in names):
            return []
        left = quantity
        for each in names:
            covered = min(each.inferred, left)
            each.inferred -= covered
            left -= covered
        if not left:
            order.executions[execution_id] = (Span(order.covered, order.covered), price)
            return []
        if left < quantity and fee is not None:
            fee = round(fee * left / quantity, _FEE_DIGITS)
        return self.execution(order, execution_id, left, price, order.covered + left, at_ns, now_ns, fee=fee)

    def bust(
        self,
        order: TrackedOrder,
        execution_id: str,
        reason: str,
        at_ns: int,
        now_ns: int,
        *,
        is_corrected: bool = False,
    ) -> list[OrderEvent]:
        """Return the bust of an execution; a corrected one is followed by the execution in its place.

        The end of the order that the venue has shown since counts the execution no more: what it counts
        instead was missed here, and is inferred.
        """
        span = order.remove_execution(execution_id)
        order.busted_ns = max(order.busted_ns, at_ns)
        gone = None if span is None else span.end - span.start
        if not is_corrected:
            order.busts.append((at_ns, gone))
        missed: list[OrderEvent] = []
        if gone and not is_corrected and order.end is not None and order.end.ts_event_ns > at_ns:
            missed = self._infer(order, order.end, now_ns)
        client_id = order.submitted.client_order_id
        bust = FillBusted(
            client_id, at_ns, now_ns, execution_id, reason, is_corrected, more_follow=bool(missed)
        )
        return [bust, *missed]

    def taken_back(self, order: TrackedOrder, listed: Mapping[str, Decimal], now_ns: int) -> list[OrderEvent]:
        """Return busts of what a history lacks, once it lists all that the venue's end of the order counts.

        What was taken back unseen keeps the place of an execution that is not known here.

        Parameters
        ----------
        order
            The order.
        listed
            Quantities of its executions in the venue's history, by id.
        now_ns
            When the history was received, UTC nanoseconds.
        """
        over = order.over
        if over is None or order.inferred or sum(listed.values(), ZERO) != over.filled:
            return []
        gone = [name for name, (span, _) in order.executions.items() if span.start < span.end]
        busts = [
            event
            for name in gone
            if name not in listed
            for event in self.bust(order, name, "not in the venue's history", over.ts_event_ns, now_ns)
        ]
        if busts:
            order.unplaced.update(order.executions)  # the venue may have counted them without those
        return busts

    def apply(
        self, order: TrackedOrder, report: OrderReport, now_ns: int, *, infer: bool
    ) -> list[OrderEvent]:
        """Return what a report changes of an order.

        Parameters
        ----------
        order, report
            The order and its report.
        now_ns
            When it was received, UTC nanoseconds.
        infer
            Infer executions for filled quantity that no execution covers: their total quantity and
            value are the venue's, their number and times are not. False where the stream is about to
            report them.
        """
        outcome, at_ns = report.outcome, report.ts_event_ns
        client_id, wanted = order.submitted.client_order_id, order.submitted.quantity
        if report.venue_order_id and not order.venue_order_id:
            self.bind(client_id, report.venue_order_id)
        if outcome is Outcome.REJECTED and not order.covered and not report.filled:
            return self.reject(order, report.reason or "rejected by the venue", at_ns, now_ns)
        events: list[OrderEvent] = self._infer(order, report, now_ns) if infer else []
        order.over, why = None, ""
        is_short = outcome is Outcome.FILLED and report.filled < wanted
        is_over = is_short or outcome in (Outcome.CANCELLED, Outcome.REJECTED, Outcome.EXPIRED)
        if outcome is Outcome.UNKNOWN:
            why = report.reason or "the venue shows a status that is not known"
        elif (is_over or (infer and outcome is Outcome.FILLED)) and order.covered < order.counted(report):
            # an order is over when its quantity is accounted for: booked here, or gone at the venue; by
            # quantity, since what was taken back before it was known here leaves a hole for good
            order.over = report
            why = f"over at the venue with {report.filled} filled, of which {order.covered} are known"
        if why:
            return events + ([] if order.unknown else self.mark_unknown(order, why, now_ns))
        if not order.ended:
            events += self.accept(order, report.venue_order_id, at_ns, now_ns)
        if is_over and (order.end is None or order.end.ts_event_ns < at_ns):
            order.end = report
        if outcome in (Outcome.CANCELLED, Outcome.REJECTED):
            reason = report.reason or "cancelled by the venue"
            events += self._end(order, OrderCancelled(client_id, at_ns, now_ns, reason))
        elif outcome is Outcome.EXPIRED:
            events += self._end(order, OrderExpired(client_id, at_ns, now_ns))
        elif is_short:
            # an execution was taken back after the end: the venue will not work the rest again
            reason = f"ended at the venue with {report.filled} of {wanted}"
            events += self._end(order, OrderCancelled(client_id, at_ns, now_ns, reason))
        return events

    def _infer(self, order: TrackedOrder, report: OrderReport, now_ns: int) -> list[OrderEvent]:
        holes = order.holes(min(report.filled, order.submitted.quantity))
        if not holes or report.average_price is None or report.ts_event_ns < order.busted_ns:
            return []
        if order.cover and order.cover[-1].end > report.filled:
            return []  # the report is older than what is known: its average says nothing of the rest
        missing = sum((hole.end - hole.start for hole in holes), ZERO)
        is_inverse = self._instruments[order.submitted.instrument_id].is_inverse_future
        known = order.coins if is_inverse else order.value
        price = mean_of_rest(report.average_price, report.filled, known, missing, is_inverse=is_inverse)
        events: list[OrderEvent] = []
        for hole in holes:
            name = f"{report.venue_order_id}/{number_text(hole.start)}-{number_text(hole.end)}"
            quantity = hole.end - hole.start
            events += self.execution(order, name, quantity, price, hole.end, report.ts_event_ns, now_ns)
            order.inferred += quantity
        return events
