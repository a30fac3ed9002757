"""Trading hours of a broker: the sessions of a tape, of the exchanges, or always."""

from collections.abc import Sequence
from datetime import date, time, timedelta
from typing import Protocol

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.sessions import (
    Session,
    is_session,
    new_york_ns,
    next_session,
    session_on,
    sessions_between,
    to_new_york,
)


class Hours(Protocol):
    """Says which session an instant belongs to."""

    def session_at(self, now_ns: int) -> Session | None:
        """Return the session that is open at ``now_ns`` (UTC nanoseconds), or None."""
        ...

    def next_open_ns(self, now_ns: int) -> int:
        """Return the first opening after ``now_ns``, UTC nanoseconds."""
        ...

    def next_close_ns(self, now_ns: int) -> int:
        """Return the first close after ``now_ns``, UTC nanoseconds."""
        ...

    def next_boundary_ns(self, now_ns: int) -> int:
        """Return the first instant after ``now_ns`` at which a session begins or ends."""
        ...

    def calendar(self, start: date, end: date) -> Sequence[Session]:
        """Return the sessions from ``start`` to ``end``, both included."""
        ...


class TapeHours:
    """Hours of a tape: its own sessions, and the exchange calendar between and after them."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        if not sessions:
            raise ArgumentError("a market needs at least one session", where="sessions")
        self._sessions = tuple(sessions)

    def session_at(self, now_ns: int) -> Session | None:
        """Return the session that is open at ``now_ns``, or None."""
        for session in self._sessions:
            if session.open_ns <= now_ns < session.close_ns:
                return session
        return None

    def next_open_ns(self, now_ns: int) -> int:
        """Return the next opening: of the tape, or of the calendar when the tape is over."""
        for session in self._sessions:
            if session.open_ns > now_ns:
                return session.open_ns
        return ExchangeHours().next_open_ns(now_ns)

    def next_close_ns(self, now_ns: int) -> int:
        """Return the next close: of the tape, or of the calendar when the tape is over."""
        for session in self._sessions:
            if session.close_ns > now_ns:
                return session.close_ns
        return ExchangeHours().next_close_ns(now_ns)

    def next_boundary_ns(self, now_ns: int) -> int:
        """Return the next opening or close of the tape; never after its last session."""
        edges = (edge for played in self._sessions for edge in (played.open_ns, played.close_ns))
        return next((edge for edge in edges if edge > now_ns), NEVER_NS)

    def calendar(self, start: date, end: date) -> Sequence[Session]:
        """Return the sessions of the exchange calendar."""
        return sessions_between(start, end)


class ExchangeHours:
    """The sessions of the New York exchanges, by their calendar."""

    def session_at(self, now_ns: int) -> Session | None:
        """Return the session that is open at ``now_ns``, or None."""
        session = self._from(now_ns)
        return session if session.open_ns <= now_ns else None

    @staticmethod
    def _from(now_ns: int) -> Session:
        """Return the session that is open, else the next one."""
        day = to_new_york(now_ns).date()
        today = session_on(day) if is_session(day) else None
        return today if today is not None and now_ns < today.close_ns else next_session(day)

    def next_open_ns(self, now_ns: int) -> int:
        """Return the next opening."""
        session = self._from(now_ns)
        return session.open_ns if session.open_ns > now_ns else next_session(session.day).open_ns

    def next_close_ns(self, now_ns: int) -> int:
        """Return the next close."""
        return self._from(now_ns).close_ns

    def next_boundary_ns(self, now_ns: int) -> int:
        """Return the next opening or close."""
        session = self._from(now_ns)
        return session.open_ns if session.open_ns > now_ns else session.close_ns

    def calendar(self, start: date, end: date) -> Sequence[Session]:
        """Return the sessions of the exchange calendar."""
        return sessions_between(start, end)


class AlwaysOpen:
    """Every day of New York is one session, from midnight to midnight."""

    @staticmethod
    def _day(day: date) -> Session:
        midnight = time(0)
        return Session(day, new_york_ns(day, midnight), new_york_ns(day + timedelta(days=1), midnight))

    def session_at(self, now_ns: int) -> Session:
        """Return the day of ``now_ns``."""
        return self._day(to_new_york(now_ns).date())

    def next_open_ns(self, now_ns: int) -> int:
        """Return the next midnight: one session follows the other without a gap."""
        return self.session_at(now_ns).close_ns

    def next_close_ns(self, now_ns: int) -> int:
        """Return the next midnight."""
        return self.session_at(now_ns).close_ns

    def next_boundary_ns(self, now_ns: int) -> int:
        """Return the next midnight."""
        return self.session_at(now_ns).close_ns

    def calendar(self, start: date, end: date) -> Sequence[Session]:
        """Return every day."""
        return [self._day(start + timedelta(days=n)) for n in range((end - start).days + 1)]
