"""The gateway and the simulated exchange on one event loop, over real sockets; market time by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from scalpdesk.config.schema import Secret
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.intents import (
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.venues.contract import NoSettings, Notice, VenueSetup
from scalpdesk_deribit.gateway import DeribitGateway
from scalpdesk_deribit.venue import VENUE


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("scalpdesk_testing.kit.surroundings")


DAY = date(2025, 3, 5)
PATIENCE_SECONDS = 60.0
"""A test that fails waits so long; it leaves room for a slow machine."""
HOUR_SECONDS = 3_600.0


class VenueClock:
    """The desk's clock, at the exchange's time."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def now_ns(self) -> int:
        return int(self._world.now_ns)


@dataclass
class Bench:
    """A running exchange, and gateways to it with what came out of them."""

    server: Any
    came: list[Any] = field(default_factory=list)
    readers: list[asyncio.Task[None]] = field(default_factory=list)
    gateways: list[DeribitGateway] = field(default_factory=list)
    sent: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def world(self) -> Any:
        return self.server.world

    @property
    def account(self) -> Any:
        (account,) = self.world.ledger.accounts.values()
        return account

    def gateway(self, **changes: Any) -> DeribitGateway:
        key = self.server.keyring.credentials[0]
        setup = VenueSetup(
            **{
                "instruments": Instruments([perpetual("BTC")]),
                "clock": VenueClock(self.world),
                "keys": (Secret(key.key), Secret(key.secret)),
                "currency": "BTC",
                "url": self.server.url,
                "timeout_seconds": PATIENCE_SECONDS,
                "acceptance_seconds": HOUR_SECONDS,
                "heartbeat_seconds": PATIENCE_SECONDS,
            }
            | changes
        )
        made = VENUE.build(setup, NoSettings())
        self.gateways.append(made)

        async def read() -> None:
            async for item in made.events():
                self.came.append(item)
                self.moved.set()

        self.readers.append(asyncio.get_running_loop().create_task(read()))
        return made

    async def connected(self, **changes: Any) -> DeribitGateway:
        made = self.gateway(**changes)
        await made.connect()
        for listed in await made.discover("BTC-PERPETUAL", DAY, date(2025, 3, 31)):
            made._instruments.add(listed.contract)
        return made

    def straddle(self, gateway: DeribitGateway) -> tuple[int, int]:
        """Return the ids of a near call and put."""
        spot = float(self.world.ledger.mark(0))
        options = [
            (number, item)
            for number, item in enumerate(gateway._instruments)
            if isinstance(item, OptionContract) and item.expiry == date(2025, 3, 14)
        ]
        strike = min({item.strike for _, item in options}, key=lambda each: abs(float(each) - spot))
        call, put = sorted((n for n, item in options if item.strike == strike), key=lambda n: n)
        return call, put

    def order(
        self,
        number: int,
        quantity: Any,
        limit: Any = None,
        tif: TimeInForce = TimeInForce.GTC,
        name: str | None = None,
    ) -> SubmitOrder:
        self.sent += 1
        return SubmitOrder(
            name or f"sd-test-{self.sent}",
            number,
            Side.BUY if Decimal(str(quantity)) > 0 else Side.SELL,
            abs(Decimal(str(quantity))),
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            None if limit is None else Decimal(str(limit)),
            tif,
            Purpose.HEDGE,
        )

    async def until(self, kind: Any, count: int = 1) -> list[Any]:
        """Wait until so many of a kind came; return all of them."""
        return await self._until(lambda: self.of(kind), count)

    async def until_notice(self, name: str, count: int = 1) -> list[Notice]:
        """Wait until so many notices of a name came; return all of them."""
        return await self._until(lambda: self.notices(name), count)

    async def _until(self, found: Callable[[], list[Any]], count: int) -> list[Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found()) < count:
                self.moved.clear()
                await self.moved.wait()
        return found()

    def of(self, kind: Any) -> list[Any]:
        return [item for item in self.came if isinstance(item, kind)]

    def notices(self, name: str) -> list[Notice]:
        return [item for item in self.of(Notice) if item.name == name]

    def advance(self, seconds: float) -> None:
        self.world.advance_to(self.world.now_ns + int(seconds * 1e9))

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.close(graceful=False)
        await asyncio.gather(*self.readers, return_exceptions=True)
        await self.server.stop()


@pytest.fixture(scope="session")
def coin_tape():
    return reconstruct_coin(DAY, DAY)


@pytest.fixture
def on_bench(coin_tape, socket_enabled):
    """Run a coroutine function with a bench."""
    del socket_enabled

    def run(scenario, **options: Any) -> None:
        async def whole() -> None:
            plan = LaunchPlan(
                TapeSource(coin_tape),
                MarketOptions(**options),
                protocol="deribit",
                speed=0.0,
                cash=2.0,
                currency="BTC",
            )
            server = build_server(plan, SystemClock())
            server.world.advance_to(server.world.now_ns + 300 * 10**9)
            await server.start()
            bench = Bench(server)
            try:
                await asyncio.wait_for(scenario(bench), 2.0 * PATIENCE_SECONDS)
            finally:
                await bench.close()

        asyncio.run(whole())

    return run
