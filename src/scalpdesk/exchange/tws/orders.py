"""Orders over the TWS socket: requests of clients, and the messages about their orders and executions."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.exchange.tws.contracts import ContractBook, read_query
from scalpdesk.exchange.tws.wire import Field, Reader, TwsError, error_message
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.simulation.orders import (
    BrokerKind,
    BrokerOrder,
    Changes,
    Execution,
    OrderRequest,
    OrderUpdate,
    Status,
)

LIFETIMES = {"": TimeInForce.DAY} | {each.name: each for each in TimeInForce}
STATUSES = {
    Status.PENDING_NEW: "PreSubmitted",
    Status.ACCEPTED: "PreSubmitted",
    Status.HELD: "PreSubmitted",
    Status.NEW: "Submitted",
    Status.PARTIALLY_FILLED: "Submitted",
    Status.PENDING_REPLACE: "Submitted",
    Status.PENDING_CANCEL: "PendingCancel",
    Status.FILLED: "Filled",
    Status.CANCELED: "Cancelled",
    Status.EXPIRED: "Cancelled",
    Status.REPLACED: "Cancelled",
    Status.REJECTED: "Inactive",
}
CODES = {
    Cause.SUB_PENNY: 110,
    Cause.UNKNOWN_ASSET: 200,
    Cause.UNKNOWN_ORDER: 10147,
    Cause.CLOSED_ORDER: 10148,
}
REJECTED = 201
TAIL_TO_WHAT_IF = 50
"""Fields of a single-leg order between ``hidden`` and ``whatIf``, the profile of an adviser included."""
WITHOUT_PROFILE = 177
"""Version from which orders have no such profile."""

PRICE_REVISION = 178
"""Version from which an execution says whether its price may be revised."""
OPEN_ORDER_GREW = 159, 160, 162, 170, 170, 170, 170, 170
"""Version from which openOrder has one more field."""
ENDS = {
    Status.CANCELED: (202, "Order Canceled - reason:"),
    Status.EXPIRED: (202, "Order Canceled - reason:"),
    Status.REJECTED: (REJECTED, "Order rejected - reason:"),
}
"""Error that comes with the end of an order."""

Message = tuple[Field, ...]
Send = Callable[[int, Callable[[int], Message]], None]
"""Sends a message, written for the version of its connection, to the client of an id if it is connected."""


@dataclass(slots=True, eq=False)
class PlacedOrder:
    """An order as its client knows it: over modifications one id, though the broker replaces its order."""

    client_id: int
    order_id: int
    """Unique for each client; 0 for an order of the broker itself."""
    perm_id: int
    account: str
    number: InstrumentId
    order_ref: str
    steps: list[BrokerOrder] = field(default_factory=list)
    """The broker's orders, each of which replaces the one before it."""

    @property
    def now(self) -> BrokerOrder:
        """The broker's present order."""
        return self.steps[-1]

    @property
    def filled(self) -> Decimal:
        """Quantity that is filled, earlier steps included."""
        return sum((step.filled for step in self.steps), ZERO)

    @property
    def quantity(self) -> Decimal:
        """Quantity asked for in all."""
        return self.filled - self.now.filled + self.now.quantity

    @property
    def average(self) -> Decimal:
        """Mean price of what is filled; 0 before the first fill."""
        value = sum((step.value for step in self.steps), ZERO)
        return value / self.filled if self.filled else ZERO

    @property
    def status(self) -> str:
        """Status in the vendor's words."""
        return STATUSES[self.now.status]


def perm_id_of(broker_id: str) -> int:
    """Return a permanent id, unique and never 0."""
    return int.from_bytes(hashlib.sha256(broker_id.encode()).digest()[:4], "big") % (2**31 - 2) + 1


def time_text(ts_ns: int) -> str:
    """Return an instant with its zone, as ``20210104 09:31:00 US/Eastern``."""
    return f"{to_new_york(ts_ns):%Y%m%d %H:%M:%S} US/Eastern"


def _kind(name: str, limit: Decimal | None, auxiliary: Decimal | None) -> BrokerKind:
    wanted = name.upper()
    if wanted in ("LMT", "STP LMT") and limit is None:
        raise TwsError(321, "Error validating request: a limit price is missing")
    if wanted in ("STP", "STP LMT"):
        if auxiliary is None:
            raise TwsError(321, "Error validating request: the stop price (auxPrice) is missing")
        return Stop(auxiliary)
    if wanted not in ("LMT", "MKT"):
        raise TwsError(321, f"Error validating request: order type {name} is not served")
    return OrderType.LIMIT if wanted == "LMT" else OrderType.MARKET


def _type_name(order: BrokerOrder) -> str:
    if isinstance(order.kind, OrderType):
        return "LMT" if order.kind is OrderType.LIMIT else "MKT"
    return "STP" if order.limit_price is None else "STP LMT"


