"""Trading sessions, half days and expiry instants.

The exchange calendar is ``exchange_calendars``, which only this module uses (imported late: it brings
pandas). What it does not have, by date: ``hours.toml``.
"""

import tomllib
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.instruments.contract import OptionContract, Settlement

NEW_YORK = ZoneInfo("America/New_York")
REGULAR_CLOSE = time(16, 0)
COIN_EXPIRY = time(8, 0, tzinfo=UTC)
"""Deribit's options expire, and its days of account begin, at this time."""
_AT_OPENING = frozenset({Settlement.CASH_AM, Settlement.FUTURE_AM})
"""Settled at the opening of the expiry morning."""
_CHICAGO = ZoneInfo("America/Chicago")
_GLOBEX_OPEN, _GLOBEX_CLOSE = time(17, 0), time(16, 0)
"""Chicago times of CME's electronic session of index futures: from the evening before to the afternoon."""
_LATER_CLOSE, _LATER_UNTIL = time(16, 15), date(2015, 9, 18)
"""Its close up to this day; until June 2021 it halted from 15:15 to 15:30, in which no data comes."""
OLDEST_CLOSE_NS = 15 * MINUTE_NS
"""Age of a last level, at the end of a session, up to which it stands for the closing level."""
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Session:
    """Trading session of an exchange; instants in UTC nanoseconds."""

    day: date
    open_ns: int
    close_ns: int

    @property
    def is_half_day(self) -> bool:
        """True when the session ends before 16:00 New York."""
        return to_new_york(self.close_ns).time() < REGULAR_CLOSE

    def clock_ns(self, text: str) -> int:
        """Return the instant of a New York time (``HH:MM``) on the session's day, UTC nanoseconds."""
        return _clock_ns(self.day, text)


@lru_cache(maxsize=1024)
def _clock_ns(day: date, text: str) -> int:
    """Work out an instant that a strategy asks for at each quote, once."""
    return new_york_ns(day, time.fromisoformat(text))


