"""Everything compiled: Black–Scholes–Merton, American exercise, cash dividends, implied volatility.

One file on purpose. numba decides whether its disk cache is stale by the file a function stands in, not by
the files of the functions it calls; spread over several modules, an edit to one could leave old machine code
of another in use.

Conventions of every kernel: scalars are float64; ``phi`` is +1.0 for a call and -1.0 for a put; ``T`` is in
years, ``v`` the volatility per square root of a year, ``r`` and ``q`` continuously compounded; Greeks come in
the order price, delta, gamma, theta, vega, rho, vanna, volga, charm, per one unit of the underlying, theta
and charm per year of calendar time. Callers have already refused NaN, infinities and negative prices.
"""

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Nine: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]

compiled = njit(cache=True, error_model="numpy")

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
TINY_DEVIATION = 1e-12  # below this v·sqrt(T) the future is certain to double precision


# --------------------------------------------------------------------------------------------------------
# Normal distribution
# --------------------------------------------------------------------------------------------------------


@compiled
def norm_cdf(x: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x * SQRT_HALF)


@compiled
def norm_pdf(x: float) -> float:
    """Standard normal density."""
    return INV_SQRT_2PI * math.exp(-0.5 * x * x)


@compiled
def log_ratio(S: float, K: float) -> float:
    """ln(S/K), exact to the last digit near the money, where the quotient would round the answer away."""
    if 0.5 * K < S < 2.0 * K:
        return math.log1p((S - K) / K)
    return math.log(S) - math.log(K)


# --------------------------------------------------------------------------------------------------------
# European exercise
# --------------------------------------------------------------------------------------------------------


@compiled
def expired_greeks(phi: float, S: float, K: float) -> Nine:
    """Intrinsic value and the delta convention 0, ½, 1 at and after expiry."""
    price = max(phi * (S - K), 0.0) + 0.0  # never a negative zero
    delta = phi if phi * (S - K) > 0.0 else (0.5 * phi if S == K else 0.0)
    return price, delta, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@compiled
def certain_greeks(phi: float, S: float, K: float, T: float, r: float, q: float, american: bool) -> Nine:
    """Value when nothing is random: zero volatility, zero spot or zero strike.

    The holder takes the best of exercise at expiry and, if American, of exercise now or at the one
    stationary time of the discounted intrinsic value. Delta follows by the envelope theorem.
    """
    best = phi * (S * math.exp(-q * T) - K * math.exp(-r * T))
    when = T
    if american:
        if phi * (S - K) >= best:
            best = phi * (S - K)
            when = 0.0
        if S > 0.0 and K > 0.0 and r != q and r * K / (q * S) > 0.0:
            t = math.log(r * K / (q * S)) / (r - q)
            if 0.0 < t < T:
                value = phi * (S * math.exp(-q * t) - K * math.exp(-r * t))
                if value > best:
                    best = value
                    when = t
    if best < 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    share = phi if best > 0.0 else 0.5 * phi
    delta = share * math.exp(-q * when)
    rho = share * when * K * math.exp(-r * when)
    if when == 0.0:
        return best, delta, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    theta = r * best - (r - q) * S * delta
    return best, delta, 0.0, theta, 0.0, rho, 0.0, 0.0, q * delta


@compiled
def european_price(phi: float, S: float, K: float, T: float, v: float, r: float, q: float) -> float:
    """Black–Scholes–Merton price (Merton 1973); Black 1976 with ``q = r`` and ``S`` the forward."""
    if T <= 0.0:
        return max(phi * (S - K), 0.0)
    sd = v * math.sqrt(T)
    ds = S * math.exp(-q * T)
    dk = K * math.exp(-r * T)
    if sd < TINY_DEVIATION or S <= 0.0 or K <= 0.0:
        return max(phi * (ds - dk), 0.0)
    d1 = (log_ratio(S, K) + (r - q) * T) / sd + 0.5 * sd
    return max(phi * (ds * norm_cdf(phi * d1) - dk * norm_cdf(phi * (d1 - sd))), 0.0)


@compiled
def european_greeks(phi: float, S: float, K: float, T: float, v: float, r: float, q: float) -> Nine:
    """Price and eight Greeks of a European option (Merton 1973; Haug 2007, chapter 2)."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    root = math.sqrt(T)
    sd = v * root
    if sd < TINY_DEVIATION or S <= 0.0 or K <= 0.0:
        return certain_greeks(phi, S, K, T, r, q, False)
    dq = math.exp(-q * T)
    dk = K * math.exp(-r * T)
    d1 = (log_ratio(S, K) + (r - q) * T) / sd + 0.5 * sd
    d1 = min(max(d1, -1e10), 1e10)  # far beyond the density's underflow; keeps d1·d2 finite
    d2 = d1 - sd
    spot_leg = phi * dq * norm_cdf(phi * d1)
    cash_leg = phi * dk * norm_cdf(phi * d2)
    density = dq * norm_pdf(d1)
    price = max(S * spot_leg - cash_leg, 0.0)
    gamma = density / (S * sd)
    vega = S * density * root
    theta = -0.5 * S * density * v / root - r * cash_leg + q * S * spot_leg
    vanna = -density * d2 / v
    volga = vega * d1 * d2 / v
    charm = q * spot_leg - density * ((r - q) / sd - 0.5 * d2 / T)
    return price, spot_leg, gamma, theta, vega, T * cash_leg, vanna, volga, charm


# --------------------------------------------------------------------------------------------------------
# American exercise with a continuous yield: Andersen, Lake and Offengenden (2016)
# --------------------------------------------------------------------------------------------------------
#
# All of it is done for the put with strike 1; a call with (r, q) is the put with (q, r) mirrored
# (McDonald and Schroder 1998), and its boundary is the reciprocal. The boundary B(tau) is kept as
# H = ln(B/X)^2 at Chebyshev nodes of sqrt(tau), with X = min(1, r/q) its limit at expiry.

NODES = 10
STEPS = 12
LEGS = 32
RESIDUAL_LIMIT = 1e-6  # change of the premium, per unit of strike, that a boundary may still owe
MAX_ROUNDS = 60
SINGLE, NEVER, DOUBLE = 0, 1, 2  # early exercise: one boundary, no boundary, two of them


def _lagrange_rows(points: Floats, nodes: Floats) -> Floats:
    """Weights that interpolate values at ``nodes`` to ``points`` (barycentric form)."""
    gaps = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(gaps, 1.0)
    bary = 1.0 / gaps.prod(axis=1)
    away = points[:, None] - nodes[None, :]
    on_node = np.abs(away) < 1e-15
    away[on_node] = 1.0
    rows = bary[None, :] / away
    rows /= rows.sum(axis=1, keepdims=True)
    hit = on_node.any(axis=1)
    rows[hit] = on_node[hit].astype(np.float64)
    return np.ascontiguousarray(rows)


def _scheme() -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Nodes, quadratures and the interpolation between them: constants of the method."""
    n = NODES
    z = np.cos(np.arange(n + 1) * np.pi / n)  # Chebyshev extrema, from the horizon down to expiry
    y, step_weight = np.polynomial.legendre.leggauss(STEPS)
    # sin and cos of one angle make sqrt(tau - u) and sqrt(u) smooth at once: both ends of the integrals
    turn = 0.25 * np.pi * (1.0 + y)
    a = np.sin(turn)
    c = np.cos(turn)
    at = ((1.0 + z[:n])[:, None] * c[None, :] - 1.0).ravel()
    step_rows = _lagrange_rows(at, z).reshape(n, STEPS, n + 1)[:, :, :n]
    # values at the nodes (the last, at expiry, is 0) to Chebyshev coefficients, ends halved
    k = np.arange(n + 1)
    series = 2.0 / n * np.cos(np.outer(k, k[:n]) * np.pi / n)
    series[:, 0] *= 0.5
    series[[0, n]] *= 0.5
    return (
        0.5 * (1.0 + z[:n]),
        a,
        0.25 * np.pi * step_weight * c,
        np.ascontiguousarray(step_rows),
        np.ascontiguousarray(series),
        np.array(np.polynomial.legendre.leggauss(LEGS)),
    )


