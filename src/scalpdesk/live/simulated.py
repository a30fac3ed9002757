"""A gateway without a wire: a tape and the in-process simulated exchange, paced or in step.

The :class:`SimulatedVenue` is the other side: it outlives a gateway, as a venue outlives a desk, so
that a desk that died can come back to it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from operator import attrgetter

import numpy as np

from scalpdesk.core.events import (
    BarEvent,
    Event,
    GammaExposureEvent,
    OrderAbsent,
    OrderAccepted,
    OrderDoubted,
    OrderEvent,
    OrderFilled,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.marketdata.tape_bars import session_bars
from scalpdesk.simulation.exchange import NEVER_NS, SimulatedExchange
from scalpdesk.venues.base import (
    AccountFacts,
    FollowingClock,
    Health,
    KnownOrder,
    ListedContract,
    Notice,
    NoticeKind,
    VenueClock,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueView,
)
from scalpdesk.venues.history import DailyBar

CHUNK_ROWS = 4_096
ZERO = Decimal(0)


class SimulatedVenue:
    """One session of a tape and one account at the simulated exchange, with the history of its orders.

    Parameters
    ----------
    tape
        The market; its first session is played.
    exchange
        Matches and keeps the account.
    account_id
        Name of the account.
    words
        Told within the session, each after the quotes of its instant; those of the open are for the start.
    """

    def __init__(
        self,
        tape: MarketTape,
        exchange: SimulatedExchange,
        account_id: str = "simulated",
        words: Sequence[GammaExposureEvent] = (),
    ) -> None:
        self.tape = tape
        self.exchange = exchange
        self.account_id = account_id
        self.session = tape.sessions[0]
        self.now_ns = self.session.open_ns
        self.submitted: dict[str, SubmitOrder] = {}
        """Every order that was handed in, by the desk's id; a second one under an id is a fault."""
        self.duplicates: list[str] = []
        self.history: dict[str, list[OrderEvent]] = {}
        self.is_over = False
        self.told_at_open = tuple(one for one in words if one.ts_recv_ns <= self.session.open_ns)
        later: list[BarEvent | GammaExposureEvent] = [
            *session_bars(tape, self.session),
            *words[len(self.told_at_open) :],
        ]
        self._words = deque(sorted(later, key=attrgetter("ts_recv_ns")))
        self._quotes = self._read_quotes()
        self._next = next(self._quotes, None)
        self._settled = False

    def _read_quotes(self) -> Iterator[QuoteEvent]:
        columns = self.tape.quotes
        first = int(np.searchsorted(columns.ts_ns, self.session.open_ns, side="left"))
        last = int(np.searchsorted(columns.ts_ns, self.session.close_ns, side="right"))
        underlying = self.tape.instruments.id_of(self.tape.underlying)
        low = first
        while low < last:
            high = min(low + CHUNK_ROWS, last)
            while high < last and columns.ts_ns[high] == columns.ts_ns[high - 1]:
                high += 1
            part = slice(low, high)
            ids, stamps = columns.instrument_id[part], columns.ts_ns[part]
            for row in np.lexsort((ids, ids == underlying, stamps)).tolist():
                at = low + row
                yield QuoteEvent(
                    InstrumentId(int(ids[row])),
                    int(stamps[row]),
                    int(stamps[row]),
                    float(columns.bid[at]),
                    float(columns.ask[at]),
                    float(columns.bid_size[at]),
                    float(columns.ask_size[at]),
                )
            low = high

    @property
    def next_ns(self) -> int:
        """When something happens next, UTC nanoseconds."""
        quote_ns = self.session.close_ns + 1 if self._next is None else self._next.ts_recv_ns
        return min(self.exchange.due_ns, quote_ns)

    def hand_in(self, command: SubmitOrder | CancelOrder) -> None:
        """Take a command."""
        if isinstance(command, SubmitOrder):
            if command.client_order_id in self.submitted:
                self.duplicates.append(command.client_order_id)
                return
            self.submitted[command.client_order_id] = command
        self.exchange.send(command, self.now_ns)

    def step(self) -> list[Event]:
        """Let the next thing happen; return what the desk may learn of it."""
        if self._words and self._words[0].ts_recv_ns < min(self.next_ns, self.session.close_ns):
            self.now_ns = self._words[0].ts_recv_ns
            return [self._words.popleft()]
        due_ns = self.exchange.due_ns
        if due_ns <= self.next_ns or (self._settled and due_ns != NEVER_NS):
            self.now_ns = max(self.now_ns, self.exchange.due_ns)
            answers = self.exchange.take_due(self.exchange.due_ns)
            for answer in answers:
                self.history.setdefault(answer.client_order_id, []).append(answer)
            return list(answers)
        quote = self._next
        if quote is not None:
            self._next = next(self._quotes, None)
            self.now_ns = quote.ts_recv_ns
            self.exchange.on_quote(quote)
            return [quote]
        return self._end()

    def _end(self) -> list[Event]:
        """The session is over: settle what expires, end what rests."""
        if self._settled:
            self.is_over = self.exchange.due_ns == NEVER_NS
            return []
        self._settled = True
        self.now_ns = self.session.close_ns
        changes: list[PositionChanged] = self.exchange.settle_expired(self.now_ns, self._levels())
        self.exchange.end_session(self.now_ns)
        return list(changes)

    def refuse_late(self, now_ns: int) -> list[OrderEvent]:
        """End what was handed in after the close; return the answers."""
        self.now_ns = max(self.now_ns, now_ns)
        self.exchange.end_session(self.now_ns)
        answers = self.exchange.take_due(self.now_ns)
        for answer in answers:
            self.history.setdefault(answer.client_order_id, []).append(answer)
        return answers

    def _levels(self) -> dict[InstrumentId, float]:
        levels: dict[InstrumentId, float] = {}
        for index, one in enumerate(self.tape.instruments):
            if not isinstance(one, OptionContract):
                continue
            if not self.session.open_ns <= expiry_instant_ns(one) <= self.session.close_ns:
                continue
            known = self.tape.settlement_prices.get((one.underlying, self.session.day))
            quote = self.exchange.quotes[self.tape.instruments.id_of(one.underlying)]
            level = known if known is not None else None if quote is None else quote.mid
            if level is not None:
                levels[InstrumentId(index)] = level
        return levels

    def clock(self) -> VenueClock:
        """Return the venue's time and session."""
        following = next_session(self.session.day)
        is_open = self.session.open_ns <= self.now_ns < self.session.close_ns
        closes_ns = self.session.close_ns if is_open else following.close_ns
        return VenueClock(self.now_ns, is_open, following.open_ns, closes_ns)


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
            self._put(OrderDoubted(leg.client_order_id, now_ns, now_ns, "not sent: no such order here"))
            self._put(OrderAbsent(leg.client_order_id, now_ns, now_ns))

    async def resolve(self, client_order_id: str) -> bool:
        """Say what became of an order."""
        venue = self.venue
        if client_order_id not in venue.submitted:
            self._put(OrderAbsent(client_order_id, venue.now_ns, venue.now_ns))
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

    async def renew(self, stream: str) -> None:
        """There is no connection that could be silent."""

    async def close(self, *, graceful: bool = True) -> None:
        """Hang up."""
        del graceful
        self._closed = True
        self._wake.set()
