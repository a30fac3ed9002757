"""Variance clocks: years of variance between two instants, by calendar or by session weights.

A volatility is defined per year of some clock. By the calendar clock (ACT/365) all seconds count the same;
by the session clock a second of the first half hour weighs twenty times a second of the night, because
prices move that much more in it. Short-dated implied volatilities differ widely between the two, so
conversions name both clocks.

Weights of the session clock, in variances of one regular session (open to close)
----------------------------------------------------------------------------------
Measured on SPY, 5,849 sessions from 1998-01-02 to 2021-03-31, each square over the mean squared
open-to-close return of the 43 sessions around it, standard errors in brackets. Nights before SPY's
quarterly ex-dates are left out. QQQ (3,964 sessions) in the second column.

=======================================  ============  ============
close to open over                       SPY           QQQ
=======================================  ============  ============
a night                                  0.461 (.018)  0.460 (.022)
a plain weekend                          0.647 (.063)  0.550 (.075)
a break with a holiday in it             0.759 (.114)  0.689 (.142)
a half day's session (29 of them)        0.466
=======================================  ============  ============

A weekend is three nights long and weighs as one and a half. Shares of a regular session by hour, SPY
hourly bars 1998 to 2021 (standard error .002 to .007): 9:30 to 10:00 .138, then by the hour .204, .130,
.089, .094, .148, .198. FOMC statements at 14:00 (56 scheduled, March 2013 to 2019, January 2013
included): the session's variance is 1.75 (.24) against 0.95 on other days, 0.83 more in the first hour
after it, 0.22 more in the second, less before it; 0.80 more in all, split here in that proportion.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import (
    DAY_NS,
    DAYS_PER_YEAR,
    HOUR_NS,
    NANOS_PER_SECOND,
    SECONDS_PER_YEAR,
    SESSIONS_PER_YEAR,
)
from scalpdesk.instruments.events import FOMC_STATEMENT_DAYS, FOMC_STATEMENT_TIME
from scalpdesk.instruments.sessions import (
    Session,
    account_day,
    from_ns,
    new_york_ns,
    sessions_between,
    to_new_york,
)

FIRST_YEAR, LAST_YEAR = 1996, 2029
"""Years for which the exchange calendar knows every session and the breaks around them."""

FIRST_FOMC_YEAR = 2024
"""From then on statements weigh on the session clock; forecasts of earlier years are fitted with them in."""

_BUCKETS_NS = (HOUR_NS // 2, *(HOUR_NS,) * 6)
"""9:30 to 10:00, then whole hours to 16:00."""


class SessionWeights(msgspec.Struct, frozen=True, cache_hash=True):
    """Variance weight of each part of the week, in variances of one regular session."""

    night: float = 0.46
    weekend: float = 0.65
    holiday: float = 0.76
    """``night``, ``weekend``, ``holiday``: From a close to the next open: on consecutive days, from Friday to
    Monday, over any other break.
    """
    half_day: float = 0.47
    """A session that ends early."""
    profile: tuple[float, ...] = (0.138, 0.204, 0.130, 0.089, 0.094, 0.148, 0.197)
    """Shares of a regular session: the half hour from the open, then six hours. They sum to 1."""
    announcement: tuple[float, float] = (0.63, 0.17)
    """Added in the first and in the second hour after each announcement."""
    year: float = 252 + 197 * 0.46 + 46 * 0.65 + 9 * 0.76 + 8 * 0.80
    """Sum over an average year: one year of the clock."""

    def __post_init__(self) -> None:
        parts = (self.night, self.weekend, self.holiday, self.half_day, self.year, *self.profile)
        if not all(math.isfinite(part) and part > 0.0 for part in parts):
            raise ArgumentError("a weight is a finite number above zero", where="weights", value=parts)
        if not all(math.isfinite(part) and part >= 0.0 for part in self.announcement):
            raise ArgumentError(
                "an announcement adds zero or more", where="announcement", value=self.announcement
            )
        if len(self.profile) != len(_BUCKETS_NS) or abs(math.fsum(self.profile) - 1.0) > 1e-9:
            raise ArgumentError(
                f"the profile has {len(_BUCKETS_NS)} shares that sum to 1",
                where="profile",
                value=self.profile,
            )


class VarianceClock(msgspec.Struct, frozen=True, cache_hash=True):
    """Converts the span between two instants to years of variance.

    Notes
    -----
    Years are additive over neighbouring spans, grow strictly with the span, and are never NaN.
    """

    name: str
    """Name of the clock."""
    weights: SessionWeights | None = None
    """Weights of the US session; None for the calendar clock."""
    announcements_ns: tuple[int, ...] = ()
    """Scheduled announcements, UTC nanoseconds; each adds ``weights.announcement``."""

    @property
    def days_per_year(self) -> float:
        """Trading days of a year: 365 where the market never closes, which counts by the calendar clock."""
        return DAYS_PER_YEAR if self.weights is None else SESSIONS_PER_YEAR

    def session_day(self, ts_ns: int) -> date:
        """Return the day of the session that an instant (UTC nanoseconds) belongs to.

        The New York date, or the day of account of a market that never closes.
        """
        return account_day(ts_ns) if self.weights is None else to_new_york(ts_ns).date()

    def years(self, start_ns: int, end_ns: int) -> float:
        """Years of variance from one instant to another; negative when the second is the earlier.

        Raises ArgumentError when the exchange calendar of the session clock does not cover the years.
        """
        if self.weights is None:
            return (end_ns - start_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR
        if end_ns < start_ns:
            return -self.years(end_ns, start_ns)
        last, end, j, tail = _end_of(self, end_ns)
        first = last if start_ns >= end.breaks[0] else _year_of(start_ns)
        start = end if first == last else _weigh_year(self, first)
        i = start.index(start_ns)
        if first == last and i == j:
            return start.rates[i] * (end_ns - start_ns) / self.weights.year
        head = start.rates[i] * (start.breaks[i + 1] - start_ns)
        if first == last:
            between = start.sums[j] - start.sums[i + 1]
        else:
            whole = (_weigh_year(self, year).sums[-1] for year in range(first + 1, last))
            between = start.sums[-1] - start.sums[i + 1] + math.fsum(whole) + end.sums[j]
        return (head + between + tail) / self.weights.year


class _YearTable(msgspec.Struct, frozen=True):
    """One year as spans of constant rate, in session variances per nanosecond."""

    breaks: tuple[int, ...]
    rates: tuple[float, ...]
    sums: tuple[float, ...]

    def index(self, ts_ns: int) -> int:
        return min(bisect_right(self.breaks, ts_ns) - 1, len(self.rates) - 1)


def _year_of(ts_ns: int) -> int:
    year = FIRST_YEAR - 1 + bisect_right(_NEW_YEARS_NS, ts_ns)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ArgumentError(
            f"the session clock covers the years {FIRST_YEAR} to {LAST_YEAR}",
            where="ts_ns",
            value=from_ns(ts_ns).isoformat(),
            fix="use the calendar clock",
        )
    return year


@lru_cache(maxsize=128)
def _weigh_year(clock: VarianceClock, year: int) -> _YearTable:
    weights = clock.weights
    assert weights is not None
    spans = list(_spans(weights, sessions_between(date(year - 1, 12, 15), date(year + 1, 1, 15))))
    start, end = (_new_year_ns(year), _new_year_ns(year + 1))
    extra = [
        (at + hour * HOUR_NS, at + (hour + 1) * HOUR_NS, added / HOUR_NS)
        for at in clock.announcements_ns
        for hour, added in enumerate(weights.announcement)
    ]
    edges = {start, end, *(edge for span in spans for edge in span[:2])}
    edges.update(edge for span in extra for edge in span[:2])
    breaks = tuple(sorted(edge for edge in edges if start <= edge <= end))
    begins = [span[0] for span in spans]
    rates = tuple(
        spans[bisect_right(begins, at) - 1][2] + math.fsum(r for s, e, r in extra if s <= at < e)
        for at in breaks[:-1]
    )
    sums = [0.0]
    for rate, (begin, finish) in zip(rates, pairwise(breaks), strict=True):
        sums.append(sums[-1] + rate * (finish - begin))
    return _YearTable(breaks, rates, tuple(sums))


@lru_cache(maxsize=4_096)
def _end_of(clock: VarianceClock, end_ns: int) -> tuple[int, _YearTable, int, float]:
    """Return a span's last year, its table, the row of the span's end, and the variance since that row began.

    Most spans end at one of few expiries.
    """
    year = _year_of(end_ns)
    table = _weigh_year(clock, year)
    row = table.index(end_ns)
    return year, table, row, table.rates[row] * (end_ns - table.breaks[row])


def _new_year_ns(year: int) -> int:
    from_epoch = date(year, 1, 1) - date(1970, 1, 1)
    return from_epoch // timedelta(days=1) * DAY_NS


_NEW_YEARS_NS = tuple(map(_new_year_ns, range(FIRST_YEAR, LAST_YEAR + 2)))


def _spans(weights: SessionWeights, sessions: tuple[Session, ...]) -> Iterator[tuple[int, int, float]]:
    """Yield start, end and rate of every part of the sessions and of the breaks between them."""
    for session, following in pairwise(sessions):
        yield from _session_spans(weights, session)
        gap = following.open_ns - session.close_ns
        yield session.close_ns, following.open_ns, _break_weight(weights, session, following) / gap


def _session_spans(weights: SessionWeights, session: Session) -> Iterator[tuple[int, int, float]]:
    pieces: list[tuple[int, int, float]] = []
    begin = session.open_ns
    for length, share in zip(_BUCKETS_NS, weights.profile, strict=True):
        end = min(begin + length, session.close_ns)
        if end > begin:
            pieces.append((begin, end, share / length))
            begin = end
    if session.is_half_day:
        scale = weights.half_day / math.fsum(rate * (e - s) for s, e, rate in pieces)
        pieces = [(s, e, rate * scale) for s, e, rate in pieces]
    yield from pieces


def _break_weight(weights: SessionWeights, session: Session, following: Session) -> float:
    days = (following.day - session.day).days
    if days == 1:
        return weights.night
    return weights.weekend if days == 3 and session.day.weekday() == 4 else weights.holiday


CALENDAR = VarianceClock("calendar-365")
"""ACT/365: every second weighs the same. The clock of quoted implied volatilities."""

US_SESSIONS = VarianceClock(
    "us-sessions",
    SessionWeights(),
    tuple(
        sorted(
            new_york_ns(day, FOMC_STATEMENT_TIME)
            for day in FOMC_STATEMENT_DAYS
            if day.year >= FIRST_FOMC_YEAR
        )
    ),
)
"""Sessions, nights, weekends, holidays and the FOMC statements of the events calendar (2024 on)."""

EMBEDDED_SESSIONS = VarianceClock(
    "embedded",
    SessionWeights(
        night=3 / 7,
        weekend=3 / 7,
        holiday=3 / 7,
        half_day=0.6,
        profile=(0.151089, 0.205958, 0.143818, 0.118703, 0.108861, 0.108999, 0.162572),
        year=252 / 0.7,
    ),
)
"""The clock of the embedded market: three tenths of a day's variance at night, a weekend as one."""

