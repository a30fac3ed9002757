"""Corporate actions of a data set: booked from a file or from the built-in table."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.booked_actions import (
    SPLIT_MOVE,
    BookedAction,
    known_actions,
    read_actions,
    share_nights,
)
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file, write_table
from scalpdesk.instruments.corporate_actions import ActionKind


def add_actions(
    catalog: Path,
    symbol: str,
    rows: Iterable[BookedAction],
    report: ImportReport,
    kept: str,
    parameters: Sequence[object] = (),
) -> None:
    """Write actions of a share beside those of its stored ones that are ``kept``."""
    connection, booked = connect(), [list(row) for row in rows]
    connection.execute("CREATE TEMP TABLE paid (ex_date DATE, action VARCHAR, amount DECIMAL(18,6))")
    if booked:
        connection.executemany("INSERT INTO paid VALUES (?, ?, ?)", booked)
    path = day_file(catalog, report.name, "corporate_actions", symbol, "all")
    select, values = "SELECT ? AS symbol, ex_date, action, amount FROM paid", [symbol]
    if path.is_file():
        select += f" UNION ALL SELECT symbol, ex_date, action, amount FROM read_parquet(?) WHERE {kept}"  # noqa: S608 - our own words
        values += [str(path), *map(str, parameters)]
    if path.is_file() or booked:
        written = write_table(connection, f"{select} ORDER BY ex_date, action", path, parameters=values)
        report.add("corporate_actions", symbol, written)


def _book(catalog: Path, report: ImportReport, booked: Mapping[str, Sequence[BookedAction]]) -> None:
    """Add actions to the stored ones; an action of the same share, day and kind is replaced."""
    kept = "(ex_date, action) NOT IN (SELECT (ex_date, action) FROM paid)"
    for symbol, rows in booked.items():
        add_actions(catalog, symbol, rows, report, kept)


def import_actions(catalog: Path, name: str, path: Path) -> ImportReport:
    """Book the splits and dividends of a CSV file: ``symbol``, ``ex_date``, ``action``, ``amount``.

    The amount of a split is written as shares after and before (``3:1``), that of a dividend in currency a
    share. Stored actions of the same share, day and kind are replaced. Raises DataError, naming the line that
    cannot be read, or a share that the data set does not have.
    """
    shares = read_manifest(catalog, name).underlyings
    report = ImportReport(name, files_read=1)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the file cannot be read", where=str(path), value=str(error)) from error
    booked = read_actions(text, str(path))
    for symbol in booked:
        if symbol not in shares:
            raise DataError(
                "the data set does not have this share",
                where=str(path),
                value=symbol,
                fix=f"{name} has {', '.join(shares)}: leave the line out, or correct the symbol",
            )
    _book(catalog, report, booked)
    return report


def book_known_actions(catalog: Path, name: str) -> ImportReport:
    """Book what the built-in table knows of a data set's shares, where the stored prices show it.

    A split over which the price does not jump is left out: the file was adjusted for it before. Raises
    DataError when there is no such data set.
    """
    manifest, report = read_manifest(catalog, name), ImportReport(name)
    for symbol, coverage in manifest.underlyings.items():
        rows = []
        nights = share_nights(catalog, name, symbol, date.min, date.max)
        for action in known_actions().get(symbol, ()):
            across = [n for n in nights if n.before < action.ex_date <= n.day]
            if not across:
                continue
            moved = across[0].opened / across[0].close
            if action.kind == ActionKind.SPLIT and abs(moved / float(action.amount) - 1) > SPLIT_MOVE:
                report.note(
                    f"{symbol}: the split of {action.ex_date} is not booked, prices are adjusted for it"
                )
                continue
            rows.append(action)
        if rows:
            _book(catalog, report, {symbol: rows})
        elif coverage.sessions:
            report.note(f"{symbol}: the built-in table has no action to book")
    return report
