"""The line between desk and exchange: bytes, late, torn, lost or twice, whatever the venue's protocol.

It stands where the network stands: the gateway's own client writes its bytes to it, requests, websockets and
plain frames alike. What arrives is handed to the exchange's own protocol code, by the line of each venue.
"""

import asyncio
from abc import ABC, abstractmethod
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from hashlib import sha1
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import WS_KEY
from aiohttp.tracing import Trace

from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange import Fault, Frame, SimulatedMarket
from scalpdesk.venues.network import CleanConnector, Network
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

HOST = "127.0.0.1"
BASE_URL = f"http://{HOST}:1"


class OnTheWay(NamedTuple):
    """Fate of a request: it lies on the way, arrives twice, or is answered twice."""

    held_seconds: float = 0.0
    again_after: float | None = None
    is_answered_twice: bool = False


STRAIGHT = OnTheWay()


class Asked(NamedTuple):
    """A request that was answered, in the words that schedules and laws know."""

    method: str
    path: str
    body: bytes


class HttpAnswer(Protocol):
    """An answer of HTTP, with the fault that applies to its delivery."""

    @property
    def status(self) -> int: ...  # noqa: D102 - as HTTP names them
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102
    @property
    def fault(self) -> Fault | None: ...  # noqa: D102


class Line(ABC):
    """All connections between one desk and one exchange; a venue's line speaks its protocol.

    ``latency_seconds``: One way.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        clock: VirtualClock,
        world: SimulatedMarket,
        *,
        latency_seconds: float = 0.02,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.world = world
        self.latency_seconds = latency_seconds
        self.is_down = False
        """No new connection comes about."""
        self.frozen_until = 0.0
        """The desk's process does not read before this (loop seconds)."""
        self.on_the_way: Callable[[str, str], OnTheWay] = lambda _method, _path: STRAIGHT
        """Fate of a request, by its method and path."""
        self.on_sent: Callable[[str, str, bytes], None] = lambda _method, _path, _body: None
        """Called with each request as its bytes leave the desk."""
        self.on_asked: Callable[[str], None] = lambda _name: None
        """Called with the id of each order that the venue is asked for, as the bytes leave the desk."""
        self.on_coming: Callable[[bytes], bytes] = lambda data: data
        """Gives each message to the desk as it arrives: as it was sent, unless something changes it."""
        self.on_stream: Callable[[], None] = lambda: None
        """Called when a stream of orders was opened."""
        self.after_request: list[Callable[[Asked], None]] = []
        self.requests = 0
        self.sockets: list[Socket] = []
        self.idle_connections: dict[asyncio.Transport, None] = {}
        """Connections for requests, without a request now."""
        self._drive_handle: asyncio.TimerHandle | None = None
        self._drive_at = float("inf")

    # the exchange's time ----------------------------------------------------------------------------

    def drive(self) -> None:
        """Let the exchange play what is due, and come back when something is next."""
        self.world.advance_to(self.clock.true_ns())
        self.world.settle()
        next_ns = self.world.next_ns
        if next_ns >= NEVER_NS:
            return
        # whole microseconds, upwards: an instant that the clock cannot tell would come again for ever
        due = max(self.clock.loop_seconds(-(-next_ns // 1_000) * 1_000), self.loop.time())
        if self.loop.time() < self._drive_at <= due:
            return
        if self._drive_handle is not None:
            self._drive_handle.cancel()
        self._drive_at = due
        self._drive_handle = self.loop.call_at(due, self._drive_now)

    def _drive_now(self) -> None:
        self._drive_at, self._drive_handle = float("inf"), None
        self.drive()

    # mishaps of the whole line ----------------------------------------------------------------------

    def cut(self) -> None:
        """Break every connection that stands."""
        for socket in tuple(self.sockets):
            socket.break_off()
        for connection in tuple(self.idle_connections):
            connection.abort()

    def restore(self) -> None:
        """Let connections come about again, and end those that are dead without knowing it."""
        self.is_down = False
        for socket in tuple(self.sockets):
            if socket.is_mute:
                socket.break_off()

    def freeze(self, seconds: float) -> None:
        """Let the desk's process read nothing for a while."""
        self.frozen_until = max(self.frozen_until, self.loop.time() + seconds)

    def arrival(self) -> float:
        """Return when something sent now reaches the desk, loop seconds."""
        return max(self.loop.time() + self.latency_seconds, self.frozen_until)

    # what a venue's protocol says -------------------------------------------------------------------

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        on_answer: Callable[[HttpAnswer | None], None],
    ) -> None:
        """Send a request; ``on_answer`` gets the answer, or None when the connection breaks."""
        del method, url, headers, body  # no requests unless a venue's line takes them
        self.loop.call_at(self.arrival(), on_answer, None)

    @abstractmethod
    def open_socket(self, connection: "LineConnection", path: str, headers: Mapping[str, str]) -> "Socket":
        """Open the exchange's end of a stream; ``headers`` have names in lower case."""

    def answered(self, method: str, path: str, body: bytes = b"") -> None:
        """Tell who watches that a request was answered, and play on."""
        for watcher in self.after_request:
            watcher(Asked(method, path, body))
        self.loop.call_soon(self.drive)


def frame_bytes(kind: WSMsgType, data: bytes) -> bytes:
    """Return a websocket frame as a server writes it (RFC 6455, 5.2)."""
    size = len(data)
    if size < 126:
        length = bytes((size,))
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes((0x80 | kind,)) + length + data


def _take_frames(buffer: bytearray) -> Iterator[tuple[WSMsgType, bytes]]:
    """Take whole frames of a client, masked as a client writes them, out of a buffer (RFC 6455, 5.3)."""
    while len(buffer) > 1:
        more = {126: 2, 127: 8}.get(buffer[1] & 0x7F, 0)
        begin = 2 + more + 4
        size = int.from_bytes(buffer[2 : 2 + more], "big") if more else buffer[1] & 0x7F
        if len(buffer) < begin + size:
            return
        mask = (buffer[begin - 4 : begin] * (size // 4 + 1))[:size]
        data = int.from_bytes(buffer[begin : begin + size], "big") ^ int.from_bytes(mask, "big")
        kind = WSMsgType(buffer[0] & 0x0F)
        del buffer[: begin + size]
        yield kind, data.to_bytes(size, "big")


class Socket(ABC):
    """The exchange's end of one connection, and the bytes on their way in both directions, in their order."""

    farewell = b""
    """What the exchange says last when it closes the connection in order."""

    def __init__(self, line: Line, connection: "LineConnection") -> None:
        self.line = line
        self.closed = False
        """Whether the exchange knows that it has ended."""
        self._connection = connection
        self._read = bytearray()
        self._coming: deque[tuple[float, bytes | None]] = deque()
        """Bytes to the desk and when they are due; None ends the connection."""
        self._came_until = self._sent_until = 0.0
        line.sockets.append(self)

    @property
    @abstractmethod
    def is_mute(self) -> bool:
        """True when the exchange's end neither reads nor writes although the connection seems to stand."""

    @abstractmethod
    def leave(self) -> None:
        """Take the connection out of the exchange."""

    @abstractmethod
    def read(self, data: bytes) -> None:
        """Take bytes that the desk writes."""

    # to the desk ------------------------------------------------------------------------------------

    def put(self, data: bytes | None, late: float = 0.0) -> float:
        """Put bytes on their way, None for the end of the connection; return when they are due."""
        due = self._came_until = max(self.line.arrival() + late, self._came_until)
        is_new = not self._coming or self._coming[-1][0] < due
        self._coming.append((due, data))
        if is_new:
            self.line.loop.call_at(due, self._deliver)
        return due

    def _deliver(self) -> None:
        now, whole = self.line.loop.time() + 1e-9, bytearray()
        while self._coming and self._coming[0][0] <= now:
            data = self._coming.popleft()[1]
            if data is None:
                self._connection.receive(bytes(whole))
                self._connection.abort()
                return
            whole += data
        self._connection.receive(bytes(whole))

    def hang_up(self) -> None:
        """Close the connection in order: what was sent before still arrives."""
        if not self.closed:
            if self.farewell:
                self.put(self.farewell)
            self.put(None, 2.0 * self.line.latency_seconds)
            self._end()

    def break_off(self) -> None:
        """End the connection at once; what is on its way is lost."""
        self._coming.clear()
        self._connection.abort()
        self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            if self in self.line.sockets:
                self.line.sockets.remove(self)
            self.leave()

    # from the desk ----------------------------------------------------------------------------------

    def left(self) -> None:
        """Take note that the desk has ended the connection; the exchange learns of it later."""
        self._coming.clear()
        self._arrives(self._end)

    def _arrives(self, act: Callable[[], None], held: float = 0.0) -> None:
        due = max(self.line.loop.time() + self.line.latency_seconds + held, self._sent_until)
        self._sent_until = due
        self.line.loop.call_at(due, self._act, act)

    def _act(self, act: Callable[[], None]) -> None:
        if not self.closed and (not self.is_mute or act == self._end):
            act()


class WebSocket(Socket):
    """The exchange's end of one websocket."""

    farewell = frame_bytes(WSMsgType.CLOSE, (1000).to_bytes(2, "big"))

    @abstractmethod
    def receive_frame(self, frame: Frame) -> tuple[float, Callable[[], None]]:
        """Note a message as it leaves the desk; return how long it is held up, and what then takes it."""

    def send(self, frame: Frame, late: float = 0.0) -> None:
        """Put a message on its way."""
        kind = WSMsgType.TEXT if frame.is_text else WSMsgType.BINARY
        self.put(frame_bytes(kind, self.line.on_coming(frame.data)), late)

    def read(self, data: bytes) -> None:
        """Take bytes that the desk writes."""
        self._read += data
        for kind, message in _take_frames(self._read):
            if kind in (WSMsgType.TEXT, WSMsgType.BINARY):
                frame = Frame(message, is_text=kind is WSMsgType.TEXT)
                held, act = self.receive_frame(frame)
                self._arrives(act, held)
            else:
                self._arrives(partial(self._control, kind, message))

    def _control(self, kind: WSMsgType, message: bytes) -> None:
        if kind is WSMsgType.PING:
            self.put(frame_bytes(WSMsgType.PONG, message))
        elif kind is WSMsgType.CLOSE:
            self.put(frame_bytes(WSMsgType.CLOSE, message))
            self._end()


class LineConnection(asyncio.Transport):
    """The desk's end of one connection; the exchange's end reads and writes HTTP/1.1, or a websocket."""

    def __init__(self, line: Line, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._line = line
        self._protocol = protocol
        self._socket: Socket | None = None
        self._is_closing = self._is_closed = False
        line.idle_connections[self] = None

    def is_closing(self) -> bool:
        """Return whether the connection has ended or is about to."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send one whole request. Raises ValueError when the body is not as long as the head says."""
        if self._socket is not None:
            self._socket.read(bytes(data))
            return
        self._line.idle_connections.pop(self, None)
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if int(headers.get("content-length", 0)) != len(body):
            raise ValueError(f"{first}: a body of {len(body)} bytes under {headers}")
        if headers.get("upgrade") == "websocket":
            self._line.loop.call_later(self._line.latency_seconds, self._open, urlsplit(target).path, headers)
            return
        self._line.ask(method, target, headers, body, self._answer)

    def _open(self, path: str, headers: Mapping[str, str]) -> None:
        """Answer the handshake of a websocket (RFC 6455, 4.2.2)."""
        if self._is_closed:
            return
        if self._line.is_down:
            self._close()
            return
        digest = sha1(headers["sec-websocket-key"].encode() + WS_KEY, usedforsecurity=False).digest()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade"]
        lines += [f"Sec-WebSocket-Accept: {b64encode(digest).decode()}", "\r\n"]
        self._line.loop.call_at(self._line.arrival(), self.receive, "\r\n".join(lines).encode())
        self._socket = self._line.open_socket(self, path, headers)

    def receive(self, data: bytes) -> None:
        """Give bytes of the exchange to the desk."""
        if data and not self._is_closing:
            self._protocol.data_received(data)

    def _answer(self, answer: HttpAnswer | None) -> None:
        """Write an answer; None, and one that is cut short, end the connection."""
        if self._is_closed:
            return
        if answer is None:
            self._close()
            return
        body, fault = self._line.on_coming(answer.body), answer.fault
        is_cut = fault is not None and fault.name == "truncated_answer"
        part = body[: int(len(body) * fault.fraction)] if fault is not None and is_cut else body
        # half of the answers that are cut short end in an error, half look whole and cannot be read
        length = len(part) if len(body) % 2 else len(body)
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Length: {length}", "\r\n"]
        if length == len(part):
            self._line.idle_connections[self] = None
        self._protocol.data_received("\r\n".join(lines).encode("ascii") + part)
        if is_cut:
            self._close()

    def abort(self) -> None:
        """End the connection on the next turn of the loop, as a socket does."""
        self._is_closing = True
        self._line.loop.call_soon(self._close)

    close = abort

    def _close(self) -> None:
        self._line.idle_connections.pop(self, None)
        if not self._is_closed:
            self._is_closing = self._is_closed = True
            if self._socket is not None:
                self._socket.left()
            self._protocol.connection_lost(None)


class MemoryConnector(CleanConnector):
    """A pool of aiohttp's client whose connections stay in this process.

    ``connections``: Most connections at a time.
    ``connect``: Gives the client's end its transport; an OSError says that no connection was made.
    """

    def __init__(self, connections: int, connect: Callable[[asyncio.Protocol], Awaitable[None]]) -> None:
        super().__init__(limit=connections, keepalive_timeout=None)
        self._connect = connect

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class hands it over
    ) -> ResponseHandler:
        del traces, timeout
        protocol = ResponseHandler(asyncio.get_running_loop())
        try:
            await self._connect(protocol)
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from None
        return protocol


class LineNetwork(Network):
    """Connections over the line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def connector(self, connections: int) -> CleanConnector:
        """Return a pool of connections over the line."""
        return MemoryConnector(connections, self._connect)

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        if self._line.is_down:
            raise ConnectionRefusedError("the line is down")
        protocol.connection_made(LineConnection(self._line, protocol))
