"""The divided book: who a change of the account concerns, and what each has earned."""

from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import PositionChanged, PriceAdjustmentEvent
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.postings import UNASSIGNED, Posting, of_change
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk_testing.kit.bookings import book_bust, book_change, book_fill
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OPEN, HEDGE, CLOSE = Purpose.OPEN, Purpose.HEDGE, Purpose.CLOSE


class MarketedBooks(SubBooks):
    """Books with the market at which they are valued."""

    def __init__(self, book: Instruments, market: MarketState, *terms: Any, **more: Any) -> None:
        super().__init__(book, market, *terms, **more)
        self.market = market
        self.names = count()


def make(**fractions: str) -> MarketedBooks:
    """Return books over a share at 500.00 and an option at 10.00, begun with 100,000."""
    book = straddle_book()
    state = MarketState(book)
    state.apply_quote(quote(0, 1, 499.99, 500.01))
    state.apply_quote(quote(1, 1, 9.95, 10.05))
    shares = {name: D(one) for name, one in (fractions or {"a": "0.5", "b": "0.3"}).items()}
    books = MarketedBooks(book, state, DeltaEngine(book, state, ContractPricer()), SHARE, shares)
    books.begin(1, D(100_000))
    return books


def trade(books: MarketedBooks, owner: str, number: int, signed: int, purpose: Purpose = OPEN) -> None:
    """Book an execution at the mark, without a fee."""
    price = D(500) if number == SHARE else D(10)
    book_fill(books, owner, InstrumentId(number), D(signed), price, D(0), f"x{next(books.names)}", purpose, 2)


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


def test_a_later_start_leaves_what_is_the_strategies_own():
    books = make()
    trade(books, "a", SHARE, 10)
    books.begin(5, D(95_500))  # the venue says 500 more than the desk had
    assert cash(books) == {"a": D(45_000), "b": D(30_000), UNASSIGNED: D(20_500)}


@pytest.mark.rows("wrong", [{"a": "0"}, {"a": "0.6", "b": "0.5"}, {"a": "-0.1"}])
def test_shares_of_the_equity_must_be_such(wrong):
    with pytest.raises(ArgumentError, match="budgets"):
        make(**wrong)


def test_who_adopts_must_be_one_of_the_strategies():
    book = straddle_book()
    state = MarketState(book)
    with pytest.raises(ArgumentError, match="no such strategy") as refused:
        SubBooks(book, state, DeltaEngine(book, state, ContractPricer()), SHARE, {"a": D(1)}, adopts=("c",))
    assert refused.value.value == "c"


def test_an_expiry_of_everything_ends_each_ones_own():
    books = make()
    trade(books, "a", CALL, 5)
    trade(books, "b", CALL, -2)
    before = cash(books)
    book_change(books, change("cash_settlement", CALL, -3, "3600", "12"))
    assert held(books, CALL) == {"a": 0, "b": 0, UNASSIGNED: 0}
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D(6_000), "b": D(-2_400), UNASSIGNED: 0}


def test_delivered_shares_follow_the_options():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, 1)
    trade(books, "b", SHARE, -50, HEDGE)
    before = cash(books)
    book_change(books, change("exercise", CALL, -3))
    book_change(books, change("delivery", SHARE, 300, "-147000", "490"))
    assert held(books, SHARE) == {"a": 200, "b": 50, UNASSIGNED: 0}
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D(-98_000), "b": D(-49_000), UNASSIGNED: 0}


def test_an_assignment_of_a_part_is_taken_in_order():
    books = make()
    trade(books, "a", CALL, -1)
    trade(books, "b", CALL, -3)
    book_change(books, change("assignment", CALL, 2))
    assert held(books, CALL) == {"a": 0, "b": -2, UNASSIGNED: 0}
    book_change(books, change("delivery", SHARE, -200, "98000", "490"))
    assert held(books, SHARE) == {"a": -100, "b": -100, UNASSIGNED: 0}


