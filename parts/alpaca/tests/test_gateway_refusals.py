"""Refusals of the Alpaca gateway before anything is sent, and its recovery on a bad line."""

import asyncio

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import OrderEvent, QuoteEvent, TradingHalt
from scalpdesk.simulation.faults import Fault
from scalpdesk.venue_conformance import PATIENCE_SECONDS, Listener, connected
from scalpdesk.venues.budget import loop_ns
from scalpdesk.venues.contract import LiveToken, NoticeKind
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.transport import LIVE_HOST, ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.kit.served import PATIENT, AlpacaBench

TOKEN = LiveToken("account-1", "hash", 1, "a person")
CANARY = "canary-secret-91c4"


def with_bench(scenario):
    async def run():
        bench = AlpacaBench()
        await bench.start()
        try:
            await asyncio.wait_for(scenario(bench), 2.0 * PATIENCE_SECONDS)
        finally:
            await bench.stop()

    asyncio.run(run())


def other_gateway(bench, *, key=None, secret=None, clock=None, **options):
    ours = bench.server.keyring.credentials[0]
    return AlpacaGateway(
        endpoints=Endpoints.at(bench.server.url),
        keys=ApiKeys(Key(ours.key if key is None else key), Key(ours.secret if secret is None else secret)),
        instruments=bench.book,
        clock=clock or SystemClock(),
        options=GatewayOptions(requests_per_minute=60_000, **PATIENT | options),
    )


# refused at the start ---------------------------------------------------------------------------


def test_the_live_host_asks_for_a_token():
    with pytest.raises(ConfigError, match="armed"):
        Endpoints.at(f"https://{LIVE_HOST}")
    assert Endpoints.live(TOKEN).is_live
    assert not Endpoints.paper().is_live


@pytest.mark.parametrize("host", [LIVE_HOST.upper(), f"{LIVE_HOST}.", f"{LIVE_HOST}:443"])
def test_no_spelling_of_the_live_host_gets_past(host):
    with pytest.raises(ConfigError, match="armed"):
        Endpoints.at(f"https://{host}")


def test_keys_go_over_an_open_line_on_this_machine_only():
    with pytest.raises(ConfigError, match="open line"):
        Endpoints.at("http://paper-api.alpaca.markets")
    assert Endpoints.at("http://127.0.0.1:1").orders_url == "ws://127.0.0.1:1/stream"


def test_a_key_of_the_other_environment_is_refused_and_not_shown():
    with pytest.raises(ConfigError, match="live key with paper settings; nothing was sent") as paper:
        Endpoints.paper().check_key(f"AK{CANARY}")
    with pytest.raises(ConfigError, match="paper key with --live; nothing was sent") as live:
        Endpoints.live(TOKEN).check_key(f"PK{CANARY}")
    assert CANARY not in f"{paper.value}{live.value}"
    Endpoints.paper().check_key("PK1")
    Endpoints.live(TOKEN).check_key("AK1")


def test_wrong_keys_say_what_to_do_and_show_no_key(socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench, key=f"PK{CANARY}", secret=CANARY)
        with pytest.raises(ConfigError, match="does not accept the keys") as caught:
            await gateway.connect()
        assert CANARY not in str(caught.value)
        assert CANARY not in repr(gateway)
        assert caught.value.fix
        assert bench.server.admin.orders() == []

    with_bench(scenario)


# a bad line -------------------------------------------------------------------------------------


