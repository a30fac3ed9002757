"""TWS's protocol judged by the library that its users have: ib_async, unmodified."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from ib_async import IB, LimitOrder, MarketOrder, Option, Stock

from scalpdesk.core.clock import SystemClock
from scalpdesk.exchange.launch import LaunchPlan, build_server, ready_line
from scalpdesk.exchange.source import TapeSource
from scalpdesk.simulation.faults import Fault
from scalpdesk_testing.kit.tape import TapeBuilder

pytestmark = pytest.mark.usefixtures("socket_enabled")

HALF_AN_HOUR = b'{"seconds": 1800}'


def spy():
    return Stock("SPY", "SMART", "USD")  # the client writes into it


class Client:
    """An ib_async client of a served market, and the market's own ledger."""

    def __init__(self, server, version):
        self.server = server
        self.ib = IB()
        self.ib.RaiseRequestErrors = False
        self.ib.client.MaxClientVersion = version
        self.errors = []
        self.ib.errorEvent += lambda _id, code, text, _contract: self.errors.append((code, text))

    async def connect(self, client_id=7):
        await self.ib.connectAsync(
            "127.0.0.1", self.server.protocol.port, clientId=client_id, raiseSyncErrors=True
        )

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                await self.ib.updateEvent

    def advance(self, body=b'{"seconds": 60}'):
        self.server.admin.handle("POST", "advance", body)

    def seen(self, code):
        return any(code == each for each, _ in self.errors)


@asynccontextmanager
async def served(version=178, accounts=1):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 30).build()
    plan = LaunchPlan(TapeSource(tape), protocol="tws", speed=0.0, accounts=accounts)
    server = build_server(plan, SystemClock())
    await server.start()
    server.admin.handle("POST", "advance", HALF_AN_HOUR)
    client = Client(server, version)
    try:
        yield client
    finally:
        client.ib.disconnect()
        await server.stop()


@pytest.mark.rows("version", [157, 163, 166, 178])
def test_ib_async_does_a_whole_round(version):
    async def round_trip():
        async with served(version) as client:
            ib, admin = client.ib, client.server.admin
            await client.connect()
            (share,) = await ib.qualifyContractsAsync(spy())
            assert (share.conId, share.localSymbol) == (756733, "SPY")
            ticker = ib.reqMktData(share)
            await client.until(ticker.hasBidAsk)
            quote = client.server.world.ledger.quotes[0]
            assert (ticker.bid, ticker.ask, ticker.bidSize) == (quote.bid, quote.ask, quote.bid_size)

            bought = ib.placeOrder(share, LimitOrder("BUY", 10, ticker.ask, orderRef="first"))
            resting = ib.placeOrder(share, LimitOrder("BUY", 5, 100, orderRef="second"))
            await client.until(lambda: bought.fills and bought.fills[0].commissionReport.execId)
            await client.until(lambda: resting.orderStatus.status == "Submitted")
            (trade,) = admin.fills()
            (fill,) = bought.fills
            assert (fill.execution.side, fill.execution.shares, fill.execution.cumQty) == ("BOT", 10.0, 10.0)
            assert Decimal(str(fill.execution.price)) == Decimal(trade["price"])
            assert (fill.commissionReport.commission, trade["fee"]) == (1.0, "1")
            assert bought.orderStatus.status == "Filled"
            assert [entry.status for entry in bought.log][-1] == "Filled"
            resting.order.lmtPrice = 101
            ib.placeOrder(share, resting.order)
            await client.until(lambda: resting.log[-1].message == "Modified")

            ib.disconnect()
            await client.connect()
            (found,) = ib.openTrades()
            assert found.order.permId == resting.order.permId
            assert (found.order.orderRef, found.order.lmtPrice) == ("second", 101.0)
            (kept,) = ib.fills()
            assert kept.execution.execId == fill.execution.execId
            assert kept.commissionReport.commission == 1.0
            (held,) = ib.positions()
            assert (held.position, held.avgCost) == (10.0, fill.execution.price)
            values = {each.tag: each.value for each in ib.accountValues()}
            cash = Decimal(100_000) - 10 * Decimal(trade["price"]) - 1
            assert Decimal(values["TotalCashValue"]) == cash

            assert ib.client.getReqId() > resting.order.orderId
            ib.cancelOrder(found.order)
            await client.until(lambda: found.orderStatus.status == "Cancelled")
            assert client.seen(202)
            assert [each["status"] for each in admin.orders()] == ["filled", "replaced", "canceled"]
            over = {each.order.orderRef: each for each in await ib.reqCompletedOrdersAsync(apiOnly=False)}
            assert {ref: each.orderStatus.status for ref, each in over.items()} == {
                "first": "Filled",
                "second": "Cancelled",
            }
            assert over["first"].order.filledQuantity == 10.0

    asyncio.run(round_trip())


def test_executions_count_on_over_a_modification():
    async def modified():
        async with served() as client:
            client.server.world.faults.inject(Fault("partial_fill", fraction=0.5))
            await client.connect()
            order = LimitOrder("BUY", 10, 600)
            trade = client.ib.placeOrder(spy(), order)
            await client.until(lambda: trade.orderStatus.filled == 5.0)
            order.lmtPrice = 601
            client.ib.placeOrder(spy(), order)
            await client.until(lambda: trade.orderStatus.status == "Filled")
            found = await client.ib.reqExecutionsAsync()
            assert [each.execution.cumQty for each in found] == [5.0, 10.0]
            assert (trade.orderStatus.filled, trade.orderStatus.remaining) == (10.0, 0.0)

    asyncio.run(modified())


