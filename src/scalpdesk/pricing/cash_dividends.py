"""Discrete cash dividends in two models.

``escrowed``
    The spot less the present value of its coming dividends is lognormal (Roll 1977, Geske 1979, Whaley
    1981). European options have a closed form. American exercise compares with the full spot.
``spot``
    The spot itself is lognormal between dividends and falls by each amount on its ex-date. Always solved by
    finite differences.

On the Roll–Geske–Whaley example (80/82, 4.00 paid in three of four months) they differ by 5 %.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel
from scalpdesk.pricing.base import Floats, Greeks, OptionGreeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.search import fill_dividend, fill_searched_iv


def require_spot_above_dividends(inputs: PricingInputs) -> None:
    """Refuse a dividend schedule whose present value reaches the spot.

    Raises
    ------
    ArgumentError
        Names the first element whose dividends up to its expiry are worth its spot or more.
    """
    due = (inputs.dividend_years[None, :] <= inputs.years[:, None]) * inputs.dividend_cash[None, :]
    worth = (due * np.exp(-inputs.rate[:, None] * inputs.dividend_years[None, :])).sum(axis=1)
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
    """European or American exercise with cash dividends.

    Parameters
    ----------
    american
        Exercise at any time, else at expiry only.
    spot_model
        The ``spot`` model, else the ``escrowed`` one.
    """

    american: bool
    spot_model: bool = False

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units.

        Raises
        ------
        ArgumentError
            When the dividends are worth as much as the spot.
        """
        require_spot_above_dividends(inputs)
        columns = np.empty((9, inputs.spot.size))
        paying = self._paying(inputs)
        due, clear = inputs.at(paying), inputs.at(~paying)
        if due.spot.size:
            found = np.empty((9, due.spot.size))
            schedule = due.dividend_years, due.dividend_cash
            fill_dividend(*due.terms(), *schedule, self.spot_model, self.american, found)
            columns[:, paying] = found
        if clear.spot.size:
            g = AmericanModel().greeks(clear)
            columns[:, ~paying] = [getattr(g, name) for name in OptionGreeks._fields]
        return greeks_from_columns(columns, inputs.shape)

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code per element."""
        vol = np.empty(inputs.spot.size)
        status = np.empty(inputs.spot.size, dtype=np.int64)
        paying = self._paying(inputs)
        due, clear = inputs.at(paying), inputs.at(~paying)
        if due.spot.size:
            found, verdict = np.empty(due.spot.size), np.empty(due.spot.size, dtype=np.int64)
            terms = due.quoted(np.ascontiguousarray(price[paying]))
            schedule = due.dividend_years, due.dividend_cash
            fill_searched_iv(*terms, *schedule, self.spot_model, self.american, found, verdict)
            vol[paying], status[paying] = found, verdict
        if clear.spot.size:
            vol[~paying], status[~paying] = AmericanModel().implied_vol(price[~paying], clear)
        return vol, status

    def _paying(self, inputs: PricingInputs) -> NDArray[np.bool_]:
        """Elements that this model prices: European ones, and American ones with a dividend by expiry."""
        if not self.american:
            return np.ones(inputs.spot.size, dtype=np.bool_)
        due: NDArray[np.bool_] = inputs.years >= inputs.dividend_years[0]
        return due
