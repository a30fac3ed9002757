"""The sessions of a live desk: their bounds, what is due when, and the end of an orderly stop."""

from datetime import date

import pytest

from scalpdesk.core.enums import OperatorAction, OperatorCause, SessionPhase
from scalpdesk.core.events import OperatorEvent, SessionEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, NEVER_NS
from scalpdesk.instruments.sessions import Session, next_session, session_on
from scalpdesk.live.sessions import DailyRollover, OrderlyStop, StopMode, session_of
from scalpdesk.live.supervision import Supervisor
from scalpdesk.venues.contract import VenueClock
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy
from scalpdesk_testing.kit.instruments import DAY
from tests.live.venue_views import CalendarDesk, venue_view

MONDAY, TUESDAY = session_on(DAY), next_session(DAY)
SATURDAY = date(2024, 3, 9)
HOUR_NS = 60 * MINUTE_NS
NOON_NS = MONDAY.open_ns + 2 * HOUR_NS
MIDNIGHT_NS = MONDAY.close_ns + 8 * HOUR_NS


# the bounds of a session ----------------------------------------


@pytest.mark.rows(
    ("clock", "expected"),
    [
        # open: the calendar's bounds where its close is the venue's within a second
        (VenueClock(NOON_NS, True, 0, MONDAY.close_ns + NANOS_PER_SECOND - 1), MONDAY),
        (VenueClock(NOON_NS, True, 0, MONDAY.close_ns - NANOS_PER_SECOND + 1), MONDAY),
        (
            VenueClock(NOON_NS, True, 0, MONDAY.close_ns + NANOS_PER_SECOND),
            Session(DAY, NOON_NS, MONDAY.close_ns + NANOS_PER_SECOND),
        ),
        # a clock that stands at the close leaves a session of a nanosecond
        (VenueClock(NOON_NS, True, 0, NOON_NS), Session(DAY, NOON_NS - 1, NOON_NS)),
        # a market that is always open: midnight ends the day before it
        (
            VenueClock(NOON_NS, True, MIDNIGHT_NS, MIDNIGHT_NS),
            Session(DAY, NOON_NS, MIDNIGHT_NS),
        ),
        # closed: by the next open
        (VenueClock(NOON_NS, False, MONDAY.open_ns + NANOS_PER_SECOND - 1, 0), MONDAY),
        (VenueClock(NOON_NS, False, MONDAY.open_ns - NANOS_PER_SECOND + 1, 0), MONDAY),
        (
            VenueClock(0, False, MONDAY.open_ns + NANOS_PER_SECOND, MONDAY.close_ns),
            Session(DAY, MONDAY.open_ns + NANOS_PER_SECOND, MONDAY.close_ns),
        ),
        (VenueClock(0, False, NOON_NS, NOON_NS), Session(DAY, NOON_NS, NOON_NS + 1)),
        # a day without a session
        (
            VenueClock(0, False, MONDAY.open_ns + 120 * HOUR_NS, MONDAY.close_ns + 120 * HOUR_NS),
            Session(SATURDAY, MONDAY.open_ns + 120 * HOUR_NS, MONDAY.close_ns + 120 * HOUR_NS),
        ),
        (
            VenueClock(NOON_NS + 120 * HOUR_NS, True, 0, MONDAY.close_ns + 120 * HOUR_NS),
            Session(SATURDAY, NOON_NS + 120 * HOUR_NS, MONDAY.close_ns + 120 * HOUR_NS),
        ),
    ],
)
def test_the_venues_clock_gives_the_session_and_the_calendar_its_bounds(clock, expected):
    assert session_of(clock) == expected


# the calendar of a desk ----------------------------------------


BEFORE = VenueClock(MONDAY.open_ns - HOUR_NS, False, MONDAY.open_ns, MONDAY.close_ns)


def desk_on_monday(at_ns=MONDAY.open_ns - HOUR_NS, clock=BEFORE, **how):
    """Return a desk that has looked at the venue's clock."""
    return CalendarDesk(**how).at_ns(at_ns).plan(clock)


def after_monday():
    """Return a desk that was there for the whole session."""
    desk = desk_on_monday()
    desk.fire(MONDAY.open_ns)
    desk.fire(MONDAY.close_ns + 1)
    return desk


def session_event(phase, at_ns, recv_ns=None, opens_ns=MONDAY.open_ns, closes_ns=MONDAY.close_ns):
    return SessionEvent(at_ns, recv_ns or at_ns, "2024-03-04", SessionPhase(phase), opens_ns, closes_ns)


def test_a_session_opens_at_its_open_and_closes_after_what_happens_at_its_close():
    desk = desk_on_monday()
    assert (desk.calendar.session, desk.calendar.due_ns) == (MONDAY, MONDAY.open_ns)
    assert not desk.calendar.has_closed
    assert desk.fire(MONDAY.open_ns - 1) == []
    assert desk.fire(MONDAY.open_ns) == ["command"]
    assert desk.fed == [session_event("open", MONDAY.open_ns)]
    assert [level for level, _ in desk.said] == ["info"]
    assert desk.calendar.due_ns == MONDAY.close_ns + 1
    assert desk.fire(MONDAY.close_ns) == []
    assert desk.fire(MONDAY.close_ns + 1) == ["command", "after the close"]
    assert desk.fed[1:] == [session_event("close", MONDAY.close_ns, MONDAY.close_ns + 1)]
    assert [level for level, _ in desk.said] == ["info"] * 2
    assert (desk.called, desk.calendar.has_closed, desk.calendar.due_ns) == (["closed"], True, NEVER_NS)


