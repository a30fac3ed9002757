import math

import pytest

from fakes.tape import quote
from scalpdesk.marketdata.quotes import QuoteVerdict, SpreadFilter, judge_quote, mark_price

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


def test_the_first_quote_teaches_the_spread_filter_and_is_no_price():
    chosen = SpreadFilter()
    assert not chosen.accepts(0.02)
    assert chosen.average == 0.02
    assert chosen.accepts(0.03)  # 1.5 times the average, reached
    assert chosen.average == pytest.approx(0.9 * 0.02 + 0.1 * 0.03)


def test_a_wide_spread_is_refused_and_still_teaches_below_half_a_unit():
    chosen = SpreadFilter()
    chosen.accepts(0.02)
    assert not chosen.accepts(0.20)
    assert chosen.average == pytest.approx(0.038)
    assert not chosen.accepts(0.50)  # teaches nothing
    assert chosen.average == pytest.approx(0.038)


def test_a_first_spread_that_is_too_wide_teaches_nothing():
    chosen = SpreadFilter()
    assert not chosen.accepts(0.60)
    assert chosen.average is None


def test_a_run_of_zero_spreads_does_not_shut_the_filter():
    chosen = SpreadFilter()
    for _ in range(200):
        chosen.accepts(0.0)
    assert chosen.average == 0.01
    assert chosen.accepts(0.015)
