"""Parts of one leg's change of value between two states of the market, and the moves beside the headline."""

import math

from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.pricing.scalar import Corners


class LegParts(FrozenLeaf, frozen=True, gc=False):
    """What moved a leg between two states, in currency; the sum is the change of its value at the mark."""

    theta: float = 0.0
    delta: float = 0.0
    gamma: float = 0.0
    spot_higher: float = 0.0
    vega: float = 0.0
    volga: float = 0.0
    vanna: float = 0.0
    charm: float = 0.0
    veta: float = 0.0
    three_way: float = 0.0
    dividend: float = 0.0
    rate: float = 0.0
    mark_noise: float = 0.0


NO_LEG_PARTS = LegParts()


def leg_parts(
    corners: Corners,
    *,
    units: float,
    delta: float,
    gamma: float,
    vega: float,
    d_spot: float,
    d_vol: float,
    d_mark: float | None = None,
) -> LegParts:
    """Return the parts of a leg's change of value from its prices at the corners of the step.

    Parameters
    ----------
    corners
        As :func:`scalpdesk.pricing.scalar.corner_prices` returns them.
    units
        Contracts times multiplier, signed.
    delta, gamma, vega
        At the start; vega per 1.00 of volatility on the variance clock.
    d_spot, d_vol
        Steps of the spot (dividends added back) and of the volatility.
    d_mark
        Change of the quoted mark, per unit; None for the model's own.
    """
    start, spot, vol, time, spot_vol, spot_time, vol_time, all_three, paid, end = corners
    spot_step, vol_step, time_step = spot - start, vol - start, time - start
    first, second, by_vol = delta * d_spot, 0.5 * gamma * d_spot * d_spot, vega * d_vol
    vanna = spot_vol - spot - vol + start
    charm = spot_time - spot - time + start
    veta = vol_time - vol - time + start
    three_way = all_three - start - spot_step - vol_step - time_step - vanna - charm - veta
    return LegParts(
        units * time_step,
        units * first,
        units * second,
        units * (spot_step - first - second),
        units * by_vol,
        units * (vol_step - by_vol),
        units * vanna,
        units * charm,
        units * veta,
        units * three_way,
        units * (paid - all_three),
        units * (end - paid),
        0.0 if d_mark is None else units * (d_mark - (end - start)),
    )


def in_coin(corners: Corners, start_spot: float, end_spot: float) -> Corners:
    """Return prices in dollars at the corners of a step as premiums in coin, each at its own spot."""
    start, spot, vol, time, spot_vol, spot_time, vol_time, all_three, paid, end = corners
    return (
        start / start_spot,
        spot / end_spot,
        vol / start_spot,
        time / start_spot,
        spot_vol / end_spot,
        spot_time / end_spot,
        vol_time / start_spot,
        all_three / end_spot,
        paid / end_spot,
        end / end_spot,
    )


class MoveMeter:
    """Realised variance beside the implied variance that was paid for it, over the same intervals."""

    def __init__(self) -> None:
        self.gamma = self.theta = 0.0
        """First order: half gamma times the squared move, and what implied variance charged for it."""
        self.realised = self.implied = self.time = 0.0
        self.weighted_realised = self.weighted_implied = self.weight = 0.0
        self.moves = self.even_moves = 0.0
        """Sums of variance and years, the same weighted by gamma times squared spot, squared moves."""

    def add(self, gamma: float, spot: float, d_spot: float, vol: float, variance_years: float) -> None:
        """Add an interval.

        Parameters
        ----------
        gamma
            Of the book at its start, shares per unit of currency.
        spot, d_spot
            At its start, and the move; currency.
        vol
            Implied, per root year of the variance clock.
        variance_years
            Length of the interval by that clock.
        """
        move = d_spot / spot
        realised, implied = move * move, vol * vol * variance_years
        cash_gamma = gamma * spot * spot
        self.gamma += 0.5 * cash_gamma * realised
        self.theta -= 0.5 * cash_gamma * implied
        self.realised += realised
        self.implied += implied
        self.time += variance_years
        self.weighted_realised += cash_gamma * realised
        self.weighted_implied += cash_gamma * implied
        self.weight += cash_gamma * variance_years
        self.moves += d_spot * d_spot
        self.even_moves += spot * spot * implied

    def since(self, before: "MoveMeter") -> "MoveMeter":
        """Return what has been added since an earlier state of this meter; since an empty one, a copy."""
        found = MoveMeter()
        found.gamma, found.theta = self.gamma - before.gamma, self.theta - before.theta
        found.realised = self.realised - before.realised
        found.implied = self.implied - before.implied
        found.time = self.time - before.time
        found.weighted_realised = self.weighted_realised - before.weighted_realised
        found.weighted_implied = self.weighted_implied - before.weighted_implied
        found.weight = self.weight - before.weight
        found.moves = self.moves - before.moves
        found.even_moves = self.even_moves - before.even_moves
        return found

    def figures(self) -> dict[str, float]:
        """Return the headline and what stands beside it; NaN where nothing was held.

        Volatilities are per root year of the variance clock. The weighted pair (by gamma times squared spot)
        always has the headline's sign; the plain one need not.
        """
        return {
            "gamma": self.gamma,
            "theta": self.theta,
            "headline": self.gamma + self.theta,
            "realised_vol": _root(self.realised, self.time),
            "implied_vol": _root(self.implied, self.time),
            "realised_vol_weighted": _root(self.weighted_realised, self.weight),
            "implied_vol_weighted": _root(self.weighted_implied, self.weight),
            "realised_move": math.sqrt(self.moves),
            "break_even_move": math.sqrt(self.even_moves),
        }


def _root(total: float, over: float) -> float:
    return math.sqrt(total / over) if over and total / over >= 0.0 else math.nan
