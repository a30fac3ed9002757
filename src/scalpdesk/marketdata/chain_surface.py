"""From a tape's quotes at one instant to forwards, implied volatilities and the fitted surface.

The forward and the cost of borrowing that one expiry's calls and puts imply, robust to bad quotes.

European put-call parity reads the forward off every strike that has both; American options obey it only
after their early-exercise premium is taken off, which needs a volatility, which needs the forward: the two
are iterated. One stale quote among the strikes must not move the answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.sessions import NEW_YORK, expiry_instant_ns, to_new_york, to_ns
from scalpdesk.marketdata.curves import parity_implied_forward
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing import implied_vol
from scalpdesk.pricing.base import Dividends, dividend_schedule
from scalpdesk.pricing.exercise_premium import exercise_premium, implied_vol_through_premium
from scalpdesk.pricing.surface import Clock, SmileQuotes, VolSurface, calendar_clock, fit_surface

Floats = NDArray[np.float64]

PAIRS_NEAR_MONEY = 9
"""Strikes used on and around the money: further out one leg is all intrinsic value and wide."""
MAX_ROUNDS = 12
CONVERGED = 1e-6
"""Relative change of the forward at which the iteration ends."""
BELIEVABLE_BORROW = (-0.05, 1.0)
"""Shares that are hard to borrow cost up to about their own price a year; nobody is paid much to borrow."""
SIGNIFICANT_ERRORS = 2.0
"""A borrow that moves the forward by less than this many of its standard errors is taken for none."""
_NORMAL_MAD = 1.4826
"""Standard deviation of a normal over its median absolute deviation."""
_HUBER = 1.345
"""Huber's constant: 95 % efficiency where the errors are normal after all."""


class ForwardStatus(StrEnum):
    """How the forward was come by."""

    OK = "ok"
    ASSUMED = "assumed"
    """No strike has a usable call and put: the spot carried at the rate, the dividends and another
    expiry's borrow."""
    NO_PAIRS = "no_pairs"
    """No strike has a usable call and put: there is no forward."""
    NOT_SETTLED = "not_settled"
    """Taking off the early-exercise premium did not settle; the last value is given."""


@dataclass(frozen=True, slots=True)
class ImpliedForward:
    """A forward with what it rests on; currency per unit of the underlying."""

    forward: float
    uncertainty: float
    """One standard error of the forward, from the scatter of the pairs and their spreads."""
    borrow: float
    """Continuous yield a year that the forward shows beyond the rate and the dividends given: the cost of
    borrowing the share, and any dividends not given."""
    pricing_spot: float
    """With ``pricing_borrow`` the spot to price options with, so that they see this forward. It is the spot
    itself unless the borrow is not to be believed."""
    pricing_borrow: float
    """The borrow within what shares can cost, and 0 where it is less than the forward's own error: near
    expiry a cent between spot and forward is no borrow, but a spot of another moment."""
    pairs_used: int
    """Pairs that count in full; those beyond Huber's bound are weighted down and not counted."""
    pairs_offered: int
    status: ForwardStatus


