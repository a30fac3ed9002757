"""What is due when: sessions, the venue's deadlines, and the desk's own rounds. Pure."""

import heapq
from collections.abc import Iterable
from datetime import date

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import CAUTIOUS, VENUE_CUTOFFS
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, is_session, session_on, to_new_york
from scalpdesk.venues.base import VenueClock

MINUTE_NS = 60 * NANOS_PER_SECOND
NEVER_NS = 2**63 - 1


def deadline_ns(contract: OptionContract, venue: str, margin_seconds: float) -> int:
    """Return when a holding in an expiring option must begin to go, in UTC nanoseconds.

    The cut-off of ``venue`` for the contract, counted from the close of its own last session (half days
    included), less ``margin_seconds``. A venue whose rule is not known counts as a strict one.
    """
    minutes = VENUE_CUTOFFS.get(venue, CAUTIOUS).of(contract.underlying)
    return expiry_instant_ns(contract) - int(minutes * MINUTE_NS) - int(margin_seconds * NANOS_PER_SECOND)


def session_of(clock: VenueClock) -> Session:
    """Return the session under way at the venue, or its next one.

    The venue's clock leads (a simulated exchange may be open at night); where the exchange calendar
    has the same session, its bounds are taken.
    """
    if clock.is_open:
        day = to_new_york(clock.next_close_ns).date()
        known = _on_calendar(day)
        if known is not None and abs(known.close_ns - clock.next_close_ns) < NANOS_PER_SECOND:
            return known
        return Session(day, min(clock.now_ns, clock.next_close_ns - 1), clock.next_close_ns)
    day = to_new_york(clock.next_open_ns).date()
    known = _on_calendar(day)
    if known is not None and abs(known.open_ns - clock.next_open_ns) < NANOS_PER_SECOND:
        return known
    return Session(day, clock.next_open_ns, max(clock.next_close_ns, clock.next_open_ns + 1))


def _on_calendar(day: date) -> Session | None:
    try:
        return session_on(day) if is_session(day) else None
    except (ArgumentError, ValueError):  # the calendar does not reach so far
        return None


class Agenda:
    """Named things of the desk itself that are due at an instant; none of them reaches the journal."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0
        self._current: dict[str, int] = {}

    @property
    def due_ns(self) -> int:
        """When the next one is due, UTC nanoseconds."""
        while self._heap and self._current.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER_NS

    def put(self, name: str, due_ns: int) -> None:
        """Set ``name`` to be due; an earlier date of the same name is forgotten."""
        self._count += 1
        self._current[name] = self._count
        heapq.heappush(self._heap, (due_ns, self._count, name))

    def drop(self, names: Iterable[str]) -> None:
        """Forget these."""
        for name in names:
            self._current.pop(name, None)

    def pop(self, now_ns: int) -> tuple[str, int] | None:
        """Take out the next one that is due by ``now_ns``: its name and its date."""
        due_ns = self.due_ns
        if due_ns > now_ns:
            return None
        _, _, name = heapq.heappop(self._heap)
        self._current.pop(name, None)
        return name, due_ns
