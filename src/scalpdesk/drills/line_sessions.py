"""The desk's end of the line: what its gateway uses of client sessions, without a network."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from scalpdesk.drills.line import Line, Socket, unreachable
from scalpdesk.exchange.alpaca.serializers import Answer


class _Body:
    """The body of an answer, in chunks."""

    def __init__(self, data: bytes, *, is_torn: bool) -> None:
        self._data = data
        self._is_torn = is_torn

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what came; a torn body ends in an error."""
        yield self._data
        if self._is_torn:
            raise aiohttp.ClientPayloadError("the body ended too soon")


class Response:
    """An answer as the gateway reads it."""

    def __init__(self, said: Answer) -> None:
        fault = said.mishap
        is_torn = fault is not None and fault.name == "truncated_answer"
        body = said.body
        if fault is not None and is_torn:
            body = body[: int(len(body) * fault.fraction)]
        self.status = said.status
        self.headers = said.headers
        # half of the torn answers end in an error, half look whole and cannot be read
        self.content = _Body(body, is_torn=is_torn and len(said.body) % 2 == 0)


@dataclass
class _Asking:
    """A request under way, as a context."""

    line: Line
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_seconds: float

    async def __aenter__(self) -> Response:
        if self.line.is_down:
            raise unreachable()
        answer = self.line.ask(self.method, self.url, self.headers, self.body)
        async with asyncio.timeout(self.timeout_seconds):
            return Response(await answer)

    async def __aexit__(self, *_: object) -> None:
        return None


@dataclass
class LineSession:
    """Has what the gateway uses of a client session."""

    line: Line
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0
    closed: bool = False

    def request(
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        allow_redirects: bool = False,
    ) -> _Asking:
        """Ask something."""
        del allow_redirects
        sent = {**self.headers, **(headers or {})}
        return _Asking(self.line, method, url, sent, data or b"", self.timeout_seconds)

    def ws_connect(
        self, url: str, *, headers: Mapping[str, str], heartbeat: float, **_options: Any
    ) -> "_Connecting":
        """Open a websocket."""
        return _Connecting(self.line, url, headers, heartbeat)

    async def close(self) -> None:
        """Hang up."""
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@dataclass
class _Connecting:
    line: Line
    url: str
    headers: Mapping[str, str]
    heartbeat: float
    socket: Socket | None = None

    async def __aenter__(self) -> Socket:
        await asyncio.sleep(self.line.latency_seconds)
        self.socket = self.line.open_socket(self.url, self.headers, self.heartbeat)
        return self.socket

    async def __aexit__(self, *_: object) -> None:
        if self.socket is not None:
            await self.socket.close()


class LineSessions:
    """Client sessions over the line; satisfies :class:`scalpdesk.venues.alpaca.transport.Sessions`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def requests(self, headers: Mapping[str, str], *, connections: int, timeout_seconds: float) -> Any:
        """Return a session for requests."""
        del connections
        return LineSession(self._line, dict(headers), timeout_seconds)

    def sockets(self, connect_seconds: float) -> Any:
        """Return a session for one websocket."""
        del connect_seconds
        return LineSession(self._line)
