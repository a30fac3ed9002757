"""The divided book: who a change of the account concerns, and what each has earned."""

from decimal import Decimal

import pytest

from fakes.instruments import straddle_book
from fakes.tape import quote
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.sub_books import UNASSIGNED, SubBooks

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OPEN, HEDGE, CLOSE = Purpose.OPEN, Purpose.HEDGE, Purpose.CLOSE


def make(**fractions: str) -> SubBooks:
    """Return books over a share at 500.00 and an option at 10.00, begun with 100,000."""
    book = straddle_book()
    state = MarketState(book)
    state.apply_quote(quote(0, 1, 499.99, 500.01))
    state.apply_quote(quote(1, 1, 9.95, 10.05))
    shares = {name: D(one) for name, one in (fractions or {"a": "0.5", "b": "0.3"}).items()}
    books = SubBooks(book, state, DeltaEngine(book, state, ContractPricer()), SHARE, shares)
    books.begin(1, D(100_000))
    return books


def trade(books: SubBooks, owner: str, number: int, signed: int, purpose: Purpose = OPEN) -> None:
    """Book an execution at the mark, without a fee."""
    count = sum(len(one.positions._bookings) for one in books.books.values())
    price = D(500) if number == SHARE else D(10)
    books.book_fill(owner, InstrumentId(number), D(signed), price, D(0), f"x{count}", purpose, 2)


def change(
    cause: str, number: int, units: int, cash: str = "0", price: str = "0", reference: str = ""
) -> PositionChanged:
    """Return a change of the account that no order caused."""
    return PositionChanged(
        InstrumentId(number), 3, 3, ChangeCause(cause), D(units), D(price), D(cash), reference or cause
    )


def held(books: SubBooks, number: int) -> dict[str, int]:
    """Return the units that each holds."""
    return {name: int(one.quantity(InstrumentId(number))) for name, one in books.books.items()}


def cash(books: SubBooks) -> dict[str, Decimal]:
    """Return each one's cash."""
    return {name: one.account.cash for name, one in books.books.items()}


def test_the_equity_is_divided_and_the_rest_is_nobodys():
    assert cash(make()) == {"a": D(50_000), "b": D(30_000), UNASSIGNED: D(20_000)}


def test_a_later_start_leaves_what_is_the_strategies_own():
    books = make()
    trade(books, "a", SHARE, 10)
    books.begin(5, D(95_500))  # the venue says 500 more than the desk had
    assert cash(books) == {"a": D(45_000), "b": D(30_000), UNASSIGNED: D(20_500)}


@pytest.mark.parametrize("wrong", [{"a": "0"}, {"a": "0.6", "b": "0.5"}, {"a": "-0.1"}])
def test_shares_of_the_equity_must_be_such(wrong):
    with pytest.raises(ArgumentError, match="budgets"):
        make(**wrong)


def test_who_adopts_must_be_one_of_the_strategies():
    book = straddle_book()
    state = MarketState(book)
    with pytest.raises(ArgumentError, match="no such strategy") as refused:
        SubBooks(book, state, DeltaEngine(book, state, ContractPricer()), SHARE, {"a": D(1)}, adopts="c")
    assert refused.value.value == "c"


def test_an_expiry_of_everything_ends_each_ones_own():
    books = make()
    trade(books, "a", CALL, 5)
    trade(books, "b", CALL, -2)
    before = cash(books)
    books.book_change(change("cash_settlement", CALL, -3, "3600", "12"))
    assert held(books, CALL) == {"a": 0, "b": 0, UNASSIGNED: 0}
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D(6_000), "b": D(-2_400), UNASSIGNED: 0}


def test_delivered_shares_follow_the_options():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, 1)
    trade(books, "b", SHARE, -50, HEDGE)
    before = cash(books)
    books.book_change(change("exercise", CALL, -3))
    books.book_change(change("delivery", SHARE, 300, "-147000", "490"))
    assert held(books, SHARE) == {"a": 200, "b": 50, UNASSIGNED: 0}
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D(-98_000), "b": D(-49_000), UNASSIGNED: 0}


