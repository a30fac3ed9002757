"""Refusals of the Alpaca gateway before anything is sent, and its recovery on a bad line."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.events import OrderEvent, OrderFilled, OrderNotFound, QuoteEvent, TradingHalt
from scalpdesk.core.intents import OrderType, Purpose, ReplaceOrder, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.orders.order import OrderState
from scalpdesk.simulation.faults import Fault
from scalpdesk.venue_conformance import PATIENCE_SECONDS, Listener, connected
from scalpdesk.venues.budget import loop_ns
from scalpdesk.venues.contract import KnownOrder, LiveToken, NoticeKind
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.transport import LIVE_HOST, ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.kit.clock import ManualClock
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


def test_a_wrong_clock_is_said_and_nothing_is_sent(socket_enabled):
    async def scenario(bench):
        off = ManualClock(SystemClock().now_ns() - 3_600 * NANOS_PER_SECOND)
        with pytest.raises(ConfigError, match="clock is off"):
            await other_gateway(bench, clock=off).connect()

    with_bench(scenario)


def test_a_venue_with_a_time_of_its_own_is_followed(socket_enabled):
    async def scenario(bench):
        clock = FollowingClock()
        gateway = other_gateway(bench, clock=clock)
        await gateway.connect()
        assert abs(clock.now_ns() - SystemClock().now_ns()) < 60 * NANOS_PER_SECOND
        await gateway.close()

    with_bench(scenario)


def test_no_options_permission_is_said(socket_enabled):
    async def scenario(bench):
        (account,) = bench.server.world.ledger.accounts.values()
        account.options_level = 1
        with pytest.raises(ConfigError, match="no permission for the options"):
            await other_gateway(bench, options_level=2).connect()

    with_bench(scenario)


def test_a_blocked_account_is_said(socket_enabled):
    async def scenario(bench):
        (account,) = bench.server.world.ledger.accounts.values()
        account.trading_blocked = True
        with pytest.raises(ConfigError, match="may not trade"):
            await other_gateway(bench).connect()

    with_bench(scenario)


def test_a_token_for_another_account_stops_the_desk(socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench)
        at = Endpoints.at(bench.server.url)
        gateway._checks._endpoints = Endpoints(
            at.trading_url, at.data_url, at.orders_url, at.stocks_url, at.options_url, live_token=TOKEN
        )
        with pytest.raises(StopError, match="armed for another account; nothing was sent"):
            await gateway.connect()

    with_bench(scenario)


def test_an_unreachable_venue_says_so(socket_enabled):
    async def scenario():
        bench = AlpacaBench()
        await bench.start()
        await bench.stop()
        with pytest.raises(RetryError, match="cannot be reached; nothing was sent") as caught:
            await other_gateway(bench).connect()
        assert caught.value.fix.startswith("start scalpdesk exchange, or give the address")

    asyncio.run(scenario())


# a bad line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["stream_disconnect", "stream_truncated", "stream_duplicate", "stream_reorder"]
)
def test_an_order_stream_that_fails_in_the_middle_of_a_fill_loses_nothing(fault, socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        bench.server.world.faults.inject(Fault(fault, fraction=0.4, times=2))
        order = await desk.submit(bench.share, 10)
        await desk.until(lambda: order.venue_order_id != "")
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


def test_a_replacement_that_comes_too_late_learns_how_the_order_ended(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        bench.server.world.faults.inject(Fault("stream_half_open"))  # the desk does not hear of the fill
        old = await desk.submit(bench.share, 5)
        await desk.until(lambda: bench.truth().fills)
        new = desk.new_order(bench.share, 8, limit=bench.far_below(bench.share))
        desk.gateway.send(ReplaceOrder(old.client_order_id, new.submitted))
        await desk.over(new, old)
        assert (new.state, old.state) == (OrderState.REJECTED, OrderState.FILLED)
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


@pytest.mark.parametrize("fault", ["nan", "negative", "wrong_symbol", "crossed", "one_sided", "duplicate"])
def test_spoilt_quotes_never_end_the_stream(fault, socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share])
        await desk.until(lambda: len(desk.of(QuoteEvent)) > 1)
        bench.server.world.faults.inject(Fault(fault, times=3))
        await desk.until(lambda: bench.server.world.faults.hits[fault] >= 3)
        seen = len(desk.of(QuoteEvent))
        await desk.until(lambda: len(desk.of(QuoteEvent)) > seen + 2)
        assert not any(one.kind is NoticeKind.DISCONNECTED for one in desk.notices)
        await desk.close()

    with_bench(scenario)


@pytest.mark.parametrize(
    "fault", ["unavailable", "gateway_timeout", "maintenance", "truncated_answer", "half_open", "slow_answer"]
)
def test_no_answer_of_any_kind_is_a_rejection(fault, socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench, absent_after_seconds=0.3)
        await gateway.connect()
        desk = Listener(bench, gateway)
        gateway._order_client._timeout_seconds = 0.5
        bench.server.world.faults.inject(Fault(fault, match="POST /v2/orders", seconds=1.0))
        order = await desk.submit(bench.share, 4)
        await desk.until(lambda: bool(desk.of(OrderEvent)))
        await desk.resolved(order)
        await desk.over(order)
        desk.assert_adds_up()
        assert sum(one.quantity for one in desk.of(OrderFilled)) in (Decimal(0), Decimal(4))
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


def test_a_corrected_execution_takes_the_place_of_the_first(socket_enabled):
    async def scenario(bench):
        desk = await connected(bench)
        order = await desk.submit(bench.share, 4)
        await desk.over(order)
        (account,) = bench.server.world.ledger.accounts.values()
        (execution,) = account.executions
        right = execution.price - Decimal("0.50")
        assert bench.server.world.broker.staged.correct(execution, right)
        bench.server.world.flush()
        await desk.until(lambda: order.average_price == right)
        assert order.filled == Decimal(4)
        assert [(one[1], one[2]) for one in bench.truth().fills] == [(Decimal(4), right)]
        await desk.close()

    with_bench(scenario)


# what a life before left behind ----------------------------------------------------------------------


def never_sent(bench, sent_ns):
    order = SubmitOrder(
        f"old-{sent_ns}",
        bench.share,
        Side.BUY,
        Decimal(1),
        OrderType.MARKET,
        None,
        TimeInForce.DAY,
        Purpose.HEDGE,
    )
    return KnownOrder(order, sent_ns=sent_ns)


def test_absence_is_proof_only_after_the_horizon_counted_from_the_request(socket_enabled):
    async def scenario(bench):
        now_ns = SystemClock().now_ns()
        hours_ago, unknown = now_ns - 7_200 * NANOS_PER_SECOND, 0
        fresh, long_ago, some_time = (never_sent(bench, one) for one in (now_ns, hours_ago, unknown))
        gateway = other_gateway(bench, absent_after_seconds=3_600.0)
        await gateway.connect([fresh, long_ago, some_time])
        assert await gateway.query_order(long_ago.submitted.client_order_id)
        for one in (fresh, some_time):
            name = one.submitted.client_order_id
            for _half_an_hour in range(2):
                assert not await gateway.query_order(name)
                gateway._reports.tracker.orders[name].answered_ns -= 1_800 * NANOS_PER_SECOND
            assert await gateway.query_order(name)
        await gateway.close()
        absent = [one.client_order_id async for one in gateway.events() if isinstance(one, OrderNotFound)]
        assert absent == [one.submitted.client_order_id for one in (long_ago, fresh, some_time)]

    with_bench(scenario)


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


def test_a_stream_that_is_renewed_says_why_and_brings_quotes_again(socket_enabled):
    async def scenario(bench):
        gateway = other_gateway(bench)
        await gateway.connect()
        await gateway.subscribe([bench.share])
        await gateway.reconnect("stocks")
        said = []
        async for item in gateway.events():
            if getattr(item, "stream", "") == "stocks":
                said.append((item.kind, item.name))
            if isinstance(item, QuoteEvent) and len(said) == 3:
                break
        assert said == [
            (NoticeKind.CONNECTED, "connected"),
            (NoticeKind.DISCONNECTED, "silent"),
            (NoticeKind.CONNECTED, "connected"),
        ]
        await gateway.reconnect("orders")  # not a data stream: left as it is
        assert gateway.health().counters["reconnects"] == 1
        await gateway.close()

    with_bench(scenario)
