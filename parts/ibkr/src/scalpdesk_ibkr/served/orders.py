"""Orders over the TWS socket: requests of clients, and the messages about their orders and executions."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from msgspec import structs

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.fees import trade_date
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.margin.holdings import Holding
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.simulation.orders import (
    BrokerKind,
    BrokerOrder,
    Changes,
    Execution,
    LegRequest,
    OrderClass,
    OrderRequest,
    OrderUpdate,
    Status,
)
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.order_words import AT_CLOSE, ORDER_WORDS, TYPE_OF, needs_limit
from scalpdesk_ibkr.served.accounts import RealizedProfits, account_after
from scalpdesk_ibkr.served.contracts import ComboLeg, ContractBook, Query, instant_of, read_query, time_text
from scalpdesk_ibkr.served.layouts import (
    COMPLETED_ORDER,
    EXECUTION,
    OPEN_ORDER,
    PLACED_CLEARING,
    PLACED_HEAD,
    PLACED_HEDGE,
    PLACED_TERMS,
    PLACED_TRAIL,
    error_message,
)
from scalpdesk_ibkr.served.wire import Field, Message, Reader, TwsError, number_of

_LIFETIMES = {"": TimeInForce.DAY} | {each.name: each for each in TimeInForce if each is not TimeInForce.CLS}
_STATUSES = {
    Status.PENDING_NEW: messages.PRE_SUBMITTED,
    Status.ACCEPTED: messages.PRE_SUBMITTED,
    Status.HELD: messages.PRE_SUBMITTED,
    Status.NEW: messages.SUBMITTED,
    Status.PARTIALLY_FILLED: messages.SUBMITTED,
    Status.PENDING_REPLACE: messages.SUBMITTED,
    Status.PENDING_CANCEL: messages.PENDING_CANCEL,
    Status.FILLED: messages.FILLED,
    Status.CANCELED: messages.CANCELLED,
    Status.EXPIRED: messages.CANCELLED,
    Status.REPLACED: messages.CANCELLED,
    Status.REJECTED: messages.INACTIVE,
}
_CODES = {
    Cause.SUB_PENNY: 110,
    Cause.UNKNOWN_ASSET: 200,
    Cause.MALFORMED: 321,
    Cause.UNKNOWN_ORDER: 10147,
    Cause.CLOSED_ORDER: 10148,
}
REJECTED, _OFF_TICK, _MISMATCH, _NOT_MODIFIED = 201, 110, 105, 329
"""An order that is refused; refusals of a modification, which leave the order alive at a client."""
ENDS = {
    Status.CANCELED: (202, "Order Canceled - reason:"),
    Status.EXPIRED: (202, "Order Canceled - reason:"),
    Status.REJECTED: (REJECTED, "Order rejected - reason:"),
}
"""Error that comes with the end of an order."""
INVALID = "Error validating request:-"
_OFF_TICK_TEXT = "The price does not conform to the minimum price variation for this contract."
_DUPLICATE = "Duplicate order id"
NOT_SERVED = ("ocaGroup", "goodAfterTime", "deltaNeutralOrderType", "hedgeType", "algoStrategy", "conditions")
"""Terms of an order that the broker does not know."""

Values = dict[str, Field | Message]
Send = Callable[[int, Callable[[int], Message]], None]
"""Sends a message, written for the version of its connection, to the client of an id if it is connected."""


class _Placement(NamedTuple):
    """An order as its client asks for it."""

    query: Query
    legs: tuple[ComboLeg, ...]
    texts: dict[str, str]
    is_what_if: bool
    action: str
    quantity: Decimal
    type_name: str
    limit: Decimal | None
    auxiliary: Decimal | None
    """Trigger of a stop, distance of a trailing stop, currency per unit."""
    percent: Decimal | None
    """Distance of a trailing stop, percent of the price."""

    @property
    def side(self) -> Side:
        """Side of the order."""
        return Side.BUY if self.action == "BUY" else Side.SELL

    @property
    def sign(self) -> int:
        """-1 for a sold combo: the broker counts its net price as paid."""
        return -1 if self.legs and self.side is Side.SELL else 1


def _read_placement(reader: Reader, version: int, contracts: ContractBook) -> _Placement:
    """Read a placeOrder message (3) up to the number of its conditions."""
    query = read_query(reader)
    texts, legs = PLACED_HEAD.read(version, reader.text), tuple[ComboLeg, ...]()
    if query.kind == messages.COMBO:
        legs = contracts.read_legs(reader, in_order=True)
        reader.texts(reader.whole("number of leg prices"))
        reader.texts(2 * reader.whole("number of routing parameters"))
    texts |= PLACED_TERMS.read(version, reader.text)
    reader.texts(8 * bool(texts["deltaNeutralOrderType"]))
    texts |= PLACED_TRAIL.read(version, reader.text)
    reader.texts(7 * ((number_of(texts["scaleIncrement"], "scaleIncrement") or 0) > 0))
    texts |= PLACED_HEDGE.read(version, reader.text)
    reader.texts(bool(texts["hedgeType"]))
    texts |= PLACED_CLEARING.read(version, reader.text)
    reader.texts(3 * (texts["deltaNeutral"] == "1"))
    texts["algoStrategy"] = reader.text()
    if texts["algoStrategy"]:
        reader.texts(2 * reader.whole("number of algo parameters"))
    reader.text()
    is_what_if, tail = reader.flag("whatIf"), reader.rest()
    # miscOptions, solicited, randomizeSize and randomizePrice come before it
    texts["conditions"] = tail[4].strip("0") if len(tail) > 4 else ""
    return _Placement(
        query,
        legs,
        texts,
        is_what_if,
        texts["action"],
        number_of(texts["totalQuantity"], "totalQuantity") or ZERO,
        texts["orderType"].upper(),
        number_of(texts["lmtPrice"], "lmtPrice"),
        number_of(texts["auxPrice"], "auxPrice"),
        number_of(texts["trailingPercent"], "trailingPercent"),
    )


@dataclass(slots=True, eq=False)
class _PlacedOrder:
    """An order as its client knows it: over modifications one id, though the broker replaces its order."""

    client_id: int
    order_id: int
    """Unique for each client; 0 for an order of the broker itself."""
    perm_id: int
    account: str
    number: InstrumentId | None
    """None for a combo."""
    side: Side
    terms: Values
    """Fields of openOrder that stay: contract, type, account, reference."""
    sign: int = 1
    """-1 for a sold combo, whose prices the broker counts as paid."""
    steps: list[BrokerOrder] = field(default_factory=list)
    """The broker's orders, each of which replaces the one before it."""

    @property
    def now(self) -> BrokerOrder:
        """The broker's present order."""
        return self.steps[-1]

    def before(self, order: BrokerOrder) -> tuple[Decimal, Decimal]:
        """Return what steps before an order have filled, and its value."""
        names = [step.order_id for step in self.steps]
        earlier = self.steps[: names.index(order.order_id)]
        return sum((step.filled for step in earlier), ZERO), sum((step.value for step in earlier), ZERO)


