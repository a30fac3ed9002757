"""What the gate remembers of the last minutes: orders, cancels, answers, executions."""

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.intents import Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId

MINUTE_NS = 60 * NANOS_PER_SECOND
FEWEST_ANSWERS = 10
"""A share of refusals says nothing while fewer orders were answered."""
ZERO = Decimal(0)


class _Streak(NamedTuple):
    side: Side
    at_ns: deque[int]


class _Sized(NamedTuple):
    at_ns: int
    number: InstrumentId
    quantity: Decimal
    is_option: bool


class Tallies:
    """Counts over moving windows. Stamps come with the notes; nothing in here reads a clock."""

    def __init__(self) -> None:
        self._orders_ns: deque[int] = deque()
        self._cancels_ns: deque[int] = deque()
        self._sizes: deque[_Sized] = deque()
        self._answers: deque[tuple[int, bool]] = deque()
        self._streaks: dict[InstrumentId, _Streak] = {}
        self._departures: dict[InstrumentId, deque[int]] = {}

    # sent -----------------------------------------------------------------------------------------

    def note_order(
        self,
        now_ns: int,
        number: InstrumentId | None = None,
        quantity: Decimal = ZERO,
        *,
        is_option: bool = False,
    ) -> None:
        """Count an order; its quantity counts towards the moving size when ``number`` is given."""
        self._orders_ns.append(now_ns)
        if number is not None:
            self._sizes.append(_Sized(now_ns, number, quantity, is_option))

    def note_cancel(self, now_ns: int) -> None:
        """Count a cancel."""
        self._cancels_ns.append(now_ns)

    def orders_last_minute(self, now_ns: int) -> int:
        """Orders sent in the 60 seconds up to now."""
        return _kept(self._orders_ns, now_ns - MINUTE_NS)

    def messages_last_minute(self, now_ns: int) -> int:
        """Orders and cancels sent in the 60 seconds up to now."""
        oldest_ns = now_ns - MINUTE_NS
        return _kept(self._orders_ns, oldest_ns) + _kept(self._cancels_ns, oldest_ns)

    def ordered_within(self, now_ns: int, seconds: float, *, options: bool) -> Decimal:
        """Contracts (or shares) ordered in a window up to now, exits aside."""
        oldest_ns = now_ns - int(seconds * NANOS_PER_SECOND)
        sizes = self._sizes
        while sizes and sizes[0].at_ns <= oldest_ns:
            sizes.popleft()
        return sum((one.quantity for one in sizes if one.is_option is options), ZERO)

    # answered -------------------------------------------------------------------------------------

    def note_answer(self, now_ns: int, *, refused: bool) -> None:
        """Count the venue's first word on an order: taken, or refused."""
        self._answers.append((now_ns, refused))

    def refused_share(self, now_ns: int, seconds: float) -> float | None:
        """Share of refusals among the orders answered in a window; None while they are too few."""
        oldest_ns = now_ns - int(seconds * NANOS_PER_SECOND)
        answers = self._answers
        while answers and answers[0][0] <= oldest_ns:
            answers.popleft()
        if len(answers) < FEWEST_ANSWERS:
            return None
        return sum(refused for _, refused in answers) / len(answers)

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
        departures = self._departures.setdefault(number, deque())
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
