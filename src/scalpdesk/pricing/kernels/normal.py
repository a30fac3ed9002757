"""Normal distribution: precise tail ratios, a fast exponential and tail for vectorised loops.

The library's ``exp`` and ``erfc`` are exact to the last digit but scalar. ``exp_quick`` and
``tail_over_density`` have no branches or calls, so that loops vectorise; their relative error is about 1e-13,
far below that of the quadratures that use them.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from numba import types
from numba.extending import intrinsic

from scalpdesk.pricing.base import Seven
from scalpdesk.pricing.kernels.compiling import inner

Nine: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]

Row: TypeAlias = tuple[float, float, float, float, float, float, float]

_SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_VANISHING = 37.0  # deviations from which tail and density, some 1e-298, are 0: at 38 they turn subnormal


@inner
def row_of(columns: Seven, i: int) -> Row:
    """One element of the columns of a kernel."""
    a, b, c, d, e, f, g = columns
    return a[i], b[i], c[i], d[i], e[i], f[i], g[i]


@inner
def norm_cdf(x: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x * _SQRT_HALF)


@inner
def norm_pdf(x: float) -> float:
    """Standard normal density."""
    return INV_SQRT_2PI * math.exp(-0.5 * x * x)


@inner
def visible_cdf(x: float) -> float:
    """Distribution function of prices: 0 from ``_VANISHING`` deviations below."""
    return norm_cdf(x) if x > -_VANISHING else 0.0


@inner
def visible_pdf(x: float) -> float:
    """Density of Greeks: 0 from ``_VANISHING`` deviations on."""
    return norm_pdf(x) if abs(x) < _VANISHING else 0.0


@inner
def log_ratio(S: float, K: float) -> float:
    """ln(S/K), exact to the last digit near the money, where the logarithm of the quotient is not."""
    if 0.5 * K < S < 2.0 * K:
        return math.log1p((S - K) / K)
    return math.log(S) - math.log(K)


@inner
def erfcx(x: float) -> float:
    """Scaled complementary error function exp(x²)·erfc(x), near full precision for every x > -26."""
    if x > 10.0:
        y = 0.5 / (x * x)
        term = 1.0
        total = 1.0
        for k in range(1, 13):
            term *= -(2 * k - 1) * y
            total += term
        return total / (x * math.sqrt(math.pi))
    # the square is split so that its rounding does not reach the exponential
    high = math.floor(x * 1048576.0) / 1048576.0
    return math.exp(high * high) * math.exp((x - high) * (x + high)) * math.erfc(x)


@inner
def mills(z: float) -> float:
    """N(z)/n(z) without under- or overflow for z < 37."""
    return math.sqrt(0.5 * math.pi) * erfcx(-z * _SQRT_HALF)


_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490  # 33 bits: its product with an exponent is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUNDER = 6755399441055744.0  # 1.5·2^52: adding it leaves the nearest integer in the low bits
_ONE_BITS = 0x3FF0000000000000

_TAIL_CENTRE = 3.0
_TAIL_SERIES = (
    1.074006907088339,
    -0.8833944531684109,
    0.5902283571039291,
    -0.31046726198947044,
    0.11952776130040348,
    -0.026827233042855683,
    -0.0012124168710017206,
    0.0030340491310867587,
    -0.0005483076993747797,
    -0.0002767206219328057,
    0.00010755277948174138,
    3.0246739691775514e-05,
    -1.744841964816595e-05,
    -4.5017759475740596e-06,
    2.7317799944476543e-06,
    7.48710781887272e-07,
    -3.7850220810229847e-07,
    -8.220913035697059e-08,
    3.321398061847216e-08,
)
"""Monomials in y = (t - c)/(t + c), c = 3, of erfcx(t)·(t + c) on t >= 0: a Chebyshev fit, error 1e-13."""

(
    A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17, A18,
) = _TAIL_SERIES  # fmt: skip


def _bitcast(source: Any, target: Any) -> Any:
    """Reinterpret 64 bits as another type."""

    def typed(_context: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(typed)


bits_of: Callable[[float], int] = _bitcast(types.float64, types.int64)
number_of: Callable[[int], float] = _bitcast(types.int64, types.float64)


@inner
def exp_quick(x: float) -> float:
    """Exponential, clipped at ±700: a power of two times a Taylor series."""
    x = min(max(x, -700.0), 700.0)
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    f = (x - n * _LN2_HIGH) - n * _LN2_LOW
    f2 = f * f
    f4 = f2 * f2
    low = (1.0 + f) + f2 * (0.5 + f * 1.6666666666666666e-1)
    mid = (4.1666666666666664e-2 + f * 8.3333333333333332e-3) + f2 * (
        1.3888888888888889e-3 + f * 1.9841269841269841e-4
    )
    top = (2.4801587301587302e-5 + f * 2.7557319223985893e-6) + f2 * (
        2.7557319223985888e-7 + f * 2.5052108385441720e-8
    )
    series = low + f4 * (mid + f4 * (top + f4 * 2.08767569878681e-9))
    return series * number_of((bits_of(shifted) << 52) + _ONE_BITS)


_LEAST_EXPONENT = -300.0
"""exp(-300) is 5e-131, nothing beside any price. Times a dozen small factors it is still a normal double
(above 2e-308); each operation on a subnormal one takes some processors many times as long.
"""


@inner
def bell_quick(d: float) -> float:
    """exp(-d²/2), at least exp(``_LEAST_EXPONENT``)."""
    return exp_quick(max(-0.5 * d * d, _LEAST_EXPONENT))


@inner
def tail_over_density(d: float) -> float:
    """N(-|d|)/n(d): the upper tail of the normal over its density (Mills' ratio)."""
    t = abs(d) * 0.7071067811865476
    inverse = 1.0 / (t + _TAIL_CENTRE)
    y = 1.0 - 2.0 * _TAIL_CENTRE * inverse
    y2 = y * y
    y4 = y2 * y2
    y8 = y4 * y4
    p = (A0 + y * A1) + y2 * (A2 + y * A3) + y4 * ((A4 + y * A5) + y2 * (A6 + y * A7))
    h = (A8 + y * A9) + y2 * (A10 + y * A11) + y4 * ((A12 + y * A13) + y2 * (A14 + y * A15))
    g = A16 + y * A17 + y2 * A18
    return 1.2533141373155003 * inverse * (p + y8 * (h + y8 * g))


_FINE_CENTRE = 5.0
_FINE_TAIL = (
    1.9280810471531578,
    -1.66786659518896,
    1.2415470615738664,
    -0.7859110755465453,
    0.4136447157326838,
    -0.17325473408715042,
    0.0521255024122788,
    -0.007503282820678759,
    -0.001999961974984366,
    0.0013658591609424361,
    -0.00014883305232339802,
    -0.00012473565818721082,
    4.181458586632463e-05,
    9.974780085542733e-06,
    -6.945033138491628e-06,
    -8.360675980181407e-07,
    1.0936633523593942e-06,
    9.668428357216325e-08,
    -1.7641239689771904e-07,
    -1.7398124277679196e-08,
    2.8172011975443032e-08,
    3.1868668438665133e-09,
    -3.84418406496492e-09,
    -3.336850487923168e-10,
    3.1256054471604125e-10,
)
"""Monomials in y = (z - c)/(z + c), c = 5, of M(z)·(z + c), M(z) = N(-z)/n(z), z >= 0: error below 1e-17."""
_FINE_SLOPE = (
    3.5959476423421175,
    -5.818827313525657,
    6.082374411361284,
    -4.798223165116554,
    2.9344972490966383,
    -1.3522814190067067,
    0.4174014966813597,
    -0.04402656663529499,
    -0.03029239074438183,
    0.01514692120636392,
    -0.0002650681860970295,
    -0.001998598920313842,
    0.00041390545016441464,
    0.00023686628514963493,
    -9.16043545713771e-05,
    -3.085560951555709e-05,
    1.6898429943174243e-05,
    4.892110024359678e-06,
    -2.966133990218284e-06,
    -8.939909809900847e-07,
    4.863822108039151e-07,
    1.4738677009730265e-07,
    -6.548547304190219e-08,
    -1.4183285172020795e-08,
    5.160795473541433e-09,
)
"""The same of (1 - z·M(z))·(z + c)²."""

(
    Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12,
    Y13, Y14, Y15, Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23, Y24,
) = _FINE_TAIL  # fmt: skip
(
    D0, D1, D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12,
    D13, D14, D15, D16, D17, D18, D19, D20, D21, D22, D23, D24,
) = _FINE_SLOPE  # fmt: skip


@inner
def mills_and_slope(z: float) -> tuple[float, float]:
    """Mills' ratio M(z) = N(-z)/n(z) and -M'(z) = 1 - z·M(z) for z >= 0, both to the last digits.

    The second is the difference of nearly equal numbers far out, so it has a series of its own.
    """
    inverse = 1.0 / (z + _FINE_CENTRE)
    y = (z - _FINE_CENTRE) * inverse
    y2 = y * y
    y4 = y2 * y2
    y8 = y4 * y4
    tail_low = ((Y0 + y * Y1) + y2 * (Y2 + y * Y3)) + y4 * ((Y4 + y * Y5) + y2 * (Y6 + y * Y7))
    tail_mid = ((Y8 + y * Y9) + y2 * (Y10 + y * Y11)) + y4 * ((Y12 + y * Y13) + y2 * (Y14 + y * Y15))
    tail_top = ((Y16 + y * Y17) + y2 * (Y18 + y * Y19)) + y4 * ((Y20 + y * Y21) + y2 * (Y22 + y * Y23))
    slope_low = ((D0 + y * D1) + y2 * (D2 + y * D3)) + y4 * ((D4 + y * D5) + y2 * (D6 + y * D7))
    slope_mid = ((D8 + y * D9) + y2 * (D10 + y * D11)) + y4 * ((D12 + y * D13) + y2 * (D14 + y * D15))
    slope_top = ((D16 + y * D17) + y2 * (D18 + y * D19)) + y4 * ((D20 + y * D21) + y2 * (D22 + y * D23))
    tail = tail_low + y8 * (tail_mid + y8 * (tail_top + y8 * Y24))
    slope = slope_low + y8 * (slope_mid + y8 * (slope_top + y8 * D24))
    return tail * inverse, slope * inverse * inverse


@inner
def sine_quick(x: float) -> float:
    """Sine for 0 <= x <= pi/2 (Taylor's series)."""
    s = x * x
    s2 = s * s
    s4 = s2 * s2
    low = (1.0 - s * 1.6666666666666666e-1) + s2 * (8.3333333333333332e-3 - s * 1.9841269841269841e-4)
    mid = (2.7557319223985893e-6 - s * 2.5052108385441720e-8) + s2 * (
        1.6059043836821613e-10 - s * 7.6471637318198164e-13
    )
    top = 2.8114572543455206e-15 - s * 8.2206352466243295e-18
    return x * (low + s4 * (mid + s4 * top))
