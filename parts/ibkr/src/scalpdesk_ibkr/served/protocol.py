"""TWS's protocol on a socket of its own beside the exchange's HTTP port: the connections of its clients."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web

from scalpdesk.base import NANOS_PER_SECOND, BoundedSettings, ConfigError, RetryError, at_least, to_new_york
from scalpdesk.exchange.market import MarketTerms, Published
from scalpdesk.exchange.protocol import AdminCommand, ExchangeHost, ExchangeProtocol, ProtocolSpec
from scalpdesk.instruments.deadlines import NOTICE_CUTOFFS
from scalpdesk.instruments.fees import IBKR_FEES
from scalpdesk.simulation.faults import IN_COIN, PLACES, Fault
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.orders import BrokerEvent
from scalpdesk_ibkr.served.contracts import kind_of
from scalpdesk_ibkr.served.flex import flex_statement
from scalpdesk_ibkr.served.session import ClientSession, TwsMarket
from scalpdesk_ibkr.served.wire import agreed_version, encode, read_frame

_GREETING, _NUL = b"API\0", b"\0"
_LOST, _UNANSWERED = "disconnect_before", "disconnect_after"
"""Faults that break a connection: before a request is carried out, or after it and before its answer."""
_FIRST_CODE = 1_000_001
_MOST_UNREAD_BYTES = 16 << 20
"""Bytes that may wait for a client before its connection ends as slow."""
_DATA_LOST = 1101
"""Code of a broker's link that came back without the market data: clients have to subscribe again."""
Wait = Annotated[float, at_least(0, 86_400, "seconds")]


class Restart(BoundedSettings, frozen=True):
    """End all connections, and listen again after so many wall seconds."""

    down_seconds: Wait = 0.0


class SystemMessage(BoundedSettings, frozen=True):
    """A message to every client that answers no request."""

    code: int
    text: str = ""


class Entitlements(BoundedSettings, frozen=True):
    """Which market data the login may see, and on how many lines."""

    live: bool = True
    delayed: bool = True
    competes: bool = False
    """Another session of the login receives the live data: a line is refused by 10197."""
    lines: Annotated[int, at_least(0, 10_000, "lines")] = 100


class CommissionDelay(BoundedSettings, frozen=True):
    """Market seconds from an execution to its commission report."""

    seconds: Wait = 0.0


class FlexQuery(BoundedSettings, frozen=True):
    """The statement of an account; the first one's unless its code is named."""

    account: str = ""