_CLOCKS = {clock.name: clock for clock in (CALENDAR, US_SESSIONS, EMBEDDED_SESSIONS)}


def clock_named(name: str) -> VarianceClock:
    """Return one of the desk's clocks. Raises ArgumentError when no clock has this name."""
    if name not in _CLOCKS:
        raise ArgumentError(
            "unknown variance clock", where="clock", value=name, fix=f"use {' or '.join(_CLOCKS)}"
        )
    return _CLOCKS[name]


def clock_of(data: Mapping[str, Any]) -> VarianceClock:
    """Return the clock of a run by the ``data`` of its header or summary; US sessions by default."""
    return clock_named(data.get("variance_clock", US_SESSIONS.name))


def convert_vol(vol: float, by: VarianceClock, to: VarianceClock, start_ns: int, end_ns: int) -> float:
    """Convert a volatility from the clock ``by`` to the clock ``to``: equal total variance over the span.

    From now to the expiry instant, UTC nanoseconds. Raises ArgumentError when the volatility is not a finite
    number of zero or more, or the span not above zero.
    """
    if not (math.isfinite(vol) and vol >= 0.0):
        raise ArgumentError("a volatility must be a finite number, zero or more", where="vol", value=vol)
    if end_ns <= start_ns:
        raise ArgumentError(
            "a volatility is converted over a span of time",
            where="start_ns, end_ns",
            value=(start_ns, end_ns),
        )
    return vol * math.sqrt(by.years(start_ns, end_ns) / to.years(start_ns, end_ns))


