"""The gateway to Interactive Brokers over TWS: one account, its orders, quotes and history."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from urllib.parse import urlsplit

import msgspec
from ib_async import Contract, OptionComputation
from ib_async import Position as HeldAtTws

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.classes import FUTURES
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.futures import front_contract
from scalpdesk.instruments.sessions import is_session, next_session, session_on, to_new_york
from scalpdesk.venues.bounds import is_amount
from scalpdesk.venues.contract import (
    AccountFacts,
    DailyBar,
    Health,
    HoldingsView,
    KnownOrder,
    ListedContract,
    NoticeKind,
    VenueClock,
    VenueFill,
    VenueMinute,
    VenuePosition,
    VenueSetup,
    VenueView,
)
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.gateway_base import GatewayBase
from scalpdesk.venues.questions import Questions
from scalpdesk.venues.residues import Residues
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.connection import TwsConnection
from scalpdesk_ibkr.contracts import CURRENCY, INDEX_EXCHANGE, SMART, Contracts, future_named
from scalpdesk_ibkr.executions import exact
from scalpdesk_ibkr.history import History
from scalpdesk_ibkr.market_data import QuoteLines
from scalpdesk_ibkr.messages import AccountTag
from scalpdesk_ibkr.orders import IbkrOrders
from scalpdesk_ibkr.settings import IbkrSettings

PAPER = "D"
"""First letter of the code of a paper account."""


class IbkrGateway(GatewayBase):
    """One account at TWS; implements :class:`scalpdesk.venues.contract.EmergencyGateway`.

    ``setup``: Instruments, times, limits and fees.
    ``settings``: Address of TWS, client ids, account and market data lines.
    """

    name = "ibkr"
    takes_combos = True
    takes_id_once = False

    def __init__(self, setup: VenueSetup, settings: IbkrSettings) -> None:
        self._setup, self._settings = setup, settings
        self._instruments = setup.instruments
        self._publisher = EventPublisher(setup.clock)
        own_id = settings.watchdog_client_id if setup.is_watchdog else settings.client_id
        self._connection = TwsConnection(setup, settings, own_id, self._publisher)
        self._contracts = Contracts(self._connection, setup.instruments)
        self._contracts.on_refused = partial(self._publisher.refuse, "requests", "implausible_number")
        self._orders = IbkrOrders(self._connection, self._contracts, setup, self._publisher)
        self._path = self._orders.path
        self._market = QuoteLines(
            self._connection,
            self._contracts,
            setup.instruments,
            self._publisher,
            settings,
            in_use=self._orders.in_use,
        )
        self._residues = Residues(self._publisher)
        self._history = History(self._connection, self._contracts)
        self._questions = Questions()
        self._account = settings.account
        self._currency = ""
        """Base currency of the account; empty before it is known."""
        self._connection.on_down = self._orders.doubt_unanswered
        self._connection.on_up = self._on_up

    def __repr__(self) -> str:
        where = f"{self._settings.host}:{self._settings.port}"
        return f"IbkrGateway({where}, client {self._connection.client_id})"

    # connection -------------------------------------------------------------------------------------

    async def _connect(self, known_orders: Iterable[KnownOrder]) -> AccountFacts:
        self._path.adopt(known_orders)
        await self._log_in()
        facts = self._facts()
        self._currency = facts.currency
        self._orders.opened(self._account)
        self._path.is_open = not self._setup.data_only
        self._publisher.notice(NoticeKind.CONNECTED, "orders", "connected")
        foreign = foreign_cash(_account_rows(self._connection, self._account), facts.currency)
        if foreign:
            text = ", ".join(f"{amount:f} {currency}" for currency, amount in foreign.items())
            self._publisher.notice(NoticeKind.LIMITED, "requests", "foreign_cash", f"{text}: not counted")
        return facts

    async def _log_in(self, *, needs_time: bool = True) -> None:
        self._account = _chosen(await self._connection.start(needs_time=needs_time), self._account)
        self._check_arming()

    async def _connect_to_leave(self) -> str:
        """Log in: the login shows positions and takes orders, whatever else TWS leaves unanswered."""
        await self._log_in(needs_time=False)
        self._orders.opened(self._account)
        self._path.is_open = True
        return self._account

    def _check_arming(self) -> None:
        token, is_paper = self._setup.live_token, self._account.startswith(PAPER)
        if is_paper and token is not None:
            raise ConfigError(
                "TWS is logged in to a paper account, and real money was armed",
                where="venues.ibkr.port",
                value=self._settings.port,
                fix="log TWS in to the armed account, or start without --live",
            )
        if not is_paper and (token is None or token.account_id != self._account):
            raise ConfigError(
                "this account trades real money, and was not armed",
                where="venues.ibkr.port",
                value=self._settings.port,
                fix="log TWS in to the paper account (its code begins with DU), or arm this one",
            )

    async def _on_up(self, has_lost_data: bool) -> None:
        self._orders.opened(self._account)
        await self._market.resume(has_lost_data=has_lost_data)

    async def close(self, *, graceful: bool = True) -> None:
        """End the connection; orders stay as they are."""
        self._questions.close()
        self._market.close()
        await self._path.close(graceful=graceful)
        await self._connection.close()
        self._publisher.queue.close()

    async def reconnect(self, stream: str) -> None:
        """Replace the connection, which carries every stream."""
        self._connection.renew(f"{stream}_renewed", stream)

    def health(self) -> Health:
        """Return the state of the connection and the budget, without asking TWS."""
        link = self._connection
        return self._health(
            {"orders": link.is_up, "quotes": link.has_quotes},
            {"orders": link.silent_seconds, "quotes": self._market.silent_seconds},
            self._market.counts(),
        )

    # events and commands ----------------------------------------------------------------------------

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events."""
        super().send(command)
        if isinstance(command, SubmitOrder):
            self._market.need([command.instrument_id])
        elif isinstance(command, MultiLegOrder):
            self._market.need(leg.instrument_id for leg in command.legs)

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent; a watchdog takes over the dead desk's client id."""
        known = tuple(orders)
        super().adopt(known)
        desk_id = self._settings.client_id
        if known and self._setup.is_watchdog and self._connection.client_id != desk_id:
            self._connection.use(desk_id)

    async def do_not_exercise(self, instrument_id: InstrumentId, contracts: Decimal) -> None:
        """Tell the venue that bought contracts are not to be exercised at their expiry.

        Raises RetryError when the venue does not answer, or refuses.
        """
        await self._orders.let_go(instrument_id, contracts, self._setup.timeout_seconds)

    # the account ------------------------------------------------------------------------------------

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; executions that it reveals come out as events first."""
        ask, fills = self._questions.ask, tuple[VenueFill, ...]()
        if fills_since_ns is not None:
            fills = await ask("executions", self._orders.history(fills_since_ns))
        open_orders = await ask("open orders", self._orders.open_orders())
        lines = await ask("positions", self._lines())
        await ask("account values", self._ask_account_values())
        clock = await ask("clock", self._venue_clock())
        described = [await ask("contracts", self._position(line)) for line in lines]
        positions = self._residues.without(described)
        return VenueView(
            ts_event_ns=clock.now_ns,
            ts_recv_ns=self._publisher.timestamp(clock.now_ns),
            account=self._facts(),
            clock=clock,
            positions=positions,
            open_orders=open_orders,
            fills=fills,
            over=self._orders.tracker.over(),
            unsellable=self._residues.held,
        )

    async def shown_positions(self) -> HoldingsView:
        """Ask for the positions, and briefly for the open orders before them, the time and new contracts."""
        missing: list[str] = []
        briefly = self._questions.ask_briefly
        asking_clock = asyncio.ensure_future(briefly("clock", self._venue_clock, missing))
        orders = await briefly("open orders", self._orders.open_orders, missing)
        unread: list[str] = []
        ask_lines = self._questions.ask("positions", self._lines(unread))
        lines, clock = await asyncio.gather(ask_lines, asking_clock)
        positions = []
        for line in lines:
            known = await briefly(f"contract {line.contract.conId}", partial(self._position, line), missing)
            positions.append(self._unnamed(line) if known is None else known)
        return HoldingsView.asked(
            self._residues.without(positions),
            orders,
            clock,
            self._publisher.timestamp,
            missing=missing,
            unread=unread,
        )

    def waits_for(self) -> tuple[str, ...]:
        """Return the names of the questions of a view that is under way."""
        return self._questions.waiting()

    async def cancel_all(self) -> bool:
        """Cancel all orders of all clients; return whether it was sent."""
        if not self._connection.is_up:
            return False
        self._connection.client.reqGlobalCancel()
        return True

    async def _lines(self, unread: list[str] | None = None) -> list[HeldAtTws]:
        """Return the positions of the account as TWS sends them; ``unread`` as in the connection."""
        ask = self._connection.ib.reqPositionsAsync
        held = await self._connection.question(ask, "positions", unread)
        # what the stream brings during the question stands in the answer, too: of a contract the last counts
        return list({line.contract.conId: line for line in held if line.account == self._account}.values())

    async def _ask_account_values(self) -> None:
        client = self._connection.client
        await self._connection.request(
            lambda request_id: client.reqAccountUpdatesMulti(request_id, self._account, "", False),
            "account values",
        )

    def _facts(self) -> AccountFacts:
        return _account_facts(self._connection, self._account, self._currency)

    async def _position(self, line: HeldAtTws) -> VenuePosition:
        contract = line.contract
        instrument = self._contracts.instrument(contract)
        if instrument is None and contract.conId and contract.secType in (messages.OPTION, messages.FUTURE):
            instrument = await self._contracts.by_id(contract.conId)
        symbol = contract.localSymbol if instrument is None else instrument.symbol
        average = exact(line.avgCost) / _multiplier(contract)
        number = self._instruments.find(symbol)
        return VenuePosition(symbol, number, exact(line.position), average, instrument)

    @staticmethod
    def _unnamed(line: HeldAtTws) -> VenuePosition:
        """Return a position whose contract TWS does not describe now."""
        contract = line.contract
        symbol = contract.localSymbol or contract.symbol
        return VenuePosition(symbol, None, exact(line.position), exact(line.avgCost) / _multiplier(contract))

    async def _venue_clock(self) -> VenueClock:
        now_ns = await self._connection.time()
        day = to_new_york(now_ns).date()
        today, following = session_on(day) if is_session(day) else None, next_session(day)
        if today is None or now_ns >= today.close_ns:
            return VenueClock(now_ns, False, following.open_ns, following.close_ns)
        is_open = now_ns >= today.open_ns
        opens_ns = following.open_ns if is_open else today.open_ns
        return VenueClock(now_ns, is_open, opens_ns, today.close_ns)

    # the market -------------------------------------------------------------------------------------

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments, as lines allow; kept over reconnections."""
        await self._market.subscribe(instrument_ids)

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Open the lines of some instruments again; the others go on."""
        self._market.renew(instrument_ids)

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one."""
        return await self._market.quotes(instrument_ids)

    def model_greeks(self, instrument_id: InstrumentId) -> OptionComputation | None:
        """Return TWS's own volatility and Greeks of an option; None before it has sent them."""
        return self._market.model_greeks(instrument_id)

    async def resolve(self, symbol: str) -> Instrument:
        """Return the share, index or future that a symbol names at TWS; a root names its front future."""
        if symbol in FUTURES:
            listed = [item for item in await self._contracts.find(future_named(symbol)) if item.is_future]
            if listed:
                today = to_new_york(await self._connection.time()).date()
                return front_contract(listed, today)
        asked: tuple[Contract, ...] = (
            Contract(
                secType=messages.SHARE, symbol=symbol.replace(".", " "), exchange=SMART, currency=CURRENCY
            ),
            Contract(secType=messages.INDEX, symbol=symbol, exchange=INDEX_EXCHANGE, currency=CURRENCY),
        )
        if "_" in symbol:
            asked = (future_named(symbol),)
        for wanted in asked:
            for found in await self._contracts.find(wanted):
                return found
        raise ConfigError(
            "TWS knows no US share, index or future of this symbol",
            where="underlying",
            value=symbol,
            fix="name one as SPY, SPX, ES or ES_202612",
        )

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``.

        Their open interest comes as events, with their lines.
        """
        found = await self._contracts.options(underlying, first, last)
        return tuple(ListedContract(item, None, is_tradable=True) for item in found if item.is_option)

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars that end from ``first`` to ``last``, oldest first."""
        return await self._history.daily(instrument_id, first, last, await self._connection.time())

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of the sessions of the days ``first`` to ``last``, oldest first."""
        return await self._history.minutes(instrument_id, first, last, await self._connection.time())


def _multiplier(contract: Contract) -> Decimal:
    """Return the multiplier of a contract, which may be below 1; 1 by default."""
    text = contract.multiplier or ""
    return (Decimal(text) if _is_number(text) else ZERO) or Decimal(1)


def _chosen(accounts: Sequence[str], wanted: str) -> str:
    """Return the account to trade: the wanted one, or the only one of the login."""
    account = accounts[0] if not wanted and len(accounts) == 1 else wanted
    if account in accounts:
        return account
    raise ConfigError(
        "this login has no such account" if wanted else "this login has several accounts",
        where="venues.ibkr.account",
        value=wanted or None,
        fix=f"one of {', '.join(accounts)}",
    )


ALL = "BASE"
"""TWS's name of all currencies together, in the base currency."""
_AccountRows = dict[str, dict[str, Decimal]]
"""Amounts of an account by tag and currency."""


