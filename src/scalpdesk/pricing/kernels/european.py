"""European exercise, and options without randomness."""

import math
from typing import TypeAlias

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.normal import Nine, log_ratio, row_of, visible_cdf, visible_pdf

_TINY_DEVIATION = 1e-12  # v·sqrt(T) below which the payoff is certain to double precision


@inner
def expired_greeks(phi: float, S: float, K: float) -> Nine:
    """Intrinsic value and the delta convention 0, ½, 1 at and after expiry."""
    price = max(phi * (S - K), 0.0) + 0.0  # never a negative zero
    delta = phi if phi * (S - K) > 0.0 else (0.5 * phi if S == K else 0.0)
    return price, delta, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@inner
def certain_greeks(phi: float, S: float, K: float, T: float, r: float, q: float, american: bool) -> Nine:
    """Greeks without randomness: zero volatility, zero spot or zero strike.

    The value is the best of exercise at expiry and, if American, of exercise now or at the stationary time of
    the discounted intrinsic value. Delta follows by the envelope theorem.
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


@inner
def european_price(phi: float, S: float, K: float, T: float, v: float, r: float, q: float) -> float:
    """Price of :func:`european_greeks` alone, to the last digit."""
    sd = v * math.sqrt(max(T, 0.0))
    if sd < _TINY_DEVIATION or S <= 0.0 or K <= 0.0:
        return european_greeks(phi, S, K, T, v, r, q)[0]
    d1 = min(max((log_ratio(S, K) + (r - q) * T) / sd + 0.5 * sd, -1e10), 1e10)
    spot_leg = phi * math.exp(-q * T) * visible_cdf(phi * d1)
    return max(S * spot_leg - phi * (K * math.exp(-r * T)) * visible_cdf(phi * (d1 - sd)), 0.0)


@kernel
def european_greeks(phi: float, S: float, K: float, T: float, v: float, r: float, q: float) -> Nine:
    """Price and eight Greeks of a European option (Merton 1973; Haug 2007, chapter 2)."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    root = math.sqrt(T)
    sd = v * root
    if sd < _TINY_DEVIATION or S <= 0.0 or K <= 0.0:
        return certain_greeks(phi, S, K, T, r, q, False)
    dq = math.exp(-q * T)
    dk = K * math.exp(-r * T)
    d1 = (log_ratio(S, K) + (r - q) * T) / sd + 0.5 * sd
    d1 = min(max(d1, -1e10), 1e10)  # far beyond the density's underflow; keeps d1·d2 finite
    d2 = d1 - sd
    spot_leg = phi * dq * visible_cdf(phi * d1)
    cash_leg = phi * dk * visible_cdf(phi * d2)
    density = dq * visible_pdf(d1)
    price = max(S * spot_leg - cash_leg, 0.0)
    gamma = density / (S * sd)
    vega = S * density * root
    theta = -0.5 * S * density * v / root - r * cash_leg + q * S * spot_leg
    vanna = -density * d2 / v
    volga = vega * d1 * d2 / v
    charm = q * spot_leg - density * ((r - q) / sd - 0.5 * d2 / T)
    return price, spot_leg, gamma, theta, vega, T * cash_leg, vanna, volga, charm


@inner
def european_dividend_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, times: Floats, amounts: Floats
) -> Nine:
    """European Greeks in the escrowed model: Black–Scholes on the spot less its dividends' value."""
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


@kernel
def fill_european(terms: Seven, futures: bool, out: Floats) -> None:
    """European Greeks of each element into the columns of ``out`` (9, n)."""
    _, S, _, T, _, _, _ = terms
    for i in range(S.size):
        nine = european_greeks(*row_of(terms, i))
        for j in range(9):
            out[j, i] = nine[j]
        if futures and T[i] > 0.0:
            out[5, i] -= T[i] * S[i] * nine[1]


@kernel
def fill_european_dividend(terms: Seven, times: Floats, amounts: Floats, out: Floats) -> None:
    """European Greeks of each element in the escrowed model into the columns of ``out`` (9, n)."""
    for i in range(terms[0].size):
        nine = european_dividend_greeks(*row_of(terms, i), times, amounts)
        for j in range(9):
            out[j, i] = nine[j]


Corners: TypeAlias = tuple[float, float, float, float, float, float, float, float, float, float]


@kernel
def european_corners(
    phi: float,
    K: float,
    spots: tuple[float, float, float],
    vols: tuple[float, float, float, float, float],
    start: tuple[float, float, float],
    end: tuple[float, float, float],
) -> Corners:
    """Prices of one option at two spots, volatilities and times, at a third spot, and at the end.

    ``vols`` are those of start and end over the time of the start, over that of the end, and the end's own;
    ``start`` and ``end`` years, rate and yield. In order: spot, volatility and time 000, 100, 010, 001, 110,
    101, 011, 111; then the third spot with the latter two; then the end.
    """
    (S0, S1, S2), (v00, v10, v01, v11, last) = spots, vols
    (T, r, q), (T1, r1, q1) = start, end
    return (
        european_price(phi, S0, K, T, v00, r, q),
        european_price(phi, S1, K, T, v00, r, q),
        european_price(phi, S0, K, T, v10, r, q),
        european_price(phi, S0, K, T, v01, r, q),
        european_price(phi, S1, K, T, v10, r, q),
        european_price(phi, S1, K, T, v01, r, q),
        european_price(phi, S0, K, T, v11, r, q),
        european_price(phi, S1, K, T, v11, r, q),
        european_price(phi, S2, K, T, v11, r, q),
        european_price(phi, S2, K, T1, last, r1, q1),
    )
