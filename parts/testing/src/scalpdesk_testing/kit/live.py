"""A live desk at a venue that the test plays, on a tape, or at a served exchange; in one process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import Clock, FollowingClock, SystemClock
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    Output,
    Purpose,
    Side,
    SubmitOrder,
    VenueCommand,
    orders_of,
)
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.timers import Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.live import run
from scalpdesk.live.core import LiveCore
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.recovery import Start, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner, RunnerOptions
from scalpdesk.live.sessions import DailyUpdate, StopMode
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.plugins import JournalReader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.strategies import EveryQuote, Proposal, Wake
from scalpdesk.venues import (
    AccountFacts,
    Health,
    HoldingsView,
    KnownOrder,
    NoSettings,
    Notice,
    NoticeKind,
    VenueClock,
    VenueOrder,
    VenuePosition,
    VenueSetup,
    VenueSpec,
    VenueView,
)
from scalpdesk.venues.event_queue import EventQueue
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import CASH, Scripted, build_engine
from scalpdesk_testing.kit.desk import order as intent_of
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.journaled_run import journal_header
from scalpdesk_testing.kit.packages import install_points
from scalpdesk_testing.kit.served import AlpacaBench
from scalpdesk_testing.kit.tape import TapeBuilder
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

SHARE = InstrumentId(0)
FAST = RunnerOptions(
    reconcile_seconds=5.0,
    confirm_seconds=0.0,
    resolve_seconds=0.0,
    absent_after_seconds=0.0,
    tick_seconds=0.001,
    most_waiting=1,
    stop=StopMode.LEAVE,
)


async def until(condition: Callable[[], Any], seconds: float = 0.0) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 - the desk is watched from outside, it has no event for this
        await asyncio.sleep(seconds)


class Died(BaseException):
    """The process is gone: no farewell of any kind."""


def follower(*targets: int, limit: str | None = None) -> Scripted:
    """Return a strategy that wants ``targets[i]`` shares at the i-th minute after 10:00."""
    opens_ns = session_on(DAY).open_ns

    def think(view: Any, wake: Wake, event: Event) -> Any:
        minute = (view.now_ns - opens_ns) // 60_000_000_000 - 30
        if view.mode == "HALTED" or minute < 0 or view.market.quotes[SHARE] is None:
            return ()
        target = 0 if view.mode == "FLATTENING" else targets[min(minute, len(targets) - 1)]
        missing = target - view.exposure(SHARE)
        if not missing:
            return ()
        side = Side.BUY if missing > 0 else Side.SELL
        intent = intent_of(side, abs(missing), limit, Purpose.HEDGE)
        return (Proposal(DecisionKind.HEDGE, (f"want {target}",), {}, (intent,)),)

    return Scripted(think, [EveryQuote(SHARE)])


def walk(minutes: int = 6, *, per_minute: int = 4) -> MarketTape:
    """Return a tape with a few quotes a minute from 10:00 on."""
    builder = TapeBuilder()
    step = 60 // per_minute
    for minute in range(minutes):
        for part in range(per_minute):
            builder.spot(f"10:{minute:02d}:{part * step:02d}", 500.0 + minute + 0.1 * part)
    return builder.build()


class DyingCore(LiveCore):
    """Dies at a given step: before the event is journaled, before it is handled, before a command leaves."""

    dies_at: int | None = None
    steps = 0

    def feed(self, event: Event) -> Any:
        self._step()
        commands = super().feed(event)
        self._step()
        return commands

    def _step(self) -> None:
        self.steps += 1
        if self.dies_at is not None and self.steps == self.dies_at:
            raise Died


@dataclass
class LiveBench:
    """One venue, one run, as many lives as wanted.

    ``make_strategy``: Builds the strategy; each life has its own.
    ``latency_ms``: One way to the venue.
    """

    folder: Path
    tape: MarketTape
    make_strategy: Callable[[], Any]
    latency_ms: float = 5.0
    mark_seconds: float = 1e9
    options: RunnerOptions = FAST
    watchdog: Any = None
    core_class: type[DyingCore] = DyingCore
    gateway_class: type[SimulatedGateway] = SimulatedGateway
    limits: RiskLimits | None = None
    said: list[tuple[str, str]] = field(default_factory=list)
    lives: int = 0

    def __post_init__(self) -> None:
        connection = connect(
            self.tape.instruments,
            cash=CASH,
            hours=TapeHours(self.tape.sessions),
            latency_ns=int(self.latency_ms * 1e6),
            is_open=False,
        )
        self.account = connection.account
        self.venue = PlayedSession(self.tape, connection)
        self.run_dir = self.folder / "run"

    def header(self) -> JournalHeader:
        """Return the header of its journal."""
        return journal_header(self.tape.instruments, mode="simulated", data={"account_id": "a"})

    def live(
        self, dies_at: int | None = None, meanwhile: Callable[["LiveBench"], Any] | None = None
    ) -> LiveRunner | None:
        """Live once; None when the desk died."""
        return asyncio.run(self._live(dies_at, meanwhile))

    async def _live(
        self, dies_at: int | None, meanwhile: Callable[["LiveBench"], Any] | None
    ) -> LiveRunner | None:
        self.lives += 1
        is_fresh = not self.run_dir.exists()
        self.engine = build_engine(
            self.make_strategy(), self.tape.instruments, mark_seconds=self.mark_seconds, limits=self.limits
        )
        timers = Timers()
        if is_fresh:
            journal = JournalWriter.create(self.run_dir, self.header())
        else:
            journal = JournalWriter.reopen(self.run_dir, started_ns=1)
            rebuilt = rebuild(JournalReader(self.run_dir), self.engine)
            journal.add_outputs(rebuilt.unwritten)
            timers = rebuilt.timers
        self.gateway = self.gateway_class(self.venue, clock := FollowingClock())
        await self.gateway.connect(known_orders(self.engine))
        core = self.core_class(self.engine, journal, timers)
        core.dies_at = dies_at
        self.core = core
        self.runner = LiveRunner(
            core,
            self.gateway,
            clock,
            self.options,
            notify=lambda *words: self.said.append(words),
            watchdog=self.watchdog,
        )
        helper = None if meanwhile is None else asyncio.get_running_loop().create_task(meanwhile(self))
        try:
            await self.runner.run(Start(is_fresh=is_fresh))
        except Died:
            journal._release()  # what was not written is lost, as with the process
            return None
        finally:
            if helper is not None:
                helper.cancel()
        journal.abandon()
        return self.runner

    @property
    def orders(self) -> list[SubmitOrder]:
        """Every order that reached the venue."""
        return list(self.venue.record.submitted.values())

    def differences(self) -> list[str]:
        """Return where the desk's ledger is not the venue's truth."""
        desk, account = self.engine.desk, self.account
        found = []
        if desk.account.cash != account.cash:
            found.append(f"cash {desk.account.cash} {account.cash}")
        for number in range(len(self.tape.instruments)):
            one = InstrumentId(number)
            ours, theirs = desk.positions.quantity(one), account.quantity(one)
            if ours != theirs:
                found.append(f"{number}: {ours} {theirs}")
        return found + [f"duplicate {name}" for name in self.venue.record.duplicates]


# a venue that the test plays: no sockets, no files, in virtual time ------------------------------------

OPTIONS = RunnerOptions(
    reconcile_seconds=1e9,
    confirm_seconds=0.25,
    tick_seconds=0.5,
    absent_after_seconds=0.0,
    stop=StopMode.LEAVE,
)
"""Looks at the account come from what happens alone."""
SLEEPY = RunnerOptions(reconcile_seconds=1e9, tick_seconds=1e6, stop=StopMode.LEAVE)
"""A process that sleeps until something reaches it."""


class MachineClock(SystemClock):
    """The machine's clock of a virtual loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        """Return UTC nanoseconds."""
        return self._clock.now_ns()


