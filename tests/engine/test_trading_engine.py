from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from fakes.desk import HandDesk, Scripted, cancels, decisions, marks, orders
from fakes.instruments import DAY
from fakes.tape import quote
from scalpdesk.core.enums import ChangeCause, DecisionKind, OperatorAction, OperatorCause
from scalpdesk.core.errors import ArgumentError, InvariantError
from scalpdesk.core.events import (
    AccountLimits,
    BarEvent,
    CancelRejected,
    DividendEvent,
    Event,
    FillBusted,
    FolderAnswered,
    ForecastEvent,
    GammaExposureEvent,
    ImpliedVolEvent,
    OpenInterestEvent,
    OrderAccepted,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
    PriceAdjustmentEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    TimerEvent,
    TradeEvent,
    TradingHalt,
    UnmatchedOrderEvent,
)
from scalpdesk.core.intents import (
    CancelIntent,
    CancelOrder,
    Decision,
    LegOrders,
    Mark,
    OrderIntent,
    Purpose,
    SetTimer,
    Side,
    Stop,
)
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.triggers import EveryQuote, PriceMove, Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal

D = Decimal


def buy(number=0, quantity=10, purpose=Purpose.HEDGE, side=Side.BUY):
    return OrderIntent(number, side, D(quantity), purpose, "test")


def wanting(*intents, on=Wake.PRICE, times=1, all_or_none=True):
    """Build a strategy that proposes these intents on its first wakes of a kind."""
    left = times

    def think(view, wake, event):
        nonlocal left
        if wake is not on or not left:
            return ()
        left -= 1
        return (Proposal(DecisionKind.ENTRY, ("because",), {"n": 1}, tuple(intents), all_or_none),)

    return Scripted(think, [EveryQuote(0)])


@pytest.fixture
def desk():
    def build(strategy=None, **engine):
        one = HandDesk(strategy or Scripted(triggers=[EveryQuote(0)]), **engine)
        one.open()
        one.go_to("10:00")
        return one

    return build


# waking --------------------------------------------------------------------------------------------


def test_the_first_session_starts_the_strategy_and_the_mark_timer():
    strategy = Scripted()
    one = HandDesk(strategy, mark_seconds=30.0)
    one.open()
    assert strategy.wakes == [Wake.SESSION]
    assert one.outputs == [SetTimer("mark", one.session.open_ns + 30 * 10**9)]


def test_a_quote_wakes_only_its_own_trigger(desk):
    one = desk()
    one.quote(1, 5.0, 5.1)
    assert one.strategy.wakes == [Wake.SESSION]
    one.quote(0, 499.99, 500.01)
    assert one.strategy.wakes == [Wake.SESSION, Wake.PRICE]
    assert one.engine.evaluations == 2


def test_a_quote_that_is_not_good_wakes_nobody(desk):
    one = desk()
    one.quote(0, 500.01, 499.99)
    one.quote(0, float("nan"), 499.99)
    assert one.strategy.wakes == [Wake.SESSION]


def test_the_trigger_moves_on_only_after_the_strategy_has_thought():
    strategy = Scripted(triggers=[PriceMove(0, 0.05, 60.0)])
    one = HandDesk(strategy)
    one.open()
    for mid in (500.00, 500.03, 500.05, 500.05):
        one.wait(1).quote(0, mid - 0.01, mid + 0.01)
    assert strategy.wakes.count(Wake.PRICE) == 2


def test_outside_a_session_nobody_thinks():
    strategy = Scripted(triggers=[EveryQuote(0)])
    one = HandDesk(strategy)
    one.open()
    one.close()
    one.wait(1).quote(0, 499.99, 500.01)
    one.handle(TimerEvent(one.now_ns, one.now_ns, "mine"))
    assert strategy.wakes == [Wake.SESSION, Wake.SESSION]


def test_bars_timers_and_prints(desk):
    one = desk()
    one.handle(BarEvent(1, one.now_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))  # no trigger on it
    assert one.strategy.wakes == [Wake.SESSION]
    one.handle(BarEvent(0, one.now_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))
    one.handle(TimerEvent(one.now_ns, one.now_ns, "mine"))
    one.handle(TradeEvent(0, one.now_ns, one.now_ns, 500.0, 7))
    assert one.strategy.wakes == [Wake.SESSION, Wake.BAR, Wake.TIMER]
    assert one.engine.desk.market.last_trade[0].size == 7


def test_a_strategys_timer_is_passed_on():
    strategy = Scripted(lambda view, wake, event: (SetTimer("mine", 99),) if wake is Wake.PRICE else ())
    strategy.triggers = [EveryQuote(0)]
    one = HandDesk(strategy)
    one.open()
    assert one.quote(0, 1.0, 1.1) == (SetTimer("mine", 99),)


def test_time_never_runs_backwards(desk):
    one = desk()
    one.quote(0, 499.99, 500.01)
    with pytest.raises(InvariantError, match="before"):
        one.handle(quote(0, one.now_ns - 1, 499.99, 500.01))
    assert one.engine.now_ns == one.now_ns


# deciding ------------------------------------------------------------------------------------------


def test_a_proposal_becomes_a_decision_and_its_orders_in_this_order(desk):
    one = desk(wanting(buy(0, 10), buy(0, 5)))
    outputs = one.quote(0, 499.99, 500.01)
    decision, first, second = outputs
    assert (decision.kind, decision.taken, decision.reasons, decision.facts) == (
        "entry",
        True,
        ("because",),
        {"n": 1},
    )
    assert decision.client_order_ids == ("t-000001", "t-000002")
    assert decision.ts_ns == one.now_ns
    assert [(order.client_order_id, int(order.quantity)) for order in (first, second)] == [
        ("t-000001", 10),
        ("t-000002", 5),
    ]


def test_legs_that_are_to_go_as_one_leave_as_one_order_of_the_proposal(desk):
    legs = tuple(buy(number, 1, Purpose.OPEN) for number in (1, 2))

    def think(view, wake, event):
        if wake is not Wake.PRICE:
            return ()
        return (Proposal(DecisionKind.ENTRY, ("because",), {}, legs, leg_orders=LegOrders.COMBO),)

    one = desk(Scripted(think, [EveryQuote(0)]))
    one.quote(1, 5.00, 5.10)
    one.quote(2, 4.00, 4.10)
    decision, combo = one.quote(0, 499.99, 500.01)
    assert decision.client_order_ids == tuple(leg.client_order_id for leg in combo.legs)
    assert [leg.instrument_id for leg in combo.legs] == [1, 2]
    assert one.engine.desk.orders.live.keys() == set(decision.client_order_ids)


def test_all_or_none_sends_none_when_one_leg_is_refused(desk):
    one = desk(wanting(buy(0, 2, Purpose.OPEN), buy(1, 1, Purpose.OPEN)))  # 1 was never quoted
    (decision,) = one.quote(0, 499.99, 500.01)
    assert not decision.taken
    assert decision.reasons == (
        "because",
        "buy 1 SPY240419C00500000: the quote of SPY240419C00500000 is absent",
        "buy 1 SPY240419C00500000: the risk of the order is not known: no ask",
    )
    assert one.engine.desk.orders.orders == {}


