"""P&L of an interval by cause, from what positions were at both ends and nothing else."""

import math
from collections.abc import Iterable

import msgspec

from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument, Style
from scalpdesk.portfolio.greeks import gamma_in_coin
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.known_dividends import known_corners
from scalpdesk.pricing.scalar import Corners, PricedState, corner_prices

AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call


class LegSnapshot(FrozenLeaf, frozen=True, gc=False):
    """Position in one instrument at one instant."""

    instrument_id: InstrumentId
    instrument: Instrument
    ts_ns: int
    """The instant, UTC nanoseconds."""
    units: float
    """Contracts times multiplier, signed."""
    mark: float
    """Currency per unit."""
    state: PricedState | None = None
    """State that an option's mark is valued in; None for what is no option, or has no volatility."""
    greeks: OptionGreeks | None = None
    """Per unit at ``state``, where an interval begins."""
    expires_ns: int = 0
    """Expiry instant of an option, UTC nanoseconds."""
    paid: float = 0.0
    """Dividends a share of the underlying since the interval began, currency."""
    proxied: float = 0.0
    """Delta that it stands for in units of another underlying, where it hedges one."""
    spot: float = 0.0
    """Price of that underlying, currency."""


class LegParts(FrozenLeaf, frozen=True, gc=False):
    """Causes of a leg's change of value between two states, in currency; they sum to that change."""

    delta: float = 0.0
    gamma: float = 0.0
    theta: float = 0.0
    vega: float = 0.0
    spot_higher: float = 0.0
    volga: float = 0.0
    vanna: float = 0.0
    charm: float = 0.0
    veta: float = 0.0
    three_way: float = 0.0
    dividend: float = 0.0
    rate: float = 0.0
    mark_noise: float = 0.0
    basis: float = 0.0
    """Gain of an instrument beyond the underlying that it hedges, on the same dollar delta."""


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
        units * first,
        units * second,
        units * time_step,
        units * by_vol,
        units * (spot_step - first - second),
        units * (vol_step - by_vol),
        units * vanna,
        units * charm,
        units * veta,
        units * three_way,
        units * (paid - all_three),
        units * (end - paid),
        0.0 if d_mark is None else units * (d_mark - (end - start)),
    )


def explain(before: LegSnapshot, after: LegSnapshot) -> LegParts:
    """Return what moved a position from one snapshot to the next, in currency.

    It is held as ``before`` has it. An option that has no state at one of the two ends is not explained.
    """
    instrument, units, start, end, paid = (
        before.instrument,
        before.units,
        before.state,
        after.state,
        after.paid,
    )
    if not instrument.is_option:
        # the curvature of an inverse contract meets the option's: both are gamma
        delta, gamma = instrument.earned(units, before.mark, after.mark + paid)
        if before.proxied and after.spot:
            by_underlying = before.proxied * (after.spot - before.spot)
            basis, dividend = delta - by_underlying, -units * paid if paid else 0.0
            return LegParts(delta=by_underlying, gamma=gamma, dividend=dividend, basis=basis)
        return LegParts(delta=delta, gamma=gamma, dividend=-units * paid if paid else 0.0)
    greeks = before.greeks
    if start is None or end is None or greeks is None:
        return NO_LEG_PARTS
    by_clock = math.sqrt(start.variance_years / start.years) if start.years > 0.0 else 0.0
    delta, gamma, stepped = greeks.delta, greeks.gamma, end.spot + paid
    is_american = instrument.style is AMERICAN
    terms = float(instrument.strike), instrument.is_call, start, end, stepped, end.spot
    if start.dividends or end.dividends:
        corners = known_corners(*terms, american=is_american)
    else:
        corners = corner_prices(*terms, american=is_american)
    if instrument.is_inverse:
        corners = _in_coin(corners, start.spot, end.spot)
        delta, gamma = delta / start.spot, (gamma - delta / start.spot) / start.spot
    return leg_parts(
        corners,
        units=units,
        delta=delta,
        gamma=gamma,
        vega=greeks.vega * by_clock,
        d_spot=stepped - start.spot,
        d_vol=end.vol - start.vol,
        d_mark=after.mark - before.mark,
    )


def _in_coin(corners: Corners, start_spot: float, end_spot: float) -> Corners:
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
