"""The contract of a venue: a :class:`Gateway`, and the values that pass through it.

A gateway turns wire messages into the desk's events and the desk's commands into requests. It decides
nothing. Its rules, which :mod:`scalpdesk.venues.conformance` asks of every venue:

*   Everything that happens comes out of one stream, :meth:`Gateway.events`, in the order in which it was
    received; its receive times never run backwards.
*   :meth:`Gateway.send` never raises because of the network and never waits for the venue's answer.
    A request without a known outcome becomes an ``OrderStatusUnknown`` event.
*   An unknown status ends only by proof: :meth:`Gateway.query_order` gives it as events, or gives nothing.
*   Each execution comes out once, however it was learned (stream, query, snapshot).
*   A message that cannot be read is a :class:`Notice` of kind ``refused`` and a counter, never a
    crash and never a guess.

A runner uses a gateway like this::

    gateway = ...                          # built by the assembly; nothing is connected yet
    await gateway.connect(known_orders)    # checks keys, account, clock; refuses with what to do
    found = await gateway.discover("SPY", first, last)      # then add the instruments, build the engine
    view = await gateway.snapshot(fills_since_ns=...)       # reconcile, before anything is sent
    await gateway.subscribe(instrument_ids)
    async for item in gateway.events():    # Event or Notice
        ...
        gateway.send(command)              # after the command is on disk
    await gateway.close()
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import (
    AccountLimits,
    AccountSnapshot,
    Event,
    HeldPosition,
    HoldingsShown,
    QuoteEvent,
    SessionBarsEvent,
)
from scalpdesk.core.intents import MultiLegOrder, Side, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments, OptionContract
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.deadlines import CAUTIOUS, VenueCutoff
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import is_session, session_on, to_new_york
from scalpdesk.marketdata.tape import CashDividend, MarketTape
from scalpdesk.venues.words import is_severe, likeness, readable


class VenueActivity(msgspec.Struct, frozen=True):
    """An entry of an account's history that is no trade: an exercise, expiry, dividend, fee or transfer."""

    activity_id: str
    """The venue's id, unique in the account."""
    kind: str
    """In the venue's own words."""
    cause: ChangeCause
    """In the desk's, as in :class:`scalpdesk.core.events.PositionChanged`."""
    symbol: str
    """Its instrument; empty for the account as a whole."""
    quantity_change: Decimal
    """Signed contracts or shares; zero when it moved cash alone."""
    price: Decimal
    """Price at which a unit is booked, in currency."""
    cash_change: Decimal
    """Signed currency."""
    ts_event_ns: int
    """When it happened, UTC nanoseconds; the start of its day where the venue only says the day."""
    charges_day: date | None = None
    """Of a fee for trades that stands apart from them: their day."""

    def __str__(self) -> str:
        units = f"{self.quantity_change:+f} " if self.quantity_change else ""
        cash = f"{self.cash_change:+.8f}".rstrip("0")
        cash += "0" * (2 - len(cash.partition(".")[2]))  # cents at least, or coin to the satoshi
        return f"{self.kind} {units}{self.symbol} {cash}".replace("  ", " ")


class NoticeKind(StrEnum):
    """Kinds of notices."""

    CONNECTED = "connected"
    """A stream is up (again). The runner reconciles when it is the order stream."""
    DISCONNECTED = "disconnected"
    """A stream is down; its reconnection is under way."""
    GAP = "gap"
    """Something was missed: ask for a snapshot and reconcile."""
    REFUSED = "refused"
    """A message could not be read, or concerns an order or symbol that the desk does not know."""
    TOLD = "told"
    """The venue's words on what the desk has no rule for, or why a stream does not come up: for a person."""
    LIMITED = "limited"
    """The venue's rate limit or the desk's own budget held a request back."""
    DEAD = "dead"
    """The venue ended the session for good (keys revoked, account blocked): no reconnection."""


