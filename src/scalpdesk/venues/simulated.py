"""Gateways to the simulated broker in this process: a tape on a clock, or a live feed with simulated fills.

``simulated`` plays a session of a tape. ``sandbox`` takes its market from another gateway, of which only the
data side is used: nothing is ever sent to it. The account of either lives as long as the process; a run that
is resumed begins with the cash and holdings that the journal remembers.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

import msgspec

from scalpdesk.core.clock import Clock, FollowingClock, Stamper
from scalpdesk.core.events import (
    BarEvent,
    Event,
    FillBusted,
    GammaExposureEvent,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderNotFound,
    PositionChanged,
    QuoteEvent,
    TradeEvent,
    TradingHalt,
)
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder, VenueCommand, orders_of
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import next_session
from scalpdesk.marketdata.tape import CashDividend, MarketTape
from scalpdesk.simulation.connection import OVER, AccountEvent, BrokerConnection
from scalpdesk.simulation.hours import Hours
from scalpdesk.simulation.tape_reader import TapeReader
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Gateway,
    Health,
    KnownOrder,
    ListedContract,
    Notice,
    NoticeKind,
    VenueClock,
    VenueFill,
    VenueMinute,
    VenueOrder,
    VenuePosition,
    VenueView,
)
from scalpdesk.venues.event_queue import EventQueue
from scalpdesk.venues.gateway_base import AnswersTogether, WithoutCorporateActions

_LONGEST_NAP_SECONDS = 1.0
_UNLIMITED_REQUESTS = 1_000_000


class AccountRecord:
    """An account at the broker as a venue shows it: its orders by the desk's ids, and their history."""

    def __init__(self, account_id: str, connection: BrokerConnection) -> None:
        self.account_id = account_id
        self.connection = connection
        self.account = connection.account
        self.submitted: dict[str, SubmitOrder] = {}
        """Every order that was sent, by the desk's id."""
        self.duplicates: list[str] = []
        """Ids that were sent a second time."""
        self.history: dict[str, list[OrderEvent]] = {}
        """Events of each order that the desk was sent."""

    def take(self, command: VenueCommand, now_ns: int, *, is_over: bool = False) -> None:
        """Take a command; after the session it is refused."""
        for order in orders_of(command):
            if order.client_order_id in self.submitted:
                self.duplicates.append(order.client_order_id)
            self.submitted[order.client_order_id] = order
        if is_over:
            self.connection.refuse(command, OVER, now_ns, now_ns)
        else:
            self.connection.send(command, now_ns)

    def collect(self, now_ns: int) -> list[AccountEvent]:
        """Carry out what is due; return what reaches the desk."""
        events = self.connection.take_due(now_ns)
        for event in events:
            if not isinstance(event, PositionChanged):
                self.history.setdefault(event.client_order_id, []).append(event)
        return events

    def missed(self, known: KnownOrder) -> list[OrderEvent]:
        """Return what was sent of an order that the journal has not booked."""
        return [
            event
            for event in self.history.get(known.submitted.client_order_id, ())
            if not (isinstance(event, OrderAccepted) and known.venue_order_id)
            and not (isinstance(event, OrderFilled) and event.execution_id in known.executions)
        ]

    def facts(self) -> AccountFacts:
        """Return the account as the venue describes it."""
        account, figures = self.account, self.connection.broker.ledger.figures(self.account)
        return AccountFacts(
            self.account_id,
            "ACTIVE",
            account.currency,
            figures.cash,
            figures.equity,
            figures.buying_power,
            figures.options_buying_power,
            account.options_level,
            may_trade=not account.trading_blocked,
            may_short=account.shorting_enabled,
        )

    def view(self, now_ns: int, clock: VenueClock, fills_since_ns: int | None) -> VenueView:
        """Return the whole account."""
        return VenueView(
            now_ns,
            now_ns,
            self.facts(),
            clock,
            self.positions(),
            self.open_orders(),
            () if fills_since_ns is None else tuple(self.fills(fills_since_ns)),
        )

    def _symbol(self, number: InstrumentId) -> str:
        return self.connection.broker.ledger.instruments[number].symbol

    def positions(self) -> tuple[VenuePosition, ...]:
        """Return the account's open positions."""
        return tuple(
            VenuePosition(
                self._symbol(number),
                number,
                held.quantity,
                held.average_price,
                self.connection.broker.ledger.instruments[number],
            )
            for number, held in self.account.holdings.items()
        )

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Return the orders that are not at their end, each leg of several as its own."""
        return tuple(
            VenueOrder(
                client_order_id=order.client_order_id,
                venue_order_id=order.order_id if order.parent is None else order.parent,
                symbol=self._symbol(order.instrument_id),
                instrument_id=order.instrument_id,
                side=order.side,
                quantity=order.quantity,
                filled=order.filled,
                average_price=order.average,
                status=order.status.value,
                is_open=True,
                limit_price=order.working_limit,
                submitted_ns=order.created_ns,
                parent_id="" if order.parent is None else self.account.orders[order.parent].client_order_id,
            )
            for order in self.account.open_orders()
            if order.instrument_id is not None
        )

    def fills(self, since_ns: int) -> list[VenueFill]:
        """Return the executions that the desk has been sent since an instant and that stand, oldest first."""
        fills: list[VenueFill] = []
        for events in self.history.values():
            taken_back = {event.execution_id for event in events if isinstance(event, FillBusted)}
            cumulative = ZERO
            for event in events:
                if not isinstance(event, OrderFilled) or event.execution_id in taken_back:
                    continue
                cumulative += event.quantity
                if event.ts_event_ns < since_ns:
                    continue
                order = self.account.by_client_id[event.client_order_id]
                assert order.instrument_id is not None
                fills.append(
                    VenueFill(
                        event.execution_id,
                        order.order_id if order.parent is None else order.parent,
                        self._symbol(order.instrument_id),
                        order.side,
                        event.quantity,
                        cumulative,
                        event.price,
                        event.ts_event_ns,
                        event.fee,
                    )
                )
        return sorted(fills, key=lambda fill: fill.ts_event_ns)


class PlayedSession:
    """A session of a tape with an account at a broker; it outlives a gateway, as a venue outlives a desk.

    ``tape``: The market; its first session is played.
    ``exposures``: Dealer gamma that becomes known, each after the quotes of its instant; those of the open
    are for the start.
    ``from_ns``: Instant up to which a run that is resumed has played it, UTC nanoseconds. The market goes on
    there, and nothing is paid a second time that its journal has booked.
    """

    def __init__(
        self,
        tape: MarketTape,
        connection: BrokerConnection,
        exposures: Sequence[GammaExposureEvent] = (),
        *,
        from_ns: int = 0,
    ) -> None:
        self.tape = tape
        self.record = AccountRecord("simulated", connection)
        self.session = tape.sessions[0]
        self.now_ns = self.session.open_ns
        self.is_over = False
        self.known_at_open = tuple(order for order in exposures if order.ts_recv_ns <= self.session.open_ns)
        self._exposures = deque(exposures[len(self.known_at_open) :])
        self._connection = connection
        self._reader = TapeReader(tape, self.session)
        self._market: deque[QuoteEvent | BarEvent] = deque()
        self._is_settled = False
        is_resumed = from_ns > self.session.open_ns
        if is_resumed:  # dividends and corporate actions are those of the open
            later = tuple(rate for rate in tape.funding if rate.ts_ns > from_ns)
            connection.broker.play(replace(tape, dividends=(), actions=(), funding=later))
        else:
            connection.broker.play(tape)
        connection.open_session(self.session.open_ns, self.session.close_ns)
        if is_resumed:
            self._pass_to(from_ns)

    def _pass_to(self, from_ns: int) -> None:
        """Leave out what was played before; the broker knows the last quotes of it."""
        while self._reader.next_ns() <= from_ns:
            for event in self._reader.take_next():
                if isinstance(event, QuoteEvent):
                    self._connection.broker.ledger.take(event)
        while self._exposures and self._exposures[0].ts_recv_ns <= from_ns:
            self._exposures.popleft()
        self.now_ns = from_ns

    def _market_ns(self) -> int:
        if not self._market and self._reader.next_ns() < NEVER_NS:
            self._market.extend(self._reader.take_next())
        return self._market[0].ts_recv_ns if self._market else self.session.close_ns + 1

    @property
    def next_ns(self) -> int:
        """Instant of the next event, UTC nanoseconds."""
        return min(self._connection.due_ns, self._market_ns())

    def take(self, command: VenueCommand) -> None:
        """Take a command."""
        self.record.take(command, self.now_ns, is_over=self._is_settled)

    def step(self) -> Sequence[Event]:
        """Play the next event; return what of it reaches the desk."""
        if self._is_settled:
            answers = self.record.collect(self.now_ns)
            self.is_over = not answers
            return answers
        market_ns, due_ns, close_ns = self._market_ns(), self._connection.due_ns, self.session.close_ns
        if self._exposures and self._exposures[0].ts_recv_ns < min(market_ns, due_ns, close_ns):
            self.now_ns = self._exposures[0].ts_recv_ns
            return (self._exposures.popleft(),)
        if due_ns <= min(market_ns, close_ns):
            self.now_ns = max(self.now_ns, due_ns)
            return self.record.collect(due_ns)
        if market_ns <= close_ns:
            event = self._market.popleft()
            self.now_ns = event.ts_recv_ns
            if isinstance(event, QuoteEvent):
                self._connection.on_quote(event)
            return (event,)
        self._is_settled, self.now_ns = True, close_ns
        self._connection.expire(close_ns)
        changes = self.record.collect(close_ns)
        self._connection.close_session(close_ns)
        self.now_ns = self._connection.clear_night(close_ns) or close_ns
        return changes

    def refuse_late(self, now_ns: int) -> Sequence[Event]:
        """Return the answers to what was sent after the close."""
        self.now_ns = max(self.now_ns, now_ns)
        return self.record.collect(self.now_ns)

    def clock(self) -> VenueClock:
        """Return the venue's time and session."""
        following = next_session(self.session.day)
        is_open = self.session.open_ns <= self.now_ns < self.session.close_ns
        closes_ns = self.session.close_ns if is_open else following.close_ns
        return VenueClock(self.now_ns, is_open, following.open_ns, closes_ns)


