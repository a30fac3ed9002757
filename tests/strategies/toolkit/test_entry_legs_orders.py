"""Straddles as one order of two legs: entry, exit, what the venue does to them, and a restart."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from scalpdesk.core.events import AccountLimits, OrderFilled
from scalpdesk.core.intents import LegOrders, MultiLegOrder, OrderIntent, Purpose, Side
from scalpdesk.live.recovery import known_orders
from scalpdesk.orders.order import OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.zero_dte.strategy import (
    ZeroDteConfig,
    ZeroDteEntry,
    ZeroDteScalper,
)
from scalpdesk_testing.kit.desk import HandDesk, build_engine, cancels, combos, orders, run_tape
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

SHARE, CALL, PUT = 0, 1, 2
STRADDLES = 5
NO_EXITS = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False)


def gamma_scalper(leg_orders):
    return GammaScalper(
        GammaScalperConfig(
            straddles=STRADDLES,
            entry=EntryConfig(gate="off", orders=leg_orders),
            triggers=TriggersConfig(spread_filter=False),
            exits=NO_EXITS,
        )
    )


def zero_dte(leg_orders):
    return ZeroDteScalper(
        ZeroDteConfig(
            entry=ZeroDteEntry(mode="straddle", straddles=STRADDLES, at="09:35", orders=leg_orders),
            triggers=TriggersConfig(spread_filter=False),
        )
    )


LIMITS = RiskLimits(
    max_daily_loss=Decimal(90_000),
    max_theta_fraction=1.0,
    max_bought_gamma_fraction=500.0,
    max_capital_fraction=4.0,
)


@pytest.fixture(params=[gamma_scalper, zero_dte], ids=lambda make: make.__name__)
def desk_of(request):
    """Build a desk at 10:00 whose venue takes combos unless told otherwise."""

    def build(leg_orders=LegOrders.AUTO, *, takes_combos=True):
        expiry = {"expiry": DAY} if request.param is zero_dte else {}
        desk = HandDesk(request.param(leg_orders), straddle_book(500, **expiry), limits=LIMITS)
        desk.engine.desk.takes_combos = takes_combos
        desk.events, handle = [], desk.engine.handle
        desk.engine.handle = lambda event: (desk.events.append(event), handle(event))[1]
        desk.open()
        desk.go_to("10:00")
        return desk

    return build


@pytest.fixture
def desk(desk_of):
    return desk_of()


def enter(desk):
    """Let the price be known; return the one order of both legs."""
    (combo,) = combos(desk.market(500.0))
    return combo


def fill(desk, combo, sets=STRADDLES):
    """Fill so many sets of an order's legs; return what follows."""
    outputs = ()
    for leg in combo.legs:
        outputs += desk.fill(leg, sets)
    return outputs


def end(desk, combo):
    """Let the venue end what is left of an order; return what follows."""
    outputs = ()
    for leg in combo.legs:
        outputs += desk.cancelled(leg.client_order_id)
    return outputs


def states(desk, combo):
    return {desk.engine.desk.orders.order(leg.client_order_id).state for leg in combo.legs}


def hold(desk):
    """Own all straddles, without a hedge at work."""
    combo = enter(desk)
    for order in orders(fill(desk, combo)):
        desk.fill(order)
    assert desk.positions[CALL] == desk.positions[PUT] == STRADDLES


def test_an_entry_is_one_order_for_what_both_legs_cost_together(desk):
    combo = enter(desk)
    quotes = desk.engine.desk.market.quotes
    asks = sum(Decimal(str(quotes[number].ask)) for number in (CALL, PUT))
    assert combo.net_limit_price == asks
    assert [(leg.instrument_id, leg.side, leg.quantity) for leg in combo.legs] == [
        (CALL, Side.BUY, STRADDLES),
        (PUT, Side.BUY, STRADDLES),
    ]
    assert {leg.purpose for leg in combo.legs} == {Purpose.OPEN}
    assert len({combo.client_order_id, *(leg.client_order_id for leg in combo.legs)}) == 3


