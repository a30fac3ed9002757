"""Volatility forecast over the next trading days, with its interval and standard error.

Every model sees only the given bars; the forecast horizon begins after the last of them.
"""

import math
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
from scipy.special import chdtri

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.sockets import FORECASTS
from scalpdesk.volatility.base import (
    MOST_TIMES_AVERAGE,
    ForecastModel,
    VarianceFit,
    bounds_of,
    ratios_of,
    trailing_mean,
)
from scalpdesk.volatility.garch import fit_garch
from scalpdesk.volatility.har import fit_har
from scalpdesk.volatility.ohlc import Array, DroppedBar, Ohlc, read_ohlc
from scalpdesk.volatility.trees import fit_trees

DESK_DEFAULT = "har"
"""The desk's own model: it has the lowest loss over five days on both (docs/evidence/forecasts.md)."""

_PARTS_OF_COMBINED = ("gjr", "har")
_NEEDS_CLOSES = {"ewma", "garch", "gjr", "egarch"}
"""Models that read closes alone; any other gets open, high, low and close."""
_LEAST_RATIOS = 60
_FARTHEST = 100.0
"""Distance of a log variance that stands for one of 0 or without bound."""
EWMA_DECAY = 0.94
EWMA_LEAST_RETURNS = 20
"""Returns that seed the average. The decay is RiskMetrics' for daily returns."""


class VolForecast(msgspec.Struct, frozen=True):
    """A volatility forecast, annualised."""

    vol: float
    """Square root of the expected mean variance over the horizon; NaN when there is no forecast."""
    low: float
    high: float
    """``low``, ``high``: Central interval for the volatility that will realise, measured as the root mean
    square of the daily returns. From the errors of the model's past forecasts, or from normal returns where
    there are fewer than 60 of them. Wide at one day: it is the spread of one absolute return.
    """
    stderr: float
    """Standard error of ``vol`` as an estimate of that expectation (used by :class:`EdgeGate`); much smaller
    than the interval, which also covers the noise of single days.
    """
    confidence: float
    """Confidence of the interval, 0 to 1."""
    horizon_days: int
    """Trading days ahead."""
    model: str
    """The model that made it."""
    requested: str
    """The requested model; differs from ``model`` when it had too little data."""
    reason: str | None
    """Why another model was used, its number is held to a bound, or there is no forecast; else None."""
    fit: dict[str, float]
    """The fitted parameters by name."""
    observations: int
    """Periods that went into the fit."""
    dropped: tuple[DroppedBar, ...]
    """Bars that were left out, with the reason for each."""
    held_from: float | None = None
    """The model's own number, fraction a year, where ``vol`` is the bound that it is held to."""
    is_given: bool = False
    """Whether the trader set ``vol`` by hand: then nothing is held against it."""

    @property
    def known(self) -> bool:
        """Whether there is a forecast."""
        return math.isfinite(self.vol)

    def __float__(self) -> float:
        return self.vol


