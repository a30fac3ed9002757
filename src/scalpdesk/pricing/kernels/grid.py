"""Finite differences: cash dividends, and the continuous-yield cases outside the boundary method.

Slow to compile, so no fast path depends on it.

Crank–Nicolson in time, four implicit half steps after every kink (Rannacher 1984), extrapolated from two
numbers of steps. In the logarithm of the state a compact scheme of fourth order: its coefficients are
constant, so it stays tridiagonal. Kinks are spread over six nodes such that this order is kept (Kreiss,
Thomée and Widlund 1970).

Puts lie on an ascending grid, calls, counted in shares, on a descending one: both are exercised at its lower
end. So the elimination begins at the upper end, with factors that do not depend on the exercise boundary
(Brennan and Schwartz 1977). Between two nodes the boundary is found from the parabola by which the value
leaves the payoff.

An elimination waits for each node's result before the next. So ``LANES`` options of one expiry, side and
schedule, each with its own strike, volatility and rates, march side by side in one flat buffer, the lane
innermost: vector code takes the time of one. No lane reads another.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels.american_iv import bounds_verdict
from scalpdesk.pricing.kernels.black_iv import BAD, BELOW, OK, european_iv
from scalpdesk.pricing.kernels.boundary import NEVER, exercise_kind
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import (
    certain_greeks,
    european_dividend_greeks,
    european_greeks,
    european_price,
    expired_greeks,
)
from scalpdesk.pricing.kernels.normal import (
    INV_SQRT_2PI,
    Nine,
    bell_quick,
    exp_quick,
    row_of,
    tail_over_density,
)

HALF = 200  # nodes on each side of the centre
NODES = 2 * HALF + 1
_GRID_STEPS = 48  # over the whole time, of the coarser of the two numbers of steps
_LEAST_STEPS = 4  # between two dates
_MOST_REFINED = 30.0  # multiple of _GRID_STEPS
PIECES, GRADING = 4, 4.0  # after a kink the time is cut in pieces, each so much longer than the one before
_CERTAIN = 2e4  # drift over volatility, times the root of the years: above, the best fixed time is the value
WIDEST = 300.0  # of ln S to a side
_WILD = 3.0  # v·sqrt(T) above which all steps are implicit: nothing but a bounded price matters there
VOL_BUMP = 0.01  # of the volatility: for vega, volga, vanna
RATE_BUMP = 1e-4

LANES = 16
SETTLED = 2e-16  # change of a factor of the elimination from node to node that is rounding
ROW = NODES * LANES
# rows with a number for each node and lane
VALUE, PIVOT, AHEAD, BASE, SLACK, STATE = (row * ROW for row in range(6))
# rows with a number for each lane: the option, the scheme of an interval, and the step
_LANE_ROWS = 6 * ROW
(CENTRE, STRIKE, VOL, RATE, YIELD, STEP, LOG_FIRST, LOG_LAST) = (_LANE_ROWS + row * LANES for row in range(8))
(MASS_LOW, MASS_MID, MASS_HIGH, LOW, MID, HIGH, LOWER, OWN, UPPER, BENDS, TWO_EDGES) = (
    _LANE_ROWS + row * LANES for row in range(8, 19)
)
(BY_LOW, BY_MID, BY_HIGH, GROWTH, NET, FIRST_VALUE, LAST_VALUE, BELOW_NODE) = (
    _LANE_ROWS + row * LANES for row in range(19, 27)
)
(ACTIVE, HELD, FIRST, END, EDGE, BENT) = (_LANE_ROWS + row * LANES for row in range(27, 33))
ROOM = _LANE_ROWS + 33 * LANES


class CashTerms(NamedTuple):
    """Cash dividends of options, and how they are priced with them."""

    times: Floats
    """Years to the ex-dates, ascending."""
    amounts: Floats
    spot_model: bool
    """The spot itself is lognormal between dividends and drops by each; otherwise (the escrowed model) the
    spot less the value of its coming dividends is lognormal.
    """
    american: bool


class Course(NamedTuple):
    """What the lanes of a march have in common."""

    phi: float
    years: float
    between: bool
    """Exercise is worth while at other times than ex-dates."""
    steps: float
    """Steps in time, of the coarser of two numbers."""
    is_wild: bool


Four: TypeAlias = tuple[float, float, float, float]
U = np.uint64
"""Indices of the loops over nodes and lanes: signed ones may count from the end, and are not vectorised."""


@inner
def dividends_ahead(now: float, T: float, r: float, cash: CashTerms, including: bool) -> float:
    """Value at ``now`` of the later dividends up to ``T`` (``including`` one that is ex at ``now``)."""
    total = 0.0
    times, amounts = cash.times, cash.amounts
    for k in range(times.size):
        if 0.0 < times[k] <= T and (times[k] > now or (including and times[k] == now)):
            total += amounts[k] * math.exp(-r * (times[k] - now))
    return total


@inner
def spread_ramp(z: float) -> float:
    """Return what spreading a ramp max(z, 0) adds ``z`` nodes from its kink.

    It is spread by a cubic spline, sharpened to fourth order.
    """
    total = 0.0
    for side in range(-1, 2):
        binomial = 1.0
        for k in range(5):
            reach = z + side + 2.0 - k
            if reach > 0.0:
                total += (8.0 if side == 0 else -1.0) * binomial * reach**5
            binomial *= (k - 4.0) / (k + 1.0)
    return total / 720.0 - max(z, 0.0)


@inner
def spread_kink(V: Floats, at: float, jump: float) -> None:
    """Spread a kink at fractional index ``at``, where the slope per node rises by ``jump``."""
    for i in range(max(math.ceil(at) - 3, 0), min(math.ceil(at) + 3, V.size)):
        V[i] += jump * spread_ramp(i - at)


@inner
def interpolate(V: Floats, at: float) -> float:
    """Six-point Lagrange interpolation of ``V`` at fractional index ``at``, constant beyond the ends."""
    if at <= 0.0:
        return float(V[0])
    if at >= V.size - 1:
        return float(V[V.size - 1])
    i = min(max(int(at) - 2, 0), V.size - 6)
    total = 0.0
    for j in range(6):
        share = V[i + j]
        for k in range(6):
            if k != j:
                share *= (at - i - k) / (j - k)
        total += share
    return total


@inner
def exercise_on_grid(V: Floats, floor: Floats) -> None:
    """Raise ``V`` to the exercise value, with the kinks where they cross spread."""
    gap = floor - V
    for i in range(V.size):
        V[i] = max(V[i], floor[i])
    for i in range(1, V.size):
        if gap[i - 1] * gap[i] < 0.0:
            low, high = i - 1.0, float(i)
            before, after = gap[i - 1], gap[i]
            at = low
            for _ in range(8):  # regula falsi, Illinois
                at = low - before * (high - low) / (after - before)
                found = interpolate(gap, at)
                if found * after < 0.0:
                    low, before = high, after
                else:
                    before *= 0.5
                high, after = at, found
            spread_kink(V, at, abs(interpolate(gap, at + 0.5) - interpolate(gap, at - 0.5)))


@inner
def drop_on_grid(V: Floats, phi: float, X: Floats, dx: float, cash: float, discount: float) -> None:
    """Value just before a dividend of ``cash`` in the spot model: the value after it at the reduced spot."""
    after = V.copy()
    least = min(X[0], X[X.size - 1])
    lowest = after[0] if phi < 0.0 else after[X.size - 1]
    for i in range(V.size):
        left = X[i] - cash
        share = 1.0 if phi < 0.0 else max(left, 0.0) / X[i]
        if left > least:
            V[i] = share * interpolate(after, phi * math.log(X[0] / left) / dx)
        elif phi < 0.0:
            V[i] = lowest + (least - max(left, 0.0)) * discount
        else:
            V[i] = share * lowest


@inner
def payoff_at(phi: float, x: float, strike: float) -> float:
    """Value of exercise at the state ``x``, of calls in shares."""
    return strike - x if phi < 0.0 else 1.0 - strike / x


@inner
def gain_at(phi: float, x: float, K: float, r: float, q: float) -> float:
    """Interest on the strike less yield on the share that exercise earns per year, of calls in shares."""
    return max(r * K - q * x if phi < 0.0 else q - r * K / x, 0.0)


@inner
def begin_interval(
    w: Floats, n: int, course: Course, cash: CashTerms, start: float, implicit: float
) -> tuple[int, bool]:
    """Fill in each lane's scheme and elimination.

    ``cash.american``: exercise at any time of the interval. Returns the node from which on down the factors
    of the elimination do not change, and whether a lane may have two exercise boundaries.
    """
    phi, T = course.phi, course.years
    two_edges = False
    for m in range(n):
        K, v, r, q, dx = w[STRIKE + m], w[VOL + m], w[RATE + m], w[YIELD + m], w[STEP + m]
        half_var = 0.5 * v * v
        # a call is counted in shares: the mirrored put, with rate and yield exchanged
        fade = r if phi < 0.0 else q
        # of fourth order, unless the steps are so short that the matrix could not be solved with exercise
        mass = min(1.0 / 12.0, half_var * implicit / (dx * dx))
        m_low, m_mid, m_high = mass + 0.5 * mass * dx, 1.0 - 2.0 * mass, mass - 0.5 * mass * dx
        bend = half_var * (1.0 / (dx * dx) + mass)
        low = bend + 0.5 * half_var / dx - fade * m_low
        mid = -2.0 * bend - fade * m_mid
        high = bend - 0.5 * half_var / dx - fade * m_high
        a, b, c = m_low - implicit * low, m_mid - implicit * mid, m_high - implicit * high
        w[MASS_LOW + m], w[MASS_MID + m], w[MASS_HIGH + m] = m_low, m_mid, m_high
        w[LOW + m], w[MID + m], w[HIGH + m] = low, mid, high
        w[LOWER + m], w[OWN + m], w[UPPER + m] = a, b, c
        # else the drift carries the boundary over nodes faster than they mix
        w[BENDS + m] = 1.0 if abs(r - q) * dx < half_var else 0.0
        # far inside, what exercise gains vanishes: a dividend to come, or a negative rate, is worth more
        w[TWO_EDGES + m] = 1.0 if cash.american and (q if phi < 0.0 else r) < 0.0 else 0.0
        two_edges = two_edges or w[TWO_EDGES + m] > 0.0
        w[EDGE + m], w[BENT + m], w[FIRST + m], w[END + m] = 0.0, 0.0, 0.0, 0.0
        w[NET + m] = K - (0.0 if cash.spot_model else dividends_ahead(start, T, r, cash, True))
        w[GROWTH + m] = math.exp((r - q) * start)
        w[PIVOT + (NODES - 1) * LANES + m] = 0.0
    flat, is_moving = NODES - 1, True
    while is_moving and flat > 1:
        flat -= 1
        row = U(flat * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            above = w[U(PIVOT + LANES) + to]
            pivot = 1.0 / (w[U(OWN) + u] - w[U(LOWER) + u] * w[U(UPPER) + u] * above)
            w[U(PIVOT) + to] = above if abs(pivot - above) <= SETTLED * pivot else pivot
        is_moving = False
        for at in range(PIVOT + flat * LANES, PIVOT + flat * LANES + n):
            if w[at] != w[at + LANES]:
                is_moving = True
                break
    if not cash.american:
        return flat, two_edges
    for i in range(NODES):
        row = U(i * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            # where a kink was spread, the value may be below that of exercise
            payoff = payoff_at(phi, w[U(STATE) + to] * w[U(GROWTH) + u], w[U(NET) + u])
            w[U(SLACK) + to] = min(w[U(VALUE) + to] - payoff, 0.0)
    return flat, two_edges


@inner
def quick_price(phi: float, level: float, left: float, v: float, r: float, q: float) -> float:
    """European price over the strike at ``level``, ln(spot/strike): to 1e-13, without a branch or a call."""
    sd = v * math.sqrt(left)
    d1 = phi * ((level + (r - q) * left) / sd + 0.5 * sd)
    d2 = d1 - phi * sd
    one = INV_SQRT_2PI * bell_quick(d1) * tail_over_density(d1)
    two = INV_SQRT_2PI * bell_quick(d2) * tail_over_density(d2)
    one = one if d1 < 0.0 else 1.0 - one
    two = two if d2 < 0.0 else 1.0 - two
    return max(phi * (exp_quick(level - q * left) * one - exp_quick(-r * left) * two), 0.0)


@inner
def fill_ends(w: Floats, n: int, phi: float, logs: int, values: int, left: float, t: float) -> None:
    """European value ``left`` years before expiry at an end of the grid, ln(state/strike) in ``logs``."""
    for lane in range(n):
        u = U(lane)
        K, v, r, q = w[U(STRIKE) + u], w[U(VOL) + u], w[U(RATE) + u], w[U(YIELD) + u]
        level = w[U(logs) + u] + (r - q) * t
        share = K if phi < 0.0 else exp_quick(-level)
        w[U(values) + u] = quick_price(phi, level, left, v, r, q) * share


@inner
def begin_step(
    w: Floats, n: int, course: Course, cash: CashTerms, t: float, implicit: float, explicit: float
) -> bool:
    """Fill in each lane's numbers of a step to ``t``; return whether a lane is exercised at the lower end."""
    phi, T = course.phi, course.years
    is_any = False
    fill_ends(w, n, phi, LOG_FIRST, FIRST_VALUE, T - t, t)
    fill_ends(w, n, phi, LOG_LAST, LAST_VALUE, T - t, t)
    for m in range(n):
        K, v, r, q = w[STRIKE + m], w[VOL + m], w[RATE + m], w[YIELD + m]
        w[BY_LOW + m] = w[MASS_LOW + m] + explicit * w[LOW + m]
        w[BY_MID + m] = w[MASS_MID + m] + explicit * w[MID + m]
        w[BY_HIGH + m] = w[MASS_HIGH + m] + explicit * w[HIGH + m]
        growth, later = math.exp((r - q) * t), dividends_ahead(t, T, r, cash, False)
        w[GROWTH + m] = growth
        w[NET + m] = K if cash.spot_model else K - later
        x = w[STATE + m] * growth, w[STATE + (NODES - 1) * LANES + m] * growth
        if cash.spot_model and later > 0.0:
            for end in range(2):
                value = european_price(phi, max(x[end] - later, 0.0), K, T - t, v, r, q)
                w[(FIRST_VALUE, LAST_VALUE)[end] + m] = value / (1.0 if phi < 0.0 else x[end])
        below = cash.american and w[FIRST_VALUE + m] <= payoff_at(phi, x[0], w[NET + m])
        if below:
            w[FIRST_VALUE + m] = payoff_at(phi, x[0], w[NET + m])
        if cash.american:
            w[LAST_VALUE + m] = max(w[LAST_VALUE + m], payoff_at(phi, x[1], w[NET + m]))
        if course.is_wild and cash.american and phi < 0.0:  # the state is next to nothing: interest matters
            before = math.exp(-r * (implicit + explicit)) * w[VALUE + m]
            w[FIRST_VALUE + m] = max(w[FIRST_VALUE + m], before)
        w[BELOW_NODE + m] = 1.0 if below else 0.0
        w[ACTIVE + m] = 1.0 if below or w[TWO_EDGES + m] > 0.0 else 0.0
        is_any = is_any or w[ACTIVE + m] > 0.0
    return is_any


