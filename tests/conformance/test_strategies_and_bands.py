"""Every hedging strategy with every hedge band: whatever happens to a hedge, the book decides the next."""

from datetime import date
from decimal import Decimal

import pytest

from fakes.desk import HandDesk, orders
from fakes.instruments import DAY, straddle_book
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import FillBusted, OrderCancelled, OrderExpired, PositionChanged
from scalpdesk.core.intents import Purpose, Side
from scalpdesk.hedging.base import band_names
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.edge import EntryConfig
from scalpdesk.strategies.gamma_scalper.strategy import (
    GammaScalper,
    GammaScalperConfig,
    HedgeConfig,
    TriggersConfig,
)
from scalpdesk.strategies.hybrid import Hybrid, HybridConfig
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.strategies.several.strategy import SharedConfig
from scalpdesk.strategies.st0cka.strategy import St0ckaConfig
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.zero_dte.strategy import (
    ZeroDteConfig,
    ZeroDteHedge,
    ZeroDteScalper,
    ZeroDteTriggers,
)
from scalpdesk.strategies.zero_dte.watch import ZeroDteWatch

SHARE, CALL, PUT = 0, 1, 2
STRADDLES = 10
FAR = date(2024, 4, 19)


def gamma_config(band):
    return GammaScalperConfig(
        straddles=STRADDLES,
        mode="resume",
        entry=EntryConfig(gate="off"),
        hedge=HedgeConfig(band=band),
        triggers=TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False),
        exits=ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False),
    )


def gamma_scalper(band):
    return GammaScalper(gamma_config(band)), FAR


def zero_dte(band):
    config = ZeroDteConfig(
        hedge=ZeroDteHedge(band=band),
        watch=ZeroDteWatch(report_hedges=False),
        triggers=ZeroDteTriggers(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False),
    )
    return ZeroDteScalper(config), DAY


def hybrid(band):
    members = [find_strategy("st0cka"), find_strategy("gamma-scalper")]
    configs = {"st0cka": St0ckaConfig(), "gamma-scalper": gamma_config(band)}
    own = HybridConfig(volatility=0.30)
    return Hybrid(SharedConfig(members, configs, {}, "gamma-scalper", own=own)), FAR


@pytest.fixture(params=[gamma_scalper, zero_dte, hybrid], ids=lambda make: make.__name__)
def make(request):
    return request.param


@pytest.fixture(params=band_names())
def desk(make, request):
    """Return a desk at 10:00 that holds straddles at the money and has hedged them."""
    strategy, expiry = make(request.param)
    limits = RiskLimits(max_daily_loss=Decimal(90_000), max_position_fraction=1.0)
    desk = HandDesk(strategy, straddle_book(500, expiry=expiry), limits=limits, mark_seconds=1e6)
    desk.adopt({CALL: (STRADDLES, "2.00"), PUT: (STRADDLES, "2.00")})
    desk.open()
    fill_all(desk, *orders(desk.go_to("10:00").market(500.0)))
    return desk


def fill_all(desk, *waiting):
    """Fill these orders, and those that follow."""
    left = list(waiting)
    for _ in range(20):
        if not left:
            return
        left += orders(desk.fill(left.pop(0)))
    pytest.fail("one hedge follows another without end")


def moved(desk):
    """Let an hour pass and the price rise by two dollars: a long straddle then has shares too many."""
    outputs = desk.go_to("11:00").market(502.0)
    (order,) = orders(outputs)
    assert (order.instrument_id, order.side, order.purpose) == (SHARE, Side.SELL, Purpose.HEDGE)
    return order


def next_hedge(desk, outputs=()):
    """Return the hedge that follows: at once, or when the band's clock allows it again."""
    (order,) = orders(outputs) or orders(desk.go_to("12:00").market(502.0))
    assert (order.side, order.purpose) == (Side.SELL, Purpose.HEDGE)
    return order


def net_delta(desk):
    inner = desk.engine.desk
    return inner.delta_engine.position_greeks(inner.positions.held(), desk.now_ns).net_delta_shares


def test_a_move_beyond_the_band_is_hedged_towards_zero_once(desk):
    order = moved(desk)
    before = net_delta(desk)
    fill_all(desk, order)
    assert abs(net_delta(desk)) < before
    assert orders(desk.wait(1).market(502.0)) == []


def test_a_rejected_hedge_is_not_sent_again_at_once_and_follows_later(desk):
    order = moved(desk)
    assert orders(desk.reject(order)) == []
    assert orders(desk.wait(0.5).market(502.0)) == []
    next_hedge(desk)


@pytest.mark.parametrize("ended", [OrderCancelled, OrderExpired])
def test_a_hedge_that_the_venue_ends_follows_later(desk, ended):
    order = moved(desk)
    words = ("venue",) if ended is OrderCancelled else ()
    outputs = desk.handle(ended(order.client_order_id, desk.now_ns, desk.now_ns, *words))
    next_hedge(desk, outputs)


def test_while_a_hedge_is_live_no_other_is_sent(desk):
    order = moved(desk)
    desk.accept(order)
    assert orders(desk.wait(1).market(503.0)) == []


def test_a_hedge_taken_back_by_the_venue_is_hedged_anew(desk):
    order = moved(desk)
    desk.fill(order)
    held = desk.positions.get(SHARE, 0)
    event = FillBusted(order.client_order_id, desk.now_ns, desk.now_ns, f"x{desk._executions}", "error")
    outputs = desk.handle(event)
    assert desk.positions.get(SHARE, 0) == held + order.quantity
    next_hedge(desk, outputs)


def test_shares_transferred_away_are_hedged_anew(desk):
    fill_all(desk, moved(desk))
    held = desk.positions[SHARE]
    assert held < 0
    now_ns, none = desk.now_ns, Decimal(0)
    change = PositionChanged(
        SHARE, now_ns, now_ns, ChangeCause.TRANSFER, Decimal(-held), Decimal(502), none, "t-1"
    )
    outputs = desk.handle(change)
    if desk.engine.desk.books is not None:  # of a shared account the owner's transfers are no member's
        assert orders(outputs) == []
        return
    next_hedge(desk, outputs)


def test_a_hedge_across_zero_is_sent_in_two_orders(desk):
    fill_all(desk, moved(desk))
    short = desk.positions[SHARE]
    (first,) = orders(desk.go_to("12:00").market(496.0))
    assert (first.side, first.quantity) == (Side.BUY, -short)
    (second,) = orders(desk.fill(first))
    assert (second.side, second.purpose) == (Side.BUY, Purpose.HEDGE)
    assert desk.positions.get(SHARE, 0) == 0


def test_without_a_quote_of_the_underlying_nothing_is_hedged(desk):
    desk.go_to("11:00")
    for number in (CALL, PUT):
        assert orders(desk.quote(number, 2.0, 2.2)) == []
    assert orders(desk.quote(SHARE, 502.0, 501.0)) == []  # crossed
