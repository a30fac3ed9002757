"""The order path to Deribit: orders and their legs, cancels, and what the venue says of them.

An order goes out under its desk's id as the label, with an instant after which the venue refuses it: a late
duplicate cannot trade. The venue takes a label twice, so that an order in doubt is never sent again; what
became of it is asked by its label. Orders in several legs go out as one for a combo, under the id of the
whole; the trades of its legs are booked (:mod:`scalpdesk_deribit.combos`). Executions come from the account's
channel, from replies and, where an order counts more than both, from its own trades. A trade states no
cumulative quantity: what was inferred from an order's count covers the trades that come later.
"""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec

from scalpdesk.base import Instrument, MultiLegOrder, RetryError, Side, SubmitOrder
from scalpdesk.core.units import NANOS_PER_MS
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns, urgency_of
from scalpdesk.venues.contract import KnownOrder, NoticeKind, VenueFill, VenueOrder, VenueSetup
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import (
    Answering,
    Found,
    OrderPath,
    RequestFate,
    VenueAnswer,
    urgency_of_command,
)
from scalpdesk.venues.tracker import OrderReport, OrderTracker, TrackedOrder
from scalpdesk_deribit import wire
from scalpdesk_deribit.combos import ComboTrades
from scalpdesk_deribit.messages import ChangesMessage, OrderAnswer, OrderMessage, TradeMessage, TradePage
from scalpdesk_deribit.queries import MOST_CLOCK_SKEW_MS, AccountAndMarket
from scalpdesk_deribit.rpc import Disconnected, RpcConnection

_CREDITS_PER_MINUTE = 300
"""Requests to the matching engine: five a second and twenty at once, the lowest tier's."""
PAGE = 1_000
_COMBO_LEAD_MS = 1_000
"""A combo's trade is looked for so long before those of its legs."""
_FOLLOWED_LATE_SECONDS = 5.0
"""Added to an order's time limit where the desk's clock follows the venue: it stands between two messages."""


