"""An account of the simulated broker as a venue shows it: orders, executions, holdings, missed events."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.fees import FeeSchedule
from scalpdesk.simulation.connection import OVER
from scalpdesk.venues.contract import KnownOrder, VenueClock
from scalpdesk.venues.simulated import AccountRecord
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)


def quote(number, at_ns, bid, ask, size=1_000.0):
    return QuoteEvent(number, at_ns, at_ns, bid, ask, size, size)


def order(name="a", number=SHARE, quantity=10, side=Side.BUY, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.DAY, Purpose.OPEN)


def straddle(name="s", quantity=2, limit=None):
    legs = tuple(order(f"{name}-{number}", number, quantity) for number in (CALL, PUT))
    return MultiLegOrder(name, legs, None if limit is None else D(limit))


@pytest.fixture
def record():
    """Build the record of an account at a broker that has seen quotes of SPY and its straddle at t = 10."""

    def build(**how):
        made = AccountRecord("mine", connect(straddle_book(500), **how))
        for number, bid, ask in ((SHARE, 500.00, 500.02), (CALL, 9.00, 9.10), (PUT, 8.00, 8.10)):
            made.connection.on_quote(quote(number, 10, bid, ask))
        made.collect(10)
        return made

    return build


def sent(record, command, now_ns=20, **how):
    record.take(command, now_ns, **how)
    return record.collect(now_ns)


def test_every_order_that_is_sent_is_remembered_those_of_a_combo_too(record):
    made = record()
    first, second = order(limit="499"), order("b", limit="498")
    both = straddle()
    for command in (first, second, both, CancelOrder("b")):
        made.take(command, 20)
    assert made.submitted == {"a": first, "b": second, "s-1": both.legs[0], "s-2": both.legs[1]}
    assert made.duplicates == []
    made.take(order("a"), 21)
    made.take(straddle(), 21)
    assert made.duplicates == ["a", "s-1", "s-2"]
    assert made.submitted["a"] == order("a")


def test_after_the_session_nothing_reaches_the_broker(record):
    made = record()
    (answer,) = sent(made, order(), 30, is_over=True)
    assert answer == OrderRejected("a", 30, 30, OVER)
    assert made.account.by_client_id == {}
    assert list(made.submitted) == ["a"]
    assert [type(one) for one in sent(made, CancelOrder("a"), 31, is_over=True)] == [CancelRejected]
    assert [type(one) for one in made.history["a"]] == [OrderRejected, CancelRejected]


def test_the_history_of_an_order_holds_what_was_sent_of_it_and_no_change_of_the_holdings(record):
    made = record()
    came = sent(made, order())
    assert [type(one) for one in came] == [OrderAccepted, OrderFilled]
    assert made.history == {"a": came}
    change = PositionChanged(SHARE, 25, 25, ChangeCause.MANUAL_TRADE, D(5), D(500), D(-2_500), "x")
    made.connection._arrived.append(change)
    assert made.collect(25) == [change]
    assert made.history == {"a": came}


def test_of_an_order_the_desk_missed_what_its_journal_does_not_hold(record):
    made = record()
    accepted, filled = sent(made, order())
    assert made.missed(KnownOrder(order("other"))) == []
    assert made.missed(KnownOrder(order())) == [accepted, filled]
    assert made.missed(KnownOrder(order(), venue_order_id="sim-1")) == [filled]
    other = {"another": (D(10), D("500.02"))}
    assert made.missed(KnownOrder(order(), venue_order_id="sim-1", executions=other)) == [filled]
    booked = {filled.execution_id: (filled.quantity, filled.price)}
    assert made.missed(KnownOrder(order(), executions=booked)) == [accepted]
    assert made.missed(KnownOrder(order(), venue_order_id="sim-1", executions=booked)) == []


def test_a_cancel_that_was_missed_is_reported_whatever_the_journal_holds(record):
    made = record()
    sent(made, order(limit="400"))
    (cancelled,) = sent(made, CancelOrder("a"), 21)
    assert type(cancelled) is OrderCancelled
    assert made.missed(KnownOrder(order(), venue_order_id="sim-1")) == [cancelled]


def test_the_account_shows_its_cash_equity_and_rights(record):
    made = record(cash=50_000, options_level=2, multiplier=2)
    facts = made.facts()
    assert (facts.account_id, facts.status, facts.currency) == ("mine", "ACTIVE", "USD")
    assert (facts.cash, facts.equity, facts.buying_power) == (D(50_000), D(50_000), D(100_000))
    assert (facts.options_buying_power, facts.options_level) == (D(50_000), 2)
    assert (facts.may_trade, facts.may_short) == (True, True)
    sent(made, order(quantity=20))
    facts = made.facts()
    assert (facts.cash, facts.equity) == (D("39999.60"), D("39999.60") + 20 * D("500.01"))


@pytest.mark.rows("blocked", [False, True])
@pytest.mark.rows("shorting", [False, True])
def test_a_blocked_account_and_one_without_short_sales_say_so(record, blocked, shorting):
    facts = record(trading_blocked=blocked, shorting_enabled=shorting).facts()
    assert (facts.may_trade, facts.may_short) == (not blocked, shorting)


def test_the_view_holds_executions_only_where_they_are_asked_for(record):
    made = record()
    sent(made, order())
    clock = VenueClock(30, True, 40, 50)
    view = made.view(30, clock, None)
    assert (view.clock, view.account, view.fills) == (clock, made.facts(), ())
    assert (view.positions, view.open_orders) == (made.positions(), ())
    assert (view.ts_event_ns, view.ts_recv_ns) == (30, 30)
    assert len(made.view(30, clock, 0).fills) == 1


def test_a_position_shows_its_symbol_size_price_and_contract(record):
    made = record(positions={CALL: (D(-2), D("9.50")), SHARE: (D(7), D("499"))})
    by_id = made.connection.broker.ledger.instruments
    call, share = made.positions()
    assert (call.symbol, call.instrument_id, call.quantity, call.average_price) == (
        by_id[CALL].symbol,
        CALL,
        D(-2),
        D("9.50"),
    )
    assert (share.symbol, share.quantity, share.average_price) == ("SPY", D(7), D(499))
    assert (call.instrument, share.instrument) == (by_id[CALL], by_id[SHARE])


def test_an_open_order_shows_what_is_filled_and_where_it_rests(record):
    made = record()
    made.connection.on_quote(quote(SHARE, 15, 500.00, 500.02, size=4.0))
    came = sent(made, order(limit="500.05"))
    (shown,) = made.open_orders()
    filled = sum(one.quantity for one in came if isinstance(one, OrderFilled))
    assert (shown.client_order_id, shown.venue_order_id, shown.symbol) == ("a", "sim-1", "SPY")
    assert (shown.instrument_id, shown.side, shown.quantity) == (SHARE, Side.BUY, D(10))
    assert (shown.filled, shown.average_price) == (filled, D("500.02"))
    assert filled == 4
    assert (shown.status, shown.is_open) == ("partially_filled", True)
    assert (shown.limit_price, shown.submitted_ns) == (D("500.05"), 20)


def test_the_legs_of_a_combo_are_open_orders_under_the_combos_id(record):
    made = record()
    sent(made, straddle(limit="10.00"))
    shown = made.open_orders()
    assert [(one.client_order_id, one.instrument_id, one.quantity) for one in shown] == [
        ("s-1", CALL, D(2)),
        ("s-2", PUT, D(2)),
    ]
    parent = made.account.by_client_id["s-1"].parent
    assert parent is not None
    assert {one.venue_order_id for one in shown} == {parent}


def test_executions_are_shown_from_an_instant_on_with_what_was_filled_by_then(record):
    made = record()
    made.connection.on_quote(quote(SHARE, 15, 500.00, 500.02, size=4.0))
    sent(made, order(limit="500.05"), 20)
    made.connection.on_quote(quote(SHARE, 40, 500.00, 500.02, size=6.0))
    made.collect(40)
    first, second = every = list(made.fills(0))
    assert [(one.quantity, one.cumulative, one.price) for one in every] == [
        (D(4), D(4), D("500.02")),
        (D(6), D(10), D("500.05")),
    ]
    assert (first.venue_order_id, first.symbol, first.side) == ("sim-1", "SPY", Side.BUY)
    assert first.execution_id != second.execution_id
    assert (first.ts_event_ns, second.ts_event_ns) == (20, 40)
    assert list(made.fills(20)) == every
    assert list(made.fills(21)) == list(made.fills(40)) == [second]
    assert list(made.fills(41)) == []


def test_executions_of_several_orders_are_shown_oldest_first_with_their_fees(record):
    fees = FeeSchedule(per_share=D("0.01"))
    made = record(fees=fees)
    sent(made, order(limit="499.50"), 20)
    sent(made, order("b", quantity=3), 21)
    made.connection.on_quote(quote(SHARE, 40, 499.00, 499.10))
    made.collect(40)
    assert [(one.quantity, one.ts_event_ns, one.fee) for one in made.fills(0)] == [
        (D(3), 21, D("0.03")),
        (D(10), 40, D("0.10")),
    ]


def test_an_execution_that_the_broker_took_back_is_not_shown_any_more(record):
    made = record()
    made.connection.on_quote(quote(SHARE, 15, 500.00, 500.02, size=4.0))
    sent(made, order(limit="500.05"), 20)
    made.connection.on_quote(quote(SHARE, 40, 500.00, 500.02, size=6.0))
    first, second = [one for one in made.collect(40) + made.history["a"] if isinstance(one, OrderFilled)][-2:]
    made.history["a"].append(FillBusted("a", 50, 50, first.execution_id, "trade bust"))
    assert [(one.execution_id, one.cumulative) for one in made.fills(0)] == [(second.execution_id, D(6))]


def test_executions_of_a_combo_are_shown_leg_by_leg_under_the_combos_id(record):
    made = record()
    sent(made, straddle())
    parent = made.account.by_client_id["s-1"].parent
    assert [(one.venue_order_id, one.symbol, one.quantity, one.price) for one in made.fills(0)] == [
        (parent, "SPY240419C00500000", D(2), D("9.10")),
        (parent, "SPY240419P00500000", D(2), D("8.10")),
    ]
