"""Timers of the engine: one class for backtests, live desks and recoveries."""

import hypothesis.strategies as st
from hypothesis import given

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import QuoteEvent, SessionEvent, TimerEvent
from scalpdesk.core.intents import SetTimer
from scalpdesk.core.units import NEVER_NS
from scalpdesk.engine.timers import Timers

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
