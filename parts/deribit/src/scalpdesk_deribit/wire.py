"""Messages of Deribit's JSON-RPC interface, both ways: no sockets, no clock.

Amounts of options are coins, of inverse futures US dollars; the desk counts those in contracts. Times on the
wire are milliseconds. Volatilities are percent, vega is per point, theta per day; both in US dollars.
A message or field that cannot be read raises :class:`WireError`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, TypeVar, assert_never, get_args

import msgspec
from msgspec import UNSET, structs

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import MultiLegOrder, OrderType, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk.core.units import NANOS_PER_MS, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments, LinearPerpetual, Perpetual
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.ticks import TickRule, TickStep
from scalpdesk.venues.bounds import is_amount, is_count, is_figure, is_instant
from scalpdesk.venues.contract import (
    AccountFacts,
    VenueActivity,
    VenueClock,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from scalpdesk.venues.tracker import MAY_FILL, OrderReport, Outcome
from scalpdesk_deribit.messages import (
    HEARTBEAT,
    JSONRPC,
    SUBSCRIPTION,
    TEST_REQUEST,
    TICKER,
    ChannelNote,
    Combo,
    ErrorAnswer,
    HeartbeatNote,
    Listing,
    LogLine,
    Number,
    OrderMessage,
    PositionMessage,
    RpcFrame,
    Summary,
    Ticker,
    TradeMessage,
    WireMessage,
)
from scalpdesk_deribit.order_words import ORDER_WORDS, needs_limit

M = TypeVar("M", bound=WireMessage)
Raw = Mapping[str, Any]
"""A message, or the parameters of a request, as JSON has them."""
LONGEST_LABEL = 64
_MOST_OF_COLLATERAL = Decimal(1_000_000)
"""Largest part of the collateral that a margin is stated as."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@cache
def _reader(form: type[M]) -> type[M]:
    """Return the form to read by: a field that a writer must name may be absent, which is null."""
    fields = [
        (field.name, field.type, None)
        for field in structs.fields(form)
        if field.required and (field.type is Any or type(None) in get_args(field.type))
    ]
    made: Any = msgspec.defstruct(form.__name__, fields, bases=(form,), frozen=True, kw_only=True)
    return made  # type: ignore[no-any-return]


class _TickerNote(ChannelNote, frozen=True, kw_only=True):
    channel: str
    data: _reader(Ticker)  # type: ignore[valid-type]


class _TickerFrame(RpcFrame, frozen=True, kw_only=True):
    params: _TickerNote


_FRAME, _TICKER_FRAME = msgspec.json.Decoder(RpcFrame), msgspec.json.Decoder(_TickerFrame)
_TICKER_MARK = f'"{TICKER}'
_FIELD = re.compile(r"`\$\.(\w+)")
"""The field in an error of a form."""


class WireError(ValueError):
    """A message that cannot be read: names the field and what was there."""


class RpcError(Exception):
    """An error that the venue answered with.

    ``reason``: ``data.reason``, where it gives one.
    """

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        self.code = code
        self.message = message
        super().__init__(f"{message} ({code})" + (f": {reason}" if reason else ""))


class ErrorMeaning(StrEnum):
    """Meaning of an error for a request."""

    REJECTED = "rejected"
    """The venue has refused it: nothing came of it."""
    GONE = "gone"
    """The order is over or was never there."""
    KEYS = "keys"
    """The keys or the token are not accepted."""
    LATER = "later"
    """Refused for now: too many requests, or the venue is settling or in maintenance.

    A request without credits has no answer (Deribit, "Rate Limits"); the requests under way beside it have no
    answer, for the venue ends the connection.
    """
    UNKNOWN = "unknown"
    """The venue has failed at it, or given it up: it may have been carried out or not."""


