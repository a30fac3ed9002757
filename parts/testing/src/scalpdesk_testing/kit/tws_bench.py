"""A market of shares, an index and their options behind TWS's socket, and a client of ib_async beside it.

Time stands still until a test moves it, so nothing waits for a clock.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

from ib_async import IB

from scalpdesk.core.units import DAY_NS, DAY_SECONDS, MINUTE_NS
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.exchange.source import Bar, TapeSource
from scalpdesk.instruments.contract import Index, OptionContract
from scalpdesk_ibkr.served.protocol import TwsProtocol
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at, model_price

VOL = 0.20
"""Volatility of every option at its mid; a half spread of a cent hides its last digits."""
SPY, CALL, PUT = 0, 3, 4
"""Ids of the share and of its straddle at 500."""
SPX = 7
DAILY_CLOSES = (490.0, 492.0, 494.0, 496.0, 498.0)
PATIENCE = 10  # seconds; only a failing test waits so long
MINUTES = 385


def source() -> TapeSource:
    """SPY at about 500 with a quote a minute, SPX at ten times that, options at one volatility."""
    book = straddle_book(495, 500, 505)
    book.add(Index("SPX"))
    monthly = next(each.expiry for each in book if each.is_option)
    for root in ("SPX", "SPXW"):
        for right in "CP":
            book.add(option(right, 5000, monthly, root))
    book.add(option("C", 5000, DAY, "SPXW"))
    builder = TapeBuilder(book)
    for minute in range(MINUTES):
        now_ns = at("09:30") + minute * MINUTE_NS
        spot = 500.0 + ((minute * 7) % 11 - 5) * 0.05
        for number, item in enumerate(book):
            mid, half = spot if item.symbol == "SPY" else 10.0 * spot, 0.01
            if isinstance(item, OptionContract):
                level = spot if item.underlying == "SPY" else 10.0 * spot
                mid = model_price(item, level, VOL, now_ns)
            size = 1_000.0 + minute
            builder.quote(number, now_ns, round(mid - half, 2), round(mid + half, 2), size, size + 5.0)
    tape = builder.build()

    def daily(symbol: str) -> list[Bar]:
        scale = 1.0 if symbol == "SPY" else 10.0
        first = at("00:00") - len(DAILY_CLOSES) * DAY_NS
        return [
            Bar.of_prices(first + day * DAY_NS, DAY_SECONDS, (close * scale,) * 4, 1e6, 10)
            for day, close in enumerate(DAILY_CLOSES)
        ]

    return TapeSource(tape, daily)


def plan(**changes: Any) -> LaunchPlan:
    """A paused server with two accounts and no limit of requests."""
    usual: dict[str, Any] = {"protocol": "tws", "speed": 0.0, "accounts": 2, "cash": 1e7, "trading_limit": 0}
    market = changes.pop("source", None) or source()
    return LaunchPlan(market, **(usual | changes))


class TwsBench:
    """The server and clients of ib_async in one event loop, which runs while a test does."""

    def __init__(self, *, start_seconds: int = 1_800, **changes: Any) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock(at("10:00"))
        self.server = build_server(plan(**changes), self.clock)
        self.runner.run(self.server.start())
        self.advance(start_seconds)
        self.clients: list[TwsClient] = []
        self.writers: list[asyncio.StreamWriter] = []
        """Connections of a test that are not those of a client."""
        self.decoder = _Errors()
        logging.getLogger("ib_async.Decoder").addHandler(self.decoder)

    @property
    def protocol(self) -> TwsProtocol:
        protocol = self.server.protocol
        assert isinstance(protocol, TwsProtocol)
        return protocol

    @property
    def world(self) -> SimulatedMarket:
        return self.server.world

    def admin(self, name: str, body: bytes = b"{}") -> Any:
        status, answer = self.server.admin.handle("POST", name, body)
        self.world.flush()
        assert status == 200, answer
        return answer

    def advance(self, seconds: int = 60) -> None:
        self.server.admin.handle("POST", "advance", b'{"seconds": %d}' % seconds)

    async def client(self, client_id: int, version: int = 178) -> "TwsClient":
        client = TwsClient(self, version)
        self.clients.append(client)
        await client.connect(client_id)
        return client

    async def tidy(self) -> None:
        """Close the connections of a test."""
        for writer in self.writers:
            writer.close()
        for writer in self.writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        self.writers.clear()

    def stop(self) -> None:
        for client in self.clients:
            client.ib.disconnect()
        self.runner.run(self.server.stop())
        self.runner.close()
        logging.getLogger("ib_async.Decoder").removeHandler(self.decoder)
        assert self.decoder.lines == []


class _Errors(logging.Handler):
    """Messages that ib_async could not read."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class TwsClient:
    """An unmodified client of ib_async that notes its errors."""

    def __init__(self, bench: TwsBench, version: int = 178) -> None:
        self.bench = bench
        self.ib = IB()
        self.ib.RaiseRequestErrors = True
        self.ib.client.MaxRequests = 0
        self.ib.client.MaxClientVersion = version
        self.errors: list[tuple[int, int, str]] = []
        self.ib.errorEvent += lambda request, code, text, _contract: self.errors.append((request, code, text))

    async def connect(self, client_id: int) -> None:
        port = self.bench.protocol.port
        await self.ib.connectAsync("127.0.0.1", port, clientId=client_id, raiseSyncErrors=True)

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self.ib.updateEvent

    async def error(self, code: int, request_id: int | None = None) -> str:
        """Return the text of an error, once it has come."""

        def found() -> list[str]:
            return [
                text
                for request, known, text in self.errors
                if known == code and request_id in (None, request)
            ]

        await self.until(found)
        return found()[-1]


def checked(work: Callable[..., Any]) -> Callable[[TwsBench], None]:
    """Run an asynchronous test in the event loop of its bench."""

    @functools.wraps(work)
    def run(tws: TwsBench, **arguments: Any) -> None:
        async def tidily() -> None:
            try:
                await work(tws, **arguments)
            finally:
                await tws.tidy()

        tws.runner.run(tidily())

    return run
