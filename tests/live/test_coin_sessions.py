"""A venue that never closes: its days of account as the sessions of a live desk."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.instruments.sessions import coin_session
from scalpdesk.live.sessions import session_of
from scalpdesk.venues.deribit.wire import clock_of


@given(st.dates(date(2020, 1, 1), date(2050, 1, 1)), st.integers(0, 86_399_999))
def test_the_session_is_the_day_of_account_whenever_the_desk_joins(day, millisecond):
    session = coin_session(day)
    clock = clock_of(session.open_ns // 1_000_000 + millisecond, session.close_ns)
    assert session_of(clock) == session


@pytest.mark.parametrize("day", [date(2025, 3, 8), date(2025, 7, 4)])
def test_weekends_and_holidays_are_days_like_others(day):
    session = coin_session(day)
    following = clock_of(
        session.close_ns // 1_000_000, coin_session(date.fromordinal(day.toordinal() + 1)).close_ns
    )
    assert session_of(following).open_ns == session.close_ns
