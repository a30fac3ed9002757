"""Server of the simulated exchange: a loopback port for the paths of the venue and of the admin.

All logic is synchronous and lives in the modules below; this module carries bytes and keeps time.
"""

import asyncio
import contextlib
import ipaddress
from dataclasses import dataclass, field

import msgspec
from aiohttp import WSMsgType, web

from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.units import HOUR_NS, NEVER_NS
from scalpdesk.exchange.admin import Admin
from scalpdesk.exchange.alpaca.app import AlpacaApi, Credential, Keyring
from scalpdesk.exchange.alpaca.requests import Answer, Request
from scalpdesk.exchange.alpaca.streams import DataStream, Frame, Hub, TradeStream, Wire
from scalpdesk.exchange.deribit.app import API_PATH, SOCKET_PATH, DeribitApi
from scalpdesk.exchange.deribit.rpc import RpcSession
from scalpdesk.exchange.market import Pace, SimulatedMarket

DATA_PATHS = ("/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test", "/v1beta1/indicative", "/v1beta1/opra")
AUTH_SECONDS = 10.0
MAX_BACKLOG = 50_000
"""Messages that may wait for a client before its connection ends as slow."""
TICK_SECONDS = 0.002
INSTANTS_A_TURN, INSTANTS_A_LOOK = 500, 10
"""Instants of the market played per turn of the event loop, and between two looks at the clock."""
TURN_NS = 20_000_000
"""Wall time after which a turn ends: a busy market must not keep requests waiting."""
EVENING_NS = HOUR_NS
"""How long a market at full speed continues after its last quote."""
READ_SECONDS = 5.0
"""How long a market at full speed waits for a client that does not read."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


PING = Frame(b"ping", is_text=False)
"""Placeholder for a ping in the queue of a websocket."""


@dataclass(slots=True)
class ServerOptions:
    """Address and limits of the server."""

    host: str = "127.0.0.1"
    port: int = 0
    """``host``, ``port``: Loopback address; port 0 takes a free port."""
    trading_limit: int = 200
    data_limit: int = 10_000
    """``trading_limit``, ``data_limit``: Requests a minute and account; 0 for no limit."""
    symbol_limit: int = 0
    """Option quotes that a stream may follow; 0 for no limit."""
    lockstep_ms: float = 0.0
    """At full speed: wait for a client's orders after it has read all its messages, milliseconds."""


@dataclass(slots=True)
class _Outbox:
    """Messages waiting to be written to a websocket."""

    frames: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)
    closing: bool = False
    has_unread: bool = False
    """Whether a message was sent since the last ping; the pong proves that it was read."""
    read: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, frame: Frame) -> None:
        if not self.closing:
            self.has_unread = True
            self.frames.put_nowait(frame)

    def ask(self) -> None:
        """Queue a ping after the waiting messages; its pong sets ``read``."""
        self.has_unread = False
        self.read.clear()
        if not self.closing:
            self.frames.put_nowait(PING)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.frames.put_nowait(None)


