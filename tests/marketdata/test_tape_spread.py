"""A spread around a price that a data set has for both sides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.instruments.contract import Equity
from scalpdesk.marketdata.tape import LazyQuotes, with_spread
from scalpdesk_testing.kit.index_hedge import straddle_market

MARKET = straddle_market(Equity("SPY"), lambda level, _: round(level / 10, 2), spread=0.02)


@given(st.floats(0.01, 1_000.0), st.integers(0, 100))
def test_one_price_gets_a_spread_around_it_and_two_sides_stay(basis_points, missing):
    before = MARKET.quotes
    bid = np.where(np.arange(len(before)) == missing, np.nan, before.bid)
    tape = replace(MARKET, quotes=replace(before, bid=bid))
    after = with_spread(tape, basis_points).quotes
    is_one = (bid == before.ask) & (before.instrument_id == 0)
    assert is_one.sum() > 50
    middle = 0.5 * (after.bid + after.ask)
    assert middle[is_one] == pytest.approx(before.ask[is_one], abs=1e-4)
    width = (after.ask - after.bid)[is_one]
    assert width == pytest.approx(before.ask[is_one] * basis_points / 10_000, abs=1.1e-4)
    for side, same in ((after.bid, bid), (after.ask, before.ask)):
        assert np.array_equal(side[~is_one], same[~is_one], equal_nan=True)


def test_options_keep_their_one_price_and_no_spread_changes_nothing():
    quotes = replace(MARKET.quotes, bid=MARKET.quotes.ask)
    is_option = np.isin(quotes.instrument_id, (1, 2))
    after = with_spread(replace(MARKET, quotes=quotes), 5.0).quotes
    assert (after.bid[is_option] == after.ask[is_option]).all()
    assert (after.bid < after.ask)[~is_option].all()
    assert with_spread(MARKET, 0.0) is MARKET


def test_sessions_that_are_read_one_by_one_have_the_same_spread():
    lazy = LazyQuotes(
        MARKET.sessions, lambda session: MARKET.quotes.between(session.open_ns, session.close_ns)
    )
    whole = with_spread(MARKET, 3.0).quotes
    again = with_spread(replace(MARKET, quotes=lazy), 3.0).quotes.whole()
    assert again.digest() == whole.digest()
