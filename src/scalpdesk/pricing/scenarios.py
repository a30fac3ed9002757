"""Scenario grids: value, P&L and Greeks of a position over spots, volatility changes and times.

A ladder is a grid with one volatility and one time; a stress table has a few of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.pricing.base import Dividends, Floats
from scalpdesk.pricing.models import greeks

VALUE_UNITS = {
    "value_usd": "currency, whole position",
    "pnl_usd": "currency, whole position, against the book as it stands",
    "delta_shares": "units of the underlying, whole position",
    "gamma_shares_per_usd": "units of the underlying per 1.00 of its price, whole position",
    "theta_usd_per_day": "currency a calendar day, whole position",
    "vega_usd_per_point": "currency per 0.01 of volatility, whole position",
}
"""Unit of each value of a scenario grid."""
_PER_POINT = 0.01


VolOf = Callable[[float, float, float], float]
"""Volatility a year at (strike, years left, spot), before the grid's change of volatility."""


@dataclass(frozen=True, slots=True)
class OptionLine:
    """Position in one option; ``contracts`` is signed.

    An inverse option has its premium and Greeks in coin, on its forward, which keeps its yearly premium over
    the spot (``forward_premium``: the logarithm of forward by spot, over the years).
    """

    strike: float
    years: float
    is_call: bool
    vol: float
    contracts: float
    multiplier: float = 100.0
    rate: float = 0.0
    dividend_yield: float = 0.0
    style: str = "american"
    is_inverse: bool = False
    forward_premium: float = 0.0
    dividends: Dividends = ()
    """Cash dividends ahead as (years to the ex-date, amount)."""


def scenario_grid(
    lines: Sequence[OptionLine],
    spot: float,
    *,
    spots: ArrayLike | None = None,
    vol_changes: ArrayLike = (0.0,),
    days_ahead: ArrayLike = (0.0,),
    shares: float = 0.0,
    inverse_usd: float = 0.0,
    vol_of: VolOf | None = None,
) -> dict[str, Floats]:
    """Price a position at every spot, change of volatility and time.

    Parameters
    ----------
    lines
        The options held; their volatilities stay with the strike, unless ``vol_of`` is given.
    spot
        Current price of the underlying; P&L is against the value here and now.
    spots
        Spots of the grid, above 0; 90 % to 110 % of ``spot`` in steps of 1 % when None.
    vol_changes
        Added to every volatility (0.01 is a point); a volatility does not go below 0.
    days_ahead
        Calendar days from now, at least 0. An option past its expiry is worth its intrinsic value.
    shares
        Units of the underlying held, signed; part of value, P&L and delta.
    inverse_usd
        US dollars held in inverse futures, signed: −A/S coins of value, A/S coins of delta. With these, and
        with inverse options, every value of the grid is in coin.
    vol_of
        Volatility at a strike, time left and spot, so that the smile moves with the spot.

    Returns
    -------
    dict
        Every value of :data:`VALUE_UNITS`, of shape (spots, vol_changes, days_ahead).

    Raises
    ------
    ArgumentError
        When a coordinate is not finite or out of its range, or an option's terms are bad.
    """
    all_spots = _axis("spots", spot * np.linspace(0.9, 1.1, 21) if spots is None else spots, above_zero=True)
    changes, days = _axis("vol_changes", vol_changes), _axis("days_ahead", days_ahead)
    if bool(np.any(days < 0.0)):
        raise ArgumentError("days ahead are at least 0", where="days_ahead", value=float(days.min()))
    if not (np.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the spot must be above 0", where="spot", value=spot)
    totals = _totals(lines, all_spots, changes, days, shares, inverse_usd, vol_of)
    now = _totals(lines, np.array([spot]), np.zeros(1), np.zeros(1), shares, inverse_usd, vol_of)
    pnl = totals["value_usd"] - now["value_usd"]
    return {"value_usd": totals.pop("value_usd"), "pnl_usd": pnl, **totals}


def _axis(where: str, values: ArrayLike, *, above_zero: bool = False) -> Floats:
    axis = np.atleast_1d(np.asarray(values, dtype=np.float64))
    good = np.isfinite(axis) & ((axis > 0.0) | (not above_zero))
    if axis.ndim != 1 or not axis.size or not bool(good.all()):
        bad = int(np.argmin(good)) if axis.ndim == 1 and axis.size else 0
        raise ArgumentError(
            "an axis of the grid is a list of finite numbers" + (" above 0" if above_zero else ""),
            where=f"{where}[{bad}]",
            value=axis.tolist(),
        )
    return axis


def _totals(
    lines: Sequence[OptionLine],
    spots: Floats,
    vol_changes: Floats,
    days: Floats,
    shares: float,
    inverse_usd: float,
    vol_of: VolOf | None,
) -> dict[str, Floats]:
    """Sum the position's value and Greeks over its lines on the grid, one pricing call a line."""
    shape = (len(spots), len(vol_changes), len(days))
    total = {name: np.zeros(shape) for name in VALUE_UNITS if name != "pnl_usd"}
    for line in lines:
        years = line.years - days / DAYS_PER_YEAR
        vol = np.full((len(spots), 1, len(days)), line.vol)
        if vol_of is not None:
            for i, j in np.ndindex(
                len(spots), len(days)
            ):  # an expired option has no volatility and needs no value of it
                vol[i, 0, j] = (
                    vol_of(line.strike, float(years[j]), float(spots[i])) if years[j] > 0.0 else 0.0
                )
        carried = np.exp(line.forward_premium * np.maximum(years, 0.0))[None, None, :]
        # what is still to come is another list each day ahead; without dividends one call has all days
        for part in [slice(j, j + 1) for j in range(len(days))] if len(line.dividends) else [slice(None)]:
            gone = float(days[part][0]) / DAYS_PER_YEAR
            per_unit = greeks(
                spots[:, None, None] * carried[:, :, part],
                line.strike,
                years[None, None, part],
                np.maximum(vol[:, :, part] + vol_changes[None, :, None], 0.0),
                line.is_call,
                rate=line.rate,
                dividend_yield=line.dividend_yield,
                dividends=[(ahead - gone, amount) for ahead, amount in line.dividends if ahead > gone],
                style=line.style,
                model="inverse" if line.is_inverse else "bsm",
            )
            units = line.contracts * line.multiplier
            total["value_usd"][:, :, part] += units * per_unit.price
            total["delta_shares"][:, :, part] += units * per_unit.delta
            total["gamma_shares_per_usd"][:, :, part] += units * per_unit.gamma
            total["theta_usd_per_day"][:, :, part] += units * per_unit.theta / DAYS_PER_YEAR
            total["vega_usd_per_point"][:, :, part] += units * per_unit.vega * _PER_POINT
    total["value_usd"] += shares * spots[:, None, None] - inverse_usd / spots[:, None, None]
    total["delta_shares"] += shares + inverse_usd / spots[:, None, None]
    total["gamma_shares_per_usd"] -= inverse_usd / spots[:, None, None] ** 2
    return total
