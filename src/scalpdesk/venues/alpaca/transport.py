"""REST over kept-alive connections: bounded in time and size, and exact about what was sent.

The order path's own HTTP: a request is on the wire before the call returns.

A client library prepares a request over several turns of the event loop; an order should not wait
for them. Here a request is one ``write`` on a connection that already stands (HTTP/1.1, kept alive,
one request at a time on each), and its answer is a future.

Answers of HTTP/1.1, byte by byte (RFC 9112): head, then a body of stated length or in chunks. Pure.

Where connections to Alpaca come from: the network, or whatever stands in for it in a rehearsal.

Where Alpaca is: its paper and live hosts, or a simulated exchange. A live host asks for a token.

How a gateway to Alpaca behaves: limits and times.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

import aiohttp

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.venues.alpaca.order_messages import Request
from scalpdesk.venues.contract import LiveToken

LARGEST_HEAD_BYTES = 64 * 1024
LARGEST_BODY_BYTES = 64 * 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})(?:[ \t]*;[^\r\n]*)?")


class BadAnswer(ValueError):  # noqa: N818 - ends the connection, never the desk
    """Bytes that are no answer."""


class RawAnswer:
    """One answer; names of headers in small letters."""

    __slots__ = ("body", "headers", "keeps_alive", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, keeps_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.keeps_alive = keeps_alive


class AnswerReader:
    """Reads one answer from however many pieces it comes in."""

    def __init__(self) -> None:
        self.answer: RawAnswer | None = None
        self._buffer = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._keeps_alive = True
        self._length: int | None = None
        """Of the body; None for chunks and for a body that ends with the connection."""
        self._is_chunked = False
        self._has_head = False

    def feed(self, data: bytes) -> RawAnswer | None:
        """Take more bytes; return the answer once it is whole.

        Raises
        ------
        BadAnswer
            When the bytes are no answer, or more than one.
        """
        self._buffer += data
        while not self._has_head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > LARGEST_HEAD_BYTES:
                    raise BadAnswer("the head of the answer does not end")
                return None
            self._read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            # 100 and 103 come before the answer itself
            self._has_head = self._status >= 200
        if len(self._buffer) > LARGEST_BODY_BYTES:
            raise BadAnswer("the answer is too large")
        body = self._chunks() if self._is_chunked else self._plain()
        if body is None:
            return None
        self.answer = RawAnswer(self._status, self._headers, body, keeps_alive=self._keeps_alive)
        return self.answer

    def ends_here(self) -> bool:
        """Tell the reader that the connection ended; return whether that completes an answer."""
        if not self._has_head or self._is_chunked or self._length is not None or self.answer is not None:
            return False
        self.answer = RawAnswer(self._status, self._headers, bytes(self._buffer), keeps_alive=False)
        return True

    def _read_head(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(lines[0])
        if match is None:
            raise BadAnswer("no status line")
        self._status = int(match[2])
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name.strip() != name:
                raise BadAnswer("a header without a name")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self._headers = headers
        said = headers.get("connection", "").lower()
        self._keeps_alive = "close" not in said and (match[1] == b"1" or "keep-alive" in said)
        self._is_chunked = headers.get("transfer-encoding", "").lower().endswith("chunked")
        self._length = self._stated_length(headers)

    def _stated_length(self, headers: dict[str, str]) -> int | None:
        if self._status in (204, 304):
            self._is_chunked = False
            return 0
        stated = headers.get("content-length")
        if stated is None or self._is_chunked:
            return None
        if not (stated.isascii() and stated.isdigit()) or int(stated[:12]) > LARGEST_BODY_BYTES:
            raise BadAnswer("a length that is none")
        return int(stated)

    def _plain(self) -> bytes | None:
        if self._length is None:
            self._keeps_alive = False
            return None
        if len(self._buffer) < self._length:
            return None
        if len(self._buffer) > self._length:
            raise BadAnswer("bytes after the answer")
        return bytes(self._buffer)

    def _chunks(self) -> bytes | None:
        """Return the body of all chunks; None while the last one is not there."""
        body = bytearray()
        at = 0
        while True:
            line_end = self._buffer.find(b"\r\n", at)
            if line_end < 0:
                return None
            match = _SIZE.fullmatch(bytes(self._buffer[at:line_end]))
            if match is None:
                raise BadAnswer("a chunk without a size")
            size = int(match[1], 16)
            if size == 0:
                return self._after_trailers(line_end, bytes(body))
            start, end = line_end + 2, line_end + 2 + size
            if len(self._buffer) < end + 2:
                return None
            if self._buffer[end : end + 2] != b"\r\n":
                raise BadAnswer("a chunk that does not end")
            body += self._buffer[start:end]
            at = end + 2

    def _after_trailers(self, at: int, body: bytes) -> bytes | None:
        end = self._buffer.find(b"\r\n\r\n", at)
        if end < 0:
            return None
        if len(self._buffer) > end + 4:
            raise BadAnswer("bytes after the answer")
        return body


KEEP_ALIVE_SECONDS = 55.0


class Sessions(Protocol):
    """Makes the client sessions of one gateway."""

    def requests(
        self, headers: Mapping[str, str], *, connections: int, timeout_seconds: float
    ) -> aiohttp.ClientSession:
        """Return a session for requests, with so many connections at most."""
        ...

    def sockets(self, connect_seconds: float) -> aiohttp.ClientSession:
        """Return a session for one websocket."""
        ...


class NetworkSessions:
    """Sessions over real connections."""

    def requests(
        self, headers: Mapping[str, str], *, connections: int, timeout_seconds: float
    ) -> aiohttp.ClientSession:
        """Return a session that keeps its connections alive."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=300
            ),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds),
        )

    def sockets(self, connect_seconds: float) -> aiohttp.ClientSession:
        """Return a session for one websocket."""
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=connect_seconds))


