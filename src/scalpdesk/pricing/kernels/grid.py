"""Finite differences: cash dividends, and the continuous-yield cases outside the boundary method.

Also implied volatilities of such prices. Slow to compile, so no fast path depends on it.

Crank–Nicolson in time, four implicit half steps after every kink (Rannacher 1984), extrapolated from two
numbers of steps. In the logarithm of the state a compact scheme of fourth order: its coefficients are
constant, so it stays tridiagonal. Kinks are spread over six nodes such that this order is kept (Kreiss,
Thomée and Widlund 1970).

Puts lie on an ascending grid, calls, counted in shares, on a descending one: both are exercised at its lower
end. So the elimination begins at the upper end, with factors that do not depend on the exercise boundary
(Brennan and Schwartz 1977). Between two nodes the boundary is found from the parabola by which the value
leaves the payoff.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.american_iv import bounds_verdict
from scalpdesk.pricing.kernels.black_iv import ABOVE, BAD, BELOW, OK, european_iv
from scalpdesk.pricing.kernels.boundary import NEVER, exercise_kind
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import (
    certain_greeks,
    european_dividend_greeks,
    european_greeks,
    expired_greeks,
)
from scalpdesk.pricing.kernels.normal import Floats, Nine, log_ratio, norm_pdf

GRID_HALF = 200  # nodes on each side of the spot
GRID_STEPS = 48  # over the whole time, of the coarser of the two numbers of steps
LEAST_STEPS = 4  # between two dates
MOST_REFINED = 30.0  # multiple of GRID_STEPS
PIECES, GRADING = 4, 4.0  # after a kink the time is cut in pieces, each so much longer than the one before
CERTAIN = 2e4  # drift over volatility, times the root of the years: above, the best fixed time is the value
WIDEST = 300.0  # of ln S to a side
WILD = 3.0  # v·sqrt(T) above which all steps are implicit: nothing but a bounded price matters there
UNREACHED = 1e-6  # of the spot: by how much the price at the volatility found may exceed the one asked for
VOL_BUMP = 0.01  # of the volatility: for vega, volga, vanna
RATE_BUMP = 1e-4


class CashTerms(NamedTuple):
    """Cash dividends of an option, and how it is priced with them."""

    times: Floats
    """Years to the ex-dates, ascending."""
    amounts: Floats
    spot_model: bool
    """The spot itself is lognormal between dividends and drops by each; otherwise (the escrowed model) the
    spot less the value of its coming dividends is lognormal.
    """
    american: bool


class Grid(NamedTuple):
    """Grid of an option, the same where its volatility or rate is moved a little for a slope."""

    state: float
    """The spot, in the escrowed model less its dividends: at its centre."""
    dx: float
    """Step in the logarithm of the state."""
    between: bool
    """Exercise is worth while at other times than ex-dates."""
    steps: float
    """Steps in time, of the coarser of two numbers."""


Four: TypeAlias = tuple[float, float, float, float]


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
def end_value(
    phi: float,
    x: float,
    K: float,
    left: float,
    v: float,
    r: float,
    q: float,
    strike: float,
    gone: float,
    american: bool,
) -> tuple[float, bool]:
    """Value at an end of the grid, at the state ``x`` less what dividends take, and whether by exercise."""
    value = european_greeks(phi, max(x - gone, 0.0), K, left, v, r, q)[0] / (1.0 if phi < 0.0 else x)
    payoff = payoff_at(phi, x, strike)
    return (payoff, True) if american and value <= payoff else (value, False)


@inner
def march(  # noqa: PLR0912, PLR0915 - one loop over the steps, compiled as a whole
    V: Floats,
    phi: float,
    X: Floats,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    cash: CashTerms,
    start: float,
    until: float,
    dx: float,
    count: int,
    damped: bool,
) -> None:
    """Step ``V`` back from ``start`` to ``until``, an interval without an ex-date inside, in ``count`` steps.

    ``damped`` begins with implicit steps, as after a kink.

    ``X`` are the states at time 0; those of a node grow at ``r - q``, so that the scheme has no drift.
    """
    n = V.size
    base, ahead, pivot, by_lower, by_upper = np.empty((5, n))
    slack = np.zeros(n)
    exercised = np.zeros(n, dtype=np.bool_)
    end = 0  # above the last exercised node
    edge, bent = 0, 0.0  # the first node held above those, and what its second difference misses
    half_var = 0.5 * v * v
    # far inside, what exercise gains vanishes: a dividend to come, or a negative rate, is worth more
    has_two_edges = (q if phi < 0.0 else r) < 0.0
    # a call is counted in shares: the mirrored put, with rate and yield exchanged
    fade = r if phi < 0.0 else q
    implicit = 0.5 * (start - until) / count
    # of fourth order, unless the steps are so short that the matrix could not be solved with exercise
    mass = min(1.0 / 12.0, half_var * implicit / (dx * dx))
    m_low, m_mid, m_high = mass + 0.5 * mass * dx, 1.0 - 2.0 * mass, mass - 0.5 * mass * dx
    bend = half_var * (1.0 / (dx * dx) + mass)
    low = bend + 0.5 * half_var / dx - fade * m_low
    mid = -2.0 * bend - fade * m_mid
    high = bend - 0.5 * half_var / dx - fade * m_high
    is_wild = v * math.sqrt(T) > WILD
    bends = abs(r - q) * dx < half_var  # else the drift carries the boundary over nodes faster than they mix
    if cash.american:  # where a kink was spread, the value may be below that of exercise
        later = 0.0 if cash.spot_model else dividends_ahead(start, T, r, cash, True)
        growth = math.exp((r - q) * start)
        for i in range(n):
            slack[i] = min(V[i] - payoff_at(phi, X[i] * growth, K - later), 0.0)
    a, b, c = m_low - implicit * low, m_mid - implicit * mid, m_high - implicit * high
    pivot[n - 1] = 0.0
    for i in range(n - 2, 0, -1):
        pivot[i] = 1.0 / (b - (a * c * pivot[i + 1] if i < n - 2 else 0.0))
        by_lower[i], by_upper[i] = a * pivot[i], c * pivot[i]
    halves = 4 if damped else 0
    steps = 2 * count if is_wild else count + halves // 2
    t = start
    for step in range(steps):
        # the first two steps are halved and implicit (Rannacher 1984); the last ends exactly at a dividend
        explicit = 0.0 if step < halves or is_wild else implicit
        t = until if step == steps - 1 else t - implicit - explicit
        growth = math.exp((r - q) * t)
        later = dividends_ahead(t, T, r, cash, False)
        strike = K if cash.spot_model else K - later
        gone = later if cash.spot_model else 0.0
        x, y, z = m_low + explicit * low, m_mid + explicit * mid, m_high + explicit * high
        for i in range(1, n - 1):
            base[i] = x * V[i - 1] + y * V[i] + z * V[i + 1]
        base[edge] += explicit * bent
        for i in range(1, end):
            if exercised[i]:
                value = payoff_at(phi, X[i] * growth, strike) + slack[i]
                base[i] = m_low * V[i - 1] + m_mid * V[i] + m_high * V[i + 1]
                base[i] += (value - V[i]) * explicit / (implicit + explicit)
        last = V[0]
        V[0], below = end_value(phi, X[0] * growth, K, T - t, v, r, q, strike, gone, cash.american)
        V[n - 1], _ = end_value(phi, X[n - 1] * growth, K, T - t, v, r, q, strike, gone, cash.american)
        if is_wild and cash.american and phi < 0.0:  # the state is next to nothing: only interest matters
            V[0] = max(V[0], math.exp(-r * (implicit + explicit)) * last)
        ahead[n - 2] = (base[n - 2] - c * V[n - 1]) * pivot[n - 2]
        for i in range(n - 3, 0, -1):
            ahead[i] = base[i] * pivot[i] - by_upper[i] * ahead[i + 1]
        first, end, edge, bent = n, 0, 0, 0.0
        i = 1
        while i < n - 1 and cash.american and (below or (has_two_edges and first == n)):
            payoff = payoff_at(phi, X[i] * growth, strike) + slack[i]
            excess = ahead[i] - by_lower[i] * V[i - 1] - payoff
            gain = gain_at(phi, X[i] * growth, K, r, q)
            spare = 0.5 * pivot[i] * implicit * gain if below and bends else 0.0
            exercised[i] = excess + spare <= 0.0
            if exercised[i]:
                first, end = min(first, i), i + 1
                excess = 0.0
            elif spare > 0.0:
                # the value leaves the payoff as a parabola: where does it touch, in nodes below this one
                parabola = gain * (dx / v) ** 2
                root = math.sqrt(max(spare * spare + (parabola - spare) * (spare + excess), 0.0))
                touch = (spare + excess) / (spare + root)
                if touch < 1.0:
                    edge, bent = i, 0.5 * gain * (1.0 - touch) ** 2
                    excess = parabola * touch * touch
            below = exercised[i]
            V[i] = payoff + excess
            i += 1
        for k in range(i, n - 1):
            V[k] = ahead[k] - by_lower[k] * V[k - 1]
        if has_two_edges and 1 < first < n:
            # held below the exercised nodes, too: there the elimination starts at the lower end
            ahead[1] = (base[1] - a * V[0]) * pivot[n - 2]
            for i in range(2, first):
                ahead[i] = (base[i] - a * ahead[i - 1]) * pivot[n - 1 - i]
            for i in range(first - 1, 0, -1):
                payoff = payoff_at(phi, X[i] * growth, strike) + slack[i]
                V[i] = ahead[i] - c * pivot[n - 1 - i] * V[i + 1]
                exercised[i] = exercised[i + 1] and V[i] <= payoff
                if exercised[i]:
                    V[i] = payoff


@inner
def extend_parabola(
    V: Floats, phi: float, X: Floats, strike: float, dx: float, K: float, v: float, r: float, q: float
) -> None:
    """Continue the value beyond an exercise boundary just below the centre, for the slopes there."""
    for edge in range(GRID_HALF - 1, GRID_HALF + 1):
        excess = V[edge] - payoff_at(phi, X[edge], strike)
        parabola = (dx / v) ** 2 * gain_at(phi, X[edge], K, r, q)
        if excess > 0.0 and V[edge - 1] <= payoff_at(phi, X[edge - 1], strike) and parabola > 0.0:
            touch = min(math.sqrt(excess / parabola), 1.0)
            for i in range(GRID_HALF - 2, edge):
                V[i] = payoff_at(phi, X[i], strike) + parabola * (touch - (edge - i)) ** 2


@inner
def marched_value(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    cash: CashTerms,
    grid: Grid,
    refined: int,
) -> Four:
    """Price and three derivatives in the state; ``refined`` multiplies the number of steps in time."""
    state, dx = grid.state, grid.dx
    times, amounts, spot_model, american = cash
    X = state * np.exp(-phi * (np.arange(2 * GRID_HALF + 1) - GRID_HALF) * dx)
    grown = X * math.exp((r - q) * T)
    V = np.maximum(phi * (grown - K), 0.0)
    if phi > 0.0:
        V /= grown
    spread_kink(V, phi * math.log(grown[0] / K) / dx, (K if phi < 0.0 else 1.0) * dx)
    held = CashTerms(times, amounts, spot_model, grid.between)  # else exercised at ex-dates only
    now = T
    event = times.size - 1
    while event >= 0 and times[event] > T:
        event -= 1
    is_kinked = True
    while now > 0.0:
        if event >= 0 and times[event] == now:
            grown = X * math.exp((r - q) * now)
            if spot_model:
                discount = 1.0 if american else math.exp(-r * (T - now))
                drop_on_grid(V, phi, grown, dx, amounts[event], discount)
            if american and phi > 0.0:
                carried = 0.0 if spot_model else dividends_ahead(now, T, r, cash, True)
                exercise_on_grid(V, 1.0 - (K - carried) / grown)
            event -= 1
            is_kinked = phi > 0.0 and held.american
            continue
        until = max(times[event], 0.0) if event >= 0 else 0.0
        whole = now - until
        # from a kink the exercise boundary moves like a square root
        pieces = PIECES if is_kinked else 1
        count = max(math.ceil(grid.steps * math.sqrt(whole / T) / pieces), LEAST_STEPS)
        start = now
        for part in range(1 - pieces, 1):
            end = start - whole * GRADING**part if part < 0 else until
            march(V, phi, X, K, T, v, r, q, held, now, end, dx, refined * count, True)
            now = end
    if held.american:
        extend_parabola(V, phi, X, K - (0.0 if spot_model else S - state), dx, K, v, r, q)
    return grid_slopes(V, GRID_HALF, -phi * dx, state, phi)


@inner
def grid_around(phi: float, S: float, T: float, v: float, r: float, q: float, cash: CashTerms) -> Grid:
    """Return the grid of an option."""
    ahead = dividends_ahead(0.0, T, r, cash, False)
    width = min(5.5 * v * math.sqrt(T), WIDEST)
    if cash.spot_model and ahead > 0.0:
        width += math.log(S / max(S - ahead, 0.25 * S))
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    # where the drift outruns the volatility, or rates compound for decades, the steps are shorter
    drift = abs(r - q) * math.sqrt(T) / (2.0 * v)
    steps = GRID_STEPS * min(max(drift, 4.0 * (abs(r) + abs(q)) * T, 1.0), MOST_REFINED)
    state = S if cash.spot_model else S - ahead
    return Grid(state, width / GRID_HALF, cash.american and kind != NEVER, steps)


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


@kernel
def lattice_value(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms
) -> Four:
    """Price and three derivatives in the spot by finite differences."""
    grid = grid_around(phi, S, T, v, r, q, cash)
    fine = marched_value(phi, S, K, T, v, r, q, cash, grid, 2)
    coarse = fine if v * math.sqrt(T) > WILD else marched_value(phi, S, K, T, v, r, q, cash, grid, 1)
    return extrapolated(coarse, fine, S, phi, K, cash)


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
def lattice_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms, futures: bool
) -> Nine:
    """Price and eight Greeks by finite differences; arguments as in ``lattice_value``."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    grid = grid_around(phi, S, T, v, r, q, cash)
    coarse = marched_value(phi, S, K, T, v, r, q, cash, grid, 1)
    fine = marched_value(phi, S, K, T, v, r, q, cash, grid, 2)
    is_wild = v * math.sqrt(T) > WILD
    price, delta, gamma, speed = extrapolated(fine if is_wild else coarse, fine, S, phi, K, cash)
    if cash.american and price == phi * (S - K) and gamma == 0.0:
        return price, phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    state = grid.state
    ahead = S - state
    var = v * v
    # escrowed: at a fixed spot the state falls as the dividends' value grows at the rate r
    theta = r * price - (r - q) * state * delta - 0.5 * var * state**2 * gamma - r * ahead * delta
    charm = q * delta - (r - q + var) * state * gamma - 0.5 * var * state**2 * speed - r * ahead * gamma
    if cash.american and not cash.spot_model:
        held = european_dividend_greeks(phi, S, K, T, v, r, q, cash.times, cash.amounts)
        if held[0] >= price:
            return held
    vol_step = VOL_BUMP * v
    prices = np.empty(4)
    deltas = np.empty(4)
    for case in range(4):  # volatility up, down, rate up, down: in a loop, so that it is compiled once
        sign = 1.0 if case % 2 == 0 else -1.0
        dv = sign * vol_step if case < 2 else 0.0
        dr = sign * RATE_BUMP if case >= 2 else 0.0
        dq = dr if futures else 0.0
        # on one grid, so that its error does not change; escrowed, at a fixed state
        prices[case], deltas[case], _, _ = marched_value(
            phi, S, K, T, v + dv, r + dr, q + dq, cash, grid, 2 if case < 2 else 1
        )
    vega = (prices[0] - prices[1]) / (2.0 * vol_step)
    volga = (prices[0] - 2.0 * fine[0] + prices[1]) / (vol_step * vol_step)
    vanna = (deltas[0] - deltas[1]) / (2.0 * vol_step)
    rho = (prices[2] - prices[3]) / (2.0 * RATE_BUMP)
    if not cash.spot_model:
        up, down = r + RATE_BUMP, r - RATE_BUMP
        change = dividends_ahead(0.0, T, up, cash, False) - dividends_ahead(0.0, T, down, cash, False)
        rho -= delta * change / (2.0 * RATE_BUMP)
    return price, delta, gamma, theta, vega, rho, vanna, volga, charm


