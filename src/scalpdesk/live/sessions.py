"""Sessions and deadlines of a live desk: what the calendar and the venue's clock make happen.

What is due when: sessions, the venue's deadlines, and the desk's own rounds. Pure.

What a run that lasts for days does before each further session: end for the next run, or learn anew.

How a run ends in order: what a stop asks of the engine, and when it is done.
"""

import heapq
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import date
from typing import Any

from scalpdesk.core.errors import ArgumentError, Notify, RetryError
from scalpdesk.core.events import Event, OperatorEvent, SessionEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import CAUTIOUS, VENUE_CUTOFFS
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, is_session, session_on, to_new_york
from scalpdesk.venues.contract import VenueClock, VenueView

MINUTE_NS = 60 * NANOS_PER_SECOND
NEVER_NS = 2**63 - 1


def deadline_ns(contract: OptionContract, venue: str, margin_seconds: float) -> int:
    """Return when a holding in an expiring option must begin to go, in UTC nanoseconds.

    The cut-off of ``venue`` for the contract, counted from the close of its own last session (half days
    included), less ``margin_seconds``. A venue whose rule is not known counts as a strict one.
    """
    minutes = VENUE_CUTOFFS.get(venue, CAUTIOUS).of(contract.underlying)
    return expiry_instant_ns(contract) - int(minutes * MINUTE_NS) - int(margin_seconds * NANOS_PER_SECOND)


def session_of(clock: VenueClock) -> Session:
    """Return the session under way at the venue, or its next one.

    The venue's clock leads (a simulated exchange may be open at night); where the exchange calendar
    has the same session, its bounds are taken.
    """
    if clock.is_open:
        day = to_new_york(clock.next_close_ns).date()
        known = _on_calendar(day)
        if known is not None and abs(known.close_ns - clock.next_close_ns) < NANOS_PER_SECOND:
            return known
        return Session(day, min(clock.now_ns, clock.next_close_ns - 1), clock.next_close_ns)
    day = to_new_york(clock.next_open_ns).date()
    known = _on_calendar(day)
    if known is not None and abs(known.open_ns - clock.next_open_ns) < NANOS_PER_SECOND:
        return known
    return Session(day, clock.next_open_ns, max(clock.next_close_ns, clock.next_open_ns + 1))


def _on_calendar(day: date) -> Session | None:
    try:
        return session_on(day) if is_session(day) else None
    except (ArgumentError, ValueError):  # the calendar does not reach so far
        return None


