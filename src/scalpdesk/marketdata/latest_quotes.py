"""Latest quotes of a session whose rows are known as columns: a quote is made when somebody reads it.

A backtest hands the engine only the quotes that can cause something. All are here: a reader of an
instrument's latest quote gets the last row up to the present one, as if each had been handed over.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.marketdata.quotes import KEPT, LEAP, TRADABLE, WIDEST, QuoteVerdict, judge_quote
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.pricing.kernels.triggers import are_tradable

_Floats = NDArray[np.float64]
_NEAR_ROWS = 64
"""An instant is looked for among so many rows first: a search among a million costs five times as much."""


class QuoteTable(NamedTuple):
    """Latest quotes of some instruments, as columns; NaN prices at time 0 where one was never quoted."""

    bid: _Floats
    ask: _Floats
    ts_event_ns: NDArray[np.int64]
    ts_recv_ns: NDArray[np.int64]

    @staticmethod
    def of(quotes: Sequence[QuoteEvent | None]) -> "QuoteTable":
        """Return quotes as columns."""
        prices = np.array([(np.nan, np.nan) if each is None else (each.bid, each.ask) for each in quotes])
        stamps = [(0, 0) if each is None else (each.ts_event_ns, each.ts_recv_ns) for each in quotes]
        return QuoteTable(*prices.reshape(-1, 2).T, *np.array(stamps, dtype=np.int64).reshape(-1, 2).T)


class InstrumentRows:
    """Quotes of one instrument in one session, as columns; of a live desk the one that has come.

    ``rows``: Their rows among the session's quotes, ascending.
    ``untradable``: Those that no trigger is asked about, ascending.
    ``learnt``: Quotes that the instrument's trigger has taken in: those before this one.
    """

    def __init__(
        self,
        number: InstrumentId,
        rows: Sequence[int],
        ts_ns: NDArray[np.int64],
        bid: _Floats,
        ask: _Floats,
        untradable: Sequence[int],
    ) -> None:
        self.number = number
        self.rows = rows
        self.learnt = 0
        self.ts_ns, self.bid, self.ask = ts_ns, bid, ask
        self._are_all = type(rows) is range  # the session quotes nothing else
        # a number out of a memoryview costs a third of one out of an array
        self._stamps: Any = ts_ns.data
        self._untradable = untradable

    @classmethod
    def of(cls, quote: QuoteEvent) -> Self:
        """Return a quote as the only row."""
        ts_ns, bid, ask = np.array([quote.ts_recv_ns]), np.array([quote.bid]), np.array([quote.ask])
        return cls(quote.instrument_id, range(1), ts_ns, bid, ask, ())

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, at: int) -> int:
        """Return the row of a quote among the session's."""
        return at if self._are_all else self.rows[at]

    def place(self, row: int) -> int:
        """Return how many of the quotes lie before a row of the session's."""
        return min(row, len(self.rows)) if self._are_all else bisect_left(self.rows, row)

    def leaps_from(self, last: QuoteEvent | None) -> bool:
        """Return whether one of the tradable quotes leaps from the one before it, the first from ``last``."""
        doubled = np.delete(self.bid + self.ask, self._untradable)
        if last is not None:
            doubled = np.append(last.bid + last.ask, doubled)
        return bool((np.abs(np.diff(doubled)) > LEAP * doubled[:-1]).any())

    def first_at(self, now_ns: int, first: int, last: int) -> int:
        """Return the first quote of an instant or after it among those before ``last``; else ``last``."""
        return bisect_left(self._stamps, now_ns, first, last)

    def tradable_until(self, first: int, last: int) -> int:
        """Return the first quote from ``first`` to before ``last`` that is not tradable; else ``last``."""
        at = bisect_left(self._untradable, first) if self._untradable else 0
        return min(last, self._untradable[at]) if at < len(self._untradable) else last


def are_options(instruments: Iterable[Instrument]) -> NDArray[np.bool_]:
    """Return which instruments are options, by number."""
    return np.array([each.is_option for each in instruments], np.bool_)


