from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import PositionChanged
from scalpdesk.instruments.contract import Equity
from scalpdesk.portfolio.positions import ClosedTrades, FifoLots, Position, PositionManager
from scalpdesk_testing.kit.bookings import apply_change, booked
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
HUNDRED = Equity("SPY", multiplier=100)
TRADES = st.lists(
    st.tuples(
        st.integers(-50, 50).filter(bool).map(Decimal),
        st.integers(1, 100_000).map(lambda cents: Decimal(cents) / 100),
    ),
    max_size=30,
)


def test_a_trade_through_zero_realizes_the_old_and_opens_the_new_at_its_price():
    position = Position(0, Equity("SPY"), D(10), D(100))
    position.apply(D(-15), D(101))
    assert (position.quantity, position.average_price, position.realized) == (D(-5), D(101), D(10))
    position.apply(D(8), D(100))
    assert (position.quantity, position.average_price, position.realized) == (D(3), D(100), D(15))


@given(TRADES)
def test_when_the_average_price_is_read_changes_nothing(trades):
    read, unread = Position(0, HUNDRED), Position(0, HUNDRED)
    for quantity, price in trades:
        unread.apply(quantity, price)
        read.apply(quantity, price)
        assert read.average_price >= 0
    assert (unread.quantity, unread.average_price, unread.realized) == (
        read.quantity,
        read.average_price,
        read.realized,
    )


@given(TRADES, st.integers(1, 100_000))
def test_realized_and_open_profit_sum_to_what_cash_and_mark_say(trades, mark_cents):
    mark = D(mark_cents) / 100
    position, cash = Position(0, HUNDRED), D(0)
    for quantity, price in trades:
        position.apply(quantity, price)
        cash -= quantity * price * 100
    by_cash = cash + position.quantity * mark * 100
    by_book = position.realized + position.quantity * (mark - position.average_price) * 100
    # the average price is a quotient: 28 digits, so a millionth of a cent on a book of this size
    assert abs(by_cash - by_book) < D("1e-8")
    assert position.quantity == sum((quantity for quantity, _ in trades), D(0))


@given(TRADES, st.integers(1, 100_000))
def test_lots_first_in_first_out_conserve_cash_exactly(trades, mark_cents):
    mark = D(mark_cents) / 100
    lots, cash = FifoLots(), D(0)
    for quantity, price in trades:
        lots.add(quantity, price)
        cash -= quantity * price
    position = sum((quantity for quantity, _ in trades), D(0))
    if position:  # all of it closed at the mark: nothing is left, long or short
        lots.add(-position, mark)
    assert lots.realized == cash + position * mark
    lots.add(D(1), mark)
    assert lots.realized == cash + position * mark


def test_lots_are_closed_in_the_order_in_which_they_came():
    lots = FifoLots()
    totals = []
    for quantity, price in ((10, 100), (5, 101), (-12, 102), (-5, 100), (2, 90)):
        lots.add(D(quantity), D(price))
        totals.append(lots.realized)
    assert totals == [0, 0, 22, 19, 39]  # of the -5 3 close the lot at 101, 2 are short at 100


def test_a_trade_after_a_split_that_is_taken_back_leaves_the_lots_of_the_split():
    lots = FifoLots()
    lots.add(D(10), D(10))
    lots.rescale(D(2), D("0.5"))
    lots.add(D(-5), D(6))
    assert lots.realized == 5
    lots.take_back(D(-5), D(6))
    lots.add(D(-20), D(7))
    assert lots.realized == 40


def test_of_equal_trades_the_latest_is_taken_back():
    """Two bought at 10, two at 20, two sold at 30 and two bought at 10 again, which is taken back."""
    position = Position(0, Equity("SPY"))
    for quantity, price in ((2, 10), (2, 20), (-2, 30), (2, 10)):
        position.apply(D(quantity), D(price))
    position.take_back(D(2), D(10))
    assert (position.quantity, position.average_price, position.realized) == (D(2), D(15), D(30))


