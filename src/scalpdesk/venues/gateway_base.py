"""What the gateways of venues have in common: one stream of events, one order path, one state of health."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date

from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.venues.budget import loop_ns
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    HoldingsView,
    KnownOrder,
    ListedContract,
    Notice,
    VenueMinute,
    VenueView,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import OrderPath


class WithoutCorporateActions:
    """The part of a gateway whose venue tells of no splits and dividends."""

    async def splits(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CorporateAction, ...]:
        """Return an empty tuple: the venue does not follow splits."""
        del instrument_id, first, last
        return ()

    async def dividends(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CashDividend, ...]:
        """Return an empty tuple: the venue lists no dividends."""
        del instrument_id, first, last
        return ()


class AnswersTogether(ABC):
    """The part of a gateway whose venue answers all questions for the account, or none."""

    @abstractmethod
    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account."""

    async def shown_positions(self) -> HoldingsView:
        """Return the positions as the whole account shows them."""
        return HoldingsView.of(await self.snapshot())

    def waits_for(self) -> tuple[str, ...]:
        """Return nothing: no question is asked by itself."""
        return ()


class GatewayBase(WithoutCorporateActions, AnswersTogether, ABC):
    """An empty adapter: what every :class:`scalpdesk.venues.contract.EmergencyGateway` has alike.

    The table at :class:`scalpdesk.venues.contract.Gateway` says which members a venue writes and what the
    others answer. A venue's gateway sets both of these when it is built.
    """

    _publisher: EventPublisher
    """Its one stream."""
    _path: OrderPath
    """Sends its orders and follows them."""

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Check keys, account and clock, then listen to the account; see the protocol.

        A gateway that could not connect is over: build another to try again.
        """
        try:
            return await self._connect(known_orders)
        except BaseException:
            await self.close(graceful=False)
            raise

    async def connect_to_leave(self) -> str:
        """Connect to cancel and close, whatever else the venue answers; see the protocol."""
        try:
            return await self._connect_to_leave()
        except BaseException:
            await self.close(graceful=False)
            raise

    async def _connect_to_leave(self) -> str:
        """Connect and return the account's id, empty where the venue does not say it."""
        return (await self._connect(())).account_id

    async def cancel_all(self) -> bool:
        """Cancel all orders of the account by one request; return whether the venue took it."""
        return False

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return an empty tuple: the venue has no daily bars."""
        del instrument_id, first, last
        return ()

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return an empty tuple: the venue has no minutes of the past."""
        del instrument_id, first, last
        return ()

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return an empty tuple: the venue lists no options."""
        del underlying, first, last
        return ()

    async def reconnect(self, stream: str) -> None:
        """Do nothing: no data stream stands silent."""

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Do nothing: a poll loses no subscription."""

    @abstractmethod
    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections."""

    @abstractmethod
    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one, by query."""

    @abstractmethod
    async def resolve(self, symbol: str) -> Instrument:
        """Return the underlying that ``symbol`` names at the venue."""

    @abstractmethod
    def health(self) -> Health:
        """Return the state of the connections and the budget, without asking the venue."""

    @abstractmethod
    async def _connect(self, known_orders: Iterable[KnownOrder]) -> AccountFacts: ...

    @abstractmethod
    async def close(self, *, graceful: bool = True) -> None:
        """End the connections. Graceful waits (bounded) for answers under way."""

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        return self._publisher.queue.items()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits."""
        self._publisher.queue.shortcut = take

    def judge_quotes(self, believes: Callable[[QuoteEvent], bool]) -> Callable[[QuoteEvent], None]:
        """Ask ``believes`` about each quote; see the protocol."""
        self._publisher.queue.believes = believes
        return self._publisher.queue.note

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        self._path.send(command)

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        self._path.adopt(orders)

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of any sender by the venue's id; return whether the venue took the cancel."""
        return await self._path.wire.cancel_at_venue(venue_order_id)

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        """Ask the venue what became of an order; return whether it gave proof."""
        return await self._path.query_order(client_order_id, again)

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id of the desk."""
        return await self._path.wire.is_taken(client_order_id)

    def _health(
        self, streams: dict[str, bool], silent_seconds: dict[str, float], counters: Mapping[str, int]
    ) -> Health:
        """Return the state of the order path and of these streams."""
        merged = {"merged_quotes": self._publisher.queue.merged}
        return Health(
            streams=streams,
            silent_seconds=silent_seconds,
            in_flight=len(self._path.under_way),
            unknown=self._path.tracker.unknown(),
            requests_left=self._path.budget.left(loop_ns()),
            counters=dict(self._publisher.counters) | merged | dict(counters),
        )