def implied_forward(
    strike: ArrayLike,
    call_bid: ArrayLike,
    call_ask: ArrayLike,
    put_bid: ArrayLike,
    put_ask: ArrayLike,
    *,
    spot: float,
    years: float,
    rate: float = 0.0,
    dividends: Dividends | None = None,
    style: str = "american",
    pairs_near_money: int = PAIRS_NEAR_MONEY,
) -> ImpliedForward:
    """Return the forward that the pairs near the money agree on.

    Parameters
    ----------
    strike, call_bid, call_ask, put_bid, put_ask
        Arrays of one length, one expiry; NaN where a side is missing. Pairs with a missing, zero or
        crossed side are passed over.
    spot
        Price of the underlying.
    years
        Time to expiry, above 0.
    rate
        Continuously compounded, a year.
    dividends
        Known cash dividends as (years_to_ex_date, amount).
    style
        "american" or "european".
    pairs_near_money
        How many strikes nearest the money are used.

    Returns
    -------
    ImpliedForward
        NaN with ``no_pairs`` when nothing can be read.

    Raises
    ------
    ArgumentError
        When the spot or the time is not above 0, the rate is not finite, or the lists differ in length.

    Notes
    -----
    Each pair gives ``K + (C − P)/DF`` from mids, with half the two spreads as its uncertainty. The start is
    the median weighted by one over that; Huber's M-estimate (Huber 1964) with the same weights follows. For
    American options the early-exercise premiums of C and P are taken off first, both at the volatility of the
    one out of the money; forward, volatility and premium settle together.
    """
    if not (np.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the spot must be above 0", where="spot", value=spot)
    if not (np.isfinite(years) and years > 0.0):
        raise ArgumentError("the time to expiry must be above 0", where="years", value=years)
    if not np.isfinite(rate):
        raise ArgumentError("the rate must be finite", where="rate", value=rate)
    quoted = (call_bid, call_ask, put_bid, put_ask)
    k, sides = np.asarray(strike, dtype=np.float64), [np.asarray(side, dtype=np.float64) for side in quoted]
    for name, side in zip(("call_bid", "call_ask", "put_bid", "put_ask"), sides, strict=True):
        if k.ndim != 1 or side.shape != k.shape:
            raise ArgumentError(
                "strike and the four sides are lists of one length",
                where=name,
                value=f"{side.shape} beside {k.shape} strikes",
            )
    whole = np.isfinite(k) & (k > 0.0)
    for bid, ask in (sides[:2], sides[2:]):
        whole &= np.isfinite(bid) & np.isfinite(ask) & (bid > 0.0) & (ask >= bid)
    offered = int(np.count_nonzero(whole))
    if offered == 0:
        nan = float("nan")
        return ImpliedForward(nan, nan, nan, nan, nan, 0, 0, ForwardStatus.NO_PAIRS)
    k, sides = k[whole], [side[whole] for side in sides]
    discount = float(np.exp(-rate * years))
    level, width = parity_implied_forward(k, sides[0], sides[1], sides[2], sides[3], discount)
    # where call and put cost the same the forward is: robust even when the spot is old
    middle = k[np.argmin(np.abs(0.5 * (sides[0] + sides[1] - sides[2] - sides[3])))]
    near = np.argsort(np.abs(k - 0.5 * (middle + spot)), kind="stable")[:pairs_near_money]
    k, level, width = k[near], level[near], np.maximum(width[near], 1e-6 * spot)
    forward, error, used = _robust_level(level, width)
    if style == "european":
        terms = _pricing_terms(forward, error, spot, years, rate, dividends)
        return ImpliedForward(forward, error, *terms, used, offered, ForwardStatus.OK)
    call = 0.5 * (sides[0] + sides[1])[near]
    put = 0.5 * (sides[2] + sides[3])[near]
    status = ForwardStatus.NOT_SETTLED
    premiums = np.zeros((2, len(k)))
    for _ in range(MAX_ROUNDS):
        _, at, borrow = _pricing_terms(forward, error, spot, years, rate, dividends)
        premiums = _premiums(call, put, k, at, years, forward, premiums, rate, borrow, dividends)
        excess = premiums[0] - premiums[1]
        known = np.isfinite(excess)
        if not bool(known.any()):
            break
        moved, error, used = _robust_level((level - excess / discount)[known], width[known])
        change, forward = abs(moved / forward - 1.0), moved
        if change < CONVERGED:
            status = ForwardStatus.OK
            break
    terms = _pricing_terms(forward, error, spot, years, rate, dividends)
    return ImpliedForward(forward, error, *terms, used, offered, status)


def carried_forward(
    spot: float, years: float, rate: float, dividends: Dividends | None, borrow: float
) -> ImpliedForward:
    """Return the forward that the spot, the rate, the dividends and an assumed borrow give."""
    held = spot - _present_value(dividends, years, rate)
    forward, nan = held * float(np.exp((rate - borrow) * years)), float("nan")
    return ImpliedForward(forward, nan, borrow, spot, borrow, 0, 0, ForwardStatus.ASSUMED)


def weighted_median(values: Floats, weights: Floats) -> float:
    """Return the value at which half the weight is reached (the mean of two where it is reached between).

    >>> weighted_median(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 1.0]))
    2.0
    """
    order = np.argsort(values)
    ranked, total = values[order], np.cumsum(weights[order])
    half = 0.5 * total[-1]
    low, high = (int(np.searchsorted(total, half, side=side)) for side in ("left", "right"))
    return float(0.5 * (ranked[low] + ranked[min(high, len(ranked) - 1)]))


def _robust_level(level: Floats, width: Floats) -> tuple[float, float, int]:
    """Return Huber's estimate of a level, its standard error, and how many values count in full."""
    weight = 1.0 / width
    centre = weighted_median(level, weight)
    if len(level) == 1:
        return centre, float(width[0]), 1
    scatter = _NORMAL_MAD * weighted_median(np.abs(level - centre) / width, weight)
    # half-spreads are bounds, not standard deviations: a third of one is what mids are usually off by
    scale = max(scatter, 1.0 / 3.0) * width
    for _ in range(20):
        pull = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(level - centre), 1e-300))
        shares = pull / scale**2
        moved = float(np.sum(shares * level) / np.sum(shares))
        if abs(moved - centre) <= 1e-12 * abs(centre):
            break
        centre = moved
    # a value beyond three times the bound is no measurement of this forward at all
    sound = np.abs(level - centre) <= 3.0 * _HUBER * scale
    if bool(sound.any()):
        shares = np.where(sound, pull / scale**2, 0.0)
        centre = float(np.sum(shares * level) / np.sum(shares))
    return centre, float(1.0 / np.sqrt(np.sum(shares))), int(np.count_nonzero(sound & (pull >= 1.0)))


