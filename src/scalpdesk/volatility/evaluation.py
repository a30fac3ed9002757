"""Forecast evaluation: QLIKE loss, the Diebold-Mariano test, the model confidence set.

The loss is taken on squared returns. They are noisy but unbiased, and QLIKE ranks rightly under an
unbiased proxy (Patton 2011); a range variance is biased low and would flatter the models built on it.
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.ohlc import Array
from scalpdesk.volatility.rolling import (
    RollingForecasts,
)

_BASELINE = "garch"
_PERCENT_SQUARED = 1e4
_BOOTSTRAPS = 1000
_SEED = 20_111_001


class DieboldMariano(msgspec.Struct, frozen=True):
    """Result of the Diebold-Mariano test of equal mean loss."""

    mean_difference: float
    """Mean loss of the first less that of the second; below zero the first is better."""
    t: float
    """The mean over its Newey-West standard error."""
    p_value: float
    """Two-sided, normal."""
    lags: int
    """Lags of the Newey-West estimate."""


class ModelScore(msgspec.Struct, frozen=True):
    """Score of one model at one horizon."""

    model: str
    horizon_days: int
    days: int
    """``model``, ``horizon_days``, ``days``: The model, its horizon in trading days, and the number of
    forecasts scored.
    """
    qlike: float
    """Mean of ``r²/f + ln f``, r in percent."""
    against_garch: DieboldMariano | None
    """Diebold-Mariano against GARCH(1,1); None for itself or where it was not run."""
    mcs_p: float | None
    """P-value in the model confidence set: the model is among the best at 10 % when above 0.10. None when the
    set was not asked for.
    """
    bias: float
    """Mean forecast variance over mean squared return; 1 is unbiased."""


def qlike(realised: Array, forecast: Array) -> Array:
    """Loss of each variance forecast: ``r²/f + ln f``, in percent squared.

    Arguments are the mean squared return over the horizon and its forecast, both decimal.

    Returns one loss each. Least in expectation when the forecast is the conditional variance. Raises
    ArgumentError when shapes differ, a forecast is not above zero or a number is not finite; names the index.

    References
    ----------
    Patton, A. J. (2011), Volatility forecast comparison using imperfect volatility proxies, Journal of
    Econometrics 160(1), 246-256.

    Examples
    --------
    >>> qlike(np.array([1e-4]), np.array([1e-4])).round(12).tolist()
    [1.0]
    """
    actual, expected = np.asarray(realised, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if actual.shape != expected.shape:
        raise ArgumentError(
            "each forecast needs one realised variance",
            where="realised, forecast",
            value=(actual.shape, expected.shape),
        )
    for name, values, wrong in (
        ("realised", actual, ~(np.isfinite(actual) & (actual >= 0.0))),
        ("forecast", expected, ~(np.isfinite(expected) & (expected > 0.0))),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise ArgumentError(
                "a variance must be finite, and a forecast above zero",
                where=f"{name}[{at}]",
                value=float(values.flat[at]),
            )
    expected = expected * _PERCENT_SQUARED
    return np.asarray(actual * _PERCENT_SQUARED / expected + np.log(expected))


def diebold_mariano(loss: Array, other: Array, horizon: int = 1) -> DieboldMariano:
    """Test the mean difference of two loss series, with Newey-West standard errors.

    ``loss``, ``other``: Losses on the same days.
    ``horizon``: Periods ahead; overlapping horizons make neighbouring losses move together. The Newey-West
    lags are the larger of horizon − 1 and ``n^(1/3)``.
    Raises ArgumentError when the series differ in length or have fewer than 10 losses.

    References
    ----------
    Diebold, F. X. and Mariano, R. S. (1995), Comparing predictive accuracy, Journal of Business &
    Economic Statistics 13(3), 253-263. Newey and West (1987), Econometrica 55.
    """
    if len(loss) != len(other) or len(loss) < 10:
        raise ArgumentError(
            "two loss series of equal length, 10 or more, are compared",
            where="loss, other",
            value=(len(loss), len(other)),
        )
    difference = np.asarray(loss, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    count = len(difference)
    lags = min(max(horizon - 1, round(count ** (1.0 / 3.0))), count - 1)
    mean = float(difference.mean())
    centred = difference - mean
    variance = float(centred @ centred)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(centred[lag:] @ centred[:-lag])
    if variance <= 0.0:
        return DieboldMariano(mean, 0.0 if mean == 0.0 else math.copysign(math.inf, mean), 1.0, lags)
    t = mean / (math.sqrt(variance) / count)
    return DieboldMariano(mean, t, 2.0 * NormalDist().cdf(-abs(t)), lags)


def confidence_set(losses: dict[str, Array], horizon: int = 1) -> dict[str, float]:
    """P-values of the model confidence set; a model above a level belongs to the set at that level.

    The losses, by model, are those of the same days. The horizon in periods sets the least mean block of the
    stationary bootstrap, which has one seed: equal losses give equal p-values.

    References
    ----------
    Hansen, P. R., Lunde, A. and Nason, J. M. (2011), The model confidence set, Econometrica 79(2),
    453-497. Computed by ``arch.bootstrap.MCS`` with the R method.
    """
    from arch.bootstrap import MCS  # noqa: PLC0415 - brings pandas, and only an evaluation needs it

    names = sorted(losses)
    table = np.column_stack([losses[name] for name in names])
    block = max(horizon, round(len(table) ** (1.0 / 3.0)))
    found = MCS(
        table, size=0.10, reps=_BOOTSTRAPS, block_size=block, method="R", bootstrap="stationary", seed=_SEED
    )
    found.compute()
    p_values = found.pvalues["Pvalue"]
    return {name: float(p_values[column]) for column, name in enumerate(names)}


def score(rolled: RollingForecasts) -> tuple[ModelScore, ...]:
    """Score rolled forecasts, horizon by horizon, each model against GARCH(1,1)."""
    scores: list[ModelScore] = []
    for horizon, realised in rolled.realised.items():
        losses = {name: qlike(realised, made[horizon]) for name, made in rolled.variances.items()}
        in_set = confidence_set(losses, horizon) if len(losses) > 1 else {}
        for name, loss in losses.items():
            has_rival = name != _BASELINE and _BASELINE in losses
            scores.append(
                ModelScore(
                    name,
                    horizon,
                    len(loss),
                    float(loss.mean()),
                    diebold_mariano(loss, losses[_BASELINE], horizon) if has_rival else None,
                    in_set.get(name),
                    float(rolled.variances[name][horizon].mean() / realised.mean()),
                )
            )
    return tuple(scores)
