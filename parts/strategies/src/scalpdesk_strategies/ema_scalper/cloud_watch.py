"""The clouds of one underlying over its closed bars: 1, 5, 10 and 30 minutes, and the signals in them."""

import copy
from collections import deque
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from scalpdesk.base import NANOS_PER_SECOND, BarEvent, InstrumentId, QuoteEvent, Session, from_ns
from scalpdesk.core.events import PriceAdjustmentEvent
from scalpdesk.marketdata.bars import earlier_sessions
from scalpdesk.signals.conviction import judge_conviction
from scalpdesk.signals.ema_cloud import CLOUDS, FAST, CloudCandle, FrameClouds, PriceSource, fast_flip
from scalpdesk.strategies import SessionBarsEvent, Timeframes
from scalpdesk_strategies.ema_scalper.macro_bias import MACRO_SECONDS, MacroFilter, MacroState
from scalpdesk_strategies.ema_scalper.model import TradeSignal
from scalpdesk_strategies.ema_scalper.volume_surge import VolumeAverage

MINUTE = 60
TRADED = (60, 300)
"""Bar lengths in seconds that can give signals: all clouds are followed on them."""
_CONFIRMING = (60, 300, 600, 1800)
"""Bar lengths in seconds whose fast cloud confirms a signal."""
_KEPT_MINUTES = 16


class _Averages:
    """All that is averaged: one object, so that a session can be begun again from its open."""

    def __init__(self, source: PriceSource) -> None:
        self.frames = {
            seconds: FrameClouds(tuple(CLOUDS) if seconds in TRADED else (FAST,), source)
            for seconds in _CONFIRMING
        }
        self.volumes = {seconds: VolumeAverage() for seconds in TRADED}
        self.volume_ratio: dict[int, float | None] = dict.fromkeys(TRADED)
        self.macro = MacroFilter(source)
        self.minute_ends: deque[int] = deque(maxlen=_KEPT_MINUTES)
        self.last_end_ns: dict[int, int] = {}

    def add(self, bar: BarEvent) -> None:
        seconds, end_ns = bar.bar_seconds, bar.ts_event_ns
        self.last_end_ns[seconds] = end_ns
        self.frames[seconds].update(bar)
        if seconds in TRADED:
            self.volume_ratio[seconds] = self.volumes[seconds].update(bar.volume)
        if seconds == MINUTE:
            self.minute_ends.append(end_ns)
        elif seconds == MACRO_SECONDS:
            begin_ns = end_ns - MACRO_SECONDS * NANOS_PER_SECOND
            self.macro.update(bar, sum(begin_ns < minute <= end_ns for minute in self.minute_ends))

    def rescale(self, by: PriceAdjustmentEvent) -> None:
        for frame in self.frames.values():
            frame.rescale(by)
        for volumes in self.volumes.values():
            volumes.rescale(by.volume_factor)
        self.macro.rescale(by)


