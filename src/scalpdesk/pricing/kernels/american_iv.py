"""American implied volatility from tables of boundaries."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels import premium
from scalpdesk.pricing.kernels.american import (
    BOUNDLESS,
    LEAST_DEVIATION,
    boundless_greeks,
    greeks_over_boundary,
    sort_by_method,
)
from scalpdesk.pricing.kernels.black_iv import ABOVE, BAD, BELOW, EXPIRED, OK, european_iv
from scalpdesk.pricing.kernels.boundary import NEVER, SINGLE, exercise_kind, remembered_years
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import certain_greeks, european_greeks
from scalpdesk.pricing.kernels.normal import Floats, log_ratio, visible_cdf, visible_pdf
from scalpdesk.pricing.kernels.premium import premium_and_vega
from scalpdesk.pricing.kernels.tables import (
    ROWS,
    TERMS,
    VOL_OCTAVES,
    rows_from_table,
    sort_into_tables,
    two_rows_from_table,
    vol_band,
)

FOUND, LOWER, NOT_FOUND = 0, 1, 2  # result of a search in a table
SETTLED, SEARCH, BY_GRID = 0, 1, 2  # method for a price
LEAST_SEARCHED = 1e-6  # European v·sqrt(T) below which tables are not used
TURNS = 60


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


@kernel
def american_start(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float
) -> tuple[float, int, int, int]:
    """European volatility of an American price with its status; the price's own status and what remains."""
    vol, code = european_iv(price, phi, S, K, T, r, q)
    status, left = american_verdict(price, phi, S, K, T, r, q)
    return vol, code, status, left


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
    two_rows_from_table(table, vol_low, v, rows)
    value, slope, depth = premium_and_vega(phi, S / K, T, v, r, q, rows, math.sqrt(T / horizon), w)
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
    for turn in range(TURNS):
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
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    first: Floats,
    slots: NDArray[np.int64],
    tables: Floats,
    bounds: Floats,
    vol: Floats,
    verdict: NDArray[np.int64],
) -> None:
    """``table_iv`` of each element whose slot is a table."""
    for i in range(S.size):
        m = slots[i]
        if m >= 0:
            vol[i], verdict[i] = table_iv(
                price[i],
                phi[i],
                S[i],
                K[i],
                T[i],
                r[i],
                q[i],
                first[i],
                tables[m],
                bounds[m, 0],
                bounds[m, 1],
            )


@kernel
def fill_american_verdicts(
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    status: NDArray[np.int64],
    left: NDArray[np.int64],
) -> None:
    """``american_verdict`` of each element."""
    for i in range(S.size):
        status[i], left[i] = american_verdict(price[i], phi[i], S[i], K[i], T[i], r[i], q[i])


@kernel
def fill_quoted(
    price: Floats,
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    first: Floats,
    slots: NDArray[np.int64],
    tables: Floats,
    bounds: Floats,
    vol: Floats,
    columns: Floats,
    verdict: NDArray[np.int64],
) -> None:
    """Implied volatility of each price by the table of its European one, ``first``, and the Greeks at it.

    ``slots`` as for ``fill_american``; elements without a table are left alone. NOT_FOUND where the table
    does not give both.
    """
    rows = np.empty(ROWS * TERMS)
    w = np.empty(premium.ROOM)
    for i in range(S.size):
        m = slots[i]
        if m < 0:
            continue
        vol[i], verdict[i] = table_iv(
            price[i],
            phi[i],
            S[i],
            K[i],
            T[i],
            r[i],
            q[i],
            first[i],
            tables[m],
            bounds[m, 0],
            bounds[m, 1],
        )
        v = vol[i]
        if (
            verdict[i] != FOUND
            or vol_band(v) != vol_band(bounds[m, 1])
            or v * math.sqrt(T[i]) < LEAST_DEVIATION
            or remembered_years(phi[i], T[i], v, r[i], q[i]) != T[i]
        ):
            verdict[i] = NOT_FOUND
            continue
        rows_from_table(tables[m], bounds[m, 1], v, rows)
        stretch = math.sqrt(T[i] / bounds[m, 0])
        nine = greeks_over_boundary(phi[i], S[i], K[i], T[i], v, r[i], q[i], False, rows, stretch, w)
        for j in range(9):
            columns[j, i] = nine[j]


