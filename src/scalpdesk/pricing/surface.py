"""Volatility surface of one underlying: a smile for every expiry, and interpolation in time.

Volatilities are per year of calendar time (ACT/365): σ²·years is the total variance. Between expiries total
variance is linear at constant ln(K/F) in a given clock: calendar time, or variance time with weights for
sessions, nights and announcements. The clock's name is stored with the surface.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.svi import (
    FULL_PARAMETERS,
    ArbitrageCheck,
    SmileFit,
    SviSmile,
    check_arbitrage,
    touches_arbitrage,
)

Clock = Callable[[float], float]
"""Converts calendar years from now to years of the clock in which variance is linear; increasing, 0 at 0."""

_NO_ARBITRAGE = ArbitrageCheck(0.0, 0.0)
_LEAST_INSIDE = 0.5
"""Part of the quotes used that hold a fit which is worth the word *ok*."""
_NEAR_ENOUGH = 1.0
"""Mean loss, in squares of half-spreads, up to which the last held smile is a good start."""
_FAR = np.geomspace(6.0, 200.0, 401)
_DELTA_GRID = np.concatenate([-_FAR[:0:-1], np.linspace(-6.0, 6.0, 961), _FAR[1:]])
"""Where a delta is looked for, in deviations at the money: in a steep wing it falls slowly."""


class FitVerdict(StrEnum):
    """Result of the fit of one expiry."""

    OK = "ok"
    OUTSIDE_QUOTES = "outside_quotes"
    """The fit is free of arbitrage, but fewer than half of its quotes hold it (:data:`_LEAST_INSIDE`)."""
    FEW_QUOTES = "few_quotes"
    """Two to four quotes: level and skew were fitted, the curvature is assumed; one quote: a flat smile."""
    TOO_FEW_QUOTES = "too_few_quotes"
    """No usable quote: the expiry has no smile."""
    ARBITRAGE_REPAIRED = "arbitrage_repaired"
    """The free fit has an arbitrage within the quotes; the smile is held at the bound."""
    ARBITRAGE_LEFT = "arbitrage_left"
    """No smile near these quotes is free of arbitrage; ``left`` is the rest."""
    NO_FORWARD = "no_forward"
    """The quotes give no forward."""
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SmileQuotes:
    """Implied volatilities of one expiry's quotes; arrays of one length, NaN for a missing side."""

    label: Hashable
    """Key of the expiry, by which a refit finds its last smile."""
    years: float
    """Calendar years (ACT/365 by seconds) to the expiry instant."""
    forward: float
    """Currency per unit; NaN when unknown."""
    strike: Floats
    bid_vol: Floats
    ask_vol: Floats
    log_moneyness: Floats | None = None
    """ln(K/F) with the forward at the time of each quote; None where all quotes are simultaneous."""

    @property
    def k(self) -> Floats:
        """ln(K/F) of every quote."""
        return np.log(self.strike / self.forward) if self.log_moneyness is None else self.log_moneyness


