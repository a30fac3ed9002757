"""The tree of refusals, grouped by what the operator must do.

::

    ScalpdeskError
    ├── FixError            something handed in is wrong: change it and start again   (exit 2)
    │   ├── ConfigError     a key of the configuration, a command-line option
    │   ├── ArgumentError   an argument of a public function (also a ValueError)
    │   └── DataError       a file, a data set, a session that is not there or is damaged
    ├── RetryError          the world did not answer: the same call may work later     (exit 1)
    └── StopError           going on would do harm: the desk stops                      (exit 1)
        ├── JournalError    the journal is damaged, or held by another writer
        └── InvariantError  the ledger and the orders contradict one another

Every refusal has one shape: what, where, the value, the nearest valid name, the fix.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

Notify = Callable[[str, str], None]
"""Takes a level (``info``, ``warning``, ``alarm``) and a sentence for the operator."""


class ScalpdeskError(Exception):
    """A refusal that says what was wrong and what to do.

    Parameters
    ----------
    what
        One sentence: what was wrong.
    where
        Key path, ``file:line``, argument name or byte position.
    value
        The offending value, shown with ``repr``. Never pass a secret.
    nearest
        The nearest valid name, when the value looks like a slip of the pen.
    fix
        The command or the edit that corrects it.
    """

    exit_code = EXIT_FAILED
    _MISSING = object()

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        value: object = _MISSING,
        nearest: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.has_value = value is not ScalpdeskError._MISSING
        self.value = value if self.has_value else None
        self.nearest = nearest
        self.fix = fix
        super().__init__(self.render())

    def render(self) -> str:
        """Return the refusal as the lines that a terminal shows."""
        shown = repr(self.value) if self.has_value else None
        return _lines(self.what, self.where, shown, self.nearest, self.fix)

    def as_dict(self) -> dict[str, object]:
        """Return the facts for ``--json``."""
        facts: dict[str, object] = {"error": type(self).__name__, "what": self.what}
        if self.where is not None:
            facts["where"] = self.where
        if self.has_value:
            facts["value"] = repr(self.value)
        if self.nearest is not None:
            facts["nearest"] = self.nearest
        if self.fix is not None:
            facts["fix"] = self.fix
        return facts


@dataclass(frozen=True, slots=True)
class RefusalFacts:
    """What a refusal says, in plain values: it is kept, sent to another process and raised again."""

    what: str
    where: str | None = None
    value: str | float | bool | None = None
    nearest: str | None = None
    fix: str | None = None

    @classmethod
    def of(cls, error: Exception) -> "RefusalFacts":
        """Return what an error says; of one of another kind its class and its text."""
        if not isinstance(error, ScalpdeskError):
            return cls(f"{type(error).__name__}: {error}")
        value = error.value
        if not (value is None or isinstance(value, str | float | bool | int)):
            value = str(value)
        return cls(error.what, error.where, value, error.nearest, error.fix)

    @property
    def text(self) -> str:
        """The refusal as the lines that a terminal shows."""
        shown = None if self.value is None else repr(self.value)
        return _lines(self.what, self.where, shown, self.nearest, self.fix)


def _lines(what: str, where: str | None, value: str | None, nearest: str | None, fix: str | None) -> str:
    named = {"where": where, "value": value, "nearest": nearest, "fix": fix}
    return "\n".join([what, *(f"  {name}: {text}" for name, text in named.items() if text is not None)])


class FixError(ScalpdeskError):
    """Something handed in is wrong; change it and start again."""

    exit_code = EXIT_USAGE


class ConfigError(FixError):
    """A key of the configuration or an option of the command line is wrong."""


class ArgumentError(FixError, ValueError):
    """Invalid argument of a public function; also a ``ValueError``."""


class DataError(FixError):
    """A file, a data set or a session is missing, damaged or of another form."""


class RetryError(ScalpdeskError):
    """The world did not answer; the same call may work later."""


class StopError(ScalpdeskError):
    """Going on would do harm."""


class JournalError(StopError):
    """The journal is damaged, or another writer holds it."""


class InvariantError(StopError):
    """The ledger and the orders contradict one another."""


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Add the file's name to an operating-system error; a full disk reports no name.

    A temporary file that is to replace ``path`` is reported under the name of ``path``.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def nearest_name(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most like ``name``, or None if all are less like than ``cutoff`` (0 to 1).

    >>> nearest_name("treshold", ["threshold", "strategy"])
    'threshold'
    """
    candidates = list(known)
    by_folded = {candidate.lower(): candidate for candidate in candidates}
    found = get_close_matches(name.lower(), list(by_folded), n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None
