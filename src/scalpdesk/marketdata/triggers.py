"""Triggers: decide at each quote of an instrument whether to call the strategy."""

from enum import StrEnum
from typing import Protocol

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.marketdata.quiet_rows import Quiet
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
    """Decides on each good quote of ``instrument_id`` whether to call the strategy."""

    instrument_id: InstrumentId

    def check(self, quote: QuoteEvent) -> Wake | None:
        """Return the reason to call the strategy now, or None. Must be cheap: it sees every quote."""
        ...

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Move the reference after the strategy was called; not before."""
        ...


class EveryQuote:
    """Trigger on every quote of the instrument."""

    def __init__(self, instrument_id: InstrumentId) -> None:
        self.instrument_id = instrument_id

    def check(self, quote: QuoteEvent) -> Wake | None:  # noqa: ARG002 - the contract's argument
        """Return ``price``."""
        return _PRICE

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Do nothing: there is no reference."""


class PriceMove:
    """Trigger when the mid has moved by ``price_change`` or ``heartbeat_seconds`` have passed.

    A price move resets the reference price; a heartbeat does not, so that a slow drift still adds up to a
    move. The references move only after the strategy was called: a trigger that met incomplete data fires
    again at the next quote.

    Parameters
    ----------
    instrument_id
        The underlying.
    price_change
        Smallest move of the mid in currency (reached counts).
    heartbeat_seconds
        Longest time between two calls in seconds (must be exceeded).
    spread_filter
        Filter of the quotes; None uses every good one.
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
        """Set the reference time, and for a price move also the reference price."""
        self._last_ns = quote.ts_recv_ns
        if wake is _PRICE:
            mid = 0.5 * (quote.bid + quote.ask)
            self._low = mid - self._price_change
            self._high = mid + self._price_change

    def quiet(self) -> Quiet | None:
        """Return the quotes within the move and the heartbeat."""
        filters = () if self._filter is None else (self._filter,)
        return Quiet(self._low, self._high, self._last_ns + self._heartbeat_ns + 1, filters)

    def passed(self, low: float, high: float, last: float) -> None:
        """Do nothing: no reference moves without a call."""
