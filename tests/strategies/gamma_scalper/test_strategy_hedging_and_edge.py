"""Bands other than the fixed one, clocks over nights, and the edge that is left, through the scalper."""

import math
from decimal import Decimal

import pytest

from scalpdesk.core.events import RateEvent
from scalpdesk.core.intents import Side
from scalpdesk.instruments.sessions import next_session
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import model_price

NO_EXITS = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False)


def holding(*, entry=None, exits=NO_EXITS, clock_time="10:00", **hedge):
    """Return a desk that holds one straddle, bought at 500 and hedged."""
    strategy = GammaScalper(
        GammaScalperConfig(
            entry=EntryConfig(**({"gate": "off"} | (entry or {}))),
            hedge=HedgeConfig(**({"band": "fixed"} | hedge)),
            triggers=TriggersConfig(spread_filter=False),
            exits=exits,
        )
    )
    desk = HandDesk(strategy)
    desk.open()
    desk.go_to(clock_time)
    legs = orders(desk.market(500.0))
    desk.fill(legs[0])
    for order in orders(desk.fill(legs[1])):
        desk.fill(order)
    assert strategy.phase == "holding"
    return desk


def test_a_clock_hedges_when_its_interval_has_passed():
    desk = holding(band="time_based", band_settings={"interval_seconds": 600.0})
    assert orders(desk.wait(599).market(505.0)) == []
    (sell,) = orders(desk.wait(6).market(505.1))
    assert sell.side is Side.SELL
    desk.fill(sell)
    assert orders(desk.wait(599).market(510.0)) == []


def test_a_clock_stands_still_over_the_night():
    desk = holding(clock_time="15:25", band="time_based", band_settings={"interval_seconds": 3_600.0})
    desk.close()
    desk.open(next_session(DAY))
    assert orders(desk.go_to("09:54:59").market(505.0)) == []  # 35 minutes before, nearly 25 after
    assert len(orders(desk.go_to("09:55:05").market(505.1))) == 1


@pytest.mark.parametrize("band", ["time_based", "leland"])
def test_a_clocks_hedge_names_no_width_that_views_and_alerts_would_hold_the_delta_against(band):
    desk = holding(band=band, band_settings={})
    facts = decisions(desk.wait(24_000).market(506.0))[0].facts
    assert facts["quantity_shares"] < 0
    assert "half_width_shares" not in facts
    fixed = holding(threshold_shares=2.0)
    assert decisions(fixed.wait(5).market(506.0))[0].facts["half_width_shares"] == 2.0


def test_lelands_hedge_looks_at_the_volatility_that_costs_leave():
    desk = holding(band="leland", band_settings={"shortest_seconds": 60.0, "longest_seconds": 120.0})
    facts = decisions(desk.wait(125).market(506.0))[0].facts
    assert 0.18 < facts["hedge_vol"] < 0.199  # a long straddle earns less than it moves: costs take the rest


def test_a_band_to_the_edge_leaves_part_of_the_delta():
    desk = holding(threshold_shares=5.0, band_settings={"rehedge_to": "edge"})
    (sell,) = orders(desk.wait(1).market(506.0))
    desk.fill(sell)
    inner = desk.engine.desk
    greeks = inner.delta_engine.position_greeks(inner.positions.held(), desk.now_ns)
    assert 4.5 <= greeks.net_delta_shares <= 5.5


@pytest.mark.parametrize(("part", "hedges"), [(0.0, 1), (0.25, 1), (0.5, 0), (1.0, 0)])
def test_a_hedge_of_a_small_part_of_the_band_waits_until_there_is_more(part, hedges):
    desk = holding(threshold_shares=10.0, band_settings={"rehedge_to": "edge"}, least_fraction=part)
    found = orders(desk.wait(6).market(504.8))
    inner = desk.engine.desk
    net = inner.delta_engine.position_greeks(inner.positions.held(), desk.now_ns).net_delta_shares
    assert 13.0 < net < 14.0  # three to four shares beyond the edge
    assert [(order.side, order.quantity) for order in found] == [(Side.SELL, round(net - 10.0))] * hedges
    for order in found:
        desk.fill(order)
    assert len(orders(desk.wait(6).market(510.0))) == 1  # more than a half width beyond, or another


def test_a_hedge_of_less_than_half_a_share_is_none():
    desk = holding(threshold_shares=0.0)
    assert orders(desk.wait(6).market(500.0)) == []


GONE = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=True)


def test_the_position_is_left_once_the_edge_is_gone_for_three_minutes():
    desk = holding(entry={"forecast_vol": 0.25}, exits=GONE, threshold_shares=50.0)
    for _ in range(3):
        desk.wait(61).market(500.0)  # the edge is seen
    desk.vol = 0.35
    for _ in range(2):
        assert orders(desk.wait(61).market(500.0)) == []
    outputs = desk.wait(61).market(500.0)
    assert decisions(outputs)[0].reasons[0].startswith("edge gone: -")
    assert [order.side for order in orders(outputs)] == [Side.SELL, Side.SELL]


