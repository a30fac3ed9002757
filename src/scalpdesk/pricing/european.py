"""European exercise: Black–Scholes–Merton, Black 1976, and inverse options settled in the coin.

Source: Merton, "Theory of Rational Option Pricing" (1973); Black, "The Pricing of Commodity Contracts"
(1976); the Greeks as in Haug, "The Complete Guide to Option Pricing Formulas" (2007), chapter 2.

Inverse options, as listed by Deribit, are quoted, margined and settled in the coin. The premium in coin is
v = V/F, with V the undiscounted Black 1976 price in USD and F the forward of the expiry. A holder who counts
in coin is exposed to F by dv/d(ln F) = Δ - v, the premium-adjusted delta (Reiswich and Wystup, "FX Volatility
Smile Construction", 2010): hedging with the plain Δ trades v too much.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.base import Floats, Greeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.black_iv import fill_european_iv
from scalpdesk.pricing.kernels.european import fill_european


@dataclass(frozen=True, slots=True)
class EuropeanModel:
    """Exercise at expiry only."""

    futures: bool = False
    """Black 1976: the spot is a forward, so the yield is the rate, and rho moves both."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units."""
        columns = np.empty((9, inputs.spot.size))
        fill_european(inputs.terms(futures=self.futures), self.futures, columns)
        return greeks_from_columns(columns, inputs.shape)

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code, to machine precision (Jäckel 2015's normalised Black)."""
        vol = np.empty(inputs.spot.size)
        status = np.empty(inputs.spot.size, dtype=np.int64)
        fill_european_iv(inputs.quoted(price, futures=self.futures), vol, status)
        return vol, status


_BLACK_76 = EuropeanModel(futures=True)


@dataclass(frozen=True, slots=True)
class InverseModel:
    """European option in coin on a forward in USD; the coin's rate is zero and there is no discounting."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and Greeks in coin, with those in USD under ``usd``.

        In coin: ``price`` is V/F; ``delta`` is Δ - V/F in coins; ``gamma`` and ``vanna`` and ``charm`` are
        its derivatives by F (in USD), volatility and year; ``theta``, ``vega``, ``volga`` and ``rho`` are
        the USD values over F.

        Raises ArgumentError when a forward is 0, or a rate, yield or dividend is given.
        """
        forward = self._forward(inputs)
        usd = _BLACK_76.greeks(inputs)
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
        """Return volatility of premiums in coin, and status code per element."""
        return _BLACK_76.implied_vol(price * inputs.spot, replace(inputs))

    @staticmethod
    def _forward(inputs: PricingInputs) -> Floats:
        if (
            bool((inputs.rate != 0.0).any())
            or bool((inputs.dividend_yield != 0.0).any())
            or inputs.has_dividends
        ):
            raise ArgumentError(
                "the inverse model takes the forward, without rate, yield and dividends",
                where="rate, dividend_yield, dividends",
                fix="pass the forward of the expiry as spot and leave the three at their defaults",
            )
        if bool((inputs.spot <= 0.0).any()):
            raise ArgumentError("the forward of an inverse option must be above 0", where="spot", value=0.0)
        return inputs.spot.reshape(inputs.shape)
