"""Where connections to Alpaca come from: the network, or whatever stands in for it in a rehearsal."""

from collections.abc import Mapping
from typing import Protocol

import aiohttp

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
