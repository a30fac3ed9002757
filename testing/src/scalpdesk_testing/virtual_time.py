"""An event loop whose time is only counted: it leaps to the next thing that is due and never waits.

The live desk is asynchronous. On this loop it runs as it does in earnest, in one thread, without
sockets and without the machine's clock: the same program gives the same order of events every time.
"""

import asyncio
from typing import Any

from scalpdesk.core.errors import StopError
from scalpdesk.core.units import NANOS_PER_SECOND


class Stuck(StopError):  # noqa: N818 - the state that it names
    """Nothing is due and nothing is ready: a wait that no event can end."""


class _Leap:
    """Stands where a selector stands; waiting is moving the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let ``timeout`` seconds pass at once."""
        if timeout is None:
            raise Stuck("the rehearsal waits for something that cannot come", where="virtual loop")
        if timeout > 0:
            self._loop.leap(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks in virtual time, seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector = _Leap(self)
        self.set_debug(False)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._seconds

    def leap(self, seconds: float) -> None:
        """Move the clock forward."""
        self._seconds += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        """No descriptor is watched."""

    def _write_to_self(self) -> None:
        """No other thread wakes this loop."""


class VirtualClock:
    """Market time of a virtual loop: ``start_ns`` when the loop stands at 0.

    Parameters
    ----------
    loop
        The loop whose time it shows.
    start_ns
        UTC nanoseconds at the loop's beginning.
    """

    def __init__(self, loop: VirtualLoop, start_ns: int) -> None:
        self._loop = loop
        self.start_ns = start_ns
        self.skew_ns = 0
        """A jump of the machine's clock, nanoseconds; the loop's own time does not jump."""

    def true_ns(self) -> int:
        """Return UTC nanoseconds of the market."""
        # whole microseconds: a sum of floats must not put two ends of one instant apart
        return self.start_ns + round(self._loop.time() * 1e6) * 1_000

    def now_ns(self) -> int:
        """Return UTC nanoseconds as this machine believes them."""
        return self.true_ns() + self.skew_ns

    def loop_seconds(self, at_ns: int) -> float:
        """Return the loop's time of a market instant."""
        return (at_ns - self.start_ns) / NANOS_PER_SECOND
