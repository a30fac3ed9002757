"""The catalogue on disk: one folder a data set, one Parquet file a table, key and day.

::

    <catalog>/<name>/manifest.json
    <catalog>/<name>/quotes/GOOG/2015-12-23.parquet

Everything is read and written through DuckDB; timestamps are UTC. ``ts`` is the instant at which a
row is known (the end of its bar) and the key of every replay; ``bar_start`` is kept beside it so
that a reader need not guess the bar's length.
"""

import atexit
import csv
import fcntl
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError, ScalpdeskError, naming_file
from scalpdesk.core.owner_only import new_own_file
from scalpdesk.core.units import count_text

_TIME = {"ts": "TIMESTAMPTZ", "bar_start": "TIMESTAMPTZ", "symbol": "VARCHAR"}
_EVENT = {"ts": "TIMESTAMPTZ", "symbol": "VARCHAR"}
_OPTION = {"root": "VARCHAR", "expiry": "DATE", "strike": "DOUBLE", "right": "VARCHAR", "style": "VARCHAR"}
_PARTS = ("_open", "_high", "_low", "", "_size")
QUOTE_COLUMNS = tuple(f"{side}{part}" for side in ("bid", "ask") for part in _PARTS)
TRADE_COLUMNS = ("open", "high", "low", "close", "volume")
_GREEKS = ("delta", "gamma", "vega", "theta", "rho")
CHAIN_COLUMNS = (*TRADE_COLUMNS, "open_interest", "implied_volatility", *_GREEKS)
_MARK_COLUMNS = (
    *("bid", "bid_size", "ask", "ask_size", "quote_age_seconds", "underlying_price", "forward"),
    *("implied_volatility", *_GREEKS, "venue_implied_volatility", *(f"venue_{name}" for name in _GREEKS)),
)
_TICKER_COLUMNS = (
    *("bid", "bid_amount", "ask", "ask_amount", "mark_price", "mark_iv", "bid_iv", "ask_iv"),
    *("underlying_price", "index_price", "open_interest", *_GREEKS),
)
_TERMS = (
    *("strike", "tick_size", "tick_size_above", "above_price", "contract_size", "min_amount"),
    *("maker_fee", "taker_fee"),
)
_QUOTE, _TRADE, _CHAIN = (
    dict.fromkeys(columns, "DOUBLE") for columns in (QUOTE_COLUMNS, TRADE_COLUMNS, CHAIN_COLUMNS)
)

SCHEMAS: dict[str, dict[str, str]] = {
    "quotes": _TIME | _QUOTE,
    "trades": _TIME | _TRADE,
    "index_levels": _TIME | _TRADE,
    "option_quotes": _TIME | _OPTION | _QUOTE,
    "option_trades": _TIME | _OPTION | _TRADE,
    "open_interest": _TIME | _OPTION | {"open_interest": "BIGINT"},
    "chains": _TIME | _OPTION | {"underlying_close": "DOUBLE"} | _CHAIN,
    "option_marks": _TIME | _OPTION | dict.fromkeys(_MARK_COLUMNS, "DOUBLE"),
    "corporate_actions": {
        "symbol": "VARCHAR",
        "ex_date": "DATE",
        "action": "VARCHAR",
        "amount": "DECIMAL(18,6)",
    },
    "rates": {"date": "DATE", "rate": "DOUBLE"},
    # of markets in coin: the venue's own messages, one row each
    "tickers": _EVENT | dict.fromkeys(_TICKER_COLUMNS, "DOUBLE"),
    "prints": _EVENT
    | {"trade_id": "VARCHAR", "side": "VARCHAR"}
    | dict.fromkeys(("price", "amount", "mark_price", "index_price", "iv"), "DOUBLE"),
    "settlements": _EVENT
    | {"type": "VARCHAR"}
    | dict.fromkeys(("index_price", "mark_price", "position", "funding"), "DOUBLE"),
    "volatility_index": _TIME | dict.fromkeys(("open", "high", "low", "close"), "DOUBLE"),
    "funding": _EVENT | dict.fromkeys(("rate_8h", "rate_1h", "index_price"), "DOUBLE"),
    "listings": {
        "symbol": "VARCHAR",
        "kind": "VARCHAR",
        "currency": "VARCHAR",
        "created": "TIMESTAMPTZ",
        "expires": "TIMESTAMPTZ",
        "right": "VARCHAR",
    }
    | dict.fromkeys(_TERMS, "DOUBLE"),
}
"""Columns of every table, with their DuckDB types. Meaning and units: docs/howto/data.md."""

