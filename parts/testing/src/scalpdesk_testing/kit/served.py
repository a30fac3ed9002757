"""The gateways of the venues, each beside a simulated exchange that serves its protocol on this machine.

They are benches of :mod:`scalpdesk_testing.venue_conformance`. A venue's part is imported when its bench is
built, and needed no sooner.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar

import msgspec

from scalpdesk.base import Equity, Instrument, InstrumentId, Instruments, OptionContract, SystemClock
from scalpdesk.config.schema import Secret
from scalpdesk.core.clock import FollowingClock
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.exchange import Fault
from scalpdesk.exchange.generated import GeneratedSource
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.server import ExchangeServer
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.hours import AlwaysOpen, TapeHours
from scalpdesk.venues import AccountFacts, KnownOrder, Listener, NoSettings, VenueSetup
from scalpdesk.venues.simulated import PlayedSession, SandboxGateway, SimulatedGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.exchange import part
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder
from scalpdesk_testing.kit.threads import loop_in_thread

D = Decimal
_PATIENT = {"timeout_seconds": 20.0, "most_clock_skew_seconds": 60.0}
"""Options of a gateway whose exchange may be slow to answer: both share one loop, and it may be busy."""
_PATIENCE_SECONDS = 60
_ACCEPTANCE_SECONDS = 0.4
_SIDES = {"reject": Fault("reject"), "partial": Fault("partial_fill", fraction=0.5)}
"""Faults of every venue."""


@dataclass
class _ExchangeTruth:
    """The exchange's own state of the account."""

    cash: Decimal
    positions: dict[str, Decimal]
    fills: list[tuple[str, Decimal, Decimal]]


class _VenueBench:
    """A served market, and gateways to it: an underlying, a call and a put of one strike near its price.

    ``server``: Not started.
    ``underlying``: Number 0 of the book.
    ``near``: The strike is the one nearest to it.
    ``expiry``: Of the options; None for the fifth that is listed.
    """

    cannot_be_asked: ClassVar[Mapping[str, str]] = {}
    faults: ClassVar[Mapping[str, Fault]] = _SIDES
    share, call, put = InstrumentId(0), InstrumentId(1), InstrumentId(2)

    def __init__(
        self, server: ExchangeServer, underlying: Instrument, near: float, expiry: date | None = None
    ) -> None:
        self.server = server
        self.gateways: list[Any] = []
        listed = [one for one in server.world.source.instruments if isinstance(one, OptionContract)]
        expiry = expiry or sorted({one.expiry for one in listed})[4]
        ends = [one for one in listed if one.expiry == expiry]
        strike = min((one.strike for one in ends), key=lambda strike: abs(float(strike) - near))
        pair = sorted((one for one in ends if one.strike == strike), key=lambda one: not one.is_call)
        self.book = Instruments([underlying, *pair])

    async def start(self) -> None:
        """Listen."""
        await self.server.start()

    async def stop(self) -> None:
        """Listen no more."""
        await self.server.stop()

    @property
    def protocol(self) -> Any:
        """What speaks the venue's protocol."""
        return self.server.protocol

    def keys(self) -> tuple[Secret, Secret]:
        """Return key and secret of the account."""
        key = self.server.keyring.credentials[0]
        return Secret(key.key), Secret(key.secret)

    def truth(self) -> _ExchangeTruth:
        """Return the exchange's own view."""
        ledger = self.server.world.ledger
        (account,) = ledger.accounts.values()
        return _ExchangeTruth(
            account.cash,
            {ledger.instruments[number].symbol: held.quantity for number, held in account.holdings.items()},
            [(one.client_order_id, one.quantity, one.price) for one in account.executions],
        )

    def strike(self, what: str) -> None:
        """Let the next fitting thing go wrong."""
        self.server.world.faults.inject(self.faults[what])

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.server.world.faults.heal()

    def far_below(self, number: InstrumentId) -> Decimal:
        """Return a price at which a buy rests."""
        del number
        return D("450.00")


def _generated(protocol: str, **plan: Any) -> ExchangeServer:
    source = GeneratedSource(["SPY"], SystemClock().now_ns(), seed=3, step_ms=50)
    return build_server(LaunchPlan(source, protocol=protocol, **plan), SystemClock())


