"""One option with known cash dividends, in the escrowed model, at the speed of a desk.

The spot less the value of its coming dividends is lognormal. So the forward is that of put-call parity, the
European price is closed, and spot and forward move together when the share goes ex: neither the volatility
nor the value jumps. What exercise adds is read from tables (``kernels/cash_premium.py``): within 1e-4 of a
dollar of the grid at a strike of 200, its delta within 1e-5, in 3 µs once the tables about an option are
made (some half a millisecond each; they serve all spots and an octave of time). A table follows from the
terms of the option alone, so no answer depends on what was asked before.

A holder gets a dividend by exercise until the last notice of the evening before the ex-date. To him it leaves
the spot at that instant, at what it is worth then: tables and grid know no other instant.
"""

from functools import lru_cache
from math import exp, floor, frexp, isnan, log2, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from scalpdesk.pricing.base import Floats, OptionGreeks, Payment, Schedule, checked_inputs
from scalpdesk.pricing.cash_dividends import CashDividendModel
from scalpdesk.pricing.implied import STATUSES
from scalpdesk.pricing.kernels.black_iv import ABOVE, BELOW, OK
from scalpdesk.pricing.kernels.cash_premium import (
    SLAB_SHAPE,
    VOLS,
    Slabs,
    fill_slabs,
    held_greeks,
    is_worth_exercising,
    quoted_start,
    tabled_greeks,
    worth_ahead,
)
from scalpdesk.pricing.kernels.european import Corners
from scalpdesk.pricing.scalar import (
    PricedState,
    corner_vols,
    corners_by,
    implied_vol_scalar,
    option_greeks,
)

_SLABS_KEPT = 2_048
"""Tables kept, of 35 kB each."""
_LEAST_VOL, _LARGEST_DEVIATION = 0.01, 2.0
"""Volatility from which, and deviation to the expiry up to which, tables serve; else the grid does."""
_LARGEST_DRIFT = 8.0
"""Drift over volatility, times the root of the years, up to which they do."""
_STRIKES = 12.0
"""Tabled strikes in an octave: the dividend as a part of the strike changes by 6 % from one to the next."""
BORROW_STEP = 0.0005
"""Step of the yields at which early exercise is valued: a desk measures the borrow all day, and these serve.
Between them the error is below 5e-6 of the spot."""
_RATE_DECIMALS = 5
"""Decimals of rate and borrow by which early exercise is valued: 1e-4 of a dollar at 200 in five weeks."""
_ROUNDS = 60


def due_by(schedule: Schedule, years: float) -> Schedule:
    """Return the dividends that are still ahead ``years`` before the expiry."""
    if not schedule or years > schedule[0][0]:
        return schedule
    return tuple(pair for pair in schedule if pair[0] < years)


def years_ahead(schedule: Schedule, years: float) -> list[Payment]:
    """Return the dividends still ahead in years to their instants, as pricing by arrays takes them."""
    ahead = due_by(schedule, years)
    return [
        (years - each[0], each[1]) if len(each) == 2 else (years - each[0], each[1], years - each[2])
        for each in ahead
    ]


def value_ahead(schedule: Schedule, years: float, rate: float) -> float:
    """Return what the dividends still ahead are worth now, currency a share."""
    ahead = due_by(schedule, years)
    return worth_ahead(years, rate, *_columns(ahead, 1.0)) if ahead else 0.0


@lru_cache(maxsize=4_096)
def _columns(ahead: Schedule, strike: float) -> tuple[Floats, Floats]:
    """Return years before the expiry and parts of the strike."""
    return np.array([each[0] for each in ahead]), np.array([each[1] / strike for each in ahead])


def _as_exercised(spot: float, years: float, rate: float, ahead: Schedule) -> tuple[float, Schedule]:
    """Return the spot and the dividends, each at its last notice, that a holder may exercise into.

    The spot less the dividends is the same. A dividend whose last notice has passed is out of both.
    """
    if all(len(each) == 2 for each in ahead):
        return spot, ahead
    # a curve's rate moves at every instant; the tables of a schedule serve while it stands to 1e-5
    noticed = _at_notices(ahead, round(rate, _RATE_DECIMALS))
    left = due_by(noticed, years)
    passed = ahead[: len(ahead) - len(left)]
    return (spot - value_ahead(passed, years, rate) if passed else spot), left


@lru_cache(maxsize=4_096)
def _at_notices(ahead: Schedule, rate: float) -> Schedule:
    """Return each dividend at its last notice, at what it is worth then."""
    return tuple(
        (notice[0], amount * exp(-rate * (notice[0] - before))) if notice else (before, amount)
        for before, amount, *notice in ahead
    )


