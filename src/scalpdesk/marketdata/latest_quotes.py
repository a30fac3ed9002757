"""Latest quotes of a session whose rows are known as columns: a quote is made when somebody reads it.

A backtest hands the engine only the quotes that can cause something. All the others are here: a reader of
an instrument's latest quote gets the last row up to the present one, as if each had been handed over.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.marketdata.quotes import KEPT, LEAP, TRADABLE, WIDEST, QuoteVerdict, judge_quote
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.pricing.kernels.triggers import are_tradable

Floats = NDArray[np.float64]
NEAR_ROWS = 64
"""An instant is looked for among so many rows first: a search among a million costs five times as much."""


class QuoteTable(NamedTuple):
    """Latest quotes of some instruments, as columns; NaN prices at time 0 where one was never quoted."""

    bid: Floats
    ask: Floats
    ts_event_ns: NDArray[np.int64]
    ts_recv_ns: NDArray[np.int64]

    @staticmethod
    def of(quotes: Sequence[QuoteEvent | None]) -> "QuoteTable":
        """Return quotes as columns."""
        prices = np.array([(np.nan, np.nan) if each is None else (each.bid, each.ask) for each in quotes])
        stamps = [(0, 0) if each is None else (each.ts_event_ns, each.ts_recv_ns) for each in quotes]
        return QuoteTable(*prices.reshape(-1, 2).T, *np.array(stamps, dtype=np.int64).reshape(-1, 2).T)


class InstrumentRows:
    """Quotes of one instrument in one session, as columns.

    Parameters
    ----------
    number
        The instrument.
    rows
        Their rows among the session's quotes, ascending.
    ts_ns, bid, ask
        Their columns, contiguous.
    locked, untradable
        Those with a bid equal to the ask, and those that no trigger is asked about, ascending.
    """

    def __init__(
        self,
        number: InstrumentId,
        rows: Sequence[int],
        ts_ns: NDArray[np.int64],
        bid: Floats,
        ask: Floats,
        locked: Sequence[int],
        untradable: Sequence[int],
    ) -> None:
        self.number = number
        self.rows = rows
        self.ts_ns, self.bid, self.ask = ts_ns, bid, ask
        self._are_all = type(rows) is range  # the session quotes nothing else
        # a number out of a memoryview costs a third of one out of an array
        self._stamps: Any = ts_ns.data
        self._locked, self._untradable = locked, untradable
        mids = np.delete(bid + ask, untradable)
        self.leaps = bool((np.abs(np.diff(mids)) > LEAP * mids[:-1]).any())
        """Whether one of its good quotes leaps from the last: each is judged as it comes then."""

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, at: int) -> int:
        """Return the row of a quote among the session's."""
        return at if self._are_all else self.rows[at]

    def known_ns(self, at: int) -> int:
        """Return when a quote is known, UTC nanoseconds."""
        stamp: int = self._stamps[at]
        return stamp

    def first_at(self, now_ns: int, first: int, last: int) -> int:
        """Return the first quote of an instant or after it among those before ``last``; else ``last``."""
        return bisect_left(self._stamps, now_ns, first, last)

    def tradable_until(self, first: int, last: int) -> int:
        """Return the first quote from ``first`` to before ``last`` that is not tradable; else ``last``."""
        at = bisect_left(self._untradable, first) if self._untradable else 0
        return min(last, self._untradable[at]) if at < len(self._untradable) else last

    def count_locked(self, first: int, last: int) -> int:
        """Return how many quotes from ``first`` to before ``last`` have a bid equal to the ask."""
        return bisect_left(self._locked, last) - bisect_left(self._locked, first) if self._locked else 0


def are_options(instruments: Iterable[Instrument]) -> NDArray[np.bool_]:
    """Return which instruments are options, by number."""
    return np.array([each.is_option for each in instruments], np.bool_)