def test_a_dividend_follows_the_holdings_of_either_sign():
    books = make()
    trade(books, "a", SHARE, 100)
    trade(books, "b", SHARE, -40, HEDGE)
    before = cash(books)
    book_change(books, change("dividend", SHARE, 0, "60"))
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
    book_change(books, change("interest", SHARE, 0, "5"))
    book_change(books, change("manual_trade", SHARE, 10, "-5000", "500"))
    book_change(books, change("transfer", SHARE, 0, "1000"))
    assert held(books, SHARE) == {"a": 100, "b": 0, UNASSIGNED: 10}
    assert cash(books)[UNASSIGNED] == D(20_000) + 5 - 5_000 + 1_000
    assert books.of(UNASSIGNED).attribution.nav_change == 5  # what was brought in is no gain


def test_a_bust_of_the_closing_execution_counts_the_trade_once_and_gives_its_fee_back():
    books = make()
    trade(books, "a", SHARE, 10)
    book_fill(books, "a", SHARE, D(-10), D(499), D("0.50"), "y1", CLOSE, 4)
    trades = books.of("a").closed_trades
    assert trades.losses_in_a_row == 1
    book_bust(books, "a", "y1", 5)
    assert (trades.losses_in_a_row, cash(books)["a"]) == (0, 45_000)
    book_fill(books, "a", SHARE, D(-10), D(499), D("0.50"), "y2", CLOSE, 6)
    assert (trades.losses_in_a_row, cash(books)["a"]) == (1, D("49989.50"))


def test_a_bust_that_leaves_a_book_flat_ends_its_round_trip():
    """Five of ten were sold for 50 dollars less, and the bust says that the other five were never bought."""
    books = make()
    trade(books, "a", SHARE, 5)
    trade(books, "a", SHARE, 5)
    book_fill(books, "a", SHARE, D(-5), D(490), D(0), "y1", CLOSE, 3)
    trades = books.of("a").closed_trades
    assert trades.losses_in_a_row == 0  # it is still on
    book_bust(books, "a", "x1", 4)
    assert (held(books, SHARE)["a"], trades.losses_in_a_row) == (0, 1)
    assert (trades.start_cash, cash(books)["a"]) == (49_950, 49_950)


def test_losing_round_trips_are_counted_one_by_one():
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "b", SHARE, 10)
    book_fill(books, "a", SHARE, D(-10), D(500), D("0.50"), "y1", CLOSE, 4)  # the fee makes it a loss
    assert [books.of(name).closed_trades.losses_in_a_row for name in ("a", "b")] == [1, 0]
    trade(books, "a", SHARE, 10)
    trade(books, "a", SHARE, -10, CLOSE)  # of exactly zero: neither
    assert books.of("a").closed_trades.losses_in_a_row == 1
    trade(books, "a", SHARE, 10)
    book_change(books, change("cash_settlement", SHARE, -20, "10020", "501"))
    assert books.of("a").closed_trades.losses_in_a_row == 0
    book_fill(books, "b", SHARE, D(1), D(501), D(0), "y2", OPEN, 4)
    book_fill(books, "b", SHARE, D(-1), D(500), D(0), "y3", CLOSE, 4)
    assert books.of("b").closed_trades.losses_in_a_row == 1
    books.new_session()
    assert books.of("b").closed_trades.losses_in_a_row == 0


def test_totals_in_cents_sum_to_the_account_where_a_book_ends_on_half_a_cent():
    books = make()
    trade(books, "a", SHARE, 1)
    trade(books, "b", SHARE, 1)
    book_fill(books, "a", SHARE, D(-1), D("500.005"), D(0), "y1", CLOSE, 3)
    book_fill(books, "b", SHARE, D(-1), D("500.005"), D(0), "y2", CLOSE, 3)
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
        book_change(books, one)
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
        book_change(books, one)
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
        book_change(books, one)
    assert held(books, SHARE) == {"a": 20, "b": 0, UNASSIGNED: 0}