def test_without_all_or_none_the_others_go(desk):
    one = desk(wanting(buy(0, 10), buy(1, 1), all_or_none=False))
    decision, order = one.quote(0, 499.99, 500.01)
    assert decision.taken
    assert decision.client_order_ids == (order.client_order_id,)
    assert decision.reasons[1:] == ("buy 1 SPY240419C00500000: the quote of SPY240419C00500000 is absent",)
    assert order.instrument_id == 0


def test_a_decision_not_to_act_is_recorded(desk):
    one = desk(wanting())
    (decision,) = one.quote(0, 499.99, 500.01)
    assert (decision.taken, decision.client_order_ids) == (False, ())


def test_the_gate_is_asked_about_orders_that_went_before(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_live_orders=2))
    for _ in range(3):
        outputs = one.wait(1).quote(0, 499.99, 500.01)
    assert not decisions(outputs)[0].taken
    assert "2 orders at the venue, limit 2" in decisions(outputs)[0].reasons[1]
    assert one.engine.desk.orders.pending(0) == 20


def test_the_throttle_counts_what_was_sent(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_orders_per_minute=2))
    taken = [decisions(one.wait(1).quote(0, 499.99, 500.01))[0].taken for _ in range(3)]
    assert taken == [True, True, False]
    assert decisions(one.wait(60).quote(0, 499.99, 500.01))[0].taken


def test_an_order_is_cut_to_the_cap_on_net_delta_and_the_decision_says_so(desk):
    one = desk(wanting(buy(0, 30)), limits=RiskLimits(max_net_delta_fraction=0.10))
    decision, order = one.quote(0, 499.99, 500.01)
    assert order.quantity == 20
    assert decision.taken
    why = "net delta would be 15000 (now 0), cap 10000 (risk.max_net_delta_fraction)"
    assert decision.reasons == ("because", f"buy 30 SPY cut to buy 20 SPY: {why}")


def test_an_order_of_which_the_cap_leaves_nothing_is_refused(desk):
    one = desk(wanting(buy(0, 1)), limits=RiskLimits(max_net_delta_fraction=0.10))
    one.adopt({0: (20, "500")}, cash=D(90_000))
    (decision,) = one.quote(0, 499.99, 500.01)
    assert not decision.taken
    assert decision.reasons[1].startswith("buy 1 SPY: net delta would be 10500 (now 10000), cap 10000")


def test_a_strategy_can_cancel_its_own_order(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.ENTRY, ("too old",), {}, (CancelIntent(order.client_order_id, "old"),)),
    )
    outputs = one.wait(1).quote(0, 499.99, 500.01)
    assert cancels(outputs) == [order.client_order_id]
    assert decisions(outputs)[0].taken
    again = one.wait(1).quote(0, 499.99, 500.01)
    assert cancels(again) == []  # it is on its way out already


def test_a_venue_that_refuses_each_cancel_at_once_is_asked_ever_more_seldom(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.ENTRY, ("too old",), {}, (CancelIntent(order.client_order_id, "old"),)),
    )
    asked, decided = [], 0
    began_ns = one.now_ns
    for _ in range(200):
        outputs = one.wait(1).quote(0, 499.99, 500.01)
        waiting = list(outputs)
        while waiting:  # each refusal is a wake of its own
            output = waiting.pop(0)
            if isinstance(output, CancelOrder):
                asked.append((one.now_ns - began_ns) // 1_000_000_000)
                refused = CancelRejected(order.client_order_id, one.now_ns, one.now_ns, "no")
                waiting += one.handle(refused)
            decided += isinstance(output, Decision)
    assert asked == [1, 2, 4, 8, 16, 32, 64, 124, 184]
    assert decided == len(asked)
    assert cancels(one.operate("halt")) == [order.client_order_id]  # an operator does not wait


# orders --------------------------------------------------------------------------------------------


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


# account -------------------------------------------------------------------------------------------


def change(one, cause, quantity=0, price=0, cash=0, number=0, reference="r"):
    return PositionChanged(
        number, one.now_ns, one.now_ns, ChangeCause(cause), D(quantity), D(price), D(cash), reference
    )


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
    details = one.engine.desk.attribution.details
    assert details["mark_noise"] == pytest.approx(100.0, abs=0.01)  # 3.00 where 2.00 is paid
    one.handle(change(one, "cash_settlement", -1, 2, 200, number=1))
    assert details["mark_noise"] == pytest.approx(0.0, abs=0.01)
    assert one.positions == {}


# session and marks ---------------------------------------------------------------------------------


def test_the_book_is_marked_by_the_timer_until_the_close(desk):
    one = desk(mark_seconds=60.0)
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.engine.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    one.wait(60).quote(0, 500.99, 501.01)
    mark, timer = one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    assert (mark.nav_change, mark.parts["delta"]) == (D(100), D(100))
    assert timer == SetTimer("mark", one.now_ns + 60 * 10**9)
    one.wait(1).quote(0, 501.99, 502.01)
    (mark,) = one.close()
    assert mark.nav_change == 100
    assert one.engine.desk.view.session is None
    assert one.engine.desk.view.nav == D(100_000) + 50_200


def test_a_mark_timer_after_the_close_is_not_set_again(desk):
    one = desk()
    one.close()
    assert [type(output) for output in one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))] == []


@pytest.mark.parametrize(("before_ns", "is_set"), [(1, True), (0, False)])
def test_no_mark_timer_is_set_at_the_close_itself(desk, before_ns, is_set):
    one = desk(mark_seconds=60.0)
    now_ns = one.session.close_ns - before_ns  # the timer may come before the session's own event
    timers = [
        output for output in one.handle(TimerEvent(now_ns, now_ns, "mark")) if isinstance(output, SetTimer)
    ]
    assert timers == ([SetTimer("mark", now_ns + 60 * 10**9)] if is_set else [])


def test_a_new_session_starts_its_tallies_afresh(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_orders_per_minute=1))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.engine.desk.gate.closed_trades.note(D(-1))
    one.wait(1).quote(0, 489.99, 490.01)
    one.close()
    one.open(next_session(DAY))
    inner = one.engine.desk
    assert inner.session_equity == inner.view.nav == D(149_000)
    assert inner.gate.closed_trades.losses_in_a_row == 0
    assert one.strategy.wakes.count(Wake.SESSION) == 3


def test_nothing_is_sent_after_the_close(desk):
    one = desk(wanting(buy(), on=Wake.SESSION, times=9))
    one.engine.desk.market.apply_quote(quote(0, one.now_ns, 1.0, 1.1))
    one.session = replace(one.session, close_ns=one.now_ns - 1)
    one.engine.desk.view.session = one.session
    one.handle(
        type(one._session_event("close"))(
            one.now_ns, one.now_ns, DAY.isoformat(), "close", one.session.open_ns, one.session.close_ns
        )
    )
    last = decisions(one.outputs)[-1]
    assert last.reasons[-1].endswith("outside the trading session")


