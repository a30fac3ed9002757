"""Discrete cash dividends in two models.

``escrowed``
    The spot less the present value of its coming dividends is lognormal (Roll 1977, Geske 1979, Whaley
    1981). American exercise compares with the full spot. Closed form where an option is not exercised early:
    European options, puts without interest to gain, calls whose dividends are worth less than the interest
    on the strike.
``spot``
    The spot itself is lognormal between dividends and falls by each amount on its ex-date.

On the Roll–Geske–Whaley example (80/82, 4.00 paid in three of four months) they differ by 5 %. All that has
no closed form is priced by finite differences (``kernels/grid.py``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel
from scalpdesk.pricing.base import Floats, Greeks, OptionGreeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.black_iv import fill_european_iv
from scalpdesk.pricing.kernels.european import fill_european_dividend
from scalpdesk.pricing.kernels.grid import CashTerms, fill_dividend, fill_searched_iv

Flags = NDArray[np.bool_]


def _worth_ahead(inputs: PricingInputs, after: float = 0.0) -> Floats:
    """Value at ``after`` of each element's dividends from then to its expiry."""
    coming = inputs.dividend_years >= after
    when, cash = inputs.dividend_years[coming], inputs.dividend_cash[coming]
    due = (when[None, :] <= inputs.years[:, None]) * cash[None, :]
    worth: Floats = (due * np.exp(-inputs.rate[:, None] * (when - after)[None, :])).sum(axis=1)
    return worth


def _is_never_exercised(inputs: PricingInputs) -> Flags:
    """Return whether no early exercise gains anything in the escrowed model.

    A put gains the strike's interest, a call its dividends. Holding a call to its expiry earns the interest
    on the strike from each ex-date on; with a yield of 0 or less it costs the dividends alone.
    """
    strike, rate, dividend_yield = inputs.strike, inputs.rate, inputs.dividend_yield
    is_held = (dividend_yield <= 0.0) & (rate >= dividend_yield)
    for date in inputs.dividend_years.tolist():
        interest = -strike * np.expm1(-rate * (inputs.years - date))
        is_held &= (inputs.years < date) | (_worth_ahead(inputs, date) <= interest)
    held: Flags = np.where(inputs.phi > 0.0, is_held, (rate <= 0.0) & (dividend_yield >= rate))
    return held


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
        return greeks_from_columns(self._columns(inputs, 9), inputs.shape)

    def price(self, inputs: PricingInputs) -> Floats:
        """Return the prices alone, flat, in a fifth of the time of :meth:`greeks`."""
        price: Floats = self._columns(inputs, 1)[0]
        return price

    def _columns(self, inputs: PricingInputs, rows: int) -> Floats:
        """Return the first ``rows`` of price and Greeks, a column for each element."""
        require_spot_above_dividends(inputs)
        columns = np.empty((rows, inputs.spot.size))
        plain, closed, stepped = self._kinds(inputs)
        if plain.any():
            g = AmericanModel().greeks(inputs.at(plain))
            columns[:, plain] = [getattr(g, name) for name in OptionGreeks._fields[:rows]]
        if closed.any():
            out = np.empty((9, int(closed.sum())))
            schedule = inputs.dividend_years, inputs.dividend_cash
            fill_european_dividend(*inputs.at(closed).terms(), *schedule, out)
            columns[:, closed] = out[:rows]
        if stepped.any():
            out = np.empty((rows, int(stepped.sum())))
            fill_dividend(*inputs.at(stepped).terms(), self._cash(inputs), out)
            columns[:, stepped] = out
        return columns

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code per element."""
        vol, status = np.empty(inputs.spot.size), np.empty(inputs.spot.size, dtype=np.int64)
        plain, closed, stepped = self._kinds(inputs)
        if plain.any():
            vol[plain], status[plain] = AmericanModel().implied_vol(price[plain], inputs.at(plain))
        for chosen in (closed, stepped):
            due = inputs.at(chosen)
            found, verdict = np.empty(due.spot.size), np.empty(due.spot.size, dtype=np.int64)
            terms = due.quoted(np.ascontiguousarray(price[chosen]))
            if chosen is stepped:
                fill_searched_iv(*terms, self._cash(inputs), found, verdict)
            else:
                state = due.spot - _worth_ahead(due)
                fill_european_iv(*terms[:2], state, *terms[3:], found, verdict)
            vol[chosen], status[chosen] = found, verdict
        return vol, status

    def _cash(self, inputs: PricingInputs) -> CashTerms:
        return CashTerms(inputs.dividend_years, inputs.dividend_cash, self.spot_model, self.american)

    def _kinds(self, inputs: PricingInputs) -> tuple[Flags, Flags, Flags]:
        """American elements without a dividend by expiry, those with a closed form, and all others."""
        plain = _worth_ahead(inputs) == 0.0
        closed = plain.copy() if self.spot_model else np.ones(inputs.spot.size, dtype=np.bool_)
        if self.american:
            closed &= ~plain & _is_never_exercised(inputs)
        else:
            plain = np.zeros(inputs.spot.size, dtype=np.bool_)
        return plain, closed, ~plain & ~closed