class Notice(msgspec.Struct, frozen=True):
    """A change of a connection, in its place among the events."""

    kind: NoticeKind
    """Kind of the notice."""
    ts_recv_ns: int
    """When the gateway learned it, UTC nanoseconds."""
    stream: str
    """``orders``, ``stocks``, ``options`` or ``requests``."""
    name: str
    """The named condition, for counters: ``half_open``, ``malformed_json``, ``unknown_order`` …"""
    detail: str = ""
    """Text for the operator. Never holds a key."""

    @property
    def is_severe(self) -> bool:
        """True where it speaks of margin, liquidation or a blocked account."""
        return is_severe(self.detail)

    @property
    def likeness(self) -> str:
        """What is equal of notices that differ in their figures alone."""
        return f"{self.stream} {self.name} {likeness(self.detail)}"

    @classmethod
    def told(cls, ts_recv_ns: int, stream: str, name: str, words: str) -> "Notice":
        """Return the venue's words on one line that every journal and terminal takes."""
        return cls(NoticeKind.TOLD, ts_recv_ns, stream, name, readable(words))

    @property
    def asks_for_reconciliation(self) -> bool:
        """True when fills or order states may have been missed."""
        return self.kind is NoticeKind.GAP or (self.kind is NoticeKind.CONNECTED and self.stream == "orders")


_MINUTE_SECONDS = 60


class DailyBar(msgspec.Struct, frozen=True):
    """One session of one instrument; prices in the quote currency per unit, volume in units.

    Prices are adjusted for splits, not for dividends.
    """

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float


class VenueMinute(msgspec.Struct, frozen=True):
    """One minute of one instrument; prices in the quote currency per unit, volume in units.

    Prices are adjusted for splits, not for dividends.
    """

    start_ns: int
    """Beginning, UTC nanoseconds."""
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def end_ns(self) -> int:
        """First instant at which the bar is known."""
        return self.start_ns + _MINUTE_SECONDS * NANOS_PER_SECOND


LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def how_to_reach(url: str) -> str:
    """Return what to do when an address does not answer; one on this machine is a simulated exchange's."""
    if urlsplit(url).hostname in LOOPBACK_HOSTS:
        return "start scalpdesk exchange, or give the address that it printed with --url, then start again"
    return "look at this machine's network and the venue's status page, then start again"


