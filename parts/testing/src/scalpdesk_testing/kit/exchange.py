"""The simulated exchange for tests: without sockets, or in a thread; its time stands still until it is moved.

- :class:`Bench`: requests and frames as bytes, no socket and no event loop.
- :class:`TwsBench`: TWS's port and unmodified clients of ib_async in one event loop.
- :class:`Venue`: the server on a free loopback port, moved through its admin.
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import pickle
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, time
from functools import cache
from importlib import import_module
from typing import Any

import msgspec
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import DAY_NS, DAY_SECONDS, MINUTE_NS
from scalpdesk.exchange import Bar, Frame, Keyring, SimulatedMarket
from scalpdesk.exchange.generated import GeneratedSource
from scalpdesk.exchange.launch import LaunchPlan, build_server, build_world
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import MarketSource, TapeSource
from scalpdesk.instruments.contract import Index, Instrument, OptionContract
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at, model_price
from scalpdesk_testing.kit.threads import loop_in_thread

DAY_TEXT = "2026-11-18"  # a Wednesday


def part(module: str) -> Any:
    """Import a module of a venue's part.

    Raises ConfigError when that part is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        venue = module.partition(".")[0].removeprefix("scalpdesk_")
        raise ConfigError(
            f"this bench needs {missing.name}", where=venue, fix=f'pip install "scalpdesk[{venue}]"'
        ) from missing


def start_ns() -> int:
    return new_york_ns(date.fromisoformat(DAY_TEXT), time(10, 0))


def generated(*symbols: str, step_ms: int = 1_000) -> GeneratedSource:
    written, instruments = _listed(symbols or ("SPY", "NVDA"), step_ms)
    copied: Any = pickle.Unpickler(io.BytesIO(written))
    copied.persistent_load = instruments.__getitem__
    source: GeneratedSource = copied.load()
    return source


@cache
def _listed(symbols: tuple[str, ...], step_ms: int) -> tuple[bytes, list[Instrument]]:
    """A source as bytes; and its thousands of contracts, which cannot change: made and named once."""
    source = GeneratedSource(symbols, start_ns(), seed=3, step_ms=step_ms)
    instruments = list(source.instruments)
    places = {id(one): place for place, one in enumerate(instruments)}
    written = io.BytesIO()
    writer: Any = pickle.Pickler(written, pickle.HIGHEST_PROTOCOL)
    writer.persistent_id = lambda one: places.get(id(one))
    writer.dump(source)
    return written.getvalue(), instruments


