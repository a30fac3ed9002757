"""Import of files of data vendors: recognised by their columns, read one by one, resumed where it stopped.

A file is read once into DuckDB, which keeps on the disk what does not fit into :data:`MEMORY`, and goes into
the catalogue as :mod:`scalpdesk.datasets.importers.tabular` writes it. Imported files stand in
``imported.json`` beside the manifest.
"""

import re
import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import DataError, ScalpdeskError, nearest_name
from scalpdesk.core.units import count_text
from scalpdesk.datasets.importers.base import (
    FETCH_AGAIN,
    ImportReport,
    Progress,
    UnreadableFileError,
    refuse_missing,
    refuse_workbook,
)
from scalpdesk.datasets.importers.chain_columns import prices_of_underlying
from scalpdesk.datasets.importers.staged import (
    NO_VALUE,
    TableSource,
    leave_out,
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
from scalpdesk.datasets.importers.vendor_formats import (
    NEW_YORK,
    OCC_TAIL,
    ROUND_LOT,
    FileFormat,
    RowKind,
)
from scalpdesk.datasets.manifests import manifest_bar_seconds, manifest_to_extend, update_manifest
from scalpdesk.datasets.store import (
    SCHEMAS,
    VALUE_COLUMNS,
    connect,
    duckdb_error,
    replace_file,
    sql_name,
    sql_text,
)
from scalpdesk.instruments.classes import INDICES, UnknownClassError, roots_of, us_option
from scalpdesk.instruments.contract import OptionContract

_IMPORTED = "imported.json"
MEMORY = "2GB"
"""Memory of DuckDB in an import; what does not fit goes to the folder of temporary files."""
_CSV_ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".zip")
_SHARE = re.compile(r"[A-Z][A-Z0-9.]{0,11}\Z")
_ALL_SHARES = 0.95
"""Part of the sizes that are whole lots, from which sizes are shares."""
_LATER = 1_000_000_000_000
"""More than the rows of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorChoices:
    """Choices of the user for an import."""

    name: str
    """Data set."""
    underlyings: tuple[str, ...] = ()
    """Underlyings or option roots to keep; empty for all."""
    symbol: str | None = None
    """Contract or share of rows without one."""
    bar_seconds: int | None = None
    """Length of bars; None to take it from the file, a minute for bars made of trades."""
    every: int | None = None
    """Keep the last quote of each interval of so many seconds; None for every quote."""
    again: bool = False
    """Also files that are in."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Underlyings with the roots of their options."""
        own = [name.upper().lstrip("^") for name in self.underlyings]
        roots = [root for name in own for root in roots_of(name)]
        return tuple(sorted({*own, *roots}))


class _ImportedFile(msgspec.Struct, frozen=True):
    stamp: str
    """Size, time of change and choices: another stamp is another file."""
    keys: dict[str, list[str]]
    """Folders written, by underlying."""


class _ImportedFiles:
    """Files that are in a data set whole."""

    def __init__(self, catalog: Path, name: str) -> None:
        self._path = catalog / name / _IMPORTED
        self._files: dict[str, _ImportedFile] = {}
        if self._path.is_file():
            try:
                self._files = msgspec.json.decode(self._path.read_bytes(), type=dict[str, _ImportedFile])
            except msgspec.MsgspecError as error:
                raise DataError(
                    "the list of imported files is damaged",
                    where=str(self._path),
                    fix="delete it: the files are then imported again",
                ) from error

    def find(self, name: str, stamp: str) -> _ImportedFile | None:
        found = self._files.get(name)
        return found if found is not None and found.stamp == stamp else None

    def add(self, name: str, stamp: str, keys: dict[str, set[str]]) -> None:
        self._files[name] = _ImportedFile(stamp, {base: sorted(found) for base, found in keys.items()})
        replace_file(self._path, msgspec.json.encode(dict(sorted(self._files.items()))).decode())


_Stage = Callable[[Any, Path, VendorChoices], tuple[FileFormat, TableSource] | None]
"""Reads a file into the table ``file_rows``, rows of ``wanted`` alone; None where it has no market data."""


