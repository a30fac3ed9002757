"""Valuation of options and sum of Greeks, from positions, market and pricing model.

Values are computed on request and cached: equal requests at one instant are computed once.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import DAYS_PER_YEAR, MINUTE_NS, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Style
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import has_both_sides, mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.carry import CarryMeter, ExpiryCarry
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.quoted_vols import ExpiryFacts, OptionFacts, QuotedVol, QuotedVols
from scalpdesk.portfolio.strike_vols import (
    OLDEST_NS,
    SURFACE_DEVIATION,
    ExpirySmile,
    LegQuotes,
    StrikeVol,
    StrikeVols,
)
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.pricing.base import Floats, OptionGreeks
from scalpdesk.volatility.variance_time import US_SESSIONS, VarianceClock

if TYPE_CHECKING:
    from scalpdesk.portfolio.option_pricer import ContractPricer

_SKEW_STEP = 1e-3
DEEP_FROM, DEEP_WHOLLY = 0.25, 0.5
"""Standard deviations in the money from which a mark leaves its mid, and from which parity gives it:
deltas of 0.60 and 0.69.
"""
AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call
VEGA = OptionGreeks._fields.index("vega")
MODEL_DECIMALS = 8
"""Of a mark that the model gives: fine enough for a premium in coin."""


class Valuation(Leaf, gc=False):
    """Valuation of one option; prices in currency per unit of the underlying."""

    quoted: float | None
    """Mark that quotes give; None where it is the model's value."""
    spot: float
    years: float
    rate: float
    vol: float
    """Implied volatility of the mark as a fraction a year; the last known one when there is none."""
    vol_is_fresh: bool
    greeks_at: Callable[[float], OptionGreeks]
    """Price and Greeks here and now at any volatility."""
    dividend_yield: float = 0.0
    """Continuous yield that with the rate carries the spot to the forward, a fraction a year."""
    own_greeks: OptionGreeks | None = None
    """At its own volatility, once they were asked for; see :attr:`greeks`."""
    is_modelled: bool = False
    """Whether the quote was lost or lacks a side: the volatility is the last known, or its strike's."""

    @property
    def mark(self) -> float:
        """Value of one unit, worked out when first asked for where the model gives it."""
        return round(self.greeks.price, MODEL_DECIMALS) if self.quoted is None else self.quoted

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

    def position_greeks(self, held: Iterable[Position], now_ns: int) -> PositionGreeks:
        """Sum the Greeks of positions."""
        ...


