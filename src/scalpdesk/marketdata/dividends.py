"""The schedule of cash dividends that an expiry has ahead: those declared, and those that index funds repeat.

A dividend is known from its event's own time on: no look-ahead. A fund of :data:`INDEX_FUNDS` pays at the
same weekdays of the same months each year; where its whole past year is known, what lies beyond the last
declared dividend is expected at the past year's dates and amounts, and is named *expected* wherever it is
shown.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from scalpdesk.core.events import DividendEvent
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId
from scalpdesk.instruments.deadlines import notice_deadline_ns
from scalpdesk.instruments.sessions import (
    is_session,
    next_session,
    previous_session,
    session_on,
    to_new_york,
)
from scalpdesk.pricing.base import Schedule

INDEX_FUNDS = {"SPY": 4, "QQQ": 4, "IWM": 4, "DIA": 12}
"""Funds on an index whose dividends repeat, and how many they pay a year."""
YEAR_DAYS = 365
_WEEK_DAYS = 7


class ComingDividend(NamedTuple):
    """Cash dividend of ``amount`` in currency a share, that the share trades without from ``ts_ex_ns`` on."""

    ts_ex_ns: int
    amount: float
    is_expected: bool = False
    """Whether it repeats one of the past year instead of being declared."""


def coming_dividends(
    events: Iterable[DividendEvent],
    instrument_id: InstrumentId,
    symbol: str,
    until_ns: int,
    *,
    expects: bool = True,
) -> tuple[ComingDividend, ...]:
    """Return the known dividends of a share that go ex by ``until_ns`` (UTC nanoseconds), in order.

    Those that have gone ex since they were declared are among them: they are ahead of quotes of before.
    ``expects`` adds those that a fund of :data:`INDEX_FUNDS` is expected to pay.
    """
    own = [event for event in events if event.instrument_id == instrument_id]
    amounts = {event.ts_ex_ns: float(event.amount) for event in own}  # a later event corrects
    history = {event.ts_ex_ns for event in own if event.ts_ex_ns < event.ts_event_ns}
    found = [ComingDividend(at_ns, amount) for at_ns, amount in sorted(amounts.items())]
    if expects and symbol in INDEX_FUNDS:
        found += _expected(found, INDEX_FUNDS[symbol], until_ns)
    return tuple(
        each
        for each in found
        if each.ts_ex_ns <= until_ns and each.amount > 0.0 and each.ts_ex_ns not in history
    )


def schedule_before(dividends: Sequence[ComingDividend], expires_ns: int) -> Schedule:
    """Return dividends as pricing takes them.

    That is years from the ex-date to the expiry, amount, and years from the last notice to the expiry.
    """

    def years(at_ns: int) -> float:
        # as the time to expiry is counted, so that at the ex-date itself the two are equal
        return (expires_ns - at_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR

    return tuple(
        (years(each.ts_ex_ns), each.amount, years(last_notice_ns(each.ts_ex_ns)))
        for each in dividends
        if each.ts_ex_ns <= expires_ns
    )


def last_notice_ns(ts_ex_ns: int) -> int:
    """Return until when a holder may exercise to get a dividend: the evening of the session before it."""
    return notice_deadline_ns(previous_session(_day(ts_ex_ns)).day)


def _expected(known: Sequence[ComingDividend], payments: int, until_ns: int) -> list[ComingDividend]:
    """Return what the past year's dividends lead one to expect after the last declared one."""
    if not known:
        return []
    last = _day(known[-1].ts_ex_ns)
    half_gap = timedelta(days=YEAR_DAYS // payments // 2)
    year = [each for each in known if _day(each.ts_ex_ns) > last - timedelta(days=YEAR_DAYS) + half_gap]
    if len(year) < payments:
        return []  # of an unknown year nothing can be expected
    found, until, years = [], _day(until_ns), 0
    while True:
        years += 1
        repeated = [(_years_later(_day(each.ts_ex_ns), years), each.amount) for each in year]
        found += [ComingDividend(_open_ns(day), amount, True) for day, amount in repeated if day > last]
        if repeated[0][0] > until:
            return sorted(found)


def _years_later(day: date, years: int) -> date:
    """Return the same weekday of the same week of the month, years later."""
    first = date(day.year + years, day.month, 1)
    same = first + timedelta(days=(day.weekday() - first.weekday()) % _WEEK_DAYS)
    later = same + timedelta(weeks=(day.day - 1) // _WEEK_DAYS)
    return later if later.month == day.month else later - timedelta(weeks=1)


def _day(ts_ns: int) -> date:
    return to_new_york(ts_ns).date()


def _open_ns(day: date) -> int:
    return (session_on(day) if is_session(day) else next_session(day)).open_ns
