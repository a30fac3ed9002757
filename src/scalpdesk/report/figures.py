"""A report's structs as JSON types and as rows of a table: one rule for terminal, files, frames and SQL."""

from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import asdict

SPREAD = {"parts": "pnl_", "strategies": "pnl_of_", "facts": ""}
"""Maps of a row that become columns of their own, with the beginning of their names."""


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
