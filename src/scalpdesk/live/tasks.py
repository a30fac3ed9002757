"""Work beside the consumer: questions to the venue that must not hold up the queue; and what is said."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

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


class Seldom:
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