class _TwsProtocol(ExchangeProtocol):
    """The TWS socket of one server. The account is that of the login at TWS, so a client needs no keys."""

    def __init__(self, host: ExchangeHost) -> None:
        self._host = host
        for item in host.world.ledger.instruments:
            kind_of(item)  # refuses a market that TWS does not trade
        names = [credential.account for credential in host.keyring.credentials]
        self.codes = {f"DU{_FIRST_CODE + place}": name for place, name in enumerate(names)}
        """Codes of paper accounts, each with the broker's name of the account."""
        wall_ns = host.clock.now_ns if host.options.trading_limit else None
        self.market = TwsMarket(world=host.world, codes=self.codes, wall_ns=wall_ns)
        self._open: dict[asyncio.StreamWriter, ClientSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._restart: asyncio.Task[None] | None = None
        self.port = 0
        host.world.on_update(self._refresh)
        host.world.on_booking(self._refresh)
        host.world.on_market(self._on_market)

    def mount(self, router: web.UrlDispatcher) -> None:
        """Add nothing: the protocol has no HTTP."""

    @property
    def url(self) -> str:
        """Address of the socket."""
        return f"tws://{self._host.options.host}:{self.port}"

    async def start(self) -> None:
        """Listen on the socket's port."""
        options = self._host.options
        port = self.port or options.socket_port
        try:
            self._listener = await asyncio.start_server(self._serve, options.host, port)
        except OSError as error:
            raise RetryError(
                "the port is taken",
                where="--tws-port",
                value=port,
                fix="use another, or --tws-port 0",
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        self._go_down()
        if self._restart is not None:
            self._restart.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_count(self) -> int:
        """Number of open connections."""
        return len(self._open)

    @property
    def ready_count(self) -> int:
        """Number of clients that follow a quote."""
        return sum(bool(session.lines.lines) for session in self._open.values())

    def close_all(self) -> None:
        """End every connection; orders stay as they are."""
        for writer in tuple(self._open):
            writer.close()

    def _go_down(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.close_all()

    @property
    def commands(self) -> Mapping[str, AdminCommand]:
        """Commands below ``/admin/tws/``."""
        return {
            "tws/restart": (Restart, self.restart),
            "tws/message": (SystemMessage, self.send_message),
            "tws/data": (Entitlements, self.entitle),
            "tws/commission": (CommissionDelay, self.delay_commissions),
            "tws/flex": (FlexQuery, self.flex),
        }

    def restart(self, command: Restart) -> dict[str, Any]:
        """Close the port and all its connections, and open it again; orders, ids and executions stay."""
        closed = self.open_count
        self._go_down()
        self._restart = asyncio.get_running_loop().create_task(self._come_back(command.down_seconds))
        return {"closed": closed, "port": self.port}

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    def send_message(self, command: SystemMessage) -> dict[str, Any]:
        """Send a system message to every client; 1101 ends their market data."""
        for session in self.market.clients.values():
            if command.code == _DATA_LOST:
                session.lines.lines.clear()
            session.send_error(-1, command.code, command.text)
        return {"sent": len(self.market.clients)}

    def entitle(self, command: Entitlements) -> dict[str, Any]:
        """Change the entitlements for later requests."""
        terms = self.market.data_terms
        for name in command.__struct_fields__:
            setattr(terms, name, getattr(command, name))
        return msgspec.structs.asdict(command)

    def delay_commissions(self, command: CommissionDelay) -> dict[str, Any]:
        """Change the delay of later commission reports."""
        self.market.orders.commission_delay_ns = int(command.seconds * NANOS_PER_SECOND)
        return {"seconds": command.seconds}

    def flex(self, command: FlexQuery) -> dict[str, Any]:
        """Return an account's activity as a Flex statement in XML, from the exchange's own books."""
        code = command.account or next(iter(self.codes))
        if code not in self.codes:
            raise ConfigError(
                "this login has no such account", where="account", value=code, fix=", ".join(self.codes)
            )
        return {"account": code, "xml": flex_statement(self.market, code)}

    def check_fault(self, fault: Fault) -> None:
        """Refuse a fault of HTTP answers and of streams, but for those that break the connection."""
        if PLACES[fault.name] not in IN_COIN and fault.name not in (_LOST, _UNANSWERED):
            raise ConfigError(
                "this fault never strikes over TWS",
                where="name",
                value=fault.name,
                fix=f"{_LOST} or {_UNANSWERED}, with a message as match, for instance 'message 3'",
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: the greeting, the agreement on a version, then requests."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            greeting = await reader.readexactly(len(_GREETING))
            offer = await read_frame(reader) if greeting == _GREETING else None
            version = agreed_version(offer) if offer is not None else None
            if version is not None:
                now = to_new_york(self._host.clock.now_ns())
                writer.write(encode(version, f"{now:%Y%m%d %H:%M:%S} EST"))
                await self._converse(reader, writer, version)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int
    ) -> None:
        def write(data: bytes) -> None:
            if writer.transport.get_write_buffer_size() > _MOST_UNREAD_BYTES:
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(data)

        world = self._host.world
        session = ClientSession(version, self.market, write)
        self._open[writer] = session
        try:
            while (body := await read_frame(reader)) is not None:
                fault = world.faults.take(
                    "http", f"message {body.partition(_NUL)[0].decode('ascii', 'replace')}"
                )
                if fault is not None and fault.name == _LOST:
                    return
                self._host.keep_up()
                if fault is not None and fault.name == _UNANSWERED:
                    writer.close()
                goes_on = session.receive(body)
                world.settle()
                if not goes_on or writer.is_closing():
                    return
        finally:
            del self._open[writer]
            session.leave()

    def _refresh(self, _: BrokerEvent) -> None:
        for session in self._open.values():
            session.accounts.refresh()

    def _on_market(self, event: Published) -> None:
        states_time = not self._host.pace.is_wall_time
        for session in tuple(self._open.values()):
            session.publish(event, states_time=states_time)


PROTOCOL = ProtocolSpec(
    name="tws",
    build=_TwsProtocol,
    terms=MarketTerms(
        fees=IBKR_FEES,
        charges_always=True,
        rules=VenueRules(
            penny_prices=True,
            contract_ticks=True,
            turns=True,
            notices=NOTICE_CUTOFFS["ibkr"],
            pairs_with_held=True,
        ),
    ),
)
