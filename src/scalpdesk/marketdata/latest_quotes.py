"""Latest quotes of a session whose rows are known as columns: a quote is made when somebody reads it.

A backtest hands the engine only the quotes that can cause something. All the others are here: whoever
reads an instrument's latest quote gets the last row up to the present one, as if each had been handed over.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from typing import Protocol

import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.marketdata.quotes import KEPT, QuoteVerdict, judge_quote
from scalpdesk.marketdata.tape import QuoteColumns


class SessionRows:
    """Quotes of one session in the order of events, known up to ``upto``.

    Parameters
    ----------
    columns
        The rows, in that order.
    instruments
        Their number in the run.

    Attributes
    ----------
    upto
        Rows that are known: those before it.
    """

    def __init__(self, columns: QuoteColumns, instruments: int) -> None:
        self.columns = columns
        self.upto = 0
        bid, ask = columns.bid, columns.ask
        odd = np.flatnonzero(~((bid > 0.0) & (bid < ask) & (ask < np.inf)))
        pairs = list(zip(bid[odd].tolist(), ask[odd].tolist(), strict=True))
        verdicts = {pair: judge_quote(*pair) for pair in set(pairs)}
        self._odd: list[tuple[int, int, QuoteVerdict]] = [
            (row, number, verdicts[pair])
            for row, number, pair in zip(
                odd.tolist(), columns.instrument_id[odd].tolist(), pairs, strict=True
            )
        ]
        self._odd_at = 0
        self._invalid = frozenset(row for row, _, verdict in self._odd if verdict not in KEPT)
        self._by_instrument = np.argsort(columns.instrument_id, kind="stable")
        bounds = np.searchsorted(columns.instrument_id[self._by_instrument], np.arange(instruments + 1))
        self._bounds: list[int] = bounds.tolist()

    def __len__(self) -> int:
        return len(self.columns)

    def rows_of(self, number: InstrumentId, *, valid: bool) -> list[int]:
        """Return the rows of an instrument, ascending; without those that no desk keeps when ``valid``."""
        rows: list[int] = self._by_instrument[self._bounds[number] : self._bounds[number + 1]].tolist()
        if valid and self._invalid:
            return [row for row in rows if row not in self._invalid]
        return rows

    def quote(self, row: int) -> QuoteEvent:
        """Return a row as a quote."""
        at = self.columns
        ts_ns = int(at.ts_ns[row])
        return QuoteEvent(
            InstrumentId(at.instrument_id[row]),
            ts_ns,
            ts_ns,
            float(at.bid[row]),
            float(at.ask[row]),
            float(at.bid_size[row]),
            float(at.ask_size[row]),
        )

    def first_at(self, now_ns: int) -> int:
        """Return the first row of an instant or after it (UTC nanoseconds)."""
        return int(np.searchsorted(self.columns.ts_ns, now_ns, side="left"))

    def advance(self, upto: int, handed_over: Collection[int], oddities: Counter[str]) -> None:
        """Let the rows before ``upto`` be known; count the imperfect ones of what is not handed over."""
        self.upto = upto
        while self._odd_at < len(self._odd) and self._odd[self._odd_at][0] < upto:
            _, number, verdict = self._odd[self._odd_at]
            self._odd_at += 1
            if number not in handed_over:
                oddities[verdict] += 1


class QuoteStore(Protocol):
    """Quotes by instrument id."""

    def get(self, number: InstrumentId, /) -> QuoteEvent | None:
        """Return a quote; None where there is none."""
        ...

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent, /) -> None:
        """Set a quote."""
        ...


class LatestQuotes:
    """Latest quote by instrument: the one that was set, or a later row of the session.

    Parameters
    ----------
    kept
        What was set. Quotes that are handed over may be set here directly.
    instruments
        Their number.
    valid
        Whether crossed and invalid rows replace nothing, as for a desk.
    """

    def __init__(self, kept: QuoteStore, instruments: int, *, valid: bool) -> None:
        self._kept = kept
        self._count = instruments
        self._valid = valid
        self._rows_of: list[list[int] | None] = [None] * instruments
        self._kept_from = [-1] * instruments
        """Row that what was set replaces; later rows replace it."""
        self._made: list[tuple[int, QuoteEvent] | None] = [None] * instruments
        self._rows: SessionRows | None = None
        self._handed_over: Collection[int] = frozenset()

    def __getitem__(self, number: InstrumentId) -> QuoteEvent | None:
        rows = self._rows
        if rows is None or not rows.upto or number in self._handed_over:
            return self._kept.get(number)
        known = self._rows_of[number]
        if known is None:
            known = self._rows_of[number] = rows.rows_of(number, valid=self._valid)
        at = bisect_left(known, rows.upto) - 1
        if at < 0 or known[at] <= self._kept_from[number]:
            return self._kept.get(number)
        row, made = known[at], self._made[number]
        if made is not None and made[0] == row:
            return made[1]  # the same object: valuations are kept by it
        quote = rows.quote(row)
        self._made[number] = (row, quote)
        return quote

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent | None) -> None:
        if quote is not None:
            self._kept[number] = quote
        self._kept_from[number] = -1 if self._rows is None else self._rows.upto - 1

    def follow(self, rows: SessionRows) -> None:
        """Go over to another session's rows; the latest quotes of the one before stay."""
        for number in range(self._count):
            self[InstrumentId(number)] = self[InstrumentId(number)]
        self._kept_from = [-1] * self._count
        self._made = [None] * self._count
        self._rows_of = [None] * self._count
        self._rows, self._handed_over = rows, frozenset()

    def hand_over(self, numbers: Collection[int]) -> None:
        """Change the instruments whose every quote is set, from the present row on."""
        for number in numbers:
            if number not in self._handed_over:
                self[InstrumentId(number)] = self[InstrumentId(number)]
        assert self._rows is not None
        for number in self._handed_over:
            self._kept_from[number] = self._rows.upto - 1
        self._handed_over = numbers
