"""A recorded market: which data sets there are, and their sessions as a tape with its slow facts."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError, DataError, nearest_name
from scalpdesk.datasets.manifests import (
    Coverage,
    Manifest,
    data_set_names,
    read_manifest,
)
from scalpdesk.datasets.sides import (
    LevelRows,
    QuoteRows,
    SideCounts,
    closing_level,
    complete_sides,
    parity_level_rows,
    recorded_levels,
)
from scalpdesk.datasets.store import as_float, connect, day_file, day_files, file_days, read_columns
from scalpdesk.instruments.classes import INDICES, underlying_of_root
from scalpdesk.instruments.contract import Equity, Index, Instruments, OptionContract
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.futures import front_contract, future_contract, listed_option
from scalpdesk.instruments.sessions import (
    Session,
    from_ns,
    globex_sessions,
    is_known,
    is_session,
    session_on,
    sessions_between,
    why_closed,
)
from scalpdesk.marketdata.dividends import INDEX_FUNDS, YEAR_DAYS
from scalpdesk.marketdata.tape import FLAT_ZERO, BarColumns, CashDividend, MarketTape, QuoteColumns, RateCurve


class _SessionReader:
    """Reads the tables of one data set for given sessions."""

    def __init__(self, connection: Any, catalog: Path, name: str, sessions: tuple[Session, ...]) -> None:
        self.connection, self.catalog, self.name = connection, catalog, name
        self.sessions = sessions
        connection.register(
            "sessions",
            {
                "session": np.arange(len(sessions), dtype=np.int32),
                "opens": np.array([s.open_ns for s in sessions], dtype=np.int64),
                "closes": np.array([s.close_ns for s in sessions], dtype=np.int64),
            },
        )
        self._in_session = "JOIN sessions ON epoch_ns(ts) > opens AND epoch_ns(ts) <= closes"

    def files(self, table: str, keys: Sequence[str]) -> list[Path]:
        """Return the files of a table that touch the sessions."""
        spans = [(from_ns(s.open_ns).date(), s.day) for s in self.sessions]  # one begins the evening before
        dates = dict.fromkeys(day for span in spans for day in span)
        days = [day.isoformat() for day in dates] + [str(s.day.year) for s in self.sessions]
        return [p for key in keys for p in day_files(self.catalog, self.name, table, key, days)]

    def symbols(self, tables: Sequence[str], keys: Sequence[str]) -> list[str]:
        """Return the symbols that have rows in the tables, sorted."""
        found: set[str] = set()
        for table in tables:
            files = self.files(table, keys)
            if files:
                found.update(
                    read_columns(self.connection, files, "SELECT DISTINCT symbol FROM rows")["symbol"]
                )
        return sorted(found)

    def options(self, roots: Sequence[str], shares: Sequence[str]) -> list[OptionContract]:
        """Return the options with quotes by expiry, strike, call before put."""
        found = [listed_option(symbol, shares) for symbol in self.symbols(("option_quotes",), roots)]
        return sorted(found, key=lambda o: (o.expiry, o.strike, o.right.value, o.symbol))

    def _register(self, book: Instruments) -> None:
        symbols = [instrument.symbol for instrument in book]
        self.connection.register(
            "book",
            {
                "symbol": np.array(symbols, dtype=object),
                "id": np.array([book.id_of(symbol) for symbol in symbols], dtype=np.int32),
            },
        )

    def quotes(self, table: str, keys: Sequence[str], book: Instruments) -> QuoteRows:
        """Return the quote rows of a table for the instruments of the book."""
        files = self.files(table, keys)
        if not files:
            nothing = np.zeros(0)
            whole = np.zeros(0, np.int32)
            return QuoteRows(np.zeros(0, np.int64), whole, whole, nothing, nothing, nothing, nothing)
        self._register(book)
        got = read_columns(
            self.connection,
            files,
            "SELECT epoch_ns(ts) AS ts, id, session, bid, ask, bid_size, ask_size "  # noqa: S608 - our own join
            f"FROM rows JOIN book USING (symbol) {self._in_session}",
        )
        return QuoteRows(
            got["ts"].astype(np.int64),
            got["id"].astype(np.int32),
            got["session"].astype(np.int32),
            *(as_float(got[column]) for column in ("bid", "ask", "bid_size", "ask_size")),
        )

    def closes(self, table: str, keys: Sequence[str], book: Instruments) -> QuoteRows:
        """Return quotes a tick below and above the closes of a table's trade bars, with a size unknown."""
        files = self.files(table, keys)
        self._register(book)
        got = read_columns(
            self.connection,
            files,
            "SELECT epoch_ns(ts) AS ts, id, session, close "  # noqa: S608 - our own join
            f"FROM rows JOIN book USING (symbol) {self._in_session} ORDER BY ts, id",
        )
        ids, close = got["id"].astype(np.int32), as_float(got["close"])
        tick = np.array([float(each.tick_rule.below) for each in book])[ids]
        unknown = np.zeros(len(ids))
        stamps, sessions = got["ts"].astype(np.int64), got["session"].astype(np.int32)
        return QuoteRows(stamps, ids, sessions, close - tick, close + tick, unknown, unknown.copy())

    def bars(
        self, tables: dict[str, tuple[str, ...]], book: Instruments, bar_seconds: int
    ) -> BarColumns | None:
        """Return the trade bars of the tables, sorted by time and instrument."""
        values = ("open", "high", "low", "close", "volume")
        same_order = f"ORDER BY ts, id, {', '.join(values)}"
        parts: list[dict[str, NDArray[Any]]] = []
        self._register(book)
        for table, keys in tables.items():
            files = self.files(table, keys)
            if files:
                select = (
                    f"SELECT epoch_ns(ts) AS ts, id, {', '.join(values)} FROM rows JOIN book USING (symbol)"  # noqa: S608 - our own columns
                )
                parts.append(
                    read_columns(self.connection, files, f"{select} {self._in_session} {same_order}")
                )
        if not sum(len(part["ts"]) for part in parts):
            return None
        ts = np.concatenate([part["ts"] for part in parts]).astype(np.int64)
        ids = np.concatenate([part["id"] for part in parts]).astype(np.int32)
        order = np.lexsort((ids, ts))
        columns = (np.concatenate([as_float(part[value]) for part in parts])[order] for value in values)
        return BarColumns(ts[order], ids[order], np.full(len(ts), bar_seconds, np.int32), *columns)

    def open_interest(self, roots: Sequence[str], book: Instruments) -> dict[str, int]:
        """Return what was published on the first session's day before it opened."""
        first = self.sessions[0]
        files = [
            p
            for root in roots
            for p in day_files(self.catalog, self.name, "open_interest", root, [first.day.isoformat()])
        ]
        if not files:
            return {}
        got = read_columns(
            self.connection,
            files,
            "SELECT symbol, arg_max(open_interest, ts) AS oi FROM rows WHERE epoch_ns(ts) <= ? "
            "AND open_interest IS NOT NULL GROUP BY symbol ORDER BY symbol",
            [first.open_ns],
        )
        return {s: int(n) for s, n in zip(got["symbol"], got["oi"], strict=True) if s in book}


