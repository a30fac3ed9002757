"""From a tape's quotes at one instant to forwards, implied volatilities and the fitted surface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import NEW_YORK, expiry_instant_ns, to_new_york, to_ns
from scalpdesk.marketdata.chain import options_in_order
from scalpdesk.marketdata.implied_forward import (
    ForwardStatus,
    ImpliedForward,
    carried_forward,
    implied_forward,
)
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing import implied_vol
from scalpdesk.pricing.base import Dividends
from scalpdesk.pricing.exercise_premium import implied_vol_through_premium
from scalpdesk.pricing.surface import Clock, SmileQuotes, VolSurface, calendar_clock, fit_surface

Floats = NDArray[np.float64]

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
