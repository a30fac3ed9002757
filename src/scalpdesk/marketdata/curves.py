"""Rates, dividends and forwards as values: each says as of when it is.

A curve or a schedule never changes; a new day is a new value. What a tape carries of them
(:class:`~scalpdesk.marketdata.tape.RateCurve`, :class:`~scalpdesk.marketdata.tape.CashDividend`) comes from
here. Put-call parity reads the forward off option prices, arrays in, arrays out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.marketdata.tape import CashDividend, RateCurve

DAYS_PER_YEAR = 365.0


class Quoting(StrEnum):
    """What the rates of a curve mean."""

    CONTINUOUS = "continuous"
    PAR = "par"
    """Bond-equivalent yield of a par bond with two coupons a year, as the US Treasury publishes."""


def interpolate_par_yields(yields: Mapping[float, float], days: float) -> float:
    """Return the par yield for ``days`` to maturity: linear between the points, flat outside, not rounded.

    Parameters
    ----------
    yields
        Days to maturity to yield, in any one unit (fractions or per cent).
    days
        Days to maturity.

    Returns
    -------
    float
        In the unit of ``yields``.

    Raises
    ------
    ArgumentError
        When there is no point, or one is not finite or not after day 0.

    Examples
    --------
    >>> round(interpolate_par_yields({30: 0.0530, 60: 0.0525, 90: 0.0520}, 45), 6)
    0.05275
    """
    points = _checked_points(yields, "yields")
    return float(np.interp(days, [day for day, _ in points], [rate for _, rate in points]))


def continuous_from_par(par_yield: float) -> float:
    """Continuously compounded rate of a bond-equivalent yield: ``2 ln(1 + y/2)``, both fractions a year.

    >>> round(continuous_from_par(0.05), 6)
    0.049385
    """
    return float(2.0 * np.log1p(0.5 * par_yield))


@dataclass(frozen=True, slots=True)
class YieldCurve:
    """Interest rates by days to maturity on one date: linear in days, flat outside, never rounded."""

    as_of: date
    days: tuple[float, ...]
    rates: tuple[float, ...]
    """Fractions a year, in the sense of ``quoting``."""
    quoting: Quoting = Quoting.CONTINUOUS

    @classmethod
    def flat(cls, rate: float, as_of: date) -> "YieldCurve":
        """Return the curve of one continuously compounded rate."""
        return cls.from_points({1.0: rate}, as_of)

    @classmethod
    def from_points(cls, rates: Mapping[float, float], as_of: date) -> "YieldCurve":
        """Return a curve through continuously compounded rates by days to maturity.

        Raises
        ------
        ArgumentError
            When there is no point, or one is not finite or not after day 0.
        """
        points = _checked_points(rates, "rates")
        return cls(as_of, tuple(day for day, _ in points), tuple(rate for _, rate in points))

    @classmethod
    def from_par_yields(cls, percent: Mapping[float, float], as_of: date) -> "YieldCurve":
        """Return a curve through US Treasury par yields, in per cent as published.

        The yields are interpolated, then turned into continuous rates.

        Raises
        ------
        ArgumentError
            When there is no point, or one is not finite or not after day 0.
        """
        points = _checked_points(percent, "percent")
        days, rates = zip(*points, strict=True)
        return cls(as_of, tuple(days), tuple(rate / 100.0 for rate in rates), Quoting.PAR)

    def rate_at(self, days: float) -> float:
        """Return the continuously compounded rate a year for ``days`` to maturity."""
        quoted = float(np.interp(days, self.days, self.rates))
        return continuous_from_par(quoted) if self.quoting is Quoting.PAR else quoted

    def discount_factor(self, days: float) -> float:
        """Return what one unit of currency in ``days`` is worth today (ACT/365)."""
        return float(np.exp(-self.rate_at(days) * days / DAYS_PER_YEAR))

    def age_days(self, today: date) -> int:
        """Return how many days old the curve is: rates are to be renewed every day."""
        return (today - self.as_of).days

    def as_rate_curve(self) -> RateCurve:
        """Return the curve in the form that a tape carries: continuous rates at its points."""
        return RateCurve(self.days, tuple(self.rate_at(day) for day in self.days))


def _checked_points(values: Mapping[float, float], where: str) -> list[tuple[float, float]]:
    points = sorted((float(day), float(rate)) for day, rate in values.items())
    if not points:
        raise ArgumentError("a curve needs at least one point", where=where, value=dict(values))
    for day, rate in points:
        if not (np.isfinite(day) and np.isfinite(rate) and day > 0.0):
            raise ArgumentError(
                "a point of a curve is a finite rate at a day above 0", where=f"{where}[{day:g}]", value=rate
            )
    return points


class DividendKind(StrEnum):
    """What a cash payment to shareholders is."""

    REGULAR = "regular"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class TypedDividend:
    """One cash dividend: ``amount`` in currency a share, ex at the open of ``ex_date``."""

    ex_date: date
    amount: Decimal
    kind: DividendKind = DividendKind.REGULAR


@dataclass(frozen=True, slots=True)
class DividendSchedule:
    """The cash dividends of one share known on a date, paid and announced."""

    symbol: str
    as_of: date
    dividends: tuple[TypedDividend, ...]

    @classmethod
    def of(cls, symbol: str, as_of: date, dividends: Iterable[TypedDividend]) -> "DividendSchedule":
        """Return the schedule in order of ex-dates.

        Raises
        ------
        ArgumentError
            When an amount is not above 0.
        """
        ordered = tuple(sorted(dividends, key=lambda one: (one.ex_date, one.kind)))
        for number, one in enumerate(ordered):
            if not one.amount > 0:
                raise ArgumentError(
                    "a dividend is an amount above 0", where=f"dividends[{number}]", value=one.amount
                )
        return cls(symbol.upper(), as_of, ordered)

    def ahead(self, until: date) -> tuple[CashDividend, ...]:
        """Return the dividends that leave the price after today and up to ``until``, specials included.

        An announced special lowers the forward as a regular one does; a dividend with its ex-date today is
        in the price already.
        """
        return tuple(
            CashDividend(self.symbol, one.ex_date, one.amount)
            for one in self.dividends
            if self.as_of < one.ex_date <= until
        )

    def trailing_yield(self, price: float) -> float:
        """Return the regular dividends of the last 365 days over the price; 0 where there were none.

        Specials are left out: what was paid once says nothing of the year to come.

        Raises
        ------
        ArgumentError
            When the price is not above 0.
        """
        if not price > 0.0:
            raise ArgumentError("the price must be above 0", where="price", value=price)
        since = self.as_of - timedelta(days=365)
        paid = sum(
            one.amount
            for one in self.dividends
            if one.kind is DividendKind.REGULAR and since < one.ex_date <= self.as_of
        )
        return float(paid) / price


def parity_implied_forward(
    strike: ArrayLike,
    call_bid: ArrayLike,
    call_ask: ArrayLike,
    put_bid: ArrayLike,
    put_ask: ArrayLike,
    discount_factor: ArrayLike = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the forward that a call and a put of one strike and expiry imply, and how exact it is.

    Parameters
    ----------
    strike, call_bid, call_ask, put_bid, put_ask
        Arrays of one shape (or broadcast to one), in currency per unit of the underlying. NaN where
        a side is missing: the result is NaN there.
    discount_factor
        Present value of one unit of currency at expiry; 1 (no discounting) is right within a tick
        for options that expire within days.

    Returns
    -------
    forward, uncertainty
        ``K + (mid(C) - mid(P)) / DF`` and the half-width of the band that the two spreads leave,
        ``(half-spread(C) + half-spread(P)) / DF``; both in currency per unit.

    Raises
    ------
    ArgumentError
        When a discount factor is not positive.

    Notes
    -----
    European put-call parity, Stoll (1969), "The relationship between put and call option prices",
    Journal of Finance 24. For American options early exercise widens it to an inequality.

    Examples
    --------
    >>> forward, uncertainty = parity_implied_forward(3700.0, 65.0, 67.0, 0.5, 0.5)
    >>> float(forward), float(uncertainty)
    (3765.5, 1.0)
    """
    discount = np.asarray(discount_factor, dtype=np.float64)
    if not bool(np.all(discount > 0.0)):
        raise ArgumentError("a discount factor must be above 0", where="discount_factor")
    strikes = np.asarray(strike, dtype=np.float64)
    sides = [np.asarray(side, dtype=np.float64) for side in (call_bid, call_ask, put_bid, put_ask)]
    c_bid, c_ask, p_bid, p_ask = sides
    forward = strikes + ((c_bid + c_ask) / 2.0 - (p_bid + p_ask) / 2.0) / discount
    uncertainty = ((c_ask - c_bid) / 2.0 + (p_ask - p_bid) / 2.0) / discount
    return forward, uncertainty