class RowIndex(NamedTuple):
    """Where the quotes of one session lie: worked out once, as arrays that processes may share."""

    columns: QuoteColumns
    """The quotes, in the order of events."""
    is_option: NDArray[np.bool_]
    """Of the instruments of the run, by number; more than have a row."""
    odd_rows: NDArray[np.intp]
    """Rows without a bid above zero and below a finite ask, or with sides too far apart."""
    odd_verdicts: Sequence[QuoteVerdict]
    odd_kinds: NDArray[np.intp]
    """Which of the verdicts each of them has."""
    quoted: NDArray[np.int64]
    """Instruments that have a row, ascending."""
    starts: NDArray[np.int64]
    """Of each of these in ``by_instrument``."""
    by_instrument: NDArray[np.intp] | None
    """Rows in the order of their instruments; None where they are all of one."""

    @staticmethod
    def of(columns: QuoteColumns, is_option: NDArray[np.bool_]) -> "RowIndex":
        """Look through the quotes of a session."""
        bid, ask, numbers = columns.bid, columns.ask, columns.instrument_id
        is_sound = are_tradable(bid, ask)
        with np.errstate(over="ignore"):  # a price near the largest float
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
            numbers = numbers.astype(np.uint16 if len(is_option) <= 65_536 else np.int32)
            order = np.argsort(numbers, kind="stable")
            numbers = numbers[order]
            starts = np.append(starts, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1)
        quoted = numbers[starts].astype(np.int64)
        return RowIndex(columns, is_option, odd_rows, verdicts, kinds, quoted, starts, order)


