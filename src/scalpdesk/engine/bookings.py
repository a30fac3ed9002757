"""Bookings: fills, busts and changes of positions, each between two marks, so that its cost is its own."""

from scalpdesk.core.enums import EXERCISED, ChangeCause, Mode
from scalpdesk.core.events import FillBusted, OrderFilled, PositionChanged
from scalpdesk.core.intents import EXITS
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.exposure import weighted_mark
from scalpdesk.engine.flattening import Flattening
from scalpdesk.engine.modes import Modes
from scalpdesk.engine.turn import Turn
from scalpdesk.marketdata.triggers import Wake


class Bookings:
    """Books what moves the account, and marks the book before and after."""

    def __init__(self, desk: Desk, turn: Turn, modes: Modes, flattening: Flattening) -> None:
        self._desk = desk
        self._turn = turn
        self._modes = modes
        self._flattening = flattening
        self._half_booked_ns = -1
        """Time of a booking whose other parts are still to come; NAV is meaningless until they arrive."""

    def mark(self, *, is_anchor: bool = False, of: InstrumentId | None = None) -> None:
        """Mark the book, explain the change since the last mark, and stop at the session's loss limit.

        A book that is half booked is not judged. The arguments are those of :meth:`PnlExplain.mark`.
        """
        desk, now_ns = self._desk, self._turn.now_ns
        desk.learn(now_ns, of)
        mark = desk.attribution.mark(now_ns, is_anchor=is_anchor, of=of)
        nav = desk.attribution.nav
        for division in desk.divisions:
            division.mark(now_ns, is_anchor=is_anchor, of=of)
        if mark is not None:
            self._turn.out.append(mark if desk.by_underlying is None else weighted_mark(desk, mark))
        if self._half_booked_ns != now_ns:
            self._modes.judge(nav)

    def fill(self, event: OrderFilled) -> Wake | None:
        """Book an execution; None for one that came before."""
        desk, now_ns = self._desk, self._turn.now_ns
        order = desk.orders.orders.get(event.client_order_id) or desk.orders.order(event.client_order_id)
        sent, is_first = order.submitted, not (order.executions or order.busted)
        if not is_first and order.has_seen(event.execution_id):
            desk.orders.fill(order, event)
            return None
        self.mark(of=sent.instrument_id)
        held_before = desk.positions.quantity(sent.instrument_id)
        desk.orders.fill(order, event)
        desk.book_fill(sent, event)
        if desk.instruments.by_id[sent.instrument_id].is_option:
            desk.learn(now_ns, sent.instrument_id, keeps=True)
        desk.attribution.legs.rebase(now_ns, desk.attribution.marks, sent.instrument_id)
        if is_first and sent.purpose not in EXITS:
            why = desk.gate.why_disable(now_ns, sent.instrument_id, sent.side, held_before)
            if why is not None and desk.gate.desk_mode.mode is Mode.ACTIVE:
                symbol = desk.instruments[sent.instrument_id].symbol
                self._modes.tighten(Mode.REDUCING, f"{symbol}: {why}")
        is_flat = desk.gate.desk_mode.mode is Mode.FLATTENING and not desk.positions.held()
        if is_flat or desk.view.session is None:  # nothing marks later: the run may end here
            self.mark()
        return Wake.ORDER

    def bust(self, event: FillBusted) -> Wake | None:
        """Book a bust; None while the execution in its place or another bust is still to come."""
        desk = self._desk
        order = desk.orders.order(event.client_order_id)
        if event.execution_id not in order.executions:
            desk.orders.apply(event)
            return None
        number = order.submitted.instrument_id
        self.mark(of=number)
        desk.orders.apply(event)
        desk.book_bust(event)
        desk.attribution.legs.rebase(self._turn.now_ns, of=number)
        if not event.is_corrected and not event.more_follow:
            return Wake.ORDER
        self._flattening.follow()  # the book is incomplete, and no strategy is woken
        return None

    def change(self, event: PositionChanged) -> Wake | None:
        """Book what no order caused; None for a repetition, and while another part of it is still to come."""
        desk, now_ns = self._desk, self._turn.now_ns
        if desk.positions.already_applied(event.reference):
            return None
        if event.cause is ChangeCause.DIVIDEND:
            desk.book_change(event)  # before the first quote without it: one step with the night
            return None if event.more_follow else Wake.ACCOUNT
        in_action = event.cause is ChangeCause.CORPORATE_ACTION
        of = event.instrument_id if event.source in (None, event.instrument_id) else None
        if not (in_action and self._half_booked_ns == now_ns):  # one step with its other parts
            self.mark(of=of)
        desk.book_change(event)
        desk.learn(now_ns, of, keeps=True)
        desk.attribution.legs.rebase(now_ns, of=of)
        is_half = event.more_follow or event.cause in EXERCISED
        self._half_booked_ns = now_ns if is_half else -1
        if not (in_action and event.more_follow):
            self.mark(of=of)
        old = event.source
        if old is not None and old != event.instrument_id and desk.instruments[old].is_option:
            self._modes.note_adjusted(old, event.instrument_id)
        if event.cause is ChangeCause.FEE:  # no strategy acts on it, and of a look more may follow
            return None
        if not is_half:
            return Wake.ACCOUNT
        self._flattening.follow()  # the delivery of an exercise is still to come
        return None
