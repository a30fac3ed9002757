import math
from datetime import date, time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.embedded.surface import variance_years
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.volatility.variance_time import (
    CALENDAR,
    EMBEDDED_SESSIONS,
    US_SESSIONS,
    SessionWeights,
    VarianceClock,
    clock_named,
    convert_vol,
)

WEIGHTS = US_SESSIONS.weights
QUIET = VarianceClock("quiet", WEIGHTS)
INSTANTS = st.integers(new_york_ns(date(2024, 1, 1), time(0)), new_york_ns(date(2027, 12, 31), time(12)))
CLOCK = st.sampled_from([CALENDAR, US_SESSIONS, QUIET])


def at(day, clock_time):
    return new_york_ns(date.fromisoformat(day), time.fromisoformat(clock_time))


def sessions_of(start, end, clock=US_SESSIONS):
    """Variance between two New York wall times, in regular sessions."""
    return clock.years(at(*start.split()), at(*end.split())) * WEIGHTS.year


@given(CLOCK, INSTANTS, INSTANTS, INSTANTS)
def test_years_add_up_over_neighbouring_spans(clock, a, b, c):
    whole = clock.years(a, c)
    assert clock.years(a, b) + clock.years(b, c) == pytest.approx(whole, abs=1e-13)


@given(CLOCK, INSTANTS, st.integers(1, 86_400))
def test_years_grow_with_every_second_and_are_never_nan(clock, start, seconds):
    end = start + seconds * NANOS_PER_SECOND
    years = clock.years(start, end)
    assert math.isfinite(years)
    assert years > 0.0
    assert clock.years(start, end + NANOS_PER_SECOND) > years
    assert clock.years(start - NANOS_PER_SECOND, end) > years
    assert clock.years(end, start) == -years


@given(CLOCK, CLOCK, INSTANTS, st.integers(1, 10**8), st.floats(0.0, 5.0))
def test_a_vol_told_by_another_clock_has_the_same_variance_and_comes_back(one, other, start, seconds, vol):
    end = start + seconds * NANOS_PER_SECOND
    if end > at("2029-06-01", "12:00"):
        end = start + NANOS_PER_SECOND
    there = convert_vol(vol, one, other, start, end)
    assert there**2 * other.years(start, end) == pytest.approx(vol**2 * one.years(start, end), rel=1e-9)
    assert convert_vol(there, other, one, start, end) == pytest.approx(vol, rel=1e-12)


@pytest.mark.rows(
    ("start", "end", "weight"),
    [
        ("2025-03-04 09:30", "2025-03-04 16:00", 1.0),
        ("2025-03-04 09:30", "2025-03-04 10:00", WEIGHTS.profile[0]),
        ("2025-03-04 15:00", "2025-03-04 16:00", WEIGHTS.profile[6]),
        ("2025-03-04 16:00", "2025-03-05 09:30", WEIGHTS.night),
        ("2025-03-07 16:00", "2025-03-10 09:30", WEIGHTS.weekend),  # the clocks change on that Sunday
        ("2025-07-03 13:00", "2025-07-07 09:30", WEIGHTS.holiday),
        ("2025-01-08 16:00", "2025-01-10 09:30", WEIGHTS.holiday),  # a day of mourning
        ("2025-12-24 09:30", "2025-12-24 13:00", WEIGHTS.half_day),
        ("2025-12-31 16:00", "2026-01-02 09:30", WEIGHTS.holiday),  # over the end of a year
        ("2025-06-18 09:30", "2025-06-18 16:00", 1.0 + sum(WEIGHTS.announcement)),
        ("2025-06-18 14:00", "2025-06-18 15:00", WEIGHTS.profile[5] + WEIGHTS.announcement[0]),
        ("2025-06-18 09:30", "2025-06-18 14:00", sum(WEIGHTS.profile[:5])),
    ],
)
def test_each_part_of_the_week_has_its_weight(start, end, weight):
    assert sessions_of(start, end) == pytest.approx(weight, rel=1e-12)


def test_a_clock_without_announcements_skips_them():
    assert sessions_of("2025-06-18 09:30", "2025-06-18 16:00", QUIET) == pytest.approx(1.0)


def test_an_average_year_is_about_one_by_the_session_clock():
    span = US_SESSIONS.years(at("2024-01-02", "09:30"), at("2028-01-03", "09:30"))
    assert span / 4 == pytest.approx(1.0, abs=0.015)


def test_the_calendar_clock_is_act_365():
    assert CALENDAR.years(0, 365 * 86_400 * NANOS_PER_SECOND) == 1.0
    assert CALENDAR.years(0, NANOS_PER_SECOND) == 1.0 / 31_536_000


def test_the_session_clock_makes_the_last_hour_of_the_day_dearer():
    """20 % by the session clock over the last hour is a much higher vol by the calendar clock."""
    start, end = at("2025-03-04", "15:00"), at("2025-03-04", "16:00")
    expected = 0.20 * math.sqrt(WEIGHTS.profile[6] / WEIGHTS.year * 365 * 24)
    vol = convert_vol(0.20, US_SESSIONS, CALENDAR, start, end)
    assert vol == pytest.approx(expected, rel=1e-12)
    assert vol**2 * CALENDAR.years(start, end) == pytest.approx(0.04 * WEIGHTS.profile[6] / WEIGHTS.year)


def test_years_before_and_behind_the_exchange_calendar_are_refused():
    with pytest.raises(ArgumentError, match="1996 to 2029"):
        US_SESSIONS.years(at("2029-01-01", "12:00"), at("2031-01-01", "12:00"))


@pytest.mark.rows(
    "weights",
    [
        {"night": 0.0},
        {"weekend": -1.0},
        {"year": math.nan},
        {"announcement": (-0.1, 0.0)},
        {"profile": (1.0,)},
        {"profile": (0.2,) * 7},
    ],
)
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(ArgumentError):
        SessionWeights(**weights)


def test_a_vol_that_cannot_be_and_an_empty_span_are_refused():
    with pytest.raises(ArgumentError):
        convert_vol(-0.1, CALENDAR, US_SESSIONS, 0, 5)
    with pytest.raises(ArgumentError, match="unknown variance clock"):
        clock_named("calender")
    with pytest.raises(ArgumentError, match="span"):
        convert_vol(0.2, CALENDAR, US_SESSIONS, 5, 5)
    with pytest.raises(ArgumentError, match="finite"):
        convert_vol(math.nan, CALENDAR, US_SESSIONS, 0, 5)


def test_the_embedded_clock_is_the_one_that_its_market_is_drawn_by():
    day, expiry = date(2018, 2, 5), date(2018, 3, 16)
    session, end = session_on(day), session_on(expiry).close_ns
    for minutes in (0, 30, 90, 150, 210, 270, 330, 390):
        drawn = variance_years(day, np.array([minutes / 390]), expiry, half_day=False)[0]
        told = EMBEDDED_SESSIONS.years(session.open_ns + minutes * 60 * 10**9, end)
        assert told == pytest.approx(drawn, rel=1e-6)
    half = date(2017, 11, 24)
    drawn = variance_years(half, np.array([0.0]), half, half_day=True)[0]
    assert EMBEDDED_SESSIONS.years(session_on(half).open_ns, session_on(half).close_ns) == pytest.approx(
        drawn, rel=1e-6
    )
