from decimal import Decimal
from itertools import product

import pytest

from scalpdesk.core.errors import InvariantError
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.orders.order import TERMINAL, Order, OrderState

D = Decimal
S = OrderState
LIVE = {S.PENDING_NEW, S.WORKING, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.UNKNOWN}

FORBIDDEN = {
    # the venue's first word cannot be unsaid
    (S.WORKING, S.PENDING_NEW),
    (S.PARTIALLY_FILLED, S.PENDING_NEW),
    (S.UNKNOWN, S.PENDING_NEW),
    # what is filled in part is never again untouched, and never rejected
    (S.PARTIALLY_FILLED, S.WORKING),
    (S.PARTIALLY_FILLED, S.REJECTED),
    # over is over: only an execution or its bust leads on
    *((over, live) for over in TERMINAL for live in LIVE),
    *((S.FILLED, other) for other in TERMINAL - {S.FILLED, S.CANCELLED}),
    *((S.CANCELLED, other) for other in TERMINAL - {S.CANCELLED, S.FILLED}),
    (S.REJECTED, S.EXPIRED),
    (S.EXPIRED, S.CANCELLED),
    (S.EXPIRED, S.REJECTED),
}


def order(side=Side.BUY, quantity=10, state=S.PENDING_NEW):
    command = SubmitOrder("t-1", 0, side, D(quantity), OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE)
    return Order(command, 0, state)


@pytest.mark.rows(("start", "end"), list(product(S, S)))
def test_every_edge_is_open_or_shut_as_listed(start, end):
    one = order(state=start)
    if (start, end) in FORBIDDEN:
        with pytest.raises(InvariantError, match=f"cannot go from {start} to {end}"):
            one.move(end, "why")
        assert one.state is start
        assert one.reason == ""
    else:
        one.move(end, "why")
        assert one.state is end
        assert one.reason == ("" if start is end else "why")


def test_the_list_of_forbidden_edges_counts():
    assert len(FORBIDDEN) == 5 + 4 * 5 + 2 + 2 + 3


def test_fills_add_up_to_the_average_price():
    one = order()
    assert one.fill("x1", D(4), D("10.00"))
    assert (one.state, one.filled, one.leaves) == (S.PARTIALLY_FILLED, D(4), D(6))
    assert one.fill("x2", D(6), D("10.50"))
    assert (one.state, one.filled, one.leaves) == (S.FILLED, D(10), D(0))
    assert one.average_price == D("10.3")
    assert one.executions == {"x1": (D(4), D("10.00")), "x2": (D(6), D("10.50"))}


def test_the_same_execution_counts_once():
    one = order()
    assert one.fill("x1", D(4), D(10))
    assert not one.fill("x1", D(4), D(10))
    assert (one.filled, one.has_seen("x1"), one.has_seen("x2")) == (D(4), True, False)


@pytest.mark.parametrize("state", [S.PENDING_NEW, S.CANCELLED])
def test_no_order_is_filled_beyond_its_quantity(state):
    one = order(state=state)
    one.fill("x1", D(6), D(10))
    with pytest.raises(InvariantError, match="beyond its quantity") as caught:
        one.fill("x2", D(5), D(10))
    assert caught.value.value == "11 of 10"
    assert one.filled == 6


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_an_execution_of_nothing_is_refused(quantity):
    with pytest.raises(InvariantError, match="above zero"):
        order().fill("x1", D(quantity), D(10))


@pytest.mark.rows(
    ("state", "after"),
    [
        (S.PENDING_NEW, S.PARTIALLY_FILLED),
        (S.WORKING, S.PARTIALLY_FILLED),
        (S.PARTIALLY_FILLED, S.PARTIALLY_FILLED),
        (S.PENDING_CANCEL, S.PENDING_CANCEL),
        (S.UNKNOWN, S.PARTIALLY_FILLED),
        (S.CANCELLED, S.CANCELLED),
        (S.EXPIRED, S.EXPIRED),
        (S.REJECTED, S.CANCELLED),
    ],
)
def test_a_part_filled_moves_what_lives_and_never_revives_what_is_over(state, after):
    one = order(state=state)
    one.fill("x1", D(1), D(10))
    assert one.state is after
    assert one.leaves == (D(9) if after in LIVE else D(0))


@pytest.mark.rows("state", [each for each in S if each is not S.FILLED])
def test_the_whole_filled_ends_any_order_as_filled(state):
    one = order(state=state)
    one.fill("x1", D(10), D(10))
    assert one.state is S.FILLED


def test_leaves_carry_the_sign_of_the_side():
    assert order(Side.BUY).signed_leaves == D(10)
    assert order(Side.SELL).signed_leaves == D(-10)
    assert order(Side.SELL, state=S.CANCELLED).signed_leaves == 0


