"""The desk's mode: what an operator, the session's loss, the margin or an adjusted option changes it to."""

from decimal import Decimal

from scalpdesk.core.enums import DecisionKind, Mode, OperatorAction, OperatorCause
from scalpdesk.core.events import AccountComparison, ModeKept, OperatorEvent
from scalpdesk.core.intents import Decision
from scalpdesk.core.mode import AccountMode, ModeEntry
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.cancels import Cancels
from scalpdesk.engine.desk import LOSS_MODES, Desk
from scalpdesk.engine.flattening import Flattening
from scalpdesk.engine.turn import Turn
from scalpdesk.marketdata.triggers import Wake

_GATE = "risk gate"
_REPEATED = (OperatorCause.PERSON, OperatorCause.STOP)
"""Causes that, coming again, cancel again."""


class Modes:
    """Changes the mode, and cancels, halts or flattens as the new mode requires."""

    def __init__(self, desk: Desk, turn: Turn, cancels: Cancels, flattening: Flattening) -> None:
        self._desk = desk
        self._turn = turn
        self._cancels = cancels
        self._flattening = flattening
        self._adjusted: dict[InstrumentId, str] = {}
        """Adjusted options in the book, with the reason to show: no strategy knows them."""
        self._is_in_doubt = False
        """Whether the session's loss may be at its limit, and no quote shows whether it is."""

    @property
    def _session(self) -> str:
        session = self._desk.view.session
        return "" if session is None else session.day.isoformat()

    def _by_gate(self, reason: str) -> ModeEntry:
        return ModeEntry(reason=reason, who=_GATE, since_ns=self._turn.now_ns)

    def tighten(self, mode: Mode, reason: str) -> None:
        """Stop the account as the risk gate finds: it stays so until a person frees it."""
        if not self._turn.is_led:
            self._keep(self._desk.gate.desk_mode.state.tightened(mode, self._by_gate(reason)))

    def _pass(self, reason: str) -> None:
        """Flatten until the next session."""
        state = self._desk.gate.desk_mode.state
        self._keep(state.passing_to(Mode.FLATTENING, self._by_gate(reason), self._session))

    def _keep(self, state: AccountMode) -> None:
        """Take a state of the account; report it and act on it where it is another mode."""
        desk_mode = self._desk.gate.desk_mode
        was, own = desk_mode.mode, desk_mode.state.account.mode
        desk_mode.keep(state)
        self._follow(was, own, state.standing)

    def _report(self, text: str, who: str) -> None:
        self._turn.out.append(Decision(self._turn.now_ns, DecisionKind.MODE, True, (text,), {"who": who}))

    def _follow(self, was: Mode, own: Mode, why: ModeEntry) -> None:
        """Report a change of mode, and cancel what works at the venue where the new one says so."""
        desk_mode = self._desk.gate.desk_mode
        mode, account = desk_mode.mode, desk_mode.state.account
        if mode is was:
            if account.mode is not own:  # it counts once the flattening, the stop or the wait is over
                until = "" if account.mode is Mode.ACTIVE else " until resumed"
                self._report(f"{mode}, then {account.mode}{until}: {account.reason}", account.who)
            return
        self._report(f"{was} to {mode}: {why.reason}", why.who)
        if mode in LOSS_MODES:
            self._cancels.forget_refused()
            return
        self._cancels.send_all()
        if mode is Mode.HALTED:
            self._cancels.repeat_soon()
        elif mode is Mode.FLATTENING:
            self._flattening.begin()

    def open_session(self) -> None:
        """End a flattening that passed with the session before."""
        desk_mode = self._desk.gate.desk_mode
        was, own = desk_mode.mode, desk_mode.state.account.mode
        desk_mode.keep(desk_mode.state.opened(self._session))
        self._follow(was, own, ModeEntry(reason="a new session", who=_GATE))
        self._cancels.open_session()
        self._flattening.open_session()

    def judge(self, nav: Decimal) -> None:
        """Stop at the session's loss limit, and reduce or flatten where the margin is used up.

        ``nav`` is that of the mark just made. While it is unknown whether the limit is reached, as options
        have no quote that shows their price, the desk only reduces: once, for a person may let it go on.
        """
        if self._turn.is_led:
            return
        desk = self._desk
        least = most = nav
        for number, marked in desk.attribution.marks.items():
            value = marked.valuation
            if value is not None and value.is_modelled:
                below, above = desk.doubt(number, value)
                least, most = least - below, most + above
        if least >= desk.session_equity:
            self._is_in_doubt = False
        elif desk.gate.mode in LOSS_MODES:
            why = desk.loss_at_limit(least)
            is_sure = bool(why) and (most is least or bool(desk.loss_at_limit(most)))
            if is_sure:
                self._pass(why)
            elif why and not self._is_in_doubt:
                self.tighten(Mode.REDUCING, f"{why}, if what no quote shows is worth the least it may be")
            self._is_in_doubt = bool(why) and not is_sure
        stage = desk.margin_stage() if desk.is_margined and desk.gate.mode in LOSS_MODES else None
        if stage is not None and stage[0] is not desk.gate.mode:
            mode, why = stage
            if mode is Mode.FLATTENING:
                self._pass(why)
            else:
                self.tighten(mode, why)

    def await_comparison(self, event: AccountComparison) -> None:
        """Reduce while the comparison with the venue's account is overdue; go on once it has come."""
        desk_mode, who = self._desk.gate.desk_mode, OperatorCause.RECONCILIATION.value
        was, own, overdue = desk_mode.mode, desk_mode.state.account.mode, desk_mode.overdue
        if self._turn.is_led or not (event.overdue or overdue):
            return
        if event.overdue:
            since_ns = self._turn.now_ns if overdue is None else overdue.since_ns
            why = ModeEntry(Mode.REDUCING, event.overdue, who, since_ns)
        else:
            why = ModeEntry(reason="the comparison with the venue's account has come", who=who)
        desk_mode.await_comparison(why if event.overdue else None)
        self._follow(was, own, why)

    def restore(self, event: ModeKept) -> Wake | None:
        """Begin in the mode that the account was left in."""
        was = self._desk.gate.mode
        self._keep(event.state)
        return None if self._desk.gate.mode is was else Wake.OPERATOR

    def operate(self, event: OperatorEvent) -> Wake | None:
        """Follow an operator's command, or a stop, a deadline or a reconciliation in an operator's place."""
        desk_mode, mode, cause = self._desk.gate.desk_mode, event.action.mode, event.cause
        was, own = desk_mode.mode, desk_mode.state.account.mode
        why = ModeEntry(mode, event.reason, event.who, event.ts_recv_ns)
        if cause is OperatorCause.STOP:
            desk_mode.stop_with(None if event.action is OperatorAction.RESUME else mode)
        else:
            state = desk_mode.state.commanded(mode, cause, why, self._session)
            if state is desk_mode.state:
                return None
            desk_mode.keep(state)
        now = desk_mode.mode
        if (now is Mode.HALTED or now is Mode.FLATTENING) and (now is not was or cause in _REPEATED):
            # what a flattening desk has at work closes positions: only what was to go is cancelled again
            self._cancels.repeat(everything=now is Mode.HALTED and now is was)
        self._follow(was, own, why)
        if now is was:
            return None
        if now is Mode.ACTIVE:
            self._desk.gate.counters.forget_executions()
        if now in LOSS_MODES:
            self._leave_adjusted()
        return Wake.OPERATOR

    def note_adjusted(self, old: InstrumentId, new: InstrumentId) -> None:
        """Note that a held option was adjusted to another; close everything while it is held."""
        instruments = self._desk.instruments
        self._adjusted[new] = f"{instruments[old].symbol} was adjusted to {instruments[new].symbol}"
        self._leave_adjusted()

    def _leave_adjusted(self) -> None:
        """Close everything while an adjusted option is held: no strategy knows it, in any later session."""
        for number, why in self._adjusted.items():
            if self._desk.positions.quantity(number):
                self.tighten(Mode.FLATTENING, why)
                return