class AlpacaBench(_VenueBench):
    """Alpaca: a share and its options, made up as time passes."""

    faults: ClassVar[Mapping[str, Fault]] = _SIDES | {
        "lost_answer": Fault("disconnect_after", match="POST /v2/orders"),
        "lost_order": Fault("disconnect_before", match="POST /v2/orders"),
        "server_error": Fault("server_error", match="POST /v2/orders"),
        "rate_limit": Fault("too_many_requests", match="POST /v2/orders"),
        "repeated_update": Fault("stream_duplicate", times=3),
        "swapped_updates": Fault("stream_reorder"),
        "cancel_too_late": Fault("cancel_too_late"),
    }

    def __init__(self) -> None:
        super().__init__(_generated("alpaca", trading_limit=0, data_limit=0), Equity("SPY"), 600.0)

    def gateway(self) -> Any:
        """Return a new gateway."""
        transport = part("scalpdesk_alpaca.transport")
        options = {"options_level": 3, "absent_after_seconds": _ACCEPTANCE_SECONDS} | _PATIENT
        return part("scalpdesk_alpaca.gateway").AlpacaGateway(
            endpoints=transport.Endpoints.at(self.server.url),
            keys=transport.ApiKeys(*self.keys()),
            instruments=self.book,
            clock=SystemClock(),
            options=transport.GatewayOptions(requests_per_minute=60_000, **options),
        )

    def lose_quotes(self, number: InstrumentId) -> None:
        """Drop a subscription, unsaid."""
        for stream in self.protocol.hub._data_streams:
            stream.symbols["quotes"].discard(self.book[number].symbol)

    async def cut_order_stream(self, gateway: Any) -> None:
        """Break the order stream."""
        await gateway._stream.drop()


@contextmanager
def served() -> Iterator[AlpacaBench]:
    """Serve Alpaca's from a thread, for a library that blocks."""
    bench = AlpacaBench()
    with loop_in_thread() as loop:
        try:
            asyncio.run_coroutine_threadsafe(bench.start(), loop).result(10)
            yield bench
        finally:
            asyncio.run_coroutine_threadsafe(bench.stop(), loop).result(10)


# Deribit ----------------------------------------------------------------------------------------------

_COIN_DAY, _COIN_EXPIRY = date(2025, 3, 5), date(2025, 3, 14)
TAKEN = {"lost_answer", "server_error"}
"""Of what goes wrong on the wire that where the venue has taken the order."""


@cache
def coin_day() -> MarketTape:
    """Return a day of bitcoin's market."""
    return reconstruct_coin(_COIN_DAY, _COIN_DAY)


