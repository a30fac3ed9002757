"""Pricer of contracts, each by its own exercise style and in its own currency."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import SECONDS_PER_YEAR
from scalpdesk.instruments.contract import OptionContract, Settlement, Style
from scalpdesk.instruments.settlement import MEAN_MINUTES
from scalpdesk.pricing.base import Floats, OptionGreeks, Schedule
from scalpdesk.pricing.known_dividends import known_greeks, known_implied_vol, known_vols_and_greeks
from scalpdesk.pricing.scalar import coin_greeks, implied_vol_scalar, in_coin, option_greeks, vols_and_greeks

_MEAN_YEARS = MEAN_MINUTES * 60 / SECONDS_PER_YEAR
_MEAN_VARIANCE = 1.0 / 3.0
"""Variance of the logarithm of a mean over some time, as a part of that of its end."""
_PAYOFF_ERROR = 0.005
"""Half a tick: an option is worth its payoff to this."""
_VEGA = OptionGreeks._fields.index("vega")
AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call


class ContractPricer:
    """Prices American and European contracts with a continuous yield, and inverse contracts in coin.

    The spot of an inverse contract is the forward in US dollars, without rate and yield; prices are premiums
    in coin, and the Greeks those of a holder who counts in coin: the delta is Δ − V/F, in coins.

    What settles at a mean is worth that mean in its last half hour: the part that is fixed moves the strike,
    and the rest is an option on the mean of what is left, with a third of its variance. Its quotes tell no
    volatility then: a tick of the price, or of the fixed part, is many points of it.

    ``style``: Style for every contract; None uses each contract's own.
    """

    def __init__(self, style: Style | None = None) -> None:
        self._style = style
        self.mean_fixed: Callable[[OptionContract, float], float | None] = lambda _contract, _years: None
        """Returns the mean so far of what settles an option, so many years before its end; None unknown."""

    def _at_mean(self, contract: OptionContract, years: float) -> tuple[float, float] | None:
        """Return the part of a settling mean that is left, and the strike of an option on it.

        None outside of it. With a part f fixed at M a call pays max(f M + (1-f) A - K, 0), with A the mean of
        the rest: 1-f calls at (K - f M) / (1-f).
        """
        if contract.settlement is not Settlement.CASH_MEAN or not 0.0 < years < _MEAN_YEARS:
            return None
        mean = self.mean_fixed(contract, years)
        if mean is None:
            return None
        left = years / _MEAN_YEARS
        return left, (float(contract.strike) - (1.0 - left) * mean) / left

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
        at_mean = self._at_mean(contract, years) if years < _MEAN_YEARS else None
        if at_mean is not None:
            return _greeks_of_mean(contract, spot, years, vol, *at_mean)
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
        if self._at_mean(contract, years) is not None:
            return None
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

    def vols_and_vegas(
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
        """Return volatilities of prices, and the vegas there; NaN without one.

        For options of the contract's kind, whatever their strikes and sides.
        """
        is_inverse = contract.is_inverse
        american = not is_inverse and (self._style or contract.style) is AMERICAN
        if is_inverse:
            price, rate, dividend_yield = price * spot, np.zeros_like(rate), np.zeros_like(rate)
        if len(years) and self._at_mean(contract, float(years[0])) is not None:  # options of one expiry
            price = np.full_like(price, np.nan)
        terms = price, is_call, spot, strike, years, rate, dividend_yield
        if dividends:
            vol, greeks = known_vols_and_greeks(*terms, dividends, american=american)
        else:
            vol, greeks = vols_and_greeks(*terms, american=american)
        vega = np.where(np.isnan(vol), np.nan, greeks[_VEGA])
        return vol, vega / spot if is_inverse else vega


def _greeks_of_mean(
    contract: OptionContract, spot: float, years: float, vol: float, left: float, strike: float
) -> OptionGreeks:
    """Return the Greeks of so large a part of an option on the mean of what is left, at its strike."""
    if strike > 0.0:
        usd = option_greeks(spot, strike, years * _MEAN_VARIANCE, vol, contract.is_call, american=False)
    else:  # the part that is fixed has decided
        price, delta = (spot - strike, 1.0) if contract.is_call else (0.0, 0.0)
        usd = OptionGreeks(price, delta, *(0.0 for _ in OptionGreeks._fields[2:]))
    usd = OptionGreeks(*(left * figure for figure in usd))
    return in_coin(usd, spot, years) if contract.is_inverse else usd


def exercise_gain(
    contract: OptionContract,
    spot: float,
    opposite: float,
    *,
    years: float,
    rate: float,
    night_years: float,
    tonight: float,
    ahead: float,
    put_price: Callable[[], float | None],
) -> float:
    """Return what exercising an American option at the close gains its holder over keeping it, per unit.

    Below zero by what is missing, minus infinity where nothing that is missing would do, 0 where that is not
    known. A call is exercised on the evening before an ex-date alone, when the dividend is more than the put
    of its strike and the interest on the strike (Merton 1973). A put is exercised when the interest on the
    strike is more than the call and the dividends, and it is worth no more than its payoff: what it loses
    then is the night's interest.

    ``contract``, ``spot``, ``opposite``: The option, the price of its underlying and of the other option at
    its strike; currency per unit.
    ``years``, ``night_years``, ``rate``: Until the expiry and the next opening; continuously compounded rate
    a year.
    ``tonight``, ``ahead``: Dividends that go ex at the next opening, and until the expiry; currency a share.
    ``put_price``: Returns the put's price at the volatility of its strike's call; None where it is not known.
    """
    strike, payoff = float(contract.strike), contract.payoff(spot)
    if not payoff > 0.0 or (contract.is_call and not tonight):
        return -math.inf
    interest = strike * -math.expm1(-rate * years)
    less = (tonight if contract.is_call else interest - ahead) - opposite
    if contract.is_call:
        return less - interest
    if less <= 0.0:
        return less
    price = put_price()
    if price is None or price - payoff > _PAYOFF_ERROR:
        return 0.0
    return strike * -math.expm1(-rate * night_years) - tonight
