"""Valuation of options and sum of Greeks, from positions, market and pricing model.

Values are computed on request and cached: equal requests at one instant are computed once.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.quotes import has_both_sides, mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.carry import ExpiryCarry
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks
from scalpdesk.portfolio.model_marks import ModelMarks
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import OptionVols
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.quoted_vols import OptionFacts
from scalpdesk.portfolio.strike_vols import ExpirySmile, StrikeVol
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.portfolio.valuation import Valuation
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.volatility.variance_time import US_SESSIONS, VarianceClock

Answers = dict[InstrumentId, tuple[int, QuoteEvent, QuoteEvent, Valuation]]
"""Last valuations by one rule, each with its instant and the quotes that it was made from."""


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
        self.models: Final = ModelMarks(pricer, self.terms, self.vols)
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

    def forget_answers(self) -> None:
        """Value anew what was valued at this instant: prices have changed without a quote."""
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
        """Value an option by its mid, or by the model where its quote is lost or lacks a side.

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
        if now_ns < option.expires_ns and (is_lost or not has_both_sides(quote)):
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
                    vol = self._pricer.implied_vol(contract, mark, spot, years, rate, dividend_yield)
                is_fresh = vol is not None
                vol = last if vol is None else vol
                if is_fresh and not is_mark and vols.learns:
                    self._kept_vols[instrument_id] = quote, vol
            terms = mark, spot, years, rate, vol
            found = Valuation(*terms, is_fresh, contract, self._pricer, dividend_yield)
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

    def value_together(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Value options now, so that :meth:`value` has the answer at hand: in half the time for fifty.

        What is left out, such as an option without a volatility, is valued when it is asked for.
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
            is_lost = is_lost or not has_both_sides(quote)
            if is_lost or carry[0] <= 0.0 or own_kind != kind:
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
        found = self._answer(self._held, instrument_id, spot.ts_recv_ns, by_quote=True, is_mark=True)
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
        dividend_yield = self.vols.yield_of(option, now_ns)
        return self._pricer.greeks(contract, spot, years, vol, self.terms.rate(years), dividend_yield)

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
