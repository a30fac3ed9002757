import math
from datetime import date
from functools import cache

import numpy as np
import pytest

from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.embedded.days import available_sessions, market_day
from scalpdesk.datasets.embedded.market import session_cents
from scalpdesk.datasets.embedded.path import SessionCents, draw_path, expected_clock, u_shape
from scalpdesk_testing.market_statistics import RECORDED_HALF_HOUR_VARIANCE

FULL, HALF = 23_400, 12_600
SHAPES = {
    "wanders": SessionCents(24_000, 24_150, 23_880, 24_040),
    "opens at the high": SessionCents(19_652, 19_652, 18_670, 18_932),
    "opens at the low, closes at the high": SessionCents(20_000, 20_210, 20_000, 20_210),
    "closes a cent under the high": SessionCents(23_631, 24_678, 23_466, 24_677),
    "high a cent above the open": SessionCents(20_000, 20_001, 19_850, 19_900),
    "low a cent below the close": SessionCents(20_000, 20_100, 19_899, 19_900),
    "moves half a dollar": SessionCents(24_400, 24_425, 24_375, 24_401),
    "closes where it opened": SessionCents(20_000, 20_150, 19_850, 20_000),
}


def garman_klass(cents):
    return (
        0.5 * math.log(cents.high / cents.low) ** 2
        - (2 * math.log(2) - 1) * math.log(cents.close / cents.open) ** 2
    )


@cache
def path_of(cents, seed=1, seconds=FULL):
    return draw_path(np.random.Generator(np.random.PCG64(seed)), seconds, cents, garman_klass(cents))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seconds", [FULL, HALF])
def test_the_four_prices_are_met_to_the_cent_at_their_anchors(name, seconds):
    cents = SHAPES[name]
    for seed in range(2):
        path = path_of(cents, seed, seconds)
        half_cents = path.bid_cents + path.ask_cents
        assert len(half_cents) == seconds + 1
        assert half_cents[0] == 2 * cents.open
        assert half_cents[-1] == 2 * cents.close
        assert half_cents.max() == 2 * cents.high
        assert half_cents.min() == 2 * cents.low
        assert [half_cents[at] for at in path.anchors] == [
            2 * price for price in (cents.open, cents.high, cents.low, cents.close)
        ]


@pytest.mark.parametrize("name", SHAPES)
def test_quotes_are_a_cent_wide_and_two_at_the_four_prices(name):
    path = path_of(SHAPES[name])
    width = path.ask_cents - path.bid_cents
    anchored = np.zeros(len(width), dtype=bool)
    anchored[path.anchors] = True
    assert set(width[~anchored]) == {1}
    assert set(width[anchored]) == {2}


@pytest.mark.parametrize("name", SHAPES)
def test_the_extremes_are_touched_not_sat_on(name):
    cents = SHAPES[name]
    shares = []
    for seed in range(3):
        path = path_of(cents, seed, FULL)
        at_edge = (path.bid_cents >= cents.high - 1) | (path.ask_cents <= cents.low + 1)
        shares.append(at_edge.mean())
    assert np.mean(shares) < 0.02


def test_a_seed_gives_the_same_path_and_another_seed_another():
    cents = SHAPES["wanders"]
    one, again, two = (path_of.__wrapped__(cents, seed) for seed in (1, 1, 2))
    assert one.bid_cents.tobytes() == again.bid_cents.tobytes()
    assert np.mean(one.bid_cents != two.bid_cents) > 0.9


def test_realised_variance_of_many_paths_is_the_garman_klass_estimate():
    ratios = []
    for cents in SHAPES.values():
        for seed in range(3):
            returns = np.diff(np.log(path_of(cents, seed, FULL).mid[::60]))
            ratios.append(np.sum(returns**2) / garman_klass(cents))
    # 24 paths of 390 minutes with kurtosis about 4.5: one ratio has a standard error near 0.10.
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * 0.10 / math.sqrt(len(ratios)))
    assert 0.04 < np.std(ratios) < 0.16


REAL_DAYS = [
    "2015-08-24",
    "2018-02-05",
    "2014-10-15",
    "2016-06-24",
    "2018-12-26",
    "2018-10-10",
    "2016-03-10",
    "2014-06-06",
    "2015-03-18",
    "2016-11-09",
    "2017-05-01",
    "2017-07-25",
    "2017-10-05",
    "2017-11-22",
    "2018-01-03",
    "2014-01-03",
    "2014-11-28",
    "2015-12-24",
    "2017-11-24",
    "2018-07-03",
]
HALF_DAYS = {"2014-11-28", "2015-12-24", "2017-11-24", "2018-07-03"}


def test_realised_variance_of_real_days_is_within_sampling_error_of_garman_klass():
    scores = []
    for text in REAL_DAYS:
        day = market_day(date.fromisoformat(text))
        for seed in (1, 2):
            generator = np.random.Generator(np.random.PCG64([day.day.toordinal(), seed]))
            seconds = HALF if text in HALF_DAYS else FULL
            path = draw_path(generator, seconds, session_cents(day), day.garman_klass_variance)
            returns = np.diff(np.log(path.mid[::60]))
            realised = np.sum(returns**2)
            error = math.sqrt(2.0 / 3.0 * np.sum(returns**4)) / day.garman_klass_variance
            scores.append((realised / day.garman_klass_variance - 1.0) / error)
    assert np.abs(scores).max() < 4.5
    assert abs(np.mean(scores)) < 3.5 / math.sqrt(len(scores))
    assert 0.7 < np.std(scores) < 1.3


def test_high_and_low_come_at_any_time_of_the_day():
    times = [path_of(SHAPES["wanders"], seed, FULL).anchors[1] / FULL for seed in range(12)]
    assert min(times) < 0.35
    assert max(times) > 0.65


def test_the_expected_clock_is_the_integral_of_the_u_shape():
    grid = np.linspace(0.0, 1.0, 20_001)
    shape = u_shape(0.5 * (grid[1:] + grid[:-1]))
    numeric = np.concatenate(([0.0], np.cumsum(shape))) / shape.sum()
    assert expected_clock(grid) == pytest.approx(numeric, abs=1e-6)


def test_the_u_shape_is_the_recorded_one_smoothed():
    model = np.diff(expected_clock(np.linspace(0.0, 1.0, 14)))
    recorded = np.array(RECORDED_HALF_HOUR_VARIANCE)
    assert recorded.sum() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(model - recorded).max() < 0.03
    assert np.corrcoef(model, recorded)[0, 1] > 0.8


def test_the_minutes_of_the_second_share_move_with_the_firsts_and_keep_their_own_variance():
    correlations, ratios = [], []
    for day in available_sessions()[7::200]:
        paths = [market._path(day, 1, symbol) for symbol in ("SPY", "QQQ")]
        first, second = (np.diff(np.log(path.mid[::60])) for path in paths)
        correlations.append(np.corrcoef(first, second)[0, 1])
        ratios.append((second**2).sum() / market_day(day, "QQQ").garman_klass_variance)
        cents = session_cents(market_day(day, "QQQ"))
        ends = paths[1].mid[0], paths[1].mid.max(), paths[1].mid.min(), paths[1].mid[-1]
        assert np.rint(100 * np.array(ends)).tolist() == [cents.open, cents.high, cents.low, cents.close]
    # the rounding to cents and the day's own extremes take a little of it
    assert np.mean(correlations) == pytest.approx(figures.NASDAQ_CORRELATION, abs=0.025)
    assert min(correlations) > 0.88
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)
