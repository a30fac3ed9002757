"""The contract of an exchange protocol: a venue's wire, served on a simulated market by its terms."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiohttp import web

from scalpdesk.core.clock import Clock
from scalpdesk.core.sockets import EXCHANGE_PROTOCOLS
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.market import MarketTerms, Pace, SimulatedMarket
from scalpdesk.exchange.outbox import Frame, Outbox
from scalpdesk.simulation.faults import Fault

AdminCommand = tuple[type[msgspec.Struct], Callable[[Any], Any]]
"""Fields of a command below ``/admin``, and its effect, which returns the answer."""


@dataclass(slots=True)
class ServerOptions:
    """Address and limits of the server."""

    host: str = "127.0.0.1"
    port: int = 0
    """``host``, ``port``: Loopback address; port 0 takes a free port."""
    socket_port: int = 0
    """Port of a protocol that listens on a socket of its own; 0 takes a free port."""
    trading_limit: int = 200
    data_limit: int = 10_000
    """``trading_limit``, ``data_limit``: Requests a minute and account; 0: no limit."""
    symbol_limit: int = 0
    """Option quotes that a stream may follow; 0: no limit."""
    lockstep_ms: float = 0.0
    """At full speed: wait for a client's orders after it has read all its messages, milliseconds."""


class ExchangeHost(Protocol):
    """The server as its protocol sees it."""

    world: SimulatedMarket
    keyring: Keyring
    options: ServerOptions
    clock: Clock
    pace: Pace

    def keep_up(self) -> None:
        """Advance the market to the present before a request, by at most one turn."""
        ...

    def answering(self) -> AbstractContextManager[None]:
        """Hold a market at full speed while a request is answered."""
        ...

    async def serve_socket(
        self,
        request: web.Request,
        outbox: Outbox,
        receive: Callable[[Frame], None],
        *,
        on_open: Callable[[], None],
        on_close: Callable[[], None],
        on_backlog: Callable[[], None] = lambda: None,
    ) -> web.WebSocketResponse:
        """Serve a websocket until it ends.

        ``receive``: Called with each message of the client.
        ``on_open``, ``on_close``: Called once the connection stands and after its end.
        ``on_backlog``: Called when too many messages wait for a slow client.
        """
        ...


class ExchangeProtocol(ABC):
    """A venue's protocol on one server."""

    @abstractmethod
    def mount(self, router: web.UrlDispatcher) -> None:
        """Add the protocol's HTTP and websocket routes."""

    async def start(self) -> None:  # noqa: B027 - by default nothing
        """Open listeners other than the server's HTTP port."""

    async def stop(self) -> None:  # noqa: B027 - by default nothing
        """Close them."""

    @property
    def url(self) -> str | None:
        """Address of a socket of its own; None for a protocol below the server's HTTP port."""
        return None

    @property
    @abstractmethod
    def open_count(self) -> int:
        """Number of open streams."""

    @property
    @abstractmethod
    def ready_count(self) -> int:
        """Number of streams whose client receives what it asked for."""

    @abstractmethod
    def close_all(self) -> None:
        """End every stream, as a venue that restarts does."""

    @property
    def commands(self) -> Mapping[str, AdminCommand]:
        """Admin commands of the protocol itself, by name."""
        return {}

    def check_fault(self, fault: Fault) -> None:  # noqa: B027 - by default nothing
        """Refuse a fault that never strikes this protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSpec:
    """An exchange protocol by name, and the terms of the venue that speaks it."""

    name: str
    build: Callable[[ExchangeHost], ExchangeProtocol]
    terms: MarketTerms
    """Fees, margin and order rules of its market."""
    settles_in_coin: bool = False
    """Whether the markets that it serves settle in coin."""
    path: str = ""
    """Path of the interface below the server's address."""


def find_protocol(name: str) -> ProtocolSpec:
    """Return an exchange protocol by its name.

    Raises ConfigError when the name is unknown (names the nearest), or a package's entry point is not a
    ProtocolSpec.
    """
    return EXCHANGE_PROTOCOLS.find_spec(ProtocolSpec, name)
