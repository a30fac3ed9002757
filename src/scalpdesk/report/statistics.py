"""Statistics of amounts: ratios, drawdown, and their intervals.

Amounts are those of a period (USD a day, or USD a trade); what is annualised says by how many `periods`.

References
----------
Lo, A. (2002), "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4).
Politis, D. and Romano, J. (1994), "The Stationary Bootstrap", JASA 89.
Patton, A., Politis, D. and White, H. (2009), correction to "Automatic Block-Length Selection for the
Dependent Bootstrap", Econometric Reviews 28(4).
Newey, W. and West, K. (1987), Econometrica 55(3).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scalpdesk.core.units import SESSIONS_PER_YEAR

Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
Amounts = Sequence[float] | Floats

_DRAWS = 2_000
"""Bootstrap samples behind an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharpeRatio:
    """A Sharpe ratio per period and annual, with what autocorrelation does to it.

    `annual` is None where the autocorrelations leave no positive variance of a year (a taper of 1 always
    leaves one), `annual_independent` where the amounts do not vary.
    """

    per_period: float
    annual_independent: float
    annual: float | None
    scale: float | None
    """Factor from the ratio per period to a year: √periods for uncorrelated returns."""
    lags: int
    error: float
    """Standard error of `annual_independent` for independent normal amounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of an equity curve from its peak; positions count from 0."""

    amount: float
    fraction: float
    """The fall over the peak."""
    peak: int
    trough: int
    recovered: int | None
    """First position after the trough at or above the peak; None while under water."""
    longest_under_water: int
    """Most periods in a row below the last peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TradeFigures:
    """P&L of closed trades: zeros count in `number` and `expectancy`, not in `hit_rate`."""

    number: int
    hit_rate: float | None
    expectancy: float
    profit_factor: float | None
    """Sum of the gains over the sum of the losses; None without a loss."""
    payoff: float | None
    """Mean gain over mean loss; None without one of each."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of an interval of confidence."""

    low: float
    high: float


def _amounts(values: Amounts, at_least: int, what: str) -> Floats:
    amounts = np.asarray(values, dtype=np.float64)
    if amounts.ndim != 1 or len(amounts) < at_least or not np.isfinite(amounts).all():
        raise ValueError(f"{what}: {at_least} or more finite amounts in one row are needed")
    return amounts


def varies(amounts: Floats) -> bool:
    """Return whether the amounts differ; the float deviation of equal amounts is not always 0."""
    return bool(amounts.max() > amounts.min())


_LEAST_TRADED = 5
"""Sessions with a P&L below which a ratio says nothing: one good day of twelve has a Sharpe ratio of 7."""


def sessions_traded(amounts: Iterable[float]) -> int:
    """Return how many sessions have a P&L other than 0."""
    return sum(1 for amount in amounts if amount)


def carries_ratio(amounts: Floats) -> bool:
    """Return whether a ratio of these sessions is worth showing: enough traded, and their P&L differs."""
    return sessions_traded(amounts) >= _LEAST_TRADED and varies(amounts)


def automatic_lags(number: int) -> int:
    """Return the lags that Newey and West's rule takes for `number` observations."""
    return int(4 * (number / 100) ** (2 / 9))


def _autocovariance(deviations: Floats, lag: int) -> float:
    number = len(deviations)
    return float(deviations[: number - lag] @ deviations[lag:]) / number


def sharpe_ratio(
    pnl: Amounts, periods: float = SESSIONS_PER_YEAR, lags: int | None = None, *, taper: bool = True
) -> _SharpeRatio:
    """Return the Sharpe ratio of amounts per period, annualised with their autocorrelation (Lo 2002).

    ``pnl``: Amounts per period, two or more.
    ``periods``: Periods of a year.
    ``lags``: Autocorrelations used; None takes `automatic_lags`.
    ``taper``: Weigh them by Bartlett's triangle, so that the variance of a year stays positive.
    Raises ValueError for fewer than two amounts, a non-finite amount, or amounts that do not vary.
    """
    amounts = _amounts(pnl, 2, "Sharpe ratio")
    number = len(amounts)
    if not varies(amounts):
        raise ValueError("Sharpe ratio: the amounts do not vary")
    deviation = float(amounts.std(ddof=1))
    per_period = float(amounts.mean()) / deviation
    used = automatic_lags(number) if lags is None else lags
    centred = amounts - amounts.mean()
    variance = _autocovariance(centred, 0)
    of_a_year = periods + 2 * sum(
        (periods - lag) * ((1 - lag / (used + 1)) if taper else 1) * _autocovariance(centred, lag) / variance
        for lag in range(1, min(used, number - 1) + 1)
    )
    scale = periods / math.sqrt(of_a_year) if of_a_year > 0 else None
    return _SharpeRatio(
        per_period=per_period,
        annual_independent=per_period * math.sqrt(periods),
        annual=None if scale is None else per_period * scale,
        scale=scale,
        lags=used,
        error=math.sqrt((1 + per_period**2 / 2) / number) * math.sqrt(periods),
    )


def sortino_ratio(pnl: Amounts, periods: float = SESSIONS_PER_YEAR) -> float | None:
    """Return the annual mean over the downside deviation from 0; None without a loss."""
    amounts = _amounts(pnl, 1, "Sortino ratio")
    downside = math.sqrt(float((np.minimum(amounts, 0.0) ** 2).mean()))
    return float(amounts.mean()) / downside * math.sqrt(periods) if downside > 0 else None


