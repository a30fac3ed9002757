"""Order events from Alpaca's replies, updates and history of executions."""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from scalpdesk.base import NANOS_PER_SECOND, ZERO, Instruments, RetryError
from scalpdesk.instruments.sessions import rfc3339
from scalpdesk.venues.budget import Urgency, loop_ns
from scalpdesk.venues.contract import NoticeKind, VenueFill, VenueOrder
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import Found
from scalpdesk.venues.tracker import OrderReport, OrderTracker, Outcome, TrackedOrder
from scalpdesk_alpaca import order_messages
from scalpdesk_alpaca.account_messages import fills_request, read_fills
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError
from scalpdesk_alpaca.order_messages import (
    ReplyVerdict,
    TradeUpdate,
    UpdateItem,
    WireOrder,
    read_order,
    read_update,
)
from scalpdesk_alpaca.queries import BudgetedClient
from scalpdesk_alpaca.stream import Receive, Send, StreamRefused
from scalpdesk_alpaca.transport import ApiKeys

_MOVES = frozenset({"fill", "partial_fill", "trade_bust", "trade_correct"})
"""Updates that change holdings or cash: of somebody else's order, only the account shows how."""
_UPDATES = "trade_updates"
"""The stream that is listened to."""
_MOST_HISTORY_PAGES = 200


def ends(order: TrackedOrder, shown: WireOrder) -> bool:
    """Return whether the venue shows an order that will not fill any further, before it is whole."""
    is_whole = shown.outcome is Outcome.FILLED and shown.filled >= order.submitted.quantity
    return not shown.is_open and not is_whole