def _present_value(dividends: Dividends | None, years: float, rate: float) -> float:
    times, cash = dividend_schedule(dividends)
    due = times <= years
    return float(np.sum(cash[due] * np.exp(-rate * times[due])))


def _pricing_terms(
    forward: float, error: float, spot: float, years: float, rate: float, dividends: Dividends | None
) -> tuple[float, float, float]:
    """Return the borrow that the forward shows, and spot and borrow to price with."""
    paid = _present_value(dividends, years, rate)
    borrow = rate - float(np.log(forward / (spot - paid))) / years
    believed = min(max(borrow, BELIEVABLE_BORROW[0]), BELIEVABLE_BORROW[1])
    if abs(borrow) * years * spot < SIGNIFICANT_ERRORS * error:
        believed = 0.0
    if believed == borrow:
        return borrow, spot, borrow
    return borrow, forward * float(np.exp((believed - rate) * years)) + paid, believed


def _premiums(
    call: Floats,
    put: Floats,
    strike: Floats,
    spot: float,
    years: float,
    forward: float,
    last: Floats,
    rate: float,
    borrow: float,
    dividends: Dividends | None,
) -> Floats:
    """Early-exercise premiums of the calls and the puts, (2, strikes); NaN where no volatility is found.

    Both options of a strike are priced at one volatility, that of the one out of the money: less what is
    ``last`` known of its premium it is a European price.
    """
    is_call, taken = strike >= forward, np.nan_to_num(last)
    price = np.where(is_call, call - taken[0], put - taken[1])
    vol = implied_vol(
        np.nan_to_num(price, nan=-1.0),
        spot,
        strike,
        years,
        is_call,
        rate=rate,
        dividend_yield=borrow,
        dividends=dividends,
        style="european",
    ).vol
    known = np.isfinite(vol)
    premiums = np.full((2, len(strike)), np.nan)
    for side, of_calls in enumerate((True, False)):
        premiums[side, known] = exercise_premium(
            spot,
            strike[known],
            years,
            vol[known],
            of_calls,
            rate=rate,
            dividend_yield=borrow,
            dividends=dividends,
        )
    return premiums


EX_DIVIDEND_TIME = time(9, 30)
STANDING_AFTER_SECONDS = 300.0
"""A quote that has stood longer than this is taken to stand by choice, at today's share price."""


@dataclass(frozen=True, slots=True)
class ExpiryLabel:
    """What sets one smile apart: the date, and the root where morning and evening expiries share it."""

    expiry: date
    root: str

    def __str__(self) -> str:
        return f"{self.expiry} {self.root}"


@dataclass(frozen=True, slots=True)
class ExpiryQuotes:
    """All quotes of one expiry at one instant; arrays by strike and right, NaN where a side is missing."""

    label: ExpiryLabel
    years: float
    style: str
    strike: Floats
    is_call: NDArray[np.bool_]
    bid: Floats
    ask: Floats
    spot: Floats
    """Underlying when each quote was made: a quote of a moment ago answers to the share of a moment ago."""


@dataclass(frozen=True, slots=True)
class ChainQuotes:
    """The chain of one underlying as it stood at ``ts_ns``."""

    ts_ns: int
    spot: float
    expiries: tuple[ExpiryQuotes, ...]
    rate_at: Callable[[float], float]
    """Days to maturity to the continuously compounded rate a year."""
    dividends: Dividends = ()
    """Known cash dividends ahead as (years to the ex-date, amount)."""


@dataclass(frozen=True, slots=True)
class ChainSurface:
    """A fitted surface with the forwards it stands on."""

    chain: ChainQuotes
    forwards: Mapping[ExpiryLabel, ImpliedForward]
    rates: Mapping[ExpiryLabel, float]
    """Continuously compounded, a year, by expiry."""
    smile_quotes: tuple[SmileQuotes, ...] = field(repr=False)
    surface: VolSurface


