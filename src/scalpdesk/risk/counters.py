"""What the gate remembers of the last minutes: orders, cancels, answers, executions."""

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.intents import Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId

MINUTE_NS = 60 * NANOS_PER_SECOND
FEWEST_ANSWERS = 10
"""A share of refusals says nothing while fewer orders were answered."""
ZERO, ONE = Decimal(0), Decimal(1)


class _Streak(NamedTuple):
    side: Side
    at_ns: deque[int]


class _Moving:
    """A sum over a moving window, kept up to date instead of added up anew."""

    def __init__(self, seconds: float) -> None:
        self._window_ns = int(seconds * NANOS_PER_SECOND)
        self._entries: deque[tuple[int, Decimal]] = deque()
        self._total = ZERO

    def add(self, now_ns: int, amount: Decimal) -> None:
        """Add to the sum."""
        self._drop(now_ns)
        self._entries.append((now_ns, amount))
        self._total += amount

    def total(self, now_ns: int) -> Decimal:
        """Return the sum over the window up to now."""
        self._drop(now_ns)
        return self._total

    def count(self, now_ns: int) -> int:
        """Return how many entries the window holds."""
        self._drop(now_ns)
        return len(self._entries)

    def _drop(self, now_ns: int) -> None:
        entries, oldest_ns = self._entries, now_ns - self._window_ns
        while entries and entries[0][0] <= oldest_ns:
            self._total -= entries.popleft()[1]


class OrderCounters:
    """Counts over moving windows. Stamps come with the notes; nothing in here reads a clock.

    Parameters
    ----------
    size_window_seconds
        Of the quantity ordered.
    reject_window_seconds
        Of the venue's answers.
    """

    def __init__(self, size_window_seconds: float = 60.0, reject_window_seconds: float = 300.0) -> None:
        self._orders_ns: deque[int] = deque()
        self._cancels_ns: deque[int] = deque()
        self._contracts, self._shares = _Moving(size_window_seconds), _Moving(size_window_seconds)
        self._answers = _Moving(reject_window_seconds)
        self._streaks: dict[InstrumentId, _Streak] = {}
        self._departures: dict[InstrumentId, deque[int]] = {}

    # sent -----------------------------------------------------------------------------------------

    def note_order(self, now_ns: int, quantity: Decimal = ZERO, *, is_option: bool = False) -> None:
        """Count an order; a quantity (contracts or shares) counts towards the moving size."""
        self._orders_ns.append(now_ns)
        if quantity:
            (self._contracts if is_option else self._shares).add(now_ns, quantity)

    def note_cancel(self, now_ns: int) -> None:
        """Count a cancel."""
        self._cancels_ns.append(now_ns)

    def orders_last_minute(self, now_ns: int) -> int:
        """Orders sent in the 60 seconds up to now."""
        return _kept(self._orders_ns, now_ns - MINUTE_NS)

    def cancels_last_minute(self, now_ns: int) -> int:
        """Cancels sent in the 60 seconds up to now."""
        return _kept(self._cancels_ns, now_ns - MINUTE_NS)

    def ordered_lately(self, now_ns: int, *, options: bool) -> Decimal:
        """Contracts (or shares) ordered in the window up to now, exits aside."""
        return (self._contracts if options else self._shares).total(now_ns)

    def lately(self, now_ns: int) -> tuple[int, int, Decimal]:
        """Return orders and cancels of the last minute and shares ordered in the window, in one question."""
        oldest_ns = now_ns - MINUTE_NS
        orders, cancels = self._orders_ns, self._cancels_ns
        while orders and orders[0] <= oldest_ns:
            orders.popleft()
        while cancels and cancels[0] <= oldest_ns:
            cancels.popleft()
        return len(orders), len(cancels), self._shares.total(now_ns)

    # answered -------------------------------------------------------------------------------------

    def note_answer(self, now_ns: int, *, refused: bool) -> None:
        """Count the venue's first word on an order: taken, or refused."""
        self._answers.add(now_ns, ONE if refused else ZERO)

    def refused_share(self, now_ns: int) -> float | None:
        """Share of refusals among the orders answered in the window; None while they are too few."""
        answered = self._answers.count(now_ns)
        return None if answered < FEWEST_ANSWERS else float(self._answers.total(now_ns)) / answered

    # executed -------------------------------------------------------------------------------------

    def note_execution(
        self, now_ns: int, number: InstrumentId, side: Side, held_before: Decimal
    ) -> tuple[int, int]:
        """Count an execution; return those in a row on its side, and departures from flat, in a minute."""
        oldest_ns = now_ns - MINUTE_NS
        streak = self._streaks.get(number)
        if streak is None or streak.side is not side:
            streak = self._streaks[number] = _Streak(side, deque())
        streak.at_ns.append(now_ns)
        departures = self._departures.get(number)
        if departures is None:
            departures = self._departures[number] = deque()
        if not held_before:
            departures.append(now_ns)
        return _kept(streak.at_ns, oldest_ns), _kept(departures, oldest_ns)

    def forgive(self) -> None:
        """Start the counts of executions afresh: a person resumed the desk."""
        self._streaks.clear()
        self._departures.clear()


def _kept(stamps: deque[int], oldest_ns: int) -> int:
    """Drop what lies at or before ``oldest_ns`` and count the rest."""
    while stamps and stamps[0] <= oldest_ns:
        stamps.popleft()
    return len(stamps)
