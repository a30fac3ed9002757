"""Rows of a file on their way into the catalogue: what is left out, and the files of their days.

An importer reads a file into DuckDB's temporary table ``incoming`` with the columns ``ts``, ``bar_start``,
``written`` (symbol as the file has it), ``seconds``, ``file_row`` (from 1) and the values of the table. What
does not fit into memory DuckDB keeps on the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAY_SECONDS
from scalpdesk.datasets.importers.base import ImportReport, UnreadableFileError
from scalpdesk.datasets.store import (
    NO_PRICE,
    SCHEMAS,
    VALUE_COLUMNS,
    day_file,
    impossible_figures,
    sql_name,
    sql_text,
    write_table,
)
from scalpdesk.instruments.classes import INDICES
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import FIRST_DAY, LAST_DAY, why_closed

EXCHANGE_ZONE = "America/New_York"

NO_VALUE = (
    *("", "N/A", "n/a", "#N/A", "null", "NULL", "None", "-", "--", "<empty>"),
    *(" " * length for length in range(1, 33)),
)
"""Texts of a CSV file for a missing value; a cell of blanks is one."""
FEW_BARS = 8
"""Starts of bars from which on the space between them says how long they are."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """A file, and how its columns are read."""

    path: Path
    label: str
    """``CSV`` or ``Parquet``."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The file's column by the catalogue's name; empty for all as they stand."""
    types: Mapping[str, str] = field(default_factory=dict)
    """DuckDB's type of some columns of a CSV file, by the file's name."""
    reads: Mapping[str, str] = field(default_factory=dict)
    """SQL in place of some columns, by the catalogue's name."""

    @property
    def relation(self) -> str:
        """A table of SQL with one ``?`` for the path."""
        table = "read_parquet(?)"
        if self.label == "CSV":
            types = ", ".join(f"{sql_text(name)}: {sql_text(kind)}" for name, kind in self.types.items())
            nulls = ", ".join(map(sql_text, NO_VALUE))
            table = (
                f"read_csv(?, header = true, nullstr = [{nulls}]{f', types = {{{types}}}' if types else ''})"
            )
        if not self.names:
            return table
        columns = (
            f"{self.reads.get(n, sql_name(column))} AS {sql_name(n)}" for n, column in self.names.items()
        )
        return f"(SELECT {', '.join(columns)} FROM {table})"  # noqa: S608 - quoted names

    def as_text(self, column: str) -> "TableSource":
        """Return the source with a column of a CSV file as it is written."""
        return replace(self, types={**self.types, self.names.get(column, column): "VARCHAR"})

    def place(self, row: int) -> str:
        """Return where row ``row`` (from 1) stands: the line of a CSV file below its header."""
        return f"{self.path}:{row + 1}" if self.label == "CSV" else f"{self.path}, row {row}"


def shown_shares(catalog: Path, name: str) -> frozenset[str]:
    """Return the symbols that a data set has quotes or trades of: options on them need no class."""
    return frozenset(
        path.name for table in ("quotes", "trades") for path in (catalog / name / table).glob("*")
    )


def refuse_impossible_times(connection: Any, source: TableSource) -> None:
    """Refuse a file with rows that the exchange's calendar does not reach."""
    outside = (
        f"ts NOT BETWEEN '{FIRST_DAY}'::TIMESTAMPTZ AND '{LAST_DAY} 23:59:59Z'::TIMESTAMPTZ "
        f"OR bar_start NOT BETWEEN '{FIRST_DAY - timedelta(days=1)}'::TIMESTAMPTZ AND ts"
    )
    count, row, moment = connection.execute(
        "SELECT count(*), min(file_row), arg_min(strftime(ts, '%Y-%m-%d %H:%M:%SZ'), file_row) "  # noqa: S608 - our own days
        f"FROM incoming WHERE {outside}"
    ).fetchall()[0]
    if count:
        raise UnreadableFileError(
            f"{count} {'row lies' if count == 1 else 'rows lie'} outside of {FIRST_DAY} to {LAST_DAY}, "
            "or is known before its bar begins",
            where=source.place(row),
            value=moment,
            fix="correct the time in the file, or leave the row out",
        )


def leave_out_impossible(connection: Any, source: TableSource, kind: str, report: ImportReport) -> None:
    """Leave out rows whose figures cannot be, with their number and the first of them."""
    for condition, words in impossible_figures(kind).items():
        leave_out(connection, source, condition, words, report)


def leave_out_closed_days(connection: Any, source: TableSource, report: ImportReport) -> None:
    """Leave out rows of days on which the exchange does not trade."""
    day = f"(ts AT TIME ZONE {sql_text(EXCHANGE_ZONE)})::DATE"
    for (found,) in connection.execute(f"SELECT DISTINCT {day} AS day FROM incoming ORDER BY 1").fetchall():  # noqa: S608 - our own words
        why = why_closed(found)
        if why is not None:
            leave_out(connection, source, f"{day} = '{found}'", f"of {found}, {why}", report)


