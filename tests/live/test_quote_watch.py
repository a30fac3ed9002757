"""Quotes of a whole market that end, stand still or jump are named, with the time since when."""

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.live.quote_watch import QuoteWatch

SPY, QQQ = InstrumentId(0), InstrumentId(1)
NINE_NS = 1_520_283_600 * NANOS_PER_SECOND


def watch(seconds=60.0):
    return QuoteWatch(Instruments([Equity("SPY"), Equity("QQQ")]), seconds)


def quote(number, at, mid=500.0, states_time=True):
    at_ns = NINE_NS + int(at * NANOS_PER_SECOND)
    return QuoteEvent(number, at_ns, at_ns + states_time, mid - 0.01, mid + 0.01, 100.0, 100.0)


def look(watched, seconds, quotes_at):
    """Look each second; return the trouble of each second in which there was one."""
    found = {}
    for now in range(seconds):
        watched.look(float(now), quotes_at(now))
        if watched.trouble:
            found[now] = watched.trouble
    return found


def test_quotes_that_end_are_named_with_the_time_of_the_last_one():
    found = look(watch(), 200, lambda now: {SPY: quote(SPY, min(now, 20)), QQQ: None})
    assert min(found) == 111
    assert "SPY" in found[111]
    assert "21:00:20" in found[111]
    assert len(set(found.values())) == 1


def test_quotes_that_never_came_are_named():
    found = look(watch(), 200, lambda now: {SPY: None})
    assert min(found) == 91


@pytest.mark.parametrize("states_time", [True, False])
def test_prices_that_stand_still_with_new_times_are_new_where_the_venue_states_the_time(states_time):
    found = look(watch(), 200, lambda now: {SPY: quote(SPY, now, states_time=states_time)})
    assert bool(found) is not states_time


def test_one_of_several_that_is_silent_is_no_silent_market():
    quotes = lambda now: {SPY: quote(SPY, 0), QQQ: quote(QQQ, now)}  # noqa: E731
    assert look(watch(), 300, quotes) == {}


def test_the_end_of_a_silence_ends_the_trouble():
    found = look(watch(), 300, lambda now: {SPY: quote(SPY, now if now > 200 else 0)})
    assert (min(found), max(found)) == (91, 200)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_a_price_at_another_level_is_trouble_until_it_is_back(factor):
    found = look(
        watch(), 100, lambda now: {SPY: quote(SPY, now, 500.0 * (factor if 10 <= now < 60 else 1.0))}
    )
    assert (min(found), max(found)) == (10, 59)


def test_a_level_that_lasts_is_the_markets():
    found = look(watch(), 1_000, lambda now: {SPY: quote(SPY, now, 500.0 if now < 10 else 100.0)})
    assert 900 <= max(found) <= 912


def test_between_sessions_nothing_is_expected():
    watched = watch()
    look(watched, 200, lambda now: {SPY: quote(SPY, 0)})
    assert watched.trouble
    watched.begin()
    assert watched.trouble == ""


def test_nothing_is_looked_for_where_silence_is_none():
    assert look(watch(0.0), 300, lambda now: {SPY: quote(SPY, 0)}) == {}