@pytest.mark.parametrize("forecast", [0.40, None])
def test_an_edge_that_is_there_or_unknown_keeps_the_position(forecast):
    entry = {} if forecast is None else {"forecast_vol": forecast}
    desk = holding(entry=entry, exits=GONE, threshold_shares=50.0)
    for _ in range(6):
        assert orders(desk.wait(61).market(500.0)) == []


def test_without_a_two_sided_quote_the_edge_is_unknown():
    desk = holding(entry={"forecast_vol": 0.15}, exits=GONE, threshold_shares=50.0)
    desk.wait(1).quote(1, math.nan, 14.0)
    view, strategy = desk.engine.desk.view, desk.strategy
    view.now_ns = desk.now_ns
    assert strategy.tools.edge.left(strategy.state.trade.structure, view, strategy.tools.hedger) is None


def test_the_edge_left_is_held_against_selling_now():
    """The way out is paid whenever one leaves, and the way in has been paid."""
    desk = holding(entry={"forecast_vol": 0.30, "gate": "advise"}, exits=GONE, threshold_shares=50.0)
    view, strategy = desk.engine.desk.view, desk.strategy
    left = strategy.tools.edge.left(strategy.state.trade.structure, view, strategy.tools.hedger)
    entry = next(one.facts for one in decisions(desk.outputs) if one.kind == "entry")
    assert entry["edge_spread_usd"] == pytest.approx(20.0)  # 0.10 a leg
    assert left.net_usd - entry["edge_usd"] == pytest.approx(20.0, abs=1.0)
    assert desk.engine.desk.positions.quantity(1) == Decimal(1)


# how a strike's volatility moves with the spot -----------------------------------------------------


def added_delta(skew, **hedge):
    """Addition to a call's delta on a chain whose volatility falls by ``skew`` a unit of ln(strike)."""
    strategy = GammaScalper(
        GammaScalperConfig(entry=EntryConfig(gate="off"), hedge=HedgeConfig(band="fixed", **hedge))
    )
    desk = HandDesk(strategy, straddle_book(480, 490, 500, 510, 520))
    desk.open()
    desk.go_to("10:00")
    for number, instrument in enumerate(desk.book):
        if number:
            vol = 0.20 - skew * math.log(float(instrument.strike) / 500.0)
            fair = model_price(instrument, 500.0, vol, desk.now_ns)
            desk.quote(number, fair - 0.01, fair + 0.01)
    desk.quote(0, 499.99, 500.01)
    view = desk.engine.desk.view
    view.now_ns = desk.now_ns
    number = next(i for i, one in enumerate(desk.book) if i and one.strike == 500 and one.is_call)
    view.delta_engine.follow([number], view.now_ns, smile=True)
    greeks = view.delta_engine.greeks_at(number, view.now_ns, 0.20)
    valuation = view.delta_engine.state(number, view.now_ns)
    return strategy.tools.hedger._by_dynamics(view, number, greeks, valuation, 0.20), greeks.vega


def test_a_smile_that_moves_with_the_spot_adds_delta_by_its_skew():
    flat, _ = added_delta(0.0, delta_model="sticky_delta")
    assert flat == pytest.approx(0.0, abs=2e-3)
    added, vega = added_delta(0.5, delta_model="sticky_delta")
    assert added == pytest.approx(0.5 * vega / 500.0, rel=0.05)


def test_minimum_variance_takes_delta_off_at_the_money():
    """The market's volatility falls as the share rises: of a call at the money some seven hundredths."""
    added, _ = added_delta(0.5, delta_model="minimum_variance")
    assert -0.12 < added < -0.03


@pytest.mark.parametrize(("rate", "dividend_yield"), [(0.0, 0.0), (0.04, 0.0), (0.0, 0.08), (0.05, 0.02)])
def test_call_and_put_of_a_strike_show_one_volatility_whatever_rate_the_desk_reckons_with(
    rate, dividend_yield
):
    """Quotes made without interest: the forward by parity is the spot, the deltas those without it."""
    strategy = GammaScalper(GammaScalperConfig(entry=EntryConfig(gate="off")))
    desk = HandDesk(strategy, straddle_book(490, 500, 510), dividend_yield=dividend_yield)
    desk.open()
    desk.go_to("10:00")
    desk.handle(RateEvent(desk.now_ns, desk.now_ns, (1.0,), (rate,)))
    desk.market(500.0, option_spread=0.02)
    view = desk.engine.desk.view
    view.now_ns = desk.now_ns
    call, put = (
        next(i for i, one in enumerate(desk.book) if i and one.strike == 510 and one.is_call is c)
        for c in (True, False)
    )
    values = [view.delta_engine.state(leg, view.now_ns) for leg in (call, put)]
    assert values[0].vol == pytest.approx(values[1].vol, abs=0.01)
    forward = 500.0 * math.exp((values[0].rate - values[0].dividend_yield) * values[0].years)
    # at the desk's rate the right to exercise the put is worth a few cents
    assert forward == pytest.approx(500.0, abs=0.1)
    assert values[0].greeks.delta - values[1].greeks.delta == pytest.approx(1.0, abs=0.02)