class ExchangeServer:
    """Serves a simulated market.

    Raises
    ------
    ConfigError
        When the address is not a loopback address.
    """

    def __init__(
        self,
        world: SimulatedMarket,
        credentials: list[Credential],
        pace: Pace,
        options: ServerOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        _check_loopback(self.options.host)
        self.world = world
        self.pace = pace
        self.keyring = Keyring(credentials)
        self.api = AlpacaApi(
            world,
            self.keyring,
            trading_limit=self.options.trading_limit,
            data_limit=self.options.data_limit,
        )
        self.rpc = DeribitApi(
            world, self.keyring, clock or SystemClock(), has_limits=self.options.trading_limit > 0
        )
        self.hub = Hub(world)
        self.admin = Admin(world, pace, self.hub, self.rpc)
        self._clock = clock or SystemClock()
        self._runner: web.AppRunner | None = None
        self._driver: asyncio.Task[None] | None = None
        self._lines: dict[web.WebSocketResponse, _Outbox] = {}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.port = 0

    # life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and start the market clock.

        Raises
        ------
        RetryError
            When the port is taken.
        """
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/admin/{name}", self._admin)
        if self.world.options.venue == "deribit":
            app.router.add_get(SOCKET_PATH, self._rpc_stream)
            app.router.add_route("*", f"{API_PATH}/{{scope}}/{{method}}", self._rpc_rest)
        else:
            app.router.add_get("/stream", self._trade_stream)
            for path in DATA_PATHS:
                app.router.add_get(path, self._data_stream)
            app.router.add_route("*", "/{rest:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.options.host, self.options.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise RetryError(
                "the port is taken", where="--port", value=self.options.port, fix="use another, or --port 0"
            ) from error
        self.port = int(self._runner.addresses[0][1])
        if not self.pace.is_wall_time:  # any other market begins when it can be reached
            self.pace.change(self.pace.speed, self.world.now_ns)
        self._driver = asyncio.create_task(self._drive())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._driver is not None:
            self._driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._driver
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait(self) -> None:
        """Wait until the market clock fails by an error of the exchange, and raise it."""
        assert self._driver is not None
        await self._driver

    @property
    def url(self) -> str:
        """Base of every REST path, without a trailing slash."""
        return f"http://{self.options.host}:{self.port}"

    async def _drive(self) -> None:
        """Advance the market at its pace."""
        while True:
            world = self.world
            if self.pace.speed == float("inf"):
                await self._wait_for_readers()
            was_ns = world.now_ns
            target_ns = min(self.pace.target_ns(was_ns), _end_of(world, self.pace))
            if not self._play_turn(target_ns):
                await asyncio.sleep(0.0)  # behind its pace: requests first, then on
                continue
            wait = min(max(self.pace.wait_seconds(world.next_ns, world.now_ns), TICK_SECONDS), 0.05)
            if self.pace.speed == float("inf") and world.now_ns > was_ns:
                wait = 0.0
            await asyncio.sleep(wait)

    async def _wait_for_readers(self) -> None:
        """Hold the market until every client has read its messages and its requests are answered.

        A client answers a ping only after the messages before it.
        """
        waiting = [(socket, outbox) for socket, outbox in self._lines.items() if outbox.has_unread]
        for _, outbox in waiting:
            outbox.ask()
        for socket, outbox in waiting:
            if not outbox.closing and not socket.closed:
                # not wait_for: in Python 3.11 it can lose a cancellation
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(READ_SECONDS):
                        await outbox.read.wait()
        if waiting and self.options.lockstep_ms:
            await asyncio.sleep(self.options.lockstep_ms / 1_000.0)
        await self._idle.wait()

    def _keep_up(self) -> None:
        """Advance the market to the present before a request, by at most one turn."""
        if self.pace.speed not in (0.0, float("inf")):
            self._play_turn(self.pace.target_ns(self.world.now_ns))

    def _play_turn(self, target_ns: int) -> bool:
        """Advance the market towards ``target_ns``, by one turn at most; return whether it was reached."""
        ends_ns = self._clock.now_ns() + TURN_NS
        for _ in range(INSTANTS_A_TURN // INSTANTS_A_LOOK):
            if self.world.advance_to(target_ns, most_instants=INSTANTS_A_LOOK):
                return True
            if self._clock.now_ns() >= ends_ns:
                break
        return False

    # requests ---------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        self._in_flight += 1
        self._idle.clear()
        try:
            return await self._answer(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._keep_up()
        asked = Request(
            request.method,
            request.path,
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
            self._clock.now_ns(),
        )
        answer = self.api.handle(asked)
        # what the request brings about reaches the streams after this answer is written
        asyncio.get_running_loop().call_soon(self.world.settle)
        return await self._deliver(request, answer)

    async def _deliver(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        """Write an answer, subject to the faults of its delivery."""
        fault = answer.fault
        name = "" if fault is None else fault.name
        transport = request.transport
        if fault is not None and name in ("delay", "slow_answer"):
            await asyncio.sleep(fault.seconds)
        if fault is not None and name == "half_open":
            await asyncio.sleep(fault.seconds)
        if name in ("drop_request", "disconnect_before", "disconnect_after", "half_open"):
            if transport is not None:
                transport.abort()
            return web.Response(status=503)
        if fault is not None and name == "truncated_answer" and transport is not None:
            part = answer.body[: int(len(answer.body) * fault.fraction)]
            head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: application/json\r\n"
            transport.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + part)
            transport.close()
            return web.Response(status=503)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _admin(self, request: web.Request) -> web.Response:
        host = request.host.rsplit(":", 1)[0]
        if host not in LOCAL_NAMES or "Origin" in request.headers:
            return web.json_response(
                {"message": "the admin answers programs on this machine only"}, status=403
            )
        self._keep_up()
        status, document = self.admin.handle(request.method, request.match_info["name"], await request.read())
        self.world.flush()
        return web.Response(
            status=status, body=msgspec.json.encode(document), content_type="application/json"
        )

    # JSON-RPC ---------------------------------------------------------------------------------------

    async def _rpc_rest(self, request: web.Request) -> web.Response:
        """Answer one method over HTTP: parameters in the query, or in the body of a POST."""
        self._keep_up()
        session = RpcSession(send=lambda _: None, close=lambda: None)
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        body = (await request.read()).decode()
        if kind == "Bearer":
            self.rpc.take_token(session, rest)
        elif kind == "Basic":
            self.rpc.take_basic(session, rest)
        elif kind == "deri-hmac-sha256":
            self.rpc.take_signature(session, rest, request.method, request.raw_path, body)
        method = f"{request.match_info['scope']}/{request.match_info['method']}"
        is_good, text = self.rpc.answer_rest(session, method, dict(request.query), body)
        return web.Response(status=200 if is_good else 400, text=text, content_type="application/json")

    async def _rpc_stream(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one JSON-RPC connection."""
        outbox = _Outbox()
        session = RpcSession(
            send=lambda text: outbox.put(Frame(text.encode(), is_text=True)), close=outbox.close
        )
        socket = web.WebSocketResponse(max_msg_size=1 << 20, autoping=False, compress=False)
        await socket.prepare(request)
        self.rpc.open(session)
        self._lines[socket] = outbox
        writer = asyncio.create_task(self._write(socket, None, outbox))
        beats = asyncio.create_task(self._beat(session))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._keep_up()
                    self.rpc.receive(session, message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    outbox.read.set()
        finally:
            beats.cancel()
            self.rpc.leave(session)
            del self._lines[socket]
            outbox.read.set()
            outbox.close()
            await writer
        return socket

    async def _beat(self, session: RpcSession) -> None:
        """Ask a connection for a sign of life as often as it wanted to be asked."""
        while True:
            await asyncio.sleep(session.heartbeat_seconds or 1.0)
            self.rpc.beat(session)

    # websockets -------------------------------------------------------------------------------------

    async def _trade_stream(self, request: web.Request) -> web.WebSocketResponse:
        outbox = _Outbox()
        wire = Wire(self.world, outbox.put, outbox.close)
        stream = TradeStream(self.world, self.keyring, wire, packed=_is_packed(request))
        return await self._serve(request, stream, outbox)

    async def _data_stream(self, request: web.Request) -> web.WebSocketResponse:
        outbox = _Outbox()
        stream = DataStream(
            request.path,
            self.world,
            self.keyring,
            Wire(self.world, outbox.put, outbox.close),
            packed=_is_packed(request),
            headers={name.lower(): value for name, value in request.headers.items()},
            is_free=self.hub.is_free,
            symbol_limit=self.options.symbol_limit if request.path.startswith("/v1beta1/") else 0,
        )
        stream.open()
        return await self._serve(request, stream, outbox)

    async def _serve(
        self, request: web.Request, stream: TradeStream | DataStream, outbox: _Outbox
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20, autoping=False, compress=False)
        await socket.prepare(request)
        self.hub.add(stream)
        self._lines[socket] = outbox
        writer = asyncio.create_task(self._write(socket, stream, outbox))
        loop = asyncio.get_running_loop()
        timer = None
        if isinstance(stream, DataStream):
            timer = loop.call_later(AUTH_SECONDS, stream.time_out)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    stream.receive(Frame(message.data.encode(), is_text=True))
                elif message.type is WSMsgType.BINARY:
                    stream.receive(Frame(message.data, is_text=False))
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    outbox.read.set()
        finally:
            if timer is not None:
                timer.cancel()
            self.hub.remove(stream)
            del self._lines[socket]
            outbox.read.set()
            outbox.close()
            await writer
        return socket

    async def _write(
        self, socket: web.WebSocketResponse, stream: TradeStream | DataStream | None, outbox: _Outbox
    ) -> None:
        """Write waiting messages until the connection ends."""
        while True:
            frame = await outbox.frames.get()
            if frame is None:
                break
            if outbox.frames.qsize() > MAX_BACKLOG and isinstance(stream, DataStream):
                stream.too_slow()
            try:
                if frame is PING:
                    await socket.ping()
                elif frame.is_text:
                    await socket.send_str(frame.data.decode("utf-8", "replace"))
                else:
                    await socket.send_bytes(frame.data)
            except (ConnectionError, RuntimeError):
                outbox.closing = True
                break
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.close()


def _end_of(world: SimulatedMarket, pace: Pace) -> int:
    """Return the target of a market at full speed: the next event, until an hour after the last quote.

    The broker's evening work still happens; expiries weeks after the last quote do not, since they have
    no settlement price.
    """
    if pace.speed != float("inf"):
        return NEVER_NS
    if world.source.next_ns() < NEVER_NS or world.source.hours.session_at(world.now_ns) is not None:
        return world.next_ns if world.next_ns < NEVER_NS else world.now_ns
    closed_ns = max((quote.ts_recv_ns for quote in world.ledger.quotes.values()), default=world.now_ns)
    return max(world.now_ns, closed_ns + EVENING_NS)


def _is_packed(request: web.Request) -> bool:
    return "msgpack" in request.headers.get("Content-Type", "")


def _check_loopback(host: str) -> None:
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ConfigError(
            "the simulated exchange listens on this machine only",
            where="--host",
            value=host,
            fix="use 127.0.0.1",
        )
