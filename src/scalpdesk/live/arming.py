"""Machine-wide lock of an account, held by one desk, and the arming of live trading.

An arming is a file for one account and one configuration, made by an operator in two steps.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import structs

from scalpdesk.config.settings import LoadedSettings, keys_missing
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.owner_only import make_folder, own_folder
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import moment_text
from scalpdesk.venues.contract import AccountFacts, LiveToken, VenueSetup, check_currency
from scalpdesk.venues.registry import find_venue


class DeskHolder(msgspec.Struct, frozen=True, omit_defaults=True):
    """The desk that holds an account, or the watchdog that acts after one."""

    pid: int
    run_id: str
    run_dir: str
    started_ns: int
    watchdog_log: str = ""
    """Log of a watchdog that acts; empty for a desk."""
    started_in: str = ""
    """Folder in which a desk was started, whose settings it read; empty in the lock of an account."""
    place: str = ""
    """Device and inode of that folder: it is the same one after it was moved."""


_WHAT = "the folder of locks and armings"


def account_file(folder: Path, venue: str, account_id: str, suffix: str) -> Path:
    """Return the path of an account's file; whatever the id holds, it lies in the folder."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", f"{venue}-{account_id}")
    return folder / f"{safe}{suffix}"


class AccountLock:
    """Lock of an account, held until :meth:`release` or the end of the process.

    ``folder``: Machine-wide folder; made when it is not there.
    ``holder``: Shown to the desk that comes second.

    Raises StopError when another desk holds the account, or a watchdog that acts: names its process, its run
    and since when.
    """

    def __init__(self, folder: Path, venue: str, account_id: str, holder: DeskHolder) -> None:
        own_folder(folder, _WHAT)
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
            since = moment_text(holder.started_ns)
            who = f"process {holder.pid}, {holder.run_id} in {holder.run_dir}, since {since}"
            if holder.watchdog_log:
                return StopError(
                    "the watchdog of a desk that ended is still acting on this account; nothing was sent",
                    where=f"{venue} account {account_id}",
                    value=who,
                    fix=f"wait until it is through: {holder.watchdog_log} says what it does and ends with"
                    " 'done' or 'NOT DONE'; then start again",
                )
        except msgspec.MsgspecError:
            who = "a desk that is just starting"
        return StopError(
            "another desk trades this account; nothing was sent",
            where=f"{venue} account {account_id}",
            value=who,
            fix="stop that desk first (scalpdesk status shows it), or use another account",
        )

    def release(self) -> None:
        """Release the account; a second call does nothing. The file stays: deleting it would be a race."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


class DeskMark:
    """The mark of a desk: a locked file that says where it was started and where its runs lie.

    ``path``: The file; a disk that refuses it keeps no desk from starting.
    """

    def __init__(self, path: Path, holder: DeskHolder) -> None:
        self._holder = holder
        self._descriptor = -1
        with suppress(OSError):
            own_folder(path.parent, _WHAT)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write()

    def begin(self, run_id: str) -> None:
        """Note the run in which the desk answers from now on."""
        self._holder = structs.replace(self._holder, run_id=run_id)
        self._write()

    def _write(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.pwrite(self._descriptor, msgspec.json.encode(self._holder).ljust(_MARK_BYTES), 0)

    def end(self) -> None:
        """Unlock the file."""
        with suppress(OSError):
            os.close(self._descriptor)


_MARK_BYTES = 512
"""A mark is at least so long: a longer one that replaces it never leaves a half behind its end."""


def here() -> Path | None:
    """Return the folder that this process works in; None where it is gone."""
    with suppress(OSError):
        return Path.cwd()
    return None


def place_of(folder: Path) -> str:
    """Return device and inode of a folder; empty where it is not there."""
    with suppress(OSError):
        found = folder.stat()
        return f"{found.st_dev}:{found.st_ino}"
    return ""


def account_holder(folder: Path, venue: str, account_id: str) -> DeskHolder | None:
    """Return the process that holds an account; None where nothing holds it, or it has not said yet."""
    with (
        suppress(OSError, msgspec.MsgspecError),
        account_file(folder, venue, account_id, ".lock").open("rb") as file,
    ):
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return msgspec.json.decode(file.read(), type=DeskHolder)
    return None


def marked_as_starting(folder: Path, runs_dir: Path) -> AbstractContextManager[DeskMark]:
    """Mark this process as a desk that starts, which has no run and no control socket yet.

    ``folder``: Machine-wide folder; made when it is not there.
    ``runs_dir``: Folder of the runs in which the desk will answer.
    """
    return _marked("starting", folder, runs_dir)


def marked_as_running(folder: Path, runs_dir: Path) -> AbstractContextManager[DeskMark]:
    """Mark this process as a desk, so that it is found where no configuration can be read."""
    return _marked("desk", folder, runs_dir)


@contextmanager
def _marked(stage: str, folder: Path, runs_dir: Path) -> Iterator[DeskMark]:
    path, started_in = folder / f"{stage}-{os.getpid()}.lock", here()
    holder = DeskHolder(
        os.getpid(),
        "",
        str(runs_dir.resolve()),
        SystemClock().now_ns(),
        started_in="" if started_in is None else str(started_in),
        place="" if started_in is None else place_of(started_in),
    )
    mark = DeskMark(path, holder)
    try:
        yield mark
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        mark.end()


def starting_desks(folder: Path) -> list[DeskHolder]:
    """Return the desks of this machine that start now; dead processes do not count."""
    return _holders("starting", folder)


def marked_desks(folder: Path) -> list[DeskHolder]:
    """Return the desks of this machine under this state folder, those that start among them."""
    return _holders("desk", folder)


def desk_lives(folder: Path, pid: str) -> bool:
    """Return whether the desk that started as process ``pid`` lives, by its locks: a number comes again."""
    if not pid.isdigit():
        return False
    return any(holder.pid == int(pid) for stage in ("starting", "desk") for holder in _holders(stage, folder))


def _holders(stage: str, folder: Path) -> list[DeskHolder]:
    found = []
    for path in sorted(folder.glob(f"{stage}-*.lock")):
        with suppress(OSError, msgspec.MsgspecError), path.open("rb") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(msgspec.json.decode(mark.read(), type=DeskHolder))
            else:
                path.unlink(missing_ok=True)
    return found


def write_durably(
    path: Path,
    content: bytes,
    what: str = "the account's mode",
    outcome: str = "until then a restart does not know the mode",
) -> None:
    """Replace a file's content, readable by its owner alone; it is on disk on return.

    Raises StopError when the disk refuses; the file is as it was.
    """
    draft = path.with_suffix(f".{os.getpid()}.new")
    try:
        make_folder(path.parent)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)  # all of it: a full disk takes a part from os.write
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StopError(
            f"{what} cannot be kept on disk: {error}",
            where=str(path),
            fix=f"free space or correct the folder's rights; {outcome}",
        ) from error


SUFFIX = ".armed.json"


def arm(folder: Path, venue: str, token: LiveToken, *, typed_account: str, typed_hash: str) -> Path:
    """Write the arming of an account, once the operator has typed back the account and the hash.

    ``folder``: Machine-wide folder of the desk's state.
    ``typed_account``, ``typed_hash``: As typed: the account's id, and at least the first 8 digits of the
    hash.
    Raises ConfigError when what was typed is not what was shown.
    """
    given = typed_hash.strip().lower()
    if typed_account.strip() != token.account_id or len(given) < 8 or not token.config_hash.startswith(given):
        raise ConfigError(
            "what was typed is not the account and configuration shown; the desk is not armed",
            where="arm",
            fix="type both exactly as shown: the account's id and the hash's first 8 digits",
        )
    own_folder(folder, _WHAT)
    path = account_file(folder, venue, token.account_id, SUFFIX)
    write_durably(path, msgspec.json.encode(token), "the arming", "the desk is not armed")
    return path


def armed(folder: Path, venue: str) -> list[LiveToken]:
    """Return all armings for a venue.

    Raises ConfigError when an arming's file is open to others, or the folder.
    """
    tokens = []
    own_folder(folder, _WHAT)
    for path in sorted(folder.glob(f"{venue}-*{SUFFIX}")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                "the arming can be read or written by others",
                where=str(path),
                value=f"mode {mode:o}",
                fix="scalpdesk disarm, then arm again",
            )
        try:
            tokens.append(msgspec.json.decode(path.read_bytes(), type=LiveToken))
        except msgspec.MsgspecError:
            continue  # a partial file arms nothing
    return tokens


def token_for(folder: Path, venue: str, config_hash: str, *earlier: str) -> LiveToken:
    """Return the arming of this configuration; the gateway compares it with the account.

    ``earlier``: The same configuration's hashes in earlier versions: an upgrade ends no arming.

    Raises ConfigError when nothing is armed, or only another configuration.
    """
    tokens = armed(folder, venue)
    for token in tokens:
        if token.config_hash in (config_hash, *earlier):
            return token
    if not tokens:
        raise ConfigError(
            "live trading is not armed; nothing was sent",
            where="--live",
            fix="scalpdesk arm STRATEGY shows the account and the configuration and asks for both",
        )
    raise ConfigError(
        "live trading was armed for another configuration; the arming has lapsed, nothing was sent",
        where="configuration hash",
        value=config_hash[:8],
        nearest=", ".join(sorted(token.config_hash[:8] for token in tokens)),
        fix="check what changed (scalpdesk config show), then scalpdesk arm STRATEGY again",
    )


def disarm(folder: Path, venue: str, account_id: str | None = None) -> list[str]:
    """Remove the arming of an account, or of all; return the accounts that were armed."""
    gone = []
    for path in sorted(folder.glob(f"{venue}-*{SUFFIX}")):
        name = path.name.removeprefix(f"{venue}-").removesuffix(SUFFIX)
        if account_id is None or path == account_file(folder, venue, account_id, SUFFIX):
            path.unlink(missing_ok=True)
            gone.append(name)
    return gone


async def live_account(settings: LoadedSettings, venue: str) -> AccountFacts:
    """Return the live account of the configured keys, for ``scalpdesk arm``: reads, and needs no arming.

    Raises ConfigError where nothing can be armed, where keys are missing, of the paper environment or not
    accepted, and for an account in another currency than the desk's; RetryError where the venue is silent.
    """
    currency = settings.config.desk.currency
    spec = find_venue(venue)
    if spec.live_account is None:
        raise ConfigError(
            "this venue has no real money to arm", where="--venue", value=venue, fix="run it without --live"
        )
    keys = settings.venue_keys(spec.other_keys) if spec.needs_keys else None
    if keys is None and spec.needs_keys:
        raise keys_missing("arming needs the live account's key and secret", settings.strategy)
    if settings.config.desk.paper:
        raise ConfigError(
            "the configuration is one for paper; the desk is not armed",
            where="desk.paper",
            fix="set desk.paper = false (IS_PAPER_TRADING=false) and put in the live account's key",
        )
    setup = VenueSetup(instruments=Instruments(), clock=SystemClock(), keys=keys, currency=currency)
    facts = await spec.live_account(setup, settings.venue_settings(venue))
    check_currency(facts, currency)
    return facts
