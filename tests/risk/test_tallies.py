from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import Side
from scalpdesk.risk.counters import MINUTE_NS, OrderCounters

S = 10**9
FLAT, LONG = Decimal(0), Decimal(5)


@given(st.lists(st.integers(0, 200 * S), max_size=60), st.lists(st.integers(0, 200 * S), max_size=60))
def test_orders_and_cancels_of_a_minute_are_counted_exactly(orders, cancels):
    tallies = OrderCounters()
    now = 200 * S
    for at in sorted(orders):
        tallies.note_order(at)
    for at in sorted(cancels):
        tallies.note_cancel(at)
    recent = sum(at > now - MINUTE_NS for at in orders)
    assert tallies.orders_last_minute(now) == recent
    assert tallies.cancels_last_minute(now) == sum(at > now - MINUTE_NS for at in cancels)


def test_executions_in_a_row_are_counted_by_side_and_instrument():
    tallies = OrderCounters()
    note = tallies.note_execution
    assert [note(at * S, 0, Side.BUY, LONG)[0] for at in (0, 1, 2)] == [1, 2, 3]
    assert note(3 * S, 1, Side.BUY, LONG)[0] == 1
    assert note(4 * S, 0, Side.SELL, LONG)[0] == 1
    assert note(5 * S, 0, Side.BUY, LONG)[0] == 1
    assert note(64 * S, 0, Side.BUY, LONG)[0] == 2
    assert note(65 * S, 0, Side.BUY, LONG)[0] == 2  # the first of them is a minute old


def test_departures_from_flat_are_counted_whatever_the_side():
    tallies = OrderCounters()
    note = tallies.note_execution
    assert note(0, 0, Side.BUY, FLAT)[1] == 1
    assert note(1 * S, 0, Side.SELL, LONG)[1] == 1
    assert note(2 * S, 0, Side.SELL, FLAT)[1] == 2
    assert note(3 * S, 1, Side.SELL, FLAT)[1] == 1
    assert note(60 * S, 0, Side.BUY, FLAT)[1] == 2
    tallies.forgive()
    assert note(61 * S, 0, Side.BUY, FLAT) == (1, 1)


def test_sizes_are_summed_by_kind_within_the_window():
    tallies = OrderCounters(size_window_seconds=20.0)
    tallies.note_order(0, Decimal(3), is_option=True)
    tallies.note_order(10 * S, Decimal(50))
    tallies.note_order(15 * S)  # an exit: counted as an order, not as a size
    assert tallies.ordered_lately(20 * S - 1, options=True) == 3
    assert tallies.ordered_lately(20 * S, options=True) == 0
    assert tallies.ordered_lately(20 * S, options=False) == 50
    assert tallies.orders_last_minute(20 * S) == 3


@given(st.lists(st.tuples(st.integers(0, 100 * S), st.integers(1, 1000)), max_size=40))
def test_a_moving_sum_is_what_adding_up_gives(entries):
    tallies = OrderCounters(size_window_seconds=30.0)
    for at, quantity in sorted(entries):
        tallies.note_order(at, Decimal(quantity))
    wanted = sum(quantity for at, quantity in entries if at > 70 * S)
    assert tallies.ordered_lately(100 * S, options=False) == wanted


def test_a_share_of_refusals_needs_ten_answers():
    tallies = OrderCounters(reject_window_seconds=60.0)
    for count in range(9):
        tallies.note_answer(count * S, refused=count < 3)
    assert tallies.refused_share(9 * S) is None
    tallies.note_answer(9 * S, refused=False)
    assert tallies.refused_share(9 * S) == 0.3
    assert tallies.refused_share(60 * S) is None  # the first is gone: nine are left
