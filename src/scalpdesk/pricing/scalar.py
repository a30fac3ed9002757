"""Greeks and implied volatility of a single option, without the overhead of arrays, for the trading engine.

American options use the same tables of exercise boundaries as arrays, and give the same digits.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import frexp, isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel, boundary_table
from scalpdesk.pricing.base import Floats, OptionGreeks, PricingInputs, Schedule
from scalpdesk.pricing.european import EuropeanModel
from scalpdesk.pricing.implied import STATUSES
from scalpdesk.pricing.kernels.american import LEAST_DEVIATION, boundless_option, table_greeks
from scalpdesk.pricing.kernels.american_iv import (
    FOUND,
    LEAST_SEARCHED,
    LOWER,
    SEARCH,
    SETTLED,
    american_verdict,
    table_iv,
)
from scalpdesk.pricing.kernels.black_iv import OK, european_iv
from scalpdesk.pricing.kernels.boundary import MEMORY, NEVER, SINGLE, exercise_kind, remembered_years
from scalpdesk.pricing.kernels.european import Corners, european_corners, european_greeks
from scalpdesk.pricing.kernels.normal import Nine

_AMERICAN, _EUROPEAN = AmericanModel(), EuropeanModel()
_greeks_of: Callable[[Nine], OptionGreeks] = partial(tuple.__new__, OptionGreeks)
"""As ``OptionGreeks._make``, without a call in Python: a held straddle asks four times at every look."""
_NEAR_MEMORY = 0.999 * MEMORY
_kind_of_exercise: Callable[[float, float], int] = getattr(exercise_kind, "py_func", exercise_kind)
"""As Python: its machine code is not kept on disk, and compiling it took every process 50 ms."""


def _kind(phi: float, rate: float, dividend_yield: float) -> int:
    """Kind of early exercise: with one boundary, the case that the tables cover, with none or two."""
    return _kind_of_exercise(*(rate, dividend_yield) if phi < 0.0 else (dividend_yield, rate))


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
    """Return price and Greeks of one option with a continuous yield.

    Parameters, units and results, to the last digit, are those of :func:`scalpdesk.pricing.greeks`. Raises
    ArgumentError when a number is not finite, or a price or the volatility is negative.
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
        return _greeks_of(european_greeks(*terms))
    drift = abs(terms[5] - terms[6]) + 0.5 * vol * vol  # at least: most options need no call
    if years > 0.0 and drift * drift * years >= _NEAR_MEMORY * vol * vol:
        years = remembered_years(phi, *terms[3:])
        terms = (*terms[:3], years, *terms[4:])
    random = years > 0.0 and vol * sqrt(years) >= LEAST_DEVIATION and spot > 0.0 and strike > 0.0
    if random and _kind(phi, rate, dividend_yield) == SINGLE:
        power, band = frexp(years)[1], (frexp(vol)[1] - 1) // 2
        table = boundary_table(phi, terms[5], terms[6], power, band, False)
        if table is not None:
            return _greeks_of(table_greeks(*terms, table, 2.0**power, 4.0**band))
    is_boundless, nine = boundless_option(*terms)
    if is_boundless:  # for example without rate and yield: the European option
        return _greeks_of(nine)
    g = _AMERICAN.greeks(_inputs(*terms))
    return OptionGreeks._make(float(getattr(g, name)) for name in OptionGreeks._fields)


def coin_greeks(forward: float, strike: float, years: float, vol: float, is_call: bool) -> OptionGreeks:
    """Return premium and Greeks of one inverse option in coin, as :class:`.european.InverseModel` does.

    Raises ArgumentError when the forward is not above 0, or another number is not finite or negative.

    >>> round(coin_greeks(100_500.0, 100_000.0, 30 / 365, 0.55, True).delta, 6)
    0.478779
    """
    if not forward > 0.0:
        raise ArgumentError(
            "the forward of an inverse option must be above 0", where="forward", value=forward
        )
    return in_coin(option_greeks(forward, strike, years, vol, is_call, american=False), forward, years)


def in_coin(usd: OptionGreeks, forward: float, years: float) -> OptionGreeks:
    """Return a premium and Greeks in dollars as those of a holder who counts in coin."""
    price = usd.price / forward
    delta = usd.delta - price
    return OptionGreeks(
        price=price,
        delta=delta,
        gamma=usd.gamma - delta / forward,
        theta=usd.theta / forward,
        vega=usd.vega / forward,
        rho=-years * price,
        vanna=usd.vanna - usd.vega / forward,
        volga=usd.volga / forward,
        charm=usd.charm - usd.theta / forward,
    )


class PricedState(NamedTuple):
    """State that an option is valued in: prices in currency, times in years, fractions a year."""

    spot: float
    vol: float
    """Volatility per root year of the variance clock."""
    variance_years: float
    """Time to expiry by the variance clock: the total variance is ``vol`` squared times it."""
    years: float
    """Calendar time to expiry, for interest."""
    rate: float = 0.0
    dividend_yield: float = 0.0
    dividends: Schedule = ()
    """Known cash dividends before its expiry."""


