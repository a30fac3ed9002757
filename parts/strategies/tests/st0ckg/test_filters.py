"""The filters of an entry: their order, their edges, and what sets their clocks."""

from datetime import date, time

import pytest

from scalpdesk.base import NANOS_PER_SECOND, ConfigError, Session, new_york_ns, session_on
from scalpdesk_strategies.st0ckg.filters import EntryHistory, EntryMoment, FilterConfig, refusal

SUMMER = date(2015, 8, 24)
WINTER = date(2018, 2, 5)
CONFIG = FilterConfig()


def at(clock, day=WINTER, **changes):
    moment = EntryMoment(
        new_york_ns(day, time.fromisoformat(clock)), session_on(day), "GAMMA_SQUEEZE", 1, 0, 1
    )
    return moment._replace(**changes)


def rule(moment, history=None, config=CONFIG):
    found = refusal(moment, history or EntryHistory(), config)
    return None if found is None else found.rule


@pytest.mark.parametrize("day", [SUMMER, WINTER])
@pytest.mark.parametrize(
    ("clock", "refused"),
    [
        ("09:39:59", "window"),
        ("09:40", "opening"),
        ("09:59:59", "opening"),
        ("10:00", None),
        ("10:30", None),
        ("10:30:01", "window"),
        ("15:00", "window"),
    ],
)
def test_window_and_opening_in_new_york_time(day, clock, refused):
    assert rule(at(clock, day)) == refused


@pytest.mark.parametrize(("clock", "refused"), [("09:59:59", "opening"), ("10:00", None)])
def test_the_opening_is_the_sessions_even_for_a_desk_that_joins_it_late(clock, refused):
    whole = session_on(WINTER)
    rest = Session(WINTER, new_york_ns(WINTER, time(9, 50)), whole.close_ns)
    assert rule(at(clock, session=rest)) == refused


def filled(seconds_ago, signal="VWAP_RECLAIM", clock="10:20"):
    history = EntryHistory()
    history.note_fill(signal, at(clock).now_ns - int(seconds_ago * NANOS_PER_SECOND))
    return history


def test_half_an_hour_between_entries():
    assert rule(at("10:20"), filled(1799)) == "cooldown"
    assert rule(at("10:20"), filled(1800)) is None


def test_a_pause_ends_with_its_session():
    days = FilterConfig(min_seconds_between_trades=200_000, min_seconds_same_signal=200_000)
    history = filled(10, "GAMMA_SQUEEZE")
    assert rule(at("10:20"), history, days) == "cooldown"
    history.new_session()
    assert rule(at("10:20"), history, days) is None


def test_positions_and_trades():
    assert rule(at("10:20", open_positions=1)) is None
    assert rule(at("10:20", open_positions=2)) == "positions"
    history = EntryHistory()
    for _ in range(5):
        history.note_fill("OPENING_DRIVE", at("10:20").now_ns - 2000 * NANOS_PER_SECOND)
    assert rule(at("10:20"), history) == "trades"
    history.new_session()
    assert rule(at("10:20"), history) is None


def test_the_same_signal_waits_for_itself():
    quick = FilterConfig(min_seconds_between_trades=0)
    assert rule(at("10:20"), filled(299, "GAMMA_SQUEEZE"), quick) == "same_signal"
    assert rule(at("10:20"), filled(300, "GAMMA_SQUEEZE"), quick) is None
    assert rule(at("10:20"), filled(299, "VWAP_RECLAIM"), quick) is None


@pytest.mark.parametrize(
    ("direction", "trend", "signal", "refused"),
    [
        (1, 1, "GAMMA_SQUEEZE", None),
        (1, -1, "GAMMA_SQUEEZE", "trend"),
        (-1, -1, "GAMMA_SQUEEZE", None),
        (-1, 1, "GAMMA_SQUEEZE", "trend"),
        (1, 0, "GAMMA_SQUEEZE", "trend"),
        (1, None, "GAMMA_SQUEEZE", "trend"),
        (1, -1, "OPTIONS_PIN", None),
        (-1, None, "OPTIONS_PIN", None),
    ],
)
def test_trend(direction, trend, signal, refused):
    assert rule(at("10:20", direction=direction, trend=trend, signal=signal)) == refused
    assert (
        rule(at("10:20", direction=direction, trend=trend), config=FilterConfig(trend_filter=False)) is None
    )


def test_the_first_filter_speaks():
    late = at("11:00", open_positions=9, trend=-1)
    assert rule(late, filled(10, "GAMMA_SQUEEZE", "11:00")) == "window"
    inside = at("10:20", open_positions=9, trend=-1)
    assert rule(inside, filled(10, "GAMMA_SQUEEZE")) == "cooldown"
    assert rule(inside) == "positions"


@pytest.mark.parametrize(
    "bad", [{"window_from": "25:00"}, {"window_from": "11:00"}, {"trend_fast": 50}, {"trend_fast": 0}]
)
def test_settings_that_are_none_are_refused(bad):
    with pytest.raises(ConfigError):
        FilterConfig(**bad)
