"""Realised against implied variance over the intervals in which options were held."""

import math
from collections.abc import Iterable

import msgspec

from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.portfolio.greeks import gamma_in_coin
from scalpdesk.portfolio.interval import LegSnapshot


class MoveMeter(Leaf, gc=False):
    """Realised variance beside the implied variance that was paid for it, over the same intervals."""

    gamma: float = 0.0
    theta: float = 0.0
    """First order: half gamma times the squared move, and what implied variance charged for it."""
    realised: float = 0.0
    implied: float = 0.0
    time: float = 0.0
    """Sums of variance and years."""
    weighted_realised: float = 0.0
    weighted_implied: float = 0.0
    weight: float = 0.0
    """The same, weighted by gamma times squared spot."""
    moves: float = 0.0
    even_moves: float = 0.0
    """Sums of squared moves: made, and implied."""

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
        ends = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(before), strict=True)
        return MoveMeter(*(now - then for now, then in ends))

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


class HeldGamma(FrozenLeaf, frozen=True, gc=False):
    """Gamma of a book of options."""

    gamma: float
    """Shares a unit of currency, beside its hedge."""
    vol: float
    """Implied, per root year of the variance clock, weighted by gamma."""
    expires_ns: int
    variance_years: float
    """Expiry instant of the last of the options, and time to it by the variance clock."""


def held_gamma(legs: Iterable[LegSnapshot], underlying: str) -> HeldGamma | None:
    """Return the gamma of positions' options on an underlying; None without any."""
    gamma = variance = size = variance_years = 0.0
    expires_ns = 0
    for leg in legs:
        contract, state, greeks = leg.instrument, leg.state, leg.greeks
        if not contract.is_option or contract.underlying != underlying or state is None or greeks is None:
            continue
        expires_ns, variance_years = leg.expires_ns, state.variance_years
        own = leg.units * greeks.gamma
        if contract.is_inverse:
            own = gamma_in_coin(own, leg.units * greeks.delta, state.spot)
        gamma += own
        size += abs(own)
        variance += abs(own) * state.vol * state.vol
    return HeldGamma(gamma, math.sqrt(variance / size), expires_ns, variance_years) if size else None


def _root(total: float, over: float) -> float:
    return math.sqrt(total / over) if over and total / over >= 0.0 else math.nan
