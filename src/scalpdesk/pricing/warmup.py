"""Compiling the pricing kernels ahead of the trading day, so that no decision waits for a compiler."""

import numpy as np

from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks


def warm_up() -> int:
    """Run each fast path of pricing once and return their number; machine code is cached on disk.

    Finite differences (cash dividends, yields below a negative rate) compile on first use: no decision of
    the engine waits for them.
    """
    strikes = np.array([95.0, 100.0])
    for style in ("american", "european"):
        american = style == "american"
        g = greeks(100.0, strikes, 0.1, 0.2, False, rate=0.04, style=style)
        implied_vol(g.price, 100.0, strikes, 0.1, False, rate=0.04, style=style)
        option = option_greeks(100.0, 100.0, 0.1, 0.2, True, 0.04, 0.01, american=american)
        implied_vol_scalar(option.price, 100.0, 100.0, 0.1, True, 0.04, 0.01, american=american)
        option_greeks(100.0, 100.0, 0.1, 0.2, True, american=american)  # never exercised early
    return 10
