"""Hedging in columns: Greeks of straddles along paths, and bands walked over them.

A block has a row a path and a column a look. Column i of a path's delta, gamma and width belongs to look i;
prices have one column more, the end. What is the same on every path is a block of one row.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import exceeds
from scalpdesk.hedging.kernels.rules import (
    BILLION,
    held_between,
    is_due,
    is_last_hour,
    is_worth_sending,
    minimum_variance_addition,
    nearest_whole,
    no_narrower_than_limit,
    rehedge_target,
)
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.compiling import inner, kernel, rule
from scalpdesk.pricing.kernels.normal import INV_SQRT_2PI, bell_quick, tail_over_density

Instants = NDArray[np.int64]
Flags = NDArray[np.bool_]
AHEAD = 32
"""Looks that are passed over at once where no net delta is beyond its width."""
PARTS = 5
"""Columns of a walk's answer: P&L of the shares before costs, costs, hedges, shares traded, largest net delta
beyond the width."""


@kernel
def raise_to_limit(
    fitted: Floats, limit: Floats, gamma: Floats, spot: Floats, cost_fraction: Floats, risk_aversion: float
) -> None:
    """Hold Zakamouline's half widths at their limit, in place."""
    for i in range(fitted.size):
        fitted[i] = no_narrower_than_limit(
            fitted[i], limit[i], gamma[i], spot[i], cost_fraction[i], risk_aversion
        )


@kernel
def hold_widths(width: Floats, years: Floats, floor: float, cap: float, last_hour: float) -> None:
    """Hold a block of half widths (shares) within the limits of a formula's band, in place.

    In the last hour the fixed width stands; ``years`` has a column a look.
    """
    for row in range(width.shape[0]):
        for i in range(width.shape[1]):
            width[row, i] = last_hour if is_last_hour(years[i]) else held_between(width[row, i], floor, cap)


@kernel
def add_minimum_variance(
    delta: Floats,
    spot: Floats,
    strike: float,
    years: Floats,
    vol: Floats,
    units: float,
    a: float,
    b: float,
    c: float,
) -> None:
    """Add to straddles' deltas, in place, what makes them Hull and White's of least variance.

    ``units`` counts call and put together; ``vol`` has a row or a row a path.
    """
    for row in range(delta.shape[0]):
        of = row if vol.shape[0] > 1 else 0
        for i in range(delta.shape[1]):
            delta[row, i] += units * minimum_variance_addition(
                spot[row, i], strike, years[i], vol[of, i], a, b, c
            )


@inner
def straddle_row(
    spot: Floats,
    log_spot: Floats,
    deviation: Floats,
    shift: Floats,
    units: float,
    delta: Floats,
    gamma: Floats,
) -> None:
    """Delta and gamma of a straddle at each look of a path, in vector instructions.

    ``spot``, ``log_spot``: Price, and the logarithm of it over the strike.
    ``deviation``, ``shift``: ``σ·√τ``, and what ``ln(S/K)/(σ√τ)`` lacks of d1: ``(r/σ + σ/2)·√τ``.
    ``units``: Straddles times their multiplier, signed.
    """
    for i in range(delta.size):
        d = log_spot[i] / deviation[i] + shift[i]
        density = INV_SQRT_2PI * bell_quick(d)
        tail = density * tail_over_density(d)
        half = 0.5 - tail
        delta[i] = 2.0 * units * (half if d > 0.0 else -half)
        gamma[i] = 2.0 * units * density / (spot[i] * deviation[i])


@kernel
def fill_straddles(
    spot: Floats,
    log_spot: Floats,
    deviation: Floats,
    shift: Floats,
    units: float,
    delta: Floats,
    gamma: Floats,
) -> None:
    """Delta and gamma of a straddle on every path, as :func:`straddle_row`; deviations of a row or of all."""
    for row in range(delta.shape[0]):
        of = row if deviation.shape[0] > 1 else 0
        straddle_row(spot[row], log_spot[row], deviation[of], shift[of], units, delta[row], gamma[row])


@rule
def steps_to(net: float, target: float, step: float) -> float:
    """Return the steps from a net delta to its target, ties away from zero; all of it where step is 0."""
    if step == 0.0:
        return target - net
    steps = nearest_whole((target - net) / step)
    if steps == steps:  # noqa: PLR0124 - a call less
        return steps
    missing: float = (np.rint(target / step * BILLION) - np.rint(net / step * BILLION)) / BILLION
    whole = math.floor(abs(missing) + 0.5)
    return whole if missing > 0.0 else -whole


