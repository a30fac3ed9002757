import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.filtered_moves import (
    conditional_variances,
    ewma_correlation,
    ewma_variances,
    filtered_moves,
    term_loading,
)
from scalpdesk.volatility.garch import estimate_garch

MOVES = st.lists(st.floats(-0.2, 0.2), min_size=40, max_size=80).map(np.array)


def test_the_variance_of_a_move_knows_nothing_of_it_or_later():
    moves = np.random.default_rng(1).normal(0.0, 0.01, 200)
    changed = moves.copy()
    changed[120:] *= 5.0
    assert ewma_variances(changed)[:121] == pytest.approx(ewma_variances(moves)[:121], rel=1e-15)
    assert ewma_variances(changed)[121] > ewma_variances(moves)[121]


def test_the_ewma_is_its_weighted_sum_of_squares():
    moves = np.random.default_rng(2).normal(0.0, 0.01, 60)
    ages = np.arange(59, -1, -1)
    expected = 0.94**60 * np.mean(moves[:30] ** 2) + 0.06 * np.sum(0.94**ages * moves**2)
    assert ewma_variances(moves)[-1] == pytest.approx(expected, rel=1e-12)


@settings(max_examples=15)
@given(MOVES, st.floats(0.1, 10.0))
def test_filtered_moves_keep_their_sign_and_scale_with_them(moves, times):
    moves = moves + 1e-4 * (moves == 0.0)
    found = filtered_moves(moves, ewma_variances(moves))
    assert np.array_equal(np.sign(found), np.sign(moves))
    assert filtered_moves(times * moves, ewma_variances(times * moves)) == pytest.approx(times * found)


def test_equal_volatility_leaves_the_moves_and_a_wild_end_stretches_those_of_the_calm():
    moves = 0.01 * np.array([1.0, -1.0] * 100)
    assert filtered_moves(moves, ewma_variances(moves)) == pytest.approx(moves)
    wild = np.concatenate([moves, 3.0 * moves[:60]])
    found = filtered_moves(wild, ewma_variances(wild))
    assert np.abs(found[:200]) == pytest.approx(0.03 * np.ones(200), rel=0.03)


def test_the_garch_filter_is_that_of_the_fitted_process():
    rng = np.random.default_rng(3)
    variance, moves = 1e-4, []
    for shock in rng.standard_normal(800):
        moves.append(math.sqrt(variance) * shock)
        variance = 2e-6 + 0.1 * moves[-1] ** 2 + 0.88 * variance
    moves = np.array(moves)
    found = conditional_variances(moves, "garch")
    assert found == pytest.approx(estimate_garch(moves, "garch").next_variances(moves), rel=1e-12)
    assert found[-1] == pytest.approx(variance, rel=0.5)


def test_the_ewma_correlation_of_equal_weights_is_the_samples_about_zero():
    moves = np.random.default_rng(4).multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 2.0]], 4_000)
    matrix = ewma_correlation(moves, 0.9999999)
    assert matrix[0, 1] == pytest.approx(0.6 / math.sqrt(2.0), abs=0.03)
    assert np.diag(matrix) == pytest.approx([1.0, 1.0])
    turned = np.concatenate([moves, moves[:200] * [1.0, -1.0]])
    assert ewma_correlation(turned)[0, 1] < 0.0


def test_a_short_option_moves_more_than_the_index_and_a_long_one_less():
    loadings = [term_loading(days / 365, 12.0) for days in (0.0, 1, 7, 30, 90, 365)]
    assert loadings == sorted(loadings, reverse=True)
    assert loadings[3] == pytest.approx(1.0)
    assert term_loading(1.0, 0.0) == 1.0
    # the mean over T of a shock that decays, by sums of 10,000 parts
    times = (np.arange(10_000) + 0.5) / 10_000
    mean = [np.exp(-12.0 * span * times).mean() for span in (90 / 365, 30 / 365)]
    assert loadings[4] == pytest.approx(mean[0] / mean[1], rel=1e-6)


def test_what_no_filter_can_be_made_of_is_refused():
    moves = np.full(50, 0.01)
    for make in (
        lambda: ewma_variances(moves, 1.0),
        lambda: ewma_variances(moves[:0]),
        lambda: conditional_variances(moves, "arch"),
        lambda: conditional_variances(moves, "garch"),
        lambda: filtered_moves(moves, np.zeros(51)),
        lambda: filtered_moves(moves, np.ones(50)),
    ):
        with pytest.raises(ArgumentError):
            make()
