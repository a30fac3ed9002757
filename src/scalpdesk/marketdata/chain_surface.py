"""Volatility surface of an option chain at one instant: implied forwards, implied volatilities, the fit.

European put-call parity gives the forward at every strike with a call and a put. American options satisfy it
only without their early-exercise premium, which needs a volatility, which needs the forward: these are
iterated. The estimate is robust: one stale quote among the strikes does not move it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND, years_between
from scalpdesk.instruments.contract import Instruments, OptionContract, options_in_order
from scalpdesk.instruments.sessions import NEW_YORK, expiry_instant_ns, to_new_york, to_ns
from scalpdesk.marketdata.curves import parity_implied_forward
from scalpdesk.marketdata.dividends import last_notice_ns
from scalpdesk.marketdata.robust import robust_level
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import MarketTape, QuoteColumns
from scalpdesk.pricing.base import Dividends, Payment, Schedule, dividend_schedule
from scalpdesk.pricing.exercise_premium import exercise_premium, implied_vol_through_premium
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.known_dividends import BORROW_STEP, known_premiums, years_ahead
from scalpdesk.pricing.surface import Clock, SmileQuotes, VolSurface, calendar_clock, fit_surface

Floats = NDArray[np.float64]

_PAIRS_NEAR_MONEY = 9
"""Strikes used around the money: further out one leg is all intrinsic value, with wide quotes."""
_MAX_ROUNDS = 12
_CONVERGED = 1e-6
"""Relative change of the forward at which the iteration ends."""
PLAUSIBLE_BORROW = (-0.05, 1.0)
"""Range of borrow costs a year: hard-to-borrow shares cost up to about their price, few pay to be lent."""
_SIGNIFICANT_ERRORS = 2.0
"""A borrow that moves the forward by fewer standard errors than this counts as zero."""
_SPOT_OFFSET = 0.005
"""By how much a chain's spot may be of another moment than its options, as a fraction of it: two deviations
of a quarter of an hour, by which free quotes are late, at a volatility of 20 %."""
_OFFSET_YEARS = 30.0 / DAYS_PER_YEAR
"""Time to expiry from which the last expiry has its own borrow: a tenth of a percent is one of 1 % there."""


class ForwardStatus(StrEnum):
    """Origin of a forward."""

    OK = "ok"
    ASSUMED = "assumed"
    """No strike has a usable call and put: the spot carried at the rate, the dividends and another
    expiry's borrow."""
    NO_PAIRS = "no_pairs"
    """No strike has a call and a put that show a forward: one has no quote, or the prices have no volatility
    at this spot."""
    NOT_SETTLED = "not_settled"
    """The iteration over the early-exercise premium did not converge; the last value."""


