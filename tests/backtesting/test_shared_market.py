"""A market in blocks: runs over it equal those over its tape, and what they read cannot be written."""

import pickle
from dataclasses import replace
from datetime import date
from itertools import accumulate

import numpy as np
import pytest

from scalpdesk.backtesting.shared_market import SharedMarket, pack, share_in_files, unpack
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk_testing.kit.folders import BUY_ONE, folder

HALF_DAY, AFTER = date(2017, 7, 3), date(2017, 7, 5)


def test_a_value_comes_back_from_its_block_with_arrays_that_cannot_be_written():
    value = {"a": np.arange(7), "b": [np.zeros(0), np.eye(3)], "c": "text", "d": np.array([True])}
    block = np.frombuffer(b"".join(pack(value)), np.uint8)
    found = unpack(block)
    assert found.keys() == value.keys()
    assert found["c"] == "text"
    for one, other in ((found["a"], value["a"]), (found["b"][0], value["b"][0]), (found["b"][1], np.eye(3))):
        assert np.array_equal(one, other)
        assert not one.flags.writeable
    assert np.shares_memory(found["a"], block)


@pytest.mark.parametrize("strategy", ["st0cka", "gamma-scalper"])
@pytest.mark.second
def test_runs_over_blocks_equal_those_over_the_tape(tmp_path, strategy):
    market = PreparedMarket(embedded.reconstruct_span(HALF_DAY, AFTER))
    settings = {"entry.gate": "advise"} if strategy == "gamma-scalper" else {}
    configs = [
        BacktestConfig.load(strategy, settings | {"simulation.displayed_sizes": sizes}, seed=1)
        for sizes in (True, False)
    ]
    seen = []
    shared = share_in_files(market, tmp_path, configs=configs, report=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    packed = pickle.dumps(shared)
    assert len(packed) < 500_000  # no rows
    there = pickle.loads(packed).open()
    for config in configs:
        mine, theirs = simulate(config, market), simulate(config, there)
        assert theirs.summary() == mine.summary()
        assert theirs.daily() == mine.daily()
        assert theirs.fills


def test_a_run_is_followed_by_session_and_stops_when_asked_to(tmp_path):
    market = PreparedMarket(embedded.reconstruct_span(HALF_DAY, AFTER))
    config = BacktestConfig.load("st0cka", seed=1)
    seen = []
    whole = simulate(config, market, after_session=lambda *now: seen.append(now) or True)
    totals = [day["total"] for day in whole.daily().values()]
    assert [session for session, _ in seen] == list(whole.sessions)
    assert [pnl for _, pnl in seen] == list(accumulate(totals))
    cut = simulate(config, market, after_session=lambda *_: False)
    assert cut.sessions == whole.sessions[:1]
    assert [day["total"] for day in cut.daily().values()] == totals[:1]


def test_a_worker_of_another_version_is_refused(tmp_path):
    market = PreparedMarket(embedded.reconstruct(HALF_DAY))
    shared = replace(share_in_files(market, tmp_path), build="0.0.0")
    assert isinstance(shared, SharedMarket)
    with pytest.raises(ConfigError, match=r"0\.0\.0"):
        shared.open()


def test_a_strategy_folder_runs_as_any_strategy(tmp_path):
    made = folder(tmp_path, BUY_ONE)
    settings = {"folder": str(made), "isolate": False, "heartbeat_seconds": 600, "price_change_usd": 5}
    config = BacktestConfig.load("external", settings, seed=1)
    market = PreparedMarket(embedded.reconstruct(HALF_DAY))
    first, second = simulate(config, market), simulate(config, market)
    assert first.fills > 1
    assert (first.decision_hash, first.pnl) == (second.decision_hash, second.pnl)
    with pytest.raises(ConfigError):
        simulate(BacktestConfig.load("external", {"folder": str(tmp_path / "none")}), market)