@given(TRADES)
def test_lots_give_the_same_sum_however_often_it_is_read(trades):
    once, often = FifoLots(), FifoLots()
    for quantity, price in trades:
        once.add(quantity, price)
        often.add(quantity, price)
        assert often.realized == often.realized
    assert once.realized == often.realized


@pytest.fixture
def manager():
    return PositionManager(straddle_book())


def test_a_fill_is_booked_with_the_instruments_multiplier(manager):
    assert booked(manager, 1, D(2), D("5.00"), "a/x1", fee=D("0.10")).realized == 0
    assert booked(manager, 1, D(-2), D("5.50"), "a/x2", fee=D("0.20")).realized == 100
    position = manager.positions[1]
    assert (position.realized, position.fees, position.multiplier) == (D(100), D("0.30"), 100)


def test_one_execution_is_booked_once(manager):
    booked(manager, 0, D(10), D(500), "a/x1")
    assert manager.already_applied("a/x1")
    with pytest.raises(InvariantError, match="twice") as caught:
        booked(manager, 0, D(10), D(500), "a/x1")
    assert caught.value.value == "a/x1"
    assert manager.quantity(0) == 10


def test_a_change_of_cash_alone_is_remembered(manager):
    assert not manager.already_applied("dividend-1")
    apply_change(manager, PositionChanged(0, 1, 1, ChangeCause.DIVIDEND, D(0), D(0), D(5), "dividend-1"))
    assert manager.already_applied("dividend-1")
    with pytest.raises(InvariantError, match="twice") as caught:
        apply_change(manager, PositionChanged(0, 1, 1, ChangeCause.DIVIDEND, D(0), D(0), D(5), "dividend-1"))
    assert caught.value.value == "dividend-1"


def test_an_execution_from_before_a_split_is_taken_back_by_the_opposite_trade(manager):
    """10 of 20 at 5 after the split leave at the 10 that were paid: 50 is realised, to the lots too."""
    booked(manager, 0, D(10), D(10), "a/x1")
    apply_change(
        manager, PositionChanged(0, 1, 1, ChangeCause.CORPORATE_ACTION, D(10), D(0), D(0), "split", 0)
    )
    manager.take_back("a/x1")
    position = manager.positions[0]
    assert (position.quantity, position.average_price, position.realized) == (10, 5, 50)
    assert manager.scalps[0].realized == 50


def test_what_is_forgotten_stays_in_the_sums_and_is_not_undone(manager):
    booked(manager, 0, D(10), D(100), "a")
    booked(manager, 0, D(10), D(110), "b")
    manager.forget(["a", "never booked"])
    assert [manager.already_applied(name) for name in "ab"] == [False, True]
    position, lots = manager.positions[0], manager.scalps[0]
    assert (position.quantity, position.average_price, position.realized, lots.realized) == (20, 105, 0, 0)
    booked(manager, 0, D(5), D(120), "c")
    manager.take_back("c")  # came after: as if it had never been
    assert (position.quantity, position.average_price, position.realized, lots.realized) == (20, 105, 0, 0)
    manager.take_back("b")  # no trade of its own any more: sold again at its price
    assert (position.quantity, position.average_price, position.realized, lots.realized) == (10, 105, 50, 100)


def test_what_is_held_comes_in_the_order_in_which_it_was_taken(manager):
    booked(manager, 2, D(1), D(5), "r1")
    booked(manager, 0, D(-7), D(500), "r2")
    booked(manager, 1, D(1), D(5), "r3")
    booked(manager, 2, D(-1), D(5), "r4")
    assert [position.instrument_id for position in manager.held()] == [0, 1]
    assert [manager.quantity(number) for number in range(3)] == [D(-7), D(1), D(0)]


def test_scalps_are_counted_for_shares_and_not_for_options(manager):
    booked(manager, 0, D(-10), D(500), "r1")
    booked(manager, 0, D(10), D(499), "r2")
    booked(manager, 1, D(1), D(5), "r3")
    assert {number: lots.realized for number, lots in manager.scalps.items()} == {0: D(10)}


