"""HTTP to Alpaca over kept-alive connections, the addresses of its environments, and a gateway's limits.

One client carries orders and queries, on the network and in a drill. An order is one ``write`` on a
connection that already stands, made before the call returns; its answer is a future. Requests are
written by hand and answers parsed by h11: h11's writer would take 25 to 75 µs of every order
(``benchmarks/ours/live_latency.py``).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeVar, cast
from urllib.parse import urlencode, urlsplit

import aiohttp
import h11
import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.venues.contract import LOOPBACK_HOSTS, LiveToken, Revealable

LARGEST_HEAD_BYTES = 64 * 1024
LARGEST_BODY_BYTES = 64 * 1024 * 1024
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
REQUESTS_PER_MINUTE = 200
P = TypeVar("P", bound=asyncio.Protocol)


class Network(Protocol):
    """Makes the connections of one gateway."""

    async def connect(self, make: Callable[[], P], url: str) -> P:
        """Connect a new protocol to the host of ``url``; an OSError says that no connection was made."""
        ...

    def websockets(self, connect_seconds: float) -> aiohttp.ClientSession:
        """Return a session for one websocket."""
        ...


class TcpNetwork:
    """Connections over TCP, with TLS where the address asks for it."""

    async def connect(self, make: Callable[[], P], url: str) -> P:
        """Connect a new protocol to the host of ``url``."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        _, protocol = await asyncio.get_running_loop().create_connection(
            make,
            parts.hostname or "",
            parts.port or (443 if is_tls else 80),
            ssl=ssl.create_default_context() if is_tls else None,
        )
        return protocol

    def websockets(self, connect_seconds: float) -> aiohttp.ClientSession:
        """Return a session for one websocket."""
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=connect_seconds))


class NotSent(RetryError):  # noqa: N818 - says what is known, as a fact of the request
    """The request never left: no connection could be made."""


class NoAnswer(RetryError):  # noqa: N818 - the same
    """The request may have arrived; no readable answer came back."""


class RestRequest(msgspec.Struct, frozen=True):
    """One REST request: ``path`` carries its query; ``body`` is JSON or None.

    A successful answer holds the text ``about``, the id of an order. One that does not belongs to another
    request: an answer that came twice is taken for that of the next request on its connection.
    """

    method: str
    path: str
    body: bytes | None = None
    about: str = ""

    @classmethod
    def page(cls, path: str, query: Mapping[str, str], page_token: str | None = None) -> "RestRequest":
        """Return the question for a page of a list; without a token for the first."""
        query = query if page_token is None else {**query, "page_token": page_token}
        return cls("GET", f"{path}?{urlencode(query)}")


