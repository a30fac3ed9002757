"""Trading halts of instruments: orders are cancelled, and exits are sent once trading goes on."""

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import BarEvent, TradingHalt
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.cancels import Cancels
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.flattening import Flattening
from scalpdesk.engine.turn import Turn


class TradingHalts:
    """Follows the venue's trading status of each instrument."""

    def __init__(self, desk: Desk, turn: Turn, cancels: Cancels, flattening: Flattening) -> None:
        self._desk = desk
        self._turn = turn
        self._cancels = cancels
        self._flattening = flattening

    def note_status(self, event: TradingHalt) -> None:
        """Apply a trading status unless a later status came first: an ended halt stays ended."""
        gate = self._desk.gate
        if event.ts_event_ns < gate.status_ns.get(event.instrument_id, 0):
            return
        gate.status_ns[event.instrument_id] = event.ts_event_ns
        if event.is_halted and event.instrument_id in gate.halted:
            # halted again, or still: a bar that began before this message does not show its end
            gate.halted[event.instrument_id] = event.ts_event_ns
        self._change(event.instrument_id, event.ts_event_ns if event.is_halted else None, event.reason)

    def note_bar(self, event: BarEvent) -> None:
        """End a halt whose end was missed: a bar that began after it is made of trades."""
        gate, began_ns = self._desk.gate, event.ts_event_ns - event.bar_seconds * NANOS_PER_SECOND
        if began_ns >= gate.halted[event.instrument_id]:
            gate.status_ns[event.instrument_id] = began_ns + 1  # the halt's own message may come again
            self._change(event.instrument_id, None, "it trades again")

    def _change(self, instrument_id: InstrumentId, since_ns: int | None, reason: str) -> None:
        """Note a halt of trading in an instrument and cancel what works in it, or its end (None)."""
        desk, halted = self._desk, self._desk.gate.halted
        if (since_ns is None) is (instrument_id not in halted):
            return
        symbol = desk.instruments[instrument_id].symbol
        if since_ns is None:
            del halted[instrument_id]
            what = f"{symbol}: trading resumed"
            options = [number for number, _ in desk.instruments.options(symbol)]
            # what was quoted in the halt is no price to trade at after it
            desk.market.outdate([instrument_id, *options], self._turn.now_ns)
            self._flattening.follow()
        else:
            halted[instrument_id] = since_ns
            what = f"{symbol}: trading halted, no orders in it until it resumes"
        reasons = (f"{what} ({reason})" if reason else what,)
        now_ns = self._turn.now_ns
        self._turn.out.append(Decision(now_ns, DecisionKind.ALERT, True, reasons, {"symbol": symbol}))
        if since_ns is not None:  # resting orders would trade at an unseen price
            for name, order in tuple(desk.orders.live.items()):
                if desk.view.is_halted(order.submitted.instrument_id):
                    self._cancels.send(name)