TOKEN_ENDED = 13009
_REFUSALS = {
    10004: ErrorMeaning.GONE,
    10010: ErrorMeaning.GONE,
    11008: ErrorMeaning.GONE,
    11044: ErrorMeaning.GONE,
    10000: ErrorMeaning.KEYS,
    13004: ErrorMeaning.KEYS,
    TOKEN_ENDED: ErrorMeaning.KEYS,
    10028: ErrorMeaning.LATER,
    10040: ErrorMeaning.LATER,
    10041: ErrorMeaning.LATER,
    10047: ErrorMeaning.LATER,
    11051: ErrorMeaning.LATER,
    -32603: ErrorMeaning.UNKNOWN,  # internal error, of JSON-RPC 2.0 itself
    10001: ErrorMeaning.UNKNOWN,  # error: a general failure, without a reason
    11031: ErrorMeaning.UNKNOWN,  # other_error, beside other_reject (11030)
    11094: ErrorMeaning.UNKNOWN,  # internal_server_error: unhandled
    13028: ErrorMeaning.UNKNOWN,  # temporarily_unavailable: a service does not answer, or too late
    13888: ErrorMeaning.UNKNOWN,  # timed_out: the server gave the request up
}
"""Every other code is a rejection. Codes as the most used client maps them; the meaning of those that leave a
request in doubt is from Deribit's API documentation, "RPC Error Codes".
"""


def refusal_of(error: RpcError) -> ErrorMeaning:
    """Return what an error means."""
    return _REFUSALS.get(error.code, ErrorMeaning.REJECTED)


def is_refusal(problem: Exception) -> bool:
    """Return whether a request that met a problem came to nothing, by the venue's own word."""
    return isinstance(problem, RpcError) and refusal_of(problem) is not ErrorMeaning.UNKNOWN


# frames -------------------------------------------------------------------------------------------------


class RpcReply(NamedTuple):
    """Answer to a request; the result, or the error."""

    request_id: int
    result: Any
    error: RpcError | None


class Notification(NamedTuple):
    """A message of a subscribed channel."""

    channel: str
    data: Any


class Heartbeat(NamedTuple):
    """A sign of life; ``wants_test`` asks for ``public/test``, or the venue ends the connection."""

    wants_test: bool


def encode_request(request_id: int, method: str, params: Raw) -> str:
    """Return a request as text; exact numbers are written as numbers."""
    return _ENCODER.encode(RpcFrame(jsonrpc=JSONRPC, id=request_id, method=method, params=params)).decode()


def decode_frame(raw: bytes | str) -> RpcReply | Notification | Heartbeat:
    """Read one frame."""
    try:
        frame = _FRAME.decode(raw)
    except msgspec.ValidationError:
        raise WireError(f"not an object: {str(raw)[:80]!r}") from None
    except msgspec.DecodeError as problem:
        raise WireError(f"not JSON: {problem}") from None
    if frame.method == SUBSCRIPTION:
        note = read(frame.params, ChannelNote, "params")
        return Notification(text(note.channel, "channel"), note.data)
    if frame.method == HEARTBEAT:
        return Heartbeat(read(frame.params, HeartbeatNote, "params").type == TEST_REQUEST)
    request_id = frame.id
    if not isinstance(request_id, int):
        raise WireError(f"neither a reply nor a notification: {str(raw)[:80]!r}")
    try:
        return RpcReply(request_id, result_of(frame), None)
    except RpcError as error:
        return RpcReply(request_id, None, error)


def decode_ticker(raw: bytes | str) -> Notification | None:
    """Return the ticker of a frame, which most frames are; None of any other.

    Decoded in one pass: by way of a dictionary a quote takes two thirds longer.
    """
    if not isinstance(raw, str) or _TICKER_MARK not in raw:
        return None
    try:
        frame = _TICKER_FRAME.decode(raw)
    except msgspec.DecodeError:
        return None  # what cannot be read is named by its reader
    if frame.method != SUBSCRIPTION or not frame.params.channel.startswith(TICKER):
        return None
    return Notification(frame.params.channel, frame.params.data)


def result_of(reply: RpcFrame) -> Any:
    """Return the result of a reply; raises the RpcError that it holds."""
    if isinstance(reply.error, dict):
        error = read(reply.error, ErrorAnswer)
        reason = str(error.data.get("reason", "")) if isinstance(error.data, dict) else ""
        raise RpcError(whole(error.code, "code"), str(error.message or ""), reason)
    if reply.result is UNSET:
        raise WireError("a reply has neither result nor error")
    return reply.result


# fields -------------------------------------------------------------------------------------------------