@pytest.mark.parametrize(
    ("leg_orders", "takes_combos", "is_one"),
    [
        (LegOrders.AUTO, False, False),  # a backtest
        (LegOrders.LEGS, True, False),
        (LegOrders.COMBO, False, True),  # a backtest that is asked to
    ],
)
def test_the_setting_and_the_venue_decide(desk_of, leg_orders, takes_combos, is_one):
    outputs = desk_of(leg_orders, takes_combos=takes_combos).market(500.0)
    assert len(combos(outputs)) == is_one
    assert len(orders(outputs)) == 2


@pytest.mark.parametrize(("level", "is_one"), [(2, False), (3, True)])
def test_an_account_without_the_level_for_several_legs_sends_them_one_by_one(desk, level, is_one):
    money = Decimal(10**6)
    desk.handle(AccountLimits(desk.now_ns, desk.now_ns, True, True, level, money, money, (SHARE,)))
    assert len(combos(desk.market(500.0))) == is_one


def test_a_cut_hedge_leaves_the_size_of_the_entry_as_it_is(desk_of):
    desk = desk_of(LegOrders.LEGS)
    call, put = orders(desk.market(500.0))
    desk.fill(call)
    desk.reject(put)
    hedge = OrderIntent(SHARE, Side.SELL, Decimal(7), Purpose.HEDGE, "cut to what may be borrowed")
    desk.strategy.on_cut(desk.engine.desk.view, (hedge,))
    desk.outputs.clear()
    for _ in range(10):
        desk.wait(2).market(500.0)
    wanted = [order for order in orders(desk.outputs) if order.purpose is Purpose.OPEN]
    assert [(order.instrument_id, order.quantity) for order in wanted][:1] == [(PUT, STRADDLES)]
    assert desk.strategy.phase == "entering"


def test_what_is_filled_in_part_is_cancelled_whole_and_the_rest_goes_as_one_again(desk):
    combo = enter(desk)
    fill(desk, combo, 2)
    outputs = desk.wait(16).market(500.0)
    assert len(cancels(outputs)) == 1  # a cancel of one leg is the other's too
    assert states(desk, combo) == {OrderState.PENDING_CANCEL}
    outputs = end(desk, combo)
    (rest,) = combos(outputs) or combos(desk.wait(16).market(500.0))
    assert [leg.quantity for leg in rest.legs] == [STRADDLES - 2] * 2
    fill(desk, rest, STRADDLES - 2)
    assert desk.positions[CALL] == desk.positions[PUT] == STRADDLES


def test_after_a_rejected_combo_the_legs_go_one_by_one(desk):
    combo = enter(desk)
    for leg in combo.legs:
        desk.reject(leg, "multi-leg orders are not enabled")
    outputs = desk.wait(31).market(500.0)
    assert combos(outputs) == []
    assert [(leg.instrument_id, leg.quantity) for leg in orders(outputs)] == [(CALL, 5), (PUT, 5)]


def test_an_exit_is_one_order_at_the_market_and_leg_by_leg_once_that_is_refused(desk):
    hold(desk)
    outputs = desk.wait(1).operate("flatten")
    (combo,) = combos(outputs)
    assert combo.net_limit_price is None
    assert {(leg.side, leg.purpose, leg.quantity) for leg in combo.legs} == {
        (Side.SELL, Purpose.CLOSE, Decimal(STRADDLES))
    }
    for leg in combo.legs:
        outputs = desk.reject(leg)
    outputs += desk.wait(31).market(500.0)
    assert combos(outputs) == []
    sold = orders(outputs)
    assert {leg.instrument_id for leg in sold} == {CALL, PUT}
    left = [*sold]
    while left:
        left += orders(desk.fill(left.pop(0)))
    assert desk.positions.get(CALL, 0) == desk.positions.get(PUT, 0) == 0


