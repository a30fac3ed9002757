"""Supervision of what runs beside the consumer: tasks, silent data streams, standstills, repeated messages.

What follows an unexpected exception, by the work that raised it:

======================  =====================================================================
consumer                working orders are cancelled, and the run goes on from its journal: FaultError
venue events            restart, reported as a lost order stream, so that the desk reconciles;
                        as the consumer after the third failure in a row
housekeeping            restart once, then as the consumer
control server          restart; a request that fails is answered with the error
queries and the like    alarm; the next round asks again
dealer gamma poll       alarm; the last value goes stale by itself
strategy folder         the request is refused
watchdog process        another one is started
======================  =====================================================================
"""

import asyncio
import math
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import Notify, ScalpdeskError, StopError
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.venues.contract import Gateway

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
FAULT_PAUSE_SECONDS, _LONGEST_FAULT_PAUSE_SECONDS = 0.5, 60.0
"""Before a run goes on after a fault: at first, and at most after others."""
_STEADY_SECONDS = 60.0
"""Work that ran for so long before it failed counts as failing for the first time."""


class FaultError(StopError):
    """The desk's own code raised: its state is not sound, and it goes on from its journal."""


def is_fault(error: BaseException) -> bool:
    """Return whether an error is one of our own, and not a refusal of the disk, the settings or the venue."""
    return isinstance(error, FaultError) or not isinstance(error, ScalpdeskError)


MOST_FAULTS = 3
FAULT_WINDOW_SECONDS = 600.0
"""``MOST_FAULTS``, ``FAULT_WINDOW_SECONDS``: From so many faults within so long a desk trades no more."""


class FaultHistory:
    """Faults of a run, and what follows from their number."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._pauses = BackOff(FAULT_PAUSE_SECONDS, _LONGEST_FAULT_PAUSE_SECONDS)

    def note(self, now: float) -> None:
        """Note a fault at ``now``, the event loop's time."""
        self._at = [at for at in self._at if now - at < FAULT_WINDOW_SECONDS]
        if not self._at:
            self._pauses.succeed()
        self._at.append(now)

    def pause(self) -> float:
        """Return how long to wait before the next life, seconds: ever longer."""
        return self._pauses.pause()

    @property
    def halts(self) -> bool:
        """Whether the desk is to trade no more until a person resumes it."""
        return len(self._at) >= MOST_FAULTS


class Policy(NamedTuple):
    """Reaction to an unexpected exception of supervised work."""

    restarts: int | None = 0
    """Consecutive restarts of the work; None: unlimited."""
    halts: bool = False
    """Whether the run is started over once no restart is left; otherwise it goes on without this work."""


RESTART = Policy(restarts=None)
RESTART_ONCE = Policy(restarts=1, halts=True)
RESTART_TWICE = Policy(restarts=2, halts=True)


