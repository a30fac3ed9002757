"""Marks that a quote does not tell, and the state in which an option's mark is valued over an interval."""

import math

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import OptionVols
from scalpdesk.portfolio.quoted_vols import OptionFacts
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.portfolio.valuation import MODEL_DECIMALS, Valuation
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import PricedState

DEEP_FROM, DEEP_WHOLLY = 0.25, 0.5
"""Standard deviations in the money from which a mark leaves its mid, and from which parity gives it:
deltas of 0.60 and 0.69.
"""
AMERICAN = Style.AMERICAN  # looking up an enum's member costs as much as a call


class ModelMarks:
    """Values options by the model: those whose quote is lost or lacks a side, and those deep in the money.

    Parameters
    ----------
    pricer, terms, vols
        The pricing model; time to expiry and rates; the volatilities of options.
    """

    def __init__(self, pricer: ContractPricer, terms: TimeAndRate, vols: OptionVols) -> None:
        self._pricer, self._terms, self._vols = pricer, terms, vols

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
        vol, (other, part) = self._vols.unseen(option, now_ns), self._parity(option, spot, now_ns)
        if part > 0.0:
            vol = other if vol is None else vol + part * (other - vol)
        if vol is None:
            vol = self._vols.without_quotes(option, now_ns)
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
        if option.carry.is_assumed and years > 1.0 / DAYS_PER_YEAR:
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
        return Valuation(None, *terms, False, option.contract, self._pricer, dividend_yield)

    def _priced(self, found: Valuation, price: float) -> Valuation:
        """Return a valuation with another mark, at the volatility of it."""
        terms = (price, found.spot, found.years, found.rate, found.dividend_yield)
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
        return PricedState(valuation.spot, vol, by_clock, years, *carry)

    def at_carry(
        self, contract: OptionContract, state: PricedState, rate: float, dividend_yield: float
    ) -> tuple[PricedState, OptionGreeks] | None:
        """Return the state of the same price at another rate and yield, and its Greeks; None without one."""
        if not (state.years > 0.0 and state.variance_years > 0.0):
            return None
        to_calendar = math.sqrt(state.variance_years / state.years)
        then, carry = (state.spot, state.years), (rate, dividend_yield)
        old = self._pricer.greeks(contract, *then, state.vol * to_calendar, state.rate, state.dividend_yield)
        vol = self._pricer.implied_vol(contract, old.price, *then, *carry)
        if vol is None:
            return None
        new = state._replace(vol=vol / to_calendar, rate=rate, dividend_yield=dividend_yield)
        return new, self._pricer.greeks(contract, *then, vol, *carry)
