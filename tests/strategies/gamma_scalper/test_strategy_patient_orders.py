"""Orders that save the spread: entry and exit that walk from the mid, hedges that rest at the near side."""

from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Side
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders

NO_EXITS = {"min_dte": None, "stop_fraction": None, "arm_fraction": None, "edge_gone": False}


def scalper(entry=None, exits=None, **hedge):
    """Return a desk at 10:00 around a scalper without a gate."""
    strategy = GammaScalper(
        GammaScalperConfig(
            entry=EntryConfig(**({"gate": "off"} | (entry or {}))),
            hedge=HedgeConfig(band="fixed", threshold_shares=5.0, **hedge),
            triggers=TriggersConfig(spread_filter=False),
            exits=ExitConfig(**(NO_EXITS | (exits or {}))),
        )
    )
    desk = HandDesk(strategy)
    desk.open()
    desk.go_to("10:00")
    return desk


def refused_and_again(desk, waiting, spot=500.0, **quotes):
    """Let the orders' time run out, take them off, and return what is sent instead."""
    out = desk.wait(15).market(spot, **quotes)
    assert sorted(cancels(out)) == sorted(order.client_order_id for order in waiting)
    sent = []
    for order in waiting:
        sent += orders(desk.cancelled(order.client_order_id))
    return sent or orders(desk.wait(1).market(spot, **quotes))


def quoted(desk, leg):
    quote = desk.engine.desk.market.quotes[leg]
    return Decimal(f"{quote.bid:.2f}"), Decimal(f"{quote.ask:.2f}")


def test_an_entry_walks_from_the_mid_to_the_ask_and_stays_there():
    desk = scalper(entry={"walk_steps": 2})
    legs = orders(desk.market(500.0, option_spread=0.40))
    seen = []
    for _ in range(4):
        assert {order.side for order in legs} == {Side.BUY}
        for order in legs:
            bid, ask = quoted(desk, order.instrument_id)
            seen.append((order.limit_price - bid, ask - order.limit_price))
            assert order.limit_price <= ask
        legs = refused_and_again(desk, legs, option_spread=0.40)
    ahead = [float(above) for above, _ in seen]
    assert ahead == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4, 0.4])


def test_what_the_walk_saved_and_what_the_market_moved_is_reported():
    desk = scalper(entry={"walk_steps": 4})
    call, put = orders(desk.market(500.0, option_spread=0.40))
    desk.fill(call, price=float(call.limit_price))
    out = desk.fill(put, price=float(put.limit_price))
    (report,) = [one for one in decisions(out) if "saved_usd" in one.facts]
    assert report.facts["saved_usd"] == pytest.approx(40.0)  # 0.20 on each of two legs of 100
    assert report.facts["moved_usd"] == pytest.approx(0.0, abs=1e-9)


def test_an_entry_without_a_walk_is_at_the_ask_and_reports_nothing():
    desk = scalper()
    call, put = orders(desk.market(500.0))
    assert [order.limit_price for order in (call, put)] == [quoted(desk, leg)[1] for leg in (1, 2)]
    desk.fill(call)
    assert not [one for one in decisions(desk.fill(put)) if "saved_usd" in one.facts]


def held(**settings):
    """Return a desk that holds a straddle bought at 500."""
    desk = scalper(**settings)
    for order in orders(desk.market(500.0, option_spread=0.40)):
        for hedge in orders(desk.fill(order)):
            desk.fill(hedge)
    assert desk.strategy.phase == "holding"
    return desk


def test_an_exit_walks_from_the_mid_to_the_bid_and_then_crosses():
    desk = held(entry={"walk_steps": 2}, exits={"close_at": "10:30"})
    desk.go_to("10:30")
    legs = orders(desk.market(500.0, option_spread=0.40))
    above = []
    for _ in range(3):
        assert {(order.side, order.order_type) for order in legs} == {(Side.SELL, OrderType.LIMIT)}
        above += [float(order.limit_price - quoted(desk, order.instrument_id)[0]) for order in legs]
        legs = refused_and_again(desk, legs, option_spread=0.40)
    assert above[:2] == pytest.approx([0.2, 0.2])
    assert all(0.05 <= one <= 0.15 for one in above[2:4])  # a half of the way, in ticks of a cent
    assert all(one <= 0.0 for one in above[4:])


def test_a_desk_that_flattens_does_not_walk():
    desk = held(entry={"walk_steps": 20})
    out = desk.operate("flatten") + desk.wait(1).market(500.0, option_spread=0.40)
    assert {order.order_type for order in orders(out)} == {OrderType.MARKET}


def test_a_hedge_rests_at_the_near_side_and_crosses_when_its_time_is_over():
    desk = held(passive_seconds=30.0)
    (sell,) = orders(desk.wait(1).market(501.0, spread=0.10))
    assert (sell.side, sell.order_type) == (Side.SELL, OrderType.LIMIT)
    assert sell.limit_price == Decimal("501.05")
    desk.accept(sell)
    assert cancels(desk.wait(28).market(501.0, spread=0.10)) == []
    out = desk.wait(6).market(501.0, spread=0.10)
    assert cancels(out) == [sell.client_order_id]
    again = orders(desk.cancelled(sell.client_order_id)) or orders(desk.wait(1).market(501.0, spread=0.10))
    assert [order.order_type for order in again] == [OrderType.MARKET]
    desk.fill(again[0])
    (next_one,) = orders(desk.wait(1).market(505.0, spread=0.10))
    assert next_one.order_type is OrderType.LIMIT  # the one after it is patient again


def test_a_resting_hedge_is_taken_back_once_the_delta_has_left_twice_the_band():
    desk = held(passive_seconds=600.0)
    (sell,) = orders(desk.wait(1).market(501.0, spread=0.10))
    desk.accept(sell)
    assert cancels(desk.wait(1).market(500.9, spread=0.10)) == []
    out = desk.wait(1).market(506.0, spread=0.10)
    assert cancels(out) == [sell.client_order_id]
    assert "twice the band" in decisions(out)[0].reasons[0]
    again = orders(desk.cancelled(sell.client_order_id)) or orders(desk.wait(1).market(506.0, spread=0.10))
    assert again[0].order_type is OrderType.MARKET
    assert again[0].quantity > sell.quantity


def test_the_first_hedge_of_a_patient_desk_is_sent_as_soon_as_the_straddle_is_whole():
    desk = scalper(passive_seconds=30.0)
    call, put = orders(desk.market(500.0))
    desk.fill(call)
    desk.fill(put)
    (hedge,) = orders(desk.wait(1).market(505.0))
    assert hedge.instrument_id == 0
