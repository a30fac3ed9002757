"""Synchronous core of a live desk: journal, engine and timers; no waiting, no network, no clock.

Beside it the channel to a strategy folder, which answers in a thread of its own.

Every input goes through :meth:`LiveCore.feed`, so the journal alone rebuilds the engine. A command that
``feed`` returns is on disk.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, Protocol

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
    Event,
    FailedEvent,
    FolderAnswered,
    OrderEvent,
    OrderFilled,
    QuoteEvent,
    TimerEvent,
    UnmatchedOrderEvent,
    is_order_event,
)
from scalpdesk.core.intents import AskFolder, Decision, Output, VenueCommand, is_command
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.engine.timers import LossTimer, Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.account_mode import ModeKeeper
from scalpdesk.live.supervision import FaultError, describe
from scalpdesk.strategies.contract import Answerer

_DECISIONS_KEPT = 2_000
MOST_AHEAD_NS = 15 * MINUTE_NS
"""An event is past: a time farther ahead of the desk's than clocks go wrong is not its own."""
Watcher = Callable[[Event, tuple[Output, ...]], None]
"""Sees each event that led to outputs, after the outputs are journaled."""


class _DurableJournal(Protocol):
    """Append-only log of inputs and outputs."""

    def add_event(self, event: Event) -> None:
        """Add one input of the engine, before the engine handles it; InvariantError if it cannot hold it."""
        ...

    def replace_event(self, event: Event) -> None:
        """Put another event in place of the one added last."""
        ...

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add the engine's outputs; on return the commands among them are on disk."""
        ...

    def flush(self) -> None:
        """Write everything pending; it is on disk on return."""
        ...


class DecisionLog:
    """The latest decisions of a run with their numbers, counted from 1 over all its lives."""

    def __init__(self) -> None:
        self.latest: deque[tuple[int, Decision]] = deque(maxlen=_DECISIONS_KEPT)
        self._count = 0

    def note(self, decision: Decision) -> None:
        """Keep a decision under the next number."""
        self._count += 1
        self.latest.append((self._count, decision))


