"""Robust mean of a few values of different precision: one stale quote among them does not move it."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NORMAL_MAD = 1.4826
"""Standard deviation of a normal over its median absolute deviation."""
_HUBER = 1.345
"""Huber's constant: 95 % efficiency under normal errors."""


def weighted_median(values: Floats, weights: Floats) -> float:
    """Return the weighted median; the mean of two values where half the weight lies between them.

    >>> weighted_median(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 1.0]))
    2.0
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    half = 0.5 * total[-1]
    low, high = np.searchsorted(total, half, side="left"), np.searchsorted(total, half, side="right")
    return float(0.5 * (values[order[low]] + values[order[min(high, len(values) - 1)]]))


def robust_level(level: Floats, width: Floats) -> tuple[float, float, int]:
    """Huber's estimate of a level, its standard error, and the number of values with full weight."""
    weight = 1.0 / width
    centre = weighted_median(level, weight)
    if level.size == 1:
        return centre, float(width[0]), 1
    scatter = _NORMAL_MAD * weighted_median(np.abs(level - centre) / width, weight)
    # half-spreads are bounds, not standard deviations: a typical error of a mid is a third of one
    scale = max(scatter, 1.0 / 3.0) * width
    for _ in range(20):
        pull = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(level - centre), 1e-300))
        shares = pull / (scale * scale)
        moved = float(np.sum(shares * level) / np.sum(shares))
        if abs(moved - centre) <= 1e-12 * abs(centre):
            break
        centre = moved
    # a value beyond three times the bound is an outlier: excluded
    sound = np.abs(level - centre) <= 3.0 * _HUBER * scale
    if sound.any():
        shares[~sound] = 0.0
        centre = float(np.sum(shares * level) / np.sum(shares))
    return centre, 1.0 / math.sqrt(np.sum(shares)), int(np.count_nonzero(sound & (pull >= 1.0)))
