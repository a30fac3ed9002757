"""One client of the TWS socket that has agreed on a version: its requests and their answers."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.exchange.answers import AnswerFaults, Question, is_false
from scalpdesk.exchange.market import Published, SimulatedMarket
from scalpdesk.simulation.faults import Fault
from scalpdesk_ibkr.served.accounts import AccountFeed, RealizedProfits
from scalpdesk_ibkr.served.contracts import CHAIN_VENUES, NO_CONTRACT, ContractBook, read_query
from scalpdesk_ibkr.served.exercise import ExerciseDesk
from scalpdesk_ibkr.served.history import HistoricalBars
from scalpdesk_ibkr.served.layouts import error_message
from scalpdesk_ibkr.served.market_data import DataTerms, MarketLines
from scalpdesk_ibkr.served.orders import TwsOrders
from scalpdesk_ibkr.served.questions import ASKED_BY, falsified, is_end, readdressed, told_by
from scalpdesk_ibkr.served.wire import Field, Message, Reader, TwsError, encode

_START_API = 71
_MOST_A_SECOND = 50
"""Messages that a client may send within a second."""
_NOT_PROCESSED = 322, "Error processing request.-'the service is not available'"
_NOTICES = {
    2104: "Market data farm connection is OK:usfarm",
    2106: "HMDS data farm connection is OK:ushmds",
    2158: "Sec-def data farm connection is OK:secdefnj",
}


@dataclass(slots=True, kw_only=True)
class TwsMarket:
    """Parts of one server that its clients share."""

    world: SimulatedMarket
    codes: Mapping[str, str]
    """The vendor's account codes, each with the broker's name of the account."""
    wall_ns: Callable[[], int] | None = None
    """Wall time, UTC nanoseconds, by which the pace of requests is judged; None: it is not."""
    data_terms: DataTerms = field(default_factory=DataTerms)
    clients: "dict[int, ClientSession]" = field(default_factory=dict)
    """Connected clients by id."""
    contracts: ContractBook = field(init=False)
    profits: RealizedProfits = field(init=False)
    orders: TwsOrders = field(init=False)
    exercise: ExerciseDesk = field(init=False)

    def __post_init__(self) -> None:
        """Build the parts upon the market."""
        self.contracts, self.profits = ContractBook(self.world), RealizedProfits(self.world.ledger)
        self.orders = TwsOrders(self.world, self.contracts, self.codes, self.profits, self.send)
        self.exercise = ExerciseDesk(self.world, self.contracts, self.codes, self.send)

    def send(self, client_id: int, write: Callable[[int], Message]) -> None:
        """Send a message, written for the version of its connection, to a client if it is connected."""
        client = self.clients.get(client_id)
        if client is not None:
            client.tell(*write(client.version))

    def line_count(self) -> int:
        """Return the number of market-data lines of all clients."""
        return sum(len(client.lines.lines) for client in self.clients.values())


class _RequestForm(NamedTuple):
    """Form of a request and its answer."""

    answer: "Callable[[ClientSession, int, Reader], Iterable[Message] | None]"
    """Called with the session, the request's id (-1 without one) and its further fields."""
    has_version: bool = True
    has_id: bool = True


