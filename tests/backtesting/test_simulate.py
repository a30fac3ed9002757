"""A backtest as a function: equal arguments give equal results, in whatever process and folder."""

import pickle
from datetime import date

import pytest

from fakes.clock import ManualClock
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.config.sources import overrides_of
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.portfolio.explain import PARTS

DAY, WEEK = date(2018, 2, 5), date(2018, 2, 9)
OF_THE_WRAPPER = {"run_id", "wall_seconds", "events_per_second", "cpu_seconds", "slow"}
SWEEP = (
    ("st0cka", {}),
    ("gamma-scalper", {"entry.gate": "off", "hedge.threshold_shares": 2}),
    ("gamma-scalper", {"entry.gate": "off", "simulation.displayed_sizes": False}),
    ("zero-dte", {"simulation.fill_model": "mid"}),
    ("ema-scalper", {}),
)


@pytest.fixture(scope="module")
def tape():
    return embedded.reconstruct(DAY)


def configs():
    return [BacktestConfig.load(strategy, settings, seed=1) for strategy, settings in SWEEP]


def test_a_market_prepared_once_gives_what_each_run_gives_alone(tape):
    market = PreparedMarket(tape)
    shared = [simulate(config, market).summary() for config in configs()]
    again = [simulate(config, market).summary() for config in configs()]
    assert again == shared
    assert len({summary["decision_hash"] for summary in shared}) == len(SWEEP)
    for (strategy, chosen), summary in zip(SWEEP, shared, strict=True):
        settings = load_settings(strategy, overrides=overrides_of(chosen))
        alone = run_backtest(settings, tape, ManualClock(1), seed=1).summary
        assert {key for key in alone if alone[key] != summary.get(key)} <= OF_THE_WRAPPER


def test_a_result_has_figures_by_day_and_trade_that_sum():
    market = PreparedMarket(embedded.reconstruct_span(DAY, WEEK))
    result = simulate(BacktestConfig.load("st0cka", {"simulation.fees": "alpaca"}), market)
    days = result.daily()
    assert [session.day for session in result.sessions] == list(days)
    assert sum(day["total"] for day in days.values()) == sum(mark.nav_change for mark in result.marks)
    for day in days.values():
        assert day["total"] == sum(day[part] for part in PARTS)
    assert round(sum(day["fees"] for day in days.values()), 2) == result.pnl["fees"] < 0
    assert not result.end_positions
    assert len(result.trades) > 10
    assert round(sum(result.trades), 2) == result.pnl["total"]
    assert result.summary()["fills"] == result.fills >= 2 * len(result.trades)
    assert len(result.to_frame()) == len(result.marks)


def test_a_result_comes_back_from_another_process_whole(tape):
    config = BacktestConfig.load("gamma-scalper", {"marketdata.mark_seconds": 15, "entry.gate": "off"})
    result = simulate(config, PreparedMarket(tape))
    assert len(result.marks) > 1_024  # more than stay unpacked
    same = pickle.loads(pickle.dumps(result))
    assert list(same.marks) == list(result.marks)
    assert (same.summary(), same.daily(), same.trades) == (result.summary(), result.daily(), result.trades)


def test_a_configuration_has_no_keys_and_the_hash_of_its_settings(tmp_path):
    keys = tmp_path / ".env"
    keys.write_text("TRADING_API_KEY=key-of-mine\nTRADING_API_SECRET=secret-of-mine\n")
    keys.chmod(0o600)
    settings = load_settings("st0cka", cwd=tmp_path)
    assert settings.venue_keys() is not None
    config = BacktestConfig.of(settings, seed=7)
    assert b"of-mine" not in pickle.dumps(config)
    assert pickle.loads(pickle.dumps(config)) == config
    assert (config.config_hash, config.seed) == (settings.config_hash, 7)


def test_a_strategy_folder_is_refused(tape):
    config = BacktestConfig.load("external", {"folder": "anywhere"})
    with pytest.raises(ConfigError, match="the code of a folder is no part of the configuration"):
        simulate(config, PreparedMarket(tape))
