"""Scenario grids: value, P&L and Greeks of a position over spots, volatility changes and times.

A ladder is a grid with one volatility and one time; a stress table has a few of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.models import greeks

AXES = ("spot", "vol", "time")
VALUE_UNITS = {
    "value_usd": "currency, whole position",
    "pnl_usd": "currency, whole position, against the book as it stands",
    "delta_shares": "units of the underlying, whole position",
    "gamma_shares_per_usd": "units of the underlying per 1.00 of its price, whole position",
    "theta_usd_per_day": "currency a calendar day, whole position",
    "vega_usd_per_point": "currency per 0.01 of volatility, whole position",
}
DAYS_PER_YEAR = 365.0
_PER_POINT = 0.01


@dataclass(frozen=True, slots=True)
class OptionLine:
    """Position in one option; ``contracts`` is signed."""

    strike: float
    years: float
    is_call: bool
    vol: float
    contracts: float
    multiplier: float = 100.0
    rate: float = 0.0
    dividend_yield: float = 0.0
    style: str = "american"


@dataclass(frozen=True, slots=True)
class ScenarioGrid:
    """Values of a whole position on a grid; the axes of every array are ``axes``."""

    coordinates: dict[str, Floats]
    """By axis: spots, changes of volatility, days ahead; in currency per unit, 0.01 a point, days."""
    values: dict[str, Floats]
    axes: tuple[str, ...] = AXES

    @property
    def value_units(self) -> dict[str, str]:
        """Unit of each value."""
        return dict(VALUE_UNITS)

    def __getitem__(self, name: str) -> Floats:
        """Return one value on the whole grid.

        Raises
        ------
        ArgumentError
            When there is no value of that name.
        """
        if name not in self.values:
            raise ArgumentError(
                "no such value on the grid", where="name", value=name, nearest=nearest_name(name, self.values)
            )
        return self.values[name]


def scenario_grid(
    lines: Sequence[OptionLine],
    spot: float,
    *,
    spots: ArrayLike | None = None,
    vol_changes: ArrayLike = (0.0,),
    days_ahead: ArrayLike = (0.0,),
    shares: float = 0.0,
) -> ScenarioGrid:
    """Price a position at every spot, change of volatility and time.

    Parameters
    ----------
    lines
        The options held; their volatilities stay with the strike as the spot moves.
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

    Returns
    -------
    ScenarioGrid
        Arrays of shape (spots, vol_changes, days_ahead).

    Raises
    ------
    ArgumentError
        When a coordinate is not finite or out of its range, or an option's terms are bad.
    """
    axis = {
        "spot": _axis("spots", spot * np.linspace(0.9, 1.1, 21) if spots is None else spots, above_zero=True),
        "vol": _axis("vol_changes", vol_changes),
        "time": _axis("days_ahead", days_ahead),
    }
    if bool(np.any(axis["time"] < 0.0)):
        raise ArgumentError("days ahead are at least 0", where="days_ahead", value=float(axis["time"].min()))
    if not (np.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the spot must be above 0", where="spot", value=spot)
    totals = _totals(lines, axis["spot"], axis["vol"], axis["time"], shares)
    now = _totals(lines, np.array([spot]), np.zeros(1), np.zeros(1), shares)
    pnl = totals["value_usd"] - now["value_usd"]
    return ScenarioGrid(axis, {"value_usd": totals.pop("value_usd"), "pnl_usd": pnl, **totals})


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
    lines: Sequence[OptionLine], spots: Floats, vol_changes: Floats, days: Floats, shares: float
) -> dict[str, Floats]:
    """Sum the position's value and Greeks over its lines on the grid, one pricing call a line."""
    shape = (len(spots), len(vol_changes), len(days))
    total = {name: np.zeros(shape) for name in VALUE_UNITS if name != "pnl_usd"}
    for line in lines:
        years = line.years - days / DAYS_PER_YEAR
        per_unit = greeks(
            spots[:, None, None],
            line.strike,
            years[None, None, :],
            np.maximum(line.vol + vol_changes[None, :, None], 0.0),
            line.is_call,
            rate=line.rate,
            dividend_yield=line.dividend_yield,
            style=line.style,
        )
        units = line.contracts * line.multiplier
        total["value_usd"] += units * per_unit.price
        total["delta_shares"] += units * per_unit.delta
        total["gamma_shares_per_usd"] += units * per_unit.gamma
        total["theta_usd_per_day"] += units * per_unit.theta / DAYS_PER_YEAR
        total["vega_usd_per_point"] += units * per_unit.vega * _PER_POINT
    total["value_usd"] += shares * spots[:, None, None]
    total["delta_shares"] += shares
    return total