@inner
def next_outside(delta: Floats, width: Floats, row: int, wide: int, first: int, owned: float) -> int:
    """Return the first look from ``first`` on whose net delta is beyond its width; their number without one.

    Looks are compared many at once in vector instructions, a third of the time of a look at a time
    (``benchmarks/cases/band_lab.py``); only where one may be outside is the rule itself asked. Unsigned
    indices cannot be negative, which lets the compiler use those instructions.
    """
    looks = delta.shape[1]
    path, line = np.uint64(row), np.uint64(wide)
    while first + AHEAD <= looks:
        beyond = 0
        for j in range(AHEAD):
            at = np.uint64(first + j)
            beyond += 1 if abs(delta[path, at] + owned) > width[line, at] else 0
        if beyond > 0:
            break
        first += AHEAD
    while first < looks and not exceeds(abs(delta[row, first] + owned), width[wide, first]):
        first += 1
    return first


@kernel
def walk(
    now_ns: Instants,
    spot: Floats,
    half_spread: Floats,
    discount: Floats,
    delta: Floats,
    width: Floats,
    to_edge: Flags,
    interval: Floats,
    since_ns: int,
    skips_small: bool,
    least_fraction: float,
    least_steps: Floats,
    step: float,
    splits: bool,
    out: Floats,
    trace: Floats,
) -> int:
    """Hedge every path of a block with one band, and close the shares at its end.

    ``now_ns``: Instant of each look.
    ``spot``, ``half_spread``, ``discount``: Price, and what a share costs one way (both with the end), and
    the factor of each column to the start.
    ``delta``, ``width``: Delta of the options, shares, and the half width of the band; the latter of one row
    or of all.
    ``to_edge``: Whether a delta outside goes to the edge, at each look.
    ``interval``, ``since_ns``: Seconds that must have passed since the last hedge (a row or all), and since
    when the first counts.
    ``skips_small``: Whether a net delta of less than a step is left alone, however wide the band.
    ``least_fraction``, ``least_steps``: A hedge of less than this part of the half width, or of so many
    steps, is not sent.
    ``step``: Smallest trade, shares; 0 trades any fraction.
    ``splits``: Whether an order that would turn the holding's sign is split at zero.
    ``out``: A row a path of :data:`PARTS` figures.
    ``trace``: Look and signed shares of each hedge, as far as it reaches.

    Returns the hedges of all paths.
    """
    end = delta.shape[1]
    unit = step if step > 0.0 else 1.0
    seen = 0
    for row in range(delta.shape[0]):
        wide = row if width.shape[0] > 1 else 0
        apart = row if interval.shape[0] > 1 else 0
        owned = gross = cost = hedges = shares = peak = 0.0
        last_ns, sent_ns = since_ns, -1
        i = next_outside(delta, width, row, wide, 0, owned)
        while i < end:
            net = delta[row, i] + owned
            peak = max(peak, abs(net))
            is_small = skips_small and abs(net) < step
            # of one instant's looks the first hedge counts
            if (
                now_ns[i] != sent_ns
                and is_due((now_ns[i] - last_ns) / BILLION, interval[apart, i])
                and not is_small
            ):
                half_width = width[wide, i]
                target = rehedge_target(net, half_width, to_edge[i])
                fraction = least_fraction
                while True:
                    steps = steps_to(net, target, step)
                    if not is_worth_sending(net - target, half_width, fraction, steps, least_steps[i]):
                        break
                    part = steps
                    if splits and owned * steps < 0.0 and abs(steps) * unit > abs(owned):
                        part = -owned / unit  # the holding does not cross zero in one order
                    quantity = part * unit
                    owned += quantity
                    gross -= quantity * spot[row, i] * discount[i]
                    cost += abs(quantity) * half_spread[row, i] * discount[i]
                    hedges += 1.0
                    shares += abs(quantity)
                    if seen < trace.shape[0]:
                        trace[seen, 0] = i
                        trace[seen, 1] = quantity
                    seen += 1
                    sent_ns = now_ns[i]
                    if part == steps:
                        last_ns = now_ns[i]
                        break
                    fraction = 0.0  # the second order goes from a fresh delta, however small
                    net = delta[row, i] + owned
                    if exceeds(abs(net), half_width):
                        target = rehedge_target(net, half_width, to_edge[i])
            i = next_outside(delta, width, row, wide, i + 1, owned)
        gross += owned * spot[row, end] * discount[end]
        cost += abs(owned) * half_spread[row, end] * discount[end]
        out[row, 0] = gross
        out[row, 1] = cost
        out[row, 2] = hedges
        out[row, 3] = shares
        out[row, 4] = peak
    return seen


