"""Alpaca's messages on orders: commands as requests, order objects and updates read, replies judged.

One code of Alpaca stands for unrelated causes, so a reply is judged by its HTTP status and its text
together. Only the venue's own refusal ends an order; a reply that leaves open whether the order was
taken is :attr:`ReplyVerdict.UNKNOWN`. An order that cannot be believed raises
:class:`~scalpdesk_alpaca.fields.Malformed`. No I/O.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from math import gcd
from typing import assert_never
from urllib.parse import quote, urlencode

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
)
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.units import ZERO, number_text
from scalpdesk.instruments.contract import Instruments
from scalpdesk.venues.tracker import MAY_FILL, Outcome
from scalpdesk_alpaca.fields import (
    UNREADABLE,
    BadMessage,
    Malformed,
    amount,
    decode,
    known_ns,
    not_negative,
    positive,
    read_each,
    side_of,
    text,
)
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError
from scalpdesk_alpaca.transport import RestRequest

_OUTCOMES = {
    "pending_new": Outcome.OPEN,
    "accepted": Outcome.OPEN,
    "accepted_for_bidding": Outcome.OPEN,
    "pending_review": Outcome.OPEN,
    "held": Outcome.OPEN,
    "new": Outcome.OPEN,
    "partially_filled": Outcome.OPEN,
    "pending_replace": Outcome.OPEN,
    "pending_cancel": Outcome.CANCELLING,
    "done_for_day": Outcome.OPEN,  # goes on the next day
    "stopped": Outcome.OPEN,  # a trade is guaranteed, and has not happened
    "suspended": Outcome.OPEN,
    "calculated": Outcome.OPEN,  # done for the day, its settlement is under way
    "filled": Outcome.FILLED,
    "canceled": Outcome.CANCELLED,
    "replaced": Outcome.CANCELLED,
    "expired": Outcome.EXPIRED,
    "rejected": Outcome.REJECTED,
}
"""Meaning of each status on the venue's pages ("Orders at Alpaca", order lifecycle)."""
LARGEST_UPDATE_BYTES = 1024 * 1024
_LONGEST_CLIENT_ID = 128
_MOST_LEGS = 4
MOST_LEG_EXECUTIONS = 400
"""In one message: a leg may fill in many parts at once."""


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
    """Mean price of the filled quantity, per unit; a multi-leg parent has a net price of either sign."""
    status: str
    limit_price: Decimal | None
    submitted_ns: int
    updated_ns: int
    """``submitted_ns``, ``updated_ns``: UTC nanoseconds; 0 where the venue's stamp cannot be read."""
    replaces: str
    replaced_by: str
    legs: tuple["WireOrder", ...]

    @property
    def outcome(self) -> Outcome:
        """Meaning of its status."""
        return _OUTCOMES.get(self.status, Outcome.UNKNOWN)

    @property
    def is_open(self) -> bool:
        """True while the venue may still fill it, by all that is known of its status."""
        return self.outcome in MAY_FILL


class LegExecution(msgspec.Struct, frozen=True):
    """The execution of one leg, in the message on the fill of its multi-leg order."""

    execution_id: str
    venue_order_id: str
    """The venue's id of the leg."""
    symbol: str
    quantity: Decimal
    price: Decimal
    ts_event_ns: int


class TradeUpdate(msgspec.Struct, frozen=True):
    """One message about an order on ``/stream``."""

    event: str
    ts_event_ns: int
    """UTC nanoseconds; 0 where the venue's stamp cannot be read."""
    order: WireOrder
    execution_id: str
    """Empty except on executions, busts and corrections."""
    previous_execution_id: str
    quantity: Decimal | None
    price: Decimal | None
    """Price of one execution of a single order; None otherwise."""
    reason: str
    legs: tuple[LegExecution, ...] = ()
    """The execution of each leg in one fill of a multi-leg order."""


UpdateItem = TradeUpdate | Authorized | Listening | StreamError | BadMessage


class _Order(msgspec.Struct):
    id: str
    client_order_id: str
    status: str
    submitted_at: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
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


class _LegFill(msgspec.Struct):
    execution_id: str
    order_id: str
    symbol: str
    qty: Decimal
    price: Decimal
    timestamp: str | None = None


class _Update(msgspec.Struct):
    event: str
    order: _Order
    timestamp: str | None = None
    execution_id: str | None = None
    previous_execution_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    reason: str | None = None
    legs: list[_LegFill] | None = None


class _StreamMessage(msgspec.Struct):
    data: msgspec.Raw
    stream: str = ""
    action: str = ""


