"""American exercise with known cash dividends at the speed of a desk: tables of what exercise adds.

In the escrowed model the spot less the value of its coming dividends is lognormal. The European price is a
closed form of it; what the right to exercise adds is smooth, so it is tabled. One march on the grid of
``grid.py`` at a volatility gives it for every spot and for an octave of the time to the next ex-date. An
option lies between four volatilities and four times, and is interpolated by cubic polynomials: at the same
deviation from the strike, so that the exercise boundaries lie on one another. All Greeks are the slopes of
that one function; theta and charm follow from the pricing equation.

The strike is 1 in a table: amounts are fractions of it.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Seven
from scalpdesk.pricing.kernels.american_iv import bounds_verdict
from scalpdesk.pricing.kernels.black_iv import BAD, OK, european_iv
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import european_dividend_greeks, european_greeks
from scalpdesk.pricing.kernels.grid import (
    CENTRE,
    HALF,
    LANES,
    NODES,
    RATE,
    ROOM,
    STEP,
    STRIKE,
    VOL,
    YIELD,
    CashTerms,
    course_of,
    march_lanes,
    quick_price,
)
from scalpdesk.pricing.kernels.normal import Nine, exp_quick, row_of

REACH = 7.0  # deviations of the longest time that they reach to either side
_NEAR_ENDS = 3.0  # deviations from the ends of the grid within which nothing is read
TIMES = 8  # in an octave of the time to the ex-date
VOLS = 8.0  # volatilities in an octave
SLAB_SHAPE = (TIMES + 3, NODES)  # one time before the octave, two from its end on
PLAIN, CLOSED, STEPPED = 0, 1, 2  # how an element with a schedule is priced
EXERCISED = 1e-7  # of the strike: a value nearer to the payoff is that of exercise

Slabs: TypeAlias = tuple[Floats, Floats, Floats, Floats]
Weights: TypeAlias = tuple[tuple[float, float, float, float], ...]


@inner
def _slab_time(power: int, place: int) -> float:
    """Years from a table's time to the next ex-date."""
    return float(2.0 ** (power - 1 + (place - 1) / TIMES))


@inner
def _slab_step(v: float, longest: float) -> float:
    """Step of a table in the logarithm of the state."""
    return REACH * v * math.sqrt(longest) / HALF


@kernel
def fill_slabs(
    phi: float,
    K: Floats,
    v: Floats,
    r: float,
    q: float,
    before: Floats,
    amounts: Floats,
    power: int,
    out: NDArray[np.float64],
) -> None:
    """Table what exercise adds at strikes and volatilities, in parts of the strike: (option, time, node).

    For times to the next ex-date in the octave to 2**``power``. ``before`` are the years from each ex-date to
    the expiry, descending; ``amounts`` in currency.
    """
    T = before[0] + _slab_time(power, TIMES + 2)
    cash = CashTerms(T - before, amounts, False, True)
    stops = np.empty(TIMES + 3)
    for place in range(stops.size):
        stops[place] = cash.times[0] - _slab_time(power, place)
    w = np.empty(ROOM)
    fine, coarse = np.empty((stops.size, LANES, NODES)), np.empty((stops.size, LANES, NODES))
    for first in range(0, K.size, LANES):
        count = min(LANES, K.size - first)
        course = course_of(phi, T, v[first], r, q, cash)
        for m in range(count):
            at = first + m
            w[STRIKE + m], w[VOL + m], w[RATE + m], w[YIELD + m] = K[at], v[at], r, q
            w[CENTRE + m], w[STEP + m] = K[at], _slab_step(v[at], T)
        march_lanes(w, count, course, cash, 2, stops, fine)
        march_lanes(w, count, course, cash, 1, stops, coarse)
        for m in range(count):
            own, dx = v[first + m], w[STEP + m]
            for place in range(stops.size):
                left = before[0] + _slab_time(power, place)
                for i in range(NODES):
                    level = -phi * (i - HALF) * dx + (r - q) * (T - left)
                    value = (4.0 * fine[place, m, i] - coarse[place, m, i]) / 3.0
                    value *= exp_quick(level) if phi > 0.0 else 1.0 / K[first + m]
                    out[first + m, place, i] = value - quick_price(phi, level, left, own, r, q)