ROOT_FRACTION, STEP_AT, STEP_WEIGHT, STEP_ROWS, SERIES, LEGENDRE = _scheme()


@compiled
def seed_equation(b: float, tau: float, v: float, r: float, q: float) -> float:
    """Smooth-pasting residual of QD+ (Li 2010) for the put boundary ``b`` with strike 1."""
    sd = v * math.sqrt(tau)
    d1 = (math.log(b) + (r - q) * tau) / sd + 0.5 * sd
    d2 = d1 - sd
    dr = math.exp(-r * tau)
    dq = math.exp(-q * tau)
    tail1 = dq * norm_cdf(-d1)
    tail2 = dr * norm_cdf(-d2)
    put = tail2 - b * tail1
    theta = -0.5 * b * dq * norm_pdf(d1) * sd / tau + r * tail2 - q * b * tail1
    half_var = 0.5 * v * v
    beta = (r - q) / half_var
    h = -math.expm1(-r * tau)
    alpha_over_h = r / (half_var * h) if abs(h) > 1e-12 else 1.0 / (half_var * tau)
    disc = math.sqrt((beta - 1.0) ** 2 + 4.0 * alpha_over_h)
    lam = -0.5 * (beta - 1.0 + disc)
    gain = 1.0 - b - put
    c0_gain = (dr * alpha_over_h * (1.0 - alpha_over_h / (disc * disc)) * gain - theta / half_var) / disc
    return b * (1.0 - tail1) + lam * gain + c0_gain


@compiled
def seed_boundary(start: float, limit: float, tau: float, v: float, r: float, q: float) -> float:
    """Root of the QD+ equation below ``limit``, to a hundredth of a deviation: secants and bisections."""
    hi = limit
    f_hi = seed_equation(hi, tau, v, r, q)
    if not f_hi > 0.0:
        return start
    sd = v * math.sqrt(tau)
    stride = math.exp(-min(0.5 * sd, 0.2))
    lo = start
    f_lo = seed_equation(lo, tau, v, r, q)
    for _ in range(60):
        if f_lo <= 0.0:
            break
        hi = lo
        f_hi = f_lo
        lo *= stride
        stride *= stride
        f_lo = seed_equation(lo, tau, v, r, q)
    for turn in range(40):
        if hi - lo < 0.01 * sd * lo:
            break
        mid = (lo * f_hi - hi * f_lo) / (f_hi - f_lo)
        if turn % 3 == 2 or not lo < mid < hi:
            mid = 0.5 * (lo + hi)  # the equation is flat on one side, where secants alone would creep
        f_mid = seed_equation(mid, tau, v, r, q)
        if f_mid > 0.0:
            hi = mid
            f_hi = f_mid
        else:
            lo = mid
            f_lo = f_mid
    return 0.5 * (lo + hi)


@compiled
def seed_nodes(T: float, v: float, r: float, q: float, H: Floats) -> None:
    """Fill ``H`` with the QD+ boundary, from the node nearest expiry to the horizon."""
    limit = 1.0 if q <= r else r / q
    b = limit * math.exp(-min(v * math.sqrt(T) * ROOT_FRACTION[NODES - 1], 2.0))
    for i in range(NODES - 1, -1, -1):
        tau = T * ROOT_FRACTION[i] ** 2
        b = seed_boundary(b, limit, tau, v, r, q)
        H[i] = math.log(b / limit) ** 2


@compiled
def node_by_density(
    i: int, b: float, tau: float, v: float, r: float, q: float, log_limit: float, H: Floats
) -> tuple[float, float]:
    """System A at node ``i``: the new ln B, and the leading terms of its slope in the old one."""
    sd = v * math.sqrt(tau)
    drift = r - q - 0.5 * v * v
    k1 = 0.0
    k2 = 0.0
    k3 = 0.0
    for j in range(STEPS):
        h = 0.0
        for k in range(NODES):
            h += STEP_ROWS[i, j, k] * H[k]
        a = STEP_AT[j]
        ahead = tau * a * a
        dm = (b - log_limit + math.sqrt(max(h, 0.0)) + drift * ahead) / (sd * a)
        k3 += STEP_WEIGHT[j] * math.exp(r * (tau - ahead) - 0.5 * dm * dm)
        if q != 0.0:
            dp = dm + sd * a
            grow = math.exp(q * (tau - ahead)) * STEP_WEIGHT[j]
            k1 += grow * a * norm_cdf(dp)
            k2 += grow * math.exp(-0.5 * dp * dp)
    dm = (b + drift * tau) / sd
    dp = dm + sd
    nm = norm_pdf(dm)
    np_ = norm_pdf(dp)
    # numerator and denominator are both multiplied by sd
    scale = 2.0 * tau * INV_SQRT_2PI
    num = nm + r * scale * k3
    den = np_ + sd * norm_cdf(dp) + q * (2.0 * sd * tau * k1 + scale * k2)
    return math.log(num / den) - (r - q) * tau, dm * (np_ / den - nm / num) / sd


