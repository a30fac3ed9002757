"""What the files of a data set say by themselves, before anything is carried or withheld."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets.store import (
    DATED_TABLES,
    connect,
    day_files,
    is_readable,
    missing_columns,
    read_columns,
)
from scalpdesk.instruments.sessions import is_session, session_on

_QUOTE_TABLES = ("quotes", "option_quotes")

# A bar has two closes of possibly different moments. They may cross when the sides' ranges overlap,
# or when one side simply did not move since the bar before; a plain quote has no such excuse.
_CROSSED = """
SELECT symbol, strftime(ts, '%Y-%m-%d %H:%M:%SZ') AS moment, bid, ask,
       coalesce(bid_low <= ask_high, false)
       OR (bid_low IS NOT NULL
           AND (coalesce(bid = old_bid AND bid_size = old_bid_size, false)
                OR coalesce(ask = old_ask AND ask_size = old_ask_size, false))) AS explained
FROM (
  SELECT *, lag(bid) OVER w AS old_bid, lag(bid_size) OVER w AS old_bid_size,
         lag(ask) OVER w AS old_ask, lag(ask_size) OVER w AS old_ask_size
  FROM rows WINDOW w AS (PARTITION BY symbol, ts::DATE ORDER BY ts)
) WHERE bid > ask ORDER BY ts, symbol
"""


@dataclass(slots=True)
class StoredFindings:
    """Counts over the files of one underlying."""

    files: int = 0
    rows: int = 0
    quote_rows: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Files that are damaged or lack columns, with the reason."""
    unsorted: list[str] = field(default_factory=list)
    wrong_bar_length: int = 0
    """Rows that claim to be known at another instant than the end of their bar."""
    duplicates: int = 0
    """Rows that repeat the symbol and instant of another."""
    outside_hours: int = 0
    """Rows known before the open, after the close or on a day without a session."""
    crossed: int = 0
    crossed_unexplained: int = 0
    """Crossed rows that are not two moments of one bar."""
    first_crossed: str = ""


def inspect_files(catalog: Path, name: str, keys: Sequence[str], bar_seconds: int) -> StoredFindings:
    """Read every file of the keys and count what is wrong with the rows as stored."""
    connection = connect()
    found = StoredFindings()
    for table in DATED_TABLES:
        for key in keys:
            for path in day_files(catalog, name, table, key):
                found.files += 1
                if not is_readable(connection, path):
                    found.unreadable.append(f"{path}: not readable as Parquet; delete it and import it again")
                    continue
                missing = missing_columns(connection, path)
                if missing:
                    found.unreadable.append(
                        f"{path}: lacks {', '.join(missing)}; delete it and import it again"
                    )
                    continue
                _inspect(connection, path, bar_seconds, found)
                if table in _QUOTE_TABLES:
                    _inspect_quotes(connection, path, found)
    return found


def _inspect(connection: Any, path: Path, bar_seconds: int, found: StoredFindings) -> None:
    columns = read_columns(
        connection, [path], "SELECT epoch_ns(ts) AS ts, epoch_ns(bar_start) AS bar_start FROM rows"
    )
    ts = np.ma.getdata(columns["ts"])
    found.rows += len(ts)
    if bool((np.diff(ts) < 0).any()):
        found.unsorted.append(str(path))
    found.outside_hours += _outside_hours(path.stem, ts)
    lengths = np.ma.filled(ts - columns["bar_start"], bar_seconds * 1_000_000_000)
    found.wrong_bar_length += int((lengths != bar_seconds * 1_000_000_000).sum())
    repeats = read_columns(
        connection,
        [path],
        "SELECT coalesce(sum(n - 1), 0) AS extra FROM (SELECT count(*) AS n FROM rows GROUP BY ts, symbol)",
    )
    found.duplicates += int(repeats["extra"][0])


def _outside_hours(day: str, ts_ns: NDArray[np.int64]) -> int:
    """Count rows outside regular hours; files of a whole year are not judged."""
    if len(day) != len("2015-12-23"):
        return 0
    date_ = date.fromisoformat(day)
    if not is_session(date_):
        return len(ts_ns)
    session = session_on(date_)
    return int(((ts_ns <= session.open_ns) | (ts_ns > session.close_ns)).sum())


def _inspect_quotes(connection: Any, path: Path, found: StoredFindings) -> None:
    counted = read_columns(connection, [path], "SELECT count(*) AS n FROM rows")
    found.quote_rows += int(counted["n"][0])
    crossed = read_columns(connection, [path], _CROSSED)
    unexplained = np.flatnonzero(~np.ma.getdata(crossed["explained"]).astype(np.bool_))
    found.crossed += len(crossed["bid"])
    found.crossed_unexplained += len(unexplained)
    if len(unexplained) and not found.first_crossed:
        at = int(unexplained[0])
        symbol, moment = crossed["symbol"][at], crossed["moment"][at]
        found.first_crossed = f"{symbol} {moment} bid {crossed['bid'][at]:g} ask {crossed['ask'][at]:g}"
