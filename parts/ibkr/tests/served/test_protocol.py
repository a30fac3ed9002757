"""TWS's protocol judged by the library that its users have: ib_async, unmodified."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from ib_async import IB, LimitOrder, Stock

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
