"""Times of protocol v1: ISO-8601 with an offset, and how fresh an event must be."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND

MAX_AGE_KEY = "STRATEGY_EVENT_MAX_AGE_SECONDS"
MAX_FUTURE_KEY = "STRATEGY_EVENT_MAX_FUTURE_SKEW_SECONDS"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_ts(text: object) -> datetime:
    """Return the instant that a message's ``ts`` names, in UTC.

    Parameters
    ----------
    text
        ISO-8601 with ``Z`` or an offset. Digits beyond microseconds are cut off.

    Raises
    ------
    ArgumentError
        When it is no such text, or names no offset: a time without one is no instant.

    Examples
    --------
    >>> parse_ts("2025-12-30T09:30:00-05:00").isoformat()
    '2025-12-30T14:30:00+00:00'
    """
    try:
        instant = datetime.fromisoformat(text)  # type: ignore[arg-type]  # anything but text is refused below
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_time(text) from error
    raise _no_time(text)


def _no_time(text: object) -> ArgumentError:
    return ArgumentError(
        "not an instant",
        where="ts",
        value=str(text)[:80],
        fix='write ISO-8601 in UTC: "2025-12-30T14:30:00Z"',
    )


def ts_ns(text: object) -> int:
    """Return the instant of a ``ts`` in UTC nanoseconds since 1970.

    Raises
    ------
    ArgumentError
        As :func:`parse_ts`.
    """
    return (parse_ts(text) - _EPOCH) // _MICROSECOND * 1000


def ts_text(at_ns: int) -> str:
    """Return UTC nanoseconds since 1970 as the protocol writes them, to the microsecond.

    >>> ts_text(1_767_105_000_250_000_000)
    '2025-12-30T14:30:00.250000Z'
    """
    instant = _EPOCH + timedelta(microseconds=at_ns // 1000)
    return instant.replace(tzinfo=None).isoformat() + "Z"


class FreshnessGuard(msgspec.Struct, frozen=True):
    """Refuses events too old to act on, or from the future. Off in a replay.

    Parameters
    ----------
    max_age_seconds
        Oldest event that is fresh.
    max_future_seconds
        Furthest ahead of the clock that a source's clock may be.
    """

    max_age_seconds: float = 30.0
    max_future_seconds: float = 5.0

    def verdict(self, ts: object, now_ns: int) -> str:
        """Return ``ok``, ``invalid_ts``, ``stale_ts`` or ``future_ts`` for an event's ``ts`` at ``now_ns``.

        A text that is no instant is ``invalid_ts``; it is never taken for now.
        """
        try:
            age_ns = now_ns - ts_ns(ts)
        except ArgumentError:
            return "invalid_ts"
        if age_ns > self.max_age_seconds * NANOS_PER_SECOND:
            return "stale_ts"
        if -age_ns > self.max_future_seconds * NANOS_PER_SECOND:
            return "future_ts"
        return "ok"


def freshness_from(environ: Mapping[str, str]) -> FreshnessGuard:
    """Return the guard that the environment asks for.

    Raises
    ------
    ConfigError
        When a limit is no number of zero or more.
    """
    guard = FreshnessGuard()
    age = _limit(environ, MAX_AGE_KEY, guard.max_age_seconds)
    return FreshnessGuard(age, _limit(environ, MAX_FUTURE_KEY, guard.max_future_seconds))


def _limit(environ: Mapping[str, str], key: str, default: float) -> float:
    text = environ.get(key, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < 1e9:
        raise ConfigError(
            "not a number of seconds", where=key, value=text, fix=f"unset {key}, or set e.g. 30"
        )
    return seconds
