"""Arrays by finite differences: cash dividends, two boundaries, and implied volatilities of such prices.

Rarely used and slow to compile, so no fast path depends on it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.american_iv import bounds_verdict
from scalpdesk.pricing.kernels.black_iv import ABOVE, BAD, BELOW, OK, european_iv
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import certain_greeks, european_dividend_greeks
from scalpdesk.pricing.kernels.grid import american_by_lattice, dividends_ahead, lattice_greeks, lattice_value
from scalpdesk.pricing.kernels.normal import Floats, log_ratio, norm_pdf


@inner
def grid_price(
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
) -> float:
    """Price by finite differences; without dividends at least that of the best fixed time of exercise."""
    price = lattice_value(phi, S, K, T, v, r, q, times, amounts, spot_model, american)[0]
    if times.size == 0 and american:
        price = max(price, certain_greeks(phi, S, K, T, r, q, True)[0])
    return price


@inner
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
) -> tuple[float, float]:
    """Volatility from ``first`` upward whose price is too high, and by how much (-1.0: none found)."""
    top = first
    for _ in range(40):
        found = grid_price(phi, S, K, T, top, r, q, times, amounts, spot_model, american)
        if found >= price:
            return top, found - price
        top *= 1.6
    return top, -1.0


@inner
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
    """Volatility by bracketed secant search on any price that increases with it; status as ``european_iv``.

    The search starts at the European volatility, which bounds the American one from above.
    """
    verdict = bounds_verdict(price, phi, S, K, T, r, q, american)
    state = S if spot_model or verdict == BAD else S - dividends_ahead(0.0, T, r, times, amounts, False)
    if state <= 0.0:
        verdict = BAD
    if verdict != OK:
        return math.nan, verdict
    if times.size == 0 and american and price <= certain_greeks(phi, S, K, T, r, q, True)[0]:
        return math.nan, BELOW
    hi, status = european_iv(price, phi, state, K, T, r, q)
    if status != OK:
        hi = 0.3
    goal = 1e-15 * S
    hi, f_hi = bracket_top(price, phi, S, K, T, hi, r, q, times, amounts, spot_model, american)
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
        f_b = grid_price(phi, S, K, T, b, r, q, times, amounts, spot_model, american) - price
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
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    out: Floats,
) -> None:
    """Greeks of each element with cash dividends into the columns of ``out`` (9, n)."""
    for i in range(S.size):
        if not american and (
            not spot_model or dividends_ahead(0.0, T[i], r[i], times, amounts, False) == 0.0
        ):
            nine = european_dividend_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], times, amounts)
        else:
            nine = lattice_greeks(
                phi[i], S[i], K[i], T[i], v[i], r[i], q[i], times, amounts, spot_model, american, False
            )
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
    times: Floats,
    amounts: Floats,
    spot_model: bool,
    american: bool,
    vol: Floats,
    status: NDArray[np.int64],
) -> None:
    """Implied volatility and status code of each element, by finite differences unless it is European."""
    for i in range(S.size):
        ahead = dividends_ahead(0.0, T[i], r[i], times, amounts, False)
        if american or (ahead > 0.0 and spot_model):
            vol[i], status[i] = searched_iv(
                price[i], phi[i], S[i], K[i], T[i], r[i], q[i], times, amounts, spot_model, american
            )
        else:
            vol[i], status[i] = european_iv(price[i], phi[i], S[i] - ahead, K[i], T[i], r[i], q[i])