@dataclass(frozen=True, slots=True)
class SurfaceExpiry:
    """Fitted smile of one expiry, with its verdict and residuals."""

    label: Hashable
    years: float
    clock_years: float
    forward: float
    smile: SviSmile | None
    verdict: FitVerdict
    strike: Floats
    residual: Floats
    """Fitted less mid volatility per quote, a year (0.01 is a point); NaN where a quote was not used."""
    inside: NDArray[np.bool_]
    """Whether the fitted volatility lies between those of bid and ask, per quote."""
    used: NDArray[np.bool_]
    found: ArbitrageCheck = _NO_ARBITRAGE
    """Arbitrage of the free fit, including wings beyond the last strike; of the previous free fit for a refit
    from a held smile."""
    left: ArbitrageCheck = _NO_ARBITRAGE
    """Remaining arbitrage of the smile."""

    @property
    def quotes_used(self) -> int:
        """Number of quotes in the fit."""
        return int(np.count_nonzero(self.used))

    @property
    def share_inside(self) -> float:
        """Share of the used quotes whose bid–ask contains the fitted volatility; NaN without quotes."""
        return float(np.mean(self.inside[self.used])) if self.quotes_used else float("nan")

    @property
    def rms_residual(self) -> float:
        """Root mean square of the residuals, in volatility a year; NaN without quotes."""
        return float(np.sqrt(np.mean(self.residual[self.used] ** 2))) if self.quotes_used else float("nan")

    def vol(self, strike: ArrayLike) -> Floats:
        """Fitted volatility (fraction a year) at the strikes; NaN for an expiry without a smile."""
        k = np.log(np.asarray(strike, dtype=np.float64) / self.forward)
        if self.smile is None:
            return np.full_like(k, np.nan)
        return np.asarray(np.sqrt(self.smile.total_variance(k) / self.years))

    @property
    def atm_vol(self) -> float:
        """Volatility at the forward."""
        return float(self.vol(self.forward))

    def delta_vol(self, delta: float) -> float:
        """Volatility of the call of forward delta N(d1) = ``delta`` (0.75 is the 25-delta put).

        NaN where no strike within 200 deviations of the forward has this delta.
        """
        if self.smile is None:
            return float("nan")
        k = _DELTA_GRID * np.sqrt(self.smile.total_variance(0.0))
        root = np.sqrt(self.smile.total_variance(k))
        call_delta = ndtr(-k / root + 0.5 * root)
        at = float(np.interp(-delta, -call_delta, k, left=np.nan, right=np.nan))
        return float(np.sqrt(self.smile.total_variance(at) / self.years))

    @property
    def risk_reversal(self) -> float:
        """25-delta call less 25-delta put volatility: the skew, negative where puts cost more."""
        return self.delta_vol(0.25) - self.delta_vol(0.75)

    @property
    def butterfly(self) -> float:
        """Mean of the two 25-delta volatilities less the one at the forward: the smile's curvature."""
        return 0.5 * (self.delta_vol(0.25) + self.delta_vol(0.75)) - self.atm_vol


def calendar_clock(years: float) -> float:
    """Calendar time: every second weighs the same."""
    return years