@given(TRADES.filter(lambda trades: trades and len(set(trades)) == len(trades)), st.data())
def test_taking_a_booking_back_leaves_the_book_as_if_it_had_never_been(trades, data):
    busted = data.draw(st.integers(0, len(trades) - 1))
    book, other = PositionManager(straddle_book()), PositionManager(straddle_book())
    for index, (quantity, price) in enumerate(trades):
        booked(book, 0, quantity, price, f"x{index}", fee=D(index))
        if data.draw(st.booleans()):
            assert book.positions[0].realized + book.scalps[0].realized is not None  # read or not
        if index != busted:
            booked(other, 0, quantity, price, f"x{index}", fee=D(index))
    taken = book.take_back(f"x{busted}")
    assert (taken.instrument_id, taken.units, taken.price, -taken.income) == (0, *trades[busted], busted)
    assert book.quantity(0) == other.quantity(0)
    if len(trades) > 1:
        (one, two) = (each.positions[0] for each in (book, other))
        assert (one.average_price, one.realized, one.fees) == (two.average_price, two.realized, two.fees)
        assert book.scalps[0].realized == other.scalps[0].realized
    with pytest.raises(InvariantError, match="take back"):
        book.take_back(f"x{busted}")
    assert book.already_applied(f"x{busted}")


@given(st.lists(st.integers(-3, 3), max_size=6), st.integers(-3, 3), st.integers(-3, 3))
def test_a_closing_that_is_taken_back_counts_for_nothing(before, busted, again):
    trades, cash = ClosedTrades(D(100)), D(100)
    other = ClosedTrades(D(100))
    for pnl in before:
        cash += pnl
        trades.close(cash)
        other.close(cash)
    trades.close(cash + busted)
    trades.reopen()
    for one in (trades, other):
        one.close(cash + again)
    assert (trades.losses_in_a_row, trades.start_cash) == (other.losses_in_a_row, other.start_cash)


def test_cash_that_the_owner_brings_moves_the_start_also_of_a_trade_that_is_reopened():
    trades = ClosedTrades(D(100))
    trades.close(D(90))
    trades.move_cash(D(7))
    assert (trades.start_cash, trades.losses_in_a_row) == (97, 1)
    trades.reopen()
    assert (trades.start_cash, trades.losses_in_a_row) == (107, 0)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(sorted(ChangeCause)),
        st.integers(-50, 50).map(Decimal),
        st.integers(0, 10_000).map(lambda cents: Decimal(cents) / 100),
        st.integers(-10_000, 10_000).map(Decimal),
    ),
    max_size=8,
)


@given(trades=TRADES, changes=CHANGES, mark=st.integers(0, 10_000).map(lambda cents: Decimal(cents) / 100))
def test_profit_is_cash_and_worth_without_what_the_owner_and_the_broker_move(trades, changes, mark):
    """The second way: what the position paid and brought in, and what is left at the mark.

    It is asked after each booking at one mark, whose profit is kept.
    """
    manager = PositionManager(straddle_book())
    cash = D(0)

    def has_that_profit():
        worth = manager.quantity(1) * mark * 100
        return manager.positions[1].profit(mark) == pytest.approx(cash + worth, abs=D("0.000001"))

    for count, (quantity, price) in enumerate(trades):
        booked(manager, 1, quantity, price, f"trade-{count}", fee=D("0.10"))
        cash -= quantity * price * 100 + D("0.10")
        assert has_that_profit()
    for count, (cause, quantity, price, paid) in enumerate(changes):
        is_known = 1 in manager.positions
        change = PositionChanged(1, 1, 1, cause, quantity, price, paid, f"change-{count}")
        apply_change(manager, change)
        if cause is ChangeCause.TRANSFER:
            cash -= quantity * price * 100  # units come and go at their price, cash is the owner's
        elif quantity or (cause in (ChangeCause.DIVIDEND, ChangeCause.FUNDING) and is_known):
            cash += paid
        assert 1 not in manager.positions or has_that_profit()


def test_profit_at_the_same_mark_falls_by_a_fee_without_a_trade():
    manager, mark = PositionManager(straddle_book()), D("2.10")
    position = booked(manager, 1, D(3), D(2), "trade", fee=D(1))
    assert position.profit(mark) == 29
    position.fees += D(4)
    assert position.profit(mark) == 25
