"""Compile the kernels that set-up leaves out: once, not in each worker of the tests."""

from datetime import date

import numpy as np

from scalpdesk.datasets.embedded.market import reconstruct, reconstruct_span
from scalpdesk.marketdata.chain_surface import implied_forward
from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.research.band_lab import compare_simulated
from scalpdesk.research.session_model import SessionModel

DAY = date(2018, 2, 5)

# finite differences
option = (100.0, 100.0, 0.1)
with_two_boundaries = greeks(*option, 0.2, False, rate=-0.02, dividend_yield=-0.05)
implied_vol(with_two_boundaries.price, *option, False, rate=-0.02, dividend_yield=-0.05)

# cash dividends
for style in ("american", "european"):
    paid = greeks(*option, 0.2, False, rate=0.04, dividends=[(0.05, 1.0)], style=style)
    implied_vol(paid.price, *option, False, rate=0.04, dividends=[(0.05, 1.0)], style=style)

# forwards and smiles of a chain
strike = np.linspace(90.0, 110.0, 9)
call, put = (greeks(100.0, strike, 0.1, 0.2, is_call, rate=0.04).price for is_call in (True, False))
sides = (call - 0.05, call + 0.05, put - 0.05, put + 0.05)
implied_forward(strike, *sides, spot=100.0, years=0.1, rate=0.04)

# the embedded market
reconstruct(DAY)
reconstruct_span(DAY, DAY).quotes.whole()

# the band lab
compare_simulated(SessionModel(days=2, looks=4))
