"""Quotes of a whole market that end or stand still are named; those beyond belief are not used."""

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.live.quote_watch import QuoteWatch
from scalpdesk.marketdata.state import MarketState
from scalpdesk_testing.kit.instruments import straddle_book

SPY, QQQ = InstrumentId(0), InstrumentId(1)
NINE_NS = 1_520_283_600 * NANOS_PER_SECOND


def watch(seconds=60.0):
    return QuoteWatch(MarketState(Instruments([Equity("SPY"), Equity("QQQ")])), seconds)


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


def offered(watched, seconds, mid_at, number=SPY):
    """Offer a quote and look each second; return the seconds of quotes that were not believed."""
    odd = []
    for now in range(seconds):
        each = quote(number, now, mid_at(now))
        if watched.believes(each, float(now)):
            watched.market.apply_quote(each)
        else:
            odd.append(now)
        watched.look(float(now), {number: watched.market.quotes[number]})
        assert bool(watched.trouble) is bool(watched.doubted)
    return odd


@pytest.mark.parametrize("factor", [0.01, 0.3, 4.0, 100.0])
def test_a_price_at_another_level_is_trouble_and_not_used_until_it_is_back(factor):
    watched = watch()
    odd = offered(watched, 100, lambda now: 500.0 * (factor if 10 <= now < 60 else 1.0))
    assert odd == list(range(10, 60))
    assert watched.trouble == ""


def test_a_level_that_lasts_is_the_markets():
    odd = offered(watch(), 1_000, lambda now: 500.0 if now < 10 else 100.0)
    assert (min(odd), max(odd)) == (10, 910)


def test_a_level_that_no_split_could_bring_never_is():
    odd = offered(watch(), 2_000, lambda now: 500.0 if now < 10 else 50_000.0)
    assert odd == list(range(10, 2_000))


@pytest.mark.parametrize(("factor", "is_believed"), [(0.1, True), (0.02, True), (100.0, False)])
def test_a_split_may_lie_between_two_sessions_and_nothing_larger(factor, is_believed):
    watched = watch()
    offered(watched, 10, lambda _: 500.0)
    watched.begin()
    watched.market.open_session(NINE_NS + 60 * NANOS_PER_SECOND)
    watched.look(61.0, {})
    assert watched.believes(quote(SPY, 70, 500.0 * factor), 70.0) is is_believed


@pytest.mark.parametrize(("is_in_session", "is_believed"), [(True, False), (False, True)])
def test_a_desk_that_resumes_within_a_session_goes_on_from_its_last_quote(is_in_session, is_believed):
    watched = watch()
    watched.market.apply_quote(quote(SPY, 0))
    watched.is_in_session = is_in_session
    assert watched.believes(quote(SPY, 70, 2_000.0), 70.0) is is_believed


@pytest.mark.parametrize(("mid", "is_believed"), [(420.0, True), (49_950.0, False), (5.0, False)])
def test_the_first_quote_of_a_share_is_held_against_the_strikes_of_its_options(mid, is_believed):
    watched = QuoteWatch(MarketState(straddle_book(500)), 60.0)
    assert watched.unheld() == ()
    assert watched.believes(quote(SPY, 0, mid), 0.0) is is_believed


def test_where_nothing_is_known_that_is_said_and_the_first_quote_is_believed():
    watched = watch()
    assert watched.unheld() == (SPY, QQQ)
    assert watched.believes(quote(SPY, 0, 50_000.0), 0.0)


def options_of(watched):
    """Return the ids of the options after share and both were quoted once."""
    both = [InstrumentId(1), InstrumentId(2)]
    for number, mid in ((SPY, 500.0), (both[0], 6.0), (both[1], 5.0)):
        each = quote(number, 0, mid)
        assert watched.believes(each, 0.0)
        watched.market.apply_quote(each)
    return both


def test_options_are_not_used_while_their_share_is_not():
    watched = QuoteWatch(MarketState(straddle_book(500)), 60.0)
    call, put = options_of(watched)
    assert not watched.believes(quote(SPY, 2, 50_000.0), 2.0)
    assert not watched.believes(quote(call, 2, 6.1), 2.0)
    assert watched.believes(quote(SPY, 4, 500.1), 4.0)
    assert watched.believes(quote(put, 4, 5.1), 4.0)


@pytest.mark.parametrize(("share", "is_released"), [(501.0, True), (50_000.0, False)])
def test_an_option_that_jumps_waits_for_the_next_quote_of_its_share(share, is_released):
    watched = QuoteWatch(MarketState(straddle_book(500)), 60.0)
    call, _ = options_of(watched)
    jumped = quote(call, 2, 600.0)
    assert not watched.believes(jumped, 2.0)
    assert watched.believes(quote(SPY, 2, share), 2.0) is is_released
    assert watched.released(SPY) == ((jumped,) if is_released else ())
    assert watched.released() == ()


def test_between_sessions_nothing_is_expected():
    watched = watch()
    look(watched, 200, lambda now: {SPY: quote(SPY, 0)})
    assert watched.trouble
    watched.begin()
    assert watched.trouble == ""


def test_nothing_is_looked_for_where_silence_is_none():
    assert look(watch(0.0), 300, lambda now: {SPY: quote(SPY, 0)}) == {}
