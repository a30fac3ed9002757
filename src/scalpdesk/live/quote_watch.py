"""Quotes of a whole market that end, stand still or jump: a person hears of it, and the desk reduces.

Quotes that nobody can believe never reach the engine: it goes on with the last ones that were believed, and
leaves as it does where quotes are silent. The quote of what is no option is held against the latest that the
engine has, and before the first of a session against that of an earlier one and the strikes of its options.
Options are believed as their underlying is.

Silence is looked for among the instruments that are no options: an option of the chain may rest for minutes,
and so may one share of several. One instrument whose quotes end while the others go on is asked for again
(:class:`scalpdesk.live.supervision.StaleQuoteMonitor`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import MINUTE_NS, InstrumentId
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.marketdata.state import MarketState

_CHECK_SECONDS = 1.0
_SILENCES = 1.5
"""A market is silent for so many times the silence after which its streams are made anew."""
_MOST_JUMP = 3.0
"""No market moves by this factor between two quotes of a session; a split comes between two sessions."""
_MOST_SPLIT = 60.0
"""No split of a share with listed options is larger (Chipotle 2024: 50 for 1)."""
_MOST_FROM_STRIKES = 10.0
"""Nothing is quoted beyond the strikes of its options by this factor."""
_NIGHT_NS = 30 * MINUTE_NS
"""A quote that is later by so much may be of another session, though nobody has opened that yet."""
_ACCEPT_SECONDS = 900.0
"""A level that has lasted for so long is the market's, unless nothing at all speaks for it."""


