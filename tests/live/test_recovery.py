"""The first events of a resumed run."""

from decimal import Decimal

from fakes.desk import HandDesk, Scripted
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import AccountComparison, OrderStatusUnknown
from scalpdesk.core.intents import CancelIntent, OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.recovery import Start, continuation
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Proposal

CALL, PUT = InstrumentId(1), InstrumentId(2)


def test_every_order_without_an_answer_is_doubted_although_the_first_doubt_cancels_the_others():
    def cancels_all(view, _wake, _event):
        cancels = tuple(CancelIntent(name, "one of them is in doubt") for name in view.orders.live)
        return [Proposal(DecisionKind.ENTRY, ("take it back",), {}, cancels)]

    desk = HandDesk(Scripted(cancels_all))
    desk.open()
    engine = desk.engine
    manager = engine.desk.orders
    for leg in (CALL, PUT):
        manager.submit(OrderIntent(leg, Side.BUY, Decimal(1), Purpose.OPEN, "test"), desk.now_ns)
    seen = []
    for event in continuation(engine, Start(is_fresh=False), desk.now_ns):
        engine.handle(event)
        seen.append(type(event))
    assert seen == [AccountComparison, OrderStatusUnknown, OrderStatusUnknown]
    assert {order.state for order in manager.live.values()} == {OrderState.UNKNOWN}
