"""Cancels: sent, repeated while the desk is halted, in an alert where an order outlives its cancel."""

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import CancelRejected
from scalpdesk.core.intents import Decision, SetTimer
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.engine.desk import LOSS_MODES, Desk
from scalpdesk.engine.turn import Turn
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.orders.order import Order, OrderState

HALT_TIMER = "halt: cancel again"
_CANCEL_AGAIN_NS = 2 * NANOS_PER_SECOND
"""A halted desk repeats a cancel that was refused so much later; nothing else wakes it."""
CANCEL_TIMER = "cancels: not over"
_CANCEL_ALERT_NS = MINUTE_NS
"""An order that is not over so long after its cancel was asked for is named in an alert."""
_CANCEL_LATE_NS = 2 * NANOS_PER_SECOND
"""A cancel without an answer for so long is no ordinary one: from then on a timer waits for the alert."""


class _AskedCancel:
    """When the cancel of an order was asked for, UTC nanoseconds."""

    __slots__ = ("first_ns", "has_timer", "last_ns")

    def __init__(self, now_ns: int) -> None:
        self.first_ns = self.last_ns = now_ns
        self.has_timer = False


class Cancels:
    """Sends the desk's cancels and watches that their orders end."""

    def __init__(self, desk: Desk, turn: Turn) -> None:
        self._desk = desk
        self._turn = turn
        self._is_repeating = False
        """The timer of a halted desk is set."""
        self._asked: dict[str, _AskedCancel] = {}
        """By client order id, of orders that were not over when they were last looked at."""

    def send(self, client_order_id: str, *, again: bool = False) -> None:
        """Cancel an order, unless its cancel is under way (``again`` repeats it) or it is over."""
        command = None if self._turn.is_led else self._desk.orders.cancel(client_order_id, again=again)
        if command is None:
            return
        now_ns = self._turn.now_ns
        self._desk.gate.counters.note_cancel(now_ns)
        self._turn.out.append(command)
        asked = self._asked.get(client_order_id)
        if asked is None:
            self._asked[client_order_id] = _AskedCancel(now_ns)
        else:
            asked.last_ns = now_ns

    def send_all(self) -> None:
        """Cancel what works at the venue."""
        for client_order_id in tuple(self._desk.orders.live):
            self.send(client_order_id)

    def repeat(self, *, everything: bool) -> None:
        """Cancel again what is being cancelled, or all: an operator waits for no proof of a loss."""
        wholes: set[str] = set()
        for name, order in tuple(self._desk.orders.live.items()):
            whole = order.parent_id or name
            if (everything or order.state is OrderState.PENDING_CANCEL) and whole not in wholes:
                wholes.add(whole)
                self.send(name, again=True)

    def repeat_soon(self) -> None:
        """Set the timer at which a halted desk cancels what still works; one at a time.

        A cancel may be refused or lost, and an order may show only later that it lives.
        """
        if self._desk.orders.live and not self._is_repeating:
            self._is_repeating = True
            self._turn.out.append(SetTimer(HALT_TIMER, self._turn.now_ns + _CANCEL_AGAIN_NS))

    def repeat_halted(self) -> None:
        """At the timer: cancel again what works while the desk is halted."""
        self._is_repeating = False
        self.watch()
        if self._desk.gate.mode is Mode.HALTED:
            for client_order_id, order in tuple(self._desk.orders.live.items()):
                if order.state is not OrderState.UNKNOWN:  # the question of what became of it comes first
                    self.send(client_order_id)
            self.repeat_soon()

    def lives(self, order: Order) -> None:
        """Cancel again what the venue shows to work after its cancel was asked for.

        The venue may have refused that cancel for an order that it did not know yet.
        """
        if (
            order.state in (OrderState.WORKING, OrderState.PARTIALLY_FILLED)
            and self._desk.gate.mode in LOSS_MODES
        ):
            self.send(order.client_order_id)

    def rejected(self, event: CancelRejected) -> Wake:
        """Apply a refused cancel; an immediate refusal ends the wait, unless no order may keep working."""
        desk, now_ns = self._desk, self._turn.now_ns
        order = desk.orders.apply(event)
        for leg in desk.orders.legs_with(order):
            asked = self._asked.get(leg.client_order_id)
            is_prompt = asked is not None and now_ns - asked.last_ns < _CANCEL_LATE_NS
            if is_prompt and desk.gate.mode in LOSS_MODES:
                del self._asked[leg.client_order_id]
        self.watch()
        return Wake.ORDER

    def watch(self) -> None:
        """Name in an alert each order that is not over a minute after its cancel was asked for.

        A venue that takes a cancel may drop it, and may leave an order in ``pending_cancel`` for a day.
        """
        live, now_ns = self._desk.orders.live, self._turn.now_ns
        for name, asked in tuple(self._asked.items()):
            order = live.get(name)
            if order is None:
                del self._asked[name]
            elif now_ns >= asked.first_ns + _CANCEL_ALERT_NS:
                del self._asked[name]  # asked for again, it is named again
                symbol = self._desk.instruments[order.submitted.instrument_id].symbol
                seconds = (now_ns - asked.first_ns) // NANOS_PER_SECOND
                why = f"order {name} in {symbol} is not over {seconds} s after its cancel: {order.state}"
                facts: dict[str, str | float | int] = {"order": name, "symbol": symbol, "seconds": seconds}
                self._turn.out.append(Decision(now_ns, DecisionKind.ALERT, True, (why,), facts))
            elif self._desk.gate.mode is Mode.HALTED or asked.has_timer:
                continue  # a halted desk looks every other second
            elif now_ns >= asked.last_ns + _CANCEL_LATE_NS:
                asked.has_timer = True
                self._turn.out.append(SetTimer(CANCEL_TIMER, asked.first_ns + _CANCEL_ALERT_NS))

    def forget_refused(self) -> None:
        """Watch only orders that are being cancelled: what works may work on."""
        live = self._desk.orders.live
        for name in tuple(self._asked):
            if name not in live or live[name].state is not OrderState.PENDING_CANCEL:
                del self._asked[name]

    def open_session(self) -> None:
        """Begin a session: the last session's timers ended with it."""
        self._is_repeating = False
        for asked in self._asked.values():
            asked.has_timer = False
        if self._desk.gate.mode is Mode.HALTED:
            self.repeat_soon()
