"""The gateway against the simulated exchange, over its own wire."""

import json
from datetime import date
from decimal import Decimal

import pytest
from msgspec import structs

from scalpdesk.config.schema import Secret
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import ENDED, ChangeCause
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
)
from scalpdesk.core.intents import ReplaceOrder, Stop, TimeInForce
from scalpdesk.core.units import SATOSHI
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.venues.contract import NoticeKind

D = Decimal
DAY = date(2025, 3, 5)


def test_the_accounts_margin_and_funds_reach_the_risk_gate(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, "-90000"))
        await bench.until(OrderFilled)
        view = await gateway.snapshot()
        limits, figures = view.limits(7), bench.world.ledger.figures(bench.account)
        assert (limits.ts_recv_ns, limits.may_trade, limits.may_short, limits.options_level) == (
            7, True, True, 4,
        )  # fmt: skip
        assert limits.shortable == (0,)
        assert abs(view.account.equity - figures.equity) < D("1e-9")
        collateral = figures.equity - figures.long_value - figures.short_value
        assert abs(limits.margin_fraction - figures.maintenance_margin / collateral) < D("0.000001")
        assert limits.margin_fraction > D("0.004")
        assert abs(limits.buying_power - figures.options_buying_power) < D("1e-9")

    on_bench(scenario)


def test_a_connection_that_breaks_takes_its_orders_off_and_the_desk_learns_it(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        resting = bench.order(0, 100, limit=round(float(bench.world.ledger.quotes[0].bid) * 0.97))
        gateway.send(resting)
        await bench.until(OrderAccepted)
        await gateway.reconnect("orders")
        await bench.until_notice("connected", 2)
        assert bench.of(OrderCancelled) == []
        assert await gateway.query_order(resting.client_order_id)
        await bench.until(OrderCancelled)
        assert gateway.health().counters["reconnects"] == 1
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)  # the account's channel stands again

    on_bench(scenario)


# combos -------------------------------------------------------------------------------------------------


def asked(bench, method):
    """Count what the exchange is asked with a method from here on."""
    true, texts = bench.server.protocol.api.receive, []

    def receive(session, text):
        if f'"{method}"' in text:
            texts.append(text)
        true(session, text)

    bench.server.protocol.api.receive = receive
    return texts


def test_a_straddle_is_bought_and_sold_as_one_combo(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        numbers, ledger = bench.straddle(gateway), bench.world.ledger
        made, bought, sold = (asked(bench, f"private/{verb}") for verb in ("create_combo", "buy", "sell"))
        names = [gateway._instruments[number].symbol for number in numbers]
        theirs = [ledger.quotes[ledger.instruments.id_of(name)] for name in names]
        paid = sum(D(str(quote.ask)) for quote in theirs)
        entry = bench.combo(numbers, "0.5", paid)
        gateway.send(entry)
        first = await bench.until(OrderFilled, 2)
        got = sum(D(str(quote.bid)) for quote in theirs)
        gateway.send(bench.combo(numbers, "-0.5", -got))
        fills = await bench.until(OrderFilled, 4)
        assert [fill.client_order_id for fill in first] == [leg.client_order_id for leg in entry.legs]
        assert sum(fill.price for fill in fills[:2]) == paid
        assert sum(fill.price for fill in fills[2:]) == got
        assert {fill.quantity for fill in fills} == {D("0.5")}
        assert [len(each) for each in (made, bought, sold)] == [1, 1, 1]
        executions = bench.account.executions
        assert [fill.execution_id for fill in fills] == [each.execution_id for each in executions]
        for fill, each in zip(fills, executions, strict=True):
            assert fill.price == each.price
            assert abs(fill.fee - each.fee) < D("1e-15")
        cash = 2 + (got - paid) / 2 - sum(fill.fee for fill in fills)
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        assert abs(view.account.cash - cash) < D("1e-9")
        assert view.positions == ()
        own = {event.venue_order_id for event in bench.of(OrderAccepted)}
        assert {fill.venue_order_id for fill in view.fills} == own
        assert len(bench.of(OrderFilled)) == 4

    on_bench(scenario)


def test_without_credits_an_order_is_rejected_by_name_and_the_connection_comes_again(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)
        credits_left = bench.server.protocol.api._credits[bench.account.name, True]
        credits_left.left, credits_left.a_second = 0.0, 0.0
        gateway.send(bench.order(0, 100))
        (rejected,) = await bench.until(OrderRejected)
        assert "too_many_requests (10028)" in rejected.reason
        (limited,) = await bench.until_notice("too_many_requests")
        assert limited.kind is NoticeKind.LIMITED
        await bench.until_notice("connected", 2)
        credits_left.left = 20.0
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled, 2)

    on_bench(scenario)


