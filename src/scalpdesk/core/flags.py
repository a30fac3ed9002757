"""Options once: the fields of a struct are the flags of a command and the arguments of a function.

Help, default, range and the setting that a flag stands for are written on the field; the command line reads
them there, and a struct that is made in Python is held against the same ranges.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.core.readings import date_meant


class Flag(NamedTuple):
    """Flag of a field on the command line: metadata of its type, as ``Annotated[str, Flag("…")]``.

    A ``bool`` is a switch, a ``tuple[str, ...]`` may be repeated, a ``Literal`` is a choice, a ``date`` is
    written 2018-02-05; a field without a default is required.
    """

    help: str
    """Words of the help; ``{default}`` stands for the default, which is otherwise added."""
    metavar: str | None = None
    name: str | None = None
    """Name of the flag; None: the field's with hyphens. A switch may have two: ``--fees/--no-fees``."""
    least: float | None = None
    most: float | None = None
    """``least``, ``most``: Range of a number, both included."""
    above_least: bool = False
    """Whether ``least`` itself is out of range."""
    choices: Callable[[], Sequence[str]] | None = None
    """Returns the names that a text may be, where they are not written down as a ``Literal``."""
    shows_default: bool = True
    """Whether the help adds the default; False where its words say it."""
    key: str | None = None
    """Setting that the flag stands for."""

    def admits(self, value: float) -> bool:
        """Return whether a number lies in the range; NaN does not."""
        if self.least is not None and not (value > self.least if self.above_least else value >= self.least):
            return False
        return self.most is None or value <= self.most

    def range_text(self) -> str:
        """Return the range in words."""
        low = "" if self.least is None else f"{'more than ' * self.above_least}{self.least:g}"
        if self.most is None:
            return low if self.above_least else f"{low} or more"
        return f"at most {self.most:g}" if not low else f"{low} to {self.most:g}"


class Option(NamedTuple):
    """A field that is a flag."""

    kind: Any
    """Type of one value, None and repetition aside."""
    flag: Flag
    may_repeat: bool
    may_be_none: bool

    @property
    def choices(self) -> tuple[str, ...] | None:
        """Return the names that it may be; None: not a choice."""
        if self.flag.choices is not None:
            return tuple(self.flag.choices())
        return get_args(self.kind) if get_origin(self.kind) is Literal else None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a command and of a function: numbers and names are held against the flags of their fields.

    Raises
    ------
    ArgumentError
        For the first that is out of range: names the field and the fix.
    """

    def __post_init__(self) -> None:
        """Refuse what a flag does not take."""
        for name, option in options_of(type(self)).items():
            value = getattr(self, name)
            for each in value if option.may_repeat else (value,):
                if each is not None:
                    _check(name, option, each)

    def overrides(self) -> tuple[str, ...]:
        """Return the settings that the flags stand for, as ``KEY=VALUE``."""
        found = ((option.flag.key, getattr(self, name)) for name, option in options_of(type(self)).items())
        return tuple(f"{key}={value}" for key, value in found if key is not None and value is not None)


@cache
def options_of(kind: type[msgspec.Struct]) -> Mapping[str, Option]:
    """Return the fields of a struct that are flags, by name, in order."""
    hints = get_type_hints(kind, include_extras=True)
    flags = {
        field.name: (hints[field.name], *_flags_in(hints[field.name]))
        for field in msgspec.structs.fields(kind)
    }
    return MappingProxyType({name: _option(*found) for name, found in flags.items() if len(found) > 1})


def _flags_in(hint: Any) -> tuple[Flag, ...]:
    return tuple(each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Flag))


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _option(hint: Any, flag: Flag) -> Option:
    kind = _bare(get_args(hint)[0])
    several = get_args(kind) if get_origin(kind) is not Literal else ()
    if get_origin(kind) is tuple:
        return Option(_bare(several[0]), flag, may_repeat=True, may_be_none=False)
    kinds = [_bare(each) for each in several or (kind,) if each is not type(None)]
    return Option(kinds[0], flag, may_repeat=False, may_be_none=len(kinds) < len(several))


def _check(name: str, option: Option, value: Any) -> None:
    flag, choices = option.flag, option.choices
    if choices is not None and value not in choices:
        raise ArgumentError(
            "no such choice",
            where=name,
            value=value,
            nearest=nearest_name(str(value), choices),
            fix=f"use one of {', '.join(choices)}",
        )
    if option.kind in {int, float} and not flag.admits(value):
        raise ArgumentError("out of range", where=name, value=value, fix=f"give {flag.range_text()}")


def read_date(text: str, where: str) -> date:
    """Read an ISO date. Raises ArgumentError when the text is no date."""
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        meant = date_meant(text)
        fix = f"write it as {'2018-02-05' if meant is None else f'{meant}: {where} {meant}'}"
        raise ArgumentError("not a date", where=where, value=text, fix=fix) from problem


QuotesOption = Annotated[
    Quality | None,
    Flag("Quotes of the embedded market: clean, or real with faults [data.quality].", key="data.quality"),
]
"""Kind of a field ``quality`` of options."""
