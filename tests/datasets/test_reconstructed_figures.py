"""The recorded figures that the embedded market is set from, measured again from the recorded data."""

import importlib.util
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from scalpdesk.datasets import reconstructed_figures as figures
from scalpdesk.datasets.reconstructed_statistics import embedded_market_statistics

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data"

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project"),
]


def page_script():
    spec = importlib.util.spec_from_file_location(
        "figures_script", ROOT / "docs" / "embedded_market_figures.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(day):
    folder = DATA / "spy_seconds_2013-10"
    return embedded_market_statistics(page_script().recorded_tape(folder, "SPY", day, None))


@pytest.mark.parametrize("expected", figures.RECORDED_SPY_DAYS, ids=lambda row: row.day)
def test_the_recorded_spy_sessions_show_what_is_written_down(expected):
    row = recorded(date.fromisoformat(expected.day))
    assert row.variance_ratio == pytest.approx(expected.variance_ratio, abs=0.006)
    assert row.half_hour_variance[0] == pytest.approx(expected.first_half_hour_share, abs=0.0006)
    assert row.minute_kurtosis == pytest.approx(expected.minute_kurtosis, abs=0.06)
    assert row.changed_seconds_share == pytest.approx(expected.changed_seconds_share, abs=0.006)
    assert row.spread_usd == pytest.approx(expected.median_spread_usd)
    assert row.size_shares == expected.median_size_shares


def test_the_u_shape_is_the_mean_of_the_recorded_sessions():
    profiles = [recorded(date.fromisoformat(row.day)).half_hour_variance for row in figures.RECORDED_SPY_DAYS]
    assert np.mean(profiles, axis=0) == pytest.approx(figures.RECORDED_HALF_HOUR_VARIANCE, abs=0.003)


def test_the_spy_options_of_2023_lie_on_the_spread_and_size_rules():
    rows = duckdb.execute(
        "select symbol, median(bid), median(ask - bid), median(bid_size) from read_parquet(?)"
        " where strftime(ts at time zone 'America/New_York', '%H:%M') between '10:30' and '15:50'"
        " group by symbol order by symbol",
        [str(DATA / "spy_2023-08-03" / "options_quote.parquet")],
    ).fetchall()
    spot, half_move = 449.5, 0.5 * 449.5 * 0.16 * np.sqrt(29 / 365)
    for symbol, bid, spread, size in rows:
        strike, is_call = int(symbol[-8:]) / 1000, symbol[-9] == "C"
        intrinsic = max(spot - strike if is_call else strike - spot, 0.0)
        deep = max(intrinsic - half_move, 0.0)
        rule = (
            figures.SPREAD_TICK_USD
            + figures.SPREAD_PER_PREMIUM * max(bid - intrinsic, 0.0)
            + figures.SPREAD_PER_INTRINSIC * deep
        )
        assert 0.5 * spread <= rule <= 2.0 * spread
        delta = 0.2 if intrinsic == 0 else 0.85
        median_size = figures.SIZE_AT_DELTA_20 * 10 ** (figures.SIZE_LOG10_SLOPE * (delta - 0.2))
        assert 0.6 * size <= median_size <= 1.6 * size
