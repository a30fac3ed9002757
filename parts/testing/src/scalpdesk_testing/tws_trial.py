"""Trials over TWS's protocol: the same desk, market, faults and laws, with ib_async and TWS's frames between.

The desk's end is ib_async's own client on a connection of the trial's loop, byte for byte; the exchange's end
is its TWS server without the port. TCP keeps the order of what is sent: where a schedule loses an answer or a
request, the connection breaks before or behind it. TWS answers no order, so that a fault of an answer is a
broken connection, or the link between TWS and the broker that is lost for a while.
"""

import asyncio
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

import msgspec

from scalpdesk.core.intents import LegOrders
from scalpdesk.engine.desk import Desk
from scalpdesk.exchange import BrokerOrder, Keyring, OrderUpdate, Published
from scalpdesk.venues import VenueSetup
from scalpdesk_ibkr.gateway import IbkrGateway
from scalpdesk_ibkr.served.contracts import read_query
from scalpdesk_ibkr.served.orders import perm_id_of
from scalpdesk_ibkr.served.session import ClientSession, TwsMarket
from scalpdesk_ibkr.served.wire import Reader, agreed_version, encode
from scalpdesk_ibkr.settings import IbkrSettings
from scalpdesk_testing.line import Line, LineConnection, Socket
from scalpdesk_testing.schedule import CALLED, CORRECTION, TRANSFER, Schedule, draw_schedule
from scalpdesk_testing.trial import ACCOUNT, Trial
from scalpdesk_testing.wire_laws import ORDERS_PATH

_CODE, _CLIENT_ID = "DU1000001", 1
_GREETING = b"API\0"
_NEVER_HERE = frozenset({"dividend", "assignment", TRANSFER, CALLED})
"""Changes of an account for which TWS has no message that says what they were."""
_OF_LEGS = frozenset({"bust", "correct", CORRECTION})
"""Faults that take back a trade: the simulated exchange does not report them for a combo's leg."""
_BEFORE = frozenset({"drop_request", "disconnect_before"})
_BEHIND = frozenset({"disconnect_after", "truncated_answer"})
_LINK_LOST = frozenset({"server_error", "unavailable", "gateway_timeout", "maintenance", "auth_loss"})
"""Faults of the venue's front door: TWS loses its link to the broker, and the socket stays."""
_LINK_SECONDS = 2.0
LOOKS = frozenset({"61", "16", "76"})
"""Requests with which a look at the account begins."""
_ORDER_MESSAGES = frozenset({"3", "5", "11", "59"})


class TwsLine(Line):
    """All connections between one desk and one exchange that speaks TWS's protocol."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(
            trial.loop,
            trial.clock,
            trial.world,
            latency_seconds=trial.schedule.latency_seconds,
        )
        self.market = TwsMarket(world=trial.world, codes={_CODE: ACCOUNT})
        self.rule: Callable[[list[str]], list[list[str]]] = lambda fields: [fields]
        """Takes the fields of a message of TWS; returns the messages that go out in its place."""
        self.executions: dict[str, str] = {}
        """The exchange's own ids of executions by those that TWS sends: a correction keeps its root."""
        self._vendor_ids: dict[str, str] = {}
        self.desk: Callable[[], Desk] = lambda: trial.engine.desk
        self.refs: dict[tuple[int, int], str] = {}
        """The desk's ids by client and order id."""
        trial.world.on_update(self._on_update)
        trial.world.on_market(self._on_market)
        trial.loop.connect = self.connect

    async def connect(self, protocol: asyncio.BaseProtocol) -> "TwsTransport":
        """Open a connection for a client of the trial's loop."""
        await asyncio.sleep(self.latency_seconds)
        if self.is_down:
            raise ConnectionRefusedError("the line is down")
        assert isinstance(protocol, asyncio.Protocol)
        transport = TwsTransport(self, protocol)
        protocol.connection_made(transport)
        return transport

    def open_socket(self, connection: LineConnection, path: str, headers: Mapping[str, str]) -> Socket:
        """Open the exchange's end of a connection."""
        del path, headers
        return _TwsSocket(self, connection)

    def _sessions(self) -> list[ClientSession]:
        found = (socket.session for socket in self.sockets if isinstance(socket, _TwsSocket))
        return [session for session in found if session is not None]

    def _on_update(self, update: OrderUpdate) -> None:
        trades = (update.execution, *update.leg_executions) if update.execution is not None else ()
        for trade in trades:
            vendor_id = self._vendor_ids.get(trade.corrects or "", f"{trade.execution_id}.00")
            root, _, last = vendor_id.rpartition(".")
            vendor_id = self._vendor_ids[trade.execution_id] = f"{root}.{int(last) + 1:02d}"
            self.executions[vendor_id] = trade.execution_id
        for session in self._sessions():
            session.accounts.refresh()

    def _on_market(self, event: Published) -> None:
        for session in self._sessions():
            session.publish(event, states_time=False)  # the trial has one clock

    def tell_all(self, code: int, text: str) -> None:
        """Send a system message to every client."""
        for session in self._sessions():
            session.send_error(-1, code, text)


