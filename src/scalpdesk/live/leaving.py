"""A comparison that does not come: when it is overdue, and how a flattening desk leaves without it.

Leaving waits for the comparison with the venue's account for at most :data:`LEAVE_SECONDS`. Then it needs one
question, the positions, and the order entry.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import Notify, RetryError
from scalpdesk.core.units import ZERO
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.belief import PositionBelief, Units, lesser
from scalpdesk.live.reconciler import AccountQueries, Reconciler, settle_queue
from scalpdesk.live.supervision import Supervisor
from scalpdesk.orders.order import Order
from scalpdesk.venues.contract import Gateway, HoldingsView
from scalpdesk.venues.questions import text_of

OVERDUE_SECONDS = 8.0
"""A comparison that has not come so long after it was due is overdue."""
LEAVE_SECONDS = 5.0
"""Longest wait of a flattening desk for the comparison."""
_LOOK_SECONDS, _FLAT_LOOK_SECONDS = 1.0, 5.0
"""Between two looks at the positions, while something is held, and once nothing is."""
_CONFIRM_SECONDS = 0.2
"""Until the next look at positions that are not believed yet."""
_BY_HAND = "asking again, close by hand if it lasts"


@dataclass(slots=True, kw_only=True)
class ComparisonWatch:
    """Knows since when a comparison with the venue's account is due, and what it waits for.

    ``began_at``: When the run began, the event loop's time.
    """

    gateway: Gateway
    reconciler: Reconciler
    queries: AccountQueries
    began_at: float = 0.0
    _open_since: float | None = None
    """Since when an overdue comparison has been due that no view has settled yet, the event loop's time."""

    def due_at(self) -> float | None:
        """Return since when a comparison is due, the event loop's time; None while none is."""
        unsettled = [] if self.reconciler.is_settled else [max(self.reconciler.doubted_at, self.began_at)]
        asked = [at for at in (self.queries.wanted_at, self._open_since) if at is not None]
        return min(unsettled + asked, default=None)

    def looked(self, due_at: float | None, now: float) -> None:
        """Take note of a judged view: an overdue comparison is over only with one that settles the account.

        ``due_at``: Since when the comparison was due before the view came.
        """
        if not self.reconciler.is_open:
            self._open_since = None
        elif due_at is not None and now - due_at >= OVERDUE_SECONDS:
            self._open_since = due_at

    def seconds(self, now: float) -> float:
        """Return how long a comparison has been due; 0 while none is."""
        due_at = self.due_at()
        return 0.0 if due_at is None else max(now - due_at, 0.0)

    def why(self, now: float) -> str:
        """Return the question that fails, or what else the comparison waits for, in words."""
        if self.queries.failure:
            return self.queries.failure
        asked = self.gateway.waits_for()
        if self.queries.wanted_at is not None and self._open_since is None:
            return f"{asked[0] if asked else 'account'}: no answer for {now - self.queries.wanted_at:.0f} s"
        if self.reconciler.doubtful:
            return f"what became of {', '.join(self.reconciler.doubtful)} is not known"
        return "the venue's views do not agree with one another"


@dataclass(slots=True)
class HoldingsSeen:
    """The venue's positions alone, on their way through the runner's queue."""

    view: HoldingsView
    moves: int
    """Executions and other movements that were known as they were asked for."""


