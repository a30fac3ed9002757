"""The life of an order at any venue: sent, in doubt, asked for, absent, cancelled, adopted.

A venue answers the few questions of an :class:`OrderWire` in its own messages and says of each request what
became of it. What that means for the order, and which events the desk hears, stands here once. A venue may
answer later, by messages of its own: it then answers None, and reports what they say.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple, Protocol

from scalpdesk.core.events import CancelRejected, Event
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns, urgency_of
from scalpdesk.venues.cancel_follower import CancelFollower
from scalpdesk.venues.contract import KnownOrder, NoticeKind
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.tracker import OrderReport, OrderTracker, Outcome, TrackedOrder, request_ended_ns
from scalpdesk.venues.under_way import RequestsUnderWay

_ASK_ANEW_SECONDS = (0.05, 1.0, 2.0, 5.0)
"""Before each question for an order whose execution has a number that does not fit."""
_LATEST_SECONDS = 60.0
"""Age of a request after which it is no longer awaited where the venue refuses its repetition."""


class RequestFate(StrEnum):
    """What became of a request at the venue."""

    TAKEN = "taken"
    REFUSED = "refused"
    OVER = "over"
    """Refused because its order is over, or about to be: its end is asked for."""
    DUPLICATE = "duplicate"
    """Refused because the venue has the id already: the first request arrived."""
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    """It may have been carried out or not."""


class VenueAnswer(NamedTuple):
    """A venue's answer to a request."""

    fate: RequestFate
    reason: str = ""
    shown: Any = None
    """State of the order where the answer brings it, for :meth:`OrderWire.show`."""


Answering = VenueAnswer | Awaitable[VenueAnswer] | None
"""An answer that is known at once, that is awaited, or that the venue's own messages bring."""


class Found(Enum):
    """The venue's answer to a question for an order."""

    SHOWN = auto()
    """It shows the order; the event stream has its state."""
    ABSENT = auto()
    """It has no such order; after the acceptance time-out none will come."""
    UNCLEAR = auto()
    """No answer that can be believed, or one that may still change."""


