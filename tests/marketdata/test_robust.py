"""A level from values with bounds: what lies far off counts for nothing, on either side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.marketdata.robust import robust_level

VALUES = st.lists(st.floats(0.19, 0.21), min_size=5, max_size=12)


@given(VALUES, st.sampled_from([-1.0, 1.0]), st.floats(1.0, 5.0))
def test_an_outlier_of_either_side_changes_nothing(values, side, off):
    level, width = np.array(values), np.full(len(values), 0.05)
    centre, error, full = robust_level(np.append(level, 0.2 + side * off), np.append(width, 0.05))
    assert centre == pytest.approx(level.mean(), abs=0.01)
    assert full <= len(values)
    assert error > 0.0


@given(VALUES, st.floats(-5.0, 5.0))
def test_a_level_turned_round_is_the_same_level_turned_round(values, off):
    level = np.append(np.array(values), off)
    width = np.full(len(level), 0.01)
    (centre, error, full), (turned, *same) = robust_level(level, width), robust_level(-level, width)
    assert turned == pytest.approx(-centre, abs=1e-9)
    assert same == [pytest.approx(error), full]
