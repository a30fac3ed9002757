"""The volatility at which the delta of a hedge is computed."""

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import InstrumentId
from scalpdesk.hedging.kernels.rules import minimum_variance_addition

DeltaVol = Literal["implied", "smile", "entry", "forecast", "fixed"]
Dynamics = Literal["sticky_strike", "sticky_delta", "minimum_variance"]
STICKY_DELTA = 0.0
"""Skew stickiness of a smile that moves with the spot."""
MINIMUM_VARIANCE = (-0.55, 1.25, -0.93)
"""Coefficients a, b, c on the embedded market at 30 days and a VIX of 16, where the stickiness is 1.5."""


class DeltaModel:
    """Chooses the volatility of the hedge's delta, leg by leg.

    ``source``: ``implied`` now by each leg's quote, ``smile`` (one filtered volatility for call and put of a
    strike), implied at ``entry``, ``forecast``, or ``fixed``. It decides how the profit arrives: at the
    implied one a little at a time and certain in sign, at the actual one certain in sum (Ahmad and Wilmott,
    2005).
    ``fixed_vol``: For ``fixed``: a fraction a year.
    ``dynamics``: How a strike's volatility moves with the spot: not (``sticky_strike``), with the smile
    (``sticky_delta``), or by the regression of Hull and White (``minimum_variance``).
    ``coefficients``: a, b, c of that regression; :func:`fit_minimum_variance` fits them.
    """

    def __init__(
        self,
        source: DeltaVol = "smile",
        fixed_vol: float | None = None,
        dynamics: Dynamics = "sticky_strike",
        coefficients: tuple[float, float, float] = MINIMUM_VARIANCE,
    ) -> None:
        self.source = source
        self.dynamics = dynamics
        self.coefficients = coefficients
        self._fixed_vol = fixed_vol
        self._entry_vols: dict[InstrumentId, float] = {}

    def begin(self, entry_vols: Mapping[InstrumentId, float]) -> None:
        """Remember the implied volatilities at entry."""
        self._entry_vols = dict(entry_vols)

    def vol(self, leg: InstrumentId, implied: float, forecast_vol: Callable[[], float | None]) -> float:
        """Return the volatility for a leg; its implied one where the chosen one is not known."""
        found: float | None = None
        if self.source == "entry":
            found = self._entry_vols.get(leg)
        elif self.source == "fixed":
            found = self._fixed_vol
        elif self.source == "forecast":
            found = forecast_vol()
        return found or implied


def skew_delta(vega: float, spot: float, skew: float, stickiness: float) -> float:
    """Return what is added to a Black–Scholes delta because the strike's volatility moves with the spot.

    ``vega``: Per 1.00 of volatility and unit.
    ``spot``: Currency per unit.
    ``skew``: Slope of the volatility in ln(strike), usually below zero.
    ``stickiness``: R (Bergomi 2009): 1 sticky strike, 0 sticky delta, 2 local volatility; the index about
    1.5.
    """
    return vega * (stickiness - 1.0) * skew / spot


def minimum_variance_delta(
    spot: float, strike: float, years: float, vol: float, coefficients: tuple[float, float, float]
) -> float:
    """Return what Hull and White (2017) add to the delta of a call, and of the put of its strike.

    ``spot``, ``strike``: Currency per unit, without rate and yield.
    ``years``, ``vol``: To expiry, and volatility, on one clock.
    ``coefficients``: a, b, c of ``n(d1)·(a + b·δ + c·δ²)`` with δ the call's delta.
    """
    return minimum_variance_addition(spot, strike, years, vol, *coefficients)


class _MinimumVarianceFit(NamedTuple):
    """Coefficients a, b, c, and the share of the squared hedging error that they take away."""

    coefficients: tuple[float, float, float]
    gain: float


def fit_minimum_variance(
    d_value: ArrayLike,
    call_delta: ArrayLike,
    vega: ArrayLike,
    spot: ArrayLike,
    years: ArrayLike,
    d_spot: ArrayLike,
) -> _MinimumVarianceFit:
    """Fit Hull and White's coefficients to moves of calls between two dates, by least squares.

    ``d_value``: Change of each call's price, currency per unit.
    ``call_delta``, ``vega``: At the start; vega per 1.00 of volatility.
    ``spot``, ``years``: At the start: the share's price and the time to expiry.
    ``d_spot``: Change of the share's price.
    Raises ArgumentError with fewer than three rows, or lists that differ in length.

    References
    ----------
    Hull, J. and White, A. (2017), Optimal delta hedging for options, Journal of Banking & Finance 82;
    they take calls with a delta of 0.05 to 0.95 over three years.
    """
    columns = [
        np.asarray(each, dtype=np.float64) for each in (d_value, call_delta, vega, spot, years, d_spot)
    ]
    if len({each.shape for each in columns}) > 1 or columns[0].ndim != 1 or len(columns[0]) < 3:
        raise ArgumentError(
            "the fit takes lists of one length, of three rows or more",
            where="d_value",
            value=[each.shape for each in columns],
        )
    value, delta, by_vol, price, left, move = columns
    missed = value - delta * move
    unit = by_vol * move / (price * np.sqrt(left))
    terms = np.column_stack((unit, unit * delta, unit * delta * delta))
    found = np.linalg.lstsq(terms, missed, rcond=None)[0]
    rest = missed - terms @ found
    a, b, c = found.tolist()
    return _MinimumVarianceFit((a, b, c), 1.0 - float(rest @ rest) / float(missed @ missed))


def least_hedge(noise_shares: float, deviations: float = 2.0) -> int:
    """Return the smallest hedge, in shares, that is more than the noise of its own delta.

    ``noise_shares``: Standard deviation of the delta: vanna (per 1.00 of volatility) times the volatility's
    standard deviation times units, summed with its sign over the legs of a strike.
    ``deviations``: Of the noise that a hedge must reach.
    """
    return max(math.ceil(deviations * abs(noise_shares)), 1)