class Bench:
    """The exchange without sockets: requests and frames as bytes, time by hand."""

    def __init__(self, source: MarketSource, **plan: Any) -> None:
        limits = {name: plan.pop(name) for name in ("trading_limit", "data_limit") if name in plan}
        options = MarketOptions(**plan.pop("options", {}))
        self.plan = LaunchPlan(source=source, options=options, **plan)
        self.world, self.credentials = build_world(self.plan)
        self.keyring = Keyring(self.credentials)
        self.api = part("scalpdesk_alpaca.served.app").AlpacaApi(self.world, self.keyring, **limits)
        self._streams = part("scalpdesk_alpaca.served.streams")
        self.hub = self._streams.Hub(self.world)
        self.clock_ns = 0

    def headers(self, account: int = 0) -> dict[str, str]:
        one = self.credentials[account]
        return {"apca-api-key-id": one.key, "apca-api-secret-key": one.secret}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        account: int = 0,
        headers: dict[str, str] | None = None,
        settle: bool = True,
        **query: Any,
    ) -> Any:
        raw = b"" if body is None else (body if isinstance(body, bytes) else msgspec.json.encode(body))
        answer = self.api.handle(
            part("scalpdesk_alpaca.served.requests").Request(
                method,
                path,
                {name: str(value) for name, value in query.items()},
                self.headers(account) if headers is None else headers,
                raw,
                self.clock_ns,
            )
        )
        if settle:
            self.world.settle()
        return answer

    def get(self, path: str, **query: Any) -> Any:
        answer = self.ask("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.json()

    def _send_order(self, body: dict[str, Any]) -> Any:
        whole = {"symbol": "SPY", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day", **body}
        return self.ask("POST", "/v2/orders", {k: v for k, v in whole.items() if v is not None})

    def order(self, **body: Any) -> Any:
        return self._send_order(body).json()

    def seen(self, order: dict[str, Any], **query: Any) -> Any:
        return self.get(f"/v2/orders/{order['id']}", **query)

    def refused(self, **body: Any) -> tuple[int, int | None, str]:
        answer = self._send_order(body)
        document = answer.json()
        return answer.status, document.get("code"), document.get("message", "")

    def advance(self, seconds: float) -> None:
        self.world.advance_to(self.world.now_ns + int(seconds * 1e9))

    def quote(self, symbol: str) -> Any:
        return self.world.quote(self.world.ledger.instruments.id_of(symbol))

    def option(self, underlying: str = "SPY", right: str = "call", days: int = 7) -> str:
        """Return a contract near the money that ends at least ``days`` after today."""
        spot = self.quote(underlying).mid
        session = self.world.source.hours.session_at(self.world.now_ns)
        assert session is not None
        found = [
            one
            for _, one in self.world.ledger.instruments.options(underlying)
            if one.is_call is (right == "call") and (one.expiry - session.day).days >= days
        ]
        nearest = min(found, key=lambda one: (one.expiry, abs(float(one.strike) - spot)))
        assert isinstance(nearest, OptionContract)
        return nearest.symbol

    def data_stream(
        self,
        path: str = "/v2/iex",
        *,
        packed: bool = False,
        account: int = 0,
        auth: bool = True,
        limit: int = 0,
    ) -> "Line":
        line = Line(self)
        stream = self._streams.DataStream(
            path,
            self.world,
            self.keyring,
            line.wire,
            packed=packed,
            is_free=self.hub.is_free,
            symbol_limit=limit,
        )
        line.start(stream)
        if auth:
            one = self.credentials[account]
            line.say({"action": "auth", "key": one.key, "secret": one.secret})
        return line

    def trade_stream(self, *, packed: bool = False, account: int = 0, listen: bool = True) -> "Line":
        line = Line(self)
        line.start(self._streams.TradeStream(self.world, self.keyring, line.wire, packed=packed))
        one = self.credentials[account]
        if listen:
            data = {"key_id": one.key, "secret_key": one.secret}
            line.say({"action": "authenticate", "data": data})
            line.say({"action": "listen", "data": {"streams": ["trade_updates"]}})
        return line


class Line:
    """One websocket connection, frames kept as they came."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.frames: list[Frame] = []
        self.is_closed = False
        self.wire = bench._streams.Wire(bench.world, self.frames.append, self.close)
        self.stream: Any = None

    def start(self, stream: Any) -> None:
        self.stream = stream
        self.bench.hub.add(stream)
        if hasattr(stream, "open"):
            stream.open()

    def close(self) -> None:
        self.is_closed = True
        if self.stream is not None:
            self.bench.hub.remove(self.stream)

    def say(self, message: Any) -> None:
        self.stream.receive(Frame(msgspec.json.encode(message), is_text=True))

    def messages(self) -> list[Any]:
        """Return what has come since the last time, decoded."""
        got = [
            msgspec.json.decode(one.data)
            if one.is_text or one.data[:1] in (b"{", b"[")
            else msgspec.msgpack.decode(one.data)
            for one in self.frames
        ]
        self.frames.clear()
        return got

    def events(self) -> list[str]:
        """Return the names of the trade updates since the last time."""
        return [m["data"]["event"] for m in self.messages() if m.get("stream") == "trade_updates"]


class Venue:
    """A running exchange in a thread of its own, driven by its admin."""

    def __init__(self, plan: LaunchPlan) -> None:
        self.server = build_server(plan, ManualClock(start_ns()))
        self._thread = contextlib.ExitStack()
        self._loop = self._thread.enter_context(loop_in_thread())
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(120)
        self.url = self.server.url
        self.ws = self.url.replace("http", "ws")
        first = self.server.keyring.credentials[0]
        self.key, self.secret = first.key, first.secret

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(120)
        self._thread.close()

    def admin(self, name: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/admin/{name}", data=data)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())

    def advance(self, seconds: float) -> None:
        self.admin("advance", {"seconds": seconds})


# fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    return Bench(generated(), accounts=2)


@pytest.fixture
def venue(socket_enabled: None) -> Iterator[Venue]:
    running = Venue(LaunchPlan(source=generated(), speed=0.0, accounts=2, trading_limit=0, data_limit=0))
    yield running
    running.stop()


# TWS and a client of it --------------------------------------------------------------------------------

VOL = 0.20
"""Volatility of every option at its mid; a half spread of a cent hides its last digits."""
SPY, CALL, PUT = 0, 3, 4
"""Ids of the share and of its straddle at 500."""
SPX = 7
DAILY_CLOSES = (490.0, 492.0, 494.0, 496.0, 498.0)
PATIENCE = 10  # seconds; only a failing test waits so long
_MINUTES = 385


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
    for minute in range(_MINUTES):
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
    def protocol(self) -> Any:
        return self.server.protocol

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
        self.ib: Any = import_module("ib_async").IB()
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
