"""Marks only look: how often the book is marked changes no trade."""

from datetime import date

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings

HALF_DAY = date(2018, 12, 24)
SETTINGS = {
    "gamma-scalper": ("entry.gate=off", "exits.edge_gone=true"),
    "zero-dte": ("entry.mode=straddle",),
}


def trades(strategy, mark_seconds):
    """Return every execution of a session: order, quantity, price and instant."""
    overrides = (*SETTINGS[strategy], f"marketdata.mark_seconds={mark_seconds}")
    settings = load_settings(strategy, overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=HALF_DAY, seed=1)
    header, engine = build_backtest(settings, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(settings, tape, header, engine, None)
    run.runner.run()
    orders = engine.desk.orders.orders
    return [(order.filled, order.average_price, order.created_ns) for order in orders.values()]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SETTINGS)
def test_the_marking_interval_changes_no_trade(strategy):
    every_minute = trades(strategy, 60)
    assert len(every_minute) > 10
    assert trades(strategy, 10) == every_minute
    assert trades(strategy, 300) == every_minute
