"""A trigger's rule is the same for one quote and for many in columns."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.bars import Timeframes
from scalpdesk.marketdata.latest_quotes import SessionRows
from scalpdesk.marketdata.quotes import TRADABLE, SpreadFilter, judge_quote
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.marketdata.triggers import EveryQuote, PriceBand, PriceMove, Spared, Trigger, Wake
from scalpdesk.pricing.kernels.triggers import are_tradable, is_tradable, next_call
from scalpdesk.strategies.several.member import SharedTrigger
from scalpdesk_strategies.hybrid import _VolWatch
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import quote

S, SPY = NANOS_PER_SECOND, InstrumentId(0)


def ask(trigger, quote):
    """Ask about one quote as a live desk does; return the reason to call the strategy, None without."""
    return trigger.take(quote)


def think(trigger, seconds, mid, spread=0.02):
    """Ask about one quote and, when the trigger fires, let it know that the strategy has thought."""
    one = quote(0, int(seconds * S), mid - spread / 2, mid + spread / 2)
    wake = ask(trigger, one)
    if wake is not None:
        trigger.done(one, wake)
    return wake


def test_a_move_that_reaches_the_threshold_wakes_and_sets_the_reference():
    trigger = PriceMove(0, 0.05, 60.0)
    assert think(trigger, 1, 500.00) is Wake.PRICE
    assert think(trigger, 2, 500.04) is None
    assert think(trigger, 3, 500.05) is Wake.PRICE
    assert think(trigger, 4, 500.01) is None
    assert think(trigger, 5, 500.00) is Wake.PRICE


def test_a_heartbeat_must_be_passed_and_does_not_move_the_reference():
    trigger = PriceMove(0, 0.05, 5.0)
    think(trigger, 0, 500.00)
    assert think(trigger, 5, 500.03) is None
    assert think(trigger, 5.001, 500.03) is Wake.HEARTBEAT
    assert think(trigger, 6, 500.05) is Wake.PRICE  # 0.05 from the last price wake, not from the heartbeat


def test_a_wake_that_could_not_be_used_comes_again():
    trigger = PriceMove(0, 0.05, 60.0)
    think(trigger, 0, 500.00)
    moved = quote(0, S, 500.09, 500.11)
    assert ask(trigger, moved) is Wake.PRICE
    assert ask(trigger, moved) is Wake.PRICE


def test_a_spread_filter_keeps_odd_quotes_from_waking():
    trigger = PriceMove(0, 0.05, 1.0, SpreadFilter())
    assert think(trigger, 0, 500.00) is None  # the first quote only teaches
    assert think(trigger, 1, 500.00) is Wake.PRICE
    assert think(trigger, 9, 510.00, spread=0.30) is None
    assert think(trigger, 10, 500.00) is Wake.HEARTBEAT


def test_every_quote_wakes_on_every_quote():
    trigger = EveryQuote(0)
    assert [think(trigger, second, 500.0) for second in range(3)] == [Wake.PRICE] * 3


def used(spreads, chosen):
    """Return which of the quotes of some spreads a filter uses."""
    trigger = PriceBand(0, chosen)  # every mid has reached its prices
    return [ask(trigger, quote(0, 1, 1.0, 1.0 + spread)) is not None for spread in spreads]


def test_the_first_quote_teaches_the_spread_filter_and_is_no_price():
    chosen = SpreadFilter()
    assert used([0.02], chosen) == [False]
    assert chosen.average == pytest.approx(0.02)
    assert used([0.03], chosen) == [True]  # 1.5 times the average, reached
    assert chosen.average == pytest.approx(0.9 * 0.02 + 0.1 * 0.03)


def test_a_wide_spread_is_refused_and_still_teaches_below_half_a_unit():
    chosen = SpreadFilter()
    assert used([0.02, 0.20], chosen) == [False, False]
    assert chosen.average == pytest.approx(0.038)
    assert used([0.50], chosen) == [False]  # teaches nothing
    assert chosen.average == pytest.approx(0.038)


def test_a_first_spread_that_is_too_wide_teaches_nothing():
    chosen = SpreadFilter()
    assert used([0.60], chosen) == [False]
    assert math.isnan(chosen.average)


def test_a_run_of_zero_spreads_does_not_shut_the_filter():
    chosen = SpreadFilter()
    used([0.0] * 200, chosen)
    assert chosen.average == 0.01
    assert used([0.015], chosen) == [True]


# the rule in columns ----------------------------------------

ANY = st.floats(allow_nan=True, allow_infinity=True)
PRICES = st.one_of(st.sampled_from([math.nan, 0.0, -1.0, math.inf, 1.0, 1.01]), ANY)


@given(st.lists(st.tuples(PRICES, PRICES), max_size=40))
def test_a_pair_of_prices_is_tradable_in_columns_where_its_verdict_is(pairs):
    bid, ask = np.array(pairs, dtype=np.float64).reshape(-1, 2).T.copy()
    verdicts = [judge_quote(*pair) in TRADABLE for pair in pairs]
    assert are_tradable(bid, ask).tolist() == verdicts == [is_tradable(*pair) for pair in pairs]


@given(
    st.lists(st.tuples(st.integers(-5, 5), PRICES, PRICES), min_size=1, max_size=40),
    st.tuples(PRICES, PRICES, st.integers(-5, 6), st.one_of(PRICES, st.just(0.01))),
    st.integers(0, 40),
)
def test_a_move_is_found_in_columns_where_one_quote_is_a_move(rows, rule, first):
    """Whatever the rows are: missing sides, zeros, crossed, locked, infinite, out of order."""
    low, high, due_ns, average = rule
    first = min(first, len(rows))

    def made():
        trigger = PriceBand(SPY, SpreadFilter(average=average))
        trigger.low, trigger.high, trigger.due_ns = low, high, due_ns
        return trigger

    stamps, bids, asks = (list(column) for column in zip(*rows, strict=True))
    columns = SessionRows.of(columns_of(stamps, bids, asks), np.ones(1, np.bool_)).only(SPY)
    one_by_one, in_bulk = made(), made()
    quotes = [quote(0, *row) for row in rows]
    fired = (at for at in range(first, len(rows)) if ask(one_by_one, quotes[at]))
    row = next(fired, len(rows))
    assert in_bulk.next_row(columns, first, len(rows)) == row
    in_bulk.learn(columns, first, min(row + 1, len(rows)))
    assert in_bulk.spreads.average == pytest.approx(one_by_one.spreads.average, rel=0, abs=0, nan_ok=True)
    unspared = 0.0, 0, math.inf, -math.inf, math.inf, 0, -1
    plain, *_ = next_call.py_func(np.array(stamps), bids, asks, first, len(rows), *rule, 0.5, 0.01, *unspared)
    assert plain == row


STEPS = st.lists(
    st.tuples(st.integers(0, 12 * S), st.integers(-3, 3), st.sampled_from([2, 2, 2, 1, 3, 8, 60, 0, -1])),
    min_size=1,
    max_size=80,
)
"""Nanoseconds since the quote before, move of the bid and width in ticks; a width of 0 is locked."""


def walk(steps):
    """Return the quotes of a walk from the open of a session as columns of one instrument."""
    waits, moves, widths = (np.array(column) for column in zip(*steps, strict=True))
    bid = 500.0 + 0.01 * np.cumsum(moves)
    return columns_of(session_on(DAY).open_ns + np.cumsum(waits), bid, bid + 0.01 * widths)


def columns_of(ts_ns, bid, ask):
    count = len(bid)
    prices = np.array(bid, dtype=np.float64), np.array(ask, dtype=np.float64)
    return QuoteColumns(np.array(ts_ns), np.zeros(count, np.int32), *prices, np.ones(count), np.ones(count))


@given(
    STEPS,
    st.tuples(st.integers(-12, 4), st.integers(-4, 12), st.integers(0, 4)),
    st.integers(0, 400),
    st.integers(-1, 80),
)
@example([(0, 0, 2), (S, 0, 2), (S, 3, 2), (S, 0, 2)], (-12, 12, 0), 400, 80)
def test_a_spared_call_moves_the_references_as_one_that_found_nothing(steps, way, seconds, row):
    """Each call within the bounds was made by a desk, one after the other, and answered by nothing."""
    rows = SessionRows.of(walk(steps), np.ones(1, np.bool_))
    own = rows.only(SPY)
    low, high, width = 500.0 + 0.01 * way[0], 500.0 + 0.01 * way[1], 0.01 * way[2]
    until_ns = session_on(DAY).open_ns + seconds * S
    made, spared = PriceMove(SPY, 0.03, 20.0, SpreadFilter()), PriceMove(SPY, 0.03, 20.0, SpreadFilter())
    spared.spared = Spared(low, high, width, until_ns, (), row)
    last = own.tradable_until(0, len(rows))
    at = 0
    for at in range(last):
        seen = rows.quote(at)
        before = made.low, made.high, made.due_ns, made.spreads.average
        wake = ask(made, seen)
        mid, is_wide = 0.5 * (seen.bid + seen.ask), not seen.ask - seen.bid < width
        is_spared = at < row and seen.ts_recv_ns < until_ns and low < mid < high and is_wide
        if wake is not None and not is_spared:
            made.low, made.high, made.due_ns, made.spreads.average = before
            break
        if wake is not None:
            made.done(seen, wake)
    else:
        at = last
    assert spared.next_row(own, 0, last) == at
    spared.spare(low, high, math.inf, 0, ())  # other bounds by then: what was passed over stays so
    spared.learn(own, 0, at)
    assert (spared.low, spared.high, spared.due_ns) == (made.low, made.high, made.due_ns)
    assert spared.spreads.average == pytest.approx(made.spreads.average, rel=0, abs=0, nan_ok=True)


class Even(Trigger):
    """A trigger of a user's own: fires where the mid is an even number of half ticks."""

    def next_row(self, quotes, first, last):
        found = np.flatnonzero(np.round(100 * (quotes.bid + quotes.ask))[first:last] % 2 == 0)
        return first + int(found[0]) if len(found) else last