# variances of events ------------------------------------------------------------------------------


def event_forecast(vol: float, years: float, variances: Iterable[float]) -> float:
    """Return a forecast with the variances of its events added, fraction a year.

    ``vol`` is the forecast without them over ``years``, ``variances`` their squared log returns; below zero
    where the forecast holds more than its share.

    >>> round(event_forecast(0.15, 8 / 252, [4.2e-05, 1.1e-05]), 12)
    0.155465430241
    """
    return math.sqrt(max(vol * vol + math.fsum(variances) / years, 0.0))


def event_variance(vol_before: float, years_before: float, vol_after: float, years_after: float) -> float:
    """Return the variance of an event between two expiries, squared log return; at least 0.

    The first expiry lies before the event: its volatility is that of the quiet days. Volatilities are
    fractions a year and the spans years, all on one clock (Dubinsky et al. 2019).

    Examples
    --------
    >>> round(event_variance(0.145, 3 / 252, 0.172, 8 / 252), 12)
    0.000271714286
    """
    quiet = vol_before * vol_before * (years_after - years_before)
    both = vol_after * vol_after * years_after - vol_before * vol_before * years_before
    return max(both - quiet, 0.0)


def event_from_two_after(
    vol: float, years: float, later_vol: float, later_years: float
) -> tuple[float, float]:
    """Return the volatility without an event and the event's variance, from two expiries after it.

    Arguments as for :func:`event_variance`; neither result is below 0.

    Examples
    --------
    >>> round(event_from_two_after(0.52, 6 / 252, 0.36, 26 / 252)[0], 12)
    0.295567251231
    """
    near, far = vol * vol * years, later_vol * later_vol * later_years
    base = max(far - near, 0.0) / (later_years - years)
    return math.sqrt(base), max(near - base * years, 0.0)
