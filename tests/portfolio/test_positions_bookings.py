"""Bookings of a position beside plain trades: inverse contracts, units without a trade, conversions, sums."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import (
    MOST_PRICES,
    Account,
    ClosedTrades,
    FifoLots,
    Position,
    PositionManager,
    earned,
    earned_since,
    exact_price,
    net_asset_value,
)
from scalpdesk_testing.kit.bookings import apply_change, booked
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
HUNDRED = Equity("SPY", multiplier=100)


def test_the_float_of_the_quantity_follows_each_booking():
    position = Position(0, HUNDRED, D(3), D(2))
    seen = [position.float_quantity]
    position.apply(D("0.5"), D(2))
    seen.append(position.float_quantity)
    position.adjust(D(-1))
    seen.append(position.float_quantity)
    position.apply(D(4), D(5))
    position.take_back(D(4), D(5))
    seen.append(position.float_quantity)
    assert seen == [3.0, 3.5, 2.5, 2.5]
    assert position.quantity == D("2.5")


def test_a_position_begins_with_its_quantity_and_average_and_nothing_earned():
    position = Position(7, HUNDRED, D(3), D(2))
    assert (position.instrument_id, position.multiplier) == (7, 100)
    assert (position.fees, position.income, position.realized) == (0, 0, 0)
    assert (position.average_price, position.cost) == (2, 600)
    assert position.profit(D(2)) == 0
    empty = Position(7, HUNDRED)
    assert (empty.quantity, empty.average_price, empty.cost, empty.profit(D(9))) == (0, 0, 0, 0)
    short = Position(0, HUNDRED, D(-3), D(2))
    assert (short.cost, short.value(D(3)), short.profit(D(3))) == (-600, -900, -300)


def test_units_that_come_with_their_cost_change_the_average_and_realise_nothing():
    position = Position(0, HUNDRED)
    position.apply(D(4), D(5))
    position.apply(D(-2), D(6))
    position.adjust(D(2), D(1_400))
    assert (position.quantity, position.cost, position.average_price) == (4, 2_400, 6)
    assert position.realized == 200
    position.adjust(D(4))
    assert (position.average_price, position.realized) == (3, 200)
    position.apply(D(-8), D(4))
    assert (position.realized, position.cost) == (1_000, 0)
    position.take_back(D(-8), D(4))
    assert (position.quantity, position.average_price, position.realized) == (8, 3, 200)


def test_the_latest_of_equal_trades_is_taken_back_and_an_unknown_one_turned_round():
    position = Position(0, Equity("SPY"))
    for quantity, price in ((10, 100), (-10, 101), (10, 100)):
        position.apply(D(quantity), D(price))
    position.take_back(D(10), D(100))
    assert (position.quantity, position.realized) == (0, 10)
    position.take_back(D(3), D(99))
    assert (position.quantity, position.average_price) == (-3, 99)


@pytest.mark.rows(
    ("trades", "quantity", "average", "realized"),
    [
        ([(4, 100), (-5, 110)], -1, 110, 40),
        ([(4, 100), (-4, 110)], 0, 0, 40),
        ([(4, 100), (-3, 110)], 1, 100, 30),
        ([(-4, 100), (5, 90)], 1, 90, 40),
        ([(-4, 100), (1, 90)], -3, 100, 10),
        ([(4, 100), (4, 110), (-2, 120)], 6, 105, 30),
    ],
)
def test_average_cost_of_trades_that_reduce_close_and_turn(trades, quantity, average, realized):
    position = Position(0, Equity("SPY"))
    for signed, price in trades:
        position.apply(D(signed), D(price))
    assert (position.quantity, position.average_price, position.realized) == (quantity, average, realized)


# inverse contracts ----------------------------------------------------------------------------------


def test_an_inverse_contract_is_worth_its_dollars_in_coin():
    """100 contracts of 10 dollars bought at 50,000 are 0.02 coin; at 62,500 they are 0.016."""
    position = Position(0, perpetual("BTC"))
    position.apply(D(100), D(50_000))
    assert (position.cost, position.average_price) == (D("-0.02"), 50_000)
    assert position.value(D(62_500)) == D("-0.016")
    assert position.profit(D(62_500)) == D("0.004")
    position.apply(D(-50), D(62_500))
    assert (position.realized, position.average_price) == (D("0.002"), 50_000)
    position.apply(D(50), D(100_000))
    assert position.average_price == D(1_000) / D("0.015")  # the harmonic mean
    position.apply(D(-100), D(100_000))
    assert (position.value(D(1)), position.average_price, position.cost) == (0, 0, 0)


def test_the_book_of_inverse_contracts_counts_its_lots_in_coin():
    manager = PositionManager(Instruments([perpetual("BTC")]))
    booked(manager, 0, D(100), D(50_000), "a", fee=D("0.0001"))
    booked(manager, 0, D(-100), D(62_500), "b")
    position = manager.positions[0]
    assert (position.realized, manager.scalps[0].realized) == (D("0.004"), D("0.004"))
    manager.take_back("b")
    assert (manager.quantity(0), manager.scalps[0].realized, position.realized) == (100, 0, 0)
    change = PositionChanged(0, 1, 1, ChangeCause.MANUAL_TRADE, D(100), D(62_500), D("-0.016"), "c")
    apply_change(manager, change)
    assert position.income == D("-0.032")  # the cash that came beside the coin of the exchange
    assert position.quantity == 200


def test_inverse_contracts_that_a_person_bought_are_a_lot_at_their_cost_in_coin():
    """The desk's own fill has always been such a lot; a change was one at its price in dollars."""
    manager = PositionManager(Instruments([perpetual("BTC")]))
    bought = PositionChanged(0, 1, 1, ChangeCause.MANUAL_TRADE, D(100), D(50_000), D("0.02"), "by-hand")
    apply_change(manager, bought)
    booked(manager, 0, D(-100), D(62_500), "b")
    assert manager.scalps[0].realized == manager.positions[0].realized == D("0.004")