def drawdown(equity: Amounts) -> Drawdown:
    """Return the deepest fall of an equity curve (USD); the first of equal falls."""
    curve = _amounts(equity, 1, "drawdown")
    peaks = np.maximum.accumulate(curve)
    trough = int(np.argmax(peaks - curve))
    peak = int(np.argmax(curve[: trough + 1]))
    back = np.flatnonzero(curve[trough:] >= curve[peak])
    longest = run = 0
    for below in curve < peaks:
        run = run + 1 if below else 0
        longest = max(longest, run)
    amount = float(curve[peak] - curve[trough])
    return Drawdown(
        amount=amount,
        fraction=amount / float(curve[peak]) if curve[peak] else 0.0,
        peak=peak,
        trough=trough,
        recovered=trough + int(back[0]) if len(back) else None,
        longest_under_water=longest,
    )


def trade_figures(pnl: Amounts) -> _TradeFigures:
    """Return hit rate, expectancy, profit factor and payoff of trades (USD a trade)."""
    amounts = _amounts(pnl, 1, "trades")
    gains, losses = amounts[amounts > 0], -amounts[amounts < 0]
    decided = len(gains) + len(losses)
    return _TradeFigures(
        number=len(amounts),
        hit_rate=len(gains) / decided if decided else None,
        expectancy=float(amounts.mean()),
        profit_factor=float(gains.sum() / losses.sum()) if len(losses) else None,
        payoff=float(gains.mean() / losses.mean()) if len(gains) and len(losses) else None,
    )


def stationary_positions(
    starts: _Ints, steps: Iterable[tuple[_Ints, Floats]], number: int, mean_block: float
) -> _Ints:
    """Return the positions of samples under the stationary bootstrap (Politis and Romano 1994).

    ``starts``: First position of each sample; a sample is a row of the result.
    ``steps``: For each of the ``number - 1`` further positions: where a new block of each sample would start,
    and a number in [0, 1) below ``1 / mean_block`` where it does.
    ``number``: Observations, each a position from 0; a sample has as many.
    ``mean_block``: Mean length of a block, 1 or more.
    """
    # all samples step together: a step of 2,000 samples costs what a step of one does
    positions = np.empty((len(starts), number), np.int64)
    positions[:, 0] = starts
    for step, (fresh, uniforms) in enumerate(steps, 1):
        follow = (positions[:, step - 1] + 1) % number
        positions[:, step] = np.where(uniforms < 1 / mean_block, fresh, follow)
    return positions


def mean_block_length(pnl: Amounts) -> float:
    """Return the mean block for the stationary bootstrap of these amounts.

    Patton, Politis and White's rule; for fewer than 20 or constant amounts, ``max(5, n^⅓)``.
    """
    amounts = _amounts(pnl, 1, "block length")
    number = len(amounts)
    if number >= 20 and varies(amounts):
        from arch.bootstrap import optimal_block_length  # noqa: PLC0415  arch takes half a second to load

        block = float(optimal_block_length(amounts)["stationary"].iloc[0])
        if math.isfinite(block):
            return float(min(max(block, 1.0), number))
    return float(min(max(5.0, number ** (1 / 3)), number))


def quantile_interval(values: Amounts, level: float = 0.95) -> Interval:
    """Return the middle `level` (a fraction) of the values, by linear interpolation."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap_samples(pnl: Amounts, *, draws: int = _DRAWS, seed: int = 1) -> Floats:
    """Return samples of amounts under the stationary bootstrap, a row a sample, the same for the same seed.

    ``pnl``: Amounts per period, two or more.
    ``draws``: Samples.
    ``seed``: Of the generator (NumPy's PCG64).
    """
    amounts = _amounts(pnl, 2, "bootstrap")
    block, generator, number = mean_block_length(amounts), np.random.default_rng(seed), len(amounts)
    starts = generator.integers(number, size=draws)
    steps = ((generator.integers(number, size=draws), generator.random(draws)) for _ in range(number - 1))
    samples: Floats = amounts[stationary_positions(starts, steps, number, block)]
    return samples


def bootstrap_interval(
    pnl: Amounts,
    statistic: Callable[[Floats], float],
    *,
    level: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 1,
) -> Interval:
    """Return the interval of a statistic under the stationary bootstrap, the same for the same seed.

    ``pnl``: Amounts per period.
    ``statistic``: From a sample as long as `pnl` to a number; samples for which it is not finite are left
    out.
    ``level``: Fraction of the samples inside.
    ``draws``, ``seed``: As in :func:`bootstrap_samples`.
    """
    values = np.array([statistic(sample) for sample in bootstrap_samples(pnl, draws=draws, seed=seed)])
    return quantile_interval(values[np.isfinite(values)], level)


def error_of_mean(pnl: Amounts, lags: int | None = None) -> float:
    """Return the standard error of the mean of correlated amounts (Newey and West 1987, Bartlett)."""
    amounts = _amounts(pnl, 2, "error of the mean")
    number = len(amounts)
    used = automatic_lags(number) if lags is None else lags
    centred = amounts - amounts.mean()
    variance = _autocovariance(centred, 0)
    for lag in range(1, min(used, number - 1) + 1):
        variance += 2 * (1 - lag / (used + 1)) * _autocovariance(centred, lag)
    return math.sqrt(variance / number)
