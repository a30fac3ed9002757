"""Result of fitting a variance model, the sums that every model uses, and the bounds that all are held to."""

from typing import Protocol, TypeVar

import msgspec
import numpy as np

from scalpdesk.volatility.ohlc import Array, Ohlc


class VarianceFit(msgspec.Struct, frozen=True):
    """Forecast of the mean variance per period over the horizon."""

    variance: float
    """Expected variance per period (a decimal return squared)."""
    log_error: float
    """Standard error of the log of ``variance``, from estimating it."""
    past_ratios: Array
    """For every past day whose horizon has passed: the realised mean squared return over what the model, with
    today's parameters, expected. Their spread is the noise of single days.
    """
    observations: int
    """Periods that went into the fit."""
    parameters: dict[str, float]
    """The fitted numbers by name, for decimal returns."""


MOST_TIMES_AVERAGE = 2.0
"""A forecast volatility lies within this factor of the moving average's, upwards and downwards.

Measured on the S&P 500, SPY, QQQ and the VIX (docs/evidence/forecasts.md): over five days the loss is no more
than without a bound on calm days, and less in weeks of a crash.
"""

V = TypeVar("V", float, Array)


def bounds_of(average: V, least: V, most: V) -> tuple[V, V]:
    """Return the bounds of a forecast variance: what its sample has seen, and its robust neighbour.

    A model fitted to logs has no bound outside its sample: two points more of a fall multiply it.

    ``average``: The moving average's variance, which is always inside.
    ``least``, ``most``: Mean variances that a horizon of the sample realised.
    """
    square = MOST_TIMES_AVERAGE**2
    low = np.maximum(np.minimum(least, average), average / square)
    high = np.minimum(np.maximum(most, average), average * square)
    return low, high


class ForecastModel(Protocol):
    """The contract of a forecast model: a function of daily bars that sees nothing after the last of them."""

    def __call__(self, bars: Ohlc, horizon: int) -> VarianceFit | str:
        """Return the fit for the next ``horizon`` trading days, or why the bars do not suffice."""
        ...


def ratios_of(returns: Array, expected: Array, horizon: int) -> Array:
    """Ratio of the realised mean squared return over the next ``horizon`` periods to its expectation.

    ``expected[i]`` was known before ``returns[i]`` (decimal): the mean variance of it and those after it.

    ``ndarray``: One ratio for every start whose horizon has passed; empty without such a start.
    """
    starts = len(returns) - horizon + 1
    if starts < 1:
        return np.empty(0)
    return trailing_mean(np.square(returns), horizon) / expected[:starts]


def trailing_mean(values: Array, length: int) -> Array:
    """Means of ``length`` neighbours; element i covers values i to i + length − 1."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray((sums[length:] - sums[:-length]) / length)
