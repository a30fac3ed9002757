"""Implied volatility of the embedded market: level, term structure, smile, and option prices.

Rates and dividend yield are zero: the forward is the share, put-call parity is C − P = S − K, and early
exercise is worth nothing, so that the listed (American) options have European prices. One smile in
moneyness over √(total variance) serves every expiry (SSVI with φ = η/√θ, Gatheral and Jacquier 2014,
"Arbitrage-free SVI volatility surfaces"): with total variance growing in the expiry there is no calendar
arbitrage, and with η²(1+|ρ|) ≤ 4 no butterfly arbitrage.
"""

from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR
from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.days import MarketDay
from scalpdesk.datasets.embedded.kernels import TREE_STEPS, between, fill_tree_premiums
from scalpdesk.datasets.embedded.path import UnderlyingPath, expected_clock
from scalpdesk.instruments.sessions import sessions_between

Floats = NDArray[np.float64]

_VIX_DAYS = 30.0
_SMALLEST_VARIANCE = 1e-10


def vix_path(generator: np.random.Generator, day: MarketDay, path: UnderlyingPath) -> Floats:
    """Draw the VIX level in points at each second: correlated with the share, recorded level at the close.

    At the open it is the previous close moved by the share's overnight return times
    :data:`~scalpdesk.datasets.embedded.days.VIX_SPOT_BETA`. Within the session log VIX is that beta times the
    move of the share, plus a noise bridge, plus the rest of the day's change spread over the variance clock.
    """
    beta = figures.VIX_SPOT_BETA
    log_move = np.log(path.mid / path.mid[0])
    log_open = log_vix_at_open(day)
    unexplained = np.log(day.vix) - log_open + beta * log_move[-1]
    clock = path.variance_clock
    steps = generator.standard_normal(len(clock) - 1) * np.sqrt(np.diff(clock))
    walk = np.concatenate(([0.0], np.cumsum(steps)))
    noise_sd = figures.VIX_NOISE_SHARE * beta * np.sqrt(day.garman_klass_variance)
    noise = noise_sd * (walk - walk[-1] * clock)
    return np.asarray(np.exp(log_open - beta * log_move + unexplained * clock + noise))


def log_vix_at_open(day: MarketDay) -> float:
    """Return log VIX (points) at the open, from the close before and the overnight return."""
    overnight = np.log(day.open / day.previous_close)
    return float(np.log(day.previous_vix) - figures.VIX_SPOT_BETA * overnight)


def smile_factor(scaled_moneyness: Floats) -> Floats:
    """Ratio of total variance at ln(K/F)/√θ to the at-the-money total variance θ."""
    rho, eta = figures.SMILE_RHO, figures.SMILE_ETA
    x = eta * scaled_moneyness
    return np.asarray(0.5 * (1.0 + rho * x + np.sqrt((x + rho) ** 2 + 1.0 - rho**2)))


def swap_over_money(theta: float) -> float:
    """Ratio of the smile's variance swap rate to its at-the-money variance, at total variance ``theta``.

    The VIX measures the former (Carr and Madan 1998). Evaluated as ∫ w(k) n(z) dz with z = −k/√w − √w/2
    (Gatheral, *The Volatility Surface*, 2006, eq. 11.5).
    """
    scaled = np.linspace(-12.0, 12.0, 2401)
    total = theta * smile_factor(scaled)
    k = scaled * np.sqrt(theta)
    z = -k / np.sqrt(total) - 0.5 * np.sqrt(total)
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    integrand = total * density
    area = -np.sum(0.5 * (integrand[1:] + integrand[:-1]) * np.diff(z))
    return float(area / theta)


def money_variance_from_vix(vix: Floats) -> Floats:
    """At-the-money variance a year at 30 days whose smile has a VIX of ``vix`` points."""
    money, fair = _money_and_fair()
    return np.asarray(np.interp(vix / 100.0, np.sqrt(fair), money) ** 2)


@lru_cache(maxsize=1)
def _money_and_fair() -> tuple[Floats, Floats]:
    """Return at-the-money volatilities and the variances that their smiles' VIX measures."""
    money = np.linspace(0.02, 1.5, 60)
    years = _VIX_DAYS / DAYS_PER_YEAR
    return money, np.array([m**2 * swap_over_money(m**2 * years) for m in money])


def variance_years(session: date, elapsed_share: Floats, expiry: date, *, half_day: bool) -> Floats:
    """Variance time from an instant of ``session`` to the close of ``expiry``, in years of 252 days.

    The night is :data:`~scalpdesk.datasets.embedded.days.OVERNIGHT_VARIANCE_SHARE` of a day, a weekend one
    night; within the session variance follows the expected U shape.
    """
    night = figures.OVERNIGHT_VARIANCE_SHARE
    weight = figures.HALF_DAY_VARIANCE_WEIGHT if half_day else 1.0
    days = (1.0 - night) * weight * (1.0 - expected_clock(elapsed_share))
    if expiry > session:
        whole, halves = _sessions_after(session, expiry)
        days = days + whole + halves * (night + (1.0 - night) * figures.HALF_DAY_VARIANCE_WEIGHT)
    return np.asarray(days / SESSIONS_PER_YEAR)


@lru_cache(maxsize=4096)
def _sessions_after(session: date, expiry: date) -> tuple[int, int]:
    """Return how many whole and how many half sessions come after ``session`` up to ``expiry``."""
    later = sessions_between(session + timedelta(days=1), expiry)
    halves = sum(1 for s in later if s.is_half_day)
    return len(later) - halves, halves