class SimulatedGateway(WithoutCorporateActions, AnswersTogether):
    """The gateway to a :class:`PlayedSession`.

    ``venue``: The other side.
    ``clock``: Follows the venue's time; the desk reads it.
    ``pace``: Market seconds a second; None plays as fast as the desk handles.
    """

    name = "simulated"
    takes_combos = BrokerConnection.takes_combos

    def __init__(self, venue: PlayedSession, clock: FollowingClock, *, pace: float | None = None) -> None:
        self.venue = venue
        self._clock = clock
        self._pace = pace
        self._waiting: deque[Event | Notice] = deque()
        self._plays = asyncio.Event()
        self._wake = asyncio.Event()
        self._closed = False
        self._counters: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        """Number of an order's events in the venue's history that the desk knows."""
        self._last_ns = 0
        self.cut = False
        """True loses every command and every answer from now on: the line is gone."""

    @property
    def tape(self) -> MarketTape:
        """The market that it plays."""
        return self.venue.tape

    @property
    def known_at_open(self) -> Sequence[Event]:
        """Dealer gamma that was known before the open."""
        return self.venue.known_at_open

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Take in what the journal knows; what it missed comes out as events."""
        for known in known_orders:
            if known.is_live:
                self._put(*self.venue.record.missed(known))
            name = known.submitted.client_order_id
            self._told[name] = len(self.venue.record.history.get(name, ()))
        self._put(Notice(NoticeKind.CONNECTED, self.venue.now_ns, "orders", "connected"))
        return self.venue.record.facts()

    async def events(self) -> AsyncIterator[Event | Notice]:
        """Play the market after the first subscription."""
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
            if not await self._keep_pace():
                return  # what comes next is for the gateway that follows
            events = self.venue.step()
            if not self.cut:
                self._put(*events)
            if not self._waiting:
                await asyncio.sleep(0)  # a quiet market must not keep the loop from others

    async def _keep_pace(self) -> bool:
        """Wait for the next event; return whether it is still played here."""
        if self._pace is None:
            return True
        ahead_ns = self.venue.next_ns - self.venue.now_ns
        if ahead_ns > 0:
            await asyncio.sleep(min(ahead_ns / NANOS_PER_SECOND / self._pace, 3_600.0))
        return not self._closed

    def _put(self, *items: Event | Notice) -> None:
        for item in items:
            self._last_ns = max(self._last_ns, item.ts_recv_ns)
            if isinstance(item, OrderEvent):
                self._told[item.client_order_id] += 1
            # what happened before this connection is received now
            is_late = item.ts_recv_ns < self._last_ns
            self._waiting.append(msgspec.structs.replace(item, ts_recv_ns=self._last_ns) if is_late else item)
            self._clock.observe(self._last_ns)
        self._wake.set()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Not taken: the market plays on the stream alone."""

    def send(self, command: VenueCommand) -> None:
        """Send a command."""
        if self.cut:
            self._counters["lost_commands"] += 1
            return
        self.venue.take(command)
        self._wake.set()

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id of the desk."""
        return client_order_id in self.venue.record.submitted

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        """Report what became of an order, as far as the desk was not told; else that it is there."""
        del again
        venue = self.venue
        history = venue.record.history
        if client_order_id not in venue.record.submitted:
            self._put(OrderNotFound(client_order_id, venue.now_ns, venue.now_ns))
            return True
        while client_order_id not in history and not venue.is_over:
            self._put(*venue.step())  # it is on its way: time passes while it is asked for
        self._put(*history.get(client_order_id, ())[self._told[client_order_id] :])
        order = venue.record.account.by_client_id.get(client_order_id)
        if order is not None and order.is_open:
            now_ns = venue.now_ns
            self._put(OrderAccepted(client_order_id, now_ns, now_ns, order.parent or order.order_id))
            self._told[client_order_id] -= 1  # it is not of the history
        return client_order_id in history

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Return the broker's own truth."""
        return self.venue.record.view(self.venue.now_ns, self.venue.clock(), fills_since_ns)

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Start the market; every instrument of the tape is streamed."""
        del instrument_ids
        self._plays.set()
        self._wake.set()

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quotes."""
        known = self.venue.record.connection.broker.ledger.quotes
        return tuple(known[number] for number in instrument_ids if number in known)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return an empty tuple: a tape brings its own forecasts."""
        del instrument_id, first, last
        return ()

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return an empty tuple: a tape brings its earlier sessions."""
        del instrument_id, first, last
        return ()

    async def resolve(self, symbol: str) -> Instrument:
        """Return the tape's instrument of a symbol."""
        return self.venue.tape.instruments[self.venue.tape.instruments.id_of(symbol)]

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the tape's options."""
        return tuple(
            ListedContract(contract, self.venue.tape.open_interest.get(contract.symbol), is_tradable=True)
            for _, contract in self.venue.tape.instruments.options(underlying)
            if first <= contract.expiry <= last
        )

    def health(self) -> Health:
        """Return the state of the connection."""
        streams = {"orders": not (self.cut or self._closed), "market": self._plays.is_set()}
        return Health(streams, dict.fromkeys(streams, 0.0), 0, (), 1_000, dict(self._counters))

    async def reconnect(self, stream: str) -> None:
        """There is no connection that could be silent."""

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """There is no subscription that could be lost."""

    async def close(self, *, graceful: bool = True) -> None:
        """End the stream."""
        del graceful
        self._closed = True
        self._wake.set()


