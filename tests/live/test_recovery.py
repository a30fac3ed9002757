"""The first events of a resumed run."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind, OperatorAction, OperatorCause
from scalpdesk.core.events import (
    AccountComparison,
    CancelRejected,
    HeldPosition,
    HoldingsShown,
    OperatorEvent,
    OrderAccepted,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import CancelIntent, OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.recovery import doubts
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import HandDesk, Scripted

CALL, PUT = InstrumentId(1), InstrumentId(2)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_every_order_without_an_answer_is_doubted_although_the_first_doubt_cancels_the_others(is_cancelled):
    # of an order whose cancel was under way nothing was doubted: it was new again once the cancel was refused
    def cancels_all(view, _wake, _event):
        cancels = tuple(CancelIntent(name, "one of them is in doubt") for name in view.orders.live)
        return [Proposal(DecisionKind.ENTRY, ("take it back",), {}, cancels)]

    desk = HandDesk(Scripted(cancels_all))
    desk.open()
    engine = desk.engine
    manager = engine.desk.orders
    for leg in (CALL, PUT):
        sent = manager.submit(OrderIntent(leg, Side.BUY, Decimal(1), Purpose.OPEN, "test"), desk.now_ns)
        if is_cancelled:
            manager.cancel(sent.client_order_id)
    seen = []
    for event in doubts(engine, desk.now_ns):
        engine.handle(event)
        seen.append(type(event))
    assert seen == [AccountComparison, OrderStatusUnknown, OrderStatusUnknown]
    assert {order.state for order in manager.live.values()} == {OrderState.UNKNOWN}
    for name in tuple(manager.live):
        engine.handle(CancelRejected(name, desk.now_ns, desk.now_ns, "no order of this label"))
    assert {order.state for order in manager.live.values()} == {OrderState.UNKNOWN}


def test_an_order_that_the_venue_has_answered_is_not_doubted_whatever_becomes_of_its_cancel():
    desk = HandDesk(Scripted())
    desk.open()
    manager = desk.engine.desk.orders
    intent = OrderIntent(CALL, Side.BUY, Decimal(1), Purpose.OPEN, "test")
    name = manager.submit(intent, desk.now_ns).client_order_id
    desk.engine.handle(OrderAccepted(name, desk.now_ns, desk.now_ns, "v"))
    manager.cancel(name)
    assert [type(event) for event in doubts(desk.engine, desk.now_ns)] == [AccountComparison]


@pytest.mark.parametrize("is_compared", [False, True])
def test_a_resumed_run_trades_on_no_comparison_of_before_whatever_was_overdue_as_it_ended(is_compared):
    """Quotes that were overdue leave the account compared: what the journal holds may be closed since."""
    desk = HandDesk(Scripted())
    desk.open()
    engine, now_ns = desk.engine, desk.now_ns
    engine.handle(AccountComparison(now_ns, now_ns, is_compared=is_compared, overdue="quotes: no new one"))
    for event in doubts(engine, now_ns):
        engine.handle(event)
    assert not engine.desk.gate.is_compared


@pytest.mark.parametrize("overdue", ["", "account: no answer for 9 s"])
def test_a_resumed_run_that_leaves_sells_nothing_by_positions_shown_before_it_ended(overdue):
    """The watchdog may have sold them since: the desk sold them again, uncovered."""
    desk = HandDesk(Scripted())
    desk.open()
    engine, now_ns = desk.engine, desk.now_ns
    engine.handle(OperatorEvent(now_ns, now_ns, OperatorAction.FLATTEN, "news", "ann", OperatorCause.PERSON))
    engine.handle(AccountComparison(now_ns, now_ns, is_compared=False, overdue=overdue))
    held = tuple(HeldPosition(leg, Decimal(2), Decimal(4)) for leg in (CALL, PUT))
    engine.handle(HoldingsShown(now_ns, now_ns, held))
    for event in doubts(engine, now_ns):
        engine.handle(event)
    assert (engine.desk.to_close(CALL), engine.desk.leaves_by_positions) == (0, False)
    overdue_now = engine.desk.gate.desk_mode.overdue
    assert ("" if overdue_now is None else overdue_now.reason) == overdue
    engine.handle(HoldingsShown(now_ns, now_ns, held))
    assert engine.desk.to_close(CALL) == 2