def sessions_of(
    minutes: Iterable[VenueMinute], instrument_id: InstrumentId, known_ns: int
) -> tuple[SessionBarsEvent, ...]:
    """Return minutes by session, oldest first: those inside the sessions that were over at ``known_ns``.

    ``minutes``: In order; minutes before the open and after the close are left out.
    ``known_ns``: When the desk learns them, UTC nanoseconds.
    """
    events = []
    for day, group in groupby(minutes, key=lambda bar: to_new_york(bar.start_ns).date()):
        if not is_session(day):
            continue
        hours = session_on(day)
        inside = [bar for bar in group if hours.open_ns <= bar.start_ns and bar.end_ns <= hours.close_ns]
        if not inside or hours.close_ns > known_ns:
            continue
        figures = zip(*((bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in inside), strict=True)
        events.append(
            SessionBarsEvent(
                instrument_id,
                hours.close_ns,
                known_ns,
                day.isoformat(),
                hours.open_ns,
                hours.close_ns,
                _MINUTE_SECONDS,
                tuple(bar.end_ns for bar in inside),
                *(tuple(column) for column in figures),
            )
        )
    return tuple(events)


class Revealable(Protocol):
    """A key that is shown only on request; its ``repr`` must not show it."""

    def reveal(self) -> str:
        """Return the key, for the one call that sends it to its venue."""
        ...


class LiveToken(msgspec.Struct, frozen=True):
    """Proof that an operator armed live trading; only ``live`` makes it, and a live host requires it."""

    account_id: str
    """The venue's id of the account that was armed; a gateway that finds another one stops."""
    config_hash: str
    """Hash of the effective configuration that was armed."""
    armed_ns: int
    """When, UTC nanoseconds."""
    who: str
    """The operator."""


class KnownOrder(msgspec.Struct, frozen=True):
    """An order of the journal, given to a gateway that connects, so that no fill counts twice."""

    submitted: SubmitOrder
    """The order as it was sent (a leg of a multi-leg order is an order too)."""
    filled: Decimal = Decimal(0)
    """Cumulative quantity that the journal has booked."""
    value: Decimal = Decimal(0)
    """Sum of quantity times price over what was booked."""
    is_live: bool = True
    """True while the journal has not seen its end."""
    venue_order_id: str = ""
    """The venue's id, empty when it was never learned."""
    parent_id: str = ""
    """Client order id of the multi-leg order it belongs to; empty for a single order."""
    executions: Mapping[str, tuple[Decimal, Decimal]] = MappingProxyType({})
    """Quantity and price by execution id, in the order in which the journal booked them; quantity 0 for one
    that was taken back.
    """
    sent_ns: int = 0
    """When it was handed to the gateway, UTC nanoseconds; 0 when unknown: its acceptance time-out then counts
    from this connection.
    """
    quote: QuoteEvent | None = None
    """Latest quote of its instrument in the journal: prices of executions that come yet are held to it."""


class AccountFacts(msgspec.Struct, frozen=True):
    """The account at the venue; amounts in its currency."""

    account_id: str
    status: str
    currency: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    options_buying_power: Decimal
    options_level: int
    """0 no options, 1 covered, 2 long options, 3 spreads, 4 uncovered."""
    may_trade: bool
    """False when trading is blocked, for whatever reason."""
    may_short: bool
    margin_fraction: Decimal | None = None
    """Maintenance margin over collateral, of a venue that closes positions by it; None of any other."""


def check_currency(account: AccountFacts, currency: str) -> None:
    """Refuse an account in another currency than the desk's: no rate turns one amount into the other.

    Raises ConfigError when they differ.
    """
    if account.currency != currency:
        raise ConfigError(
            f"the account is kept in {account.currency}, and the desk counts in {currency}; nothing was sent",
            where="desk.currency",
            value=currency,
            fix=f"trade an account that is kept in {currency} (the venue's account settings name its"
            f" currency), or set desk.currency where the strategy's instruments are in {account.currency}",
        )


class VenueClock(msgspec.Struct, frozen=True):
    """The venue's own time and session; instants in UTC nanoseconds."""

    now_ns: int
    is_open: bool
    next_open_ns: int
    next_close_ns: int


class VenuePosition(msgspec.Struct, frozen=True):
    """One holding; ``quantity`` is signed contracts or shares, ``average_price`` per unit."""

    symbol: str
    instrument_id: InstrumentId | None
    """None when the run does not hold the symbol."""
    quantity: Decimal
    average_price: Decimal
    instrument: Instrument | None = None
    """The instrument by the venue's description; None where the desk can neither value nor close it."""

    def __str__(self) -> str:
        return f"{self.quantity.normalize():+f} {self.symbol}"


class VenueOrder(msgspec.Struct, frozen=True):
    """An order at the venue."""

    client_order_id: str
    """The desk's id; of a leg of a multi-leg order the leg's own."""
    venue_order_id: str
    symbol: str
    instrument_id: InstrumentId | None
    side: Side
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    status: str
    """In the venue's own words."""
    is_open: bool
    limit_price: Decimal | None
    submitted_ns: int
    parent_id: str = ""
    """Client order id of the combo it belongs to; empty for a single order."""
    is_liquidation: bool = False
    """Whether the venue says that it closes with it what the account does not carry."""


class VenueFill(msgspec.Struct, frozen=True):
    """An execution of the venue's history."""

    execution_id: str
    venue_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    cumulative: Decimal | None
    """Filled quantity of the order after it; None when the venue does not say."""
    price: Decimal
    ts_event_ns: int
    fee: Decimal = Decimal(0)
    is_liquidation: bool = False
    """Whether the venue says that it is of its own liquidation of the account."""


class VenueView(msgspec.Struct, frozen=True):
    """The account as the venue shows it, for a reconciliation."""

    ts_event_ns: int
    ts_recv_ns: int
    account: AccountFacts
    clock: VenueClock
    positions: tuple[VenuePosition, ...]
    open_orders: tuple[VenueOrder, ...]
    fills: tuple[VenueFill, ...]
    """All executions that stand, since the wanted instant, oldest first; empty without an instant."""
    activities: tuple[VenueActivity, ...] = ()
    """The rest of the account's history since some days before that instant, oldest first."""
    shortable: tuple[InstrumentId, ...] | None = None
    """Shares of the run that may be sold short now; None where the venue does not say."""
    estimates_fees: bool = False
    """Whether the desk's fees are estimates: the venue charges them at the end of the day, or never."""
    over: dict[str, Decimal] = {}
    """Filled quantity, by the desk's ids, of orders that are over at the venue, while not all of their
    executions have come although it was asked for them.
    """
    unsellable: tuple[VenuePosition, ...] = ()
    """Parts of holdings that no order over the API can sell; they are not among the positions."""

    def as_event(self) -> AccountSnapshot:
        """Return cash and the positions in known instruments as an event for the engine."""
        lines = tuple(
            HeldPosition(held.instrument_id, held.quantity, held.average_price)
            for held in self.positions
            if held.instrument_id is not None
        )
        return AccountSnapshot(self.ts_event_ns, self.ts_recv_ns, self.account.cash, lines)

    def limits(self, now_ns: int) -> AccountLimits | None:
        """Return what the account may do as an event for the engine; None where the venue says nothing."""
        if self.shortable is None:
            return None
        account = self.account
        return AccountLimits(
            self.ts_event_ns,
            now_ns,
            account.may_trade,
            account.may_short,
            account.options_level,
            account.buying_power,
            account.options_buying_power,
            self.shortable,
            account.margin_fraction,
        )


class HoldingsView(msgspec.Struct, frozen=True):
    """What leaving needs of an account: its positions. All else may be missing."""

    ts_event_ns: int
    ts_recv_ns: int
    positions: tuple[VenuePosition, ...]
    """Asked for after the open orders: an order that is not among those has moved them, or never will."""
    open_orders: tuple[VenueOrder, ...] | None
    """None where the venue does not list them."""
    clock: VenueClock | None
    """None where the venue does not tell the time."""
    missing: tuple[str, ...] = ()
    """Questions without an answer, and what came in its place."""
    unread: tuple[str, ...] = ()
    """Rows of positions that cannot be read: the others are closed, these are named."""

    @classmethod
    def of(cls, view: VenueView) -> "HoldingsView":
        """Return the part of a whole view that leaving needs."""
        return cls(view.ts_event_ns, view.ts_recv_ns, view.positions, view.open_orders, view.clock)

    @classmethod
    def asked(
        cls,
        positions: tuple[VenuePosition, ...],
        open_orders: tuple[VenueOrder, ...] | None,
        clock: VenueClock | None,
        timestamp: Callable[[int | None], int],
        *,
        missing: Iterable[str],
        unread: Iterable[str],
    ) -> "HoldingsView":
        """Return what separate questions were answered.

        ``timestamp``: Gives what was received now its time, from the venue's own where that is known.
        """
        now_ns = timestamp(None if clock is None else clock.now_ns)
        at_ns = now_ns if clock is None else clock.now_ns
        return cls(at_ns, now_ns, positions, open_orders, clock, tuple(missing), tuple(unread))

    def as_event(self, now_ns: int) -> HoldingsShown:
        """Return the positions in known instruments as an event for the engine."""
        lines = (
            HeldPosition(held.instrument_id, held.quantity, held.average_price)
            for held in self.positions
            if held.instrument_id is not None
        )
        return HoldingsShown(self.ts_event_ns, now_ns, tuple(lines))


class ListedContract(msgspec.Struct, frozen=True):
    """One option that the venue lists."""

    contract: OptionContract
    open_interest_contracts: int | None
    """At the end of the previous session; None when the venue does not say."""
    is_tradable: bool


class Health(msgspec.Struct, frozen=True):
    """The state of a gateway."""

    streams: dict[str, bool]
    """Whether each stream is up."""
    silent_seconds: dict[str, float]
    """Time since each stream's last message of any kind."""
    in_flight: int
    """Requests of the order path without an answer."""
    unknown: tuple[str, ...]
    """Client order ids whose status is unknown."""
    requests_left: int
    """Requests that the budget still allows now, the share for cancels and exits included."""
    counters: dict[str, int]
    """Named conditions and how often each was met."""


@runtime_checkable
class TakesNotices(Protocol):
    """A gateway that passes on what an owner decides about exercise."""

    async def do_not_exercise(self, instrument_id: InstrumentId, contracts: Decimal) -> None:
        """Tell the venue that bought contracts are not to be exercised at their expiry.

        Raises RetryError when the venue does not answer, or refuses; an owner then tells the broker by hand.
        """
        ...


@runtime_checkable
class JudgesQuotes(Protocol):
    """A gateway that holds what it hears to its quotes: it drops those that the desk does not believe."""

    def judge_quotes(self, believes: Callable[[QuoteEvent], bool]) -> Callable[[QuoteEvent], None]:
        """Ask ``believes`` about each quote before anything else; one that it does not believe never was.

        Returns what is to be told of a quote that is believed later.
        """
        ...


@runtime_checkable
class Gateway(Protocol):
    """One account at one venue: the members that a desk asks, those of :class:`EmergencyGateway` among them.

    :class:`scalpdesk.venues.gateway_base.GatewayBase` is an empty adapter. It has the *optional* members,
    each with the answer that stands here, and the *given* ones: its stream (``_publisher``) and its order
    path (``_path``, over a :class:`scalpdesk.venues.order_path.OrderWire`) carry them. A venue writes the
    *required* ones, and an optional one where it can say more. A venue of requests alone asks where others
    are told: it polls quotes and the orders that are open, and publishes what is new.

    ===================  ========  ===========================================================================
    member               is        what it has to do; of an optional one, the answer of a venue without it
    ===================  ========  ===========================================================================
    ``name``             required  the venue, as ``--venue`` names it
    ``takes_combos``     required  False where legs are sent one by one
    ``takes_id_once``    required  False where an id is but a label
    ``connect``          given     by ``_connect``, required: asks for the account, adopts the orders, opens
                                   ``_path`` (``is_open``), starts to listen or to poll, and notices
                                   ``CONNECTED`` of ``orders``: the desk reconciles, then and after a gap
    ``connect_to_leave`` given     by ``_connect``
    ``events``           given     of what is published; ends as ``close`` closes ``_publisher.queue``
    ``shortcut``         given     each quote, before it waits on the stream
    ``send``             given     by ``OrderWire.place`` and ``cancel``
    ``query_order``      given     by ``OrderWire.look_up``
    ``is_taken``         given     by ``OrderWire.is_taken``
    ``cancel_at_venue``  given     by ``OrderWire.cancel_at_venue``
    ``adopt``            given     by ``OrderWire.adopted``
    ``snapshot``         required  account, clock, positions, open orders, executions since an instant
    ``shown_positions``  optional  those of ``snapshot``
    ``waits_for``        optional  nothing: all questions for the account are one
    ``subscribe``        required  streams quotes of exactly these, or polls them
    ``quotes``           required  the latest of each
    ``renew_quotes``     optional  nothing is done: a poll loses no subscription
    ``reconnect``        optional  nothing is done: no data stream stands silent
    ``resolve``          required  the underlying of a symbol
    ``discover``         optional  no options
    ``daily_bars``       optional  none: forecasts then come from other data
    ``minute_bars``      optional  none
    ``splits``           optional  none
    ``dividends``        optional  none
    ``cancel_all``       optional  False: orders are cancelled one by one
    ``health``           required  by ``_health``: ``streams`` has ``orders``, false once closed
    ``close``            required  ends ``_path`` and ``_publisher.queue``
    ===================  ========  ===========================================================================

    :class:`TakesNotices`, :class:`JudgesQuotes` and :class:`BringsMarket` are for the venues that have what
    they ask. A question (snapshot, quotes, bars, contracts) raises RetryError when the venue does not
    answer, or not credibly.
    """

    name: str
    """The venue, as ``--venue`` names it."""
    takes_combos: bool
    """Whether it takes a :class:`MultiLegOrder` of options as one order."""

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        """Check keys, account and clock, then open the order stream.

        ``known_orders`` are the journal's orders of this account, at least all live orders; the gateway then
        gives only executions that the journal has not booked. Raises ConfigError for wrong keys, a paper key
        on a live host or the reverse, an account that may not do what is asked, or a clock that is off: the
        message says what to do. Raises RetryError when the venue does not answer.
        """
        ...

    def events(self) -> AsyncIterator[Event | Notice]:
        """Everything that happens, in order; ends after :meth:`close`. One consumer."""
        ...

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        """Offer each quote to ``take`` at once while nothing waits; what it takes is not on the stream.

        A gateway may ignore this: :meth:`events` then brings every quote.
        """
        ...

    def send(self, command: VenueCommand) -> None:
        """Send a command; its outcome comes as events.

        Returns without waiting for the venue. A command that cannot leave (no connection, budget
        used up) is answered by ``OrderStatusUnknown`` and then ``OrderNotFound``, a cancel by
        ``CancelRejected``: it never vanishes.
        """
        ...

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        """Ask the venue what became of an order; return whether it gave proof.

        The proof is on the event stream: ``OrderAccepted`` and missing ``OrderFilled``, the order's
        end if it ended, or ``OrderNotFound`` after the acceptance time-out. False means that the status
        is still unknown: ask again.

        ``again``: The order, or its combo, while the caller still wants it; its quantity may be smaller now.
        A venue that takes an id once gets it again under its id in place of ``OrderNotFound``: a late request
        outlasts any time-out, and at most one of the two trades. A venue that can prove absence ignores it.
        """
        ...

    async def is_taken(self, client_order_id: str) -> bool:
        """Return whether the venue shows an order under an id of the desk; False where it cannot say."""
        ...

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        """Ask for the whole account; a RetryError of one question is an UnansweredError that names it."""
        ...

    async def shown_positions(self) -> HoldingsView:
        """Ask for the positions, and briefly for what else helps to close them.

        Raises RetryError when the venue does not show its positions; no other question holds them up.
        """
        ...

    def waits_for(self) -> tuple[str, ...]:
        """Return the names of the questions of a view that is under way, the oldest first."""
        ...

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Stream quotes of exactly these instruments; kept over reconnections."""
        ...

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one, by query."""
        ...

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars of a share that end from ``first`` to ``last``, oldest first."""
        ...

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of a share of the days ``first`` to ``last``, oldest first."""
        ...

    async def splits(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CorporateAction, ...]:
        """Return the splits of a share that go ex from ``first`` to ``last``, oldest first.

        None where the account does not follow them.
        """
        ...

    async def dividends(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[CashDividend, ...]:
        """Return the ordinary cash dividends of a share that go ex from ``first`` to ``last``, oldest first.

        Those that are declared by now. The tuple is empty where the venue does not list them.
        """
        ...

    async def resolve(self, symbol: str) -> Instrument:
        """Return the underlying that ``symbol`` names at the venue: a share, an index, a perpetual.

        Raises ConfigError when the venue does not trade it.
        """
        ...

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on ``underlying`` that expire from ``first`` to ``last``, both included."""
        ...

    def health(self) -> Health:
        """Return the state of the connections and the budget, without asking the venue."""
        ...

    async def reconnect(self, stream: str) -> None:
        """Replace the connection of a data stream that is up and delivers nothing."""
        ...

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Ask again for the quotes of subscribed instruments that come no more; the others go on."""
        ...

    async def close(self, *, graceful: bool = True) -> None:
        """End the connections. Graceful waits (bounded) for answers under way; orders stay as they are."""
        ...


@runtime_checkable
class EmergencyGateway(Gateway, Protocol):
    """A gateway that can take over an account from a desk that died."""

    takes_id_once: bool
    """Whether the venue refuses an order under an id that an earlier order had, however that order ended. A
    refused request made no order, and its id is free.
    """

    async def connect_to_leave(self) -> str:
        """Connect to cancel and close, whatever else the venue answers; return the account's id.

        The id is empty where the venue does not say it. Raises ConfigError for wrong keys. Raises RetryError
        when no order could be sent.
        """
        ...

    async def cancel_all(self) -> bool:
        """Cancel all orders of the account by one request, without a list; return whether it was taken."""
        ...

    def adopt(self, orders: Iterable[KnownOrder]) -> None:
        """Follow orders that another process sent, as if they had been known at :meth:`connect`."""
        ...

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        """Cancel an order of any sender by the venue's id; return whether the venue took the cancel.

        True as well when the order is over. The order's end shows in :meth:`snapshot`.
        """
        ...


@runtime_checkable
class BringsMarket(Protocol):
    """A gateway that plays a market of its own: what is traded and known at the start is not asked for."""

    @property
    def tape(self) -> MarketTape:
        """The market that it plays."""
        ...

    @property
    def known_at_open(self) -> Sequence[Event]:
        """Facts of other sources that are known before the first quote, such as dealer gamma."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSetup:
    """Inputs of a venue's gateway."""

    instruments: Instruments
    """Instruments of the run; more may be added."""
    clock: Clock
    """Timestamps received messages."""
    keys: tuple[Revealable, Revealable] | None = None
    """Key and secret of the account; None for a venue without keys (:attr:`VenueSpec.needs_keys`)."""
    currency: str = "USD"
    """The desk's currency: selects the account where a venue keeps several."""
    url: str | None = None
    """Address of a simulated exchange that speaks the venue's protocol; None for the venue itself."""
    live_token: LiveToken | None = None
    """Proof of arming; None for the venue's paper environment."""
    options_level: int = 0
    """Level that the account must have for the strategy (2 buys options, 3 spreads)."""
    timeout_seconds: float = 5.0
    acceptance_seconds: float = 10.0
    """``timeout_seconds``, ``acceptance_seconds``: time of one request, and then until a 404 proves that its
    order is absent.
    """
    requests_per_minute: int | None = None
    """Limit of the trading interface; None: the venue's own."""
    heartbeat_seconds: float = 10.0
    """Between pings of a stream."""
    data_only: bool = False
    """Only the market is asked for: every order is refused."""
    is_watchdog: bool = False
    """Whether it is the watchdog's, which is connected beside the desk's and takes over when that is dead."""
    fees: FeeModel = NO_FEES
    """The venue's schedule, booked on each fill whose message states no fee."""

    def account_keys(self) -> tuple[Revealable, Revealable]:
        """Return key and secret of the account, for a venue that needs them.

        Raises
        ------
        ConfigError
            When there are no keys.
        """
        if self.keys is None:
            raise ConfigError("the venue needs keys", where="credentials", fix="set key and secret in .env")
        return self.keys


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a venue without a section of its own."""


S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSpec(Generic[S]):
    """A venue that orders can be sent to, and its terms."""

    name: str
    """Name for ``--venue``."""
    build: Callable[[VenueSetup, S], EmergencyGateway]
    """Returns a gateway; nothing is connected yet."""
    settings: type[S]
    """Struct of the section ``[venues.NAME]`` of the configuration; :class:`NoSettings` without a section."""
    needs_keys: bool = True
    """Whether its account is opened with a key and a secret."""
    other_keys: Sequence[tuple[str, str]] = ()
    """Keys of one strategy, as fields of ``[credentials]``, that open an account here for each other that has
    none of its own."""
    fees: FeeModel = NO_FEES
    """Its schedule, for real money and paper alike."""
    other_fees: Mapping[str, FeeModel] = field(default_factory=dict)
    """Schedules of its other price plans, by name: a simulated account pays one as ``VENUE_NAME``."""
    cutoff: VenueCutoff = CAUTIOUS
    """Its last orders in expiring options."""
    most_quotes: int | None = None
    """Most instruments whose quotes an account streams at once; None: no limit."""
    live_account: Callable[[VenueSetup, S], Awaitable[AccountFacts]] | None = None
    """Asks for the real-money account, which ``scalpdesk arm`` shows: it only reads and needs no arming;
    ConfigError for refused keys, RetryError without an answer. None: ``--live`` is refused.
    """