def leave_out(connection: Any, source: TableSource, condition: str, words: str, report: ImportReport) -> None:
    """Leave out rows by a condition of SQL, and note their number and the first of them.

    Raises UnreadableFileError when no row remains.
    """
    count, row = connection.execute(
        f"SELECT count(*), min(file_row) FROM incoming WHERE {condition}"  # noqa: S608 - our own words
    ).fetchall()[0]
    if not count:
        return
    connection.execute(f"DELETE FROM incoming WHERE {condition}")  # noqa: S608 - the same
    report.count(f"{words}: left out", count, source.place(row))
    if not connection.execute("SELECT count(*) FROM incoming").fetchall()[0][0]:
        raise UnreadableFileError(
            "no row of the file can be imported: " + "; ".join(report.notes),
            where=str(source.path),
            fix="correct the file and import it again",
        )


def refuse_other_length(connection: Any, source: TableSource, seconds: int) -> None:
    """Refuse bars that bear their start and are longer or shorter than ``seconds``, by their own spacing.

    A bar of five minutes that is taken for one of a minute is known four minutes early.
    """
    found = connection.execute(
        "SELECT gap, count(*), min(file_row) FROM (SELECT file_row, epoch(bar_start)::BIGINT - lag("
        "epoch(bar_start)::BIGINT) OVER (PARTITION BY written ORDER BY bar_start) AS gap FROM incoming "
        "WHERE bar_start IS NOT NULL) WHERE gap > 0 GROUP BY gap"
    ).fetchall()
    if seconds >= DAY_SECONDS or sum(count for _, count, _ in found) < FEW_BARS:
        return
    usual, _, row = max(found, key=lambda each: (each[1], each[0]))
    step = int(np.gcd.reduce([gap for gap, _, _ in found]))
    if usual >= seconds >= step:
        return
    apart = min(usual, step) if usual < seconds else step
    raise UnreadableFileError(
        f"starts of bars lie {apart} s apart and a bar is to last {seconds} s: it would be known too "
        f"{'early' if apart > seconds else 'late'}",
        where=source.place(row),
        value=seconds,
        fix=f"--bar-seconds {apart}, if bars bear their start; else name the column of their end ts",
    )


def leave_out_repeats(
    connection: Any, source: TableSource, kind: str, report: ImportReport, *, is_snapshot: bool
) -> None:
    """Leave out rows that repeat another in full; of rows that contradict one another the last counts.

    Each is noted by its own number: one is a file read twice, the other a price that is not known.

    ``is_snapshot``: Whether an instrument has one row an instant; ticks of one instant all stay.
    """
    values = ", ".join(map(sql_name, VALUE_COLUMNS[kind]))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE incoming AS SELECT *, "  # noqa: S608 - our own columns
        f"row_number() OVER (PARTITION BY written, ts, {values} ORDER BY file_row DESC) AS nth_equal, "
        "row_number() OVER (PARTITION BY written, ts ORDER BY file_row DESC) AS nth FROM incoming"
    )
    repeats = "of another's symbol, time and figures: left out"
    others = "of another's symbol and time with other figures: the last of the file counts"
    for found, words in (("nth_equal > 1", repeats), ("nth > 1 AND nth_equal = 1", others)):
        count, row = connection.execute(
            f"SELECT count(*), min(file_row) FROM incoming WHERE {found}"  # noqa: S608 - our own words
        ).fetchall()[0]
        if count:
            report.count(words, count, source.place(row))
    gone = "nth > 1" if is_snapshot else "nth_equal > 1"
    connection.execute(f"DELETE FROM incoming WHERE {gone}")  # noqa: S608 - the same
    connection.execute("ALTER TABLE incoming DROP COLUMN nth_equal")
    connection.execute("ALTER TABLE incoming DROP COLUMN nth")


def mark_absent_sides(connection: Any, report: ImportReport) -> None:
    """Turn a price of 0 or less into no such side: an ask at infinity, a bid at 0.

    Not null, which is a side without an update and is carried forward (:mod:`scalpdesk.datasets.sides`).
    """
    beyond = f">= {NO_PRICE}"
    for side, absent, found in (
        ("ask", "'infinity'", "ask <= 0"),
        ("bid", "0", "bid < 0"),
        ("ask", "'infinity'", f"ask {beyond} AND isfinite(ask)"),
        ("bid", "0", f"bid {beyond} AND isfinite(bid)"),
    ):
        count = connection.execute(f"SELECT count(*) FROM incoming WHERE {found}").fetchall()[0][0]  # noqa: S608 - our own words
        if count:
            connection.execute(f"UPDATE incoming SET {side} = {absent}, {side}_size = 0 WHERE {found}")  # noqa: S608 - the same
            words = f"with {side} of {NO_PRICE} or more" if beyond in found else f"with {found}"
            report.count(f"{words}: read as no {side}", count)


