"""Raw SVI smile of one expiry: arbitrage checks, and the fit to bid and ask volatilities.

Raw SVI (Gatheral, "A parsimonious arbitrage-free implied volatility parameterization", 2004) gives total
variance w = σ²T over log-moneyness k = ln(K/F) as ``a + b(ρ(k − m) + √((k − m)² + s²))``. Conditions
against butterflies are those of Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (2014).

The fit works in k/√θ and w/θ with θ the variance near the money, so that options with minutes and with
years to expiry are the same problem. The first guess solves the linear part on a grid of (m, s)
(De Marco and Martini, "Quasi-explicit calibration of Gatheral's SVI model", 2009); Levenberg–Marquardt
refines it. Residuals are in half-spreads of each quote: 1 is the edge of its bid–ask. A fit is free, or held
free of arbitrage by penalties, here called walls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.svi_fit import (
    FEW_SKEW,
    HUBER_HALF_SPREADS,
    FitTerms,
    fitted,
    raw_of,
    raw_slices,
    searched,
)

_WING_SLOPE_LIMIT = 2.0
"""Largest slope of total variance in |k| (Lee, "The moment formula", 2004)."""
_GRID = np.concatenate(
    (np.linspace(-12.0, -4.25, 32), np.linspace(-4.0, 4.0, 65), np.linspace(4.25, 12.0, 32))
)
_MAY_DIP = 0.1
"""g at a point of the grid below which it may be negative between this point and the next."""
_FINE = np.linspace(0.0, 1.0, 13)
"""Points between two neighbours of a low point of the grid."""
_AT_WALL = 5e-3
"""g(k), or relative growth of volatility times root of time, below which an arbitrage bound is active."""
_FAR = np.array([15.0, 20.0, 28.0, 40.0, 60.0, 100.0, 200.0])
_FAR = np.concatenate((-_FAR[::-1], _FAR))
"""Multiples of √θ far beyond any strike, to check the wings."""
_ROUNDING = 1e-9
"""Relative fall of volatility below which it is rounding."""


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

    def variance_at(self, log_moneyness: float) -> float:
        """Return :meth:`total_variance` of one number, to the last digit and in a tenth of the time."""
        y = log_moneyness - self.m  # numpy's hypot: Python's differs from it in the last digit
        return self.a + self.b * (self.rho * y + float(np.hypot(y, self.s)))

    def butterfly(self, log_moneyness: ArrayLike) -> Floats:
        """Return Gatheral and Jacquier's g(k); below 0 there is a butterfly arbitrage."""
        k = np.asarray(log_moneyness, dtype=np.float64)
        raw = np.array([[self.a, self.b, self.rho, self.m, self.s]])
        return np.asarray(raw_slices(raw, np.atleast_1d(k).ravel(), 1.0)[1][0].reshape(k.shape))

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """Slopes of total variance in |k| far to the left and far to the right."""
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
    """Largest arbitrage violations of a smile on a grid; 0 without any."""

    butterfly: float
    """Largest violation of g(k) ≥ 0 or of the wings' slope limit."""
    calendar: float
    """Largest fall of total variance below the previous expiry, in volatility relative to it."""
    at: tuple[float, ...] = ()
    """ln(K/F) of the largest violation of each kind."""

    @property
    def is_free(self) -> bool:
        """Whether the smile is free of arbitrage."""
        return self.butterfly == 0.0 and self.calendar == 0.0


def check_arbitrage(
    smile: SviSmile, theta: float, before: SviSmile | None, reach: float = 0.0
) -> ArbitrageCheck:
    """Check a smile for butterfly arbitrage, and for calendar arbitrage against the previous expiry.

    ``smile``, ``before``: The smile and that of the next shorter expiry (None for the first).
    ``theta``: Total variance near the money: the grid spans 12 √θ on either side, with points out to 200 √θ.
    ``reach``: Largest |k| of the quotes, to which the grid is widened.
    """
    k = np.unique(np.concatenate((_FAR * np.sqrt(theta), _check_grid(theta, reach))))
    worst_g, worst_k = _least_g(smile, k)
    steep = max(smile.wing_slopes) - _WING_SLOPE_LIMIT
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


