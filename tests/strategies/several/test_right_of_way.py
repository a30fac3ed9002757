"""Orders of several strategies that could meet: an opening order gives way, a hedge or an exit goes first."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.events import (
    AccountComparison,
    CancelRejected,
    OrderCancelled,
    OrderNotFound,
    OrderStatusUnknown,
    PositionChanged,
    TradingHalt,
)
from scalpdesk.core.intents import CancelIntent, OrderIntent, SubmitOrder
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.several.right_of_way import ABOUT_TO_FILL_NS
from scalpdesk_testing.kit.desk import BUY, CLOSE, HEDGE, SELL, DeskOfTwo, cancels, decisions, order, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book

D = Decimal
SHARE, CALL = 0, 1
SECONDS = ABOUT_TO_FILL_NS // 10**9


@pytest.fixture
def two():
    return DeskOfTwo().open()


def resting(two: DeskOfTwo, intent: OrderIntent) -> SubmitOrder:
    """Let strategy a send a limit order that the venue accepts."""
    two.a.want(intent)
    (sent,) = orders(two.tick())
    two.desk.accept(sent)
    return sent


def waiting_hedge(two: DeskOfTwo) -> SubmitOrder:
    """Let a hedge of b's, a sale of four, wait for a purchase of a's that rests; return the purchase."""
    first = resting(two, order(BUY, 10, "499.00"))
    two.b.want(order(SELL, 4, purpose=HEDGE), kind="hedge")
    outputs = two.tick()
    assert (orders(outputs), cancels(outputs)) == ([], [first.client_order_id])
    return first


def hedged_against(two: DeskOfTwo) -> None:
    """Let strategy a hold ten shares and b owe four of them: the account holds six."""
    two.bought("a", 10)
    two.filled("b", order(SELL, 4, purpose=HEDGE))
    assert (two.held("a"), two.held("b"), two.desk.positions) == (10, -4, {SHARE: 6})


def waits(two: DeskOfTwo, name: str) -> list[int]:
    """Signed units of a strategy's orders that wait."""
    return [int(one.signed_leaves) for one in two.several.members[name].orders.waiting.values()]


# an opening order gives way ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, "500.05"])
def test_an_opening_order_waits_for_anothers_order_and_is_asked_again(two, limit):
    two.bought("a", 10)
    two.a.want(order(SELL, 10, "500.05", CLOSE))
    (exit_order,) = orders(two.tick())
    two.b.want(order(BUY, 4, limit))
    outputs = two.tick()
    assert not orders(outputs)
    assert not cancels(outputs)
    assert [one.taken for one in decisions(outputs)] == [False]
    assert not waits(two, "b")
    two.desk.fill(exit_order)
    two.b.want(order(BUY, 4, limit))
    assert [(one.owner, one.quantity) for one in orders(two.tick())] == [("b", 4)]


@pytest.mark.parametrize(
    ("limits", "sent"),
    [((None, None), ["a"]), (("500.01", "500.01"), ["a"]), (("500.00", "500.05"), ["a", "b"])],
)
def test_opening_orders_of_one_wake_both_go_where_their_prices_cannot_meet(two, limits, sent):
    two.a.want(order(BUY, 10, limits[0]))
    two.b.want(order(SELL, 4, limits[1]))
    assert [one.owner for one in orders(two.tick())] == sent
    two.check_no_wash()


def test_an_opening_order_gives_way_to_a_hedge_that_waits(two):
    waiting_hedge(two)
    two.a.want(order(BUY, 3, "499.00"), all_or_none=False)
    outputs = two.tick()
    assert not orders(outputs)
    assert not decisions(outputs)[-1].taken
    assert waits(two, "b") == [-4]


def test_a_hedge_of_the_same_wake_goes_before_an_opening_order(two):
    two.a.want(order(BUY, 10, "500.00"))
    two.b.want(order(SELL, 4, purpose=HEDGE))
    outputs = two.tick()
    assert [(one.owner, one.side) for one in orders(outputs)] == [("b", SELL)]
    assert [one.taken for one in decisions(outputs)] == [False, True]


# a hedge or an exit goes first ------------------------------------------------------------------------