class Reply:
    """Status, body and headers (names in lower case) of an answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class RestClient:
    """Kept-alive connections to one host.

    Connections are opened on demand; after :meth:`warm` all of them are kept open.

    Parameters
    ----------
    base_url
        Scheme, host and port; no trailing slash.
    headers
        Sent with every request; they hold the keys and are shown nowhere.
    connections
        Most connections at a time.
    timeout_seconds
        From the start of a request to the end of its answer.
    network
        Where connections come from; None is TCP.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout_seconds: float,
        network: Network | None = None,
    ) -> None:
        self._base_url = base_url
        fixed = {"Host": urlsplit(base_url).netloc, "Accept": "application/json", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._network: Network = network or TcpNetwork()
        self._idle: deque[_Connection] = deque()
        self._open: dict[_Connection, None] = {}
        self._waiting: deque[_Call] = deque()
        self._opening: dict[asyncio.Task[None], None] = {}
        self._is_warm = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"RestClient({self._base_url!r})"

    def start(self, request: RestRequest) -> asyncio.Future[Reply]:
        """Write a request now when a connection is free; the future brings the answer, whatever its status.

        The future raises :class:`NotSent` when the request never left, :class:`NoAnswer` when it left
        and no readable answer came back in time.
        """
        loop = asyncio.get_running_loop()
        call = _Call(self._bytes(request), loop.create_future(), request, self._base_url)
        if self._idle:
            self._idle.popleft().carry(call)
        else:
            self._waiting.append(call)
            self._open_more()
        call.timer = loop.call_later(self._timeout_seconds, self._too_late, call)  # no answer before this
        return call.future

    async def ask(self, request: RestRequest) -> Reply:
        """Send a request and return the answer, whatever its status; raises as :meth:`start` says."""
        return await self.start(request)

    async def warm(self, request: RestRequest) -> None:
        """Open all connections, keep them open, and ask the same harmless question on each.

        Raises
        ------
        RetryError
            When the venue does not answer.
        """
        self._is_warm = True
        await asyncio.gather(*(self.start(request) for _ in range(self._connections)))

    async def close(self) -> None:
        """Close the connections; requests under way end as :class:`NoAnswer`."""
        self._is_closed = True
        for task in tuple(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort("the desk closed the connection")
        self._fail_waiting("the gateway is closed")
        await asyncio.sleep(0)  # the loop closes aborted connections on its next turn

    def _bytes(self, request: RestRequest) -> bytes:
        body, head = request.body, f"{request.method} {request.path} HTTP/1.1\r\n{self._head}"
        if body is None:
            return f"{head}\r\n".encode("ascii")
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode("ascii") + body

    def _too_late(self, call: "_Call") -> None:
        if call.connection is not None:
            # the answer may still come; on this connection nothing may be asked any more
            call.connection.abort("no answer in time")
            return
        if call in self._waiting:
            self._waiting.remove(call)
        call.fail(NotSent("no connection to the venue came about in time", where=call.where))

    def _fail_waiting(self, what: str, value: str | None = None) -> None:
        for call in self._waiting:
            call.fail(NotSent(what, where=call.where, value=value))
        self._waiting.clear()

    # connections ------------------------------------------------------------------------------------

    def _open_more(self) -> None:
        """Open what is missing: all connections of a warm client, otherwise those that requests wait for."""
        free = 0 if self._is_closed else self._connections - len(self._open) - len(self._opening)
        wanted = free if self._is_warm else min(free, len(self._waiting) - len(self._opening))
        for _ in range(wanted):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._opening[task] = None
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # a fault of our own, or of a library: those that wait for the connection learn of it now
            self._fail_waiting("no connection could be made", type(error).__name__)

    async def _connect(self) -> None:
        pauses = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    connection = await self._network.connect(lambda: _Connection(self), self._base_url)
            except OSError as error:  # time-outs and TLS failures are OSErrors too
                self._fail_waiting("the venue cannot be reached", type(error).__name__)
                if not self._is_warm:
                    return
                await asyncio.sleep(pauses.pause())
                continue
            self._open[connection] = None
            self.free(connection)
            return

    def free(self, connection: "_Connection") -> None:
        """Return a connection to the pool, or give it the next waiting request."""
        while self._waiting:
            call = self._waiting.popleft()
            if not call.future.done():
                connection.carry(call)
                return
        self._idle.append(connection)

    def repeat(self, call: "_Call") -> None:
        """Send a question again whose connection the host had closed while it was idle."""
        call.is_repeated, call.connection = True, None
        self._waiting.appendleft(call)

    def lost(self, connection: "_Connection") -> None:
        """Forget a connection and open another where one is needed."""
        self._open.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.has_answered or self._waiting:
            self._open_more()
        else:  # a host that hangs up at once is not asked again at once
            asyncio.get_running_loop().call_later(FIRST_PAUSE_SECONDS, self._open_more)


class _Call:
    """One request under way."""

    __slots__ = ("base_url", "connection", "data", "future", "is_repeated", "request", "timer")

    def __init__(
        self, data: bytes, future: asyncio.Future[Reply], request: RestRequest, base_url: str
    ) -> None:
        self.data = data
        self.future = future
        self.request = request
        self.base_url = base_url
        self.timer: asyncio.TimerHandle | None = None
        self.connection: _Connection | None = None
        self.is_repeated = False

    @property
    def where(self) -> str:
        """The address of the request, without its query."""
        return f"{self.request.method} {self.base_url}{self.request.path.partition('?')[0]}"

    def fail(self, error: Exception) -> None:
        self._end()
        if not self.future.done():
            self.future.set_exception(error)

    def done(self, reply: Reply) -> None:
        self._end()
        if not self.future.done():
            self.future.set_result(reply)

    def _end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


_ASKED = h11.Request(method="GET", target="/", headers=[("Host", "-")])
"""Tells h11 that an answer is due; what was really asked is on the wire already."""
_ALL_ASKED = h11.EndOfMessage()


class _Connection(asyncio.Protocol):
    """One connection and the request that it carries."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._call: _Call | None = None
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT, LARGEST_HEAD_BYTES)
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._why = ""
        """Why this side gave the connection up."""
        self.has_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # another event loop has its own class

    def carry(self, call: _Call) -> None:
        assert self._transport is not None
        self._call = call
        call.connection = self
        self._transport.write(call.data)

    def data_received(self, data: bytes) -> None:
        if self._call is None:
            self.abort("bytes without a request")
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Give bytes, empty at the end of the connection, to the parser and deliver a whole answer."""
        http = self._http
        if http.our_state is h11.IDLE:
            http.send(_ASKED)
            http.send(_ALL_ASKED)
        try:
            http.receive_data(data)
            while True:
                event = http.next_event()
                if isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > LARGEST_BODY_BYTES:
                        self.abort("the answer is too large")
                        return
                elif isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    return  # more is to come
        except h11.RemoteProtocolError:
            self.abort("an answer that is not HTTP")
            return
        if http.trailing_data[0]:
            self.abort("bytes after the answer")
        else:
            self._deliver()

    def _deliver(self) -> None:
        call, head = self._call, self._head
        assert call is not None
        assert head is not None
        if head.status_code == HTTPStatus.OK and call.request.about.encode() not in self._body:
            self.abort("an answer without the order's id")
            return
        self._call = self._head = None
        self.has_answered = True
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        call.done(Reply(head.status_code, bytes(self._body), headers))
        self._body.clear()
        if self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._client.free(self)
        else:
            self.abort("the venue closes the connection")

    def abort(self, why: str) -> None:
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._call is not None and self._head is not None and not self._why:
            self._read(b"")  # a body may end with its connection
        call, self._call = self._call, None
        if call is not None:
            has_begun = self._head is not None or bool(self._http.trailing_data[0])
            is_stale = self.has_answered and not has_begun and not self._why
            if is_stale and call.request.method == "GET" and not call.is_repeated:
                self._client.repeat(call)
            else:
                why = self._why or "the connection broke"
                call.fail(NoAnswer("the venue did not answer", where=call.where, value=why))
        self._client.lost(self)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Key and secret of an account; they reveal themselves only where they are sent."""

    key: Revealable
    secret: Revealable

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"APCA-API-KEY-ID": self.key.reveal(), "APCA-API-SECRET-KEY": self.secret.reveal()}


PAPER_HOST = "paper-api.alpaca.markets"
LIVE_HOST = "api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
PAPER_KEY, LIVE_KEY = "PK", "AK"
"""First letters of the keys of the two environments."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one environment; build one with :meth:`paper`, :meth:`live` or :meth:`at`.

    Raises
    ------
    ConfigError
        When an address leads to the live host and there is no token.
    """

    trading_url: str
    data_url: str
    """``trading_url``, ``data_url``: REST, without version and trailing slash."""
    orders_url: str
    stocks_url: str
    options_url: str
    """``orders_url``, ``stocks_url``, ``options_url``: Streams, whole addresses."""
    stock_feed: str = "iex"
    option_feed: str = "indicative"
    """``stock_feed``, ``option_feed``: Names of the data feeds."""
    live_token: LiveToken | None = None
    """Proof of arming; without one the live host is refused."""

    def __post_init__(self) -> None:
        for url in (self.trading_url, self.orders_url):
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").lower()
            if parts.scheme in ("http", "ws") and host not in LOOPBACK_HOSTS:
                raise ConfigError(
                    "keys are sent over an open line only on this machine",
                    where="venue address",
                    value=url,
                    fix="use https and wss",
                )
            if host == LIVE_HOST and self.live_token is None:
                raise ConfigError(
                    "the live host is only for an armed desk",
                    where="venue address",
                    value=url,
                    fix="arm it (scalpdesk arm), or use the paper host",
                )

    @property
    def is_live(self) -> bool:
        """True when orders cost real money."""
        return urlsplit(self.trading_url).hostname == LIVE_HOST

    @property
    def is_paper(self) -> bool:
        """True at the venue's own paper host (a simulated exchange is neither)."""
        return urlsplit(self.trading_url).hostname == PAPER_HOST

    @classmethod
    def paper(cls, *, stock_feed: str = "iex", option_feed: str = "indicative") -> "Endpoints":
        """Return the paper environment."""
        return cls._at_host(PAPER_HOST, stock_feed, option_feed, None)

    @classmethod
    def live(
        cls, token: LiveToken, *, stock_feed: str = "iex", option_feed: str = "indicative"
    ) -> "Endpoints":
        """Return the live environment, for the account that the token was armed for."""
        return cls._at_host(LIVE_HOST, stock_feed, option_feed, token)

    @classmethod
    def at(cls, base_url: str, *, stock_feed: str = "iex", option_feed: str = "indicative") -> "Endpoints":
        """Return everything at one address: a simulated exchange."""
        base = base_url.rstrip("/")
        streams = base.replace("http", "ws", 1)
        return cls(
            trading_url=base,
            data_url=base,
            orders_url=f"{streams}/stream",
            stocks_url=f"{streams}/v2/{stock_feed}",
            options_url=f"{streams}/v1beta1/{option_feed}",
            stock_feed=stock_feed,
            option_feed=option_feed,
        )

    @classmethod
    def _at_host(cls, host: str, stock_feed: str, option_feed: str, token: LiveToken | None) -> "Endpoints":
        return cls(
            trading_url=f"https://{host}",
            data_url=DATA_URL,
            orders_url=f"wss://{host}/stream",
            stocks_url=f"{STREAM_URL}/v2/{stock_feed}",
            options_url=f"{STREAM_URL}/v1beta1/{option_feed}",
            stock_feed=stock_feed,
            option_feed=option_feed,
            live_token=token,
        )

    def check_key(self, key: str) -> None:
        """Refuse a key of the other environment before it is sent anywhere.

        Raises
        ------
        ConfigError
            Says which environment the key belongs to. The key itself is not shown.
        """
        if self.is_paper and key.startswith(LIVE_KEY):
            raise ConfigError(
                "a live key with paper settings; nothing was sent",
                where="credentials.trading_api_key",
                fix="put in the paper account's key (it begins with PK), or run with --live once armed",
            )
        if self.is_live and key.startswith(PAPER_KEY):
            raise ConfigError(
                "a paper key with --live; nothing was sent",
                where="credentials.trading_api_key",
                fix="put in the live account's key (it begins with AK), or run without --live",
            )


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Limits and times of a gateway to Alpaca."""

    options_level: int = 0
    """Level that the account must have for the strategy (2 buys options, 3 spreads)."""
    timeout_seconds: float = 5.0
    """Longest time of one request."""
    absent_after_seconds: float = 10.0
    """The venue may accept an order for so long after its request ended."""
    most_clock_skew_seconds: float = 2.0
    """Largest difference between this machine's clock and the venue's."""
    requests_per_minute: int = REQUESTS_PER_MINUTE
    """Limit of the trading interface; the venue's own headers correct it."""
    data_requests_per_minute: int = 200
    """Limit of the market data interface (200 on the free plan); its own headers correct it."""
    order_connections: int = 3
    """Connections kept open for orders alone."""
    heartbeat_seconds: float = 10.0
    """Between pings of a stream; half of it without the pong ends the connection."""
    data_only: bool = False
    """Only the market is asked for: no order stream, and every order is refused here."""
    fees: FeeModel = NO_FEES
    """Booked on each fill; the venue charges at the end of the day, and a paper account never."""