def _least_g(smile: SviSmile, k: Floats) -> tuple[float, float]:
    """Return the least g and its ln(K/F), sought between the points of an ascending grid too.

    Two rounds of finer points around every low local minimum: a dip of g is narrower than the grid's step.
    """
    g = smile.butterfly(k)
    padded = np.concatenate(([np.inf], g, [np.inf]))
    lows = np.flatnonzero((g <= padded[:-2]) & (g <= padded[2:]) & (g < _MAY_DIP))
    left, right = k[np.maximum(lows - 1, 0)], k[np.minimum(lows + 1, len(k) - 1)]
    for _ in range(2 if len(lows) else 0):
        fine = left[:, None] + (right - left)[:, None] * _FINE
        at = np.take_along_axis(fine, np.argmin(smile.butterfly(fine), axis=1)[:, None], axis=1)[:, 0]
        g, k = np.append(g, smile.butterfly(at)), np.append(k, at)
        left, right = at - (right - left) * _FINE[1], at + (right - left) * _FINE[1]
    least = int(np.argmin(g))
    return float(g[least]), float(k[least])


def _between_crossings(early: SviSmile, late: SviSmile) -> Floats:
    """Return a ln(K/F) in every interval between two crossings of the smiles, and beyond the outermost.

    The difference of two raw SVI smiles is zero at roots of a quartic (Gatheral and Jacquier 2014, 3.1) and
    keeps its sign between them: these points miss no crossing, however narrow or far out.
    """
    # scaled by the widths: otherwise the quartic's coefficients are many magnitudes apart
    unit = max(early.s, late.s)

    def square(smile: SviSmile) -> Floats:
        """Coefficients of b²((k − m)² + s²), falling powers."""
        m, s = smile.m / unit, smile.s / unit
        return (smile.b * unit) ** 2 * np.array([1.0, -2.0 * m, m * m + s * s])

    slope = (late.b * late.rho - early.b * early.rho) * unit
    level = late.a - late.b * late.rho * late.m - early.a + early.b * early.rho * early.m
    line = np.array([slope, level])
    line_squared = np.convolve(line, line)
    rest = square(early) - square(late) - line_squared
    quartic = np.convolve(rest, rest) - 4.0 * np.convolve(line_squared, square(late))
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
    """Return whether an arbitrage bound is active between two ln(K/F).

    There a fit that was held free of arbitrage differs from the free one; elsewhere only its wings do.
    """
    k = np.linspace(low, high, 101)
    if float(np.min(smile.butterfly(k))) < _AT_WALL:
        return True
    if before is None:
        return False
    growth = np.sqrt(smile.total_variance(k) / before.total_variance(k)) - 1.0
    return float(np.min(growth)) < _AT_WALL


def flat_smile(vol: float, years: float) -> SviSmile:
    """Return the flat smile of a volatility."""
    return SviSmile(vol**2 * years, 0.0, 0.0, 0.0, max(vol * float(np.sqrt(years)), 1e-8))


def _check_grid(theta: float, reach: float) -> Floats:
    """Return the ln(K/F) of the arbitrage check: 12 √θ to either side, and out to ``reach``."""
    stretch = max(np.sqrt(theta), reach * 1.1 / _GRID[-1])
    return np.concatenate((_GRID * np.sqrt(theta), _GRID * stretch))


FULL_PARAMETERS = 5
"""Fewest quotes for a fit of all parameters; with fewer, level and skew alone."""
_SMALLEST_HALF_WIDTH = 2e-4
"""Smallest half-spread in vol, as a share of the vol: the model is no more accurate."""