def _account_facts(link: TwsConnection, account: str, base: str = "") -> AccountFacts:
    """Return an account by the values that TWS sent last, in its base currency.

    TWS sends a value once, in the base currency, or a row for each currency and one for all of them
    (``BASE``). The cash of the desk is that in the base currency: cash in another currency stands beside it.
    ``base`` is the base currency where it is known.

    TotalCashValue counts what futures have gained since their last settlement, FuturesPNL (vendor's pages,
    "AccountSummaryTags"): it changes with each tick, and is no cash yet.

    The broker closes positions when maintenance margin exceeds equity with loan value (vendor's pages,
    "Margin deficiency"). Raises RetryError when TWS has not sent a value. Raises ConfigError when the base
    currency does not follow from the rows.
    """
    rows = _account_rows(link, account)
    base = base or _base_currency(rows)

    def total(tag: str) -> Decimal:
        found = rows.get(tag, {})
        amount = found.get(ALL, found.get(base))
        if amount is None:
            raise RetryError("TWS does not state a value of the account", where=tag, value=", ".join(found))
        return amount

    liquidation = total(AccountTag.LIQUIDATION)
    equity = (
        total(AccountTag.EQUITY_WITH_LOAN) if AccountTag.EQUITY_WITH_LOAN in rows else ZERO
    ) or liquidation
    margin = total(AccountTag.MAINTENANCE_MARGIN) if AccountTag.MAINTENANCE_MARGIN in rows else None
    cash = rows[AccountTag.CASH][base] if foreign_cash(rows, base) else total(AccountTag.TOTAL_CASH)
    return AccountFacts(
        account_id=account,
        status="active",
        currency=base,
        cash=cash - rows.get(AccountTag.FUTURES_GAIN, {}).get(base, ZERO),
        equity=liquidation,
        buying_power=total(AccountTag.BUYING_POWER),
        options_buying_power=total(AccountTag.AVAILABLE_FUNDS),
        options_level=4,  # permissions are not in the API: a refused order names them
        may_trade=True,
        may_short=True,
        margin_fraction=None if margin is None or equity <= ZERO else margin / equity,
    )


