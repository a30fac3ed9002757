"""The expected cost of hedging over a horizon."""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from scalpdesk.core.units import SESSIONS_PER_YEAR
from scalpdesk.hedging.base import (
    Array,
    ClockBand,
    HedgeBand,
    HedgeInputs,
    RehedgeTo,
    half_widths_of,
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


N = TypeVar("N", float, Array)


def delta_speed(gamma_shares_per_usd: N, spot: float, vol: float) -> N:
    """Volatility of the position's delta, shares per square root of a year: ``|Γ|·S·σ``.

    Raises ArgumentError when an argument is not finite, the spot not above zero or the vol negative.
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
    """Expected cost of a symmetric dead band; see :func:`costs_of_band` for many positions at once.

    The delta is read as a Brownian motion of speed v. Hedged to zero, it leaves ±b after b²/v² years
    on average: ``(H/252)·v²/b²`` hedges of b shares each. Hedged to the edge it is reflected there,
    which takes ``(H/252)·v²/(2b)`` shares, half as many, in hedges of the smallest size. Hedges of less than
    c shares are not sent: the delta runs to b + c and back to b, which takes ``(H/252)·v²/(2b + c)``. Of
    whole shares one is sent from half a share on, to half a share inside: as many as at the edge.

    ``gamma_shares_per_usd``: Whole position.
    ``spot``: USD per share.
    ``vol``: Forecast volatility, per year of 252 trading days.
    ``horizon_days``: Trading days.
    ``half_width_shares``: b, whole position, above 0.
    ``cost_usd_per_share``: One-way: half spread and fees.
    ``rehedge_to``: ``zero`` or ``edge``.
    ``smallest_hedge``: One share, or the coins of one contract; above 0.
    ``least_fraction``: c/b, 0 or more: a hedge to the edge is not sent below it.
    Raises ArgumentError when an argument is not finite or out of its range.

    References
    ----------
    Borodin, A. N. and Salminen, P. (2002), Handbook of Brownian Motion, exit times and reflection.

    Examples
    --------
    >>> round(cost_of_band(2.0, 500.0, 0.22, 5, 20.0, 0.01).cost_usd, 6)
    0.480159
    """
    terms = gamma_shares_per_usd, spot, vol, horizon_days, half_width_shares, cost_usd_per_share
    found = costs_of_band(
        *terms, rehedge_to=rehedge_to, smallest_hedge=smallest_hedge, least_fraction=least_fraction
    )
    return HedgeCost(*found)


def costs_of_band(
    gamma_shares_per_usd: N,
    spot: float,
    vol: float,
    horizon_days: float,
    half_width_shares: N,
    cost_usd_per_share: float,
    *,
    rehedge_to: RehedgeTo = "zero",
    smallest_hedge: float = 1.0,
    least_fraction: float = 0.0,
) -> tuple[N, N, N]:
    """Return number of hedges, shares of each and cost of :func:`cost_of_band`, of a column of positions.

    ``gamma_shares_per_usd``, ``half_width_shares``: Of each position, whole; numbers or columns.

    Raises ArgumentError when an argument is not finite or out of its range.
    """
    refuse_below(0.0, strict=True, half_width_shares=half_width_shares, smallest_hedge=smallest_hedge)
    refuse_below(0.0, strict=False, horizon_days=horizon_days, cost_usd_per_share=cost_usd_per_share)
    refuse_below(0.0, strict=False, least_fraction=least_fraction)
    speed = delta_speed(gamma_shares_per_usd, spot, vol)
    rehedges = horizon_days / SESSIONS_PER_YEAR * (speed / half_width_shares) ** 2
    if rehedge_to == "edge":
        least = least_fraction * half_width_shares
        size = _larger(least, smallest_hedge)
        beyond = 2.0 * _larger(least, 0.5 * smallest_hedge) - size
        shares = rehedges * half_width_shares * (half_width_shares / (2.0 * half_width_shares + beyond))
        return shares / size, size, shares * cost_usd_per_share
    return rehedges, half_width_shares, rehedges * half_width_shares * cost_usd_per_share


def _larger(value: N, bound: float) -> N:
    if isinstance(value, np.ndarray):
        return np.maximum(value, bound)
    return max(value, bound)


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

    ``hedges_per_day``: n, above 0.

    Raises ArgumentError when an argument is not finite or out of its range.

    >>> round(cost_of_clock(2.0, 500.0, 0.22, 5, 13, 0.01).cost_usd, 6)
    1.993445
    """
    terms = gamma_shares_per_usd, spot, vol, horizon_days, hedges_per_day, cost_usd_per_share
    return HedgeCost(*_costs_of_clock(*terms))


def _costs_of_clock(
    gamma_shares_per_usd: N,
    spot: float,
    vol: float,
    horizon_days: float,
    hedges_per_day: float,
    cost_usd_per_share: float,
) -> tuple[float, N, N]:
    """Return number of hedges, shares of each and cost of :func:`cost_of_clock`, of a column of positions.

    Raises ArgumentError when an argument is not finite or out of its range.
    """
    refuse_below(0.0, strict=True, hedges_per_day=hedges_per_day)
    refuse_below(0.0, strict=False, horizon_days=horizon_days, cost_usd_per_share=cost_usd_per_share)
    speed = delta_speed(gamma_shares_per_usd, spot, vol)
    rehedges = horizon_days * hedges_per_day
    shares = speed * math.sqrt(1.0 / (SESSIONS_PER_YEAR * hedges_per_day)) * math.sqrt(2.0 / math.pi)
    return rehedges, shares, rehedges * shares * cost_usd_per_share


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

    ``band``, ``inputs``: The band, and the position at entry.
    """
    gamma, spot, smallest = inputs.gamma_shares_per_usd, inputs.spot, inputs.smallest_hedge
    if isinstance(band, ClockBand):
        return cost_of_clock(gamma, spot, vol, horizon_days, _hedges_a_day(band, inputs), cost_usd_per_share)
    width = _costed_width(band.judge(inputs).half_width_shares, smallest)
    terms = gamma, spot, vol, horizon_days, width, cost_usd_per_share
    to = _rehedged_to(band)
    return cost_of_band(*terms, rehedge_to=to, smallest_hedge=smallest, least_fraction=least_fraction)


class HedgedGroup(NamedTuple):
    """Positions that differ in their gamma alone."""

    inputs: HedgeInputs
    """Any position of the group; its gamma is not read."""
    gammas: Array
    """Gamma of each whole position, shares per USD."""
    vol: float
    horizon_days: float
    """``vol``, ``horizon_days``: As for :func:`cost_of_band`."""


def expected_costs(
    band: HedgeBand,
    groups: Iterable[HedgedGroup],
    cost_usd_per_share: float,
    *,
    least_fraction: float = 0.0,
) -> list[Array]:
    """Expected cost of hedging each position of some groups, as :func:`expected_cost` gives it; USD."""
    if isinstance(band, ClockBand):
        return [
            _costs_of_clock(
                group.gammas,
                group.inputs.spot,
                group.vol,
                group.horizon_days,
                _hedges_a_day(band, group.inputs),
                cost_usd_per_share,
            )[2]
            for group in groups
        ]
    to, widths_of = _rehedged_to(band), half_widths_of(band)
    found = []
    for inputs, gammas, vol, days in groups:
        widths = _costed_width(widths_of(inputs, gammas), inputs.smallest_hedge)
        costs = costs_of_band(
            gammas,
            inputs.spot,
            vol,
            days,
            widths,
            cost_usd_per_share,
            rehedge_to=to,
            smallest_hedge=inputs.smallest_hedge,
            least_fraction=least_fraction,
        )
        found.append(costs[2])
    return found


def _hedges_a_day(band: ClockBand, inputs: HedgeInputs) -> float:
    return inputs.trading_year_seconds / SESSIONS_PER_YEAR / band.interval_seconds(inputs)


def _costed_width(width: N, smallest: float) -> N:
    """Return a half width as it is costed: no band at all is one smallest hedge at every wake."""
    return _larger(width, 0.5 * smallest)


def _rehedged_to(band: HedgeBand) -> RehedgeTo:
    to: RehedgeTo = getattr(band, "rehedge_to", "zero")  # asked of a protocol it costs 20 times as much
    return to
