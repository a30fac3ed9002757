"""A websocket that reconnects: hello, frames, liveness and growing pauses between attempts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import aiohttp

from scalpdesk.venues import CLOSE_TIMEOUT, HELLO_SECONDS, Network, ReconnectingConnection, TcpNetwork

_HEARTBEAT_SECONDS = 10.0
"""A ping after so long; without its pong within half of that the connection counts as dead."""
_STEADY_SECONDS = 20.0
_LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


class StreamRefused(Exception):  # noqa: N818 - never leaves the package
    """The server refuses the connection; ``is_final`` when trying again cannot help."""

    def __init__(self, why: str, *, is_final: bool) -> None:
        self.is_final = is_final
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """Where a stream connects to."""

    name: str
    """For notices: ``orders``, ``stocks``, ``options``."""
    url: str
    """Whole address."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the handshake."""
    is_binary: bool = False
    """Send binary frames."""
    heartbeat_seconds: float = _HEARTBEAT_SECONDS
    """Between pings."""


class StreamHandler(Protocol):
    """Callbacks of a stream's connection; all but the hello are synchronous."""

    async def hello(self, send: Send, receive: Receive) -> None:
        """Authenticate and subscribe on a new connection; raises :class:`StreamRefused` when refused."""
        ...

    def on_frame(self, raw: bytes) -> None:
        """Handle a frame that came after the hello."""
        ...

    def on_up(self) -> None:
        """Handle a connection whose hello succeeded."""
        ...

    def on_down(self, name: str, why: str, *, is_final: bool) -> None:
        """Handle the loss of a connection; ``is_final`` when there will be no other."""
        ...

    def on_failed(self, name: str, why: str) -> None:
        """Handle an attempt that did not come to a connection; another follows."""
        ...


class StreamConnection(ReconnectingConnection):
    """Keeps one websocket open until it is closed or refused for good."""

    def __init__(self, target: StreamTarget, handler: StreamHandler, network: Network | None = None) -> None:
        super().__init__(
            target.name,
            on_up=handler.on_up,
            on_down=lambda name, why, is_final: handler.on_down(name, why, is_final=is_final),
            refusal=partial(StreamRefused, is_final=True),
            steady_seconds=_STEADY_SECONDS,
            on_failed=handler.on_failed,
        )
        self._target = target
        self._handler = handler
        self._network: Network = network or TcpNetwork()
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._dropped: tuple[str, str] | None = None
        """Why this side dropped the connection."""

    async def send(self, message: bytes) -> bool:
        """Send a message; False when no connection is up."""
        socket = self._socket
        if socket is None or socket.closed or not self.is_up:
            return False
        try:
            await self._send(socket, message)
        except (aiohttp.ClientError, OSError):
            return False
        return True

    async def drop(self, name: str = "", why: str = "") -> None:
        """Break the connection, as a fault would; it reconnects.

        ``name`` and ``why`` are reported as the cause; without them it is a lost connection.
        """
        if self._socket is not None:
            self._dropped = (name, why) if name else None
            await self._socket.close()

    async def _run(self) -> None:
        async with self._network.websockets(HELLO_SECONDS) as self._session:
            await super()._run()

    def _ended(self, cause: tuple[str, str, bool]) -> tuple[str, str, bool]:
        dropped, self._socket = self._dropped, None
        if dropped is None or cause[2]:
            return cause
        self._dropped = None
        return (*dropped, False)

    async def _connection(self) -> tuple[str, str, bool]:
        session = self._session
        assert session is not None
        try:
            async with session.ws_connect(
                self._target.url,
                headers=self._target.headers,
                timeout=CLOSE_TIMEOUT,
                heartbeat=self._target.heartbeat_seconds,
                max_msg_size=_LARGEST_MESSAGE_BYTES,
                autoclose=True,
            ) as socket:
                self._socket = socket

                async def receive() -> bytes:
                    return await self._receive(socket)

                async def send(message: bytes) -> None:
                    await self._send(socket, message)

                # not wait_for: it may swallow the cancellation that ends this task
                async with asyncio.timeout(HELLO_SECONDS):
                    await self._handler.hello(send, receive)
                self._last_at = asyncio.get_running_loop().time()
                self._stand()
                while True:
                    self._handler.on_frame(await self._receive(socket))
        except StreamRefused as refused:
            return "refused", str(refused), refused.is_final
        except TimeoutError:
            return "half_open", "no message, ping or pong in time", False
        except aiohttp.WSServerHandshakeError as error:  # its repr holds the request's headers
            return "handshake", f"HTTP {error.status}", error.status in (401, 403)
        except (aiohttp.ClientError, OSError) as error:
            return "connection_lost", f"{type(error).__name__}: {error}"[:200], False
        except Exception as error:  # noqa: BLE001 - a fault of our own: reported, and the connection comes back
            return "internal_fault", f"{type(error).__name__}: {error}"[:200], False

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> bytes:
        message = await socket.receive()
        self._last_at = asyncio.get_running_loop().time()
        if message.type is aiohttp.WSMsgType.TEXT:
            text: str = message.data
            return text.encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            data: bytes = message.data
            return data
        code = socket.close_code
        if code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            raise TimeoutError
        said = f": {message.extra}" if message.type is aiohttp.WSMsgType.CLOSE and message.extra else ""
        raise aiohttp.ClientConnectionError(f"closed with code {code}{said}")

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, message: bytes) -> None:
        if self._target.is_binary:
            await socket.send_bytes(message)
        else:
            await socket.send_str(message.decode())
