"""Volatility regime, variance risk premium, IV rank and IV percentile."""

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

from scalpdesk.core.errors import ArgumentError

_HALF_A_YEAR = 126
"""Fewest observations for a rank among a year's 252 closes."""

_LOW_BELOW = 0.10
_HIGH_ABOVE = 0.25


class Regime(StrEnum):
    """Volatility regime."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class VariancePremium(msgspec.Struct, frozen=True):
    """Variance risk premium: implied over forecast variance."""

    variance: float
    """``implied² − forecast²``, per year. Positive: options are rich; a gamma scalper wants negative."""
    ratio: float
    """``implied / forecast``."""


def regime_of(vol: float) -> Regime:
    """Return the regime of a volatility: below 10 % low, 10 % to 25 % (both included) normal, above high.

    Raises ArgumentError when it is not a finite number of zero or more.

    >>> str(regime_of(0.25))
    'normal'
    """
    _check_vol("vol", vol)
    if vol < _LOW_BELOW:
        return Regime.LOW
    return Regime.HIGH if vol > _HIGH_ABOVE else Regime.NORMAL


def variance_premium(implied_vol: float, forecast_vol: float) -> VariancePremium:
    """Variance risk premium of an implied over a forecast volatility (each per year).

    Raises ArgumentError when one is not finite, is negative, or the forecast is zero.
    """
    _check_vol("implied_vol", implied_vol)
    _check_vol("forecast_vol", forecast_vol)
    if forecast_vol == 0.0:
        raise ArgumentError(
            "the ratio to a forecast of zero is undefined", where="forecast_vol", value=forecast_vol
        )
    return VariancePremium(implied_vol**2 - forecast_vol**2, implied_vol / forecast_vol)


def iv_rank(
    implied_vol: float, history: Sequence[float], *, min_observations: int = _HALF_A_YEAR
) -> float | None:
    """Rank of an implied volatility between the lowest and the highest of its history, 0 to 1.

    ``implied_vol``: Today's, per year.
    ``history``: Past daily closes of the same measure, today's not among them; NaN is left out.

    Clipped to [0, 1]; None with too few observations or a constant history.

    Raises ArgumentError when the implied volatility is not a finite number of zero or more.

    >>> round(iv_rank(0.20, [0.12, 0.15, 0.18, 0.22, 0.32], min_observations=5), 12)
    0.4
    """
    past = _known(implied_vol, history)
    if len(past) < max(min_observations, 1):
        return None
    low, high = float(past.min()), float(past.max())
    if high <= low:
        return None
    return min(max((implied_vol - low) / (high - low), 0.0), 1.0)


def iv_percentile(
    implied_vol: float, history: Sequence[float], *, min_observations: int = _HALF_A_YEAR
) -> float | None:
    """Share of past days on which the implied volatility was strictly below today's, 0 to 1.

    Not the same as :func:`iv_rank`. Arguments and errors as there.

    >>> iv_percentile(0.20, [0.12, 0.15, 0.18, 0.22, 0.32], min_observations=5)
    0.6
    """
    past = _known(implied_vol, history)
    if len(past) < max(min_observations, 1):
        return None
    return float((past < implied_vol).mean())


def _known(implied_vol: float, history: Sequence[float]) -> npt.NDArray[np.float64]:
    _check_vol("implied_vol", implied_vol)
    past = np.asarray(history, dtype=np.float64)
    return past[np.isfinite(past)]


def _check_vol(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0.0):
        raise ArgumentError("a volatility must be a finite number, zero or more", where=name, value=value)
