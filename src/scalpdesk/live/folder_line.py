"""Between a live desk and its strategy folder: requests out, answers back through the one queue."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import structs

from scalpdesk.core.clock import Clock
from scalpdesk.core.events import Event, FolderAnswered
from scalpdesk.core.intents import AskFolder, Output
from scalpdesk.isolation.answering import FolderAnswerer


class FolderLine:
    """A watcher of the live core that carries requests to the folder.

    Parameters
    ----------
    answerer
        The folder.
    clock
        Stamps the answers.
    in_step
        Answer at once, before anything else happens: for a market that waits. Else the folder thinks in a
        thread of its own and holds nothing up.
    """

    def __init__(self, answerer: FolderAnswerer, clock: Clock, *, in_step: bool) -> None:
        self._answerer = answerer
        self._clock = clock
        self._thread = None if in_step else ThreadPoolExecutor(1, "strategy-folder")
        self._put: Callable[[FolderAnswered], None] = lambda _answer: None
        self._is_closed = False

    def deliver_to(self, put: Callable[[FolderAnswered], None]) -> None:
        """Say where the answers go: the queue of the live runner."""
        self._put = put

    def recall(self, asks: Iterable[AskFolder], awaited: Collection[int] = ()) -> None:
        """Let a folder that begins afresh see what the one before it saw.

        Parameters
        ----------
        asks
            Every request of the run so far, in order; its answers are known already.
        awaited
            Requests whose answers were never heard: these are delivered.
        """
        for ask in asks:
            answer = self._answerer.answer(ask, self._clock.now_ns())
            if ask.request in awaited:
                self._put(answer)

    def see(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Carry the requests among the outputs of an event."""
        for output in outputs:
            if type(output) is not AskFolder or self._is_closed:
                continue
            if self._thread is None:
                self._put(self._answerer.answer(output, event.ts_recv_ns))
            else:
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(self._thread, self._ask, output)
                work.add_done_callback(partial(self._deliver, output))

    def close(self) -> None:
        """End the folder's process; an answer under way is not waited for."""
        self._is_closed = True
        if self._thread is not None:
            self._answerer.abort()
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._answerer.close()

    def _ask(self, ask: AskFolder) -> FolderAnswered:
        return self._answerer.answer(ask, self._clock.now_ns())

    def _deliver(self, ask: AskFolder, work: "asyncio.Future[FolderAnswered]") -> None:
        if self._is_closed or work.cancelled():
            return
        now_ns = self._clock.now_ns()
        error = work.exception()
        if error is not None:  # of our own side of the line: the strategy must not wait for ever
            failure = f"request: {type(error).__name__}: {error}"[:300]
            self._put(FolderAnswered(now_ns, now_ns, ask.request, (), (failure,), owner=ask.owner))
            return
        self._put(structs.replace(work.result(), ts_event_ns=now_ns, ts_recv_ns=now_ns))
