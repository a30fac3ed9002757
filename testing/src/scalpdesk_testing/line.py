"""The line between desk and exchange: requests and frames as bytes, late, torn, lost or twice.

It stands where the network stands: the gateway's own HTTP client writes to it, and its websockets
look like those of ``aiohttp``. What arrives is handed to the simulated exchange's own protocol code.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.tracing import Trace

from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange.alpaca.app import UNSEEN, AlpacaApi
from scalpdesk.exchange.alpaca.requests import Answer, Request
from scalpdesk.exchange.alpaca.streams import DataStream, Hub, TradeStream, Wire
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.exchange.outbox import Frame
from scalpdesk.venues.network import CleanConnector
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

HOST = "127.0.0.1"
BASE_URL = f"http://{HOST}:1"
SILENT_FAULTS = frozenset({"drop_request", "half_open"})
"""Nothing ever comes back: the client's own time-out ends the wait."""
Delivered = Callable[[Request], None]


class OnTheWay(NamedTuple):
    """Fate of a request: it lies on the way, arrives twice, or is answered twice."""

    held_seconds: float = 0.0
    again_after: float | None = None
    is_answered_twice: bool = False


STRAIGHT = OnTheWay()


def unreachable() -> aiohttp.ClientConnectorError:
    """Return what the client meets when no connection comes about."""
    key = ConnectionKey(HOST, 1, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
    return aiohttp.ClientConnectorError(key, OSError("no route"))


class Line:
    """All connections between one desk and one exchange.

    Parameters
    ----------
    loop, clock
        Virtual time.
    world, api, hub, keyring
        The exchange.
    latency_seconds
        One way.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        clock: VirtualClock,
        world: SimulatedMarket,
        api: AlpacaApi | None,
        hub: Hub,
        keyring: Keyring,
        *,
        latency_seconds: float = 0.02,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.world = world
        self.api = api
        self.hub = hub
        self.keyring = keyring
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
        self.on_stream: Callable[[], None] = lambda: None
        """Called when a stream of orders was opened."""
        self.after_request: list[Delivered] = []
        self.requests = 0
        self.sockets: list[Any] = []
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
            socket.break_off(1006)
        for connection in tuple(self.idle_connections):
            connection.abort()

    def restore(self) -> None:
        """Let connections come about again, and end those that are dead without knowing it."""
        self.is_down = False
        for socket in tuple(self.sockets):
            if socket.is_mute:
                socket.break_off(1006)

    def freeze(self, seconds: float) -> None:
        """Let the desk's process read nothing for a while."""
        self.frozen_until = max(self.frozen_until, self.loop.time() + seconds)

    def arrival(self) -> float:
        """Return when something sent now reaches the desk, loop seconds."""
        return max(self.loop.time() + self.latency_seconds, self.frozen_until)

    # requests ---------------------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        on_answer: Callable[[Answer | None], None],
    ) -> None:
        """Send a request; ``on_answer`` gets the answer, or None when the connection breaks."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        fate = self.on_the_way(method, path)
        self.requests += 1
        self.on_sent(method, path, body)
        query = dict(parse_qsl(parts.query))
        if method == "GET" and "client_order_id" in query:
            self.on_asked(query["client_order_id"])

        def arrives(reply_to: Callable[[Answer | None], None]) -> None:
            self.world.advance_to(self.clock.true_ns())
            request = Request(
                method,
                path,
                query,
                headers,
                body,
                self.clock.true_ns(),
            )
            assert self.api is not None
            self._answer(self.api.handle(request), reply_to)
            for watcher in self.after_request:
                watcher(request)
            self.loop.call_soon(self.drive)

        def twice(answer: Answer | None) -> None:
            on_answer(answer)
            on_answer(answer)

        due = self.loop.time() + self.latency_seconds + fate.held_seconds
        if fate.again_after is None:
            self.loop.call_at(due, arrives, twice if fate.is_answered_twice else on_answer)
        else:
            # a proxy sent it again: the first answer is lost, the second comes
            self.loop.call_at(due, arrives, lambda _answer: None)
            self.loop.call_at(due + fate.again_after, arrives, on_answer)

    def _answer(self, reply: Answer, on_answer: Callable[[Answer | None], None]) -> None:
        """Carry an answer back, or what a fault leaves of it."""
        fault = reply.fault
        name = "" if fault is None else fault.name
        if name in SILENT_FAULTS:
            return
        due = self.arrival()
        if fault is not None and name in ("delay", "slow_answer"):
            due += fault.seconds
        is_lost = name in UNSEEN or name == "disconnect_after"
        self.loop.call_at(due, on_answer, None if is_lost else reply)

    # websockets -------------------------------------------------------------------------------------

    def ws_connect(self, url: str, *, headers: Mapping[str, str], heartbeat: float, **_options: Any) -> Any:
        """Open a websocket, as a session of ``aiohttp`` does."""
        return _Connecting(self, url, headers, heartbeat)

    def open_socket(self, url: str, headers: Mapping[str, str], heartbeat_seconds: float) -> "Socket":
        """Open a websocket to one of the exchange's streams.

        Raises
        ------
        aiohttp.ClientConnectorError
            While the line is down.
        """
        if self.is_down:
            raise unreachable()
        socket = Socket(self, heartbeat_seconds)
        path = urlsplit(url).path
        plain = {name.lower(): value for name, value in headers.items()}
        packed = "msgpack" in plain.get("content-type", "")
        wire = LineWire(self.world, socket.arrives, lambda: socket.break_off(1000))
        socket.wire = wire
        if path == "/stream":
            socket.stream = TradeStream(self.world, self.keyring, wire, packed=packed)
            self.on_stream()
        else:
            socket.stream = DataStream(
                path, self.world, self.keyring, wire, packed=packed, headers=plain, is_free=self.hub.is_free
            )
            socket.stream.open()
        self.hub.add(socket.stream)
        self.sockets.append(socket)
        return socket


class LineWire(Wire):
    """The exchange's end of a socket; knows whether it has fallen silent."""

    @property
    def is_mute(self) -> bool:
        """True once nothing is sent any more although the connection seems to stand."""
        return self._mute


