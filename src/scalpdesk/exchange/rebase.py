"""A tape of another day, played now: instants move to the wall clock, expiries to the sessions ahead."""

from dataclasses import replace
from datetime import timedelta

from scalpdesk.instruments.contract import (
    Instrument,
    InstrumentBook,
    OptionContract,
    occ_symbol,
)
from scalpdesk.instruments.sessions import Session, sessions_between, to_new_york
from scalpdesk.marketdata.tape import MarketTape

LOOK_AHEAD_DAYS = 800


def rebased(tape: MarketTape, start_ns: int) -> MarketTape:
    """Return the tape as if its first session opened at ``start_ns`` (UTC nanoseconds).

    A contract that ends n sessions after the tape's first day ends n sessions after the first session that
    closes no sooner than the moved tape: what was due to expire within the tape no longer does.
    """
    first = tape.sessions[0]
    shift_ns = start_ns - first.open_ns
    end_ns = tape.sessions[-1].close_ns + shift_ns
    today = to_new_york(start_ns).date()
    ahead = [
        one.day
        for one in sessions_between(today, today + timedelta(days=LOOK_AHEAD_DAYS))
        if one.close_ns >= end_ns
    ]
    behind = [one.day for one in sessions_between(first.day, first.day + timedelta(days=LOOK_AHEAD_DAYS))]
    place = {day: index for index, day in enumerate(behind)}

    def moved(one: Instrument) -> Instrument:
        if not isinstance(one, OptionContract):
            return one
        index = place.get(one.expiry)
        if index is None:  # no session (a Saturday of old): as far ahead as the session before it
            index = sum(day <= one.expiry for day in behind) - 1
        expiry = ahead[min(max(index, 0), len(ahead) - 1)]
        return replace(one, expiry=expiry, symbol=occ_symbol(one.root, expiry, one.right, one.strike))

    book = InstrumentBook(moved(one) for one in tape.instruments)
    names = {old.symbol: new.symbol for old, new in zip(tape.instruments, book, strict=True)}
    bars = tape.bars
    return replace(
        tape,
        sessions=tuple(
            Session(
                to_new_york(one.open_ns + shift_ns).date(), one.open_ns + shift_ns, one.close_ns + shift_ns
            )
            for one in tape.sessions
        ),
        instruments=book,
        quotes=replace(tape.quotes, ts_ns=tape.quotes.ts_ns + shift_ns),
        bars=None if bars is None else replace(bars, ts_ns=bars.ts_ns + shift_ns),
        open_interest={
            names[symbol]: count for symbol, count in tape.open_interest.items() if symbol in names
        },
        settlement_prices={},
        notes=(*tape.notes, f"played on the wall clock; recorded or drawn for {first.day}"),
    )
