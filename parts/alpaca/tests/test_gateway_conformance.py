"""The Alpaca gateway against the simulated exchange, over sockets of this machine."""

import asyncio

import pytest

from conformance.venue import CHECKS, run_check
from fakes.alpaca_bench import AlpacaBench
from scalpdesk.venues.contract import Gateway


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, socket_enabled):
    run_check(check, AlpacaBench)


def test_the_gateway_is_one():
    async def scenario():
        return isinstance(AlpacaBench().gateway(), Gateway)

    assert asyncio.run(scenario())