@inner
def _cubic(at: float) -> Weights:
    """Weights of the nodes -1, 0, 1, 2 at ``at`` in 0..1, of their slope and of their second derivative."""
    a, b, c, d = at + 1.0, at, at - 1.0, at - 2.0
    return (
        (-b * c * d / 6.0, a * c * d / 2.0, -a * b * d / 2.0, a * b * c / 6.0),
        (
            -(b * c + b * d + c * d) / 6.0,
            (a * c + a * d + c * d) / 2.0,
            -(a * b + a * d + b * d) / 2.0,
            (a * b + a * c + b * c) / 6.0,
        ),
        (-(b + c + d) / 3.0, a + c + d, -(a + b + d), (a + b + c) / 3.0),
    )


@inner
def _read(row: Floats, at: float) -> tuple[float, float, float, float]:
    """Value and three derivatives in the index at a fractional index: six-point Lagrange interpolation."""
    i = min(max(int(at) - 2, 0), row.size - 6)
    u = at - i
    # Newton's form on the nodes 0..5, with derivatives by Horner's rule
    d0 = row[i]
    d1 = row[i + 1] - row[i]
    e1 = row[i + 2] - row[i + 1]
    f1 = row[i + 3] - row[i + 2]
    g1 = row[i + 4] - row[i + 3]
    h1 = row[i + 5] - row[i + 4]
    d2, e2, f2, g2 = (e1 - d1) / 2.0, (f1 - e1) / 2.0, (g1 - f1) / 2.0, (h1 - g1) / 2.0
    d3, e3, f3 = (e2 - d2) / 3.0, (f2 - e2) / 3.0, (g2 - f2) / 3.0
    d4, e4 = (e3 - d3) / 4.0, (f3 - e3) / 4.0
    d5 = (e4 - d4) / 5.0
    value, first, second, third = d5, 0.0, 0.0, 0.0
    for level, known in ((4.0, d4), (3.0, d3), (2.0, d2), (1.0, d1), (0.0, d0)):
        gap = u - level
        third = third * gap + second
        second = second * gap + first
        first = first * gap + value
        value = value * gap + known
    return value, first, 2.0 * second, 6.0 * third


@kernel
def worth_ahead(T: float, r: float, before: Floats, amounts: Floats) -> float:
    """Value now of dividends that go ex ``before`` years before the expiry, which is ``T`` years ahead."""
    total = 0.0
    for k in range(before.size):
        total += amounts[k] * math.exp(-r * (T - before[k]))
    return total


@kernel
def held_greeks(
    phi: float, S: float, K: float, T: float, v: float, r: float, q: float, before: Floats, amounts: Floats
) -> Nine:
    """Price and eight Greeks of the option held to its expiry; ``amounts`` are parts of the strike."""
    return european_dividend_greeks(phi, S, K, T, v, r, q, T - before, K * amounts)


@kernel
def is_worth_exercising(phi: float, r: float, q: float, before: Floats, amounts: Floats) -> bool:
    """Return whether early exercise may gain anything: for a put interest, for a call dividends or yield."""
    if phi < 0.0:
        return not (r <= 0.0 and q >= r)
    if not (q <= 0.0 and r >= q):
        return True
    for k in range(before.size):
        coming = 0.0
        for later in range(k, before.size):
            coming += amounts[later] * math.exp(-r * (before[k] - before[later]))
        if coming > -math.expm1(-r * before[k]):
            return True
    return False


@kernel
def sort_with_dividends(terms: Seven, cash: CashTerms, kinds: NDArray[np.int64], worth: Floats) -> None:
    """Mark each element PLAIN, CLOSED or STEPPED, and fill in what its dividends are worth now.

    PLAIN are American options without a dividend by expiry; CLOSED have a closed form.
    """
    for i in range(kinds.size):
        phi, _, K, T, _, r, q = row_of(terms, i)
        is_due = cash.times <= T
        before, amounts = T - cash.times[is_due], cash.amounts[is_due]
        worth[i] = worth_ahead(T, r, before, amounts)
        kinds[i] = CLOSED
        if before.size == 0:
            kinds[i] = PLAIN if cash.american else CLOSED
        elif cash.spot_model or (cash.american and is_worth_exercising(phi, r, q, before, amounts / K)):
            kinds[i] = STEPPED


@kernel
def quoted_start(
    price: float, phi: float, S: float, K: float, T: float, r: float, q: float, ahead: float, american: bool
) -> tuple[float, int]:
    """European volatility of a price, and its status by the bounds of its kind; ``ahead`` in currency."""
    verdict = bounds_verdict(price, phi, S, K, T, r, q, american)
    if verdict == OK and not ahead < S:
        verdict = BAD
    if verdict != OK:
        return math.nan, verdict
    vol, status = european_iv(price, phi, S - ahead, K, T, r, q)
    return vol, OK if american else status