def read(message: Any, form: type[M], what: str = "message") -> M:
    """Return a message in its form, as it is where it is in that already.

    ``what``: Name of the message for errors.

    Raises WireError for what is no object, and for a field of another type; names the field.
    """
    if isinstance(message, form):
        return message
    if not isinstance(message, dict):
        raise WireError(f"{what} is no object: {None if message is UNSET else message!r}")
    try:
        found: M = msgspec.convert(message, _reader(form))
    except msgspec.ValidationError as problem:
        named = _FIELD.search(str(problem))
        value = repr(message.get(named[1])) if named else ""
        raise WireError(f"{what}: {problem}: {value}") from None
    return found


def text(value: str | None, name: str) -> str:
    """Return a text that is there."""
    if not value:
        raise WireError(f"{name} is no text: {value!r}")
    return value


def id_text(value: int | str | None) -> str:
    """Return an id as a text, empty where there is none."""
    return "" if value is None else str(value)


def whole(value: Any, name: str) -> int:
    """Return a whole number of a message."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireError(f"{name} is no whole number: {value!r}")
    return value


def exact(value: Number, name: str, default: Decimal | None = None) -> Decimal:
    """Return a number of a message exactly as it was written.

    Raises WireError when it is no finite number, and there is no default for an absent one.
    """
    if value is None and default is not None:
        return default
    try:
        found = Decimal(str(value))
    except InvalidOperation:  # no object, array or boolean of a frame reads as one either
        raise WireError(f"{name} is no number: {value!r}") from None
    if not found.is_finite():
        raise WireError(f"{name} is not finite: {value!r}")
    if not is_amount(found):
        raise WireError(f"{name} is beyond all bounds: {value!r}")
    return found


def figure(value: Number, name: str) -> float:
    """Return a number of a message, NaN where it is null. Raises WireError when it is there and no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError(f"{name} is no number: {value!r}")
    if not is_figure(value):
        raise WireError(f"{name} is beyond all bounds: {value!r}")
    return float(value)


def instant_ns(at_ms: Any, name: str) -> int:
    """Return UTC nanoseconds of milliseconds.

    Raises WireError when they are no whole number, or lie outside 1970 to 2100.
    """
    at_ns = whole(at_ms, name) * NANOS_PER_MS
    if not is_instant(at_ns):
        raise WireError(f"{name} is no time of this century: {at_ms}")
    return at_ns


def count_of(value: Number) -> int | None:
    """Return a number of contracts, rounded down; None where it is null, or none.

    >>> [count_of(value) for value in (12.7, None, 1e30)]
    [12, None, None]
    """
    return int(value) if isinstance(value, int | float) and is_count(value) else None


def known_ns(at_ms: Any) -> int:
    """Return a time, UTC nanoseconds; 0 where it cannot be read: what happened counts, whenever it was."""
    try:
        return instant_ns(at_ms, "time")
    except WireError:
        return 0


def rows(value: Any, what: str) -> Sequence[Raw]:
    """Return a list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise WireError(f"{what} is no list of objects: {str(value)[:80]}")
    return value


# instruments --------------------------------------------------------------------------------------------


def read_instrument(message: Raw | Listing) -> Instrument | None:
    """Read one instrument of ``public/get_instruments``; None for what the desk does not trade."""
    listing = read(message, Listing)
    name = text(listing.instrument_name, "instrument_name")
    if listing.kind == "option":
        try:
            return deribit_option(name, _ticks(listing))
        except ArgumentError as problem:
            raise WireError(str(problem)) from None
    if listing.kind != "future" or listing.settlement_period != "perpetual":
        return None
    if (listing.instrument_type or listing.quote_currency) in ("reversed", "USD"):
        size = exact(listing.contract_size, "contract_size")
        if size <= 0 or size % 1 or not is_count(float(size)):
            raise WireError(f"contract_size of {name} is no whole number of dollars: {size}")
        coin = text(listing.base_currency, "base_currency")
        return Perpetual(name, int(size), _ticks(listing), currency=coin)
    currency = listing.settlement_currency or listing.quote_currency
    return LinearPerpetual(name, _ticks(listing), currency=str(currency))


def _ticks(listing: Listing) -> TickRule:
    below = exact(listing.tick_size, "tick_size")
    steps = [
        TickStep(exact(step.above_price, "above_price"), exact(step.tick_size, "tick_size"))
        for step in listing.tick_size_steps or ()
    ]
    try:
        return TickRule(below, tuple(steps))
    except ArgumentError as problem:
        name = "tick_size" if problem.where == "below" else "tick_size_steps"
        raise WireError(f"{name}: {problem.what}, {problem.value}") from None


def amount_of(instrument: Instrument, quantity: Decimal) -> Decimal:
    """Return the venue's amount of so many contracts or coins."""
    return quantity * instrument.contract_size


