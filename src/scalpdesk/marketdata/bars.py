"""Closed bars of several lengths for one instrument, with session range, VWAP, opening range and volumes.

Bars are anchored at the session's open and built from quotes (their mids), one-second or one-minute bars.
Only closed bars are visible. A figure with too little data is :class:`Absent` with its reason, never a
number.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from math import gcd, inf
from typing import TypeVar

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import BarEvent, PriceAdjustmentEvent, QuoteEvent, SessionBarsEvent
from scalpdesk.core.units import DAY_SECONDS, NANOS_PER_SECOND, InstrumentId, count_text
from scalpdesk.instruments.sessions import Session, whole_session
from scalpdesk.marketdata.latest_quotes import InstrumentRows

_MINUTE_SECONDS = 60
"""Length of the bar of a whole session, half days included."""


class PriceRange(msgspec.Struct, frozen=True):
    """Open, high, low, close (currency per unit) and volume (units) of a period."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float


_Bar = TypeVar("_Bar", BarEvent, PriceRange)


def rescaled_bar(bar: _Bar, by: PriceAdjustmentEvent) -> _Bar:
    """Return a closed bar, or the range of a period, in the scale of after a corporate action."""
    return msgspec.structs.replace(
        bar,
        open=by.price(bar.open),
        high=by.price(bar.high),
        low=by.price(bar.low),
        close=by.price(bar.close),
        volume=bar.volume * by.volume_factor,
    )