@pytest.mark.rows(
    ("bought", "units", "price", "left"),
    [((10, 20), -20, 1500, (3, 7)), ((3, 5), 2, 400, (4, 6)), ((-5, -4), 6, 1500, (-2, -1))],
)
def test_a_split_leaves_each_book_whole_shares_and_its_worth(bought, units, price, left):
    """Books of 10 and 20 shares had 3.333 and 6.667 after one for three: no venue takes such an order."""
    books = make()
    for owner, signed in zip(("a", "b"), bought, strict=True):
        trade(books, owner, SHARE, signed)
    worth = {name: books.nav(name) for name in books.books}
    books.market.apply_quote(quote(SHARE, 3, float(price), float(price)))
    book_change(books, change("corporate_action", SHARE, units))
    quantities = {name: one.quantity(SHARE) for name, one in books.books.items()}
    assert quantities == {"a": left[0], "b": left[1], UNASSIGNED: 0}
    assert (books.of("a").opened[SHARE], books.of("b").opened[SHARE]) == left
    assert sum(cash(books).values()) == 100_000 - 500 * sum(bought)
    for name, before in worth.items():
        assert books.nav(name) == pytest.approx(before, abs=D("1e-5"))
        assert books.of(name).attribution.totals["carry"] == pytest.approx(0, abs=D("1e-5"))


def test_the_fee_of_a_delivery_follows_the_holdings():
    """Three calls bought at 10.00 pay 12.00 each, less 0.90 for all of them."""
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, 1)
    book_change(books, change("cash_settlement", CALL, -3, "3599.10", "12"))
    for name, fee in (("a", D("-0.6")), ("b", D("-0.3"))):
        book = books.of(name)
        units = fee / D("-0.3")
        assert book.positions.positions[CALL].profit(D(12)) == 200 * units + fee
        assert book.attribution.totals["carry"] == fee
    assert books.of(UNASSIGNED).attribution.totals["carry"] == 0


# starts, sizes and signs ----------------------------------------------------------------------------


def adopted(adopts, owner=""):
    """Return books that began with ten shares of the account, bought at 490, in the book of ``adopts``."""
    book = straddle_book()
    state = MarketState(book)
    state.apply_quote(quote(0, 1, 499.99, 500.01))
    fractions = {"a": D("0.5"), "b": D("0.3")}
    books = MarketedBooks(
        book, state, DeltaEngine(book, state, ContractPricer()), SHARE, fractions, adopts=adopts
    )
    books.adopt(Posting(owner, SHARE, D(10), D(490), D(0), D(0), ChangeCause.TRANSFER, "start", 1))
    books.begin(1, D(95_000))
    return books


@pytest.mark.rows(
    ("adopts", "owner", "holder"),
    [
        (("b",), "", "b"),
        ((), "", UNASSIGNED),
        (("b",), "a", "a"),
        (("b",), "gone", UNASSIGNED),
    ],
)
def test_what_the_account_holds_at_the_start_belongs_to_who_adopts_it(adopts, owner, holder):
    """5,000 of the equity of 100,000 are shares: their holder has so much less of it in cash."""
    books = adopted(adopts, owner)
    assert held(books, SHARE) == {"a": 0, "b": 0, UNASSIGNED: 0} | {holder: 10}
    expected = {"a": D(50_000), "b": D(30_000), UNASSIGNED: D(20_000)}
    expected[holder] -= 5_000
    assert cash(books) == expected
    assert {name: books.nav(name) for name in books.books} == {"a": 50_000, "b": 30_000, UNASSIGNED: 20_000}
    assert books.of(holder).positions.positions[SHARE].average_price == 490
    assert books.of("a").closed_trades.start_cash == 50_000
    assert books.opened_value(holder) == 0  # what was there before uses no budget


def test_each_book_has_its_name_and_strangers_the_unassigned_one():
    books = make()
    assert [book.name for book in books.books.values()] == ["a", "b", UNASSIGNED]
    assert books.of("stranger") is books.of(UNASSIGNED) is books.books[UNASSIGNED]
    assert (books.most_losses_in_a_row, books.largest_order_shares, books.largest_order_contracts) == (
        None,
        None,
        None,
    )
    assert books.fractions == {"a": D("0.5"), "b": D("0.3")}


