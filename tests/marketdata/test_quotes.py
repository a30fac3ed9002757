import math

import pytest

from scalpdesk.marketdata.quotes import QuoteVerdict, judge_quote, mark_price, shows_price
from scalpdesk.marketdata.state import widest_spread
from scalpdesk_testing.kit.instruments import option
from scalpdesk_testing.kit.tape import quote

NAN, INF = math.nan, math.inf


@pytest.mark.rows(
    ("bid", "ask", "verdict"),
    [
        (1.0, 1.1, QuoteVerdict.GOOD),
        (1.0, 1.0, QuoteVerdict.LOCKED),
        (1.1, 1.0, QuoteVerdict.CROSSED),
        (1.0, NAN, QuoteVerdict.ONE_SIDED),
        (1.0, 0.0, QuoteVerdict.ONE_SIDED),
        (NAN, 1.0, QuoteVerdict.ONE_SIDED),
        (0.0, 1.0, QuoteVerdict.ZERO_BID),
        (NAN, NAN, QuoteVerdict.ONE_SIDED),
        (-0.1, 1.0, QuoteVerdict.NEGATIVE),
        (1.0, INF, QuoteVerdict.NON_FINITE),
        (-INF, NAN, QuoteVerdict.NON_FINITE),
    ],
)
def test_a_pair_of_prices_has_one_verdict(bid, ask, verdict):
    assert judge_quote(bid, ask) is verdict


@pytest.mark.rows(
    ("bid", "ask", "mark"), [(1.0, 1.5, 1.25), (NAN, 0.10, 0.10), (0.0, 0.10, 0.05), (2.0, NAN, 2.0)]
)
def test_a_missing_side_never_makes_the_mark_nan(bid, ask, mark):
    assert mark_price(quote(0, 0, bid, ask)) == mark


@pytest.mark.rows(
    ("bid", "ask", "shows"),
    [
        (0.0, 0.05, True),  # a wing without a buyer
        (0.0, 0.24, False),  # half of this is no price
        (math.nan, 0.05, False),
        (0.01, 0.24, True),
        (0.05, 0.30, False),
        (9.90, 10.30, True),
    ],
)
def test_an_ask_without_a_bid_shows_a_price_only_near_zero(bid, ask, shows):
    """Strike 243: sides up to 0.243 apart, an ask alone up to 0.0607."""
    widest = widest_spread(option("P", 243))
    assert shows_price(quote(1, 0, bid, ask), widest) is shows
