"""Connections of the TWS socket frame by frame: too fast, too long, too soon, and over a restart."""

import asyncio
import struct

import pytest

from scalpdesk.exchange.launch import ready_line
from scalpdesk_testing.kit.exchange import PATIENCE, TwsBench, checked
from scalpdesk_testing.kit.instruments import DAY, EXPIRY

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
from ib_async import LimitOrder, MarketOrder, Option, Stock
from ib_async.wrapper import RequestError

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def tws():
    bench = TwsBench(trading_limit=200)
    yield bench
    bench.stop()


class Line:
    """A connection that sends and reads frames itself."""

    def __init__(self, reader, writer):
        self._reader, self.writer = reader, writer

    @classmethod
    async def open(cls, tws, offer=b"v100..157"):
        line = cls(*await asyncio.open_connection("127.0.0.1", tws.protocol.port))
        tws.writers.append(line.writer)
        line.writer.write(b"API\0")
        line.send_raw(offer)
        return line

    def send_raw(self, body):
        self.writer.write(struct.pack(">I", len(body)) + body)

    def send(self, *fields):
        self.send_raw("".join(f"{field}\0" for field in fields).encode())

    async def read(self):
        """Return the next frame; None at the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                (length,) = struct.unpack(">I", await self._reader.readexactly(4))
                return (await self._reader.readexactly(length)).decode().split("\0")[:-1]
            except asyncio.IncompleteReadError:
                return None

    async def until(self, *first):
        while (frame := await self.read()) is not None:
            if frame[: len(first)] == list(first):
                return frame
        raise AssertionError(first)

    async def start(self, client_id):
        await self.read()
        self.send(71, 2, client_id, "")
        await self.until("4", "2", "-1", "2158")
        return self


@checked
async def test_nothing_comes_between_the_version_and_startapi(tws):
    line = await Line.open(tws)
    assert len(await line.read()) == 2
    line.send(49, 1)
    line.send(71, 2, 61, "")
    assert (await line.read())[:3] == ["15", "1", "DU1000001,DU1000002"]
    assert (await line.read())[0] == "9"


@checked
async def test_no_message_follows_a_cancelled_line(tws):
    """The market's time goes with the ticks: a client that follows nothing is told nothing."""
    line, told = await (await Line.open(tws)).start(66), []
    share = (0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "")
    line.send(1, 11, 1, *share, 0, "", 0, 0, "")
    await line.until("1")
    tws.advance(120)
    line.send(2, 2, 1)
    line.send(81, 1, "SP")  # its answer comes after the cancel
    while (frame := await line.read())[0] != "79":
        told.append(frame[0])
    assert "49" in told
    tws.advance(600)
    line.send(81, 2, "SP")
    assert (await line.read())[0] == "79"


@pytest.mark.parametrize(
    ("offer", "fields"), [(b"v100..157", 5), (b"v100..165 +PACEAPI", 5), (b"v157..178 ", 6)]
)
@checked
async def test_an_error_has_the_fields_of_its_version(tws, offer, fields):
    line = await (await Line.open(tws, offer)).start(62)
    line.send(79, 5)
    assert len(await line.until("4", "2", "-1", "321")) == fields


@checked
async def test_more_than_50_messages_a_second_are_100_and_the_end(tws):
    line, other = await (await Line.open(tws)).start(63), await (await Line.open(tws)).start(64)
    for _ in range(50):
        line.send(49, 1)
    assert (await line.until("4", "2", "-1", "100"))[3] == "100"
    assert await line.read() is None
    tws.clock.advance(2 * 10**9)
    for _ in range(40):
        other.send(49, 1)
    assert (await other.until("49"))[0] == "49"


@checked
async def test_bars_are_asked_for_at_a_pace(tws):
    line = await (await Line.open(tws)).start(65)
    contract = (0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "")
    for request in range(6):
        line.send(20, request, *contract, 0, "", "1 min", f"{600 + 60 * request} S", 1, "TRADES", 1, 0, "")
    assert (await line.until("4", "2", "5"))[3] == "162"
    tws.clock.advance(3 * 10**9)
    line.send(20, 7, *contract, 0, "", "1 min", "600 S", 1, "TRADES", 1, 0, "")
    assert (await line.until("17", "7"))[4] == "10"


