"""Alpaca's JSON forms: account state, requests, answers, error messages, instants in a query.

Money and quantities are strings, instants RFC 3339. What a request holds that is not valid raises
:class:`ApiError` here and in the endpoints.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, to_cents
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract
from scalpdesk.instruments.sessions import new_york_ns, next_session, to_new_york, to_ns
from scalpdesk.portfolio.positions import Position
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.hours import NEVER_NS
from scalpdesk.simulation.margin import AccountFigures
from scalpdesk.simulation.orders import (
    Activity,
    BrokerOrder,
    Cause,
    Execution,
    OrderRequest,
    OrderUpdate,
    PositionIntent,
    Refused,
    Structure,
)

JsonObject = dict[str, Any]
LISTED_ON = {"SPY": "ARCA", "IWM": "ARCA", "DIA": "ARCA", "QQQ": "NASDAQ", "NVDA": "NASDAQ"}
NO_ASSET = str(UUID(int=0))
"""In the stream, of an order over several contracts."""
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
    """Return an amount in cents, without needless zeros.

    >>> money_text(Decimal("-23140.204"))
    '-23140.2'
    """
    text = str(to_cents(value)).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


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
def uuid_of(text: str) -> str:
    """Return a UUID derived from a text."""
    return str(UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def asset_id(symbol: str) -> str:
    """Return the id of an asset: a UUID derived from its symbol."""
    return uuid_of(f"asset|{symbol}")


def account_id(name: str) -> str:
    """Return the id of an account: a UUID derived from its name."""
    return uuid_of(f"account|{name}")


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
    is_leg = order.request.structure is Structure.MLEG and instrument is not None
    shows_legs = order.legs and (with_legs or instrument is None)
    kind = "" if is_leg else order.kind.value
    structure = order.request.structure.value
    document = {
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
        "asset_class": "" if instrument is None else asset_class(instrument),
        "notional": None if order.request.notional is None else number_text(order.request.notional),
        "qty": None if order.request.notional is not None else number_text(order.quantity),
        "filled_qty": number_text(order.filled),
        "filled_avg_price": price_text(order.average),
        "order_class": structure if structure != "simple" else "",
        "order_type": kind,
        "type": kind,
        "side": "" if instrument is None else order.side.value,
        "time_in_force": order.lifetime.value,
        "limit_price": price_text(order.limit_price),
        "stop_price": price_text(order.stop_price),
        "trail_price": price_text(order.trail_price),
        "trail_percent": price_text(order.trail_percent),
        "hwm": price_text(order.high_water) if order.kind is OrderType.TRAILING_STOP else None,
        "status": order.status.value,
        "extended_hours": order.request.extended_hours,
        "legs": [order_json(world, leg) for leg in order.legs] if shows_legs else None,
        "subtag": None,
        "source": None,
    }
    if instrument is not None:
        document["position_intent"] = order.intent.value
    if is_leg:
        document["ratio_qty"] = number_text(order.ratio)
    return document


def update_json(world: SimulatedMarket, update: OrderUpdate) -> JsonObject:
    """Return the ``data`` of a trade update: its order as the stream shows it, and its executions."""
    order = order_json(world, update.order) | {"cancel_requested_at": None}
    if update.order.instrument_id is None:
        order |= {"asset_id": NO_ASSET, "side": update.order.side.value}
    data: JsonObject = {
        "event": update.event,
        "event_id": event_id(update.ts_ns, update.number),
        "timestamp": instant(update.ts_ns),
        "at": instant(update.ts_ns),
        "order": order,
    }
    execution = update.execution
    if execution is None:
        if update.event == "new":
            data["execution_id"] = uuid_of(f"new|{update.order.order_id}")
        return data
    data |= {
        "price": price_text(execution.price),
        "qty": number_text(execution.quantity),
        "swap_rate": "1",
        "settle_date": _settles_on(to_new_york(update.ts_ns).date()),
    }
    if update.leg_executions:
        return data | _leg_executions(world, update.leg_executions)
    data["execution_id"] = execution.execution_id
    if execution.corrects is not None:
        data["previous_execution_id"] = execution.corrects
    if update.position_quantity is not None:
        data["position_qty"] = number_text(update.position_quantity)
    return data


@lru_cache(maxsize=64)
def _settles_on(day: date) -> str:
    return next_session(day).day.isoformat()


def _leg_executions(world: SimulatedMarket, executions: Sequence[Execution]) -> JsonObject:
    """Return the executions of a combo's legs, and what is held after them."""
    legs, held = [], {}
    for execution in executions:
        number = execution.instrument_id
        assert number is not None
        symbol = world.ledger.instruments[number].symbol
        held[symbol] = number_text(world.ledger.accounts[execution.account].quantity(number))
        legs.append(
            {
                "execution_id": execution.execution_id,
                "qty": number_text(execution.quantity),
                "price": price_text(execution.price),
                "order_id": execution.order_id,
                "symbol": symbol,
                "timestamp": instant(execution.ts_ns),
            }
        )
    return {"legs": legs, "position_qtys": held}


