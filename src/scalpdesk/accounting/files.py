"""Files beside the journals: lots held before, lots that were identified, prices of the end of a year."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any

from scalpdesk.accounting.lots import Chosen, Lot
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.owner_only import own_file
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instrument, parse_occ
from scalpdesk.instruments.futures import future_contract

Line = Mapping[str, str]


def read_lots(path: Path) -> list[Lot]:
    """Read lots from a table ``symbol,units,cost,acquired[,held_since,lot]``, the earliest first.

    ``cost`` is that of all units; of a short position, whose units are negative, what it was sold for. Raises
    DataError when the file or a line cannot be read.
    """

    def lot(row: Line) -> Lot:
        units, cost = Decimal(row["units"]), Decimal(row["cost"])
        acquired = date.fromisoformat(row["acquired"])
        name = row.get("lot") or f"carried {row['symbol']} {acquired}"
        return Lot(
            instrument=instrument_named(row["symbol"]),
            units=units,
            cash=-cost if units > 0 else cost,
            acquired=acquired,
            held_since=date.fromisoformat(row.get("held_since") or row["acquired"]),
            reference=name,
            purchase=name,
        )

    return sorted(_rows(path, ("symbol", "units", "cost", "acquired"), lot), key=lambda each: each.acquired)


def read_chosen(path: Path) -> Chosen:
    """Read identified lots from a table ``disposal,lot,quantity``: execution ids, and units of the lot.

    Raises DataError when the file or a line cannot be read.
    """
    found: dict[str, list[tuple[str, Decimal]]] = {}

    def add(row: Line) -> None:
        found.setdefault(row["disposal"], []).append((row["lot"], Decimal(row["quantity"])))

    _rows(path, ("disposal", "lot", "quantity"), add)
    return found


def read_marks(path: Path) -> dict[tuple[int, str], Decimal]:
    """Read prices at the end of years from a table ``year,symbol,price``, by year and symbol.

    Raises DataError when the file or a line cannot be read.
    """
    columns = "year", "symbol", "price"
    return dict(_rows(path, columns, lambda row: ((int(row["year"]), row["symbol"]), Decimal(row["price"]))))


def instrument_named(symbol: str) -> Instrument:
    """Return the share, the listed option (OCC) or the future (``ES_202409``) of a symbol."""
    if "_" in symbol:
        return future_contract(symbol)
    try:
        root = parse_occ(symbol)[0]
    except ArgumentError:
        return Equity(symbol)
    return us_option(symbol, [root])


def write_tables(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Path]:
    """Write each table that has rows as a file of its name, readable by this user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rows in tables.items():
        if rows:
            path = folder / f"{name}.csv"
            own_file(path)
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
            written.append(path)
    return written


def _rows(path: Path, columns: Iterable[str], make: Callable[[Line], Any]) -> list[Any]:
    """Return what each line of a table makes; the first line names the columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in columns if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(
                    f"the first line does not name {', '.join(missing)}",
                    where=str(path),
                    fix=f"begin the file with {','.join(columns)}",
                )
            return [_made(path, table.line_num, make, row) for row in table]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the file cannot be read: {error}", where=str(path), fix="name a table of text with commas"
        ) from error


def _made(path: Path, number: int, make: Callable[[Line], Any], row: Line) -> Any:
    try:
        return make({name: (value or "").strip() for name, value in row.items() if name})
    except (ValueError, DecimalException) as error:
        raise DataError(
            "a line cannot be read",
            where=f"{path}, line {number}",
            value=",".join(str(value) for value in row.values()),
            fix="write numbers with a point, and days as 2024-03-04",
        ) from error
