"""American exercise with a continuous yield, from cached tables of exercise boundaries.

The exercise boundary solves the equations of Andersen, Lake and Offengenden, "High Performance American
Option Pricing" (Journal of Computational Finance, 2016), seeded by QD+ (Li, "Analytical Approximations for
the Critical Stock Prices of American Options", 2010). A boundary that does not converge, and the case of two
boundaries (yield below a negative rate), are priced by finite differences.

A boundary depends on the rates, the volatility and the time to expiry, not on spot or strike, so a table
serves every tick of the day. It covers two octaves of volatility and one of time, both on fixed powers of
two: the table of an option, and so every digit of its price, depends on the option alone, not on earlier or
neighbouring calls.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import NO_DIVIDENDS, Floats, Greeks, PricingInputs, Seven, greeks_from_columns
from scalpdesk.pricing.kernels.american import GRID, TABLE, fill_american, fill_boundless, sort_by_method
from scalpdesk.pricing.kernels.american_iv import (
    BY_GRID,
    FOUND,
    LEAST_SEARCHED,
    LOWER,
    SEARCH,
    fill_american_verdicts,
    fill_premiums,
    fill_table_iv,
)
from scalpdesk.pricing.kernels.black_iv import ABOVE, BELOW, OK, fill_european_iv
from scalpdesk.pricing.kernels.european import fill_european
from scalpdesk.pricing.kernels.grid import CashTerms, fill_by_grid, fill_grid_start
from scalpdesk.pricing.kernels.tables import TABLE_SHAPE, fill_table, sort_into_tables

_TABLES_KEPT = 1024  # of 2.3 kB each


_NO_TABLE = np.empty(TABLE_SHAPE)


@lru_cache(maxsize=_TABLES_KEPT)
def boundary_table(
    phi: float, rate: float, dividend_yield: float, power: int, band: int, futures: bool
) -> Floats | None:
    """Return the exercise boundaries up to 2**``power`` years, volatilities 4**``band`` to four times that.

    ``futures`` moves rate and yield together. None where a boundary did not converge.
    """
    table = np.empty(TABLE_SHAPE)
    has_converged = fill_table(phi, 2.0**power, 4.0**band, rate, dividend_yield, futures, table)
    return table if has_converged else None


def tables_for(terms: Seven, futures: bool, slots: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the tables of all elements whose slot is 0, with their horizons and lowest volatilities.

    The index of its table goes into each element's slot, the mark for the grid where the boundary did not
    converge.
    """
    keys = np.empty((slots.size, 5))
    count = sort_into_tables(terms, slots, keys)
    tables, bounds, missing = stacked_tables(keys[:count].tobytes(), futures)
    for index in missing:
        slots[slots == index] = GRID
    return tables, bounds


