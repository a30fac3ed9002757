"""Quotes from stored bar rows, and the level of an index.

A null side of a bar row did not move in that bar: its last value is carried forward, up to an age. A
bar's two closes may be of different moments: where they cross, the side that did not move is the older one
and is withheld.

An index is neither traded nor quoted: a tape carries its level, recorded or derived from its options, as a
quote whose bid and ask are both the level and whose sizes are 0 (not displayed).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.store import as_float, day_files, read_columns
from scalpdesk.instruments.classes import option_class
from scalpdesk.instruments.contract import Settlement
from scalpdesk.instruments.sessions import OLDEST_CLOSE_NS, Session
from scalpdesk.marketdata.curves import ParityLevels, parity_implied_forward, tightest_parity_levels
from scalpdesk.marketdata.tape import Columns

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuoteRows(Columns):
    """Quote rows as stored; NaN where a side is null. Any order."""

    session: NDArray[np.int32]
    """Number of the session that the row belongs to; nothing is carried from one into the next."""
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats


@dataclass(frozen=True, slots=True)
class SideCounts:
    """Numbers of rows that were changed."""

    rows: int
    crossed_as_stored: int
    """Rows whose own two sides cross."""
    sides_withheld: int
    """Sides removed because they crossed a newer one, stored or carried."""
    sides_carried: int
    """Null sides filled with the last value of that side."""
    sides_missing: int
    """Null sides whose last value is too old or missing."""


def complete_sides(rows: QuoteRows, max_age_seconds: float | None) -> tuple[QuoteRows, SideCounts]:
    """Return rows sorted by time and instrument, each side carried forward within its session.

    A crossed row keeps the side that changed against the instrument's row before it; when both
    changed, or neither did, both go: either may be the false side. A withheld side is not carried.

    ``max_age_seconds``: Longest time that a side is carried, from the row that last named it; None for the
    whole session. After it the side is NaN with size 0.
    """
    sorted_rows = _in_order(rows)
    new_group = _group_starts(sorted_rows)
    crossed = sorted_rows.bid > sorted_rows.ask
    withheld = _withhold_crossed(sorted_rows, crossed, new_group)
    bid_null, ask_null = np.isnan(sorted_rows.bid), np.isnan(sorted_rows.ask)
    sides = ((sorted_rows.bid, sorted_rows.bid_size), (sorted_rows.ask, sorted_rows.ask_size))
    (bid, bid_size, bid_ts), (ask, ask_size, ask_ts) = (
        _carry(sorted_rows, *side, new_group, max_age_seconds) for side in sides
    )
    # A withheld side stays away in its own row.
    bid[crossed & bid_null], ask[crossed & ask_null] = np.nan, np.nan
    clash = bid > ask
    older_bid, older_ask = clash & (bid_ts <= ask_ts), clash & (ask_ts < bid_ts)
    bid[older_bid], ask[older_ask] = np.nan, np.nan
    ask[np.isinf(ask)] = np.nan  # stored so where there is no ask; carried like any price until the next one
    bid_size[np.isnan(bid)], ask_size[np.isnan(ask)] = 0.0, 0.0
    counts = SideCounts(
        rows=len(rows),
        crossed_as_stored=int(crossed.sum()),
        sides_withheld=withheld + int(clash.sum()),
        sides_carried=int((bid_null & ~np.isnan(bid)).sum() + (ask_null & ~np.isnan(ask)).sum()),
        sides_missing=int(np.isnan(bid).sum() + np.isnan(ask).sum()),
    )
    completed = replace(sorted_rows, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size)
    return completed.take(np.lexsort((completed.instrument_id, completed.ts_ns))), counts


def _in_order(rows: QuoteRows) -> QuoteRows:
    """Sort by session, instrument and time; rows of one instant by their values, so that a run repeats."""
    ordered = rows.take(np.lexsort((rows.ts_ns, rows.instrument_id, rows.session)))
    if not bool(((np.diff(ordered.ts_ns) == 0) & (np.diff(ordered.instrument_id) == 0)).any()):
        return ordered
    values = (rows.ask_size, rows.bid_size, rows.ask, rows.bid)
    return rows.take(np.lexsort((*values, rows.ts_ns, rows.instrument_id, rows.session)))


def _group_starts(rows: QuoteRows) -> NDArray[np.bool_]:
    """True at the first row of every (session, instrument)."""
    starts = np.ones(len(rows), dtype=np.bool_)
    starts[1:] = (rows.instrument_id[1:] != rows.instrument_id[:-1]) | (rows.session[1:] != rows.session[:-1])
    return starts


def _withhold_crossed(rows: QuoteRows, crossed: NDArray[np.bool_], new_group: NDArray[np.bool_]) -> int:
    """Take the side that did not move out of every crossed row; return how many sides went."""
    at = np.flatnonzero(crossed)
    if not len(at):
        return 0
    before = np.maximum(at - 1, 0)
    has_before = ~new_group[at]
    bid_moved = (rows.bid[at] != rows.bid[before]) | (rows.bid_size[at] != rows.bid_size[before])
    ask_moved = (rows.ask[at] != rows.ask[before]) | (rows.ask_size[at] != rows.ask_size[before])
    single_moved = has_before & (bid_moved != ask_moved)
    drop_bid = ~(single_moved & bid_moved)
    drop_ask = ~(single_moved & ask_moved)
    rows.bid[at[drop_bid]] = np.nan
    rows.ask[at[drop_ask]] = np.nan
    return int(drop_bid.sum() + drop_ask.sum())


def _carry(
    rows: QuoteRows, price: Floats, size: Floats, new_group: NDArray[np.bool_], max_age_seconds: float | None
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return price, size and time of the last value of a side, as known at each row."""
    position = np.arange(len(price), dtype=np.int64)
    start = np.maximum.accumulate(np.where(new_group, position, 0)) if len(price) else position
    last = np.maximum.accumulate(np.where(np.isnan(price), -1, position)) if len(price) else position
    known = last >= start
    source = np.where(known, last, 0)
    value_ts = rows.ts_ns[source]
    if max_age_seconds is not None and math.isfinite(max_age_seconds):
        known &= rows.ts_ns - value_ts <= round(max_age_seconds * NANOS_PER_SECOND)
    filled = np.where(known, price[source], np.nan) if len(price) else price.copy()
    sizes = np.where(known, size[source], 0.0) if len(price) else size.copy()
    return filled, np.nan_to_num(sizes), value_ts


