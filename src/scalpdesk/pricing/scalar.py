"""Greeks and implied volatility of a single option, without the overhead of arrays, for the trading engine.

American options use the same tables of exercise boundaries as arrays, and give the same digits.
"""

from collections.abc import Callable
from functools import partial
from math import frexp, isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.american import AmericanModel, boundary_table, tables_for
from scalpdesk.pricing.base import Floats, OptionGreeks, PricingInputs, Schedule
from scalpdesk.pricing.implied import STATUSES
from scalpdesk.pricing.kernels.american import (
    BOUNDLESS,
    GRID,
    LEAST_DEVIATION,
    TABLE,
    boundless_option,
    table_greeks,
)
from scalpdesk.pricing.kernels.american_iv import (
    FOUND,
    LEAST_SEARCHED,
    LOWER,
    NOT_FOUND,
    SEARCH,
    SETTLED,
    american_start,
    fill_american_verdicts,
    fill_boundless,
    fill_quoted,
    table_iv,
)
from scalpdesk.pricing.kernels.black_iv import OK, european_iv, fill_european_iv
from scalpdesk.pricing.kernels.boundary import MEMORY, NEVER, exercise_kind, remembered_years
from scalpdesk.pricing.kernels.european import european_corners, european_greeks, fill_european
from scalpdesk.pricing.kernels.normal import Nine

_AMERICAN = AmericanModel()
_greeks_of: Callable[[Nine], OptionGreeks] = partial(tuple.__new__, OptionGreeks)
"""As ``OptionGreeks._make``, without a call in Python: a held straddle asks four times at every look."""
NEAR_MEMORY = 0.999 * MEMORY
_kind_of_exercise: Callable[[float, float], int] = getattr(exercise_kind, "py_func", exercise_kind)
"""As Python: its machine code is not kept on disk, and compiling it took every process 50 ms."""


def _has_one_boundary(phi: float, rate: float, dividend_yield: float) -> bool:
    """Whether there is exactly one exercise boundary, the case that the tables cover."""
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
    """Return price and Greeks of one option with a continuous yield.

    Parameters, units and results, to the last digit, are those of :func:`scalpdesk.pricing.greeks`.

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
        return _greeks_of(european_greeks(*terms))
    drift = abs(terms[5] - terms[6]) + 0.5 * vol * vol  # at least: most options need no call
    if years > 0.0 and drift * drift * years >= NEAR_MEMORY * vol * vol:
        years = remembered_years(phi, *terms[3:])
        terms = (*terms[:3], years, *terms[4:])
    random = years > 0.0 and vol * sqrt(years) >= LEAST_DEVIATION and spot > 0.0 and strike > 0.0
    if random and _has_one_boundary(phi, rate, dividend_yield):
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

    Raises
    ------
    ArgumentError
        When the forward is not above 0, or another number is not finite or negative.

    Examples
    --------
    >>> round(coin_greeks(100_500.0, 100_000.0, 30 / 365, 0.55, True).delta, 6)
    0.478779
    """
    if not forward > 0.0:
        raise ArgumentError(
            "the forward of an inverse option must be above 0", where="forward", value=forward
        )
    usd = option_greeks(forward, strike, years, vol, is_call, american=False)
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


def _is_never_exercised(phi: float, rate: float, dividend_yield: float) -> bool:
    gain, cost = (rate, dividend_yield) if phi < 0.0 else (dividend_yield, rate)
    return _kind_of_exercise(gain, cost) == NEVER


