"""Three readings must agree before a fall counts as too far."""

import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk_strategies.st0cka.mean_reversion import (
    MeanReversionConfig,
    lower_bollinger_band,
    read_mean_reversion,
    simple_rsi,
)

FALL = [590.0, 590.1, 590.2, 590.05, 590.15, 590.0, 590.1, 590.2, 590.05, 590.15]
FALL += [590, 589.7, 589.5, 589.2, 589, 588.6, 588.2, 587.6, 587, 586.0]
CONFIG = MeanReversionConfig()


def test_a_fall_below_all_three_is_an_entry():
    reading = read_mean_reversion(586.0, 590.0, FALL, CONFIG)
    assert reading.is_entry
    assert reading.failing == {}
    assert reading.vwap_deviation == pytest.approx(-4 / 590, rel=1e-12)
    assert reading.lower_band == pytest.approx(586.923230049, rel=1e-11)
    assert reading.rsi == pytest.approx(6.52173913044, rel=1e-11)


@pytest.mark.parametrize(
    ("price", "vwap", "closes", "against"),
    [
        (586.0, 588.9, FALL, "vwap"),
        (587.0, 593.0, FALL, "bollinger"),
        (500.0, 590.0, [586.0, 590.0] * 10, "rsi"),
        (594.0, 590.0, FALL, "vwap"),
    ],
)
def test_one_reading_that_does_not_agree_is_enough_against_it(price, vwap, closes, against):
    reading = read_mean_reversion(price, vwap, closes, CONFIG)
    assert not reading.is_entry
    assert against in reading.failing


def test_the_threshold_itself_counts():
    config = MeanReversionConfig(vwap_deviation_threshold=0.0078125)
    assert read_mean_reversion(126.0 / 128 * 600, 600.0 / 128 * 127, FALL, config).vwap_deviation < -0.0078
    exactly = read_mean_reversion(127.0, 128.0, [128.0 + 0.01 * n for n in range(20, 0, -1)], config)
    assert exactly.vwap_deviation == -0.0078125
    assert exactly.is_entry


def test_prices_that_never_move_are_no_entry():
    assert simple_rsi([100.0] * 15) == 50.0
    assert not read_mean_reversion(99.0, 100.0, [100.0] * 20, CONFIG).is_entry


def test_prices_that_only_rise_have_an_rsi_of_100():
    assert simple_rsi([float(n) for n in range(1, 16)]) == 100.0


def test_the_band_is_of_the_last_closes_and_of_the_population():
    assert lower_bollinger_band([1e6, *([10.0, 12.0] * 10)], 20, 2.0) == pytest.approx(9.0)


def test_too_few_closes_are_refused():
    with pytest.raises(ArgumentError, match="too few closes"):
        read_mean_reversion(100.0, 100.0, [100.0] * 19, CONFIG)


def test_a_price_that_is_none_is_refused():
    with pytest.raises(ArgumentError, match="above zero"):
        read_mean_reversion(100.0, 0.0, [100.0] * 20, CONFIG)