class _Standing(NamedTuple):
    """State of an order for its client."""

    status: str
    quantity: Decimal
    filled: Decimal
    average: Decimal
    """Mean price of what is filled; 0 before the first fill."""


def _standing_of(placed: _PlacedOrder, order: BrokerOrder | None = None) -> _Standing:
    """Return the state of an order; ``order`` is the broker's as of an instant, by default the present."""
    order = order or placed.now
    filled, value = placed.before(order)
    quantity, filled, value = filled + order.quantity, filled + order.filled, value + order.value
    status = _STATUSES[order.status]
    if order.status is Status.NEW and (order.waits_for_stop or order.lifetime is TimeInForce.CLS):
        status = messages.PRE_SUBMITTED
    return _Standing(status, quantity, filled, placed.sign * value / filled if filled else ZERO)


class _Reported(NamedTuple):
    """An execution as it was reported."""

    placed: _PlacedOrder
    trade: Execution
    values: Values
    """Fields of execDetails but for the request's id."""
    realized: Decimal
    due_ns: int
    """When its commission is known, UTC nanoseconds."""


def perm_id_of(text: str) -> int:
    """Return a permanent id, unique and never 0."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % (2**31 - 2) + 1


def _kind(wanted: _Placement) -> tuple[BrokerKind, Decimal | None, TimeInForce | None]:
    """Return type, limit and lifetime of an order by its names at the venue."""
    name, lifetime = wanted.type_name, _LIFETIMES.get(wanted.texts["tif"].upper())
    if needs_limit(name) and wanted.limit is None:
        raise TwsError(321, f"{INVALID} a limit price is missing")
    if name in AT_CLOSE:
        lifetime = TimeInForce.CLS if lifetime is TimeInForce.DAY else None
    limit = None if wanted.limit is None else wanted.limit * wanted.sign
    match TYPE_OF.get(name):
        case "limit":
            return OrderType.LIMIT, limit, lifetime
        case "market":
            return OrderType.MARKET, None, lifetime
        case "stop" | "stop_limit":
            if wanted.auxiliary is None:
                raise TwsError(321, f"{INVALID} the stop price (auxPrice) is missing")
            return Stop(wanted.auxiliary), limit if needs_limit(name) else None, lifetime
        case "trailing_stop":
            distance = wanted.percent or wanted.auxiliary
            if distance is None:
                raise TwsError(321, f"{INVALID} the trailing amount (auxPrice) is missing")
            return Trailing(distance, is_percent=bool(wanted.percent)), None, lifetime
    raise TwsError(321, f"{INVALID} order type {name} is not served")


def _type_name(order: BrokerOrder) -> str:
    return ORDER_WORDS[order.kind.name_with(order.limit_price)].usual


class TwsOrders:
    """The orders of all clients.

    ``codes``: The vendor's account codes, each with the broker's name of the account.
    ``send``: Sends a message to a client.
    """

    def __init__(
        self,
        world: SimulatedMarket,
        contracts: ContractBook,
        codes: Mapping[str, str],
        profits: RealizedProfits,
        send: Send,
    ) -> None:
        self._world, self._contracts, self._profits, self._send = world, contracts, profits, send
        self._names = codes
        self._codes = {name: code for code, name in codes.items()}
        self._placed: dict[tuple[int, int], _PlacedOrder] = {}
        self._largest: dict[int, int] = {}
        """Largest order id that each client used."""
        self._by_broker_id: dict[str, _PlacedOrder] = {}
        self._executions: dict[str, _Reported] = {}
        """By the vendor's id: a corrected one has an id of its own."""
        self._execution_ids: dict[str, str] = {}
        """The vendor's execution ids by the broker's."""
        self.commission_delay_ns = 0
        """Market time from an execution to its commission report, nanoseconds."""
        self.binds = False
        """Whether orders of the broker itself belong to client 0 from now on."""
        world.on_update(self._on_update)

    def next_id(self, client_id: int) -> int:
        """Return the next order id of a client: above all that it ever used."""
        return self._largest.get(client_id, 0) + 1

    # requests ---------------------------------------------------------------------------------------

    def place(self, client_id: int, version: int, order_id: int, reader: Reader) -> None:
        """Take a new order, the modification of one that works, or a what-if order (message 3)."""
        wanted = _read_placement(reader, version, self._contracts)
        known = None if wanted.is_what_if else self._placed.get((client_id, order_id))
        if known is not None:
            self._modify(known, wanted)
            return
        if order_id < self.next_id(client_id) and not wanted.is_what_if:
            raise TwsError(103, _DUPLICATE)
        code = wanted.texts["account"] or next(iter(self._names))
        request, number = self._request(wanted, code)
        account = self._names[code]
        placed = _PlacedOrder(
            client_id,
            order_id,
            perm_id_of(f"{client_id}|{order_id}|{self._world.options.salt}"),
            account,
            number,
            wanted.side,
            self._terms(wanted, code, number),
            wanted.sign,
        )
        if wanted.is_what_if:
            self._tell(placed, lambda at: self._what_if(placed, wanted, request, at))
            return
        try:
            order = self._world.broker.submit(account, request)
        except Refused as refused:
            self._refuse(placed, wanted.quantity, refused)
            return
        self._largest[client_id] = order_id
        placed.steps.append(order)
        self._placed[client_id, order_id] = self._by_broker_id[order.order_id] = placed

    def _request(self, wanted: _Placement, code: str) -> tuple[OrderRequest, InstrumentId | None]:
        """Return the broker's request for an order, and its instrument, None for a combo.

        Raises TwsError when the venue would not take it as it is written.
        """
        kind, limit, lifetime = _kind(wanted)
        texts = wanted.texts
        if wanted.action not in ("BUY", "SELL", messages.SELL_SHORT):
            raise TwsError(321, f"{INVALID} the side {wanted.action} is not BUY or SELL")
        if wanted.quantity <= 0:
            raise TwsError(434, "The order size cannot be zero")
        if wanted.quantity % 1:
            raise TwsError(10243, "Fractional-sized order cannot be placed via API.")
        if lifetime is None:
            raise TwsError(321, f"{INVALID} the time in force is not served")
        if code not in self._names:
            raise TwsError(321, f"{INVALID} unknown account {code}")
        held = texts["transmit"] == "0" or texts["parentId"] not in ("", "0")
        found = next((name for name in NOT_SERVED if texts[name]), "transmit, parentId" if held else "")
        if found:
            raise TwsError(321, f"{INVALID} {found}: such orders are not served")
        instruments, ref = self._world.ledger.instruments, texts["orderRef"]
        is_taken = ref in self._world.ledger.accounts[self._names[code]].by_client_id
        number = None if wanted.legs else self._contracts.only(wanted.query)
        legs = []
        for leg in wanted.legs:
            self._world.quote(leg.number)
            side = leg.side if wanted.sign > 0 else Side.SELL if leg.side is Side.BUY else Side.BUY
            legs.append(LegRequest(instruments[leg.number].symbol, leg.ratio, side))
        if number is not None:
            self._world.quote(number)
            if instruments[number].is_index:
                raise TwsError(REJECTED, "Order rejected - reason:an index is not tradable")
        # the broker knows extended hours for such orders alone; at TWS the flag may stand on any
        outside = texts["outsideRth"] == "1" and kind is OrderType.LIMIT and lifetime is TimeInForce.DAY
        request = OrderRequest(
            instruments[number if number is not None else wanted.legs[0].number].symbol,
            None if legs else wanted.side,
            kind,
            lifetime,
            wanted.quantity,
            limit_price=limit,
            extended_hours=outside and number is not None and not instruments[number].is_option,
            client_order_id=None if is_taken else ref or None,  # the broker takes a name once
            structure=OrderClass.MLEG if legs else OrderClass.SIMPLE,
            legs=tuple(legs),
        )
        return request, number

    def _terms(self, wanted: _Placement, code: str, number: InstrumentId | None) -> Values:
        """Return the fields of openOrder that a modification does not change."""
        terms: Values = {
            "action": wanted.action,
            "orderType": wanted.type_name,
            "tif": wanted.texts["tif"].upper() or "DAY",
            "account": code,
            "orderRef": wanted.texts["orderRef"],
            "outsideRth": wanted.texts["outsideRth"] or "0",
        }
        if number is not None:
            return terms | {"contract": self._contracts.fields(number)}
        described = ",".join(f"{leg.fields[0]}|{leg.side.sign * leg.ratio}" for leg in wanted.legs)
        legs = (len(wanted.legs), *(text for leg in wanted.legs for text in leg.fields))
        contract = self._contracts.combo_fields(wanted.legs)
        return terms | {"contract": contract, "comboLegsDescrip": described, "legs": legs}

    def _refuse(self, placed: _PlacedOrder, quantity: Decimal, refused: Refused) -> None:
        """Answer an order that the broker does not take."""
        code = _CODES.get(refused.cause, REJECTED)
        if code != REJECTED:
            raise TwsError(code, _OFF_TICK_TEXT if code == _OFF_TICK else f"{INVALID} {refused.reason}")
        self._largest[placed.client_id] = placed.order_id
        self._tell_error(placed, REJECTED, f"Order rejected - reason:{refused.reason}")
        end = _Standing(messages.INACTIVE, quantity, ZERO, ZERO)
        self._tell(placed, lambda _: self._order_status(placed, end))

    def _modify(self, known: _PlacedOrder, wanted: _Placement) -> None:
        """Replace the broker's order under the same id.

        A client takes any other code than these for the order's end; what was changed at the client is
        changed back by the messages that follow.
        """
        if not known.now.is_open:
            is_filled = known.now.status is Status.FILLED
            raise TwsError(*(104, "Cannot modify a filled order") if is_filled else (103, _DUPLICATE))
        try:
            order = self._replace(known, self._changes(known, wanted))
        except (Refused, TwsError) as error:
            code = error.code if isinstance(error, TwsError) else _NOT_MODIFIED
            if isinstance(error, Refused) and error.cause is Cause.SUB_PENNY:
                code = _OFF_TICK
            self._tell_error(known, code, f"Order modify failed: {error}")
            self._show(known)
            return
        known.steps.append(order)
        self._by_broker_id[order.order_id] = known

    def _replace(self, known: _PlacedOrder, changes: Changes) -> BrokerOrder:
        """Return the order in place of the present one; one that waits for the opening is sent again."""
        broker, now = self._world.broker, known.now
        if now.status is not Status.ACCEPTED:
            return broker.replace(known.account, now.order_id, changes)
        kind = now.kind
        if isinstance(kind, Stop):
            kind = Stop(changes.stop_price or kind.trigger)
        elif isinstance(kind, Trailing):
            kind = Trailing(changes.trail or kind.distance, is_percent=kind.is_percent)
        request = structs.replace(
            now.request,
            kind=kind,
            lifetime=changes.lifetime or now.lifetime,
            quantity=changes.quantity,
            limit_price=changes.limit_price,
            client_order_id=None,
        )
        order = broker.submit(known.account, request)
        broker.cancel(known.account, now.order_id)
        return order

    def _changes(self, known: _PlacedOrder, wanted: _Placement) -> Changes:
        """Return the changes that a modification asks for, the broker's quantity without earlier steps'.

        Raises TwsError when it is another order, or no more than is filled.
        """
        kind, limit, lifetime = _kind(wanted)
        is_combo = known.number is None
        is_same = bool(wanted.legs) if is_combo else known.number in self._contracts.find(wanted.query)
        if wanted.action != known.terms["action"] or not is_same:
            raise TwsError(_MISMATCH, "Order being modified does not match original order")
        if wanted.type_name != known.terms["orderType"]:
            raise TwsError(_NOT_MODIFIED, "Order modify failed. Cannot change to the new order type.")
        filled = _standing_of(known).filled
        if wanted.quantity <= filled:
            raise TwsError(_MISMATCH, f"Order quantity {wanted.quantity} is not above the filled {filled}")
        trigger = kind.trigger if isinstance(kind, Stop) else None
        trail = kind.distance if isinstance(kind, Trailing) else None
        earlier, _ = known.before(known.now)
        return Changes(wanted.quantity - earlier, lifetime, limit, trigger, trail)

    def cancel(self, client_id: int, order_id: int) -> None:
        """Cancel an order of a client (message 4)."""
        placed = self._placed.get((client_id, order_id))
        if placed is None:
            raise TwsError(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        self._cancel(placed)

    def cancel_all(self) -> None:
        """Cancel the orders of all clients (message 58)."""
        for placed in tuple(self._open()):
            if placed.order_id:
                self._cancel(placed)

    def _cancel(self, placed: _PlacedOrder) -> None:
        try:
            self._world.broker.cancel(placed.account, placed.now.order_id)
        except Refused as refused:
            raise _late_cancel(placed, _CODES.get(refused.cause, 161)) from None

    def _all(self) -> Iterator[_PlacedOrder]:
        return iter(dict.fromkeys(self._by_broker_id.values()))

    def _open(self) -> Iterator[_PlacedOrder]:
        return (placed for placed in self._all() if placed.now.is_open)

    def show_open(self, client_id: int, version: int, *, of_all: bool = False) -> Iterator[Message]:
        """Yield the open orders of a client, or of all, each with its status, and the end (5, 16)."""
        for placed in self._open():
            if of_all or placed.client_id == client_id:
                yield self._open_order(placed, version)
                yield self._order_status(placed)
        yield 53, 1

    def show_completed(self, version: int, *, of_clients: bool) -> Iterator[Message]:
        """Yield the orders that are over, of all or of API clients alone, and the end (99)."""
        for placed in self._all():
            if not placed.now.is_open and (placed.order_id or not of_clients):
                yield self._completed_order(placed, version)
        yield (102,)

    def show_executions(self, version: int, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the day's executions of all clients that fit a filter, and the end (7)."""
        client_id = reader.whole("clientId")
        code, since, symbol, kind, venue, side = reader.texts(6)
        now_ns = self._world.now_ns
        today = to_new_york(now_ns).date()
        since_ns = instant_of(since) if since else 0
        if since_ns is None:
            raise TwsError(321, f"{INVALID} {since} is no time")
        for placed, trade, values, realized, due_ns in self._executions.values():
            contract = values["contract"]
            assert isinstance(contract, tuple)
            if (
                client_id in (0, placed.client_id)
                and code in ("", self._codes[placed.account])
                and symbol in ("", contract[1])
                and kind in ("", contract[2])
                and venue in ("", messages.SMART, values["exchange"])
                and side.upper() in ("", trade.side.name, values["side"])
                and trade.ts_ns >= since_ns
                and to_new_york(trade.ts_ns).date() == today
            ):
                yield 11, *EXECUTION.write(version, {"requestId": request_id, **values})
                if due_ns <= now_ns and trade.instrument_id is not None:
                    yield self._commission(trade, realized)
        yield 55, 1, request_id

    def names_of(self, trade: Execution) -> tuple[str, str, str]:
        """Return an execution's id, its order's permanent id and reference, as messages name them."""
        parent = self._world.ledger.orders[trade.order_id].parent
        placed = self._by_broker_id.get(trade.order_id) or self._by_broker_id.get(parent or "")
        execution_id = self._execution_ids.get(trade.execution_id, trade.execution_id)
        if placed is None:
            return execution_id, "", ""
        return execution_id, str(placed.perm_id), str(placed.terms.get("orderRef", ""))

    # what the broker reports ------------------------------------------------------------------------

    def _on_update(self, update: OrderUpdate) -> None:
        order, event = update.order, update.event
        placed = self._by_broker_id.get(order.order_id) or self._adopted(order)
        if placed is None:
            return
        if update.execution is not None:
            if event == "trade_bust":
                self._take_back(update.execution.execution_id)
            else:
                self._report_fill(placed, update)
        elif order.order_id != placed.now.order_id:
            return
        elif event == "order_cancel_rejected":
            late = _late_cancel(placed, _CODES[Cause.CLOSED_ORDER])
            self._tell_error(placed, late.code, str(late))
        elif order.status is Status.REJECTED and len(placed.steps) > 1:
            placed.steps.pop()
            self._tell_error(placed, _NOT_MODIFIED, f"Order modify failed: {order.reject_reason}")
            self._show(placed)
        elif order.status in ENDS:
            code, why = ENDS[order.status]
            self._tell_error(placed, code, why + (order.reject_reason or ""))
            end = _standing_of(placed, order)
            self._tell(placed, lambda _: self._order_status(placed, end))
        else:
            if order.status is Status.ACCEPTED:
                opens = time_text(self._world.source.hours.next_open_ns(self._world.now_ns))
                text = f"Order Message: your order will not be placed at the exchange until {opens}."
                self._tell_error(placed, 399, text)
            self._show(placed, order)

    def _adopted(self, order: BrokerOrder) -> _PlacedOrder | None:
        """Return an order that the broker itself places, of client 0 if that binds; None for another one."""
        if order.instrument_id is None or order.parent is not None:
            return None
        live = self._world.broker.order(order.account, order.order_id)
        order_id = self.next_id(0) if self.binds else 0
        terms: Values = {
            "contract": self._contracts.fields(order.instrument_id),
            "action": order.side.name,
            "orderType": _type_name(live),
            "tif": order.lifetime.name,
            "account": self._codes[order.account],
        }
        perm_id = perm_id_of(order.order_id)
        adopted = _PlacedOrder(0, order_id, perm_id, order.account, order.instrument_id, order.side, terms)
        adopted.steps.append(live)
        if order_id:
            self._largest[0] = order_id
            self._placed[0, order_id] = adopted
        return self._by_broker_id.setdefault(order.order_id, adopted)

    def _report_fill(self, placed: _PlacedOrder, update: OrderUpdate) -> None:
        """Report a trade: that of the order, its status, those of a combo's legs, then the commissions."""
        whole, standing = update.execution, _standing_of(placed, update.order)
        assert whole is not None
        if whole.corrects is not None:
            self._take_back(whole.corrects)
        reported = []
        for trade in (whole, *update.leg_executions):
            if trade is not whole:
                leg = self._world.ledger.orders[trade.order_id]
                figures = trade.cumulative, leg.average or trade.price
            else:
                figures = standing.filled, standing.average
            reported.append(self._note(placed, trade, figures, update.position_quantity))
        first, *legs = reported
        self._tell_trade(placed, first)
        self._tell(placed, lambda _: self._order_status(placed, standing, whole.price * placed.sign))
        for each in legs:
            self._tell_trade(placed, each)
        for each in reported:
            if each.trade.instrument_id is None:
                continue
            if self.commission_delay_ns:
                self._world.ledger.at(each.due_ns, partial(self._tell_commission, each))
            else:
                self._tell_commission(each)

    def _note(
        self,
        placed: _PlacedOrder,
        trade: Execution,
        figures: tuple[Decimal, Decimal],
        held_after: Decimal | None,
    ) -> _Reported:
        """Keep an execution with the fields of its message; ``figures`` are filled in all and mean price."""
        before = self._execution_ids.get(trade.corrects or "", f"{trade.execution_id}.00")
        root, _, last = before.rpartition(".")
        execution_id = f"{root}.{int(last) + 1:02d}"
        self._execution_ids[trade.execution_id] = execution_id
        number, sign, side = trade.instrument_id, 1, trade.side
        contract = placed.terms["contract"]
        if number is None:
            sign, side = placed.sign, placed.side
        else:
            contract = self._contracts.fields(number)
        values: Values = {
            "orderId": placed.order_id,
            "contract": contract,
            "execId": execution_id,
            "time": time_text(trade.ts_ns),
            "account": self._codes[placed.account],
            "exchange": messages.SMART,
            "side": messages.BOUGHT if side is Side.BUY else messages.SOLD,
            "shares": trade.quantity,
            "price": trade.price * sign,
            "permId": placed.perm_id,
            "clientId": placed.client_id,
            "liquidation": int(self._world.ledger.orders[trade.order_id].is_forced),
            "cumQty": figures[0],
            "avgPrice": figures[1],
            "orderRef": placed.terms.get("orderRef", ""),
        }
        realized = ZERO if number is None else self._profits.book(trade, held_after)
        due_ns = trade.ts_ns + self.commission_delay_ns
        made = self._executions[execution_id] = _Reported(placed, trade, values, realized, due_ns)
        return made

    def _take_back(self, broker_execution_id: str) -> None:
        """Forget an execution that no longer stands."""
        found = self._executions.pop(self._execution_ids.get(broker_execution_id, ""), None)
        if found is not None:
            self._profits.take_back(found.trade)

    def _show(self, placed: _PlacedOrder, order: BrokerOrder | None = None) -> None:
        self._tell(placed, lambda version: self._open_order(placed, version, order))
        standing = _standing_of(placed, order)
        self._tell(placed, lambda _: self._order_status(placed, standing))

    def _tell_trade(self, placed: _PlacedOrder, each: _Reported) -> None:
        self._tell(placed, lambda version: (11, *EXECUTION.write(version, {"requestId": -1, **each.values})))

    def _tell_commission(self, each: _Reported) -> None:
        self._tell(each.placed, lambda _: self._commission(each.trade, each.realized))

    def _tell_error(self, placed: _PlacedOrder, code: int, text: str) -> None:
        self._tell(placed, lambda version: error_message(version, placed.order_id, code, text))

    def _tell(self, placed: _PlacedOrder, write: Callable[[int], Message]) -> None:
        if placed.order_id:
            self._send(placed.client_id, write)

    # messages ---------------------------------------------------------------------------------------

    def _order_status(
        self, placed: _PlacedOrder, standing: _Standing | None = None, last_price: Decimal = ZERO
    ) -> Message:
        """Return an orderStatus message (3)."""
        at = standing or _standing_of(placed)
        amounts = at.filled, at.quantity - at.filled, at.average, placed.perm_id, 0, last_price
        return 3, placed.order_id, at.status, *amounts, placed.client_id, "", 0

    def _commission(self, trade: Execution, realized: Decimal) -> Message:
        """Return a commissionReport message (59)."""
        assert trade.instrument_id is not None
        currency = self._world.ledger.instruments[trade.instrument_id].currency
        return 59, 1, self._execution_ids[trade.execution_id], trade.fee, currency, realized, 0, ""

    def _values(self, placed: _PlacedOrder, order: BrokerOrder | None) -> Values:
        """Return contract, terms and state of an order, as openOrder and completedOrder show them."""
        order = order or placed.now
        at, kind = _standing_of(placed, order), order.kind
        stop = kind.trigger if isinstance(kind, Stop) else ZERO
        values: Values = {
            **placed.terms,
            "permId": placed.perm_id,
            "totalQuantity": at.quantity,
            "lmtPrice": (order.limit_price or ZERO) * placed.sign,
            "auxPrice": stop,
            "status": at.status,
        }
        if isinstance(kind, Trailing):
            values["trailingPercent" if kind.is_percent else "auxPrice"] = kind.distance
            values["trailStopPrice"] = order.stop_price
        return values

    def _open_order(self, placed: _PlacedOrder, version: int, order: BrokerOrder | None = None) -> Message:
        """Return an openOrder message (5)."""
        values = self._values(placed, order) | {"orderId": placed.order_id, "clientId": placed.client_id}
        return 5, *OPEN_ORDER.write(version, values)

    def _completed_order(self, placed: _PlacedOrder, version: int) -> Message:
        """Return a completedOrder message (101)."""
        now = placed.now
        values = self._values(placed, now)
        ended: Values = {
            "filledQuantity": _standing_of(placed).filled,
            "completedTime": time_text(now.updated_ns),
            "completedStatus": now.reject_reason or values["status"],
        }
        return 101, *COMPLETED_ORDER.write(version, values | ended)

    def _what_if(
        self, placed: _PlacedOrder, wanted: _Placement, request: OrderRequest, version: int
    ) -> Message:
        """Return an openOrder message with the margin that an order would take, and its commission."""
        ledger = self._world.ledger
        account, instruments = ledger.accounts[placed.account], ledger.instruments
        parts = [(instruments.id_of(leg.symbol), leg.side, leg.ratio) for leg in request.legs]
        if placed.number is not None:
            parts = [(placed.number, placed.side, Decimal(1))]
        lines, fee = [], ZERO
        for number, side, ratio in parts:
            item, quantity = instruments[number], ratio * wanted.quantity
            price = None
            if not request.legs:
                price = request.limit_price or request.kind.trigger_price(None, side.sign)
            price = price or self._far_price(number, side)
            fee += ledger.fees.on(trade_date(ledger.now_ns)).fee(item, side, quantity, price)
            lines.append((number, Holding(item, side.sign * quantity, price)))
        before, at = (
            ledger.margin.figures(each) for each in (account, account_after(ledger, account, lines, fee))
        )
        values: Values = dict(placed.terms) | {
            "orderId": placed.order_id,
            "clientId": placed.client_id,
            "permId": placed.perm_id,
            "totalQuantity": wanted.quantity,
            "lmtPrice": wanted.limit or ZERO,
            "auxPrice": wanted.auxiliary or ZERO,
            "whatIf": 1,
            "status": messages.PRE_SUBMITTED,
            "commission": fee,
            "minCommission": fee,
            "maxCommission": fee,
            "commissionCurrency": account.currency,
        }
        for name, was, is_now in (
            ("initMargin", before.initial_margin, at.initial_margin),
            ("maintMargin", before.maintenance_margin, at.maintenance_margin),
            ("equity", before.equity, at.equity),
        ):
            values[f"{name}Before"], values[f"{name}After"] = round(was, 2), round(is_now, 2)
            values[f"{name}Change"] = round(is_now - was, 2)
        refused = ledger.margin.refusal(account, [line for _, line in lines])
        values["warningText"] = "" if refused is None else refused.reason
        return 5, *OPEN_ORDER.write(version, values)

    def _far_price(self, number: InstrumentId, side: Side) -> Decimal:
        """Return the price at which a market order would trade; the mark without a quote of that side."""
        quote = self._world.quote(number)
        far = 0.0 if quote is None else (quote.ask if side is Side.BUY else quote.bid)
        return exact_price(far) if far > 0 else self._world.ledger.mark(number)


def _late_cancel(placed: _PlacedOrder, code: int) -> TwsError:
    state = _standing_of(placed).status
    return TwsError(
        code, f"OrderId {placed.order_id} that needs to be cancelled cannot be cancelled, state: {state}."
    )
