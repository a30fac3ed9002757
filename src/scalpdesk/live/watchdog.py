"""The desk's side of the watchdog: the process, the channel to it, and the supervisor that restarts it.

The watchdog itself is :mod:`scalpdesk.live.watchdog_program`, a process of its own with its own connection
to the venue. The channel is a pipe that never blocks the desk; it ends with the desk, however that ends.
"""

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.errors import Notify, StopError
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.core.owner_only import make_folder, own_file
from scalpdesk.core.units import ZERO
from scalpdesk.live.supervision import describe

_BEAT_SECONDS = 0.25
_MOST_UNANSWERED = 20
"""Heartbeats without an answer after which a watchdog counts as hanging: 5 s of beats, however long the desk
itself stood still.
"""
ANSWER = b"beat\n"
"""Line that the watchdog writes to its standard output for each heartbeat."""
_READY_SECONDS = 60.0
"""Longest start of a watchdog, imports and connection included."""
STARTING_SECONDS = 300.0
"""Longest start of a desk: so long its heartbeat comes from a thread, and the watchdog waits for it."""

ACTED_FILE = "watchdog.txt"
"""In the folder of a run: why the watchdog acted and what came of it, for the next start to report."""

LOG_FILE = "watchdog.log"
"""Beside the runs: the messages of every watchdog."""


class MessageKind(StrEnum):
    """Kinds of :class:`DeskMessage`."""

    BEGIN = "begin"
    """A run begins, in ``run_dir``."""
    STARTED = "started"
    """The desk has met its account: from here on the heartbeat shows that its loop is running."""
    BEAT = "beat"
    ORDER_SENT = "sent"
    """``order`` is about to leave."""
    ORDER_ENDED = "over"
    """The order ``name`` has ended."""
    HELD = "held"
    """The run holds ``units`` of the instrument ``name``."""
    FLATTEN = "flatten"
    """An operator wants the positions closed (``flatten``), or no longer."""
    END = "end"
    """The run has ended; not ``clean``: its orders are to be cancelled."""


class DeskMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of the desk to its watchdog, one JSON line."""

    kind: MessageKind
    run_dir: str = ""
    order: SubmitOrder | None = None
    parent: str = ""
    """Client order id of a leg's combo."""
    name: str = ""
    clean: bool = False
    keeps_positions: bool = False
    """At the end of a run that leaves its positions: only orders are cancelled."""
    flatten: bool = False
    units: Decimal = ZERO
    """Signed units held of the instrument ``name``."""


