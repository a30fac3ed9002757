"""Market sources of the exchange: their protocol, a tape as a source, minute bars."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Protocol

from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.core.units import DAY_SECONDS, MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import new_york_ns, to_new_york
from scalpdesk.marketdata.tape import CashDividend, FundingRate, MarketTape, Morning, RateCurve
from scalpdesk.simulation.hours import Hours, TapeHours
from scalpdesk.simulation.tape_reader import TapeReader, published_on, settlement_level


@dataclass(slots=True)
class Bar:
    """One bar; ``start_ns`` is its beginning (UTC nanoseconds), as venues label bars."""

    start_ns: int
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    vwap: float

    @classmethod
    def of_prices(
        cls,
        start_ns: int,
        seconds: int,
        prices: tuple[float, float, float, float],
        volume: float,
        trades: int,
    ) -> "Bar":
        """Return a bar of open, high, low and close; its mean price is the typical one."""
        return cls(start_ns, seconds, *prices, volume, trades, sum(prices[1:]) / 3.0)

    def add(self, price: float, size: float) -> None:
        """Add a print."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        total = self.volume + size
        self.vwap = (self.vwap * self.volume + price * size) / total if total > 0 else price
        self.volume = total
        self.trades += 1


class BarBook:
    """Minute bars by instrument: closed bars, and the bar being made."""

    def __init__(self) -> None:
        self._closed: dict[InstrumentId, list[Bar]] = {}
        self._open: dict[InstrumentId, Bar] = {}

    def add_print(self, number: InstrumentId, ts_ns: int, price: float, size: float) -> Bar | None:
        """Add a print; return the bar that it closes, if any."""
        start_ns = ts_ns - ts_ns % MINUTE_NS
        current = self._open.get(number)
        closed = None
        if current is not None and current.start_ns != start_ns:
            closed = current
            self._closed.setdefault(number, []).append(current)
            current = None
        if current is None:
            self._open[number] = Bar(start_ns, 60, price, price, price, price, size, 1, price)
        else:
            current.add(price, size)
        return closed

    def add_bar(self, number: InstrumentId, bar: Bar) -> None:
        """Add a closed bar."""
        self._closed.setdefault(number, []).append(bar)

    def minutes(self, number: InstrumentId) -> list[Bar]:
        """Return an instrument's minute bars, oldest first; the last one may still be open."""
        current = self._open.get(number)
        closed = self._closed.get(number, [])
        return closed if current is None else [*closed, current]

    def latest(self, number: InstrumentId) -> Bar | None:
        """Return the newest bar."""
        current = self._open.get(number)
        if current is not None:
            return current
        closed = self._closed.get(number)
        return closed[-1] if closed else None


def combine(bars: Iterable[Bar], seconds: int, *, in_utc: bool = False) -> list[Bar]:
    """Make bars of ``seconds`` from shorter bars, oldest first; a day begins at New York midnight."""
    made: list[Bar] = []
    for bar in bars:
        width = seconds * NANOS_PER_SECOND
        start_ns = bar.start_ns - bar.start_ns % width if in_utc else bar_start(bar.start_ns, seconds)
        if made and made[-1].start_ns == start_ns:
            whole = made[-1]
            whole.high, whole.low = max(whole.high, bar.high), min(whole.low, bar.low)
            whole.close = bar.close
            total = whole.volume + bar.volume
            if total > 0:
                whole.vwap = (whole.vwap * whole.volume + bar.vwap * bar.volume) / total
            whole.volume = total
            whole.trades += bar.trades
        else:
            made.append(replace(bar, start_ns=start_ns, seconds=seconds))
    return made


def bar_start(ts_ns: int, seconds: int) -> int:
    """Return the start of the bar of an instant: on the grid of UTC, days at New York midnight."""
    if seconds < DAY_SECONDS:
        width = seconds * NANOS_PER_SECOND
        return ts_ns - ts_ns % width
    moment = to_new_york(ts_ns)
    return new_york_ns(moment.date(), moment.time().replace(hour=0, minute=0, second=0, microsecond=0))


def between(bars: Sequence[Bar], start_ns: int, end_ns: int) -> list[Bar]:
    """Return the bars that begin between ``start_ns`` and ``end_ns``, both included."""
    return [bar for bar in bars if start_ns <= bar.start_ns <= end_ns]


TapeEvent = QuoteEvent | TradeEvent | BarEvent


class MarketSource(Protocol):
    """A market as a stream of events that never looks ahead."""

    instruments: Instruments
    hours: Hours
    start_ns: int
    """Start of the market, UTC nanoseconds."""
    dividends: tuple[CashDividend, ...]
    actions: tuple[CorporateAction, ...]
    funding: tuple[FundingRate, ...]
    rate_curve: RateCurve
    dividend_yield: float
    barred: frozenset[InstrumentId]
    """Instruments whose bars the market brings along; those of the others are made of their quotes."""

    def published(self, day: date) -> Morning:
        """Return the rates and the open interest that are known on a day."""
        ...

    def next_ns(self) -> int:
        """Return when the next event is due, UTC nanoseconds."""
        ...

    def take_next(self) -> Iterable[TapeEvent]:
        """Return the events at :meth:`next_ns`, in order, and advance."""
        ...

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Publish every quote of an instrument from now on; return the present quote."""
        ...

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """Return the official level of an underlying on a day."""
        ...

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return closed bars from before the market began."""
        ...


class TapeSource(TapeReader):
    """Market source of a recorded or reconstructed tape.

    ``daily``, ``minutes``: Return the daily and the minute bars of an underlying that ended before the tape,
    oldest first.
    """

    def __init__(
        self,
        tape: MarketTape,
        daily: Callable[[str], Sequence[Bar]] = lambda _: (),
        minutes: Callable[[str], Sequence[Bar]] = lambda _: (),
    ) -> None:
        super().__init__(tape)
        self.tape = tape
        self.instruments = tape.instruments
        self.hours: Hours = TapeHours(tape.sessions)
        self.start_ns = tape.sessions[0].open_ns
        self.dividends = tape.dividends
        self.actions = tape.actions
        self.funding = tape.funding
        self.rate_curve = tape.rate_curve
        self.dividend_yield = tape.dividend_yield
        self._earlier = {DAY_SECONDS: cache(daily), 60: cache(minutes)}  # drawn only if somebody asks

    def published(self, day: date) -> Morning:
        """Return what the tape has of a day."""
        return published_on(self.tape, day)

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Return None: every instrument of a tape is played anyway."""
        del number
        return None

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """Return the tape's official level, or None."""
        return settlement_level(self.tape, symbol, day)

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return daily and minute bars of an underlying from before the tape."""
        if symbol not in self.tape.underlyings or seconds not in self._earlier:
            return ()
        return between(self._earlier[seconds](symbol), start_ns, end_ns)