def test_all_of_the_equity_may_be_given_away_to_the_cent():
    books = make(a="0.333333", b="0.666667")
    assert cash(books) == {"a": D("33333.30"), "b": D("66666.70"), UNASSIGNED: 0}
    with pytest.raises(ArgumentError, match="budgets"):
        make(a="0.333334", b="0.666667")


@pytest.mark.rows(
    ("trades", "opened"),
    [
        ([(10, OPEN)], 10),
        ([(10, OPEN), (5, OPEN)], 15),
        ([(10, OPEN), (-4, CLOSE)], 6),
        ([(10, OPEN), (-10, CLOSE)], 0),
        ([(10, OPEN), (-14, CLOSE)], 0),
        ([(10, OPEN), (3, CLOSE)], 10),
        ([(1, OPEN), (-1, CLOSE)], 0),
        ([(1, OPEN), (1, CLOSE)], 1),
        ([(3, OPEN), (-2, CLOSE)], 1),
        ([(-3, OPEN), (1, CLOSE)], -2),
        ([(-3, OPEN), (2, CLOSE)], -1),
        ([(-1, OPEN), (2, CLOSE)], 0),
        ([(-10, OPEN), (4, CLOSE)], -6),
        ([(-10, OPEN), (14, CLOSE)], 0),
        ([(10, OPEN), (-4, HEDGE)], 10),
        ([(7, HEDGE)], 0),
        ([(7, CLOSE)], 0),
    ],
)
def test_the_budget_is_used_by_what_was_opened_and_not_closed(trades, opened):
    books = make()
    for signed, purpose in trades:
        trade(books, "a", SHARE, signed, purpose)
    assert books.of("a").opened.get(SHARE, 0) == opened
    assert books.opened_value("a") == abs(opened) * 500


def test_the_value_of_what_was_opened_counts_contracts_at_their_mark():
    books = make()
    trade(books, "a", CALL, -2)
    trade(books, "a", SHARE, 3)
    assert books.opened_value("a") == 2 * 100 * 10 + 3 * 500
    assert books.nav("a") == 50_000


def test_a_fee_is_the_owners_cost_and_given_back_with_a_bust():
    books = make()
    book_fill(books, "a", CALL, D(2), D(10), D("1.30"), "y1", OPEN, 2)
    book = books.of("a")
    book.mark(3)
    assert (book.account.cash, book.attribution.totals["fees"]) == (D("47998.70"), D("-1.30"))
    book_bust(books, "a", "y1", 4)
    book.mark(5)
    assert (book.account.cash, book.attribution.totals["fees"], book.opened[CALL]) == (50_000, 0, 0)
    assert book.attribution.nav_change == 0
    assert sum(book.attribution.totals.values()) == 0


def test_a_bust_of_a_hedge_leaves_the_budget_as_it_is():
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "a", SHARE, -4, HEDGE)
    book_bust(books, "a", "x1", 4)
    assert (books.of("a").opened[SHARE], held(books, SHARE)["a"]) == (10, 10)


# changes of the account -----------------------------------------------------------------------------


@pytest.mark.rows(
    ("trades", "units", "left"),
    [
        ({"a": 10, "b": 5}, 3, {"a": 10, "b": 5, UNASSIGNED: 3}),  # more of the same side
        ({"a": -10, "b": -5}, -3, {"a": -10, "b": -5, UNASSIGNED: -3}),
        ({"a": -10, "b": -5}, 12, {"a": 0, "b": -3, UNASSIGNED: 0}),
        ({"a": 10, "b": -10}, 4, {"a": 10, "b": -10, UNASSIGNED: 4}),  # flat together
        ({"a": 10, "b": -4}, -6, {"a": 0, "b": 0, UNASSIGNED: 0}),  # the end of the whole holding
        ({"a": 10, "b": -4}, -3, {"a": 7, "b": -4, UNASSIGNED: 0}),
        ({}, -3, {"a": 0, "b": 0, UNASSIGNED: -3}),
        ({"a": 3, "b": -2}, -2, {"a": 1, "b": -2, UNASSIGNED: 0}),  # one share together
        ({"a": -3}, 1, {"a": -2, "b": 0, UNASSIGNED: 0}),
        ({"a": 1}, 1, {"a": 1, "b": 0, UNASSIGNED: 1}),
        ({"a": 10, "b": 10}, -15, {"a": 0, "b": 5, UNASSIGNED: 0}),
        ({"a": -4, "b": 10}, -12, {"a": -4, "b": -2, UNASSIGNED: 0}),  # beyond all holdings of its side
    ],
)
def test_a_hand_trade_is_taken_from_the_holders_of_the_other_side(trades, units, left):
    books = make()
    for owner, signed in trades.items():
        trade(books, owner, SHARE, signed)
    book_change(books, change("manual_trade", SHARE, units, str(-500 * units), "500"))
    assert held(books, SHARE) == left
    assert sum(cash(books).values()) + 500 * sum(left.values()) == 100_000


