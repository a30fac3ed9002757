"""Laws of an order's life: whatever the venue repeats or reorders, the end is the same."""

from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.orders.order import TERMINAL, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk_testing.kit.desk import apply_to

D = Decimal
ID = "p-000001"
LAST_WORDS = {
    "none": None,
    "cancelled": OrderCancelled(ID, 1, 1, "asked"),
    "expired": OrderExpired(ID, 1, 1),
    "rejected": OrderRejected(ID, 1, 1, "no"),
}


def fill(name, quantity, price=100):
    return OrderFilled(ID, 1, 1, name, D(quantity), D(price), D(0))


def bust(name):
    return FillBusted(ID, 1, 1, name, "error")


def follow(quantity, events):
    manager = OrderManager("p")
    manager.submit(OrderIntent(0, Side.BUY, D(quantity), Purpose.HEDGE, ""), 0)
    for event in events:
        apply_to(manager, event)
    order = manager.order(ID)
    assert (ID in manager.live) is order.is_live
    return order


@st.composite
def lives(draw, busts):
    """One order's true life at the venue, and an order in which its words might arrive."""
    sizes = draw(st.lists(st.integers(1, 9), max_size=5))
    quantity = sum(sizes) + draw(st.integers(0, 5))
    assume(quantity > 0)
    fills = [fill(f"x{n}", size, 100 + n) for n, size in enumerate(sizes)]
    life = [OrderAccepted(ID, 1, 1, "v"), *fills]
    if busts and fills:
        life += [bust(one.execution_id) for one in draw(st.lists(st.sampled_from(fills), unique=True))]
    last = LAST_WORDS[draw(st.sampled_from(sorted(LAST_WORDS)))]
    if last is not None:
        life.append(last)
    arrived = draw(st.permutations(life + draw(st.lists(st.sampled_from(life), max_size=6))))
    return quantity, life, arrived


@given(lives(busts=False))
def test_any_order_and_repetition_of_words_leads_to_the_same_end(case):
    quantity, life, arrived = case
    expected, got = follow(quantity, life), follow(quantity, arrived)
    assert (got.state, got.filled, got.leaves) == (expected.state, expected.filled, expected.leaves)
    assert got.executions == expected.executions
    assert abs(got.average_price - expected.average_price) < D("1e-20")


@given(lives(busts=True))
def test_busts_in_any_order_leave_the_same_quantity_at_the_same_price(case):
    quantity, life, arrived = case
    expected, got = follow(quantity, life), follow(quantity, arrived)
    assert (got.filled, got.leaves, got.is_live) == (expected.filled, expected.leaves, expected.is_live)
    assert got.executions == expected.executions
    assert abs(got.average_price - expected.average_price) < D("1e-20")


class OrderLife(RuleBasedStateMachine):
    """A venue that says anything true, twice if it likes, while the desk cancels and doubts."""

    quantity = D(20)

    def __init__(self):
        super().__init__()
        self.manager = OrderManager("p")
        self.manager.submit(OrderIntent(0, Side.SELL, self.quantity, Purpose.HEDGE, ""), 0)
        self.order = self.manager.order(ID)
        self.said = []
        self.executed = 0
        self.busted = set()
        self.was_over = False

    def say(self, event):
        self.said.append(event)
        before = self.order.state
        apply_to(self.manager, event)
        if before in TERMINAL and not isinstance(event, OrderFilled | FillBusted):
            assert self.order.state is before

    @rule()
    def accept(self):
        self.say(OrderAccepted(ID, 1, 1, "v"))

    @precondition(lambda self: self.executed < 20)
    @rule(size=st.integers(1, 20))
    def execute(self, size):
        size = min(size, 20 - self.executed)
        self.executed += size
        self.say(fill(f"x{len(self.said)}", size))

    @rule(last=st.sampled_from([word for word in LAST_WORDS.values() if word is not None]))
    def end(self, last):
        self.say(last)

    @rule(
        word=st.sampled_from(
            [
                OrderStatusUnknown(ID, 1, 1, "time-out"),
                OrderNotFound(ID, 1, 1),
                CancelRejected(ID, 1, 1, "late"),
            ]
        )
    )
    def say_in_passing(self, word):
        self.say(word)

    @rule()
    def cancel(self):
        live = self.order.is_live
        assert (self.manager.cancel(ID) is None) or live

    @precondition(lambda self: any(isinstance(event, OrderFilled) for event in self.said))
    @rule(data=st.data())
    def take_back(self, data):
        fills = [event for event in self.said if isinstance(event, OrderFilled)]
        gone = data.draw(st.sampled_from(fills)).execution_id
        self.busted.add(gone)
        self.say(bust(gone))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def repeat(self, data):
        self.say(data.draw(st.sampled_from(self.said)))

    @invariant()
    def counts_what_stands(self):
        standing = {
            event.execution_id: event.quantity
            for event in self.said
            if isinstance(event, OrderFilled) and event.execution_id not in self.busted
        }
        assert self.order.filled == sum(standing.values(), D(0))
        assert {name: one[0] for name, one in self.order.executions.items()} == standing

    @invariant()
    def never_fills_beyond_its_quantity(self):
        assert 0 <= self.order.filled <= self.quantity
        assert 0 <= self.order.leaves <= self.quantity - self.order.filled
        assert (self.order.state is OrderState.FILLED) == (self.order.filled == self.quantity)

    @invariant()
    def over_is_over(self):
        if self.was_over:
            assert not self.order.is_live
        self.was_over = not self.order.is_live
        assert (ID in self.manager.live) is self.order.is_live
        assert self.manager.pending(0) == -self.order.leaves


OrderLife.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestOrderLife = OrderLife.TestCase