def test_a_fill_known_after_the_close_is_explained_at_once(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.close()
    one.fill(order)
    attribution = one.engine.desk.attribution
    assert attribution.totals["spread"] == D("-0.10")
    assert attribution.nav == attribution.current_nav()


# operator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "mode", "cancels_all"),
    [("halt", "HALTED", True), ("flatten", "FLATTENING", True), ("reduce", "REDUCING", False)],
)
def test_the_operator_sets_the_mode(desk, action, mode, cancels_all):
    one = desk(wanting(buy(), times=2))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    outputs = one.operate(action, "enough")
    decision = decisions(outputs)[0]
    assert (decision.kind, decision.reasons) == ("mode", (f"ACTIVE to {mode}: enough",))
    assert decision.facts == {"who": "operator"}
    assert cancels(outputs) == ([order.client_order_id] if cancels_all else [])
    assert one.engine.desk.gate.mode == one.engine.desk.view.mode == mode
    assert one.strategy.wakes[-1] is Wake.OPERATOR
    assert decisions(one.operate(action)) == []  # said twice
    resumed = decisions(one.operate("resume", "fine"))[0]
    assert resumed.reasons == (f"{mode} to ACTIVE: fine",)


def test_a_halted_desk_sends_nothing(desk):
    one = desk(wanting(buy(0, 10, Purpose.CLOSE)))
    one.operate("halt")
    (decision,) = one.quote(0, 499.99, 500.01)
    assert decision.reasons[1] == "buy 10 SPY: the desk is halted"


@pytest.mark.parametrize(("action", "again"), [("halt", True), ("flatten", True), ("reduce", False)])
def test_an_operator_repeats_the_cancel_of_an_order_that_is_being_cancelled(desk, action, again):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.engine.desk.orders.cancel(order.client_order_id)
    for _ in range(2):  # the first command, and the same once more
        assert cancels(one.operate(action)) == ([order.client_order_id] if again else [])


def test_a_repeated_halt_cancels_all_that_works_and_a_repeated_flatten_only_what_was_to_go(desk):
    one = desk(Scripted())
    first, second = working(one), working(one)
    one.operate("flatten")
    one.handle(CancelRejected(first, one.now_ns, one.now_ns, "no"))
    assert cancels(one.operate("flatten")) == [second]
    one.operate("halt")
    one.handle(CancelRejected(first, one.now_ns, one.now_ns, "no"))
    assert cancels(one.operate("halt")) == [first, second]


def test_a_repeated_halt_cancels_a_combo_once(desk):
    one = desk(Scripted())
    legs = [buy(number, 1, Purpose.OPEN) for number in (1, 2)]
    combo = one.engine.desk.orders.submit_combo(legs, None, one.now_ns)
    names = [leg.client_order_id for leg in combo.legs]
    assert cancels(one.operate("halt")) == names[:1]
    assert cancels(one.operate("halt")) == names[:1]


def test_a_loss_at_the_daily_limit_flattens_until_the_next_session():
    desk = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)), mark_seconds=60.0)
    desk.adopt({0: (100, "500")})
    desk.open()
    desk.quote(0, 499.99, 500.01)
    desk.wait(60).handle(TimerEvent(desk.now_ns, desk.now_ns, "mark"))
    assert desk.engine.desk.gate.mode == "ACTIVE"
    desk.quote(0, 498.99, 499.01)
    (mode,) = decisions(desk.wait(60).handle(TimerEvent(desk.now_ns, desk.now_ns, "mark")))
    assert (mode.kind, mode.reasons) == (
        "mode",
        ("ACTIVE to FLATTENING: daily loss: -100.00 at the limit of -100.00",),
    )
    assert desk.engine.desk.view.mode == "FLATTENING"
    desk.close()
    desk.open(next_session(desk.session.day))
    assert desk.engine.desk.gate.mode == "ACTIVE"


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


def test_what_a_failed_event_had_led_to_does_not_come_out_with_the_next(desk):
    one = desk(wanting(buy(0, 10, Purpose.HEDGE), times=1))
    (order,) = orders(one.quote(0, 499.99, 500.01))

    def fail(view, wake, event):
        raise RuntimeError("a strategy's own fault")

    one.strategy.think = fail
    with pytest.raises(RuntimeError):
        one.fill(order)  # marked and booked before the strategy is woken
    one.strategy.think = None
    assert one.engine.desk.positions.quantity(0) == 10
    assert one.quote(0, 499.98, 500.02) == ()


def test_a_proposal_of_an_unknown_kind_is_refused_before_an_order_leaves(desk):
    wish = Proposal("entrance", ("because",), {}, intents=(buy(0, 10, Purpose.HEDGE),))
    one = desk()
    one.strategy.think = lambda view, wake, event: (wish,)
    with pytest.raises(ArgumentError) as refused:
        one.quote(0, 499.99, 500.01)
    assert refused.value.nearest == "entry"
    assert one.engine.desk.orders.orders == {}


def test_the_days_loss_is_judged_at_the_marks_of_now_whether_or_not_the_strategy_is_woken(desk):
    limits = RiskLimits(max_daily_loss=D(300), max_daily_loss_fraction=1.0)
    strategy = wanting(buy())
    strategy.triggers = [PriceMove(0, 1e6, 1e6)]
    one = desk(strategy, limits=limits, mark_seconds=1e6)
    (order,) = orders(one.quote(0, 499.99, 500.01))
    one.fill(order)
    for step in range(1, 60):
        mid = 500.0 - step
        assert one.wait(1).quote(0, mid - 0.01, mid + 0.01) == ()
        outputs = one.judge_loss()
        loss = D("0.01") * 10 + 10 * step
        told = [item for item in decisions(outputs) if item.kind is DecisionKind.MODE]
        assert bool(told) is (loss >= 300)
        if told:
            why = f"daily loss: {-loss:.2f} at the limit of -300.00"
            assert told[0].reasons == (f"ACTIVE to FLATTENING: {why}",)
            assert strategy.wakes.count(Wake.PRICE) == 1  # to buy
            return
    pytest.fail("the limit never struck")


def test_what_a_strategy_sees_of_the_account_is_worth_what_it_is_worth_now(desk):
    seen = []

    def think(view, wake, event):
        seen.append(view.nav)
        return ()

    one = desk(Scripted(think, [EveryQuote(0)]), mark_seconds=1e6)
    one.adopt({0: (10, "500")})
    for mid in (500.0, 490.0, 517.5):
        one.wait(1).quote(0, mid - 0.01, mid + 0.01)
    assert [worth - 100_000 for worth in seen[-3:]] == [5_000, 4_900, 5_175]


# halts of trading ----------------------------------------


def status_of(one, number=0, *, at_ns=None, is_halted=True, reason=""):
    at_ns = one.now_ns if at_ns is None else at_ns
    return one.handle(TradingHalt(number, at_ns, one.now_ns, is_halted=is_halted, reason=reason))


