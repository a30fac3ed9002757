"""Several strategies in one desk: who sees what, what their budgets allow, and what never goes out."""

from decimal import Decimal

import pytest

from fakes.desk import HandDesk, cancels, decisions, orders
from fakes.desk_of_two import BUY, CLOSE, HEDGE, SELL, DeskOfTwo, order
from fakes.instruments import DAY, straddle_book
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.events import AccountComparison, OrderCancelled, OrderFilled, TimerEvent, TradingHalt
from scalpdesk.core.intents import CancelIntent, OrderType, SetTimer
from scalpdesk.instruments.sessions import next_session
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal, StrategySpec
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.registry import bound_config, find_strategy
from scalpdesk.strategies.several.strategy import LETTER_PAUSE_NS, SharedConfig, divided

D = Decimal


@pytest.fixture
def two():
    return DeskOfTwo().open()


def bought(two: DeskOfTwo, name: str, quantity: int) -> None:
    """Let a strategy buy at the market."""
    getattr(two, name).want(order(BUY, quantity))
    for one in orders(two.tick()):
        two.desk.fill(one)


# who sees what --------------------------------------------------------------------------------------


def test_each_sees_its_own_positions_cash_and_orders(two):
    two.a.want(order(BUY, 10))
    (sent,) = orders(two.tick())
    assert sent.owner == "a"
    assert two.several.members["a"].orders.pending(0) == 0  # as of its last look, before it was sent
    two.desk.fill(sent)
    two.tick()
    assert (two.a.view.positions.quantity(0), two.b.view.positions.quantity(0)) == (10, 0)
    assert two.a.view.account.cash == D("50000") - 10 * D("500.01")
    assert two.b.view.account.cash == D("50000")
    assert [one.client_order_id for one in two.a.view.orders.orders.values()] == [sent.client_order_id]
    assert not two.b.view.orders.orders
    two.check_sums()


def test_an_order_word_wakes_its_owner_alone(two):
    two.a.want(order(BUY, 10))
    (sent,) = orders(two.tick())
    before = len(two.b.events)
    two.desk.fill(sent)
    assert isinstance(two.a.events[-1], OrderFilled)
    assert len(two.b.events) == before


def test_a_timer_comes_back_to_who_asked_by_the_name_it_gave(two):
    due_ns = two.desk.now_ns + 60 * 10**9
    two.b.wants.append(SetTimer("look again", due_ns))
    (timer,) = [one for one in two.tick() if isinstance(one, SetTimer)]
    assert timer == SetTimer("b/look again", due_ns)
    before = len(two.a.events)
    two.desk.timer(timer.name)
    assert two.b.events[-1] == TimerEvent(two.desk.now_ns, two.desk.now_ns, "look again")
    assert len(two.a.events) == before


def test_a_proposal_says_whose_it_is(two):
    two.b.want(order(BUY, 1))
    (made,) = decisions(two.tick())
    assert (made.taken, made.facts["strategy"]) == (True, "b")


def test_each_knows_its_own_worth_and_they_sum_to_the_account(two):
    bought(two, "a", 10)
    bought(two, "b", 4)
    two.tick(509.99, 510.01)
    two.desk.timer("mark")
    two.tick(509.99, 510.01)
    assert two.a.view.nav == D("50000") + 10 * (D("510") - D("500.01"))
    assert two.b.view.nav == D("50000") + 4 * (D("510") - D("500.01"))
    account = two.desk.engine.desk.attribution
    explained = two.books.explained(account.nav_change)
    assert explained["a"]["total"] == D("99.90")
    assert explained["a"]["delta"] == D("100.00")
    assert explained["a"]["spread"] == D("-0.10")
    assert sum(row["total"] for row in explained.values()) == account.nav_change == D("139.86")


def test_three_losing_round_trips_of_one_stop_that_one_until_the_next_session(two):
    bought(two, "a", 1)
    for _ in range(3):
        bought(two, "b", 1)
        two.b.want(order(SELL, 1, purpose=CLOSE))
        for one in orders(two.tick()):
            two.desk.fill(one)
    two.a.want(order(BUY, 1))
    two.b.want(order(BUY, 1))
    outputs = two.tick()
    assert [one.owner for one in orders(outputs)] == ["a"]
    assert decisions(outputs)[-1].reasons[-1] == "consecutive_losses: 3 losing trades of b in a row"
    two.desk.close()
    two.desk.open(next_session(two.desk.session.day))
    two.b.want(order(BUY, 1))
    assert [one.owner for one in orders(two.tick())] == ["b"]


