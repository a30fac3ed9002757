"""Import of CSV and Parquet files with the catalogue's columns (``docs/howto/import-csv.md``).

The kind of rows (quotes, trades, open interest) follows from the columns; the kind of a symbol (the
underlying, one of its options, a dated future) follows from its form.
"""

import math
import shlex
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import DataError, ScalpdeskError, nearest_name
from scalpdesk.core.units import DAY_SECONDS
from scalpdesk.datasets.booked_actions import BookedAction
from scalpdesk.datasets.importers.actions import add_actions
from scalpdesk.datasets.importers.base import (
    ImportReport,
    Progress,
    no_progress,
    refuse_missing,
    refuse_workbook,
)
from scalpdesk.datasets.importers.chain_cells import epoch_instant
from scalpdesk.datasets.importers.chain_cells import right as read_right
from scalpdesk.datasets.importers.chain_columns import BAR_NAMES, BAR_TIMES, NAMES, is_wide, plain
from scalpdesk.datasets.importers.staged import (
    EXCHANGE_ZONE,
    FEW_BARS,
    TableSource,
    leave_out_closed_days,
    leave_out_impossible,
    leave_out_repeats,
    mark_absent_sides,
    refuse_impossible_times,
    refuse_other_length,
    shown_shares,
    unreadable,
    write_days,
)
from scalpdesk.datasets.manifests import (
    manifest_bar_seconds,
    manifest_to_extend,
    update_manifest,
)
from scalpdesk.datasets.store import (
    SCHEMAS,
    TRADE_COLUMNS,
    VALUE_COLUMNS,
    connect,
    duckdb_error,
    sql_name,
    sql_text,
)
from scalpdesk.instruments.classes import INDICES, UnknownClassError, roots_of, underlying_of_root, us_option
from scalpdesk.instruments.contract import OptionContract, parse_occ
from scalpdesk.instruments.futures import future_contract, future_option
from scalpdesk.instruments.sessions import from_ns

_KNOWN_COLUMNS = tuple(
    dict.fromkeys(
        [*SCHEMAS["option_quotes"], *SCHEMAS["option_trades"], "open_interest", "seconds", "underlying"]
    )
)
_NEEDED = {
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
    "trades": ("open", "high", "low", "close"),
    "open_interest": ("open_interest",),
}
"""Value columns that rows of a kind need; a bar without a volume has 0, as an index's level has."""

_MARKS = {"quotes": ("bid", "ask"), "trades": ("open", "close"), "open_interest": ("open_interest",)}
"""Columns by which rows of a kind are known, the first kind that fits."""

_YEAR_FIRST = r"regexp_matches(written, '^\s*\d{4}\D')"
_ENDS_WITH_ZONE = r"regexp_matches(written, '(:\d\d.*[+-]\d\d(:?\d\d)?|[A-Za-z_])\s*$')"
_FIGURES = ("DOUBLE", "BIGINT")


