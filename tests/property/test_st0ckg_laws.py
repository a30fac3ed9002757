"""Laws of st0ckg whatever the market and the venue do."""

from datetime import time

from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.intents import Purpose, Side, SubmitOrder
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.orders.order import OrderState
from scalpdesk_testing.kit.desk import decisions
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.scalp_bench import Bench

OPENS, ENDS = new_york_ns(DAY, time(10)), new_york_ns(DAY, time(10, 30))
FLAT_BY = "15:50"

steps = st.one_of(
    st.tuples(st.just("move"), st.integers(-40, 40)),
    st.tuples(st.just("minute"), st.sampled_from([-1, 0, 1])),
    st.tuples(st.just("fill"), st.integers(1, 10)),
    st.tuples(st.just("reject"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("late"), st.integers(1, 3)),
)


class Venue:
    """Does to the oldest live order what the example says."""

    def __init__(self):
        self.bench = Bench()
        self.desk = self.bench.desk
        self.cents = 50_000
        self.bench.minute("09:59")

    @property
    def orders(self):
        return list(self.desk.engine.desk.orders.live.values())

    def do(self, what, amount):
        desk = self.desk
        for order in self.orders:
            if order.state is OrderState.PENDING_CANCEL:
                desk.cancelled(order.client_order_id)
        live = self.orders
        if what == "move":
            self.cents += amount
            desk.wait(3).market(self.cents / 100, option_spread=0.02)
        elif what == "minute":
            self.bench.told.say(amount, 8.0 if amount else 0.0)
            minute_ns = 60 * 10**9
            desk.now_ns += minute_ns - (desk.now_ns - desk.session.open_ns) % minute_ns
            self.bench.close_minute(self.cents / 100)
        elif what == "wait":
            desk.wait(amount).timer()
        elif what == "late":
            self.fill_late(amount)
        elif live and what == "fill":
            desk.wait(1).fill(live[0].submitted, min(amount, int(live[0].leaves)))
        elif live and what == "reject" and not live[0].filled:
            desk.wait(1).reject(live[0].submitted)

    def fill_late(self, count):
        """Fill the last cancelled purchase: it happened before the venue's last word."""
        for order in reversed(self.desk.engine.desk.orders.orders.values()):
            left = order.submitted.quantity - order.filled
            if order.state is OrderState.CANCELLED and order.submitted.side is Side.BUY and left:
                self.desk.wait(1).fill(order.submitted, min(count, int(left)))
                return

    def check(self):
        book = self.desk.engine.desk
        for number, held in self.desk.positions.items():
            assert held >= 0
            offered = sum(
                one.leaves
                for one in self.orders
                if one.submitted.instrument_id == number and one.submitted.side is Side.SELL
            )
            assert offered <= held
        assert len(book.positions.held()) <= 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([-1, 1]), st.integers(1, 10), st.lists(steps, max_size=40))
def test_it_never_sells_what_it_has_not_and_ends_flat(direction, count, plan):
    venue = Venue()
    venue.do("minute", direction)  # begin with something held: the laws are about getting rid of it
    venue.do("fill", count)
    assert venue.desk.positions
    for step in plan:
        venue.do(*step)
        venue.check()
    sent = [one for one in venue.desk.outputs if isinstance(one, SubmitOrder)]
    for order in sent:
        created_ns = venue.desk.engine.desk.orders.orders[order.client_order_id].created_ns
        assert (order.purpose is Purpose.OPEN) is (order.side is Side.BUY)
        if order.side is Side.BUY:
            assert OPENS <= created_ns <= ENDS
            assert 0 < order.quantity <= 10
    venue.bench.told.say(0, 0.0)
    if venue.desk.now_ns < new_york_ns(DAY, time.fromisoformat(FLAT_BY)):
        venue.desk.go_to(FLAT_BY)
    for _ in range(40):  # a venue that fills whatever it is sent: what was refused is asked again
        venue.do("wait", 30)
        venue.do("move", 0)
        for _ in range(len(venue.orders)):
            venue.do("fill", 10)
        venue.check()
    assert venue.desk.positions == {}
    assert not venue.orders
    # the gate holds an exit to what is held as well: it must never have had to
    exits = [one for one in decisions(venue.desk.outputs) if one.kind == "exit"]
    assert not [reason for one in exits for reason in one.reasons if "held" in reason and "sell " in reason]
