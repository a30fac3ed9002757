"""Covers of sold options: how much of them may be sold while those stand."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.covers import keep_covers, uncovered
from scalpdesk.closing.last_resort import Flattener
from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Instruments
from scalpdesk.orders.order import Order
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
BOOK: Instruments = straddle_book(500, 510)
SHARE, CALL, PUT, FAR_CALL, FAR_PUT = range(5)
UNITS = st.dictionaries(st.sampled_from([CALL, PUT, FAR_CALL, FAR_PUT]), st.integers(-5, 5).map(Decimal))


def closing(held):
    """Return one order for each holding that closes all of it."""
    return [
        OrderIntent(number, Side.SELL if units > 0 else Side.BUY, abs(units), Purpose.CLOSE, "over")
        for number, units in held.items()
        if units
    ]


def test_a_wing_stays_while_its_leg_does_and_what_is_beyond_it_goes():
    held = {CALL: D(-2), FAR_CALL: D(3), PUT: D(-1), FAR_PUT: D(1), SHARE: D(40)}
    orders = closing({number: units for number, units in held.items() if number != CALL})
    kept = {order.instrument_id: order.quantity for order in keep_covers(orders, held, BOOK)}
    assert kept == {FAR_CALL: 1, PUT: 1, SHARE: 40}
    assert uncovered(held, BOOK) == 0
    assert uncovered({CALL: D(-2), FAR_CALL: D(1), PUT: D(1)}, BOOK) == 1


@given(UNITS)
def test_closing_orders_never_leave_more_uncovered_in_whatever_order_they_fill(held):
    kept = keep_covers(closing(held), held, BOOK)
    before, left = uncovered(held, BOOK), dict(held)
    for order in kept:
        if order.side is Side.SELL:  # the sales alone: the purchases may never fill
            left[order.instrument_id] -= order.quantity
            assert uncovered(left, BOOK) == before
    asked, sent = (sum((one.quantity for one in orders), D(0)) for orders in (closing(held), kept))
    assert asked - sent <= sum((-units for units in held.values() if units < 0), D(0))


def test_the_last_resort_keeps_a_wing_for_as_long_as_its_leg_cannot_be_bought_back():
    flattener, quotes = Flattener(BOOK), {CALL: None, FAR_CALL: quote(FAR_CALL, 1, 1.0, 1.1)}
    lines = [TargetLine("", CALL, D(-2)), TargetLine("", FAR_CALL, D(3))]
    sold = []
    for second in range(60):
        quotes |= {CALL: quote(CALL, 1, 4.0, 4.1)} if second == 50 else {}
        step = flattener.step(second * 10**9 + 1, lines, (), quotes, RiskLimits())
        sold.append([(order.instrument_id, order.quantity) for order in step.orders])
    assert {one for orders in sold[:50] for one in orders} == {(FAR_CALL, 1)}
    assert (CALL, 2) in sold[50]


def test_a_wing_that_was_kept_is_sold_at_the_market_once_its_leg_is_gone():
    flattener, quotes = Flattener(BOOK), {CALL: None, FAR_CALL: quote(FAR_CALL, 1, 1.0, 1.1)}
    lines = [TargetLine("", CALL, D(-2)), TargetLine("", FAR_CALL, D(2))]
    kept = [flattener.step(second * 10**9 + 1, lines, (), quotes, RiskLimits()) for second in range(40)]
    assert not any(step.orders for step in kept)
    (order,) = flattener.step(41 * 10**9, lines[1:], (), quotes, RiskLimits()).orders
    assert (order.instrument_id, order.quantity, order.limit_price) == (FAR_CALL, 2, None)


def test_a_second_wing_stays_while_the_sale_of_the_first_works():
    lines = [TargetLine("", CALL, D(-1)), TargetLine("", FAR_CALL, D(2))]
    quotes = {CALL: None, FAR_CALL: quote(FAR_CALL, 1, 1.0, 1.1)}
    sale = Order(
        SubmitOrder("a", FAR_CALL, Side.SELL, D(1), OrderType.MARKET, None, TimeInForce.DAY, Purpose.CLOSE), 1
    )
    for working, sold in (((), [1]), ((sale,), [])):
        found = Flattener(BOOK).step(10**9, lines, working, quotes, RiskLimits()).orders
        assert [order.quantity for order in found] == sold


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 4))
def test_sales_of_one_wing_see_those_before_them(first, second, wings, sold):
    """Of a wing that covers sold options no number of sales takes more than is beyond them."""
    held = {CALL: D(-sold), FAR_CALL: D(wings)}
    sales = [OrderIntent(FAR_CALL, Side.SELL, D(units), Purpose.CLOSE, "over") for units in (first, second)]
    kept = sum(order.quantity for order in keep_covers(sales, held, BOOK))
    uncovered_before = max(sold - wings, 0)
    assert kept == max(min(first + second, wings - sold + uncovered_before), 0) or wings < first + second
    assert uncovered({CALL: D(-sold), FAR_CALL: D(wings) - kept}, BOOK) <= uncovered_before
