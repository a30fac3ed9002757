"""Exercise boundary of an American put: the equations of Andersen, Lake and Offengenden (2016).

Everything is for the put with strike 1; a call with (r, q) is the put with (q, r) mirrored (McDonald and
Schroder 1998), and its boundary is the reciprocal. The boundary B(tau) is stored as H = ln(B/X)^2 at
Chebyshev nodes of sqrt(tau), with X = min(1, r/q) its limit at expiry. QD+ (Li 2010) gives the start.

The paper iterates two fixed-point systems. System A contracts by a third a round, and less for low
volatilities against high rates; Newton's method on the same equations needs three rounds from a neighbour's
solution, and its matrix gives the boundary's slope in the rate for one more solve.

All points of all integrals are in one flat buffer ``w``, row after row, the node index running fastest: the
compiler then knows that rows do not overlap, and vectorises every loop.
"""

import math

import numpy as np

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.normal import (
    INV_SQRT_2PI,
    exp_quick,
    norm_cdf,
    norm_pdf,
    tail_over_density,
)


@inner
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


@inner
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
            mid = 0.5 * (lo + hi)  # the equation is flat on one side, where secants alone converge slowly
        f_mid = seed_equation(mid, tau, v, r, q)
        if f_mid > 0.0:
            hi = mid
            f_hi = f_mid
        else:
            lo = mid
            f_lo = f_mid
    return 0.5 * (lo + hi)


NODES = 16
STEPS = 12
POINTS = NODES * STEPS
_NODE_ROWS = 10 * POINTS  # start of the rows with one value a node
ROOM = _NODE_ROWS + 10 * NODES  # size of ``w``
MAX_ROUNDS = 25
RATE_BUMP = 1e-5
_HEIGHT_FLOOR = 1e-5  # of a node's H: between nodes its polynomial may dip below 0 near expiry
_REACH_SLACK = 1.05  # of ln B, in the laws of a boundary, added to _STEP_GOAL: the error of a solution
MEMORY = 50.0  # of (drift/v)² times T: beyond it expiry changes the price by less than exp(-25) of the strike
_STEP_GOAL = 3e-5  # of ln B: the next step is at most a hundredth of it
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


def _scheme() -> tuple[Floats, ...]:
    """Constants of the method: nodes, quadratures and the interpolation between them."""
    n = NODES
    z = np.cos(np.arange(n + 1) * np.pi / n)  # Chebyshev extrema, from the horizon down to expiry
    root = 0.5 * (1.0 + z[:n])
    y, weight = np.polynomial.legendre.leggauss(STEPS)
    # sin and cos of one angle make sqrt(tau - u) and sqrt(u) smooth at once: both ends of the integrals
    turn = 0.25 * np.pi * (1.0 + y)
    a = np.sin(turn)
    c = np.cos(turn)
    rows = _lagrange_rows((c[:, None] * (1.0 + z[:n])[None, :] - 1.0).ravel(), z)[:, :n]
    # values at the nodes (the last, at expiry, is 0) to Chebyshev coefficients, ends halved
    k = np.arange(n + 1)
    series = 2.0 / n * np.cos(np.outer(k, k[:n]) * np.pi / n)
    series[:, 0] *= 0.5
    series[[0, n]] *= 0.5
    return (
        root,
        np.repeat(a, n),
        np.outer(a, root).ravel(),
        np.outer(1.0 - a * a, root**2).ravel(),
        np.repeat(0.25 * np.pi * weight * c, n),
        np.ascontiguousarray(rows.T).ravel(),
        np.ascontiguousarray(series),
    )


ROOT_FRACTION, STEP_AT, ROOT_AHEAD, REST, STEP_WEIGHT, STEP_ROWS, SERIES = _scheme()


@inner
def seed_nodes(T: float, v: float, r: float, q: float, H: Floats) -> None:
    """Fill ``H`` with the QD+ boundary, from the node nearest expiry to the horizon."""
    limit = 1.0 if q <= r else r / q
    b = limit * math.exp(-min(v * math.sqrt(T) * ROOT_FRACTION[NODES - 1], 2.0))
    for i in range(NODES - 1, -1, -1):
        tau = T * ROOT_FRACTION[i] ** 2
        b = seed_boundary(b, limit, tau, v, r, q)
        H[i] = math.log(b / limit) ** 2


