"""Laws of the EMA scalper whatever the market and the venue do."""

from datetime import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.orders.order import OrderState
from scalpdesk_testing.kit.desk import decisions
from scalpdesk_testing.kit.ema_bench import SPOT, EmaBench
from scalpdesk_testing.kit.instruments import DAY

CUTOFF = new_york_ns(DAY, time(14))
MOST = 3

steps = st.one_of(
    st.tuples(st.just("move"), st.integers(-60, 60)),
    st.tuples(st.just("minute"), st.sampled_from([-1, 0, 0, 1])),
    st.tuples(st.just("test"), st.sampled_from([-1, 1])),
    st.tuples(st.just("fill"), st.integers(1, 40)),
    st.tuples(st.just("reject"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("late"), st.integers(1, 5)),
    st.tuples(st.just("spread"), st.integers(1, 9)),
)


class Venue:
    """Does to the oldest live order what the example says, and sees that no law is broken."""

    def __init__(self, **config):
        self.bench = EmaBench(**config)
        self.desk = self.bench.desk
        self.cents = round(SPOT * 100)
        self.seen = 0
        self.was_late = False
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
        spot = self.cents / 100
        if what == "move":
            self.cents += amount
            desk.wait(3).market(self.cents / 100, option_spread=self.bench.spread)
        elif what == "minute":
            self.bench.minute(spot=spot, flip=amount)
        elif what == "test":
            self.show_test(amount)
            self.bench.minute(spot=spot)
        elif what == "wait":
            desk.wait(amount).timer()
        elif what == "spread":
            self.bench.spread = amount / 100
        elif what == "late":
            self.fill_late(amount)
        elif live and what == "fill":
            order = live[0]
            desk.wait(1).fill(
                order.submitted, min(amount, int(order.leaves)), float(order.submitted.limit_price)
            )
        elif live and what == "reject" and not live[0].filled:
            desk.wait(1).reject(live[0].submitted)
        self.check()

    def show_test(self, sign):
        """Let the next candle test the cloud and hold."""
        minute_ns = 60 * 10**9
        end_ns = self.desk.now_ns + minute_ns - (self.desk.now_ns - self.desk.session.open_ns) % minute_ns
        spot = self.cents / 100
        edges = {"top": spot, "bottom": spot - 0.1} if sign > 0 else {"top": spot + 0.1, "bottom": spot}
        self.bench.clouds.show(end_ns, spot, spot + 0.2, spot - 0.2, spot + 0.1 * sign, **edges)

    def fill_late(self, count):
        """Fill the last cancelled purchase: it happened before the venue's last answer."""
        for order in reversed(self.desk.engine.desk.orders.orders.values()):
            left = order.submitted.quantity - order.filled
            if order.state is OrderState.CANCELLED and order.submitted.side is Side.BUY and left:
                self.was_late = True
                price = float(order.submitted.limit_price)
                self.desk.wait(1).fill(order.submitted, min(count, int(left)), price)
                return

    def check(self):
        book = self.desk.engine.desk
        sent = [one for one in self.desk.outputs[self.seen :] if isinstance(one, SubmitOrder)]
        self.seen = len(self.desk.outputs)
        for order in sent:
            self.check_order(order)
        buys = [one.submitted.instrument_id for one in self.orders if one.submitted.side is Side.BUY]
        assert len(buys) == len(set(buys)), "two live orders for one entry"
        held = set(self.desk.positions)
        if not self.was_late:
            assert len(held | set(map(int, buys))) <= MOST
        # a fill after the venue's cancel may make a fourth: it is being sold
        scalps = self.bench.strategy.scalps
        assert held <= {int(scalp.number) for scalp in scalps}
        assert len([scalp for scalp in scalps if not scalp.exit.why]) <= MOST
        for number, quantity in self.desk.positions.items():
            offered = sum(
                one.leaves
                for one in self.orders
                if one.submitted.instrument_id == number and one.submitted.side is Side.SELL
            )
            assert 0 <= offered <= quantity
        assert not book.positions.quantity(0), "shares are never traded"

    def check_order(self, order):
        """Orders are limits on the tick; a buy is never above the ask and never past the cut-off."""
        rule = self.desk.book[order.instrument_id].tick_rule
        assert order.order_type is OrderType.LIMIT
        assert order.limit_price > 0
        assert order.limit_price % rule.tick_at(order.limit_price) == 0
        created_ns = self.desk.engine.desk.orders.orders[order.client_order_id].created_ns
        assert (order.purpose is Purpose.OPEN) is (order.side is Side.BUY)
        if order.side is Side.BUY:
            quote = self.desk.engine.desk.market.quotes[order.instrument_id]
            assert float(order.limit_price) <= quote.ask + 1e-9
            assert created_ns < CUTOFF


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([-1, 1]),
    st.sampled_from(["first_candle", "bounce"]),
    st.booleans(),
    st.integers(1, 9),
    st.lists(steps, max_size=40),
)
@example(1, "first_candle", False, 2, [("test", 1)])  # the rest of the first half is still being cancelled
def test_the_laws_hold_and_nothing_is_held_after_the_cutoff(direction, second_half, strict, cents, plan):
    venue = Venue(second_half=second_half, no_average_up=strict)
    venue.bench.spread = cents / 100
    venue.do("minute", direction)  # begin with something held: the laws are about getting rid of it
    if not venue.orders:
        return  # the spread is too wide for any contract
    venue.do("fill", 10)
    for step in plan:
        venue.do(*step)
    if venue.desk.now_ns < CUTOFF:
        venue.desk.go_to("14:00")
    for _ in range(40):  # a venue that fills whatever it is sent: what was refused is asked again
        venue.do("wait", 30)
        venue.do("move", 0)
        for _ in range(len(venue.orders)):
            venue.do("fill", 40)
    assert venue.desk.positions == {}
    assert not venue.orders
    exits = [one for one in decisions(venue.desk.outputs) if one.kind == "exit"]
    assert not [reason for one in exits for reason in one.reasons if "held" in reason and "sell " in reason]