@dataclass(frozen=True, slots=True)
class ParityLevels:
    """A level derived from option pairs, one row an instant, sorted by ``ts_ns``."""

    ts_ns: NDArray[np.int64]
    """UTC nanoseconds."""
    strike: NDArray[np.float64]
    """The strike whose pair was tightest at that instant."""
    level: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    """Half-width that the pair's spreads leave around ``level``, in the same unit."""

    def __len__(self) -> int:
        return len(self.ts_ns)


def tightest_parity_levels(
    ts_ns: NDArray[np.int64],
    strike: NDArray[np.float64],
    forward: NDArray[np.float64],
    uncertainty: NDArray[np.float64],
) -> ParityLevels:
    """Keep, for every instant, the pair with the smallest combined half-spread.

    Rows whose forward is NaN are left out: an instant without one complete pair has no level. A tie
    goes to the lower strike.
    """
    whole = np.isfinite(forward) & np.isfinite(uncertainty)
    ts, strikes, levels, widths = ts_ns[whole], strike[whole], forward[whole], uncertainty[whole]
    order = np.lexsort((strikes, widths, ts))
    ts = ts[order]
    first = np.ones(len(ts), dtype=np.bool_)
    first[1:] = ts[1:] != ts[:-1]
    chosen = order[first]
    return ParityLevels(ts[first], strikes[chosen], levels[chosen], widths[chosen])
