"""Time to expiry on both clocks, and the rate for it."""

import math
from datetime import date, time

from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND, SECONDS_PER_YEAR
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.marketdata.state import MarketState
from scalpdesk.volatility.variance_time import CALENDAR, FIRST_YEAR, LAST_YEAR, VarianceClock

_FIRST_NS = new_york_ns(date(FIRST_YEAR, 1, 2), time(0))
_END_NS = new_york_ns(date(LAST_YEAR, 12, 31), time(0))
"""Instants between which the session clock knows the calendar."""
_SPANS_KEPT = 256


class TimeAndRate:
    """Time to expiry and rate of a run.

    ``state``: The latest market: its rate curve.
    ``floor_seconds``: Smallest time to expiry before the expiry instant, in seconds.
    ``flat_rate``: One rate for all maturities (fraction a year); None uses the market's curve.
    """

    def __init__(
        self, state: MarketState, *, floor_seconds: float, flat_rate: float | None, clock: VarianceClock
    ) -> None:
        self._state, self._floor_seconds = state, floor_seconds
        self._flat_rate, self._clock = flat_rate, clock
        self._last_rate = state.rate_curve, math.nan, 0.0
        """Curve, years and rate of the last request."""
        self._left: dict[tuple[int, int], float] = {}
        """Variance time to an expiry instant from another one, of the last few that were asked for."""
        self._to_clock: dict[tuple[int, int], float] = {}
        """The same of :meth:`to_clock`."""

    @property
    def days_per_year(self) -> float:
        """Days over which the clock spreads a year's variance."""
        return self._clock.days_per_year

    def years(self, expires_ns: int, now_ns: int) -> float:
        """Return ACT/365 years to an expiry instant: at least the floor before it, 0 from then on."""
        left_ns = expires_ns - now_ns
        if left_ns <= 0:
            return 0.0
        return max(left_ns / NANOS_PER_SECOND, self._floor_seconds) / SECONDS_PER_YEAR

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the variance clock between two instants; by the calendar where it knows no more."""
        if start_ns >= _FIRST_NS and end_ns < _END_NS:
            return self._clock.years(start_ns, end_ns)
        return CALENDAR.years(start_ns, end_ns)

    def variance_left(self, expires_ns: int, now_ns: int) -> float:
        """Return years of the variance clock to an expiry instant, 0 from then on; its options share them."""
        span = expires_ns, now_ns
        years = self._left.get(span)
        if years is None:
            if len(self._left) >= _SPANS_KEPT:  # an instant asks for a few, one after the other
                self._left.clear()
            years = self._left[span] = self.variance_years(now_ns, expires_ns) if expires_ns > now_ns else 0.0
        return years

    def to_clock(self, expires_ns: int, at_ns: int) -> float:
        """Return what turns an option's volatility by the calendar into that on the variance clock.

        By the calendar the last hour of trading shows a multiple of the volatility that the underlying has,
        and a weekend a part of it: from one instant to another a volatility is carried on the variance clock.
        1 from the expiry instant on.
        """
        span = expires_ns, at_ns
        found = self._to_clock.get(span)
        if found is None:
            if len(self._to_clock) >= _SPANS_KEPT:
                self._to_clock.clear()
            by_clock = self.variance_left(expires_ns, at_ns)
            found = math.sqrt(self.years(expires_ns, at_ns) / by_clock) if by_clock > 0.0 else 1.0
            self._to_clock[span] = found
        return found

    def carried(self, vol: float, expires_ns: int, then_ns: int, now_ns: int) -> float:
        """Return the volatility by the calendar of now that has the variance of one of ``then_ns``."""
        return vol * self.to_clock(expires_ns, then_ns) / self.to_clock(expires_ns, now_ns)

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity, a fraction a year."""
        if self._flat_rate is not None:
            return self._flat_rate
        curve = self._state.rate_curve
        known_curve, known_years, known_rate = self._last_rate
        if known_years != years or known_curve is not curve:  # the legs of an expiry ask one after the other
            flat = len(curve.rates) == 1
            known_rate = curve.rates[0] if flat else curve.rate_at(years * DAYS_PER_YEAR)
            self._last_rate = curve, years, known_rate
        return known_rate
