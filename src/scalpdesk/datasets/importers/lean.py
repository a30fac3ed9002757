"""Import of LEAN's ``Data`` folder: bars, option universes, factor files, interest rates.

Format of the bars (QuantConnect LEAN repository, ``Data/<security>/readme.md``): the first column is
milliseconds since midnight of the bar's *start*, in the ``dataTimeZone`` of the market hours database (New
York for shares and options, Chicago for the SPX index, UTC for ES); prices of shares and options are in
ten-thousandths, all others plain; an empty side with size 0 had no update in the bar.

Option universes, ``Data/<option|indexoption>/<market>/universes/<root>/<yyyymmdd>.csv``, are the chain at the
end of a day with LEAN's own Greeks. The file of a day has that day's open, high, low, close and volume (SPX
2021-01-04: 3700.65, the close of that day), so its rows are known only after the day. A row without an expiry
is the underlying.
"""

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.base import (
    FETCH_AGAIN,
    ImportReport,
    Progress,
    UnreadableFileError,
    no_progress,
    open_archive,
    read_members,
    write_numbered_lines,
)
from scalpdesk.datasets.importers.lean_files import (
    SCALED,
    DataZones,
    LeanFile,
    LeanMember,
    day_of,
    find_files,
    is_chain,
    is_wanted,
    lean_root,
    parse_member,
)
from scalpdesk.datasets.manifests import manifest_to_extend, update_manifest
from scalpdesk.datasets.store import (
    CHAIN_COLUMNS,
    OPTION_TABLES,
    SCHEMAS,
    VALUE_COLUMNS,
    connect,
    day_file,
    duckdb_error,
    sql_text,
    write_table,
)
from scalpdesk.instruments.classes import INDICES, OptionClass, option_class, underlying_of_root
from scalpdesk.instruments.sessions import next_session

_CHAIN_SECONDS = 86_400

_FILE_COLUMNS = {"expiry": "VARCHAR", "strike": "DOUBLE", "right": "VARCHAR"} | dict.fromkeys(
    CHAIN_COLUMNS, "VARCHAR"
)


@dataclass(frozen=True, slots=True)
class _ChainFile:
    """File with the chain of one root on one day."""

    path: Path
    security: str
    market: str
    root: str
    day: date


def find_chains(root: Path, only: Iterable[str] = ()) -> list[_ChainFile]:
    """List the universes below LEAN's ``Data`` folder; ``only`` as for bars, they count as ``daily``."""
    wanted = [word.lower() for word in only]
    found = []
    for path in sorted(root.glob("*option/*/universes/*/*.csv")):
        parts = path.relative_to(root).parts
        day = day_of(path.stem) if is_chain(parts) else None
        if day is not None and is_wanted({parts[0], parts[3].lower(), "daily", day.isoformat()}, wanted):
            found.append(_ChainFile(path, parts[0], parts[1], parts[3].upper(), day))
    return found


def _import_chain(connection: Any, catalog: Path, report: ImportReport, chain: _ChainFile, zone: str) -> None:
    """Import one day's chain as a day file.

    A figure that is no number becomes null and is noted (LEAN has a line with two figures joined). Raises
    UnreadableFileError when a row has no readable strike, expiry or right; names the file.
    """
    try:
        _load(connection, chain, zone)
        spoilt = connection.execute(
            "SELECT "  # noqa: S608 - our own columns
            + " + ".join(
                f'count(*) FILTER ("{c}" IS NOT NULL AND try_cast("{c}" AS DOUBLE) IS NULL)'
                for c in CHAIN_COLUMNS
            )
            + " FROM chain"
        ).fetchall()[0][0]
        columns = ", ".join(
            f'{"try_cast" if c in CHAIN_COLUMNS else "cast"}("{c}" AS {kind}) AS "{c}"'
            for c, kind in SCHEMAS["chains"].items()
        )
        rows = write_table(
            connection,
            f"SELECT {columns} FROM chain ORDER BY symbol",  # noqa: S608 - our own columns
            day_file(catalog, report.name, "chains", chain.root, chain.day.isoformat()),
        )
    except duckdb_error() as error:
        raise UnreadableFileError(
            f"a row of this universe is not what LEAN writes: {str(error).splitlines()[0]}",
            where=str(chain.path),
            fix=FETCH_AGAIN,
        ) from error
    if spoilt:
        report.note(f"{spoilt} figures that are no numbers left out of the {chain.root} chain of {chain.day}")
    report.add("chains", chain.root, rows)
    report.files_read += 1


