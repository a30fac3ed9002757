"""Discrete cash dividends in two models.

``escrowed``
    The spot less the present value of its coming dividends is lognormal (Roll 1977, Geske 1979, Whaley
    1981). European options have a closed form. American exercise compares with the full spot.
``spot``
    The spot itself is lognormal between dividends and falls by each amount on its ex-date.

On the Roll–Geske–Whaley example (80/82, 4.00 paid in three of four months) they differ by 5 %.

Prices go back from one ex-date to the one before by quadrature (``kernels/ex_dates.py``). A put may be worth
exercising well before a far ex-date: then it may be exercised on 4, 8 and 16 dates until then, and the three
prices are extrapolated to any time, within 3e-4 per 100 of spot. Finite differences remain beside the
boundary of that exercise, for early exercise under yields or negative rates, and for extreme volatilities.
"""

from dataclasses import dataclass
from math import expm1, frexp, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel, boundary_table
from scalpdesk.pricing.base import Floats, Greeks, OptionGreeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.american import LEAST_DEVIATION
from scalpdesk.pricing.kernels.black_iv import OK, fill_european_iv
from scalpdesk.pricing.kernels.boundary import remembered_years
from scalpdesk.pricing.kernels.european import fill_european_dividend
from scalpdesk.pricing.kernels.ex_dates import value_by_ex_dates
from scalpdesk.pricing.kernels.grid import CashTerms, fill_dividend, fill_searched_iv
from scalpdesk.pricing.kernels.tables import TABLE_SHAPE

LOWEST_DEVIATION, HIGHEST_DEVIATION = 1e-4, 3.0
"""v·sqrt(T) within which quadrature is used."""
_COUNTS = (4, 8, 16, 32)
_ORDERS = [[m**-order for m in _COUNTS[:3]] for order in (0.0, 1.0, 1.5)]
_SHARES = np.linalg.solve(_ORDERS, [1.0, 0.0, 0.0])
"""Of the prices with exercise on three such numbers of dates, whose error has the orders 1 and 3/2."""
_WORTHLESS, _VALUABLE = 1e-7, 5e-5
"""Of the strike: worth of exercise on the fewest dates below which no more are tried, above which most."""
_UNSETTLED = 5e-6
"""Of the strike: what the last doubling of the dates may change of the extrapolated price."""
_NO_TABLE = np.empty(TABLE_SHAPE)


def _extrapolated(values: list[Floats]) -> Floats:
    """Return price and Greeks with exercise at any time from those on three numbers of dates."""
    total = np.zeros(9)
    for value, share in zip(values, _SHARES, strict=True):
        total += share * value
    return total


def _worth_ahead(inputs: PricingInputs) -> Floats:
    """Present value of each element's dividends by its expiry."""
    due = (inputs.dividend_years[None, :] <= inputs.years[:, None]) * inputs.dividend_cash[None, :]
    worth: Floats = (due * np.exp(-inputs.rate[:, None] * inputs.dividend_years[None, :])).sum(axis=1)
    return worth


def require_spot_above_dividends(inputs: PricingInputs) -> None:
    """Refuse a dividend schedule whose present value reaches the spot.

    Raises
    ------
    ArgumentError
        Names the first element whose dividends up to its expiry are worth its spot or more.
    """
    worth = _worth_ahead(inputs)
    short = np.flatnonzero((worth >= inputs.spot) & (worth > 0.0))
    if short.size:
        index = int(short[0])
        raise ArgumentError(
            f"dividends worth {worth[index]:.6g} by expiry reach the spot",
            where=f"spot[{index}] (of the flattened arguments)",
            value=float(inputs.spot[index]),
        )


