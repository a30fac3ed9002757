"""One desk for one account on one machine: a lock that the operating system drops with its holder."""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from scalpdesk.core.errors import StopError
from scalpdesk.instruments.sessions import from_ns


class DeskHolder(msgspec.Struct, frozen=True):
    """Who holds an account."""

    pid: int
    run_id: str
    run_dir: str
    started_ns: int


def state_dir(environ: dict[str, str] | os._Environ[str]) -> Path:
    """Return the machine-wide folder of locks and armings (``XDG_STATE_HOME`` is respected)."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/tmp")) / ".local" / "state")  # noqa: S108 - only where there is no home
    return Path(base) / "scalpdesk"


def account_file(folder: Path, venue: str, account_id: str, suffix: str) -> Path:
    """Return the path of an account's file; odd letters of an id never leave the folder."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", f"{venue}-{account_id}")
    return folder / f"{safe}{suffix}"


class AccountLock:
    """Hold an account until :meth:`release` or the end of the process.

    Parameters
    ----------
    folder
        Machine-wide folder; made when it is not there.
    venue, account_id
        The account.
    holder
        Shown to whoever comes second.

    Raises
    ------
    StopError
        When another desk holds the account: names its process, its run and since when.
    """

    def __init__(self, folder: Path, venue: str, account_id: str, holder: DeskHolder) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = account_file(folder, venue, account_id, ".lock")
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken(venue, account_id) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(holder), 0)

    def _taken(self, venue: str, account_id: str) -> StopError:
        text = os.pread(self._descriptor, 4096, 0)
        self.release()
        try:
            holder = msgspec.json.decode(text, type=DeskHolder)
            since = f"{from_ns(holder.started_ns):%Y-%m-%d %H:%M:%S} UTC"
            who = f"process {holder.pid}, {holder.run_id} in {holder.run_dir}, since {since}"
        except msgspec.MsgspecError:
            who = "a desk that has not named itself yet"
        return StopError(
            "another desk trades this account; nothing was sent",
            where=f"{venue} account {account_id}",
            value=who,
            fix="stop that desk first (scalpdesk status shows it), or use another account",
        )

    def release(self) -> None:
        """Let go; a second call does nothing. The file stays, because deleting it would be a race."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
