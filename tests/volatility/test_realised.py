import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility import realized_vol
from scalpdesk.volatility.realised import ESTIMATORS

ALL = sorted(ESTIMATORS)


def simulated_days(seed, days, vol=0.2, steps=400):
    """Bars of a Brownian log price, without nights, finely enough stepped for its ranges."""
    moves = np.random.default_rng(seed).standard_normal((days, steps)) * vol / math.sqrt(252 * steps)
    path = np.cumsum(moves.reshape(-1)).reshape(days, steps)
    opens = np.concatenate(([0.0], path[:-1, -1]))
    inside = np.column_stack((opens, path))
    logs = {"open": opens, "high": inside.max(axis=1), "low": inside.min(axis=1), "close": path[:, -1]}
    return {name: 100.0 * np.exp(column) for name, column in logs.items()}


@pytest.mark.rows("estimator", ALL)
def test_finds_the_vol_that_made_the_path(estimator):
    got = realized_vol(simulated_days(1, 3000), estimator, window=None).vol
    # Steps miss a little of each range: the range estimators come out low by some 3 %.
    assert got == pytest.approx(0.2, rel=0.06)


@pytest.mark.rows("estimator", ALL)
def test_scales_with_moves_and_with_the_calendar(estimator):
    days = simulated_days(2, 40)
    once = realized_vol(days, estimator).vol
    assert realized_vol(days, estimator, periods_per_year=365).vol == pytest.approx(
        once * math.sqrt(365 / 252)
    )
    squared = {name: column**2 for name, column in days.items()}
    assert realized_vol(squared, estimator).vol == pytest.approx(2 * once)


@pytest.mark.rows("estimator", ALL)
def test_the_series_is_every_windows_own_value(estimator):
    days = simulated_days(3, 30)
    whole = realized_vol(days, estimator, window=7)
    for end in (12, 20, 30):
        upto = {name: column[:end] for name, column in days.items()}
        assert whole.series[end - 1] == pytest.approx(realized_vol(upto, estimator, window=7).vol, rel=1e-12)
    assert len(whole.series) == 30
    assert float(whole) == whole.vol == whole.series[-1]
    np.testing.assert_array_equal(np.asarray(whole), whole.series)


@pytest.mark.rows("estimator", ALL)
def test_too_few_bars_are_a_reason_and_not_a_number(estimator):
    got = realized_vol(simulated_days(4, 10), estimator, window=20)
    assert math.isnan(got.vol)
    assert "over 20 periods: only" in got.reason
    assert realized_vol([], estimator, window=None).reason


def test_a_return_across_a_dropped_bar_is_left_out():
    days = simulated_days(5, 30)
    days["close"][10] = math.nan
    got = realized_vol(days, "close_to_close", window=None, zero_mean=True)
    returns = np.diff(np.log(days["close"]))
    kept = returns[np.isfinite(returns)]
    assert len(kept) == 27
    assert got.vol == pytest.approx(math.sqrt(np.square(kept).mean() * 252))
    assert [bar.position for bar in got.dropped] == [10]
    assert math.isnan(got.series[10])
    assert math.isnan(got.series[11])


def test_the_last_bar_dropped_gives_the_value_before_it():
    days = simulated_days(6, 30)
    before = realized_vol({name: column[:29] for name, column in days.items()}, "parkinson").vol
    days["high"][29] = 1.0
    assert realized_vol(days, "parkinson").vol == before


def test_bipower_does_not_see_a_lone_jump():
    closes = simulated_days(7, 500)["close"].copy()
    quiet = realized_vol(closes, "bipower", window=None).vol
    closes[250:] *= 1.15
    assert realized_vol(closes, "bipower", window=None).vol == pytest.approx(quiet, rel=0.08)
    assert realized_vol(closes, "close_to_close", window=None).vol > 1.1 * quiet


def test_the_kernel_sees_through_noise_in_the_quotes():
    rng = np.random.default_rng(8)
    moves = rng.standard_normal(23_400) * 0.2 / math.sqrt(252 * 23_400)
    closes = np.exp(np.cumsum(moves)) * 100 * np.exp(rng.standard_normal(23_400) * 2e-4)
    per_year = 252 * 23_400
    naive = realized_vol(closes, "close_to_close", window=None, periods_per_year=per_year).vol
    kernel = realized_vol(closes, "realized_kernel", window=None, periods_per_year=per_year).vol
    assert naive > 0.6
    assert kernel == pytest.approx(0.2, rel=0.15)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e6), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0.01, 1e6)),
        min_size=3,
        max_size=12,
    )
)
def test_is_never_negative_nor_a_silent_nan(bars):
    days = [
        {"open": o, "high": max(o, c) * (1 + up), "low": min(o, c) * (1 - down), "close": c}
        for o, up, down, c in bars
    ]
    for estimator in ALL:
        got = realized_vol(days, estimator, window=None)
        assert got.reason is None
        assert 0.0 <= got.vol < math.inf


@pytest.mark.rows(
    ("arguments", "where"),
    [
        ({"estimator": "yang_zang"}, "estimator"),
        ({"estimator": "yang_zhang", "window": 1}, "window"),
        ({"estimator": "parkinson", "window": 0}, "window"),
        ({"estimator": "parkinson", "periods_per_year": 0}, "periods_per_year"),
    ],
)
def test_what_cannot_be_is_refused(arguments, where):
    with pytest.raises(ArgumentError) as refusal:
        realized_vol(simulated_days(9, 5), **arguments)
    assert refusal.value.where == where
    if where == "estimator":
        assert refusal.value.nearest == "yang_zhang"


def test_asking_for_a_realised_vol_does_not_load_the_fitting_library():
    lines = ("import sys", "from scalpdesk.volatility import forecast_vol", "sys.exit('arch' in sys.modules)")
    code = "; ".join(lines)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
