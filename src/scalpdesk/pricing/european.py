"""European exercise with a continuous yield: Black–Scholes–Merton and Black 1976.

Source: Merton, "Theory of Rational Option Pricing" (1973); Black, "The Pricing of Commodity Contracts"
(1976); the Greeks as in Haug, "The Complete Guide to Option Pricing Formulas" (2007), chapter 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, Greeks, PricingInputs, greeks_from_columns
from scalpdesk.pricing.kernels.black_iv import fill_european_iv
from scalpdesk.pricing.kernels.european import fill_european


@dataclass(frozen=True, slots=True)
class EuropeanModel:
    """Exercise at expiry only.

    Parameters
    ----------
    futures
        Black 1976: the spot is a forward, so the yield is the rate, and rho moves both.
    """

    futures: bool = False

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units."""
        columns = np.empty((9, inputs.spot.size))
        fill_european(*inputs.terms(futures=self.futures), self.futures, columns)
        return greeks_from_columns(columns, inputs.shape)

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility and status code, to machine precision (Jäckel 2015's normalised Black)."""
        vol = np.empty(inputs.spot.size)
        status = np.empty(inputs.spot.size, dtype=np.int64)
        fill_european_iv(*inputs.quoted(price, futures=self.futures), vol, status)
        return vol, status
