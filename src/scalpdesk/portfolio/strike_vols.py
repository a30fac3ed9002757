"""One volatility per strike and expiry, filtered through the day: for hedging call and put alike."""

import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.vol_filter import VolFilter
from scalpdesk.volatility.variance_time import US_SESSIONS

WIDEST_SPREAD = 0.25
"""Of the mid: a wider quote is no measurement, unless it is a few ticks of a cheap option."""
FEW_TICKS = 0.04
LARGEST_DEVIATION = 0.02
"""Of a measured volatility, a fraction a year: a noisier one is no measurement."""

QuoteVol = Callable[[InstrumentId, QuoteEvent, float], tuple[float, float] | None]
"""Volatility and vega of an option's quote at a spot, both at the quote's own instant; None without one."""


class StrikeVol(NamedTuple):
    """Filtered volatility of a strike and its standard deviation, fractions a year."""

    vol: float
    deviation: float


class _Strike:
    __slots__ = ("call", "filter", "measured_ns", "put", "seen")

    def __init__(self) -> None:
        self.call: InstrumentId | None = None
        self.put: InstrumentId | None = None
        self.filter = VolFilter()
        self.measured_ns: int | None = None
        self.seen: QuoteEvent | None = None


class StrikeVols:
    """Filters the volatility of each strike from the quotes of its out-of-the-money leg.

    A quote is measured once, with the spot that was in force at its own instant: an option's quote is often
    older than the spot, and inverted with a later one it shows a move of volatility that never was.

    Parameters
    ----------
    instruments, state
        Instruments of the run and the latest market.
    quote_vol
        Inverts a quote.
    """

    def __init__(self, instruments: Instruments, state: MarketState, quote_vol: QuoteVol) -> None:
        self._instruments = instruments
        self._state = state
        self._quote_vol = quote_vol
        self._strikes: dict[tuple[str, str, date, Decimal], _Strike] = {}
        self._known = 0

    def value(self, contract: OptionContract) -> StrikeVol | None:
        """Return the volatility of a contract's strike; None while it was never measured."""
        if self._known != len(self._instruments):
            self._learn()
        strike = self._strikes[_key(contract)]
        self._measure(strike, contract)
        if math.isnan(strike.filter.vol):
            return None
        return StrikeVol(strike.filter.vol, strike.filter.deviation)

    def _learn(self) -> None:
        for number, instrument in enumerate(self._instruments):
            if isinstance(instrument, OptionContract):
                strike = self._strikes.setdefault(_key(instrument), _Strike())
                if instrument.is_call:
                    strike.call = InstrumentId(number)
                else:
                    strike.put = InstrumentId(number)
        self._known = len(self._instruments)

    def _measure(self, strike: _Strike, contract: OptionContract) -> None:
        underlying = self._instruments.id_of(contract.underlying)
        spot_now = self._state.quotes[underlying]
        if spot_now is None:
            return
        leg = strike.call if float(contract.strike) >= mark_price(spot_now) else strike.put
        quote = None if leg is None else self._state.quotes[leg]
        if leg is None or quote is None or quote is strike.seen:
            return
        strike.seen = quote
        then = self._state.quote_in_force(underlying, quote.ts_event_ns)
        width = quote.ask - quote.bid
        if then is None or not (quote.bid > 0.0 and width >= 0.0):
            return
        if width > WIDEST_SPREAD * quote.mid and width > FEW_TICKS:
            return
        found = self._quote_vol(leg, quote, mark_price(then))
        if found is None:
            return
        vol, vega = found
        deviation = width / (2.0 * math.sqrt(3.0) * vega) if vega > 0.0 else math.inf
        if deviation > LARGEST_DEVIATION:
            return
        since = quote.ts_event_ns if strike.measured_ns is None else strike.measured_ns
        if quote.ts_event_ns < since:
            return
        strike.filter.update(US_SESSIONS.years(since, quote.ts_event_ns), vol, deviation)
        strike.measured_ns = quote.ts_event_ns


def _key(contract: OptionContract) -> tuple[str, str, date, Decimal]:
    return contract.root, contract.underlying, contract.expiry, contract.strike
