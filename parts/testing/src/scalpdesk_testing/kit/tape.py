"""A market tape written by hand: quote by quote, or as a path of the underlying."""

from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, years_between
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, new_york_ns, session_on
from scalpdesk.marketdata.tape import CashDividend, LazyQuotes, MarketTape, QuoteColumns, RateCurve
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk_testing.kit.instruments import DAY, straddle_book


def at(clock_time: str, day: date = DAY) -> int:
    """Return UTC nanoseconds of a New York time, ``HH:MM`` or ``HH:MM:SS``.

    >>> at("09:30") == session_on(DAY).open_ns
    True
    """
    return new_york_ns(day, time.fromisoformat(clock_time))


def quote(
    number: int, ts_ns: int, bid: float, ask: float, bid_size: float = 100.0, ask_size: float = 100.0
) -> QuoteEvent:
    """Return a quote that is known the moment it happens."""
    return QuoteEvent(InstrumentId(number), ts_ns, ts_ns, bid, ask, bid_size, ask_size)


def tape_of_rows(
    instruments: Instruments, rows: list[tuple[int, int, float, float]], day: date, rate: float, **more: Any
) -> MarketTape:
    """Return a recorded tape on XYZ of rows (time, instrument, bid, ask), in order, of size one."""
    ts_ns, ids, bid, ask = zip(*rows, strict=True)
    one = np.ones(len(rows))
    return MarketTape(
        name="made",
        kind="recorded",
        underlying="XYZ",
        sessions=(session_on(day),),
        instruments=instruments,
        quotes=QuoteColumns(
            np.array(ts_ns, np.int64), np.array(ids, np.int32), np.array(bid), np.array(ask), one, one.copy()
        ),
        rate_curve=RateCurve((1.0,), (rate,)),
        **more,
    )


def until(tape: MarketTape, last: time) -> MarketTape:
    """Leave out the quotes after an hour of New York."""

    def quotes(session: Session) -> QuoteColumns:
        return tape.quotes.between(session.open_ns, min(session.close_ns, new_york_ns(session.day, last)))

    return replace(tape, quotes=LazyQuotes(tape.sessions, quotes))


def model_price(contract: OptionContract, spot: float, vol: float, now_ns: int) -> float:
    """Return the price (currency per unit) of an option at a flat volatility (fraction a year)."""
    years = years_between(now_ns, expiry_instant_ns(contract))
    return option_greeks(spot, float(contract.strike), years, vol, contract.is_call, 0.0, american=True).price


class TapeBuilder:
    """Collects quotes and turns them into a :class:`~scalpdesk.marketdata.tape.MarketTape`.

    Parameters
    ----------
    book
        What is traded; number 0 is the underlying. Default: SPY and one straddle at 500.
    days
        The sessions, in order.
    vol
        Implied volatility (fraction a year) at which :meth:`spot` prices the options.

    Examples
    --------
    >>> tape = TapeBuilder().spot("09:40", 500.0).spot("09:41", 501.0).build()
    >>> len(tape.quotes), len(tape.sessions)
    (6, 1)
    """

    def __init__(
        self, book: Instruments | None = None, *, days: tuple[date, ...] = (DAY,), vol: float = 0.20
    ) -> None:
        self.book = straddle_book() if book is None else book
        self.sessions: tuple[Session, ...] = tuple(session_on(day) for day in days)
        self.vol = vol
        self.rows: list[QuoteEvent] = []
        self.open_interest: dict[str, int] = {one.symbol: 1_000 for one in self.book if one.is_option}
        self.dividends: tuple[CashDividend, ...] = ()
        self.settlement_prices: dict[tuple[str, date], float] = {}

    def quote(
        self,
        number: int,
        when: str | int,
        bid: float,
        ask: float,
        bid_size: float = 100.0,
        ask_size: float = 100.0,
        *,
        day: date | None = None,
    ) -> "TapeBuilder":
        """Add one quote; ``when`` is a New York time or UTC nanoseconds."""
        ts_ns = at(when, day or self.sessions[0].day) if isinstance(when, str) else when
        self.rows.append(quote(number, ts_ns, bid, ask, bid_size, ask_size))
        return self

    def spot(
        self,
        when: str | int,
        mid: float,
        *,
        spread: float = 0.02,
        option_spread: float = 0.10,
        size: float = 1_000.0,
        day: date | None = None,
    ) -> "TapeBuilder":
        """Quote the underlying and every option around it, all at one instant.

        Prices are cents; options are priced at the builder's volatility with rate 0.
        """
        ts_ns = at(when, day or self.sessions[0].day) if isinstance(when, str) else when
        for number, instrument in enumerate(self.book):
            if instrument.is_option:
                fair, width = model_price(instrument, mid, self.vol, ts_ns), option_spread
            elif number == 0:
                fair, width = mid, spread
            else:
                continue
            bid = max(round(fair - width / 2, 2), 0.01)
            self.quote(number, ts_ns, bid, round(bid + width, 2), size, size)
        return self

    def path(
        self,
        start: str | int,
        seconds: float,
        mids: list[float],
        *,
        size: float = 1_000.0,
    ) -> "TapeBuilder":
        """Call :meth:`spot` for each mid, ``seconds`` apart."""
        first = at(start, self.sessions[0].day) if isinstance(start, str) else start
        for step, mid in enumerate(mids):
            at_ns = first + int(step * seconds * NANOS_PER_SECOND)
            self.spot(at_ns, mid, size=size)
        return self

    def dividend(self, amount: str, ex_date: date, symbol: str = "SPY") -> "TapeBuilder":
        """Declare a cash dividend a share."""
        self.dividends = (*self.dividends, CashDividend(symbol, ex_date, Decimal(amount)))
        return self

    def build(self, name: str = "by-hand") -> MarketTape:
        """Return the tape, rows sorted by time (rows of one instant keep the order of their adding)."""
        rows = sorted(self.rows, key=lambda row: row.ts_recv_ns)

        def column(field: str, dtype: type) -> np.ndarray:
            return np.array([getattr(row, field) for row in rows], dtype=dtype)

        quotes = QuoteColumns(
            ts_ns=column("ts_recv_ns", np.int64),
            instrument_id=column("instrument_id", np.int32),
            bid=column("bid", np.float64),
            ask=column("ask", np.float64),
            bid_size=column("bid_size", np.float64),
            ask_size=column("ask_size", np.float64),
        )
        return MarketTape(
            name=name,
            kind="reconstructed",
            underlying=self.book[InstrumentId(0)].symbol,
            sessions=self.sessions,
            instruments=self.book,
            quotes=quotes,
            open_interest=self.open_interest,
            dividends=self.dividends,
            rate_curve=RateCurve((1.0,), (0.0,)),
            settlement_prices=self.settlement_prices,
        )
