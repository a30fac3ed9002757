"""The first of an instrument's quotes that a strategy has to see."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.kernels.compiling import kernel
from scalpdesk.pricing.kernels.normal import Floats


@kernel
def first_to_see(
    ts_ns: NDArray[np.int64],
    bid: Floats,
    ask: Floats,
    first: int,
    last: int,
    until_ns: int,
    low: float,
    high: float,
    averages: Floats,
    loss_due_ns: int,
    loss_every_ns: int,
    safe_low: float,
    safe_high: float,
) -> tuple[int, int, float, float, int]:
    """Return the first quote that is not quiet and what the ones before it come to, the state after them.

    Arguments and results as of :meth:`scalpdesk.marketdata.latest_quotes.InstrumentRows.pass_over`;
    ``averages`` has a row for each spread filter: average (NaN before the first quote), bound of what is
    learnt, and tick.
    """
    # an index that begins at 0 is never negative: the compiler leaves out counting from the end
    ts_ns, bid, ask = ts_ns[first:last], bid[first:last], ask[first:last]
    lowest, highest, locked, upto = math.inf, -math.inf, 0, 0
    stop_ns, learns = min(until_ns, loss_due_ns), len(averages) > 0
    for at in range(len(ts_ns)):
        best_bid, best_ask = bid[at], ask[at]
        mid = 0.5 * (best_bid + best_ask)
        if not (0.0 < best_bid <= best_ask < 1e300 and low < mid < high):
            break
        if ts_ns[at] >= stop_ns:
            if ts_ns[at] >= until_ns or not safe_low < mid < safe_high:
                break
            loss_due_ns = ts_ns[at] + loss_every_ns
            stop_ns = min(until_ns, loss_due_ns)
        if learns:
            spread = best_ask - best_bid
            for place in range(len(averages)):  # as SpreadFilter.accepts
                if spread < averages[place, 1]:
                    average = averages[place, 0]
                    learnt = spread if math.isnan(average) else 0.9 * average + 0.1 * spread
                    averages[place, 0] = max(learnt, averages[place, 2])
        lowest, highest = min(lowest, mid), max(highest, mid)
        locked += best_bid == best_ask
        upto = at + 1
    return first + upto, loss_due_ns, lowest, highest, locked
