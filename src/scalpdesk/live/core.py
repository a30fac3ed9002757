"""The synchronous middle of a live desk: journal, engine, timers. No waiting, no network, no clock.

Whoever feeds it an event gets the commands that may now leave: they are on disk by then. Everything
is fed through :meth:`LiveCore.feed`, so that the journal alone rebuilds the engine.

What a live runner is told and what it knows of itself.
"""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from scalpdesk.core.events import CancelRejected as CancelRefused
from scalpdesk.core.events import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    SessionEvent,
    TimerEvent,
)
from scalpdesk.core.events import FillBusted as Busted
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    MultiLegOrder,
    Output,
    ReplaceOrder,
    SetTimer,
    SubmitOrder,
    VenueCommand,
)
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.venues.contract import Notice, VenueView

DECISIONS_KEPT = 2_000
NEVER_NS = 2**63 - 1
Watcher = Callable[[Event, tuple[Output, ...]], None]
"""Sees each event that led to outputs, after the outputs are journaled."""

_ORDER_EVENTS = frozenset(
    {
        OrderAccepted,
        OrderRejected,
        OrderFilled,
        OrderCancelled,
        OrderExpired,
        CancelRefused,
        OrderStatusUnknown,
        OrderNotFound,
        Busted,
    }
)
_COMMANDS = frozenset({SubmitOrder, CancelOrder, ReplaceOrder, MultiLegOrder})
_SYNCED_BY_JOURNAL = frozenset({SubmitOrder, CancelOrder})


class Journal(Protocol):
    """What the core writes to."""

    def add_event(self, event: Event) -> None:
        """Add one input of the engine, before the engine handles it."""
        ...

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add what the engine gave; on return a command in it is on disk."""
        ...

    def flush(self) -> None:
        """Write everything pending; it is on disk on return."""
        ...


class UnmatchedOrderEvent(msgspec.Struct, frozen=True):
    """A venue's word that fits no order of the desk: kept aside, never booked, never dropped silently."""

    event: Event
    why: str


class Timers:
    """Timers that the engine asked for, as data: a replay rebuilds them from the outputs."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0

    @property
    def due_ns(self) -> int:
        """When the next one is due, UTC nanoseconds."""
        return self._heap[0][0] if self._heap else NEVER_NS

    def add(self, timer: SetTimer) -> None:
        """Remember a timer."""
        self._count += 1
        heapq.heappush(self._heap, (timer.due_ns, self._count, timer.name))

    def pop(self) -> tuple[int, str]:
        """Take the next one out: when it was due and its name."""
        due_ns, _, name = heapq.heappop(self._heap)
        return due_ns, name

    def forget(self, due_ns: int, name: str) -> None:
        """Take out one that a journal shows as fired."""
        for entry in self._heap:
            if entry[0] == due_ns and entry[2] == name:
                self._heap.remove(entry)
                heapq.heapify(self._heap)
                return

    def clear(self) -> None:
        """Forget all: the session is over."""
        self._heap.clear()

    def note(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Follow one handled event: what it fired, what it asked for, what a close ends."""
        if type(event) is TimerEvent:
            self.forget(event.ts_event_ns, event.name)
        for output in outputs:
            if type(output) is SetTimer:
                self.add(output)
        if type(event) is SessionEvent and event.phase == "close":
            self.clear()


