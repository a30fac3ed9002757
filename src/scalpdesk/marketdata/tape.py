"""Market tape: quotes and bars of one or more sessions as columns, from data sets to backtests.

Columns are sorted by the instant at which a row is known (``ts_ns``), never by the start of a bar.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from hashlib import blake2b, sha256
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import Session


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows about instruments, as columns of equal length."""

    ts_ns: NDArray[np.int64]
    """UTC nanoseconds at which the row is known."""
    instrument_id: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Return the rows picked, in the order given."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))

    def with_rows(self, places: NDArray[np.int64], rows: NDArray[np.int64]) -> Self:
        """Return the rows with some places taken by others, as they are now."""
        columns = [getattr(self, column.name).copy() for column in fields(self)]
        for column in columns:
            column[places] = column[rows]
        return type(self)(*columns)

    def between(self, from_ns: int, to_ns: int) -> Self:
        """Return the rows known from one instant to another, both included; rows are in order of time."""
        low = np.searchsorted(self.ts_ns, from_ns, side="left")
        return self.take(slice(int(low), int(np.searchsorted(self.ts_ns, to_ns, side="right"))))

    def by_time(self) -> Self:
        """Return the rows in order of time; those of one instant stay as they are."""
        return self.take(np.argsort(self.ts_ns, kind="stable"))

    def whole(self) -> Self:
        """Return all rows."""
        return self

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts (one at least), one part after another."""
        return cls(
            *(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(cls))
        )


@dataclass(frozen=True, slots=True)
class QuoteColumns(Columns):
    """Quotes, one row each. A missing side is NaN with size 0."""

    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    bid_size: NDArray[np.float64]
    ask_size: NDArray[np.float64]
    """Displayed size in shares or contracts."""

    def until(self, now_ns: int) -> "QuoteColumns":
        """Return the rows known by ``now_ns``."""
        return self.between(int(self.ts_ns[0]) if len(self) else 0, now_ns)

    def quotes(self, rows: slice | NDArray[np.int64]) -> list[QuoteEvent]:
        """Return these rows as events."""
        stamps = self.ts_ns[rows].tolist()
        return list(
            map(
                QuoteEvent,
                self.instrument_id[rows].tolist(),
                stamps,
                stamps,
                self.bid[rows].tolist(),
                self.ask[rows].tolist(),
                self.bid_size[rows].tolist(),
                self.ask_size[rows].tolist(),
            )
        )

    def mids(self, number: InstrumentId) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return instants (UTC nanoseconds) and mids of an instrument's two-sided quotes."""
        rows = self.instrument_id == number
        mids = 0.5 * (self.bid[rows] + self.ask[rows])
        known = np.isfinite(mids) & (self.bid[rows] > 0.0)  # without a bid it would be half an ask
        return self.ts_ns[rows][known], mids[known]

    def digest(self) -> str:
        """Return the SHA-256 of all rows, 64 hexadecimal digits; processors have instructions for it."""
        return self._hashed(sha256())

    def has_digest(self, digest: str) -> bool:
        """Return whether these are the rows of a digest; one of 32 digits is BLAKE2b-128, of a run before."""
        return digest == (self._hashed(blake2b(digest_size=16)) if len(digest) == 32 else self.digest())

    def _hashed(self, hasher: Any) -> str:
        for column in fields(self):
            hasher.update(np.ascontiguousarray(getattr(self, column.name)).data)
        found: str = hasher.hexdigest()
        return found

    def without_sizes(self) -> "QuoteColumns":
        """Return the quotes with unknown displayed sizes."""
        unknown = np.zeros(len(self))
        return replace(self, bid_size=unknown, ask_size=unknown)