@lru_cache(maxsize=32)
def stacked_tables(keys: bytes, futures: bool) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Return tables by their keys' rows, their bounds, and the places of those that did not converge.

    The few strikes of a forward use the same boundaries over and over.
    """
    tables, bounds, missing = [], [], []
    for index, (phi, rate, dividend_yield, power, band) in enumerate(
        np.frombuffer(keys).reshape(-1, 5).tolist()
    ):
        table = boundary_table(phi, rate, dividend_yield, int(power), int(band), futures)
        if table is None:
            missing.append(index)
        tables.append(_NO_TABLE if table is None else table)
        bounds.append((2.0**power, 4.0**band))
    return np.array(tables or [_NO_TABLE]), np.array(bounds).reshape(-1, 2), tuple(missing)


_BANDS_SEARCHED = 4
_HIGHEST_START = 15.9  # upper end of the search where the European volatility is no bound


def _picked(terms: Seven, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Seven:
    a, b, c, d, e, f, g = terms
    return a[chosen], b[chosen], c[chosen], d[chosen], e[chosen], f[chosen], g[chosen]


WITHOUT = CashTerms(*NO_DIVIDENDS[:2], spot_model=False, american=True)
_BRACKETED, _ROUNDS = 40, 80
_UNREACHED = 1e-6  # of the spot: by how much the price at the volatility found may exceed the one asked for


def vols_by_grid(terms: Seven, cash: CashTerms) -> tuple[Floats, NDArray[np.int64]]:
    """Return volatilities and status codes by finite differences: secants within a bracket.

    All elements take each step of the search together.
    """
    (vol, vega), status = np.empty((2, terms[0].size)), np.empty(terms[0].size, dtype=np.int64)
    fill_grid_start(terms, cash, vol, vega, status)
    live = np.flatnonzero(status == OK)
    price, phi, spot, strike, years, rate, dividend_yield = _picked(terms, live)

    def off(at: NDArray[np.int64], tried: Floats) -> Floats:
        """Price at the volatilities tried less the one asked for."""
        out = np.empty((3, at.size))
        option = phi[at], spot[at], strike[at], years[at], tried, rate[at], dividend_yield[at]
        fill_by_grid(option, cash, False, out)
        return np.asarray(out[0] - price[at])

    every = np.arange(live.size)
    high, goal = vol[live], 1e-15 * spot
    f_high = off(every, high)
    for _ in range(_BRACKETED):
        if not (low := np.flatnonzero(f_high < 0.0)).size:
            break
        high[low] *= 1.6
        f_high[low] = off(low, high[low])
    least, last, f_last = np.zeros(live.size), high.copy(), f_high.copy()
    best, f_best = high.copy(), f_high.copy()
    following = high - np.divide(f_high, vega[live], out=0.5 * high, where=vega[live] > 0.0)
    searched = np.flatnonzero(f_high > goal)
    for _ in range(_ROUNDS):
        if not searched.size:
            break
        at, a, f_a = searched, last[searched], f_last[searched]
        b, middle = following[at], 0.5 * (least[at] + high[at])
        b = np.where((least[at] < b) & (b < high[at]), b, middle)
        f = off(at, b)
        nearer = np.abs(f) < np.abs(f_best[at])
        best[at], f_best[at] = np.where(nearer, b, best[at]), np.where(nearer, f, f_best[at])
        high[at], least[at] = np.where(f > 0.0, b, high[at]), np.where(f > 0.0, least[at], b)
        gap = f - f_a
        step = np.divide(f * (b - a), gap, out=np.full(at.size, np.inf), where=gap != 0.0)
        last[at], f_last[at], following[at] = b, f, b - step
        # a secant step this small leaves an error far smaller still
        is_found = (np.abs(f) <= goal[at]) | (np.abs(b - a) <= 1e-9 * b)
        searched = at[~is_found & (high[at] - least[at] > 1e-14 * high[at])]
    is_below = f_best > np.where(best <= 1e-6, goal, _UNREACHED * spot)
    status[live] = np.where(f_high < 0.0, ABOVE, np.where(is_below, BELOW, OK))
    vol[live] = np.where(status[live] == OK, best, np.nan)
    return vol, status


@dataclass(frozen=True, slots=True)
class AmericanModel:
    """Exercise at any time up to expiry."""

    futures: bool = False
    """The spot is a forward: the yield is the rate, and rho moves both."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units.

        Where immediate exercise is optimal the price is the intrinsic value, delta is 1 or -1 and every
        other Greek is 0; gamma jumps to 0 at the boundary.
        """
        terms = inputs.terms(futures=self.futures)
        phi, spot, strike, _, vol, rate, dividend_yield = terms
        columns = np.empty((9, phi.size))
        slots = np.empty(phi.size, dtype=np.int64)
        years = np.empty(phi.size)
        sort_by_method(terms, slots, years)
        terms = phi, spot, strike, years, vol, rate, dividend_yield
        fill_boundless(terms, self.futures, slots, columns)
        if slots.size and slots.max() >= TABLE:
            tables, bounds = tables_for(terms, self.futures, slots)
            fill_american(terms, self.futures, slots, tables, bounds, columns)
        if slots.size and slots.min() == GRID:  # the lowest mark
            rest = slots == GRID
            by_grid = np.empty((9, int(rest.sum())))
            fill_by_grid(_picked(terms, rest), WITHOUT, self.futures, by_grid)
            columns[:, rest] = by_grid
        return greeks_from_columns(columns, inputs.shape)

    def premium(self, inputs: PricingInputs) -> Floats:
        """Return American less European prices, flat, in less than half the time of the Greeks."""
        terms = inputs.terms(futures=self.futures)
        slots, premiums, years = np.empty(terms[0].size, dtype=np.int64), *np.empty((2, terms[0].size))
        sort_by_method(terms, slots, years)
        tables, bounds = tables_for((*terms[:3], years, *terms[4:]), self.futures, slots)
        fill_premiums(terms, years, slots, tables, bounds, premiums)
        if (rest := slots == GRID).any():
            by_grid, held = np.empty((2, 9, int(rest.sum())))
            fill_by_grid(_picked(terms, rest), WITHOUT, self.futures, by_grid)
            fill_european(_picked(terms, rest), self.futures, held)
            premiums[rest] = np.maximum(by_grid[0] - held[0], 0.0)
        return premiums

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code: Newton's method on the American price, residual 1e-11 S.

        The search starts at the European volatility, which bounds the American one from above.
        """
        terms = inputs.quoted(price, futures=self.futures)
        vol = np.empty(price.size)
        status = np.empty(price.size, dtype=np.int64)
        verdict = np.empty(price.size, dtype=np.int64)
        left = np.empty(price.size, dtype=np.int64)
        fill_european_iv(terms, vol, verdict)
        fill_american_verdicts(terms, status, left)
        searched = left == SEARCH
        settled = ~searched & (left != BY_GRID) & (status == OK)
        status[settled] = verdict[settled]
        vol[(status != OK) & ~searched] = np.nan
        rest = np.flatnonzero(left == BY_GRID)
        todo = np.flatnonzero(searched)
        if todo.size:
            first = np.where(verdict[todo] == OK, vol[todo], _HIGHEST_START)
            missing = self._search_tables(_picked(terms, todo), first)
            vol[todo] = first
            rest = np.concatenate((rest, todo[missing]))
        if rest.size:
            vol[rest], status[rest] = vols_by_grid(_picked(terms, rest), WITHOUT)
        return vol, status

    def _search_tables(self, terms: Seven, vol: Floats) -> NDArray[np.int64]:
        """Replace upper bounds in ``vol`` by volatilities; return the indices of those in no table."""
        _, phi, spot, strike, years, rate, dividend_yield = terms
        verdict = np.full(vol.size, LOWER, dtype=np.int64)
        inside = vol.copy()  # a volatility inside the band to search
        for _ in range(_BANDS_SEARCHED):
            slots = np.where((verdict == LOWER) & (inside * np.sqrt(years) >= LEAST_SEARCHED), 0, -1)
            if not (slots == 0).any():
                break
            option = phi, spot, strike, years, inside, rate, dividend_yield
            tables, bounds = tables_for(option, self.futures, slots)
            first = vol.copy()
            fill_table_iv(terms, first, slots, tables, bounds, vol, verdict)
            verdict[slots == GRID] = GRID
            lower = verdict == LOWER
            inside[lower] = 0.5 * vol[lower]
        return np.flatnonzero(verdict != FOUND)
