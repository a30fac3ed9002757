"""A tape as a stream of events, in the one order in which they may be known: the one reader of tapes.

At one instant: option quotes, then the underlyings' quotes, then bars that close. A strategy woken by
an underlying's quote then sees the options as of the same instant, and nothing later.
"""

from datetime import date
from decimal import Decimal
from operator import attrgetter

import numpy as np

from scalpdesk.core.events import (
    BarEvent,
    DividendEvent,
    Event,
    OpenInterestEvent,
    PriceAdjustmentEvent,
    QuoteEvent,
    RateEvent,
)
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.corporate_actions import price_scale
from scalpdesk.instruments.sessions import Session, is_session, session_on
from scalpdesk.marketdata.tape import CashDividend, MarketTape, Morning, QuoteColumns, session_bars

CHUNK_ROWS = 8_192
"""Quotes turned into events at a time: keeps conversion out of the inner loop and stays in the cache."""


def opening_events(tape: MarketTape, session: Session, *, is_first: bool) -> list[Event]:
    """Return what is known before the session opens: rates, open interest, declared dividends.

    A later session also gives corporate actions that change the scale of prices: figures that a run begins
    with are in the scale of its first session.
    """
    at_ns = session.open_ns
    if tape.morning is not None:
        known = tape.morning(session)
    elif is_first:
        known = Morning(tape.rate_curve, tape.open_interest, _declared(tape, session, is_first=True))
    else:
        known = Morning(tape.rate_curve, {}, _declared(tape, session, is_first=False))
    curve = known.rate_curve
    events: list[Event] = [RateEvent(at_ns, at_ns, tuple(curve.days), tuple(curve.rates))]
    for symbol, contracts in sorted(known.open_interest.items()):
        if symbol in tape.instruments:
            events.append(OpenInterestEvent(tape.instruments.id_of(symbol), at_ns, at_ns, contracts))
    for dividend in known.declared:
        if dividend.symbol in tape.instruments:
            number = tape.instruments.id_of(dividend.symbol)
            events.append(DividendEvent(number, at_ns, at_ns, ex_instant_ns(dividend), dividend.amount))
    return [*events, *price_adjustments(tape, session)]


def _declared(tape: MarketTape, session: Session, *, is_first: bool) -> tuple[CashDividend, ...]:
    """Return the dividends that become known with a session.

    A data set does not say when a dividend was declared: it is taken as known from the ex-date of the one
    before it, as estimates of the next one are close; what lies further ahead is not known.
    """
    earlier = (each.day for each in tape.sessions if each.day < session.day)
    before = date.min if is_first else max(earlier, default=session.day)
    known, last = dict[CashDividend, date](), dict[str, date]()
    for dividend in sorted(tape.dividends, key=lambda each: each.ex_date):
        known[dividend] = last.get(dividend.symbol, date.min)
        last[dividend.symbol] = dividend.ex_date
    return tuple(
        each for each in tape.dividends if known[each] <= session.day and (is_first or known[each] > before)
    )


def price_adjustments(tape: MarketTape, session: Session) -> list[PriceAdjustmentEvent]:
    """Return what changes the scale of prices between the session before and this one."""
    before = max((each.day for each in tape.sessions if each.day < session.day), default=session.day)
    events = []
    for action in tape.actions:
        if before < action.ex_date <= session.day and action.symbol in tape.instruments:
            number, at_ns = tape.instruments.id_of(action.symbol), session.open_ns
            events.append(PriceAdjustmentEvent(number, at_ns, at_ns, *price_scale(action)))
    return events


def ex_instant_ns(dividend: CashDividend) -> int:
    """UTC nanoseconds at which a share first trades without the dividend: the open of the ex-date."""
    day: date = dividend.ex_date
    return session_on(day).open_ns if is_session(day) else 0


def published_on(tape: MarketTape, day: date) -> Morning:
    """Return the rates and the open interest that a tape has of a day."""
    session = next((each for each in tape.sessions if each.day == day), None)
    if tape.morning is None or session is None:
        return Morning(tape.rate_curve, tape.open_interest, ())
    known = tape.morning(session)
    return Morning(known.rate_curve, known.open_interest or tape.open_interest, ())


def settlement_level(tape: MarketTape, symbol: str, day: date) -> Decimal | None:
    """Return the tape's official level of an underlying on a day, where it has one."""
    level = tape.settlement_prices.get((symbol, day))
    return None if level is None else Decimal(f"{level:.4f}")


def session_quotes(tape: MarketTape, session: Session) -> QuoteColumns:
    """Return the session's quotes in the order of events."""
    return _in_order(tape, session.open_ns, session.close_ns)


def _in_order(tape: MarketTape, from_ns: int, to_ns: int) -> QuoteColumns:
    columns, count = tape.quotes.between(from_ns, to_ns), len(tape.instruments)
    if count == 1:
        return columns
    ids, stamps = columns.instrument_id, columns.ts_ns
    is_last = np.zeros(count, np.int64)
    is_last[list(tape.underlying_ids)] = count
    rank, is_later = ids + is_last[ids], stamps[1:] != stamps[:-1]
    is_wrong = (rank[1:] < rank[:-1]) & ~is_later
    if not is_wrong.any():
        return columns  # as most tapes are made
    # of the few instants out of order alone: a tenth of the time of sorting all rows
    instant = np.concatenate(([0], np.cumsum(is_later)))
    has_wrong = np.zeros(instant[-1] + 1, np.bool_)
    has_wrong[instant[1:][is_wrong]] = True
    places = np.flatnonzero(has_wrong[instant])
    return columns.with_rows(places, places[np.lexsort((rank[places], instant[places]))])


class TapeReader:
    """Plays a tape instant by instant: quotes, and the bars that end with them.

    ``session``: The one that is played; None plays all of the tape.
    """

    def __init__(self, tape: MarketTape, session: Session | None = None) -> None:
        sessions = tape.sessions if session is None else (session,)
        columns = _in_order(tape, sessions[0].open_ns, sessions[-1].close_ns)
        self._quotes = (
            columns.quotes(slice(low, low + CHUNK_ROWS)) for low in range(0, len(columns), CHUNK_ROWS)
        )
        self._bars: list[BarEvent] = [bar for played in sessions for bar in session_bars(tape, played)]
        self._bars.sort(key=attrgetter("ts_recv_ns"))
        self.barred = frozenset(bar.instrument_id for bar in self._bars)
        """Instruments that the tape has bars of."""
        self._bar_at = 0
        self._at = 0
        self._buffer: list[QuoteEvent] = next(self._quotes, [])

    def next_ns(self) -> int:
        """Return when the next quote or bar is due, UTC nanoseconds."""
        quote_ns = self._buffer[self._at].ts_recv_ns if self._at < len(self._buffer) else NEVER_NS
        bar_ns = self._bars[self._bar_at].ts_recv_ns if self._bar_at < len(self._bars) else NEVER_NS
        return min(quote_ns, bar_ns)

    def take_next(self) -> list[QuoteEvent | BarEvent]:
        """Return the events of one instant, in order, and go on."""
        now_ns = self.next_ns()
        events: list[QuoteEvent | BarEvent] = []
        buffer = self._buffer
        while self._at < len(buffer) and buffer[self._at].ts_recv_ns == now_ns:
            events.append(buffer[self._at])
            self._at += 1
            if self._at == len(buffer):
                buffer = self._buffer = next(self._quotes, [])
                self._at = 0
        while self._bar_at < len(self._bars) and self._bars[self._bar_at].ts_recv_ns == now_ns:
            events.append(self._bars[self._bar_at])
            self._bar_at += 1
        return events
