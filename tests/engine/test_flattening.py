from decimal import Decimal

import pytest

from scalpdesk.core.events import (
    FillBusted,
    OrderFilled,
)
from scalpdesk.core.intents import (
    Mark,
    Purpose,
    SetTimer,
    Side,
)
from scalpdesk.instruments.sessions import next_session
from scalpdesk_testing.kit.desk import Scripted, change, decisions, orders, working
from scalpdesk_testing.kit.instruments import DAY

D = Decimal
SECOND = 10**9


def flatten_timers(outputs):
    return [one.due_ns for one in outputs if type(one) is SetTimer and one.name == "flatten"]


def test_a_flattening_desk_leaves_its_strategy_ten_seconds_and_then_closes_what_is_held(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    assert flatten_timers(one.operate("flatten")) == [one.now_ns + 10 * SECOND]
    outputs = one.wait(10).timer("flatten")
    (sale,) = orders(outputs)
    assert (sale.side, sale.quantity, sale.purpose) == (Side.SELL, 10, Purpose.UNWIND_HEDGE)
    (decision,) = decisions(outputs)
    assert (decision.kind, decision.taken) == ("exit", True)
    assert decision.reasons == ("flattening: still held: +10 SPY", "unwind the rest")
    assert flatten_timers(outputs) == [one.now_ns + 2 * SECOND]
    assert flatten_timers(one.fill(sale, 4)) == []  # a step is planned already
    one.wait(2)
    assert flatten_timers(one.timer("flatten")) == [one.now_ns + 2 * SECOND]
    one.fill(sale, 6)
    assert one.wait(2).timer("flatten") == ()
    assert one.positions == {}


def test_the_fill_that_leaves_a_flattening_desk_flat_is_marked_for_the_run_may_end_with_it(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate("flatten")
    (sale,) = orders(one.wait(10).timer("flatten"))
    name = sale.client_order_id
    part = one.handle(OrderFilled(name, one.now_ns, one.now_ns, "x", D(4), D("499.90"), D("0.25")))
    (before,) = [output for output in part if type(output) is Mark]
    last = one.handle(OrderFilled(name, one.now_ns, one.now_ns, "y", D(6), D("499.90"), D("0.25")))
    marks = [output for output in last if type(output) is Mark]
    assert len(marks) == 2
    assert marks[-1].nav - before.nav == -D(10) * D("0.10") - 2 * D("0.25")


@pytest.mark.rows("what", ["a fill", "a bust", "an assignment", "a booking"])
def test_a_flat_desk_looks_again_two_seconds_after_what_changes_its_book(desk, what):
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    name = working(one)
    if what == "a bust":
        one.handle(OrderFilled(name, one.now_ns, one.now_ns, "x", D(10), D(500), D(0)))
        other = working(one, side=Side.SELL)
        one.handle(OrderFilled(other, one.now_ns, one.now_ns, "y", D(10), D(500), D(0)))
    one.operate("flatten")
    if what != "a bust":
        one.cancelled(name)
    assert flatten_timers(one.wait(10).timer("flatten")) == []
    one.wait(5)
    match what:
        case "a fill":
            event = OrderFilled(name, one.now_ns, one.now_ns, "x", D(10), D(500), D(0))
        case "a bust":
            event = FillBusted(name, one.now_ns, one.now_ns, "x", "error")
        case "an assignment":
            event = change(one, "assignment", 1, number=1)
        case _:
            event = change(one, "manual_trade", 3, 500, -1_500)
    assert flatten_timers(one.handle(event)) == [one.now_ns + 2 * SECOND]
    assert flatten_timers(one.handle(event)) == []


def test_a_flattening_desk_plans_no_step_outside_a_session_and_begins_anew_in_the_next(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.operate("flatten")
    one.close()
    assert flatten_timers(one.handle(change(one, "manual_trade", 3, 500, -1_500))) == []
    assert one.timer("flatten") == ()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == "FLATTENING"  # an operator's mode outlasts the session
    assert flatten_timers(one.outputs)[-1] == one.now_ns + 10 * SECOND


def test_a_desk_that_was_resumed_takes_no_step(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate("flatten")
    one.operate("resume")
    assert one.wait(10).timer("flatten") == ()
    assert flatten_timers(one.operate("flatten")) == [one.now_ns + 10 * SECOND]
