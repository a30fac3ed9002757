"""Venues for the tests of trading programs: an exchange on this machine, with the clock in the test's hands.

A pytest plug-in, found by its entry point once scalpdesk is installed: the fixtures ``alpaca_exchange``,
``tws_exchange`` and ``deribit_exchange`` serve a simulated exchange in the venue's own protocol to each test
that asks for one, and the marker ``exchange`` chooses the market and the account. Outside pytest use
:func:`serve_exchange`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from functools import cache
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

import msgspec
import pytest

from scalpdesk.base import ArgumentError
from scalpdesk_testing.kit.threads import loop_in_thread

if TYPE_CHECKING:
    from scalpdesk.exchange import Fault
    from scalpdesk.exchange.server import ExchangeServer
    from scalpdesk.exchange.source import MarketSource
    from scalpdesk.marketdata.tape import MarketTape

pytest.register_assert_rewrite("scalpdesk.venues.conformance", "scalpdesk.venues.listener")
Answer = TypeVar("Answer")
_DEFAULT_DAYS = {"embedded-btc": "2025-03-05", "embedded-eth": "2025-03-05"}
_DEFAULT_DAY = "2018-02-05"
_COINS = {"BTC": "embedded-btc", "ETH": "embedded-eth"}
_LAST_YEAR = 2028
"""Expiries that are listed in it lie before the end of the calendar."""
_LONGEST_CALL_SECONDS = 120.0
"""A day of the market plays within seconds; what takes longer hangs."""
_POLL_SECONDS = 0.01


class ExchangeSettings(TypedDict, total=False):
    """Market and account of a served exchange; what is left out has its default."""

    day: str
    """Session that is played, ``YYYY-MM-DD``: one of the embedded market, 2014-01-03 to 2018-12-31, or for
    coins from 2021 on (2018-02-05; 2025-03-05).
    """
    at: str
    """When the market stands at the beginning: New York time (``10:00``), for coins UTC (``12:00``)."""
    underlying: str
    """``SPY`` or ``QQQ`` with their options, for Deribit ``BTC`` or ``ETH`` (``SPY``; ``BTC``)."""
    generated: str
    """Shares with their options, as ``SPY,NVDA``, made up as time passes instead of a reconstructed day. The
    market begins now, or at ``day`` and ``at``, is open day and night, and lists expiries from then on.
    """
    cash: float
    """Of each account, in its currency (100,000 USD; 2 BTC, 60 ETH)."""
    options_level: int
    """Level of the accounts for options, 0 to 3 (3)."""
    accounts: int
    """Number of accounts (1)."""
    latency_ms: float
    """Market time from an order's arrival to its place in the market, milliseconds (50)."""
    fees: bool
    """Whether regulatory fees are charged (yes)."""
    requests_per_minute: int
    """Limit of requests; 0 for none (0)."""
    speed: float
    """Market seconds a second: 0 moves time by :meth:`ServedExchange.advance` alone (0)."""
    seed: int
    """Of every drawn number (1)."""


