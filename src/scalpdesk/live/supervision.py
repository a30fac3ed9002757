"""Work beside the consumer: questions to the venue that must not hold up the queue; and what is said.

Data streams whose connection stands while nothing comes: found in an open session, and renewed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from scalpdesk.venues.contract import Gateway

SAY_AGAIN_SECONDS = 10.0


class Tasks:
    """Starts tasks, keeps hold of them, and tells of one that failed.

    Parameters
    ----------
    on_failure
        Called with the exception of a task that failed.
    """

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_failure = on_failure

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_failure(error)

    async def end(self) -> None:
        """Cancel all and wait for their end."""
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class LogThrottle:
    """Says something that may come in floods: again only after a while, with how often it came.

    Parameters
    ----------
    say
        Takes a level and a sentence.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, what: str, detail: str, now: float) -> None:
        """Say ``what`` with its detail unless it was said lately; ``now`` is the event loop's time."""
        since, times = self._said.get(what, (now - SAY_AGAIN_SECONDS, 0))
        if now - since < SAY_AGAIN_SECONDS:
            self._said[what] = since, times + 1
            return
        self._said[what] = now, 0
        again = f" ({times} times more since)" if times else ""
        self._say("warning", f"{what} {detail}{again}".rstrip())


LOOK_SECONDS = 1.0


class StaleStreamMonitor:
    """Looks for silent data streams now and then.

    The order stream is left out: an account without orders is silent, and what it should have said is
    found by reconciliation.

    Parameters
    ----------
    gateway
        Whose streams they are.
    silent_seconds
        Of the wall, without any message; 0 never looks.
    """

    def __init__(self, gateway: Gateway, silent_seconds: float) -> None:
        self._gateway = gateway
        self._silent_seconds = silent_seconds
        self._next_at = 0.0

    def due(self, now: float, *, is_open: bool) -> Iterator[tuple[str, float]]:
        """Yield the streams to renew and for how long each has been silent.

        Parameters
        ----------
        now
            The event loop's time.
        is_open
            Whether a session is under way: outside of one nothing is expected.
        """
        if not self._silent_seconds or now < self._next_at or not is_open:
            return
        self._next_at = now + LOOK_SECONDS
        health = self._gateway.health()
        for stream, seconds in health.silent_seconds.items():
            if stream != "orders" and health.streams.get(stream) and seconds > self._silent_seconds:
                yield stream, seconds
