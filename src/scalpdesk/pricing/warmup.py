"""Compile what a trading day needs, so that no trading minute ever waits for a compiler."""

from collections.abc import Callable, Iterable

import numpy as np

from scalpdesk.pricing.american import boundary_table
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks

LONGEST_POWER = -2  # tables up to a quarter of a year
SHORTEST_POWER = -24  # and down to two seconds
BANDS = (-2, -1, 0)  # volatilities from 6 to 400 %


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
        option_greeks(100.0, 100.0, 0.1, 0.2, True, american=american)  # never exercised early
        ran += 5
    return ran


def build_tables(rates: Iterable[float], dividend_yield: float = 0.0) -> int:
    """Make the boundary tables that options up to a quarter of a year will read at these rates.

    Parameters
    ----------
    rates
        Continuously compounded, per year, exactly as the pricer will be asked with them.
    dividend_yield
        Continuously compounded, per year.

    Returns
    -------
    int
        How many tables stand ready; each takes about a tenth of a millisecond the first time.
    """
    ready = 0
    for rate in rates:
        for phi in (1.0, -1.0):
            gain, cost = (dividend_yield, rate) if phi > 0.0 else (rate, dividend_yield)
            if not (gain > 0.0 or (gain == 0.0 and cost < 0.0)):
                continue
            for power in range(SHORTEST_POWER, LONGEST_POWER + 1):
                for band in BANDS:
                    boundary_table(phi, float(rate), float(dividend_yield), power, band, False)
                    ready += 1
    return ready


def warm_up_in_background(
    start: Callable[[Callable[[], None]], None], *, rates: Iterable[float] = (), dividend_yield: float = 0.0
) -> None:
    """Hand the warming-up of kernels and tables to the caller's own way of running things aside.

    Pricing itself starts no thread: the decision path has none. An edge that may, passes for example
    ``lambda job: threading.Thread(target=job, daemon=True, name="pricing").start()``. An option priced
    meanwhile is right, and waits for what is not compiled yet.

    Parameters
    ----------
    start
        Takes a function without arguments and has it run soon, at once or elsewhere.
    rates, dividend_yield
        As in :func:`build_tables`; without rates the kernels alone are warmed.
    """
    wanted = tuple(rates)

    def job() -> None:
        warm_up()
        build_tables(wanted, dividend_yield)

    start(job)
