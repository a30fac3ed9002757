"""Matching of orders and quotes: combos, prices of another spot, orders before any price, fill models."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.contract import Style
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.margin.regulation_t import UNCOVERED
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.fills.base import Resting
from scalpdesk.simulation.option_values import (
    credible_price,
    least_value,
    quoted_vol,
    value_without_quote,
    years_left,
)
from scalpdesk.simulation.orders import OrderRequest, Status
from scalpdesk_testing.kit.broker import Market
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import at, quote

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
T = at("10:00")
BOOK = straddle_book(500)
NAN = float("nan")


def market(positions=None, **how):
    """Return a broker that has seen SPY at 500 and its options at 9 and 8, half a point each side."""
    made = Market(straddle_book(500), positions, **how)
    for number, mid in enumerate((500, 9, 8)):
        made.quote(number, T, mid - 0.5, mid + 0.5)
    return made


# combos ---------------------------------------------------------------------------------------------


def test_a_combo_trades_all_legs_at_once_in_their_ratio():
    venue = market(cash=1_000_000)
    venue.quote(CALL, T + 1, 8.5, 9.5, ask_size=7)
    venue.quote(PUT, T + 1, 7.5, 8.5, ask_size=9)
    combo = venue.combo({CALL: 2, PUT: 1}, "27.50", units=5)
    assert (combo.status, combo.filled, combo.leaves, combo.average) == (
        Status.PARTIALLY_FILLED,
        3,
        2,
        D("27.5"),
    )
    assert venue.units() == {CALL: 6, PUT: 3}
    assert [(leg.quantity, leg.filled, leg.status, leg.filled_ns) for leg in combo.legs] == [
        (10, 6, Status.PARTIALLY_FILLED, 0),
        (5, 3, Status.PARTIALLY_FILLED, 0),
    ]
    assert venue.account.cash == 1_000_000 - 6 * 950 - 3 * 850
    new, part = venue.broker.drain()
    assert (new.event, part.event) == ("new", "partial_fill")
    assert (part.execution.quantity, part.execution.price, part.execution.side) == (3, D("27.5"), Side.BUY)
    assert [(one.quantity, one.price) for one in part.leg_executions] == [(6, D("9.5")), (3, D("8.5"))]
    venue.quote(PUT, T + 2, 7.5, 8.5)
    assert combo.filled == 5  # 7 shown of the call are enough for two more
    assert (combo.status, combo.filled_ns, venue.ledger.working) == (Status.FILLED, T + 2, {})
    assert [leg.filled_ns for leg in combo.legs] == [T + 2, T + 2]
    (update,) = venue.broker.drain()
    assert (update.event, update.execution.quantity, update.position_quantity) == ("fill", 2, None)


def test_a_combo_for_a_credit_is_bounded_from_below():
    venue = market(cash=1_000_000, options_level=4)
    refused = venue.combo({CALL: 1, PUT: -1}, "1.99")
    assert (refused.status, venue.units()) == (Status.NEW, {})
    taken = venue.combo({CALL: 1, PUT: -1}, "2.00")
    assert (taken.status, taken.average, venue.units()) == (Status.FILLED, 2, {CALL: 1, PUT: -1})
    assert venue.account.cash == 1_000_000 - 200


@pytest.mark.parametrize(("units", "filled"), [(3, 3), (4, 0)])
def test_a_combo_that_is_to_fill_whole_or_not_at_all(units, filled):
    venue = market(cash=1_000_000)
    venue.quote(PUT, T + 1, 7.5, 8.5, ask_size=3)
    combo = venue.combo({CALL: 1, PUT: 1}, 20, TimeInForce.FOK, units)
    assert combo.filled == filled
    assert combo.status is (Status.FILLED if filled else Status.CANCELED)
    assert venue.ledger.working == {}


@pytest.mark.rows(
    ("fills", "limit", "later", "prices"),
    [
        ("cross", "19", {}, ("9.5", "8.5")),  # at the far sides on arrival
        ("cross", "17", {CALL: (7.9, 8.7), PUT: (7.5, 8.3)}, ("8.7", "8.3")),  # at its limit, 17 by then
        ("cross", "17", {CALL: (7.9, 8.7)}, None),
        ("mid", "17", {}, ("9", "8")),
        ("mid", "16.99", {}, None),
        ("queue", "17.50", {CALL: (8.6, 9.6)}, None),  # between the sides
        ("queue", "17", {CALL: (7.9, 8.7), PUT: (7.5, 8.3)}, ("8.7", "8.3")),
        ("adverse", "18", {}, None),
        ("adverse", "18", {CALL: (8.5, 9.49)}, ("9.4953", "8.5047")),  # through by a tick: at its limit
        ("adverse", "-16", {CALL: (8.51, 9.5)}, ("8.5047", "7.4953")),
    ],
)
def test_a_combo_fills_as_an_order_on_its_net_quote_does(fills, limit, later, prices):
    sells = D(limit) < 0
    venue = market({CALL: 1, PUT: 1} if sells else None, cash=1_000_000, fills=fills)
    combo = venue.combo({CALL: -1, PUT: -1} if sells else {CALL: 1, PUT: 1}, limit)
    for number, (bid, ask) in later.items():
        venue.quote(number, T + 1, bid, ask)
    assert (combo.status is Status.FILLED) is (prices is not None)
    if prices is not None:
        traded = [trade.price for trade in venue.account.executions]
        assert [float(price) for price in traded] == pytest.approx([float(each) for each in prices], abs=1e-4)
        assert -sum(traded) if sells else sum(traded) == combo.average <= D(limit)


@pytest.mark.rows(
    ("fills", "limit", "wing_bid", "ask", "credit"),
    [
        ("mid", "-1.02", 0, 1.10, "1.025"),
        ("mid", "-1.03", 0, 1.10, None),
        ("queue", "-1.05", 0, 1.10, None),  # between the sides
        ("queue", "-1.10", 0, 1.10, None),  # in the queue
        ("queue", "-1.30", 0, 1.10, None),
        *((fills, "-0.96", NAN, 1.10, None) for fills in ("mid", "queue")),
        *((fills, "-0.96", 0, ask, None) for fills in ("mid", "queue") for ask in (0, NAN)),
        *(("cross", "-0.95", bid, ask, "0.95") for bid in (0, NAN) for ask in (1.10, 0, NAN)),
    ],
)
def test_a_spread_whose_wing_nobody_bids_for_is_sold_for_what_the_market_shows(
    fills, limit, wing_bid, ask, credit
):
    """It brings 0.95 at once and 1.10 at most; under ``mid`` it was sold for 1.68."""
    venue = Market(straddle_book(500, 520), cash=100_000, fills=fills)
    sold, wing = 1, 3
    for later in range(3):
        venue.quote(SHARE, T + later, 499.9, 500.1)
        venue.quote(sold, T + later, 1.00, ask)
        venue.quote(wing, T + later, wing_bid, 0.05)
        if not later:
            combo = venue.combo({sold: -1, wing: 1}, limit)
    assert combo.average == (None if credit is None else -D(credit))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_legs_of_a_combo_pay_its_net_price_to_the_last_digit(data):
    """For every model, both signs, ratios and quotes; and an order on the net quote alone says when."""
    fills = data.draw(st.sampled_from(["cross", "mid", "queue", "adverse"]))
    cents = st.integers(1, 2_000)
    ratios = {number: data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for number in (CALL, PUT)}
    venue = market(cash=10**8, fills=fills, options_level=UNCOVERED)
    bids = {number: data.draw(cents) / 100 for number in ratios}
    asks = {number: bid + data.draw(st.integers(1, 100)) / 100 for number, bid in bids.items()}
    venue.quote(SHARE, T, 499.9, 500.1)
    for number in ratios:
        venue.quote(number, T + 1, round(bids[number], 2), round(asks[number], 2))
    far = sum(
        ratio * D(str(round((asks if ratio > 0 else bids)[number], 2))) for number, ratio in ratios.items()
    )
    limit = far + D(data.draw(st.integers(-50, 50))) / 100
    combo = venue.combo(ratios, limit)
    trades = venue.account.executions
    if not trades:
        return
    paid = sum(trade.side.sign * trade.quantity * trade.price for trade in trades)
    assert paid == combo.value <= limit
    assert {trade.instrument_id: trade.side.sign * trade.quantity for trade in trades} == ratios
    assert all(trade.price > 0 for trade in trades)
    assert all(trade.price == round(trade.price, 6) for trade in trades)  # as many digits as a wire carries
    if fills == "cross":
        assert paid == far


def test_a_combo_waits_while_a_leg_has_no_quote_of_this_session_or_is_halted():
    venue = Market(straddle_book(500), opens_ns=T)
    venue.quote(CALL, T, 8.5, 9.5)
    venue.ledger.quotes[PUT] = quote(PUT, T - 1, 7.5, 8.5)
    combo = venue.combo({CALL: 1, PUT: 1}, 20)
    assert combo.status is Status.NEW
    venue.broker.halt(CALL)
    venue.quote(PUT, T, 7.5, 8.5)
    assert combo.status is Status.NEW
    venue.broker.resume(CALL)
    assert (combo.status, venue.units()) == (Status.FILLED, {CALL: 1, PUT: 1})


def test_a_combo_withholds_what_it_costs_until_it_trades():
    venue = market(cash=3_500)
    combo = venue.combo({CALL: 1, PUT: 1}, 16, units=2)
    assert (combo.withholds, combo.is_unpriced, venue.account.reserved()) == (1_600, False, (0, 3_200))
    assert [leg.withholds for leg in combo.legs] == [0, 0]
    assert [leg.intent.value for leg in combo.legs] == ["buy_to_open", "buy_to_open"]


def test_a_combo_that_came_before_any_price_is_judged_when_it_trades():
    venue = Market(straddle_book(500), cash=1_000)
    combo = venue.combo({CALL: 1, PUT: 1})
    assert (combo.is_unpriced, combo.status) == (True, Status.NEW)
    venue.quote(CALL, T, 8.5, 9.5)
    venue.quote(PUT, T, 7.5, 8.5)
    assert (combo.status, venue.units()) == (Status.REJECTED, {})
    assert combo.reject_reason == "insufficient buying power (buying_power 1000.00, cost_basis 1800.00)"
    rich = Market(straddle_book(500), cash=2_000)
    combo = rich.combo({CALL: 1, PUT: 1})
    rich.quote(CALL, T, 8.5, 9.5)
    rich.quote(PUT, T, 7.5, 8.5)
    assert (combo.status, combo.is_unpriced, rich.account.cash) == (Status.FILLED, False, 200)


# single orders --------------------------------------------------------------------------------------


def test_an_order_that_came_before_any_price_and_can_be_paid_trades():
    venue = Market(straddle_book(500), cash=5_005)
    order = venue.order(SHARE, 10)
    assert (order.is_unpriced, order.status) == (True, Status.NEW)
    venue.quote(SHARE, T, 499.5, 500.5, ask_size=4)
    assert (order.filled, order.is_unpriced) == (4, False)
    assert venue.account.open_orders() == [order]
    venue.quote(SHARE, T + 1, 499.5, 500.5)
    assert (order.status, venue.account.cash) == (Status.FILLED, 0)


def test_an_order_is_reported_part_by_part_with_what_is_held_after_it():
    venue = market({SHARE: 5})
    order = venue.order(SHARE, 10, 500)
    venue.broker.drain()
    venue.quote(SHARE, T + 1, 499.0, 500.0, ask_size=4)
    venue.quote(SHARE, T + 2, 499.0, 499.5, ask_size=4)
    venue.quote(SHARE, T + 3, 499.0, 500.0, ask_size=4)
    updates = venue.broker.drain()
    assert [(one.event, one.execution.quantity, one.execution.price) for one in updates] == [
        ("partial_fill", 4, 500),
        ("partial_fill", 4, 500),
        ("fill", 2, 500),
    ]
    assert [one.position_quantity for one in updates] == [9, 13, 15]
    assert [(one.execution.cumulative, one.execution.leaves) for one in updates] == [(4, 6), (8, 2), (10, 0)]
    assert (order.filled_ns, order.average, order.value) == (T + 3, 500, 5_000)
    assert venue.ledger.working == {}


def test_a_pending_cancel_that_fills_in_part_stays_pending():
    venue = market()
    venue.broker._effect_latency_ns = 5
    order = venue.order(SHARE, 10, 499)
    venue.broker.advance(T + 5)
    venue.broker.cancel("account", order.order_id)
    venue.quote(SHARE, T + 6, 498.5, 499.0, ask_size=4)
    assert (order.status, order.filled) == (Status.PENDING_CANCEL, 4)


@pytest.mark.parametrize("ask", [NAN, 0.0])
def test_an_amount_of_money_waits_for_a_far_side(ask):
    venue = Market(straddle_book(500))
    venue.quote(SHARE, T, 499.5, ask)
    order = venue.broker.submit("account", OrderRequest("SPY", Side.BUY, OrderType.MARKET, notional=D(100)))
    assert (order.quantity, order.status) == (0, Status.NEW)
    venue.quote(SHARE, T + 1, 499.5, 300.0, ask_size=0)
    assert (order.quantity, order.status) == (D("0.333333333"), Status.FILLED)
    assert venue.account.cash == 100_000 - D("100.000000")
    venue.quote(SHARE, T + 2, 400.0, 401.0)
    sale = venue.broker.submit("account", OrderRequest("SPY", Side.SELL, OrderType.MARKET, notional=D(100)))
    assert sale.quantity == D("0.25")


def test_an_amount_of_money_is_turned_into_shares_once():
    venue = Market(straddle_book(500))
    venue.quote(SHARE, T, 99.0, 100.0, ask_size=4)
    order = venue.broker.submit("account", OrderRequest("SPY", Side.BUY, OrderType.MARKET, notional=D(1_000)))
    assert (order.quantity, order.filled) == (10, 4)
    venue.quote(SHARE, T + 1, 199.0, 200.0)
    assert (order.quantity, order.filled, order.value) == (10, 10, 4 * 100 + 6 * 200)


def test_a_bought_stop_wakes_above():
    venue = market()
    stop = venue.order(SHARE, 1, kind=Stop(D(505)))
    trailing = venue.order(SHARE, 1, kind=Trailing(D(4)))
    assert (trailing.high_water, trailing.stop_price) == (500, 504)
    venue.quote(SHARE, T + 1, 497.5, 498.5)
    assert (trailing.high_water, trailing.stop_price) == (498, 502)
    venue.quote(SHARE, T + 2, 500.5, 501.5)
    assert (trailing.high_water, trailing.status) == (498, Status.NEW)
    venue.quote(SHARE, T + 3, 501.5, 502.5)
    assert [trailing.status, stop.status] == [Status.FILLED, Status.NEW]
    venue.quote(SHARE, T + 4, 504.5, 505.5)
    assert (stop.status, stop.average) == (Status.FILLED, D("505.5"))


def test_a_sale_below_an_options_payoff_waits_for_a_price_of_this_spot():
    venue = market({PUT: 2})
    venue.quote(SHARE, T + 1, 469.5, 470.5)
    order = venue.order(PUT, -2)
    assert (order.status, order.filled) == (Status.NEW, 0)  # 7.50 is bid for what pays 29.50
    venue.quote(PUT, T + 2, 29.4, 29.8)
    assert (order.status, order.average) == (Status.FILLED, D("29.4"))


# credible prices ------------------------------------------------------------------------------------


def put_quote(bid, ask, ts_ns=T):
    return quote(PUT, ts_ns, bid, ask)


@pytest.mark.rows(
    ("bid", "ask", "age_ns", "price", "sign", "found"),
    [
        ("0.90", "1.00", 0, "0.85", -1, "0.90"),  # a bid below a dollar counts too
        ("0.90", "1.00", 0, "0.95", -1, "0.95"),
        ("0.90", "0.95", 0, "0.85", -1, "0.90"),  # the ask is the payoff
        ("0.90", "0.94", 0, "0.85", -1, None),
        ("0.90", "0.94", 0, "0.85", 1, None),
        ("0.90", "1.00", MINUTE_NS, "0.85", -1, "0.90"),
        ("0.90", "1.00", MINUTE_NS + 1, "0.85", -1, None),
        ("0.90", "1.00", MINUTE_NS + 1, "0.95", -1, "0.95"),
        ("0.90", "1.00", 0, "0.85", 1, "0.85"),
        ("0.70", "0.96", 0, "0.70", -1, None),  # 26 cents are more than a quarter of the mid, and four ticks
        ("0.75", "0.96", 0, "0.70", -1, "0.75"),  # 21 cents are less than a quarter of 0.855
        ("0.92", "0.96", 0, "0.80", -1, "0.92"),
        ("0.00", "0.96", 0, "0.50", -1, None),
    ],
)
def test_a_put_that_pays_95_cents_is_sold_at_the_bid_of_a_fresh_and_narrow_quote(
    bid, ask, age_ns, price, sign, found
):
    spot = quote(SHARE, T, 499.00, 499.05)
    assert least_value(BOOK[PUT], spot) == pytest.approx(0.95)
    quoted = put_quote(float(bid), float(ask) + 1e-9, T - age_ns)
    assert credible_price(BOOK[PUT], quoted, spot, D(price), sign) == (None if found is None else D(found))


def test_a_spread_of_four_ticks_is_a_price_however_cheap_the_option():
    """A put that pays 6 cents: 4 cents bid, 8 asked is two thirds of the mid, and four ticks."""
    spot = quote(SHARE, T, 499.90, 499.94)
    tick = float(BOOK[PUT].tick_rule.tick_at(D("0.08")))
    assert least_value(BOOK[PUT], spot) == pytest.approx(0.06)
    bid = 0.01
    assert credible_price(BOOK[PUT], put_quote(bid, bid + 4 * tick), spot, D("0.01"), -1) == (
        D("0.01") if bid + 4 * tick >= 0.06 else None
    )
    bid = 0.05
    assert credible_price(BOOK[PUT], put_quote(bid, bid + 4 * tick), spot, D("0.01"), -1) == D("0.05")
    assert credible_price(BOOK[PUT], put_quote(bid, bid + 5 * tick), spot, D("0.01"), -1) is None


def test_a_european_option_may_lie_below_its_payoff_by_a_tenth_of_its_strike_a_year():
    call = replace(BOOK[CALL], style=Style.EUROPEAN)
    spot = quote(SHARE, T, 540.0, 540.1)
    years = years_left(call, T)
    assert years == (expiry_instant_ns(call) - T) / (365 * 86_400 * 10**9)
    assert least_value(call, spot) == pytest.approx(40 - 0.10 * years * 500, abs=1e-9)
    assert least_value(call, quote(SHARE, T, 501.0, 501.1)) == 0.0
    assert years_left(call, expiry_instant_ns(call)) == years_left(call, expiry_instant_ns(call) + 5) == 0.0
    assert least_value(call, quote(SHARE, T, NAN, 540.0)) == 0.0


def test_an_option_in_coin_pays_in_coin():
    call = deribit_option("BTC-27MAR26-90000-C")
    spot = quote(SHARE, expiry_instant_ns(call), 100_000.0, 100_001.0)
    assert least_value(call, spot) == pytest.approx(10_000 / 100_000.5)
    later = quote(SHARE, T, 100_000.0, 100_001.0)
    value = value_without_quote(call, later, 0.5, expiry_instant_ns(call))
    assert value == pytest.approx(10_000.5 / 100_000.5)


def test_the_volatility_of_a_quote_gives_its_price_back():
    spot = quote(SHARE, T, 499.5, 500.5)
    vol = quoted_vol(BOOK[CALL], quote(CALL, T, 8.5, 9.5), spot)
    assert value_without_quote(BOOK[CALL], spot, vol, T) == pytest.approx(9.0, abs=1e-6)
    coin = deribit_option("BTC-27MAR26-90000-C")
    now_ns = expiry_instant_ns(coin) - 30 * 86_400 * 10**9
    spot = quote(SHARE, now_ns, 89_999.0, 90_001.0)
    vol = quoted_vol(coin, quote(CALL, now_ns, 0.049, 0.051), spot)
    assert value_without_quote(coin, spot, vol, now_ns) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.rows(
    ("option_sides", "share_sides", "at_ns"),
    [
        ((NAN, NAN), (499.5, 500.5), T),
        ((8.5, 9.5), (NAN, NAN), T),
        ((8.5, 9.5), (0.0, 0.0), T),
        ((8.5, 9.5), (499.5, 500.5), expiry_instant_ns(BOOK[CALL])),
    ],
)
def test_a_quote_without_a_price_or_time_has_no_volatility(option_sides, share_sides, at_ns):
    option_quote, share_quote = quote(CALL, at_ns, *option_sides), quote(SHARE, at_ns, *share_sides)
    assert quoted_vol(BOOK[CALL], option_quote, share_quote) is None


# fill models ----------------------------------------------------------------------------------------


def resting(sign, leaves, limit=None, **more):
    return Resting(sign, D(leaves), None if limit is None else D(str(limit)), **more)


def test_a_queue_shrinks_by_what_leaves_it_and_never_grows():
    model = fill_model("queue")
    order = resting(1, 5, "10.00")

    def see(bid, ask, bid_size, ask_size=50.0):
        return model.match(order, quote(CALL, T, bid, ask, bid_size, ask_size), BOOK[CALL])

    assert see(10.00, 10.10, 30.0) is None
    assert (order.queue_ahead, order.seen_size) == (30.0, 30.0)
    assert see(10.00, 10.10, 45.0) is None
    assert (order.queue_ahead, order.seen_size) == (30.0, 45.0)
    assert see(10.00, 10.10, 25.0) is None
    assert order.queue_ahead == 10.0
    assert see(9.95, 10.05, 25.0) is None  # through, and ten stand before it still
    assert see(10.00, 10.10, 5.0) is None
    assert (order.queue_ahead, order.seen_size) == (0.0, 5.0)
    assert see(10.00, 10.10, 5.0) is None
    assert see(10.05, 10.10, 5.0) is None  # the near side moved away from it
    assert see(9.95, 10.05, 25.0, 3.0) == (3, D("10.00"))
    order.leaves -= 3
    assert see(9.95, 10.05, 25.0, 3.0) is None  # the same quote again fills no more of it
    assert see(10.00, 10.05, 25.0, 3.0) is None
    assert see(9.95, 10.05, 25.0, 3.0) == (2, D("10.00"))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_order_between_the_sides_waits_for_the_far_side_or_for_a_level_that_leaves(sign):
    """A limit a cent better than the bid was filled by the next quote, whatever it was."""
    model = fill_model("queue")
    order = resting(sign, 5, "10.05")

    def see(near, far, near_size=20.0):
        sides = (near, far, near_size, 9.0) if sign > 0 else (far, near, 9.0, near_size)
        return model.match(order, quote(CALL, T, *sides), BOOK[CALL])

    away, best, beyond = (10.05 - sign * distance for distance in (0.05, 0.0, -0.05))
    for _ in range(3):
        assert see(away, beyond) is None
    assert order.queue_ahead == 0.0
    assert see(best, beyond) is None  # others come to its price, behind it
    assert order.queue_ahead == 0.0
    assert see(away, beyond) == (5, D("10.05"))  # they are gone, and it stood before them


@pytest.mark.parametrize("sign", [1, -1])
def test_an_order_behind_the_market_joins_the_queue_that_it_finds_when_its_price_becomes_the_best(sign):
    model = fill_model("queue")
    order = resting(sign, 5, "10.00")

    def see(near, near_size):
        sides = (near, near + 0.1, near_size, 9.0) if sign > 0 else (near - 0.1, near, 9.0, near_size)
        return model.match(order, quote(CALL, T, *sides), BOOK[CALL])

    better, away = 10.00 + sign * 0.05, 10.00 - sign * 0.05
    assert see(better, 7.0) is None
    assert see(10.00, 30.0) is None
    assert order.queue_ahead == 30.0
    assert see(away, 50.0) is None  # thirty stood before it
    assert see(10.00, 1.0) is None
    assert see(10.00, 0.0) is None
    assert see(away, 50.0) == (5, D("10.00"))