def test_an_assignment_of_a_part_is_taken_in_order():
    books = make()
    trade(books, "a", CALL, -1)
    trade(books, "b", CALL, -3)
    books.book_change(change("assignment", CALL, 2))
    assert held(books, CALL) == {"a": 0, "b": -2, UNASSIGNED: 0}
    books.book_change(change("delivery", SHARE, -200, "98000", "490"))
    assert held(books, SHARE) == {"a": -100, "b": -100, UNASSIGNED: 0}


def test_a_dividend_follows_the_holdings_of_either_sign():
    books = make()
    trade(books, "a", SHARE, 100)
    trade(books, "b", SHARE, -40, HEDGE)
    before = cash(books)
    books.book_change(change("dividend", SHARE, 0, "60"))
    assert {name: one - before[name] for name, one in cash(books).items()} == {
        "a": D(100),
        "b": D(-40),
        UNASSIGNED: D(0),
    }
    books.mark(4)
    assert books.of("a").attribution.totals["carry"] == 100


def test_interest_a_hand_trade_and_a_transfer_are_nobodys():
    books = make()
    trade(books, "a", SHARE, 100)
    books.book_change(change("interest", SHARE, 0, "5"))
    books.book_change(change("manual_trade", SHARE, 10, "-5000", "500"))
    books.book_change(change("transfer", SHARE, 0, "1000"))
    assert held(books, SHARE) == {"a": 100, "b": 0, UNASSIGNED: 10}
    assert cash(books)[UNASSIGNED] == D(20_000) + 5 - 5_000 + 1_000
    assert books.of(UNASSIGNED).attribution.nav_change == 5  # what was brought in is no gain


def test_a_hand_trade_that_sells_is_taken_from_the_holders():
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "b", SHARE, 10)
    books.book_change(change("manual_trade", SHARE, -15, "7500", "500"))
    assert held(books, SHARE) == {"a": 0, "b": 5, UNASSIGNED: 0}
    assert books.opened_value("b") == 2_500


def test_a_hand_trade_beyond_all_holdings_of_its_side_is_taken_from_the_last():
    books = make()
    trade(books, "a", SHARE, -4)
    trade(books, "b", SHARE, 10)
    books.book_change(change("manual_trade", SHARE, -12, "6000", "500"))
    assert held(books, SHARE) == {"a": -4, "b": -2, UNASSIGNED: 0}


def test_a_cross_moves_units_and_cash_and_counts_what_it_opens():
    books = make()
    trade(books, "a", SHARE, 10)
    books.cross(("b", OPEN), ("a", CLOSE), SHARE, D(4), D("500.005"), "c1", 3)
    assert held(books, SHARE) == {"a": 6, "b": 4, UNASSIGNED: 0}
    assert (books.opened_value("a"), books.opened_value("b")) == (3_000, 2_000)
    with pytest.raises(ArgumentError, match="two strategies"):
        books.cross(("a", OPEN), ("a", CLOSE), SHARE, D(4), D(500), "c2", 3)


def test_a_bust_gives_back_what_it_opened():
    books = make()
    trade(books, "a", SHARE, 10)
    books.book_bust("a", "x0", OPEN, 4)
    assert (held(books, SHARE)["a"], books.opened_value("a")) == (0, 0)
    assert cash(books)["a"] == 50_000


def test_a_bust_of_the_closing_execution_counts_the_trade_once_and_gives_its_fee_back():
    books = make()
    trade(books, "a", SHARE, 10)
    books.book_fill("a", SHARE, D(-10), D(499), D("0.50"), "y1", CLOSE, 4)
    trades = books.of("a").closed_trades
    assert trades.losses_in_a_row == 1
    books.book_bust("a", "y1", CLOSE, 5)
    assert (trades.losses_in_a_row, cash(books)["a"]) == (0, 45_000)
    books.book_fill("a", SHARE, D(-10), D(499), D("0.50"), "y2", CLOSE, 6)
    assert (trades.losses_in_a_row, cash(books)["a"]) == (1, D("49989.50"))


