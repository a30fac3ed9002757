"""Asks for dealer gamma beside the desk: a slow or dead store costs the trading loop nothing."""

import threading
from collections.abc import Callable

from scalpdesk.core.clock import Clock
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.regime.exposure_settings import CACHE_SECONDS
from scalpdesk.regime.exposure_source import ExposureSource, Say

Post = Callable[[GammaExposureEvent], None]


class ExposureWatch:
    """A thread that looks once a minute and posts what has changed.

    Parameters
    ----------
    source
        What to ask.
    clock
        The desk's.
    post
        Takes the event, in this thread: it hands it to the desk's queue.
    every_seconds
        Pause between two looks.
    say
        Told when the watch itself fails.
    """

    def __init__(
        self,
        source: ExposureSource,
        clock: Clock,
        post: Post,
        *,
        every_seconds: float = CACHE_SECONDS,
        say: Say | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._post = post
        self._every_seconds = every_seconds
        self._say = say or (lambda _level, _text: None)
        self._over = threading.Event()
        self._last: tuple[str, float | None, int, str] | None = None
        # a daemon: a call that hangs must not keep the desk from ending
        self._thread = threading.Thread(target=self._run, name="gamma-exposure", daemon=True)

    def start(self) -> None:
        """Begin to look, at once."""
        self._thread.start()

    def stop(self, wait_seconds: float = 0.5) -> None:
        """Look no more; a call under way is waited for no longer than ``wait_seconds``."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    def look(self) -> None:
        """Ask once and post what is new."""
        event = self._source.look(self._clock.now_ns())
        if event is None:
            return
        if event.reason or event.source == "environment":
            said = (event.symbol, None if event.reason else event.exposure_usd, 0, event.source)
        else:
            said = (event.symbol, event.exposure_usd, event.ts_event_ns, event.source)
        if said != self._last and not self._over.is_set():
            self._last = said
            self._post(event)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.look()
                self._over.wait(self._every_seconds)
        finally:
            if not self._over.is_set():  # a fault of ours; what was known last goes stale by itself
                self._say("alarm", "dealer gamma is no longer asked for: its watch failed")