def working(one, number=0, side=Side.BUY, quantity=10):
    """Send an order past the strategy and let the venue take it."""
    sent = one.engine.desk.orders.submit(buy(number, quantity, Purpose.HEDGE, side), one.now_ns)
    one.accept(sent)
    return sent.client_order_id


def test_a_halt_cancels_what_works_in_the_symbol_and_its_end_is_told_once(desk):
    one = desk(Scripted())
    names = [working(one, number) for number in (0, 1)]
    outputs = status_of(one, reason="news")
    (alert,) = decisions(outputs)
    assert (alert.kind, alert.taken, alert.facts) == ("alert", True, {"symbol": "SPY"})
    assert alert.reasons == ("SPY: trading halted, no orders in it until it resumes (news)",)
    assert cancels(outputs) == names  # an option on it is halted, too
    assert one.engine.desk.gate.halted == {0: one.now_ns}
    assert status_of(one) == ()
    (alert,) = status_of(one, is_halted=False)
    assert alert.reasons == ("SPY: trading resumed",)
    assert one.engine.desk.gate.halted == {}
    assert status_of(one, is_halted=False) == ()
    (alert,) = status_of(one, 1)
    assert alert.facts == {"symbol": "SPY240419C00500000"}
    assert one.strategy.wakes == [Wake.SESSION, Wake.ORDER, Wake.ORDER]


def test_a_halt_of_an_option_leaves_orders_in_its_share_alone(desk):
    one = desk(Scripted())
    names = [working(one, number) for number in (0, 1, 2)]
    assert cancels(status_of(one, 1)) == [names[1]]


@pytest.mark.parametrize(("age", "is_halted"), [(-1, False), (0, True), (1, True)])
def test_of_two_statuses_the_later_holds(desk, age, is_halted):
    one = desk(Scripted())
    status_of(one, is_halted=False, at_ns=100)
    status_of(one, at_ns=100 + age)
    assert bool(one.engine.desk.gate.halted) is is_halted
    status_of(one, 1, at_ns=5)  # the statuses of another symbol are its own
    assert 1 in one.engine.desk.gate.halted


@pytest.mark.parametrize(("late_ns", "ends"), [(-1, False), (0, True), (1, True)])
def test_a_bar_that_began_after_a_halt_ends_it_and_the_halts_message_may_come_again(desk, late_ns, ends):
    one = desk(Scripted())
    status_of(one)
    since_ns = one.now_ns
    one.wait(120)
    outputs = one.handle(BarEvent(0, since_ns + 60 * 10**9 + late_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))
    assert (outputs != ()) is ends
    assert bool(one.engine.desk.gate.halted) is not ends
    if ends:
        assert outputs[0].reasons == ("SPY: trading resumed (it trades again)",)
        assert status_of(one, at_ns=since_ns + late_ns) == ()
        assert status_of(one, at_ns=since_ns + late_ns + 1) != ()
    other = BarEvent(1, since_ns + 60 * 10**9 + 5, one.now_ns, 60, 1, 2, 0.5, 1.5, 9)
    assert one.handle(other) == ()


def test_a_second_halt_outlasts_a_bar_of_the_trades_before_it_when_the_first_ones_end_was_missed(desk):
    # it trades from 10:05:10, is halted again at 10:05:30, and the bar of 10:05 counted as the end
    one = desk(Scripted())
    start = one.now_ns
    status_of(one)
    one.wait(330)
    assert status_of(one) == ()  # said once
    one.wait(30)
    price = 500.0
    one.handle(BarEvent(0, start + 360 * SECOND, one.now_ns, 60, price, price, price, price, 1.0))
    assert one.engine.desk.gate.halted == {0: start + 330 * SECOND}


def test_a_flattening_desk_looks_again_when_a_halt_ends(desk):
    one = desk(Scripted())
    one.operate("flatten")
    one.wait(10).timer("flatten")
    one.adopt({0: (10, "500")})
    status_of(one)
    outputs = one.wait(1).handle(TradingHalt(0, one.now_ns, one.now_ns, is_halted=False))
    timer, alert = outputs
    assert timer == SetTimer("flatten", one.now_ns + 2 * SECOND)
    assert alert.kind == "alert"


def test_a_flattening_desk_sends_nothing_in_a_halt_and_at_once_after_it(desk):
    # a refused order every 30 s, and the next one up to 30 s after the halt
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "9")})
    one.operate("flatten")
    status_of(one)
    one.wait(10)
    for _ in range(150):
        assert one.timer("flatten") == (SetTimer("flatten", one.now_ns + 2 * SECOND),)
        one.wait(2)
        one.quote(0, 499.99, 500.01)
        one.quote(1, 8.9, 9.1)
    status_of(one, is_halted=False)
    (sale,) = orders(one.timer("flatten"))
    assert (sale.instrument_id, sale.quantity) == (1, 1)


def test_a_flattening_desk_keeps_the_hedge_of_an_option_that_is_halted_alone(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "9")})
    one.quote(1, 8.9, 9.1)
    one.operate("flatten")
    status_of(one, 1)
    assert orders(one.wait(10).timer("flatten")) == []


# a halted desk ----------------------------------------


SECOND = 10**9


def test_a_halted_desk_cancels_again_every_other_second_what_still_works(desk):
    one = desk(Scripted())
    name = working(one)
    outputs = one.operate("halt")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)
    assert one.wait(1).operate("halt") == (CancelOrder(name),)
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    outputs = one.wait(1).timer("halt: cancel again")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)
    outputs = one.wait(2).timer("halt: cancel again")
    assert outputs == (SetTimer("halt: cancel again", one.now_ns + 2 * SECOND),)  # it is on its way out
    one.handle(OrderStatusUnknown(name, one.now_ns, one.now_ns, "time-out"))
    outputs = one.wait(2).timer("halt: cancel again")
    assert outputs == (SetTimer("halt: cancel again", one.now_ns + 2 * SECOND),)  # it is asked about first
    one.cancelled(name)
    assert one.wait(2).timer("halt: cancel again") == ()