class KeptJournal:
    """A journal in memory.

    ``fails``: Raised for each event that is added.
    ``refuses``: Raised by each flush.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.outputs: list[Output] = []
        self.flushed: list[float] = []
        """When it was flushed, seconds of the loop."""
        self.fails: Exception | None = None
        self.refuses: Exception | None = None

    def add_event(self, event: Event) -> None:
        """Keep an event."""
        if self.fails is not None:
            raise self.fails
        self.events.append(event)

    def replace_event(self, event: Event) -> None:
        """Keep another event in place of the last one."""
        self.events[-1] = event

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep outputs."""
        self.outputs.extend(outputs)

    def flush(self) -> None:
        """Note the time."""
        if self.refuses is not None:
            raise self.refuses
        self.flushed.append(asyncio.get_running_loop().time())


class BenchWatchdog:
    """A watchdog that keeps what it hears, in a log that it may share with the venue."""

    reported_orders: tuple[str, ...] = ()

    def __init__(self, log: list[Any] | None = None, most_beats: float = float("inf")) -> None:
        self.heard = [] if log is None else log
        self.beats, self._most_beats = 0, most_beats

    @property
    def is_alive(self) -> bool:
        return self.beats < self._most_beats

    def beat(self) -> None:
        self.beats += 1

    def started(self) -> None:
        self.heard.append("started")

    def order_sent(self, order: SubmitOrder, parent_id: str = "") -> None:
        self.heard.append(("reported", order.client_order_id, parent_id))

    def holds(self, held: dict[str, Decimal]) -> None:
        """Note what the run holds."""
        self.held = dict(held)

    def order_ended(self, name: str) -> None:
        self.heard.append(("ended", name))

    def begin(self, run_dir: Path) -> None:
        self.heard.append(("begin", run_dir))

    def end(self, *, clean: bool, keeps_positions: bool = False) -> None:
        self.heard.append(("end", clean, keeps_positions))

    def leave(self) -> None:
        self.heard.append("leave")

    def flatten_asked(self, *, flatten: bool) -> None:
        self.heard.append(("flatten asked", flatten))