def chain_quotes_at(tape: MarketTape, now_ns: int, *, max_age_seconds: float | None = None) -> ChainQuotes:
    """Return every live option's last quote known by ``now_ns``, by expiry.

    Parameters
    ----------
    tape
        Market with the quotes.
    now_ns
        UTC nanoseconds.
    max_age_seconds
        Leave older quotes out; None keeps all.

    Raises
    ------
    DataError
        When the underlying was not quoted yet.
    """
    until = int(np.searchsorted(tape.quotes.ts_ns, now_ns, side="right"))
    numbers, from_end = np.unique(tape.quotes.instrument_id[:until][::-1], return_index=True)
    row_of = dict(zip(numbers.tolist(), (until - 1 - from_end).tolist(), strict=True))
    spot_rows = np.flatnonzero(
        (tape.quotes.instrument_id[:until] == tape.instruments.id_of(tape.underlying))
        & np.isfinite(tape.quotes.bid[:until] + tape.quotes.ask[:until])
    )
    if not len(spot_rows):
        raise DataError(
            f"{tape.underlying} was not quoted yet at this time",
            where=f"{tape.name}, {to_new_york(now_ns):%Y-%m-%d %H:%M}",
            fix="choose a later --time",
        )
    spots = 0.5 * (tape.quotes.bid[spot_rows] + tape.quotes.ask[spot_rows])
    spot_ts = tape.quotes.ts_ns[spot_rows]
    spot = float(spots[-1])
    groups: dict[ExpiryLabel, list[tuple[OptionContract, int]]] = {}
    oldest_ns = 0 if max_age_seconds is None else now_ns - round(max_age_seconds * NANOS_PER_SECOND)
    for number, contract in options_in_order(tape.instruments, _option_underlying(tape)):
        row = row_of.get(number)
        if row is not None and tape.quotes.ts_ns[row] >= oldest_ns and expiry_instant_ns(contract) > now_ns:
            groups.setdefault(ExpiryLabel(contract.expiry, contract.root), []).append((contract, row))
    expiries = []
    for label, members in groups.items():
        rows = np.array([row for _, row in members])
        first = members[0][0]
        made_ns = tape.quotes.ts_ns[rows]
        then = spots[np.maximum(np.searchsorted(spot_ts, made_ns, side="right") - 1, 0)]
        recent = now_ns - made_ns <= round(STANDING_AFTER_SECONDS * NANOS_PER_SECOND)
        expiries.append(
            ExpiryQuotes(
                label,
                years_between(now_ns, expiry_instant_ns(first)),
                first.style.value,
                np.array([float(contract.strike) for contract, _ in members]),
                np.array([contract.is_call for contract, _ in members]),
                tape.quotes.bid[rows],
                tape.quotes.ask[rows],
                np.where(recent, then, spot),
            )
        )
    expiries.sort(key=lambda entry: entry.years)
    return ChainQuotes(now_ns, spot, tuple(expiries), tape.rate_curve.rate_at, _dividends_ahead(tape, now_ns))


def fit_chain(
    chain: ChainQuotes,
    *,
    previous: ChainSurface | None = None,
    clock: Clock = calendar_clock,
    clock_name: str = "calendar-365",
) -> ChainSurface:
    """Read the forward of every expiry, invert its quotes and fit the surface.

    Parameters
    ----------
    chain
        Quotes at one instant.
    previous
        The last fit, from whose smiles this one starts.
    clock, clock_name
        In which time variance is linear between expiries.

    Notes
    -----
    A strike is represented by its option out of the money: it carries the least intrinsic value and early
    exercise. Where that one is not quoted on both sides the other takes its place. Bid and ask are inverted
    apart, American ones as American options on the implied forward's own yield.
    """
    forwards: dict[ExpiryLabel, ImpliedForward] = {}
    rates: dict[ExpiryLabel, float] = {}
    dues: dict[ExpiryLabel, list[tuple[float, float]]] = {}
    for entry in chain.expiries:
        rates[entry.label] = chain.rate_at(entry.years * 365.0)
        dues[entry.label] = [pair for pair in chain.dividends if pair[0] <= entry.years]
        forwards[entry.label] = _forward_of(entry, chain.spot, rates[entry.label], dues[entry.label])
    borrow = _shared_borrow(chain, forwards)
    quotes = []
    for entry in chain.expiries:
        label = entry.label
        if forwards[label].status is ForwardStatus.NO_PAIRS:
            forwards[label] = carried_forward(chain.spot, entry.years, rates[label], dues[label], borrow)
        quotes.append(_smile_quotes(entry, chain.spot, rates[label], dues[label], forwards[label]))
    surface = fit_surface(
        quotes,
        chain.spot,
        previous=None if previous is None else previous.surface,
        clock=clock,
        clock_name=clock_name,
    )
    return ChainSurface(chain, forwards, rates, tuple(quotes), surface)


