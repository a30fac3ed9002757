"""The last starts of desks in a folder, on disk: whose account it was once no desk runs any more."""

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec

from scalpdesk.core.errors import StopError
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.arming import here, write_durably
from scalpdesk.live.options import SIMULATED_ACCOUNTS, venue_name

_MOST_STARTS = 16
_MOST_BYTES = 64 * 1024


class AccountStart(msgspec.Struct, frozen=True):
    """The last run of an account that a desk of a folder traded."""

    runs_dir: str
    run_id: str
    venue: str
    account: str


class StartsRecord(msgspec.Struct, frozen=True):
    """The last starts in a folder, the newest last."""

    folder: str
    starts: tuple[AccountStart, ...]


def _starts_file(state: Path, folder: Path) -> Path:
    return state / f"started-{sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def starts_in(state: Path, folder: Path) -> tuple[AccountStart, ...]:
    """Return the last starts in a folder, the newest last; an empty tuple where none is on record."""
    with suppress(OSError, msgspec.MsgspecError), _starts_file(state, folder).open("rb") as file:
        return msgspec.json.decode(file.read(_MOST_BYTES), type=StartsRecord).starts
    return ()


def note_start(state: Path, run_dir: Path, header: JournalHeader) -> None:
    """Record that a desk which was started in this folder trades an account; a full disk stops no desk.

    An account that ends with its desk is nothing to find later.
    """
    folder = here()
    if folder is None or venue_name(header.venue) in SIMULATED_ACCOUNTS:
        return
    own = AccountStart(
        str(run_dir.parent.resolve()), run_dir.name, header.venue, str(header.data.get("account_id", ""))
    )
    others = tuple(
        each
        for each in starts_in(state, folder)
        if (each.venue, each.account, each.runs_dir) != (own.venue, own.account, own.runs_dir)
    )
    record = StartsRecord(str(folder), (*others, own)[-_MOST_STARTS:])
    with suppress(StopError):
        write_durably(_starts_file(state, folder), msgspec.json.encode(record))
