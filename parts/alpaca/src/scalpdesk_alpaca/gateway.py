"""The gateway to Alpaca: its parts built, connected and closed together."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import partial

from msgspec.structs import replace

from scalpdesk.base import Clock, ConfigError, Equity, InstrumentId, Instruments, QuoteEvent, RetryError
from scalpdesk.core.clock import FollowingClock
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    HoldingsView,
    KnownOrder,
    ListedContract,
    Revealable,
    VenueActivity,
    VenueFill,
    VenueMinute,
    VenuePosition,
    VenueSetup,
    VenueView,
    how_to_reach,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.gateway_base import GatewayBase
from scalpdesk.venues.network import Network
from scalpdesk.venues.questions import Questions
from scalpdesk.venues.reconnecting import HELLO_SECONDS
from scalpdesk.venues.residues import Residues
from scalpdesk.venues.tracker import OrderTracker
from scalpdesk_alpaca.account_messages import ACCOUNT, CLOCK, read_account
from scalpdesk_alpaca.market_data import MSGPACK_HEADERS, MarketReader, MarketStream, MarketStreams
from scalpdesk_alpaca.order_messages import ReplyVerdict, judge, let_go_request
from scalpdesk_alpaca.order_sender import OrderSender
from scalpdesk_alpaca.orders import OrderReports, OrderStream
from scalpdesk_alpaca.queries import BudgetedClient, Queries, StartChecks
from scalpdesk_alpaca.settings import AlpacaSettings
from scalpdesk_alpaca.stream import StreamConnection, StreamRefused, StreamTarget
from scalpdesk_alpaca.transport import (
    LIVE_HOST,
    PAPER_KEY,
    REQUESTS_PER_MINUTE,
    ApiKeys,
    Endpoints,
    GatewayOptions,
    RestClient,
)

KEEP_WARM_SECONDS = 25.0
QUERY_CONNECTIONS = 4
QUERY_TIMEOUTS = 4
"""Time-out of a query, in time-outs of an order."""


class AlpacaGateway(GatewayBase):
    """One account at Alpaca; implements :class:`scalpdesk.venues.contract.Gateway`.

    ``endpoints``, ``keys``: Paper, live (with its token) or a simulated exchange, and the account's keys.
    ``network``: Where connections come from; None is TCP.
    """

    name = "alpaca"
    takes_combos = True
    takes_id_once = True

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        keys: ApiKeys,
        instruments: Instruments,
        clock: Clock,
        options: GatewayOptions | None = None,
        network: Network | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._keys = keys
        self._clock = clock
        self._options = options = options or GatewayOptions()
        self._publisher = publisher = EventPublisher(clock)
        self._budget = RequestBudget(options.requests_per_minute)

        def client(
            url: str, budget: RequestBudget, connections: int, timeout_seconds: float
        ) -> BudgetedClient:
            rest = RestClient(
                url,
                keys.headers(),
                connections=connections,
                timeout_seconds=timeout_seconds,
                network=network,
            )
            return BudgetedClient(rest, budget, publisher)

        patience = QUERY_TIMEOUTS * options.timeout_seconds
        data_budget = RequestBudget(options.data_requests_per_minute)
        orders = client(
            endpoints.trading_url, self._budget, options.order_connections, options.timeout_seconds
        )
        trading = client(endpoints.trading_url, self._budget, QUERY_CONNECTIONS, patience)
        data = client(endpoints.data_url, data_budget, QUERY_CONNECTIONS, patience)
        self._clients = [each.client for each in (orders, trading, data)]
        self._order_client, self._query_client, _ = self._clients
        self._reports = OrderReports(
            instruments=instruments,
            tracker=OrderTracker(instruments, options.fees, quotes=publisher.queue.quotes),
            publisher=publisher,
            client=trading,
        )
        self._trading = trading
        self._sender = OrderSender(
            orders,
            self._reports,
            timeout_seconds=options.timeout_seconds,
            acceptance_seconds=options.absent_after_seconds,
        )
        self._path = self._sender.path
        self._instruments = instruments
        self._queries = Queries(
            trading=trading,
            data=data,
            endpoints=endpoints,
            instruments=instruments,
            publisher=publisher,
            is_account_stale=lambda: self._viewed_connections != self._stream.connections,
        )
        self._checks = StartChecks(endpoints, options, self._queries)
        beat = options.heartbeat_seconds
        self._stream = StreamConnection(
            StreamTarget("orders", endpoints.orders_url, heartbeat_seconds=beat),
            OrderStream(keys, self._reports, publisher),
            network,
        )
        reader = MarketReader(instruments.find, is_msgpack=True)
        stocks, options_stream = (
            MarketStream(
                StreamTarget(name, url, MSGPACK_HEADERS, is_binary=True, heartbeat_seconds=beat),
                keys=keys,
                reader=reader,
                publisher=publisher,
                network=network,
            )
            for name, url in (("stocks", endpoints.stocks_url), ("options", endpoints.options_url))
        )
        self._data = MarketStreams(stocks, options_stream, instruments)
        self._residues = Residues(publisher, self._queries.least_order)
        self._questions = Questions()
        self._viewed_connections = 0
        """Connections of the order stream that had come up before the latest whole view began."""
        self._warmer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"AlpacaGateway({self._endpoints.trading_url!r})"

    async def _connect(self, known_orders: Iterable[KnownOrder]) -> AccountFacts:
        checks = self._checks
        self._endpoints.check_key(self._keys.key.reveal())
        account = self._queries.read(read_account, await checks.first_reply(self._query_client))
        checks.account(account)
        checks.clock(await self._queries.clock(), self._clock)
        if self._options.data_only:
            return account
        self._path.adopt(known_orders)
        await self._order_client.warm(CLOCK)
        try:
            await self._stream.start()
        except StreamRefused as refused:
            raise checks.wrong_keys(str(refused)) from None
        except TimeoutError:
            raise RetryError(
                "the order stream does not come up",
                where=self._endpoints.orders_url,
                value=self._stream.failure or None,
                fix=how_to_reach(self._endpoints.orders_url),
            ) from None
        self._path.is_open = True
        self._warmer = asyncio.get_running_loop().create_task(self._keep_warm(), name="keep-warm")
        return account

    async def _connect_to_leave(self) -> str:
        """Check the keys, and open what comes up: orders are sent, and positions asked for, without it."""
        missing: list[str] = []
        self._endpoints.check_key(self._keys.key.reveal())
        briefly, checks = self._questions.ask_briefly, self._checks

        async def ask_account() -> AccountFacts:
            return self._queries.read(read_account, await checks.first_reply(self._query_client))

        async def open_stream() -> None:
            try:
                await self._stream.start()
            except (StreamRefused, TimeoutError) as problem:
                raise RetryError("it does not come up", value=str(problem) or None) from None

        account, clock, _ = await asyncio.gather(
            briefly("account", ask_account, missing),
            briefly("clock", self._queries.clock, missing),
            briefly("order stream", open_stream, missing),
        )
        if clock is not None and isinstance(self._clock, FollowingClock):
            self._clock.follow(clock.now_ns)
        is_reached = account is not None or clock is not None or self._stream.is_up
        if not is_reached and not await self._questions.any_late(HELLO_SECONDS):
            where = self._endpoints.trading_url
            what = "the venue cannot be reached; nothing was sent"
            raise RetryError(what, where=where, value="; ".join(missing), fix=how_to_reach(where))
        for text in missing:
            self._publisher.refuse("requests", "unanswered", text)
        self._path.is_open = True
        return "" if account is None else account.account_id

    async def do_not_exercise(self, instrument_id: InstrumentId, contracts: Decimal) -> None:
        """Tell the venue that an option is not to be exercised at its expiry: here the whole position.

        Raises RetryError when the venue does not answer, or refuses.
        """
        del contracts
        symbol = self._instruments[instrument_id].symbol
        reply = await self._trading.ask(let_go_request(symbol), Urgency.HEDGE)
        judged = judge(reply.status, reply.body)
        if judged.verdict is not ReplyVerdict.DONE:
            raise RetryError(
                "the venue does not take the contrary instruction",
                where=symbol,
                value=judged.reason,
                fix="tell the broker by hand before its cut-off, or sell the option",
            )

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; executions that it reveals come out as events first.

        Live orders of the desk that the view does not show have ended: :meth:`query_order` tells how.
        """
        connections, asked_ns, question = self._stream.connections, loop_ns(), self._reports.tracker.ask()
        ask = self._questions.ask
        orders = await ask("open orders", self._queries.open_orders())
        fills: list[VenueFill] = []
        if fills_since_ns is not None:
            fills = await ask("history of executions", self._reports.history(fills_since_ns))
        self._reports.apply_history(fills, question)
        for order in orders:
            await ask("history of executions", self._reports.catch_up(order, asked_ns, question))
        account, positions, clock = await asyncio.gather(
            ask("account", self._queries.account()),
            ask("positions", self._queries.positions()),
            ask("clock", self._queries.clock()),
        )
        # after the positions: what moved them is written down by then, or a second view finds it
        if not any(_is_written(held) for held in positions):
            account = replace(account, margin_fraction=None)
        activities: tuple[VenueActivity, ...] = ()
        if fills_since_ns is not None:
            activities = await ask("history of activities", self._queries.activities(fills_since_ns))
        shortable = await ask("shares to borrow", self._queries.shortable())
        self._viewed_connections = connections
        return VenueView(
            ts_event_ns=clock.now_ns,
            ts_recv_ns=self._publisher.timestamp(clock.now_ns),
            account=account,
            clock=clock,
            positions=self._residues.without(positions),
            open_orders=tuple(shown for order in orders for shown in self._reports.shown(order)),
            fills=tuple(self._reports.tracker.with_fee(fill) for fill in fills),
            activities=activities,
            shortable=shortable,
            estimates_fees=True,
            over=self._reports.tracker.over(),
            unsellable=self._residues.held,
        )

    async def shown_positions(self) -> HoldingsView:
        """Ask for the positions, and briefly for the open orders before them and the clock beside them."""
        missing: list[str] = []
        briefly, queries, asked_ns = self._questions.ask_briefly, self._queries, loop_ns()
        question = self._reports.tracker.ask()
        urgently = Urgency.HEDGE  # the exits wait for it
        asking_clock = asyncio.ensure_future(briefly("clock", partial(queries.clock, urgently), missing))
        orders = await briefly("open orders", partial(queries.open_orders, urgently), missing)

        async def catch_up() -> None:
            for order in orders or ():
                await self._reports.catch_up(order, asked_ns, question)

        if orders:
            await briefly("history of executions", catch_up, missing)
        unread: list[str] = []
        ask_positions = self._questions.ask("positions", queries.positions(unread, urgently))
        positions, clock = await asyncio.gather(ask_positions, asking_clock)
        shown = None if orders is None else tuple(s for each in orders for s in self._reports.shown(each))
        return HoldingsView.asked(
            self._residues.without(positions),
            shown,
            clock,
            self._publisher.timestamp,
            missing=missing,
            unread=unread,
        )

    def waits_for(self) -> tuple[str, ...]:
        """Return the names of the questions of a view that is under way."""
        return self._questions.waiting()

    async def cancel_all(self) -> bool:
        """Cancel all orders of the account by one request; return whether the venue took it."""
        return await self._sender.cancel_all()

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections.

        Raises ConfigError where the feed is not part of the plan, or takes fewer symbols; RetryError where a
        stream does not come up.
        """
        await self._data.subscribe(instrument_ids)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one, by query."""
        return await self._queries.quotes(instrument_ids)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars of a share from ``first`` to ``last``."""
        return await self._queries.daily_bars(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of a share from ``first`` to ``last``."""
        return await self._queries.minute_bars(instrument_id, first, last)

    async def splits(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CorporateAction, ...]:
        """Return the splits of a share that go ex from ``first`` to ``last``."""
        return await self._queries.splits(instrument_id, first, last)

    async def dividends(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CashDividend, ...]:
        """Return the ordinary dividends of a share that go ex from ``first`` to ``last``."""
        return await self._queries.dividends(instrument_id, first, last)

    async def resolve(self, symbol: str) -> Equity:
        """Return a share: the venue trades no other underlying."""
        return Equity(symbol)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options that expire from ``first`` to ``last``."""
        return await self._queries.discover(underlying, first, last)

    def health(self) -> Health:
        """Return the state of the connections and the budget, without asking the venue."""
        streams = [self._stream, *self._data.connections()]
        return self._health(
            {stream.name: stream.is_up for stream in streams},
            {stream.name: stream.silent_seconds() for stream in streams},
            {"reconnects": sum(stream.reconnects for stream in streams)},
        )

    async def reconnect(self, stream: str) -> None:
        """Replace the connection of a data stream that is up and delivers nothing."""
        for connection in self._data.connections():
            if connection.name == stream:
                self._publisher.count(f"{stream}_renewed")
                seconds = connection.silent_seconds()
                await connection.drop("silent", f"no message for {seconds:.0f} s")

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """End the subscriptions of some instruments and subscribe again; the others go on."""
        await self._data.renew(instrument_ids)

    async def close(self, *, graceful: bool = True) -> None:
        """End the connections. Graceful waits (bounded) for answers under way; orders stay."""
        self._questions.close()
        if self._warmer is not None:
            self._warmer.cancel()
            await asyncio.gather(self._warmer, return_exceptions=True)
        await self._path.close(graceful=graceful)
        await self._data.close()
        await self._stream.close()
        for client in self._clients:
            await client.close()
        self._publisher.queue.close()

    async def _keep_warm(self) -> None:
        """Use the order connections now and then, so that none of them is cold when it is needed."""
        while True:
            await asyncio.sleep(KEEP_WARM_SECONDS)
            if not self._path.under_way and self._budget.take(Urgency.QUERY, loop_ns()):
                try:
                    await self._order_client.warm(CLOCK)
                except RetryError:
                    self._publisher.count("keep_warm_failed")
                except Exception as error:  # noqa: BLE001 - the next round tries again, whatever it was
                    self._publisher.refuse("requests", "keep_warm_failed", repr(error)[:200])


def build_gateway(setup: VenueSetup, settings: AlpacaSettings) -> AlpacaGateway:
    """Return the gateway to Alpaca, or to a simulated exchange at ``setup.url`` in its place."""
    stock, option = settings.stock_feed, settings.option_feed
    if setup.url is not None:
        endpoints = Endpoints.at(setup.url, stock_feed=stock, option_feed=option)
    elif setup.live_token is not None:
        endpoints = Endpoints.live(setup.live_token, stock_feed=stock, option_feed=option)
    else:
        endpoints = Endpoints.paper(stock_feed=stock, option_feed=option)
    options = GatewayOptions(
        options_level=setup.options_level,
        timeout_seconds=setup.timeout_seconds,
        absent_after_seconds=setup.acceptance_seconds,
        requests_per_minute=setup.requests_per_minute or REQUESTS_PER_MINUTE,
        data_requests_per_minute=settings.data_requests_per_minute,
        heartbeat_seconds=setup.heartbeat_seconds,
        data_only=setup.data_only,
        fees=setup.fees,
    )
    return AlpacaGateway(
        endpoints=endpoints,
        keys=ApiKeys(*setup.account_keys()),
        instruments=setup.instruments,
        clock=setup.clock,
        options=options,
    )


async def live_account(key: Revealable, secret: Revealable) -> AccountFacts:
    """Return the live account of a key and a secret; nothing but this question is asked.

    Raises ConfigError when the keys are of the paper environment, or not accepted. Raises RetryError when the
    venue does not answer.
    """
    where = "credentials.trading_api_key, credentials.trading_api_secret"
    if key.reveal().startswith(PAPER_KEY):
        raise ConfigError(
            "the key is one for paper; the desk is not armed",
            where=where,
            fix="put in the live account's key",
        )
    url = f"https://{LIVE_HOST}"
    client = RestClient(url, ApiKeys(key, secret).headers(), connections=1, timeout_seconds=10.0)
    try:
        reply = await client.ask(ACCOUNT)
    except RetryError as error:
        raise RetryError(
            "the venue cannot be reached; the desk is not armed",
            where=LIVE_HOST,
            value=error.what,
            fix="check this machine's network and the venue's status page",
        ) from None
    finally:
        await client.close()
    answer = judge(reply.status, reply.body)
    if answer.verdict is not ReplyVerdict.DONE:
        raise ConfigError(
            "the live environment does not accept these keys; the desk is not armed",
            where=where,
            value=answer.reason,
            fix="copy key and secret of the live account again",
        )
    return read_account(reply.body)


def _is_written(held: VenuePosition) -> bool:
    """Return whether a position is an option sold short.

    Only an account with one is judged by the maintenance margin that the vendor reports: its pages do not
    say how bought options count in it.
    """
    return held.quantity < 0 and held.instrument is not None and held.instrument.is_option
