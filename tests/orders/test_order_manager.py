from decimal import Decimal

import pytest

from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import CancelOrder, OrderIntent, OrderType, Purpose, Side, TimeInForce
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.order_manager import OrderManager

D = Decimal
S = OrderState
ID = "run-000001"


@pytest.fixture
def manager():
    manager = OrderManager("run")
    manager.submit(OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, ""), 5)
    return manager


def filled(name="x1", quantity=4, price=10):
    return OrderFilled(ID, 1, 1, name, D(quantity), D(price), D(0))


ACCEPTED = OrderAccepted(ID, 1, 1, "v-9")
REJECTED = OrderRejected(ID, 1, 1, "no money")
CANCELLED = OrderCancelled(ID, 1, 1, "asked")
EXPIRED = OrderExpired(ID, 1, 1)
DOUBTED = OrderStatusUnknown(ID, 1, 1, "time-out")
ABSENT = OrderNotFound(ID, 1, 1)
NOT_CANCELLED = CancelRejected(ID, 1, 1, "too late")


def test_an_intent_becomes_a_command_with_a_counted_id(manager):
    intent = OrderIntent(3, Side.SELL, D(2), Purpose.CLOSE, "", OrderType.LIMIT, D("1.25"), TimeInForce.IOC)
    command = manager.submit(intent, 7)
    assert command.client_order_id == "run-000002"
    assert (command.instrument_id, command.side, command.quantity) == (3, Side.SELL, D(2))
    assert (command.order_type, command.limit_price) == (OrderType.LIMIT, D("1.25"))
    assert (command.time_in_force, command.purpose) == (TimeInForce.IOC, Purpose.CLOSE)
    assert manager.order("run-000002").created_ns == 7
    assert manager.live_ids() == (ID, "run-000002")


def test_the_ids_of_a_replay_are_the_same(manager):
    again = OrderManager("run")
    assert again.submit(OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, ""), 99).client_order_id == ID


@pytest.mark.parametrize(
    ("events", "state", "count"),
    [
        ([ACCEPTED], S.WORKING, 0),
        ([ACCEPTED, filled()], S.PARTIALLY_FILLED, 4),
        ([filled(), ACCEPTED], S.PARTIALLY_FILLED, 4),
        ([ACCEPTED, filled(), ACCEPTED], S.PARTIALLY_FILLED, 4),
        ([ACCEPTED, filled("x1", 10)], S.FILLED, 10),
        ([filled("x1", 10), ACCEPTED], S.FILLED, 10),
        ([REJECTED], S.REJECTED, 0),
        ([filled(), REJECTED], S.CANCELLED, 4),
        ([REJECTED, filled()], S.CANCELLED, 4),
        ([ACCEPTED, CANCELLED], S.CANCELLED, 0),
        ([ACCEPTED, CANCELLED, filled()], S.CANCELLED, 4),
        ([ACCEPTED, CANCELLED, filled("x1", 10)], S.FILLED, 10),
        ([ACCEPTED, CANCELLED, REJECTED, EXPIRED, DOUBTED, ABSENT, NOT_CANCELLED], S.CANCELLED, 0),
        ([EXPIRED], S.EXPIRED, 0),
        ([EXPIRED, ACCEPTED, CANCELLED], S.EXPIRED, 0),
        ([DOUBTED], S.UNKNOWN, 0),
        ([DOUBTED, ACCEPTED], S.WORKING, 0),
        ([filled(), DOUBTED, ACCEPTED], S.PARTIALLY_FILLED, 4),
        ([DOUBTED, filled()], S.PARTIALLY_FILLED, 4),
        ([DOUBTED, ABSENT], S.REJECTED, 0),
        ([filled(), DOUBTED, ABSENT], S.CANCELLED, 4),
        ([ACCEPTED, ABSENT], S.WORKING, 0),
        ([ACCEPTED, NOT_CANCELLED], S.WORKING, 0),
        ([ACCEPTED, FillBusted(ID, 1, 1, "x1", "error")], S.WORKING, 0),
        ([filled("x1", 10), FillBusted(ID, 1, 1, "x1", "error")], S.CANCELLED, 0),
        ([filled(), FillBusted(ID, 1, 1, "x1", "error"), REJECTED], S.CANCELLED, 0),
        ([filled(), FillBusted(ID, 1, 1, "x1", "error"), DOUBTED, ABSENT], S.CANCELLED, 0),
    ],
)
def test_words_of_the_venue_lead_to_a_state(manager, events, state, count):
    for event in events:
        order = manager.apply(event)
    assert (order.state, order.filled) == (state, count)
    assert (ID in manager.live) is order.is_live
    assert manager.pending(0) == order.signed_leaves


@pytest.mark.parametrize(
    "event", [ACCEPTED, filled(), CANCELLED, DOUBTED, REJECTED, EXPIRED, filled("x1", 10)]
)
def test_a_word_said_twice_is_a_word_said_once(manager, event):
    first = manager.apply(event)
    state, count, executions = first.state, first.filled, dict(first.executions)
    manager.apply(event)
    assert (first.state, first.filled, first.executions) == (state, count, executions)