def forecast_vol(
    bars: Any,
    model: str = "har",
    horizon_days: int = 5,
    *,
    periods_per_year: float = 252,
    confidence: float = 0.90,
) -> VolForecast:
    """Forecast the annualised volatility of the next trading days from daily bars.

    Parameters
    ----------
    bars
        Daily bars, oldest first, as for :func:`scalpdesk.volatility.realized_vol`. ``har``,
        ``combined`` and ``trees`` need open, high, low and close; the others closes.
    model
        ``har``: log range variances of a day, a week and a month, and falls; 276 bars for 5 days; the
        desk's default.
        ``garch``, ``gjr``, ``egarch``: fitted by ``arch``; 500 returns.
        ``combined``: the mean of the variances of ``gjr`` and ``har``.
        ``trees``: boosted trees on the regressors of ``har``; needs the extra ``ml``.
        ``ewma``: decay 0.94; 20 returns. The fallback, with a reason, where another model cannot be
        fitted.
    horizon_days
        Trading days, 1 or more.
    periods_per_year
        252 for equities, 365 for coins.
    confidence
        Of the interval, in (0, 1).

    Raises
    ------
    ArgumentError
        When the model is unknown, the horizon is below 1, the confidence is not in (0, 1) or the bars
        lack a column.
    ConfigError
        When ``trees`` is requested and scikit-learn is not installed.

    Notes
    -----
    Deterministic and without look-ahead: equal bars give equal numbers. Outside what its sample has realised,
    or further than :data:`~scalpdesk.volatility.base.MOST_TIMES_AVERAGE` from ``ewma``, a model is not known:
    its number is held to that bound, ``stderr`` is at least the distance, and ``reason`` says so.
    """
    fit_model: ForecastModel = FORECASTS.find_argument(model)
    if horizon_days < 1 or horizon_days % 1:
        raise ArgumentError(
            "the horizon must be one whole trading day or more", where="horizon_days", value=horizon_days
        )
    if not 0.0 < confidence < 1.0:
        raise ArgumentError(
            "a confidence lies between 0 and 1", where="confidence", value=confidence, fix="use 0.90"
        )
    if not (math.isfinite(periods_per_year) and periods_per_year > 0):
        raise ArgumentError(
            "periods_per_year must be above zero", where="periods_per_year", value=periods_per_year
        )
    ohlc = read_ohlc(bars, closes_only=model in _NEEDS_CLOSES)
    made_by, fit, reason = model, fit_model(ohlc, horizon_days), None
    if not isinstance(fit, str) and math.isnan(fit.variance):
        fit = f"{model} gave no number"
    if isinstance(fit, str) and model != "ewma":
        made_by, reason, fit = "ewma", fit, _fit_ewma(ohlc, horizon_days)
    held_from = None
    if isinstance(fit, str):
        reason = f"{reason}; {fit}" if reason not in (None, fit) else fit
        fit = VarianceFit(math.nan, math.nan, np.empty(0), len(ohlc.close), {})
    elif made_by != "ewma":
        own, fit = fit, _held(fit, ohlc, horizon_days)
        if fit is not own:
            held_from, to = (math.sqrt(periods_per_year * each.variance) for each in (own, fit))
            reason = (
                f"{model} says {held_from:.1%}: held to {to:.1%}, as its {own.observations} days have not "
                f"realised it, or it lies further than {MOST_TIMES_AVERAGE:g} times from the moving average"
            )
    vol = math.sqrt(periods_per_year * fit.variance)
    low, high = _interval(fit, horizon_days, confidence)
    return VolForecast(
        vol=vol,
        low=vol * low,
        high=vol * high,
        stderr=0.5 * vol * fit.log_error,
        confidence=confidence,
        horizon_days=horizon_days,
        model=made_by,
        requested=model,
        reason=reason,
        fit=fit.parameters,
        observations=fit.observations,
        dropped=ohlc.dropped,
        held_from=held_from,
    )


def _held(fit: VarianceFit, bars: Ohlc, horizon: int) -> VarianceFit:
    """Return the fit within its bounds; held to one, it is known no better than the distance to it."""
    average = _fit_ewma(bars, horizon)
    squares = np.square(_returns(bars))
    if isinstance(average, str) or len(squares) < horizon:
        return fit
    seen = trailing_mean(squares, horizon)
    low, high = bounds_of(average.variance, float(seen.min()), float(seen.max()))
    if low <= fit.variance <= high:
        return fit
    variance = high if fit.variance > high else low
    distance = abs(math.log(fit.variance / variance)) if fit.variance > 0.0 else math.inf
    return msgspec.structs.replace(
        fit, variance=float(variance), log_error=max(fit.log_error, min(distance, _FARTHEST))
    )


def _interval(fit: VarianceFit, horizon: int, confidence: float) -> tuple[float, float]:
    """Factors on the forecast vol that bound the realised one with the given confidence."""
    tail = 0.5 * (1.0 - confidence)
    if len(fit.past_ratios) >= _LEAST_RATIOS:
        low, high = np.sqrt(np.quantile(fit.past_ratios, (tail, 1.0 - tail))).tolist()
        return low, high
    # A mean of n squared normals is a χ² of n degrees over n; the error of the estimate widens it.
    widening = math.exp(0.5 * NormalDist().inv_cdf(1.0 - tail) * fit.log_error)
    low, high = np.sqrt(chdtri(horizon, (1.0 - tail, tail)) / horizon).tolist()
    return low / widening, high * widening


