"""Folders of runs: each run has its own from its first moment on, and a refused run leaves no folder."""

from datetime import date
from types import SimpleNamespace

import pytest

from scalpdesk.backtesting.runs import _claimed_run_id, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.datasets.embedded import market

CLOCK = SimpleNamespace(now_ns=lambda: 1_500_000_000 * 10**9)


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(tmp_path):
    """Also while none of them has written its journal yet."""
    settings = load_settings("gamma-scalper")
    ids = [_claimed_run_id(settings, CLOCK.now_ns(), tmp_path / "runs") for _ in range(3)]
    assert ids[0].startswith("20170714-024000-gamma-scalper-")
    assert ids[1:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert sorted(ids) == sorted(folder.name for folder in (tmp_path / "runs").iterdir())


def test_a_run_that_its_market_refuses_leaves_no_folder(tmp_path):
    settings = load_settings("gamma-scalper", overrides=("desk.currency=BTC",))
    with pytest.raises(ConfigError, match="BTC"):
        run_backtest(settings, market.reconstruct(date(2018, 2, 5)), CLOCK, runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_the_disk_refuses_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    settings = load_settings("gamma-scalper")
    with pytest.raises(StopError) as caught:
        run_backtest(settings, market.reconstruct(date(2018, 2, 5)), CLOCK, runs_dir=tmp_path / "runs")
    assert str(tmp_path / "runs") in str(caught.value)


def test_a_run_whose_strategy_folder_is_refused_leaves_no_folder(tmp_path):
    settings = load_settings("external")
    with pytest.raises(ConfigError, match="folder"):
        run_backtest(settings, market.reconstruct(date(2018, 2, 5)), CLOCK, runs_dir=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
