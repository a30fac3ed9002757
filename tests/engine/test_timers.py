"""Timers of the engine: one class for backtests, live desks and recoveries."""

from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import given

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import QuoteEvent, SessionEvent, TimerEvent
from scalpdesk.core.intents import SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS
from scalpdesk.engine.timers import LossTimer, Timers
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.desk import HandDesk, Scripted

QUOTE = QuoteEvent(0, 1, 1, 1.0, 2.0, 1.0, 1.0)
TIMERS = st.lists(st.builds(SetTimer, st.sampled_from("ab"), st.integers(1, 5)), max_size=30)


def fire_all(timers):
    """Pop every timer; return instants and names."""
    fired = []
    while timers.due_ns != NEVER_NS:
        assert timers.due_ns <= 5
        fired.append(timers.pop())
    return fired


@given(TIMERS)
def test_a_timer_fires_once_at_its_instant_however_often_it_was_set(asked):
    timers = Timers()
    timers.note(QUOTE, tuple(asked))
    fired = fire_all(timers)
    assert set(fired) == {(timer.due_ns, timer.name) for timer in asked}
    assert len(set(fired)) == len(fired)
    assert [due_ns for due_ns, _ in fired] == sorted(due_ns for due_ns, _ in fired)


@given(TIMERS, st.integers(0, 30))
def test_a_replay_keeps_what_had_not_fired(asked, count):
    live, replayed = Timers(), Timers()
    for timers in (live, replayed):
        timers.note(QUOTE, tuple(asked))
    for _ in range(min(count, len({(timer.due_ns, timer.name) for timer in asked}))):
        due_ns, name = live.pop()
        replayed.note(TimerEvent(due_ns, due_ns, name), ())
    assert fire_all(replayed) == fire_all(live)


def test_timers_end_with_their_session():
    timers = Timers()
    close = SessionEvent(9, 9, "2024-03-04", SessionPhase.CLOSE, 1, 9)
    timers.note(close, (SetTimer("a", 12),))
    assert timers.due_ns == NEVER_NS


# the session's loss ----------------------------------------

SECOND = NANOS_PER_SECOND


def desk_with_a_limit(held):
    """A desk in an open session that may lose 100, and its loss timer."""
    desk = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=Decimal(100)))
    desk.adopt(held)
    desk.open()
    desk.quote(0, 499.99, 500.01)
    return desk, LossTimer(desk.engine.desk)


def test_the_loss_is_judged_at_whole_seconds_of_a_session_in_which_something_is_held():
    desk, timer = desk_with_a_limit({0: (100, "500")})
    open_ns = desk.now_ns
    timer.plan(open_ns + 1)
    assert timer.due_ns == open_ns + SECOND
    timer.plan(open_ns + 3 * SECOND)  # it is set
    assert timer.due_ns == open_ns + SECOND
    assert timer.judge(open_ns + SECOND) is None
    assert timer.due_ns == open_ns + 2 * SECOND
    assert timer.judge(open_ns + 60 * SECOND + 5) is None  # a desk that stood still judges once
    assert timer.due_ns == open_ns + 61 * SECOND
    desk.quote(0, 498.99, 499.01)
    due_ns = timer.due_ns
    assert timer.judge(due_ns) == TimerEvent(due_ns, due_ns, "loss")
    desk.now_ns = due_ns
    desk.timer("loss")
    assert desk.engine.desk.gate.mode == "FLATTENING"
    assert timer.judge(due_ns + SECOND) is None
    assert timer.due_ns == NEVER_NS


def test_a_flat_book_is_judged_once_after_its_cash_has_changed():
    desk, timer = desk_with_a_limit({})
    for cash, is_lost in ((None, False), ("99901", False), ("99900", True)):
        if cash is not None:
            desk.engine.desk.account.cash = Decimal(cash)
        timer.plan(desk.now_ns)
        assert timer.due_ns == desk.now_ns + SECOND
        assert (timer.judge(timer.due_ns) is not None) is is_lost
        if not is_lost:
            assert timer.judge(timer.due_ns) is None
            assert timer.due_ns == NEVER_NS
            timer.plan(desk.now_ns)
            assert timer.due_ns == NEVER_NS


def test_no_loss_is_judged_outside_a_session_or_once_trading_has_ended():
    desk, timer = desk_with_a_limit({0: (100, "500")})
    timer.plan(desk.now_ns)
    timer.clear()
    assert timer.due_ns == NEVER_NS
    desk.operate("halt")
    timer.plan(desk.now_ns)
    assert timer.due_ns == NEVER_NS
    desk.operate("resume")
    desk.close()
    timer.plan(desk.now_ns)
    assert timer.due_ns == NEVER_NS
