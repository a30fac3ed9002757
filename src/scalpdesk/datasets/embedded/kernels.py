"""Loops of the embedded market, compiled: trees, tables, and series that go on from the value before."""

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.compiling import kernel

Ints = NDArray[np.int64]


TREE_STEPS = 64


@kernel
def fill_tree_premiums(
    sign: float,
    start: float,
    powers: Floats,
    chance: Floats,
    keep: float,
    strike: Floats,
    escrow: Floats,
    out: Floats,
) -> None:
    """American less European value on binomial trees of TREE_STEPS steps, the share today worth 1.

    ``sign``: 1 for calls, -1 for puts.
    ``start``: The share less the value of its coming dividend.
    ``powers``: Rise of a step to the powers from -TREE_STEPS to TREE_STEPS, a row an option.
    ``chance``, ``keep``: Of a rise (risk neutral), and the discount factor of a step.
    ``strike``: Of each option.
    ``escrow``: Value of the coming dividend at each step.
    """
    even, odd = np.empty(TREE_STEPS + 1), np.empty(TREE_STEPS)
    european, american = np.empty(TREE_STEPS + 1), np.empty(TREE_STEPS + 1)
    for i in range(strike.size):
        rise, fall, k = chance[i], 1.0 - chance[i], strike[i]
        for n in range(TREE_STEPS):
            odd[n] = start * powers[i, 2 * n + 1]
        for n in range(TREE_STEPS + 1):
            even[n] = start * powers[i, 2 * n]
            european[n] = american[n] = max(sign * (even[n] - k), 0.0)
        for left in range(TREE_STEPS - 1, -1, -1):
            shares = even if (TREE_STEPS - left) % 2 == 0 else odd
            lowest = (TREE_STEPS - left) // 2
            for n in range(left + 1):
                european[n] = keep * (rise * european[n + 1] + fall * european[n])
                held = keep * (rise * american[n + 1] + fall * american[n])
                american[n] = max(held, sign * (shares[lowest + n] + escrow[left] - k))
        out[i] = american[0] - european[0]


@kernel
def between(table: Floats, at_row: Floats, at_column: Floats) -> Floats:
    """Bilinear interpolation of a table at places of its rows and columns, counted from 0."""
    rows, columns = table.shape
    found = np.empty(at_row.size)
    for n in range(at_row.size):
        i, j = min(int(at_row[n]), rows - 2), min(int(at_column[n]), columns - 2)
        u, v = at_row[n] - i, at_column[n] - j
        low = (1.0 - v) * table[i, j] + v * table[i, j + 1]
        high = (1.0 - v) * table[i + 1, j] + v * table[i + 1, j + 1]
        found[n] = (1.0 - u) * low + u * high
    return found


@kernel
def moves(mid: Floats, threshold: float) -> Ints:
    """Places at which ``mid`` is ``threshold`` or more away from its value at the last such place."""
    found = np.empty(mid.size, dtype=np.int64)
    count, last = 0, mid[0]
    for place in range(mid.size):
        if abs(mid[place] - last) >= threshold - 1e-9:
            found[count] = place
            count += 1
            last = mid[place]
    return found[:count]


@kernel
def persistent(shocks: Floats, memory: float) -> Floats:
    """Autoregressive levels: each shock adds to ``memory`` times the level before."""
    levels, level = np.empty(shocks.size), 0.0
    for place in range(shocks.size):
        level = memory * level + shocks[place]
        levels[place] = level
    return levels


@kernel
def sticky_bids(values: Floats, slack: float, lowest: int, highest: int) -> Ints:
    """Bids in whole cents that follow values once they have left the displayed cent by ``slack``."""
    bids = np.empty(values.size, dtype=np.int64)
    bid = min(max(int(values[0]), lowest), highest)
    for place in range(values.size):
        value = values[place]
        if value < bid - slack or value > bid + 1 + slack:
            bid = min(max(int(value), lowest), highest)
        bids[place] = bid
    return bids