class HeartbeatChannel:
    """A watchdog process and the pipe to it.

    ``command``: Program of the watchdog; it reads :class:`DeskMessage` lines from its standard input and
    writes ``ready`` once it is connected to the venue, then :data:`ANSWER` for each heartbeat.
    """

    def __init__(self, command: Sequence[str], settings: dict[str, Any], log: Path) -> None:
        make_folder(log.parent)
        self.log = log
        self._failed = False
        self._has_ended = False
        self.has_heard_end = False
        """The end was reported to a process that was there."""
        self._unanswered = 0
        """Heartbeats since the last answer."""
        own_file(log)  # it names orders
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._write(msgspec.json.encode(settings))

    def wait_until_ready(self, timeout_seconds: float = _READY_SECONDS) -> None:
        """Wait for the watchdog's own connection.

        Raises StopError when it is not ready in time, or ends: the desk does not start without it.
        """
        line = self._first_line(time.monotonic() + timeout_seconds)
        if line.strip() != b"ready":
            with suppress(OSError):
                self._process.kill()
            raise StopError(
                "the watchdog does not come up; nothing was sent"
                if line
                else f"the watchdog was not ready within {timeout_seconds:g} s, or ended; nothing was sent",
                where=str(self.log),
                value=line.decode("utf-8", "replace").strip() or None,
                fix="read its log; --no-watchdog runs without one",
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _first_line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, line = self._process.stdout.fileno(), b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return b""
            part = os.read(descriptor, 4096)
            if not part:
                return line
            line += part
        return line

    @property
    def is_alive(self) -> bool:
        """False when the watchdog ended, answers no heartbeat, or its pipe is full."""
        return not self._failed and self._process.poll() is None

    def send(self, message: DeskMessage) -> None:
        """Send a message, without waiting; a heartbeat also counts those without an answer."""
        self._write(msgspec.json.encode(message))
        if message.kind == MessageKind.BEAT and not self._has_ended:
            self._unanswered = 0 if self._has_answered() else self._unanswered + 1
            self._failed = self._failed or self._unanswered > _MOST_UNANSWERED

    def end(self, *, clean: bool, keeps_positions: bool = False) -> None:
        """Report the end of the run; after an unclean one the watchdog cancels the orders.

        It waits until the pipe ends, with :meth:`leave` or the process, so that it does not act beside a desk
        that is still closing. A second call does nothing: the first one stands.
        """
        if self._has_ended:
            return
        self.send(DeskMessage(MessageKind.END, clean=clean, keeps_positions=keeps_positions))
        self._has_ended, self.has_heard_end = True, self.is_alive
        if clean:
            self.leave()

    def leave(self) -> None:
        """End the pipe after :meth:`end`: the desk is disconnected from the venue."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _has_answered(self) -> bool:
        """Read the answers that have come; return whether there were any."""
        assert self._process.stdout is not None
        with suppress(OSError):  # BlockingIOError: no answer yet
            return bool(os.read(self._process.stdout.fileno(), 4096))
        return False

    def kill(self) -> None:
        """Kill a watchdog that hangs; it would take the end of its pipe for the end of the desk."""
        self._failed = self._has_ended = True
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it has not read is lost with it
                assert pipe is not None
                pipe.close()

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the watchdog's end; return its exit code, None when it still runs."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def _write(self, line: bytes) -> None:
        if self._has_ended:  # the pipe is closed and its number may be another file's by now
            return
        try:
            os.write(self._pipe, line + b"\n")  # below PIPE_BUF: whole or not at all
        except OSError:  # dead, or it has not read for a long time
            self._failed = True


FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
_LAST_WAIT_SECONDS = 1.0
"""Time that the clean end of a run waits for a starting watchdog."""


class WatchdogSupervisor:
    """The watchdog as the desk uses it: starts the process again when it exits or hangs.

    Starting one takes seconds (a process, imports, a connection of its own): that happens in a thread,
    and the desk's loop only looks whether it is done.

    ``start``: Starts a watchdog and returns once it is connected; blocks, within bounds, and raises when it
    does not come up. Called for the first one at once.
    ``pause_seconds``: Before the second try; doubled up to a minute.
    ``monotonic``: Clock of heartbeats and tries, seconds.
    """

    def __init__(
        self,
        start: Callable[[], HeartbeatChannel],
        notify: Notify,
        *,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.line = start()
        self.restarts = 0
        self._monotonic = monotonic
        self._start = start
        self._notify = notify
        self._pauses = BackOff(pause_seconds, LONGEST_PAUSE_SECONDS)
        self._next_try = self._next_beat = 0.0
        self._run: list[DeskMessage] = []
        """Messages that a new watchdog needs of the run."""
        self._live: dict[str, DeskMessage] = {}
        self._held: dict[str, DeskMessage] = {}
        self._starting: threading.Thread | None = None
        self._new: HeartbeatChannel | None = None
        self._failure = ""
        self._has_ended = False

    @property
    def is_alive(self) -> bool:
        """False while no watchdog runs."""
        return self.line.is_alive

    @property
    def has_taken_over(self) -> bool:
        """Whether a watchdog was there to hear of the end of the run."""
        return self.line.has_heard_end

    @property
    def reported_orders(self) -> tuple[str, ...]:
        """Ids of the orders that were reported and have not ended."""
        return tuple(self._live)

    def begin(self, run_dir: Path) -> None:
        """Report which run it is, and that it starts; of the same one a wish to flatten stays."""
        begin = DeskMessage(MessageKind.BEGIN, run_dir=str(run_dir.resolve()))
        kept = [message for message in self._run if message.kind is MessageKind.FLATTEN]
        self._run = [begin, *(kept if begin in self._run else ())]
        self._held.clear()
        self.line.send(begin)

    def started(self) -> None:
        """Report that the desk has met its account and follows its market."""
        self._run.append(DeskMessage(MessageKind.STARTED))
        self.line.send(self._run[-1])

    def flatten_asked(self, *, flatten: bool) -> None:
        """Report whether an operator wants the positions closed: where the desk fails, the watchdog does."""
        self._run.append(DeskMessage(MessageKind.FLATTEN, flatten=flatten))
        self.line.send(self._run[-1])

    def beat(self) -> None:
        """Send a heartbeat where one is due; start another watchdog where this one has ended."""
        if self.line.is_alive:
            now = self._monotonic()
            if now >= self._next_beat:
                self._next_beat = now + _BEAT_SECONDS
                self.line.send(DeskMessage(MessageKind.BEAT))
        elif not self._has_ended:
            self._replace()

    def order_sent(self, command: SubmitOrder, parent_id: str = "") -> None:
        """Report an order that is about to leave, or a leg with its combo's id."""
        message = DeskMessage(MessageKind.ORDER_SENT, order=command, parent=parent_id)
        self._live[command.client_order_id] = message
        self.line.send(message)

    def order_ended(self, client_order_id: str) -> None:
        """Report the end of an order."""
        self._live.pop(client_order_id, None)
        self.line.send(DeskMessage(MessageKind.ORDER_ENDED, name=client_order_id))

    def holds(self, held: Mapping[str, Decimal]) -> None:
        """Report what the run holds, signed units by symbol: a list of the venue is held against it."""
        for symbol in dict.fromkeys((*self._held, *held)):
            units = held.get(symbol, ZERO)
            known = self._held.get(symbol)
            if known is None or known.units != units:
                self._held[symbol] = message = DeskMessage(MessageKind.HELD, name=symbol, units=units)
                self.line.send(message)

    def end(self, *, clean: bool, keeps_positions: bool = False) -> None:
        """Report the end of the run; the first call stands.

        ``clean``: Nothing is left to do. Otherwise the watchdog cancels every order, and closes the positions
        when it is set to.
        ``keeps_positions``: The run was to leave its positions: they are not closed, however the watchdog is
        set.
        """
        if not (clean or self._has_ended or self.line.is_alive):
            self._next_try = 0.0  # what is left to do waits for no pause between two tries
            if self._starting is None:
                self._replace()
        self._has_ended = True
        if self._starting is not None:
            # after an unclean end there is work for it; both waits are bounded
            self._starting.join(_LAST_WAIT_SECONDS if clean else _READY_SECONDS)
            if not self._starting.is_alive():
                self._take_over()
        self.line.end(clean=clean, keeps_positions=keeps_positions)

    def leave(self) -> None:
        """Report that the desk is disconnected after its :meth:`end`: the watchdog acts now if it has to."""
        self.line.leave()

    def _replace(self) -> None:
        """Start another one, or take it over once it is ready."""
        if self._starting is None:
            now = self._monotonic()
            if now < self._next_try:
                return
            self._next_try = now + self._pauses.pause()
            self.line.kill()  # one that hangs would take the end of its pipe for the end of the desk
            self._starting = threading.Thread(target=self._bring_up, name="watchdog-start", daemon=True)
            self._starting.start()
        elif not self._starting.is_alive():
            self._take_over()

    def _bring_up(self) -> None:
        try:
            self._new = self._start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop reports it and tries again
            self._failure = describe(error)

    def _take_over(self) -> None:
        """Send a new watchdog the state of the run."""
        self._starting = None
        line, self._new = self._new, None
        if line is None:
            self._notify("alarm", f"the watchdog cannot be started and does not run: {self._failure}")
            return
        self.line = line
        self.restarts += 1
        self._pauses.succeed()
        for message in (*self._run, *self._held.values(), *self._live.values()):
            line.send(message)
        self._notify("warning", "the watchdog had ended; another one runs now")


@contextmanager
def startup_heartbeat(
    beat: Callable[[], None] | None, notify: Notify, *, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Call ``beat`` from a thread while the desk starts or disconnects; None does nothing.

    Imports, compilation and a busy machine may hold up the desk's loop for longer than a stall; they do
    not hold up this thread. It beats for :data:`STARTING_SECONDS` at most.
    """
    over = threading.Event()

    def run(beat: Callable[[], None]) -> None:
        ends = monotonic() + STARTING_SECONDS
        while monotonic() < ends:
            beat()
            if over.wait(_BEAT_SECONDS):
                return
        notify("alarm", f"the desk has not started within {STARTING_SECONDS:g} s: its heartbeat ends")

    thread = None
    if beat is not None:
        thread = threading.Thread(target=run, args=(beat,), name="startup-heartbeat", daemon=True)
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread is not None:
            thread.join()
