"""The normal distribution, and ratios that keep their digits in its tails."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.compiling import inner

Floats: TypeAlias = NDArray[np.float64]
Nine: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


@inner
def norm_cdf(x: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x * SQRT_HALF)


@inner
def norm_pdf(x: float) -> float:
    """Standard normal density."""
    return INV_SQRT_2PI * math.exp(-0.5 * x * x)


@inner
def log_ratio(S: float, K: float) -> float:
    """ln(S/K), exact to the last digit near the money, where the quotient would round the answer away."""
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
    return math.sqrt(0.5 * math.pi) * erfcx(-z * SQRT_HALF)
