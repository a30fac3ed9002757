"""What a live runner is told and what it knows of itself."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from scalpdesk.core.events import Event
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.venues.base import Notice, VenueView

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
