from decimal import Decimal

import pytest

from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
)
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, OrderType, Side, TimeInForce
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import NEVER_NS, AlwaysOpen
from scalpdesk.simulation.orders import LegRequest, OrderClass, OrderRequest
from scalpdesk_testing.kit.broker import FOREVER_NS, connect
from scalpdesk_testing.kit.instruments import EXPIRY, straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
MS = 1_000_000
END_NS = session_on(EXPIRY).close_ns
T = 1_000 * MS


def kinds(events):
    return [type(event).__name__ for event in events]


def broker_of(**how):
    fills = fill_model("cross")
    broker = Broker(straddle_book(), AlwaysOpen(), fills, fills, **how)
    account = broker.open_account(AccountTerms(cash=D(100_000)))
    broker.open_session(0, FOREVER_NS)
    return broker, account


def holdings(venue):
    return {number: one.quantity for number, one in venue.account.holdings.items()}


def test_a_market_order_is_accepted_and_filled_at_the_far_side(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    accepted, filled = venue.take_due(T)
    assert accepted == OrderAccepted("o-1", T, T, "sim-1")
    assert filled == OrderFilled("o-1", T, T, "x1", D(10), D("500.01"), D(0))
    assert venue.account.cash == D(100_000) - D("5000.10")
    assert holdings(venue) == {0: D(10)}
    assert venue.working == {}
    assert venue.due_ns == NEVER_NS


def test_an_option_moves_cash_by_its_multiplier_and_its_fee(exchange, order):
    venue = exchange(fees=ALPACA_FEES, positions={1: 5})
    venue.on_quote(quote(1, T, 5.00, 5.10))
    venue.send(order(1, Side.SELL, 2), T)
    filled = venue.take_due(T)[1]
    # 1970, the rates of 2014, each up to the cent: 2 x 0.05, 2 x 0.0401, 1000 x 22.10 / 1e6, 2 x 0.002
    assert (filled.price, filled.fee) == (D("5.00"), D("0.23"))
    assert venue.account.cash == D("100999.77")
    assert holdings(venue) == {1: D(3)}


def test_latency_is_paid_out_and_back_and_meets_the_quote_on_arrival(exchange, order):
    venue = exchange(latency_ns=30 * MS)
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    assert venue.due_ns == T + 30 * MS
    assert venue.take_due(T + 29 * MS) == []
    venue.on_quote(quote(0, T + 10 * MS, 500.99, 501.01))
    assert venue.take_due(T + 30 * MS) == []  # it has arrived; the answer travels
    assert holdings(venue) == {0: D(10)}
    assert venue.due_ns == T + 60 * MS
    accepted, filled = venue.take_due(T + 60 * MS)
    assert (accepted.ts_event_ns, accepted.ts_recv_ns) == (T + 30 * MS, T + 60 * MS)
    assert (filled.price, filled.ts_event_ns, filled.ts_recv_ns) == (D("501.01"), T + 30 * MS, T + 60 * MS)


def test_no_more_is_filled_than_is_displayed_and_the_rest_waits(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01, ask_size=4))
    venue.send(order(), T)
    assert venue.take_due(T)[1].quantity == 4
    venue.on_quote(quote(0, T + 1, 499.99, 500.03, ask_size=5))
    venue.on_quote(quote(0, T + 2, 499.99, 500.04, ask_size=5))
    fills = venue.take_due(T + 2)
    assert [(fill.execution_id, fill.quantity, fill.price) for fill in fills] == [
        ("x2", D(5), D("500.03")),
        ("x3", D(1), D("500.04")),
    ]
    assert venue.working == {}


def test_an_order_waits_for_its_first_quote(exchange, order):
    venue = exchange()
    venue.send(order(), T)
    assert kinds(venue.take_due(T)) == ["OrderAccepted"]
    venue.on_quote(quote(0, T + 1, 499.99, 500.01))
    assert kinds(venue.take_due(T + 1)) == ["OrderFilled"]


@pytest.mark.parametrize(("ask_size", "quantity"), [(4, D(4)), (50, D(10))])
def test_immediate_or_cancel_fills_what_it_can_and_cancels_the_rest(exchange, order, ask_size, quantity):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01, ask_size=ask_size))
    venue.send(order(tif=TimeInForce.IOC), T)
    answers = venue.take_due(T)
    assert answers[1].quantity == quantity
    rest = [OrderCancelled("o-1", T, T, "not filled at once")] if quantity < 10 else []
    assert answers[2:] == rest
    assert venue.working == {}