_MONTH_OR_DAY_FIRST = r"^\s*(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})"
_TIMES_OF_DAY = ("", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_DATE_ORDERS = {"mdy": "%m/%d/%Y", "dmy": "%d/%m/%Y"}
"""Orders of a date that does not begin with its year."""
_CONTRACT_TERMS = ("expiry", "strike", "right")


@dataclass(frozen=True, slots=True)
class ImportChoices:
    """Properties of the rows given by the user."""

    name: str
    underlying: str
    bar_seconds: int | None = None
    """Length of a bar; None to take it from the file."""
    timezone: str | None = None
    """Zone of timestamps without one; None to refuse those."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's column by the catalogue's name, where they differ."""
    dates: str | None = None
    """Order of dates that do not begin with their year (:data:`_DATE_ORDERS`); None to see it from them."""
    is_share: bool = False
    """Whether the source lists the underlying as a share; else quotes of it must be there."""


FORMATS = {"csv": "CSV", "parquet": "Parquet"}
"""Formats of a file with their name."""


def import_table(
    catalog: Path,
    path: Path,
    choices: ImportChoices,
    progress: Progress = no_progress,
    *,
    file_format: str = "csv",
) -> ImportReport:
    """Read one file into the data set ``choices.name``; rows of the same symbols and days are replaced.

    Raises
    ------
    DataError
        For an unknown or missing column, a symbol that does not belong to the underlying, a
        timestamp or number that cannot be read, or bars of more than one length.
    """
    source, connection = TableSource(path, FORMATS[file_format]), connect()
    report = ImportReport(choices.name, files_read=1)
    source = _named(source, _described(connection, source), choices, report)
    if source.label == "CSV":
        source = _with_dates_read(connection, source, choices.dates)
    columns = _described(connection, source)
    kind = _kind_of(columns, source)
    progress(0, 2, source.path.name)
    if source.label == "CSV":
        refuse_unclear_times(connection, source, columns)
        source = _with_figures_as_numbers(source, columns)
    _stage(connection, source, columns, choices, kind, report)
    unread = [c for other in VALUE_COLUMNS if other != kind for c in VALUE_COLUMNS[other] if c in columns]
    if unread:
        without = " and ".join(_MARKS[kind])
        report.note(f"not read: {', '.join(unread)}; import them as a file of their own, without {without}")
    if choices.bar_seconds is not None:
        refuse_other_length(connection, source, choices.bar_seconds)
    store_rows(connection, catalog, source, choices, kind, report, progress)
    return report


def store_rows(
    connection: Any,
    catalog: Path,
    source: TableSource,
    choices: ImportChoices,
    kind: str,
    report: ImportReport,
    progress: Progress = no_progress,
    *,
    whole_days: bool = True,
) -> None:
    """Put the rows of the table ``incoming`` into the data set ``choices.name``.

    Raises DataError for a symbol that does not belong to the underlying, or bars of more than one length.
    """
    known = manifest_bar_seconds(catalog, choices.name) if kind != "trades" else None
    bar_seconds = _bar_seconds(connection, source, choices, known)
    underlying = choices.underlying.upper()
    base = underlying_of_root(underlying)
    manifest_to_extend(catalog, choices.name, bar_seconds)
    shares = shown_shares(catalog, choices.name) | ({base} if choices.is_share else set())
    placed = _place_symbols(connection, source, base, kind, shares)
    underlying_type = _type_of(base, placed)
    leave_out_impossible(connection, source, kind, report)
    leave_out_repeats(connection, source, kind, report, is_snapshot=not whole_days)
    # a future trades on Sundays; the bar of a Friday may end on Saturday
    if bar_seconds % DAY_SECONDS and underlying_type != "future":
        leave_out_closed_days(connection, source, report)
    progress(1, 2, source.path.name)
    keys = write_days(
        connection, catalog, choices.name, kind, bar_seconds, placed, report, whole_days=whole_days
    )
    update_manifest(
        connection,
        catalog,
        choices.name,
        source=f"{source.label} file {source.path.name}",
        bar_seconds=bar_seconds,
        types={base: underlying_type},
        keys={base: keys},
    )
    progress(2, 2, source.path.name)


def _described(connection: Any, source: TableSource) -> dict[str, str]:
    """Return the file's columns and types."""
    refuse_missing(source.path)
    refuse_workbook(source.path)
    if not source.path.stat().st_size:
        raise DataError("the file is empty", where=str(source.path), fix="export it again")
    try:
        described = connection.execute(
            f"DESCRIBE SELECT * FROM {source.relation}",  # noqa: S608 - one of our own table functions
            [str(source.path)],
        ).fetchall()
    except duckdb_error() as error:
        raise unreadable(source, error) from error
    return {row[0]: row[1] for row in described}


def check_mapping(mapped: Mapping[str, str], names: Sequence[str], found: Sequence[str], what: str) -> None:
    """Refuse ``--map`` of a name that ``what`` does not have, or of a column that the file does not have."""
    for name, column in mapped.items():
        for wrong, known in ((name, names), (column, found)):
            if wrong not in known:
                raise DataError(
                    "no such column " + (f"of {what}" if wrong is name else "in the file"),
                    where=f"--map {name}={column}",
                    value=wrong,
                    nearest=nearest_name(wrong, known),
                    fix=f"write --map NAME=COLUMN with one of {', '.join(known)}",
                )


def _named(
    source: TableSource, columns: Iterable[str], choices: ImportChoices, report: ImportReport
) -> TableSource:
    """Return the source with the catalogue's names; without a mapping an unknown column is refused."""
    found = list(columns)
    check_mapping(choices.columns, _KNOWN_COLUMNS, found, "the catalogue")
    own = [
        column for column in found if column not in {*choices.columns, *choices.columns.values()}
    ]  # a name that is mapped is read from there alone
    unknown = [column for column in own if column not in _KNOWN_COLUMNS]
    usual = _by_usual_names(unknown, {*own, *choices.columns})
    unknown = [column for column in unknown if column not in usual.values()]
    if unknown and not choices.columns:
        path = shlex.quote(str(source.path))
        wide = f"scalpdesk data import chain {path} --name {choices.name} reads it whole"
        raise DataError(
            f"unknown column; known are {', '.join(_KNOWN_COLUMNS)}",
            where=str(source.path),
            value=", ".join(unknown),
            nearest=nearest_name(unknown[0], _KNOWN_COLUMNS),
            fix=(f"{wide}; or " if is_wide(unknown) else "")
            + f"name each to be read, --map {shlex.quote(f'NAME={unknown[0]}')}; the rest is left out",
        )
    if unknown:
        report.note(f"not read: {', '.join(unknown)}: no --map names them")
    if usual:
        report.note(f"read by their usual names: {', '.join(f'{n} from {c}' for n, c in usual.items())}")
    if "bar_start" in usual:
        column = usual["bar_start"]
        report.note(f"{column} is taken for a bar's start; if it is its end: --map ts={shlex.quote(column)}")
    read = [name for name in own if name not in {*unknown, *usual.values()}]
    return replace(source, names={**{name: name for name in read}, **usual, **choices.columns})


def _by_usual_names(unknown: Sequence[str], found: Collection[str]) -> dict[str, str]:
    """Return the file's column by the catalogue's name for those known by a usual name, one column a name.

    A bar's time is its start: a bar known too late costs a bar, one known too early looks ahead.
    """
    if is_wide(unknown):
        return {}
    titles = {plain(column): column for column in found}
    bars = any(
        set(usual.split()) & set(titles) for name, usual in BAR_NAMES.items() if name in _MARKS["trades"]
    )
    quotes = any(set(NAMES[name].split()) & set(titles) for name in _MARKS["quotes"])
    times = {"bar_start": BAR_TIMES} if bars and not quotes else {"ts": f"{NAMES['ts']} quotetime"}
    if {"ts", "bar_start"} & set(found):
        times = {}
    usual: dict[str, str] = {}
    for name, names in {
        **times,
        **{n: NAMES[n] for n in NAMES if n in _KNOWN_COLUMNS[2:]},
        **BAR_NAMES,
    }.items():
        free = [c for c in unknown if c not in usual.values() and plain(c) in names.split()]
        if name not in found and len(free) == 1:
            usual[name] = free[0]
    return usual


def _with_dates_read(connection: Any, source: TableSource, order: str | None) -> TableSource:
    """Return the source with the dates read that begin with month or day (``12/23/2015``).

    The order is the one given, or the only one in which every date of the file exists.
    """
    names = [name for name in ("ts", "bar_start", *_expiry_needed(source.names)) if name in source.names]
    largest = {}
    for name in names:
        parts = [
            f"max(regexp_extract({name}, '{_MONTH_OR_DAY_FIRST}', {group})::INTEGER)" for group in (1, 2)
        ]
        largest[name] = connection.execute(
            f"SELECT {', '.join(parts)} FROM {source.as_text(name).relation} "  # noqa: S608 - our own words
            f"WHERE regexp_matches({name}, '{_MONTH_OR_DAY_FIRST}')",
            [str(source.path)],
        ).fetchall()[0]
    largest = {name: found for name, found in largest.items() if found[0] is not None}
    first, second = (max((found[place] for found in largest.values()), default=0) for place in (0, 1))
    if order is None and first <= 12 and second <= 12:
        return source  # no such date, or refused with the line of the first
    order = order or ("mdy" if first <= 12 else "dmy")
    for name in largest:
        source = _with_date_read(connection, source, name, order)
    return source


def _with_date_read(connection: Any, source: TableSource, name: str, order: str) -> TableSource:
    """Return the source with the dates of one column read in this order."""
    formats = ", ".join(sql_text(_DATE_ORDERS[order] + time) for time in _TIMES_OF_DAY)
    written = sql_name(source.names[name])
    turned = f"regexp_replace({written}, '{_MONTH_OR_DAY_FIRST}', '\\1/\\2/\\3')"
    read = f"try_strptime(trim({turned}), [{formats}])"
    text = source.as_text(name)
    checked = replace(text, names={"text": source.names[name], "read": name}, reads={"read": read})
    row, value = connection.execute(
        "SELECT min(file_row), arg_min(text, file_row) FROM (SELECT row_number() OVER () AS file_row, * "  # noqa: S608 - our own words
        f"FROM {checked.relation}) WHERE read IS NULL AND text IS NOT NULL",
        [str(source.path)],
    ).fetchall()[0]
    if row is not None:
        raise DataError(
            f"this is no date in the order {order} of the file's other dates",
            where=f"{source.place(row)}: {name}",
            value=value,
            fix="write all of them alike, or name the order: --dates mdy or --dates dmy",
        )
    return replace(text, reads={**text.reads, name: read})


def _expiry_needed(names: Collection[str]) -> tuple[str, ...]:
    """Return the column of the expiry where the symbol is made of it; otherwise it is not read."""
    return () if "symbol" in names else ("expiry",)


def _kind_of(columns: dict[str, str], source: TableSource) -> str:
    """Return the kind of the rows; a missing column is refused."""
    kind = next((kind for kind, mark in _MARKS.items() if set(mark) & set(columns)), None)
    if kind is None:
        raise DataError(
            "the columns do not say what the rows are",
            where=str(source.path),
            value=list(columns),
            fix="quotes have bid and ask, trades open, high, low and close, open interest open_interest",
        )
    needed = [*_NEEDED[kind]]
    if "ts" not in columns:
        needed.append("bar_start")
    for column in needed:
        if column not in columns:
            raise DataError(
                f"rows of {kind.replace('_', ' ')} need a column {column}"
                + (" (or ts, the UTC instant at which a row is known)" if column == "bar_start" else ""),
                where=str(source.path),
                value=column,
                nearest=nearest_name(column, [c for c in columns if c not in needed]),
                fix=f"add the column {column} to the file",
            )
    return kind


def _with_figures_as_numbers(source: TableSource, columns: dict[str, str]) -> TableSource:
    """Return the CSV file with prices, sizes and counts read as numbers that may have decimals.

    DuckDB judges by the first 20,480 rows: where those are whole, it rounds a later 600.25 to 600.
    """
    figures = {name for table in _NEEDED for name, kind in SCHEMAS[table].items() if kind in _FIGURES}
    types = {source.names.get(name, name): "DOUBLE" for name in columns if name in figures}
    return replace(source, types={**source.types, **types})


def refuse_unclear_times(connection: Any, source: TableSource, columns: dict[str, str]) -> None:
    """Refuse times as text that DuckDB reads one way where they may mean another.

    It takes 01/04/2021 for the first of April, and a time without a zone among others with one for UTC. Where
    the first 20,480 have no zone, it drops the zone of a later one. Raises DataError with the line of the
    first such time.
    """
    for column in ("ts", "bar_start", "date", *_expiry_needed(columns)):
        unclear = {"a date that does not begin with its year can be read in two ways": f"NOT {_YEAR_FIRST}"}
        if columns.get(column) == "TIMESTAMP WITH TIME ZONE":
            unclear["other rows of the column have a zone, this one has none"] = f"NOT {_ENDS_WITH_ZONE}"
        elif columns.get(column) in ("TIMESTAMP", "DATE"):
            unclear["other rows of the column have no zone, this one has one"] = _ENDS_WITH_ZONE
        else:
            continue
        if column in source.reads:
            continue
        relation = source.as_text(column).relation
        for what, condition in unclear.items():
            row, text = connection.execute(
                "SELECT min(file_row), arg_min(written, file_row) FROM "  # noqa: S608 - a known column
                f"(SELECT row_number() OVER () AS file_row, {column} AS written FROM {relation}) "
                f"WHERE {condition}",
                [str(source.path)],
            ).fetchall()[0]
            if row is not None:
                raise DataError(
                    what,
                    where=f"{source.place(row)}: {column}",
                    value=text,
                    fix="write all of them alike, the year first, such as 2021-01-04T14:31:00Z, or name the"
                    " order of an import: --dates mdy",
                )


def _refuse_unzoned(connection: Any, source: TableSource, column: str) -> None:
    """Refuse times without a zone, with what share of them each likely zone puts into the session."""
    shares = {}
    for zone in (EXCHANGE_ZONE, "UTC"):
        local = f"({column}::TIMESTAMP AT TIME ZONE {sql_text(zone)} AT TIME ZONE {sql_text(EXCHANGE_ZONE)})"
        shares[zone] = connection.execute(
            f"SELECT avg((isodow({local}) < 6 AND {local}::TIME BETWEEN '09:30' AND '16:00')::INTEGER) "  # noqa: S608 - a known column
            f"FROM {source.relation}",
            [str(source.path)],
        ).fetchall()[0][0]
    likely = max(shares, key=lambda zone: shares[zone] or 0.0)
    inside = ", ".join(f"read as {zone} {share or 0.0:.0%}" for zone, share in shares.items())
    raise DataError(
        f"these timestamps have no zone and none is given; of the rows in the exchange's hours lie: {inside}",
        where=f"{source.path}: {column}",
        fix=f"--timezone {likely} if that is where they were recorded, or another zone",
    )


def _stage(
    connection: Any,
    source: TableSource,
    columns: dict[str, str],
    choices: ImportChoices,
    kind: str,
    report: ImportReport,
) -> None:
    """Read the file into the temporary table ``incoming`` with typed times and numbers."""
    # asked before the types of the columns: a CSV file of a header alone has text in all of them
    first = connection.execute(f"SELECT 1 FROM {source.relation} LIMIT 1", [str(source.path)]).fetchall()  # noqa: S608 - known columns only
    if not first:
        raise DataError("the file has no rows", where=str(source.path), fix="export it again")

    def instant(column: str) -> str:
        declared = columns[column]
        if declared in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"):  # the latter is what pandas writes
            return f"{column}::TIMESTAMPTZ"
        if declared.startswith("TIMESTAMP"):
            if choices.timezone is None:
                _refuse_unzoned(connection, source, column)
            return f"({column}::TIMESTAMP AT TIME ZONE {sql_text(choices.timezone or '')})"
        if declared in ("BIGINT", "DOUBLE"):  # a venue's own files count from 1970; anything else is no time
            counted = epoch_instant(f'"{column}"::VARCHAR')
            return f"({counted} AT TIME ZONE 'UTC')"
        raise DataError(
            f"this column is {declared}, not a timestamp",
            where=f"{source.path}: {column}",
            fix="write date and time in one column, such as 2021-01-04 09:31:00 or 2021-01-04T14:31:00Z",
        )

    bar_start = instant("bar_start") if "bar_start" in columns else "NULL::TIMESTAMPTZ"
    length = "seconds" if "seconds" in columns else str(choices.bar_seconds or "NULL")
    if "ts" not in columns and length == "NULL":
        length = str(_even_length(connection, source, bar_start, "symbol" if "symbol" in columns else "1"))
    ts = instant("ts") if "ts" in columns else f"{bar_start} + to_seconds({length})"
    if "ts" not in columns and length == "NULL":
        raise DataError(
            "the file has bar_start but not how long a bar is, so no row says when it is known",
            where=str(source.path),
            value="bar_start",
            fix="add a column ts or seconds, or pass --bar-seconds 60",
        )
    terms = [column for column in _CONTRACT_TERMS if column in columns]
    if "symbol" not in columns and 0 < len(terms) < len(_CONTRACT_TERMS):
        raise DataError(
            "rows of options need a column symbol, or all of expiry, strike and right: else they would be"
            " taken for the underlying's",
            where=str(source.path),
            value=", ".join(terms),
            fix="add it, with options as ROOT + yymmdd + C or P + strike x 1000 in 8 digits, or the others",
        )
    whose = "underlying" if "underlying" in columns else sql_text(choices.underlying.upper())
    symbol = "symbol" if "symbol" in columns else whose
    if "symbol" not in columns and terms:
        symbol = _symbol_of_terms(columns, whose)

    def typed_value(column: str) -> str:
        type_ = SCHEMAS[kind][column]
        if column == "volume" and column not in columns:
            report.note("no column volume: bars have volume 0, and a strategy that asks for volume says so")
            return f"0::{type_} AS volume"
        if column not in columns:
            return f'NULL::{type_} AS "{column}"'
        # NaN in an empty cell means a missing value: it would be neither carried forward nor compared
        # single precision by its digits: 603.89 there is 603.8900146484375 as a double, a price on no tick
        digits = "::VARCHAR" if columns[column] == "FLOAT" else ""
        value = f'"{column}"{digits}::{type_}'
        value = f"nullif({value}, 'nan')" if type_ == "DOUBLE" else value
        return f'{value} AS "{column}"'

    typed = ", ".join(map(typed_value, VALUE_COLUMNS[kind]))
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE incoming AS SELECT {ts} AS ts, {bar_start} AS bar_start, "  # noqa: S608 - known columns only
            f"{symbol}::VARCHAR AS written, {length}::BIGINT AS seconds, "
            f"row_number() OVER () AS file_row, {typed} FROM {source.relation}",
            [str(source.path)],
        )
    except duckdb_error() as error:
        raise unreadable(source, error) from error
    bad = connection.execute(
        "SELECT count(*) FILTER (ts IS NULL), count(*) FILTER (written IS NULL), count(*) FROM incoming"
    ).fetchall()[0]
    for count, column in zip(bad, ("ts" if "ts" in columns else "bar_start", "symbol"), strict=False):
        if count:
            raise DataError(
                f"{count} of {bad[2]} rows have no {column}", where=str(source.path), fix="fill them in"
            )
    refuse_impossible_times(connection, source)
    if kind == "quotes":
        mark_absent_sides(connection, report)


