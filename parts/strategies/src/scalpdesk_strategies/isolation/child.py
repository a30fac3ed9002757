"""The process of a strategy folder: events in by stdin, replies out by stdout, one frame each.

A frame is its length (four bytes, most significant first) and that much JSON. An event is a JSON
object; a reply is ``[messages, failure, took_us, state_lost]``, written at once, so that the desk always
knows which event is under way. The first reply comes before any event: the folder is loaded, or why it is
not. Whatever the folder prints goes to stderr.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from types import FrameType
from typing import Any, BinaryIO

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk_strategies.isolation.confinement import Grants, confine
from scalpdesk_strategies.isolation.folder import Folder, failure_text

HEADER_BYTES = 4
_PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl(2)."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class TimeLimitReached(BaseException):
    """The event took too long; no ``except Exception`` of a folder swallows it."""


class Worker:
    """Answers events until its stdin ends.

    ``folder``: The loaded folder.
    ``replies``: File descriptor that replies go to.
    ``time_limit_seconds``, ``memory_limit_bytes``: For one event; for the process.
    """

    def __init__(
        self, folder: Folder, replies: int, time_limit_seconds: float, memory_limit_bytes: int
    ) -> None:
        self._folder = folder
        self._replies = replies
        self._limit = time_limit_seconds
        self._memory = memory_limit_bytes
        self._is_timed = False
        signal.signal(signal.SIGALRM, self._on_alarm)

    def serve(self, events: BinaryIO) -> None:
        """Answer all events."""
        while True:
            head = events.read(HEADER_BYTES)
            if len(head) < HEADER_BYTES:
                return
            frame = events.read(int.from_bytes(head, "big"))
            began = perf_counter_ns()
            try:
                messages, failure, is_full = self._answer(_decode(frame))
            except TimeLimitReached:  # it fell between the answer and the end of the timing
                messages, failure, is_full = [], self._too_long(), False
            took_us = (perf_counter_ns() - began) // 1000
            _write_frame(self._replies, _encode([messages, failure, took_us, is_full]))
            if is_full:
                return

    def _answer(self, event: dict[str, Any]) -> tuple[list[Any], str | None, bool]:
        self._is_timed = True
        signal.setitimer(signal.ITIMER_REAL, self._limit)
        try:
            return self._folder.answer(event), None, False
        except TimeLimitReached:
            return [], self._too_long(), False
        except MemoryError as error:
            return [], failure_text(error), not self._has_room()
        except BaseException as error:  # noqa: BLE001 - whatever a folder raises stops its event only
            return [], failure_text(error), False
        finally:
            self._is_timed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _too_long(self) -> str:
        return f"took longer than {self._limit:g} s; its state may be half changed"

    def _has_room(self) -> bool:
        """Whether an eighth of the memory is free: what is full stays full, and a new process helps."""
        try:
            bytearray(self._memory // 8)
        except MemoryError:
            return False
        return True

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_timed:
            raise TimeLimitReached


def _write_frame(descriptor: int, payload: bytes) -> None:
    """Write one frame, whole."""
    left = memoryview(len(payload).to_bytes(HEADER_BYTES, "big") + payload)
    while left:
        left = left[os.write(descriptor, left) :]


MOST_FILES = 256
_LARGEST_FILE_BYTES = 16 << 20
_MORE_TASKS = 64
"""Processes and threads that the user may have beyond those that run as the folder starts."""


def _limit_resources(memory_bytes: int) -> None:
    """Bound memory (0: not), open files, the size of files, processes; no core files."""
    import resource  # noqa: PLC0415 - there on POSIX systems only

    limits = {
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_FSIZE: _LARGEST_FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        limits[resource.RLIMIT_NPROC] = _tasks_of_user() + _MORE_TASKS  # root is exempt
    if memory_bytes:
        limits[resource.RLIMIT_AS] = memory_bytes
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def _tasks_of_user() -> int:
    """Return the user's threads; a process with hidden memory names its user in its status alone."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            figures = dict(
                line.partition(":")[::2] for line in status.read_text("utf-8", "replace").splitlines()
            )
            if int(figures["Uid"].split()[0]) == os.getuid():
                count += int(figures["Threads"])
    return count


def _end_with_parent() -> None:
    """End this process with the desk, even within a loop that swallows the interruption (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class ChildSettings(msgspec.Struct, frozen=True):
    """The settings of the process, handed on as JSON."""

    folder: str
    """Path of ``strategy.py``."""
    time_limit_seconds: float
    memory_limit_bytes: int
    grants: Grants
    must_be_confined: bool = False
    """Whether the folder is loaded only where the system can confine the process."""


def main(settings: ChildSettings) -> int:
    """Confine this process, load the folder, say whether that went well, and answer events.

    The first reply names what the system cannot keep the process from.
    """
    events, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # line by line: this process is ended without a last flush
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the desk, which ends this process in order
    _limit_resources(settings.memory_limit_bytes)
    _end_with_parent()
    open_doors = confine(settings.grants)
    if open_doors and settings.must_be_confined:
        _write_frame(replies, _encode([open_doors, "it cannot be confined", 0, False]))
        return 1
    try:
        folder = Folder(Path(settings.folder))
        worker = Worker(folder, replies, settings.time_limit_seconds, settings.memory_limit_bytes)
    except ConfigError as error:
        _write_frame(replies, _encode([[], error.what, 0, False]))
        return 1
    _write_frame(replies, _encode([open_doors, None, 0, False]))
    worker.serve(events)
    return 0


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=ChildSettings)))
