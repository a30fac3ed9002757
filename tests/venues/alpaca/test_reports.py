"""What the gateway makes of messages on the order stream, handed in without a line."""

import asyncio
from decimal import Decimal

import pytest

from fakes import alpaca_wire as samples
from fakes.clock import ManualClock
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderFilled,
    OrderNotFound,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments, us_option
from scalpdesk.venues.alpaca.gateway import AlpacaGateway
from scalpdesk.venues.alpaca.stream import loop_ns
from scalpdesk.venues.alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk.venues.budget import Urgency
from scalpdesk.venues.contract import KnownOrder, Notice, NoticeKind

BOOK = Instruments([Equity(samples.STOCK), us_option(samples.OPTION), us_option(samples.PUT)])


class Key:
    def reveal(self):
        return "k"


def order(name="sd-1", number=0, quantity=10, purpose=Purpose.HEDGE):
    return SubmitOrder(
        name,
        InstrumentId(number),
        Side.BUY,
        Decimal(quantity),
        OrderType.MARKET,
        None,
        TimeInForce.DAY,
        purpose,
    )


def said_of(*messages, known=(), before=None):
    """Return all that the gateway says after messages on its order stream."""

    async def scenario():
        clock = ManualClock(samples.AT_NS + 1)
        gateway = AlpacaGateway(
            endpoints=Endpoints.at("http://127.0.0.1:9"),
            keys=ApiKeys(Key(), Key()),
            instruments=BOOK,
            clock=clock,
            options=GatewayOptions(requests_per_minute=10),
        )
        gateway._reports.restore(known)
        if before is not None:
            before(gateway)
        for message in messages:
            gateway._stream._handler.on_frame(samples.as_json(message))
        await gateway.close(graceful=False)
        return [item async for item in gateway.events()]

    return asyncio.run(scenario())


def names(said):
    return [one.name for one in said if isinstance(one, Notice)]


def test_an_order_from_elsewhere_is_put_aside_by_name():
    said = said_of(samples.fill_update())
    assert names(said) == ["unknown_order"]
    assert len(said) == 1


def test_a_message_under_our_name_about_another_symbol_is_a_contradiction():
    body = samples.order(symbol="AMD")
    said = said_of(samples.update("new", body), known=[KnownOrder(order())])
    assert names(said) == ["contradictory_order", "contradictory_order"]
    assert [one.kind for one in said] == [NoticeKind.REFUSED, NoticeKind.GAP]


def test_an_execution_that_was_missed_is_a_gap():
    said = said_of(samples.fill_update("4", "7"), known=[KnownOrder(order())])
    assert [type(one) for one in said[:2]] == [OrderAccepted, OrderFilled]
    assert names(said) == ["missing_execution"]
    assert said[-1].asks_for_reconciliation


def test_an_execution_larger_than_the_whole_is_refused():
    said = said_of(samples.fill_update("7", "4"), known=[KnownOrder(order())])
    assert names(said) == ["contradictory_fill"]


def test_the_same_execution_twice_is_booked_once():
    said = said_of(samples.fill_update(), samples.fill_update(), known=[KnownOrder(order())])
    assert sum(isinstance(one, OrderFilled) for one in said) == 1


def test_a_refused_cancel_is_told():
    message = samples.update("order_cancel_rejected", reason="too late")
    (said,) = said_of(message, known=[KnownOrder(order(), venue_order_id=samples.ORDER_ID)])
    assert isinstance(said, CancelRejected)
    assert said.reason == "too late"


def test_a_correction_of_an_execution_from_before_is_a_gap():
    message = samples.fill_update(previous_execution_id="older")
    message["data"]["event"] = "trade_correct"
    said = said_of(message, known=[KnownOrder(order())])
    assert names(said) == ["unknown_execution", "unknown_execution"]


def test_a_leg_whose_message_overtakes_the_answer_is_recognised():
    legs = (order("c", 1, 2, Purpose.OPEN), order("p", 2, 2, Purpose.OPEN))
    known = [KnownOrder(leg, parent_id="m") for leg in legs]
    body = samples.order(
        id="leg-1", client_order_id="venue-made", symbol=samples.PUT, qty="2", filled_qty="2",
        filled_avg_price="8.1", status="filled",
    )  # fmt: skip
    said = said_of(samples.update("fill", body, execution_id="x", qty="2", price="8.1"), known=known)
    assert [(one.client_order_id, one.quantity) for one in said if isinstance(one, OrderFilled)] == [
        ("p", Decimal(2))
    ]


def test_a_message_about_the_whole_is_spread_over_its_legs():
    legs = (order("c", 1, 2, Purpose.OPEN), order("p", 2, 2, Purpose.OPEN))
    known = [KnownOrder(leg, parent_id="m") for leg in legs]
    parts = [
        samples.order(
            id=f"leg-{symbol}", client_order_id=f"v-{symbol}", symbol=symbol, qty="2", filled_qty="2",
            filled_avg_price=price, status="filled",
        )
        for symbol, price in ((samples.OPTION, "7.3"), (samples.PUT, "8.1"))
    ]  # fmt: skip
    whole = samples.order(
        client_order_id="m", symbol="", side=None, order_class="mleg", qty="2", filled_qty="2",
        filled_avg_price="15.4", status="filled", legs=parts,
    )  # fmt: skip
    said = said_of(samples.update("fill", whole), samples.update("fill", whole), known=known)
    fills = [(one.client_order_id, one.price) for one in said if isinstance(one, OrderFilled)]
    assert fills == [("c", Decimal("7.3")), ("p", Decimal("8.1"))]


def test_an_order_that_the_budget_holds_back_was_never_at_the_venue():
    def use_up(gateway):
        gateway._orders.is_open = True
        while gateway._budget.take(Urgency.OPEN, loop_ns()):
            pass
        gateway._orders.send(order("late", purpose=Purpose.OPEN))

    said = said_of(before=use_up)
    assert names(said) == ["budget"]
    assert [type(one) for one in said[1:]] == [OrderStatusUnknown, OrderNotFound]


@pytest.mark.parametrize("quantity", [Decimal("1.5"), Decimal(0)])
def test_an_order_that_no_venue_takes_never_leaves(quantity):
    def send(gateway):
        gateway._orders.is_open = True
        command = SubmitOrder(
            "odd", InstrumentId(1), Side.BUY, quantity, OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
        )
        gateway._orders.send(command)
        gateway._orders.send(MultiLegOrder("m", (order("leg", 1),), None))

    said = said_of(before=send)
    assert [type(one) for one in said] == [OrderStatusUnknown, OrderNotFound] * 2
