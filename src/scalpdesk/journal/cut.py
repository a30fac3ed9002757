"""The mark of a backtest that was cut short: its journal has no seal, and no process writes it."""

import fcntl
from pathlib import Path

import msgspec

from scalpdesk.core.units import count_text
from scalpdesk.instruments.sessions import Session, to_new_york
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.log import LOCK_NAME


class CutShort(msgspec.Struct, frozen=True):
    """Progress of a backtest that stopped before its end."""

    at: str
    """New York time of its last event, ``YYYY-MM-DD HH:MM``; empty without events."""
    sessions_played: int
    """Sessions that were played to their close."""
    sessions: int
    """Sessions that it was to play."""

    def __str__(self) -> str:
        when = f"at {self.at} ET" if self.at else "before its first event"
        return f"cut short {when} after {self.sessions_played:,} of {count_text(self.sessions, 'session')}"


def progress_of(header: JournalHeader, last_ns: int | None) -> CutShort:
    """Return how far a run has come whose last event was at ``last_ns`` (UTC nanoseconds, None without)."""
    played = sum(session.close_ns <= (last_ns or 0) for session in header.sessions)
    at = f"{to_new_york(last_ns):%Y-%m-%d %H:%M}" if last_ns else ""
    return CutShort(at, played, len(header.sessions))


def cut_short(run_dir: Path, header: JournalHeader, last_ns: int | None, *, sealed: bool) -> CutShort | None:
    """Return how far a backtest came that was cut short, None for every other run.

    A desk's run that did not end can be resumed; a backtest cannot.

    ``last_ns``: Time of its last event, UTC nanoseconds; None without an event.
    ``sealed``: Whether the journal was closed.
    """
    is_over = not sealed and header.is_backtest and not is_written(run_dir)
    return progress_of(header, last_ns) if is_over else None


def sessions_begun(header: JournalHeader, last_ns: int | None) -> list[Session]:
    """Return the sessions of a run that have begun by its last event (UTC nanoseconds, None without)."""
    return [session for session in header.sessions if last_ns is not None and session.open_ns <= last_ns]


def is_written(run_dir: Path) -> bool:
    """Return whether a process writes the journal: it holds the lock from before the first record on."""
    try:
        with (run_dir / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no file, so no lock
        return False
    return False
