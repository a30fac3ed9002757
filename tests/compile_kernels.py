"""Compile the kernels that set-up leaves out, finite differences: once, not in each worker of the tests."""

import numpy as np

from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.kernels.grid import CashTerms, lattice_value

option = (100.0, 100.0, 0.1)
with_two_boundaries = greeks(*option, 0.2, False, rate=-0.02, dividend_yield=-0.05)
implied_vol(with_two_boundaries.price, *option, False, rate=-0.02, dividend_yield=-0.05)
greeks(*option, 1e-8, True, dividends=[(0.05, 1.0)], model="spot")
lattice_value(
    1.0, *option, 0.2, 0.0, 0.0, CashTerms(np.zeros(0), np.zeros(0), spot_model=False, american=True)
)