DATED_TABLES = tuple(table for table in SCHEMAS if "ts" in SCHEMAS[table])
COIN_TABLES = ("tickers", "prints", "settlements", "volatility_index", "funding")
"""Tables of markets in coin: messages of the venue at their own instants, around the clock."""
OPTION_TABLES = ("option_quotes", "option_trades", "open_interest")
VALUE_COLUMNS = {"quotes": QUOTE_COLUMNS, "trades": TRADE_COLUMNS, "open_interest": ("open_interest",)}
"""Columns of rows of a kind beside their time and their instrument."""

NO_FIGURE, NO_PRICE = 2_000_000_000, 9_999_999
"""Sizes, volumes, open interest and prices from which a figure is a format's mark of no value: 2**31 - 1,
1.79e308, 9999999."""

_IMPOSSIBLE = {
    "trades": {
        "high < greatest(open, low, close)": "whose high lies below another price",
        "low > least(open, high, close)": "whose low lies above another price",
        "low < 0": "with a price below 0",
        "volume < 0": "with a volume below 0",
        f"volume >= {NO_FIGURE}": "with a volume beyond sense",
        f"isfinite(high) AND high >= {NO_PRICE}": "with a price beyond sense",
    },
    "quotes": {
        "bid < 0 OR ask < 0": "with a price below 0",
        "bid_size < 0 OR ask_size < 0": "with a size below 0",
        f"bid_size >= {NO_FIGURE} OR ask_size >= {NO_FIGURE}": "with a size beyond sense",
        "bid_high < bid_low OR ask_high < ask_low": "whose high lies below its low",
    },
    "open_interest": {
        "open_interest < 0": "with an open interest below 0",
        f"open_interest >= {NO_FIGURE}": "with an open interest beyond sense",
    },
}


def impossible_figures(table: str) -> dict[str, str]:
    """Return the conditions of SQL on rows of a table whose figures cannot be, each with its words."""
    kind = "trades" if table == "index_levels" else table.removeprefix("option_")
    return _IMPOSSIBLE.get(kind, {})


_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def connect() -> Any:
    """Open an in-memory DuckDB that never fetches an extension and thinks in UTC."""
    import duckdb  # noqa: PLC0415 - a tenth of a second and 65 MB that --help must not pay

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": _scratch(),  # the default is a folder where the command was started
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@cache
def _scratch() -> str:
    """Return a folder of this process alone for what does not fit into memory; gone with the process."""
    scratch = tempfile.TemporaryDirectory(prefix="scalpdesk-sql-", ignore_cleanup_errors=True)
    atexit.register(scratch.cleanup)
    return scratch.name


_ROW_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", Decimal: "DECIMAL(38,12)"}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV or as Parquet, by the file's ending; what is not known is empty, or null.

    A new file is its owner's alone: it may be of an account.

    Numbers stay numbers (exact amounts with 12 decimals), lists and maps become JSON text. Raises
    ScalpdeskError when the Parquet file cannot be written. Raises OSError when the CSV file cannot be
    written; names it.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".csv":
        with naming_file(path), new_own_file(path):
            _write_csv(path, columns, rows)
        return
    types = {name: _row_type([row.get(name) for row in rows]) for name in columns}
    listed = ", ".join(f"{sql_text(name)}: {sql_text(kind)}" for name, kind in types.items())
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "rows.csv"
        _write_csv(staged, columns, rows)
        source = (
            f"read_csv({sql_text(str(staged))}, header=true, nullstr='', quote='\"', columns={{{listed}}})"
        )
        with connect() as connection, naming_file(path), new_own_file(path):
            into = f"TO {sql_text(str(path))} (FORMAT parquet, USE_TMP_FILE false)"
            try:
                connection.execute(f"COPY (FROM {source}) {into}")
            except duckdb_error() as error:
                raise ScalpdeskError(
                    f"the table cannot be written: {str(error).splitlines()[0]}",
                    where=str(path),
                    fix="free disk space, or name a folder that can be written",
                ) from error


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else value