_encode_json = msgspec.json.Encoder().encode
_ORDER_JSON = msgspec.json.Decoder(_Order).decode
_ORDERS_JSON = msgspec.json.Decoder(list[msgspec.Raw]).decode
_MESSAGE = msgspec.json.Decoder(_StreamMessage).decode
_UPDATE = msgspec.json.Decoder(_Update).decode
_AUTHORIZATION = msgspec.json.Decoder(Authorized).decode
_LISTENING = msgspec.json.Decoder(Listening).decode
_STREAM_ERROR = msgspec.json.Decoder(StreamError).decode


def read_update(raw: bytes) -> UpdateItem:
    """Return the content of a frame of ``/stream``: JSON, in text or binary frames."""
    if len(raw) > LARGEST_UPDATE_BYTES:
        return BadMessage("frame_too_large", f"{len(raw)} bytes")
    try:
        message = decode(_MESSAGE, raw, "malformed_frame")
        payload = bytes(message.data)
        if message.stream == "trade_updates":
            return _update(decode(_UPDATE, payload, "malformed_update"))
        if message.stream == "authorization":
            return decode(_AUTHORIZATION, payload, "malformed_authorization")
        if message.stream == "listening":
            return decode(_LISTENING, payload, "malformed_listening")
        if message.action == "error":
            return decode(_STREAM_ERROR, payload, "malformed_error")
    except Malformed as refused:
        return BadMessage(refused.name, refused.detail)
    return BadMessage("unknown_stream", repr(message.stream)[:80])


def read_order(raw: bytes) -> WireOrder:
    """Return the order of a REST answer."""
    return _order(decode(_ORDER_JSON, raw, "malformed_order"))


def read_orders(raw: bytes) -> tuple[list[WireOrder], list[BadMessage]]:
    """Return the orders of a REST list, and what of it could not be believed."""
    return read_each(
        decode(_ORDERS_JSON, raw, "malformed_orders"),
        lambda part: read_order(bytes(part)),
    )


def _update(raw: _Update) -> TradeUpdate:
    event = text(raw.event, "event", 40)
    order = _order(raw.order)
    is_execution = event in ("fill", "partial_fill", "trade_correct") and bool(order.symbol)
    quantity = price = None
    execution_id = raw.execution_id or ""
    if is_execution:
        quantity, price = amount(raw.qty, "qty"), amount(raw.price, "price")
    if is_execution or event == "trade_bust":
        execution_id = text(raw.execution_id, "execution_id", 80)
    at_ns = order.updated_ns if raw.timestamp is None else known_ns(raw.timestamp)
    legs = raw.legs or []
    if len(legs) > MOST_LEG_EXECUTIONS:
        raise Malformed("bad_legs", f"{len(legs)} executions")
    return TradeUpdate(
        event,
        at_ns,
        order,
        execution_id,
        raw.previous_execution_id or "",
        quantity,
        price,
        (raw.reason or "")[:120],
        tuple(_leg(leg, at_ns) for leg in legs),
    )


def _leg(raw: _LegFill, at_ns: int) -> LegExecution:
    return LegExecution(
        execution_id=text(raw.execution_id, "execution_id", 80),
        venue_order_id=text(raw.order_id, "order_id", 64),
        symbol=text(raw.symbol, "symbol", 32),
        quantity=amount(raw.qty, "qty"),
        price=amount(raw.price, "price"),
        ts_event_ns=(known_ns(raw.timestamp) or at_ns) if raw.timestamp else at_ns,
    )


def _order(raw: _Order, depth: int = 0) -> WireOrder:
    legs = raw.legs or []
    if (depth and legs) or len(legs) > _MOST_LEGS:
        raise Malformed("bad_legs", f"{len(legs)} legs at depth {depth}")
    is_parent = raw.order_class == "mleg" and (bool(legs) or not raw.symbol)
    submitted = raw.submitted_at if raw.submitted_at is not None else raw.created_at
    submitted_ns = known_ns(submitted)
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
        client_order_id=text(raw.client_order_id, "client_order_id", _LONGEST_CLIENT_ID),
        symbol="" if is_parent else text(raw.symbol, "symbol", 32),
        side=None if is_parent and not raw.side else side_of(raw.side),
        quantity=quantity,
        filled=filled,
        average_price=average,
        status=text(raw.status, "status", 40),
        limit_price=None if raw.limit_price is None else amount(raw.limit_price, "limit_price"),
        submitted_ns=submitted_ns,
        updated_ns=submitted_ns if raw.updated_at is None else known_ns(raw.updated_at),
        replaces=raw.replaces or "",
        replaced_by=raw.replaced_by or "",
        legs=tuple(_order(leg, depth + 1) for leg in legs),
    )


_FEWEST_LEGS = 2


