"""Worked cases: a function's name in the case file, and what of the product answers it.

``worked_cases.toml`` names the product's function, its arguments and what of the result answers; cases that
need more than names have an adapter. The numbers come from the product, or from
:mod:`scalpdesk_testing.field_formulas` where it has no such function.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce
from importlib import import_module
from importlib.resources import files
from typing import Any

from msgspec import Struct, structs

from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk_testing.worked_adapters import ADAPTERS, Answer

TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    files(__package__).joinpath("worked_cases.toml").read_text("utf-8")
)
BOUND = frozenset(TABLE) | frozenset(ADAPTERS)
"""Functions of the case file that have an answer."""

RELATIVE = 1e-9
RELATIVE_OF = {"escrow": 1e-8, "pa_hedge": 1e-7, "attribution": 2e-5}
"""Tolerances where the case file's own numbers carry less: finite differences, approximated normals."""


def evaluate(function: str, inputs: Mapping[str, Any]) -> Answer | None:
    """Return the product's answer to one case, or None when nothing is bound to the function.

    Raises
    ------
    ScalpdeskError
        When the product refuses the inputs, they do not have the names that the binding needs, or the
        calculation ends with an error of another kind: a failed case, not the end of the run.
    """
    if function not in BOUND:
        return None
    try:
        return ADAPTERS[function](**inputs) if function in ADAPTERS else by_row(TABLE[function], inputs)
    except ScalpdeskError:
        raise
    except Exception as problem:  # BLE001 - raised as a refusal, so that the other cases are judged
        raise ArgumentError(
            f"the case cannot be computed from its inputs ({type(problem).__name__})",
            where=function,
            value=str(problem),
        ) from problem


def by_row(row: Mapping[str, Any], inputs: Mapping[str, Any]) -> Answer:
    """Return the answer of a row of the table."""
    unknown = set(inputs) - _names(row)
    if unknown:
        raise TypeError(f"the product does not ask for {', '.join(sorted(unknown))}")
    given = {name: None if value == "none" else value for name, value in row.get("given", {}).items()}
    known = {**given, **inputs}
    if "parts" in row:
        return {name: _argument(part, known) for name, part in row["parts"].items()}
    found, wanted = _argument(row, known), row.get("answer")
    if wanted is None:
        return {"result": found}
    if wanted == "fields":
        return _fields(found)
    if isinstance(wanted, list):
        values = _fields(found).values() if isinstance(found, Struct) else found
        return dict(zip(wanted, values, strict=True))
    return {name: _attribute(found, path) for name, path in wanted.items()}


def _names(value: Any) -> set[str]:
    """Return the inputs that a row, or an argument of one, may take."""
    if isinstance(value, str):
        return {value.removesuffix("?")}
    if isinstance(value, list):
        return set().union(*map(_names, value))
    if "decimal" in value:
        return {value["decimal"]}
    parts = (*value.get("args", ()), *value.get("keywords", {}).values(), *value.get("parts", {}).values())
    return set(value.get("unused", ())).union(value.get("given", ()), *map(_names, parts))


def _argument(value: Any, known: Mapping[str, Any]) -> Any:
    """Return the value of an argument: an input, a constant, a list of such, or what a call gives."""
    if isinstance(value, str):
        return known[value]
    if isinstance(value, list):
        return [_argument(item, known) for item in value]
    if "is" in value:
        return value["is"]
    if "at" in value:
        return _product(value["at"])
    if "decimal" in value:
        return Decimal(str(known[value["decimal"]]))
    keywords = {
        name: _argument(item.removesuffix("?") if isinstance(item, str) else item, known)
        for name, item in value.get("keywords", {}).items()
        if not (isinstance(item, str) and item.endswith("?") and item[:-1] not in known)
    }
    made = _product(value["call"])(*(_argument(item, known) for item in value.get("args", ())), **keywords)
    return _attribute(made, value["get"]) if "get" in value else made


def _product(place: str) -> Any:
    module, _, path = place.partition(":")
    return _attribute(import_module(module), path)


def _attribute(owner: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), owner)


def _fields(found: Any) -> Answer:
    if isinstance(found, Struct):
        return structs.asdict(found)
    return {name: getattr(found, name) for name in getattr(found, "_fields", None) or found.__slots__}


def agrees(got: Any, expected: Any, relative: float = RELATIVE, absolute: float = 1e-12) -> bool:
    """Return whether an answer is the expected one: numbers within a tolerance, all else exactly.

    A table is compared on the expected keys, a list element by element; ``"inf"`` is infinity.
    """
    if isinstance(expected, Mapping):
        return isinstance(got, Mapping) and all(
            key in got and agrees(got[key], value, relative, absolute) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(got, Sequence)
            and not isinstance(got, str)
            and len(got) == len(expected)
            and all(agrees(g, e, relative, absolute) for g, e in zip(got, expected, strict=True))
        )
    if expected is None or isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, str) and expected not in {"inf", "-inf"}:
        return bool(got == expected)
    if not isinstance(got, int | float | Decimal):
        return False
    return math.isclose(float(got), float(expected), rel_tol=relative, abs_tol=absolute)
