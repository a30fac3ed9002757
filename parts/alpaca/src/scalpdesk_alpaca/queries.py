"""Questions to an Alpaca account, counted against its limits, and the checks of a connection's start."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import TypeVar

from scalpdesk.core.clock import Clock, FollowingClock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import DAY_NS, MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import rfc3339
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    ListedContract,
    NoticeKind,
    VenueActivity,
    VenueClock,
    VenueMinute,
    VenuePosition,
    how_to_reach,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk_alpaca import market_data, order_messages
from scalpdesk_alpaca.account_messages import (
    ACCOUNT,
    CLOCK,
    IMPLAUSIBLE,
    POSITIONS,
    SYMBOLS_PER_QUERY,
    activities_request,
    asset_request,
    contracts_request,
    dividends_request,
    latest_quotes_request,
    read_account,
    read_activities,
    read_clock,
    read_contracts,
    read_dividends,
    read_latest_quotes,
    read_positions,
    read_share_rules,
    read_splits,
    splits_request,
)
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.order_messages import (
    JudgedReply,
    ReplyVerdict,
    WireOrder,
    judge,
    rate_limit,
    read_orders,
)
from scalpdesk_alpaca.transport import (
    Endpoints,
    GatewayOptions,
    NoAnswer,
    NotSent,
    Reply,
    RestClient,
    RestRequest,
)

T = TypeVar("T")
_MOST_PAGES = 500
_OPEN_ORDERS_PER_PAGE = 500
_MICROSECOND_NS = 1_000
"""The precision to which the venue may compare instants."""
_ASSET_AGE_NS = 10 * MINUTE_NS
"""An answer on one share is used for so long: lists of easy borrows change from day to day."""
_REFUSED_QUESTIONS = frozenset({400, 404, 422})
"""The venue understands the question and will not answer it, however often it is asked."""
_ACTIVITY_LOOKBACK_NS = 5 * DAY_NS
"""The venue often lists an activity of a long weekend days later, under the day of the activity."""


_STALE_CHECK_SECONDS = 1.0
"""A question for the account that waits becomes urgent at most so long after a reconnection."""


class BudgetedClient:
    """A REST client that counts its requests against the venue's limit and reports refusals of it.

    ``client``, ``budget``, ``publisher``: Connections, the requests left, and where a limit or a refused key
    is published.
    """

    def __init__(self, client: RestClient, budget: RequestBudget, publisher: EventPublisher) -> None:
        self.client = client
        self.budget = budget
        self._publisher = publisher

    def may_ask(self, urgency: Urgency) -> bool:
        """Take one request from the budget; False when the rest is kept for more urgent requests."""
        return self.budget.take(urgency, loop_ns())

    async def pause(self, urgency: Urgency, most_seconds: float = 60.0) -> None:
        """Sleep until the budget has a request of this urgency, unless others take it meanwhile."""
        wait_seconds = self.budget.wait_ns(urgency, loop_ns()) / NANOS_PER_SECOND
        # a wait shorter than the clock's step would not pass, and the next question would be the same
        await asyncio.sleep(min(max(wait_seconds, 0.001), most_seconds))

    def start(self, request: RestRequest) -> asyncio.Future[Reply]:
        """Write a request now; see :meth:`RestClient.start`."""
        return self.client.start(request)

    async def send(self, request: RestRequest) -> Reply:
        """Send a request and return the answer, whatever its status; raises as :meth:`RestClient.ask`."""
        return self.learn(await self.client.ask(request))

    async def ask(self, request: RestRequest, urgency: Urgency) -> Reply:
        """Send a request once the budget allows it."""
        while not self.may_ask(urgency):
            await self.pause(urgency)
        return await self.send(request)

    async def outcome(self, answering: Awaitable[Reply]) -> JudgedReply:
        """Return what became of a request that was started."""
        try:
            reply = self.learn(await answering)
        except NotSent as error:
            return JudgedReply(ReplyVerdict.NOT_SENT, error.what)
        except NoAnswer as error:
            return JudgedReply(ReplyVerdict.UNKNOWN, error.what)
        judged = self.judge(reply)
        return JudgedReply(judged.verdict, judged.reason, reply.body)

    def learn(self, reply: Reply) -> Reply:
        """Return an answer after taking the venue's own count of requests from it."""
        stated = rate_limit(reply.headers)
        if stated is not None:
            self.budget.learn(stated.limit, stated.remaining, loop_ns())
        return reply

    def judge(self, reply: Reply) -> JudgedReply:
        """Return what an answer proves; publish what concerns more than one request: limit and keys."""
        judged = judge(reply.status, reply.body)
        if judged.verdict is ReplyVerdict.LIMITED:
            self.budget.learn(self.budget.per_minute, 0, loop_ns())
            self._publisher.count("rate_limited")
            self._publisher.notice(NoticeKind.LIMITED, "orders", "rate_limited", judged.reason)
        elif judged.verdict is ReplyVerdict.UNAUTHORIZED:
            self._publisher.count("unauthorized")
            self._publisher.notice(NoticeKind.DEAD, "orders", "unauthorized", judged.reason)
        return judged


