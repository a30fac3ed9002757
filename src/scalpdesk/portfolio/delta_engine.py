"""Valuation of options and sum of Greeks, from positions, market and pricing model.

Values are computed on request and cached: equal requests at one instant are computed once.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Proxy, Style
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.carry import SHORT_CARRY_YEARS, ExpiryCarry
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import OptionVols
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
MODEL_DECIMALS = 8
"""Decimals of a mark that the model gives: fine enough for a premium in coin."""


class Valuation(Leaf, gc=False):
    """Valuation of one option; prices in currency per unit of the underlying."""

    quoted: float | None
    """Mark that quotes give; None where it is the model's value."""
    spot: float
    years: float
    rate: float
    vol: float
    """Implied volatility of the mark as a fraction a year; the last known one while no quote gives it."""
    vol_is_fresh: bool
    contract: OptionContract
    pricer: ContractPricer
    dividend_yield: float = 0.0
    """Continuous yield that with the rate and the known dividends carries the spot to the forward, a year."""
    own_greeks: OptionGreeks | None = None
    """At its own volatility, once they were asked for; see :attr:`greeks`."""
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

    @property
    def mark(self) -> float:
        """Value of one unit, worked out when first asked for where the model gives it."""
        return round(self.greeks.price, MODEL_DECIMALS) if self.quoted is None else self.quoted

    @property
    def low(self) -> float:
        """The least it may be worth, currency per unit: the mark where a quote shows it."""
        return self._at_deviation(-self.deviation) if self.is_modelled else self.mark

    @property
    def high(self) -> float:
        """The most it may be worth, currency per unit: the mark where a quote shows it."""
        return self._at_deviation(self.deviation) if self.is_modelled else self.mark

    def _at_deviation(self, deviation: float) -> float:
        price = self.greeks_at(self.vol * math.exp(deviation)).price
        return min(max(price, self.least), self.most)

    def greeks_at(self, vol: float) -> OptionGreeks:
        """Return price and Greeks here and now at any volatility."""
        terms = self.contract, self.spot, self.years, vol, self.rate, self.dividend_yield, self.dividends
        return self.pricer.greeks(*terms)

    @property
    def greeks(self) -> OptionGreeks:
        """Price and Greeks at its own volatility, worked out when first asked for."""
        if self.own_greeks is None:
            self.own_greeks = self.greeks_at(self.vol)
        return self.own_greeks


Answers = dict[InstrumentId, tuple[int, QuoteEvent, QuoteEvent, Valuation]]
"""Last valuations by one rule, each with its instant and the quotes that it was made from."""


