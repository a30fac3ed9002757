"""The engine's end of the line to the watchdog: beats and live orders down a pipe that never blocks."""

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import StopError
from scalpdesk.core.intents import SubmitOrder

BEAT_SECONDS = 0.25
START_SECONDS = 30.0


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to the watchdog.

    Parameters
    ----------
    kind
        ``begin`` (with ``run_dir``), ``beat``, ``sent`` (with ``order``), ``over`` (with ``name``) or
        ``end`` (with ``clean``).
    """

    kind: str
    run_dir: str = ""
    order: SubmitOrder | None = None
    name: str = ""
    clean: bool = False


class WatchdogLine:
    """A watchdog process and the pipe to it.

    The pipe ends with this process, however it ends: that is what the watchdog waits for.

    Parameters
    ----------
    command
        Program of the watchdog; it reads lines of :class:`Told` from its standard input and writes
        ``ready`` once it is connected to the venue.
    settings
        Its first line: what it needs to connect; no keys.
    log
        File that takes what it says.
    """

    def __init__(self, command: Sequence[str], settings: dict[str, Any], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._failed = False
        self._has_ended = False
        self._next_beat = 0.0
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

    def wait_until_ready(self) -> None:
        """Wait for the watchdog's own connection.

        Raises
        ------
        StopError
            When it does not come up: the desk does not start unguarded.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != b"ready":
            with suppress(OSError):
                self._process.kill()
            raise StopError(
                "the watchdog does not come up; nothing was sent",
                where=str(self.log),
                value=line.decode("utf-8", "replace").strip() or None,
                fix="read its log; --no-watchdog runs unguarded",
            )

    @property
    def is_alive(self) -> bool:
        """False when the watchdog died or its pipe is full: the desk runs unguarded."""
        return not self._failed and self._process.poll() is None

    def begin(self, run_dir: Path) -> None:
        """Tell which run it is."""
        self._tell(Told("begin", run_dir=str(run_dir.resolve())))

    def beat(self) -> None:
        """Say that the loop turns; cheap to call often."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._tell(Told("beat"))

    def sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        self._tell(Told("sent", order=command))

    def over(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        self._tell(Told("over", name=client_order_id))

    def end(self, *, clean: bool) -> None:
        """Say that the run has ended; after an unclean end the watchdog takes the orders off the book.

        A second call does nothing: the first word stands.
        """
        if self._has_ended:
            return
        self._tell(Told("end", clean=clean))
        self._has_ended = True
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def kill(self) -> None:
        """End it without a word: it hangs, and a desk goes on that it would take for dead."""
        self._failed = self._has_ended = True
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it was never told is lost with it
                assert pipe is not None
                pipe.close()

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the watchdog's end; return its exit code, None when it still runs."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def _tell(self, told: Told) -> None:
        self._write(msgspec.json.encode(told))

    def _write(self, line: bytes) -> None:
        if self._has_ended:  # the pipe is closed and its number may be another file's by now
            return
        try:
            os.write(self._pipe, line + b"\n")  # below PIPE_BUF: whole or not at all
        except OSError:  # dead, or it has not read for a long time
            self._failed = True
