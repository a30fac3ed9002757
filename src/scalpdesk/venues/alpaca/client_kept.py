"""The order path's own HTTP: a request is on the wire before the call returns.

A client library prepares a request over several turns of the event loop; an order should not wait
for them. Here a request is one ``write`` on a connection that already stands (HTTP/1.1, kept alive,
one request at a time on each), and its answer is a future.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from scalpdesk.venues.alpaca.client_http import NoAnswer, NotSent, Reply
from scalpdesk.venues.alpaca.http_answer import AnswerReader, BadAnswer
from scalpdesk.venues.alpaca.wire_requests import Request

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class KeptPath:
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

    def __init__(self, path: KeptPath) -> None:
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
