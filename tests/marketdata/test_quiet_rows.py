"""Quotes that are passed over in columns leave what checking each one by one leaves."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.marketdata.latest_quotes import SessionRows
from scalpdesk.marketdata.quiet_rows import ALWAYS_QUIET, Quiet
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.state import QUOTES_KEPT, MarketState
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.marketdata.triggers import PriceMove
from scalpdesk.strategies.several.member import SharedTrigger

S, SPY = NANOS_PER_SECOND, InstrumentId(0)
STEPS = st.lists(
    st.tuples(st.integers(0, 3 * S), st.integers(-3, 3), st.sampled_from([2, 2, 2, 1, 3, 8, 60, 0, -1])),
    min_size=1,
    max_size=80,
)
"""Nanoseconds since the quote before, move of the bid and width in ticks; a width of 0 is locked."""


def walk(steps):
    """Return the quotes of a walk as columns of one instrument."""
    waits, moves, widths = (np.array(column) for column in zip(*steps, strict=True))
    bid = 500.0 + 0.01 * np.cumsum(moves)
    size = np.ones(len(steps))
    return QuoteColumns(
        1 + np.cumsum(waits), np.zeros(len(steps), np.int32), bid, bid + 0.01 * widths, size, size
    )


def called_one_by_one(trigger, rows):
    """Return the quotes that wake, each one judged."""
    woken = []
    for at in range(len(rows)):
        seen = rows.quote(at)
        if 0.0 < seen.bid <= seen.ask and (wake := trigger.check(seen)) is not None:
            woken.append((at, wake))
            trigger.done(seen, wake)
    return woken


def called_in_bulk(trigger, rows, stops):
    """Return the same, and the quotes that were judged: those that were not passed over."""
    own, woken, judged, at = rows.only(SPY), [], [], 0
    while at < len(rows):
        stop = min([each for each in stops if each > at], default=len(rows))
        quiet = trigger.quiet()
        at = own.pass_over(at, min(stop, len(rows)), 2**62, quiet, 2**62, S, (0.0, 1.0))[0]
        if at < min(stop, len(rows)):
            seen = rows.quote(at)
            judged.append(at)
            if 0.0 < seen.bid <= seen.ask and (wake := trigger.check(seen)) is not None:
                woken.append((at, wake))
                trigger.done(seen, wake)
            at += 1
    return woken, judged


@given(
    STEPS,
    st.sampled_from([0.0, 0.01, 0.02, 0.05]),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.sampled_from([0, 1, 2]),
    st.sets(st.integers(1, 80)),
)
def test_a_price_move_wakes_at_the_same_quotes(steps, change, heartbeat, filters, stops):
    rows = SessionRows(walk(steps), 1)

    def made():
        """One trigger, or two strategies' on one instrument: with a filter of spreads, and without."""
        first = PriceMove(SPY, change, heartbeat, SpreadFilter() if filters else None)
        if filters < 2:
            return first
        both = SharedTrigger(SPY)
        for trigger in (first, PriceMove(SPY, 0.03, 2.0, SpreadFilter(0.05))):
            both.add(object(), trigger)
        return both

    plain, quick = made(), made()
    woken, judged = called_in_bulk(quick, rows, stops)
    assert woken == called_one_by_one(plain, rows)
    assert plain.quiet() == replace(quick.quiet(), filters=plain.quiet().filters)
    averages = [[item.average for item in each.quiet().filters] for each in (plain, quick)]
    assert averages[0] == averages[1]
    assert {at for at, _ in woken} <= set(judged)


@given(STEPS, st.integers(0, 20 * S), st.sampled_from([(499.9, 500.1), (499.98, 500.02), (501.0, 499.0)]))
def test_the_loss_is_judged_at_the_same_quotes_where_it_may_be_near(steps, due_ns, safe):
    columns = walk(steps)
    rows = SessionRows(columns, 1)
    seen, due, locked = 0, due_ns, 0
    for at in range(len(rows)):
        bid, ask, now_ns = float(columns.bid[at]), float(columns.ask[at]), int(columns.ts_ns[at])
        mid = 0.5 * (bid + ask)
        if not 0.0 < bid <= ask or (now_ns >= due and not safe[0] < mid < safe[1]):
            break
        due = now_ns + S if now_ns >= due else due
        locked += bid == ask
        seen += 1
    mids = 0.5 * (columns.bid[:seen] + columns.ask[:seen])
    expected = (seen, due, min(mids, default=np.inf), max(mids, default=-np.inf), locked)
    assert rows.only(SPY).pass_over(0, len(rows), 2**62, ALWAYS_QUIET, due_ns, S, safe) == expected


def test_quotes_are_passed_over_up_to_a_row_and_before_an_instant():
    own = SessionRows(walk([(S, 0, 2)] * 10), 1).only(SPY)
    wide = Quiet(499.0, 501.0, 1 + 8 * S)
    assert own.pass_over(2, 6, 2**62, wide, 2**62, S, (0.0, 1.0))[0] == 6
    assert own.pass_over(2, 10, 1 + 5 * S, wide, 2**62, S, (0.0, 1.0))[0] == 4
    assert own.pass_over(2, 10, 2**62, wide, 2**62, S, (0.0, 1.0))[0] == 7
    assert own.pass_over(2, 10, 2**62, replace(wide, high=500.01), 2**62, S, (0.0, 1.0))[0] == 2


@given(STEPS.filter(lambda steps: len(steps) > 1), st.integers(1, 79))
def test_quotes_in_force_are_found_among_those_passed_over(steps, cut):
    columns = walk([(wait, move, max(width, 1)) for wait, move, width in steps])
    rows, cut = SessionRows(columns, 1), min(cut, len(steps) - 1)
    plain, quick = (MarketState(Instruments([Equity("SPY")])) for _ in range(2))
    for state in (plain, quick):
        state.apply_quote(rows.quote(0))
        state.keep_quotes(SPY)
    for at in range(1, len(rows)):
        plain.apply_quote(rows.quote(at))
    quick.pass_over(SPY, rows, rows.only(SPY).rows[1:cut], 0)
    for at in range(cut, len(rows)):
        quick.apply_quote(rows.quote(at))
    stamps = [*range(0, int(columns.ts_ns[-1]) + 2, S // 2)]
    expected = [plain.quote_in_force(SPY, at_ns) for at_ns in stamps]
    assert [quick.quote_in_force(SPY, at_ns) for at_ns in stamps] == expected
    assert quick.quotes_in_force(SPY, stamps) == plain.quotes_in_force(SPY, stamps) == expected
    quick.leave_rows()
    assert list(quick.recent[SPY]) == list(plain.recent[SPY])


def test_no_more_quotes_are_kept_than_wanted_and_locked_ones_are_counted():
    rows = SessionRows(walk([(S, 0, 0)] * (QUOTES_KEPT + 9)), 1)
    state = MarketState(Instruments([Equity("SPY")]))
    state.keep_quotes(SPY)
    state.pass_over(SPY, rows, rows.only(SPY).rows, len(rows))
    assert [state.recent[SPY][end] for end in (0, -1)] == [9, QUOTES_KEPT + 8]
    assert state.oddities == Counter(locked=QUOTES_KEPT + 9)
