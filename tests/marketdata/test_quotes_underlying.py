"""What is no option is worth its last two-sided mid, told quote by quote or read from rows."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.contract import (
    Equity,
    Future,
    Index,
    Instruments,
    LinearPerpetual,
    Perpetual,
)
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.marketdata.latest_quotes import LatestQuotes, SessionRows, are_options
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import QuoteColumns

NAN, INF = float("nan"), float("inf")
PRICES = st.sampled_from([0.0, NAN, INF, -1.0, 99.96, 100.0, 100.02, 470.02])
KINDS = [
    Equity("SPY"),
    Index("SPX"),
    Future("ESH1", "ES", date(2021, 3, 19), CENT_TICK, multiplier=50),
    Perpetual("BTC-PERPETUAL", 10, CENT_TICK),
    LinearPerpetual("BTC_USDC-PERPETUAL", CENT_TICK),
]


@pytest.mark.parametrize("instrument", KINDS, ids=lambda each: each.symbol)
@given(rows=st.lists(st.tuples(PRICES, PRICES), min_size=1, max_size=30))
def test_a_mark_is_the_last_two_sided_mid_or_none(instrument, rows):
    book = Instruments([instrument])
    bid, ask = (np.array(column) for column in zip(*rows, strict=True))
    stamps, sizes = np.arange(1, len(rows) + 1, dtype=np.int64), np.ones(len(rows))
    columns = QuoteColumns(stamps, np.zeros(len(rows), np.int32), bid, ask, sizes, sizes)
    told, read = MarketState(book), LatestQuotes(1, valid=True)
    seen = SessionRows.of(columns, are_options(book))
    read.follow(seen)
    right, since = None, 0
    for at, (low, high) in enumerate(rows):
        if 0.0 < low <= high < INF and high <= 1.1 * low:
            right, since = 0.5 * (low + high), at + 1
        told.apply_quote(QuoteEvent(0, at + 1, at + 1, low, high, 1.0, 1.0))
        seen.upto = at + 1
        assert told.mark(0) == right
        latest = read[0]
        assert (None if latest is None else 0.5 * (latest.bid + latest.ask)) == right
        assert right is None or told.quotes[0].ts_event_ns == latest.ts_event_ns == since
