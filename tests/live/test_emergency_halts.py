"""The last resort sends nothing into a trading halt that the venue names, and goes on when it is over."""

import pytest

from scalpdesk.core.events import TradingHalt
from scalpdesk.live.emergency import CLEAR_SECONDS, HALT_SECONDS
from tests.live.emergency_venue import SHARE, EmergencyVenue, S

OPTION = "SPY240419C00500000"


def ends_halt(venue, seconds):
    venue.loop.call_later(seconds, venue.tell, TradingHalt(SHARE, S, S, is_halted=False))


@pytest.mark.rows("held", [{"SPY": 10}, {OPTION: 2}, {"SPY": -40, OPTION: 2}])
def test_nothing_is_sent_in_a_halted_share_or_its_options_until_it_trades(held):
    venue = EmergencyVenue(**held)
    venue.halted = {SHARE}
    ends_halt(venue, 3.0 * CLEAR_SECONDS)
    assert venue.clear(flatten=True) is True
    assert min(at for at, *_ in venue.orders()) >= 3.0 * CLEAR_SECONDS
    assert not any(venue.held.values())
    assert {numbers for _, numbers in venue.subscribed} == {(SHARE,)}


def test_without_quotes_it_closes_all_the_same_a_moment_later():
    venue = EmergencyVenue(SPY=10)
    venue.fails_to_quote = True
    assert venue.clear(flatten=True) is True
    ((at, *_),) = venue.orders()
    assert HALT_SECONDS <= at < HALT_SECONDS + 1.0


def test_cancels_wait_for_no_quote():
    venue = EmergencyVenue()
    venue.rest("x", "buy", 5)
    assert venue.clear(flatten=False) is True
    assert venue.subscribed == []