class Queries:
    """Queries of the account and the market; they wait while the budget is kept for orders.

    Each raises RetryError when the venue does not answer, or not credibly.

    ``trading``, ``data``: Clients of the two hosts.
    ``endpoints``, ``instruments``, ``publisher``: Names of the feeds, instruments of the run, and where
    messages that were not believed are published.
    ``is_account_stale``: Whether the order stream came up since the account was last asked for: these
    questions then go before orders that open.
    """

    def __init__(
        self,
        *,
        trading: BudgetedClient,
        data: BudgetedClient,
        endpoints: Endpoints,
        instruments: Instruments,
        publisher: EventPublisher,
        is_account_stale: Callable[[], bool],
    ) -> None:
        self._trading = trading
        self._is_account_stale = is_account_stale
        self._data = data
        self._endpoints = endpoints
        self._instruments = instruments
        self._publisher = publisher
        self._shortable: dict[str, tuple[int | None, bool]] = {}
        """By symbol: when it was asked (loop time) and whether it may be sold short."""
        self._in_fractions: dict[str, bool] = {}

    async def ask(self, request: RestRequest) -> Reply:
        """Return the answer of the trading host."""
        return self.checked(await self._trading.ask(request, Urgency.QUERY), request)

    async def _ask_account(self, request: RestRequest, urgency: Urgency | None = None) -> Reply:
        """Return the answer, whatever its status, to a question for the state of the account.

        ``urgency``: None goes by whether the account is stale.
        """
        while True:
            own = urgency or (Urgency.ACCOUNT if self._is_account_stale() else Urgency.QUERY)
            if self._trading.may_ask(own):
                return await self._trading.send(request)
            await self._trading.pause(own, _STALE_CHECK_SECONDS)

    async def _ask_data(self, request: RestRequest) -> Reply:
        # nothing but questions goes to the data host: all of its requests are theirs
        return self.checked(await self._data.ask(request, Urgency.CANCEL), request, self._data)

    def checked(self, reply: Reply, request: RestRequest, client: BudgetedClient | None = None) -> Reply:
        """Return an answer that succeeded; anything else is a RetryError."""
        judged = (client or self._trading).judge(reply)
        if judged.verdict is not ReplyVerdict.DONE:
            raise RetryError(
                "the venue does not answer the question",
                where=f"{request.method} {request.path.partition('?')[0]}",
                value=judged.reason,
            )
        return reply

    @staticmethod
    def read(reader: Callable[[bytes], T], reply: Reply) -> T:
        """Return the content of an answer; a RetryError when it cannot be believed."""
        try:
            return reader(reply.body)
        except Malformed as refused:
            raise RetryError("the venue's answer cannot be believed", value=str(refused)) from None

    async def clock(self, urgency: Urgency | None = None) -> VenueClock:
        """Return the venue's clock."""
        return self.read(read_clock, self.checked(await self._ask_account(CLOCK, urgency), CLOCK))

    async def open_orders(self, urgency: Urgency | None = None) -> list[WireOrder]:
        """Return all open orders, oldest first."""
        orders: dict[str, WireOrder] = {}
        after: str | None = None
        for _ in range(_MOST_PAGES):
            request = order_messages.open_orders_request(after)
            reply = self.checked(await self._ask_account(request, urgency), request)
            page, refusals = self.read(read_orders, reply)
            if refusals:
                raise RetryError("an open order cannot be believed", value=refusals[0].detail)
            fresh = [order for order in page if order.venue_order_id not in orders]
            orders.update((order.venue_order_id, order) for order in fresh)
            if len(page) < _OPEN_ORDERS_PER_PAGE or not fresh:
                break
            # a microsecond earlier: orders of one instant may lie on both sides of the page's end
            after = rfc3339(page[-1].submitted_ns - _MICROSECOND_NS)
        return list(orders.values())

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one."""
        found: list[QuoteEvent] = []
        for is_option in (False, True):
            symbols = [
                self._instruments[number].symbol
                for number in instrument_ids
                if self._instruments[number].is_option is is_option
            ]
            feed = self._endpoints.option_feed if is_option else self._endpoints.stock_feed
            for start in range(0, len(symbols), SYMBOLS_PER_QUERY):
                batch = symbols[start : start + SYMBOLS_PER_QUERY]
                request = latest_quotes_request(batch, is_option=is_option, feed=feed)
                reply = await self._ask_data(request)
                quotes, refusals = self.read(
                    lambda raw: read_latest_quotes(raw, self._instruments.find, self._publisher.timestamp),
                    reply,
                )
                found += quotes
                self._refuse(refusals, "requests")
        return tuple(found)

    async def _pages(
        self,
        what: str,
        page: Callable[[str | None], Awaitable[Reply | None]],
        reader: Callable[[bytes], tuple[list[T], str | None]],
    ) -> list[T]:
        """Return what all pages of ``what`` hold; an answer of None ends them."""
        found: list[T] = []
        token: str | None = None
        for _ in range(_MOST_PAGES):
            reply = await page(token)
            if reply is None:
                return found
            rows, token = self.read(reader, reply)
            found += rows
            if token is None:
                return found
        raise RetryError("the venue's pages do not end", where=what, value=_MOST_PAGES)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``.

        Contracts whose multiplier is not theirs are asked for once more; they are left out, by name, when
        the venue says it again.
        """
        odd = list[str]()

        def read(raw: bytes) -> tuple[list[ListedContract], str | None]:
            page, token, refused = read_contracts(raw)
            self._refuse(refused, "requests")
            odd.extend(message.name for message in refused if message.name == IMPLAUSIBLE)
            return page, token

        async def ask() -> list[ListedContract]:
            return await self._pages(
                f"contracts of {underlying}",
                lambda token: self.ask(contracts_request(underlying, first, last, token)),
                read,
            )

        listed = await ask()
        if odd:
            listed = await ask()
        return tuple(
            contract
            for contract in listed
            if contract.contract.underlying == underlying and first <= contract.contract.expiry <= last
        )

    async def activities(self, since_ns: int) -> tuple[VenueActivity, ...]:
        """Return the account's history without its executions, from some days before ``since_ns``.

        A venue that refuses the question leaves what is not expected to the operator: the refusal is
        published, and the account is queried all the same.
        """
        after = rfc3339(max(since_ns - _ACTIVITY_LOOKBACK_NS, 0))

        async def page(token: str | None) -> Reply | None:
            request = activities_request(after, token)
            reply = await self._ask_account(request)
            if reply.status in _REFUSED_QUESTIONS:
                reason = f"HTTP {reply.status} {judge(reply.status, reply.body).reason}"
                self._publisher.refuse("requests", "activities_refused", reason)
                return None
            return self.checked(reply, request)

        return tuple(await self._pages("activities", page, read_activities))

    async def _bars(
        self, instrument_id: InstrumentId, timeframe: str, span: tuple[date, date], make: Callable[..., T]
    ) -> list[T]:
        symbol, feed = self._instruments[instrument_id].symbol, self._endpoints.stock_feed
        return await self._pages(
            f"bars of {symbol}",
            lambda token: self._ask_data(market_data.bars_request(symbol, timeframe, *span, feed, token)),
            lambda raw: market_data.read_bars(raw, symbol, make),
        )

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars of a share that end from ``first`` to ``last``."""
        bars = await self._bars(instrument_id, "1Day", (first, last), market_data.daily_bar)
        found = {bar.day: bar for bar in bars}
        return tuple(found[day] for day in sorted(found) if first <= day <= last)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of a share of the days ``first`` to ``last``."""
        bars = await self._bars(instrument_id, "1Min", (first, last), VenueMinute)
        found = {bar.start_ns: bar for bar in bars}
        return tuple(found[at] for at in sorted(found))

    async def splits(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CorporateAction, ...]:
        """Return the splits of a share that go ex from ``first`` to ``last``."""
        symbol = self._instruments[instrument_id].symbol
        listed = await self._pages(
            f"splits of {symbol}",
            lambda token: self._ask_data(splits_request(symbol, first, last, token)),
            lambda raw: read_splits(raw, symbol),
        )
        found = {split.ex_date: split for split in listed}
        return tuple(found[day] for day in sorted(found) if first <= day <= last)

    async def dividends(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CashDividend, ...]:
        """Return the ordinary dividends of a share that go ex from ``first`` to ``last``."""
        symbol = self._instruments[instrument_id].symbol
        listed = await self._pages(
            f"dividends of {symbol}",
            lambda token: self._ask_data(dividends_request(symbol, first, last, token)),
            lambda raw: read_dividends(raw, symbol),
        )
        found = {paid.ex_date: paid for paid in listed}
        return tuple(found[day] for day in sorted(found) if first <= day <= last)

    async def account(self) -> AccountFacts:
        """Return the account."""
        return self.read(read_account, self.checked(await self._ask_account(ACCOUNT), ACCOUNT))

    async def shortable(self) -> tuple[InstrumentId, ...]:
        """Return the shares of the book that may be sold short; one that is not known may not."""
        found = []
        for number, share in enumerate(self._instruments):
            if not share.is_share:
                continue
            asked_ns, may = self._shortable.get(share.symbol, (None, False))
            if asked_ns is None or loop_ns() - asked_ns > _ASSET_AGE_NS:
                try:
                    request = asset_request(share.symbol)
                    reply = self.checked(await self._ask_account(request), request)
                    rules = read_share_rules(reply.body, share.symbol)
                except (RetryError, Malformed):
                    may = False  # asked again with the next view of the account
                else:
                    may = rules.may_be_shorted
                    self._shortable[share.symbol] = (loop_ns(), may)
                    self._in_fractions[share.symbol] = rules.in_fractions
            if may:
                found.append(InstrumentId(number))
        return tuple(found)

    def least_order(self, held: VenuePosition) -> Decimal:
        """Return the least order in a holding: one where the venue takes no fraction, else 0."""
        return ZERO if self._in_fractions.get(held.symbol, True) else Decimal(1)

    async def positions(
        self, unread: list[str] | None = None, urgency: Urgency | None = None
    ) -> tuple[VenuePosition, ...]:
        """Return all holdings.

        ``unread``: Gets those that cannot be read; None: one of them makes the whole list unusable.
        """
        reply = self.checked(await self._ask_account(POSITIONS, urgency), POSITIONS)
        found, refused = self.read(lambda raw: read_positions(raw, self._instruments.find), reply)
        if refused and unread is None:
            raise RetryError("the venue's answer cannot be believed", value=refused[0].detail)
        if unread is not None:
            unread += [message.detail for message in refused]
        return tuple(found)

    def _refuse(self, refused: Iterable[BadMessage], stream: str) -> None:
        for message in refused:
            self._publisher.refuse(stream, message.name, message.detail)