class LazyQuotes:
    """Quotes of many sessions, each loaded when it is read; the last two stay in memory.

    ``load`` returns the quotes of a session, sorted by time; the same quotes each time.
    """

    def __init__(self, sessions: Sequence[Session], load: Callable[[Session], QuoteColumns]) -> None:
        self._sessions = tuple(sessions)
        self._load = load
        self._of = lru_cache(maxsize=2)(load)

    def between(self, from_ns: int, to_ns: int) -> QuoteColumns:
        """Return the rows known from one instant to another, both included."""
        wanted = [each for each in self._sessions if each.open_ns <= to_ns and each.close_ns >= from_ns]
        parts = [self._of(session).between(from_ns, to_ns) for session in wanted]
        return parts[0] if len(parts) == 1 else QuoteColumns.joined([NO_QUOTES, *parts])

    def until(self, now_ns: int) -> QuoteColumns:
        """Return the rows of the running or the last session that are known by ``now_ns``."""
        begun = [session for session in self._sessions if session.open_ns <= now_ns]
        return self.between(begun[-1].open_ns, now_ns) if begun else NO_QUOTES

    def whole(self) -> QuoteColumns:
        """Return all rows, in memory: 15 MB a session."""
        return QuoteColumns.joined([self._of(session) for session in self._sessions])

    def without_sizes(self) -> "LazyQuotes":
        """Return the quotes with unknown displayed sizes."""
        return self.changed(QuoteColumns.without_sizes)

    def changed(self, change: Callable[[QuoteColumns], QuoteColumns]) -> "LazyQuotes":
        """Return the quotes as a function of the rows of a session gives them."""
        return LazyQuotes(self._sessions, lambda session: change(self._load(session)))


NO_QUOTES = QuoteColumns(
    np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
)


@dataclass(frozen=True, slots=True)
class BarColumns(Columns):
    """Closed trade bars, one row each; ``ts_ns`` is the end of the bar."""

    bar_seconds: NDArray[np.int32]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def edges_of(self, number: InstrumentId) -> tuple[float, float, float, float] | None:
        """Return open, high, low and close of an instrument over all bars; None without any."""
        mine = np.flatnonzero(self.instrument_id == number)
        if not len(mine):
            return None
        top, bottom = float(self.high[mine].max()), float(self.low[mine].min())
        return float(self.open[mine[0]]), top, bottom, float(self.close[mine[-1]])


@dataclass(frozen=True, slots=True)
class LazyBars:
    """Bars of many sessions, each loaded when it is read."""

    sessions: tuple[Session, ...]
    load: Callable[[Session], BarColumns]
    edges: Mapping[int, tuple[float, float, float, float]]
    """Open, high, low and close of an underlying over all of them, by its number."""

    def between(self, from_ns: int, to_ns: int) -> BarColumns:
        """Return the bars that end from one instant to another, both included; within one session."""
        session = next(each for each in self.sessions if each.close_ns >= from_ns)
        return self.load(session).between(from_ns, to_ns)

    def whole(self) -> BarColumns:
        """Return all bars."""
        return BarColumns.joined([self.load(session) for session in self.sessions])

    def edges_of(self, number: InstrumentId) -> tuple[float, float, float, float] | None:
        """Return open, high, low and close of an underlying over all bars; None for another instrument."""
        return self.edges.get(number)


@dataclass(frozen=True, slots=True)
class CashDividend:
    """A dividend of ``amount`` in currency a share, ex at the open of ``ex_date``."""

    symbol: str
    ex_date: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FundingRate:
    """Funding of a perpetual over the ``hours`` before ``ts_ns``: a fraction for eight hours."""

    symbol: str
    ts_ns: int
    rate: Decimal
    index: Decimal
    """Price of the coin in US dollars, at which it is paid."""
    hours: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Continuously compounded rates (fractions a year) by days to maturity; flat outside."""

    days: tuple[float, ...]
    rates: tuple[float, ...]

    def rate_at(self, days: float) -> float:
        """Return the rate for ``days`` to maturity, linear between the points."""
        # as `numpy.interp`, to the bit and in an eighth of its time: every valuation asks
        xs, ys = self.days, self.rates
        after = bisect_right(xs, days)
        if after in (0, len(xs)):
            return ys[0] if not after else ys[-1]
        slope = (ys[after] - ys[after - 1]) / (xs[after] - xs[after - 1])
        return slope * (days - xs[after - 1]) + ys[after - 1]


FLAT_ZERO = RateCurve((1.0,), (0.0,))


@dataclass(frozen=True, slots=True)
class Morning:
    """Publications before a session opens."""

    rate_curve: RateCurve
    open_interest: dict[str, int]
    declared: tuple[CashDividend, ...]
    """Dividends that become known."""


@dataclass(frozen=True, slots=True)
class TapeOrigin:
    """Where a tape comes from: loaded again from there it has the same rows."""

    data_set: str
    underlying: str
    """Symbol; of several underlyings all, with commas between them."""
    start: date
    end: date
    seed: int
    hedge: str = ""
    """Instrument that hedges the options in their underlying's place; empty where that one does."""
    hedge_set: str = ""
    """Data set of its quotes; empty for that of the options."""
    quality: Quality = "clean"
    """Quotes of the embedded market."""


