"""The desk's mode: what an operator, the session's loss, the margin or an adjusted option changes it to."""

from decimal import Decimal

from scalpdesk.core.enums import STRICTNESS, DecisionKind, Mode, OperatorAction, OperatorCause
from scalpdesk.core.events import OperatorEvent
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.cancels import Cancels
from scalpdesk.engine.desk import LOSS_MODES, Desk
from scalpdesk.engine.flattening import Flattening
from scalpdesk.engine.turn import Turn
from scalpdesk.marketdata.triggers import Wake

GATE = "risk gate"


class Modes:
    """Changes the mode, and cancels, halts or flattens as the new mode requires."""

    def __init__(self, desk: Desk, turn: Turn, cancels: Cancels, flattening: Flattening) -> None:
        self._desk = desk
        self._turn = turn
        self._cancels = cancels
        self._flattening = flattening
        self._after_flattening: Mode | None = None
        """While the risk gate itself is flattening: the mode to go back to in the next session."""
        self._adjusted: dict[InstrumentId, str] = {}
        """Adjusted options in the book, with the reason to show: no strategy knows them."""

    def change(self, mode: Mode, reason: str, who: str = GATE) -> None:
        """Change the desk's mode, report it, and cancel what works at the venue where the mode says so."""
        desk = self._desk
        reasons = (f"{desk.gate.mode} to {mode}: {reason}",)
        desk.gate.mode = desk.view.mode = mode
        self._turn.out.append(Decision(self._turn.now_ns, DecisionKind.MODE, True, reasons, {"who": who}))
        if mode in LOSS_MODES:
            self._cancels.forget_refused()
            return
        self._cancels.send_all()
        if mode is Mode.HALTED:
            self._cancels.repeat_soon()
        elif mode is Mode.FLATTENING:
            self._flattening.begin()

    def open_session(self) -> None:
        """Go back to the mode that a loss or the margin ended in the session before."""
        if self._after_flattening is not None:
            mode, self._after_flattening = self._after_flattening, None
            if self._desk.gate.stopped_from is None:
                self.change(mode, "a new session")
            else:
                self._desk.gate.stopped_from = mode
        self._cancels.open_session()
        self._flattening.open_session()

    def judge(self, nav: Decimal) -> None:
        """Stop at the session's loss limit, and reduce or flatten where the margin is used up."""
        desk = self._desk
        if nav < desk.session_equity and desk.gate.mode in LOSS_MODES and (why := desk.loss_at_limit(nav)):
            self._after_flattening = desk.gate.mode
            self.change(Mode.FLATTENING, why)
        stage = desk.margin_stage() if desk.is_margined and desk.gate.mode in LOSS_MODES else None
        if stage is not None and stage[0] is not desk.gate.mode:
            if stage[0] is Mode.FLATTENING:
                self._after_flattening = desk.gate.mode
            self.change(*stage)

    def operate(self, event: OperatorEvent) -> Wake | None:
        """Follow an operator's command, or a stop, a deadline or a reconciliation in an operator's place."""
        gate, mode = self._desk.gate, event.action.mode
        if event.cause is OperatorCause.RECONCILIATION and gate.kept_mode is not Mode.ACTIVE:
            if self._after_flattening is Mode.ACTIVE:  # it counts from the next session on
                self._after_flattening = mode
            return None
        if event.cause is not OperatorCause.STOP:
            gate.expires_from_active = event.cause is OperatorCause.DEADLINE and gate.mode is Mode.ACTIVE
            self._after_flattening = None  # an operator's mode outlasts the session
            if mode is Mode.ACTIVE:
                gate.stopped_from = None
            elif gate.stopped_from is not None:  # it is kept for the next start, and counts now if stricter
                gate.stopped_from, mode = mode, max(mode, gate.mode, key=STRICTNESS.index)
        elif event.action is OperatorAction.RESUME:
            mode, gate.stopped_from = gate.kept_mode, None
        else:
            gate.stopped_from = gate.kept_mode
        if mode is Mode.HALTED or mode is Mode.FLATTENING:
            # what a flattening desk has at work closes positions: only what was to go is cancelled again
            self._cancels.repeat(everything=mode is Mode.HALTED and mode is gate.mode)
        if mode is gate.mode:
            return None
        if mode is Mode.ACTIVE:
            gate.counters.forget_executions()
        self.change(mode, event.reason, event.who)
        if mode in LOSS_MODES:
            self._leave_adjusted()
        return Wake.OPERATOR

    def note_adjusted(self, old: InstrumentId, new: InstrumentId) -> None:
        """Note that a held option was adjusted to another; close everything while it is held."""
        instruments = self._desk.instruments
        self._adjusted[new] = f"{instruments[old].symbol} was adjusted to {instruments[new].symbol}"
        if self._desk.gate.mode in LOSS_MODES or self._after_flattening is not None:
            self._leave_adjusted()

    def _leave_adjusted(self) -> None:
        """Close everything while an adjusted option is held: no strategy knows it, in any later session."""
        for number, why in self._adjusted.items():
            if self._desk.positions.quantity(number):
                self._after_flattening = None
                self.change(Mode.FLATTENING, why)
                return