class OrderWire(Protocol):
    """The questions that a venue answers."""

    takes_id_once: bool
    """As :attr:`scalpdesk.venues.contract.EmergencyGateway.takes_id_once`."""
    doubts_whole_combo: bool
    """Whether a cancel without an answer leaves every leg of its combo in doubt, not the named one alone."""

    def place(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> Answering:
        """Send an order, or one for a combo whose legs are ``orders``.

        What cannot leave (:meth:`OrderPath.may_leave`) is answered at once, as ``NOT_SENT``: a closed path
        waits for no answer.
        """
        ...

    def show(self, orders: list[TrackedOrder], shown: Any) -> str:
        """Publish what an answer shows of an order; return why it cannot be read, empty when it can."""
        ...

    def cancel(self, order: TrackedOrder) -> Answering:
        """Cancel an order; of a leg its combo. Taken is not done: the venue reports the end, if it comes.

        The request that sends the order may still be under way, in :attr:`OrderPath.answering`: a venue that
        cancels by its own id waits for that first.
        """
        ...

    async def look_up(self, order: TrackedOrder) -> Found:
        """Ask for an order by the desk's id and publish what the venue shows of it."""
        ...

    def adopted(self, orders: Sequence[KnownOrder]) -> None:
        """Take note of orders of another process that are followed from now on."""
        ...

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id of the desk."""
        ...

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of any sender by the venue's id; return whether it was taken, or is over."""
        ...


class OrderPath:
    """Sends the desk's orders over a wire and follows them to their ends.

    ``tracker``, ``publisher``, ``budget``: The orders, where events go, and the requests that may be made.
    ``timeout_seconds``, ``acceptance_seconds``: Time of one request, and then until the absence of its order
    proves that it will not come.
    ``stamp``: Stamps an order that is sent; None: the publisher's clock.
    """

    def __init__(
        self,
        wire: OrderWire,
        *,
        tracker: OrderTracker,
        publisher: EventPublisher,
        budget: RequestBudget,
        timeout_seconds: float,
        acceptance_seconds: float,
        stamp: Callable[[], int] | None = None,
    ) -> None:
        self.wire, self.tracker, self.publisher, self.budget = wire, tracker, publisher, budget
        self._timeout_seconds = timeout_seconds
        self._acceptance_ns = int(acceptance_seconds * NANOS_PER_SECOND)
        self._stamp = stamp or publisher.timestamp
        self.is_open = False
        self.under_way = RequestsUnderWay(publisher)
        self.spawn = self.under_way.start
        self.answering: dict[str, asyncio.Task[None]] = {}
        """Requests that send an order, by its id or its combo's."""
        self._cancels = CancelFollower(tracker=tracker, query=self.query_order, spawn=self.spawn)
        tracker.on_refused, tracker.on_odd = self._refused, self._odd

    async def close(self, *, graceful: bool) -> None:
        """Send nothing more; wait (bounded) for answers under way, or give them up."""
        self.is_open = False
        self._cancels.close()
        await self.under_way.end(self._timeout_seconds if graceful else 0.0)

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        known = tuple(orders)
        self.tracker.restore(known, self._request_ended_ns)
        self.wire.adopted(known)

    def _request_ended_ns(self, known: KnownOrder) -> int:
        utc_ns = None if self.publisher.stamper.follows else self.publisher.timestamp()
        request_ns = int(self._timeout_seconds * NANOS_PER_SECOND)
        return request_ended_ns(known, loop_ns=loop_ns(), utc_ns=utc_ns, request_ns=request_ns)

    # commands ---------------------------------------------------------------------------------------

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        if isinstance(command, (SubmitOrder, MultiLegOrder)):  # a union would be made at each call
            self._submit(command)
        else:
            self._cancel(command.client_order_id)

    def may_leave(self, urgency: Urgency, *, is_up: bool) -> bool:
        """Return whether an order may be sent now, and count it; say so where the budget keeps it back."""
        is_allowed = self.budget.take(urgency, loop_ns())
        if self.is_open and not is_allowed:
            self.publisher.notice(NoticeKind.LIMITED, "requests", "own_budget")
        return self.is_open and is_up and is_allowed

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a request that sends the order or combo of a name."""
        self.answering[name] = self.spawn(work)
        self.answering[name].add_done_callback(lambda _: self.answering.pop(name, None))

    def _submit(self, command: SubmitOrder | MultiLegOrder) -> None:
        if isinstance(command, SubmitOrder):
            orders = [self.tracker.track(command, self._stamp())]
        else:
            orders = self.tracker.track_combo(command, self._stamp())
        answer = self.wire.place(command, orders)
        if isinstance(answer, VenueAnswer):
            self.not_sent(orders, answer.reason)
        elif answer is not None:
            self.start(command.client_order_id, self._placed(orders, answer))

    async def _placed(
        self, orders: list[TrackedOrder], answering: Awaitable[VenueAnswer], *, is_again: bool = False
    ) -> None:
        try:
            answer = await answering
        except Exception as fault:
            self.doubt(orders, f"its answer met a fault of our own: {fault!r}"[:200])
            raise
        finally:  # without it no absence would ever be proven
            self._answered(orders)
        match answer.fate:
            case RequestFate.TAKEN:
                self._show(orders, answer)
            case RequestFate.NOT_SENT if not is_again:
                self.not_sent(orders, answer.reason)
            case RequestFate.UNKNOWN | RequestFate.NOT_SENT:
                self.doubt(orders, answer.reason)
            case RequestFate.DUPLICATE:
                await self._doubted(orders, answer.reason)
            case _ if is_again:
                await self._refused_again(orders, answer.reason)
            case _ if any(order.accepted or order.cover for order in orders):
                # the venue has shown it meanwhile: its request came twice, and this answers the second
                await self._doubted(orders, answer.reason)
            case _:
                self.reject(orders, answer.reason)

    def _show(self, orders: list[TrackedOrder], answer: VenueAnswer) -> None:
        why = self.wire.show(orders, answer.shown)
        if why:
            self.doubt(orders, why)

    @staticmethod
    def _answered(orders: Iterable[TrackedOrder]) -> None:
        for order in orders:
            order.answered_ns = loop_ns()

    async def _doubted(self, orders: list[TrackedOrder], reason: str) -> None:
        """Ask for an order whose answer says that it is not there, and which may be there."""
        self.doubt(orders, reason)
        await self.wire.look_up(orders[0])

    async def _refused_again(self, orders: list[TrackedOrder], reason: str) -> None:
        """Take the refusal of a repeated order for its end once the first request is no longer awaited.

        The first one may have come meanwhile, and be why; or come yet, and not be refused.
        """
        found = await self.wire.look_up(orders[0])
        if found is Found.ABSENT and loop_ns() - orders[0].sent_ns > _LATEST_SECONDS * NANOS_PER_SECOND:
            self.reject(orders, reason)

    # proof ------------------------------------------------------------------------------------------

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        """Ask what became of an order; return whether the proof is on the event stream.

        At a venue that takes an id once, no time proves that an order will not come any more: a proxy may
        hold its request for longer. What is still wanted at the end of the acceptance time-out therefore goes
        out again under its id: it takes the place of the first request, or that one's refuses it as a
        duplicate.
        """
        order = self.tracker.orders.get(client_order_id)
        if order is None or order.ended:
            return order is not None
        found = await self.wire.look_up(order)
        if found is not Found.ABSENT:
            return found is Found.SHOWN and not order.unknown
        if order.answered_ns is None or loop_ns() - order.answered_ns < self._acceptance_ns:
            return False
        if again is None or not self.wire.takes_id_once:
            self.not_sent(self.tracker.together(order))
            return True
        self._send_again(order, again)
        return False

    def _send_again(self, order: TrackedOrder, command: SubmitOrder | MultiLegOrder) -> None:
        orders = self.tracker.together(order)
        answering = self.wire.place(command, orders)
        if answering is None or isinstance(answering, VenueAnswer):
            return
        for each in orders:
            each.sent_ns, each.answered_ns = each.sent_ns or self._stamp(), None
        self.publisher.count("order_sent_again")
        self.spawn(self._placed(orders, answering, is_again=True))

    def judge_cancel(self, order: TrackedOrder, outcome: Outcome, asked_ns: int) -> None:
        """Publish that a cancel is lost where the venue, asked at ``asked_ns``, works the order on."""
        if outcome is Outcome.OPEN:
            self.publish(self.tracker.cancel_lost(order, asked_ns, self.publisher.timestamp()))

    def _refused(self, order: TrackedOrder, why: str, is_unit: bool) -> None:
        """Tell of a number that does not fit its order, and ask for the order and its executions anew."""
        self.publisher.refuse("orders", "implausible_number", why)
        if is_unit:
            name = order.submitted.client_order_id
            self.publisher.notice(NoticeKind.GAP, "orders", "implausible_number", name)
        if self.is_open:
            self.spawn(self._ask_anew(order))

    async def _ask_anew(self, order: TrackedOrder) -> None:
        """Ask for an order until no number is refused, a few times; what stays refused is a person's."""
        for pause_seconds in _ASK_ANEW_SECONDS:
            await asyncio.sleep(pause_seconds)
            if not order.refused or not self.is_open:
                return
            await self.wire.look_up(order)

    def _odd(self, name: str, detail: str) -> None:
        self.publisher.refuse("orders", name, detail)

    # cancels -----------------------------------------------------------------------------------------

    def _cancel(self, client_order_id: str) -> None:
        order = self.tracker.orders.get(client_order_id)
        if order is None:
            self.publisher.refuse("orders", "unknown_order", f"cancel of {client_order_id}")
            now_ns = self.publisher.timestamp()
            reason = "no order of this id was sent or adopted here"
            self.publish([CancelRejected(client_order_id, now_ns, now_ns, reason)])
            return
        answer = self.wire.cancel(order)
        if isinstance(answer, VenueAnswer):
            self._settle_cancel(order, answer)
        elif answer is not None:
            self.spawn(self._cancelled(order, answer))

    async def _cancelled(self, order: TrackedOrder, answering: Awaitable[VenueAnswer]) -> None:
        answer = await answering
        if answer.fate is RequestFate.OVER:
            await self._refuse_over(order, answer.reason)
        else:
            self._settle_cancel(order, answer)

    def _settle_cancel(self, order: TrackedOrder, answer: VenueAnswer) -> None:
        match answer.fate:
            case RequestFate.TAKEN:
                self._cancels.taken(order)
            case RequestFate.UNKNOWN:
                whole = self.tracker.together(order) if self.wire.doubts_whole_combo else [order]
                self.doubt(whole, answer.reason)
            case _:
                self.reject_cancel(order, answer.reason)

    async def _refuse_over(self, order: TrackedOrder, reason: str) -> None:
        """Refuse a cancel of what is over: without its end the desk would try for ever."""
        await self.wire.look_up(order)
        self.reject_cancel(order, reason)

    # what the desk hears ----------------------------------------------------------------------------

    def publish(self, events: Iterable[Event]) -> None:
        """Publish events in their order."""
        self.publisher.publish(events)

    def report(
        self, order: TrackedOrder, report: OrderReport, *, infer: bool, question: int | None = None
    ) -> None:
        """Publish what a report changes of an order; the rest as in :meth:`OrderTracker.apply`."""
        now_ns = self.publisher.timestamp(report.ts_event_ns)
        self.publish(self.tracker.apply(order, report, now_ns, infer=infer, question=question))

    def doubt(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        """Publish that the status of orders is unknown."""
        for order in orders:
            self.publish(self.tracker.mark_unknown(order, reason, self.publisher.timestamp()))

    def reject(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        """Publish that the venue refused orders."""
        now_ns = self.publisher.timestamp()
        for order in orders:
            self.publish(self.tracker.reject(order, reason, now_ns, now_ns))

    def not_sent(self, orders: Iterable[TrackedOrder], reason: str = "") -> None:
        """Publish that the venue never had orders; a reason says why they did not leave."""
        for order in orders:
            now_ns = self.publisher.timestamp()
            if reason:
                self.publish(self.tracker.mark_unknown(order, f"not sent: {reason}", now_ns))
            self.publish(self.tracker.not_found(order, now_ns))

    def reject_cancel(self, order: TrackedOrder, reason: str) -> None:
        """Publish that a cancel was refused."""
        self.publish(self.tracker.reject_cancel(order, reason, self.publisher.timestamp()))


def urgency_of_command(command: SubmitOrder | MultiLegOrder) -> Urgency:
    """Return how urgent an order is; of a combo its most urgent leg."""
    if isinstance(command, SubmitOrder):
        return urgency_of(command.purpose)
    return max(urgency_of(leg.purpose) for leg in command.legs)
