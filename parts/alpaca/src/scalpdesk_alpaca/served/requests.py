"""Requests to Alpaca's REST interface, answers and error messages, and instants in a query.

What a request holds that is not valid raises :class:`ApiError`, here and in the endpoints.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.base import Cause, Refused, Side, new_york_ns, number_text, to_ns
from scalpdesk.exchange import BrokerAccount, Fault, OrderClass, OrderRequest
from scalpdesk.exchange.documents import asset_id


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

    ``status``: HTTP status.
    ``code``: Alpaca's error code; None omits it.
    ``message``: Message text, which clients match.
    ``extra``: Further fields of the object.
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

    ``refused``, ``account``: What the broker says, and to whom.
    ``wanted``, ``is_option``: The order that was asked for, where one was, and whether it is in options.
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
    if wanted is not None and wanted.side is Side.SELL and wanted.structure is OrderClass.SIMPLE:
        message = (
            f"insufficient options buying power for cash-secured put (required: {cost}, available: {power})"
        )
        return ApiError(403, FORBIDDEN, message)
    return ApiError(
        403, FORBIDDEN, "insufficient options buying power", options_buying_power=power, cost_basis=cost
    )


_SENTENCES: dict[tuple[int, int], dict[Cause, str]] = {
    (403, FORBIDDEN): {
        Cause.OPTIONS_LEVEL: "",
        Cause.ACCOUNT_BLOCKED: "new orders are rejected by user request or account is blocked",
        Cause.UNCOVERED_OPTION: "account not eligible to trade uncovered option contracts",
        Cause.EXPIRING_CONTRACT: "contract {symbol} expires today: orders are no longer accepted",
    },
    (403, 40310100): {Cause.DAY_TRADES: "trade denied due to pattern day trading protection"},
    (404, NOT_FOUND): {
        Cause.UNKNOWN_ORDER: "order not found for {order_id}",
        Cause.UNKNOWN_POSITION: "position does not exist",
    },
    (422, MALFORMED): {Cause.MALFORMED: "", Cause.UNKNOWN_ASSET: 'asset "{symbol}" not found'},
    (422, UNPROCESSABLE): {
        Cause.UNPROCESSABLE: "",
        Cause.SHORTING: 'asset "{symbol}" cannot be sold short',
        Cause.CLOSED_ORDER: 'order is already in "{status}" state',
        Cause.SUB_PENNY: (
            "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        ),
        Cause.INACTIVE_ASSET: 'asset "{symbol}" is not active',
        Cause.NOT_SENT_YET: "unable to replace order, order isn't sent to exchange yet",
        Cause.EXTENDED_HOURS: "extended hours order must be DAY limit orders",
        Cause.OUTSIDE_HOURS: "options market orders are only allowed during market hours",
        Cause.INTENT: "position intent mismatch, inferred: {inferred}, specified: {specified}",
    },
}
"""Messages by status and code; without one the broker's own sentence is sent."""
_PLAIN = {
    cause: (*answer, message)
    for answer, messages in _SENTENCES.items()
    for cause, message in messages.items()
}


_UNITS = {
    "Min": 60,
    "T": 60,
    "Hour": 3_600,
    "H": 3_600,
    "Day": 86_400,
    "D": 86_400,
    "Week": 604_800,
    "W": 604_800,
}
_LONGEST = 60


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

    >>> timeframe_seconds("5Min")
    300
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = _UNITS.get(text[len(digits) :])
    if unit is None or not (digits or "1").isdigit() or not 1 <= int(digits or "1") < _LONGEST:
        raise ApiError(400, 40010000, f"invalid timeframe: {text}")
    return int(digits or "1") * unit


def coming_weekend(today: date) -> date:
    """Return the Sunday that ends the week of ``today``: the default of a contract search."""
    return today + timedelta(days=6 - today.weekday())
