import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scalpdesk.core.events import (
    BarEvent,
    DividendEvent,
    ForecastEvent,
    OpenInterestEvent,
    PriceAdjustmentEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    TradeEvent,
)
from scalpdesk.core.units import DAY_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.marketdata.latest_quotes import LatestQuotes, SessionRows
from scalpdesk.marketdata.quotes import TRADABLE, QuoteVerdict
from scalpdesk.marketdata.state import QUOTES_KEPT, MarketState
from scalpdesk.marketdata.tape import NO_QUOTES, QuoteColumns
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

EX_NS = 10 * DAY_NS
SPLIT = PriceAdjustmentEvent(0, EX_NS, EX_NS, 0.25, 4.0)


@pytest.fixture
def state():
    return MarketState(straddle_book(), stale_seconds_underlying=5.0, stale_seconds_option=60.0)


def test_a_good_quote_is_kept_and_marks(state):
    assert state.apply_quote(quote(0, 10, 499.99, 500.01))
    assert state.mark(0) == 500.0
    assert state.verdict(0, 10) is QuoteVerdict.GOOD
    assert state.oddities == {}


def test_what_was_never_quoted_is_absent(state):
    assert state.mark(0) is None
    assert state.verdict(0, 10) is QuoteVerdict.ABSENT


@pytest.mark.rows(
    ("bid", "ask", "verdict", "is_good", "mark"),
    [
        (500.0, 500.0, QuoteVerdict.LOCKED, True, 500.0),
        (math.nan, 0.10, QuoteVerdict.ONE_SIDED, False, 499.0),
        (400.0, math.nan, QuoteVerdict.ONE_SIDED, False, 499.0),
        (500.1, 500.0, QuoteVerdict.CROSSED, False, 499.0),
        (-1.0, 500.0, QuoteVerdict.NEGATIVE, False, 499.0),
        (math.inf, 500.0, QuoteVerdict.NON_FINITE, False, 499.0),
    ],
)
def test_odd_quotes_are_counted_and_broken_ones_never_replace_the_last_good_word(
    state, bid, ask, verdict, is_good, mark
):
    state.apply_quote(quote(0, 10, 498.9, 499.1))
    assert state.apply_quote(quote(0, 11, bid, ask)) is is_good
    assert state.oddities == {verdict: 1}
    assert state.mark(0) == pytest.approx(mark)
    numbers, is_kept = np.array([0, -1]), verdict in TRADABLE
    table = state.table(numbers)
    assert [*state.are_fine(table, numbers, 11)] == [is_good or not is_kept, False]
    assert table.ts_event_ns.tolist() == [11 if is_kept else 10, 0]


def test_a_quote_out_of_order_is_counted_and_dropped(state):
    state.apply_quote(quote(0, 20, 499.9, 500.1))
    late = QuoteEvent(0, 19, 30, 100.0, 100.2, 1, 1)
    assert not state.apply_quote(late)
    assert state.mark(0) == 500.0
    assert state.oddities == {QuoteVerdict.OUT_OF_ORDER: 1}
    assert state.apply_quote(QuoteEvent(0, 20, 30, 501.0, 501.2, 1, 1))  # the same instant is in order


def test_the_quotes_in_force_at_some_instants_are_those_at_each(state):
    state.keep_quotes(0)
    for count, at_ns in enumerate((10, 12, 12, 15)):
        state.apply_quote(quote(0, at_ns, 499.0 + count, 501.0 + count))
    stamps = [12, 9, 15, 14, 10, 99]
    found = state.quotes_in_force(0, stamps)
    assert found == [state.quote_in_force(0, at_ns) for at_ns in stamps]
    assert [None if each is None else each.bid for each in found] == [501.0, None, 502.0, 501.0, 499.0, 502.0]
    assert state.quotes_in_force(0, []) == []