def test_a_hedge_has_a_resting_purchase_cancelled_and_is_sent_once_that_is_off_the_book(two):
    first = waiting_hedge(two)
    two.tick()
    assert two.b.view.exposure(SHARE) == -4  # it waits, and counts as on its way
    outputs = two.desk.cancelled(first.client_order_id)
    (sent,) = orders(outputs)
    assert (sent.owner, sent.side, sent.quantity, sent.purpose) == ("b", SELL, 4, HEDGE)
    assert [one.kind for one in decisions(outputs)] == [DecisionKind.RIGHT_OF_WAY]
    assert isinstance(two.a.events[-1], OrderCancelled)  # its owner hears of it and decides again
    two.desk.fill(sent)
    assert (two.held("a"), two.held("b"), two.desk.positions) == (0, -4, {SHARE: -4})
    assert not two.desk.engine.desk.orders.live
    two.check_sums()


def test_an_exit_goes_before_a_purchase_and_both_pay_the_market(two):
    two.bought("a", 10)
    two.b.want(order(BUY, 10, "499.00"))
    (first,) = orders(two.tick())
    two.a.want(order(SELL, 10, purpose=CLOSE))
    assert cancels(two.tick()) == [first.client_order_id]
    (sold,) = orders(two.desk.cancelled(first.client_order_id))
    two.desk.fill(sold)
    two.bought("b", 10)
    two.desk.timer("mark")
    explained = two.books.explained(two.desk.engine.desk.attribution.nav_change)
    assert (explained["a"]["spread"], explained["b"]["spread"]) == (D("-0.20"), D("-0.10"))
    two.check_sums()


@pytest.mark.parametrize(
    ("limit", "hedge_limit", "at_once"),
    [("500.05", None, True), (None, None, False), (None, "500.01", False), ("500.01", "500.01", False)],
)
def test_an_order_at_the_market_and_of_two_limits_a_young_exit_are_waited_for(
    two, limit, hedge_limit, at_once
):
    two.bought("a", 10)
    two.a.want(order(SELL, 5, limit, CLOSE))
    (first,) = orders(two.tick())
    two.b.want(order(BUY, 4, hedge_limit, HEDGE))
    assert bool(cancels(two.tick())) is at_once
    if not at_once:
        two.desk.wait(SECONDS)
        assert cancels(two.tick()) == [first.client_order_id]
    (sent,) = orders(two.desk.cancelled(first.client_order_id))
    assert (sent.owner, sent.side) == ("b", BUY)


def test_two_exits_do_not_cancel_each_other_in_turns_without_a_pause(two):
    hedged_against(two)
    first = resting(two, order(SELL, 5, "500.00", CLOSE))
    two.desk.wait(SECONDS)
    two.b.want(order(BUY, 4, "500.00", CLOSE))
    assert cancels(two.tick()) == [first.client_order_id]
    (second,) = orders(two.desk.cancelled(first.client_order_id))
    two.desk.accept(second)
    two.a.want(order(SELL, 5, "500.00", CLOSE))
    for _ in range(SECONDS - 2):
        assert not cancels(two.tick())
    two.tick()
    two.tick()
    assert two.desk.engine.desk.orders.live[second.client_order_id].state == "pending_cancel"


def test_a_cancel_that_the_venue_dropped_is_asked_for_again_and_holds_the_hedge_no_longer(two):
    first = waiting_hedge(two)
    two.tick()
    now_ns = two.desk.now_ns
    two.desk.handle(CancelRejected(first.client_order_id, now_ns, now_ns, "still working"))
    two.desk.wait(1)
    assert cancels(two.tick()) == [first.client_order_id]
    assert [one.owner for one in orders(two.desk.cancelled(first.client_order_id))] == ["b"]


def test_an_order_in_doubt_holds_the_hedge_until_the_venue_says_what_became_of_it(two):
    first = resting(two, order(BUY, 10, "499.00"))
    now_ns = two.desk.now_ns
    two.desk.handle(OrderStatusUnknown(first.client_order_id, now_ns, now_ns, "time-out"))
    two.b.want(order(SELL, 4, purpose=HEDGE))
    outputs = two.tick()
    assert not orders(outputs)
    assert not cancels(outputs)
    now_ns = two.desk.now_ns
    (sent,) = orders(two.desk.handle(OrderNotFound(first.client_order_id, now_ns, now_ns)))
    assert (sent.owner, sent.quantity) == ("b", 4)


# what waits -------------------------------------------------------------------------------------------


