"""Messages of Deribit's JSON-RPC interface, both ways: no sockets, no clock.

Amounts of options are coins, of inverse futures US dollars; the desk counts those in contracts. Times on the
wire are milliseconds. Volatilities are percent, vega is per point, theta per day; both in US dollars.
A message or field that cannot be read raises :class:`WireError`.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NamedTuple, assert_never

import msgspec
from msgspec import structs

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
from scalpdesk_deribit.order_words import ORDER_WORDS, needs_limit

Message = Mapping[str, Any]
LONGEST_LABEL = 64
_MOST_OF_COLLATERAL = Decimal(1_000_000)
"""Largest part of the collateral that a margin is stated as."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")


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


def encode_request(request_id: int, method: str, params: Message) -> str:
    """Return a request as text; exact numbers are written as numbers."""
    body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return _ENCODER.encode(body).decode()


def decode_frame(raw: bytes | str) -> RpcReply | Notification | Heartbeat:
    """Read one frame."""
    try:
        frame = msgspec.json.decode(raw)
    except msgspec.DecodeError as problem:
        raise WireError(f"not JSON: {problem}") from None
    if not isinstance(frame, dict):
        raise WireError(f"not an object: {str(raw)[:80]!r}")
    method = frame.get("method")
    if method == "subscription":
        params = _table(frame, "params")
        return Notification(_text(params, "channel"), params.get("data"))
    if method == "heartbeat":
        return Heartbeat(_table(frame, "params").get("type") == "test_request")
    request_id = frame.get("id")
    if not isinstance(request_id, int):
        raise WireError(f"neither a reply nor a notification: {str(raw)[:80]!r}")
    try:
        return RpcReply(request_id, result_of(frame), None)
    except RpcError as error:
        return RpcReply(request_id, None, error)


def result_of(reply: Message) -> Any:
    """Return the result of a reply; raises the RpcError that it holds."""
    error = reply.get("error")
    if isinstance(error, dict):
        data = error.get("data")
        reason = str(data.get("reason", "")) if isinstance(data, dict) else ""
        raise RpcError(whole(error, "code"), str(error.get("message", "")), reason)
    if "result" not in reply:
        raise WireError("a reply has neither result nor error")
    return reply["result"]


# fields -------------------------------------------------------------------------------------------------


def _table(message: Message, name: str) -> Message:
    value = message.get(name)
    if not isinstance(value, dict):
        raise WireError(f"{name} is no object: {value!r}")
    return value


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise WireError(f"{name} is no text: {value!r}")
    return value


def whole(message: Message, name: str) -> int:
    """Return a whole number of a message."""
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireError(f"{name} is no whole number: {value!r}")
    return value


def exact_field(message: Message, name: str, default: Decimal | None = None) -> Decimal:
    """Return a number of a message exactly as it was written.

    Raises WireError when it is no finite number, and there is no default for an absent one.
    """
    value = message.get(name)
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


def float_field(message: Message, name: str) -> float:
    """Return a number of a message, NaN where it is null. Raises WireError when it is there and no number."""
    value = message.get(name)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError(f"{name} is no number: {value!r}")
    if not is_figure(value):
        raise WireError(f"{name} is beyond all bounds: {value!r}")
    return float(value)


def time_ns(message: Message, name: str) -> int:
    """Return a time of a message, UTC nanoseconds."""
    return instant_ns(whole(message, name), name)


def instant_ns(at_ms: int, name: str) -> int:
    """Return UTC nanoseconds of milliseconds. Raises WireError when they lie outside 1970 to 2100."""
    at_ns = at_ms * NANOS_PER_MS
    if not is_instant(at_ns):
        raise WireError(f"{name} is no time of this century: {at_ms}")
    return at_ns


def count_field(message: Message, name: str) -> int | None:
    """Return a number of contracts, rounded down; None where it is null, or none.

    >>> [count_field({"x": value}, "x") for value in (12.7, None, 1e30)]
    [12, None, None]
    """
    value = message.get(name)
    return int(value) if isinstance(value, int | float) and is_count(value) else None


def known_ns(message: Message, name: str) -> int:
    """Return a time, UTC nanoseconds; 0 where it cannot be read: what happened counts, whenever it was."""
    try:
        return time_ns(message, name)
    except WireError:
        return 0


