"""A websocket that reconnects: hello, frames, liveness and growing pauses between attempts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.alpaca.transport import Network, TcpNetwork

HEARTBEAT_SECONDS = 10.0
"""A ping after so long; without its pong within half of that the connection counts as dead."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 20.0
"""A connection that was up so long resets the pauses."""
HELLO_SECONDS = 10.0
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


class StreamRefused(Exception):  # noqa: N818 - never leaves the package
    """The server refuses the connection; ``is_final`` when trying again cannot help."""

    def __init__(self, why: str, *, is_final: bool) -> None:
        self.is_final = is_final
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """Where a stream connects to.

    Parameters
    ----------
    name
        For notices: ``orders``, ``stocks``, ``options``.
    url
        Whole address.
    headers
        Of the handshake.
    is_binary
        Send binary frames.
    heartbeat_seconds
        Between pings.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_binary: bool = False
    heartbeat_seconds: float = HEARTBEAT_SECONDS


class StreamHandler(Protocol):
    """What a stream's connection calls, synchronously but for the hello."""

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


class StreamConnection:
    """Keeps one websocket open until it is closed or refused for good.

    Parameters
    ----------
    target
        Address and form.
    handler
        Called with what happens.
    network
        Where connections come from; None is TCP.
    """

    def __init__(self, target: StreamTarget, handler: StreamHandler, network: Network | None = None) -> None:
        self.name = target.name
        self._target = target
        self._handler = handler
        self._network: Network = network or TcpNetwork()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self.is_up = False
        self.reconnects = 0
        self.connections = 0
        """How many connections have come up."""
        self._last_at = 0.0
        self._dropped: tuple[str, str] | None = None
        """Why this side dropped the connection."""

    def silent_seconds(self, now: float) -> float:
        """Seconds of the event loop's clock since the last frame."""
        return max(0.0, now - self._last_at) if self._last_at else 0.0

    async def start(self, timeout_seconds: float = HELLO_SECONDS) -> None:
        """Connect and return once the hello succeeded; keeps trying in the background either way.

        Raises
        ------
        StreamRefused
            When the server refuses the connection for good.
        TimeoutError
            When it is not up in time.
        """
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._first = loop.create_future()
            self._task = loop.create_task(self._run(), name=f"stream-{self.name}")
        assert self._first is not None
        await asyncio.wait_for(asyncio.shield(self._first), timeout_seconds)

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

    async def close(self) -> None:
        """End the connection and do not reconnect."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._first is not None and self._first.done() and not self._first.cancelled():
            self._first.exception()  # retrieved, so that asyncio does not warn
        self.is_up = False

    async def drop(self, name: str = "", why: str = "") -> None:
        """Break the connection, as a fault would; it reconnects.

        ``name`` and ``why`` are reported as the cause; without them it is a lost connection.
        """
        if self._socket is not None:
            self._dropped = (name, why) if name else None
            await self._socket.close()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        async with self._network.websockets(HELLO_SECONDS) as session:
            while True:
                began = loop.time()
                name, why, is_final = await self._connection(session)
                if self._dropped is not None and not is_final:
                    (name, why), self._dropped = self._dropped, None
                was_up, self.is_up, self._socket = self.is_up, False, None
                if is_final and self._first is not None and not self._first.done():
                    self._first.set_exception(StreamRefused(why, is_final=True))
                    return
                if was_up or is_final:
                    self._handler.on_down(name, why, is_final=is_final)
                if is_final:
                    return
                if loop.time() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self.reconnects += 1

    async def _connection(self, session: aiohttp.ClientSession) -> tuple[str, str, bool]:
        """Run one connection to its end; return the cause, a text on it, and whether it is final."""
        try:
            async with session.ws_connect(
                self._target.url,
                headers=self._target.headers,
                heartbeat=self._target.heartbeat_seconds,
                max_msg_size=LARGEST_MESSAGE_BYTES,
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
                self.is_up = True
                self.connections += 1
                self._last_at = asyncio.get_running_loop().time()
                self._handler.on_up()
                if self._first is not None and not self._first.done():
                    self._first.set_result(None)
                while True:
                    self._handler.on_frame(await self._receive(socket))
        except StreamRefused as refused:
            return "refused", str(refused), refused.is_final
        except TimeoutError:
            return "half_open", "no message, ping or pong in time", False
        except aiohttp.WSServerHandshakeError as error:  # its repr holds the request's headers
            return "handshake", f"HTTP {error.status}", error.status in (401, 403)
        except (aiohttp.ClientError, OSError) as error:
            return "connection_lost", type(error).__name__, False
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
        raise aiohttp.ClientConnectionError(f"closed with code {code}")

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, message: bytes) -> None:
        if self._target.is_binary:
            await socket.send_bytes(message)
        else:
            await socket.send_str(message.decode())


def loop_ns() -> int:
    """Nanoseconds of the event loop's own clock, which never runs backwards."""
    return int(asyncio.get_running_loop().time() * NANOS_PER_SECOND)
