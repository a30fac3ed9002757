"""A held option near its end without a bid: offered, not thrown at the venue again and again."""

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from scalpdesk.core.intents import CancelOrder, OrderType, SetTimer, Side, SubmitOrder
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book

CALL, PUT = 1, 2
NAN = float("nan")


@dataclass
class Venue:
    """Answers a desk's orders: without a bid a market sale finds no buyer, and limits rest or are refused."""

    desk: HandDesk
    takes: str
    """``all`` orders, ``limits`` only, or ``none``."""
    sales: list[tuple[float, SubmitOrder]] = field(default_factory=list)
    """Seconds since the start, and the sales of the put."""
    resting: dict[str, SubmitOrder] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    began_ns: int = 0
    """Reasons of the exit."""

    def bid(self):
        quote = self.desk.engine.desk.market.quotes[PUT]
        return quote.bid if quote is not None else NAN

    def answer(self, outputs):
        """Carry the outputs to the venue and its answers back, until neither says anything."""
        left = list(outputs)
        while left:
            one = left.pop(0)
            if isinstance(one, SetTimer):
                self.timers[one.name] = one.due_ns
            elif isinstance(one, CancelOrder) and self.resting.pop(one.client_order_id, None):
                left += self.desk.cancelled(one.client_order_id)
            for order in orders([one]):
                left += self.take(order)

    def take(self, order):
        if order.instrument_id == PUT and order.side is Side.SELL:
            self.sales.append(((self.desk.now_ns - self.began_ns) / 1e9, order))
            if not self.bid() > 0:
                if self.takes == "none" or (self.takes == "limits" and order.order_type is OrderType.MARKET):
                    return self.desk.reject(order, "no bid")
                self.resting[order.client_order_id] = order
                return self.desk.accept(order)
        return self.desk.fill(order)

    def pass_time(self, seconds, bid=NAN):
        """Quote the share each half minute, the put each minute; fire what is due."""
        for second in range(seconds):
            self.desk.wait(1)
            due = [name for name, at_ns in self.timers.items() if at_ns <= self.desk.now_ns]
            for name in due:
                del self.timers[name]
                self.answer(self.desk.timer(name))
            if second % 60 == 0:
                self.answer(self.desk.quote(PUT, bid, 0.05))
            if second % 30 == 0:
                self.answer(self.desk.quote(0, 529.99, 530.01))
            if bid > 0:
                for order in list(self.resting.values()):
                    del self.resting[order.client_order_id]
                    self.answer(self.desk.fill(order))


def leaving(takes):
    """Return a venue whose desk holds a call and a put in their last hour, and is told to leave them."""
    strategy = GammaScalper(
        GammaScalperConfig(
            entry=EntryConfig(gate="off"),
            hedge=HedgeConfig(band="fixed", delta_vol="implied"),
            triggers=TriggersConfig(spread_filter=False),
            exits=ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False),
            selection=SelectionConfig(min_expiration_days=0),
        )
    )
    desk = HandDesk(strategy, straddle_book(500, expiry=DAY))
    desk.open()
    desk.go_to("10:00")
    venue = Venue(desk, takes)
    venue.answer(desk.market(500.0))
    assert set(desk.positions) >= {CALL, PUT}
    desk.go_to("15:14")
    venue.answer(desk.quote(CALL, 29.9, 30.1))
    venue.answer(desk.quote(PUT, NAN, 0.05))
    venue.answer(desk.quote(0, 529.99, 530.01))
    venue.began_ns = desk.wait(1).now_ns
    venue.answer(desk.operate("flatten"))
    return venue


def decided(venue, kind):
    return [one for one in decisions(venue.desk.outputs) if one.kind == kind]


@pytest.mark.parametrize("takes", ["all", "limits"])
def test_it_is_offered_once_at_the_smallest_price_and_rests(takes):
    venue = leaving(takes)
    venue.pass_time(2_400)
    ((_, sale),) = venue.sales
    assert (sale.order_type, sale.limit_price) == (OrderType.LIMIT, Decimal("0.01"))
    assert list(venue.resting) == [sale.client_order_id]
    assert venue.desk.positions == {PUT: 1}
    assert decided(venue, "alert") == []
    told = [
        one for one in decided(venue, "exit") if one.reasons[0].startswith("no bid for SPY240304P00500000")
    ]
    assert len(told) == 1
    venue.pass_time(60, bid=0.02)
    assert venue.desk.positions == {}


def test_one_that_the_venue_takes_at_no_price_is_offered_ever_more_seldom_until_it_is_bid_for():
    venue = leaving("none")
    venue.pass_time(2_400)
    assert len(venue.sales) == 23  # docs/evidence/live.md
    times = sorted({seconds for seconds, _ in venue.sales})
    assert times[-1] - times[-2] > 1_000.0
    alerts = [one.reasons[0] for one in decided(venue, "alert") if "P00500000" in one.reasons[0]]
    assert len(alerts) == 1
    assert alerts[0].startswith("no bid for SPY240304P00500000, and the venue takes no offer")
    venue.pass_time(60, bid=0.02)
    assert venue.desk.positions == {}
    assert venue.sales[-1][1].order_type is OrderType.MARKET