@compiled
def node_by_value(
    i: int, b: float, tau: float, v: float, r: float, q: float, log_limit: float, H: Floats
) -> tuple[float, float]:
    """System B at node ``i``: the new ln B, and its slope in the old one, the other nodes held."""
    sd = v * math.sqrt(tau)
    drift = r - q - 0.5 * v * v
    k1 = 0.0
    k3 = 0.0
    slope1 = 0.0
    slope3 = 0.0
    for j in range(STEPS):
        h = 0.0
        for k in range(NODES):
            h += STEP_ROWS[i, j, k] * H[k]
        a = STEP_AT[j]
        ahead = tau * a * a
        dm = (b - log_limit + math.sqrt(max(h, 0.0)) + drift * ahead) / (sd * a)
        dp = dm + sd * a
        grow_r = STEP_WEIGHT[j] * math.exp(r * (tau - ahead))
        grow_q = STEP_WEIGHT[j] * math.exp(q * (tau - ahead))
        k3 += grow_r * a * norm_cdf(dm)
        slope3 += grow_r * norm_pdf(dm)
        k1 += grow_q * a * norm_cdf(dp)
        slope1 += grow_q * norm_pdf(dp)
    dm = (b + drift * tau) / sd
    dp = dm + sd
    num = norm_cdf(dm) + 2.0 * r * tau * k3
    den = norm_cdf(dp) + 2.0 * q * tau * k1
    slope = (norm_pdf(dm) + 2.0 * r * tau * slope3) / (sd * num)
    slope -= (norm_pdf(dp) + 2.0 * q * tau * slope1) / (sd * den)
    return math.log(num / den) - (r - q) * tau, slope


@compiled
def refine_nodes(
    T: float, v: float, r: float, q: float, H: Floats, by_value: bool, rounds: int, goal: float
) -> float:
    """Improve ``H`` in place by system A or (``by_value``) B; return the last change of ln B (largest).

    Each node moves by its own Newton step. System A gives up early where it does not contract.
    """
    log_limit = 0.0 if q <= r else math.log(r / q)
    fresh = np.empty(NODES)
    change = np.inf
    for turn in range(rounds):
        before = change
        change = 0.0
        for i in range(NODES):
            tau = T * ROOT_FRACTION[i] * ROOT_FRACTION[i]
            b = log_limit - math.sqrt(H[i])
            if by_value:
                target, slope = node_by_value(i, b, tau, v, r, q, log_limit, H)
            else:
                target, slope = node_by_density(i, b, tau, v, r, q, log_limit, H)
            new = b + (target - b) / (1.0 - slope if slope < 0.9 else 1.0)
            if not new <= log_limit:
                new = log_limit
            fresh[i] = (log_limit - max(new, b - 1.0)) ** 2
            if not abs(target - b) <= change:  # so written that NaN counts as a change
                change = abs(target - b)
        H[:] = fresh
        if change < goal:
            break
        if turn > 2 and not by_value and not change < 0.6 * before:
            break
    return change


@compiled
def to_series(H: Floats, C: Floats) -> None:
    """Chebyshev coefficients ``C`` (NODES + 1) of the boundary kept at nodes in ``H``."""
    for k in range(NODES + 1):
        total = 0.0
        for i in range(NODES):
            total += SERIES[k, i] * H[i]
        C[k] = total


@compiled
def outward_log(C: Floats, z: float) -> float:
    """Distance of ln B from its limit at expiry, where the boundary has series ``C`` (Clenshaw)."""
    b1 = 0.0
    b2 = 0.0
    for k in range(NODES, 0, -1):
        b1, b2 = C[k] + 2.0 * z * b1 - b2, b1
    return math.sqrt(max(C[0] + z * b1 - b2, 0.0))


@compiled
def premium_terms(
    phi: float, S: float, T: float, v: float, r: float, q: float, C: Floats, stretch: float
) -> tuple[float, float, float, float, float]:
    """Early-exercise premium and its first three spot derivatives, strike 1 (Kim 1990, differentiated).

    ``C`` is the boundary's series over a horizon of which ``T`` is the part ``stretch`` squared: 1.0 where it
    was solved for ``T`` itself. Last comes how far ln S lies inside the exercise region (negative outside).
    """
    log_limit = log_limit_of(phi, r, q)
    log_S = math.log(S)
    sd_T = v * math.sqrt(T)
    drift = r - q - 0.5 * v * v
    depth = phi * (log_S - log_limit) - outward_log(C, 2.0 * stretch - 1.0)
    # beside the boundary the derivatives' integrands change over decades of the time ahead: two panels,
    # a short even one and a long logarithmic one
    near = abs(depth) < 0.25 * sd_T
    split = max(4.0 * abs(depth) / sd_T, 1e-12)
    ratio = math.log(0.5 * math.pi / split)
    value = 0.0
    first = 0.0
    second = 0.0
    third = 0.0
    for panel in range(2 if near else 1):
        for k in range(LEGS):
            x = 0.5 * (1.0 + LEGENDRE[0, k])
            angle = 0.5 * math.pi * x
            weight = 0.25 * math.pi * LEGENDRE[1, k]
            if near and panel == 0:
                angle = split * x
                weight = 0.5 * split * LEGENDRE[1, k]
            elif near:
                angle = split * math.exp(ratio * x)
                weight = 0.5 * ratio * angle * LEGENDRE[1, k]
            sine = math.sin(angle)
            cosine = math.cos(angle)
            log_B = log_limit + phi * outward_log(C, 2.0 * stretch * cosine - 1.0)
            u = T * sine * sine
            sd = sd_T * sine
            dm = (log_S - log_B + drift * u) / sd
            dp = dm + sd
            weight *= 2.0 * T * sine * cosine
            eq = math.exp(-q * u)
            spot_side = phi * q * eq * norm_cdf(phi * dp)
            value += weight * (S * spot_side - phi * r * math.exp(-r * u) * norm_cdf(phi * dm))
            first += weight * spot_side
            if abs(dp) < 38.0:
                mass = eq * norm_pdf(dp) / sd
                c = q - r * math.exp(-log_B)
                bend = mass / S * (q - dp * c / sd)
                first += weight * mass * c
                second += weight * bend
                third -= weight * (bend * (dp / sd + 1.0) + mass * c / (sd * sd * S)) / S
    return value, first, second, third, depth


