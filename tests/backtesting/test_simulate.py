"""A backtest as a function: equal arguments give equal results, in whatever process and folder."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from datetime import date, time
from multiprocessing import get_context

import pytest

from scalpdesk import backtest, load_data
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.config.sources import overrides_of
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.portfolio.explain import PARTS
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.tape import until

DAY = date(2018, 2, 5)
OF_THE_WRAPPER = {
    "run_id",
    "wall_seconds",
    "events_per_second",
    "cpu_seconds",
    "slow",
    "sessions",
    "performance",
}
SWEEP = (
    ("st0cka", {}),
    ("gamma-scalper", {"entry.gate": "off", "hedge.threshold_shares": 2}),
    ("gamma-scalper", {"entry.gate": "off", "simulation.displayed_sizes": False}),
    ("zero-dte", {"simulation.fill_model": "mid"}),
    ("ema-scalper", {}),
)


@pytest.fixture(scope="module")
def tape():
    """Return a day until noon."""
    return until(embedded.reconstruct(DAY), time(12))


def configs():
    return [BacktestConfig.load(strategy, settings, seed=1) for strategy, settings in SWEEP]


@pytest.mark.second
def test_a_market_prepared_once_gives_what_each_run_gives_alone(tape):
    market = PreparedMarket(tape)
    shared = [simulate(config, market).summary() for config in configs()]
    assert backtest("st0cka", market).summary["decision_hash"] == shared[0]["decision_hash"]
    again = [simulate(config, market).summary() for config in configs()]
    assert again == shared
    assert len({summary["decision_hash"] for summary in shared}) == len(SWEEP)
    for (strategy, chosen), summary in zip(SWEEP, shared, strict=True):
        settings = load_settings(strategy, overrides=overrides_of(chosen))
        alone = run_backtest(settings, tape, ManualClock(1), seed=1).summary
        assert {key for key in alone if alone[key] != summary.get(key)} <= OF_THE_WRAPPER


def test_a_result_has_figures_by_day_and_trade_that_sum():
    market = PreparedMarket(embedded.reconstruct_span(DAY, date(2018, 2, 6)))
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


def test_a_result_comes_back_from_another_process_whole():
    config = BacktestConfig.load("st0cka", {"marketdata.mark_seconds": 1})
    result = simulate(config, PreparedMarket(until(embedded.reconstruct(DAY), time(9, 50))))
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


class Packed:
    """A value on its way to another process, packed by a library of the test's choice."""

    def __init__(self, library, value):
        self.library, self.packed = library, library.dumps(value)

    def __reduce__(self):
        return self.library.loads, (self.packed,)


@pytest.mark.second
def test_runs_in_other_processes_and_folders_equal_those_here(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    (tmp_path / "scalpdesk.toml").write_text(
        '[simulation]\nstarting_cash = "5000"\nfees = "alpaca"\n[data]\ncatalog = "other"\n'
        "[risk]\nmax_order_notional = 1\n[strategies.st0cka]\nallowed_days = [2]\n"
    )
    (tmp_path / ".env").write_text("TRADING_API_KEY=other\nTRADING_API_SECRET=keys\n")
    (tmp_path / ".env").chmod(0o600)
    market, several = PreparedMarket(load_data(start=DAY)), configs()[1:2]
    for column in fields(market.tape.quotes):
        getattr(market.tape.quotes, column.name).flags.writeable = False
    here = [simulate(config, market) for config in several]
    assert len(pickle.dumps(market)) < 100_000  # where the market comes from, and no column of it
    with ProcessPoolExecutor(2, get_context("spawn"), os.chdir, (tmp_path,)) as pool:
        work = [
            pool.submit(simulate, Packed(library, config), Packed(library, market))
            for library in (pickle, cloudpickle)
            for config in several
        ]
        for mine, there in zip(here * 2, (each.result() for each in work), strict=True):
            assert there.summary() == mine.summary()
            assert list(there.marks) == list(mine.marks)


def test_a_market_whose_data_has_changed_since_is_refused(monkeypatch):
    packed = pickle.dumps(PreparedMarket(load_data(start=DAY)))
    before = embedded.reconstruct

    def changed(*given, **named):
        tape = before(*given, **named)
        return replace(tape, quotes=replace(tape.quotes, bid=tape.quotes.bid - 0.01))

    monkeypatch.setattr(embedded, "reconstruct", changed)
    market = pickle.loads(packed)  # a worker that raised here would never answer
    with pytest.raises(DataError, match="its quotes differ") as caught:
        simulate(configs()[0], market)
    assert caught.value.where == "embedded: SPY, 2018-02-05 to 2018-02-05"


def test_a_process_that_gets_a_market_again_has_it_prepared():
    market, config = PreparedMarket(load_data(start=date(2018, 2, 6))), configs()[0]
    first, second = (pickle.loads(pickle.dumps(market)) for _ in range(2))
    assert first is second
    simulate(config, market)
    assert pickle.loads(pickle.dumps(market)).known(config, 1) == market.known(config, 1)
    assert pickle.loads(pickle.dumps(market)).tape is first.tape


def test_a_market_of_ones_own_goes_along_with_its_columns():
    week = load_data(start=DAY, end=date(2018, 2, 6))
    day = replace(week, sessions=week.sessions[1:])  # no longer what was loaded
    config = BacktestConfig.load("st0cka")
    same = pickle.loads(pickle.dumps(PreparedMarket(day)))
    assert same.tape.origin is None
    assert len(same.tape.quotes) > 150_000
    assert simulate(config, same).summary() == simulate(config, PreparedMarket(day)).summary()


def test_a_run_names_the_schedule_of_its_days_and_the_rows_that_stand_in():
    """No row of the broker reaches back to 2017: the first one answers, and the summary says so."""
    settings, day = load_settings("st0cka", overrides=["simulation.fees=alpaca"]), date(2017, 11, 24)
    tape = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    summary = run_backtest(settings, tape, ManualClock(0), seed=1).summary
    assert summary["fee_schedule"] == "alpaca"
    assert (summary["fee_rows"]["name"], summary["fee_rows"]["until"]) == ("alpaca", "2017-07-04")
    assert summary["fee_rows"]["assumed"] == {"alpaca": "2024-01-01"}
