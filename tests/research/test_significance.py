"""Tests over sessions: against textbook cases, and their rate of false alarms."""

import numpy as np
import pytest
from scipy import stats

from scalpdesk.research.significance import (
    Finding,
    corrected,
    holm,
    mean_by_session,
    other_session_p,
    sign_flip_p,
    slope_by_session,
)


def rng(seed=1):
    return np.random.default_rng(seed)


def test_one_observation_a_session_is_students_test():
    values = rng().normal(0.3, 1.0, 25)
    found = mean_by_session(values, np.arange(25))
    known = stats.ttest_1samp(values, 0.0)
    assert (found.value, found.p_value) == pytest.approx((values.mean(), known.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))


def test_copies_of_observations_add_no_evidence():
    values = rng().normal(0.3, 1.0, 25)
    once = mean_by_session(values, np.arange(25))
    copied = mean_by_session(np.repeat(values, 40), np.repeat(np.arange(25), 40))
    assert copied.value == pytest.approx(once.value)
    assert copied.p_value == pytest.approx(once.p_value, rel=0.1)
    assert stats.ttest_1samp(np.repeat(values, 40), 0.0).pvalue < 1e-6


def test_false_alarms_are_as_many_as_the_level_says():
    """Observations of a session share a shock: a test without clusters would cry wolf every second time."""
    draw, sessions = rng(3), np.repeat(np.arange(30), 12)
    alarms = {"mean": 0, "slope": 0, "flip": 0}
    for _ in range(150):
        values = np.repeat(draw.normal(size=30), 12) + 0.5 * draw.normal(size=360)
        on = np.repeat(draw.normal(size=30), 12)
        alarms["mean"] += mean_by_session(values, sessions).p_value < 0.05
        alarms["slope"] += slope_by_session(values, on, np.empty((360, 0)), sessions).p_value < 0.05
        alarms["flip"] += sign_flip_p(values, sessions, draw, 200) < 0.05
    assert all(1 <= count <= 20 for count in alarms.values()), alarms


def test_signs_of_ten_sessions_of_one_direction():
    found = sign_flip_p(np.ones(10), np.arange(10), rng(), 50_000)
    assert found == pytest.approx(2 / 2**10, rel=0.3)


def test_other_sessions_exposures_do_as_well_where_nothing_is_to_be_found():
    draw = rng(5)
    sessions, slots = np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40)
    on, controls = np.repeat(draw.normal(size=40), 5), draw.normal(size=(200, 1))
    noise = draw.normal(size=200)
    assert other_session_p(noise, on, controls, sessions, slots, draw) > 0.05
    assert other_session_p(noise + 1.5 * on, on, controls, sessions, slots, draw) < 0.01


def test_holms_correction():
    """Four p-values of a textbook: the smallest times four, the next times three, and never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def finding(p_value, control=None, effect=1.0):
    return Finding(
        name="x", unit="1", observations=9, sessions=20, effect=effect, p_value=p_value, control_p=control
    )


def test_the_larger_p_value_counts_and_untested_findings_stay():
    untested = Finding(name="y", unit="1", observations=3, sessions=2, problem="2 sessions, at least 10")
    found = corrected([finding(0.001), finding(0.001, control=0.4), untested, finding(0.01, effect=-1.0)])
    assert [each.adjusted_p for each in found] == [pytest.approx(0.003), 0.4, None, pytest.approx(0.02)]
    assert [each.verdict for each in found] == [
        "shown, positive",
        "not shown",
        "not tested",
        "shown, negative",
    ]
    assert found[0].document()["verdict"] == "shown, positive"
