"""Scheduled events of the market: FOMC statements, CPI, payrolls from ``events.toml``, and monthly expiries.

Each list of the file states its source and the days that it covers; what lies beyond is unknown, not absent
(:func:`why_unknown`). Ex-dividend dates are declared in the market and not listed here.
"""

import tomllib
from bisect import bisect_left
from collections.abc import Collection
from datetime import date, time, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import NEW_YORK, from_ns, is_session, new_york_ns, session_on


class EventKind(StrEnum):
    """Kind of a scheduled event."""

    FOMC = "fomc"
    CPI = "cpi"
    PAYROLLS = "payrolls"
    EXPIRY = "expiry"
    """Monthly expiry of options on shares and funds, at the close."""
    EX_DIVIDEND = "ex_dividend"
    """First session without a dividend, at its open."""


class ScheduledEvent(NamedTuple):
    """An event, ordered by its instant (UTC nanoseconds)."""

    at_ns: int
    kind: EventKind


class _Listed(NamedTuple):
    label: str
    first: date
    last: date
    days: frozenset[date]
    clock_time: time
    source: str


def _load() -> dict[EventKind, _Listed]:
    table: dict[str, Any] = tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
    return {
        EventKind(name): _Listed(
            each["label"],
            each["first"],
            each["last"],
            frozenset(each["days"]),
            each["time"],
            each["source"],
        )
        for name, each in table.items()
    }


LISTED = _load()
"""Lists of the file by kind."""
FOMC_STATEMENT_DAYS = LISTED[EventKind.FOMC].days
FOMC_STATEMENT_TIME = LISTED[EventKind.FOMC].clock_time


def fomc_blocked(ts_ns: int, minutes: int = 30) -> bool:
    """Return whether ``ts_ns`` lies within ``minutes`` of an FOMC statement, both ends included."""
    day = from_ns(ts_ns).astimezone(NEW_YORK).date()
    if day not in FOMC_STATEMENT_DAYS:
        return False
    return abs(ts_ns - new_york_ns(day, FOMC_STATEMENT_TIME)) <= minutes * 60 * NANOS_PER_SECOND


def monthly_expiry(year: int, month: int) -> date:
    """Return the monthly expiry: the third Friday, or the session before it where that is a holiday."""
    first = date(year, month, 1)
    friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    return friday if is_session(friday) else friday - timedelta(days=1)


@lru_cache(maxsize=64)
def _events_of(year: int, kind: EventKind) -> tuple[int, ...]:
    """Return the instants of a kind in a year, ascending."""
    if kind == EventKind.EXPIRY:
        days = [monthly_expiry(year, month) for month in range(1, 13)]
        return tuple(session_on(day).close_ns for day in days)
    listed = LISTED[kind]
    days = sorted(day for day in listed.days if day.year == year)
    return tuple(new_york_ns(day, listed.clock_time) for day in days)


def events_between(
    start_ns: int, end_ns: int, kinds: Collection[EventKind] = tuple(LISTED)
) -> tuple[ScheduledEvent, ...]:
    """Return the events after one instant and up to another (UTC nanoseconds), in order.

    ``ex_dividend`` is in no list and gives no event.
    """
    found = []
    for kind in kinds:
        if kind == EventKind.EX_DIVIDEND:
            continue
        for year in range(from_ns(start_ns).year, from_ns(end_ns).year + 1):
            instants = _events_of(year, kind)
            after = bisect_left(instants, start_ns + 1)
            found += [ScheduledEvent(at_ns, kind) for at_ns in instants[after:] if at_ns <= end_ns]
    return tuple(sorted(found))


def why_unknown(kinds: Collection[EventKind], day: date) -> str:
    """Return which lists do not cover a day, in words; empty where all do."""
    gaps = [
        f"{LISTED[kind].label} is known from {LISTED[kind].first} to {LISTED[kind].last}"
        for kind in kinds
        if kind in LISTED and not LISTED[kind].first <= day <= LISTED[kind].last
    ]
    return "; ".join(gaps)