def _row_type(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return "DOUBLE"
    return _ROW_TYPES.get(next(iter(kinds)), "VARCHAR") if len(kinds) == 1 else "VARCHAR"


def duckdb_error() -> type[Exception]:
    """Return the base class of everything DuckDB raises, without importing it at start."""
    import duckdb  # noqa: PLC0415 - see connect()

    base: type[Exception] = duckdb.Error
    return base


def sql_name(name: str) -> str:
    """Quote the name of a column."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(text: str) -> str:
    """Quote a text for a place where SQL takes no parameter (COPY TO)."""
    return "'" + text.replace("'", "''") + "'"


def checked_name(name: str, *, where: str) -> str:
    """Return ``name`` when it can be a folder's name.

    Raises DataError when it has other characters than letters, digits, dot, dash and underscore.
    """
    if not _SAFE_NAME.match(name):
        raise DataError(
            "a name in the catalogue has letters, digits, dot, dash and underscore, at most 64",
            where=where,
            value=name,
            fix="choose another name, e.g. --name goog-2015",
        )
    return name


def day_file(catalog: Path, name: str, table: str, key: str, day: str) -> Path:
    """Return the path of one day file (it may not exist)."""
    checked_name(name, where="data set name")
    checked_name(key, where="symbol")
    return catalog / name / table / key / f"{day}.parquet"


def day_files(
    catalog: Path, name: str, table: str, key: str, days: Iterable[str] | None = None
) -> list[Path]:
    """Return the files that exist of one table and key, in order of their days."""
    folder = catalog / name / table / key
    if days is None:
        return sorted(folder.glob("*.parquet"))
    found = (folder / f"{day}.parquet" for day in sorted(set(days)))
    return [path for path in found if path.is_file()]


def replace_file(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a file whole or not at all: a reader sees the old one or the new one.

    With a ``mode`` it has that before anything is in it. What a link names is replaced, not the link.
    """
    path = path.resolve()
    unfinished = path.with_name(path.name + ".part")
    with naming_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if mode is not None:
                unfinished.touch(mode=mode)
                unfinished.chmod(mode)
            unfinished.write_text(text, encoding="utf-8", newline="")
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise


Row = TypeVar("Row")
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 100, 0.01


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """History as a CSV file in the folder of the catalogue; lines may be added by hand."""

    path: Path
    columns: tuple[str, ...]
    subject: str
    """``columns``, ``subject``: What its lines hold, and what it is a history of."""
    fix: str
    """Correction of a line that is not read."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Read, change and write the lines while no other process does: desks share a catalogue at one close.

        After a second it is done without the lock: a desk must not wait for a process that hangs.
        """
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError:  # reading and writing say what is wrong
            yield
            return
        try:
            for _ in range(_LOCK_TRIES):
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    sleep(_LOCK_PAUSE_SECONDS)
                except OSError:  # a file system without locks
                    break
            yield
        finally:
            os.close(folder)

    def read(self, row_of: Callable[..., Row]) -> list[Row]:
        """Return what ``row_of`` makes of the texts of each line; it refuses by a ValueError.

        Raises DataError when a line is refused, or has another number of texts; names the line.
        """
        rows: list[Row] = []
        if not self.path.is_file():
            return rows
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            for line, texts in enumerate(csv.reader(file), start=1):
                if line == 1 and tuple(texts) == self.columns:
                    continue
                try:
                    rows.append(row_of(*texts))
                except (TypeError, ValueError) as error:
                    raise DataError(
                        f"the history of {self.subject} has a line that is none",
                        where=f"{self.path}:{line}",
                        value=",".join(texts),
                        fix=self.fix,
                    ) from error
        return rows

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Write the lines in place of all there are. Raises DataError when the folder cannot be written."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows((self.columns, *rows))
        try:
            replace_file(self.path, text.getvalue())
        except OSError as error:
            raise DataError(
                f"the history of {self.subject} cannot be written: {error.strerror}",
                where=str(self.path),
                fix="make the folder writable, or choose another: --set data.catalog=DIR",
            ) from error


def write_table(connection: Any, select: str, path: Path, *, parameters: Sequence[object] = ()) -> int:
    """Write the result of ``select`` as one Parquet file, whole or not at all; return its rows.

    Raises DataError when the catalogue cannot be written to.
    """
    unfinished = path.with_name(path.name + ".part")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS {select}", list(parameters))
    rows = int(connection.execute("SELECT count(*) FROM staged").fetchall()[0][0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(f"COPY staged TO {sql_text(str(unfinished))} (FORMAT parquet, COMPRESSION zstd)")
        unfinished.replace(path)
    except (OSError, duckdb_error()) as error:
        raise DataError(
            f"cannot write into the catalogue: {str(error).splitlines()[0]}",
            where=str(path),
            fix="make room or choose a folder that can be written: --catalog DIR, or data.catalog",
        ) from error
    connection.execute("DROP TABLE staged")
    return rows


def read_columns(
    connection: Any, files: Sequence[Path], select: str, parameters: Sequence[object] = ()
) -> dict[str, NDArray[Any]]:
    """Run ``select`` over ``files`` (named ``rows`` in it) and return numpy columns.

    Raises DataError when a file is damaged or lacks a column; names the file and how to write it again.
    """
    query = f"WITH rows AS (SELECT * FROM read_parquet(?)) {select}"  # noqa: S608 - our own SQL, paths are parameters
    try:
        result: dict[str, NDArray[Any]] = connection.execute(
            query, [[str(path) for path in files], *parameters]
        ).fetchnumpy()
    except duckdb_error() as error:
        damage = _damage(connection, files, error)
        if damage is None:
            raise
        raise damage from error
    return result


def _damage(connection: Any, files: Sequence[Path], error: Exception) -> DataError | None:
    """Return which file is damaged and how to write it again; None when none is."""
    for path in files:
        fix = f"delete it and import that day again: rm '{path}' && scalpdesk data import ..."
        if not is_readable(connection, path):
            return DataError(
                f"this file of the catalogue cannot be read as Parquet: {str(error).splitlines()[0]}",
                where=str(path),
                fix=fix,
            )
        missing = missing_columns(connection, path)
        if missing:
            return DataError(
                f"this file of the catalogue lacks columns of its table: {', '.join(missing)}",
                where=str(path),
                fix=fix,
            )
        strange = impossible_times(connection, path)
        if strange:
            return DataError(f"this file of the catalogue has {strange}", where=str(path), fix=fix)
    return None


def impossible_times(connection: Any, path: Path) -> str:
    """Return how many rows of a file lie outside of the years 1900 to 2199; empty without such rows.

    Nanoseconds of UTC do not reach further, and no quote was recorded there.
    """
    columns = [name for name in ("ts", "bar_start") if name in SCHEMAS.get(path.parent.parent.name, {})]
    if not columns:
        return ""
    outside = " OR ".join(f"year({column}) NOT BETWEEN 1900 AND 2199" for column in columns)
    count, first = connection.execute(
        "SELECT count(*), strftime(min(ts), '%Y-%m-%d %H:%M:%SZ') "  # noqa: S608 - columns of our own schema
        f"FROM read_parquet(?) WHERE {outside}",
        [str(path)],
    ).fetchall()[0]
    return f"{count_text(count, 'row')} of impossible times, such as {first}" if count else ""


def missing_columns(connection: Any, path: Path) -> list[str]:
    """Return the columns of the file's table (its second folder up) that the file does not have."""
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    there = {row[0] for row in described}
    return [column for column in SCHEMAS.get(path.parent.parent.name, {}) if column not in there]


def is_readable(connection: Any, path: Path) -> bool:
    """Return whether every row of the Parquet file can be read."""
    try:
        connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchnumpy()
    except duckdb_error():
        return False
    return True


def file_days(start: date, end: date, sessions: Iterable[str]) -> list[str]:
    """Return the file names (days or years) among ``sessions`` that touch ``start`` to ``end``."""
    years = {str(year) for year in range(start.year, end.year + 1)}
    return [
        day
        for day in sessions
        if (day in years if len(day) == 4 else start <= date.fromisoformat(day) <= end)
    ]


def as_float(column: NDArray[Any]) -> NDArray[np.float64]:
    """Turn a column with nulls (a masked array) into floats with NaN."""
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
