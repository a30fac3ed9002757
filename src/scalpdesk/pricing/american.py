"""American exercise with a continuous yield.

The exercise boundary is solved by the fixed-point system A of Andersen, Lake and Offengenden, "High
Performance American Option Pricing" (Journal of Computational Finance, 2016), seeded by QD+ (Li, "Analytical
Approximations for the Critical Stock Prices of American Options", 2010). A boundary that does not settle,
and the case of two boundaries (yield below a negative rate), go to finite differences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing import kernels
from scalpdesk.pricing.base import NO_DIVIDENDS, Floats, Greeks, PricingInputs, greeks_from_columns


@dataclass(frozen=True, slots=True)
class AmericanModel:
    """Exercise at any time up to expiry.

    Parameters
    ----------
    futures
        The spot is a forward: the yield is the rate, and rho moves both.
    """

    futures: bool = False

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Price and eight Greeks; see :class:`~scalpdesk.pricing.base.Greeks` for the units.

        Where immediate exercise is optimal the price is the intrinsic value, delta is 1 or -1 and every
        other Greek is 0; gamma jumps to 0 at the boundary.
        """
        columns = np.empty((9, inputs.spot.size))
        kernels.fill_american(
            inputs.phi,
            inputs.spot,
            inputs.strike,
            inputs.years,
            inputs.vol,
            inputs.rate,
            inputs.rate if self.futures else inputs.dividend_yield,
            self.futures,
            columns,
        )
        return greeks_from_columns(columns, inputs.shape)

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Volatility and status code per element: secant search on the American price, residual 1e-11 S."""
        vol = np.empty(inputs.spot.size)
        status = np.empty(inputs.spot.size, dtype=np.int64)
        kernels.fill_implied(
            price,
            inputs.phi,
            inputs.spot,
            inputs.strike,
            inputs.years,
            inputs.rate,
            inputs.rate if self.futures else inputs.dividend_yield,
            *NO_DIVIDENDS,
            False,
            True,
            vol,
            status,
        )
        return vol, status