@dataclass(frozen=True, slots=True)
class ImpliedForward:
    """Forward implied by put-call parity, with its accuracy; currency per unit of the underlying."""

    forward: float
    uncertainty: float
    """One standard error of the forward, from the scatter of the pairs and their spreads."""
    borrow: float
    """Continuous yield a year in the forward beyond the rate and the given dividends: the cost of borrowing
    the share, and any other dividends."""
    pricing_spot: float
    """Spot that with ``pricing_borrow`` gives this forward, to price options with. It differs from the spot
    only where ``pricing_borrow`` is not the borrow."""
    pricing_borrow: float
    """The borrow; that of later expiries (0 where they are not known) where it is implausible or differs from
    theirs by no more than the errors of forward and spot: near expiry a cent between spot and forward is no
    borrow, but a spot of another moment."""
    pairs_used: int
    """Pairs with full weight; those beyond Huber's bound are weighted down and not counted."""
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
    later_borrow: float = 0.0,
    spot_offset: float = 0.0,
    schedule: Schedule = (),
) -> ImpliedForward:
    """Estimate the forward of one expiry from the call-put pairs near the money.

    Each pair gives ``K + (C − P)/DF`` from mids, with half the two spreads as its uncertainty. The start is
    the median weighted by the inverse uncertainty; Huber's M-estimate (Huber 1964) with the same weights
    follows. For American options the early-exercise premiums of C and P, both at the volatility of the
    out-of-the-money one, are subtracted first; forward, volatility and premium are iterated.

    ``strike``, ``call_bid``, ``call_ask``, ``put_bid``, ``put_ask``: Arrays of one length, one expiry; NaN
    where a side is missing. Pairs with a missing, zero or crossed side are ignored.
    ``years``: Time to expiry, above 0.
    ``rate``: Continuously compounded, a year.
    ``dividends``: Known cash dividends as (years_to_ex_date, amount, years_to_last_notice).
    ``later_borrow``: Borrow that later expiries are priced with, a year.
    ``spot_offset``: By how much the spot may be of another moment than the quotes, as a fraction of it.
    ``schedule``: The cash dividends as a desk has them, which asks all day: then what exercise adds comes
    from tables, all of it at ``later_borrow``.

    Returns NaN with ``no_pairs`` where no pair shows a forward: without a quote, or at a spot that no
    volatility explains, as a stub quote of the share gives.

    Raises ArgumentError when the spot or the time is not above 0, the rate is not finite, or the lists differ
    in length.
    """
    if not (math.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the spot must be above 0", where="spot", value=spot)
    if not (math.isfinite(years) and years > 0.0):
        raise ArgumentError("the time to expiry must be above 0", where="years", value=years)
    if not math.isfinite(rate):
        raise ArgumentError("the rate must be finite", where="rate", value=rate)
    if schedule:
        dividends = years_ahead(schedule, years)
    k, sides = _whole_pairs(strike, (call_bid, call_ask, put_bid, put_ask))
    offered = len(k)
    if offered == 0 or spot <= _present_value(dividends, years, rate):
        return _no_forward(offered)
    discount = float(np.exp(-rate * years))
    level, width = parity_implied_forward(k, sides[0], sides[1], sides[2], sides[3], discount)
    # the forward is where call and put cost the same: robust even when the spot is old
    middle = k[np.argmin(np.abs(0.5 * (sides[0] + sides[1] - sides[2] - sides[3])))]
    near = np.argsort(np.abs(k - 0.5 * (middle + spot)), kind="stable")[:_PAIRS_NEAR_MONEY]
    k, level, width = k[near], level[near], np.maximum(width[near], 1e-6 * spot)
    forward, error, used = robust_level(level, width)
    if forward <= 0.0:
        return _no_forward(offered)
    carry = (spot, years, rate, dividends, later_borrow, spot_offset)
    terms = _pricing_terms(forward, error, *carry)
    is_worthless = rate == 0.0 == terms[2] and dividends is None  # without interest nobody exercises early
    if style == "european" or is_worthless:
        return ImpliedForward(forward, error, *terms, used, offered, ForwardStatus.OK)
    call = 0.5 * (sides[0] + sides[1])[near]
    put = 0.5 * (sides[2] + sides[3])[near]
    status = ForwardStatus.NOT_SETTLED
    premiums = np.zeros((2, len(k)))
    for _ in range(_MAX_ROUNDS):
        _, at, borrow = _pricing_terms(forward, error, *carry)
        if schedule:
            at, borrow = _spot_at(forward, years, rate, dividends, later_borrow), later_borrow
        premiums = _premiums(call, put, k, at, years, forward, premiums, rate, borrow, dividends, schedule)
        excess = premiums[0] - premiums[1]
        known = np.isfinite(excess)
        if not bool(known.any()):
            return _no_forward(offered)
        moved, error, used = robust_level((level - excess / discount)[known], width[known])
        if moved <= 0.0:
            return _no_forward(offered)
        change, forward = abs(moved / forward - 1.0), moved
        if change < _CONVERGED:
            status = ForwardStatus.OK
            break
    terms = _pricing_terms(forward, error, *carry)
    return ImpliedForward(forward, error, *terms, used, offered, status)


def _whole_pairs(strike: ArrayLike, quoted: Sequence[ArrayLike]) -> tuple[Floats, list[Floats]]:
    """Return the strikes whose call and put have both sides, and those sides: bid and ask of each."""
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
    if whole.all():
        return k, sides
    return k[whole], [side[whole] for side in sides]


def _no_forward(offered: int) -> ImpliedForward:
    nan = float("nan")
    return ImpliedForward(nan, nan, nan, nan, nan, 0, offered, ForwardStatus.NO_PAIRS)


def carried_forward(
    spot: float, years: float, rate: float, dividends: Dividends | None, borrow: float
) -> ImpliedForward:
    """Return the forward from the spot, the rate, the dividends and an assumed borrow."""
    held = spot - _present_value(dividends, years, rate)
    forward, nan = held * float(np.exp((rate - borrow) * years)), float("nan")
    return ImpliedForward(forward, nan, borrow, spot, borrow, 0, 0, ForwardStatus.ASSUMED)


def _present_value(dividends: Dividends | None, years: float, rate: float) -> float:
    if dividends is None:
        return 0.0
    times, cash, _ = dividend_schedule(dividends)
    due = times <= years
    return float(np.sum(cash[due] * np.exp(-rate * times[due])))


def _pricing_terms(
    forward: float,
    error: float,
    spot: float,
    years: float,
    rate: float,
    dividends: Dividends | None,
    later_borrow: float,
    spot_offset: float,
) -> tuple[float, float, float]:
    """Return the borrow implied by the forward, and the spot and borrow to price with."""
    paid = _present_value(dividends, years, rate)
    borrow = rate - float(np.log(forward / (spot - paid))) / years
    is_plausible = PLAUSIBLE_BORROW[0] <= borrow <= PLAUSIBLE_BORROW[1]
    doubt = _SIGNIFICANT_ERRORS * error + spot_offset * spot
    if is_plausible and not abs(borrow - later_borrow) * years * spot < doubt:
        return borrow, spot, borrow
    return borrow, _spot_at(forward, years, rate, dividends, later_borrow), later_borrow


def _spot_at(forward: float, years: float, rate: float, dividends: Dividends | None, borrow: float) -> float:
    """Return the spot that a borrow carries to the forward."""
    return forward * float(np.exp((borrow - rate) * years)) + _present_value(dividends, years, rate)


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
    schedule: Schedule,
) -> Floats:
    """Early-exercise premiums of the calls and the puts, (2, strikes); NaN where no volatility is found.

    Both options of a strike are priced at the volatility of the out-of-the-money one, whose European price is
    its mid less the ``last`` estimate of its premium.
    """
    is_call, premium = strike >= forward, np.where(np.isnan(last), 0.0, last)
    vol = implied_vol(
        np.where(is_call, call - premium[0], put - premium[1]),
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
    if not bool(known.any()):
        return premiums
    yields: tuple[float, ...] = (borrow,)
    shares = np.ones((1, 1))
    if schedule:
        found = known_premiums(spot, strike[known], years, vol[known], rate, borrow, schedule)
    else:
        if dividends is None:
            # tables of exercise boundaries are kept by yield: those at round yields serve the whole day
            low = BORROW_STEP * math.floor(borrow / BORROW_STEP)
            share = (borrow - low) / BORROW_STEP
            yields, shares = (low, low + BORROW_STEP if share else low), np.array([[1.0 - share, share]])
        rows, count = (len(yields), 2, int(np.count_nonzero(known))), 2 * len(yields)
        found = exercise_premium(
            spot,
            np.tile(strike[known], count),
            years,
            np.tile(vol[known], count),
            np.broadcast_to([[[True], [False]]], rows).ravel(),
            rate=rate,
            dividend_yield=np.broadcast_to(np.reshape(yields, (-1, 1, 1)), rows).ravel(),
            dividends=dividends,
        )
    premiums[:, known] = np.dot(shares, found.reshape(len(yields), -1)).reshape(2, -1)
    return premiums


_EX_DIVIDEND_TIME = time(9, 30)
STANDING_AFTER_SECONDS = 300.0
"""A quote unchanged for longer than this is taken as valid at the current share price."""


@dataclass(frozen=True, slots=True)
class ExpiryLabel:
    """Key of a smile: the date, and the root, since AM and PM expiries may share a date."""

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
    """Underlying at the time of each quote."""


@dataclass(frozen=True, slots=True)
class ChainQuotes:
    """Option chain of one underlying at ``ts_ns``."""

    ts_ns: int
    spot: float
    expiries: tuple[ExpiryQuotes, ...]
    rate_at: Callable[[float], float]
    """Days to maturity to the continuously compounded rate a year."""
    dividends: Dividends = ()
    """Known cash dividends ahead as (years to the ex-date, amount, years to the last notice)."""


@dataclass(frozen=True, slots=True)
class ChainSurface:
    """Fitted volatility surface of a chain, with its forwards."""

    chain: ChainQuotes
    forwards: Mapping[ExpiryLabel, ImpliedForward]
    rates: Mapping[ExpiryLabel, float]
    """Continuously compounded, a year, by expiry."""
    smile_quotes: tuple[SmileQuotes, ...] = field(repr=False)
    surface: VolSurface


def last_rows(quotes: QuoteColumns) -> dict[int, int]:
    """Return the last row of each instrument."""
    last = np.full(int(quotes.instrument_id.max(initial=-1)) + 1, -1)
    last[quotes.instrument_id] = np.arange(len(quotes))  # the last of equal indices stays
    return {number: row for number, row in enumerate(last.tolist()) if row >= 0}


def spots_until(tape: MarketTape, now_ns: int) -> tuple[NDArray[np.int64], Floats]:
    """Return instants and mids of the underlying's quotes of two sides up to ``now_ns``; at least one.

    Raises DataError when the underlying was not quoted yet.
    """
    quotes = tape.quotes.until(now_ns)
    is_spot = quotes.instrument_id == tape.instruments.id_of(tape.underlying)
    rows = np.flatnonzero(is_spot & np.isfinite(quotes.bid + quotes.ask))
    if not len(rows):
        raise DataError(
            f"{tape.underlying} was not quoted yet at this time",
            where=f"{tape.name}, {to_new_york(now_ns):%Y-%m-%d %H:%M}",
            fix="choose a later --time",
        )
    return quotes.ts_ns[rows], 0.5 * (quotes.bid[rows] + quotes.ask[rows])


def chain_quotes_at(tape: MarketTape, now_ns: int, *, max_age_seconds: float | None = None) -> ChainQuotes:
    """Return the last quote known by ``now_ns`` of every option that has not expired, by expiry.

    A quote older than ``max_age_seconds`` is left out; None keeps all. Raises DataError when the underlying
    was not quoted yet.
    """
    quotes = tape.quotes.until(now_ns)
    row_of = last_rows(quotes)
    spot_ts, spots = spots_until(tape, now_ns)
    spot = float(spots[-1])
    groups: dict[ExpiryLabel, list[tuple[OptionContract, int]]] = {}
    oldest_ns = 0 if max_age_seconds is None else now_ns - round(max_age_seconds * NANOS_PER_SECOND)
    options = (each for each in tape.instruments if each.is_option and each.underlying not in tape.others)
    underlying = next((option.underlying for option in options), tape.underlying)
    for instrument_id, contract in options_in_order(tape.instruments, underlying):
        row = row_of.get(instrument_id)
        if row is not None and quotes.ts_ns[row] >= oldest_ns and expiry_instant_ns(contract) > now_ns:
            groups.setdefault(ExpiryLabel(contract.expiry, contract.root), []).append((contract, row))
    expiries = []
    for label, members in groups.items():
        contracts, rows = [contract for contract, _ in members], np.array([row for _, row in members])
        quoted_ns = quotes.ts_ns[rows]
        then = spots[np.maximum(np.searchsorted(spot_ts, quoted_ns, side="right") - 1, 0)]
        recent = now_ns - quoted_ns <= round(STANDING_AFTER_SECONDS * NANOS_PER_SECOND)
        bid, ask = quotes.bid[rows], quotes.ask[rows]
        expiries.append(expiry_quotes(label, contracts, now_ns, bid, ask, np.where(recent, then, spot)))
    expiries.sort(key=lambda entry: entry.years)
    return ChainQuotes(now_ns, spot, tuple(expiries), tape.rate_curve.rate_at, dividends_ahead(tape, now_ns))


def chain_quotes_of(
    market: MarketState,
    instruments: Instruments,
    underlying: str,
    now_ns: int,
    spots: Sequence[tuple[int, float]] = (),
) -> ChainQuotes | None:
    """Return a desk's latest quotes of all options on an underlying that have not expired, by expiry.

    None while the underlying is not quoted. ``spots`` are instants and mids of the underlying, oldest first:
    a quote counts at the one of its time, else at the present spot.
    """
    spot_id = instruments.id_of(underlying)
    spot = market.mark(spot_id)
    if spot is None:
        return None
    groups: dict[ExpiryLabel, list[tuple[OptionContract, QuoteEvent]]] = {}
    for number, contract in options_in_order(instruments, underlying):
        quote = market.quotes[number]
        if quote is not None and expiry_instant_ns(contract) > now_ns:
            groups.setdefault(ExpiryLabel(contract.expiry, contract.root), []).append((contract, quote))
    expiries = []
    for label, members in groups.items():
        bid, ask = (np.array([getattr(quote, side) for _, quote in members]) for side in ("bid", "ask"))
        contracts = [contract for contract, _ in members]
        quoted_ns = np.array([quote.ts_recv_ns for _, quote in members])
        then = _spots_at(spots, quoted_ns, spot, now_ns)
        expiries.append(expiry_quotes(label, contracts, now_ns, bid, ask, then))
    expiries.sort(key=lambda entry: entry.years)
    ahead = [
        _ahead(now_ns, dividend.ts_ex_ns, dividend.amount)
        for dividend in market.dividends
        if dividend.instrument_id == spot_id and dividend.ts_ex_ns > now_ns
    ]
    return ChainQuotes(now_ns, spot, tuple(expiries), market.rate_curve.rate_at, ahead)


def _spots_at(
    spots: Sequence[tuple[int, float]], quoted_ns: NDArray[np.int64], spot: float, now_ns: int
) -> Floats:
    """Return the spot when each quote came; for one that has stood for long the present."""
    if not spots:
        return np.full(len(quoted_ns), spot)
    at, mids = (np.array(column) for column in zip(*spots, strict=True))
    place = np.searchsorted(at, quoted_ns, side="right") - 1
    is_known = (place >= 0) & (now_ns - quoted_ns <= round(STANDING_AFTER_SECONDS * NANOS_PER_SECOND))
    return np.where(is_known, mids[np.maximum(place, 0)], spot)


def expiry_quotes(
    label: ExpiryLabel,
    contracts: Sequence[OptionContract],
    now_ns: int,
    bid: Floats,
    ask: Floats,
    spot: Floats,
) -> ExpiryQuotes:
    """Return the quotes of one expiry's contracts, which are in order of strike and right.

    Prices of inverse options, which are in coin, become US dollars at the underlying of their time.
    """
    if contracts[0].is_inverse:
        bid, ask = bid * spot, ask * spot
    return ExpiryQuotes(
        label,
        years_between(now_ns, expiry_instant_ns(contracts[0])),
        contracts[0].style.value,
        np.array([float(contract.strike) for contract in contracts]),
        np.array([contract.is_call for contract in contracts]),
        bid,
        ask,
        spot,
    )


def fit_chain(
    chain: ChainQuotes,
    *,
    previous: ChainSurface | None = None,
    clock: Clock = calendar_clock,
    clock_name: str = "calendar-365",
) -> ChainSurface:
    """Fit the volatility surface: forwards of all expiries, implied volatilities of their quotes, the smiles.

    The smiles of ``previous`` start this fit; variance is linear between expiries in ``clock``.

    A strike is represented by its out-of-the-money option, which has the least intrinsic value and early
    exercise; where it is not quoted on both sides, by the other. Bid and ask are inverted separately,
    American quotes as American options with the implied forward's yield.
    """
    forwards: dict[ExpiryLabel, ImpliedForward] = {}
    rates: dict[ExpiryLabel, float] = {}
    dues: dict[ExpiryLabel, list[Payment]] = {}
    later_borrow: float | None = None
    for entry in reversed(chain.expiries):
        label = entry.label
        rates[label] = chain.rate_at(entry.years * DAYS_PER_YEAR)
        dues[label] = [pair for pair in chain.dividends if pair[0] <= entry.years]
        forwards[label] = _forward_of(entry, chain.spot, rates[label], dues[label], later_borrow)
        if forwards[label].status is not ForwardStatus.NO_PAIRS:
            later_borrow = forwards[label].pricing_borrow
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


def dividends_ahead(tape: MarketTape, now_ns: int) -> list[Payment]:
    """Return the underlying's dividends still to come as (years to ex-date, amount, years to last notice)."""
    ahead = []
    for dividend in tape.dividends:
        opens = to_ns(datetime.combine(dividend.ex_date, _EX_DIVIDEND_TIME, tzinfo=NEW_YORK))
        if dividend.symbol == tape.underlying and opens > now_ns:
            ahead.append(_ahead(now_ns, opens, dividend.amount))
    return ahead


def _ahead(now_ns: int, ex_ns: int, amount: Decimal) -> Payment:
    return years_between(now_ns, ex_ns), float(amount), years_between(now_ns, last_notice_ns(ex_ns))


def _forward_of(
    entry: ExpiryQuotes, spot: float, rate: float, dividends: Dividends, later_borrow: float | None
) -> ImpliedForward:
    is_long_last = later_borrow is None and entry.years >= _OFFSET_YEARS
    calls, puts = np.flatnonzero(entry.is_call), np.flatnonzero(~entry.is_call)
    strikes, at_call, at_put = np.intersect1d(entry.strike[calls], entry.strike[puts], return_indices=True)
    c, p = calls[at_call], puts[at_put]
    # both legs of a pair are moved to the current spot by their deltas, estimated from the cheapest straddle
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
        later_borrow=later_borrow or 0.0,
        spot_offset=0.0 if is_long_last else _SPOT_OFFSET,
    )


def _shared_borrow(chain: ChainQuotes, forwards: Mapping[ExpiryLabel, ImpliedForward]) -> float:
    """Borrow of the expiry that determines it best: a cent of forward is a large yield over one day."""
    known = [
        (forwards[entry.label].uncertainty / entry.years, forwards[entry.label].borrow)
        for entry in chain.expiries
        if forwards[entry.label].status is not ForwardStatus.NO_PAIRS
    ]
    return min(known, default=(0.0, 0.0))[1]


def _smile_quotes(
    entry: ExpiryQuotes, spot: float, rate: float, dividends: Dividends, found: ImpliedForward
) -> SmileQuotes:
    """Invert bid and ask of one option a strike: the out-of-the-money one where it is quoted."""
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
            # moved to the current spot: price and strike of an option scale with it
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
