"""Realised volatility from bars, by seven estimators.

Every estimator is a mean over periods (Yang-Zhang: a weighted sum of three), so each is computed as terms
per period and a rolling window over them. A period whose estimator needs the previous close is left out
after a dropped bar.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.volatility.ohlc import Array, DroppedBar, Ohlc, read_ohlc

_PARZEN_BANDWIDTH = 3.5134
"""c* of the Parzen kernel, Barndorff-Nielsen, Hansen, Lunde and Shephard (2009), table 1."""


class RealizedVol(msgspec.Struct, frozen=True):
    """Realised volatility, annualised."""

    vol: float
    """Volatility of the last window; NaN with a ``reason`` when there is no complete window."""
    series: Array
    """One value per input bar: volatility of the window ending there, NaN before the first full window."""
    estimator: str
    window: int
    periods_per_year: float
    """``estimator``, ``window``, ``periods_per_year``: The arguments of the estimate; ``window`` is the
    number of periods.
    """
    dropped: tuple[DroppedBar, ...]
    """Bars that were left out, with the reason for each."""
    reason: str | None
    """Why there is no value, or None."""

    def __float__(self) -> float:
        return self.vol

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.series, dtype=dtype, copy=copy)


def realized_vol(
    bars: Any,
    estimator: str = "yang_zhang",
    window: int | None = 20,
    periods_per_year: float = 252,
    *,
    zero_mean: bool = False,
) -> RealizedVol:
    """Annualised realised volatility of the last periods, and of every window before.

    Parameters
    ----------
    bars
        Oldest first: a mapping, table or structured array with columns open, high, low, close, or a
        sequence of mappings or objects with those names (see :func:`scalpdesk.volatility.ohlc.read_ohlc`).
        ``close_to_close``, ``bipower`` and ``realized_kernel`` need only closes.
    estimator
        ``close_to_close``, ``parkinson``, ``garman_klass``, ``rogers_satchell``, ``yang_zhang``,
        ``bipower`` (robust to jumps) or ``realized_kernel`` (robust to microstructure noise; for
        intraday bars).
    window
        Periods in a window (returns, for the estimators of closes); None for all there are.
    periods_per_year
        252 for daily bars of equities, 365 for coins, 252·390 for the minutes of a US session.
    zero_mean
        For ``close_to_close``: take the mean return as zero and divide by n instead of n − 1.

    Raises
    ------
    ArgumentError
        When the estimator is unknown, the window too short for it, or the bars lack a column.

    References
    ----------
    Parkinson (1980) and Garman and Klass (1980), Journal of Business 53; Rogers and Satchell (1991),
    Annals of Applied Probability 1; Yang and Zhang (2000), Journal of Business 73; Barndorff-Nielsen
    and Shephard (2004), Journal of Financial Econometrics 2; Barndorff-Nielsen, Hansen, Lunde and
    Shephard (2009), Econometrics Journal 12 (the kernel in practice).

    Examples
    --------
    >>> round(realized_vol([100, 101, 102.4, 100.3, 101.1, 103.9], "close_to_close", window=5).vol, 6)
    0.278886
    """
    if estimator not in ESTIMATORS:
        raise ArgumentError(
            "there is no estimator of this name",
            where="estimator",
            value=estimator,
            nearest=nearest_name(estimator, ESTIMATORS),
            fix=f"use one of {', '.join(ESTIMATORS)}",
        )
    terms_of, estimate, least, closes_only = ESTIMATORS[estimator]
    if estimator == "close_to_close" and zero_mean:
        estimate, least = _mean_square, 1
    if window is not None and window < least:
        raise ArgumentError(
            f"{estimator} needs a window of at least {least} periods", where="window", value=window
        )
    if not (math.isfinite(periods_per_year) and periods_per_year > 0):
        raise ArgumentError("periods_per_year must be above zero", where="periods_per_year",
                            value=periods_per_year)  # fmt: skip
    ohlc = read_ohlc(bars, closes_only=closes_only)
    terms, ends = terms_of(ohlc)
    periods = max(terms.shape[0], least) if window is None else window
    series = np.full(len(ohlc.positions) + len(ohlc.dropped), np.nan)
    reason = None
    if terms.shape[0] < periods:
        reason = f"{estimator} over {periods} periods: only {terms.shape[0]} are available"
    else:
        windows = sliding_window_view(terms, periods, axis=0)
        series[ohlc.positions[ends[periods - 1 :]]] = np.sqrt(estimate(windows) * periods_per_year)
    vol = math.nan if reason else float(series[ohlc.positions[ends[-1]]])
    return RealizedVol(vol, series, estimator, periods, float(periods_per_year), ohlc.dropped, reason)


Terms = tuple[Array, npt.NDArray[np.int64]]
"""Terms per period, shape (periods, kinds of term), and the kept bar that ends each period."""


def _returns(bars: Ohlc) -> Terms:
    ends = np.flatnonzero(bars.follows)
    return np.log(bars.close[ends] / bars.close[ends - 1])[:, None], ends


def _ranges(term: Callable[[Ohlc], Array]) -> Callable[[Ohlc], Terms]:
    def terms(bars: Ohlc) -> Terms:
        return term(bars)[:, None], np.arange(len(bars.close))

    return terms


def _parkinson_terms(bars: Ohlc) -> Array:
    """Daily variances ``ln(h/l)² / (4 ln 2)``."""
    return np.square(np.log(bars.high / bars.low)) / (4.0 * math.log(2.0))


def garman_klass_terms(bars: Ohlc) -> Array:
    """Daily variances ``½ ln(h/l)² − (2 ln 2 − 1) ln(c/o)²``."""
    span, body = np.log(bars.high / bars.low), np.log(bars.close / bars.open)
    return np.asarray(0.5 * np.square(span) - (2.0 * math.log(2.0) - 1.0) * np.square(body))


def _rogers_satchell_terms(bars: Ohlc) -> Array:
    """Daily variances ``ln(h/c)·ln(h/o) + ln(l/c)·ln(l/o)``; free of drift."""
    up = np.log(bars.high / bars.close) * np.log(bars.high / bars.open)
    return np.asarray(up + np.log(bars.low / bars.close) * np.log(bars.low / bars.open))


def _yang_zhang_terms(bars: Ohlc) -> Terms:
    ends = np.flatnonzero(bars.follows)
    overnight = np.log(bars.open[ends] / bars.close[ends - 1])
    body = np.log(bars.close[ends] / bars.open[ends])
    return np.column_stack((overnight, body, _rogers_satchell_terms(bars)[ends])), ends


# The estimates below take windows of shape (windows, kinds, periods) and give a variance per period.


def _mean(windows: Array) -> Array:
    return np.asarray(windows[:, 0].mean(axis=-1))


def _mean_square(windows: Array) -> Array:
    return np.asarray(np.square(windows[:, 0]).mean(axis=-1))


def _sample_variance(windows: Array) -> Array:
    return np.asarray(windows[:, 0].var(axis=-1, ddof=1))


def _yang_zhang(windows: Array) -> Array:
    periods = windows.shape[-1]
    weight = 0.34 / (1.34 + (periods + 1) / (periods - 1))
    overnight, body = windows[:, 0].var(axis=-1, ddof=1), windows[:, 1].var(axis=-1, ddof=1)
    return np.asarray(overnight + weight * body + (1.0 - weight) * windows[:, 2].mean(axis=-1))


def _bipower(windows: Array) -> Array:
    sizes = np.abs(windows[:, 0])
    # n returns make n − 1 neighbouring pairs; the mean of a pair's product estimates one period.
    return np.asarray(0.5 * math.pi * (sizes[:, 1:] * sizes[:, :-1]).mean(axis=-1))


def _realized_kernel(windows: Array) -> Array:
    return np.asarray([_parzen_kernel(returns) / len(returns) for returns in windows[:, 0]])


def _parzen_kernel(returns: Array) -> float:
    """Parzen realised kernel of one window: ``γ0 + 2 Σ k(h/(H+1)) γh``; zero noise gives ``γ0``."""
    count = len(returns)
    total = float(returns @ returns)
    first = float(returns[1:] @ returns[:-1])
    # Noise in prices makes neighbouring returns offset one another: its variance is −γ1/n.
    noise_share = max(0.0, -first) / count / total if total > 0.0 else 0.0
    bandwidth = math.ceil(_PARZEN_BANDWIDTH * noise_share**0.4 * count**0.6)
    for lag in range(1, min(bandwidth, count - 1) + 1):
        x = lag / (bandwidth + 1.0)
        weight = 1.0 - 6.0 * x * x + 6.0 * x**3 if x <= 0.5 else 2.0 * (1.0 - x) ** 3
        total += 2.0 * weight * float(returns[lag:] @ returns[:-lag])
    return max(total, 0.0)


ESTIMATORS: dict[str, tuple[Callable[[Ohlc], Terms], Callable[[Array], Array], int, bool]] = {
    "close_to_close": (_returns, _sample_variance, 2, True),
    "parkinson": (_ranges(_parkinson_terms), _mean, 1, False),
    "garman_klass": (_ranges(garman_klass_terms), _mean, 1, False),
    "rogers_satchell": (_ranges(_rogers_satchell_terms), _mean, 1, False),
    "yang_zhang": (_yang_zhang_terms, _yang_zhang, 2, False),
    "bipower": (_returns, _bipower, 2, True),
    "realized_kernel": (_returns, _realized_kernel, 2, True),
}
"""Estimator -> terms, estimate, least periods, whether closes are enough."""
