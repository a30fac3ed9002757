"""GARCH, GJR and EGARCH: fitted by quasi-maximum likelihood, forecast in closed form.

``arch`` does the fitting and is imported late, because it takes a second to load. The forecasts are
closed-form recursions of this module, exact for every horizon, without simulation.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from scipy.special import ndtr

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.base import VarianceFit, ratios_of
from scalpdesk.volatility.ohlc import Array

LEAST_RETURNS = 500
Numbers = float | Array

_PERCENT = 100.0
"""Returns are fitted in percent: the optimiser is then well scaled."""

_STEP = 1e-4
_SAME_FIT = 0.25
"""Log likelihoods so near are of one fit; without two of them the optimiser has found no best one."""
_DIGITS = 8
"""Decimals of a return that a fit reads: the digits after them depend on the unit of the price."""
_NORMAL_TAILS = 8.0
"""Degrees of freedom of the t shocks to begin with."""
_MEAN_ABS_NORMAL = math.sqrt(2.0 / math.pi)


def garch_path(omega: float, persistence: float, next_variance: Numbers, horizon: int) -> Array:
    """Expected variances of the next ``horizon`` periods, the first being ``next_variance``.

    ``E[v(k+1)] = ω + p·E[v(k)]``, p = α + β (plus half of γ under GJR with symmetric shocks).

    ``omega``: Variance per period, above 0.
    ``persistence``: In [0, 1).
    ``next_variance``: Variance of the next period, known today; or many, for as many paths side by side.
    ``horizon``: Periods, 1 or more.
    Returns shape ``(horizon,)``, or ``(horizon, paths)``. Raises ArgumentError when the process has no
    long-run variance or an argument is out of its range.

    References
    ----------
    Bollerslev (1986), Journal of Econometrics 31; Glosten, Jagannathan and Runkle (1993), Journal of
    Finance 48.

    Examples
    --------
    >>> path = garch_path(omega=2e-6, persistence=0.98, next_variance=2e-4, horizon=10)
    >>> round(float(252 * path.mean()) ** 0.5, 6)
    0.219656
    """
    long_run = garch_long_run(omega, persistence)
    if horizon < 1 or np.min(next_variance) < 0.0:
        raise ArgumentError(
            "a forecast needs a variance of zero or more and at least one period",
            where="horizon, next_variance",
            value=(horizon, next_variance),
        )
    decay = persistence ** np.arange(horizon)
    return np.asarray(long_run + np.multiply.outer(decay, np.asarray(next_variance) - long_run))


def garch_long_run(omega: float, persistence: float) -> float:
    """Long-run variance per period: ``ω / (1 − p)``.

    Raises ArgumentError when ``p`` is not in [0, 1) or ``ω`` not above 0.
    """
    if not (0.0 <= persistence < 1.0 and omega > 0.0):
        raise ArgumentError(
            "there is no long-run variance: omega must be above 0 and the persistence in [0, 1)",
            where="omega, persistence",
            value=(omega, persistence),
        )
    return omega / (1.0 - persistence)


def egarch_path(
    omega: float, alpha: float, gamma: float, beta: float, next_variance: Numbers, horizon: int
) -> Array:
    """Expected variances of the next periods under EGARCH(1,1) with normal shocks; the first is known.

    ``ln v(k+1) = ω + α(|z| − √(2/π)) + γ·z + β·ln v(k)``. The log is a sum of independent shocks with
    weights β^j, so the expectation is a product of ``E[exp(w(α|z| + γz))]``, each in closed form.

    References
    ----------
    Nelson, D. B. (1991), Conditional heteroskedasticity in asset returns, Econometrica 59(2).
    """
    log_variance, log_factor = np.log(next_variance), 0.0
    path = [np.exp(log_variance)]
    for ahead in range(1, horizon):
        log_variance = omega + beta * log_variance
        weight = beta ** (ahead - 1)
        log_factor += math.log(_mean_of_shock(weight * alpha, weight * gamma))
        path.append(np.exp(log_variance + log_factor))
    return np.asarray(path)


def _mean_of_shock(size: float, sign: float) -> float:
    """``E[exp(size·(|z| − √(2/π)) + sign·z)]`` for a standard normal z."""
    up, down = size + sign, size - sign
    mean = math.exp(0.5 * up * up) * ndtr(up) + math.exp(0.5 * down * down) * ndtr(down)
    return float(math.exp(-size * _MEAN_ABS_NORMAL) * mean)


def _garch_next(p: Array, shock: float, variance: float) -> float:
    _, omega, alpha, beta = p[:4]
    return float(omega + alpha * shock**2 + beta * variance)


def _garch_mean(p: Array, next_variance: Numbers, horizon: int) -> Array:
    _, omega, alpha, beta = p[:4].tolist()
    return np.asarray(garch_path(omega, alpha + beta, next_variance, horizon).mean(axis=0))


def _gjr_next(p: Array, shock: float, variance: float) -> float:
    _, omega, alpha, gamma, beta = p[:5]
    slope = alpha + (gamma if shock < 0.0 else 0.0)
    return float(omega + slope * shock**2 + beta * variance)


def _gjr_mean(p: Array, next_variance: Numbers, horizon: int) -> Array:
    _, omega, alpha, gamma, beta = p[:5].tolist()
    return np.asarray(garch_path(omega, alpha + 0.5 * gamma + beta, next_variance, horizon).mean(axis=0))


def _egarch_next(p: Array, shock: float, variance: float) -> float:
    _, omega, alpha, gamma, beta = p[:5]
    z = shock / math.sqrt(variance)
    return float(
        math.exp(omega + alpha * (abs(z) - _MEAN_ABS_NORMAL) + gamma * z + beta * math.log(variance))
    )


def _egarch_mean(p: Array, next_variance: Numbers, horizon: int) -> Array:
    _, omega, alpha, gamma, beta = p[:5].tolist()
    return np.asarray(egarch_path(omega, alpha, gamma, beta, next_variance, horizon).mean(axis=0))


class _Recipe(msgspec.Struct, frozen=True):
    """Settings of a model for ``arch``, its one-period step, and its mean over a horizon."""

    settings: dict[str, Any]
    step: Callable[[Array, float, float], float]
    mean: Callable[[Array, Numbers, int], Array]
    shapes: tuple[tuple[float, float, float], ...]
    """α, γ and β that the optimiser is begun at too."""


# Student-t shocks for GJR (better out of sample); normal for EGARCH, where t has no mean variance.
_RECIPES = {
    "garch": _Recipe(
        {"vol": "GARCH", "p": 1, "o": 0, "q": 1, "dist": "normal"},
        _garch_next,
        _garch_mean,
        ((0.05, 0.0, 0.93), (0.15, 0.0, 0.75)),
    ),
    "gjr": _Recipe(
        {"vol": "GARCH", "p": 1, "o": 1, "q": 1, "dist": "t"},
        _gjr_next,
        _gjr_mean,
        ((0.02, 0.1, 0.91), (0.05, 0.2, 0.75)),
    ),
    "egarch": _Recipe(
        {"vol": "EGARCH", "p": 1, "o": 1, "q": 1, "dist": "normal"},
        _egarch_next,
        _egarch_mean,
        ((0.1, -0.15, 0.97), (0.25, -0.15, 0.9)),
    ),
}


class GarchProcess(msgspec.Struct, frozen=True):
    """Fitted GARCH process, which forecasts from any later day without refitting."""

    model: str
    """``garch``, ``gjr`` or ``egarch``."""
    parameters: Array
    """In the order of ``names``, for percent returns."""
    names: tuple[str, ...]
    """Names of the parameters in ``arch``."""

    def next_variances(self, returns: Array) -> Array:
        """Variance of every return as known before it, and of the one after the last.

        Returns shape ``(len(returns) + 1,)``, per period, decimal.
        """
        fixed = _process(returns, self.model).fix(self.parameters)
        path = np.square(np.asarray(fixed.conditional_volatility, dtype=np.float64))
        step = _RECIPES[self.model].step
        last = step(self.parameters, float(np.asarray(fixed.resid)[-1]), float(path[-1]))
        return np.append(path, last) / _PERCENT**2

    def mean_ahead(self, next_variance: Numbers, horizon: int) -> Array:
        """Mean variance of the next ``horizon`` periods, given that of the first of them (decimal).

        Raises ArgumentError when the process has no long-run variance.
        """
        mean = _RECIPES[self.model].mean
        return mean(self.parameters, np.asarray(next_variance) * _PERCENT**2, horizon) / _PERCENT**2


def _process(returns: Array, model: str) -> Any:
    from arch import arch_model  # noqa: PLC0415 - takes a second to load, needed by the fitted models alone

    return arch_model(returns * _PERCENT, mean="Constant", rescale=False, **_RECIPES[model].settings)


def _estimate(
    returns: Array, model: str, start: Array | None = None, presample_variance: float | None = None
) -> Any:
    """Return the result of ``arch``, or the reason why it failed."""
    if len(returns) < LEAST_RETURNS:
        return f"{model} needs {LEAST_RETURNS} returns, has {len(returns)}"
    if float(returns.std()) <= 0.0:
        return "the closes never moved"
    backcast = None if presample_variance is None else presample_variance * _PERCENT**2
    returns = returns.round(_DIGITS)
    process, fits = _process(returns, model), list[Any]()
    for values in (start, *_starts(returns, model)):
        fitted = process.fit(disp="off", show_warning=False, starting_values=values, backcast=backcast)
        if fitted.convergence_flag == 0:
            fits.append(fitted)
        # one start alone may end on a slope or a lesser top, and elsewhere for one cent in one close
        best = max(fits, key=lambda each: float(each.loglikelihood), default=None)
        if (
            best is not None
            and sum(best.loglikelihood - each.loglikelihood <= _SAME_FIT for each in fits) > 1
        ):
            return best
    why = "has no one best fit" if fits else "did not converge"
    return f"{model} {why} on {len(returns)} returns"


def _starts(returns: Array, model: str) -> list[Array]:
    """Return parameters of percent returns to begin at: two shapes at the sample's variance."""
    mean, variance = float(returns.mean()) * _PERCENT, float(returns.var()) * _PERCENT**2
    starts = []
    for alpha, sign, beta in _RECIPES[model].shapes:
        if model == "egarch":
            values = [mean, math.log(variance) * (1.0 - beta), alpha, sign, beta]
        else:
            slopes = [alpha, sign] if model == "gjr" else [alpha]
            values = [mean, variance * (1.0 - alpha - 0.5 * sign - beta), *slopes, beta]
        starts.append(np.array([*values, _NORMAL_TAILS] if model == "gjr" else values))
    return starts


