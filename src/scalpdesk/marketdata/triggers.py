"""When to think. A trigger looks at each quote of one instrument and says whether it is time."""

from enum import StrEnum
from typing import Protocol

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.marketdata.quotes import SpreadFilter


class Wake(StrEnum):
    """Why a strategy is called."""

    PRICE = "price"
    HEARTBEAT = "heartbeat"
    TIMER = "timer"
    BAR = "bar"
    ORDER = "order"
    ACCOUNT = "account"
    SESSION = "session"
    OPERATOR = "operator"
    ANSWER = "answer"


_PRICE = Wake.PRICE  # an enum's member is slow to look up, and a trigger sees every quote


class Trigger(Protocol):
    """Decides on each good quote of ``instrument_id`` whether the strategy should think."""

    instrument_id: InstrumentId

    def check(self, quote: QuoteEvent) -> Wake | None:
        """Return the reason to think now, or None. Must be cheap: it sees every quote."""
        ...

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """The strategy has thought; only now may the trigger move its reference."""
        ...


class EveryQuote:
    """Think on every quote of the instrument."""

    def __init__(self, instrument_id: InstrumentId) -> None:
        self.instrument_id = instrument_id

    def check(self, quote: QuoteEvent) -> Wake | None:  # noqa: ARG002 - the contract's argument
        """Always a reason to think."""
        return _PRICE

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Nothing to remember."""


class PriceMove:
    """Think when the mid moved by ``price_change`` or when ``heartbeat_seconds`` have passed.

    A price move sets the reference price; a heartbeat does not, so that a slow drift still adds up
    to a move. Neither reference is advanced before the strategy could really think: a trigger that
    met incomplete data is not lost, it comes again with the next quote.

    Parameters
    ----------
    instrument_id
        The underlying.
    price_change
        Smallest move of the mid in currency (reached counts).
    heartbeat_seconds
        Longest silence in seconds (must be passed).
    spread_filter
        Which quotes may be a price at all; None takes every good one.
    """

    def __init__(
        self,
        instrument_id: InstrumentId,
        price_change: float,
        heartbeat_seconds: float,
        spread_filter: SpreadFilter | None = None,
    ) -> None:
        self.instrument_id = instrument_id
        self._price_change = price_change - 1e-9
        self._heartbeat_ns = int(heartbeat_seconds * NANOS_PER_SECOND)
        self._filter = spread_filter
        self._low = float("inf")
        self._high = float("-inf")
        self._last_ns = 0

    def check(self, quote: QuoteEvent) -> Wake | None:
        """Return ``price``, ``heartbeat`` or None for one good quote."""
        if self._filter is not None and not self._filter.accepts(quote.ask - quote.bid):
            return None
        mid = 0.5 * (quote.bid + quote.ask)
        if mid <= self._low or mid >= self._high:
            return _PRICE
        if quote.ts_recv_ns - self._last_ns > self._heartbeat_ns:
            return Wake.HEARTBEAT
        # the very first quote: no reference yet
        return _PRICE if self._low > self._high else None

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Remember when, and for a price move also where, the strategy last thought."""
        self._last_ns = quote.ts_recv_ns
        if wake is _PRICE:
            mid = 0.5 * (quote.bid + quote.ask)
            self._low = mid - self._price_change
            self._high = mid + self._price_change