class LiveCore:
    """Journals an event, lets the engine handle it, and returns the commands that may be sent.

    ``timers``: Timers set before, after a recovery.
    ``watchers``: Called with each event that led to outputs, once its commands have been handed over.
    ``decided``: Decisions of the run's lives before this one.
    ``modes``: Records the account's mode before anything follows from its change.
    ``fold``: Called with each event but the quotes that led to nothing, before the watchers.
    """

    def __init__(
        self,
        engine: TradingEngine,
        journal: _DurableJournal,
        timers: Timers | None = None,
        watchers: tuple[Watcher, ...] = (),
        decided: DecisionLog | None = None,
        modes: ModeKeeper | None = None,
        fold: Watcher | None = None,
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.timers = timers or Timers()
        self._loss = LossTimer(engine.desk)
        self.events = 0
        self._decided = decided or DecisionLog()
        self.decisions = self._decided.latest
        self.counters: Counter[str] = Counter()
        self._watchers, self._fold = watchers, fold
        self._unwatched: tuple[Event, tuple[Output, ...]] | None = None
        self._fault: FaultError | None = None
        self.modes = modes
        self.on_refused: Callable[[Event, str], None] = lambda _event, _why: None
        """Called with an event that neither the journal nor the engine takes, and the reason."""
        self._desk_mode = engine.desk.gate.desk_mode
        self._mode = self._desk_mode.state

    @property
    def due_ns(self) -> int:
        """When the next timer is due, UTC nanoseconds."""
        return min(self.timers.due_ns, self._loss.due_ns)

    def feed(self, event: Event) -> tuple[VenueCommand, ...]:
        """Handle one event; return the commands that follow, each of them on disk.

        An event stamped before the last handled event gets the engine's time. An order
        event that matches no order of the desk, or would fill one beyond its quantity, becomes an
        :class:`UnmatchedOrderEvent`, which is on disk at once. An event that no journal can hold, and a quote
        of the future, are refused: nothing follows from them. An event on which the engine raises becomes a
        :class:`FailedEvent`: a replay leaves it out, and comes to the state before it.

        Raises StopError when the disk refuses: nothing that followed may be sent. Raises FaultError when the
        engine raised. Its state is not sound any more: this core takes no other event.
        """
        engine = self.engine
        if self._fault is not None:
            raise self._fault
        self.inform_watchers()
        if event.ts_recv_ns < engine.now_ns:
            event = msgspec.structs.replace(event, ts_recv_ns=engine.now_ns)
        try:
            event = self._admitted(event)
            self.journal.add_event(event)
        except InvariantError as error:
            self.counters["refused"] += 1
            self.on_refused(event, error.what)
            return ()
        self.events += 1
        try:
            outputs = engine.handle(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the desk goes on from its journal
            self._fail(event, error)
        if type(event) is UnmatchedOrderEvent:
            self.journal.flush()
        if self._desk_mode.state is not self._mode:
            self._mode = self._desk_mode.state
            if self.modes is not None:
                self.modes.keep(self._mode)
        if outputs:
            try:
                self.journal.add_outputs(outputs)
            except InvariantError as error:  # a strategy's facts that no journal can hold
                self._fail(event, error)
        elif type(event) is QuoteEvent:
            return ()
        self.timers.note(event, outputs)
        self._loss.plan(event.ts_recv_ns)
        if not outputs:
            if self._fold is not None:
                self._fold(event, ())
            return ()
        commands = self.note_outputs(outputs)
        self._unwatched = (event, outputs)
        if not commands:
            self.inform_watchers()
        return commands

    def _admitted(self, event: Event) -> Event:
        """Return an event as the engine takes it; InvariantError for a quote of the future."""
        if event.ts_event_ns > event.ts_recv_ns + MOST_AHEAD_NS:
            if type(event) is QuoteEvent:  # it would never grow old
                raise InvariantError(f"its time is ahead of the desk's: {event.ts_event_ns} ns")
            if is_order_event(event):  # others announce: a split is stamped with the open that brings it
                event = msgspec.structs.replace(event, ts_event_ns=event.ts_recv_ns)
        if is_order_event(event):
            why = self._mismatch(event)
            if why is not None:
                self.counters["quarantined"] += 1
                return UnmatchedOrderEvent(event, event.ts_event_ns, event.ts_recv_ns, why)
        return event

    def _fail(self, event: Event, error: Exception) -> NoReturn:
        """Record that the engine raised on an event, and take no other one."""
        assert type(event) is not FailedEvent
        what = f"{type(event).__name__} failed: {describe(error)}".encode(errors="backslashreplace").decode()
        self._fault = FaultError(what, where="engine")
        self.journal.replace_event(FailedEvent(event, event.ts_event_ns, event.ts_recv_ns, what))
        self.journal.flush()
        raise self._fault from error

    def inform_watchers(self) -> None:
        """Call the watchers with the event fed last, unless they have seen it; no order waits for them."""
        if self._unwatched is None:
            return
        event, outputs = self._unwatched
        self._unwatched = None
        if self._fold is not None:
            self._fold(event, outputs)
        for watcher in self._watchers:
            watcher(event, outputs)

    def note_outputs(self, outputs: tuple[Output, ...]) -> tuple[VenueCommand, ...]:
        """Keep the decisions among outputs and return the commands."""
        commands: list[VenueCommand] = []
        for output in outputs:
            if type(output) is Decision:
                self._decided.note(output)
            elif is_command(output):
                commands.append(output)
        return tuple(commands)

    def next_timer(self, now_ns: int) -> TimerEvent | None:
        """Remove the next timer that is due by ``now_ns``; return it as an event unless it finds nothing."""
        if self.due_ns > now_ns:
            return None
        if self._loss.due_ns < self.timers.due_ns:
            return self._loss.judge(max(now_ns, self.engine.now_ns))
        due_ns, name = self.timers.pop()
        return TimerEvent(due_ns, max(due_ns, self.engine.now_ns), name)

    def _mismatch(self, event: OrderEvent) -> str | None:
        """Return why an order event cannot be applied, or None."""
        order = self.engine.desk.orders.orders.get(event.client_order_id)
        if order is None:
            return "the desk never sent this order"
        if type(event) is not OrderFilled or order.has_seen(event.execution_id):
            return None
        if not event.quantity.is_finite() or event.quantity <= 0 or not event.price.is_finite():
            return f"an execution of {event.quantity} at {event.price}"
        if order.filled + event.quantity > order.submitted.quantity:
            return f"fills {order.filled + event.quantity} of {order.submitted.quantity}"
        return None


class FolderChannel:
    """Carries a live desk's requests to its strategy folder, and the answers to the desk's queue.

    Whatever goes wrong while an answer is made is an answer that refuses the request.

    With ``in_step`` it answers at once, before anything else happens: for a market that waits. Otherwise the
    folder answers in a thread of its own and holds nothing up.
    """

    def __init__(self, answerer: Answerer, clock: Clock, *, in_step: bool) -> None:
        self._answerer = answerer
        self._clock = clock
        self._thread = None if in_step else ThreadPoolExecutor(1, "strategy-folder")
        self._put: Callable[[FolderAnswered], None] = lambda _answer: None
        self._is_closed = False

    def deliver_to(self, put: Callable[[FolderAnswered], None]) -> None:
        """Set where the answers go: the queue of the live runner."""
        self._put = put

    def recall(self, asks: Iterable[AskFolder], awaited: Collection[int] = ()) -> None:
        """Let a folder that starts afresh see what the one before it saw.

        ``asks`` are all requests of the run so far, in order; answers to those ``awaited`` are delivered, the
        others are known already.
        """
        for ask in asks:
            answer = self._answer(ask, self._clock.now_ns())
            if ask.request in awaited:
                self._put(answer)

    def see(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Post the folder requests among the outputs of an event; the live core calls it after each."""
        for output in outputs:
            if type(output) is not AskFolder or self._is_closed:
                continue
            if self._thread is None:
                self._put(self._answer(output, event.ts_recv_ns))
            else:
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(self._thread, self._answer, output, self._clock.now_ns())
                work.add_done_callback(self._deliver)

    def close(self) -> None:
        """End the folder's process; an answer under way is not waited for."""
        self._is_closed = True
        if self._thread is not None:
            self._answerer.abort()
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._answerer.close()

    def _answer(self, ask: AskFolder, now_ns: int) -> FolderAnswered:
        try:
            return self._answerer.answer(ask, now_ns)
        except Exception as error:  # noqa: BLE001 - the strategy must not wait for ever, nor the desk end
            failure = f"request: {type(error).__name__}: {error}"[:300]
            return FolderAnswered(
                now_ns, now_ns, ask.request, (), (failure,), owner=ask.owner, is_given_up=True
            )

    def _deliver(self, work: "asyncio.Future[FolderAnswered]") -> None:
        if not self._is_closed and not work.cancelled():
            now_ns = self._clock.now_ns()
            self._put(msgspec.structs.replace(work.result(), ts_event_ns=now_ns, ts_recv_ns=now_ns))
