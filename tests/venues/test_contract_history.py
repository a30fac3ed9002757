"""Minutes of the past, parted into sessions."""

from datetime import date, time

from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.venues.contract import VenueMinute, sessions_of

FRIDAY, MONDAY = date(2024, 3, 1), date(2024, 3, 4)
LATER_NS = session_on(date(2024, 3, 5)).open_ns


def minute(day, clock, volume=10.0):
    return VenueMinute(new_york_ns(day, time.fromisoformat(clock)), 1.0, 2.0, 0.5, 1.5, volume)


def test_minutes_are_parted_by_session_and_those_outside_are_left_out():
    minutes = [
        minute(FRIDAY, "09:29"),
        minute(FRIDAY, "09:30", 1.0),
        minute(FRIDAY, "15:59", 2.0),
        minute(FRIDAY, "16:00"),
        minute(date(2024, 3, 2), "10:00"),
        minute(MONDAY, "12:00", 3.0),
    ]
    friday, monday = sessions_of(minutes, 7, LATER_NS)
    hours = session_on(FRIDAY)
    assert (friday.session, friday.instrument_id, friday.bar_seconds) == ("2024-03-01", 7, 60)
    assert (friday.open_ns, friday.close_ns, friday.ts_event_ns) == (
        hours.open_ns,
        hours.close_ns,
        hours.close_ns,
    )
    assert friday.ends_ns == (hours.open_ns + 60 * 10**9, hours.close_ns)
    assert (friday.volume, friday.high) == ((1.0, 2.0), (2.0, 2.0))
    assert (monday.session, monday.volume) == ("2024-03-04", (3.0,))
    assert {friday.ts_recv_ns, monday.ts_recv_ns} == {LATER_NS}


def test_a_session_under_way_is_none_of_the_past():
    minutes = [minute(FRIDAY, "10:00"), minute(MONDAY, "10:00")]
    known_ns = new_york_ns(MONDAY, time(15))
    assert [one.session for one in sessions_of(minutes, 0, known_ns)] == ["2024-03-01"]


def test_a_half_day_ends_early_and_a_holiday_is_none():
    half, holiday = date(2018, 12, 24), date(2018, 12, 25)
    minutes = [minute(half, "12:59", 1.0), minute(half, "13:00"), minute(holiday, "10:00")]
    (only,) = sessions_of(minutes, 0, LATER_NS)
    assert only.volume == (1.0,)
