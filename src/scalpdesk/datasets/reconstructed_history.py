"""Daily bars of the index before a session of the embedded market: what a forecast may be fitted to."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets.reconstructed_days import index_rows, us_date


def daily_bars_before(session: date, count: int) -> dict[str, NDArray[np.float64]]:
    """Return up to ``count`` daily bars of the S&P 500 (index points) that end before ``session``.

    Columns ``open``, ``high``, ``low``, ``close``, oldest first; from 1999 on.
    """
    rows = [row for row in index_rows("sp500") if us_date(row[0]) < session][-count:]
    table = np.array([[float(text) for text in row[1:5]] for row in rows], dtype=np.float64).reshape(-1, 4)
    return {name: table[:, index].copy() for index, name in enumerate(("open", "high", "low", "close"))}
