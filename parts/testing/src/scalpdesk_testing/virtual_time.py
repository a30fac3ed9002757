"""An event loop whose time is only counted: it leaps to the next thing that is due and never waits.

The live desk is asynchronous. On this loop it runs as it does in earnest, in one thread, without
sockets and without the machine's clock: the same program gives the same order of events every time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, TypeVar, TypeVarTuple

from scalpdesk.base import NANOS_PER_SECOND, StopError

Ts = TypeVarTuple("Ts")
P = TypeVar("P", bound=asyncio.BaseProtocol)
_ROUNDING_SECONDS = 1e-9
_TICK_SECONDS = 1e-6
"""What a clock moves on by itself while a program sets a timer."""
_MOST_TURNS_AT_ONCE = 100_000
"""Turns without time going by."""


class Stuck(StopError):  # noqa: N818 - the state that it names
    """A run that does not end: it waits for something that cannot come, or goes on and on."""


async def _no_connection(protocol: asyncio.BaseProtocol) -> asyncio.Transport:
    """Refuse a connection: this loop has no line yet."""
    raise ConnectionRefusedError(f"no line for {protocol!r}")


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks in virtual time, seconds from 0.

    Timers that are due at one time run in the order in which they were set. One turn without a selector, and
    timers in tuples, take half of what asyncio's own turn takes, of which a trial has two thousand.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers = 0
        self._turns = self._turns_at_once = 0
        self.most_turns: int | None = None
        """Turns after which a run counts as one that does not end; None bounds those at one instant alone."""
        self.connect: Callable[[Any], Awaitable[asyncio.Transport]] = _no_connection
        """Gives a client's protocol its transport."""
        self.set_debug(False)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback`` at a time of this loop; a time that is past counts as the next tick."""
        # ib_async's throttle sets a timer for an instant and waits until it is past
        when = max(when, self._seconds + _TICK_SECONDS)
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers += 1
        heappush(self._due, (when, self._timers, timer))
        return timer

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, P]:
        """Open a connection that stays in this process: over :attr:`connect`."""
        del host, port, options
        protocol = protocol_factory()
        return await self.connect(protocol), protocol

    def _run_once(self) -> None:
        """Leap to the next timer when nothing is ready; then run what is ready and due."""
        due, ready = self._due, self._ready
        while due and due[0][2].cancelled():
            heappop(due)
        if not ready and not self._stopping:
            if not due:
                raise Stuck("the rehearsal waits for something that cannot come", where="virtual loop")
            self.leap(max(due[0][0] - self._seconds, 0.0))
        self._count_turn()
        until = self._seconds + _ROUNDING_SECONDS
        while due and due[0][0] <= until:
            timer = heappop(due)[2]
            if not timer.cancelled():
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - as asyncio's own turn does

    def count_afresh(self) -> None:
        """Count turns from 0 again: a run that was stopped is cleared up."""
        self._turns = self._turns_at_once = 0

    def _count_turn(self) -> None:
        self._turns += 1
        self._turns_at_once += 1
        if self._turns_at_once > _MOST_TURNS_AT_ONCE:
            raise Stuck(
                "the loop turns on while time stands still", where="virtual loop", value=self._seconds
            )
        if self.most_turns is not None and self._turns > self.most_turns:
            raise Stuck("the loop turns on and on", where="virtual loop", value=self._seconds)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._seconds

    def leap(self, seconds: float) -> None:
        """Move the clock forward."""
        self._seconds += seconds
        if seconds > 0.0:
            self._turns_at_once = 0

    def _write_to_self(self) -> None:
        """No other thread wakes this loop."""


class VirtualClock:
    """Market time of a virtual loop: ``start_ns`` when the loop stands at 0.

    ``loop``: The loop whose time it shows.
    ``start_ns``: UTC nanoseconds at the loop's beginning.
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
