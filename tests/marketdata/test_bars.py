from datetime import date, time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import BarEvent, PriceAdjustmentEvent, QuoteEvent
from scalpdesk.core.units import DAY_SECONDS, NANOS_PER_SECOND
from scalpdesk.instruments.sessions import Session, new_york_ns, session_on
from scalpdesk.marketdata.bars import Absent, Timeframes
from scalpdesk.marketdata.latest_quotes import InstrumentRows

S = NANOS_PER_SECOND
MINUTE = 60 * S


def session(number: int = 0, minutes: int = 390) -> Session:
    open_ns = (1 + number) * 86_400 * S
    return Session(date(2013, 10, 7 + number), open_ns, open_ns + minutes * MINUTE)


def bar(end_ns: int, close: float, volume: float = 1.0, seconds: int = 60) -> BarEvent:
    return BarEvent(0, end_ns, end_ns, seconds, close, close, close, close, volume)


def quote(ts_ns: int, mid: float) -> QuoteEvent:
    return QuoteEvent(0, ts_ns, ts_ns, mid - 0.5, mid + 0.5, 1.0, 1.0)


def fed_minutes(frames: Timeframes, day: Session, volumes: list[float]) -> None:
    frames.open_session(day)
    for minute, volume in enumerate(volumes):
        frames.add_bar(bar(day.open_ns + (minute + 1) * MINUTE, 100.0 + minute, volume))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1800),
            st.floats(50, 150),
            st.floats(0, 3),
            st.floats(0, 3),
            st.integers(0, 900),
        ),
        min_size=1,
        max_size=120,
        unique_by=lambda row: row[0],
    )
)
def test_seconds_to_minutes_to_tens_equals_seconds_to_tens(rows):
    day = session()
    seconds = [
        BarEvent(0, end, end, 1, price, price + up, price - down, price, float(volume))
        for end, price, up, down, volume in (
            (day.open_ns + offset * S, price, up, down, volume)
            for offset, price, up, down, volume in sorted(rows)
        )
    ]
    direct, chained = Timeframes(0, (60, 600)), Timeframes(0, (600,))
    direct.open_session(day)
    chained.open_session(day)
    tens_direct, tens_chained = [], []
    minutes = []
    for one in seconds:
        for closed in direct.add_bar(one):
            (minutes if closed.bar_seconds == 60 else tens_direct).append(closed)
    for closed in direct.close_session():
        if closed.bar_seconds < DAY_SECONDS:
            (minutes if closed.bar_seconds == 60 else tens_direct).append(closed)
    for one in minutes:
        tens_chained += [closed for closed in chained.add_bar(one) if closed.bar_seconds == 600]
    tens_chained += [closed for closed in chained.close_session() if closed.bar_seconds == 600]
    assert tens_chained == tens_direct
    assert sum(one.volume for one in tens_direct) == sum(one.volume for one in seconds)
    assert max(one.high for one in tens_direct) == max(one.high for one in seconds)


@given(st.lists(st.tuples(st.integers(0, 1800), st.floats(50, 150)), min_size=1, max_size=80))
def test_quotes_added_in_columns_close_the_same_bars(rows):
    day = session()
    rows = sorted(rows)
    single, in_bulk = Timeframes(0, (300,)), Timeframes(0, (300,))
    for frames in (single, in_bulk):
        frames.open_session(day)
    stamps = np.array([day.open_ns + seconds * S for seconds, _ in rows])
    bid, ask = (np.array([mid + side for _, mid in rows]) for side in (-0.5, 0.5))
    columns = InstrumentRows(0, range(len(rows)), stamps, bid, ask, [])
    closed, closing, first = [], [], in_bulk.next_close(columns, 0, len(rows))
    for row, (seconds, mid) in enumerate(rows):
        will_close = single.next_close(columns, row, len(rows)) == row
        fresh = single.add_quote(quote(day.open_ns + seconds * S, mid))
        assert will_close is bool(fresh)
        closed += fresh
        closing += [row] * bool(fresh)
    assert first == [*closing, len(rows)][0]
    assert [*in_bulk.add_quotes(columns, 0, len(rows))] == closed
    assert single.close_session() == in_bulk.close_session()


