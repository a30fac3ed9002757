"""Orders and cancels on their way to Alpaca, and what its replies say of each request."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from scalpdesk.base import ArgumentError, MultiLegOrder, SubmitOrder
from scalpdesk.venues.budget import Urgency, loop_ns
from scalpdesk.venues.contract import KnownOrder, NoticeKind
from scalpdesk.venues.order_path import (
    Answering,
    Found,
    OrderPath,
    RequestFate,
    VenueAnswer,
    urgency_of_command,
)
from scalpdesk.venues.tracker import TrackedOrder
from scalpdesk_alpaca import order_messages
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_alpaca.order_messages import JudgedReply, ReplyVerdict, read_order
from scalpdesk_alpaca.orders import OrderReports
from scalpdesk_alpaca.queries import BudgetedClient
from scalpdesk_alpaca.transport import Reply, RestRequest

_MOST_CANCEL_TRIES = 5
_UNKNOWN_PAUSE_SECONDS = 1.0
"""Pause before a cancel of an order that the venue does not know yet is refused."""
_FATES = {
    ReplyVerdict.DONE: RequestFate.TAKEN,
    ReplyVerdict.UNKNOWN: RequestFate.UNKNOWN,
    ReplyVerdict.NOT_SENT: RequestFate.NOT_SENT,
    ReplyVerdict.DUPLICATE: RequestFate.DUPLICATE,
}
"""What a reply means for an order; all others refuse it."""


class OrderSender:
    """Answers for Alpaca; implements :class:`scalpdesk.venues.order_path.OrderWire`."""

    takes_id_once = True
    doubts_whole_combo = False

    def __init__(
        self,
        client: BudgetedClient,
        reports: OrderReports,
        *,
        timeout_seconds: float,
        acceptance_seconds: float,
    ) -> None:
        self._client = client
        self._reports = reports
        self.path = OrderPath(
            self,
            tracker=reports.tracker,
            publisher=reports.publisher,
            budget=client.budget,
            timeout_seconds=timeout_seconds,
            acceptance_seconds=acceptance_seconds,
            stamp=loop_ns,
        )

    def place(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> Answering:
        """Send an order; it is on the wire when this returns, unless it is held back."""
        del orders
        try:
            urgency, request = self._request(command)
        except ArgumentError as error:
            return VenueAnswer(RequestFate.NOT_SENT, error.what)
        held = self._held_back(urgency)
        return VenueAnswer(RequestFate.NOT_SENT, held) if held else self._placed(self._client.start(request))

    async def _placed(self, answering: Awaitable[Reply]) -> VenueAnswer:
        return _answer_of(await self._client.outcome(answering))

    def _request(self, command: SubmitOrder | MultiLegOrder) -> tuple[Urgency, RestRequest]:
        instruments, urgency = self._reports.instruments, urgency_of_command(command)
        if isinstance(command, SubmitOrder):
            return urgency, order_messages.submit_request(command, instruments)
        return urgency, order_messages.combo_request(command, instruments)

    def _held_back(self, urgency: Urgency) -> str:
        """Return why an order may not be sent now; empty when it may, and then it is counted."""
        if not self.path.is_open:
            return "the gateway is not connected"
        if self._client.may_ask(urgency):
            return ""
        detail = f"{self._client.budget.left(loop_ns())} requests left are kept for more urgent orders"
        self.path.publisher.notice(NoticeKind.LIMITED, "orders", "budget", detail)
        return "held back by the request budget"

    def show(self, orders: list[TrackedOrder], shown: Any) -> str:
        """Publish what a reply shows of an order; return why it cannot be read."""
        try:
            order = read_order(shown)
        except Malformed as refused:
            self._reports.refuse(refused.name, refused.detail)
            return f"the venue's answer cannot be read: {refused.name}"
        if orders[0].parent_id:
            self._reports.apply_legs(order, infer=False)
        else:
            self._reports.apply(orders[0], order, infer=False)
        return ""

    def adopted(self, orders: Sequence[KnownOrder]) -> None:
        """Nothing is kept beside the tracker: ids of combos come with their answers."""

    async def look_up(self, order: TrackedOrder) -> Found:
        """Ask for an order by its id at the desk."""
        return await self._reports.look_up(order)

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id; it would refuse another as a duplicate."""
        return await self._reports.is_taken(client_order_id)

    async def cancel(self, order: TrackedOrder) -> VenueAnswer:
        """Cancel an order once its id at the venue is known: 204 is "accepted", not "done"."""
        venue_order_id = await self._venue_id(order)
        if venue_order_id is None:
            await asyncio.sleep(_UNKNOWN_PAUSE_SECONDS)
            venue_order_id = await self._venue_id(order)
        if venue_order_id is None:
            return VenueAnswer(RequestFate.REFUSED, "its order is not known at the venue yet")
        request = order_messages.cancel_request(venue_order_id)
        for _ in range(_MOST_CANCEL_TRIES):
            while not self._client.may_ask(Urgency.CANCEL):
                await self._client.pause(Urgency.CANCEL)
            outcome = await self._client.outcome(self._client.start(request))
            match outcome.verdict:
                case ReplyVerdict.DONE:
                    return VenueAnswer(RequestFate.TAKEN)
                case ReplyVerdict.UNKNOWN:
                    return VenueAnswer(RequestFate.UNKNOWN, f"cancel: {outcome.reason}")
                case ReplyVerdict.LIMITED:
                    continue  # nothing is left of the budget now
                case ReplyVerdict.TOO_LATE:
                    return VenueAnswer(RequestFate.OVER, outcome.reason)
                case _:
                    return VenueAnswer(RequestFate.REFUSED, outcome.reason)
        return VenueAnswer(RequestFate.REFUSED, "the venue's rate limit")

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order by the venue's id; return whether the venue took it, or the order is over."""
        if not self._client.may_ask(Urgency.CANCEL):
            return False
        request = order_messages.cancel_request(self._reports.cancel_id(venue_order_id))
        verdict = (await self._client.outcome(self._client.start(request))).verdict
        return verdict in (ReplyVerdict.DONE, ReplyVerdict.NOT_FOUND, ReplyVerdict.TOO_LATE)

    async def cancel_all(self) -> bool:
        """Cancel all open orders of the account by one request; return whether the venue took it."""
        if not self._client.may_ask(Urgency.CANCEL):
            return False
        outcome = await self._client.outcome(self._client.start(order_messages.CANCEL_ALL))
        return outcome.verdict is ReplyVerdict.DONE

    async def _venue_id(self, order: TrackedOrder) -> str | None:
        """Return the venue's id of an order, waiting for its acknowledgement or querying it."""
        for _ in range(200):
            if order.venue_order_id or order.ended or order.answered_ns is not None:
                break
            await asyncio.sleep(0.005)
        if self._reports.venue_order_id(order) is None and not order.ended:
            await self._reports.look_up(order)
        return self._reports.venue_order_id(order)


def _answer_of(outcome: JudgedReply) -> VenueAnswer:
    return VenueAnswer(_FATES.get(outcome.verdict, RequestFate.REFUSED), outcome.reason, outcome.body)
