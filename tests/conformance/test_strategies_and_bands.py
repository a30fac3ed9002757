"""Every hedging strategy with every hedge band: whatever happens to a hedge, the book decides the next."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import AccountLimits, FillBusted, OrderCancelled, OrderExpired, PositionChanged
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.sockets import HEDGE_BANDS
from scalpdesk.hedging.base import ClockBand
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.strategies.several.strategy import SharedConfig
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.zero_dte.strategy import (
    ZeroDteConfig,
    ZeroDteHedge,
    ZeroDteScalper,
)
from scalpdesk.strategies.zero_dte.watch import ZeroDteWatch
from scalpdesk_strategies.hybrid import Hybrid, HybridConfig
from scalpdesk_strategies.st0cka.strategy import St0ckaConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book

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
        triggers=TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False),
    )
    return ZeroDteScalper(config), DAY


def hybrid(band):
    members = [find_strategy("st0cka"), find_strategy("gamma-scalper")]
    configs = {"st0cka": St0ckaConfig(), "gamma-scalper": gamma_config(band)}
    own = HybridConfig(volatility=0.30)
    return Hybrid(SharedConfig(members, configs, {}, "gamma-scalper", own=own)), FAR


pytestmark = [
    pytest.mark.rows("make", [gamma_scalper, zero_dte, hybrid]),
    pytest.mark.rows("band", HEDGE_BANDS.names()),
]


@pytest.fixture
def desk(make, band):
    """Return a desk at 10:00 that holds straddles at the money and has hedged them."""
    strategy, expiry = make(band)
    loose = RiskLimits(max_daily_loss=Decimal(900_000), max_position_fraction=1.0)
    desk = HandDesk(strategy, straddle_book(500, expiry=expiry), limits=loose, mark_seconds=1e6)
    desk.adopt({CALL: (STRADDLES, "2.00"), PUT: (STRADDLES, "2.00")}, cash=Decimal(1_000_000))
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
    """Return the hedge that follows: at once, or when the pause after a rejection is over.

    No hedge was filled whole, so that a band's clock still stands where it was.
    """
    (order,) = orders(outputs) or orders(desk.wait(31).market(502.0))
    assert (order.side, order.purpose) == (Side.SELL, Purpose.HEDGE)
    return order


def hedger_of(desk):
    """Return the hedger of the strategy, or of the member that hedges."""
    strategy = desk.strategy
    if isinstance(strategy, Hybrid):
        strategy = strategy.members["gamma-scalper"].strategy
    return getattr(strategy, "tools", strategy).hedger


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


@pytest.mark.rows("ended", [OrderCancelled, OrderExpired])
def test_a_hedge_that_the_venue_ends_follows_later(desk, ended):
    order = moved(desk)
    words = ("venue",) if ended is OrderCancelled else ()
    outputs = desk.handle(ended(order.client_order_id, desk.now_ns, desk.now_ns, *words))
    next_hedge(desk, outputs)


def test_while_a_hedge_is_live_no_other_is_sent(desk):
    order = moved(desk)
    desk.accept(order)
    assert orders(desk.wait(1).market(503.0)) == []


def test_a_hedge_filled_in_part_leaves_the_rest_to_the_next_at_once(desk):
    order = moved(desk)
    if order.quantity == 1:
        pytest.skip("this band hedges a single share")
    assert orders(desk.fill(order, 1)) == []
    outputs = desk.handle(OrderExpired(order.client_order_id, desk.now_ns, desk.now_ns))
    assert abs(next_hedge(desk, outputs).quantity - (order.quantity - 1)) <= 1


@pytest.mark.rows("against", [{"may_trade": False}, {"may_short": False}, {"shortable": ()}])
def test_a_hedge_that_is_refused_or_cut_to_nothing_follows_as_soon_as_it_may(desk, against):
    """Shares that cannot be borrowed are cut to what is held: of two orders the second is not sent."""
    desk.go_to("11:00")
    limits(desk, **against)
    sold = orders(desk.market(502.0))
    fill_all(desk, *sold)
    assert desk.positions.get(SHARE, 0) >= 0 or not sold
    assert orders(desk.wait(1).market(502.0)) == []
    limits(desk)
    next_hedge(desk)


def limits(desk, **changes):
    """Let the venue say what the account may do."""
    usual = {"may_trade": True, "may_short": True, "shortable": (SHARE,)} | changes
    money = {"options_level": 3, "buying_power": Decimal(10**7), "options_buying_power": Decimal(10**7)}
    desk.handle(AccountLimits(desk.now_ns, desk.now_ns, **usual, **money))


def test_shares_that_a_split_adds_are_hedged_away(desk):
    fill_all(desk, moved(desk))
    added, none = 600, Decimal(0)
    before = net_delta(desk)
    now_ns = desk.now_ns
    change = PositionChanged(
        SHARE, now_ns, now_ns, ChangeCause.CORPORATE_ACTION, Decimal(-added), none, none, "split-1"
    )
    outputs = desk.handle(change)
    assert net_delta(desk) == before - added
    (order,) = orders(outputs) or orders(desk.go_to("12:00").market(502.0))
    assert (order.side, order.purpose) == (Side.BUY, Purpose.HEDGE)
    fill_all(desk, order)
    assert abs(net_delta(desk)) < added / 2


def test_a_leg_without_a_fresh_quote_never_gives_a_wild_hedge(desk):
    """A hedge on stale quotes is that of fresh quotes, or it waits for them."""
    desk.go_to("11:00")
    outputs = desk.quote(SHARE, 501.99, 502.01)
    stale = [order.quantity for order in orders(outputs)]
    fill_all(desk, *orders(outputs))
    fresh = [order.quantity for order in orders(desk.wait(31).market(502.0))]
    assert stale or fresh
    if stale:
        assert sum(fresh) <= abs(sum(stale))


def test_the_clock_of_the_next_hedge_starts_at_the_fill(desk):
    band = hedger_of(desk).band
    if not isinstance(band, ClockBand):
        return
    order = moved(desk)
    desk.accept(order)
    desk.wait(600)
    fill_all(desk, order)
    filled_ns = desk.now_ns
    exposure = hedger_of(desk).measure(desk.engine.desk.view, (CALL, PUT))
    assert exposure.inputs.seconds_since_hedge == 0.0
    interval = band.interval_seconds(exposure.inputs)
    desk.now_ns = filled_ns + int(interval * 1e9) - 10**9
    assert orders(desk.market(498.0)) == []
    assert orders(desk.wait(2).market(498.0))


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
    next_hedge(desk, outputs if orders(outputs) else desk.go_to("12:00").market(502.0))


def test_a_hedge_across_zero_is_sent_in_two_orders(desk):
    fill_all(desk, moved(desk))
    short = desk.positions[SHARE]
    (first,) = orders(desk.go_to("12:00").market(496.0))
    assert (first.side, first.quantity) == (Side.BUY, -short)
    (second,) = orders(desk.fill(first))
    assert (second.side, second.purpose) == (Side.BUY, Purpose.HEDGE)
    assert desk.positions.get(SHARE, 0) == 0


def test_cash_moved_in_or_out_does_not_move_the_trades_pnl(desk):
    strategy = desk.strategy
    inner = desk.engine.desk
    if isinstance(strategy, Hybrid):
        member = strategy.members["gamma-scalper"]
        strategy, view = member.strategy, member.view
    else:
        view = inner.view
    fill_all(desk, moved(desk))
    before, nav, now_ns, none = view.trade_pnl(strategy.state.start), inner.view.nav, desk.now_ns, Decimal(0)
    assert before
    for number, cause in enumerate((ChangeCause.TRANSFER, ChangeCause.INTEREST, ChangeCause.FEE)):
        paid = Decimal(-5_000)
        desk.handle(PositionChanged(SHARE, now_ns, now_ns, cause, none, none, paid, f"moved-{number}"))
    assert inner.view.nav == nav - 15_000
    assert view.trade_pnl(strategy.state.start) == before


def test_an_order_that_would_add_to_what_is_whole_is_taken_off(desk):
    """A leg whose first order fills after its cancel leaves a second one at work."""
    strategy = desk.strategy
    owner = "gamma-scalper" if isinstance(strategy, Hybrid) else ""
    surplus = OrderIntent(
        CALL, Side.BUY, Decimal(1), Purpose.OPEN, "late", OrderType.LIMIT, Decimal("1.00"), owner=owner
    )
    order = desk.engine.desk.orders.submit(surplus, desk.now_ns)
    outputs = desk.wait(6).market(500.0)
    assert cancels(outputs) == [order.client_order_id]


def test_without_a_quote_of_the_underlying_nothing_is_hedged(desk):
    desk.go_to("11:00")
    for number in (CALL, PUT):
        assert orders(desk.quote(number, 2.0, 2.2)) == []
    assert orders(desk.quote(SHARE, 502.0, 501.0)) == []  # crossed
