"""Server of the simulated exchange: a loopback port for the paths of its protocol and of the admin.

Protocols answer synchronously; this module carries bytes and keeps time.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterator

import msgspec
from aiohttp import WSMsgType, web

from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.units import HOUR_NS, NEVER_NS
from scalpdesk.exchange.admin import Admin
from scalpdesk.exchange.keyring import Credential, Keyring
from scalpdesk.exchange.market import Pace, SimulatedMarket
from scalpdesk.exchange.outbox import PING, Frame, Outbox
from scalpdesk.exchange.protocol import ProtocolSpec, ServerOptions

_MAX_BACKLOG = 50_000
"""Messages that may wait for a client before its connection ends as slow."""
_TICK_SECONDS = 0.002
INSTANTS_A_TURN, INSTANTS_A_LOOK = 500, 10
"""Instants of the market played per turn of the event loop, and between two looks at the clock."""
TURN_NS = 20_000_000
"""Wall time after which a turn ends: a busy market must not keep requests waiting."""
EVENING_NS = HOUR_NS
"""Time that a market at full speed continues after its last quote."""
_READ_SECONDS = 5.0
"""Longest time that a market at full speed waits for a client that does not read."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class ExchangeServer:
    """Serves a simulated market. Raises ConfigError when the address is not a loopback address."""

    def __init__(
        self,
        world: SimulatedMarket,
        credentials: list[Credential],
        pace: Pace,
        protocol: ProtocolSpec,
        options: ServerOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        _check_loopback(self.options.host)
        self.world = world
        self.pace = pace
        self.keyring = Keyring(credentials)
        self.clock = clock or SystemClock()
        self.spec = protocol
        self.protocol = protocol.build(self)
        self.admin = Admin(world, pace, self.protocol)
        self._runner: web.AppRunner | None = None
        self._driver: asyncio.Task[None] | None = None
        self._lines: dict[web.WebSocketResponse, Outbox] = {}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.port = 0

    # life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and start the market clock. Raises RetryError when the port is taken."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/admin/{name:.+}", self._admin)
        self.protocol.mount(app.router)
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
        await self.protocol.start()
        if not self.pace.is_wall_time:  # any other market begins when it can be reached
            self.pace.change(self.pace.speed, self.world.now_ns)
        self._driver = asyncio.create_task(self._drive())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._driver is not None:
            self._driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._driver
        await self.protocol.stop()
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
                await self.wait_for_readers()
            was_ns = world.now_ns
            target_ns = min(self.pace.target_ns(was_ns), _end_of(world, self.pace))
            if not self._play_turn(target_ns):
                await asyncio.sleep(0.0)  # behind its pace: requests first, then on
                continue
            wait = min(max(self.pace.wait_seconds(world.next_ns, world.now_ns), _TICK_SECONDS), 0.05)
            if self.pace.speed == float("inf") and world.now_ns > was_ns:
                wait = 0.0
            await asyncio.sleep(wait)

    async def wait_for_readers(self) -> None:
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
                    async with asyncio.timeout(_READ_SECONDS):
                        await outbox.read.wait()
        if waiting and self.options.lockstep_ms:
            await asyncio.sleep(self.options.lockstep_ms / 1_000.0)
        await self._idle.wait()

    def keep_up(self) -> None:
        """Advance the market to the present before a request, by at most one turn."""
        if self.pace.speed not in (0.0, float("inf")):
            self._play_turn(self.pace.target_ns(self.world.now_ns))

    def _play_turn(self, target_ns: int) -> bool:
        """Advance the market towards ``target_ns``, by one turn at most; return whether it was reached."""
        ends_ns = self.clock.now_ns() + TURN_NS
        for _ in range(INSTANTS_A_TURN // INSTANTS_A_LOOK):
            if self.world.advance_to(target_ns, most_instants=INSTANTS_A_LOOK):
                return True
            if self.clock.now_ns() >= ends_ns:
                break
        return False

    # requests ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Hold a market at full speed while a request is answered."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _admin(self, request: web.Request) -> web.Response:
        host = request.host.rsplit(":", 1)[0]
        if host not in _LOCAL_NAMES or "Origin" in request.headers:
            return web.json_response(
                {"message": "the admin answers programs on this machine only"}, status=403
            )
        self.keep_up()
        status, document = self.admin.handle(request.method, request.match_info["name"], await request.read())
        self.world.flush()
        return web.Response(
            status=status, body=msgspec.json.encode(document), content_type="application/json"
        )

    # websockets -------------------------------------------------------------------------------------

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
        """Serve a websocket until it ends; parameters as in :class:`ExchangeHost`."""
        socket = web.WebSocketResponse(max_msg_size=1 << 20, autoping=False, compress=False)
        await socket.prepare(request)
        on_open()
        self._lines[socket] = outbox
        writer = asyncio.create_task(_write(socket, outbox, on_backlog))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    receive(Frame(message.data.encode(), is_text=True))
                elif message.type is WSMsgType.BINARY:
                    receive(Frame(message.data, is_text=False))
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    outbox.read.set()
        finally:
            on_close()
            del self._lines[socket]
            outbox.read.set()
            outbox.close()
            await writer
        return socket


async def _write(socket: web.WebSocketResponse, outbox: Outbox, on_backlog: Callable[[], None]) -> None:
    """Write waiting messages until the connection ends."""
    while True:
        frame = await outbox.frames.get()
        if frame is None:
            break
        if outbox.frames.qsize() > _MAX_BACKLOG:
            on_backlog()
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
