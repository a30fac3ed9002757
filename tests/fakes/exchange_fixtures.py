"""Fixtures of tests of served exchanges: a bench without a socket, and a running exchange."""

from collections.abc import Iterator

import pytest

from fakes.exchange import Bench, Venue, generated
from scalpdesk.exchange.launch import LaunchPlan


@pytest.fixture
def bench() -> Bench:
    return Bench(generated(), accounts=2)


@pytest.fixture
def venue(socket_enabled: None) -> Iterator[Venue]:
    running = Venue(LaunchPlan(source=generated(), speed=0.0, accounts=2, trading_limit=0, data_limit=0))
    yield running
    running.stop()