def test_a_desk_that_resumed_cancels_nothing_and_halted_again_it_does(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    one.operate("resume")
    assert one.wait(2).timer("halt: cancel again") == ()
    outputs = one.operate("halt")
    assert cancels(outputs) == [name]
    assert outputs[-1] == SetTimer("halt: cancel again", one.now_ns + 2 * SECOND)


def test_a_halted_desk_cancels_what_works_over_the_night_in_the_next_session(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    one.close()
    one.open(next_session(DAY))
    assert SetTimer("halt: cancel again", one.now_ns + 2 * SECOND) in one.outputs  # the old one has ended
    assert cancels(one.wait(2).timer("halt: cancel again")) == [name]


# cancels that come to nothing -------------------------


LATE = "cancels: not over"


def alerts(outputs):
    return [decision for decision in decisions(outputs) if decision.kind is DecisionKind.ALERT]


def cancelling(one):
    """Cancel an order of the strategy's; return its id."""
    name = working(one)
    one.strategy.think = lambda view, wake, event: (
        Proposal(DecisionKind.HEDGE, ("too old",), {}, (CancelIntent(name, "old"),)),
    )
    assert cancels(one.quote(0, 499.99, 500.01)) == [name]
    one.strategy.think = None
    return name


def test_an_order_that_is_not_over_a_minute_after_its_cancel_is_named_in_an_alert(desk):
    one = desk()
    name = cancelling(one)
    asked_ns = one.now_ns
    outputs = one.wait(2).timer("mark")
    assert [output for output in outputs if isinstance(output, SetTimer) and output.name == LATE] == [
        SetTimer(LATE, asked_ns + 60 * SECOND)
    ]
    assert SetTimer(LATE, asked_ns + 60 * SECOND) not in one.wait(1).timer("mark")  # it is set already
    (alert,) = one.wait(57).timer(LATE)
    assert alert.reasons == (f"order {name} in SPY is not over 60 s after its cancel: pending_cancel",)
    assert alert.facts == {"order": name, "symbol": "SPY", "seconds": 60}
    assert alerts(one.wait(60).timer("mark")) == []  # once


def test_a_cancel_that_is_answered_leaves_no_timer_and_no_alert(desk):
    one = desk()
    name = cancelling(one)
    assert LATE not in [getattr(output, "name", "") for output in one.wait(1).timer("mark")]
    one.cancelled(name)
    outputs = one.wait(59).timer("mark")
    assert alerts(outputs) == []
    assert LATE not in [getattr(output, "name", "") for output in outputs]


@pytest.mark.parametrize(("after_seconds", "is_named"), [(1, False), (2, True)])
def test_a_refusal_at_once_lets_the_order_work_on_and_a_late_one_does_not(desk, after_seconds, is_named):
    one = desk()
    name = cancelling(one)
    one.wait(after_seconds).handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
    outputs = one.wait(60 - after_seconds).timer("mark")
    assert [alert.facts["order"] for alert in alerts(outputs)] == ([name] if is_named else [])


def test_a_halted_desk_names_an_order_whose_cancels_are_all_refused_each_minute(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("halt")
    named = []
    for second in range(2, 131, 2):
        one.handle(CancelRejected(name, one.now_ns, one.now_ns, "no"))
        outputs = one.wait(2).timer("halt: cancel again")
        assert cancels(outputs) == [name]
        named += [second] * len(alerts(outputs))
    assert named == [60, 120]


def test_a_flattening_desk_names_an_order_that_is_not_over(desk):
    one = desk(Scripted())
    name = working(one)
    one.operate("flatten")
    outputs = one.wait(60).timer("flatten")
    assert [alert.facts["order"] for alert in alerts(outputs)] == [name]


def test_an_order_whose_cancel_is_not_over_at_the_close_is_named_in_the_next_session(desk):
    one = desk()
    name = cancelling(one)
    one.wait(3).timer("mark")
    one.close()
    one.open(next_session(DAY))
    (alert,) = alerts(one.timer("mark"))
    assert alert.facts["order"] == name


def test_a_halted_desk_without_orders_sets_no_timer(desk):
    one = desk(Scripted())
    (mode,) = one.operate("halt")
    assert mode.kind == "mode"


# a flattening desk ----------------------------------------


def flatten_timers(outputs):
    return [one.due_ns for one in outputs if type(one) is SetTimer and one.name == "flatten"]


def test_a_flattening_desk_leaves_its_strategy_ten_seconds_and_then_closes_what_is_held(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    assert flatten_timers(one.operate("flatten")) == [one.now_ns + 10 * SECOND]
    outputs = one.wait(10).timer("flatten")
    (sale,) = orders(outputs)
    assert (sale.side, sale.quantity, sale.purpose) == (Side.SELL, 10, Purpose.UNWIND_HEDGE)
    (decision,) = decisions(outputs)
    assert (decision.kind, decision.taken) == ("exit", True)
    assert decision.reasons == ("flattening: still held: +10 SPY", "unwind the rest")
    assert flatten_timers(outputs) == [one.now_ns + 2 * SECOND]
    assert flatten_timers(one.fill(sale, 4)) == []  # a step is planned already
    one.wait(2)
    assert flatten_timers(one.timer("flatten")) == [one.now_ns + 2 * SECOND]
    one.fill(sale, 6)
    assert one.wait(2).timer("flatten") == ()
    assert one.positions == {}


def test_the_fill_that_leaves_a_flattening_desk_flat_is_marked_for_the_run_may_end_with_it(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate("flatten")
    (sale,) = orders(one.wait(10).timer("flatten"))
    name = sale.client_order_id
    part = one.handle(OrderFilled(name, one.now_ns, one.now_ns, "x", D(4), D("499.90"), D("0.25")))
    (before,) = [output for output in part if type(output) is Mark]
    last = one.handle(OrderFilled(name, one.now_ns, one.now_ns, "y", D(6), D("499.90"), D("0.25")))
    marks = [output for output in last if type(output) is Mark]
    assert len(marks) == 2
    assert marks[-1].nav - before.nav == -D(10) * D("0.10") - 2 * D("0.25")


@pytest.mark.parametrize("what", ["a fill", "a bust", "an assignment", "a booking"])
def test_a_flat_desk_looks_again_two_seconds_after_what_changes_its_book(desk, what):
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    name = working(one)
    if what == "a bust":
        one.handle(OrderFilled(name, one.now_ns, one.now_ns, "x", D(10), D(500), D(0)))
        other = working(one, side=Side.SELL)
        one.handle(OrderFilled(other, one.now_ns, one.now_ns, "y", D(10), D(500), D(0)))
    one.operate("flatten")
    if what != "a bust":
        one.cancelled(name)
    assert flatten_timers(one.wait(10).timer("flatten")) == []
    one.wait(5)
    match what:
        case "a fill":
            event = OrderFilled(name, one.now_ns, one.now_ns, "x", D(10), D(500), D(0))
        case "a bust":
            event = FillBusted(name, one.now_ns, one.now_ns, "x", "error")
        case "an assignment":
            event = change(one, "assignment", 1, number=1)
        case _:
            event = change(one, "manual_trade", 3, 500, -1_500)
    assert flatten_timers(one.handle(event)) == [one.now_ns + 2 * SECOND]
    assert flatten_timers(one.handle(event)) == []


def test_a_flattening_desk_plans_no_step_outside_a_session_and_begins_anew_in_the_next(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.operate("flatten")
    one.close()
    assert flatten_timers(one.handle(change(one, "manual_trade", 3, 500, -1_500))) == []
    assert one.timer("flatten") == ()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == "FLATTENING"  # an operator's mode outlasts the session
    assert flatten_timers(one.outputs)[-1] == one.now_ns + 10 * SECOND


def test_a_desk_that_was_resumed_takes_no_step(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate("flatten")
    one.operate("resume")
    assert one.wait(10).timer("flatten") == ()
    assert flatten_timers(one.operate("flatten")) == [one.now_ns + 10 * SECOND]


# modes of the risk gate ----------------------------------------


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        ("ACTIVE", None, "ACTIVE"),
        ("REDUCING", None, "REDUCING"),
        ("ACTIVE", "flatten", "FLATTENING"),
        ("ACTIVE", "halt", "HALTED"),
    ],
)
def test_the_mode_before_a_loss_comes_back_in_the_next_session_unless_an_operator_spoke(before, said, after):
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    if before == "REDUCING":
        one.operate("reduce")
    one.wait(1).quote(0, 498.99, 499.01)
    one.timer("mark")
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.wait(1).quote(0, 489.99, 490.01)
    assert [made for made in decisions(one.timer("mark")) if made.kind == "mode"] == []
    if said is not None:
        one.operate(said)
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == after
    if said is None:
        (mode,) = [made for made in decisions(one.outputs) if made.kind == "mode"][-1:]
        assert mode.reasons == (f"FLATTENING to {before}: a new session",)
        assert mode.facts == {"who": "risk gate"}
    one.operate("resume")
    one.close()
    one.open(next_session(next_session(DAY).day))
    assert one.engine.desk.gate.mode == "ACTIVE"


@pytest.mark.parametrize(
    ("before", "is_lost", "after"),
    [
        ("resume", True, "REDUCING"),
        ("reduce", True, "REDUCING"),
        ("flatten", False, "FLATTENING"),
        ("halt", False, "HALTED"),
    ],
)
def test_an_unexplained_difference_outlasts_a_lost_day_and_raises_no_mode(before, is_lost, after):
    """A desk that found a difference while it flattened for its loss traded on the next day."""
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    one.operate(before)
    if is_lost:
        one.wait(1).quote(0, 489.99, 490.01)
        one.timer("mark")
        assert one.engine.desk.gate.mode == "FLATTENING"
    mode = one.engine.desk.gate.mode
    one.operate("reduce", cause=OperatorCause.RECONCILIATION)
    assert one.engine.desk.gate.mode is mode
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == after


@pytest.mark.parametrize("stop", ["halt", "flatten"])
@pytest.mark.parametrize("opens_while_stopping", [True, False])
def test_the_mode_before_a_loss_outlasts_a_stop_of_the_run(stop, opens_while_stopping):
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    one.wait(1).quote(0, 489.99, 490.01)
    one.timer("mark")
    gate = one.engine.desk.gate
    one.operate(stop, cause=OperatorCause.STOP)
    assert (gate.kept_mode, gate.mode) == ("FLATTENING", OperatorAction(stop).mode)
    one.close()
    if opens_while_stopping:
        one.open(next_session(DAY))
        assert (gate.kept_mode, gate.mode) == ("ACTIVE", OperatorAction(stop).mode)
    one.operate("resume", cause=OperatorCause.STOP)
    if not opens_while_stopping:
        assert gate.mode == "FLATTENING"
        one.open(next_session(DAY))
    assert (gate.mode, gate.stopped_from) == ("ACTIVE", None)


@pytest.mark.parametrize(
    ("stop", "said", "now", "kept"),
    [
        ("halt", "reduce", "HALTED", "REDUCING"),
        ("flatten", "reduce", "FLATTENING", "REDUCING"),
        ("flatten", "halt", "HALTED", "HALTED"),
    ],
)
def test_a_command_in_a_stop_is_kept_and_counts_at_once_where_it_is_stricter(desk, stop, said, now, kept):
    one = desk(Scripted())
    one.operate(stop, cause=OperatorCause.STOP)
    one.operate(said)
    gate = one.engine.desk.gate
    assert (gate.mode, gate.kept_mode) == (now, kept)
    one.operate("resume", cause=OperatorCause.STOP)
    assert (gate.mode, gate.stopped_from) == (kept, None)


@pytest.mark.parametrize(("before", "rolls"), [("resume", True), ("reduce", False)])
def test_only_an_active_desk_that_flattens_for_an_expiry_begins_afresh(desk, before, rolls):
    """A desk reduced by a person, flattened at the deadline, began ACTIVE the next day."""
    one = desk(Scripted())
    one.operate(before)
    one.operate("flatten", cause=OperatorCause.DEADLINE)
    assert one.engine.desk.gate.expires_from_active is rolls
    one.operate("flatten")
    assert not one.engine.desk.gate.expires_from_active


@pytest.mark.parametrize("mode", ["halt", "flatten"])
def test_a_loss_ends_nothing_that_has_ended(desk, mode):
    one = desk(Scripted(triggers=[EveryQuote(0)]), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate(mode)
    outputs = one.wait(2).quote(0, 399.99, 400.01) + one.judge_loss() + one.timer("loss") + one.timer("mark")
    assert [made.kind for made in decisions(outputs)] == []


@pytest.mark.parametrize(
    ("used", "before", "after"),
    [
        ("0.4", "ACTIVE", "ACTIVE"),
        ("0.5", "ACTIVE", "REDUCING"),
        ("0.5", "REDUCING", "REDUCING"),
        ("0.75", "ACTIVE", "FLATTENING"),
        ("0.75", "REDUCING", "FLATTENING"),
        ("0.75", "HALTED", "HALTED"),
    ],
)
def test_margin_changes_the_mode_at_a_mark_and_what_it_flattens_goes_on_in_the_next_session(
    desk, used, before, after
):
    limits = RiskLimits(max_margin_fraction=0.25, reduce_margin_fraction=0.5, flatten_margin_fraction=0.75)
    one = desk(Scripted(), limits=limits)
    if before != "ACTIVE":
        one.operate({"REDUCING": "reduce", "HALTED": "halt"}[before])
    known = AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), (), margin_fraction=D(used))
    one.handle(known)
    outputs = one.timer("mark")
    assert one.engine.desk.gate.mode == after
    found = [made.reasons[0] for made in decisions(outputs)]
    limit = {"REDUCING": "50%", "FLATTENING": "75%"}.get(after)
    why = f"maintenance margin is {float(used):.0%} of collateral, limit {limit}"
    assert found == ([f"{before} to {after}: {why}"] if after != before else [])
    one.handle(AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), ()))
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == (before if after == "FLATTENING" else after)


@pytest.mark.parametrize(
    ("source", "mode"), [(1, "FLATTENING"), (2, "FLATTENING"), (0, "ACTIVE"), (None, "ACTIVE")]
)
def test_an_option_that_was_adjusted_into_another_is_closed_for_no_strategy_knows_it(desk, source, mode):
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "5"), 2: (1, "5")})
    number = 0 if source in (0, None) else 3 - source
    event = PositionChanged(
        *(number, one.now_ns, one.now_ns, ChangeCause.CORPORATE_ACTION, D(1), D(0), D(0), "r"),
        source=source,
        source_change=D(-1) if source else D(0),
    )
    outputs = one.handle(event)
    assert one.engine.desk.gate.mode == mode
    if mode == "FLATTENING":
        old, new = (one.book[of].symbol for of in (source, number))
        (decision,) = decisions(outputs)
        assert decision.reasons == (f"ACTIVE to FLATTENING: {old} was adjusted to {new}",)
    assert one.strategy.wakes[-1] is Wake.ACCOUNT


