"""Latest quotes that are read from columns equal those of a reader who takes in each row."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.marketdata.latest_quotes import LatestQuotes, QuoteTable, SessionRows
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import QuoteColumns

COUNT = 4
WIDEST = [0.5] * COUNT
NAN, INF = float("nan"), float("inf")
PRICES = [
    (1.0, 1.1),
    (1.1, 1.2),
    (0.0, 0.05),
    (NAN, 0.05),
    (1.0, NAN),
    (1.2, 1.1),
    (1.0, 1.0),
    (1.0, INF),
    (0.05, 10.0),
    (0.0, 6.7),
    (-1.0, 1),
]
SEVERAL = st.lists(st.tuples(st.integers(0, COUNT - 1), st.sampled_from(PRICES)), min_size=1, max_size=40)
ALONE = st.lists(st.tuples(st.just(1), st.sampled_from(PRICES)), min_size=1, max_size=40)
ROWS = SEVERAL | ALONE
STEPS = st.lists(st.tuples(st.integers(0, 5), st.frozensets(st.integers(0, COUNT - 1))), max_size=20)


def columns(rows):
    stamps = np.arange(1, len(rows) + 1, dtype=np.int64)
    bid, ask = (np.array([row[1][side] for row in rows], float) for side in (0, 1))
    return QuoteColumns(
        stamps,
        np.array([row[0] for row in rows], np.int32),
        bid,
        ask,
        np.full(len(rows), 3.0),
        np.full(len(rows), 4.0),
    )


def mask(numbers):
    return np.isin(np.arange(COUNT), list(numbers))


def same(one, other):
    return repr(one) == repr(other)  # NaN equals NaN here


@given(st.lists(st.tuples(ROWS, STEPS), min_size=1, max_size=3))
def test_reading_late_is_reading_each(sessions):
    plain = MarketState(Instruments([Equity(name) for name in "ABCD"]))
    plain.widest = WIDEST
    last, kept = {}, dict.fromkeys(range(COUNT))
    market, broker = LatestQuotes(kept, COUNT, valid=True), LatestQuotes({}, COUNT, valid=False)
    oddities = Counter()
    for rows, steps in sessions:
        seen = SessionRows(columns(rows), np.zeros(COUNT, np.bool_))
        market.follow(seen)
        broker.follow(seen)
        quoted = {number for number in range(COUNT) if plain.quotes[number] is not None}
        quoted |= {number for number, _ in rows}
        for number in range(COUNT):
            assert market.are_silent(np.array([number])) is (number not in quoted)
        handed = frozenset()
        for rows_on, wanted in [*steps, (len(rows), frozenset())]:
            for row in range(seen.upto, min(seen.upto + rows_on, len(rows))):
                quote = seen.quote(row)
                is_taken = plain.apply_quote(QuoteEvent(quote.instrument_id, 1, 1, *quote_prices(quote)))
                last[quote.instrument_id] = quote
                seen.upto = row + 1
                if quote.instrument_id in handed:
                    broker[quote.instrument_id] = quote
                    if is_taken:
                        market[quote.instrument_id] = quote
            seen.advance(seen.upto, mask(handed), oddities)
            market.hand_over(wanted)
            broker.hand_over(wanted)
            handed = wanted
            table = market.table(np.array([*range(COUNT), -1]))
            quotes = QuoteTable.of([*(market[number] for number in range(COUNT)), None])
            for column, expected in zip(table, quotes, strict=True):
                np.testing.assert_array_equal(column, expected)
            for number in range(COUNT):
                expected, got = plain.quotes[number], market[number]
                assert (expected is None) is (got is None)
                if got is not None:
                    assert same(quote_prices(expected), quote_prices(got))
                    assert market[number] is got
                assert same(broker[number], last.get(number))
                assert got is None or not market.are_silent(np.array([number]))


def quote_prices(quote):
    return quote.bid, quote.ask, quote.bid_size, quote.ask_size


def test_imperfect_rows_are_counted_once_and_only_where_nobody_took_them_in():
    seen = SessionRows(
        columns([(0, (1.2, 1.1)), (1, (1.2, 1.1)), (1, (0.0, 0.05)), (0, (1.0, 1.0))]),
        np.ones(COUNT, np.bool_),
    )
    oddities = Counter()
    seen.advance(2, mask({1}), oddities)
    assert oddities == {"crossed": 1}
    seen.advance(4, mask(()), oddities)
    assert oddities == {"crossed": 1, "zero_bid": 1, "locked": 1}


def test_rows_are_known_by_their_time():
    seen = SessionRows(columns([(0, (1.0, 1.1))] * 3), np.ones(COUNT, np.bool_))
    assert [seen.first_at(now_ns) for now_ns in (0, 1, 2, 3, 4)] == [0, 0, 1, 2, 3]
    assert seen.quote(2) == QuoteEvent(0, 3, 3, 1.0, 1.1, 3.0, 4.0)


def test_the_rows_of_one_instrument_alone_are_all_of_them_but_the_bad_ones():
    seen = SessionRows(columns([(1, (1.0, 1.1)), (1, (1.2, 1.1)), (1, (1.1, 1.2))]), np.ones(COUNT, np.bool_))
    assert (seen.quoted, [*seen.rows_of(1, valid=False)], [*seen.rows_of(1, valid=True)]) == (
        [1],
        [0, 1, 2],
        [0, 2],
    )
    assert [*seen.rows_of(0, valid=False)] == []
    assert [seen.only(1).row(at) for at in range(3)] == [0, 1, 2]
