"""A venue's bars of the past: days for a volatility forecast, minutes for what is usual at an hour."""

from collections.abc import Iterable
from datetime import date
from itertools import groupby

import msgspec

from scalpdesk.core.events import SessionBarsEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.sessions import is_session, session_on, to_new_york

MINUTE_SECONDS = 60


class DailyBar(msgspec.Struct, frozen=True):
    """One session of one instrument; prices in the quote currency per unit, volume in units.

    Prices are adjusted for splits, not for dividends.
    """

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float


class MinuteBar(msgspec.Struct, frozen=True):
    """One minute of one instrument; prices in the quote currency per unit, volume in units.

    Prices are adjusted for splits, not for dividends.
    """

    start_ns: int
    """Beginning, UTC nanoseconds."""
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def end_ns(self) -> int:
        """First instant at which the bar is known."""
        return self.start_ns + MINUTE_SECONDS * NANOS_PER_SECOND


def sessions_of(
    minutes: Iterable[MinuteBar], instrument_id: InstrumentId, known_ns: int
) -> tuple[SessionBarsEvent, ...]:
    """Return minutes by session, oldest first: those inside the sessions that were over at ``known_ns``.

    Parameters
    ----------
    minutes
        In order; minutes before the open and after the close are left out.
    instrument_id
        Whose they are.
    known_ns
        When the desk is told, UTC nanoseconds.
    """
    events = []
    for day, group in groupby(minutes, key=lambda one: to_new_york(one.start_ns).date()):
        if not is_session(day):
            continue
        hours = session_on(day)
        inside = [one for one in group if hours.open_ns <= one.start_ns and one.end_ns <= hours.close_ns]
        if not inside or hours.close_ns > known_ns:
            continue
        figures = zip(*((one.open, one.high, one.low, one.close, one.volume) for one in inside), strict=True)
        events.append(
            SessionBarsEvent(
                instrument_id,
                hours.close_ns,
                known_ns,
                day.isoformat(),
                hours.open_ns,
                hours.close_ns,
                MINUTE_SECONDS,
                tuple(one.end_ns for one in inside),
                *(tuple(column) for column in figures),
            )
        )
    return tuple(events)