@pytest.mark.parametrize("walk_steps", [0, 4])
def test_an_exit_stays_one_order_as_it_walks_and_a_half_never_goes_alone(walk_steps):
    """From what both legs bring at their mids to their bids; without a walk deeper with each try."""
    config = GammaScalperConfig(
        straddles=STRADDLES,
        entry=EntryConfig(gate="off", walk_steps=walk_steps),
        triggers=TriggersConfig(spread_filter=False),
        exits=replace(NO_EXITS, close_at="10:10"),
    )
    desk = HandDesk(GammaScalper(config), straddle_book(500), limits=LIMITS)
    desk.engine.desk.takes_combos = True
    desk.open()
    desk.go_to("10:00")
    hold(desk)
    desk.go_to("10:10")
    nets, outputs = [], desk.market(500.0)
    while len(nets) < 4:
        (combo,) = combos(outputs)
        assert len(combo.legs) == 2
        nets.append(combo.net_limit_price)
        for leg in combo.legs:
            desk.accept(leg)
        assert cancels(desk.wait(16).market(500.0)) == [combo.legs[0].client_order_id]
        outputs = ()
        for leg in combo.legs:
            assert orders(outputs) == combos(outputs) == []  # the other leg is not over yet
            outputs = desk.cancelled(leg.client_order_id)
        outputs = outputs or desk.wait(16).market(500.0)
    limits = [net for net in nets if net is not None]  # the first try is at the market without a walk
    assert len(limits) == (4 if walk_steps else 3)
    assert limits == sorted(set(limits))  # what is paid is below zero: each step brings less


def test_a_restart_in_the_middle_knows_the_legs_of_the_order_again(desk):
    combo = enter(desk)
    fill(desk, combo, 2)
    known = known_orders(SimpleNamespace(desk=desk.engine.desk))
    assert [(one.submitted.client_order_id, one.parent_id) for one in known] == [
        (leg.client_order_id, combo.client_order_id) for leg in combo.legs
    ]
    again = build_engine(type(desk.strategy)(desk.strategy.config), desk.book, limits=LIMITS)
    again.desk.takes_combos = True
    outputs = [output for event in desk.events for output in again.handle(event)]
    assert outputs == desk.outputs  # what a replay of the journal gives
    desk.engine = again
    assert states(desk, combo) == {OrderState.PARTIALLY_FILLED}
    (name,) = cancels(desk.wait(16).market(500.0))
    assert name == combo.legs[0].client_order_id
    assert states(desk, combo) == {OrderState.PENDING_CANCEL}


@pytest.mark.parametrize("latency_ms", [0.0, 250.0])
@pytest.mark.parametrize("fills", ["cross", "mid", "queue", "adverse"])
def test_at_the_simulated_broker_a_combo_buys_and_sells_what_legs_do(latency_ms, fills):
    """Both legs are there together: never is one held without the other, and both ledgers agree."""
    mids = [500.0 + 0.1 * (step % 9) for step in range(400)]
    tape = TapeBuilder(straddle_book(490, 495, 500, 505, 510)).path("10:00", 5.0, mids).build()
    exits = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False, close_at="10:20")
    ends = {}
    for leg_orders in (LegOrders.COMBO, LegOrders.LEGS):
        config = GammaScalperConfig(
            straddles=3,
            entry=EntryConfig(gate="off", orders=leg_orders),
            triggers=TriggersConfig(spread_filter=False),
            exits=exits,
        )
        run = run_tape(tape, GammaScalper(config), fills=fills, latency_ms=latency_ms, limits=LIMITS)
        sent = [one for one in run.outputs if isinstance(one, MultiLegOrder)]
        assert bool(sent) is (leg_orders is LegOrders.COMBO)
        inner = run.engine.desk
        assert not inner.positions.held()
        assert inner.account.cash == run.broker.account.cash
        ends[leg_orders] = {
            (order.submitted.instrument_id, order.submitted.side): order.filled
            for order in inner.orders.orders.values()
            if order.submitted.purpose is not Purpose.HEDGE and order.submitted.instrument_id and order.filled
        }
        if leg_orders is LegOrders.COMBO:
            held = {}
            by_id = inner.orders.orders
            for event in run.events:
                if isinstance(event, OrderFilled) and by_id[event.client_order_id].parent_id:
                    order = by_id[event.client_order_id]
                    number = order.submitted.instrument_id
                    held[number] = held.get(number, 0) + event.quantity * order.submitted.side.sign
                    assert max(held.values()) - min([*held.values(), 0][: len(held)]) <= 3
            assert set(held.values()) == {0}
    assert ends[LegOrders.COMBO] == ends[LegOrders.LEGS]
