"""A gateway without a wire: a tape and the in-process simulated exchange, paced or in step.

The :class:`SimulatedVenue` is the other side: it outlives a gateway, as a venue outlives a desk, so
that a desk that died can come back to it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal

from scalpdesk.core.events import (
    Event,
    OrderAccepted,
    OrderFilled,
    OrderNotFound,
    OrderStatusUnknown,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.live.simulated_venue import SimulatedVenue
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    FollowingClock,
    Health,
    KnownOrder,
    ListedContract,
    MinuteBar,
    Notice,
    NoticeKind,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueView,
)

__all__ = ["SimulatedGateway", "SimulatedVenue"]


class SimulatedGateway:
    """The gateway to a :class:`SimulatedVenue`.

    Parameters
    ----------
    venue
        The other side.
    clock
        Follows the venue's time; the desk reads it.
    pace
        Market seconds a second; None plays as fast as the desk handles.
    """

    name = "simulated"
    takes_combos = False

    def __init__(self, venue: SimulatedVenue, clock: FollowingClock, *, pace: float | None = None) -> None:
        self.venue = venue
        self._clock = clock
        self._pace = pace
        self._waiting: deque[Event | Notice] = deque()
        self._plays = asyncio.Event()
        self._wake = asyncio.Event()
        self._closed = False
        self._counters: Counter[str] = Counter()
        self._doubted: set[str] = set()
        self.cut = False
        """True loses every command and every answer from now on: the line is gone."""

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Take in what the journal knows; what it missed comes out as events."""
        self._clock.observe(self.venue.now_ns)
        for known in known_orders:
            if known.is_live:
                self._catch_up(known)
        self._put(Notice(NoticeKind.CONNECTED, self.venue.now_ns, "orders", "connected"))
        return self._facts()

    def _catch_up(self, known: KnownOrder) -> None:
        for event in self.venue.history.get(known.submitted.client_order_id, ()):
            if isinstance(event, OrderAccepted) and known.venue_order_id:
                continue
            if isinstance(event, OrderFilled) and event.execution_id in known.execution_ids:
                continue
            self._put(event)

    def _facts(self) -> AccountFacts:
        account = self.venue.exchange.account
        equity = account.cash
        for number, quantity in account.positions.items():
            quote = self.venue.exchange.quotes[number]
            if quote is not None and quote.mid == quote.mid:
                unit = Decimal(f"{quote.mid:.4f}")
                equity += quantity * unit * self.venue.tape.instruments[number].multiplier
        cash = account.cash
        return AccountFacts(
            self.venue.account_id,
            "ACTIVE",
            "USD",
            cash,
            equity,
            cash,
            cash,
            3,
            may_trade=True,
            may_short=True,
        )

    async def events(self) -> AsyncIterator[Event | Notice]:
        """Play the market once somebody subscribed."""
        while not self._closed:
            while self._waiting:
                yield self._waiting.popleft()
            if not self._plays.is_set():
                self._wake.clear()
                await self._wake.wait()
                continue
            if self.venue.is_over:
                over_ns = max(self.venue.session.close_ns + 1, self.venue.now_ns)
                yield Notice(NoticeKind.DISCONNECTED, over_ns, "stocks", "end_of_market")
                for answer in self.venue.refuse_late(over_ns):  # what the close made the desk send
                    yield answer
                return
            await self._keep_pace()
            for event in self.venue.step():
                if not self.cut:
                    self._put(event)
            if not self._waiting:
                await asyncio.sleep(0)  # a quiet market must not keep the loop from others

    async def _keep_pace(self) -> None:
        if self._pace is None:
            return
        ahead_ns = self.venue.next_ns - self.venue.now_ns
        if ahead_ns > 0:
            await asyncio.sleep(min(ahead_ns / NANOS_PER_SECOND / self._pace, 3_600.0))

    def _put(self, item: Event | Notice) -> None:
        self._clock.observe(item.ts_recv_ns)
        self._waiting.append(item)
        self._wake.set()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Not taken: the market plays on the stream alone."""

    def send(self, command: VenueCommand) -> None:
        """Hand a command in."""
        if self.cut:
            self._counters["lost_commands"] += 1
            return
        if isinstance(command, SubmitOrder | CancelOrder):
            self.venue.hand_in(command)
            self._wake.set()
            return
        now_ns = self.venue.now_ns  # the synchronous exchange has neither replace nor several legs
        legs = (command.replacement,) if hasattr(command, "replacement") else command.legs
        for leg in legs:
            self._put(OrderStatusUnknown(leg.client_order_id, now_ns, now_ns, "not sent: no such order here"))
            self._put(OrderNotFound(leg.client_order_id, now_ns, now_ns))

    async def query_order(self, client_order_id: str) -> bool:
        """Say what became of an order."""
        venue = self.venue
        if client_order_id not in venue.submitted:
            self._put(OrderNotFound(client_order_id, venue.now_ns, venue.now_ns))
            return True
        while client_order_id not in venue.history and not venue.is_over:
            for event in venue.step():  # it is on its way: time passes while one asks
                self._put(event)
        for told in venue.history.get(client_order_id, ()):
            self._put(told)
        return client_order_id in venue.history

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Return the exchange's own truth."""
        venue, book = self.venue, self.venue.tape.instruments
        positions = tuple(
            VenuePosition(book[number].symbol, number, quantity, Decimal(0))
            for number, quantity in venue.exchange.account.positions.items()
            if quantity
        )
        orders = tuple(
            self._order(one.command, one.command.quantity - one.leaves)
            for resting in venue.exchange.working.values()
            for one in resting
        )
        fills = tuple(
            self._fill(event)
            for told in venue.history.values()
            for event in told
            if isinstance(event, OrderFilled)
            and fills_since_ns is not None
            and event.ts_event_ns >= fills_since_ns
        )
        now_ns = venue.now_ns
        return VenueView(now_ns, now_ns, self._facts(), venue.clock(), positions, orders, fills)

    def _order(self, command: SubmitOrder, filled: Decimal) -> VenueOrder:
        told = self.venue.history.get(command.client_order_id, ())
        name = next((one.venue_order_id for one in told if isinstance(one, OrderAccepted)), "")
        return VenueOrder(
            command.client_order_id,
            name,
            self.venue.tape.instruments[command.instrument_id].symbol,
            command.instrument_id,
            command.side,
            command.quantity,
            filled,
            None,
            "open",
            is_open=True,
            limit_price=command.limit_price,
            submitted_ns=self.venue.now_ns,
        )

    def _fill(self, event: OrderFilled) -> VenueFill:
        command = self.venue.submitted[event.client_order_id]
        told = self.venue.history.get(event.client_order_id, ())
        name = next((one.venue_order_id for one in told if isinstance(one, OrderAccepted)), "")
        return VenueFill(
            event.execution_id,
            name,
            self.venue.tape.instruments[command.instrument_id].symbol,
            command.side,
            event.quantity,
            None,
            event.price,
            event.ts_event_ns,
        )

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Let the market play; every instrument of the tape comes."""
        del instrument_ids
        self._plays.set()
        self._wake.set()

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quotes."""
        found = (self.venue.exchange.quotes[number] for number in instrument_ids)
        return tuple(quote for quote in found if quote is not None)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """There are none: a played market brings its forecasts along."""
        del instrument_id, first, last
        return ()

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[MinuteBar, ...]:
        """There are none: a played market is told what came before it."""
        del instrument_id, first, last
        return ()

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the tape's options."""
        return tuple(
            ListedContract(contract, self.venue.tape.open_interest.get(contract.symbol), is_tradable=True)
            for _, contract in self.venue.tape.instruments.options(underlying)
            if first <= contract.expiry <= last
        )

    def health(self) -> Health:
        """Return how the line stands."""
        streams = {"orders": not self.cut, "market": self._plays.is_set()}
        return Health(
            streams, dict.fromkeys(streams, 0.0), 0, tuple(self._doubted), 1_000, dict(self._counters)
        )

    async def reconnect(self, stream: str) -> None:
        """There is no connection that could be silent."""

    async def close(self, *, graceful: bool = True) -> None:
        """Hang up."""
        del graceful
        self._closed = True
        self._wake.set()
