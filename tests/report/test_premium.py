"""The combined premium and its means: worked by hand, and against a second sum over the quotes."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import BarEvent, SessionEvent, TradeEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.portfolio.positions import Position
from scalpdesk.report.premium import PremiumFold, held_ratios
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import at, quote

CALL, PUT = InstrumentId(1), InstrumentId(2)
STRADDLE, RATIO = {CALL: 1, PUT: 1}, {CALL: 2, PUT: -3}
OPEN, CLOSE = at("09:30"), at("16:00")


def session(phase):
    ts_ns = OPEN if phase is SessionPhase.OPEN else CLOSE
    return SessionEvent(ts_ns, ts_ns, "2026-03-16", phase, OPEN, CLOSE)


def later(seconds):
    return OPEN + round(seconds * NANOS_PER_SECOND)


@pytest.fixture
def fold():
    found = PremiumFold(straddle_book())
    found.take(session(SessionPhase.OPEN))
    return found


def test_the_mean_by_time_weighs_each_quote_by_how_long_it_stood(fold):
    """The call stands at 3 for 30 s and at 5 for 10 s: 3.50; the put at 2 throughout."""
    fold.quote(quote(1, later(0), 2.9, 3.1))
    fold.quote(quote(2, later(0), 1.9, 2.1))
    fold.quote(quote(1, later(30), 4.9, 5.1))
    found = fold.premium(STRADDLE, later(40))
    assert (found.mid, found.twap) == pytest.approx((7.0, 5.5))
    assert math.isnan(found.vwap)
    assert fold.premium(RATIO, later(40)).twap == pytest.approx(2 * 3.5 - 3 * 2.0)


def test_a_mean_by_volume_needs_trades_of_every_leg(fold):
    """Call: 1 at 3 and 3 at 4, 3.75; put: 2 at 2 and 2 at 3, 2.50."""
    fold.quote(quote(1, later(0), 2.9, 3.1))
    fold.quote(quote(2, later(0), 1.9, 2.1))
    for price, size in ((3.0, 1.0), (4.0, 3.0)):
        fold.take(TradeEvent(CALL, later(1), later(1), price, size))
    assert math.isnan(fold.premium(STRADDLE, later(2)).vwap)
    for price, size in ((2.0, 2.0), (3.0, 2.0), (9.0, 0.0), (math.nan, 5.0)):
        fold.take(TradeEvent(PUT, later(3), later(3), price, size))
    assert fold.premium(STRADDLE, later(4)).vwap == pytest.approx(6.25)


def test_bars_count_where_there_are_no_prints_and_never_beside_them(fold):
    for number in (CALL, PUT):
        fold.take(BarEvent(number, later(60), later(60), 60, 1.0, 5.0, 1.0, 3.0, 10.0))
    assert fold.premium(STRADDLE, later(61)).vwap == pytest.approx(6.0)
    fold.take(TradeEvent(CALL, later(62), later(62), 7.0, 1.0))
    assert fold.premium(STRADDLE, later(63)).vwap == pytest.approx(10.0)


def test_a_missing_side_has_no_mid_and_its_time_does_not_count(fold):
    fold.quote(quote(1, later(0), 1.0, 3.0))
    fold.quote(quote(2, later(0), 1.0, 1.0))
    fold.quote(quote(1, later(10), math.nan, 3.0))
    assert math.isnan(fold.premium(STRADDLE, later(50)).mid)
    assert fold.premium(STRADDLE, later(50)).twap == pytest.approx(3.0)
    fold.quote(quote(1, later(90), 5.0, 7.0))
    assert fold.premium(STRADDLE, later(100)).twap == pytest.approx(4.0 + 1.0)


def test_a_session_begins_anew_and_nothing_counts_after_its_close(fold):
    fold.quote(quote(1, later(0), 3.0, 3.0))
    fold.quote(quote(2, later(0), 2.0, 2.0))
    fold.take(session(SessionPhase.CLOSE))
    fold.quote(quote(1, CLOSE + 1, 90.0, 90.0))
    assert fold.premium(STRADDLE, CLOSE + 10**12).twap == pytest.approx(5.0)
    fold.take(session(SessionPhase.OPEN))
    assert all(math.isnan(each) for each in fold.premium(STRADDLE, later(1)))


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.sampled_from([1, 2]), st.integers(1, 900)), min_size=1),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)
def test_the_means_are_those_of_a_second_by_second_sum(steps, ratios):
    fold = PremiumFold(straddle_book())
    fold.take(session(SessionPhase.OPEN))
    steps = [(0, 1, 100), (0, 2, 200), *sorted(steps, key=lambda step: step[0])]
    for second, number, cents in steps:
        fold.quote(quote(number, later(second), cents / 100, cents / 100))
    until = steps[-1][0] + 5
    expected = 0.0
    for second in range(until):
        for number, ratio in zip((1, 2), ratios, strict=True):
            standing = [cents for came, of, cents in steps if of == number and came <= second][-1]
            expected += ratio * standing / 100 / until
    found = fold.premium({CALL: ratios[0], PUT: ratios[1]}, later(until))
    assert found.twap == pytest.approx(expected, abs=1e-9)


def held(book, *quantities):
    return [
        Position(InstrumentId(number), book[InstrumentId(number)], quantity=Decimal(quantity))
        for number, quantity in enumerate(quantities)
        if quantity
    ]


def test_one_set_has_the_ratios_in_lowest_terms_and_no_shares():
    book = straddle_book()
    assert held_ratios(held(book, 100, 6, -9)) == {CALL: 2, PUT: -3}
    assert held_ratios(held(book, 100, "0.5", "0.5")) == STRADDLE
    assert held_ratios(held(book, 100, 0, 0)) == {}


def test_options_of_two_underlyings_have_no_premium_in_common():
    book = straddle_book()
    both = [*book, *list(straddle_book(symbol="QQQ"))]
    for each in both[3:]:
        book.add(each)
    assert held_ratios(held(book, 0, 1, 0, 0, 1)) is None
