"""What a look at an account at Deribit shows: all that has happened, and what the venue itself has closed."""

from decimal import Decimal

import pytest

from scalpdesk.base import ChangeCause, OrderType, Side
from scalpdesk.exchange import OrderRequest
from scalpdesk.orders.order import OrderState

D = Decimal


@pytest.mark.rows("seconds", [-6, -3_600, 6, 3_600])
def test_a_look_shows_all_that_has_happened_wherever_the_desks_clock_was_set(on_bench, seconds):
    async def scenario(bench):
        desk = await bench.connected()
        began_ns = bench.world.now_ns
        bench.clock.seconds = seconds
        account = bench.account
        bench.advance(1.0)
        bench.world.broker.submit(
            account.name, OrderRequest("BTC-PERPETUAL", Side.BUY, OrderType.MARKET, quantity=D(10))
        )
        bench.world.settle()
        account.cash += 1
        bench.world.ledger.note(account, "JNLC", "", D(0), D(0), D(1))
        view = await desk.gateway.snapshot(fills_since_ns=began_ns)
        assert [each.execution_id for each in view.fills] == [
            each.execution_id for each in account.executions
        ]
        moved = [each.cash_change for each in view.activities if each.cause is ChangeCause.TRANSFER]
        assert moved == [1]
        # what is sent after a look is neither over before it comes nor valid for long after
        order = await desk.submit(0, 100)
        await desk.over(order)
        assert order.state is OrderState.FILLED

    on_bench(scenario)


def test_an_order_by_which_the_venue_liquidates_is_shown_as_one_and_so_are_its_executions(on_bench):
    async def scenario(bench):
        desk = await bench.connected()
        began_ns = bench.world.now_ns
        broker, name = bench.world.broker, bench.account.name
        away = (bench.world.ledger.mark(0) * D("0.97")).quantize(D("0.5"))
        waits = OrderRequest("BTC-PERPETUAL", Side.BUY, OrderType.LIMIT, quantity=D(20), limit_price=away)
        trades = OrderRequest("BTC-PERPETUAL", Side.BUY, OrderType.MARKET, quantity=D(10))
        for send in (broker.force, broker.submit):
            send(name, waits)
            send(name, trades)
        bench.world.settle()
        view = await desk.gateway.snapshot(fills_since_ns=began_ns)
        assert [each.is_liquidation for each in view.open_orders] == [True, False]
        assert [each.is_liquidation for each in view.fills] == [True, False]

    on_bench(scenario)
