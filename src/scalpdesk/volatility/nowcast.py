"""Volatility of the day under way: the forecast from before it, moved by what has been realised since."""

import math
from collections.abc import Callable
from typing import NamedTuple

from scalpdesk.core.units import NANOS_PER_SECOND, SESSIONS_PER_YEAR

_REACTION = 0.5
"""Elapsed share of a day's variance at which what was realised counts half (the desk's choice)."""

_LATER_WEIGHT = 0.3
"""Share of a day's surprise that the forecast of the days after it keeps.

Measured: how much the desk's own HAR forecast of five days moved, relatively, for a day whose variance was so
much above the forecast (slope 0.33 over 3,978 days of the S&P 500 to 2018; 0.28 over those above it).
"""
_SAMPLE_SECONDS = 300
"""Spacing of the prices that realised variance is summed from (Liu, Patton and Sheppard 2015)."""


class _Nowcast(NamedTuple):
    """Volatilities of one day, fractions a year."""

    day_vol: float
    """Volatility of the whole day: realised so far, forecast for the rest."""
    weight: float
    """Share of the surprise so far that is expected to persist, 0 to 1."""
    rest_vol: float
    """Volatility of the rest of the day."""


def nowcast(
    forecast_vol: float,
    realized_variance: float,
    share_elapsed: float,
    *,
    reaction: float = _REACTION,
    days_per_year: float = SESSIONS_PER_YEAR,
) -> _Nowcast:
    """Return a day's volatility from a forecast and what the day has shown so far.

    ``forecast_vol``: Made before the day, fraction a year.
    ``realized_variance``: Sum of squared log returns so far, the gap at the open among them.
    ``share_elapsed``: Share of the day's variance that they cover on the session's variance clock, 0 to 1.
    ``reaction``: Elapsed share at which half of the surprise is expected to go on.
    ``days_per_year``: Trading days of the forecast's year: 365 where the market never closes.

    Notes
    -----
    With the forecast's daily variance d and the share u, the rest of the day is scaled by
    ``1 + g·(RV/(d·u) − 1)``, ``g = u/(u + reaction)``: nothing at the open, two thirds of the surprise at the
    close.

    Examples
    --------
    >>> round(nowcast(0.157, 0.00024, 0.45).rest_vol, 6)
    0.276833
    """
    a_day = forecast_vol**2 / days_per_year
    day_vol = math.sqrt(days_per_year * (realized_variance + a_day * (1.0 - share_elapsed)))
    expected = a_day * share_elapsed
    if expected <= 0.0:
        return _Nowcast(day_vol, 0.0, forecast_vol)
    weight = share_elapsed / (share_elapsed + reaction)
    return _Nowcast(
        day_vol, weight, forecast_vol * math.sqrt(1.0 + weight * (realized_variance / expected - 1.0))
    )


def forecast_to_horizon(forecast_vol: float, now: _Nowcast, rest_years: float, horizon_years: float) -> float:
    """Return the volatility from now to a horizon, a fraction a year of the variance clock.

    What is left of the day at its own volatility; the variance of the days after is the forecast's times
    ``1 + w·(m − 1)`` with m that of the rest of the day and w :data:`_LATER_WEIGHT`.

    ``forecast_vol``: Made before the day, fraction a year.
    ``now``: The nowcast of the day.
    ``rest_years``: Of the clock, to the end of the session.
    ``horizon_years``: Of the clock; above 0.

    >>> now = nowcast(0.157, 0.00024, 0.45)
    >>> round(forecast_to_horizon(0.157, now, 0.55 / 252, 5 / 252), 4)
    0.2104
    """
    today = min(rest_years, horizon_years)
    multiple = (now.rest_vol / forecast_vol) ** 2
    later = forecast_vol**2 * (1.0 + _LATER_WEIGHT * (multiple - 1.0))
    return math.sqrt((now.rest_vol**2 * today + later * (horizon_years - today)) / horizon_years)


class RealisedSoFar:
    """Sums a day's squared log returns over five minutes, the gap from the last price before it among them.

    ``years`` gives the years of the variance clock between two instants, ``days_per_year`` the trading days
    of such a year: 365 where the market never closes.
    """

    def __init__(self, years: Callable[[int, int], float], days_per_year: float = SESSIONS_PER_YEAR) -> None:
        self._years = years
        self._days_per_year = days_per_year
        self._start_ns: int | None = None
        self._last_ns = 0
        self._last_price = math.nan
        self.variance = 0.0
        """Variance of the day so far."""

    @property
    def share(self) -> float:
        """Share of a day's variance, on the variance clock, that the sum covers; 1: close to close."""
        if self._start_ns is None:
            return 0.0
        return self._days_per_year * self._years(self._start_ns, self._last_ns)

    def open_session(self, last: tuple[int, float] | None) -> None:
        """Begin a day.

        ``last``: Instant (UTC nanoseconds) and price before it, as dividends and corporate actions overnight
        have left it; None without a price: then the day counts from its first price.
        """
        self.variance, self._start_ns = 0.0, None
        if last is not None and last[1] > 0.0:
            self._start_ns, self._last_price = last
            self._last_ns = last[0]

    def add(self, now_ns: int, price: float) -> None:
        """Take a price (currency per unit, above zero); what comes within five minutes is passed over."""
        if self._start_ns is None:
            self._start_ns = self._last_ns = now_ns
            self._last_price = price
        elif now_ns // _SAMPLE_NS != self._last_ns // _SAMPLE_NS:
            self.variance += math.log(price / self._last_price) ** 2
            self._last_ns, self._last_price = now_ns, price


_SAMPLE_NS = _SAMPLE_SECONDS * NANOS_PER_SECOND