@pytest.mark.parametrize(("number", "limit_seconds"), [(0, 5), (1, 60)])
def test_a_quote_goes_stale_by_the_kind_of_its_instrument(state, number, limit_seconds):
    state.apply_quote(quote(number, 0, 1.0, 1.1))
    limit_ns = limit_seconds * NANOS_PER_SECOND
    assert state.verdict(number, limit_ns) is QuoteVerdict.GOOD
    assert state.verdict(number, limit_ns + 1) is QuoteVerdict.STALE
    table = state.table(np.array([number]))
    assert [bool(state.are_fine(table, np.array([number]), limit_ns + late)) for late in (0, 1)] == [
        True,
        False,
    ]


def test_the_other_events_are_kept_where_they_are_asked_for(state):
    bar = BarEvent(0, 60, 60, 60, 1.0, 2.0, 0.5, 1.5, 10.0)
    trade = TradeEvent(0, 1, 1, 1.5, 10.0)
    dividend = DividendEvent(0, 1, 1, 99, Decimal("1.50"))
    forecast = ForecastEvent(0, 1, 1, "har", 5, 0.2, 0.1, 0.3, 0.01, "")
    state.apply_bar(bar)
    state.apply_trade(trade)
    state.apply_open_interest(OpenInterestEvent(1, 1, 1, 250))
    state.apply_rates(RateEvent(1, 1, (10.0, 30.0), (0.02, 0.04)))
    state.apply_dividend(dividend)
    state.apply_forecast(forecast)
    assert state.bars[0] is bar
    assert state.last_trade[0] is trade
    assert state.open_interest == {1: 250}
    assert state.rate_curve.rate_at(20.0) == pytest.approx(0.03)
    assert state.rate_curve.rate_at(1.0) == 0.02
    assert state.rate_curve.rate_at(90.0) == 0.04
    assert state.dividends == [dividend]
    assert state.forecasts == {0: forecast}


def test_a_locked_quote_goes_stale_too(state):
    state.apply_quote(quote(0, 0, 500.0, 500.0))
    assert state.verdict(0, 5 * NANOS_PER_SECOND) is QuoteVerdict.LOCKED
    assert state.verdict(0, 5 * NANOS_PER_SECOND + 1) is QuoteVerdict.STALE


def test_earlier_sessions_are_kept_in_the_order_they_came(state):
    made = [
        SessionBarsEvent(0, end, 99, day, 1, end, 60, (end,), (1.0,), (2.0,), (0.5,), (1.5,), (10.0,))
        for day, end in (("2024-03-04", 60), ("2024-03-05", 90))
    ]
    for event in made:
        state.apply_session_bars(event)
    assert state.earlier_sessions == {0: made}


def test_the_volume_of_a_session_is_that_of_its_bars_or_of_its_prints_never_of_both(state):
    assert state.volume_today(1) is None
    state.apply_trade(TradeEvent(1, 10, 10, 2.0, 30.0))
    state.apply_trade(TradeEvent(1, 11, 11, 2.0, 12.0))
    assert state.volume_today(1) == 42.0
    for end_ns, volume in ((60, 45.0), (120, math.nan), (180, 0.0), (240, 5.0)):
        state.apply_bar(BarEvent(1, end_ns, end_ns, 60, 2.0, 2.0, 2.0, 2.0, volume))
    assert state.volume_today(1) == 50.0
    assert state.volume_today(2) is None
    state.open_session(200)
    assert state.volume_today(1) is None


def test_at_the_open_the_last_price_is_that_of_after_a_split_and_no_other_sessions(state):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    state.apply_adjustment(SPLIT)
    assert state.mark(0) == 500.0  # until the session opens
    for _ in range(2):
        state.open_session(EX_NS)
        assert (state.quotes[0].bid, state.quotes[0].ask, state.quotes[0].ts_event_ns) == (124.75, 125.25, 10)
    state.apply_quote(quote(0, EX_NS + 100, 125.9, 126.1))
    state.open_session(EX_NS + DAY_NS)
    assert state.mark(0) == 126.0


def test_a_split_that_comes_again_counts_once_and_one_of_an_earlier_open_not_at_all(state):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    for known_ns in (EX_NS - 300, EX_NS - 200):  # each morning's list has it, and a restart asks again
        state.apply_adjustment(replace(SPLIT, ts_recv_ns=known_ns))
    state.open_session(EX_NS)
    state.apply_adjustment(replace(SPLIT, ts_recv_ns=EX_NS + 100))
    state.open_session(EX_NS + DAY_NS)
    assert state.mark(0) == 125.0
    assert len(state.adjustments) == 1


