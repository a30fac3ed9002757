"""Orders, cancels and replacements on their way to Alpaca, and what becomes of each request."""

import asyncio
from collections.abc import Iterable

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import CancelRejected
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, ReplaceOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.budget import Urgency, loop_ns, urgency_of
from scalpdesk.venues.cancel_follower import CancelFollower
from scalpdesk.venues.contract import NoticeKind
from scalpdesk.venues.tracker import TrackedOrder
from scalpdesk.venues.under_way import RequestsUnderWay
from scalpdesk_alpaca import order_messages
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_alpaca.order_messages import ReplyVerdict, read_order
from scalpdesk_alpaca.orders import Found, OrderReports
from scalpdesk_alpaca.queries import BudgetedClient
from scalpdesk_alpaca.transport import Reply, RestRequest

MOST_CANCEL_TRIES = 5
LATEST_SECONDS = 60.0
"""Age of a request after which it is no longer awaited where the venue refuses its repetition."""
UNKNOWN_PAUSE_SECONDS = 1.0
"""Pause before a cancel of an order that the venue does not know yet is refused."""


class OrderSender:
    """Sends the commands of one account."""

    def __init__(self, client: BudgetedClient, reports: OrderReports) -> None:
        self._client = client
        self._reports = reports
        self._tracker = reports.tracker
        self._publisher = reports.publisher
        self.under_way = RequestsUnderWay(reports.publisher)
        self._spawn = self.under_way.start
        self._cancels = CancelFollower(tracker=reports.tracker, query=reports.query_order, spawn=self._spawn)
        self.is_open = False

    def send(self, command: VenueCommand) -> None:
        """Send a command; an order is on the wire when this returns, unless it is held back."""
        if isinstance(command, (SubmitOrder, MultiLegOrder)):  # a union would be made at each call
            self._submit(command)
        elif isinstance(command, CancelOrder):
            self._spawn(self._cancel(command.client_order_id))
        else:
            self._spawn(self._replace(command))

    def _submit(self, command: SubmitOrder | MultiLegOrder) -> None:
        reports = self._reports
        try:
            urgency, request = self._request(command)
        except ArgumentError as error:
            self._not_sent(reports.track(command), error.what)
            return
        held = self._held_back(urgency)
        if held:
            self._not_sent(reports.track(command), held)
            return
        answering = self._client.start(request)  # the order first, its bookkeeping after
        self._spawn(self._submitted(reports.track(command), answering))

    def _request(self, command: SubmitOrder | MultiLegOrder) -> tuple[Urgency, RestRequest]:
        instruments = self._reports.instruments
        if isinstance(command, SubmitOrder):
            return urgency_of(command.purpose), order_messages.submit_request(command, instruments)
        urgency = max(urgency_of(leg.purpose) for leg in command.legs)
        return urgency, order_messages.combo_request(command, instruments)

    async def query_order(self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None) -> bool:
        """Ask what became of an order; return whether the proof is on the event stream.

        No time proves that an order will not come any more: a proxy may hold its request for longer. The
        venue takes an id once. What is still wanted at the end of the acceptance time-out therefore goes out
        again under its id: it takes the place of the first request, or that one's refuses it as a duplicate.
        """
        found = await self._reports.query_order(client_order_id)
        if found is not Found.ABSENT:
            return found is Found.SHOWN
        order = self._tracker.orders[client_order_id]
        if not self._reports.is_overdue(order):
            return False
        if again is None:
            self._reports.not_found(order)
            return True
        urgency, request = self._request(again)
        if not self._held_back(urgency):
            orders = self._tracker.together(order)
            for each in orders:
                each.sent_ns, each.answered_ns = each.sent_ns or loop_ns(), None
            self._publisher.count("order_sent_again")
            self._spawn(self._submitted(orders, self._client.start(request), is_again=True))
        return False

    def _held_back(self, urgency: Urgency) -> str:
        """Return why an order may not be sent now; empty when it may, and then it is counted."""
        if not self.is_open:
            return "the gateway is not connected"
        if self._client.may_ask(urgency):
            return ""
        detail = f"{self._client.budget.left(loop_ns())} requests left are kept for more urgent orders"
        self._publisher.notice(NoticeKind.LIMITED, "orders", "budget", detail)
        return "held back by the request budget"

    async def _submitted(
        self, orders: list[TrackedOrder], answering: asyncio.Future[Reply], *, is_again: bool = False
    ) -> None:
        try:
            outcome = await self._client.outcome(answering)
        except Exception as fault:
            self._unknown(orders, f"its answer met a fault of our own: {fault!r}"[:200])
            raise
        finally:  # without it no absence would ever be proven
            self._answered(orders)
        match outcome.verdict:
            case ReplyVerdict.DONE:
                self._accepted(orders, outcome.body)
            case ReplyVerdict.NOT_SENT if not is_again:
                self._not_sent(orders, outcome.reason)
            case ReplyVerdict.UNKNOWN | ReplyVerdict.NOT_SENT:
                self._unknown(orders, outcome.reason)
            case ReplyVerdict.DUPLICATE:
                await self._doubted(orders, outcome.reason)
            case _ if is_again:
                await self._refused_again(orders, outcome.reason)
            case _ if any(order.accepted or order.cover for order in orders):
                # the stream has shown it at the venue: its request came twice, and this answers the second
                await self._doubted(orders, outcome.reason)
            case _:
                self._reject(orders, outcome.reason)

    async def _refused_again(self, orders: list[TrackedOrder], reason: str) -> None:
        """Take the refusal of a repeated order for its end once the first request is no longer awaited.

        The first one may have come meanwhile, and be why; or come yet, and not be refused.
        """
        found = await self._reports.query_order(orders[0].submitted.client_order_id)
        if found is Found.ABSENT and loop_ns() - orders[0].sent_ns > LATEST_SECONDS * NANOS_PER_SECOND:
            self._reject(orders, reason)

    async def _doubted(self, orders: list[TrackedOrder], reason: str) -> None:
        """Ask for an order whose answer says that it is not there, and which may be there."""
        self._unknown(orders, reason)
        await self._reports.query_order(orders[0].submitted.client_order_id)

    def _accepted(self, orders: list[TrackedOrder], body: bytes) -> None:
        try:
            shown = read_order(body)
        except Malformed as refused:
            self._reports.refuse(refused.name, refused.detail)
            self._unknown(orders, f"the venue's answer cannot be read: {refused.name}")
            return
        if orders[0].parent_id:
            self._reports.apply_legs(shown, infer=False)
        else:
            self._reports.apply(orders[0], shown, infer=False)

    async def _cancel(self, client_order_id: str) -> None:
        order = self._tracker.orders.get(client_order_id)
        if order is None:
            self._reports.refuse("unknown_order", f"cancel of {client_order_id}")
            now_ns = self._publisher.timestamp()
            reason = "no order of this id was sent or adopted here"
            self._publisher.publish([CancelRejected(client_order_id, now_ns, now_ns, reason)])
            return
        venue_order_id = await self._venue_id(order)
        if venue_order_id is None:
            await asyncio.sleep(UNKNOWN_PAUSE_SECONDS)
            venue_order_id = await self._venue_id(order)
        if venue_order_id is None:
            self._reports.reject_cancel(order, "its order is not known at the venue yet")
            return
        request = order_messages.cancel_request(venue_order_id)
        for _ in range(MOST_CANCEL_TRIES):
            while not self._client.may_ask(Urgency.CANCEL):
                await self._client.pause(Urgency.CANCEL)
            outcome = await self._client.outcome(self._client.start(request))
            match outcome.verdict:
                case ReplyVerdict.DONE:
                    self._cancels.taken(order)  # accepted, not done: the stream reports the end, if it comes
                    return
                case ReplyVerdict.UNKNOWN:
                    self._unknown([order], f"cancel: {outcome.reason}")
                    return
                case ReplyVerdict.LIMITED:
                    continue  # nothing is left of the budget now
                case ReplyVerdict.TOO_LATE:
                    # it is over: without its end the desk would cancel it for ever
                    await self._reports.query_order(client_order_id)
                    self._reports.reject_cancel(order, outcome.reason)
                    return
                case _:
                    self._reports.reject_cancel(order, outcome.reason)
                    return
        self._reports.reject_cancel(order, "the venue's rate limit")

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order by the venue's id; return whether the venue took it, or the order is over."""
        if not self._client.may_ask(Urgency.CANCEL):
            return False
        request = order_messages.cancel_request(self._reports.cancel_id(venue_order_id))
        verdict = (await self._client.outcome(self._client.start(request))).verdict
        return verdict in (ReplyVerdict.DONE, ReplyVerdict.NOT_FOUND, ReplyVerdict.TOO_LATE)

    async def _replace(self, command: ReplaceOrder) -> None:
        old = self._tracker.orders.get(command.client_order_id)
        (new,) = self._reports.track(command.replacement)
        venue_order_id = None if old is None else await self._venue_id(old)
        if old is None or venue_order_id is None:
            self._answered([new])
            self._not_sent([new], "the order to replace is not known at the venue")
            if old is not None:
                self._reports.reject_cancel(old, "not known at the venue yet")
            return
        held = self._held_back(urgency_of(command.replacement.purpose))
        if held:
            self._not_sent([new], held)
            self._reports.reject_cancel(old, "replacement held back")
            return
        request = order_messages.replace_request(command, venue_order_id, old.covered)
        outcome = await self._client.outcome(self._client.start(request))
        self._answered([new])
        match outcome.verdict:
            case ReplyVerdict.DONE:
                self._accepted([new], outcome.body)
            case ReplyVerdict.NOT_SENT:
                self._not_sent([new], outcome.reason)
                self._reports.reject_cancel(old, outcome.reason)
            case ReplyVerdict.UNKNOWN | ReplyVerdict.DUPLICATE:
                self._unknown([old, new], f"replace: {outcome.reason}")
            case verdict:
                self._reject([new], outcome.reason)
                if verdict is ReplyVerdict.TOO_LATE:  # it is over, or about to be: learn its end
                    await self._reports.query_order(command.client_order_id)
                self._reports.reject_cancel(old, outcome.reason)

    async def _venue_id(self, order: TrackedOrder) -> str | None:
        """Return the venue's id of an order, waiting for its acknowledgement or querying it."""
        for _ in range(200):
            if order.venue_order_id or order.ended or order.answered_ns is not None:
                break
            await asyncio.sleep(0.005)
        if self._reports.venue_order_id(order) is None and not order.ended:
            await self._reports.query_order(order.submitted.client_order_id)
        return self._reports.venue_order_id(order)

    def _answered(self, orders: Iterable[TrackedOrder]) -> None:
        for order in orders:
            order.answered_ns = loop_ns()

    def _unknown(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        for order in orders:
            self._publisher.publish(self._tracker.mark_unknown(order, reason, self._publisher.timestamp()))

    def _reject(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        now_ns = self._publisher.timestamp()
        for order in orders:
            self._publisher.publish(self._tracker.reject(order, reason, now_ns, now_ns))

    def _not_sent(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        for order in orders:
            now_ns = self._publisher.timestamp()
            self._publisher.publish(self._tracker.mark_unknown(order, f"not sent: {reason}", now_ns))
            self._publisher.publish(self._tracker.not_found(order, now_ns))

    async def settle(self, timeout_seconds: float) -> None:
        """Wait, within bounds, until the requests under way are answered; cancel the others."""
        self._cancels.close()
        await self.under_way.end(timeout_seconds)
