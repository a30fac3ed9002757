"""What every gateway does alike: one that could not connect leaves no connection behind."""

import asyncio
import re

import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.venues.contract import EmergencyGateway, Gateway
from scalpdesk.venues.gateway_base import GatewayBase


@pytest.mark.parametrize("error", [RetryError("no answer", where="venue"), asyncio.CancelledError()])
def test_a_gateway_that_could_not_connect_is_closed_and_the_reason_is_told(error):
    closed = []

    async def connect(_self, _known):
        raise error

    async def close(_self, *, graceful=True):
        closed.append(graceful)

    members = {name: lambda *_: None for name in GatewayBase.__abstractmethods__}
    made = type("Made", (GatewayBase,), members | {"_connect": connect, "close": close})()
    with pytest.raises(type(error)):
        asyncio.run(made.connect())
    assert closed == [False]


def members_of(*protocols):
    """Return the public members that protocols name themselves."""
    return {
        name
        for protocol in protocols
        for name in [*vars(protocol), *protocol.__annotations__]
        if not name.startswith("_")
    }


def test_the_table_of_a_gateway_has_every_member_and_the_empty_adapter_answers_all_but_the_required():
    table = dict(re.findall(r"^ *``(\w+)`` +(required|given|optional) ", Gateway.__doc__, re.MULTILINE))
    assert set(table) == members_of(Gateway, EmergencyGateway)
    required = {name for name, word in table.items() if word == "required"}
    attributes = set(EmergencyGateway.__annotations__) | set(Gateway.__annotations__)
    assert GatewayBase.__abstractmethods__ == required - attributes | {"_connect"}
    for name in set(table) - required:
        assert callable(getattr(GatewayBase, name))


def test_a_member_that_the_adapter_leaves_out_answers_with_nothing():
    members = {name: lambda *_: None for name in GatewayBase.__abstractmethods__}
    made = type("Made", (GatewayBase,), members)()

    async def ask():
        return [
            await made.discover("SPY", None, None),
            await made.daily_bars(0, None, None),
            await made.minute_bars(0, None, None),
            await made.splits(0, None, None),
            await made.dividends(0, None, None),
            await made.renew_quotes([0]) or (),
            await made.reconnect("stocks") or (),
        ]

    assert asyncio.run(ask()) == [()] * 7
    assert made.waits_for() == ()
