"""Meta-labels of entries: planted edges, noise and a leak through overlapping lives."""

from dataclasses import replace
from datetime import date, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.entry.meta_model import read_meta_model
from scalpdesk.research.meta_labels import (
    PastEntry,
    Sample,
    fit_entries,
    judge_entries,
    purged_folds,
    shift_p,
    train_model,
)

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
FIRST = date(2018, 1, 1)


def entry(session, pnl, *, hour=10, sessions_held=0, strategy="planted", **features):
    opened_ns = session * DAY_NS + hour * HOUR_NS
    closed_ns = opened_ns + HOUR_NS // 2 + sessions_held * DAY_NS
    day = FIRST + timedelta(days=session)
    return PastEntry(strategy, day, opened_ns, closed_ns, float(pnl), features)


def planted(gain, sessions=80, seed=1):
    """Return entries that gain above a feature's zero and lose as much below it, beside noise."""
    draw = np.random.default_rng(seed)
    found = []
    for session in range(sessions):
        for hour in (10, 12, 14):
            x, z = draw.normal(size=2)
            found.append(entry(session, gain * np.sign(x) + 20.0 * draw.normal(), hour=hour, x=x, z=z))
    return found


@pytest.fixture(scope="module")
def judged():
    """Return entries with a planted edge, and their report beside that of a strategy of noise."""
    entries = planted(10.0)
    other = [replace(each, strategy="other") for each in planted(0.0, seed=3)]
    return entries, judge_entries([*entries, *other], folds=3)


def test_a_planted_edge_is_found_and_its_size_comes_back(judged):
    entries, (_, report) = judged
    assert report.won
    assert not msgspec.structs.replace(report, pnl_kept=-1.0).won  # to enter never would be better
    best = -sum(each.pnl for each in entries if each.features["x"] < 0.0) / 80.0
    assert 0.8 * best < report.finding.effect < best
    assert best > 10.0  # 15 on average: half of three entries a session, each of which loses 10
    assert report.finding.low < best < report.finding.high
    assert max(report.importance, key=report.importance.__getitem__) == "x"
    assert sum(report.importance.values()) == pytest.approx(1.0)
    assert report.auc > 0.6
    assert report.kept_interval[0] > 0.0
    assert report.finding.effect * report.finding.sessions == pytest.approx(report.pnl_kept - report.pnl_all)


def noise(seed, mean, sessions=34):
    draw = np.random.default_rng(seed)
    return [
        entry(session, mean + 20.0 * draw.normal(), hour=hour, x=draw.normal(), z=draw.normal())
        for session in range(sessions)
        for hour in (10, 12, 14)
    ]


@pytest.mark.second
def test_noise_does_not_win():
    won = sum(judge_entries(noise(seed, -3.0), folds=2)[0].won for seed in range(8))
    assert won <= 1  # 2.5 % of 8 on average


def test_leaving_entries_of_a_losing_strategy_is_no_skill():
    draw = np.random.default_rng(2)
    entries = [entry(session, draw.normal() - 1.5, x=draw.normal()) for session in range(150)]
    (report,) = judge_entries(entries, folds=3)
    assert report.kept < 50
    assert report.finding.low > 0.0  # better than all of them
    assert not report.won  # but not than leaving as many by chance


def leaking(*, is_honest):
    """Return entries on events that end much later, each known by a number that means nothing before."""
    draw, found = np.random.default_rng(1), []
    for term in range(2):
        outcome = draw.permutation([-1, 1, -1, 1, -1, 1])
        for session in range(40):
            for hour in (10, 12, 14):
                event = int(draw.integers(6))
                pnl = 10.0 * outcome[event] + 5.0 * draw.normal()
                held = 39 - session if is_honest else 0
                number = 6 * term + event
                found.append(entry(40 * term + session, pnl, hour=hour, sessions_held=held, event=number))
    return found


def test_a_look_ahead_through_overlapping_lives_is_purged():
    # lives of half an hour are a lie: entries on the same event then tell the label of the tested
    (leaked,) = judge_entries(leaking(is_honest=False), folds=4, embargo=0)
    (purged,) = judge_entries(leaking(is_honest=True), folds=4, embargo=0)
    assert leaked.won
    assert leaked.auc > 0.9
    assert not purged.won
    assert purged.auc < 0.55


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=8, max_size=40),
    st.integers(2, 4),
    st.integers(0, 3),
)
def test_no_life_of_training_overlaps_a_tested_life(spans, folds, embargo):
    entries = [entry(session, 1.0, sessions_held=held) for session, held in spans]
    days = sorted({each.session for each in entries})
    if len(days) < folds:
        with pytest.raises(ArgumentError, match="--folds"):
            purged_folds(entries, folds, embargo)
        return
    divided = purged_folds(entries, folds, embargo)
    assert np.sum([test for _, test in divided], axis=0).tolist() == [1] * len(entries)
    for train, test in divided:
        tested = [each for each, is_in in zip(entries, test, strict=True) if is_in]
        trained = [each for each, is_in in zip(entries, train, strict=True) if is_in]
        first, last = min(each.opened_ns for each in tested), max(each.closed_ns for each in tested)
        assert all(each.closed_ns < first or each.opened_ns > last for each in trained)
        after = sorted({each.session for each in entries if each.opened_ns > last})
        assert not {each.session for each in trained} & set(after[:embargo])


def test_a_shift_keeps_the_choices_and_cuts_their_tie():
    pnl = np.array([5.0, -4.0, 3.0, -2.0, 1.0, -6.0])
    assert shift_p(pnl > 0.0, pnl) == pytest.approx(0.5)  # three of six shifts fall on the same pattern
    assert shift_p(np.zeros(6, dtype=bool), pnl) == 1.0


def test_an_entry_that_stands_in_two_runs_counts_once():
    entries = planted(10.0)
    sample = Sample.of([*entries, *entries])
    assert len(sample.entries) == len(entries)
    assert list(sample.pnl) == [each.pnl for each in entries]


def test_entries_without_a_usual_feature_are_left_out():
    entries = planted(10.0)
    bare = [entry(90 + number, 1.0, z=0.0) for number in range(5)]
    sample = Sample.of([*entries, *bare])
    assert (sample.features, sample.left_out) == (("x", "z"), 5)
    rare = [entry(90 + number, 1.0, x=0.0, z=0.0, rare=1.0) for number in range(5)]
    assert Sample.of([*entries, *rare]).features == ("x", "z")


def test_too_few_entries_are_not_tested():
    (report,) = judge_entries(planted(10.0)[:60])
    assert (report.finding.verdict, report.won, report.entries) == ("not tested", False, 60)
    with pytest.raises(ArgumentError, match="60 entries"):
        train_model(planted(10.0)[:60], report)


def test_strategies_are_corrected_together(judged):
    other, found = judged[1]
    assert (other.strategy, found.strategy) == ("other", "planted")
    alone = max(found.finding.p_value, found.finding.control_p)
    assert found.finding.adjusted_p == pytest.approx(2.0 * alone)
    assert not other.won


def test_the_file_gives_the_fitted_probabilities(judged, tmp_path):
    entries, (_, report) = judged
    train_model(entries, report).write(tmp_path / "gate.json")
    model = read_meta_model(tmp_path / "gate.json", "planted")
    sample = Sample.of(entries)
    expected = fit_entries(sample.rows, sample.pnl).predict_proba(sample.rows)[:, 1]
    assert [model.probability(each.features) for each in sample.entries] == pytest.approx(expected, abs=1e-12)
    assert model.probability({"x": 1.0}) is None
    assert (model.entries, model.first_session, model.verdict.effect) == (240, FIRST, report.finding.effect)