# budgets ----------------------------------------------------------------------------------------------


def test_an_opening_beyond_the_budget_is_skipped_with_its_reason():
    two = DeskOfTwo({"a": "0.10", "b": "0.50"}).open()
    two.a.want(order(BUY, 21))
    (made,) = decisions(two.tick())
    assert not made.taken
    assert made.reasons[-1] == ("budget: 0.00 at risk and 10500.21 more is above 10000.00, 10% of the equity")
    two.a.want(order(BUY, 19))
    assert len(orders(two.tick())) == 1
    two.b.want(order(BUY, 21))
    assert len(orders(two.tick())) == 1


def test_what_is_held_or_under_way_counts_and_a_close_frees_it():
    two = DeskOfTwo({"a": "0.10", "b": "0.10"}).open()
    two.a.want(order(BUY, 10))
    (first,) = orders(two.tick())
    two.a.want(order(BUY, 10))
    assert not orders(two.tick())  # the first is still under way
    two.desk.fill(first)
    two.a.want(order(BUY, 10))
    assert not orders(two.tick())  # and now it is held
    two.a.want(order(SELL, 5, purpose=CLOSE))
    for one in orders(two.tick()):
        two.desk.fill(one)
    two.a.want(order(BUY, 10))
    assert len(orders(two.tick())) == 1


def test_a_hedge_is_never_held_against_the_budget():
    two = DeskOfTwo({"a": "0.01", "b": "0.10"}).open()
    two.a.want(order(SELL, 100, purpose=HEDGE))
    (sent,) = orders(two.tick())
    two.desk.fill(sent)
    assert two.books.opened_value("a") == 0
    two.a.want(order(BUY, 1))
    assert len(orders(two.tick())) == 1


@pytest.mark.parametrize(
    ("budgets", "fits"),
    [({"a": D("0.6"), "b": D("0.4")}, True), ({"a": D("0.7"), "b": D("0.4")}, False), ({"a": D(1)}, False)],
)
def test_budgets_sum_to_at_most_the_whole(budgets, fits):
    if fits:
        assert divided(("a", "b"), budgets) == budgets
        return
    with pytest.raises(ConfigError, match="shares of the equity"):
        divided(("a", "b"), budgets)


@pytest.mark.parametrize("share", ["1.5", "0", "-0.1", "NaN", "Infinity"])
def test_a_share_that_is_none_is_refused_by_its_own_key(share):
    with pytest.raises(ConfigError) as refused:
        divided(("st0cka", "gamma-scalper"), {"st0cka": Decimal(share)})
    assert refused.value.where == "budgets.fractions.st0cka"


def test_a_share_goes_by_any_name_of_its_strategy_and_a_slip_of_the_pen_is_refused():
    names = ("st0cka", "gamma-scalper")
    configs = {name: find_strategy(name).config() for name in names}
    half = Decimal("0.5")
    shared = bound_config("+".join(names), configs, {"gamma_scalping": half, "st0ckg": half}, None)
    assert shared.budgets["gamma-scalper"] == half
    with pytest.raises(ConfigError) as refused:
        bound_config("+".join(names), configs, {"st0kca": half}, None)
    assert refused.value.nearest == "st0cka"


def test_an_exit_of_more_than_is_held_does_not_cross_with_another_ones_order_either(two):
    # the risk gate saw only what netting left of it: the strategy was short of what it had meant to close
    bought(two, "b", 10)
    two.a.want(order(BUY, 4))
    two.b.want(order(SELL, 11, purpose=CLOSE))
    outputs = two.tick()
    assert [one.quantity for one in orders(outputs)] == [4]
    assert (two.held("a"), two.held("b")) == (0, 10)


