"""Options level of a simulated account that begins with positions."""

from decimal import Decimal

import pytest

from fakes.instruments import straddle_book
from scalpdesk.assembly import connect_broker
from scalpdesk.config.settings import load_settings
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED
from scalpdesk.simulation.hours import ExchangeHours

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