def _even_length(connection: Any, source: TableSource, start: str, whose: str) -> int | str:
    """Return how long bars last by their starts; NULL where those are few, or not evenly spaced."""
    gaps = connection.execute(
        "SELECT gap, count(*) FROM (SELECT epoch(began)::BIGINT - lag(epoch(began)::BIGINT) "  # noqa: S608 - known columns only
        f"OVER (PARTITION BY whose ORDER BY began) AS gap FROM (SELECT {start} AS began, {whose} AS whose "
        f"FROM {source.relation})) WHERE gap > 0 GROUP BY gap",
        [str(source.path)],
    ).fetchall()
    if sum(count for _, count in gaps) < FEW_BARS:
        return "NULL"
    usual = max(gaps, key=lambda each: (each[1], each[0]))[0]
    return int(usual) if usual == math.gcd(*(gap for gap, _ in gaps)) else "NULL"


def _symbol_of_terms(columns: Mapping[str, str], whose: str) -> str:
    """Return the SQL of a row's symbol by expiry, strike and right; a row without any is the underlying's."""
    expiry = '"expiry"::DATE'
    if not columns["expiry"].startswith(("DATE", "TIMESTAMP")):  # 20151224, or text
        expiry = '"expiry"::VARCHAR'
        expiry = f"coalesce(try_cast({expiry} AS DATE), try_strptime({expiry}, '%Y%m%d')::DATE)"
    root = "coalesce(root, {whose})" if "root" in columns else "{whose}"
    side = read_right('"right"::VARCHAR')
    return (
        f'CASE WHEN expiry IS NULL AND strike IS NULL AND "right" IS NULL THEN {whose} ELSE'
        f" {root.format(whose=whose)} || strftime({expiry}, '%y%m%d') || {side}"
        " || printf('%08d', round(strike::DOUBLE * 1000)::BIGINT) END"
    )


