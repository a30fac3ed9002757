"""One writer for a run's folder: a lock that the operating system drops when its holder dies."""

import fcntl
import os
from pathlib import Path

import msgspec

from scalpdesk.core.errors import JournalError, StopError


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
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StopError(
                f"the run's lock cannot be opened: {error.strerror}", where=str(self.path), value=error.errno
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 4096, 0).decode("utf-8", "replace") or "not named yet"
            os.close(self._descriptor)
            raise JournalError(
                "another process writes this run's journal",
                where=str(run_dir),
                value=holder,
                fix="stop that process, or start with another run id",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(LockHolder(os.getpid(), started_ns)), 0)

    def release(self) -> None:
        """Let go; a second call does nothing. The file stays, because deleting it would be a race."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
