"""P&L of an interval by cause, from what positions were at both ends and nothing else."""

import math

from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument, Style
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.kernels.european import Corners
from scalpdesk.pricing.known_dividends import known_corners
from scalpdesk.pricing.scalar import PricedState, corner_prices

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

    ``corners``: As :func:`scalpdesk.pricing.scalar.corner_prices` returns them.
    ``units``: Contracts times multiplier, signed.
    ``delta``, ``gamma``, ``vega``: At the start; vega per 1.00 of volatility on the variance clock.
    ``d_spot``, ``d_vol``: Steps of the spot (dividends added back) and of the volatility.
    ``d_mark``: Change of the quoted mark, per unit; None for the model's own.
    """
    start, spot, vol, time, spot_vol, spot_time, vol_time, all_three, paid, end = corners
    spot_step, vol_step, time_step = spot - start, vol - start, time - start
    first, second, by_vol = delta * d_spot, 0.5 * gamma * d_spot * d_spot, vega * d_vol
    vanna = spot_vol - spot - vol + start
    charm = spot_time - spot - time + start
    veta = vol_time - vol - time + start
    three_way = all_three - start - spot_step - vol_step - time_step - vanna - charm - veta
    own = units * first, units * second, units * time_step, units * by_vol
    higher = units * (spot_step - first - second), units * (vol_step - by_vol)
    crossed = units * vanna, units * charm, units * veta, units * three_way
    noise = 0.0 if d_mark is None else units * (d_mark - (end - start))
    return LegParts(*own, *higher, *crossed, units * (paid - all_three), units * (end - paid), noise)


def explain(before: LegSnapshot, after: LegSnapshot) -> LegParts:
    """Return what moved a position from one snapshot to the next, in currency.

    It is held as ``before`` has it. An option that has no state at one of the two ends is not explained.
    """
    instrument, units, paid = before.instrument, before.units, after.paid
    start, end = before.state, after.state
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
    steps = start / start_spot, spot / end_spot, vol / start_spot, time / start_spot
    crossed = spot_vol / end_spot, spot_time / end_spot, vol_time / start_spot, all_three / end_spot
    return *steps, *crossed, paid / end_spot, end / end_spot