def quantity_of(instrument: Instrument, amount: Decimal) -> Decimal:
    """Return the desk's quantity of an amount of the venue.

    Raises WireError when dollars do not divide into contracts.
    """
    size = instrument.contract_size
    if not instrument.is_inverse_future:
        return amount
    if amount % size:
        raise WireError(f"{amount} USD of {instrument.symbol} are no whole contracts of {size}")
    return amount / size


# market data --------------------------------------------------------------------------------------------


def read_quote(
    message: Raw | Ticker, instrument_id: InstrumentId, instrument: Instrument, recv_ns: int
) -> QuoteEvent:
    """Read the best prices of a ticker; a side without any is NaN with size 0."""
    ticker, unit = read(message, Ticker), instrument.contract_size
    bid, bid_size = _side_of_book(ticker.best_bid_price, ticker.best_bid_amount, unit)
    ask, ask_size = _side_of_book(ticker.best_ask_price, ticker.best_ask_amount, unit)
    at_ns = instant_ns(ticker.timestamp, "timestamp")
    return QuoteEvent(instrument_id, at_ns, recv_ns, bid, ask, bid_size, ask_size)


def _side_of_book(price: float | None, amount: float | None, unit: int) -> tuple[float, float]:
    at, size = figure(price, "price"), figure(amount, "amount")
    return (at, size / unit) if at > 0.0 and size > 0.0 else (math.nan, 0.0)


def is_halted(message: Raw | Ticker) -> bool | None:
    """Return whether the book of a ticker's instrument is closed (Deribit, "ticker": ``state``).

    None where the ticker does not say.
    """
    state = read(message, Ticker).state
    return None if state is None else state != "open"


# orders -------------------------------------------------------------------------------------------------

LIFETIMES = {
    TimeInForce.DAY: "good_til_day",
    TimeInForce.GTC: "good_til_cancelled",
    TimeInForce.IOC: "immediate_or_cancel",
    TimeInForce.FOK: "fill_or_kill",
}
_TRIGGER = "mark_price"
"""Price that a stop waits for: one trade far from the market moves the last price, and not this one."""
_OUTCOMES = {
    "open": Outcome.OPEN,
    "untriggered": Outcome.OPEN,
    "triggered": Outcome.OPEN,
    "filled": Outcome.FILLED,
    "cancelled": Outcome.CANCELLED,
    "rejected": Outcome.REJECTED,
}
"""Meaning of each ``order_state`` on the venue's pages ("private/get_order_state")."""


def order_request(command: SubmitOrder, instrument: Instrument, valid_until_ms: int) -> tuple[str, Raw]:
    """Return method and parameters of an order; the venue refuses it after ``valid_until_ms``.

    Raises WireError when the venue has no such order.
    """
    lifetime = LIFETIMES.get(command.time_in_force)
    kind, name = command.order_type, ORDER_WORDS.get(command.type_name)
    if lifetime is None or name is None:
        raise WireError(f"no {command.type_name} order for {command.time_in_force.value} here")
    if len(command.client_order_id) > LONGEST_LABEL:
        raise WireError(f"a label has at most {LONGEST_LABEL} characters")
    params: dict[str, Any] = {
        "instrument_name": instrument.symbol,
        "amount": amount_of(instrument, command.quantity),
        "type": name,
        "label": command.client_order_id,
        "time_in_force": lifetime,
        "valid_until": valid_until_ms,
    }
    if command.limit_price is not None:
        params["price"] = command.limit_price
    match kind:
        case Stop(trigger=price):
            params |= {"trigger": _TRIGGER, "trigger_price": price}
        case OrderType.MARKET | OrderType.LIMIT:
            pass
        case _:
            assert_never(kind)
    return ("private/buy" if command.side is Side.BUY else "private/sell"), params


def is_combo(name: Any) -> bool:
    """Return whether an instrument's name is that of a combo.

    >>> [is_combo(name) for name in ("BTC-STRD-14MAR25-90000", "BTC-14MAR25-90000-C", "BTC-PERPETUAL")]
    [True, False, False]
    """
    parts = str(name).split("-")
    return len(parts) > 2 and parts[1].isalpha()  # coin, structure, and what it is of


