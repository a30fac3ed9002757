"""The synchronous middle of a live desk: journal, engine, timers. No waiting, no network, no clock.

Whoever feeds it an event gets the commands that may now leave: they are on disk by then. Everything
is fed through :meth:`LiveCore.feed`, so that the journal alone rebuilds the engine.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from scalpdesk.core.events import CancelRejected as CancelRefused
from scalpdesk.core.events import (
    Event,
    OrderAbsent,
    OrderAccepted,
    OrderCancelled,
    OrderDoubted,
    OrderExpired,
    OrderFilled,
    OrderRejected,
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
        OrderDoubted,
        OrderAbsent,
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


class Quarantined(msgspec.Struct, frozen=True):
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
        self.quarantine: list[Quarantined] = []
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
                self.quarantine.append(Quarantined(event, why))
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
