"""Raw SVI slices and the least-squares fit of one: the loops of :mod:`scalpdesk.pricing.svi`."""

import math
from typing import NamedTuple

import numpy as np

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.compiling import inner, kernel

HUBER_HALF_SPREADS = 1.0
"""Residuals beyond this many half-spreads count linearly, to limit the weight of a bad quote."""
_FULL_PRIOR = np.array([0.02, 0.02, 0.1, 0.1, 0.3])
"""Half-spreads per unit of each parameter away from 0: matters only where quotes do not, on the wings."""
FEW_PRIOR, FEW_SKEW = 0.05, -0.4
_CEILING = 3.0
"""Half-spreads for a variance at twice that of the next expiry, at each point of the grid."""
G_MARGIN, GROWTH_MARGIN = 3e-3, 3e-4
"""Margins of g and of the growth of volatility above zero: they may dip between grid points."""
_WING_MARGIN = 0.999
STEP = 1e-6
_IDLE_STEPS = 2
_FLOOR = 1e-16
"""Least total variance."""
REACH, POINTS = 4.6, 161
NODES = np.sinh(np.linspace(-REACH, REACH, POINTS))
"""ln(strike / forward) over the root of the total variance at the money: out to fifty of it."""
PER_NODE = np.cosh(np.linspace(-REACH, REACH, POINTS))
"""Distance of the nodes there, over that in the middle."""
SLOPE_STEP = 3e-5


_MOST_WEIGHT = 20.0
"""A quote counts at most so many times as the one in the middle while a start is searched."""
_RIDGE = 1e-9
"""Keeps the least squares of a start solvable, a part of the squared weights."""
_LEAST_CURVE, _MOST_SKEW, _LEAST_LEVEL = 1e-4, 0.99, 1e-3
"""Bounds of a start's curvature, correlation and lowest variance, in scaled units."""


class FitTerms(NamedTuple):
    """Data and penalties of a fit, per variance near the money; see :mod:`scalpdesk.pricing.svi`.

    ``x``, ``root``, ``half``: Of each quote: log-moneyness, root of the total variance, half-spread of that
    root.
    ``theta``: The variance that the others are divided by.
    ``is_full``: Five parameters are free, or level and skew alone.
    ``penalty``: Half-spreads per unit of arbitrage; 0 for a free fit.
    ``grid``: Log-moneyness at which arbitrage is looked for; the ceiling counts at the first ``near``.
    ``earlier``, ``later``: Total variance there of the previous and of the next expiry; empty without such an
    expiry.
    ``wing_limit``: Largest slope of a wing.
    """

    x: Floats
    root: Floats
    half: Floats
    theta: float
    is_full: bool
    penalty: float
    grid: Floats
    near: int
    earlier: Floats
    later: Floats
    wing_limit: float


@kernel
def raw_of(vector: Floats, is_full: bool) -> tuple[float, float, float, float, float]:
    """a, b, ρ, m, s of an unbounded vector: (ln of the lowest variance, ln b, atanh ρ, m, ln s).

    Two parameters (ln θ, atanh ρ) give the SSVI slice (Gatheral and Jacquier 2014) of curvature 1.
    """
    if is_full:
        b, s, rho = math.exp(vector[1]), math.exp(vector[4]), math.tanh(vector[2])
        a = math.exp(vector[0]) - b * s * math.sqrt(1.0 - rho * rho)
        return a, b, rho, vector[3], s
    theta, rho = math.exp(vector[0]), math.tanh(vector[1])
    phi = 1.0 / math.sqrt(theta)
    left = math.sqrt(1.0 - rho * rho)
    return 0.5 * theta * left * left, 0.5 * theta * phi, rho, -rho / phi, left / phi


@inner
def slice_at(
    a: float, b: float, rho: float, m: float, s: float, k: float, theta: float
) -> tuple[float, float]:
    """Total variance and g at one log-moneyness."""
    y = k - m
    root = math.hypot(y, s)
    w = max(a + b * (rho * y + root), _FLOOR)
    slope = b * (rho + y / root)
    bend = b * s * s / (root * root * root)
    near = 1.0 - 0.5 * k * slope / w
    return w, near * near - 0.25 * slope * slope * (1.0 / w + 0.25 * theta) + 0.5 * bend


@kernel
def raw_slices(raw: Floats, k: Floats, theta: float) -> tuple[Floats, Floats]:
    """Total variance and g of many slices (rows a, b, ρ, m, s) at every k: arrays of shape (slices, k).

    ``theta`` is the variance by which ``raw`` was divided (and k by its root); 1 without scaling.
    """
    variance = np.empty((len(raw), len(k)))
    g = np.empty((len(raw), len(k)))
    for row in range(len(raw)):
        for at in range(len(k)):
            variance[row, at], g[row, at] = slice_at(
                raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4], k[at], theta
            )
    return variance, g


