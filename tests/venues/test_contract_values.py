"""An answer of a venue is a value: it cannot be changed after it was read."""

import dataclasses
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.venues import contract, tracker
from scalpdesk_alpaca import fields, history, market_data, messages, order_messages, stream, transport
from scalpdesk_deribit import rpc
from scalpdesk_testing.kit.instruments import share

D = Decimal
VALUES = [
    contract.VenueActivity("a", "DIV", "dividend", "SPY", D(0), D(0), D(5), 1),
    contract.VenueFill("e", "v", "SPY", "buy", D(1), None, D(5), 1),
    contract.VenuePosition("SPY", 0, D(3), D(500), share()),
    contract.VenueClock(1, True, 2, 3),
    contract.Notice(contract.NoticeKind.CONNECTED, 1, "orders", "connected"),
    tracker.OrderReport("a", "v", 1, tracker.Outcome.OPEN, D(0), None),
    fields.BadMessage("bad_qty", "x"),
    order_messages.JudgedReply(order_messages.ReplyVerdict.DONE),
    order_messages.RateLimit(200, 3, 1),
    messages.Authorized("authorized"),
    messages.Listening(("trade_updates",)),
    messages.StreamError("x"),
    order_messages.LegExecution("e", "v", "SPY", D(1), D(5), 1),
    messages.StreamFault(406, "x"),
    messages.Welcome("connected"),
    market_data.Subscribed((), (), ()),
    transport.Endpoints.paper(),
    transport.RestRequest("GET", "/v2/clock"),
    stream.StreamTarget("orders", "wss://x/stream"),
]


@pytest.mark.rows("value", VALUES)
def test_what_was_said_cannot_be_changed(value):
    name = next(iter(getattr(value, "__struct_fields__", None) or vars_of(value)))
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        setattr(value, name, getattr(value, name))
    assert hash(type(value)) is not None


def vars_of(value):
    return [field.name for field in dataclasses.fields(value)]


def frozen_ones(module):
    """Return the public classes of values in a module, by whether they can be changed."""
    found = {True: set(), False: set()}
    for name, one in vars(module).items():
        if not isinstance(one, type) or one.__module__ != module.__name__ or name.startswith("_"):
            continue
        if issubclass(one, msgspec.Struct):
            found[one.__struct_config__.frozen].add(name)
        elif dataclasses.is_dataclass(one):
            found[one.__dataclass_params__.frozen].add(name)
    return found


@pytest.mark.rows(
    ("module", "count", "used"),
    [
        (contract, 17, lambda: str(contract.VenuePosition("SPY", 0, D(3), D(500)))),
        (tracker, 1, lambda: tracker.Span(D(0), D(1))),
        (fields, 1, lambda: fields.side_of("buy")),
        (history, 1, lambda: history.HistoricalBar),
        (market_data, 2, lambda: market_data.market_auth("k", "s", is_msgpack=False)),
        (messages, 8, lambda: messages.side(1.0, 1.0)),
        (order_messages, 5, order_messages.open_orders_request),
        (stream, 1, lambda: stream.StreamRefused("x", is_final=True)),
        (transport, 4, transport.Endpoints.paper),
        (rpc, 2, lambda: rpc.RpcTarget),
    ],
)
def test_every_value_of_a_venue_is_one(module, count, used):
    assert used() is not None
    found = frozen_ones(module)
    assert (len(found[True]), found[False]) == (count, set())
