"""Clouds between two exponential averages, one closed bar at a time: flips, bounces and exhausted moves.

An average has weight 2/(period + 1) and begins with the first value. Nothing of a bar that has not closed
enters, so a later bar changes no earlier state. Source: the strategy reference F1.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from scalpdesk.core.events import BarEvent, PriceAdjustmentEvent
from scalpdesk.marketdata.bars import rescaled_bar

FAST = "fast"
MACRO = "macro"
CLOUDS: Mapping[str, tuple[int, int]] = {
    FAST: (5, 12),
    "pullback": (8, 9),
    "trend": (20, 21),
    MACRO: (34, 50),
    "long_term": (72, 89),
}
"""Periods of each cloud's short and long average, in bars of its frame."""
_MORE_BARS = 2
"""Bars beyond the longest period before a frame's clouds are read."""
_KEPT_CANDLES = 5
NEAR = 0.002
"""A touch may end so far before the edge, as a fraction of it."""
_BOUNCE_CANDLES = _EXHAUSTED_CANDLES = 3


class PriceSource(StrEnum):
    """Price of a bar that the averages follow."""

    CLOSE = "close"
    HL2 = "hl2"
    """Middle of high and low."""

    def price(self, bar: BarEvent) -> float:
        """Return the bar's price, currency per share."""
        return bar.close if self is PriceSource.CLOSE else 0.5 * (bar.high + bar.low)


class Place(StrEnum):
    """Where a close lies against a cloud; on an edge is inside."""

    ABOVE = "above"
    INSIDE = "inside"
    BELOW = "below"


class Ema:
    """An exponential average, fed value by value.

    ``period``: In bars; the weight of a new value is 2/(period + 1).

    >>> average = Ema(3)
    >>> [average.update(value) for value in (10.0, 12.0, 12.0)]
    [10.0, 11.0, 11.5]
    """

    __slots__ = ("_weight", "value")

    def __init__(self, period: int) -> None:
        self._weight = 2.0 / (period + 1.0)
        self.value: float | None = None
        """Latest average; None before the first value."""

    def update(self, value: float) -> float:
        """Add a value and return the average."""
        last = self.value
        self.value = value if last is None else last + self._weight * (value - last)
        return self.value

    def rescale(self, by: PriceAdjustmentEvent) -> None:
        """Bring an average of prices to the scale of after a corporate action."""
        self.value = None if self.value is None else by.price(self.value)


class CloudState(msgspec.Struct, frozen=True):
    """A cloud as of a bar's close; prices in currency per share."""

    short: float
    long: float
    close: float
    """Close of the bar, whatever price the averages follow."""

    @property
    def colour(self) -> int:
        """+1 while the short average is above the long one, -1 below, 0 where they are equal."""
        return (self.short > self.long) - (self.short < self.long)

    @property
    def top(self) -> float:
        """Upper edge."""
        return max(self.short, self.long)

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return min(self.short, self.long)

    @property
    def place(self) -> Place:
        """Where the close lies."""
        if self.close > self.top:
            return Place.ABOVE
        return Place.BELOW if self.close < self.bottom else Place.INSIDE

    @property
    def thickness(self) -> float:
        """Distance of the averages as a fraction of the close."""
        return abs(self.short - self.long) / self.close

    def rescaled(self, by: PriceAdjustmentEvent) -> "CloudState":
        """Return it in the scale of after a corporate action."""
        return CloudState(by.price(self.short), by.price(self.long), by.price(self.close))


class CloudCandle(msgspec.Struct, frozen=True):
    """A closed bar with the clouds as of its close, by name."""

    bar: BarEvent
    clouds: Mapping[str, CloudState]

    @property
    def fast(self) -> CloudState:
        """The fast cloud."""
        return self.clouds[FAST]

    @property
    def colour(self) -> int:
        """+1 for a close above the open, -1 below, 0 where they are equal."""
        return (self.bar.close > self.bar.open) - (self.bar.close < self.bar.open)

    @property
    def body_ratio(self) -> float:
        """Open to close as a fraction of low to high; 0 for a bar without a range."""
        extent = self.bar.high - self.bar.low
        return abs(self.bar.close - self.bar.open) / extent if extent > 0.0 else 0.0