@compiled
def exercise_kind(r: float, q: float) -> int:
    """How the put with these rates is exercised early (a call asks with ``r`` and ``q`` exchanged)."""
    if r > 0.0 or (r == 0.0 and q < 0.0):
        return SINGLE
    return DOUBLE if q < r else NEVER


@compiled
def solve_boundary(T: float, v: float, r: float, q: float, H: Floats, warm: bool) -> bool:
    """Put boundary for strike 1 into ``H``; False when it did not settle.

    System A is the quicker and loses its contraction for low volatilities, against high rates, and where its
    numerator holds little but a vanishing density (no rate, negative yield); system B takes over there.
    """
    scale = (abs(r) + abs(q)) * math.sqrt(T) / v  # how a change of ln B moves the premium
    goal = min(3e-10 / scale, 1e-4)
    by_value = r < -q
    if warm and refine_nodes(T, v, r, q, H, by_value, MAX_ROUNDS, goal) * scale <= RESIDUAL_LIMIT:
        return True
    if not by_value:
        seed_nodes(T, v, r, q, H)
        if refine_nodes(T, v, r, q, H, False, MAX_ROUNDS, goal) * scale <= RESIDUAL_LIMIT:
            return True
    seed_nodes(T, v, r, q, H)
    return refine_nodes(T, v, r, q, H, True, MAX_ROUNDS, goal) * scale <= RESIDUAL_LIMIT


@compiled
def log_limit_of(phi: float, r: float, q: float) -> float:
    """Logarithm of the boundary at expiry, strike 1: put min(1, r/q), call max(1, r/q)."""
    if phi < 0.0:
        return 0.0 if q <= r else math.log(r / q)
    return 0.0 if r <= q else math.log(r / q)


@compiled
def boundary_series(
    phi: float, T: float, v: float, r: float, q: float, H: Floats, warm: bool, C: Floats
) -> bool:
    """Solve the boundary at ``H`` and give its series ``C``; False when it did not settle."""
    ok = solve_boundary(T, v, r, q, H, warm) if phi < 0.0 else solve_boundary(T, v, q, r, H, warm)
    to_series(H, C)
    return ok


@compiled
def american_price(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, H: Floats, solved_at: float
) -> float:
    """Price of an American option with a continuous yield.

    ``H`` is room for the boundary's nodes; with ``solved_at`` above 0 they hold the one of that volatility.
    """
    if T <= 0.0:
        return max(phi * (S - K), 0.0)
    if v * math.sqrt(T) < 1e-6 or S <= 0.0 or K <= 0.0:
        return max(certain_greeks(phi, S, K, T, r, q, True)[0], european_price(phi, S, K, T, v, r, q))
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    if kind == NEVER:
        return european_price(phi, S, K, T, v, r, q)
    if kind == SINGLE:
        C = np.empty(NODES + 1)
        if solved_at > 0.0:
            H *= (v / solved_at) ** 2  # ln B is nearly proportional to the volatility
        if boundary_series(phi, T, v, r, q, H, solved_at > 0.0, C):
            value, _, _, _, depth = premium_terms(phi, S / K, T, v, r, q, C, 1.0)
            if depth >= 0.0:
                return phi * (S - K)
            price = european_price(phi, S, K, T, v, r, q) + K * value
            return max(price, certain_greeks(phi, S, K, T, r, q, True)[0])
    none = np.empty(0)
    price = lattice_value(phi, S, K, T, v, r, q, none, none, False, True)[0]
    return max(price, certain_greeks(phi, S, K, T, r, q, True)[0])


VOL_BUMP = 0.01  # of the volatility: for vega, volga, vanna
RATE_BUMP = 2e-4


@compiled
def rate_bump_of(phi: float, r: float, q: float, futures: bool) -> float:
    """Rate change that leaves the rates on their side of zero, and so the kind of exercise as it is."""
    gain = r if phi < 0.0 else q
    if phi > 0.0 and not futures and gain == 0.0:
        return min(RATE_BUMP, 0.5 * abs(r))
    return min(RATE_BUMP, 0.5 * gain) if (phi < 0.0 or futures) and gain > 0.0 else RATE_BUMP


@compiled
def solve_five(phi: float, T: float, v: float, r: float, q: float, futures: bool, C: Floats) -> bool:
    """Series of the boundary in the rows of ``C``: as it is, volatility up, down, rate up, down."""
    H = np.empty(NODES)
    W = np.empty(NODES)
    h = rate_bump_of(phi, r, q, futures)
    ok = True
    for case in range(5):  # in a loop, so that the solver is compiled into it once
        dv = VOL_BUMP * v if case == 1 else (-VOL_BUMP * v if case == 2 else 0.0)
        dr = h if case == 3 else (-h if case == 4 else 0.0)
        for i in range(NODES):
            if case == 2:
                W[i] = (
                    2.0 * math.sqrt(H[i]) - math.sqrt(W[i])
                ) ** 2  # ln B is nearly linear in the volatility
            elif case > 0:
                W[i] = H[i]
        dq = dr if futures else 0.0
        ok = boundary_series(phi, T, v + dv, r + dr, q + dq, W, case > 0, C[case]) and ok
        if case == 0:
            H[:] = W
            if not ok:
                return False
    return ok