@dataclass(frozen=True, slots=True)
class _DividendOption:
    """One option with cash dividends by its expiry, in ascending order of time; ``phi`` +1 call, -1 put."""

    phi: float
    spot: float
    strike: float
    years: float
    rate: float
    dividend_yield: float
    dates: Floats
    cash: Floats
    spot_model: bool
    american: bool

    @property
    def fits(self) -> bool:
        """Whether quadrature covers the option at an ordinary volatility: see the module."""
        if not (self.spot > 0.0 and self.strike > 0.0 and self.dates.size):
            return False
        if not self.american:
            return True
        if self.phi > 0.0:  # worth exercising at ex-dates only
            return self.dividend_yield <= 0.0 <= self.rate
        return self.dividend_yield >= 0.0 and self.rate >= 0.0

    @property
    def has_long_gap(self) -> bool:
        """Whether a put may be worth exercising well before an ex-date."""
        return self.with_exercise_between(2)[0].size > self.dates.size

    def with_exercise_between(self, count: int) -> tuple[Floats, Floats]:
        """Return dates and dividends, with ``count`` - 1 dates of exercise (dividend 0) in every long gap.

        A put is not worth exercising within ln(1 + dividend/strike)/rate of an ex-date: waiting for the
        dividend earns more than the strike's interest.
        """
        dates: list[float] = []
        cash: list[float] = []
        before = 0.0
        for date, amount in zip(self.dates.tolist(), self.cash.tolist(), strict=True):
            until = date - log1p(amount / self.strike) / self.rate if self.rate > 0.0 else before
            if self.american and self.phi < 0.0 and until > before:
                dates += [before + (until - before) * i / count for i in range(1, count)]
                cash += [0.0] * (count - 1)
            dates.append(date)
            cash.append(amount)
            before = date
        return np.array(dates), np.array(cash)

    def greeks(self, vol: float) -> Floats | None:
        """Return price and eight Greeks by quadrature; None where it does not fit."""
        if not LOWEST_DEVIATION <= vol * sqrt(self.years) <= HIGHEST_DEVIATION:
            return None
        held = self._held(vol)
        if held is None:
            return None
        intrinsic = self.phi * (self.spot - self.strike)
        if self.american and held[0] <= intrinsic + 1e-12 * self.strike:
            return np.array([intrinsic, self.phi, *7 * (0.0,)])
        return held

    def _held(self, vol: float) -> Floats | None:
        """Price and Greeks of not exercising now; None where quadrature does not fit."""
        least = self._on_dates(vol, 1)
        if least is None or not self.has_long_gap:
            return least
        coarse = self._on_dates(vol, _COUNTS[0])
        if coarse is None or coarse[0] - least[0] <= _WORTHLESS * self.strike:
            return coarse
        # exercise put off to the next date costs at most the strike's interest
        longest = float(np.diff(self.with_exercise_between(_COUNTS[0])[0], prepend=0.0).max())
        delay = self.strike * -expm1(-self.rate * longest)
        if coarse[0] + delay <= self.strike - self.spot + _WORTHLESS * self.strike:
            return coarse
        values = [coarse]
        for count in _COUNTS[1:] if coarse[0] - least[0] > _VALUABLE * self.strike else _COUNTS[1:3]:
            found = self._on_dates(vol, count)
            if found is None:
                return None
            values.append(found)
        limit = _extrapolated(values[-3:])
        if abs(limit[0] - _extrapolated(values[:3])[0]) > _UNSETTLED * self.strike:
            return None  # beside the exercise boundary the price is not smooth in the number of dates
        return limit

    def _on_dates(self, vol: float, count: int) -> Floats | None:
        """As ``_held``, with exercise on ``count`` - 1 dates in long gaps."""
        after = self.years - float(self.dates[-1])
        table, horizon, band = _NO_TABLE, 0.0, 0
        if self.american and self.phi < 0.0 < self.rate:
            after = remembered_years(self.phi, after, vol, self.rate, self.dividend_yield)
            if vol * sqrt(after) >= LEAST_DEVIATION:
                power, band = frexp(after)[1], (frexp(vol)[1] - 1) // 2
                found = boundary_table(self.phi, self.rate, self.dividend_yield, power, band, False)
                if found is None:
                    return None
                table, horizon = found, 2.0**power
        has_room, nine = value_by_ex_dates(
            self.phi,
            self.spot,
            self.strike,
            self.years,
            vol,
            self.rate,
            self.dividend_yield,
            *self.with_exercise_between(count),
            self.spot_model,
            self.american,
            table,
            horizon,
            4.0**band,
            after,
        )
        return np.array(nine) if has_room else None

    def implied_vol(self, price: float, first: float) -> float | None:
        """Return the volatility of a price by Newton's method within a bracket; None where that fails."""
        low, high, vol = 0.0, np.inf, first
        for _ in range(40):
            found = self.greeks(vol)
            if found is None:
                return None
            excess, vega = float(found[0]) - price, float(found[4])
            if excess > 0.0:
                high = vol
            else:
                low = vol
            fresh = vol - excess / vega if vega > 0.0 else np.nan
            if vega > 0.0 and (abs(excess) <= 1e-14 * self.spot or abs(fresh - vol) <= 1e-12 * vol):
                return float(fresh)
            if not low < fresh < high:
                fresh = 0.5 * (low + high) if high < np.inf else 1.6 * vol
            vol = float(fresh)
        return None