class LiveCore:
    """Journals, handles, and returns what may be sent.

    Parameters
    ----------
    engine
        What decides.
    journal
        Where inputs and outputs go; a command in outputs is on disk when ``add_outputs`` returns.
    timers
        Timers already asked for (after a recovery).
    watchers
        Called with each event that led to outputs, once its commands have been handed over.
    """

    def __init__(
        self,
        engine: TradingEngine,
        journal: Journal,
        timers: Timers | None = None,
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.timers = timers or Timers()
        self.events = 0
        self.decisions: deque[tuple[int, Decision]] = deque(maxlen=DECISIONS_KEPT)
        """The latest decisions with their numbers, counted from 1 over the run."""
        self.quarantine: list[UnmatchedOrderEvent] = []
        self.counters: Counter[str] = Counter()
        self._decision_count = 0
        self._watchers = watchers
        self._untold: tuple[Event, tuple[Output, ...]] | None = None

    def feed(self, event: Event) -> tuple[VenueCommand, ...]:
        """Take one event in; return the commands that follow, each of them on disk.

        An event stamped before the one handled last is stamped anew: the desk knows it now. A word
        about an order that the desk never sent, or one that would fill it beyond its quantity, goes
        to :attr:`quarantine` and nowhere else.

        Raises
        ------
        StopError
            When the disk refuses (nothing of what followed may be sent), or the ledger contradicts
            itself.
        """
        engine = self.engine
        self.inform()
        if event.ts_recv_ns < engine.now_ns:
            event = msgspec.structs.replace(event, ts_recv_ns=engine.now_ns)
        kind = type(event)
        if kind in _ORDER_EVENTS:
            why = self._misfit(event)
            if why is not None:
                self.quarantine.append(UnmatchedOrderEvent(event, why))
                self.counters["quarantined"] += 1
                return ()
        self.events += 1
        self.journal.add_event(event)
        outputs = engine.handle(event)
        if not outputs:
            if kind is SessionEvent:
                self.timers.note(event, outputs)
            return ()
        self.journal.add_outputs(outputs)
        self.timers.note(event, outputs)
        commands = self.note_outputs(outputs)
        if commands and any(type(one) not in _SYNCED_BY_JOURNAL for one in commands):
            self.journal.flush()
        self._untold = (event, outputs)
        if not commands:
            self.inform()
        return commands

    def inform(self) -> None:
        """Tell the watchers what was last fed, if they were not told; an order need not wait for them."""
        if self._untold is None:
            return
        event, outputs = self._untold
        self._untold = None
        for watcher in self._watchers:
            watcher(event, outputs)

    def note_outputs(self, outputs: tuple[Output, ...]) -> tuple[VenueCommand, ...]:
        """Remember the decisions among outputs and return the commands."""
        commands: list[VenueCommand] = []
        for output in outputs:
            kind = type(output)
            if kind in _COMMANDS:
                commands.append(output)  # type: ignore[arg-type]  # the set names exactly these classes
            elif type(output) is Decision:
                self._decision_count += 1
                self.decisions.append((self._decision_count, output))
        return tuple(commands)

    def next_timer(self, now_ns: int) -> TimerEvent | None:
        """Take out the next timer that is due by ``now_ns``."""
        if self.timers.due_ns > now_ns:
            return None
        due_ns, name = self.timers.pop()
        return TimerEvent(due_ns, max(due_ns, self.engine.now_ns), name)

    def _misfit(self, event: Event) -> str | None:
        """Say why a venue's word cannot be booked, or None."""
        order = self.engine.desk.orders.orders.get(event.client_order_id)  # type: ignore[union-attr]
        if order is None:
            return "the desk never sent this order"
        if type(event) is not OrderFilled or order.has_seen(event.execution_id):
            return None
        if not event.quantity.is_finite() or event.quantity <= 0 or not event.price.is_finite():
            return f"an execution of {event.quantity} at {event.price}"
        if order.filled + event.quantity > order.submitted.quantity:
            return f"fills {order.filled + event.quantity} of {order.submitted.quantity}"
        return None


STOPS = ("leave", "hold", "flatten")


class Pulse(Protocol):
    """The line to the watchdog."""

    @property
    def is_alive(self) -> bool:
        """False when nobody watches any more."""
        ...

    def beat(self) -> None:
        """Say that the loop turns."""
        ...

    def sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        ...

    def over(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        ...


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How a runner behaves; times in seconds.

    Parameters
    ----------
    reconcile_seconds
        Between two views of the account.
    confirm_seconds
        Between the two views that must agree on a difference.
    resolve_seconds
        Between two questions about one doubted order (grows to ten times as much).
    absent_after_seconds
        How long after a start an order of the run before may still come to be accepted: its absence
        proves nothing earlier.
    silent_seconds
        Without a message from a data stream in an open session, its connection is renewed; 0 never.
    flush_seconds
        Between two group commits of what led to nothing.
    tick_seconds
        Longest time in which a due timer is not looked at.
    deadline_margin_seconds
        How long before the venue's cut-off expiring options begin to go.
    flatten_seconds
        How long a stop waits for the venue to show a flat account.
    most_waiting
        Items in the queue from which on the venue's stream waits; 1 keeps a simulated market in step.
    rolls
        End before a further session when the desk holds nothing, for a run of its own to follow.
    sessions
        Stop after so many closes; None goes on until asked.
    stop
        What is done with positions and orders at the end: ``leave``, ``hold`` or ``flatten``.
    """

    reconcile_seconds: float = 60.0
    confirm_seconds: float = 1.0
    resolve_seconds: float = 1.0
    absent_after_seconds: float = 10.0
    silent_seconds: float = 60.0
    flush_seconds: float = 1.0
    tick_seconds: float = 0.05
    deadline_margin_seconds: float = 300.0
    flatten_seconds: float = 120.0
    most_waiting: int = 2_000
    rolls: bool = False
    sessions: int | None = None
    stop: str = "hold"


@dataclass(slots=True)
class Operation:
    """Something a person asks for; ``answer`` is done once it is handled."""

    action: str
    reason: str
    who: str
    answer: "asyncio.Future[dict[str, Any]] | None" = None


@dataclass(slots=True)
class Start:
    """What a run begins with.

    Parameters
    ----------
    opening
        Events that a fresh run is told first (rates, open interest, forecasts).
    is_fresh
        False when a journal was replayed.
    lapsed_stop
        True when the run before ended by an orderly stop: its halt is lifted by this start.
    who
        The person who starts.
    """

    opening: tuple[Event, ...] = ()
    is_fresh: bool = True
    lapsed_stop: bool = False
    who: str = "operator"


@dataclass(slots=True)
class Viewed:
    """The account as the venue showed it, on its way through the queue."""

    view: VenueView
    why: str


@dataclass(slots=True)
class Ended:
    """The run is to end."""

    why: str


Item = Event | Notice | Operation | Viewed | Ended
"""What goes through the one queue."""


@dataclass(slots=True)
class RunnerState:
    """What a runner knows of itself, for ``status``."""

    reason: str = ""
    """Why the run ended; empty while it runs."""
    closes: int = 0
    order_events: int = 0
    last_view: VenueView | None = None
    counters: Counter[str] = field(default_factory=Counter)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=50))
    recovered_seconds: float | None = None
