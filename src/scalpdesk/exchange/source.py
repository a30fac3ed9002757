"""Where a simulated market's events come from, in time: a tape, or a generator."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Protocol

import numpy as np

from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.bars import Bar
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import CashDividend, MarketTape, RateCurve
from scalpdesk.simulation.broker.hours import Hours, TapeHours

NEVER_NS = 2**63 - 1
CHUNK_ROWS = 8_192

TapeEvent = QuoteEvent | TradeEvent | BarEvent


class MarketSource(Protocol):
    """A market as a stream of events that never looks ahead."""

    instruments: Instruments
    hours: Hours
    start_ns: int
    """When the market begins, UTC nanoseconds."""
    open_interest: dict[str, int]
    dividends: tuple[CashDividend, ...]
    rate_curve: RateCurve
    dividend_yield: float
    barred: frozenset[InstrumentId]
    """Instruments whose bars the market brings along; those of the others are made of their quotes."""

    def next_ns(self) -> int:
        """Return when the next event is due, UTC nanoseconds."""
        ...

    def take_next(self) -> Iterable[TapeEvent]:
        """Return the events of the instant :meth:`next_ns`, in order, and go on."""
        ...

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Ask for every quote of an instrument from now on; return the present one."""
        ...

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """Return the official level of an underlying on a day."""
        ...

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return closed bars from before the market began."""
        ...


class TapeSource:
    """Plays a tape.

    Options come before the underlying at one instant, and bars after both, as in a backtest.

    Parameters
    ----------
    tape
        Recorded or reconstructed sessions.
    daily
        Daily bars that ended before the tape, oldest first.
    """

    def __init__(
        self,
        tape: MarketTape,
        daily: Sequence[Bar] = (),
        minutes: Callable[[], Sequence[Bar]] = tuple,
    ) -> None:
        self.tape = tape
        self.instruments = tape.instruments
        self.hours: Hours = TapeHours(tape.sessions)
        self.start_ns = tape.sessions[0].open_ns
        self.open_interest = dict(tape.open_interest)
        self.dividends = tape.dividends
        self.rate_curve = tape.rate_curve
        self.dividend_yield = tape.dividend_yield
        self._daily = tuple(daily)
        self._minutes = cache(minutes)  # drawn only if somebody asks
        self._underlying = tape.instruments.id_of(tape.underlying)
        self._row = int(np.searchsorted(tape.quotes.ts_ns, self.start_ns, side="left"))
        self._last_row = int(np.searchsorted(tape.quotes.ts_ns, tape.sessions[-1].close_ns, side="right"))
        self._buffer: list[QuoteEvent] = []
        self._at = 0
        self._bars = self._bar_events()
        self._bar_at = 0
        self.barred = frozenset(one.instrument_id for one in self._bars)
        self._fill()

    def _bar_events(self) -> list[BarEvent]:
        columns = self.tape.bars
        if columns is None:
            return []
        return [
            BarEvent(InstrumentId(number), ts, ts, seconds, o, h, low, c, volume)
            for number, ts, seconds, o, h, low, c, volume in zip(
                columns.instrument_id.tolist(),
                columns.ts_ns.tolist(),
                columns.bar_seconds.tolist(),
                columns.open.tolist(),
                columns.high.tolist(),
                columns.low.tolist(),
                columns.close.tolist(),
                columns.volume.tolist(),
                strict=True,
            )
            if ts > self.start_ns
        ]

    def _fill(self) -> None:
        """Turn the next rows into events, never cutting through one instant."""
        self._buffer, self._at = [], 0
        if self._row >= self._last_row:
            return
        columns = self.tape.quotes
        low, high = self._row, min(self._row + CHUNK_ROWS, self._last_row)
        while high < self._last_row and columns.ts_ns[high] == columns.ts_ns[high - 1]:
            high += 1
        part = slice(low, high)
        ids = columns.instrument_id[part]
        order = np.lexsort((ids, ids == self._underlying, columns.ts_ns[part]))
        stamps = columns.ts_ns[part][order].tolist()
        self._buffer = list(
            map(
                QuoteEvent,
                ids[order].tolist(),
                stamps,
                stamps,
                columns.bid[part][order].tolist(),
                columns.ask[part][order].tolist(),
                columns.bid_size[part][order].tolist(),
                columns.ask_size[part][order].tolist(),
            )
        )
        self._row = high

    def next_ns(self) -> int:
        """Return when the next quote or bar is due."""
        quote_ns = self._buffer[self._at].ts_recv_ns if self._at < len(self._buffer) else NEVER_NS
        bar_ns = self._bars[self._bar_at].ts_recv_ns if self._bar_at < len(self._bars) else NEVER_NS
        return min(quote_ns, bar_ns)

    def take_next(self) -> list[TapeEvent]:
        """Return the events of one instant."""
        now_ns = self.next_ns()
        events: list[TapeEvent] = []
        buffer = self._buffer
        while self._at < len(buffer) and buffer[self._at].ts_recv_ns == now_ns:
            events.append(buffer[self._at])
            self._at += 1
        if self._at >= len(buffer):
            self._fill()
        while self._bar_at < len(self._bars) and self._bars[self._bar_at].ts_recv_ns == now_ns:
            events.append(self._bars[self._bar_at])
            self._bar_at += 1
        return events

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Every instrument of a tape is played anyway."""
        del number
        return None

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """Return the tape's official level, where it has one."""
        level = self.tape.settlement_prices.get((symbol, day))
        return None if level is None else Decimal(f"{level:.4f}")

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return days and minutes of the underlying from before the tape, where there are any."""
        if symbol != self.tape.underlying or seconds not in (60, 86_400):
            return ()
        bars = self._daily if seconds == 86_400 else self._minutes()
        return [bar for bar in bars if start_ns <= bar.start_ns < end_ns]


def minute_bars_of_embedded(day: date, count: int = 20) -> list[Bar]:
    """Return the minutes of the embedded market's share in ``count`` sessions before ``day`` (seed 1)."""
    from scalpdesk.datasets.embedded.market import minute_bars_before  # noqa: PLC0415 - reads a package

    bars = []
    for one in minute_bars_before(day, count, InstrumentId(0)):
        rows = zip(one.ends_ns, one.open, one.high, one.low, one.close, one.volume, strict=True)
        for end_ns, opened, high, low, close, volume in rows:
            start_ns = end_ns - 60 * NANOS_PER_SECOND
            typical = (high + low + close) / 3.0
            bars.append(Bar(start_ns, 60, opened, high, low, close, volume, 0, typical))
    return bars


def daily_bars_of_embedded(day: date, count: int = 300) -> list[Bar]:
    """Return real daily bars of the embedded market's share (index over ten) before ``day``."""
    from scalpdesk.datasets.embedded.days import index_rows, us_date  # noqa: PLC0415 - reads a package

    rows = [row for row in index_rows("sp500") if us_date(row[0]) < day][-count:]
    bars = []
    for row in rows:
        opened, high, low, close = (round(float(text) / 10.0, 2) for text in row[1:5])
        start = session_on(us_date(row[0])).open_ns
        bars.append(Bar(start, 86_400, opened, high, low, close, 0.0, 0, (high + low + close) / 3.0))
    return bars