def total_variance(money_variance_30d: Floats, years: Floats) -> Floats:
    """At-the-money total variance to an expiry ``years`` of variance time away; grows with ``years``.

    Mean reversion in closed form: θ(τ) = v∞τ + (v0 − v∞)(1 − e^(−κτ))/κ with v0 such that the 30-day
    average is ``money_variance_30d``: the short end reacts more than the 30-day point.
    """
    kappa = figures.VARIANCE_REVERSION_PER_YEAR
    reference = _VIX_DAYS / DAYS_PER_YEAR
    long_run = np.minimum(figures.VARIANCE_LONG_RUN, figures.VARIANCE_LONG_RUN_CAP * money_variance_30d)
    share = (1.0 - np.exp(-kappa * reference)) / (kappa * reference)
    spot = long_run + (money_variance_30d - long_run) / share
    theta = long_run * years + (spot - long_run) * (1.0 - np.exp(-kappa * years)) / kappa
    return np.asarray(np.maximum(theta, _SMALLEST_VARIANCE))


class SmilePrices(NamedTuple):
    """Options on the smile: prices in currency per share by Black (1976), where parity is exact."""

    call: Floats
    put: Floats
    call_delta: Floats
    """Black delta of the call at its own implied volatility (a fraction)."""
    deviation: Floats
    """Standard deviation of the log return to the expiry at the strike's volatility."""


def option_prices(share: Floats, strike: Floats, theta: Floats) -> SmilePrices:
    """Return calls and puts at the smile's variance."""
    deviation = np.sqrt(theta * smile_factor(np.log(strike / share) / np.sqrt(theta)))
    d1 = np.log(share / strike) / deviation + 0.5 * deviation
    above = share > strike
    # the out-of-the-money option is computed, the other follows by parity: no digits are lost
    side = np.where(above, -1.0, 1.0)
    out = side * (share * ndtr(side * d1) - strike * ndtr(side * (d1 - deviation)))
    call = np.where(above, out + share - strike, out)
    put = np.where(above, out, out - share + strike)
    return SmilePrices(call, put, ndtr(d1), deviation)


_TABLE_MONEYNESS, _TABLE_DEVIATIONS = 49, 5
_EX_MONEYNESS, _EX_WIDTH = 129, 0.002
"""Places of the table with a dividend ahead, and the ln(K/S) within which they lie evenly about the money:
hours before its last notice the right to exercise bends within a tenth of a percent."""


def exercise_premiums(
    log_strike: Floats,
    deviation: Floats,
    *,
    rate: float,
    years: float,
    dividend: float,
    years_to_ex: float,
    years_to_notice: float,
) -> tuple[Floats, Floats]:
    """Return what the right to exercise early adds to call and put, as fractions of the share.

    From a table over moneyness and deviation, computed on a binomial tree (Cox, Ross and Rubinstein 1979) as
    American less European value, the share being a dividend certain to come and a diffusion without it.

    ``log_strike`` is ln(K/S), ``deviation`` the standard deviation of the log return to the expiry. The next
    dividend before the expiry is a fraction of the share, 0 without one; exercise gets it until its last
    notice.
    """
    low, high = log_strike.min() - 1e-6, log_strike.max() + 1e-6
    x = np.linspace(low, high, _TABLE_MONEYNESS)
    if dividend:
        ends = np.arcsinh(low / _EX_WIDTH), np.arcsinh(high / _EX_WIDTH)
        x = _EX_WIDTH * np.sinh(np.linspace(*ends, _EX_MONEYNESS))
    s = np.linspace(deviation.min() - 1e-9, deviation.max() + 1e-9, _TABLE_DEVIATIONS)
    grid = np.repeat(x, len(s)), np.tile(s, len(x))
    kinds = _tree_premiums(*grid, rate, years, dividend, years_to_ex, years_to_notice)
    at_x, at_s = (log_strike - x[0]) / (x[1] - x[0]), (deviation - s[0]) / (s[1] - s[0])
    if dividend:
        at_x = np.interp(log_strike, x, np.arange(len(x)))
    call, put = (between(kind.reshape(len(x), len(s)), at_x, at_s) for kind in kinds)
    return call, put


def _tree_premiums(
    log_strike: Floats,
    deviation: Floats,
    rate: float,
    years: float,
    dividend: float,
    years_to_ex: float,
    years_to_notice: float,
) -> tuple[Floats, Floats]:
    step = years / TREE_STEPS
    up = np.exp(deviation / np.sqrt(TREE_STEPS))[:, None]
    chance = ((np.exp(rate * step) - 1.0 / up) / (up - 1.0 / up))[:, 0]
    powers = up ** np.arange(-float(TREE_STEPS), TREE_STEPS + 1)
    passed = step * np.arange(TREE_STEPS)
    escrow = np.where(passed < years_to_notice, dividend * np.exp(-rate * (years_to_ex - passed)), 0.0)
    start, keep = 1.0 - dividend * np.exp(-rate * years_to_ex), np.exp(-rate * step)
    found = np.zeros((2, len(log_strike)))
    for sign, premiums in zip((1.0, -1.0), found, strict=True):
        if sign < 0.0 or dividend:  # without a dividend a call is never exercised early
            fill_tree_premiums(sign, start, powers, chance, keep, np.exp(log_strike), escrow, premiums)
    return found[0], found[1]
