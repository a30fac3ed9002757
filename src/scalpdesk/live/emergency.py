"""The last resort of an account: every open order cancelled, positions closed, whatever requests are lost."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from types import MappingProxyType

import msgspec

from scalpdesk.closing.last_resort import Flattener, closing_again
from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.events import (
    Event,
    OrderEvent,
    OrderFilled,
    OrderNotFound,
    QuoteEvent,
    TradingHalt,
    is_order_event,
)
from scalpdesk.core.intents import (
    CancelIntent,
    MultiLegOrder,
    OrderIntent,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.live.belief import PositionBelief
from scalpdesk.live.reconciler import settle_queue
from scalpdesk.live.supervision import describe
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.contract import (
    EmergencyGateway,
    HoldingsView,
    KnownOrder,
    Notice,
    VenueOrder,
)
from scalpdesk.venues.questions import BRIEF_SECONDS

Log = Callable[[str], None]
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
"""Between two rounds; they grow apart, for the venue counts requests."""
CLEAR_SECONDS = 600.0
"""The last resort goes on for so long: a venue that limits requests may take minutes; longer in a halt."""
LATE_ORDER_SECONDS = 10.0
"""Until the second look for orders that nobody here follows."""
_REPEAT_CANCEL_SECONDS = 2.0
_UNANSWERED_SECONDS = 5.0
"""From a question for an order that was not answered to the next one."""
HALT_SECONDS = 1.0
"""Longest wait for the venue to name a trading halt in what is to be closed."""
_LATE_SECONDS = 10.0
"""An account counts as flat so long after the beginning where an order of the desk was not found, which may
be late, and after the cancel of an order that nobody here follows, which may fill."""
_NO_QUOTE = QuoteEvent(InstrumentId(0), 0, 0, float("nan"), float("nan"), 0.0, 0.0)


class _Halts:
    """Trading halts that the venue names in the shares of what is held."""

    def __init__(self, gateway: EmergencyGateway, instruments: Instruments, log: Log) -> None:
        self._gateway = gateway
        self._instruments = instruments
        self._log = log
        self._halted: set[InstrumentId] = set()
        self._watched: dict[InstrumentId, float] = {}
        """Shares whose quotes and halts are asked for, and how long they are waited for; the loop's time."""
        self._quoted: set[InstrumentId] = set()
        """Those of them that were quoted: a venue names a halt before, or with, the first quote."""
        self.asking: set[asyncio.Task[None]] = set()

    def note(self, item: Event | Notice) -> None:
        """Follow an event of the venue."""
        if isinstance(item, TradingHalt):
            (self._halted.add if item.is_halted else self._halted.discard)(item.instrument_id)
        elif isinstance(item, QuoteEvent):
            self._quoted.add(item.instrument_id)

    def is_halted(self, number: InstrumentId) -> bool:
        """Return whether an instrument is halted, or its share."""
        return number in self._halted or self._share_of(number) in self._halted

    def are_known(self, numbers: Iterable[InstrumentId], now: float) -> bool:
        """Follow the shares of what is held; return whether a halt in them would be known by now."""
        shares = {share for number in numbers if (share := self._share_of(number)) is not None}
        if not shares <= self._watched.keys():
            self._watched |= dict.fromkeys(shares - self._watched.keys(), now + HALT_SECONDS)
            self.asking.add(asyncio.create_task(self._ask_for_quotes()))
        return all(share in self._quoted or now >= self._watched[share] for share in shares)

    def _share_of(self, number: InstrumentId) -> InstrumentId | None:
        """Return an option's underlying; of what is no option itself."""
        item = self._instruments[number]
        return self._instruments.find(item.underlying) if item.is_option else number

    async def _ask_for_quotes(self) -> None:
        try:
            await self._gateway.subscribe(tuple(self._watched))
        except Exception as error:  # noqa: BLE001 - closing does not wait for quotes
            self._log(f"a trading halt would not be known: {describe(error)}")