def test_what_waits_can_be_cancelled_by_its_owner(two):
    waiting_hedge(two)
    (waiting,) = two.several.members["b"].orders.waiting.values()
    cancel = CancelIntent(waiting.client_order_id, "late")
    two.b.wants.append(Proposal(DecisionKind.HEDGE, ("no more",), {}, (cancel,)))
    outputs = two.tick()
    assert [one.taken for one in decisions(outputs)] == [True]
    assert not cancels(outputs)
    assert not waiting.is_live


ENDS = {
    "close": lambda desk, _: desk.close(),
    "desk halted": lambda desk, _: desk.operate("halt"),
    "trading halted": lambda desk, now_ns: desk.handle(TradingHalt(SHARE, now_ns, now_ns, is_halted=True)),
    "compared": lambda desk, now_ns: desk.handle(AccountComparison(now_ns, now_ns, is_compared=False)),
}


@pytest.mark.parametrize("ends", ENDS)
def test_what_waits_ends_with_the_session_and_where_nothing_may_be_sent(two, ends):
    """Its strategy decides again by the market of then."""
    first = waiting_hedge(two)
    ENDS[ends](two.desk, two.desk.now_ns)
    if ends != "close":
        two.tick()
    assert not waits(two, "b")
    assert not orders(two.desk.cancelled(first.client_order_id))


@pytest.mark.parametrize(("purpose", "is_sent"), [(HEDGE, False), (CLOSE, True)])
def test_on_a_quote_that_is_too_old_an_exit_that_waited_is_sent_and_a_hedge_is_not(two, purpose, is_sent):
    two.bought("b", 4)
    first = resting(two, order(BUY, 10, "499.00"))
    two.b.want(order(SELL, 4, purpose=purpose))
    two.tick()
    two.desk.wait(600)
    assert bool(orders(two.desk.cancelled(first.client_order_id))) is is_sent
    assert not waits(two, "b")


def test_opposite_hedges_of_one_wake_go_one_after_the_other(two):
    two.a.want(order(BUY, 5, purpose=HEDGE))
    two.b.want(order(SELL, 4, purpose=HEDGE))
    (first,) = orders(two.tick())
    assert (first.owner, waits(two, "b")) == ("a", [-4])
    (second,) = orders(two.desk.fill(first))
    assert (second.owner, second.quantity) == ("b", 4)


def test_a_strategys_own_order_gives_no_way_to_its_hedge(two):
    two.b.want(order(BUY, 4, "499.00"))
    assert orders(two.tick())
    two.b.want(order(SELL, 4, purpose=HEDGE))
    outputs = two.tick()
    assert (orders(outputs), cancels(outputs), waits(two, "b")) == ([], [], [])
    assert not decisions(outputs)[-1].taken


def test_nothing_goes_or_waits_while_the_desk_is_halted(two):
    two.bought("a", 10)
    two.desk.operate("halt")
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(BUY, 10, purpose=HEDGE))
    assert not orders(two.tick())
    assert (waits(two, "a"), waits(two, "b")) == ([], [])


# the account's holding never crosses zero in one order ------------------------------------------------


def test_a_hedge_takes_the_account_to_zero_first_and_the_rest_follows_the_fill(two):
    two.bought("a", 10)
    two.b.want(order(SELL, 25, purpose=HEDGE))
    (first,) = orders(two.tick())
    assert (first.owner, first.quantity) == ("b", 10)
    assert not orders(two.tick())
    (second,) = orders(two.desk.fill(first))
    assert (second.owner, second.quantity) == ("b", 15)
    two.desk.fill(second)
    assert (two.held("a"), two.held("b"), two.desk.positions) == (10, -25, {SHARE: -15})
    two.check_sums()


def test_what_closes_the_holding_in_the_same_wake_leaves_nothing_to_sell(two):
    two.bought("a", 10)
    two.a.want(order(SELL, 10, purpose=CLOSE))
    two.b.want(order(SELL, 4, purpose=HEDGE))
    (first,) = orders(two.tick())
    assert (first.owner, waits(two, "b")) == ("a", [-4])
    assert [one.owner for one in orders(two.desk.fill(first))] == ["b"]


def test_an_opening_order_is_cut_where_the_account_is_short(two):
    two.filled("a", order(SELL, 6, purpose=HEDGE))
    two.b.want(order(BUY, 10))
    outputs = two.tick()
    assert [one.quantity for one in orders(outputs)] == [6]
    assert not waits(two, "b")


def test_legs_that_belong_together_are_not_cut_where_the_account_is_short(two):
    two.desk.market(500.0)
    two.filled("a", order(SELL, 1, purpose=HEDGE))
    two.b.want(order(BUY, 2), order(BUY, 2, number=2))
    outputs = two.tick()
    assert not orders(outputs)
    assert not decisions(outputs)[-1].taken