@dataclass(slots=True)
class QuoteWatch:
    """Says which quotes are believed, and since when a market is not quoted.

    A venue that states no times of quotes sends other messages on a line whose prices stand still: there a
    quote is new by its sides alone.

    ``market``: What the engine knows: quotes that were believed.
    ``silent_seconds``: Of the wall, after which silent streams are made anew; 0 never looks.
    """

    market: MarketState
    silent_seconds: float
    asked_at: float | None = None
    """Since when the streams were asked for and did not come up, the event loop's time."""
    trouble: str = ""
    """What is wrong with the quotes, in words that stay the same while it lasts; empty when nothing is."""
    doubted: dict[InstrumentId, QuoteEvent] = field(default_factory=dict)
    """First quote that was not believed, of each instrument whose latest one is not."""
    waiting: dict[InstrumentId, QuoteEvent] = field(default_factory=dict)
    """Latest quotes of options that jump: they wait for the next one of their underlying."""
    is_in_session: bool = False
    """Whether the session goes on that was opened last: its quotes are of one scale."""
    _next_at: float = 0.0
    _latest: dict[InstrumentId, QuoteEvent] = field(default_factory=dict)
    _new_at: float | None = None
    """When the latest new quote was seen, the event loop's time."""
    _doubted_at: dict[InstrumentId, float] = field(default_factory=dict)
    _spot_of: list[InstrumentId | None] = field(init=False)
    """Of each option its underlying, where the run has it."""
    _strikes: dict[InstrumentId, tuple[float, float]] = field(init=False)
    """Lowest and highest strike of the options on an instrument, currency."""

    def __post_init__(self) -> None:
        instruments = self.market.instruments
        self._spot_of = [
            instruments.find(each.underlying) if each.is_option else None for each in instruments
        ]
        self._strikes = {}
        for each, spot in zip(instruments, self._spot_of, strict=True):
            if each.is_option and spot is not None:
                strike = float(each.strike)
                low, high = self._strikes.get(spot, (strike, strike))
                self._strikes[spot] = min(low, strike), max(high, strike)

    def begin(self) -> None:
        """Count from now on: no quote was expected before, and the next may be of another scale."""
        self._latest.clear()
        self.doubted.clear()
        self.waiting.clear()
        self._doubted_at.clear()
        self._new_at, self.trouble, self.is_in_session = None, "", False

    # belief -------------------------------------------------------------------------------------------

    def believes(self, quote: QuoteEvent, now: float) -> bool:
        """Return whether the engine may have a quote; ``now`` is the event loop's time."""
        number = quote.instrument_id
        spot, last = self._spot_of[number], self.market.quotes[number]
        if spot is not None:
            return self._believes_option(quote, spot, last)
        mid = quote.mid
        if not mid > 0.0 or not self.silent_seconds:  # no price: the engine judges it
            return True
        if last is not None and self._is_near(quote, last, _MOST_JUMP) and last.mid > 0.0:
            self._believe(number)
            return True
        return self._is_possible(quote, last, now)

    def _is_near(self, quote: QuoteEvent, last: QuoteEvent, factor: float) -> bool:
        both, before = quote.bid + quote.ask, last.bid + last.ask
        return before < factor * both and both < factor * before

    def _believe(self, number: InstrumentId) -> None:
        if self.doubted:
            self.doubted.pop(number, None)
            self._doubted_at.pop(number, None)

    def _is_possible(self, quote: QuoteEvent, last: QuoteEvent | None, now: float) -> bool:
        """Return whether a quote that is not near the last one may be the market's all the same."""
        number, is_possible = quote.instrument_id, self._fits(quote)
        is_same_session = False
        if last is not None and last.mid > 0.0:
            is_possible = is_possible and self._is_near(quote, last, _MOST_SPLIT)
            is_near_in_time = quote.ts_event_ns - last.ts_event_ns < _NIGHT_NS
            is_same_session = (
                is_near_in_time and self.is_in_session and last.ts_event_ns >= self.market.opened_ns
            )
        if is_possible and not is_same_session:
            self._believe(number)
            return True
        self.doubted.setdefault(number, quote)
        since = self._doubted_at.setdefault(number, now)
        if is_possible and now - since > _ACCEPT_SECONDS:
            self._believe(number)
            return True
        return False

    def _fits(self, quote: QuoteEvent) -> bool:
        """Return whether a price is near the strikes of its options; without any, whether it is a price."""
        mid = quote.mid
        low, high = self._strikes.get(quote.instrument_id, (mid, mid))
        return low < _MOST_FROM_STRIKES * mid and mid < _MOST_FROM_STRIKES * high

    def at_a_start(self, quotes: Iterable[QuoteEvent]) -> tuple[QuoteEvent, ...]:
        """Return those of the quotes that a start asked for that are believed.

        Those of options are where their underlying's is, which should be among them.
        """
        found = tuple(quotes)
        odd = {
            each.instrument_id
            for each in found
            if self.silent_seconds and self._spot_of[each.instrument_id] is None and not self._fits(each)
        }
        return tuple(
            each
            for each in found
            if each.instrument_id not in odd and self._spot_of[each.instrument_id] not in odd
        )

    def unheld(self) -> tuple[InstrumentId, ...]:
        """Return what is no option and has nothing known that its first quote could be held against."""
        quotes, instruments = self.market.quotes, self.market.instruments
        return tuple(
            number
            for number in map(InstrumentId, range(len(instruments)))
            if not instruments[number].is_option and number not in self._strikes and quotes[number] is None
        )

    def _believes_option(self, quote: QuoteEvent, spot: InstrumentId, last: QuoteEvent | None) -> bool:
        if not self.silent_seconds:
            return True
        if spot in self.doubted:
            return False
        number = quote.instrument_id
        if last is None:
            jumps = self.market.quotes[spot] is None
        else:
            jumps = not self._is_near(quote, last, _MOST_JUMP) and quote.mid > last.mid > 0.0
        if jumps:
            self.waiting[number] = quote
        elif self.waiting:
            self.waiting.pop(number, None)
        return not jumps

    def released(self, spot: InstrumentId | None = None) -> tuple[QuoteEvent, ...]:
        """Take out the quotes that wait for one of ``spot``, None: of any; drop those that are in doubt."""
        if not self.waiting:
            return ()
        found = []
        for number, quote in tuple(self.waiting.items()):
            own = self._spot_of[number]
            if own in self.doubted or spot is None or own == spot:
                del self.waiting[number]
                if own not in self.doubted:
                    found.append(quote)
        return tuple(found)

    # trouble ------------------------------------------------------------------------------------------

    def look(self, now: float, quotes: Mapping[InstrumentId, QuoteEvent | None]) -> bool:
        """Look at the latest quotes of what trades; return whether it was time to.

        ``now`` is the event loop's time.
        """
        self.is_in_session = True
        if not self.silent_seconds or now < self._next_at or not quotes:
            return False
        self._next_at = now + _CHECK_SECONDS
        known = {number: quote for number, quote in quotes.items() if quote is not None}
        is_new = any(_is_new(quote, self._latest.get(number)) for number, quote in known.items())
        if is_new or self._new_at is None:
            self._new_at, self._latest = now, known
        if self.doubted:
            self.trouble = f"quotes beyond all belief, not used: {', '.join(map(self._doubt, self.doubted))}"
        elif now - self._new_at > _SILENCES * self.silent_seconds:
            latest = max((quote.ts_event_ns for quote in self._latest.values()), default=0)
            since = f"since {from_ns(latest):%H:%M:%S} UTC" if latest else "since the desk began"
            names = ", ".join(self.market.instruments[number].symbol for number in quotes)
            self.trouble = f"quotes: no new one of {names} {since}"
        else:
            self.trouble = ""
        return True

    def _doubt(self, number: InstrumentId) -> str:
        """Return what is quoted, and what was known, in words that stay the same."""
        last = self.market.quotes[number]
        text = f"{self.market.instruments[number].symbol} at {self.doubted[number].mid:.10g}"
        if last is not None:
            return f"{text} after {last.mid:.10g}"
        low, high = self._strikes[number]
        return f"{text}, its options' strikes are {low:.10g} to {high:.10g}"


def _is_new(quote: QuoteEvent, before: QuoteEvent | None) -> bool:
    if before is None:
        return True
    is_later = quote.ts_event_ns > before.ts_event_ns and quote.ts_event_ns != quote.ts_recv_ns
    sides = quote.bid, quote.ask, quote.bid_size, quote.ask_size
    return is_later or sides != (before.bid, before.ask, before.bid_size, before.ask_size)
