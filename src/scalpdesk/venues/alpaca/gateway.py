"""The gateway to Alpaca: one account, its orders, and the quotes of what it trades."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import date

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.venues.alpaca import order_messages
from scalpdesk.venues.alpaca.account_messages import CLOCK, read_account
from scalpdesk.venues.alpaca.fields import Refusal
from scalpdesk.venues.alpaca.market_data import DataStreams
from scalpdesk.venues.alpaca.order_messages import Authorized, Listening, TradeUpdate, read_update
from scalpdesk.venues.alpaca.orders import OrderPath, OrderReports
from scalpdesk.venues.alpaca.queries import Checks, Queries
from scalpdesk.venues.alpaca.stream import Listen, Say, StreamConnection, StreamRefused, loop_ns
from scalpdesk.venues.alpaca.transport import (
    Endpoints,
    GatewayOptions,
    Network,
    RestClient,
)
from scalpdesk.venues.budget import RequestBudget, Urgency
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    KnownOrder,
    ListedContract,
    MinuteBar,
    Notice,
    NoticeKind,
    Revealable,
    Stamper,
    VenueView,
)
from scalpdesk.venues.event_queue import EventQueue
from scalpdesk.venues.tracker import OrderTracker

KEEP_WARM_SECONDS = 25.0


class AlpacaGateway:
    """One account at Alpaca; the protocol is :class:`scalpdesk.venues.contract.Gateway`.

    Parameters
    ----------
    endpoints
        Paper, live (with its token) or a simulated exchange.
    key, secret
        Reveal themselves only where they are sent.
    book
        Instruments of the run; it may still grow.
    clock
        Stamps what is received.
    options
        Limits and times.
    network
        Where connections come from; None is TCP.
    """

    name = "alpaca"
    takes_combos = True

    def __init__(
        self,
        endpoints: Endpoints,
        key: Revealable,
        secret: Revealable,
        book: Instruments,
        clock: Clock,
        options: GatewayOptions | None = None,
        network: Network | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._key = key
        self._secret = secret
        self._book = book
        self._clock = clock
        self._options = options = options or GatewayOptions()
        headers = {"APCA-API-KEY-ID": key.reveal(), "APCA-API-SECRET-KEY": secret.reveal()}
        self._order_http = RestClient(
            endpoints.trading_url,
            headers,
            connections=options.order_connections,
            timeout_seconds=options.timeout_seconds,
            network=network,
        )
        patience = 4 * options.timeout_seconds
        self._query_http, self._data_http = (
            RestClient(url, headers, connections=4, timeout_seconds=patience, network=network)
            for url in (endpoints.trading_url, endpoints.data_url)
        )
        self._counters: Counter[str] = Counter()
        self._outbox = EventQueue()
        self._stamper = Stamper(clock)
        self._budget = RequestBudget(options.requests_per_minute)
        self._reports = OrderReports(
            self._query_http,
            book,
            OrderTracker(book, options.fees),
            self._outbox,
            self._stamper,
            self._budget,
            absent_after_ns=int(options.absent_after_seconds * NANOS_PER_SECOND),
            request_ns=int(options.timeout_seconds * NANOS_PER_SECOND),
            count=self._count,
        )
        self._orders = OrderPath(self._order_http, self._reports)
        self._queries = Queries(
            self._query_http,
            self._data_http,
            endpoints,
            book,
            self._stamper,
            self._reports,
            RequestBudget(options.data_requests_per_minute),
            self._refuse,
        )
        self._checks = Checks(endpoints, options, self._queries)
        self._stream = StreamConnection(
            "orders",
            endpoints.orders_url,
            {},
            is_binary=False,
            hello=self._hello,
            on_frame=self._on_frame,
            on_up=self._on_up,
            on_down=self._on_down,
            heartbeat_seconds=options.heartbeat_seconds,
            network=network,
        )
        self._data = DataStreams(
            endpoints,
            key,
            secret,
            book,
            self._outbox,
            self._stamper,
            self._count,
            options.heartbeat_seconds,
            network,
        )
        self._warmer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"AlpacaGateway({self._endpoints.trading_url!r})"

    # the protocol -----------------------------------------------------------------------------------

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Check keys, account and clock, then open the order stream; see the protocol.

        A gateway that could not connect is over: build another one to try again.
        """
        try:
            return await self._connect(known_orders)
        except BaseException:
            await self.close(graceful=False)
            raise

    async def _connect(self, known_orders: Iterable[KnownOrder]) -> AccountFacts:
        checks = self._checks
        self._endpoints.check_key(self._key.reveal())
        account = self._queries.read(read_account, await checks.first_ask(self._query_http))
        checks.account(account)
        checks.clock(await self._queries.clock(), self._clock)
        if self._options.data_only:
            return account
        self._reports.know(known_orders)
        await self._order_http.warm(CLOCK)
        try:
            await self._stream.start()
        except StreamRefused as refused:
            raise checks.wrong_keys(str(refused)) from None
        except TimeoutError:
            raise RetryError(
                "the order stream does not come up",
                where=self._endpoints.orders_url,
                fix="look at the venue's status page and at this machine's network, then start again",
            ) from None
        self._orders.is_open = True
        self._warmer = asyncio.get_running_loop().create_task(self._keep_warm(), name="keep-warm")
        return account

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        return self._outbox.items()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits."""
        self._outbox.shortcut = take

    def send(self, command: VenueCommand) -> None:
        """Put a command on its way; what becomes of it comes as events."""
        self._orders.send(command)

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        self._reports.know(orders)

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order by the venue's id, whoever sent it; return whether the venue took the cancel."""
        return await self._orders.cancel_at_venue(venue_order_id)

    async def query_order(self, client_order_id: str) -> bool:
        """Ask the venue what became of an order; return whether it gave proof."""
        return await self._reports.query_order(client_order_id)

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; executions it brings to light come out as events first.

        Orders that the desk holds for live and that the view does not show have ended:
        :meth:`query_order` tells how.

        Raises
        ------
        RetryError
            The venue does not answer, or not credibly.
        """
        orders = await self._queries.open_orders()
        fills = [] if fills_since_ns is None else await self._reports.history(fills_since_ns)
        self._reports.take_history(fills)
        for order in orders:
            await self._reports.catch_up(order)
        account, positions, clock = await asyncio.gather(
            self._queries.account(), self._queries.positions(), self._queries.clock()
        )
        # after the positions: what moved them is written down by then, or a second view finds it
        activities = () if fills_since_ns is None else await self._queries.activities(fills_since_ns)
        return VenueView(
            ts_event_ns=clock.now_ns,
            ts_recv_ns=self._stamper.timestamp(clock.now_ns),
            account=account,
            clock=clock,
            positions=positions,
            open_orders=tuple(shown for order in orders for shown in self._queries.shown(order)),
            fills=tuple(fills),
            activities=activities,
            shortable=await self._queries.shortable(),
        )

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections.

        Raises
        ------
        ConfigError
            The feed is not part of the plan, or takes fewer symbols.
        RetryError
            A stream does not come up.
        """
        await self._data.subscribe(instrument_ids)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one, by query.

        Raises
        ------
        RetryError
            The venue does not answer, or not credibly.
        """
        return await self._queries.quotes(instrument_ids)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars of a share that end from ``first`` to ``last``, oldest first.

        Raises
        ------
        RetryError
            The venue does not answer, or not credibly.
        """
        return await self._queries.daily_bars(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[MinuteBar, ...]:
        """Return the minutes of a share of the days ``first`` to ``last``, oldest first.

        Raises
        ------
        RetryError
            The venue does not answer, or not credibly.
        """
        return await self._queries.minute_bars(instrument_id, first, last)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``, both included.

        Raises
        ------
        RetryError
            The venue does not answer, or its pages do not end.
        """
        return await self._queries.discover(underlying, first, last)

    def health(self) -> Health:
        """Return how the connections and the budget stand, without asking the venue."""
        now = asyncio.get_running_loop().time()
        streams = [self._stream, *self._data.connections()]
        counters = dict(self._counters)
        counters["merged_quotes"] = self._outbox.merged
        counters["reconnects"] = sum(one.reconnects for one in streams)
        return Health(
            streams={one.name: one.is_up for one in streams},
            silent_seconds={one.name: one.silent_seconds(now) for one in streams},
            in_flight=self._orders.in_flight,
            unknown=self._reports.tracker.unknown(),
            requests_left=self._budget.left(loop_ns()),
            counters=counters,
        )

    async def reconnect(self, stream: str) -> None:
        """Give up a data stream's connection, which stands and says nothing, for a new one."""
        for one in self._data.connections():
            if one.name == stream:
                self._count(f"{stream}_renewed")
                await one.drop("silent", f"no message for {one.silent_seconds(loop_ns() / 1e9):.0f} s")

    async def close(self, *, graceful: bool = True) -> None:
        """End the connections. Graceful waits (bounded) for answers under way; orders stay."""
        self._orders.is_open = False
        if self._warmer is not None:
            self._warmer.cancel()
            await asyncio.gather(self._warmer, return_exceptions=True)
        await self._orders.settle(self._options.timeout_seconds if graceful else 0.0)
        await self._data.close()
        await self._stream.close()
        for path in (self._order_http, self._query_http, self._data_http):
            await path.close()
        self._outbox.close()

    # small things ---------------------------------------------------------------------------------

    async def _keep_warm(self) -> None:
        """Use the order connections now and then, so that none of them is cold when it is needed."""
        while True:
            await asyncio.sleep(KEEP_WARM_SECONDS)
            if self._orders.in_flight == 0 and self._budget.take(Urgency.QUERY, loop_ns()):
                try:
                    await self._order_http.warm(CLOCK)
                except Exception as error:  # noqa: BLE001 - the next round tries again, whatever it was
                    self._count("keep_warm_failed")
                    if not isinstance(error, RetryError):
                        self._refuse([Refusal("keep_warm_failed", repr(error)[:200])], "requests")

    # the order stream -------------------------------------------------------------------------------

    async def _hello(self, say: Say, listen: Listen) -> None:
        await say(order_messages.stream_auth(self._key.reveal(), self._secret.reveal()))
        while True:
            item = read_update(await listen())
            if isinstance(item, Authorized):
                if not item.is_authorized:
                    raise StreamRefused("the order stream does not accept the keys", is_final=True)
                await say(order_messages.stream_listen(("trade_updates",)))
            elif isinstance(item, Listening):
                return
            else:
                self._take_item(item)

    def _on_frame(self, raw: bytes) -> None:
        self._take_item(read_update(raw))

    def _take_item(self, item: object) -> None:
        if isinstance(item, TradeUpdate):
            self._reports.on_update(item)
        elif isinstance(item, Refusal):
            self._refuse([item], "orders")

    def _on_up(self, name: str) -> None:
        self._outbox.publish(Notice(NoticeKind.CONNECTED, self._stamper.timestamp(), name, "connected"))

    def _on_down(self, name: str, why: str, is_final: bool) -> None:
        kind = NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED
        self._count(f"orders_{name}")
        self._outbox.publish(Notice(kind, self._stamper.timestamp(), "orders", name, why))

    def _refuse(self, refusals: Iterable[Refusal], stream: str) -> None:
        for one in refusals:
            self._count(one.name)
            self._outbox.publish(
                Notice(NoticeKind.REFUSED, self._stamper.timestamp(), stream, one.name, one.detail)
            )

    def _count(self, name: str) -> None:
        self._counters[name] += 1