def rows(value: Any, what: str) -> Sequence[Message]:
    """Return a list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise WireError(f"{what} is no list of objects: {str(value)[:80]}")
    return value


# instruments --------------------------------------------------------------------------------------------


def read_instrument(message: Message) -> Instrument | None:
    """Read one instrument of ``public/get_instruments``; None for what the desk does not trade."""
    name, kind = _text(message, "instrument_name"), message.get("kind")
    if kind == "option":
        try:
            return deribit_option(name, _ticks(message))
        except ArgumentError as problem:
            raise WireError(str(problem)) from None
    if kind != "future" or message.get("settlement_period") != "perpetual":
        return None
    is_inverse = message.get("instrument_type", message.get("quote_currency")) in ("reversed", "USD")
    if is_inverse:
        size = exact_field(message, "contract_size")
        if size <= 0 or size % 1 or not is_count(float(size)):
            raise WireError(f"contract_size of {name} is no whole number of dollars: {size}")
        return Perpetual(name, int(size), _ticks(message), currency=_text(message, "base_currency"))
    currency = message.get("settlement_currency") or message.get("quote_currency")
    return LinearPerpetual(name, _ticks(message), currency=str(currency))


def _ticks(message: Message) -> TickRule:
    below = exact_field(message, "tick_size")
    steps = [
        TickStep(exact_field(step, "above_price"), exact_field(step, "tick_size"))
        for step in rows(message.get("tick_size_steps") or [], "tick_size_steps")
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
    message: Message, instrument_id: InstrumentId, instrument: Instrument, recv_ns: int
) -> QuoteEvent:
    """Read the best prices of a ticker; a side without any is NaN with size 0."""
    sides = []
    for side in ("bid", "ask"):
        price, size = float_field(message, f"best_{side}_price"), float_field(message, f"best_{side}_amount")
        if not (price > 0.0 and size > 0.0):
            price, size = math.nan, 0.0
        sides.append((price, size / instrument.contract_size))
    (bid, bid_size), (ask, ask_size) = sides
    at_ns = time_ns(message, "timestamp")
    return QuoteEvent(instrument_id, at_ns, recv_ns, bid, ask, bid_size, ask_size)


def is_halted(message: Message) -> bool | None:
    """Return whether the book of a ticker's instrument is closed (Deribit, "ticker": ``state``).

    None where the ticker does not say.
    """
    state = message.get("state")
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


def order_request(command: SubmitOrder, instrument: Instrument, valid_until_ms: int) -> tuple[str, Message]:
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


def combo_trades(command: MultiLegOrder, instruments: Instruments) -> list[Message]:
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
    found = _table({"combo": message}, "combo")
    legs = rows(found.get("legs"), "legs")
    return _text(found, "id"), {_text(leg, "instrument_name"): exact_field(leg, "amount") for leg in legs}


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
) -> tuple[str, Message]:
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


def leg_report(message: Message, leg: SubmitOrder, symbol: str) -> OrderReport:
    """Read of a combo's state what it says of a leg; at what price that traded only its trades say.

    Raises WireError as :func:`read_report` does.
    """
    report = read_report(message, None)
    sets = exact_field(message, "amount")
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


def read_report(message: Message, instrument: Instrument | None) -> OrderReport:
    """Read an order's state; of a combo, which has no instrument, in sets.

    Raises WireError when a field cannot be read. A state that is not known leaves the order in doubt.
    """
    state = _text(message, "order_state")
    outcome = _OUTCOMES.get(state, Outcome.UNKNOWN)
    filled = exact_field(message, "filled_amount", ZERO)
    if instrument is not None:
        filled = quantity_of(instrument, filled)
    average = exact_field(message, "average_price", ZERO)
    reason = str(message.get("cancel_reason") or message.get("reject_reason") or "")
    if outcome is Outcome.UNKNOWN:
        reason = f"the venue shows a state that is not known: {state}"
    return OrderReport(
        str(message.get("label") or ""),
        _text(message, "order_id"),
        known_ns(message, "last_update_timestamp"),
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


def read_trade(message: Message, instrument: Instrument) -> VenueTrade:
    """Read an execution; that of a combo's leg is of an order of its own at the venue.

    Raises WireError when a field cannot be read.
    """
    price, quantity = exact_field(message, "price"), exact_field(message, "amount")
    fee, currency = exact_field(message, "fee", ZERO), message.get("fee_currency")
    is_own = not fee or currency in (None, instrument.currency)
    fill = VenueFill(
        execution_id=_text(message, "trade_id"),
        venue_order_id=_text(message, "order_id"),
        symbol=instrument.symbol,
        side=_side(message),
        quantity=quantity_of(instrument, quantity),
        cumulative=None,
        price=price,
        ts_event_ns=known_ns(message, "timestamp"),
        fee=fee if is_own else ZERO,
        # which sides were liquidated (M, T or MT); the other one may have been the account's
        is_liquidation=str(message.get("liquidity") or "-") in str(message.get("liquidation") or ""),
    )
    return VenueTrade(fill, str(message.get("label") or ""), is_own)


LOGGED = {
    "settlement": ChangeCause.FUNDING,
    "transfer": ChangeCause.TRANSFER,
    "deposit": ChangeCause.TRANSFER,
    "withdrawal": ChangeCause.TRANSFER,
}
"""Causes of the transaction log's types; deliveries depend on what they brought."""