_COARSE = np.concatenate(
    (np.linspace(-12.0, -4.5, 14), np.linspace(-4.0, 4.0, 25), np.linspace(4.5, 12.0, 14))
)
_LOWER = np.array([-18.0, -14.0, -3.8, -12.0, -4.0])
_UPPER = np.array([4.0, 9.0, 3.8, 12.0, 2.1])
_FEW_LOWER, _FEW_UPPER = np.array([-6.0, -2.0]), np.array([6.0, 2.0])
_MS, _SS = (grid.reshape(-1) for grid in np.meshgrid(np.linspace(-2.0, 2.0, 13), np.geomspace(0.05, 4.0, 9)))
"""Places (m, s) among which a start is searched."""
"""Places and widths of a smile's lowest point, of which a cold fit begins with the best."""
_COLD_ENOUGH, _COLD_STEPS = 1e-9, 100
_HELD_ENOUGH, _HELD_STEPS = 1e-4, 25
"""Smallest relative gain of a step, and most steps: along a kinked wall the fit converges slowly."""
_WALLS = (100.0, 1000.0, 5000.0, 50_000.0, 50_000.0)
"""Half-spreads per unit of arbitrage, rising: first a gradient, then a wall."""
_GOOD_ENOUGH = 2.0
"""A held fit is accepted below this multiple of the free fit's loss plus one half-spread a quote."""
_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class SmileFit:
    """Fit of a smile to the quotes of one expiry, free or held free of arbitrage."""

    k: Floats
    """ln(strike / forward), at least one value."""
    low_vol: Floats
    high_vol: Floats
    """``low_vol``, ``high_vol``: Implied volatility of bid and ask, a year; the fit targets their mean, each
    quote weighted by the inverse of its half-width (vega over spread, to first order).
    """
    years: float
    """Time to expiry."""

    @property
    def theta(self) -> float:
        """Total variance at the money, interpolated linearly between quotes."""
        order = np.argsort(self.k)
        mid = 0.5 * (self.low_vol + self.high_vol)[order]
        return float(max(np.interp(0.0, self.k[order], mid) ** 2 * self.years, 1e-14))

    @property
    def reach(self) -> float:
        """Largest |k| of a quote."""
        return float(np.max(np.abs(self.k)))

    def free(self, start: SviSmile | None = None) -> SviSmile:
        """Return the best fit regardless of arbitrage; from ``start``, or from a grid search.

        One quote gives the flat smile of its volatility.
        """
        if len(self.k) == 1:
            return flat_smile(0.5 * float(self.low_vol[0] + self.high_vol[0]), self.years)
        problem = self._problem(None, None)
        first = problem.first_guess(None if start is None else start.scaled(1.0 / problem.theta))
        # a refit need not be exact: quotes move by more in a minute
        enough, steps = (_COLD_ENOUGH, _COLD_STEPS) if start is None else (_HELD_ENOUGH, _HELD_STEPS)
        vector = problem.fitted(first, enough, steps, problem.terms(0.0))
        return problem.smile(vector).scaled(problem.theta)

    def without_arbitrage(
        self, start: SviSmile, before: SviSmile | None, after: SviSmile | None = None, *, held: bool = False
    ) -> tuple[SviSmile, ArbitrageCheck]:
        """Return the best fit without butterflies and not below ``before``, and its remaining arbitrage.

        ``start``: Smile to start from: the free fit, or the last one.
        ``before``: Smile of the next shorter expiry: a hard floor.
        ``after``: Free fit of the next longer expiry: a soft ceiling, so that wings without quotes do not
        push the next expiry off its own quotes.
        ``held``: ``start`` was held free of arbitrage already: the lowest wall is skipped.
        """
        theta, root = self.theta, float(np.sqrt(self.theta))
        problem = self._problem(before, after)
        good = _GOOD_ENOUGH * (self.loss(start) + len(self.k))
        tries: list[tuple[SviSmile, ArbitrageCheck]] = []
        for attempt in range(2 if problem.full else 1):
            # a free fit with extreme wings is a bad start: then search for a better one
            vector = (
                problem.searched(_WALLS[0]) if attempt else problem.first_guess(start.scaled(1.0 / theta))
            )
            seen: list[float] = []
            for weight in _WALLS[1:] if held and not attempt else _WALLS:
                vector = problem.fitted(vector, _HELD_ENOUGH, _HELD_STEPS, problem.terms(weight, seen))
                smile = problem.smile(vector).scaled(theta)
                left = check_arbitrage(smile, theta, before, self.reach)
                if left.is_free:
                    break
                # the grid is coarse: add the points of the largest violations
                seen += [k / root for k in left.at]
            tries.append((smile, left))
            if left.is_free and self.loss(smile) < good:
                return smile, left
        for smile, left in tuple(tries):
            if not left.is_free:
                tries += _forced(smile, theta, before, self.reach)
        return min(tries, key=lambda fit: (fit[1].butterfly + fit[1].calendar, self.loss(fit[0])))

    def loss(self, smile: SviSmile) -> float:
        """Return Huber's loss of the residuals in half-spreads, summed over quotes."""
        vol = np.sqrt(np.maximum(smile.total_variance(self.k), 1e-16) / self.years)
        half = 0.5 * (self.high_vol - self.low_vol)
        mid = 0.5 * (self.high_vol + self.low_vol)
        size = np.abs(vol - mid) / np.maximum(half, _SMALLEST_HALF_WIDTH * mid)
        far = HUBER_HALF_SPREADS * (2.0 * size - HUBER_HALF_SPREADS)
        return float(np.sum(np.where(size > HUBER_HALF_SPREADS, far, size**2)))

    def _problem(self, before: SviSmile | None, after: SviSmile | None) -> "_Problem":
        theta = self.theta
        to_root = np.sqrt(self.years / theta)
        root = 0.5 * (self.low_vol + self.high_vol) * to_root
        half = np.maximum(0.5 * (self.high_vol - self.low_vol) * to_root, _SMALLEST_HALF_WIDTH * root)
        return _Problem(
            self.k / np.sqrt(theta),
            root,
            half,
            theta,
            None if before is None else before.scaled(1.0 / theta),
            None if after is None else after.scaled(1.0 / theta),
            len(self.k) >= FULL_PARAMETERS,
        )


