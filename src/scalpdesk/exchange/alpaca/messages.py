"""Requests, answers and refusals in Alpaca's own words."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from scalpdesk.simulation.broker.refusals import Cause, Refused
from scalpdesk.simulation.faults import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    at_ns: int = 0
    """When it arrived by the clock that rate limits follow, nanoseconds."""

    def flag(self, name: str) -> bool:
        """Return whether a query parameter is true; any spelling of "true" counts."""
        return self.query.get(name, "").lower() in ("true", "1", "yes")

    def listed(self, name: str) -> list[str]:
        """Return a comma-joined query parameter as a list."""
        return [one for one in self.query.get(name, "").split(",") if one]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, and what is to happen to it on its way."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    mishap: Fault | None = None

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
        Alpaca's code; None leaves it out, as the gateway does.
    message
        Text for people, matched by clients.
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
    """Put a refusal of the broker in Alpaca's words."""
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
