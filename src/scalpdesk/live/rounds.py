"""What a desk looks after many times a second, beside the events: watchdog, doubts, silence, views, disk."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scalpdesk.core.errors import StopError
from scalpdesk.live.core import LiveCore
from scalpdesk.live.doubts import Doubts
from scalpdesk.live.parts import Pulse, RunnerOptions
from scalpdesk.live.reconciler import Say
from scalpdesk.live.silence import Silence
from scalpdesk.live.tasks import Seldom, Tasks
from scalpdesk.live.views import Views
from scalpdesk.venues.base import Gateway


class Rounds:
    """Goes round until it is cancelled.

    Parameters
    ----------
    core, gateway, options, pulse
        Of the runner.
    doubts, views, tasks, seldom, say
        Its parts.
    resolve
        Asks what became of an order.
    wake
        Lets the consumer look for timers that are due.
    """

    def __init__(
        self,
        core: LiveCore,
        gateway: Gateway,
        options: RunnerOptions,
        pulse: Pulse | None,
        *,
        doubts: Doubts,
        views: Views,
        tasks: Tasks,
        seldom: Seldom,
        say: Say,
        resolve: Callable[[str], Coroutine[Any, Any, None]],
        wake: Callable[[], None],
    ) -> None:
        self._core = core
        self._gateway = gateway
        self._options = options
        self._pulse = pulse
        self._doubts = doubts
        self._views = views
        self._tasks = tasks
        self._seldom = seldom
        self._say = say
        self._resolve = resolve
        self._wake = wake
        self._silence = Silence(gateway, options.silent_seconds)
        self._last_flush_at = 0.0

    async def go(self) -> None:
        """Go round, some twenty times a second."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.tick_seconds)
            self.once(loop.time())

    def once(self, now: float) -> None:
        """Look after everything once; ``now`` is the event loop's time."""
        if self._pulse is not None:
            self._pulse.beat()
            if not self._pulse.is_alive:
                self._seldom.say("the watchdog is gone:", "nobody guards this desk", now)
        for name in self._doubts.due(now):
            self._tasks.spawn(self._resolve(name))
        is_open = self._core.engine.desk.view.session is not None
        for stream, seconds in self._silence.due(now, is_open=is_open):
            said = f"nothing for {seconds:.0f} s in an open session; connecting anew"
            self._seldom.say(f"{stream} silent:", said, now)
            self._tasks.spawn(self._gateway.renew(stream))
        if now - self._views.last_at > self._options.reconcile_seconds:
            self._views.last_at = now
            self._views.ask("timer")
        if now - self._last_flush_at > self._options.flush_seconds:
            self._last_flush_at = now
            try:
                self._core.journal.flush()
            except StopError as error:
                self._say("alarm", error.what)  # the next event meets the same refusal, in the consumer
        self._wake()
