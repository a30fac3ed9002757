"""Questions to an Alpaca account over HTTP, and the checks of keys, account and clock at the start."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import TypeVar

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments, OptionContract
from scalpdesk.venues.alpaca import market_data, order_messages
from scalpdesk.venues.alpaca.account_messages import (
    ACCOUNT,
    CLOCK,
    POSITIONS,
    SYMBOLS_PER_QUERY,
    activities_request,
    asset_request,
    contracts_request,
    latest_quotes_request,
    read_account,
    read_activities,
    read_clock,
    read_contracts,
    read_latest_quotes,
    read_may_short,
    read_positions,
)
from scalpdesk.venues.alpaca.fields import (
    Malformed,
    Refusal,
    text_of_ns,
)
from scalpdesk.venues.alpaca.order_messages import Verdict, WireOrder, judge, rate_limit, read_orders
from scalpdesk.venues.alpaca.orders import OrderReports
from scalpdesk.venues.alpaca.stream import loop_ns
from scalpdesk.venues.alpaca.transport import Endpoints, GatewayOptions, Reply, RestClient
from scalpdesk.venues.budget import RequestBudget, Urgency
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    FollowingClock,
    ListedContract,
    MinuteBar,
    Stamper,
    VenueActivity,
    VenueClock,
    VenueOrder,
    VenuePosition,
)

T = TypeVar("T")
MOST_PAGES = 500
OPEN_ORDERS_PER_PAGE = 500
ASSET_AGE_NS = 600 * NANOS_PER_SECOND
"""How long the word on one share stands: lists of easy borrows change from day to day."""
REFUSED_QUESTIONS = frozenset({400, 404, 422})
"""The venue understands the question and will not answer it, however often it is asked."""
ACTIVITY_LOOKBACK_NS = 5 * 86_400 * NANOS_PER_SECOND
"""What happened over a long weekend is often written down days later, under the day it happened."""


class Queries:
    """Asks on connections of their own and waits while the budget is kept for orders.

    Every question raises RetryError when the venue does not answer, or not credibly.

    Parameters
    ----------
    trading, data
        Connections to the two hosts.
    endpoints, book, stamper
        Names of the feeds, instruments, stamps.
    reports
        Knows the orders and the budget of the trading interface.
    data_budget
        Requests of the data host.
    refuse
        Told of parts of answers that were not believed.
    """

    def __init__(
        self,
        trading: RestClient,
        data: RestClient,
        endpoints: Endpoints,
        book: Instruments,
        stamper: Stamper,
        reports: OrderReports,
        data_budget: RequestBudget,
        refuse: Callable[[Iterable[Refusal], str], None],
    ) -> None:
        self._trading = trading
        self._data = data
        self._endpoints = endpoints
        self._book = book
        self._stamper = stamper
        self._reports = reports
        self._data_budget = data_budget
        self._refuse = refuse
        self._shortable: dict[str, tuple[int | None, bool]] = {}
        """By symbol: when it was asked (loop time) and whether it may be sold short."""

    def lookup(self, symbol: str) -> InstrumentId | None:
        """Return the desk's number of a venue symbol, None when its book does not hold it."""
        return self._book.id_of(symbol) if symbol in self._book else None

    async def ask(self, request: order_messages.RestRequest, path: RestClient | None = None) -> Reply:
        """Ask on the query connections; waits while the host's budget is used up or kept for orders."""
        reply, budget = await self._asked(request, path)
        return self.checked(reply, request, budget)

    async def _asked(
        self, request: order_messages.RestRequest, path: RestClient | None
    ) -> tuple[Reply, RequestBudget]:
        # nothing but questions goes to the data host: all of its requests are theirs
        budget, urgency = (
            (self._reports.budget, Urgency.QUERY) if path is None else (self._data_budget, Urgency.CANCEL)
        )
        while not budget.take(urgency, loop_ns()):  # noqa: ASYNC110 - the budget refills with time
            await asyncio.sleep(budget.wait_ns(urgency, loop_ns()) / NANOS_PER_SECOND)
        reply = await (path or self._trading).ask(request)
        stated = rate_limit(reply.headers)
        if stated is not None:
            budget.learn(stated.limit, stated.remaining, loop_ns())
        return reply, budget

    def checked(
        self, reply: Reply, request: order_messages.RestRequest, budget: RequestBudget | None = None
    ) -> Reply:
        """Return an answer that is one; anything else is a RetryError."""
        answer = judge(reply.status, reply.body)
        if answer.verdict is not Verdict.DONE:
            self._reports.note_verdict(answer, budget)
            raise RetryError(
                "the venue does not answer the question",
                where=f"{request.method} {request.path.partition('?')[0]}",
                value=answer.reason,
            )
        return reply

    @staticmethod
    def read(reader: Callable[[bytes], T], reply: Reply) -> T:
        """Return what an answer says; one that cannot be believed is a RetryError."""
        try:
            return reader(reply.body)
        except Malformed as refused:
            raise RetryError("the venue's answer cannot be believed", value=str(refused)) from None

    async def clock(self) -> VenueClock:
        """Return the venue's clock."""
        return self.read(read_clock, await self.ask(CLOCK))

    async def open_orders(self) -> list[WireOrder]:
        """Return all open orders, oldest first."""
        orders: dict[str, WireOrder] = {}
        after: str | None = None
        for _ in range(MOST_PAGES):
            reply = await self.ask(order_messages.open_orders_request(after))
            page, refusals = self.read(read_orders, reply)
            if refusals:
                raise RetryError("an open order cannot be believed", value=refusals[0].detail)
            fresh = [one for one in page if one.venue_order_id not in orders]
            orders.update((one.venue_order_id, one) for one in fresh)
            if len(page) < OPEN_ORDERS_PER_PAGE or not fresh:
                break
            # a nanosecond earlier: orders of one instant may lie on both sides of the page's end
            after = text_of_ns(page[-1].submitted_ns - 1)
        return list(orders.values())

    def shown(self, order: WireOrder) -> Iterable[VenueOrder]:
        """Yield an order, or its legs, as a view shows it."""
        for one in order.legs or (order,):
            if one.side is None or one.quantity is None:
                continue
            tracked = self._reports.tracker.find(one.client_order_id, one.venue_order_id)
            yield VenueOrder(
                client_order_id=one.client_order_id if tracked is None else tracked.submitted.client_order_id,
                venue_order_id=one.venue_order_id,
                symbol=one.symbol,
                instrument_id=self.lookup(one.symbol),
                side=one.side,
                quantity=one.quantity,
                filled=one.filled,
                average_price=one.average_price,
                status=one.status,
                is_open=one.is_open,
                limit_price=one.limit_price,
                submitted_ns=one.submitted_ns,
            )

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one."""
        found: list[QuoteEvent] = []
        for is_option in (False, True):
            symbols = [
                self._book[number].symbol
                for number in instrument_ids
                if isinstance(self._book[number], OptionContract) is is_option
            ]
            feed = self._endpoints.option_feed if is_option else self._endpoints.stock_feed
            for start in range(0, len(symbols), SYMBOLS_PER_QUERY):
                batch = symbols[start : start + SYMBOLS_PER_QUERY]
                request = latest_quotes_request(batch, is_option=is_option, feed=feed)
                reply = await self.ask(request, self._data)
                quotes, refusals = self.read(
                    lambda raw: read_latest_quotes(raw, self.lookup, self._stamper.timestamp), reply
                )
                found += quotes
                self._refuse(refusals, "stocks")
        return tuple(found)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``."""
        listed: list[ListedContract] = []
        token: str | None = None
        for _ in range(MOST_PAGES):
            reply = await self.ask(contracts_request(underlying, first, last, token))
            page, token, refusals = self.read(read_contracts, reply)
            self._refuse(refusals, "requests")
            listed += [
                one
                for one in page
                if one.contract.underlying == underlying and first <= one.contract.expiry <= last
            ]
            if token is None:
                return tuple(listed)
        raise RetryError("the venue's pages of contracts do not end", where=underlying, value=MOST_PAGES)

    async def activities(self, since_ns: int) -> tuple[VenueActivity, ...]:
        """Return the account's history without its executions, from some days before ``since_ns``.

        A venue that will not have the question leaves the account to be explained by its effects alone:
        that is said, and the account is looked at all the same.
        """
        found: list[VenueActivity] = []
        token: str | None = None
        after = text_of_ns(max(since_ns - ACTIVITY_LOOKBACK_NS, 0))
        for _ in range(MOST_PAGES):
            request = activities_request(after, token)
            reply, budget = await self._asked(request, None)
            if reply.status in REFUSED_QUESTIONS:
                said = f"HTTP {reply.status} {judge(reply.status, reply.body).reason}"
                self._refuse([Refusal("activities_refused", said)], "requests")
                return ()
            self.checked(reply, request, budget)
            page, token = self.read(read_activities, reply)
            found += page
            if token is None:
                return tuple(found)
        raise RetryError("the venue's pages of activities do not end", value=MOST_PAGES)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars of a share that end from ``first`` to ``last``."""
        symbol = self._book[instrument_id].symbol
        found: dict[date, DailyBar] = {}
        token: str | None = None
        for _ in range(MOST_PAGES):
            request = market_data.daily_bars_request(symbol, first, last, self._endpoints.stock_feed, token)
            reply = await self.ask(request, self._data)
            page, token = self.read(lambda raw: market_data.read_daily_bars(raw, symbol), reply)
            found.update((one.day, one) for one in page)
            if token is None:
                return tuple(found[day] for day in sorted(found) if first <= day <= last)
        raise RetryError("the venue's pages of bars do not end", where=symbol, value=MOST_PAGES)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[MinuteBar, ...]:
        """Return the minutes of a share of the days ``first`` to ``last``."""
        symbol = self._book[instrument_id].symbol
        found: dict[int, MinuteBar] = {}
        token: str | None = None
        for _ in range(MOST_PAGES):
            request = market_data.minute_bars_request(symbol, first, last, self._endpoints.stock_feed, token)
            reply = await self.ask(request, self._data)
            page, token = self.read(lambda raw: market_data.read_minute_bars(raw, symbol), reply)
            found.update((one.start_ns, one) for one in page)
            if token is None:
                return tuple(found[at] for at in sorted(found))
        raise RetryError("the venue's pages of bars do not end", where=symbol, value=MOST_PAGES)

    async def account(self) -> AccountFacts:
        """Return the account."""
        return self.read(read_account, await self.ask(ACCOUNT))

    async def shortable(self) -> tuple[InstrumentId, ...]:
        """Return the shares of the book that may be sold short; one that is not known may not."""
        found = []
        for number, one in enumerate(self._book):
            if not isinstance(one, Equity):
                continue
            asked_ns, may = self._shortable.get(one.symbol, (None, False))
            if asked_ns is None or loop_ns() - asked_ns > ASSET_AGE_NS:
                try:
                    reply = await self.ask(asset_request(one.symbol))
                    may = read_may_short(reply.body, one.symbol)
                except (RetryError, Malformed):
                    may = False  # asked again with the next look at the account
                else:
                    self._shortable[one.symbol] = (loop_ns(), may)
            if may:
                found.append(InstrumentId(number))
        return tuple(found)

    async def positions(self) -> tuple[VenuePosition, ...]:
        """Return all holdings."""
        reply = await self.ask(POSITIONS)
        return self.read(lambda raw: read_positions(raw, self.lookup), reply)


class Checks:
    """Keys, account and clock of one gateway.

    Parameters
    ----------
    endpoints
        Where it connects to.
    options
        What it asks of the account.
    queries
        Reads answers.
    """

    def __init__(self, endpoints: Endpoints, options: GatewayOptions, queries: Queries) -> None:
        self._endpoints = endpoints
        self._options = options
        self._queries = queries

    async def first_ask(self, path: RestClient) -> Reply:
        """Ask for the account, as the first thing of all.

        Raises
        ------
        ConfigError
            When the keys are not accepted.
        RetryError
            When the venue does not answer.
        """
        try:
            reply = await path.ask(ACCOUNT)
        except RetryError as error:
            raise RetryError(
                "the venue cannot be reached; nothing was sent",
                where=self._endpoints.trading_url,
                value=error.what,
                fix="look at this machine's network and the venue's status page, then start again",
            ) from None
        answer = judge(reply.status, reply.body)
        if answer.verdict is Verdict.UNAUTHORIZED:
            raise self.wrong_keys(answer.reason)
        return self._queries.checked(reply, ACCOUNT)

    def wrong_keys(self, reason: str) -> ConfigError:
        """Return the refusal of keys that the venue does not accept; it shows none of them."""
        here = "the live" if self._endpoints.is_live else "the paper" if self._endpoints.is_paper else "this"
        return ConfigError(
            f"the venue does not accept the keys in {here} environment; no order was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            value=reason,
            fix="copy key and secret of this environment's account again; paper and live have their own",
        )

    def account(self, account: AccountFacts) -> None:
        """Refuse an account that was not armed, may not trade, or lacks the options level.

        Raises
        ------
        StopError
            When the desk was armed for another account.
        ConfigError
            When the account cannot do what the strategy wants.
        """
        if self._options.data_only:
            return
        token = self._endpoints.live_token
        if token is not None and token.account_id != account.account_id:
            raise StopError(
                "the desk was armed for another account; nothing was sent",
                where=f"armed for {token.account_id}",
                value=account.account_id,
                fix="check the keys, then disarm and arm again",
            )
        if not account.may_trade:
            raise ConfigError(
                "the account may not trade now",
                where=f"account status {account.status}",
                fix="look at the account's messages on the venue's own pages",
            )
        if account.options_level < self._options.options_level:
            raise ConfigError(
                "the account has no permission for the options this strategy trades",
                where="options_trading_level",
                value=f"{account.options_level}, needed {self._options.options_level}",
                fix="apply for the level on the venue's own pages; a paper account gets it at once",
            )

    def clock(self, venue: VenueClock, ours: Clock) -> None:
        """Refuse a machine whose clock is off; a clock that follows the venue is set.

        Raises
        ------
        ConfigError
            When the two lie too far apart.
        """
        if isinstance(ours, FollowingClock):
            ours.observe(venue.now_ns)
            return
        skew_seconds = (venue.now_ns - ours.now_ns()) / NANOS_PER_SECOND
        if abs(skew_seconds) > self._options.most_clock_skew_seconds:
            raise ConfigError(
                "this machine's clock is off; nothing was sent",
                where="clock against the venue's",
                value=f"{skew_seconds:+.1f} s",
                fix="switch on network time (NTP) and start again",
            )
