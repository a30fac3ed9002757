"""Early-exercise premium for a known boundary, and its derivatives, in one pass.

Kim (1990): the premium is an integral over the exercise region of the gain from exercise. Each Greek is the
integral of the integrand's derivative, including the boundary's own slopes; for spot slopes the boundary is
fixed.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.boundary import limit_at_expiry
from scalpdesk.pricing.kernels.compiling import inner
from scalpdesk.pricing.kernels.normal import (
    INV_SQRT_2PI,
    bell_quick,
    exp_quick,
    sine_quick,
    tail_over_density,
)
from scalpdesk.pricing.kernels.tables import ROWS, TERMS

LEGS = 32  # points of a panel
LINE = 2 * LEGS  # space for two panels
ROOM = 13 * LINE
NOISE = 1e-7  # of H at the horizon: error of its series
_LEAST_HEIGHT = 1e-8  # of H, in squared deviations: used where rounding leaves the series no height
_NEAREST = 1e-8  # deviations: closer to the boundary gamma would be rounding error
FARTHEST = 10.0  # deviations: from there the spot comes to exercise with a chance of exp(-50), 2e-22
_BESIDE = 0.25  # deviations of ln S from the boundary within which the integrals use two panels

Premium: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]
"""Value, three spot slopes; slopes in volatility, volatility twice, spot and volatility, rate; depth."""


def _panel() -> tuple[Floats, Floats, Floats, Floats, Floats]:
    y, weight = np.polynomial.legendre.leggauss(LEGS)
    at = 0.5 * (1.0 + y)
    angle = 0.5 * np.pi * at
    return at, 0.5 * weight, np.sin(angle), np.cos(angle), 0.25 * np.pi * weight


AT, WEIGHT, SINE, COSINE, ANGLE_WEIGHT = _panel()


@inner
def outward(rows: Floats, z: float) -> float:
    """Distance of ln B from its limit at expiry, where the boundary has the first series in ``rows``."""
    b1 = 0.0
    b2 = 0.0
    for k in range(TERMS - 1, 0, -1):
        b1, b2 = rows[k] + 2.0 * z * b1 - b2, b1
    return math.sqrt(max(rows[0] + z * b1 - b2, 0.0))


@inner
def is_never_reached(away: float, T: float, v: float, r: float, q: float) -> bool:
    """Whether exercise by ``T`` is too unlikely to count, ``away`` in ln S from the limit of the boundary.

    No point of the boundary is nearer. The drift is the larger one of the two measures, in either direction.
    """
    return away > FARTHEST * v * math.sqrt(T) + (abs(r - q) + 0.5 * v * v) * T


@inner
def place_points(gap: float, sd_T: float, stretch: float, w: Floats) -> int:
    """Sines of the time ahead's angle into line 0 of ``w``, weights into 1, series arguments into 2.

    Near the boundary (``gap`` in ln S) the slopes' integrands change over decades of the time ahead: two
    panels, a short linear one and a long logarithmic one. Returns the number of points.
    """
    if gap >= _BESIDE * sd_T:
        for p in range(LEGS):
            w[p] = SINE[p]
            w[LINE + p] = ANGLE_WEIGHT[p] * 2.0 * SINE[p] * COSINE[p]
            w[2 * LINE + p] = 2.0 * stretch * COSINE[p] - 1.0
        return LEGS
    split = 4.0 * gap / sd_T
    ratio = math.log(0.5 * math.pi / split)
    for p in range(LEGS):
        angle = split * AT[p]
        w[p] = angle
        w[LINE + p] = split * WEIGHT[p]
        angle = split * exp_quick(ratio * AT[p])
        w[LEGS + p] = angle
        w[LINE + LEGS + p] = ratio * angle * WEIGHT[p]
    for p in range(LINE):
        sine = sine_quick(w[p])
        cosine = sine_quick(0.5 * math.pi - w[p])
        w[p] = sine
        w[LINE + p] *= 2.0 * sine * cosine
        w[2 * LINE + p] = 2.0 * stretch * cosine - 1.0
    return LINE


@inner
def sum_series(rows: Floats, count: int, n: int, w: Floats) -> None:
    """Sum the first ``count`` series of ``rows`` at the arguments in line 2 of ``w``, into lines 5 and up."""
    for p in range(n):
        w[3 * LINE + p] = 1.0
        w[4 * LINE + p] = w[2 * LINE + p]
    for c in range(count):
        a = rows[c * TERMS]
        b = rows[c * TERMS + 1]
        for p in range(n):
            w[(5 + c) * LINE + p] = a + b * w[2 * LINE + p]
    for k in range(2, TERMS):
        for p in range(n):
            t = 2.0 * w[2 * LINE + p] * w[4 * LINE + p] - w[3 * LINE + p]
            w[3 * LINE + p] = w[4 * LINE + p]
            w[4 * LINE + p] = t
        for c in range(count):
            a = rows[c * TERMS + k]
            for p in range(n):
                w[(5 + c) * LINE + p] += a * w[4 * LINE + p]


def _terms(whole: bool) -> Callable[..., None]:
    """Compile the integrands with ``whole`` as a constant: a branch in the loop costs a tenth."""

    @inner
    def terms(
        phi: float,
        S: float,
        log_S: float,
        T: float,
        v: float,
        r: float,
        q: float,
        futures: bool,
        limit: float,
        limit_slope: float,
        least: float,
        n: int,
        w: Floats,
    ) -> None:
        """Integrands times weights into lines 5 to 12 of ``w``, from the points and the series there.

        ``least`` keeps H, which vanishes at expiry, above the error of its series. Without ``whole`` those of
        the value and of its slope in the volatility alone, into lines 5 and 9.
        """
        root_T = math.sqrt(T)
        drift = r - q - 0.5 * v * v
        moved = 1.0 if futures else 0.0
        for p in range(n):
            root = root_T * w[p]
            weight = T * w[LINE + p]
            u = root * root
            sd = v * root
            inv_sd = 1.0 / sd
            s = math.sqrt(max(w[5 * LINE + p], least))
            half = 0.5 * phi / s
            b = limit + phi * s
            b_v = w[6 * LINE + p] * half
            dm = (log_S - b + drift * u) * inv_sd
            dp = dm + sd
            eq = exp_quick(-q * u)
            er = exp_quick(-r * u)
            per_strike = exp_quick(-b)
            mass = eq * INV_SQRT_2PI * bell_quick(dp)
            tail_p = mass * tail_over_density(dp)
            tail_m = S * mass * per_strike * tail_over_density(dm)
            cash = phi * (tail_m if phi * dm < 0.0 else er - tail_m)
            share = phi * (tail_p if phi * dp < 0.0 else eq - tail_p)
            earned = r * per_strike
            c = q - earned
            dp_v = -dp / v + root - b_v * inv_sd
            k1 = c * dp_v + earned * root
            Sm = S * mass
            w[5 * LINE + p] = weight * (S * q * share - r * cash)
            w[9 * LINE + p] = weight * Sm * k1
            if whole:
                b_vv = w[7 * LINE + p] * half - phi * b_v * b_v / s
                b_r = limit_slope + w[8 * LINE + p] * half
                density = mass * inv_sd
                tilt = density * c
                spot_side = q * share + tilt
                bend = density / S * (q - dp * c * inv_sd)
                dp_vv = (dp / v - dp_v + b_v * inv_sd) / v - b_vv * inv_sd
                k2 = c * dp_vv + earned * b_v * (dp_v - root)
                dp_r = ((1.0 - moved) * u - b_r) * inv_sd
                by_rate = Sm * c * dp_r - (1.0 - r * u) * cash + moved * S * (1.0 - q * u) * share
                w[6 * LINE + p] = weight * spot_side
                w[7 * LINE + p] = weight * bend
                w[8 * LINE + p] = -weight * (bend * (dp * inv_sd + 1.0) + tilt * inv_sd * inv_sd / S) / S
                w[10 * LINE + p] = weight * Sm * (k2 - dp * dp_v * k1)
                w[11 * LINE + p] = weight * (
                    q * mass * dp_v + density * (earned * b_v - c / v - dp * dp_v * c)
                )
                w[12 * LINE + p] = weight * by_rate

    return terms


all_terms, two_terms = _terms(True), _terms(False)


@inner
def premium_terms(
    phi: float,
    S: float,
    T: float,
    v: float,
    r: float,
    q: float,
    futures: bool,
    rows: Floats,
    stretch: float,
    w: Floats,
    whole: bool,
) -> Premium:
    """Early-exercise premium and its slopes, strike 1, for the series in ``rows``.

    They are series over a horizon of which ``T`` is the fraction ``stretch`` squared. The last value is the
    depth of ln S inside the exercise region (negative outside). ``w`` is scratch of size ROOM. Without
    ``whole`` value, slope in the volatility and depth alone, from the first two of the four series.
    """
    # of the boundary at expiry; a call's is the reciprocal of the mirrored put's
    limit = limit_at_expiry(r, q) if phi < 0.0 else -limit_at_expiry(q, r)
    reach = outward(rows, 2.0 * stretch - 1.0)
    depth = phi * (math.log(S) - limit) - reach
    if depth >= 0.0 or is_never_reached(-depth - reach, T, v, r, q):
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, depth
    sd_T = v * math.sqrt(T)
    gap = max(-depth, _NEAREST * sd_T)
    n = place_points(gap, sd_T, stretch, w)
    if whole:
        sum_series(rows, ROWS, n, w)
    else:
        sum_series(rows, 2, n, w)
    limit_slope = 1.0 / r if limit != 0.0 and not futures else 0.0
    log_S = math.log(S) - phi * (gap + depth)
    least = max(NOISE * reach * reach, _LEAST_HEIGHT * sd_T * sd_T)
    if whole:
        all_terms(phi, S, log_S, T, v, r, q, futures, limit, limit_slope, least, n, w)
    else:
        two_terms(phi, S, log_S, T, v, r, q, futures, limit, limit_slope, least, n, w)
    a = b = c = d = e = f = g = h = 0.0
    if not whole:
        for p in range(n):
            a += w[5 * LINE + p]
            e += w[9 * LINE + p]
        return a, b, c, d, e, f, g, h, depth
    for p in range(n):
        a += w[5 * LINE + p]
        b += w[6 * LINE + p]
        c += w[7 * LINE + p]
        d += w[8 * LINE + p]
        e += w[9 * LINE + p]
        f += w[10 * LINE + p]
        g += w[11 * LINE + p]
        h += w[12 * LINE + p]
    return a, b, c, d, e, f, g, h, depth
