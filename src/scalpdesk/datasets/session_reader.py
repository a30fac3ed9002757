"""Rows of one data set in given sessions, as numpy columns numbered by an instrument book."""

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.sides import QuoteRows
from scalpdesk.datasets.store import as_float, day_files, read_columns
from scalpdesk.instruments.contract import InstrumentBook, OptionContract, us_option
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.tape import BarColumns


class SessionReader:
    """Reads the tables of one data set for given sessions."""

    def __init__(
        self, connection: Any, catalog: Path, name: str, sessions: tuple[Session, ...], regular_hours: bool
    ) -> None:
        self.connection, self.catalog, self.name = connection, catalog, name
        self.sessions, self.regular_hours = sessions, regular_hours
        connection.register(
            "sessions",
            {
                "session": np.arange(len(sessions), dtype=np.int32),
                "opens": np.array([s.open_ns for s in sessions], dtype=np.int64),
                "closes": np.array([s.close_ns for s in sessions], dtype=np.int64),
                "day": np.array([s.day.isoformat() for s in sessions], dtype=object),
            },
        )
        inside = "epoch_ns(ts) > opens AND epoch_ns(ts) <= closes"
        same_day = "strftime(ts AT TIME ZONE 'America/New_York', '%Y-%m-%d') = day"
        self._in_session = f"JOIN sessions ON {inside if regular_hours else same_day}"

    def files(self, table: str, keys: Sequence[str]) -> list[Path]:
        """Return the files of a table that touch the sessions."""
        days = [s.day.isoformat() for s in self.sessions] + [str(s.day.year) for s in self.sessions]
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

    def options(
        self, roots: Sequence[str], symbols: Collection[str] | None, expiries: Collection[date] | None
    ) -> list[OptionContract]:
        """Return the options with quotes, filtered, by expiry, strike, call before put."""
        every = [us_option(symbol) for symbol in self.symbols(("option_quotes",), roots)]
        kept = [
            option
            for option in every
            if (symbols is None or option.symbol in symbols)
            and (expiries is None or option.expiry in expiries)
        ]
        if every and not kept:
            listed = sorted({str(option.expiry) for option in every})
            raise DataError(
                f"the filter leaves none of the {len(every)} options; expiries there: "
                + ", ".join(listed[:12]),
                where="symbols" if symbols is not None else "expiries",
                value=sorted(map(str, symbols if symbols is not None else expiries or ()))[:5],
                fix="loosen the filter, or choose an expiry that is there",
            )
        return sorted(kept, key=lambda o: (o.expiry, o.strike, o.right.value, o.symbol))

    def _register(self, book: InstrumentBook) -> None:
        symbols = [instrument.symbol for instrument in book]
        self.connection.register(
            "book",
            {
                "symbol": np.array(symbols, dtype=object),
                "id": np.array([book.id_of(symbol) for symbol in symbols], dtype=np.int32),
            },
        )

    def quotes(self, table: str, keys: Sequence[str], book: InstrumentBook) -> QuoteRows:
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

    def bars(
        self, tables: dict[str, tuple[str, ...]], book: InstrumentBook, bar_seconds: int
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

    def open_interest(self, roots: Sequence[str], book: InstrumentBook) -> dict[str, int]:
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
