"""A websocket that comes back: hello, frames, liveness, and reconnection with growing pauses."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.alpaca.transport import Network, TcpNetwork

HEARTBEAT_SECONDS = 10.0
"""A ping after so long; without its pong within half of that the connection counts as dead."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 20.0
"""A connection that stood so long starts the pauses over."""
HELLO_SECONDS = 10.0
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024


class StreamRefused(Exception):  # noqa: N818 - never leaves the package
    """The server will not have this connection; ``is_final`` when asking again cannot help."""

    def __init__(self, why: str, *, is_final: bool) -> None:
        self.is_final = is_final
        super().__init__(why)


Say = Callable[[bytes], Awaitable[None]]
Listen = Callable[[], Awaitable[bytes]]


class StreamConnection:
    """Keeps one websocket open until it is closed or refused for good.

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
    hello
        Called on each new connection with ways to say and to listen; it authenticates and
        subscribes, and raises :class:`StreamRefused` when it is turned away.
    on_frame
        Called with every frame after that, synchronously.
    on_up, on_down
        Called when the connection stands and when it is gone, with a word on why; ``on_down`` with
        ``is_final`` when there will be no other.
    heartbeat_seconds
        Between pings.
    network
        Where connections come from; None is TCP.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        *,
        is_binary: bool,
        hello: Callable[[Say, Listen], Awaitable[None]],
        on_frame: Callable[[bytes], None],
        on_up: Callable[[str], None],
        on_down: Callable[[str, str, bool], None],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        network: Network | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._headers = dict(headers)
        self._is_binary = is_binary
        self._hello = hello
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._heartbeat_seconds = heartbeat_seconds
        self._network: Network = network or TcpNetwork()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self.is_up = False
        self.reconnects = 0
        self._last_at = 0.0
        self._dropped: tuple[str, str] | None = None
        """Why this side gave the connection up."""

    def silent_seconds(self, now: float) -> float:
        """Seconds of the event loop's clock since the last frame."""
        return max(0.0, now - self._last_at) if self._last_at else 0.0

    async def start(self, timeout_seconds: float = HELLO_SECONDS) -> None:
        """Connect and return once the hello is through; keeps trying in the background either way.

        Raises
        ------
        StreamRefused
            When the server turned the connection away for good.
        TimeoutError
            When it does not stand in time.
        """
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._first = loop.create_future()
            self._task = loop.create_task(self._run(), name=f"stream-{self.name}")
        assert self._first is not None
        await asyncio.wait_for(asyncio.shield(self._first), timeout_seconds)

    async def say(self, message: bytes) -> bool:
        """Send a message on the connection that stands; False when none does."""
        socket = self._socket
        if socket is None or socket.closed or not self.is_up:
            return False
        try:
            await self._send(socket, message)
        except (aiohttp.ClientError, OSError):
            return False
        return True

    async def close(self) -> None:
        """End the connection and stop coming back."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._first is not None and self._first.done() and not self._first.cancelled():
            self._first.exception()  # looked at, so that nobody is warned of it
        self.is_up = False

    async def drop(self, name: str = "", why: str = "") -> None:
        """Break the connection that stands, as a fault would; it comes back.

        ``name`` and ``why`` are what is said of it; without them it is a lost connection.
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
                name, why, is_final = await self._one_connection(session)
                if self._dropped is not None and not is_final:
                    (name, why), self._dropped = self._dropped, None
                was_up, self.is_up, self._socket = self.is_up, False, None
                if is_final and self._first is not None and not self._first.done():
                    self._first.set_exception(StreamRefused(why, is_final=True))
                    return
                if was_up or is_final:
                    self._on_down(name, why, is_final)
                if is_final:
                    return
                if loop.time() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self.reconnects += 1

    async def _one_connection(self, session: aiohttp.ClientSession) -> tuple[str, str, bool]:
        """Live through one connection; return what ended it: a name, a word, and whether for good."""
        try:
            async with session.ws_connect(
                self._url,
                headers=self._headers,
                heartbeat=self._heartbeat_seconds,
                max_msg_size=LARGEST_MESSAGE_BYTES,
                autoclose=True,
            ) as socket:
                self._socket = socket

                async def listen() -> bytes:
                    return await self._receive(socket)

                async def say(message: bytes) -> None:
                    await self._send(socket, message)

                # not wait_for: it may swallow the cancellation that ends this task
                async with asyncio.timeout(HELLO_SECONDS):
                    await self._hello(say, listen)
                self.is_up = True
                self._last_at = asyncio.get_running_loop().time()
                self._on_up(self.name)
                if self._first is not None and not self._first.done():
                    self._first.set_result(None)
                while True:
                    self._on_frame(await self._receive(socket))
        except StreamRefused as refused:
            return "refused", str(refused), refused.is_final
        except TimeoutError:
            return "half_open", "no sign of life in time", False
        except aiohttp.WSServerHandshakeError as error:  # its repr holds the request's headers
            return "handshake", f"HTTP {error.status}", error.status in (401, 403)
        except (aiohttp.ClientError, OSError) as error:
            return "connection_lost", type(error).__name__, False
        except Exception as error:  # noqa: BLE001 - a fault of our own: said, and the connection comes back
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
        if self._is_binary:
            await socket.send_bytes(message)
        else:
            await socket.send_str(message.decode())


def loop_ns() -> int:
    """Nanoseconds of the event loop's own clock, which never runs backwards."""
    return int(asyncio.get_running_loop().time() * NANOS_PER_SECOND)