def test_cash_of_a_change_is_divided_to_a_millionth_and_the_last_gets_the_rest():
    books = make(a="0.3", b="0.3", c="0.3")
    for owner in "abc":
        trade(books, owner, SHARE, 1)
    before = cash(books)
    book_change(books, change("dividend", SHARE, 0, "1"))
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D("0.333333"), "b": D("0.333333"), "c": D("0.333334"), UNASSIGNED: 0}


def test_a_dividend_on_nothing_and_on_a_flat_account_is_nobodys():
    books = make()
    book_change(books, change("dividend", SHARE, 0, "7", reference="d1"))
    trade(books, "a", SHARE, 10)
    trade(books, "b", SHARE, -10)
    book_change(books, change("dividend", SHARE, 0, "3", reference="d2"))
    assert cash(books)[UNASSIGNED] == 20_010
    assert (cash(books)["a"], cash(books)["b"]) == (45_000, 35_000)


def test_shares_that_the_owner_brings_are_no_gain_and_move_no_round_trip():
    books = make()
    book_change(books, change("transfer", SHARE, 4, "0", "500"))
    unassigned = books.of(UNASSIGNED)
    assert held(books, SHARE) == {"a": 0, "b": 0, UNASSIGNED: 4}
    assert (unassigned.attribution.nav_change, unassigned.attribution.nav) == (0, 22_000)
    book_change(books, change("transfer", SHARE, 0, "1000", reference="t2"))
    assert unassigned.closed_trades.start_cash == 21_000
    assert unassigned.closed_trades.losses_in_a_row == 0


def test_a_dividend_is_carry_and_a_hand_trade_is_not():
    books = make()
    trade(books, "a", SHARE, 10)
    book_change(books, change("dividend", SHARE, 0, "5"))
    book_change(books, change("manual_trade", SHARE, -10, "5000", "500"))
    totals = books.of("a").attribution.totals
    assert (totals["carry"], books.of("a").attribution.nav_change) == (5, 5)
    assert books.of("a").closed_trades.losses_in_a_row == 0
    assert books.of("a").closed_trades.start_cash == 50_005  # a round trip ended


def test_a_split_changes_the_opened_units_alike():
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "a", SHARE, 10, HEDGE)
    book_change(books, change("corporate_action", SHARE, 20))
    assert (held(books, SHARE)["a"], books.of("a").opened[SHARE]) == (40, 20)


def test_an_exercise_of_a_part_lowers_what_was_opened_and_no_further_than_to_nothing():
    books = make()
    trade(books, "a", CALL, 3)
    trade(books, "a", CALL, 2, HEDGE)
    book_change(books, change("exercise", CALL, -1))
    assert (held(books, CALL)["a"], books.of("a").opened[CALL]) == (4, 2)
    book_change(books, change("exercise", CALL, -3, reference="e2"))
    assert (held(books, CALL)["a"], books.of("a").opened[CALL]) == (1, 0)


def test_a_delivery_without_an_exercise_is_nobodys():
    books = make()
    book_change(books, change("delivery", SHARE, 100, "-50000", "500"))
    assert held(books, SHARE) == {"a": 0, "b": 0, UNASSIGNED: 100}


# totals ---------------------------------------------------------------------------------------------