class TwsTransport(LineConnection):
    """The desk's end of a connection of plain frames."""

    def __init__(self, line: TwsLine, protocol: asyncio.Protocol) -> None:
        super().__init__(line, protocol)
        line.idle_connections.pop(self, None)
        self._socket = line.open_socket(self, "", {})

    def write_eof(self) -> None:
        """Do nothing: the close that follows says the same."""


class _TwsSocket(Socket):
    """The exchange's end of one connection."""

    is_mute = False
    line: TwsLine

    def __init__(self, line: TwsLine, connection: LineConnection) -> None:
        super().__init__(line, connection)
        self.session: ClientSession | None = None
        """None before the agreement on a version."""
        self._is_greeted = False

    def read(self, data: bytes) -> None:
        """Take bytes that the desk writes."""
        self._read += data
        if not self._is_greeted and self._read.startswith(_GREETING):
            del self._read[: len(_GREETING)]
            self._is_greeted = True
        while len(self._read) >= 4:
            (length,) = struct.unpack(">I", self._read[:4])
            if len(self._read) < 4 + length:
                return
            body = bytes(self._read[4 : 4 + length])
            del self._read[: 4 + length]
            held = self.line_request(body)
            self._arrives(partial(self._take, body), held)

    def line_request(self, body: bytes) -> float:
        """Note a request as it leaves the desk; return how long it lies on the way."""
        line = self.line
        method, path, content = self._as_request(body)
        if not method:
            return 0.0
        if path == "/99":  # a question for one order lists them all
            for order in line.desk().orders.live.values():
                line.on_asked(order.parent_id or order.client_order_id)
        fate = line.on_the_way(method, path)
        line.requests += 1
        line.on_sent(method, path, content)
        return fate.held_seconds

    def _as_request(self, body: bytes) -> tuple[str, str, bytes]:
        """Return verb, path and body of a request in the words that schedules and laws know."""
        fields = body.decode("utf-8", "replace").split("\0")
        kind, client_id = fields[0], self.session.client_id if self.session is not None else None
        if client_id is None:
            return "", "", b""
        if kind == "3":
            self.line.refs[client_id, int(fields[1])] = fields[26]
            return self._as_order(fields, body)
        if kind == "4":
            (account,) = self.line.world.ledger.accounts.values()
            order = account.by_client_id.get(self.line.refs.get((client_id, int(fields[2])), ""))
            return "DELETE", f"{ORDERS_PATH}/{order.order_id if order else ''}", b""
        return "GET", "/v2/account" if kind in LOOKS else f"/{kind}", b""

    def _as_order(self, fields: list[str], body: bytes) -> tuple[str, str, bytes]:
        side, quantity, kind, limit = fields[16:20]
        order: dict[str, object] = {
            "client_order_id": fields[26],
            "side": side.lower(),
            "qty": str(Decimal(quantity).normalize() + 0),
            "limit_price": limit if "LMT" in kind else None,
        }
        contracts, instruments = self.line.market.contracts, self.line.world.ledger.instruments
        if fields[4] == "BAG":
            legs = [fields[36 + 8 * place :] for place in range(int(fields[35]))]
            order["symbol"] = fields[3]
            order["legs"] = [
                {
                    "symbol": instruments[contracts.number(int(con_id))].symbol,
                    "side": action.lower(),
                    "ratio_qty": ratio,
                }
                for con_id, ratio, action, *_ in legs
            ]
        else:
            reader = Reader(body)
            reader.texts(2)
            order["symbol"] = instruments[contracts.only(read_query(reader))].symbol
        return "POST", ORDERS_PATH, msgspec.json.encode(order)

    def leave(self) -> None:
        """Take the client out of the exchange; its orders stay."""
        if self.session is not None:
            self.session.leave()
            self.session = None

    def _write(self, data: bytes) -> None:
        """Put a message of the exchange on its way, as the line's rule changes it."""
        fields = data[4:].decode("utf-8", "surrogateescape").split("\0")[:-1]
        for changed in self.line.rule(fields):
            body = "".join(f"{field}\0" for field in changed).encode("utf-8", "surrogateescape")
            self._put_out(struct.pack(">I", len(body)) + body)

    def _put_out(self, data: bytes) -> None:
        """Put a message on its way, subject to the faults of a stream."""
        if self.is_mute or self.closed:
            return
        kind = data[4:].partition(b"\0")[0].decode()
        about = "/stream" if kind in _ORDER_MESSAGES else "/v2 quotes"
        fault = self.line.world.faults.take("stream", about) if kind in _ORDER_MESSAGES | {"1"} else None
        name = "" if fault is None else fault.name
        if name in ("stream_disconnect", "stream_drop", "stream_truncated"):
            self.line.loop.call_soon(self.break_off)
        elif name == "stream_half_open":
            self.is_mute = True
        else:
            late = fault.seconds if fault is not None and name == "stream_delay" else 0.0
            self.put(self.line.on_coming(data), late)
            if name == "stream_duplicate":
                self.put(data)

    def _take(self, body: bytes) -> None:
        """Answer a request, or let a fault strike it."""
        line, session = self.line, self.session
        line.world.advance_to(line.clock.true_ns())
        if session is None:
            version = agreed_version(body)
            assert version is not None
            self.session = ClientSession(version, line.market, self._write)
            self.put(encode(version, "20260101 09:30:00 EST"))
            return
        was_started = session.client_id is not None
        method, path, _ = self._as_request(body)
        fault = line.world.faults.take("http", f"{method} {path}") if method else None
        name = "" if fault is None else fault.name
        if name in _BEFORE:
            self.break_off()
            return
        if name == "half_open":
            self.is_mute = True
            return
        if name in _LINK_LOST:
            line.tell_all(1100, "Connectivity between IB and Trader Workstation has been lost.")
            seconds = _LINK_SECONDS if fault is None else min(fault.seconds, _LINK_SECONDS)
            text = "Connectivity between IB and Trader Workstation has been restored - data maintained."
            line.loop.call_later(seconds, line.tell_all, 1102, text)
        goes_on = session.receive(body)
        if not was_started and session.client_id is not None:
            line.on_stream()
        line.world.settle()
        if name in _BEHIND or not goes_on:
            self.break_off() if name in _BEHIND else self.hang_up()
        elif name == "too_many_requests":
            session.send_error(-1, 100, "Max rate of messages per second has been exceeded:max=50")
            self.hang_up()
        if method:
            line.answered(method, path)
        else:
            line.loop.call_soon(line.drive)


