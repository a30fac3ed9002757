"""One option at a time, without the cost of arrays: what the engine asks on a trigger.

American options are read off tables of exercise boundaries. A boundary depends on the rates, the volatility
and the time to expiry, not on spot or strike, so a table made once serves every tick of the day. A table
covers an octave of volatility and an octave of time, both fixed on powers of two: which table answers, and so
every digit of the answer, depends on the option alone and never on what was asked before.
"""

from functools import lru_cache
from math import frexp, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import kernels
from scalpdesk.pricing.base import NO_DIVIDENDS, Floats
from scalpdesk.pricing.implied import STATUSES

TABLES_KEPT = 512  # of 2.3 kB each


class OptionGreeks(NamedTuple):
    """The nine numbers of one option, per one unit of the underlying; units as in ``Greeks``."""

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float
    vanna: float
    volga: float
    charm: float


@lru_cache(maxsize=TABLES_KEPT)
def boundary_table(
    phi: float, rate: float, dividend_yield: float, horizon: int, octave: int
) -> Floats | None:
    """Exercise boundaries up to 2**``horizon`` years, volatilities from 2**(``octave`` - 1) to 2**``octave``.

    None where a boundary did not settle; such options are priced without a table.
    """
    table = np.empty(kernels.TABLE_SHAPE)
    ok = kernels.fill_table(phi, 2.0**horizon, 2.0 ** (octave - 1), rate, dividend_yield, False, table)
    return table if ok else None


def has_one_boundary(phi: float, rate: float, dividend_yield: float) -> bool:
    """Whether early exercise happens beyond one boundary, the case the tables are for."""
    gain, cost = (rate, dividend_yield) if phi < 0.0 else (dividend_yield, rate)
    return gain > 0.0 or (gain == 0.0 and cost < 0.0)


def option_greeks(
    spot: float,
    strike: float,
    years: float,
    vol: float,
    is_call: bool,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
    *,
    american: bool = True,
) -> OptionGreeks:
    """Price and Greeks of one option with a continuous yield.

    Parameters and units are those of :func:`scalpdesk.pricing.greeks`. American prices agree with it within
    3e-7 of the strike.

    Raises
    ------
    ArgumentError
        When a number is not finite, or a price or the volatility is negative.
    """
    if not isfinite(spot + strike + years + vol + rate + dividend_yield) or min(spot, strike, vol) < 0.0:
        raise ArgumentError(
            "spot, strike and vol must be finite and at least 0; years, rate and yield finite",
            where="spot, strike, years, vol, rate, dividend_yield",
            value=(spot, strike, years, vol, rate, dividend_yield),
        )
    phi = 1.0 if is_call else -1.0
    terms = (phi, float(spot), float(strike), float(years), float(vol), float(rate), float(dividend_yield))
    if not american:
        return OptionGreeks._make(kernels.european_greeks(*terms))
    random = years > 0.0 and vol * sqrt(years) >= 1e-6 and spot > 0.0 and strike > 0.0
    if random and has_one_boundary(phi, rate, dividend_yield):
        horizon, octave = frexp(years)[1], frexp(vol)[1]
        table = boundary_table(phi, terms[5], terms[6], horizon, octave)
        if table is not None:
            found = kernels.table_greeks(*terms, False, table, 2.0**horizon, 2.0 ** (octave - 1))
            return OptionGreeks._make(found)
    return OptionGreeks._make(kernels.american_greeks(*terms, False))


def implied_vol_scalar(
    price: float,
    spot: float,
    strike: float,
    years: float,
    is_call: bool,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
    *,
    american: bool = True,
) -> tuple[float, str]:
    """One implied volatility; arguments as :func:`scalpdesk.pricing.implied_vol`.

    Returns
    -------
    tuple
        The volatility (NaN where none exists) and its status, as in
        :class:`~scalpdesk.pricing.implied.ImpliedVol`.
    """
    phi = 1.0 if is_call else -1.0
    terms = (float(price), phi, float(spot), float(strike), float(years), float(rate), float(dividend_yield))
    vol, code = kernels.european_iv(*terms)
    if not american:
        return vol, STATUSES[code]
    if STATUSES[code] == "ok" and has_one_boundary(phi, rate, dividend_yield) and vol * sqrt(years) >= 1e-4:
        # the European answer bounds the American one from above; two octaves down is as far as it gets
        horizon, top = frexp(years)[1], frexp(vol)[1]
        for octave in (top, top - 1, top - 2):
            table = boundary_table(phi, terms[5], terms[6], horizon, octave)
            if table is None:
                break
            first = min(vol, 2.0**octave)
            found, ok = kernels.table_iv(*terms, first, table, 2.0**horizon, 2.0 ** (octave - 1))
            if ok:
                return found, "ok"
    vol, code = kernels.searched_iv(*terms, *NO_DIVIDENDS, False, True)
    return vol, STATUSES[code]
