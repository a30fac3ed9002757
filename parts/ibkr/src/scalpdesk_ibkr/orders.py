"""The order path to TWS: orders, combos, cancels, and what TWS says of them.

An order carries its desk's id as ``orderRef``. TWS answers no request: the order's state comes as messages,
and silence leaves it unknown. What became of it is read from the open orders, the completed orders and the
executions together; an order in none of them was never there. Nothing is sent twice.

A combo (BAG) is one order under the id of the whole; its executions name their legs. An execution is booked
with the schedule's fee and corrected by its commission report; one whose id differs only behind its last dot
takes the place of the one before it.

What a status means, and what the desk does, is a table in :mod:`scalpdesk_ibkr.codes`. An error never
ends an order by itself: it says why. Whether the order is over say the lists of TWS.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import assert_never

from ib_async import Contract, Fill, Order, Position, Trade
from ib_async.objects import CommissionReport
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
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.venues.bounds import is_amount, is_figure
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns
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
from scalpdesk_ibkr.order_words import ORDER_WORDS, needs_limit

_REQUESTS_PER_MINUTE = 45 * 60
_SIDES = {
    "BUY": Side.BUY,
    "BOT": Side.BUY,
    "SELL": Side.SELL,
    "SLD": Side.SELL,
    "SSHORT": Side.SELL,
    "SLONG": Side.SELL,
}
"""Sides of orders and executions; the last two are sales of an institution's account."""
_ID_JUMP = 1_000
"""Order ids that are left out after TWS has called one a duplicate (103)."""
_LAPSE = 2
"""Action of an exercise request: not to exercise."""
AGREE_SECONDS = 1.0
"""Until a position that TWS shows agrees with the executions: either may come first."""


def exact(value: float | Decimal | None) -> Decimal:
    """Return a number of ib_async as it stood in the message.

    Raises
    ------
    RetryError
        When it is beyond all bounds: the vendor's "no value" too.
    """
    found = Decimal(str(value)).normalize()
    if not is_amount(found):
        raise RetryError("TWS sends a number beyond all bounds", where="amount", value=str(value))
    return found + ZERO


def _fee_paid(report: CommissionReport) -> Decimal | None:
    """Return what a commission report charges; None for an empty one, and one without an amount."""
    return exact(report.commission) if report.execId and is_figure(report.commission) else None


def _root_of(execution_id: str) -> str:
    """Return the part of an execution's id that its corrections keep.

    >>> _root_of("0001f4e5.65e.01.02"), _root_of("plain")
    ('0001f4e5.65e.01', 'plain')
    """
    return execution_id.rpartition(".")[0] or execution_id


def _side_of(label: str) -> Side:
    """Return the side of an order or execution.

    Raises RetryError when TWS names a side that its pages do not list.
    """
    if label not in _SIDES:
        raise RetryError("TWS names a side that is not known", where="action, side", value=label)
    return _SIDES[label]