class Socket:
    """The desk's end of one websocket; has what the gateway uses of ``aiohttp``'s."""

    def __init__(self, line: Line, heartbeat_seconds: float) -> None:
        self._line = line
        self._heartbeat = heartbeat_seconds
        self.stream: TradeStream | DataStream | None = None
        self.wire: LineWire | None = None
        self.close_code: int | None = None
        self.closed = False
        self._on_the_way: deque[tuple[float, Frame]] = deque()
        self._here: deque[Frame] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._ping: asyncio.TimerHandle | None = None
        self._look_later()

    @property
    def is_mute(self) -> bool:
        """True when the exchange's end is gone without a close."""
        return self.wire is not None and self.wire.is_mute

    def _look_later(self) -> None:
        self._ping = self._line.loop.call_later(1.5 * self._heartbeat, self._look)

    def _look(self) -> None:
        """A ping without its pong ends the connection."""
        if self.closed:
            return
        if self.is_mute:
            self.break_off(1006)
        else:
            self._look_later()

    def arrives(self, frame: Frame) -> None:
        """Put a frame of the exchange on its way; frames of one socket keep their order."""
        due = self._line.arrival()
        if self._on_the_way:
            due = max(due, self._on_the_way[-1][0])
        self._on_the_way.append((due, frame))
        if len(self._on_the_way) == 1 or self._on_the_way[-2][0] < due:
            self._line.loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        now = self._line.loop.time() + 1e-9
        while self._on_the_way and self._on_the_way[0][0] <= now:
            self._here.append(self._on_the_way.popleft()[1])
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def break_off(self, code: int) -> None:
        """End the connection from the other side; frames on the way are lost."""
        if self.closed:
            return
        self.close_code = code
        self._let_go()
        self._wake()

    def _let_go(self) -> None:
        self.closed = True
        self._on_the_way.clear()
        if self._ping is not None:
            self._ping.cancel()
        if self.stream is not None:
            self._line.hub.remove(self.stream)
        if self in self._line.sockets:
            self._line.sockets.remove(self)

    # what the gateway uses ---------------------------------------------------------------------------

    async def receive(self) -> aiohttp.WSMessage:
        """Return the next message, or the end of the connection."""
        while not self._here and not self.closed:
            self._reader = self._line.loop.create_future()
            await self._reader
        if self._here:
            frame = self._here.popleft()
            if frame.is_text:
                return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, frame.data.decode("utf-8", "replace"), None)
            return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, frame.data, None)
        return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._send(Frame(data, is_text=False))

    async def send_str(self, data: str) -> None:
        """Send a text message."""
        self._send(Frame(data.encode(), is_text=True))

    def _send(self, frame: Frame) -> None:
        if self.closed:
            raise aiohttp.ClientConnectionResetError("the connection is closed")
        self._line.loop.call_later(self._line.latency_seconds, self._reaches, frame)

    def _reaches(self, frame: Frame) -> None:
        if not self.closed and self.stream is not None:
            self.stream.receive(frame)

    async def close(self) -> None:
        """Hang up."""
        if not self.closed:
            self.close_code = 1000
            self._let_go()
            self._wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class LineConnection(asyncio.Transport):
    """The desk's end of one HTTP connection; the exchange's end reads and writes plain HTTP/1.1."""

    def __init__(self, line: Line, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._line = line
        self._protocol = protocol
        self._is_closing = self._is_closed = False
        line.idle_connections[self] = None

    def is_closing(self) -> bool:
        """Return whether the connection has ended or is about to."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send one whole request.

        Raises
        ------
        ValueError
            When the body is not as long as the head says.
        """
        self._line.idle_connections.pop(self, None)
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if int(headers.get("content-length", 0)) != len(body):
            raise ValueError(f"{first}: a body of {len(body)} bytes under {headers}")
        self._line.ask(method, target, headers, body, self._answer)

    def _answer(self, answer: Answer | None) -> None:
        """Write an answer; None, and one that is cut short, end the connection."""
        if self._is_closed:
            return
        if answer is None:
            self._close()
            return
        body, fault = answer.body, answer.fault
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
            self._protocol.connection_lost(None)


@dataclass
class LineSession:
    """Has what the gateway uses of a client session for websockets."""

    line: Line

    def ws_connect(self, url: str, **options: Any) -> Any:
        """Open a websocket."""
        return self.line.ws_connect(url, **options)

    async def close(self) -> None:
        """Hang up."""

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


class MemoryConnector(CleanConnector):
    """A pool of aiohttp's client whose connections stay in this process.

    Parameters
    ----------
    connections
        Most connections at a time.
    connect
        Gives the client's end its transport; an OSError says that no connection was made.
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


class LineNetwork:
    """Connections over the line; satisfies :class:`scalpdesk.venues.network.Network`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def connector(self, connections: int) -> CleanConnector:
        """Return a pool of connections over the line."""
        return MemoryConnector(connections, self._connect)

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        if self._line.is_down:
            raise ConnectionRefusedError("the line is down")
        protocol.connection_made(LineConnection(self._line, protocol))

    def websockets(self, connect_seconds: float) -> Any:
        """Return a session for one websocket."""
        del connect_seconds
        return LineSession(self._line)
