"""Bounds of configuration values; a value outside of them is refused."""

import math
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.core.errors import ConfigError


class Bound(NamedTuple):
    """What a number may be."""

    low: float
    high: float
    """``low``, ``high``: The ends; ``high`` itself is allowed."""
    unit: str
    """Kind of number, in words, for the refusal."""
    may_equal_low: bool = False
    """Whether ``low`` itself is allowed."""


def check_bounds(config: msgspec.Struct, bounds: Mapping[str, Bound], section: str) -> None:
    """Hold the named fields of ``config`` against their bounds; None passes.

    Parameters
    ----------
    config
        The section as it was read.
    bounds
        Bound by field.
    section
        Path of the section, for the refusal; empty for the root of a strategy.

    Raises
    ------
    ConfigError
        For the first value outside: names the key, the bound and the fix.
    """
    for name, bound in bounds.items():
        value: Any = getattr(config, name)
        if value is None or _lies_within(value, bound):
            continue
        key = f"{section}.{name}" if section else name
        from_ = "from" if bound.may_equal_low else "above"
        raise ConfigError(
            f"this key takes {bound.unit}: {from_} {bound.low:g} up to {bound.high:g}",
            where=key,
            value=str(value) if isinstance(value, Decimal) else value,
            fix=f"set {key} to {_example(bound)}",
        )


def check_range(where: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside of a range, both ends allowed.

    Raises
    ------
    ConfigError
        Naming the key (``where``), the value and the range.
    """
    if not least <= value <= most:
        raise ConfigError(
            "out of range", where=where, value=value, fix=f"a number from {least:g} to {most:g}"
        )


def time_of_day(where: str, text: str) -> time:
    """Return the time that a setting names as ``HH:MM``.

    Raises
    ------
    ConfigError
        When it is none, naming the key (``where``).
    """
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("not a time of day", where=where, value=text, fix="write HH:MM") from error


def _lies_within(value: float | Decimal, bound: Bound) -> bool:
    if not math.isfinite(value):
        return False
    return (value >= bound.low if bound.may_equal_low else value > bound.low) and value <= bound.high


def _example(bound: Bound) -> str:
    if bound.may_equal_low:
        return f"{bound.low:g} or more, and at most {bound.high:g}"
    return f"more than {bound.low:g} and at most {bound.high:g}"
