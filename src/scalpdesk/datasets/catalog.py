"""Open a recorded market: which data sets there are, and their sessions as a tape."""

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np

from scalpdesk.core.errors import ArgumentError, DataError, nearest_name
from scalpdesk.datasets.levels import LevelRows, parity_level_rows, recorded_levels
from scalpdesk.datasets.manifests import (
    Coverage,
    Manifest,
    data_set_names,
    read_manifest,
)
from scalpdesk.datasets.session_reader import SessionReader
from scalpdesk.datasets.sides import QuoteRows, SideCounts, complete_sides
from scalpdesk.datasets.store import connect, day_file, file_days
from scalpdesk.datasets.terms import future_contract, rate_curve_on, upcoming_dividends
from scalpdesk.instruments.contract import (
    INDEX_CLASSES,
    Equity,
    Index,
    InstrumentBook,
)
from scalpdesk.instruments.sessions import Session, sessions_between
from scalpdesk.marketdata.tape import FLAT_ZERO, MarketTape, QuoteColumns

MAX_SIDE_AGE_SECONDS = 300.0

IndexSource = Literal["recorded", "parity"]


def list_data_sets(catalog: Path) -> list[Manifest]:
    """Return the manifests of the catalogue, sorted by name; empty when there is no catalogue."""
    return [read_manifest(catalog, name) for name in data_set_names(catalog)]


def find_underlying(
    catalog: Path, name: str, underlying: str
) -> tuple[Manifest, str, Coverage, tuple[str, ...]]:
    """Find an underlying, or the index behind an option root, in a data set.

    Returns
    -------
    manifest, underlying, coverage, roots
        ``SPXW`` gives ``SPX`` with only the root SPXW; ``SPX`` gives all its roots.

    Raises
    ------
    DataError
        When the data set or the underlying is not there; names what is.
    """
    manifest = read_manifest(catalog, name)
    wanted = underlying.upper()
    index = INDEX_CLASSES[wanted].underlying if wanted in INDEX_CLASSES else wanted
    found = manifest.underlyings.get(index)
    if found is None or (index != wanted and wanted not in found.keys):
        there = sorted(
            {*manifest.underlyings, *(k for part in manifest.underlyings.values() for k in part.keys)}
        )
        raise DataError(
            f"the data set {name} has no such underlying; there: {', '.join(there)}",
            where=str(catalog / name),
            value=underlying,
            nearest=nearest_name(wanted, there),
            fix="scalpdesk data ls shows what each data set holds; scalpdesk data import adds to it",
        )
    return manifest, index, found, found.keys if index == wanted else (wanted,)


def load_tape(
    catalog: Path,
    name: str,
    *,
    underlying: str,
    start: date,
    end: date,
    symbols: Collection[str] | None = None,
    expiries: Collection[date] | None = None,
    max_side_age_seconds: float | None = MAX_SIDE_AGE_SECONDS,
    regular_hours: bool = True,
    index_source: IndexSource = "recorded",
    option_bars: bool = False,
) -> MarketTape:
    """Read sessions of one underlying and its options.

    Parameters
    ----------
    catalog, name
        Folder of the catalogue and the data set in it.
    underlying
        A share, an index, a future's root, or an option root (``SPXW``: the index SPX with only
        those options).
    start, end
        First and last session wanted, both included. Both ends must be covered; sessions missing
        in between are named in the tape's notes.
    symbols, expiries
        Keep only these options (OCC symbols; expiry dates). The underlying always stays.
    max_side_age_seconds
        How long a side without an update is carried forward; None for the whole session.
    regular_hours
        Keep rows known after the open and up to the close of the session, and no others.
    index_source
        ``recorded`` takes the recorded level of an index and derives it by put-call parity only in
        sessions without one; ``parity`` derives it in every session.
    option_bars
        Also load the options' trade bars (the underlying's are always loaded).

    Returns
    -------
    MarketTape
        Instruments in order: underlying, then options by expiry, strike, call before put.

    Raises
    ------
    DataError
        When the data set, the underlying or a session is missing, or a file is damaged.
    """
    if index_source not in ("recorded", "parity"):
        raise ArgumentError(
            "unknown source of index levels",
            where="index_source",
            value=index_source,
            nearest=nearest_name(str(index_source), ("recorded", "parity")),
            fix="use recorded or parity",
        )
    manifest, base, coverage, roots = find_underlying(catalog, name, underlying)
    sessions, gaps = _covered_sessions(catalog, manifest, base, coverage, start, end)
    reader = SessionReader(connect(), catalog, name, sessions, regular_hours)
    notes = [f"no data on {', '.join(map(str, gaps))}"] if gaps else []

    options = reader.options(roots, symbols, expiries)
    book, main_symbol = _underlying_book(reader, base, coverage)
    for option in options:
        book.add(option)

    parts = [reader.quotes("option_quotes", roots, book)]
    settlements: dict[tuple[str, date], float] = {}
    if coverage.type == "index":
        levels, settlements = _index_levels(reader, base, coverage, index_source, notes)
        parts.insert(0, levels)
    else:
        parts.insert(0, reader.quotes("quotes", (base,), book))
        if options and not len(parts[0]):
            raise DataError(
                f"the data set has options on {base} but no quotes of {base} itself in these sessions",
                where=str(catalog / name),
                value=f"{start} to {end}",
                fix="import the quotes of the underlying into the same data set",
            )
    rows, counts = complete_sides(_joined(parts), max_side_age_seconds)
    notes.extend(_side_notes(counts, max_side_age_seconds))
    main_bars = "index_levels" if coverage.type == "index" else "trades"
    bar_tables: dict[str, tuple[str, ...]] = {main_bars: (base,)}
    if option_bars:
        bar_tables["option_trades"] = roots
    last_expiry = max((option.expiry for option in options), default=end)
    dividends, split_notes = upcoming_dividends(
        reader.connection, catalog, name, base, sessions[0].day, last_expiry
    )
    rates = rate_curve_on(reader.connection, day_file(catalog, name, "rates", "USD", "all"), sessions[0].day)
    if rates is None and options:
        notes.append("no interest rates in this data set: zero is assumed")
    return MarketTape(
        name=name,
        kind=manifest.kind,
        underlying=main_symbol,
        sessions=sessions,
        instruments=book,
        quotes=QuoteColumns(rows.ts_ns, rows.instrument_id, rows.bid, rows.ask, rows.bid_size, rows.ask_size),
        bars=reader.bars(bar_tables, book, manifest.bar_seconds),
        open_interest=reader.open_interest(roots, book),
        dividends=dividends,
        rate_curve=rates or FLAT_ZERO,
        settlement_prices=settlements,
        quote_seconds=float(manifest.bar_seconds),
        notes=(*notes, *split_notes, *manifest.notes),
    )


