"""European implied volatility to machine precision."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.normal import (
    INV_SQRT_2PI,
    Floats,
    log_ratio,
    mills,
    norm_cdf,
    tail_over_density,
)

OK, BELOW, ABOVE, EXPIRED, BAD = 0, 1, 2, 3, 4


@inner
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


@inner
def householder_step(gap: float, second: float, third: float) -> float:
    """Householder's step of order three from f/f', f''/f' and f'''/f'; the error goes to its fourth power."""
    newton = -gap
    if abs(second * newton) > 0.5:
        return newton
    return newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton / 6.0))


@inner
def low_start(x: float, s: float, goal: float) -> float:
    """Total deviation at which the log price is ``goal``, within a few percent; ``s`` is an upper bound.

    From the price's leading term in s, whose logarithm is nearly linear in 1/s²; ``x`` = |ln(F/K)|.
    """
    for _ in range(12):
        h = x / s
        rest = 1.0 - h * tail_over_density(h) if h < 50.0 else 1.0 / (h * h + 3.0)
        off = math.log(INV_SQRT_2PI * s * rest) - 0.5 * h * h - 0.125 * s * s - goal
        w = 1.0 / (s * s) + 2.0 * off * rest / (s * s)
        fresh = 1.0 / math.sqrt(w) if w > 0.0 else 2.0 * s
        near = abs(fresh - s) < 0.03 * s
        s = fresh
        if near:
            break
    return s


@inner
def normalised_iv(x: float, beta: float) -> float:
    """Total deviation s with ``normalised_black(x, s) = beta``; needs 0 < beta < exp(x/2).

    Only the ratios of the second and third derivatives to the first are needed, which are simple (Jäckel
    2015). The objective is the price, its logarithm where it is small, or the logarithm of its distance from
    the maximum.
    """
    top = math.exp(0.5 * x)
    if x > -1e-300:
        x = 0.0
    s = math.sqrt(2.0 * abs(x))  # the inflection point
    b = normalised_black(x, s) if s > 0.0 else 0.0
    low = s > 0.0 and beta < b
    high = not low and beta > 0.5 * top
    goal = 0.0
    if low:
        goal = math.log(beta)
        s = low_start(-x, s, goal)
        b = normalised_black(x, s)
        while b <= 0.0:
            s *= 1.5
            b = normalised_black(x, s)
    elif high:
        goal = math.log(top - beta)
        s = max(s, 1.0)
    elif s < 2.0 * math.sqrt(0.5 * math.pi) * beta:  # near the money: the at-the-money value
        s = 2.0 * math.sqrt(0.5 * math.pi) * beta
        b = normalised_black(x, s)
    for turn in range(60):
        h = x / s
        slope = INV_SQRT_2PI * math.exp(-0.5 * (h * h + 0.25 * s * s))
        second = h * h / s - 0.25 * s
        third = second * second - 3.0 * (h / s) ** 2 - 0.25
        if low:
            if turn > 0:
                b = normalised_black(x, s)
            rate = slope / b
            step = householder_step(
                (math.log(b) - goal) / rate, second - rate, third + rate * (2.0 * rate - 3.0 * second)
            )
        elif high:
            t = 0.5 * s
            rate = slope / (top * norm_cdf(-h - t) + math.exp(-0.5 * x) * norm_cdf(h - t))
            step = householder_step(
                -(math.log(slope / rate) - goal) / rate,
                second + rate,
                third + rate * (2.0 * rate + 3.0 * second),
            )
        else:
            if turn > 0:
                b = normalised_black(x, s)
            step = householder_step((b - beta) / slope, second, third)
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
def fill_european_iv(
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    vol: Floats,
    status: NDArray[np.int64],
) -> None:
    """European implied volatility and status code of each element."""
    for i in range(S.size):
        vol[i], status[i] = european_iv(price[i], phi[i], S[i], K[i], T[i], r[i], q[i])