class OptionValuer(Protocol):
    """Read-only interface of :class:`DeltaEngine`."""

    def value(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value one option; see :meth:`DeltaEngine.value`."""
        ...

    def value_at_kept_vol(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value one option at its last volatility; see :meth:`DeltaEngine.value_at_kept_vol`."""
        ...

    def marked(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value one option as books are marked; see :meth:`DeltaEngine.marked`."""
        ...

    def value_together(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Value options ahead of :meth:`value`; see :meth:`DeltaEngine.value_together`."""
        ...

    def greeks_at(self, instrument_id: InstrumentId, now_ns: int, vol: float) -> OptionGreeks | None:
        """Return the Greeks of an option at a given volatility."""
        ...

    def strike_vol(self, instrument_id: InstrumentId, now_ns: int) -> StrikeVol | None:
        """Return the volatility of an option's strike on the smile; see :meth:`DeltaEngine.strike_vol`."""
        ...

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry; see :meth:`StrikeVols.smile`."""
        ...

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike."""
        ...

    def quoted_price(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return what an option's mid is at the spot of now; see :meth:`DeltaEngine.quoted_price`."""
        ...

    def quoted_vol(self, instrument_id: InstrumentId) -> float | None:
        """Return the volatility of an option's mid at its quote; see :meth:`DeltaEngine.quoted_vol`."""
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


class ModelMarks:
    """Values options by the model: those whose quote is lost or lacks a side, and those deep in the money.

    Parameters
    ----------
    pricer, terms, vols, state
        The pricing model; time to expiry and rates; the volatilities of options; the latest market.
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
        *,
        is_lost: bool,
    ) -> Valuation | None:
        """Value an option whose quote was lost or lacks a side, as of its underlying's latest quote.

        A lost one at the volatility that hedges go by, one that lacks a side at its own last one; deep in the
        money at that of its strike's other leg. Within the side that is known, and not below its payoff. None
        without a volatility.
        """
        contract, now_ns, spot = option.contract, spot_quote.ts_recv_ns, mark_price(spot_quote)
        if option.carry.dividends:
            now_ns = self._vols.after_open(now_ns)
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
        if not (is_lost or self._state.is_contradicted(quote)):
            found.least = quote.bid if quote.bid > 0.0 else found.least
            found.most = quote.ask if quote.ask > 0.0 else math.inf
            price = min(max(found.mark, found.least), found.most)
            if price != found.mark:
                found = self._priced(found, price)
        return found

    def deep(
        self, option: OptionFacts, quote: QuoteEvent, spot_quote: QuoteEvent, dividend_yield: float
    ) -> Valuation | None:
        """Value an option in the money by the volatility of its strike's other leg; None near the money.

        Its own drowns in the width and the age of its quote. From :data:`DEEP_FROM` to :data:`DEEP_WHOLLY`
        deviations in the money the mark goes over from the mid to what parity says.
        """
        spot, now_ns = mark_price(spot_quote), spot_quote.ts_recv_ns
        if option.carry.dividends:
            now_ns = self._vols.after_open(now_ns)
        vol, part = self._parity(option, spot, now_ns)
        if not part > 0.0:
            return None
        found = self._at(option, spot, now_ns, dividend_yield, vol)
        if part < 1.0:
            found = self._priced(found, part * found.mark + (1.0 - part) * mark_price(quote))
        found.vol_is_fresh = True
        return found

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
    ) -> Valuation:
        years = self._terms.years(option.expires_ns, now_ns)
        terms = spot, years, self._terms.rate(years), vol
        contract, dividends = option.contract, option.carry.dividends
        return Valuation(None, *terms, False, contract, self._pricer, dividend_yield, dividends=dividends)

    def _priced(self, found: Valuation, price: float) -> Valuation:
        """Return a valuation with another mark, at the volatility of it."""
        terms = (price, found.spot, found.years, found.rate, found.dividend_yield, found.dividends)
        vol = self._pricer.implied_vol(found.contract, *terms) or found.vol
        return msgspec.structs.replace(found, quoted=round(price, MODEL_DECIMALS), vol=vol, own_greeks=None)

    def state(
        self, option: OptionFacts, valuation: Valuation, now_ns: int, vol: float | None
    ) -> PricedState | None:
        """Return the state in which an option's mark is valued, on the variance clock.

        Parameters
        ----------
        option, valuation, now_ns
            The option, its valuation as books are marked, and its instant in UTC nanoseconds.
        vol
            Volatility per root year of the variance clock in which the interval began. It stands where no
            quote tells another, and of an inverse option while it prices the mid to half a tick. None at the
            first look, which has no state without a volatility.
        """
        by_clock, years = self._terms.variance_left(option.expires_ns, now_ns), valuation.years
        if by_clock > 0.0 and valuation.vol > 0.0:
            scale = math.sqrt(years / by_clock)
            if option.is_inverse and not valuation.is_modelled:
                vol = valuation.vol if vol is None else vol / scale
                vol = self._vols.quoted.within_tick(option.contract, vol) * scale
            elif vol is None or valuation.vol_is_fresh or valuation.is_modelled:
                vol = valuation.vol * scale
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

    Pages, terminal and status may ask when they like: between two events a question leaves no trace.

    Parameters
    ----------
    instruments, state
        Instruments of the run and the latest market.
    pricer
        The pricing model.
    dividend_yield
        Continuous yield of an underlying that ``dividend_yields`` does not name, a fraction a year.
    dividend_yields
        Continuous yields by underlying, fractions a year.
    by_parity
        Whether quotes of calls and puts correct the yield to that of their forward.
    floor_seconds
        Smallest time to expiry used in pricing before the expiry instant, in seconds.
    flat_rate
        One rate for all maturities (fraction a year); None uses the market's curve.
    clock
        Variance clock of theta and implied variance.
    vol_half_life_seconds
        Of an exponentially weighted mean of each strike's volatility, in the Kalman filter's place.
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
    ) -> None:
        self._instruments = instruments
        self._state = state
        self._pricer = pricer
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
        )
        self.models: Final = ModelMarks(pricer, self.terms, self.vols, state)
        self._kept_vols: dict[InstrumentId, tuple[QuoteEvent, float]] = {}
        """Volatilities that decisions have found, and the quotes that they are of."""
        self._values: Answers = {}
        self._at_kept_vol: Answers = {}
        self._marks: Answers = {}
        self._held: Answers = {}
        self._answers = self._values, self._at_kept_vol, self._marks, self._held

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the variance clock between two instants; by the calendar where it knows no more."""
        return self.terms.variance_years(start_ns, end_ns)

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity, a fraction a year."""
        return self.terms.rate(years)

    def quoted_vol(self, instrument_id: InstrumentId) -> float | None:
        """Return the volatility of an option's mid at its quote; see :meth:`OptionVols.quoted_vol`."""
        return self.vols.quoted_vol(instrument_id)

    def strike_vol(self, instrument_id: InstrumentId, now_ns: int) -> StrikeVol | None:
        """Return the volatility of an option's strike; see :meth:`OptionVols.strike_vol`."""
        return self.vols.strike_vol(instrument_id, now_ns)

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike; None without a smile."""
        return self.vols.skew(instrument_id, now_ns)

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry from its latest quotes; see :meth:`OptionVols.smile`."""
        return self.vols.smile(instrument_id, now_ns)

    def knows_forward(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether an option's forward was shown by quotes; see :meth:`OptionVols.knows_forward`."""
        return self.vols.knows_forward(instrument_id, now_ns)

    def vol_at_carry(self, then: Valuation, now: Valuation) -> float:
        """Return the volatility of an earlier valuation's mark at the rate and yield of a later one."""
        terms = then.mark, then.spot, then.years, now.rate, now.dividend_yield, now.dividends
        return self._pricer.implied_vol(then.contract, *terms) or then.vol

    def forget_answers(self) -> None:
        """Value again what was valued at this instant: prices have changed without a quote."""
        for answers in self._answers:
            answers.clear()

    def value(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value an option, to decide on, at the volatility that its mid has at the spot of now.

        None while it or its underlying was never quoted. ``now_ns`` in UTC nanoseconds.
        """
        return self._answer(self._values, instrument_id, now_ns)

    def value_at_kept_vol(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value an option, to decide on, at the volatility that a decision has found for its quote before.

        For a delta between two updates, when the spot has moved and the option's quote has not. Before the
        first one as :meth:`value`. Only these two and :meth:`value_together` set that volatility: marks, caps
        and pages read it of the quote at its own instant.
        """
        return self._answer(self._at_kept_vol, instrument_id, now_ns, by_quote=True)

    def marked(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value an option as books are marked: as :meth:`value`, and deep in the money by parity."""
        return self._answer(self._marks, instrument_id, now_ns, is_mark=True)

    def held(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value an option as what is held is shown and capped: at its mark, with the Greeks of its hedge.

        They are those of the volatility that hedges were sized with last; without it, of its quote's.
        """
        found = self._answer(self._held, instrument_id, now_ns, by_quote=True, is_mark=True)
        return None if found is None else self.as_hedged(found, instrument_id, now_ns)

    def _answer(
        self,
        answers: Answers,
        instrument_id: InstrumentId,
        now_ns: int,
        *,
        by_quote: bool = False,
        is_mark: bool = False,
    ) -> Valuation | None:
        """Value an option by its mid, or by the model where its quote is lost or shows no price.

        ``by_quote`` takes the volatility that is kept with its quote; ``is_mark`` that of the quote's own
        instant, and values by parity what is deep in the money.
        """
        vols = self.vols
        option = vols.options.get(instrument_id) or vols.facts(
            instrument_id
        )  # nearly always known: a call less
        if option is None:
            return None
        quotes = self._state.quotes
        quote, spot_quote = quotes[instrument_id], quotes[option.underlying]
        if quote is None or spot_quote is None:
            return None
        known = answers.get(instrument_id)
        if known is not None and known[0] == now_ns and known[1] is quote and known[2] is spot_quote:
            return known[3]
        spot, carry = mark_price(spot_quote), option.carry
        if not spot > 0.0:  # a quote of the underlying without a price
            return None
        # nearly always it is followed: a call less
        dividend_yield = carry.dividend_yield if carry.is_followed else vols.yield_of(option, now_ns)
        found: Valuation | None = None
        vol, last = None, 0.0
        is_lost = spot_quote.ts_recv_ns - quote.ts_recv_ns > self._state.lost_ns[instrument_id]
        if now_ns < option.expires_ns and (is_lost or not self._state.shows_price(quote)):
            found = self.models.unseen(option, quote, spot_quote, dividend_yield, is_lost=is_lost)
        elif is_mark:  # asked while the spot of the quote's instant is kept: the quote may be lost later
            own = vols.quoted.of(option, quote, keeps=vols.learns)
            last = vols.strikes.last(option.contract) if own is None else own.vol
            vol = last if by_quote and last > 0.0 else None
            if option.side * (spot - option.strike) > 0.0 and now_ns < option.expires_ns:
                found = self.models.deep(option, quote, spot_quote, dividend_yield)
        else:
            kept = self._kept_vols.get(instrument_id)
            last = 0.0 if kept is None else kept[1]
            vol = last if by_quote and kept is not None and kept[0] is quote else None
        if found is None:
            contract, years, is_fresh = option.contract, self.terms.years(option.expires_ns, now_ns), False
            rate, mark = self.terms.rate(years), self._state.quoted_mark(quote)
            if vol is None:
                if years > 0.0:
                    vol = self._pricer.implied_vol(
                        contract, mark, spot, years, rate, dividend_yield, carry.dividends
                    )
                is_fresh = vol is not None
                vol = last if vol is None else vol
                if is_fresh and not is_mark and vols.learns:
                    self._kept_vols[instrument_id] = quote, vol
            terms = mark, spot, years, rate, vol
            ahead = carry.dividends
            found = Valuation(*terms, is_fresh, contract, self._pricer, dividend_yield, dividends=ahead)
        if vols.learns:
            for each in self._answers if found.is_modelled else (answers,):  # the model's is the same by any
                each[instrument_id] = now_ns, quote, spot_quote, found
        return found

    def as_hedged(self, found: Valuation, instrument_id: InstrumentId, now_ns: int) -> Valuation:
        """Return a valuation with the volatility that hedges were sized with last, and its Greeks."""
        vol = self.vols.known_strike_vol(instrument_id, now_ns)
        if vol is None:
            return found
        return msgspec.structs.replace(found, quoted=found.mark, vol=vol, own_greeks=None)

    def to_clock(self, contract: OptionContract, now_ns: int) -> float:
        """Return what turns an option's volatility by the calendar into that on the variance clock.

        By the calendar the last hour of trading shows a multiple of the volatility that the underlying has.
        1 from the expiry instant on.
        """
        expires_ns = expiry_instant_ns(contract)
        by_clock = self.terms.variance_left(expires_ns, now_ns)
        return math.sqrt(self.terms.years(expires_ns, now_ns) / by_clock) if by_clock > 0.0 else 1.0

    def value_together(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Value options now, so that :meth:`value` has the answer at hand: in half the time for fifty.

        What is left out, such as an option without a volatility or with dividends ahead, is valued when it is
        asked for.
        """
        if not self.vols.learns:
            return
        quotes, lost_ns, kind = self._state.quotes, self._state.lost_ns, None
        terms: dict[ExpiryCarry, tuple[float, float, float]] = {}
        places: list[tuple[OptionFacts, QuoteEvent, QuoteEvent]] = []
        rows: list[tuple[float, ...]] = []
        for number in numbers:
            option = self.vols.facts(number)
            if option is None:
                continue
            quote, spot_quote = quotes[number], quotes[option.underlying]
            if quote is None or spot_quote is None:
                continue
            known = self._values.get(number)
            if known is not None and known[0] == now_ns and known[1] is quote and known[2] is spot_quote:
                continue
            carry = terms.get(option.carry)
            if carry is None:
                years = self.terms.years(option.expires_ns, now_ns)
                carry = years, self.terms.rate(years), self.vols.yield_of(option, now_ns)
                terms[option.carry] = carry
            own_kind = option.contract.style, option.contract.is_inverse
            kind = kind or own_kind
            is_lost = spot_quote.ts_recv_ns - quote.ts_recv_ns > lost_ns[number]
            is_lost = is_lost or not self._state.shows_price(quote)
            if is_lost or carry[0] <= 0.0 or own_kind != kind or option.carry.dividends:
                continue
            places.append((option, quote, spot_quote))
            rows.append((mark_price(quote), mark_price(spot_quote), option.strike, *carry))
        if not places:
            return
        is_call = np.array([option.contract.is_call for option, _, _ in places])
        columns = np.array(rows).T.copy()
        vols, greeks = self._pricer.vols_and_greeks(places[0][0].contract, columns[0], is_call, *columns[1:])
        for place, row, vol, own in zip(places, rows, vols.tolist(), greeks.T.tolist(), strict=True):
            if math.isnan(vol):
                continue
            option, quote, spot_quote = place
            mark, spot, _, years, rate, dividend_yield = row
            priced = mark, spot, years, rate, vol
            own_greeks = OptionGreeks._make(own)
            found = Valuation(*priced, True, option.contract, self._pricer, dividend_yield, own_greeks)
            self._kept_vols[option.instrument_id] = quote, vol
            self._values[option.instrument_id] = now_ns, quote, spot_quote, found

    def model_price(self, instrument_id: InstrumentId) -> float | None:
        """Return an option's mark where its quote does not tell it, as of its underlying's latest quote.

        Currency per unit: where its quote is lost or lacks a side, and deep in the money; else None.
        """
        contract, quote = self._instruments[instrument_id], self._state.quotes[instrument_id]
        if quote is None or not contract.is_option:
            return None
        spot = self._state.quotes[self._instruments.id_of(contract.underlying)]
        if spot is None:
            return None
        now_ns = spot.ts_recv_ns
        if self._state.dividends and self.vols.has_dividends(instrument_id):
            now_ns = self.vols.after_open(now_ns)
        found = self._answer(self._held, instrument_id, now_ns, by_quote=True, is_mark=True)
        if found is None or (not found.is_modelled and found.mark == self._state.quoted_mark(quote)):
            return None
        return found.mark

    def quoted_price(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return an option's mid carried to the spot of now at the volatility that it had when it was quoted.

        An option's quote is often older than the spot. Currency per unit; the mid itself where it has no
        volatility, None where it was never quoted.
        """
        vol, quote = self.quoted_vol(instrument_id), self._state.quotes[instrument_id]
        if quote is None or not self._instruments.by_id[instrument_id].is_option:
            return None
        greeks = None if vol is None else self.greeks_at(instrument_id, now_ns, vol)
        return mark_price(quote) if greeks is None else greeks.price

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
        spot = self._state.mark(proxy.underlying_id) or 0.0
        return proxy.delta(position.instrument, position.float_quantity, mark, spot)

    def position_greeks(self, held: Iterable[Position], now_ns: int) -> PositionGreeks:
        """Sum the Greeks of positions, per option contracts times multiplier, and the shares.

        An inverse contract counts in coin at its mark, and not at all before its first quote.
        """
        total = GreekSum()
        for position in held:
            units = position.float_quantity * position.multiplier
            valuation = self.held(position.instrument_id, now_ns)
            instrument = self._instruments[position.instrument_id]
            if valuation is not None:
                total.add(units, valuation.greeks)
            elif not instrument.is_option:
                mark = self._state.mark(position.instrument_id) or 0.0
                if self.proxies:
                    total.shares += self.delta_of(position, mark)
                else:
                    total.shares += instrument.delta(position.float_quantity, mark)
        return total.total()