def test_an_order_stream_that_fails_in_the_middle_of_a_fill_loses_nothing(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        for fault in ("stream_disconnect", "stream_truncated"):
            bench.server.world.faults.inject(Fault(fault, fraction=0.4, times=2))
            order = await desk.submit(bench.share, 10)
            await desk.until(lambda order=order: order.venue_order_id != "")
            bench.heal()
            await desk.resolved(order)
            await desk.over(order)
            desk.assert_adds_up()
        await desk.close()

    with_bench(scenario)


def test_a_half_open_order_stream_is_noticed_and_replaced(socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench, heartbeat_seconds=30.0)
        await gateway.connect()
        desk = Listener(bench, gateway)
        # the connection stands, and nothing comes over it any more: no frame, no pong
        socket = gateway._stream._socket
        socket._conn.transport.pause_reading()
        assert (socket._heartbeat, socket._pong_heartbeat) == (30.0, 15.0)
        socket._pong_heartbeat = 0.01
        socket._heartbeat_when = 0.0  # half a minute later
        socket._send_heartbeat()
        await desk.until(lambda: any(one.kind is NoticeKind.DISCONNECTED for one in desk.notices))
        await desk.until(lambda: sum(one.asks_for_reconciliation for one in desk.notices) >= 2)
        assert gateway.health().counters["reconnects"] >= 1
        order = await desk.submit(bench.share, 3)
        await desk.over(order)
        desk.assert_adds_up()
        await desk.close()

    with_bench(scenario)


def test_a_data_stream_that_breaks_comes_back_with_its_subscriptions(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share, bench.call])
        await desk.until(lambda: len(desk.of(QuoteEvent)) > 3)
        bench.server.protocol.hub.close_all()
        await desk.until(
            lambda: (
                sum(one.kind is NoticeKind.CONNECTED and one.stream != "orders" for one in desk.notices) >= 4
            )
        )
        seen = len(desk.of(QuoteEvent))

        def fresh():
            return {one.instrument_id for one in desk.of(QuoteEvent)[seen:]}

        await desk.until(lambda: fresh() == {bench.share, bench.call})
        await desk.close()

    with_bench(scenario)


def test_spoilt_quotes_never_end_the_stream(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share])
        faults = bench.server.world.faults
        for fault in ("nan", "negative", "wrong_symbol", "crossed", "one_sided", "duplicate"):
            faults.inject(Fault(fault, times=3))
            await desk.until(lambda fault=fault: faults.hits[fault] >= 3)
            seen = len(desk.of(QuoteEvent))
            await desk.until(lambda seen=seen: len(desk.of(QuoteEvent)) > seen + 2)
        assert not any(one.kind is NoticeKind.DISCONNECTED for one in desk.notices)
        await desk.close()

    with_bench(scenario)


def test_no_answer_of_any_kind_is_a_rejection(socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench, absent_after_seconds=0.3)
        await gateway.connect()
        desk = Listener(bench, gateway)
        gateway._order_client._timeout_seconds = 0.5
        for fault in ("truncated_answer", "half_open", "slow_answer"):
            bench.server.world.faults.inject(Fault(fault, match="POST /v2/orders", seconds=1.0))
            seen = len(desk.of(OrderEvent))
            order = await desk.submit(bench.share, 4)
            await desk.until(lambda seen=seen: len(desk.of(OrderEvent)) > seen)
            await desk.resolved(order)
            await desk.over(order)
            desk.assert_adds_up()
            assert order.filled in (0, 4)
        await desk.close()

    with_bench(scenario)


def test_a_halt_is_told(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share])
        bench.server.world.halt(bench.server.world.ledger.instruments.id_of("SPY"), seconds=0.2)
        await desk.until(lambda: len(desk.of(TradingHalt)) == 2)
        assert [one.is_halted for one in desk.of(TradingHalt)] == [True, False]
        await desk.close()

    with_bench(scenario)


def test_a_busted_execution_is_taken_back(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        order = await desk.submit(bench.share, 4)
        await desk.over(order)
        bench.server.admin.handle("POST", "bust", b"{}")
        await desk.until(lambda: order.filled == 0)
        assert bench.truth().positions == {}
        await desk.close()

    with_bench(scenario)


# what a life before left behind ----------------------------------------------------------------------


# the data host ----------------------------------------------------------------------------------------


def test_the_data_host_has_a_budget_of_its_own_and_its_headers_correct_it(socket_enabled):
    async def scenario(bench):
        bench.server.protocol.api._data.per_minute = 12
        gateway = other_gateway(bench, data_requests_per_minute=500)
        await gateway.connect()
        trading = gateway.health().requests_left
        for _ in range(4):
            assert await gateway.quotes([bench.share])
        assert gateway._queries._data.budget.per_minute == 12
        assert gateway._queries._data.budget.left(loop_ns()) <= 9
        assert gateway.health().requests_left >= trading
        await gateway.close()

    with_bench(scenario)