class FrameClouds:
    """Clouds of one bar length."""

    def __init__(self, names: Sequence[str], source: PriceSource = PriceSource.CLOSE) -> None:
        self._source = source
        self._averages = {name: (Ema(CLOUDS[name][0]), Ema(CLOUDS[name][1])) for name in names}
        self._bars = 0
        self.bars_needed = max(CLOUDS[name][1] for name in names) + _MORE_BARS
        """Closed bars before :attr:`is_ready`."""
        self.candles: deque[CloudCandle] = deque(maxlen=_KEPT_CANDLES)
        """Last closed bars with their clouds, oldest first."""

    def update(self, bar: BarEvent) -> CloudCandle:
        """Add a closed bar; return it with the clouds as of its close."""
        price = self._source.price(bar)
        candle = CloudCandle(
            bar,
            {
                name: CloudState(short.update(price), long.update(price), bar.close)
                for name, (short, long) in self._averages.items()
            },
        )
        self._bars += 1
        self.candles.append(candle)
        return candle

    def rescale(self, by: PriceAdjustmentEvent) -> None:
        """Bring averages and kept bars to the scale of after a corporate action."""
        for pair in self._averages.values():
            for average in pair:
                average.rescale(by)
        for place, candle in enumerate(self.candles):
            clouds = {name: cloud.rescaled(by) for name, cloud in candle.clouds.items()}
            self.candles[place] = CloudCandle(rescaled_bar(candle.bar, by), clouds)

    @property
    def is_ready(self) -> bool:
        """Whether the longest period and two bars more have closed."""
        return self._bars >= self.bars_needed

    @property
    def last(self) -> CloudCandle | None:
        """The last closed bar, None before the first."""
        return self.candles[-1] if self.candles else None


def flip_direction(before: CloudState, now: CloudState) -> int:
    """Return +1 where the short average has crossed above the long one, -1 below, 0 otherwise.

    Equality alone is no flip; leaving it is. Source: the strategy reference F1.

    >>> flip_direction(CloudState(10.0, 10.0, 10.0), CloudState(10.2, 10.1, 10.3))
    1
    """
    if before.short <= before.long and now.short > now.long:
        return 1
    return -1 if before.short >= before.long and now.short < now.long else 0


def fast_flip(candles: Sequence[CloudCandle]) -> int:
    """Return the direction in which the fast cloud flipped with the last candle; 0 for no flip."""
    return flip_direction(candles[-2].fast, candles[-1].fast) if len(candles) > 1 else 0


def has_bounced(candles: Sequence[CloudCandle], direction: int) -> bool:
    """Return whether the last three candles are a bounce (+1 off the top, -1 off the bottom).

    Upward: a close above the cloud; then a low at its top or within 0.2 % of it, with a close not below
    the cloud; then a close above it. Downward it is mirrored. Source: the strategy reference F1.
    """
    if len(candles) < _BOUNCE_CANDLES:
        return False
    first, touch, last = list(candles)[-_BOUNCE_CANDLES:]
    if direction > 0:
        return (
            first.bar.close > first.fast.top
            and touch.bar.low <= touch.fast.top * (1.0 + NEAR)
            and touch.bar.close >= touch.fast.bottom
            and last.bar.close > last.fast.top
        )
    return (
        first.bar.close < first.fast.bottom
        and touch.bar.high >= touch.fast.bottom * (1.0 - NEAR)
        and touch.bar.close <= touch.fast.top
        and last.bar.close < last.fast.bottom
    )


def cloud_held(candle: CloudCandle, direction: int) -> bool:
    """Return whether one candle has touched the fast cloud and closed beyond it (reference F3)."""
    if direction > 0:
        return candle.bar.low <= candle.fast.top < candle.bar.close
    return candle.bar.high >= candle.fast.bottom > candle.bar.close


def is_exhausted(candles: Sequence[CloudCandle], direction: int) -> bool:
    """Return whether a move in ``direction`` (+1 up, -1 down) is exhausted.

    Each of the last three candles has the move's colour, closes beyond the fast cloud and does not touch
    it with its wick; an equal price touches. Source: the strategy reference F9.
    """
    last = list(candles)[-_EXHAUSTED_CANDLES:]
    return len(last) == _EXHAUSTED_CANDLES and all(_has_left(each, direction) for each in last)


def _has_left(candle: CloudCandle, direction: int) -> bool:
    # a wick clear of the cloud on the near side implies a close beyond it
    is_clear = candle.bar.low > candle.fast.top if direction > 0 else candle.bar.high < candle.fast.bottom
    return candle.colour == direction and is_clear