def shared(*triggers):
    both = SharedTrigger(SPY)
    for trigger in triggers:
        both.add(object(), trigger)
    return both


def bars_and(both):
    """The hybrid's trigger: bars of the session besides."""
    frames = Timeframes(SPY, (300,))
    frames.open_session(session_on(DAY))
    return _VolWatch(both, frames)


def reckon(trigger):
    """Do what the hybrid does at a wake."""
    if isinstance(trigger, _VolWatch):
        trigger.has_closed = False


def verdict(rows, at):
    return judge_quote(rows.quote(at).bid, rows.quote(at).ask)


def called_one_by_one(trigger, rows):
    """Return the quotes that wake, each one asked about."""
    woken = []
    for at in range(len(rows)):
        seen = rows.quote(at)
        if judge_quote(seen.bid, seen.ask) in TRADABLE and (wake := ask(trigger, seen)) is not None:
            woken.append((at, wake))
            reckon(trigger)
            trigger.done(seen, wake)
    return woken


def called_in_bulk(trigger, rows, stops):
    """Return the same, and the quotes that were asked about one by one: those that were not passed over."""
    own, woken, judged, at = rows.only(SPY), [], [], 0
    while at < len(rows):
        stop = own.tradable_until(at, min([each for each in stops if each > at], default=len(rows)))
        found = trigger.next_row(own, at, min(stop, len(rows)))
        trigger.learn(own, at, found)
        at = found
        if at < len(rows):
            seen = rows.quote(at)
            judged.append(at)
            if judge_quote(seen.bid, seen.ask) in TRADABLE and (wake := ask(trigger, seen)) is not None:
                woken.append((at, wake))
                reckon(trigger)
                trigger.done(seen, wake)
            at += 1
    return woken, judged


