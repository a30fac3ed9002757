"""Questions for the account, one at a time; the answer comes back through the runner's queue."""

import asyncio
from collections.abc import Callable

from scalpdesk.core.errors import RetryError
from scalpdesk.live.parts import RunnerState, Viewed
from scalpdesk.live.reconciler import Reconciler, Say
from scalpdesk.live.tasks import Tasks
from scalpdesk.venues.base import Gateway, VenueView

AGAIN_SECONDS = 2.0
"""After a question without an answer."""


class Views:
    """Asks the venue for the account.

    Parameters
    ----------
    gateway, reconciler
        Whom to ask, and from when on the reconciler wants the executions.
    tasks, state
        Where the question runs, and what counts it.
    put
        Puts the answer into the queue.
    say
        Told what a person should know.
    """

    def __init__(
        self,
        gateway: Gateway,
        reconciler: Reconciler,
        tasks: Tasks,
        state: RunnerState,
        put: Callable[[Viewed], None],
        say: Say,
    ) -> None:
        self._gateway = gateway
        self._reconciler = reconciler
        self._tasks = tasks
        self._state = state
        self._put = put
        self._say = say
        self.is_asking = False
        """A question is under way: another one would bring the same."""
        self.last_at = 0.0
        """When a view arrived last, or was asked for by the timer; the event loop's time."""

    async def first(self, since_ns: int | None) -> VenueView:
        """Ask now, and wait for it; raises RetryError when the venue does not answer."""
        view = await self._gateway.snapshot(fills_since_ns=since_ns)
        self.last_at = asyncio.get_running_loop().time()
        return view

    def ask(self, why: str, wait_seconds: float = 0.0) -> None:
        """Ask, after a while, unless a question is under way."""
        if not self.is_asking:
            self.is_asking = True
            self._tasks.spawn(self._look(why, wait_seconds))

    def take(self, view: VenueView) -> None:
        """Note a view that has come out of the queue."""
        self._state.last_view = view
        self.last_at = asyncio.get_running_loop().time()

    async def _look(self, why: str, wait_seconds: float) -> None:
        try:
            if wait_seconds:
                await asyncio.sleep(wait_seconds)
            view = await self._gateway.snapshot(fills_since_ns=self._reconciler.fills_since_ns)
        except RetryError as error:
            self._state.counters["no_view"] += 1
            self._say("warning", f"the venue shows no account: {error.what}; asking again")
            self._tasks.spawn(self._look(why, AGAIN_SECONDS))
            return
        for _ in range(3):  # what the question brought to light is in the queue before the view
            await asyncio.sleep(0)
        self.is_asking = False
        self._put(Viewed(view, why))