def test_a_split_is_taken_by_a_session_that_opens_late_and_by_the_one_after_an_outage(state):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    state.apply_adjustment(SPLIT)
    state.open_session(EX_NS + DAY_NS + 3_600 * 10**9)
    assert state.mark(0) == 125.0
    assert [item.ts_event_ns for item in state.adjustments] == [EX_NS]


def test_a_quote_before_the_open_of_the_ex_date_has_the_new_scale_already(state):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    state.apply_adjustment(SPLIT)
    state.apply_quote(quote(0, EX_NS - 100, 125.9, 126.1))
    state.carry_price(0, 0, 0.25, EX_NS)
    state.open_session(EX_NS)
    assert state.mark(0) == 126.0


@pytest.mark.rows("carried", [(), (1,), (1, 2)])
def test_of_two_splits_in_an_outage_each_counts_once(state, carried):
    """Four for one, then two for one three days later: 500 came to 15.625 in place of 62.5."""
    later = replace(SPLIT, ts_event_ns=EX_NS + 3 * DAY_NS, price_factor=0.5, volume_factor=2.0)
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    for count, item in enumerate((SPLIT, later), start=1):
        state.apply_adjustment(item)
        if count in carried:
            state.carry_price(0, 0, item.price_factor, item.ts_event_ns)
    state.open_session(later.ts_event_ns)
    assert state.mark(0) == 62.5


@pytest.mark.rows("is_carried", ["before", "after", "both"])
def test_a_price_is_carried_across_a_split_once_whoever_comes_first(state, is_carried):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    if is_carried != "after":
        state.carry_price(0, 0, 0.25, EX_NS)
    state.apply_adjustment(SPLIT)
    state.open_session(EX_NS)
    if is_carried != "before":
        state.carry_price(0, 0, 0.25, EX_NS)
    assert state.mark(0) == 125.0


def test_a_special_dividend_lowers_the_last_price_at_the_open(state):
    state.apply_quote(quote(0, 10, 499.0, 501.0))
    state.apply_adjustment(PriceAdjustmentEvent(0, EX_NS, EX_NS, 1.0, 1.0, paid=50.0))
    state.open_session(EX_NS)
    assert state.mark(0) == 450.0


# quotes that were passed over ----------------------------------------

S, SPY = NANOS_PER_SECOND, InstrumentId(0)


def columns_of(waits):
    """Return quotes of one instrument that come so many nanoseconds after each other."""
    count = len(waits)
    bid = 500.0 + 0.01 * np.arange(count)
    return QuoteColumns(
        1 + np.cumsum(waits), np.zeros(count, np.int32), bid, bid + 0.02, np.ones(count), np.ones(count)
    )


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize(
    ("bid", "ask"), [(math.nan, math.nan), (math.nan, 500.0), (500.0, math.nan), (0.0, 0.0), (math.inf,) * 2]
)
def test_a_share_has_no_mark_before_its_first_quote_with_a_price(bid, ask, is_read):
    """A strategy that waits for a mark then compares no strike with NaN, nor with zero."""
    some = columns_of([S] * 3)
    bids, asks = np.array([bid, bid, 500.0]), np.array([ask, ask, 500.02])
    columns = QuoteColumns(some.ts_ns, some.instrument_id, bids, asks, some.bid_size, some.ask_size)
    rows = SessionRows.of(columns, np.zeros(1, np.bool_))
    state = MarketState(Instruments([Equity("SPY")]))
    if is_read:
        state.read(LatestQuotes(1, valid=True))
        state.follow(rows)
    marks = []
    for at in range(len(rows)):
        rows.upto = at + 1
        if not is_read:
            state.apply_quote(rows.quote(at))
        marks.append(state.mark(SPY))
    assert marks == [None, None, 500.01]