class TwsTrial(Trial):
    """Runs one schedule over TWS's protocol."""

    STREAMS = 1
    HAS_OPTIONS_LEVELS = False
    STATES_QUOTE_TIMES = False

    @staticmethod
    def draw(seed: int) -> Schedule:
        """Draw a schedule without what TWS has no message for."""
        drawn = draw_schedule(seed)
        if drawn.called_at is not None and not drawn.is_jump:  # the price jumps, where that leads to a call
            is_jump = drawn.shape == "straddle"
            called_at = drawn.called_at if is_jump else None
            drawn = msgspec.structs.replace(drawn, is_jump=is_jump, called_at=called_at)
        return drawn.without(_NEVER_HERE | (_OF_LEGS if drawn.leg_orders is LegOrders.COMBO else frozenset()))

    def make_line(self, keyring: Keyring) -> Line:
        """Return the line to the exchange."""
        del keyring  # TWS knows its clients by the port
        return TwsLine(self)

    def make_gateway(self) -> IbkrGateway:
        """Return a gateway of the account, not connected yet."""
        return self._gateway(is_watchdog=False)

    def make_watchdog_gateway(self) -> IbkrGateway:
        """Return a gateway under the watchdog's client id."""
        return self._gateway(is_watchdog=True)

    def _gateway(self, *, is_watchdog: bool) -> IbkrGateway:
        setup = VenueSetup(
            instruments=self.market.instruments,
            clock=self.clock,
            timeout_seconds=2.0,
            acceptance_seconds=10.0,
            heartbeat_seconds=10.0,
            fees=self.world.broker.ledger.fees,
            is_watchdog=is_watchdog,
        )
        return IbkrGateway(setup, IbkrSettings(client_id=_CLIENT_ID))

    def execution_id(self, name: str) -> str:
        """Return the exchange's own id of an execution."""
        assert isinstance(self.line, TwsLine)
        return self.line.executions.get(name, name)

    def shown_name(self, order: BrokerOrder) -> str:
        """Return the permanent id: TWS names others' orders by it."""
        return str(perm_id_of(order.order_id))