class OrderReports:
    """Turns what Alpaca reports of orders into events, each execution and each end once.

    ``instruments``, ``tracker``, ``publisher``: Instruments of the run, its orders, and where events go.
    ``client``: Asks on the query connections.
    """

    def __init__(
        self,
        *,
        instruments: Instruments,
        tracker: OrderTracker,
        publisher: EventPublisher,
        client: BudgetedClient,
    ) -> None:
        self.instruments = instruments
        self.tracker = tracker
        self.publisher = publisher
        self._client = client
        self._parent_venue_ids: dict[str, str] = {}
        self._combo_of_leg: dict[str, str] = {}
        """Venue id of a combo by the venue id of its leg."""

    def venue_order_id(self, order: TrackedOrder) -> str | None:
        """Return the id under which the venue cancels an order: of a leg its parent's; None when unknown."""
        if order.parent_id:
            return self._parent_venue_ids.get(order.parent_id)
        return order.venue_order_id or None

    def cancel_id(self, venue_order_id: str) -> str:
        """Return the id to cancel for an id of a view: of a leg its combo's."""
        return self._combo_of_leg.get(venue_order_id, venue_order_id)

    # proof ----------------------------------------------------------------------------------------

    async def look_up(self, order: TrackedOrder) -> Found:
        """Ask what became of an order."""
        if not self._client.may_ask(Urgency.HEDGE):
            return Found.UNCLEAR
        asked, asked_ns = order.parent_id or order.submitted.client_order_id, loop_ns()
        question = self.tracker.ask()
        found = await self._client.outcome(
            self._client.start(order_messages.order_by_client_id_request(asked))
        )
        if found.verdict is ReplyVerdict.DONE:
            is_clear = await self._apply_queried(found.body, asked_ns, question)
            return Found.SHOWN if is_clear else Found.UNCLEAR
        is_absent = found.verdict is ReplyVerdict.NOT_FOUND and not order.accepted
        return Found.ABSENT if is_absent else Found.UNCLEAR

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id; it would refuse another as a duplicate."""
        asked = order_messages.order_by_client_id_request(client_order_id)
        return (await self._client.outcome(self._client.start(asked))).verdict is ReplyVerdict.DONE

    async def _apply_queried(self, body: bytes, asked_ns: int, question: int) -> bool:
        try:
            order = read_order(body)
        except Malformed as refused:
            self.refuse(refused.name, refused.detail)
            return False
        return await self.catch_up(order, asked_ns, question)

    async def catch_up(self, shown: WireOrder, asked_ns: int, question: int) -> bool:
        """Bring an order to what the venue shows: by its history, and by inference for the rest.

        ``asked_ns`` is when the venue was asked, in the loop's time; ``question`` is the question's number.
        """
        parts = [(self._tracked(part, shown), part) for part in shown.legs or (shown,)]
        if any(order is not None and (order.covered < part.filled or order.refused) for order, part in parts):
            asked = self.tracker.ask()
            try:
                self.apply_history(await self.history(shown.submitted_ns - NANOS_PER_SECOND), asked)
            except RetryError:
                return False
        if shown.legs:
            if shown.client_order_id not in self.tracker.combos:
                return False  # a combo that this desk did not send
            self.apply_legs(shown, infer=True, question=question)
            self._judge_cancels(shown, asked_ns)
            return not any(leg.unknown for leg in self.tracker.legs(shown.client_order_id))
        order = self.tracker.find(shown.client_order_id, shown.venue_order_id)
        if order is not None:
            self.apply(order, shown, infer=True, question=question)
            self._judge_cancels(shown, asked_ns)
        return order is not None and not order.unknown

    def _judge_cancels(self, shown: WireOrder, asked_ns: int) -> None:
        """Publish that a cancel is lost where the venue works the order on."""
        if shown.outcome is not Outcome.OPEN:
            return
        for name in self.tracker.combos.get(shown.client_order_id, (shown.client_order_id,)):
            order = self.tracker.find(name, shown.venue_order_id)
            if order is not None:
                now_ns = self.publisher.timestamp()
                self.publisher.publish(self.tracker.cancel_lost(order, asked_ns, now_ns))

    def apply_history(self, fills: Iterable[VenueFill], question: int) -> None:
        """Publish the executions of a history, the answer to a question, that were not published yet."""
        for fill in fills:
            order = self.tracker.find("", fill.venue_order_id)
            if order is None or fill.cumulative is None:
                continue
            now_ns = self.publisher.timestamp(fill.ts_event_ns)
            self.publisher.publish(
                self.tracker.execution(
                    order,
                    fill.execution_id,
                    fill.quantity,
                    fill.price,
                    fill.cumulative,
                    fill.ts_event_ns,
                    now_ns,
                    question=question,
                )
            )

    async def history(self, since_ns: int) -> list[VenueFill]:
        """Return all executions since an instant, oldest first.

        Raises RetryError when a page does not come or cannot be believed.
        """
        fills: list[VenueFill] = []
        token: str | None = None
        after = rfc3339(max(since_ns, 0))
        for _ in range(_MOST_HISTORY_PAGES):
            found = await self._client.outcome(self._client.start(fills_request(after, token)))
            if found.verdict is not ReplyVerdict.DONE:
                raise RetryError("the venue does not return its executions", value=found.reason)
            try:
                page, token = read_fills(found.body)
            except Malformed as refused:
                raise RetryError("executions that cannot be believed", value=str(refused)) from None
            fills += map(self._timed, page)
            if token is None:
                break
        return fills

    def _timed(self, fill: VenueFill) -> VenueFill:
        """Return an execution, of now where its time cannot be read."""
        if fill.ts_event_ns:
            return fill
        self.refuse("unreadable_time", f"execution {fill.execution_id}: taken as of now")
        return msgspec.structs.replace(fill, ts_event_ns=self.publisher.timestamp())

    def shown(self, wire: WireOrder) -> Iterable[VenueOrder]:
        """Yield an order, or its legs, for a view of the account."""
        for part in wire.legs or (wire,):
            if wire.legs:
                self._combo_of_leg[part.venue_order_id] = wire.venue_order_id
            if part.side is None or part.quantity is None:
                continue
            tracked = self.tracker.find(part.client_order_id, part.venue_order_id)
            yield VenueOrder(
                client_order_id=part.client_order_id
                if tracked is None
                else tracked.submitted.client_order_id,
                venue_order_id=part.venue_order_id,
                symbol=part.symbol,
                instrument_id=self.instruments.id_of(part.symbol)
                if part.symbol in self.instruments
                else None,
                side=part.side,
                quantity=part.quantity,
                filled=part.filled,
                average_price=part.average_price,
                status=part.status,
                is_open=part.is_open,
                limit_price=part.limit_price,
                submitted_ns=part.submitted_ns,
                parent_id=wire.client_order_id if wire.legs else "",
            )

    # updates --------------------------------------------------------------------------------------

    def on_update(self, update: TradeUpdate) -> None:
        """Apply a message of the order stream."""
        shown = update.order
        if not update.ts_event_ns:
            self.refuse("unreadable_time", f"{update.event} of {shown.client_order_id}: taken as of now")
            update = msgspec.structs.replace(update, ts_event_ns=self.publisher.timestamp())
        now_ns = self.publisher.timestamp(update.ts_event_ns)
        if shown.client_order_id in self.tracker.combos:
            self._leg_executions(update)
            self.apply_legs(shown, infer=update.event in ("fill", "partial_fill"))
            return
        order = self.tracker.find(shown.client_order_id, shown.venue_order_id)
        if order is None:
            detail = f"{update.event} of {shown.client_order_id} {shown.symbol}"
            self.refuse("unknown_order", detail)
            if update.event in _MOVES:
                self.gap("foreign_execution", detail)
            return
        if not self._matches(order, shown):
            return
        event = update.event
        if event in ("fill", "partial_fill"):
            assert update.quantity is not None
            assert update.price is not None
            self._execution(order, update, update.quantity, update.price, now_ns)
        elif event == "trade_bust":
            self.publisher.publish(
                self.tracker.bust(order, update.execution_id, update.reason, update.ts_event_ns, now_ns)
            )
        elif event == "trade_correct":
            self._correct(order, update, now_ns)
        elif event in ("order_cancel_rejected", "order_replace_rejected"):
            self.reject_cancel(order, update.reason or event, now_ns)
        else:
            self.apply(order, shown, infer=False, reason=update.reason, now_ns=now_ns)
            if order.covered < shown.filled and not ends(order, shown):
                self._gap(order, shown)

    def _execution(
        self, order: TrackedOrder, update: TradeUpdate, quantity: Decimal, price: Decimal, now_ns: int
    ) -> None:
        shown = update.order
        if shown.venue_order_id and not order.venue_order_id:
            self.tracker.bind(order.submitted.client_order_id, shown.venue_order_id)
        events = self.tracker.execution(
            order, update.execution_id, quantity, price, shown.filled, update.ts_event_ns, now_ns
        )
        if not events:
            self.publisher.count("repeated_execution")
        self.publisher.publish(events)
        if order.covered < shown.filled:
            self._gap(order, shown)
        elif ends(order, shown):  # it was sent again for less, and that is done
            self.apply(order, shown, infer=False, now_ns=now_ns)

    def _leg_executions(self, update: TradeUpdate) -> None:
        """Publish the executions of a combo's legs, each up to what the message shows of its leg."""
        parent = update.order
        filled = {leg.symbol: leg.filled for leg in parent.legs}
        cumulative: dict[str, Decimal] = {}
        for leg in update.legs:
            order = self._leg_of(parent.client_order_id, leg.symbol, leg.venue_order_id)
            if order is None:
                self.refuse("unknown_order", f"execution of {leg.symbol} in {parent.client_order_id}")
                continue
            if leg.symbol not in cumulative:
                traded = sum((other.quantity for other in update.legs if other.symbol == leg.symbol), ZERO)
                cumulative[leg.symbol] = filled.get(leg.symbol, order.covered + traded) - traded
            cumulative[leg.symbol] += leg.quantity
            at_ns = leg.ts_event_ns or update.ts_event_ns
            self.publisher.publish(
                self.tracker.execution(
                    order,
                    leg.execution_id,
                    leg.quantity,
                    leg.price,
                    cumulative[leg.symbol],
                    at_ns,
                    self.publisher.timestamp(at_ns),
                )
            )

    def _correct(self, order: TrackedOrder, update: TradeUpdate, now_ns: int) -> None:
        """Bust the corrected execution and book the execution in its place."""
        assert update.quantity is not None
        assert update.price is not None
        if update.execution_id in order.executions:
            self.publisher.count("repeated_execution")
            return
        at_ns = update.ts_event_ns
        corrected = update.previous_execution_id
        if corrected not in order.executions:
            # it does not say which execution it replaces: the runner compares with the venue's own view
            self.refuse("unknown_execution", f"correction of {corrected!r}")
            self.gap("unknown_execution", order.submitted.client_order_id)
            return
        why = update.reason or "corrected"
        terms = update.execution_id, update.quantity, update.price
        self.publisher.publish(self.tracker.correct(order, corrected, *terms, why, at_ns, now_ns))

    def apply(
        self,
        order: TrackedOrder,
        shown: WireOrder,
        *,
        infer: bool,
        reason: str = "",
        now_ns: int | None = None,
        question: int | None = None,
    ) -> None:
        """Apply an order as the venue shows it; ``infer``, ``question`` as in :meth:`OrderTracker.apply`.

        An end waits for the executions that it counts; without inference the runner is asked to reconcile.
        """
        outcome = shown.outcome
        if not infer and ends(order, shown) and order.covered < shown.filled:
            self._gap(order, shown)
        elif outcome is Outcome.UNKNOWN:
            reason = f"the venue shows a status that is not known: {shown.status}"
            self.refuse("unknown_status", f"{shown.client_order_id}: {shown.status}")
        if shown.status == "replaced" and not reason:
            reason = f"replaced by {shown.replaced_by}"
        at_ns = shown.updated_ns or self.publisher.timestamp()
        report = OrderReport(
            shown.client_order_id,
            shown.venue_order_id,
            at_ns,
            outcome,
            shown.filled,
            shown.average_price,
            reason,
        )
        received_ns = self.publisher.timestamp(at_ns) if now_ns is None else now_ns
        events = self.tracker.apply(order, report, received_ns, infer=infer, question=question)
        self.publisher.publish(events)

    def apply_legs(self, parent: WireOrder, *, infer: bool, question: int | None = None) -> None:
        """Apply a combo as the venue shows it to each of its legs."""
        self._parent_venue_ids[parent.client_order_id] = parent.venue_order_id
        shown = {leg.symbol: leg for leg in parent.legs}
        for order in self.tracker.legs(parent.client_order_id):
            leg = shown.get(self.tracker.symbol(order))
            if leg is not None:
                self._leg_of(parent.client_order_id, leg.symbol, leg.venue_order_id)
                self.apply(order, leg, infer=infer, question=question)
            elif not parent.filled:
                # without its legs the answer still shows whether the whole is open, refused or over
                whole = msgspec.structs.replace(parent, venue_order_id="", filled=Decimal(0))
                self.apply(order, whole, infer=False)

    def _tracked(self, part: WireOrder, shown: WireOrder) -> TrackedOrder | None:
        found = self.tracker.find(part.client_order_id, part.venue_order_id)
        if found is None and part is not shown:
            return self._leg_of(shown.client_order_id, part.symbol, part.venue_order_id)
        return found

    def _leg_of(self, combo: str, symbol: str, venue_order_id: str) -> TrackedOrder | None:
        """Return the leg of one of the desk's combos in a symbol, and record its venue id."""
        order = self.tracker.leg(combo, symbol)
        if order is not None and order.venue_order_id != venue_order_id:
            self.tracker.bind(order.submitted.client_order_id, venue_order_id)
        return order

    def _matches(self, order: TrackedOrder, shown: WireOrder) -> bool:
        """Return whether a message can be about the order whose id it carries."""
        command = order.submitted
        symbol = self.tracker.symbol(order)
        if shown.symbol == symbol and shown.side is command.side:
            return True
        detail = f"{shown.side} {shown.symbol} for {command.side} {symbol} ({command.client_order_id})"
        self.refuse("contradictory_order", detail)
        self.gap("contradictory_order", detail)
        return False

    # notices --------------------------------------------------------------------------------------

    def reject_cancel(self, order: TrackedOrder, reason: str, now_ns: int | None = None) -> None:
        """Publish that a cancel was refused."""
        at_ns = self.publisher.timestamp() if now_ns is None else now_ns
        self.publisher.publish(self.tracker.reject_cancel(order, reason, at_ns))

    def refuse(self, name: str, detail: str) -> None:
        """Count and publish a message on orders that was not believed."""
        self.publisher.refuse("orders", name, detail)

    def gap(self, name: str, detail: str) -> None:
        """Ask the runner to reconcile."""
        self.publisher.notice(NoticeKind.GAP, "orders", name, detail)

    def _gap(self, order: TrackedOrder, shown: WireOrder) -> None:
        self.publisher.count("missing_execution")
        detail = f"{order.submitted.client_order_id}: {order.covered} known of {shown.filled} filled"
        self.gap("missing_execution", detail)