_UNCARRIED = ("merger", "spin_off")
"""Actions that no run is carried across."""
KINDS = tuple(kind.value for kind in ActionKind)
"""Actions that are applied, an ordinary dividend besides."""


def upcoming_actions(
    connection: Any, catalog: Path, name: str, symbol: str, days: tuple[date, date], last: date
) -> tuple[tuple[CashDividend, ...], tuple[CorporateAction, ...]]:
    """Return the dividends and the corporate actions from the first of a run's days to ``last``.

    For an index fund the dividends of the year before are among them: the desk expects them again. Raises
    DataError when a merger or a spin-off lies after the first of ``days`` (first and last session) and not
    after the last, or the table names an action that is none of these, a dividend or of :data:`KINDS`.
    """
    first, end = days
    since = first - timedelta(days=YEAR_DAYS) if symbol in INDEX_FUNDS else first
    path = day_file(catalog, name, "corporate_actions", symbol, "all")
    if not path.is_file():
        return (), ()
    got = read_columns(
        connection,
        [path],
        "SELECT strftime(ex_date, '%Y-%m-%d') AS day, action, amount::VARCHAR AS amount FROM rows "
        "WHERE ex_date BETWEEN ? AND ? ORDER BY ex_date, action",
        [since, last],
    )
    dividends, actions = list[CashDividend](), list[CorporateAction]()
    for day, action, amount in zip(got["day"], got["action"], got["amount"], strict=True):
        ex_date, figure = date.fromisoformat(day), Decimal(amount).normalize() + 0
        if action == "dividend":
            dividends.append(CashDividend(symbol, ex_date, figure))
        elif ex_date < first:
            continue
        elif action in KINDS:
            actions.append(CorporateAction.of_figure(symbol, ex_date, action, figure))
        elif action not in _UNCARRIED:
            raise DataError(
                "the data set names an action that cannot be applied",
                where=str(path),
                value=f"{day}: {action}",
                fix=f"write dividend, {', '.join(KINDS)} or {' or '.join(_UNCARRIED)}",
            )
        elif first < ex_date <= end:
            raise DataError(
                f"no run is carried across the {action.replace('_', '-')} of {symbol} on {day}: what is held "
                "and what strategies remember are another share's after it",
                where=str(path),
                value=f"{day}: {action}",
                fix=f"end the run before {day}, or begin it on {day} or later",
            )
    return tuple(dividends), tuple(actions)


