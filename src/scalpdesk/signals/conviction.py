"""Conviction of a cloud signal, 0 to 100, with its parts.

The document that the scalper follows names a conviction and no formula; this one is the strategy
reference's (F4). Its weights are a choice, not a measurement: docs/evidence/results.md
has what signals of each level came to.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from scalpdesk.signals.ema_cloud import Place

Steps = tuple[tuple[float, float], ...]
"""Pairs of least value and share of the weight, the largest first."""

_ALIGNMENT, _FRAMES, VOLUME, _THICKNESS, BODY, _FACTOR = 25.0, 25.0, 15.0, 10.0, 10.0, 15.0
"""Weights; they sum to 100."""
_FRAME_STEPS: Steps = ((4, 1.0), (3, 0.8), (2, 0.5))
_VOLUME_STEPS: Steps = ((2.0, 1.0), (1.5, 0.8), (1.0, 0.5))
_THICKNESS_STEPS: Steps = ((0.010, 1.0), (0.005, 0.7), (0.002, 0.4))
_BODY_STEPS: Steps = ((0.7, 1.0), (0.5, 0.7), (0.3, 0.4))
_UNKNOWN_SHARE = 0.3
_HIGH_FROM, _MEDIUM_FROM, _LOW_FROM = 75, 50, 25


class ConvictionLevel(StrEnum):
    """Level of a conviction: full size, half size, logged only, ignored."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


class Conviction(msgspec.Struct, frozen=True):
    """A conviction with its parts, in points."""

    alignment: float
    """Clouds of the direction's colour, each half where the close is not beyond it: up to 25."""
    frames: float
    """Bar lengths whose fast cloud has the colour: up to 25."""
    volume: float
    """The bar's volume over the mean before it: up to 15."""
    thickness: float
    """Mean distance of the averages over the price: up to 10."""
    body: float
    """Open to close over the bar's range: up to 10."""
    factor: float
    """A composite from elsewhere, 0 to 1: up to 15; 4.5 without a composite."""

    @property
    def total(self) -> int:
        """The sum, truncated."""
        parts = self.alignment + self.frames + self.volume + self.thickness + self.body + self.factor
        return int(parts + 1e-9)  # the parts are decimal fractions: 55 may come out as 54.999999…

    @property
    def level(self) -> ConvictionLevel:
        """Level of the total."""
        return conviction_level(self.total)


def conviction_level(total: int) -> ConvictionLevel:
    """Return the level of a conviction: from 75 high, from 50 medium, from 25 low, below that no level."""
    if total >= _HIGH_FROM:
        return ConvictionLevel.HIGH
    if total >= _MEDIUM_FROM:
        return ConvictionLevel.MEDIUM
    return ConvictionLevel.LOW if total >= _LOW_FROM else ConvictionLevel.NONE


def judge_conviction(
    clouds: Sequence[tuple[int, Place]],
    direction: int,
    *,
    frames: int,
    volume_ratio: float | None,
    thickness: float,
    body_ratio: float,
    factor: float | None = None,
) -> Conviction:
    """Return the conviction of a signal.

    ``clouds``: Color (+1, 0, -1) of each cloud of the signal's frame, and where the close lies against it.
    ``direction``: +1 up, -1 down.
    ``frames``: Bar lengths whose fast cloud has the direction's colour.
    ``volume_ratio``: Volume over the mean of the bars before; None when not known.
    ``thickness``: Mean distance of the clouds' averages, a fraction of the price.
    ``body_ratio``: Open to close over low to high.
    ``factor``: Composite of other evidence, 0 to 1; None without any.
    """
    beyond = Place.ABOVE if direction > 0 else Place.BELOW
    scores = [(1.0 if place == beyond else 0.5) if colour == direction else 0.0 for colour, place in clouds]
    volume = _UNKNOWN_SHARE if volume_ratio is None else _share(volume_ratio, _VOLUME_STEPS, 0.2)
    return Conviction(
        _ALIGNMENT * sum(scores) / len(scores),
        _FRAMES * _share(frames, _FRAME_STEPS, 0.2),
        VOLUME * volume,
        _THICKNESS * _share(thickness, _THICKNESS_STEPS, 0.1),
        BODY * _share(body_ratio, _BODY_STEPS, 0.1),
        _FACTOR * (_UNKNOWN_SHARE if factor is None else factor),
    )


def _share(value: float, steps: Steps, least: float) -> float:
    return next((share for low, share in steps if value >= low), least)
