"""Inverse options, as Deribit lists them: quoted, margined and settled in the coin.

The premium in coin is v = V/F, with V the undiscounted Black 1976 price in USD and F the forward of the
expiry. A holder who counts in coin is exposed to F by dv/d(ln F) = Δ - v, the premium-adjusted delta
(Reiswich and Wystup, "FX Volatility Smile Construction", 2010): hedging with the plain Δ trades v too much.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.base import Floats, Greeks, PricingInputs
from scalpdesk.pricing.european import EuropeanModel

_IN_USD = EuropeanModel(futures=True)


@dataclass(frozen=True, slots=True)
class InverseModel:
    """European option in coin on a forward in USD; the coin's rate is zero and there is no discounting."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Price and Greeks in coin, with the USD ones under ``usd``.

        In coin: ``price`` is V/F; ``delta`` is Δ - V/F in coins; ``gamma`` and ``vanna`` and ``charm`` are
        its derivatives by F (in USD), volatility and year; ``theta``, ``vega``, ``volga`` and ``rho`` are
        the USD ones over F.

        Raises
        ------
        ArgumentError
            When a forward is 0, or a rate, yield or dividend is given.
        """
        forward = self._forward(inputs)
        usd = _IN_USD.greeks(inputs)
        price = usd.price / forward
        delta = usd.delta - price
        return Greeks(
            price=price,
            delta=delta,
            gamma=usd.gamma - delta / forward,
            theta=usd.theta / forward,
            vega=usd.vega / forward,
            rho=usd.rho / forward,
            vanna=usd.vanna - usd.vega / forward,
            volga=usd.volga / forward,
            charm=usd.charm - usd.theta / forward,
            usd_greeks=usd,
        )

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Volatility of premiums in coin, and status code per element."""
        return _IN_USD.implied_vol(price * inputs.spot, replace(inputs))

    @staticmethod
    def _forward(inputs: PricingInputs) -> Floats:
        if (
            bool((inputs.rate != 0.0).any())
            or bool((inputs.dividend_yield != 0.0).any())
            or inputs.has_dividends
        ):
            raise ArgumentError(
                "the inverse model takes the forward and knows no rate, yield or dividends",
                where="rate, dividend_yield, dividends",
                fix="pass the forward of the expiry as spot and leave the three at their defaults",
            )
        if bool((inputs.spot <= 0.0).any()):
            raise ArgumentError("the forward of an inverse option must be above 0", where="spot", value=0.0)
        return inputs.spot.reshape(inputs.shape)
