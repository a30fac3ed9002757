"""Requests, executions and reports of the broker: values that stay as they are."""

import dataclasses
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.margin import holdings
from scalpdesk.portfolio import greeks, interval
from scalpdesk.risk import caps, limits
from scalpdesk.simulation import accounts, order_entry, orders
from scalpdesk.simulation.orders import BrokerOrder, OrderRequest, PositionIntent, Status
from scalpdesk_testing.kit.instruments import share

D = Decimal
REQUEST = OrderRequest("SPY", Side.BUY, OrderType.MARKET)
CHANGES_BY_DESIGN = {"BrokerOrder", "GreekSum"}
BY_THE_THOUSAND = {
    *("LegRequest", "OrderRequest", "BrokerOrder", "Execution", "OrderUpdate", "Holding", "LegParts"),
    *("LegSnapshot", "GreekSum", "PositionGreeks", "CapRoom"),
}
"""What a session makes so many of that the garbage collector need not look at it."""


def values():
    for module in (orders, accounts, order_entry, holdings, greeks, interval, caps, limits):
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                if issubclass(kind, msgspec.Struct):
                    config = kind.__struct_config__
                    yield kind.__name__, config.frozen, config.gc
                elif dataclasses.is_dataclass(kind):
                    yield kind.__name__, kind.__dataclass_params__.frozen, True


@pytest.mark.rows(("name", "is_frozen", "is_collected"), list(values()))
def test_a_value_cannot_be_changed(name, is_frozen, is_collected):
    assert is_frozen is (name not in CHANGES_BY_DESIGN)
    assert is_collected is (name not in BY_THE_THOUSAND)


def broker_order():
    return BrokerOrder(
        "sim-1", "a", "account", 1, REQUEST, 0, share(), Side.BUY, D(10), OrderType.MARKET,
        TimeInForce.DAY, Status.NEW, PositionIntent.BUY_TO_OPEN, 5, 6,
    )  # fmt: skip


def test_an_order_counts_what_is_left():
    order = broker_order()
    assert (order.leaves, order.average, order.is_open, order.working_limit) == (10, None, True, None)
    order.filled, order.value = D(4), D(22)
    assert (order.leaves, order.average) == (6, D("5.5"))
    order.busted = D(1)
    assert order.leaves == 5
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
