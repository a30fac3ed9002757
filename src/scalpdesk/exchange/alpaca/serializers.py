"""Alpaca's JSON forms: account state, requests, answers, error messages, instants in a query.

Money and quantities are strings, instants RFC 3339.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from scalpdesk.core.intents import OrderType
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, to_cents
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract
from scalpdesk.instruments.sessions import new_york_ns, to_new_york, to_ns
from scalpdesk.portfolio.positions import Position
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.hours import NEVER_NS
from scalpdesk.simulation.margin import AccountFigures
from scalpdesk.simulation.orders import Activity, BrokerOrder, Cause, OrderUpdate, Refused, Structure

JsonObject = dict[str, Any]
LISTED_ON = {"SPY": "ARCA", "IWM": "ARCA", "DIA": "ARCA", "QQQ": "NASDAQ", "NVDA": "NASDAQ"}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def number_text(value: Decimal) -> str:
    """Return an exact number without needless zeros: 2, not 2.0.

    >>> number_text(Decimal("2.00")), number_text(Decimal("1E+2"))
    ('2', '100')
    """
    text = f"{value.normalize():f}"
    return "0" if text == "-0" else text


def price_text(value: Decimal | None) -> str | None:
    """Return a price of up to six decimals, or None."""
    return None if value is None else number_text(round(value, 6))


def money_text(value: Decimal) -> str:
    """Return an amount in cents.

    >>> money_text(Decimal("100000"))
    '100000.00'
    """
    return str(to_cents(value))


@lru_cache(maxsize=65_536)
def instant(ts_ns: int) -> str:
    """Return UTC nanoseconds as RFC 3339 with nine decimals and Z.

    >>> instant(1_500_000_000)
    '1970-01-01T00:00:01.500000000Z'
    """
    seconds, nanos = divmod(ts_ns, NANOS_PER_SECOND)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def instant_or_none(ts_ns: int) -> str | None:
    """Return an instant, or None where it is unset."""
    return instant(ts_ns) if 0 < ts_ns < NEVER_NS else None


def new_york_instant(ts_ns: int) -> str:
    """Return an instant with New York's offset (clock endpoint)."""
    return to_new_york(ts_ns).isoformat()


@lru_cache(maxsize=65_536)
def asset_id(symbol: str) -> str:
    """Return the id of an asset: a UUID derived from its symbol."""
    return str(UUID(bytes=hashlib.sha256(f"asset|{symbol}".encode()).digest()[:16], version=4))


def account_id(name: str) -> str:
    """Return the id of an account: a UUID derived from its name."""
    return str(UUID(bytes=hashlib.sha256(f"account|{name}".encode()).digest()[:16], version=4))


