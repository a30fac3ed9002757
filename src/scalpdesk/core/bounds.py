"""Bounds of configuration values, declared on their fields; a value outside of them is refused."""

import math
from collections.abc import Iterator, Mapping
from datetime import time
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, get_args

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.readings import number_meant, time_meant


class Bound(NamedTuple):
    """Range of a number: metadata of its field's type, as ``Annotated[float, above(0, 1, "a fraction")]``."""

    low: float
    high: float
    """``low``, ``high``: The ends, infinite for an open range; ``high`` itself is allowed."""
    unit: str
    """Kind of number, in words, for the refusal."""
    may_equal_low: bool
    """Whether ``low`` itself is allowed."""

    def admits(self, value: float | Decimal) -> bool:
        """Return whether a value is finite and lies within the bound."""
        if not math.isfinite(value):
            return False
        return (value >= self.low if self.may_equal_low else value > self.low) and value <= self.high

    def range_text(self) -> str:
        """Return the range in words."""
        low = f"{self.low:g} or more" if self.may_equal_low else f"more than {self.low:g}"
        ends = [low] if math.isfinite(self.low) else []
        if math.isfinite(self.high):
            ends.append(f"at most {self.high:g}")
        return " and ".join(ends) or "a finite number"


def above(low: float, high: float, unit: str) -> Bound:
    """Return the range from above ``low`` to ``high``."""
    return Bound(low, high, unit, may_equal_low=False)


def at_least(low: float, high: float, unit: str) -> Bound:
    """Return the range from ``low`` to ``high``, both included."""
    return Bound(low, high, unit, may_equal_low=True)


Seconds = Annotated[float, above(0, 3_600, "seconds, not milliseconds")]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]


KeyPath = tuple[str, ...]
"""Names of the sections and the key below them."""


class BoundedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings whose numbers are held against the bounds of their fields; None passes.

    Raises
    ------
    ConfigError
        For the first value outside: names the key, the bound and the fix.
    """

    section: ClassVar[str] = ""
    """Path of the section, for refusals; empty for the root of a strategy."""

    def __post_init__(self) -> None:
        """Refuse numbers outside of their bounds."""
        for name, bound in bounds_of(type(self)).items():
            value: Any = getattr(self, name)
            values = value if isinstance(value, dict) else {"": value}
            for entry, number in values.items():
                if number is None or number is msgspec.UNSET or bound.admits(number):
                    continue
                key = self.key_path(f"{name}.{entry}" if entry else name)
                raise ConfigError(
                    f"this key takes {bound.unit}: {bound.range_text()}",
                    where=key,
                    value=str(number) if isinstance(number, Decimal) else number,
                    fix=_advice(key, bound, number),
                )

    @classmethod
    def follow_given(cls, given: Mapping[KeyPath, Any]) -> Mapping[KeyPath, tuple[Any, KeyPath]]:
        """Return keys that follow those given, where nobody set them: each its value, and the key it follows.

        ``given``: Values as they were written, by path within the section.
        """
        del cls, given
        return {}

    def key_path(self, name: str) -> str:
        """Return the path of a key of this section, as refusals name it."""
        return f"{self.section}.{name}" if self.section else name


@cache
def bounds_of(kind: type[msgspec.Struct]) -> Mapping[str, Bound]:
    """Return the bounds of the fields of a struct, by name."""
    fields = msgspec.structs.fields(kind)
    return MappingProxyType({field.name: bound for field in fields for bound in bounds_in(field.type)})


def bounds_in(kind: Any) -> Iterator[Bound]:
    """Yield the bounds that a type has, in whatever it stands for."""
    for part in get_args(kind):
        if isinstance(part, Bound):
            yield part
        else:
            yield from bounds_in(part)


def _advice(key: str, bound: Bound, value: object) -> str:
    """Return what to set a key to in place of a value out of its bound: what was meant, and the range."""
    meant, allowed = number_meant(value, bound.admits), bound.range_text()
    return f"set {key} to {allowed}" if meant is None else f"set {key}={meant} (takes {allowed})"


def time_of_day(where: str, text: str) -> time:
    """Return the time that a setting names as ``HH:MM``.

    Raises ConfigError when it is out of range or not a number; names the key (``where``).
    """
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        meant = time_meant(text)
        fix = "write HH:MM" if meant is None else f"write HH:MM: {where}={meant}"
        raise ConfigError("not a time of day", where=where, value=text, fix=fix) from error
