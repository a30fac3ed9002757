"""Exercise boundaries made once and kept: which table an American option reads its numbers from.

A boundary depends on the rates, the volatility and the time to expiry, not on spot or strike, so a table made
once serves every tick of the day. A table covers two octaves of volatility and an octave of time, all fixed
on powers of two: which table answers, and so every digit of the answer, depends on the option alone and never
on what was asked before or beside it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.kernels.american import GRID
from scalpdesk.pricing.kernels.tables import TABLE_SHAPE, fill_table, sort_into_tables

TABLES_KEPT = 1024  # of 2.3 kB each


@lru_cache(maxsize=TABLES_KEPT)
def boundary_table(
    phi: float, rate: float, dividend_yield: float, power: int, band: int, futures: bool
) -> Floats | None:
    """Exercise boundaries up to 2**``power`` years, volatilities from 4**``band`` to four times that.

    ``futures`` moves rate and yield together. None where a boundary did not settle.
    """
    table = np.empty(TABLE_SHAPE)
    settled = fill_table(phi, 2.0**power, 4.0**band, rate, dividend_yield, futures, table)
    return table if settled else None


def tables_for(
    phi: Floats,
    years: Floats,
    vol: Floats,
    rate: Floats,
    dividend_yield: Floats,
    futures: bool,
    slots: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Tables of all elements whose slot is 0, numbered into ``slots``, with their horizons and lowest vols.

    Elements whose boundary did not settle are marked for the grid.
    """
    keys = np.empty((phi.size, 5))
    count = sort_into_tables(phi, years, vol, rate, dividend_yield, slots, keys)
    tables = np.empty((count, *TABLE_SHAPE))
    bounds = np.empty((count, 2))
    for number, (side, r, q, power, band) in enumerate(keys[:count].tolist()):
        table = boundary_table(side, r, q, int(power), int(band), futures)
        bounds[number] = 2.0**power, 4.0**band
        if table is None:
            slots[slots == number] = GRID
        else:
            tables[number] = table
    return tables, bounds