def test_an_option_adjusted_while_a_loss_is_flattened_keeps_the_desk_flattening(desk):
    """The night's split comes before the session that would bring the desk back to ACTIVE."""
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    one.quote(1, 5.0, 5.2)
    one.adopt({1: (40, "5.1")})
    one.wait(60).quote(1, 1.0, 1.2)
    one.timer("mark")
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.close()
    when = (one.now_ns, one.now_ns)
    event = PositionChanged(
        *(2, *when, ChangeCause.CORPORATE_ACTION, D(80), D(0), D(0), "r"), source=1, source_change=D(-40)
    )
    (decision,) = decisions(one.handle(event))
    old, new = one.book[1].symbol, one.book[2].symbol
    assert decision.reasons == (f"FLATTENING to FLATTENING: {old} was adjusted to {new}",)
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == "FLATTENING"


def test_the_half_of_an_exercise_is_no_loss(desk):
    """Ten puts worth 60,000 USD are gone before the 1,000 shares are sold at 60 above their price."""
    one = desk(Scripted())
    one.quote(0, 439.99, 440.01)
    one.quote(2, 59.9, 60.1)
    one.adopt({2: (10, "60")})
    when = (one.now_ns, one.now_ns)
    halves = (
        PositionChanged(2, *when, ChangeCause.EXERCISE, D(-10), D(0), D(0), "gone"),
        PositionChanged(0, *when, ChangeCause.DELIVERY, D(-1_000), D(500), D(500_000), "sold"),
    )
    outputs = [each for half in halves for each in one.handle(half)]
    assert decisions(outputs) == []
    assert one.engine.desk.gate.mode == "ACTIVE"
    one.wait(60).quote(0, 449.99, 450.01)
    one.timer("mark")  # short 1,000 shares that rose by 10: a loss like any other
    assert one.engine.desk.gate.mode == "FLATTENING"