class OrderStream:
    """Handles the websocket of trade updates; satisfies :class:`StreamHandler`."""

    def __init__(self, keys: ApiKeys, reports: OrderReports, publisher: EventPublisher) -> None:
        self._keys = keys
        self._reports = reports
        self._publisher = publisher
        self._said = ""
        """What the server said before it hangs up."""

    async def hello(self, send: Send, receive: Receive) -> None:
        """Authenticate and listen to trade updates."""
        await send(order_messages.stream_auth(self._keys.key.reveal(), self._keys.secret.reveal()))
        while True:
            item = read_update(await receive())
            self._apply(item)
            if isinstance(item, Authorized):
                await send(order_messages.stream_listen((_UPDATES,)))
            elif isinstance(item, StreamError):
                raise StreamRefused(item.message, is_final=False)
            elif isinstance(item, Listening):
                if _UPDATES not in item.streams:
                    raise StreamRefused("the order stream does not send trade updates", is_final=False)
                return

    def on_frame(self, raw: bytes) -> None:
        """Apply an update."""
        self._apply(read_update(raw))

    def _apply(self, item: UpdateItem) -> None:
        match item:
            case TradeUpdate():
                self._reports.on_update(item)
            case BadMessage():
                self._reports.refuse(item.name, item.detail)
                if item.name != "unknown_stream":  # whatever it was about is looked for in the account
                    self._reports.gap(item.name, item.detail)
            case StreamError():  # the server hangs up: the connection comes back by itself
                self._said = item.message
                self._publisher.tell("orders", "stream_error", item.message)
            case Authorized(is_authorized=False):
                # "listen" was answered before the authentication: a slip of the connection, not of the keys
                is_final = item.action != "listen"
                raise StreamRefused("the order stream does not accept the keys", is_final=is_final)
            case Authorized() | Listening():
                pass

    def on_up(self) -> None:
        """Publish that the stream is up."""
        self._publisher.notice(NoticeKind.CONNECTED, "orders", "connected", "connected")

    def on_down(self, name: str, why: str, *, is_final: bool) -> None:
        """Publish that the stream is down."""
        self._publisher.count(f"orders_{name}")
        kind = NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED
        said, self._said = f"{self._said}; " if self._said else "", ""
        self._publisher.notice(kind, "orders", name, said + why)

    def on_failed(self, name: str, why: str) -> None:
        """Tell why the stream does not come up."""
        self._publisher.tell("orders", "orders_not_up", f"the stream does not come up: {name} {why}")