@dataclass(frozen=True, slots=True)
class VolSurface:
    """Volatility surface: smiles by expiry, interpolated and extrapolated in time."""

    spot: float
    expiries: tuple[SurfaceExpiry, ...]
    """In order of time; those without a smile are skipped by the interpolation."""
    clock: Clock = field(default=calendar_clock, compare=False)
    clock_name: str = "calendar-365"

    @property
    def fitted(self) -> tuple[SurfaceExpiry, ...]:
        """The expiries that have a smile."""
        return tuple(expiry for expiry in self.expiries if expiry.smile is not None)

    @property
    def share_inside(self) -> float:
        """Share of all used quotes whose bid–ask contains the fitted volatility."""
        used = sum(expiry.quotes_used for expiry in self.expiries)
        inside = sum(int(np.count_nonzero(expiry.inside & expiry.used)) for expiry in self.expiries)
        return inside / used if used else float("nan")

    def forward(self, years: float) -> float:
        """Return the forward for a time: ln F linear between spot and the expiries, the last slope beyond."""
        nodes = self.fitted
        if not nodes:
            return self.spot
        times, first = np.unique([0.0, *(node.years for node in nodes)], return_index=True)
        logs = np.log([self.spot, *(node.forward for node in nodes)])[first]
        if years <= times[-1]:
            return float(np.exp(np.interp(max(years, 0.0), times, logs)))
        slope = (logs[-1] - logs[-2]) / (times[-1] - times[-2])
        return float(np.exp(logs[-1] + slope * (years - times[-1])))

    def total_variance(self, log_moneyness: ArrayLike, years: float) -> Floats:
        """Return total variance at ln(K/F) for a time to expiry in calendar years.

        Before the first expiry variance is proportional to the clock; beyond the last one it grows at every
        strike at the rate of the at-the-money variance between the last two expiries. Neither opens a
        calendar arbitrage. Raises ArgumentError when no expiry has a smile, or the time is negative.
        """
        nodes = self.fitted
        if not nodes:
            raise ArgumentError("no expiry of this surface has a smile", where="surface")
        if not years >= 0.0:
            raise ArgumentError("a time to expiry is at least 0", where="years", value=years)
        smiles = [node.smile for node in nodes if node.smile is not None]
        clocks = [node.clock_years for node in nodes]
        now = self.clock(years)
        after = int(np.searchsorted(clocks, now))
        if after == 0:
            return np.asarray(smiles[0].total_variance(log_moneyness) * (now / clocks[0]))
        if after == len(nodes):
            last, rate = smiles[-1].total_variance(log_moneyness), self._last_rate()
            return np.asarray(last + rate * (now - clocks[-1]))
        share = (now - clocks[after - 1]) / (clocks[after] - clocks[after - 1])
        early = smiles[after - 1].total_variance(log_moneyness)
        late = smiles[after].total_variance(log_moneyness)
        return np.asarray((1.0 - share) * early + share * late)

    def _last_rate(self) -> float:
        """At-the-money variance per year of the clock between the last two expiries."""
        ends = [(node.clock_years, node.smile) for node in self.fitted if node.smile is not None]
        late_clock, late = ends[-1]
        # two roots may share an expiry instant: take the last expiry strictly before
        earlier = [end for end in ends if end[0] < late_clock]
        if not earlier:
            return float(late.total_variance(0.0)) / late_clock
        early_clock, early = earlier[-1]
        grown = float(late.total_variance(0.0) - early.total_variance(0.0))
        return max(grown, 0.0) / (late_clock - early_clock)

    def vol(self, strike: ArrayLike, years: float) -> Floats:
        """Return volatility a year at strikes, for a time to expiry above 0 in calendar years.

        Raises ArgumentError when no expiry has a smile, or the time is not above 0.
        """
        if not years > 0.0:
            raise ArgumentError("a volatility needs a time above 0", where="years", value=years)
        k = np.log(np.asarray(strike, dtype=np.float64) / self.forward(years))
        return np.asarray(np.sqrt(self.total_variance(k, years) / years))


