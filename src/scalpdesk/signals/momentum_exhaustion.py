"""Exhaustion of a move: three candles of its colour in a row that have left the fast cloud behind."""

from collections.abc import Sequence

from scalpdesk.signals.ema_cloud import CloudCandle

CANDLES = 3


def is_exhausted(candles: Sequence[CloudCandle], direction: int) -> bool:
    """Return whether a move in ``direction`` (+1 up, -1 down) is exhausted.

    Each of the last three candles has the move's colour, closes beyond the fast cloud and does not touch
    it with its wick; an equal price touches. Source: the strategy reference F9.
    """
    return len(candles) >= CANDLES and all(_has_left(each, direction) for each in list(candles)[-CANDLES:])


def _has_left(candle: CloudCandle, direction: int) -> bool:
    # a wick clear of the cloud on the near side implies a close beyond it
    is_clear = candle.bar.low > candle.fast.top if direction > 0 else candle.bar.high < candle.fast.bottom
    return candle.colour == direction and is_clear