def rate_curve_on(connection: Any, path: Path, day: date) -> RateCurve | None:
    """Return the rate in force on ``day`` as a flat curve, or None when the set has no rates."""
    if not path.is_file():
        return None
    got = read_columns(
        connection, [path], "SELECT rate FROM rows WHERE date <= ? ORDER BY date DESC LIMIT 1", [day]
    )
    return RateCurve((1.0,), (float(got["rate"][0]),)) if len(got["rate"]) else None


COIN_TAPE = "scalpdesk.datasets.coin_data:coin_tape"
"""Loader of data sets of the type ``coin``; only they import it."""
MAX_SIDE_AGE_SECONDS = 300.0

_IndexSource = Literal["recorded", "parity"]
Hours = Literal["regular", "globex"]


def list_data_sets(catalog: Path) -> tuple[list[Manifest], dict[str, DataError]]:
    """Return the manifests of the catalogue, sorted by name, and the errors of the damaged manifests."""
    manifests: list[Manifest] = []
    damaged: dict[str, DataError] = {}
    for name in data_set_names(catalog):
        try:
            manifests.append(read_manifest(catalog, name))
        except DataError as error:
            damaged[name] = error
    return manifests, damaged


def find_underlying(
    catalog: Path, name: str, underlying: str
) -> tuple[Manifest, str, Coverage, tuple[str, ...]]:
    """Find an underlying, or the index behind an option root, in a data set.

    ``SPXW`` gives ``SPX`` with only the root SPXW; ``SPX`` gives all its roots. Raises DataError
    when the data set or the underlying is not there; names what is.
    """
    manifest = read_manifest(catalog, name)
    wanted = underlying.upper()
    index = underlying_of_root(wanted)
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


def _settlement_levels(
    reader: _SessionReader, index: str, days: Iterable[date]
) -> dict[tuple[str, date], float]:
    """Return what options on the index settle at, by index and day, where it is recorded."""
    first = reader.sessions[0].day
    levels = {
        (index, day): closing_level(reader.connection, reader.catalog, reader.name, index, session_on(day))
        for day in sorted(days)
        if is_session(day) and day >= first
    }
    return {key: level for key, level in levels.items() if level is not None}