class DeribitBench(_VenueBench):
    """Deribit: a perpetual and its options, five market minutes a second, with a step a minute."""

    cannot_be_asked: ClassVar[Mapping[str, str]] = {
        "an_order_sent_twice_under_one_name_is_one_order": "the venue takes a label twice",
    }

    def __init__(self) -> None:
        source = TapeSource(coin_day())
        money: dict[str, Any] = {"cash": 2.0, "currency": "BTC", "trading_limit": 0}
        server = build_server(LaunchPlan(source, protocol="deribit", speed=300.0, **money), SystemClock())
        server.world.advance_to(server.world.now_ns + 300 * 10**9)
        spot = float(server.world.ledger.mark(InstrumentId(0)))
        super().__init__(server, perpetual("BTC"), spot, _COIN_EXPIRY)
        rpc = part("scalpdesk_deribit.served.rpc")
        self._answers = {
            "server_error": rpc.RpcFault(11094, "internal_server_error"),
            "rate_limit": rpc.RpcFault(10028, "too_many_requests"),
        }
        self._struck: list[str] = []
        api = self.protocol.api
        self._receive, api.receive = api.receive, self._befall

    def gateway(self) -> Any:
        """Return a new gateway."""
        setup = VenueSetup(
            instruments=self.book,
            clock=FollowingClock(),
            keys=self.keys(),
            currency="BTC",
            url=self.server.url,
            acceptance_seconds=_ACCEPTANCE_SECONDS,
            requests_per_minute=60_000,
        )
        return part("scalpdesk_deribit.venue").VENUE.build(setup, NoSettings())

    def strike(self, what: str) -> None:
        """Let the next fitting thing go wrong: at the exchange, or on the wire."""
        if what in self.faults:
            super().strike(what)
        else:
            self._struck.append(what)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._struck.clear()
        super().heal()

    def _befall(self, session: Any, text: str) -> None:
        """Let what was struck befall the next order, or the messages about it.

        Orders outlive their connection: the next one may come before the venue has cancelled them.
        """
        session.cancels_on_disconnect = False
        frame = msgspec.json.decode(text)
        if not self._struck or frame.get("method") not in ("private/buy", "private/sell"):
            self._receive(session, text)
            return
        what = self._struck.pop(0)
        if what in ("repeated_update", "swapped_updates"):
            self._befall_updates(session, what)
            self._receive(session, text)
            return
        send = session.send
        if what in TAKEN:
            session.send = lambda _: None
            self._receive(session, text)
            session.send = send
        if what in self._answers:
            send(self.protocol.api.refused(frame["id"], self._answers[what]))
        else:
            session.close()

    @staticmethod
    def _befall_updates(session: Any, what: str) -> None:
        """Repeat the messages about the next order, or let its first two change places."""
        send: Callable[[str], None] = session.send
        held: list[str] = []

        def befall(text: str) -> None:
            if '"subscription"' not in text:
                send(text)
            elif what == "repeated_update":
                send(text)
                send(text)
            elif not held:
                held.append(text)
            else:
                send(text)
                send(held[0])
                session.send = send

        session.send = befall

    def lose_quotes(self, number: InstrumentId) -> None:
        """Drop a subscription, unsaid."""
        channel = f"ticker.{self.book[number].symbol}.100ms"
        for session in self.protocol.api._sessions:
            session.channels.pop(channel, None)

    async def cut_order_stream(self, gateway: Any) -> None:
        """Break the order stream."""
        await gateway._orders.drop()

    def far_below(self, number: InstrumentId) -> Decimal:
        """Return a price at which a buy rests."""
        bid = D(str(self.server.world.ledger.quotes[number].bid))
        return self.book[number].tick_rule.round(bid * D("0.97"), "down")


# Interactive Brokers ----------------------------------------------------------------------------------

Fields = list[str]
Rule = Callable[[Fields], list[Fields]]
"""Takes the fields of a message; returns the messages to pass on in its place."""


def _unchanged(fields: Fields) -> list[Fields]:
    """Pass a message on."""
    return [fields]


