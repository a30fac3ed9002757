"""What asks a venue: a desk's end of a gateway, and what it has to know of the venue that it asks."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from scalpdesk.core.clock import Clock
from scalpdesk.core.events import Event, OrderAccepted, OrderEvent, OrderFilled, StatusEvent
from scalpdesk.core.intents import CancelOrder, OrderIntent, OrderType, Purpose, Side, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.contract import AccountFacts, KnownOrder, Notice, VenueOrder, VenueView

PATIENCE_SECONDS = 60.0
"""A question without an answer waits so long; it leaves room for a slow machine."""
LOOK_SECONDS = 0.05


class DiffersError(AssertionError):
    """The venue did otherwise than expected."""


class NotAskedError(Exception):
    """A question cannot be asked now, in a closed session for example."""


def expect(condition: object, seen: str) -> str:
    """Return what was seen; a false condition is a difference."""
    if not condition:
        raise DiffersError(seen)
    return seen


class Truth(Protocol):
    """An exchange's own state of the account."""

    cash: Decimal
    positions: dict[str, Decimal]
    """Signed, by symbol; no zeros."""
    fills: list[tuple[str, Decimal, Decimal]]
    """Client order id, quantity and price of each execution."""


class AskedVenue(Protocol):
    """A venue with an account and what is traded there.

    Its attributes may be set as late as when it is asked.
    """

    @property
    def book(self) -> Instruments:
        """Instruments that the gateways know."""
        ...

    @property
    def share(self) -> InstrumentId:
        """The underlying: a share, an index's future, a perpetual."""
        ...

    @property
    def call(self) -> InstrumentId | None:
        """An option near the market; None where the venue lists none."""
        ...

    @property
    def put(self) -> InstrumentId | None:
        """The other option of its strike and expiry."""
        ...

    def gateway(self) -> Any:
        """Return a new gateway to the account, not connected."""
        ...

    def truth(self) -> Truth | None:
        """Return the exchange's own view; None of a venue that shows no more than its gateway says."""
        ...

    def far_below(self, number: InstrumentId) -> Decimal:
        """Return a price at which a buy rests and the venue still takes it."""
        ...


@dataclass(slots=True, kw_only=True)
class AskingTerms:
    """What is expected of a venue, and what may be done there."""

    may_fill: bool = True
    """Whether orders may fill, and every instrument is quoted: so at a served exchange, never at a vendor."""
    currency: str = ""
    """Of the account; empty: any."""
    clock: Clock | None = None
    """This machine's, which the venue's must agree with; None: the venue has a time of its own."""
    ordered: InstrumentId | None = None
    """Instrument of a far order; None: the underlying."""
    patience_seconds: float = PATIENCE_SECONDS
    """Longest wait for an answer that the venue owes."""