def test_losing_round_trips_are_counted_one_by_one():
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "b", SHARE, 10)
    books.book_fill("a", SHARE, D(-10), D(500), D("0.50"), "y1", CLOSE, 4)  # the fee makes it a loss
    assert [books.of(name).closed_trades.losses_in_a_row for name in ("a", "b")] == [1, 0]
    trade(books, "a", SHARE, 10)
    trade(books, "a", SHARE, -10, CLOSE)  # of exactly zero: neither
    assert books.of("a").closed_trades.losses_in_a_row == 1
    trade(books, "a", SHARE, 10)
    books.book_change(change("cash_settlement", SHARE, -20, "10020", "501"))
    assert books.of("a").closed_trades.losses_in_a_row == 0
    books.book_fill("b", SHARE, D(1), D(501), D(0), "y2", OPEN, 4)
    books.book_fill("b", SHARE, D(-1), D(500), D(0), "y3", CLOSE, 4)
    assert books.of("b").closed_trades.losses_in_a_row == 1
    books.new_session()
    assert books.of("b").closed_trades.losses_in_a_row == 0


def test_totals_in_cents_sum_to_the_account_where_a_book_ends_on_half_a_cent():
    books = make()
    trade(books, "a", SHARE, 1)
    trade(books, "b", SHARE, 1)
    books.book_fill("a", SHARE, D(-1), D("500.005"), D(0), "y1", CLOSE, 3)
    books.book_fill("b", SHARE, D(-1), D("500.005"), D(0), "y2", CLOSE, 3)
    books.mark(4)
    explained = books.explained(D("0.01"))
    assert sum(row["total"] for row in explained.values()) == D("0.01")
    for row in explained.values():
        assert sum(amount for name, amount in row.items() if name != "total") == row["total"]


def test_several_exercises_may_come_before_their_deliveries():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", PUT, 3)
    before = cash(books)
    for one in (
        change("exercise", CALL, -2, reference="e1"),
        change("exercise", PUT, -3, reference="e2"),
        change("delivery", SHARE, 200, "-100000", "500", "d1"),
        change("delivery", SHARE, -300, "150000", "500", "d2"),
    ):
        books.book_change(one)
    assert held(books, SHARE) == {"a": 200, "b": -300, UNASSIGNED: 0}
    gained = {name: one - before[name] for name, one in cash(books).items()}
    assert gained == {"a": D(-100_000), "b": D(150_000), UNASSIGNED: D(0)}


def test_deliveries_may_come_in_another_order_than_their_exercises():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", PUT, 3)
    for one in (
        change("exercise", CALL, -2, reference="e1"),
        change("exercise", PUT, -3, reference="e2"),
        change("delivery", SHARE, -300, "150000", "500", "d2"),
        change("delivery", SHARE, 200, "-100000", "500", "d1"),
    ):
        books.book_change(one)
    assert held(books, SHARE) == {"a": 200, "b": -300, UNASSIGNED: 0}


def test_a_delivery_that_fits_no_exercise_follows_the_oldest_one():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", PUT, 3)
    for one in (
        change("exercise", CALL, -2, reference="e1"),
        change("exercise", PUT, -3, reference="e2"),
        change("delivery", SHARE, 20, "-10000", "500", "adjusted"),
    ):
        books.book_change(one)
    assert held(books, SHARE) == {"a": 20, "b": 0, UNASSIGNED: 0}


@pytest.mark.parametrize(("units", "left"), [(120, (200, 40)), (-60, (50, 10))])
def test_a_split_changes_everybodys_shares_alike(units, left):
    books = make()
    trade(books, "a", SHARE, 100)
    trade(books, "b", SHARE, 20)
    books.book_change(change("corporate_action", SHARE, units))
    assert held(books, SHARE) == {"a": left[0], "b": left[1], UNASSIGNED: 0}
