"""Rolling out-of-sample forecasts: one a day, with parameters from the past alone.

At every refit a model sees the bars up to its origin and nothing later. Until the next refit the
parameters stay fixed and each day's bar updates the filter.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.volatility.base import bounds_of, trailing_mean
from scalpdesk.volatility.forecast import EWMA_DECAY, EWMA_LEAST_RETURNS, MODELS, ewma_path
from scalpdesk.volatility.garch import GarchProcess, estimate_garch
from scalpdesk.volatility.har import MONTH, estimate_har
from scalpdesk.volatility.ohlc import Array, Ohlc
from scalpdesk.volatility.trees import estimate_trees

FIRST_ORIGIN = 1500
"""Returns known before the first forecast, in the reference's protocol."""

REFIT_EVERY = 21
_HORIZONS = (1, 5, 22)
_PARTS_OF_COMBINED = ("gjr", "har")
"""The combination is the plain mean of these two variances."""

Fit = TypeVar("Fit")
Progress = Callable[[int, int], None]
"""Called with the number of origins done and of all origins."""


class _Regression(Protocol):
    """Interface of a fitted ``har`` or ``trees`` regression."""

    def expected(self, bars: Ohlc) -> Array:
        """Expected mean variance over the horizon after each bar from the 22nd on."""


class RollingForecasts(msgspec.Struct, frozen=True):
    """Rolling forecasts and the realised variances."""

    origins: npt.NDArray[np.int64]
    """Position of each forecast's first target return; returns before it were known."""
    variances: dict[str, dict[int, Array]]
    """Model -> horizon -> forecast of the mean variance per day (decimal), one per origin."""
    realised: dict[int, Array]
    """Horizon -> realised mean squared return, one per origin."""


def rolling_forecasts(
    bars: Ohlc,
    models: Sequence[str] = MODELS,
    horizons: Sequence[int] = _HORIZONS,
    *,
    first: int = FIRST_ORIGIN,
    progress: Progress | None = None,
) -> RollingForecasts:
    """Forecast from every day whose longest horizon lies within the bars.

    ``bars``: Daily bars, oldest first.
    ``models``: Names out of :data:`scalpdesk.volatility.forecast.MODELS`.
    ``horizons``: Trading days.
    ``first``: Returns known before the first forecast; 500 or more for the fitted models.
    ``progress``: Called after every block.

    Raises ArgumentError when a model is unknown, a bar was dropped, or a model cannot be fitted where it must
    be.
    """
    _check_arguments(bars, models, horizons, first)
    returns = np.diff(np.log(bars.close))
    # The reference's protocol stops one day before the longest horizon would end with the last bar.
    last = len(returns) - max(horizons) - 1
    wanted = set(models)
    parts = wanted - {"combined"} | (set(_PARTS_OF_COMBINED) if "combined" in wanted else set())
    rolled: dict[str, dict[int, list[Array]]] = {name: {h: [] for h in horizons} for name in sorted(parts)}
    previous: dict[str, GarchProcess] = {}
    for start in range(first, last + 1, REFIT_EVERY):
        end = min(start + REFIT_EVERY, last + 1)
        known, seen = _first_bars(bars, start + 1), _first_bars(bars, end)
        bounds = {horizon: _bounds(seen, len(known.close), horizon) for horizon in horizons}
        for name, by_horizon in rolled.items():
            for horizon, made in zip(horizons, _block(name, known, seen, horizons, previous), strict=True):
                by_horizon[horizon].append(made if name == "ewma" else np.clip(made, *bounds[horizon]))
        if progress is not None:
            progress(end - first, last + 1 - first)
    variances = {name: {h: np.concatenate(its) for h, its in by.items()} for name, by in rolled.items()}
    if "combined" in wanted:
        gjr, har = (variances[name] for name in _PARTS_OF_COMBINED)
        variances["combined"] = {h: 0.5 * (gjr[h] + har[h]) for h in horizons}
    squares = np.square(returns)
    realised = {h: trailing_mean(squares, h)[first : last + 1] for h in horizons}
    return RollingForecasts(
        np.arange(first, last + 1, dtype=np.int64), {name: variances[name] for name in models}, realised
    )


def _check_arguments(bars: Ohlc, models: Sequence[str], horizons: Sequence[int], first: int) -> None:
    for name in models:
        if name not in MODELS:
            raise ArgumentError(
                "there is no forecast model of this name",
                where="models",
                value=name,
                nearest=nearest_name(name, MODELS),
                fix=f"use some of {', '.join(MODELS)}",
            )
    if bars.dropped:
        raise ArgumentError(
            "a rolling evaluation needs every bar to be good",
            where=f"bars[{bars.dropped[0].position}]",
            value=bars.dropped[0].reason,
        )
    if not horizons or min(horizons) < 1:
        raise ArgumentError("a horizon is one trading day or more", where="horizons", value=list(horizons))
    returns = len(bars.close) - 1
    if not MONTH <= first < returns - max(horizons):
        raise ArgumentError(
            f"no day to forecast from: {returns} returns, of which the first {first} are the sample",
            where="first",
            value=first,
        )


def _first_bars(bars: Ohlc, count: int) -> Ohlc:
    cut = slice(count)
    return Ohlc(
        bars.open[cut], bars.high[cut], bars.low[cut], bars.close[cut],
        bars.follows[cut], bars.positions[cut], (),
    )  # fmt: skip


def _block(
    name: str, known: Ohlc, seen: Ohlc, horizons: Sequence[int], previous: dict[str, GarchProcess]
) -> list[Array]:
    """Forecast each horizon from the last bar of ``known`` and from every later bar of ``seen``."""
    count = len(seen.close) - len(known.close) + 1
    if name in {"har", "trees"}:
        return [_fitted(_regress(name, known, h)).expected(seen)[-count:] for h in horizons]
    returns = np.diff(np.log(seen.close))
    if name == "ewma":
        path = _average(returns)[-count:]
        return [path for _ in horizons]
    fitted = estimate_garch(np.diff(np.log(known.close)), name, _parameters(previous.get(name)))
    if isinstance(fitted, str) and name in previous:
        fitted = previous[name]  # as a desk keeps the model that it has
    process: GarchProcess = _fitted(fitted)
    previous[name] = process
    path = process.next_variances(returns)[-count:]
    return [process.mean_ahead(path, horizon) for horizon in horizons]


def _parameters(process: GarchProcess | None) -> Array | None:
    return None if process is None else process.parameters


def _average(returns: Array) -> Array:
    """Return the moving average's variance before each return from the 21st on, and after the last."""
    start = float(np.square(returns[:EWMA_LEAST_RETURNS]).mean())
    return np.asarray(ewma_path(returns[EWMA_LEAST_RETURNS:], start, EWMA_DECAY))


def _bounds(seen: Ohlc, known: int, horizon: int) -> tuple[Array, Array]:
    """Return the bounds of the forecasts from the last of so many ``known`` bars and from each later one."""
    returns = np.diff(np.log(seen.close))
    count = len(returns) - known + 2
    realised = trailing_mean(np.square(returns), horizon)
    least, most = np.minimum.accumulate(realised)[-count:], np.maximum.accumulate(realised)[-count:]
    return bounds_of(_average(returns)[-count:], least, most)


def _regress(name: str, known: Ohlc, horizon: int) -> _Regression | str:
    if name == "har":
        return estimate_har(known, horizon)
    return estimate_trees(known, horizon)


def _fitted(fitted: Fit | str) -> Fit:
    if isinstance(fitted, str):
        raise ArgumentError(fitted, where="first", fix="start later, or leave the model out")
    return fitted
