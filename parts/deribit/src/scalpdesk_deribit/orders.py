"""The order path to Deribit: orders and their legs, edits, cancels, and what the venue says of them.

An order goes out under its desk's id as the label, with an instant after which the venue refuses it: a late
duplicate cannot trade. The venue takes a label twice, so that an order in doubt is never sent again; what
became of it is asked by its label. Orders in several legs go out as one for a combo, under the id of the
whole; its trades are those of the legs. The venue edits an order in place, under its id and label; the desk
counts on under the replacement's name. Executions come from the account's channel, from replies and, where
an order counts more than both, from its own trades. A trade states no cumulative quantity: what was inferred
from an order's count covers the trades that come later.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import CancelRejected, Event
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, ReplaceOrder, Side, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND, ZERO
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns, urgency_of
from scalpdesk.venues.cancel_follower import CancelFollower
from scalpdesk.venues.contract import KnownOrder, NoticeKind, VenueFill, VenueOrder, VenueSetup
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.tracker import (
    OrderReport,
    OrderTracker,
    Outcome,
    TrackedOrder,
    mean_of_rest,
    request_ended_ns,
)
from scalpdesk.venues.under_way import RequestsUnderWay
from scalpdesk_deribit import wire
from scalpdesk_deribit.queries import MOST_CLOCK_SKEW_MS, AccountAndMarket
from scalpdesk_deribit.rpc import Disconnected, RpcConnection

CREDITS_PER_MINUTE = 300
"""Requests to the matching engine: five a second and twenty at once, the lowest tier's."""
PAGE = 1_000
FOLLOWED_LATE_SECONDS = 5.0
"""Added to an order's time limit where the desk's clock follows the venue: it stands between two messages."""


