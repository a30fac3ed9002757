"""Worth of options and sum of Greeks, from positions, market and pricing model.

Values are computed on request and cached: equal requests at one instant are computed once.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Proxy, Style
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.settlement import MEAN_MINUTES
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.carry import SHORT_CARRY_YEARS
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import OptionVols, SharedSmiles
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.quoted_vols import OptionFacts
from scalpdesk.portfolio.strike_vols import ExpirySmile, StrikeVol
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.pricing.base import OptionGreeks, Schedule
from scalpdesk.pricing.scalar import PricedState
from scalpdesk.volatility.variance_time import US_SESSIONS, VarianceClock

DEEP_FROM, DEEP_WHOLLY = 0.25, 0.5
"""Standard deviations in the money from which a mark leaves its mid, and from which parity gives it:
deltas of 0.60 and 0.69.
"""
AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call
_MODEL_DECIMALS = 8
"""Decimals of a mark that the model gives: fine enough for a premium in coin."""


class OptionState(Leaf, gc=False):
    """Worth of one option at an instant; prices in currency per unit of the underlying."""

    mark: float
    """Value of one unit in the books."""
    spot: float
    years: float
    rate: float
    own_vol: float
    """That of its mid at the spot of its own quote, a fraction a year; deep in the money that of its strike's
    other leg; the last known one while no quote gives any."""
    vol_is_fresh: bool
    contract: OptionContract
    pricer: ContractPricer
    dividend_yield: float = 0.0
    """Continuous yield that with the rate and the known dividends carries the spot to the forward, a year."""
    is_modelled: bool = False
    """Whether the quote was lost or shows no price: the volatility is the last known, or its strike's."""
    deviation: float = 0.0
    """Three standard deviations of the logarithm of such a volatility."""
    since_ns: int = 0
    """When its last quote was made that showed a price, UTC nanoseconds; 0 while the latest one does."""
    least: float = 0.0
    most: float = math.inf
    """``least``, ``most``: What its quote forbids to be worth less, or more, currency per unit."""
    dividends: Schedule = ()
    """Cash dividends before the expiry that were known."""
    strike_vol: StrikeVol | None = None
    """Volatility of its strike, common to call and put, as the desk has observed it."""
    is_forward_assumed: bool = False
    """Whether the yield is the configured one because quotes could not show another yet."""
    own_mark_vol: float = -1.0
    """Once it was asked for; NaN without any; see :attr:`mark_vol`."""
    known_vol: float = -1.0
    known_greeks: OptionGreeks | None = None
    """``known_vol``, ``known_greeks``: The volatility that was asked of last, and the Greeks at it."""

    @property
    def low(self) -> float:
        """The least it may be worth, currency per unit: the mark where a quote shows it."""
        return self._at_deviation(-self.deviation) if self.is_modelled else self.mark

    @property
    def high(self) -> float:
        """The most it may be worth, currency per unit: the mark where a quote shows it."""
        return self._at_deviation(self.deviation) if self.is_modelled else self.mark

    def _at_deviation(self, deviation: float) -> float:
        price = self.greeks_at(self.own_vol * math.exp(deviation)).price
        return min(max(price, self.least), self.most)

    def greeks_at(self, vol: float) -> OptionGreeks:
        """Return price and Greeks here and now at any volatility."""
        if self.known_greeks is None or vol != self.known_vol:
            terms = self.contract, self.spot, self.years, vol, self.rate, self.dividend_yield, self.dividends
            self.known_vol, self.known_greeks = vol, self.pricer.greeks(*terms)
        return self.known_greeks

    @property
    def vol(self) -> float:
        """Volatility that is believed, a fraction a year: that of its strike, else its own."""
        return self.own_vol if self.strike_vol is None else self.strike_vol.vol

    @property
    def greeks(self) -> OptionGreeks:
        """Price and Greeks at the volatility that is believed: hedges, caps, edge and pages go by them."""
        return self.greeks_at(self.vol)

    @property
    def tells_vol(self) -> bool:
        """Whether its mark determines a volatility."""
        return self.contract.tells_vol(Decimal(self.mark), self.greeks.vega)

    @property
    def mark_vol(self) -> float | None:
        """Volatility that gives the mark at the spot of now, by which the P&L is explained; None without any.

        The spot may have moved since the quote: of an old mid it says more about that than about volatility.
        """
        if self.is_modelled:
            return self.own_vol
        if self.own_mark_vol == -1.0:
            carry = self.rate, self.dividend_yield, self.dividends
            terms = self.contract, self.mark, self.spot, self.years
            found = self.pricer.implied_vol(*terms, *carry) if self.years > 0.0 else None
            self.own_mark_vol = math.nan if found is None else found
        return None if math.isnan(self.own_mark_vol) else self.own_mark_vol


