"""One volatility per strike and expiry, filtered through the day; the smile of an expiry at an instant."""

import math
from bisect import bisect_left
from collections.abc import Callable
from copy import copy
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.chain_surface import ForwardStatus, ImpliedForward, implied_forward
from scalpdesk.marketdata.quotes import TRADABLE, mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.portfolio.vol_filter import REPEATS, VolAverage, VolFilter
from scalpdesk.pricing.base import Floats, Schedule
from scalpdesk.pricing.svi import SmileFit, SviSmile

_WIDEST_SPREAD = 0.25
"""Fraction of the mid: a wider quote is no measurement, unless it is a few ticks of a cheap option."""
_FEW_TICKS = 4
_LARGEST_DEVIATION = 0.02
"""Deviation of a measured volatility, a fraction a year: a noisier one is no measurement."""

OLDEST_NS = 120 * NANOS_PER_SECOND
"""A strike that was not measured for so long takes its volatility from the smile of its expiry."""
SURFACE_DEVIATION = 0.005
"""Standard deviation of a volatility from the smile, a fraction a year (the desk's choice)."""
_PAIRS_EACH_SIDE = 3
"""Strikes on either side of the spot whose calls and puts give the forward."""
_LEAST_PAIRS = 3
"""With fewer no forward is taken from them: one stale quote among two would move it."""
_BESIDE_MONEY = 0.25
"""Part of the expected move to expiry: quotes so far on both sides of the forward show its level."""
MOST_STRIKES = 25
"""Quotes that a smile is fitted to: more strikes than this are thinned evenly."""

_QuoteVol = Callable[[InstrumentId, QuoteEvent], tuple[float, float] | None]
"""Volatility and vega of an option's quote at its own instant and the spot of it; None without one."""
_QuoteVols = Callable[[OptionContract, "LegQuotes"], tuple[Floats, Floats]]
"""The same for quotes of one expiry, that of the contract; NaN where there is no volatility."""


class StrikeVol(NamedTuple):
    """Filtered volatility of a strike by the calendar and its standard deviation, fractions a year."""

    vol: float
    deviation: float
    until_ns: int = 0
    """Until when it stands without another quote, UTC nanoseconds; 0 of the smile, as it goes by spot."""


class LegQuotes(NamedTuple):
    """Quotes of some options of one expiry, as columns; currency per unit."""

    strike: Floats
    is_call: NDArray[np.bool_]
    mid: Floats
    spot: Floats
    """Price of the underlying at the instant of each quote."""
    ts_event_ns: list[int]


class ExpirySmile(NamedTuple):
    """Smile of one expiry at an instant."""

    forward: float
    """Forward of the expiry, currency per unit."""
    years: float
    variance_years: float
    """``years``, ``variance_years``: To expiry, by the calendar and on the run's variance clock."""
    svi: SviSmile
    """Total variance at ln(strike / forward), the same by either clock."""
    strikes: int
    """Quotes that it was fitted to."""
    reach: tuple[float, float]
    """ln(strike / forward) of the lowest and of the highest of them."""

    @property
    def spans_money(self) -> bool:
        """Whether its quotes lie on both sides of the forward; else its level is a guess of the fit."""
        beside = self._beside_money
        return self.reach[0] <= -beside and self.reach[1] >= beside

    def reaches(self, log_moneyness: float) -> bool:
        """Whether its quotes reach an ln(strike / forward), or end an expected move from it.

        Where they do not span the money, a quarter of a move.
        """
        room = self._beside_money / (_BESIDE_MONEY if self.spans_money else 1.0)
        return self.reach[0] - room <= log_moneyness <= self.reach[1] + room

    @property
    def _beside_money(self) -> float:
        return _BESIDE_MONEY * math.sqrt(max(self.svi.variance_at(0.0), 0.0))

    def vols(self, log_moneyness: Floats) -> Floats:
        """Return volatilities per root year of the variance clock at ln(strike / forward)."""
        return np.sqrt(np.maximum(self.svi.total_variance(log_moneyness), 1e-16) / self.variance_years)

    def vol(self, log_moneyness: float) -> float:
        """Return the volatility of :meth:`vols` at one ln(strike / forward), to the last digit."""
        return math.sqrt(max(self.svi.variance_at(log_moneyness), 1e-16) / self.variance_years)

    def log_moneyness(self, contract: OptionContract) -> float:
        """Return ln(strike / forward) of a contract."""
        return math.log(float(contract.strike) / self.forward)


