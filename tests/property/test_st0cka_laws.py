"""Whatever venue and market do, st0cka holds one lot at most, never sells short, and ends flat."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.intents import CancelOrder, Decision, Purpose, Side, SubmitOrder
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_strategies.st0cka.strategy import St0cka, St0ckaConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, orders

SIZE = 3
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(-20, 20)),
        st.tuples(st.just("wait"), st.integers(1, 90)),
        st.tuples(st.sampled_from(("accept", "fill", "part", "reject", "cancel", "timer")), st.just(0)),
        st.tuples(st.sampled_from(("halt", "resume", "reduce")), st.just(0)),
    ),
    max_size=120,
)


class Venue:
    """Answers what the strategy sends, in the order and in the way that the steps say."""

    def __init__(self, mode="init", held=0):
        config = St0ckaConfig(volatility=0.05, mode=mode, sell_until="10:30")
        limits = RiskLimits(max_daily_loss=Decimal(90_000), max_orders_per_minute=10_000)
        self.desk = HandDesk(St0cka(config), Instruments([Equity("SPY")]), limits=limits)
        if held:
            self.desk.adopt({0: (held, "500.00")})
        self.cents = 50_000
        self.open: list[SubmitOrder] = []
        self.left: dict[str, int] = {}
        self.asked: list[str] = []
        self.most_held = max(held, SIZE)
        self.take(self.desk.open())
        self.desk.go_to("09:31")

    def take(self, outputs):
        for one in outputs or ():
            if isinstance(one, SubmitOrder):
                self.open.append(one)
                self.left[one.client_order_id] = int(one.quantity)
            elif isinstance(one, CancelOrder):
                self.asked.append(one.client_order_id)
        self.check()

    def check(self):
        held = self.desk.positions.get(0, 0)
        assert 0 <= held <= self.most_held
        live = [one for one in self.open if self.left[one.client_order_id]]
        sells = sum(self.left[one.client_order_id] for one in live if one.side is Side.SELL)
        assert sells <= held
        buys = sum(self.left[one.client_order_id] for one in live if one.side is Side.BUY)
        assert held + buys <= self.most_held
        assert not (buys and sells)  # a venue calls that a wash trade
        assert all(one.purpose is Purpose.OPEN for one in live if one.side is Side.BUY)

    def step(self, what, figure):
        desk = self.desk
        if what == "tick":
            self.cents = max(self.cents + figure, 100)
            self.take(desk.quote(0, self.cents / 100, (self.cents + 1) / 100))
        elif what == "wait":
            desk.wait(figure)
        elif what == "timer":
            self.take(desk.timer())
        elif what in ("halt", "resume", "reduce"):
            self.take(desk.operate(what))
        elif what == "cancel":
            if self.asked:
                self.gone(self.asked.pop(0))
        elif self.open:
            order = self.open[0]
            if what == "accept":
                self.take(desk.accept(order))
            elif what == "reject" and self.left[order.client_order_id] == order.quantity:
                self.open.remove(order)
                self.left[order.client_order_id] = 0
                self.take(desk.reject(order))
            elif what in ("fill", "part"):
                self.fill(order, 1 if what == "part" else self.left[order.client_order_id])

    def fill(self, order, units):
        self.left[order.client_order_id] -= units
        if not self.left[order.client_order_id]:
            self.open.remove(order)
        self.take(self.desk.fill(order, units, price=self.cents / 100))

    def gone(self, name):
        order = next((one for one in self.open if one.client_order_id == name), None)
        if order is None:  # filled before the cancel came
            return
        self.open.remove(order)
        self.left[name] = 0
        self.take(self.desk.cancelled(name))


def play(venue, steps):
    for what, figure in steps:
        if venue.desk.now_ns + 100 * 10**9 > venue.desk.session.close_ns:
            break
        venue.step(what, figure)


@given(steps=STEPS, start=st.sampled_from([("init", 0), ("init", 7), ("resume", 2)]))
@settings(max_examples=150, deadline=None)
def test_one_lot_never_short_never_both_sides_and_flat_in_the_end(steps, start):
    mode, held = start
    venue = Venue(mode, held)
    play(venue, steps)
    venue.take(venue.desk.operate("resume"))
    if venue.desk.now_ns < venue.desk.session.open_ns + 3600 * 10**9:
        venue.desk.go_to("10:30")
    for _ in range(60):  # the window is over, and the venue answers again
        for name in [*venue.asked]:
            venue.asked.remove(name)
            venue.gone(name)
        for order in [*venue.open]:
            limit = order.limit_price
            is_marketable = limit is None or (order.side is Side.SELL and limit * 100 <= venue.cents)
            if order in venue.open and is_marketable:
                venue.fill(order, venue.left[order.client_order_id])
        venue.desk.wait(15)
        venue.step("tick", 3)
    assert venue.desk.positions == {}
    assert venue.open == []


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_every_decision_has_a_reason_and_the_same_events_give_the_same_ones(steps):
    def said():
        venue = Venue()
        play(venue, steps)
        return [one for one in venue.desk.outputs if isinstance(one, Decision)]

    first = said()
    assert all(one.reasons and all(one.reasons) for one in first)
    assert first == said()


def test_the_venue_of_this_test_can_fail_the_laws():
    venue = Venue()
    venue.step("tick", 0)
    assert len(venue.open) == 1
    venue.most_held = 2
    with pytest.raises(AssertionError):
        venue.check()
    assert cancels(venue.desk.outputs) == []
    assert len(orders(venue.desk.outputs)) == 1
