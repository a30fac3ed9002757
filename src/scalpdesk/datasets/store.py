"""The catalogue on disk: one folder a data set, one Parquet file a table, key and day.

::

    <catalog>/<name>/manifest.json
    <catalog>/<name>/quotes/GOOG/2015-12-23.parquet

Everything is read and written through DuckDB; timestamps are UTC. ``ts`` is the instant at which a
row is known (the end of its bar) and the key of every replay; ``bar_start`` is kept beside it so
that nobody has to guess the bar's length.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError, nearest_name

MANIFEST = "manifest.json"
FORMAT = 1

_TIME = {"ts": "TIMESTAMPTZ", "bar_start": "TIMESTAMPTZ", "symbol": "VARCHAR"}
_OPTION = {"root": "VARCHAR", "expiry": "DATE", "strike": "DOUBLE", "right": "VARCHAR", "style": "VARCHAR"}
_QUOTE = {
    f"{side}{part}": "DOUBLE" for side in ("bid", "ask") for part in ("_open", "_high", "_low", "", "_size")
}
_TRADE = dict.fromkeys(("open", "high", "low", "close", "volume"), "DOUBLE")

SCHEMAS: dict[str, dict[str, str]] = {
    "quotes": _TIME | _QUOTE,
    "trades": _TIME | _TRADE,
    "index_levels": _TIME | _TRADE,
    "option_quotes": _TIME | _OPTION | _QUOTE,
    "option_trades": _TIME | _OPTION | _TRADE,
    "open_interest": _TIME | _OPTION | {"open_interest": "BIGINT"},
    "chains": _TIME
    | _OPTION
    | {"underlying_close": "DOUBLE"}
    | _TRADE
    | dict.fromkeys(
        ("open_interest", "implied_volatility", "delta", "gamma", "vega", "theta", "rho"), "DOUBLE"
    ),
    "corporate_actions": {
        "symbol": "VARCHAR",
        "ex_date": "DATE",
        "action": "VARCHAR",
        "amount": "DECIMAL(18,6)",
    },
    "rates": {"date": "DATE", "rate": "DOUBLE"},
}
"""Columns of every table, with their DuckDB types. Meaning and units: docs/data.md."""

DATED_TABLES = tuple(table for table in SCHEMAS if "ts" in SCHEMAS[table])
OPTION_TABLES = ("option_quotes", "option_trades", "open_interest")

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set holds of one underlying."""

    type: str
    """``equity``, ``index`` or ``future``."""
    sessions: tuple[str, ...]
    """Days with at least one row, ISO dates (years for hourly and daily bars)."""
    instruments: int
    rows: int
    keys: tuple[str, ...]
    """Folder names that belong to it: its own symbol and the roots of its options."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set is, in a few lines of JSON beside it."""

    format: int = FORMAT
    name: str
    source: str
    """Where the rows came from: the importer and the folder's name."""
    kind: str = "recorded"
    bar_seconds: int = 60
    underlyings: dict[str, Coverage] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all underlyings."""
        return sum(part.rows for part in self.underlyings.values())


def connect() -> Any:
    """Open an in-memory DuckDB that never fetches an extension and thinks in UTC."""
    import duckdb  # noqa: PLC0415 - a tenth of a second and 65 MB that --help must not pay

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": tempfile.gettempdir(),  # the default is a folder where the command was started
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def duckdb_error() -> type[Exception]:
    """Return the base class of everything DuckDB raises, without importing it at start."""
    import duckdb  # noqa: PLC0415 - see connect()

    base: type[Exception] = duckdb.Error
    return base


def sql_text(text: str) -> str:
    """Quote a text for a place where SQL takes no parameter (COPY TO)."""
    return "'" + text.replace("'", "''") + "'"


def checked_name(name: str, *, where: str) -> str:
    """Return ``name`` when it can be a folder's name.

    Raises
    ------
    DataError
        When it has other characters than letters, digits, dot, dash and underscore.
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


