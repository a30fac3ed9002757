"""Worked cases of statistics: the names of the case file, and the desk's own functions behind them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalpdesk.report import statistics
from scalpdesk_testing import field_formulas

Answer = dict[str, Any]


def _sharpe(
    returns: Sequence[float], periods: int = 252, lags: int | None = None, *, taper: bool = True
) -> Answer:
    ratio = statistics.sharpe_ratio(returns, periods, lags, taper=taper)
    return {
        "sharpe_period": ratio.per_period,
        "sharpe_iid": ratio.annual_independent,
        "lags": ratio.lags,
        "eta": ratio.scale,
        "sharpe": ratio.annual,
        "se_iid": ratio.error,
    }


def _sortino(returns: Sequence[float], periods: int = 252, target: float = 0.0) -> Answer:
    return {"result": statistics.sortino_ratio([amount - target for amount in returns], periods)}


def _probability(sr: float, n: int, skew: float = 0.0, kurt: float = 3.0, benchmark: float = 0.0) -> Answer:
    return {"result": field_formulas.probabilistic_sharpe(sr, n, skew, kurt, benchmark)}


def _drawdown(equity: Sequence[float]) -> Answer:
    fall = statistics.drawdown(equity)
    return {name: getattr(fall, name) for name in fall.__slots__}


def _trades(pnl: Sequence[float]) -> Answer:
    figures = statistics.trade_figures(pnl)
    return {
        "n": figures.number,
        "hit_rate": figures.hit_rate,
        "expectancy": figures.expectancy,
        "profit_factor": figures.profit_factor,
        "payoff": figures.payoff,
    }


def _indices(n: int, mean_block: float, uniforms: Sequence[float]) -> Answer:
    """One sample: `uniforms` are its start, then for each step whether a new block begins, and where."""
    first, *rest = uniforms
    draws = np.array(rest).reshape(n - 1, 2)
    steps = ((np.array([int(start * n)]), np.array([switch])) for switch, start in draws)
    return {
        "result": statistics.stationary_positions(np.array([int(first * n)]), steps, n, mean_block)[
            0
        ].tolist()
    }


def _bootstrap(returns: Sequence[float], mean_block: float) -> Answer:
    mean = sum(returns) / len(returns)
    return {"mean": mean, "se": field_formulas.bootstrap_error_of_mean(returns, mean_block)}


def _interval(values: Sequence[float], level: float) -> Answer:
    ends = statistics.quantile_interval(values, level)
    return {"low": ends.low, "high": ends.high}


def _mean(returns: Sequence[float], lags: int) -> Answer:
    mean, error = sum(returns) / len(returns), statistics.error_of_mean(returns, lags)
    return {"mean": mean, "se": error, "t": mean / error}


def _deflated(
    sr: float, n: int, skew: float = 0.0, kurt: float = 3.0, trials: int = 1, trials_sd: float = 0.0
) -> Answer:
    benchmark = field_formulas.best_of_trials(trials, trials_sd)
    return {"benchmark": benchmark} | _probability(sr, n, skew, kurt, benchmark)


BINDINGS: dict[str, Callable[..., Answer]] = {
    "sharpe_lo": _sharpe,
    "sortino": _sortino,
    "drawdown": _drawdown,
    "trade_stats": _trades,
    "stationary_indices": _indices,
    "bootstrap_se": _bootstrap,
    "quantile_ci": _interval,
    "mean_hac": _mean,
    "psr": _probability,
    "deflated_sharpe": _deflated,
}
"""Function of the case file to the adapter that answers it."""
