from datetime import date, time

import pytest

from scalpdesk.instruments.sessions import FOMC_STATEMENT_DAYS, fomc_blocked, new_york_ns


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("year", [2024, 2025, 2026, 2027])
def test_there_are_eight_statements_a_year_all_on_wednesdays_or_thursdays(year):
    days = [day for day in FOMC_STATEMENT_DAYS if day.year == year]
    assert len(days) == 8
    assert {day.weekday() for day in days} <= {2, 3}