class _GrowingBar:
    """The open bar of one length, and the closed bars before it."""

    __slots__ = ("bars", "close", "end_ns", "high", "length_ns", "low", "open", "seconds", "volume")

    def __init__(self, seconds: int, kept_bars: int) -> None:
        self.seconds = seconds
        self.length_ns = seconds * NANOS_PER_SECOND
        self.bars: deque[BarEvent] = deque(maxlen=kept_bars)
        self.end_ns = 0
        self.open = self.high = self.low = self.close = self.volume = 0.0

    def end_of(self, end_ns: int, session: Session) -> int:
        """Return the end of the bar that contains ``end_ns``; the last bar of a session may be short."""
        if self.seconds == DAY_SECONDS:
            return session.close_ns
        steps = max(-(-(end_ns - session.open_ns) // self.length_ns), 1)
        return min(session.open_ns + steps * self.length_ns, session.close_ns)

    def add(self, piece: BarEvent, session: Session) -> list[BarEvent]:
        """Add a shorter bar; return the bars of this length that it closes (at most two)."""
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

    def finish(self, instrument_id: InstrumentId) -> BarEvent:
        """Close the open bar."""
        end = self.end_ns
        prices = self.open, self.high, self.low, self.close
        bar = BarEvent(instrument_id, end, end, self.seconds, *prices, self.volume)
        self.end_ns = 0
        self.bars.append(bar)
        return bar


class _SessionStatistics:
    """Range, opening range, VWAP sums and volume by minute of one session."""

    def __init__(self, session: Session, *, joined_late: bool = False) -> None:
        self.session = session
        self.joined_late = joined_late
        """Whether the data starts after the open."""
        self.volume_of_minute: dict[int, float] = {}
        self.first_minute = 0
        """First observed minute after the open."""
        self.last_minute = -1
        self.range: PriceRange | None = None
        self.opening: PriceRange | None = None
        self.value_traded = 0.0
        self.volume = 0.0

    def minute_of(self, end_ns: int) -> int:
        """Return the minute of the session (0 is the first) of a bar by its end, UTC nanoseconds."""
        return max((end_ns - self.session.open_ns - 1) // (_MINUTE_SECONDS * NANOS_PER_SECOND), 0)

    def add(self, piece: BarEvent, opening_minutes: int) -> None:
        """Add a closed bar."""
        minute = self.minute_of(piece.ts_event_ns)
        first = self.minute_of(piece.ts_event_ns - piece.bar_seconds * NANOS_PER_SECOND + 1)
        if self.range is None:
            self.first_minute = first
        self.last_minute = minute
        if first == minute:
            self.volume_of_minute[minute] = self.volume_of_minute.get(minute, 0.0) + piece.volume
        self.value_traded += (piece.high + piece.low + piece.close) / 3.0 * piece.volume
        self.volume += piece.volume
        self.range = _widened(self.range, piece, self.session.day)
        if minute < opening_minutes:
            self.opening = _widened(self.opening, piece, self.session.day)

    def rescale(self, by: PriceAdjustmentEvent) -> None:
        """Bring the figures of a session that is over to the scale of after a corporate action."""
        self.range = None if self.range is None else rescaled_bar(self.range, by)
        self.opening = None if self.opening is None else rescaled_bar(self.opening, by)
        for minute in self.volume_of_minute:
            self.volume_of_minute[minute] *= by.volume_factor

    def observed(self, minute: int) -> bool:
        """Whether this minute was observed, with or without trades."""
        return self.range is not None and self.first_minute <= minute <= self.last_minute


def _widened(so_far: PriceRange | None, bar: BarEvent, day: date) -> PriceRange:
    if so_far is None:
        return PriceRange(day, bar.open, bar.high, bar.low, bar.close, bar.volume)
    high, low = max(so_far.high, bar.high), min(so_far.low, bar.low)
    return PriceRange(day, so_far.open, high, low, bar.close, so_far.volume + bar.volume)


NOTHING: tuple[BarEvent, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """A figure that is not available, and the reason."""

    reason: str
    """Why, for the user."""
    have: int = 0
    need: int = 0
    """``have``, ``need``: Bars or sessions available and needed; 0 where the reason is no count."""


def earlier_sessions(
    items: Iterable[SessionBarsEvent], before_ns: int
) -> Iterator[tuple[Session, list[BarEvent]]]:
    """Yield sessions that ended by an instant (UTC nanoseconds), each with its bars."""
    for item in items:
        if item.close_ns <= before_ns:
            columns = zip(item.ends_ns, item.open, item.high, item.low, item.close, item.volume, strict=True)
            number, seconds = item.instrument_id, item.bar_seconds
            bars = [BarEvent(number, end_ns, end_ns, seconds, *prices) for end_ns, *prices in columns]
            yield Session(date.fromisoformat(item.session), item.open_ns, item.close_ns), bars


class Timeframes:
    """Closed bars of several lengths of one instrument, over this session and earlier sessions.

    The best source of a session wins: bars over quotes (they have volume), shorter bars over longer bars.
    When a better source first arrives, the session is rebuilt from it alone, so that no bar mixes two.

    Parameters
    ----------
    instrument_id
        The instrument; bars of others are refused.
    lengths_seconds
        Bar lengths; a minute is always included, 86,400 is a whole session.
    kept_bars
        Closed bars kept of each length, across sessions.
    kept_sessions
        Earlier sessions whose range and volumes are kept.
    opening_minutes
        Length of the opening range from the session's open.

    Raises
    ------
    ArgumentError
        When a length or a count is not positive.
    """

    def __init__(
        self,
        instrument_id: InstrumentId,
        lengths_seconds: Iterable[int] = (60, 300, 600, DAY_SECONDS),
        *,
        kept_bars: int = 512,
        kept_sessions: int = 20,
        opening_minutes: int = 30,
    ) -> None:
        lengths = sorted({_MINUTE_SECONDS, *lengths_seconds})
        for name, value in (
            ("lengths_seconds", lengths[0]),
            ("kept_bars", kept_bars),
            ("kept_sessions", kept_sessions),
            ("opening_minutes", opening_minutes),
        ):
            if value < 1:
                raise ArgumentError("a length or a count must be positive", where=name, value=value)
        self.instrument_id = instrument_id
        self._opening_minutes = opening_minutes
        self._kept_bars = kept_bars
        self._growing = {seconds: _GrowingBar(seconds, kept_bars) for seconds in lengths}
        self._days: deque[_SessionStatistics] = deque(maxlen=kept_sessions)
        self._day: _SessionStatistics | None = None
        self._source_seconds = inf
        self._last_end_ns = 0
        # quotes build one short bar, of which the other lengths are made when it closes
        self._quote_seconds = gcd(*(seconds for seconds in lengths if seconds != DAY_SECONDS))
        self._quoted = _GrowingBar(self._quote_seconds, 1)
        self._adjustments_taken = 0

    # feeding ------------------------------------------------------------------------------------

    def open_session(
        self, session: Session, adjustments: Sequence[PriceAdjustmentEvent] = ()
    ) -> tuple[BarEvent, ...]:
        """Open a session, closing the current one first; a second call for the same session does nothing.

        Bars are aligned to the whole session, even where the desk joined it late.

        Parameters
        ----------
        session
            The one that opens.
        adjustments
            Those of the run so far, of any instrument: earlier bars and sessions are brought to the scale of
            after those that came since the last call.

        Returns
        -------
        tuple of BarEvent
            The bars that this closes, in the scale in which they were built.
        """
        whole = whole_session(session)
        if self._day is not None and self._day.session == whole:
            return NOTHING
        closed = self.close_session()
        for item in adjustments[self._adjustments_taken :]:
            if item.instrument_id == self.instrument_id:
                self._rescale(item)
        self._adjustments_taken = max(self._adjustments_taken, len(adjustments))
        self._day = _SessionStatistics(whole, joined_late=whole.open_ns < session.open_ns)
        self._source_seconds = inf
        self._last_end_ns = 0
        return closed

    def _rescale(self, by: PriceAdjustmentEvent) -> None:
        for growing in self._growing.values():
            for place, bar in enumerate(growing.bars):
                growing.bars[place] = rescaled_bar(bar, by)
        for day in self._days:
            day.rescale(by)

    def close_session(self) -> tuple[BarEvent, ...]:
        """Close the session; return the bars that this closes."""
        day = self._day
        if day is None:
            return NOTHING
        closed = self._close_quoted(day)
        for growing in self._growing.values():
            if growing.end_ns:
                closed.append(growing.finish(self.instrument_id))
        if day.range is not None:
            self._days.append(day)
        self._day = None
        return tuple(closed)

    def add_quote(self, quote: QuoteEvent) -> tuple[BarEvent, ...]:
        """Add a good quote's mid; return the bars that it closes, shortest first."""
        mid = 0.5 * (quote.bid + quote.ask)
        return self._add_mids(quote.ts_recv_ns, mid, mid, mid, mid)

    def add_quotes(self, quotes: InstrumentRows, first: int, last: int) -> tuple[BarEvent, ...]:
        """Add the mids of good rows from ``first`` to before ``last``; return the bars that they close."""
        closed = NOTHING
        while first < last:
            ts_ns, end_ns = int(quotes.ts_ns[first]), self._quoted.end_ns
            upto = first + 1 if ts_ns > end_ns else quotes.first_at(end_ns + 1, first, last)
            mids = 0.5 * (quotes.bid[first:upto] + quotes.ask[first:upto])
            closed += self._add_mids(ts_ns, *map(float, (mids[0], mids.min(), mids.max(), mids[-1])))
            first = upto
        return closed

    def next_close(self, quotes: InstrumentRows, first: int, last: int) -> int:
        """Return the first good row from ``first`` to before ``last`` that closes a bar; else ``last``."""
        day, end_ns = self._day, self._quoted.end_ns
        if day is None or self._source_seconds != inf:
            return last
        if not end_ns:
            first = quotes.first_at(day.session.open_ns, first, last)
            if first == last:
                return last
            end_ns = self._quoted.end_of(int(quotes.ts_ns[first]), day.session)
        row = quotes.first_at(end_ns + 1, first, last)
        return row if row < quotes.first_at(day.session.close_ns + 1, row, last) else last

    def _add_mids(
        self, ts_ns: int, first: float, low: float, high: float, last: float
    ) -> tuple[BarEvent, ...]:
        """Add mids of one bar, the first of an instant (UTC nanoseconds); return the bars that they close."""
        day, quoted, closed = self._day, self._quoted, NOTHING
        if self._source_seconds != inf:
            return NOTHING  # the session is built from bars
        if day is None or not day.session.open_ns <= ts_ns <= day.session.close_ns:
            return NOTHING
        if ts_ns > quoted.end_ns:
            closed = tuple(self._close_quoted(day))
            quoted.end_ns = quoted.end_of(ts_ns, day.session)
            quoted.open = quoted.low = quoted.high = first
        quoted.low = min(quoted.low, low)
        quoted.high = max(quoted.high, high)
        quoted.close = last
        return closed

    def add_bar(self, bar: BarEvent) -> tuple[BarEvent, ...]:
        """Add a closed bar; return the bars that it closes, shortest first.

        Raises
        ------
        ArgumentError
            When the bar is another instrument's.
        """
        if bar.instrument_id != self.instrument_id:
            raise ArgumentError("a bar of another instrument", where="instrument_id", value=bar.instrument_id)
        day = self._day
        if day is None or bar.bar_seconds > self._source_seconds:
            return NOTHING
        session = day.session
        start_ns = bar.ts_event_ns - bar.bar_seconds * NANOS_PER_SECOND
        if start_ns < session.open_ns or bar.ts_event_ns > session.close_ns:
            return NOTHING
        if bar.bar_seconds < self._source_seconds:
            day = self._rebuild_from(day, bar.bar_seconds)
        if bar.ts_event_ns <= self._last_end_ns:
            return NOTHING  # a later one has arrived
        return tuple(self._add(bar, day))

    def _add(self, piece: BarEvent, day: _SessionStatistics) -> list[BarEvent]:
        self._last_end_ns = piece.ts_event_ns
        day.add(piece, self._opening_minutes)
        closed: list[BarEvent] = []
        for growing in self._growing.values():
            if growing.seconds % piece.bar_seconds == 0:
                closed += growing.add(piece, day.session)
        return closed

    def _close_quoted(self, day: _SessionStatistics) -> list[BarEvent]:
        if not self._quoted.end_ns:
            return []
        return self._add(self._quoted.finish(self.instrument_id), day)

    def _rebuild_from(self, day: _SessionStatistics, source_seconds: int) -> _SessionStatistics:
        """Discard the session's bars from a lesser source."""
        self._source_seconds = source_seconds
        self._quoted.end_ns = 0
        self._last_end_ns = 0
        for growing in self._growing.values():
            growing.end_ns = 0
            while growing.bars and growing.bars[-1].ts_event_ns > day.session.open_ns:
                growing.bars.pop()
        self._day = _SessionStatistics(day.session, joined_late=day.joined_late)
        return self._day

    # reading ------------------------------------------------------------------------------------

    def bars(self, seconds: int, count: int, *, same_session: bool = False) -> tuple[BarEvent, ...] | Absent:
        """Return the last ``count`` closed bars of a length, oldest first.

        With ``same_session``, only bars of the current session count.

        Raises
        ------
        ArgumentError
            When the length is not kept, or ``count`` exceeds the kept bars.
        """
        growing = self._growing.get(seconds)
        if growing is None or not 1 <= count <= self._kept_bars:
            raise ArgumentError(
                "no such bars are kept",
                where="seconds, count",
                value=(seconds, count),
                fix=f"lengths {sorted(self._growing)}, 1 to {self._kept_bars} bars",
            )
        found = list(growing.bars)[-count:]
        if same_session:
            open_ns = self._day.session.open_ns if self._day is not None else inf
            found = [bar for bar in found if bar.ts_event_ns > open_ns]
        if len(found) < count:
            where = "closed in this session" if same_session else "closed"
            return Absent(f"{len(found)} bars of {seconds} s {where}, {count} needed", len(found), count)
        return tuple(found)

    def closed_in_session(self, seconds: int) -> tuple[BarEvent, ...]:
        """Return the kept closed bars of a length in this session, oldest first.

        Raises
        ------
        ArgumentError
            When the length is not kept.
        """
        self.bars(seconds, 1)  # raises for a length that is not kept
        if self._day is None:
            return NOTHING
        open_ns = self._day.session.open_ns
        return tuple(bar for bar in self._growing[seconds].bars if bar.ts_event_ns > open_ns)

    def closes(self, seconds: int, count: int, *, same_session: bool = False) -> tuple[float, ...] | Absent:
        """Return the last ``count`` closes (currency per unit), oldest first; as :meth:`bars`."""
        found = self.bars(seconds, count, same_session=same_session)
        return found if isinstance(found, Absent) else tuple(bar.close for bar in found)

    def vwap(self) -> float | Absent:
        """Return the session's Σ(typical price · volume) / Σ volume from its open, currency per unit."""
        day = self._day
        if day is None or day.range is None:
            return Absent("no bar of this session is closed")
        if day.first_minute > 0:
            return Absent(f"watched only from minute {day.first_minute} of the session, not from its open")
        if day.volume <= 0.0:
            return Absent("no volume arrived in this session")
        return day.value_traded / day.volume

    def session_range(self) -> PriceRange | Absent:
        """Return the range of the current session's closed bars."""
        if self._day is None or self._day.range is None:
            return Absent("no bar of this session is closed")
        return self._day.range

    def prior_session(self) -> PriceRange | Absent:
        """Return the range of the previous session."""
        if not self._days:
            return Absent("no earlier session was watched", 0, 1)
        if self._days[-1].joined_late:
            return Absent("the earlier session was not watched from its open")
        found = self._days[-1].range
        return found if found is not None else Absent("no bar of the earlier session is closed")

    def prior_close(self) -> float | Absent:
        """Return the last price of the previous session, observed from its open or not."""
        found = self._days[-1].range if self._days else None
        return found.close if found is not None else Absent("no earlier session was watched", 0, 1)

    def prior_close_ns(self) -> int | None:
        """Return the instant of :meth:`prior_close`, UTC nanoseconds; None before the first session."""
        return self._days[-1].session.close_ns if self._days and self._days[-1].range is not None else None

    def session(self) -> Session | None:
        """Return the current session with its own open; None outside a session."""
        return None if self._day is None else self._day.session

    def opening_range(self) -> PriceRange | Absent:
        """Return the range of the session's first minutes, once they are over."""
        day = self._day
        if day is None or day.opening is None or day.first_minute > 0:
            return Absent("the session's first minutes were not watched")
        end_ns = day.session.open_ns + self._opening_minutes * _MINUTE_SECONDS * NANOS_PER_SECOND
        if self._last_end_ns < end_ns:
            return Absent(f"the first {self._opening_minutes} minutes are not over")
        return day.opening

    def volume_ratio(self, sessions: int = 20) -> float | Absent:
        """Return the last closed minute's volume over the mean of that minute in earlier sessions.

        The mean is over the last ``sessions`` sessions in which the minute was observed.
        """
        day = self._day
        last = self.bars(_MINUTE_SECONDS, 1, same_session=True)
        if day is None or isinstance(last, Absent):
            return Absent("no minute of this session is closed")
        minute = day.minute_of(last[0].ts_event_ns)
        past = [
            earlier.volume_of_minute.get(minute, 0.0) for earlier in self._days if earlier.observed(minute)
        ]
        # without its number: a reason that changed each minute would be reported each minute
        return _ratio(last[0].volume, past, sessions, "this minute")

    def opening_volume_ratio(self, sessions: int = 20) -> float | Absent:
        """Return the opening range's volume over its mean in earlier sessions; as ``volume_ratio``."""
        opening = self.opening_range()
        if isinstance(opening, Absent):
            return opening
        complete = (earlier for earlier in self._days if earlier.first_minute == 0)
        past = [earlier.opening.volume for earlier in complete if earlier.opening is not None]
        return _ratio(opening.volume, past, sessions, "the opening")


def _ratio(volume: float, past: list[float], sessions: int, what: str) -> float | Absent:
    if len(past) < sessions:
        return Absent(
            f"{what} was watched in {count_text(len(past), 'earlier session')}, {sessions} needed",
            len(past),
            sessions,
        )
    mean = sum(past[-sessions:]) / sessions
    if mean <= 0.0:
        return Absent(f"no volume in {what} of the earlier sessions")
    return volume / mean
