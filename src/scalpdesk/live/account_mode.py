"""The account's mode on disk: every start reads it, whatever strategy, version or folder ran before.

One file an account, beside its lock, written before a command is acknowledged.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from scalpdesk.core.enums import STRICTNESS, Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import Notify, StopError
from scalpdesk.core.mode import AccountMode, ModeEntry
from scalpdesk.instruments.sessions import moment_text
from scalpdesk.live.arming import account_file, desk_lives, write_durably

_SUFFIX = ".mode.json"
_DAMAGED = "the record of the account's mode cannot be read"
MOST_BYTES = 64 * 1024


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of the file."""

    run_id: str
    """Run that wrote it; empty for a person's command to an account without a desk."""
    state: AccountMode
    version: int = 1


class ModeRecord:
    """The record of one account.

    ``path``: The file; its folder is made at the first write.
    ``run_id``: Run that writes; empty without a desk.
    """

    def __init__(self, path: Path, run_id: str = "") -> None:
        self.path = path
        self.run_id = run_id

    def read(self) -> Recorded | None:
        """Return the recorded state; a damaged record halts the account."""
        try:
            with self.path.open("rb") as file:
                return msgspec.json.decode(file.read(MOST_BYTES), type=Recorded)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            why = ModeEntry(Mode.HALTED, f"{_DAMAGED}: {error}", self.path.name)
            return Recorded("", AccountMode(why))

    def write(self, state: AccountMode) -> None:
        """Record a state; it is on disk on return. Raises StopError when the disk refuses."""
        write_durably(self.path, msgspec.json.encode(Recorded(self.run_id, state)))

    def for_start(self, journaled: AccountMode | None) -> AccountMode:
        """Return the mode in which a run starts, of the record and the journal the later one.

        ``journaled``: The state at the end of the journal that is resumed; None for another run.
        """
        recorded = self.read()
        if journaled is None:
            return AccountMode() if recorded is None else recorded.state.for_new_run()
        if recorded is None or (
            recorded.run_id == self.run_id and recorded.state.changes <= journaled.changes
        ):
            return journaled
        return recorded.state


class WaitingCommand(msgspec.Struct, frozen=True):
    """A person's command that a desk has taken and not carried out yet."""

    action: OperatorAction
    reason: str
    who: str
    at_ns: int

    def after(self, state: AccountMode) -> AccountMode:
        """Return the state after the command."""
        now = ModeEntry(reason=self.reason, who=self.who, since_ns=self.at_ns)
        return state.commanded(self.action.mode, OperatorCause.PERSON, now, "")

    def is_overtaken(self, state: AccountMode) -> bool:
        """Return whether the account's mode is a later word: a release, or a mode as strict."""
        own = state.account
        is_stricter = STRICTNESS.index(self.action.mode) > STRICTNESS.index(own.mode)
        return self.at_ns < own.since_ns and (own.mode is Mode.ACTIVE or not is_stricter)

    def text(self) -> str:
        """Return command, author and reason."""
        return f"{self.action} by {self.who}: {self.reason}"


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of the file in which commands to a desk without a control socket wait."""

    commands: tuple[WaitingCommand, ...]
    taken: tuple[str, ...] = ()
    """Records of the accounts that have these commands."""

    def of_no_desk(self) -> tuple[WaitingCommand, ...]:
        """Return the commands that hold for every account: those since the last that set its desk free."""
        kept: list[WaitingCommand] = []
        for command in self.commands:
            kept = [] if command.action is OperatorAction.RESUME else [*kept, command]
        return tuple(kept)


class AskedWhileStarting:
    """Commands given while a desk connects: it has no control socket yet, and may die before it has one.

    Which account it would have had is not known then: they hold for every start after it, once an account.

    ``folder``: Machine-wide folder of the desk's state.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: list[Path] = []

    def _path(self, pid: int) -> Path:
        return self._folder / f"asked-{pid}.json"

    def ask(self, pid: int, command: WaitingCommand) -> None:
        """Leave a command for the desk that starts as process ``pid``; it is on disk on return.

        Raises StopError when the disk refuses.
        """
        path = self._path(pid)
        known = _asked(path)
        before = known.commands if known is not None else ()
        write_durably(path, msgspec.json.encode(Asked((*before, command))))

    def drop(self, pid: int) -> None:
        """Remove what was left for a desk that has answered since."""
        self._path(pid).unlink(missing_ok=True)

    def read(self, account: str) -> list[WaitingCommand]:
        """Return the commands for this process, and for one that died before it took them, in order.

        ``account`` is the name of the account's record; empty where the account ends with its run.
        """
        found: list[WaitingCommand] = []
        for path in sorted(self._folder.glob("asked-*.json")):
            asked, pid = _asked(path), path.stem.removeprefix("asked-")
            if asked is None or (account and account in asked.taken):
                continue
            is_own = pid == str(os.getpid())
            if is_own and not asked.taken:
                found += asked.commands
            elif account and (is_own or not desk_lives(self._folder, pid)):
                found += asked.of_no_desk()
            else:
                continue
            self._read.append(path)
        return sorted(found, key=lambda command: command.at_ns)

    def forget(self, account: str) -> None:
        """Note that what was read is in the account's record now; remove what was this process's own."""
        for path in self._read:
            asked = _asked(path)
            if path == self._path(os.getpid()) and asked is not None and not asked.taken:
                path.unlink(missing_ok=True)
            elif asked is not None and account:
                write_durably(path, msgspec.json.encode(Asked(asked.commands, (*asked.taken, account))))
        self._read.clear()


def _asked(path: Path) -> Asked | None:
    with suppress(OSError, msgspec.MsgspecError), path.open("rb") as file:
        return msgspec.json.decode(file.read(MOST_BYTES), type=Asked)
    return None


class ModeKeeper:
    """Keeps the record of a desk's account up to date, with the commands that still wait.

    ``record``: None where the account ends with its run.
    """

    def __init__(self, record: ModeRecord | None, notify: Notify) -> None:
        self._record = record
        self._notify = notify
        self._written: AccountMode | None = None
        self.waiting: list[WaitingCommand] = []
        """Commands taken and not carried out, in order."""
        self.account = "" if record is None else record.path.name
        """Name of the record; empty without one."""
        self.problem = ""
        """Why the latest state is not on disk; empty while it is."""

    def keep(self, state: AccountMode) -> None:
        """Record a state; a disk that refuses stops no command, and is tried again with the next call."""
        if self._record is None:
            return
        for command in self.waiting:
            state = command.after(state)
        if state is self._written or state == self._written:
            return
        try:
            self._record.write(state)
        except StopError as error:
            if not self.problem:
                self._notify("alarm", f"{error.what}; {error.fix}")
            self.problem = error.what
            return
        self._written, self.problem = state, ""


def record_of(state: Path, venue_at: str, account_id: str) -> ModeRecord:
    """Return the record of an account below the machine-wide folder ``state``."""
    return ModeRecord(account_file(state, venue_at, account_id, _SUFFIX), "")


def state_text(state: AccountMode) -> str:
    """Return the mode, since when, who set it and why, and how the account is freed; empty if it is free."""
    standing = state.standing
    if standing.mode is Mode.ACTIVE:
        return ""
    since = f" since {moment_text(standing.since_ns)}" if standing.since_ns else ""
    until = "" if not state.is_free else "; it ends with the next session"
    freed = "; scalpdesk resume --reason TEXT sets it free" if not state.is_free else until
    return f"{standing.mode}{since}, {standing.text()}{freed}"
