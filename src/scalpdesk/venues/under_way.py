"""Requests of an order path that the venue has not answered yet."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from scalpdesk.venues.contract import NoticeKind
from scalpdesk.venues.event_queue import EventPublisher


class RequestsUnderWay:
    """Runs the requests of an order path; an error of our own in one asks for reconciliation."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._tasks))

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a request."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            # a fault of our own must be seen, and must not lose the order: reconciliation finds it
            self._publisher.count("internal_fault")
            detail = repr(task.exception())[:200]
            self._publisher.notice(NoticeKind.GAP, "orders", "internal_fault", detail)

    async def end(self, timeout_seconds: float) -> None:
        """Wait, within bounds, until the requests are answered; cancel the others."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
