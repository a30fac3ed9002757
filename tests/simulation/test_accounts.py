"""Holdings, reserves and free cash of an account at the broker, and the ledger's lines."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.fees import FeeSchedule
from scalpdesk.instruments.postings import of_change
from scalpdesk.instruments.sessions import session_on
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import AlwaysOpen
from scalpdesk.simulation.ledger import counted_ids, uuid_ids
from scalpdesk.simulation.orders import LegRequest, OrderClass, OrderRequest, Status
from scalpdesk_testing.kit.broker import Market, give
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
T = session_on(DAY).open_ns
SHARE, CALL, PUT = 0, 1, 2
SYMBOLS = [one.symbol for one in straddle_book(500)]
BUST = ChangeCause.BUST
FEES = FeeSchedule(per_share=D("0.01"), per_contract=D("0.50"))


class Desk(Market):
    """A broker that has seen SPY at 500 and its options at 9 and 8."""

    def __init__(self, positions=None, book=None, fees=FEES, **terms):
        book = straddle_book(500) if book is None else book
        super().__init__(book, positions, opens_ns=T - 10, broker={"fees": fees}, **terms)
        for number, mid in enumerate((500, 9, 8)[: len(book)]):
            self.quote(number, T, mid - 0.5, mid + 0.5)


def test_the_own_lines_and_the_fees_of_executions_come_to_the_cash_whatever_is_taken_back():
    desk = Desk()
    for units in (3, 3, -2):
        desk.order(SHARE, units)
    ledger, account = desk.ledger, desk.account
    ledger.note(account, "FEE", "", D(0), D(0), D("-1.50"))
    first, second, _ = account.executions
    desk.broker.staged.bust(first)
    desk.broker.staged.correct(second, D(499))
    lines = list(account.own_lines())
    assert [line.kind for line in lines] == ["FILL", "FEE", "FILL"]
    fees = sum(each.fee for each in account.executions)
    assert sum(line.net_amount for line in lines) + D("1.50") - fees == account.cash - 100_000


# terms and bookings ---------------------------------------------------------------------------------


def test_what_a_cash_account_sells_is_unsettled_and_what_it_buys_is_not():
    account = Desk(multiplier=1).account
    assert give(account, SHARE, 4, 500, -2_000) == 4
    assert account.unsettled == 0
    assert give(account, SHARE, -1, 500, 500) == 3
    assert account.unsettled == 500
    assert give(account, SHARE, 0, 0, 7) == 3
    assert (account.unsettled, account.cash) == (500, 98_507)
    assert give(account, SHARE, -3, 500, 1_500) == 0
    assert (account.holdings, account.unsettled) == ({}, 2_000)
    margin = Desk(multiplier=2).account
    give(margin, SHARE, -1, 500, 500)
    assert margin.unsettled == 0


def test_a_trade_that_is_taken_back_leaves_the_holding_as_it_was():
    account = Desk().account
    give(account, SHARE, 4, 500, -2_000)
    give(account, SHARE, 2, 510, -1_020)
    give(account, SHARE, -4, 500, 2_000, BUST)
    assert (account.quantity(SHARE), account.cash) == (2, 98_980)
    assert account.holdings[SHARE].average_price == 510
    give(account, SHARE, -2, 510, 1_020, BUST)
    assert (account.holdings, account.cash) == ({}, 100_000)
    give(account, SHARE, -3, 500, 1_500, BUST)  # closed since: the opposite is held now
    assert (account.quantity(SHARE), account.cash) == (-3, 101_500)


def test_an_account_that_opens_while_the_broker_runs_begins_then_and_owes_nothing():
    desk = Desk()
    other = desk.broker.open_account(AccountTerms(name="other", cash=D(5), multiplier=1))
    assert (other.created_ns, other.unsettled, desk.ledger.accounts["other"]) == (T, 0, other)
    other.cash = D(7)
    assert (other.others, other.cash) == ({}, 7)


def changed(number, cause, units, price=0, cash=0, **more):
    return PositionChanged(number, T, T, cause, D(units), D(str(price)), D(str(cash)), "c", **more)


def posted(*terms, **more):
    return of_change(Equity("SPY"), changed(*terms, **more))


def test_a_change_without_an_order_is_booked_at_its_price():
    account = Desk({SHARE: (10, 100)}).account
    account.apply(posted(SHARE, ChangeCause.DELIVERY, 5, 400, -2_000))
    assert (account.quantity(SHARE), account.holdings[SHARE].average_price) == (15, 200)
    assert account.cash == 98_000
    account.apply(posted(SHARE, ChangeCause.CORPORATE_ACTION, 15))
    assert (account.quantity(SHARE), account.holdings[SHARE].average_price) == (30, 100)
    account.apply(posted(SHARE, ChangeCause.CORPORATE_ACTION, -20))  # its cost stays
    assert (account.quantity(SHARE), account.holdings[SHARE].average_price) == (10, 300)
    account.apply(posted(SHARE, ChangeCause.DELIVERY, -10, 100, 3_000))
    assert (account.holdings, account.cash) == ({}, 101_000)


def test_a_conversion_moves_units_and_cost_and_pays_the_rest_in_cash():
    book = Instruments([Equity("OLD"), Equity("NEW")])
    account = Desk({0: (10, 100)}, book=book).account
    account.apply(
        posted(1, ChangeCause.CORPORATE_ACTION, 5, 0, 7, source=0, source_change=D(-10), cost_fraction=D(1))
    )
    assert list(account.holdings) == [1]
    assert (account.quantity(1), account.holdings[1].average_price, account.cash) == (5, 200, 100_007)


# what is free ---------------------------------------------------------------------------------------


def test_units_are_held_for_open_orders_against_the_holding():
    desk = Desk({SHARE: (100, 490)})
    account = desk.account
    assert account.held_for_orders(SHARE) == account.held_for_orders(CALL) == 0
    desk.order(SHARE, -30, 510)
    desk.order(SHARE, 20, 490)
    desk.order(CALL, 1, 5)
    desk.order(SHARE, -10, 511)
    assert account.held_for_orders(SHARE) == 40
    assert account.held_for_orders(PUT) == 0
    exits = {"take_profit_limit": D(520), "stop_loss_stop": D(480)}
    desk.order(SHARE, -5, 520, structure=OrderClass.OCO, **exits)
    assert account.held_for_orders(SHARE) == 45  # of two exits one can trade
    assert account.held_for_orders(CALL) == 0  # an order that opens holds nothing
    desk.order(SHARE, -7, 512)
    assert account.held_for_orders(SHARE) == 52


@pytest.mark.parametrize("units", ["1", "0.5"])
def test_a_single_share_or_a_part_of_one_is_held_for_the_order_that_sells_it(units):
    desk = Desk({SHARE: (units, 490)})
    assert desk.account.held_for_orders(SHARE) == 0
    order = desk.order(SHARE, -D(units))
    assert order.status is Status.FILLED
    desk = Desk({SHARE: (units, 490)})
    desk.ledger.halted.add(SHARE)
    desk.order(SHARE, -D(units))
    assert desk.account.held_for_orders(SHARE) == D(units)


def test_a_part_of_a_share_counts_as_held_long():
    account = Desk({SHARE: ("0.5", 490)}).account
    assert (account.long_shares(), account.free_bound()) == (250, 100_000)


def test_what_is_sold_short_is_held_for_orders_that_buy():
    desk = Desk({SHARE: (-100, 490)})
    desk.order(SHARE, 30, 490)
    desk.order(SHARE, -20, 510)
    assert desk.account.held_for_orders(SHARE) == 30


def test_shares_are_free_that_neither_orders_nor_sold_calls_need():
    desk = Desk({SHARE: (500, 490), CALL: (-1, 9), PUT: (-1, 8)})
    account = desk.account
    assert account.free_shares("SPY") == 400
    assert account.free_shares("QQQ") == 0
    desk.order(SHARE, -50, 510)
    desk.order(PUT, 1, 5)
    assert account.free_shares("SPY") == 350
    desk.order(PUT, -1, 12)
    assert account.free_shares("SPY") == 350
    bids = Desk({SHARE: (100, 490)})
    bids.order(CALL, 1, 5)
    assert bids.account.free_shares("SPY") == 100
    desk.ledger.halted.add(PUT)
    assert account.free_shares("SPY") == 350
    desk.order(CALL, -1, 12)
    assert account.free_shares("SPY") == 250
    bought = Desk({SHARE: (100, 490), CALL: (3, 9)}).account
    assert bought.free_shares("SPY") == 100
    assert Desk({SHARE: (-100, 490)}).account.free_shares("SPY") == 0


def test_the_quick_bound_counts_cash_less_what_is_sold_and_reserved():
    assert Desk().account.free_bound() == 100_000
    assert Desk({SHARE: (100, 490), CALL: (2, 9)}).account.free_bound() == 100_000
    assert Desk({SHARE: (-100, 490)}).account.free_bound() == 100_000 - 100 * (500 + 250)
    assert Desk({CALL: (-1, 9)}).account.free_bound() is None
    desk = Desk()
    desk.order(SHARE, 10, 490)
    desk.order(CALL, 2, 5)
    assert desk.account.free_bound() == 100_000 - 4_900 - 1_000


def test_open_orders_reserve_what_they_may_still_use():
    desk = Desk({SHARE: (100, 490)})
    account = desk.account
    assert account.reserved() == (0, 0)
    desk.order(SHARE, 10, 490)
    assert account.reserved() == (4_900, 0)
    desk.order(SHARE, -60, 510)  # lowers the holding
    assert account.reserved() == (4_900, 0)
    desk.order(CALL, 2, 5)
    assert account.reserved() == (4_900, 1_000)
    desk.order(SHARE, 20, 480)
    assert account.reserved() == (4_900 + 9_600, 1_000)
    part = Desk({SHARE: ("0.5", 490)})
    part.order(SHARE, 10, 400)
    assert part.account.reserved() == (4_000, 0)


def test_an_order_over_several_contracts_reserves_its_cost_for_each_unit_that_is_left():
    desk = Desk()
    legs = tuple(LegRequest(SYMBOLS[number], D(1), Side.BUY) for number in (CALL, PUT))
    combo = OrderRequest(
        "", None, OrderType.LIMIT, quantity=D(3), limit_price=D(15), structure=OrderClass.MLEG, legs=legs
    )
    order = desk.broker.submit(desk.account.name, combo)
    assert (order.withholds, desk.account.reserved()) == (1_500, (0, 4_500))
    desk.order(SHARE, 10, 490)
    assert desk.account.reserved() == (4_900, 4_500)


def test_orders_after_a_bracket_reserve_too():
    desk = Desk()
    desk.order(SHARE, 10, 490, structure=OrderClass.BRACKET, take_profit_limit=D(520), stop_loss_stop=D(480))
    desk.order(SHARE, 1, 480)
    assert desk.account.reserved() == (4_900 + 480, 0)


def test_an_order_through_flat_reserves_what_lies_beyond():
    desk = Desk({SHARE: (-25, 490)})
    desk.order(SHARE, 25, 400)
    assert desk.account.reserved() == (0, 0)
    give(desk.account, SHARE, 15, 500, -7_500)
    assert desk.account.reserved() == (15 * 400, 0)


def test_the_values_of_an_account_are_at_its_marks():
    account = Desk({SHARE: (100, 490), CALL: (2, 9), PUT: (-1, 7)}, shortable=frozenset({"SPY"})).account
    assert account.long_shares() == 50_000
    assert Desk({SHARE: (-1, 490), CALL: (2, 9)}).account.long_shares() == 0
    assert [(one.quantity, one.price) for one in account.valued()] == [(100, 500), (2, 9), (-1, 8)]
    assert (account.spot("SPY"), account.spot("QQQ")) == (500, 0)
    assert (account.quantity_of(SYMBOLS[PUT]), account.quantity_of("QQQ"), account.quantity_of("SPY")) == (
        -1,
        0,
        100,
    )
    assert (account.may_short("SPY"), account.may_short("QQQ")) == (True, False)
    assert Desk().account.may_short("QQQ") is True
    assert Desk(shorting_enabled=False).account.may_short("SPY") is False


# the ledger -----------------------------------------------------------------------------------------


def test_a_trade_is_written_with_its_cash_and_its_fee():
    desk = Desk()
    desk.order(CALL, 2)
    desk.order(SHARE, -10)
    lines = [
        (one.kind, one.symbol, one.quantity, one.price, one.net_amount) for one in desk.account.activities
    ]
    assert lines == [
        ("FILL", SYMBOLS[CALL], 2, D("9.5"), -1_900),
        ("FEE", SYMBOLS[CALL], 0, 0, -1),
        ("FILL", "SPY", -10, D("499.5"), 4_995),
        ("FEE", "SPY", 0, 0, D("-0.1")),
    ]
    assert desk.account.cash == 100_000 - 1_901 + D("4994.9")
    call, share = desk.account.executions
    assert (call.execution_id, call.quantity, call.cumulative, call.leaves) == ("x1", 2, 2, 0)
    assert (share.execution_id, share.price, share.fee, share.ts_ns) == ("x2", D("499.5"), D("0.1"), T)
    assert desk.account.activities[0].activity_id == f"{T // 10**6:017d}::a1"
    free = Desk(fees=FeeSchedule())
    free.order(CALL, 1)
    assert [one.kind for one in free.account.activities] == ["FILL"]


@pytest.mark.rows(
    ("cause", "units", "price", "cash", "line"),
    [
        (ChangeCause.DIVIDEND, 0, 0, 50, ("DIV", 100, D("0.5"), 50)),
        (ChangeCause.DELIVERY, 10, 400, -4_000, ("OPTRD", 10, 400, -4_000)),
        (ChangeCause.EXERCISE, -1, 400, 0, ("OPEXC", -1, 0, 0)),
        (ChangeCause.CORPORATE_ACTION, 100, 0, 0, ("SPLIT", 100, 0, 0)),
    ],
)
def test_a_change_is_written_as_the_venue_would_show_it(cause, units, price, cash, line):
    desk = Desk({SHARE: (100, 490)})
    change = changed(SHARE, cause, units, price, cash)
    desk.ledger.change(desk.account, [change])
    (written,) = desk.account.activities
    assert (written.kind, written.quantity, written.price, written.net_amount) == line
    assert (written.symbol, written.account, written.ts_ns) == ("SPY", "account", T)
    booked = desk.ledger.updates[-1]
    assert (booked.account, booked.change) == ("account", change)


def test_timers_run_in_their_order_and_move_the_clock_forward_only():
    ledger = Desk().ledger
    ran = []
    for at_ns, name in ((T + 5, "b"), (T + 5, "c"), (T + 1, "a"), (T + 9, "d"), (T - 50, "late")):
        ledger.at(at_ns, lambda name=name: ran.append((name, ledger.now_ns - T)))
    ledger.run_timers(T + 8)
    assert ran == [("late", 0), ("a", 1), ("b", 5), ("c", 5)]
    assert (ledger.now_ns, len(ledger.timers)) == (T + 8, 1)
    ledger.run_timers(T)
    assert ledger.now_ns == T + 8
    ledger.run_timers(T + 9)
    assert ran[-1] == ("d", 9)


def test_updates_are_numbered_and_keep_the_order_as_it_was():
    desk = Desk()
    order = desk.order(SHARE, 10, 490)
    desk.broker.cancel(desk.account.name, order.order_id)
    updates = [one for one in desk.ledger.updates if one.order.order_id == order.order_id]
    assert [(one.event, one.order.status) for one in updates] == [
        ("new", Status.NEW),
        ("canceled", Status.CANCELED),
    ]
    assert [one.number for one in updates] == [1, 2]
    assert updates[0].order is not order


def test_ids_are_counted_or_follow_from_a_seed():
    ids = counted_ids()
    assert (ids.order(), ids.order(), ids.client(), ids.execution(), ids.activity()) == (
        "sim-1",
        "sim-2",
        "client-1",
        "x1",
        "a1",
    )
    first, same, other = uuid_ids("s"), uuid_ids("s"), uuid_ids("t")
    made = [first.order(), first.order(), first.execution()]
    assert made == [same.order(), same.order(), same.execution()]
    assert len({*made, other.order()}) == 4
    assert {(len(one), one[14]) for one in made} == {(36, "4")}


def test_an_option_is_worth_its_payoff_at_least_where_its_quote_lies_below():
    desk = Desk()
    ledger = desk.ledger
    assert (ledger.mark(SHARE), ledger.mark(CALL)) == (500, 9)
    desk.broker.on_quote(quote(SHARE, T + 1, 519.5, 520.5))
    assert ledger.mark(CALL) == D("19.5")  # quoted at 9.5, and in the money by so much at the bid
    desk.broker.on_quote(quote(CALL, T + 2, 20.5, 21.5))
    assert ledger.mark(CALL) == 21
    assert Desk(book=straddle_book(500)).ledger.latest(99) is None


def test_an_option_that_was_not_quoted_since_the_open_is_valued_at_its_last_volatility():
    desk = Desk({CALL: (1, 9)})
    ledger = desk.ledger
    ledger.keep_vols()
    assert list(ledger.last_vols) == [CALL]
    assert 0.1 < ledger.last_vols[CALL] < 0.5
    ledger.session_open_ns = T + 5
    assert ledger.mark(CALL) == 9  # nor was its underlying
    desk.broker.on_quote(quote(SHARE, T + 6, 504.5, 505.5))
    assert 11 < ledger.mark(CALL) < 13
    ledger.last_vols.clear()
    ledger.keep_vols()
    assert ledger.last_vols == {}  # of a quote of the session before none is kept


def test_the_volatility_of_each_held_option_with_a_quote_is_kept():
    """Held before it: a share, and an option without a quote."""
    desk = Desk({SHARE: (1, 490), CALL: (1, 9)}, book=straddle_book(500, 510))
    for number in (3, 4):
        give(desk.account, number, 1, 1, -100)
    desk.broker.on_quote(quote(4, T, 14.0, 14.5))
    desk.ledger.keep_vols()
    assert sorted(desk.ledger.last_vols) == [CALL, 4]


def test_an_option_whose_ask_is_its_payoff_is_worth_its_mid():
    desk = Desk()
    desk.broker.on_quote(quote(SHARE, T + 1, 519.5, 520.5))
    desk.broker.on_quote(quote(CALL, T + 1, 19.0, 19.5))
    assert desk.ledger.mark(CALL) == D("19.25")


def test_whole_shares_are_paid_to_the_last_decimal():
    desk = Desk(fees=FeeSchedule())
    desk.order(SHARE, 3)
    (execution,) = desk.account.executions
    desk.broker.staged.correct(execution, D("499.1234567"))
    assert desk.account.cash == 100_000 - D("1497.3703701")


def test_options_and_shares_may_meet_their_quotes_in_different_ways():
    fills = fill_model("mid"), fill_model("cross")
    broker = Broker(straddle_book(500), AlwaysOpen(), *fills)
    account = broker.open_account(AccountTerms(cash=D(100_000)))
    broker.open_session(T - 10, NEVER_NS)
    for number, mid in ((SHARE, 500), (CALL, 9)):
        broker.on_quote(quote(number, T, mid - 0.5, mid + 0.5))
        broker.submit("account", OrderRequest(SYMBOLS[number], Side.BUY, OrderType.MARKET, quantity=D(1)))
    assert [one.price for one in account.executions] == [D("500.5"), 9]


def test_an_order_that_ended_or_filled_is_off_the_accounts_list_at_once():
    desk = Desk()
    resting, filled = desk.order(SHARE, 10, 490), desk.order(SHARE, 5)
    assert list(desk.account.unended) == [resting.order_id]
    assert filled.leaves == 0
    desk.broker.cancel(desk.account.name, resting.order_id)
    assert desk.account.unended == {}
    part = desk.order(SHARE, 10, 490)
    desk.broker.on_quote(quote(SHARE, T + 1, 489.0, 490.0, ask_size=4))
    assert (part.filled, desk.account.open_orders()) == (4, [part])


def test_the_legs_of_a_combo_end_with_it():
    desk = Desk()
    legs = tuple(LegRequest(SYMBOLS[number], D(1), Side.BUY) for number in (CALL, PUT))
    combo = desk.broker.submit(
        "account",
        OrderRequest(
            "", None, OrderType.LIMIT, quantity=D(1), limit_price=D(5), structure=OrderClass.MLEG, legs=legs
        ),
    )
    assert desk.ledger.working == {CALL: [combo], PUT: [combo]}
    other = desk.order(PUT, 1, 2)
    desk.broker.advance(T + 7)
    desk.broker.cancel("account", combo.order_id)
    assert [(leg.status, leg.canceled_ns, leg.updated_ns) for leg in combo.legs] == [
        (Status.CANCELED, T + 7, T + 7)
    ] * 2
    assert desk.ledger.working == {PUT: [other]}
