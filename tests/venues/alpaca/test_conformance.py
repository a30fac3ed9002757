"""The Alpaca gateway against the simulated exchange, over sockets of this machine."""

import asyncio

import pytest

from conformance.venue import CHECKS, PATIENCE_SECONDS
from fakes.alpaca_bench import AlpacaBench
from scalpdesk.venues.contract import Gateway


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, socket_enabled):
    async def scenario():
        bench = AlpacaBench()
        await bench.start()
        try:
            await asyncio.wait_for(check(bench), 2.0 * PATIENCE_SECONDS)
        finally:
            await bench.stop()

    asyncio.run(scenario())


def test_the_gateway_is_one():
    async def scenario():
        return isinstance(AlpacaBench().gateway(), Gateway)

    assert asyncio.run(scenario())
