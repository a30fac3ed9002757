"""Bars of one minute, kept as the market goes by, and longer ones made from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.sessions import new_york_ns, to_new_york

MINUTE_NS = 60 * NANOS_PER_SECOND
DAY_SECONDS = 86_400


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

    def add(self, price: float, size: float) -> None:
        """Take one more print in."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        total = self.volume + size
        self.vwap = (self.vwap * self.volume + price * size) / total if total > 0 else price
        self.volume = total
        self.trades += 1


class BarBook:
    """Minute bars by instrument: closed ones, and the one being made."""

    def __init__(self) -> None:
        self._closed: dict[InstrumentId, list[Bar]] = {}
        self._open: dict[InstrumentId, Bar] = {}

    def add_print(self, number: InstrumentId, ts_ns: int, price: float, size: float) -> Bar | None:
        """Take a print in; return the bar that it closes, if any."""
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
        """Take a closed bar in as it is."""
        self._closed.setdefault(number, []).append(bar)

    def minutes(self, number: InstrumentId) -> list[Bar]:
        """Return the closed bars, oldest first, and the one being made."""
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


def combine(bars: Iterable[Bar], seconds: int) -> list[Bar]:
    """Make bars of ``seconds`` from shorter ones, oldest first; a day begins at New York midnight."""
    made: list[Bar] = []
    for bar in bars:
        start_ns = bar_start(bar.start_ns, seconds)
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
            made.append(
                Bar(
                    start_ns,
                    seconds,
                    bar.open,
                    bar.high,
                    bar.low,
                    bar.close,
                    bar.volume,
                    bar.trades,
                    bar.vwap,
                )
            )
    return made


def bar_start(ts_ns: int, seconds: int) -> int:
    """Return when the bar of an instant begins: on the grid of UTC, days at New York midnight."""
    if seconds < DAY_SECONDS:
        width = seconds * NANOS_PER_SECOND
        return ts_ns - ts_ns % width
    moment = to_new_york(ts_ns)
    return new_york_ns(moment.date(), moment.time().replace(hour=0, minute=0, second=0, microsecond=0))


def between(bars: Sequence[Bar], start_ns: int, end_ns: int) -> list[Bar]:
    """Return the bars that begin from ``start_ns`` on and not after ``end_ns``."""
    return [bar for bar in bars if start_ns <= bar.start_ns <= end_ns]
