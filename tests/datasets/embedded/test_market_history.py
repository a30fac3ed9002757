"""History before a session of the embedded market."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.datasets.embedded.market import (
    minute_bars_before,
    minutes_before_tape,
    reconstruct,
    reconstruct_bars,
    reconstruct_span,
)
from scalpdesk.instruments.sessions import session_on

DAY = date(2018, 2, 5)


@pytest.mark.parametrize("seed", [1, 7])
def test_bars_alone_are_those_of_the_whole_session(seed):
    alone = reconstruct_bars(DAY, seed=seed)
    whole = reconstruct(DAY, seed=seed).bars
    for name in ("ts_ns", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(alone, name), getattr(whole, name))


def test_a_day_that_is_not_there_and_a_seed_that_is_none_are_refused():
    with pytest.raises(DataError):
        reconstruct_bars(date(2018, 2, 4))
    with pytest.raises(ArgumentError):
        reconstruct_bars(DAY, seed=-1)


def test_earlier_sessions_end_before_and_are_known_as_the_session_opens():
    events = minute_bars_before(DAY, 3, 0)
    assert [event.session for event in events] == ["2018-01-31", "2018-02-01", "2018-02-02"]
    opens = session_on(DAY).open_ns
    for event in events:
        assert event.ts_recv_ns == opens
        assert event.ts_event_ns == event.close_ns == event.ends_ns[-1] < opens
        columns = (event.open, event.high, event.low, event.close, event.volume)
        assert {len(column) for column in columns} == {len(event.ends_ns)} == {390}
    assert sum(events[-1].volume) == pytest.approx(sum(reconstruct_bars(date(2018, 2, 2)).volume))


def test_where_the_embedded_market_begins_there_is_less():
    assert [event.session for event in minute_bars_before(date(2014, 1, 6), 5, 0)] == ["2014-01-03"]
    assert minute_bars_before(DAY, 0, 0) == ()


def test_only_an_embedded_tape_has_minutes_before_it():
    tape = reconstruct(DAY)
    assert minutes_before_tape(tape, 2, seed=3) == minute_bars_before(DAY, 2, 0, seed=3)
    assert minutes_before_tape(replace(tape, name="recorded"), 2) == ()


@pytest.mark.parametrize("day", [date(2018, 12, 20), date(2018, 12, 21), date(2017, 3, 20)])
def test_minutes_before_a_session_of_a_span_are_the_sessions_own(day):
    """The second day is an ex-date: what comes before it holds the dividend, as the span's session does."""
    before = minutes_before_tape(reconstruct_span(day, day), 2)
    for event in before:
        known = date.fromisoformat(event.session)
        own = reconstruct_span(known, known)
        bars = own.bars.between(own.sessions[0].open_ns, own.sessions[0].close_ns)
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(event, name) == tuple(getattr(bars, name).tolist())
    lone = minutes_before_tape(reconstruct(day), 2)
    assert any(sum(ours.close) > sum(theirs.close) for ours, theirs in zip(before, lone, strict=True))