def _account_rows(link: TwsConnection, account: str) -> _AccountRows:
    rows: _AccountRows = {}
    for each in link.ib.accountValues(account):
        if each.currency and not each.modelCode and _is_number(each.value):
            rows.setdefault(each.tag, {})[each.currency] = Decimal(each.value).normalize() + ZERO
    return rows


def _is_number(text: str) -> bool:
    try:
        return is_amount(Decimal(text))
    except InvalidOperation:
        return False


def _base_currency(rows: _AccountRows) -> str:
    """Return the base currency: the only one of the account's value, or the one whose exchange rate is 1."""
    if AccountTag.LIQUIDATION not in rows:
        raise RetryError("TWS does not state a value of the account", where=AccountTag.LIQUIDATION)
    named = [currency for currency in rows[AccountTag.LIQUIDATION] if currency != ALL]
    if len(named) > 1:
        rates = rows.get(AccountTag.RATE, {})
        named = [currency for currency in named if rates.get(currency) == 1] or named
    if len(named) != 1:
        raise ConfigError(
            "TWS does not say in which currency the account is kept; nothing was sent",
            where="venues.ibkr.account",
            value=", ".join(named) or ALL,
            fix="trade an account whose base currency is the desk's and that holds no other currency",
        )
    return named[0]


def foreign_cash(rows: _AccountRows, base: str) -> dict[str, Decimal]:
    """Return the cash of an account in other currencies than its base."""
    cash = rows.get(AccountTag.CASH, {})
    return {
        name: amount for name, amount in cash.items() if amount and base in cash and name not in (base, ALL)
    }


async def live_account(setup: VenueSetup, settings: IbkrSettings) -> AccountFacts:
    """Return the real-money account that TWS is logged in to; reads only.

    Raises ConfigError when TWS is logged in to a paper account, or the login has no such account. Raises
    RetryError when TWS does not answer.
    """
    link = TwsConnection(setup, settings, settings.client_id, EventPublisher(setup.clock))
    try:
        account = _chosen(await link.start(), settings.account)
        if account.startswith(PAPER):
            raise ConfigError(
                "TWS is logged in to a paper account, which needs no arming",
                where="venues.ibkr.port",
                value=settings.port,
                fix="log TWS in to the account with real money (the gateway's port is then 4001)",
            )
        return _account_facts(link, account)
    finally:
        await link.close()


def build_gateway(setup: VenueSetup, settings: IbkrSettings) -> IbkrGateway:
    """Return the gateway to TWS, or to a simulated exchange at ``setup.url`` (``tws://host:port``)."""
    if setup.url is None:
        return IbkrGateway(setup, settings)
    address = urlsplit(setup.url)
    host, port = address.hostname or settings.host, address.port or settings.port
    return IbkrGateway(setup, msgspec.structs.replace(settings, host=host, port=port))