class TwsOrders:
    """The orders of all clients.

    Parameters
    ----------
    world
        Market and broker.
    contracts
        Names instruments.
    codes
        The vendor's account codes, each with the broker's name of the account.
    send
        Sends a message to a client.
    """

    def __init__(
        self, world: SimulatedMarket, contracts: ContractBook, codes: Mapping[str, str], send: Send
    ) -> None:
        self._world, self._contracts, self._send = world, contracts, send
        self._names = codes
        self._codes = {name: code for code, name in codes.items()}
        self._placed: dict[tuple[int, int], PlacedOrder] = {}
        self._by_broker_id: dict[str, PlacedOrder] = {}
        self._executions: dict[str, tuple[PlacedOrder, Execution]] = {}
        """By the vendor's id: a corrected one has an id of its own."""
        self._execution_ids: dict[str, str] = {}
        """The vendor's execution ids by the broker's."""
        world.on_update(self._on_update)

    def next_id(self, client_id: int) -> int:
        """Return the next order id of a client: above all that it ever used."""
        return max((order_id for client, order_id in self._placed if client == client_id), default=0) + 1

    # requests ---------------------------------------------------------------------------------------

    def place(self, client_id: int, version: int, order_id: int, reader: Reader) -> None:
        """Take a new order, or the modification of one that works (message 3)."""
        query = read_query(reader)
        if query.kind == "BAG":
            raise TwsError(321, "Error validating request: combos are not served")
        reader.texts(2)
        side = Side.BUY if (action := reader.text()) == "BUY" else Side.SELL
        quantity = reader.number("totalQuantity")
        type_name = reader.text()
        limit, auxiliary = reader.number("lmtPrice"), reader.number("auxPrice")
        lifetime = LIFETIMES.get(reader.text().upper())
        reader.text()
        code = reader.text() or next(iter(self._names))
        reader.texts(2)
        order_ref, is_sent, parent_id = reader.text(), reader.flag("transmit"), reader.whole("parentId")
        reader.texts(4)
        outside_hours = reader.flag("outsideRth")
        reader.texts(1 + TAIL_TO_WHAT_IF - (version >= WITHOUT_PROFILE))
        if action not in ("BUY", "SELL", "SSHORT"):
            raise TwsError(321, f"Error validating request: the side {action} is not BUY or SELL")
        if not quantity:
            raise TwsError(434, "The order size cannot be zero")
        if lifetime is None:
            raise TwsError(321, "Error validating request: the time in force is not served")
        if code not in self._names:
            raise TwsError(321, f"Error validating request: unknown account {code}")
        if reader.flag("whatIf") or parent_id or not is_sent:
            raise TwsError(321, "Error validating request: what-if, attached and held orders are not served")
        known = self._placed.get((client_id, order_id))
        if known is not None:
            self._modify(known, Changes(quantity, lifetime, limit, auxiliary))
            return
        if order_id < self.next_id(client_id):
            raise TwsError(103, "Duplicate order id")
        number, account = self._contracts.only(query), self._names[code]
        self._world.quote(number)
        is_taken = order_ref in self._world.ledger.accounts[account].by_client_id
        request = OrderRequest(
            self._world.ledger.instruments[number].symbol,
            side,
            _kind(type_name, limit, auxiliary),
            lifetime,
            quantity,
            limit_price=None if type_name.upper() in ("MKT", "STP") else limit,
            extended_hours=outside_hours,
            client_order_id=None if is_taken else order_ref or None,  # the broker takes a name once
        )
        try:
            order = self._world.broker.submit(account, request)
        except Refused as refused:
            raise _error(refused) from None
        placed = PlacedOrder(
            client_id, order_id, perm_id_of(order.order_id), account, number, order_ref, [order]
        )
        self._placed[client_id, order_id] = self._by_broker_id[order.order_id] = placed
        self._show(placed)

    def _modify(self, known: PlacedOrder, changes: Changes) -> None:
        """Replace the broker's order under the same id."""
        if not known.now.is_open:
            if known.now.status is Status.FILLED:
                raise TwsError(104, "Cannot modify a filled order")
            raise TwsError(103, "Duplicate order id")
        assert changes.quantity is not None
        earlier = known.filled - known.now.filled
        wanted = Changes(
            changes.quantity - earlier, changes.lifetime, changes.limit_price, changes.stop_price
        )
        try:
            order = self._world.broker.replace(known.account, known.now.order_id, wanted)
        except Refused as refused:
            # a client takes any other code for the order's end
            raise TwsError(329, f"Order modify failed: {refused.reason}") from None
        known.steps.append(order)
        self._by_broker_id[order.order_id] = known

    def cancel(self, client_id: int, order_id: int) -> None:
        """Cancel an order of a client (message 4)."""
        placed = self._placed.get((client_id, order_id))
        if placed is None:
            raise TwsError(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        self._cancel(placed)

    def cancel_all(self) -> None:
        """Cancel the orders of all clients (message 58)."""
        for placed in self._open():
            if placed.order_id:
                self._cancel(placed)

    def _cancel(self, placed: PlacedOrder) -> None:
        try:
            self._world.broker.cancel(placed.account, placed.now.order_id)
        except Refused as refused:
            raise TwsError(
                CODES.get(refused.cause, 161),
                f"OrderId {placed.order_id} that needs to be cancelled can not be cancelled, "
                f"state: {placed.status}.",
            ) from None

    def _open(self) -> Iterator[PlacedOrder]:
        shown = dict.fromkeys(self._by_broker_id.values())
        return (placed for placed in shown if placed.now.is_open)

    def show_open(self, client_id: int, version: int, *, of_all: bool = False) -> Iterator[Message]:
        """Yield the open orders of a client, or of all, each with its status, and the end (5, 16)."""
        for placed in self._open():
            if of_all or placed.client_id == client_id:
                yield self._open_order(placed, version)
                yield self._order_status(placed)
        yield 53, 1

    def show_completed(self, version: int) -> Iterator[Message]:
        """Yield the orders of all clients that are over, and the end (99)."""
        for placed in dict.fromkeys(self._by_broker_id.values()):
            if not placed.now.is_open:
                yield self._completed_order(placed, version)
        yield (102,)

    def show_executions(self, version: int, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the day's executions of all clients that fit a filter, and the end (7)."""
        client_id = reader.whole("clientId")
        code, _, symbol, kind, _, side = reader.texts(6)
        for placed, execution in self._executions.values():
            _, its_symbol, its_kind, *_ = self._contracts.fields(placed.number)
            if (
                client_id in (0, placed.client_id)
                and code in ("", self._codes[placed.account])
                and symbol in ("", its_symbol)
                and kind in ("", its_kind)
                and side in ("", execution.side.name)
            ):
                yield self._execution(placed, execution, request_id, version)
                yield self._commission(placed, execution)
        yield 55, 1, request_id

    # what the broker reports ------------------------------------------------------------------------

    def _on_update(self, update: OrderUpdate) -> None:
        order = update.order
        placed = self._by_broker_id.get(order.order_id) or self._adopted(order)
        if placed is None:
            return
        if update.execution is not None and update.event in ("fill", "partial_fill", "trade_correct"):
            self._report_fill(placed, update.execution)
        elif order.order_id != placed.now.order_id:
            return
        elif order.status is Status.REJECTED and len(placed.steps) > 1:
            placed.steps.pop()
            self._tell_error(placed, 329, f"Order modify failed: {order.reject_reason}")
            self._show(placed)
        elif order.status in ENDS:
            code, why = ENDS[order.status]
            self._tell_error(placed, code, why + (order.reject_reason or ""))
            self._tell(placed, lambda _: self._order_status(placed))
        elif order.status is placed.now.status:  # else a later update shows where it has gone since
            self._show(placed)

    def _adopted(self, order: BrokerOrder) -> PlacedOrder | None:
        """Return an order that the broker itself places, of no client; None for another one."""
        if order.instrument_id is None or order.parent is not None:
            return None
        live = self._world.broker.order(order.account, order.order_id)
        adopted = PlacedOrder(
            0, 0, perm_id_of(order.order_id), order.account, order.instrument_id, "", [live]
        )
        return self._by_broker_id.setdefault(order.order_id, adopted)

    def _report_fill(self, placed: PlacedOrder, execution: Execution) -> None:
        before = self._execution_ids.get(execution.corrects or "", f"{execution.execution_id}.00")
        root, _, last = before.rpartition(".")
        execution_id = f"{root}.{int(last) + 1:02d}"
        self._execution_ids[execution.execution_id] = execution_id
        self._executions[execution_id] = placed, execution
        self._tell(placed, lambda version: self._execution(placed, execution, -1, version))
        self._tell(placed, lambda _: self._order_status(placed, execution.price))
        self._tell(placed, lambda _: self._commission(placed, execution))

    def _show(self, placed: PlacedOrder) -> None:
        self._tell(placed, lambda version: self._open_order(placed, version))
        self._tell(placed, lambda _: self._order_status(placed))

    def _tell_error(self, placed: PlacedOrder, code: int, text: str) -> None:
        self._tell(placed, lambda version: error_message(version, placed.order_id, code, text))

    def _tell(self, placed: PlacedOrder, write: Callable[[int], Message]) -> None:
        if placed.order_id:
            self._send(placed.client_id, write)

    # messages ---------------------------------------------------------------------------------------

    def _order_status(self, placed: PlacedOrder, last_price: Decimal = ZERO) -> Message:
        """Return an orderStatus message (3)."""
        left = placed.quantity - placed.filled
        amounts = placed.filled, left, placed.average, placed.perm_id, 0, last_price
        return 3, placed.order_id, placed.status, *amounts, placed.client_id, "", 0

    def _execution(self, placed: PlacedOrder, trade: Execution, request_id: int, version: int) -> Message:
        """Return an execDetails message (11); request id -1 for one that has just happened."""
        con_id, *named = self._contracts.fields(placed.number)
        names = [step.order_id for step in placed.steps]
        before = placed.steps[: names.index(trade.order_id)]
        filled = trade.cumulative + sum((step.filled for step in before), ZERO)
        return (
            *(11, request_id, placed.order_id, con_id, *named),
            *(self._execution_ids[trade.execution_id], time_text(trade.ts_ns), self._codes[placed.account]),
            *("SMART", "BOT" if trade.side is Side.BUY else "SLD", trade.quantity, trade.price),
            *(placed.perm_id, placed.client_id, placed.order_id == 0, filled, placed.average),
            *(placed.order_ref, "", "", "", 2),
            *((0,) if version >= PRICE_REVISION else ()),
        )

    def _commission(self, placed: PlacedOrder, trade: Execution) -> Message:
        """Return a commissionReport message (59)."""
        currency = self._world.ledger.instruments[placed.number].currency
        return 59, 1, self._execution_ids[trade.execution_id], trade.fee, currency, 0, 0, ""

    def _terms(self, placed: PlacedOrder) -> Message:
        """Return contract and terms of an order, up to its reference."""
        now = placed.now
        stop = now.kind.trigger if isinstance(now.kind, Stop) else ZERO
        terms = (
            now.side.name,
            placed.quantity,
            _type_name(now),
            now.limit_price or ZERO,
            stop,
            now.lifetime.name,
        )
        named = self._contracts.fields(placed.number)
        return *named, *terms, "", self._codes[placed.account], "", 0, placed.order_ref

    def _completed_order(self, placed: PlacedOrder, version: int) -> Message:
        """Return a completedOrder message (101)."""
        now = placed.now
        return (
            *(101, *self._terms(placed), placed.perm_id, now.request.extended_hours, 0, 0, "", "", "", ""),
            *(("",) if version < WITHOUT_PROFILE else ()),
            # from modelCode to comboLegsDescrip, then no legs, prices and parameters
            *("", "", "", "", "", 0, "", -1, "", "", "", "", "", 0),
            *(0, 0, "", 0, 0, "", 0, "", "", 0, 0, "", "", "", 0, 0, 0),
            # from scaleInit to nConditions
            *("", "", "", "", "", "", 0, 0, "", 0, placed.status, 0, 0, 0),
            # from trailStopPrice to completedStatus
            *("", "", "", 0, 0, "", placed.filled, "", 0, "", 0, 0, 0),
            *(time_text(now.updated_ns), now.reject_reason or placed.status),
            *[""] * sum(version >= since for since in OPEN_ORDER_GREW[3:]),
        )

    def _open_order(self, placed: PlacedOrder, version: int) -> Message:
        """Return an openOrder message (5)."""
        now = placed.now
        return (
            *(5, placed.order_id, *self._terms(placed), placed.client_id, placed.perm_id),
            *(now.request.extended_hours, 0, 0, "", "", "", "", ""),
            *(("",) if version < WITHOUT_PROFILE else ()),
            # from modelCode to displaySize, then to deltaNeutralAuxPrice
            *("", "", "", "", "", 0, "", -1, 0, "", "", "", "", "", 0),
            *(0, 0, 0, "", 0, 0, 0, "", 0, 0, "", 0, "", ""),
            # from continuousUpdate to comboLegsDescrip, then no legs, prices and parameters
            *(0, 0, "", "", "", "", "", 0, 0, 0),
            # from scaleInit to hedgeType, then from optOut to algoStrategy
            *("", "", "", "", 0, "", "", 0, 0, ""),
            # solicited and whatIf, the status, and what only a what-if answer states
            *(0, 0, placed.status, *[""] * 14, 0, 0),
            # no conditions; from adjustedOrderType to usePriceMgmtAlgo
            *(0, "", "", "", "", "", "", "", 0, "", "", "", "", 0, 0, 0, 0),
            *[""] * sum(version >= since for since in OPEN_ORDER_GREW),
        )


def _error(refused: Refused) -> TwsError:
    code = CODES.get(refused.cause, REJECTED)
    return TwsError(code, f"Order rejected - reason:{refused.reason}" if code == REJECTED else refused.reason)
