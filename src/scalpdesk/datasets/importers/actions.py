"""Corporate actions of a data set: booked from a file or from the built-in table."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file, day_files, read_columns, write_table
from scalpdesk.instruments.corporate_actions import ActionKind

SPLIT_MOVE = 0.12
"""Part of the price by which a night may move it beside a split."""


class BookedAction(NamedTuple):
    """A row of a file of actions."""

    ex_date: date
    kind: str
    """``dividend`` or a kind of :class:`~scalpdesk.instruments.corporate_actions.ActionKind`."""
    amount: Decimal
    """Shares before a split for one after, or currency a share."""


def add_actions(
    connection: Any, catalog: Path, symbol: str, report: ImportReport, kept: str, parameters: Sequence[object]
) -> None:
    """Write the table ``paid`` and the stored actions of a share that are ``kept``."""
    path = day_file(catalog, report.name, "corporate_actions", symbol, "all")
    select, values = "SELECT ? AS symbol, ex_date, action, amount FROM paid", [symbol]
    if path.is_file():
        select += f" UNION ALL SELECT symbol, ex_date, action, amount FROM read_parquet(?) WHERE {kept}"  # noqa: S608 - our own words
        values += [str(path), *map(str, parameters)]
    if path.is_file() or connection.execute("SELECT count(*) FROM paid").fetchone()[0]:
        rows = write_table(connection, f"{select} ORDER BY ex_date, action", path, parameters=values)
        report.add("corporate_actions", symbol, rows)


def _book(catalog: Path, report: ImportReport, booked: Mapping[str, Sequence[BookedAction]]) -> None:
    """Add actions to the stored ones; an action of the same share, day and kind is replaced."""
    connection = connect()
    for symbol, rows in booked.items():
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE paid (ex_date DATE, action VARCHAR, amount DECIMAL(18,6))"
        )
        connection.executemany("INSERT INTO paid VALUES (?, ?, ?)", [list(row) for row in rows])
        kept = "(ex_date, action) NOT IN (SELECT (ex_date, action) FROM paid)"
        add_actions(connection, catalog, symbol, report, kept, ())


def import_actions(catalog: Path, name: str, path: Path) -> ImportReport:
    """Book the splits and dividends of a CSV file: ``symbol``, ``ex_date``, ``action``, ``amount``.

    The amount of a split is written as shares after and before (``3:1``), that of a dividend in currency a
    share. Stored actions of the same share, day and kind are replaced.

    Raises
    ------
    DataError
        Naming the line that cannot be read, or a share that the data set does not have.
    """
    shares = read_manifest(catalog, name).underlyings
    report = ImportReport(name, files_read=1)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the file cannot be read", where=str(path), value=str(error)) from error
    booked = _read(text, str(path))
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


def _read(text: str, where: str) -> dict[str, list[BookedAction]]:
    """Read lines of actions by share."""
    booked: dict[str, list[BookedAction]] = {}
    for number, line in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            symbol, action, figure = (str(line[each]).strip() for each in ("symbol", "action", "amount"))
            day = date.fromisoformat(str(line["ex_date"]).strip())
            after, colon, before = figure.partition(":")
            amount = Decimal(before) / Decimal(after) if colon else Decimal(figure)
            kind = action if action == "dividend" else ActionKind(action).value
            amount /= amount > 0 and (kind == "split") == bool(colon)
        except (KeyError, ValueError, ArithmeticError) as error:
            raise DataError(
                "no corporate action",
                where=f"{where}:{number}",
                value=",".join(map(str, line.values())),
                fix="write symbol,ex_date,action,amount as TSLA,2022-08-25,split,3:1 or"
                " KO,2024-03-14,dividend,0.485",
            ) from error
        booked.setdefault(symbol.upper(), []).append(BookedAction(day, kind, round(amount, 6)))
    return booked


@cache
def known_actions() -> Mapping[str, Sequence[BookedAction]]:
    """Return the built-in table of splits and special dividends by share."""
    table = files("scalpdesk.instruments") / "corporate_actions.csv"
    return _read(table.read_text(encoding="utf-8"), "corporate_actions.csv")


def book_known_actions(catalog: Path, name: str) -> ImportReport:
    """Book what the built-in table knows of a data set's shares, where the stored prices show it.

    A split over which the price does not jump is left out: the file was adjusted for it before.

    Raises
    ------
    DataError
        When there is no such data set.
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


class Night(NamedTuple):
    """The prices of a share on both sides of a night, currency."""

    before: date
    close: float
    day: date
    opened: float


def share_nights(catalog: Path, name: str, symbol: str, first: date, last: date) -> list[Night]:
    """Return the nights between the stored sessions of a share."""
    paths = [
        path
        for path in day_files(catalog, name, "quotes", symbol)
        if first.isoformat() <= path.stem <= last.isoformat()
    ]
    if len(paths) < 2:
        return []
    ends = read_columns(
        connect(),
        paths,
        "SELECT strftime(ts AT TIME ZONE 'America/New_York', '%Y-%m-%d') AS day, "
        "arg_min(bid + ask, ts) / 2 AS opened, arg_max(bid + ask, ts) / 2 AS closed FROM rows "
        "WHERE bid > 0 AND ask < 'infinity'::DOUBLE GROUP BY 1 ORDER BY 1",
    )
    days = [date.fromisoformat(str(day)) for day in ends["day"]]
    opened, closed = (np.ma.filled(ends[each], np.nan).astype(float) for each in ("opened", "closed"))
    return [Night(days[i - 1], float(closed[i - 1]), days[i], float(opened[i])) for i in range(1, len(days))]