@checked
async def test_an_oversized_frame_ends_its_own_connection_alone(tws):
    line, other = await (await Line.open(tws)).start(66), await (await Line.open(tws)).start(67)
    line.writer.write(struct.pack(">I", (1 << 20) + 1))
    assert await line.read() is None
    other.send(49, 1)
    await other.until("49")


@checked
async def test_every_text_is_plain(tws):
    """Clients decode escapes, and read whole numbers alone at the oldest version."""
    line = await (await Line.open(tws)).start(68)
    line.send(9, 8, 1, 0, "\\u0041é", "STK", "", 0, "", "", "", "", "", "", "", 0, "", "")
    text = (await line.until("4", "2", "1"))[4]
    assert text.isascii()
    assert "\\" not in text
    line.send(1, 11, 2, 0, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "", 0, "", 1, 0, "")
    frames = []
    while (frame := await line.read())[0] != "57":
        frames.append(frame)
    assert {frame[0]: len(frame) for frame in frames} == {"58": 4, "81": 5, "1": 7, "2": 5, "46": 5}
    assert all(frame[5].lstrip("-").isdigit() for frame in frames if frame[0] == "1")
    assert all(frame[4].isdigit() for frame in frames if frame[0] == "2")


@checked
async def test_a_restart_keeps_orders_ids_and_executions(tws):
    client = await tws.client(70)
    share = Stock("SPY", "SMART", "USD")
    done = client.ib.placeOrder(share, MarketOrder("BUY", 2))
    resting = client.ib.placeOrder(share, LimitOrder("BUY", 1, 100, orderRef="kept"))
    await client.until(
        lambda: done.orderStatus.status == "Filled" and resting.orderStatus.status == "Submitted"
    )
    gone = asyncio.ensure_future(client.ib.disconnectedEvent)
    assert tws.admin("tws/restart", b'{"down_seconds": 0}')["closed"] >= 1
    async with asyncio.timeout(PATIENCE):
        await gone
        while True:
            try:
                await client.connect(70)
                break
            except ConnectionError:  # the port is still closed
                await asyncio.sleep(0)
    (found,) = client.ib.openTrades()
    assert (found.order.orderRef, found.order.permId) == ("kept", resting.order.permId)
    assert done.fills[0].execution.execId in {each.execution.execId for each in client.ib.fills()}
    assert client.ib.client.getReqId() > resting.order.orderId
    client.ib.cancelOrder(found.order)
    await client.until(lambda: found.orderStatus.status == "Cancelled")
    client.ib.disconnect()


@checked
async def test_what_happens_while_nobody_is_connected_is_found_later(tws):
    client = await tws.client(71)
    resting = client.ib.placeOrder(Stock("SPY", "SMART", "USD"), LimitOrder("BUY", 3, 499.0, tif="GTC"))
    await client.until(lambda: resting.orderStatus.status == "Submitted")
    client.ib.disconnect()
    (order,) = [each for each in tws.server.admin.orders() if each["limit_price"] == "499"]
    world = tws.world
    number = world.ledger.instruments.id_of("SPY")
    live = world.broker.order(order["account"], order["id"])
    world.broker.matcher.fill(live, live.leaves, live.limit_price)
    world.flush()
    await client.connect(71)
    assert client.ib.openTrades() == []
    (fill,) = [each for each in client.ib.fills() if each.execution.permId == resting.order.permId]
    assert (fill.execution.cumQty, fill.execution.price) == (3.0, 499.0)
    assert fill.commissionReport.commission == 1.0
    held = {each.contract.localSymbol: each.position for each in client.ib.positions("DU1000001")}
    assert held["SPY"] == float(world.ledger.accounts["account-1"].quantity(number))
    client.ib.disconnect()