class DeltaEngine:
    """Values options at the latest market and sums the Greeks of positions.

    What it learns (the carry of an expiry, volatilities of quotes and strikes, smiles) it learns while the
    desk handles an event. In between questions only read: pages, terminal and status may ask when they like.

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
        pricer: "ContractPricer",
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
        self._dividend_yield = dividend_yield
        self._dividend_yields = dividend_yields
        self._terms = TimeAndRate(state, floor_seconds=floor_seconds, flat_rate=flat_rate, clock=clock)
        self.learns = True
        """Whether an answer may leave a trace: with a desk, only while it handles an event."""
        self._options: dict[InstrumentId, OptionFacts] = {}
        """By id, of all that the desk has asked for."""
        self._seen: dict[InstrumentId, OptionFacts] = {}
        """By id, of all that anybody has asked for."""
        self._expiries: dict[tuple[str, str, date], ExpiryFacts] = {}
        self._kept_vols: dict[InstrumentId, tuple[QuoteEvent, float]] = {}
        """Volatilities that decisions have found, and the quotes that they are of."""
        self._values: Answers = {}
        self._at_kept_vol: Answers = {}
        self._marks: Answers = {}
        self._held: Answers = {}
        self._answers = self._values, self._at_kept_vol, self._marks, self._held
        self.quoted: Final = QuotedVols(instruments, state, pricer, self._terms, self._yield_of)
        self._strike_vols = StrikeVols(
            instruments, state, self._vol_of_leg, self._vols_of_legs, vol_half_life_seconds
        )
        self.carry: Final = CarryMeter(
            instruments, state, self._strike_vols, self._terms, self._configured_yield, by_parity=by_parity
        )

    def _configured_yield(self, symbol: str) -> float:
        return self._dividend_yields.get(symbol, self._dividend_yield)

    def years(self, contract: OptionContract, now_ns: int) -> float:
        """Return ACT/365 years to the expiry instant: at least the floor before it, 0 from then on."""
        return self._terms.years(expiry_instant_ns(contract), now_ns)

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the variance clock between two instants; by the calendar where it knows no more."""
        return self._terms.variance_years(start_ns, end_ns)

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity, a fraction a year."""
        return self._terms.rate(years)

    def facts(self, instrument_id: InstrumentId) -> OptionFacts | None:
        """Return what is known of an option; None for what is none."""
        contract = self._instruments.by_id[instrument_id]
        if not contract.is_option:
            return None
        found = self._seen.get(instrument_id)
        if found is None:
            underlying = self._instruments.id_of(contract.underlying)
            is_inverse, is_american = contract.is_inverse, contract.style is AMERICAN
            side = 0.0 if is_inverse else 1.0 if contract.is_call else -1.0
            expiry = self._expiry(contract, underlying)
            terms = contract.is_call, is_american, is_inverse, side
            dated = contract, underlying, expiry_instant_ns(contract), expiry, expiry.carry
            found = OptionFacts(*dated, float(contract.strike), *terms)
            self._seen[instrument_id] = found
        if self.learns:
            self._options[instrument_id] = found
            self._state.keep_quotes(found.underlying)  # a quote of the option has its spot there
        return found

    def _carry_of(self, contract: OptionContract) -> ExpiryCarry:
        return self._expiry(contract, self._instruments.id_of(contract.underlying)).carry

    def _expiry(self, contract: OptionContract, underlying: InstrumentId) -> ExpiryFacts:
        key = (contract.root, contract.underlying, contract.expiry)
        found = self._expiries.get(key)
        if found is None:
            found = self._expiries[key] = ExpiryFacts(ExpiryCarry(contract, underlying))
        return found

    def forget_answers(self) -> None:
        """Value anew what was valued at this instant: prices have changed without a quote."""
        for answers in self._answers:
            answers.clear()

    def is_carry_assumed(self, instrument_id: InstrumentId) -> bool:
        """Return whether the yield is the configured one because quotes could not show another yet."""
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        return option is not None and option.carry.is_assumed

    def at_carry(self, contract: OptionContract, then: Valuation, vol: float, now: Valuation) -> Valuation:
        """Return what was worth so much at ``vol``, restated at the rate and the yield of ``now``.

        Its volatility is the one that gives the same value there; ``then`` as it is where there is none.
        """
        price, carry = then.greeks_at(vol).price, (now.rate, now.dividend_yield)
        found = self._pricer.implied_vol(contract, price, then.spot, then.years, *carry)
        if found is None:
            return then
        greeks = self._pricer.greeks(contract, then.spot, then.years, found, *carry)
        return msgspec.structs.replace(
            then, rate=carry[0], dividend_yield=carry[1], vol=found, own_greeks=greeks
        )

    def _yield_of(self, option: OptionFacts, at_ns: int) -> float:
        """Return the yield of an option's expiry at an instant, a fraction a year.

        The desk's first question has it measured, and the underlying's quotes kept, from then on.
        """
        carry = option.carry
        if self.learns and not carry.is_followed:
            self.carry.follow(carry, at_ns)
        return self.carry.as_of(carry, at_ns)

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
        """Value an option by its mid, or by the model where its quote is lost or lacks a side.

        ``by_quote`` takes the volatility that is kept with its quote; ``is_mark`` that of the quote's own
        instant, and values by parity what is deep in the money.
        """
        option = self._options.get(instrument_id) or self.facts(instrument_id)
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
        dividend_yield = carry.dividend_yield if carry.is_followed else self._yield_of(option, now_ns)
        found: Valuation | None = None
        vol, last = None, 0.0
        is_lost = spot_quote.ts_recv_ns - quote.ts_recv_ns > self._state.lost_ns[instrument_id]
        if now_ns < option.expires_ns and (is_lost or not has_both_sides(quote)):
            found = self._modelled(option, quote, spot_quote, dividend_yield, is_lost)
        elif is_mark:  # asked while the spot of the quote's instant is kept: the quote may be lost later
            own = self.quoted.of(option, quote, keeps=self.learns)
            last = self._strike_vols.last(option.contract) if own is None else own.vol
            vol = last if by_quote and last > 0.0 else None
            if option.side * (spot - option.strike) > 0.0 and now_ns < option.expires_ns:
                found = self._deep(option, quote, spot_quote, dividend_yield)
        else:
            kept = self._kept_vols.get(instrument_id)
            last = 0.0 if kept is None else kept[1]
            vol = last if by_quote and kept is not None and kept[0] is quote else None
        if found is None:
            contract, years, is_fresh = option.contract, self._terms.years(option.expires_ns, now_ns), False
            rate, mark = self._terms.rate(years), self._state.quoted_mark(quote)
            if vol is None:
                if years > 0.0:
                    vol = self._pricer.implied_vol(contract, mark, spot, years, rate, dividend_yield)
                is_fresh = vol is not None
                vol = last if vol is None else vol
                if is_fresh and not is_mark and self.learns:
                    self._kept_vols[instrument_id] = quote, vol
            greeks_at = partial(
                self._pricer.greeks, contract, spot, years, rate=rate, dividend_yield=dividend_yield
            )
            found = Valuation(mark, spot, years, rate, vol, is_fresh, greeks_at, dividend_yield)
        if self.learns:
            for each in self._answers if found.is_modelled else (answers,):  # the model's is the same by any
                each[instrument_id] = now_ns, quote, spot_quote, found
        return found

    def as_hedged(self, found: Valuation, instrument_id: InstrumentId, now_ns: int) -> Valuation:
        """Return a valuation with the volatility that hedges were sized with last, and its Greeks."""
        vol = self.known_strike_vol(instrument_id, now_ns)
        if vol is None:
            return found
        return msgspec.structs.replace(found, quoted=found.mark, vol=vol, own_greeks=None)

    def value_together(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Value options now, so that :meth:`value` has the answer at hand: in half the time for fifty.

        What is left out, such as an option without a volatility, is valued when it is asked for.
        """
        if not self.learns:
            return
        quotes, lost_ns, kind = self._state.quotes, self._state.lost_ns, None
        terms: dict[ExpiryFacts, tuple[float, float, float]] = {}
        places: list[tuple[InstrumentId, QuoteEvent, QuoteEvent, OptionContract]] = []
        rows: list[tuple[float, ...]] = []
        for number in numbers:
            option = self._options.get(number) or self.facts(number)
            if option is None:
                continue
            contract, underlying, expires_ns, expiry, *_ = option
            quote, spot_quote = quotes[number], quotes[underlying]
            if quote is None or spot_quote is None:
                continue
            known = self._values.get(number)
            if known is not None and known[0] == now_ns and known[1] is quote and known[2] is spot_quote:
                continue
            carry = terms.get(expiry)
            if carry is None:
                years = self._terms.years(expires_ns, now_ns)
                carry = years, self._terms.rate(years), self._yield_of(option, now_ns)
                terms[expiry] = carry
            own_kind = contract.style, contract.currency == contract.root
            kind = kind or own_kind
            is_lost = spot_quote.ts_recv_ns - quote.ts_recv_ns > lost_ns[number]
            is_lost = is_lost or not has_both_sides(quote)
            if is_lost or carry[0] <= 0.0 or own_kind != kind:
                continue
            places.append((number, quote, spot_quote, contract))
            rows.append((mark_price(quote), mark_price(spot_quote), float(contract.strike), *carry))
        if not places:
            return
        is_call = np.array([contract.is_call for _, _, _, contract in places])
        columns = np.array(rows).T.copy()
        vols, greeks = self._pricer.vols_and_greeks(places[0][3], columns[0], is_call, *columns[1:])
        for place, row, vol, own in zip(places, rows, vols.tolist(), greeks.T.tolist(), strict=True):
            if math.isnan(vol):
                continue
            number, quote, spot_quote, contract = place
            mark, spot, _, years, rate, dividend_yield = row
            greeks_at = partial(
                self._pricer.greeks, contract, spot, years, rate=rate, dividend_yield=dividend_yield
            )
            found = Valuation(
                mark,
                spot,
                years,
                rate,
                vol,
                True,
                greeks_at,
                dividend_yield,
                own_greeks=OptionGreeks._make(own),
            )
            self._kept_vols[number] = quote, vol
            self._values[number] = now_ns, quote, spot_quote, found

    def _modelled(
        self,
        option: OptionFacts,
        quote: QuoteEvent,
        spot_quote: QuoteEvent,
        dividend_yield: float,
        is_lost: bool,
    ) -> Valuation | None:
        """Value an option whose quote was lost or lacks a side, as of its underlying's latest quote.

        A lost one at the volatility that hedges go by, one that lacks a side at its own last one; deep in the
        money at that of its strike's other leg. Within the side that is known, and not below its payoff. None
        without a volatility.
        """
        contract, number = option.contract, quote.instrument_id
        now_ns, spot = spot_quote.ts_recv_ns, mark_price(spot_quote)
        vol, (other, part) = self._unseen_vol(option, number, now_ns), self._parity(option, spot, now_ns)
        if part > 0.0:
            vol = other if vol is None else vol + part * (other - vol)
        if vol is None:
            on_smile = self._smile_vols(option, self._smile(number, now_ns, keeps=False), now_ns, 0.0)
            vol = self._strike_vols.last(option.contract) if on_smile is None else on_smile[0]
            if not vol > 0.0:
                return None
        found = self._at(option, spot, now_ns, dividend_yield, vol)
        found.is_modelled = True
        if not is_lost:
            low = (
                quote.bid if quote.bid > 0.0 else contract.payoff(spot) if contract.style is AMERICAN else 0.0
            )
            price = min(max(found.mark, low), quote.ask if quote.ask > 0.0 else math.inf)
            if price != found.mark:
                found = self._priced(found, contract, price)
        return found

    def _deep(
        self, option: OptionFacts, quote: QuoteEvent, spot_quote: QuoteEvent, dividend_yield: float
    ) -> Valuation | None:
        """Value an option in the money by the volatility of its strike's other leg; None near the money.

        Its own drowns in the width and the age of its quote. From :data:`DEEP_FROM` to :data:`DEEP_WHOLLY`
        deviations in the money the mark goes over from the mid to what parity says.
        """
        spot, now_ns = mark_price(spot_quote), spot_quote.ts_recv_ns
        vol, part = self._parity(option, spot, now_ns)
        if not part > 0.0:
            return None
        found = self._at(option, spot, now_ns, dividend_yield, vol)
        if part < 1.0:
            found = self._priced(found, option.contract, part * found.mark + (1.0 - part) * mark_price(quote))
        found.vol_is_fresh = True
        return found

    def _parity(self, option: OptionFacts, spot: float, now_ns: int) -> tuple[float, float]:
        """Return the volatility of a strike's other leg, and to what part it counts; 0 near the money."""
        years = self._terms.years(option.expires_ns, now_ns)
        if not option.side * (spot - option.strike) > 0.0 or not spot > 0.0:
            return 0.0, 0.0
        if option.carry.is_assumed and years > 1.0 / DAYS_PER_YEAR:
            return 0.0, 0.0  # a dividend may lie ahead that no quotes have shown yet: parity tells nothing
        vol = self._other_vol(option, now_ns)
        if vol is None:
            return 0.0, 0.0
        forward = self._forward(option, spot, now_ns)
        depth = option.side * math.log(forward / option.strike) / (vol * math.sqrt(years))
        return vol, min(max((depth - DEEP_FROM) / (DEEP_WHOLLY - DEEP_FROM), 0.0), 1.0)

    def _at(
        self, option: OptionFacts, spot: float, now_ns: int, dividend_yield: float, vol: float
    ) -> Valuation:
        """Value an option at a volatility."""
        years = self._terms.years(option.expires_ns, now_ns)
        rate = self._terms.rate(years)
        greeks_at = partial(
            self._pricer.greeks, option.contract, spot, years, rate=rate, dividend_yield=dividend_yield
        )
        return Valuation(None, spot, years, rate, vol, False, greeks_at, dividend_yield)

    def _priced(self, found: Valuation, contract: OptionContract, price: float) -> Valuation:
        """Return a valuation with another mark, at the volatility of it."""
        terms = (price, found.spot, found.years, found.rate, found.dividend_yield)
        vol = self._pricer.implied_vol(contract, *terms) or found.vol
        return msgspec.structs.replace(found, quoted=round(price, MODEL_DECIMALS), vol=vol, own_greeks=None)

    def _other_vol(self, option: OptionFacts, now_ns: int) -> float | None:
        """Return the volatility of a strike's other leg; None where it has none."""
        number = self._strike_vols.other_leg(option.contract)
        other = None if number is None else self._options.get(number) or self.facts(number)
        if number is None or other is None:
            return None
        if not self._state.is_valid(number):
            return self._unseen_vol(other, number, now_ns)
        known = self._vol_when_quoted(number, other)  # of a minute ago: no clock between
        return None if known is None or not known.vol > 0.0 else known.vol

    def _unseen_vol(self, option: OptionFacts, number: InstrumentId, now_ns: int) -> float | None:
        """Return the volatility of an option whose quote tells none now.

        Its own last one; of a lost one that with which hedges were sized last, where that is known.
        """
        known = self.known_strike_vol(number, now_ns) if self._state.is_lost(number) else None
        return known or self._quoted_vol(option, number, now_ns)

    def known_strike_vol(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return what :meth:`strike_vol` has found in the last two minutes, without looking at the market."""
        option = self._options.get(instrument_id)
        if option is None:
            return None
        found = self._strike_vols.measured(option.contract, now_ns)
        if found is not None:
            return found.vol
        is_old = now_ns - option.expiry.smile_ns > OLDEST_NS
        vols = None if is_old else self._smile_vols(option, option.expiry.smile, now_ns, 0.0)
        return None if vols is None else vols[0]

    def _quoted_vol(self, option: OptionFacts, number: InstrumentId, now_ns: int) -> float | None:
        """Return the volatility of an option's last quote with both sides, at the spot of its own instant.

        Kept on the variance clock: by the calendar it falls through a session. None without one.
        """
        quote, known = self._state.two_sided(number), self._vol_when_quoted(number, option)
        if quote is None or known is None:
            return None
        left, left_then = (
            self._terms.variance_years(at_ns, option.expires_ns) for at_ns in (now_ns, quote.ts_event_ns)
        )
        if not left > 0.0 or not left_then > 0.0:
            return known.vol
        years_then = self._terms.years(option.expires_ns, quote.ts_event_ns)
        return known.vol * math.sqrt(
            years_then / left_then * left / self._terms.years(option.expires_ns, now_ns)
        )

    def _vol_when_quoted(self, instrument_id: InstrumentId, option: OptionFacts) -> QuotedVol | None:
        """Return the volatility of an option's last quote with both sides; None without one."""
        quote = self._state.two_sided(instrument_id)
        return None if quote is None else self.quoted.of(option, quote, keeps=self.learns)

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
        found = self._answer(self._held, instrument_id, spot.ts_recv_ns, by_quote=True, is_mark=True)
        if found is None or (not found.is_modelled and found.mark == self._state.quoted_mark(quote)):
            return None
        return found.mark

    def strike_vol(self, instrument_id: InstrumentId, now_ns: int) -> StrikeVol | None:
        """Return the volatility of an option's strike, common to its call and put.

        Filtered from its own quotes; where they are missing, too wide or older than two minutes from the
        smile that the other strikes of its expiry show, renewed once a minute. None for what is no option,
        and where there is neither.
        """
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        if option is None:
            return None
        if self.learns:
            self._strike_vols.measure(option.contract)
        found = self._strike_vols.measured(option.contract, now_ns)
        if found is not None:
            return found
        vols = self._minute_vols(instrument_id, option, now_ns, 0.0)
        return None if vols is None else StrikeVol(vols[0], SURFACE_DEVIATION)

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike; None without a smile."""
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        if option is None:
            return None
        vols = self._minute_vols(instrument_id, option, now_ns, -_SKEW_STEP, _SKEW_STEP)
        return None if vols is None else (vols[1] - vols[0]) / (2.0 * _SKEW_STEP)

    def _minute_vols(
        self, instrument_id: InstrumentId, option: OptionFacts, now_ns: int, *steps: float
    ) -> list[float] | None:
        """Volatilities by the calendar at steps in ln(strike), on the smile that is renewed once a minute."""
        expiry = option.expiry
        if self.learns and now_ns - expiry.smile_ns >= MINUTE_NS:
            expiry.smile, expiry.smile_ns = self.smile(instrument_id, now_ns), now_ns
        return self._smile_vols(option, expiry.smile, now_ns, *steps)

    def _smile_vols(
        self, option: OptionFacts, smile: ExpirySmile | None, now_ns: int, *steps: float
    ) -> list[float] | None:
        contract, spot = option.contract, self._state.mark(option.underlying)
        if smile is None or spot is None:
            return None
        forward = self._forward(option, spot, now_ns)
        k = math.log(float(contract.strike) / forward)
        if not smile.reaches(k):  # the fit of a session's first quotes says nothing about strikes beyond them
            return None
        by_calendar = math.sqrt(smile.variance_years / smile.years)
        return [smile.vol(k + step) * by_calendar for step in steps]

    def _forward(self, option: OptionFacts, spot: float, now_ns: int) -> float:
        contract = option.contract
        if contract.is_inverse:  # on the forward itself
            return spot
        years = self._terms.years(option.expires_ns, now_ns)
        return spot * math.exp((self._terms.rate(years) - self._yield_of(option, now_ns)) * years)

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry from the latest quotes of its strikes.

        A decision's fit starts from that of the last one. None for what is no option, at its expiry, and
        where the spot or no strike can be measured.
        """
        return self._smile(instrument_id, now_ns, keeps=self.learns)

    def _smile(self, instrument_id: InstrumentId, now_ns: int, *, keeps: bool) -> ExpirySmile | None:
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        if option is None:
            return None
        spot, expires_ns = self._state.mark(option.underlying), option.expires_ns
        if spot is None or not spot > 0.0 or now_ns >= expires_ns:
            return None
        self._yield_of(option, now_ns)
        if self._strike_vols.is_silent(option.contract):  # of a listing of years, not out yet
            if keeps:
                self._strike_vols.forget_smile(option.contract)
            return None
        years, forward = self._terms.years(expires_ns, now_ns), self._forward(option, spot, now_ns)
        return self._strike_vols.smile(
            option.contract,
            now_ns,
            forward,
            years,
            self._terms.variance_years(now_ns, expires_ns),
            keeps=keeps,
        )

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

    def quoted_vol(self, instrument_id: InstrumentId) -> float | None:
        """Return the volatility of an option's mid at the spot and the instant of its quote, by the calendar.

        None for what is no option, was never quoted, or has no volatility.
        """
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        quote = self._state.quotes[instrument_id]
        if option is None or quote is None:
            return None
        found = self.quoted.of(option, quote, keeps=self.learns)
        return None if found is None else found.vol

    def _vol_of_leg(self, instrument_id: InstrumentId, quote: QuoteEvent) -> tuple[float, float] | None:
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        return None if option is None else self.quoted.of(option, quote, keeps=self.learns)

    def _vols_of_legs(self, contract: OptionContract, quotes: LegQuotes) -> tuple[Floats, Floats]:
        dividend_yield = self.carry.as_of(self._carry_of(contract), max(quotes.ts_event_ns))
        return self.quoted.of_legs(contract, quotes, dividend_yield)

    def greeks_at(self, instrument_id: InstrumentId, now_ns: int, vol: float) -> OptionGreeks | None:
        """Return the Greeks of an option at a given volatility."""
        option = self._options.get(instrument_id) or self.facts(instrument_id)
        spot = None if option is None else self._state.mark(option.underlying)
        if option is None or spot is None:
            return None
        contract, years = option.contract, self._terms.years(option.expires_ns, now_ns)
        dividend_yield = self._yield_of(option, now_ns)
        return self._pricer.greeks(contract, spot, years, vol, self._terms.rate(years), dividend_yield)

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
                total.shares += instrument.delta(position.float_quantity, mark)
        return total.total()
