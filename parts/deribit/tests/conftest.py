"""The gateway and the simulated exchange on one event loop, over real sockets; market time by hand."""

import asyncio
from datetime import date
from typing import Any

import pytest

from scalpdesk.config.schema import Secret
from scalpdesk.core.clock import SystemClock
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.venues import PATIENCE_SECONDS, Listener
from scalpdesk.venues.contract import NoSettings, VenueSetup
from scalpdesk_deribit.gateway import DeribitGateway
from scalpdesk_deribit.venue import VENUE
from scalpdesk_testing.kit.served import coin_day

DAY = date(2025, 3, 5)
HOUR_SECONDS = 3_600.0


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("scalpdesk_testing.kit.surroundings")


class VenueClock:
    """The desk's clock, at the exchange's time; ``seconds``: by how much somebody has set it wrong."""

    def __init__(self, world: Any, seconds: int = 0) -> None:
        self._world, self.seconds = world, seconds

    def now_ns(self) -> int:
        return int(self._world.now_ns) + self.seconds * 10**9


class Bench:
    """A running exchange, and gateways to it."""

    def __init__(self) -> None:
        source, money = TapeSource(coin_day()), {"cash": 2.0, "currency": "BTC"}
        plan = LaunchPlan(source, MarketOptions(), protocol="deribit", speed=0.0, **money)
        self.server: Any = build_server(plan, SystemClock())
        self.world = self.server.world
        self.clock = VenueClock(self.world)
        self.gateways: list[DeribitGateway] = []
        self.advance(300)

    @property
    def account(self) -> Any:
        (account,) = self.world.ledger.accounts.values()
        return account

    def gateway(self, **changes: Any) -> DeribitGateway:
        key = self.server.keyring.credentials[0]
        usual = {
            "instruments": Instruments([perpetual("BTC")]),
            "clock": self.clock,
            "keys": (Secret(key.key), Secret(key.secret)),
            "currency": "BTC",
            "url": self.server.url,
            "timeout_seconds": PATIENCE_SECONDS,
            "acceptance_seconds": HOUR_SECONDS,
            "heartbeat_seconds": PATIENCE_SECONDS,
        }
        self.gateways.append(VENUE.build(VenueSetup(**(usual | changes)), NoSettings()))
        return self.gateways[-1]

    async def connected(self) -> Listener:
        """Return a desk that knows the options of the month."""
        made = self.gateway()
        await made.connect()
        for listed in await made.discover("BTC-PERPETUAL", DAY, date(2025, 3, 31)):
            made._instruments.add(listed.contract)
        return Listener(self, made)

    def pair_near(
        self, gateway: DeribitGateway, level: Any, expiry: date
    ) -> list[tuple[int, OptionContract]]:
        """Return the call and the put of the strike near a level, with their ids."""
        options = [
            (number, item)
            for number, item in enumerate(gateway._instruments)
            if isinstance(item, OptionContract) and item.expiry == expiry
        ]
        strike = min({item.strike for _, item in options}, key=lambda each: abs(each - level))
        return [(number, item) for number, item in options if item.strike == strike]

    def advance(self, seconds: float) -> None:
        self.world.advance_to(self.world.now_ns + int(seconds * 1e9))

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.close(graceful=False)
        await self.server.stop()


@pytest.fixture
def on_bench(socket_enabled):
    """Run a coroutine function with a bench."""

    def run(scenario) -> None:
        async def whole() -> None:
            bench = Bench()
            await bench.server.start()
            try:
                await asyncio.wait_for(scenario(bench), 2.0 * PATIENCE_SECONDS)
            finally:
                await bench.close()

        asyncio.run(whole())

    return run