def describe(error: BaseException) -> str:
    """Return an exception in one line, with the place that raised it when it is not a refusal."""
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, ScalpdeskError):
        return error.what + notes
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('scalpdesk/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}"[:300] + place + notes


_REPEAT_SECONDS, _LONGEST_REPEAT_SECONDS = 10.0, 1_800.0


class LogThrottle:
    """Logs a repeated message after pauses that double while it keeps coming, with the suppressed count."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._logged: dict[str, tuple[float, float, int, float]] = {}
        """When a message was logged last and came last, how often since, and the pause before the next."""

    def warn(
        self, what: str, detail: str, now: float, *, level: str = "warning", key: str = ""
    ) -> int | None:
        """Log a message, unless it was logged lately; ``now`` is the event loop's time.

        ``key``: By what it is known again; empty: ``what``.

        Returns how often it was kept back since it was logged last; None while it is kept back.
        """
        key = key or what
        never = -math.inf, -math.inf, 0, _REPEAT_SECONDS
        since, last, suppressed, pause = self._logged.get(key, never)
        if now - since < pause:
            self._logged[key] = since, now, suppressed + 1, pause
            return None
        pause = min(2.0 * pause, _LONGEST_REPEAT_SECONDS) if now - last < pause else _REPEAT_SECONDS
        self._logged[key] = now, now, 0, pause
        again = f" ({suppressed} times more since)" if suppressed else ""
        self._notify(level, f"{what} {detail}{again}".rstrip())
        return suppressed


class Supervisor:
    """Runs tasks and applies their policy when they fail."""

    def __init__(
        self, notify: Notify, halt: Callable[[StopError], None], counters: Counter[str] | None = None
    ) -> None:
        self.notify = notify
        self._halt = halt
        self.counters: Counter[str] = Counter() if counters is None else counters
        self._tasks: set[asyncio.Task[None]] = set()
        self.throttle = LogThrottle(notify)
        """Of what is said again and again."""

    def start(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        policy: Policy,
        *,
        on_restart: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run ``work`` until it returns or :meth:`end`; ``on_restart`` is called before each restart."""
        self._keep(
            asyncio.get_running_loop().create_task(self._run(name, work, policy, on_restart), name=name)
        )

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is done once; a failure is an alarm."""
        self._keep(asyncio.get_running_loop().create_task(work, name=name))

    def failed(self, name: str, error: BaseException, outcome: str = "the desk goes on without it") -> None:
        """Report a failure; for work that is not a task, too."""
        self.counters["internal_fault"] += 1
        self.notify("alarm", f"{name} failed: {describe(error)}; {outcome}")

    async def end(self) -> None:
        """Cancel all tasks and wait for their end."""
        running = tuple(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failed(task.get_name(), error)

    async def _run(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        policy: Policy,
        on_restart: Callable[[BaseException], None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        pauses = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            began = loop.time()
            try:
                await work()
            except Exception as failure:  # noqa: BLE001 - the policy says what follows, whatever it is
                error = failure
            else:
                return
            if loop.time() - began > _STEADY_SECONDS:
                pauses.succeed()
            if policy.restarts is not None and pauses.failures >= policy.restarts:
                break
            pause = pauses.pause()
            self.failed(name, error, f"it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            if on_restart is not None:
                on_restart(error)
        if policy.halts:
            self.failed(name, error, "the run goes on from its journal")
            self._halt(FaultError(f"{name} failed: {describe(error)}", where=name))
        else:
            self.failed(name, error)


CHECK_SECONDS = 1.0


class StaleStreamMonitor:
    """Finds data streams that deliver nothing during an open session.

    The order stream is left out: an account without orders is silent, and what its stream missed is
    found by reconciliation.

    ``silent_seconds``: Of the wall, without any message; 0 never looks.
    """

    def __init__(self, gateway: Gateway, silent_seconds: float) -> None:
        self._gateway = gateway
        self._silent_seconds = silent_seconds
        self._next_at = 0.0

    def due(self, now: float, *, is_open: bool) -> Iterator[tuple[str, float]]:
        """Yield the streams to reconnect and for how many seconds each has been silent.

        ``is_open``: Whether a session is under way: outside of one nothing is expected.
        """
        if not self._silent_seconds or now < self._next_at or not is_open:
            return
        self._next_at = now + CHECK_SECONDS
        health = self._gateway.health()
        for stream, seconds in health.silent_seconds.items():
            if stream != "orders" and health.streams.get(stream) and seconds > self._silent_seconds:
                yield stream, seconds


LONGEST_PAUSES = 16
"""Most times the first pause until an instrument that stays silent is asked for again."""


@dataclass(slots=True)
class _Silence:
    """Time of an instrument without a new quote; the event loop's."""

    stamp: int
    """Time of its latest quote, UTC nanoseconds; 0 before the first."""
    since: float
    asked_at: float
    pause: float


class StaleQuoteMonitor:
    """Finds instruments without a new quote while their streams go on.

    A venue may drop one subscription, or all of a data centre, and send the others. Only instruments whose
    quotes matter are looked at: for an option of the chain minutes without a new quote are usual. The pause
    doubles while nothing comes, to sixteen times the first, for a quiet instrument may just have no news.

    ``silent_seconds``: Of the wall, without a new quote; 0 never looks.
    """

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._next_at = 0.0
        self._silences: dict[InstrumentId, _Silence] = {}

    def begin(self) -> None:
        """Count from now on: no quote was expected before."""
        self._silences.clear()

    def due(
        self, now: float, stamps: Callable[[], Mapping[InstrumentId, int]]
    ) -> Iterator[tuple[InstrumentId, float]]:
        """Yield the instruments to ask for again and for how many seconds each has had no new quote.

        ``stamps`` returns the time of the latest quote of each instrument to look at, UTC nanoseconds.
        """
        if not self._silent_seconds or now < self._next_at:
            return
        self._next_at = now + CHECK_SECONDS
        before, self._silences = self._silences, {}
        for number, stamp in stamps().items():
            known = before.get(number)
            if known is None or known.stamp != stamp:
                known = _Silence(stamp, now, now, self._silent_seconds)
            self._silences[number] = known
            if now - known.asked_at > known.pause:
                known.asked_at = now
                known.pause = min(2.0 * known.pause, LONGEST_PAUSES * self._silent_seconds)
                yield number, now - known.since


_STANDSTILL_NS = 5 * NANOS_PER_SECOND
"""Without a sign of life for so long, the process stood still."""
_PASS_OVER_NS = 30 * NANOS_PER_SECOND
"""Longest time that quotes are skipped when the end of a connection is not reported."""


class StandstillMonitor:
    """Passes over the quotes that waited in the sockets while the process stood still.

    A process that was stopped, frozen or suspended reads them as it wakes. They are stamped as they are
    read, and would pass for fresh. The data streams are therefore reconnected, and no quote counts before
    their old connections have ended.

    ``clock``: The desk's. Any but the machine's tells nothing of this process: nothing is passed over.
    """

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        on_wake: Callable[[float, tuple[str, ...]], None],
        on_set_back: Callable[[float], None],
    ) -> None:
        self._gateway = gateway
        self._clock = clock if isinstance(clock, SystemClock) else None
        self._on_wake = on_wake
        self._on_set_back = on_set_back
        self._behind_ns = 0
        self._alive_ns = 0
        """Latest sign of life; it never runs backwards, as the stamps of quotes do not."""
        self._gives_up_ns = 0
        self._awaited: set[str] = set()
        """Streams whose old connection has not ended."""
        self.limit_ns = NEVER_NS
        """A quote read later than this may be late, UTC nanoseconds."""

    def tick(self) -> None:
        """Note a sign of life; to be called several times a second."""
        if self._clock is not None:
            now_ns = self._clock.now_ns()
            behind_ns, self._behind_ns = self._behind_ns, self._clock.behind_ns
            if self._behind_ns - behind_ns >= NANOS_PER_SECOND:
                self._on_set_back((self._behind_ns - behind_ns) / NANOS_PER_SECOND)
            if now_ns > self.limit_ns:
                self.is_late(now_ns)
            self._note(now_ns)

    def is_late(self, now_ns: int) -> bool:
        """Return whether a quote that was read at ``now_ns``, after the limit, is to be passed over."""
        if now_ns - self._alive_ns > _STANDSTILL_NS:
            streams = self._gateway.health().streams
            self._awaited = {name for name, is_up in streams.items() if is_up and name != "orders"}
            self._gives_up_ns = now_ns + _PASS_OVER_NS
            self._on_wake((now_ns - self._alive_ns) / NANOS_PER_SECOND, tuple(self._awaited))
        elif now_ns > self._gives_up_ns:
            self._awaited.clear()
        self._note(now_ns)
        return bool(self._awaited)

    def ended(self, stream: str) -> None:
        """Note that the connection of a stream has ended."""
        if stream in self._awaited:
            self._awaited.discard(stream)
            self._note(self._alive_ns)

    def _note(self, now_ns: int) -> None:
        self._alive_ns = max(self._alive_ns, now_ns)
        self.limit_ns = 0 if self._awaited else self._alive_ns + _STANDSTILL_NS
