"""Quotes of held options are disturbed: the day is traded as before, or the desk stops and says so."""

from datetime import date, time

import pytest

from scalpdesk.backtesting.simulate import BacktestConfig
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.research.quote_stress import stress_quotes
from scalpdesk_testing.kit.tape import until

pytestmark = pytest.mark.second

GAMMA = ("entry.gate=off", "exits.edge_gone=false")
TEN = ("straddles=10", "risk.max_daily_loss_fraction=0.01", "risk.max_order_premium=20000")
COIN = (
    *(
        "desk.currency=BTC",
        "simulation.starting_cash=2",
        "simulation.fees=deribit",
        "underlying=BTC-PERPETUAL",
    ),
    *("selection.min_expiration_days=2", "selection.max_expiration_days=30", "entry.orders=legs"),
    *("entry.gate=off", "entry.not_before=03:30", "entry.not_after=23:30", "exits.min_dte=none"),
)


def config_of(strategy, *overrides):
    return BacktestConfig.of(load_settings(strategy, overrides=overrides), seed=1)


def coin_tape():
    day = date(2025, 3, 5)
    return reconstruct_coin(day, day, seed=1, underlying="BTC-PERPETUAL")


CASES = {
    "gamma scalper": (
        "gamma-scalper",
        GAMMA,
        lambda: until(embedded.reconstruct(date(2017, 5, 17)), time(12)),
        90,
    ),
    "ten, small loss limit": (
        "gamma-scalper",
        (*GAMMA, *TEN),
        lambda: until(embedded.reconstruct(date(2017, 5, 17)), time(12)),
        50,
    ),
    "zero-dte": (
        "zero-dte",
        ("entry.mode=straddle",),
        lambda: embedded.reconstruct(date(2018, 2, 5)),
        40,
    ),
    "coin": ("gamma-scalper", COIN, coin_tape, 20),
    "scalps": (
        "ema-scalper",
        ("min_volume_ratio=0",),
        lambda: until(embedded.reconstruct(date(2017, 8, 18)), time(13)),
        20,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_disturbed_quotes_change_no_trade_in_options(case):
    """220 draws together."""
    strategy, overrides, tape, draws = CASES[case]
    found = stress_quotes(config_of(strategy, *overrides), tape(), draws=draws, seed=7)
    assert found.trades >= 2
    assert sum(found.draws.values()) == draws
    assert [each for each in found.differences if not each.is_stopped] == []
    assert found.worst_fraction > 0.9
    assert found.passed


def test_equal_seeds_draw_equal_disturbances():
    tape = until(embedded.reconstruct(date(2017, 5, 17)), time(10, 30))
    config = config_of("gamma-scalper", *GAMMA)
    assert stress_quotes(config, tape, draws=4, seed=5) == stress_quotes(config, tape, draws=4, seed=5)


def test_a_day_without_a_trade_in_options_has_nothing_to_disturb():
    tape = until(embedded.reconstruct(date(2017, 5, 17)), time(10))
    found = stress_quotes(config_of("gamma-scalper", "entry.not_before=15:00"), tape, draws=3)
    assert (found.trades, found.draws, found.differences, found.passed) == (0, {}, (), True)


def test_a_day_that_the_gate_refuses_says_so_and_what_lets_it_trade():
    tape = until(embedded.reconstruct(date(2018, 2, 5)), time(11, 0))
    found = stress_quotes(BacktestConfig.load("gamma-scalper"), tape, draws=3)
    assert found.trades == 0
    assert "entry gate refuses" in found.no_trade
    assert "--set entry.gate=advise" in found.no_trade
