"""The gateway to Interactive Brokers over TWS: one account, its single orders and quotes."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from ib_async import IB, Contract, Ticker
from ib_async import Position as HeldAtTws

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import is_session, next_session, session_on, to_new_york, to_ns
from scalpdesk.venues.budget import loop_ns
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    KnownOrder,
    ListedContract,
    Notice,
    NoticeKind,
    VenueClock,
    VenueFill,
    VenueMinute,
    VenuePosition,
    VenueSetup,
    VenueView,
    how_to_reach,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.ibkr.contracts import Contracts, instrument_of
from scalpdesk.venues.ibkr.orders import IbkrOrders, exact
from scalpdesk.venues.ibkr.settings import IbkrSettings

ID_IN_USE = 326
CLOCK_SECONDS = 0.25
"""Between two questions for the time of a venue that the desk's clock follows."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 30.0
T = TypeVar("T")

logging.getLogger("ib_async").addHandler(logging.NullHandler())  # its errors come as notices
logging.getLogger("ib_async").propagate = False


class IbkrGateway:
    """One account at TWS; implements :class:`scalpdesk.venues.contract.Gateway`.

    Parameters
    ----------
    setup
        Instruments, times, limits and fees.
    settings
        Address of TWS, client id and account.
    """

    name = "ibkr"
    takes_combos = False

    def __init__(self, setup: VenueSetup, settings: IbkrSettings) -> None:
        self._setup, self._settings = setup, settings
        self._instruments = setup.instruments
        self._publisher = EventPublisher(setup.clock)
        self._ib = IB()
        self._contracts = Contracts(self._ib, setup.instruments)
        self._orders = IbkrOrders(self._ib, self._contracts, setup, self._publisher)
        self._account = settings.account
        self._followed: dict[InstrumentId, Ticker] = {}
        self._reconnection: asyncio.Task[None] | None = None
        self._clock_task: asyncio.Task[None] | None = None
        self._asking_time = asyncio.Lock()
        self._last_at = 0.0
        """Time of the last message, by the loop's clock."""
        self._last_error = 0, ""
        self._is_closed = False
        self._ib.errorEvent.connect(self._note_error)
        self._ib.updateEvent.connect(self._note_message)
        self._ib.disconnectedEvent.connect(self._on_down)

    def __repr__(self) -> str:
        return f"IbkrGateway({self._settings.host}:{self._settings.port}, client {self._settings.client_id})"

    # connection -------------------------------------------------------------------------------------

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Connect to TWS, check the account, then listen to it; see the protocol."""
        self._orders.adopt(known_orders)
        await self._log_in()
        codes = self._ib.managedAccounts()
        if not self._account and len(codes) == 1:
            self._account = codes[0]
        if self._account not in codes:
            await self.close(graceful=False)
            raise ConfigError(
                "this login has no such account" if self._account else "this login has several accounts",
                where="venues.ibkr.account",
                value=self._account or None,
                fix=f"one of {', '.join(codes)}",
            )
        token = self._setup.live_token
        if not self._account.startswith("D") and (token is None or token.account_id != self._account):
            await self.close(graceful=False)
            raise ConfigError(
                "this account trades real money, and was not armed",
                where="venues.ibkr.port",
                value=self._settings.port,
                fix="log TWS in to the paper account (its code begins with DU)",
            )
        await self._time()
        if self._publisher.stamper.follows:
            self._clock_task = asyncio.get_running_loop().create_task(self._follow_time())
        self._orders.account = self._account
        self._orders.is_open = not self._setup.data_only
        self._publisher.notice(NoticeKind.CONNECTED, "orders", "connected")
        return self._facts()

    async def _time(self) -> int:
        """Ask for the time of TWS, UTC nanoseconds; a clock that follows the venue is set by it."""
        async with self._asking_time:  # the library keeps one answer of a kind
            now_ns = to_ns(await self._question(self._ib.reqCurrentTimeAsync(), "time"))
        self._publisher.timestamp(now_ns)
        return now_ns

    async def _follow_time(self) -> None:
        """Ask again and again: no quote states its time."""
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            with contextlib.suppress(RetryError):
                await self._time()

    async def _log_in(self) -> None:
        settings = self._settings
        where = f"{settings.host}:{settings.port}"
        try:
            await self._ib.connectAsync(
                settings.host,
                settings.port,
                settings.client_id,
                timeout=self._setup.timeout_seconds,
                raiseSyncErrors=True,
            )
        except (OSError, TimeoutError) as problem:
            if self._last_error[0] == ID_IN_USE:
                raise ConfigError(
                    "another program uses this client id at TWS",
                    where="venues.ibkr.client_id",
                    value=settings.client_id,
                    fix="end it, or choose another id (a watchdog has the desk's: venue.watchdog=false)",
                ) from None
            raise RetryError(
                "TWS does not answer",
                where=where,
                value=repr(problem)[:200],
                fix=f"start TWS or its gateway, allow API clients, then {how_to_reach(where)}",
            ) from None

    def _note_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        del request_id, contract
        self._last_error = code, text

    def _note_message(self) -> None:
        self._last_at = asyncio.get_running_loop().time()

    def _on_down(self) -> None:
        if self._is_closed or self._reconnection is not None or not self._orders.account:
            return
        self._publisher.count("disconnected")
        self._orders.doubt_unanswered()
        for stream in ("orders", "quotes"):
            self._publisher.notice(NoticeKind.DISCONNECTED, stream, "disconnected", self._last_error[1])
        self._reconnection = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        """Connect again, with growing pauses, and follow the same quotes."""
        pauses = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while not self._is_closed:
            await asyncio.sleep(pauses.pause())
            try:
                await self._log_in()
            except (ConfigError, RetryError):
                self._publisher.count("reconnect_failed")
                continue
            self._reconnection = None
            for stream in ("orders", "quotes"):
                self._publisher.notice(NoticeKind.CONNECTED, stream, "connected")
            followed = tuple(self._followed)
            self._followed.clear()
            await self.subscribe(followed)
            return

    async def close(self, *, graceful: bool = True) -> None:
        """End the connection; orders stay as they are."""
        self._is_closed = True
        await self._orders.close(graceful=graceful)
        tasks = [task for task in (self._reconnection, self._clock_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ib.disconnect()
        self._publisher.queue.close()

    async def reconnect(self, stream: str) -> None:
        """Replace the connection, which carries every stream."""
        self._publisher.count(f"{stream}_renewed")
        self._ib.disconnect()
        self._on_down()

    def health(self) -> Health:
        """Return the state of the connection and the budget, without asking TWS."""
        is_up = self._ib.isConnected()
        silent = max(0.0, asyncio.get_running_loop().time() - self._last_at) if self._last_at else 0.0
        return Health(
            streams={"orders": is_up, "quotes": is_up},
            silent_seconds={"orders": silent, "quotes": silent},
            in_flight=len(self._orders.under_way),
            unknown=self._orders.tracker.unknown(),
            requests_left=self._orders.budget.left(loop_ns()),
            counters=dict(self._publisher.counters) | {"merged_quotes": self._publisher.queue.merged},
        )

    # events and commands ----------------------------------------------------------------------------

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        return self._publisher.queue.items()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits."""
        self._publisher.queue.shortcut = take

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        self._orders.send(command)

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent."""
        self._orders.adopt(orders)

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of this client id by its permanent id."""
        return await self._orders.cancel_at_venue(venue_order_id)

    async def query_order(self, client_order_id: str) -> bool:
        """Look for an order in all that TWS lists; return whether that gave proof."""
        return await self._orders.query_order(client_order_id)

    # the account ------------------------------------------------------------------------------------

    async def _question(self, answer: Awaitable[T], what: str) -> T:
        """Return an answer of TWS.

        Raises
        ------
        RetryError
            When TWS does not answer.
        """
        try:
            return await asyncio.wait_for(answer, 4.0 * self._setup.timeout_seconds)
        except (TimeoutError, ConnectionError) as problem:
            raise RetryError("TWS does not answer", where=what, value=repr(problem)[:200]) from None

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; executions that it reveals come out as events first."""
        fills: tuple[VenueFill, ...] = ()
        if fills_since_ns is not None:
            fills = await self._question(self._orders.history(fills_since_ns), "executions")
        open_orders = await self._question(self._orders.open_orders(), "open orders")
        held = await self._question(self._ib.reqPositionsAsync(), "positions")
        await self._question(self._ib.reqAccountUpdatesMultiAsync(self._account), "account values")
        clock = await self._venue_clock()
        return VenueView(
            ts_event_ns=clock.now_ns,
            ts_recv_ns=self._publisher.timestamp(clock.now_ns),
            account=self._facts(),
            clock=clock,
            positions=tuple(self._position(line) for line in held if line.account == self._account),
            open_orders=open_orders,
            fills=fills,
        )

    def _facts(self) -> AccountFacts:
        """Return the account by the values that TWS sent last."""
        values = {each.tag: each for each in self._ib.accountValues(self._account)}

        def amount(tag: str) -> float:
            if tag not in values:
                raise RetryError("TWS does not state a value of the account", where=tag)
            return float(values[tag].value)

        return AccountFacts(
            account_id=self._account,
            status="active",
            currency=values["NetLiquidation"].currency if "NetLiquidation" in values else "USD",
            cash=exact(amount("TotalCashValue")),
            equity=exact(amount("NetLiquidation")),
            buying_power=exact(amount("BuyingPower")),
            options_buying_power=exact(amount("AvailableFunds")),
            options_level=3,  # permissions are not in the API: a refused order names them
            may_trade=True,
            may_short=True,
        )

    def _position(self, line: HeldAtTws) -> VenuePosition:
        instrument = instrument_of(line.contract)
        symbol = line.contract.localSymbol if instrument is None else instrument.symbol
        average = exact(line.avgCost) / int(line.contract.multiplier or 1)
        number = self._instruments.find(symbol)
        return VenuePosition(symbol, number, exact(line.position), average, instrument)

    async def _venue_clock(self) -> VenueClock:
        now_ns = await self._time()
        day = to_new_york(now_ns).date()
        today, following = session_on(day) if is_session(day) else None, next_session(day)
        if today is None or now_ns >= today.close_ns:
            return VenueClock(now_ns, False, following.open_ns, following.close_ns)
        is_open = now_ns >= today.open_ns
        opens_ns = following.open_ns if is_open else today.open_ns
        return VenueClock(now_ns, is_open, opens_ns, today.close_ns)

    # the market -------------------------------------------------------------------------------------

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections."""
        for number in self._followed.keys() - set(instrument_ids):
            del self._followed[number]
            self._ib.cancelMktData(self._contracts.of(number))
        new = [number for number in instrument_ids if number not in self._followed]
        contracts = await self._question(self._contracts.qualify(new), "contracts")
        for number, contract in zip(new, contracts, strict=True):
            ticker = self._ib.reqMktData(contract)
            self._followed[number] = ticker
            ticker.updateEvent.connect(lambda changed, number=number: self._on_quote(number, changed))

    def _on_quote(self, number: InstrumentId, ticker: Ticker) -> None:
        quote = self._quote(number, ticker)
        if quote is not None:
            self._publisher.publish([quote])

    def _quote(self, number: InstrumentId, ticker: Ticker) -> QuoteEvent | None:
        """Return bid and ask; a side that TWS gives as -1, or not yet, is empty."""
        sides = []
        for price, size in ((ticker.bid, ticker.bidSize), (ticker.ask, ticker.askSize)):
            is_there = math.isfinite(price) and price > 0.0
            sides.append((price, size if math.isfinite(size) else 0.0) if is_there else (0.0, 0.0))
        (bid, bid_size), (ask, ask_size) = sides
        if not bid and not ask:
            return None
        now_ns = self._publisher.timestamp()  # TWS states no time of a quote
        return QuoteEvent(number, now_ns, now_ns, bid, ask, bid_size, ask_size)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one, by snapshots."""
        contracts = await self._question(self._contracts.qualify(instrument_ids), "contracts")
        tickers = await self._question(self._ib.reqTickersAsync(*contracts), "quotes")
        found = (self._quote(number, ticker) for number, ticker in zip(instrument_ids, tickers, strict=True))
        return tuple(quote for quote in found if quote is not None)

    async def resolve(self, symbol: str) -> Instrument:
        """Return the share or index that a symbol names at TWS."""
        for kind, exchange in (("STK", "SMART"), ("IND", "CBOE")):
            wanted = Contract(secType=kind, symbol=symbol, exchange=exchange, currency="USD")
            for found in await self._question(self._contracts.find(wanted), "contracts"):
                return found
        raise ConfigError(
            "TWS knows no US share or index of this symbol",
            where="underlying",
            value=symbol,
            fix="name one as SPY or SPX",
        )

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``, by month."""
        listed, month = [], first.replace(day=1)
        while month <= last:
            wanted = Contract(
                secType="OPT",
                symbol=underlying,
                lastTradeDateOrContractMonth=f"{month:%Y%m}",
                exchange="SMART",
                currency="USD",
            )
            found = await self._question(self._contracts.find(wanted), "contracts")
            listed += [
                ListedContract(item, None, is_tradable=True)
                for item in found
                if item.is_option and first <= item.expiry <= last
            ]
            month = (month + timedelta(days=32)).replace(day=1)
        return tuple(listed)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Refuse: history is not asked for at this venue."""
        raise self._no_history(instrument_id, first, last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Refuse: history is not asked for at this venue."""
        raise self._no_history(instrument_id, first, last)

    def _no_history(self, number: InstrumentId, first: date, last: date) -> RetryError:
        return RetryError(
            "this venue is not asked for bars",
            where=self._instruments[number].symbol,
            value=f"{first} to {last}",
            fix="set venue.forecast=false and entry.gate=off, or take another venue",
        )

    async def splits(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CorporateAction, ...]:
        """Return an empty tuple: the API does not follow splits."""
        del instrument_id, first, last
        return ()


def build_gateway(setup: VenueSetup, settings: IbkrSettings) -> IbkrGateway:
    """Return the gateway to TWS, or to a simulated exchange at ``setup.url`` (``tws://host:port``)."""
    if setup.url is None:
        return IbkrGateway(setup, settings)
    address = urlsplit(setup.url)
    return IbkrGateway(
        setup,
        IbkrSettings(
            address.hostname or settings.host,
            address.port or settings.port,
            settings.client_id,
            settings.account,
        ),
    )