@dataclass(frozen=True, slots=True)
class LevelRows:
    """The level of one index in one session, sorted by time."""

    ts_ns: NDArray[np.int64]
    level: NDArray[np.float64]
    derived: bool
    note: str = ""


def recorded_levels(
    connection: Any, catalog: Path, name: str, index: str, session: Session, *, regular_hours: bool
) -> LevelRows | None:
    """Read the recorded level of a session, or None when the data set lacks it."""
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
    keep = (ts > session.open_ns) & ~after if regular_hours else np.ones(len(ts), dtype=np.bool_)
    return LevelRows(ts[keep], level[keep], derived=False)


def closing_level(connection: Any, catalog: Path, name: str, index: str, session: Session) -> float | None:
    """Return what index options settle at that end with a session, or None where it is not recorded.

    It is the official close, where the recording reaches past the session's end, else the last recorded level
    of the session's last :data:`OLDEST_CLOSE_NS`.
    """
    rows = recorded_levels(connection, catalog, name, index, session, regular_hours=False)
    if rows is None or not len(rows.ts_ns) or rows.ts_ns[-1] < session.close_ns - OLDEST_CLOSE_NS:
        return None
    return float(rows.level[-1])


def parity_levels(
    connection: Any, catalog: Path, name: str, roots: Sequence[str], day: date
) -> tuple[ParityLevels, date] | None:
    """Derive the level of one day from the nearest expiry, by put-call parity without discounting.

    Each instant takes the strike whose call and put leave the smallest combined half-spread;
    only rows with all four sides stored in that very bar count, nothing is carried forward.

    Returns the levels and the expiry that they come from; None when no pair exists that day.
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
        "WHERE c.\"right\" = 'C' AND p.\"right\" = 'P' AND isfinite(c.ask) AND isfinite(p.ask) "
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
) -> LevelRows | None:
    """Derive the level of a session (see :func:`parity_levels`) with a note about it."""
    afternoon = [root for root in roots if _settles_pm(root, session.day)]
    found = parity_levels(connection, catalog, name, afternoon or roots, session.day)
    if found is None:
        return None
    levels, expiry = found
    ts = levels.ts_ns
    keep = (ts > session.open_ns) & (ts <= session.close_ns)
    widths = levels.uncertainty[keep]
    if not len(widths):
        return None
    note = (
        f"{session.day}: index level derived by put-call parity from the options expiring {expiry}, "
        f"{int(keep.sum())} minutes, median half-width {float(np.median(widths)):.2f} points"
    )
    return LevelRows(ts[keep], levels.level[keep], derived=True, note=note)


def _settles_pm(root: str, day: date) -> bool:
    row = option_class(root, day)
    return row is not None and row.settlement is Settlement.CASH_PM