@compiled
def greeks_from_series(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    futures: bool,
    C: Floats,
    stretch: float,
) -> Nine:
    """American Greeks from the five boundaries that ``solve_five`` leaves, or tables of them.

    Delta, gamma and the third spot derivative come from the premium integral itself; theta and charm from
    the pricing equation and its spot derivative; vega, volga, vanna and rho by central differences of the
    premium alone, the European part being exact.
    """
    p0 = p1 = p2 = p3 = 0.0
    dv = VOL_BUMP * v
    dr = rate_bump_of(phi, r, q, futures)
    dq = dr if futures else 0.0
    prices = np.empty(5)
    firsts = np.empty(5)
    for case in range(5):
        a = 1.0 if case == 1 else (-1.0 if case == 2 else 0.0)
        b = 1.0 if case == 3 else (-1.0 if case == 4 else 0.0)
        value, first, second, third, depth = premium_terms(
            phi, S / K, T, v + a * dv, r + b * dr, q + b * dq, C[case], stretch
        )
        prices[case] = value
        firsts[case] = first
        if case == 0:
            if depth >= 0.0:
                return phi * (S - K), phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            p0, p1, p2, p3 = value, first, second, third
    euro, delta, gamma, theta, vega, rho, vanna, volga, charm = european_greeks(phi, S, K, T, v, r, q)
    certain = certain_greeks(phi, S, K, T, r, q, True)
    if euro + K * p0 < certain[0]:
        return certain
    if futures:
        rho -= T * S * delta
    var = v * v
    theta += r * K * p0 - (r - q) * S * p1 - 0.5 * var * S * S * p2 / K
    charm += q * p1 - (r - q + var) * S * p2 / K - 0.5 * var * S * S * p3 / (K * K)
    vega += K * (prices[1] - prices[2]) / (2.0 * dv)
    volga += K * (prices[1] - 2.0 * p0 + prices[2]) / (dv * dv)
    vanna += (firsts[1] - firsts[2]) / (2.0 * dv)
    rho += K * (prices[3] - prices[4]) / (2.0 * dr)
    return euro + K * p0, delta + p1, max(gamma + p2 / K, 0.0), theta, vega, rho, vanna, volga, charm


VOL_NODES = 9
TABLE_SHAPE = (3, VOL_NODES, NODES + 1)


def _vol_scheme() -> tuple[Floats, Floats]:
    """Chebyshev points of (0, 1) in log2 of the volatility over its octave, and their barycentric weights."""
    k = np.arange(VOL_NODES)
    angle = (2 * k + 1) * np.pi / (2 * VOL_NODES)
    return 0.5 * (1.0 + np.cos(angle)), np.sin(angle) * (-1.0) ** k


VOL_AT, VOL_BARY = _vol_scheme()


@compiled
def fill_table(
    phi: float, horizon: float, vol_low: float, r: float, q: float, futures: bool, table: Floats
) -> bool:
    """Boundaries for every time to expiry up to ``horizon`` and volatility from ``vol_low`` to its double.

    A boundary as a function of the time to expiry does not know the expiry, nor, over the strike, the
    strike: one table serves all strikes of a side while the clock runs down. Rows: the rate as it is,
    bumped up, bumped down; then the volatility nodes; then the series.
    """
    h = rate_bump_of(phi, r, q, futures)
    H = np.empty(NODES)
    ok = True
    for bump in range(3):
        shift = h if bump == 1 else (-h if bump == 2 else 0.0)
        before = 0.0
        for m in range(VOL_NODES):
            v = vol_low * 2.0 ** VOL_AT[m]
            if m > 0:
                for i in range(NODES):
                    H[i] *= (v / before) ** 2  # ln B is nearly proportional to the volatility
            q_shift = shift if futures else 0.0
            ok = boundary_series(phi, horizon, v, r + shift, q + q_shift, H, m > 0, table[bump, m]) and ok
            before = v
    return ok


@compiled
def table_row(table: Floats, x: float, row: Floats) -> None:
    """Series at ``x`` = log2 of the volatility over the table's lowest (barycentric interpolation)."""
    total = 0.0
    row[:] = 0.0
    for m in range(VOL_NODES):
        away = x - VOL_AT[m]
        if abs(away) < 1e-14:
            row[:] = table[m]
            return
        weight = VOL_BARY[m] / away
        total += weight
        for k in range(NODES + 1):
            row[k] += weight * table[m, k]
    for k in range(NODES + 1):
        row[k] /= total


@compiled
def table_greeks(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    futures: bool,
    table: Floats,
    horizon: float,
    vol_low: float,
) -> Nine:
    """American Greeks from a table of boundaries: as ``american_greeks``, with nothing left to solve."""
    C = np.empty((5, NODES + 1))
    x = math.log2(v / vol_low)
    table_row(table[0], x, C[0])
    table_row(table[0], x + math.log2(1.0 + VOL_BUMP), C[1])
    table_row(table[0], x + math.log2(1.0 - VOL_BUMP), C[2])
    table_row(table[1], x, C[3])
    table_row(table[2], x, C[4])
    return greeks_from_series(phi, S, K, T, v, r, q, futures, C, math.sqrt(T / horizon))


@compiled
def table_price(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    table: Floats,
    horizon: float,
    vol_low: float,
) -> float:
    """American price from a table of boundaries."""
    C = np.empty(NODES + 1)
    table_row(table[0], math.log2(v / vol_low), C)
    value, _, _, _, depth = premium_terms(phi, S / K, T, v, r, q, C, math.sqrt(T / horizon))
    if depth >= 0.0:
        return phi * (S - K)
    return max(european_price(phi, S, K, T, v, r, q) + K * value, certain_greeks(phi, S, K, T, r, q, True)[0])


@compiled
def boundary_pays(phi: float, S: float, K: float, T: float, v: float, r: float, q: float) -> bool:
    """Whether the option has one exercise boundary and enough randomness for it to matter."""
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    return kind == SINGLE and T > 0.0 and v * math.sqrt(T) >= 1e-6 and S > 0.0 and K > 0.0


@compiled
def american_by_lattice(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, futures: bool
) -> Nine:
    """American Greeks by finite differences, or of the best fixed time of exercise where it is worth more."""
    certain = certain_greeks(phi, S, K, T, r, q, True)
    none = np.empty(0)
    found = lattice_greeks(phi, S, K, T, v, r, q, none, none, False, True, futures)
    return certain if found[0] < certain[0] else found