@lru_cache(maxsize=_SLABS_KEPT)
def _slab(
    phi: float, strike: float, rate: float, borrow: float, ahead: Schedule, power: int, number: int
) -> Floats:
    """Return the table of one volatility, between those of the tabled strikes and borrows."""
    at = _STRIKES * log2(strike)
    nearest = floor(at)
    a, b, c, d = (at - nearest - step for step in (-1, 0, 1, 2))
    weights = -b * c * d / 6.0, a * c * d / 2.0, -a * b * d / 2.0, a * b * c / 6.0
    found = np.zeros(SLAB_SHAPE)
    for own_borrow, part in _tabled_borrows(borrow, rate):
        for place, weight in zip(range(nearest - 1, nearest + 3), weights, strict=True):
            tables = _marched(phi, place // 4, rate, own_borrow, ahead, power, number // 2)
            found += part * weight * tables[number % 2, place % 4]
    return found


def _tabled_borrows(borrow: float, rate: float) -> list[tuple[float, float]]:
    """Return the tabled borrows about one, and the part of each; at the rate the premium has a kink."""
    steps = floor(borrow / BORROW_STEP)
    low, high = steps * BORROW_STEP, (steps + 1) * BORROW_STEP
    if low < rate < high:
        low, high = (rate, high) if borrow >= rate else (low, rate)
    share = (borrow - low) / (high - low)
    return [(low, 1.0 - share), (high, share)] if share > 0.0 else [(low, 1.0)]


@lru_cache(maxsize=_SLABS_KEPT // 8)
def _marched(
    phi: float, places: int, rate: float, borrow: float, ahead: Schedule, power: int, numbers: int
) -> Floats:
    """Return the tables of two volatilities and four tabled strikes, which serve all strikes about them."""
    before, amounts = _columns(ahead, 1.0)
    strikes = np.tile(2.0 ** ((4 * places + np.arange(4)) / _STRIKES), 2)
    vols = np.repeat(2.0 ** ((2 * numbers + np.arange(2)) / VOLS), 4)
    tables = np.empty((8, *SLAB_SHAPE))
    fill_slabs(phi, strikes, vols, rate, borrow, before, amounts, power, tables)
    return tables.reshape(2, 4, *SLAB_SHAPE)


@lru_cache(maxsize=_SLABS_KEPT)
def _slabs(
    phi: float, strike: float, rate: float, borrow: float, ahead: Schedule, power: int, number: int
) -> Slabs:
    """Return the four tables about a volatility."""
    first, second, third, fourth = (
        _slab(phi, strike, rate, borrow, ahead, power, number + step) for step in (-1, 0, 1, 2)
    )
    return first, second, third, fourth


def known_greeks(
    spot: float,
    strike: float,
    years: float,
    vol: float,
    is_call: bool,
    rate: float,
    borrow: float,
    schedule: Schedule,
    *,
    american: bool,
) -> OptionGreeks:
    """Return price and Greeks of one option; without a dividend ahead those of :func:`.option_greeks`.

    ``borrow``: Continuous yield beyond the known dividends, a fraction a year.
    ``schedule``: Known dividends, the next one first: years from the ex-date to the expiry, currency a
    share, and years from the last notice to the expiry.

    Rho is that of the option held to its expiry.
    """
    ahead = due_by(schedule, years)
    if not ahead:
        return option_greeks(spot, strike, years, vol, is_call, rate, borrow, american=american)
    if american:
        spot, ahead = _as_exercised(spot, years, rate, ahead)
        if not ahead:
            return option_greeks(spot, strike, years, vol, is_call, rate, borrow, american=True)
    phi = 1.0 if is_call else -1.0
    terms = phi, spot, strike, years, vol, rate, borrow
    columns = _columns(ahead, strike)
    if not american or not is_worth_exercising(phi, rate, borrow, *columns):
        return OptionGreeks._make(held_greeks(*terms, *columns))
    if _is_tabled(years, vol, rate - borrow):
        # a curve's rate moves at every instant; a table serves while it stands to a thousandth of a percent
        rate, borrow = round(rate, _RATE_DECIMALS), round(borrow, _RATE_DECIMALS)
        terms = phi, spot, strike, years, vol, rate, borrow
        power, number = frexp(years - ahead[0][0])[1], floor(VOLS * log2(vol))
        slabs = _slabs(phi, strike, rate, borrow, ahead, power, number)
        is_inside, nine = tabled_greeks(*terms, *columns, power, number, slabs)
        if is_inside:
            return OptionGreeks._make(nine)
    coming = years_ahead(ahead, years)
    inputs = checked_inputs(
        spot, strike, years, vol, is_call, rate=rate, dividend_yield=borrow, dividends=coming
    )
    g = CashDividendModel(american=True).greeks(inputs)
    return OptionGreeks._make(float(getattr(g, name)) for name in OptionGreeks._fields)


def _is_tabled(years: float, vol: float, drift: float) -> bool:
    return (
        vol >= _LEAST_VOL
        and vol * sqrt(years) <= _LARGEST_DEVIATION
        and abs(drift) * sqrt(years) <= _LARGEST_DRIFT * vol
    )


def known_implied_vol(
    price: float,
    spot: float,
    strike: float,
    years: float,
    is_call: bool,
    rate: float,
    borrow: float,
    schedule: Schedule,
    *,
    american: bool,
) -> tuple[float, str]:
    """Return the volatility whose :func:`known_greeks` has this price (NaN without one), and its status."""
    ahead = due_by(schedule, years)
    if not ahead:
        return implied_vol_scalar(price, spot, strike, years, is_call, rate, borrow, american=american)
    if american:
        spot, ahead = _as_exercised(spot, years, rate, ahead)
        if not ahead:
            return implied_vol_scalar(price, spot, strike, years, is_call, rate, borrow, american=True)
        schedule = ahead
    phi, columns = 1.0 if is_call else -1.0, _columns(ahead, strike)
    worth = strike * worth_ahead(years, rate, *columns)
    early = american and is_worth_exercising(phi, rate, borrow, *columns)
    vol, code = quoted_start(price, phi, spot, strike, years, rate, borrow, worth, early)
    if code != OK or not early:
        return (vol, STATUSES[OK]) if code == OK else (nan, STATUSES[code])
    # an American option costs no less than a European one: its volatility is at most this
    low, high = 0.0, np.inf
    vol = 0.3 if isnan(vol) else max(vol, _LEAST_VOL)
    for _ in range(_ROUNDS):
        g = known_greeks(spot, strike, years, vol, is_call, rate, borrow, schedule, american=american)
        off = g.price - price
        if off > 0.0:
            high = vol
        else:
            low = vol
        if vol <= _LEAST_VOL and off > 0.0:
            return nan, STATUSES[BELOW]
        step = off / g.vega if g.vega > 0.0 else np.inf
        if abs(step) <= 1e-12 * vol:
            return vol, STATUSES[OK]
        tried = vol - step
        if not low < tried < high:
            tried = 0.5 * (low + high) if high < np.inf else 1.6 * vol
        tried = max(tried, _LEAST_VOL)
        if abs(tried - vol) <= 1e-12 * vol or high - low <= 1e-12 * vol:
            return (tried, STATUSES[OK]) if g.vega > 0.0 else (nan, STATUSES[BELOW])
        vol = tried
    return nan, STATUSES[ABOVE if high == np.inf else BELOW]


def known_premiums(
    spot: float, strike: Floats, years: float, vol: Floats, rate: float, borrow: float, schedule: Schedule
) -> Floats:
    """Return what early exercise adds to the calls and to the puts of an expiry, (2, strikes)."""
    found = np.empty((2, len(strike)))
    for side, is_call in enumerate((True, False)):
        for at, (own, own_vol) in enumerate(zip(strike.tolist(), vol.tolist(), strict=True)):
            terms = spot, own, years, own_vol, is_call, rate, borrow, schedule
            american, held = (known_greeks(*terms, american=early).price for early in (True, False))
            found[side, at] = max(american - held, 0.0)
    return found


def known_vols_and_greeks(
    price: Floats,
    is_call: NDArray[np.bool_],
    spot: Floats,
    strike: Floats,
    years: Floats,
    rate: Floats,
    borrow: Floats,
    schedule: Schedule,
    *,
    american: bool,
) -> tuple[Floats, Floats]:
    """Return volatilities and Greeks as :func:`.vols_and_greeks`; each is that of the functions for one."""
    vol, columns = np.full(price.size, nan), np.empty((9, price.size))
    rows = zip(price, spot, strike, years, is_call, rate, borrow, strict=True)
    for at, (paid, own_spot, own_strike, left, side, own_rate, own_borrow) in enumerate(rows):
        option, carry = (
            (float(own_spot), float(own_strike), float(left)),
            (float(own_rate), float(own_borrow)),
        )
        found, status = known_implied_vol(
            float(paid), *option, bool(side), *carry, schedule, american=american
        )
        vol[at] = found
        if status == STATUSES[OK]:
            columns[:, at] = known_greeks(*option, found, bool(side), *carry, schedule, american=american)
    return vol, columns


def known_corners(
    strike: float,
    is_call: bool,
    start: PricedState,
    end: PricedState,
    stepped_spot: float,
    end_spot: float,
    *,
    american: bool,
) -> Corners:
    """Return the corners of :func:`.corner_prices`, where a dividend lies ahead at the start or the end.

    The steps of spot, volatility and time have the dividends of the start ahead; the last two prices those
    of the end.
    """
    carry = start.rate, start.dividend_yield
    vols = corner_vols(start, end)
    ahead, left = due_by(start.dividends, start.years), due_by(end.dividends, end.years)

    def price(spot: float, vol: float, schedule: Schedule = ahead) -> float:
        return known_greeks(
            spot, strike, start.years, vol, is_call, *carry, schedule, american=american
        ).price

    later = strike, end.years, vols[4], is_call, end.rate, end.dividend_yield, left
    last = known_greeks(end_spot, *later, american=american).price
    return corners_by(price, start.spot, stepped_spot, vols, price(end_spot, vols[3], left), last)