@inner
def spread(T: float, r: float, q: float, H: Floats, w: Floats) -> None:
    """Growth weights into rows 7 and 8 of ``w``, the root of H at the points into row 0, at the nodes 1.

    Row 9 gets the reciprocal of row 0, or 0 where the floor holds it.
    """
    for p in range(POINTS):
        w[7 * POINTS + p] = STEP_WEIGHT[p] * exp_quick(r * T * REST[p])
        w[8 * POINTS + p] = STEP_WEIGHT[p] * exp_quick(q * T * REST[p])
        w[p] = 0.0
    for k in range(NODES):
        height = H[k]
        for p in range(POINTS):
            w[p] += STEP_ROWS[k * POINTS + p] * height
    for i in range(NODES):
        root = math.sqrt(H[i])
        for j in range(STEPS):
            w[POINTS + j * NODES + i] = root
    for p in range(POINTS):
        least = _HEIGHT_FLOOR * w[POINTS + p] * w[POINTS + p]
        w[9 * POINTS + p] = 1.0 / math.sqrt(w[p]) if w[p] > least else 0.0
        w[p] = math.sqrt(max(w[p], least))


@inner
def terms_by_density(sd_T: float, drift_T: float, w: Floats) -> None:
    """System A (smooth pasting): integrands into rows 2, 3, 4, their slopes in row 0 into rows 5 and 6."""
    for p in range(POINTS):
        ahead = ROOT_AHEAD[p]
        sd = sd_T * ahead
        dm = (w[p] - w[POINTS + p] + drift_T * ahead * ahead) / sd
        dp = dm + sd
        rate_side = w[7 * POINTS + p] * exp_quick(-0.5 * dm * dm)
        density = exp_quick(-0.5 * dp * dp)
        yield_side = w[8 * POINTS + p] * density
        tail = INV_SQRT_2PI * density * tail_over_density(dp)
        w[2 * POINTS + p] = rate_side
        w[3 * POINTS + p] = w[8 * POINTS + p] * STEP_AT[p] * (tail if dp < 0.0 else 1.0 - tail)
        w[4 * POINTS + p] = yield_side
        w[5 * POINTS + p] = -rate_side * dm / sd
        w[6 * POINTS + p] = -yield_side * dm / sd


@inner
def terms_by_value(sd_T: float, drift_T: float, w: Floats) -> None:
    """System B (value matching): as ``terms_by_density``; row 4 stays empty."""
    for p in range(POINTS):
        ahead = ROOT_AHEAD[p]
        sd = sd_T * ahead
        dm = (w[p] - w[POINTS + p] + drift_T * ahead * ahead) / sd
        dp = dm + sd
        nm = INV_SQRT_2PI * exp_quick(-0.5 * dm * dm)
        np_ = INV_SQRT_2PI * exp_quick(-0.5 * dp * dp)
        tm = nm * tail_over_density(dm)
        tp = np_ * tail_over_density(dp)
        rate_side = w[7 * POINTS + p] * STEP_AT[p]
        yield_side = w[8 * POINTS + p] * STEP_AT[p]
        w[2 * POINTS + p] = rate_side * (tm if dm < 0.0 else 1.0 - tm)
        w[3 * POINTS + p] = yield_side * (tp if dp < 0.0 else 1.0 - tp)
        w[4 * POINTS + p] = 0.0
        w[5 * POINTS + p] = rate_side * nm / sd
        w[6 * POINTS + p] = yield_side * np_ / sd


@inner
def equations(
    by_value: bool, T: float, v: float, r: float, q: float, log_limit: float, H: Floats, w: Floats
) -> None:
    """Residual of each node's equation in ln B, into node row 0.

    Node row 1 gets its slope in the node's own ln B, node rows 2 and 3 the factors that turn rows 5 and 6
    into slopes, node rows 4 and 5 the two sides whose logarithms the equation compares.
    """
    spread(T, r, q, H, w)
    drift = r - q - 0.5 * v * v
    if by_value:
        terms_by_value(v * math.sqrt(T), drift * T, w)
    else:
        terms_by_density(v * math.sqrt(T), drift * T, w)
    for row in range(3):
        for i in range(NODES):
            w[_NODE_ROWS + (4 + row) * NODES + i] = 0.0
        for j in range(STEPS):
            for i in range(NODES):
                w[_NODE_ROWS + (4 + row) * NODES + i] += w[(2 + row) * POINTS + j * NODES + i]
    for i in range(NODES):
        sum_r = w[_NODE_ROWS + 4 * NODES + i]
        sum_q = w[_NODE_ROWS + 5 * NODES + i]
        tau = T * ROOT_FRACTION[i] * ROOT_FRACTION[i]
        sd = v * math.sqrt(T) * ROOT_FRACTION[i]
        b = log_limit - w[POINTS + i]
        dm = (b + drift * tau) / sd
        dp = dm + sd
        nm = INV_SQRT_2PI * exp_quick(-0.5 * dm * dm)
        np_ = INV_SQRT_2PI * exp_quick(-0.5 * dp * dp)
        below = np_ * tail_over_density(dp)
        if dp > 0.0:
            below = 1.0 - below
        if by_value:
            scale = 2.0 * tau
            tail = nm * tail_over_density(dm)
            num = (tail if dm < 0.0 else 1.0 - tail) + r * scale * sum_r
            den = below + q * scale * sum_q
            own = (nm / num - np_ / den) / sd
        else:
            # numerator and denominator are both multiplied by sd
            scale = 2.0 * tau * INV_SQRT_2PI
            num = nm + r * scale * sum_r
            den = np_ + sd * below
            den += q * (2.0 * sd * tau * sum_q + scale * w[_NODE_ROWS + 6 * NODES + i])
            own = dm * (np_ / den - nm / num) / sd
        w[_NODE_ROWS + i] = num / den
        w[_NODE_ROWS + NODES + i] = own
        w[_NODE_ROWS + 2 * NODES + i] = r * scale / num
        w[_NODE_ROWS + 3 * NODES + i] = q * scale / den
        w[_NODE_ROWS + 4 * NODES + i] = num
        w[_NODE_ROWS + 5 * NODES + i] = den
    for i in range(NODES):
        tau = T * ROOT_FRACTION[i] * ROOT_FRACTION[i]
        w[_NODE_ROWS + i] = math.log(w[_NODE_ROWS + i]) - (r - q) * tau - (log_limit - w[POINTS + i])


