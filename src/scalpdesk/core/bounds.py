"""Bounds of configuration values: what lies outside them is a slip of the finger, and is refused."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.core.errors import ConfigError


class Bound(NamedTuple):
    """What a number may be.

    Parameters
    ----------
    low, high
        The ends; ``high`` itself is allowed.
    unit
        What the number is, in words, for the refusal.
    may_equal_low
        Whether ``low`` itself is allowed.
    """

    low: float
    high: float
    unit: str
    may_equal_low: bool = False


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


def _lies_within(value: float | Decimal, bound: Bound) -> bool:
    if not math.isfinite(value):
        return False
    return (value >= bound.low if bound.may_equal_low else value > bound.low) and value <= bound.high


def _example(bound: Bound) -> str:
    if bound.may_equal_low:
        return f"{bound.low:g} or more, and at most {bound.high:g}"
    return f"more than {bound.low:g} and at most {bound.high:g}"