@kernel
def swap_variance(a: float, b: float, rho: float, m: float, s: float, factor: float) -> float:
    """Total variance of the variance swap of a slice whose volatilities are ``factor·σ(k/factor)``.

    The quadrature is that of :func:`scalpdesk.pricing.smile_level.swap_vol`.
    """

    def root_at(k: float) -> float:
        y = k / factor - m
        return factor * math.sqrt(max(a + b * (rho * y + math.hypot(y, s)), _FLOOR))

    width = root_at(0.0)
    total = weights = 0.0
    for at in range(POINTS):
        k, step = width * NODES[at], SLOPE_STEP * width * PER_NODE[at]
        below, root, above = root_at(k - step), root_at(k), root_at(k + step)
        z = -k / root - 0.5 * root
        slope = ((step - k) / below - 0.5 * below - ((-k - step) / above - 0.5 * above)) / step
        weight = math.exp(-0.5 * z * z) * max(slope, 0.0) * PER_NODE[at]
        weights += weight
        total += weight * root * root
    return total / weights


@inner
def residuals_of(vector: Floats, terms: FitTerms, out: Floats) -> int:
    """Fill in the residuals of a vector: quotes in half-spreads, prior, arbitrage; return their number."""
    a, b, rho, m, s = raw_of(vector, terms.is_full)
    n = 0
    for quote in range(len(terms.x)):
        y = terms.x[quote] - m
        w = max(a + b * (rho * y + math.hypot(y, s)), _FLOOR)
        r = (math.sqrt(w) - terms.root[quote]) / terms.half[quote]
        size = abs(r)
        if size > HUBER_HALF_SPREADS:  # the square is Huber's loss
            r = math.copysign(math.sqrt(HUBER_HALF_SPREADS * (2.0 * size - HUBER_HALF_SPREADS)), r)
        out[n] = r
        n += 1
    if terms.is_full:
        for at in range(len(vector)):
            out[n] = _FULL_PRIOR[at] * vector[at]
            n += 1
    else:
        out[n] = FEW_PRIOR * (vector[1] - FEW_SKEW)
        n += 1
    if terms.penalty > 0.0:
        for at in range(len(terms.grid)):
            w, g = slice_at(a, b, rho, m, s, terms.grid[at], terms.theta)
            out[n] = terms.penalty * min(g - G_MARGIN, 0.0)
            n += 1
            if len(terms.earlier):
                growth = math.sqrt(w / terms.earlier[at]) - 1.0
                out[n] = terms.penalty * min(growth - GROWTH_MARGIN, 0.0)
                n += 1
            if len(terms.later) and at < terms.near:
                out[n] = _CEILING * max(w / terms.later[at] - 1.0, 0.0)
                n += 1
        out[n] = terms.penalty * max(b * (1.0 + abs(rho)) / terms.wing_limit - _WING_MARGIN, 0.0)
        n += 1
    return n


@inner
def residual_count(terms: FitTerms) -> int:
    """Largest number of residuals."""
    return len(terms.x) + len(_FULL_PRIOR) + 3 * len(terms.grid) + 1


@inner
def solved(matrix: Floats, right: Floats) -> Floats:
    """Solve a small system by elimination with row pivoting; both arguments are overwritten."""
    size = len(right)
    for column in range(size):
        pivot = column
        for row in range(column + 1, size):
            if abs(matrix[row, column]) > abs(matrix[pivot, column]):
                pivot = row
        if pivot != column:
            for at in range(size):
                matrix[column, at], matrix[pivot, at] = matrix[pivot, at], matrix[column, at]
            right[column], right[pivot] = right[pivot], right[column]
        for row in range(column + 1, size):
            factor = matrix[row, column] / matrix[column, column]
            for at in range(column, size):
                matrix[row, at] -= factor * matrix[column, at]
            right[row] -= factor * right[column]
    for row in range(size - 1, -1, -1):
        for at in range(row + 1, size):
            right[row] -= matrix[row, at] * right[at]
        right[row] /= matrix[row, row]
    return right