def _bar_seconds(connection: Any, source: TableSource, choices: ImportChoices, known: int | None) -> int:
    """Return the length of the bars: as given, as stored, the data set's, or a symbol's most frequent gap.

    ``known`` is what the data set has where rows are no bars: quotes and open interest may come at any pace.
    """
    stored = [
        int(row[0])
        for row in connection.execute(
            "SELECT DISTINCT coalesce(epoch_ms(ts) - epoch_ms(bar_start), seconds * 1000) AS ms "
            "FROM incoming WHERE bar_start IS NOT NULL OR seconds IS NOT NULL ORDER BY 1"
        ).fetchall()
    ]
    lengths = sorted({choices.bar_seconds * 1000, *stored} if choices.bar_seconds else set(stored))
    if len(lengths) > 1 or any(ms <= 0 or ms % 1000 for ms in lengths):
        raise DataError(
            "a data set has bars of one length, in whole seconds",
            where=str(source.path),
            value=[ms / 1000 for ms in lengths[:5]],
            fix="split the file by bar length and import each part under its own --name",
        )
    if lengths:
        return lengths[0] // 1000
    if known is not None:
        return known
    gap = connection.execute(
        "SELECT mode(gap) FROM (SELECT epoch_ms(ts) "
        "- epoch_ms(lag(ts) OVER (PARTITION BY written ORDER BY ts)) AS gap FROM incoming) WHERE gap > 0"
    ).fetchall()[0][0]
    return max(1, round(gap / 1000)) if gap else 60


