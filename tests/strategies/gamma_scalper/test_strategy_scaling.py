"""More of a straddle as its edge grows, less as it shrinks."""

import math
from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import Side
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.sessions import new_york_ns, to_new_york
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import (
    EntryConfig,
    GammaScalperConfig,
    HedgeConfig,
    RecentreConfig,
)
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.sizing import ScaleConfig, SizeConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
CALL, PUT = 1, 2
FORECAST = 0.26
RICH, LESS, NONE = 0.16, 0.215, 0.245
"""Implied volatilities at which the edge is more than twice that at 0.22, about it, and under half of it."""


class OneLook(EntryConfig, frozen=True, kw_only=True):
    passes = 1


class Hasty(ScaleConfig, frozen=True, kw_only=True):
    passes, pass_seconds = 2, 20.0


@pytest.fixture
def holding():
    """Build a desk that holds straddles bought at an implied volatility of 0.22, forecast 0.26."""

    def build(
        *,
        straddles=1,
        power=None,
        limits=None,
        scale=None,
        size=None,
        adopted=None,
        recentre=None,
        book=None,
        unquoted=(),
    ):
        strategy = GammaScalper(
            GammaScalperConfig(
                straddles=straddles,
                hedge=HedgeConfig(band="fixed"),
                entry=OneLook(forecast_vol=FORECAST),
                triggers=TriggersConfig(spread_filter=False),
                exits=ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False),
                scale=scale or ScaleConfig(max_multiple=3),
                size=SizeConfig(**({"max_premium_fraction": 1.0} | (size or {}))),
                recentre=RecentreConfig(gamma_fraction=recentre),
                mode="resume",
            )
        )
        risk = RiskLimits(**({"max_daily_loss": D(50_000)} | (limits or {})))
        desk = HandDesk(strategy, book or straddle_book(500), limits=risk)
        desk.vol, desk.unquoted = 0.22, frozenset(unquoted)
        if adopted is not None:
            desk.adopt({CALL: (adopted, "15"), PUT: (adopted, "14")})
        desk.open()
        desk.go_to("10:00")
        settle(desk, desk.market(500.0))
        assert desk.strategy.phase == "holding"
        assert held(desk) == [adopted or straddles] * 2
        if power is not None:
            now_ns = desk.wait(1).now_ns
            desk.handle(AccountLimits(now_ns, now_ns, True, True, 3, D(100_000), power))
        return desk

    return build


def settle(desk, outputs, refused=lambda order: False):
    """Fill these orders, and those that follow; cancel what is to be cancelled."""
    while outputs:
        after = ()
        for order_id in cancels(outputs):
            after += desk.cancelled(order_id)
        for order in orders(outputs):
            after += desk.reject(order, "no") if refused(order) else desk.fill(order)
        outputs = after


def held(desk):
    """Return the calls and the puts that are held."""
    return [desk.positions.get(leg, 0) for leg in (CALL, PUT)]


def minutes(desk, vol, count=3):
    """Let the market stand at a volatility for so many minutes; fill all but the last minute's orders."""
    desk.vol = vol
    outputs = ()
    for number in range(count):
        outputs = desk.wait(60).market(500.0 + 0.01 * number)
        if number < count - 1:
            settle(desk, outputs)
    return outputs


def of_legs(outputs):
    return [(one.side, one.instrument_id, int(one.quantity)) for one in orders(outputs) if one.instrument_id]


def test_an_edge_that_has_grown_enough_for_three_minutes_adds_straddles(holding):
    desk = holding(straddles=2)
    assert of_legs(minutes(desk, RICH, 2)) == []
    outputs = minutes(desk, RICH, 1)
    (more, _) = [size for *_, size in of_legs(outputs)]
    assert of_legs(outputs) == [(Side.BUY, CALL, more), (Side.BUY, PUT, more)]
    (added,) = [one for one in decisions(outputs) if one.kind == "entry" and one.taken]
    facts = added.facts
    worth = 2 * facts["edge_before_spread_usd"] / facts["first_edge_usd"]
    assert more == int(worth) - 2 >= 1
    assert added.reasons[0].startswith(f"scale in from 2 to {2 + more} straddles: the edge of one is ")
    assert desk.strategy.phase == "scaling"
    settle(desk, outputs)
    assert held(desk) == [2 + more, 2 + more]
    assert desk.strategy.phase == "holding"
    desk.outputs.clear()
    settle(desk, minutes(desk, RICH, 10))
    assert of_legs(desk.outputs) == []  # neither more nor less while the edge stays