@pytest.mark.parametrize("mode", ["halt", "flatten"])
def test_an_adjusted_option_changes_no_mode_of_the_operators(desk, mode):
    one = desk(Scripted())
    one.adopt({1: (1, "5")})
    one.operate(mode)
    outputs = one.handle(
        PositionChanged(
            *(2, one.now_ns, one.now_ns, ChangeCause.CORPORATE_ACTION, D(1), D(0), D(0), "r"),
            source=1,
            source_change=D(-1),
        )
    )
    assert decisions(outputs) == []


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


# what a venue reports of the account ----------------------------------------


def test_the_venues_limits_are_kept_with_the_cash_of_their_moment(desk):
    one = desk(Scripted())
    inner = one.engine.desk
    inner.account.cash = D(77)
    limits = AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), ())
    assert one.handle(limits) == ()
    assert (inner.gate.venue_limits, inner.gate.cash_at_report) == (limits, 77)
    assert one.strategy.wakes == [Wake.SESSION]


@pytest.mark.parametrize("rejected", [True, False])
def test_answers_of_the_venue_are_counted_as_taken_or_refused(desk, monkeypatch, rejected):
    one = desk(Scripted())
    noted = []
    monkeypatch.setattr(
        one.engine.desk.gate.counters, "note_answer", lambda at, *, rejected: noted.append((at, rejected))
    )
    sent = one.engine.desk.orders.submit(buy(), one.now_ns)
    (one.reject if rejected else one.accept)(sent)
    assert noted == [(one.now_ns, rejected)]


def test_an_event_of_a_foreign_order_is_kept_aside_and_an_answer_of_a_folder_wakes(desk):
    one = desk(Scripted())
    word = UnmatchedOrderEvent(OrderAccepted("x", 1, 1, "v"), one.now_ns, one.now_ns, "why")
    assert one.handle(word) == ()
    assert one.engine.desk.orders.unmatched == [word]
    assert one.strategy.wakes == [Wake.SESSION]
    one.handle(FolderAnswered(one.now_ns, one.now_ns, 1, {}))
    assert one.strategy.wakes == [Wake.SESSION, Wake.ANSWER]


# what watches ----------------------------------------


def test_instruments_with_a_trigger_are_watched(desk):
    triggers = [EveryQuote(1), PriceMove(0, 0.05, 60.0)]
    one = HandDesk(Scripted(triggers=triggers))
    assert one.engine.watched == set()
    one.open()
    assert one.engine.watched == {0, 1}
    assert [one.engine.trigger(number) for number in (0, 1, 2)] == [*reversed(triggers), None]
    one.close()
    one.strategy.start = None  # it is started once
    one.open(next_session(DAY))
    assert one.engine.watched == {0, 1}


def test_the_size_of_exits_counts_towards_no_limit_of_size(desk, monkeypatch):
    one = desk(Scripted())
    one.adopt({0: (50, "500"), 1: (5, "5")})
    for number, price in enumerate((500.0, 5.0)):
        one.quote(number, price - 0.01, price + 0.01)
    noted = []
    monkeypatch.setattr(
        one.engine.desk.gate.counters,
        "note_order",
        lambda at, size, *, is_option: noted.append((at, size, is_option)),
    )
    legs = (
        buy(0, 3, Purpose.HEDGE, Side.SELL),
        buy(0, 4, Purpose.UNWIND_HEDGE, Side.SELL),
        buy(1, 2, Purpose.CLOSE, Side.SELL),
        buy(2, 1, Purpose.OPEN),
    )
    one.quote(2, 4.99, 5.01)
    one.engine._decisions.decide(Proposal(DecisionKind.EXIT, ("x",), {}, legs, all_or_none=False))
    assert noted == [
        (one.now_ns, 3, False),
        (one.now_ns, 0, False),
        (one.now_ns, 0, True),
        (one.now_ns, 1, True),
    ]


def test_a_proposal_that_was_carried_out_inside_the_desk_is_taken_without_an_order(desk):
    done = Proposal(DecisionKind.HEDGE, ("crossed",), {}, (CancelIntent("gone", "x"),), carried_out=True)
    one = desk(Scripted(lambda view, wake, event: (done,) if wake is Wake.PRICE else (), [EveryQuote(0)]))
    (decision,) = one.quote(0, 499.99, 500.01)
    assert (decision.taken, decision.client_order_ids) == (True, ())


def test_a_strategy_hears_to_what_its_sizes_were_cut(desk):
    heard = []

    class Cut(Scripted):
        def on_cut(self, view, intents):
            heard.append([one.quantity for one in intents])

    limits = RiskLimits(max_net_delta_fraction=0.10)
    one = desk(
        Cut(wanting(buy(0, 5), buy(0, 30), times=1, all_or_none=False).think, [EveryQuote(0)]), limits=limits
    )
    one.quote(0, 499.99, 500.01)
    assert heard == [[5, 15]]
    other = desk(Cut(wanting(buy(0, 5)).think, [EveryQuote(0)]), limits=limits)
    other.quote(0, 499.99, 500.01)
    assert heard == [[5, 15]]


