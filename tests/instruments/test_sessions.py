from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import (
    Session,
    expiry_instant_ns,
    final_close_ns,
    from_ns,
    is_session,
    new_york_ns,
    next_session,
    previous_session,
    session_on,
    sessions_between,
    to_new_york,
    to_ns,
    whole_session,
)


def utc(text: str) -> int:
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_a_regular_session_runs_from_half_past_nine_to_four_new_york():
    session = session_on(date(2024, 1, 16))
    assert (session.open_ns, session.close_ns) == (utc("2024-01-16T14:30"), utc("2024-01-16T21:00"))
    assert not session.is_half_day


def test_the_session_moves_in_utc_when_new_york_changes_its_clocks():
    before, after = session_on(date(2024, 3, 8)), session_on(date(2024, 3, 11))
    assert before.open_ns == utc("2024-03-08T14:30")
    assert after.open_ns == utc("2024-03-11T13:30")
    before, after = session_on(date(2024, 11, 1)), session_on(date(2024, 11, 4))
    assert before.close_ns == utc("2024-11-01T20:00")
    assert after.close_ns == utc("2024-11-04T21:00")


@pytest.mark.rows("day", [date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24)])
def test_a_half_day_ends_at_one_new_york(day):
    session = session_on(day)
    assert session.is_half_day
    assert to_new_york(session.close_ns).time() == time(13, 0)


def test_a_holiday_is_refused_and_its_neighbours_are_named():
    assert not is_session(date(2024, 7, 4))
    with pytest.raises(ArgumentError, match="does not trade") as caught:
        session_on(date(2024, 7, 4))
    assert caught.value.fix == "use 2024-07-03 or 2024-07-05"


def test_neighbours_and_ranges_skip_weekends_and_holidays():
    assert previous_session(date(2024, 7, 8)).day == date(2024, 7, 5)
    assert next_session(date(2024, 7, 3)).day == date(2024, 7, 5)
    days = [session.day.day for session in sessions_between(date(2024, 7, 1), date(2024, 7, 9))]
    assert days == [1, 2, 3, 5, 8, 9]


@pytest.mark.rows(
    ("symbol", "expires", "last_trade"),
    [
        ("SPY240419C00500000", "2024-04-19T20:00", "2024-04-19T20:00"),
        ("SPXW240419C05000000", "2024-04-19T20:00", "2024-04-19T20:00"),
        ("SPX240419C05000000", "2024-04-19T13:30", "2024-04-18T20:00"),
        ("SPXW241129C05000000", "2024-11-29T18:00", "2024-11-29T18:00"),
        # the monthly expiry of old fell on a Saturday; Good Friday 2014 put the last session on Thursday
        ("SPY140419C00180000", "2014-04-17T20:00", "2014-04-17T20:00"),
    ],
)
def test_a_payoff_is_fixed_at_the_close_or_for_am_settlement_at_the_open(symbol, expires, last_trade):
    contract = us_option(symbol)
    assert expiry_instant_ns(contract) == utc(expires)
    assert final_close_ns(contract) == utc(last_trade)


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ArgumentError, match="time zone"):
        to_ns(datetime(2024, 1, 1))  # noqa: DTZ001 - the point of the test


@given(st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_survives_nanoseconds(moment):
    assert from_ns(to_ns(moment)) == moment


def test_wall_times_in_new_york_become_utc():
    assert new_york_ns(date(2024, 1, 16), time(9, 30)) == utc("2024-01-16T14:30")
    assert new_york_ns(date(2024, 7, 16), time(9, 30)) == utc("2024-07-16T13:30")


def test_the_rest_of_a_session_belongs_to_the_whole_one():
    whole = session_on(date(2024, 11, 29))  # a half day
    rest = Session(whole.day, whole.open_ns + 1, whole.close_ns)
    assert whole_session(rest) == whole_session(whole) == whole


@pytest.mark.rows(
    "own",
    [
        Session(date(2024, 11, 30), 5, 9),  # a Saturday
        Session(date(2024, 11, 29), 5, 9),  # at night
        Session(date(2077, 3, 5), 5, 9),  # beyond the calendar
    ],
)
def test_a_session_that_no_exchange_has_is_whole_as_it_is(own):
    assert whole_session(own) is own
