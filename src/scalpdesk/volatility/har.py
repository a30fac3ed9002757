"""Heterogeneous autoregression (HAR) on log range variances, with a leverage term for falls.

Each regression row holds past variances (of its day, mean of 5 and of 22 days) and the variance over the
horizon after it; the last row used is the last whose horizon has fully passed.
"""

import math

import msgspec
import numpy as np

from scalpdesk.volatility.base import VarianceFit, ratios_of, trailing_mean
from scalpdesk.volatility.ohlc import Array, Ohlc
from scalpdesk.volatility.realised import garman_klass_terms

_LEAST_ROWS = 250
"""Regression rows below which no fit is made."""

WEEK, MONTH = 5, 22
"""Trading days in the longer averages."""
_NAMES = ("constant", "day", "week", "month", "fall_day", "fall_week")


class HarRegression(msgspec.Struct, frozen=True):
    """Fitted HAR regression, which forecasts from any later day without refitting."""

    horizon: int
    """Periods ahead that it was fitted for."""
    coefficients: Array
    """Coefficients of the constant, the log variances of a day, a week and a month, and the falls."""
    residual_variance: float
    """Variance of the residuals of the log variance ahead."""
    range_to_return_scale: float
    """Mean squared return over mean range variance, in the fitted sample."""
    floor: float
    daily_vol: float
    """``floor``, ``daily_vol``: Smallest range variance and root of the mean one in that sample: the units of
    the regressors.
    """

    def expected(self, bars: Ohlc) -> Array:
        """Expected mean variance over the horizon after each bar, from the 22nd bar on (decimal)."""
        rows = har_regressors(bars, self.floor, self.daily_vol)
        logs = rows @ self.coefficients + 0.5 * self.residual_variance
        return np.asarray(self.range_to_return_scale * np.exp(logs))


class _Sample(msgspec.Struct, frozen=True):
    """Regression sample: regressors, and the log variance realised over the horizon."""

    past: Array
    ahead: Array
    scale: float
    floor: float
    daily_vol: float


def har_sample(bars: Ohlc, horizon: int) -> _Sample | str:
    """Build the regression sample: one row for every day whose horizon has passed.

    Where it fails, the reason: too few bars, or no bar that moved.
    """
    variances = garman_klass_terms(bars)
    moved = variances > 0.0
    if not moved.any():
        return "no bar has a range"
    # A bar without range has no log: it gets the smallest positive one.
    floor = float(variances[moved].min())
    variances = np.maximum(variances, floor)
    squares = np.square(np.diff(np.log(bars.close)))
    rows = len(variances) - (MONTH - 1) - horizon
    if rows < _LEAST_ROWS:
        return f"har needs {_LEAST_ROWS + MONTH - 1 + horizon} bars for {horizon} days, has {len(variances)}"
    scale = float(squares.mean() / variances[1:].mean())
    if scale <= 0.0:
        return "the closes never moved"
    daily_vol = math.sqrt(float(variances.mean()))
    past = har_regressors(bars, floor, daily_vol)[:rows]
    ahead = np.log(trailing_mean(variances, horizon)[MONTH:][:rows])
    return _Sample(past, ahead, scale, floor, daily_vol)


def estimate_har(bars: Ohlc, horizon: int) -> HarRegression | str:
    """Fit the HAR regression for the mean variance of the next ``horizon`` periods by least squares.

    The range variance is scaled to squared close-to-close returns with past data only, because a
    range misses the night and is biased low. The expectation of a log-normal adds half the residual
    variance.

    Where it fails, the reason.
    """
    sample = har_sample(bars, horizon)
    return sample if isinstance(sample, str) else _regress(sample, horizon)


def _regress(sample: _Sample, horizon: int) -> HarRegression:
    coefficients = np.asarray(np.linalg.lstsq(sample.past, sample.ahead, rcond=None)[0], dtype=np.float64)
    residuals = sample.ahead - sample.past @ coefficients
    rows, columns = sample.past.shape
    spread = float(residuals @ residuals) / (rows - columns)
    return HarRegression(horizon, coefficients, spread, sample.scale, sample.floor, sample.daily_vol)


def fit_har(bars: Ohlc, horizon: int) -> VarianceFit | str:
    """Fit as :func:`estimate_har` and forecast the mean variance of the next ``horizon`` periods.

    Standard errors are Newey-West, because neighbouring horizons overlap.

    Where it fails, the reason.
    """
    sample = har_sample(bars, horizon)
    if isinstance(sample, str):
        return sample
    fit = _regress(sample, horizon)
    residuals = sample.ahead - sample.past @ fit.coefficients
    covariance = _newey_west(sample.past, residuals, lags=horizon)
    today = har_regressors(bars, fit.floor, fit.daily_vol)[-1]
    error = math.sqrt(max(float(today @ covariance @ today), 0.0))
    expected = fit.expected(bars)
    returns = np.diff(np.log(bars.close))
    # There are no regressors for the first 21 days; the 22nd day's forecast is for the next day.
    ratios = ratios_of(returns[MONTH - 1 :], expected, horizon)
    parameters = dict(zip(_NAMES, fit.coefficients.tolist(), strict=True))
    parameters |= {
        "residual_variance": fit.residual_variance,
        "range_to_return_scale": fit.range_to_return_scale,
    }
    return VarianceFit(float(expected[-1]), error, ratios, len(bars.close), parameters)


def har_regressors(bars: Ohlc, floor: float, daily_vol: float) -> Array:
    """Regressors, one row per bar from the 22nd on: constant, log day, week and month variances, falls.

    ``bars``: Oldest first; a row looks back from its own bar.
    ``floor``: Least range variance of a bar; one without a range gets it.
    """
    variances = np.maximum(garman_klass_terms(bars), floor)
    days = len(variances) - (MONTH - 1)
    returns = np.diff(np.log(bars.close), prepend=np.log(bars.close[:1]))
    falls = np.minimum(returns, 0.0) / daily_vol
    return np.column_stack(
        (
            np.ones(days),
            np.log(variances[MONTH - 1 :]),
            np.log(trailing_mean(variances, WEEK)[MONTH - WEEK :]),
            np.log(trailing_mean(variances, MONTH)),
            falls[MONTH - 1 :],
            trailing_mean(falls, WEEK)[MONTH - WEEK :],
        )
    )


def _newey_west(regressors: Array, residuals: Array, lags: int) -> Array:
    scores = regressors * residuals[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        weight = 1.0 - lag / (lags + 1.0)
        cross = scores[lag:].T @ scores[:-lag]
        middle += weight * (cross + cross.T)
    bread = np.linalg.pinv(regressors.T @ regressors)
    return np.asarray(bread @ middle @ bread)
