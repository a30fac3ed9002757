import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import (
    CancelRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import (
    CancelIntent,
    CancelOrder,
    Decision,
    Purpose,
    SetTimer,
)
from scalpdesk.instruments.sessions import next_session
from scalpdesk.live.reconciler import still_wanted
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import Scripted, buy, cancels, decisions, orders, wanting, working
from scalpdesk_testing.kit.instruments import DAY

SECOND = 10**9


def test_a_strategy_can_cancel_its_own_order(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.ENTRY, ("too old",), {}, (CancelIntent(order.client_order_id, "old"),)),
    )
    outputs = one.wait(1).quote(0, 499.99, 500.01)
    assert cancels(outputs) == [order.client_order_id]
    assert decisions(outputs)[0].taken
    again = one.wait(1).quote(0, 499.99, 500.01)
    assert cancels(again) == []  # it is on its way out already


def test_a_venue_that_refuses_each_cancel_at_once_is_asked_ever_more_seldom(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.ENTRY, ("too old",), {}, (CancelIntent(order.client_order_id, "old"),)),
    )
    asked, decided = [], 0
    began_ns = one.now_ns
    for _ in range(200):
        outputs = one.wait(1).quote(0, 499.99, 500.01)
        waiting = list(outputs)
        while waiting:  # each refusal is a wake of its own
            output = waiting.pop(0)
            if isinstance(output, CancelOrder):
                asked.append((one.now_ns - began_ns) // 1_000_000_000)
                refused = CancelRejected(order.client_order_id, one.now_ns, one.now_ns, "no")
                waiting += one.handle(refused)
            decided += isinstance(output, Decision)
    assert asked == [1, 2, 4, 8, 16, 32, 64, 124, 184]
    assert decided == len(asked)
    assert cancels(one.operate("halt")) == [order.client_order_id]  # an operator does not wait


@pytest.mark.rows(("action", "again"), [("halt", True), ("flatten", True), ("reduce", False)])
def test_an_operator_repeats_the_cancel_of_an_order_that_is_being_cancelled(desk, action, again):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.engine.desk.orders.cancel(order.client_order_id)
    for _ in range(2):  # the first command, and the same once more
        assert cancels(one.operate(action)) == ([order.client_order_id] if again else [])


def test_a_repeated_halt_cancels_all_that_works_and_a_repeated_flatten_only_what_was_to_go(desk):
    one = desk(Scripted())
    first, second = working(one), working(one)
    one.operate("flatten")
    one.handle(CancelRejected(first, one.now_ns, one.now_ns, "no"))
    assert cancels(one.operate("flatten")) == [second]
    one.operate("halt")
    one.handle(CancelRejected(first, one.now_ns, one.now_ns, "no"))
    assert cancels(one.operate("halt")) == [first, second]


def test_a_repeated_halt_cancels_a_combo_once(desk):
    one = desk(Scripted())
    legs = [buy(number, 1, Purpose.OPEN) for number in (1, 2)]
    combo = one.engine.desk.orders.submit_combo(legs, None, one.now_ns)
    names = [leg.client_order_id for leg in combo.legs]
    assert cancels(one.operate("halt")) == names[:1]
    assert cancels(one.operate("halt")) == names[:1]


def test_a_halted_desk_cancels_again_every_other_second_what_still_works(desk):
    one = desk(Scripted())
    name = working(one)
    outputs = one.operate("halt")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)
    assert one.wait(1).operate("halt") == (CancelOrder(name),)
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    outputs = one.wait(1).timer("halt: cancel again")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)
    outputs = one.wait(2).timer("halt: cancel again")
    assert outputs == (SetTimer("halt: cancel again", one.now_ns + 2 * SECOND),)  # it is on its way out
    one.handle(OrderStatusUnknown(name, one.now_ns, one.now_ns, "time-out"))
    outputs = one.wait(2).timer("halt: cancel again")
    assert outputs == (SetTimer("halt: cancel again", one.now_ns + 2 * SECOND),)  # it is asked about first
    one.cancelled(name)
    assert one.wait(2).timer("halt: cancel again") == ()


