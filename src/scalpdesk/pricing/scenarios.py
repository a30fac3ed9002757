"""What a book is worth elsewhere: grids of spot, volatility and time, in labelled arrays.

A ladder is a grid with one volatility and one moment; a stress table one with a few of each.
"""

from collections.abc import Callable, Sequence
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

VolOf = Callable[[float, float, float], float]
"""(strike, years left, spot) to the volatility a year there, before the grid's own change of volatility."""


@dataclass(frozen=True, slots=True)
class OptionLine:
    """Options of one kind in a book; ``contracts`` is signed."""

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
    """Values of a whole position on a grid; every array has the axes of ``axes``, in that order."""

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

    def rows(self) -> list[dict[str, float]]:
        """Return the grid as one flat record a point: coordinates first, then values."""
        spots, vols, days = (self.coordinates[axis] for axis in self.axes)
        return [
            {
                "spot": float(spot),
                "vol": float(vol),
                "time": float(day),
                **{name: float(value[i, j, n]) for name, value in self.values.items()},
            }
            for i, spot in enumerate(spots)
            for j, vol in enumerate(vols)
            for n, day in enumerate(days)
        ]


def scenario_grid(
    lines: Sequence[OptionLine],
    spot: float,
    *,
    spots: ArrayLike | None = None,
    vol_changes: ArrayLike = (0.0,),
    days_ahead: ArrayLike = (0.0,),
    shares: float = 0.0,
    vol_of: VolOf | None = None,
) -> ScenarioGrid:
    """Price a book at every spot, change of volatility and time.

    Parameters
    ----------
    lines
        The options held. Their own volatility stays with the strike as the spot moves, unless ``vol_of``
        says otherwise.
    spot
        Where the underlying stands; profits are against the book here, unchanged and now.
    spots
        Spots of the grid, above 0; 90 % to 110 % of ``spot`` in steps of 1 % when None.
    vol_changes
        Added to every volatility (0.01 is a point); a volatility does not go below 0.
    days_ahead
        Calendar days from now, at least 0. An option past its expiry is worth its intrinsic value.
    shares
        Units of the underlying held, signed; they count in value, profit and delta.
    vol_of
        A surface's view of the volatility at a strike, time left and spot: its smile then moves with the
        spot.

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
    totals = _totals(lines, axis["spot"], axis["vol"], axis["time"], shares, vol_of)
    now = _totals(lines, np.array([spot]), np.zeros(1), np.zeros(1), shares, vol_of)
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
    lines: Sequence[OptionLine],
    spots: Floats,
    vol_changes: Floats,
    days: Floats,
    shares: float,
    vol_of: VolOf | None,
) -> dict[str, Floats]:
    """Sum the position's value and Greeks over its lines on the grid, one pricing call a line."""
    shape = (len(spots), len(vol_changes), len(days))
    total = {name: np.zeros(shape) for name in VALUE_UNITS if name != "pnl_usd"}
    for line in lines:
        years = line.years - days / DAYS_PER_YEAR
        if vol_of is None:
            base = np.full((len(spots), 1, len(days)), line.vol)
        else:
            # an expired option has no volatility, and needs none
            base = np.array(
                [
                    [[vol_of(line.strike, float(left), float(at)) if left > 0.0 else 0.0 for left in years]]
                    for at in spots
                ]
            )
        per_unit = greeks(
            spots[:, None, None],
            line.strike,
            years[None, None, :],
            np.maximum(base + vol_changes[None, :, None], 0.0),
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