@pytest.mark.parametrize(("ask_size", "fills"), [(9, False), (10, True)])
def test_fill_or_kill_fills_the_whole_or_nothing(exchange, order, ask_size, fills):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01, ask_size=ask_size))
    venue.send(order(tif=TimeInForce.FOK), T)
    answers = venue.take_due(T)
    assert kinds(answers) == ["OrderAccepted", "OrderFilled" if fills else "OrderCancelled"]
    assert holdings(venue) == ({0: D(10)} if fills else {})


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_without_a_quote_an_immediate_order_is_cancelled(exchange, order, tif):
    venue = exchange()
    venue.send(order(tif=tif), T)
    assert kinds(venue.take_due(T)) == ["OrderAccepted", "OrderCancelled"]


@pytest.mark.rows(
    ("held", "side", "quantity", "refused"),
    [
        (10, Side.SELL, 11, True),
        (10, Side.SELL, 10, False),
        (10, Side.BUY, 99, False),
        (-10, Side.BUY, 11, True),
        (-10, Side.BUY, 10, False),
        (0, Side.SELL, 5, False),
    ],
)
def test_an_order_in_shares_may_not_cross_zero(exchange, order, held, side, quantity, refused):
    venue = exchange(positions={0: held} if held else None)
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(0, side, quantity), T)
    answers = venue.take_due(T)
    if refused:
        assert answers == [OrderRejected("o-1", T, T, "order would cross zero: close the holding first")]
        assert holdings(venue) == {0: D(held)}
        assert venue.account.cash == 100_000
    else:
        assert kinds(answers) == ["OrderAccepted", "OrderFilled"]


def test_an_order_in_options_may_not_cross_zero_either_and_no_order_may_be_empty(exchange, order):
    venue = exchange(positions={1: 1})
    venue.on_quote(quote(1, T, 5.0, 5.1))
    venue.send(order(1, Side.SELL, 3), T)
    venue.send(order(1, Side.SELL, 0), T)
    assert venue.take_due(T) == [
        OrderRejected("o-1", T, T, "order would cross zero: close the holding first"),
        OrderRejected("o-2", T, T, "qty must be > 0"),
    ]
    assert holdings(venue) == {1: 1}


def test_a_resting_order_can_be_cancelled_once(exchange, order):
    venue = exchange(latency_ns=5 * MS)
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(limit="499.00"), T)
    venue.send(order(limit="499.50"), T)
    venue.take_due(T + 10 * MS)
    venue.send(CancelOrder("o-1"), T + 10 * MS)
    venue.send(CancelOrder("o-1"), T + 10 * MS)
    at = T + 15 * MS
    assert venue.take_due(T + 20 * MS) == [
        OrderCancelled("o-1", at, at + 5 * MS, "cancelled by the desk"),
        CancelRejected("o-1", at, at + 5 * MS, "no such working order"),
    ]
    assert [one.client_order_id for one in venue.working[0]] == ["o-2"]


def test_what_is_on_its_way_at_the_close_is_answered_at_the_close(exchange, order):
    venue = exchange(latency_ns=30 * MS)
    venue.on_quote(quote(0, T - 50 * MS, 499.99, 500.01))
    venue.send(order(), T - 40 * MS)  # filled at T - 10 ms; the answer would come at T + 20 ms
    venue.take_due(T)
    venue.send(order(), T - 10 * MS)  # would arrive at T + 20 ms
    venue.send(CancelOrder("o-2"), T - 5 * MS)
    venue.close_session(T)
    accepted, filled, rejected = venue.take_due(T)
    assert (accepted.client_order_id, accepted.ts_recv_ns) == ("o-1", T)
    assert (filled.quantity, filled.ts_recv_ns) == (D(10), T)
    assert rejected == OrderRejected("o-2", T, T, "the session is over")
    assert venue.due_ns == NEVER_NS


def test_a_cancel_still_on_its_way_at_the_close_has_nothing_left_to_say(exchange):
    venue = exchange(latency_ns=30 * MS)
    venue.send(CancelOrder("o-1"), T)
    venue.close_session(T + 10 * MS)
    assert venue.due_ns == NEVER_NS
    assert venue.take_due(T + 90 * MS) == []


