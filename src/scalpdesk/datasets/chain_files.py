"""One option chain at one instant from a CSV or Parquet file that anybody may have written.

A row is an option: ``symbol`` (OCC), ``bid``, ``ask``, ``open_interest``; the underlying's price is in
``spot_live``, ``spot``, ``underlying_price`` or ``spot_session``, in this order; the instant in ``ts``.
Columns ``underlying`` and ``session`` choose among several chains in one file. Other columns are not read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError, ScalpdeskError
from scalpdesk.datasets.importers.base import refuse_missing
from scalpdesk.datasets.store import connect, duckdb_error
from scalpdesk.instruments.classes import underlying_of_root, us_option
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import to_ns

_Floats = NDArray[np.float64]

_SPOT_COLUMNS = ("spot_live", "spot", "underlying_price", "spot_session")
_NEEDED = ("symbol", "bid", "ask", "open_interest", "ts")


@dataclass(frozen=True, slots=True)
class _StoredChain:
    """A chain as a file has it; arrays have one value a contract, NaN for a missing value."""

    underlying: str
    """Symbol of the underlying."""
    session: date | None
    """Trading day that the open interest belongs to, where the file says."""
    ts_ns: int
    """When the quotes were made, UTC nanoseconds."""
    spot: float
    """Underlying at that time."""
    contracts: tuple[OptionContract, ...]
    """Options in the order of the file, each once."""
    bid: _Floats
    ask: _Floats
    """``bid``, ``ask``: Currency per unit; NaN for a missing side (empty or 0 in the file)."""
    open_interest: _Floats
    """Contracts; NaN for a missing figure, or one below 0."""
    rows_refused: int = 0
    """Rows that could not be read as an option, or are one on something else."""


def read_chain(
    path: Path, underlying: str, *, session: date | None = None, spot: float | None = None
) -> _StoredChain:
    """Read one chain.

    A CSV or Parquet file, by its ending. Where it has several underlyings or sessions, the one wanted; the
    latest session when None. ``spot`` is the price of the underlying where the file has no column of it.
    Raises DataError when the file cannot be read, a column is missing, or it has no such chain; says what it
    has.
    """
    columns = _columns_of(path)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise DataError(
            f"a chain needs the column {missing[0]}",
            where=str(path),
            value=", ".join(columns),
            fix=f"name the columns {', '.join(_NEEDED)}",
        )
    priced = [name for name in _SPOT_COLUMNS if name in columns]
    if spot is None and not priced:
        raise DataError(
            "the file does not say where the underlying stood",
            where=str(path),
            fix=f"add a column {_SPOT_COLUMNS[1]}, or give --spot",
        )
    price = f"coalesce({', '.join(_number(name) for name in priced)})" if priced else "NULL"
    rows = _rows(path, columns, price, underlying, session)
    contracts: dict[str, tuple[OptionContract, float, float, float]] = {}
    refused, others = 0, set[str]()
    says_whose = "underlying" in columns
    wanted = underlying_of_root(underlying)
    for symbol, bid, ask, held, *_ in rows:
        try:
            contract = us_option(str(symbol), [underlying])
        except ScalpdeskError:
            refused += 1
            continue
        if not says_whose and contract.underlying != wanted:  # with the column, the rows are chosen by it
            refused += 1
            others.add(contract.underlying)
            continue
        contracts[contract.symbol] = (contract, _side(bid), _side(ask), _open_count(held))
    if not contracts:
        raise DataError(
            f"no row of the file is an option on {underlying}",
            where=str(path),
            value=str(rows[0][0]),
            nearest=", ".join(sorted(others)) or None,
            fix="name the underlying that the file has, and the options by their OCC symbols",
        )
    *_, stamp, at, day = rows[-1]
    level = float(at) if spot is None and at is not None else spot
    if level is None or not (math.isfinite(level) and level > 0.0):
        raise DataError("the underlying has no price", where=str(path), value=level, fix="give --spot")
    listed, bid, ask, held_open = zip(*contracts.values(), strict=True)
    figures = (np.array(bid), np.array(ask), np.array(held_open))
    return _StoredChain(underlying, day, _stamp_ns(path, stamp), level, listed, *figures, refused)


def _relation(path: Path) -> str:
    return "read_parquet($path)" if path.suffix.lower() == ".parquet" else "read_csv($path, sample_size = -1)"


def _columns_of(path: Path) -> list[str]:
    refuse_missing(path)
    described = "DESCRIBE SELECT * FROM " + _relation(path)  # noqa: S608 - one of our own table functions
    return [str(row[0]) for row in _asked(path, described)]


def _number(column: str) -> str:
    """Return SQL that reads a column as numbers; a cell that is no number becomes null."""
    return f"TRY_CAST({column} AS DOUBLE)"


def _asked(path: Path, query: str, **named: object) -> list[Any]:
    try:
        with connect() as connection:
            rows: list[Any] = connection.execute(query, {"path": str(path), **named}).fetchall()
    except duckdb_error() as error:
        raise DataError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="use CSV with a header line, or Parquet",
        ) from error
    return rows


def _rows(path: Path, columns: Sequence[str], price: str, underlying: str, session: date | None) -> list[Any]:
    """Return the rows of the chain that is wanted: the last snapshot of the session, by symbol.

    Rows of one symbol keep the order of the file.
    """
    day = "session" if "session" in columns else "NULL::DATE"
    terms, named = ["TRUE"], dict[str, object]()
    if "underlying" in columns:
        terms.append("underlying = $underlying")
        named["underlying"] = underlying
    if session is not None:
        terms.append(f"{day} = $session")
        named["session"] = session
    figures = ", ".join(_number(name) for name in ("bid", "ask", "open_interest"))
    numbered = f"SELECT *, row_number() OVER () AS row_in_file FROM {_relation(path)}"  # noqa: S608 - our own
    chain = f"SELECT * FROM ({numbered}) WHERE {' AND '.join(terms)}"  # noqa: S608 - our own words only
    query = (
        f"WITH chain AS ({chain}) "  # noqa: S608 - the same
        f"SELECT symbol, {figures}, ts, {price}, {day} FROM chain "
        "WHERE ts = (SELECT max(ts) FROM chain) ORDER BY symbol, row_in_file"
    )
    rows = _asked(path, query, **named)
    if rows:
        return rows
    of = "underlying" if "underlying" in columns else "NULL"
    held = f"SELECT DISTINCT {of}, {day} FROM {_relation(path)} ORDER BY ALL DESC LIMIT 8"  # noqa: S608 - the same
    has = [" ".join(str(value) for value in row if value is not None) for row in _asked(path, held)]
    raise DataError(
        f"the file has no chain of {underlying}" + (f" on {session}" if session else ""),
        where=str(path),
        nearest=", ".join(filter(None, has)) or None,
        fix="choose another --start, or another symbol",
    )


def _side(value: object) -> float:
    """Return a quoted side; 0 and less count as missing."""
    number = _figure(value)
    return number if number > 0.0 else float("nan")


def _open_count(value: object) -> float:
    """Return an open interest; less than 0 counts as missing."""
    number = _figure(value)
    return number if number >= 0.0 else float("nan")


def _figure(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else float("nan")


def _stamp_ns(path: Path, stamp: object) -> int:
    if not isinstance(stamp, datetime):
        raise DataError(
            "the column ts holds no instants",
            where=str(path),
            value=stamp,
            fix="write them as ISO-8601 with Z",
        )
    return to_ns(stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC))
