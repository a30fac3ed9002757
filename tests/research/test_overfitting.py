"""Overfitting: published worked examples, brute force, planted overfitting and a planted edge."""

import math
from itertools import combinations
from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy import integrate, stats

from scalpdesk.core.errors import ArgumentError, RefusalFacts
from scalpdesk.report.statistics import sharpe_ratio
from scalpdesk.research.overfitting import (
    Measure,
    cross_validate,
    deflated_sharpe,
    expected_maximum,
    judge_rows,
    judge_trials,
    minimum_backtest_years,
    minimum_track_record,
    probabilistic_sharpe,
    sample_shape,
)
from scalpdesk.research.sweep import SweepRow

STRATEGIES, SESSIONS = 1_000, 500


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "probability"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_deflated_sharpe_ratio_of_the_paper(trials, skew, kurtosis, probability):
    """Bailey and López de Prado (2014): 2.5 a year over 1,250 days; 46 trials, 88 if normal, are the most."""
    found = deflated_sharpe(
        2.5 / math.sqrt(250), 1_250, trials=trials, variance=0.5 / 250, skew=skew, kurtosis=kurtosis
    )
    assert found == pytest.approx(probability, abs=5e-5)


def test_the_probabilistic_sharpe_ratio_of_the_paper():
    """Bailey and López de Prado (2012): 24 months at 0.458, normal and with the sample's moments."""
    assert probabilistic_sharpe(0.458, 24) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_minimum_track_record_of_the_paper(periods, skew, kurtosis, years):
    """A ratio of 2 a year against 1 with 95 % confidence (2012)."""
    sharpe, benchmark = 2.0 / math.sqrt(periods), 1.0 / math.sqrt(periods)
    found = minimum_track_record(sharpe, benchmark=benchmark, skew=skew, kurtosis=kurtosis)
    assert found / periods == pytest.approx(years, abs=5e-3)
    after = probabilistic_sharpe(sharpe, round(found), benchmark=benchmark, skew=skew, kurtosis=kurtosis)
    assert after == pytest.approx(0.95, abs=5e-3)
    assert minimum_track_record(benchmark, benchmark=benchmark) is None


def test_the_minimum_backtest_length_of_the_paper():
    """Five years allow no more than 45 trials (2014)."""
    assert minimum_backtest_years(45) < 5.0 < minimum_backtest_years(46)


@pytest.mark.parametrize("trials", [10, 100, 1_000])
def test_the_expected_maximum_is_that_of_normal_numbers(trials):
    def density(x):
        return x * trials * stats.norm.pdf(x) * stats.norm.cdf(x) ** (trials - 1)

    exact, _ = integrate.quad(density, -10.0, 10.0)
    assert expected_maximum(trials) == pytest.approx(exact, rel=0.025)
    gamma = 0.5772156649015329
    by_formula = (1 - gamma) * stats.norm.ppf(1 - 1 / trials) + gamma * stats.norm.ppf(
        1 - 1 / trials / math.e
    )
    assert expected_maximum(trials) == pytest.approx(by_formula, rel=1e-12)


@given(
    st.floats(-0.5, 0.5),
    st.integers(2, 5_000),
    st.floats(-2.0, 2.0),
    st.floats(0.0, 20.0),
    st.integers(1, 500),
)
@examples(max_examples=30)
def test_a_deflated_ratio_is_a_probability_that_falls_with_the_trials(sharpe, sessions, skew, more, trials):
    moments = {"skew": skew, "kurtosis": 1.0 + skew**2 + more}
    alone = deflated_sharpe(sharpe, sessions, trials=1, variance=0.01, **moments)
    assert alone == probabilistic_sharpe(sharpe, sessions, **moments)
    several = deflated_sharpe(sharpe, sessions, trials=trials, variance=0.01, **moments)
    more_still = deflated_sharpe(sharpe, sessions, trials=trials + 10, variance=0.01, **moments)
    assert 0.0 <= more_still <= several <= alone <= 1.0


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: probabilistic_sharpe(0.1, 1), "sessions"),
        (lambda: probabilistic_sharpe(0.9, 100, skew=4.0, kurtosis=1.0), "kurtosis"),
        (lambda: expected_maximum(0), "trials"),
        (lambda: cross_validate(np.zeros((7, 2))), "amounts"),
        (lambda: cross_validate(np.zeros((20, 1))), "amounts"),
        (lambda: cross_validate(np.full((20, 2), math.nan)), "amounts"),
        (lambda: cross_validate(np.zeros((20, 2)), blocks=5), "blocks"),
        (lambda: cross_validate(np.zeros((20, 2)), blocks=12), "blocks"),
    ],
)
def test_what_has_no_answer_is_refused_by_its_argument(call, where):
    with pytest.raises(ArgumentError) as refused:
        call()
    assert refused.value.where == where