def _covered_sessions(
    catalog: Path, manifest: Manifest, base: str, coverage: Coverage, start: date, end: date
) -> tuple[tuple[Session, ...], list[date]]:
    """Return the sessions wanted and there, and those missing between them."""
    wanted = sessions_between(start, end) if start <= end else ()
    there = set(file_days(start, end, coverage.sessions))
    found = tuple(s for s in wanted if s.day.isoformat() in there or str(s.day.year) in there)
    if not found or found[0] != wanted[0] or found[-1] != wanted[-1]:
        missing = [s.day for s in wanted if s not in found]
        raise DataError(
            f"the data set {manifest.name} does not cover these sessions of {base}; it has "
            + _described(coverage.sessions),
            where=str(catalog / manifest.name),
            value=f"{start} to {end}",
            nearest=_nearest_session(missing[0] if missing else start, coverage.sessions),
            fix="choose --start and --end among those sessions, or import more with scalpdesk data import",
        )
    return found, [s.day for s in wanted if s not in found]


def _described(sessions: Sequence[str]) -> str:
    if len(sessions) <= 8:
        return ", ".join(sessions)
    return f"{len(sessions)} sessions from {sessions[0]} to {sessions[-1]}"


def _nearest_session(day: date, sessions: Sequence[str]) -> str | None:
    dated = [text for text in sessions if len(text) == 10]
    return min(dated, key=lambda text: abs((date.fromisoformat(text) - day).days), default=None)


def _underlying_book(reader: SessionReader, base: str, coverage: Coverage) -> tuple[InstrumentBook, str]:
    """Return a book with the underlying first, and the symbol that the tape goes by."""
    if coverage.type == "future":
        contracts = sorted(
            (future_contract(symbol) for symbol in reader.symbols(("quotes", "trades"), (base,))),
            key=lambda contract: contract.expiry,
        )
        live = [c for c in contracts if c.expiry >= reader.sessions[0].day] or contracts
        return InstrumentBook([live[0], *contracts]), live[0].symbol
    underlying = Index(base) if coverage.type == "index" else Equity(base)
    return InstrumentBook([underlying]), base


def _index_levels(
    reader: SessionReader, index: str, coverage: Coverage, source: IndexSource, notes: list[str]
) -> tuple[QuoteRows, dict[tuple[str, date], float]]:
    """Return an index's level as quotes without size, and its official closes."""
    found: list[tuple[int, LevelRows]] = []
    settlements: dict[tuple[str, date], float] = {}
    option_roots = tuple(key for key in coverage.keys if key in INDEX_CLASSES)
    for number, session in enumerate(reader.sessions):
        place = (reader.connection, reader.catalog, reader.name)
        rows = None
        if source == "recorded":
            rows = recorded_levels(*place, index, session, regular_hours=reader.regular_hours)
        if rows is None:
            rows = parity_level_rows(*place, option_roots, session, regular_hours=reader.regular_hours)
        if rows is None:
            notes.append(f"{session.day}: no level of {index}, recorded or derivable")
            continue
        found.append((number, rows))
        if rows.note:
            notes.append(rows.note)
        if rows.settlement is not None:
            settlements[index, session.day] = rows.settlement
    if not found:
        raise DataError(
            f"no level of the index {index} in these sessions, and no option pair to derive it from",
            where=str(reader.catalog / reader.name),
            value=f"{reader.sessions[0].day} to {reader.sessions[-1].day}",
            fix="import the index (LEAN: Data/index/usa) or the calls and puts of its nearest expiry",
        )
    ts = np.concatenate([rows.ts_ns for _, rows in found])
    level = np.concatenate([rows.level for _, rows in found])
    numbers = np.concatenate([np.full(len(rows.ts_ns), number, np.int32) for number, rows in found])
    ids, none = np.zeros(len(ts), np.int32), np.zeros(len(ts))
    return QuoteRows(ts, ids, numbers, level, level.copy(), none, none.copy()), settlements


def _joined(parts: Sequence[QuoteRows]) -> QuoteRows:
    names = ("ts_ns", "instrument_id", "session", "bid", "ask", "bid_size", "ask_size")
    return QuoteRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _side_notes(counts: SideCounts, max_age: float | None) -> list[str]:
    limit = "within the session" if max_age is None else f"for at most {max_age:g} s"
    notes = []
    if counts.sides_carried or counts.sides_missing:
        notes.append(
            f"sides without an update carried forward {limit}: {counts.sides_carried}; "
            f"left missing: {counts.sides_missing}; of {counts.rows} rows"
        )
    if counts.crossed_as_stored:
        notes.append(
            f"{counts.crossed_as_stored} rows are stored crossed (two closes of different moments): "
            f"the older side is withheld, both where that cannot be told"
        )
    return notes