class OptionValuer(Protocol):
    """Worth of options: one answer, which no question changes."""

    def state(self, instrument_id: InstrumentId, now_ns: int) -> OptionState | None:
        """Return what one option is worth; see :meth:`DeltaEngine.state`."""
        ...

    def greeks_at(self, instrument_id: InstrumentId, now_ns: int, vol: float) -> OptionGreeks | None:
        """Return the Greeks of an option at a given volatility."""
        ...

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry from its latest quotes; see :meth:`DeltaEngine.smile`."""
        ...

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike."""
        ...

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the run's variance clock between two instants (UTC nanoseconds)."""
        ...

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity."""
        ...

    def knows_forward(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether an option's forward was shown by quotes; see :meth:`OptionVols.knows_forward`."""
        ...

    def position_greeks(self, held: Iterable[Position], now_ns: int) -> PositionGreeks:
        """Sum the Greeks of positions."""
        ...

    def follow(self, numbers: Iterable[InstrumentId], now_ns: int, *, smile: bool = False) -> None:
        """Measure the forwards of options' expiries from now on; see :meth:`DeltaEngine.follow`."""
        ...


class ModelMarks:
    """Values options by the model, all of them at one spot and one instant: those of its latest quote.

    Of a quote older than that, its volatility counts; of one that is lost or lacks a side that of others;
    deep in the money that of its strike's other leg.

    ``pricer``, ``terms``, ``vols``, ``state``: The pricing model; time to expiry and rates; the volatilities
    of options; the latest market.
    """

    def __init__(
        self, pricer: ContractPricer, terms: TimeAndRate, vols: OptionVols, state: MarketState
    ) -> None:
        self._pricer, self._terms, self._vols, self._state = pricer, terms, vols, state

    def unseen(
        self,
        option: OptionFacts,
        quote: QuoteEvent,
        spot_quote: QuoteEvent,
        dividend_yield: float,
    ) -> OptionState | None:
        """Value an option whose quote was lost or lacks a side, as of its underlying's latest quote.

        A lost one at the volatility that hedges go by, one that lacks a side at its own last one; deep in the
        money at that of its strike's other leg. Within the side that is known, and not below its payoff. None
        without a volatility.
        """
        contract, spot, now_ns = option.contract, mark_price(spot_quote), self._as_of(option, spot_quote)
        (vol, deviation), (other, part) = (
            self._vols.unseen(option, now_ns),
            self._parity(option, spot, now_ns),
        )
        if part > 0.0:
            vol = other if vol is None else vol + part * (other - vol)
        if vol is None:
            vol = self._vols.without_quotes(option, now_ns)
            if not vol > 0.0:
                return None
        found = self._at(option, spot, now_ns, dividend_yield, vol)
        found.is_modelled, found.deviation = True, deviation
        found.since_ns = self._vols.shown_ns(option) or quote.ts_event_ns
        if contract.style is AMERICAN:
            found.least = contract.payoff(spot)
        if not (self._state.is_lost(option.instrument_id) or self._state.is_contradicted(quote)):
            found.least = quote.bid if quote.bid > 0.0 else found.least
            found.most = quote.ask if quote.ask > 0.0 else math.inf
            price = min(max(found.mark, found.least), found.most)
            if price != found.mark:
                found = self._priced(found, price)
        return found

    def deep(
        self, option: OptionFacts, quote: QuoteEvent, spot_quote: QuoteEvent, dividend_yield: float
    ) -> OptionState | None:
        """Value an option in the money by the volatility of its strike's other leg; None near the money.

        Its own drowns in the width and the age of its quote. From :data:`DEEP_FROM` to :data:`DEEP_WHOLLY`
        deviations in the money the mark goes over from the mid to what parity says.
        """
        spot, now_ns = mark_price(spot_quote), self._as_of(option, spot_quote)
        vol, part = self._parity(option, spot, now_ns)
        if not part > 0.0:
            return None
        found = self._at(option, spot, now_ns, dividend_yield, vol)
        found.vol_is_fresh = True
        if part < 1.0:
            own = self.carried(option, quote, spot_quote, dividend_yield)
            mid = mark_price(quote) if own is None else own.mark
            found = self._priced(found, part * found.mark + (1.0 - part) * mid)
            if own is not None:
                found.own_vol = part * vol + (1.0 - part) * own.own_vol
        return found

    def carried(
        self, option: OptionFacts, quote: QuoteEvent, spot_quote: QuoteEvent, dividend_yield: float
    ) -> OptionState | None:
        """Value an option whose quote is older than the spot; None where the quote gives no volatility.

        Its mid is a price at the spot of its own instant. Of two legs of a strike one would count at the spot
        of now and the other at that of seconds ago.
        """
        own, now_ns = self._vols.quoted.of(option, quote), self._as_of(option, spot_quote)
        if own is None or not option.expires_ns > now_ns:
            return None
        vol = self._terms.carried(own.vol, option.expires_ns, quote.ts_event_ns, now_ns)
        found = self._at(option, mark_price(spot_quote), now_ns, dividend_yield, vol)
        found.vol_is_fresh, found.own_mark_vol = True, vol
        return found

    def _as_of(self, option: OptionFacts, spot_quote: QuoteEvent) -> int:
        """Return the instant of a model's price: that of the spot, at an open after its dividend."""
        now_ns = spot_quote.ts_recv_ns
        return self._vols.after_open(now_ns) if option.carry.dividends else now_ns

    def _parity(self, option: OptionFacts, spot: float, now_ns: int) -> tuple[float, float]:
        """Return the volatility of a strike's other leg, and to what part it counts; 0 near the money."""
        years = self._terms.years(option.expires_ns, now_ns)
        if not option.side * (spot - option.strike) > 0.0 or not spot > 0.0:
            return 0.0, 0.0
        if option.carry.is_assumed and years > SHORT_CARRY_YEARS:
            return 0.0, 0.0  # a dividend may lie ahead that no quotes have shown yet: parity tells nothing
        vol = self._vols.of_other_leg(option, now_ns)
        if vol is None:
            return 0.0, 0.0
        forward = self._vols.forward(option, spot, now_ns)
        depth = option.side * math.log(forward / option.strike) / (vol * math.sqrt(years))
        return vol, min(max((depth - DEEP_FROM) / (DEEP_WHOLLY - DEEP_FROM), 0.0), 1.0)

    def _at(
        self, option: OptionFacts, spot: float, now_ns: int, dividend_yield: float, vol: float
    ) -> OptionState:
        years, contract, dividends = (
            self._terms.years(option.expires_ns, now_ns),
            option.contract,
            option.carry.dividends,
        )
        terms = spot, years, self._terms.rate(years), vol
        found = OptionState(0.0, *terms, False, contract, self._pricer, dividend_yield, dividends=dividends)
        found.mark = round(found.greeks.price, _MODEL_DECIMALS)
        return found

    def _priced(self, found: OptionState, price: float) -> OptionState:
        """Return a valuation with another mark, at the volatility of it."""
        terms = (price, found.spot, found.years, found.rate, found.dividend_yield, found.dividends)
        vol = self._pricer.implied_vol(found.contract, *terms) or found.own_vol
        mark = round(price, _MODEL_DECIMALS)
        return msgspec.structs.replace(found, mark=mark, own_vol=vol, known_greeks=None, own_mark_vol=vol)

    def state(
        self, option: OptionFacts, valuation: OptionState, now_ns: int, vol: float | None
    ) -> PricedState | None:
        """Return the state in which an option's mark is valued, on the variance clock.

        ``option``, ``valuation``, ``now_ns``: The option, its valuation as books are marked, and its instant
        in UTC nanoseconds.
        ``vol``: Volatility per root year of the variance clock in which the interval began. It stands where
        no quote tells another, and of an inverse option while it prices the mid to half a tick. None at the
        first look, which has no state without a volatility.
        """
        by_clock, years = self._terms.variance_left(option.expires_ns, now_ns), valuation.years
        if by_clock > 0.0 and valuation.own_vol > 0.0:
            scale, own = math.sqrt(years / by_clock), valuation.mark_vol
            if option.is_inverse and not valuation.is_modelled:
                vol = (own or valuation.own_vol) if vol is None else vol / scale
                vol = self._vols.quoted.within_tick(option.contract, vol) * scale
            elif vol is None or own is not None:
                vol = (own or valuation.own_vol) * scale
        if vol is None:
            return None
        carry = (0.0, 0.0) if option.is_inverse else (valuation.rate, valuation.dividend_yield)
        return PricedState(valuation.spot, vol, by_clock, years, *carry, valuation.dividends)

    def at_carry(
        self,
        contract: OptionContract,
        state: PricedState,
        rate: float,
        dividend_yield: float,
        dividends: Schedule = (),
    ) -> tuple[PricedState, OptionGreeks] | None:
        """Return the state of the same price at another carry, and its Greeks; None without one."""
        if not (state.years > 0.0 and state.variance_years > 0.0):
            return None
        to_calendar = math.sqrt(state.variance_years / state.years)
        spot, years, priced = state.spot, state.years, self._pricer.greeks
        was = state.rate, state.dividend_yield
        old = priced(contract, spot, years, state.vol * to_calendar, *was, state.dividends)
        vol = self._pricer.implied_vol(contract, old.price, spot, years, rate, dividend_yield, dividends)
        if vol is None:
            return None
        is_now = rate, dividend_yield
        new = PricedState(spot, vol / to_calendar, state.variance_years, years, *is_now, dividends)
        return new, priced(contract, spot, years, vol, rate, dividend_yield, dividends)