def test_an_order_above_the_largest_is_refused_whole_and_never_netted_to_a_smaller_one(two):
    largest = RiskLimits().max_order_shares
    two.a.want(order(BUY, largest + 1, purpose=HEDGE))
    two.b.want(order(SELL, 300, purpose=HEDGE))
    outputs = two.tick()
    assert [one.owner for one in orders(outputs)] == ["b"]
    made = [reason for one in decisions(outputs) for reason in one.reasons]
    assert f"order size: {largest + 1} is above the limit of {largest}" in made


def test_strategies_that_answer_each_cross_with_another_do_not_go_on_at_one_instant(two):
    for puppet, side in ((two.a, BUY), (two.b, SELL)):
        proposal = Proposal(DecisionKind.HEDGE, ("again",), {}, (order(side, 1, purpose=HEDGE),))
        puppet.think = lambda _view, _wake, _event, proposal=proposal: [proposal]
    two.desk.wait(1)
    outputs = two.desk.quote(0, 499.99, 500.01)
    waits = []
    for _ in range(3):
        (timer,) = [one for one in outputs if isinstance(one, SetTimer)]
        waits.append(timer.due_ns - two.desk.now_ns)
        two.desk.now_ns = timer.due_ns
        outputs = two.desk.timer(timer.name)
    assert waits == [0, LETTER_PAUSE_NS, LETTER_PAUSE_NS]


# crossing ---------------------------------------------------------------------------------------------


def test_opposite_wishes_of_one_wake_cross_at_the_mid_and_the_rest_goes_out(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, purpose=CLOSE), kind="exit")
    two.b.want(order(BUY, 4, purpose=HEDGE), kind="hedge")
    outputs = two.tick()
    (sent,) = orders(outputs)
    assert (sent.owner, sent.quantity, sent.side) == ("a", 6, SELL)
    crossed = next(one for one in decisions(outputs) if one.kind == "cross")
    assert crossed.taken
    assert crossed.facts | {"bid": 499.99, "ask": 500.01} == crossed.facts
    assert (crossed.facts["seller"], crossed.facts["buyer"], crossed.facts["price"]) == ("a", "b", 500.0)
    assert (two.held("a"), two.held("b")) == (6, 4)
    two.check_sums()
    assert isinstance(two.a.events[-1], OrderFilled)
    assert isinstance(two.b.events[-1], OrderFilled)
    assert two.b.events[-1].price == D("500.0000")


def test_a_cross_costs_neither_spread_nor_fee(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10))
    assert not orders(two.tick())
    two.desk.timer("mark")
    explained = two.books.explained(two.desk.engine.desk.attribution.nav_change)
    assert explained["a"]["total"] == D("-0.10")  # bought at the ask, sold at the mid
    assert explained["b"]["total"] == 0
    assert two.desk.positions == {0: 10}