class RowPlaces(NamedTuple):
    """What :class:`RowIndex` finds in the columns of a session, as arrays that processes may share."""

    odd_rows: NDArray[np.intp]
    odd_numbers: NDArray[np.int32]
    odd_verdicts: tuple[QuoteVerdict, ...]
    odd_kinds: NDArray[np.intp]
    quoted: NDArray[np.int64]
    starts: NDArray[np.int64]
    by_instrument: NDArray[np.intp] | None


def _places(columns: QuoteColumns, is_option: NDArray[np.bool_]) -> RowPlaces:
    bid, ask, numbers = columns.bid, columns.ask, columns.instrument_id
    is_sound, instruments = are_tradable(bid, ask), len(is_option)
    wide = np.flatnonzero(is_sound & (ask > WIDEST * bid))
    wide = wide[~is_option[numbers[wide]]]
    odd_rows = np.union1d(np.flatnonzero(~is_sound | (bid == ask)), wide)
    verdicts, kinds = _verdicts(bid[odd_rows], ask[odd_rows])
    kinds[np.searchsorted(odd_rows, wide)] = len(verdicts)
    verdicts.append(QuoteVerdict.CONTRADICTED)
    order: NDArray[np.intp] | None = None
    starts = np.zeros(min(len(numbers), 1), np.int64)
    if len(numbers) and numbers.min() != numbers.max():
        # numpy's stable sort of 16-bit integers is by radix: a tenth of the time
        numbers = numbers.astype(np.uint16 if instruments <= 65_536 else np.int32)
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        starts = np.append(starts, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1)
    quoted = numbers[starts].astype(np.int64)
    return RowPlaces(odd_rows, columns.instrument_id[odd_rows], tuple(verdicts), kinds, quoted, starts, order)


class RowIndex:
    """Where the quotes of one session lie: worked out once, and only read afterwards.

    Attributes
    ----------
    columns
        The quotes, in the order of events.
    is_option
        Of the instruments of the run, by number; more than have a row.
    odd_rows, odd_numbers, odd_kinds
        Rows without a bid above zero and below a finite ask, or with sides too far apart, their instruments,
        and which of the ``odd_verdicts`` each has.
    invalid
        Those that no desk keeps.
    by_instrument
        Rows in the order of their instruments; None where they are all of one.
    quoted, is_quoted
        Instruments that have a row, ascending; the same by number.
    bounds
        Of each such instrument in ``by_instrument``.
    fields
        The columns as memoryviews: see :class:`InstrumentRows`.
    """

    def __init__(
        self, columns: QuoteColumns, is_option: NDArray[np.bool_], places: "RowPlaces | None" = None
    ) -> None:
        self.columns, self.is_option = columns, is_option
        self.places = _places(columns, is_option) if places is None else places
        self.odd_rows, self.odd_numbers, verdicts, self.odd_kinds, quoted, starts, order = self.places
        self.odd_verdicts: list[QuoteVerdict] = list(verdicts)
        kept = self.are(TRADABLE) | (self.are(KEPT) & is_option[self.odd_numbers])
        self.invalid = self.odd_rows[~kept]
        self.by_instrument: NDArray[np.intp] | None = order
        self.quoted: list[int] = quoted.tolist()
        self.is_quoted = np.zeros(len(is_option), np.bool_)
        self.is_quoted[self.quoted] = True
        first = starts.tolist()
        self.bounds = dict(
            zip(self.quoted, zip(first, [*first[1:], len(columns)], strict=False), strict=True)
        )
        self.fields: tuple[Any, ...] = tuple(
            np.ascontiguousarray(column).data
            for column in (
                columns.instrument_id,
                columns.ts_ns,
                columns.bid,
                columns.ask,
                columns.bid_size,
                columns.ask_size,
            )
        )

    def without_sizes(self) -> "RowIndex":
        """Return the index of the same quotes with unknown displayed sizes."""
        return RowIndex(self.columns.without_sizes(), self.is_option, self.places)

    def __reduce__(self) -> tuple[Any, ...]:
        return RowIndex, (self.columns, self.is_option, self.places)

    def are(self, verdicts: Collection[QuoteVerdict]) -> NDArray[np.bool_]:
        """Return which of the odd rows have one of some verdicts."""
        return np.array([each in verdicts for each in self.odd_verdicts], np.bool_)[self.odd_kinds]


