"""Level of a smile, at the money or of its variance swap, and a smile moved to another level.

A forecast of realised variance is a variance-swap quantity. The volatility at the money is lower on a skew:
a fair forecast compared with it shows an edge that is not there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.svi_fit import NODES, PER_NODE, SLOPE_STEP, swap_variance
from scalpdesk.pricing.svi import SviSmile

Smile: TypeAlias = Callable[[Floats], Floats]
"""Volatilities (fractions a year) at each ln(strike / forward) of an array."""
Level = Literal["swap", "atm"]
Shift = Literal["standardised", "parallel"]

_ROUNDS = 20
_NEAR = 1e-12


@dataclass(frozen=True, slots=True)
class SviVols:
    """Volatilities of an SVI smile times a factor, ``f·σ(k/f)``: a :data:`Smile` with a compiled level."""

    svi: SviSmile
    """Total variance at ln(strike / forward)."""
    years: float
    """To expiry, on the clock of the volatilities."""
    factor: float = 1.0
    """f."""

    def __call__(self, log_moneyness: Floats) -> Floats:
        """Return volatilities, fractions a year."""
        variance = self.svi.total_variance(log_moneyness / self.factor)
        return self.factor * np.sqrt(np.maximum(variance, 1e-16) / self.years)


def swap_vol(smile: Smile, years: float) -> float:
    """Return the volatility of the variance swap of a smile, a fraction a year.

    The smile is the volatility at ln(K/F); ``years`` is the time to expiry on its clock.

    The total variance w integrated over the normal density of z = −k/√w − √w/2 (Gatheral 2006), by the
    trapezoidal rule in u with k = √w₀·sinh u: it converges geometrically, as the integrand is smooth and dies
    out at both ends. Where a wing is too steep for any density (a fit with a single quote on that side) z
    turns back, and what lies beyond counts nothing.
    """
    if isinstance(smile, SviVols):  # compiled: 4 us instead of 60
        svi = smile.svi
        return math.sqrt(swap_variance(svi.a, svi.b, svi.rho, svi.m, svi.s, smile.factor) / years)
    width = math.sqrt(float(smile(np.zeros(1))[0]) ** 2 * years)
    step = SLOPE_STEP * width * PER_NODE
    k = width * NODES
    root = np.sqrt(smile(np.concatenate((k - step, k, k + step))).reshape(3, -1) ** 2 * years)
    z = np.stack((step - k, -k, -k - step)) / root - 0.5 * root
    weights = np.exp(-0.5 * z[1] * z[1]) * np.maximum(z[0] - z[2], 0.0) / step * PER_NODE
    return math.sqrt(float((weights * root[1] ** 2).sum() / weights.sum()) / years)


def level_of(smile: Smile, years: float, level: Level) -> float:
    """Return the level of a smile, a fraction a year: of its variance swap, or at the money."""
    return swap_vol(smile, years) if level == "swap" else float(smile(np.zeros(1))[0])


def shifted_smile(
    smile: Smile,
    years: float,
    wanted: float,
    *,
    level: Level = "swap",
    shift: Shift = "standardised",
    own_level: float | None = None,
) -> Smile:
    """Return the smile moved so that its level is another, the skew kept.

    At the money one step is exact. The swap's level is not quite proportional to f, so the step is repeated
    until the level is met to 1e-12.

    ``years``: To expiry, on the smile's clock.
    ``wanted``: The forecast, a fraction a year of that clock.
    ``level``: What the forecast is the level of.
    ``shift``: ``standardised``: ``f·σ(k/f)``, which keeps a smile free of arbitrage so; ``parallel``: the
    same is added everywhere.
    ``own_level``: Of ``smile``, where it is known already.
    """
    is_factor = shift == "standardised"

    def moved_by(amount: float) -> Smile:
        if is_factor and isinstance(smile, SviVols):
            return SviVols(smile.svi, smile.years, smile.factor * amount)
        if is_factor:
            return lambda k: amount * smile(k / amount)
        return lambda k: smile(k) + amount

    amount, moved = 1.0 if is_factor else 0.0, smile
    before: tuple[float, float] | None = None
    found = level_of(smile, years, level) if own_level is None else own_level
    for _ in range(_ROUNDS):
        if abs(found - wanted) <= _NEAR * wanted:
            break
        if before is None or found == before[1]:
            step = amount * (wanted / found - 1.0) if is_factor else wanted - found
        else:
            step = (wanted - found) * (amount - before[0]) / (found - before[1])
        before, amount = (amount, found), amount + step
        moved = moved_by(amount)
        found = level_of(moved, years, level)
    return moved


def horizon_level(
    level: float, years: float, horizon_years: float, forecast: float, implied_to_horizon: float | None = None
) -> float:
    """Return an expiry's volatility level when only the variance up to a horizon moves to the forecast.

    ``sqrt((level² · years + (forecast² - implied_to_horizon²) · horizon_years) / years)``, never below zero:
    the total variance of the market, with its part up to the horizon replaced.

    ``level``: The market's level of the whole expiry, a fraction a year.
    ``years``, ``horizon_years``: To expiry and to the horizon.
    ``forecast``: Volatility to the horizon.
    ``implied_to_horizon``: The market's volatility to the horizon; its level when None.

    >>> round(horizon_level(0.20, 30 / 365, 5 / 365, 0.26), 4)
    0.2112
    """
    before = level if implied_to_horizon is None else implied_to_horizon
    moved = level**2 * years + (forecast**2 - before**2) * horizon_years
    return math.sqrt(max(moved, 0.0) / years)


def level_between(before: tuple[float, float], after: tuple[float, float], horizon_years: float) -> float:
    """Return the market's volatility to a horizon between two expiries: total variance is linear in time.

    ``before``, ``after``: Years to each expiry and its total variance ``level² · years``; now is (0, 0).
    ``horizon_years``: Between them.

    >>> round(level_between((0.0, 0.0), (30 / 365, 0.2**2 * 30 / 365), 5 / 365), 6)
    0.2
    """
    share = (horizon_years - before[0]) / (after[0] - before[0])
    variance = before[1] + share * (after[1] - before[1])
    return math.sqrt(max(variance, 0.0) / horizon_years)
