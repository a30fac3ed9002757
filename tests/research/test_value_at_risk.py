import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from scalpdesk.core.errors import ArgumentError
from scalpdesk.research.value_at_risk import (
    christoffersen,
    coverage_of,
    expected_shortfall,
    kupiec,
    value_at_risk,
)

PNL = st.lists(st.floats(-1e6, 1e6), min_size=100, max_size=300).map(np.array)
CONFIDENCE = st.sampled_from([0.9, 0.95, 0.975, 0.99])


@settings(max_examples=30)
@given(PNL, CONFIDENCE, st.floats(0.01, 100.0), st.floats(-1e3, 1e3))
def test_var_rises_with_confidence_lies_below_its_shortfall_and_scales_with_the_book(
    pnl, confidence, times, cash
):
    var, shortfall = value_at_risk(pnl, confidence), expected_shortfall(pnl, confidence)
    room = 1e-9 * (1.0 + np.abs(pnl).max())
    assert value_at_risk(pnl, 0.9) <= var
    assert expected_shortfall(pnl, 0.9) <= shortfall + room
    assert var <= shortfall + room
    assert shortfall <= -pnl.min() + room
    assert value_at_risk(times * pnl, confidence) == pytest.approx(times * var)
    assert expected_shortfall(times * pnl, confidence) == pytest.approx(times * shortfall, abs=times * room)
    assert value_at_risk(pnl + cash, confidence) == pytest.approx(var - cash, abs=room + 1e-6)


@settings(max_examples=30)
@given(PNL, PNL, CONFIDENCE)
def test_the_shortfall_of_two_books_is_at_most_the_sum_of_theirs(first, second, confidence):
    count = min(len(first), len(second))
    alone = [expected_shortfall(pnl[:count], confidence) for pnl in (first, second)]
    both = expected_shortfall(first[:count] + second[:count], confidence)
    assert both <= sum(alone) + 1e-6


@pytest.mark.parametrize("count", [100, 101, 257, 1_000])
def test_at_most_the_rate_of_scenarios_lies_beyond_the_var(count):
    pnl = np.random.default_rng(count).standard_normal(count)
    for confidence in (0.95, 0.975, 0.99):
        beyond = np.count_nonzero(-pnl > value_at_risk(pnl, confidence))
        assert beyond <= count * (1.0 - confidence) + 1e-9 < beyond + 1.0 + 1e-6


def test_the_normal_distribution_has_its_known_var_and_shortfall():
    """2.3263 and 2.6652 at 99 %: z and φ(z)/0.01."""
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    pnl = norm.ppf(quantiles)
    assert value_at_risk(pnl, 0.99) == pytest.approx(2.3263, abs=1e-3)
    assert expected_shortfall(pnl, 0.99) == pytest.approx(2.6652, abs=1e-3)


@pytest.mark.parametrize(
    ("pnl", "confidence"), [(np.zeros(99), 0.99), (np.zeros(500), 1.0), (np.zeros(9), 0.2)]
)
def test_a_confidence_without_a_tail_is_refused(pnl, confidence):
    with pytest.raises(ArgumentError):
        value_at_risk(pnl, confidence)


KUPIEC_1995 = {
    0.01: ((255, -1, 7), (510, 1, 11), (1_000, 4, 17)),
    0.025: ((255, 2, 12), (510, 6, 21), (1_000, 15, 36)),
    0.05: ((255, 6, 21), (510, 16, 36), (1_000, 37, 65)),
    0.075: ((255, 11, 28), (510, 27, 51), (1_000, 59, 92)),
    0.1: ((255, 16, 36), (510, 38, 65), (1_000, 81, 120)),
}
"""Non-rejection regions at 95 % (Kupiec 1995; Jorion, Value at Risk, table 6-2): more than, less than."""


@pytest.mark.parametrize("rate", KUPIEC_1995)
def test_kupiecs_published_regions_are_not_rejected_and_their_ends_are(rate):
    for sessions, above, below in KUPIEC_1995[rate]:
        kept = [count for count in range(sessions // 4) if not kupiec(sessions, count, rate).is_rejected]
        if (sessions, rate) == (255, 0.01):  # the table counts no exception at all as kept: N < 7
            assert kept == [*range(1, below)]
            assert kupiec(255, 0, rate).statistic == pytest.approx(5.126, abs=1e-3)
        else:
            assert kept == [*range(above + 1, below)]


def runs_of(lengths, calm):
    """Return exceptions in runs of these lengths, with calm sessions before and between them."""
    each = calm // (len(lengths) + 1)
    found = [hit for length in lengths for hit in [False] * each + [True] * length]
    return [*found, *[False] * (calm - each * len(lengths))]


def test_jorions_worked_example_has_its_printed_statistics():
    """20 exceptions of 252 at 5 %, 6 of them after another: 3.91, 9.53 and 13.44 (Value at Risk, 6.2)."""
    hits = runs_of([2] * 6 + [1] * 8, 233)
    found = christoffersen(hits, 0.05)
    assert found.transitions == ((218, 14), (14, 6))
    assert kupiec(252, 20, 0.05).statistic == pytest.approx(3.91, abs=5e-3)
    assert found.independence.statistic == pytest.approx(9.53, abs=5e-3)
    assert found.conditional_coverage.statistic == pytest.approx(13.44, abs=5e-3)
    assert found.independence.is_rejected
    assert found.conditional_coverage.p_value == pytest.approx(math.exp(-13.4421 / 2), rel=1e-3)


def test_christoffersen_by_hand():
    """Transitions 9, 2, 1, 3: −7.46487 by states, −9.54771 together, twice the difference 4.16568."""
    hits = [False] * 5 + [True] * 3 + [False] * 6 + [True] * 2
    found = christoffersen(hits, 0.25)
    assert found.transitions == ((9, 2), (1, 3))
    by_hand = 2 * (
        9 * math.log(9 / 11) + 2 * math.log(2 / 11) + math.log(1 / 4) + 3 * math.log(3 / 4)
        - 10 * math.log(10 / 15) - 5 * math.log(5 / 15)
    )  # fmt: skip
    assert found.independence.statistic == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(4.16568, abs=1e-5)
    covered = 2 * (10 * math.log(2 / 3) + 5 * math.log(1 / 3) - 10 * math.log(0.75) - 5 * math.log(0.25))
    assert found.conditional_coverage.statistic == pytest.approx(by_hand + covered, rel=1e-12)


def test_alternating_and_absent_exceptions_have_finite_statistics():
    never = christoffersen([False] * 100, 0.01)
    assert never.independence.statistic == 0.0
    assert never.conditional_coverage.statistic == pytest.approx(-2 * 99 * math.log(0.99))
    assert christoffersen([False, True] * 50, 0.5).independence.is_rejected


@pytest.mark.parametrize("words", [(10, 11, 0.01), (0, 0, 0.01), (10, 1, 0.0), (10, 1, 1.0)])
def test_counts_and_rates_that_cannot_be_are_refused(words):
    with pytest.raises(ArgumentError):
        kupiec(*words)
    with pytest.raises(ArgumentError):
        christoffersen([True], 0.01)


def test_coverage_counts_exceptions_and_their_closest_cluster():
    hits = np.zeros(500, dtype=bool)
    hits[[10, 15, 19, 100, 400]] = True
    found = coverage_of(hits, 0.99)
    assert (found["exceptions"], found["expected"], found["most_in_10_sessions"]) == (5, 5.0, 3)
    assert not found["kupiec"]["rejected"]
    assert found["kupiec"]["statistic"] == 0.0