def import_files(
    catalog: Path,
    path: Path,
    vendor: str,
    stage: _Stage,
    choices: VendorChoices,
    progress: Progress,
    *,
    endings: Sequence[str] = _CSV_ENDINGS,
) -> ImportReport:
    """Import a file, or all files below a folder with one of the ``endings``.

    A file that is in and has not changed since is passed over. Stored rows of a symbol between its first and
    its last new row are replaced. Raises DataError when there is no such file, no file can be read, or a row
    has no contract or no time.
    """
    files = _files_of(path, endings, vendor)
    report = ImportReport(choices.name)
    imported = _ImportedFiles(catalog, choices.name)
    manifest_bar_seconds(catalog, choices.name)  # refuses a name that no data set can have
    connection = connect()
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    run = _VendorImport(connection, catalog, choices, report)
    passed = 0
    try:
        for done, file in enumerate(files):
            label = file.relative_to(path).as_posix() if path.is_dir() else file.name
            stat = file.stat()
            chosen = (choices.wanted, choices.symbol, choices.bar_seconds, choices.every)
            stamp = f"{stat.st_size} {stat.st_mtime_ns} {chosen}"
            known = None if choices.again else imported.find(label, stamp)
            if known is not None:
                passed += 1
                run.add_keys({base: set(keys) for base, keys in known.keys.items()})
                continue
            with report.passing_over():
                show = partial(progress, done, len(files))
                show(f"{file.name}: reading")
                keys = run.add_file(file, stage, show)
                imported.add(label, stamp, keys)
                report.files_read += 1
    finally:
        run.finish(f"{vendor} {path.name}")
    progress(len(files), len(files), "")
    if passed:
        report.note(f"{count_text(passed, 'file')} passed over: in already, unchanged; --again reads them")
    if report.unreadable and not report.files_read and not passed:
        raise report.unreadable[0]
    return report


def _files_of(path: Path, endings: Sequence[str], vendor: str) -> list[Path]:
    refuse_missing(path, may_be_folder=True)
    refuse_workbook(path)
    found = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    files = [each for each in found if each.name.lower().endswith(tuple(endings))]
    if not files:
        raise DataError(
            f"no file of {vendor} is here",
            where=str(path),
            value=", ".join(each.name for each in found[:5]),
            fix=f"name a file that ends in {', '.join(endings)}, or a folder with such files",
        )
    return files