@dataclass(frozen=True, slots=True)
class MarketTape:
    """One or more consecutive sessions of one market.

    ``kind`` is ``recorded`` or ``reconstructed``: it follows the data into every result shown. A pickled tape
    that was loaded names its data set and content, and is loaded again; another has its columns.
    """

    name: str
    kind: str
    underlying: str
    sessions: tuple[Session, ...]
    instruments: Instruments
    quotes: QuoteColumns | LazyQuotes
    bars: BarColumns | LazyBars | None = None
    open_interest: dict[str, int] = field(default_factory=dict)
    """Contracts by option symbol, as published before the first session."""
    dividends: tuple[CashDividend, ...] = ()
    actions: tuple[CorporateAction, ...] = ()
    """Splits and special dividends of these sessions."""
    funding: tuple[FundingRate, ...] = ()
    rate_curve: RateCurve = FLAT_ZERO
    dividend_yield: float = 0.0
    """Continuous yield of the underlying, a fraction a year."""
    variance_clock: str = "us-sessions"
    """Name of the variance clock that its market runs by."""
    settlement_prices: dict[tuple[str, date], float] = field(default_factory=dict)
    """Official closing level by (underlying, session), where it is not the last quote's mid."""
    quote_seconds: float = 1.0
    """Typical time between two updates of a live instrument; staleness limits scale with it."""
    notes: tuple[str, ...] = ()
    """Caveats that are shown with results (derived index, missing sides ...)."""
    quality: Quality | None = None
    """Quality of the quotes of the embedded market; None for other markets."""
    morning: Callable[[Session], Morning] | None = None
    """Where sessions differ in it; without it what the tape has is known at the first open."""
    loaded: tuple[TapeOrigin, QuoteColumns | LazyQuotes, tuple[Session, ...]] | None = None
    """Where the tape was loaded from, with the quotes and sessions as they came from there."""
    load_again: Callable[[], "MarketTape"] | None = None
    """Loads it as it was loaded before, in whatever process and folder."""
    catalog: str | None = None
    """Folder of the catalogue where a notebook named one; None for that of the configuration."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Underlyings beside the main one, each with its dividend yield."""
    hedge: str = ""
    """Symbol of what hedges in the main underlying's place (``hedge.instrument``); empty without one."""

    @property
    def underlyings(self) -> tuple[str, ...]:
        """Symbols of all underlyings, the main one first."""
        return (self.underlying, *self.others)

    @property
    def underlying_ids(self) -> tuple[InstrumentId, ...]:
        """Numbers of all underlyings, the main one first."""
        return tuple(map(self.instruments.id_of, self.underlyings))

    def with_main(self, symbol: str) -> "MarketTape":
        """Return this tape with another of its underlyings as the main one."""
        yields = {self.underlying: self.dividend_yield, **self.others}
        return replace(self, underlying=symbol, dividend_yield=yields.pop(symbol), others=yields)

    @property
    def origin(self) -> TapeOrigin | None:
        """Where the quotes can be loaded again; None for those that were put together by hand."""
        if self.loaded is None or self.loaded[1] is not self.quotes or self.loaded[2] != self.sessions:
            return None
        return self.loaded[0]

    def content_digest(self) -> str:
        """Return a SHA-256 of symbols and quotes; of quotes that are read in parts those of two sessions."""
        symbols = "\n".join(item.symbol for item in self.instruments)
        ends = dict.fromkeys((self.sessions[0], self.sessions[-1]))
        if isinstance(self.quotes, LazyQuotes):
            parts = [self.quotes.between(each.open_ns, each.close_ns) for each in ends]
        else:
            parts = [self.quotes]
        return sha256("\n".join((symbols, *(part.digest() for part in parts))).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is not None and self.load_again is not None:
            return _loaded_again, (self.load_again, self.catalog, self.content_digest())
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {"quotes": self.quotes.whole(), "loaded": None, "load_again": None}
        if self.bars is not None:
            values["bars"] = self.bars.whole()
        if self.morning is not None:
            mornings = {session: self.morning(session) for session in self.sessions}
            values["morning"] = mornings.__getitem__
        return partial(MarketTape, **values), ()

    def __post_init__(self) -> None:
        """Refuse unsorted columns: they would give look-ahead."""
        for label, columns in (("quotes", self.quotes), ("bars", self.bars)):
            if isinstance(columns, LazyQuotes | LazyBars):
                continue
            if columns is not None and len(columns) > 1 and bool(np.any(np.diff(columns.ts_ns) < 0)):
                at = int(np.argmax(np.diff(columns.ts_ns) < 0)) + 1
                raise DataError(
                    f"the {label} of a tape must be sorted by the time at which they are known",
                    where=f"{self.name}: {label} row {at}",
                    fix="sort the columns by ts_ns before building the tape",
                )


def _loaded_again(load: Callable[[], MarketTape], catalog: str | None, digest: str) -> MarketTape:
    tape = load()
    if tape.content_digest() != digest:
        raise DataError(
            "the data is not what this market was loaded from: its quotes differ",
            where=f"{tape.name}: {tape.underlying}, {tape.sessions[0].day} to {tape.sessions[-1].day}",
            fix="restore the data set, or load the market again",
        )
    return replace(tape, catalog=catalog)


def joined_tape(tapes: Sequence[MarketTape]) -> MarketTape:
    """Return one tape of several underlyings' markets: the first one's with the others beside it.

    Instruments keep their order, those of the first market their numbers. Rates are the first market's.
    Raises DataError when the markets have other sessions, another clock, or an instrument in common.
    """
    main, *rest = tapes
    instruments, numbers = Instruments(main.instruments), [np.arange(len(main.instruments), dtype=np.int32)]
    for tape in rest:
        common = next((item.symbol for item in tape.instruments if item.symbol in instruments), None)
        if tape.sessions != main.sessions or tape.variance_clock != main.variance_clock or common is not None:
            raise DataError(
                "the markets of one run must have the same sessions, and each instrument once",
                where=f"{main.name}: {main.underlying}, {tape.underlying}",
                value=common,
                fix="choose sessions that the data set has of each",
            )
        numbers.append(np.array([instruments.add(item) for item in tape.instruments], dtype=np.int32))
    pairs = list(zip(tapes, numbers, strict=True))

    def quotes(session: Session) -> QuoteColumns:
        parts = [tape.quotes.between(session.open_ns, session.close_ns) for tape in tapes]
        mine = [
            replace(part, instrument_id=ids[part.instrument_id])
            for part, (_, ids) in zip(parts, pairs, strict=True)
        ]
        return QuoteColumns.joined(mine).by_time()

    def bars(session: Session) -> BarColumns:
        parts = [(each.between(session.open_ns + 1, session.close_ns), ids) for each, _, ids in with_bars]
        mine = [replace(part, instrument_id=ids[part.instrument_id]) for part, ids in parts]
        return BarColumns.joined(mine).by_time()

    def morning(session: Session) -> Morning:
        known = [tape.morning(session) for tape in tapes if tape.morning is not None]
        interest = {symbol: held for each in known for symbol, held in each.open_interest.items()}
        return Morning(known[0].rate_curve, interest, tuple(d for each in known for d in each.declared))

    with_bars = [(tape.bars, tape, ids) for tape, ids in pairs if tape.bars is not None]
    edges = {}
    for each, tape, ids in with_bars:
        own = tape.instruments.id_of(tape.underlying)
        if (found := each.edges_of(own)) is not None:
            edges[int(ids[own])] = found
    is_daily = all(tape.morning is not None for tape in tapes)
    return replace(
        main,
        instruments=instruments,
        quotes=LazyQuotes(main.sessions, quotes),
        bars=LazyBars(main.sessions, bars, edges) if with_bars else None,
        open_interest={symbol: held for tape in tapes for symbol, held in tape.open_interest.items()},
        dividends=tuple(dividend for tape in tapes for dividend in tape.dividends),
        actions=tuple(action for tape in tapes for action in tape.actions),
        settlement_prices={key: level for tape in tapes for key, level in tape.settlement_prices.items()},
        quote_seconds=max(tape.quote_seconds for tape in tapes),
        notes=tuple(dict.fromkeys(note for tape in tapes for note in tape.notes)),
        morning=morning if is_daily else None,
        loaded=None,
        others={tape.underlying: tape.dividend_yield for tape in rest},
    )


def hedged_tape(main: MarketTape, other: MarketTape) -> MarketTape:
    """Return a market with the underlying of another one beside it, to hedge with.

    At equal instants the hedge's quotes come first: a decision at the underlying's sees both. Raises
    DataError when the markets have other sessions, or the hedge is an instrument of the market already.
    """
    instrument = other.instruments[other.instruments.id_of(other.underlying)]
    if instrument.symbol in main.instruments or other.sessions != main.sessions:
        raise DataError(
            "what hedges is another instrument than the market's, quoted in the same sessions",
            where="hedge.instrument",
            value=instrument.symbol,
            fix="choose sessions that both have; without hedge.instrument the underlying hedges",
        )
    instruments = Instruments(main.instruments)
    own, number = other.instruments.id_of(other.underlying), instruments.add(instrument)

    def quotes(session: Session) -> QuoteColumns:
        span = session.open_ns, session.close_ns
        rows = other.quotes.between(*span)
        rows = rows.take(rows.instrument_id == own)
        rows = replace(rows, instrument_id=np.full(len(rows), number, np.int32))
        return QuoteColumns.joined([rows, main.quotes.between(*span)]).by_time()

    paid = [each for each in other.dividends if each.symbol == instrument.symbol]
    acted = [each for each in other.actions if each.symbol == instrument.symbol]
    notes = (f"hedged with {instrument.symbol} of {other.name}", *main.notes, *other.notes)
    return replace(
        main,
        instruments=instruments,
        quotes=LazyQuotes(main.sessions, quotes),
        dividends=(*main.dividends, *paid),
        actions=(*main.actions, *acted),
        notes=tuple(dict.fromkeys(notes)),
        loaded=None,
        hedge=instrument.symbol,
    )


_BASIS_POINT, _PRICE_PLACES = 1e-4, 4
"""Decimals of an assumed side, as the importers round theirs."""


def with_spread(tape: MarketTape, basis_points: float) -> MarketTape:
    """Return a market in which a price that stands for both sides of the underlying has a spread around it.

    What is quoted with two sides stays as it is, and so do the options.
    """
    if not basis_points:
        return tape
    is_option = np.array([each.is_option for each in tape.instruments], dtype=np.bool_)
    part = 0.5 * basis_points * _BASIS_POINT

    def widened(rows: QuoteColumns) -> QuoteColumns:
        is_one = (rows.bid == rows.ask) & ~is_option[rows.instrument_id]
        sides = (
            np.where(is_one, np.round(side * (1.0 + away), _PRICE_PLACES), side)
            for side, away in ((rows.bid, -part), (rows.ask, part))
        )
        bid, ask = sides
        return replace(rows, bid=bid, ask=ask)

    quotes = tape.quotes
    if isinstance(quotes, LazyQuotes):
        return replace(tape, quotes=quotes.changed(widened))
    return replace(tape, quotes=widened(quotes))


def session_bars(tape: MarketTape, session: Session) -> list[BarEvent]:
    """Return the session's closed bars in order."""
    if tape.bars is None:
        return []
    bars = tape.bars.between(session.open_ns + 1, session.close_ns)
    rows = zip(*(getattr(bars, column.name).tolist() for column in fields(bars)), strict=True)
    return [BarEvent(number, ts_ns, ts_ns, *terms) for ts_ns, number, *terms in rows]
