"""Finite differences: cash dividends, and the continuous-yield cases outside the boundary method.

Crank–Nicolson in the logarithm of the state, four implicit half steps after every kink (Rannacher 1984). Each
step's exercise set is found by policy iteration and need not be connected.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import (
    certain_greeks,
    european_greeks,
    expired_greeks,
)
from scalpdesk.pricing.kernels.normal import Floats, Nine, log_ratio

GRID_HALF = 400  # nodes on each side of the spot; 1.5 times as many for calls, exercised at isolated dates
GRID_STEPS = 240
VOL_BUMP = 0.01  # of the volatility: for vega, volga, vanna


@inner
def dividends_ahead(now: float, T: float, r: float, times: Floats, amounts: Floats, including: bool) -> float:
    """Value at ``now`` of the later dividends up to ``T`` (``including`` one that is ex at ``now``)."""
    total = 0.0
    for k in range(times.size):
        if 0.0 < times[k] <= T and (times[k] > now or (including and times[k] == now)):
            total += amounts[k] * math.exp(-r * (times[k] - now))
    return total


@inner
def implicit_step(
    V: Floats,
    rhs: Floats,
    lower: float,
    middle: float,
    upper: float,
    floor: Floats,
    stopped: NDArray[np.bool_],
    american: bool,
    work: Floats,
) -> None:
    """Solve one tridiagonal step for ``V``, with ``V >= floor`` if ``american`` (boundary values in rhs)."""
    n = V.size
    for _ in range(12):
        work[0] = 0.0
        V[0] = rhs[0]
        for i in range(1, n - 1):
            if american and stopped[i]:
                work[i] = 0.0
                V[i] = floor[i]
            else:
                scale = 1.0 / (middle - lower * work[i - 1])
                work[i] = upper * scale
                V[i] = (rhs[i] - lower * V[i - 1]) * scale
        V[n - 1] = rhs[n - 1]
        for i in range(n - 2, 0, -1):
            V[i] -= work[i] * V[i + 1]
        if not american:
            return
        same = True
        for i in range(1, n - 1):
            if stopped[i]:
                if lower * V[i - 1] + middle * V[i] + upper * V[i + 1] < rhs[i] - 1e-13 * abs(rhs[i]):
                    stopped[i] = False
                    same = False
            elif V[i] < floor[i]:
                stopped[i] = True
                same = False
        if same:
            return
    for i in range(n):
        V[i] = max(V[i], floor[i])


@inner
def interpolate_cubic(V: Floats, at: float) -> float:
    """Four-point Lagrange interpolation of ``V`` at fractional index ``at``, constant beyond the ends."""
    n = V.size
    if at <= 0.0:
        return float(V[0])
    if at >= n - 1:
        return float(V[n - 1])
    i = min(max(int(at), 1), n - 3)
    f = at - i
    return float(
        -V[i - 1] * f * (f - 1.0) * (f - 2.0) / 6.0
        + V[i] * (f + 1.0) * (f - 1.0) * (f - 2.0) / 2.0
        - V[i + 1] * (f + 1.0) * f * (f - 2.0) / 2.0
        + V[i + 2] * (f + 1.0) * f * (f - 1.0) / 6.0
    )


@inner
def exercise_on_grid(V: Floats, phi: float, X: Floats, K: float) -> None:
    """Raise ``V`` to the exercise value; nodes next to a crossing get the mean over their cell."""
    n = V.size
    before = phi * (X[0] - K) - V[0]
    for i in range(n):
        gain = phi * (X[i] - K) - V[i] if i > 0 else before
        after = phi * (X[i + 1] - K) - V[i + 1] if i < n - 1 else gain
        if gain > 0.0:
            V[i] += gain
        for side in range(2):
            other = before if side == 0 else after
            if other * gain < 0.0:
                slope = abs(other - gain)
                reach = 0.5 - abs(gain) / slope  # how far the crossing lies inside this node's half cell
                if reach > 0.0:
                    V[i] += 0.5 * slope * reach * reach
        before = gain


@inner
def payoff_on_grid(V: Floats, phi: float, X: Floats, K: float, dx: float) -> None:
    """Fill ``V`` with the payoff averaged over each cell, so that the kink may lie between nodes."""
    half_cell = math.exp(0.5 * dx)
    for i in range(V.size):
        a = X[i] / half_cell
        b = X[i] * half_cell
        if phi < 0.0:
            b = min(b, K)
        else:
            a = max(a, K)
        V[i] = phi * ((b - a) - K * math.log(b / a)) / dx if b > a else 0.0


@inner
def drop_on_grid(V: Floats, phi: float, X: Floats, dx: float, cash: float, discount: float) -> None:
    """Value just before a dividend of ``cash`` in the spot model: the value after it at the reduced spot."""
    after = V.copy()
    lowest = math.log(X[0])
    for i in range(V.size):
        left = X[i] - cash
        if left > X[0]:
            V[i] = interpolate_cubic(after, (math.log(left) - lowest) / dx)
        elif phi < 0.0:
            V[i] = after[0] + (X[0] - max(left, 0.0)) * discount
        else:
            V[i] = after[0] * max(left, 0.0) / X[0]


@inner
def march(
    V: Floats,
    phi: float,
    X: Floats,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    start: float,
    until: float,
    dx: float,
) -> None:
    """Step ``V`` back from ``start`` to ``until``, an interval without an ex-date inside."""
    n = V.size
    floor = np.empty(n)
    rhs = np.empty(n)
    work = np.empty(n)
    stopped = np.zeros(n, dtype=np.bool_)
    half_var = 0.5 * v * v
    mu = r - q - half_var
    low = half_var / (dx * dx) - 0.5 * mu / dx
    high = half_var / (dx * dx) + 0.5 * mu / dx
    mid = -2.0 * half_var / (dx * dx) - r
    count = max(math.ceil(GRID_STEPS * math.sqrt((start - until) / T)), 8)
    t = start
    for step in range(count + 2):
        # steps grow from the start, where a kink smooths and the exercise boundary behaves like a square
        # root; the first two are halved and implicit
        reached = 0.5 * (step + 1) if step < 4 else step - 1.0
        if step < 4 and step % 2 == 0:
            reached = math.sqrt(0.5 * (0.25 * step * step + (0.5 * step + 1.0) ** 2))
        weight = 1.0 if step < 4 else 0.5
        before = t
        t = start - (start - until) * (reached / count) ** 2
        if step == count + 1:
            t = until  # exactly: a dividend at this instant must not count twice
        dt = before - t
        later = dividends_ahead(t, T, r, times, amounts, False)
        strike = K if spot_model else K - later
        gone = later if spot_model else 0.0
        implicit = weight * dt
        explicit = dt - implicit
        for i in range(1, n - 1):
            rhs[i] = V[i] + explicit * (low * V[i - 1] + mid * V[i] + high * V[i + 1])
        dq = math.exp(-q * (T - t))
        dr = math.exp(-r * (T - t))
        rhs[0] = max(phi * ((X[0] - gone) * dq - K * dr), 0.0)
        rhs[n - 1] = max(phi * ((X[n - 1] - gone) * dq - K * dr), 0.0)
        if american:
            for i in range(n):
                floor[i] = phi * (X[i] - strike)
            rhs[0] = max(rhs[0], floor[0])
            rhs[n - 1] = max(rhs[n - 1], floor[n - 1])
        implicit_step(
            V, rhs, -implicit * low, 1.0 - implicit * mid, -implicit * high, floor, stopped, american, work
        )


@inner
def marched_value(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
) -> tuple[float, float, float, float]:
    """Price and three derivatives in the spot by finite differences.

    ``spot_model``: the spot itself is lognormal between dividends and drops by each; otherwise the escrowed
    model, where the spot less the value of its coming dividends is lognormal. ``times`` ascend.
    """
    half = GRID_HALF + GRID_HALF // 2 if phi > 0.0 else GRID_HALF
    ahead = dividends_ahead(0.0, T, r, times, amounts, False)
    state = S if spot_model else S - ahead
    sd = v * math.sqrt(T)
    width = 5.5 * sd + min(abs(r - q) * T, 3.0 * sd)
    if spot_model and ahead > 0.0:
        width += math.log(S / max(S - ahead, 0.25 * S))
    dx = width / half
    X = state * np.exp((np.arange(2 * half + 1) - half) * dx)
    V = np.empty(X.size)
    payoff_on_grid(V, phi, X, K, dx)
    E = V.copy()
    between = american and not (q <= 0.0 <= r and phi > 0.0)  # else a call is exercised at ex-dates only
    twin = american and not spot_model  # control variate: the European twin has a closed form
    now = T
    event = times.size - 1
    while event >= 0 and times[event] > T:
        event -= 1
    while now > 0.0:
        if event >= 0 and times[event] == now:
            if spot_model:
                discount = 1.0 if american else math.exp(-r * (T - now))
                drop_on_grid(V, phi, X, dx, amounts[event], discount)
            if american:
                carried = 0.0 if spot_model else dividends_ahead(now, T, r, times, amounts, True)
                exercise_on_grid(V, phi, X, K - carried)
            event -= 1
            continue
        until = max(times[event], 0.0) if event >= 0 else 0.0
        march(V, phi, X, K, T, v, r, q, times, amounts, spot_model, between, now, until, dx)
        if twin:
            march(E, phi, X, K, T, v, r, q, times, amounts, spot_model, False, now, until, dx)
        now = until
    exercise = phi * (S - K)
    if american and V[half] <= exercise + 1e-12 * K:
        return exercise, phi, 0.0, 0.0
    value, x1, x2, x3 = grid_slopes(V, half, dx, state)
    if twin:
        base = european_greeks(phi, state, K, T, v, r, q)
        d1 = (log_ratio(state, K) + (r - q) * T) / sd + 0.5 * sd
        e0, e1, e2, e3 = grid_slopes(E, half, dx, state)
        value += base[0] - e0
        x1 += base[1] - e1
        x2 += base[2] - e2
        x3 -= base[2] / state * (d1 / sd + 1.0) + e3
    return max(value, exercise if american else 0.0, 0.0), x1, x2, x3


@kernel
def lattice_value(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
) -> tuple[float, float, float, float]:
    """Price and three derivatives in the spot, arguments as in ``marched_value``.

    American calls without dividends are the mirrored puts (McDonald and Schroder 1998): a put is bounded, so
    its grid boundary is harmless even at volatilities where a call's is not.
    """
    if not (american and phi > 0.0 and times.size == 0):
        return marched_value(phi, S, K, T, v, r, q, times, amounts, spot_model, american)
    p, p1, p2, p3 = marched_value(-1.0, K, S, T, v, q, r, times, amounts, spot_model, True)
    return p, (p - K * p1) / S, p2 * (K / S) ** 2, -((K / S) ** 2) * (3.0 * p2 + K * p3) / S


@inner
def grid_slopes(V: Floats, c: int, dx: float, state: float) -> tuple[float, float, float, float]:
    """Value and three derivatives in the state at node ``c`` of a logarithmic grid."""
    a2, a1, b1, b2 = V[c - 2], V[c - 1], V[c + 1], V[c + 2]
    s1 = (8.0 * (b1 - a1) - (b2 - a2)) / (12.0 * dx)
    s2 = (16.0 * (b1 + a1) - (b2 + a2) - 30.0 * V[c]) / (12.0 * dx * dx)
    s3 = (b2 - 2.0 * b1 + 2.0 * a1 - a2) / (2.0 * dx * dx * dx)
    return V[c], s1 / state, (s2 - s1) / state**2, (s3 - 3.0 * s2 + 2.0 * s1) / state**3


@inner
def lattice_greeks(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    futures: bool,
) -> Nine:
    """Price and eight Greeks by finite differences; arguments as in ``lattice_value``."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    price, delta, gamma, speed = lattice_value(phi, S, K, T, v, r, q, times, amounts, spot_model, american)
    if american and price == phi * (S - K) and gamma == 0.0:
        return price, phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    ahead = 0.0 if spot_model else dividends_ahead(0.0, T, r, times, amounts, False)
    state = S - ahead
    var = v * v
    # escrowed: at a fixed spot the state falls as the dividends' value grows at the rate r
    theta = r * price - (r - q) * state * delta - 0.5 * var * state**2 * gamma - r * ahead * delta
    charm = q * delta - (r - q + var) * state * gamma - 0.5 * var * state**2 * speed - r * ahead * gamma
    vol_step = VOL_BUMP * v
    rate_step = 1e-4
    prices = np.empty(4)
    deltas = np.empty(4)
    for case in range(4):  # volatility up, down, rate up, down: in a loop, so that it is compiled once
        sign = 1.0 if case % 2 == 0 else -1.0
        dv = sign * vol_step if case < 2 else 0.0
        dr = sign * rate_step if case >= 2 else 0.0
        dq = dr if futures else 0.0
        prices[case], deltas[case], _, _ = lattice_value(
            phi, S, K, T, v + dv, r + dr, q + dq, times, amounts, spot_model, american
        )
    vega = (prices[0] - prices[1]) / (2.0 * vol_step)
    volga = (prices[0] - 2.0 * price + prices[1]) / (vol_step * vol_step)
    vanna = (deltas[0] - deltas[1]) / (2.0 * vol_step)
    rho = (prices[2] - prices[3]) / (2.0 * rate_step)
    return price, delta, gamma, theta, vega, rho, vanna, volga, charm


@inner
def american_by_lattice(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, futures: bool
) -> Nine:
    """American Greeks by finite differences, or those of the best fixed time of exercise if worth more."""
    certain = certain_greeks(phi, S, K, T, r, q, True)
    none = np.empty(0)
    found = lattice_greeks(phi, S, K, T, v, r, q, none, none, False, True, futures)
    return certain if found[0] < certain[0] else found