@inner
def american_by_lattice(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, futures: bool
) -> Nine:
    """American Greeks by finite differences, or those of the best fixed time of exercise if worth more."""
    certain = certain_greeks(phi, S, K, T, r, q, True)
    if abs(r - q) * math.sqrt(T) > CERTAIN * v:
        return certain
    none = np.empty(0)
    found = lattice_greeks(phi, S, K, T, v, r, q, CashTerms(none, none, False, True), futures)
    return certain if found[0] < certain[0] else found


@inner
def grid_price(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms
) -> float:
    """Price by finite differences, at least that of the best fixed time of exercise known."""
    price = lattice_value(phi, S, K, T, v, r, q, cash)[0]
    if cash.american and not cash.spot_model:
        held = european_dividend_greeks(phi, S, K, T, v, r, q, cash.times, cash.amounts)
        price = max(price, held[0])
    if cash.times.size == 0 and cash.american:
        price = max(price, certain_greeks(phi, S, K, T, r, q, True)[0])
    return price


@inner
def bracket_top(
    price: float, phi: float, S: float, K: float, T: float, first: float, r: float, q: float, cash: CashTerms
) -> tuple[float, float]:
    """Volatility from ``first`` upward whose price is too high, and by how much (-1.0: none found)."""
    top = first
    for _ in range(40):
        found = grid_price(phi, S, K, T, top, r, q, cash)
        if found >= price:
            return top, found - price
        top *= 1.6
    return top, -1.0