Corners = tuple[float, float, float, float, float, float, float, float, float, float]


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

    Returns
    -------
    tuple
        Spot, volatility and time at start (0) or end (1): 000, 100, 010, 001, 110, 101, 011, 111; then the
        last with ``end_spot``; then that with the end's calendar time, rate and yield.
    """
    phi, years = 1.0 if is_call else -1.0, start.years
    if years > 0.0:
        before, after = sqrt(start.variance_years / years), sqrt(end.variance_years / years)
    else:
        before = after = 0.0
    vols = (start.vol * before, end.vol * before, start.vol * after, end.vol * after)
    last_vol = end.vol * sqrt(end.variance_years / end.years) if end.years > 0.0 else 0.0
    if not american or (
        _is_never_exercised(phi, start.rate, start.dividend_yield)
        and _is_never_exercised(phi, end.rate, end.dividend_yield)
    ):
        return european_corners(
            phi,
            strike,
            start.spot,
            stepped_spot,
            end_spot,
            *vols,
            years,
            start.rate,
            start.dividend_yield,
            end.years,
            last_vol,
            end.rate,
            end.dividend_yield,
        )
    v00, v10, v01, v11 = vols
    terms = (is_call, start.rate, start.dividend_yield)
    s0, s1 = start.spot, stepped_spot
    return (
        option_greeks(s0, strike, years, v00, *terms).price,
        option_greeks(s1, strike, years, v00, *terms).price,
        option_greeks(s0, strike, years, v10, *terms).price,
        option_greeks(s0, strike, years, v01, *terms).price,
        option_greeks(s1, strike, years, v10, *terms).price,
        option_greeks(s1, strike, years, v01, *terms).price,
        option_greeks(s0, strike, years, v11, *terms).price,
        option_greeks(s1, strike, years, v11, *terms).price,
        option_greeks(end_spot, strike, years, v11, *terms).price,
        option_greeks(end_spot, strike, end.years, last_vol, is_call, end.rate, end.dividend_yield).price,
    )


def _inputs(*terms: float) -> PricingInputs:
    phi, spot, strike, years, vol, rate, dividend_yield = (np.array([term]) for term in terms)
    none = np.empty(0)
    return PricingInputs((), spot, strike, years, vol, phi, rate, dividend_yield, none, none)


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

    Returns
    -------
    tuple
        The volatility (NaN where none exists) and its status, as in
        :class:`~scalpdesk.pricing.implied.ImpliedVol`.
    """
    phi = 1.0 if is_call else -1.0
    terms = (float(price), phi, float(spot), float(strike), float(years), float(rate), float(dividend_yield))
    if not american:
        vol, code = european_iv(*terms)
        return vol, STATUSES[code]
    vol, code, status, left = american_start(*terms)
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

    In half the time for the two dozen quotes of a smile, as each exercise boundary is sought once.

    Returns
    -------
    tuple
        The volatilities, NaN without a solution, and the Greeks as rows in the order of
        :class:`~scalpdesk.pricing.base.OptionGreeks`, a column for each price.
    """
    phi, count = np.where(is_call, 1.0, -1.0), price.size
    options = (phi, spot, strike, years)
    first, vol, columns = np.empty(count), np.empty(count), np.empty((9, count))
    code, status, left = np.empty((3, count), dtype=np.int64)
    fill_european_iv(price, *options, rate, dividend_yield, first, code)
    if not american:
        fill_european(*options, first, rate, dividend_yield, False, columns)
        return first, columns
    fill_american_verdicts(price, *options, rate, dividend_yield, status, left)
    is_settled = left == SETTLED
    first[is_settled & (status != OK)] = nan
    has_table = (left == SEARCH) & (code == OK) & (first * np.sqrt(years) >= LEAST_SEARCHED)
    slots = np.where(has_table, TABLE, np.where(is_settled, BOUNDLESS, GRID))
    terms = (price, *options, rate, dividend_yield)
    vol[:], code[:] = first, np.where(is_settled, FOUND, NOT_FOUND)
    fill_boundless(*options, first, rate, dividend_yield, slots, columns)
    if has_table.any():
        tables, bounds = tables_for(phi, years, first, rate, dividend_yield, False, slots)
        fill_quoted(*terms, first, slots, tables, bounds, vol, columns, code)
    for at in np.flatnonzero(code != FOUND).tolist():
        row = [float(column[at]) for column in terms]
        option = row[2], row[3], row[4]
        vol[at], verdict = implied_vol_scalar(row[0], *option, bool(is_call[at]), row[5], row[6])
        if verdict == STATUSES[OK]:
            columns[:, at] = option_greeks(*option, float(vol[at]), bool(is_call[at]), row[5], row[6])
    return vol, columns
