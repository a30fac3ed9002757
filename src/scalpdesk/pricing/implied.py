"""Implied volatility, with a status for prices that have no volatility.

European prices are inverted to machine precision on the normalised Black function (Jäckel, "Let's Be
Rational", Wilmott 2015); American prices by a bracketed secant search seeded with the European answer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalpdesk.pricing.base import (
    Dividends,
    Floats,
    PricingInputs,
    as_floats,
    as_phi,
    broadcast_flat,
    dividend_schedule,
)
from scalpdesk.pricing.models import chosen_model

STATUSES = ("ok", "below_intrinsic", "above_maximum", "expired", "bad_input")
"""Statuses, in the order of the kernels' codes."""


@dataclass(frozen=True, slots=True)
class ImpliedVol:
    """Implied volatilities with their statuses, two arrays of one shape."""

    vol: Floats
    """Annual volatility; NaN wherever ``status`` is not "ok"."""
    status: NDArray[np.str_]
    """"ok"; "below_intrinsic": the price has no time value, it does not exceed what the option is worth at
    zero volatility; "above_maximum": no volatility is enough; "expired"; "bad_input": NaN, infinite, negative
    or zero spot or strike.
    """


def implied_vol(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    is_call: ArrayLike,
    *,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    dividends: Dividends | None = None,
    style: str = "american",
    model: str = "bsm",
) -> ImpliedVol:
    """Return the volatility at which the model gives ``price``, element by element.

    Arguments are those of :func:`scalpdesk.pricing.greeks`, ``price`` in the quote currency per unit of the
    underlying (in coin for "inverse").

    Returns
    -------
    ImpliedVol
        ``vol`` (NaN where none exists) and ``status`` of the broadcast shape. A bad number gives a status for
        its element, not an exception: one bad quote does not stop a chain.

    Raises
    ------
    ArgumentError
        For arguments that are not numeric, shapes that do not fit, or an unknown style or model.

    Examples
    --------
    >>> iv = implied_vol(6.204595, 100.0, 100.0, 0.5, False, rate=0.04)
    >>> round(float(iv.vol), 4), str(iv.status)
    (0.25, 'ok')
    """
    shape, flat = broadcast_flat(
        price=as_floats("price", price),
        spot=as_floats("spot", spot),
        strike=as_floats("strike", strike),
        years=as_floats("years", years),
        phi=as_phi(is_call),
        rate=as_floats("rate", rate),
        dividend_yield=as_floats("dividend_yield", dividend_yield),
    )
    quoted = flat.pop("price")
    times, cash, notice = dividend_schedule(dividends)
    inputs = PricingInputs(
        shape=shape,
        **flat,
        vol=np.zeros(quoted.size),
        dividend_years=times,
        dividend_cash=cash,
        dividend_notice=notice,
    )
    vol, code = chosen_model(style, model, has_dividends=inputs.has_dividends).implied_vol(quoted, inputs)
    return ImpliedVol(vol=vol.reshape(shape), status=np.array(STATUSES)[code].reshape(shape))
