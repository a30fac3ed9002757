"""Tables of exercise boundaries over the volatility and the time to expiry.

A boundary as a function of the time to expiry does not depend on the expiry, nor, relative to the strike, on
the strike: a table serves all strikes of calls or puts as time passes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels.boundary import (
    NODES,
    ROOM,
    SERIES,
    rate_slope,
    solve_boundary,
)
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.normal import bits_of, row_of

TERMS = NODES + 1  # of a series in the root of the time
ROWS = 4  # series of H, its first and second slope in the volatility, its slope in the rate
VOL_NODES = 11
_TAIL_LIMIT = 2e-3  # last three terms of a series, as premium over strike; the error is far smaller
VOL_OCTAVES = 2
_LN2 = math.log(2.0)
TABLE_SHAPE = (2, VOL_NODES, TERMS)


def _vol_scheme() -> tuple[Floats, Floats]:
    """Chebyshev points in the logarithm of the volatility, highest first; values at them to coefficients."""
    k = np.arange(VOL_NODES)
    angle = (2 * k + 1) * np.pi / (2 * VOL_NODES)
    series = 2.0 / VOL_NODES * np.cos(np.outer(k, angle))
    series[0] *= 0.5
    return 0.5 * VOL_OCTAVES * (1.0 + np.cos(angle)), series


VOL_AT, VOL_SERIES = _vol_scheme()


@inner
def fill_values(
    step: int,
    horizon: float,
    vol_low: float,
    put_r: float,
    put_q: float,
    by_rate: float,
    by_yield: float,
    values: NDArray[np.float64],
    w: Floats,
    J: Floats,
    x: Floats,
) -> bool:
    """Fill ``values``: H and its slope in the rate, over the squared volatility, at each volatility node.

    ``step`` is 1 from the highest volatility down, -1 from the lowest up: each boundary starts from its
    neighbours'. False when one does not converge.
    """
    H = np.empty(NODES)
    slope = np.empty(NODES)
    for turn in range(VOL_NODES):
        m = turn if step > 0 else VOL_NODES - 1 - turn
        v = vol_low * 2.0 ** VOL_AT[m]
        for i in range(NODES):  # ln B over the volatility is extrapolated linearly from the last two
            root = math.sqrt(values[0, m - step, i]) if turn > 0 else 0.0
            if turn > 1:
                reach = (VOL_AT[m] - VOL_AT[m - step]) / (VOL_AT[m - step] - VOL_AT[m - 2 * step])
                root += reach * (root - math.sqrt(values[0, m - 2 * step, i]))
            H[i] = (v * root) ** 2
        if not solve_boundary(horizon, v, put_r, put_q, H, turn > 0, w, J, x):
            return False
        rate_slope(horizon, v, put_r, put_q, by_rate, by_yield, H, w, J, slope)
        for i in range(NODES):
            values[0, m, i] = H[i] / (v * v)
            values[1, m, i] = slope[i] / (v * v)
    return True


@kernel
def fill_table(
    phi: float, horizon: float, vol_low: float, r: float, q: float, futures: bool, table: Floats
) -> bool:
    """Boundaries for every time to expiry up to ``horizon`` and volatility from ``vol_low`` up two octaves.

    Coefficients of the double Chebyshev series of H over the squared volatility, and of its slope in the rate
    (for ``futures`` in rate and yield together). False when a boundary or its series does not converge: over
    a long horizon at a low volatility it is nearly a step.
    """
    x = np.empty(NODES)
    J = np.empty(NODES * NODES)
    w = np.empty(ROOM)
    values = np.empty((2, VOL_NODES, NODES))
    put_r, put_q = (r, q) if phi < 0.0 else (q, r)
    by_rate = 1.0 if phi < 0.0 or futures else 0.0
    by_yield = 1.0 if phi > 0.0 or futures else 0.0
    # at the highest volatilities the start without a neighbour is too far off where the rate is near 0
    for step in (1, -1):
        if fill_values(step, horizon, vol_low, put_r, put_q, by_rate, by_yield, values, w, J, x):
            break
    else:
        return False
    rows = np.empty(TERMS)
    for part in range(2):
        table[part] = 0.0
        for m in range(VOL_NODES):
            for k in range(TERMS):
                rows[k] = 0.0
            for i in range(NODES):
                for k in range(TERMS):
                    rows[k] += SERIES[k, i] * values[part, m, i]
            if part == 0:
                tail = abs(rows[TERMS - 1]) + abs(rows[TERMS - 2]) + abs(rows[TERMS - 3])
                reach = 2.0 * math.sqrt(values[0, m, 0])
                if not tail * (abs(r) + abs(q)) * math.sqrt(horizon) / reach <= _TAIL_LIMIT:
                    return False
            for n in range(VOL_NODES):
                for k in range(TERMS):
                    table[part, n, k] += VOL_SERIES[n, m] * rows[k]
    return True


@inner
def rows_from_table(table: Floats, vol_low: float, v: float, rows: Floats) -> None:
    """The series at volatility ``v``, one after the other in ``rows``: four, or the first two."""
    whole = rows.size == ROWS * TERMS
    scale = 2.0 / (VOL_OCTAVES * _LN2)
    x = math.log(v / vol_low) * scale - 1.0
    for k in range(rows.size):
        rows[k] = 0.0
    t0, t1 = 1.0, x
    d0, d1 = 0.0, 1.0
    e0, e1 = 0.0, 0.0
    for m in range(VOL_NODES):
        first = d0 * scale
        second = e0 * scale * scale
        a0 = v * v * t0
        a1 = v * (2.0 * t0 + first)
        a2 = 2.0 * t0 + 3.0 * first + second
        for k in range(TERMS if whole else 0):
            c = table[0, m, k]
            rows[k] += a0 * c
            rows[TERMS + k] += a1 * c
            rows[2 * TERMS + k] += a2 * c
            rows[3 * TERMS + k] += a0 * table[1, m, k]
        for k in range(0 if whole else TERMS):
            c = table[0, m, k]
            rows[k] += a0 * c
            rows[TERMS + k] += a1 * c
        e0, e1 = e1, 4.0 * d1 + 2.0 * x * e1 - e0
        d0, d1 = d1, 2.0 * t1 + 2.0 * x * d1 - d0
        t0, t1 = t1, 2.0 * x * t1 - t0


@kernel
def sort_into_tables(terms: Seven, slots: NDArray[np.int64], keys: Floats) -> int:
    """Assign tables to the elements with ``slots`` 0, and return the number of tables.

    The index goes into ``slots``; side, rate, yield, power of the horizon (the smallest power of two above
    the time) and band of the volatility (two octaves from 4**band) go into the table's row of ``keys``.
    """
    count = 0
    size = 4
    while size < 2 * slots.size:
        size *= 2
    home = np.full(size, -1, dtype=np.int64)
    for i in range(slots.size):
        if slots[i] < 0:
            continue
        phi, _, _, T, v, r, q = row_of(terms, i)
        power = math.frexp(T)[1]
        band = (math.frexp(v)[1] - 1) // 2
        mixed = bits_of(r) * 31 + bits_of(q)
        mixed = (mixed ^ (mixed >> 29)) * 31 + power * 1021 + band * 8191 + (1 if phi > 0.0 else 0)
        at = (mixed ^ (mixed >> 17)) & (size - 1)
        while home[at] >= 0:
            m = home[at]
            is_side = keys[m, 0] == phi and keys[m, 1] == r and keys[m, 2] == q
            if is_side and keys[m, 3] == power and keys[m, 4] == band:
                break
            at = (at + 1) & (size - 1)
        if home[at] < 0:
            home[at] = count
            keys[count, 0], keys[count, 1], keys[count, 2] = phi, r, q
            keys[count, 3], keys[count, 4] = power, band
            count += 1
        slots[i] = home[at]
    return count
