import numpy as np
import pytest

from scalpdesk.datasets.embedded.chain import (
    ALL_ROWS,
    MOST_QUIET_ROWS,
    MOST_ROUND_ROWS,
    quiet_means,
    update_times,
)

OPEN, CLOSE = 0, 23_400 * 10**9
STAMPS = np.arange(23_400, dtype=np.int64) * 10**9
STRIKES = np.arange(180.0, 221.0)


def drawn(mid, mean_seconds=30.0, quote_seconds=1.0, strikes=STRIKES):
    return update_times(
        np.random.Generator(np.random.PCG64(1)),
        OPEN,
        CLOSE,
        np.full(len(strikes), mean_seconds),
        strikes,
        STAMPS,
        mid,
        quote_seconds,
    )


def walk(step_usd):
    steps = np.random.Generator(np.random.PCG64(5)).standard_normal(23_400) * step_usd
    return 200.0 + np.cumsum(steps) - np.linspace(0.0, steps.sum(), 23_400)


def test_a_still_share_leaves_only_the_passing_of_time():
    stamps, row = drawn(np.full(23_400, 200.0))
    counts = np.bincount(row, minlength=len(STRIKES))
    # 780 from the stream and two that are always there; four standard deviations of a Poisson count.
    assert np.all(np.abs(counts - 782) < 4 * np.sqrt(780))
    assert np.all(np.diff(stamps) >= 0)


def test_a_jump_is_answered_near_the_money_within_half_a_second():
    mid = np.where(np.arange(23_400) < 12_000, 200.0, 200.05)
    stamps, row = drawn(mid, mean_seconds=100.0)
    answered = row[(stamps > 12_000 * 10**9) & (stamps < 12_000.5 * 10**9)]
    near = np.flatnonzero(np.abs(STRIKES - 200.05) <= 8.0)
    assert set(near) <= set(answered)


def test_a_jump_four_times_as_far_is_answered_by_all_strikes():
    mid = np.where(np.arange(23_400) < 12_000, 200.0, 200.08)
    stamps, row = drawn(mid, mean_seconds=100.0)
    answered = row[(stamps > 12_000 * 10**9) & (stamps < 12_000.5 * 10**9)]
    assert set(answered) == set(range(len(STRIKES)))


@pytest.mark.parametrize("step", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("quote_seconds", [1.0, 5.0])
def test_rows_stay_within_the_budget_however_wild_the_share(step, quote_seconds):
    strikes = np.tile(STRIKES, 5)
    stamps, row = drawn(walk(step), mean_seconds=5.0, quote_seconds=quote_seconds, strikes=strikes)
    assert 2 * len(row) <= 1.05 * ALL_ROWS / quote_seconds + 4 * len(strikes)
    assert MOST_QUIET_ROWS < ALL_ROWS
    assert MOST_ROUND_ROWS < ALL_ROWS
    assert stamps.min() > OPEN
    assert stamps.max() < CLOSE


def test_a_strike_is_never_quoted_twice_in_one_millisecond():
    stamps, row = drawn(walk(0.05), mean_seconds=2.0)
    assert len(set(zip(stamps.tolist(), row.tolist(), strict=True))) == len(row)
    assert np.all(stamps % 1_000_000 == 0)


def test_quotes_come_more_often_at_the_open_than_at_noon():
    stamps, _ = drawn(np.full(23_400, 200.0), mean_seconds=10.0)
    per_hour = np.histogram(stamps, bins=np.arange(0, 7) * 3600 * 10**9)[0]
    assert per_hour[0] > 1.3 * per_hour[3]


def test_quiet_means_slow_down_away_from_the_money_up_to_a_limit():
    means = quiet_means(np.array([0.0, 2.0, 9.0, 0.0]), [True, True, True, False])
    assert means[0] < means[1] < means[2] == 120.0
    assert means[3] > means[0]