def write_table(connection: Any, select: str, path: Path, *, parameters: Sequence[object] = ()) -> int:
    """Write the result of ``select`` as one Parquet file, whole or not at all; return its rows.

    Raises
    ------
    DataError
        When the catalogue cannot be written to.
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

    Raises
    ------
    DataError
        When a file is damaged or lacks a column; names the file and how to write it again.
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
    """Find the file that made DuckDB refuse and say how to mend it; None when no file is to blame."""
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
    return None


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


def read_manifest(catalog: Path, name: str) -> Manifest:
    """Read the manifest of a data set.

    Raises
    ------
    DataError
        When there is no such data set (names those there are) or its manifest is damaged.
    """
    path = catalog / name / MANIFEST
    if not path.is_file():
        there = data_set_names(catalog)
        listed = ", ".join(there) if there else "none"
        raise DataError(
            f"no data set of this name in the catalogue; there: {listed}",
            where=str(catalog),
            value=name,
            nearest=nearest_name(name, there),
            fix="scalpdesk data import lean PATH (or: data import csv|parquet), then: scalpdesk data ls",
        )
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"the manifest of this data set is damaged: {error}",
            where=str(path),
            fix="import the data set again: scalpdesk data import ...",
        ) from error
    if manifest.format != FORMAT:
        raise DataError(
            f"this data set is of format {manifest.format}, this version reads {FORMAT}",
            where=str(path),
            fix="import the data set again: scalpdesk data import ...",
        )
    return manifest


def data_set_names(catalog: Path) -> list[str]:
    """Return the names of the data sets in the catalogue, sorted."""
    return sorted(path.parent.name for path in catalog.glob(f"*/{MANIFEST}"))


def save_manifest(catalog: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    folder = catalog / manifest.name
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / (MANIFEST + ".part")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    unfinished.replace(folder / MANIFEST)


def coverage_of(
    connection: Any, catalog: Path, name: str, types: Mapping[str, str], keys: Mapping[str, Iterable[str]]
) -> dict[str, Coverage]:
    """Count what the data set holds of every underlying, from the files themselves."""
    found: dict[str, Coverage] = {}
    for underlying in sorted(keys):
        names = tuple(sorted(set(keys[underlying])))
        rows, symbols, sessions = 0, set[str](), set[str]()
        for table in DATED_TABLES:
            files = [path for key in names for path in day_files(catalog, name, table, key)]
            if not files:
                continue
            counted = read_columns(
                connection, files, "SELECT symbol, count(*) AS n FROM rows GROUP BY symbol"
            )
            rows += int(counted["n"].sum())
            symbols.update(counted["symbol"].tolist())
            sessions.update(path.stem for path in files)
        if sessions:
            found[underlying] = Coverage(
                type=types[underlying],
                sessions=tuple(sorted(sessions)),
                instruments=len(symbols),
                rows=rows,
                keys=names,
            )
    return found


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


def manifest_to_extend(catalog: Path, name: str, bar_seconds: int) -> Manifest | None:
    """Return the manifest of the data set that rows will be added to, None when it is new.

    Importers call it before they write the first row.

    Raises
    ------
    DataError
        When the name is no folder's name, or the data set holds bars of another length.
    """
    checked_name(name, where="data set name")
    if not (catalog / name / MANIFEST).is_file():
        return None
    old = read_manifest(catalog, name)
    if old.bar_seconds != bar_seconds:
        raise DataError(
            f"the data set holds bars of {old.bar_seconds} s, these are of {bar_seconds} s",
            where=str(catalog / name),
            fix="import them under another name: --name NAME",
        )
    return old


def update_manifest(
    connection: Any,
    catalog: Path,
    name: str,
    *,
    source: str,
    bar_seconds: int,
    types: Mapping[str, str],
    keys: Mapping[str, Iterable[str]],
    notes: Iterable[str] = (),
) -> Manifest:
    """Write the manifest after an import: what was there before, plus what has come.

    Parameters
    ----------
    types, keys
        By underlying: its type, and the folders (its symbol, option roots) just written.

    Raises
    ------
    DataError
        When the data set already holds bars of another length: they would be mixed up.
    """
    old = manifest_to_extend(catalog, name, bar_seconds)
    before = old.underlyings if old is not None else {}
    all_types = {underlying: part.type for underlying, part in before.items()} | dict(types)
    all_keys: dict[str, set[str]] = {underlying: set(part.keys) for underlying, part in before.items()}
    for underlying, names in keys.items():
        all_keys.setdefault(underlying, set()).update(names)
    manifest = Manifest(
        name=name,
        source=source,
        bar_seconds=bar_seconds,
        underlyings=coverage_of(connection, catalog, name, all_types, all_keys),
        notes=tuple(dict.fromkeys([*(old.notes if old is not None else ()), *notes])),
    )
    save_manifest(catalog, manifest)
    return manifest
