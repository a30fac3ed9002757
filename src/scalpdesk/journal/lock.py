"""One writer for a run's folder: a lock that the operating system drops when its holder dies."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from scalpdesk.core.errors import JournalError
from scalpdesk.journal.disk import disk_refused


class LockHolder(msgspec.Struct, frozen=True):
    """Who holds a run's folder."""

    pid: int
    started_ns: int
    """When the holder began, in UTC nanoseconds."""


class RunLock:
    """Hold ``journal.lock`` of a run's folder until :meth:`release` or the end of the process.

    Parameters
    ----------
    run_dir
        Folder of the run; it must exist.
    started_ns
        When the holder began (UTC nanoseconds); shown to whoever comes second.

    Raises
    ------
    JournalError
        When another writer holds the folder; names it.
    StopError
        When the lock file cannot be written.
    """

    def __init__(self, run_dir: Path, started_ns: int) -> None:
        self.path = run_dir / "journal.lock"
        self._descriptor = -1
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._take(run_dir)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, msgspec.json.encode(LockHolder(os.getpid(), started_ns)), 0)
        except OSError as error:
            self._close()
            raise disk_refused("lock", self.path, error) from error

    def release(self) -> None:
        """Let go; a second call does nothing. The file stays, because deleting it would be a race."""
        if self._descriptor >= 0:
            with suppress(OSError):  # the holder's name is for people; the lock itself goes with the file
                os.ftruncate(self._descriptor, 0)
            self._close()

    def _take(self, run_dir: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 4096, 0).decode("utf-8", "replace")
            self._close()
            raise JournalError(
                "another process writes this run's journal",
                where=str(run_dir),
                value=holder or "not named yet",
                fix="stop that process, or start with another run id",
            ) from error

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
