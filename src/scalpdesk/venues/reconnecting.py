"""A connection that comes back: one after the other, with growing pauses, until it is closed or refused."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from scalpdesk.core.backoff import BackOff

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
HELLO_SECONDS = 10.0
"""Until a connection must stand."""


class ReconnectingConnection(ABC):
    """Keeps one connection open in a task of its own.

    ``name``: For notices and the task.
    ``on_up``: Called when a connection stands.
    ``on_down``: Called with a name and a text when one is lost, and whether there will be no other.
    ``on_failed``: Called with a name and a text when an attempt fails and another follows.
    ``refusal``: Makes what :meth:`start` raises when the first connection is refused for good.
    ``steady_seconds``: An attempt that took and stood so long resets the pauses.
    """

    def __init__(
        self,
        name: str,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str, str, bool], None],
        refusal: Callable[[str], Exception],
        steady_seconds: float,
        on_failed: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self.name = name
        self.is_up = False
        self.connections = self.reconnects = 0
        """Number of connections that came up, and of further attempts."""
        self.failure = ""
        """Why the last attempt failed; empty while a connection stands."""
        self._on_up, self._on_down, self._refusal = on_up, on_down, refusal
        self._on_failed = on_failed
        self._steady_seconds = steady_seconds
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._last_at = 0.0
        """Time of the last frame, by the event loop's clock; 0 before the first."""

    @abstractmethod
    async def _connection(self) -> tuple[str, str, bool]:
        """Run one connection to its end; return its cause, a text, and whether it is final."""

    @abstractmethod
    def _ended(self, cause: tuple[str, str, bool]) -> tuple[str, str, bool]:
        """Clear what belonged to the connection; return the cause to report."""

    async def start(self, timeout_seconds: float = HELLO_SECONDS) -> None:
        """Connect, and return once the connection stands; it keeps trying in the background either way.

        Raises what ``refusal`` makes, when the server refuses the connection for good. Raises
        TimeoutError when it does not stand in time.
        """
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._first = loop.create_future()
            self._task = loop.create_task(self._run(), name=f"connection-{self.name}")
        assert self._first is not None
        async with asyncio.timeout(timeout_seconds):
            await asyncio.shield(self._first)

    async def close(self) -> None:
        """End the connection and make no other."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._first is not None and self._first.done() and not self._first.cancelled():
            self._first.exception()  # retrieved, so that asyncio does not warn
        self.is_up = False

    def silent_seconds(self) -> float:
        """Return the seconds since the last frame of any kind; 0 before the first."""
        return max(0.0, asyncio.get_running_loop().time() - self._last_at) if self._last_at else 0.0

    def _stand(self) -> None:
        """Report a connection that stands, and let :meth:`start` return."""
        self.is_up, self.failure = True, ""
        self.connections += 1
        self._on_up()
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    async def _run(self) -> None:
        pauses = BackOff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            cause = await self._connection()
            was_up, self.is_up = self.is_up, False
            name, why, is_final = self._ended(cause)
            if is_final and self._first is not None and not self._first.done():
                self._first.set_exception(self._refusal(why))
                return
            if was_up or is_final:
                self._on_down(name, why, is_final)
            if is_final:
                return
            if not was_up:
                self.failure = f"{name}: {why}"
                self._on_failed(name, why)
            if loop.time() - began > self._steady_seconds:
                pauses.succeed()
            await asyncio.sleep(pauses.pause())
            self.reconnects += 1
