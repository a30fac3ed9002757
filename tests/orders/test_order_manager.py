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
from scalpdesk.orders.order_manager import OrderManager, net_limit
from scalpdesk_testing.kit.desk import apply_to

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
    assert tuple(manager.live) == (ID, "run-000002")


def test_the_ids_of_a_replay_are_the_same(manager):
    again = OrderManager("run")
    assert again.submit(OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, ""), 99).client_order_id == ID


@pytest.mark.rows(
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
        order = apply_to(manager, event)
    assert (order.state, order.filled) == (state, count)
    assert (ID in manager.live) is order.is_live
    assert manager.pending(0) == order.signed_leaves


@pytest.mark.rows("event", [ACCEPTED, filled(), CANCELLED, DOUBTED, REJECTED, EXPIRED, filled("x1", 10)])
def test_a_word_said_twice_is_a_word_said_once(manager, event):
    first = apply_to(manager, event)
    state, count, executions = first.state, first.filled, dict(first.executions)
    apply_to(manager, event)
    assert (first.state, first.filled, first.executions) == (state, count, executions)


def test_the_venues_id_and_reasons_are_kept(manager):
    assert apply_to(manager, ACCEPTED).venue_order_id == "v-9"
    assert apply_to(manager, OrderAccepted(ID, 2, 2, "other")).venue_order_id == "v-9"
    assert apply_to(manager, CANCELLED).reason == "asked"
    other = OrderManager("run")
    other.submit(OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, ""), 5)
    assert apply_to(other, REJECTED).reason == "no money"


def test_a_cancel_is_asked_for_once_while_it_is_pending(manager):
    apply_to(manager, ACCEPTED)
    assert manager.cancel(ID) == CancelOrder(ID)
    assert manager.order(ID).state is S.PENDING_CANCEL
    assert manager.cancel(ID) is None
    assert manager.pending(0) == 10  # it may still fill
    apply_to(manager, CANCELLED)
    assert manager.cancel(ID) is None
    assert manager.cancel("never-sent") is None


def test_a_cancel_that_a_journal_does_not_have_is_taken_back(manager):
    apply_to(manager, ACCEPTED)
    manager.take_back(manager.cancel(ID))
    assert (manager.order(ID).state, manager.order(ID).is_unwanted) == (S.WORKING, False)


def test_a_cancel_that_may_be_lost_can_be_asked_for_again(manager):
    apply_to(manager, ACCEPTED)
    manager.cancel(ID)
    assert manager.cancel(ID, again=True) == CancelOrder(ID)
    assert manager.order(ID).state is S.PENDING_CANCEL
    assert apply_to(manager, NOT_CANCELLED).state is S.WORKING  # as before the first cancel
    apply_to(manager, CANCELLED)
    assert manager.cancel(ID, again=True) is None


