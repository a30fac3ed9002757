"""The rules of hedge bands on single numbers: Python where a desk asks, machine code in the lab's loops.

Each rule stands here once. Python and machine code give the same bits: sums, products, roots and the C
library's functions agree in both (``tests/hedging/test_kernels.py``). Two operations do not: NumPy's cube
root, exponential and power use AVX-512 where the processor has it and then differ from the C library in the
last digit, so that the formulas with them (Whalley–Wilmott, Zakamouline) stay NumPy functions, which take a
column as they take a number.
"""

import math

from scalpdesk.core.units import SECONDS_PER_YEAR, exceeds
from scalpdesk.pricing.kernels.compiling import rule

ONE_HOUR_YEARS = 3600.0 / SECONDS_PER_YEAR
"""ACT/365 years in one hour; below it the formulas diverge and the fixed band takes over."""
_SURELY_ROUNDED = 0.5 - 1e-6
"""Nearer than this to a whole number, no billionth turns the rounding."""
_LARGEST_SURE = 1_000_000
"""Below it a double tells billionths of a share apart."""
BILLION = 1e9

rule(exceeds)


@rule
def rehedge_target(net: float, half_width: float, to_edge: bool) -> float:
    """Return the net delta (shares) to which a delta outside is brought: the nearer edge, or zero."""
    return math.copysign(half_width, net) if to_edge else 0.0


@rule
def held_between(half_width: float, floor: float, cap: float) -> float:
    """Return a half width (shares) held within its limits."""
    if floor <= half_width <= cap:
        return half_width
    return cap if half_width > cap else floor


@rule
def whole_position(shares_per_straddle: float, straddles: int, multiplier: int) -> float:
    """Return shares of the position from shares per straddle of a hundred shares."""
    return shares_per_straddle * straddles * (multiplier / 100.0)


@rule
def is_last_hour(years: float) -> bool:
    """Return whether less than an hour (ACT/365 years) is left, where the formulas diverge."""
    return years < ONE_HOUR_YEARS


@rule
def is_due(since_seconds: float, interval_seconds: float) -> bool:
    """Return whether a clock's interval has passed; exactly so long is enough."""
    return not since_seconds < interval_seconds


@rule
def nearest_whole(missing: float) -> float:
    """Return the whole number nearest to a signed amount; NaN too near to a half to be sure.

    Ties go away from zero once the amount is read to a billionth, which the caller does where this is NaN.
    """
    whole = math.floor(abs(missing) + 0.5)
    if abs(whole - abs(missing)) < _SURELY_ROUNDED and whole < _LARGEST_SURE:
        return float(whole) if missing > 0.0 else -float(whole)
    return math.nan


@rule
def is_worth_sending(
    beyond: float, half_width: float, least_fraction: float, quantity: float, least_shares: float
) -> bool:
    """Return whether a hedge is large enough to be sent.

    ``beyond``: Net delta less its target, shares.
    ``half_width``, ``least_fraction``: A hedge of less than this part of the half width is not sent.
    ``quantity``, ``least_shares``: Signed steps to trade, and the number below which a hedge is noise.
    """
    least = least_fraction * half_width
    return not (-least < beyond < least or -least_shares < quantity < least_shares)


@rule
def leland_interval(cost_fraction: float, vol: float, number: float) -> float:
    """Return the years between hedges at which the Leland number is ``number``."""
    return 8.0 / math.pi * (cost_fraction / (vol * number)) ** 2


@rule
def between(value: float, lowest: float, highest: float) -> float:
    """Return the value held within two bounds."""
    return min(max(value, lowest), highest)


@rule
def no_narrower_than_limit(
    fitted: float, limit: float, gamma: float, spot: float, cost_fraction: float, risk_aversion: float
) -> float:
    """Return Zakamouline's fitted half width, no narrower than Whalley and Wilmott's ``limit`` stretched.

    By ``1 + 2x`` when long gamma and over it when short, ``x = λ·√(a·S²·|Γ|)`` of Barles and Soner (1998).
    """
    stretch = 1.0 + 2.0 * cost_fraction * spot * math.sqrt(risk_aversion * abs(gamma))
    least = limit * stretch if gamma >= 0.0 else limit / stretch
    return max(fitted, least)


@rule
def minimum_variance_addition(
    spot: float, strike: float, years: float, vol: float, a: float, b: float, c: float
) -> float:
    """Return what Hull and White (2017) add to a call's delta: ``n(d1)·(a + b·δ + c·δ²)``."""
    root = vol * math.sqrt(years)
    d1 = math.log(spot / strike) / root + 0.5 * root
    call = 0.5 * math.erfc(-d1 / math.sqrt(2.0))
    return math.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi) * (a + b * call + c * call * call)