class _Chain(NamedTuple):
    """Strikes of one expiry, ascending; -1 for an option that is not listed."""

    price: Floats
    call: NDArray[np.int64]
    put: NDArray[np.int64]
    legs: NDArray[np.int64]
    """The calls and the puts that are listed."""
    few_ticks: Floats


class _Measured:
    """What the quotes of a strike have shown, at a forward that is assumed or that quotes have shown."""

    __slots__ = ("filter", "is_assumed", "measured_ns", "seen")

    def __init__(self, vol_filter: VolFilter, *, is_assumed: bool = False) -> None:
        self.is_assumed = is_assumed
        self.filter = vol_filter
        """Per root year of the variance clock: by the calendar a volatility that stands still changes."""
        self.measured_ns = 0
        """Instant of the last measurement, UTC nanoseconds; 0 before the first."""
        self.seen: QuoteEvent | None = None

    def copy(self) -> "_Measured":
        made = _Measured(copy(self.filter), is_assumed=self.is_assumed)
        made.measured_ns, made.seen = self.measured_ns, self.seen
        return made


class _Made(NamedTuple):
    """What a look at a strike has seen, and all that it rests on."""

    kept: _Measured
    leg: InstrumentId
    quote: QuoteEvent
    is_assumed: bool
    found: tuple[float, float] | None
    opened_ns: int
    seen: _Measured

    def stands(
        self,
        kept: _Measured,
        leg: InstrumentId,
        quote: QuoteEvent,
        is_assumed: bool,
        found: tuple[float, float] | None,
        opened_ns: int,
    ) -> bool:
        """Return whether another look would see the same."""
        return (
            self.kept is kept
            and self.quote is quote
            and self.found is found
            and self.leg == leg
            and self.is_assumed is is_assumed
            and self.opened_ns == opened_ns
        )


class _Strike:
    __slots__ = (
        "call",
        "expires_ns",
        "few_ticks",
        "half_life_seconds",
        "kept",
        "looked",
        "made",
        "now",
        "price",
        "put",
        "underlying",
    )

    def __init__(
        self,
        price: float,
        underlying: InstrumentId,
        expires_ns: int,
        few_ticks: float,
        half_life_seconds: float | None,
    ) -> None:
        self.price, self.underlying, self.expires_ns, self.few_ticks = (
            price,
            underlying,
            expires_ns,
            few_ticks,
        )
        self.call: InstrumentId | None = None
        self.put: InstrumentId | None = None
        self.half_life_seconds = half_life_seconds
        self.kept = self.now = self.begun(is_assumed=False)
        """What stays, and the same with the quote of now, which counts for this look alone."""
        self.looked = 0
        self.made: _Made | None = None

    def begun(self, *, is_assumed: bool) -> _Measured:
        """Return what is known before the first quote."""
        half_life = self.half_life_seconds
        made = VolFilter() if half_life is None else VolAverage(half_life)
        return _Measured(made, is_assumed=is_assumed)