@inner
def explicit_side(w: Floats, n: int, phi: float, top: int, implicit: float, explicit: float) -> None:
    """Explicit side of a step up to node ``top``, where nodes may have been exercised, into AHEAD."""
    part = explicit / (implicit + explicit)
    for i in range(1, top + 1):
        row, place = U(i * LANES), float(i)
        for lane in range(n):
            u = U(lane)
            to = row + u
            below, here, above = w[U(VALUE) + to - U(LANES)], w[U(VALUE) + to], w[U(VALUE + LANES) + to]
            free = w[U(BY_LOW) + u] * below + w[U(BY_MID) + u] * here + w[U(BY_HIGH) + u] * above
            payoff = payoff_at(phi, w[U(STATE) + to] * w[U(GROWTH) + u], w[U(NET) + u]) + w[U(SLACK) + to]
            held = w[U(MASS_LOW) + u] * below + w[U(MASS_MID) + u] * here + w[U(MASS_HIGH) + u] * above
            held += (payoff - here) * part
            is_held = (w[U(FIRST) + u] <= place) & (place < w[U(END) + u])
            w[U(AHEAD) + to] = held if is_held else free
    for m in range(n):
        edge = int(w[EDGE + m])
        if edge > 0:
            w[AHEAD + edge * LANES + m] += explicit * w[BENT + m]