def combo_trades(command: MultiLegOrder, instruments: Instruments) -> list[Raw]:
    """Return the legs of one set, as a combo is asked for."""
    sets = command.sets
    return [
        {
            "instrument_name": instruments[leg.instrument_id].symbol,
            "amount": leg.quantity / sets,
            "direction": leg.side.value,
        }
        for leg in command.legs
    ]


def read_combo(message: Any) -> tuple[str, dict[str, Decimal]]:
    """Read a combo: its name, and by instrument what one of it buys or, below 0, sells.

    Raises WireError when a field cannot be read.
    """
    combo = read(message, Combo, "combo")
    if combo.legs is None:
        raise WireError("legs is no list of objects: None")
    legs = {text(leg.instrument_name, "instrument_name"): exact(leg.amount, "amount") for leg in combo.legs}
    return text(combo.id, "id"), legs


def side_of_combo(command: MultiLegOrder, instruments: Instruments, legs: dict[str, Decimal]) -> Side | None:
    """Return whether a combo of these legs is to be bought or sold for a command; None if neither."""
    sets = command.sets
    wanted = {
        instruments[leg.instrument_id].symbol: leg.side.sign * leg.quantity / sets for leg in command.legs
    }
    if legs == wanted:
        return Side.BUY
    return Side.SELL if legs == {name: -amount for name, amount in wanted.items()} else None


def combo_request(
    command: MultiLegOrder, instruments: Instruments, name: str, side: Side, valid_until_ms: int
) -> tuple[str, Raw]:
    """Return method and parameters of an order for a combo, of which the net limit is the desk's price paid.

    Raises WireError when the venue has no such order.
    """
    net, first = command.net_limit_price, command.legs[0]
    order = structs.replace(
        first,
        client_order_id=command.client_order_id,
        side=side,
        quantity=command.sets,
        order_type=OrderType.MARKET if net is None else OrderType.LIMIT,
        limit_price=None if net is None else side.sign * net,
        time_in_force=command.time_in_force,
    )
    method, params = order_request(order, instruments[first.instrument_id], valid_until_ms)
    return method, {**params, "instrument_name": name}


def leg_report(message: Raw | OrderMessage, leg: SubmitOrder, symbol: str) -> OrderReport:
    """Read of a combo's state what it says of a leg; at what price that traded only its trades say.

    Raises WireError as :func:`read_report` does.
    """
    order = read(message, OrderMessage)
    report, sets = read_report(order, None), exact(order.amount, "amount")
    if sets <= 0:
        raise WireError(f"an order of {sets}")
    return structs.replace(
        report,
        client_order_id=leg.client_order_id,
        venue_order_id=leg_id(report.venue_order_id, symbol),
        filled=leg.quantity * report.filled / sets,
        average_price=None,
    )


def leg_id(order_id: str, symbol: str) -> str:
    """Return the desk's id of a leg of a combo's order; at the venue it shows in the leg's trades alone."""
    return f"{order_id}/{symbol}"


def order_id_of(venue_order_id: str) -> str:
    """Return the venue's id of an order, of a leg its combo's."""
    return venue_order_id.partition("/")[0]


def read_report(message: Raw | OrderMessage, instrument: Instrument | None) -> OrderReport:
    """Read an order's state; of a combo, which has no instrument, in sets.

    Raises WireError when a field cannot be read. A state that is not known leaves the order in doubt.
    """
    order = read(message, OrderMessage)
    state = text(order.order_state, "order_state")
    outcome = _OUTCOMES.get(state, Outcome.UNKNOWN)
    filled = exact(order.filled_amount, "filled_amount", ZERO)
    if instrument is not None:
        filled = quantity_of(instrument, filled)
    average = exact(order.average_price, "average_price", ZERO)
    reason = order.cancel_reason or order.reject_reason or ""
    if outcome is Outcome.UNKNOWN:
        reason = f"the venue shows a state that is not known: {state}"
    return OrderReport(
        order.label or "",
        text(order.order_id, "order_id"),
        known_ns(order.last_update_timestamp),
        outcome,
        filled,
        average if filled and average > 0 else None,
        reason,
    )