def test_what_rounding_leaves_goes_to_the_unassigned_book_only_if_that_changed():
    books = make()
    trade(books, "a", SHARE, 1)
    book_fill(books, "a", SHARE, D(-1), D("502"), D(0), "y1", CLOSE, 3)
    books.mark(4)
    plain = books.explained(D("2.01"))
    assert (plain["a"]["total"], plain["b"]["total"], plain[UNASSIGNED]["total"]) == (D("2.01"), 0, 0)
    assert plain["a"]["residual"] == D("0.01")
    book_change(books, change("interest", SHARE, 0, "5"))
    books.mark(5)
    changed = books.explained(D("7.01"))
    assert (changed["a"]["total"], changed[UNASSIGNED]["total"]) == (2, D("5.01"))
    assert changed[UNASSIGNED]["residual"] == D("0.01")


# what is explained from a booking on ------------------------------------------------------------------


def moved(books: MarketedBooks, share: float, now_ns: int = 9) -> dict[str, Decimal]:
    """Return the parts of the first book since its last mark, with the share at another price."""
    books.market.apply_quote(quote(0, now_ns, share - 0.01, share + 0.01))
    totals = dict(books.of("a").attribution.totals)
    books.mark(now_ns)
    return {
        name: amount - totals[name]
        for name, amount in books.of("a").attribution.totals.items()
        if amount != totals[name]
    }


def test_shares_earn_from_their_execution_on():
    books = make()
    trade(books, "a", SHARE, 10)
    assert moved(books, 502.0) == {"delta": 20}
    trade(books, "b", SHARE, 10)
    assert moved(books, 503.0, 11) == {"delta": 10}


def test_what_was_held_has_earned_until_an_execution_and_until_a_bust():
    books = make()
    trade(books, "a", SHARE, 10)
    books.market.apply_quote(quote(0, 5, 500.99, 501.01))
    book_fill(books, "a", SHARE, D(4), D(501), D(0), "later", HEDGE, 5)
    assert books.of("a").attribution.totals["delta"] == 10
    books.market.apply_quote(quote(0, 6, 502.99, 503.01))
    book_bust(books, "a", "later", 6)
    assert books.of("a").attribution.totals["delta"] == 10 + 14 * 2
    assert books.of("a").attribution.totals["residual"] == 0
    # what four had earned goes with them
    assert moved(books, 504.0) == {"delta": 10, "slippage": D("-7.96"), "spread": D("-0.04")}


def test_shares_that_a_hand_trade_takes_away_earn_nothing_more():
    books = make()
    trade(books, "a", SHARE, 10)
    book_change(books, change("manual_trade", SHARE, -6, "3000", "500"))
    assert moved(books, 502.0) == {"delta": 8}


def test_shares_that_were_split_earn_on_their_new_number():
    books = make()
    trade(books, "a", SHARE, 10)
    book_change(books, change("corporate_action", SHARE, 10))
    assert moved(books, 501.0) == {"delta": 20}


def test_a_split_and_a_delivery_of_three_books_reach_each_by_its_part():
    books = make(a="0.3", b="0.3", c="0.3")
    for owner, signed in (("a", 10), ("b", 20), ("c", 30)):
        trade(books, owner, SHARE, signed)
    book_change(books, change("corporate_action", SHARE, 60))
    assert held(books, SHARE) == {"a": 20, "b": 40, "c": 60, UNASSIGNED: 0}
    for owner, signed in (("a", 1), ("b", 2), ("c", 1)):
        trade(books, owner, CALL, signed)
    book_change(books, change("exercise", CALL, -4))
    book_change(books, change("delivery", SHARE, 400, "-200000", "500"))
    assert held(books, SHARE) == {"a": 120, "b": 240, "c": 160, UNASSIGNED: 0}


# options that books hold against each other, and the account does not