@kernel
def searched(ms: Floats, ss: Floats, lower: Floats, upper: Floats, terms: FitTerms) -> Floats:
    """Return the vector of least loss among places (m, s): at each, least squares give what is linear in it.

    The total variance is linear in level, skew and curvature; an error dw of it is one of dw / (2 root) of
    the volatility.
    """
    x, count = terms.x, len(terms.x)
    weight = 1.0 / (2.0 * terms.root * terms.half)
    weight = np.minimum(weight, _MOST_WEIGHT * np.median(weight))
    ridge = _RIDGE * np.sum(weight * weight)
    normal, right = np.empty((3, 3)), np.empty(3)
    values = np.empty(residual_count(terms))
    vector, best, least = np.empty(5), np.empty(5), np.inf
    for place in range(len(ms)):
        m, s = ms[place], ss[place]
        s00, s01, s02, s11, s12, s22, t0, t1, t2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for quote in range(count):
            y = (x[quote] - m) / s
            level = weight[quote]
            skew, curve = level * y, level * math.sqrt(y * y + 1.0)
            target = level * terms.root[quote] ** 2
            s00 += level * level
            s01 += level * skew
            s02 += level * curve
            s11 += skew * skew
            s12 += skew * curve
            s22 += curve * curve
            t0 += level * target
            t1 += skew * target
            t2 += curve * target
        normal[0, 0], normal[1, 1], normal[2, 2] = s00 + ridge, s11 + ridge, s22 + ridge
        normal[0, 1] = normal[1, 0] = s01
        normal[0, 2] = normal[2, 0] = s02
        normal[1, 2] = normal[2, 1] = s12
        right[0], right[1], right[2] = t0, t1, t2
        a, d, c = solved(normal, right)
        c = max(c, _LEAST_CURVE)
        rho = min(max(d / c, -_MOST_SKEW), _MOST_SKEW)
        vector[0] = math.log(max(a + c * math.sqrt(1.0 - rho * rho), _LEAST_LEVEL))
        vector[1], vector[2], vector[3], vector[4] = math.log(c / s), math.atanh(rho), m, math.log(s)
        for at in range(5):
            vector[at] = min(max(vector[at], lower[at]), upper[at])
        n = residuals_of(vector, terms, values)
        loss = 0.0
        for at in range(n):
            loss += values[at] * values[at]
        if loss < least:
            least = loss
            best[:] = vector
    return best


@inner
def jacobian_at(point: Floats, terms: FitTerms, values: Floats, jacobian: Floats) -> int:
    """Fill in residuals and their slopes, one row a parameter; return the number of residuals."""
    n = residuals_of(point, terms, values)
    bumped = np.empty(len(values))
    for at in range(len(point)):
        moved = point.copy()
        moved[at] += STEP
        residuals_of(moved, terms, bumped)
        for i in range(n):
            jacobian[at, i] = (bumped[i] - values[i]) / STEP
    return n


@kernel
def fitted(
    start: Floats, lower: Floats, upper: Floats, enough: float, max_steps: int, terms: FitTerms
) -> Floats:
    """Minimise a sum of squares within bounds by Levenberg–Marquardt.

    Nielsen's damping (Madsen, Nielsen and Tingleff, *Methods for non-linear least squares problems*, 2004).
    """
    size, most = len(start), residual_count(terms)
    point = np.minimum(np.maximum(start, lower), upper)
    values, trial_values = np.empty(most), np.empty(most)
    jacobian, trial_jacobian = np.empty((size, most)), np.empty((size, most))
    normal, matrix = np.empty((size, size)), np.empty((size, size))
    gradient, right = np.empty(size), np.empty(size)
    damping, growth, idle = 1e-3, 2.0, 0
    n = jacobian_at(point, terms, values, jacobian)
    loss = np.sum(values[:n] ** 2)
    is_new = True
    for _ in range(max_steps):
        if is_new:
            for i in range(size):
                gradient[i] = np.sum(jacobian[i, :n] * values[:n])
                for j in range(i + 1):
                    normal[i, j] = normal[j, i] = np.sum(jacobian[i, :n] * jacobian[j, :n])
        trace = 0.0
        for i in range(size):
            trace += normal[i, i]
        for i in range(size):
            for j in range(size):
                matrix[i, j] = normal[i, j]
            matrix[i, i] += damping * max(normal[i, i], 1e-9 * max(trace, 1e-30))
            right[i] = -gradient[i]
        step = solved(matrix, right)
        trial = np.minimum(np.maximum(point + np.minimum(np.maximum(step, -2.0), 2.0), lower), upper)
        moved = trial - point
        if np.max(np.abs(moved)) < 1e-9:
            break
        jacobian_at(trial, terms, trial_values, trial_jacobian)
        trial_loss = np.sum(trial_values[:n] ** 2)
        is_new = bool(trial_loss < loss)
        if is_new:
            gain = loss - trial_loss
            promised = 0.0
            for i in range(size):
                promised -= 2.0 * gradient[i] * moved[i]
                for j in range(size):
                    promised -= moved[i] * normal[i, j] * moved[j]
            ratio = gain / promised if promised > 0.0 else 1.0
            damping *= max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
            growth = 2.0
            point, loss = trial, trial_loss
            values, trial_values = trial_values, values
            jacobian, trial_jacobian = trial_jacobian, jacobian
            idle = idle + 1 if gain < enough * loss + 1e-16 else 0
            if idle == _IDLE_STEPS:
                break
        else:
            damping *= growth
            growth *= 2.0
            if damping > 1e12:
                break
    return point
