"""Rules on one row of quotes: Python where Python calls them, machine code in the columns of a backtest."""

import math

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.compiling import kernel, rule


@rule
def is_tradable(bid: float, ask: float) -> bool:
    """Return whether a quote has two sides and is not crossed; NaN and infinite prices are no sides."""
    return 0.0 < bid <= ask < math.inf


@kernel
def are_tradable(bid: Floats, ask: Floats) -> NDArray[np.bool_]:
    """Return where quotes are tradable."""
    found = np.empty(len(bid), np.bool_)
    for row in range(len(bid)):
        found[row] = is_tradable(bid[row], ask[row])
    return found


@rule
def average_with(average: float, spread: float, learn_below: float, tick: float) -> float:
    """Return the average spread (currency) after one more spread; NaN before the first."""
    if not spread < learn_below:
        return average
    learnt = spread if average != average else 0.9 * average + 0.1 * spread  # noqa: PLR0124 - a call less
    return learnt if learnt > tick else tick  # noqa: FURB136 - a call less


@kernel
def average_after(
    bid: Floats, ask: Floats, first: int, last: int, average: float, learn_below: float, tick: float
) -> float:
    """Return the average spread after rows from ``first`` to before ``last``."""
    for row in range(first, last):
        average = average_with(average, ask[row] - bid[row], learn_below, tick)
    return average


@rule
def is_move(ts_ns: int, bid: float, ask: float, low: float, high: float, due_ns: int, average: float) -> bool:
    """Return whether a quote's mid has reached one of two prices, or the quote is due from an instant on.

    Its spread is at most 1.5 times the average: never before the first (NaN), always for an infinite average.
    """
    return ask - bid <= 1.5 * average + 1e-12 and (not low < 0.5 * (bid + ask) < high or ts_ns >= due_ns)


@kernel
def next_call(
    ts_ns: NDArray[np.int64],
    bid: Floats,
    ask: Floats,
    first: int,
    last: int,
    low: float,
    high: float,
    due_ns: int,
    average: float,
    learn_below: float,
    tick: float,
    price_change: float,
    heartbeat_ns: int,
    spared_low: float,
    spared_high: float,
    least_spread: float,
    until_ns: int,
    until_row: int,
) -> tuple[int, float, float, int, float]:
    """Return the first move that is not spared, and the references and the average spread before it.

    A move is spared strictly between two mids, at no narrower spread, before an instant and a row.
    """
    for row in range(first, last):
        spread = ask[row] - bid[row]
        if is_move(ts_ns[row], bid[row], ask[row], low, high, due_ns, average):
            mid = 0.5 * (bid[row] + ask[row])
            if (
                row >= until_row
                or ts_ns[row] >= until_ns
                or not spared_low < mid < spared_high
                or spread < least_spread
            ):
                return row, low, high, due_ns, average
            due_ns = ts_ns[row] + heartbeat_ns + 1
            if not low < mid < high:
                low, high = mid - price_change, mid + price_change
        average = average_with(average, spread, learn_below, tick)
    return last, low, high, due_ns, average
