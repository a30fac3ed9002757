from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
    TimerEvent,
)
from scalpdesk.core.intents import (
    OrderIntent,
    OrderType,
    Purpose,
    Side,
)
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy, change, marks, orders, wanting, working

D = Decimal


def test_a_fill_is_booked_marked_and_wakes_the_strategy(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.accept(order)
    one.wait(5)
    (mark,) = marks(one.fill(order, 4))
    assert mark.nav_change == 0
    assert one.positions == {0: 4}
    assert one.engine.desk.account.cash == D(100_000) - 4 * D("500.01")
    assert one.strategy.wakes[-2:] == [Wake.ORDER, Wake.ORDER]
    assert one.engine.desk.orders.order(order.client_order_id).state is OrderState.PARTIALLY_FILLED
    one.wait(5)
    (mark,) = marks(one.fill(order, 6))
    assert (mark.parts["spread"], mark.nav_change) == (D("-0.04"), D("-0.04"))
    assert one.positions == {0: 10}
    assert one.engine.desk.orders.live == {}


@pytest.mark.rows("price", ["499.20", "500.01", "502.00"])
def test_a_fill_is_booked_at_its_executions_price_and_never_at_its_orders_limit(desk, price):
    limit = OrderIntent(0, Side.BUY, D(4), Purpose.HEDGE, "test", OrderType.LIMIT, D("502.00"))
    one = desk(wanting(limit))
    (order,) = orders(one.quote(0, 499.99, 500.01))
    one.fill(order, 4, price=float(price))
    inner = one.engine.desk
    assert inner.account.cash == D(100_000) - 4 * D(price)
    assert inner.positions.positions[0].average_price == D(price)
    assert inner.orders.order(order.client_order_id).average_price == D(price)


def test_a_repeated_fill_changes_nothing_at_all(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    fill = OrderFilled(order.client_order_id, one.now_ns, one.now_ns, "x1", D(4), D("500.01"), D("0.5"))
    one.handle(fill)
    cash, evaluations = one.engine.desk.account.cash, one.engine.evaluations
    assert one.handle(fill) == ()
    assert (one.positions, one.engine.desk.account.cash) == ({0: 4}, cash)
    assert one.engine.evaluations == evaluations


def test_equal_execution_ids_of_two_orders_are_two_executions(desk):
    one = desk(wanting(buy(0, 5), buy(0, 7)))
    for order in orders(one.quote(0, 499.99, 500.01)):
        one.handle(
            OrderFilled(order.client_order_id, one.now_ns, one.now_ns, "x1", order.quantity, D(500), D(0))
        )
    assert one.positions == {0: 12}


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_bust_reverses_exactly_what_it_names(desk, repeats):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.fill(order, 4, 500.01)
    one.fill(order, 6, 500.05)
    bust = FillBusted(order.client_order_id, one.now_ns, one.now_ns, "x2", "error")
    for _ in range(repeats):
        one.handle(bust)
    assert one.positions == {0: 4}
    assert one.engine.desk.account.cash == D(100_000) - 4 * D("500.01")
    assert one.engine.desk.orders.order(order.client_order_id).state is OrderState.CANCELLED
    (mark,) = marks(one.wait(1).handle(TimerEvent(one.now_ns, one.now_ns, "mark")))
    assert sum(mark.parts.values()) == mark.nav_change
    # a late copy of the busted execution is not booked again
    one.handle(OrderFilled(order.client_order_id, one.now_ns, one.now_ns, "x2", D(6), D("500.05"), D(0)))
    assert one.positions == {0: 4}
    assert one.engine.desk.attribution.current_nav() == D(100_000) - D("0.04")


def test_what_a_busted_execution_moved_until_its_bust_is_delta(desk):
    """Ten shares went from 500 to 503; the bust of six then costs 18 dollars of these 30."""
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.fill(order, 4, 500.0)
    one.fill(order, 6, 500.0)
    one.wait(5).quote(0, 502.99, 503.01)
    bust = FillBusted(order.client_order_id, one.now_ns, one.now_ns, "x2", "error")
    (mark,) = marks(one.handle(bust))
    assert (mark.parts["delta"], mark.parts["residual"], mark.nav_change) == (30, 0, 30)
    one.wait(1).timer("mark")
    totals = one.engine.desk.attribution.totals
    assert (totals["delta"], totals["spread"] + totals["slippage"], totals["residual"]) == (30, -18, 0)


def test_of_several_busts_of_one_look_the_strategy_hears_with_the_last(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.fill(order, 4, 500.01)
    one.fill(order, 6, 500.05)
    heard = len(one.strategy.wakes)
    bust = FillBusted(order.client_order_id, one.now_ns, one.now_ns, "x1", "gone", more_follow=True)
    one.handle(bust)
    assert (one.positions, len(one.strategy.wakes)) == ({0: 6}, heard)
    one.handle(FillBusted(order.client_order_id, one.now_ns, one.now_ns, "x2", "gone"))
    assert (one.positions, one.strategy.wakes[heard:]) == ({}, [Wake.ORDER])


def test_a_bust_of_the_closing_execution_gives_its_fee_back_and_counts_the_losing_trade_once(desk):
    one = desk(wanting(buy(0, 10, Purpose.HEDGE)))
    one.fill(orders(one.quote(0, 499.99, 500.01))[0])
    inner = one.engine.desk
    sold = []
    for count, price in enumerate(("499.00", "498.00")):
        one.strategy.think = wanting(buy(0, 10, Purpose.HEDGE, Side.SELL)).think
        sold += orders(one.wait(1).quote(0, 499.99, 500.01))
        name = sold[-1].client_order_id
        one.handle(OrderFilled(name, one.now_ns, one.now_ns, "s", D(10), D(price), D("0.25")))
        assert (inner.gate.closed_trades.losses_in_a_row, one.positions) == (1, {})
        if not count:
            one.handle(FillBusted(name, one.now_ns, one.now_ns, "s", "error"))
            assert (inner.gate.closed_trades.losses_in_a_row, one.positions) == (0, {0: 10})
            assert inner.account.cash == D(100_000) - 10 * D("500.01")
            assert inner.positions.positions[0].fees == 0
    assert inner.account.cash == D(100_000) - 10 * D("2.01") - D("0.25")
    assert inner.positions.positions[0].realized == -10 * D("2.01")
    one.wait(1).timer("mark")
    assert inner.attribution.totals["fees"] == D("-0.25")


@pytest.mark.parametrize("times", [1, 2])
def test_a_bust_takes_the_late_fee_of_its_execution_back_and_no_other(desk, times):
    one = desk(wanting(buy()))
    name = orders(one.quote(0, 499.99, 500.01))[0].client_order_id
    late = {"a": "0.02", "b": "-0.03"}
    for execution, cash in late.items():
        one.handle(OrderFilled(name, one.now_ns, one.now_ns, execution, D(5), D(500), D("0.50")))
        for _ in range(times):
            one.handle(change(one, "fee", cash=cash, reference=f"fee/{execution}"))
    account = one.engine.desk.account
    assert account.cash == D(100_000) - 10 * 500 - D("1.01")
    for _ in range(times):
        one.handle(FillBusted(name, one.now_ns, one.now_ns, "a", "corrected", is_corrected=True))
    assert account.cash == D(100_000) - 5 * 500 - D("0.53")
    one.handle(OrderFilled(name, one.now_ns, one.now_ns, "a.2", D(5), D(501), D("0.50")))
    one.wait(1).timer("mark")
    assert account.cash == D(100_000) - 5 * 1001 - D("1.03")
    totals = one.engine.desk.attribution.totals
    assert sum(totals.values()) == one.engine.desk.attribution.current_nav() - 100_000


def test_a_bust_that_comes_first_makes_its_fill_nothing(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    assert one.handle(FillBusted(order.client_order_id, one.now_ns, one.now_ns, "x1", "error")) == ()
    one.fill(order, 4)
    assert one.positions == {}
    assert one.engine.desk.account.cash == 100_000
    assert one.engine.desk.orders.pending(0) == 6


def test_other_words_of_the_venue_move_the_order_and_wake(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    state = one.engine.desk.orders.order(order.client_order_id)
    one.handle(OrderStatusUnknown(order.client_order_id, one.now_ns, one.now_ns, "time-out"))
    assert state.state is OrderState.UNKNOWN
    one.accept(order)
    one.handle(CancelRejected(order.client_order_id, one.now_ns, one.now_ns, "nothing to cancel"))
    assert state.state is OrderState.WORKING
    one.reject(order)
    assert state.state is OrderState.REJECTED
    assert one.strategy.wakes[-4:] == [Wake.ORDER] * 4


def test_an_order_that_this_desk_never_sent_stops_it(desk):
    one = desk()
    with pytest.raises(InvariantError, match="never sent"):
        one.handle(OrderFilled("other-1", one.now_ns, one.now_ns, "x1", D(1), D(1), D(0)))
    with pytest.raises(InvariantError, match="never sent"):
        one.handle(FillBusted("other-1", one.now_ns, one.now_ns, "x1", "?"))


def test_a_closed_trade_counts_for_the_loss_rules_and_a_hedge_does_not(desk):
    one = desk()
    one.adopt({0: (10, "501"), 1: (1, "6")})
    one.quote(1, 5.0, 5.1)
    one.strategy.think = wanting(buy(0, 10, Purpose.UNWIND_HEDGE, Side.SELL)).think
    one.fill(orders(one.quote(0, 499.99, 500.01))[0])
    assert one.engine.desk.gate.closed_trades.losses_in_a_row == 0
    one.strategy.think = wanting(buy(1, 1, Purpose.CLOSE, Side.SELL)).think
    one.fill(orders(one.wait(1).quote(0, 499.99, 500.01))[0])
    assert one.engine.desk.gate.closed_trades.losses_in_a_row == 1


def test_a_dividend_is_carry_and_is_paid_once(desk):
    one = desk()
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.wait(1).handle(change(one, "dividend", cash="157"))
    one.handle(change(one, "dividend", cash="157"))
    assert one.engine.desk.account.cash == 100_157
    mark = one.engine.desk.attribution.mark(one.now_ns)  # with the next step of the market, not apart from it
    assert (mark.nav_change, mark.parts["carry"], mark.parts["residual"]) == (157, 157, 0)
    assert one.strategy.wakes.count(Wake.ACCOUNT) == 2  # the snapshot and the dividend


@pytest.mark.parametrize("cash", ["-30000", "50000"])
def test_money_moved_in_or_out_is_neither_gain_nor_loss(desk, cash):
    one = desk()
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    was = one.engine.desk.attribution.nav - one.engine.desk.session_equity
    one.wait(1).handle(change(one, "transfer", cash=cash))
    books = one.engine.desk
    assert books.account.cash == 100_000 + D(cash)
    assert books.attribution.nav - books.session_equity == was
    assert books.attribution.nav_change == 0
    assert books.gate.mode == "ACTIVE"
    assert all(value == 0 for value in books.attribution.totals.values())


def test_a_fee_is_carry(desk):
    one = desk()
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.wait(1).handle(change(one, "fee", cash="-3.21"))
    assert one.engine.desk.attribution.totals["carry"] == D("-3.21")


def test_an_exercise_wakes_the_strategy_only_once_the_shares_are_there(desk):
    one = desk()
    one.adopt({0: (-100, "500"), 1: (1, "6")})
    one.quote(1, 6.9, 7.1)
    one.quote(0, 506.99, 507.01)
    woken = len(one.strategy.wakes)
    one.handle(change(one, "exercise", -1, number=1, reference="e"))
    assert one.positions == {0: -100}
    assert len(one.strategy.wakes) == woken
    one.handle(change(one, "delivery", 100, 500, -50_000, reference="d"))
    assert one.positions == {}
    assert one.strategy.wakes[woken:] == [Wake.ACCOUNT]
    totals = one.engine.desk.attribution.totals
    assert sum(totals.values()) == one.engine.desk.attribution.nav_change


def test_the_noise_of_an_options_last_mark_ends_with_its_settlement(desk):
    one = desk()
    one.market(500.0)
    one.adopt({1: (1, "10")})
    one.now_ns = expiry_instant_ns(one.book[1])
    one.quote(0, 501.99, 502.01)
    one.quote(1, 2.95, 3.05)
    one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    details = one.engine.desk.attribution.sums.details
    assert details["mark_noise"] == pytest.approx(100.0, abs=0.01)  # 3.00 where 2.00 is paid
    one.handle(change(one, "cash_settlement", -1, 2, 200, number=1))
    assert details["mark_noise"] == pytest.approx(0.0, abs=0.01)
    assert one.positions == {}


def test_a_closed_trade_is_the_book_from_flat_to_flat():
    desk = HandDesk(Scripted())
    desk.open()
    desk.quote(0, 499.99, 500.01)
    gate = desk.engine.desk.gate
    for side, price in ((Side.BUY, 501.0), (Side.SELL, 500.0), (Side.BUY, 500.0), (Side.SELL, 499.0)):
        desk.strategy.think = lambda _view, _wake, _event, side=side: (
            Proposal(DecisionKind.ENTRY, ("test",), {}, (OrderIntent(0, side, D(1), Purpose.HEDGE, "test"),)),
        )
        (order,) = orders(desk.wait(1).handle(TimerEvent(desk.now_ns, desk.now_ns, "think")))
        desk.strategy.think = lambda _view, _wake, _event: ()
        desk.fill(order, price=price)
    assert gate.closed_trades.losses_in_a_row == 2


@pytest.mark.rows(
    ("cause", "more_follow", "woken"),
    [
        ("exercise", False, False),
        ("assignment", False, False),
        ("manual_trade", True, False),
        ("manual_trade", False, True),
        ("expired_worthless", False, True),
        ("dividend", True, False),
        ("dividend", False, True),
    ],
)
def test_a_strategy_hears_of_a_change_once_the_book_is_whole(desk, cause, more_follow, woken):
    one = desk(Scripted())
    one.adopt({1: (3, "5")})
    event = PositionChanged(
        *(
            1,
            one.now_ns,
            one.now_ns,
            ChangeCause(cause),
            D(0 if cause == "dividend" else -1),
            D(0),
            D(0),
            "r",
        ),
        more_follow=more_follow,
    )
    before = len(one.strategy.wakes)
    one.handle(event)
    assert one.strategy.wakes[before:] == [Wake.ACCOUNT] * woken
    one.handle(event)  # the venue's history comes again
    assert len(one.strategy.wakes) == before + woken


@pytest.mark.rows(
    ("is_corrected", "more_follow", "woken"), [(False, False, 1), (True, False, 0), (False, True, 0)]
)
def test_of_a_corrected_execution_the_strategy_hears_with_its_replacement(
    desk, is_corrected, more_follow, woken
):
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    name = working(one)
    one.handle(OrderFilled(name, one.now_ns, one.now_ns, "x", D(4), D(500), D(0)))
    before = len(one.strategy.wakes)
    one.handle(
        FillBusted(name, one.now_ns, one.now_ns, "x", "e", is_corrected=is_corrected, more_follow=more_follow)
    )
    assert len(one.strategy.wakes) - before == woken
    assert one.positions == {}
