from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import Side
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.risk.counters import FEWEST_ANSWERS, MOST_KEPT, OrderCounters

S = 10**9
FLAT, LONG = Decimal(0), Decimal(5)


@given(st.lists(st.integers(0, 200 * S), max_size=60), st.lists(st.integers(0, 200 * S), max_size=60))
def test_orders_and_cancels_of_a_minute_are_counted_exactly(orders, cancels):
    counters = OrderCounters()
    now = 200 * S
    for at in sorted(orders):
        counters.note_order(at)
    for at in sorted(cancels):
        counters.note_cancel(at)
    recent = sum(at > now - MINUTE_NS for at in orders)
    counters.advance(now)
    assert len(counters.orders_ns) == recent
    assert len(counters.cancels_ns) == sum(at > now - MINUTE_NS for at in cancels)


def test_executions_in_a_row_are_counted_by_side_and_instrument():
    counters = OrderCounters()
    note = counters.note_execution
    assert [note(at * S, 0, Side.BUY, LONG)[0] for at in (0, 1, 2)] == [1, 2, 3]
    assert note(3 * S, 1, Side.BUY, LONG)[0] == 1
    assert note(4 * S, 0, Side.SELL, LONG)[0] == 1
    assert note(5 * S, 0, Side.BUY, LONG)[0] == 1
    assert note(64 * S, 0, Side.BUY, LONG)[0] == 2
    assert note(65 * S, 0, Side.BUY, LONG)[0] == 2  # the first of them is a minute old


def test_departures_from_flat_are_counted_whatever_the_side():
    counters = OrderCounters()
    note = counters.note_execution
    assert note(0, 0, Side.BUY, FLAT)[1] == 1
    assert note(1 * S, 0, Side.SELL, LONG)[1] == 1
    assert note(2 * S, 0, Side.SELL, FLAT)[1] == 2
    assert note(3 * S, 1, Side.SELL, FLAT)[1] == 1
    assert note(60 * S, 0, Side.BUY, FLAT)[1] == 2
    counters.forget_executions()
    assert note(61 * S, 0, Side.BUY, FLAT) == (1, 1)


def test_sizes_are_summed_by_kind_within_the_window():
    counters = OrderCounters(size_window_seconds=20.0)
    counters.note_order(0, Decimal(3), is_option=True)
    counters.note_order(10 * S, Decimal(50))
    counters.note_order(15 * S)  # an exit: counted as an order, not as a size
    counters.advance(20 * S - 1)
    assert counters.contracts == 3
    counters.advance(20 * S)
    assert (counters.contracts, counters.shares, len(counters.orders_ns)) == (0, 50, 3)


@given(st.lists(st.tuples(st.integers(0, 100 * S), st.integers(1, 1000)), max_size=40))
def test_a_moving_sum_is_what_adding_up_gives(entries):
    counters = OrderCounters(size_window_seconds=30.0)
    for at, quantity in sorted(entries):
        counters.note_order(at, Decimal(quantity))
    wanted = sum(quantity for at, quantity in entries if at > 70 * S)
    counters.advance(100 * S)
    assert counters.shares == wanted


def test_a_share_of_refusals_needs_ten_answers():
    counters = OrderCounters(reject_window_seconds=60.0)
    for count in range(9):
        counters.note_answer(count * S, rejected=count < 3)
    counters.advance(9 * S)
    assert counters.rejected_fraction() is None
    counters.note_answer(9 * S, rejected=False)
    counters.advance(9 * S)
    assert counters.rejected_fraction() == 0.3
    counters.advance(60 * S)
    assert counters.rejected_fraction() is None  # the first is gone: nine are left


def test_what_has_left_its_window_is_not_kept_without_end():
    counters = OrderCounters()
    for at in range(5_000):
        counters.note_order(at * S, FLAT)
        counters.note_cancel(at * S)
    assert max(len(counters.orders_ns), len(counters.cancels_ns)) <= MOST_KEPT


def test_the_fraction_of_rejections_is_of_the_answers_within_the_window():
    counters = OrderCounters(reject_window_seconds=20.0)
    answers = [True, True, False, True] + [False] * (FEWEST_ANSWERS - 5)
    for at, rejected in enumerate(answers):
        counters.note_answer(at * S, rejected=rejected)
    assert counters.rejected_fraction() is None  # one answer too few
    counters.note_answer(len(answers) * S, rejected=False)
    assert counters.rejected_fraction() == 3 / FEWEST_ANSWERS
    for at in (18, 19):
        counters.note_answer(at * S, rejected=False)
    counters.advance(20 * S)  # the first answer, a rejection, has left
    assert counters.rejected_fraction() == 2 / (FEWEST_ANSWERS + 1)
    counters.advance(21 * S)
    assert counters.rejected_fraction() == 1 / FEWEST_ANSWERS


def test_counts_are_cleared_of_what_is_old_once_there_are_many():
    counters = OrderCounters()
    for note, kept in (
        (counters.note_order, counters.orders_ns),
        (counters.note_cancel, counters.cancels_ns),
    ):
        for _ in range(MOST_KEPT):
            note(0)
        assert len(kept) == MOST_KEPT
        note(MINUTE_NS)
        assert list(kept) == [MINUTE_NS]
