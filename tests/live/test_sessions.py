"""The sessions of a live desk: their bounds, what is due when, and the end of an orderly stop."""

from datetime import date
from types import SimpleNamespace

import pytest

from fakes.instruments import DAY
from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause, SessionPhase
from scalpdesk.core.events import OperatorEvent, SessionEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, NEVER_NS
from scalpdesk.instruments.contract import us_option
from scalpdesk.instruments.deadlines import NO_CUTOFF
from scalpdesk.instruments.sessions import Session, next_session, session_on
from scalpdesk.live.sessions import Agenda, DailyRollover, OrderlyStop, SessionCalendar, StopMode, session_of
from scalpdesk.venues.contract import VenueClock

MONDAY, TUESDAY = session_on(DAY), next_session(DAY)
SATURDAY = date(2024, 3, 9)
HOUR_NS = 60 * MINUTE_NS
NOON_NS = MONDAY.open_ns + 2 * HOUR_NS
MIDNIGHT_NS = MONDAY.close_ns + 8 * HOUR_NS


# the bounds of a session ----------------------------------------


@pytest.mark.parametrize(
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


def test_appointments_of_one_instant_come_in_the_order_in_which_they_were_last_set():
    agenda = Agenda()
    for name in ("a", "b", "a"):
        agenda.put(name, 5)
    assert (agenda.due_ns, agenda.pop(4)) == (5, None)
    assert [agenda.pop(5) for _ in range(3)] == [("b", 5), ("a", 5), None]
    assert agenda.due_ns == NEVER_NS


# the calendar of a desk ----------------------------------------


class Desk:
    """A desk that holds so many options of one contract, and its calendar."""

    def __init__(
        self,
        *,
        now_ns=MONDAY.open_ns - HOUR_NS,
        held=0,
        option="SPY240304C00500000",
        mode=Mode.ACTIVE,
    ):
        self.fed, self.said, self.called = [], [], []
        self.desk = SimpleNamespace(
            view=SimpleNamespace(cutoff=NO_CUTOFF, session=None),
            market=SimpleNamespace(going_ex=lambda _: []),
            positions=SimpleNamespace(held=lambda: [SimpleNamespace(instrument_id=0)] * bool(held)),
            instruments=[us_option(option)],
            gate=SimpleNamespace(mode=mode),
            books=None,
        )
        self.now_ns = now_ns
        self.calendar = SessionCalendar(
            engine=self,
            feed=self.feed,
            notify=lambda *words: self.said.append(words),
            on_close=lambda: self.called.append("closed") or ["after the close"],
            on_morning=lambda: self.called.append("morning"),
            margin_seconds=60.0,
        )

    def feed(self, event):
        self.fed.append(event)
        if type(event) is SessionEvent:
            is_open = event.phase is SessionPhase.OPEN
            day = date.fromisoformat(event.session)
            self.desk.view.session = Session(day, event.open_ns, event.close_ns) if is_open else None
        return ["command"]

    def plan(self, clock=None, at_ns=0):
        if clock is None:
            clock = VenueClock(self.now_ns, False, MONDAY.open_ns, MONDAY.close_ns)
        self.calendar.plan(SimpleNamespace(clock=clock, ts_event_ns=at_ns or clock.now_ns))
        return self

    def fire(self, at_ns):
        self.now_ns = max(self.now_ns, at_ns)
        return self.calendar.fire(at_ns)

    def through_monday(self):
        self.plan()
        self.fire(MONDAY.open_ns)
        self.fire(MONDAY.close_ns + 1)
        return self


def session_event(phase, at_ns, recv_ns=None, opens_ns=MONDAY.open_ns, closes_ns=MONDAY.close_ns):
    return SessionEvent(at_ns, recv_ns or at_ns, "2024-03-04", SessionPhase(phase), opens_ns, closes_ns)


def test_a_session_opens_at_its_open_and_closes_after_what_happens_at_its_close():
    desk = Desk().plan()
    assert (desk.calendar.session, desk.calendar.due_ns) == (MONDAY, MONDAY.open_ns)
    assert not desk.calendar.has_closed
    assert desk.fire(MONDAY.open_ns - 1) == []
    assert desk.fire(MONDAY.open_ns) == ["command"]
    assert desk.fed == [session_event("open", MONDAY.open_ns)]
    assert desk.said == [("info", "session 2024-03-04 opens")]
    assert desk.calendar.due_ns == MONDAY.close_ns + 1
    assert desk.fire(MONDAY.close_ns) == []
    assert desk.fire(MONDAY.close_ns + 1) == ["command", "after the close"]
    assert desk.fed[1:] == [session_event("close", MONDAY.close_ns, MONDAY.close_ns + 1)]
    assert desk.said[1:] == [("info", "session 2024-03-04 closes")]
    assert (desk.called, desk.calendar.has_closed, desk.calendar.due_ns) == (["closed"], True, NEVER_NS)


@pytest.mark.parametrize(
    ("joins_ns", "opens_ns"),
    [
        (NOON_NS, NOON_NS),
        (MONDAY.close_ns - 1, MONDAY.close_ns - 1),
        (MONDAY.close_ns + 5, MONDAY.close_ns - 1),
    ],
)
def test_a_desk_that_joins_late_has_a_session_that_begins_when_it_joins(joins_ns, opens_ns):
    desk = Desk(now_ns=joins_ns).plan(VenueClock(NOON_NS, True, 0, MONDAY.close_ns))
    assert desk.fire(joins_ns) == ["command"]
    assert desk.fed == [session_event("open", opens_ns, opens_ns=opens_ns)]


def test_an_appointment_that_has_lost_its_session_does_nothing():
    desk = Desk().plan()
    desk.desk.view.session = MONDAY
    assert desk.fire(MONDAY.open_ns) == []
    desk = Desk()
    desk.calendar._agenda.put("open", MONDAY.open_ns)
    assert desk.fire(MONDAY.open_ns) == []
    desk = Desk().plan()
    desk.fire(MONDAY.open_ns)
    desk.desk.view.session = None
    assert desk.fire(MONDAY.close_ns + 1) == []
    assert (len(desk.fed), desk.called, desk.calendar.has_closed) == (1, [], False)


TO_TUESDAY = VenueClock(MONDAY.close_ns + 2, False, TUESDAY.open_ns, TUESDAY.close_ns)


def test_ten_minutes_before_a_later_session_comes_the_morning():
    desk = Desk().through_monday().plan(TO_TUESDAY)
    assert desk.calendar.due_ns == TUESDAY.open_ns - 10 * MINUTE_NS
    assert desk.fire(TUESDAY.open_ns - 10 * MINUTE_NS - 1) == []
    assert desk.called == ["closed"]
    assert desk.fire(TUESDAY.open_ns - 10 * MINUTE_NS) == []
    assert desk.called == ["closed", "morning"]
    # looks that show the same session again plan no second morning
    desk.plan(TO_TUESDAY)
    assert desk.calendar.due_ns == TUESDAY.open_ns
    assert desk.fire(TUESDAY.open_ns) == ["command"]
    assert desk.desk.view.session == TUESDAY


def test_no_morning_comes_before_the_first_session_and_no_session_after_the_last():
    assert Desk().plan().calendar.due_ns == MONDAY.open_ns
    desk = Desk().through_monday()
    desk.calendar.is_at_end = True
    desk.plan(TO_TUESDAY)
    assert (desk.calendar.due_ns, desk.calendar.session) == (NEVER_NS, MONDAY)


@pytest.mark.parametrize(("later_ns", "due_ns"), [(0, NEVER_NS), (-HOUR_NS, NEVER_NS), (HOUR_NS, 1)])
def test_a_session_that_has_closed_opens_again_only_where_the_venue_now_closes_it_later(later_ns, due_ns):
    desk = Desk().through_monday()
    closes_ns = MONDAY.close_ns + later_ns
    desk.plan(VenueClock(closes_ns - 1, True, TUESDAY.open_ns, closes_ns))
    assert (desk.calendar.due_ns == NEVER_NS) is (due_ns == NEVER_NS)


@pytest.mark.parametrize(("view_ns", "session"), [(-1, MONDAY), (0, TUESDAY), (1, TUESDAY)])
def test_while_a_session_is_under_way_a_look_moves_its_close_alone(view_ns, session):
    desk = Desk().plan()
    desk.fire(MONDAY.open_ns)
    desk.calendar._agenda.put("close", NEVER_NS - 1)
    desk.plan(TO_TUESDAY, at_ns=MONDAY.close_ns + view_ns)
    assert (desk.calendar.session, desk.calendar.due_ns) == (session, MONDAY.close_ns + 1)


def test_a_session_that_a_look_saw_before_the_last_one_was_closed_opens_all_the_same():
    """A desk resumed in the session after never opened it: 276 delivered shares stayed unsold."""
    desk = Desk().plan()
    desk.fire(MONDAY.open_ns)
    desk.plan(TO_TUESDAY, at_ns=TUESDAY.open_ns + 1)
    desk.fire(MONDAY.close_ns + 1)
    desk.plan(TO_TUESDAY, at_ns=TUESDAY.open_ns + 2)
    assert (desk.calendar.session, desk.calendar.due_ns) == (TUESDAY, TUESDAY.open_ns - 10 * MINUTE_NS)


@pytest.mark.parametrize("planned", ["at the open", "by a look"])
def test_the_deadline_of_what_expires_is_set_at_the_open_and_by_each_look(planned):
    deadline_ns = MONDAY.close_ns - MINUTE_NS
    desk = Desk(held=1).plan()
    desk.fire(MONDAY.open_ns)
    if planned == "by a look":
        desk.calendar._agenda.put("deadline", NEVER_NS - 1)
        desk.plan(TO_TUESDAY, at_ns=NOON_NS)
    assert desk.calendar.due_ns == deadline_ns
    desk.now_ns = deadline_ns + 5  # the look came late
    assert desk.calendar.fire(deadline_ns) == ["command"]
    reason = "the venue stops taking orders in expiring options soon: SPY240304C00500000"
    assert desk.fed[-1] == OperatorEvent(
        deadline_ns, deadline_ns + 5, OperatorAction.FLATTEN, reason, "deadline", OperatorCause.DEADLINE
    )


@pytest.mark.parametrize(
    ("option", "has_deadline"),
    [
        ("SPX240305C05000000", True),  # settled at Tuesday's open: traded until Monday's close
        ("SPX240304C05000000", False),  # traded until Friday's close: no order is taken on Monday
        ("SPXW240304C05000000", True),
        ("SPXW240305C05000000", False),
    ],
)
def test_an_option_settled_in_the_morning_is_left_in_its_last_trading_session(option, has_deadline):
    desk = Desk(held=1, option=option).plan()
    desk.fire(MONDAY.open_ns)
    assert desk.calendar.due_ns == (MONDAY.close_ns - MINUTE_NS if has_deadline else MONDAY.close_ns + 1)


# the end of a stop ----------------------------------------


def stopped(mode, *, live=(), held=(), created=(), reason=""):
    asked = []
    orders = SimpleNamespace(
        live=dict.fromkeys(live),
        orders={f"o{n}": SimpleNamespace(created_ns=at_ns) for n, at_ns in enumerate(created)},
    )
    desk = SimpleNamespace(orders=orders, positions=SimpleNamespace(held=lambda: held))
    stop = OrderlyStop(SimpleNamespace(desk=desk), asked.append)
    assert (stop.mode, stop.reason) == (None, "")
    stop.mode, stop.reason = mode, reason
    return stop, asked


def account(at_ns, quantity=0):
    return SimpleNamespace(ts_recv_ns=at_ns, positions=[SimpleNamespace(quantity=quantity)], open_orders=[])


FLAT = "stopped: flat, and the venue shows it"


@pytest.mark.parametrize(
    ("mode", "state", "view", "reason", "asked"),
    [
        (None, {}, None, "", []),
        (StopMode.LEAVE, {"live": ["o0"], "held": [1]}, None, "stopped: leave", []),
        (StopMode.LEAVE, {"reason": "the first"}, None, "the first", []),
        (StopMode.HOLD, {"live": ["o0"]}, None, "", []),
        (StopMode.HOLD, {"held": [1]}, None, "stopped: hold", []),
        (StopMode.FLATTEN, {}, None, "", [0.0]),
        (StopMode.FLATTEN, {"reason": "the first"}, None, "the first", []),
        (StopMode.FLATTEN, {}, account(0), FLAT, []),
        (StopMode.FLATTEN, {"created": [30, 20]}, account(29), "", [0.0]),
        (StopMode.FLATTEN, {"created": [30, 20]}, account(30), FLAT, []),
        (StopMode.FLATTEN, {"created": [30]}, account(31, quantity=1), "", [0.5]),
    ],
)
def test_a_stop_is_complete_when_what_it_was_asked_for_is_so(mode, state, view, reason, asked):
    stop, wanted = stopped(mode, **state)
    stop.check(view)
    assert (stop.reason, wanted) == (reason, asked)
    stop.finish("later")
    assert stop.reason == (reason or "later")


@pytest.mark.parametrize(("mode", "action"), [("leave", ""), ("hold", "halt"), ("flatten", "flatten")])
def test_each_way_to_stop_is_a_command_of_its_own(mode, action):
    assert StopMode(mode).action == action


def test_a_run_without_an_update_goes_on_with_what_it_knows():
    stop, _ = stopped(None, held=[1])
    stop._engine.desk.gate = SimpleNamespace(mode=Mode.ACTIVE)
    said = []
    rollover = DailyRollover(
        engine=stop._engine,
        stop=stop,
        supervisor=SimpleNamespace(notify=lambda *words: said.append(words)),
        put=None,
        update=None,
        rolls=True,
    )
    rollover.before_open()
    why = "it holds positions; it knows no contracts listed since it began"
    assert (stop.reason, said) == ("", [("info", f"this run goes on into the next session: {why}")])