class DeribitOrders:
    """Answers for Deribit; implements :class:`scalpdesk.venues.order_path.OrderWire`.

    ``queries``: Asks what the order path does not know.
    """

    takes_id_once = False
    doubts_whole_combo = True

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
        self.tracker = OrderTracker(setup.instruments, setup.fees, quotes=publisher.queue.quotes)
        a_minute = setup.requests_per_minute or _CREDITS_PER_MINUTE
        self._budget = RequestBudget(a_minute, max(a_minute // 15, 1))
        self.path = OrderPath(
            self,
            tracker=self.tracker,
            publisher=publisher,
            budget=self._budget,
            timeout_seconds=setup.timeout_seconds,
            acceptance_seconds=setup.acceptance_seconds,
        )
        self._sent: dict[str, tuple[int, int]] = {}
        """Number of the connection that carried an order, and its time limit by the venue's clock, ms."""
        self._parent_ids: dict[str, str] = {}
        """Ids at the venue of orders for combos, by the desk's of the parent."""
        self._parents_since_ns: dict[str, int] = {}
        """When the venue took an order for a combo, by its clock, by the desk's id of the parent."""
        self._combo_trades = ComboTrades()
        self._naming = asyncio.Lock()
        """Held while a combo is asked for."""
        self._combos: dict[str, dict[str, Decimal]] = {}
        """Legs of combos by their name at the venue, as one is bought."""

    # what the venue says ----------------------------------------------------------------------------

    def on_change(self, note: wire.Notification) -> None:
        """Apply executions, then orders, of a change of the account; ask for it where others traded in it."""
        try:
            changes = wire.read(note.data, ChangesMessage)
            foreign = self._apply(changes.trades, changes.orders)
            if foreign:
                self._publisher.notice(NoticeKind.GAP, "orders", "foreign_execution", ", ".join(foreign))
        except wire.WireError as problem:
            self._publisher.refuse("orders", "malformed_change", repr(problem)[:200])
            # whatever it was about is looked for in the account
            self._publisher.notice(NoticeKind.GAP, "orders", "malformed_change", repr(problem)[:200])

    def _apply(self, trades: Any, orders: Any) -> list[str]:
        """Apply executions, then orders; return the instruments of executions that are not the desk's.

        Raises WireError when a message cannot be read; all others have been applied by then.
        """
        foreign, states, unread = list[str](), list[OrderMessage](), list[wire.WireError]()
        for message in wire.rows(orders or [], "orders"):
            try:
                states.append(wire.read(message, OrderMessage, "order"))
            except wire.WireError as problem:
                unread.append(problem)
        for state in states:
            self._follow_trigger(state)
        counted = self._counted(states)
        for message in wire.rows(trades or [], "trades"):
            try:
                trade = wire.read(message, TradeMessage, "trade")
                if not self._apply_trade(trade, counted=counted):
                    foreign.append(str(trade.instrument_name))
            except wire.WireError as problem:
                unread.append(problem)
        for state in states:
            try:
                reports = self._reports(state)
            except wire.WireError as problem:
                unread.append(problem)
                continue
            if any(report.filled > order.covered for order, report in reports):
                self.path.spawn(self._catch_up(reports))
                continue
            for order, report in reports:
                self.path.report(order, report, infer=False)
        if unread:
            raise unread[0]
        return foreign

    def _counted(self, states: Sequence[OrderMessage]) -> dict[str, Decimal]:
        """Return what states of orders count as filled, by the desk's ids."""
        counted: dict[str, Decimal] = {}
        for state in states:
            try:
                known = self._known_reports(state) or []
            except wire.WireError:
                continue  # it is read again, and told, after the executions
            counted |= {order.submitted.client_order_id: report.filled for order, report in known}
        return counted

    def _apply_trade(
        self,
        trade: TradeMessage,
        *,
        counted: Mapping[str, Decimal] = MappingProxyType({}),
        question: int | None = None,
    ) -> bool:
        """Publish an execution of the desk; return whether the order is one of its own.

        ``counted`` is what the same message counts as filled of its orders; ``question`` as in the tracker.
        """
        if wire.is_combo(trade.instrument_name):
            return self._apply_combo_trade(trade, counted=counted, question=question)
        instrument = self._queries.instrument(trade.instrument_name)
        if instrument is None:
            return False
        if trade.combo_trade_id and self._combo_trades.order_of(trade) is None:
            self._combo_trades.hold(trade)
            return True
        fill, label, has_fee = self._read_trade(trade, instrument)
        order = self.tracker.find(label, fill.venue_order_id) or self.tracker.leg(label, fill.symbol)
        if order is None:
            self._publisher.count("foreign_trade")
            return False
        if not order.venue_order_id:
            self.tracker.bind(order.submitted.client_order_id, fill.venue_order_id)
        at_ns = fill.ts_event_ns or self._publisher.timestamp()
        events = self.tracker.next_execution(
            order,
            fill.execution_id,
            fill.quantity,
            fill.price,
            at_ns,
            self._publisher.timestamp(at_ns),
            fee=fill.fee if has_fee else None,
            counted=counted.get(order.submitted.client_order_id),
            question=question,
        )
        self.path.publish(events)
        if events and not fill.ts_event_ns:
            self._publisher.refuse("orders", "unreadable_time", f"trade {fill.execution_id}: taken as of now")
        if events and not has_fee:
            currency = trade.fee_currency
            detail = f"trade {fill.execution_id} charges {currency}: booked with the schedule's fee"
            self._publisher.refuse("orders", "fee_in_other_currency", detail)
        return True

    def _apply_combo_trade(
        self, trade: TradeMessage, *, counted: Mapping[str, Decimal], question: int | None
    ) -> bool:
        """Publish what is known of a combo's trade, its legs' executions; return whether it is the desk's."""
        legs = self._combo_trades.add(trade)
        known = [self._apply_trade(leg, counted=counted, question=question) for leg in legs]
        is_own = trade.label in self.tracker.combos
        return all(known) if known else is_own or trade.order_id in self._parent_ids.values()

    def _read_trade(self, shown: TradeMessage, instrument: Instrument) -> wire.VenueTrade:
        """Read an execution; that of a combo's leg under the id and the label of the order for the combo."""
        trade, whole = wire.read_trade(shown, instrument), self._combo_trades.order_of(shown)
        if whole is None:
            return trade
        name = wire.leg_id(whole.order_id, instrument.symbol)
        fill = msgspec.structs.replace(trade.fill, venue_order_id=name)
        return trade._replace(fill=fill, label=whole.label)

    def _follow_trigger(self, state: OrderMessage) -> None:
        """Note the id under which a stop goes on at the venue once it is triggered."""
        before, now = state.trigger_order_id or "", state.order_id or ""
        order = self.tracker.find("", before) if before else None
        if order is not None and order.venue_order_id == before:
            self.tracker.bind(order.submitted.client_order_id, now)

    def _reports(self, state: OrderMessage) -> list[tuple[TrackedOrder, OrderReport]]:
        """Return what a message says of an order of the desk, or of each leg of a combo."""
        known = self._known_reports(state)
        if known is None:
            self._publisher.count("foreign_order")
        return known or []

    def _known_reports(self, state: OrderMessage) -> list[tuple[TrackedOrder, OrderReport]] | None:
        """Return what a message says of the desk's orders; None of somebody else's."""
        self._follow_trigger(state)
        parent, instrument = state.label or "", self._queries.instrument(state.instrument_name)
        if parent in self.tracker.combos:
            self._parent_ids[parent] = state.order_id or ""
            self._parents_since_ns[parent] = wire.known_ns(state.creation_timestamp)
            legs = self.tracker.legs(parent)
            return [(leg, wire.leg_report(state, leg.submitted, self._symbol(leg.submitted))) for leg in legs]
        if instrument is None:
            return []
        report = wire.read_report(state, instrument)
        order = self.tracker.find(report.client_order_id, report.venue_order_id)
        if order is None:
            return None
        if not report.ts_event_ns:
            report = msgspec.structs.replace(report, ts_event_ns=self._publisher.timestamp())
        return [(order, report)]

    def _symbol(self, order: SubmitOrder) -> str:
        return self._instruments[order.instrument_id].symbol

    async def _catch_up(
        self, reports: Sequence[tuple[TrackedOrder, OrderReport]], question: int | None = None
    ) -> None:
        """Ask for the executions that an order counts and no message reported; infer the rest.

        ``reports``: Of one order at the venue: one, or those of a combo's legs.
        ``question``: The one that they are an answer to; None for those that came by themselves.
        """
        try:
            await self._ask_trades(reports)
        except (RetryError, wire.WireError) as problem:
            self._publisher.refuse("orders", "executions_missing", repr(problem)[:200])
        for order, report in reports:
            self.path.report(order, report, infer=True, question=question)

    async def _ask_trades(self, reports: Sequence[tuple[TrackedOrder, OrderReport]]) -> None:
        """Apply the executions of an order.

        Of an order for a combo the venue's list by order has the combo's own trades: their legs' are looked
        for among all trades since the venue took it.
        """
        order, report = reports[0]
        if order.parent_id:
            if any(report.filled > order.covered for order, report in reports):
                await self.history(self._parents_since_ns.get(order.parent_id, 0))
            return
        asked, question = {"order_id": report.venue_order_id, "sorting": "asc"}, self.tracker.ask()
        found = await self._queries.question("private/get_user_trades_by_order", asked)
        trades = wire.read(found, TradePage).trades if isinstance(found, dict) else found
        for message in wire.rows(trades, "trades"):
            self._apply_trade(wire.read(message, TradeMessage, "trade"), question=question)

    # commands ---------------------------------------------------------------------------------------

    def place(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> Answering:
        """Send an order, or one for a combo."""
        del orders
        if not self.path.may_leave(urgency_of_command(command), is_up=self._connection.is_up):
            return VenueAnswer(RequestFate.NOT_SENT)
        return self._placed(command)

    async def _placed(self, command: SubmitOrder | MultiLegOrder) -> VenueAnswer:
        try:
            method, params = await self._request(command)
        except (wire.WireError, wire.RpcError, Disconnected, TimeoutError) as problem:
            # of a question that went before, which orders nothing
            is_refused = isinstance(problem, wire.WireError) or wire.is_refusal(problem)
            return self._refused(problem) if is_refused else VenueAnswer(RequestFate.NOT_SENT)
        try:
            return VenueAnswer(RequestFate.TAKEN, shown=await self._connection.request(method, params))
        except wire.RpcError as error:
            self._combos.pop(params["instrument_name"], None)  # it may have ended
            return (
                self._refused(error)
                if wire.is_refusal(error)
                else VenueAnswer(RequestFate.UNKNOWN, str(error))
            )
        except Disconnected as lost:
            return (
                VenueAnswer(RequestFate.UNKNOWN, str(lost))
                if lost.was_sent
                else VenueAnswer(RequestFate.NOT_SENT)
            )
        except TimeoutError:
            return VenueAnswer(RequestFate.UNKNOWN, "no answer in time")

    def _refused(self, why: Exception) -> VenueAnswer:
        if isinstance(why, wire.RpcError) and wire.refusal_of(why) is wire.ErrorMeaning.LATER:
            self._publisher.notice(NoticeKind.LIMITED, "requests", why.message, str(why))
        return VenueAnswer(RequestFate.REFUSED, str(why))

    async def _request(self, command: SubmitOrder | MultiLegOrder) -> tuple[str, wire.Raw]:
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
            seconds = (seconds + _FOLLOWED_LATE_SECONDS) * self._queries.pace()
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
        self._budget.take(urgency_of(command.legs[0].purpose), loop_ns())
        trades = wire.combo_trades(command, self._instruments)
        name, legs = wire.read_combo(
            await self._connection.request("private/create_combo", {"trades": trades})
        )
        side = wire.side_of_combo(command, self._instruments, legs)
        if side is None:
            raise wire.WireError(f"{name} has other legs than were asked for")
        self._combos[name] = legs
        return name, side

    def show(self, orders: list[TrackedOrder], shown: Any) -> str:
        """Apply the answer to an order: its executions first, then its state."""
        del orders
        try:
            answer = wire.read(shown, OrderAnswer, "answer")
            self._apply(answer.trades, [answer.order])
        except wire.WireError as problem:
            self._publisher.refuse("requests", "malformed_answer", repr(problem)[:200])
            return "an answer without meaning"
        return ""

    async def cancel(self, order: TrackedOrder) -> VenueAnswer:
        """Cancel an order by its id, or by its label while that is not known."""
        if order.parent_id:
            async with self._naming:  # its order goes first
                pass
        self._budget.take(Urgency.CANCEL, loop_ns())
        try:
            if not self._venue_id(order) and not await self._cancel_by_label(order):
                return VenueAnswer(RequestFate.REFUSED, "the venue has no order of this label")
            if not order.ended and (venue_id := self._venue_id(order)):
                found = await self._connection.request("private/cancel", {"order_id": venue_id})
                self._apply([], [found])
            return VenueAnswer(RequestFate.TAKEN)
        except wire.RpcError as error:
            if not wire.is_refusal(error):
                return VenueAnswer(RequestFate.UNKNOWN, f"cancel: {error}")
            if wire.refusal_of(error) is wire.ErrorMeaning.GONE:
                self.path.spawn(self.path.query_order(order.submitted.client_order_id))
            return VenueAnswer(RequestFate.REFUSED, str(error))
        except (Disconnected, TimeoutError) as problem:
            return VenueAnswer(RequestFate.UNKNOWN, f"cancel: {problem}")
        except wire.WireError as problem:
            self._publisher.refuse("requests", "malformed_answer", repr(problem)[:200])
            return VenueAnswer(RequestFate.UNKNOWN, "cancel: an answer without meaning")

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
        await self.path.query_order(order.submitted.client_order_id)
        if taken or order.ended:
            return True
        if name in self.path.answering:
            await asyncio.wait([self.path.answering[name]])
        return bool(self._venue_id(order))

    # orders of others and earlier runs, and questions -----------------------------------------------

    def adopted(self, orders: Sequence[KnownOrder]) -> None:
        """Note ids of combos."""
        for order in orders:
            self.tracker.orders[order.submitted.client_order_id].sent_ns = order.sent_ns
            if order.parent_id and order.venue_order_id:
                self._parent_ids[order.parent_id] = wire.order_id_of(order.venue_order_id)

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of any sender by the venue's id; return whether the venue took the cancel."""
        try:
            await self._connection.request("private/cancel", {"order_id": wire.order_id_of(venue_order_id)})
        except wire.RpcError as error:
            return wire.refusal_of(error) is wire.ErrorMeaning.GONE
        except (Disconnected, TimeoutError):
            return False
        return True

    async def look_up(self, order: TrackedOrder) -> Found:
        """Ask for an order by its label."""
        asked_ns, may_come, question = loop_ns(), self._may_come(order), self.tracker.ask()
        try:
            found = await self._by_label(order.parent_id or order.submitted.client_order_id)
            states = wire.rows(found, "orders by label")
            for message in states:
                state = wire.read(message, OrderMessage, "order")
                await self._apply_shown(self._reports(state), asked_ns, question)
        except (RetryError, wire.WireError) as problem:
            self._publisher.refuse("requests", "query_failed", repr(problem)[:200])
            return Found.UNCLEAR
        if states:
            return Found.SHOWN
        return Found.UNCLEAR if may_come else Found.ABSENT

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under a label; it would take another under the same."""
        return bool(wire.rows(await self._by_label(client_order_id), "orders by label"))

    async def _by_label(self, label: str) -> Any:
        asked = {"currency": self._currency, "label": label}
        return await self._queries.question("private/get_order_state_by_label", asked)

    async def _apply_shown(
        self, reports: Sequence[tuple[TrackedOrder, OrderReport]], asked_ns: int, question: int
    ) -> None:
        """Apply an order as an answer shows it; ``asked_ns`` is when it was asked for, in the loop's time."""
        if reports:
            await self._catch_up(reports, question)
        for order, report in reports:
            self.path.judge_cancel(order, report.outcome, asked_ns)

    async def cancel_all(self) -> bool:
        """Cancel all orders of the account in its currency; return whether the venue took it."""
        try:
            await self._connection.request("private/cancel_all_by_currency", {"currency": self._currency})
        except (wire.RpcError, Disconnected, TimeoutError):
            return False
        return True

    async def open_orders(self, *, catches_up: bool = True) -> tuple[VenueOrder, ...]:
        """Return all open orders of the account; executions that they reveal come out as events.

        ``catches_up``: Ask for those executions; without it nothing but the list is asked for.
        """
        open_orders: list[VenueOrder] = []
        params, asked_ns, question = {"currency": self._currency}, loop_ns(), self.tracker.ask()
        for message in wire.rows(
            await self._queries.question("private/get_open_orders_by_currency", params), "open orders"
        ):
            state = wire.read(message, OrderMessage, "order")
            reports = self._reports(state)
            if catches_up:
                await self._apply_shown(reports, asked_ns, question)
            if wire.is_combo(state.instrument_name):
                open_orders += await self._open_legs(state)
                continue
            instrument = self._queries.instrument(state.instrument_name)
            number = None if instrument is None else self._instruments.find(instrument.symbol)
            open_orders.append(wire.read_open_order(state, instrument, number))
        return tuple(open_orders)

    async def _open_legs(self, state: OrderMessage) -> list[VenueOrder]:
        """Return the legs of an open order for a combo, the desk's under their names."""
        name = state.instrument_name or ""
        if name not in self._combos:
            details = await self._queries.question("public/get_combo_details", {"combo_id": name})
            _, self._combos[name] = wire.read_combo(details)
        found = []
        for shown in wire.legs_of_open_combo(state, self._combos[name]):
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
        question = self.tracker.ask()
        trades = await self._trades_since(max(since_ns // NANOS_PER_MS - _COMBO_LEAD_MS, 0))
        trades.sort(key=lambda trade: not wire.is_combo(trade.instrument_name))  # wholes first
        for trade in trades:
            instrument = self._queries.instrument(trade.instrument_name)
            if instrument is not None:
                fill, _, has_fee = self._read_trade(trade, instrument)
                if not fill.ts_event_ns:
                    fill = msgspec.structs.replace(fill, ts_event_ns=self._publisher.timestamp())
                if fill.ts_event_ns // NANOS_PER_MS >= since_ns // NANOS_PER_MS:
                    fills[fill.execution_id] = fill if has_fee else self.tracker.with_fee(fill)
            self._apply_trade(trade, question=question)
        return tuple(fills.values())

    async def _trades_since(self, start_ms: int) -> list[TradeMessage]:
        """Return the account's trades since an instant of the venue's clock, oldest first, each once."""
        trades: dict[str, TradeMessage] = {}
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
            page = wire.read(found, TradePage)
            rows = [wire.read(message, TradeMessage, "trade") for message in wire.rows(page.trades, "trades")]
            before = len(trades)
            trades |= {wire.id_text(trade.trade_id): trade for trade in rows}
            if not page.has_more or len(trades) == before:
                return list(trades.values())
            start_ms = wire.instant_ns(rows[-1].timestamp, "timestamp") // NANOS_PER_MS