class StrikeVols:
    """Filters the volatility of each strike from the quotes of its out-of-the-money leg.

    A quote is measured once, with the spot that was in force at its own instant: an option's quote is often
    older than the spot, and inverted with a later one it shows a move of volatility that never was.

    ``instruments``, ``state``: Instruments of the run and the latest market.
    ``terms``: Time to expiry on both clocks.
    ``quote_vol``, ``quote_vols``: Invert a quote, and those of an expiry.
    ``half_life_seconds``: Of an exponentially weighted mean in the filter's place; None filters.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        terms: TimeAndRate,
        quote_vol: _QuoteVol,
        quote_vols: _QuoteVols,
        half_life_seconds: float | None = None,
    ) -> None:
        self._half_life_seconds = half_life_seconds
        self._instruments = instruments
        self._state, self._terms = state, terms
        self._quote_vol = quote_vol
        self._quote_vols = quote_vols
        self._strikes: dict[tuple[str, str, date, Decimal], _Strike] = {}
        self._expiries: dict[tuple[str, str, date], list[tuple[float, _Strike]]] = {}
        """Strikes of each expiry, ascending."""
        self._chains: dict[tuple[str, str, date], _Chain] = {}
        """The same as columns, of the expiries whose smile was asked for."""
        self._by_symbol: dict[str, _Strike] = {}
        self._known = 0
        self._look = 0
        """Counts the looks."""

    def look(self) -> None:
        """Begin a look at the strikes: what another look saw counts no more.

        Only what is kept is learnt, at instants that nobody's looks choose; a look stands on it and on the
        quotes of now, so that no desk knows more because somebody has looked more often.
        """
        self._look += 1

    def measure(self, contract: OptionContract, *, is_assumed: bool, keeps: bool) -> bool:
        """Take in the latest quote of a contract's strike, once; return whether that changes anything.

        What was measured while its forward ``is_assumed`` counts no more once quotes have shown it.
        ``keeps``: For good; else until the next look.
        """
        if self._known != len(self._instruments.by_id):  # each wake asks: a call less
            self._learn()
        strike, quotes = self._by_symbol[contract.symbol], self._state.quotes
        spot = quotes[strike.underlying]
        leg = None if spot is None else strike.call if strike.price >= mark_price(spot) else strike.put
        quote = None if leg is None else quotes[leg]
        before, kept = self._seen(strike), strike.kept
        if kept.is_assumed is is_assumed and (quote is None or quote is kept.seen):
            strike.now = kept
        else:  # anew from what is kept: since another look the spot of the quote's own instant may have come
            strike.now = self._with(strike, leg, quote, is_assumed=is_assumed)
        is_new = strike.now is not before
        if keeps and leg is not None:
            self._state.keep_quotes(leg)
        strike.looked = self._look
        if keeps:
            strike.kept = strike.now
        return is_new

    def _seen(self, strike: _Strike) -> _Measured:
        """Return what this look knows of a strike."""
        return strike.now if strike.looked == self._look else strike.kept

    def _with(
        self, strike: _Strike, leg: InstrumentId | None, quote: QuoteEvent | None, *, is_assumed: bool
    ) -> _Measured:
        """Return what is kept of a strike, with the quote of now.

        A level that leaps counts once some quotes in a row show it: those since what is kept are asked then.
        """
        kept = strike.kept
        begins = kept.is_assumed is not is_assumed
        if leg is None or quote is None:
            return strike.begun(is_assumed=is_assumed) if begins else kept.copy()
        found = self._vol_of(strike, leg, quote)
        rests_on = kept, leg, quote, is_assumed, found, self._state.opened_ns
        made = strike.made
        if made is not None and made.stands(*rests_on):
            return made.seen
        known = strike.begun(is_assumed=is_assumed) if begins else kept.copy()
        since_ns = 0 if known.seen is None else known.seen.ts_event_ns
        if self._take(strike, known, quote, found):
            strike.made = _Made(*rests_on, known)
        else:
            earlier = [each for each in self._state.last_kept(leg, REPEATS) if each.ts_event_ns > since_ns]
            if len(earlier) > 1:
                known = strike.begun(is_assumed=is_assumed) if begins else kept.copy()
                for each in earlier:
                    self._take(strike, known, each, self._vol_of(strike, leg, each))
        known.seen = quote
        return known

    def measured(self, contract: OptionContract, now_ns: int) -> StrikeVol | None:
        """Return the volatility of a contract's strike as of its last measurement, by the calendar of now.

        None without any, and where it is older than two minutes: then the smile of the expiry knows better.
        """
        strike = self._by_symbol.get(contract.symbol)
        if strike is None:
            return None
        seen = self._seen(strike)
        measured_ns, known = seen.measured_ns, seen.filter
        if not measured_ns or now_ns > measured_ns + OLDEST_NS:
            return None
        scale = 1.0 / self._terms.to_clock(strike.expires_ns, now_ns)
        return StrikeVol(scale * known.vol, scale * known.deviation, measured_ns + OLDEST_NS)

    def last(self, contract: OptionContract, now_ns: int) -> float:
        """Return a strike's last volatility, however old, by the calendar of now; 0 without any."""
        if self._known != len(self._instruments):
            self._learn()
        strike = self._strikes[_key(contract)]
        known, to_clock = self._seen(strike), self._terms.to_clock(strike.expires_ns, now_ns)
        return known.filter.vol / to_clock if known.measured_ns else 0.0

    def other_leg(self, contract: OptionContract) -> InstrumentId | None:
        """Return the put of a call's strike and expiry, the call of a put's; None where it is not listed."""
        if self._known != len(self._instruments):
            self._learn()
        strike = self._by_symbol[contract.symbol]
        return strike.put if contract.is_call else strike.call

    def has_pairs(self, contract: OptionContract) -> bool:
        """Return whether a contract's expiry has strikes enough for a forward by parity."""
        if self._known != len(self._instruments):
            self._learn()
        return len(self._expiries[_key(contract)[:3]]) >= _LEAST_PAIRS

    def is_silent(self, contract: OptionContract) -> bool:
        """Return whether no option of a contract's expiry has a quote, or gets one in this session."""
        if self._known != len(self._instruments):
            self._learn()
        return self._state.are_silent(self._chain(_key(contract)[:3]).legs)

    def forward(
        self,
        contract: OptionContract,
        now_ns: int,
        spot: float,
        years: float,
        rate: float,
        dividends: Schedule = (),
        borrow: float = 0.0,
    ) -> ImpliedForward | None:
        """Return the forward of an expiry by put-call parity; None with fewer than three usable pairs.

        From the pairs nearest the money that are quoted on both sides, fresh and not too wide. Each quote is
        carried by half the move of the spot since its own instant: near the money that is its delta, and of
        a pair quoted at one instant it is the whole move.

        ``now_ns``: UTC nanoseconds.
        ``spot``, ``years``, ``rate``: Price of the underlying, currency per unit; time to expiry, above 0;
        continuous rate a year.
        ``dividends``, ``borrow``: Known cash dividends that are ahead, and the yield beside them so far, a
        fraction a year.
        """
        strikes = self._expiries[_key(contract)[:3]]
        underlying = self._instruments.id_of(contract.underlying)
        near, quotes = bisect_left(strikes, spot, key=itemgetter(0)), self._state.quotes
        rows = []
        for price, strike in strikes[max(near - _PAIRS_EACH_SIDE, 0) : near + _PAIRS_EACH_SIDE]:
            if strike.call is None or strike.put is None:
                continue
            call, put = quotes[strike.call], quotes[strike.put]
            if (
                call is None
                or put is None
                or _is_wide(call, strike.few_ticks)
                or _is_wide(put, strike.few_ticks)
            ):
                continue
            if all(self._state.verdict(leg, now_ns) in TRADABLE for leg in (strike.call, strike.put)):
                up, down = (0.5 * self._moved_since(underlying, quote, spot) for quote in (call, put))
                rows.append((price, call.bid + up, call.ask + up, put.bid - down, put.ask - down))
        if len(rows) < _LEAST_PAIRS:
            return None
        found = implied_forward(
            *np.array(rows).T,
            spot=spot,
            years=years,
            rate=rate,
            style=contract.style.value,
            schedule=dividends,
            later_borrow=borrow if dividends else 0.0,
        )
        return found if found.status is ForwardStatus.OK else None

    def _moved_since(self, underlying: InstrumentId, quote: QuoteEvent, spot: float) -> float:
        then = self._state.quote_in_force(underlying, quote.ts_event_ns)
        return 0.0 if then is None else spot - mark_price(then)

    def smile(
        self,
        contract: OptionContract,
        now_ns: int,
        forward: float,
        years: float,
        variance_years: float,
    ) -> ExpirySmile | None:
        """Return the smile of a contract's expiry from its latest quotes, each at the spot of its instant.

        Each strike gives its out-of-the-money leg, where it is quoted two-sided, fresh and not too wide; None
        without any. The fit is that of whole chains, :class:`SmileFit`. Its quotes are not those of
        :func:`fit_chain`, which takes every strike, stale or wide, inverts bid and ask, and measures the
        forward for it: the desk asks at each look, and by the carry that its marks go by.

        ``now_ns``: UTC nanoseconds.
        ``forward``: Of the expiry, currency per unit.
        ``years``, ``variance_years``: To expiry, by the calendar and on the variance clock; above 0.
        """
        if self._known != len(self._instruments):
            self._learn()
        chain = self._chain(_key(contract)[:3])
        is_call = chain.price >= forward
        numbers = np.where(is_call, chain.call, chain.put)
        table = self._state.table(numbers)
        bid, ask = table.bid, table.ask
        width = ask - bid
        is_wide = (width > _WIDEST_SPREAD * (0.5 * (bid + ask))) & (width > chain.few_ticks)
        used = np.flatnonzero(self._state.are_fine(table, numbers, now_ns) & ~is_wide)
        if not len(used):
            return None
        if len(used) > MOST_STRIKES:
            step = (len(used) - 1) / (MOST_STRIKES - 1)
            used = used[[round(step * number) for number in range(MOST_STRIKES)]]
        stamps, underlying = table.ts_event_ns[used].tolist(), self._instruments.id_of(contract.underlying)
        then = self._state.quotes_in_force(underlying, stamps)
        if None in then:
            kept = [place for place, quote in enumerate(then) if quote is not None]
            used, stamps = used[kept], [stamps[place] for place in kept]
        if not stamps:
            return None
        spots = np.array([mark_price(quote) for quote in then if quote is not None])
        prices, half = chain.price[used], 0.5 * width[used]
        mid = 0.5 * (bid[used] + ask[used])
        vol, vega = self._quote_vols(contract, LegQuotes(prices, is_call[used], mid, spots, stamps))
        known = vega > 0.0
        if not known.all():
            prices, half, vol, vega = prices[known], half[known], vol[known], vega[known]
        if not known.any():
            return None
        k = np.array([math.log(price / forward) for price in prices.tolist()])
        half_width = np.minimum(half / vega, 0.9 * vol)
        svi = SmileFit(k, vol - half_width, vol + half_width, years).free()
        return ExpirySmile(forward, years, variance_years, svi, len(k), (k[0], k[-1]))

    def _chain(self, key: tuple[str, str, date]) -> _Chain:
        found = self._chains.get(key)
        if found is None:
            listed = [strike for _, strike in self._expiries[key]]
            call = np.array([-1 if each.call is None else each.call for each in listed])
            put = np.array([-1 if each.put is None else each.put for each in listed])
            legs, few_ticks = np.concatenate((call, put)), np.array([each.few_ticks for each in listed])
            price = np.array([each.price for each in listed])
            found = self._chains[key] = _Chain(price, call, put, legs[legs >= 0], few_ticks)
        return found

    def _learn(self) -> None:
        for number, instrument in enumerate(self._instruments):
            if instrument.is_option:
                key = _key(instrument)
                if key not in self._strikes:
                    underlying = self._instruments.id_of(instrument.underlying)
                    self._strikes[key] = _Strike(
                        float(instrument.strike),
                        underlying,
                        expiry_instant_ns(instrument),
                        _FEW_TICKS * float(instrument.tick_rule.below),
                        self._half_life_seconds,
                    )
                strike = self._by_symbol[instrument.symbol] = self._strikes[key]
                if instrument.is_call:
                    strike.call = InstrumentId(number)
                else:
                    strike.put = InstrumentId(number)
        self._expiries, self._chains = {}, {}
        for key in sorted(self._strikes):
            strike = self._strikes[key]
            self._expiries.setdefault(key[:3], []).append((strike.price, strike))
        self._known = len(self._instruments)

    def _vol_of(self, strike: _Strike, leg: InstrumentId, quote: QuoteEvent) -> tuple[float, float] | None:
        return None if _is_wide(quote, strike.few_ticks) else self._quote_vol(leg, quote)

    def _take(
        self, strike: _Strike, known: _Measured, quote: QuoteEvent, found: tuple[float, float] | None
    ) -> bool:
        """Take in a quote of the leg out of the money, where it tells the volatility and is no older one.

        Return False where the level that it shows is passed over.
        """
        if found is None:
            return True
        vol, vega = found
        deviation = (quote.ask - quote.bid) / (2.0 * math.sqrt(3.0) * vega) if vega > 0.0 else math.inf
        at_ns = quote.ts_event_ns
        since = known.measured_ns or at_ns
        if deviation > _LARGEST_DEVIATION or at_ns < since:
            return True
        to_clock = self._terms.to_clock(strike.expires_ns, at_ns)
        by_clock = vol * to_clock, deviation * to_clock
        if isinstance(known.filter, VolAverage):
            known.filter.average((at_ns - since) / NANOS_PER_SECOND, *by_clock)
            is_taken = True
        else:
            if since < self._state.opened_ns <= at_ns:
                known.filter.begin_session()
            is_taken = known.filter.update(self._terms.variance_years(since, at_ns), *by_clock)
        known.measured_ns = at_ns
        return is_taken


def _is_wide(quote: QuoteEvent, few_ticks: float) -> bool:
    """Return whether a quote is too wide to measure a volatility, or has no two sides; currency per unit."""
    width = quote.ask - quote.bid
    is_two_sided = quote.bid > 0.0 and width >= 0.0
    return not is_two_sided or (width > _WIDEST_SPREAD * quote.mid and width > few_ticks)


def _key(contract: OptionContract) -> tuple[str, str, date, Decimal]:
    return contract.root, contract.underlying, contract.expiry, contract.strike
