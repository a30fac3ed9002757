"""American options with cash dividends by a binomial tree: a second calculation beside the product's."""

import math
from collections.abc import Sequence

import numpy as np


def tree_price(
    spot: float,
    strike: float,
    years: float,
    vol: float,
    is_call: bool,
    rate: float,
    schedule: Sequence[tuple[float, float] | tuple[float, float, float]],
    steps: int = 700,
) -> float:
    """Return the value by a tree on the spot less its dividends.

    ``schedule`` has the years from each ex-date to the expiry and the amount a share, the next one first;
    and the years from the last notice of exercise to the expiry, the ex-date itself without them.
    """
    step, side = years / steps, 1.0 if is_call else -1.0
    dividends = [(years - each[0], each[1], years - each[-1 if len(each) > 2 else 0]) for each in schedule]
    up = math.exp(vol * math.sqrt(step))
    chance, keep = (math.exp(rate * step) - 1 / up) / (up - 1 / up), math.exp(-rate * step)

    def worth(now: float, *, notices: bool = True) -> float:
        due = (each for each in dividends if each[2 if notices else 0] > now)
        return sum(amount * math.exp(-rate * (when - now)) for when, amount, _ in due)

    state = (spot - worth(0.0, notices=False)) * up ** np.arange(-steps, steps + 1, 2.0)
    value = np.maximum(side * (state - strike), 0.0)
    for left in range(steps - 1, -1, -1):
        state = state[:-1] * up
        value = keep * (chance * value[1:] + (1.0 - chance) * value[:-1])
        value = np.maximum(value, side * (state + worth(left * step) - strike))
    return float(value[0])