class VenueTrade(NamedTuple):
    """One execution of an order of the account; its time is 0 where the venue's cannot be read."""

    fill: VenueFill
    label: str
    has_fee: bool
    """False where the venue states the fee in another currency than the instrument's."""


def read_trade(message: Raw | TradeMessage, instrument: Instrument) -> VenueTrade:
    """Read an execution; that of a combo's leg is of an order of its own at the venue.

    Raises WireError when a field cannot be read.
    """
    trade = read(message, TradeMessage)
    price, quantity = exact(trade.price, "price"), exact(trade.amount, "amount")
    fee = exact(trade.fee, "fee", ZERO)
    is_own = not fee or trade.fee_currency in (None, instrument.currency)
    fill = VenueFill(
        execution_id=text(id_text(trade.trade_id), "trade_id"),
        venue_order_id=text(trade.order_id, "order_id"),
        symbol=instrument.symbol,
        side=_side(trade.direction),
        quantity=quantity_of(instrument, quantity),
        cumulative=None,
        price=price,
        ts_event_ns=known_ns(trade.timestamp),
        fee=fee if is_own else ZERO,
        # the other side may have been the account's
        is_liquidation=(trade.liquidity or "-") in (trade.liquidation or ""),
    )
    return VenueTrade(fill, trade.label or "", is_own)


TRADES = frozenset({"trade", "maker", "taker"})
"""The transaction log's types of an execution."""
LOGGED = {
    "settlement": ChangeCause.FUNDING,
    "transfer": ChangeCause.TRANSFER,
    "deposit": ChangeCause.TRANSFER,
    "withdrawal": ChangeCause.TRANSFER,
}
"""Causes of the transaction log's types; deliveries depend on what they brought."""


def read_log(message: Raw | LogLine) -> VenueActivity | None:
    """Read one line of the transaction log; None for a trade, which comes as an execution.

    A settlement changes the balance by the session's profit of futures, too. The desk's cash has no part in
    that: of the line it takes the session's funding.
    """
    line = read(message, LogLine)
    kind = text(line.type, "type")
    if kind in TRADES:
        return None
    quantity, cash = exact(line.amount, "amount", ZERO), exact(line.change, "change", ZERO)
    price = exact(line.price, "price", ZERO)
    if line.side in ("close buy", "close sell"):  # of a delivery; its amount has no sign
        quantity = abs(quantity) if line.side == "close buy" else -abs(quantity)
    if kind == "settlement":
        cash = exact(line.total_interest_pl, "total_interest_pl", cash)
    if kind == "delivery" and quantity:
        cause = ChangeCause.CASH_SETTLEMENT if price > 0 else ChangeCause.EXPIRED_WORTHLESS
    else:
        cause, quantity = LOGGED.get(kind, ChangeCause.FEE), ZERO
    if line.id is None:  # what has been booked is known by it
        raise WireError(f"a line of the log without an id: {kind}")
    return VenueActivity(
        str(line.id),
        kind,
        cause,
        line.instrument_name or "",
        quantity,
        price if quantity else ZERO,
        cash,
        instant_ns(line.timestamp, "timestamp"),
    )


def _side(direction: str | None) -> Side:
    if direction not in ("buy", "sell"):
        raise WireError(f"direction is neither buy nor sell: {direction!r}")
    return Side.BUY if direction == "buy" else Side.SELL


def read_open_order(
    message: Raw | OrderMessage, instrument: Instrument | None, instrument_id: InstrumentId | None
) -> VenueOrder:
    """Read an order as it stands at the venue; of what the desk does not trade in the venue's amounts."""
    order = read(message, OrderMessage)
    report, amount = read_report(order, instrument), exact(order.amount, "amount")
    return VenueOrder(
        report.client_order_id,
        report.venue_order_id,
        text(order.instrument_name, "instrument_name") if instrument is None else instrument.symbol,
        instrument_id,
        _side(order.direction),
        amount if instrument is None else quantity_of(instrument, amount),
        report.filled,
        report.average_price,
        order.order_state or "",
        report.outcome in MAY_FILL,
        exact(order.price, "price") if needs_limit(order.order_type) else None,
        known_ns(order.creation_timestamp),
        is_liquidation=order.is_liquidation is True,
    )