@given(st.lists(st.tuples(st.integers(0, 1800), st.floats(50, 150)), min_size=1, max_size=80))
def test_a_bar_from_quotes_holds_the_mids_up_to_its_end_and_no_later_one(rows):
    day = session()
    rows = sorted(rows, key=lambda row: row[0])
    frames = Timeframes(0, (60, 300))
    frames.open_session(day)
    closed = []
    for offset, mid in rows:
        now_ns = day.open_ns + offset * S
        fresh = frames.add_quote(quote(now_ns, mid))
        assert all(one.ts_event_ns < now_ns for one in fresh)
        closed += fresh
    closed += frames.close_session()
    for one in closed:
        if one.bar_seconds == DAY_SECONDS:
            continue
        begin_ns = one.ts_event_ns - one.bar_seconds * S
        first = -1 if begin_ns == day.open_ns else begin_ns  # the open itself is in the first bar
        inside = [
            0.5 * ((mid - 0.5) + (mid + 0.5))
            for offset, mid in rows
            if first < day.open_ns + offset * S <= one.ts_event_ns
        ]
        assert (one.open, one.high, one.low, one.close) == (inside[0], max(inside), min(inside), inside[-1])
    for length in (60, 300):
        ends = {-(-offset // length) or 1 for offset, _ in rows}
        assert len([one for one in closed if one.bar_seconds == length]) == len(ends)


def test_a_bar_is_seen_with_its_last_piece_and_not_before():
    day = session()
    frames = Timeframes(0, (60, 600))
    fed_minutes(frames, day, [1.0] * 9)
    assert isinstance(frames.bars(600, 1), Absent)
    closed = frames.add_bar(bar(day.open_ns + 10 * MINUTE, 120.0, 5.0))
    assert [(one.bar_seconds, one.close, one.volume) for one in closed] == [
        (60, 120.0, 5.0),
        (600, 120.0, 14.0),
    ]
    assert frames.closes(600, 1) == (120.0,)


def test_too_few_bars_are_said_not_replaced():
    frames = Timeframes(0, (60, 300))
    fed_minutes(frames, session(), [1.0] * 7)
    missing = frames.closes(300, 2)
    assert missing == Absent("1 bars of 300 s closed, 2 needed", 1, 2)
    assert len(frames.closes(60, 7)) == 7
    with pytest.raises(ArgumentError, match="no such bars"):
        frames.bars(120, 1)
    with pytest.raises(ArgumentError, match="no such bars"):
        frames.bars(60, 513)


def test_bars_cross_sessions_unless_asked_for_this_one_alone():
    frames = Timeframes(0, (60,))
    fed_minutes(frames, session(0), [1.0] * 5)
    fed_minutes(frames, session(1), [1.0] * 2)
    assert len(frames.bars(60, 7)) == 7
    assert frames.bars(60, 3, same_session=True) == Absent(
        "2 bars of 60 s closed in this session, 3 needed", 2, 3
    )


def test_bars_take_over_from_quotes_and_seconds_from_minutes():
    day = session()
    frames = Timeframes(0, (60,))
    frames.open_session(day)
    for offset in range(0, 140, 10):
        frames.add_quote(quote(day.open_ns + offset * S, 50.0))
    assert frames.closes(60, 2) == (50.0, 50.0)
    frames.add_bar(bar(day.open_ns + 3 * MINUTE, 70.0, 4.0))
    assert frames.closes(60, 1) == (70.0,)
    assert isinstance(frames.closes(60, 2), Absent)
    assert frames.add_quote(quote(day.open_ns + 200 * S, 1.0)) == ()
    frames.add_bar(bar(day.open_ns + 241 * S, 71.0, 2.0, seconds=1))
    assert frames.add_bar(bar(day.open_ns + 5 * MINUTE, 99.0)) == ()  # a minute no longer counts
    frames.add_bar(bar(day.open_ns + 5 * MINUTE, 72.0, 3.0, seconds=1))
    (only,) = frames.bars(60, 1)
    assert (only.open, only.close, only.volume) == (71.0, 72.0, 5.0)


def test_what_comes_late_or_outside_the_session_is_left_out():
    day = session()
    frames = Timeframes(0, (60,))
    assert frames.add_bar(bar(day.open_ns + MINUTE, 1.0)) == ()  # no session yet
    fed_minutes(frames, day, [1.0, 1.0])
    assert frames.add_bar(bar(day.open_ns + 2 * MINUTE, 5.0)) == ()
    assert frames.add_bar(bar(day.close_ns + MINUTE, 5.0)) == ()
    assert frames.add_bar(bar(day.open_ns, 5.0)) == ()
    with pytest.raises(ArgumentError, match="another instrument"):
        frames.add_bar(BarEvent(1, 0, 0, 60, 1.0, 1.0, 1.0, 1.0, 1.0))


def test_vwap_is_typical_price_by_volume_from_the_open():
    day = session()
    frames = Timeframes(0)
    frames.open_session(day)
    assert isinstance(frames.vwap(), Absent)
    frames.add_bar(BarEvent(0, day.open_ns + MINUTE, 0, 60, 10.0, 12.0, 9.0, 12.0, 100.0))
    frames.add_bar(BarEvent(0, day.open_ns + 2 * MINUTE, 0, 60, 12.0, 15.0, 12.0, 15.0, 300.0))
    assert frames.vwap() == pytest.approx((11.0 * 100 + 14.0 * 300) / 400)


def test_vwap_is_absent_without_volume_or_from_the_middle_of_a_session():
    day = session()
    frames = Timeframes(0)
    frames.open_session(day)
    frames.add_quote(quote(day.open_ns, 10.0))
    frames.add_quote(quote(day.open_ns + 2 * MINUTE, 10.0))
    assert frames.vwap() == Absent("no volume arrived in this session")
    late = Timeframes(0)
    late.open_session(day)
    late.add_bar(bar(day.open_ns + 90 * MINUTE, 5.0))
    assert late.vwap() == Absent("watched only from minute 89 of the session, not from its open")
    assert isinstance(late.opening_range(), Absent)


def test_prior_session_and_whole_session_bar():
    frames = Timeframes(0)
    assert frames.prior_session() == Absent("no earlier session was watched", 0, 1)
    fed_minutes(frames, session(0), [2.0] * 30)
    closed = frames.open_session(session(1))
    assert [(one.bar_seconds, one.high, one.volume, one.ts_event_ns) for one in closed] == [
        (DAY_SECONDS, 129.0, 60.0, session(0).close_ns)
    ]
    prior = frames.prior_session()
    assert (prior.day, prior.open, prior.high, prior.low, prior.close) == (
        date(2013, 10, 7),
        100.0,
        129.0,
        100.0,
        129.0,
    )
    assert frames.closes(DAY_SECONDS, 1) == (129.0,)
    assert frames.open_session(session(1)) == ()


def test_opening_range_is_known_when_it_is_over():
    frames = Timeframes(0, opening_minutes=3)
    day = session()
    fed_minutes(frames, day, [1.0, 2.0])
    assert frames.opening_range() == Absent("the first 3 minutes are not over")
    frames.add_bar(bar(day.open_ns + 3 * MINUTE, 90.0, 4.0))
    frames.add_bar(bar(day.open_ns + 4 * MINUTE, 500.0, 4.0))
    opening = frames.opening_range()
    assert (opening.open, opening.high, opening.low, opening.close, opening.volume) == (
        100.0,
        101.0,
        90.0,
        90.0,
        7.0,
    )


def test_after_a_split_earlier_bars_and_sessions_have_the_scale_of_after_it_once():
    """Four for one: prices are a quarter, volumes four times as large; another share's says nothing."""
    frames, open_ns = Timeframes(0, opening_minutes=2), session(1).open_ns
    fed_minutes(frames, session(0), [8.0, 12.0, 16.0])
    frames.close_session()
    actions = [
        PriceAdjustmentEvent(1, open_ns, open_ns, 10.0, 0.1),
        PriceAdjustmentEvent(0, open_ns, open_ns, 0.25, 4.0, paid=2.0),
    ]
    for _ in range(2):
        frames.open_session(session(1), actions)
    prior = frames.prior_session()
    assert (prior.open, prior.high, prior.low, prior.close, prior.volume) == (24.5, 25.0, 24.5, 25.0, 144.0)
    assert frames.closes(60, 3) == (24.5, 24.75, 25.0)
    fed_minutes(frames, session(1), [32.0, 96.0])
    assert (frames.volume_ratio(1), frames.opening_volume_ratio(1)) == (2.0, 1.6)
    frames.open_session(session(2), actions)
    assert frames.closes(60, 5) == (24.5, 24.75, 25.0, 100.0, 101.0)


def test_volume_ratio_is_against_the_same_minute_of_earlier_sessions():
    frames = Timeframes(0, kept_sessions=2, opening_minutes=2)
    fed_minutes(frames, session(0), [900.0, 900.0, 900.0])
    fed_minutes(frames, session(1), [10.0, 20.0, 30.0])
    fed_minutes(frames, session(2), [30.0, 40.0, 50.0])
    fed_minutes(frames, session(3), [10.0, 90.0])
    assert frames.volume_ratio(2) == pytest.approx(90.0 / 30.0)
    assert frames.opening_volume_ratio(2) == pytest.approx(100.0 / 50.0)
    too_few = Absent("this minute was watched in 2 earlier sessions, 20 needed", 2, 20)
    assert frames.volume_ratio(20) == too_few


def test_a_minute_that_was_not_watched_is_no_silent_minute():
    frames = Timeframes(0)
    first = session(0)
    frames.open_session(first)
    frames.add_bar(bar(first.open_ns + 3 * MINUTE, 5.0, 10.0))  # came in at the third minute
    frames.add_bar(bar(first.open_ns + 5 * MINUTE, 5.0, 10.0))  # the fourth was silent
    fed_minutes(frames, session(1), [7.0])
    assert frames.volume_ratio(1) == Absent("this minute was watched in 0 earlier sessions, 1 needed", 0, 1)
    fed_minutes(frames, session(1), [7.0])
    for minute in (2, 3):
        frames.add_bar(bar(session(1).open_ns + minute * MINUTE, 5.0, 10.0))
    assert frames.volume_ratio(1) == 1.0
    frames.add_bar(bar(session(1).open_ns + 4 * MINUTE, 5.0, 10.0))
    assert frames.volume_ratio(1) == Absent("no volume in this minute of the earlier sessions")


def test_the_last_bar_of_a_half_day_is_short():
    day = session(minutes=215)
    frames = Timeframes(0, (600,))
    fed_minutes(frames, day, [1.0] * 215)
    last = frames.bars(600, 1)[0]
    assert (last.ts_event_ns, last.volume) == (day.close_ns, 5.0)


def test_a_source_longer_than_a_length_leaves_it_empty():
    day = session()
    frames = Timeframes(0, (60, 300))
    frames.open_session(day)
    frames.add_bar(bar(day.open_ns + 5 * MINUTE, 10.0, 1.0, seconds=300))
    assert len(frames.bars(300, 1)) == 1
    assert isinstance(frames.bars(60, 1), Absent)


@pytest.mark.rows("wrong", [{"kept_bars": 0}, {"kept_sessions": 0}, {"opening_minutes": 0}])
def test_counts_must_be_positive(wrong):
    with pytest.raises(ArgumentError, match="positive"):
        Timeframes(0, **wrong)


def late(clock: time) -> tuple[Timeframes, Session]:
    """Return frames that join the session of 2024-03-05 late, and the whole of it."""
    whole = session_on(date(2024, 3, 5))
    frames = Timeframes(0, (60, 300), kept_sessions=1)
    frames.open_session(Session(whole.day, new_york_ns(whole.day, clock) + 22 * S, whole.close_ns))
    return frames, whole


def test_who_joins_late_has_bars_on_the_minutes_of_the_session():
    frames, whole = late(time(10, 5))
    for minute in range(35, 42):
        frames.add_bar(bar(whole.open_ns + (minute + 1) * MINUTE, 100.0))
    assert [one.ts_event_ns for one in frames.closed_in_session(60)] == [
        whole.open_ns + (minute + 1) * MINUTE for minute in range(35, 42)
    ]
    assert [one.ts_event_ns for one in frames.closed_in_session(300)] == [whole.open_ns + 40 * MINUTE]
    assert frames.session() == whole


def test_who_joins_late_has_neither_an_opening_range_nor_the_sessions_average():
    frames, whole = late(time(10, 5))
    for minute in range(36, 120):
        frames.add_bar(bar(whole.open_ns + (minute + 1) * MINUTE, 100.0))
    assert frames.opening_range() == Absent("the session's first minutes were not watched")
    assert frames.vwap() == Absent("watched only from minute 36 of the session, not from its open")


def test_volume_is_compared_with_the_same_minute_of_the_day_by_who_joins_late():
    frames = Timeframes(0, (60,), kept_sessions=1)
    before, whole = session_on(date(2024, 3, 4)), session_on(date(2024, 3, 5))
    fed_minutes(frames, before, [float(minute + 1) for minute in range(390)])
    frames.open_session(Session(whole.day, whole.open_ns + 100 * MINUTE, whole.close_ns))
    frames.add_bar(bar(whole.open_ns + 102 * MINUTE, 100.0, 204.0))
    assert frames.volume_ratio(1) == 2.0


def test_a_session_joined_late_is_no_prior_day_but_its_close_is_known():
    frames, whole = late(time(15, 0))
    frames.add_bar(bar(whole.close_ns, 100.0))
    frames.open_session(session_on(date(2024, 3, 6)))
    assert isinstance(frames.prior_session(), Absent)
    assert frames.prior_close() == 100.0
