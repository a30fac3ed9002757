import math

import pytest

from fakes.tape import quote
from scalpdesk.marketdata.quotes import QuoteVerdict, judge_quote, mark_price

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("bid", "ask", "mark"), [(1.0, 1.5, 1.25), (NAN, 0.10, 0.10), (0.0, 0.10, 0.05), (2.0, NAN, 2.0)]
)
def test_a_missing_side_never_makes_the_mark_nan(bid, ask, mark):
    assert mark_price(quote(0, 0, bid, ask)) == mark
