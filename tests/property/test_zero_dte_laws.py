"""The 0DTE scalper and a venue that does as it likes, then behaves: flat by the close, never naked."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalpdesk.core.events import CancelRejected, OrderNotFound, OrderStatusUnknown
from scalpdesk.core.intents import CancelOrder, Purpose, SetTimer, SubmitOrder
from scalpdesk.orders.order import OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.zero_dte.strategy import (
    ZeroDteConfig,
    ZeroDteEntry,
    ZeroDteScalper,
)
from scalpdesk.strategies.zero_dte.watch import ZeroDteWatch
from scalpdesk_testing.kit.desk import HandDesk
from scalpdesk_testing.kit.instruments import DAY, straddle_book

pytestmark = pytest.mark.second


class Hasty(RiskLimits, frozen=True, kw_only=True):
    duplicate_window_seconds = 0.001


LOOSE = Hasty(
    max_daily_loss_fraction=0.99,
    max_reject_fraction=1.0,
    max_orders_per_minute=100_000,
    max_messages_per_minute=1_000_000,
    max_repeats_per_minute=None,
    max_flips_per_minute=None,
)
SHARE, CALL, PUT = 0, 1, 2
HEALED = "15:50"
EXITS = (Purpose.CLOSE, Purpose.UNWIND_HEDGE)


class WilfulVenue:
    """Answers what it is told to; keeps the timers that were asked for."""

    def __init__(self, desk: HandDesk) -> None:
        self.desk = desk
        self.cancels: list[str] = []
        self.timers: list[int] = []
        self.sent: list[SubmitOrder] = []

    def take(self, outputs):
        for one in outputs:
            if isinstance(one, SubmitOrder):
                self.sent.append(one)
            elif isinstance(one, CancelOrder):
                self.cancels.append(one.client_order_id)
            elif isinstance(one, SetTimer):
                self.timers.append(one.due_ns)

    @property
    def live(self):
        return list(self.desk.engine.desk.orders.live.values())

    def due(self):
        """Let the timers that are due go off."""
        while True:
            now = [one for one in self.timers if one <= self.desk.now_ns]
            if not now:
                return
            self.timers = [one for one in self.timers if one > self.desk.now_ns]
            self.take(self.desk.timer())

    def act(self, choice):
        """Do one thing to one live order."""
        kind, which, part = choice
        desk, live = self.desk, self.live
        if not live:
            return
        order = live[which % len(live)]
        name, sent, now = order.client_order_id, order.submitted, desk.now_ns
        if kind == "fill":
            self.take(desk.fill(sent, int(order.leaves)))
        elif kind == "part":
            self.take(desk.fill(sent, max(1, int(order.leaves) * part // 100)))
        elif kind == "reject" and order.state is OrderState.PENDING_NEW:
            self.take(desk.reject(sent, "because"))
        elif kind == "accept":
            self.take(desk.accept(sent))
        elif kind == "cancelled":
            self.take(desk.cancelled(name))
        elif kind == "no cancel" and name in self.cancels:
            self.take(desk.handle(CancelRejected(name, now, now, "too late")))
        elif kind == "doubt":
            self.take(desk.handle(OrderStatusUnknown(name, now, now, "timeout")))
        elif kind == "absent" and order.state is OrderState.UNKNOWN:
            self.take(desk.handle(OrderNotFound(name, now, now)))

    def behave(self):
        """Confirm every cancel and fill everything that is left."""
        for _ in range(50):
            live = self.live
            if not live:
                return
            for order in live:
                if order.client_order_id in self.cancels or order.state is OrderState.PENDING_CANCEL:
                    self.take(self.desk.cancelled(order.client_order_id))
                elif order.is_live:
                    self.take(self.desk.fill(order.submitted, int(order.leaves)))


KINDS = ("fill", "fill", "part", "reject", "accept", "cancelled", "no cancel", "doubt", "absent", "wait")
choices = st.tuples(st.sampled_from(KINDS), st.integers(0, 5), st.integers(1, 100))
steps = st.lists(
    st.tuples(st.lists(choices, max_size=4), st.floats(0.1, 400.0), st.floats(-1.5, 1.5)), max_size=25
)


def start(mode, quantity):
    config = ZeroDteConfig(
        entry=ZeroDteEntry(mode=mode),
        triggers=TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False),
        watch=ZeroDteWatch(report_hedges=False),
    )
    desk = HandDesk(ZeroDteScalper(config), straddle_book(500, expiry=DAY), limits=LOOSE, mark_seconds=1e7)
    if mode == "adopt":
        desk.adopt({CALL: (quantity, "2.00"), PUT: (quantity, "2.00")})
    venue = WilfulVenue(desk)
    desk.open()
    venue.take(desk.outputs)
    return desk, venue


@settings(max_examples=150, deadline=None)
@example("straddle", 1, [([], 60.0, 0.0)], [([], 21.0, 0.0)])  # an entry without an answer
@given(st.sampled_from(["adopt", "straddle"]), st.sampled_from([-3, -1, 1, 4]), steps, steps)
def test_flat_by_the_close_whatever_the_venue_did_until_ten_to_four(mode, quantity, day, evening):
    desk, venue = start(mode, quantity)
    spot = 500.0
    # opens_at lets a straddle be bought on the way; the evening begins just before the deadline
    for opens_at, until, part in (("09:44", "15:44:30", day), ("15:44:40", HEALED, evening)):
        desk.go_to(opens_at)
        for answers, seconds, move in part:
            ahead = desk.now_ns + int(seconds * 1e9)
            if ahead >= at_clock(desk, until):
                break
            desk.now_ns = ahead
            spot += move
            venue.due()
            venue.take(desk.market(spot))
            for choice in answers:
                venue.act(choice)
            assert_sound(desk, venue)
    desk.go_to(HEALED)
    for _ in range(60):  # ten seconds each, to the last minute
        desk.wait(5)
        venue.due()
        venue.take(desk.market(spot))
        venue.behave()
        assert_sound(desk, venue)
    assert desk.positions == {}
    assert not venue.live
    count = len(venue.sent)
    venue.take(desk.wait(5).market(spot + 3.0))
    assert len(venue.sent) == count  # closed for the session


def at_clock(desk, clock):
    now = desk.now_ns
    there = desk.go_to(clock).now_ns
    desk.now_ns = now
    return there


def assert_sound(desk, venue):
    """Nothing opens late, and shares without options are on their way out."""
    state = desk.engine.desk
    deadline = desk.strategy.deadline_ns
    for number in (SHARE, CALL, PUT):
        held = state.positions.quantity(number)
        leaving = [one for one in state.orders.live_for(number) if one.submitted.purpose in EXITS]
        # exits together never turn a holding round
        after = held + sum((one.signed_leaves for one in leaving), Decimal(0))
        assert not leaving or held * after >= 0, (number, held, after)
    for order in venue.live:
        is_old = deadline is not None and order.created_ns < deadline < state.view.now_ns
        if is_old and order.submitted.purpose not in EXITS and order.state is not OrderState.UNKNOWN:
            assert order.client_order_id in venue.cancels  # what would add to it is taken back
    assert all(abs(quantity) < Decimal(1_000) for quantity in desk.positions.values())