class SessionRows:
    """Quotes of one session in the order of events, known up to ``upto``.

    Several may share an ``index``; without one they make their own.

    Attributes
    ----------
    upto
        Rows that are known: those before it.
    quoted
        Instruments that have a row, ascending.
    """

    def __init__(
        self, columns: QuoteColumns, is_option: NDArray[np.bool_], index: RowIndex | None = None
    ) -> None:
        self._index = RowIndex(columns, is_option) if index is None else index
        self.columns = columns
        self.upto = self._odd_at = 0
        odd = self._index.odd_rows
        self._next_odd = int(odd[0]) if len(odd) else len(columns)
        """Row from which on :meth:`advance` has something to count."""
        self._invalid = self._index.invalid
        self._latest = np.full(len(is_option), -1)
        """Last row by instrument of those before ``_latest_upto``, without invalid rows."""
        self._latest_upto = 0
        self._by_instrument, self._bounds = self._index.by_instrument, self._index.bounds
        self.quoted = self._index.quoted
        self._fields = self._index.fields

    def __len__(self) -> int:
        return len(self.columns)

    def are_quoted(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether any of some instruments has a row in the session."""
        return bool(self._index.is_quoted[numbers].any())

    def rows_of(self, number: InstrumentId, *, valid: bool) -> Sequence[int]:
        """Return the rows of an instrument, ascending; without those that no desk keeps when ``valid``."""
        low, high = self._bounds.get(number, (0, 0))
        leaves_out = valid and len(self._invalid) > 0
        if self._by_instrument is None and not leaves_out:
            return range(low, high)
        rows = np.arange(low, high) if self._by_instrument is None else self._by_instrument[low:high]
        if leaves_out:
            rows = rows[~np.isin(rows, self._invalid)]
        return cast("Sequence[int]", rows.data)

    def latest_rows(self) -> NDArray[np.int64]:
        """Return the last known row of each instrument that a desk keeps; -1 where there is no row."""
        if self.upto < self._latest_upto:
            self._latest[:], self._latest_upto = -1, 0
        rows = np.arange(self._latest_upto, self.upto)
        if len(self._invalid):
            rows = rows[~np.isin(rows, self._invalid)]
        # of equal indices the last value stays
        self._latest[self.columns.instrument_id[rows]] = rows
        self._latest_upto = self.upto
        return self._latest

    def quote(self, row: int) -> QuoteEvent:
        """Return a row as a quote."""
        numbers, stamps, bid, ask, bid_size, ask_size = self._fields
        at: Any = row  # one object for all columns
        ts_ns = stamps[at]
        return QuoteEvent(
            InstrumentId(numbers[at]), ts_ns, ts_ns, bid[at], ask[at], bid_size[at], ask_size[at]
        )

    def ts_ns(self, row: int) -> int:
        """Return when a row is known, UTC nanoseconds."""
        stamp: int = self._fields[1][row]
        return stamp

    def only(self, number: InstrumentId) -> InstrumentRows:
        """Return the rows of one instrument as columns of their own."""
        columns, index, rows = self.columns, self._index, self.rows_of(number, valid=False)
        if len(rows) < len(columns):
            columns = columns.take(np.asarray(rows))
        # the kernel is compiled for columns that can be written
        ts_ns = np.require(columns.ts_ns, requirements=("C", "W"))
        bid, ask = (np.require(each, requirements=("C", "W")) for each in (columns.bid, columns.ask))
        odd = np.flatnonzero(index.odd_numbers == number)
        at, is_tradable = index.odd_rows[odd], index.are(TRADABLE)[odd]
        if type(rows) is not range:
            at = np.searchsorted(rows, at)
        locked, untradable = at[is_tradable].tolist(), at[~is_tradable].tolist()
        return InstrumentRows(number, rows, ts_ns, bid, ask, locked, untradable)

    def first_at(self, now_ns: int) -> int:
        """Return the first row of an instant (UTC nanoseconds) or after it that is not known yet."""
        stamps, low, high = self._fields[1], self.upto, self.upto + NEAR_ROWS
        while high < len(stamps) and stamps[high] < now_ns:
            low, high = high, high + 8 * (high - low)
        return bisect_left(stamps, now_ns, low, min(high, len(stamps)))

    def advance(self, upto: int, is_handed_over: NDArray[np.bool_], oddities: Counter[str]) -> None:
        """Let the rows before ``upto`` be known; count the imperfect rows that are not handed over."""
        self.upto = upto
        if upto <= self._next_odd:
            return
        index, first = self._index, self._odd_at
        rows = index.odd_rows
        last = int(np.searchsorted(rows, upto))
        self._odd_at = last
        self._next_odd = int(rows[last]) if last < len(rows) else len(self.columns)
        kinds = index.odd_kinds[first:last][~is_handed_over[index.odd_numbers[first:last]]]
        for verdict, count in zip(index.odd_verdicts, np.bincount(kinds).tolist(), strict=False):
            if count:
                oddities[verdict] += count


def _verdicts(bid: Floats, ask: Floats) -> tuple[list[QuoteVerdict], NDArray[np.intp]]:
    """Return the verdicts on pairs of prices, each once, and the number of each pair's.

    Pairs that compare alike are judged alike: one of each sort is.
    """
    tests = (bid > 0.0, bid < 0.0, bid == 0.0, ask > 0.0, ask < 0.0, ask == 0.0, bid > ask, bid == ask)
    ends = (np.isinf(bid), np.isinf(ask))
    sort = np.zeros(len(bid), np.int16)
    for place, test in enumerate((*tests, *ends)):
        sort += test.astype(np.int16) << place
    _, first, which = np.unique(sort, return_index=True, return_inverse=True)
    return [judge_quote(float(bid[row]), float(ask[row])) for row in first], which


class QuoteStore(Protocol):
    """Quotes by instrument id."""

    def get(self, number: InstrumentId, /) -> QuoteEvent | None:
        """Return a quote; None where there is no quote."""
        ...

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent, /) -> None:
        """Set a quote."""
        ...


class LatestQuotes:
    """Latest quote by instrument: the one that was set, or a later row of the session.

    Quotes that are handed over may be set in ``kept`` directly. With ``valid`` crossed and invalid rows
    replace nothing, as for a desk. ``instruments`` is how many there are.
    """

    def __init__(self, kept: QuoteStore, instruments: int, *, valid: bool) -> None:
        self._kept = kept
        self._count = instruments
        self._valid = valid
        self._rows_of: list[Sequence[int] | None] = [None] * instruments
        self._kept_from = [-1] * instruments
        """Row that what was set replaces; later rows replace it."""
        self._latest: list[QuoteEvent | None] = [None] * instruments
        """Made from the last row that was read, and in force while no more than ``_until`` rows are known."""
        self._until = [-1] * instruments
        self._is_set = np.zeros(instruments, dtype=np.bool_)
        """Instruments that were set, or handed over, since the session's first row."""
        self._before = QuoteTable.of(())
        """Quotes by instrument as the session began, of a desk's."""
        self.rows: SessionRows | None = None
        """Of the present session."""
        self._handed_over: Collection[int] = frozenset()

    def __getitem__(self, number: InstrumentId) -> QuoteEvent | None:
        rows = self.rows
        if rows is not None and rows.upto <= self._until[number]:
            return self._latest[number]
        if number in self._handed_over or rows is None or not rows.upto:
            return self._kept.get(number)
        known = self._rows_of[number]
        if known is None:
            known = self._rows_of[number] = rows.rows_of(number, valid=self._valid)
        # the rows of a session of one instrument are all of its own, and of no other
        at = (min(rows.upto, len(known)) if type(known) is range else bisect_left(known, rows.upto)) - 1
        if at < 0 or known[at] <= self._kept_from[number]:
            return self._kept.get(number)
        # the same object until the next row: valuations are kept by it
        quote = self._latest[number] = rows.quote(known[at])
        self._until[number] = known[at + 1] if at + 1 < len(known) else len(rows)
        return quote

    def are_silent(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether none of some instruments has a quote, or gets one from the rows of this session.

        ``valid`` belongs to a desk alone.
        """
        rows = self.rows
        if rows is None or self._is_set[numbers].any():
            return False
        return not (self._before.ts_event_ns[numbers].any() or rows.are_quoted(numbers))

    def table(self, numbers: NDArray[np.int64]) -> QuoteTable:
        """Return the latest quotes of instruments as columns; of a number below zero as never quoted.

        ``valid`` belongs to a desk alone.
        """
        rows = self.rows
        if rows is None or not rows.upto:
            kept = (InstrumentId(number) for number in numbers.tolist())
            return QuoteTable.of([self._kept.get(number) if number >= 0 else None for number in kept])
        at, columns = rows.latest_rows()[numbers], rows.columns
        stamps = columns.ts_ns[at]
        found = QuoteTable(columns.bid[at], columns.ask[at], stamps, stamps.copy())
        is_quiet = at < 0
        if is_quiet.any():
            quiet = numbers[is_quiet]
            for column, before in zip(found, self._before, strict=True):
                column[is_quiet] = before[quiet]
        is_alone = self._is_set[numbers] | (numbers < 0)
        if is_alone.any():
            alone = [InstrumentId(number) for number in numbers[is_alone].tolist()]
            quotes = [self[number] if number >= 0 else None for number in alone]
            for column, values in zip(found, QuoteTable.of(quotes), strict=True):
                column[is_alone] = values
        return found

    def show(self, quote: QuoteEvent, upto: int) -> None:
        """Take the object of a row that is not set, in force while no more than ``upto`` rows are known."""
        number = quote.instrument_id
        self._latest[number], self._until[number] = quote, upto

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent | None) -> None:
        self._is_set[number] = True
        if quote is not None:
            self._kept[number] = quote
        self._until[number] = -1
        self._kept_from[number] = -1 if self.rows is None else self.rows.upto - 1

    def follow(self, rows: SessionRows) -> None:
        """Move to another session's rows; the latest quotes of the last one stay."""
        # a span of years lists a hundred times what a session quotes
        for number in () if self.rows is None else self.rows.quoted:
            self[InstrumentId(number)] = self[InstrumentId(number)]
        if self._valid:
            is_first = self.rows is None
            changed = np.arange(self._count) if is_first else np.flatnonzero(self._is_set)
            quotes = QuoteTable.of([self._kept.get(InstrumentId(number)) for number in changed.tolist()])
            self._before = quotes if is_first else self._before
            for column, values in zip(self._before, quotes, strict=True):
                column[changed] = values
        self._kept_from = [-1] * self._count
        self._until = [-1] * self._count
        self._latest = [None] * self._count
        self._rows_of = [None] * self._count
        self._is_set[:] = False
        self.rows, self._handed_over = rows, frozenset()

    def hand_over(self, numbers: Collection[int]) -> None:
        """Change the instruments whose every quote is set, from the present row on."""
        for number in numbers:
            if number not in self._handed_over:
                self[InstrumentId(number)] = self[InstrumentId(number)]
        assert self.rows is not None
        for number in self._handed_over:
            self._kept_from[number] = self.rows.upto - 1
            self._until[number] = -1
        self._handed_over = numbers