class Listener:
    """Reads a gateway's stream and keeps the orders, as a desk does."""

    facts: AccountFacts
    """What the venue said of the account as it was connected."""
    view: VenueView | None = None
    """The account as it was at the first look."""

    def __init__(
        self,
        bench: AskedVenue,
        gateway: Any,
        orders: OrderManager | None = None,
        terms: AskingTerms | None = None,
    ) -> None:
        self.bench = bench
        self.gateway = gateway
        self.orders = orders or OrderManager("cf")
        self.terms = terms or AskingTerms()
        self.events: list[Event] = []
        self.notices: list[Notice] = []
        self.unmatched: list[OrderEvent] = []
        """Order events of no order of the desk; a question that expects some takes them out."""
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        last_ns = 0
        async for item in self.gateway.events():
            assert item.ts_recv_ns >= last_ns, "stamps run backwards"
            last_ns = item.ts_recv_ns
            if isinstance(item, Notice):
                self.notices.append(item)
            else:
                self.events.append(item)
                if isinstance(item, OrderEvent):
                    self._apply(item)
            self._changed.set()

    def _apply(self, event: OrderEvent) -> None:
        """Apply an order's event as the engine does."""
        if event.client_order_id not in self.orders.orders:
            self.unmatched.append(event)
        elif isinstance(event, OrderFilled):
            self.orders.fill(self.orders.order(event.client_order_id), event)
        else:
            assert isinstance(event, StatusEvent)
            self.orders.apply(event)

    # what came ------------------------------------------------------------------------------------

    async def until(self, is_so: Callable[[], object], awaited: str = "what was awaited") -> None:
        """Read on until something holds; ``awaited`` names it where it never does."""

        async def wait() -> None:
            while not is_so():
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the stream ended")
                self._changed.clear()
                await self._changed.wait()

        try:
            async with asyncio.timeout(self.terms.patience_seconds):
                await wait()
        except TimeoutError:
            said = self.of(OrderEvent)
            raise AssertionError(
                f"{awaited} never came; order events {said}, notices {self.notices[-8:]}"
            ) from None

    def of(self, *kinds: Any) -> list[Any]:
        """Events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    def told_of(self, order: Order) -> list[OrderEvent]:
        """Return the events of an order so far."""
        return [event for event in self.of(OrderEvent) if event.client_order_id == order.client_order_id]

    def words(self, *orders: Order) -> str:
        """Return what was told of orders, for a report."""
        lines = []
        for order in orders:
            named = [(type(each).__name__, getattr(each, "reason", "")) for each in self.told_of(order)]
            told = ", ".join(name + (f" ({reason})" if reason else "") for name, reason in named)
            lines.append(f"{order.client_order_id}: {told or 'no event'}")
        return "; ".join(lines)

    # orders ---------------------------------------------------------------------------------------

    async def submit(self, number: InstrumentId, quantity: int, side: Side = Side.BUY, **terms: Any) -> Order:
        """Send an order and return it as the desk keeps it."""
        order = self.new_order(number, quantity, side, **terms)
        self.gateway.send(order.submitted)
        return order

    def new_order(self, number: InstrumentId, quantity: int, side: Side = Side.BUY, **terms: Any) -> Order:
        """Name an order without sending it; ``terms`` are those of :func:`new_order`."""
        return new_order(self.orders, number, quantity, side, **terms)

    def submit_far(self) -> Order:
        """Send an order for the least quantity that rests, and return it as the desk keeps it."""
        number = self.bench.share if self.terms.ordered is None else self.terms.ordered
        limit = self.bench.far_below(number)
        order = new_order(
            self.orders, number, self.bench.book[number].step, limit=limit, purpose=Purpose.OPEN
        )
        self.gateway.send(order.submitted)
        return order

    async def rested(self) -> Order:
        """Send an order that rests, and return it once the venue has accepted it."""
        order = self.submit_far()
        await self.until(lambda: order.state is not OrderState.PENDING_NEW, "an answer to the order")
        is_accepted = any(type(each) is OrderAccepted for each in self.told_of(order))
        expect(is_accepted and order.state is OrderState.WORKING, self.words(order))
        return order

    async def cancelled(self, *orders: Order) -> None:
        """Cancel the first of some orders and wait until all are over."""
        self.gateway.send(CancelOrder(orders[0].client_order_id))
        await self.over(*orders)

    async def over(self, *orders: Order) -> None:
        """Wait until orders are over."""
        await self.until(lambda: not any(order.is_live for order in orders), "the order's end")

    async def resolved(self, order: Order) -> None:
        """Ask until the venue gives proof."""

        async def ask() -> None:
            while not await self.gateway.query_order(order.client_order_id):  # noqa: ASYNC110 - it asks a venue
                await asyncio.sleep(LOOK_SECONDS)

        try:
            async with asyncio.timeout(2.0 * self.terms.patience_seconds):
                await ask()
        except TimeoutError:
            raise DiffersError(f"no proof; {self.words(order)}") from None
        await self.until(lambda: order.state not in (OrderState.UNKNOWN, OrderState.PENDING_NEW))

    async def open_under(self, order: Order) -> list[VenueOrder]:
        """Return the open orders under an order's id, as the venue lists them now."""
        name = order.client_order_id
        view = await self.gateway.snapshot()
        return [each for each in view.open_orders if name in (each.client_order_id, each.parent_id)]

    def ledger(self) -> list[tuple[str, Decimal, Decimal]]:
        """Executions as the desk booked them."""
        return sorted((one.client_order_id, one.quantity, one.price) for one in self.of(OrderFilled))

    def assert_adds_up(self) -> None:
        """The executions that the desk was told of are those of the exchange, each once."""
        truth = self.bench.truth()
        assert truth is not None
        assert self.ledger() == sorted(truth.fills)

    def assert_nothing_traded(self) -> None:
        """Nothing was executed: as the desk was told, and at the exchange where that shows its books."""
        truth = self.bench.truth()
        expect(not self.ledger() and not (truth and truth.fills), f"executions: {self.ledger()}")

    # the connection -------------------------------------------------------------------------------

    async def reconnect(self, known: Iterable[KnownOrder] = (), *, graceful: bool = True) -> None:
        """End the connection and go on with a new one."""
        await self.end(graceful=graceful)
        self.gateway = self.bench.gateway()
        self.facts = await self.gateway.connect(known)
        self._task = asyncio.create_task(self._read())

    async def end(self, *, graceful: bool = True) -> None:
        """Close the gateway and read to the end."""
        await self.gateway.close(graceful=graceful)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task

    async def close(self) -> None:
        """Close the gateway, read to the end, and find no event of an order that the desk never sent."""
        await self.end()
        assert self.unmatched == []


def new_order(
    orders: OrderManager,
    number: InstrumentId,
    quantity: int | Decimal,
    side: Side = Side.BUY,
    *,
    limit: Decimal | None = None,
    purpose: Purpose = Purpose.HEDGE,
) -> Order:
    """Name an order at a desk without sending it."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    terms = (Decimal(quantity), purpose, "conformance", kind, limit, TimeInForce.DAY)
    return orders.order(orders.submit(OrderIntent(number, side, *terms), 0).client_order_id)


async def opened(
    bench: AskedVenue,
    known: tuple[KnownOrder, ...] = (),
    orders: OrderManager | None = None,
    terms: AskingTerms | None = None,
) -> Listener:
    """Return a listener on a connected gateway."""
    gateway = bench.gateway()
    try:
        facts = await gateway.connect(known)
    except BaseException:
        await gateway.close(graceful=False)
        raise
    listener = Listener(bench, gateway, orders, terms)
    listener.facts = facts
    return listener


async def connected(
    bench: AskedVenue, known: tuple[KnownOrder, ...] = (), orders: OrderManager | None = None
) -> Listener:
    """Return a listener on a connected gateway that has said so of its order stream."""
    listener = await opened(bench, known, orders)
    await listener.until(
        lambda: any(one.asks_for_reconciliation for one in listener.notices), "the notice CONNECTED of orders"
    )
    return listener
