"""Realised against implied: the move that was made, beside the implied variance that was paid for it."""

import math
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import structs

from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import InstrumentId
from scalpdesk.marketdata.state import MarketState, paid_between
from scalpdesk.portfolio.greeks import gamma_in_coin
from scalpdesk.portfolio.interval import LegSnapshot
from scalpdesk.portfolio.time_and_rate import TimeAndRate

MOST_ASSUMED = 500
"""Intervals on the configured yield that are kept to be restated; the oldest stay as they are."""


class MoveMeter(Leaf, gc=False):
    """Realised variance beside the implied variance that was paid for it, over the same intervals."""

    gamma: float = 0.0
    theta: float = 0.0
    """First order: half gamma times the squared move, and what implied variance charged for it."""
    realised: float = 0.0
    implied: float = 0.0
    time: float = 0.0
    """Sums of variance and years."""
    weighted_realised: float = 0.0
    weighted_implied: float = 0.0
    weight: float = 0.0
    """The same, weighted by gamma times squared spot."""
    moves: float = 0.0
    even_moves: float = 0.0
    """Sums of squared moves: made, and implied."""

    def add(self, gamma: float, spot: float, d_spot: float, vol: float, variance_years: float) -> None:
        """Add an interval.

        ``gamma``: Of the book at its start, shares per unit of currency.
        ``spot``, ``d_spot``: At its start, and the move; currency.
        ``vol``: Implied, per root year of the variance clock.
        ``variance_years``: Length of the interval by that clock.
        """
        move = d_spot / spot
        realised, implied = move * move, vol * vol * variance_years
        cash_gamma = gamma * spot * spot
        self.gamma += 0.5 * cash_gamma * realised
        self.theta -= 0.5 * cash_gamma * implied
        self.realised += realised
        self.implied += implied
        self.time += variance_years
        self.weighted_realised += cash_gamma * realised
        self.weighted_implied += cash_gamma * implied
        self.weight += cash_gamma * variance_years
        self.moves += d_spot * d_spot
        self.even_moves += spot * spot * implied

    def since(self, before: "MoveMeter") -> "MoveMeter":
        """Return what has been added since an earlier state of this meter; since an empty one, a copy."""
        ends = zip(structs.astuple(self), structs.astuple(before), strict=True)
        return MoveMeter(*(now - then for now, then in ends))

    def figures(self) -> dict[str, float]:
        """Return the headline and what stands beside it; NaN where nothing was held.

        Volatilities are per root year of the variance clock. The weighted pair (by gamma times squared spot)
        always has the headline's sign; the plain one need not.
        """
        return {
            "gamma": self.gamma,
            "theta": self.theta,
            "headline": self.gamma + self.theta,
            "realised_vol": _root(self.realised, self.time),
            "implied_vol": _root(self.implied, self.time),
            "realised_vol_weighted": _root(self.weighted_realised, self.weight),
            "implied_vol_weighted": _root(self.weighted_implied, self.weight),
            "realised_move": math.sqrt(self.moves),
            "break_even_move": math.sqrt(self.even_moves),
        }


class _HeldGamma(FrozenLeaf, frozen=True, gc=False):
    """Gamma of a book of options."""

    gamma: float
    """Shares a unit of currency, beside its hedge."""
    vol: float
    """Implied, per root year of the variance clock, weighted by gamma."""
    expires_ns: int
    variance_years: float
    """Expiry instant of the last of the options, and time to it by the variance clock."""


def _held_gamma(legs: Iterable[LegSnapshot], underlying: str) -> _HeldGamma | None:
    """Return the gamma of positions' options on an underlying; None without any."""
    gamma = variance = size = variance_years = 0.0
    expires_ns = 0
    for leg in legs:
        contract, state, greeks = leg.instrument, leg.state, leg.greeks
        if not contract.is_option or contract.underlying != underlying or state is None or greeks is None:
            continue
        expires_ns, variance_years = leg.expires_ns, state.variance_years
        own = leg.units * greeks.gamma
        if contract.is_inverse:
            own = gamma_in_coin(own, leg.units * greeks.delta, state.spot)
        gamma += own
        size += abs(own)
        variance += abs(own) * state.vol * state.vol
    return _HeldGamma(gamma, math.sqrt(variance / size), expires_ns, variance_years) if size else None


