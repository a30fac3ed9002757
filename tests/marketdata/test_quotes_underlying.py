"""What is no option is worth its last two-sided mid, told quote by quote or read from rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.marketdata.latest_quotes import LatestQuotes, SessionRows, are_options
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import QuoteColumns

NAN, INF = float("nan"), float("inf")
PRICES = st.sampled_from([0.0, NAN, INF, -1.0, 99.96, 100.0, 100.02, 470.02])
BOOK = Instruments([Equity("SPY")])


@given(st.lists(st.tuples(PRICES, PRICES), min_size=1, max_size=30))
def test_a_mark_is_the_last_two_sided_mid_or_none(rows):
    bid, ask = (np.array(column) for column in zip(*rows, strict=True))
    stamps, sizes = np.arange(1, len(rows) + 1, dtype=np.int64), np.ones(len(rows))
    columns = QuoteColumns(stamps, np.zeros(len(rows), np.int32), bid, ask, sizes, sizes)
    told, read = MarketState(BOOK), LatestQuotes({}, 1, valid=True)
    seen = SessionRows(columns, are_options(BOOK))
    read.follow(seen)
    right, since = None, 0
    for at, (low, high) in enumerate(rows):
        if 0.0 < low <= high < INF:
            right, since = 0.5 * (low + high), at + 1
        told.apply_quote(QuoteEvent(0, at + 1, at + 1, low, high, 1.0, 1.0))
        seen.upto = at + 1
        assert told.mark(0) == right
        latest = read[0]
        assert (None if latest is None else 0.5 * (latest.bid + latest.ask)) == right
        assert right is None or told.quotes[0].ts_event_ns == latest.ts_event_ns == since
