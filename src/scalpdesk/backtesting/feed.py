"""A tape as a stream of events, in the one order in which they may be known.

At one instant: option quotes, then the underlying's quotes, then bars that close. Whoever thinks on
the underlying's quote then sees the options as of the same instant, and nothing later.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np

from scalpdesk.core.events import (
    DividendEvent,
    Event,
    OpenInterestEvent,
    QuoteEvent,
    RateEvent,
)
from scalpdesk.instruments.sessions import Session, is_session, session_on
from scalpdesk.marketdata.tape import CashDividend, MarketTape

CHUNK_ROWS = 8_192
"""Quotes turned into events at a time: keeps conversion out of the inner loop and stays in the cache."""


def opening_events(tape: MarketTape, session: Session, *, is_first: bool) -> list[Event]:
    """Return what is known before the session opens: rates, open interest, declared dividends."""
    at_ns = session.open_ns
    events: list[Event] = [RateEvent(at_ns, at_ns, tuple(tape.rate_curve.days), tuple(tape.rate_curve.rates))]
    if is_first:
        for symbol, contracts in sorted(tape.open_interest.items()):
            if symbol in tape.instruments:
                events.append(OpenInterestEvent(tape.instruments.id_of(symbol), at_ns, at_ns, contracts))
        for dividend in tape.dividends:
            if dividend.symbol in tape.instruments:
                number = tape.instruments.id_of(dividend.symbol)
                events.append(DividendEvent(number, at_ns, at_ns, ex_instant_ns(dividend), dividend.amount))
    return events


def ex_instant_ns(dividend: CashDividend) -> int:
    """UTC nanoseconds at which a share first trades without the dividend: the open of the ex-date."""
    day: date = dividend.ex_date
    return session_on(day).open_ns if is_session(day) else 0


def session_quotes(tape: MarketTape, session: Session) -> Iterator[list[QuoteEvent]]:
    """Yield the session's quotes in order, a chunk at a time."""
    columns = tape.quotes
    first = int(np.searchsorted(columns.ts_ns, session.open_ns, side="left"))
    last = int(np.searchsorted(columns.ts_ns, session.close_ns, side="right"))
    underlying = tape.instruments.id_of(tape.underlying)
    for low in range(first, last, CHUNK_ROWS):
        high = min(low + CHUNK_ROWS, last)
        # a chunk must not cut through one instant
        while high < last and columns.ts_ns[high] == columns.ts_ns[high - 1]:
            high += 1
        if low > first and columns.ts_ns[low] == columns.ts_ns[low - 1]:
            low += int(np.searchsorted(columns.ts_ns[low:high], columns.ts_ns[low - 1], side="right"))  # noqa: PLW2901 - the chunk before took these rows
        if low >= high:  # one instant fills more than a chunk
            continue
        part = slice(low, high)
        ids = columns.instrument_id[part]
        order = np.lexsort((ids, ids == underlying, columns.ts_ns[part]))
        stamps = columns.ts_ns[part][order].tolist()
        yield list(
            map(
                QuoteEvent,
                ids[order].tolist(),
                stamps,
                stamps,
                columns.bid[part][order].tolist(),
                columns.ask[part][order].tolist(),
                columns.bid_size[part][order].tolist(),
                columns.ask_size[part][order].tolist(),
            )
        )