class Agenda:
    """Named things of the desk itself that are due at an instant; none of them reaches the journal."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0
        self._current: dict[str, int] = {}

    @property
    def due_ns(self) -> int:
        """When the next one is due, UTC nanoseconds."""
        while self._heap and self._current.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER_NS

    def put(self, name: str, due_ns: int) -> None:
        """Set ``name`` to be due; an earlier date of the same name is forgotten."""
        self._count += 1
        self._current[name] = self._count
        heapq.heappush(self._heap, (due_ns, self._count, name))

    def drop(self, names: Iterable[str]) -> None:
        """Forget these."""
        for name in names:
            self._current.pop(name, None)

    def pop(self, now_ns: int) -> tuple[str, int] | None:
        """Take out the next one that is due by ``now_ns``: its name and its date."""
        due_ns = self.due_ns
        if due_ns > now_ns:
            return None
        _, _, name = heapq.heappop(self._heap)
        self._current.pop(name, None)
        return name, due_ns


Feed = Callable[[Event], list[VenueCommand]]
MORNING_NS = 600 * NANOS_PER_SECOND
"""Before a further session opens."""


class SessionCalendar:
    """Opens and closes sessions and calls the deadline of expiring options.

    Parameters
    ----------
    engine
        What is told.
    feed
        Takes an event in and returns the commands that follow.
    say
        Told what a person should know.
    margin_seconds
        How long before the venue's cut-off expiring options begin to go.
    on_close
        Called after a session has closed; returns commands.
    on_morning
        Called some minutes before a further session opens.
    """

    def __init__(
        self,
        engine: TradingEngine,
        feed: Feed,
        say: Notify,
        margin_seconds: float,
        on_close: Callable[[], list[VenueCommand]],
        on_morning: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._feed = feed
        self._say = say
        self._margin_seconds = margin_seconds
        self._on_close = on_close
        self._on_morning = on_morning
        self.has_closed = False
        """A session of the run is over: the next one is a further one."""
        self.flattened_by_deadline = False
        """The desk left ``ACTIVE`` because options expired, and nobody has said anything since."""
        self.session: Session | None = None
        """The session under way or the next one, by the venue's clock."""
        self._agenda = Agenda()
        self._on_due: dict[str, Callable[[int], list[VenueCommand]]] = {
            "open": self._open_session,
            "close": self._close_session,
            "deadline": self._at_deadline,
            "morning": self._morning,
        }

    @property
    def due_ns(self) -> int:
        """When something is due next, UTC nanoseconds."""
        return self._agenda.due_ns

    def fire(self, now_ns: int) -> list[VenueCommand]:
        """Let the next thing happen that is due by ``now_ns``."""
        due = self._agenda.pop(now_ns)
        return [] if due is None else self._on_due[due[0]](due[1])

    def plan(self, view: VenueView) -> None:
        """Set the session's dates from the venue's clock."""
        found = session_of(view.clock)
        current = self._engine.desk.view.session
        if current is not None and view.ts_event_ns < current.close_ns:
            self._agenda.put("close", current.close_ns + 1)
            self.session = current
            return
        if current is not None:
            self._agenda.put("close", current.close_ns + 1)
        elif self.session is None or self.session.day != found.day or self.session.close_ns < found.close_ns:
            self._agenda.put("open", found.open_ns)
            if self.has_closed:
                self._agenda.put("morning", found.open_ns - MORNING_NS)
        self.session = found

    def _open_session(self, due_ns: int) -> list[VenueCommand]:
        session = self.session
        if session is None or self._engine.desk.view.session is not None:
            return []
        # whoever joins late has a session that begins with him
        del due_ns
        opens_ns = min(max(session.open_ns, self._engine.now_ns), session.close_ns - 1)
        self._agenda.put("close", session.close_ns + 1)  # after what happens at the close itself
        self._say("info", f"session {session.day} opens")
        commands = self._feed(
            SessionEvent(opens_ns, opens_ns, session.day.isoformat(), "open", opens_ns, session.close_ns)
        )
        self.plan_deadline()
        return commands

    def _morning(self, due_ns: int) -> list[VenueCommand]:
        del due_ns
        self._on_morning()
        return []

    def _close_session(self, due_ns: int) -> list[VenueCommand]:
        session = self._engine.desk.view.session
        if session is None:
            return []
        del due_ns
        self.has_closed = True
        at_ns = max(session.close_ns, self._engine.now_ns)
        self._say("info", f"session {session.day} closes")
        commands = self._feed(
            SessionEvent(
                session.close_ns, at_ns, session.day.isoformat(), "close", session.open_ns, session.close_ns
            )
        )
        return [*commands, *self._on_close()]

    def _expiring(self) -> list[OptionContract]:
        """Held options whose payoff is fixed in the session under way."""
        desk = self._engine.desk
        session = desk.view.session
        if session is None:
            return []
        found = []
        for one in desk.positions.held():
            contract = desk.instruments[one.instrument_id]
            if isinstance(contract, OptionContract) and expiry_instant_ns(contract) <= session.close_ns:
                found.append(contract)
        return found

    def plan_deadline(self) -> None:
        """Set the deadline of what is held and expires in this session."""
        venue = self._engine.desk.view.venue
        dates = [deadline_ns(one, venue, self._margin_seconds) for one in self._expiring()]
        if dates and self._engine.desk.gate.mode in ("ACTIVE", "REDUCING"):
            self._agenda.put("deadline", min(dates))

    def _at_deadline(self, due_ns: int) -> list[VenueCommand]:
        expiring = self._expiring()
        if not expiring or self._engine.desk.gate.mode not in ("ACTIVE", "REDUCING"):
            return []
        names = ", ".join(one.symbol for one in expiring)
        reason = f"the venue takes no orders in expiring options much longer: {names}"
        self._say("alarm", f"deadline: {reason}")
        at_ns = max(due_ns, self._engine.now_ns)
        self.flattened_by_deadline = True
        return self._feed(OperatorEvent(due_ns, at_ns, "flatten", reason, "deadline"))