class _VendorImport:
    """One import: its connection, the bar length of its data set, and the folders it has written."""

    def __init__(self, connection: Any, catalog: Path, choices: VendorChoices, report: ImportReport) -> None:
        self._connection, self._catalog, self._choices = connection, catalog, choices
        self._report = report
        self._seconds: int | None = None
        self._keys: dict[str, set[str]] = {}
        self._shares = shown_shares(catalog, choices.name)

    def add_keys(self, keys: dict[str, set[str]]) -> None:
        """Keep the folders written of each underlying."""
        for base, found in keys.items():
            self._keys.setdefault(base, set()).update(found)

    def add_file(self, path: Path, stage: _Stage, show: Callable[[str], None]) -> dict[str, set[str]]:
        """Import one file, each step of which is shown; return the folders written by underlying."""
        connection, choices = self._connection, self._choices
        wanted = ", ".join(f"({sql_text(name)})" for name in choices.wanted)
        connection.execute("CREATE OR REPLACE TEMP TABLE wanted (root VARCHAR)")
        indices = ", ".join(f"({sql_text(name)})" for name in sorted(INDICES))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE indices AS FROM (VALUES {indices}) AS t(symbol)")
        if wanted:
            connection.execute(f"INSERT INTO wanted VALUES {wanted}")  # noqa: S608 - quoted texts
        staged = stage(connection, path, choices)
        keys: dict[str, set[str]] = {}
        if staged is None:
            return keys
        form, source = staged
        _refuse(connection, form, source)
        if form.share:
            query = f"SELECT DISTINCT {form.share} FROM file_rows"  # noqa: S608 - a format's own SQL
            self._shares |= {str(name) for (name,) in connection.execute(query).fetchall()}
        for rows in form.rows:
            show(f"{path.name}: {rows.kind.replace('_', ' ')}")
            part = self._add_rows(form, rows, source)
            self.add_keys(part)
            for base, found in part.items():
                keys.setdefault(base, set()).update(found)
        if not keys:
            of = f" of {', '.join(choices.wanted)}" if choices.wanted else ""
            self._report.note(f"no rows{of} in {path.name}")
        return keys

    def _add_rows(self, form: FileFormat, rows: RowKind, source: TableSource) -> dict[str, set[str]]:
        """Write the rows of one kind; return the folders written by underlying."""
        connection, report = self._connection, self._report
        seconds = self._bar_seconds(form, rows)
        kind = "trades" if rows.kind == "prints" else rows.kind
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE incoming AS {_incoming(rows, seconds, self._choices.every)}"
        )
        if rows is form.rows[-1]:
            connection.execute("DROP TABLE file_rows")
        if not connection.execute("SELECT count(*) FROM incoming").fetchall()[0][0]:
            return {}
        placed, bases = _placed(connection, source, self._shares, report)
        refuse_impossible_times(connection, source)
        if self._seconds is None:
            manifest_to_extend(self._catalog, self._choices.name, seconds)
            self._seconds = seconds
        elif self._seconds != seconds:
            raise DataError(
                f"the data set holds bars of {self._seconds} s, these are of {seconds} s",
                where=str(source.path),
                value=seconds,
                fix="import them under another name: --name NAME",
            )
        if kind == "quotes":
            connection.execute("UPDATE incoming SET bid_size = 0 WHERE bid = 0 AND bid_size <> 0")
            mark_absent_sides(connection, report)
        if rows.is_start and form.seconds is None:
            refuse_other_length(connection, source, seconds)
        leave_out_impossible(connection, source, kind, report)
        if kind == "quotes" and rows.latest is None and self._choices.every is None:
            leave_out_repeats(connection, source, kind, report, is_snapshot=True)
        if rows.lots_until is not None:
            self._read_lots(rows, placed)
        leave_out_closed_days(connection, source, report)
        written = write_days(
            connection, self._catalog, self._choices.name, kind, seconds, placed, report, whole_days=False
        )
        return {base: keys & written for base, keys in bases.items() if keys & written}

    def _read_lots(self, rows: RowKind, placed: Mapping[str, OptionContract | str]) -> None:
        """Turn round lots of shares into shares, as the day and the file's own sizes say, and note it."""
        shares = ", ".join(sql_text(written) for written, what in placed.items() if isinstance(what, str))
        if not shares:
            return
        early = f"written IN ({shares}) AND (ts AT TIME ZONE {NEW_YORK})::DATE < '{rows.lots_until}'"
        whole = f"(bid_size % {ROUND_LOT} = 0 AND ask_size % {ROUND_LOT} = 0)::INTEGER"
        in_lots, count = self._connection.execute(
            f"SELECT avg({whole}) < {_ALL_SHARES}, count(*) FROM incoming "  # noqa: S608 - our own words
            f"WHERE {early} AND greatest(bid_size, ask_size) > 0"
        ).fetchall()[0]
        if not count:
            return
        if in_lots:
            self._connection.execute(
                f"UPDATE incoming SET bid_size = bid_size * {ROUND_LOT}, ask_size = ask_size * {ROUND_LOT} "  # noqa: S608 - the same
                f"WHERE {early}"
            )
        what = (
            f"in round lots, read as {ROUND_LOT} shares each"
            if in_lots
            else "in shares, as all are whole lots"
        )
        self._report.note(f"sizes of shares before {rows.lots_until} are {what}")

    def _bar_seconds(self, form: FileFormat, rows: RowKind) -> int:
        """Return the length of the bars: the format's, as chosen, the data set's or the most frequent gap."""
        known = self._seconds or manifest_bar_seconds(self._catalog, self._choices.name)
        if form.seconds is not None:
            return form.seconds
        if self._choices.bar_seconds is not None:
            return self._choices.bar_seconds
        if known is not None and (rows.kind != "trades" or not rows.is_start):
            return known
        if not form.has_intervals or rows.kind == "prints":
            return 60
        gap, share = self._connection.execute(
            f"WITH instants AS (SELECT DISTINCT {rows.symbol} AS written, epoch_ms({rows.at}) AS ms "  # noqa: S608 - a format's own SQL
            "FROM file_rows), gaps AS (SELECT ms - lag(ms) OVER (PARTITION BY written ORDER BY ms) AS gap "
            "FROM instants) SELECT mode(gap), avg((gap = (SELECT mode(gap) FROM gaps))::INTEGER) FROM gaps "
            "WHERE gap > 0"
        ).fetchall()[0]
        if gap and gap % 1000 == 0 and gap <= 3_600_000 and share > 0.5:
            return int(gap // 1000)
        return 60

    def finish(self, source: str) -> None:
        """Write the manifest."""
        if not self._keys:
            return
        name = self._choices.name
        seconds = self._seconds or manifest_bar_seconds(self._catalog, name) or 60
        update_manifest(
            self._connection,
            self._catalog,
            name,
            source=source,
            bar_seconds=seconds,
            types={base: "index" if base in INDICES else "equity" for base in self._keys},
            keys=self._keys,
        )


def _incoming(rows: RowKind, seconds: int, every: int | None) -> str:
    """Return the SQL of the rows of one kind with the columns that importers work on.

    Prints become bars of so many seconds. The last row of a symbol and an instant remains, and with ``every``
    the last quote of a symbol in each interval.
    """
    latest = f"({rows.latest or 'file_row'})::HUGEINT * {_LATER} + file_row"
    if rows.kind == "prints":
        start = f"time_bucket(to_seconds({seconds}), moment)"
        price, size = rows.values["price"], rows.values["size"]
        return (
            f"SELECT {start} + to_seconds({seconds}) AS ts, {start} AS bar_start, written, "  # noqa: S608 - a format's own SQL
            "min(file_row) AS file_row, arg_min(price, latest) AS open, max(price) AS high, "
            "min(price) AS low, arg_max(price, latest) AS close, sum(size) AS volume "
            f"FROM (SELECT {rows.at} AS moment, {rows.symbol} AS written, file_row, {latest} AS latest, "
            f"{price} AS price, {size} AS size FROM file_rows WHERE {rows.where}) "
            f"WHERE price IS NOT NULL AND size IS NOT NULL GROUP BY written, {start}"
        )
    values = ", ".join(
        f"({rows.values.get(column, 'NULL')})::{SCHEMAS[rows.kind][column]} AS {sql_name(column)}"
        for column in VALUE_COLUMNS[rows.kind]
    )
    stamp = f"{rows.at} + to_seconds({seconds})" if rows.is_start else rows.at
    start = rows.at if rows.is_start else "NULL::TIMESTAMPTZ"
    of = "ts"
    if every is not None and rows.kind == "quotes":
        of = f"time_bucket(to_seconds({every}), ts - to_microseconds(1))"
    if rows.kind == "open_interest":
        of = "ts::DATE"
    one = f" QUALIFY row_number() OVER (PARTITION BY written, {of} ORDER BY ts DESC, latest DESC) = 1"
    if rows.kind == "quotes" and rows.latest is None and every is None:
        one = ""  # equal and contradicting rows are told apart
    return (
        f"SELECT * EXCLUDE (latest) FROM (SELECT {stamp} AS ts, {start} AS bar_start, "  # noqa: S608 - the same
        f"{rows.symbol} AS written, file_row, {latest} AS latest, {values} FROM file_rows "
        f"WHERE {rows.where}){one}"
    )


def _refuse(connection: Any, form: FileFormat, source: TableSource) -> None:
    """Refuse a file by the conditions of its format."""
    for condition, (what, fix) in form.refusals.items():
        if connection.execute(f"SELECT {condition} FROM file_rows").fetchall()[0][0]:  # noqa: S608 - a format's own SQL
            raise UnreadableFileError(what, where=str(source.path), fix=fix)


def _placed(
    connection: Any, source: TableSource, shares: frozenset[str], report: ImportReport
) -> tuple[dict[str, OptionContract | str], dict[str, set[str]]]:
    """Return the contract of each symbol of the file, and the folders by underlying.

    Raises UnreadableFileError for a row without an instant or a contract; names its line.
    """
    row, count = connection.execute(
        "SELECT min(file_row), count(*) FROM incoming WHERE ts IS NULL"
    ).fetchall()[0]
    if count:
        raise UnreadableFileError(
            f"{count_text(count, 'row')} without a time that can be read",
            where=source.place(row),
            fix="correct the line, or leave it out",
        )
    placed: dict[str, OptionContract | str] = {}
    bases: dict[str, set[str]] = {}
    unknown: dict[str, UnknownClassError] = {}
    found = connection.execute(
        "SELECT written, min(file_row) FROM incoming GROUP BY written ORDER BY 2"
    ).fetchall()
    names = {str(written).strip().upper() for written, _ in found}
    shares |= {name for name in names if not re.search(OCC_TAIL, name)}
    for written, row in found:
        try:
            contract = _contract_of(written, shares)
        except UnknownClassError as error:
            unknown.setdefault(re.sub(OCC_TAIL, "", written.strip().upper()).strip(), error)
            continue
        if contract is None:
            raise UnreadableFileError(
                "this row names no share and no option",
                where=source.place(row),
                value=written,
                fix="correct root, expiration, strike and right, or name the contract of all rows: --symbol",
            )
        placed[written] = contract
        base, key = (
            (contract, contract) if isinstance(contract, str) else (contract.underlying, contract.root)
        )
        bases.setdefault(base, set()).add(key)
    for root, why in unknown.items():
        if not placed:
            raise UnreadableFileError(why.what, where=str(source.path), value=root, fix=why.fix)
        of_root = f"regexp_matches(upper(trim(written)), '^{root} *[0-9]')"
        leave_out(connection, source, of_root, f"of {root} ({why.what}; {why.fix})", report)
    return placed, bases


def _contract_of(written: str | None, shares: Collection[str]) -> OptionContract | str | None:
    symbol = (written or "").strip().upper()
    if re.search(OCC_TAIL, symbol):
        try:
            return us_option(symbol, shares)
        except UnknownClassError:
            raise
        except ScalpdeskError:
            return None
    return symbol if _SHARE.match(symbol) else None


# CSV files ----------------------------------------------------------------------------------------------


def csv_stage(formats: Sequence[FileFormat]) -> _Stage:
    """Return the reader of CSV files of these formats; plain, gzip, zstd or the one member of a zip."""

    def stage(connection: Any, path: Path, choices: VendorChoices) -> tuple[FileFormat, TableSource]:
        source = TableSource(path, "CSV")
        with as_csv(path) as file:
            header = _header(connection, file, source)
            form = _format_of(header, formats, source)
            if not form.share and (prices := prices_of_underlying(header)):
                raise UnreadableFileError(
                    f"the price of the underlying, {', '.join(prices)}, is no part of this format",
                    where=f"{path}:1",
                    fix=f"scalpdesk data import chain {shlex.quote(str(path))} --name {choices.name} reads"
                    " it; or take the file as the vendor delivers it",
                )
            own = {name.lower(): name for name in header}
            read = {**form.columns, **form.optional}
            types = {own[column.lower()]: kind for column, kind in read.items() if column.lower() in own}
            picked = [
                f"{sql_name(own[column.lower()])} AS {sql_name(column)}"
                if column.lower() in own
                else f"NULL::{kind} AS {sql_name(column)}"
                for column, kind in read.items()
            ]
            given = "NULL" if choices.symbol is None else sql_text(choices.symbol.upper())
            nulls = ", ".join(map(sql_text, NO_VALUE))
            typed = ", ".join(f"{sql_text(column)}: {sql_text(kind)}" for column, kind in types.items())
            select = (
                f"SELECT row_number() OVER () AS file_row, {given}::VARCHAR AS given, {', '.join(picked)} "  # noqa: S608 - quoted names
                f"FROM read_csv(?, header = true, delim = ',', "
                f"auto_type_candidates = ['VARCHAR'], nullstr = [{nulls}], types = {{{typed}}})"
            )
            kept = f"{form.root} IN (FROM wanted)" if choices.wanted else "true"
            try:
                connection.execute(
                    f"CREATE OR REPLACE TEMP TABLE file_rows AS FROM ({select}) WHERE {kept}",
                    [str(file)],
                )
                if choices.wanted:
                    _refuse_no_contract(connection, form, source, select, file)
            except duckdb_error() as error:
                raise _damaged(source, error) from error
        return form, source

    return stage


def _refuse_no_contract(
    connection: Any, form: FileFormat, source: TableSource, select: str, file: Path
) -> None:
    """Refuse a file of which no row is wanted because its rows do not say what they are of."""
    if connection.execute("SELECT count(*) FROM file_rows").fetchall()[0][0]:
        return
    nameless, row = connection.execute(
        f"SELECT count(*), min(file_row) FROM ({select}) WHERE {form.root} IS NULL",  # noqa: S608 - a format's own SQL
        [str(file)],
    ).fetchall()[0]
    if nameless:
        raise UnreadableFileError(
            f"{count_text(nameless, 'row')} without a column that says of which option or share",
            where=source.place(row),
            fix="name it: --symbol SYMBOL",
        )


def _damaged(source: TableSource, error: Exception) -> UnreadableFileError:
    found = unreadable(source, error)
    return UnreadableFileError(
        found.what, where=found.where, fix="correct the line, or fetch the file again from the vendor"
    )


@contextmanager
def as_csv(path: Path) -> Iterator[Path]:
    """Give the file as DuckDB reads it: the member of a zip is unpacked to the disk."""
    refuse_missing(path)
    refuse_workbook(path)
    if not path.name.lower().endswith(".zip"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="scalpdesk-") as folder:
        unpacked = Path(folder) / "rows.csv"
        try:
            with zipfile.ZipFile(path) as archive:
                members = [each for each in archive.infolist() if each.filename.lower().endswith(".csv")]
                trouble = None
                if len(members) != 1:
                    trouble = f"it has {len(members)} CSV files; one is read"
                elif members[0].file_size > shutil.disk_usage(folder).free:
                    trouble = f"it unpacks to {members[0].file_size} bytes, more than the disk has free"
                if trouble is not None:
                    raise UnreadableFileError(
                        f"this zip is not read: {trouble}", where=str(path), fix="unpack it, and import that"
                    )
                with archive.open(members[0]) as packed, unpacked.open("wb") as out:
                    shutil.copyfileobj(packed, out)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
            raise UnreadableFileError(
                f"not a readable zip: {error}", where=str(path), fix=FETCH_AGAIN
            ) from error
        yield unpacked


def _header(connection: Any, file: Path, source: TableSource) -> list[str]:
    """Return the columns of a CSV file."""
    try:
        first = connection.execute(
            "SELECT * FROM read_csv(?, header = false, all_varchar = true, delim = ',') LIMIT 1", [str(file)]
        ).fetchall()
    except duckdb_error() as error:
        raise _damaged(source, error) from error
    return [str(name or "").strip() for name in first[0]] if first else []


def _format_of(header: Sequence[str], formats: Sequence[FileFormat], source: TableSource) -> FileFormat:
    """Return the first format whose columns the file has."""
    titles = {name.lower() for name in header}
    for form in formats:
        if set(form.columns) <= titles and not set(form.without) & titles:
            return form
    missing = {
        form.name: [column for column in form.columns if column not in titles]
        or [f"none of {', '.join(form.without)}"]
        for form in formats
    }
    closest = min(missing, key=lambda name: len(missing[name]))
    raise UnreadableFileError(
        f"the columns are of none of the formats {', '.join(missing)}; {closest} also needs "
        + ", ".join(missing[closest]),
        where=f"{source.path}:1",
        value=",".join(header)[:200],
        nearest=nearest_name(missing[closest][0], header),
        fix="take the file as the vendor delivers it, or name its columns: scalpdesk data import csv --map",
    )