class _GammaInterval(FrozenLeaf, frozen=True, gc=False):
    """Gamma held from one instant to the next, and the move that ended it."""

    start_ns: int
    spot: float
    held: _HeldGamma
    assumed: list[LegSnapshot]
    """Its positions at the start, where one of them stands on the configured yield."""
    d_spot: float = 0.0
    variance_years: float = 0.0

    def add_to(self, meter: MoveMeter) -> None:
        """Add the interval, once it has ended."""
        meter.add(self.held.gamma, self.spot, self.d_spot, self.held.vol, self.variance_years)


class GammaMeter:
    """Measures the gamma held in an underlying, interval by interval.

    An interval that began on a configured yield is kept, to be counted again at the yield that quotes show.
    """

    def __init__(self, state: MarketState, terms: TimeAndRate, underlying: InstrumentId, symbol: str) -> None:
        self.underlying = underlying
        self.total = MoveMeter()
        self.interval: _GammaInterval | None = None
        """Since the last anchor; None without gamma."""
        self._state, self._terms, self._symbol = state, terms, symbol
        self._assumed = deque[_GammaInterval](maxlen=MOST_ASSUMED)

    def renew(self, now_ns: int, starts: list[LegSnapshot], *, is_assumed: bool) -> None:
        """End the interval and begin the next with what is held now.

        ``is_assumed`` says whether one of the ``starts`` may stand on the configured yield.
        """
        spot = self._state.mark(self.underlying)
        if spot is None:
            return
        ended = self.interval
        if ended is not None:
            held, paid = ended.held, 0.0
            years = held.variance_years - self._terms.variance_left(held.expires_ns, now_ns)
            if years > 0.0:
                if self._state.dividends or self._state.adjustments:
                    paid = paid_a_share(self._state, self.underlying, ended.start_ns, now_ns)
                d_spot = spot + paid - ended.spot
                self.total.add(held.gamma, ended.spot, d_spot, held.vol, years)
                if ended.assumed:
                    self._assumed.append(structs.replace(ended, d_spot=d_spot, variance_years=years))
        found = _held_gamma(starts, self._symbol)
        kept = starts if is_assumed else []
        self.interval = None if found is None else _GammaInterval(now_ns, spot, found, kept)

    def restate(
        self, starts: list[LegSnapshot], restated: Callable[[LegSnapshot], LegSnapshot], *, is_assumed: bool
    ) -> None:
        """Count the intervals that began on a configured yield at the yield that quotes have shown since.

        ``starts`` are the positions of the interval that runs, ``restated`` gives a start at that yield;
        ``is_assumed`` as in :meth:`renew`.
        """
        found, interval = _held_gamma(starts, self._symbol), self.interval
        if interval is not None:
            kept = interval.assumed if is_assumed else []
            self.interval = None if found is None else structs.replace(interval, held=found, assumed=kept)
        before = [*self._assumed]
        self._assumed.clear()
        for ended in before:
            wrong = MoveMeter()
            ended.add_to(wrong)
            known = [restated(start) for start in ended.assumed]
            found = _held_gamma(known, self._symbol) or ended.held
            again = structs.replace(ended, held=found, assumed=known)
            self.total = self.total.since(wrong)
            again.add_to(self.total)
            if is_assumed:
                self._assumed.append(again)


def paid_a_share(state: MarketState, share: InstrumentId, from_ns: int, to_ns: int) -> float:
    """Return what a share paid in between, special dividends too, currency a share."""
    special = (
        item.paid
        for item in state.adjustments
        if item.instrument_id == share and from_ns < item.ts_event_ns <= to_ns
    )
    return paid_between(state.dividends, share, from_ns, to_ns) + sum(special)


def _root(total: float, over: float) -> float:
    return math.sqrt(total / over) if over and total / over >= 0.0 else math.nan