def test_the_most_is_a_multiple_of_what_was_bought_first_also_of_an_adopted_straddle(holding):
    desk = holding(adopted=2)  # of one that was scaled
    settle(desk, minutes(desk, 0.22, 2))
    settle(desk, minutes(desk, RICH, 10))
    assert held(desk) == [3, 3]


def test_a_straddle_at_another_strike_does_not_begin_the_multiple_anew(holding):
    desk = holding(adopted=1, recentre=0.5, book=straddle_book(500, 545), scale=ScaleConfig(max_multiple=2))
    settle(desk, minutes(desk, 0.22, 2))
    settle(desk, minutes(desk, RICH, 10))
    assert held(desk) == [2, 2]
    for _ in range(4):
        settle(desk, desk.wait(301).market(545.0))
    assert (held(desk), desk.positions[3], desk.positions[4]) == ([0, 0], 2, 2)
    desk.vol = 0.06
    for _ in range(10):
        settle(desk, desk.wait(60).market(545.0))
    assert (desk.positions[3], desk.positions[4]) == (2, 2)


def test_no_straddle_is_moved_before_calls_and_puts_have_shown_the_forward(holding):
    desk = holding(adopted=1, recentre=0.5, book=straddle_book(500, 545, 540, 550), unquoted=(5, 6, 7, 8))
    desk.vol = RICH
    for _ in range(3):
        settle(desk, desk.wait(301).market(545.0))
    assert held(desk) == [1, 1]
    desk.unquoted = frozenset()
    for minute in range(5):
        settle(desk, desk.wait(301).market(545.0 + 0.2 * (minute % 2)))
        desk.timer("mark")  # forwards are measured with it
    assert (held(desk), desk.positions[3], desk.positions[4]) == ([0, 0], 1, 1)


@pytest.mark.parametrize("sides", [(math.nan, 500.01), (499.99, math.nan), (math.nan, math.nan)])
def test_no_size_is_changed_while_the_hedge_is_not_quoted_on_both_sides(holding, sides):
    desk = holding(straddles=2, scale=Hasty(max_multiple=3))
    assert of_legs(minutes(desk, RICH, 1)) == []  # once more, and straddles are added
    desk.outputs.clear()
    desk.wait(25).quote(0, *sides)
    desk.timer()
    assert of_legs(desk.outputs) == []
    assert (desk.strategy.phase, held(desk)) == ("holding", [2, 2])


def test_half_is_sold_once_half_the_edge_is_gone_and_the_last_one_is_kept(holding):
    desk = holding(straddles=4)
    settle(desk, minutes(desk, LESS, 5))
    assert held(desk) == [4, 4]
    outputs = minutes(desk, NONE)
    assert of_legs(outputs) == [(Side.SELL, CALL, 2), (Side.SELL, PUT, 2)]
    (sold,) = [one for one in decisions(outputs) if one.kind == "exit"]
    assert sold.facts["edge_before_spread_usd"] < 0.5 * sold.facts["first_edge_usd"]
    assert sold.reasons[0].startswith("scale out from 4 to 2 straddles: the edge of one is ")
    settle(desk, outputs)
    desk.outputs.clear()
    settle(desk, minutes(desk, 0.255, 12))
    sizes = [quantity for side, leg, quantity in of_legs(desk.outputs) if leg == CALL]
    assert (held(desk), sizes) == ([1, 1], [1])
    settle(desk, minutes(desk, LESS, 9))  # as at first: what went is worth buying again
    assert held(desk) == [4, 4]


