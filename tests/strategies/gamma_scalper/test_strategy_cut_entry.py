"""The scalper under a gate that allows less than it wants."""

from decimal import Decimal

from scalpdesk.core.events import ForecastEvent
from scalpdesk.core.intents import Purpose
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, decisions, orders
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
CALL, PUT = 1, 2
NO_EXITS = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False)


def scalper(limits, straddles=4, vol=None):
    strategy = GammaScalper(
        GammaScalperConfig(
            hedge=HedgeConfig(band="fixed"),
            straddles=straddles,
            entry=EntryConfig(gate="off"),
            triggers=TriggersConfig(spread_filter=False),
            exits=NO_EXITS,
        )
    )
    desk = HandDesk(strategy, straddle_book(500), limits=RiskLimits(max_daily_loss=D(50_000), **limits))
    desk.open()
    desk.go_to("10:00")
    if vol is not None:
        told = ForecastEvent(0, desk.now_ns, desk.now_ns, "test", 5, vol, vol, vol, 0.0, "")
        desk.handle(told)
    return desk


def test_the_legs_of_a_straddle_are_cut_together_and_the_scalper_is_content():
    desk = scalper({"max_vega_fraction": 0.003})  # about 135 a point for one straddle, 300 allowed
    outputs = desk.market(500.0)
    sent = orders(outputs)
    assert [(int(one.instrument_id), int(one.quantity)) for one in sent] == [(CALL, 2), (PUT, 2)]
    (decision,) = decisions(outputs)
    assert "cut to buy 2 SPY240419C00500000, buy 2 SPY240419P00500000: vega per point" in decision.reasons[-1]
    desk.fill(sent[0])
    outputs = desk.fill(sent[1])
    assert desk.strategy.phase == "holding"
    (hedge,) = orders(outputs)
    assert hedge.purpose is Purpose.HEDGE
    facts = next(one for one in decisions(outputs) if one.kind == "hedge").facts
    assert facts["half_width_shares"] == 4.0  # two shares for each of the two that are held


def test_a_cap_that_leaves_nothing_refuses_the_entry_and_the_scalper_looks_again():
    desk = scalper({"max_vega_fraction": 0.001})
    outputs = desk.market(500.0)
    assert orders(outputs) == []
    (decision,) = decisions(outputs)
    assert not decision.taken
    assert "(risk.max_vega_fraction)" in decision.reasons[-1]
    for _ in range(8):
        desk.wait(10).market(500.0)
    assert desk.strategy.phase in ("waiting", "entering")
    assert desk.positions == {}


def test_a_position_is_scaled_to_the_volatility_when_a_target_is_set():
    desk = scalper({"target_vol": 0.15}, vol=0.30)
    assert [int(one.quantity) for one in orders(desk.market(500.0))] == [2, 2]
    calm = scalper({"target_vol": 0.15}, vol=0.12)
    assert [int(one.quantity) for one in orders(calm.market(500.0))] == [4, 4]
    unknown = scalper({"target_vol": 0.15})
    outputs = unknown.market(500.0)
    assert orders(outputs) == []
    assert decisions(outputs)[0].reasons[-1].endswith("risk.target_vol is set and no volatility is known")


def test_the_next_entry_wants_the_whole_size_again():
    desk = scalper({"max_vega_fraction": 0.003})
    desk.market(500.0)
    for _ in range(20):
        for order in tuple(desk.engine.desk.orders.live.values()):
            desk.cancelled(order.client_order_id)
        if desk.strategy.phase == "waiting":
            break
        desk.wait(1).market(500.0)
    desk.outputs.clear()
    desk.wait(30).market(500.0)
    found = next(one for one in decisions(desk.outputs) if one.kind == "entry" and one.taken)
    assert "buy 4 SPY240419C00500000, buy 4 SPY240419P00500000 cut to" in found.reasons[-1]