@dataclass(frozen=True, slots=True)
class CashDividendModel:
    """European or American exercise with cash dividends."""

    american: bool
    """Exercise at any time, else at expiry only."""
    spot_model: bool = False
    """The ``spot`` model, else the ``escrowed`` one."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units.

        Raises
        ------
        ArgumentError
            When the dividends are worth as much as the spot.
        """
        require_spot_above_dividends(inputs)
        columns = np.empty((9, inputs.spot.size))
        plain, stepped = self._kinds(inputs)
        by_grid = np.zeros(inputs.spot.size, dtype=np.bool_)
        for i in np.flatnonzero(stepped).tolist():
            option = self._option(inputs, i)
            found = option.greeks(float(inputs.vol[i])) if option.fits else None
            if found is None:
                by_grid[i] = True
            else:
                columns[:, i] = found
        schedule = inputs.dividend_years, inputs.dividend_cash
        if by_grid.any():
            due = inputs.at(by_grid)
            out = np.empty((9, due.spot.size))
            fill_dividend(*due.terms(), CashTerms(*schedule, self.spot_model, self.american), out)
            columns[:, by_grid] = out
        if plain.any():
            clear = inputs.at(plain)
            if self.american:
                g = AmericanModel().greeks(clear)
                columns[:, plain] = [getattr(g, name) for name in OptionGreeks._fields]
            else:
                out = np.empty((9, clear.spot.size))
                fill_european_dividend(*clear.terms(), *schedule, out)
                columns[:, plain] = out
        return greeks_from_columns(columns, inputs.shape)

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code per element."""
        vol = np.empty(inputs.spot.size)
        status = np.empty(inputs.spot.size, dtype=np.int64)
        # on the escrowed spot; for American options an upper bound
        state = inputs.spot - _worth_ahead(inputs)
        fill_european_iv(price, inputs.phi, state, *inputs.quoted(price)[3:], vol, status)
        plain, stepped = self._kinds(inputs)
        by_grid = stepped & (status != OK)
        for i in np.flatnonzero(stepped & ~by_grid).tolist():
            option = self._option(inputs, i)
            found = option.implied_vol(float(price[i]), float(vol[i])) if option.fits else None
            if found is None:
                by_grid[i] = True
            else:
                vol[i] = found
        if by_grid.any():
            due = inputs.at(by_grid)
            found_vol, verdict = np.empty(due.spot.size), np.empty(due.spot.size, dtype=np.int64)
            terms = due.quoted(np.ascontiguousarray(price[by_grid]))
            cash = CashTerms(due.dividend_years, due.dividend_cash, self.spot_model, self.american)
            fill_searched_iv(*terms, cash, found_vol, verdict)
            vol[by_grid], status[by_grid] = found_vol, verdict
        if self.american and plain.any():
            vol[plain], status[plain] = AmericanModel().implied_vol(price[plain], inputs.at(plain))
        return vol, status

    def _kinds(self, inputs: PricingInputs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Elements with a closed form or without a dividend by expiry, and all others."""
        if not self.american and not self.spot_model:
            plain = np.ones(inputs.spot.size, dtype=np.bool_)
        else:
            plain = ~(inputs.years >= inputs.dividend_years[0])
        return plain, ~plain

    def _option(self, inputs: PricingInputs, i: int) -> _DividendOption:
        due = inputs.dividend_years <= inputs.years[i]
        dates, which = np.unique(inputs.dividend_years[due], return_inverse=True)
        return _DividendOption(
            float(inputs.phi[i]),
            float(inputs.spot[i]),
            float(inputs.strike[i]),
            float(inputs.years[i]),
            float(inputs.rate[i]),
            float(inputs.dividend_yield[i]),
            dates,
            np.bincount(which, weights=inputs.dividend_cash[due], minlength=dates.size).astype(np.float64),
            self.spot_model,
            self.american,
        )
