"""The law of cash at every wire: an order of any type moves what its executions say, and no more.

Whatever the type of an order, the cash of the account changes by the prices of its executions times their
quantities and multipliers, and by their fees. Its limit, its trigger and its quote move nothing.
"""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import OrderEvent, OrderFilled, OrderRejected, PositionChanged, StatusEvent
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderIntent,
    OrderKind,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues import connected
from scalpdesk_testing.campaign import trial_of
from scalpdesk_testing.kit.served import SimulatedBench
from scalpdesk_testing.market import CALL, PUT, SHARE
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import scratch_folder
from scalpdesk_testing.trial import Trial

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
FAR = D("1.50")
"""From the market to a limit that no execution of an order of the law comes to."""
MARKET, LIMIT, STOP, STOP_LIMIT = "market", "limit", "stop", "stop_limit"


class Account:
    """An account at the exchange of a trial, traded through the venue's own gateway and wire."""

    def __init__(self, protocol: str, folder: Path) -> None:
        self.trial: Trial = trial_of(protocol)(quiet_schedule(3, has_fees=True), folder)
        self.orders = OrderManager("cash")
        self.events: list[Any] = []

    def run(self, trade: Callable[["Account"], Any]) -> None:
        """Connect, trade, and let the session end."""
        loop = self.trial.loop
        try:
            loop.run_until_complete(self._run(trade))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.001))
            loop.close()
            self.trial.journal.close()

    async def _run(self, trade: Callable[["Account"], Any]) -> None:
        self.trial.line.drive()
        self.gateway = self.trial.make_gateway()
        await self.gateway.connect()
        reading = asyncio.get_running_loop().create_task(self._read())
        await self.gateway.subscribe([SHARE, CALL, PUT])
        await asyncio.sleep(4.0)
        try:
            await trade(self)
        finally:
            await self.gateway.close(graceful=False)
            await reading

    async def _read(self) -> None:
        async for item in self.gateway.events():
            if isinstance(item, PositionChanged):
                self.events.append(item)
            if not isinstance(item, OrderEvent) or item.client_order_id not in self.orders.orders:
                continue
            self.events.append(item)
            if isinstance(item, OrderFilled):
                self.orders.fill(self.orders.order(item.client_order_id), item)
            elif isinstance(item, StatusEvent):
                self.orders.apply(item)

    def quote(self, number: InstrumentId) -> tuple[Decimal, Decimal]:
        """Return bid and ask."""
        quote = self.trial.world.ledger.quotes[number]
        return D(str(quote.bid)), D(str(quote.ask))

    def intent(
        self,
        number: InstrumentId,
        side: Side,
        quantity: int,
        kind: OrderKind = OrderType.MARKET,
        limit: Decimal | None = None,
        lifetime: TimeInForce = TimeInForce.DAY,
        purpose: Purpose = Purpose.HEDGE,
    ) -> OrderIntent:
        """Return what to order."""
        return OrderIntent(number, side, D(quantity), purpose, "the law of cash", kind, limit, lifetime)

    def send(self, intent: OrderIntent) -> SubmitOrder:
        """Send an order."""
        command = self.orders.submit(intent, 0)
        self.gateway.send(command)
        return command

    async def over(self, *names: str, seconds: float = 120.0) -> None:
        """Wait until orders are over, and what the venue says of their fees has come."""
        async with asyncio.timeout(seconds):
            while any(self.orders.order(name).is_live for name in names):  # noqa: ASYNC110 - it asks a venue
                await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)

    def assert_cash_moved(self, cash: Decimal, *names: str) -> None:
        """The account has moved by the desk's own bookings of orders since it held ``cash``."""
        fills = [
            each for each in self.events if isinstance(each, OrderFilled) and each.client_order_id in names
        ]
        assert {fill.client_order_id for fill in fills} == set(names)
        moved, ids = D(0), set()
        for fill in fills:
            sent = self.orders.order(fill.client_order_id).submitted
            instrument = self.trial.world.ledger.instruments[sent.instrument_id]
            moved -= sent.side.sign * fill.quantity * fill.price * instrument.multiplier + fill.fee
            ids.add(f"fee/{fill.execution_id}")
            assert fill.price not in (sent.limit_price, sent.trigger_price)
        late = [each for each in self.events if isinstance(each, PositionChanged) and each.reference in ids]
        assert {each.cause for each in late} <= {ChangeCause.FEE}
        assert self.trial.account.cash - cash == moved + sum(each.cash_change for each in late)


@contextmanager
def account_at(protocol):
    """Open an account at a venue."""
    with scratch_folder() as folder:
        yield Account(protocol, Path(folder))


@pytest.fixture(params=["alpaca", "deribit", "tws"])
def protocol(request):
    """A venue's protocol."""
    return request.param


def past(account, number, side):
    """Return a limit far past the market, at which an order fills at once and better."""
    bid, ask = account.quote(number)
    return ask + FAR if side is BUY else bid - FAR


