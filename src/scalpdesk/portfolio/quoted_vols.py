"""The implied volatility of a quote: at the spot, the rate and the carry of the quote's own instant."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import RateCurve
from scalpdesk.portfolio.carry import ExpiryCarry
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.strike_vols import LegQuotes
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.pricing.base import Floats, Schedule


class OptionFacts(NamedTuple):
    """Fixed terms of an option, and the carry of its expiry."""

    instrument_id: InstrumentId
    contract: OptionContract
    underlying: InstrumentId
    expires_ns: int
    carry: ExpiryCarry
    strike: float
    is_inverse: bool
    side: float
    """Where it is in the money: 1 above the strike, -1 below; 0 of an inverse contract."""


class QuotedVol(NamedTuple):
    """Volatility of a quote's mid at the spot of the quote's own instant, by the calendar, and its vega."""

    vol: float
    vega: float


class _SolvedQuote(NamedTuple):
    """A quote with its volatility, None where it gives no volatility, and what that was solved from."""

    quote: QuoteEvent
    terms: tuple[float, float, float, Schedule]
    """Spot, rate, yield and known dividends at the quote's instant."""
    found: QuotedVol | None
    is_assumed: bool
    """Whether no quotes had shown the yield."""
    is_over: bool
    """Whether the underlying was quoted later: before, a spot of the quote's instant may still come."""
    curve: RateCurve
    """Rates that it was solved at."""

    def stands(self, option: OptionFacts) -> bool:
        """Return whether no later spot and no forward that quotes show changes it."""
        return self.is_over and self.is_assumed is option.carry.is_assumed


class QuotedVols:
    """Solves each quote's mid for its volatility, once.

    ``instruments``, ``state``, ``pricer``, ``terms``: Instruments of the run, the latest market, the pricing
    model, time to expiry and rates.
    ``yield_of``: Returns the yield of an option's expiry at an instant, a fraction a year.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        pricer: ContractPricer,
        terms: TimeAndRate,
        yield_of: Callable[[OptionFacts, int], float],
    ) -> None:
        self._instruments, self._state, self._pricer = instruments, state, pricer
        self._terms, self._yield_of = terms, yield_of
        self.learnt: dict[InstrumentId, _SolvedQuote] = {}
        """Last quotes that gave a volatility, of what the desk has learnt; until then any with both sides."""
        self._asked: dict[InstrumentId, _SolvedQuote] = {}
        """Those that anybody has asked for: they stand for the same quote and terms."""

    def of(self, option: OptionFacts, quote: QuoteEvent) -> QuotedVol | None:
        """Return the volatility of a quote's mid at the spot and the carry of the quote's own instant.

        None where it is unknown, or lacks a side or a kept spot.
        """
        known = self.learnt.get(option.instrument_id)
        # a quote of earlier rows is another object
        if known is not None and (known.quote is quote or known.quote == quote) and known.stands(option):
            return known.found
        solved = self._solved_now(option, quote)
        return None if solved is None else solved.found

    def learn(self, option: OptionFacts, quote: QuoteEvent) -> bool:
        """Keep the volatility of a quote; return whether that is new.

        It stands when the spot of its instant is no longer kept.
        """
        known = self.learnt.get(option.instrument_id)
        if known is not None and known.quote is quote and known.stands(option):
            return False
        solved = self._solved_now(option, quote)
        # one without a volatility takes the place of none that has shown one
        if solved is None or solved is known or (solved.found is None and known is not None):
            return False
        self._state.learn(quote)
        self.learnt[option.instrument_id] = solved
        return True

    def _solved_now(self, option: OptionFacts, quote: QuoteEvent) -> _SolvedQuote | None:
        if not self._state.shows_price(quote):
            return None
        carry, curve = option.carry, self._state.rate_curve
        known = self._asked.get(option.instrument_id)
        if (
            known is not None
            and known.quote is quote
            and known.stands(option)
            and carry.is_followed  # else its yield is measured for each answer
            and known.terms[3] is carry.dividends
            and known.curve is curve
        ):
            return known
        years = self._terms.years(option.expires_ns, quote.ts_event_ns)
        rates = self._terms.rate(years), self._yield_of(option, quote.ts_event_ns)
        then = self._state.quote_in_force(option.underlying, quote.ts_event_ns)
        if then is None:
            return None
        terms = mark_price(then), *rates, carry.dividends
        latest = self._state.quotes[option.underlying]
        is_over = latest is not None and latest.ts_event_ns > quote.ts_event_ns
        if known is None or known.quote is not quote or known.terms != terms:
            found = self._solved(option.contract, quote.mid, years, *terms)
        elif known.is_over is is_over and known.is_assumed is carry.is_assumed and known.curve is curve:
            return known
        else:
            found = known.found
        known = self._asked[option.instrument_id] = _SolvedQuote(
            quote, terms, found, carry.is_assumed, is_over, curve
        )
        return known

    def _solved(
        self,
        contract: OptionContract,
        mid: float,
        years: float,
        spot: float,
        rate: float,
        dividend_yield: float,
        dividends: Schedule,
    ) -> QuotedVol | None:
        if years <= 0.0:
            return None
        carry = rate, dividend_yield, dividends
        vol = self._pricer.implied_vol(contract, mid, spot, years, *carry)
        if vol is None:
            return None
        return QuotedVol(vol, self._pricer.greeks(contract, spot, years, vol, *carry).vega)

    def within_tick(self, contract: OptionContract, vol: float) -> float:
        """Return the volatility nearest to ``vol`` that prices an inverse option's mid to half a tick.

        The volatility is that of its latest quote, at the spot of that instant. A tick is up to a fiftieth of
        the price of a coin option: volatilities solved from mids on that grid, or at a later spot, jump by
        points, and a deep leg's mid lies below its payoff. ``vol`` itself where no volatility is found.
        """
        quote = self._state.quotes[self._instruments.id_of(contract.symbol)]
        if quote is None:
            return vol
        then = self._state.quote_in_force(self._instruments.id_of(contract.underlying), quote.ts_event_ns)
        years = self._terms.years(expiry_instant_ns(contract), quote.ts_event_ns)
        if then is None or years <= 0.0:
            return vol
        terms, mark = (mark_price(then), years), mark_price(quote)
        off = self._pricer.greeks(contract, *terms, vol, 0.0, 0.0).price - mark
        half_tick = 0.5 * float(contract.tick_rule.tick_at(Decimal(repr(mark))))
        if abs(off) <= half_tick:
            return vol
        nearest = mark + math.copysign(half_tick, off)
        return self._pricer.implied_vol(contract, nearest, *terms, 0.0, 0.0) or vol

    def of_legs(self, carry: ExpiryCarry, quotes: LegQuotes, dividend_yield: float) -> tuple[Floats, Floats]:
        """Return volatilities and vegas of mids of one expiry, each at its own instant; NaN without any."""
        contract = carry.contract
        expires_ns, stamps = expiry_instant_ns(contract), quotes.ts_event_ns
        years = [self._terms.years(expires_ns, at_ns) for at_ns in stamps]
        return self._pricer.vols_and_vegas(
            contract,
            quotes.mid,
            quotes.is_call,
            quotes.spot,
            quotes.strike,
            np.array(years),
            np.array([self._terms.rate(left) for left in years]),
            np.full(len(years), dividend_yield),
            carry.dividends,
        )
