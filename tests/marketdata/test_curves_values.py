import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk_testing.field_formulas import interpolate_par_yields

PAR = {30: 5.30, 60: 5.25, 90: 5.20}


@pytest.mark.rows(("days", "expected"), [(45, 0.05275), (10, 0.053), (30, 0.053), (400, 0.052)])
def test_par_yields_are_linear_in_days_and_flat_outside(days, expected):
    fractions = {day: percent / 100 for day, percent in PAR.items()}
    assert interpolate_par_yields(fractions, days) == pytest.approx(expected, abs=1e-15)


@pytest.mark.rows("points", [{}, {0.0: 0.05}, {-1.0: 0.05}, {30.0: float("nan")}, {float("inf"): 0.1}])
def test_yields_at_bad_points_are_refused(points):
    with pytest.raises(ArgumentError):
        interpolate_par_yields(points, 10.0)
