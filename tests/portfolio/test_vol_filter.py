import math

import numpy as np
import pytest

from scalpdesk.portfolio.vol_filter import VolAverage, VolFilter

MINUTE = 1.0 / 252 / 390


def test_noise_of_the_quotes_hardly_reaches_the_state():
    rng = np.random.default_rng(5)
    state = VolFilter()
    seen = []
    noise = 0.0043
    for measured in 0.157 + noise * rng.standard_normal(390):
        state.update(MINUTE, float(measured), noise)
        seen.append(state.vol)
    settled = np.array(seen[30:])
    assert np.abs(settled - 0.157).max() < noise
    assert np.diff(settled).std() < 0.25 * noise
    assert state.deviation < 0.4 * noise


def test_the_state_follows_a_volatility_that_moves():
    rng = np.random.default_rng(6)
    true = 0.15 * np.exp(np.cumsum(rng.standard_normal(3900)) * math.sqrt(MINUTE))
    state = VolFilter()
    misses = []
    for vol in true:
        state.update(MINUTE, float(vol + 0.002 * rng.standard_normal()), 0.002)
        misses.append((state.vol - vol) / state.deviation)
    # its own standard deviation is that of its errors
    assert float(np.std(misses[100:])) == pytest.approx(1.0, abs=0.15)


def test_one_wild_quote_is_passed_over_and_a_new_level_is_taken():
    state = VolFilter()
    state.update(0.0, 0.16, 0.001)
    assert [state.update(MINUTE, vol, 0.001) for vol in (0.3, 0.161, 0.19, 0.19, 0.19)] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert state.vol == 0.19


def test_after_a_night_the_first_quotes_are_the_level_until_one_agrees_with_the_one_before():
    state = VolFilter()
    for vol in (0.16, 0.161, 0.16):
        state.update(MINUTE, vol, 0.001)
    state.begin_session()
    assert [state.update(MINUTE, vol, 0.001) for vol in (0.3, 0.24, 0.241, 0.16)] == [True, True, True, False]
    assert state.vol == pytest.approx(0.2405, abs=6e-4)


def test_a_tighter_quote_weighs_more():
    tight, wide = VolFilter(), VolFilter()
    for state, deviation in ((tight, 0.001), (wide, 0.01)):
        state.update(0.0, 0.16, 0.002)
        state.update(0.0, 0.162, deviation)
    assert 0.16 < wide.vol < tight.vol < 0.162


def test_a_mean_is_as_sure_as_the_weights_of_its_quotes():
    mean = VolAverage(half_life_seconds=60.0)
    for _ in range(60):
        mean.average(60.0, 0.16, 0.01)
    # weights g (1 - g)^k with g a half: the variance of their mean is g / (2 - g) of one quote's
    assert mean.deviation == pytest.approx(0.01 * math.sqrt(1 / 3))