@pytest.mark.rows(
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
        apply_to(manager, event)
    manager.cancel(ID)
    for event in (*between, NOT_CANCELLED):
        order = apply_to(manager, event)
    assert order.state is state
    assert manager.cancel(ID) == CancelOrder(ID)


def test_after_each_refused_cancel_the_order_is_left_alone_twice_as_long_up_to_a_minute(manager):
    apply_to(manager, ACCEPTED)
    now_ns = 0
    for pause_seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        assert manager.may_cancel(ID, now_ns)
        manager.cancel(ID)
        apply_to(manager, CancelRejected(ID, now_ns, now_ns, "too late"))
        now_ns += pause_seconds * 10**9
        assert not manager.may_cancel(ID, now_ns - 1)


def test_a_doubted_order_can_be_cancelled_without_losing_the_doubt(manager):
    apply_to(manager, DOUBTED)
    assert manager.cancel(ID) == CancelOrder(ID)
    assert manager.order(ID).state is S.UNKNOWN
    assert manager.cancel(ID) == CancelOrder(ID)


def test_a_cancel_that_is_lost_leaves_the_order_doubted(manager):
    apply_to(manager, ACCEPTED)
    manager.cancel(ID)
    assert apply_to(manager, DOUBTED).state is S.UNKNOWN
    assert apply_to(manager, CANCELLED).state is S.CANCELLED


@pytest.mark.rows("event", [ACCEPTED, filled(), CANCELLED])
def test_an_order_that_was_never_sent_is_refused(event):
    with pytest.raises(InvariantError, match="never sent") as caught:
        OrderManager("run").apply(event)
    assert caught.value.value == ID


def test_more_than_was_ordered_is_refused(manager):
    apply_to(manager, filled("x1", 7))
    with pytest.raises(InvariantError, match="beyond"):
        apply_to(manager, filled("x2", 4))


def test_pending_counts_live_orders_of_one_instrument(manager):
    manager.submit(OrderIntent(0, Side.SELL, D(3), Purpose.HEDGE, ""), 6)
    manager.submit(OrderIntent(0, Side.BUY, D(5), Purpose.HEDGE, ""), 6)
    manager.submit(OrderIntent(1, Side.BUY, D(50), Purpose.OPEN, ""), 6)
    apply_to(manager, filled())
    assert manager.pending(0) == 6 - 3 + 5
    assert [order.client_order_id for order in manager.live_for(0)] == [ID, "run-000002", "run-000003"]
    apply_to(manager, CANCELLED)
    apply_to(manager, OrderStatusUnknown("run-000003", 1, 1, "time-out"))
    assert manager.pending(0) == 2  # a doubted order still counts


def test_the_legs_of_a_combo_are_cancelled_and_left_at_work_together():
    manager = OrderManager("r")
    intents = [OrderIntent(number, Side.BUY, D(2), Purpose.OPEN, "entry") for number in (1, 2)]
    legs = [leg.client_order_id for leg in manager.submit_combo(intents, None, 5).legs]
    apply_to(manager, OrderAccepted(legs[0], 6, 6, "v"))
    assert manager.cancel(legs[1]) == CancelOrder(legs[1])
    assert manager.cancel(legs[0]) is None
    assert {manager.order(name).state for name in legs} == {OrderState.PENDING_CANCEL}
    apply_to(manager, CancelRejected(legs[1], 7, 7, "too late"))
    assert [manager.order(name).state for name in legs] == [OrderState.WORKING, OrderState.PENDING_NEW]


def leg(number, side=Side.BUY, limit=None, quantity=2):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return OrderIntent(number, side, D(quantity), Purpose.OPEN, "entry", kind, price, TimeInForce.IOC)


@pytest.mark.rows(
    ("legs", "paid"),
    [
        ([], 0),
        ([leg(1, limit="2.5")], D("2.5")),
        ([leg(1, limit="2.5"), leg(2, Side.SELL, "1.25")], D("1.25")),
        ([leg(1, Side.SELL, "2.5"), leg(2, Side.SELL, "1")], D("-3.5")),
        ([leg(1, limit="2.5"), leg(2)], None),
        ([leg(1), leg(2, limit="2.5")], None),
    ],
)
def test_a_set_of_legs_costs_what_is_bought_less_what_is_sold_or_the_market(legs, paid):
    assert net_limit(legs) == paid


def test_a_combo_and_its_legs_have_ids_of_their_own_in_one_count():
    manager = OrderManager("r")
    combo = manager.submit_combo([leg(1, limit="2"), leg(2, limit="3")], D(5), 7)
    single = manager.submit(leg(3), 8)
    assert combo.client_order_id == "r-000001"
    assert [one.client_order_id for one in combo.legs] == ["r-000002", "r-000003"]
    assert single.client_order_id == "r-000004"
    assert (combo.net_limit_price, combo.time_in_force) == (5, TimeInForce.IOC)
    assert [manager.order(one.client_order_id).parent_id for one in combo.legs] == ["r-000001"] * 2
    assert manager.order("r-000004").parent_id == ""
    assert tuple(manager.live) == ("r-000002", "r-000003", "r-000004")
    assert {order.created_ns for order in manager.orders.values()} == {7, 8}
    again = OrderManager("r")
    restored = again.restore(combo, 7)
    assert [order.submitted for order in restored] == list(combo.legs)
    assert [order.parent_id for order in restored] == ["r-000001"] * 2
    assert again.cancel("r-000003") == CancelOrder("r-000003")
    assert {order.state for order in restored} == {S.PENDING_CANCEL}
    (alone,) = again.restore(single, 9)
    assert (alone.parent_id, alone.created_ns, again.legs_with(alone)) == ("", 9, (alone,))
    assert tuple(again.live) == ("r-000002", "r-000003", "r-000004")
    assert list(again.orders) == ["r-000002", "r-000003", "r-000004"]


def test_a_cancel_of_a_leg_leaves_doubted_and_ended_legs_where_they_are():
    manager = OrderManager("r")
    names = [one.client_order_id for one in manager.submit_combo([leg(n) for n in (1, 2, 3)], None, 1).legs]
    apply_to(manager, OrderStatusUnknown(names[0], 2, 2, "time-out"))
    apply_to(manager, OrderRejected(names[2], 2, 2, "no"))
    assert manager.cancel(names[1]) == CancelOrder(names[1])
    assert [manager.order(name).state for name in names] == [S.UNKNOWN, S.PENDING_CANCEL, S.REJECTED]
    assert manager.cancel(names[0]) == CancelOrder(names[0])
    assert manager.cancel(names[2]) is None


def test_after_a_refused_cancel_of_a_leg_its_combo_is_left_alone():
    manager = OrderManager("r")
    names = [one.client_order_id for one in manager.submit_combo([leg(1), leg(2)], None, 1).legs]
    other = manager.submit(leg(3), 1).client_order_id
    manager.cancel(names[0])
    apply_to(manager, CancelRejected(names[0], 5, 5, "too late"))
    for name in names:
        assert not manager.may_cancel(name, 10**9 + 4)
        assert manager.may_cancel(name, 10**9 + 5)
    assert manager.may_cancel(other, 6)
    manager.cancel(names[1])
    apply_to(manager, CancelRejected(names[1], 10**9 + 5, 10**9 + 5, "too late"))  # it is the same cancel
    assert not manager.may_cancel(names[0], 3 * 10**9 + 4)
    assert manager.may_cancel(names[0], 3 * 10**9 + 5)


def test_a_refused_cancel_keeps_its_reason_and_moves_nothing_that_is_not_being_cancelled(manager):
    apply_to(manager, ACCEPTED)
    assert apply_to(manager, NOT_CANCELLED).reason == ""
    manager.cancel(ID)
    assert apply_to(manager, NOT_CANCELLED).reason == "too late"


@pytest.mark.parametrize(("quantity", "is_live"), [(9, True), (10, False)])
def test_an_execution_applied_to_an_order_ends_it_when_it_is_full(manager, quantity, is_live):
    order = manager.order(ID)
    manager.fill(order, filled("x1", quantity))
    assert (ID in manager.live, order.filled, order.is_live) == (is_live, quantity, is_live)


def test_the_acceptance_of_an_order_that_is_being_cancelled_is_kept_for_the_refusal_alone(manager):
    manager.cancel(ID)
    order = apply_to(manager, ACCEPTED)
    assert (order.state, order.resumes_as, order.venue_order_id) == (S.PENDING_CANCEL, S.WORKING, "v-9")
    apply_to(manager, filled())
    assert order.resumes_as is S.PARTIALLY_FILLED
    apply_to(manager, OrderAccepted(ID, 3, 3, "v-9"))
    assert order.resumes_as is S.PARTIALLY_FILLED


def test_orders_that_are_over_are_forgotten_and_counted():
    """One filled, one filled in part and cancelled, one rejected, one at work, and one sent later."""
    manager = OrderManager("r")
    names = [manager.submit(leg(number % 2, quantity=4), 5).client_order_id for number in range(4)]
    names.append(manager.submit(leg(0, quantity=4), 6).client_order_id)
    for name in (names[0], names[4]):
        apply_to(manager, OrderFilled(name, 6, 6, "x1", D(4), D(10), D(0)))
    apply_to(manager, OrderFilled(names[1], 6, 6, "x1", D(1), D(10), D(0)))
    apply_to(manager, OrderFilled(names[1], 6, 6, "x2", D(1), D(10), D(0)))
    manager.cancel(names[1])
    apply_to(manager, CancelRejected(names[1], 7, 7, "too late"))
    apply_to(manager, OrderCancelled(names[1], 8, 8, "asked"))
    apply_to(manager, OrderRejected(names[2], 6, 6, "no"))
    before = manager.counts()
    assert before == {("", 0): (3, 2), ("", 1): (2, 2)}
    assert manager.forget(5) == []
    assert [order.client_order_id for order in manager.forget(6)] == names[:2]
    assert list(manager.orders) == names[2:]
    assert list(manager.live) == [names[3]]
    assert manager.may_cancel(names[1], 8)
    assert manager.counts() == before
    manager.forget(7)
    assert list(manager.orders) == names[2:4]
    assert manager.counts() == before
    assert manager.submit(leg(0), 9).client_order_id == "r-000006"


def test_a_combo_is_forgotten_once_none_of_its_legs_may_fill_any_more():
    manager = OrderManager("r")
    names = [one.client_order_id for one in manager.submit_combo([leg(1), leg(2)], None, 1).legs]
    apply_to(manager, OrderFilled(names[0], 2, 2, "x1", D(2), D(10), D(0)))
    assert manager.forget(9) == []
    assert len(manager.legs_with(manager.order(names[1]))) == 2
    apply_to(manager, OrderFilled(names[1], 2, 2, "x1", D(2), D(10), D(0)))
    forgotten = manager.forget(9)
    assert [order.client_order_id for order in forgotten] == names
    assert manager.legs_with(forgotten[0]) == (forgotten[0],)


def test_an_order_keeps_whose_it_is_and_a_combo_its_limit_of_nothing():
    """A roll at a net price of zero is a limit: at the market it could cost any price."""
    manager = OrderManager("run")
    intents = [
        OrderIntent(number, side, D(2), Purpose.OPEN, "", OrderType.LIMIT, D(3), owner="first")
        for number, side in ((1, Side.BUY), (2, Side.SELL))
    ]
    sent = manager.submit_combo(intents, D(0), 5)
    assert sent.net_limit_price == D(0)
    assert {leg.owner for leg in sent.legs} == {"first"}
    assert {order.submitted.owner for order in manager.live.values()} == {"first"}
