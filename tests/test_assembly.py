"""Options level of a simulated account that begins with positions."""

import re
from contextlib import suppress
from decimal import Decimal

import pytest

from scalpdesk.assembly import build_engine, connect_broker, require_tradable
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.shapes import SHAPES
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk_testing.kit.instruments import straddle_book

SHARE, CALL, PUT = 0, 1, 2
UNCOVERED_SETS = {
    ("straddle", "short"),
    ("strangle", "short"),
    ("ratio", "long"),
    ("back_ratio", "short"),
    ("risk_reversal", "short"),
}


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


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_backtest_of_a_structure_runs_or_names_the_settings_that_let_it(shape, side, tmp_path):
    def settings(*more):
        keys = (f"structure.shape={shape}", f"structure.side={side}", *more)
        return load_settings("gamma-scalper", cwd=tmp_path, overrides=keys)

    def check(loaded):
        require_tradable(loaded, straddle_book(), {"underlying": "SPY"}, is_backtest=True)

    is_uncovered = (shape, side) in UNCOVERED_SETS
    with suppress(ConfigError):
        check(settings("risk.max_short_contracts=10"))
        assert not is_uncovered
    try:
        check(settings())
    except ConfigError as error:
        pasted = re.findall(r"[a-z_]+\.[a-z_]+=[0-9]+", error.fix)
        assert ("simulation.options_level=4" in pasted) is is_uncovered
        check(settings(*pasted))
    else:
        assert shape in {"straddle", "strangle"}
        assert side == "long"


@pytest.mark.parametrize("day", ["2018-03-17", "2018-03-15", "2017-01-03"])
def test_an_expiry_that_no_option_has_is_refused_with_the_nearest(tmp_path, day):
    """On a Saturday, on a session without one, in the past."""
    book = straddle_book()
    listed = [contract.expiry.isoformat() for _, contract in book.options("SPY")]
    settings = load_settings("gamma-scalper", cwd=tmp_path, overrides=[f"selection.expiry={day}"])
    with pytest.raises(ConfigError) as caught:
        require_tradable(settings, book, {"underlying": "SPY"}, is_backtest=True)
    assert caught.value.nearest.split(" or ")[0] in listed
    pasted = caught.value.fix.removeprefix("set ")
    settings = load_settings("gamma-scalper", cwd=tmp_path, overrides=[pasted])
    require_tradable(settings, book, {"underlying": "SPY"}, is_backtest=True)
