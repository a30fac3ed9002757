"""Worked cases of dealer gamma: the names of the case file, and the desk's own functions behind them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalpdesk.marketdata.dealer_gamma import ExposureRows, gamma_exposure, gamma_flip

Answer = dict[str, Any]

CONTRACT = 100.0


def _gex(rows: Sequence[Sequence[Any]], S: float) -> Answer:
    strike, right, gamma, held = zip(*rows, strict=True)
    found = gamma_exposure(
        ExposureRows(
            strike=np.array(strike, dtype=np.float64),
            is_call=np.array([one == "C" for one in right]),
            gamma=np.array(gamma, dtype=np.float64),
            open_interest=np.array(held, dtype=np.float64),
            multiplier=np.full(len(strike), CONTRACT),
        ),
        S,
    )
    return {"net": found.net_usd, "call_wall": found.call_wall, "put_wall": found.put_wall}


def _flip(chain: Sequence[Sequence[Any]], T: float, lo: float, hi: float) -> Answer:
    strike, right, vol, held = zip(*chain, strict=True)
    rows = ExposureRows(
        strike=np.array(strike, dtype=np.float64),
        is_call=np.array([one == "C" for one in right]),
        gamma=np.full(len(strike), np.nan),  # a flip is found by repricing, whatever gamma is today
        open_interest=np.array(held, dtype=np.float64),
        multiplier=np.full(len(strike), CONTRACT),
        vol=np.array(vol, dtype=np.float64),
        years=np.full(len(strike), T),
    )
    middle = 0.5 * (lo + hi)
    return {"result": gamma_flip(rows, middle, span=0.5 * (hi - lo) / middle)}


BINDINGS: dict[str, Callable[..., Answer]] = {"gex": _gex, "flip": _flip}
"""Function of the case file to the adapter that answers it."""
