"""Questions to every venue's gateway, asked over its own wire against a simulated exchange.

A venue's test builds a :class:`Bench` around the exchange and asks what :func:`questions_for` returns::

    @pytest.mark.parametrize("question", questions_for(MyBench), ids=lambda each: each.__name__)
    def test_conformance(question, socket_enabled):
        ask(question, MyBench)

Nothing here is a stand-in: the gateway is the one that trades, the exchange keeps its own truth, and
what the gateway said must add up to that truth in the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Protocol

from scalpdesk.core.events import (
    CancelRejected,
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    QuoteEvent,
    StatusEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderIntent,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
)
from scalpdesk.core.units import SATOSHI, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.contract import Gateway, KnownOrder, Notice, NoticeKind

PATIENCE_SECONDS = 60.0
"""A question without an answer waits so long; it leaves room for a slow machine."""
D = Decimal


class _Truth(Protocol):
    """The exchange's own state of the account."""

    cash: Decimal
    positions: dict[str, Decimal]
    """Signed, by symbol; no zeros."""
    fills: list[tuple[str, Decimal, Decimal]]
    """Client order id, quantity and price of each execution."""


class Bench(Protocol):
    """A venue under test with its exchange.

    Its attributes may be set as late as in :meth:`start`.
    """

    cannot_be_asked: ClassVar[Mapping[str, str]]
    """Questions without a meaning at this venue by their names, each with the reason."""
    book: Instruments
    share: InstrumentId
    """The underlying: a share, an index's future, a perpetual."""
    call: InstrumentId
    put: InstrumentId
    """``call``, ``put``: Of one strike near the market, weeks from their expiry."""

    async def start(self) -> None:
        """Start the exchange."""
        ...

    async def stop(self) -> None:
        """Stop the exchange, and gateways that a failed question left open."""
        ...

    def gateway(self) -> Any:
        """Return a new gateway to the account, not connected."""
        ...

    def truth(self) -> _Truth:
        """Return the exchange's own view."""
        ...

    def strike(self, what: str) -> None:
        """Let the next fitting thing go wrong.

        ``lost_answer`` (order taken, answer lost), ``lost_order`` (order lost), ``server_error``,
        ``reject``, ``partial`` (half is filled now, the rest stays), ``repeated_update``,
        ``swapped_updates``, ``rate_limit``.
        """
        ...

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        ...

    def lose_quotes(self, number: InstrumentId) -> None:
        """Drop the subscription to an instrument's quotes at the venue, which says nothing of it."""
        ...

    async def cut_order_stream(self, gateway: Any) -> None:
        """Break the order stream's connection under the gateway."""
        ...

    def far_below(self, number: InstrumentId) -> Decimal:
        """Return a price at which a buy rests and the venue still takes it."""
        ...


class Listener:
    """Reads a gateway's stream and keeps the orders, as a desk does."""

    def __init__(self, bench: Bench, gateway: Any, orders: OrderManager | None = None) -> None:
        self.bench = bench
        self.gateway = gateway
        self.orders = orders or OrderManager("cf")
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

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Read on until something holds."""

        async def wait() -> None:
            while not is_so():
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the stream ended")
                self._changed.clear()
                await self._changed.wait()

        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await wait()
        except TimeoutError:
            said = self.of(OrderEvent)
            raise AssertionError(f"it never came; order events {said}, notices {self.notices[-8:]}") from None

    def of(self, *kinds: Any) -> list[Any]:
        """Events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def submit(self, number: InstrumentId, quantity: int, side: Side = Side.BUY, **terms: Any) -> Order:
        """Send an order and return it as the desk keeps it."""
        order = self.new_order(number, quantity, side, **terms)
        self.gateway.send(order.submitted)
        return order

    def new_order(self, number: InstrumentId, quantity: int, side: Side = Side.BUY, **terms: Any) -> Order:
        """Name an order without sending it; ``terms`` are those of :func:`new_order`."""
        return new_order(self.orders, number, quantity, side, **terms)

    async def over(self, *orders: Order) -> None:
        """Wait until orders are over."""
        await self.until(lambda: not any(order.is_live for order in orders))

    async def resolved(self, order: Order) -> None:
        """Ask until the venue gives proof."""

        async def ask() -> None:
            while not await self.gateway.query_order(order.client_order_id):  # noqa: ASYNC110 - it asks a venue
                await asyncio.sleep(0.05)

        async with asyncio.timeout(PATIENCE_SECONDS):
            await ask()
        await self.until(lambda: order.state not in (OrderState.UNKNOWN, OrderState.PENDING_NEW))

    def ledger(self) -> list[tuple[str, Decimal, Decimal]]:
        """Executions as the desk booked them."""
        return sorted((one.client_order_id, one.quantity, one.price) for one in self.of(OrderFilled))

    def assert_adds_up(self) -> None:
        """The executions that the desk was told of are those of the exchange, each once."""
        assert self.ledger() == sorted(self.bench.truth().fills)

    async def close(self) -> None:
        """Close the gateway and read to the end."""
        await self.gateway.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task
        assert self.unmatched == []


