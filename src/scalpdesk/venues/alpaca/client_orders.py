"""The order path to Alpaca: commands out, and what their answers prove."""

import asyncio
from collections.abc import Coroutine, Iterable

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, ReplaceOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.alpaca import wire_requests
from scalpdesk.venues.alpaca.client_http import NoAnswer, NotSent, OrderLine, Reply
from scalpdesk.venues.alpaca.client_reports import OrderReports
from scalpdesk.venues.alpaca.client_stream import loop_ns
from scalpdesk.venues.alpaca.fields import Malformed
from scalpdesk.venues.alpaca.wire_answers import Verdict, judge
from scalpdesk.venues.alpaca.wire_orders import read_order
from scalpdesk.venues.base import NoticeKind
from scalpdesk.venues.budget import Urgency, urgency_of
from scalpdesk.venues.tracker import Tracked

MOST_CANCEL_TRIES = 5
DOUBT_PAUSE_SECONDS = 1.0
"""Before a cancel of an order that nothing proves to exist is refused: it would be asked again at once."""


class OrderPath:
    """Carries orders of one account.

    Parameters
    ----------
    http
        Connections kept for orders alone.
    reports
        Where what the venue says becomes events.
    """

    def __init__(self, http: OrderLine, reports: OrderReports) -> None:
        self._http = http
        self._reports = reports
        self._tracker = reports.tracker
        self._budget = reports.budget
        self._tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.is_open = False

    # out ------------------------------------------------------------------------------------------

    def send(self, command: VenueCommand) -> None:
        """Put a command on its way."""
        if isinstance(command, SubmitOrder):
            self._start_submit(command)
        elif isinstance(command, CancelOrder):
            self._spawn(self._cancel(command.client_order_id))
        elif isinstance(command, ReplaceOrder):
            self._spawn(self._replace(command))
        else:
            self._start_multi_leg(command)

    def _start_submit(self, command: SubmitOrder) -> None:
        now_ns = loop_ns()
        one = self._tracker.sent(command, now_ns)
        try:
            request = wire_requests.submit_request(command, self._reports.book)
        except ArgumentError as error:
            self._not_sent([one], error.what)
            return
        if self._may_send([one], urgency_of(command.purpose), now_ns):
            self._spawn(self._submit([one], self._http.start(request)))

    def _start_multi_leg(self, command: MultiLegOrder) -> None:
        name = command.client_order_id
        orders = [self._tracker.sent(leg, loop_ns(), name) for leg in command.legs]
        self._reports.legs[name] = tuple(leg.client_order_id for leg in command.legs)
        try:
            request = wire_requests.multi_leg_request(command, self._reports.book)
        except ArgumentError as error:
            self._not_sent(orders, error.what)
            return
        urgency = max(urgency_of(leg.purpose) for leg in command.legs)
        if self._may_send(orders, urgency, loop_ns()):
            self._spawn(self._submit(orders, self._http.start(request)))

    def _may_send(self, orders: list[Tracked], urgency: Urgency, now_ns: int) -> bool:
        if not self.is_open:
            self._not_sent(orders, "the gateway is not connected")
            return False
        if not self._budget.take(urgency, now_ns):
            detail = f"{self._budget.left(loop_ns())} requests left are kept for more urgent ones"
            self._reports.notice(NoticeKind.LIMITED, "budget", detail)
            self._not_sent(orders, "held back by the request budget")
            return False
        return True

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self.in_flight += 1
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.in_flight -= 1
        if not task.cancelled() and task.exception() is not None:
            # a fault of our own must be seen, and must not lose the order: reconciliation finds it
            self._reports.count("internal_fault")
            self._reports.notice(NoticeKind.GAP, "internal_fault", repr(task.exception())[:200])

    async def _submit(self, orders: list[Tracked], answering: asyncio.Future[Reply]) -> None:
        try:
            reply = self._reports.learned(await answering)
        except NotSent as error:
            self._answered(orders)
            self._not_sent(orders, error.what)
            return
        except NoAnswer as error:
            self._answered(orders)
            self._doubt(orders, error.what)
            return
        self._answered(orders)
        answer = judge(reply.status, reply.body)
        if answer.verdict is Verdict.DONE:
            self._placed(orders, reply.body)
        elif answer.verdict is Verdict.DUPLICATE:
            self._doubt(orders, answer.reason)
            await self._reports.resolve(orders[0].submitted.client_order_id)
        elif answer.verdict is Verdict.DOUBT:
            self._doubt(orders, answer.reason)
        else:
            self._reports.note_verdict(answer)
            now_ns = self._reports.stamp()
            for one in orders:
                self._reports.put(self._tracker.reject(one, answer.reason, now_ns, now_ns))

    def _placed(self, orders: list[Tracked], body: bytes) -> None:
        try:
            order = read_order(body)
        except Malformed as refused:
            self._reports.refused(refused.name, refused.detail)
            self._doubt(orders, f"the venue's answer cannot be read: {refused.name}")
            return
        if orders[0].parent_id:
            self._reports.take_legs(order, infer=False)
        else:
            self._reports.take(orders[0], order, infer=False)

    async def _cancel(self, client_order_id: str) -> None:
        one = self._tracker.orders.get(client_order_id)
        if one is None:
            self._reports.refused("unknown_order", f"cancel of {client_order_id}")
            return
        venue_order_id = await self._venue_id(one)
        if venue_order_id is None:
            await asyncio.sleep(DOUBT_PAUSE_SECONDS)
            venue_order_id = await self._venue_id(one)
        if venue_order_id is None:
            self._reports.put(
                self._tracker.refuse_cancel(
                    one, "its order is not known at the venue yet", self._reports.stamp()
                )
            )
            return
        request = wire_requests.cancel_request(venue_order_id)
        for _ in range(MOST_CANCEL_TRIES):
            if not self._budget.take(Urgency.CANCEL, loop_ns()):
                await asyncio.sleep(self._budget.wait_ns(Urgency.CANCEL, loop_ns()) / NANOS_PER_SECOND)
            try:
                reply = await self._reports.ask(self._http, request)
            except NotSent as error:
                self._reports.put(
                    self._tracker.refuse_cancel(one, f"not sent: {error.what}", self._reports.stamp())
                )
                return
            except NoAnswer as error:
                self._doubt([one], f"cancel: {error.what}")
                return
            answer = judge(reply.status, reply.body)
            self._reports.note_verdict(answer)
            if answer.verdict is Verdict.DONE:
                return  # accepted, not done: the stream says when it is
            if answer.verdict is Verdict.DOUBT:
                self._doubt([one], f"cancel: {answer.reason}")
                return
            if answer.verdict is not Verdict.LIMITED:
                if answer.verdict is Verdict.TOO_LATE:  # it is over: ask how, or the desk cancels for ever
                    await self._reports.resolve(client_order_id)
                self._reports.put(self._tracker.refuse_cancel(one, answer.reason, self._reports.stamp()))
                return
            await asyncio.sleep(self._budget.wait_ns(Urgency.CANCEL, loop_ns()) / NANOS_PER_SECOND)
        self._reports.put(self._tracker.refuse_cancel(one, "the venue's rate limit", self._reports.stamp()))

    async def _replace(self, command: ReplaceOrder) -> None:
        old = self._tracker.orders.get(command.client_order_id)
        new = self._tracker.sent(command.replacement, loop_ns())
        venue_order_id = None if old is None else await self._venue_id(old)
        if old is None or venue_order_id is None:
            self._answered([new])
            self._not_sent([new], "the order to replace is not known at the venue")
            if old is not None:
                self._reports.put(
                    self._tracker.refuse_cancel(old, "not known at the venue yet", self._reports.stamp())
                )
            return
        if not self._may_send([new], urgency_of(command.replacement.purpose), loop_ns()):
            self._reports.put(
                self._tracker.refuse_cancel(old, "replacement held back", self._reports.stamp())
            )
            return
        request = wire_requests.replace_request(command, venue_order_id, old.covered)
        try:
            reply = await self._reports.ask(self._http, request)
        except NotSent as error:
            self._answered([new])
            self._not_sent([new], error.what)
            self._reports.put(self._tracker.refuse_cancel(old, error.what, self._reports.stamp()))
            return
        except NoAnswer as error:
            self._answered([new])
            self._doubt([old, new], f"replace: {error.what}")
            return
        self._answered([new])
        answer = judge(reply.status, reply.body)
        self._reports.note_verdict(answer)
        if answer.verdict is Verdict.DONE:
            self._placed([new], reply.body)
        elif answer.verdict in (Verdict.DOUBT, Verdict.DUPLICATE):
            self._doubt([old, new], f"replace: {answer.reason}")
        else:
            now_ns = self._reports.stamp()
            self._reports.put(self._tracker.reject(new, answer.reason, now_ns, now_ns))
            self._reports.put(self._tracker.refuse_cancel(old, answer.reason, now_ns))

    async def _venue_id(self, one: Tracked) -> str | None:
        """Return the venue's id of an order, waiting for its acknowledgement or asking for it."""
        for _ in range(200):
            if one.venue_order_id or one.ended or one.answered_ns is not None:
                break
            await asyncio.sleep(0.005)
        if not one.venue_order_id and not one.ended:
            await self._reports.resolve(one.submitted.client_order_id)
        if one.parent_id:
            return self._reports.parent_venue_id.get(one.parent_id)
        return one.venue_order_id or None

    def _answered(self, orders: Iterable[Tracked]) -> None:
        for one in orders:
            one.answered_ns = loop_ns()

    def _doubt(self, orders: Iterable[Tracked], reason: str) -> None:
        for one in orders:
            self._reports.put(self._tracker.doubt(one, reason, self._reports.stamp()))

    def _not_sent(self, orders: Iterable[Tracked], reason: str) -> None:
        for one in orders:
            now_ns = self._reports.stamp()
            self._reports.put(self._tracker.doubt(one, f"not sent: {reason}", now_ns))
            self._reports.put(self._tracker.absent(one, now_ns))

    async def settle(self, timeout_seconds: float) -> None:
        """Wait, not for ever, until the requests under way are answered; end the others."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
