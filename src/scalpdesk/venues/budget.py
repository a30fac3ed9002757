"""Request budget of a venue: a token bucket that keeps a share for cancels and exits."""

import asyncio
from enum import IntEnum

from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND

_ROUNDING = 1e-9
"""Part of a request: a wait that is long enough must not fail by the last bit."""


class Urgency(IntEnum):
    """Urgency of a request; a higher one may use more of the budget."""

    QUERY = 0
    OPEN = 1
    ACCOUNT = 2
    """The state of the account after a reconnection: nothing opens before it is known."""
    HEDGE = 3
    """Also exits: whatever lowers risk by an order."""
    CANCEL = 4


_SHARE_KEPT = {
    Urgency.QUERY: 0.4,
    Urgency.OPEN: 0.25,
    Urgency.ACCOUNT: 0.15,
    Urgency.HEDGE: 0.1,
    Urgency.CANCEL: 0.0,
}
"""Fraction of a minute's requests that a request of this kind must leave untouched."""


def urgency_of(purpose: Purpose) -> Urgency:
    """Return how urgent an order of this purpose is."""
    return Urgency.OPEN if purpose is Purpose.OPEN else Urgency.HEDGE


def loop_ns() -> int:
    """Nanoseconds of the event loop's own clock, which never runs backwards."""
    return int(asyncio.get_running_loop().time() * NANOS_PER_SECOND)


def _kept_of(per_minute: int) -> tuple[float, ...]:
    """Return the requests that each kind must leave untouched: a full minute always has a request left."""
    return tuple(max(min(per_minute * _SHARE_KEPT[urgency], per_minute - 1), 0.0) for urgency in Urgency)


class RequestBudget:
    """A token bucket.

    ``per_minute``: Requests that the venue allows.
    ``most``: Of them at once after a rest; None for a whole minute's.
    """

    def __init__(self, per_minute: int, most: int | None = None) -> None:
        self.per_minute = per_minute
        self._most = most or per_minute
        self._kept = _kept_of(self._most)
        self._tokens = float(self._most)
        self._at_ns: int | None = None

    def left(self, now_ns: int) -> int:
        """Requests that may be made now, all shares included."""
        self._refill(now_ns)
        return int(self._tokens)

    def take(self, urgency: Urgency, now_ns: int) -> bool:
        """Use one request; False when the rest is kept for more urgent requests.

        ``now_ns`` is of a clock that never runs backwards (the event loop's).
        """
        self._refill(now_ns)
        if self._tokens - 1 < self._kept[urgency] - _ROUNDING:
            return False
        self._tokens -= 1
        return True

    def wait_ns(self, urgency: Urgency, now_ns: int) -> int:
        """Nanoseconds until :meth:`take` would succeed if nothing else is asked meanwhile."""
        self._refill(now_ns)
        missing = self._kept[urgency] + 1 - self._tokens
        return max(0, int(missing / self.per_minute * MINUTE_NS) + 1) if missing > 0 else 0

    def learn(self, limit: int, remaining: int, now_ns: int) -> None:
        """Believe the venue's own limit, and its count of what is left where that is the lower one.

        A raised limit can be used at once, not only after a minute of refilling.
        """
        self._refill(now_ns)
        self._tokens += max(limit - self.per_minute, 0)
        self.per_minute, self._most, self._kept = limit, limit, _kept_of(limit)
        self._tokens = min(self._tokens, float(remaining))

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None and now_ns > self._at_ns:
            gained = (now_ns - self._at_ns) / MINUTE_NS * self.per_minute
            self._tokens = min(self._tokens + gained, float(self._most))
        self._at_ns = now_ns if self._at_ns is None else max(self._at_ns, now_ns)
