"""REST over kept-alive connections: bounded in time and size, and exact about what was sent."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import aiohttp

from scalpdesk.core.errors import RetryError
from scalpdesk.venues.alpaca.sessions import NetworkSessions, Sessions
from scalpdesk.venues.alpaca.wire_requests import Request

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


class OrderLine(Protocol):
    """What carries orders: a :class:`KeptPath`, or an :class:`HttpPath` on a rehearsal's line."""

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


class HttpPath:
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