def _place_symbols(
    connection: Any, source: TableSource, base: str, kind: str, shares: frozenset[str]
) -> dict[str, OptionContract | str]:
    """Map each symbol of the file to its option, or to the symbol of the underlying or future."""
    placed: dict[str, OptionContract | str] = {}
    found = connection.execute("SELECT DISTINCT written FROM incoming ORDER BY written").fetchall()
    shares |= {base} & {written.strip().upper() for (written,) in found}
    for (written,) in found:
        symbol = written.strip().upper()
        if symbol == base and kind == "quotes" and base in INDICES:
            raise DataError(
                "an index is not quoted: its level is imported as open, high, low, close and volume",
                where=str(source.path),
                value=written,
                fix="write the level into a file of its own with those columns",
            )
        if symbol == base and kind != "open_interest":
            placed[written] = symbol
            continue
        try:
            if symbol.startswith(f"{base}_") and "-" in symbol:
                placed[written] = future_option(symbol)
                continue
            if symbol.startswith(f"{base}_") and kind != "open_interest":
                placed[written] = future_contract(symbol).symbol
                continue
            option = us_option(symbol, shares)
        except UnknownClassError as error:
            if parse_occ(symbol)[0] in roots_of(base):
                raise DataError(error.what, where=str(source.path), value=written, fix=error.fix) from error
            option = None
        except ScalpdeskError:
            option = None
        if option is None or option.underlying != base:
            raise DataError(
                f"this symbol is neither {base} nor an option or a dated future on it",
                where=str(source.path),
                value=written,
                fix="pass --underlying with its underlying, or write options as ROOT + yymmdd + C or P "
                "+ strike x 1000 in 8 digits",
            )
        placed[written] = option
    return placed