def corner_vols(start: PricedState, end: PricedState) -> tuple[float, float, float, float, float]:
    """Return volatilities over the start's time, and the end's own over its time.

    In order: volatility and variance time of start (0) or end (1), 00, 10, 01, 11.
    """
    before = after = last = 0.0
    if start.years > 0.0:
        before, after = sqrt(start.variance_years / start.years), sqrt(end.variance_years / start.years)
    if end.years > 0.0:
        last = end.vol * sqrt(end.variance_years / end.years)
    return start.vol * before, end.vol * before, start.vol * after, end.vol * after, last


def corner_prices(
    strike: float,
    is_call: bool,
    start: PricedState,
    end: PricedState,
    stepped_spot: float,
    end_spot: float,
    *,
    american: bool = True,
) -> Corners:
    """Return an option's prices at all combinations of spot, volatility and variance time of two states.

    Interest accrues over the start's calendar time, but for the last price. A dividend takes the end's spot
    from ``stepped_spot`` down to ``end_spot``.

    Returns spot, volatility and time at start (0) or end (1): 000, 100, 010, 001, 110, 101, 011, 111; then
    the last with ``end_spot``; then that with the end's calendar time, rate and yield.
    """
    phi, years = 1.0 if is_call else -1.0, start.years
    vols, before = corner_vols(start, end), (years, start.rate, start.dividend_yield)
    after = end.years, end.rate, end.dividend_yield
    if not american or _kind(phi, *before[1:]) == NEVER == _kind(phi, *after[1:]):
        return european_corners(phi, strike, (start.spot, stepped_spot, end_spot), vols, before, after)
    carry = is_call, start.rate, start.dividend_yield

    def price(spot: float, vol: float) -> float:
        return option_greeks(spot, strike, years, vol, *carry).price

    later = strike, end.years, vols[4], is_call, end.rate, end.dividend_yield
    last = option_greeks(end_spot, *later).price
    return corners_by(price, start.spot, stepped_spot, vols, price(end_spot, vols[3]), last)


def corners_by(
    price: Callable[[float, float], float],
    spot: float,
    stepped: float,
    vols: Sequence[float],
    paid: float,
    last: float,
) -> Corners:
    """Return the corners of :func:`corner_prices` by prices at a spot and a volatility, and the last two."""
    v00, v10, v01, v11 = vols[:4]
    return (
        price(spot, v00),
        price(stepped, v00),
        price(spot, v10),
        price(spot, v01),
        price(stepped, v10),
        price(stepped, v01),
        price(spot, v11),
        price(stepped, v11),
        paid,
        last,
    )


def _inputs(*terms: float) -> PricingInputs:
    phi, spot, strike, years, vol, rate, dividend_yield = (np.array([term]) for term in terms)
    none = np.empty(0)
    return PricingInputs((), spot, strike, years, vol, phi, rate, dividend_yield, none, none, none)


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
    """Return one implied volatility; arguments as :func:`scalpdesk.pricing.implied_vol`.

    Returns the volatility (NaN where none exists) and its status, as in
    :class:`~scalpdesk.pricing.implied.ImpliedVol`.
    """
    phi = 1.0 if is_call else -1.0
    terms = (float(price), phi, float(spot), float(strike), float(years), float(rate), float(dividend_yield))
    if not american:
        vol, code = european_iv(*terms)
        return vol, STATUSES[code]
    vol, code = european_iv(*terms)
    status, left = american_verdict(*terms)
    if left == SETTLED:  # decided by bounds, or never exercised early
        return (vol, STATUSES[code]) if status == OK else (nan, STATUSES[status])
    if code == OK and left == SEARCH and vol * sqrt(years) >= LEAST_SEARCHED:
        # the European volatility bounds the American one from above: at most two bands to search
        power, band = frexp(years)[1], (frexp(vol)[1] - 1) // 2
        for lower in range(2):
            table = boundary_table(phi, terms[5], terms[6], power, band - lower, False)
            if table is None:
                break
            found, verdict = table_iv(*terms, vol, table, 2.0**power, 4.0 ** (band - lower))
            if verdict == FOUND:
                return found, STATUSES[OK]
            if verdict != LOWER:
                break
    vols, codes = _AMERICAN.implied_vol(np.array([terms[0]]), _inputs(*terms[1:5], 0.0, *terms[5:]))
    return float(vols[0]), STATUSES[int(codes[0])]


def vols_and_greeks(
    price: Floats,
    is_call: NDArray[np.bool_],
    spot: Floats,
    strike: Floats,
    years: Floats,
    rate: Floats,
    dividend_yield: Floats,
    *,
    american: bool = True,
) -> tuple[Floats, Floats]:
    """Return implied volatilities and the Greeks at them, to the last digit those of the scalar functions.

    Returns the volatilities, NaN without a solution, and the Greeks as rows in the order of
    :class:`~scalpdesk.pricing.base.OptionGreeks`, a column for each price.
    """
    phi, none = np.where(is_call, 1.0, -1.0), np.empty(0)
    inputs = PricingInputs(
        price.shape, spot, strike, years, np.zeros(price.size), phi, rate, dividend_yield, none, none, none
    )
    model = _AMERICAN if american else _EUROPEAN
    vol, _ = model.implied_vol(price, inputs)
    is_known, columns = ~np.isnan(vol), np.full((9, price.size), nan)
    known = replace(inputs, vol=vol).at(is_known)
    g = model.greeks(known)
    columns[:, is_known] = [getattr(g, name) for name in OptionGreeks._fields]
    return vol, columns