@dataclass(slots=True, kw_only=True)
class Leaver:
    """Asks for the positions while a flattening desk waits for a comparison, and says by which it leaves."""

    engine: TradingEngine
    gateway: Gateway
    supervisor: Supervisor
    put: Callable[[HoldingsSeen], None]
    notify: Notify
    moves: int = 0
    """Movements of the account that the desk knows: a look beside one is no ground to sell."""
    waits_since: float | None = None
    """Since when the desk flattens and waits, the event loop's time; None while it does not."""
    is_at_once: bool = False
    """Whether a person waits for no comparison at all."""
    failure: str = ""
    """Why the positions were not shown last."""
    _is_asking: bool = False
    _next_at: float = 0.0
    _belief: PositionBelief | None = None
    _began_ns: int = 0
    """When the first list came, UTC nanoseconds: orders sent later move it."""
    _asked_at: float = 0.0
    """When the positions were asked for, the event loop's time."""
    _told: str = ""

    def note_move(self, order: Order | None) -> None:
        """Note that something moved the account; ``order`` is the one that was executed, where it was one."""
        self.moves += 1
        if order is not None and self._belief is not None and order.created_ns >= self._began_ns:
            self._belief.has_later = True

    def tick(self, now: float) -> None:
        """Ask for the positions when it is time to leave by them; ``now`` is the event loop's time."""
        gate = self.engine.desk.gate
        if gate.mode is not Mode.FLATTENING or gate.is_compared:
            if self.waits_since is not None:
                self.waits_since, self.is_at_once, self._belief = None, False, None
                self._told = self.failure = ""
            return
        if self.waits_since is None:
            self.waits_since = now
        if self._is_asking and now >= self._asked_at + LEAVE_SECONDS:
            self._tell("alarm", f"nothing can be closed: the venue does not show its positions; {_BY_HAND}")
        bound = 0.0 if self.is_at_once else LEAVE_SECONDS
        if not self._is_asking and now >= max(self.waits_since + bound, self._next_at):
            self._is_asking, self._asked_at = True, now
            self.supervisor.spawn("the query of the positions", self._ask())

    async def _ask(self) -> None:
        moves = self.moves
        try:
            view = await self.gateway.shown_positions()
            await settle_queue()
        except RetryError as error:
            now, self.failure = asyncio.get_running_loop().time(), text_of(error)
            self._next_at = now + _LOOK_SECONDS
            self._tell("alarm", f"nothing can be closed: {self.failure}; {_BY_HAND}")
        else:
            self.failure = ""
            self._next_at = asyncio.get_running_loop().time() + _CONFIRM_SECONDS
            self.put(HoldingsSeen(view, moves))
        finally:
            self._is_asking = False

    def believes(self, seen: HoldingsSeen, now: float) -> bool:
        """Decide by :class:`PositionBelief` whether positions are believed, and when to look again."""
        belief, desk = self._beside_books(), self.engine.desk
        self._next_at = now + _CONFIRM_SECONDS
        if seen.moves != self.moves:  # an execution came beside the look: it may have counted it or not
            return False
        if not belief.believes(seen.view.positions, now):
            return False
        unshown = belief.unshown()
        if unshown and not belief.held:
            names = ", ".join(
                f"{units:+f} {desk.instruments[each].symbol}" for each, units in unshown.items()
            )
            text = f"the desk holds {names}, and the venue does not show it: NOT flat for certain; {_BY_HAND}"
            self._tell("alarm", text)
            return False
        self._next_at = now + (_LOOK_SECONDS if belief.held else _FLAT_LOOK_SECONDS)
        self._name(seen.view)
        return True

    def _beside_books(self) -> PositionBelief:
        if self._belief is None:
            self._belief, self._began_ns = PositionBelief({}), self.engine.now_ns
        held = self.engine.desk.positions.held()
        self._belief.books = {line.instrument_id: line.quantity for line in held}
        return self._belief

    def differing(self, view: HoldingsView, now: float) -> HoldingsView | None:
        """Return what may be closed of positions that differ from the books; None while that is not known.

        A comparison has come, so it is never more than the books hold.
        """
        belief = self._beside_books()
        if not belief.believes(view.positions, now) or belief.held is None:
            return None
        return _cut(view, lesser(belief.held, belief.books))

    def agrees(self) -> None:
        """Forget a list that differed: the latest one is that of the books."""
        self._belief = None

    def lines(self, view: HoldingsView) -> HoldingsView:
        """Return a view with no more than may be closed of each instrument that the desk knows."""
        held = None if self._belief is None else self._belief.held
        return _cut(view, held or {})

    def _name(self, view: HoldingsView) -> None:
        """Tell what the desk leaves by, and what it cannot close."""
        foreign = [str(held) for held in view.positions if held.quantity and held.instrument_id is None]
        unread = [f"{row} (cannot be read)" for row in view.unread]
        strangers = ", ".join(foreign + unread)
        held = ", ".join(
            str(held) for held in view.positions if held.quantity and held.instrument_id is not None
        )
        text = f"no comparison with the account came: closing what the venue's positions show: {held}"
        if not held:
            text = "the venue's positions show nothing that the desk can close"
        if strangers:
            text += f"; NOT closed, close by hand what is not in this run's market: {strangers}"
        self._tell("alarm" if strangers else "warning", text)

    def _tell(self, level: str, text: str) -> None:
        if text != self._told:
            self._told = text
            self.notify(level, text)


def _cut(view: HoldingsView, held: Units) -> HoldingsView:
    left, lines = dict(held), []
    for line in view.positions:
        if line.instrument_id is None:
            lines.append(line)
        elif (units := left.pop(line.instrument_id, ZERO)) != 0:
            lines.append(msgspec.structs.replace(line, quantity=units))
    return msgspec.structs.replace(view, positions=tuple(lines))
