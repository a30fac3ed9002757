"""One option at a time, without the cost of arrays: what the engine asks on a trigger."""

from math import isfinite
from typing import NamedTuple

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import kernels


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

    Parameters and units are those of :func:`scalpdesk.pricing.greeks`.

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
    if american:
        return OptionGreeks._make(
            kernels.american_greeks(
                phi,
                float(spot),
                float(strike),
                float(years),
                float(vol),
                float(rate),
                float(dividend_yield),
                False,
            )
        )
    return OptionGreeks._make(
        kernels.european_greeks(
            phi, float(spot), float(strike), float(years), float(vol), float(rate), float(dividend_yield)
        )
    )