def event_id(ts_ns: int, number: int) -> str:
    """Return a ULID: 48 bits of milliseconds, then a counter; sorts in order of events."""
    value = ((ts_ns // 1_000_000) & ((1 << 48) - 1)) << 80 | (number & ((1 << 80) - 1))
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def asset_class(instrument: Instrument) -> str:
    """Return Alpaca's asset class."""
    return "us_option" if isinstance(instrument, OptionContract) else "us_equity"


def asset_json(instrument: Instrument) -> JsonObject:
    """Return an asset."""
    is_share = isinstance(instrument, Equity)
    return {
        "id": asset_id(instrument.symbol),
        "class": asset_class(instrument),
        "exchange": LISTED_ON.get(instrument.symbol, "NYSE") if is_share else "",
        "symbol": instrument.symbol,
        "name": f"{instrument.symbol} (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": is_share,
        "maintenance_margin_requirement": 30 if is_share else 100,
        "margin_requirement_long": "30" if is_share else "100",
        "margin_requirement_short": "30" if is_share else "100",
        "shortable": is_share,
        "easy_to_borrow": is_share,
        "fractionable": is_share,
        "attributes": ["has_options", "options_enabled"] if is_share else [],
    }


def order_json(world: SimulatedMarket, order: BrokerOrder, *, with_legs: bool = True) -> JsonObject:
    """Return an order with all keys; absent values are null."""
    instrument = None if order.instrument_id is None else world.ledger.instruments[order.instrument_id]
    is_combo = order.request.structure is Structure.MLEG
    shows_legs = order.legs and (with_legs or instrument is None)
    average = order.average
    kind = order.kind.value
    structure = order.request.structure.value
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": instant(order.created_ns),
        "updated_at": instant(order.updated_ns),
        "submitted_at": instant(order.created_ns),
        "filled_at": instant_or_none(order.filled_ns),
        "expired_at": instant_or_none(order.expired_ns),
        "canceled_at": instant_or_none(order.canceled_ns),
        "failed_at": instant_or_none(order.failed_ns),
        "replaced_at": instant_or_none(order.replaced_ns),
        "expires_at": instant_or_none(order.expires_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": "" if instrument is None else asset_id(instrument.symbol),
        "symbol": "" if instrument is None else instrument.symbol,
        "asset_class": "us_option" if instrument is None else asset_class(instrument),
        "notional": None if order.request.notional is None else number_text(order.request.notional),
        "qty": None if order.request.notional is not None else number_text(order.quantity),
        "filled_qty": number_text(order.filled),
        "filled_avg_price": price_text(average),
        "order_class": structure if structure != "simple" else "",
        "order_type": kind,
        "type": kind,
        "side": None if is_combo and instrument is None else order.side.value,
        "position_intent": None if is_combo and instrument is None else order.intent.value,
        "time_in_force": order.lifetime.value,
        "limit_price": price_text(order.limit_price),
        "stop_price": price_text(order.stop_price),
        "trail_price": price_text(order.trail_price),
        "trail_percent": price_text(order.trail_percent),
        "hwm": price_text(order.high_water) if order.kind is OrderType.TRAILING_STOP else None,
        "status": order.status.value,
        "extended_hours": order.request.extended_hours,
        "legs": [order_json(world, leg) for leg in order.legs] if shows_legs else None,
        "ratio_qty": number_text(order.ratio) if is_combo and instrument is not None else None,
        "reject_reason": order.reject_reason,
    }


def update_json(world: SimulatedMarket, update: OrderUpdate) -> JsonObject:
    """Return the ``data`` of a trade update."""
    data: JsonObject = {
        "event": update.event,
        "event_id": event_id(update.ts_ns, update.number),
        "timestamp": instant(update.ts_ns),
        "at": instant(update.ts_ns),
        "order": order_json(world, update.order),
    }
    if update.execution is not None:
        data["execution_id"] = update.execution.execution_id
        data["price"] = price_text(update.execution.price)
        data["qty"] = number_text(update.execution.quantity)
        if update.execution.corrects is not None:
            data["previous_execution_id"] = update.execution.corrects
        if update.position_quantity is not None:
            data["position_qty"] = number_text(update.position_quantity)
    return data


def account_json(account: BrokerAccount, money: AccountFigures) -> JsonObject:
    """Return an account."""
    blocked = account.trading_blocked
    return {
        "id": account_id(account.name),
        "account_number": account_number(account.name),
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "created_at": instant(account.created_ns),
        "cash": money_text(money.cash),
        "equity": money_text(money.equity),
        "last_equity": money_text(account.last_equity),
        "portfolio_value": money_text(money.equity),
        "long_market_value": money_text(money.long_value),
        "short_market_value": money_text(money.short_value),
        "initial_margin": money_text(money.initial_margin),
        "maintenance_margin": money_text(money.maintenance_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "buying_power": money_text(money.buying_power),
        "daytrading_buying_power": money_text(money.buying_power),
        "regt_buying_power": money_text(money.overnight_buying_power),
        "non_marginable_buying_power": money_text(money.options_buying_power),
        "options_buying_power": money_text(money.options_buying_power),
        "multiplier": str(account.multiplier),
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "trading_blocked": blocked,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": account.shorting_enabled,
        "pattern_day_trader": account.multiplier == 4,
        "daytrade_count": 0,
        "options_approved_level": account.options_level,
        "options_trading_level": account.options_level,
    }


def account_number(name: str) -> str:
    """Return the account number shown to users, in the form of paper accounts."""
    return "PA" + hashlib.sha256(f"number|{name}".encode()).hexdigest()[:10].upper()


def position_json(
    world: SimulatedMarket, account: BrokerAccount, number: InstrumentId, held: Position
) -> JsonObject:
    """Return a position; option values include the multiplier, their prices do not."""
    books = world.ledger
    instrument = books.instruments[number]
    mark = books.mark(number)
    before = world.closes.get(number, mark)
    units = held.quantity * instrument.multiplier
    value, cost = units * mark, units * held.average_price
    gain = value - cost
    share = gain / abs(cost) if cost else Decimal(0)
    free = abs(held.quantity) - account.held_for_orders(number)
    sign = 1 if held.quantity > 0 else -1
    return {
        "asset_id": asset_id(instrument.symbol),
        "symbol": instrument.symbol,
        "exchange": LISTED_ON.get(instrument.symbol, "NYSE") if isinstance(instrument, Equity) else "",
        "asset_class": asset_class(instrument),
        "asset_marginable": isinstance(instrument, Equity),
        "qty": number_text(held.quantity),
        "qty_available": number_text(sign * max(free, Decimal(0))),
        "side": "long" if held.quantity > 0 else "short",
        "avg_entry_price": price_text(held.average_price),
        "market_value": number_text(round(value, 4)),
        "cost_basis": number_text(round(cost, 4)),
        "unrealized_pl": number_text(round(gain, 4)),
        "unrealized_plpc": number_text(round(share, 10)),
        "unrealized_intraday_pl": number_text(round(gain, 4)),
        "unrealized_intraday_plpc": number_text(round(share, 10)),
        "current_price": price_text(mark),
        "lastday_price": price_text(before),
        "change_today": number_text(round(mark / before - 1, 10)) if before else "0",
    }


def activity_json(activity: Activity) -> JsonObject:
    """Return an account activity."""
    execution = activity.execution
    if execution is not None:
        return {
            "id": activity.activity_id,
            "activity_type": "FILL",
            "transaction_time": instant(activity.ts_ns),
            "type": "fill",
            "price": price_text(execution.price),
            "qty": number_text(execution.quantity),
            "side": execution.side.value,
            "symbol": activity.symbol,
            "order_id": execution.order_id,
            "execution_id": execution.execution_id,
            "leaves_qty": number_text(execution.leaves),
            "cum_qty": number_text(execution.cumulative),
        }
    return {
        "id": activity.activity_id,
        "activity_type": activity.kind,
        "date": f"{to_new_york(activity.ts_ns):%Y-%m-%d}",
        "created_at": instant(activity.ts_ns),
        "net_amount": number_text(round(activity.net_amount, 4)),
        "symbol": activity.symbol,
        "qty": number_text(activity.quantity),
        "price": price_text(activity.price),
        "status": "executed",
        "description": activity.note,
        "per_share_amount": price_text(activity.price) if activity.kind == "DIV" else None,
    }


def contract_json(world: SimulatedMarket, contract: OptionContract, status: str) -> JsonObject:
    """Return an option contract."""
    number = world.ledger.instruments.id_of(contract.symbol)
    interest = world.source.open_interest.get(contract.symbol)
    close = world.closes.get(number)
    yesterday = f"{to_new_york(world.now_ns - 86_400 * NANOS_PER_SECOND):%Y-%m-%d}"
    strike = number_text(contract.strike)
    kind = "call" if contract.is_call else "put"
    return {
        "id": asset_id(contract.symbol),
        "symbol": contract.symbol,
        "name": f"{contract.underlying} {contract.expiry:%b %d %Y} {strike} {kind.title()}",
        "status": status,
        "tradable": status == "active",
        "expiration_date": contract.expiry.isoformat(),
        "root_symbol": contract.root,
        "underlying_symbol": contract.underlying,
        "underlying_asset_id": asset_id(contract.underlying),
        "type": kind,
        "style": contract.style.value,
        "strike_price": strike,
        "multiplier": str(contract.multiplier),
        "size": str(contract.multiplier),
        "open_interest": None if interest is None else str(interest),
        "open_interest_date": None if interest is None else yesterday,
        "close_price": None if close is None else price_text(close),
        "close_price_date": None if close is None else yesterday,
    }


@dataclass(frozen=True, slots=True)
class Request:
    """HTTP request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    at_ns: int = 0
    """Arrival by the clock of the rate limits, nanoseconds."""

    def flag(self, name: str) -> bool:
        """Return whether a query parameter is true ("true", "1" or "yes")."""
        return self.query.get(name, "").lower() in ("true", "1", "yes")

    def listed(self, name: str) -> list[str]:
        """Return a comma-joined query parameter as a list."""
        return [part for part in self.query.get(name, "").split(",") if part]


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP answer, with the fault that applies to its delivery."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    def json(self) -> Any:
        """Return the decoded body."""
        return msgspec.json.decode(self.body)


class ApiError(Exception):
    """An answer with an error object.

    Parameters
    ----------
    status
        HTTP status.
    code
        Alpaca's error code; None omits it.
    message
        Message text, which clients match.
    extra
        Further fields of the object.
    """

    def __init__(self, status: int, code: int | None, message: str, **extra: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra
        super().__init__(message)

    def document(self) -> dict[str, Any]:
        """Return the error object."""
        start: dict[str, Any] = {} if self.code is None else {"code": self.code}
        return {**start, "message": self.message, **self.extra}


FORBIDDEN = 40310000
MALFORMED = 40010001
UNPROCESSABLE = 42210000
NOT_FOUND = 40410000
UNAUTHORIZED = 40110000
TOO_MANY = 42910000
INTERNAL = 50010000


def from_refusal(refused: Refused) -> ApiError:
    """Return Alpaca's error for a refusal of the broker."""
    cause, facts = refused.cause, refused.facts
    detail = refused.detail
    match cause:
        case Cause.BUYING_POWER:
            return ApiError(403, FORBIDDEN, "insufficient buying power", **facts)
        case Cause.QUANTITY:
            requested = facts.pop("requested", "0")
            message = (
                f"insufficient qty available for order "
                f"(requested: {requested}, available: {facts.get('available', '0')})"
            )
            return ApiError(403, FORBIDDEN, message, **facts)
        case Cause.UNCOVERED_CALL:
            message = (
                "insufficient underlying qty available for covered call "
                f"(required: {facts.get('required_qty', '0')}, available: {facts.get('available_qty', '0')})"
            )
            return ApiError(403, FORBIDDEN, message, **facts)
        case Cause.UNCOVERED_OPTION:
            return ApiError(403, FORBIDDEN, "account not eligible to trade uncovered option contracts")
        case Cause.WASH_TRADE:
            return ApiError(403, FORBIDDEN, "potential wash trade detected. use complex orders", **facts)
        case Cause.DUPLICATE_CLIENT_ID:
            return ApiError(422, MALFORMED, "client_order_id must be unique")
        case Cause.CLOSED_ORDER:
            return ApiError(
                422, UNPROCESSABLE, f'order is already in "{facts.get("status", "filled")}" state'
            )
        case Cause.SUB_PENNY:
            message = (
                f"invalid {facts.get('name', 'limit_price')} {facts.get('price', '')}. "
                "sub-penny increment does not fulfill minimum pricing criteria"
            )
            return ApiError(422, UNPROCESSABLE, message)
        case _:
            status, code, message = _PLAIN[cause]
            return ApiError(status, code, _worded(message, detail, facts))


def _worded(message: str, detail: str, facts: dict[str, str]) -> str:
    if not message:
        return detail
    return message.format_map({"order_id": "", "symbol": "", **facts})


_PLAIN: dict[Cause, tuple[int, int, str]] = {
    Cause.OPTIONS_LEVEL: (403, FORBIDDEN, ""),
    Cause.ACCOUNT_BLOCKED: (403, FORBIDDEN, "new orders are rejected by user request or account is blocked"),
    Cause.SHORTING: (403, FORBIDDEN, 'asset "{symbol}" cannot be sold short'),
    Cause.DAY_TRADES: (403, 40310100, "trade denied due to pattern day trading protection"),
    Cause.MALFORMED: (422, MALFORMED, ""),
    Cause.UNKNOWN_ASSET: (422, MALFORMED, 'asset "{symbol}" not found'),
    Cause.INACTIVE_ASSET: (422, UNPROCESSABLE, 'asset "{symbol}" is not active'),
    Cause.UNKNOWN_ORDER: (404, NOT_FOUND, "order not found for {order_id}"),
    Cause.UNKNOWN_POSITION: (404, NOT_FOUND, "position does not exist"),
    Cause.NOT_SENT_YET: (422, UNPROCESSABLE, "unable to replace order, order isn't sent to exchange yet"),
    Cause.EXTENDED_HOURS: (422, UNPROCESSABLE, "extended hours order must be DAY limit orders"),
    Cause.OUTSIDE_HOURS: (
        422,
        UNPROCESSABLE,
        "options market orders are only allowed during market hours",
    ),
    Cause.INTENT: (
        422,
        UNPROCESSABLE,
        "position intent mismatch, inferred: {inferred}, specified: {specified}",
    ),
    Cause.EXPIRING_CONTRACT: (
        403,
        FORBIDDEN,
        "contract {symbol} expires today: orders are no longer accepted",
    ),
}


UNITS = {
    "Min": 60,
    "T": 60,
    "Hour": 3_600,
    "H": 3_600,
    "Day": 86_400,
    "D": 86_400,
    "Week": 604_800,
    "W": 604_800,
}
LONGEST = 60


def query_ns(request: Request, name: str) -> int | None:
    """Return an instant of the query in UTC nanoseconds; a bare date is midnight in New York.

    Raises
    ------
    ApiError
        When it is invalid.
    """
    text = request.query.get(name)
    if not text:
        return None
    try:
        if len(text) == len("2026-01-01"):
            return new_york_ns(date.fromisoformat(text), time(0))
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise ApiError(422, MALFORMED, f"invalid {name}: {text}") from error
    return to_ns(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def query_date(request: Request, name: str) -> date | None:
    """Return a date of the query; the time of day is ignored.

    Raises
    ------
    ApiError
        When it is invalid.
    """
    text = request.query.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise ApiError(422, MALFORMED, f"invalid {name}: {text}") from error


def timeframe_seconds(text: str) -> int:
    """Return the length of a bar such as ``5Min`` or ``1Day``.

    Raises
    ------
    ApiError
        When it is invalid.

    Examples
    --------
    >>> timeframe_seconds("5Min")
    300
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = UNITS.get(text[len(digits) :])
    if unit is None or not (digits or "1").isdigit() or not 1 <= int(digits or "1") < LONGEST:
        raise ApiError(400, 40010000, f"invalid timeframe: {text}")
    return int(digits or "1") * unit


def coming_weekend(today: date) -> date:
    """Return the Sunday that ends the week of ``today``: the default of a contract search."""
    return today + timedelta(days=6 - today.weekday())
