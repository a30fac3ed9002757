"""The expected cost of hedging over a horizon."""

import math

import msgspec

from scalpdesk.core.units import SESSIONS_PER_YEAR
from scalpdesk.hedging.base import (
    ChoosesTarget,
    ClockBand,
    HedgeBand,
    HedgeInputs,
    RehedgeTo,
    refuse_below,
)


class HedgeCost(msgspec.Struct, frozen=True):
    """Expected hedging over a horizon."""

    rehedges: float
    """Expected number of hedges (not rounded for a band)."""
    shares_per_rehedge: float
    """Expected size of one hedge, shares."""
    cost_usd: float
    """Expected cost of all of them."""


def delta_speed(gamma_shares_per_usd: float, spot: float, vol: float) -> float:
    """Volatility of the position's delta, shares per square root of a year: ``|Γ|·S·σ``.

    Raises
    ------
    ArgumentError
        When an argument is not finite, the spot not above zero or the vol negative.
    """
    refuse_below(0.0, strict=True, spot=spot)
    refuse_below(0.0, strict=False, vol=vol, gamma_shares_per_usd=abs(gamma_shares_per_usd))
    return abs(gamma_shares_per_usd) * spot * vol


def cost_of_band(
    gamma_shares_per_usd: float,
    spot: float,
    vol: float,
    horizon_days: float,
    half_width_shares: float,
    cost_usd_per_share: float,
    *,
    rehedge_to: RehedgeTo = "zero",
    smallest_hedge: float = 1.0,
    least_fraction: float = 0.0,
) -> HedgeCost:
    """Expected cost of a symmetric dead band.

    The delta is read as a Brownian motion of speed v. Hedged to zero, it leaves ±b after b²/v² years
    on average: ``(H/252)·v²/b²`` hedges of b shares each. Hedged to the edge it is reflected there,
    which takes ``(H/252)·v²/(2b)`` shares, half as many, in hedges of the smallest size. Hedges of less than
    c shares are not sent: the delta runs to b + c and back to b, which takes ``(H/252)·v²/(2b + c)``. Of
    whole shares one is sent from half a share on, to half a share inside: as many as at the edge.

    Parameters
    ----------
    gamma_shares_per_usd
        Whole position.
    spot
        USD per share.
    vol
        Forecast volatility, per year of 252 trading days.
    horizon_days
        Trading days.
    half_width_shares
        b, whole position, above 0.
    cost_usd_per_share
        One-way: half spread and fees.
    rehedge_to
        ``zero`` or ``edge``.
    smallest_hedge
        One share, or the coins of one contract; above 0.
    least_fraction
        c/b, 0 or more: a hedge to the edge is not sent below it.

    Raises
    ------
    ArgumentError
        When an argument is not finite or out of its range.

    References
    ----------
    Borodin, A. N. and Salminen, P. (2002), Handbook of Brownian Motion, exit times and reflection.

    Examples
    --------
    >>> round(cost_of_band(2.0, 500.0, 0.22, 5, 20.0, 0.01).cost_usd, 6)
    0.480159
    """
    refuse_below(0.0, strict=True, half_width_shares=half_width_shares, smallest_hedge=smallest_hedge)
    refuse_below(0.0, strict=False, horizon_days=horizon_days, cost_usd_per_share=cost_usd_per_share)
    refuse_below(0.0, strict=False, least_fraction=least_fraction)
    speed = delta_speed(gamma_shares_per_usd, spot, vol)
    rehedges = horizon_days / SESSIONS_PER_YEAR * (speed / half_width_shares) ** 2
    if rehedge_to == "edge":
        least = least_fraction * half_width_shares
        size = max(least, smallest_hedge)
        beyond = 2.0 * max(least, 0.5 * smallest_hedge) - size
        shares = rehedges * half_width_shares * (half_width_shares / (2.0 * half_width_shares + beyond))
        return HedgeCost(shares / size, size, shares * cost_usd_per_share)
    return HedgeCost(rehedges, half_width_shares, rehedges * half_width_shares * cost_usd_per_share)


def cost_of_clock(
    gamma_shares_per_usd: float,
    spot: float,
    vol: float,
    horizon_days: float,
    hedges_per_day: float,
    cost_usd_per_share: float,
) -> HedgeCost:
    """Expected cost of hedging to zero at n equally spaced times a day.

    Each hedge is the size of a normal move: ``E|q| = v·√(1/(252n))·√(2/π)``.

    Parameters
    ----------
    gamma_shares_per_usd, spot, vol, horizon_days, cost_usd_per_share
        As for :func:`cost_of_band`.
    hedges_per_day
        n, above 0.

    Raises
    ------
    ArgumentError
        When an argument is not finite or out of its range.

    Examples
    --------
    >>> round(cost_of_clock(2.0, 500.0, 0.22, 5, 13, 0.01).cost_usd, 6)
    1.993445
    """
    refuse_below(0.0, strict=True, hedges_per_day=hedges_per_day)
    refuse_below(0.0, strict=False, horizon_days=horizon_days, cost_usd_per_share=cost_usd_per_share)
    speed = delta_speed(gamma_shares_per_usd, spot, vol)
    rehedges = horizon_days * hedges_per_day
    shares = speed * math.sqrt(1.0 / (SESSIONS_PER_YEAR * hedges_per_day)) * math.sqrt(2.0 / math.pi)
    return HedgeCost(rehedges, shares, rehedges * shares * cost_usd_per_share)


def expected_cost(
    band: HedgeBand,
    inputs: HedgeInputs,
    vol: float,
    horizon_days: float,
    cost_usd_per_share: float,
    *,
    least_fraction: float = 0.0,
) -> HedgeCost:
    """Expected cost of hedging a position with a band.

    Parameters
    ----------
    band, inputs
        The band, and the position at entry.
    vol, horizon_days, cost_usd_per_share, least_fraction
        As for :func:`cost_of_band`.
    """
    gamma, spot, smallest = inputs.gamma_shares_per_usd, inputs.spot, inputs.smallest_hedge
    if isinstance(band, ClockBand):
        a_day = inputs.trading_year_seconds / SESSIONS_PER_YEAR / band.interval_seconds(inputs)
        return cost_of_clock(gamma, spot, vol, horizon_days, a_day, cost_usd_per_share)
    # no band at all is a hedge at every wake: it is costed as one smallest hedge at a time
    width = max(band.judge(inputs).half_width_shares, 0.5 * smallest)
    rehedge_to = band.rehedge_to if isinstance(band, ChoosesTarget) else "zero"
    terms = gamma, spot, vol, horizon_days, width, cost_usd_per_share
    return cost_of_band(*terms, rehedge_to=rehedge_to, smallest_hedge=smallest, least_fraction=least_fraction)
