"""Triggers: find the quotes of an instrument at which the strategy is called."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.marketdata.latest_quotes import InstrumentRows
from scalpdesk.marketdata.quotes import ANY_SPREAD, SpreadFilter
from scalpdesk.pricing.kernels.triggers import average_after, average_with, is_move, next_call


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


class Spared(NamedTuple):
    """Where a call would find nothing to do.

    Strictly between two mids of the instrument, at no narrower spread, before an instant (UTC nanoseconds),
    while the latest quotes of others are these.
    """

    low: float
    high: float
    least_spread: float
    until_ns: int
    quotes: tuple[QuoteEvent, ...]
    row: int = -1
    """Row of the session that replaces the first of these quotes: a backtest finds it, a strategy never.
    While it is not known no call is spared.
    """


_NONE_SPARED = Spared(math.inf, -math.inf, math.inf, 0, ())
_ALL_SPARED = Spared(-math.inf, math.inf, -math.inf, NEVER_NS, (), NEVER_NS)


class Trigger:
    """Finds the quotes of an instrument at which the strategy is called: a base class for triggers.

    A live desk asks about one quote at a time, a backtest about all that lie ahead: :meth:`next_row` is the
    rule of both. This one finds every quote.

    Parameters
    ----------
    instrument_id
        Only its quotes are asked about, and only tradable quotes: two sides, not crossed, in order.
    """

    spared: Spared | None = None
    """Calls that the strategy spares: a backtest passes them over, a desk makes them all the same."""

    def __init__(self, instrument_id: InstrumentId) -> None:
        self.instrument_id = instrument_id

    def spare(
        self, low: float, high: float, least_spread: float, until_ns: int, quotes: Iterable[QuoteEvent]
    ) -> None:
        """Pass over calls of a backtest; the bounds are those of :class:`Spared`."""
        self.spared = Spared(low, high, least_spread, until_ns, tuple(quotes))

    def spare_none_from(self, now_ns: int) -> None:
        """Make every call from an instant on: rows before it may not be taken in yet."""
        if self.spared is not None:
            self.spared = self.spared._replace(until_ns=min(self.spared.until_ns, now_ns))

    @property
    def skips(self) -> bool:
        """Whether a backtest asks about the quotes that lie ahead, as most of them are passed over."""
        return True

    def next_row(self, quotes: InstrumentRows, first: int, last: int) -> int:  # noqa: ARG002 - the contract's
        """Return the first row from ``first`` to before ``last`` that calls the strategy; else ``last``.

        It learns nothing from the rows: they may be asked about again, and later rows may never come.
        """
        return first

    def learn(self, quotes: InstrumentRows, first: int, last: int) -> None:
        """Take in rows, each once and in order: asked about before, and before the strategy is called."""

    def reason(self, quote: QuoteEvent) -> Wake:  # noqa: ARG002 - the contract's argument
        """Return why the strategy is called at a quote that :meth:`next_row` has found."""
        return _PRICE

    def take(self, quote: QuoteEvent) -> Wake | None:
        """Ask about a single quote and take it in; return why the strategy is called, or None."""
        row = InstrumentRows.of(quote)
        is_found = self.next_row(row, 0, 1) == 0
        self.learn(row, 0, 1)
        return self.reason(quote) if is_found else None

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Move references after the strategy was called; not before."""


class EveryQuote(Trigger):
    """Trigger on every quote of the instrument."""

    @property
    def skips(self) -> bool:
        """None is passed over."""
        return False


class PriceBand(Trigger):
    """Trigger when the mid has reached one of two prices, or from an instant on.

    ``instrument_id``: The underlying.
    ``spread_filter``: Filter of the quotes; None uses every good one.

    Attributes
    ----------
    low, high
        The prices, currency per unit: the strategy sets them. At first every mid has reached them.
    due_ns
        The instant, UTC nanoseconds.
    spreads
        The filter.
    """

    def __init__(self, instrument_id: InstrumentId, spread_filter: SpreadFilter | None = None) -> None:
        super().__init__(instrument_id)
        self.low, self.high, self.due_ns = math.inf, -math.inf, NEVER_NS
        self.spreads = ANY_SPREAD if spread_filter is None else spread_filter

    def next_row(self, quotes: InstrumentRows, first: int, last: int) -> int:
        """Return the first row of a usual spread whose mid is at one of the prices, or that is due."""
        return self._passed(quotes, first, last)[0]

    def _passed(
        self,
        quotes: InstrumentRows,
        first: int,
        last: int,
        change: float = 0.0,
        heartbeat_ns: int = 0,
        spared: Spared | None = None,
    ) -> tuple[int, float, float, int, float]:
        """Return the first row that calls the strategy and is not spared, and the references before it."""
        spreads, spared = self.spreads, spared or self.spared or _NONE_SPARED
        return next_call(
            quotes.ts_ns,
            quotes.bid,
            quotes.ask,
            first,
            last,
            self.low,
            self.high,
            self.due_ns,
            spreads.average,
            spreads.learn_below,
            spreads.tick,
            change,
            heartbeat_ns,
            *spared[:4],
            quotes.place(spared.row) if spared.row > 0 else -1,
        )

    def take(self, quote: QuoteEvent) -> Wake | None:
        """Ask :func:`is_move` about a single quote without columns: most quotes of a desk pass here."""
        bid, ask, spreads = quote.bid, quote.ask, self.spreads
        average = spreads.average
        is_found = is_move(quote.ts_recv_ns, bid, ask, self.low, self.high, self.due_ns, average)
        if spreads is not ANY_SPREAD:
            spreads.average = average_with(average, ask - bid, spreads.learn_below, spreads.tick)
        return self.reason(quote) if is_found else None

    def learn(self, quotes: InstrumentRows, first: int, last: int) -> None:
        """Let the spreads enter their average."""
        spreads = self.spreads
        if spreads is ANY_SPREAD:
            return
        average, learn_below, tick = spreads.average, spreads.learn_below, spreads.tick
        spreads.average = average_after(quotes.bid, quotes.ask, first, last, average, learn_below, tick)


class PriceMove(PriceBand):
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
        super().__init__(instrument_id, spread_filter)
        self._price_change = price_change - 1e-9
        self._heartbeat_ns = int(heartbeat_seconds * NANOS_PER_SECOND)

    def next_row(self, quotes: InstrumentRows, first: int, last: int) -> int:
        """Return the first row that calls the strategy and is not spared."""
        return self._passed(quotes, first, last, self._price_change, self._heartbeat_ns)[0]

    def learn(self, quotes: InstrumentRows, first: int, last: int) -> None:
        """Take in rows, and move the references at the calls that were spared."""
        if self.spared is None:
            super().learn(quotes, first, last)
            return
        # rows that made no call: bounds set since they were passed over do not bind them
        passed = self._passed(quotes, first, last, self._price_change, self._heartbeat_ns, _ALL_SPARED)
        _, self.low, self.high, self.due_ns, average = passed
        if self.spreads is not ANY_SPREAD:
            self.spreads.average = average

    def reason(self, quote: QuoteEvent) -> Wake:
        """Return ``price`` where the mid has moved, else ``heartbeat``."""
        has_moved = is_move(0, quote.bid, quote.ask, self.low, self.high, NEVER_NS, math.inf)
        return _PRICE if has_moved else Wake.HEARTBEAT

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        """Set the reference time, and for a price move also the reference price."""
        self.due_ns = quote.ts_recv_ns + self._heartbeat_ns + 1
        if wake is _PRICE:
            mid = 0.5 * (quote.bid + quote.ask)
            self.low = mid - self._price_change
            self.high = mid + self._price_change
