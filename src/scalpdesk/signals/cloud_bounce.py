"""Bounce off the fast cloud: price comes back to it and leaves it again in the trade's direction."""

from collections.abc import Sequence

from scalpdesk.signals.ema_cloud import CloudCandle

NEAR = 0.002
"""A touch may end so far before the edge, as a fraction of it."""
BARS = 3


def has_bounced(candles: Sequence[CloudCandle], direction: int) -> bool:
    """Return whether the last three candles are a bounce (+1 off the top, -1 off the bottom).

    Upward: a close above the cloud; then a low at its top or within 0.2 % of it, with a close not below
    the cloud; then a close above it. Downward it is mirrored. Source: the strategy reference F1.
    """
    if len(candles) < BARS:
        return False
    first, touch, last = list(candles)[-BARS:]
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