def estimate_garch(
    returns: Array, model: str, start: Array | None = None, *, presample_variance: float | None = None
) -> GarchProcess | str:
    """Fit one of ``garch``, ``gjr``, ``egarch`` with a constant mean by quasi-maximum likelihood.

    ``returns``: Decimal log returns, oldest first.
    ``start``: Starting parameters of the optimiser (an earlier fit's); its own guess when None.
    ``presample_variance``: Variance before the first return (decimal); an average of the first 75 squares
    when None. Published benchmarks take the mean squared residual.

    Where it fails, the reason: too few returns, no convergence, several best fits.
    """
    fitted = _estimate(returns, model, start, presample_variance)
    return fitted if isinstance(fitted, str) else _as_process(fitted, model)


def _as_process(fitted: Any, model: str) -> GarchProcess:
    return GarchProcess(model, np.asarray(fitted.params, dtype=np.float64), tuple(fitted.params.index))


def fit_garch(returns: Array, model: str, horizon: int) -> VarianceFit | str:
    """Fit one of ``garch``, ``gjr``, ``egarch`` with a constant mean and forecast ``horizon`` periods.

    ``returns`` are decimal log returns, oldest first.

    Where it fails, the reason: too few returns, no convergence, several best fits, no long-run variance.
    """
    fitted = _estimate(returns, model)
    if isinstance(fitted, str):
        return fitted
    process = _as_process(fitted, model)
    recipe = _RECIPES[model]
    setup = _process(returns, model)

    def mean_variance(parameters: Array) -> float:
        at = setup.fix(parameters)
        shock, vol = float(at.resid[-1]), float(at.conditional_volatility[-1])
        return float(recipe.mean(parameters, recipe.step(parameters, shock, vol * vol), horizon))

    try:
        path = process.next_variances(returns)
        slopes = _log_slopes(mean_variance, process.parameters)
        expected = process.mean_ahead(path, horizon)
    except ArgumentError as refusal:
        return f"{model}: {refusal.what}"
    except OverflowError:
        return f"{model}: its variance grows without bound"
    return VarianceFit(
        float(expected[-1]),
        math.sqrt(max(float(slopes @ np.asarray(fitted.param_cov) @ slopes), 0.0)),
        ratios_of(returns, expected[:-1], horizon),
        len(returns),
        _in_decimals(dict(zip(process.names, process.parameters.tolist(), strict=True)), model),
    )


def _in_decimals(fitted: dict[str, float], model: str) -> dict[str, float]:
    """Rescale parameters from percent to decimal returns, by plain names."""
    named = {name.removesuffix("[1]"): value for name, value in fitted.items()}
    named["mu"] /= _PERCENT
    if model == "egarch":
        named["omega"] -= (1.0 - named["beta"]) * math.log(_PERCENT**2)
    else:
        named["omega"] /= _PERCENT**2
    return named


def _log_slopes(function: Callable[[Array], float], at: Array) -> Array:
    """Slopes of the log of a positive function by central differences."""
    slopes = np.empty(len(at))
    for i, value in enumerate(at):
        step = np.zeros(len(at))
        step[i] = _STEP * max(abs(value), 1e-3)
        slopes[i] = (math.log(function(at + step)) - math.log(function(at - step))) / (2.0 * step[i])
    return slopes