def load_tape(
    catalog: Path,
    name: str,
    *,
    underlying: str,
    start: date,
    end: date,
    max_side_age_seconds: float | None = MAX_SIDE_AGE_SECONDS,
    index_source: _IndexSource = "recorded",
    option_bars: bool = False,
    is_hedge: bool = False,
    hours: Hours = "regular",
) -> MarketTape:
    """Read sessions of one underlying and its options: rows known after the open and up to the close.

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
    max_side_age_seconds
        How long a side without an update is carried forward; None for the whole session.
    index_source
        ``recorded`` takes the recorded level of an index and derives it by put-call parity only in
        sessions without one; ``parity`` derives it in every session.
    option_bars
        Also load the options' trade bars (the underlying's are always loaded).
    is_hedge
        Load the underlying alone, to hedge other options with; where no quotes of it were recorded, from
        its trades: a tick below and above the close of each bar.
    hours
        Sessions of a future and its options: ``regular`` are those of the stock exchanges, ``globex`` CME's.

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
    is_globex = hours == "globex" and coverage.type == "future"
    calendar = globex_sessions if is_globex else sessions_between
    sessions, gaps = _covered_sessions(catalog, manifest, base, coverage, start, end, calendar)
    reader = _SessionReader(connect(), catalog, name, sessions)
    notes = [f"no data on {', '.join(map(str, gaps))}"] if gaps else []

    options = [] if is_hedge else reader.options(roots, () if coverage.type == "index" else (base,))
    book, main_symbol = _underlying_book(reader, base, coverage)
    for option in options:
        if option.is_on_future and option.underlying not in book:
            book.add(future_contract(option.underlying))
        book.add(option)

    parts = [reader.quotes("option_quotes", () if is_hedge else roots, book)]
    settlements: dict[tuple[str, date], float] = {}
    if coverage.type == "index":
        levels = _index_levels(reader, base, coverage, index_source, notes)
        ends = {session.day for session in sessions} | {option.expiry for option in options}
        if index_source == "parity":  # what is derived by request is also settled on
            ends -= {session.day for session in sessions}
        settlements = _settlement_levels(reader, base, ends)
        parts.insert(0, levels)
    else:
        parts.insert(0, reader.quotes("quotes", (base,), book))
        if is_hedge and not len(parts[0]):
            parts[0] = reader.closes("trades", (base,), book)
            notes.append(f"{base}: no quotes, a tick below and above each bar's close are taken for them")
        if options and not len(parts[0]):
            raise DataError(
                f"the data set has options on {base} but no quotes of {base} itself in these sessions",
                where=str(catalog / name),
                value=f"{start} to {end}",
                fix="import the quotes of the underlying into the same data set",
            )
    rows, counts = complete_sides(QuoteRows.joined(parts), max_side_age_seconds)
    notes.extend(_side_notes(counts, max_side_age_seconds))
    main_bars = "index_levels" if coverage.type == "index" else "trades"
    bar_tables: dict[str, tuple[str, ...]] = {main_bars: (base,)}
    if option_bars:
        bar_tables["option_trades"] = roots
    last_expiry = max((option.expiry for option in options), default=end)
    dividends, actions = upcoming_actions(
        reader.connection, catalog, name, base, (sessions[0].day, sessions[-1].day), last_expiry
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
        actions=actions,
        rate_curve=rates or FLAT_ZERO,
        settlement_prices=settlements,
        quote_seconds=float(manifest.bar_seconds),
        notes=(*notes, *manifest.notes),
    )


MOST_MISSING = 5
"""Sessions in a row that may be missing within a span: a week of them no exchange was closed."""


class SessionHole(NamedTuple):
    """Sessions of the exchange that lie between days that are there."""

    first: date
    last: date
    sessions: int


def holes_between(days: Iterable[date]) -> list[SessionHole]:
    """Return the holes among some days, by the exchange's calendar."""
    known = sorted({day for day in days if is_known(day)})
    found = []
    for before, after in pairwise(known):
        lacking = [each.day for each in sessions_between(before, after) if before < each.day < after]
        if lacking:
            found.append(SessionHole(lacking[0], lacking[-1], len(lacking)))
    return found


def longest_hole(days: Iterable[date]) -> SessionHole | None:
    """Return the longest hole among some days; None without one."""
    return max(holes_between(days), key=lambda hole: hole.sessions, default=None)