# options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_filled", [True, False])
def test_no_option_is_opened_that_another_strategy_has_the_other_side_of(two, is_filled):
    two.desk.market(500.0)
    two.a.want(order(BUY, 2, None if is_filled else "13.50", number=CALL))
    for one in orders(two.tick()):
        if is_filled:
            two.desk.fill(one)
    sale = order(SELL, 1, "15.00", number=CALL)
    for legs in ((sale,), (sale, order(SELL, 1, number=2))):
        two.b.want(*legs)
        outputs = two.tick()
        assert not orders(outputs)
        assert not decisions(outputs)[-1].taken


def test_an_exit_of_another_strategy_that_cannot_meet_it_lets_an_option_be_opened(two):
    two.desk.market(500.0)
    two.bought("a", 2, CALL)
    two.a.want(order(SELL, 2, "15.00", CLOSE, CALL))
    two.tick()
    two.b.want(order(BUY, 1, "13.50", number=CALL))
    assert [one.owner for one in orders(two.tick())] == ["b"]


def taken_away(two: DeskOfTwo, units: int, number: int = CALL) -> None:
    """Let the account's owner sell by hand what a strategy holds."""
    at_ns = two.desk.wait(1).now_ns
    terms = ChangeCause.TRANSFER, D(-units), D(10), D(0), f"by hand {at_ns}"
    two.desk.handle(PositionChanged(number, at_ns, at_ns, *terms))


def test_an_exit_sells_no_option_that_the_account_does_not_hold(two):
    two.desk.market(500.0)
    two.bought("a", 3, CALL)
    taken_away(two, 2)
    assert (two.held("a", CALL), two.held("", CALL), two.desk.positions[CALL]) == (3, -2, 1)
    two.a.want(order(SELL, 3, purpose=CLOSE, number=CALL))
    (sent,) = orders(two.tick())
    assert (sent.quantity, waits(two, "a")) == (1, [])
    two.desk.fill(sent)
    two.a.want(order(SELL, 2, purpose=CLOSE, number=CALL))
    outputs = two.tick()
    assert not orders(outputs)
    assert not decisions(outputs)[-1].taken
    two.desk.operate("flatten")
    two.desk.wait(10)
    assert not orders(two.desk.timer("flatten"))
    assert (two.held("a", CALL), two.held("", CALL), two.desk.positions) == (2, -2, {})


def test_an_option_held_against_another_owner_ends_by_its_own_law_for_each():
    """The account holds no option, so that no venue exercises it."""
    two = DeskOfTwo(book=straddle_book(expiry=DAY)).open()
    two.desk.market(500.0)
    two.bought("a", 2, CALL)
    taken_away(two, 2)
    two.desk.go_to("15:59:50")
    two.tick(503.99, 504.01)
    before = {name: book.account.cash for name, book in two.books.books.items()}
    outputs = two.desk.close()
    owners = [one.facts["strategy"] for one in decisions(outputs) if one.kind is DecisionKind.SESSION]
    assert owners == ["a", "a", "nobody", "nobody"]
    assert (two.held("a", CALL), two.held("", CALL)) == (0, 0)
    assert (two.held("a"), two.held(""), two.desk.positions) == (200, -200, {})
    gained = {name: book.account.cash - before[name] for name, book in two.books.books.items()}
    assert gained == {"a": -100_000, "b": 0, "": 100_000}
    two.check_sums()


# flattening -------------------------------------------------------------------------------------------


def test_flattening_leaves_alone_what_two_hold_against_each_other(two):
    hedged_against(two)
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


def test_flattening_has_the_exit_of_another_strategy_cancelled_that_would_meet_its_sale(two):
    hedged_against(two)
    two.desk.operate("flatten")
    two.desk.wait(9)
    two.b.want(order(BUY, 4, "500.01", CLOSE))
    (exit_order,) = orders(two.tick())
    two.desk.accept(exit_order)
    assert cancels(two.desk.timer("flatten")) == [exit_order.client_order_id]
    two.desk.cancelled(exit_order.client_order_id)
    two.desk.wait(2)
    two.desk.quote(0, 499.99, 500.01)
    (sale,) = orders(two.desk.timer("flatten"))
    assert (sale.owner, sale.side, sale.quantity) == ("a", SELL, 6)