HOLD_SECONDS = 5.0
"""How long a stop waits for the venue to confirm the cancels."""
ACTION = {"leave": "", "hold": "halt", "flatten": "flatten"}


class OrderlyStop:
    """Follows a stop to its end.

    Parameters
    ----------
    engine
        What is to come to rest.
    ask_view
        Asks the venue for the account.
    """

    def __init__(self, engine: TradingEngine, ask_view: Callable[[str], object]) -> None:
        self._engine = engine
        self._ask_view = ask_view
        self.how: str | None = None
        """``leave``, ``hold`` or ``flatten`` once a stop was asked for."""
        self.reason = ""
        """Why the run is over; empty until it is."""

    def begin(self, how: str) -> str:
        """Begin a stop; return what the engine is to be told (``halt``, ``flatten`` or nothing)."""
        self.how = how
        return ACTION[how]

    def finish(self, why: str) -> None:
        """The run is over; the first reason stands."""
        self.reason = self.reason or why

    def look(self, view: VenueView | None) -> None:
        """Finish once what was asked for is so; ``view`` is the latest of the account."""
        if self.how is None or self.reason:
            return
        desk = self._engine.desk
        if self.how == "leave" or (self.how == "hold" and not desk.orders.live):
            self.finish(f"stopped: {self.how}")
        elif self.how == "flatten" and not desk.orders.live and not desk.positions.held():
            latest = max((order.created_ns for order in desk.orders.orders.values()), default=0)
            if view is not None and view.ts_recv_ns >= latest and is_flat(view):
                self.finish("stopped: flat, and the venue shows it")
            else:
                self._ask_view("flatten")


def is_flat(view: VenueView) -> bool:
    """Return whether the venue shows nothing of the run's market, neither held nor ordered."""
    held = any(one.quantity for one in view.positions if one.instrument_id is not None)
    return not held and not view.open_orders


ROLLED = "rolled: the next session is a run of its own"
"""How a run ends that another one follows at once."""
Learn = Callable[[], Awaitable[tuple[Event, ...]]]
"""Asks the venue for what the desk is told each day: forecast and rates."""


class DailyRollover:
    """Before a session that is not the run's first.

    A run knows the contracts that were listed when it began. A desk that holds nothing therefore ends
    here and begins again as a run of its own; one that holds something goes on with what it knows. A desk
    that was taken out of ``ACTIVE`` goes on too: only a person puts it back to work.

    Parameters
    ----------
    engine, ending
        The desk, and how its run ends.
    learn
        Gives what a run that goes on is told; None tells nothing.
    put
        Puts an event into the runner's queue.
    spawn
        Starts a task.
    say
        Told what a person should know.
    rolls
        Whether another run may follow.
    """

    def __init__(
        self,
        engine: TradingEngine,
        ending: OrderlyStop,
        learn: Learn | None,
        put: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        say: Callable[[str, str], None],
        *,
        rolls: bool,
    ) -> None:
        self._engine = engine
        self._ending = ending
        self._learn = learn
        self._put = put
        self._spawn = spawn
        self._say = say
        self._rolls = rolls

    def comes(self, *, flattened_by_deadline: bool = False) -> None:
        """A further session is about to open.

        ``flattened_by_deadline``: the desk is flattening because options expired, not by anybody's word.
        """
        if self._rolls and self._ending.how is None:
            why_not = self._why_not(flattened_by_deadline)
            if why_not is None:
                self._ending.finish(ROLLED)
                return
            self._say("info", f"this run goes on into the next session: {why_not}")
        if self._learn is not None:
            self._spawn(self._tell(self._learn))

    def _why_not(self, flattened_by_deadline: bool) -> str | None:
        desk = self._engine.desk
        mode = desk.gate.mode
        if mode != "ACTIVE" and not (mode == "FLATTENING" and flattened_by_deadline):
            return f"the desk is {mode}; it knows no contracts listed since it began"
        if desk.positions.held() or desk.orders.live:
            return "it holds positions; it knows no contracts listed since it began"
        return None

    async def _tell(self, learn: Learn) -> None:
        try:
            events = await learn()
        except RetryError as error:
            self._say("warning", f"forecast and rates stay those of yesterday: {error.what}")
            return
        for event in events:
            self._put(event)