class BenchGateway:
    """A venue that takes each order, lets it rest and confirms each cancel, until a test sets otherwise."""

    name, takes_combos, account_id, currency = "bench", True, "a", "USD"
    takes_id_once = False

    def __init__(self, book: Instruments, clock: Clock) -> None:
        self._book, self._clock = book, clock
        self._queue = EventQueue()
        self._executions = 0
        self.log: list[Any] = []
        """Commands as they came, among what others write in it."""
        self.cash = CASH
        self.holdings: dict[int, Decimal] = {}
        self.strangers: dict[str, Decimal] = {}
        """Holdings that are not in the run's market, by symbol."""
        self.working: dict[str, SubmitOrder] = {}
        self.bounds: tuple[int, int] = (session_on(DAY).open_ns, session_on(DAY).close_ns)
        """The session under way or the next one, UTC nanoseconds."""
        self.accepts = self.confirms = self.shows = True
        self.answer_seconds = 0.0
        """Time that a view of the account takes; it shows the account as it is at the end."""
        self.compared: Callable[[VenueView], VenueView] = lambda view: view
        self.broken_lines: set[str] = set()
        """Orders whose cancels raise."""
        self.is_broken = False
        """Whether every order raises."""
        self.stream_failures: list[Exception] = []
        self.proofs: dict[str, list[Event]] = {}
        self.taken: set[str] = set()
        """Answers to the queries of orders; no entry: the venue does not know yet."""
        self.queried: list[tuple[float, str]] = []
        self.again: dict[str, SubmitOrder | MultiLegOrder | None] = {}
        """Orders that the latest query of each would have sent again, by id."""
        self.looks: list[tuple[float, int | None]] = []
        """When the account was asked for, seconds of the loop, and since when its fills."""
        self.subscribed: list[int] = []
        self.reconnected: list[str] = []
        self.renewed: list[tuple[float, tuple[int, ...]]] = []
        """When quotes were asked for again, seconds of the loop, and whose."""
        self.silent: dict[str, float] = {}
        self.latest: dict[int, QuoteEvent] = {}

    @property
    def now_ns(self) -> int:
        return self._clock.now_ns()

    @property
    def sent(self) -> list[VenueCommand]:
        return [item for item in self.log if isinstance(item, SubmitOrder | MultiLegOrder | CancelOrder)]

    # the contract ---------------------------------------------------------------------------------

    async def connect(self, known_orders: Iterable[KnownOrder] = ()) -> AccountFacts:
        self.log.append(("connect", [known.submitted.client_order_id for known in known_orders]))
        if not self.shows:
            raise RetryError("no answer")
        return self._facts()

    def _facts(self) -> AccountFacts:
        money = self.cash
        named = self.account_id, "ACTIVE", self.currency
        return AccountFacts(*named, money, money, money, money, 3, may_trade=True, may_short=True)

    async def events(self) -> AsyncIterator[Event | Notice]:
        async for item in self._queue.items():
            yield item
            if self.stream_failures:
                raise self.stream_failures.pop()

    def shortcut(self, take: Callable[[QuoteEvent], bool]) -> None:
        self._queue.shortcut = take

    def put(self, *items: Event | Notice) -> None:
        for item in items:
            self._queue.publish(item)

    def send(self, command: VenueCommand) -> None:
        is_cancel = isinstance(command, CancelOrder)
        if (is_cancel and command.client_order_id in self.broken_lines) or (self.is_broken and not is_cancel):
            raise ValueError("no line")
        self.log.append(command)
        now_ns = self.now_ns
        if isinstance(command, CancelOrder):
            if self.confirms and self.working.pop(command.client_order_id, None) is not None:
                self.put(OrderCancelled(command.client_order_id, now_ns, now_ns, "asked"))
            return
        for order in orders_of(command):
            self.working[order.client_order_id] = order
            if self.accepts:
                self.put(OrderAccepted(order.client_order_id, now_ns, now_ns, f"v-{order.client_order_id}"))

    async def is_taken(self, client_order_id: str) -> bool:
        return client_order_id in self.taken

    async def query_order(
        self, client_order_id: str, again: SubmitOrder | MultiLegOrder | None = None
    ) -> bool:
        self.again[client_order_id] = again
        self.queried.append((asyncio.get_running_loop().time(), client_order_id))
        proof = self.proofs.get(client_order_id)
        self.put(*(proof or ()))
        return proof is not None

    async def snapshot(self, *, fills_since_ns: int | None = None) -> VenueView:
        self.looks.append((asyncio.get_running_loop().time(), fills_since_ns))
        began_ns = self.now_ns
        if self.answer_seconds:
            await asyncio.sleep(self.answer_seconds)
        if not self.shows:
            raise RetryError("no answer")
        positions = [
            VenuePosition(self._book[InstrumentId(number)].symbol, InstrumentId(number), quantity, Decimal(1))
            for number, quantity in self.holdings.items()
            if quantity
        ]
        strangers = [
            VenuePosition(symbol, None, units, Decimal(1)) for symbol, units in self.strangers.items()
        ]
        orders = tuple(self._order(order) for order in self.working.values())
        clock, opening = self._venue_clock(), tuple(positions + strangers)
        return self.compared(VenueView(began_ns, self.now_ns, self._facts(), clock, opening, orders, ()))

    def _order(self, order: SubmitOrder) -> VenueOrder:
        name, symbol = order.client_order_id, self._book[order.instrument_id].symbol
        return VenueOrder(
            name, f"v-{name}", symbol, order.instrument_id, order.side, order.quantity, Decimal(0), None,
            "new", is_open=True, limit_price=order.limit_price, submitted_ns=0,
        )  # fmt: skip

    def _venue_clock(self) -> VenueClock:
        now_ns, (open_ns, close_ns) = self.now_ns, self.bounds
        day_ns = 86_400 * NANOS_PER_SECOND
        while now_ns >= close_ns:
            open_ns, close_ns = open_ns + day_ns, close_ns + day_ns
        is_open = open_ns <= now_ns
        return VenueClock(now_ns, is_open, open_ns + day_ns * is_open, close_ns)

    async def subscribe(self, instrument_ids: Sequence[InstrumentId]) -> None:
        self.subscribed += instrument_ids

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        return tuple(self.latest[number] for number in instrument_ids if number in self.latest)

    def health(self) -> Health:
        streams = dict.fromkeys(("orders", *self.silent), True)
        return Health(streams, dict(self.silent), 0, (), 1_000, {})

    async def reconnect(self, stream: str) -> None:
        self.reconnected.append(stream)

    async def renew_quotes(self, instrument_ids: Sequence[InstrumentId]) -> None:
        self.renewed.append((asyncio.get_running_loop().time(), tuple(instrument_ids)))

    async def close(self, *, graceful: bool = True) -> None:
        self.log.append(("closed", graceful))
        self._queue.close()

    def adopt(self, orders: Sequence[KnownOrder]) -> None:
        """The orders of another desk rest here as its own do."""

    async def cancel_at_venue(self, venue_order_id: str) -> bool:
        return True

    async def connect_to_leave(self) -> str:
        return (await self.connect()).account_id

    async def cancel_all(self) -> bool:
        return True

    async def shown_positions(self) -> HoldingsView:
        return HoldingsView.of(await self.snapshot())

    def waits_for(self) -> tuple[str, ...]:
        return ()

    async def no_history(self, *_: object) -> tuple[()]:
        """Return no bar, split or contract."""
        return ()

    daily_bars = minute_bars = splits = dividends = discover = no_history

    async def resolve(self, symbol: str) -> Equity:
        return Equity(symbol)

    # what happens at the venue ----------------------------------------------------------------------

    def quote(self, bid: float, ask: float, number: int = 0) -> None:
        """Quote an instrument, the share unless another is named."""
        made = QuoteEvent(InstrumentId(number), self.now_ns, self.now_ns, bid, ask, 100.0, 100.0)
        self.latest[number] = made
        self.put(made)

    def fill(self, order: SubmitOrder, price: str) -> None:
        """Fill an order in whole."""
        self._executions += 1
        instrument = self._book[order.instrument_id]
        signed, paid = order.quantity * order.side.sign, Decimal(price)
        self.holdings[order.instrument_id] = self.holdings.get(order.instrument_id, Decimal(0)) + signed
        self.cash -= signed * paid * Decimal(str(getattr(instrument, "multiplier", 1)))
        del self.working[order.client_order_id]
        name, now_ns = order.client_order_id, self.now_ns
        self.put(OrderFilled(name, now_ns, now_ns, f"x{self._executions}", order.quantity, paid, Decimal(0)))

    def notice(self, kind: str, stream: str = "orders", name: str = "lost") -> None:
        """Report a change of a connection."""
        self.put(Notice(NoticeKind(kind), self.now_ns, stream, name, "no pong"))

    def lose_track(self, name: str) -> None:
        """Let an order's status be unknown."""
        self.put(OrderStatusUnknown(name, self.now_ns, self.now_ns, "no answer"))

    def absent(self, name: str) -> OrderNotFound:
        """Return the proof that the venue never had an order."""
        return OrderNotFound(name, self.now_ns, self.now_ns)