def expire(books: MarketedBooks, share: float) -> list[tuple[str, str, int, Decimal]]:
    """End the options at a level; return owner, cause, units and cash of each change."""
    contract = books.instruments[CALL]
    at_ns = expiry_instant_ns(contract)
    books.market.apply_quote(quote(SHARE, at_ns, share, share))
    assert books.settle_offset_options(at_ns - 1) == []
    done = books.settle_offset_options(at_ns)
    assert books.settle_offset_options(at_ns) == []
    return [(one.owner, str(one.cause), int(one.units), one.cash) for one in done]


def test_shares_that_books_hold_against_each_other_pay_the_dividend_and_split_alike():
    """The account holds nothing, so no venue reports anything; the dividend is income of each position."""
    books = make()
    trade(books, "a", SHARE, 10)
    trade(books, "b", SHARE, -10)
    before = cash(books)
    books.carry_offset_shares(5, 5, ())
    ex = [PriceAdjustmentEvent(SHARE, 9, 9, 1.0, 1.0, 0.6), PriceAdjustmentEvent(SHARE, 9, 9, 0.5, 2.0)]
    books.carry_offset_shares(9, 9, ex)
    assert held(books, SHARE) == {"a": 20, "b": -20, UNASSIGNED: 0}
    assert {name: one - before[name] for name, one in cash(books).items()} == {"a": 6, "b": -6, UNASSIGNED: 0}
    assert [books.of(name).positions.positions[SHARE].income for name in "ab"] == [6, -6]
    assert [(one.owner, one.units, one.cash) for one in books.changes] == [
        ("a", 0, 6),
        ("a", 10, 0),
        ("b", 0, -6),
        ("b", -10, 0),
    ]


def test_what_the_account_does_not_hold_is_exercised_and_assigned_to_each():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, -2)
    before = cash(books)
    assert expire(books, 512.0) == [
        ("a", "exercise", -2, D(0)),
        ("a", "delivery", 200, D(-100_000)),
        ("b", "assignment", 2, D(0)),
        ("b", "delivery", -200, D(100_000)),
    ]
    assert held(books, CALL) == {"a": 0, "b": 0, UNASSIGNED: 0}
    assert held(books, SHARE) == {"a": 200, "b": -200, UNASSIGNED: 0}
    gained = {name: one - before[name] for name, one in cash(books).items()}
    assert gained == {"a": -100_000, "b": 100_000, UNASSIGNED: 0}
    assert (books.nav("a"), books.nav("b")) == (50_000 + 400, 30_000 - 400)
    assert [books.of(name).opened.get(CALL) for name in "ab"] == [0, 0]


def test_a_tenth_of_a_cent_in_the_money_lapses_for_each():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, -2)
    assert expire(books, 500.001) == [
        ("a", "expired_worthless", -2, D(0)),
        ("b", "expired_worthless", 2, D(0)),
    ]
    assert (books.nav("a"), books.nav("b")) == (48_000, 32_000)
    assert books.of("a").closed_trades.losses_in_a_row == 1


def test_what_the_account_holds_a_part_of_is_left_to_the_venue():
    books = make()
    trade(books, "a", CALL, 2)
    trade(books, "b", CALL, -1)
    assert expire(books, 512.0) == []
    assert held(books, CALL) == {"a": 2, "b": -1, UNASSIGNED: 0}
    book_change(books, change("exercise", CALL, -1))
    book_change(books, change("delivery", SHARE, 100, "-50000", "500"))
    assert held(books, CALL) == {"a": 0, "b": 0, UNASSIGNED: 0}
    assert held(books, SHARE) == {"a": 200, "b": -100, UNASSIGNED: 0}


def test_an_option_in_coin_pays_each_in_coin_and_the_sum_is_nothing():
    """A third of the payoff has no end: what is rounded off at two of the holders is the third's."""
    books = make_coin(a="0.25", b="0.25", c="0.25")
    for owner, units in (("a", 2), ("b", -1), ("c", -1)):
        book_fill(books, owner, CALL, D(units), D("0.05"), D(0), owner, OPEN, 2)
    done = expire(books, 75_000.0)
    assert [(owner, cause) for owner, cause, _, _ in done] == [(name, "cash_settlement") for name in "abc"]
    assert [paid for _, _, _, paid in done] == [D("0.66666667"), D("-0.33333333"), D("-0.33333334")]
    assert sum(cash(books).values()) == D("0.015")


