"""A broker's day: what each request changes, in which order, and what the accounts hold after it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from scalpdesk.core.events import OrderFilled, PositionChanged
from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import MINUTE_NS, NEVER_NS
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.marketdata.tape import FundingRate
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.orders import Changes, OrderClass, OrderRequest, Status
from scalpdesk_testing.kit.broker import FOREVER_NS, Market, give
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
MS = 1_000_000
OPEN_NS, CLOSE_NS = session_on(DAY).open_ns, session_on(DAY).close_ns
EXPIRING = straddle_book(500, expiry=DAY)
ENDS_NS = expiry_instant_ns(EXPIRING[CALL])
T = OPEN_NS + MINUTE_NS


def market(positions=None, *, expires_today=False, opens_ns=OPEN_NS, **how):
    """Return a broker that has seen SPY at 500 and its options at 9 and 8, half a point each side."""
    book = straddle_book(500, expiry=DAY) if expires_today else straddle_book(500)
    made = Market(book, positions, opens_ns=opens_ns, **how)
    for number, mid in enumerate((500, 9, 8)):
        made.quote(number, T, mid - 0.5, mid + 0.5)
    return made


def late(made, latency_ns=5 * MS):
    """Give the broker a way from a request to its effect."""
    made.broker._effect_latency_ns = latency_ns
    return made


# contracts that end ---------------------------------------------------------------------------------


def test_the_legs_of_a_combo_are_taken_to_their_end():
    venue = market(expires_today=True)
    venue.combo({CALL: 1, PUT: 1}, 18)
    assert venue.units() == {CALL: 1, PUT: 1}
    venue.quote(SHARE, ENDS_NS, 509.5, 510.5)
    assert venue.broker.due_ns == ENDS_NS + 1
    venue.broker.advance(cleared_ns(ENDS_NS))
    assert [(one.instrument_id, one.cause) for one in venue.bookings()] == [
        (CALL, "exercise"),
        (SHARE, "delivery"),
        (PUT, "expired_worthless"),
    ]
    assert venue.units() == {SHARE: 100}


def test_an_option_that_is_bought_alone_is_taken_to_its_end():
    venue = market(expires_today=True)
    assert venue.broker.due_ns == NEVER_NS
    venue.order(PUT, 1)
    assert venue.broker.due_ns == ENDS_NS + 1
    venue.order(PUT, 1)
    assert len(venue.ledger.timers) == 1


def test_what_is_due_before_an_expiry_happens_before_it():
    """A sale that takes effect a millisecond before the end leaves nothing to be exercised."""
    venue = late(market({CALL: 1}, expires_today=True))
    desk = BrokerConnection(venue.broker, venue.account)
    venue.quote(SHARE, ENDS_NS - 8 * MS, 509.5, 510.5)
    venue.quote(CALL, ENDS_NS - 8 * MS, 10.5, 11.5)
    venue.broker.advance(ENDS_NS - 6 * MS)
    venue.order(CALL, -1)
    desk.expire(ENDS_NS)
    events = desk.take_due(ENDS_NS)
    assert [one.price for one in events if isinstance(one, OrderFilled)] == [D("10.5")]
    assert [one for one in events if isinstance(one, PositionChanged)] == []
    assert venue.units() == {}


@pytest.mark.parametrize(("held", "side", "cash"), [(1, Side.SELL, "1050"), (-1, Side.BUY, "-1150")])
def test_a_single_contract_is_closed_by_force_on_its_own_side(held, side, cash):
    venue = market({CALL: held})
    venue.quote(CALL, T + 1, 10.5, 11.5)
    resting = venue.order(SHARE, 1, 400)
    venue.broker.expiry.force_close(venue.account, CALL)
    (execution,) = venue.account.executions
    assert (execution.side, execution.quantity, venue.units()) == (side, 1, {})
    assert venue.account.cash == 100_000 + D(cash)
    assert resting.status is Status.NEW


def test_a_holding_that_is_closed_by_force_leaves_no_order_behind():
    """Neither the exits of a filled entry nor a combo with the instrument: both would open it again."""
    venue = market()
    entry = venue.order(SHARE, 10, 501, structure=OrderClass.BRACKET, **exits())
    assert [leg.status for leg in entry.legs] == [Status.NEW, Status.NEW]
    venue.broker.drain()
    venue.broker.expiry.force_close(venue.account, SHARE)
    assert [event for _, event in venue.reports()] == ["canceled", "canceled", "pending_new", "new", "fill"]
    assert (venue.units(), venue.account.open_orders(), venue.ledger.working) == ({}, [], {})
    venue = market({CALL: 1})
    combo, other = venue.combo({CALL: 1, PUT: 1}, 1), venue.order(PUT, 1, 1)
    venue.broker.expiry.force_close(venue.account, CALL)
    assert (combo.status, other.status) == (Status.CANCELED, Status.NEW)
    assert (venue.units(), venue.ledger.working) == ({}, {PUT: [other]})


# closing a holding ----------------------------------------------------------------------------------


@pytest.mark.rows(
    ("held", "part", "side", "closed", "left"),
    [
        ("1", None, Side.SELL, "1", {}),
        ("0.5", None, Side.SELL, "0.5", {}),
        ("-1", None, Side.BUY, "1", {}),
        ("7", "3", Side.SELL, "3", {SHARE: 4}),
        ("-7", "3", Side.BUY, "3", {SHARE: -4}),
    ],
)
def test_a_holding_is_closed_on_the_opposite_side(held, part, side, closed, left):
    venue = market({SHARE: held})
    order = venue.broker.close_position("account", SHARE, None if part is None else D(part))
    assert (order.side, order.quantity, order.kind, order.status) == (
        side,
        D(closed),
        OrderType.MARKET,
        Status.FILLED,
    )
    assert venue.units() == left


def test_a_holding_that_orders_hold_is_not_closed_again():
    venue = market({SHARE: 10})
    venue.order(SHARE, -4, 510)
    with pytest.raises(Refused) as refused:
        venue.broker.close_position("account", SHARE)
    assert refused.value.cause is Cause.QUANTITY
    assert refused.value.facts == {
        "symbol": "SPY",
        "requested": "10",
        "available": "6",
        "existing_qty": "10",
        "held_for_orders": "4",
    }
    assert venue.broker.close_position("account", SHARE, D(6)).status is Status.FILLED
    with pytest.raises(Refused) as refused:
        venue.broker.close_position("account", SHARE, D("0.1"))
    assert refused.value.facts["available"] == "0"


# sessions -------------------------------------------------------------------------------------------


def test_an_order_for_the_opening_ends_with_the_first_quote():
    venue = market(opens_ns=None)
    opening = venue.order(SHARE, 10, 499, TimeInForce.OPG)
    day = venue.order(SHARE, 10, 499)
    assert venue.reports() == [(opening.order_id, "accepted"), (day.order_id, "accepted")]
    assert (opening.was_queued, day.was_queued) == (True, True)
    assert (opening.status, venue.broker.is_open) == (Status.ACCEPTED, False)
    venue.broker.open_session(T + 5, CLOSE_NS)
    assert venue.reports() == [(opening.order_id, "new"), (day.order_id, "new")]
    venue.quote(SHARE, T + 6, 498.5, 499.0, ask_size=4)
    assert venue.reports() == [
        (opening.order_id, "partial_fill"),
        (day.order_id, "partial_fill"),
        (opening.order_id, "canceled"),
    ]
    assert (opening.filled, opening.canceled_ns, day.status) == (4, T + 6, Status.PARTIALLY_FILLED)


def test_an_order_for_the_opening_that_comes_within_a_session_waits_for_the_next():
    venue = market()
    order = venue.order(SHARE, 1, None, TimeInForce.OPG)
    assert (order.status, venue.units()) == (Status.ACCEPTED, {})
    venue.quote(SHARE, T + 1, 499.5, 500.5)
    assert venue.units() == {}


def test_an_order_for_the_closing_trades_at_the_close_and_never_before():
    venue = market()
    bought = venue.order(SHARE, 10, None, TimeInForce.CLS)
    missed = venue.order(SHARE, 10, 490, TimeInForce.CLS)
    venue.quote(SHARE, CLOSE_NS, 500.5, 501.5, ask_size=6)
    assert (bought.status, bought.filled) == (Status.NEW, 0)
    venue.broker.drain()
    venue.broker.close_session(CLOSE_NS)
    assert venue.reports() == [
        (bought.order_id, "partial_fill"),
        (bought.order_id, "canceled"),
        (missed.order_id, "canceled"),
    ]
    assert (bought.filled, bought.average, missed.canceled_ns) == (6, D("501.5"), CLOSE_NS)


def test_orders_of_a_day_end_at_their_close_and_those_until_cancelled_stay():
    venue = market(opens_ns=None)
    venue.broker.open_session(T, CLOSE_NS)
    day = venue.order(SHARE, 10, 400)
    kept = venue.order(SHARE, 10, 401, TimeInForce.GTC)
    combo = venue.combo({CALL: 1, PUT: 1}, 1)
    assert (day.expires_ns, kept.expires_ns, combo.expires_ns) == (CLOSE_NS, NEVER_NS, CLOSE_NS)
    venue.broker.close_session(CLOSE_NS - 1)
    assert (day.status, combo.status) == (Status.NEW, Status.NEW)
    venue.broker.drain()
    venue.broker.close_session(CLOSE_NS)
    assert venue.reports() == [(day.order_id, "expired"), (combo.order_id, "expired")]
    assert [leg.status for leg in combo.legs] == [Status.EXPIRED, Status.EXPIRED]
    assert [leg.expired_ns for leg in combo.legs] == [CLOSE_NS, CLOSE_NS]
    assert (kept.status, venue.ledger.working) == (Status.NEW, {SHARE: [kept]})


def test_the_equity_of_a_close_is_the_last_equity_of_the_next_day():
    venue = market({SHARE: 100, CALL: 2})
    assert venue.account.last_equity == 100_000
    venue.broker.close_session(CLOSE_NS)
    assert venue.account.last_equity == 100_000 + 50_000 + 1_800


def test_a_session_moves_the_clock_forward_only():
    venue = market()
    venue.broker.close_session(T - 9)
    assert venue.ledger.now_ns == T
    venue.broker.open_session(T - 7, CLOSE_NS)
    assert (venue.ledger.now_ns, venue.ledger.session_open_ns) == (T, T - 7)
    venue.quote(SHARE, T - 5, 499.5, 500.5)
    assert venue.ledger.now_ns == T
    venue.broker.advance(T + 3)
    assert venue.ledger.now_ns == T + 3


def test_a_new_account_has_its_time_and_its_contracts_watched():
    venue = market({CALL: 1, SHARE: 3}, expires_today=True)
    assert (venue.account.created_ns, venue.broker.due_ns) == (0, ENDS_NS + 1)
    assert venue.broker.expiry.watched == {CALL, SHARE}


# requests on their way ------------------------------------------------------------------------------


def test_a_request_takes_effect_after_the_latency():
    venue = late(market())
    order = venue.order(SHARE, 10, 499)
    assert (order.status, venue.reports()) == (Status.PENDING_NEW, [(order.order_id, "pending_new")])
    assert venue.broker.due_ns == T + 5 * MS
    venue.broker.advance(T + 5 * MS - 1)
    assert order.status is Status.PENDING_NEW
    venue.broker.advance(T + 5 * MS)
    assert (order.status, venue.reports()) == (Status.NEW, [(order.order_id, "new")])
    venue.broker.cancel("account", order.order_id)
    assert (order.status, venue.reports()) == (Status.PENDING_CANCEL, [(order.order_id, "pending_cancel")])
    venue.quote(SHARE, T + 7 * MS, 498.5, 499.0)  # a cancel on its way does not protect
    assert venue.reports() == [(order.order_id, "fill")]
    venue.broker.advance(T + 10 * MS)
    assert venue.reports() == [(order.order_id, "order_cancel_rejected")]
    assert order.status is Status.FILLED


def test_a_cancel_that_overtakes_nothing_ends_the_order():
    venue = late(market())
    order = venue.order(SHARE, 10, 499)
    venue.broker.cancel("account", order.order_id)
    assert order.status is Status.PENDING_NEW  # it is not at the exchange: nothing pends there
    venue.broker.advance(T + 5 * MS)
    assert venue.reports() == [
        (order.order_id, "pending_new"),
        (order.order_id, "new"),
        (order.order_id, "canceled"),
    ]
    with pytest.raises(Refused) as refused:
        venue.broker.cancel("account", order.order_id)
    assert (refused.value.cause, refused.value.facts) == (Cause.CLOSED_ORDER, {"status": "canceled"})


def test_a_partly_filled_order_pends_its_cancel_too():
    venue = late(market())
    order = venue.order(SHARE, 10, 501)
    venue.quote(SHARE, T + 1, 500.0, 500.5, ask_size=4)
    venue.broker.advance(T + 5 * MS)
    assert (order.status, order.filled) == (Status.PARTIALLY_FILLED, 4)
    venue.broker.cancel("account", order.order_id)
    assert order.status is Status.PENDING_CANCEL


def test_a_blocked_account_sends_nothing():
    venue = market(trading_blocked=True)
    with pytest.raises(Refused) as refused:
        venue.order(SHARE, 1)
    assert refused.value.cause is Cause.ACCOUNT_BLOCKED
    assert venue.account.orders == {}


# replacements ---------------------------------------------------------------------------------------


def test_a_replacement_takes_over_what_its_order_was():
    venue = market({SHARE: 10})
    old = venue.order(SHARE, -10, 510)
    venue.quote(SHARE, T + 1, 510.0, 511.0, bid_size=4)
    assert old.filled == 4
    venue.quote(SHARE, T + 2, 499.5, 500.5)
    venue.broker.drain()
    new = venue.broker.replace("account", old.order_id, Changes(limit_price=D(499)))
    assert (new.quantity, new.filled_before, new.replaces, new.lifetime) == (6, 4, old.order_id, old.lifetime)
    assert (new.status, new.average, old.status, old.replaced_by, old.replaced_ns) == (
        Status.FILLED,
        D("499.5"),
        Status.REPLACED,
        new.order_id,
        T + 2,
    )
    assert venue.reports() == [(old.order_id, "replaced"), (new.order_id, "new"), (new.order_id, "fill")]
    assert venue.units() == {}


def test_a_replacement_keeps_every_price_that_it_does_not_change():
    venue = market({SHARE: 10})
    old = venue.order(SHARE, -10, 480, kind=Stop(D(485)))
    new = venue.broker.replace("account", old.order_id, Changes(stop_price=D(486)))
    assert (new.limit_price, new.stop_price, new.quantity) == (480, 486, 10)
    last = venue.broker.replace("account", new.order_id, Changes(limit_price=D(481), quantity=D(7)))
    assert (last.limit_price, last.stop_price, last.quantity) == (481, 486, 7)
    assert [one.order_id for one in venue.account.open_orders()] == [last.order_id]


def test_a_replacement_lives_as_long_as_it_says():
    venue = market()
    old = venue.order(SHARE, 1, 400)
    assert old.expires_ns == FOREVER_NS
    new = venue.broker.replace("account", old.order_id, Changes(lifetime=TimeInForce.GTC))
    assert (new.lifetime, new.expires_ns) == (TimeInForce.GTC, NEVER_NS)


@pytest.mark.rows(("quantity", "cause"), [(4, Cause.UNPROCESSABLE), (3, Cause.UNPROCESSABLE), (5, None)])
def test_a_replacement_asks_for_more_than_is_filled(quantity, cause):
    venue = market()
    old = venue.order(SHARE, 10, 499)
    venue.quote(SHARE, T + 1, 498.5, 499.0, ask_size=4)
    venue.quote(SHARE, T + 2, 499.5, 500.5)
    assert old.filled == 4
    if cause is None:
        new = venue.broker.replace("account", old.order_id, Changes(quantity=D(quantity)))
        assert (new.quantity, new.leaves) == (1, 1)
        return
    with pytest.raises(Refused) as refused:
        venue.broker.replace("account", old.order_id, Changes(quantity=D(quantity)))
    assert (refused.value.cause, refused.value.detail) == (cause, "qty must be > filled_qty")
    assert old.status is Status.PARTIALLY_FILLED


def test_what_fills_on_the_way_of_a_replacement_is_taken_off_it():
    venue = late(market())
    old = venue.order(SHARE, 10, 499)
    venue.broker.advance(T + 5 * MS)
    new = venue.broker.replace("account", old.order_id, Changes(quantity=D(8)))
    assert (old.status, new.status, new.quantity) == (Status.PENDING_REPLACE, Status.PENDING_NEW, 8)
    venue.quote(SHARE, T + 6 * MS, 498.5, 499.0, ask_size=3)
    venue.quote(SHARE, T + 7 * MS, 499.5, 500.5)
    venue.broker.advance(T + 10 * MS)
    assert (old.status, old.filled, new.status, new.quantity, new.leaves) == (
        Status.REPLACED,
        3,
        Status.NEW,
        5,
        5,
    )


@pytest.mark.rows(("filled", "left"), [(3, 0), (4, 0), (2, 1)])
def test_a_replacement_whose_quantity_fills_on_its_way_is_rejected_and_its_order_works_on(filled, left):
    """No order is for nothing: three were wanted, and three or four have been bought before it arrives."""
    venue = late(market())
    old = venue.order(SHARE, 10, 499)
    venue.broker.advance(T + 5 * MS)
    new = venue.broker.replace("account", old.order_id, Changes(quantity=D(3)))
    venue.quote(SHARE, T + 6 * MS, 498.5, 499.0, ask_size=filled)
    venue.quote(SHARE, T + 7 * MS, 499.5, 500.5)
    venue.broker.advance(T + 10 * MS)
    assert venue.units() == {SHARE: filled}
    if left:
        assert (old.status, new.status, new.leaves) == (Status.REPLACED, Status.NEW, left)
        return
    assert (new.status, new.reject_reason) == (Status.REJECTED, "qty must be greater than filled qty")
    assert (old.status, old.replaced_by, old.leaves) == (Status.PARTIALLY_FILLED, None, 10 - filled)
    venue.quote(SHARE, T + 11 * MS, 498.5, 499.0)
    assert (old.status, venue.units()) == (Status.FILLED, {SHARE: 10})


def test_a_replacement_that_finds_its_order_filled_is_rejected():
    venue = late(market())
    old = venue.order(SHARE, 10, 499)
    venue.broker.advance(T + 5 * MS)
    new = venue.broker.replace("account", old.order_id, Changes(limit_price=D(498)))
    venue.quote(SHARE, T + 6 * MS, 498.5, 499.0)
    venue.broker.drain()
    venue.broker.advance(T + 10 * MS)
    assert venue.reports() == [(new.order_id, "rejected")]
    assert new.reject_reason == "the order was at its end before the replacement reached it"
    assert (old.status, old.replaced_by, new.failed_ns) == (Status.FILLED, None, T + 10 * MS)


@pytest.mark.parametrize("name", ["limit_price", "stop_price"])
def test_an_order_that_is_not_at_the_exchange_is_not_replaced(name):
    venue = late(market())
    old = venue.order(SHARE, 10, 499)
    with pytest.raises(Refused) as refused:
        venue.broker.replace("account", old.order_id, Changes(**{name: D(498)}))
    assert refused.value.cause is Cause.NOT_SENT_YET
    venue.broker.advance(T + 5 * MS)
    venue.broker.cancel("account", old.order_id)
    venue.broker.advance(T + 10 * MS)
    with pytest.raises(Refused) as refused:
        venue.broker.replace("account", old.order_id, Changes(**{name: D(498)}))
    assert (refused.value.cause, refused.value.facts) == (Cause.CLOSED_ORDER, {"status": "canceled"})


def test_a_dearer_replacement_is_asked_for_the_means_of_the_whole_order():
    """Ten calls bid for at 1 withhold 1,000 USD; at 5 they cost 5,000, which the account does not have."""
    venue = market(cash=1_500)
    old = venue.order(CALL, 10, 1)
    for dear, cost in ((5, "5000.00"), ("1.51", "1510.00")):
        with pytest.raises(Refused) as refused:
            venue.broker.replace("account", old.order_id, Changes(limit_price=D(dear)))
        assert refused.value.facts == {"buying_power": "1500.00", "cost_basis": cost}
    assert venue.account.reserved() == (0, 1_000)
    new = venue.broker.replace("account", old.order_id, Changes(limit_price=D("1.5")))
    assert (new.withholds, venue.account.reserved()) == (150, (0, 1_500))
    other = market(cash=1_500)
    straddle = other.combo({CALL: 1, PUT: 1}, 5, units=2)
    with pytest.raises(Refused) as refused:
        other.broker.replace("account", straddle.order_id, Changes(limit_price=D("7.51")))
    assert refused.value.facts == {"buying_power": "1500.00", "cost_basis": "1502.00"}
    assert other.broker.replace("account", straddle.order_id, Changes(limit_price=D("7.5"))).withholds == 750


def test_a_larger_replacement_is_asked_for_the_means_of_what_is_more():
    venue = market(cash=25_000, multiplier=2)
    old = venue.order(SHARE, 50, 490)
    with pytest.raises(Refused) as refused:
        venue.broker.replace("account", old.order_id, Changes(quantity=D(103)))
    assert refused.value.cause is Cause.BUYING_POWER
    assert (refused.value.facts["buying_power"], refused.value.facts["cost_basis"]) == (
        "50000.00",
        "50470.00",
    )
    assert venue.broker.replace("account", old.order_id, Changes(quantity=D(102))).quantity == 102
    closing = market({SHARE: 10})
    sale = closing.order(SHARE, -6, 510)
    with pytest.raises(Refused) as refused:
        closing.broker.replace("account", sale.order_id, Changes(quantity=D(11)))
    assert (refused.value.cause, refused.value.facts["requested"], refused.value.facts["available"]) == (
        Cause.QUANTITY,
        "5",
        "4",
    )
    assert closing.broker.replace("account", sale.order_id, Changes(quantity=D(10))).leaves == 10


# exits ----------------------------------------------------------------------------------------------


def exits(profit=510, loss=490, **more):
    return {"take_profit_limit": profit, "stop_loss_stop": loss} | more


def test_the_exits_of_a_bracket_are_held_until_its_entry_fills():
    venue = market()
    entry = venue.order(SHARE, 10, 499, structure=OrderClass.BRACKET, **exits(stop_loss_limit=489))
    profit, loss = entry.legs
    assert [(leg.kind, leg.limit_price, leg.stop_price, leg.side, leg.status) for leg in entry.legs] == [
        (OrderType.LIMIT, 510, None, Side.SELL, Status.HELD),
        (Stop(D(490)), 489, 490, Side.SELL, Status.HELD),
    ]
    assert [leg.intent.value for leg in entry.legs] == ["sell_to_close", "sell_to_close"]
    venue.quote(SHARE, T + 1, 498.5, 499.0, ask_size=4)
    assert [leg.status for leg in entry.legs] == [Status.HELD, Status.HELD]  # a part wakes nothing
    venue.quote(SHARE, T + 2, 498.5, 499.0)
    assert [leg.status for leg in entry.legs] == [Status.NEW, Status.NEW]
    venue.broker.drain()
    venue.quote(SHARE, T + 3, 510.0, 510.5)
    assert venue.reports() == [(profit.order_id, "fill"), (loss.order_id, "canceled")]


def test_a_family_of_orders_is_forgotten_whole_and_the_numbers_go_on():
    venue = market()
    entry = venue.order(SHARE, 10, 499, structure=OrderClass.BRACKET, **exits())
    other = venue.order(SHARE, 1, 400)
    profit, loss = entry.legs
    venue.quote(SHARE, T + 1, 498.5, 499.0)
    venue.ledger.forget(T + 9)  # the entry is over, and its exits are not
    assert list(venue.account.orders.values()) == [entry, profit, loss, other]
    assert venue.account.executions == []
    venue.quote(SHARE, T + 2, 510.0, 510.5)
    (execution,) = venue.account.executions
    venue.ledger.forget(T + 2)
    assert len(venue.ledger.orders) == 4
    assert venue.account.executions == [execution]
    venue.ledger.forget(T + 3)
    assert venue.account.orders == venue.ledger.orders == {other.order_id: other}
    assert venue.account.by_client_id == {other.client_order_id: other}
    assert venue.account.executions == []
    assert venue.order(SHARE, 1, 400).number == 4


def test_a_parent_is_kept_for_the_exit_that_took_the_place_of_its_own():
    venue = market()
    entry = venue.order(SHARE, 10, 499, structure=OrderClass.BRACKET, **exits())
    profit, _ = entry.legs
    venue.quote(SHARE, T + 1, 498.5, 499.0)
    new = venue.broker.replace("account", profit.order_id, Changes(limit_price=D(520)))
    for leg in entry.legs:
        leg.status = Status.REPLACED  # the other one too: nothing of the first family is at work
    for _ in range(2):
        venue.ledger.forget(T + 9)
    assert set(venue.account.orders) == {entry.order_id, new.order_id}
    venue.quote(SHARE, T + 2, 520.0, 520.5)
    assert (new.status, venue.units()) == (Status.FILLED, {})
    venue.ledger.forget(T + 9)
    assert venue.account.orders == venue.ledger.orders == {}


def test_a_broker_that_keeps_no_filled_order_drops_it_at_its_last_trade_and_no_family():
    venue = market()
    venue.ledger.keeps_filled = False
    order, rests = venue.order(SHARE, 10, 499), venue.order(SHARE, 1, 400)
    entry = venue.order(SHARE, 10, 499, structure=OrderClass.BRACKET, **exits())
    venue.quote(SHARE, T + 1, 498.5, 499.0, ask_size=4)
    assert (order.filled, order.order_id in venue.ledger.orders) == (4, True)
    venue.quote(SHARE, T + 2, 498.5, 499.0)
    left = [rests, entry, *entry.legs]
    assert (order.status, order.resting, entry.status) == (Status.FILLED, None, Status.FILLED)
    assert list(venue.ledger.orders.values()) == list(venue.account.orders.values()) == left
    assert list(venue.account.by_client_id.values()) == left
    assert (venue.units(), venue.account.executions) == ({SHARE: 20}, [])
    venue.quote(SHARE, T + 3, 510.0, 510.5)
    assert [leg.status for leg in entry.legs] == [Status.FILLED, Status.CANCELED]
    assert venue.units() == {SHARE: 10}


def test_the_exits_of_what_is_sold_short_buy():
    venue = market()
    entry = venue.order(SHARE, -10, 500, structure=OrderClass.BRACKET, **exits(490, 510))
    assert [(leg.side, leg.intent.value) for leg in entry.legs] == [(Side.BUY, "buy_to_close")] * 2
    assert [leg.kind for leg in entry.legs] == [OrderType.LIMIT, Stop(D(510))]


def test_an_entry_that_is_cancelled_takes_its_exits_with_it():
    venue = market()
    entry = venue.order(SHARE, 10, 499, structure=OrderClass.BRACKET, **exits())
    venue.broker.drain()
    venue.broker.cancel("account", entry.order_id)
    assert venue.reports() == [(one.order_id, "canceled") for one in (entry, *entry.legs)]
    assert venue.account.open_orders() == []


def test_one_exit_that_is_cancelled_takes_the_other_with_it():
    venue = market({SHARE: 10})
    order = venue.order(SHARE, -10, 510, structure=OrderClass.OCO, **exits())
    (stop,) = order.legs
    assert (order.kind, order.limit_price, order.side, stop.side) == (
        OrderType.LIMIT,
        510,
        Side.SELL,
        Side.SELL,
    )
    assert (order.status, stop.status) == (Status.NEW, Status.NEW)
    venue.broker.drain()
    venue.broker.cancel("account", stop.order_id)
    assert venue.reports() == [(stop.order_id, "canceled"), (order.order_id, "canceled")]


def test_the_stop_of_two_exits_that_fills_ends_the_limit():
    venue = market({SHARE: 10})
    order = venue.order(SHARE, -10, 510, structure=OrderClass.OCO, **exits())
    venue.broker.drain()
    venue.quote(SHARE, T + 1, 489.0, 490.0)
    (stop,) = order.legs
    assert venue.reports() == [
        (stop.order_id, "triggered"),
        (stop.order_id, "fill"),
        (order.order_id, "canceled"),
    ]
    assert venue.units() == {}


def test_one_exit_alone_wakes_with_its_entry():
    venue = market()
    entry = venue.order(SHARE, 10, 501, structure=OrderClass.OTO, stop_loss_stop=490)
    (stop,) = entry.legs
    assert (entry.status, stop.status, stop.kind) == (Status.FILLED, Status.NEW, Stop(D(490)))
    venue.quote(SHARE, T + 1, 489.0, 490.0)
    assert (stop.status, venue.units()) == (Status.FILLED, {})


def test_options_are_halted_with_their_underlying_and_trade_when_it_resumes():
    venue = market(cash=1_000_000)
    resting = venue.order(CALL, 1, 9)
    venue.broker.halt(SHARE)
    venue.quote(CALL, T + 1, 8.0, 8.5)  # the ask came to the limit
    combo = venue.combo({CALL: 1, PUT: 1}, 20, units=2)
    fresh, at_once = venue.order(PUT, 1), venue.order(PUT, 1, tif=TimeInForce.IOC)
    orders = (resting, combo, fresh)
    assert [order.status for order in orders] == [Status.NEW] * 3
    assert (at_once.status, venue.units()) == (Status.CANCELED, {})
    venue.broker.resume(SHARE)
    assert [order.status for order in orders] == [Status.FILLED] * 3
    assert venue.units() == {CALL: 3, PUT: 3}


def test_an_option_that_is_halted_itself_stays_so_when_its_underlying_resumes():
    venue = market()
    venue.broker.halt(CALL)
    venue.broker.halt(SHARE)
    call, put = venue.order(CALL, 1), venue.order(PUT, 1)
    venue.broker.resume(SHARE)
    assert (call.status, put.status) == (Status.NEW, Status.FILLED)


def test_an_order_of_the_broker_asks_no_rule_of_the_account():
    venue = market({SHARE: 10}, trading_blocked=True)
    venue.broker.force("account", OrderRequest("SPY", Side.SELL, OrderType.MARKET, TimeInForce.DAY, D(10)))
    (order,) = venue.account.orders.values()
    assert (order.intent.value, order.status) == ("sell_to_close", Status.FILLED)
    assert [event for _, event in venue.reports()] == ["pending_new", "new", "fill"]


# a tape ---------------------------------------------------------------------------------------------


def test_a_broker_takes_levels_dividends_and_funding_from_its_tape():
    book = straddle_book(500, expiry=DAY)
    book.add(perpetual("BTC"))
    builder = TapeBuilder(book).quote(SHARE, "10:00", 499.5, 500.5).dividend("0.5", DAY)
    builder.settlement_prices = {("SPY", DAY): 503.00004}
    rate = FundingRate("BTC-PERPETUAL", T, D("0.0008"), D(50_000), hours=D(8))
    tape = replace(builder.build(), funding=(rate,))
    venue = Market(book, {SHARE: 100, CALL: 1}, opens_ns=None)
    give(venue.account, 3, 5_000, 50_000)
    venue.broker.play(tape)
    assert venue.broker.due_ns == T
    venue.broker.open_session(OPEN_NS, CLOSE_NS)
    assert [(one.cause, one.cash_change) for one in venue.bookings()] == [("dividend", 50)]
    venue.broker.advance(T)
    paid = D(5_000) / D(50_000) * D("0.0008") * book[3].contract_usd
    (funding,) = venue.bookings()
    assert (funding.cause, funding.instrument_id, funding.cash_change) == ("funding", 3, -paid)
    assert funding.reference == f"funding-BTC-PERPETUAL-{T}"
    venue.broker.advance(cleared_ns(ENDS_NS))
    exercised, delivered = venue.bookings()
    assert (exercised.cause, delivered.cash_change) == ("exercise", -50_000)
    level = venue.broker.expiry.settlement_of
    assert (level("SPY", DAY), level("QQQ", DAY)) == (D("503.0000"), None)
    assert str(level("SPY", DAY)) == "503.0000"


def test_funding_below_the_smallest_coin_keeps_nobody_else_waiting():
    book = Instruments([perpetual("BTC")])
    venue = Market(book, {0: 1}, cash=1, currency="BTC")
    other = venue.broker.open_account(
        AccountTerms(name="other", cash=D(1), currency="BTC", positions={0: (D(5_000), D(50_000))})
    )
    flat = venue.broker.open_account(AccountTerms(name="flat", cash=D(1), currency="BTC"))
    rate = FundingRate("BTC-PERPETUAL", T, D("0.0000001"), D(50_000), hours=D(8))
    venue.broker.actions.pay_funding(rate)
    assert [(one.quantity_change, one.price) for one in venue.bookings()] == [(0, 0)]
    assert (venue.account.cash, flat.cash) == (1, 1)
    assert other.cash == 1 - D(5_000) * book[0].contract_usd / D(50_000) * D("0.0000001")


def test_what_was_reported_is_reported_once():
    venue = market()
    assert list(venue.broker.drain()) == []
    venue.order(SHARE, 1, 400)
    assert [one.event for one in venue.broker.drain()] == ["new"]
    assert list(venue.broker.drain()) == []


def test_a_market_order_with_a_price_is_refused_unless_its_sender_knows_the_instrument():
    venue = market()
    wanted = OrderRequest("SPY", Side.BUY, OrderType.MARKET, quantity=D(1), client_order_id="x" * 129)
    with pytest.raises(Refused) as refused:
        venue.broker.submit("account", wanted)
    assert refused.value.cause is Cause.MALFORMED
    limit = OrderRequest(
        "SPY", Side.BUY, OrderType.LIMIT, quantity=D(1), limit_price=D(0), instrument_id=SHARE
    )
    with pytest.raises(Refused) as refused:
        venue.broker.submit("account", limit)
    assert refused.value.detail == "limit_price must be > 0"


def test_an_exit_that_fills_in_part_while_its_order_is_acknowledged_leaves_the_other_the_rest():
    venue = market({SHARE: 10})
    venue.quote(SHARE, T + 1, 509.0, 510.0, bid_size=4)
    order = venue.order(SHARE, -10, 509, structure=OrderClass.OCO, **exits(509))
    (stop,) = order.legs
    assert (order.filled, order.leaves, stop.leaves, stop.status) == (4, 6, 6, Status.NEW)
    whole = market({SHARE: 10})
    whole.quote(SHARE, T + 1, 509.0, 510.0)
    order = whole.order(SHARE, -10, 509, structure=OrderClass.OCO, **exits(509))
    assert (order.status, order.legs[0].status, whole.units()) == (Status.FILLED, Status.CANCELED, {})
    assert whole.ledger.working == {}