def test_the_venues_id_and_reasons_are_kept(manager):
    assert manager.apply(ACCEPTED).venue_order_id == "v-9"
    assert manager.apply(OrderAccepted(ID, 2, 2, "other")).venue_order_id == "v-9"
    assert manager.apply(CANCELLED).reason == "asked"
    other = OrderManager("run")
    other.submit(OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, ""), 5)
    assert other.apply(REJECTED).reason == "no money"


def test_a_cancel_is_asked_for_once_while_it_is_pending(manager):
    manager.apply(ACCEPTED)
    assert manager.cancel(ID) == CancelOrder(ID)
    assert manager.order(ID).state is S.PENDING_CANCEL
    assert manager.cancel(ID) is None
    assert manager.pending(0) == 10  # it may still fill
    manager.apply(CANCELLED)
    assert manager.cancel(ID) is None
    assert manager.cancel("never-sent") is None


@pytest.mark.parametrize(
    ("before", "between", "state"),
    [
        ([], [], S.PENDING_NEW),
        ([], [ACCEPTED], S.WORKING),
        ([ACCEPTED], [], S.WORKING),
        ([ACCEPTED], [filled()], S.PARTIALLY_FILLED),
        ([ACCEPTED, filled()], [], S.PARTIALLY_FILLED),
        ([], [filled()], S.PARTIALLY_FILLED),
        ([filled()], [ACCEPTED], S.PARTIALLY_FILLED),
    ],
)
def test_a_refused_cancel_returns_the_order_to_where_it_stands(manager, before, between, state):
    for event in before:
        manager.apply(event)
    manager.cancel(ID)
    for event in (*between, NOT_CANCELLED):
        order = manager.apply(event)
    assert order.state is state
    assert manager.cancel(ID) == CancelOrder(ID)


def test_after_each_refused_cancel_the_order_is_left_alone_twice_as_long_up_to_a_minute(manager):
    manager.apply(ACCEPTED)
    now_ns = 0
    for pause_seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        assert manager.may_cancel(ID, now_ns)
        manager.cancel(ID)
        manager.apply(CancelRejected(ID, now_ns, now_ns, "too late"))
        now_ns += pause_seconds * 10**9
        assert not manager.may_cancel(ID, now_ns - 1)


def test_a_doubted_order_can_be_cancelled_without_losing_the_doubt(manager):
    manager.apply(DOUBTED)
    assert manager.cancel(ID) == CancelOrder(ID)
    assert manager.order(ID).state is S.UNKNOWN
    assert manager.cancel(ID) == CancelOrder(ID)


def test_a_cancel_that_is_lost_leaves_the_order_doubted(manager):
    manager.apply(ACCEPTED)
    manager.cancel(ID)
    assert manager.apply(DOUBTED).state is S.UNKNOWN
    assert manager.apply(CANCELLED).state is S.CANCELLED


@pytest.mark.parametrize("event", [ACCEPTED, filled(), CANCELLED])
def test_an_order_that_was_never_sent_is_refused(event):
    with pytest.raises(InvariantError, match="never sent") as caught:
        OrderManager("run").apply(event)
    assert caught.value.value == ID


def test_more_than_was_ordered_is_refused(manager):
    manager.apply(filled("x1", 7))
    with pytest.raises(InvariantError, match="beyond"):
        manager.apply(filled("x2", 4))


def test_pending_counts_live_orders_of_one_instrument(manager):
    manager.submit(OrderIntent(0, Side.SELL, D(3), Purpose.HEDGE, ""), 6)
    manager.submit(OrderIntent(0, Side.BUY, D(5), Purpose.HEDGE, ""), 6)
    manager.submit(OrderIntent(1, Side.BUY, D(50), Purpose.OPEN, ""), 6)
    manager.apply(filled())
    assert manager.pending(0) == 6 - 3 + 5
    assert [order.client_order_id for order in manager.live_for(0)] == [ID, "run-000002", "run-000003"]
    manager.apply(CANCELLED)
    manager.apply(OrderStatusUnknown("run-000003", 1, 1, "time-out"))
    assert manager.pending(0) == 2  # a doubted order still counts


def test_the_legs_of_a_combo_are_cancelled_and_left_at_work_together():
    manager = OrderManager("r")
    intents = [OrderIntent(number, Side.BUY, D(2), Purpose.OPEN, "entry") for number in (1, 2)]
    legs = [leg.client_order_id for leg in manager.submit_combo(intents, None, 5).legs]
    manager.apply(OrderAccepted(legs[0], 6, 6, "v"))
    assert manager.cancel(legs[1]) == CancelOrder(legs[1])
    assert manager.cancel(legs[0]) is None
    assert {manager.order(name).state for name in legs} == {OrderState.PENDING_CANCEL}
    manager.apply(CancelRejected(legs[1], 7, 7, "too late"))
    assert [manager.order(name).state for name in legs] == [OrderState.WORKING, OrderState.PENDING_NEW]