@inner
def factor_slopes(w: Floats, J: Floats) -> None:
    """Slopes of node row 0 in minus each node's ln B, as the product of a lower and a unit upper matrix.

    Column after column in ``J``. Without pivots: the diagonal dominates.
    """
    for i in range(NODES):
        w[_NODE_ROWS + 7 * NODES + i] = w[_NODE_ROWS + NODES + i] - 1.0
    for j in range(STEPS):
        for i in range(NODES):
            p = j * NODES + i
            slope = w[_NODE_ROWS + 2 * NODES + i] * w[5 * POINTS + p]
            slope -= w[_NODE_ROWS + 3 * NODES + i] * w[6 * POINTS + p]
            w[_NODE_ROWS + 7 * NODES + i] += slope
            w[5 * POINTS + p] = slope * w[9 * POINTS + p]
    for k in range(NODES):
        for i in range(NODES):
            J[k * NODES + i] = 0.0
        for j in range(STEPS):
            for i in range(NODES):
                J[k * NODES + i] += w[5 * POINTS + j * NODES + i] * STEP_ROWS[k * POINTS + j * NODES + i]
        root = w[POINTS + k]
        for i in range(NODES):
            J[k * NODES + i] *= root
        J[k * NODES + k] -= w[_NODE_ROWS + 7 * NODES + k]
    for c in range(NODES):
        for k in range(c + 1, NODES):
            share = J[k * NODES + c] / J[c * NODES + c]
            for i in range(c + 1, NODES):
                J[k * NODES + i] -= share * J[c * NODES + i]
            J[k * NODES + c] = share


@inner
def solve_factored(J: Floats, x: Floats) -> None:
    """Replace the right-hand side in ``x`` by the solution of the system factored by ``factor_slopes``."""
    for c in range(NODES):
        x[c] /= J[c * NODES + c]
        for i in range(c + 1, NODES):
            x[i] -= x[c] * J[c * NODES + i]
    for k in range(NODES - 1, -1, -1):
        for m in range(k + 1, NODES):
            x[k] -= J[m * NODES + k] * x[m]


@inner
def newton(
    by_value: bool, T: float, v: float, r: float, q: float, H: Floats, w: Floats, J: Floats, x: Floats
) -> bool:
    """Improve ``H`` in place until the next step would be negligible; False without convergence."""
    log_limit = limit_at_expiry(r, q)
    for _ in range(MAX_ROUNDS):
        equations(by_value, T, v, r, q, log_limit, H, w)
        factor_slopes(w, J)
        for i in range(NODES):
            x[i] = -w[_NODE_ROWS + i]
        solve_factored(J, x)
        largest = 0.0
        for i in range(NODES):
            root = w[POINTS + i]
            if not abs(x[i]) <= largest:  # true for NaN too
                largest = abs(x[i])
            # nodes move at most to twice or a third of their distance from the limit
            H[i] = min(max(root + x[i], 0.33 * root), 2.0 * root) ** 2
        if largest < _STEP_GOAL:
            return True
        if not largest < 1e3:
            return False
    return False


@inner
def limit_at_expiry(r: float, q: float) -> float:
    """Logarithm of the put boundary at expiry, strike 1: min(1, r/q)."""
    return 0.0 if q <= r else math.log(r / q)