# a desk in coin


def make_coin(**fractions: str) -> SubBooks:
    """Return books over a perpetual of 10 dollars at 50,000 and an option in coin, begun with 0.015 BTC."""
    book = Instruments([perpetual("BTC"), deribit_option("BTC-19APR24-50000-C")])
    state = MarketState(book)
    state.apply_quote(quote(0, 1, 49_999.5, 50_000.5))
    state.apply_quote(quote(1, 1, 0.0495, 0.0505))
    shares = {name: D(one) for name, one in fractions.items()}
    books = MarketedBooks(book, state, DeltaEngine(book, state, ContractPricer()), SHARE, shares)
    books.begin(1, D("0.015"))
    return books


def test_an_inverse_contract_is_booked_as_the_dollars_that_it_is():
    """A purchase of 1,000 contracts of 10 dollars at 50,000 took 50,000,000 BTC from the strategy's cash."""
    books = make_coin(a="0.5", b="0.25")
    assert cash(books) == {"a": D("0.0075"), "b": D("0.00375"), UNASSIGNED: D("0.00375")}
    book_fill(books, "a", SHARE, D(1_000), D(50_000), D("0.0001"), "x1", HEDGE, 2)
    assert books.of("a").account.cash == D("0.0075") + D("0.2") - D("0.0001")
    assert books.nav("a") == D("0.0074")
    book_fill(books, "a", SHARE, D(-1_000), D(40_000), D(0), "x2", CLOSE, 3)
    book_fill(books, "b", SHARE, D(1_000), D(40_000), D(0), "x3", OPEN, 3)
    assert books.nav("a") == D("0.0074") + D("0.2") - D("0.25")
    assert books.nav("b") == D("0.00375") + D("0.25") - D("0.2")
    assert books.opened_value("b") == D("0.2")
    book_bust(books, "b", "x3", 4)
    assert (books.nav("b"), books.of("b").quantity(SHARE)) == (D("0.00375"), 0)


@pytest.mark.rows(
    ("units", "price", "coin"),
    [(100, "50000", "0"), (-100, "50000", "0"), (100, "40000", "0.5"), (0, "0", "1")],
)
def test_a_transfer_of_inverse_contracts_is_no_gain_in_desk_or_books(units, price, coin):
    """A hundred contracts of 10 dollars are 0.02 BTC at 50,000, and counted as five million."""
    books = make_coin(a="0.5", b="0.25")
    moved = change("transfer", SHARE, units, coin, price)
    worth = D(coin) - (D(units) * 10 / D(price) if units else 0)
    assert of_change(perpetual("BTC"), moved).income == worth
    book_change(books, moved)
    found = books.of(UNASSIGNED).attribution
    found.mark(4)
    paid = units * 10 * (1 / D(price) - D("0.00002")) if units else 0
    assert abs(found.nav_change - paid) < D("1e-12")


def test_funding_goes_with_the_perpetuals_of_each():
    books = make_coin(a="0.5", b="0.25")
    for owner, units in (("a", 600), ("b", -200)):
        book_fill(books, owner, SHARE, D(units), D(50_000), D(0), owner, HEDGE, 2)
    before = cash(books)
    book_change(books, change("funding", SHARE, 0, "-0.00000003"))
    paid = {name: one - before[name] for name, one in cash(books).items()}
    assert paid == {"a": D("-0.00000004"), "b": D("0.00000001"), UNASSIGNED: 0}
    assert books.of("a").attribution.nav_change == D("-0.00000004")


def test_the_rows_of_a_coin_desk_sum_to_the_account_in_its_own_unit():
    books = make_coin(a="0.5", b="0.25")
    book_fill(books, "a", SHARE, D(1_000), D(50_000), D("0.000012345"), "x1", HEDGE, 2)
    books.mark(3)
    rows = books.explained(D("-0.000012345"))
    assert rows["a"]["total"] == D("-0.00001235")
    assert sum(row["total"] for row in rows.values()) == D("-0.00001235")