class SandboxGateway(WithoutCorporateActions, AnswersTogether):
    """A simulated account at live prices.

    ``data``: Brings quotes, contracts and their discovery; its account is never traded.
    ``connection``: To the broker; its instruments are those of the run and may grow.
    ``clock``: Stamps what happens here; the same as the data gateway's.
    ``hours``: Sessions of the venue; the broker's own.
    """

    name = "sandbox"
    takes_combos = BrokerConnection.takes_combos

    def __init__(self, data: Gateway, connection: BrokerConnection, clock: Clock, hours: Hours) -> None:
        self.record = AccountRecord(self.name, connection)
        self._data = data
        self._connection = connection
        self._stamper = Stamper(clock)
        self._hours = hours
        self._queue = EventQueue()
        self._counters: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._boundary_ns = 0
        self._is_connected = False
        self._last_put_ns = 0

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Connect the data; orders that the journal holds for live ended with their process."""
        await self._data.connect()
        now_ns = self._stamper.timestamp()
        self._begin(now_ns)
        for known in known_orders:
            if known.is_live:
                name = known.submitted.client_order_id
                self._put([OrderCancelled(name, now_ns, now_ns, "the sandbox ended with its process")])
        self._put([Notice(NoticeKind.CONNECTED, now_ns, "orders", "connected")])
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._pump()), loop.create_task(self._keep_time())]
        for task in self._tasks:
            task.add_done_callback(self._failed)
        self._is_connected = True
        return self.record.facts()

    def _failed(self, task: asyncio.Task[None]) -> None:
        """Report a task that ended by a fault: without it the account stands still."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._put(
                [Notice(NoticeKind.DEAD, self._last_put_ns, "orders", "internal_fault", repr(error)[:200])]
            )

    def _begin(self, now_ns: int) -> None:
        """Open the session that is on, and note when the next one begins or ends."""
        session = self._hours.session_at(now_ns)
        if session is not None:
            self._connection.open_session(session.open_ns, session.close_ns)
        self._boundary_ns = self._hours.next_boundary_ns(now_ns)

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        return self._queue.items()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits."""
        self._queue.shortcut = take

    def send(self, command: VenueCommand) -> None:
        """Send a command to the broker."""
        now_ns = self._stamper.timestamp()
        self.record.take(command, now_ns)
        self._put(self.record.collect(now_ns))
        self._changed.set()

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id of the desk."""
        return client_order_id in self.record.submitted

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        """Report what became of an order: everything is known here."""
        del again
        now_ns = self._stamper.timestamp()
        if client_order_id not in self.record.submitted:
            self._put([OrderNotFound(client_order_id, now_ns, now_ns)])
        elif client_order_id in self.record.account.by_client_id:
            order = self.record.account.by_client_id[client_order_id]
            self._put([OrderAccepted(client_order_id, now_ns, now_ns, order.parent or order.order_id)])
        return True

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Return the account."""
        now_ns = self._stamper.timestamp()
        return self.record.view(now_ns, self._clock(now_ns), fills_since_ns)

    def _clock(self, now_ns: int) -> VenueClock:
        hours = self._hours
        is_open = hours.session_at(now_ns) is not None
        return VenueClock(now_ns, is_open, hours.next_open_ns(now_ns), hours.next_close_ns(now_ns))

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream live quotes of exactly these instruments."""
        await self._data.subscribe(instrument_ids)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest live quote of each instrument that has one."""
        return await self._data.quotes(instrument_ids)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars that the real venue has."""
        return await self._data.daily_bars(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes that the real venue has."""
        return await self._data.minute_bars(instrument_id, first, last)

    async def dividends(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CashDividend, ...]:
        """Return the dividends that the real venue lists."""
        return await self._data.dividends(instrument_id, first, last)

    async def resolve(self, symbol: str) -> Instrument:
        """Return the underlying as the real venue has it."""
        return await self._data.resolve(symbol)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options that the real venue lists."""
        return await self._data.discover(underlying, first, last)

    def health(self) -> Health:
        """Return the data's health with the broker's own order stream."""
        health = self._data.health()
        return msgspec.structs.replace(
            health,
            streams={**health.streams, "orders": self._is_connected},
            in_flight=0,
            unknown=(),
            requests_left=_UNLIMITED_REQUESTS,
            counters={**health.counters, **self._counters},
        )

    async def reconnect(self, stream: str) -> None:
        """Replace a data stream's connection that delivers nothing."""
        await self._data.reconnect(stream)

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Ask again for quotes that come no more."""
        await self._data.renew_quotes(instrument_ids)

    async def close(self, *, graceful: bool = True) -> None:
        """End the data's connections and the stream."""
        self._is_connected = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._data.close(graceful=graceful)
        self._queue.close()

    def take_quote(self, quote: QuoteEvent) -> list[AccountEvent | QuoteEvent]:
        """Hand the broker a quote; return what reaches the desk by then, in the order of a backtest."""
        due = self.record.collect(quote.ts_recv_ns)
        self._connection.on_quote(quote)
        return [*due, quote, *self.record.collect(quote.ts_recv_ns)]

    async def _pump(self) -> None:
        """Carry the market to the broker and to the desk; what concerns the real account stays out."""
        async for item in self._data.events():
            if isinstance(item, QuoteEvent):
                self._put(self.take_quote(item))
            elif isinstance(item, TradingHalt):
                broker = self._connection.broker
                (broker.halt if item.is_halted else broker.resume)(item.instrument_id)
                self._put([item])
            elif isinstance(item, TradeEvent | BarEvent) or (
                isinstance(item, Notice) and item.stream != "orders"
            ):
                self._put([item])
            else:
                self._counters["passed_over"] += 1

    async def _keep_time(self) -> None:
        """Let answers arrive, options expire and sessions begin and end without a quote to bring them."""
        while True:
            now_ns = self._stamper.timestamp()
            self._put(self.advance(now_ns))
            due_ns = min(self._boundary_ns, self._connection.due_ns)
            nap = min(max(due_ns - now_ns, 0) / NANOS_PER_SECOND, _LONGEST_NAP_SECONDS)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                # not wait_for: it may swallow the cancellation that ends this task
                async with asyncio.timeout(max(nap, 0.001)):
                    await self._changed.wait()

    def advance(self, now_ns: int) -> list[AccountEvent]:
        """Carry out what is due, sessions included; return what reaches the desk."""
        events: list[AccountEvent] = []
        while self._boundary_ns <= now_ns:
            at_ns = self._boundary_ns
            events += self.record.collect(at_ns)
            if self._connection.broker.is_open:
                self._connection.close_session(at_ns)
                self._connection.clear_night(at_ns, at_ns)  # this account ends with the process
                events += self.record.collect(at_ns)
            self._begin(at_ns)
        return events + self.record.collect(now_ns)

    def _put(
        self, items: Iterable[AccountEvent | QuoteEvent | TradeEvent | BarEvent | TradingHalt | Notice]
    ) -> None:
        for item in items:
            if item.ts_recv_ns < self._last_put_ns:
                # it waited at the data's gateway while something else was reported here
                stamped = msgspec.structs.replace(item, ts_recv_ns=self._last_put_ns)
                self._queue.publish(stamped)
            else:
                self._last_put_ns = item.ts_recv_ns
                self._queue.publish(item)
