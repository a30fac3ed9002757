"""Sessions and deadlines of a live desk: what the calendar and the venue's clock make happen."""

from collections.abc import Callable

from scalpdesk.core.events import Event, OperatorEvent, SessionEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.live.reconciler import Say
from scalpdesk.live.schedule import Agenda, deadline_ns, session_of
from scalpdesk.venues.base import VenueView

Feed = Callable[[Event], list[VenueCommand]]
MORNING_NS = 600 * NANOS_PER_SECOND
"""Before a further session opens."""


class TradingDay:
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
        say: Say,
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