def _leg_id(perm_id: int | str, con_id: int) -> str:
    """Return the venue's id of a combo's leg: the order's and the contract's."""
    return f"{perm_id}-{con_id}"


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
        self._question = 0
        """Number of the latest question for executions."""
        a_minute = setup.requests_per_minute or _REQUESTS_PER_MINUTE
        self.path = OrderPath(
            self,
            tracker=self.tracker,
            publisher=publisher,
            budget=RequestBudget(a_minute, max(a_minute // 60, 1)),
            timeout_seconds=setup.timeout_seconds,
            acceptance_seconds=setup.acceptance_seconds,
        )
        self.account = ""
        self._asking = asyncio.Lock()
        """Held while TWS lists orders: the library keeps one list of a kind."""
        self._adopted: set[str] = set()
        """Names of orders of an earlier life, whose client id may have been another one."""
        self._errors: dict[str, tuple[int, str]] = {}
        """Code and text of the error that says why an order ended, by its name at TWS."""
        self._reported: set[tuple[str, str, str]] = set()
        self._notices: set[int] = set()
        """Request ids of exercise notices, which TWS lists as orders."""
        """Orders that the operator has heard of, with their status and why TWS holds them."""
        self._net: defaultdict[int, Decimal] = defaultdict(Decimal)
        self._shown: dict[int, Decimal] = {}
        self._counted: set[str] = set()
        """Executions in the first, by the part of their ids that a correction keeps."""
        """Positions by contract id: by executions, and as TWS showed them last."""
        connection.listen("openOrderEvent", self._on_trade)
        connection.listen("orderStatusEvent", self._on_trade)
        connection.listen("execDetailsEvent", lambda _, fill: self._on_fill(fill))
        connection.listen(
            "commissionReportEvent", lambda _, fill, __: self._on_commission(fill, self._question)
        )
        connection.listen("positionEvent", self._on_position)
        connection.listen("errorEvent", self._on_error)

    def doubt_unanswered(self) -> None:
        """Put in doubt each order that TWS has not answered: the connection broke."""
        why = "the connection broke before TWS showed the order"
        for order in self.tracker.orders.values():
            if not order.accepted and not order.ended:
                self._doubt(order, why)

    def count_positions(self) -> None:
        """Take the positions and executions that a login has listed as the state to follow from."""
        self._counted = {_root_of(fill.execution.execId) for fill in self._ib.fills()}
        held = {line.contract.conId: exact(line.position) for line in self._ib.positions(self.account)}
        self._net, self._shown = defaultdict(Decimal, held), dict(held)

    def in_use(self) -> list[InstrumentId]:
        """Return the instruments with a position or an order at work."""
        live = [order.submitted.instrument_id for order in self.tracker.orders.values() if not order.ended]
        symbols = (self._contracts.instrument(line.contract) for line in self._ib.positions(self.account))
        held = (self._instruments.find(item.symbol) for item in symbols if item is not None)
        return list(dict.fromkeys([*live, *(number for number in held if number is not None)]))

    def _doubt(self, order: TrackedOrder, why: str) -> None:
        if order.answered_ns is None:
            order.answered_ns = loop_ns()
        if not order.unknown:
            self.path.doubt([order], why)

    # commands ---------------------------------------------------------------------------------------

    def place(self, command: SubmitOrder | MultiLegOrder, orders: list[TrackedOrder]) -> VenueAnswer | None:
        """Send an order; TWS shows it by messages, or stays silent."""
        name = command.client_order_id
        if not self.path.may_leave(urgency_of_command(command), is_up=self._connection.is_up):
            return VenueAnswer(RequestFate.NOT_SENT)
        if any(each.order.orderRef == name for each in self._ib.trades()):  # TWS would take it again
            for order in orders:
                order.answered_ns = loop_ns()
                self._doubt(order, "sent before")
            self._ask_for(orders[0])
        elif isinstance(command, SubmitOrder):
            self._place(orders, self._contracts.of(command.instrument_id), self._terms(command))
        else:
            self._place_combo(orders, self._combo_terms(command))
        return None

    def _ask_for(self, order: TrackedOrder) -> None:
        self.path.spawn(self.path.query_order(order.submitted.client_order_id))

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
            account=self.account,
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
            account=self.account,
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
            self._doubt(order, f"TWS did not show the order within {self._setup.timeout_seconds:g} s")
        if silent and self.path.is_open:
            self._ask_for(silent[0])

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

    # messages ---------------------------------------------------------------------------------------

    def _on_trade(self, trade: Trade) -> None:
        """Apply the state of an order; its executions come by themselves."""
        if trade.order.clientId != self._ib.client.clientId or not self._connection.is_synced:
            return  # what a login lists is looked at by the reconciliation that follows it
        rule = codes.rule_of(trade.orderStatus.status)
        for order, report in self._reports(trade):
            is_short = report.outcome not in MAY_FILL and report.filled > order.covered
            if rule.deed is codes.Deed.ASK or is_short:
                # the error that says why may come behind it, and so may executions that it counts
                self._ask_soon(order)
            elif trade.order.permId and rule.deed is codes.Deed.FOLLOW:
                self.path.report(order, report, infer=False)
                self._report_held(trade)
        self._look_at_the_dead(trade, rule)

    def _look_at_the_dead(self, trade: Trade, rule: codes.StatusRule) -> None:
        """Ask for reconciliation where TWS works an order that is over at the desk: it was not over."""
        left = trade.orderStatus.remaining
        is_live = rule.deed is codes.Deed.FOLLOW and rule.outcome is Outcome.OPEN
        if not is_live or left in (0, UNSET_DOUBLE):
            return
        for order, units in self._orders_of(trade):
            filled = exact(trade.orderStatus.filled) * units
            if order.ended and not order.busted_ns and order.covered <= filled < order.submitted.quantity:
                name = order.submitted.client_order_id
                self._publisher.notice(NoticeKind.GAP, "orders", "order_lives_on", name)

    def _ask_soon(self, order: TrackedOrder) -> None:
        """Ask for an order after a moment, whose end something is about to explain."""
        asyncio.get_running_loop().call_later(AGREE_SECONDS, self._ask_now, order, "TWS leaves it open")

    def _ask_now(self, order: TrackedOrder, why: str) -> None:
        if not order.ended and self.path.is_open:
            self.path.spawn(self._ask(order, why))

    async def _ask(self, order: TrackedOrder, why: str) -> None:
        """Ask for an order; one that TWS's lists leave open is in doubt."""
        if not await self.path.query_order(order.submitted.client_order_id):
            self._doubt(order, why)

    def _orders_of(self, trade: Trade) -> Iterator[tuple[TrackedOrder, Decimal]]:
        """Yield the desk's orders that an order of TWS stands for, with units in a set."""
        name = trade.order.orderRef
        if legs := self.tracker.legs(name):
            sets = exact(trade.order.totalQuantity) or Decimal(1)
            for leg in legs:
                yield leg, leg.submitted.quantity / sets
            return
        order = self.tracker.orders.get(name)
        if order is not None:
            yield order, Decimal(1)

    def _outcome(self, trade: Trade, *, is_completed: bool) -> Outcome:
        """Return what may become of an order: by the list that shows it, its status, and errors."""
        status, code = trade.orderStatus.status, self._errors.get(trade.order.orderRef, (0, ""))[0]
        if is_completed:
            return codes.COMPLETED.get(status, Outcome.CANCELLED)
        if status == "Inactive" and code in codes.REFUSALS:
            return Outcome.REJECTED
        return codes.rule_of(status).outcome

    def _reports(self, trade: Trade, *, is_completed: bool = False) -> list[tuple[TrackedOrder, OrderReport]]:
        """Return what the state of an order means for the desk's orders that are not over."""
        status, at_ns = trade.orderStatus, self._publisher.timestamp()
        outcome = self._outcome(trade, is_completed=is_completed)
        filled = exact(status.filled)
        if not filled and trade.order.filledQuantity not in (0, UNSET_DOUBLE):
            filled = exact(trade.order.filledQuantity)  # of a completed order
        why = "" if outcome in (Outcome.OPEN, Outcome.CANCELLING) else self._why(trade)
        found = []
        for order, units in self._orders_of(trade):
            if order.ended:
                continue
            perm_id = str(trade.order.permId)
            if order.parent_id:
                perm_id = _leg_id(perm_id, self._contracts.of(order.submitted.instrument_id).conId)
            own = min(filled * units, order.submitted.quantity)
            mean = exact(status.avgFillPrice) if not order.parent_id and status.filled else None
            name = order.submitted.client_order_id
            found.append((order, OrderReport(name, perm_id, at_ns, outcome, own, mean, why)))
        return found

    def _why(self, trade: Trade) -> str:
        """Return the words with which TWS ended an order, or shows it."""
        status, (_, why) = trade.orderStatus, self._errors.get(trade.order.orderRef, (0, ""))
        return why or f"{status.status} {status.whyHeld}".strip()

    def _is_own(self, name: str, client_id: int) -> bool:
        """Return whether a name is this desk's: another client may use the same one."""
        return client_id == self._ib.client.clientId or name in self._adopted

    def _owner(self, fill: Fill) -> TrackedOrder | None:
        """Return the desk's order of an execution; None for one of somebody else's."""
        execution, contract = fill.execution, fill.contract
        if not self._is_own(execution.orderRef, execution.clientId):
            return None
        if legs := self.tracker.legs(execution.orderRef):
            ids = {self._contracts.of(leg.submitted.instrument_id).conId: leg for leg in legs}
            item, leg = self._contracts.instrument(contract), ids.get(contract.conId)
            if leg is None and item is not None:
                leg = self.tracker.leg(execution.orderRef, item.symbol)
            return None if contract.secType == "BAG" else leg
        return self.tracker.orders.get(execution.orderRef)

    def _on_fill(self, fill: Fill, question: int | None = None) -> None:
        """Publish an execution of the desk with the schedule's fee; ``question`` as in the tracker."""
        execution = fill.execution
        if fill.contract.secType == "BAG" or execution.acctNumber != self.account:
            return  # the legs have executions of their own
        order = self._owner(fill)
        if order is None:
            self._publisher.notice(NoticeKind.GAP, "orders", "foreign_execution", fill.contract.localSymbol)
            return
        if not order.venue_order_id:
            perm_id = str(execution.permId)
            is_leg = bool(order.parent_id)
            perm_id = _leg_id(perm_id, fill.contract.conId) if is_leg else perm_id
            self.tracker.bind(order.submitted.client_order_id, perm_id)
        at_ns = to_ns(execution.time)
        root, now_ns = _root_of(execution.execId), self._publisher.timestamp(at_ns)
        versions = [known for known in order.executions if _root_of(known) == root]
        if any(known > execution.execId for known in versions):
            return  # corrected since
        quantity, price = exact(execution.shares), exact(execution.price)
        terms = execution.execId, quantity, price
        filled = None if order.parent_id else exact(execution.cumQty)
        earlier = [known for known in versions if known < execution.execId]
        if earlier:
            stamps = "corrected", at_ns, now_ns
            events = self.tracker.correct(
                order, earlier[0], *terms, *stamps, cumulative=filled, question=question
            )
            if execution.execId in order.executions:
                self._publisher.count("execution_corrected")
        elif filled is None:
            events = self.tracker.next_execution(order, *terms, at_ns, now_ns, question=question)
        else:
            events = self.tracker.execution(order, *terms, filled, at_ns, now_ns, question=question)
        if root not in self._counted and execution.execId in order.executions:
            self._counted.add(root)
            self._net[fill.contract.conId] += quantity * order.submitted.side.sign
        self.path.publish(events)

    def _on_commission(self, fill: Fill, question: int | None = None) -> None:
        """Correct the fee of an execution of the desk; ``question`` as in the tracker."""
        order, paid = self._owner(fill), _fee_paid(fill.commissionReport)
        if order is None or paid is None:
            return
        currency = fill.commissionReport.currency
        if currency not in ("", self._instruments[order.submitted.instrument_id].currency):
            key = fill.execution.execId, "fee", currency
            if key not in self._reported:
                self._reported.add(key)
                detail = f"execution {key[0]} charges {paid} {currency}: the schedule's fee stays booked"
                self._publisher.refuse("orders", "fee_in_other_currency", detail)
            return
        at_ns = to_ns(fill.execution.time)
        now_ns, name = self._publisher.timestamp(at_ns), fill.execution.execId
        events = self.tracker.fee_reported(order, name, paid, at_ns, now_ns, question=question)
        if self.tracker.is_fee_refused(order, name):
            fill.commissionReport.execId = ""  # the library keeps it: only a report that comes anew counts
        self.path.publish(events)

    def _on_position(self, line: Position) -> None:
        """Ask for reconciliation where a position moves without an execution of this client.

        The broker's liquidation, an exercise and an order from elsewhere send this client nothing else.
        """
        con_id, shown = line.contract.conId, exact(line.position)
        if line.account != self.account or not self._connection.is_synced:
            return  # what a login lists is counted once the account is known
        self._shown[con_id] = shown
        if self._net[con_id] != shown:
            asyncio.get_running_loop().call_later(AGREE_SECONDS, self._agree, line.contract, shown)

    def _agree(self, contract: Contract, shown: Decimal) -> None:
        con_id = contract.conId
        if self._shown.get(con_id) != shown or self._net[con_id] == shown:  # a later one is checked by itself
            return
        self._net[con_id] = shown
        self._publisher.count("position_from_elsewhere")
        if self.path.is_open:
            name = contract.localSymbol or contract.symbol
            self._publisher.notice(NoticeKind.GAP, "orders", "position_from_elsewhere", name)

    def _on_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        """Apply an error that names an order; the library has marked that one as it sees fit."""
        del contract
        trade = self._ib.wrapper.trades.get((self._ib.client.clientId, request_id))
        if request_id < 0 or trade is None:
            return
        name = codes.name_of(code)
        self._publisher.count(name)
        why = f"{code} {name}: {text}"
        orders = [order for order, _ in self._orders_of(trade) if not order.ended]
        if codes.is_remark(code):
            if code in codes.NAMES:  # the connection tells what no table lists
                self._publisher.tell("orders", name, why)
            for order in orders[:1]:
                self._ask_for(order)
            return
        if code in codes.NO_CANCEL:
            for order in orders:
                self.path.reject_cancel(order, why)
        else:
            self._keep_error(trade.order.orderRef, code, why)
            if code not in codes.REFUSALS and code != codes.CANCELLED:
                for order in orders:
                    self._doubt(order, why)
        if code in codes.USED_IDS and not trade.order.permId:
            self._connection.client.updateReqId(request_id + _ID_JUMP)
        for order in orders[:1]:  # its legs are asked for with it
            if code == codes.CANCELLED:
                self._ask_soon(order)
            else:
                self._ask_now(order, why)

    def _keep_error(self, name: str, code: int, why: str) -> None:
        """Keep what an error says of an order; a refusal is not forgotten for what follows from it."""
        if self._errors.get(name, (0, ""))[0] not in codes.REFUSALS:
            self._errors[name] = code, why

    # questions --------------------------------------------------------------------------------------

    def adopted(self, orders: Sequence[KnownOrder]) -> None:
        """Note names of earlier client ids."""
        self._adopted |= {each.parent_id or each.submitted.client_order_id for each in orders}

    async def _list_open(self) -> list[Trade]:
        """Return the open orders of all clients in the account."""
        async with self._asking:
            listed = await self._connection.question(self._ib.reqAllOpenOrdersAsync, "open orders")
        return [trade for trade in listed if self._is_order(trade)]

    def _is_order(self, trade: Trade) -> bool:
        """Return whether an entry of the list is an order in the account, and no exercise that waits."""
        is_notice = any(self._is_notice(trade, request_id) for request_id in self._notices)
        return trade.order.account in ("", self.account) and not is_notice

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
            client.exerciseOptions(request_id, contract, _LAPSE, int(contracts), self.account, 1)
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
            fills = await ask(self._executions, "executions")
        shown = [trade.order.orderRef for trade in listed] + [fill.execution.orderRef for fill in fills]
        return client_order_id in shown

    async def look_up(self, order: TrackedOrder) -> Found:
        """Look for an order in all that TWS lists."""
        asked_ns, unread, question = loop_ns(), self._connection.unread, self.tracker.ask()
        try:
            async with self._asking, asyncio.timeout(self._setup.timeout_seconds):
                shown = list(await self._ib.reqAllOpenOrdersAsync())
                completed = list(await self._ib.reqCompletedOrdersAsync(apiOnly=False))
                fills = await self._executions()
        except (TimeoutError, ConnectionError) as problem:
            self._publisher.refuse("requests", "query_failed", repr(problem)[:200])
            return Found.UNCLEAR
        name = self._ref(order)
        for fill in fills:
            if fill.execution.orderRef == name and self._owner(fill) is not None:
                self._on_fill(fill, question)
                self._on_commission(fill, question)
        is_found = False
        for trade in shown:
            if self._stands_for(trade, order, name):
                is_found = True
                self._apply_open(trade, asked_ns, question)
        for trade in completed:
            if self._stands_for(trade, order, name):
                is_found = True
                for each, report in self._reports(trade, is_completed=True):
                    self.path.report(each, report, infer=True, question=question)
        if is_found or order.ended:
            return Found.SHOWN
        if self._connection.unread != unread:
            return Found.UNCLEAR  # it may be what could not be read
        code, why = self._errors.get(name, (0, ""))
        if code not in codes.REFUSALS:
            return Found.ABSENT
        now_ns = self._publisher.timestamp()
        for each in self.tracker.together(order):
            gone = OrderReport("", "", now_ns, Outcome.REJECTED, each.covered, None, why)
            self.path.report(each, gone, infer=False)
        return Found.SHOWN

    def _stands_for(self, trade: Trade, order: TrackedOrder, name: str) -> bool:
        """Return whether an order that TWS lists is an order of the desk, known by its name at TWS."""
        perm_id = order.venue_order_id.partition("-")[0]
        is_own = not trade.order.orderId or self._is_own(name, trade.order.clientId)
        return trade.order.orderRef == name and is_own and perm_id in ("", str(trade.order.permId))

    def _apply_open(self, trade: Trade, asked_ns: int, question: int) -> None:
        """Apply an order that TWS lists as open; one that it has refused by an error may live on."""
        for order, report in self._reports(trade):
            self.path.report(order, report, infer=True, question=question)
            self.path.judge_cancel(order, report.outcome, asked_ns)
            if report.outcome in MAY_FILL and not order.ended:
                self._errors.pop(trade.order.orderRef, None)
                self._report_held(trade)

    def _report_held(self, trade: Trade) -> None:
        """Tell the operator, once, that TWS holds an order, or shows an unlisted status."""
        status = trade.orderStatus
        key = trade.order.orderRef, status.status, status.whyHeld
        if codes.is_news(status.status, status.whyHeld) and key not in self._reported:
            self._reported.add(key)
            name = "held_order" if status.status in codes.STATUSES else "unknown_status"
            self._publisher.count(name)
            detail = f"{trade.contract.localSymbol} {' '.join(key)}".strip()
            self._publisher.notice(NoticeKind.LIMITED, "orders", name, detail)

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
            is_own = self._is_own(trade.order.orderRef, trade.order.clientId)
            for order, report in self._reports(trade) if is_own else ():
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
        if not self._is_own(name, order.clientId) and name in self.tracker.orders:
            name = f"{name}/{order.clientId}"  # another client uses the desk's name
        known = self.tracker.orders.get(name)
        return VenueOrder(
            name,
            str(order.permId),
            symbol,
            self._instruments.find(symbol),
            _side_of(order.action),
            exact(order.totalQuantity) if is_figure(order.totalQuantity) else ZERO,
            exact(status.filled),
            exact(status.avgFillPrice) if status.filled else None,
            status.status,
            self._outcome(trade, is_completed=False) in MAY_FILL,
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
            side = _side_of(leg.action)
            if _side_of(order.action) is Side.SELL:
                side = Side.SELL if side is Side.BUY else Side.BUY
            found.append(
                VenueOrder(
                    known.submitted.client_order_id if known else f"{order.orderRef}/{symbol}",
                    _leg_id(order.permId, leg.conId),
                    symbol,
                    self._instruments.find(symbol),
                    side,
                    exact(order.totalQuantity) * leg.ratio,
                    exact(status.filled) * leg.ratio,
                    None,
                    status.status,
                    self._outcome(trade, is_completed=False) in MAY_FILL,
                    None,
                    known.sent_ns if known else 0,
                    parent_id=order.orderRef,
                )
            )
        return found

    async def _executions(self) -> list[Fill]:
        """Return the day's executions as TWS states them now, each with the commission that is known."""
        known, self._question = self._ib.wrapper.fills, self.tracker.questions
        found = await self._ib.reqExecutionsAsync()
        first = [known.get(fill.execution.execId, fill) for fill in found]
        pairs = zip(found, first, strict=True)
        return [fill._replace(commissionReport=earlier.commissionReport) for fill, earlier in pairs]

    async def history(self, since_ns: int) -> tuple[VenueFill, ...]:
        """Return the day's executions since an instant, oldest first; those of the desk are events too.

        The last correction of an execution counts.
        """
        since = datetime.fromtimestamp(since_ns / NANOS_PER_SECOND, UTC)
        question = self.tracker.ask()
        asked = self._connection.question(self._executions, "executions")
        latest: dict[str, Fill] = {}
        for fill in await asked:  # in the order in which they happened, within a second too
            execution = fill.execution
            if execution.acctNumber != self.account or fill.contract.secType == "BAG":
                continue
            root = _root_of(execution.execId)
            if root not in latest or latest[root].execution.execId < execution.execId:
                latest[root] = fill
        found = []
        in_time = sorted(latest.values(), key=lambda each: to_ns(each.execution.time))
        owned: dict[str, list[Fill]] = {}
        for fill in in_time:
            owner = self._owner(fill)
            if owner is not None:
                self._on_fill(fill, question)
                self._on_commission(fill, question)
                owned.setdefault(owner.submitted.client_order_id, []).append(fill)
        for name, fills in owned.items():
            listed = {fill.execution.execId: exact(fill.execution.shares) for fill in fills}
            now_ns = self._publisher.timestamp()
            if busts := self.tracker.taken_back(self.tracker.orders[name], listed, now_ns):
                self.path.publish(busts)
                for fill in (*fills, *fills):  # once those that are known stand, there is room for the others
                    self._on_fill(fill, question)
                    self._on_commission(fill, question)
        for fill in in_time:
            execution, owner = fill.execution, self._owner(fill)
            if execution.time < since:
                continue
            is_leg = bool(self.tracker.legs(execution.orderRef))
            perm_id, paid = str(execution.permId), _fee_paid(fill.commissionReport)
            shown = VenueFill(
                execution.execId,
                _leg_id(perm_id, fill.contract.conId) if is_leg else perm_id,
                self._symbol(fill, owner),
                _side_of(execution.side) if owner is None else owner.submitted.side,
                exact(execution.shares),
                None if is_leg else exact(execution.cumQty),
                exact(execution.price),
                to_ns(execution.time),
                paid or ZERO,
                bool(execution.liquidation),
            )
            found.append(self.tracker.with_fee(shown) if paid is None else shown)
        return tuple(found)

    def _symbol(self, fill: Fill, owner: TrackedOrder | None) -> str:
        """Return the symbol of an execution, TWS's own one of what the desk cannot name."""
        if owner is not None:
            return self.tracker.symbol(owner)
        instrument = self._contracts.instrument(fill.contract)
        return fill.contract.localSymbol if instrument is None else instrument.symbol