def new_order(
    orders: OrderManager,
    number: InstrumentId,
    quantity: int,
    side: Side = Side.BUY,
    *,
    limit: Decimal | None = None,
    purpose: Purpose = Purpose.HEDGE,
) -> Order:
    """Name an order at a desk without sending it."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    intent = OrderIntent(number, side, D(quantity), purpose, "conformance", kind, limit, TimeInForce.DAY)
    return orders.order(orders.submit(intent, 0).client_order_id)


async def connected(
    bench: Bench, known: tuple[KnownOrder, ...] = (), orders: OrderManager | None = None
) -> Listener:
    """Return a listener on a connected gateway."""
    gateway = bench.gateway()
    await gateway.connect(known)
    listener = Listener(bench, gateway, orders)
    await listener.until(lambda: any(one.asks_for_reconciliation for one in listener.notices))
    return listener


# questions -----------------------------------------------------------------------------------------


async def _it_has_every_member_of_the_contract(bench: Bench) -> None:
    assert isinstance(bench.gateway(), Gateway)


async def _an_order_is_accepted_and_filled_and_adds_up(bench: Bench, desk: Listener) -> None:
    order = await desk.submit(bench.share, 10)
    await desk.over(order)
    assert order.state is OrderState.FILLED
    assert next(type(one) for one in desk.of(OrderEvent)) is OrderAccepted
    assert order.venue_order_id
    desk.assert_adds_up()


async def _options_and_shares_both_ways_add_up(bench: Bench, desk: Listener) -> None:
    opening = [
        await desk.submit(bench.call, 2, purpose=Purpose.OPEN),
        await desk.submit(bench.put, 2, purpose=Purpose.OPEN),
        await desk.submit(bench.share, 7, Side.SELL),
    ]
    await desk.over(*opening)
    closing = [
        await desk.submit(bench.call, 2, Side.SELL, purpose=Purpose.CLOSE),
        await desk.submit(bench.share, 3, Side.BUY),
    ]
    await desk.over(*closing)
    desk.assert_adds_up()
    book = bench.book
    assert bench.truth().positions == {book[bench.put].symbol: D(2), book[bench.share].symbol: D(-4)}


async def _an_order_that_fills_better_than_its_limit_is_booked_at_the_better_price(
    bench: Bench, desk: Listener
) -> None:
    await desk.gateway.subscribe([bench.share, bench.call])
    for number, side in ((bench.share, Side.BUY), (bench.call, Side.BUY), (bench.share, Side.SELL)):
        (quote,) = await desk.gateway.quotes([number])
        far = D(str(quote.ask if side is Side.BUY else quote.bid))
        rule = bench.book[number].tick_rule
        past = far * (1 + side.sign * D("0.001"))  # further than a market moves meanwhile
        limit = rule.moved(rule.round(past), 9 * side.sign)
        order = await desk.submit(number, 2, side, limit=limit, purpose=Purpose.OPEN)
        await desk.over(order)
        assert (limit - order.average_price) * side.sign > 0
    desk.assert_adds_up()


async def _a_resting_order_is_cancelled(bench: Bench, desk: Listener) -> None:
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: order.state is OrderState.WORKING)
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.over(order)
    assert order.state is OrderState.CANCELLED
    assert bench.truth().fills == []


async def _a_cancel_sent_at_once_waits_for_its_order(bench: Bench, desk: Listener) -> None:
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.over(order)
    assert order.state is OrderState.CANCELLED


async def _a_cancel_that_comes_too_late_is_refused_and_the_fill_counts(bench: Bench) -> None:
    desk = await connected(bench)
    order = await desk.submit(bench.share, 5)
    await desk.over(order)
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.close()
    assert order.state is OrderState.FILLED
    assert desk.of(OrderCancelled, OrderRejected) == []
    desk.assert_adds_up()


async def a_rejection_carries_the_venues_reason(bench: Bench, desk: Listener) -> None:
    bench.strike("reject")
    order = await desk.submit(bench.share, 5)
    await desk.over(order)
    assert order.state is OrderState.REJECTED
    assert order.reason
    again = await desk.submit(bench.share, 5)
    await desk.over(again)
    assert again.state is OrderState.FILLED
    desk.assert_adds_up()


async def a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once(bench: Bench, desk: Listener) -> None:
    bench.strike("lost_answer")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)) or not order.is_live)
    await desk.resolved(order)
    await desk.over(order)
    assert order.state is OrderState.FILLED
    assert desk.of(OrderRejected, OrderNotFound) == []
    desk.assert_adds_up()


async def a_lost_order_is_absent_only_after_the_horizon(bench: Bench, desk: Listener) -> None:
    await desk.gateway.subscribe([bench.share])  # where the venue has a time of its own, its quotes tell it
    bench.strike("lost_order")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: order.state is OrderState.UNKNOWN)
    assert not await desk.gateway.query_order(order.client_order_id)
    assert order.state is OrderState.UNKNOWN
    await desk.resolved(order)
    await desk.over(order)
    assert len(desk.of(OrderNotFound)) == 1
    assert bench.truth().fills == []


async def a_server_error_is_never_a_rejection(bench: Bench, desk: Listener) -> None:
    bench.strike("server_error")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)))
    assert desk.of(OrderRejected) == []
    await desk.resolved(order)
    await desk.over(order)
    desk.assert_adds_up()


async def an_order_sent_twice_under_one_name_is_one_order(bench: Bench) -> None:
    first = await connected(bench)
    order = await first.submit(bench.share, 10)
    await first.over(order)
    await first.close()
    second = await connected(bench)
    again = second.new_order(bench.share, 10)
    assert again.client_order_id == order.client_order_id
    second.gateway.send(again.submitted)
    await second.over(again)
    assert again.state is OrderState.FILLED
    assert len(bench.truth().fills) == 1
    second.assert_adds_up()
    await second.close()


async def _an_id_is_taken_once_an_order_has_had_it(bench: Bench, desk: Listener) -> None:
    order = await desk.submit(bench.share, 10)
    await desk.over(order)
    assert await desk.gateway.is_taken(order.client_order_id)
    assert not await desk.gateway.is_taken("cf-nobody")


async def fills_missed_while_the_stream_was_down_are_found(bench: Bench) -> None:
    desk = await connected(bench)
    await bench.cut_order_stream(desk.gateway)
    orders = [await desk.submit(bench.share, 10), await desk.submit(bench.call, 1, purpose=Purpose.OPEN)]
    await desk.until(lambda: sum(one.asks_for_reconciliation for one in desk.notices) >= 2)
    assert any(one.kind is NoticeKind.DISCONNECTED for one in desk.notices)
    for order in orders:
        await desk.resolved(order)
    await desk.over(*orders)
    desk.assert_adds_up()
    await desk.gateway.snapshot(fills_since_ns=0)
    for order in orders:
        assert await desk.gateway.query_order(order.client_order_id)
    await desk.close()
    desk.assert_adds_up()


async def repeated_and_swapped_messages_change_nothing(bench: Bench, desk: Listener) -> None:
    orders = []
    for what in ("repeated_update", "swapped_updates", "repeated_update"):
        bench.strike(what)
        orders.append(await desk.submit(bench.share, 4))
    bench.heal()
    orders.append(await desk.submit(bench.share, 4))
    await desk.over(orders[-1])
    for order in orders:
        await desk.resolved(order)
    await desk.over(*orders)
    desk.assert_adds_up()


async def a_part_is_filled_and_the_rest_is_cancelled(bench: Bench, desk: Listener) -> None:
    bench.strike("partial")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: order.filled > 0)
    if order.is_live:
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
    desk.assert_adds_up()


async def a_restart_gives_only_what_the_journal_lacks(bench: Bench) -> None:
    first = await connected(bench)
    booked = await first.submit(bench.share, 10)
    await first.over(booked)
    await first.close()
    again = await connected(bench)
    again.new_order(bench.share, 10)  # the name that the first run used
    missed = again.new_order(bench.share, 3)
    again.gateway.send(missed.submitted)
    await again.over(missed)
    await again.close()

    orders = OrderManager("cf")
    one, two = (new_order(orders, bench.share, quantity) for quantity in (10, 3))  # as a journal is replayed
    third = await connected(
        bench,
        (
            KnownOrder(
                booked.submitted,
                booked.filled,
                booked.filled * booked.average_price,
                False,
                booked.venue_order_id,
            ),
            KnownOrder(missed.submitted),
        ),
        orders,
    )
    await third.gateway.snapshot(fills_since_ns=0)
    assert await third.gateway.query_order(one.client_order_id)
    await third.resolved(two)
    await third.over(two)
    assert [(fill.client_order_id, fill.quantity) for fill in third.of(OrderFilled)] == [
        (two.client_order_id, D(3))
    ]
    await third.close()


async def _the_snapshot_is_the_exchanges_own_view(bench: Bench, desk: Listener) -> None:
    done = [await desk.submit(bench.share, 10), await desk.submit(bench.put, 1, purpose=Purpose.OPEN)]
    await desk.over(*done)
    resting = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: resting.state is OrderState.WORKING)
    view = await desk.gateway.snapshot(fills_since_ns=0)
    truth = bench.truth()
    assert {one.symbol: one.quantity for one in view.positions} == truth.positions
    assert abs(view.account.cash - truth.cash) <= SATOSHI
    assert [(one.client_order_id, one.quantity, one.is_open) for one in view.open_orders] == [
        (resting.client_order_id, D(5), True)
    ]
    assert sorted((one.quantity, one.price) for one in view.fills) == sorted(one[1:] for one in truth.fills)
    assert {one.instrument_id for one in view.as_event().positions} == {bench.share, bench.put}
    assert all(one.instrument == bench.book[bench.book.id_of(one.symbol)] for one in view.positions)


async def _both_legs_of_a_straddle_are_filled_together(bench: Bench) -> None:
    desk = await connected(bench)
    legs = [desk.new_order(number, 2, purpose=Purpose.OPEN) for number in (bench.call, bench.put)]
    desk.gateway.send(MultiLegOrder("cf-straddle", tuple(leg.submitted for leg in legs), None))
    await desk.over(*legs)
    assert [leg.state for leg in legs] == [OrderState.FILLED] * 2
    fills = bench.truth().fills
    assert sorted((fill.quantity, fill.price) for fill in desk.of(OrderFilled)) == sorted(
        one[1:] for one in fills
    )
    for leg in legs:
        assert await desk.gateway.query_order(leg.client_order_id)
    await desk.close()
    assert len(desk.of(OrderFilled)) == len(fills)


async def a_lost_answer_to_two_legs_is_resolved_for_both(bench: Bench) -> None:
    desk = await connected(bench)
    legs = [desk.new_order(number, 1, purpose=Purpose.OPEN) for number in (bench.call, bench.put)]
    bench.strike("lost_answer")
    desk.gateway.send(MultiLegOrder("cf-straddle", tuple(leg.submitted for leg in legs), None))
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)) or not legs[0].is_live)
    for leg in legs:
        await desk.resolved(leg)
    await desk.over(*legs)
    assert [leg.state for leg in legs] == [OrderState.FILLED] * 2
    await desk.close()
    assert sorted((fill.quantity, fill.price) for fill in desk.of(OrderFilled)) == sorted(
        one[1:] for one in bench.truth().fills
    )


def _least_net(bench: Bench) -> Decimal:
    """Return the least price of a straddle: a tick for each leg."""
    return sum((bench.book[number].tick_rule.tick_at(D(0)) for number in (bench.call, bench.put)), D(0))


async def _a_resting_combo(bench: Bench, desk: Listener) -> list[Order]:
    """Send a straddle far below the market and return its legs."""
    intents = [
        OrderIntent(number, Side.BUY, D(2), Purpose.OPEN, "conformance", OrderType.MARKET, None)
        for number in (bench.call, bench.put)
    ]
    command = desk.orders.submit_combo(intents, _least_net(bench), 0)
    desk.gateway.send(command)
    legs = [desk.orders.order(leg.client_order_id) for leg in command.legs]
    await desk.until(lambda: all(leg.state is OrderState.WORKING for leg in legs))
    return legs


def _known_legs(legs: list[Order], *, acknowledged: bool) -> tuple[KnownOrder, ...]:
    """Return the legs as a journal has them; without acknowledgement it knows no id of the venue."""
    return tuple(
        KnownOrder(
            leg.submitted,
            venue_order_id=leg.venue_order_id if acknowledged else "",
            parent_id=leg.parent_id,
        )
        for leg in legs
    )


async def a_combo_is_known_again_after_a_restart(bench: Bench) -> None:
    for acknowledged in (True, False):
        first = await connected(bench)
        first.orders = OrderManager(f"cf-{acknowledged}")
        before = await _a_resting_combo(bench, first)
        await first.gateway.close(graceful=False)

        orders = OrderManager(f"cf-{acknowledged}")
        again = orders.submit_combo(
            [
                OrderIntent(leg.submitted.instrument_id, Side.BUY, D(2), Purpose.OPEN, "conformance")
                for leg in before
            ],
            _least_net(bench),
            0,
        )  # what a replay of the journal gives
        second = await connected(bench, _known_legs(before, acknowledged=acknowledged), orders)
        legs = [orders.order(leg.client_order_id) for leg in again.legs]
        assert [leg.parent_id for leg in legs] == [again.client_order_id] * 2
        view = await second.gateway.snapshot(fills_since_ns=0)
        shown = {one.client_order_id: one for one in view.open_orders}
        assert set(shown) == {leg.client_order_id for leg in legs}
        assert {one.parent_id for one in shown.values()} == {again.client_order_id}
        assert await second.gateway.query_order(legs[1].client_order_id)
        second.gateway.send(CancelOrder(legs[0].client_order_id))  # a combo is cancelled as a whole
        await second.over(*legs)
        assert [leg.state for leg in legs] == [OrderState.CANCELLED] * 2
        assert (await second.gateway.snapshot()).open_orders == ()
        await second.close()


async def a_watchdog_cancels_the_combo_of_a_dead_desk(bench: Bench) -> None:
    first = await connected(bench)
    legs = await _a_resting_combo(bench, first)
    await first.gateway.close(graceful=False)
    second = await connected(bench, _known_legs(legs, acknowledged=False), first.orders)
    for leg in legs:
        second.gateway.send(CancelOrder(leg.client_order_id))
    await second.over(*legs)
    assert (await second.gateway.snapshot()).open_orders == ()
    await second.close()


async def a_combo_from_elsewhere_is_shown_and_touches_no_order(bench: Bench) -> None:
    first = await connected(bench)
    legs = await _a_resting_combo(bench, first)
    second = await connected(bench)
    view = await second.gateway.snapshot(fills_since_ns=0)
    assert len(view.open_orders) == 2
    assert second.of(OrderEvent) == []
    assert await second.gateway.cancel_at_venue(view.open_orders[1].venue_order_id)
    await first.over(*legs)
    await second.close()
    await first.close()


async def quotes_stream_for_what_is_subscribed_and_nothing_else(bench: Bench, desk: Listener) -> None:
    wanted = [bench.share, bench.call]
    await desk.gateway.subscribe(wanted)

    def seen() -> set[int]:
        return {one.instrument_id for one in desk.of(QuoteEvent)}

    await desk.until(lambda: seen() >= set(wanted))
    assert seen() == set(wanted)
    await desk.gateway.subscribe([bench.share, bench.put])
    await desk.until(lambda: bench.put in seen())
    for quote in desk.of(QuoteEvent):
        assert quote.ts_recv_ns >= quote.ts_event_ns > 0
        assert quote.bid >= 0
        assert quote.bid <= quote.ask or not quote.ask  # 0: nobody sells


async def quotes_that_are_asked_for_again_go_on_beside_the_others(bench: Bench, desk: Listener) -> None:
    wanted = {bench.share, bench.call}
    await desk.gateway.subscribe([*wanted])

    def seen(since: int) -> set[int]:
        return {one.instrument_id for one in desk.events[since:] if isinstance(one, QuoteEvent)}

    def is_seen(number: InstrumentId, since: int) -> bool:
        return number in seen(since)

    def are_all_seen(since: int) -> bool:
        return seen(since) >= wanted

    await desk.until(lambda: seen(0) >= wanted)
    for lost, other in ((bench.share, bench.call), (bench.call, bench.share)):
        bench.lose_quotes(lost)
        await desk.gateway.snapshot()  # all that was on its way has come
        before = len(desk.events)
        await desk.until(partial(is_seen, other, before))
        assert seen(before) == {other}
        await desk.gateway.renew_quotes([lost, bench.put])  # the put is not subscribed
        before = len(desk.events)
        await desk.until(partial(are_all_seen, before))
    assert seen(0) == wanted
    assert not [each for each in desk.notices if each.kind is NoticeKind.DISCONNECTED]


async def _the_latest_quotes_come_by_query(bench: Bench, desk: Listener) -> None:
    quotes = await desk.gateway.quotes([bench.share, bench.call, bench.put])
    assert {one.instrument_id for one in quotes} == {bench.share, bench.call, bench.put}


async def _contracts_are_discovered_within_their_window(bench: Bench, desk: Listener) -> None:
    contract = bench.book[bench.call]
    assert contract.is_option
    found = await desk.gateway.discover(contract.underlying, contract.expiry, contract.expiry)
    assert contract in [one.contract for one in found]
    assert {one.contract.expiry for one in found} == {contract.expiry}
    assert all(one.open_interest_contracts is None or one.open_interest_contracts >= 0 for one in found)


async def _daily_bars_lie_in_their_span_and_are_in_order(bench: Bench, desk: Listener) -> None:
    first, last = date(2000, 1, 3), date(2100, 1, 4)
    bars = await desk.gateway.daily_bars(bench.share, first, last)
    days = [one.day for one in bars]
    assert days == sorted(set(days))
    assert all(
        0 < one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high for one in bars
    )
    if len(days) > 2:
        inner = await desk.gateway.daily_bars(bench.share, days[1], days[-2])
        assert [one.day for one in inner] == days[1:-1]


async def _minutes_of_the_past_lie_in_their_days_and_are_in_order(bench: Bench, desk: Listener) -> None:
    days = [one.day for one in await desk.gateway.daily_bars(bench.share, date(2000, 1, 3), date(2100, 1, 4))]
    first, last = (days[-2], days[-1]) if len(days) > 1 else (date(2000, 1, 3), date(2000, 1, 4))
    minutes = await desk.gateway.minute_bars(bench.share, first, last)
    stamps = [one.start_ns for one in minutes]
    assert stamps == sorted(set(stamps))
    assert all(first <= to_new_york(stamp).date() <= last + timedelta(days=1) for stamp in stamps)
    assert all(0 < one.low <= min(one.open, one.close) <= one.high and one.volume >= 0 for one in minutes)


async def an_order_before_connecting_or_after_closing_never_vanishes(bench: Bench) -> None:
    gateway = bench.gateway()
    desk = Listener(bench, gateway)
    early = await desk.submit(bench.share, 5)
    await desk.over(early)
    assert early.state is OrderState.REJECTED
    await gateway.connect()
    await gateway.close()
    late = await desk.submit(bench.share, 5)
    await desk.until(lambda: not late.is_live)
    assert late.state is OrderState.REJECTED
    assert bench.truth().fills == []


async def a_rate_limit_is_said_and_a_cancel_still_goes_through(bench: Bench, desk: Listener) -> None:
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: order.state is OrderState.WORKING)
    bench.strike("rate_limit")
    refused = await desk.submit(bench.share, 5)
    await desk.over(refused)
    assert refused.state is OrderState.REJECTED
    assert any(one.kind is NoticeKind.LIMITED for one in desk.notices)
    bench.heal()
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.over(order)
    assert bench.truth().fills == []


async def _health_tells_of_streams_and_requests(bench: Bench) -> None:
    desk = await connected(bench)
    health = desk.gateway.health()
    assert health.streams["orders"]
    assert health.in_flight == 0
    assert health.unknown == ()
    assert health.requests_left > 0
    await desk.close()
    assert not desk.gateway.health().streams["orders"]


async def _a_cancel_of_an_unknown_order_is_said(desk: Listener) -> None:
    desk.gateway.send(CancelOrder("nobody-1"))
    await desk.until(lambda: bool(desk.unmatched))
    (refused,) = desk.unmatched
    assert isinstance(refused, CancelRejected)
    assert refused.client_order_id == "nobody-1"
    desk.unmatched.clear()


class _Question(Protocol):
    """One question to a venue; its name says what must hold."""

    __name__: str

    def __call__(self, *given: Any, **named: Any) -> Awaitable[None]:
        """Ask it of a ``bench`` that has been started, and a ``desk`` there where it takes one."""
        ...


QUESTIONS: tuple[_Question, ...] = (
    _it_has_every_member_of_the_contract,
    _an_order_is_accepted_and_filled_and_adds_up,
    _options_and_shares_both_ways_add_up,
    _an_order_that_fills_better_than_its_limit_is_booked_at_the_better_price,
    _a_resting_order_is_cancelled,
    _a_cancel_sent_at_once_waits_for_its_order,
    _a_cancel_that_comes_too_late_is_refused_and_the_fill_counts,
    a_rejection_carries_the_venues_reason,
    a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once,
    a_lost_order_is_absent_only_after_the_horizon,
    a_server_error_is_never_a_rejection,
    an_order_sent_twice_under_one_name_is_one_order,
    _an_id_is_taken_once_an_order_has_had_it,
    fills_missed_while_the_stream_was_down_are_found,
    repeated_and_swapped_messages_change_nothing,
    a_part_is_filled_and_the_rest_is_cancelled,
    a_restart_gives_only_what_the_journal_lacks,
    _the_snapshot_is_the_exchanges_own_view,
    _both_legs_of_a_straddle_are_filled_together,
    a_lost_answer_to_two_legs_is_resolved_for_both,
    a_combo_is_known_again_after_a_restart,
    a_watchdog_cancels_the_combo_of_a_dead_desk,
    a_combo_from_elsewhere_is_shown_and_touches_no_order,
    quotes_stream_for_what_is_subscribed_and_nothing_else,
    quotes_that_are_asked_for_again_go_on_beside_the_others,
    _the_latest_quotes_come_by_query,
    _contracts_are_discovered_within_their_window,
    _daily_bars_lie_in_their_span_and_are_in_order,
    _minutes_of_the_past_lie_in_their_days_and_are_in_order,
    an_order_before_connecting_or_after_closing_never_vanishes,
    a_rate_limit_is_said_and_a_cancel_still_goes_through,
    _health_tells_of_streams_and_requests,
    _a_cancel_of_an_unknown_order_is_said,
)


def questions_for(bench: type[Bench]) -> Sequence[_Question]:
    """Return the questions that a venue can be asked."""
    unknown = set(bench.cannot_be_asked) - {question.__name__ for question in QUESTIONS}
    assert not unknown, f"no such questions: {sorted(unknown)}"
    return [question for question in QUESTIONS if question.__name__ not in bench.cannot_be_asked]


def ask(question: _Question, new_bench: Callable[[], Bench]) -> None:
    """Ask one question of a bench of its own."""

    async def scenario() -> None:
        bench = new_bench()
        await bench.start()
        try:
            async with asyncio.timeout(2.0 * PATIENCE_SECONDS):
                wanted = signature(question).parameters
                if "desk" not in wanted:
                    await question(bench)
                else:
                    desk = await connected(bench)
                    await (question(bench, desk) if "bench" in wanted else question(desk))
                    await desk.close()
        finally:
            await bench.stop()

    asyncio.run(scenario())
