"""The desk's mode: the account's own, a flattening that passes by itself, and that of a run that stops.

A mode belongs to the account: it outlives the run in :class:`AccountMode`, and only a person frees it.
"""

import msgspec

from scalpdesk.core.enums import STRICTNESS, Mode, OperatorCause


class ModeEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A mode with its author, reason and time."""

    mode: Mode = Mode.ACTIVE
    reason: str = ""
    who: str = ""
    since_ns: int = 0
    """UTC nanoseconds by the desk's clock; 0 for an account that was never stopped."""

    def text(self) -> str:
        """Return author and reason; empty for an account that was never stopped."""
        return f"{self.who}: {self.reason}" if self.who and self.reason else self.reason or self.who


class Passing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A flattening that ends by itself: after the day's loss, for want of margin, before an expiry."""

    standing: ModeEntry
    session: str
    """Day of the session in which it began, ISO; it ends when a session of another day opens."""
    until_next_run: bool = False
    """It outlasts the session: the run's options expired, and only the next run knows others."""


class AccountMode(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of the mode that outlives a run."""

    account: ModeEntry = ModeEntry()
    """The account's own mode: only a person sets it free."""
    passing: Passing | None = None
    changes: int = 0
    """Number of changes of the account's mode so far: of two records of one run the higher is the later."""

    @property
    def standing(self) -> ModeEntry:
        """The stricter of the account's own mode and a passing one."""
        own, passing = self.account, self.passing
        return (
            passing.standing if passing is not None and _is_stricter(passing.standing.mode, own.mode) else own
        )

    @property
    def mode(self) -> Mode:
        """The mode, with no regard to a run that stops."""
        return self.standing.mode

    @property
    def is_free(self) -> bool:
        """Whether the account trades in its next session without a person's word."""
        return self.account.mode is Mode.ACTIVE

    def commanded(self, mode: Mode, cause: OperatorCause, now: ModeEntry, session: str) -> "AccountMode":
        """Return the mode after a command; the same object where it changes nothing.

        ``mode``: The mode that the command asks for.
        ``now``: Reason, author and instant.
        ``session``: Day of the session under way, ISO; empty between sessions.
        """
        if cause is OperatorCause.PERSON:
            is_same = self.account.mode is mode and self.passing is None
            since_ns = self.account.since_ns if is_same else now.since_ns
            return self._with(msgspec.structs.replace(now, mode=mode, since_ns=since_ns), None)
        if cause is OperatorCause.DEADLINE:
            return self.passing_to(mode, now, session, until_next_run=True)
        return self.tightened(mode, now)

    def tightened(self, mode: Mode, now: ModeEntry) -> "AccountMode":
        """Return the account in a stricter mode of its own; the same object where it is as strict already."""
        if not _is_stricter(mode, self.account.mode):
            return self
        return self._with(msgspec.structs.replace(now, mode=mode), self.passing)

    def passing_to(
        self, mode: Mode, now: ModeEntry, session: str, *, until_next_run: bool = False
    ) -> "AccountMode":
        """Return the mode while a flattening passes; the account's own stays."""
        passing = Passing(msgspec.structs.replace(now, mode=mode), session, until_next_run)
        return self._with(self.account, passing)

    def opened(self, session: str) -> "AccountMode":
        """Return the mode as a session opens: what passed with an earlier one is over."""
        passing = self.passing
        if passing is None or passing.until_next_run or passing.session == session:
            return self
        return self._with(self.account, None)

    def for_new_run(self) -> "AccountMode":
        """Return the mode in which another run begins: a flattening for an expiry holds for its session."""
        passing = self.passing
        if passing is None or not passing.until_next_run:
            return self
        return self._with(self.account, msgspec.structs.replace(passing, until_next_run=False))

    def _with(self, account: ModeEntry, passing: Passing | None) -> "AccountMode":
        return AccountMode(account, passing, self.changes + 1)


def _is_stricter(mode: Mode, other: Mode) -> bool:
    return STRICTNESS.index(mode) > STRICTNESS.index(other)


class DeskMode:
    """The one place of a desk's mode: risk gate, views of strategies, status and record read it here."""

    __slots__ = ("mode", "overdue", "state", "stop")

    def __init__(self) -> None:
        self.mode = Mode.ACTIVE
        """Mode that counts now."""
        self.state = AccountMode()
        """The account's mode, which outlives the run."""
        self.stop: Mode | None = None
        """While the run stops in order: the mode that the stop asked for; the next start forgets it."""
        self.overdue: ModeEntry | None = None
        """Why the desk reduces while the comparison with the venue's account is overdue."""

    @property
    def kept(self) -> Mode:
        """The account's mode, whether its run is stopping or not; reducing while a comparison is overdue."""
        return self._at_least(self.state.mode)

    def keep(self, state: AccountMode) -> None:
        """Take a state of the account; a stop under way stays at least as strict."""
        self.state = state
        if self.stop is not None and state.mode is not Mode.ACTIVE:
            # it is kept for the next start, and counts now if stricter
            self.stop = max(self.stop, state.mode, key=STRICTNESS.index)
        self._settle()

    def stop_with(self, mode: Mode | None) -> None:
        """Take the mode that a stop asks for; None ends the stop."""
        self.stop = mode
        self._settle()

    def await_comparison(self, why: ModeEntry | None) -> None:
        """Reduce while a comparison is overdue; None ends it, and the account's own mode counts again."""
        self.overdue = why
        self._settle()

    def _settle(self) -> None:
        self.mode = self._at_least(self.state.mode if self.stop is None else self.stop)

    def _at_least(self, mode: Mode) -> Mode:
        return mode if self.overdue is None else max(mode, self.overdue.mode, key=STRICTNESS.index)