@compiled
def american_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, futures: bool
) -> Nine:
    """Price and eight Greeks of an American option with a continuous yield.

    With ``futures`` the yield moves with the rate. Finite differences answer where a boundary did not
    settle and where there are two.
    """
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    if kind == NEVER or v * math.sqrt(T) < 1e-6 or S <= 0.0 or K <= 0.0:
        # next to no randomness: a fixed time of exercise is a lower bound, and all there is
        certain = certain_greeks(phi, S, K, T, r, q, True)
        price, delta, gamma, theta, vega, rho, vanna, volga, charm = european_greeks(phi, S, K, T, v, r, q)
        if kind != NEVER and certain[0] >= price:
            return certain
        if futures:
            rho -= T * S * delta
        return price, delta, gamma, theta, vega, rho, vanna, volga, charm
    if kind == SINGLE:
        C = np.empty((5, NODES + 1))
        if solve_five(phi, T, v, r, q, futures, C):
            return greeks_from_series(phi, S, K, T, v, r, q, futures, C, 1.0)
    return american_by_lattice(phi, S, K, T, v, r, q, futures)


# --------------------------------------------------------------------------------------------------------
# Finite differences: cash dividends, and the continuous-yield cases the boundary method declines
# --------------------------------------------------------------------------------------------------------
#
# Crank–Nicolson in the logarithm of the state, four implicit half steps after every kink (Rannacher 1984),
# each step's exercise set found by policy iteration, so it need not be connected.

GRID_HALF = 400  # nodes on each side of the spot; half as many again for calls, exercised at isolated dates
GRID_STEPS = 240


@compiled
def dividends_ahead(now: float, T: float, r: float, times: Floats, amounts: Floats, including: bool) -> float:
    """Value at ``now`` of the dividends still to come by ``T`` (``including`` one going ex at ``now``)."""
    total = 0.0
    for k in range(times.size):
        if 0.0 < times[k] <= T and (times[k] > now or (including and times[k] == now)):
            total += amounts[k] * math.exp(-r * (times[k] - now))
    return total


@compiled
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
    """Solve one tridiagonal step for ``V`` with ``V >= floor`` where ``american`` (ends are given in rhs)."""
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


@compiled
def interpolate_cubic(V: Floats, at: float) -> float:
    """Four-point Lagrange value of ``V`` at fractional index ``at``, held at the ends."""
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


@compiled
def exercise_on_grid(V: Floats, phi: float, X: Floats, K: float) -> None:
    """Raise ``V`` to the exercise value; nodes beside a crossing get the mean over their cell."""
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


@compiled
def payoff_on_grid(V: Floats, phi: float, X: Floats, K: float, dx: float) -> None:
    """Fill ``V`` with the payoff averaged over each cell: the kink's place between nodes stops mattering."""
    half_cell = math.exp(0.5 * dx)
    for i in range(V.size):
        a = X[i] / half_cell
        b = X[i] * half_cell
        if phi < 0.0:
            b = min(b, K)
        else:
            a = max(a, K)
        V[i] = phi * ((b - a) - K * math.log(b / a)) / dx if b > a else 0.0


@compiled
def drop_on_grid(V: Floats, phi: float, X: Floats, dx: float, cash: float, discount: float) -> None:
    """Value just before a dividend of ``cash`` in the spot model: the value after it, at the spot less it."""
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


@compiled
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
    """Carry ``V`` back from ``start`` to ``until``, an interval without an ex-date inside."""
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
        # steps grow from the start, where a kink smooths and the exercise boundary runs like a square root;
        # the first two are halved and implicit
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


@compiled
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
    between = american and not (q <= 0.0 <= r and phi > 0.0)  # else a call waits for the next ex-date
    twin = american and not spot_model  # the European twin is known exactly: its error is taken off
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


@compiled
def grid_slopes(V: Floats, c: int, dx: float, state: float) -> tuple[float, float, float, float]:
    """Value and three derivatives in the state at node ``c`` of a logarithmic grid."""
    a2, a1, b1, b2 = V[c - 2], V[c - 1], V[c + 1], V[c + 2]
    s1 = (8.0 * (b1 - a1) - (b2 - a2)) / (12.0 * dx)
    s2 = (16.0 * (b1 + a1) - (b2 + a2) - 30.0 * V[c]) / (12.0 * dx * dx)
    s3 = (b2 - 2.0 * b1 + 2.0 * a1 - a2) / (2.0 * dx * dx * dx)
    return V[c], s1 / state, (s2 - s1) / state**2, (s3 - 3.0 * s2 + 2.0 * s1) / state**3


@compiled
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