@given(st.lists(st.integers(-1_000, 1_000), min_size=3, max_size=40))
@examples(max_examples=30)
def test_a_samples_figures_are_those_of_scipy_and_of_the_tear_sheet(amounts):
    shape = sample_shape(amounts)
    if len(set(amounts)) == 1:
        assert shape is None
        return
    assert shape.sharpe == pytest.approx(sharpe_ratio(amounts).per_period)
    assert shape.skew == pytest.approx(stats.skew(amounts), abs=1e-9)
    assert shape.kurtosis == pytest.approx(stats.kurtosis(amounts, fisher=False), abs=1e-9)
    normal = sample_shape(np.resize(amounts, 10 * len(amounts)))
    assert normal.kurtosis == pytest.approx(shape.kurtosis)


# cross-validation ----------------------------------------------------------------------------------


def by_hand(table, blocks, measure):
    """Return the probability and the loss rate by going through every split."""
    parts = np.array_split(np.arange(len(table)), blocks)

    def performance(rows):
        found = []
        for column in table[rows].T:
            shape = sample_shape(column)
            found.append(column.mean() if measure is Measure.PNL else 0.0 if shape is None else shape.sharpe)
        return found

    verdicts, losses = [], []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[place] for place in chosen])
        outside = np.setdiff1d(np.arange(len(table)), inside)
        trained, tested = performance(inside), performance(outside)
        best = tested[trained.index(max(trained))]
        middle = median(tested)
        verdicts.append(1.0 if best < middle else 0.5 if best == middle else 0.0)
        losses.append(best < 0.0)
    return fmean(verdicts), fmean(losses)


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize(("sessions", "trials", "blocks"), [(24, 7, 6), (32, 5, 8), (8, 3, 4)])
def test_cross_validation_is_what_every_split_by_hand_gives(measure, sessions, trials, blocks):
    table = np.random.default_rng(sessions).normal(0.3, 1.0, (sessions, trials)).round(2) + 1_000.0
    table -= 1_000.0  # as amounts come: with few digits
    found = cross_validate(table, blocks=blocks, measure=measure)
    assert (found.pbo, found.probability_of_loss) == pytest.approx(by_hand(table, blocks, measure))
    assert (found.splits, found.blocks) == (math.comb(blocks, blocks // 2), blocks)


def test_blocks_are_sixteen_or_as_many_of_two_sessions():
    noise = np.random.default_rng(1).normal(size=(100, 3))
    assert [cross_validate(noise[:number]).blocks for number in (8, 11, 12, 31, 32, 100)] == [
        4,
        4,
        6,
        14,
        16,
        16,
    ]


def test_trials_that_are_equal_or_do_not_trade_are_a_coin_toss():
    table = np.repeat(np.random.default_rng(1).normal(size=(20, 1)), 4, axis=1)
    assert cross_validate(table).pbo == 0.5
    idle = cross_validate(np.zeros((20, 4)))
    assert (idle.pbo, idle.probability_of_loss, idle.slope) == (0.5, 0.0, None)


# what the figures are for --------------------------------------------------------------------------


def deflated_best(table):
    shapes = [sample_shape(column) for column in table.T]
    ratios = np.array([shape.sharpe for shape in shapes])
    best = shapes[int(ratios.argmax())]
    return deflated_sharpe(
        best.sharpe,
        len(table),
        trials=len(ratios),
        variance=float(ratios.var(ddof=1)),
        skew=best.skew,
        kurtosis=best.kurtosis,
    )


def test_the_best_of_a_thousand_strategies_of_noise_is_called_luck():
    deflated, overfitted, plain = [], [], []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=(SESSIONS, STRATEGIES))
        deflated.append(deflated_best(noise))
        overfitted.append(cross_validate(noise, blocks=8).pbo)
        shape = sample_shape(noise[:, int(noise.mean(axis=0).argmax())])
        plain.append(shape.probability_above(0.0))
    assert min(plain) > 0.99  # without the number of trials each looks certain
    assert sum(found < 0.95 for found in deflated) >= 11
    assert fmean(overfitted) == pytest.approx(0.5, abs=0.08)
    assert min(overfitted) > 0.25


def test_a_planted_edge_survives():
    for seed in range(5):
        table = np.random.default_rng(seed).normal(size=(SESSIONS, STRATEGIES))
        table[:, 17] += 0.35  # a Sharpe ratio of 5.6 a year
        assert deflated_best(table) > 0.95
        assert cross_validate(table, blocks=8).pbo < 0.05


# the report ----------------------------------------------------------------------------------------


def daily_of(table):
    return [
        {
            f"2018-{1 + place // 28:02}-{1 + place % 28:02}": f"{value:.2f}"
            for place, value in enumerate(column)
        }
        for column in table.T
    ]


def test_the_report_judges_the_best_with_all_trials():
    table = np.random.default_rng(3).normal(size=(60, 10)).round(2)
    table[:, 4] += 0.5
    settings = [{"x": str(place)} for place in range(10)]
    report = judge_trials(daily_of(table), settings)
    assert (report.trials, report.compared, report.sessions, report.best) == (10, 10, 60, {"x": "4"})
    assert report.deflated_sharpe == pytest.approx(deflated_best(table))
    assert report.sharpe_annual == pytest.approx(sample_shape(table[:, 4]).sharpe * math.sqrt(252))
    assert report.pbo == cross_validate(table).pbo
    assert report.minimum_backtest_years == minimum_backtest_years(10)
    more = judge_trials(daily_of(table), settings, earlier_trials=500, sessions_per_year=365)
    assert (more.trials, more.compared) == (510, 10)
    assert more.deflated_sharpe < report.deflated_sharpe < report.probabilistic_sharpe
    assert more.luck_annual > report.luck_annual
    assert more.sharpe_annual == pytest.approx(report.sharpe_annual * math.sqrt(365 / 252))
    assert "0.5" not in report.lines()[0]


def test_rows_that_a_search_stopped_and_other_rows_of_the_folder_are_trials():
    table = np.random.default_rng(2).normal(0.1, 1.0, (40, 3)).round(2)
    rows = [
        SweepRow(config_hash=str(place), settings={"x": str(place)}, daily=daily, pruned=place == 2)
        for place, daily in enumerate(daily_of(table))
    ]
    failed = SweepRow(config_hash="3", settings={"x": "3"}, refusal=RefusalFacts("no"))
    kept = [rows[0], SweepRow(config_hash="9", settings={"x": "9"}, daily={"2018-01-02": "1"})]
    report = judge_rows([*rows, rows[0], failed], kept, earlier_trials=5)
    assert (report.trials, report.compared, report.sessions) == (3 + 1 + 5, 2, 40)
    assert report.pbo == cross_validate(table[:, :2]).pbo
    assert judge_rows([failed]).trials == 0


def test_a_single_backtest_is_deflated_by_the_trials_before_it():
    table = np.random.default_rng(1).normal(0.2, 1.0, (120, 1)).round(2)
    alone = judge_trials(daily_of(table), [{}])
    assert (alone.pbo, alone.luck_annual) == (None, 0.0)
    assert alone.deflated_sharpe == alone.probabilistic_sharpe
    assert judge_trials(daily_of(table), [{}], earlier_trials=99).deflated_sharpe < alone.deflated_sharpe


def test_without_sessions_or_variation_the_report_has_notes_in_place_of_figures():
    empty, idle = judge_trials([], []), judge_trials([{"2018-02-05": "0"}, {"2018-02-05": "0"}], [{}, {}])
    for report in (empty, idle):
        assert (report.sharpe_annual, report.deflated_sharpe, report.pbo) == (None, None, None)
        assert report.notes
        assert set(report.notes) <= set(report.lines())
    older = judge_trials([{}, {"2018-02-05": "1", "2018-02-06": "2"}], [{"x": "1"}, {"x": "2"}])
    assert (older.trials, older.compared, older.best) == (2, 1, {"x": "2"})