def write_days(
    connection: Any,
    catalog: Path,
    name: str,
    kind: str,
    bar_seconds: int,
    placed: Mapping[str, OptionContract | str],
    report: ImportReport,
    *,
    whole_days: bool = True,
) -> set[str]:
    """Write one file a table, key and New York day; return the keys written.

    Stored rows of the same symbols are replaced: those of the same days, or, without ``whole_days``, those
    between a symbol's first and last new row.
    """
    _register_places(connection, placed)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE placed_rows AS SELECT incoming.* EXCLUDE (bar_start), "  # noqa: S608 - our own columns
        f"coalesce(bar_start, ts - to_seconds({bar_seconds})) AS bar_start, "
        "strftime(ts AT TIME ZONE 'America/New_York', '%Y-%m-%d') AS day, "
        "places.* EXCLUDE (written, expiry_text), try_cast(expiry_text AS DATE) AS expiry "
        "FROM incoming JOIN places USING (written)"
    )
    connection.execute("DROP TABLE incoming")  # a large file would fill the disk several times over
    keys: set[str] = set()
    groups: Sequence[tuple[str, str, str]] = connection.execute(
        'SELECT DISTINCT is_option, "key", day FROM placed_rows ORDER BY 1, 2, 3'
    ).fetchall()
    for is_option, key, day in groups:
        table = _table_of(kind, bool(is_option), key)
        columns = ", ".join(f'"{column}"' for column in SCHEMAS[table])
        path = day_file(catalog, name, table, key, day)
        own = 'FROM placed_rows WHERE is_option = ? AND "key" = ? AND day = ?'
        chosen = f"SELECT {columns}, file_row {own}"
        parameters: list[object] = [is_option, key, day]
        if path.is_file():
            fresh = f"SELECT symbol, min(ts) AS since, max(ts) AS until {own} GROUP BY symbol"
            within = "" if whole_days else " AND old.ts BETWEEN new.since AND new.until"
            chosen += (
                f" UNION ALL SELECT {columns}, 0 AS file_row FROM read_parquet(?) AS old WHERE NOT EXISTS "  # noqa: S608 - our own columns
                f"(SELECT 1 FROM ({fresh}) AS new WHERE new.symbol = old.symbol{within})"
            )
            parameters += [str(path), *parameters]
        stored = _stored_rows(connection, path)
        # of rows of one instant the last of the file counts
        ordered = f"SELECT {columns} FROM ({chosen}) ORDER BY ts, symbol, file_row"  # noqa: S608 - our own columns
        written = write_table(connection, ordered, path, parameters=parameters)
        new = int(connection.execute(f"SELECT count(*) {own}", [is_option, key, day]).fetchone()[0])
        report.add(table, key, new)
        if replaced := stored + new - written:
            report.count(f"of {table} of {key} on {day} replaced", replaced)
        keys.add(key)
    connection.execute("DROP TABLE placed_rows")
    connection.unregister("places")
    return keys


def _stored_rows(connection: Any, path: Path) -> int:
    if not path.is_file():
        return 0
    return int(connection.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()[0])


def _register_places(connection: Any, placed: Mapping[str, OptionContract | str]) -> None:
    whats = list(placed.values())
    options = [None if isinstance(what, str) else what for what in whats]

    def texts(values: Sequence[object]) -> Any:
        return np.array(["" if value is None else str(value) for value in values], dtype=object)

    connection.register(
        "places",
        {
            "written": texts(list(placed)),
            "symbol": texts([what if isinstance(what, str) else what.symbol for what in whats]),
            "is_option": np.array([option is not None for option in options], dtype=np.bool_),
            "key": texts([what.partition("_")[0] if isinstance(what, str) else what.root for what in whats]),
            "root": texts([o and o.root for o in options]),
            "expiry_text": texts([o and o.expiry for o in options]),
            "strike": np.array([float(o.strike) if o else np.nan for o in options], dtype=np.float64),
            "right": texts([o and o.right.value for o in options]),
            "style": texts([o and o.style.value for o in options]),
        },
    )


def _table_of(kind: str, is_option: bool, key: str) -> str:
    if kind == "open_interest":
        return kind
    if is_option:
        return f"option_{kind}"
    if key not in INDICES:
        return kind
    return "index_levels"


def unreadable(source: TableSource, error: Exception) -> DataError:
    """Return DuckDB's refusal of a file as an error with the line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    at_line = next((w for line in lines for w in [line.partition("Line:")[2].strip()] if w.isdigit()), None)
    why = next((line for line in lines if line.startswith("Error when converting")), lines[0])
    return DataError(
        f"this {source.label} file cannot be read: {why}",
        where=f"{source.path}:{at_line}" if at_line else str(source.path),
        fix=f"export it again as a {source.label} file with the columns of docs/howto/import-csv.md",
    )
