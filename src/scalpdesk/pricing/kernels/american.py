"""American exercise with a continuous yield: Greeks from tables of boundaries."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels import premium
from scalpdesk.pricing.kernels.boundary import NEVER, SINGLE, exercise_kind, remembered_years
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import certain_greeks, european_greeks, expired_greeks
from scalpdesk.pricing.kernels.normal import Nine, row_of
from scalpdesk.pricing.kernels.premium import premium_terms
from scalpdesk.pricing.kernels.tables import ROWS, TERMS, rows_from_table

ROUNDING = 1e-9  # of the strike: within this of the best fixed exercise the slopes are still valid
LEAST_DEVIATION = 1e-6  # v·sqrt(T) below which the option is worth its best fixed time of exercise
_SCRATCH = premium.ROOM
TABLE, BOUNDLESS, GRID = 0, -1, -2  # how an element is priced


@inner
def greeks_over_boundary(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    futures: bool,
    rows: Floats,
    stretch: float,
    w: Floats,
) -> Nine:
    """American Greeks for the boundary with the four series in ``rows``.

    Theta and charm follow from the pricing equation and its spot derivative, the rest from the premium
    integral and the European option.
    """
    p0, p1, p2, p3, vega_p, volga_p, vanna_p, rho_p, depth = premium_terms(
        phi, S / K, T, v, r, q, futures, rows, stretch, w, True
    )
    if depth >= 0.0:
        return phi * (S - K), phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    price, delta, gamma, theta, vega, rho, vanna, volga, charm = european_greeks(phi, S, K, T, v, r, q)
    certain = certain_greeks(phi, S, K, T, r, q, True)
    whole = price + K * p0
    if whole < certain[0] - ROUNDING * K:
        return certain
    if futures:
        rho -= T * S * delta
    var = v * v
    theta += r * K * p0 - (r - q) * S * p1 - 0.5 * var * S * S * p2 / K
    charm += q * p1 - (r - q + var) * S * p2 / K - 0.5 * var * S * S * p3 / (K * K)
    return (
        max(whole, certain[0]),
        delta + p1,
        max(gamma + p2 / K, 0.0),
        theta,
        vega + K * vega_p,
        rho + K * rho_p,
        vanna + vanna_p,
        volga + K * volga_p,
        charm,
    )


@kernel
def table_greeks(
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
) -> Nine:
    """American Greeks of one option from the table of its time and volatility."""
    rows = np.empty(ROWS * TERMS)
    w = np.empty(_SCRATCH)
    rows_from_table(table, vol_low, v, rows)
    return greeks_over_boundary(phi, S, K, T, v, r, q, False, rows, math.sqrt(T / horizon), w)


@inner
def boundless_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, futures: bool
) -> Nine:
    """American Greeks where no boundary is needed: expired, almost certain, or never exercised early."""
    if T <= 0.0:
        return expired_greeks(phi, S, K)
    # almost certain: the best fixed time of exercise is a lower bound and the value
    certain = certain_greeks(phi, S, K, T, r, q, True)
    price, delta, gamma, theta, vega, rho, vanna, volga, charm = european_greeks(phi, S, K, T, v, r, q)
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    if kind != NEVER and certain[0] >= price:
        return certain
    if futures:
        rho -= T * S * delta
    return price, delta, gamma, theta, vega, rho, vanna, volga, charm


@kernel
def boundless_option(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float
) -> tuple[bool, Nine]:
    """Whether an option needs no boundary, and if so its American Greeks."""
    kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
    if kind == NEVER or T <= 0.0 or S <= 0.0 or K <= 0.0 or v * math.sqrt(T) < LEAST_DEVIATION:
        return True, boundless_greeks(phi, S, K, T, v, r, q, False)
    return False, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@kernel
def sort_by_method(terms: Seven, slots: NDArray[np.int64], years: Floats) -> None:
    """Mark each element: TABLE, BOUNDLESS or, with two boundaries, GRID; fill in ``remembered_years``."""
    for i in range(slots.size):
        phi, S, K, T, v, r, q = row_of(terms, i)
        years[i] = remembered_years(phi, T, v, r, q)
        kind = exercise_kind(r, q) if phi < 0.0 else exercise_kind(q, r)
        slots[i] = TABLE if kind == SINGLE else GRID
        is_worthless = S <= 0.0 or K <= 0.0 or v * math.sqrt(years[i]) < LEAST_DEVIATION
        if T <= 0.0 or kind == NEVER or is_worthless:
            slots[i] = BOUNDLESS


@kernel
def fill_american(
    terms: Seven,
    futures: bool,
    slots: NDArray[np.int64],
    tables: Floats,
    bounds: Floats,
    out: Floats,
) -> None:
    """American Greeks of the elements with a table into the columns of ``out`` (9, n).

    ``slots`` holds the index of each element's table or its mark; ``bounds`` horizon and lowest volatility of
    each table.
    """
    rows = np.empty(ROWS * TERMS)
    w = np.empty(_SCRATCH)
    for i in range(slots.size):
        m = slots[i]
        if m >= 0:
            rows_from_table(tables[m], bounds[m, 1], terms[4][i], rows)
            stretch = math.sqrt(terms[3][i] / bounds[m, 0])
            nine = greeks_over_boundary(*row_of(terms, i), futures, rows, stretch, w)
            for j in range(9):
                out[j, i] = nine[j]


@kernel
def fill_boundless(terms: Seven, futures: bool, slots: NDArray[np.int64], out: Floats) -> None:
    """Greeks of the elements that need no table: a kernel of its own, as days without rates need no other."""
    for i in range(slots.size):
        if slots[i] == BOUNDLESS:
            nine = boundless_greeks(*row_of(terms, i), futures)
            for j in range(9):
                out[j, i] = nine[j]
