"""The order path to TWS: orders, combos, cancels, and what TWS says of them.

An order carries its desk's id as ``orderRef``. TWS answers no request: the order's state comes as messages,
and silence leaves it unknown. What became of it is read from the open orders, the completed orders and the
executions together; an order in none of them was never there. Nothing is sent twice.

A combo (BAG) is one order under the id of the whole. What messages say of orders is in
:mod:`scalpdesk_ibkr.order_messages`, what they report of trades in :mod:`scalpdesk_ibkr.executions`.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import assert_never

from ib_async import Contract, Order, Trade
from ib_async.util import UNSET_DOUBLE

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderType,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.venues.bounds import is_figure
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns
from scalpdesk.venues.contract import KnownOrder, NoticeKind, VenueOrder, VenueSetup
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import (
    Answering,
    Found,
    OrderPath,
    RequestFate,
    VenueAnswer,
    urgency_of_command,
)
from scalpdesk.venues.tracker import (
    MAY_FILL,
    OrderReport,
    OrderTracker,
    Outcome,
    TrackedOrder,
)
from scalpdesk_ibkr import codes
from scalpdesk_ibkr.connection import QuietClient, TwsConnection, log_in
from scalpdesk_ibkr.contracts import Contracts
from scalpdesk_ibkr.executions import Executions, exact, leg_id, side_of
from scalpdesk_ibkr.order_messages import OrderMessages
from scalpdesk_ibkr.order_words import ORDER_WORDS, needs_limit

_REQUESTS_PER_MINUTE = 45 * 60
_LAPSE = 2
"""Action of an exercise request: not to exercise."""


class IbkrOrders:
    """Answers for TWS; implements :class:`scalpdesk.venues.order_path.OrderWire`.

    TWS answers no request: an order is shown by its messages, or proves silent at the end of the time-out.

    ``setup``: Instruments, times, limits and fees.
    """

    takes_id_once = False
    doubts_whole_combo = False

    def __init__(
        self, connection: TwsConnection, contracts: Contracts, setup: VenueSetup, publisher: EventPublisher
    ) -> None:
        self._connection, self._ib = connection, connection.ib
        self._contracts, self._setup, self._publisher = contracts, setup, publisher
        self._instruments = setup.instruments
        quotes = publisher.queue.quotes
        self.tracker = OrderTracker(setup.instruments, setup.fees, are_stated=True, quotes=quotes)
        a_minute = setup.requests_per_minute or _REQUESTS_PER_MINUTE
        self.path = OrderPath(
            self,
            tracker=self.tracker,
            publisher=publisher,
            budget=RequestBudget(a_minute, max(a_minute // 60, 1)),
            timeout_seconds=setup.timeout_seconds,
            acceptance_seconds=setup.acceptance_seconds,
        )
        self._executions = Executions(connection, contracts, setup, publisher, self.path)
        self._messages = OrderMessages(connection, contracts, publisher, self.path, self._executions)
        self.doubt_unanswered, self.history = self._messages.doubt_unanswered, self._executions.history
        self._asking = asyncio.Lock()
        """Held while TWS lists orders: the library keeps one list of a kind."""
        self._notices: set[int] = set()
        """Request ids of exercise notices, which TWS lists as orders."""

    def opened(self, account: str) -> None:
        """Take an account's positions and executions that a login has listed as the state to follow from."""
        self._executions.account = account
        self._executions.count_positions()

    def in_use(self) -> list[InstrumentId]:
        """Return the instruments with a position or an order at work."""
        live = [order.submitted.instrument_id for order in self.tracker.orders.values() if not order.ended]
        symbols = (
            self._contracts.instrument(line.contract) for line in self._ib.positions(self._executions.account)
        )
        held = (self._instruments.find(item.symbol) for item in symbols if item is not None)
        return list(dict.fromkeys([*live, *(number for number in held if number is not None)]))

    def place(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> VenueAnswer | None:
        """Send an order; TWS shows it by messages, or stays silent."""
        name = command.client_order_id
        if not self.path.may_leave(urgency_of_command(command), is_up=self._connection.is_up):
            return VenueAnswer(RequestFate.NOT_SENT)
        if any(each.order.orderRef == name for each in self._ib.trades()):  # TWS would take it again
            for order in orders:
                order.answered_ns = loop_ns()
                self._messages.doubt(order, "sent before")
            self._messages.ask_for(orders[0])
        elif isinstance(command, SubmitOrder):
            self._place(orders, self._contracts.of(command.instrument_id), self._terms(command))
        else:
            self._place_combo(orders, self._combo_terms(command))
        return None

    def show(self, orders: list[TrackedOrder], shown: str) -> str:
        """Publish that TWS shows an order under the id ``shown``."""
        for order in orders:
            at_ns = self._publisher.timestamp()
            self.path.publish(self.tracker.accept(order, shown, at_ns, at_ns))
        return ""

    def _terms(self, command: SubmitOrder) -> Order:
        is_closing = command.time_in_force is TimeInForce.CLS
        words = ORDER_WORDS[command.type_name]
        trigger = UNSET_DOUBLE
        match command.order_type:
            case Stop(trigger=price):
                trigger = float(price)
            case OrderType.MARKET | OrderType.LIMIT:
                pass
            case kind:
                assert_never(kind)
        return Order(
            action=command.side.name,
            totalQuantity=float(command.quantity),
            orderType=(words.at_close if is_closing else words.usual) or words.usual,
            tif="DAY" if is_closing else command.time_in_force.name,
            account=self._executions.account,
            orderRef=command.client_order_id,
            lmtPrice=UNSET_DOUBLE if command.limit_price is None else float(command.limit_price),
            auxPrice=trigger,
        )

    def _combo_terms(self, command: MultiLegOrder) -> Order:
        """Return the order for a combo: one set is bought, whose legs have their own sides."""
        price = command.net_limit_price
        return Order(
            action="BUY",
            totalQuantity=float(command.sets),
            orderType=ORDER_WORDS["market" if price is None else "limit"].usual,
            tif=command.time_in_force.name,
            account=self._executions.account,
            orderRef=command.client_order_id,
            lmtPrice=UNSET_DOUBLE if price is None else float(price),
        )

    def _place_combo(self, legs: list[TrackedOrder], wanted: Order) -> None:
        sets = exact(wanted.totalQuantity)
        numbers = [leg.submitted.instrument_id for leg in legs]
        parts = [
            (leg.submitted.instrument_id, int(leg.submitted.quantity / sets), leg.submitted.side.name)
            for leg in legs
        ]

        async def name_legs() -> None:
            try:
                await self._contracts.qualify(numbers)
            except RetryError as error:
                self._publisher.refuse("requests", "unknown_leg", str(error)[:200])
            is_named = all(self._contracts.of(number).conId for number in numbers)
            if is_named and self._connection.is_up and self.path.is_open:
                self._place(legs, self._contracts.combo(parts), wanted)
            else:
                self.path.not_sent(legs)

        if all(self._contracts.of(number).conId for number in numbers):
            self._place(legs, self._contracts.combo(parts), wanted)
        else:
            self.path.spawn(name_legs())

    def _place(self, orders: list[TrackedOrder], contract: Contract, wanted: Order) -> None:
        self._ib.placeOrder(contract, wanted)
        asyncio.get_running_loop().call_later(self._setup.timeout_seconds, self._look_for, orders)

    def _look_for(self, orders: list[TrackedOrder]) -> None:
        """Put orders in doubt that TWS has not shown in time, and ask for them."""
        silent = [order for order in orders if not order.accepted and not order.ended]
        for order in orders:
            order.answered_ns = order.answered_ns or loop_ns()
        for order in silent:
            self._messages.doubt(
                order, f"TWS did not show the order within {self._setup.timeout_seconds:g} s"
            )
        if silent and self.path.is_open:
            self._messages.ask_for(silent[0])

    def cancel(self, order: TrackedOrder) -> Answering:
        """Cancel an order; one that another client id has placed over a login of its own."""
        if order.ended:
            return None
        trade = self._trade(self._ref(order))
        if not self._connection.is_up or not self.path.is_open:
            return self._lost_cancel(order, "TWS is not connected")
        if trade is None:
            return self._cancel_elsewhere(order)
        self.path.budget.take(Urgency.CANCEL, loop_ns())
        self._connection.client.cancelOrder(trade.order.orderId, "")
        return VenueAnswer(RequestFate.TAKEN)

    async def _cancel_elsewhere(self, order: TrackedOrder) -> VenueAnswer:
        """Cancel an order that this client id has not placed, if TWS shows it at all."""
        try:
            listed = await self._list_open()
            found = [trade for trade in listed if trade.order.orderRef == self._ref(order)]
            if any([await self._cancel_trade(trade) for trade in found]):
                return VenueAnswer(RequestFate.TAKEN)
        except RetryError as error:
            self._publisher.refuse("requests", "cancel_failed", str(error)[:200])
        return self._lost_cancel(order, "TWS does not show the order")

    @staticmethod
    def _lost_cancel(order: TrackedOrder, why: str) -> VenueAnswer:
        """Return what a cancel that ended nothing means: an order that TWS has never shown is in doubt."""
        return VenueAnswer(RequestFate.REFUSED if order.accepted else RequestFate.UNKNOWN, why)

    def _ref(self, order: TrackedOrder) -> str:
        """Return the name under which TWS has an order: of a leg its combo's."""
        return order.parent_id or order.submitted.client_order_id

    def _trade(self, name: str) -> Trade | None:
        """Return an order of this client id as the library follows it; the latest of a name."""
        mine = self._ib.client.clientId
        for trade in reversed(self._ib.trades()):
            if trade.order.orderRef == name and trade.order.clientId == mine and trade.order.orderId > 0:
                return trade
        return None

    def adopted(self, orders: Sequence[KnownOrder]) -> None:
        """Note names of earlier client ids."""
        self._executions.adopted |= {each.parent_id or each.submitted.client_order_id for each in orders}

    async def _list_open(self) -> list[Trade]:
        """Return the open orders of all clients in the account."""
        async with self._asking:
            listed = await self._connection.question(self._ib.reqAllOpenOrdersAsync, "open orders")
        return [trade for trade in listed if self._is_order(trade)]

    def _is_order(self, trade: Trade) -> bool:
        """Return whether an entry of the list is an order in the account, and no exercise that waits."""
        is_notice = any(self._is_notice(trade, request_id) for request_id in self._notices)
        return trade.order.account in ("", self._executions.account) and not is_notice

    async def let_go(self, number: InstrumentId, contracts: Decimal, timeout_seconds: float) -> None:
        """Let bought contracts lapse at their expiry whatever they are worth; TWS shows it as an order.

        Raises RetryError when TWS refuses, or does not show it in time.
        """
        symbol, client = self._instruments[number].symbol, self._connection.client
        request_id, answered = client.getReqId(), asyncio.get_running_loop().create_future()
        self._notices.add(request_id)

        def refused(failed_id: int, code: int, text: str, _contract: Contract | None) -> None:
            if failed_id == request_id and code in codes.NO_EXERCISE and not answered.done():
                answered.set_result(f"{code}: {text}")

        def shown(trade: Trade) -> None:
            if self._is_notice(trade, request_id) and not answered.done():
                answered.set_result("")

        events = (self._ib.errorEvent, refused), (self._ib.openOrderEvent, shown)
        for event, heard in events:
            event.connect(heard)
        try:
            contract = self._contracts.of(number)
            client.exerciseOptions(request_id, contract, _LAPSE, int(contracts), self._executions.account, 1)
            async with asyncio.timeout(timeout_seconds):
                why = await answered
        except TimeoutError:
            why = "TWS does not answer"
        finally:
            for event, heard in events:
                event.disconnect(heard)
        if why:
            raise RetryError(
                "the venue does not take the contrary instruction",
                where=symbol,
                value=why,
                fix="tell the broker by hand before its cut-off, or sell the option",
            )

    def _is_notice(self, trade: Trade, request_id: int) -> bool:
        return trade.order.orderId == request_id and trade.order.clientId == self._ib.client.clientId

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether TWS lists an order or execution of the day under an id."""
        async with self._asking:
            ask = self._connection.question
            listed = [*await ask(self._ib.reqAllOpenOrdersAsync, "open orders")]
            listed += await ask(partial(self._ib.reqCompletedOrdersAsync, apiOnly=False), "completed orders")
            fills = await ask(self._executions.listed, "executions")
        shown = [trade.order.orderRef for trade in listed] + [fill.execution.orderRef for fill in fills]
        return client_order_id in shown

    async def look_up(self, order: TrackedOrder) -> Found:
        """Look for an order in all that TWS lists."""
        asked_ns, unread, question = loop_ns(), self._connection.unread, self.tracker.ask()
        try:
            async with self._asking, asyncio.timeout(self._setup.timeout_seconds):
                shown = list(await self._ib.reqAllOpenOrdersAsync())
                completed = list(await self._ib.reqCompletedOrdersAsync(apiOnly=False))
                fills = await self._executions.listed()
        except (TimeoutError, ConnectionError) as problem:
            self._publisher.refuse("requests", "query_failed", repr(problem)[:200])
            return Found.UNCLEAR
        name = self._ref(order)
        for fill in fills:
            if fill.execution.orderRef == name and self._executions.owner(fill) is not None:
                self._executions.on_fill(fill, question)
                self._executions.on_commission(fill, question)
        is_found = False
        for trade in shown:
            if self._stands_for(trade, order, name):
                is_found = True
                self._messages.apply_open(trade, asked_ns, question)
        for trade in completed:
            if self._stands_for(trade, order, name):
                is_found = True
                for each, report in self._messages.reports(trade, is_completed=True):
                    self.path.report(each, report, infer=True, question=question)
        if is_found or order.ended:
            return Found.SHOWN
        if self._connection.unread != unread:
            return Found.UNCLEAR  # it may be what could not be read
        why = self._messages.refusal(name)
        if not why:
            return Found.ABSENT
        now_ns = self._publisher.timestamp()
        for each in self.tracker.together(order):
            gone = OrderReport("", "", now_ns, Outcome.REJECTED, each.covered, None, why)
            self.path.report(each, gone, infer=False)
        return Found.SHOWN

    def _stands_for(self, trade: Trade, order: TrackedOrder, name: str) -> bool:
        """Return whether an order that TWS lists is an order of the desk, known by its name at TWS."""
        perm_id = order.venue_order_id.partition("-")[0]
        is_own = not trade.order.orderId or self._executions.is_own(name, trade.order.clientId)
        return trade.order.orderRef == name and is_own and perm_id in ("", str(trade.order.permId))

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order by its permanent id; return whether the cancel was sent, or the order is over."""
        perm_id = venue_order_id.partition("-")[0]
        found = [trade for trade in await self._list_open() if str(trade.order.permId) == perm_id]
        return all([await self._cancel_trade(trade) for trade in found])

    async def _cancel_trade(self, trade: Trade) -> bool:
        """Cancel an open order of any client.

        Only the client id that placed an order may cancel it. Where its program has ended, that id is taken
        for a moment; where it is connected, only the cancel of all orders of all clients is left.
        """
        owner = trade.order.clientId
        self.path.budget.take(Urgency.CANCEL, loop_ns())
        if owner == self._ib.client.clientId and trade.order.orderId > 0:
            self._connection.client.cancelOrder(trade.order.orderId, "")
            return True
        client, timeout, side = self._ib.client, self._setup.timeout_seconds, QuietClient()
        try:
            await log_in(side, client.host, client.port, owner, timeout)
            mine = [each for each in side.openTrades() if each.order.permId == trade.order.permId]
            for each in mine:
                side.cancelOrder(each.order)
            async with asyncio.timeout(timeout):
                await side.reqCurrentTimeAsync()  # the cancel has arrived before it
        except (OSError, TimeoutError, ConfigError, RetryError):
            self._publisher.notice(
                NoticeKind.LIMITED, "orders", "global_cancel", f"client {owner} is connected"
            )
            self._connection.client.reqGlobalCancel()
            return True
        finally:
            side.disconnect()
        return bool(mine)

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Return the open orders of all clients, combos as their legs."""
        asked_ns, found = loop_ns(), list[VenueOrder]()
        for trade in await self._list_open():
            is_own = self._executions.is_own(trade.order.orderRef, trade.order.clientId)
            for order, report in self._messages.reports(trade) if is_own else ():
                self.path.judge_cancel(order, report.outcome, asked_ns)
            if trade.contract.secType == "BAG":
                found += await self._legs(trade)
            else:
                found.append(self._show(trade))
        return tuple(found)

    def _show(self, trade: Trade) -> VenueOrder:
        order, status = trade.order, trade.orderStatus
        instrument = self._contracts.instrument(trade.contract)
        symbol = trade.contract.localSymbol if instrument is None else instrument.symbol
        is_limit = needs_limit(order.orderType)
        name = order.orderRef
        if not self._executions.is_own(name, order.clientId) and name in self.tracker.orders:
            name = f"{name}/{order.clientId}"  # another client uses the desk's name
        known = self.tracker.orders.get(name)
        return VenueOrder(
            name,
            str(order.permId),
            symbol,
            self._instruments.find(symbol),
            side_of(order.action),
            exact(order.totalQuantity) if is_figure(order.totalQuantity) else ZERO,
            exact(status.filled),
            exact(status.avgFillPrice) if status.filled else None,
            status.status,
            self._messages.outcome(trade, is_completed=False) in MAY_FILL,
            exact(order.lmtPrice) if is_limit else None,
            0 if known is None else known.sent_ns,
        )

    async def _legs(self, trade: Trade) -> list[VenueOrder]:
        """Return the legs of an open combo, the desk's under their names."""
        order, status, found = trade.order, trade.orderStatus, []
        for leg in trade.contract.comboLegs or ():
            instrument: Instrument | None = await self._contracts.by_id(leg.conId)
            symbol = str(leg.conId) if instrument is None else instrument.symbol
            known = self.tracker.leg(order.orderRef, symbol)
            side = side_of(leg.action)
            if side_of(order.action) is Side.SELL:
                side = Side.SELL if side is Side.BUY else Side.BUY
            found.append(
                VenueOrder(
                    known.submitted.client_order_id if known else f"{order.orderRef}/{symbol}",
                    leg_id(order.permId, leg.conId),
                    symbol,
                    self._instruments.find(symbol),
                    side,
                    exact(order.totalQuantity) * leg.ratio,
                    exact(status.filled) * leg.ratio,
                    None,
                    status.status,
                    self._messages.outcome(trade, is_completed=False) in MAY_FILL,
                    None,
                    known.sent_ns if known else 0,
                    parent_id=order.orderRef,
                )
            )
        return found