@inner
def eliminate(w: Floats, n: int, top: int, flat: int) -> None:
    """Eliminate from the upper end down into AHEAD; up to node ``top`` the explicit side is there already."""
    for m in range(n):
        at = (NODES - 2) * LANES + m
        base = w[BY_LOW + m] * w[VALUE + at - LANES] + w[BY_MID + m] * w[VALUE + at]
        base += w[BY_HIGH + m] * w[VALUE + at + LANES]
        if top >= NODES - 2:
            base = w[AHEAD + at]
        w[AHEAD + at] = (base - w[UPPER + m] * w[LAST_VALUE + m]) * w[PIVOT + at]
    for i in range(NODES - 3, top, -1):
        row, factors = U(i * LANES), U(PIVOT + max(i, flat) * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            base = w[U(BY_LOW) + u] * w[U(VALUE) + to - U(LANES)] + w[U(BY_MID) + u] * w[U(VALUE) + to]
            base += w[U(BY_HIGH) + u] * w[U(VALUE + LANES) + to]
            pivot = w[factors + u]
            w[U(AHEAD) + to] = base * pivot - w[U(UPPER) + u] * pivot * w[U(AHEAD + LANES) + to]
    for i in range(min(top, NODES - 3), 0, -1):
        row, factors = U(i * LANES), U(PIVOT + max(i, flat) * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            pivot = w[factors + u]
            above = w[U(UPPER) + u] * pivot * w[U(AHEAD + LANES) + to]
            w[U(AHEAD) + to] = w[U(AHEAD) + to] * pivot - above


@inner
def leave(w: Floats, phi: float, implicit: float, i: int, m: int, flat: int) -> bool:
    """Give a lane its first value that is not of exercise; return whether a second region may follow."""
    at = i * LANES + m
    x = w[STATE + at] * w[GROWTH + m]
    payoff = payoff_at(phi, x, w[NET + m]) + w[SLACK + at]
    excess = w[VALUE + at] - payoff
    gain = gain_at(phi, x, w[STRIKE + m], w[RATE + m], w[YIELD + m])
    pivot = w[PIVOT + max(i, flat) * LANES + m]
    spare = 0.5 * pivot * implicit * gain * (w[BELOW_NODE + m] * w[BENDS + m])
    if spare > 0.0:
        # the value leaves the payoff as a parabola: where does it touch, in nodes below this one
        parabola = gain * (w[STEP + m] / w[VOL + m]) ** 2
        root = math.sqrt(max(spare * spare + (parabola - spare) * (spare + excess), 0.0))
        touch = (spare + excess) / (spare + root)
        if touch < 1.0:
            w[EDGE + m], w[BENT + m] = float(i), 0.5 * gain * (1.0 - touch) ** 2
            excess = parabola * touch * touch
    w[VALUE + at] = payoff + excess
    return bool(w[TWO_EDGES + m] > 0.0 and w[FIRST + m] >= NODES)


@inner
def substitute(w: Floats, n: int, phi: float, implicit: float, is_any: bool, flat: int) -> int:
    """Values from the lower end up, held at exercise; return the highest node that exercise has changed."""
    for m in range(n):
        w[FIRST + m], w[END + m], w[EDGE + m], w[BENT + m] = float(NODES), 0.0, 0.0, 0.0
        w[VALUE + m] = w[FIRST_VALUE + m]
        w[VALUE + (NODES - 1) * LANES + m] = w[LAST_VALUE + m]
    i = 1
    while is_any and i < NODES - 1:
        row, place, factors = U(i * LANES), float(i), U(PIVOT + max(i, flat) * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            pivot = w[factors + u]
            x = w[U(STATE) + to] * w[U(GROWTH) + u]
            free = w[U(AHEAD) + to] - w[U(LOWER) + u] * pivot * w[U(VALUE) + to - U(LANES)]
            payoff = payoff_at(phi, x, w[U(NET) + u]) + w[U(SLACK) + to]
            gain = gain_at(phi, x, w[U(STRIKE) + u], w[U(RATE) + u], w[U(YIELD) + u])
            spare = 0.5 * pivot * implicit * gain * (w[U(BELOW_NODE) + u] * w[U(BENDS) + u])
            is_held = (w[U(ACTIVE) + u] > 0.0) & (free - payoff + spare <= 0.0)
            w[U(VALUE) + to] = payoff if is_held else free
            w[U(HELD) + u] = 1.0 if is_held else 0.0
        is_any = False
        for m in range(n):
            if w[ACTIVE + m] > 0.0:
                if w[HELD + m] > 0.0:
                    w[FIRST + m], w[END + m] = min(w[FIRST + m], place), place + 1.0
                    is_any = True
                elif leave(w, phi, implicit, i, m, flat):
                    is_any = True
                else:
                    w[ACTIVE + m] = 0.0
                w[BELOW_NODE + m] = w[HELD + m]
        i += 1
    for k in range(i, NODES - 1):
        row, factors = U(k * LANES), U(PIVOT + max(k, flat) * LANES)
        for lane in range(n):
            u = U(lane)
            to = row + u
            lower = w[U(LOWER) + u] * w[factors + u] * w[U(VALUE) + to - U(LANES)]
            w[U(VALUE) + to] = w[U(AHEAD) + to] - lower
    top = 0.0
    for m in range(n):
        top = max(top, w[END + m] - 1.0, w[EDGE + m])
    return int(top)


@inner
def hold_from_below(w: Floats, phi: float, m: int, flat: int) -> None:
    """Hold a lane's value below its exercised nodes, too: there the elimination starts at the lower end."""
    first = int(w[FIRST + m])
    if not 1 < first < NODES:
        return
    a, c = w[LOWER + m], w[UPPER + m]
    for i in range(1, first):
        at = i * LANES + m
        before = w[VALUE + m] if i == 1 else w[AHEAD + at - LANES]
        pivot = w[PIVOT + max(NODES - 1 - i, flat) * LANES + m]
        w[AHEAD + at] = (w[BASE + at] - a * before) * pivot
    for i in range(first - 1, 0, -1):
        at = i * LANES + m
        payoff = payoff_at(phi, w[STATE + at] * w[GROWTH + m], w[NET + m]) + w[SLACK + at]
        pivot = w[PIVOT + max(NODES - 1 - i, flat) * LANES + m]
        w[VALUE + at] = w[AHEAD + at] - c * pivot * w[VALUE + at + LANES]
        if w[FIRST + m] == i + 1 and w[VALUE + at] <= payoff:
            w[VALUE + at], w[FIRST + m] = payoff, float(i)


@inner
def march(
    w: Floats, n: int, course: Course, cash: CashTerms, start: float, until: float, count: int, damped: bool
) -> None:
    """Step all lanes back from ``start`` to ``until``, an interval without an ex-date inside.

    ``count`` steps; ``damped`` begins with implicit ones, as after a kink. The states in STATE are those at
    time 0; those of a node grow at rate less yield, so that the scheme has no drift.
    """
    implicit = 0.5 * (start - until) / count
    flat, two_edges = begin_interval(w, n, course, cash, start, implicit)
    halves = 4 if damped else 0
    steps = 2 * count if course.is_wild else count + halves // 2
    t, top = start, 0
    for step in range(steps):
        # the first two steps are halved and implicit (Rannacher 1984); the last ends exactly at a dividend
        explicit = 0.0 if step < halves or course.is_wild else implicit
        t = until if step == steps - 1 else t - implicit - explicit
        is_any = begin_step(w, n, course, cash, t, implicit, explicit)
        if two_edges:
            top = NODES - 2
        explicit_side(w, n, course.phi, top, implicit, explicit)
        if two_edges:
            w[BASE : BASE + ROW] = w[AHEAD : AHEAD + ROW]
        eliminate(w, n, top, flat)
        top = substitute(w, n, course.phi, implicit, is_any, flat)
        if two_edges:
            for m in range(n):
                if w[TWO_EDGES + m] > 0.0:
                    hold_from_below(w, course.phi, m, flat)


@inner
def lane_of(w: Floats, row: int, m: int) -> Floats:
    """Copy of a lane's nodes."""
    lane = np.empty(NODES)
    for i in range(NODES):
        lane[i] = w[row + i * LANES + m]
    return lane


@inner
def begin_lanes(w: Floats, n: int, course: Course) -> None:
    """Fill in each lane's states and its payoff at expiry, with the kink spread."""
    phi, T = course.phi, course.years
    for m in range(n):
        w[GROWTH + m] = math.exp((w[RATE + m] - w[YIELD + m]) * T)
        level = math.log(w[CENTRE + m] / w[STRIKE + m])
        w[LOG_FIRST + m] = level + phi * HALF * w[STEP + m]
        w[LOG_LAST + m] = level - phi * HALF * w[STEP + m]
    for i in range(NODES):
        row, place = U(i * LANES), phi * float(HALF - i)
        for lane in range(n):
            u = U(lane)
            state = w[U(CENTRE) + u] * exp_quick(place * w[U(STEP) + u])
            w[U(STATE) + row + u] = state
            w[U(VALUE) + row + u] = max(payoff_at(phi, state * w[U(GROWTH) + u], w[U(STRIKE) + u]), 0.0)
    for m in range(n):
        K, dx = w[STRIKE + m], w[STEP + m]
        V, first = lane_of(w, VALUE, m), w[LOG_FIRST + m] + (w[RATE + m] - w[YIELD + m]) * T
        spread_kink(V, phi * first / dx, (K if phi < 0.0 else 1.0) * dx)
        for i in range(NODES):
            w[VALUE + i * LANES + m] = V[i]


@inner
def go_ex(w: Floats, n: int, course: Course, cash: CashTerms, event: int) -> None:
    """Pass the lanes from just after a dividend to just before it."""
    phi, T, now = course.phi, course.years, cash.times[event]
    for m in range(n):
        K, r = w[STRIKE + m], w[RATE + m]
        V = lane_of(w, VALUE, m)
        grown = lane_of(w, STATE, m) * math.exp((r - w[YIELD + m]) * now)
        if cash.spot_model:
            discount = 1.0 if cash.american else math.exp(-r * (T - now))
            drop_on_grid(V, phi, grown, w[STEP + m], cash.amounts[event], discount)
        if cash.american and phi > 0.0:
            carried = 0.0 if cash.spot_model else dividends_ahead(now, T, r, cash, True)
            exercise_on_grid(V, 1.0 - (K - carried) / grown)
        for i in range(NODES):
            w[VALUE + i * LANES + m] = V[i]


@inner
def march_lanes(
    w: Floats, n: int, course: Course, cash: CashTerms, refined: int, stops: Floats, out: NDArray[np.float64]
) -> None:
    """Value of each lane at each of the ``stops``, times ahead that fall, into ``out`` (stop, lane, node).

    Calls are counted in shares. ``refined`` multiplies the number of steps in time. Behind the first stop
    there is no dividend, nor a kink.
    """
    T, times = course.years, cash.times
    held = CashTerms(times, cash.amounts, cash.spot_model, course.between)  # else at ex-dates only
    begin_lanes(w, n, course)
    now, is_kinked = T, True
    event = times.size - 1
    while event >= 0 and times[event] > T:
        event -= 1
    for place in range(stops.size):
        while (event >= 0 and times[event] >= stops[place]) or now > stops[place]:
            if event >= 0 and times[event] == now:
                if cash.spot_model or (cash.american and course.phi > 0.0):
                    go_ex(w, n, course, cash, event)
                event -= 1
                is_kinked = course.phi > 0.0 and held.american
                continue
            until = max(times[event], stops[place]) if event >= 0 else stops[place]
            whole, start = now - until, now
            if place > 0:
                count = max(math.ceil(course.steps * math.sqrt(whole / T) / 3.0), 1)
                march(w, n, course, held, now, until, refined * count, False)
            else:
                # from a kink the exercise boundary moves like a square root
                pieces = PIECES if is_kinked else 1
                count = max(math.ceil(course.steps * math.sqrt(whole / T) / pieces), _LEAST_STEPS)
                for part in range(1 - pieces, 1):
                    end = start - whole * GRADING**part if part < 0 else until
                    march(w, n, course, held, now, end, refined * count, True)
                    now = end
            now = until
        for m in range(n):
            for i in range(NODES):
                out[place, m, i] = w[VALUE + i * LANES + m]


@inner
def extend_parabola(
    V: Floats, phi: float, X: Floats, strike: float, dx: float, K: float, v: float, r: float, q: float
) -> None:
    """Continue the value beyond an exercise boundary just below the centre, for the slopes there."""
    for edge in range(HALF - 1, HALF + 1):
        excess = V[edge] - payoff_at(phi, X[edge], strike)
        parabola = (dx / v) ** 2 * gain_at(phi, X[edge], K, r, q)
        if excess > 0.0 and V[edge - 1] <= payoff_at(phi, X[edge - 1], strike) and parabola > 0.0:
            touch = min(math.sqrt(excess / parabola), 1.0)
            for i in range(HALF - 2, edge):
                V[i] = payoff_at(phi, X[i], strike) + parabola * (touch - (edge - i)) ** 2


@inner
def course_of(phi: float, T: float, v: float, r: float, q: float, cash: CashTerms) -> Course:
    """Return how an option is marched.

    More steps where the drift outruns the volatility, or rates compound for decades.
    """
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    is_held = cash.american and kind != NEVER
    drift = abs(r - q) * math.sqrt(T) / (2.0 * v)
    steps = _GRID_STEPS * min(max(drift, 4.0 * (abs(r) + abs(q)) * T, 1.0), _MOST_REFINED)
    return Course(phi, T, is_held, steps, v * math.sqrt(T) > _WILD)


@inner
def grid_around(S: float, T: float, v: float, r: float, cash: CashTerms) -> tuple[float, float]:
    """Return the state at the centre of an option's grid, and the step in its logarithm."""
    ahead = dividends_ahead(0.0, T, r, cash, False)
    width = min(5.5 * v * math.sqrt(T), WIDEST)
    if cash.spot_model and ahead > 0.0:
        width += math.log(S / max(S - ahead, 0.25 * S))
    return S if cash.spot_model else S - ahead, width / HALF


@inner
def extrapolated(coarse: Four, fine: Four, S: float, phi: float, K: float, cash: CashTerms) -> Four:
    """Price and derivatives from those of two numbers of steps, as the error is of second order."""
    exercise = phi * (S - K)
    price = (4.0 * fine[0] - coarse[0]) / 3.0
    if cash.american and price <= exercise + 1e-12 * K:
        return exercise, phi, 0.0, 0.0
    return (
        max(price, 0.0),
        (4.0 * fine[1] - coarse[1]) / 3.0,
        (4.0 * fine[2] - coarse[2]) / 3.0,
        (4.0 * fine[3] - coarse[3]) / 3.0,
    )


@inner
def grid_slopes(V: Floats, c: int, dx: float, state: float, phi: float) -> tuple[float, float, float, float]:
    """Value and three derivatives in the state at node ``c`` of a logarithmic grid, a call's in shares."""
    a2, a1, b1, b2 = V[c - 2], V[c - 1], V[c + 1], V[c + 2]
    s0 = V[c]
    s1 = (8.0 * (b1 - a1) - (b2 - a2)) / (12.0 * dx)
    s2 = (16.0 * (b1 + a1) - (b2 + a2) - 30.0 * s0) / (12.0 * dx * dx)
    s3 = (b2 - 2.0 * b1 + 2.0 * a1 - a2) / (2.0 * dx * dx * dx)
    if phi > 0.0:
        s3 = state * (s0 + 3.0 * s1 + 3.0 * s2 + s3)
        s2 = state * (s0 + 2.0 * s1 + s2)
        s1 = state * (s0 + s1)
        s0 = state * s0
    return s0, s1 / state, (s2 - s1) / state**2, (s3 - 3.0 * s2 + 2.0 * s1) / state**3


@inner
def lane_slopes(V: Floats, w: Floats, m: int, S: float, course: Course, cash: CashTerms) -> Four:
    """Value and three derivatives in the state, of a lane at its centre."""
    phi, centre, dx = course.phi, w[CENTRE + m], w[STEP + m]
    if course.between:
        strike = w[STRIKE + m] - (0.0 if cash.spot_model else S - centre)
        X = lane_of(w, STATE, m)
        extend_parabola(V, phi, X, strike, dx, w[STRIKE + m], w[VOL + m], w[RATE + m], w[YIELD + m])
    return grid_slopes(V, HALF, -phi * dx, centre, phi)


@inner
def fill_marched(
    terms: Seven,
    cash: CashTerms,
    futures: bool,
    skipped: NDArray[np.bool_],
    out: NDArray[np.float64],
) -> None:
    """Value and three derivatives in the state of each element into ``out`` (2, cases, element, 4).

    First by twice the steps: of the option, then with its volatility moved up and down; then by the steps
    themselves: of the option, then with its rate moved. On one grid, so that its error does not change;
    escrowed, at a fixed state.
    """
    cases = out.shape[1]
    w, values, stops = np.empty(ROOM), np.empty((1, LANES, NODES)), np.zeros(1)
    chosen = np.empty(LANES, dtype=np.int64)
    for part in range(2):
        is_left = np.empty((skipped.size, cases), dtype=np.bool_)
        for i in range(skipped.size):
            is_left[i] = not skipped[i]
        for first in range(skipped.size * cases):
            if not is_left[first // cases, first % cases]:
                continue
            phi, _, _, T, v, r, q = row_of(terms, first // cases)
            course = course_of(phi, T, v, r, q, cash)
            count = 0
            for at in range(first, skipped.size * cases):
                i, case = at // cases, at % cases
                if count == LANES:
                    break
                phi, _, _, T, v, r, q = row_of(terms, i)
                if is_left[i, case] and course == course_of(phi, T, v, r, q, cash):
                    chosen[count], is_left[i, case] = at, False
                    count += 1
            for m in range(count):
                _, S, K, T, v, r, q = row_of(terms, chosen[m] // cases)
                sign = (0.0, 1.0, -1.0)[chosen[m] % cases]
                w[STRIKE + m], w[VOL + m], w[RATE + m], w[YIELD + m] = K, v, r, q
                w[CENTRE + m], w[STEP + m] = grid_around(S, T, v, r, cash)
                if part == 0:
                    w[VOL + m] += sign * (VOL_BUMP * v)
                else:
                    w[RATE + m] += sign * RATE_BUMP
                    w[YIELD + m] += sign * RATE_BUMP if futures else 0.0
            march_lanes(w, count, course, cash, 2 - part, stops, values)
            for m in range(count):
                i = chosen[m] // cases
                found = lane_slopes(values[0, m], w, m, terms[1][i], course, cash)
                for k in range(4):
                    out[part, chosen[m] % cases, i, k] = found[k]


@inner
def greeks_of(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    cash: CashTerms,
    fine: NDArray[np.float64],
    coarse: NDArray[np.float64],
) -> Nine:
    """Price and eight Greeks from an element's values of :func:`fill_marched`; the price alone of one."""
    one = (fine[0, 0], fine[0, 1], fine[0, 2], fine[0, 3])
    two = (coarse[0, 0], coarse[0, 1], coarse[0, 2], coarse[0, 3])
    price, delta, gamma, speed = extrapolated(one if v * math.sqrt(T) > _WILD else two, one, S, phi, K, cash)
    if cash.american and price == phi * (S - K) and gamma == 0.0 and len(fine) > 1:
        return price, phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if cash.american and not cash.spot_model:
        held = european_dividend_greeks(phi, S, K, T, v, r, q, cash.times, cash.amounts)
        if held[0] >= price:
            return held
    if len(fine) == 1:
        return price, delta, gamma, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    state, _ = grid_around(S, T, v, r, cash)
    ahead = S - state
    var = v * v
    # escrowed: at a fixed spot the state falls as the dividends' value grows at the rate r
    theta = r * price - (r - q) * state * delta - 0.5 * var * state**2 * gamma - r * ahead * delta
    charm = q * delta - (r - q + var) * state * gamma - 0.5 * var * state**2 * speed - r * ahead * gamma
    vol_step = VOL_BUMP * v
    vega = (fine[1, 0] - fine[2, 0]) / (2.0 * vol_step)
    volga = (fine[1, 0] - 2.0 * fine[0, 0] + fine[2, 0]) / (vol_step * vol_step)
    vanna = (fine[1, 1] - fine[2, 1]) / (2.0 * vol_step)
    rho = (coarse[1, 0] - coarse[2, 0]) / (2.0 * RATE_BUMP)
    if not cash.spot_model:
        up, down = r + RATE_BUMP, r - RATE_BUMP
        change = dividends_ahead(0.0, T, up, cash, False) - dividends_ahead(0.0, T, down, cash, False)
        rho -= delta * change / (2.0 * RATE_BUMP)
    return price, delta, gamma, theta, vega, rho, vanna, volga, charm


@kernel
def fill_by_grid(terms: Seven, cash: CashTerms, futures: bool, out: Floats) -> None:
    """Greeks of each element by finite differences into the columns of ``out``.

    ``out`` has nine rows; or three, then price, delta and gamma alone, in a third of the time. Without
    dividends an American option has at least the value of the best fixed time of exercise.
    """
    rows, count = out.shape[0], out.shape[1]
    skipped = np.zeros(count, dtype=np.bool_)
    for i in range(count):
        _, _, K, T, v, r, q = row_of(terms, i)
        is_certain = cash.times.size == 0 and abs(r - q) * math.sqrt(max(T, 0.0)) > _CERTAIN * v
        skipped[i] = T <= 0.0 or K <= 0.0 or is_certain
    marched = np.empty((2, 3 if rows == 9 else 1, count, 4))
    fill_marched(terms, cash, futures, skipped, marched)
    for i in range(count):
        phi, S, K, T, _, r, q = row_of(terms, i)
        nine = expired_greeks(phi, S, K)
        if T > 0.0:
            if not skipped[i]:
                nine = greeks_of(*row_of(terms, i), cash, marched[0, :, i], marched[1, :, i])
            if cash.times.size == 0 and cash.american:
                certain = certain_greeks(phi, S, K, T, r, q, True)
                if skipped[i] or nine[0] < certain[0]:
                    nine = certain
        for j in range(rows):
            out[j, i] = nine[j]


@kernel
def fill_grid_start(
    quoted: Seven, cash: CashTerms, vol: Floats, vega: Floats, status: NDArray[np.int64]
) -> None:
    """Volatility at which the search of each element begins, the European vega there, and its status."""
    for i in range(vol.size):
        price, phi, S, K, T, r, q = row_of(quoted, i)
        verdict = bounds_verdict(price, phi, S, K, T, r, q, cash.american)
        is_bad = cash.spot_model or verdict == BAD
        state = S - (0.0 if is_bad else dividends_ahead(0.0, T, r, cash, False))
        if state <= 0.0:
            verdict = BAD
        least = certain_greeks(phi, S, K, T, r, q, True)[0]
        if verdict == OK and cash.times.size == 0 and cash.american and price <= least:
            verdict = BELOW
        vol[i], status[i] = math.nan, verdict
        if verdict == OK:
            # the European volatility bounds the American one from above
            found, european = european_iv(price, phi, state, K, T, r, q)
            vol[i] = found if european == OK else 0.3
            vega[i] = european_greeks(phi, state, K, T, vol[i], r, q)[4]
