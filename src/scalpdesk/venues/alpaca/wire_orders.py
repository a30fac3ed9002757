"""Alpaca's orders on the wire: order objects and trade updates. Pure: no I/O."""

from decimal import Decimal

import msgspec
from msgspec.msgpack import Ext

from scalpdesk.core.intents import Side
from scalpdesk.venues.alpaca.fields import (
    Malformed,
    Refusal,
    amount,
    decode,
    not_negative,
    ns_of,
    positive,
    text,
)

OPEN_STATUSES = frozenset(
    {
        "pending_new", "accepted", "new", "partially_filled", "held", "pending_cancel", "pending_replace",
        "done_for_day", "stopped", "suspended", "calculated", "accepted_for_bidding", "pending_review",
    }
)  # fmt: skip
"""The venue may still fill the order."""
FINAL_STATUSES = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
LARGEST_UPDATE_BYTES = 1024 * 1024
LONGEST_CLIENT_ID = 128
MOST_LEGS = 4


class WireOrder(msgspec.Struct, frozen=True):
    """One order object, checked."""

    venue_order_id: str
    client_order_id: str
    symbol: str
    """Empty on the parent of a multi-leg order."""
    side: Side | None
    """None on the parent of a multi-leg order."""
    quantity: Decimal | None
    filled: Decimal
    average_price: Decimal | None
    """Of what is filled, per unit; a multi-leg parent has a net price here, of either sign."""
    status: str
    limit_price: Decimal | None
    submitted_ns: int
    updated_ns: int
    replaces: str
    replaced_by: str
    legs: tuple["WireOrder", ...]

    @property
    def is_open(self) -> bool:
        """True while the venue may still fill it."""
        return self.status in OPEN_STATUSES


class TradeUpdate(msgspec.Struct, frozen=True):
    """One message about an order on ``/stream``."""

    event: str
    ts_event_ns: int
    order: WireOrder
    execution_id: str
    """Empty except on executions, busts and corrections."""
    previous_execution_id: str
    quantity: Decimal | None
    price: Decimal | None
    reason: str


class Authorized(msgspec.Struct, frozen=True):
    """The answer to the authentication on ``/stream``."""

    is_authorized: bool


class Listening(msgspec.Struct, frozen=True):
    """What the connection listens to now."""

    streams: tuple[str, ...]


UpdateItem = TradeUpdate | Authorized | Listening | Refusal


class _Order(msgspec.Struct):
    id: str
    client_order_id: str
    status: str
    submitted_at: str | Ext | None = None
    created_at: str | Ext | None = None
    updated_at: str | Ext | None = None
    symbol: str | None = None
    side: str | None = None
    qty: Decimal | None = None
    filled_qty: Decimal | None = None
    filled_avg_price: Decimal | None = None
    limit_price: Decimal | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    order_class: str | None = None
    legs: "list[_Order] | None" = None


class _Update(msgspec.Struct):
    event: str
    order: _Order
    timestamp: str | Ext | None = None
    execution_id: str | None = None
    previous_execution_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    reason: str | None = None