def test_funding_is_income_and_other_cash_is_not():
    manager = PositionManager(Instruments([perpetual("BTC")]))
    booked(manager, 0, D(100), D(50_000), "a")
    for count, cause in enumerate((ChangeCause.FUNDING, ChangeCause.DIVIDEND, ChangeCause.INTEREST)):
        apply_change(manager, PositionChanged(0, 1, 1, cause, D(0), D(0), D("0.5"), f"c{count}"))
    assert manager.positions[0].income == 1
    apply_change(manager, PositionChanged(5, 1, 1, ChangeCause.FUNDING, D(0), D(0), D(1), "nobody's"))
    assert list(manager.positions) == [0]


# changes without an order ---------------------------------------------------------------------------


@pytest.fixture
def two():
    """Return the book of two shares: ten of the first, bought at 100."""
    manager = PositionManager(Instruments([Equity("OLD"), Equity("NEW")]))
    booked(manager, InstrumentId(0), D(10), D(100), "a")
    return manager


def conversion(units, source_units, fraction, number=1, cash=0):
    return PositionChanged(
        InstrumentId(number),
        1,
        1,
        ChangeCause.CORPORATE_ACTION,
        D(units),
        D(0),
        D(cash),
        "conversion",
        source=InstrumentId(0),
        source_change=D(source_units),
        cost_fraction=D(fraction),
    )


def test_a_spin_off_takes_its_part_of_the_cost_along(two):
    apply_change(two, conversion(5, 0, "0.2"))
    old, new = two.positions[0], two.positions[1]
    assert (old.quantity, old.cost, new.quantity, new.cost) == (10, 800, 5, 200)
    assert (old.average_price, new.average_price, old.realized, new.realized) == (80, 40, 0, 0)
    booked(two, InstrumentId(0), D(-10), D(80), "b")
    booked(two, InstrumentId(1), D(-5), D(40), "c")
    assert (two.scalps[0].realized, two.scalps[1].realized) == (0, 0)


def test_a_merger_for_shares_moves_the_whole_cost(two):
    apply_change(two, conversion(20, -10, 1, cash=7))
    old, new = two.positions[0], two.positions[1]
    assert (old.quantity, old.cost, new.quantity, new.cost, new.income) == (0, 0, 20, 1_000, 7)
    booked(two, InstrumentId(1), D(-20), D(51), "b")
    assert (two.scalps[0].realized, two.scalps[1].realized, new.realized) == (0, 20, 20)


def test_lots_of_a_spin_off_are_sold_at_what_is_left_of_their_cost(two):
    apply_change(two, conversion(5, 0, "0.2"))
    booked(two, InstrumentId(0), D(-10), D(81), "b")
    booked(two, InstrumentId(1), D(-5), D(42), "c")
    assert (two.scalps[0].realized, two.scalps[1].realized) == (10, 10)
    assert (two.positions[0].realized, two.positions[1].realized) == (10, 10)


def test_a_merger_leaves_no_lot_of_the_old_shares_to_sell(two):
    apply_change(two, conversion(20, -10, 1))
    booked(two, InstrumentId(0), D(-4), D(50), "b")
    assert two.scalps[0].realized == 0
    booked(two, InstrumentId(0), D(4), D(47), "c")
    assert two.scalps[0].realized == two.positions[0].realized == 12


def test_a_split_changes_units_and_lots_and_no_cost(two):
    apply_change(two, conversion(10, 0, 1, number=0))
    assert (two.quantity(0), two.positions[0].cost) == (20, 1_000)
    booked(two, InstrumentId(0), D(-20), D(60), "b")
    assert two.scalps[0].realized == two.positions[0].realized == 200


