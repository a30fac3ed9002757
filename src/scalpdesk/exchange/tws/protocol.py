"""TWS's protocol on a socket of its own beside the exchange's HTTP port: the connections of its clients."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from aiohttp import web

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.market import MarketTerms, Published, SimulatedMarket
from scalpdesk.exchange.protocol import ExchangeHost, ExchangeProtocol, ProtocolSpec
from scalpdesk.exchange.tws.contracts import ContractBook, kind_of, read_query
from scalpdesk.exchange.tws.orders import Message, TwsOrders
from scalpdesk.exchange.tws.wire import (
    Field,
    Reader,
    TwsError,
    agreed_version,
    encode,
    error_message,
    read_frame,
)
from scalpdesk.instruments.fees import IBKR_FEES
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import IN_COIN, PLACES, Fault
from scalpdesk.simulation.order_entry import VenueRules

GREETING, NUL = b"API\0", b"\0"
LOST, UNANSWERED = "disconnect_before", "disconnect_after"
"""Faults that break a connection: before a request is carried out, or after it and before its answer."""
FIRST_CODE = 1_000_001
MOST_UNREAD_BYTES = 16 << 20
"""Bytes that may wait for a client before its connection ends as slow."""


START_API = 71
WITH_REQUEST_ID = frozenset({1, 2, 3, 4, 7, 9, 76})
"""Requests that begin with an id, which an error names."""
WITHOUT_VERSION = frozenset({3, 99})
"""Requests without a field for the version of their own layout."""
LIVE_DATA = 1
NOTICES = {
    2104: "Market data farm connection is OK:usfarm",
    2106: "HMDS data farm connection is OK:ushmds",
    2158: "Sec-def data farm connection is OK:secdefnj",
}
BID, ASK = 1, 2
"""Types of price ticks."""


class ClientSession:
    """A client that has agreed on a version.

    Parameters
    ----------
    version
        Version of the messages.
    world
        Market and broker.
    contracts, orders
        Those of the server, which all clients share.
    codes
        The vendor's account codes, each with the broker's name of the account.
    write
        Sends bytes.
    join
        Called with the client's id at startApi; returns whether no other client has it.
    """

    def __init__(
        self,
        version: int,
        world: SimulatedMarket,
        contracts: ContractBook,
        orders: TwsOrders,
        codes: Mapping[str, str],
        *,
        write: Callable[[bytes], None],
        join: "Callable[[int, ClientSession], bool]",
    ) -> None:
        self.version = version
        self.client_id: int | None = None
        """None before startApi."""
        self.followed: dict[int, InstrumentId] = {}
        """Instruments whose quotes are sent, by request id."""
        self._world, self._contracts, self._orders, self._codes = world, contracts, orders, codes
        self._write, self._join = write, join

    def send(self, *message: Field) -> None:
        """Send a message."""
        self._write(encode(*message))

    def receive(self, body: bytes) -> bool:
        """Answer a request; return whether the connection goes on."""
        reader, request_id = Reader(body), -1
        try:
            kind = reader.whole("message id")
            if kind not in WITHOUT_VERSION:
                reader.text()
            if kind == START_API:
                return self._start(reader.whole("clientId"))
            if self.client_id is None:
                return True  # until then nothing is answered
            if kind in WITH_REQUEST_ID:
                request_id = reader.whole("request id")
            for message in self._answer(kind, self.client_id, request_id, reader):
                self.send(*message)
        except TwsError as error:
            self.send(*error_message(self.version, request_id, error.code, str(error)))
        return True

    def _start(self, client_id: int) -> bool:
        if self.client_id is not None:
            return True
        if not self._join(client_id, self):
            text = "Unable to connect as the client id is already in use."
            self.send(*error_message(self.version, -1, 326, text))
            return False
        self.client_id = client_id
        self.send(15, 1, ",".join(self._codes))
        self.send(9, 1, self._orders.next_id(client_id))
        for code, text in NOTICES.items():
            self.send(*error_message(self.version, -1, code, text))
        return True

    def _answer(  # noqa: PLR0912 - a case for each message
        self, kind: int, client_id: int, request_id: int, reader: Reader
    ) -> Iterator[Message]:
        """Carry out a request and yield the replies to it."""
        orders, version = self._orders, self.version
        match kind:
            case 1:
                yield from self._follow(request_id, reader)
            case 2:
                if self.followed.pop(request_id, None) is None:
                    raise TwsError(300, f"Can't find EId with tickerId:{request_id}")
            case 3:
                orders.place(client_id, version, request_id, reader)
            case 4:
                orders.cancel(client_id, request_id)
            case 5 | 16:
                yield from orders.show_open(client_id, version, of_all=kind == 16)
            case 6:
                yield from self._account_updates(reader)
            case 7:
                yield from orders.show_executions(version, request_id, reader)
            case 8:
                yield 9, 1, orders.next_id(client_id)
            case 9:
                yield from self._contract_details(request_id, reader)
            case 15 | 59 | 64:  # orders of no client are shown to client 0, and data are live
                pass
            case 49:
                yield 49, 1, self._world.now_ns // NANOS_PER_SECOND
            case 58:
                orders.cancel_all()
            case 61:
                yield from self._positions()
            case 76:
                yield from self._account_values(request_id, reader)
            case 99:
                yield from orders.show_completed(version)
            case _:
                raise TwsError(321, f"Error validating request: message {kind} is not served")

    # market -----------------------------------------------------------------------------------------

    def _contract_details(self, request_id: int, reader: Reader) -> Iterator[Message]:
        query = read_query(reader)
        found = self._contracts.find(query)
        if not found:
            raise TwsError(200, "No security definition has been found for the request")
        for number in found:
            yield tuple(self._contracts.details(self.version, request_id, number))
        yield 52, 1, request_id

    def _follow(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Send quotes of a contract from now on, or once for a snapshot."""
        if request_id in self.followed:
            raise TwsError(322, "Duplicate ticker id")
        number = self._contracts.only(read_query(reader))
        if reader.flag("deltaNeutralContract"):
            raise TwsError(321, "Error validating request: delta-neutral contracts are not served")
        reader.text()
        is_snapshot = reader.flag("snapshot")
        self.followed[request_id] = number
        quote = self._world.quote(number)
        yield 58, 1, request_id, LIVE_DATA
        yield 81, request_id, self._world.ledger.instruments[number].tick_rule.below, "", 3
        if quote is not None:
            yield from _ticks(request_id, quote)
        if is_snapshot:
            del self.followed[request_id]
            yield 57, 1, request_id

    def on_quote(self, quote: QuoteEvent) -> None:
        """Send a quote under each request that follows its instrument."""
        for request_id, number in self.followed.items():
            if number == quote.instrument_id:
                for message in _ticks(request_id, quote):
                    self.send(*message)

    # account ----------------------------------------------------------------------------------------

    def _account(self, code: str) -> tuple[str, BrokerAccount]:
        """Return an account by its code; the first without one."""
        code = code or next(iter(self._codes))
        if code not in self._codes:
            raise TwsError(321, f"Error validating request: unknown account {code}")
        return code, self._world.ledger.accounts[self._codes[code]]

    def _values(self, account: BrokerAccount) -> Iterator[tuple[str, Decimal]]:
        figures = self._world.ledger.figures(account)
        yield "NetLiquidation", figures.equity
        yield "TotalCashValue", figures.cash
        yield "BuyingPower", figures.buying_power
        yield "AvailableFunds", figures.options_buying_power
        yield "InitMarginReq", figures.initial_margin
        yield "MaintMarginReq", figures.maintenance_margin

    def _account_updates(self, reader: Reader) -> Iterator[Message]:
        if not reader.flag("subscribe"):
            return
        code, account = self._account(reader.text())
        for key, value in self._values(account):
            yield 6, 2, key, value, account.currency, code
        yield 8, 1, f"{to_new_york(self._world.now_ns):%H:%M}"
        yield 54, 1, code

    def _account_values(self, request_id: int, reader: Reader) -> Iterator[Message]:
        code, account = self._account(reader.text())
        for key, value in self._values(account):
            yield 73, 1, request_id, code, "", key, value, account.currency
        yield 74, 1, request_id

    def _positions(self) -> Iterator[Message]:
        for code, name in self._codes.items():
            for number, held in self._world.ledger.accounts[name].holdings.items():
                cost = held.average_price * held.instrument.multiplier
                yield 61, 3, code, *self._contracts.fields(number), held.quantity, cost
        yield 62, 1