@kernel
def tabled_greeks(
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    before: Floats,
    amounts: Floats,
    power: int,
    number: int,
    slabs: Slabs,
) -> tuple[bool, Nine]:
    """Price and eight Greeks from tables; False where the spot is beyond them. Rho is the European option's.

    ``before`` and ``amounts`` as in :func:`fill_slab`, of the dividends ahead. ``slabs`` are the tables of
    the volatilities 2^(n/VOLS) from the one before ``number`` on, which is the last not above ``v``.
    """
    price, delta, gamma, theta, vega, rho, vanna, volga, charm = held = held_greeks(
        phi, S, K, T, v, r, q, before, amounts
    )
    ahead = K * worth_ahead(T, r, before, amounts)
    x = S - ahead
    if not x > 0.0:
        return False, held
    longest = before[0] + _slab_time(power, TIMES + 2)
    root, level = math.sqrt(T), math.log(x / K)
    z = level / (v * root)
    if abs(level) > (REACH * math.sqrt(longest) - _NEAR_ENDS * root) * v:
        return False, held
    by_time = (math.log2(T - before[0]) - power + 1) * TIMES
    first_time = min(max(math.floor(by_time), 0), TIMES - 1)
    at_vol, at_time = _cubic(math.log2(v) * VOLS - number), _cubic(by_time - first_time)
    p = pz = pzz = pzzz = pa = paa = paz = 0.0
    for i in range(4):
        own = 2.0 ** ((number - 1 + i) / VOLS)
        dx = _slab_step(own, longest)
        f = fz = fzz = fzzz = 0.0
        for k in range(4):
            place = first_time + k
            left = before[0] + _slab_time(power, place)
            scale = own * math.sqrt(left)
            at = HALF - phi * (z * scale - (r - q) * (longest - left)) / dx
            if at < 0.0 or at > 2.0 * HALF:
                return False, held
            g, gz, gzz, gzzz = _read(slabs[i][place], at)
            turn = -phi * scale / dx
            weight = at_time[0][k]
            f += weight * g
            fz += weight * gz * turn
            fzz += weight * gzz * turn * turn
            fzzz += weight * gzzz * turn * turn * turn
        p += at_vol[0][i] * f
        pz += at_vol[0][i] * fz
        pzz += at_vol[0][i] * fzz
        pzzz += at_vol[0][i] * fzzz
        pa += at_vol[1][i] * f
        paz += at_vol[1][i] * fz
        paa += at_vol[2][i] * f
    p, pz, pzz, pzzz = K * p, K * pz, K * pzz, K * pzzz
    unit = VOLS / math.log(2.0)  # per logarithm of the volatility
    pa, paz, paa = K * pa * unit, K * paz * unit, K * paa * unit * unit
    if not p > 0.0:
        return True, held
    price += p
    payoff = phi * (S - K)
    if price <= payoff + EXERCISED * K:
        return True, (max(payoff, 0.0), phi, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    sd, var = v * root, v * v
    delta += pz / (x * sd)
    gamma += (pzz / sd - pz) / (x * x * sd)
    speed = _european_speed(phi, x, K, T, v, r, q) + (pzzz / sd**2 - 3.0 * pzz / sd + 2.0 * pz) / (x**3 * sd)
    vega += (pa - z * pz) / v
    volga += (paa - 2.0 * z * paz + z * z * pzz + z * pz - (pa - z * pz)) / var
    vanna += (paz - pz - z * pzz) / (v * x * sd)
    theta = r * price - (r - q) * x * delta - 0.5 * var * x * x * gamma - r * ahead * delta
    charm = q * delta - (r - q + var) * x * gamma - 0.5 * var * x * x * speed - r * ahead * gamma
    return True, (price, delta, gamma, theta, vega, rho, vanna, volga, charm)


@inner
def _european_speed(phi: float, x: float, K: float, T: float, v: float, r: float, q: float) -> float:
    """Third derivative of the European price in the state."""
    sd = v * math.sqrt(T)
    d1 = (math.log(x / K) + (r - q) * T) / sd + 0.5 * sd
    gamma: float = european_greeks(phi, x, K, T, v, r, q)[2]
    return -gamma / x * (d1 / sd + 1.0)