def test_a_limit_that_forbids_the_mid_sets_the_price_inside_the_quote(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.01", CLOSE))
    two.b.want(order(BUY, 10))
    crossed = next(one for one in decisions(two.tick()) if one.kind == "cross")
    assert crossed.facts["price"] == 500.01


def test_limits_that_cannot_meet_both_go_out(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.05", CLOSE))
    two.b.want(order(BUY, 10, "500.01"))
    assert len(orders(two.tick())) == 2
    two.check_no_wash()


def test_a_resting_order_behind_the_market_only_limits_the_new_one(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.05", CLOSE))
    two.tick()
    two.b.want(order(BUY, 10, purpose=HEDGE))
    outputs = two.tick()
    (sent,) = orders(outputs)
    assert (sent.order_type, sent.limit_price, sent.quantity) == (OrderType.LIMIT, D("500.04"), 10)
    assert not cancels(outputs)
    two.check_no_wash()


def test_a_resting_order_at_the_market_is_taken_back_and_crosses(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.01", CLOSE))
    (resting,) = orders(two.tick())
    two.desk.accept(resting)
    heard = len(two.a.events)
    two.b.want(order(BUY, 4, purpose=HEDGE), kind="hedge")
    outputs = two.tick()
    assert not orders(outputs)
    assert cancels(outputs) == [resting.client_order_id]
    two.tick()
    assert two.b.view.exposure(0) == 4  # it waits, and counts as on its way
    outputs = two.desk.cancelled(resting.client_order_id)
    (again,) = orders(outputs)
    assert (again.owner, again.quantity, again.limit_price) == ("a", 6, D("500.01"))
    assert (two.held("a"), two.held("b")) == (6, 4)
    assert next(one for one in decisions(outputs) if one.kind == "cross" and one.facts.get("price"))
    two.letters()
    # the owner is told of its sale, not that its order was taken back
    assert [type(one).__name__ for one in two.a.events[heard:] if not hasattr(one, "bid")] == ["OrderFilled"]
    two.tick()
    assert two.a.view.exposure(0) == 0
    two.check_sums()


def test_a_resting_order_that_fills_before_it_is_taken_back_lets_the_other_go_out(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.01", CLOSE))
    (resting,) = orders(two.tick())
    two.b.want(order(BUY, 4, purpose=HEDGE))
    two.tick()
    outputs = two.desk.fill(resting)
    (sent,) = orders(outputs)
    assert (sent.owner, sent.quantity, sent.order_type) == ("b", 4, OrderType.MARKET)
    assert isinstance(two.a.events[-1], OrderFilled)
    two.check_sums()


def test_a_new_order_waits_for_one_at_the_market_to_be_over(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    (leaving,) = orders(two.tick())
    two.b.want(order(BUY, 4))
    outputs = two.tick()
    assert not orders(outputs)
    assert not cancels(outputs)
    (sent,) = orders(two.desk.fill(leaving))
    assert (sent.owner, sent.quantity) == ("b", 4)


def test_without_a_good_quote_nothing_crosses(two):
    bought(two, "a", 10)
    two.desk.wait(600)  # the quote is stale now
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 4, purpose=HEDGE))
    member = two.several.members
    outputs = two.desk.quote(0, 499.99, 499.99)  # locked: good enough to think on, no mid to cross at
    assert [one.owner for one in orders(outputs)] == ["a"]
    assert member["b"].orders.waiting
    two.check_no_wash()
    outputs = two.tick()  # the sale is still out
    assert not orders(outputs)
    assert two.held("b") == 0


def test_what_waits_can_be_cancelled_by_its_owner_and_ends_with_the_session(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.tick()
    two.b.want(order(BUY, 4))
    two.tick()
    (waiting,) = two.several.members["b"].orders.waiting.values()
    two.b.wants.append(
        Proposal(DecisionKind.EXIT, ("no more",), {}, (CancelIntent(waiting.client_order_id, "late"),))
    )
    outputs = two.tick()
    assert [one.taken for one in decisions(outputs)] == [True]
    assert not cancels(outputs)
    assert not waiting.is_live
    two.b.want(order(BUY, 5))
    two.tick()
    outputs = two.desk.close()
    assert any("no longer waits" in reason for one in decisions(outputs) for reason in one.reasons)
    assert not two.several.members["b"].orders.waiting


def test_nobody_cancels_another_ones_order(two):
    two.a.want(order(BUY, 10, "499.00"))
    (resting,) = orders(two.tick())
    two.b.wants.append(
        Proposal(DecisionKind.EXIT, ("mine",), {}, (CancelIntent(resting.client_order_id, "?"),))
    )
    outputs = two.tick()
    assert not cancels(outputs)
    assert decisions(outputs)[0].reasons[-1] == f"{resting.client_order_id} is no live order of b"


def test_nobody_sells_as_an_exit_what_is_not_its_own(two):
    bought(two, "a", 10)
    two.b.want(order(SELL, 10, purpose=CLOSE))
    outputs = two.tick()
    assert not orders(outputs)
    assert decisions(outputs)[-1].reasons[-1] == "an exit of 10 beside 0 is more than the 0 that b holds"
    two.a.want(order(SELL, 10, purpose=CLOSE))
    assert [one.quantity for one in orders(two.tick())] == [10]


def test_legs_that_belong_together_neither_cross_nor_wait(two):
    two.desk.market(500.0)
    two.a.want(order(BUY, 1, "9.00", number=1))
    two.tick()
    two.b.want(order(SELL, 1, number=1), order(SELL, 1, number=2))
    made = decisions(two.tick())[-1]
    assert not made.taken
    assert made.reasons[-1] == "an order of a for SPY240419C00500000 is in the way"


def test_legs_that_belong_together_are_not_cut_where_the_account_is_short(two):
    two.desk.market(500.0)
    two.a.want(order(SELL, 1, number=1, purpose=HEDGE))
    outputs = two.tick()
    assert orders(outputs), decisions(outputs)
    for one in orders(outputs):
        two.desk.fill(one)
    two.b.want(order(BUY, 2, number=1), order(BUY, 2, number=2))
    made = decisions(two.tick())[-1]
    assert not made.taken
    assert made.reasons[-1] == (
        "the account holds SPY240419C00500000 the other way: one order cannot cross zero"
    )


def test_what_two_hold_against_each_other_expires_between_them():
    two = DeskOfTwo(book=straddle_book(expiry=DAY))
    two.open()
    two.desk.market(500.0)
    two.a.want(order(BUY, 3, number=1))
    two.b.want(order(SELL, 3, number=1))
    assert not orders(two.tick())
    assert (two.held("a", 1), two.held("b", 1), two.desk.positions) == (3, -3, {})
    two.desk.go_to("15:59:50")
    two.tick(503.99, 504.01)
    before = two.books.of("a").account.cash
    outputs = two.desk.close()
    (settled,) = [one for one in decisions(outputs) if one.kind == "cross"]
    assert settled.reasons[0].endswith("of a against b expired: settled inside at 4.0000")
    assert [settled.facts[name] for name in ("buyer", "seller", "quantity", "price")] == ["b", "a", 3.0, 4.0]
    assert (two.held("a", 1), two.held("b", 1)) == (0, 0)
    assert two.books.of("a").account.cash - before == 3 * 4 * 100
    two.check_sums()


def test_the_account_never_crosses_zero_in_one_order(two):
    bought(two, "a", 10)
    two.b.want(order(SELL, 25, purpose=HEDGE))
    (first,) = orders(two.tick())
    assert (first.owner, first.quantity) == ("b", 10)
    assert not orders(two.tick())
    (second,) = orders(two.desk.fill(first))
    assert (second.owner, second.quantity) == ("b", 15)
    two.desk.fill(second)
    assert (two.held("a"), two.held("b"), two.desk.positions) == (10, -25, {0: -15})
    two.check_sums()


def test_a_halted_desk_crosses_nothing(two):
    bought(two, "a", 10)
    two.desk.operate("halt")
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10, purpose=HEDGE))
    outputs = two.tick()
    assert not orders(outputs)
    assert (two.held("a"), two.held("b")) == (10, 0)
    assert all("the desk is halted" in one.reasons[-1] for one in decisions(outputs))


def trading(two: DeskOfTwo, *, is_halted: bool) -> None:
    """Let the exchanges halt or resume trading in the share, a second later."""
    at_ns = two.desk.wait(1).now_ns
    two.desk.handle(TradingHalt(0, at_ns, at_ns, is_halted=is_halted))


def test_nothing_crosses_while_trading_is_halted(two):
    # the members traded with each other at the mid from before the halt
    bought(two, "a", 10)
    trading(two, is_halted=True)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10, purpose=HEDGE))
    outputs = two.tick()
    assert not orders(outputs)
    assert (two.held("a"), two.held("b")) == (10, 0)
    assert [one.reasons[-1].rpartition(": ")[2] for one in decisions(outputs)] == [
        "trading is halted in SPY"
    ] * 2


def resumed(two: DeskOfTwo, *, is_compared: bool) -> None:
    """Begin a resumed run, or end the comparison of its account."""
    at_ns = two.desk.wait(1).now_ns
    two.desk.handle(AccountComparison(at_ns, at_ns, is_compared=is_compared))


def test_nothing_crosses_or_goes_before_a_resumed_run_has_compared_its_account(two):
    # what the watchdog had closed was bought by the other member inside the desk
    bought(two, "a", 10)
    resumed(two, is_compared=False)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10, purpose=HEDGE))
    outputs = two.tick()
    assert not orders(outputs)
    assert (two.held("a"), two.held("b")) == (10, 0)
    assert [one.reasons[-1].rpartition(": ")[2] for one in decisions(outputs)] == [
        "the account has not been compared with the journal yet"
    ] * 2
    assert not two.a.view.is_compared
    resumed(two, is_compared=True)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10, purpose=HEDGE))
    assert not orders(two.tick())
    assert (two.held("a"), two.held("b")) == (0, 10)


