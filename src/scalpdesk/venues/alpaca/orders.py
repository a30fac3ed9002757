"""The order path to Alpaca: commands out, and what their answers prove.

What Alpaca says of orders, as the desk's events: the stream, answers, history, and proof.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal

import msgspec

from scalpdesk.core.errors import ArgumentError, RetryError
from scalpdesk.core.events import CancelRejected, OrderEvent
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, ReplaceOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instruments
from scalpdesk.venues.alpaca import order_messages
from scalpdesk.venues.alpaca.account_messages import ACTIVITIES_PER_PAGE, fills_request, read_fills
from scalpdesk.venues.alpaca.fields import Malformed, text_of_ns
from scalpdesk.venues.alpaca.order_messages import (
    Answer,
    TradeUpdate,
    Verdict,
    WireOrder,
    judge,
    rate_limit,
    read_order,
)
from scalpdesk.venues.alpaca.stream import loop_ns
from scalpdesk.venues.alpaca.transport import NoAnswer, NotSent, Reply, RestClient
from scalpdesk.venues.budget import RequestBudget, Urgency, urgency_of
from scalpdesk.venues.contract import KnownOrder, Notice, NoticeKind, Stamper, VenueFill
from scalpdesk.venues.event_queue import EventQueue
from scalpdesk.venues.tracker import OrderReport, OrderTracker, TrackedOrder

OUTCOMES = {
    "filled": "filled",
    "canceled": "cancelled",
    "replaced": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
}
LONGEST_HISTORY_PAGES = 200


class OrderReports:
    """Turns what is said of orders into events, each thing once.

    Parameters
    ----------
    queries
        Connections for questions.
    book, tracker, outbox, stamper
        Instruments, orders, where events go, and their stamps.
    budget
        Requests of the trading interface.
    absent_after_ns
        How long after a request ended the venue may still come to accept its order; a "not found"
        before that proves nothing.
    request_ns
        Longest time that a request takes, nanoseconds.
    count
        Counts a named condition.
    """

    def __init__(
        self,
        queries: RestClient,
        book: Instruments,
        tracker: OrderTracker,
        outbox: EventQueue,
        stamper: Stamper,
        budget: RequestBudget,
        *,
        absent_after_ns: int,
        request_ns: int,
        count: Callable[[str], None],
    ) -> None:
        self._queries = queries
        self.book = book
        self.tracker = tracker
        self._outbox = outbox
        self._stamper = stamper
        self.budget = budget
        self._absent_after_ns = absent_after_ns
        self._request_ns = request_ns
        self.count = count
        self.legs: dict[str, tuple[str, ...]] = {}
        """Client order ids of the legs by their parent's."""
        self.parent_venue_id: dict[str, str] = {}

    def know(self, known_orders: Iterable[KnownOrder]) -> None:
        """Take in what the journal remembers."""
        known = tuple(known_orders)
        self.tracker.restore(known, self._ended_ns)
        for one in known:
            if one.parent_id:
                mates = self.legs.get(one.parent_id, ())
                self.legs[one.parent_id] = (*mates, one.submitted.client_order_id)

    def _ended_ns(self, known: KnownOrder) -> int:
        """Return when the request of an order of the life before ended, in the loop's time.

        It ended with that life or by its time-out; with a clock that runs at another pace than the wall,
        or an unknown instant, it may have ended just now.
        """
        now_ns = loop_ns()
        if not known.sent_ns or self._stamper.follows:
            return now_ns
        age_ns = self.stamp() - known.sent_ns - self._request_ns
        return now_ns - max(age_ns, 0)

    # proof ----------------------------------------------------------------------------------------

    async def query_order(self, client_order_id: str) -> bool:
        """Ask what became of an order; True when the proof is on the event stream."""
        one = self.tracker.orders.get(client_order_id)
        if one is None or not self.budget.take(Urgency.HEDGE, loop_ns()):
            return False
        asked = one.parent_id or client_order_id
        try:
            reply = await self.ask(self._queries, order_messages.order_by_client_id_request(asked))
        except RetryError:
            return False
        answer = judge(reply.status, reply.body)
        self.note_verdict(answer)
        if answer.verdict is Verdict.DONE:
            return await self._prove(reply.body, asked)
        if answer.verdict is not Verdict.NOT_FOUND or one.accepted:
            return False
        if one.answered_ns is None or loop_ns() - one.answered_ns < self._absent_after_ns:
            return False
        for mate in self.legs.get(one.parent_id, (client_order_id,)):
            self.put(self.tracker.not_found(self.tracker.orders[mate], self.stamp()))
        return True

    async def _prove(self, body: bytes, asked: str) -> bool:
        try:
            order = read_order(body)
        except Malformed as refused:
            self.refused(refused.name, refused.detail)
            return False
        if order.client_order_id != asked:
            self.refused("wrong_order", f"asked for {asked}, got {order.client_order_id}")
            return False
        return await self.catch_up(order)

    async def catch_up(self, order: WireOrder) -> bool:
        """Bring an order of the desk to what the venue shows: history first, inference for the rest."""
        shown = order.legs or (order,)
        missing = False
        for part in shown:
            one = self._tracked(part, order)
            if one is not None and one.holes(part.filled):
                missing = True
        if missing:
            try:
                self.take_history(await self.history(order.submitted_ns - NANOS_PER_SECOND))
            except RetryError:
                return False
        if order.legs:
            self.take_legs(order, infer=True)
            return True
        one = self.tracker.find(order.client_order_id, order.venue_order_id)
        if one is not None:
            self.take(one, order, infer=True)
        return one is not None

    def take_history(self, fills: Iterable[VenueFill]) -> None:
        """Give the executions of a history that were not given yet."""
        for fill in fills:
            one = self.tracker.find("", fill.venue_order_id)
            if one is None or fill.cumulative is None:
                continue
            self.put(
                self.tracker.execution(
                    one,
                    fill.execution_id,
                    fill.quantity,
                    fill.price,
                    fill.cumulative,
                    fill.ts_event_ns,
                    self._stamper.timestamp(fill.ts_event_ns),
                )
            )

    async def history(self, since_ns: int) -> list[VenueFill]:
        """Return all executions since an instant, oldest first.

        Raises
        ------
        RetryError
            When a page does not come or cannot be believed.
        """
        fills: list[VenueFill] = []
        token: str | None = None
        after = text_of_ns(max(since_ns, 0))
        for _ in range(LONGEST_HISTORY_PAGES):
            reply = await self.ask(self._queries, fills_request(after, token))
            answer = judge(reply.status, reply.body)
            if answer.verdict is not Verdict.DONE:
                raise RetryError("the venue does not give its executions", value=answer.reason)
            try:
                page = read_fills(reply.body)
            except Malformed as refused:
                raise RetryError("executions that cannot be believed", value=str(refused)) from None
            fills += page
            if len(page) < ACTIVITIES_PER_PAGE:
                break
            token = page[-1].execution_id
        return fills

    # in -------------------------------------------------------------------------------------------

    def on_update(self, update: TradeUpdate) -> None:
        """Take a message of the order stream."""
        order = update.order
        now_ns = self._stamper.timestamp(update.ts_event_ns)
        if order.client_order_id in self.legs:
            self.take_legs(order, infer=update.event in ("fill", "partial_fill"))
            return
        one = self.tracker.find(order.client_order_id, order.venue_order_id)
        if one is None:
            one = self._adopt_leg(order)
        if one is None:
            self.refused("unknown_order", f"{update.event} of {order.client_order_id} {order.symbol}")
            return
        if not self._fits(one, order):
            return
        event = update.event
        if event in ("fill", "partial_fill"):
            assert update.quantity is not None
            assert update.price is not None
            self._execution(one, update, update.quantity, update.price, now_ns)
        elif event == "trade_bust":
            self.put(self.tracker.bust(one, update.execution_id, update.reason, update.ts_event_ns, now_ns))
        elif event == "trade_correct":
            self._correct(one, update, now_ns)
        elif event in ("order_cancel_rejected", "order_replace_rejected"):
            self.put(self.tracker.reject_cancel(one, update.reason or event, now_ns))
        else:
            self.take(one, order, infer=False, reason=update.reason, now_ns=now_ns)
            if one.holes(order.filled):
                self._gap(one, order)

    def _execution(
        self, one: TrackedOrder, update: TradeUpdate, quantity: Decimal, price: Decimal, now_ns: int
    ) -> None:
        order = update.order
        if order.venue_order_id and not one.venue_order_id:
            self.tracker.bind(one.submitted.client_order_id, order.venue_order_id)
        if order.filled < quantity:
            self.refused("contradictory_fill", f"{quantity} of {order.filled} in all")
            return
        events = self.tracker.execution(
            one, update.execution_id, quantity, price, order.filled, update.ts_event_ns, now_ns
        )
        if not events:
            self.count("repeated_execution")
        self.put(events)
        if one.holes(order.filled):
            self._gap(one, order)

    def _correct(self, one: TrackedOrder, update: TradeUpdate, now_ns: int) -> None:
        """Take back the execution that is corrected and book the one in its place."""
        assert update.quantity is not None
        assert update.price is not None
        if update.execution_id in one.executions:
            self.count("repeated_execution")
            return
        at_ns = update.ts_event_ns
        corrected = update.previous_execution_id
        if corrected not in one.executions:
            # which execution it replaces cannot be told: the runner compares with the venue's own view
            self.refused("unknown_execution", f"correction of {corrected!r}")
            self.notice(NoticeKind.GAP, "unknown_execution", one.submitted.client_order_id)
            return
        why = update.reason or "corrected"
        self.put(self.tracker.bust(one, corrected, why, at_ns, now_ns, is_corrected=True))
        cumulative = one.covered + update.quantity
        events = self.tracker.execution(
            one, update.execution_id, update.quantity, update.price, cumulative, at_ns, now_ns
        )
        self.put(events)

    def take(
        self, one: TrackedOrder, order: WireOrder, *, infer: bool, reason: str = "", now_ns: int | None = None
    ) -> None:
        """Take an order as the venue shows it; ``infer`` as in :meth:`OrderTracker.apply`."""
        if order.status == "replaced" and not reason:
            reason = f"replaced by {order.replaced_by}"
        said = OrderReport(
            order.client_order_id,
            order.venue_order_id,
            order.updated_ns,
            OUTCOMES.get(order.status, "open"),
            order.filled,
            order.average_price,
            reason,
        )
        received_ns = self._stamper.timestamp(order.updated_ns) if now_ns is None else now_ns
        self.put(self.tracker.apply(one, said, received_ns, infer=infer))

    def take_legs(self, parent: WireOrder, *, infer: bool) -> None:
        """Spread what is said of a multi-leg order over its legs."""
        self.parent_venue_id[parent.client_order_id] = parent.venue_order_id
        names = self.legs[parent.client_order_id]
        shown = {leg.symbol: leg for leg in parent.legs}
        for name in names:
            one = self.tracker.orders[name]
            leg = shown.get(self.book[one.submitted.instrument_id].symbol)
            if leg is not None:
                if leg.venue_order_id != one.venue_order_id:
                    self.tracker.bind(name, leg.venue_order_id)
                self.take(one, leg, infer=infer)
            elif not parent.filled:
                # an answer without its legs still says whether the whole is open, refused or over
                whole = msgspec.structs.replace(parent, venue_order_id="", filled=Decimal(0))
                self.take(one, whole, infer=False)

    def _tracked(self, part: WireOrder, order: WireOrder) -> TrackedOrder | None:
        found = self.tracker.find(part.client_order_id, part.venue_order_id)
        if found is None and part is not order and order.client_order_id in self.legs:
            for name in self.legs[order.client_order_id]:
                one = self.tracker.orders[name]
                if self.book[one.submitted.instrument_id].symbol == part.symbol:
                    self.tracker.bind(name, part.venue_order_id)
                    return one
        return found

    def _adopt_leg(self, order: WireOrder) -> TrackedOrder | None:
        """Return the leg that a message under a name of the venue's own speaks of.

        A leg's first message may overtake the answer that tells its name: then it is the one leg in
        this symbol that has none yet.
        """
        waiting = [
            self.tracker.orders[name]
            for names in self.legs.values()
            for name in names
            if not self.tracker.orders[name].venue_order_id and not self.tracker.orders[name].ended
        ]
        fitting = [
            one
            for one in waiting
            if self.book[one.submitted.instrument_id].symbol == order.symbol
            and one.submitted.side is order.side
            and one.submitted.quantity == order.quantity
        ]
        if len(fitting) != 1:
            return None
        self.tracker.bind(fitting[0].submitted.client_order_id, order.venue_order_id)
        return fitting[0]

    def _fits(self, one: TrackedOrder, order: WireOrder) -> bool:
        """Return whether a message can be about the order whose name it carries."""
        command = one.submitted
        symbol = self.book[command.instrument_id].symbol
        if order.symbol == symbol and order.side is command.side:
            return True
        said = f"{order.side} {order.symbol} for {command.side} {symbol} ({command.client_order_id})"
        self.refused("contradictory_order", said)
        self.notice(NoticeKind.GAP, "contradictory_order", said)
        return False

    # small things ---------------------------------------------------------------------------------

    async def ask(self, path: RestClient, request: order_messages.RestRequest) -> Reply:
        """Ask, and learn from the answer how many requests are left."""
        return self.learned(await path.ask(request))

    def learned(self, reply: Reply) -> Reply:
        """Return an answer after learning from it how many requests are left."""
        stated = rate_limit(reply.headers)
        if stated is not None:
            self.budget.learn(stated.limit, stated.remaining, loop_ns())
        return reply

    def note_verdict(self, answer: Answer, budget: RequestBudget | None = None) -> None:
        """Say aloud what concerns more than one order: the rate limit (of ``budget``) and the keys."""
        if answer.verdict is Verdict.LIMITED:
            spent = budget or self.budget
            spent.learn(spent.per_minute, 0, loop_ns())
            self.count("rate_limited")
            self.notice(NoticeKind.LIMITED, "rate_limited", answer.reason)
        elif answer.verdict is Verdict.UNAUTHORIZED:
            self.count("unauthorized")
            self.notice(NoticeKind.DEAD, "unauthorized", answer.reason)

    def _gap(self, one: TrackedOrder, order: WireOrder) -> None:
        self.count("missing_execution")
        detail = f"{one.submitted.client_order_id}: {one.covered} known of {order.filled} filled"
        self.notice(NoticeKind.GAP, "missing_execution", detail)

    def refused(self, name: str, detail: str) -> None:
        """Count something that was not believed and say so."""
        self.count(name)
        self.notice(NoticeKind.REFUSED, name, detail)

    def notice(self, kind: NoticeKind, name: str, detail: str) -> None:
        """Put a notice among the events."""
        self._outbox.publish(Notice(kind, self.stamp(), "orders", name, detail))

    def stamp(self) -> int:
        """Return ``ts_recv_ns`` of something that happens now."""
        return self._stamper.timestamp()

    def put(self, events: Iterable[OrderEvent]) -> None:
        """Put events on the stream."""
        for event in events:
            self._outbox.publish(event)


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

    def __init__(self, http: RestClient, reports: OrderReports) -> None:
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
        one = self._tracker.track(command, now_ns)
        try:
            request = order_messages.submit_request(command, self._reports.book)
        except ArgumentError as error:
            self._not_sent([one], error.what)
            return
        if self._may_send([one], urgency_of(command.purpose), now_ns):
            self._spawn(self._submit([one], self._http.start(request)))

    def _start_multi_leg(self, command: MultiLegOrder) -> None:
        name = command.client_order_id
        orders = [self._tracker.track(leg, loop_ns(), name) for leg in command.legs]
        self._reports.legs[name] = tuple(leg.client_order_id for leg in command.legs)
        try:
            request = order_messages.multi_leg_request(command, self._reports.book)
        except ArgumentError as error:
            self._not_sent(orders, error.what)
            return
        urgency = max(urgency_of(leg.purpose) for leg in command.legs)
        if self._may_send(orders, urgency, loop_ns()):
            self._spawn(self._submit(orders, self._http.start(request)))

    def _may_send(self, orders: list[TrackedOrder], urgency: Urgency, now_ns: int) -> bool:
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

    async def _submit(self, orders: list[TrackedOrder], answering: asyncio.Future[Reply]) -> None:
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
            await self._reports.query_order(orders[0].submitted.client_order_id)
        elif answer.verdict is Verdict.DOUBT:
            self._doubt(orders, answer.reason)
        else:
            self._reports.note_verdict(answer)
            now_ns = self._reports.stamp()
            for one in orders:
                self._reports.put(self._tracker.reject(one, answer.reason, now_ns, now_ns))

    def _placed(self, orders: list[TrackedOrder], body: bytes) -> None:
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
            now_ns = self._reports.stamp()
            reason = "no order of this id was sent or adopted here"
            self._reports.put([CancelRejected(client_order_id, now_ns, now_ns, reason)])
            return
        venue_order_id = await self._venue_id(one)
        if venue_order_id is None:
            await asyncio.sleep(DOUBT_PAUSE_SECONDS)
            venue_order_id = await self._venue_id(one)
        if venue_order_id is None:
            self._reports.put(
                self._tracker.reject_cancel(
                    one, "its order is not known at the venue yet", self._reports.stamp()
                )
            )
            return
        request = order_messages.cancel_request(venue_order_id)
        for _ in range(MOST_CANCEL_TRIES):
            if not self._budget.take(Urgency.CANCEL, loop_ns()):
                await asyncio.sleep(self._budget.wait_ns(Urgency.CANCEL, loop_ns()) / NANOS_PER_SECOND)
            try:
                reply = await self._reports.ask(self._http, request)
            except NotSent as error:
                self._reports.put(
                    self._tracker.reject_cancel(one, f"not sent: {error.what}", self._reports.stamp())
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
                    await self._reports.query_order(client_order_id)
                self._reports.put(self._tracker.reject_cancel(one, answer.reason, self._reports.stamp()))
                return
            await asyncio.sleep(self._budget.wait_ns(Urgency.CANCEL, loop_ns()) / NANOS_PER_SECOND)
        self._reports.put(self._tracker.reject_cancel(one, "the venue's rate limit", self._reports.stamp()))

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order by the venue's id; return whether the venue took it, or the order is over."""
        if not self._budget.take(Urgency.CANCEL, loop_ns()):
            return False
        try:
            reply = await self._reports.ask(self._http, order_messages.cancel_request(venue_order_id))
        except RetryError:
            return False
        answer = judge(reply.status, reply.body)
        self._reports.note_verdict(answer)
        return answer.verdict in (Verdict.DONE, Verdict.NOT_FOUND, Verdict.TOO_LATE)

    async def _replace(self, command: ReplaceOrder) -> None:
        old = self._tracker.orders.get(command.client_order_id)
        new = self._tracker.track(command.replacement, loop_ns())
        venue_order_id = None if old is None else await self._venue_id(old)
        if old is None or venue_order_id is None:
            self._answered([new])
            self._not_sent([new], "the order to replace is not known at the venue")
            if old is not None:
                self._reports.put(
                    self._tracker.reject_cancel(old, "not known at the venue yet", self._reports.stamp())
                )
            return
        if not self._may_send([new], urgency_of(command.replacement.purpose), loop_ns()):
            self._reports.put(
                self._tracker.reject_cancel(old, "replacement held back", self._reports.stamp())
            )
            return
        request = order_messages.replace_request(command, venue_order_id, old.covered)
        try:
            reply = await self._reports.ask(self._http, request)
        except NotSent as error:
            self._answered([new])
            self._not_sent([new], error.what)
            self._reports.put(self._tracker.reject_cancel(old, error.what, self._reports.stamp()))
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
            self._reports.put(self._tracker.reject_cancel(old, answer.reason, now_ns))

    async def _venue_id(self, one: TrackedOrder) -> str | None:
        """Return the venue's id of an order, waiting for its acknowledgement or asking for it."""
        for _ in range(200):
            if one.venue_order_id or one.ended or one.answered_ns is not None:
                break
            await asyncio.sleep(0.005)
        if not one.venue_order_id and not one.ended:
            await self._reports.query_order(one.submitted.client_order_id)
        if one.parent_id:
            return self._reports.parent_venue_id.get(one.parent_id)
        return one.venue_order_id or None

    def _answered(self, orders: Iterable[TrackedOrder]) -> None:
        for one in orders:
            one.answered_ns = loop_ns()

    def _doubt(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        for one in orders:
            self._reports.put(self._tracker.mark_unknown(one, reason, self._reports.stamp()))

    def _not_sent(self, orders: Iterable[TrackedOrder], reason: str) -> None:
        for one in orders:
            now_ns = self._reports.stamp()
            self._reports.put(self._tracker.mark_unknown(one, f"not sent: {reason}", now_ns))
            self._reports.put(self._tracker.not_found(one, now_ns))

    async def settle(self, timeout_seconds: float) -> None:
        """Wait, not for ever, until the requests under way are answered; end the others."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
