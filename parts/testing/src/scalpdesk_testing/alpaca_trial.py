"""Trials over Alpaca's protocol: REST with idempotent orders, and streams of trades and market data."""

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

from scalpdesk.base import NANOS_PER_SECOND
from scalpdesk.config.schema import Secret
from scalpdesk.exchange import Activity, Frame, Keyring, SimulatedMarket
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.served.app import UNSEEN, AlpacaApi
from scalpdesk_alpaca.served.requests import Answer, Request
from scalpdesk_alpaca.served.streams import DataStream, Hub, TradeStream, Wire
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.line import BASE_URL, HttpAnswer, Line, LineConnection, LineNetwork, Socket, WebSocket
from scalpdesk_testing.market import OTHER
from scalpdesk_testing.trial import KEY, SECRET, Trial
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

_SILENT_FAULTS = frozenset({"drop_request", "half_open", "answer_missing"})
"""Nothing ever comes back: the client's own time-out ends the wait."""
_HISTORY_PATH = "/v2/account/activities"
_OF_ASSIGNMENTS = ("OPASN", "OPTRD")
_Replied = Callable[[HttpAnswer | None], None]


class AlpacaLine(Line):
    """All connections between one desk and one exchange that speaks Alpaca's protocol.

    ``latency_seconds``: One way.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        clock: VirtualClock,
        world: SimulatedMarket,
        api: AlpacaApi,
        keyring: Keyring,
        *,
        latency_seconds: float = 0.02,
    ) -> None:
        super().__init__(loop, clock, world, latency_seconds=latency_seconds)
        self.api, self.hub, self.keyring = api, Hub(world), keyring

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        on_answer: _Replied,
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

        def arrives(reply_to: _Replied) -> None:
            self.world.advance_to(self.clock.true_ns())
            request = Request(method, path, query, headers, body, self.clock.true_ns())
            self._answer(self.api.handle(request), reply_to)
            self.answered(method, path, body)

        def twice(answer: HttpAnswer | None) -> None:
            on_answer(answer)
            on_answer(answer)

        due = self.loop.time() + self.latency_seconds + fate.held_seconds
        if fate.again_after is None:
            self.loop.call_at(due, arrives, twice if fate.is_answered_twice else on_answer)
        else:
            # a proxy sent it again: the first answer is lost, the second comes
            self.loop.call_at(due, arrives, lambda _answer: None)
            self.loop.call_at(due + fate.again_after, arrives, on_answer)

    def _answer(self, reply: Answer, on_answer: _Replied) -> None:
        """Carry an answer back, or what a fault leaves of it."""
        fault = reply.fault
        name = "" if fault is None else fault.name
        if name in _SILENT_FAULTS:
            return
        due = self.arrival()
        if fault is not None and name in ("delay", "slow_answer", "answer_late"):
            due += fault.seconds
        is_lost = name in UNSEEN or name == "disconnect_after"
        self.loop.call_at(due, on_answer, None if is_lost else reply)

    def open_socket(self, connection: LineConnection, path: str, headers: Mapping[str, str]) -> Socket:
        """Open a websocket to one of the exchange's streams; ``headers`` have names in lower case."""
        socket = _StreamSocket(self, connection)
        packed = "msgpack" in headers.get("content-type", "")
        wire = socket.wire = _LineWire(self.world, socket.send, socket.hang_up)
        if path == "/stream":
            socket.stream = TradeStream(self.world, self.keyring, wire, packed=packed)
            self.on_stream()
        else:
            socket.stream = DataStream(
                path,
                self.world,
                self.keyring,
                wire,
                packed=packed,
                headers=dict(headers),
                is_free=self.hub.is_free,
            )
            socket.stream.open()
        self.hub.add(socket.stream)
        return socket


class _LineWire(Wire):
    """The exchange's end of a socket; knows whether it has fallen silent."""

    @property
    def is_mute(self) -> bool:
        """True once nothing is sent any more although the connection seems to stand."""
        return self._mute


class _StreamSocket(WebSocket):
    """A websocket of one of Alpaca's streams."""

    line: AlpacaLine
    stream: TradeStream | DataStream
    wire: _LineWire

    @property
    def is_mute(self) -> bool:
        """True when the exchange's end is gone without a close."""
        return self.wire.is_mute

    def leave(self) -> None:
        """Take the stream out of the exchange."""
        self.line.hub.remove(self.stream)

    def receive_frame(self, frame: Frame) -> tuple[float, Callable[[], None]]:
        """Return what takes a message: nothing holds it up."""
        return 0.0, partial(self.stream.receive, frame)


class _LateHistory(AlpacaApi):
    """An exchange whose history of executions is late: the account and the orders know them before it."""

    hidden: Callable[[Activity], bool]

    def handle(self, request: Request) -> Answer:
        """Answer a request; the history without the lines that are still to come."""
        if not request.path.startswith(_HISTORY_PATH):
            return super().handle(request)
        accounts = tuple(self.world.ledger.accounts.values())
        whole = [account.activities for account in accounts]
        for account in accounts:
            account.activities = [line for line in account.activities if not self.hidden(line)]
        try:
            return super().handle(request)
        finally:
            for account, activities in zip(accounts, whole, strict=True):
                account.activities = activities


class AlpacaTrial(Trial):
    """Runs one schedule over Alpaca's protocol."""

    STREAMS = 3

    def make_line(self, keyring: Keyring) -> Line:
        """Return the line to the exchange."""
        api = _LateHistory(self.world, keyring, trading_limit=200)
        api.hidden = self._is_hidden
        latency = self.schedule.latency_seconds
        return AlpacaLine(self.loop, self.clock, self.world, api, keyring, latency_seconds=latency)

    def _is_hidden(self, line: Activity) -> bool:
        """Whether the history lacks an execution of the desk, or an assignment of what it knows, for now."""
        late_ns = int(self.schedule.history_seconds * NANOS_PER_SECOND)
        if not late_ns or self.loop.time() > self.schedule.heal_at:
            return False
        name = None if line.execution is None else line.execution.client_order_id
        is_known = self.scene.booked.get(OTHER, 0) < 0
        is_late = is_known and line.kind in _OF_ASSIGNMENTS if name is None else name in self.journal.durable
        return is_late and line.ts_ns > self.clock.true_ns() - late_ns

    def make_gateway(self) -> AlpacaGateway:
        """Return a gateway of the account, not connected yet."""
        return AlpacaGateway(
            endpoints=Endpoints.at(BASE_URL),
            keys=ApiKeys(Secret(KEY), Secret(SECRET)),
            instruments=self.market.instruments,
            clock=self.clock,
            options=GatewayOptions(
                timeout_seconds=2.0, absent_after_seconds=10.0, fees=self.world.broker.ledger.fees
            ),
            network=LineNetwork(self.line),
        )