class DeltaEngine:
    """Values options at the latest market and sums the Greeks of positions.

    No question leaves a trace, whoever asks. The desk's engine teaches it what it holds, by :meth:`learn` at
    each wake; what somebody wants to ask of, they :meth:`follow`.

    ``instruments``, ``state``: Instruments of the run and the latest market.
    ``pricer``: The pricing model.
    ``dividend_yield``: Continuous yield of an underlying that ``dividend_yields`` does not name, a fraction a
    year.
    ``dividend_yields``: Continuous yields by underlying, fractions a year.
    ``by_parity``: Whether quotes of calls and puts correct the yield to that of their forward.
    ``floor_seconds``: Smallest time to expiry used in pricing before the expiry instant, in seconds.
    ``flat_rate``: One rate for all maturities (fraction a year); None uses the market's curve.
    ``clock``: Variance clock of theta and implied variance.
    ``vol_half_life_seconds``: Of an exponentially weighted mean of each strike's volatility, in the Kalman
    filter's place.
    ``smiles``: Those that runs over one market with equal terms share; None: it fits its own.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        pricer: ContractPricer,
        *,
        dividend_yield: float = 0.0,
        dividend_yields: Mapping[str, float] = MappingProxyType({}),
        by_parity: bool = True,
        floor_seconds: float = 1.0,
        flat_rate: float | None = None,
        clock: VarianceClock = US_SESSIONS,
        vol_half_life_seconds: float | None = None,
        smiles: SharedSmiles | None = None,
    ) -> None:
        self._instruments = instruments
        self._state = state
        self._pricer = pricer
        pricer.mean_fixed = self._mean_fixed
        self._fixings: dict[tuple[InstrumentId, int], list[float]] = {}
        """By underlying and expiry: its price at each half minute of the settlement window so far; NaN
        unknown."""
        self.proxies: Final[dict[InstrumentId, Proxy]] = {}
        """Instruments that hedge another underlying, by their own id."""
        self.terms: Final = TimeAndRate(state, floor_seconds=floor_seconds, flat_rate=flat_rate, clock=clock)
        self.vols: Final = OptionVols(
            instruments,
            state,
            pricer,
            self.terms,
            lambda symbol: dividend_yields.get(symbol, dividend_yield),
            by_parity=by_parity,
            half_life_seconds=vol_half_life_seconds,
            smiles=smiles,
        )
        self.models: Final = ModelMarks(pricer, self.terms, self.vols, state)
        self._states: dict[InstrumentId, tuple[tuple[int, int, int], OptionState]] = {}
        """Last answers, each with all that it may depend on: instant, market and what was learnt by then."""

    def follow(self, numbers: Iterable[InstrumentId], now_ns: int, *, smile: bool = False) -> None:
        """Measure forwards of options' expiries now and each quarter hour, and keep quotes of their spots.

        With ``smile`` the smile of what is held there is kept, too, renewed each minute: see :meth:`skew`.
        """
        for number in numbers:
            option = self.vols.options.get(number) or self.vols.facts(number)
            if option is not None and not (option.carry.is_followed and option.carry.has_smile >= smile):
                self.vols.follow(option, now_ns)
                if smile and not option.carry.has_smile:
                    option.carry.has_smile = True
                    self.vols.learn(option, now_ns, keeps=True)

    def learn(
        self, held: Iterable[OptionFacts], now_ns: int, of: InstrumentId | None = None, *, keeps: bool
    ) -> None:
        """Take in the latest quotes of what is held.

        ``now_ns`` in UTC nanoseconds. ``of``: the one underlying that it concerns. ``keeps``: For good, with
        the forwards that are due; else the quotes of now count until the next look.
        """
        self.vols.look(now_ns, of, keeps=keeps)
        last: OptionFacts | None = None
        for option in held:
            # call and put of a strike, one after the other, have one volatility
            is_other = last is None or option.carry is not last.carry or option.strike != last.strike
            self.vols.learn(option, now_ns, keeps=keeps, of_strike=is_other)
            last = option

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the variance clock between two instants; by the calendar where it knows no more."""
        return self.terms.variance_years(start_ns, end_ns)

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity, a fraction a year."""
        return self.terms.rate(years)

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike; None without a smile.

        Of the smile that :meth:`follow` keeps.
        """
        option = self.vols.facts(instrument_id)
        return None if option is None else self.vols.skew(option, now_ns)

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry from its latest quotes; see :meth:`OptionVols.smile`."""
        option = self.vols.facts(instrument_id)
        return None if option is None else self.vols.smile(option, now_ns)

    def knows_forward(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether an option's forward was shown by quotes; see :meth:`OptionVols.knows_forward`."""
        return self.vols.knows_forward(instrument_id, now_ns)

    def vol_at_carry(self, then: OptionState, now: OptionState) -> float:
        """Return the volatility of an earlier valuation's mark at the rate and yield of a later one."""
        terms = then.mark, then.spot, then.years, now.rate, now.dividend_yield, now.dividends
        return self._pricer.implied_vol(then.contract, *terms) or then.own_vol

    def state(self, instrument_id: InstrumentId, now_ns: int) -> OptionState | None:
        """Return what an option is worth: by its mid, or by the model where no quote of now tells it.

        The model values an option whose quote is older than the spot, lost or shows no price, and one deep in
        the money: every leg counts at one spot and one instant. None for what is no option, and while it or
        its underlying was never quoted. ``now_ns`` in UTC nanoseconds.
        """
        known, rests_on = self._states.get(instrument_id), (now_ns, self._state.version, self.vols.learnt)
        if known is not None and known[0] == rests_on:
            return known[1]
        vols = self.vols
        # nearly always known: a call less
        option = vols.options.get(instrument_id) or vols.facts(instrument_id)
        if option is None:
            return None
        quotes = self._state.quotes
        quote, spot_quote = quotes[instrument_id], quotes[option.underlying]
        if quote is None or spot_quote is None:
            return None
        spot, carry = mark_price(spot_quote), option.carry
        if not spot > 0.0:  # a quote of the underlying without a price
            return None
        # nearly always it is followed: a call less
        dividend_yield = carry.dividend_yield if carry.is_followed else vols.yield_of(option, now_ns)
        found: OptionState | None = None
        if now_ns < option.expires_ns:
            if not self._is_worth_its_mid(option, quote, spot_quote):
                is_lost = spot_quote.ts_recv_ns - quote.ts_recv_ns > self._state.lost_ns[instrument_id]
                is_seen = not is_lost and self._state.shows_price(quote)
                value = self.models.deep if is_seen else self.models.unseen
                found = value(option, quote, spot_quote, dividend_yield)
            if found is None and quote.ts_event_ns < spot_quote.ts_event_ns:
                found = self.models.carried(option, quote, spot_quote, dividend_yield)
        if found is None:
            contract, ahead, own = option.contract, carry.dividends, vols.quoted.of(option, quote)
            years, vol = self.terms.years(option.expires_ns, now_ns), None if own is None else own.vol
            rate, mark = self.terms.rate(years), self._state.quoted_mark(quote)
            if vol is None and years > 0.0:
                vol = self._pricer.implied_vol(contract, mark, spot, years, rate, dividend_yield, ahead)
            is_fresh = vol is not None and years > 0.0
            vol = vols.strikes.last(contract, now_ns) if vol is None else vol
            terms = mark, spot, years, rate, vol
            found = OptionState(*terms, is_fresh, contract, self._pricer, dividend_yield, dividends=ahead)
        found.strike_vol, found.is_forward_assumed = vols.strike_vol(option, now_ns), carry.is_assumed
        if not carry.is_followed:
            found.is_forward_assumed = vols.carry.is_assumed(carry, now_ns)
        self._states[instrument_id] = rests_on, found
        return found

    def _mean_fixed(self, contract: OptionContract, years: float) -> float | None:
        """Return the mean of the underlying from the begin of an option's settlement window until an instant.

        Every half minute, as the index is fixed; None before the first quote in it.
        """
        ends_ns = expiry_instant_ns(contract)
        at_ns, starts_ns = (
            ends_ns - round(years * SECONDS_PER_YEAR * NANOS_PER_SECOND),
            ends_ns - MEAN_MINUTES * MINUTE_NS,
        )
        share, step = self._instruments.id_of(contract.underlying), MINUTE_NS // 2
        fixings, count = self._fixings.setdefault((share, ends_ns), []), (at_ns - starts_ns) // step
        if len(fixings) < count:
            stamps = tuple(starts_ns + step * place for place in range(len(fixings) + 1, count + 1))
            quotes = self._state.quotes_in_force(share, stamps)
            fixings += [math.nan if quote is None else quote.mid for quote in quotes]
        known = [fixing for fixing in fixings[:count] if fixing > 0.0]
        return sum(known) / len(known) if known else self._state.mark(share)

    def to_clock(self, contract: OptionContract, now_ns: int) -> float:
        """Return what turns an option's volatility by the calendar into that on the variance clock."""
        return self.terms.to_clock(expiry_instant_ns(contract), now_ns)

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the mark of one unit, currency per unit, as of the underlying's latest quote.

        The mid; an option's is that of its :meth:`state`, at the spot of that quote. None when never quoted.
        """
        market, quotes = self._state, self._state.quotes
        quote, option = quotes[instrument_id], self.vols.options.get(instrument_id)
        if quote is None:
            return None
        option = option or self.vols.facts(instrument_id)
        if option is None:
            return mark_price(quote)
        spot = quotes[option.underlying]
        if (
            spot is not None
            and not quote.ts_event_ns < spot.ts_event_ns
            and self._is_worth_its_mid(option, quote, spot)
        ):
            return 0.5 * (quote.bid + quote.ask)
        now_ns = 0 if spot is None else spot.ts_recv_ns
        if option.carry.dividends:
            now_ns = self.vols.after_open(now_ns)
        found = self.state(instrument_id, now_ns)
        return market.quoted_mark(quote) if found is None else found.mark

    def _is_worth_its_mid(self, option: OptionFacts, quote: QuoteEvent, spot: QuoteEvent) -> bool:
        """Return whether an option that is not in the money has a quote that shows its price, not lost."""
        market, number = self._state, option.instrument_id
        return (
            spot.ts_recv_ns - quote.ts_recv_ns <= market.lost_ns[number]
            and quote.bid > 0.0
            and 0.0 <= quote.ask - quote.bid <= market.widest[number]
            and not option.side * (0.5 * (spot.bid + spot.ask) - option.strike) > 0.0
            and not market.is_contradicted(quote)
        )

    def greeks_at(self, instrument_id: InstrumentId, now_ns: int, vol: float) -> OptionGreeks | None:
        """Return the Greeks of an option at a given volatility."""
        option = self.vols.facts(instrument_id)
        spot = None if option is None else self._state.mark(option.underlying)
        if option is None or spot is None:
            return None
        contract, years = option.contract, self.terms.years(option.expires_ns, now_ns)
        carry = self.terms.rate(years), self.vols.yield_of(option, now_ns), option.carry.dividends
        return self._pricer.greeks(contract, spot, years, vol, *carry)

    def delta_of(self, position: Position, mark: float) -> float:
        """Return the delta of a position in what is no option at a mark, in units of what it hedges."""
        proxy = self.proxies.get(position.instrument_id)
        if proxy is None:
            return position.instrument.delta(position.float_quantity, mark)
        spot = self._state.mark(proxy.underlying_id)
        if spot is None:  # before its first quote: as if it hedged itself
            return position.instrument.delta(position.float_quantity, mark)
        return proxy.delta(position.instrument, position.float_quantity, mark, spot)

    def position_greeks(self, held: Iterable[Position], now_ns: int) -> PositionGreeks:
        """Sum the Greeks of positions, per option contracts times multiplier, and the shares.

        An inverse contract counts in coin at its mark, and not at all before its first quote.
        """
        total = GreekSum()
        for position in held:
            units = position.float_quantity * position.multiplier
            state = self.state(position.instrument_id, now_ns)
            instrument = self._instruments[position.instrument_id]
            if state is not None:
                total.add(units, state.greeks, state.years)
            elif not instrument.is_option:
                mark = self.mark(position.instrument_id)
                if mark is None and not instrument.is_inverse:
                    mark = float(position.average_price)
                if mark is not None:
                    total.shares += self.delta_of(position, mark)
        return total.total()
