"""Finite differences: cash dividends, and the continuous-yield cases outside the boundary method.

Also implied volatilities of such prices. Rarely used and slow to compile, so no fast path depends on it.

Crank–Nicolson in the logarithm of the state, four implicit half steps after every kink (Rannacher 1984). Each
step's exercise set is found by policy iteration and need not be connected.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.american_iv import bounds_verdict
from scalpdesk.pricing.kernels.black_iv import ABOVE, BAD, BELOW, OK, european_iv
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import (
    certain_greeks,
    european_greeks,
    expired_greeks,
)
from scalpdesk.pricing.kernels.normal import Floats, Nine, log_ratio, norm_pdf

GRID_HALF = 400  # nodes on each side of the spot; 1.5 times as many for calls, exercised at isolated dates
GRID_STEPS = 240
WIDEST = 300.0  # of ln S to a side
WILD = 3.0  # v·sqrt(T) above which all steps are implicit: nothing but a bounded price matters there
UNREACHED = 1e-6  # of the spot: by how much the price at the volatility found may exceed the one asked for
VOL_BUMP = 0.01  # of the volatility: for vega, volga, vanna


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
def fill_floor(floor: Floats, phi: float, X: Floats, K: float) -> None:
    """Fill ``floor`` with the exercise value: of puts in currency, of calls in shares (it stays bounded)."""
    for i in range(X.size):
        floor[i] = K - X[i] if phi < 0.0 else 1.0 - K / X[i]


@inner
def exercise_on_grid(V: Floats, floor: Floats) -> None:
    """Raise ``V`` to the exercise value; nodes next to a crossing get the mean over their cell."""
    n = V.size
    before = floor[0] - V[0]
    for i in range(n):
        gain = floor[i] - V[i] if i > 0 else before
        after = floor[i + 1] - V[i + 1] if i < n - 1 else gain
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
    """Fill ``V`` with the payoff, a call's in shares, averaged over each cell: a kink may lie inside."""
    half_cell = math.exp(0.5 * dx)
    for i in range(V.size):
        a = X[i] / half_cell
        b = X[i] * half_cell
        if phi < 0.0:
            b = min(b, K)
        else:
            a = max(a, K)
        if b <= a:
            V[i] = 0.0
        elif phi < 0.0:
            V[i] = (K * math.log(b / a) - (b - a)) / dx
        else:
            V[i] = (math.log(b / a) - K * (1.0 / a - 1.0 / b)) / dx


@inner
def drop_on_grid(V: Floats, phi: float, X: Floats, dx: float, cash: float, discount: float) -> None:
    """Value just before a dividend of ``cash`` in the spot model: the value after it at the reduced spot."""
    after = V.copy()
    lowest = math.log(X[0])
    for i in range(V.size):
        left = X[i] - cash
        share = 1.0 if phi < 0.0 else max(left, 0.0) / X[i]
        if left > X[0]:
            V[i] = share * interpolate_cubic(after, (math.log(left) - lowest) / dx)
        elif phi < 0.0:
            V[i] = after[0] + (X[0] - max(left, 0.0)) * discount
        else:
            V[i] = share * after[0]


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
    cash: CashTerms,
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
    # a call is counted in shares: the measure's drift is higher, and the yield discounts
    mu = r - q - half_var if phi < 0.0 else r - q + half_var
    low = half_var / (dx * dx) - 0.5 * mu / dx
    high = half_var / (dx * dx) + 0.5 * mu / dx
    mid = -2.0 * half_var / (dx * dx) - (r if phi < 0.0 else q)
    wild = v * math.sqrt(T) > WILD
    count = max(math.ceil(GRID_STEPS * math.sqrt((start - until) / T)), 8)
    t = start
    for step in range(count + 2):
        # steps grow from the start, where a kink smooths and the exercise boundary behaves like a square
        # root; the first two are halved and implicit
        reached = 0.5 * (step + 1) if step < 4 else step - 1.0
        if step < 4 and step % 2 == 0:
            reached = math.sqrt(0.5 * (0.25 * step * step + (0.5 * step + 1.0) ** 2))
        weight = 1.0 if step < 4 or wild else 0.5
        before = t
        t = start - (start - until) * (reached / count) ** 2
        if step == count + 1:
            t = until  # exactly: a dividend at this instant must not count twice
        dt = before - t
        later = dividends_ahead(t, T, r, cash, False)
        strike = K if cash.spot_model else K - later
        gone = later if cash.spot_model else 0.0
        implicit = weight * dt
        explicit = dt - implicit
        for i in range(1, n - 1):
            rhs[i] = V[i] + explicit * (low * V[i - 1] + mid * V[i] + high * V[i + 1])
        if cash.american:
            fill_floor(floor, phi, X, strike)
        for side in range(2):
            i = side * (n - 1)
            unit = 1.0 if phi < 0.0 else X[i]
            rhs[i] = european_greeks(phi, max(X[i] - gone, 0.0), K, T - t, v, r, q)[0] / unit
            if cash.american:
                rhs[i] = max(rhs[i], floor[i])
                if wild and side == 0 and phi < 0.0:  # the state is next to nothing: only interest matters
                    rhs[i] = max(rhs[i], math.exp(-r * dt) * V[0])
        implicit_step(
            V,
            rhs,
            -implicit * low,
            1.0 - implicit * mid,
            -implicit * high,
            floor,
            stopped,
            cash.american,
            work,
        )


