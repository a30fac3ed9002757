"""Heterogeneous autoregression on log range variances, with the leverage of bad days.

Each regression row looks back from its own day (variance of that day, mean of 5 and of 22 days) and
forward over the horizon; the last row used is the last whose horizon has fully passed.
"""

import math
from collections.abc import Sequence

import numpy as np

from scalpdesk.volatility.fit import VarianceFit, ratios_of, trailing_mean
from scalpdesk.volatility.ohlc import Array, Ohlc
from scalpdesk.volatility.realized import garman_klass_terms

LEAST_ROWS = 250
"""Regression rows below which no fit is made."""

_WEEK, _MONTH = 5, 22
_NAMES = ("constant", "day", "week", "month", "fall_day", "fall_week")


def har_value(coefficients: Sequence[float], regressors: Sequence[float]) -> float:
    """Linear HAR value: constant plus coefficients times (day, week, month, ...).

    References
    ----------
    Corsi, F. (2009), A simple approximate long-memory model of realized volatility, Journal of
    Financial Econometrics 7(2), 174-196.

    Examples
    --------
    >>> round(har_value((0.01, 0.35, 0.35, 0.22), (0.15, 0.18, 0.16)), 6)
    0.1607
    """
    constant, *slopes = coefficients
    return constant + math.fsum(b * x for b, x in zip(slopes, regressors, strict=True))


def fit_har(bars: Ohlc, horizon: int) -> VarianceFit | str:
    """Fit by least squares on logs and forecast the mean variance of the next ``horizon`` periods.

    The range variance is scaled to squared close-to-close returns with past data only, because a
    range misses the night and is biased low. The expectation of a log-normal adds half the residual
    variance. Standard errors are Newey-West, because neighbouring horizons overlap.

    Returns
    -------
    VarianceFit or str
        Or the reason why there is none.
    """
    variances = garman_klass_terms(bars)
    moved = variances > 0.0
    if not moved.any():
        return "no bar has a range"
    # A bar without range has no log; the smallest real one stands in for it.
    variances = np.where(moved, variances, variances[moved].min())
    returns = np.diff(np.log(bars.close), prepend=np.nan)
    rows = len(variances) - (_MONTH - 1) - horizon
    if rows < LEAST_ROWS:
        return f"har needs {LEAST_ROWS + _MONTH - 1 + horizon} bars for {horizon} days, has {len(variances)}"
    scale = float(np.square(returns[1:]).mean() / variances[1:].mean())
    if scale <= 0.0:
        return "the closes never moved"

    looks_back = _regressors(variances, returns)
    past, today = looks_back[:rows], looks_back[-1]
    ahead = np.log(trailing_mean(variances, horizon)[_MONTH:][:rows])
    coefficients, *_ = np.linalg.lstsq(past, ahead, rcond=None)
    residuals = ahead - past @ coefficients
    spread = float(residuals @ residuals) / (rows - past.shape[1])
    covariance = _newey_west(past, residuals, lags=horizon)
    error = math.sqrt(max(float(today @ covariance @ today), 0.0))
    log_variance = har_value(coefficients.tolist(), today[1:].tolist()) + 0.5 * spread
    # The regressors of the first 21 days are missing, and the 22nd day's forecast is of the next.
    expected = scale * np.exp(looks_back @ coefficients + 0.5 * spread)
    ratios = ratios_of(returns[_MONTH:], expected, horizon)
    parameters = dict(zip(_NAMES, coefficients.tolist(), strict=True))
    parameters |= {"residual_variance": spread, "range_to_return_scale": scale}
    return VarianceFit(scale * math.exp(log_variance), error, ratios, len(variances), parameters)


def _regressors(variances: Array, returns: Array) -> Array:
    """One row per day from the 22nd on: constant, log day, week and month variances, falls."""
    days = len(variances) - (_MONTH - 1)
    daily = np.sqrt(variances.mean())
    falls = np.minimum(np.nan_to_num(returns), 0.0) / daily
    return np.column_stack(
        (
            np.ones(days),
            np.log(variances[_MONTH - 1 :]),
            np.log(trailing_mean(variances, _WEEK)[_MONTH - _WEEK :]),
            np.log(trailing_mean(variances, _MONTH)),
            falls[_MONTH - 1 :],
            trailing_mean(falls, _WEEK)[_MONTH - _WEEK :],
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