def test_shares_that_came_for_nothing_are_a_lot_of_their_own(two):
    apply_change(two, PositionChanged(InstrumentId(0), 1, 1, ChangeCause.TRANSFER, D(10), D(0), D(0), "t"))
    assert (two.quantity(0), two.positions[0].average_price, two.positions[0].income) == (20, 50, 0)
    booked(two, InstrumentId(0), D(-10), D(60), "b")
    assert two.scalps[0].realized == -400  # the lot at 100 goes first
    apply_change(
        two, PositionChanged(InstrumentId(0), 1, 1, ChangeCause.MANUAL_TRADE, D(-5), D(30), D(150), "m")
    )
    assert two.scalps[0].realized == -250


def test_a_split_of_shares_that_are_gone_leaves_no_lot(two):
    booked(two, InstrumentId(0), D(-10), D(100), "b")
    apply_change(
        two, PositionChanged(InstrumentId(0), 1, 1, ChangeCause.CORPORATE_ACTION, D(4), D(0), D(0), "s")
    )
    booked(two, InstrumentId(0), D(-4), D(10), "c")
    assert two.scalps[0].realized == 40


def test_a_booking_is_known_by_its_reference_until_it_is_taken_back(two):
    stands = two.booking("a")
    assert (stands.instrument_id, stands.units, stands.price, stands.income) == (0, 10, 100, 0)
    assert (two.already_applied("a"), two.booking("b"), two.already_applied("b")) == (True, None, False)
    two.take_back("a")
    assert (two.booking("a"), two.already_applied("a"), two.held()) == (None, True, [])


# lots, closed trades, sums --------------------------------------------------------------------------


def test_an_unknown_fill_that_is_taken_back_is_turned_round_in_the_lots():
    lots = FifoLots()
    lots.add(D(5), D(10))
    lots.take_back(D(-5), D(12))
    lots.add(D(-10), D(13))
    assert lots.realized == 5 * 3 + 5 * 1


@pytest.mark.rows("units", ["1", "0.5", "2"])
@pytest.mark.rows("side", [1, -1])
def test_a_lot_earns_what_the_price_moved_its_way(units, side):
    lots = FifoLots()
    lots.add(side * D(units), D(100))
    assert lots.realized == 0
    lots.add(-side * D(units), D(103))
    assert lots.realized == side * 3 * D(units)
    lots.add(-side * D(units), D(104))
    assert lots.realized == side * 3 * D(units)


def test_trades_from_flat_to_flat_count_their_losses_in_a_row():
    trades = ClosedTrades(D(100))
    counted = []
    for cash in (90, 80, 80, 70, 71):
        trades.close(D(cash))
        counted.append(trades.losses_in_a_row)
    assert counted == [1, 2, 2, 3, 0]
    trades.reopen()
    assert (trades.losses_in_a_row, trades.start_cash) == (3, 70)
    trades.reopen()  # once only
    trades.new_session()
    assert (trades.losses_in_a_row, trades.start_cash) == (0, 70)
    trades.close(D(60))
    trades.new_session()
    trades.reopen()
    assert (trades.losses_in_a_row, trades.start_cash) == (0, 70)


def test_a_second_bust_takes_no_later_loss_back():
    trades = ClosedTrades(D(100))
    trades.close(D(90))
    trades.reopen()
    trades.note(D(-5))
    trades.note(D(0))
    trades.reopen()
    assert (trades.losses_in_a_row, trades.start_cash) == (1, 100)
    trades.note(D("0.01"))
    assert trades.losses_in_a_row == 0


def test_earnings_are_taken_at_the_mark_and_counted_from_what_they_were():
    state = MarketState(straddle_book())
    state.apply_quote(quote(0, 0, 499.99, 500.01))
    engine = DeltaEngine(state.instruments, state, ContractPricer())
    held = {0: Position(0, Equity("SPY"), D(10), D(490)), 1: Position(1, HUNDRED, D(2), D(4))}
    assert (earned(0, held, engine), earned(1, held, engine), earned(2, held, engine)) == (100, 0, 0)
    assert earned_since({0: D(30), 2: D(5)}, held, engine) == 65
    assert earned_since({}, held, engine) == 0


def test_net_asset_value_counts_an_inverse_position_against_the_coin():
    state = MarketState(Instruments([perpetual("BTC")]))
    state.apply_quote(quote(0, 0, 62_499.5, 62_500.5))
    held = [Position(0, perpetual("BTC"), D(100), D(50_000))]
    assert net_asset_value(Account(D(2), "BTC"), held, state) == D("1.984")


@pytest.mark.rows(
    ("value", "exact"),
    [(500.005, "500.0050"), (0.0345, "0.0345"), (0.00025, "0.00025000"), (1.23456, "1.2346")],
)
def test_a_price_below_one_keeps_eight_decimals_where_four_are_too_few(value, exact):
    assert str(exact_price(value)) == exact


def test_prices_are_exact_beyond_what_is_kept_of_them():
    cents = range(100_000, 100_000 + 2 * MOST_PRICES)
    assert [exact_price(cent / 100.0) for cent in (*cents, *cents)] == [
        D(cent) / 100 for cent in (*cents, *cents)
    ]