def runner_around(engine: TradingEngine) -> LiveRunner:
    """Return a live runner, not started, around an engine that is driven by hand."""
    clock = ManualClock()
    gateway = BenchGateway(engine.desk.instruments, clock)
    return LiveRunner(LiveCore(engine, KeptJournal()), gateway, clock)


class RunnerBench:
    """One run of a live runner.

    ``at``: Seconds from the open of :data:`scalpdesk_testing.kit.instruments.DAY` to the start.
    ``is_on_machine_clock``: Whether the desk's clock is the machine's, which alone shows a process that stood
    still.
    """

    def __init__(
        self,
        strategy: Any = None,
        book: Instruments | None = None,
        *,
        at: float = 1_800.0,
        options: RunnerOptions = OPTIONS,
        with_watchdog: bool = False,
        is_on_machine_clock: bool = False,
        timers: Timers | None = None,
        daily_update: DailyUpdate | None = None,
        **engine: Any,
    ) -> None:
        self.loop = VirtualLoop()
        self.book = straddle_book(expiry=DAY) if book is None else book
        self.started_ns = session_on(DAY).open_ns + int(at * NANOS_PER_SECOND)
        clock: Clock = VirtualClock(self.loop, self.started_ns)
        if is_on_machine_clock:
            clock = MachineClock(clock)
        self.engine = build_engine(strategy or Scripted(), self.book, **{"mark_seconds": 1e9} | engine)
        self.journal = KeptJournal()
        self.gateway = BenchGateway(self.book, clock)
        watchdog: Any = BenchWatchdog(self.gateway.log) if with_watchdog else None
        self.watchdog = watchdog
        self.said: list[tuple[str, str]] = []
        self.watched: list[Event] = []
        self.core = LiveCore(
            self.engine, self.journal, timers, (lambda event, _: self.watched.append(event),)
        )
        self.runner = LiveRunner(
            self.core,
            self.gateway,
            clock,
            options,
            notify=self._notify,
            watchdog=self.watchdog,
            daily_update=daily_update,
        )

    def _notify(self, level: str, text: str) -> None:
        self.said.append((level, text))
        self.gateway.log.append(level)

    def play(self, scenario: Callable[[], Awaitable[Any]] | None = None, start: Start | None = None) -> str:
        """Run, with what happens meanwhile; stop after it unless the run has ended; return the reason."""

        async def whole() -> str:
            running = asyncio.ensure_future(self.runner.run(start))
            acting = asyncio.ensure_future(scenario()) if scenario is not None else running
            await asyncio.wait({running, acting}, return_when=asyncio.FIRST_COMPLETED)
            try:
                if acting.done():
                    acting.result()
                    if not self.runner.state.reason:
                        self.runner.stop(StopMode.LEAVE)
                reason = await running
                assert asyncio.all_tasks() <= {asyncio.current_task(), running, acting}
                return reason
            finally:
                for task in (running, acting):
                    task.cancel()
                await asyncio.gather(running, acting, return_exceptions=True)

        try:
            return self.loop.run_until_complete(whole())
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def wait(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def until_ns(self, at_ns: int) -> None:
        """Let time pass until a market instant."""
        await asyncio.sleep((at_ns - self.gateway.now_ns) / NANOS_PER_SECOND)

    async def order(self) -> SubmitOrder:
        """Quote the share at 500, and return the order with which the strategy answers, once it rests."""
        await self.wait(1.0)
        self.gateway.quote(499.99, 500.01)
        await self.wait(0.1)
        return cast("SubmitOrder", self.gateway.sent[-1])

    def notified(self, level: str) -> list[str]:
        """Return the messages of a level."""
        return [text for told, text in self.said if told == level]

    def fed(self, kind: type) -> list[Any]:
        """Return the journaled events of a kind."""
        return [event for event in self.journal.events if type(event) is kind]


class InstalledVenue:
    """A package that brings the venue ``bench``, and what its gateways were built with.

    ``site``: Folder that is put where Python looks for packages.
    """

    built: ClassVar[list[tuple[VenueSetup, BenchGateway]]] = []
    account_id: ClassVar[str] = "a"
    prepare: ClassVar[Callable[[BenchGateway], None]]
    """Called with each gateway that is built."""

    def __init__(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        points = {"scalpdesk.venues": {"bench": "scalpdesk_testing.kit.live:VENUE"}}
        install_points(site, "bench-venue", points)
        monkeypatch.syspath_prepend(site)
        self.built.clear()
        type(self).account_id, type(self).prepare = "a", staticmethod(lambda gateway: None)

    @classmethod
    def build(cls, setup: VenueSetup, _: NoSettings) -> Any:
        gateway = BenchGateway(setup.instruments, setup.clock)
        gateway.account_id = cls.account_id
        cls.prepare(gateway)
        cls.built.append((setup, gateway))
        return gateway


VENUE = VenueSpec(name="bench", build=InstalledVenue.build, settings=NoSettings, fees=ALPACA_FEES)
KEYS = {"TRADING_API_KEY": "key-of-a-test", "TRADING_API_SECRET": "secret-of-a-test"}


def bench_plan(
    folder: Path, *overrides: str, strategy: str = "st0cka", environ: dict[str, str] = KEYS, **plan: Any
) -> LivePlan:
    """Return the plan of a run at the installed venue, with all its files in a folder."""
    own = [f"desk.runs_dir={folder / 'runs'}", f"data.catalog={folder}"]
    settings = load_settings(strategy, overrides=[*own, *overrides], environ=environ, cwd=folder)
    usual: dict[str, Any] = {"state": folder, "venue": "bench"}
    return LivePlan(settings, **(usual | plan))


# whole runs at that venue, from start to end -----------------------------------------------------------

SESSION = session_on(DAY)
_QUICK = RunnerOptions(
    reconcile_seconds=1e9,
    confirm_seconds=0.0,
    absent_after_seconds=0.0,
    tick_seconds=0.001,
    flatten_seconds=0.05,
    hold_seconds=0.05,
    stop=StopMode.HOLD,
)


class Life:
    """Runs at the installed venue, one after another, by a clock that the test sets."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.venue = InstalledVenue(tmp_path / "site", monkeypatch)
        self.plan = bench_plan(tmp_path, runner=_QUICK)
        self.clock = ManualClock(SESSION.open_ns + 60 * 10**9)
        self.said: list[tuple[str, ...]] = []
        self.log: list[Any] = []
        self.desks: list[Any] = []
        self.watchdog = BenchWatchdog(self.log)
        self.prepares: Callable[[Any], object] = lambda gateway: None
        self.on_ready: Callable[[Any], None] = self.desks.append
        type(self.venue).prepare = staticmethod(self._prepare)

    def _prepare(self, gateway: BenchGateway) -> None:
        gateway.log = self.log
        self.prepares(gateway)

    @property
    def gateway(self) -> BenchGateway:
        """The gateway of the latest run."""
        return self.venue.built[-1][1]

    def run(
        self,
        meanwhile: Callable[[Any], Awaitable[Any]] | None = None,
        *,
        gateway: Any = None,
        watchdog: Any = None,
        **options: Any,
    ) -> Any:
        """Run to the end; return the summary. Without anything meanwhile the run is stopped at once."""
        plan = replace(self.plan, runner=replace(_QUICK, **options))

        async def whole() -> Any:
            running = asyncio.create_task(
                run.carry_out(
                    plan,
                    notify=lambda *words: self.said.append(words),
                    clock=self.clock,
                    gateway=gateway,
                    watchdog=watchdog,
                    on_ready=self.on_ready,
                )
            )
            await until(lambda: self.desks or running.done(), 0.001)
            if not running.done():
                desk = self.desks[0]
                await until(lambda: desk.runner.state.recovered_seconds is not None or running.done(), 0.001)
            if not running.done():
                if meanwhile is None:
                    desk.runner.stop(StopMode.LEAVE)
                else:
                    await meanwhile(desk)
            return await running

        return asyncio.run(asyncio.wait_for(whole(), 120.0))

    def ended(self) -> list[Any]:
        """Return what ended the runs, as it was heard."""
        return [
            item
            for item in self.log
            if item == "leave" or (type(item) is tuple and item[0] in ("end", "closed"))
        ]


# at a served exchange ----------------------------------------------------------------------------------

BRISK = RunnerOptions(
    reconcile_seconds=0.15,
    confirm_seconds=0.05,
    resolve_seconds=0.05,
    absent_after_seconds=0.2,
    tick_seconds=0.01,
    stop=StopMode.LEAVE,
)


class VenueDesk:
    """Runs a desk that decides nothing against a served exchange."""

    def __init__(self, folder: Path, bench: AlpacaBench, options: RunnerOptions = BRISK) -> None:
        self.run_dir = folder / "run"
        self.bench = bench
        self.said: list[tuple[str, str]] = []
        self.engine = build_engine(Scripted(), bench.book, limits=RiskLimits())
        self._options = options

    @property
    def desk(self) -> Any:
        """The engine's desk."""
        return self.engine.desk

    def live(self, meanwhile: Callable[["VenueDesk"], Awaitable[None]]) -> None:
        """Live until ``meanwhile`` is through."""
        asyncio.run(asyncio.wait_for(self._live(meanwhile), 120))

    async def _live(self, meanwhile: Callable[["VenueDesk"], Awaitable[None]]) -> None:
        await self.bench.start()
        header = journal_header(self.bench.book, venue="alpaca", mode="paper", data={"account_id": "a"})
        journal = JournalWriter.create(self.run_dir, header)
        self.gateway = self.bench.gateway()
        try:
            facts = await self.gateway.connect()
            self.desk.account.cash = facts.cash
            core = LiveCore(self.engine, journal)
            self.runner = LiveRunner(
                core,
                self.gateway,
                SystemClock(),
                self._options,
                notify=lambda *words: self.said.append(words),
            )
            running = asyncio.create_task(self.runner.run(Start()))
            watched = asyncio.ensure_future(meanwhile(self))
            await asyncio.wait({running, watched}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                watched.cancel()
            else:
                self.runner.stop(StopMode.LEAVE)
            await running
            await watched
        finally:
            await self.gateway.close(graceful=False)
            journal.abandon()
            await self.bench.stop()

    def events(self, kind: type[Event] | Any = PositionChanged) -> list[Any]:
        """Return what the journal holds of a kind."""
        return [
            event
            for step, _ in JournalReader(self.run_dir).steps()
            for event in step
            if isinstance(event, kind)
        ]
