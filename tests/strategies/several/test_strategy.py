"""Several strategies in one desk: who sees what, what their budgets allow, and what never goes out."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.events import OrderFilled, TimerEvent
from scalpdesk.core.intents import CancelIntent, SetTimer
from scalpdesk.instruments.sessions import next_session
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal, StrategySpec
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.registry import bound_config, find_strategy
from scalpdesk.strategies.several.strategy import SharedConfig, divided
from scalpdesk_testing.kit.desk import (
    BUY,
    CLOSE,
    HEDGE,
    SELL,
    DeskOfTwo,
    HandDesk,
    cancels,
    decisions,
    order,
    orders,
)

D = Decimal


@pytest.fixture
def two():
    return DeskOfTwo().open()


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
    two.bought("a", 10)
    two.bought("b", 4)
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
    two.bought("a", 1)
    for _ in range(3):
        two.bought("b", 1)
        two.filled("b", order(SELL, 1, purpose=CLOSE))
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
    two.filled("a", order(SELL, 5, purpose=CLOSE))
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


def test_an_order_above_the_largest_is_refused_whole_and_never_sent_in_parts(two):
    """The account's holding would split it into two orders below the limit."""
    largest = RiskLimits().max_order_shares
    two.bought("b", 60)
    two.a.want(order(SELL, largest + 1, purpose=HEDGE))
    outputs = two.tick()
    assert not orders(outputs)
    assert not two.several.members["a"].orders.waiting


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
    two.bought("a", 10)
    two.b.want(order(SELL, 10, purpose=CLOSE))
    outputs = two.tick()
    assert not orders(outputs)
    assert decisions(outputs)[-1].reasons[-1] == "an exit of 10 beside 0 is more than the 0 that b holds"
    two.a.want(order(SELL, 10, purpose=CLOSE))
    assert [one.quantity for one in orders(two.tick())] == [10]


# a strategy that raises ----------------------------------------------------------------------------


def fall(*_: object) -> None:
    raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize("where", ["start", "trigger", "on_wake"])
def test_a_strategy_that_raises_is_named(two, where):
    if where == "start":
        two = DeskOfTwo()
        two.b.start = fall
    elif where == "trigger":
        two.several._shared[0]._triggers[1][1].next_row = fall
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
    with pytest.raises(ConfigError, match="share a desk"):
        find_strategy(name)


def test_an_unknown_member_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no strategy of this name") as caught:
        find_strategy("st0cka+gama-scalper")
    assert caught.value.nearest == "gamma-scalper"


def test_one_strategy_has_no_divided_book():
    assert HandDesk(GammaScalper()).engine.desk.books is None


def test_a_desk_trades_what_its_strategies_trade_each_once():
    class Config:
        def __init__(self, underlying):
            self.underlying = underlying

    def shared(**configs):
        specs = [StrategySpec(name=name, config=Config, build=Config) for name in configs]
        return SharedConfig(specs, configs, {}).underlying

    assert shared(a=Config("SPY"), b=Config("QQQ"), c=Config("IWM,SPY")) == "SPY,QQQ,IWM"
    assert shared(a=Config("QQQ"), b=object()) == "QQQ"
    assert shared(a=object()) == "SPY"


def test_who_adopts_is_a_strategy_of_the_run():
    a = StrategySpec(name="a", config=object, build=object)
    with pytest.raises(ConfigError, match="no strategy of this run"):
        SharedConfig([a], {"a": object()}, {}, "c")
