"""The engine's timers: set by its outputs, brought back as events by its runner; and the loss timer."""

import heapq

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import Event, SessionEvent, TimerEvent
from scalpdesk.core.intents import Output, SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS
from scalpdesk.engine.desk import Desk

LOSS_TIMER = "loss"
"""The session's loss was found at its limit between two marks."""


class Timers:
    """Timers by name and instant, in the order of their instants, then as they were set.

    A timer is its name and its instant: set again while it waits, it stays one timer and fires once.
    """

    def __init__(self) -> None:
        self.due_ns = NEVER_NS
        """Instant of the next timer, UTC nanoseconds."""
        self._heap: list[tuple[int, int, str]] = []
        self._waiting: set[tuple[int, str]] = set()
        self._count = 0

    def set(self, timer: SetTimer) -> None:
        """Set a timer."""
        key = timer.due_ns, timer.name
        if key not in self._waiting:
            self._waiting.add(key)
            self._count += 1
            heapq.heappush(self._heap, (timer.due_ns, self._count, timer.name))
            self._look_ahead()

    def pop(self) -> tuple[int, str]:
        """Remove the next timer; return its instant and its name."""
        due_ns, _, name = heapq.heappop(self._heap)
        self._waiting.discard((due_ns, name))
        self._look_ahead()
        return due_ns, name

    def clear(self) -> None:
        """Remove all timers: they end with their session."""
        self._heap.clear()
        self._waiting.clear()
        self._look_ahead()

    def note(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Follow one handled event: the timer that fired, the timers that were set, the session's close."""
        if type(event) is TimerEvent and (event.ts_event_ns, event.name) in self._waiting:  # a replay
            self._waiting.discard((event.ts_event_ns, event.name))
            self._heap = [entry for entry in self._heap if (entry[0], entry[2]) in self._waiting]
            heapq.heapify(self._heap)
            self._look_ahead()
        for output in outputs:
            if type(output) is SetTimer:
                self.set(output)
        if type(event) is SessionEvent and event.phase is SessionPhase.CLOSE:
            self.clear()

    def _look_ahead(self) -> None:
        self.due_ns = self._heap[0][0] if self._heap else NEVER_NS


class LossTimer:
    """Judges the session's loss at each whole second while it can change; owned by the engine's runner.

    A judgement that finds the loss below its limit changes nothing and is no event: the journal holds only
    the timer that ends the session's trading.
    """

    def __init__(self, desk: Desk) -> None:
        self.due_ns = NEVER_NS
        """Whole second of the next judgement, UTC nanoseconds."""
        self._desk = desk

    def plan(self, now_ns: int) -> None:
        """Set the timer after an event to the next second; clear it if no loss can change."""
        self.due_ns = min(self.due_ns, _next_second(now_ns)) if self._desk.can_lose() else NEVER_NS

    def rest(self, until_ns: int) -> None:
        """Judge nothing before an instant (UTC nanoseconds) or an event: no price reaches the limit."""
        self.due_ns = max(self.due_ns, _next_second(until_ns - 1))

    def clear(self) -> None:
        """Remove the timer: it ends with its session."""
        self.due_ns = NEVER_NS

    def judge(self, now_ns: int) -> TimerEvent | None:
        """Judge the loss at the marks of now; return the event of a loss that is at its limit.

        Now (UTC nanoseconds) is not before the timer's second.
        """
        due_ns = self.due_ns
        if not self._desk.can_lose():
            self.due_ns = NEVER_NS
            return None
        if self.passes(now_ns):
            return None
        self.due_ns = _next_second(now_ns)
        return TimerEvent(due_ns, now_ns, LOSS_TIMER)

    def passes(self, now_ns: int, until_ns: int = 0) -> bool:
        """Judge the loss at the marks of now; below its limit go on to the next second, else stay due.

        Nothing but quotes has changed since the timer was planned, and until ``until_ns`` none will.
        """
        if self._desk.has_lost_too_much():
            return False
        at_ns = now_ns if now_ns > until_ns else until_ns  # noqa: FURB136 - a call less
        self.due_ns = at_ns - at_ns % NANOS_PER_SECOND + NANOS_PER_SECOND
        return True


def _next_second(now_ns: int) -> int:
    return now_ns - now_ns % NANOS_PER_SECOND + NANOS_PER_SECOND
