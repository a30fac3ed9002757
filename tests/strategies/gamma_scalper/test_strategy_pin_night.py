"""A sold straddle ends at its strike: what is assigned in the night is sold as the next session opens."""

from datetime import date

import pytest

from scalpdesk.core.events import OrderFilled, PositionChanged
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.entry.shapes import StructureConfig
from scalpdesk.margin.regulation_t import UNCOVERED
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk_testing.kit.desk import run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

MONDAY, TUESDAY = date(2018, 1, 8), date(2018, 1, 9)
LIMITS = RiskLimits(
    max_short_contracts=2, max_position_fraction=0.9, max_gamma_fraction=None, max_vega_fraction=None
)


def scalper(shares):
    """Return a scalper that hedges a sold straddle from so many shares on, and leaves it to its end."""
    return GammaScalper(
        GammaScalperConfig(
            structure=StructureConfig(side="short"),
            selection=SelectionConfig(min_expiration_days=0, max_expiration_days=3),
            entry=EntryConfig(gate="off"),
            hedge=HedgeConfig(band="fixed", threshold_shares=shares),
            exits=ExitConfig(
                min_dte=None,
                stop_fraction=None,
                arm_fraction=None,
                credit_multiple=None,
                credit_fraction=None,
                edge_gone=False,
                early_exercise=False,
            ),
        )
    )


@pytest.mark.parametrize("moved", [0.0, 0.003])
@pytest.mark.parametrize("seed", [2, 5, 9])
@pytest.mark.parametrize("threshold", [100, 20])
def test_shares_of_a_night_are_held_until_the_open_and_sold_within_minutes_of_it(threshold, seed, moved):
    builder = TapeBuilder(straddle_book(270, expiry=MONDAY), days=(MONDAY, TUESDAY))
    builder.path(at("14:00", MONDAY), 10.0, [270.0] * 60)
    builder.path(at("15:00", MONDAY), 10.0, [270.0 + 0.01 * step for step in range(30)])
    builder.path(at("15:50", MONDAY), 10.0, [270.005] * 60)
    builder.path(at("09:30", TUESDAY), 5.0, [268.5] * 120)
    run = run_tape(
        builder.build(),
        scalper(threshold),
        limits=LIMITS,
        options_level=UNCOVERED,
        assignment=AssignmentTerms("off", after_close_move=moved, seed=seed),
    )
    open_ns = at("09:30", TUESDAY)
    told = [event for event in run.events if isinstance(event, PositionChanged)]
    assert sum(abs(event.quantity_change) for event in told if event.instrument_id == 0) == 100
    orders = run.engine.desk.orders.orders
    fills = [event for event in run.events if isinstance(event, OrderFilled)]
    shares = [
        (each.ts_recv_ns, orders[each.client_order_id].submitted.side.sign * each.quantity)
        for each in fills
        if orders[each.client_order_id].submitted.instrument_id == 0
    ]
    hedged = sum(units for ts_ns, units in shares if ts_ns < open_ns)
    assert bool(hedged) is (threshold < 100)
    stayed = hedged + sum(event.quantity_change for event in told if event.instrument_id == 0)
    assert not [ts_ns for ts_ns, _ in shares if at("16:00", MONDAY) <= ts_ns < open_ns]
    sold = [(ts_ns, units) for ts_ns, units in shares if ts_ns >= open_ns]
    assert sum(units for _, units in sold) == -stayed != 0
    assert max(ts_ns for ts_ns, _ in sold) < at("09:32", TUESDAY)
    assert list(run.engine.desk.positions.held()) == []
    assert not any(each.quantity for each in run.broker.account.holdings.values())