def test_a_bust_of_a_full_order_ends_it_short():
    one = order()
    one.fill("x1", D(4), D(10))
    one.fill("x2", D(6), D(11))
    assert one.bust("x1") == (D(4), D(10))
    assert (one.state, one.filled, one.average_price) == (S.CANCELLED, D(6), D(11))
    assert one.reason == "execution busted"
    assert one.bust("x2") == (D(6), D(11))
    assert (one.state, one.filled, one.average_price) == (S.CANCELLED, D(0), D(0))


def test_a_busted_quantity_is_not_worked_again():
    one = order(state=S.WORKING)
    one.fill("x1", D(4), D(10))
    one.bust("x1")
    assert (one.state, one.filled, one.leaves) == (S.PARTIALLY_FILLED, D(0), D(6))
    one.fill("x2", D(6), D(11))
    assert (one.state, one.filled, one.leaves) == (S.CANCELLED, D(6), D(0))


def test_a_repeated_fill_after_its_bust_changes_nothing():
    one = order(state=S.WORKING)
    one.fill("x1", D(4), D(10))
    one.bust("x1")
    assert not one.fill("x1", D(4), D(10))
    assert one.bust("x1") is None
    assert (one.filled, one.leaves, one.busted) == (D(0), D(6), {"x1": D(4)})


def test_a_bust_before_its_fill_is_remembered():
    one = order(state=S.WORKING)
    assert one.bust("x1") is None
    assert one.leaves == 10
    assert not one.fill("x1", D(10), D(10))
    assert (one.state, one.filled, one.leaves) == (S.CANCELLED, D(0), D(0))


def test_a_corrected_execution_is_not_gone_another_takes_its_place():
    one = order(state=S.WORKING)
    one.fill("x1", D(4), D(10))
    assert one.bust("x1", is_corrected=True) == (D(4), D(10))
    assert (one.filled, one.leaves, one.busted, one.was_filled) == (D(0), D(10), {"x1": D(0)}, True)
    assert one.fill("x2", D(10), D("9.5"))
    assert (one.state, one.average_price) == (S.FILLED, D("9.5"))


def test_the_average_price_after_a_bust_is_that_of_what_is_left():
    one = order()
    for name, quantity, price in (("a", 2, 10), ("b", 3, 20), ("c", 1, 40)):
        one.fill(name, D(quantity), D(price))
    one.bust("b")
    assert (one.filled, one.average_price, one.state) == (3, 20, S.PARTIALLY_FILLED)
    assert list(one.executions) == ["a", "c"]
    one.fill("d", D(3), D(8))
    assert (one.filled, one.average_price) == (6, 14)


def test_an_order_whose_busts_come_before_their_executions_is_over_once_they_use_it_up():
    one = order(state=S.WORKING)
    for name in ("a", "b"):
        assert one.bust(name) is None
        assert one.bust(name) is None
    assert one.busted == {"a": 0, "b": 0}
    assert not one.fill("a", D(4), D(10))
    assert (one.state, one.leaves) == (S.WORKING, D(6))
    assert not one.fill("b", D(8), D(10))  # more than is left: what is left is never below zero
    assert (one.state, one.leaves, one.filled) == (S.CANCELLED, D(0), D(0))


def test_an_order_that_was_busted_in_part_is_over_once_the_rest_is_filled():
    one = order(state=S.WORKING)
    one.fill("a", D(4), D(10))
    one.bust("a")
    one.fill("b", D(5), D(10))
    assert (one.state, one.leaves) == (S.PARTIALLY_FILLED, D(1))
    one.fill("c", D(1), D(10))
    assert (one.state, one.reason, one.leaves) == (S.CANCELLED, "execution busted", D(0))


@pytest.mark.parametrize("state", [S.CANCELLED, S.EXPIRED])
def test_a_bust_of_an_order_that_is_over_changes_what_was_filled_alone(state):
    one = order(state=S.WORKING)
    one.fill("a", D(4), D(10))
    one.move(state, "why")
    one.bust("a")
    assert (one.state, one.reason, one.filled, one.leaves) == (state, "why", 0, 0)


def test_a_new_order_has_no_history_and_each_its_own():
    one, other = order(), order()
    assert (one.state, one.filled, one.average_price, one.venue_order_id) == (S.PENDING_NEW, 0, 0, "")
    assert (one.reason, one.parent_id, one.resumes_as) == ("", "", S.WORKING)
    assert (len(one.executions), len(one.busted), one.was_filled) == (0, 0, False)
    one.fill("a", D(1), D(1))
    one.bust("b")
    assert (len(other.executions), len(other.busted)) == (0, 0)
    assert (one.is_live, one.was_filled) == (True, True)


def test_a_forbidden_move_names_the_order_and_the_reason_where_there_is_one():
    one = order(state=S.FILLED)
    for reason, value in (("why", "why"), ("", None)):
        with pytest.raises(InvariantError) as refused:
            one.move(S.WORKING, reason)
        assert (refused.value.where, refused.value.value) == ("order t-1", value)
    live = order(state=S.WORKING)
    live.move(S.UNKNOWN, "time-out")
    live.move(S.WORKING)
    assert live.reason == "time-out"  # a reason stands until another comes
