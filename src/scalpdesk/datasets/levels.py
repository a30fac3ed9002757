"""The level of an index: recorded where there is a recording, else derived from its options.

Nobody trades an index and nobody quotes it; a tape carries its level as a quote whose bid and ask
are both the level and whose sizes are 0 (not displayed).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets.store import as_float, day_files, read_columns
from scalpdesk.instruments.contract import INDEX_CLASSES, Settlement
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.curves import ParityLevels, parity_implied_forward, tightest_parity_levels


@dataclass(frozen=True, slots=True)
class LevelRows:
    """The level of one index in one session, sorted by time."""

    ts_ns: NDArray[np.int64]
    level: NDArray[np.float64]
    derived: bool
    settlement: float | None
    """Official close, where the recording reaches past the session's end."""
    note: str = ""


def recorded_levels(
    connection: Any, catalog: Path, name: str, index: str, session: Session, *, regular_hours: bool
) -> LevelRows | None:
    """Read the recorded level of a session, or None when the data set has none."""
    files = day_files(catalog, name, "index_levels", index, [session.day.isoformat()])
    if not files:
        return None
    columns = read_columns(
        connection,
        files,
        "SELECT epoch_ns(ts) AS ts, close FROM rows WHERE close IS NOT NULL ORDER BY ts",
    )
    ts, level = columns["ts"].astype(np.int64), as_float(columns["close"])
    after = ts > session.close_ns
    settlement = float(level[-1]) if bool(after.any()) else None
    keep = (ts > session.open_ns) & ~after if regular_hours else np.ones(len(ts), dtype=np.bool_)
    return LevelRows(ts[keep], level[keep], derived=False, settlement=settlement)


def parity_levels(
    connection: Any, catalog: Path, name: str, roots: Sequence[str], day: date
) -> tuple[ParityLevels, date] | None:
    """Derive the level of one day from the nearest expiry, by put-call parity without discounting.

    At every instant the strike whose call and put leave the smallest combined half-spread speaks;
    only rows with all four sides stored in that very bar count, nothing is carried forward.

    Returns
    -------
    tuple or None
        The levels and the expiry that they come from; None when no pair exists that day.
    """
    files = [p for root in roots for p in day_files(catalog, name, "option_quotes", root, [day.isoformat()])]
    if not files:
        return None
    columns = read_columns(
        connection,
        files,
        "SELECT epoch_ns(c.ts) AS ts, c.strike AS strike, "
        "c.bid AS cb, c.ask AS ca, p.bid AS pb, p.ask AS pa, "
        "epoch_ns(c.expiry::TIMESTAMP) AS expiry "
        "FROM rows c JOIN rows p ON c.ts = p.ts AND c.expiry = p.expiry AND c.strike = p.strike "
        "AND c.root = p.root "
        "WHERE c.\"right\" = 'C' AND p.\"right\" = 'P' "
        "AND c.expiry = (SELECT min(expiry) FROM rows WHERE expiry >= ?)",
        [day],
    )
    forward, uncertainty = parity_implied_forward(
        *(as_float(columns[column]) for column in ("strike", "cb", "ca", "pb", "pa"))
    )
    levels = tightest_parity_levels(
        columns["ts"].astype(np.int64), as_float(columns["strike"]), forward, uncertainty
    )
    if not len(levels):
        return None
    expiry = columns["expiry"][0].astype("datetime64[ns]").astype("datetime64[D]").astype(object)
    return levels, expiry


def parity_level_rows(
    connection: Any,
    catalog: Path,
    name: str,
    roots: Sequence[str],
    session: Session,
    *,
    regular_hours: bool,
) -> LevelRows | None:
    """Derive the level of a session (see :func:`parity_levels`) with a note that says so."""
    afternoon = [root for root in roots if _settles_pm(root)]
    found = parity_levels(connection, catalog, name, afternoon or roots, session.day)
    if found is None:
        return None
    levels, expiry = found
    ts = levels.ts_ns
    keep = (ts > session.open_ns) & (ts <= session.close_ns) if regular_hours else np.ones(len(ts), np.bool_)
    widths = levels.uncertainty[keep]
    if not len(widths):
        return None
    note = (
        f"{session.day}: index level derived by put-call parity from the options expiring {expiry}, "
        f"{int(keep.sum())} minutes, median half-width {float(np.median(widths)):.2f} points"
    )
    return LevelRows(ts[keep], levels.level[keep], derived=True, settlement=None, note=note)


def _settles_pm(root: str) -> bool:
    kind = INDEX_CLASSES.get(root)
    return kind is not None and kind.settlement is Settlement.CASH_PM
