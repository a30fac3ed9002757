"""Compile what a trading day needs, so that no trading minute ever waits for a compiler."""

import numpy as np

from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks


def warm_up() -> int:
    """Run each quick path of pricing once; the machine code goes to the disk cache beside the kernels.

    Finite differences (cash dividends, yields below a negative rate) compile when they are first asked:
    nothing a trigger waits for uses them.

    Returns
    -------
    int
        How many paths were run.
    """
    strikes = np.array([95.0, 100.0])
    ran = 0
    for style in ("american", "european"):
        american = style == "american"
        g = greeks(100.0, strikes, 0.1, 0.2, False, rate=0.04, style=style)
        implied_vol(g.price, 100.0, strikes, 0.1, False, rate=0.04, style=style)
        one = option_greeks(100.0, 100.0, 0.1, 0.2, True, 0.04, 0.01, american=american)
        implied_vol_scalar(one.price, 100.0, 100.0, 0.1, True, 0.04, 0.01, american=american)
        ran += 4
    return ran