@pytest.mark.rows(
    ("joins_ns", "opens_ns"),
    [
        (NOON_NS, NOON_NS),
        (MONDAY.close_ns - 1, MONDAY.close_ns - 1),
        (MONDAY.close_ns + 5, MONDAY.close_ns - 1),
    ],
)
def test_a_desk_that_joins_late_has_a_session_that_begins_when_it_joins(joins_ns, opens_ns):
    desk = desk_on_monday(joins_ns, VenueClock(NOON_NS, True, 0, MONDAY.close_ns))
    assert desk.fire(joins_ns) == ["command"]
    assert desk.fed == [session_event("open", opens_ns, opens_ns=opens_ns)]


def test_an_appointment_that_has_lost_its_session_does_nothing():
    desk = desk_on_monday()
    desk.open(MONDAY)
    assert desk.fire(MONDAY.open_ns) == []
    desk = desk_on_monday()
    desk.fire(MONDAY.open_ns)
    desk.close()
    assert desk.calendar.fire(MONDAY.close_ns + 1) == []
    assert (len(desk.fed), desk.called, desk.calendar.has_closed) == (1, [], False)


TO_TUESDAY = VenueClock(MONDAY.close_ns + 2, False, TUESDAY.open_ns, TUESDAY.close_ns)


def test_ten_minutes_before_a_later_session_comes_the_morning():
    desk = after_monday().plan(TO_TUESDAY)
    assert desk.calendar.due_ns == TUESDAY.open_ns - 10 * MINUTE_NS
    assert desk.fire(TUESDAY.open_ns - 10 * MINUTE_NS - 1) == []
    assert desk.called == ["closed"]
    assert desk.fire(TUESDAY.open_ns - 10 * MINUTE_NS) == []
    assert desk.called == ["closed", "morning"]
    # looks that show the same session again plan no second morning
    desk.plan(TO_TUESDAY)
    assert desk.calendar.due_ns == TUESDAY.open_ns
    assert desk.fire(TUESDAY.open_ns) == ["command"]
    assert desk.engine.desk.view.session == TUESDAY


def test_no_morning_comes_before_the_first_session_and_no_session_after_the_last():
    assert desk_on_monday().calendar.due_ns == MONDAY.open_ns
    desk = after_monday()
    desk.calendar.is_at_end = True
    desk.plan(TO_TUESDAY)
    assert (desk.calendar.due_ns, desk.calendar.session) == (NEVER_NS, MONDAY)


@pytest.mark.rows(("later_ns", "due_ns"), [(0, NEVER_NS), (-HOUR_NS, NEVER_NS), (HOUR_NS, 1)])
def test_a_session_that_has_closed_opens_again_only_where_the_venue_now_closes_it_later(later_ns, due_ns):
    desk = after_monday()
    closes_ns = MONDAY.close_ns + later_ns
    desk.plan(VenueClock(closes_ns - 1, True, TUESDAY.open_ns, closes_ns))
    assert (desk.calendar.due_ns == NEVER_NS) is (due_ns == NEVER_NS)


@pytest.mark.rows(("view_ns", "session"), [(-1, MONDAY), (0, TUESDAY), (1, TUESDAY)])
def test_while_a_session_is_under_way_a_look_moves_its_close_alone(view_ns, session):
    desk = CalendarDesk(open_first=MONDAY)
    desk.plan(TO_TUESDAY, at_ns=MONDAY.close_ns + view_ns)
    assert (desk.calendar.session, desk.calendar.due_ns) == (session, MONDAY.close_ns + 1)


def test_a_session_that_a_look_saw_before_the_last_one_was_closed_opens_all_the_same():
    """A desk resumed in the session after never opened it: 276 delivered shares stayed unsold."""
    desk = desk_on_monday()
    desk.fire(MONDAY.open_ns)
    desk.plan(TO_TUESDAY, at_ns=TUESDAY.open_ns + 1)
    desk.fire(MONDAY.close_ns + 1)
    desk.plan(TO_TUESDAY, at_ns=TUESDAY.open_ns + 2)
    assert (desk.calendar.session, desk.calendar.due_ns) == (TUESDAY, TUESDAY.open_ns - 10 * MINUTE_NS)


