"""Daily history of 30-day implied volatility at the money, by symbol: what an IV rank is taken from.

One CSV file in the folder of the catalogue, with the columns of :data:`COLUMNS`; lines from elsewhere may be
added by hand. Where a symbol of the S&P 500 has no history of its own, the packaged VIX closes stand in for
it, and the event says so.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import msgspec

from scalpdesk.core.errors import DataError, Notify
from scalpdesk.core.events import Event, ImpliedVolEvent
from scalpdesk.core.units import DAYS_PER_YEAR, MINUTE_NS, InstrumentId
from scalpdesk.datasets.daily_history import STALE_DAYS, VIX_CLOSES, vix_closes_before
from scalpdesk.datasets.embedded import EMBEDDED, RECONSTRUCTED
from scalpdesk.datasets.store import HistoryFile
from scalpdesk.engine.desk import Desk
from scalpdesk.marketdata.chain_surface import ChainQuotes, chain_quotes_at, chain_quotes_of, fit_chain
from scalpdesk.marketdata.tape import MarketTape

FILE = "implied_vol_30d.csv"
COLUMNS = ("symbol", "session", "implied_vol", "source")
_THIRTY_DAYS = 30.0 / DAYS_PER_YEAR
BEFORE_CLOSE_NS = MINUTE_NS
"""The close is measured a minute before it: in the last seconds quotes are withdrawn."""
VIX_SYMBOLS = frozenset({"SPY", "SPX", "XSP"})
"""Symbols whose 30-day implied volatility the VIX is."""
_LONGEST_REACH = 1.5
"""The 30 days may lie beyond the last expiry by at most this factor."""


class DailyImpliedVol(msgspec.Struct, frozen=True):
    """Implied volatility of a symbol at the end of a session, a fraction a year."""

    symbol: str
    session: date
    vol: float
    source: str
    """Data set, venue or file that it comes from."""


class ImpliedVolHistory:
    """The file of daily implied volatilities."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        fix = f"write {','.join(COLUMNS)} with a date as 2018-02-05 and a volatility as 0.21"
        self._file = HistoryFile(self.path, COLUMNS, "implied volatilities", fix)

    def read(self, symbol: str) -> list[DailyImpliedVol]:
        """Return what is kept of a symbol, oldest first. Raises DataError when a line is not of this form."""
        rows = (row for row in self._file.read(_row_of) if row.symbol == symbol)
        return sorted(rows, key=lambda row: row.session.toordinal())

    def keep(self, days: Iterable[DailyImpliedVol]) -> int:
        """Add days, in the place of those already there; return how many lines the file has.

        A reconstructed market has lines of its own: its days are those of real markets, too. Raises DataError
        when the file is not of this form, or cannot be written.
        """
        added = list(days)
        with self._file.locked():
            rows = {
                (row.symbol, row.session, row.source if row.source in RECONSTRUCTED else ""): row
                for row in (*self._file.read(_row_of), *added)
            }
            self._file.write(
                (row.symbol, row.session.isoformat(), repr(row.vol), row.source)
                for _, row in sorted(rows.items())
            )
        return len(rows)


def _row_of(symbol: str, session: str, vol: str, source: str) -> DailyImpliedVol:
    made = DailyImpliedVol(symbol, date.fromisoformat(session), float(vol), source)
    if not (math.isfinite(made.vol) and made.vol > 0.0):
        raise ValueError(vol)
    return made


def implied_vol_event(
    folder: Path, number: InstrumentId, symbol: str, day: date, at_ns: int, *, market: str
) -> ImpliedVolEvent | None:
    """Return the implied volatility of a symbol as known at the open of ``day``; None where none is known.

    Nothing of the day itself is used; a last value counts for a week. What a reconstructed ``market``
    has left counts for no other. The embedded market's options are quoted at multiples of the VIX, whose rank
    is then their own.
    """
    counted = [
        row
        for row in ImpliedVolHistory(folder).read(symbol)
        if row.session < day and (row.source == market or row.source not in RECONSTRUCTED)
    ]
    counted.sort(key=lambda row: (row.session, row.source == market))  # of a day's values the market's own
    own = list({row.session: row for row in counted}.values())
    if own and (day - own[-1].session).days <= STALE_DAYS:
        vols = [row.vol for row in own]
        past, last, source = vols[:-1][-VIX_CLOSES:], vols[-1], symbol
    else:
        closes = vix_closes_before(day) if market == EMBEDDED or symbol in VIX_SYMBOLS else None
        if closes is None:
            return None
        (past, last), source = closes, "VIX"
    return ImpliedVolEvent(number, at_ns, at_ns, last, tuple(past), source)


class ImpliedVolRecorder:
    """Keeps the 30-day implied volatility of a desk's underlyings before each close; a watcher of its run.

    The desk is only read. ``source`` is the data set or venue that is written down; ``say`` takes what is
    kept, or why nothing is.
    """

    def __init__(
        self, desk: Desk, symbols: Sequence[str], folder: Path, source: str, say: Notify | None = None
    ) -> None:
        self._desk = desk
        self._symbols = tuple(symbols)
        self._history = ImpliedVolHistory(folder)
        self._source = source
        self._say = say
        self._kept: date | None = None

    def see(self, event: Event, outputs: object) -> None:
        """Measure with the first event of a session's last minute; the marks of a run bring one."""
        del outputs
        session = self._desk.view.session
        if session is None or session.day == self._kept:
            return
        if event.ts_recv_ns < session.close_ns - BEFORE_CLOSE_NS:
            return
        self._kept = session.day
        found = []
        for symbol in self._symbols:
            chain = chain_quotes_of(self._desk.market, self._desk.instruments, symbol, event.ts_recv_ns)
            vol = None if chain is None else implied_vol_30d(chain)
            if vol is not None:
                found.append(DailyImpliedVol(symbol, session.day, vol, self._source))
        try:
            self._history.keep(found)
        except DataError as error:  # trading goes on without
            self._report("warning", f"no implied volatility is kept: {error.what} ({error.where})")
            return
        missing = sorted(set(self._symbols) - {row.symbol for row in found})
        if missing:
            why = f"no options of {', '.join(missing)} reach to 30 days: their IV rank is not recorded today"
            self._report("warning", why)

    def _report(self, level: str, text: str) -> None:
        if self._say is not None:
            self._say(level, text)


def implied_vol_30d(chain: ChainQuotes) -> float | None:
    """Return the 30-day implied volatility at the money of a chain, a fraction a year.

    From the surface fitted to it; None where no smile could be fitted or the longest expiry is much shorter
    than 30 days.
    """
    if max((entry.years for entry in chain.expiries), default=0.0) * _LONGEST_REACH < _THIRTY_DAYS:
        return None
    surface = fit_chain(chain).surface
    if not surface.fitted:
        return None
    vol = float(surface.vol(surface.forward(_THIRTY_DAYS), _THIRTY_DAYS))
    return vol if math.isfinite(vol) and vol > 0.0 else None


def implied_vol_at_close(tape: MarketTape, day: date) -> float | None:
    """Return the 30-day implied volatility at the money a minute before the close of a tape's session."""
    session = next(item for item in tape.sessions if item.day == day)
    return implied_vol_30d(chain_quotes_at(tape, session.close_ns - BEFORE_CLOSE_NS))
