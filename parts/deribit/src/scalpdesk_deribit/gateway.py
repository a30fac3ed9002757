"""The gateway to Deribit: one account in one coin, over JSON-RPC connections for orders and for quotes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ArgumentError, ConfigError, RetryError, nearest_name
from scalpdesk.core.events import QuoteEvent, TradingHalt
from scalpdesk.core.units import NANOS_PER_MS, InstrumentId
from scalpdesk.instruments.contract import Instruments, Perpetual
from scalpdesk.instruments.deribit import inverse_perpetual
from scalpdesk.instruments.sessions import COIN_EXPIRY, coin_session, expiry_instant_ns, from_ns
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    HoldingsView,
    KnownOrder,
    ListedContract,
    LiveToken,
    NoticeKind,
    Revealable,
    VenueActivity,
    VenueClock,
    VenueFill,
    VenueMinute,
    VenueSetup,
    VenueView,
    how_to_reach,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.gateway_base import GatewayBase
from scalpdesk.venues.network import Network
from scalpdesk.venues.questions import Questions
from scalpdesk.venues.residues import Residues
from scalpdesk_deribit import wire
from scalpdesk_deribit.messages import Currency, Ticker
from scalpdesk_deribit.orders import DeribitOrders
from scalpdesk_deribit.queries import FAILURES, MOST_CLOCK_SKEW_MS, AccountAndMarket
from scalpdesk_deribit.rpc import (
    KeysRefused,
    RpcConnection,
    RpcEvents,
    RpcTarget,
)

T = TypeVar("T")
LIVE_URL = "wss://www.deribit.com/ws/api/v2"
TEST_URL = "wss://test.deribit.com/ws/api/v2"
_SOCKET_PATH = "/ws/api/v2"


class DeribitGateway(GatewayBase):
    """One account at Deribit; implements :class:`scalpdesk.venues.contract.Gateway`.

    ``network``: Where connections come from; None is TCP.
    """

    name = "deribit"
    takes_combos = True
    takes_id_once = False

    def __init__(
        self,
        *,
        url: str,
        key: Revealable,
        secret: Revealable,
        setup: VenueSetup,
        network: Network | None = None,
    ) -> None:
        self._setup = setup
        self._instruments: Instruments = setup.instruments
        # nothing is borrowed to sell a future; without this no limit or margin of the account is reported
        self._shortable = tuple(
            InstrumentId(number) for number, listed in enumerate(setup.instruments) if not listed.is_option
        )
        self._clock: Clock = setup.clock
        self._url = url
        self.currency = setup.currency
        self._publisher = EventPublisher(setup.clock)
        self._halted: dict[InstrumentId, bool] = {}
        """Trading status of instruments as it was reported last."""

        def connection(
            name: str, take: Callable[[wire.Notification], None], *, orders: bool
        ) -> RpcConnection:
            target = RpcTarget(
                name=name,
                url=url,
                key=key,
                secret=secret,
                timeout_seconds=setup.timeout_seconds,
                heartbeat_seconds=max(int(setup.heartbeat_seconds), 10),
                cancels_on_disconnect=orders,
            )
            events = RpcEvents(
                on_notification=take,
                on_up=lambda: self._publisher.notice(NoticeKind.CONNECTED, name, "connected"),
                on_down=lambda cause, why, is_final: self._on_down(name, cause, why, is_final),
                on_failed=lambda cause, why: self._publisher.tell(
                    name, f"{name}_not_up", f"the connection does not come up: {cause} {why}"
                ),
                on_refused=lambda cause, why: self._publisher.refuse(name, cause, why),
            )
            return RpcConnection(target, events, network)

        self._orders = connection("orders", self._on_account, orders=True)
        self._quotes = connection("quotes", self._on_market, orders=False)
        self._queries = AccountAndMarket(self._orders, setup, self._publisher, self.currency)
        self._residues = Residues(self._publisher)
        self._questions = Questions()
        self._order_wire = DeribitOrders(self._orders, self._queries, setup, self._publisher)
        self._path = self._order_wire.path

    def __repr__(self) -> str:
        return f"DeribitGateway({self._url!r})"

    # connection -------------------------------------------------------------------------------------

    async def _log_in(self) -> None:
        try:
            await self._orders.start()
        except KeysRefused as refused:
            raise ConfigError(
                "the venue does not accept these keys",
                where="TRADING_API_KEY, TRADING_API_SECRET",
                value=str(refused),
                fix="copy client id and secret again; test and live have different keys",
            ) from None
        except TimeoutError:
            raise RetryError(
                "the connection does not come up",
                where=self._url,
                value=self._orders.failure or None,
                fix=how_to_reach(self._url),
            ) from None

    async def _connect_to_leave(self) -> str:
        """Log in, and ask briefly for the time, the account's channel and its name: none is needed."""
        await self._log_in()
        missing: list[str] = []
        briefly = self._questions.ask_briefly
        now_ms, _, found = await asyncio.gather(
            briefly("clock", partial(self._readable, self._queries.venue_time_ms), missing),
            briefly("account's channel", self._listen, missing),
            briefly("account", partial(self._readable, self._queries.account), missing),
        )
        self._queries.begin(self._queries.venue_ms() if now_ms is None else now_ms)
        for text in missing:
            self._publisher.refuse("requests", "unanswered", text)
        self._path.is_open = True
        return "" if found is None else found[0].account_id

    async def _listen(self) -> None:
        try:
            await self._orders.subscribe([f"user.changes.any.{self.currency}.raw"])
        except FAILURES as problem:
            raise RetryError(
                "the account's channel does not come up", where=self._url, value=repr(problem)[:200]
            ) from None

    async def _connect(self, known_orders: Iterable[KnownOrder]) -> AccountFacts:
        self._path.adopt(known_orders)
        return await self._readable(self._met)

    async def _met(self) -> AccountFacts:
        """Log in and return the account; refuse what the desk cannot trade."""
        await self._log_in()
        self._queries.begin(await self._queries.venue_time_ms())
        if abs(self._queries.ahead_ms) > MOST_CLOCK_SKEW_MS:
            raise ConfigError(
                "the clock of this machine is off",
                where="clock",
                value=f"{-self._queries.ahead_ms} ms from the venue's",
                fix="synchronise it (NTP), then start again",
            )
        if not self._setup.data_only:
            await self._check_currency()
            await self._listen()
            self._path.is_open = True
        account, _ = await self._queries.account()
        if self._queries.margin_model != wire.STANDARD_MARGIN and not self._setup.data_only:
            raise ConfigError(
                f"the desk computes with the margin model {wire.STANDARD_MARGIN} alone; nothing was sent",
                where="margin_model of the account",
                value=self._queries.margin_model,
                fix="choose segregated collateral and standard margin in the account's margin settings at the"
                " venue, or trade a subaccount that has them",
            )
        return account

    async def _check_currency(self) -> None:
        """Refuse a currency in which the venue keeps no accounts."""
        listed = wire.rows(await self._queries.question("public/get_currencies", {}), "currencies")
        known = sorted(str(wire.read(each, Currency).currency) for each in listed)
        if self.currency not in known:
            raise ConfigError(
                "the venue keeps no accounts in the desk's currency; nothing was sent",
                where="desk.currency",
                value=self.currency,
                nearest=nearest_name(self.currency, known),
                fix=f"one of {', '.join(known)}",
            )

    def _on_down(self, stream: str, cause: str, why: str, is_final: bool) -> None:
        kind = NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED
        self._publisher.count(cause)
        self._publisher.notice(kind, stream, cause, why)

    async def close(self, *, graceful: bool = True) -> None:
        """End the connections; the venue cancels what still works, as it does when one breaks."""
        self._questions.close()
        await self._path.close(graceful=graceful)
        await self._quotes.close()
        await self._orders.close()
        self._publisher.queue.close()

    async def reconnect(self, stream: str) -> None:
        """Replace the connection of a stream that is up and delivers nothing."""
        for connection in (self._orders, self._quotes):
            if connection.name == stream:
                self._publisher.count(f"{stream}_renewed")
                await connection.drop()

    def health(self) -> Health:
        """Return the state of the connections and the budget, without asking the venue."""
        both = (self._orders, self._quotes)
        return self._health(
            {each.name: each.is_up for each in both},
            {each.name: each.silent_seconds() for each in both},
            {"reconnects": sum(connection.reconnects for connection in both)},
        )

    # events -----------------------------------------------------------------------------------------

    def _on_market(self, note: wire.Notification) -> None:
        """Publish the quote of a ticker."""
        try:
            ticker = wire.read(note.data, Ticker, "ticker")
            name = wire.text(ticker.instrument_name, "instrument_name")
            if name not in self._instruments:
                return
            number = self._instruments.id_of(name)
            recv_ns = self._publisher.timestamp(wire.instant_ns(ticker.timestamp, "timestamp"))
            quote = wire.read_quote(ticker, number, self._instruments[number], recv_ns)
            is_halted = wire.is_halted(ticker)
        except wire.WireError as problem:
            self._publisher.refuse("quotes", "malformed_quote", repr(problem)[:200])
            return
        if is_halted is not None:
            self._note_status(quote, is_halted=is_halted)
        self._publisher.publish([quote])

    def _note_status(self, quote: QuoteEvent, *, is_halted: bool) -> None:
        """Tell the desk of a book that the venue has closed, or opened again."""
        number, item = quote.instrument_id, self._instruments[quote.instrument_id]
        # of a perpetual in any case: a halt may have begun before this connection
        before = self._halted.get(number, False if item.is_option else None)
        if is_halted is before:
            return
        if not item.is_option or quote.ts_event_ns < expiry_instant_ns(item):
            self._halted[number] = is_halted
            stamps = quote.ts_event_ns, quote.ts_recv_ns
            reason = "the book is closed" if is_halted else ""
            self._publisher.publish([TradingHalt(number, *stamps, is_halted, reason)])

    def _on_account(self, note: wire.Notification) -> None:
        self._order_wire.on_change(note)

    # questions --------------------------------------------------------------------------------------

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; executions that it reveals come out as events first."""
        # the venue's time goes first: its history ends there, wherever this machine's clock has been set
        ask, has_history = self._ask, fills_since_ns is not None
        clock = await ask("clock", self._venue_clock)
        fills: tuple[VenueFill, ...] = ()
        activities: tuple[VenueActivity, ...] = ()
        if has_history:
            fills = await ask("history of executions", partial(self._order_wire.history, fills_since_ns or 0))
        open_orders = await ask("open orders", self._order_wire.open_orders)
        account, held = await ask("account", self._queries.account)
        if has_history:
            log = partial(self._queries.activities, fills_since_ns or 0)
            activities = await ask("history of activities", log)
        return VenueView(
            ts_event_ns=clock.now_ns,
            ts_recv_ns=self._publisher.timestamp(clock.now_ns),
            account=account,
            clock=clock,
            positions=self._residues.without(line.position for line in held),
            open_orders=open_orders,
            fills=fills,
            activities=activities,
            shortable=self._shortable,
            over=self._order_wire.tracker.over(),
            unsellable=self._residues.held,
        )

    async def shown_positions(self) -> HoldingsView:
        """Ask for the positions, and briefly for the time and the open orders before them."""
        missing: list[str] = []
        briefly = self._questions.ask_briefly
        asking_clock = asyncio.ensure_future(
            briefly("clock", partial(self._readable, self._venue_clock), missing)
        )
        listing = partial(self._order_wire.open_orders, catches_up=False)
        orders = await briefly("open orders", partial(self._readable, listing), missing)
        unread: list[str] = []
        ask_positions = self._readable(partial(self._queries.positions, unread))
        held, clock = await asyncio.gather(self._questions.ask("positions", ask_positions), asking_clock)
        return HoldingsView.asked(
            self._residues.without(line.position for line in held),
            orders,
            clock,
            self._publisher.timestamp,
            missing=missing,
            unread=unread,
        )

    async def _ask(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._questions.ask(name, self._readable(ask))

    @staticmethod
    async def _readable(ask: Callable[[], Awaitable[T]]) -> T:
        """Return an answer; a RetryError where it cannot be read."""
        try:
            return await ask()
        except wire.WireError as problem:
            raise RetryError("the venue's answer cannot be read", value=str(problem)) from None

    def waits_for(self) -> tuple[str, ...]:
        """Return the names of the questions of a view that is under way."""
        return self._questions.waiting()

    async def cancel_all(self) -> bool:
        """Cancel all orders of the account in its currency; return whether the venue took it."""
        return await self._order_wire.cancel_all()

    async def _venue_clock(self) -> VenueClock:
        now_ms = await self._queries.venue_time_ms()
        moment = from_ns(now_ms * NANOS_PER_MS)
        day = moment.date() - timedelta(days=moment.hour < COIN_EXPIRY.hour)
        return wire.clock_of(now_ms, coin_session(day).close_ns)

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections."""
        try:
            if not self._quotes.is_up:
                await self._quotes.start()
            await self._quotes.subscribe(self._channels(instrument_ids))
        except KeysRefused as refused:
            raise ConfigError(
                "the venue does not accept these keys any more", where=self._url, value=str(refused)
            ) from None
        except FAILURES as problem:
            why = self._quotes.failure or repr(problem)[:200]
            raise RetryError("the quotes do not come up", where=self._url, value=why) from None

    def _channels(self, instrument_ids: Sequence[InstrumentId]) -> list[str]:
        return [f"ticker.{self._instruments[number].symbol}.100ms" for number in instrument_ids]

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Subscribe again to the tickers of some instruments; the others go on."""
        self._publisher.count("quotes_asked_again")
        with suppress(*FAILURES):  # a connection that breaks meanwhile subscribes to all of them
            await self._quotes.renew(self._channels(instrument_ids))

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument, by query."""
        return await self._queries.quotes(instrument_ids)

    async def resolve(self, symbol: str) -> Perpetual:
        """Return the inverse perpetual of a symbol as ``BTC-PERPETUAL``."""
        try:
            return inverse_perpetual(symbol)
        except ArgumentError as error:
            raise ConfigError(error.what, where="underlying", value=symbol, fix=error.fix) from None

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on a perpetual that expire from ``first`` to ``last``."""
        return await self._queries.discover(underlying, first, last)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars that end from ``first`` to ``last``, oldest first."""
        return await self._queries.daily_bars(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of the days ``first`` to ``last``, oldest first."""
        return await self._queries.minute_bars(instrument_id, first, last)


def exchange_urls(url: str) -> tuple[str, str]:
    """Return the addresses of the websocket and the requests of an exchange, from its own or one of them.

    >>> exchange_urls("http://127.0.0.1:8080/api/v2")
    ('ws://127.0.0.1:8080/ws/api/v2', 'http://127.0.0.1:8080/api/v2')
    """
    host = url.rstrip("/").removesuffix("/api/v2").removesuffix("/ws")
    scheme, _, rest = host.partition("://")
    safe = "s" if scheme in ("https", "wss") else ""
    return f"ws{safe}://{rest}{_SOCKET_PATH}", f"http{safe}://{rest}/api/v2"


def socket_url(url: str | None, live_token: LiveToken | None) -> str:
    """Return the address of the websocket: of a simulated exchange, the live or the test environment."""
    if url is not None:
        return exchange_urls(url)[0]
    return TEST_URL if live_token is None else LIVE_URL


def build_gateway(setup: VenueSetup) -> DeribitGateway:
    """Return the gateway to Deribit, or to a simulated exchange at ``setup.url`` in its place."""
    url = socket_url(setup.url, setup.live_token)
    key, secret = setup.account_keys()
    return DeribitGateway(url=url, key=key, secret=secret, setup=setup)
