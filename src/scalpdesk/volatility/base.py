"""Result of fitting a variance model, and the two sums that every model uses."""

from typing import Protocol

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
