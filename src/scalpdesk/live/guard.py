"""Keeps a watchdog beside the desk: when the one it has dies or hangs, another is started."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.live.pulse import WatchdogLine

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
Say = Callable[[str, str], None]


class Guard:
    """A watchdog that comes back; a :class:`scalpdesk.live.parts.Pulse` to the runner.

    Starting one takes seconds (a process, imports, a connection of its own): that happens in a thread,
    and the desk's loop only looks whether it is done.

    Parameters
    ----------
    line
        The watchdog that runs now.
    start
        Starts another and returns once it is connected; blocks, and raises ScalpdeskError when it
        does not come up.
    say
        Told what a person should know.
    pause_seconds
        Before the second try; doubled up to a minute.
    """

    def __init__(
        self,
        line: WatchdogLine,
        start: Callable[[], WatchdogLine],
        say: Say,
        *,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.line = line
        self.restarts = 0
        self._start = start
        self._say = say
        self._first_pause = self._pause = pause_seconds
        self._next_try = 0.0
        self._run_dir: Path | None = None
        self._live: dict[str, SubmitOrder] = {}
        self._starting: threading.Thread | None = None
        self._started: WatchdogLine | None = None
        self._refusal = ""
        self._has_ended = False

    @property
    def is_alive(self) -> bool:
        """False while nobody watches."""
        return self.line.is_alive

    def begin(self, run_dir: Path) -> None:
        """Tell which run it is."""
        self._run_dir = run_dir
        self.line.begin(run_dir)

    def beat(self) -> None:
        """Say that the loop turns, and see to it that somebody hears it; cheap to call often."""
        if self.line.is_alive:
            self.line.beat()
        elif not self._has_ended:
            self._replace()

    def sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        self._live[command.client_order_id] = command
        self.line.sent(command)

    def over(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        self._live.pop(client_order_id, None)
        self.line.over(client_order_id)

    def end(self, *, clean: bool) -> None:
        """Say that the run has ended; the first word stands."""
        self._has_ended = True
        if self._starting is not None:
            self._starting.join()
            self._take_over()
        self.line.end(clean=clean)

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the watchdog's end; return its exit code, None when it still runs."""
        return self.line.wait(timeout_seconds)

    def _replace(self) -> None:
        """Begin to start another, or take it over once it stands."""
        if self._starting is None:
            now = time.monotonic()
            if now < self._next_try:
                return
            self._next_try = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self.line.kill()  # one that hangs would take the end of its pipe for the end of the desk
            self._starting = threading.Thread(target=self._bring_up, name="watchdog-start", daemon=True)
            self._starting.start()
        elif not self._starting.is_alive():
            self._take_over()

    def _bring_up(self) -> None:
        try:
            self._started = self._start()
        except (ScalpdeskError, OSError) as error:
            self._refusal = str(error)

    def _take_over(self) -> None:
        """Let the new one know what the old one knew."""
        self._starting = None
        line, self._started = self._started, None
        if line is None:
            self._say("alarm", f"the watchdog cannot be started, nobody guards this desk: {self._refusal}")
            return
        self.line = line
        self.restarts += 1
        self._pause = self._first_pause
        if self._run_dir is not None:
            line.begin(self._run_dir)
        for command in self._live.values():
            line.sent(command)
        self._say("warning", "the watchdog had died; another one guards this desk now")
