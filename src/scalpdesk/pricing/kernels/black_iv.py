"""European implied volatility to machine precision."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.normal import (
    INV_SQRT_2PI,
    log_ratio,
    mills,
    mills_and_slope,
    norm_cdf,
    row_of,
)

OK, BELOW, ABOVE, EXPIRED, BAD = 0, 1, 2, 3, 4
_LOG_INV_SQRT_2PI = math.log(INV_SQRT_2PI)
_NEAR_SERIES = (
    5.176769678906216,
    3.085943825265839,
    0.655205567670932,
    0.2685275582125658,
    0.060311628346850644,
    0.028120045786798182,
    0.003604069935766606,
    0.006655689070769271,
)
"""Monomials of s/beta in u = (3y - 8)/(y + 8), y = x/beta < 8; see ``first_deviation``."""
_FAR_SERIES = (
    0.9508568886027847,
    -0.5228034218953871,
    0.10066087249396488,
    0.1394040460174933,
    -0.05993032718475316,
    -0.030004768341122607,
    0.013881315464982533,
    0.010860216444231078,
    -0.005435830717412621,
)
"""Monomials of h/sqrt(ln y) in u, linear in 1/sqrt(ln y), for y of 8 to exp(720)."""
FAR_SCALE, FAR_SHIFT = 3.0478487269155132, -1.113586615641988
G0, G1, G2, G3, G4, G5, G6, G7 = _NEAR_SERIES
H0, H1, H2, H3, H4, H5, H6, H7, H8 = _FAR_SERIES


@inner
def price_over_vega(x: float, s: float) -> float:
    """Out-of-the-money Black price over its slope in ``s``; ``x`` = -|ln(F/K)|, ``s`` = v·sqrt(T).

    Price and slope are those over sqrt(F·K) (Jäckel 2015). A small total deviation makes the textbook
    difference lose digits; the odd Taylor series in s/2 of the Mills ratio has only positive terms. Its
    derivatives follow a three-term recurrence: forward from a precise first derivative where |x| < 2, which
    bounds the growth of rounding by sinh(1); else backward (Miller).
    """
    h = x / s
    t = 0.5 * s
    if t > 0.25:
        if h + t > 5.0:
            whole = math.exp(0.5 * x) * norm_cdf(h + t) - math.exp(-0.5 * x) * norm_cdf(h - t)
            return whole * math.sqrt(2.0 * math.pi) * math.exp(0.5 * (h * h + t * t))
        return mills(h + t) - mills(h - t)
    value, slope = mills_and_slope(-h)
    total = 0.0
    if x > -2.0:
        total = slope
        factor = 1.0
        for k in range(1, 40, 2):
            # M^(k+1) = k M^(k-1) + h M^(k)
            value = k * value + h * slope
            slope = (k + 1) * slope + h * value
            factor *= t * t / ((k + 1) * (k + 2))
            total += factor * slope
            if factor * slope < 1e-17 * total:
                break
        return 2.0 * t * total
    # backward: ratios R_k = M^(k)/M^(k-1) = k / (R_(k+1) - h) from far out, then upward products
    ratios = np.empty(18)
    ratio = 0.0
    for k in range(24 + int(400.0 / (h * h)), 0, -1):
        ratio = k / (ratio - h)
        if k <= 17:
            ratios[k] = ratio
    factor = 1.0
    for k in range(1, 18):
        value *= ratios[k]
        factor *= t / k
        if k % 2 == 1:
            total += value * factor
    return 2.0 * total


@inner
def householder_step(gap: float, second: float, third: float) -> float:
    """Householder's step of order three from f/f', f''/f' and f'''/f'; the error goes to its fourth power."""
    newton = -gap
    if abs(second * newton) > 0.5:
        return newton
    return newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton / 6.0))


@inner
def first_deviation(x: float, beta: float, log_beta: float) -> float:
    """Total deviation at which the price is ``beta``; ``x`` = |ln(F/K)|.

    A small deviation s prices like a normal distribution: beta = s·n(h)·(1 - h·M(h)) with h = x/s and Mills'
    ratio M, a function of one variable, here inverted by two polynomials (Chebyshev fits, error 1e-5). The
    last step corrects to the order s². Within 1e-4 for the options of a chain, so that one step is enough.
    """
    ratio = x / beta
    if ratio < 8.0:
        u = (3.0 * ratio - 8.0) / (ratio + 8.0)
        u2 = u * u
        low = (G0 + G1 * u) + u2 * (G2 + G3 * u)
        s = beta * (low + u2 * u2 * ((G4 + G5 * u) + u2 * (G6 + G7 * u)))
        h = x / s
    else:
        root = 1.0 / math.sqrt(math.log(x) - log_beta)
        u = FAR_SCALE * root + FAR_SHIFT
        u2 = u * u
        u4 = u2 * u2
        low = (H0 + H1 * u) + u2 * (H2 + H3 * u)
        h = (low + u4 * ((H4 + H5 * u) + u2 * (H6 + H7 * u) + u4 * H8)) / root
        s = x / h
    off = s * s * (0.125 - 1.0 / (12.0 + 5.88 * h + 4.0 * h * h))
    return s * (1.0 + off / (1.0 + h + h * h))


@inner
def normalised_iv(x: float, beta: float) -> float:
    """Total deviation s at which the normalised price is ``beta``; needs 0 < beta < exp(x/2).

    Only the ratios of the price, its second and its third derivative to the first are needed (Jäckel 2015).
    The objective is the logarithm of the price, or of its distance from the maximum.
    """
    top = math.exp(0.5 * x)
    if x > -1e-300:
        x = 0.0
    high = beta > 0.5 * top
    if high:
        goal = math.log(top - beta)
        s = max(math.sqrt(2.0 * abs(x)), 1.0)
    else:
        goal = math.log(beta)
        s = first_deviation(-x, beta, goal)
        goal -= _LOG_INV_SQRT_2PI
    for _ in range(60):
        h2 = (x / s) ** 2
        t2 = 0.25 * s * s
        second = (h2 - t2) / s
        third = second * second - 3.0 * h2 / (s * s) - 0.25
        if high:
            h = x / s
            t = 0.5 * s
            slope = INV_SQRT_2PI * math.exp(-0.5 * (h2 + t2))
            rate = slope / (top * norm_cdf(-h - t) + math.exp(-0.5 * x) * norm_cdf(h - t))
            step = householder_step(
                -(math.log(slope / rate) - goal) / rate,
                second + rate,
                third + rate * (2.0 * rate + 3.0 * second),
            )
        else:
            ratio = price_over_vega(x, s)
            rate = 1.0 / ratio
            step = householder_step(
                (math.log(ratio) - 0.5 * (h2 + t2) - goal) * ratio,
                second - rate,
                third + rate * (2.0 * rate - 3.0 * second),
            )
        fresh = s + step
        if not fresh > 0.5 * s:
            fresh = 0.5 * s
        fresh = min(fresh, 2.0 * s)
        moved = abs(fresh - s)
        s = fresh
        if moved <= 2e-4 * s:  # the error is about its fourth power
            break
    return s


@kernel
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


@kernel
def fill_european_iv(quoted: Seven, vol: Floats, status: NDArray[np.int64]) -> None:
    """Fill ``vol`` with each element's European implied volatility and ``status`` with its status code."""
    for i in range(vol.size):
        vol[i], status[i] = european_iv(*row_of(quoted, i))