def test_a_burst_stays_within_the_credits_of_the_venue(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        for _ in range(30):
            gateway.send(bench.order(0, 10))
        await bench.until((OrderFilled, OrderNotFound, OrderRejected), 30)
        assert 15 <= len(bench.of(OrderFilled)) < 30
        assert not bench.of(OrderRejected)

    on_bench(scenario)


def test_a_snapshot_that_cannot_be_read_is_asked_for_again(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        true = bench.server.protocol.api.receive

        def receive(session, text):
            if '"private/get_positions"' in text:
                number = json.loads(text)["id"]
                session.send(
                    json.dumps(
                        {"jsonrpc": "2.0", "id": number, "result": [{"instrument_name": "X", "size": "much"}]}
                    )
                )
            else:
                true(session, text)

        bench.server.protocol.api.receive = receive
        with pytest.raises(RetryError, match="the venue's answer cannot be read") as refused:
            await gateway.snapshot()
        assert refused.value.where == "snapshot"
        assert refused.value.value == "size is no number: 'much'"
        bench.server.protocol.api.receive = true
        assert (await gateway.snapshot()).account.cash == D(2)

    on_bench(scenario)


def test_maintenance_refuses_by_name_and_ends(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        reply, _ = bench.server.admin.handle("POST", "maintenance", b'{"locked": true}')
        assert reply == 200
        assert (await gateway._orders.request("public/status", {}))["locked"] == "true"
        gateway.send(bench.order(0, 100))
        (rejected,) = await bench.until(OrderRejected)
        assert "system_maintenance (11051)" in rejected.reason
        await bench.until_notice("system_maintenance")
        with pytest.raises(RetryError, match="system_maintenance"):
            await gateway.snapshot()
        await gateway._orders.drop()  # a login during the maintenance is tried again until it stands
        await bench.until_notice("connection_lost")
        bench.server.protocol.api.lock(False)
        await bench.until_notice("connected", 2)
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)

    on_bench(scenario)


def test_the_venue_cancels_orders_when_their_connection_is_lost_and_not_when_that_of_the_quotes_is(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        await gateway.subscribe([0])
        await gateway._quotes.request("public/get_time", {})
        bid = round(bench.world.ledger.quotes[0].bid)
        gateway.send(bench.order(0, 100, limit=round(bid * 0.97)))
        await bench.until(OrderAccepted)
        sessions = bench.server.protocol.api._sessions
        assert sorted(each.cancels_on_disconnect for each in sessions) == [False, True]
        await gateway._quotes.drop()
        await bench.until_notice("connection_lost")
        (shown,) = (await gateway.snapshot()).open_orders
        assert shown.is_open

    on_bench(scenario)


def test_a_clock_that_follows_the_venue_stands_at_its_time_once_connected(on_bench):
    async def scenario(bench):
        clock = FollowingClock()
        await bench.gateway(clock=clock).connect()
        assert clock.now_ns() // 10**6 == bench.world.now_ns // 10**6

    on_bench(scenario)


def test_wrong_keys_are_refused_with_what_to_do(on_bench):
    async def scenario(bench):
        gateway = bench.gateway(keys=(Secret(bench.server.keyring.credentials[0].key), Secret("wrong")))
        with pytest.raises(ConfigError, match="invalid_credentials") as refused:
            await gateway.connect()
        assert "wrong" not in refused.value.render()
        assert "wrong" not in repr(gateway)

    on_bench(scenario)


def test_a_stop_waits_is_moved_and_fills_under_the_id_that_its_trigger_gave_it(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        mid = round(bench.world.ledger.quotes[0].mid)
        first, second = (
            structs.replace(bench.order(0, -100), order_type=Stop(D(mid - below))) for below in (5_000, 20)
        )
        gateway.send(first)
        (accepted,) = await bench.until(OrderAccepted)
        (shown,) = (await gateway.snapshot()).open_orders
        assert (shown.venue_order_id, shown.status, shown.is_open) == (
            accepted.venue_order_id,
            "untriggered",
            True,
        )
        gateway.send(ReplaceOrder(first.client_order_id, second))
        await bench.until(OrderAccepted, 2)
        for _ in range(600):
            bench.advance(60)
            if bench.account.holdings:
                break
        (filled,) = await bench.until(OrderFilled)
        assert (filled.client_order_id, filled.quantity) == (second.client_order_id, D(100))
        assert bench.account.quantity(0) == -100
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        await bench.round_trip(gateway)
        assert view.open_orders == ()
        assert bench.of(OrderFilled) == [filled]
        assert bench.notices("foreign_execution") == []

    on_bench(scenario)


def test_what_the_venue_cannot_take_is_refused_before_it_is_sent(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, 100, tif=TimeInForce.CLS))
        gateway.send(bench.order(0, 100, name="x" * 65))
        first, second = await bench.until(OrderRejected, 2)
        assert "cls" in first.reason
        assert "64" in second.reason
        assert not bench.account.orders
        assert not bench.of(CancelRejected)

    on_bench(scenario)


def test_a_day_of_funding_and_a_delivery_are_in_the_accounts_history(on_bench):
    """A change of the balance without a trade comes by its own id, and adds up to the broker's cash."""

    async def scenario(bench):
        gateway = await bench.connected()
        began_ns = bench.world.now_ns
        tomorrow = next(
            number
            for number, item in enumerate(gateway._instruments)
            if isinstance(item, OptionContract) and item.is_call and item.expiry == date(2025, 3, 6)
        )
        gateway.send(bench.order(tomorrow, "0.5"))
        gateway.send(bench.order(0, "-300"))
        fills = await bench.until(OrderFilled, 2)
        bench.advance(24 * 3_600)
        view = await gateway.snapshot(fills_since_ns=began_ns)
        causes = [activity.cause for activity in view.activities]
        assert causes.count(ChangeCause.FUNDING) == 10  # hours with a rate
        delivered = [each for each in view.activities if each.quantity_change]
        assert [(each.cause in ENDED, each.quantity_change) for each in delivered] == [(True, D("-0.5"))]
        traded = ((tomorrow, D("0.5")), (0, D(-300)))
        paid = sum(
            gateway._instruments[number].cash_flow(signed, fill.price) - fill.fee
            for fill, (number, signed) in zip(fills, traded, strict=True)
        )
        moved = sum(activity.cash_change for activity in view.activities)
        assert abs(D(2) + paid + moved - bench.account.cash) < SATOSHI
        assert abs(view.account.cash - bench.account.cash) < SATOSHI

    on_bench(scenario)