@inner
def solve_boundary(
    T: float, v: float, r: float, q: float, H: Floats, warm: bool, w: Floats, J: Floats, x: Floats
) -> bool:
    """Put boundary for strike 1 into ``H``, starting from its content if ``warm``; False without convergence.

    System A is degenerate (little but a vanishing density) without a rate and with a negative yield; system
    B, which is worse conditioned elsewhere, is used there. At a low volatility against a high rate both have
    false solutions, which are refused.
    """
    by_value = r < -q
    highest = perpetual_height(v, r, q)
    if warm and newton(by_value, T, v, r, q, H, w, J, x) and is_boundary(H, highest):
        return True
    for turn in range(2):
        seed_nodes(T, v, r, q, H)
        if newton(by_value != (turn == 1), T, v, r, q, H, w, J, x) and is_boundary(H, highest):
            return True
    return False


@inner
def is_boundary(H: Floats, highest: float) -> bool:
    """Whether a solution falls with the time to expiry, to no less than the perpetual option's boundary."""
    most = math.sqrt(highest)
    for i in range(NODES):
        root = math.sqrt(H[i])
        if not root <= _REACH_SLACK * most + _STEP_GOAL:
            return False
        most = root
    return True


@kernel
def remembered_years(phi: float, T: float, v: float, r: float, q: float) -> float:
    """Time to expiry as far as it matters for an American option whose drift leads away from exercise.

    Its value approaches the perpetual option's as exp(-(drift/v)²·T/2). At a low volatility against a high
    rate that is long before expiry, and the boundary over the whole time would be a step. For calls the drift
    is that of the mirrored put.
    """
    drift = -phi * (r - q) - 0.5 * v * v
    if drift <= 0.0 or drift * drift * T <= MEMORY * v * v or (r if phi < 0.0 else q) < 0.0:
        return T
    return MEMORY * v * v / (drift * drift)


@inner
def perpetual_height(v: float, r: float, q: float) -> float:
    """H of the perpetual put (Merton 1973): the most at any time to expiry; infinite without a boundary."""
    half_var = 0.5 * v * v
    beta = (r - q) / half_var - 1.0
    root = math.sqrt(beta * beta + 4.0 * r / half_var)
    power = 0.5 * (beta + root) if beta > 0.0 else 2.0 * r / half_var / (root - beta)
    if not power > 0.0:
        return math.inf
    return (math.log1p(1.0 / power) + limit_at_expiry(r, q)) ** 2


@inner
def rate_slope(
    T: float,
    v: float,
    r: float,
    q: float,
    by_rate: float,
    by_yield: float,
    H: Floats,
    w: Floats,
    J: Floats,
    slope: Floats,
) -> None:
    """Slope of ``H`` in the rates, which move by ``by_rate`` and ``by_yield`` together, into ``slope``.

    By the implicit function theorem, with the matrix of Newton's method in ``J``. The two sides of the
    equation are differenced, not their logarithms: near a rate of zero a side is so small that it changes
    its sign within the step.
    """
    by_value = r < -q
    # on the side of the kink on which the rates are, where the limit is r/q
    bump = RATE_BUMP if q <= r else min(RATE_BUMP, 0.5 * r)
    for side in range(2):
        h = bump if side == 0 else -bump
        up_r = r + h * by_rate
        up_q = q + h * by_yield
        log_limit = 0.0 if q <= r else math.log(up_r / up_q)
        equations(by_value, T, v, up_r, up_q, log_limit, H, w)
        for i in range(NODES):
            num = w[_NODE_ROWS + 4 * NODES + i]
            den = w[_NODE_ROWS + 5 * NODES + i]
            tau = T * ROOT_FRACTION[i] * ROOT_FRACTION[i]
            rest = log_limit + (up_r - up_q) * tau
            if side == 0:
                w[_NODE_ROWS + 8 * NODES + i] = num
                w[_NODE_ROWS + 9 * NODES + i] = den
                slope[i] = rest
            else:
                first_num = w[_NODE_ROWS + 8 * NODES + i]
                first_den = w[_NODE_ROWS + 9 * NODES + i]
                apart = 2.0 * (first_num - num) / (first_num + num)
                apart -= 2.0 * (first_den - den) / (first_den + den)
                slope[i] = (slope[i] - rest - apart) / (2.0 * bump)
    solve_factored(J, slope)
    for i in range(NODES):
        slope[i] *= 2.0 * math.sqrt(H[i])


@inner
def exercise_kind(r: float, q: float) -> int:
    """Kind of early exercise of the put with these rates (for a call, with ``r`` and ``q`` exchanged)."""
    if r > 0.0 or (r == 0.0 and q < 0.0):
        return SINGLE
    return DOUBLE if q < r else NEVER