@kernel
def fill_boundless(
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    v: Floats,
    r: Floats,
    q: Floats,
    slots: NDArray[np.int64],
    columns: Floats,
) -> None:
    """Greeks of the elements that need no table: a kernel of its own, as days without rates need no other."""
    for i in range(S.size):
        if slots[i] == BOUNDLESS:
            nine = boundless_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i], False)
            for j in range(9):
                columns[j, i] = nine[j]


@kernel
def out_of_money_vols(
    call: Floats,
    put: Floats,
    K: Floats,
    premium: Floats,
    forward: float,
    S: float,
    T: float,
    r: float,
    q: float,
) -> Floats:
    """European volatility of each strike's out-of-the-money option, less its early-exercise premium if known.

    ``premium`` has a row for the calls and one for the puts. NaN where there is no volatility.
    """
    vol = np.empty(K.size)
    for i in range(K.size):
        side = 0 if K[i] >= forward else 1
        price = call[i] if side == 0 else put[i]
        if not math.isnan(premium[side, i]):
            price -= premium[side, i]
        vol[i], _ = european_iv(price, 1.0 if side == 0 else -1.0, S, K[i], T, r, q)
    return vol


@kernel
def lay_out_pairs(
    S: float,
    K: Floats,
    T: float,
    v: Floats,
    r: float,
    low: float,
    high: float,
    terms: Floats,
    slots: NDArray[np.int64],
    keys: Floats,
) -> int:
    """Arguments of ``fill_premiums`` for calls and puts at two yields (yield, side, strike), in eight rows.

    Marks and tables go into ``slots`` and ``keys`` as by ``sort_by_method`` and ``sort_into_tables``; returns
    the number of tables.
    """
    for i in range(4 * K.size):
        strike = i % K.size
        terms[0, i] = 1.0 if i // K.size % 2 == 0 else -1.0
        terms[1, i], terms[2, i], terms[3, i], terms[5, i], terms[6, i] = S, K[strike], T, v[strike], r
        terms[7, i] = low if i < 2 * K.size else high
    phi, years, vols, rates, yields = terms[0], terms[4], terms[5], terms[6], terms[7]
    sort_by_method(phi, terms[1], terms[2], terms[3], vols, rates, yields, slots, years)
    return sort_into_tables(phi, years, vols, rates, yields, slots, keys)


@kernel
def fill_premiums(
    phi: Floats,
    S: Floats,
    K: Floats,
    T: Floats,
    remembered: Floats,
    v: Floats,
    r: Floats,
    q: Floats,
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
    for i in range(S.size):
        m, years = slots[i], remembered[i]
        if m >= 0:
            two_rows_from_table(tables[m], bounds[m, 1], v[i], rows)
            stretch = math.sqrt(years / bounds[m, 0])
            value, _, depth = premium_and_vega(phi[i], S[i] / K[i], years, v[i], r[i], q[i], rows, stretch, w)
            if depth >= 0.0:
                price = phi[i] * (S[i] - K[i])
            else:
                price = european_greeks(phi[i], S[i], K[i], years, v[i], r[i], q[i])[0] + K[i] * value
                price = max(price, certain_greeks(phi[i], S[i], K[i], years, r[i], q[i], True)[0])
        else:
            price = boundless_greeks(phi[i], S[i], K[i], years, v[i], r[i], q[i], False)[0]
        out[i] = max(price - european_greeks(phi[i], S[i], K[i], T[i], v[i], r[i], q[i])[0], 0.0)