@compiled
def european_dividend_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, times: Floats, amounts: Floats
) -> Nine:
    """European option in the escrowed model: Black–Scholes on the spot less its dividends' value."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    ahead = 0.0
    slope = 0.0
    for k in range(times.size):
        if 0.0 < times[k] <= T:
            worth = amounts[k] * math.exp(-r * times[k])
            ahead += worth
            slope += times[k] * worth
    state = max(S - ahead, 0.0)
    price, delta, gamma, theta, vega, rho, vanna, volga, charm = european_greeks(phi, state, K, T, v, r, q)
    theta -= r * ahead * delta
    charm -= r * ahead * gamma
    return price, delta, gamma, theta, vega, rho + delta * slope, vanna, volga, charm


# --------------------------------------------------------------------------------------------------------
# Implied volatility
# --------------------------------------------------------------------------------------------------------

OK, BELOW, ABOVE, EXPIRED, BAD = 0, 1, 2, 3, 4


@compiled
def erfcx(x: float) -> float:
    """Scaled complementary error function exp(x²)·erfc(x), near full precision for every x > -26."""
    if x > 10.0:
        y = 0.5 / (x * x)
        term = 1.0
        total = 1.0
        for k in range(1, 13):
            term *= -(2 * k - 1) * y
            total += term
        return total / (x * math.sqrt(math.pi))
    # the square is split so that its rounding does not reach the exponential
    high = math.floor(x * 1048576.0) / 1048576.0
    return math.exp(high * high) * math.exp((x - high) * (x + high)) * math.erfc(x)


@compiled
def mills(z: float) -> float:
    """N(z)/n(z) without under- or overflow for z < 37."""
    return math.sqrt(0.5 * math.pi) * erfcx(-z * SQRT_HALF)


@compiled
def normalised_black(x: float, s: float) -> float:
    """Out-of-the-money Black price over sqrt(F·K); ``x`` = -|ln(F/K)|, ``s`` = v·sqrt(T) (Jäckel 2015).

    A small total deviation makes the textbook difference lose digits; the odd Taylor series in s/2 of the
    Mills ratio has only positive terms. Its derivatives follow a three-term recurrence, run backward
    (Miller) where the forward one is unstable.
    """
    h = x / s
    t = 0.5 * s
    front = INV_SQRT_2PI * math.exp(-0.5 * (h * h + t * t))
    if t > 0.25:
        if h + t > 5.0:
            return math.exp(0.5 * x) * norm_cdf(h + t) - math.exp(-0.5 * x) * norm_cdf(h - t)
        return front * (mills(h + t) - mills(h - t))
    base = mills(h)
    total = 0.0
    if h > -2.0:
        a = base
        b = 1.0 + h * base
        factor = t
        total = b * factor
        for k in range(1, 17):
            a, b = b, k * a + h * b
            factor *= t / (k + 1)
            if k % 2 == 0:
                total += b * factor
        return 2.0 * front * total
    # backward: ratios R_k = M^(k)/M^(k-1) from far out, then upward products
    ratios = np.empty(18)
    ratio = 0.0
    for k in range(24 + int(400.0 / (h * h)), 0, -1):
        ratio = k / (ratio - h)
        if k <= 17:
            ratios[k] = ratio
    # M^(k+1) = k M^(k-1) + h M^(k)  =>  M^(k)/M^(k-1) = k / (R_(k+1) - h) with M' = 1 + h M for k = 0
    value = base
    factor = 1.0
    for k in range(1, 18):
        value *= ratios[k]
        factor *= t / k
        if k % 2 == 1:
            total += value * factor
    return 2.0 * front * total


@compiled
def normalised_iv(x: float, beta: float) -> float:
    """Total deviation s with ``normalised_black(x, s) = beta``; needs 0 < beta < exp(x/2)."""
    top = math.exp(0.5 * x)
    if x > -1e-300:
        x = 0.0
    s = math.sqrt(2.0 * abs(x)) if x < 0.0 else 0.0
    if s > 0.0 and beta < normalised_black(x, s):
        # ln b is nearly linear in 1/s²: Newton from the inflection point
        goal = math.log(beta)
        for _ in range(60):
            b = normalised_black(x, s)
            if b <= 0.0:
                s *= 1.5
                continue
            h = x / s
            slope = INV_SQRT_2PI * math.exp(-0.5 * (h * h + 0.25 * s * s)) / b
            w = 1.0 / (s * s)
            # d ln b / dw = slope · ds/dw, ds/dw = -s³/2
            w -= (math.log(b) - goal) / (-0.5 * slope * s * s * s)
            fresh = 1.0 / math.sqrt(w) if w > 0.0 else 2.0 * s
            done = abs(fresh - s) <= 4e-16 * s
            s = fresh
            if done:
                break
        return s
    if beta > 0.5 * top:
        # near the maximum: Newton on the logarithm of what is missing
        goal = math.log(top - beta)
        s = max(s, 1.0)
        for _ in range(60):
            h = x / s
            t = 0.5 * s
            rest = top * norm_cdf(-h - t) + math.exp(-0.5 * x) * norm_cdf(h - t)
            slope = -INV_SQRT_2PI * math.exp(-0.5 * (h * h + t * t)) / rest
            step = (math.log(rest) - goal) / slope
            fresh = s - step
            if fresh <= 0.0:
                fresh = 0.5 * s
            done = abs(fresh - s) <= 4e-16 * s
            s = fresh
            if done:
                break
        return s
    if s == 0.0:
        s = 2.0 * math.sqrt(0.5 * math.pi) * beta
    for _ in range(60):
        h = x / s
        slope = INV_SQRT_2PI * math.exp(-0.5 * (h * h + 0.25 * s * s))
        fresh = s - (normalised_black(x, s) - beta) / slope
        if fresh <= 0.0:
            fresh = 0.5 * s
        done = abs(fresh - s) <= 4e-16 * s
        s = fresh
        if done:
            break
    return s


@compiled
def european_iv(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float
) -> tuple[float, int]:
    """Volatility of a European price, with a status code."""
    if not (math.isfinite(price + S + K + T + r + q) and price >= 0.0 and S > 0.0 and K > 0.0):
        return math.nan, BAD
    if T <= 0.0:
        return math.nan, EXPIRED
    ds = S * math.exp(-q * T)
    dk = K * math.exp(-r * T)
    least = max(phi * (ds - dk), 0.0)
    most = ds if phi > 0.0 else dk
    if price >= most:
        return math.nan, ABOVE
    if price <= least:
        return math.nan, BELOW
    x = -abs(log_ratio(S, K) + (r - q) * T)
    beta = (price - least) / math.sqrt(ds * dk)
    if beta <= 0.0:
        return math.nan, BELOW
    if beta >= math.exp(0.5 * x):
        return math.nan, ABOVE
    vol = normalised_iv(x, beta) / math.sqrt(T)
    return (vol, OK) if math.isfinite(vol) and vol > 0.0 else (math.nan, BELOW)


@compiled
def american_like_price(
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
    H: Floats,
    solved_at: float,
) -> float:
    """Price by the method that fits: boundary without dividends, finite differences with them."""
    if times.size == 0:
        if american:
            return american_price(phi, S, K, T, v, r, q, H, solved_at)
        return european_price(phi, S, K, T, v, r, q)
    return lattice_value(phi, S, K, T, v, r, q, times, amounts, spot_model, american)[0]


@compiled
def bounds_verdict(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float, american: bool
) -> int:
    """Whether a price can have a volatility at all, by bounds that hold with or without dividends."""
    if not (math.isfinite(price + S + K + T + r + q) and price >= 0.0 and S > 0.0 and K > 0.0):
        return BAD
    if T <= 0.0:
        return EXPIRED
    most = S * math.exp(-q * T) if phi > 0.0 else K * math.exp(-r * T)
    if american:
        most = max(most, S if phi > 0.0 else K)
        if price <= phi * (S - K):
            return BELOW
    return ABOVE if price >= most else OK


@compiled
def bracket_top(
    price: float,
    phi: float,
    S: float,
    K: float,
    T: float,
    first: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    H: Floats,
) -> tuple[float, float]:
    """A volatility whose price is too high, from ``first`` upward, and by how much it is (-1.0: none is)."""
    top = first
    solved_at = 0.0
    for _ in range(40):
        found = american_like_price(
            phi, S, K, T, top, r, q, times, amounts, spot_model, american, H, solved_at
        )
        if found >= price:
            return top, found - price
        solved_at = top
        top *= 1.6
    return top, -1.0


@compiled
def searched_iv(
    price: float,
    phi: float,
    S: float,
    K: float,
    T: float,
    r: float,
    q: float,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
) -> tuple[float, int]:
    """Volatility by bracketed secant search on any price that rises with it; status as ``european_iv``.

    The European answer seeds the search: it bounds the American one from above.
    """
    verdict = bounds_verdict(price, phi, S, K, T, r, q, american)
    state = S if spot_model or verdict == BAD else S - dividends_ahead(0.0, T, r, times, amounts, False)
    if state <= 0.0:
        verdict = BAD
    if verdict != OK:
        return math.nan, verdict
    if times.size == 0 and american:
        if price <= certain_greeks(phi, S, K, T, r, q, True)[0]:
            return math.nan, BELOW
        if (exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)) == NEVER:
            return european_iv(price, phi, S, K, T, r, q)
    hi, status = european_iv(price, phi, state, K, T, r, q)
    if status != OK:
        hi = 0.3
    goal = 1e-15 * S
    H = np.empty(NODES)
    hi, f_hi = bracket_top(price, phi, S, K, T, hi, r, q, times, amounts, spot_model, american, H)
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
        f_b = american_like_price(phi, S, K, T, b, r, q, times, amounts, spot_model, american, H, a) - price
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
    if best <= 1e-6 and f_best > goal:
        return math.nan, BELOW
    return best, OK


@compiled
def table_iv(
    price: float,
    phi: float,
    S: float,
    K: float,
    T: float,
    r: float,
    q: float,
    first: float,
    table: Floats,
    horizon: float,
    vol_low: float,
) -> tuple[float, bool]:
    """American implied volatility within the octave of a table, searched downward from ``first``.

    False when it is not in the octave or the price has none; then the volatility means nothing.
    """
    if price <= max(phi * (S - K), certain_greeks(phi, S, K, T, r, q, True)[0]):
        return 0.0, False
    root = math.sqrt(T)
    a = first
    f_a = table_price(phi, S, K, T, a, r, q, table, horizon, vol_low) - price
    d1 = (log_ratio(S, K) + (r - q) * T) / (a * root) + 0.5 * a * root
    vega = S * math.exp(-q * T) * norm_pdf(d1) * root
    lo = vol_low
    hi = first
    b = a - f_a / vega if vega > 0.0 else 0.5 * (lo + hi)
    if f_a < 0.0 or table_price(phi, S, K, T, lo, r, q, table, horizon, vol_low) > price:
        return 0.0, False
    for _ in range(60):
        if not lo <= b <= hi:
            b = 0.5 * (lo + hi)
        f_b = table_price(phi, S, K, T, b, r, q, table, horizon, vol_low) - price
        if f_b > 0.0:
            hi = b
        else:
            lo = b
        if f_b == 0.0 or abs(b - a) <= 1e-9 * b:
            return b, True
        gap = f_b - f_a
        following = b - f_b * (b - a) / gap if gap != 0.0 else 0.5 * (lo + hi)
        a, f_a = b, f_b
        b = following
    return b, hi - lo <= 1e-9 * hi


# --------------------------------------------------------------------------------------------------------
# Loops over arrays: one compiled call for a chain
# --------------------------------------------------------------------------------------------------------


@compiled
def fill_european(
    phi: Floats, S: Floats, K: Floats, T: Floats, v: Floats, r: Floats, q: Floats, futures: bool, out: Floats
) -> None:
    """European Greeks of each element into the columns of ``out`` (9, n)."""
    for i in range(S.size):
        nine = european_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i])
        for j in range(9):
            out[j, i] = nine[j]
        if futures and T[i] > 0.0:
            out[5, i] -= T[i] * S[i] * nine[1]


@compiled
def fill_american(
    phi: Floats, S: Floats, K: Floats, T: Floats, v: Floats, r: Floats, q: Floats, futures: bool, out: Floats
) -> None:
    """American Greeks of each element into the columns of ``out`` (9, n).

    The boundaries of the last call and the last put are kept: neighbours that differ in spot and strike
    alone share them, to the same digits.
    """
    C = np.empty((2, 5, NODES + 1))
    seen = np.full((2, 4), np.nan)
    for i in range(S.size):
        side = 1 if phi[i] > 0.0 else 0
        if boundary_pays(phi[i], S[i], K[i], T[i], v[i], r[i], q[i]):
            last = seen[side]
            same = last[0] == T[i] and last[1] == v[i] and last[2] == r[i] and last[3] == q[i]
            if same or solve_five(phi[i], T[i], v[i], r[i], q[i], futures, C[side]):
                last[0], last[1], last[2], last[3] = T[i], v[i], r[i], q[i]
                nine = greeks_from_series(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], futures, C[side], 1.0)
            else:
                last[0] = np.nan
                nine = american_by_lattice(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], futures)
        else:
            nine = american_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], futures)
        for j in range(9):
            out[j, i] = nine[j]


@compiled
def fill_dividend(
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    v: Floats,
    r: Floats,
    q: Floats,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    out: Floats,
) -> None:
    """Greeks of each element with cash dividends into the columns of ``out`` (9, n)."""
    for i in range(S.size):
        ahead = dividends_ahead(0.0, T[i], r[i], times, amounts, False)
        if ahead == 0.0:
            if american:
                nine = american_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], False)
            else:
                nine = european_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i])
        elif not american and not spot_model:
            nine = european_dividend_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], times, amounts)
        else:
            nine = lattice_greeks(
                phi[i], S[i], K[i], T[i], v[i], r[i], q[i], times, amounts, spot_model, american, False
            )
        for j in range(9):
            out[j, i] = nine[j]


@compiled
def fill_implied(
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    vol: Floats,
    status: NDArray[np.int64],
) -> None:
    """Implied volatility and status code of each element."""
    for i in range(S.size):
        ahead = dividends_ahead(0.0, T[i], r[i], times, amounts, False)
        if american or (ahead > 0.0 and spot_model):
            vol[i], status[i] = searched_iv(
                price[i], phi[i], S[i], K[i], T[i], r[i], q[i], times, amounts, spot_model, american
            )
        else:
            vol[i], status[i] = european_iv(price[i], phi[i], S[i] - ahead, K[i], T[i], r[i], q[i])
