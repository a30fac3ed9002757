"""Figures of volatility: the reference's worked cases (strategies H) and S&P 500 windows of 22 days."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.volatility import realized_vol
from scalpdesk.volatility.forecast import ewma_path
from scalpdesk.volatility.garch import garch_long_run, garch_path
from scalpdesk.volatility.regime import iv_percentile, iv_rank
from scalpdesk_testing.field_formulas import har_value

REL = 1e-9
CLOSES = [100, 101, 102.4, 100.3, 101.1, 103.9]
BARS = {
    "open": [100, 101.2, 102, 100.1, 101.5],
    "high": [102, 103, 102.6, 101.4, 104.2],
    "low": [99, 100.5, 99.8, 98.7, 101.3],
    "close": [101, 102.4, 100.3, 101.1, 103.9],
}
WINDOWS = Path(__file__).with_name("sp500_realized_vol.csv")


def test_close_to_close():
    assert realized_vol(CLOSES, "close_to_close", 5).vol == pytest.approx(0.2788859281, rel=REL)
    zero_mean = realized_vol(CLOSES, "close_to_close", 5, zero_mean=True)
    assert zero_mean.vol == pytest.approx(0.277445990359, rel=REL)


@pytest.mark.parametrize(
    ("estimator", "vol"),
    [("parkinson", 0.262325564099), ("garman_klass", 0.269643529114), ("rogers_satchell", 0.263091750706)],
)
def test_ranges(estimator, vol):
    assert realized_vol(BARS, estimator, 5).vol == pytest.approx(vol, rel=REL)


def test_yang_zhang_after_a_close_of_100():
    bars = {name: [100.0, *column] for name, column in BARS.items()}
    assert realized_vol(bars, "yang_zhang", 5).vol == pytest.approx(0.264498544088, rel=REL)


def test_ewma():
    variance = ewma_path(np.array([0.01, -0.02, 0.005]), 1e-4, decay=0.94)[-1]
    assert math.sqrt(252 * variance) == pytest.approx(0.16831470524, rel=REL)


def test_garch():
    assert math.sqrt(252 * garch_long_run(2e-6, 0.98)) == pytest.approx(0.158745078664, rel=REL)
    mean = garch_path(2e-6, 0.98, 2e-4, 10).mean()
    assert math.sqrt(252 * mean) == pytest.approx(0.219656154779, rel=REL)


def test_har():
    assert har_value((0.01, 0.35, 0.35, 0.22), (0.15, 0.18, 0.16)) == pytest.approx(0.1607, rel=REL)


def test_iv_rank_and_percentile():
    history = [0.12, 0.15, 0.18, 0.22, 0.32]
    assert iv_rank(0.2, history, min_observations=5) == pytest.approx(0.4, rel=REL)
    assert iv_percentile(0.2, history, min_observations=5) == pytest.approx(0.6, rel=REL)
    flat = [0.2, 0.2, 0.2]
    assert iv_rank(0.2, flat, min_observations=3) is None
    assert iv_percentile(0.2, flat, min_observations=3) == 0.0


def _windows():
    with WINDOWS.open() as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("row", _windows(), ids=lambda row: row["last_day"])
def test_sp500_windows(row):
    from arch.data import sp500  # its import takes more than half a second

    days = sp500.load()
    last = days.index.get_loc(row["last_day"])
    seen = days.iloc[last - 22 : last + 1]
    for estimator, vol in row.items():
        if estimator != "last_day":
            got = realized_vol(seen, estimator, 22).vol
            assert got == pytest.approx(float(vol), rel=1e-8), estimator