@checked
async def test_orders_of_the_broker_go_to_client_0_once_it_binds_them(tws):
    client = await tws.client(0)
    world, option = tws.world, Option("SPY", f"{EXPIRY:%Y%m%d}", 505.0, "C", "SMART")
    bought = client.ib.placeOrder(option, LimitOrder("BUY", 1, 50))
    await client.until(lambda: bought.orderStatus.status == "Filled")
    await client.ib.reqCurrentTimeAsync()  # auto-open was asked for before
    number = world.ledger.instruments.id_of(f"SPY{EXPIRY:%y%m%d}C00505000")
    world.broker.close_position("account-1", number)
    world.settle()
    await client.until(lambda: any(each.execution.side == "SLD" for each in client.ib.fills()))
    (last,) = [each.execution for each in client.ib.fills() if each.execution.side == "SLD"]
    assert (last.clientId, last.cumQty) == (0, 1.0)
    assert last.orderId > bought.order.orderId
    client.ib.disconnect()


def test_an_expiry_ends_the_position_at_the_close():
    bench = TwsBench()

    @checked
    async def close(tws):
        client, today = await tws.client(1), f"{DAY:%Y%m%d}"
        held = Option("SPX", today, 5000.0, "C", "SMART", tradingClass="SPXW")
        bought = client.ib.placeOrder(held, LimitOrder("BUY", 2, 200))
        await client.until(lambda: client.ib.positions() and bought.isDone())
        tws.advance(6 * 3_600)
        await client.until(lambda: client.ib.positions() == [])
        assert await client.ib.reqContractDetailsAsync(Option("SPX", f"{EXPIRY:%Y%m%d}", 5000.0, "C"))
        with pytest.raises(RequestError):  # it is over
            await client.ib.reqContractDetailsAsync(Option("SPX", today, 5000.0, "C"))
        expired = Option("SPX", today, 5000.0, "C", includeExpired=True)
        assert len(await client.ib.reqContractDetailsAsync(expired)) == 1

    close(bench)
    bench.stop()


def test_an_order_outside_hours_waits_and_may_be_changed():
    bench = TwsBench()
    bench.advance(7 * 3_600)  # the session is over

    @checked
    async def evening(tws):
        client, order = await tws.client(1), LimitOrder("BUY", 1, 100, orderRef="evening")
        trade = client.ib.placeOrder(Stock("SPY", "SMART", "USD"), order)
        assert "20240305 09:30:00 US/Eastern" in await client.error(399, order.orderId)
        await client.until(lambda: trade.orderStatus.status == "PreSubmitted")
        perm_id, order.lmtPrice, order.totalQuantity = order.permId, 101.0, 2
        client.ib.placeOrder(trade.contract, order)
        await client.until(lambda: trade.orderStatus.remaining == 2.0)
        (found,) = await client.ib.reqOpenOrdersAsync()
        assert (found.order.lmtPrice, found.order.permId) == (101.0, perm_id)
        client.ib.cancelOrder(order)
        await client.until(lambda: trade.orderStatus.status == "Cancelled")
        assert [each["status"] for each in tws.server.admin.orders()] == ["canceled"] * 2

    evening(bench)
    bench.stop()


def test_what_is_not_tws_is_closed_and_what_is_not_served_is_named():
    bench = TwsBench()

    @checked
    async def strange(tws):
        assert ready_line(tws.server)["urls"]["tws"] == f"tws://127.0.0.1:{tws.protocol.port}"
        offers = b"\x00\x00\x00\x09v201..210", b"\xff\xff\xff\xff"
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", *(b"API\0" + offer for offer in offers)):
            reader, writer = await asyncio.open_connection("127.0.0.1", tws.protocol.port)
            writer.write(greeting)
            assert await reader.read() == b""
            writer.close()
        client = await tws.client(7)
        assert client.ib.managedAccounts() == list(tws.protocol.codes)
        client.ib.client.reqSoftDollarTiers(26)
        await client.error(321)
        client.ib.client.send(9, 8, 3, "x")
        await client.until(lambda: len([code for _, code, _ in client.errors if code in (320, 321)]) == 2)
        assert tws.protocol.open_count == 1
        tws.protocol.close_all()
        await client.ib.disconnectedEvent

    strange(bench)
    bench.stop()
