"""Where the search for an exercise boundary starts: QD+ (Li 2010), one point at a time."""

import math

from scalpdesk.pricing.kernels.compiling import inner
from scalpdesk.pricing.kernels.normal import norm_cdf, norm_pdf


@inner
def seed_equation(b: float, tau: float, v: float, r: float, q: float) -> float:
    """Smooth-pasting residual of QD+ (Li 2010) for the put boundary ``b`` with strike 1."""
    sd = v * math.sqrt(tau)
    d1 = (math.log(b) + (r - q) * tau) / sd + 0.5 * sd
    d2 = d1 - sd
    dr = math.exp(-r * tau)
    dq = math.exp(-q * tau)
    tail1 = dq * norm_cdf(-d1)
    tail2 = dr * norm_cdf(-d2)
    put = tail2 - b * tail1
    theta = -0.5 * b * dq * norm_pdf(d1) * sd / tau + r * tail2 - q * b * tail1
    half_var = 0.5 * v * v
    beta = (r - q) / half_var
    h = -math.expm1(-r * tau)
    alpha_over_h = r / (half_var * h) if abs(h) > 1e-12 else 1.0 / (half_var * tau)
    disc = math.sqrt((beta - 1.0) ** 2 + 4.0 * alpha_over_h)
    lam = -0.5 * (beta - 1.0 + disc)
    gain = 1.0 - b - put
    c0_gain = (dr * alpha_over_h * (1.0 - alpha_over_h / (disc * disc)) * gain - theta / half_var) / disc
    return b * (1.0 - tail1) + lam * gain + c0_gain


@inner
def seed_boundary(start: float, limit: float, tau: float, v: float, r: float, q: float) -> float:
    """Root of the QD+ equation below ``limit``, to a hundredth of a deviation: secants and bisections."""
    hi = limit
    f_hi = seed_equation(hi, tau, v, r, q)
    if not f_hi > 0.0:
        return start
    sd = v * math.sqrt(tau)
    stride = math.exp(-min(0.5 * sd, 0.2))
    lo = start
    f_lo = seed_equation(lo, tau, v, r, q)
    for _ in range(60):
        if f_lo <= 0.0:
            break
        hi = lo
        f_hi = f_lo
        lo *= stride
        stride *= stride
        f_lo = seed_equation(lo, tau, v, r, q)
    for turn in range(40):
        if hi - lo < 0.01 * sd * lo:
            break
        mid = (lo * f_hi - hi * f_lo) / (f_hi - f_lo)
        if turn % 3 == 2 or not lo < mid < hi:
            mid = 0.5 * (lo + hi)  # the equation is flat on one side, where secants alone would creep
        f_mid = seed_equation(mid, tau, v, r, q)
        if f_mid > 0.0:
            hi = mid
            f_hi = f_mid
        else:
            lo = mid
            f_lo = f_mid
    return 0.5 * (lo + hi)