def test_an_unknown_kind_of_proposal_is_refused_with_those_that_there_are(desk):
    wish = Proposal("entrance", ("because",), {})
    one = desk(Scripted(lambda view, wake, event: (wish,) if wake is Wake.TIMER else ()))
    with pytest.raises(ArgumentError, match="a proposal has a kind that is not known") as refused:
        one.timer("mine")
    assert (refused.value.where, refused.value.value) == ("Proposal.kind", "entrance")
    assert refused.value.fix == f"use one of {', '.join(kind.value for kind in DecisionKind)}"
    wish = Proposal("exit", ("because",), {})
    assert decisions(one.timer("mine"))[0].kind is DecisionKind.EXIT


def test_the_close_begins_a_new_interval_of_the_explanation_and_a_mark_does_not(desk, monkeypatch):
    one = desk(Scripted())
    marked = []
    monkeypatch.setattr(
        one.engine.desk.attribution,
        "mark",
        lambda now_ns, *, is_anchor: marked.append((now_ns, is_anchor)),
    )
    one.timer("mark")
    began_ns = one.now_ns
    one.close()
    assert marked == [(began_ns, False), (one.now_ns, True)]


def test_the_book_is_marked_each_minute_unless_told_otherwise():
    one = HandDesk(Scripted())
    one.engine = TradingEngine(one.engine.desk, one.strategy)
    one.open()
    assert one.outputs == [SetTimer("mark", one.now_ns + 60 * SECOND)]


def test_latest_quotes_are_kept_of_the_instruments_that_were_asked_for(desk):
    one = desk(Scripted(triggers=[EveryQuote(0), EveryQuote(1)]))
    kept = one.engine.desk.market.recent[1] = deque(maxlen=3)
    one.quote(0, 499.99, 500.01)
    assert not kept
    for bid in (5.0, 5.1, 5.2, 5.3):
        one.wait(1).quote(1, bid, bid + 0.1)
        one.wait(1).quote(2, bid, bid + 0.1)
    assert [one.bid for one in kept] == [5.1, 5.2, 5.3]
    assert kept[-1] is one.engine.desk.market.quotes[1]


@pytest.mark.parametrize(
    ("method", "event"),
    [
        ("apply_open_interest", lambda at_ns: OpenInterestEvent(1, at_ns, at_ns, 1_000)),
        ("apply_rates", lambda at_ns: RateEvent(at_ns, at_ns, (1.0,), (0.05,))),
        ("apply_dividend", lambda at_ns: DividendEvent(0, at_ns, at_ns, at_ns, D("1.5"))),
        ("apply_adjustment", lambda at_ns: PriceAdjustmentEvent(0, at_ns, at_ns, 0.25, 4.0)),
        (
            "apply_forecast",
            lambda at_ns: ForecastEvent(0, at_ns, at_ns, "har", 5, 0.2, 0.2, 0.2, 0.01, ""),
        ),
        ("apply_gamma_exposure", lambda at_ns: GammaExposureEvent("SPY", at_ns, at_ns, 1e9, "web")),
        ("apply_session_bars", lambda at_ns: SessionBarsEvent(0, at_ns, at_ns, "d", 1, 2, 60, *[()] * 6)),
        ("apply_implied_vol", lambda at_ns: ImpliedVolEvent(0, at_ns, at_ns, 0.2, (), "VIX")),
        ("apply_trade", lambda at_ns: TradeEvent(0, at_ns, at_ns, 500.0, 7)),
        ("apply_bar", lambda at_ns: BarEvent(1, at_ns, at_ns, 60, 1, 2, 0.5, 1.5, 9)),
    ],
)
def test_what_is_known_of_the_market_is_kept_and_wakes_nobody(desk, monkeypatch, method, event):
    applied = []
    monkeypatch.setattr(MarketState, method, lambda self, event: applied.append(event))
    one = desk(Scripted())
    applied.clear()
    told = event(one.now_ns)
    assert one.handle(told) == ()
    assert applied == [told]
    assert one.strategy.wakes == [Wake.SESSION]


def test_every_kind_of_event_has_its_case(desk):
    assert {*desk(Scripted()).engine.cases, QuoteEvent} == set(get_args(Event))


@pytest.mark.parametrize("returned", ["buy 5", buy(), None.__class__])
def test_what_a_strategy_returns_that_is_no_action_ends_the_run_before_it_is_journaled(returned):
    desk = HandDesk(
        Scripted(lambda view, wake, event: [returned] if wake is Wake.PRICE else (), [EveryQuote(0)])
    )
    desk.open()
    with pytest.raises(ArgumentError, match="a strategy returned what is no action") as caught:
        desk.quote(0, 499.99, 500.01)
    assert (caught.value.where, caught.value.value) == ("on_wake of scripted", returned)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("side", "buy"),
        ("quantity", 5),
        ("quantity", 5.0),
        ("purpose", "open"),
        ("order_type", "limit"),
        ("order_type", Stop(499.95)),
        ("time_in_force", "day"),
        ("limit_price", 499.95),
        ("instrument_id", "SPY"),
        ("instrument_id", -1),
        ("instrument_id", 99),
        ("reasons", "because"),
        ("intents", buy()),
        ("intents", ("buy 5",)),
    ],
)
def test_a_proposal_with_a_field_of_another_type_ends_the_run_with_the_fields_name(field, value):
    order = buy()
    if field not in Proposal.__struct_fields__:
        order = msgspec.structs.replace(order, **{field: value})
    wrong = Proposal(DecisionKind.ENTRY, ("because",), {}, (order,))
    if field in Proposal.__struct_fields__:
        wrong = msgspec.structs.replace(wrong, **{field: value})
    desk = HandDesk(
        Scripted(lambda view, wake, event: [wrong] if wake is Wake.PRICE else (), [EveryQuote(0)])
    )
    desk.open()
    with pytest.raises(ArgumentError, match=f"{field} of a strategy's proposal is not usable") as caught:
        desk.quote(0, 499.99, 500.01)
    shown = value[0] if value == ("buy 5",) else value
    assert (caught.value.where, caught.value.value) == ("on_wake of scripted", repr(shown))


def test_a_proposal_returned_without_a_sequence_is_refused():
    alone = Proposal(DecisionKind.ENTRY, ("because",), {}, (buy(),))
    desk = HandDesk(Scripted(lambda view, wake, event: alone if wake is Wake.PRICE else (), [EveryQuote(0)]))
    desk.open()
    with pytest.raises(ArgumentError, match="a strategy returned what is no action"):
        desk.quote(0, 499.99, 500.01)


@pytest.mark.parametrize("returned", [None, EveryQuote(0)])
def test_a_start_that_returns_no_sequence_of_triggers_is_refused(returned):
    strategy = Scripted()
    strategy.start = lambda view: returned
    with pytest.raises(ArgumentError, match="no sequence of triggers") as caught:
        HandDesk(strategy).open()
    assert (caught.value.where, caught.value.value) == ("start of scripted", repr(returned))
