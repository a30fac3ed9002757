"""Order tracking at a venue: reports become the desk's events, each execution exactly once.

A venue reports the same execution in several ways: on its stream, in its history, and summed up in
the order itself. What they share is the order's cumulative quantity. Each execution covers a span
of it, from the cumulative before to the cumulative after. An execution whose span is covered is a
duplicate, whatever id it came under; a hole in the cover is an execution that was missed. No I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
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
    QuoteEvent,
)
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder, sets_of_all
from scalpdesk.core.units import MINUTE_NS, ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeBook, FeeModel, trade_date
from scalpdesk.instruments.postings import Origin
from scalpdesk.orders.order_manager import net_limit
from scalpdesk.venues.contract import KnownOrder, VenueFill
from scalpdesk.venues.execution_bounds import (
    Misfit,
    misfit_of_fee,
    misfit_of_net_price,
    misfit_of_price,
    misfit_of_quantity,
)

_CANCEL_SECONDS, _LONGEST_CANCEL_SECONDS = 5.0, 60.0
"""A cancel that the venue took may go without effect for so long: at first, and at most after others."""


_FEE_DIGITS = 8
"""Decimals of a part of a fee: a coin account counts to the satoshi."""
_RESTATED = "restated/"
"""Before the id of an execution that an answer states otherwise than it was booked."""
_CLOCKS_APART_NS = 15 * MINUTE_NS
"""An execution from so long before its order was sent, or from so far ahead, is stamped wrong."""


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


class RefusedNumber(NamedTuple):
    """Number of an execution that was refused."""

    question: int
    """Latest question that had been asked by then: an answer to a later one may prove it."""
    numbers: str
    """What the venue said: it counts when a later answer says the same."""
    why: str
    replaces: str = ""
    """Execution that it corrects; empty for a new one."""


Fact = OrderEvent | PositionChanged
"""What a venue says of an order: its events, and a fee that is corrected."""


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
        "net_limit",
        "over",
        "parent_id",
        "quoted",
        "refused",
        "sent_ns",
        "since_ns",
        "stated",
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
        self.quoted: QuoteEvent | None = None
        """Quote of its instrument when it was sent."""
        self.since_ns = 0
        """It was sent then or later, UTC nanoseconds; 0 where that is not known."""
        self.net_limit: Decimal | None = None
        """Of a combo's leg: limit of the whole, currency per set."""
        self.stated: dict[str, tuple[Decimal, Decimal]] = {}
        """Quantity and price of executions as the venue stated them in this process."""
        self.refused: dict[str, RefusedNumber] = {}
        """Numbers that do not fit it, by execution; fees under ``Origin.LATE_FEE`` and the execution, what an
        answer states otherwise under :data:`_RESTATED` and the execution."""

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
    quotes
        Latest quotes, which the prices of executions are held to.
    """

    def __init__(
        self,
        instruments: Instruments,
        fees: FeeModel = NO_FEES,
        *,
        are_stated: bool = False,
        quotes: Mapping[InstrumentId, QuoteEvent] = MappingProxyType({}),
    ) -> None:
        self._instruments = instruments
        self._fees = FeeBook(fees, are_stated=are_stated)
        self._quotes = quotes
        self.questions = 0
        """Questions that the venue was asked for executions so far."""
        self.on_refused: Callable[[TrackedOrder, str, bool], None] = lambda _order, _why, _is_unit: None
        """Called with an order and the number of its execution that was refused, in words, and whether units
        wait for it: the venue is then to be asked for the order and its executions anew.
        """
        self.on_odd: Callable[[str, str], None] = lambda _name, _detail: None
        """Called with a number that was booked although it does not fit, or was corrected: name and words."""
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
            order.since_ns, order.quoted = known.sent_ns, known.quote
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
        for combo in self.combos:
            legs = self.legs(combo)
            for leg in legs:
                leg.net_limit = net_limit([each.submitted for each in legs])

    def track(self, command: SubmitOrder, now_ns: int, parent_id: str = "") -> TrackedOrder:
        """Track an order that is about to be sent."""
        order = TrackedOrder(command, now_ns, parent_id)
        order.quoted = self._quotes.get(command.instrument_id)
        order.since_ns = 0 if order.quoted is None else order.quoted.ts_recv_ns
        self.orders[command.client_order_id] = order
        return order

    def track_combo(self, command: MultiLegOrder, now_ns: int) -> list[TrackedOrder]:
        """Track the legs of a combo that is about to be sent."""
        name = command.client_order_id
        self.combos[name] = tuple(leg.client_order_id for leg in command.legs)
        legs = [self.track(leg, now_ns, name) for leg in command.legs]
        for leg in legs:
            leg.net_limit = command.net_limit_price
        return legs

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

    def over(self) -> dict[str, Decimal]:
        """Return the filled quantity of the orders that are over at the venue and not accounted for."""
        return {
            name: order.over.filled
            for name, order in self.orders.items()
            if order.over is not None and not order.ended
        }

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
        """Return the refusal of a cancel; the order is as it was."""
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

    # what does not fit ----------------------------------------------------------------------------

    def ask(self) -> int:
        """Return the number of a question for executions that is about to be asked.

        An answer that says again what was refused before its question proves it: see :meth:`execution`.
        """
        self.questions += 1
        return self.questions

    def _is_refused(
        self,
        order: TrackedOrder,
        name: str,
        misfit: Misfit | None,
        numbers: tuple[Decimal, ...],
        question: int | None,
        replaces: str = "",
    ) -> bool:
        """Return whether numbers of an execution do not count (yet), and tell so once.

        ``name``: Of the execution, or of its fee.
        ``replaces``: Execution that it corrects.
        """
        if misfit is None:
            order.refused.pop(name, None)
            return False
        known_as = name.removeprefix(Origin.LATE_FEE).removeprefix(_RESTATED)
        said = " ".join(map(str, numbers))
        before, what = order.refused.get(name), f"execution {known_as} of {order.submitted.client_order_id}"
        is_same = before is not None and before.numbers == said
        if before is not None and is_same and misfit.may_be and (question or 0) > before.question:
            del order.refused[name]
            self.on_odd("odd_number_confirmed", f"{what}: {misfit}; the venue says it again, it is booked")
            return False
        if not is_same:
            why = f"{what} in {self.symbol(order)}: {misfit}"
            order.refused[name] = RefusedNumber(self.questions, said, why, replaces)
            self.on_refused(order, why, not name.startswith((Origin.LATE_FEE, _RESTATED)))
        return True

    def _misfit(
        self,
        order: TrackedOrder,
        quantity: Decimal,
        price: Decimal,
        span: Span,
        at_ns: int,
    ) -> Misfit | None:
        """Return why an execution does not fit its order."""
        command, number = order.submitted, order.submitted.instrument_id
        found = misfit_of_quantity(quantity, *span, command.quantity)
        if found is None:
            quotes, is_leg = (order.quoted, self._quotes.get(number)), bool(order.parent_id)
            found = misfit_of_price(self._instruments[number], command, price, at_ns, quotes, is_leg=is_leg)
        if found is None and order.net_limit is not None:
            found = self._misfit_of_combo(order, quantity, price)
        return found

    def _misfit_of_combo(self, order: TrackedOrder, quantity: Decimal, price: Decimal) -> Misfit | None:
        """Return why the legs of a combo do not fit its limit, once an execution completes a part of it."""
        legs = self.legs(order.parent_id)
        if order.net_limit is None or not legs or not all(leg.submitted.quantity for leg in legs):
            return None
        parts, filled = [], set[Decimal]()
        for leg in legs:
            is_it = leg is order
            units = leg.covered + (quantity if is_it else ZERO)
            if not units:
                return None
            mean = (leg.value + (quantity * price if is_it else ZERO)) / units
            parts.append((self._instruments[leg.submitted.instrument_id], leg.submitted, mean))
            filled.add(units / leg.submitted.quantity)
        if len(filled) > 1:
            return None
        sets = sets_of_all([leg.submitted.quantity for leg in legs])
        return misfit_of_net_price(parts, sets, order.net_limit)

    def _doubted(self, order: TrackedOrder, execution_id: str, now_ns: int) -> list[OrderEvent]:
        """Return the doubt of an order whose execution was refused."""
        return [] if order.unknown else self.mark_unknown(order, order.refused[execution_id].why, now_ns)

    def _timed(self, order: TrackedOrder, execution_id: str, at_ns: int, now_ns: int) -> int:
        """Return when an execution happened: now, where its stamp cannot be."""
        earliest_ns = order.since_ns - _CLOCKS_APART_NS if order.since_ns else 0
        if earliest_ns <= at_ns <= now_ns + _CLOCKS_APART_NS:
            return at_ns
        name = order.submitted.client_order_id
        self.on_odd("implausible_time", f"execution {execution_id} of {name}: {at_ns} ns, taken as of now")
        return now_ns

    def _restated(
        self,
        order: TrackedOrder,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        at_ns: int,
        now_ns: int,
        question: int | None,
    ) -> list[Fact]:
        """Return the correction of an execution that two answers state otherwise than it was booked."""
        stated, (span, _) = order.stated.get(execution_id), order.executions[execution_id]
        length = span.end - span.start
        is_whole = stated is not None and length == stated[0] and quantity.is_finite()
        if question is None or stated is None or not length or not is_whole:
            return []
        end = span.end if quantity <= length else min(span.start + quantity, order.submitted.quantity)
        place = Span(end - quantity, end)
        is_free = all(
            known.end <= place.start or known.start >= place.end or known == span for known in order.cover
        )
        if stated == (quantity, price):
            order.refused.pop(f"{_RESTATED}{execution_id}", None)
            return []
        if not is_free or self._misfit(order, quantity, price, place, at_ns) is not None:
            return []
        words = f"{stated[0]:f} at {stated[1]:f} as booked, not {quantity:f} at {price:f}"
        said = Misfit("execution", price, words)
        if self._is_refused(order, f"{_RESTATED}{execution_id}", said, (quantity, price), question):
            return []
        reason = f"the venue states {quantity:f} at {price:f}"
        events = self.bust(order, execution_id, reason, at_ns, now_ns, is_corrected=True)
        del order.stated[execution_id]
        name = f"{order.venue_order_id}/{execution_id}"
        order.executions[execution_id] = (Span(place.end, place.end), price)
        return events + self._booked(order, name, quantity, price, place, at_ns, now_ns, None)

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
        question: int | None = None,
    ) -> list[Fact]:
        """Return the fill that took the order to ``cumulative``; nothing when it was returned before.

        A number that does not fit the order leaves it in doubt. It counts once the answer to a later question
        says the same; where that says another one, that one is booked.

        ``fee`` is the venue's own, in the instrument's currency; None charges the schedule's. ``question`` is
        the number (:meth:`ask`) of the question that this is an answer to; None for what comes by itself.
        """
        span = Span(cumulative - quantity, cumulative)
        if execution_id in order.executions:
            order.place(execution_id, span)
            return self._known(order, execution_id, quantity, price, at_ns, now_ns, fee, question)
        if order.inferred and at_ns < order.busted_ns:  # its place is one of before the bust
            return self.next_execution(
                order, execution_id, quantity, price, at_ns, now_ns, fee=fee, question=question
            )
        before = order.refused.get(execution_id)
        if before is not None and before.replaces in order.executions:
            terms = execution_id, quantity, price, "corrected", at_ns, now_ns
            return self.correct(order, before.replaces, *terms, question=question)
        if quantity.is_finite() and quantity > 0:
            is_known = any(known.start <= span.start and span.end <= known.end for known in order.cover)
            if is_known or (order.busts and not order.is_uncovered(span)):
                return []
        misfit = self._misfit(order, quantity, price, span, at_ns)
        if self._is_refused(order, execution_id, misfit, (quantity, price, cumulative), question):
            return [*self._doubted(order, execution_id, now_ns)]
        if not order.is_uncovered(span):
            return []
        at_ns = self._timed(order, execution_id, at_ns, now_ns)
        order.stated[execution_id] = quantity, price
        return self._booked(order, execution_id, quantity, price, span, at_ns, now_ns, fee)

    def _known(
        self,
        order: TrackedOrder,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        at_ns: int,
        now_ns: int,
        fee: Decimal | None,
        question: int | None,
    ) -> list[Fact]:
        """Return what changes by a message on an execution that was booked: its fee, or its numbers."""
        events = self._restated(order, execution_id, quantity, price, at_ns, now_ns, question)
        if fee is not None and Origin.LATE_FEE + execution_id in order.refused:
            events += self.fee_reported(order, execution_id, fee, at_ns, now_ns, question=question)
        return events

    def _booked(
        self,
        order: TrackedOrder,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        span: Span,
        at_ns: int,
        now_ns: int,
        fee: Decimal | None,
    ) -> list[Fact]:
        order.add_execution(execution_id, span, price)
        accepted: list[OrderEvent] = self.accept(order, order.venue_order_id, at_ns, now_ns)
        command = order.submitted
        if fee is None or self._is_fee_refused(order, execution_id, fee, at_ns, None):
            fee = self._fee(order, execution_id, quantity, price, at_ns)
        filled = OrderFilled(command.client_order_id, at_ns, now_ns, execution_id, quantity, price, fee)
        if order.covered >= command.quantity:
            order.ended, order.unknown = True, False
        rest = [] if order.over is None else self.apply(order, order.over, now_ns, infer=False)
        return [*accepted, filled, *rest]

    def _is_fee_refused(
        self, order: TrackedOrder, execution_id: str, fee: Decimal, at_ns: int, question: int | None
    ) -> bool:
        """Return whether a fee does not count (yet)."""
        (start, end), price = order.executions[execution_id]
        command, day = order.submitted, trade_date(at_ns)
        terms = self._instruments[command.instrument_id], command.side, end - start, price
        scheduled, resting = (self._fees.alone(*terms, day=day, is_maker=rests) for rests in (False, True))
        misfit = misfit_of_fee(
            self._instruments[command.instrument_id],
            end - start,
            price,
            fee,
            scheduled=scheduled,
            resting=resting,
        )
        return self._is_refused(order, Origin.LATE_FEE + execution_id, misfit, (fee,), question)

    def is_fee_refused(self, order: TrackedOrder, execution_id: str) -> bool:
        """Return whether the last fee that the venue stated for an execution was refused."""
        return Origin.LATE_FEE + execution_id in order.refused

    def fee_reported(
        self,
        order: TrackedOrder,
        execution_id: str,
        fee: Decimal,
        at_ns: int,
        now_ns: int,
        *,
        question: int | None = None,
    ) -> list[PositionChanged]:
        """Return the difference of a fee that a venue reports after the fill to what was booked with it.

        ``fee`` is in the instrument's currency. The execution's id is the reference: it is booked once.
        ``question`` as in :meth:`execution`: the schedule's fee stays booked while this one does not fit.
        """
        if execution_id not in order.executions:
            return []
        if self._is_fee_refused(order, execution_id, fee, at_ns, question):
            return []
        (start, end), price = order.executions[execution_id]
        number, booked = (
            order.submitted.instrument_id,
            self._fee(order, execution_id, end - start, price, at_ns),
        )
        if fee == booked or start == end:
            return []
        self._fees.state(execution_id, fee)
        reference, change = Origin.LATE_FEE + execution_id, booked - fee
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
        counted: Decimal | None = None,
        question: int | None = None,
    ) -> list[Fact]:
        """Return the fill of an execution whose message states no cumulative quantity.

        What was inferred before covers it: its quantity counts no second time. Only what goes beyond is a
        fill. ``fee`` as in :meth:`execution`, of the whole; ``counted`` is the filled quantity that the same
        message shows of the order; ``question`` as in :meth:`execution`.
        """
        if execution_id in order.executions:
            return self._known(order, execution_id, quantity, price, at_ns, now_ns, fee, question)
        left = max(quantity - order.inferred, ZERO) if quantity.is_finite() else ZERO
        most = order.submitted.quantity if counted is None else min(counted, order.submitted.quantity)
        misfit = misfit_of_quantity(quantity, order.covered, order.covered + left, max(most, order.covered))
        if misfit is None and left:
            misfit = self._misfit(order, left, price, Span(order.covered, order.covered + left), at_ns)
        if self._is_refused(order, execution_id, misfit, (quantity, price), question):
            return [*self._doubted(order, execution_id, now_ns)]
        order.inferred -= min(order.inferred, quantity)
        span = Span(order.covered, order.covered + left)
        if not left:
            order.executions[execution_id] = (span, price)
            return []
        if left < quantity and fee is not None:
            fee = round(fee * left / quantity, _FEE_DIGITS)
        if not order.is_uncovered(span):
            return []
        at_ns = self._timed(order, execution_id, at_ns, now_ns)
        order.stated[execution_id] = quantity, price
        return self._booked(order, execution_id, left, price, span, at_ns, now_ns, fee)

    def correct(
        self,
        order: TrackedOrder,
        corrected: str,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        reason: str,
        at_ns: int,
        now_ns: int,
        *,
        cumulative: Decimal | None = None,
        question: int | None = None,
    ) -> list[Fact]:
        """Return the bust of an execution, and the one in its place; nothing while that one does not fit.

        ``cumulative`` is the order's filled quantity after it; None puts it behind all that is known.
        """
        if execution_id in order.executions:
            return []
        known = order.executions.get(corrected)
        length = ZERO if known is None else known[0].end - known[0].start
        start = order.covered - length
        misfit = self._misfit(order, quantity, price, Span(start, start + quantity), at_ns)
        if self._is_refused(order, execution_id, misfit, (quantity, price), question, corrected):
            return [*self._doubted(order, execution_id, now_ns)]
        events = self.bust(order, corrected, reason, at_ns, now_ns, is_corrected=True)
        end = order.covered + quantity if cumulative is None else cumulative
        place = Span(end - quantity, end)
        if place.start < 0 or not order.is_uncovered(place):
            place = Span(order.covered, order.covered + quantity)
        at_ns = self._timed(order, execution_id, at_ns, now_ns)
        order.stated[execution_id] = quantity, price
        return events + self._booked(order, execution_id, quantity, price, place, at_ns, now_ns, None)

    def bust(
        self,
        order: TrackedOrder,
        execution_id: str,
        reason: str,
        at_ns: int,
        now_ns: int,
        *,
        is_corrected: bool = False,
    ) -> list[Fact]:
        """Return the bust of an execution; a corrected one is followed by the execution in its place.

        The end of the order that the venue has shown since counts the execution no more: what it counts
        instead was missed here, and is inferred.
        """
        span = order.remove_execution(execution_id)
        order.busted_ns = max(order.busted_ns, at_ns)
        gone = None if span is None else span.end - span.start
        if not is_corrected:
            order.busts.append((at_ns, gone))
        missed: list[Fact] = []
        if gone and not is_corrected and order.end is not None and order.end.ts_event_ns > at_ns:
            missed = self._infer(order, order.end, now_ns)
        client_id = order.submitted.client_order_id
        bust = FillBusted(
            client_id, at_ns, now_ns, execution_id, reason, is_corrected, more_follow=bool(missed)
        )
        return [bust, *missed]

    def taken_back(self, order: TrackedOrder, listed: Mapping[str, Decimal], now_ns: int) -> list[Fact]:
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
        self,
        order: TrackedOrder,
        report: OrderReport,
        now_ns: int,
        *,
        infer: bool,
        question: int | None = None,
    ) -> list[Fact]:
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
        question
            As in :meth:`execution`.
        """
        outcome, at_ns = report.outcome, report.ts_event_ns
        client_id, wanted = order.submitted.client_order_id, order.submitted.quantity
        if report.venue_order_id and not order.venue_order_id:
            self.bind(client_id, report.venue_order_id)
        if outcome is Outcome.REJECTED and not order.covered and not report.filled:
            return [*self.reject(order, report.reason or "rejected by the venue", at_ns, now_ns)]
        events = self._infer(order, report, now_ns, question) if infer else []
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
        elif order.refused and order.covered < order.counted(report):
            aside = (Origin.LATE_FEE, _RESTATED)
            why = next((each.why for name, each in order.refused.items() if not name.startswith(aside)), "")
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

    def _infer(
        self, order: TrackedOrder, report: OrderReport, now_ns: int, question: int | None = None
    ) -> list[Fact]:
        holes = order.holes(min(report.filled, order.submitted.quantity))
        if not holes or report.average_price is None or report.ts_event_ns < order.busted_ns:
            return []
        if order.cover and order.cover[-1].end > report.filled:
            return []  # the report is older than what is known: its average says nothing of the rest
        missing = sum((hole.end - hole.start for hole in holes), ZERO)
        is_inverse = self._instruments[order.submitted.instrument_id].is_inverse_future
        known = order.coins if is_inverse else order.value
        price = mean_of_rest(report.average_price, report.filled, known, missing, is_inverse=is_inverse)
        events: list[Fact] = []
        for hole in holes:
            name = f"{report.venue_order_id}/{number_text(hole.start)}-{number_text(hole.end)}"
            quantity, at_ns = hole.end - hole.start, report.ts_event_ns
            events += self.execution(order, name, quantity, price, hole.end, at_ns, now_ns, question=question)
            if name in order.executions:
                order.inferred += quantity
        return events