LARGEST_ANSWER_BYTES = 64 * 1024 * 1024


class NotSent(RetryError):  # noqa: N818 - says what is known, as a fact of the request
    """The request never left: no connection could be made."""


class NoAnswer(RetryError):  # noqa: N818 - the same
    """The request may have arrived; no readable answer came back."""


class Reply:
    """Status, body and headers of an answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class OrderTransport(Protocol):
    """What carries orders: a :class:`KeepAliveClient`, or an :class:`RestClient` on a rehearsal's line."""

    def start(self, request: Request) -> asyncio.Future[Reply]:
        """Send a request; the future brings its answer, :class:`NotSent` or :class:`NoAnswer`."""
        ...

    async def ask(self, request: Request) -> Reply:
        """Send a request and return the answer; raises :class:`NotSent` or :class:`NoAnswer`."""
        ...

    async def warm(self, request: Request) -> None:
        """Open all connections by asking the same harmless question on each; raises as :meth:`ask`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class RestClient:
    """One way to one host, with connections of its own.

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
    sessions
        Where connections come from; None is the network.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout_seconds: float,
        sessions: Sessions | None = None,
    ) -> None:
        self._base_url = base_url
        self._headers = dict(headers)
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._sessions: Sessions = sessions or NetworkSessions()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpPath({self._base_url!r})"

    def start(self, request: Request) -> asyncio.Future[Reply]:
        """Send a request in a task of its own; the future brings its answer."""
        return asyncio.get_running_loop().create_task(self.ask(request))

    async def warm(self, request: Request) -> None:
        """Open all connections by asking the same harmless question on each; raises as :meth:`ask`."""
        await asyncio.gather(*(self.ask(request) for _ in range(self._connections)))

    async def ask(self, request: Request) -> Reply:
        """Send a request and return the answer, whatever its status.

        Raises
        ------
        NotSent
            When no connection could be made.
        NoAnswer
            When the connection broke, the time ran out or the answer was too large.
        """
        where = f"{request.method} {self._base_url}{request.path.partition('?')[0]}"
        try:
            return await self._ask(request, where)
        except aiohttp.ClientConnectorError as error:
            raise NotSent("the venue cannot be reached", where=where, value=type(error).__name__) from None
        except aiohttp.ConnectionTimeoutError:
            raise NotSent("no connection to the venue came about in time", where=where) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswer("the venue did not answer", where=where, value=type(error).__name__) from None

    async def _ask(self, request: Request, where: str) -> Reply:
        # from None above: an exception of the client library may carry the request's headers
        headers = {"Content-Type": "application/json"} if request.body is not None else None
        async with self._open().request(
            request.method,
            self._base_url + request.path,
            data=request.body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise NoAnswer("the answer is too large", where=where, value=f"{len(body)} bytes")
            return Reply(response.status, bytes(body), response.headers)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = self._sessions.requests(
                self._headers, connections=self._connections, timeout_seconds=self._timeout_seconds
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class KeepAliveClient:
    """A few standing connections to one host.

    Parameters
    ----------
    base_url
        Scheme, host and port; no trailing slash.
    headers
        Sent with every request; they hold the keys and are shown nowhere.
    connections
        How many are kept open.
    timeout_seconds
        From the start of a request to the end of its answer.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], *, connections: int, timeout_seconds: float
    ) -> None:
        parts = urlsplit(base_url)
        self._base_url = base_url
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"Host: {parts.netloc}\r\nAccept: application/json\r\n{said}".encode("ascii")
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._waiting: deque[_Ticket] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"KeptPath({self._base_url!r})"

    def start(self, request: Request) -> asyncio.Future[Reply]:
        """Write a request now, when a connection is free; the future brings the answer.

        The future raises :class:`NotSent` when the request never left, :class:`NoAnswer` when it left
        and no readable answer came back in time.
        """
        loop = asyncio.get_running_loop()
        ticket = _Ticket(self._bytes(request), loop.create_future(), f"{request.method} {self._base_url}")
        if self._idle:
            self._idle.popleft().carry(ticket)
        else:
            self._waiting.append(ticket)
            self._keep_open()
        ticket.timer = loop.call_later(self._timeout_seconds, self._too_late, ticket)  # no answer before this
        return ticket.future

    async def ask(self, request: Request) -> Reply:
        """Send a request and return the answer, whatever its status; raises as :meth:`start` says."""
        return await self.start(request)

    async def warm(self, request: Request) -> None:
        """Open all connections and ask the same harmless question on each.

        Raises
        ------
        RetryError
            When the venue does not answer.
        """
        self._keep_open()
        await asyncio.gather(*(self.start(request) for _ in range(self._connections)))

    async def close(self) -> None:
        """Close the connections; requests under way end as doubts."""
        self._is_closed = True
        for task in tuple(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort("the desk closed the connection")
        for ticket in tuple(self._waiting):
            ticket.fail(NotSent("the gateway is closed", where=ticket.where))
        self._waiting.clear()
        await asyncio.sleep(0)  # the loop closes aborted connections on its next turn

    def _bytes(self, request: Request) -> bytes:
        body = request.body
        line = f"{request.method} {request.path} HTTP/1.1\r\n".encode("ascii")
        if body is None:
            return b"".join((line, self._head, b"\r\n"))
        length = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        return b"".join((line, self._head, length, body))

    def _too_late(self, ticket: "_Ticket") -> None:
        if ticket.connection is None:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            ticket.fail(NotSent("no connection to the venue came about in time", where=ticket.where))
        else:
            # the answer may still come; on this connection nothing may be asked any more
            ticket.connection.abort("no answer in time")

    # connections ------------------------------------------------------------------------------------

    def _keep_open(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_closed and len(self._open) + len(self._opening) < self._connections:
            task = loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._is_tls else None
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self),
                        self._host,
                        self._port,
                        ssl=context,
                        server_hostname=self._host if self._is_tls else None,
                    )
            except OSError as error:  # time-outs and TLS failures are OSErrors too
                for ticket in tuple(self._waiting):
                    kind = type(error).__name__
                    ticket.fail(NotSent("the venue cannot be reached", where=ticket.where, value=kind))
                self._waiting.clear()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            self._open.add(connection)
            self.free(connection)
            return

    def free(self, connection: "_Connection") -> None:
        """Let a connection carry the next request."""
        while self._waiting:
            ticket = self._waiting.popleft()
            if not ticket.future.done():
                connection.carry(ticket)
                return
        self._idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """Forget a connection and open another in its place."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.answers or self._waiting:
            self._keep_open()
        elif not self._is_closed:  # a host that hangs up at once is not asked again at once
            asyncio.get_running_loop().call_later(FIRST_PAUSE_SECONDS, self._keep_open)


class _Ticket:
    """One request under way."""

    __slots__ = ("connection", "data", "future", "timer", "where")

    def __init__(self, data: bytes, future: asyncio.Future[Reply], where: str) -> None:
        self.data = data
        self.future = future
        self.where = where
        self.timer: asyncio.TimerHandle | None = None
        self.connection: _Connection | None = None

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


class _Connection(asyncio.Protocol):
    """One connection and the request that it carries."""

    def __init__(self, path: KeepAliveClient) -> None:
        self._path = path
        self._ticket: _Ticket | None = None
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader()
        self._why = "the connection broke"
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # another event loop has its own class

    def carry(self, ticket: _Ticket) -> None:
        assert self._transport is not None
        self._ticket = ticket
        ticket.connection = self
        self._reader = AnswerReader()
        self._transport.write(ticket.data)

    def data_received(self, data: bytes) -> None:
        ticket = self._ticket
        if ticket is None:
            self.abort("bytes that nobody asked for")
            return
        try:
            answer = self._reader.feed(data)
        except BadAnswer as bad:
            self.abort(str(bad))
            return
        if answer is not None:
            self._deliver(ticket, answer.keeps_alive)

    def _deliver(self, ticket: _Ticket, keeps_alive: bool) -> None:
        answer = self._reader.answer
        assert answer is not None
        self._ticket = None
        self.answers += 1
        ticket.done(Reply(answer.status, answer.body, answer.headers))
        if keeps_alive:
            self._path.free(self)
        else:
            self.abort("the venue closes the connection")

    def abort(self, why: str) -> None:
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        ticket = self._ticket
        if ticket is not None and exc is None and self._reader.ends_here():
            self._deliver(ticket, keeps_alive=False)
            ticket = None
        self._ticket = None
        if ticket is not None:
            ticket.fail(NoAnswer("the venue did not answer", where=ticket.where, value=self._why))
        self._path.lost(self)


PAPER_HOST = "paper-api.alpaca.markets"
LIVE_HOST = "api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
PAPER_KEY, LIVE_KEY = "PK", "AK"
"""How the keys of the two environments begin."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one environment; build one with :meth:`paper`, :meth:`live` or :meth:`at`.

    Parameters
    ----------
    trading_url, data_url
        REST, without version and trailing slash.
    orders_url, stocks_url, options_url
        Streams, whole addresses.
    stock_feed, option_feed
        Names of the data feeds.
    live_token
        Proof of arming; without one the live host is refused.

    Raises
    ------
    ConfigError
        When an address leads to the live host and there is no token.
    """

    trading_url: str
    data_url: str
    orders_url: str
    stocks_url: str
    options_url: str
    stock_feed: str = "iex"
    option_feed: str = "indicative"
    live_token: LiveToken | None = None

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
    """How a gateway to Alpaca behaves.

    Parameters
    ----------
    options_level
        Level that the account must have for the strategy (2 buys options, 3 spreads).
    timeout_seconds
        Of one request.
    absent_after_seconds
        How long after a request ended the venue may still come to accept its order.
    most_clock_skew_seconds
        How far this machine's clock may lie from the venue's.
    requests_per_minute
        Of the trading interface; the venue's own headers correct it.
    data_requests_per_minute
        Of the market data interface (200 on the free plan); its own headers correct it.
    order_connections
        Connections kept open for orders alone.
    heartbeat_seconds
        Between pings of a stream; half of it without the pong ends the connection.
    data_only
        Only the market is asked for: no order stream, and every order is refused here.
    fees
        Charged on each fill, where the venue's messages state none.
    """

    options_level: int = 0
    timeout_seconds: float = 5.0
    absent_after_seconds: float = 10.0
    most_clock_skew_seconds: float = 2.0
    requests_per_minute: int = 200
    data_requests_per_minute: int = 200
    order_connections: int = 3
    heartbeat_seconds: float = 10.0
    data_only: bool = False
    fees: FeeSchedule = NO_FEES