class ServedExchange:
    """A simulated exchange in a thread of its own, and what a test may do to it.

    ``server``: The server, listening.
    ``loop``: Event loop of its thread.
    """

    def __init__(self, server: "ExchangeServer", loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop
        self.key = server.keyring.credentials[0].key
        self.secret = server.keyring.credentials[0].secret
        """``key``, ``secret``: Of the first account."""
        self.accounts = [(each.account, each.key, each.secret) for each in server.keyring.credentials]
        """Name, key and secret of each account."""
        self.url = server.protocol.url or f"{server.url}{server.spec.path}"
        """Base of the venue's addresses: what a client has as ``url_override``, ``base_url`` or the like."""
        self.websocket_url = self.url.replace("http://", "ws://", 1)
        self.host = str(urlsplit(self.url).hostname)
        self.port = int(urlsplit(self.url).port or 0)
        """``host``, ``port``: Of the same, for clients of a socket."""

    # time -------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Time of the market, UTC."""
        return datetime.fromisoformat(self._read("clock")["now"])

    def advance(self, seconds: float) -> datetime:
        """Move the market on; return its time once every client has read what happened meanwhile.

        In a test whose client runs in its own event loop use :meth:`advance_async`.
        """
        return self._wait(self._advance({"seconds": seconds}))

    async def advance_async(self, seconds: float) -> datetime:
        """Move the market on, as :meth:`advance`, while the test's event loop runs."""
        moving = asyncio.run_coroutine_threadsafe(self._advance({"seconds": seconds}), self._loop)
        return await asyncio.wrap_future(moving)

    def wait_until(self, is_so: Callable[[], Answer], seconds: float = 5.0) -> Answer:
        """Return what ``is_so`` answers once that is true, asking for so many seconds of wall time.

        Raises AssertionError when it never is.
        """
        until = monotonic() + seconds
        while not (found := is_so()):
            if monotonic() >= until:
                raise AssertionError(f"not so within {seconds:g} s: {is_so}")
            sleep(_POLL_SECONDS)
        return found

    # the venue's own books --------------------------------------------------------------------------

    @property
    def orders(self) -> list[dict[str, Any]]:
        """Every order of every account, as the venue has it."""
        return list(self._read("orders"))

    @property
    def fills(self) -> list[dict[str, Any]]:
        """Every execution that stands: symbol, side, qty, price, fee (texts, exact)."""
        return list(self._read("fills"))

    @property
    def positions(self) -> dict[str, float]:
        """Quantity held of each symbol, signed, of the first account."""
        name = self.accounts[0][0]
        rows = [row for row in self._read("positions") if row["account"] == name]
        return {row["symbol"]: float(row["qty"]) for row in rows}

    @property
    def account(self) -> dict[str, Any]:
        """Cash, equity and buying power of the first account (texts, exact)."""
        return dict(self._read("accounts")[0])

    # what goes wrong --------------------------------------------------------------------------------

    def inject(self, fault: str, **fields: Any) -> None:
        """Let a fault strike, by its name, as ``reject``, ``drop_request``, ``partial_fill``, ``late_ack``.

        ``fields`` are those of the fault, such as ``times=2``, ``seconds=3`` or ``probability=0.5``;
        docs/venues/exchange-faults.md lists all.
        """
        self.command("faults", {"name": fault, **fields})

    def heal(self) -> None:
        """End every fault."""
        self.command("heal")

    def halt(self, symbol: str, seconds: float | None = None) -> None:
        """Stop trading in a symbol, for so many market seconds or until :meth:`resume`."""
        self.command("halt", {"symbol": symbol, "seconds": seconds})

    def resume(self, symbol: str) -> None:
        """Resume trading in a symbol."""
        self.command("resume", {"symbol": symbol})

    def disconnect(self) -> None:
        """End every stream, as a venue that restarts does."""
        self.command("disconnect")

    def command(self, name: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Send a command of the exchange's operator with its fields.

        Among them are ``bust``, ``correct``, ``assign``, ``dividend`` and ``pay``. Raises ArgumentError when
        it is refused: names the field.
        """
        return self._wait(self._command(name, fields or {}))

    def _read(self, name: str) -> Any:
        return self._wait(self._ask("GET", name, b""))

    async def _advance(self, fields: dict[str, Any]) -> datetime:
        await self._command("advance", fields)
        await self._server.wait_for_readers()
        return datetime.fromisoformat((await self._ask("GET", "clock", b""))["now"])

    async def _command(self, name: str, fields: Mapping[str, Any]) -> Any:
        return await self._ask("POST", name, msgspec.json.encode(fields))

    async def _ask(self, method: str, name: str, body: bytes) -> Any:
        self._server.keep_up()
        status, answer = self._server.admin.handle(method, name, body)
        self._server.world.flush()
        if status != 200:
            raise ArgumentError(
                str(answer.get("what", answer["message"])),
                where=str(answer.get("where", name)),
                value=answer.get("value"),
                fix=str(
                    answer.get("fix") or "docs/venues/exchange-faults.md lists commands and their fields"
                ),
            )
        return answer

    def _wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(_LONGEST_CALL_SECONDS)


@contextmanager
def serve_exchange(
    protocol: str = "alpaca", *, faults: "Sequence[Fault]" = (), **settings: Unpack[ExchangeSettings]
) -> Iterator[ServedExchange]:
    """Serve a simulated exchange in a venue's protocol while the block runs.

    Parameters
    ----------
    protocol
        ``alpaca``, ``tws``, ``deribit``, or that of an installed package.
    faults
        That strike from the beginning.
    settings
        See :class:`ExchangeSettings`.

    Raises
    ------
    ScalpdeskError
        When a setting is refused, or aiohttp is missing (``pip install "scalpdesk[exchange]"``).
    """
    unknown = sorted(settings.keys() - ExchangeSettings.__annotations__.keys())
    if unknown:
        raise ArgumentError(
            "the exchange has no such setting",
            where=unknown[0],
            value=settings[unknown[0]],  # type: ignore[literal-required]
            fix=f"use {', '.join(ExchangeSettings.__annotations__)}",
        )
    server = _server_of(protocol, tuple(faults), settings)
    with loop_in_thread(f"{protocol} exchange") as loop:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(_LONGEST_CALL_SECONDS)
        try:
            yield ServedExchange(server, loop)
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), loop).result(_LONGEST_CALL_SECONDS)


async def _end(server: "ExchangeServer") -> None:
    """Stop a server, and wait until what it has opened is closed."""
    await server.stop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.sleep(_POLL_SECONDS)


def _server_of(protocol: str, faults: "tuple[Fault, ...]", settings: ExchangeSettings) -> "ExchangeServer":
    """Return a server of the settings, its market at the wanted time."""
    from scalpdesk.base import SystemClock
    from scalpdesk.exchange.launch import USUAL_CASH, LaunchPlan, build_server
    from scalpdesk.exchange.market import MarketOptions
    from scalpdesk.exchange.protocol import find_protocol

    is_coin = find_protocol(protocol).settles_in_coin
    symbol = settings.get("underlying", "BTC" if is_coin else "SPY").upper()
    seed = settings.get("seed", 1)
    if "generated" in settings:
        source, start_ns = _generated(settings, seed)
    else:
        source, start_ns = _reconstructed(settings, symbol, seed, is_coin=is_coin)
    plan = LaunchPlan(
        source=source,
        options=MarketOptions(
            seed=seed, latency_ms=settings.get("latency_ms", 50.0), fees=settings.get("fees", True)
        ),
        protocol=protocol,
        faults=faults,
        speed=settings.get("speed", 0.0),
        accounts=settings.get("accounts", 1),
        cash=settings.get("cash", USUAL_CASH.get(symbol if is_coin else "USD", 1.0)),
        currency=symbol if is_coin else "USD",
        options_level=settings.get("options_level", 3),
        trading_limit=settings.get("requests_per_minute", 0),
    )
    server = build_server(plan, SystemClock())
    server.world.advance_to(start_ns)
    server.pace.change(plan.speed, server.world.now_ns)
    return server


def _generated(settings: ExchangeSettings, seed: int) -> "tuple[MarketSource, int]":
    """Return a market that is made up as time passes, and when it begins (UTC nanoseconds)."""
    from scalpdesk.base import SystemClock, new_york_ns
    from scalpdesk.exchange.generated import GeneratedSource

    if "underlying" in settings:
        raise ArgumentError(
            "a generated market names its own shares",
            where="underlying",
            value=settings["underlying"],
            fix="leave it out, or leave generated out",
        )
    symbols = [name.strip().upper() for name in settings["generated"].split(",") if name.strip()]
    begins_ns = SystemClock().now_ns()
    if "day" in settings:
        begins_ns = new_york_ns(_day(settings["day"]), _clock(settings.get("at", "10:00")))
    return GeneratedSource(symbols, begins_ns, seed), begins_ns


def _reconstructed(
    settings: ExchangeSettings, symbol: str, seed: int, *, is_coin: bool
) -> "tuple[MarketSource, int]":
    """Return a day of the embedded market, and when the exchange begins (UTC nanoseconds)."""
    from scalpdesk.base import to_ns
    from scalpdesk.exchange.launch import tape_source

    data = _COINS.get(symbol, "embedded")
    if is_coin != (data != "embedded"):
        raise ArgumentError(
            "this protocol has no such underlying",
            where="underlying",
            value=symbol,
            fix=f"use one of {', '.join(_COINS)}" if is_coin else "use SPY or QQQ",
        )
    tape = _tape(data, symbol, settings.get("day", _DEFAULT_DAYS.get(data, _DEFAULT_DAY)), seed)
    session, clock = tape.sessions[0], _clock(settings.get("at", "12:00" if is_coin else "10:00"))
    utc_ns = to_ns(datetime.combine(session.day, clock, tzinfo=UTC))
    begins_ns = utc_ns if is_coin else session.clock_ns(f"{clock:%H:%M:%S}")
    if not session.open_ns <= begins_ns < session.close_ns:
        raise ArgumentError(
            "the market is not open then",
            where="at",
            value=settings.get("at"),
            fix="name a time of the session",
        )
    return tape_source(tape, seed=seed), begins_ns


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if day.year > _LAST_YEAR:
        raise ArgumentError(
            "not a day of the calendar of sessions", where="day", value=text, fix="write it as 2027-03-04"
        )
    return day


def _clock(text: str) -> time:
    from scalpdesk.base import time_of_day

    return time_of_day("at", text)


@cache
def _tape(data: str, symbol: str, day: str, seed: int) -> "MarketTape":
    import scalpdesk
    from scalpdesk.datasets.embedded import COIN_MARKETS

    underlying = COIN_MARKETS.get(data, symbol)
    return scalpdesk.load_data(data, start=_day(day), underlying=underlying, seed=seed)


# fixtures -----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "exchange(day, at, underlying, cash, …): market and account of a served exchange"
    )


def _served(protocol: str, request: pytest.FixtureRequest) -> Iterator[ServedExchange]:
    marker = request.node.get_closest_marker("exchange")
    with serve_exchange(protocol, **({} if marker is None else marker.kwargs)) as exchange:
        yield exchange


@pytest.fixture
def alpaca_exchange(request: pytest.FixtureRequest) -> Iterator[ServedExchange]:
    """Serve shares and options in Alpaca's protocol."""
    yield from _served("alpaca", request)


@pytest.fixture
def tws_exchange(request: pytest.FixtureRequest) -> Iterator[ServedExchange]:
    """Serve shares, futures and options in the protocol of Interactive Brokers' TWS, on a socket."""
    yield from _served("tws", request)


@pytest.fixture
def deribit_exchange(request: pytest.FixtureRequest) -> Iterator[ServedExchange]:
    """Serve perpetual and options of a coin in Deribit's protocol."""
    yield from _served("deribit", request)