def legs_of_open_combo(message: Raw | OrderMessage, legs: dict[str, Decimal]) -> list[VenueOrder]:
    """Read an order for a combo as it stands at the venue, as orders for its legs."""
    order = read(message, OrderMessage)
    report, side = read_report(order, None), _side(order.direction)
    return [
        VenueOrder(
            client_order_id=leg_id(report.client_order_id, symbol),
            venue_order_id=leg_id(report.venue_order_id, symbol),
            symbol=symbol,
            instrument_id=None,
            side=side if amount > 0 else Side.SELL if side is Side.BUY else Side.BUY,
            quantity=exact(order.amount, "amount") * abs(amount),
            filled=report.filled * abs(amount),
            average_price=None,
            status=order.order_state or "",
            is_open=report.outcome in MAY_FILL,
            limit_price=None,
            submitted_ns=known_ns(order.creation_timestamp),
            parent_id=report.client_order_id,
        )
        for symbol, amount in legs.items()
    ]


# the account --------------------------------------------------------------------------------------------


class HeldAtVenue(NamedTuple):
    """A position with what it is worth by the venue's own mark, in the account's currency."""

    position: VenuePosition
    value: Decimal


def read_position(
    message: Raw | PositionMessage, instrument: Instrument | None, instrument_id: InstrumentId | None
) -> HeldAtVenue | None:
    """Read a position; None for a closed one, which may stay in the list."""
    row = read(message, PositionMessage)
    name, size = text(row.instrument_name, "instrument_name"), exact(row.size, "size")
    if not size:
        return None
    average, mark = exact(row.average_price, "average_price"), exact(row.mark_price, "mark_price")
    if instrument is None:
        return HeldAtVenue(VenuePosition(name, None, size, average), ZERO)
    quantity = quantity_of(instrument, size)
    value = instrument.value(quantity, mark)
    return HeldAtVenue(VenuePosition(name, instrument_id, quantity, average, instrument), value)


STANDARD_MARGIN = "segregated_sm"
"""Model in which each currency has its own collateral and each position its own margin: the desk's own.

The other models are ``segregated_pm``, ``cross_sm`` and ``cross_pm`` (Deribit, "change_margin_model").
Portfolio margin asks a book for what it may lose. Cross collateral sums all currencies: ``margin_balance``,
``available_funds`` and both margins are those of all of them, in each currency's units (Deribit,
"get_account_summary").
"""


def margin_model(message: Raw | Summary) -> str:
    """Return the margin model of an account, in the venue's own words.

    >>> margin_model({"margin_model": "cross_pm"}), margin_model({"portfolio_margining_enabled": True})
    ('cross_pm', 'segregated_pm')
    """
    summary = read(message, Summary)
    if summary.margin_model:
        return summary.margin_model
    collateral = "cross" if summary.cross_collateral_enabled else "segregated"
    return f"{collateral}_{'pm' if summary.portfolio_margining_enabled else 'sm'}"


def read_account(message: Raw | Summary, held: Sequence[HeldAtVenue]) -> AccountFacts:
    """Read ``private/get_account_summary``.

    The desk's cash is the venue's equity less what the positions are worth at the venue's own marks, so that
    both come to the same value, and less the session's funding, which the log shows at its settlement. The
    venue sets its maintenance margin against the margin balance, in which
    options do not count. What perpetuals may be bought for is the free margin over their initial rate.
    """
    summary = read(message, Summary)
    equity = exact(summary.equity, "equity")
    free = exact(summary.available_funds, "available_funds")
    kept = exact(summary.maintenance_margin, "maintenance_margin")
    collateral = min(equity, exact(summary.margin_balance, "margin_balance", equity))
    funding = exact(summary.session_funding, "session_funding", ZERO)
    return AccountFacts(
        account_id=str(summary.id or summary.username or summary.currency),
        status="ACTIVE",
        currency=text(summary.currency, "currency"),
        cash=equity - sum((line.value for line in held), funding),
        equity=equity,
        buying_power=free,
        options_buying_power=free,
        options_level=4,
        may_trade=True,
        may_short=True,
        margin_fraction=round(min(kept / collateral, _MOST_OF_COLLATERAL), 6)
        if collateral > 0
        else Decimal(1),
    )


def clock_of(now_ms: int, closes_ns: int) -> VenueClock:
    """Return the venue's time; it never closes, and its days of account follow one another."""
    return VenueClock(now_ms * NANOS_PER_MS, is_open=True, next_open_ns=closes_ns, next_close_ns=closes_ns)