def account_json(account: BrokerAccount, money: AccountFigures, now_ns: int) -> JsonObject:
    """Return an account."""
    blocked = account.trading_blocked
    return {
        "id": account_id(account.name),
        "account_number": account_number(account.name),
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "crypto_tier": 0,
        "admin_configurations": {},
        "user_configurations": None,
        "balance_asof": (to_new_york(now_ns).date() - timedelta(days=1)).isoformat(),
        "currency": "USD",
        "created_at": instant(account.created_ns),
        "cash": money_text(money.cash),
        "equity": money_text(money.equity),
        "last_equity": money_text(account.last_equity),
        "portfolio_value": money_text(money.equity),
        "long_market_value": money_text(money.long_value),
        "short_market_value": money_text(money.short_value),
        "position_market_value": money_text(money.long_value + money.short_value),
        "initial_margin": money_text(money.initial_margin),
        "maintenance_margin": money_text(money.maintenance_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "bod_dtbp": "0",
        "buying_power": money_text(money.buying_power),
        "effective_buying_power": money_text(money.buying_power),
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
        "asset_marginable": True,
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


DESCRIPTIONS = {
    "OPASN": "Options Assignment",
    "OPCSH": "Options Cash",
    "OPEXC": "Options Exercise",
    "OPEXP": "Options Expiry",
    "OPTRD": "Option Trade",
}


def activity_id(activity: Activity) -> str:
    """Return an activity's id: New York time and an execution's id, or the day and an id of its own."""
    moment = to_new_york(activity.ts_ns)
    if activity.execution is not None:
        return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1_000:03d}::{own_id(activity)}"
    return f"{moment:%Y%m%d}{0:09d}::{own_id(activity)}"


def own_id(activity: Activity) -> str:
    """Return the part of an activity's id that no other has."""
    if activity.execution is not None:
        return activity.execution.execution_id
    return activity.activity_id.rpartition("::")[2]


def leaders(account: BrokerAccount) -> Iterator[tuple[Activity, Activity]]:
    """Yield an account's activities, oldest first, each with the one that leads its group.

    A delivery belongs to the exercise or assignment that it follows; every other one leads its own.
    """
    leader = None
    for activity in account.activities:
        if leader is None or activity.kind != "OPTRD":
            leader = activity
        yield activity, leader


def activity_json(account: BrokerAccount, activity: Activity, leader: Activity) -> JsonObject:
    """Return an account activity; ``leader`` as in :func:`leaders`."""
    if activity.execution is not None:
        return _fill_json(account, activity, activity.execution)
    return _other_json(activity, uuid_of(f"group|{leader.activity_id}"))


def _fill_json(account: BrokerAccount, activity: Activity, execution: Execution) -> JsonObject:
    is_short = account.orders[execution.order_id].intent is PositionIntent.SELL_TO_OPEN
    return {
        "id": activity_id(activity),
        "activity_type": "FILL",
        "transaction_time": instant(activity.ts_ns),
        "type": "partial_fill" if execution.leaves else "fill",
        "price": price_text(execution.price),
        "qty": number_text(execution.quantity),
        "side": "sell_short" if is_short else execution.side.value,
        "symbol": activity.symbol,
        "order_id": execution.order_id,
        "leaves_qty": number_text(execution.leaves),
        "cum_qty": number_text(execution.cumulative),
        "order_status": "partially_filled" if execution.leaves else "filled",
    }


def _other_json(activity: Activity, group: str) -> JsonObject:
    document: JsonObject = {
        "id": activity_id(activity),
        "account_id": account_id(activity.account),
        "activity_type": activity.kind,
        "date": f"{to_new_york(activity.ts_ns):%Y-%m-%d}",
        "created_at": instant(activity.ts_ns),
        "net_amount": number_text(round(activity.net_amount, 4)),
        "description": activity.note or DESCRIPTIONS.get(activity.kind, activity.kind),
        "status": "executed",
        "group_id": group,
        "currency": "USD",
    }
    if activity.symbol:
        document["symbol"] = activity.symbol
    if activity.quantity:
        document["qty"] = number_text(activity.quantity)
    if activity.kind == "DIV":
        document["per_share_amount"] = price_text(activity.price)
    elif activity.price:
        document["price"] = price_text(activity.price)
    return document


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


@dataclass(slots=True)
class Request:
    """HTTP request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    at_ns: int = 0
    """Arrival by the clock of the rate limits, nanoseconds."""
    name: str = ""
    """Variable part of the path: a symbol or an id; the router finds it."""

    @property
    def is_data(self) -> bool:
        """Whether the market data interface is asked, not the trading interface."""
        return self.path.startswith(("/v2/stocks/", "/v1beta1/", "/v1/"))

    @property
    def is_options(self) -> bool:
        """Whether option data are asked for."""
        return self.path.startswith("/v1beta1/options/")

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

    def __init__(self, status: int, code: int | None, message: str, **extra: str | list[str]) -> None:
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


def from_refusal(
    refused: Refused, account: BrokerAccount, wanted: OrderRequest | None = None, *, is_option: bool = False
) -> ApiError:
    """Return Alpaca's error for a refusal of the broker.

    Parameters
    ----------
    refused, account
        What the broker says, and to whom.
    wanted, is_option
        The order that was asked for, where one was, and whether it is in options.
    """
    facts = _Facts(refused.facts)
    match refused.cause:
        case Cause.BUYING_POWER:
            return _too_dear(facts, wanted, is_option=is_option)
        case Cause.QUANTITY:
            message = (
                "insufficient qty available for order "
                f"(requested: {facts['requested']}, available: {facts['available']})"
            )
            extra: dict[str, str | list[str]] = {n: v for n, v in facts.items() if n != "requested"}
            if facts["held_for_orders"] not in ("", "0"):
                extra["related_orders"] = [
                    order.order_id
                    for order in account.open_orders()
                    if order.request.symbol == facts["symbol"]
                ]
            return ApiError(403, FORBIDDEN, message, **extra)
        case Cause.UNCOVERED_CALL:
            message = (
                "insufficient underlying qty available for covered call "
                f"(required: {facts['required_qty']}, available: {facts['available_qty']})"
            )
            names = {name: facts[name] for name in ("symbol", "required_qty", "available_qty")}
            return ApiError(
                403, FORBIDDEN, message, **names, underlying_asset_id=asset_id(facts["underlying"])
            )
        case Cause.SHORTING if account.multiplier == 1 or not account.shorting_enabled:
            return ApiError(403, FORBIDDEN, "account is not allowed to short")
        case Cause.WASH_TRADE:
            message = "potential wash trade detected. use complex orders"
            return ApiError(403, FORBIDDEN, message, reject_reason=facts["reject_reason"])
        case Cause.DUPLICATE_CLIENT_ID:
            before = None if wanted is None else account.by_client_id.get(wanted.client_order_id or "")
            code = UNPROCESSABLE if before is not None and before.is_open else MALFORMED
            return ApiError(422, code, "client_order_id must be unique")
        case cause:
            status, code, message = _PLAIN[cause]
            return ApiError(status, code, message.format_map(facts) if message else refused.detail)


class _Facts(dict[str, str]):
    """Values of a message; a fact that a staged fault does not know is left empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _too_dear(facts: dict[str, str], wanted: OrderRequest | None, *, is_option: bool) -> ApiError:
    """Return the refusal of what an account cannot pay for; options have a message of their own."""
    power, cost = (number_text(Decimal(facts[name] or "0")) for name in ("buying_power", "cost_basis"))
    if not is_option:
        return ApiError(403, FORBIDDEN, "insufficient buying power", buying_power=power, cost_basis=cost)
    if wanted is not None and wanted.side is Side.SELL and wanted.structure is Structure.SIMPLE:
        message = (
            f"insufficient options buying power for cash-secured put (required: {cost}, available: {power})"
        )
        return ApiError(403, FORBIDDEN, message)
    return ApiError(
        403, FORBIDDEN, "insufficient options buying power", options_buying_power=power, cost_basis=cost
    )


_PLAIN: dict[Cause, tuple[int, int, str]] = {
    Cause.OPTIONS_LEVEL: (403, FORBIDDEN, ""),
    Cause.ACCOUNT_BLOCKED: (403, FORBIDDEN, "new orders are rejected by user request or account is blocked"),
    Cause.SHORTING: (422, UNPROCESSABLE, 'asset "{symbol}" cannot be sold short'),
    Cause.UNCOVERED_OPTION: (403, FORBIDDEN, "account not eligible to trade uncovered option contracts"),
    Cause.CLOSED_ORDER: (422, UNPROCESSABLE, 'order is already in "{status}" state'),
    Cause.SUB_PENNY: (
        422,
        UNPROCESSABLE,
        "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    Cause.UNPROCESSABLE: (422, UNPROCESSABLE, ""),
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


def query_us(request: Request, name: str) -> int | None:
    """Return an instant of the query in UTC microseconds, the precision in which clients keep instants."""
    ts_ns = query_ns(request, name)
    return None if ts_ns is None else ts_ns // 1_000


def query_ns(request: Request, name: str) -> int | None:
    """Return an instant of the query in UTC nanoseconds; a bare date is midnight in New York."""
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
    """Return a date of the query; the time of day is ignored."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise ApiError(422, MALFORMED, f"invalid {name}: {text}") from error


def timeframe_seconds(text: str) -> int:
    """Return the length of a bar such as ``5Min`` or ``1Day``.

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