class StartChecks:
    """Checks of keys, account and clock when a gateway connects."""

    def __init__(self, endpoints: Endpoints, options: GatewayOptions, queries: Queries) -> None:
        self._endpoints = endpoints
        self._options = options
        self._queries = queries

    async def first_reply(self, client: RestClient) -> Reply:
        """Return the answer to the first question, for the account.

        Raises ConfigError when the keys are not accepted. Raises RetryError when the venue does not answer.
        """
        try:
            reply = await client.ask(ACCOUNT)
        except RetryError as error:
            raise RetryError(
                "the venue cannot be reached; nothing was sent",
                where=self._endpoints.trading_url,
                value=error.what,
                fix=how_to_reach(self._endpoints.trading_url),
            ) from None
        judged = judge(reply.status, reply.body)
        if judged.verdict is ReplyVerdict.UNAUTHORIZED:
            raise self.wrong_keys(judged.reason)
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

        Raises StopError when the desk was armed for another account. Raises ConfigError when the account
        cannot do what the strategy wants.
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

        Raises ConfigError when the two lie too far apart.
        """
        if isinstance(ours, FollowingClock):
            ours.follow(venue.now_ns)
            return
        skew_seconds = (venue.now_ns - ours.now_ns()) / NANOS_PER_SECOND
        if abs(skew_seconds) > self._options.most_clock_skew_seconds:
            raise ConfigError(
                "this machine's clock is off; nothing was sent",
                where="clock against the venue's",
                value=f"{skew_seconds:+.1f} s",
                fix="switch on network time (NTP) and start again",
            )
