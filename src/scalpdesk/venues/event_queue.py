"""The queue of a gateway's events, in order and with quotes merged under load, and its publisher."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from scalpdesk.core.clock import Clock, Stamper
from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.venues.contract import Notice, NoticeKind

_BREATHE_EVERY = 64
_MOST_WAITING = 50_000
"""Items in the queue from which on only the latest quote of each instrument is kept."""


class EventQueue:
    """A queue with one reader.

    Quotes that the reader cannot keep up with are merged: of each instrument the latest is kept and
    comes out once the queue is empty. Orders, fills and notices are never merged or dropped.

    ``most_waiting``: Length from which on quotes are merged.
    """

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self._items: deque[Event | Notice] = deque()
        self._late: dict[InstrumentId, QuoteEvent] = {}
        self._most_waiting = most_waiting
        self._wake = asyncio.Event()
        self._closed = False
        self._is_merging = False
        self.merged = 0
        """Quotes that a later quote replaced before they were read."""
        self._last_ns = 0
        self.quotes: dict[InstrumentId, QuoteEvent] = {}
        """Latest quote of each instrument."""
        self.believes: Callable[[QuoteEvent], bool] | None = None
        """Called with each quote; one that is not believed is dropped, as if it had never come."""
        self.shortcut: Callable[[QuoteEvent], bool] | None = None
        """Called with each quote while nothing waits; a quote that it accepts does not enter the queue."""

    def note(self, quote: QuoteEvent) -> None:
        """Take a quote that is believed by now as its instrument's latest, unless a later one has come."""
        known = self.quotes.get(quote.instrument_id)
        if known is None or known.ts_event_ns <= quote.ts_event_ns:
            self.quotes[quote.instrument_id] = quote

    def publish(self, item: Event | Notice) -> None:
        """Add an item."""
        if type(item) is QuoteEvent:
            if self.believes is not None and not self.believes(item):
                return
            self.quotes[item.instrument_id] = item
            if self.shortcut is not None and not (self._items or self._late) and self.shortcut(item):
                self._last_ns = max(self._last_ns, item.ts_recv_ns)
                return
        is_late = len(self._items) >= self._most_waiting or bool(self._late)
        if is_late and type(item) is QuoteEvent:
            self._merge(item)
        else:
            self._items.append(item)
        self._wake.set()

    def _merge(self, quote: QuoteEvent) -> None:
        if not self._is_merging:
            self._is_merging = True
            detail = f"{len(self._items)} items wait: only the latest quote of each instrument is kept"
            self._items.append(
                Notice(NoticeKind.LIMITED, quote.ts_recv_ns, "events", "slow_consumer", detail)
            )
        if quote.instrument_id in self._late:
            self.merged += 1
        self._late[quote.instrument_id] = quote

    def close(self) -> None:
        """End the queue once the reader has taken what is in it."""
        self._closed = True
        self._wake.set()

    def take(self) -> Event | Notice | None:
        """Return the next item, None while the queue is empty."""
        if not self._items and self._late:
            self._release()
        if not self._items:
            return None
        item = self._items.popleft()
        self._last_ns = max(self._last_ns, item.ts_recv_ns)
        return item

    def _release(self) -> None:
        # a merged quote waited while others went by: it is received now, not before them
        for quote in self._late.values():
            stamped = max(quote.ts_recv_ns, self._last_ns)
            self._items.append(msgspec.structs.replace(quote, ts_recv_ns=stamped))
        self._late.clear()
        self._is_merging = False

    async def items(self) -> AsyncIterator[Event | Notice]:
        """Yield items as they come; ends after :meth:`close`."""
        taken = 0
        while True:
            item = self.take()
            if item is not None:
                yield item
                taken += 1
                if taken % _BREATHE_EVERY == 0:
                    await asyncio.sleep(0)  # a full queue must not keep the connections from being read
            elif self._closed:
                return
            else:
                self._wake.clear()
                await self._wake.wait()


class EventPublisher:
    """Timestamps, counts and publishes what a gateway receives."""

    def __init__(self, clock: Clock) -> None:
        self.queue = EventQueue()
        self.stamper = Stamper(clock)
        self.counters: Counter[str] = Counter()
        """Named conditions and how often each was met."""

    def timestamp(self, ts_event_ns: int | None = None) -> int:
        """Return ``ts_recv_ns`` of what is received now and happened at ``ts_event_ns`` (None: unknown)."""
        return self.stamper.timestamp(ts_event_ns)

    def count(self, name: str) -> None:
        """Count a named condition."""
        self.counters[name] += 1

    def publish(self, events: Iterable[Event]) -> None:
        """Publish events in their order."""
        for event in events:
            self.queue.publish(event)

    def notice(self, kind: NoticeKind, stream: str, name: str, detail: str = "") -> None:
        """Publish a notice."""
        self.queue.publish(Notice(kind, self.timestamp(), stream, name, detail))

    def tell(self, stream: str, name: str, words: str) -> None:
        """Count and publish the venue's own words; the same ones again are summed up where they are shown."""
        self.count(name)
        self.queue.publish(Notice.told(self.timestamp(), stream, name, words))

    def refuse(self, stream: str, name: str, detail: str) -> None:
        """Count and publish a message that was not believed."""
        self.count(name)
        self.notice(NoticeKind.REFUSED, stream, name, detail)
