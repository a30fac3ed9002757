"""Quotes of a whole market that end, stand still or jump: a person hears of it, and the desk reduces.

Looked at are the instruments that are no options: an option of the chain may rest for minutes, and so may one
share of several. One instrument whose quotes end while the others go on is asked for again
(:class:`scalpdesk.live.supervision.StaleQuoteMonitor`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import from_ns

_CHECK_SECONDS = 1.0
_SILENCES = 1.5
"""A market is silent for so many times the silence after which its streams are made anew."""
_MOST_JUMP = 3.0
"""No market moves by this factor between two looks; a stock split comes between two sessions."""
_ACCEPT_SECONDS = 900.0
"""A level that has lasted for so long is the market's."""


@dataclass(slots=True)
class QuoteWatch:
    """Says since when a market is not quoted, or beyond all belief.

    A venue that states no times of quotes sends other messages on a line whose prices stand still: there a
    quote is new by its sides alone.

    ``silent_seconds``: Of the wall, after which silent streams are made anew; 0 never looks.
    """

    instruments: Instruments
    silent_seconds: float
    asked_at: float | None = None
    """Since when the streams were asked for and did not come up, the event loop's time."""
    trouble: str = ""
    """What is wrong with the quotes, in words that stay the same while it lasts; empty when nothing is."""
    _next_at: float = 0.0
    _latest: dict[InstrumentId, QuoteEvent] = field(default_factory=dict)
    _new_at: float | None = None
    """When the latest new quote was seen, the event loop's time."""
    _levels: dict[InstrumentId, float] = field(default_factory=dict)
    _jumped: dict[InstrumentId, float] = field(default_factory=dict)
    """Since when an instrument is quoted at another level, the event loop's time."""

    def begin(self) -> None:
        """Count from now on: no quote was expected before."""
        self._latest.clear()
        self._levels.clear()
        self._jumped.clear()
        self._new_at, self.trouble = None, ""

    def look(self, now: float, quotes: Mapping[InstrumentId, QuoteEvent | None]) -> None:
        """Look at the latest quotes of what trades; ``now`` is the event loop's time."""
        if not self.silent_seconds or now < self._next_at or not quotes:
            return
        self._next_at = now + _CHECK_SECONDS
        known = {number: quote for number, quote in quotes.items() if quote is not None}
        is_new = any(_is_new(quote, self._latest.get(number)) for number, quote in known.items())
        if is_new or self._new_at is None:
            self._new_at, self._latest = now, known
        if now - self._new_at > _SILENCES * self.silent_seconds:
            latest = max((quote.ts_event_ns for quote in self._latest.values()), default=0)
            since = f"since {from_ns(latest):%H:%M:%S} UTC" if latest else "since the desk began"
            self.trouble = f"quotes: no new one of {self._names(quotes)} {since}"
        else:
            self.trouble = self._jump(now, quotes)

    def _jump(self, now: float, quotes: Mapping[InstrumentId, QuoteEvent | None]) -> str:
        for number, quote in quotes.items():
            if quote is None or not quote.mid > 0.0:
                continue
            level = self._levels.setdefault(number, quote.mid)
            if abs(math.log(quote.mid / level)) < math.log(_MOST_JUMP):
                self._levels[number] = quote.mid
                self._jumped.pop(number, None)
            elif now - self._jumped.setdefault(number, now) > _ACCEPT_SECONDS:
                self._levels[number] = quote.mid
                del self._jumped[number]
        if not self._jumped:
            return ""
        return (
            f"quotes: {self._names(self._jumped)} is quoted beyond all belief, at another level than before"
        )

    def _names(self, numbers: Mapping[InstrumentId, object]) -> str:
        return ", ".join(self.instruments[number].symbol for number in numbers)


def _is_new(quote: QuoteEvent, before: QuoteEvent | None) -> bool:
    if before is None:
        return True
    is_later = quote.ts_event_ns > before.ts_event_ns and quote.ts_event_ns != quote.ts_recv_ns
    sides = quote.bid, quote.ask, quote.bid_size, quote.ask_size
    return is_later or sides != (before.bid, before.ask, before.bid_size, before.ask_size)
