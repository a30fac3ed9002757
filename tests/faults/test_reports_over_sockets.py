"""Ten reports of other programs on reconnects, executions and brokers' messages, over sockets.

What each said, what is right and what came stands in docs/evidence/faults.md.
"""

import asyncio

import msgspec
import pytest

from scalpdesk.base import SystemClock
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import CancelOrder
from scalpdesk.exchange import Fault
from scalpdesk.orders.order import OrderState
from scalpdesk.venues import Listener
from scalpdesk.venues.contract import NoticeKind
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk_ibkr.served.protocol import Restart, SystemMessage
from scalpdesk_testing.kit.served import AlpacaBench, DeribitBench, IbkrBench

pytestmark = pytest.mark.usefixtures("socket_enabled")
SECONDS = 90.0


def beside(make, scenario):
    """Run a scenario with a connected gateway beside a served market."""

    async def whole():
        bench = make()
        await bench.start()
        try:
            gateway = bench.gateway()
            await gateway.connect()
            desk = Listener(bench, gateway)
            await asyncio.wait_for(scenario(bench, desk), SECONDS)
            await desk.close()
        finally:
            await bench.stop()

    asyncio.run(whole())


def of_kind(desk, kind):
    return [each for each in desk.notices if each.kind is kind]


def words_of(desk):
    return [each.detail for each in of_kind(desk, NoticeKind.TOLD)]


def unchanged(fields):
    return [fields]


async def own_id(bench):
    """Return the id of the client's newest order at TWS, once it is on the wire."""
    while True:
        for fields in reversed(bench.line.asked):
            if fields[0] == "3":
                return fields[1]
        await asyncio.sleep(0.01)


async def resting(bench, desk):
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: order.state is OrderState.WORKING)
    return order


def test_a_cancel_that_tws_answers_with_an_unknown_id_waits_for_nothing():
    """QuantConnect/Lean.Brokerages.InteractiveBrokers#248: 10147 left the cancel waiting for five minutes."""

    struck = []

    def rule(fields):
        is_cancelled = fields[0] == "4" and len(fields) > 3 and fields[3] == "202"
        if is_cancelled:  # the broker has forgotten it
            struck.append(fields)
            fields = [
                *fields[:3],
                "10147",
                f"OrderId {fields[2]} that needs to be cancelled is not found.",
                "",
            ]
        return [fields]

    async def cancelled(bench, desk):
        order = await resting(bench, desk)
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert (order.state, len(struck) > 0) == (OrderState.CANCELLED, True)

    beside(lambda: IbkrBench(rule), cancelled)


def test_the_loss_of_the_brokers_link_is_told_before_its_return():
    """QuantConnect/Lean.Brokerages.InteractiveBrokers#129: only the reconnection reached the user."""

    async def lost(bench, desk):
        words = "Connectivity between IBKR and Trader Workstation has been lost."
        before = len(desk.notices)
        bench.server.protocol.send_message(SystemMessage(code=1100, text=words))
        await desk.until(lambda: not desk.gateway.health().streams["orders"])
        bench.server.protocol.send_message(SystemMessage(code=1102, text="restored, data maintained"))
        await desk.until(lambda: desk.gateway.health().streams["orders"])
        await desk.until(lambda: any(n.kind is NoticeKind.CONNECTED for n in desk.notices[before:]))
        kinds = [each.kind for each in desk.notices[before:] if each.stream == "orders"]
        assert kinds.index(NoticeKind.DISCONNECTED) < kinds.index(NoticeKind.CONNECTED)
        assert words in {each.detail for each in of_kind(desk, NoticeKind.DISCONNECTED)}

    beside(IbkrBench, lost)


def test_a_client_id_that_is_still_taken_after_a_cut_is_told_and_comes_free():
    """erdewit/ib_insync#376: a quick reconnection was refused with 326, and said as a time-out."""

    async def taken(bench, desk):
        bench.server.protocol.restart(Restart(down_seconds=0.5))
        await desk.until(lambda: not desk.gateway.health().streams["orders"])
        await asyncio.sleep(0.6)
        reader, writer = None, None
        while not desk.gateway.health().streams["orders"] and writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.protocol.port)
        await desk.until(lambda: desk.gateway.health().streams["orders"])
        assert any("does not come up" in words for words in words_of(desk))
        if writer is not None:
            writer.close()
        del reader
        order = await desk.submit(bench.share, 1)
        await desk.over(order)

    beside(IbkrBench, taken)


def test_an_order_that_is_refused_by_200_is_over_and_the_desk_trades_on():
    """QuantConnect/Lean.Brokerages.InteractiveBrokers#25: a refusal by 200 ended the algorithm."""

    async def refused(bench, desk):
        bench.strike("reject")
        order = await desk.submit(bench.share, 1)
        text = "No security definition has been found for the request"
        bench.line.tell("4", "2", await own_id(bench), 200, text, "")
        await desk.over(order)
        bench.heal()
        another = await desk.submit(bench.share, 1)
        await desk.over(another)
        assert (order.state, another.state) == (OrderState.REJECTED, OrderState.FILLED)

    beside(lambda: IbkrBench(unchanged), refused)