def refuse_hole(name: str, days: Iterable[date]) -> None:
    """Refuse a span with more than :data:`MOST_MISSING` sessions in a row missing: what is held has no hedge.

    Raises DataError, which names the hole and the spans beside it.
    """
    there = tuple(days)
    hole = longest_hole(there)
    if hole is None or hole.sessions <= MOST_MISSING:
        return
    before, after = max(d for d in there if d < hole.first), min(d for d in there if d > hole.last)
    raise DataError(
        f"{hole.sessions} sessions in a row are missing: what is held over them has no quote and no hedge",
        where=name,
        value=f"{hole.first} to {hole.last}",
        fix=f"end at {before} or start at {after}, or import the sessions between",
    )


def _covered_sessions(
    catalog: Path,
    manifest: Manifest,
    base: str,
    coverage: Coverage,
    start: date,
    end: date,
    calendar: Callable[[date, date], tuple[Session, ...]],
) -> tuple[tuple[Session, ...], list[date]]:
    """Return the sessions wanted and there, and those missing between them."""
    is_within_reach = is_known(start) and is_known(end)
    wanted = calendar(start, end) if start <= end and is_within_reach else ()
    there = set(file_days(start, end, coverage.sessions))
    found = tuple(s for s in wanted if s.day.isoformat() in there or str(s.day.year) in there)
    if not found or found[0] != wanted[0] or found[-1] != wanted[-1]:
        missing = [s.day for s in wanted if s not in found]
        closed = None if wanted or not is_within_reach else why_closed(start)
        uncovered = f"the data set {manifest.name} in {catalog} does not cover these sessions of {base}"
        raise DataError(
            (f"this day is {closed}, the exchange is closed" if closed else uncovered)
            + f"; it has {_described(coverage.sessions)}",
            where="session",
            value=f"{start} to {end}" if end != start else str(start),
            nearest=_nearest_session(missing[0] if missing else start, coverage.sessions),
            fix="choose among those sessions, or import more with scalpdesk data import",
        )
    return found, [s.day for s in wanted if s not in found]


def _described(sessions: Sequence[str]) -> str:
    if len(sessions) <= 8:
        return ", ".join(sessions)
    return f"{len(sessions)} sessions from {sessions[0]} to {sessions[-1]}"


def _nearest_session(day: date, sessions: Sequence[str]) -> str | None:
    dated = [text for text in sessions if len(text) == 10]
    return min(dated, key=lambda text: abs((date.fromisoformat(text) - day).days), default=None)


def _underlying_book(reader: _SessionReader, base: str, coverage: Coverage) -> tuple[Instruments, str]:
    """Return a book with the underlying first, and the symbol that the tape goes by."""
    if coverage.type == "future":
        contracts = [future_contract(symbol) for symbol in reader.symbols(("quotes", "trades"), (base,))]
        front = front_contract(contracts, reader.sessions[0].day)
        return Instruments([front, *contracts]), front.symbol
    # a data set that calls an index a share does not make it one
    underlying = Index(base) if coverage.type == "index" or base in INDICES else Equity(base)
    return Instruments([underlying]), base


def _index_levels(
    reader: _SessionReader, index: str, coverage: Coverage, source: _IndexSource, notes: list[str]
) -> QuoteRows:
    """Return an index's level as quotes without size."""
    found: list[tuple[int, LevelRows]] = []
    option_roots = tuple(key for key in coverage.keys if underlying_of_root(key) in INDICES)
    for number, session in enumerate(reader.sessions):
        place = (reader.connection, reader.catalog, reader.name)
        rows = None
        if source == "recorded":
            rows = recorded_levels(*place, index, session, regular_hours=True)
        if rows is None:
            rows = parity_level_rows(*place, option_roots, session)
        if rows is None:
            notes.append(f"{session.day}: no level of {index}, recorded or derivable")
            continue
        found.append((number, rows))
        if rows.note:
            notes.append(rows.note)
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
    return QuoteRows(ts, ids, numbers, level, level.copy(), none, none.copy())


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
            f"the older side is withheld, both sides where neither is known to be older"
        )
    return notes