class _StreamMessage(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Authorization(msgspec.Struct):
    status: str


class _Listening(msgspec.Struct):
    streams: tuple[str, ...] = ()


_ORDER_JSON = msgspec.json.Decoder(_Order).decode
_ORDERS_JSON = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _UpdateCodec:
    """The decoders of ``/stream`` for one codec."""

    def __init__(
        self, codec: type[msgspec.json.Decoder[_Update]] | type[msgspec.msgpack.Decoder[_Update]]
    ) -> None:
        self.message = codec(_StreamMessage).decode
        self.update = codec(_Update).decode
        self.authorization = codec(_Authorization).decode
        self.listening = codec(_Listening).decode


_JSON = _UpdateCodec(msgspec.json.Decoder)
_MSGPACK = _UpdateCodec(msgspec.msgpack.Decoder)


def read_update(raw: bytes, *, is_msgpack: bool = False) -> UpdateItem:
    """Return what one frame of ``/stream`` says; it holds JSON in text or binary frames, or MessagePack."""
    if len(raw) > LARGEST_UPDATE_BYTES:
        return Refusal("frame_too_large", f"{len(raw)} bytes")
    codec = _MSGPACK if is_msgpack else _JSON
    try:
        message = decode(codec.message, raw, "malformed_frame")
        payload = bytes(message.data)
        if message.stream == "trade_updates":
            return _update(decode(codec.update, payload, "malformed_update"))
        if message.stream == "authorization":
            answer = decode(codec.authorization, payload, "malformed_authorization")
            return Authorized(answer.status == "authorized")
        if message.stream == "listening":
            return Listening(decode(codec.listening, payload, "malformed_listening").streams)
    except Malformed as refused:
        return Refusal(refused.name, refused.detail)
    return Refusal("unknown_stream", repr(message.stream)[:80])


def read_order(raw: bytes) -> WireOrder:
    """Return the order of a REST answer.

    Raises
    ------
    Malformed
        When it cannot be believed.
    """
    return _order(decode(_ORDER_JSON, raw, "malformed_order"))


def read_orders(raw: bytes) -> tuple[list[WireOrder], list[Refusal]]:
    """Return the orders of a REST list, and what of it could not be believed.

    Raises
    ------
    Malformed
        When it is not a list at all.
    """
    orders: list[WireOrder] = []
    refusals: list[Refusal] = []
    for part in decode(_ORDERS_JSON, raw, "malformed_orders"):
        try:
            orders.append(_order(decode(_ORDER_JSON, bytes(part), "malformed_order")))
        except Malformed as refused:
            refusals.append(Refusal(refused.name, refused.detail))
    return orders, refusals


def _update(raw: _Update) -> TradeUpdate:
    event = text(raw.event, "event", 40)
    order = _order(raw.order)
    is_execution = event in ("fill", "partial_fill", "trade_correct")
    is_parent = bool(order.legs)
    quantity = price = None
    execution_id = raw.execution_id or ""
    if is_execution and not is_parent:
        quantity, price = positive(raw.qty, "qty"), not_negative(raw.price, "price")
    if (is_execution and not is_parent) or event == "trade_bust":
        execution_id = text(raw.execution_id, "execution_id", 80)
    at_ns = order.updated_ns if raw.timestamp is None else ns_of(raw.timestamp)
    return TradeUpdate(
        event,
        at_ns,
        order,
        execution_id,
        raw.previous_execution_id or "",
        quantity,
        price,
        (raw.reason or "")[:120],
    )


def _order(raw: _Order, depth: int = 0) -> WireOrder:
    status = raw.status
    if status not in OPEN_STATUSES and status not in FINAL_STATUSES:
        raise Malformed("unknown_status", repr(status))
    legs = raw.legs or []
    if (depth and legs) or len(legs) > MOST_LEGS:
        raise Malformed("bad_legs", f"{len(legs)} legs at depth {depth}")
    is_parent = raw.order_class == "mleg" and depth == 0
    submitted = raw.submitted_at if raw.submitted_at is not None else raw.created_at
    submitted_ns = ns_of(submitted)
    quantity = None if raw.qty is None else positive(raw.qty, "order_qty")
    filled = Decimal(0) if raw.filled_qty is None else not_negative(raw.filled_qty, "filled_qty")
    average = raw.filled_avg_price
    if average is not None:
        average = (
            amount(average, "filled_avg_price") if is_parent else not_negative(average, "filled_avg_price")
        )
    if quantity is not None and filled > quantity:
        raise Malformed("overfilled", f"{filled} of {quantity}")
    if filled and average is None and not is_parent:
        raise Malformed("no_filled_avg_price", f"{filled} filled")
    return WireOrder(
        venue_order_id=text(raw.id, "order_id", 64),
        client_order_id=text(raw.client_order_id, "client_order_id", LONGEST_CLIENT_ID),
        symbol="" if is_parent else text(raw.symbol, "symbol", 32),
        side=None if is_parent and not raw.side else _side(raw.side),
        quantity=quantity,
        filled=filled,
        average_price=average,
        status=status,
        limit_price=None if raw.limit_price is None else amount(raw.limit_price, "limit_price"),
        submitted_ns=submitted_ns,
        updated_ns=submitted_ns if raw.updated_at is None else ns_of(raw.updated_at),
        replaces=raw.replaces or "",
        replaced_by=raw.replaced_by or "",
        legs=tuple(_order(leg, depth + 1) for leg in legs),
    )


def _side(value: str | None) -> Side:
    if value == "buy":
        return Side.BUY
    if value in ("sell", "sell_short"):
        return Side.SELL
    raise Malformed("bad_side", repr(value))
