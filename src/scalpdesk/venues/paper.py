"""Paper trading with live data: quotes of a real venue, orders at an exchange inside the process.

For venues and accounts without a paper environment. The data come through any other gateway, of
which only the market side is used: nothing is ever sent to it. The paper account lives as long as
the process; a restart begins with the cash and holdings that the journal remembers.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import date

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.events import BarEvent, Event, OrderCancelled, OrderNotFound, QuoteEvent, TradeEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import is_session, next_session, session_on, to_new_york
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Gateway,
    Health,
    KnownOrder,
    ListedContract,
    MinuteBar,
    Notice,
    NoticeKind,
    Stamper,
    VenueClock,
    VenueView,
)
from scalpdesk.venues.event_queue import EventQueue
from scalpdesk.venues.paper_venue import PaperEvent, PaperTerms, PaperVenue

ACCOUNT_ID = "paper"
LONGEST_NAP_SECONDS = 1.0
UNLIMITED_REQUESTS = 1_000_000


def exchange_hours(now_ns: int) -> VenueClock:
    """Return the sessions of the New York exchanges around an instant."""
    day = to_new_york(now_ns).date()
    if is_session(day):
        today = session_on(day)
        if now_ns < today.open_ns:
            return VenueClock(now_ns, False, today.open_ns, today.close_ns)
        if now_ns < today.close_ns:
            return VenueClock(now_ns, True, next_session(day).open_ns, today.close_ns)
    following = next_session(day)
    return VenueClock(now_ns, False, following.open_ns, following.close_ns)


class PaperGateway:
    """An account on paper at live prices; the protocol is :class:`scalpdesk.venues.contract.Gateway`.

    Parameters
    ----------
    data
        Brings quotes, contracts and their discovery; its account is never traded.
    book
        Instruments of the run. It may grow until the first subscription or order.
    terms
        The paper account and how it is filled.
    clock
        Stamps what happens here; the same as the data gateway's.
    hours
        Sessions of the venue.
    """

    name = "paper"
    takes_combos = False

    def __init__(
        self,
        data: Gateway,
        book: Instruments,
        terms: PaperTerms,
        clock: Clock,
        hours: Callable[[int], VenueClock] = exchange_hours,
    ) -> None:
        self._data = data
        self._book = book
        self._terms = terms
        self._stamper = Stamper(clock)
        self._hours = hours
        self._outbox = EventQueue()
        self._counters: Counter[str] = Counter()
        self._venue_made: PaperVenue | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._closes_ns = 0
        self._is_open = False
        self._last_put_ns = 0

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Connect the data; orders that the journal holds for live ended with their process."""
        await self._data.connect()
        now_ns = self._stamper.timestamp()
        self._closes_ns = self._hours(now_ns).next_close_ns
        for known in known_orders:
            if known.is_live:
                name = known.submitted.client_order_id
                self._put([OrderCancelled(name, now_ns, now_ns, "the paper venue ended with its process")])
        self._put([Notice(NoticeKind.CONNECTED, now_ns, "orders", "connected")])
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._pump()), loop.create_task(self._keep_time())]
        self._is_open = True
        return self._facts()

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        return self._outbox.items()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits."""
        self._outbox.shortcut = take

    def send(self, command: VenueCommand) -> None:
        """Hand a command to the paper venue."""
        self._put(self._venue().take(command, self._stamper.timestamp()))
        self._changed.set()

    async def query_order(self, client_order_id: str) -> bool:
        """Say what became of an order: everything is known here."""
        now_ns = self._stamper.timestamp()
        if client_order_id in self._venue().submitted:
            self._put(self._venue().told_again(client_order_id, now_ns))
        else:
            self._put([OrderNotFound(client_order_id, now_ns, now_ns)])
        return True

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Return the paper account."""
        now_ns = self._stamper.timestamp()
        venue = self._venue()
        fills = [] if fills_since_ns is None else [f for f in venue.fills if f.ts_event_ns >= fills_since_ns]
        return VenueView(
            now_ns,
            now_ns,
            self._facts(),
            self._hours(now_ns),
            venue.positions(),
            tuple(venue.open_orders()),
            tuple(fills),
        )

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream live quotes of exactly these instruments."""
        self._venue()
        await self._data.subscribe(instrument_ids)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest live quote of each instrument that has one."""
        return await self._data.quotes(instrument_ids)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars that the real venue has."""
        return await self._data.daily_bars(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[MinuteBar, ...]:
        """Return the minutes that the real venue has."""
        return await self._data.minute_bars(instrument_id, first, last)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options that the real venue lists."""
        return await self._data.discover(underlying, first, last)

    def health(self) -> Health:
        """Return the data's health with the paper venue's own order stream."""
        health = self._data.health()
        return msgspec.structs.replace(
            health,
            streams={**health.streams, "orders": self._is_open},
            in_flight=0,
            unknown=(),
            requests_left=UNLIMITED_REQUESTS,
            counters={**health.counters, **self._counters},
        )

    async def reconnect(self, stream: str) -> None:
        """Give up a data stream's connection, which stands and says nothing, for a new one."""
        await self._data.reconnect(stream)

    async def close(self, *, graceful: bool = True) -> None:
        """End the data's connections and the stream."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._data.close(graceful=graceful)
        self._outbox.close()

    # inside -----------------------------------------------------------------------------------------

    def _venue(self) -> PaperVenue:
        """Return the venue; it is made when the book is complete."""
        if self._venue_made is None:
            self._venue_made = PaperVenue(self._book, self._terms, self._stamper.timestamp())
        return self._venue_made

    def _facts(self) -> AccountFacts:
        made = self._venue_made
        cash = self._terms.cash if made is None else made.account.cash
        return AccountFacts(
            account_id=ACCOUNT_ID,
            status="ACTIVE",
            currency="USD",
            cash=cash,
            equity=cash if made is None else made.equity(),
            buying_power=cash,
            options_buying_power=cash,
            options_level=3,
            may_trade=True,
            may_short=True,
        )

    async def _pump(self) -> None:
        """Carry the market to the venue and to the desk; what concerns the real account stays out."""
        async for item in self._data.events():
            if isinstance(item, QuoteEvent):
                # the venue answers before the desk sees the quote, as it does in a backtest
                self._put(self._venue().take_quote(item))
                self._put([item])
            elif isinstance(item, TradeEvent | BarEvent) or (
                isinstance(item, Notice) and item.stream != "orders"
            ):
                self._put([item])
            else:
                self._counters["passed_over"] += 1

    async def _keep_time(self) -> None:
        """Let answers arrive, options expire and the session end without a quote to bring them along."""
        while True:
            now_ns = self._stamper.timestamp()
            made = self._venue_made
            if made is not None:
                self._put(made.advance(now_ns))
                if now_ns >= self._closes_ns:
                    self._put(made.end_day(now_ns))
            if now_ns >= self._closes_ns:
                self._closes_ns = self._hours(now_ns).next_close_ns
            due_ns = min(self._closes_ns, self._closes_ns if made is None else made.due_ns)
            nap = min(max(due_ns - now_ns, 0) / NANOS_PER_SECOND, LONGEST_NAP_SECONDS)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                # not wait_for: it may swallow the cancellation that ends this task
                async with asyncio.timeout(max(nap, 0.001)):
                    await self._changed.wait()

    def _put(self, items: Iterable[PaperEvent | QuoteEvent | TradeEvent | BarEvent | Notice]) -> None:
        for item in items:
            if item.ts_recv_ns < self._last_put_ns:
                # it waited at the data's gateway while something else was said here
                stamped = msgspec.structs.replace(item, ts_recv_ns=self._last_put_ns)
                self._outbox.publish(stamped)
            else:
                self._last_put_ns = item.ts_recv_ns
                self._outbox.publish(item)