@inner
def searched_iv(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float, cash: CashTerms
) -> tuple[float, int]:
    """Volatility by bracketed secant search on any price that increases with it; status as ``european_iv``.

    The search starts at the European volatility, which bounds the American one from above.
    """
    verdict = bounds_verdict(price, phi, S, K, T, r, q, cash.american)
    state = S if cash.spot_model or verdict == BAD else S - dividends_ahead(0.0, T, r, cash, False)
    if state <= 0.0:
        verdict = BAD
    if verdict != OK:
        return math.nan, verdict
    if cash.times.size == 0 and cash.american and price <= certain_greeks(phi, S, K, T, r, q, True)[0]:
        return math.nan, BELOW
    hi, status = european_iv(price, phi, state, K, T, r, q)
    if status != OK:
        hi = 0.3
    goal = 1e-15 * S
    hi, f_hi = bracket_top(price, phi, S, K, T, hi, r, q, cash)
    if f_hi < 0.0:
        return math.nan, ABOVE
    if f_hi <= goal:
        return hi, OK
    # first step by the European vega, then secants; a bracket is always kept
    d1 = (log_ratio(state, K) + (r - q) * T) / (hi * math.sqrt(T)) + 0.5 * hi * math.sqrt(T)
    vega = state * math.exp(-q * T) * norm_pdf(d1) * math.sqrt(T)
    lo = 0.0
    a, f_a = hi, f_hi
    b = hi - f_hi / vega if vega > 0.0 else 0.5 * hi
    best, f_best = hi, f_hi
    for _ in range(80):
        if not lo < b < hi:
            b = 0.5 * (lo + hi)
        f_b = grid_price(phi, S, K, T, b, r, q, cash) - price
        if abs(f_b) < abs(f_best):
            best, f_best = b, f_b
        # a secant step this small leaves an error far smaller still
        if abs(f_b) <= goal or abs(b - a) <= 1e-9 * b or hi - lo <= 1e-14 * hi:
            break
        if f_b > 0.0:
            hi = b
        else:
            lo = b
        gap = f_b - f_a
        nxt = b - f_b * (b - a) / gap if gap != 0.0 else 0.5 * (lo + hi)
        a, f_a = b, f_b
        b = nxt
    if f_best > (goal if best <= 1e-6 else UNREACHED * S):
        return math.nan, BELOW
    return best, OK


