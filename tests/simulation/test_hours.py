"""Trading hours of a broker: of a tape, of the exchanges, and without an end."""

from datetime import date

import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.sessions import session_on
from scalpdesk.simulation.hours import AlwaysOpen, ExchangeHours, TapeHours

FRIDAY, MONDAY, TUESDAY = (session_on(date(2024, 3, day)) for day in (1, 4, 5))
WEEKEND_NS = FRIDAY.close_ns + 40 * 3_600 * 10**9


@pytest.fixture
def tape():
    return TapeHours([FRIDAY, MONDAY])


@pytest.mark.rows("hours", [TapeHours([FRIDAY, MONDAY]), ExchangeHours()])
@pytest.mark.rows(
    ("now_ns", "session", "opens_ns", "closes_ns", "boundary_ns"),
    [
        (FRIDAY.open_ns - 1, None, FRIDAY.open_ns, FRIDAY.close_ns, FRIDAY.open_ns),
        (FRIDAY.open_ns, FRIDAY, MONDAY.open_ns, FRIDAY.close_ns, FRIDAY.close_ns),
        (FRIDAY.close_ns - 1, FRIDAY, MONDAY.open_ns, FRIDAY.close_ns, FRIDAY.close_ns),
        (FRIDAY.close_ns, None, MONDAY.open_ns, MONDAY.close_ns, MONDAY.open_ns),
        (WEEKEND_NS, None, MONDAY.open_ns, MONDAY.close_ns, MONDAY.open_ns),
        (MONDAY.open_ns, MONDAY, TUESDAY.open_ns, MONDAY.close_ns, MONDAY.close_ns),
    ],
)
def test_a_tape_keeps_the_hours_of_the_exchanges(hours, now_ns, session, opens_ns, closes_ns, boundary_ns):
    assert hours.session_at(now_ns) == session
    assert (hours.next_open_ns(now_ns), hours.next_close_ns(now_ns)) == (opens_ns, closes_ns)
    assert hours.next_boundary_ns(now_ns) == boundary_ns


@pytest.mark.parametrize("before_ns", [MONDAY.close_ns, TUESDAY.open_ns - 1])
def test_after_a_tape_the_calendar_goes_on_and_no_session_is_played(tape, before_ns):
    assert tape.session_at(before_ns) is None
    assert tape.next_open_ns(before_ns) == TUESDAY.open_ns
    assert tape.next_close_ns(before_ns) == TUESDAY.close_ns
    assert tape.next_boundary_ns(before_ns) == NEVER_NS
    assert tape.session_at(TUESDAY.open_ns) is None


def test_the_calendar_lists_sessions_and_a_market_has_one_at_least(tape):
    first, last = date(2024, 3, 1), date(2024, 3, 5)
    assert list(tape.calendar(first, last)) == list(ExchangeHours().calendar(first, last))
    assert list(tape.calendar(first, last)) == [FRIDAY, MONDAY, TUESDAY]
    with pytest.raises(ArgumentError, match="at least one session") as caught:
        TapeHours([])
    assert caught.value.where == "sessions"


def test_without_an_end_one_day_follows_the_other():
    hours = AlwaysOpen()
    days = hours.calendar(date(2024, 3, 1), date(2024, 3, 3))
    assert [one.day for one in days] == [date(2024, 3, number) for number in (1, 2, 3)]
    assert days[0].close_ns == days[1].open_ns
    assert hours.session_at(days[1].open_ns) == days[1]
    assert hours.session_at(days[1].open_ns - 1) == days[0]
    for ask in (hours.next_open_ns, hours.next_close_ns, hours.next_boundary_ns):
        assert ask(days[1].open_ns) == days[2].open_ns