@pytest.mark.parametrize("asks", [True, False])
def test_an_order_in_doubt_that_lives_after_its_cancel_is_cancelled_again_and_never_sent_again(desk, asks):
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    sent = one.engine.desk.orders.submit(buy(0, 10, Purpose.HEDGE), one.now_ns)
    name, now_ns = sent.client_order_id, one.now_ns
    one.handle(OrderStatusUnknown(name, now_ns, now_ns, "time-out"))
    order = one.engine.desk.orders.order(name)
    assert still_wanted(one.engine, order, 0) == sent
    if asks:
        one.engine.desk.orders.cancel(name)
        one.handle(CancelRejected(name, now_ns, now_ns, "not known yet"))
        assert still_wanted(one.engine, order, 0) is None
    assert cancels(one.accept(sent)) == ([name] if asks else [])


def test_a_desk_that_resumed_cancels_nothing_and_halted_again_it_does(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    one.operate("resume")
    assert one.wait(2).timer("halt: cancel again") == ()
    outputs = one.operate("halt")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)


def test_a_halted_desk_cancels_what_works_over_the_night_in_the_next_session(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    one.close()
    one.open(next_session(DAY))
    assert SetTimer("halt: cancel again", one.now_ns + 2 * SECOND) in one.outputs  # the old one has ended
    assert cancels(one.wait(2).timer("halt: cancel again")) == [name]


LATE = "cancels: not over"


def alerts(outputs):
    return [decision for decision in decisions(outputs) if decision.kind is DecisionKind.ALERT]


def cancelling(one):
    """Cancel an order of the strategy's; return its id."""
    name = working(one)
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.HEDGE, ("too old",), {}, (CancelIntent(name, "old"),)),
    )
    assert cancels(one.quote(0, 499.99, 500.01)) == [name]
    one.strategy.think = None
    return name


def test_an_order_that_is_not_over_a_minute_after_its_cancel_is_named_in_an_alert(desk):
    one = desk()
    name = cancelling(one)
    asked_ns = one.now_ns
    outputs = one.wait(2).timer("mark")
    assert [output for output in outputs if isinstance(output, SetTimer) and output.name == LATE] == [
        SetTimer(LATE, asked_ns + 60 * SECOND)
    ]
    assert SetTimer(LATE, asked_ns + 60 * SECOND) not in one.wait(1).timer("mark")  # it is set already
    (alert,) = one.wait(57).timer(LATE)
    assert alert.reasons == (f"order {name} in SPY is not over 60 s after its cancel: pending_cancel",)
    assert alert.facts == {"order": name, "symbol": "SPY", "seconds": 60}
    assert alerts(one.wait(60).timer("mark")) == []  # once


def test_a_cancel_that_is_answered_leaves_no_timer_and_no_alert(desk):
    one = desk()
    name = cancelling(one)
    assert LATE not in [getattr(output, "name", "") for output in one.wait(1).timer("mark")]
    one.cancelled(name)
    outputs = one.wait(59).timer("mark")
    assert alerts(outputs) == []
    assert LATE not in [getattr(output, "name", "") for output in outputs]


@pytest.mark.parametrize(("after_seconds", "is_named"), [(1, False), (2, True)])
def test_a_refusal_at_once_lets_the_order_work_on_and_a_late_one_does_not(desk, after_seconds, is_named):
    one = desk()
    name = cancelling(one)
    one.wait(after_seconds).handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    outputs = one.wait(60 - after_seconds).timer("mark")
    assert [alert.facts["order"] for alert in alerts(outputs)] == ([name] if is_named else [])


def test_a_halted_desk_names_an_order_whose_cancels_are_all_refused_each_minute(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    named = []
    for second in range(2, 131, 2):
        one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
        outputs = one.wait(2).timer("halt: cancel again")
        assert cancels(outputs) == [name]
        named += [second] * len(alerts(outputs))
    assert named == [60, 120]


def test_a_flattening_desk_names_an_order_that_is_not_over(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("flatten")
    outputs = one.wait(60).timer("flatten")
    assert [alert.facts["order"] for alert in alerts(outputs)] == [name]


def test_an_order_whose_cancel_is_not_over_at_the_close_is_named_in_the_next_session(desk):
    one = desk()
    name = cancelling(one)
    one.wait(3).timer("mark")
    one.close()
    one.open(next_session(DAY))
    (alert,) = alerts(one.timer("mark"))
    assert alert.facts["order"] == name


def test_a_halted_desk_without_orders_sets_no_timer(desk):
    one = desk(Scripted())
    (mode,) = one.operate("halt")
    assert mode.kind == "mode"
