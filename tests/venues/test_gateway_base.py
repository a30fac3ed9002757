"""What every gateway does alike: one that could not connect leaves no connection behind."""

import asyncio

import pytest

from scalpdesk.core.errors import RetryError
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
