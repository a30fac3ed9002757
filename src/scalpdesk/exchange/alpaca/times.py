"""Instants and dates as Alpaca's clients write them in a query."""

from datetime import UTC, date, datetime, time, timedelta

from scalpdesk.exchange.alpaca.messages import MALFORMED, ApiError, Request
from scalpdesk.instruments.sessions import new_york_ns, to_ns

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
    """Return an instant of the query in UTC nanoseconds; a bare date is New York's midnight.

    Raises
    ------
    ApiError
        When it cannot be read.
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
    """Return a date of the query; the time of an instant is left out.

    Raises
    ------
    ApiError
        When it cannot be read.
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
        When it is none.

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
