"""The last good word on every instrument."""

from collections import Counter

from scalpdesk.core.events import (
    BarEvent,
    DividendEvent,
    ForecastEvent,
    GammaExposureEvent,
    OpenInterestEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    TradeEvent,
)
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict, judge_quote, mark_price
from scalpdesk.marketdata.tape import FLAT_ZERO, RateCurve

_KEPT = frozenset({QuoteVerdict.LOCKED, QuoteVerdict.ZERO_BID, QuoteVerdict.ONE_SIDED})
"""Odd verdicts that are still the latest truth; crossed and broken quotes are only counted."""


class MarketState:
    """Holds the latest quote, bar and open interest of each instrument, and counts what was odd.

    Parameters
    ----------
    instruments
        All instruments of the run; events name them by number.
    stale_seconds_underlying, stale_seconds_option
        Age at which a quote no longer counts as good.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        stale_seconds_underlying: float = 5.0,
        stale_seconds_option: float = 60.0,
    ) -> None:
        self.instruments = instruments
        self.quotes: list[QuoteEvent | None] = [None] * len(instruments)
        self.bars: list[BarEvent | None] = [None] * len(instruments)
        self.last_trade: list[TradeEvent | None] = [None] * len(instruments)
        self.open_interest: dict[InstrumentId, int] = {}
        self.dividends: list[DividendEvent] = []
        self.forecasts: dict[InstrumentId, ForecastEvent] = {}
        self.gamma_exposures: dict[str, GammaExposureEvent] = {}
        self.earlier_sessions: dict[InstrumentId, list[SessionBarsEvent]] = {}
        self.rate_curve: RateCurve = FLAT_ZERO
        self.oddities: Counter[str] = Counter()
        self._stale_ns = [
            int(
                (stale_seconds_option if isinstance(one, OptionContract) else stale_seconds_underlying)
                * NANOS_PER_SECOND
            )
            for one in instruments
        ]

    def apply_quote(self, quote: QuoteEvent) -> bool:
        """Take a quote in; return whether it is good (two-sided, not crossed, in order)."""
        number = quote.instrument_id
        last = self.quotes[number]
        if 0.0 < quote.bid < quote.ask < 1e300 and (last is None or quote.ts_event_ns >= last.ts_event_ns):
            self.quotes[number] = quote
            return True
        return self.apply_odd_quote(quote, last)

    def apply_odd_quote(self, quote: QuoteEvent, last: QuoteEvent | None) -> bool:
        """Take in a quote that is not plainly good, after ``last``; return whether it counts as good."""
        if last is not None and quote.ts_event_ns < last.ts_event_ns:
            self.oddities[QuoteVerdict.OUT_OF_ORDER] += 1
            return False
        verdict = judge_quote(quote.bid, quote.ask)
        self.oddities[verdict] += 1
        if verdict in _KEPT:
            self.quotes[quote.instrument_id] = quote
        # An index level has bid equal to ask: locked by nature, and as good as it gets.
        return verdict is QuoteVerdict.LOCKED

    def apply_bar(self, bar: BarEvent) -> None:
        """Take a closed bar in."""
        self.bars[bar.instrument_id] = bar

    def apply_trade(self, trade: TradeEvent) -> None:
        """Take a print in."""
        self.last_trade[trade.instrument_id] = trade

    def apply_open_interest(self, event: OpenInterestEvent) -> None:
        """Take yesterday's open contracts in."""
        self.open_interest[event.instrument_id] = event.open_interest_contracts

    def apply_rates(self, event: RateEvent) -> None:
        """Take a rate curve in."""
        self.rate_curve = RateCurve(event.days, event.rates)

    def apply_dividend(self, event: DividendEvent) -> None:
        """Take a declared dividend in."""
        self.dividends.append(event)

    def apply_forecast(self, event: ForecastEvent) -> None:
        """Take a volatility forecast in."""
        self.forecasts[event.instrument_id] = event

    def apply_gamma_exposure(self, event: GammaExposureEvent) -> None:
        """Take the latest word on dealer gamma in, by the symbol it is about."""
        self.gamma_exposures[event.symbol] = event

    def apply_session_bars(self, event: SessionBarsEvent) -> None:
        """Take an earlier session's bars in, in the order of the sessions."""
        self.earlier_sessions.setdefault(event.instrument_id, []).append(event)

    def verdict(self, number: InstrumentId, now_ns: int) -> QuoteVerdict:
        """Return the verdict on the instrument's latest quote as of ``now_ns``."""
        quote = self.quotes[number]
        if quote is None:
            return QuoteVerdict.ABSENT
        # the common case first: what judge_quote calls good, without its questions
        is_good = 0.0 < quote.bid < quote.ask < 1e300
        verdict = QuoteVerdict.GOOD if is_good else judge_quote(quote.bid, quote.ask)
        can_age = is_good or verdict is QuoteVerdict.LOCKED
        if can_age and now_ns - quote.ts_recv_ns > self._stale_ns[number]:
            return QuoteVerdict.STALE
        return verdict

    def mark(self, number: InstrumentId) -> float | None:
        """Return what one unit is valued at (currency per unit), or None when never quoted."""
        quote = self.quotes[number]
        if quote is None:
            return None
        bid, ask = quote.bid, quote.ask
        # two prices: the mid, without the questions about missing sides
        return 0.5 * (bid + ask) if bid > 0.0 and ask > 0.0 else mark_price(quote)