@kernel
def walk_straddles(
    now_ns: Instants,
    spot: Floats,
    log_spot: Floats,
    half_spread: Floats,
    discount: Floats,
    deviation: Floats,
    shift: Floats,
    units: float,
    widths: Floats,
    step: float,
    out: Floats,
) -> None:
    """Hedge every path to zero beyond each of several fixed widths, computing the Greeks for each.

    ``out`` has a row a path and width, the widths of a path one after the other. This is the work that the
    benchmark counts; the lab itself shares its columns.
    """
    looks = now_ns.size
    delta, gamma, width = np.empty((1, looks)), np.empty((1, looks)), np.empty((1, looks))
    to_edge, interval, least = np.zeros(looks, np.bool_), np.zeros((1, looks)), np.ones(looks)
    trace = np.empty((0, 2))
    for row in range(spot.shape[0]):
        for place in range(widths.size):
            straddle_row(spot[row], log_spot[row], deviation, shift, units, delta[0], gamma[0])
            width[:] = widths[place]
            found = row * widths.size + place
            walk(
                now_ns,
                spot[row : row + 1],
                half_spread[row : row + 1],
                discount,
                delta,
                width,
                to_edge,
                interval,
                0,
                False,
                0.0,
                least,
                step,
                False,
                out[found : found + 1],
                trace,
            )


@kernel
def walk_ladder(
    spot: Floats,
    high: Floats,
    low: Floats,
    half_spread: Floats,
    discount: Floats,
    delta: Floats,
    gamma: Floats,
    width: Floats,
    rung: float,
    through: float,
    out: Floats,
) -> None:
    """Hedge every path with limit orders that rest where the delta will be at the band's edges.

    At each look orders of ``rung`` shares are laid where, by the gamma of the look, the net delta will be at
    the edge, and behind one another as far as the price runs until the next look. A delta that is outside at
    the look itself by a rung crosses the spread, and so does every hedge while gamma is not above zero, for
    which no limit order hedges. The extreme away from the next price comes first.

    ``high``, ``low``: Extremes of the price between each look and the next.
    ``gamma``, ``width``: Gamma of the options, shares per currency, and the half width (of one row or of
    all).
    ``rung``: Shares of an order.
    ``through``: Half spreads by which the mid goes through an order before it is filled, at its own price.
    """
    for row in range(delta.shape[0]):
        wide = row if width.shape[0] > 1 else 0
        owned = gross = cost = hedges = shares = peak = 0.0
        end = delta.shape[1]
        for i in range(end):
            net = delta[row, i] + owned
            price, edge, speed = spot[row, i], width[wide, i], gamma[row, i]
            paid = half_spread[row, i]
            beyond = abs(net) - edge
            if beyond > 0.0:
                peak = max(peak, abs(net))
            if beyond >= rung:
                quantity = -math.copysign(math.floor(beyond / rung) * rung, net)
                owned += quantity
                net += quantity
                gross -= quantity * price * discount[i]
                cost += abs(quantity) * paid * discount[i]
                hedges += 1.0
                shares += abs(quantity)
            if speed <= 0.0:
                continue
            first = -1.0 if spot[row, i + 1] > price else 1.0
            for turn in range(2):
                side = first if turn == 0 else -first
                extreme = high[row, i] if side > 0.0 else low[row, i]
                while True:
                    # the mid at which an order is filled that rests where the delta reaches the edge
                    met = price + side * (max(edge - side * net, 0.0) / speed + through * paid)
                    if side * (extreme - met) < 0.0:
                        break
                    owned -= side * rung
                    net -= side * rung
                    gross += side * rung * met * discount[i]
                    cost += rung * through * paid * discount[i]
                    hedges += 1.0
                    shares += rung
        gross += owned * spot[row, end] * discount[end]
        cost += abs(owned) * half_spread[row, end] * discount[end]
        out[row, 0] = gross
        out[row, 1] = cost
        out[row, 2] = hedges
        out[row, 3] = shares
        out[row, 4] = peak