@kernel
def fill_grid(
    phi: Floats, S: Floats, K: Floats, T: Floats, v: Floats, r: Floats, q: Floats, futures: bool, out: Floats
) -> None:
    """American Greeks without dividends of each element into the columns of ``out`` (9, n)."""
    for i in range(S.size):
        nine = american_by_lattice(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], futures)
        for j in range(9):
            out[j, i] = nine[j]


@kernel
def fill_dividend(
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    v: Floats,
    r: Floats,
    q: Floats,
    cash: CashTerms,
    out: Floats,
) -> None:
    """Greeks of each element with cash dividends by finite differences into the columns of ``out``.

    ``out`` has nine rows, or one: then the price alone, in a fifth of the time.
    """
    for i in range(S.size):
        if out.shape[0] == 1:
            out[0, i] = grid_price(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], cash)
            continue
        nine = lattice_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], cash, False)
        for j in range(9):
            out[j, i] = nine[j]


@kernel
def fill_searched_iv(
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    cash: CashTerms,
    vol: Floats,
    status: NDArray[np.int64],
) -> None:
    """Implied volatility and status code of each element, by finite differences."""
    for i in range(S.size):
        vol[i], status[i] = searched_iv(price[i], phi[i], S[i], K[i], T[i], r[i], q[i], cash)