# the price falls: a stop to buy is triggered in the put, one to sell in the call
@pytest.mark.parametrize(("number", "side"), [(SHARE, BUY), (SHARE, SELL), (PUT, BUY), (CALL, SELL)])
@pytest.mark.parametrize("kind", [MARKET, LIMIT, STOP, STOP_LIMIT])
def test_an_order_of_any_type_moves_the_cash_of_its_executions(protocol, kind, number, side):
    if number != SHARE and kind in (STOP, STOP_LIMIT) and protocol == "alpaca":
        pytest.skip("the venue takes no stops on options")

    async def trade(account):
        if number != SHARE and side is SELL:
            await account.over(account.send(account.intent(number, BUY, 3)).client_order_id)
        bid, ask = account.quote(number)
        cash = account.trial.account.cash
        away = D("0.02") * side.sign
        order_type = (
            OrderType(kind) if kind in (MARKET, LIMIT) else Stop((ask if side is BUY else bid) + away)
        )
        limit = past(account, number, side) if kind in (LIMIT, STOP_LIMIT) else None
        sent = account.send(account.intent(number, side, 3, order_type, limit))
        await account.over(sent.client_order_id)
        account.assert_cash_moved(cash, sent.client_order_id)

    with account_at(protocol) as account:
        account.run(trade)


@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.LIMIT])
def test_an_order_at_the_close_moves_the_cash_of_its_executions(protocol, kind):
    async def trade(account):
        cash = account.trial.account.cash
        limit = past(account, SHARE, BUY) if kind is OrderType.LIMIT else None
        limit = None if limit is None else limit + 3 * FAR  # wherever the market closes
        sent = account.send(account.intent(SHARE, BUY, 3, kind, limit, TimeInForce.CLS))
        await account.over(sent.client_order_id, seconds=400.0)
        if protocol == "deribit":  # it trades around the clock
            assert any(isinstance(each, OrderRejected) for each in account.events)
            return
        account.assert_cash_moved(cash, sent.client_order_id)

    with account_at(protocol) as account:
        account.run(trade)


@pytest.mark.parametrize("is_limited", [False, True])
@pytest.mark.parametrize("is_sold", [False, True])
def test_a_combo_moves_the_cash_of_its_legs(protocol, is_limited, is_sold):
    async def trade(account):
        if is_sold:
            held = [account.send(account.intent(number, BUY, 2)).client_order_id for number in (CALL, PUT)]
            await account.over(*held)
        side = SELL if is_sold else BUY
        kind = OrderType.LIMIT if is_limited else OrderType.MARKET
        limits = [past(account, number, side) if is_limited else None for number in (CALL, PUT)]
        legs = [
            account.intent(number, side, 2, kind, limit, purpose=Purpose.CLOSE if is_sold else Purpose.OPEN)
            for number, limit in zip((CALL, PUT), limits, strict=True)
        ]
        net = side.sign * sum(limits) if is_limited else None
        cash = account.trial.account.cash
        command = account.orders.submit_combo(legs, net, 0)
        assert isinstance(command, MultiLegOrder)
        account.gateway.send(command)
        names = [leg.client_order_id for leg in command.legs]
        await account.over(*names)
        account.assert_cash_moved(cash, *names)

    with account_at(protocol) as account:
        account.run(trade)


def test_a_session_that_is_played_moves_the_cash_of_executions_of_every_type():
    async def trade(bench, desk):
        kinds = [OrderType.MARKET, OrderType.LIMIT, Stop(D("500.01")), Stop(D("500.01"))]
        for kind, limit in zip(kinds, (None, D("501.50"), None, D("501.50")), strict=True):
            cash, before = bench.truth().cash, len(desk.of(OrderFilled))
            intent = OrderIntent(SHARE, BUY, D(3), Purpose.HEDGE, "the law of cash", kind, limit)
            sent = desk.orders.submit(intent, 0)
            desk.gateway.send(sent)
            await desk.over(desk.orders.order(sent.client_order_id))
            fills = desk.of(OrderFilled)[before:]
            assert bench.truth().cash - cash == -sum(3 * fill.price + fill.fee for fill in fills)
            assert all(fill.price != limit for fill in fills)
        cash, before = bench.truth().cash, len(desk.of(OrderFilled))
        legs = [
            OrderIntent(number, BUY, D(2), Purpose.OPEN, "the law of cash", OrderType.LIMIT, D("12.00"))
            for number in (CALL, PUT)
        ]
        combo = desk.orders.submit_combo(legs, D("24.00"), 0)
        desk.gateway.send(combo)
        await desk.over(*(desk.orders.order(leg.client_order_id) for leg in combo.legs))
        fills = desk.of(OrderFilled)[before:]
        assert bench.truth().cash - cash == -sum(200 * fill.price + fill.fee for fill in fills)
        assert all(fill.price < 12 for fill in fills)

    async def scenario():
        bench = SimulatedBench()
        desk = await connected(bench)
        await trade(bench, desk)
        await desk.close()

    asyncio.run(scenario())