class SessionRows:
    """Quotes of one session in the order of events, known up to ``upto``.

    ``upto``: Rows that are known: those before it. It only grows.
    ``quoted``: Instruments that have a row, ascending.
    """

    def __init__(self, index: RowIndex) -> None:
        self._index, self.columns = index, index.columns
        columns, is_option, odd = index.columns, index.is_option, index.odd_rows
        self.upto = self._odd_at = 0
        self._next_odd = int(odd[0]) if len(odd) else len(columns)
        """Row from which on :meth:`count_odd` has something to count."""
        self._odd_numbers = columns.instrument_id[odd]
        self._is_tradable = self._are(TRADABLE)
        kept = self._is_tradable | (self._are(KEPT) & is_option[self._odd_numbers])
        self._invalid = odd[~kept]
        """Rows that no desk keeps."""
        self._latest = np.full(len(is_option), -1)
        """Last row by instrument of those before ``_latest_upto``, without invalid rows."""
        self._latest_upto = 0
        self.quoted: list[int] = index.quoted.tolist()
        first = index.starts.tolist()
        ends = zip(first, [*first[1:], len(columns)], strict=False)
        self._bounds = dict(zip(self.quoted, ends, strict=True))
        numbers, prices = columns.instrument_id, (columns.bid, columns.ask)
        each = (numbers, columns.ts_ns, *prices, columns.bid_size, columns.ask_size)
        # a number out of a memoryview costs a third of one out of an array
        self.fields: tuple[Any, ...] = tuple(np.ascontiguousarray(column).data for column in each)
        """Columns: instrument, when it is known, UTC nanoseconds, prices and sizes."""
        self.stamps: Any = self.fields[1]
        self._first_at: dict[int, int] = {}
        """Rows of instants that were asked for."""
        self._made: tuple[int, QuoteEvent | None] = (-1, None)
        """The row that was made a quote last: the desk, its broker and its strategy read the same."""

    @staticmethod
    def of(columns: QuoteColumns, is_option: NDArray[np.bool_]) -> "SessionRows":
        """Return the rows of quotes that nothing was worked out of yet."""
        return SessionRows(RowIndex.of(columns, is_option))

    def _are(self, verdicts: Collection[QuoteVerdict]) -> NDArray[np.bool_]:
        index = self._index
        return np.array([each in verdicts for each in index.odd_verdicts], np.bool_)[index.odd_kinds]

    def __len__(self) -> int:
        return len(self.columns)

    def are_quoted(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether any of some instruments has a row in the session."""
        return not self._bounds.keys().isdisjoint(numbers.tolist())

    def rows_of(self, number: InstrumentId, *, valid: bool) -> Sequence[int]:
        """Return the rows of an instrument, ascending; without those that no desk keeps when ``valid``."""
        low, high = self._bounds.get(number, (0, 0))
        leaves_out = valid and len(self._invalid) > 0
        order = self._index.by_instrument
        if order is None and not leaves_out:
            return range(low, high)
        rows = np.arange(low, high) if order is None else order[low:high]
        if leaves_out:
            rows = rows[~np.isin(rows, self._invalid)]
        return cast("Sequence[int]", rows.data)

    def latest_rows(self) -> NDArray[np.int64]:
        """Return the last known row of each instrument that a desk keeps; -1 where there is no row."""
        rows = np.arange(self._latest_upto, self.upto)
        if len(self._invalid):
            rows = rows[~np.isin(rows, self._invalid)]
        # of equal indices the last value stays
        self._latest[self.columns.instrument_id[rows]] = rows
        self._latest_upto = self.upto
        return self._latest

    def untradable(self, numbers: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the rows of some instruments, by number, that are not tradable, ascending."""
        return self._index.odd_rows[~self._is_tradable & numbers[self._odd_numbers]]

    def quote(self, row: int) -> QuoteEvent:
        """Return a row as a quote."""
        known, made = self._made
        if known == row and made is not None:
            return made
        numbers, stamps, bid, ask, bid_size, ask_size = self.fields
        at: Any = row  # one object for all columns
        ts_ns = stamps[at]
        quote = QuoteEvent(
            InstrumentId(numbers[at]), ts_ns, ts_ns, bid[at], ask[at], bid_size[at], ask_size[at]
        )
        self._made = row, quote
        return quote

    def ts_ns(self, row: int) -> int:
        """Return when a row is known, UTC nanoseconds."""
        stamp: int = self.stamps[row]
        return stamp

    def only(self, number: InstrumentId) -> InstrumentRows:
        """Return the rows of one instrument as columns of their own."""
        columns, rows = self.columns, self.rows_of(number, valid=False)
        if len(rows) < len(columns):
            columns = columns.take(np.asarray(rows))
        # the kernel is compiled for columns that can be written
        ts_ns = np.require(columns.ts_ns, requirements=("C", "W"))
        bid, ask = (np.require(each, requirements=("C", "W")) for each in (columns.bid, columns.ask))
        odd = self._index.odd_rows[~self._is_tradable & (self._odd_numbers == number)]
        at = odd if type(rows) is range else np.searchsorted(rows, odd)
        return InstrumentRows(number, rows, ts_ns, bid, ask, at.tolist())

    def first_at(self, now_ns: int) -> int:
        """Return the first row of an instant (UTC nanoseconds) or after it that is not known yet."""
        found = self._first_at.get(now_ns, -1)
        if found >= self.upto:
            return found
        stamps, low, high = self.stamps, self.upto, self.upto + _NEAR_ROWS
        while high < len(stamps) and stamps[high] < now_ns:
            low, high = high, high + 8 * (high - low)
        found = self._first_at[now_ns] = bisect_left(stamps, now_ns, low, min(high, len(stamps)))
        return found

    def count_odd(self, oddities: Counter[str]) -> None:
        """Count the imperfect among the known rows, each once."""
        if self.upto <= self._next_odd:
            return
        index, first = self._index, self._odd_at
        rows = index.odd_rows
        last = int(np.searchsorted(rows, self.upto))
        self._odd_at = last
        self._next_odd = int(rows[last]) if last < len(rows) else len(self.columns)
        counts = np.bincount(index.odd_kinds[first:last]).tolist()
        for verdict, count in zip(index.odd_verdicts, counts, strict=False):
            if count:
                oddities[verdict] += count


def _verdicts(bid: _Floats, ask: _Floats) -> tuple[list[QuoteVerdict], NDArray[np.intp]]:
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


class LatestQuotes:
    """Latest quote by instrument: the last known row of the session, or what was set since.

    With ``valid`` crossed and invalid rows replace nothing, as for a desk. ``instruments`` is how many there
    are.
    """

    def __init__(self, instruments: int, *, valid: bool) -> None:
        self._valid = valid
        self._set: list[QuoteEvent | None] = [None] * instruments
        """What was set, or is of an earlier session: rows from ``_set_from`` on replace it."""
        self._set_from = [0] * instruments
        self._rows_of: list[Sequence[int] | None] = [None] * instruments
        self._latest: list[QuoteEvent | None] = [None] * instruments
        """What was read last, of the row ``_row``; in force while no more than ``_until`` rows are known."""
        self._row = [-1] * instruments
        self._until = [-1] * instruments
        self._is_set = np.zeros(instruments, dtype=np.bool_)
        """Instruments that were set since the session's first row."""
        self._is_known = np.zeros(instruments, dtype=np.bool_)
        """Instruments that were set, or quoted in an earlier session."""
        self._refused: set[int] = set()
        """Rows of the session that do not count."""
        self.rows: SessionRows | None = None
        """Of the present session."""

    def __getitem__(self, number: InstrumentId) -> QuoteEvent | None:
        rows = self.rows
        if rows is None:
            return self._set[number]
        if rows.upto <= self._until[number]:
            return self._latest[number]
        known = self._known(number)
        # the rows of a session of one instrument are all of its own, and of no other
        at = (min(rows.upto, len(known)) if type(known) is range else bisect_left(known, rows.upto)) - 1
        row = known[at] if at >= 0 else -1
        if row < self._set_from[number]:
            quote, row = self._set[number], -1
        elif row == self._row[number]:  # the same object until the next row: valuations are kept by it
            quote = self._latest[number]
        else:
            quote = rows.quote(row)
        self._latest[number], self._row[number] = quote, row
        self._until[number] = known[at + 1] if at + 1 < len(known) else len(rows)
        return quote

    def _known(self, number: InstrumentId) -> Sequence[int]:
        known = self._rows_of[number]
        if known is None:
            assert self.rows is not None
            known = self._rows_of[number] = self.rows.rows_of(number, valid=self._valid)
        return known

    def stands(self, latest: QuoteEvent, first: int, for_ns: int) -> bool | None:
        """Return whether the known rows of an instrument show its latest quote for so long, nanoseconds.

        None where those from the row ``first`` on do not reach that far back.
        """
        rows = self.rows
        if rows is None or self._refused:
            return None
        known, (_, ts_ns, bid, ask, *_) = self._known(latest.instrument_id), rows.fields
        at, since_ns = bisect_left(known, rows.upto) - 1, latest.ts_event_ns - for_ns
        while at >= 0 and (row := known[at]) >= first:
            if bid[row] != latest.bid or ask[row] != latest.ask:
                return False
            if ts_ns[row] <= since_ns:
                return True
            at -= 1
        return None

    def stand_until(self, quotes: Iterable[QuoteEvent]) -> int:
        """Return the row that replaces the first of these latest quotes; 0 where one is replaced already."""
        if self.rows is None:
            return 0
        row = len(self.rows)
        for quote in quotes:
            if self[quote.instrument_id] is not quote:
                return 0
            row = min(row, self._until[quote.instrument_id])
        return row

    def in_force(
        self, number: InstrumentId, stamps: Sequence[int], first: int, most: int
    ) -> list[QuoteEvent | None] | None:
        """Return the quotes of an instrument at instants, from its last ``most`` known rows from a row on.

        None where one is of before these, which are fewer, or a row was refused.
        """
        rows, found = self.rows, list[QuoteEvent | None]()
        if rows is None or self._refused:
            return None
        known, ts_ns = self._known(number), rows.stamps
        last, begins = bisect_left(known, rows.upto), bisect_left(known, first)
        least = max(begins, last - most)
        for at_ns in stamps:
            at = last - 1
            while at >= least and ts_ns[known[at]] > at_ns:
                at -= 1
            if at < least and least == begins:
                return None
            found.append(rows.quote(known[at]) if at >= least else None)
        return found

    def between(self, number: InstrumentId, first: int, most: int) -> list[QuoteEvent]:
        """Return the quotes of the known rows of an instrument from a row on, the last ``most`` of them."""
        rows = self.rows
        if rows is None:
            return []
        known = self._known(number)
        last = bisect_left(known, rows.upto)
        picked = list(known[max(bisect_left(known, first), last - most) : last])
        if self._refused:
            picked = [row for row in picked if row not in self._refused]
        return rows.columns.quotes(np.array(picked, np.int64))

    def are_silent(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether none of some instruments has a quote, or gets one from the rows of this session."""
        rows = self.rows
        return not (rows is None or self._is_known[numbers].any() or rows.are_quoted(numbers))

    def table(self, numbers: NDArray[np.int64]) -> QuoteTable:
        """Return the latest quotes of instruments as columns; of a number below zero as never quoted.

        ``valid`` belongs to a desk alone.
        """
        rows = self.rows
        if rows is None or not rows.upto:
            return QuoteTable.of(self._quotes(numbers))
        at, columns = rows.latest_rows()[numbers], rows.columns
        stamps = columns.ts_ns[at]
        found = QuoteTable(columns.bid[at], columns.ask[at], stamps, stamps.copy())
        is_alone = self._is_set[numbers] | (numbers < 0) | (at < 0)
        if is_alone.any():
            alone = QuoteTable.of(self._quotes(numbers[is_alone]))
            for column, values in zip(found, alone, strict=True):
                column[is_alone] = values
        return found

    def _quotes(self, numbers: NDArray[np.int64]) -> list[QuoteEvent | None]:
        return [self[InstrumentId(number)] if number >= 0 else None for number in numbers.tolist()]

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent | None) -> None:
        self._is_set[number], self._is_known[number] = True, quote is not None
        self._set[number] = quote
        self._until[number] = -1
        self._set_from[number] = 0 if self.rows is None else self.rows.upto

    def refuse(self, number: InstrumentId) -> None:
        """Let the next row, of this instrument, replace nothing."""
        assert self.rows is not None
        self[number] = self[number]
        self._set_from[number] += 1
        self._refused.add(self.rows.upto)

    def follow(self, rows: SessionRows) -> None:
        """Move to another session's rows; the latest quotes of the last one stay."""
        # a span of years lists a hundred times what a session quotes
        for number in () if self.rows is None else self.rows.quoted:
            self[InstrumentId(number)] = self[InstrumentId(number)]
        count = len(self._set)
        self._set_from = [0] * count
        self._row, self._until = [-1] * count, [-1] * count
        self._latest = [None] * count
        self._rows_of = [None] * count
        self._is_set[:] = False
        self._refused.clear()
        self.rows = rows