class ClientSession:
    """A client that has agreed on a version.

    ``market``: What all clients share.
    """

    def __init__(self, version: int, market: TwsMarket, write: Callable[[bytes], None]) -> None:
        self.version, self.market = version, market
        self.client_id: int | None = None
        """None before startApi."""
        world, contracts = market.world, market.contracts
        self.lines = MarketLines(version, world, contracts, market.data_terms, market.line_count)
        self.bars = HistoricalBars(version, world, contracts, market.wall_ns)
        self.accounts = AccountFeed(
            version, world, contracts, market.profits, market.codes, lambda message: self.tell(*message)
        )
        self._answers = AnswerFaults[tuple[int, tuple[Message, ...]]](lambda: world.faults)
        self._write = write
        self._stated_second = 0
        self._has_timer = False
        """Whether the account is looked at once the events of this instant are through."""
        self._received: deque[int] = deque(maxlen=_MOST_A_SECOND)
        """Wall times of the latest messages, UTC nanoseconds."""

    def send(self, *message: Field) -> None:
        """Send a message."""
        self._write(encode(*message))

    def send_error(self, request_id: int, code: int, text: str) -> None:
        """Send an error; request id -1 for one that answers no request."""
        self.send(*error_message(self.version, request_id, code, text))

    def receive(self, body: bytes) -> bool:
        """Answer a request; return whether the connection goes on."""
        if self._comes_too_fast():
            text = f"Max rate of messages per second has been exceeded:max={_MOST_A_SECOND}"
            self.send_error(-1, 100, text)
            return False
        reader, request_id = Reader(body), -1
        try:
            kind = reader.whole("message id")
            if kind == _START_API:
                reader.text()
                return self._start(reader.whole("clientId"))
            if self.client_id is None:
                return True  # until then nothing is answered
            request = REQUESTS.get(kind, UNKNOWN)
            if request.has_version:
                reader.text()
            if request.has_id:
                request_id = reader.whole("request id")
            question = None if self.market.world.faults.is_quiet else ASKED_BY.get(kind)
            fault = self._answers.strike(question)
            if fault is not None and question is not None:
                self._answer_badly(question, fault, (body, request, request_id, reader))
                return True
            for message in request.answer(self, request_id, reader) or ():
                self.send(*message)
        except TwsError as error:
            self.send_error(request_id, error.code, str(error))
        return True

    def _answer_badly(
        self, question: Question, fault: Fault, asked: "tuple[bytes, _RequestForm, int, Reader]"
    ) -> None:
        """Answer a request as a fault wants it; the request itself is not carried out where none comes."""
        body, request, request_id, reader = asked
        if fault.name == "answer_missing":
            return
        if fault.name == "answer_refused":
            is_line = question is Question.QUOTES
            code, text = (354, "Requested market data is not subscribed.") if is_line else _NOT_PROCESSED
            self.send_error(request_id, code, text)
            return
        messages = tuple(request.answer(self, request_id, reader) or ())
        if fault.name == "answer_empty":
            messages = tuple(filter(is_end, messages))
        elif fault.name == "answer_old":
            fields = tuple(part for part in body.split(b"\0") if part != b"%d" % request_id)
            before, earlier = self._answers.earlier(question, fields, (request_id, messages))
            messages = tuple(readdressed(message, before, request_id) for message in earlier)
        elif is_false(fault):
            messages = tuple(falsified(fault.name, message) for message in messages)
        if fault.name == "answer_late":
            self._send_later(fault, *messages)
            return
        for message in messages:
            self.send(*message)

    def tell(self, *message: Field) -> None:
        """Send what answers no request, as far as a fault of what it tells lets it."""
        question = None if self.market.world.faults.is_quiet else told_by(message)
        fault = self._answers.strike(question)
        if fault is None:
            self.send(*message)
        elif is_false(fault):
            self.send(*falsified(fault.name, message))
        elif fault.name == "answer_late":
            self._send_later(fault, message)

    def _send_later(self, fault: Fault, *messages: Message) -> None:
        ledger = self.market.world.ledger

        def send_all() -> None:
            for message in messages:
                self.send(*message)

        ledger.at(ledger.now_ns + int(fault.seconds * NANOS_PER_SECOND), send_all)

    def _comes_too_fast(self) -> bool:
        if self.market.wall_ns is None:
            return False
        now_ns, times = self.market.wall_ns(), self._received
        is_full = len(times) == _MOST_A_SECOND and now_ns - times[0] < NANOS_PER_SECOND
        times.append(now_ns)
        return is_full

    def _start(self, client_id: int) -> bool:
        if self.client_id is not None:
            return True
        if self.market.clients.setdefault(client_id, self) is not self:
            self.send_error(-1, 326, "Unable to connect as the client id is already in use.")
            return False
        self.client_id = client_id
        self.send(15, 1, ",".join(self.market.codes))
        self.send(9, 1, self.market.orders.next_id(client_id))
        for code, text in _NOTICES.items():
            self.send_error(-1, code, text)
        return True

    def leave(self) -> None:
        """Free the client's id."""
        if self.client_id is not None:
            del self.market.clients[self.client_id]

    def _state_time(self) -> None:
        """Send the market's time (49) if its second is a new one."""
        second = self.market.world.now_ns // NANOS_PER_SECOND
        if second > self._stated_second:
            self._stated_second = second
            self.send(49, 1, second)

    def publish(self, event: Published, *, states_time: bool) -> None:
        """Send what an event of the market brings to the lines of this client.

        ``states_time`` puts the market's time before the first of each second, since no tick carries one:
        TWS states it only on request, but a client of a market that is not on the wall's clock needs it.
        """
        for message in chain(self.lines.ticks_of(event), self.bars.updates_of(event)):
            if states_time:
                self._state_time()
            self.tell(*message)
        if not self._has_timer and not self.accounts.is_idle:
            self._has_timer = True
            ledger = self.market.world.ledger
            ledger.at(ledger.now_ns, self._refresh)  # after every event of this instant

    def _refresh(self) -> None:
        self._has_timer = False
        self.accounts.refresh()

    @property
    def id(self) -> int:
        """The client's id."""
        assert self.client_id is not None
        return self.client_id

    # answers ----------------------------------------------------------------------------------------

    def contract_details(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the contracts that fit a query, and the end (9)."""
        query = read_query(reader)
        found = self.market.contracts.find(query, with_expired=reader.flag("includeExpired"))
        if not found:
            raise TwsError(200, NO_CONTRACT)
        for number in found:
            yield self.market.contracts.details(self.version, request_id, number, query.exchange)
        yield 52, 1, request_id

    def option_chains(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield option chains (78); those on futures are asked for by their exchange."""
        _, futures_venue, _ = reader.texts(3)
        venues = (futures_venue,) if futures_venue else CHAIN_VENUES
        return self.market.contracts.chains(request_id, reader.whole("underlyingConId"), venues)

    def cancel(self, order_id: int, _: Reader) -> None:
        """Cancel an order, or withdraw a request for exercise (4)."""
        if not self.market.exercise.cancel(self.id, order_id):
            self.market.orders.cancel(self.id, order_id)

    def cancel_all(self) -> None:
        """Cancel the orders of all clients, and withdraw their requests for exercise (58)."""
        self.market.exercise.cancel_all()
        self.market.orders.cancel_all()

    def show_open(self, *, of_all: bool) -> Iterator[Message]:
        """Yield what waits for an exercise, then the open orders and the end (5, 16)."""
        terms = self.id, self.version
        yield from self.market.exercise.show_open(*terms, of_all=of_all)
        yield from self.market.orders.show_open(*terms, of_all=of_all)

    def bind_orders(self, reader: Reader) -> None:
        """Give client 0 the orders of the broker itself from now on (15)."""
        if self.client_id == 0:
            self.market.orders.binds = reader.flag("bind")

    def profit(self, request_id: int, reader: Reader, *, of_position: bool) -> Iterator[Message]:
        """Yield a profit, then follow it (92, 94)."""
        code, _ = reader.texts(2)
        con_id = reader.whole("conId") if of_position else None
        return self.accounts.profit(request_id, code, con_id)


def _refuse_unknown(_session: ClientSession, _request_id: int, _reader: Reader) -> None:
    raise TwsError(321, "Error validating request: the message is not served")


UNKNOWN = _RequestForm(_refuse_unknown, has_version=False, has_id=False)


def _cancels(kind: int) -> Callable[[ClientSession, int, Reader], None]:
    return lambda session, request_id, _: session.accounts.cancel(kind, request_id)


REQUESTS = {
    1: _RequestForm(lambda at, request_id, reader: at.lines.follow(request_id, reader)),
    2: _RequestForm(lambda at, request_id, _: at.lines.cancel(request_id)),
    3: _RequestForm(
        lambda at, order_id, reader: at.market.orders.place(at.id, at.version, order_id, reader),
        has_version=False,
    ),
    4: _RequestForm(ClientSession.cancel),
    5: _RequestForm(lambda at, _, __: at.show_open(of_all=False), has_id=False),
    6: _RequestForm(lambda at, _, reader: at.accounts.updates(reader), has_id=False),
    7: _RequestForm(
        lambda at, request_id, reader: at.market.orders.show_executions(at.version, request_id, reader)
    ),
    8: _RequestForm(lambda at, _, __: [(9, 1, at.market.orders.next_id(at.id))], has_id=False),
    9: _RequestForm(ClientSession.contract_details),
    14: _RequestForm(lambda _, __, ___: None, has_id=False),
    15: _RequestForm(lambda at, _, reader: at.bind_orders(reader), has_id=False),
    16: _RequestForm(lambda at, _, __: at.show_open(of_all=True), has_id=False),
    17: _RequestForm(lambda at, _, __: [(15, 1, ",".join(at.market.codes))], has_id=False),
    20: _RequestForm(lambda at, request_id, reader: at.bars.answer(request_id, reader), has_version=False),
    21: _RequestForm(lambda at, request_id, reader: at.market.exercise.take(at.id, request_id, reader)),
    25: _RequestForm(lambda at, request_id, _: at.bars.cancel(request_id)),
    49: _RequestForm(lambda at, _, __: [(49, 1, at.market.world.now_ns // NANOS_PER_SECOND)], has_id=False),
    58: _RequestForm(lambda at, _, __: at.cancel_all(), has_id=False),
    59: _RequestForm(lambda at, _, reader: at.lines.choose(reader.whole("type")), has_id=False),
    61: _RequestForm(lambda at, _, __: at.accounts.positions(), has_id=False),
    62: _RequestForm(lambda at, request_id, reader: at.accounts.summary(request_id, reader)),
    63: _RequestForm(_cancels(63)),
    64: _RequestForm(_cancels(64), has_id=False),
    74: _RequestForm(lambda at, request_id, reader: at.accounts.positions(request_id, reader.text())),
    75: _RequestForm(_cancels(75)),
    76: _RequestForm(lambda at, request_id, reader: at.accounts.values(request_id, reader)),
    77: _RequestForm(lambda _, __, ___: None),
    78: _RequestForm(ClientSession.option_chains, has_version=False),
    81: _RequestForm(
        lambda at, request_id, reader: [at.market.contracts.samples(at.version, request_id, reader.text())],
        has_version=False,
    ),
    87: _RequestForm(lambda at, request_id, reader: [at.bars.head(request_id, reader)], has_version=False),
    90: _RequestForm(lambda _, __, ___: None, has_version=False),
    91: _RequestForm(lambda at, rule_id, _: [at.market.contracts.market_rule(rule_id)], has_version=False),
    92: _RequestForm(
        lambda at, request_id, reader: at.profit(request_id, reader, of_position=False), has_version=False
    ),
    93: _RequestForm(_cancels(93), has_version=False),
    94: _RequestForm(
        lambda at, request_id, reader: at.profit(request_id, reader, of_position=True), has_version=False
    ),
    95: _RequestForm(_cancels(95), has_version=False),
    99: _RequestForm(
        lambda at, _, reader: at.market.orders.show_completed(at.version, of_clients=reader.flag("apiOnly")),
        has_version=False,
        has_id=False,
    ),
}
"""Requests that are served, by message id."""
