"""What the journal asks of the disk, and the refusal when it does not answer."""

import os
from pathlib import Path

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