def test_the_band_and_the_stop_know_the_size_that_is_held(holding):
    desk = holding()
    first = desk.strategy.state.trade.at_risk.amount
    settle(desk, minutes(desk, RICH))
    assert held(desk)[0] == 2
    legs = [desk.engine.desk.positions.positions[leg] for leg in (CALL, PUT)]
    paid = sum(each.quantity * each.average_price * 100 for each in legs)
    assert desk.strategy.state.trade.at_risk.amount == paid > first
    desk.outputs.clear()
    settle(desk, desk.wait(10).market(504.0))
    (hedge,) = [one for one in decisions(desk.outputs) if one.kind == "hedge"]
    assert hedge.facts["half_width_shares"] == 4.0
    settle(desk, minutes(desk, NONE))
    assert held(desk) == [1, 1]
    assert desk.strategy.state.trade.at_risk.amount == paid  # what was at risk at most


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"scale": ScaleConfig(max_multiple=None)}, None),
        ({"scale": ScaleConfig(max_multiple=1)}, None),
        ({"size": {"max_premium_fraction": 0.04}}, "bound by premium"),
        ({"size": {"max_straddles": 1}}, "bound by cap"),
        ({"limits": {"max_vega_fraction": 0.0015}}, "(risk.max_vega_fraction)"),
        ({"power": D(1_500)}, "options buying power left"),
    ],
)
def test_nothing_is_added_where_the_rule_is_off_or_a_limit_is_reached(holding, config, why):
    desk = holding(**config)
    desk.outputs.clear()
    settle(desk, minutes(desk, RICH, 10))
    assert held(desk) == [1, 1]
    assert desk.strategy.phase == "holding"
    refused = [one for one in decisions(desk.outputs) if one.kind == "entry" and not one.taken]
    assert bool(refused) is (why is not None)
    assert all(why in one.reasons[-1] for one in refused if one.reasons[0].startswith("scale in"))
    assert len(refused) <= 6  # said once; or tried as often as an entry, and then left for five minutes


def test_what_the_gate_would_not_buy_afresh_is_not_added(holding):
    desk = holding()
    desk.vol = RICH
    outputs = ()
    for number in range(6):
        outputs = desk.wait(60).market(510.0 + 0.01 * number)  # off the money: a bet on direction
        settle(desk, outputs)
    assert held(desk) == [1, 1]
    refused = [one.reasons[0] for one in decisions(desk.outputs) if one.kind == "entry" and not one.taken]
    (why,) = refused
    assert why.startswith("scale in: no straddle passes the filters: delta up to 10 of 100 removed 1")


def test_a_leg_that_cannot_be_bought_leaves_whole_straddles(holding):
    desk = holding(straddles=2)

    def no_puts(order):
        return order.instrument_id == PUT and order.side is Side.BUY

    outputs = minutes(desk, RICH)
    for _ in range(40):
        settle(desk, outputs, no_puts)
        outputs = desk.wait(5).market(500.0)
    assert held(desk) == [2, 2]
    assert desk.strategy.phase == "holding"


def test_a_flattening_desk_sells_all_of_it_in_the_middle_of_an_addition(holding):
    desk = holding(straddles=2)
    desk.fill(orders(minutes(desk, RICH))[0])
    settle(desk, desk.wait(1).operate("flatten"))
    for _ in range(6):
        settle(desk, desk.wait(5).market(500.0))
    assert desk.positions == {}


@pytest.mark.parametrize(
    ("day", "forecast", "until", "straddles", "instant", "why"),
    [
        (date(2018, 2, 5), 0.25, "10:19", 1, "10:18:21", "scale out from 2 to 1 straddles"),
        pytest.param(
            *(date(2018, 2, 6), 0.50, "10:17", 3, "10:16:04", "scale in from 2 to 3 straddles"),
            marks=pytest.mark.second,
        ),
    ],
)
def test_a_reconstructed_day_is_scaled_by_its_edge(day, forecast, until, straddles, instant, why):
    """On the first the market asked ever more for volatility, on the second ever less."""
    settings = load_settings(
        "gamma-scalper",
        overrides=(
            "straddles=2",
            f"entry.forecast_vol={forecast}",
            "exits.edge_gone=false",
            "exits.arm_fraction=null",
            "hedge.band_settings.risk_aversion=0.25",
            "hedge.least_fraction=0.35",
            "scale.max_multiple=3",
            "size.max_premium_fraction=1",
        ),
    )
    tape = market.reconstruct(day, seed=1)
    header, engine = build_backtest(settings, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(settings, tape, header, engine, None)
    found = []

    def watch(event):
        outputs = handle(event)
        found.extend(one for one in decisions(outputs) if one.reasons[0].startswith("scale"))
        return outputs

    handle, engine.handle = engine.handle, watch
    end_ns = new_york_ns(day, time.fromisoformat(until))
    for now_ns in run.runner.steps():
        if now_ns >= end_ns:
            break
    (change,) = found
    assert f"{to_new_york(change.ts_ns):%H:%M:%S}" == instant
    assert change.reasons[0].startswith(why)
    options = [one.quantity for one in engine.desk.positions.held() if one.instrument_id != 0]
    assert options == [straddles, straddles]
