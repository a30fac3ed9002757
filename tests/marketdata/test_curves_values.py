from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.marketdata.curves import (
    DividendKind,
    DividendSchedule,
    Quoting,
    TypedDividend,
    YieldCurve,
    continuous_from_par,
    interpolate_par_yields,
)
from scalpdesk.marketdata.tape import CashDividend

DAY = date(2024, 3, 15)
PAR = {30: 5.30, 60: 5.25, 90: 5.20}


@pytest.mark.parametrize(("days", "expected"), [(45, 0.05275), (10, 0.053), (30, 0.053), (400, 0.052)])
def test_par_yields_are_linear_in_days_and_flat_outside(days, expected):
    fractions = {day: percent / 100 for day, percent in PAR.items()}
    assert interpolate_par_yields(fractions, days) == pytest.approx(expected, abs=1e-15)


def test_a_par_yield_becomes_continuous_after_it_is_interpolated():
    curve = YieldCurve.from_par_yields(PAR, DAY)
    assert curve.quoting is Quoting.PAR
    assert curve.rate_at(45) == pytest.approx(2 * np.log(1 + 0.05275 / 2), abs=1e-15)
    assert continuous_from_par(0.0) == 0.0
    # two half-years at half the yield grow to what one year of the continuous rate does
    assert np.exp(continuous_from_par(0.05)) == pytest.approx(1.025**2, rel=1e-15)
    assert curve.discount_factor(45) == pytest.approx(np.exp(-curve.rate_at(45) * 45 / 365), rel=1e-15)


def test_nothing_is_rounded():
    assert YieldCurve.from_points({30: 0.05, 60: 0.06}, DAY).rate_at(37) == pytest.approx(
        0.05 + 0.01 * 7 / 30, abs=1e-16
    )


def test_a_flat_curve_is_flat_and_knows_its_date():
    curve = YieldCurve.flat(0.04, DAY)
    assert [curve.rate_at(days) for days in (0.001, 1.0, 10_000.0)] == [0.04] * 3
    assert curve.age_days(date(2024, 3, 18)) == 3
    assert curve.discount_factor(365.0) == pytest.approx(np.exp(-0.04))


def test_the_tape_s_curve_agrees_at_the_points():
    curve = YieldCurve.from_par_yields(PAR, DAY)
    carried = curve.as_rate_curve()
    assert carried.days == (30.0, 60.0, 90.0)
    for days in (30.0, 60.0, 90.0, 1.0, 500.0):
        assert carried.rate_at(days) == pytest.approx(curve.rate_at(days), abs=1e-15)
    assert carried.rate_at(45.0) == pytest.approx(curve.rate_at(45.0), abs=1e-6)


@pytest.mark.parametrize("points", [{}, {0.0: 0.05}, {-1.0: 0.05}, {30.0: float("nan")}, {float("inf"): 0.1}])
def test_a_curve_of_bad_points_is_refused(points):
    for make in (
        lambda: YieldCurve.from_points(points, DAY),
        lambda: YieldCurve.from_par_yields(points, DAY),
        lambda: interpolate_par_yields(points, 10.0),
    ):
        with pytest.raises(ArgumentError):
            make()


@pytest.fixture
def schedule():
    return DividendSchedule.of(
        "xyz",
        DAY,
        [
            TypedDividend(date(2024, 6, 14), Decimal("0.60")),
            TypedDividend(date(2023, 3, 17), Decimal("0.45")),
            TypedDividend(date(2023, 3, 16), Decimal("0.44")),
            TypedDividend(date(2023, 9, 15), Decimal("0.50")),
            TypedDividend(date(2023, 12, 1), Decimal(10), DividendKind.SPECIAL),
            TypedDividend(DAY, Decimal("0.55")),
            TypedDividend(date(2024, 4, 2), Decimal(3), DividendKind.SPECIAL),
        ],
    )


def test_what_lies_ahead_includes_specials_and_not_today(schedule):
    assert schedule.ahead(date(2024, 6, 14)) == (
        CashDividend("XYZ", date(2024, 4, 2), Decimal(3)),
        CashDividend("XYZ", date(2024, 6, 14), Decimal("0.60")),
    )
    assert schedule.ahead(date(2024, 4, 1)) == ()


def test_the_yield_leaves_specials_and_what_is_older_than_a_year_out(schedule):
    assert schedule.trailing_yield(100.0) == pytest.approx((0.45 + 0.50 + 0.55) / 100.0, abs=1e-15)
    assert DividendSchedule.of("ABC", DAY, []).trailing_yield(50.0) == 0.0


def test_bad_amounts_and_prices_are_refused(schedule):
    with pytest.raises(ArgumentError, match="above 0"):
        DividendSchedule.of("XYZ", DAY, [TypedDividend(DAY, Decimal(0))])
    with pytest.raises(ArgumentError, match="price"):
        schedule.trailing_yield(0.0)