def _load(connection: Any, chain: _ChainFile, zone: str) -> None:
    """Read the file into the temporary table ``chain``, figures as text."""
    spec = ", ".join(f"{sql_text(column)}: {sql_text(kind)}" for column, kind in _FILE_COLUMNS.items())
    style = (option_class(chain.root, chain.day) or OptionClass()).exercise.value
    thousandths = "lpad(cast(round(strike * 1000) AS BIGINT)::VARCHAR, 8, '0')"
    symbol = f'$root || substr(expiry, 3) || "right" || {thousandths}'
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE chain AS "  # noqa: S608 - our own columns
        f"WITH lines AS (SELECT * FROM read_csv($path, header = true, auto_detect = false, delim = ',', "
        f"columns = {{{spec}}})), "
        "day AS (SELECT $midnight::TIMESTAMP AT TIME ZONE $zone AS bar_start) "
        f"SELECT bar_start + to_seconds({_CHAIN_SECONDS}) AS ts, bar_start, {symbol} AS symbol, "
        "$root AS root, $style AS style, "
        "(SELECT max(try_cast(close AS DOUBLE)) FROM lines WHERE expiry IS NULL) AS underlying_close, "
        "lines.* REPLACE (strptime(expiry, '%Y%m%d')::DATE AS expiry) "
        "FROM lines, day WHERE expiry IS NOT NULL",
        {
            "path": str(chain.path),
            "midnight": f"{chain.day.isoformat()} 00:00:00",
            "zone": zone,
            "root": chain.root,
            "style": style,
        },
    )


NAME = "lean"

_UNSCALED = frozenset({"bid_size", "ask_size", "volume", "open_interest"})

_TYPE_OF_SECURITY = {
    "equity": "equity",
    "option": "equity",
    "index": "index",
    "indexoption": "index",
    "future": "future",
    "futureoption": "future",
}


def set_name(name: str, resolution: str) -> str:
    """Return the data set for bars of a resolution: ``name`` itself for minutes."""
    return name if resolution == "minute" else f"{name}-{resolution}"


def import_lean(
    catalog: Path,
    data: Path,
    *,
    name: str = NAME,
    only: Iterable[str] = (),
    progress: Progress = no_progress,
) -> list[ImportReport]:
    """Import LEAN's folder into the catalogue; return one report for each data set.

    Minute bars become the data set ``name``; seconds, hours and days ``name-second``, ``name-hour``,
    ``name-daily``. A repeated import replaces the same days and keeps the others. A damaged file is named in
    the report and passed over. Raises DataError when the folder is not LEAN's, ``only`` matches nothing, or
    no file can be read.
    """
    root = lean_root(data)
    chains = find_chains(root, only)
    files, passed_over = find_files(root, only, may_be_none=bool(chains))
    zones = DataZones(root)
    run = _ImportRun(connect(), catalog, name)
    total = len(files) + len(chains)
    for done, file in enumerate(files):
        progress(done, total, str(file.path.relative_to(root)))
        report = run.report_for(file.security, file.symbol, file.resolution, file.bar_seconds)
        with report.passing_over():
            _import_file(run.connection, catalog, report, file, zones.of(file))
            report.files_read += 1
    for done, chain in enumerate(chains, start=len(files)):
        progress(done, total, str(chain.path.relative_to(root)))
        report = run.report_for(chain.security, chain.root, "daily", _CHAIN_SECONDS)
        zone = zones.of_security(chain.security, chain.market)
        with report.passing_over():
            _import_chain(run.connection, catalog, report, chain, zone)
    first = next((error for report in run.reports.values() for error in report.unreadable), None)
    if first is not None and not any(report.files_read for report in run.reports.values()):
        raise first
    progress(total, total, "factor files and rates")
    for target, report in run.reports.items():
        for text in passed_over:
            report.note(text)
        if not zones.found:
            report.note("no market-hours-database.json: the usual zone of each security was used")
        for symbol in sorted({key for group in run.keys[target].values() for key in group}):
            with report.passing_over():
                _import_factor_file(run.connection, catalog, report, root, symbol)
        with report.passing_over():
            _import_rates(run.connection, catalog, report, root)
        update_manifest(
            run.connection,
            catalog,
            target,
            source="LEAN Data folder",
            bar_seconds=run.bar_seconds[target],
            types={underlying: run.types[underlying] for underlying in run.keys[target]},
            keys=run.keys[target],
            notes=report.notes,
        )
    return list(run.reports.values())


