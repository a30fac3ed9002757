"""American implied volatility from tables of boundaries."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels import premium
from scalpdesk.pricing.kernels.american import boundless_greeks
from scalpdesk.pricing.kernels.black_iv import ABOVE, BAD, BELOW, EXPIRED, OK
from scalpdesk.pricing.kernels.boundary import NEVER, SINGLE, exercise_kind
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import certain_greeks, european_price
from scalpdesk.pricing.kernels.normal import log_ratio, row_of, visible_cdf, visible_pdf
from scalpdesk.pricing.kernels.premium import premium_terms
from scalpdesk.pricing.kernels.tables import TERMS, VOL_OCTAVES, rows_from_table

FOUND, LOWER, NOT_FOUND = 0, 1, 2  # result of a search in a table
SETTLED, SEARCH, BY_GRID = 0, 1, 2  # method for a price
LEAST_SEARCHED = 1e-6  # European v·sqrt(T) below which tables are not used
_TURNS = 60


@inner
def bounds_verdict(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float, american: bool
) -> int:
    """Status of a price by the bounds that are valid with and without dividends."""
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


@kernel
def american_verdict(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float
) -> tuple[int, int]:
    """Status of an American price by bounds, and the method that remains.

    An option that is never exercised early has its European volatility, whatever the status.
    """
    verdict = bounds_verdict(price, phi, S, K, T, r, q, True)
    if verdict != OK:
        return verdict, SETTLED
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    if price <= certain_greeks(phi, S, K, T, r, q, True)[0]:
        return BELOW, SETTLED
    if kind == NEVER:
        return OK, SETTLED
    return OK, SEARCH if kind == SINGLE else BY_GRID


@inner
def price_and_vega(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    floor: float,
    table: Floats,
    horizon: float,
    vol_low: float,
    rows: Floats,
    w: Floats,
) -> tuple[float, float]:
    """American price, at least ``floor``, and vega from a table."""
    rows_from_table(table, vol_low, v, rows)
    stretch = math.sqrt(T / horizon)
    value, _, _, _, slope, _, _, _, depth = premium_terms(
        phi, S / K, T, v, r, q, False, rows, stretch, w, False
    )
    if depth >= 0.0:
        return phi * (S - K), 0.0
    root = math.sqrt(T)
    sd = v * root
    ds = S * math.exp(-q * T)
    d1 = (log_ratio(S, K) + (r - q) * T) / sd + 0.5 * sd
    price = phi * (ds * visible_cdf(phi * d1) - K * math.exp(-r * T) * visible_cdf(phi * (d1 - sd)))
    price += K * value
    if price < floor:
        return floor, 0.0
    return price, ds * visible_pdf(d1) * root + K * slope


@kernel
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
) -> tuple[float, int]:
    """American implied volatility within a table's band, by Newton's method from ``first``, in a bracket.

    LOWER: it lies below the band. NOT_FOUND: ``first`` is already too low.
    """
    floor = max(phi * (S - K), certain_greeks(phi, S, K, T, r, q, True)[0])
    rows = np.empty(2 * TERMS)
    w = np.empty(premium.ROOM)
    goal = 1e-15 * S
    lo = vol_low
    hi = min(first, vol_low * 2.0**VOL_OCTAVES)
    at = hi
    lo_known = False
    for turn in range(_TURNS):
        value, vega = price_and_vega(phi, S, K, T, at, r, q, floor, table, horizon, vol_low, rows, w)
        gap = value - price
        if abs(gap) <= goal:
            return at, FOUND
        if gap < 0.0:
            if turn == 0:
                return at, FOUND if gap >= -1e-12 * S else NOT_FOUND
            lo = at
            lo_known = True
        else:
            hi = at
            if at == vol_low:
                return at, LOWER
        step = gap / vega if vega > 0.0 else np.inf
        following = at - step
        if not lo < following < hi:
            following = 0.5 * (lo + hi) if lo_known else vol_low
        # Newton's error after this step is about its square
        if abs(following - at) <= 1e-9 * at or hi - lo <= 1e-14 * hi:
            return following, FOUND
        at = following
    return at, FOUND if hi - lo <= 1e-9 * hi else NOT_FOUND


@kernel
def fill_table_iv(
    quoted: Seven,
    first: Floats,
    slots: NDArray[np.int64],
    tables: Floats,
    bounds: Floats,
    vol: Floats,
    verdict: NDArray[np.int64],
) -> None:
    """``table_iv`` of each element whose slot is a table."""
    for i in range(slots.size):
        m = slots[i]
        if m >= 0:
            own = first[i], tables[m], bounds[m, 0], bounds[m, 1]
            vol[i], verdict[i] = table_iv(*row_of(quoted, i), *own)


@kernel
def fill_american_verdicts(quoted: Seven, status: NDArray[np.int64], left: NDArray[np.int64]) -> None:
    """``american_verdict`` of each element."""
    for i in range(status.size):
        status[i], left[i] = american_verdict(*row_of(quoted, i))


@kernel
def fill_premiums(
    terms: Seven,
    remembered: Floats,
    slots: NDArray[np.int64],
    tables: Floats,
    bounds: Floats,
    out: Floats,
) -> None:
    """American less European price of each element, from the arguments of ``fill_american``.

    Without the other Greeks: in less than half the time.
    """
    rows = np.empty(2 * TERMS)
    w = np.empty(premium.ROOM)
    for i in range(slots.size):
        phi, S, K, T, v, r, q = row_of(terms, i)
        m, years = slots[i], remembered[i]
        if m >= 0:
            rows_from_table(tables[m], bounds[m, 1], v, rows)
            stretch = math.sqrt(years / bounds[m, 0])
            found = premium_terms(phi, S / K, years, v, r, q, False, rows, stretch, w, False)
            if found[8] >= 0.0:
                price = phi * (S - K)
            else:
                price = european_price(phi, S, K, years, v, r, q) + K * found[0]
                price = max(price, certain_greeks(phi, S, K, years, r, q, True)[0])
        else:
            price = boundless_greeks(phi, S, K, years, v, r, q, False)[0]
        out[i] = max(price - european_price(phi, S, K, T, v, r, q), 0.0)
