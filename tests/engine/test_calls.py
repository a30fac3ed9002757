"""What one order costs in calls inside the engine: exact on every machine, where its time is not.

A call here is one of Python's own (a frame of the product) or one that such a frame makes to C. The
simulated broker and the strategy are not counted.
"""

import sys
from decimal import Decimal

import pytest

from fakes.desk import HandDesk, Scripted, orders
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderAccepted, OrderFilled, QuoteEvent
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.strategies.contract import Proposal

SHARES = (52, 49)
STRADDLE = (140, 141)
"""Python calls and C calls."""


class CallCounter:
    """Counts the calls of the product's frames while it is entered."""

    def __init__(self):
        self.python = self.c = 0

    def __call__(self, frame, event, arg):
        del arg
        if "scalpdesk" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            self.python += event == "call"
            self.c += event == "c_call"

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)


def round_trip(desk, counter):
    """Hedge one share on a quote, and let the venue accept and fill it."""
    now_ns = desk.wait(61).now_ns  # nothing of the last order is left in a window
    with counter:
        outputs = desk.engine.handle(QuoteEvent(0, now_ns, now_ns, 499.99, 500.01, 100.0, 100.0))
    (order,) = orders(outputs)
    accepted = OrderAccepted(order.client_order_id, now_ns, now_ns, "v-1")
    price, fee = Decimal("500.01"), Decimal("0.00")
    filled = OrderFilled(order.client_order_id, now_ns, now_ns, "x-1", order.quantity, price, fee)
    with counter:
        desk.engine.handle(accepted)
        desk.engine.handle(filled)
    return order


class Hedger(Scripted):
    """Buys and sells one share in turn."""

    def __init__(self):
        super().__init__(self.hedge, triggers=[EveryQuote(0)])
        self.is_awake = False
        self.side = Side.BUY

    def hedge(self, view, wake, event):
        del view, wake
        if type(event) is not QuoteEvent or not self.is_awake:
            return ()
        self.side = Side.SELL if self.side is Side.BUY else Side.BUY
        intent = OrderIntent(0, self.side, Decimal(1), Purpose.HEDGE, "test")
        return (Proposal(DecisionKind.HEDGE, ("test",), {}, (intent,)),)


@pytest.mark.parametrize(
    ("held", "most"),
    [({0: (20, "500")}, SHARES), ({0: (20, "500"), 1: (4, "9"), 2: (4, "9")}, STRADDLE)],
    ids=["shares", "straddle"],
)
def test_a_hedge_costs_no_more_calls_than_it_did(held, most):
    desk = HandDesk(Hedger())
    desk.adopt(held)
    desk.open()
    desk.market(500.0)
    desk.strategy.is_awake = True
    for _ in range(5):
        round_trip(desk, CallCounter())
    counter = CallCounter()
    order = round_trip(desk, counter)
    assert desk.engine.desk.orders.orders[order.client_order_id].filled == 1
    assert counter.python <= most[0]
    assert counter.c <= most[1]
