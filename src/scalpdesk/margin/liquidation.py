"""Distance of the price to the prices at which the venue would close positions."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

_FALLS, _RISES = np.linspace(-0.025, -0.95, 38), np.geomspace(1.025, 5.0, 60) - 1.0
"""Moves of the price at which margin is looked at; between two of them the nearest is bisected."""


class MarginDistance(NamedTuple):
    """Distance of the price to those at which the venue would close positions of an account."""

    used: Decimal
    """Maintenance margin over collateral."""
    fall: float | None
    """Smallest fall at which it exceeds the margin balance, a fraction of the price; None within 95 %."""
    rise: float | None
    """Smallest rise at which it does, a fraction; None within 400 %."""

    def text(self, spot: float) -> str:
        """Return the distances in words, with the prices from ``spot`` on."""
        ways = [
            f"{spot * (1.0 + move):,.0f} ({move:+.1%})" for move in (self.fall, self.rise) if move is not None
        ]
        where = f"at {' and '.join(ways)}" if ways else "at no price between a twentieth and five times it"
        return f"Maintenance margin is {self.used:.1%} of collateral; the venue would liquidate {where}."

    def row(self) -> dict[str, Any]:
        """Return margin and distances as numbers for status and API."""
        moves = {"liquidation_fall": self.fall, "liquidation_rise": self.rise}
        shown = {name: None if move is None else round(move, 6) for name, move in moves.items()}
        return {"maintenance_fraction": round(float(self.used), 6), **shown}


def liquidation_distance(used: Decimal, excess_at: Callable[[float], Decimal]) -> MarginDistance:
    """Return the smallest moves of the price at which the margin exceeds what it is set against.

    ``used``: Maintenance margin over collateral now, the venue's figure or the schedule's.
    ``excess_at``: Own funds above the maintenance margin after a move of every price by a fraction, currency.
    """

    def first(moves: Sequence[float]) -> float | None:
        good = 0.0
        for bad in moves:
            if excess_at(bad) <= 0:
                break
            good = bad
        else:
            return None
        for _ in range(30):
            middle = 0.5 * (good + bad)
            good, bad = (good, middle) if excess_at(middle) <= 0 else (middle, bad)
        return bad

    return MarginDistance(used, first(_FALLS.tolist()), first(_RISES.tolist()))
