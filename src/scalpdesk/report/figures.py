"""A report's structs as JSON types and as rows of a table: one rule for terminal, files, frames and SQL.

A field that people read has its :class:`Shown` in its type: name, unit and format. Each reader, terminal and
pages, shows these in the order of the fields, by one formatter a kind: a field that is added is in all.
"""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, get_origin

import msgspec
import numpy as np
from msgspec.structs import asdict

SPREAD = {"parts": "pnl_", "strategies": "pnl_of_", "facts": ""}
"""Maps of a row that become columns of their own, with the beginning of their names."""


class ShownAs(StrEnum):
    """What the values of a column are."""

    AMOUNT = "amount"
    """Currency with its sign: what was earned, paid or promised."""
    WORTH = "worth"
    """Currency: what something is worth, or how far off."""
    VOLATILITY = "volatility"
    """Fraction a year, shown in per cent."""
    COUNT = "count"
    TIME = "time"
    """UTC nanoseconds, shown as New York time."""
    TEXT = "text"


class Shown(msgspec.Struct, frozen=True):
    """How a field of a report's struct is shown, as metadata of its type."""

    head: str
    """Heading, without a unit: that is the kind's."""
    kind: ShownAs
    goes: int = 0
    """The higher, the sooner it is left out where there is little room; 0 stays."""
    name: str = ""
    """Field; set by :meth:`of`."""

    @classmethod
    def of(cls, kind: type[msgspec.Struct]) -> "list[Shown]":
        """Return the columns of a struct, in the order of its fields."""
        return [
            msgspec.structs.replace(shown, name=each.name)
            for each in msgspec.structs.fields(kind)
            if get_origin(each.type) is Annotated
            for shown in each.type.__metadata__
            if isinstance(shown, Shown)
        ]

    @staticmethod
    def first_to_go(columns: "Iterable[Shown]") -> list[str]:
        """Return the headings that go where there is little room, the first to go first."""
        goes = sorted((each for each in columns if each.goes), key=lambda each: -each.goes)
        return [each.head for each in goes]

    @property
    def unit(self) -> str:
        """What its numbers are, in words; empty of words and counts."""
        return _UNITS.get(self.kind, "")


_UNITS = {
    ShownAs.AMOUNT: "currency, signed",
    ShownAs.WORTH: "currency",
    ShownAs.VOLATILITY: "a fraction a year of the run's variance clock",
    ShownAs.TIME: "UTC nanoseconds",
}


def json_safe(value: Any) -> Any:
    """Return a value in JSON types: exact amounts are plain text, a figure that is not finite is None.

    >>> json_safe({"pnl": Decimal("0E-8"), "ratios": (1.0, float("nan"))})
    {'pnl': '0.00000000', 'ratios': [1.0, None]}
    """
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, msgspec.Struct):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(name): json_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    return value


def flat(row: msgspec.Struct, *spread: str) -> dict[str, Any]:
    """Return a row of a table: P&L by part and the maps ``spread`` as columns, the rest in JSON types."""
    found: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if name in ("parts", "strategies", *spread):
            found |= {f"{SPREAD[name]}{inner}": each for inner, each in (value or {}).items()}
        else:
            is_plain = not isinstance(value, tuple | list | dict | msgspec.Struct)
            found[name] = value if is_plain else json_safe(value)
    return found
