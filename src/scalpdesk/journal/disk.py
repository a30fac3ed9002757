"""What the journal asks of the disk, and the refusal when it does not answer."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from scalpdesk.core.errors import StopError


def disk_refused(call: str, path: Path, error: OSError) -> StopError:
    """Return the refusal for a failed system call on the journal; the value is the error number."""
    return StopError(
        f"the journal cannot be written: {call} failed: {error.strerror}",
        where=str(path),
        value=error.errno,
        fix="make room on the disk or mend it; the run's journal is kept up to this point",
    )


def sync_folder(folder: Path) -> None:
    """Make the names of new files in ``folder`` survive a power failure.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SegmentFile:
    """One segment that is being written: appends in order, room set aside ahead of the writing.

    Setting room aside spares a sync the change of the file's length, and a full disk is met before
    the record that would not fit. What is not used is given back on :meth:`close`; after a crash it
    stays as zeros, which the reader knows.

    Parameters
    ----------
    path, descriptor
        The open file.
    position
        Where the next byte goes.
    reserve_bytes
        Room to set aside at a time; 0 sets none aside.
    """

    def __init__(self, path: Path, descriptor: int, position: int, reserve_bytes: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._position = position
        self._reserved = position
        self._reserve_bytes = reserve_bytes

    @classmethod
    def create(cls, path: Path, *, reserve_bytes: int, is_durable: bool) -> Self:
        """Make a new segment.

        Raises
        ------
        StopError
            When the disk refuses or the file is there already.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            if is_durable:
                sync_folder(path.parent)
        except OSError as error:
            raise disk_refused("open", path, error) from error
        return cls(path, descriptor, 0, reserve_bytes)

    @classmethod
    def reopen(cls, path: Path, position: int, *, reserve_bytes: int, is_durable: bool) -> Self:
        """Open a segment to go on at ``position``; what lies behind is cut off.

        Raises
        ------
        StopError
            When the disk refuses.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.ftruncate(descriptor, position)
            os.lseek(descriptor, position, os.SEEK_SET)
            if is_durable:
                os.fsync(descriptor)
                sync_folder(path.parent)
        except OSError as error:
            raise disk_refused("reopen", path, error) from error
        return cls(path, descriptor, position, reserve_bytes)

    def write(self, data: bytes | bytearray) -> None:
        """Hand ``data`` to the operating system, all of it.

        Raises
        ------
        StopError
            When the disk refuses; a part may have been written.
        """
        end = self._position + len(data)
        if self._reserve_bytes and end > self._reserved:
            self._set_room_aside(end + self._reserve_bytes)
        waiting = memoryview(data)
        try:
            while waiting:
                waiting = waiting[os.write(self._descriptor, waiting) :]
        except OSError as error:
            raise disk_refused("write", self.path, error) from error
        self._position = end

    def sync(self) -> None:
        """Wait until everything written is on disk.

        Raises
        ------
        StopError
            When the disk refuses: what was written since the last sync may be lost.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise disk_refused("fdatasync", self.path, error) from error

    def close(self) -> None:
        """Give back the room that was not used and close; a second call does nothing."""
        if self._descriptor < 0:
            return
        if self._reserved > self._position:
            with suppress(OSError):  # zeros at the end are harmless; losing the close is not
                os.ftruncate(self._descriptor, self._position)
        os.close(self._descriptor)
        self._descriptor = -1

    def _set_room_aside(self, end: int) -> None:
        try:
            os.posix_fallocate(self._descriptor, self._reserved, end - self._reserved)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise disk_refused("fallocate", self.path, error) from error
            self._reserve_bytes = 0  # this file system cannot; the journal works without
            return
        self._reserved = end
