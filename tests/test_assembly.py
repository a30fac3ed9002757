"""Options level of a simulated account that begins with positions."""

from decimal import Decimal

import pytest

from scalpdesk.assembly import build_engine, connect_broker
from scalpdesk.config.settings import load_settings
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk_testing.kit.instruments import straddle_book

SHARE, CALL, PUT = 0, 1, 2


@pytest.mark.parametrize(
    ("held", "level"),
    [
        ({}, SPREADS),
        ({CALL: 1, PUT: 1}, SPREADS),
        ({CALL: -1, PUT: -1}, UNCOVERED),
        ({CALL: -1, SHARE: 100}, SPREADS),
        ({CALL: -2, SHARE: 100}, UNCOVERED),
        ({PUT: -1}, SPREADS),
    ],
)
def test_an_account_that_begins_with_an_uncovered_call_may_sell_its_hedge(held, level, tmp_path):
    config = load_settings("gamma-scalper", cwd=tmp_path).config
    positions = {number: (Decimal(quantity), Decimal(5)) for number, quantity in held.items()}
    made = connect_broker(config, straddle_book(), ExchangeHours(), Decimal(100_000), positions)
    assert made.account.options_level == level


@pytest.mark.parametrize("level", [0, 2, 4])
def test_the_gate_and_the_simulated_broker_read_the_same_options_level(level, tmp_path):
    config = load_settings(
        "gamma-scalper", cwd=tmp_path, overrides=[f"simulation.options_level={level}"]
    ).config
    made = connect_broker(config, straddle_book(), ExchangeHours(), Decimal(100_000), {})
    assert made.account.options_level == level
    settings = load_settings("gamma-scalper", cwd=tmp_path)
    data = {"quote_seconds": 1.0, "dividend_yield": 0.0, "order_prefix": "t", "underlying": "SPY"}
    engine = build_engine(config, "gamma-scalper", settings.strategy_config, straddle_book(), data)
    assert engine.desk.margins.options_level == level
