"""Connections of a gateway: pools for requests and sessions for websockets, both of aiohttp's client."""

from abc import ABC, abstractmethod

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)
"""A websocket closed here waits so long for the close frame of its host, which a dead host never sends."""


class CleanConnector(aiohttp.BaseConnector):
    """A pool that closes a kept connection on which bytes came without a request.

    aiohttp would take them for the answer to the next request: a venue that answers twice would have an
    order refused that it accepted.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class hands it over
    ) -> Connection:
        """Return a connection that has nothing to read; no new one is made once the pool is closed."""
        while not self.closed:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("the pool is closed")


class _TcpConnector(CleanConnector, aiohttp.TCPConnector):
    """Connections over TCP, with TLS where the address asks for it."""


class Network(ABC):
    """Makes the connections of one gateway; called inside its event loop."""

    @abstractmethod
    def connector(self, connections: int) -> CleanConnector:
        """Return a pool of at most so many connections, kept open until the host closes them."""

    def websockets(self, connect_seconds: float) -> aiohttp.ClientSession:
        """Return a session for one websocket, whose handshake may take so long."""
        return aiohttp.ClientSession(
            connector=self.connector(1),
            timeout=aiohttp.ClientTimeout(total=connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


class TcpNetwork(Network):
    """Connections to the network; settings of proxies in the environment are not followed."""

    def connector(self, connections: int) -> CleanConnector:
        """Return a pool of at most so many connections, kept open until the host closes them."""
        # the system's resolver: aiohttp takes another where one is installed by chance
        return _TcpConnector(limit=connections, keepalive_timeout=None, resolver=aiohttp.ThreadedResolver())