class _ImportRun:
    """Data sets written by one import, with their bar length, underlyings and folders."""

    def __init__(self, connection: Any, catalog: Path, name: str) -> None:
        self.connection, self._catalog, self._name = connection, catalog, name
        self.reports: dict[str, ImportReport] = {}
        self.bar_seconds: dict[str, int] = {}
        self.keys: dict[str, dict[str, set[str]]] = {}
        self.types: dict[str, str] = {}

    def report_for(self, security: str, symbol: str, resolution: str, bar_seconds: int) -> ImportReport:
        """Return the report of a file's data set; on first use, check that it can be extended."""
        target = set_name(self._name, resolution)
        if target not in self.reports:
            manifest_to_extend(self._catalog, target, bar_seconds)
            self.reports[target] = ImportReport(target)
            self.bar_seconds[target] = bar_seconds
            self.keys[target] = {}
        underlying = underlying_of_root(symbol).partition("_")[0]
        if security == "indexoption" and underlying not in INDICES:
            raise DataError(
                "it is not known how options of this root settle",
                where=security,
                value=symbol,
                fix=f"add [classes.{symbol}] with kind, settlement and underlying to scalpdesk.toml",
            )
        self.types[underlying] = _TYPE_OF_SECURITY[security]
        self.keys[target].setdefault(underlying, set()).add(symbol)
        return self.reports[target]


def _import_file(connection: Any, catalog: Path, report: ImportReport, file: LeanFile, zone: str) -> None:
    """Import one archive as a day file (one a year for hourly and daily bars)."""
    members: list[LeanMember] = []
    with tempfile.TemporaryDirectory(prefix="scalpdesk-lean-") as folder:
        lines = Path(folder) / "lines.csv"
        with open_archive(file.path) as archive, lines.open("wb") as out:
            for member_name, content in read_members(archive):
                member = parse_member(file, member_name)
                if member is None:
                    report.note(f"passed over: {member_name} in {file.path.name}")
                    continue
                write_numbered_lines(out, len(members), content)
                members.append(member)
        if not members or lines.stat().st_size == 0:
            report.note(f"no rows in {file.path.name}")
            return
        try:
            _load_lines(connection, lines, file, zone, members)
        except duckdb_error() as error:
            raise UnreadableFileError(
                f"a row of this archive is not what LEAN writes: {str(error).splitlines()[0]}",
                where=str(file.path),
                fix=FETCH_AGAIN,
            ) from error
    columns = ", ".join(f'"{column}"::{kind} AS "{column}"' for column, kind in SCHEMAS[file.table].items())
    if file.day is not None:
        days = [file.day.isoformat()]
    else:
        years = connection.execute("SELECT DISTINCT year(ts) FROM lean ORDER BY 1").fetchall()
        days = [str(year) for (year,) in years]
    for day in days:
        rows = write_table(
            connection,
            f"SELECT {columns} FROM lean WHERE ? OR year(ts)::VARCHAR = ? ORDER BY ts, symbol",  # noqa: S608 - our own columns
            day_file(catalog, report.name, file.table, file.symbol, day),
            parameters=[file.day is not None, day],
        )
        report.add(file.table, file.symbol, rows)
    connection.execute("DROP TABLE lean")


def _load_lines(connection: Any, lines: Path, file: LeanFile, zone: str, members: list[LeanMember]) -> None:
    """Read the numbered lines into the temporary table ``lean`` in the catalogue's columns."""
    values = VALUE_COLUMNS[file.kind]
    stamp = "BIGINT" if file.day is not None else "VARCHAR"
    typed = {"member": "INTEGER", "stamp": stamp} | dict.fromkeys(values, "DOUBLE")
    spec = ", ".join(f"{sql_text(column)}: {sql_text(kind)}" for column, kind in typed.items())
    wall = "strptime(stamp, '%Y%m%d %H:%M')"
    if file.day is not None:
        wall = f"TIMESTAMP {sql_text(file.day.isoformat())} + to_milliseconds(stamp)"
    start = f"(({wall}) AT TIME ZONE {sql_text(zone)})"
    scaled = file.security in SCALED
    prices = ", ".join(
        f'"{column}" / 10000.0 AS "{column}"' if scaled and column not in _UNSCALED else f'"{column}"'
        for column in values
    )
    book = {
        "member": np.arange(len(members), dtype=np.int32),
        "symbol": np.array([m.symbol for m in members], dtype=object),
    }
    option_columns = ""
    if file.security == "future" and file.table in OPTION_TABLES:
        option_columns = f"{sql_text(file.symbol)} AS root, NULL AS expiry, NULL AS strike, "
        option_columns += 'NULL AS "right", NULL AS style, '
    elif file.table in OPTION_TABLES:
        book |= {
            "root": np.array([m.root for m in members], dtype=object),
            "expiry_text": np.array([f"{m.expiry}" for m in members], dtype=object),
            "strike": np.array([m.strike for m in members], dtype=np.float64),
            "right": np.array([m.right for m in members], dtype=object),
            "style": np.array([m.style for m in members], dtype=object),
        }
        option_columns = 'root, expiry_text::DATE AS expiry, strike, "right", style, '
    connection.register("members", book)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE lean AS SELECT {start} + to_seconds({file.bar_seconds}) AS ts, "  # noqa: S608 - our own columns and constants
        f"{start} AS bar_start, symbol, {option_columns}{prices} "
        f"FROM read_csv(?, header = false, auto_detect = false, delim = ',', columns = {{{spec}}}) "
        f"JOIN members USING (member)",
        [str(lines)],
    )
    connection.unregister("members")


