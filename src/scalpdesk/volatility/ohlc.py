"""OHLC columns from mappings, tables, arrays or rows, with bad bars dropped and named."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scalpdesk.core.errors import ArgumentError

Array = npt.NDArray[np.float64]
COLUMNS = ("open", "high", "low", "close")


class DroppedBar(msgspec.Struct, frozen=True):
    """A bar that was left out: its position in the input, and the reason."""

    position: int
    reason: str


class Ohlc(msgspec.Struct, frozen=True):
    """Validated OHLC columns of equal length."""

    open: Array
    high: Array
    low: Array
    close: Array
    """``open``, ``high``, ``low``, ``close``: Prices per unit, float64; from closes alone, all four are the
    close.
    """
    follows: npt.NDArray[np.bool_]
    """Whether the bar before a bar was good too: a return across a dropped bar spans two periods."""
    positions: npt.NDArray[np.int64]
    """Each bar's position in the input."""
    dropped: tuple[DroppedBar, ...]
    """The bars left out."""


def read_ohlc(bars: Any, *, closes_only: bool = False) -> Ohlc:
    """Read OHLC columns from bars and drop impossible bars.

    ``bars``: A mapping, a table or a structured array with columns ``open``, ``high``, ``low``, ``close``
    (any case), or a sequence of mappings or of objects with those names. Oldest first. With ``closes_only``
    also a plain sequence of closes.
    ``closes_only``: Read and check the closes alone.

    Raises ArgumentError when a column is missing, is not of numbers or differs in length.
    """
    names = ("close",) if closes_only else COLUMNS
    columns = _columns(bars, names)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ArgumentError("the columns of the bars differ in length", where="bars", value=lengths)
    close = columns["close"]
    opens, high, low = (close,) * 3 if closes_only else (columns[name] for name in COLUMNS[:3])
    with np.errstate(invalid="ignore"):
        faults = (
            ("a price is missing or not finite", ~np.isfinite(opens + high + low + close)),
            ("a price is not above zero", np.minimum(np.minimum(opens, close), low) <= 0.0),
            ("the high is below the open or the close", high < np.maximum(opens, close)),
            ("the low is above the open or the close", low > np.minimum(opens, close)),
        )
    bad = np.zeros(len(close), dtype=np.bool_)
    dropped: dict[int, str] = {}
    for reason, where in faults:
        for position in np.flatnonzero(where & ~bad):
            dropped[int(position)] = reason
        bad |= where
    kept = np.flatnonzero(~bad)
    follows = np.diff(kept, prepend=-1) == 1
    if len(follows):
        follows[0] = False
    return Ohlc(
        opens[kept],
        high[kept],
        low[kept],
        close[kept],
        follows,
        kept.astype(np.int64),
        tuple(DroppedBar(position, dropped[position]) for position in sorted(dropped)),
    )


def _columns(bars: Any, names: Sequence[str]) -> dict[str, Array]:
    found = _named_columns(bars)
    if found is not None:
        lowered = {name.lower(): name for name in found}
        missing = [name for name in names if name not in lowered]
        if missing:
            raise ArgumentError(
                f"the bars have no column {missing[0]}",
                where="bars",
                value=list(found),
                fix=f"give the columns {', '.join(names)}",
            )
        return {name: _numbers(bars[lowered[name]], name) for name in names}
    rows = list(bars)
    if rows and _is_number(rows[0]):
        if len(names) > 1:
            raise ArgumentError(
                "closes alone have no ranges",
                where="bars",
                value=f"{len(rows)} numbers",
                fix="give open, high, low and close, or use close_to_close",
            )
        return {"close": _numbers(rows, "close")}
    return {name: _numbers([_of_row(row, name) for row in rows], name) for name in names}


def _named_columns(bars: Any) -> list[str] | None:
    if isinstance(bars, Mapping):
        return [str(name) for name in bars]
    if isinstance(bars, np.ndarray):
        return list(bars.dtype.names) if bars.dtype.names else None
    columns = getattr(bars, "columns", None)
    return [str(name) for name in columns] if isinstance(columns, Iterable) else None


def _of_row(row: Any, name: str) -> Any:
    if isinstance(row, Mapping):
        for key, value in row.items():
            if str(key).lower() == name:
                return value
    elif hasattr(row, name):
        return getattr(row, name)
    raise ArgumentError(
        f"a bar has no {name}", where="bars", value=row, fix=f"give bars with {', '.join(COLUMNS)}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _numbers(values: Any, name: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"the column {name} holds values that are not numbers", where=f"bars.{name}", value=values
        ) from error
