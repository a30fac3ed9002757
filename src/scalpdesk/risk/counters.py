"""Counters of the risk gate over moving windows: orders, cancels, sizes, answers, executions."""

from collections import deque
from decimal import Decimal

from scalpdesk.core.intents import Side
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId

FEWEST_ANSWERS = 10
"""A share of rejections says nothing while fewer orders were answered."""
MOST_KEPT = 1_024
"""Orders and cancels that are kept at most beyond their window."""


class OrderCounters:
    """Counts over moving windows, as of the instant of the last :meth:`advance`; reads no clock.

    Until it is advanced a count is at least what is in its window: a check that this passes needs no more.

    ``size_window_seconds``: Window of the quantity ordered.
    ``reject_window_seconds``: Window of the venue's answers.
    """

    def __init__(self, size_window_seconds: float = 60.0, reject_window_seconds: float = 300.0) -> None:
        self.orders_ns: deque[int] = deque()
        """When the orders of the last minute were sent, UTC nanoseconds."""
        self.cancels_ns: deque[int] = deque()
        self.contracts = ZERO
        """Contracts ordered within the size window, exits aside."""
        self.shares = ZERO
        self._size_window_ns = int(size_window_seconds * NANOS_PER_SECOND)
        self._sizes: deque[tuple[int, Decimal, bool]] = deque()
        self._answer_window_ns = int(reject_window_seconds * NANOS_PER_SECOND)
        self._answers: deque[tuple[int, bool]] = deque()
        self._rejected = 0
        self._same_side: dict[InstrumentId, tuple[Side, deque[int]]] = {}
        self._departures: dict[InstrumentId, deque[int]] = {}

    def advance(self, now_ns: int) -> None:
        """Drop the counts that have left their windows by ``now_ns`` (UTC nanoseconds)."""
        oldest_ns = now_ns - MINUTE_NS
        orders, cancels, sizes, answers = self.orders_ns, self.cancels_ns, self._sizes, self._answers
        while orders and orders[0] <= oldest_ns:
            orders.popleft()
        while cancels and cancels[0] <= oldest_ns:
            cancels.popleft()
        oldest_ns = now_ns - self._size_window_ns
        while sizes and sizes[0][0] <= oldest_ns:
            _, quantity, is_option = sizes.popleft()
            if is_option:
                self.contracts -= quantity
            else:
                self.shares -= quantity
        oldest_ns = now_ns - self._answer_window_ns
        while answers and answers[0][0] <= oldest_ns:
            self._rejected -= answers.popleft()[1]

    def note_order(self, now_ns: int, quantity: Decimal = ZERO, *, is_option: bool = False) -> None:
        """Count an order; a quantity (contracts or shares) counts towards the size window."""
        orders = self.orders_ns
        orders.append(now_ns)
        if len(orders) > MOST_KEPT:
            self.advance(now_ns)
        if quantity:
            self._sizes.append((now_ns, quantity, is_option))
            if is_option:
                self.contracts += quantity
            else:
                self.shares += quantity

    def note_cancel(self, now_ns: int) -> None:
        """Count a cancel."""
        self.cancels_ns.append(now_ns)
        if len(self.cancels_ns) > MOST_KEPT:
            self.advance(now_ns)

    def note_answer(self, now_ns: int, *, rejected: bool) -> None:
        """Count the venue's first answer to an order."""
        self._answers.append((now_ns, rejected))
        self._rejected += rejected

    def rejected_fraction(self) -> float | None:
        """Fraction of rejections among the answered orders; None while they are too few."""
        answered = len(self._answers)
        return None if answered < FEWEST_ANSWERS else self._rejected / answered

    def note_execution(
        self, now_ns: int, instrument_id: InstrumentId, side: Side, held_before: Decimal
    ) -> tuple[int, int]:
        """Count an execution; return those in a row on its side, and departures from flat, in a minute."""
        oldest_ns = now_ns - MINUTE_NS
        last = self._same_side.get(instrument_id)
        if last is None or last[0] is not side:
            executions: deque[int] = deque() if last is None else last[1]
            executions.clear()
            last = self._same_side[instrument_id] = (side, executions)
        repeats = last[1]
        repeats.append(now_ns)
        while repeats[0] <= oldest_ns:
            repeats.popleft()
        departures = self._departures.get(instrument_id)
        if departures is None:
            departures = self._departures[instrument_id] = deque()
        if not held_before:
            departures.append(now_ns)
        while departures and departures[0] <= oldest_ns:
            departures.popleft()
        return len(repeats), len(departures)

    def forget_executions(self) -> None:
        """Count executions from zero again, because an operator resumed the desk."""
        self._same_side.clear()
        self._departures.clear()