@pytest.mark.parametrize("planned", ["at the open", "by a look"])
def test_the_deadline_of_what_expires_is_set_at_the_open_and_by_each_look(planned):
    deadline_ns = MONDAY.close_ns - MINUTE_NS
    if planned == "by a look":
        desk = CalendarDesk(held=1, open_first=MONDAY).plan(TO_TUESDAY, at_ns=NOON_NS)
    else:
        desk = desk_on_monday(held=1)
        desk.fire(MONDAY.open_ns)
    assert desk.calendar.due_ns == deadline_ns
    desk.at_ns(deadline_ns + 5)  # the look came late
    assert desk.calendar.fire(deadline_ns) == ["command"]
    event = desk.fed[-1]
    assert event == OperatorEvent(
        deadline_ns, deadline_ns + 5, OperatorAction.FLATTEN, event.reason, "deadline", OperatorCause.DEADLINE
    )
    assert "SPY240304C00500000" in event.reason


@pytest.mark.rows(
    ("option", "has_deadline"),
    [
        ("SPX240305C05000000", True),  # settled at Tuesday's open: traded until Monday's close
        ("SPX240304C05000000", False),  # traded until Friday's close: no order is taken on Monday
        ("SPXW240304C05000000", True),
        ("SPXW240305C05000000", False),
    ],
)
def test_an_option_settled_in_the_morning_is_left_in_its_last_trading_session(option, has_deadline):
    desk = desk_on_monday(held=1, option=option)
    desk.fire(MONDAY.open_ns)
    assert desk.calendar.due_ns == (MONDAY.close_ns - MINUTE_NS if has_deadline else MONDAY.close_ns + 1)


def test_a_desk_that_keeps_its_options_does_not_flatten_at_the_deadline():
    desk = desk_on_monday(held=1, keeps=True)
    desk.fire(MONDAY.open_ns)
    desk.at_ns(MONDAY.close_ns - MINUTE_NS)
    assert desk.calendar.fire(MONDAY.close_ns - MINUTE_NS) == []
    assert [type(event) for event in desk.fed] == [SessionEvent]
    assert [list(each) for each in desk.kept] == [[1]]
    assert desk.calendar.due_ns == MONDAY.close_ns + 1


# the end of a stop ----------------------------------------


def stopped(mode, *, live=0, held=0, created=(), reason=""):
    """Return the stop of a desk with so many live orders, holdings, and orders that are over."""
    desk, asked = HandDesk(Scripted()), []
    desk.adopt({0: (held, "1")} if held else {})
    for at_ns in created:
        sent = desk.engine.desk.orders.submit(buy(), at_ns)
        desk.reject(sent)
    for _ in range(live):
        desk.engine.desk.orders.submit(buy(), 1)
    stop = OrderlyStop(desk.engine, asked.append)
    assert (stop.mode, stop.reason) == (None, "")
    stop.mode, stop.reason = mode, reason
    return stop, asked, desk


FLAT = "stopped: flat, and the venue shows it"


@pytest.mark.rows(
    ("mode", "state", "view", "reason", "asked"),
    [
        (None, {}, None, "", []),
        (StopMode.LEAVE, {"live": 1, "held": 1}, None, "stopped: leave", []),
        (StopMode.LEAVE, {"reason": "the first"}, None, "the first", []),
        (StopMode.HOLD, {"live": 1}, None, "", []),
        (StopMode.HOLD, {"held": 1}, None, "stopped: hold", []),
        (StopMode.FLATTEN, {}, None, "", [0.0]),
        (StopMode.FLATTEN, {"reason": "the first"}, None, "the first", []),
        (StopMode.FLATTEN, {}, venue_view(0), FLAT, []),
        (StopMode.FLATTEN, {"created": [30, 20]}, venue_view(29), "", [0.0]),
        (StopMode.FLATTEN, {"created": [30, 20]}, venue_view(30), FLAT, []),
        (StopMode.FLATTEN, {"created": [30]}, venue_view(31, {0: 1}), "", [0.5]),
        (StopMode.FLATTEN, {"created": [30]}, venue_view(31, orders=["t-000001"]), "", [0.5]),
        (
            StopMode.FLATTEN,
            {},
            venue_view(31, orders=["by-hand"]),
            f"{FLAT}; open orders from elsewhere are left: SPY by-hand",
            [],
        ),
        (StopMode.FLATTEN, {"live": 1}, venue_view(31), "", []),
        (StopMode.FLATTEN, {"held": 1}, venue_view(31), "", []),
    ],
)
def test_a_stop_is_complete_when_what_it_was_asked_for_is_so(mode, state, view, reason, asked):
    stop, wanted, _ = stopped(mode, **state)
    stop.check(view)
    assert (stop.reason, wanted) == (reason, asked)
    stop.finish("later")
    assert stop.reason == (reason or "later")


@pytest.mark.rows(("mode", "action"), [("leave", ""), ("hold", "halt"), ("flatten", "flatten")])
def test_each_way_to_stop_is_a_command_of_its_own(mode, action):
    assert StopMode(mode).action == action


def test_a_run_without_an_update_goes_on_with_what_it_knows():
    stop, _, desk = stopped(None, held=1)
    said = []
    rollover = DailyRollover(
        engine=desk.engine,
        stop=stop,
        supervisor=Supervisor(lambda *words: said.append(words), said.append),
        put=said.append,
        update=None,
        rolls=True,
    )
    rollover.before_open()
    assert (stop.reason, [level for level, _ in said]) == ("", ["info"])
