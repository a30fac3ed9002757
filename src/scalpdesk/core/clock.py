"""Clocks. Only the edges hold one that reads the wall; below them time is the stamp on the event.

Time at the wire: what is received is stamped once, and never backwards.
"""

import time
from typing import Protocol

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import DAY_NS, NANOS_PER_SECOND


class Clock(Protocol):
    """Tells the time in UTC nanoseconds since 1970."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock; for the edges only.

    Attributes
    ----------
    behind_ns
        How far the machine's time lies behind what :meth:`now_ns` returns.
    """

    behind_ns = 0

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        return time.time_ns()  # noqa: TID251 - the one place that may read the wall


_SET_BACK_NS = NANOS_PER_SECOND
"""A correction of the machine's time up to this is followed."""


class SteadyClock(SystemClock):
    """The machine's clock of a process whose waits must end: it goes on where the machine's is set back.

    Its time would stand still until the machine's has caught up: for so long no timer, deadline or session
    end would come. It goes on with the seconds that pass, and follows the machine's clock again once that is
    not behind any more.
    """

    def __init__(self) -> None:
        self._apart_ns: int | None = None
        """The machine's UTC time less its monotonic one, which stands still in a suspended machine alone."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        utc_ns, passed_ns = super().now_ns(), time.monotonic_ns()
        apart_ns = utc_ns - passed_ns
        if self._apart_ns is None or apart_ns > self._apart_ns - _SET_BACK_NS:
            self._apart_ns = apart_ns
        self.behind_ns = self._apart_ns - apart_ns
        return passed_ns + self._apart_ns


MOST_AHEAD_NS = 10 * DAY_NS
"""Longest step of a venue's time that is believed at once: past the holidays between two sessions."""
_MOST_PACE = 100_000
"""Seconds of a venue that may pass within one of the wall beyond that."""


class FollowingClock:
    """A clock that stands at the latest instant seen on the wire; for a venue with a time of its own.

    A simulated exchange may live in 2015 and run at a hundred times the speed of the wall; the desk's
    time is then the exchange's.

    ``start_ns``: Time before anything was seen, UTC nanoseconds.
    ``latency_ns``: Added to what is seen: how much later than the venue the desk knows it.
    """

    def __init__(self, start_ns: int = 0, *, latency_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._latency_ns = latency_ns
        self._believed_ns: int | None = None
        """When a time was believed last, the machine's monotonic time."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        return self._now_ns

    def observe(self, ts_event_ns: int) -> None:
        """Move to the time of a message, unless that lies before the present."""
        self._now_ns = max(self._now_ns, ts_event_ns + self._latency_ns)

    def follow(self, stated_ns: int) -> None:
        """Move to a time that a venue states, unless it is far ahead of the last and of the seconds since.

        The clock cannot go back: one wrong stamp would end every session and every order's life.
        """
        passed_ns = time.monotonic_ns()
        if self._believed_ns is not None:
            most_ns = MOST_AHEAD_NS + _MOST_PACE * (passed_ns - self._believed_ns)
            if stated_ns - self._now_ns > most_ns:
                return
        self._believed_ns = passed_ns
        self.observe(stated_ns)


class Stamper:
    """Stamps what is received; its stamps never run backwards, even when the machine's clock does.

    ``clock``: Tells when something was received; a :class:`FollowingClock` is moved by what is received.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._follow = clock.follow if isinstance(clock, FollowingClock) else None
        self._last_ns = 0

    @property
    def follows(self) -> bool:
        """True when the clock's seconds are not those of the wall."""
        return self._follow is not None

    def timestamp(self, ts_event_ns: int | None = None) -> int:
        """Return ``ts_recv_ns`` for a message of ``ts_event_ns`` (None where it carries no time)."""
        if self._follow is not None and ts_event_ns is not None:
            self._follow(ts_event_ns)
        now_ns = self._clock.now_ns()
        if self._follow is not None and ts_event_ns is None:  # the clock stands between two stated times
            now_ns = max(now_ns, self._last_ns + 1)
        self._last_ns = max(self._last_ns, now_ns)
        return self._last_ns


def pace_of(speed: str | None, usual: float) -> float | None:
    """Return market seconds a second, ``usual`` when they are not given; None is as fast as it goes.

    Raises ConfigError when the text is neither a speed nor ``max``.
    """
    if speed is None:
        return usual
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < 1e9:
        raise ConfigError(
            "not a speed",
            where="--speed",
            value=speed,
            fix="write market seconds a second, e.g. 400, or max: --speed max",
        )
    return pace
