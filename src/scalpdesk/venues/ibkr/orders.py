"""The order path to TWS: single orders, cancels, and what TWS says of them.

An order carries its desk's id as ``orderRef``. TWS answers no request: the order's state comes as messages,
and silence leaves it unknown. What became of it is read from the open orders, the completed orders and the
executions together; an order in none of them was never there. An execution is booked with the schedule's fee
and corrected by its commission report.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import IB, Contract, Fill, Order, Trade
from ib_async.objects import CommissionReport
from ib_async.util import UNSET_DOUBLE

from scalpdesk.core.events import CancelRejected, Event
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    ReplaceOrder,
    Side,
    SubmitOrder,
    VenueCommand,
)
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns, urgency_of
from scalpdesk.venues.cancel_follower import CancelFollower
from scalpdesk.venues.contract import KnownOrder, NoticeKind, VenueFill, VenueOrder, VenueSetup
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.ibkr.contracts import Contracts, instrument_of
from scalpdesk.venues.tracker import OrderReport, OrderTracker, TrackedOrder, request_ended_ns
from scalpdesk.venues.under_way import RequestsUnderWay

REQUESTS_PER_MINUTE = 45 * 60
OUTCOMES = {"Filled": "filled", "Cancelled": "cancelled", "ApiCancelled": "cancelled", "Inactive": "rejected"}
"""Outcomes of the statuses that end an order."""
DOUBTED = "ValidationError"
"""Status that ib_async gives to an order about which TWS warned: whether it works only a question shows."""
CANCELLED, NO_CANCEL = 202, (161, 10147, 10148)
"""Error codes of a cancelled order, and of a cancel that TWS refuses."""
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}
TYPES = {"limit": "LMT", "market": "MKT", "stop": "STP", "stop_limit": "STP LMT"}


def exact(value: float | Decimal | None) -> Decimal:
    """Return a number of ib_async as it stood in the message."""
    return Decimal(str(value)).normalize() + ZERO


def fee_paid(report: CommissionReport) -> Decimal | None:
    """Return what a commission report charges; None for an empty one."""
    return exact(report.commission) if report.execId else None


class IbkrOrders:
    """Sends the desk's orders and follows them.

    Parameters
    ----------
    ib
        The connection.
    contracts
        Names instruments.
    setup
        Instruments, times, limits and fees.
    publisher
        Takes events and notices.
    """

    def __init__(self, ib: IB, contracts: Contracts, setup: VenueSetup, publisher: EventPublisher) -> None:
        self._ib, self._contracts, self._setup, self._publisher = ib, contracts, setup, publisher
        self._instruments = setup.instruments
        self.tracker = OrderTracker(setup.instruments, setup.fees)
        a_minute = setup.requests_per_minute or REQUESTS_PER_MINUTE
        self.budget = RequestBudget(a_minute, max(a_minute // 60, 1))
        self.account = ""
        self.is_open = False
        self.under_way = RequestsUnderWay(publisher)
        self._spawn = self.under_way.start
        self._cancels = CancelFollower(tracker=self.tracker, query=self.query_order, spawn=self._spawn)
        self._asking = asyncio.Lock()
        """Held while TWS lists orders: the library keeps one list of a kind."""
        ib.openOrderEvent.connect(self._on_trade)
        ib.orderStatusEvent.connect(self._on_trade)
        ib.execDetailsEvent.connect(lambda _, fill: self._on_fill(fill))
        ib.commissionReportEvent.connect(lambda _, fill, __: self._on_commission(fill))
        ib.errorEvent.connect(self._on_error)

    async def close(self, *, graceful: bool) -> None:
        """Send nothing more; wait (bounded) for answers under way, or give them up."""
        self.is_open = False
        self._cancels.close()
        await self.under_way.end(self._setup.timeout_seconds if graceful else 0.0)

    def doubt_unanswered(self) -> None:
        """Put in doubt each order that TWS has not shown: the connection broke."""
        for order in self.tracker.orders.values():
            if not order.accepted:
                why = "the connection broke before TWS showed the order"
                self._publish(self.tracker.mark_unknown(order, why, self._publisher.timestamp()))

    def _publish(self, events: Iterable[Event]) -> None:
        self._publisher.publish(events)

    # commands ---------------------------------------------------------------------------------------

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        now_ns = self._publisher.timestamp()
        if isinstance(command, SubmitOrder):
            self._submit(command, self.tracker.track(command, now_ns))
        elif isinstance(command, CancelOrder):
            self._cancel(command.client_order_id)
        elif isinstance(command, ReplaceOrder):
            self._publish(self.tracker.not_found(self.tracker.track(command.replacement, now_ns), now_ns))
            old = self.tracker.orders[command.client_order_id]
            self._publish(self.tracker.reject_cancel(old, "orders are not changed at this venue", now_ns))
        else:
            self._refuse_legs(command, now_ns)

    def _refuse_legs(self, command: MultiLegOrder, now_ns: int) -> None:
        for leg in self.tracker.track_combo(command, now_ns):
            self._publish(self.tracker.not_found(leg, now_ns))

    def _submit(self, command: SubmitOrder, order: TrackedOrder) -> None:
        allowed = self.budget.take(urgency_of(command.purpose), loop_ns())
        if not self.is_open or not self._ib.isConnected() or not allowed:
            if self.is_open and not allowed:
                self._publisher.notice(NoticeKind.LIMITED, "requests", "own_budget")
            self._publish(self.tracker.not_found(order, self._publisher.timestamp()))
            return
        if self._trade(command.client_order_id) is not None:  # TWS would take the name again
            self._publish(self.tracker.mark_unknown(order, "sent before", self._publisher.timestamp()))
            self._spawn(self.query_order(command.client_order_id))
            return
        wanted = Order(
            action=command.side.name,
            totalQuantity=float(command.quantity),
            orderType=TYPES[command.type_name],
            tif=command.time_in_force.name,
            account=self.account,
            orderRef=command.client_order_id,
            lmtPrice=UNSET_DOUBLE if command.limit_price is None else float(command.limit_price),
            auxPrice=UNSET_DOUBLE if command.trigger_price is None else float(command.trigger_price),
        )
        self._ib.placeOrder(self._contracts.of(command.instrument_id), wanted)
        order.answered_ns = loop_ns()

    def _cancel(self, client_order_id: str) -> None:
        order, trade = self.tracker.orders.get(client_order_id), self._trade(client_order_id)
        now_ns = self._publisher.timestamp()
        if order is None:
            reason = "no order of this id was sent or adopted here"
            self._publisher.refuse("orders", "unknown_order", f"{client_order_id}: {reason}")
            now_ns = self._publisher.timestamp()
            self._publish([CancelRejected(client_order_id, now_ns, now_ns, reason)])
            return
        if order.ended:
            return
        if trade is None or not self._ib.isConnected():
            self._publish(self.tracker.reject_cancel(order, "TWS does not show the order", now_ns))
            return
        self.budget.take(Urgency.CANCEL, loop_ns())
        self._ib.cancelOrder(trade.order)
        self._cancels.taken(order)

    def _trade(self, client_order_id: str) -> Trade | None:
        """Return an order as the library follows it."""
        return next((each for each in self._ib.trades() if each.order.orderRef == client_order_id), None)

    # messages ---------------------------------------------------------------------------------------

    def _on_trade(self, trade: Trade) -> None:
        """Apply the state of an order; its executions come by themselves."""
        order = self.tracker.orders.get(trade.order.orderRef)
        if order is None or order.ended:
            return
        status = trade.orderStatus.status
        if status == DOUBTED:
            self._publish(self.tracker.mark_unknown(order, self._why(trade), self._publisher.timestamp()))
            self._spawn(self.query_order(trade.order.orderRef))
        elif trade.order.permId and status not in ("PendingSubmit", "PendingCancel"):
            report = self._report(trade)
            self._publish(self.tracker.apply(order, report, report.ts_event_ns, infer=False))
        elif OUTCOMES.get(status):  # refused before TWS gave it an id
            now_ns = self._publisher.timestamp()
            self._publish(self.tracker.reject(order, self._why(trade), now_ns, now_ns))

    def _why(self, trade: Trade) -> str:
        return next((entry.message for entry in reversed(trade.log) if entry.message), "refused by TWS")

    def _report(self, trade: Trade) -> OrderReport:
        status, order = trade.orderStatus, trade.order
        outcome = OUTCOMES.get(status.status, "open")
        codes = [entry.errorCode for entry in trade.log if entry.errorCode]
        if outcome == "cancelled" and codes and codes[-1] != CANCELLED and not status.filled:
            outcome = "rejected"  # the library calls every order cancelled that an error is about
        return OrderReport(
            order.orderRef,
            str(order.permId),
            self._publisher.timestamp(),
            outcome,
            exact(status.filled),
            exact(status.avgFillPrice) if status.filled else None,
            self._why(trade) if outcome != "open" else "",
        )

    def _on_fill(self, fill: Fill) -> None:
        """Publish an execution of the desk with the schedule's fee."""
        execution = fill.execution
        order = self.tracker.orders.get(execution.orderRef)
        if order is None:
            self._publisher.notice(NoticeKind.GAP, "orders", "foreign_execution", fill.contract.localSymbol)
            return
        if not order.venue_order_id:
            self.tracker.bind(order.submitted.client_order_id, str(execution.permId))
        at_ns = to_ns(execution.time)
        root, now_ns = execution.execId.rpartition(".")[0], self._publisher.timestamp(at_ns)
        for known in tuple(order.executions):
            if known.rpartition(".")[0] == root and known < execution.execId:  # this one corrects it
                self._publish(self.tracker.bust(order, known, "corrected", at_ns, now_ns, is_corrected=True))
        self._publish(
            self.tracker.execution(
                order,
                execution.execId,
                exact(execution.shares),
                exact(execution.price),
                exact(execution.cumQty),
                at_ns,
                now_ns,
            )
        )

    def _on_commission(self, fill: Fill) -> None:
        """Correct the fee of an execution of the desk."""
        order, paid = self.tracker.orders.get(fill.execution.orderRef), fee_paid(fill.commissionReport)
        if order is None or paid is None:
            return
        at_ns = to_ns(fill.execution.time)
        now_ns = self._publisher.timestamp(at_ns)
        self._publish(self.tracker.fee_reported(order, fill.execution.execId, paid, at_ns, now_ns))

    def _on_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        del contract
        if code in NO_CANCEL:
            trade = next((each for each in self._ib.trades() if each.order.orderId == request_id), None)
            order = self.tracker.orders.get(trade.order.orderRef) if trade is not None else None
            if order is not None:
                self._publish(self.tracker.reject_cancel(order, text, self._publisher.timestamp()))
        elif request_id == -1 and not 2100 <= code < 2200:
            self._publisher.notice(NoticeKind.LIMITED, "requests", f"tws_{code}", text)

    # questions --------------------------------------------------------------------------------------

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        request_ns = int(self._setup.timeout_seconds * NANOS_PER_SECOND)
        utc_ns = None if self._publisher.stamper.follows else self._publisher.timestamp()
        self.tracker.restore(
            orders,
            lambda known: request_ended_ns(known, loop_ns=loop_ns(), utc_ns=utc_ns, request_ns=request_ns),
        )

    async def query_order(self, client_order_id: str) -> bool:
        """Look for an order in all that TWS lists; return whether that gave proof."""
        order = self.tracker.orders.get(client_order_id)
        if order is None or order.ended:
            return True
        asked_ns = loop_ns()
        try:
            async with self._asking, asyncio.timeout(self._setup.timeout_seconds):
                listed = await self._ib.reqAllOpenOrdersAsync()
                listed += await self._ib.reqCompletedOrdersAsync(apiOnly=False)
                fills = await self._ib.reqExecutionsAsync()
        except (TimeoutError, ConnectionError) as problem:
            self._publisher.refuse("requests", "query_failed", repr(problem))
            return False
        for fill in fills:
            if fill.execution.orderRef == client_order_id:
                self._on_fill(fill)
                self._on_commission(fill)
        found = [trade for trade in listed if trade.order.orderRef == client_order_id]
        for trade in found:
            report = self._report(trade)
            self._publish(self.tracker.apply(order, report, report.ts_event_ns, infer=True))
            if report.outcome == "open":
                self._publish(self.tracker.cancel_lost(order, asked_ns, report.ts_event_ns))
        if found or order.ended:
            return True
        acceptance_ns = int(self._setup.acceptance_seconds * NANOS_PER_SECOND)
        if order.answered_ns is None or loop_ns() < order.answered_ns + acceptance_ns:
            return False
        self._publish(self.tracker.not_found(order, self._publisher.timestamp()))
        return True

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of this client id by its permanent id; return whether the cancel was sent."""
        for trade in self._ib.openTrades():
            if str(trade.order.permId) == venue_order_id and trade.order.clientId == self._ib.client.clientId:
                self._ib.cancelOrder(trade.order)
                return True
        return False

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Return the open orders of all clients."""
        async with self._asking:
            listed = await self._ib.reqAllOpenOrdersAsync()
        return tuple(self._shown(trade) for trade in listed if trade.order.account == self.account)

    def _shown(self, trade: Trade) -> VenueOrder:
        order, status = trade.order, trade.orderStatus
        instrument = instrument_of(trade.contract)
        symbol = trade.contract.localSymbol if instrument is None else instrument.symbol
        is_limit = order.orderType in ("LMT", "STP LMT")
        known = self.tracker.orders.get(order.orderRef)
        return VenueOrder(
            order.orderRef,
            str(order.permId),
            symbol,
            self._instruments.find(symbol),
            SIDES[order.action],
            exact(order.totalQuantity),
            exact(status.filled),
            exact(status.avgFillPrice) if status.filled else None,
            status.status,
            status.status not in OUTCOMES,
            exact(order.lmtPrice) if is_limit else None,
            0 if known is None else known.sent_ns,
        )

    async def history(self, since_ns: int) -> tuple[VenueFill, ...]:
        """Return the day's executions since an instant, oldest first; those of the desk are events too."""
        since = datetime.fromtimestamp(since_ns / NANOS_PER_SECOND, UTC)
        found = []
        for fill in await self._ib.reqExecutionsAsync():
            execution, instrument = fill.execution, instrument_of(fill.contract)
            if execution.time < since or instrument is None or execution.acctNumber != self.account:
                continue
            if execution.orderRef in self.tracker.orders:
                self._on_fill(fill)
                self._on_commission(fill)
            found.append(
                VenueFill(
                    execution.execId,
                    str(execution.permId),
                    instrument.symbol,
                    SIDES[execution.side],
                    exact(execution.shares),
                    exact(execution.cumQty),
                    exact(execution.price),
                    to_ns(execution.time),
                    fee_paid(fill.commissionReport) or ZERO,
                )
            )
        return tuple(sorted(found, key=lambda each: each.ts_event_ns))