def _returns(bars: Ohlc) -> Array:
    """Log returns between bars that follow one another."""
    ends = np.flatnonzero(bars.follows)
    returns: Array = np.log(bars.close[ends] / bars.close[ends - 1])
    return returns


def _garch(kind: str) -> ForecastModel:
    def fit(bars: Ohlc, horizon: int) -> VarianceFit | str:
        return fit_garch(_returns(bars), kind, horizon)

    return fit


def _combine(bars: Ohlc, horizon: int) -> VarianceFit | str:
    """Mean of the two variances; its error assumes fully correlated errors, which is nearly so."""
    parts: dict[str, VarianceFit] = {}
    for name in _PARTS_OF_COMBINED:
        part = OWN_MODELS[name](bars, horizon)
        if isinstance(part, str):
            return part
        parts[name] = part
    gjr, har = parts.values()
    variance = 0.5 * (gjr.variance + har.variance)
    error = (gjr.variance * gjr.log_error + har.variance * har.log_error) / (2.0 * variance)
    # A gap in the bars shifts one model's past days against the other's: only days after the gap count.
    gaps = np.flatnonzero(~bars.follows)
    whole = len(bars.close) - int(gaps[-1]) - horizon
    count = max(min(len(gjr.past_ratios), len(har.past_ratios), whole), 0)
    first, second = (
        gjr.past_ratios[len(gjr.past_ratios) - count :],
        har.past_ratios[len(har.past_ratios) - count :],
    )
    # Each ratio is realised over its own forecast; over the mean of both forecasts: their harmonic mean.
    total = first + second
    ratios = np.divide(2.0 * first * second, total, out=np.zeros(count), where=total > 0.0)
    fitted = {
        f"{name}.{key}": value for name, part in parts.items() for key, value in part.parameters.items()
    }
    return VarianceFit(variance, error, ratios, har.observations, fitted)


def ewma_path(returns: Array, start_variance: float, decay: float = EWMA_DECAY) -> list[float]:
    """Exponentially weighted variance per period before each return and after the last.

    ``v ← λ·v + (1 − λ)·r²`` of decimal returns, oldest first; ``start_variance`` is v before the first,
    ``decay`` λ in (0, 1).

    References
    ----------
    J. P. Morgan (1996), RiskMetrics technical document, 4th edition.

    Examples
    --------
    >>> round((252 * ewma_path(np.array([0.01, -0.02, 0.005]), 1e-4)[-1]) ** 0.5, 6)
    0.168315
    """
    squares = np.square(returns).tolist()
    return list(accumulate(squares, lambda v, r2: decay * v + (1.0 - decay) * r2, initial=start_variance))


def _fit_ewma(bars: Ohlc, horizon: int) -> VarianceFit | str:
    returns = _returns(bars)
    if len(returns) < EWMA_LEAST_RETURNS:
        return f"ewma needs {EWMA_LEAST_RETURNS} returns, has {len(returns)}"
    start = float(np.square(returns[:EWMA_LEAST_RETURNS]).mean())
    path = np.asarray(ewma_path(returns[EWMA_LEAST_RETURNS:], start, EWMA_DECAY))
    if not path.min() > 0.0:
        return "the closes never moved"
    variance = float(path[-1])
    later = returns[EWMA_LEAST_RETURNS:]
    squares = np.square(later) / path[:-1]
    # A square of a normal shock has relative variance 2; fat tails have more.
    noise = float(squares.var() / squares.mean() ** 2) if len(later) >= _LEAST_RATIOS else 2.0
    # The weights of the average count as this many independent returns.
    effective = min((1.0 + EWMA_DECAY) / (1.0 - EWMA_DECAY), float(len(returns)))
    return VarianceFit(
        variance,
        math.sqrt(math.log1p(noise / effective)),
        ratios_of(later, path, horizon),
        len(returns),
        {"decay": EWMA_DECAY, "start_variance": start},
    )


OWN_MODELS: dict[str, ForecastModel] = {
    "ewma": _fit_ewma,
    "garch": _garch("garch"),
    "gjr": _garch("gjr"),
    "egarch": _garch("egarch"),
    "har": fit_har,
    "combined": _combine,
    "trees": fit_trees,
}
MODELS = tuple(OWN_MODELS)
"""The product's own models."""