def test_a_commission_without_its_execution_harms_nothing():
    """erdewit/ib_insync#170: a commission report came before, or without, its execution."""

    async def charged(bench, desk):
        bench.line.tell("59", "1", "0001f4e8.0000dead.01.01", "1.25", "USD", "0", "0", "0")
        order = await desk.submit(bench.share, 3)
        await desk.over(order)
        assert order.filled == 3
        assert desk.gateway.health().counters.get("internal_fault", 0) == 0
        desk.assert_adds_up()

    beside(lambda: IbkrBench(unchanged), charged)


def test_a_message_that_no_list_has_is_told_and_stops_nothing():
    """pst-group/pysystemtrade#902, QuantConnect/Lean#5229: unlisted codes passed unseen or ended the run."""

    async def unlisted(bench, desk):
        for code, text in ((506, "Unsupported version"), (2188, "a warning of next year"), (10_400, "news")):
            bench.server.protocol.send_message(SystemMessage(code=code, text=text))
        await desk.until(lambda: len(words_of(desk)) >= 3)
        assert words_of(desk) == ["506 Unsupported version", "2188 a warning of next year", "10400 news"]
        order = await desk.submit(bench.share, 1)
        await desk.over(order)

    beside(IbkrBench, unlisted)


class LimitedAlpaca(AlpacaBench):
    """Alpaca behind a line that answers some handshakes of websockets with HTTP 429."""

    refusals = 0

    async def start(self):
        await super().start()
        self.line = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.tasks = []

    async def stop(self):
        self.line.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await super().stop()

    def gateway(self):
        url = f"http://127.0.0.1:{self.line.sockets[0].getsockname()[1]}"
        return AlpacaGateway(
            endpoints=Endpoints.at(url),
            keys=ApiKeys(*self.keys()),
            instruments=self.book,
            clock=SystemClock(),
            options=GatewayOptions(options_level=3, timeout_seconds=20.0, most_clock_skew_seconds=60.0),
        )

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if self.refusals and b"upgrade: websocket" in head.lower():
            self.refusals -= 1
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        up_writer.write(head)
        self.tasks += [
            asyncio.create_task(carry(reader, up_writer)),
            asyncio.create_task(carry(up_reader, writer)),
        ]


async def carry(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()


def test_a_socket_that_is_answered_with_429_comes_back_after_pauses_that_grow():
    """alpacahq/alpaca-trade-api-csharp#518, Lean.Brokerages.Alpaca#37: hundreds of tries, each refused."""

    async def limited(bench, desk):
        before = desk.gateway.health().counters["reconnects"]
        bench.refusals = 5
        await bench.cut_order_stream(desk.gateway)
        await desk.until(lambda: bench.refusals == 0 and desk.gateway.health().streams["orders"])
        assert 5 <= desk.gateway.health().counters["reconnects"] - before <= 7
        assert any("429" in words for words in words_of(desk))
        order = await desk.submit(bench.share, 1)
        await desk.over(order)

    beside(LimitedAlpaca, limited)


def test_an_update_that_never_comes_is_asked_for():
    """alpacahq/Alpaca-API#74: an order that was taken did not appear on the stream of updates."""

    async def unseen(bench, desk):
        bench.server.world.faults.inject(Fault("stream_drop", times=20, match="/stream"))
        order = await resting(bench, desk)
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert order.state is OrderState.CANCELLED

    beside(AlpacaBench, unseen)


def test_five_cuts_subscribe_to_each_channel_once():
    """askmike/deribit-v2-ws#19: each reconnection doubled the subscriptions."""

    async def cut(bench, desk):
        asked, receive = [], bench.protocol.api.receive

        def noted(session, text):
            request = msgspec.json.decode(text)
            if request.get("method", "").endswith("/subscribe"):
                asked.append([name for name in request["params"]["channels"] if "ticker" in name])
            receive(session, text)

        bench.protocol.api.receive = noted
        await desk.gateway.subscribe([bench.share, bench.call])
        for _ in range(5):
            lost = len(of_kind(desk, NoticeKind.DISCONNECTED))
            await desk.gateway.reconnect("quotes")
            await desk.until(lambda lost=lost: len(of_kind(desk, NoticeKind.DISCONNECTED)) > lost)
            await desk.until(lambda: desk.gateway.health().streams["quotes"])
        assert len(asked) == 6
        assert all(len(names) == len(set(names)) == 2 for names in asked)

    beside(DeribitBench, cut)


def test_a_cancel_while_the_line_is_down_is_not_lost():
    """askmike/deribit-v2-ws#16: a cancel on a closed socket was an unhandled exception."""

    async def down(bench, desk):
        order = await resting(bench, desk)
        await bench.cut_order_stream(desk.gateway)
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.until(lambda: desk.gateway.health().streams["orders"])
        if order.is_live:
            desk.gateway.send(CancelOrder(order.client_order_id))
            await desk.resolved(order)
        assert not order.is_live
        fills = [each for each in desk.of(OrderFilled) if each.client_order_id == order.client_order_id]
        assert fills == []

    beside(DeribitBench, down)