def _option_underlying(tape: MarketTape) -> str:
    return next(
        (one.underlying for one in tape.instruments if isinstance(one, OptionContract)), tape.underlying
    )


def _dividends_ahead(tape: MarketTape, now_ns: int) -> list[tuple[float, float]]:
    ahead = []
    for dividend in tape.dividends:
        opens = to_ns(datetime.combine(dividend.ex_date, EX_DIVIDEND_TIME, tzinfo=NEW_YORK))
        if dividend.symbol == tape.underlying and opens > now_ns:
            ahead.append((years_between(now_ns, opens), float(dividend.amount)))
    return ahead


def _forward_of(entry: ExpiryQuotes, spot: float, rate: float, dividends: Dividends) -> ImpliedForward:
    calls, puts = np.flatnonzero(entry.is_call), np.flatnonzero(~entry.is_call)
    strikes, at_call, at_put = np.intersect1d(entry.strike[calls], entry.strike[puts], return_indices=True)
    c, p = calls[at_call], puts[at_put]
    # both legs of a pair are carried to this moment's spot at their deltas, from the cheapest straddle
    straddle = 0.5 * (entry.bid[c] + entry.ask[c] + entry.bid[p] + entry.ask[p])
    deviation = 1.25 * float(np.nanmin(straddle, initial=np.inf))
    delta = ndtr((spot - strikes) / max(deviation, 1e-6 * spot))
    call_move, put_move = delta * (spot - entry.spot[c]), (delta - 1.0) * (spot - entry.spot[p])
    return implied_forward(
        strikes,
        np.maximum(entry.bid[c] + call_move, 0.0),
        entry.ask[c] + call_move,
        np.maximum(entry.bid[p] + put_move, 0.0),
        entry.ask[p] + put_move,
        spot=spot,
        years=entry.years,
        rate=rate,
        dividends=dividends,
        style=entry.style,
    )


def _shared_borrow(chain: ChainQuotes, forwards: Mapping[ExpiryLabel, ImpliedForward]) -> float:
    """Borrow of the expiry whose forward fixes it best: a cent of forward is a lot of yield for one day."""
    known = [
        (forwards[entry.label].uncertainty / entry.years, forwards[entry.label].borrow)
        for entry in chain.expiries
        if forwards[entry.label].status is not ForwardStatus.NO_PAIRS
    ]
    return min(known, default=(0.0, 0.0))[1]


def _smile_quotes(
    entry: ExpiryQuotes, spot: float, rate: float, dividends: Dividends, found: ImpliedForward
) -> SmileQuotes:
    """Invert bid and ask of one option a strike, the one out of the money where it is quoted."""
    whole = (entry.bid > 0.0) & (entry.ask >= entry.bid)
    out = entry.is_call == (entry.strike >= found.forward)
    out_strikes = entry.strike[whole & out]
    chosen = np.flatnonzero(whole & (out | ~np.isin(entry.strike, out_strikes)))
    chosen = chosen[np.argsort(entry.strike[chosen], kind="stable")]
    strike, is_call = entry.strike[chosen], entry.is_call[chosen]
    sides = np.stack((entry.bid[chosen], entry.ask[chosen]))
    then = entry.spot[chosen] / spot
    if entry.style == "american" and dividends:
        vols = np.full(sides.shape, np.nan)
        for calls in (True, False):
            here = np.flatnonzero(is_call == calls)
            if not len(here):
                continue
            # carried to this moment's spot: price and strike of an option grow with it
            vols[:, here] = implied_vol_through_premium(
                sides[:, here] / then[here],
                found.pricing_spot,
                strike[here] / then[here],
                entry.years,
                calls,
                rate=rate,
                dividend_yield=found.pricing_borrow,
                dividends=dividends,
            )
    else:
        vols = implied_vol(
            sides,
            found.pricing_spot * then[None, :],
            strike[None, :],
            entry.years,
            is_call[None, :],
            rate=rate,
            dividend_yield=found.pricing_borrow,
            dividends=dividends,
            style=entry.style,
        ).vol
    k = np.log(strike / (found.forward * then))
    return SmileQuotes(entry.label, entry.years, found.forward, strike, vols[0], vols[1], k)