def test_what_waits_to_cross_waits_out_the_comparison_of_a_resumed_run(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.01", purpose=CLOSE))
    (resting,) = orders(two.tick(499.99, 500.02))
    two.desk.accept(resting)
    two.b.want(order(BUY, 10, "500.01"))
    assert len(cancels(two.tick(499.99, 500.02))) == 1
    assert len(two.several._crossing.waiting) == 1
    resumed(two, is_compared=False)
    two.desk.cancelled(resting.client_order_id)
    two.tick(499.99, 500.02)
    assert (two.held("a"), two.held("b")) == (10, 0)
    assert len(two.several._crossing.waiting) == 1
    assert type(two.a.events[-2]) is OrderCancelled  # its owner hears of it, and may want its exit anew
    resumed(two, is_compared=True)
    assert [one.side for one in orders(two.tick(499.99, 500.02))] == [BUY]


def test_what_waits_to_cross_waits_out_a_halt_and_an_order_taken_back_for_it_ends(two):
    two.a.want(order(BUY, 10, "500.01"))
    (resting,) = orders(two.tick(499.99, 500.02))
    two.desk.accept(resting)
    two.b.want(order(SELL, 4))
    assert cancels(two.tick(499.99, 500.02)) == [resting.client_order_id]
    trading(two, is_halted=True)
    two.desk.cancelled(resting.client_order_id)
    assert isinstance(two.a.events[-1], OrderCancelled)  # its owner decides anew
    assert not orders(two.tick())
    assert (two.held("a"), two.held("b"), two.b.view.orders.pending(0)) == (0, 0, -4)
    trading(two, is_halted=False)
    (sold,) = orders(two.tick())
    assert (sold.owner, sold.side, sold.quantity) == ("b", SELL, 4)


# a strategy that raises ----------------------------------------------------------------------------


def fall(*_: object) -> None:
    raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize("where", ["start", "trigger", "on_wake"])
def test_a_strategy_that_raises_is_named(two, where):
    if where == "start":
        two = DeskOfTwo()
        two.b.start = fall
    elif where == "trigger":
        two.several._shared[0]._triggers[1][1].check = fall
    else:
        two.b.on_wake = fall
    with pytest.raises(ZeroDivisionError) as raised:
        two.open() if where == "start" else two.tick()
    assert raised.value.__notes__ == ["raised by the strategy b"]


# the account's own moves ----------------------------------------------------------------------------


def test_what_is_held_at_the_start_is_nobodys_or_the_adopters():
    for adopts, owner in ((None, ""), ("b", "b")):
        two = DeskOfTwo(adopts=adopts)
        two.desk.now_ns = two.desk.session.open_ns
        two.desk.adopt({0: (20, "500")}, D(90_000))
        two.open()
        assert two.held(owner) == 20
        assert two.books.of("a").account.cash == D(50_000)
        assert two.books.nav("b") == D(50_000)
        two.check_sums()


def test_a_transfer_is_nobodys(two):
    with pytest.raises(ArgumentError, match="no such strategy"):
        DeskOfTwo(adopts="c")
    assert two.books.of("stranger").name == ""


# names ------------------------------------------------------------------------------------------------


def test_names_joined_by_plus_are_several_strategies():
    found = find_strategy("gamma_scalping+ST0CKA")
    assert found.name == "gamma-scalper+st0cka"
    assert found.members == ("gamma-scalper", "st0cka")
    specs = [find_strategy(name) for name in found.members]
    made = found.build(SharedConfig(specs, {one.name: one.config() for one in specs}, {"st0cka": D("0.2")}))
    assert made.name == found.name
    assert made.budgets == {"gamma-scalper": D("0.8"), "st0cka": D("0.2")}
    assert isinstance(made.strategies[0], GammaScalper)
    assert made.phase == "gamma-scalper: waiting, st0cka: -"


@pytest.mark.parametrize("name", ["st0cka+st0cka", "st0cka+gamma-scalper+st0cka"])
def test_a_strategy_is_named_once(name):
    with pytest.raises(ConfigError, match="different ones"):
        find_strategy(name)


def test_an_unknown_member_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no strategy of this name") as caught:
        find_strategy("st0cka+gama-scalper")
    assert caught.value.nearest == "gamma-scalper"


def test_one_strategy_has_no_divided_book():
    assert HandDesk(GammaScalper()).engine.desk.books is None


def test_a_desk_trades_one_underlying():
    class Config:
        def __init__(self, underlying):
            self.underlying = underlying

    a, b = (StrategySpec(name=name, config=Config, build=Config) for name in "ab")
    shared = SharedConfig([a, b], {"a": Config("SPY"), "b": Config("QQQ")}, {})
    with pytest.raises(ConfigError, match="one underlying"):
        _ = shared.underlying
    assert SharedConfig([a, b], {"a": Config("QQQ"), "b": object()}, {}).underlying == "QQQ"
    with pytest.raises(ConfigError, match="no strategy of this run"):
        SharedConfig([a], {"a": object()}, {}, "c")


def test_an_order_that_its_owner_cancels_too_while_it_is_taken_back_does_not_come_back(two):
    bought(two, "a", 10)
    two.a.want(order(SELL, 10, "500.01", CLOSE))
    (resting,) = orders(two.tick())
    two.desk.accept(resting)
    two.b.want(order(BUY, 4, purpose=HEDGE))
    assert cancels(two.tick()) == [resting.client_order_id]
    two.a.wants.append(
        Proposal(DecisionKind.EXIT, ("no more",), {}, (CancelIntent(resting.client_order_id, "late"),))
    )
    two.tick()
    outputs = two.desk.cancelled(resting.client_order_id)
    assert [(one.owner, one.side, one.quantity) for one in orders(outputs)] == [("b", BUY, 4)]
    assert isinstance(two.a.events[-1], OrderCancelled)
    assert two.held("a") == 10


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("limits", [(None, None), ("3.00", "5.00")])
def test_options_two_hold_against_each_other_are_closed_between_them_whoever_leaves_first(two, first, limits):
    two.desk.market(500.0)
    two.a.want(order(BUY, 2, number=1))
    two.b.want(order(SELL, 1, number=1))
    for one in orders(two.tick()):
        two.desk.fill(one)
    two.letters()
    assert (two.held("a", 1), two.held("b", 1), two.desk.positions) == (2, -1, {1: 1})
    # what is left is what b owes a
    two.a.want(order(SELL, 1, number=1, purpose=CLOSE))
    for one in orders(two.tick()):
        two.desk.fill(one)
    two.letters()
    assert (two.held("a", 1), two.held("b", 1)) == (1, -1)
    assert not two.desk.positions.get(1)
    exits = {"a": order(SELL, 1, limits[0], CLOSE, 1), "b": order(BUY, 1, limits[1], CLOSE, 1)}
    last = "b" if first == "a" else "a"
    getattr(two, first).want(exits[first])
    assert not orders(two.tick())  # the venue would refuse it: the account holds none
    (waiting,) = two.several.members[first].orders.waiting.values()
    assert waiting.submitted.limit_price is None
    again = CancelIntent(waiting.client_order_id, "exit not filled in time")
    for _ in range(3):  # its owner prices it anew, in vain
        getattr(two, first).wants.append(Proposal(DecisionKind.EXIT, ("try again",), {}, (again,)))
        assert not orders(two.tick())
    assert waiting.is_live
    getattr(two, last).want(exits[last])
    assert not orders(two.tick())
    assert (two.held("a", 1), two.held("b", 1), waiting.is_live) == (0, 0, False)
    two.check_sums()


def test_flattening_leaves_alone_what_two_hold_against_each_other(two):
    bought(two, "a", 10)
    two.b.want(order(SELL, 4, purpose=HEDGE))
    for one in orders(two.tick()):
        two.desk.fill(one)
    assert (two.held("a"), two.held("b"), two.desk.positions) == (10, -4, {0: 6})
    two.desk.operate("flatten")
    two.desk.wait(10)
    two.desk.quote(0, 499.99, 500.01)
    (sale,) = orders(two.desk.timer("flatten"))
    assert (sale.owner, sale.side, sale.quantity) == ("a", SELL, 6)
    two.desk.fill(sale)
    two.desk.wait(10)
    two.desk.quote(0, 499.99, 500.01)
    assert not orders(two.desk.timer("flatten"))
    assert two.desk.positions == {}