def test_expired_options_leave_the_account_with_what_they_turn_into(exchange):
    venue = exchange(positions={0: -60, 1: 1, 2: 1})
    venue.on_quote(quote(0, END_NS, 506.99, 507.01))
    venue.expire(END_NS)
    assert venue.take_due(cleared_ns(END_NS) - 1) == []
    assert [change.cause for change in venue.take_due(cleared_ns(END_NS))] == [
        "exercise",
        "delivery",
        "expired_worthless",
    ]
    assert holdings(venue) == {0: D(40)}
    assert venue.account.cash == D(100_000) - 50_000
    venue.expire(END_NS)
    assert venue.take_due(cleared_ns(END_NS) + 1) == []


def test_an_option_that_settles_at_the_opening_takes_no_quote_from_before_it():
    option = us_option("SPX210115C03700000")
    venue = connect(Instruments([Equity("SPX"), option]), positions={1: 1})
    opening_ns = expiry_instant_ns(option)
    venue.on_quote(quote(0, opening_ns - 1, 3_789.0, 3_791.0))
    assert venue.take_due(opening_ns + 1) == []
    venue.on_quote(quote(0, opening_ns + 2, 3_719.0, 3_721.0))
    (settled,) = venue.take_due(opening_ns + 2)
    assert settled.cash_change == 20 * 100


def test_only_a_venue_with_such_rules_refuses_parts_of_a_cent_and_an_order_against_ones_own(exchange, order):
    venue = exchange(positions={0: 5})
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(side=Side.SELL, quantity=5, limit="510.005"), T)
    venue.send(order(quantity=1), T)
    assert kinds(venue.take_due(T)) == ["OrderAccepted", "OrderAccepted", "OrderFilled"]


@pytest.mark.parametrize("keeps_filled", [True, False])
def test_what_comes_too_late_for_a_filled_order_is_answered_alike_whether_the_broker_keeps_it(
    exchange, order, keeps_filled
):
    venue = exchange()
    venue.broker.ledger.keeps_filled = keeps_filled
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    venue.take_due(T)
    assert ("o-1" in venue.account.by_client_id) is keeps_filled
    venue.send(CancelOrder("o-1"), T)
    assert venue.take_due(T) == [CancelRejected("o-1", T, T, "no such working order")]


def test_one_name_is_one_order(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01))
    wanted = order()
    for at_ns in (T, T + 1):
        venue.send(wanted, at_ns)
    assert kinds(venue.take_due(T + 1)) == ["OrderAccepted", "OrderFilled", "OrderAccepted"]
    assert holdings(venue) == {0: 10}


@pytest.mark.parametrize(("net", "fills"), [("15.19", 0), ("15.20", 2)])
def test_two_legs_are_filled_within_their_net_limit_or_wait(exchange, order, net, fills):
    venue = exchange()
    venue.on_quote(quote(1, T, 8.0, 8.1))
    venue.on_quote(quote(2, T, 7.0, 7.1))
    venue.send(MultiLegOrder("m", (order(1, quantity=2), order(2, quantity=2)), D(net)), T)
    events = venue.take_due(T)
    assert kinds(events) == ["OrderAccepted"] * 2 + ["OrderFilled"] * fills
    assert [one.client_order_id for one in events[:2]] == ["o-1", "o-2"]
    assert holdings(venue) == ({1: 2, 2: 2} if fills else {})
    if not fills:
        venue.send(CancelOrder("o-2"), T)  # one leg stands for all
        assert kinds(venue.take_due(T)) == ["OrderCancelled"] * 2
        assert venue.working == {}


def test_a_combo_with_a_leg_of_a_name_that_was_used_is_refused():
    broker, account = broker_of()
    for number, mid in enumerate((500.0, 8.0, 7.0)):
        broker.on_quote(quote(number, T, mid, mid + 0.1))
    market = OrderType.MARKET
    broker.submit(account.name, OrderRequest("SPY", Side.BUY, market, quantity=D(1), client_order_id="a"))
    symbols = [broker.ledger.instruments[number].symbol for number in (1, 2)]
    legs = tuple(LegRequest(symbol, D(1), Side.BUY, client_order_id="a") for symbol in symbols)
    wanted = OrderRequest("", None, market, quantity=D(1), structure=OrderClass.MLEG, legs=legs)
    with pytest.raises(Refused) as refused:
        broker.submit(account.name, wanted)
    assert refused.value.cause is Cause.DUPLICATE_CLIENT_ID


