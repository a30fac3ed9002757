"""The simulated exchange for tests: without sockets, or in a thread; its time stands still until it is moved.

- :class:`Bench`: requests and frames as bytes, no socket and no event loop.
- :class:`Venue`: the server on a free loopback port, moved through its admin.
"""

import asyncio
import io
import json
import pickle
import threading
import urllib.request
from collections.abc import Iterator
from datetime import date, time
from functools import cache
from importlib import import_module
from typing import Any

import msgspec
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.exchange.generated import GeneratedSource
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.launch import LaunchPlan, build_server, build_world
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.outbox import Frame
from scalpdesk.exchange.source import MarketSource
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk_testing.kit.clock import ManualClock

DAY_TEXT = "2026-11-18"  # a Wednesday


def part(module: str) -> Any:
    """Import a module of a venue's part.

    Raises
    ------
    ConfigError
        When that part is not installed.
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

    def order(self, **body: Any) -> Any:
        whole = {"symbol": "SPY", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day", **body}
        return self.ask("POST", "/v2/orders", {k: v for k, v in whole.items() if v is not None}).json()

    def seen(self, order: dict[str, Any], **query: Any) -> Any:
        return self.get(f"/v2/orders/{order['id']}", **query)

    def refused(self, **body: Any) -> tuple[int, int | None, str]:
        whole = {"symbol": "SPY", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day", **body}
        answer = self.ask("POST", "/v2/orders", {k: v for k, v in whole.items() if v is not None})
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
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._done: asyncio.Event | None = None
        self.server = build_server(plan, ManualClock(start_ns()))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(120), "the exchange did not start"
        self.url = self.server.url
        self.ws = self.url.replace("http", "ws")
        first = self.server.keyring.credentials[0]
        self.key, self.secret = first.key, first.secret

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        await self.server.start()
        self._ready.set()
        await self._done.wait()
        await self.server.stop()

    def stop(self) -> None:
        assert self._done is not None
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(120)
        assert not self._thread.is_alive()

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