class CloudWatch:
    """Follows the clouds of one underlying from its bars, or from its quotes where it has no bars."""

    def __init__(self, number: InstrumentId, ticker: str, source: PriceSource = PriceSource.CLOSE) -> None:
        self.ticker = ticker
        self._number = number
        self._bars = Timeframes(number, _CONFIRMING, kept_sessions=1)
        self._now = _Averages(source)
        self._at_open = copy.deepcopy(self._now)
        self._sessions_taken = 0
        self._adjustments_taken = 0

    # feeding ------------------------------------------------------------------------------------

    def open_session(
        self,
        session: Session,
        earlier: Sequence[SessionBarsEvent] = (),
        adjustments: Sequence[PriceAdjustmentEvent] = (),
    ) -> None:
        """Take in earlier sessions' minutes and adjustments that came since the last call; begin a session.

        ``adjustments`` are those of the run, of any instrument.
        """
        for before, bars in earlier_sessions(earlier[self._sessions_taken :], session.open_ns):
            if bars[-1].ts_event_ns > self._now.last_end_ns.get(MINUTE, 0):
                self._begin(before)
                for bar in bars:
                    self._take(self._bars.add_bar(bar))
        self._sessions_taken = len(earlier)
        self._begin(session, adjustments)

    def _begin(self, session: Session, adjustments: Sequence[PriceAdjustmentEvent] = ()) -> None:
        self._take(self._bars.open_session(session, adjustments))
        for item in adjustments[self._adjustments_taken :]:
            if item.instrument_id == self._number:
                self._now.rescale(item)
        self._adjustments_taken = max(self._adjustments_taken, len(adjustments))
        self._at_open = copy.deepcopy(self._now)

    def close_session(self) -> None:
        """End the session; what is still open closes."""
        self._take(self._bars.close_session())

    def add(self, event: BarEvent | QuoteEvent) -> tuple[int, ...]:
        """Take in a bar or a quote; return the bar lengths (seconds) of :data:`TRADED` that closed."""
        closed = self._bars.add_bar(event) if isinstance(event, BarEvent) else self._bars.add_quote(event)
        return self._take(closed) if closed else ()

    def _take(self, closed: Sequence[BarEvent]) -> tuple[int, ...]:
        if any(bar.ts_event_ns <= self._now.last_end_ns.get(bar.bar_seconds, 0) for bar in closed):
            # bars take the place of those made from quotes: the session is followed again from its open
            self._now = copy.deepcopy(self._at_open)
        for bar in closed:
            self._now.add(bar)
        return tuple(seconds for seconds in TRADED if any(bar.bar_seconds == seconds for bar in closed))

    # reading ------------------------------------------------------------------------------------

    def candles(self, seconds: int) -> Sequence[CloudCandle]:
        """Return the last closed bars of a length with their clouds, oldest first."""
        return self._now.frames[seconds].candles

    def candles_after(self, seconds: int, since_ns: int) -> Sequence[CloudCandle]:
        """Return the kept candles of a length that closed after an instant, oldest first."""
        return tuple(candle for candle in self.candles(seconds) if candle.bar.ts_event_ns > since_ns)

    @property
    def macro(self) -> MacroState:
        """The 10-minute bias as of the last closed bar."""
        return self._now.macro.state

    def volume_ratio(self, seconds: int) -> float | None:
        """Return the last bar's volume over the mean of the 20 before; None while it is not known."""
        return self._now.volume_ratio[seconds]

    def flip(self, seconds: int) -> int:
        """Return the direction in which the fast cloud flipped with the last bar; 0 without a flip."""
        return fast_flip(self.candles(seconds)) if self._now.frames[seconds].is_ready else 0

    def signal(self, seconds: int, iv_rank: float | None = None) -> TradeSignal | None:
        """Return the signal of the last closed bar of a length; None where its fast cloud has not flipped."""
        direction = self.flip(seconds)
        if not direction:
            return None
        candle = self.candles(seconds)[-1]
        clouds = candle.clouds.values()
        ratio = self.volume_ratio(seconds)
        parts = judge_conviction(
            [(cloud.colour, cloud.place) for cloud in clouds],
            direction,
            frames=self._confirming(direction),
            volume_ratio=ratio,
            thickness=fmean(cloud.thickness for cloud in clouds),
            body_ratio=candle.body_ratio,
        )
        closed_at = from_ns(candle.bar.ts_event_ns)
        side: Literal["bullish", "bearish"] = "bullish" if direction > 0 else "bearish"
        frame = f"{seconds // MINUTE}m"
        kind = "flip_up" if direction > 0 else "flip_down"
        return TradeSignal(
            signal_id=f"{self.ticker}|{frame}|{closed_at:%Y-%m-%dT%H:%M:%SZ}|{kind}",
            ticker=self.ticker,
            direction=side,
            conviction=parts.total,
            timestamp=closed_at,
            entry_price=candle.bar.close,
            timeframe=frame,
            macro_bias=self.macro.bias,
            volume_ratio=ratio,
            iv_rank=iv_rank,
            parts=parts,
        )

    def _confirming(self, direction: int) -> int:
        """Bar lengths whose fast cloud has the direction's colour."""
        last = (frame.last for frame in self._now.frames.values())
        return sum(candle is not None and candle.fast.colour == direction for candle in last)