def _type_of(base: str, placed: dict[str, OptionContract | str]) -> str:
    if base in INDICES:
        return "index"
    return (
        "future"
        if any(p.startswith(f"{base}_") if isinstance(p, str) else p.is_on_future for p in placed.values())
        else "equity"
    )


_DownloadedBar = tuple[str, int, float, float, float, float, float]
"""Symbol, instant at which the bar is known (UTC nanoseconds), open, high, low, close, volume."""


def import_download(
    catalog: Path,
    choices: ImportChoices,
    bars: Iterable[_DownloadedBar],
    dividends: Sequence[tuple[date, Decimal]],
    span: tuple[date, date],
) -> ImportReport:
    """Put downloaded bars and cash dividends into the data set ``choices.name``.

    Bars of the same symbols and days are replaced, and so are the dividends of ``span`` (first and last
    ex-date asked for).

    Raises
    ------
    DataError
        When there is no bar, and as :func:`import_table`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download.csv"
        with path.open("w", encoding="ascii") as out:
            out.write(f"symbol,ts,{','.join(TRADE_COLUMNS)}\n")
            for bar in bars:
                symbol, end_ns, *figures = bar
                out.write(f"{symbol},{from_ns(end_ns):%Y-%m-%dT%H:%M:%SZ},{','.join(map(repr, figures))}\n")
        report = import_table(catalog, path, replace(choices, is_share=True))
    paid = (BookedAction(day, "dividend", amount) for day, amount in dividends)
    kept = "action <> 'dividend' OR ex_date NOT BETWEEN ? AND ?"
    add_actions(catalog, choices.underlying.upper(), paid, report, kept, span)
    return report