class EmergencyTrader:
    """Cancels every open order of an account and closes its positions, on any venue that may lose requests.

    What is held is what the venue shows; what works is what it shows, and each order without a proven end.
    The rest is the engine's :class:`Flattener`. Where a late request can outlast the acceptance time-out, an
    order in doubt that closes a holding goes out again under its own id in place of another one beside it.
    Orders are named by run, instrument and attempt, so that no repetition can fill twice. Orders from
    elsewhere are cancelled by the venue's id.

    ``gateway``: Connected; this object is the only reader of its events.
    ``instruments``: Of the run, which the gateway shares; what the account holds beside them is added.
    ``name``: Begins the ids of its orders; unique to the account and the life of the run.
    ``only_ids``: Beginning of the ids of the run's orders: open orders with other ids are left. None: all
    orders.
    ``events``: Returns what the gateway tells, where somebody else reads it; None: read here.
    ``books``: What the run held last by its own account; None where nothing is known of it.
    """

    def __init__(
        self,
        *,
        gateway: EmergencyGateway,
        instruments: Instruments,
        name: str,
        limits: RiskLimits,
        log: Log,
        only_ids: str | None = None,
        events: Callable[[], AsyncIterator[Event | Notice]] | None = None,
        books: Mapping[InstrumentId, Decimal] | None = None,
    ) -> None:
        self._events_of = events or gateway.events
        self._gateway = gateway
        self._instruments = instruments
        self._flattener = Flattener(instruments, name)
        self._limits = limits
        self._log = log
        self._only_ids = only_ids
        self._orders = OrderManager("")
        self._holdings = PositionBelief(books)
        self._halts = _Halts(gateway, instruments, self._log_once)
        self._events = 0
        self._refused: dict[tuple[InstrumentId, Side], str] = {}
        """Id of the order that the venue refused last, made no order of, and takes once."""
        self._cancelled: dict[str, float] = {}
        """When the cancel of an order was sent last, by venue id; the loop's time."""
        self._may_be_flat_at = 0.0
        """Not before this is the account called flat; the loop's time."""
        self._late_until = 0.0
        """Until when an order of the desk that was not found may still come; the loop's time."""
        self._ends_at = 0.0
        """When it gives up; the loop's time."""
        self._began = 0.0
        """When it began, the loop's time."""
        self._cancelled_all_at: float | None = None
        """When all orders were cancelled by one request, for want of a list; the loop's time."""
        self._query_at = 0.0
        """Not before this is the venue asked for an order again; the loop's time."""
        self._is_at_its_end = False
        """Whether nothing is left but what nothing here can close."""
        self._logged: set[str] = set()

    async def clear(
        self,
        desk_orders: Iterable[SubmitOrder],
        *,
        flatten: bool,
        parents: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Cancel every open order, close the positions when ``flatten``; return whether the venue shows it.

        ``desk_orders``: Orders of the desk without a known end: each may be at the venue, on its way, or
        absent.
        """
        loop = asyncio.get_running_loop()
        commands = tuple(desk_orders)
        for command in commands:
            order = Order(msgspec.structs.replace(command, owner=""), 0, OrderState.UNKNOWN)
            order.parent_id = parents.get(command.client_order_id, "")
            self._follow(order)
        self._gateway.adopt(
            KnownOrder(command, parent_id=parents.get(command.client_order_id, "")) for command in commands
        )
        following = loop.create_task(self._follow_events())
        began, pause = loop.time(), _FIRST_PAUSE_SECONDS
        self._began, self._is_at_its_end = began, False
        self._ends_at, self._late_until = began + CLEAR_SECONDS, began + _LATE_SECONDS
        try:
            while loop.time() < self._ends_at and not self._is_at_its_end:
                try:
                    if await self._round(flatten=flatten):
                        return True
                except Exception as error:  # noqa: BLE001 - the next round tries again, whatever it was
                    self._log(f"not done yet: {describe(error)}")
                await asyncio.sleep(pause)
                pause = min(1.1 * pause, _LONGEST_PAUSE_SECONDS)
            return False
        finally:
            tasks = (following, *self._halts.asking)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def clear_twice(
        self,
        desk_orders: Iterable[SubmitOrder],
        *,
        flatten: bool,
        parents: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Clear, and once more after the time in which an order may arrive, or fill, that nobody follows."""
        await self.clear(desk_orders, flatten=flatten, parents=parents)
        await asyncio.sleep(LATE_ORDER_SECONDS)
        return await self.clear((), flatten=flatten)

    # orders ---------------------------------------------------------------------------------------

    def _follow(self, order: Order) -> None:
        name = order.submitted.client_order_id
        self._orders.orders[name] = self._orders.live[name] = order

    async def _follow_events(self) -> None:
        async for item in self._events_of():
            self._halts.note(item)
            if not is_order_event(item):
                continue
            order = self._orders.orders.get(item.client_order_id)
            if order is None:
                continue
            self._events += 1
            try:
                self._note(order, item)
            except StopError as error:
                self._log(f"{type(item).__name__} of {item.client_order_id} was not applied: {error.what}")
            if isinstance(item, OrderFilled):
                symbol = self._instruments[order.submitted.instrument_id].symbol
                self._log(f"{order.submitted.side} {item.quantity:f} {symbol} filled at {item.price}")

    def _note(self, order: Order, event: OrderEvent) -> None:
        """Apply an event to its order, and its execution to what is held."""
        sent, was_new, before = order.submitted, order.state is OrderState.PENDING_NEW, order.filled
        if isinstance(event, OrderNotFound) and not order.created_ns:
            self._may_be_flat_at = self._late_until
        if isinstance(event, OrderFilled):
            self._orders.fill(order, event)
        else:
            self._orders.apply(event)
        if was_new and order.state is OrderState.REJECTED and self._gateway.takes_id_once:
            self._refused[sent.instrument_id, sent.side] = sent.client_order_id
        signed = (order.filled - before) * sent.side.sign
        self._holdings.fill(sent.instrument_id, signed, is_later=bool(order.created_ns))

    async def _query_missing(self, shown: frozenset[str]) -> None:
        """Ask what became of the orders that are not over and that the venue does not show as open."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._query_at:
            return
        for name, order in [(name, order) for name, order in self._orders.live.items() if name not in shown]:
            try:
                async with asyncio.timeout(BRIEF_SECONDS):
                    await self._gateway.query_order(name, self._again(order))
            except (TimeoutError, RetryError):  # what may still fill counts so until it is known
                self._log_once(f"the venue does not say what became of {name}")
                self._query_at = loop.time() + _UNANSWERED_SECONDS
                break
        await settle_queue()

    def _again(self, order: Order) -> SubmitOrder | MultiLegOrder | None:
        """Return what the venue may get again of an order that it does not show; None lets it go."""
        held, parent = self._holdings.held, order.parent_id
        if held is None:
            return None
        live = tuple(self._orders.live.values())
        legs = [each for each in live if each.parent_id == parent] if parent else [order]
        return closing_again(legs, lambda number: held.get(number, ZERO), live)

    async def _cancel_unlisted(self) -> None:
        """Cancel all orders by one request where the venue lists none, or those of the desk one by one."""
        now = asyncio.get_running_loop().time()
        if self._cancelled_all_at is not None and now < self._cancelled_all_at + _REPEAT_CANCEL_SECONDS:
            return
        if self._only_ids is None and not any(map(self._is_placed, self._orders.live)):
            self._log_once("the venue does not list the open orders: all are cancelled by one request")
            if not await self._gateway.cancel_all():
                self._log("the cancel of all orders was not taken: trying again")
                return
        else:
            for name in [name for name in self._orders.live if not self._is_placed(name)]:
                command = self._orders.cancel(name, again=True)
                if command is not None:
                    self._gateway.send(command)
        self._cancelled_all_at = self._cancelled_all_at or now

    async def _cancel_open(self, view: HoldingsView) -> None:
        """Cancel all that is open but the orders placed here."""
        if view.open_orders is None:
            await self._cancel_unlisted()
        now = asyncio.get_running_loop().time()
        due = [
            order
            for order in view.open_orders or ()
            if not (self._is_own(order) or self._is_left(order))
            and now >= self._cancelled.get(order.venue_order_id, -1e9) + _REPEAT_CANCEL_SECONDS
        ]
        for order in due:
            if order.venue_order_id not in self._cancelled:  # nobody here hears of it, should it fill yet
                self._may_be_flat_at = max(self._may_be_flat_at, now + _LATE_SECONDS)
            self._cancelled[order.venue_order_id] = now
            self._log_once(
                f"cancelling {order.side} {order.quantity:f} {order.symbol} {order.client_order_id}"
            )
        results = await asyncio.gather(
            *(self._gateway.cancel_at_venue(order.venue_order_id) for order in due), return_exceptions=True
        )
        for order, result in zip(due, results, strict=True):
            if result is not True:
                self._log(f"the cancel of {order.client_order_id} was not taken: trying again")

    def _is_placed(self, client_order_id: str) -> bool:
        """Return whether an order was placed here."""
        order = self._orders.live.get(client_order_id)
        return order is not None and bool(order.created_ns)

    def _is_own(self, shown: VenueOrder) -> bool:
        """Return whether an open order was placed here, and is no second one under its name."""
        if not self._is_placed(shown.client_order_id):
            return False
        return self._orders.live[shown.client_order_id].venue_order_id in ("", shown.venue_order_id)

    def _is_left(self, order: VenueOrder) -> bool:
        """Return whether an open order is from elsewhere and such orders are left."""
        name, only = order.client_order_id, self._only_ids
        return only is not None and not name.startswith(only) and name not in self._orders.orders

    # rounds ---------------------------------------------------------------------------------------

    async def _round(self, *, flatten: bool) -> bool:
        """Look at the account and do what is next; return whether all is done."""
        events = self._events
        view = await self._gateway.shown_positions()
        for text in view.missing:
            self._log_once(f"going on without an answer: {text}")
        for text in view.unread:
            self._log_once(f"a position cannot be read, and is not closed: {text}")
        await self._cancel_open(view)
        listed = view.open_orders or ()
        shown = frozenset(order.client_order_id for order in listed)
        own = [self._orders.live[order.client_order_id].submitted for order in listed if self._is_own(order)]
        is_open = view.clock is not None and view.clock.is_open
        if is_open and any(sent.order_type is OrderType.MARKET for sent in own):
            # trading is halted: left alone, it would be filled after the halt, and what it hedged would stay
            self._ends_at = asyncio.get_running_loop().time() + CLEAR_SECONDS
        await self._query_missing(shown)
        is_clear = self._is_clear(view)
        if not flatten:
            if is_clear:
                self._log("no order is open")
            return is_clear
        if self._events != events or self._add_held(view) or not self._knows(view):
            return False
        if not self._holdings.held and is_clear:
            return self._is_flat(view)
        await self._close(self._holdings.held or {}, view)
        return False

    def _is_clear(self, view: HoldingsView) -> bool:
        """Return whether no order is open but those from elsewhere that are left."""
        if view.open_orders is None:
            at, now = self._cancelled_all_at, asyncio.get_running_loop().time()
            return at is not None and now >= at + _REPEAT_CANCEL_SECONDS and not self._orders.live
        left = [order for order in view.open_orders if self._is_left(order)]
        if left:
            names = ", ".join(f"{order.symbol} {order.client_order_id}" for order in left)
            self._log_once(f"open orders from elsewhere are left (--foreign-orders leave): {names}")
        return len(left) == len(view.open_orders) and not self._orders.live

    def _add_held(self, view: HoldingsView) -> bool:
        """Add what is held and the run did not know; True when there was any."""
        new = [
            held.instrument
            for held in view.positions
            if held.quantity and held.instrument_id is None and held.instrument is not None
        ]
        for instrument in new:
            self._instruments.add(instrument)
        return bool(new)

    def _knows(self, view: HoldingsView) -> bool:
        """Return whether the positions shown are believed, and a halt in them would be known."""
        instruments = self._instruments
        self._holdings.forget(
            [
                number
                for number in self._holdings.books
                if instruments[number].is_option and view.ts_recv_ns >= expiry_instant_ns(instruments[number])
            ]
        )
        now = asyncio.get_running_loop().time()
        held = (line.instrument_id for line in view.positions if line.quantity)
        knows_halts = self._halts.are_known((number for number in held if number is not None), now)
        is_believed = self._holdings.believes(view.positions, now)
        if self._holdings.stands_still and not is_believed:
            self._log_once("the venue's positions show none of the executions it reported: not believed")
        return is_believed and knows_halts

    def _is_flat(self, view: HoldingsView) -> bool:
        """Return whether an account of which nothing is left to close is flat."""
        now = asyncio.get_running_loop().time()
        if now < self._may_be_flat_at:
            return False
        unshown = self._holdings.unshown()
        if unshown:
            names = ", ".join(
                f"{units:+f} {self._instruments[number].symbol}" for number, units in unshown.items()
            )
            self._log_once(
                f"NOT flat for certain: the run holds {names}, and the venue does not show it; asking again"
                f" for {CLEAR_SECONDS / 60:.0f} minutes. Look at the venue's own page"
            )
            return False
        others = ", ".join([*(str(held) for held in view.positions if held.quantity), *view.unread])
        if others:
            self._log_once(f"not flat, and nothing here can close it: {others}")
            self._is_at_its_end = now >= self._began + _LATE_SECONDS  # it may be known at the next look
            return False
        self._log("the account is flat")
        return True

    async def _close(self, held: Mapping[InstrumentId, Decimal], view: HoldingsView) -> None:
        """Send the next closing orders."""
        quotes, limits = await self._quotes(held), self._limits  # meanwhile executions move what is held
        lines = [TargetLine("", number, units) for number, units in held.items() if units]
        is_halted = self._halts.is_halted
        halted = [number for number in held if is_halted(number)]
        if halted:
            self._ends_at = asyncio.get_running_loop().time() + CLEAR_SECONDS
            names = ", ".join(self._instruments[number].symbol for number in halted)
            self._log_once(f"trading is halted in {names}: nothing is sent until it resumes")
        listed = view.open_orders or ()
        shown = {order.client_order_id for order in listed}
        working = [
            order for name, order in self._orders.live.items() if self._is_placed(name) or name not in shown
        ]
        working += [one for order in listed if (one := self._stand_in(order, view.ts_recv_ns))]
        step = self._flattener.step(view.ts_recv_ns, lines, working, quotes, limits, is_halted=is_halted)
        if step is not None:
            self._send(step.cancels, step.orders, view.ts_recv_ns)

    def _send(self, cancels: Iterable[CancelIntent], orders: Sequence[OrderIntent], now_ns: int) -> None:
        """Send what a step comes to."""
        for cancel in cancels:
            command = self._orders.cancel(cancel.client_order_id)
            if command is not None:
                self._gateway.send(command)
        for named in self._flattener.name_orders(orders):
            # a repetition of a refused request may still be on its way, and be taken: its id is used again
            refused = self._refused.pop((named.instrument_id, named.side), named.client_order_id)
            submit = msgspec.structs.replace(named, client_order_id=refused)
            self._log(
                f"{submit.side} {submit.quantity:f} {self._instruments[submit.instrument_id].symbol}"
                f" {submit.client_order_id}"
            )
            self._follow(Order(submit, max(now_ns, 1)))
            self._gateway.send(submit)

    def _stand_in(self, order: VenueOrder, now_ns: int) -> Order | None:
        """Return an order from elsewhere as one that works: it may still close part of a position."""
        if order.instrument_id is None or self._is_own(order):
            return None
        terms = order.client_order_id, order.instrument_id, order.side, order.quantity, OrderType.MARKET, None
        sent = SubmitOrder(*terms, TimeInForce.DAY, Purpose.CLOSE)
        return Order(sent, now_ns, OrderState.PENDING_CANCEL, filled=order.filled)

    async def _quotes(self, numbers: Iterable[InstrumentId]) -> dict[InstrumentId, QuoteEvent]:
        """Return quotes where limits are needed; a market order goes without."""
        quotes: defaultdict[InstrumentId, QuoteEvent] = defaultdict(lambda: _NO_QUOTE)
        if OrderType.MARKET not in self._limits.allowed_order_types:
            with suppress(RetryError, TimeoutError):
                async with asyncio.timeout(BRIEF_SECONDS):
                    for quote in await self._gateway.quotes(list(numbers)):
                        quotes[quote.instrument_id] = quote
        return quotes

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            self._log(text)