def submit_request(command: SubmitOrder, book: Instruments) -> RestRequest:
    """Return the request of an order.

    Raises ArgumentError when the venue cannot take such an order at all.
    """
    instrument = book.by_id[command.instrument_id]
    is_option = instrument.is_option
    body: dict[str, object] = {
        "symbol": instrument.symbol,
        "qty": number_text(_whole(command, is_option=is_option)),
        "side": command.side,  # the encoder writes an enum's value; asking for it costs three calls
        "type": command.type_name,
        "time_in_force": command.time_in_force,
        "client_order_id": command.client_order_id,
    }
    if TRAITS[command.type_name].needs_limit and command.limit_price is None:
        raise ArgumentError("a limit order needs a price", where=f"order {command.client_order_id}")
    if command.order_type is not OrderType.MARKET:
        body |= _prices(command)
    if is_option:
        intent = position_intent(command)
        if intent is not None:
            body["position_intent"] = intent
    return RestRequest("POST", "/v2/orders", _encode_json(body), command.client_order_id)


def combo_request(command: MultiLegOrder, book: Instruments) -> RestRequest:
    """Return the request of an order in several legs.

    Raises ArgumentError when there are not 2 to 4 legs of different options in whole ratios.
    """
    legs = command.legs
    symbols = [book[leg.instrument_id].symbol for leg in legs]
    if not _FEWEST_LEGS <= len(legs) <= _MOST_LEGS or len(set(symbols)) < len(symbols):
        raise ArgumentError(
            "a multi-leg order has 2 to 4 legs in different contracts",
            where=f"order {command.client_order_id}",
            value=symbols,
        )
    quantities = [int(_whole(leg, is_option=True)) for leg in legs]
    sets = gcd(*quantities)
    body: dict[str, object] = {
        "order_class": "mleg",
        "qty": str(sets),
        "type": "market" if command.net_limit_price is None else "limit",
        "time_in_force": command.time_in_force.value,
        "client_order_id": command.client_order_id,
        "legs": [
            {
                "symbol": symbol,
                "ratio_qty": str(quantity // sets),
                "side": leg.side.value,
                "position_intent": _intent_of(leg),
            }
            for symbol, quantity, leg in zip(symbols, quantities, legs, strict=True)
        ],
    }
    if command.net_limit_price is not None:
        body["limit_price"] = number_text(command.net_limit_price)
    return RestRequest("POST", "/v2/orders", _encode_json(body), command.client_order_id)


def _prices(command: SubmitOrder) -> dict[str, object]:
    """Return the fields of the prices of an order."""
    found: dict[str, object] = {}
    if command.limit_price is not None:
        found["limit_price"] = number_text(command.limit_price)
    match command.order_type:
        case Stop(trigger=trigger):
            found["stop_price"] = number_text(trigger)
        case OrderType.MARKET | OrderType.LIMIT:
            pass
        case kind:
            assert_never(kind)
    return found


def cancel_request(venue_order_id: str) -> RestRequest:
    """Return the request that cancels an order by the venue's id."""
    return RestRequest("DELETE", f"/v2/orders/{quote(venue_order_id, safe='')}")


CANCEL_ALL = RestRequest("DELETE", "/v2/orders")
"""The request that cancels all open orders of the account."""


def let_go_request(symbol: str) -> RestRequest:
    """Return the request by which the whole position in an option is not exercised at its expiry."""
    return RestRequest("POST", f"/v2/positions/{quote(symbol, safe='')}/do-not-exercise")


def order_by_client_id_request(client_order_id: str) -> RestRequest:
    """Return the request that asks for an order by the desk's id."""
    query = urlencode({"client_order_id": client_order_id, "nested": "true"})
    return RestRequest("GET", f"/v2/orders:by_client_order_id?{query}", about=client_order_id)


def open_orders_request(after: str | None = None) -> RestRequest:
    """Return the request for one page of open orders, oldest first; ``after`` is a submission time."""
    query = {"status": "open", "limit": "500", "direction": "asc", "nested": "true"}
    if after is not None:
        query["after"] = after
    return RestRequest.page("/v2/orders", query)


def position_intent(command: SubmitOrder) -> str | None:
    """Return Alpaca's name of what an option order does to the position, None to let the venue infer it.

    Where several strategies share the account, an exit of one may open a position of the account.
    """
    is_sure = not command.owner and command.purpose in (Purpose.OPEN, Purpose.CLOSE)
    return _intent_of(command) if is_sure else None


def _intent_of(command: SubmitOrder) -> str:
    """Return Alpaca's name of what an order means to do by its purpose: a leg of a combo has to have one."""
    return f"{command.side.value}_to_{'close' if command.purpose is Purpose.CLOSE else 'open'}"


def _whole(command: SubmitOrder, *, is_option: bool) -> Decimal:
    quantity = command.quantity
    if not quantity.is_finite() or quantity <= ZERO or (is_option and quantity != int(quantity)):
        raise ArgumentError(
            "a quantity is above zero, and of options whole",
            where=f"order {command.client_order_id}",
            value=str(quantity),
        )
    return quantity


# the stream -------------------------------------------------------------------------------------


def stream_auth(key: str, secret: str) -> bytes:
    """Return the authentication message of ``/stream``."""
    return _encode_json({"action": "auth", "key": key, "secret": secret})


def stream_listen(streams: Sequence[str]) -> bytes:
    """Return the message that sets what ``/stream`` sends."""
    return _encode_json({"action": "listen", "data": {"streams": list(streams)}})


class ReplyVerdict(StrEnum):
    """Verdict of a reply on its request."""

    DONE = "done"
    REFUSED = "refused"
    """The venue refused it for good."""
    DUPLICATE = "duplicate"
    """The client order id was used before: proof that the first request arrived."""
    NOT_FOUND = "not_found"
    """No such order, position or asset."""
    TOO_LATE = "too_late"
    """The order is over, or not yet at the exchange: it cannot be cancelled or replaced now."""
    LIMITED = "limited"
    """Too many requests; this one was not carried out."""
    UNAUTHORIZED = "unauthorized"
    """The keys are not accepted."""
    UNKNOWN = "unknown"
    """It may have been carried out or not."""
    NOT_SENT = "not_sent"
    """The request never left."""


class JudgedReply(msgspec.Struct, frozen=True):
    """Outcome of a request; ``reason`` is the venue's own text with its code, or says why it is missing."""

    verdict: ReplyVerdict
    reason: str = ""
    body: bytes = b""
    """Body of the judged answer; empty without an answer."""


class RateLimit(msgspec.Struct, frozen=True):
    """The venue's own count of requests."""

    limit: int
    remaining: int
    reset_s: int
    """When the window ends, UTC seconds since 1970."""


class _Error(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


_ERROR = msgspec.json.Decoder(_Error).decode
_LONGEST_REASON = 200
_DUPLICATE_TEXT = "client_order_id must be unique"
_TOO_LATE_TEXTS = (
    "order is already in",
    "is not cancelable",
    "unable to cancel order",
    "isn't sent to exchange yet",
    "cannot replace order in",
    "unable to replace order in",
    "order already replaced",
    "only open orders can be replaced",
    "qty must be > filled_qty",
    "not open",
)
_KEY_TEXTS = ("request is not authorized", "access key verification failed")
"""In a 403: the keys are refused. A 403 may also refuse one order: an account without options."""
_LARGEST_RATE = 10**9


def judge(status: int, body: bytes) -> JudgedReply:
    """Return what a reply proves.

    ``status``: HTTP status.
    ``body``: The reply's bytes; an error's ``code`` and ``message`` are read where there are any.
    """
    if 200 <= status < 300:
        return JudgedReply(ReplyVerdict.DONE)
    code, message = _words(body)
    lowered = message.lower()
    reason = " ".join(part for part in (f"HTTP {status}", code, message) if part)[:_LONGEST_REASON]
    if status == 401 or (status == 403 and (lowered == "forbidden." or _holds(lowered, _KEY_TEXTS))):
        return JudgedReply(ReplyVerdict.UNAUTHORIZED, reason)
    if status == 429:
        return JudgedReply(ReplyVerdict.LIMITED, reason)
    if status == 404:
        return JudgedReply(ReplyVerdict.NOT_FOUND, reason)
    if status == 422 and _DUPLICATE_TEXT in lowered:
        return JudgedReply(ReplyVerdict.DUPLICATE, reason)
    if status == 422 and _holds(lowered, _TOO_LATE_TEXTS):
        return JudgedReply(ReplyVerdict.TOO_LATE, reason)
    if status in (400, 403, 405, 415, 422):
        return JudgedReply(ReplyVerdict.REFUSED, reason)
    return JudgedReply(ReplyVerdict.UNKNOWN, reason)  # 408, 409, 5xx, redirects and anything new


def _holds(message: str, known: Sequence[str]) -> bool:
    return any(part in message for part in known)


def _words(body: bytes) -> tuple[str, str]:
    """Return code and message of an error's body, both printable; empty where the body has no code."""
    try:
        error = _ERROR(body)
    except UNREADABLE:
        return "", ""
    message = "".join(letter for letter in (error.message or "") if letter.isprintable())
    return "" if error.code is None else str(error.code)[:12], message


def rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return the rate limit that headers state (names in lower case), None where they state no limit."""
    try:
        limit, remaining, reset_s = (
            int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
        )
    except (KeyError, ValueError):
        return None
    if not (0 < limit < _LARGEST_RATE and 0 <= remaining <= limit and 0 <= reset_s < 4_102_444_800):
        return None
    return RateLimit(limit, remaining, reset_s)
