"""Bars from quotes or smaller bars. A bar exists only once it is closed."""

from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId


class BarBuilder:
    """Builds bars of ``bar_seconds`` anchored at ``anchor_ns`` (the session's open) from prices.

    Parameters
    ----------
    instrument_id
        Whose prices these are.
    bar_seconds
        Length of a bar in seconds.
    anchor_ns
        Start of the first bar, UTC nanoseconds.
    """

    def __init__(self, instrument_id: InstrumentId, bar_seconds: int, anchor_ns: int) -> None:
        self.instrument_id = instrument_id
        self.bar_seconds = bar_seconds
        self._length_ns = bar_seconds * NANOS_PER_SECOND
        self._anchor_ns = anchor_ns
        self._end_ns = 0
        self._open = self._high = self._low = self._close = self._volume = 0.0

    def add(self, ts_ns: int, price: float, volume: float = 0.0) -> BarEvent | None:
        """Take one price in; return the bar that this price closes, if it starts a new one.

        A price stamped exactly at the end of a bar still belongs to it: it was known by then.
        """
        closed = None
        if self._end_ns and ts_ns > self._end_ns:
            closed = self.close()
        if not self._end_ns:
            steps = max(-(-(ts_ns - self._anchor_ns) // self._length_ns), 1)
            self._end_ns = self._anchor_ns + steps * self._length_ns
            self._open = self._high = self._low = price
            self._volume = 0.0
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._close = price
        self._volume += volume
        return closed

    def close(self) -> BarEvent | None:
        """Close and return the bar under way, or None when there is none."""
        if not self._end_ns:
            return None
        bar = BarEvent(
            self.instrument_id,
            self._end_ns,
            self._end_ns,
            self.bar_seconds,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume,
        )
        self._end_ns = 0
        return bar
