"""One smile: raw SVI, its density, and what in it would be an arbitrage.

Raw SVI (Gatheral, "A parsimonious arbitrage-free implied volatility parameterization", 2004) gives total
variance w = σ²T over log-moneyness k = ln(K/F) as ``a + b(ρ(k − m) + √((k − m)² + s²))``. Conditions
against butterflies are those of Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (2014).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from scalpdesk.pricing.base import Floats

WING_SLOPE_LIMIT = 2.0
"""Total variance may not grow faster than 2|k| (Lee, "The moment formula", 2004)."""
_GRID = np.concatenate(
    (np.linspace(-12.0, -4.25, 32), np.linspace(-4.0, 4.0, 65), np.linspace(4.25, 12.0, 32))
)
AT_WALL = 5e-3
"""g(k), or relative growth of volatility times root of time, below which a bound is what holds the smile."""
FAR = np.array([15.0, 20.0, 28.0, 40.0, 60.0, 100.0, 200.0])
FAR = np.concatenate((-FAR[::-1], FAR))
"""Multiples of √θ far beyond any strike: what holds there holds on the way out."""
_ROUNDING = 1e-9
"""A fall of volatility smaller than this, relative, is the last digits of two equal numbers."""


@dataclass(frozen=True, slots=True)
class SviSmile:
    """Raw SVI of one expiry, in total variance over ln(strike / forward)."""

    a: float
    b: float
    rho: float
    m: float
    s: float

    def total_variance(self, log_moneyness: ArrayLike) -> Floats:
        """Return σ²T at ln(K/F); shape of the argument."""
        y = np.asarray(log_moneyness, dtype=np.float64) - self.m
        variance: Floats = self.a + self.b * (self.rho * y + np.hypot(y, self.s))
        return np.asarray(variance)

    def butterfly(self, log_moneyness: ArrayLike) -> Floats:
        """Return Gatheral and Jacquier's g(k); a butterfly costs nothing or less where it is below 0."""
        k = np.asarray(log_moneyness, dtype=np.float64)
        raw = np.array([[self.a, self.b, self.rho, self.m, self.s]])
        return np.asarray(raw_slices(raw, np.atleast_1d(k), 1.0)[1][0].reshape(k.shape))

    def density(self, log_moneyness: ArrayLike) -> Floats:
        """Return the risk-neutral density of ln(S_T/F); Gatheral and Jacquier (2014), equation 2.2."""
        k = np.asarray(log_moneyness, dtype=np.float64)
        root = np.sqrt(self.total_variance(k))
        d2 = -k / root - 0.5 * root
        return np.asarray(self.butterfly(k) * np.exp(-0.5 * d2**2) / (root * np.sqrt(2.0 * np.pi)))

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """Growth of total variance per unit of k far to the left and far to the right, both positive."""
        return self.b * (1.0 - self.rho), self.b * (1.0 + self.rho)

    @property
    def lowest_variance(self) -> float:
        """Least total variance of any strike."""
        return self.a + self.b * self.s * float(np.sqrt(1.0 - self.rho**2))

    def scaled(self, theta: float) -> "SviSmile":
        """Return the smile whose k/√θ and w/θ are this one's k and w."""
        root = float(np.sqrt(theta))
        return SviSmile(self.a * theta, self.b * root, self.rho, self.m * root, self.s * root)

    def lifted(self, by: float) -> "SviSmile":
        """Return the smile with ``by`` more total variance everywhere."""
        return replace(self, a=self.a + by)


@dataclass(frozen=True, slots=True)
class ArbitrageCheck:
    """Worst violations found on a grid; both are 0 where there is none."""

    butterfly: float
    """How far g(k), or the limit on the wings' slopes, is below 0."""
    calendar: float
    """How far total variance falls below the expiry before, in volatility relative to it."""
    at: tuple[float, ...] = ()
    """The ln(K/F) of the worst of either kind."""

    @property
    def is_free(self) -> bool:
        """Whether neither kind was found."""
        return self.butterfly == 0.0 and self.calendar == 0.0


