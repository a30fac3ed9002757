"""Volume of a bar against the bars before it."""

from collections import deque

_BARS = 20


class VolumeAverage:
    """Ratio of each closed bar's volume to the mean of the bars before it.

    ``bars``: Bars in the mean. The bar that is compared is not among them; bars of earlier sessions are.
    """

    def __init__(self, bars: int = _BARS) -> None:
        self._before: deque[float] = deque(maxlen=bars)

    def update(self, volume: float) -> float | None:
        """Add a closed bar's volume (shares); return its ratio, None with too few bars or no volume."""
        before = self._before
        ratio = None
        if len(before) == before.maxlen:
            mean = sum(before) / len(before)
            ratio = volume / mean if mean > 0.0 else None
        before.append(volume)
        return ratio

    def rescale(self, factor: float) -> None:
        """Multiply the volumes of the bars before by a factor: that of a share split."""
        self._before = deque((volume * factor for volume in self._before), self._before.maxlen)


def is_surge(ratio: float | None, least: float) -> bool:
    """Return whether a ratio is above ``least``; one that is not known is not."""
    return ratio is not None and ratio > least
