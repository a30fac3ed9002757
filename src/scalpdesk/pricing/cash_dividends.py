"""Discrete cash dividends in two models.

``escrowed``
    The spot less the present value of its coming dividends is lognormal (Roll 1977, Geske 1979, Whaley
    1981). American exercise compares with the full spot, until the last notice before an ex-date. Closed
    form where an option is not exercised early: European options, puts without interest to gain, calls
    whose dividends are worth less than the interest on the strike.
``spot``
    The spot itself is lognormal between dividends and falls by each amount on its ex-date.

On the Roll–Geske–Whaley example (80/82, 4.00 paid in three of four months) they differ by 5 %. All that has
no closed form is priced by finite differences (``kernels/grid.py``).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel, vols_by_grid
from scalpdesk.pricing.base import Floats, Greeks, OptionGreeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.black_iv import fill_european_iv
from scalpdesk.pricing.kernels.cash_premium import CLOSED, PLAIN, sort_with_dividends
from scalpdesk.pricing.kernels.european import fill_european_dividend
from scalpdesk.pricing.kernels.grid import CashTerms, fill_by_grid


@dataclass(frozen=True, slots=True)
class CashDividendModel:
    """European or American exercise with cash dividends."""

    american: bool
    """Exercise at any time, else at expiry only."""
    spot_model: bool = False
    """The ``spot`` model, else the ``escrowed`` one."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units.

        Raises ArgumentError when the dividends are worth as much as the spot.
        """
        return greeks_from_columns(self._columns(inputs, 9), inputs.shape)

    def price(self, inputs: PricingInputs) -> Floats:
        """Return the prices alone, flat, in a third of the time of :meth:`greeks`."""
        price: Floats = self._columns(inputs, 3)[0]
        return price

    def _columns(self, inputs: PricingInputs, rows: int) -> Floats:
        """Return the first ``rows`` of price and Greeks, a column for each element."""
        inputs, cash, kinds, worth = self._sorted(inputs)
        if (short := np.flatnonzero((worth >= inputs.spot) & (worth > 0.0))).size:
            index = int(short[0])
            raise ArgumentError(
                f"dividends worth {worth[index]:.6g} by expiry reach the spot",
                where=f"spot[{index}] (of the flattened arguments)",
                value=float(inputs.spot[index]),
            )
        columns = np.empty((rows, inputs.spot.size))
        for kind in np.unique(kinds).tolist():
            chosen = kinds == kind
            due, out = inputs.at(chosen), np.empty((9, int(chosen.sum())))
            if kind == PLAIN:
                g = AmericanModel().greeks(due)
                out[:] = [getattr(g, name) for name in OptionGreeks._fields]
            elif kind == CLOSED:
                fill_european_dividend(due.terms(), cash.times, cash.amounts, out)
            else:
                out = out[:rows]
                fill_by_grid(due.terms(), cash, False, out)
            columns[:, chosen] = out[:rows]
        return columns

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code per element."""
        vol, status = np.empty(inputs.spot.size), np.empty(inputs.spot.size, dtype=np.int64)
        inputs, cash, kinds, worth = self._sorted(inputs)
        for kind in np.unique(kinds).tolist():
            chosen = kinds == kind
            due, paid = inputs.at(chosen), price[chosen]
            if kind == PLAIN:
                vol[chosen], status[chosen] = AmericanModel().implied_vol(paid, due)
            elif kind == CLOSED:
                found, verdict = np.empty(paid.size), np.empty(paid.size, dtype=np.int64)
                terms = replace(due, spot=due.spot - worth[chosen]).quoted(paid)
                fill_european_iv(terms, found, verdict)
                vol[chosen], status[chosen] = found, verdict
            else:
                vol[chosen], status[chosen] = vols_by_grid(due.quoted(paid), cash)
        return vol, status

    def _sorted(self, inputs: PricingInputs) -> tuple[PricingInputs, CashTerms, NDArray[np.int64], Floats]:
        """Return inputs and schedule as exercise sees them, each element's kind and its dividends' worth."""
        if self.american:
            inputs = _at_notices(inputs)
        cash = CashTerms(inputs.dividend_years, inputs.dividend_cash, self.spot_model, self.american)
        kinds, worth = np.empty(inputs.spot.size, dtype=np.int64), np.empty(inputs.spot.size)
        sort_with_dividends(inputs.terms(), cash, kinds, worth)
        return inputs, cash, kinds, worth


def _at_notices(inputs: PricingInputs) -> PricingInputs:
    """Return inputs whose dividends leave the spot at the last notice, with the same escrowed spot.

    Only exercise sees the difference: no holder gets a dividend once its last notice has passed. Raises
    ArgumentError for an option that expires between a last notice and its ex-date.
    """
    times, cash, notice = inputs.dividend_years, inputs.dividend_cash, inputs.dividend_notice
    if np.array_equal(times, notice):
        return inputs
    spot = inputs.spot.copy()
    for when, amount, last in zip(times, cash, notice, strict=True):
        if (between := np.flatnonzero((last <= inputs.years) & (inputs.years < when) & (last > 0.0))).size:
            index = int(between[0])
            raise ArgumentError(
                "an option expires between the last notice and the ex-date of a dividend",
                where=f"years[{index}] (of the flattened arguments)",
                value=float(inputs.years[index]),
                fix="give that dividend without a notice",
            )
        by_notice = np.exp(-inputs.rate * last) if last > 0.0 else 0.0
        spot += np.where(inputs.years >= when, amount * (by_notice - np.exp(-inputs.rate * when)), 0.0)
    ahead = notice > 0.0
    return replace(
        inputs,
        spot=spot,
        dividend_years=notice[ahead],
        dividend_cash=cash[ahead],
        dividend_notice=notice[ahead],
    )
