from datetime import date, time, timedelta
from itertools import pairwise

import pytest

from scalpdesk.instruments.events import (
    FOMC_STATEMENT_DAYS,
    LISTED,
    EventKind,
    events_between,
    fomc_blocked,
    monthly_expiry,
    why_unknown,
)
from scalpdesk.instruments.sessions import new_york_ns, to_new_york


@pytest.mark.rows(
    ("clock_time", "blocked"),
    [("13:29:59", False), ("13:30", True), ("14:00", True), ("14:30", True), ("14:30:01", False)],
)
def test_half_an_hour_around_a_statement_is_blocked_ends_included(clock_time, blocked):
    assert fomc_blocked(new_york_ns(date(2024, 3, 20), time.fromisoformat(clock_time))) is blocked


def test_the_statement_is_at_two_new_york_in_winter_and_in_summer():
    assert fomc_blocked(new_york_ns(date(2024, 1, 31), time(14, 0)), minutes=0)
    assert fomc_blocked(new_york_ns(date(2024, 7, 31), time(14, 0)), minutes=0)


def test_any_other_day_is_free():
    assert not fomc_blocked(new_york_ns(date(2024, 3, 19), time(14, 0)))


@pytest.mark.rows("year", [2024, 2025, 2026, 2027])
def test_there_are_eight_statements_a_year_all_on_wednesdays_or_thursdays(year):
    days = [day for day in FOMC_STATEMENT_DAYS if day.year == year]
    assert len(days) == 8
    assert {day.weekday() for day in days} <= {2, 3}


def week_of_the_survey(day):
    """Return the Friday of the week with the 12th in it, of the month that a release is about."""
    month = (day.replace(day=1) - timedelta(days=1)).replace(day=12)
    return month + timedelta(days=5 if month.weekday() == 6 else 4 - month.weekday())


def test_payrolls_are_published_three_weeks_after_the_survey_and_before_the_open():
    """The Bureau's own rule; around the New Year and Independence Day it moves by days, or a week."""
    days = sorted(LISTED[EventKind.PAYROLLS].days)
    assert len(days) == 11 * 12 + 9
    moved = {day: (day - week_of_the_survey(day)).days - 21 for day in days}
    assert {day.month: shift for day, shift in moved.items() if shift} == {1: 7, 7: -1}
    assert sum(shift == 7 for shift in moved.values()) == 6  # a week later after a New Year early in the week
    assert sum(shift == -1 for shift in moved.values()) == 4  # on a Thursday, the day before a holiday


def test_prices_are_published_once_a_month_between_the_tenth_and_the_twenty_sixth():
    days = sorted(LISTED[EventKind.CPI].days)
    assert [(day.year, day.month) for day in days] == [
        (year, month) for year in range(2014, 2026) for month in range(1, 13) if (year, month) < (2025, 10)
    ]
    assert all(10 <= day.day <= 26 and day.weekday() < 5 for day in days)


def test_a_years_statements_are_six_to_eight_weeks_apart():
    days = sorted(LISTED[EventKind.FOMC].days)
    gaps = [(after - before).days for before, after in pairwise(days) if before.year != 2020]
    assert min(gaps) >= 34
    assert max(gaps) <= 57
    assert len(days) == 14 * 8 - 1  # that of March 2020 was not held
    assert {day.weekday() for day in days} == {2, 3}


def test_the_monthly_expiry_is_the_third_friday_or_the_day_before_a_holiday():
    assert monthly_expiry(2018, 2) == date(2018, 2, 16)
    assert monthly_expiry(2019, 4) == date(2019, 4, 18)  # Good Friday


def test_events_between_two_instants_come_in_order_and_what_lies_beyond_a_list_is_unknown():
    start, end = (new_york_ns(date(2018, 1, day), time(14, 0)) for day in (4, 31))
    found = events_between(start, end, tuple(EventKind))
    assert [(each.kind, to_new_york(each.at_ns).strftime("%d %H:%M")) for each in found] == [
        ("payrolls", "05 08:30"),
        ("cpi", "12 08:30"),
        ("expiry", "19 16:00"),
        ("fomc", "31 14:00"),
    ]
    assert events_between(start, start) == ()
    assert why_unknown(tuple(EventKind), date(2018, 1, 4)) == ""
    assert why_unknown((EventKind.CPI,), date(2026, 1, 4)) == (
        "consumer price index is known from 2014-01-01 to 2025-09-30"
    )