def _import_factor_file(
    connection: Any, catalog: Path, report: ImportReport, root: Path, symbol: str
) -> None:
    """Import dividends and splits from a factor file.

    A row holds the price factor p, the split factor s and the close for the days up to its date; the
    dividend with ex-date on the next session is ``close * (1 - p / p_next)``.
    """
    path = root / "equity" / "usa" / "factor_files" / f"{symbol.lower()}.csv"
    if not path.is_file():
        return
    actions = read_factor_file(path)
    connection.execute("CREATE OR REPLACE TEMP TABLE actions (ex_date DATE, action VARCHAR, amount VARCHAR)")
    if actions:
        connection.executemany(
            "INSERT INTO actions VALUES (?, ?, ?)", [[d, kind, str(amount)] for d, kind, amount in actions]
        )
    rows = write_table(
        connection,
        "SELECT ? AS symbol, ex_date, action, amount::DECIMAL(18,6) AS amount FROM actions "
        "ORDER BY ex_date, action",
        day_file(catalog, report.name, "corporate_actions", symbol, "all"),
        parameters=[symbol],
    )
    report.add("corporate_actions", symbol, rows)


def read_factor_file(path: Path) -> list[tuple[date, str, Decimal]]:
    """Return ``(ex_date, 'dividend' | 'split', amount)`` from one of LEAN's factor files.

    A dividend's amount is currency a share, rounded to a tenth of a cent because the factors carry seven
    digits; a split's is shares held before for one held after (0.5 for two-for-one). Raises
    UnreadableFileError when a line is not date, price factor, split factor, close.
    """
    rows: list[tuple[date, Decimal, Decimal, Decimal]] = []
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            day, price, split, close = line.split(",")[:4]
            stamp = date(int(day[:4]), int(day[4:6]), int(day[6:8]))
            rows.append((stamp, Decimal(price), Decimal(split), Decimal(close)))
        except (ValueError, ArithmeticError) as error:
            raise UnreadableFileError(
                "a factor file has lines of yyyymmdd,price factor,split factor,close",
                where=f"{path}:{number}",
                value=line,
                fix="fetch the file again, or remove it to import without dividends",
            ) from error
    actions: list[tuple[date, str, Decimal]] = []
    for (last_day, before, split_before, last_close), (_, after, split_after, _) in pairwise(rows):
        ex_date = next_session(last_day).day
        if before != after:
            actions.append((ex_date, "dividend", round(last_close * (1 - before / after), 3)))
        if split_before != split_after:
            actions.append((ex_date, "split", round(split_before / split_after, 6)))
    return actions


def _import_rates(connection: Any, catalog: Path, report: ImportReport, root: Path) -> None:
    """Import LEAN's interest-rate.csv (percent, simple, a year) as continuous rates."""
    path = root / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
    if not path.is_file():
        return
    connection.execute("CREATE OR REPLACE TEMP TABLE steps (day DATE, rate DOUBLE)")
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        if number == 1 or not line.strip():
            continue
        try:
            day, percent = line.split(",")[:2]
            row = [date.fromisoformat(day), math.log1p(float(percent) / 100.0)]
        except ValueError as error:
            raise UnreadableFileError(
                "the rates file has lines of yyyy-mm-dd,percent",
                where=f"{path}:{number}",
                value=line,
                fix="fetch the file again, or remove it to import without rates",
            ) from error
        connection.execute("INSERT INTO steps VALUES (?, ?)", row)
    rows = write_table(
        connection,
        "SELECT day AS date, rate FROM steps ORDER BY day",
        day_file(catalog, report.name, "rates", "USD", "all"),
    )
    report.add("rates", "USD", rows)