def _ticks(request_id: int, quote: QuoteEvent) -> Iterator[Message]:
    """Yield bid and ask with their sizes; -1 with size 0 where a side is empty."""
    for kind, price, size in ((BID, quote.bid, quote.bid_size), (ASK, quote.ask, quote.ask_size)):
        has_price = price > 0.0
        yield 1, 6, request_id, kind, price if has_price else -1, size if has_price else 0, 1


class TwsProtocol(ExchangeProtocol):
    """The TWS socket of one server. The account is that of the login at TWS, so a client needs no keys."""

    def __init__(self, host: ExchangeHost) -> None:
        self._host = host
        for item in host.world.ledger.instruments:
            kind_of(item)  # refuses a market that TWS does not trade
        names = [credential.account for credential in host.keyring.credentials]
        self.codes = {f"DU{FIRST_CODE + place}": name for place, name in enumerate(names)}
        """Codes of paper accounts, each with the broker's name of the account."""
        self._contracts = ContractBook(host.world.ledger.instruments)
        self._orders = TwsOrders(host.world, self._contracts, self.codes, self._send)
        self._open: dict[asyncio.StreamWriter, ClientSession] = {}
        self._clients: dict[int, ClientSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0
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
        try:
            self._listener = await asyncio.start_server(self._serve, options.host, options.socket_port)
        except OSError as error:
            raise RetryError(
                "the port is taken",
                where="--tws-port",
                value=options.socket_port,
                fix="use another, or --tws-port 0",
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._listener is not None:
            self._listener.close()
        self.close_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_count(self) -> int:
        """Number of open connections."""
        return len(self._open)

    @property
    def ready_count(self) -> int:
        """Number of clients that follow a quote."""
        return sum(bool(session.followed) for session in self._open.values())

    def close_all(self) -> None:
        """End every connection; orders stay as they are."""
        for writer in tuple(self._open):
            writer.close()

    def check_fault(self, fault: Fault) -> None:
        """Refuse a fault of HTTP answers and of streams, but for those that break the connection."""
        if PLACES[fault.name] not in IN_COIN and fault.name not in (LOST, UNANSWERED):
            raise ConfigError(
                "this fault never strikes over TWS",
                where="name",
                value=fault.name,
                fix=f"{LOST} or {UNANSWERED}, with a message as match, for instance 'message 3'",
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: the greeting, the agreement on a version, then requests."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            greeting = await reader.readexactly(len(GREETING))
            offer = await read_frame(reader) if greeting == GREETING else None
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
            if writer.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(data)

        world = self._host.world
        session = ClientSession(
            version, world, self._contracts, self._orders, self.codes, write=write, join=self._join
        )
        self._open[writer] = session
        try:
            while (body := await read_frame(reader)) is not None:
                fault = world.faults.take(
                    "http", f"message {body.partition(NUL)[0].decode('ascii', 'replace')}"
                )
                if fault is not None and fault.name == LOST:
                    return
                self._host.keep_up()
                if fault is not None and fault.name == UNANSWERED:
                    writer.close()
                goes_on = session.receive(body)
                world.settle()
                if not goes_on or writer.is_closing():
                    return
        finally:
            del self._open[writer]
            if session.client_id is not None:
                del self._clients[session.client_id]

    def _join(self, client_id: int, session: ClientSession) -> bool:
        return self._clients.setdefault(client_id, session) is session

    def _send(self, client_id: int, write: Callable[[int], Message]) -> None:
        session = self._clients.get(client_id)
        if session is not None:
            session.send(*write(session.version))

    def _on_market(self, event: Published) -> None:
        if isinstance(event, QuoteEvent):
            for session in self._open.values():
                session.on_quote(event)


PROTOCOL = ProtocolSpec(
    name="tws",
    build=TwsProtocol,
    terms=MarketTerms(fees=IBKR_FEES, charges_always=True, rules=VenueRules(penny_prices=True, turns=True)),
)
