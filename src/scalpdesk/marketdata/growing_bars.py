"""The pieces that timeframes are kept in: the bar under way of one length, and a session watched."""

from collections import deque
from datetime import date

import msgspec

from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.sessions import Session

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400
"""Length that stands for a whole session, however long it was."""


class PriceRange(msgspec.Struct, frozen=True):
    """Open, high, low and close of a stretch of time (currency per unit) and its volume (units)."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float


class GrowingBar:
    """The bar of one length under way, and the closed ones before it."""

    __slots__ = ("bars", "close", "end_ns", "high", "length_ns", "low", "open", "seconds", "volume")

    def __init__(self, seconds: int, kept_bars: int) -> None:
        self.seconds = seconds
        self.length_ns = seconds * NANOS_PER_SECOND
        self.bars: deque[BarEvent] = deque(maxlen=kept_bars)
        self.end_ns = 0
        self.open = self.high = self.low = self.close = self.volume = 0.0

    def end_of(self, end_ns: int, session: Session) -> int:
        """End of the bar that a piece ending at ``end_ns`` belongs to; the last one may be short."""
        if self.seconds == DAY_SECONDS:
            return session.close_ns
        steps = max(-(-(end_ns - session.open_ns) // self.length_ns), 1)
        return min(session.open_ns + steps * self.length_ns, session.close_ns)

    def add(self, piece: BarEvent, session: Session) -> list[BarEvent]:
        """Take a smaller bar in; return the bars of this length that it closes (at most two)."""
        closed = []
        if self.end_ns and piece.ts_event_ns > self.end_ns:
            closed.append(self.finish(piece.instrument_id))
        if not self.end_ns:
            self.end_ns = self.end_of(piece.ts_event_ns, session)
            self.open, self.high, self.low, self.volume = piece.open, piece.high, piece.low, 0.0
        self.high = max(self.high, piece.high)
        self.low = min(self.low, piece.low)
        self.close = piece.close
        self.volume += piece.volume
        if piece.ts_event_ns == self.end_ns and self.seconds != DAY_SECONDS:
            closed.append(self.finish(piece.instrument_id))
        return closed

    def finish(self, number: InstrumentId) -> BarEvent:
        """Close the bar under way."""
        end = self.end_ns
        bar = BarEvent(
            number, end, end, self.seconds, self.open, self.high, self.low, self.close, self.volume
        )
        self.end_ns = 0
        self.bars.append(bar)
        return bar


class WatchedSession:
    """What is remembered of a session: its range, its volume by the minute, its opening range."""

    def __init__(self, session: Session, *, joined_late: bool = False) -> None:
        self.session = session
        self.joined_late = joined_late
        """Whether the desk joined after the open."""
        self.volume_of_minute: dict[int, float] = {}
        self.first_minute = 0
        """First minute after the open that was watched: earlier ones are not known to be silent."""
        self.last_minute = -1
        self.range: PriceRange | None = None
        self.opening: PriceRange | None = None
        self.value_traded = 0.0
        self.volume = 0.0

    def minute_of(self, end_ns: int) -> int:
        """Minute of the session (0 is the first) that a bar ending at ``end_ns`` lies in."""
        return max((end_ns - self.session.open_ns - 1) // (MINUTE_SECONDS * NANOS_PER_SECOND), 0)

    def add(self, piece: BarEvent, opening_minutes: int) -> None:
        """Take a closed piece in."""
        minute = self.minute_of(piece.ts_event_ns)
        first = self.minute_of(piece.ts_event_ns - piece.bar_seconds * NANOS_PER_SECOND + 1)
        if self.range is None:
            self.first_minute = first
        self.last_minute = minute
        if first == minute:
            self.volume_of_minute[minute] = self.volume_of_minute.get(minute, 0.0) + piece.volume
        self.value_traded += (piece.high + piece.low + piece.close) / 3.0 * piece.volume
        self.volume += piece.volume
        self.range = widened(self.range, piece, self.session.day)
        if minute < opening_minutes:
            self.opening = widened(self.opening, piece, self.session.day)

    def watched(self, minute: int) -> bool:
        """Whether this minute was seen, be it silent."""
        return self.range is not None and self.first_minute <= minute <= self.last_minute


def widened(so_far: PriceRange | None, piece: BarEvent, day: date) -> PriceRange:
    """Return a range with one more bar in it."""
    if so_far is None:
        return PriceRange(day, piece.open, piece.high, piece.low, piece.close, piece.volume)
    return PriceRange(
        day,
        so_far.open,
        max(so_far.high, piece.high),
        min(so_far.low, piece.low),
        piece.close,
        so_far.volume + piece.volume,
    )
