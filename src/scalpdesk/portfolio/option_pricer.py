"""Pricer of contracts, each by its own exercise style and in its own currency; a cache for several runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.marketdata.chain_surface import ImpliedForward, implied_forward
from scalpdesk.pricing.base import Floats, OptionGreeks, Schedule
from scalpdesk.pricing.known_dividends import known_greeks, known_implied_vol, known_vols_and_greeks
from scalpdesk.pricing.scalar import coin_greeks, implied_vol_scalar, option_greeks, vols_and_greeks
from scalpdesk.pricing.svi import SmileFit, SviSmile

AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call


class ContractPricer:
    """Prices American and European contracts with a continuous yield, and inverse contracts in coin.

    The spot of an inverse contract is the forward in US dollars, without rate and yield; prices are premiums
    in coin, and the Greeks those of a holder who counts in coin: the delta is Δ − V/F, in coins.

    Parameters
    ----------
    style
        Style for every contract; None uses each contract's own.
    """

    def __init__(self, style: Style | None = None) -> None:
        self._style = style

    def greeks(
        self,
        contract: OptionContract,
        spot: float,
        years: float,
        vol: float,
        rate: float,
        dividend_yield: float,
        dividends: Schedule = (),
    ) -> OptionGreeks:
        """Return price and Greeks per unit of the underlying, with known dividends."""
        if dividends:
            is_american = (self._style or contract.style) is AMERICAN
            option = spot, float(contract.strike), years, vol, contract.is_call
            return known_greeks(*option, rate, dividend_yield, dividends, american=is_american)
        if contract.is_inverse:
            return coin_greeks(spot, float(contract.strike), years, vol, contract.is_call)
        return option_greeks(
            spot,
            float(contract.strike),
            years,
            vol,
            contract.is_call,
            rate,
            dividend_yield,
            american=(self._style or contract.style) is AMERICAN,
        )

    def implied_vol(
        self,
        contract: OptionContract,
        price: float,
        spot: float,
        years: float,
        rate: float,
        dividend_yield: float,
        dividends: Schedule = (),
    ) -> float | None:
        """Return the volatility (fraction a year) of ``price``, or None when no volatility gives it."""
        if dividends:
            is_american = (self._style or contract.style) is AMERICAN
            option = price, spot, float(contract.strike), years, contract.is_call
            vol, status = known_implied_vol(*option, rate, dividend_yield, dividends, american=is_american)
            return vol if status == "ok" else None
        if contract.is_inverse:
            price, rate, dividend_yield = price * spot, 0.0, 0.0
        vol, status = implied_vol_scalar(
            price,
            spot,
            float(contract.strike),
            years,
            contract.is_call,
            rate,
            dividend_yield,
            american=(self._style or contract.style) is AMERICAN,
        )
        return vol if status == "ok" else None

    def vols_and_greeks(
        self,
        contract: OptionContract,
        price: Floats,
        is_call: NDArray[np.bool_],
        spot: Floats,
        strike: Floats,
        years: Floats,
        rate: Floats,
        dividend_yield: Floats,
        dividends: Schedule = (),
    ) -> tuple[Floats, Floats]:
        """Return volatilities of prices, NaN without one, and the Greeks at them, a column for each price.

        For options of the contract's kind, whatever their strikes and sides.
        """
        is_inverse = contract.is_inverse
        american = not is_inverse and (self._style or contract.style) is AMERICAN
        if is_inverse:
            price, rate, dividend_yield = price * spot, np.zeros_like(rate), np.zeros_like(rate)
        terms = price, is_call, spot, strike, years, rate, dividend_yield
        if dividends:
            return known_vols_and_greeks(*terms, dividends, american=american)
        vol, greeks = vols_and_greeks(*terms, american=american)
        if is_inverse:
            for at in np.flatnonzero(~np.isnan(vol)).tolist():
                option = float(spot[at]), float(strike[at]), float(years[at]), float(vol[at])
                greeks[:, at] = coin_greeks(*option, bool(is_call[at]))
        return vol, greeks

    def forward(
        self,
        pairs: NDArray[np.float64],
        spot: float,
        years: float,
        rate: float,
        style: str,
        dividends: Schedule = (),
        borrow: float = 0.0,
    ) -> ImpliedForward:
        """Return the forward of an expiry from its pairs, as :func:`implied_forward` does.

        ``pairs`` has five rows: strike, bid and ask of the call, bid and ask of the put.
        """
        return implied_forward(
            *pairs,
            spot=spot,
            years=years,
            rate=rate,
            style=style,
            schedule=dividends,
            later_borrow=borrow if dividends else 0.0,
        )

    def smile(self, k: Floats, low: Floats, high: Floats, years: float) -> SviSmile:
        """Return the free fit of a smile, as :meth:`SmileFit.free` does."""
        return SmileFit(k, low, high, years).free()


MOST_CACHED = 200_000
"""Answers that a cache holds, about 0.5 KB each; then it begins afresh."""


class CachingPricer(ContractPricer):
    """A pricer that answers an equal question with the answer that it gave before.

    Runs of several configurations over one session ask for nearly the same prices: marks, smiles and forwards
    follow from the quotes, whatever is hedged. Answers are those of :class:`ContractPricer`, to the bit.
    """

    def __init__(self, style: Style | None = None) -> None:
        super().__init__(style)
        self._answers: dict[Any, Any] = {}

    def forget(self) -> None:
        """Drop all answers; called between sessions."""
        self._answers.clear()

    def _keep(self, key: Any, answer: Any) -> Any:
        if len(self._answers) >= MOST_CACHED:
            self._answers.clear()
        self._answers[key] = answer
        return answer

    def greeks(
        self,
        contract: OptionContract,
        spot: float,
        years: float,
        vol: float,
        rate: float,
        dividend_yield: float,
        dividends: Schedule = (),
    ) -> OptionGreeks:
        """Return price and Greeks per unit of the underlying, with known dividends."""
        key = contract.symbol, contract.strike, spot, years, vol, rate, dividend_yield, dividends
        found: OptionGreeks | None = self._answers.get(key)
        if found is None:
            found = self._keep(
                key, super().greeks(contract, spot, years, vol, rate, dividend_yield, dividends)
            )
        return found

    def implied_vol(
        self,
        contract: OptionContract,
        price: float,
        spot: float,
        years: float,
        rate: float,
        dividend_yield: float,
        dividends: Schedule = (),
    ) -> float | None:
        """Return the volatility (fraction a year) of ``price``, or None when no volatility gives it."""
        key = price, contract.symbol, contract.strike, spot, years, rate, dividend_yield, dividends
        if key not in self._answers:  # None is an answer
            answer = super().implied_vol(contract, price, spot, years, rate, dividend_yield, dividends)
            self._keep(key, answer)
        found: float | None = self._answers[key]
        return found

    def vols_and_greeks(
        self,
        contract: OptionContract,
        price: Floats,
        is_call: NDArray[np.bool_],
        spot: Floats,
        strike: Floats,
        years: Floats,
        rate: Floats,
        dividend_yield: Floats,
        dividends: Schedule = (),
    ) -> tuple[Floats, Floats]:
        """Return volatilities of prices and the Greeks at them; the arrays cannot be written."""
        terms = price, is_call, spot, strike, years, rate, dividend_yield
        key = dividends, contract.root, contract.currency, contract.style, *(each.tobytes() for each in terms)
        found: tuple[Floats, Floats] | None = self._answers.get(key)
        if found is None:
            # mypyc hands a starred tuple to super() as one argument
            answer = super().vols_and_greeks(
                contract, price, is_call, spot, strike, years, rate, dividend_yield, dividends
            )
            found = self._keep(key, answer)
            for column in found:
                column.flags.writeable = False
        return found

    def forward(
        self,
        pairs: NDArray[np.float64],
        spot: float,
        years: float,
        rate: float,
        style: str,
        dividends: Schedule = (),
        borrow: float = 0.0,
    ) -> ImpliedForward:
        """Return the forward of an expiry from its pairs."""
        key = pairs.tobytes(), spot, years, rate, style, dividends, borrow
        found: ImpliedForward | None = self._answers.get(key)
        if found is None:
            found = self._keep(key, super().forward(pairs, spot, years, rate, style, dividends, borrow))
        return found

    def smile(self, k: Floats, low: Floats, high: Floats, years: float) -> SviSmile:
        """Return the free fit of a smile."""
        key = k.tobytes(), low.tobytes(), high.tobytes(), years
        found: SviSmile | None = self._answers.get(key)
        if found is None:
            found = self._keep(key, super().smile(k, low, high, years))
        return found