def check_arbitrage(
    smile: SviSmile, theta: float, before: SviSmile | None, reach: float = 0.0
) -> ArbitrageCheck:
    """Look for butterflies in a smile and for calendar spreads against the smile of the expiry before.

    Parameters
    ----------
    smile, before
        The smile and the one of the next shorter expiry (None for the first).
    theta
        Total variance near the money: the grid spans 12 √θ on either side, with points out to 200 √θ.
    reach
        Widen the grid to this |k| where quotes lie further out.
    """
    k = np.concatenate((FAR * np.sqrt(theta), check_grid(theta, reach)))
    g = smile.butterfly(k)
    worst_g, worst_k = float(np.min(g)), float(k[np.argmin(g)])
    steep = max(smile.wing_slopes) - WING_SLOPE_LIMIT
    below_zero = -smile.lowest_variance / theta
    butterfly = max(-worst_g, steep, below_zero, 0.0)
    dips = () if butterfly == 0.0 else (worst_k,)
    if before is None:
        return ArbitrageCheck(butterfly, 0.0, dips)
    at = np.concatenate((k, _between_crossings(before, smile)))
    late, early = smile.total_variance(at), before.total_variance(at)
    falls = 1.0 - np.sqrt(np.maximum(late, 0.0) / early)
    fall = float(np.max(falls))
    if fall <= _ROUNDING:
        return ArbitrageCheck(butterfly, 0.0, dips)
    return ArbitrageCheck(butterfly, fall, (*dips, float(at[np.argmax(falls)])))


def _between_crossings(one: SviSmile, other: SviSmile) -> Floats:
    """Return a ln(K/F) in every stretch between two crossings of the smiles, and beyond the outermost.

    The difference of two raw SVI smiles is zero at roots of a quartic (Gatheral and Jacquier 2014, 3.1):
    between them it keeps its sign, so that these few points miss no crossing however narrow or far out.
    """
    # in units of the widths, or the quartic's coefficients are many magnitudes apart
    unit = max(one.s, other.s)

    def square(smile: SviSmile) -> Floats:
        """Coefficients of b²((k − m)² + s²), falling powers."""
        m, s = smile.m / unit, smile.s / unit
        return (smile.b * unit) ** 2 * np.array([1.0, -2.0 * m, m * m + s * s])

    slope = (other.b * other.rho - one.b * one.rho) * unit
    level = other.a - other.b * other.rho * other.m - one.a + one.b * one.rho * one.m
    line = np.array([slope, level])
    line_squared = np.convolve(line, line)
    rest = square(one) - square(other) - line_squared
    quartic = np.convolve(rest, rest) - 4.0 * np.convolve(line_squared, square(other))
    size = float(np.max(np.abs(quartic)))
    if not size > 0.0:
        return np.zeros(1)
    roots = np.unique(np.real(np.roots(np.where(np.abs(quartic) < 1e-14 * size, 0.0, quartic))))
    if not len(roots):
        return np.zeros(1)
    span = 1.0 + float(roots[-1] - roots[0])
    ends = np.array([roots[0] - span, roots[-1] + span])
    return np.asarray(np.concatenate((ends, roots, 0.5 * (roots[1:] + roots[:-1]))) * unit)


def touches_arbitrage(smile: SviSmile, before: SviSmile | None, low: float, high: float) -> bool:
    """Return whether a bound against arbitrage holds the smile between two ln(K/F): it is at the wall.

    A fit that was held free of arbitrage differs from the free one there; elsewhere only its wings do.
    """
    k = np.linspace(low, high, 101)
    if float(np.min(smile.butterfly(k))) < AT_WALL:
        return True
    if before is None:
        return False
    growth = np.sqrt(smile.total_variance(k) / before.total_variance(k)) - 1.0
    return float(np.min(growth)) < AT_WALL


def flat_smile(vol: float, years: float) -> SviSmile:
    """Return the smile of one volatility for every strike."""
    return SviSmile(vol**2 * years, 0.0, 0.0, 0.0, max(vol * float(np.sqrt(years)), 1e-8))


def check_grid(theta: float, reach: float) -> Floats:
    """Return the ln(K/F) at which arbitrage is looked for: 12 √θ to either side, and out to ``reach``."""
    stretch = max(np.sqrt(theta), reach * 1.1 / _GRID[-1])
    return np.concatenate((_GRID * np.sqrt(theta), _GRID * stretch))


def raw_slices(raw: Floats, k: Floats, theta: float) -> tuple[Floats, Floats]:
    """Return total variance and g(k) of many smiles at once.

    Parameters
    ----------
    raw
        One row a smile: a, b, ρ, m, s.
    k
        ln(K/F), in the units of ``raw``.
    theta
        1 for plain units; the variance that was divided out of ``raw`` (and its root out of ``k``) else.

    Returns
    -------
    variance, g
        Arrays of shape (smiles, k).
    """
    a, b, rho, m, s = (raw[:, i : i + 1] for i in range(5))
    y = k[None, :] - m
    root = np.hypot(y, s)
    w = np.maximum(a + b * (rho * y + root), 1e-16)
    slope = b * (rho + y / root)
    bend = b * s**2 / root**3
    g = (1.0 - 0.5 * k * slope / w) ** 2 - 0.25 * slope**2 * (1.0 / w + 0.25 * theta) + 0.5 * bend
    return w, g