class TwsLine:
    """A socket before a TWS port, which changes, drops or adds messages as the vendor's own servers do.

    ``rule``: Of the server's messages; the first of a connection are version and time.
    """

    def __init__(self, rule: Rule = _unchanged) -> None:
        self.server, self.client = rule, _unchanged
        self.asked: list[Fields] = []
        """Messages of the client, in order."""
        self._to_clients: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, port: int) -> None:
        """Listen at :attr:`port`."""
        self._target = port
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more; raise what a rule has raised."""
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        for found in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found

    def tell(self, *fields: object) -> None:
        """Send a message of the server's to every client."""
        for writer in self._to_clients:
            writer.write(_frame([str(field) for field in fields]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._to_clients.append(writer)
        up_writer.write(await reader.readexactly(4))  # API and its end
        head = await reader.readexactly(4)
        up_writer.write(head + await reader.readexactly(int.from_bytes(head, "big")))
        for work in (
            self._pass(reader, up_writer, self._from_client),
            self._pass(up_reader, writer, self._from_server),
        ):
            self._tasks.append(asyncio.create_task(work))

    def _from_server(self, fields: Fields) -> list[Fields]:
        return self.server(fields)  # a test may change it while the connection stands

    def _from_client(self, fields: Fields) -> list[Fields]:
        self.asked.append(fields)
        return self.client(fields)

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rule: Rule) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    body = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                    for fields in rule(body.decode("utf-8", "surrogateescape").split("\0")[:-1]):
                        writer.write(_frame(fields))
        finally:
            writer.close()


def _frame(fields: Fields) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode("utf-8", "surrogateescape")
    return len(body).to_bytes(4, "big") + body


class IbkrBench(_VenueBench):
    """Interactive Brokers: a share and its options, by way of a :class:`TwsLine` where there is a rule."""

    cannot_be_asked: ClassVar[Mapping[str, str]] = {
        "a_server_error_is_never_a_rejection": "TWS answers no request",
        "a_rate_limit_is_said_and_a_cancel_still_goes_through": "TWS limits messages by breaking the line",
        "repeated_and_swapped_messages_change_nothing": "TWS keeps the order of its messages",
    }
    faults: ClassVar[Mapping[str, Fault]] = _SIDES | {
        "lost_answer": Fault("disconnect_after", match="message 3"),
        "lost_order": Fault("disconnect_before", match="message 3"),
        "cancel_too_late": Fault("cancel_too_late"),
    }

    def __init__(self, rule: Rule | None = None) -> None:
        super().__init__(_generated("tws"), Equity("SPY"), 600.0)
        self.line = None if rule is None else TwsLine(rule)

    async def start(self) -> None:
        """Listen."""
        await super().start()
        if self.line is not None:
            await self.line.start(self.protocol.port)

    async def stop(self) -> None:
        """Listen no more."""
        if self.line is not None:
            await self.line.stop()
        await super().stop()

    def setup(self, **changes: Any) -> VenueSetup:
        """Return what a gateway is built with."""
        url = self.protocol.url if self.line is None else f"tws://127.0.0.1:{self.line.port}"
        usual = {"fees": part("scalpdesk_ibkr.venue").VENUE.fees, "clock": SystemClock(), "url": url}
        usual |= {"timeout_seconds": 5.0, "acceptance_seconds": _ACCEPTANCE_SECONDS}
        return VenueSetup(instruments=self.book, **(usual | changes))

    def settings(self, **section: Any) -> Any:
        """Return the section of the venue's settings."""
        return part("scalpdesk_ibkr.settings").IbkrSettings(port=self.protocol.port, **section)

    def gateway(
        self, client_id: int | None = None, section: Mapping[str, Any] | None = None, **changes: Any
    ) -> Any:
        """Return a gateway under the desk's client id, or under another one while that is connected."""
        is_taken = any(each.health().streams["orders"] for each in self.gateways)
        settings = self.settings(client_id=client_id or (2 if is_taken else 1), **(section or {}))
        made = part("scalpdesk_ibkr.venue").VENUE.build(self.setup(**changes), settings)
        self.gateways.append(made)
        return made

    def lose_quotes(self, number: InstrumentId) -> None:
        """Drop a subscription, unsaid."""
        listed = self.server.world.ledger.instruments.id_of(self.book[number].symbol)
        for session in self.protocol.market.clients.values():
            lines = session.lines.lines
            for request_id in [name for name, line in lines.items() if line.number == listed]:
                del lines[request_id]

    async def cut_order_stream(self, gateway: Any) -> None:
        """Break the connection."""
        del gateway
        self.protocol.close_all()


def against(scenario: Callable[[IbkrBench], Awaitable[None]], rule: Rule | None = None) -> None:
    """Run a scenario beside a served market."""

    async def run() -> None:
        bench = IbkrBench(rule)
        await bench.start()
        try:
            await asyncio.wait_for(scenario(bench), _PATIENCE_SECONDS)
        finally:
            await bench.stop()

    asyncio.run(run())


def with_desk(
    scenario: Callable[[IbkrBench, Listener], Awaitable[None]],
    entitlements: Any = None,
    rules: Rule | None = None,
    **plan: Any,
) -> None:
    """Run a scenario with a connected gateway beside a served market."""

    async def connected(bench: IbkrBench) -> None:
        if entitlements is not None:
            bench.protocol.entitle(entitlements)
        gateway = bench.gateway(**plan)
        await gateway.connect()
        desk = Listener(bench, gateway)
        await scenario(bench, desk)
        await desk.close()

    against(connected, rules)


def between(scenario: Callable[[IbkrBench, TwsLine], Awaitable[None]]) -> None:
    """Run a scenario with a served market and the line before it, through which its gateways connect."""

    async def connected(bench: IbkrBench) -> None:
        assert bench.line is not None
        try:
            await scenario(bench, bench.line)
        finally:
            for gateway in bench.gateways:
                await gateway.close(graceful=False)

    against(connected, _unchanged)


# the broker in this process ---------------------------------------------------------------------------

_NO_LINE = dict.fromkeys(
    (
        "a_rejection_carries_the_venues_reason",
        "a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once",
        "a_lost_order_is_absent_only_after_the_horizon",
        "a_server_error_is_never_a_rejection",
        "fills_missed_while_the_stream_was_down_are_found",
        "repeated_and_swapped_messages_change_nothing",
        "a_part_is_filled_and_the_rest_is_cancelled",
        "a_lost_answer_to_two_legs_is_resolved_for_both",
        "a_rate_limit_is_said_and_a_cancel_still_goes_through",
    ),
    "the broker is in this process: there is no line on which something may go wrong",
)


class SandboxBench(AlpacaBench):
    """The market of Alpaca's protocol, orders in the sandbox."""

    cannot_be_asked: ClassVar[Mapping[str, str]] = (
        _NO_LINE
        | dict.fromkeys(
            (
                "an_order_sent_twice_under_one_name_is_one_order",
                "an_order_sent_as_the_line_breaks_is_found_or_proven_absent",
                "a_restart_gives_only_what_the_journal_lacks",
                "a_combo_is_known_again_after_a_restart",
                "a_watchdog_cancels_the_combo_of_a_dead_desk",
                "a_combo_from_elsewhere_is_shown_and_touches_no_order",
            ),
            "its account ends with the process: nothing outlives a gateway",
        )
        | {"an_order_before_connecting_or_after_closing_never_vanishes": "its broker needs no connection"}
    )

    def gateway(self) -> Any:
        """Return a new gateway."""
        hours = AlwaysOpen()
        connection = connect(self.book, hours=hours, is_open=False)
        self.sandbox: Any = SandboxGateway(super().gateway(), connection, SystemClock(), hours)
        return _Subscribed(self.sandbox, [self.share, self.call, self.put])

    def truth(self) -> _ExchangeTruth:
        """Return the broker's own view."""
        return _truth_of(self.sandbox.record)


def _truth_of(record: Any) -> _ExchangeTruth:
    return _ExchangeTruth(
        record.account.cash,
        {one.symbol: one.quantity for one in record.positions()},
        [(one.client_order_id, one.quantity, one.price) for one in record.account.executions],
    )


class _Subscribed:
    """A gateway whose broker has seen a quote of each instrument before the first order."""

    def __init__(self, gateway: SandboxGateway, numbers: Sequence[InstrumentId]) -> None:
        self._gateway = gateway
        self._numbers = numbers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def connect(self, known: Iterable[KnownOrder] = ()) -> AccountFacts:
        facts = await self._gateway.connect(known)
        for quote in await self._gateway.quotes(self._numbers):
            self._gateway.take_quote(quote)
        return facts


class SimulatedBench:
    """A session of a tape, twenty minutes of it in a second."""

    cannot_be_asked: ClassVar[Mapping[str, str]] = _NO_LINE | {
        "a_combo_from_elsewhere_is_shown_and_touches_no_order": "its account has one desk",
        "an_order_before_connecting_or_after_closing_never_vanishes": "its session takes it without one",
        "an_order_sent_twice_under_one_name_is_one_order": "the session notes it as a fault of the desk's",
        "quotes_stream_for_what_is_subscribed_and_nothing_else": "a tape is played whole",
        "quotes_that_are_asked_for_again_go_on_beside_the_others": "a tape is played whole",
    }
    share, call, put = _VenueBench.share, _VenueBench.call, _VenueBench.put
    far_below = _VenueBench.far_below

    def __init__(self) -> None:
        self.book = straddle_book(500)
        builder = TapeBuilder(self.book)
        for minute in range(385):
            when = f"{9 + (31 + minute) // 60:02d}:{(31 + minute) % 60:02d}"
            for number, bid, ask in ((1, 9.00, 9.10), (2, 8.00, 8.10), (0, 499.99, 500.01)):
                builder.quote(number, when, bid, ask, 1_000.0, 1_000.0)
        tape = builder.build()
        self.session = PlayedSession(tape, connect(self.book, hours=TapeHours(tape.sessions), is_open=False))

    async def start(self) -> None:
        """Do nothing: the tape is there."""

    async def stop(self) -> None:
        """Do nothing: nothing is left."""

    def gateway(self) -> Any:
        """Return a new gateway."""
        return _Playing(self.session, FollowingClock(), pace=1_200.0)

    def truth(self) -> _ExchangeTruth:
        """Return the broker's own view."""
        return _truth_of(self.session.record)


class _Playing(SimulatedGateway):
    """A gateway whose market plays as soon as it is connected."""

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        facts = await super().connect(known_orders)
        while len(self.venue.record.connection.broker.ledger.quotes) < 3:
            self._put(*self.venue.step())
        await self.subscribe(())
        return facts