def fit_surface(
    quotes: Sequence[SmileQuotes],
    spot: float,
    *,
    previous: VolSurface | None = None,
    clock: Clock = calendar_clock,
    clock_name: str = "calendar-365",
) -> VolSurface:
    """Fit every expiry, the nearest first, each not below the previous one.

    ``quotes``: One entry an expiry, in any order. A quote is used when both sides have a volatility and they
    are not crossed.
    ``spot``: Price of the underlying, for forwards between expiries.
    ``previous``: The last surface: expiries of the same label start from its smiles.
    ``clock``, ``clock_name``: Clock in which variance is linear between expiries.
    Every expiry has a verdict; bad quotes raise no error. Raises ArgumentError when the arrays of an expiry
    differ in length, two expiries share a label, or the spot is not above 0.
    """
    if not (np.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the spot must be above 0", where="spot", value=spot)
    known = {} if previous is None else {expiry.label: expiry for expiry in previous.fitted}
    if len({entry.label for entry in quotes}) != len(quotes):
        raise ArgumentError("two expiries share a label", where="quotes")
    ordered = sorted(quotes, key=lambda entry: entry.years)
    drafts = [_draft(entry, known.get(entry.label)) for entry in ordered]
    fitted: list[SurfaceExpiry] = []
    before: SviSmile | None = None
    for index, draft in enumerate(drafts):
        after = next((later.smile for later in drafts[index + 1 :] if later.smile is not None), None)
        expiry = _finished(draft, before, after, clock)
        before = expiry.smile or before
        fitted.append(expiry)
    return VolSurface(spot, tuple(fitted), clock, clock_name)


@dataclass(frozen=True, slots=True)
class _Draft:
    """Free fit of an expiry, or the verdict without one."""

    quotes: SmileQuotes
    used: NDArray[np.bool_]
    smile: SviSmile | None
    verdict: FitVerdict
    held: ArbitrageCheck | None = None
    """Where the smile is the last held one: the arbitrage of the free fit before it."""

    @property
    def fit(self) -> SmileFit:
        q = self.quotes
        return SmileFit(q.k[self.used], q.bid_vol[self.used], q.ask_vol[self.used], q.years)


def _draft(quotes: SmileQuotes, last: SurfaceExpiry | None) -> _Draft:
    low, high, strike = quotes.bid_vol, quotes.ask_vol, quotes.strike
    if not low.shape == high.shape == strike.shape == quotes.k.shape or strike.ndim != 1:
        raise ArgumentError(
            "strike, bid_vol, ask_vol and log_moneyness of an expiry have one length",
            where=f"quotes of {quotes.label}",
            value=(strike.shape, low.shape, high.shape, quotes.k.shape),
        )
    # NaN compares false: a quote without a volatility is not used
    used = (low > 0.0) & (high >= low) & np.isfinite(high) & np.isfinite(quotes.k)
    count = int(np.count_nonzero(used))
    if not quotes.years > 0.0 or not quotes.forward > 0.0 or count == 0:
        verdict = FitVerdict.TOO_FEW_QUOTES if quotes.forward > 0.0 else FitVerdict.NO_FORWARD
        verdict = verdict if quotes.years > 0.0 else FitVerdict.EXPIRED
        return _Draft(quotes, np.zeros(len(strike), dtype=np.bool_), None, verdict)
    verdict = FitVerdict.OK if count >= FULL_PARAMETERS else FitVerdict.FEW_QUOTES
    draft = _Draft(quotes, used, None, verdict)
    start, fit = None if last is None else last.smile, draft.fit
    if (
        last is not None
        and start is not None
        and count > 1
        and not last.found.is_free
        and fit.loss(start) < _NEAR_ENOUGH * count
    ):
        # the last held smile is nearer to the next one than any free fit
        return replace(draft, smile=start, held=last.found)
    return replace(draft, smile=fit.free(start))


def _finished(draft: _Draft, before: SviSmile | None, after: SviSmile | None, clock: Clock) -> SurfaceExpiry:
    quotes, used, smile, verdict = draft.quotes, draft.used, draft.smile, draft.verdict
    low, high = quotes.bid_vol, quotes.ask_vol
    residual, inside = np.full(len(used), np.nan), np.zeros(len(used), dtype=np.bool_)
    found = left = _NO_ARBITRAGE
    if smile is not None:
        fit = draft.fit
        held = draft.held is not None
        found = draft.held or check_arbitrage(smile, fit.theta, before, fit.reach)
        left = found
        if not found.is_free:
            smile, left = fit.without_arbitrage(smile, before, after, held=held)
            ends = float(fit.k.min()), float(fit.k.max())
            if not left.is_free:
                verdict = FitVerdict.ARBITRAGE_LEFT
            elif touches_arbitrage(smile, before, *ends):
                verdict = FitVerdict.ARBITRAGE_REPAIRED
        vol = np.sqrt(smile.total_variance(quotes.k) / quotes.years)
        residual = np.where(used, vol - 0.5 * (low + high), np.nan)
        inside = used & (vol >= low) & (vol <= high)
        if verdict is FitVerdict.OK and np.count_nonzero(inside) < _LEAST_INSIDE * np.count_nonzero(used):
            verdict = FitVerdict.OUTSIDE_QUOTES
    return SurfaceExpiry(
        quotes.label,
        quotes.years,
        clock(max(quotes.years, 0.0)),
        quotes.forward,
        smile,
        verdict,
        quotes.strike,
        residual,
        inside,
        used,
        found,
        left,
    )
