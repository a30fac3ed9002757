"""Closed bars and candles with clouds, by the prices one thinks in."""

from typing import Any

from scalpdesk.base import BarEvent, InstrumentId
from scalpdesk.signals.ema_cloud import FAST, CloudCandle, CloudState

MINUTE_NS = 60 * 10**9


def bar_event(
    place: int,
    close: float,
    *,
    high: float | None = None,
    low: float | None = None,
    open_: float | None = None,
    volume: float = 100.0,
    seconds: int = 60,
    end_ns: int | None = None,
) -> BarEvent:
    """Return a closed bar, the ``place``-th after time zero."""
    end_ns = (place + 1) * seconds * 10**9 if end_ns is None else end_ns
    open_ = close if open_ is None else open_
    high = max(open_, close) if high is None else high
    low = min(open_, close) if low is None else low
    return BarEvent(InstrumentId(0), end_ns, end_ns, seconds, open_, high, low, close, volume)


def candle(
    open_: float, high: float, low: float, close: float, *, top: float, bottom: float, end_ns: int = MINUTE_NS
) -> CloudCandle:
    """Return a closed bar with its fast cloud, green."""
    bar = bar_event(0, close, open_=open_, high=high, low=low, end_ns=end_ns)
    return CloudCandle(bar, {FAST: CloudState(top, bottom, close)})


def minutes_of(frame: Any) -> list[BarEvent]:
    """Return the minutes of a frame indexed by their ends as events."""
    return [
        bar_event(
            0,
            row.close,
            open_=row.open,
            high=row.high,
            low=row.low,
            volume=float(row.volume),
            end_ns=row.Index.value,
        )
        for row in frame.itertuples()
    ]