def rfc3339(ts_ns: int) -> str:
    """Return UTC nanoseconds as RFC 3339 with nine decimals and a ``Z``.

    >>> rfc3339(1795185000123456789)
    '2026-11-20T14:30:00.123456789Z'
    """
    seconds, nanos = divmod(ts_ns, NANOS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{nanos:09d}Z"


def to_ns(moment: datetime) -> int:
    """UTC nanoseconds of an aware datetime, exact to the microsecond."""
    if moment.tzinfo is None:
        raise ArgumentError("a moment needs a time zone", where="moment", value=moment.isoformat())
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000


def from_ns(ts_ns: int) -> datetime:
    """Aware UTC datetime of UTC nanoseconds (cut to microseconds)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_ns // 1_000)


def to_new_york(ts_ns: int) -> datetime:
    """Aware New York datetime of UTC nanoseconds."""
    return from_ns(ts_ns).astimezone(NEW_YORK)


def moment_text(ts_ns: int) -> str:
    """Return an instant as every page, command, alert and message of a desk writes it, with its zone.

    >>> moment_text(1_517_850_000 * 10**9)
    '2018-02-05 12:00:00 ET'
    """
    return f"{to_new_york(ts_ns):%Y-%m-%d %H:%M:%S} ET"


def new_york_ns(day: date, clock_time: time) -> int:
    """UTC nanoseconds of a wall time in New York."""
    return to_ns(datetime.combine(day, clock_time, tzinfo=NEW_YORK))


FIRST_DAY, LAST_DAY = date(1995, 1, 1), date(2030, 12, 31)
"""Reach of the calendar."""


class GlobexHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Row of an early close of CME's electronic session of index futures."""

    on: str
    """``half day`` or ``holiday`` of the stock exchanges, or days by date."""
    closes: time
    """Chicago."""
    source: str
    since: date = FIRST_DAY
    until: date = LAST_DAY

    @property
    def dates(self) -> tuple[str, ...]:
        """Its days, where it names them."""
        return tuple(self.on.split()) if self.on[0].isdigit() else ()


class CboeHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Row of a session of index options beside the regular one, New York."""

    name: str
    """``global`` or ``curb``."""
    roots: str
    opens: time
    """In the evening before, where it is later than ``closes``."""
    closes: time
    source: str
    since: date
    until: date = LAST_DAY


class _HoursTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, str]
    globex: tuple[GlobexHours, ...]
    cboe: tuple[CboeHours, ...]


@cache
def hours_table() -> _HoursTable:
    """Return the hours by date, each row with what says so."""
    text = files(__package__).joinpath("hours.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _HoursTable)


@lru_cache(maxsize=2)
def _calendar(exchange: str = "XNYS") -> Any:
    import exchange_calendars  # noqa: PLC0415 - brings pandas, half a second that --help must not pay

    with warnings.catch_warnings():
        # internal to the calendar package and pandas, nothing that a caller could change
        warnings.simplefilter("ignore", DeprecationWarning)
        return exchange_calendars.get_calendar(exchange, start=str(FIRST_DAY), end=str(LAST_DAY))


def is_known(day: date) -> bool:
    """Return whether the calendar reaches ``day``; the other functions here ask it of days within its reach.

    >>> is_known(date(2018, 2, 3)), is_known(date(3024, 2, 5))
    (True, False)
    """
    return FIRST_DAY <= day <= LAST_DAY


def is_session(day: date) -> bool:
    """Return whether the exchange trades on ``day``."""
    return bool(_calendar().is_session(day.isoformat()))


def why_closed(day: date) -> str | None:
    """Return why the exchange does not trade on ``day``: a weekend day or ``a holiday``; None when it does.

    >>> why_closed(date(2018, 2, 3)), why_closed(date(2018, 1, 15)), why_closed(date(2018, 2, 5))
    ('a Saturday', 'a holiday', None)
    """
    if day.weekday() >= SATURDAY:
        return f"a {day:%A}"
    return None if is_session(day) else "a holiday"


@lru_cache(maxsize=4096)
def session_on(day: date) -> Session:
    """Return the session of ``day``.

    Raises ArgumentError when the exchange does not trade on that day; names the session before and after.
    """
    exchange = _calendar()
    label = day.isoformat()
    if not exchange.is_session(label):
        before = exchange.date_to_session(label, direction="previous").date()
        after = exchange.date_to_session(label, direction="next").date()
        raise ArgumentError(
            "XNYS does not trade on this day",
            where="session",
            value=label,
            fix=f"use {before} or {after}",
        )
    return Session(day, int(exchange.session_open(label).value), int(exchange.session_close(label).value))


def coin_session(day: date) -> Session:
    """Return the day of account of a market that never closes: 08:00 UTC to 08:00 UTC of the next day.

    >>> coin_session(date(2026, 3, 1)).close_ns == coin_session(date(2026, 3, 2)).open_ns
    True
    """
    opens, closes = (datetime.combine(day + timedelta(days=n), COIN_EXPIRY) for n in (0, 1))
    return Session(day, to_ns(opens), to_ns(closes))


def globex_session(day: date) -> Session:
    """Return CME's electronic session of index futures on a trade date: around the clock but for an hour.

    From 17:00 Chicago on the evening before (Sunday's for Monday) to 16:00; to 12:15 on half days of the
    stock exchanges, to noon on most of their holidays, some minutes into others (rows of ``hours.toml``).
    Raises ArgumentError when the exchange does not trade on that day.

    >>> session = globex_session(date(2013, 10, 7))
    >>> str(from_ns(session.open_ns)), str(from_ns(session.close_ns))
    ('2013-10-06 22:00:00+00:00', '2013-10-07 21:15:00+00:00')
    """
    label, early = day.isoformat(), _globex_early_close(day)
    if early is None and not _calendar("CMES").is_session(label):
        raise ArgumentError("CME does not trade index futures on this day", where="session", value=label)
    opens = to_ns(datetime.combine(day - timedelta(days=1), _GLOBEX_OPEN, tzinfo=_CHICAGO))
    usual = _LATER_CLOSE if day <= _LATER_UNTIL else _GLOBEX_CLOSE
    return Session(day, opens, to_ns(datetime.combine(day, early or usual, tzinfo=_CHICAGO)))


@lru_cache(maxsize=4096)
def _globex_early_close(day: date) -> time | None:
    """Return when the electronic session of a day ends early, Chicago; None on others."""
    rows = hours_table().globex
    own = next((row.closes for row in rows if day.isoformat() in row.on.split()), None)
    if own is not None or not _calendar("CMES").is_session(day.isoformat()):
        return own
    kind = "holiday" if not is_session(day) else "half day" if session_on(day).is_half_day else ""
    return next((row.closes for row in rows if row.on == kind and row.since <= day <= row.until), None)


def globex_sessions(start: date, end: date) -> tuple[Session, ...]:
    """Return CME's electronic sessions from ``start`` to ``end``, both included."""
    days = {day.date() for day in _calendar("CMES").sessions_in_range(start.isoformat(), end.isoformat())}
    dated = (date.fromisoformat(text) for row in hours_table().globex for text in row.dates)
    return tuple(globex_session(day) for day in sorted(days | {day for day in dated if start <= day <= end}))


def account_day(ts_ns: int) -> date:
    """Return the day of account that an instant belongs to: an end at 08:00 UTC belongs to the day it ends.

    >>> account_day(coin_session(date(2025, 3, 5)).open_ns)
    datetime.date(2025, 3, 4)
    """
    return from_ns(ts_ns - 1 - coin_session(date(1970, 1, 1)).open_ns).date()


def whole_session(session: Session) -> Session:
    """Return the exchange's full session for one that a desk joined late (same close, later open).

    Any other session, as of a simulated exchange that is open at night, is returned unchanged.
    """
    try:
        known = session_on(session.day) if is_session(session.day) else None
    except (ArgumentError, ValueError):  # beyond the calendar
        known = None
    if known is not None and known.open_ns < session.open_ns and known.close_ns == session.close_ns:
        return known
    return session


def ex_instant_ns(ts_ns: int) -> int:
    """Return when a corporate action that an account shows at ``ts_ns`` goes ex, UTC nanoseconds.

    The open of the session under way or of the next one: venues write an action down in the night before it,
    under its day or when their books are done. An instant beyond the calendar is returned unchanged.
    """
    day = to_new_york(ts_ns).date()
    try:
        session = session_on(day) if is_session(day) else next_session(day)
        return (session if ts_ns < session.close_ns else next_session(day)).open_ns
    except (ArgumentError, ValueError):
        return ts_ns


def sessions_between(start: date, end: date) -> tuple[Session, ...]:
    """Return all sessions from ``start`` to ``end``, both included."""
    days = _calendar().sessions_in_range(start.isoformat(), end.isoformat())
    return tuple(session_on(day.date()) for day in days)


@lru_cache(maxsize=8)
def session_days(start: date, end: date) -> tuple[date, ...]:
    """Return the days of all sessions from ``start`` to ``end``, both included."""
    days = _calendar().sessions_in_range(start.isoformat(), end.isoformat())
    return tuple(day.date() for day in days)


@lru_cache(maxsize=8192)
def previous_session(day: date) -> Session:
    """Return the last session before ``day``."""
    before = (day - timedelta(days=1)).isoformat()
    return session_on(_calendar().date_to_session(before, direction="previous").date())


@lru_cache(maxsize=8192)
def next_session(day: date) -> Session:
    """Return the first session after ``day``."""
    after = (day + timedelta(days=1)).isoformat()
    return session_on(_calendar().date_to_session(after, direction="next").date())


@lru_cache(maxsize=8192)
def effective_day(day: date) -> date:
    """Return the session on which an option dated ``day`` ends: off sessions the one before, Mondays after.

    Monthly series carried the Saturday after the third Friday until January 2015 (Federal Register
    2013-10605); a weekly series of a Monday without a session ends on the next one (Cboe, weekly options).

    >>> str(effective_day(date(2014, 4, 19)))  # Good Friday before it
    '2014-04-17'
    """
    if not is_known(day) or is_session(day):
        return day
    return (previous_session(day) if day.weekday() else next_session(day)).day


@lru_cache(maxsize=8192)
def expiry_instant_ns(contract: OptionContract) -> int:
    """Return the instant at which the option's payoff is fixed, in UTC nanoseconds.

    Physical and PM-settled: the close of the expiry session (13:00 New York on a half day). AM-settled, and
    on a future that ends with it: its open. Settled at a mean: 08:00 UTC of any day.
    """
    day = contract.expiry
    if contract.settlement is Settlement.CASH_MEAN:
        return to_ns(datetime.combine(day, COIN_EXPIRY))
    session = session_on(effective_day(day))
    return session.open_ns if contract.settlement in _AT_OPENING else session.close_ns


@lru_cache(maxsize=8192)
def final_close_ns(contract: OptionContract) -> int:
    """Return the close of the last session in which the option trades, UTC nanoseconds; exits count from it.

    Some classes trade some minutes longer: :func:`~scalpdesk.instruments.classes.last_trading_ns`.
    """
    if contract.settlement is Settlement.CASH_AM:
        return previous_session(effective_day(contract.expiry)).close_ns
    return expiry_instant_ns(contract)