def test_a_corrected_execution_is_taken_back_as_such_and_booked_again_at_the_new_price(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    venue.take_due(T)
    (execution,) = venue.account.executions
    assert venue.broker.staged.correct(execution, D(499))
    venue.on_quote(quote(0, T + 1, 499.99, 500.01))
    busted, filled = venue.take_due(T + 1)
    assert (busted.execution_id, busted.is_corrected) == (execution.execution_id, True)
    assert (filled.quantity, filled.price) == (10, 499)
    assert venue.account.cash == D(100_000) - 4_990


def test_a_busted_execution_is_gone_from_the_account_and_is_busted_or_corrected_no_more(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    venue.take_due(T)
    (execution,) = venue.account.executions
    assert venue.broker.staged.bust(execution)
    assert not venue.broker.staged.bust(execution)
    assert not venue.broker.staged.correct(execution, D(499))
    venue.on_quote(quote(0, T + 1, 499.99, 500.01))
    assert venue.take_due(T + 1) == [
        FillBusted("o-1", T, T, execution.execution_id, "trade bust", is_corrected=False)
    ]
    assert (venue.account.cash, holdings(venue)) == (100_000, {})


def test_a_connection_knows_what_the_broker_has_to_do_next():
    broker, account = broker_of()
    assert BrokerConnection(broker, account).due_ns == NEVER_NS
    broker.ledger.at(T + 7, lambda: None)
    assert BrokerConnection(broker, account).due_ns == T + 7


def test_answers_that_need_no_time_are_there_when_the_command_arrives(order):
    broker, account = broker_of()
    venue = BrokerConnection(broker, account, out_ns=5)
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(), T)
    venue.send(order(limit="499"), T + 1)
    assert venue.due_ns == T + 5
    assert kinds(venue.take_due(T + 5)) == ["OrderAccepted", "OrderFilled"]
    assert venue.due_ns == T + 6
    assert kinds(venue.take_due(T + 6)) == ["OrderAccepted"]
    assert venue.take_due(T + 7) == []
    assert venue.due_ns == NEVER_NS


def test_answers_come_in_the_order_of_their_commands(exchange, order):
    venue = exchange()
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(quantity=0), T)
    venue.send(order(), T)
    assert venue.due_ns == T
    assert kinds(venue.take_due(T)) == ["OrderRejected", "OrderAccepted", "OrderFilled"]


def test_after_a_quote_the_first_of_what_is_on_its_way_is_due(exchange, order):
    venue = exchange(latency_ns=30 * MS)
    venue.send(order(limit="400"), T)
    venue.send(order(limit="401"), T + 10 * MS)
    venue.on_quote(quote(0, T + 11 * MS, 499.99, 500.01))
    assert venue.due_ns == T + 30 * MS
    for after_ns in (20 * MS, 25 * MS):
        venue.broker.ledger.at(T + after_ns, lambda: None)
    venue.on_quote(quote(0, T + 12 * MS, 499.99, 500.01))
    assert venue.due_ns == T + 20 * MS


def test_what_the_close_ends_is_answered_at_the_close(exchange, order):
    venue = exchange(latency_ns=30 * MS)
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(limit="400"), T)
    assert kinds(venue.take_due(T + 60 * MS)) == ["OrderAccepted"]
    venue.close_session(FOREVER_NS)
    assert venue.due_ns == FOREVER_NS
    assert venue.take_due(FOREVER_NS) == [OrderExpired("o-1", FOREVER_NS, FOREVER_NS)]


def test_a_sale_of_what_another_order_holds_is_refused_with_the_figures(exchange, order):
    venue = exchange(positions={0: 10})
    venue.on_quote(quote(0, T, 499.99, 500.01))
    venue.send(order(side=Side.SELL, quantity=4, limit="510"), T)
    venue.send(order(side=Side.SELL, quantity=7), T)
    _, rejected = venue.take_due(T)
    assert rejected.reason == (
        "insufficient quantity (symbol SPY, requested 7, available 6, existing_qty 10, held_for_orders 4)"
    )