def read_log(message: Message) -> VenueActivity | None:
    """Read one line of the transaction log; None for a trade, which comes as an execution.

    A settlement changes the balance by the session's profit of futures, too. The desk's cash has no part in
    that: of the line it takes the session's funding.
    """
    kind = _text(message, "type")
    if kind in ("trade", "maker", "taker"):
        return None
    quantity, cash = exact_field(message, "amount", ZERO), exact_field(message, "change", ZERO)
    price, side = exact_field(message, "price", ZERO), message.get("side")
    if side in ("close buy", "close sell"):  # of a delivery; its amount has no sign
        quantity = abs(quantity) if side == "close buy" else -abs(quantity)
    if kind == "settlement":
        cash = exact_field(message, "total_interest_pl", cash)
    if kind == "delivery" and quantity:
        cause = ChangeCause.CASH_SETTLEMENT if price > 0 else ChangeCause.EXPIRED_WORTHLESS
    else:
        cause, quantity = LOGGED.get(kind, ChangeCause.FEE), ZERO
    number = message.get("id")
    if number is None:  # what has been booked is known by it
        raise WireError(f"a line of the log without an id: {kind}")
    return VenueActivity(
        str(number),
        kind,
        cause,
        str(message.get("instrument_name") or ""),
        quantity,
        price if quantity else ZERO,
        cash,
        time_ns(message, "timestamp"),
    )


def _side(message: Message) -> Side:
    direction = message.get("direction")
    if direction not in ("buy", "sell"):
        raise WireError(f"direction is neither buy nor sell: {direction!r}")
    return Side.BUY if direction == "buy" else Side.SELL


def read_open_order(
    message: Message, instrument: Instrument | None, instrument_id: InstrumentId | None
) -> VenueOrder:
    """Read an order as it stands at the venue; of what the desk does not trade in the venue's amounts."""
    report, amount = read_report(message, instrument), exact_field(message, "amount")
    is_limit = needs_limit(message.get("order_type"))
    return VenueOrder(
        report.client_order_id,
        report.venue_order_id,
        _text(message, "instrument_name") if instrument is None else instrument.symbol,
        instrument_id,
        _side(message),
        amount if instrument is None else quantity_of(instrument, amount),
        report.filled,
        report.average_price,
        _text(message, "order_state"),
        report.outcome in MAY_FILL,
        exact_field(message, "price") if is_limit else None,
        known_ns(message, "creation_timestamp"),
        is_liquidation=message.get("is_liquidation") is True,
    )


def legs_of_open_combo(message: Message, legs: dict[str, Decimal]) -> list[VenueOrder]:
    """Read an order for a combo as it stands at the venue, as orders for its legs."""
    report, side = read_report(message, None), _side(message)
    return [
        VenueOrder(
            client_order_id=leg_id(report.client_order_id, symbol),
            venue_order_id=leg_id(report.venue_order_id, symbol),
            symbol=symbol,
            instrument_id=None,
            side=side if amount > 0 else Side.SELL if side is Side.BUY else Side.BUY,
            quantity=exact_field(message, "amount") * abs(amount),
            filled=report.filled * abs(amount),
            average_price=None,
            status=_text(message, "order_state"),
            is_open=report.outcome in MAY_FILL,
            limit_price=None,
            submitted_ns=known_ns(message, "creation_timestamp"),
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
    message: Message, instrument: Instrument | None, instrument_id: InstrumentId | None
) -> HeldAtVenue | None:
    """Read a position; None for a closed one, which may stay in the list."""
    name, size = _text(message, "instrument_name"), exact_field(message, "size")
    if not size:
        return None
    average, mark = exact_field(message, "average_price"), exact_field(message, "mark_price")
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


def margin_model(summary: Message) -> str:
    """Return the margin model of an account, in the venue's own words.

    >>> margin_model({"margin_model": "cross_pm"}), margin_model({"portfolio_margining_enabled": True})
    ('cross_pm', 'segregated_pm')
    """
    named = summary.get("margin_model")
    if isinstance(named, str) and named:
        return named
    collateral = "cross" if summary.get("cross_collateral_enabled") is True else "segregated"
    return f"{collateral}_{'pm' if summary.get('portfolio_margining_enabled') is True else 'sm'}"


def read_account(summary: Message, held: Sequence[HeldAtVenue]) -> AccountFacts:
    """Read ``private/get_account_summary``.

    The desk's cash is the venue's equity less what the positions are worth at the venue's own marks, so that
    both come to the same value, and less the session's funding, which the log shows at its settlement. The
    venue sets its maintenance margin against the margin balance, in which
    options do not count. What perpetuals may be bought for is the free margin over their initial rate.
    """
    equity = exact_field(summary, "equity")
    free, kept = exact_field(summary, "available_funds"), exact_field(summary, "maintenance_margin")
    collateral = min(equity, exact_field(summary, "margin_balance", equity))
    return AccountFacts(
        account_id=str(summary.get("id") or summary.get("username") or summary.get("currency")),
        status="ACTIVE",
        currency=_text(summary, "currency"),
        cash=equity - sum((line.value for line in held), exact_field(summary, "session_funding", ZERO)),
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
