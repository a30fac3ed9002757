"""The values that pass between a venue and the desk."""

import dataclasses
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.exchange import launch, market
from scalpdesk.venues import contract, tracker
from scalpdesk.venues.contract import Notice, NoticeKind, VenueActivity
from scalpdesk_alpaca import fields, history, market_data, messages, order_messages, stream, transport
from scalpdesk_alpaca.served import app, serializers
from scalpdesk_deribit import rpc

CHANGES_BY_DESIGN = {"Pace", "Request"}
"""A pace is changed while the market runs; a request learns the variable part of its path from the router."""
OF_VENUES = (contract, tracker, fields, history, market_data, messages)
OF_THEIR_WIRES = (order_messages, rpc, stream, transport)
OF_THE_EXCHANGE = (launch, market, app, serializers)


def values():
    for module in (*OF_VENUES, *OF_THEIR_WIRES, *OF_THE_EXCHANGE):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and name[0] != "_":
                if issubclass(kind, msgspec.Struct):
                    yield f"{module.__name__}.{name}", kind.__struct_config__.frozen
                elif dataclasses.is_dataclass(kind):
                    yield f"{module.__name__}.{name}", kind.__dataclass_params__.frozen


@pytest.mark.rows(("name", "is_frozen"), list(values()))
def test_a_value_that_was_handed_over_cannot_change(name, is_frozen):
    assert is_frozen is (name.rpartition(".")[2] not in CHANGES_BY_DESIGN)


def test_an_activity_in_a_line():
    figures = (Decimal(-2), Decimal(5), Decimal("9.5"))
    moved = VenueActivity("1", "OPASN", ChangeCause.ASSIGNMENT, "SPY", *figures, 1)
    assert str(moved) == "OPASN -2 SPY +9.50"
    paid = msgspec.structs.replace(moved, kind="FEE", symbol="", quantity_change=Decimal(0))
    assert str(paid) == "FEE +9.50"


@pytest.mark.rows(
    ("kind", "stream_name", "asks"),
    [
        (NoticeKind.GAP, "orders", True),
        (NoticeKind.GAP, "stocks", True),
        (NoticeKind.CONNECTED, "orders", True),
        (NoticeKind.CONNECTED, "stocks", False),
        (NoticeKind.DISCONNECTED, "orders", False),
        (NoticeKind.DEAD, "orders", False),
    ],
)
def test_what_asks_for_a_reconciliation(kind, stream_name, asks):
    assert Notice(kind, 1, stream_name, "x").asks_for_reconciliation is asks
