"""Requests, executions and reports of the broker: values that stay as they are, with their defaults."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.margin.holdings import Holding
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts
from scalpdesk.risk.caps import CapRoom, GreekExposure
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.order_entry import ALPACA_RULES, DERIBIT_RULES, VenueRules
from scalpdesk.simulation.orders import (
    Activity,
    Booking,
    BrokerOrder,
    Changes,
    Execution,
    LegRequest,
    OrderClass,
    OrderRequest,
    OrderUpdate,
    PositionIntent,
    Status,
)
from scalpdesk_testing.kit.instruments import share

D = Decimal
REQUEST = OrderRequest("SPY", Side.BUY, OrderType.MARKET)
EXECUTION = Execution("x1", "account", "sim-1", "a", 0, Side.BUY, D(1), D(5), D(0), 7)


def broker_order():
    return BrokerOrder(
        "sim-1", "a", "account", 1, REQUEST, 0, share(), Side.BUY, D(10), OrderType.MARKET,
        TimeInForce.DAY, Status.NEW, PositionIntent.BUY_TO_OPEN, 5, 6,
    )  # fmt: skip


VALUES = [
    REQUEST,
    EXECUTION,
    LegRequest("SPY", D(1), Side.BUY),
    Changes(),
    OrderUpdate("account", "new", 1, 1, broker_order()),
    Activity("a1", "account", "FEE", 1, "SPY", D(0), D(0), D(-1)),
    AccountTerms(),
    Holding(share(), D(1), D(5)),
    VenueRules(),
    RiskLimits(),
    RiskLimits().resolve(),
    CapRoom(-1.0, 1.0, "delta", "key"),
    NO_LEG_PARTS,
    PositionGreeks(1.0, 2.0, 0.0, 0.0, 0.0),
]


@pytest.mark.rows("value", VALUES)
def test_a_value_cannot_be_changed(value):
    name = (getattr(value, "__struct_fields__", None) or tuple(value.__dataclass_fields__))[0]
    with pytest.raises(AttributeError):
        setattr(value, name, getattr(value, name))


@pytest.mark.rows(
    "kind",
    [LegRequest, OrderRequest, BrokerOrder, Execution, OrderUpdate, Holding, LegParts, GreekSum, CapRoom],
)
def test_the_garbage_collector_need_not_look_at_what_a_session_makes_by_the_thousand(kind):
    assert kind.__struct_config__.gc is False


def test_a_request_that_names_little_is_a_plain_order_of_the_day():
    assert (REQUEST.lifetime, REQUEST.quantity, REQUEST.notional) == (TimeInForce.DAY, None, None)
    assert REQUEST.limit_price is None
    assert (REQUEST.extended_hours, REQUEST.structure, REQUEST.legs) == (False, OrderClass.SIMPLE, ())
    assert (REQUEST.intent, REQUEST.instrument_id, REQUEST.client_order_id) == (None, None, None)
    assert (EXECUTION.cumulative, EXECUTION.leaves, EXECUTION.corrects) == (0, 0, None)


def test_an_order_begins_unfilled_and_counts_what_is_left():
    order = broker_order()
    assert (order.filled, order.value, order.busted, order.withholds, order.filled_before) == (0, 0, 0, 0, 0)
    assert (order.filled_ns, order.expired_ns, order.canceled_ns, order.failed_ns, order.replaced_ns) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert (order.expires_ns, order.ratio, order.legs, order.parent) == (0, 1, (), None)
    assert (order.triggered, order.was_queued, order.is_unpriced) == (False, False, False)
    assert (order.leaves, order.average, order.is_open, order.working_limit) == (10, None, True, None)
    order.filled, order.value = D(4), D(22)
    assert (order.leaves, order.average) == (6, D("5.5"))
    order.busted = D(1)
    assert order.leaves == 5
    order.filled = D(0)
    assert order.leaves == 9
    order.status = Status.FILLED
    assert order.is_open is False


@pytest.mark.rows(
    ("kind", "price", "triggered", "waits", "limit"),
    [
        (OrderType.MARKET, 7, False, False, None),
        (OrderType.LIMIT, 7, False, False, 7),
        (Stop(D(8)), None, False, True, None),
        (Stop(D(8)), None, True, False, None),
        (Stop(D(8)), 7, False, True, 7),
        (Stop(D(8)), 7, True, False, 7),
        (Trailing(D(1)), None, False, True, None),
    ],
)
def test_a_stop_waits_for_its_price_and_a_limit_works_at_its_own(kind, price, triggered, waits, limit):
    order = broker_order()
    order.kind, order.triggered, order.limit_price = kind, triggered, price
    assert (order.waits_for_stop, order.working_limit) == (waits, limit)


def test_a_snapshot_stays_as_it_was_with_its_legs():
    order, leg = broker_order(), broker_order()
    order.legs = (leg,)
    seen = order.snapshot()
    order.filled = leg.filled = D(3)
    assert (seen.filled, seen.legs[0].filled, len(seen.legs)) == (0, 0, 1)


def test_a_refusal_is_a_sentence_with_its_facts():
    cause = Cause.QUANTITY
    assert Refused(cause).reason == cause.value.replace("_", " ")
    assert Refused(cause, "no such thing").reason == "no such thing"
    assert (
        Refused(cause, "no such thing", symbol="SPY", qty="3").reason == "no such thing (symbol SPY, qty 3)"
    )
    assert str(Refused(cause, "why")) == f"{cause.value}: why"


def test_each_venue_has_its_rules():
    none = (False,) * 6
    shown = [
        (
            one.cutoff is not None,
            one.liquidation,
            one.wash_trades,
            one.penny_prices,
            one.option_lifetimes,
            one.turns,
        )
        for one in (VenueRules(), ALPACA_RULES, DERIBIT_RULES)
    ]
    assert shown == [none, (True, True, True, True, True, False), (False,) * 5 + (True,)]


def test_an_exposure_is_nothing_unless_it_is_said():
    assert GreekExposure() == (0.0, 0.0, 0.0, 0.0)
    assert (GreekSum().delta, GreekSum().shares, GreekSum().gamma, GreekSum().vega) == (0.0, 0.0, 0.0, 0.0)
    assert LegParts() == NO_LEG_PARTS
    assert PositionGreeks(1.0, 2.0, 0.0, 0.0, 0.0).net_delta_shares == 3.0
    assert {getattr(NO_LEG_PARTS, name) for name in LegParts.__struct_fields__} == {0.0}


def test_what_was_reported_stays_as_it_was_reported():
    order = broker_order()
    update = OrderUpdate("account", "new", 1, 1, order.snapshot(), EXECUTION)
    line = Activity("a1", "account", "FILL", 1, "SPY", D(1), D(5), D(-5), EXECUTION)
    change = PositionChanged(0, 1, 1, ChangeCause.DIVIDEND, D(0), D(0), D(1), "d")
    for value, name in (
        (update, "event"),
        (line, "net_amount"),
        (EXECUTION, "price"),
        (Booking("account", change), "change"),
        (order.request, "quantity"),
        (LegRequest("SPY", order.leaves, Side.BUY), "ratio"),
        (Changes(quantity=order.leaves), "quantity"),
    ):
        with pytest.raises(AttributeError):
            setattr(value, name, None)
    assert (line.note, update.leg_executions, update.position_quantity) == ("", (), None)
