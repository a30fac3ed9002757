"""Fixtures of tests of served exchanges: a bench without a socket, and a running exchange."""

from collections.abc import Iterator

import pytest

from scalpdesk.exchange.launch import LaunchPlan
from scalpdesk_testing.kit.exchange import Bench, Venue, generated


@pytest.fixture
def bench() -> Bench:
    return Bench(generated(), accounts=2)


@pytest.fixture
def venue(socket_enabled: None) -> Iterator[Venue]:
    running = Venue(LaunchPlan(source=generated(), speed=0.0, accounts=2, trading_limit=0, data_limit=0))
    yield running
    running.stop()