@inner
def marched_value(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms
) -> tuple[float, float, float, float]:
    """Price and three derivatives in the spot by finite differences."""
    times, amounts, spot_model, american = cash
    half = GRID_HALF + GRID_HALF // 2 if phi > 0.0 else GRID_HALF
    ahead = dividends_ahead(0.0, T, r, cash, False)
    state = S if spot_model else S - ahead
    sd = v * math.sqrt(T)
    width = min(5.5 * sd + min(abs(r - q) * T, 3.0 * sd), WIDEST)
    if spot_model and ahead > 0.0:
        width += math.log(S / max(S - ahead, 0.25 * S))
    dx = width / half
    X = state * np.exp((np.arange(2 * half + 1) - half) * dx)
    V = np.empty(X.size)
    payoff_on_grid(V, phi, X, K, dx)
    E = V.copy()
    floor = np.empty(X.size)
    between = american and not (q <= 0.0 <= r and phi > 0.0)  # else a call is exercised at ex-dates only
    held = CashTerms(times, amounts, spot_model, between)
    european = CashTerms(times, amounts, spot_model, False)
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
                carried = 0.0 if spot_model else dividends_ahead(now, T, r, cash, True)
                fill_floor(floor, phi, X, K - carried)
                exercise_on_grid(V, floor)
            event -= 1
            continue
        until = max(times[event], 0.0) if event >= 0 else 0.0
        march(V, phi, X, K, T, v, r, q, held, now, until, dx)
        if twin:
            march(E, phi, X, K, T, v, r, q, european, now, until, dx)
        now = until
    exercise = phi * (S - K)
    unit = 1.0 if phi < 0.0 else state
    if american and V[half] * unit <= exercise + 1e-12 * K:
        return exercise, phi, 0.0, 0.0
    value, x1, x2, x3 = grid_slopes(V, half, dx, state, phi)
    if twin:
        base = european_greeks(phi, state, K, T, v, r, q)
        d1 = (log_ratio(state, K) + (r - q) * T) / sd + 0.5 * sd
        e0, e1, e2, e3 = grid_slopes(E, half, dx, state, phi)
        value += base[0] - e0
        x1 += base[1] - e1
        x2 += base[2] - e2
        x3 -= base[2] / state * (d1 / sd + 1.0) + e3
    return max(value, exercise if american else 0.0, 0.0), x1, x2, x3


@kernel
def lattice_value(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms
) -> tuple[float, float, float, float]:
    """Price and three derivatives in the spot, arguments as in ``marched_value``.

    American calls without dividends are the mirrored puts (McDonald and Schroder 1998): a put is bounded, so
    its grid boundary is harmless even at volatilities where a call's is not.
    """
    if not (cash.american and phi > 0.0 and cash.times.size == 0):
        return marched_value(phi, S, K, T, v, r, q, cash)
    p, p1, p2, p3 = marched_value(-1.0, K, S, T, v, q, r, cash)
    return p, (p - K * p1) / S, p2 * (K / S) ** 2, -((K / S) ** 2) * (3.0 * p2 + K * p3) / S


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
    price, delta, gamma, speed = lattice_value(phi, S, K, T, v, r, q, cash)
    if cash.american and price == phi * (S - K) and gamma == 0.0:
        return price, phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    ahead = 0.0 if cash.spot_model else dividends_ahead(0.0, T, r, cash, False)
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
        prices[case], deltas[case], _, _ = lattice_value(phi, S, K, T, v + dv, r + dr, q + dq, cash)
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
    found = lattice_greeks(phi, S, K, T, v, r, q, CashTerms(none, none, False, True), futures)
    return certain if found[0] < certain[0] else found


@inner
def grid_price(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, cash: CashTerms
) -> float:
    """Price by finite differences; without dividends at least that of the best fixed time of exercise."""
    price = lattice_value(phi, S, K, T, v, r, q, cash)[0]
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
    """Greeks of each element with cash dividends by finite differences into the columns of ``out`` (9, n)."""
    for i in range(S.size):
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