def test_orders_belong_to_their_client():
    async def two_clients():
        async with served() as client:
            await client.connect(1)
            other = Client(client.server, 178)
            refused = asyncio.create_task(other.connect(1))
            await other.until(lambda: other.seen(326))
            refused.cancel()
            await asyncio.gather(refused, return_exceptions=True)
            await other.connect(2)
            mine = client.ib.placeOrder(spy(), LimitOrder("BUY", 1, 100))
            await client.until(lambda: mine.orderStatus.status == "Submitted")
            assert await other.ib.reqOpenOrdersAsync() == []
            (shown,) = await other.ib.reqAllOpenOrdersAsync()
            assert (shown.order.clientId, shown.order.permId) == (1, mine.order.permId)
            other.ib.client.cancelOrder(mine.order.orderId, "")
            await other.until(lambda: other.seen(10147))
            assert mine.isActive()
            other.ib.reqGlobalCancel()
            await client.until(lambda: mine.orderStatus.status == "Cancelled")
            other.ib.disconnect()

    asyncio.run(two_clients())


@pytest.mark.parametrize(
    ("contract", "order", "code"),
    [
        (Stock("NONE", "SMART", "USD"), LimitOrder("BUY", 1, 100), 200),
        (spy(), LimitOrder("BUY", 1, 100.001), 110),
        (spy(), LimitOrder("BUY", 0, 100), 434),
        (spy(), LimitOrder("BUY", 100_000, 100), 201),
        (spy(), MarketOrder("BUY", 1, tif="???"), 321),
        (spy(), LimitOrder("BUY", 1, 100, parentId=1), 321),
        (spy(), LimitOrder("BUY", 1, 100, account="DU1"), 321),
    ],
    ids=["contract", "tick", "size", "margin", "lifetime", "attached", "account"],
)
def test_a_refused_order_has_the_vendors_code_and_leaves_nothing(contract, order, code):
    async def refused():
        async with served() as client:
            await client.connect()
            client.ib.placeOrder(contract, order)
            await client.until(lambda: client.seen(code))
            assert [each["status"] for each in client.server.admin.orders()] == []

    asyncio.run(refused())


def test_an_order_id_is_used_once_and_a_filled_order_stays():
    async def reused():
        async with served() as client:
            await client.connect()
            order = LimitOrder("BUY", 1, 600)
            bought = client.ib.placeOrder(spy(), order)
            await client.until(lambda: bought.orderStatus.status == "Filled")
            client.ib.client.placeOrder(order.orderId, spy(), order)
            await client.until(lambda: client.seen(104))
            client.ib.client.placeOrder(order.orderId - 1, spy(), LimitOrder("BUY", 1, 100))
            await client.until(lambda: client.seen(103))
            client.ib.client.cancelOrder(order.orderId, "")
            await client.until(lambda: client.seen(10148))

    asyncio.run(reused())


def test_options_are_found_by_any_of_their_terms():
    async def found():
        async with served() as client:
            await client.connect()
            details = await client.ib.reqContractDetailsAsync(Option("SPY"))
            listed = [each for each in client.server.world.ledger.instruments if each.is_option]
            assert {each.contract.localSymbol.replace(" ", "") for each in details} == {
                each.symbol for each in listed
            }
            call = next(each for each in listed if each.is_call)
            last = f"{call.expiry:%Y%m%d}"
            (exact,) = await client.ib.qualifyContractsAsync(
                Option("SPY", last, float(call.strike), "C", "SMART")
            )
            assert exact.localSymbol == f"{call.root:<6}{call.symbol[len(call.root) :]}"
            (by_id,) = await client.ib.reqContractDetailsAsync(Option(conId=exact.conId))
            assert (by_id.contract.tradingClass, by_id.contract.multiplier) == (call.root, "100")
            assert by_id.underSymbol == "SPY"
            assert by_id.minTick == float(call.tick_rule.below)

    asyncio.run(found())


def test_what_is_not_tws_is_closed_and_what_is_not_served_is_named():
    async def strange():
        async with served(accounts=2) as client:
            server = client.server
            assert ready_line(server)["urls"]["tws"] == f"tws://127.0.0.1:{server.protocol.port}"
            offers = b"\x00\x00\x00\x09v201..210", b"\xff\xff\xff\xff"
            for greeting in (b"GET / HTTP/1.1\r\n\r\n", *(b"API\0" + offer for offer in offers)):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.protocol.port)
                writer.write(greeting)
                assert await reader.read() == b""
                writer.close()
            await client.connect()
            assert client.ib.managedAccounts() == list(server.protocol.codes)
            client.ib.client.reqSoftDollarTiers(26)
            await client.until(lambda: client.seen(321))
            client.ib.client.send(9, 8, 3, "x")
            await client.until(lambda: len([code for code, _ in client.errors if code in (320, 321)]) == 2)
            assert server.protocol.open_count == 1
            server.protocol.close_all()
            await client.ib.disconnectedEvent

    asyncio.run(strange())