@dataclass(frozen=True, slots=True)
class _Problem:
    """Fit in scaled units; ``full`` frees five parameters, else level and skew alone."""

    x: Floats
    root: Floats
    half: Floats
    theta: float
    before: SviSmile | None
    after: SviSmile | None
    full: bool

    def smile(self, vector: Floats) -> SviSmile:
        return SviSmile(*raw_of(vector, self.full))

    def terms(self, penalty: float, seen: Sequence[float] = ()) -> FitTerms:
        """Return what to fit to, with points of a violation beside the grid."""
        grid = np.concatenate((_COARSE, _FAR, np.array(seen))) if penalty > 0.0 else _NONE
        return FitTerms(
            self.x,
            self.root,
            self.half,
            self.theta,
            self.full,
            penalty,
            grid,
            len(_COARSE),
            _NONE if self.before is None else self.before.total_variance(grid),
            _NONE if self.after is None else self.after.total_variance(grid),
            _WING_SLOPE_LIMIT / float(np.sqrt(self.theta)),
        )

    def fitted(self, start: Floats, enough: float, max_steps: int, terms: FitTerms) -> Floats:
        lower, upper = (_LOWER, _UPPER) if self.full else (_FEW_LOWER, _FEW_UPPER)
        return fitted(start, lower, upper, enough, max_steps, terms)

    def first_guess(self, start: SviSmile | None) -> Floats:
        if not self.full:
            return np.array([0.0, FEW_SKEW])
        if start is not None:
            lowest = start.a + start.b * start.s * np.sqrt(1.0 - start.rho**2)
            guess = np.array(
                [
                    np.log(max(lowest, 1e-8)),
                    np.log(max(start.b, 1e-6)),
                    np.arctanh(min(max(start.rho, -0.999), 0.999)),
                    start.m,
                    np.log(max(start.s, 1e-3)),
                ]
            )
            return np.asarray(np.minimum(np.maximum(guess, _LOWER), _UPPER))
        return self.searched(0.0)

    def searched(self, penalty: float) -> Floats:
        """Return the best start under the penalty, of the places (m, s)."""
        return searched(_MS, _SS, _LOWER, _UPPER, self.terms(penalty))


def _forced(
    smile: SviSmile, theta: float, before: SviSmile | None, reach: float
) -> list[tuple[SviSmile, ArbitrageCheck]]:
    """Return nearby smiles with the remaining violations removed by construction, each with its check.

    The wings are flattened towards the level at the money, but not below the wings of the expiry before, and
    the smile is lifted above that expiry. The last one in the list is the expiry before, lifted to the level
    of ``smile``.
    """
    level = max(float(smile.total_variance(0.0)), 0.01 * theta)
    candidates = []
    k = np.concatenate((_FAR * np.sqrt(theta), _check_grid(theta, reach)))
    for share in (1.0, 0.999, 0.995, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.3, 0.1, 0.0):
        left, right = (share * slope for slope in smile.wing_slopes)
        if before is not None:
            left, right = (
                max(slope, least * (1.0 + 1e-9))
                for slope, least in zip((left, right), before.wing_slopes, strict=True)
            )
        b = 0.5 * (left + right)
        rho = (right - left) / (2.0 * b) if b > 0.0 else 0.0
        bent = SviSmile(0.0, b, rho, smile.m, smile.s)
        bent = bent.lifted(max(level - float(bent.total_variance(0.0)), 1e-6 * level - bent.lowest_variance))
        candidates.append(bent if before is None else _lifted_over(bent, before, k))
    if before is not None:
        lifted = before.lifted(max(level - float(before.total_variance(0.0)), 0.0))
        candidates.append(_lifted_over(lifted, before, k))
    return [(fit, check_arbitrage(fit, theta, before, reach)) for fit in candidates]


def _lifted_over(smile: SviSmile, before: SviSmile, k: Floats) -> SviSmile:
    earlier = before.total_variance(k)
    short = float(np.max(earlier - smile.total_variance(k)))
    # slightly more: after a lift to equality rounding may leave it below
    return smile.lifted(short + 1e-12 * float(np.max(earlier))) if short > 0.0 else smile