@given(st.lists(st.integers(0, 3 * S), min_size=2, max_size=80), st.integers(1, 79), st.booleans())
def test_quotes_in_force_are_found_in_rows_as_among_those_that_were_told(waits, cut, goes_on):
    rows, cut = SessionRows.of(columns_of(waits), np.zeros(1, np.bool_)), min(cut, len(waits) - 1)
    told, read = (MarketState(Instruments([Equity("SPY")])) for _ in range(2))
    read.read(LatestQuotes(1, valid=True))
    read.follow(rows)
    for at in range(len(rows)):
        told.apply_quote(rows.quote(at))
        rows.upto = at + 1
        if at == cut:
            told.keep_quotes(SPY)
            read.keep_quotes(SPY)
    if goes_on:
        read.follow(SessionRows.of(NO_QUOTES, np.zeros(1, np.bool_)))
    stamps = [*range(0, rows.ts_ns(len(rows) - 1) + 2, S // 2)]
    expected = [told.quote_in_force(SPY, at_ns) for at_ns in stamps]
    assert [read.quote_in_force(SPY, at_ns) for at_ns in stamps] == expected
    assert read.quotes_in_force(SPY, stamps) == told.quotes_in_force(SPY, stamps) == expected


@pytest.mark.parametrize("is_read", [False, True])
def test_no_more_quotes_are_kept_than_wanted(is_read):
    rows = SessionRows.of(columns_of([S] * (QUOTES_KEPT + 9)), np.zeros(1, np.bool_))
    state = MarketState(Instruments([Equity("SPY")]))
    if is_read:
        state.read(LatestQuotes(1, valid=True))
        state.follow(rows)
    state.keep_quotes(SPY)
    for at in range(len(rows)):
        rows.upto = at + 1
        if not is_read:
            state.apply_quote(rows.quote(at))
    oldest_ns = rows.ts_ns(9)
    assert state.quote_in_force(SPY, oldest_ns) == rows.quote(9)
    assert state.quote_in_force(SPY, oldest_ns - 1) is None


@pytest.mark.parametrize("number", [0, 1])
def test_a_quote_that_was_old_when_it_came_is_stale_at_once(state, number):
    """Delayed and frozen data are received now, and were made a quarter of an hour or a night ago."""
    now_ns, numbers = DAY_NS, np.array([number])
    for age_seconds, verdict in (
        (900, QuoteVerdict.STALE),
        (61, QuoteVerdict.STALE),
        (60, QuoteVerdict.GOOD),
    ):
        made_ns = now_ns - age_seconds * NANOS_PER_SECOND
        state.apply_quote(QuoteEvent(number, made_ns, now_ns, 1.0, 1.1, 1.0, 1.0))
        assert state.verdict(number, now_ns) is verdict
        is_fine = state.are_fine(state.table(numbers), numbers, now_ns)
        assert is_fine.tolist() == [verdict is QuoteVerdict.GOOD]


def test_an_options_quote_of_another_spot_is_lost_however_late_it_came(state):
    state.apply_quote(QuoteEvent(1, 0, DAY_NS, 1.0, 1.1, 1.0, 1.0))
    state.apply_quote(quote(0, DAY_NS, 499.9, 500.1))
    assert state.is_lost(1)


def test_outdated_quotes_are_marks_and_not_traded_on_until_the_next_one_of_each():
    state = MarketState(straddle_book(500, 505), stale_seconds_underlying=5.0, stale_seconds_option=60.0)
    for number in (0, 1, 2):
        state.apply_quote(quote(number, 10 * NANOS_PER_SECOND, 1.0, 1.1))
    now_ns = 11 * NANOS_PER_SECOND
    state.outdate([0, 1, 3], now_ns)
    verdicts = [state.verdict(number, now_ns) for number in (0, 1, 2, 3)]
    assert verdicts == [QuoteVerdict.STALE, QuoteVerdict.STALE, QuoteVerdict.GOOD, QuoteVerdict.ABSENT]
    assert state.mark(0) == pytest.approx(1.05)
    state.apply_quote(quote(0, now_ns, 2.0, 2.1))
    assert state.verdict(0, now_ns) is QuoteVerdict.GOOD
    assert state.verdict(1, now_ns) is QuoteVerdict.STALE