class OrderPath:
    """Sends the desk's orders and follows them.

    Parameters
    ----------
    connection
        Carries the orders.
    queries
        Asks what the order path does not know.
    setup
        Instruments, times and limits.
    publisher
        Takes events and notices.
    """

    def __init__(
        self,
        connection: RpcConnection,
        queries: AccountAndMarket,
        setup: VenueSetup,
        publisher: EventPublisher,
    ) -> None:
        self._connection = connection
        self._queries = queries
        self._setup = setup
        self._publisher = publisher
        self._instruments = setup.instruments
        self._currency = setup.currency
        self.tracker = OrderTracker(setup.instruments, setup.fees)
        a_minute = setup.requests_per_minute or CREDITS_PER_MINUTE
        self.budget = RequestBudget(a_minute, max(a_minute // 15, 1))
        self.is_open = False
        self.under_way = RequestsUnderWay(publisher)
        self._spawn = self.under_way.start
        self._submitting: dict[str, asyncio.Task[None]] = {}
        """Requests under way that send an order or an edit, by the id of the new order or of its combo."""
        self._cancels = CancelFollower(tracker=self.tracker, query=self.query_order, spawn=self._spawn)
        self._sent: dict[str, tuple[int, int]] = {}
        """Number of the connection that carried an order, and its time limit by the venue's clock, ms."""
        self._edited: set[str] = set()
        """Ids at the venue of orders that the desk knows by more than one name."""
        self._editing: dict[str, tuple[list[wire.Message], list[wire.Message]]] = {}
        """Trades and states that came while an edit is under way: whose they are its answer says."""
        self._parent_ids: dict[str, str] = {}
        """Ids at the venue of orders for combos, by the desk's of the parent."""
        self._naming = asyncio.Lock()
        """Held while a combo is asked for."""
        self._combos: dict[str, dict[str, Decimal]] = {}
        """Legs of combos by their name at the venue, as one is bought."""

    async def close(self, *, graceful: bool) -> None:
        """Send nothing more; wait (bounded) for answers under way, or give them up."""
        self.is_open = False
        self._cancels.close()
        await self.under_way.end(self._setup.timeout_seconds if graceful else 0.0)

    # what the venue says ----------------------------------------------------------------------------

    def on_change(self, note: wire.Notification) -> None:
        """Apply executions, then orders, of a change of the account; ask for it where others traded in it."""
        try:
            foreign = self._apply(note.data.get("trades") or [], note.data.get("orders") or [])
            if foreign:
                self._publisher.notice(NoticeKind.GAP, "orders", "foreign_execution", ", ".join(foreign))
        except (wire.WireError, AttributeError) as problem:
            self._publisher.refuse("orders", "malformed_change", repr(problem)[:200])
            # whatever it was about is looked for in the account
            self._publisher.notice(NoticeKind.GAP, "orders", "malformed_change", repr(problem)[:200])

    def _apply(self, trades: Any, orders: Any) -> list[str]:
        """Apply executions, then orders; return the instruments of executions that are not the desk's.

        Raises
        ------
        WireError
            When a message cannot be read; all others have been applied by then.
        """
        foreign, unread = list[str](), list[wire.WireError]()
        states = wire.rows(orders, "orders")
        for message in states:
            self._follow_trigger(message)
        for message in wire.rows(trades, "trades"):
            try:
                if not self._apply_trade(message):
                    foreign.append(str(message.get("instrument_name")))
            except wire.WireError as problem:
                unread.append(problem)
        for message in states:
            held = self._editing.get(str(message.get("order_id")))
            if held is not None:
                held[1].append(message)
                continue
            try:
                reports = self._reports(message)
            except wire.WireError as problem:
                unread.append(problem)
                continue
            for order, report in reports:
                if report.filled > order.covered:
                    self._spawn(self._catch_up(order, report))
                    continue
                at_ns = self._stamp(report.ts_event_ns)
                self._publish(self.tracker.apply(order, report, at_ns, infer=False))
        if unread:
            raise unread[0]
        return foreign

    def _apply_trade(self, message: wire.Message) -> bool:
        """Publish an execution of the desk; return whether the order is one of its own."""
        if message.get("legs"):
            shared = {name: message.get(name) for name in ("order_id", "label")}
            shared["combo_id"] = message.get("instrument_name")
            known = [self._apply_trade({**shared, **leg}) for leg in wire.rows(message["legs"], "legs")]
            return all(known)
        instrument = self._queries.instrument(message)
        if instrument is None:
            return False
        trade = wire.read_trade(message, instrument)
        held = self._editing.get(trade.order_id)
        if held is not None:
            held[0].append(message)
            return True
        order = self._known(trade.label, trade.order_id) or self.tracker.leg(trade.label, trade.symbol)
        if order is None:
            self._publisher.count("foreign_trade")
            return False
        if not order.venue_order_id:
            self.tracker.bind(order.submitted.client_order_id, trade.order_id)
        at_ns = trade.ts_ns or self._publisher.timestamp()
        events = self.tracker.next_execution(
            order,
            trade.trade_id,
            trade.quantity,
            trade.price,
            at_ns,
            self._stamp(at_ns),
            fee=trade.fee,
            earlier=self._before(order),
        )
        self._publish(events)
        if events and not trade.ts_ns:
            self._publisher.refuse("orders", "unreadable_time", f"trade {trade.trade_id}: taken as of now")
        if events and trade.fee is None:
            currency = message.get("fee_currency")
            detail = f"trade {trade.trade_id} charges {currency}: booked with the schedule's fee"
            self._publisher.refuse("orders", "fee_in_other_currency", detail)
        return True

    def _follow_trigger(self, message: wire.Message) -> None:
        """Note the id under which a stop goes on at the venue once it is triggered."""
        before, now = str(message.get("trigger_order_id")), str(message.get("order_id"))
        order = self.tracker.find("", before)
        if order is None or order.venue_order_id != before:
            return
        self.tracker.bind(order.submitted.client_order_id, now)
        if before in self._edited:
            self._edited.add(now)

    def _reports(self, message: wire.Message) -> list[tuple[TrackedOrder, OrderReport]]:
        """Return what a message says of an order of the desk, or of each leg of a combo."""
        self._follow_trigger(message)
        parent, instrument = str(message.get("label")), self._queries.instrument(message)
        if parent in self.tracker.combos:
            self._parent_ids[parent] = str(message.get("order_id"))
            legs = self.tracker.legs(parent)
            return [
                (leg, wire.leg_report(message, leg.submitted, self._symbol(leg.submitted))) for leg in legs
            ]
        if instrument is None:
            return []
        report = wire.read_report(message, instrument)
        order = self._known(report.client_order_id, report.venue_order_id)
        if order is None:
            self._publisher.count("foreign_order")
            return []
        report = self._since_edit(order, report)
        if not report.ts_event_ns:
            report = msgspec.structs.replace(report, ts_event_ns=self._publisher.timestamp())
        return [(order, report)]

    def _symbol(self, order: SubmitOrder) -> str:
        return self._instruments[order.instrument_id].symbol

    def _known(self, label: str, venue_order_id: str) -> TrackedOrder | None:
        """Return an order of the desk: one that was edited goes by its latest name."""
        found = self.tracker.find("", venue_order_id)
        return found if found is not None else self.tracker.find(label, venue_order_id)

    def _before(self, order: TrackedOrder) -> list[TrackedOrder]:
        """Return the earlier names of an order that was edited."""
        if order.venue_order_id not in self._edited:
            return []
        names = self.tracker.orders.values()
        return [each for each in names if each is not order and each.venue_order_id == order.venue_order_id]

    def _since_edit(self, order: TrackedOrder, report: OrderReport) -> OrderReport:
        """Return of a report what its latest name has filled, and at what mean price."""
        earlier = self._before(order)
        before = sum((each.covered for each in earlier), ZERO)
        filled, average = report.filled - before, report.average_price
        if not before:
            return report
        if average is not None:
            is_inverse = self._instruments[order.submitted.instrument_id].is_inverse_future
            known = sum((each.coins if is_inverse else each.value for each in earlier), ZERO)
            average = (
                mean_of_rest(average, report.filled, known, filled, is_inverse=is_inverse)
                if filled > 0
                else None
            )
        return msgspec.structs.replace(report, filled=filled, average_price=average)

    async def _catch_up(self, order: TrackedOrder, report: OrderReport) -> None:
        """Ask for the executions that an order counts and no message reported; infer the rest."""
        try:
            found = await self._queries.question(
                "private/get_user_trades_by_order",
                {"order_id": wire.order_id_of(report.venue_order_id), "sorting": "asc"},
            )
            trades = found.get("trades", found) if isinstance(found, dict) else found
            for message in wire.rows(trades, "trades"):
                self._apply_trade(message)
        except (RetryError, wire.WireError) as problem:
            self._publisher.refuse("orders", "executions_missing", repr(problem)[:200])
        now_ns = self._stamp(report.ts_event_ns)
        self._publish(self.tracker.apply(order, report, now_ns, infer=True))

    def _stamp(self, at_ns: int) -> int:
        return self._publisher.timestamp(at_ns)

    def _publish(self, events: Iterable[Event]) -> None:
        self._publisher.publish(events)

    # commands ---------------------------------------------------------------------------------------

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        if isinstance(command, SubmitOrder):
            order = self.tracker.track(command, self._publisher.timestamp())
            self._start(command.client_order_id, self._submit(command, [order]))
        elif isinstance(command, CancelOrder):
            self._spawn(self._cancel(command.client_order_id))
        elif isinstance(command, ReplaceOrder):
            self._start(command.replacement.client_order_id, self._replace(command))
        else:
            legs = self.tracker.track_combo(command, self._publisher.timestamp())
            self._start(command.client_order_id, self._submit(command, legs))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Send the order, the combo or the replacement of this name; a cancel of it waits for the answer."""
        self._submitting[name] = self._spawn(work)
        self._submitting[name].add_done_callback(lambda _: self._submitting.pop(name, None))

    async def _submit(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> None:
        """Send an order, or one for a combo whose legs are ``orders``; each of them learns its outcome."""
        allowed = self.budget.take(max(urgency_of(each.submitted.purpose) for each in orders), loop_ns())
        if not self.is_open or not self._connection.is_up or not allowed:
            if self.is_open and not allowed:
                self._publisher.notice(NoticeKind.LIMITED, "requests", "own_budget")
            self._not_sent(orders)
            return
        try:
            method, params = await self._request(command)
        except (wire.WireError, wire.RpcError, Disconnected, TimeoutError) as problem:
            if isinstance(problem, wire.WireError) or wire.is_refusal(problem):
                self._reject(orders, problem)
            else:  # of a question that went before
                self._not_sent(orders)
            return
        result, is_doubted, why = None, False, ""
        try:
            result = await self._connection.request(method, params)
        except wire.RpcError as error:
            self._combos.pop(params["instrument_name"], None)  # it may have ended
            is_doubted, why = not wire.is_refusal(error), str(error)
            if not is_doubted:
                self._reject(orders, error)
        except Disconnected as lost:
            is_doubted, why = lost.was_sent, str(lost)
            if not is_doubted:
                self._not_sent(orders)
        except TimeoutError:
            is_doubted, why = True, "no answer in time"
        except Exception as fault:
            self._doubt(orders, f"its answer met a fault of our own: {fault!r}"[:200])
            raise
        finally:  # without it no absence would ever be proven
            for order in orders:
                order.answered_ns = loop_ns()
        if is_doubted:
            self._doubt(orders, why)
        elif result is not None:
            self._apply_result(orders, result)

    async def _request(self, command: SubmitOrder | MultiLegOrder) -> tuple[str, wire.Message]:
        """Return method and parameters of an order; a combo is asked for where it is not known."""
        name, side = "", Side.BUY
        if isinstance(command, MultiLegOrder):
            async with self._naming:
                name, side = await self._combo_of(command)
        valid_ms = self._queries.venue_ms() + self._life_ms()
        self._sent[command.client_order_id] = self._connection.connections, valid_ms
        if isinstance(command, MultiLegOrder):
            return wire.combo_request(command, self._instruments, name, side, valid_ms)
        return wire.order_request(command, self._instruments[command.instrument_id], valid_ms)

    def _life_ms(self) -> int:
        """Return for how long the venue may take an order, in milliseconds of its clock."""
        seconds = self._setup.timeout_seconds
        if self._publisher.stamper.follows:
            seconds = (seconds + FOLLOWED_LATE_SECONDS) * self._queries.pace()
        return int(1_000 * seconds)

    def _may_come(self, order: TrackedOrder) -> bool:
        """Return whether the request of an order that the venue does not show may still be on its way.

        A connection keeps the order of its messages: only an earlier connection may still bring it, until
        its time limit.
        """
        label = order.parent_id or order.submitted.client_order_id
        if label not in self._sent:  # another process sent it
            sent_ms = order.sent_ns // NANOS_PER_MS or self._queries.venue_ms()
            self._sent[label] = 0, sent_ms + self._life_ms()
        connection, valid_ms = self._sent[label]
        is_past = self._queries.venue_ms() > valid_ms + MOST_CLOCK_SKEW_MS
        return connection != self._connection.connections and not is_past

    async def _combo_of(self, command: MultiLegOrder) -> tuple[str, Side]:
        """Return the venue's combo of these legs, and whether to buy or to sell it."""
        for name, legs in self._combos.items():
            side = wire.side_of_combo(command, self._instruments, legs)
            if side is not None:
                return name, side
        self.budget.take(urgency_of(command.legs[0].purpose), loop_ns())
        trades = wire.combo_trades(command, self._instruments)
        name, legs = wire.read_combo(
            await self._connection.request("private/create_combo", {"trades": trades})
        )
        side = wire.side_of_combo(command, self._instruments, legs)
        if side is None:
            raise wire.WireError(f"{name} has other legs than were asked for")
        self._combos[name] = legs
        return name, side

    def _not_sent(self, orders: Iterable[TrackedOrder]) -> None:
        for order in orders:
            self._publish(self.tracker.not_found(order, self._publisher.timestamp()))

    def _reject(self, orders: Iterable[TrackedOrder], why: Exception) -> None:
        at_ns = self._publisher.timestamp()
        if isinstance(why, wire.RpcError) and wire.refusal_of(why) is wire.ErrorMeaning.LATER:
            self._publisher.notice(NoticeKind.LIMITED, "requests", why.message, str(why))
        for order in orders:
            self._publish(self.tracker.reject(order, str(why), at_ns, at_ns))

    def _doubt(self, orders: Iterable[TrackedOrder], why: str) -> None:
        for order in orders:
            self._publish(self.tracker.mark_unknown(order, why, self._publisher.timestamp()))

    def _apply_result(self, orders: Iterable[TrackedOrder], result: Any) -> None:
        """Apply the answer to an order: its executions first, then its state."""
        try:
            self._apply(result.get("trades") or [], [result["order"]])
        except (wire.WireError, KeyError, AttributeError, TypeError) as problem:
            self._publisher.refuse("requests", "malformed_answer", repr(problem)[:200])
            self._doubt(orders, "an answer without meaning")

    async def _cancel(self, client_order_id: str) -> None:
        order = self.tracker.orders.get(client_order_id)
        if order is None:
            self._publisher.count("cancel_of_unknown_order")
            now_ns = self._publisher.timestamp()
            reason = "no order of this id was sent or adopted here"
            self._publish([CancelRejected(client_order_id, now_ns, now_ns, reason)])
            return
        if order.parent_id:
            async with self._naming:  # its order goes first
                pass
        self.budget.take(Urgency.CANCEL, loop_ns())
        try:
            if not self._venue_id(order) and not await self._cancel_by_label(order):
                return
            if not order.ended and (venue_id := self._venue_id(order)):
                found = await self._connection.request("private/cancel", {"order_id": venue_id})
                self._apply([], [found])
            self._cancels.taken(order)
        except wire.RpcError as error:
            if not wire.is_refusal(error):
                self._doubt(self.tracker.together(order), f"cancel: {error}")
                return
            now_ns = self._publisher.timestamp()
            self._publish(self.tracker.reject_cancel(order, str(error), now_ns))
            if wire.refusal_of(error) is wire.ErrorMeaning.GONE:
                await self.query_order(client_order_id)
        except (Disconnected, TimeoutError) as problem:
            self._doubt(self.tracker.together(order), f"cancel: {problem}")
        except wire.WireError as problem:
            self._publisher.refuse("requests", "malformed_answer", repr(problem)[:200])
            self._doubt(self.tracker.together(order), "cancel: an answer without meaning")

    def _venue_id(self, order: TrackedOrder) -> str:
        """Return the id under which the venue cancels an order: of a leg its combo's; empty when unknown."""
        return self._parent_ids.get(order.parent_id, "") if order.parent_id else order.venue_order_id

    async def _cancel_by_label(self, order: TrackedOrder) -> bool:
        """Cancel an order whose id is not known; return whether the venue took it, or the id is known now.

        The venue answers 0 where it has no such label: the order is over, or the cancel has overtaken it. Its
        own answer then tells the id. Without one the cancel is refused, for it ended nothing.
        """
        name = order.parent_id or order.submitted.client_order_id
        params = {"label": name, "currency": self._currency}
        taken = await self._connection.request("private/cancel_by_label", params)
        await self.query_order(order.submitted.client_order_id)
        if taken or order.ended:
            return True
        if name in self._submitting:
            await asyncio.wait([self._submitting[name]])
        if self._venue_id(order):
            return True
        why = "the venue has no order of this label"
        self._publish(self.tracker.reject_cancel(order, why, self._publisher.timestamp()))
        return False

    async def _replace(self, command: ReplaceOrder) -> None:
        """Edit a working order in place."""
        wanted, now_ns = command.replacement, self._publisher.timestamp
        new, old = self.tracker.track(wanted, now_ns()), self.tracker.orders.get(command.client_order_id)
        venue_id = "" if old is None or old.parent_id else old.venue_order_id
        allowed = self.budget.take(urgency_of(wanted.purpose), loop_ns())
        if old is None or old.ended or not venue_id or venue_id in self._editing or not allowed:
            self._publish(self.tracker.not_found(new, now_ns()))
            if old is not None:
                self._publish(self.tracker.reject_cancel(old, "not at the venue, or held back", now_ns()))
            return
        instrument = self._instruments[wanted.instrument_id]
        total = sum((each.covered for each in self._before(old)), old.covered) + wanted.quantity
        params: dict[str, Any] = {"order_id": venue_id, "amount": wire.amount_of(instrument, total)}
        if wanted.limit_price is not None:
            params["price"] = wanted.limit_price
        if wanted.trigger_price is not None:
            params["trigger_price"] = wanted.trigger_price
        held: tuple[list[wire.Message], list[wire.Message]] = ([], [])
        self._editing[venue_id] = held
        result = None
        try:
            result = await self._connection.request("private/edit", params)
        except (wire.RpcError, Disconnected, TimeoutError) as problem:
            if wire.is_refusal(problem):
                self._publish(self.tracker.reject(new, str(problem), now_ns(), now_ns()))
                self._publish(self.tracker.reject_cancel(old, str(problem), now_ns()))
            elif (result := await self._edited_after_all(venue_id, params)) is None:
                self._publish(self.tracker.not_found(new, now_ns()))
                self._publish(self.tracker.mark_unknown(old, f"replace: {problem}", now_ns()))
        new.answered_ns = loop_ns()
        del self._editing[venue_id]
        if result is not None:
            at_ns = now_ns()
            gone = OrderReport("", venue_id, at_ns, Outcome.CANCELLED, ZERO, None, "replaced")
            self._publish(self.tracker.apply(old, gone, at_ns, infer=False))
            self._edited.add(venue_id)
            self.tracker.bind(wanted.client_order_id, venue_id)
            self._apply_result([new], result)
        self._apply(*held)

    async def _edited_after_all(self, venue_id: str, params: dict[str, Any]) -> Any:
        """Return what an edit without an answer came to; None where the order is as it was or not known."""
        try:
            order = await self._queries.question("private/get_order_state", {"order_id": venue_id})
            is_new = all(
                wire.exact_field(order, name) == value for name, value in params.items() if name != "order_id"
            )
        except (RetryError, wire.WireError):
            return None
        return {"order": order, "trades": []} if is_new else None

    # orders of others and earlier runs, and questions -----------------------------------------------

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        known = tuple(orders)
        self.tracker.restore(known, self._request_ended_ns)
        for order in known:
            self.tracker.orders[order.submitted.client_order_id].sent_ns = order.sent_ns
            if order.parent_id and order.venue_order_id:
                self._parent_ids[order.parent_id] = wire.order_id_of(order.venue_order_id)
        ids = Counter(order.venue_order_id for order in self.tracker.orders.values() if order.venue_order_id)
        self._edited = {venue_id for venue_id, names in ids.items() if names > 1}

    def _request_ended_ns(self, known: KnownOrder) -> int:
        utc_ns = None if self._publisher.stamper.follows else self._publisher.timestamp()
        request_ns = int(self._setup.timeout_seconds * NANOS_PER_SECOND)
        return request_ended_ns(known, loop_ns=loop_ns(), utc_ns=utc_ns, request_ns=request_ns)

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of any sender by the venue's id; return whether the venue took the cancel."""
        try:
            await self._connection.request("private/cancel", {"order_id": wire.order_id_of(venue_order_id)})
        except wire.RpcError as error:
            return wire.refusal_of(error) is wire.ErrorMeaning.GONE
        except (Disconnected, TimeoutError):
            return False
        return True

    async def query_order(self, client_order_id: str) -> bool:
        """Ask by its label what became of an order; return whether the venue gave proof."""
        order = self.tracker.orders.get(client_order_id)
        if order is None or order.ended:
            return True
        asked_ns, may_come = loop_ns(), self._may_come(order)
        try:
            if order.venue_order_id in self._edited:  # it goes by the label of its first name
                state = await self._queries.question(
                    "private/get_order_state", {"order_id": order.venue_order_id}
                )
                found = [state]
            else:
                label = order.parent_id or client_order_id
                found = await self._by_label(label)
            states = wire.rows(found, "orders by label")
            for message in states:
                await self._apply_shown(self._reports(message), asked_ns)
        except (RetryError, wire.WireError) as problem:
            self._publisher.refuse("requests", "query_failed", repr(problem)[:200])
            return False
        if states:
            return not order.unknown
        acceptance_ns = int(self._setup.acceptance_seconds * NANOS_PER_SECOND)
        is_early = order.answered_ns is None or loop_ns() < order.answered_ns + acceptance_ns
        if is_early or may_come:
            return False
        self._not_sent(self.tracker.together(order))
        return True

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under a label; it would take another under the same."""
        return bool(wire.rows(await self._by_label(client_order_id), "orders by label"))

    async def _by_label(self, label: str) -> Any:
        asked = {"currency": self._currency, "label": label}
        return await self._queries.question("private/get_order_state_by_label", asked)

    async def _apply_shown(self, reports: Iterable[tuple[TrackedOrder, OrderReport]], asked_ns: int) -> None:
        """Apply orders as an answer shows them; ``asked_ns`` is when it was asked for, in the loop's time."""
        for order, report in reports:
            await self._catch_up(order, report)
            if report.outcome is Outcome.OPEN:
                now_ns = self._publisher.timestamp()
                self._publish(self.tracker.cancel_lost(order, asked_ns, now_ns))

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Return all open orders of the account; executions that they reveal come out as events."""
        open_orders: list[VenueOrder] = []
        params, asked_ns = {"currency": self._currency}, loop_ns()
        for message in wire.rows(
            await self._queries.question("private/get_open_orders_by_currency", params), "open orders"
        ):
            reports = self._reports(message)
            await self._apply_shown(reports, asked_ns)
            if wire.is_combo(message.get("instrument_name")):
                open_orders += await self._open_legs(message)
                continue
            instrument = self._queries.instrument(message)
            number = None if instrument is None else self._instruments.find(instrument.symbol)
            shown = wire.read_open_order(message, instrument, number)
            for order, report in reports:
                if self._before(order):
                    before = shown.filled - report.filled
                    name, left = order.submitted.client_order_id, shown.quantity - before
                    shown = msgspec.structs.replace(
                        shown, client_order_id=name, quantity=left, filled=report.filled
                    )
            open_orders.append(shown)
        return tuple(open_orders)

    async def _open_legs(self, message: wire.Message) -> list[VenueOrder]:
        """Return the legs of an open order for a combo, the desk's under their names."""
        name = str(message.get("instrument_name"))
        if name not in self._combos:
            details = await self._queries.question("public/get_combo_details", {"combo_id": name})
            _, self._combos[name] = wire.read_combo(details)
        found = []
        for shown in wire.legs_of_open_combo(message, self._combos[name]):
            leg, symbol = self.tracker.leg(shown.parent_id, shown.symbol), shown.symbol
            found.append(
                msgspec.structs.replace(
                    shown,
                    client_order_id=leg.submitted.client_order_id if leg else shown.client_order_id,
                    instrument_id=self._instruments.find(symbol),
                )
            )
        return found

    async def history(self, since_ns: int) -> tuple[VenueFill, ...]:
        """Return the executions since an instant, oldest first; those of the desk come out as events."""
        fills: dict[str, VenueFill] = {}
        start_ms = since_ns // NANOS_PER_MS
        while True:
            found = await self._queries.question(
                "private/get_user_trades_by_currency_and_time",
                {
                    "currency": self._currency,
                    "start_timestamp": start_ms,
                    "end_timestamp": self._queries.venue_ms() + MOST_CLOCK_SKEW_MS,
                    "count": PAGE,
                    "sorting": "asc",
                },
            )
            page = wire.rows(found.get("trades"), "trades")
            before = len(fills)
            for message in page:
                instrument = self._queries.instrument(message)
                if instrument is None:
                    continue
                trade = wire.read_trade(message, instrument)
                if not trade.ts_ns:
                    trade = trade._replace(ts_ns=self._publisher.timestamp())
                fill = wire.fill_of(trade)
                fills[trade.trade_id] = fill if trade.fee is not None else self.tracker.with_fee(fill)
                self._apply_trade(message)
            if not found.get("has_more") or not page or len(fills) == before:
                return tuple(fills.values())
            start_ms = int(page[-1]["timestamp"])
