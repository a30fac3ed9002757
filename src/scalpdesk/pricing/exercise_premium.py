"""Early-exercise premium of a chain: priced at a few strikes, interpolated between them.

With cash dividends an American price takes a fifth of a millisecond. A chain needs only the premium, which is
smooth in the strike.
"""

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.american import AmericanModel
from scalpdesk.pricing.base import Dividends, Floats, checked_inputs
from scalpdesk.pricing.cash_dividends import CashDividendModel
from scalpdesk.pricing.implied import implied_vol

_NODES = 7
"""Strikes at which a side of a chain is priced; the interpolation error is less than a tick."""
_ROUNDS = 2


def exercise_premium(
    spot: float,
    strike: Floats,
    years: float,
    vol: Floats,
    is_call: bool | NDArray[np.bool_],
    *,
    rate: float,
    dividend_yield: float | Floats,
    dividends: Dividends | None = None,
) -> Floats:
    """Return American less European price at a volatility for each strike, in the escrowed model.

    ``spot``, ``years``: Scalars above 0.
    ``is_call``, ``dividend_yield``: Of all options, or arrays of that length.
    ``ndarray``: At least 0, currency per unit of the underlying.
    """
    inputs = checked_inputs(
        spot, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield, dividends=dividends
    )
    if not inputs.has_dividends:
        return AmericanModel().premium(inputs)
    american, european = (CashDividendModel(american=early).price(inputs) for early in (True, False))
    return np.asarray(np.maximum(american - european, 0.0))


def implied_vol_through_premium(
    sides: Floats,
    spot: float,
    strike: Floats,
    years: float,
    is_call: bool,
    *,
    rate: float,
    dividend_yield: float,
    dividends: Dividends,
) -> Floats:
    """Return implied volatilities of American calls or puts with cash dividends, by way of their premium.

    ``sides`` are bid and ask, shape (2, strikes), NaN where missing; the rest is as in
    :func:`exercise_premium`, with ascending strikes.

    The premium of the mid is subtracted from both sides, and the rest is inverted as a European price. That
    is exact at the mid and off by the change of the premium over half a spread at bid and ask: small for
    out-of-the-money options, for which it is meant.

    ``ndarray``: Shape (2, strikes); NaN where a quote has no volatility.
    """

    def inverted(prices: Floats) -> Floats:
        found = implied_vol(
            np.nan_to_num(prices, nan=-1.0),
            spot,
            strike,
            years,
            is_call,
            rate=rate,
            dividend_yield=dividend_yield,
            dividends=dividends,
            style="european",
        )
        return found.vol

    mid = np.mean(sides, axis=0)
    premium = np.zeros(len(strike))
    for _ in range(_ROUNDS):
        vol = inverted(mid - premium)
        known = np.flatnonzero(np.isfinite(vol))
        if not len(known):
            break
        nodes = known[np.unique(np.linspace(0, len(known) - 1, _NODES).round().astype(np.int64))]
        priced = exercise_premium(
            spot,
            strike[nodes],
            years,
            vol[nodes],
            is_call,
            rate=rate,
            dividend_yield=dividend_yield,
            dividends=dividends,
        )
        premium = _between(strike[nodes], priced, strike)
    return inverted(sides - premium)


def _between(nodes: Floats, values: Floats, strike: Floats) -> Floats:
    """Interpolate between nodes without overshooting (Fritsch and Carlson 1980); flat beyond the ends."""
    if len(nodes) == 1:
        return np.full(len(strike), values[0])
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 - a third of a second, at every start

    return np.asarray(PchipInterpolator(nodes, values)(np.clip(strike, nodes[0], nodes[-1])))