MADE = {
    "move": lambda change, seconds: PriceMove(SPY, change, seconds),
    "usual spreads": lambda change, seconds: PriceMove(SPY, change, seconds, SpreadFilter()),
    "own": lambda *_: Even(SPY),
    "two": lambda change, seconds: shared(
        PriceMove(SPY, change, seconds, SpreadFilter()), PriceMove(SPY, 0.03, 2.0, SpreadFilter(0.05))
    ),
    "bars": lambda change, seconds: bars_and(shared(PriceMove(SPY, change, seconds, SpreadFilter()))),
    "own and bars": lambda change, seconds: bars_and(shared(Even(SPY), PriceMove(SPY, change, seconds))),
}


@given(
    st.sampled_from(sorted(MADE)),
    STEPS,
    st.sampled_from([0.0, 0.01, 0.02, 0.05, 9.0]),
    st.sampled_from([0.0, 1.0, 5.0, 600.0]),
    st.sets(st.integers(1, 80)),
)
def test_a_trigger_finds_the_quotes_ahead_at_which_it_fires_one_by_one(kind, steps, change, heartbeat, stops):
    rows = SessionRows.of(walk(steps), np.ones(1, np.bool_))
    plain, quick = MADE[kind](change, heartbeat), MADE[kind](change, heartbeat)
    woken, judged = called_in_bulk(quick, rows, stops)
    assert woken == called_one_by_one(plain, rows)
    assert {at for at, _ in woken} <= set(judged)
    untradable = {at for at in range(len(rows)) if verdict(rows, at) not in TRADABLE}
    assert set(judged) <= {at for at, _ in woken} | untradable | stops
    if kind == "bars":
        assert quick.frames.close_session() == plain.frames.close_session()


def test_triggers_of_the_desk_say_whether_they_pass_over_quotes():
    assert [made.skips for made in (PriceBand(0), EveryQuote(0), Even(0))] == [True, False, True]
    assert shared(PriceMove(0, 1, 1), Even(0)).skips
    assert not bars_and(shared(PriceMove(0, 1, 1), EveryQuote(0))).skips
