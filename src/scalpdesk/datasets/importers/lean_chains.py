"""LEAN's option universes: one chain at the end of a day, with LEAN's own Greeks.

``Data/<option|indexoption>/<market>/universes/<root>/<yyyymmdd>.csv``. The file of a day holds that
day's open, high, low, close and volume (SPX 2021-01-04: 3700.65, the close of that very day), so its
rows are known when the day is over and not before. A row without an expiry is the underlying.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.importers.lean_files import is_wanted
from scalpdesk.datasets.store import (
    SCHEMAS,
    day_file,
    duckdb_error,
    sql_text,
    write_table,
)
from scalpdesk.instruments.contract import INDEX_CLASSES, Style

CHAIN_SECONDS = 86_400

_FIGURES = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "open_interest",
    "implied_volatility",
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
)
_COLUMNS = {"expiry": "VARCHAR", "strike": "DOUBLE", "right": "VARCHAR"} | dict.fromkeys(_FIGURES, "VARCHAR")


@dataclass(frozen=True, slots=True)
class ChainFile:
    """One day's chain of one root."""

    path: Path
    security: str
    market: str
    root: str
    day: date


def find_chains(root: Path, only: Iterable[str] = ()) -> list[ChainFile]:
    """List the universes below LEAN's ``Data`` folder; ``only`` as for bars, they count as ``daily``."""
    wanted = [word.lower() for word in only]
    found = []
    for path in sorted(root.glob("*option/*/universes/*/*.csv")):
        security, market, _, symbol, _ = path.relative_to(root).parts
        text = path.stem
        if security not in ("option", "indexoption") or len(text) != 8 or not text.isdigit():
            continue
        try:
            day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            continue
        if is_wanted({security, symbol.lower(), "daily", day.isoformat()}, wanted):
            found.append(ChainFile(path, security, market, symbol.upper(), day))
    return found


def import_chain(connection: Any, catalog: Path, report: ImportReport, chain: ChainFile, zone: str) -> None:
    """Write one day's chain as one day file, and count it in the report.

    A figure that is no number becomes null and is noted (upstream has a line with two run together).

    Raises
    ------
    DataError
        When a row has no readable strike, expiry or right; names the file.
    """
    try:
        _load(connection, chain, zone)
        spoilt = connection.execute(
            "SELECT "  # noqa: S608 - our own columns
            + " + ".join(
                f'count(*) FILTER ("{c}" IS NOT NULL AND try_cast("{c}" AS DOUBLE) IS NULL)' for c in _FIGURES
            )
            + " FROM chain"
        ).fetchall()[0][0]
        columns = ", ".join(
            f'{"try_cast" if c in _FIGURES else "cast"}("{c}" AS {kind}) AS "{c}"'
            for c, kind in SCHEMAS["chains"].items()
        )
        rows = write_table(
            connection,
            f"SELECT {columns} FROM chain ORDER BY symbol",  # noqa: S608 - our own columns
            day_file(catalog, report.name, "chains", chain.root, chain.day.isoformat()),
        )
    except duckdb_error() as error:
        raise DataError(
            f"a row of this universe is not what LEAN writes: {str(error).splitlines()[0]}",
            where=str(chain.path),
            fix="fetch the file again, or move it out of the folder to import the rest",
        ) from error
    if spoilt:
        report.note(f"{spoilt} figures that are no numbers left out of the {chain.root} chain of {chain.day}")
    report.add("chains", chain.root, rows)
    report.files_read += 1


def _load(connection: Any, chain: ChainFile, zone: str) -> None:
    """Read the file into the temporary table ``chain``, figures as text."""
    spec = ", ".join(f"{sql_text(column)}: {sql_text(kind)}" for column, kind in _COLUMNS.items())
    known = INDEX_CLASSES.get(chain.root)
    style = (known.style if known is not None else Style.AMERICAN).value
    thousandths = "lpad(cast(round(strike * 1000) AS BIGINT)::VARCHAR, 8, '0')"
    symbol = f'$root || substr(expiry, 3) || "right" || {thousandths}'
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE chain AS "  # noqa: S608 - our own columns
        f"WITH lines AS (SELECT * FROM read_csv($path, header = true, auto_detect = false, delim = ',', "
        f"columns = {{{spec}}})), "
        "day AS (SELECT $midnight::TIMESTAMP AT TIME ZONE $zone AS bar_start) "
        f"SELECT bar_start + to_seconds({CHAIN_SECONDS}) AS ts, bar_start, {symbol} AS symbol, "
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
