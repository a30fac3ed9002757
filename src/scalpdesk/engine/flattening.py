"""Flattening: the strategy's time for its own exit, then step after step of the last resort."""

from decimal import Decimal

from scalpdesk.closing.last_resort import GRACE_SECONDS, STEP_SECONDS, Flattener
from scalpdesk.closing.plan import closing_lines
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.intents import SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.decisions import Decisions
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.turn import Turn
from scalpdesk.strategies.contract import Proposal

FLATTEN_TIMER = "flatten"


class Flattening:
    """Closes what is held while the desk's mode is ``flattening``."""

    def __init__(self, desk: Desk, turn: Turn, decisions: Decisions) -> None:
        self._desk = desk
        self._turn = turn
        self._decisions = decisions
        self._flattener = Flattener(desk.instruments)
        self._is_planned = False
        self._is_leaving = False
        """Whether the steps so far went by the venue's positions."""

    def begin(self) -> None:
        """Give the strategy time for its own exit, then close what it leaves."""
        self._flattener.begin()
        self._plan(GRACE_SECONDS)

    def leave(self) -> None:
        """Close what the venue's positions show; the strategy, which waits for the book, has had its time."""
        if not self._desk.leaves_by_positions or self._desk.view.session is None:
            return
        if not self._is_leaving:
            self._is_leaving = True
            self._flattener.begin()
        self._act()

    def open_session(self) -> None:
        """Begin a session: the last session's planned step ended with it."""
        self._is_planned = False
        if self._desk.gate.mode is Mode.FLATTENING:
            self.begin()

    def follow(self) -> None:
        """Plan a step after a fill, a bust or a delivery, also when nothing was left before."""
        if self._desk.gate.mode is Mode.FLATTENING:
            self._plan(STEP_SECONDS)

    def _plan(self, seconds: float) -> None:
        if not self._is_planned and self._desk.view.session is not None:
            self._is_planned = True
            due_ns = self._turn.now_ns + int(seconds * NANOS_PER_SECOND)
            self._turn.out.append(SetTimer(FLATTEN_TIMER, due_ns))

    def step(self) -> None:
        """Take one step towards a flat book, while the desk is flattening."""
        desk = self._desk
        self._is_planned = False
        if desk.gate.mode is not Mode.FLATTENING or desk.view.session is None:
            return
        if not desk.gate.is_compared and desk.shown is None:
            self._plan(STEP_SECONDS)  # nothing may leave yet: what is refused would count as tried
            return
        self._act()

    def _act(self) -> None:
        desk = self._desk
        self._is_leaving = desk.leaves_by_positions
        books = None
        if desk.books is not None:
            books = {owner: book.positions for owner, book in desk.books.books.items()}
        step = self._flattener.step(
            self._turn.now_ns,
            closing_lines(self._held(), books),
            tuple(desk.orders.live.values()),
            desk.market.quotes,
            desk.gate.limits,
            desk.view.cutoff,
            desk.view.is_halted,
        )
        if step is None:
            return
        if step.reasons:
            intents = step.cancels or step.orders
            exit_ = Proposal(DecisionKind.EXIT, step.reasons, {}, intents, all_or_none=False)
            self._decisions.decide(exit_)
        self._plan(STEP_SECONDS)

    def _held(self) -> dict[InstrumentId, Decimal]:
        """Return what is to be closed: the book, or the venue's positions where it is not, or not equal."""
        desk = self._desk
        if desk.shown is not None:
            return {number: units for number, units in desk.shown.items() if units}
        return {position.instrument_id: position.quantity for position in desk.positions.held()}
