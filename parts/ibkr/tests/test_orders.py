"""Orders at TWS: codes by name, commissions and corrections behind their fills."""

from decimal import Decimal

import pytest

from scalpdesk.core.events import (
    FillBusted,
    OrderFilled,
)
from scalpdesk.core.intents import (
    Purpose,
    Side,
)
from scalpdesk.orders.order import OrderState
from scalpdesk.simulation.faults import Fault
from scalpdesk.venues.contract import NoticeKind
from scalpdesk_testing.kit.served import with_desk

pytestmark = pytest.mark.usefixtures("socket_enabled", "asked_soon")
D = Decimal


def test_a_rejection_and_a_cancel_carry_their_codes():
    async def ended(bench, desk):
        bench.server.world.faults.inject(Fault("reject", reason="insufficient_buying_power"))
        order = await desk.submit(bench.share, 5)
        await desk.over(order)
        assert order.reason.startswith("201 order_rejected")
        assert desk.gateway.health().counters["order_rejected"] == 1
        dear = await desk.submit(bench.share, 5, limit=D("450.003"))
        await desk.over(dear)
        assert dear.state is OrderState.REJECTED
        assert dear.reason.startswith("110 price_off_tick")
        stays = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
        await desk.until(lambda: stays.state is OrderState.WORKING)
        assert await desk.gateway.cancel_at_venue(stays.venue_order_id)
        await desk.over(stays)
        assert (stays.state, desk.gateway.health().counters["order_cancelled"]) == (OrderState.CANCELLED, 1)
        filled = await desk.submit(bench.share, 1)
        await desk.over(filled)
        ids = (stays.client_order_id, filled.client_order_id, "desk-000099")
        assert [await desk.gateway.is_taken(each) for each in ids] == [True, True, False]

    with_desk(ended)


def test_a_corrected_execution_takes_the_place_of_the_one_before_it():
    async def corrected(bench, desk):
        bench.server.world.faults.inject(Fault("correct", seconds=0.05))
        order = await desk.submit(bench.share, 10)
        await desk.until(lambda: bool(desk.of(FillBusted)))
        await desk.until(lambda: len(desk.of(OrderFilled)) == 2)
        first, second = desk.of(OrderFilled)
        assert first.execution_id.rpartition(".")[0] == second.execution_id.rpartition(".")[0]
        assert (desk.of(FillBusted)[0].execution_id, second.quantity) == (first.execution_id, 10)
        assert (order.filled, order.average_price) == (10, second.price)
        view = await desk.gateway.snapshot(fills_since_ns=0)
        assert [(each.execution_id, each.price) for each in view.fills] == [
            (second.execution_id, second.price)
        ]
        assert view.account.cash == bench.truth().cash

    with_desk(corrected)


def test_a_position_that_the_broker_moves_asks_for_reconciliation():
    async def moved(bench, desk):
        order = await desk.submit(bench.call, 2, purpose=Purpose.OPEN)
        await desk.over(order)
        bench.server.world.strike_market_fault(Fault("auto_liquidation", match=bench.book[bench.call].symbol))
        await desk.until(lambda: any(each.name == "position_from_elsewhere" for each in desk.notices))
        (notice,) = [each for each in desk.notices if each.name == "position_from_elsewhere"]
        assert notice.kind is NoticeKind.GAP
        view = await desk.gateway.snapshot(fills_since_ns=0)
        assert (len(view.fills), view.positions) == (2, ())
        assert view.fills[1].side is Side.SELL
        assert [each.is_liquidation for each in view.fills] == [False, True]
        (account,) = bench.server.world.ledger.accounts.values()
        charged = [each.fee for each in account.executions]
        for _ in range(2):  # the library gives the commission with the first answer alone
            view = await desk.gateway.snapshot(fills_since_ns=0)
            assert [each.fee for each in view.fills] == charged
        assert charged[1] > 0

    with_desk(moved)


def test_a_trade_by_hand_is_not_the_brokers_liquidation():
    async def traded(bench, desk):
        order = await desk.submit(bench.share, 2)
        await desk.over(order)
        (name,) = bench.server.world.ledger.accounts
        bench.server.world.broker.close_position(name, bench.server.world.ledger.instruments.id_of("SPY"))
        bench.server.world.settle()
        await desk.until(lambda: any(each.name == "position_from_elsewhere" for each in desk.notices))
        view = await desk.gateway.snapshot(fills_since_ns=0)
        assert [(each.side, each.is_liquidation) for each in view.fills] == [
            (Side.BUY, False),
            (Side.SELL, False),
        ]

    with_desk(traded)
