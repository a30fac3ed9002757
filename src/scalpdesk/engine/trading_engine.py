"""``handle(event) -> outputs``: everything the desk decides is decided in here.

Read :meth:`TradingEngine.handle` downwards: market state, triggers, strategy, risk gate, orders,
out. It is synchronous and reads no clock, draws no random number and does no I/O; feeding it the
same events gives the same outputs. Backtest, replay, simulated exchange, paper and live differ only
in who feeds it and who carries its commands away.
"""

from collections.abc import Sequence
from typing import assert_never

from scalpdesk.core import events
from scalpdesk.core.enums import DecisionKind, Mode, SessionPhase
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import Event, OtherEvent, QuoteEvent, is_order_event
from scalpdesk.core.intents import (
    EXITS,
    AskFolder,
    CancelOrder,
    Decision,
    MultiLegOrder,
    Output,
    SetTimer,
    SubmitOrder,
    modes_in,
    orders_of,
)
from scalpdesk.core.mode import AccountMode, ModeEntry
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId, number_text
from scalpdesk.engine.cancels import CANCEL_TIMER, HALT_TIMER
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.exposure import note_returns
from scalpdesk.engine.flattening import FLATTEN_TIMER
from scalpdesk.engine.parts import parts_of
from scalpdesk.engine.timers import LOSS_TIMER
from scalpdesk.marketdata.triggers import EveryQuote, Trigger, Wake
from scalpdesk.strategies.contract import (
    Proposal,
    Strategy,
    TakesOver,
    UsesSubBooks,
    check_proposal,
    check_sequence,
    not_an_action,
    triggers_of,
)

_MARK_TIMER = "mark"
NOTHING: tuple[Output, ...] = ()
ORDER, PRICE, SESSION = Wake.ORDER, Wake.PRICE, Wake.SESSION
FLATTENING = Mode.FLATTENING  # looking up an enum's member costs as much as a call
_BOOKED = (events.OrderFilled, events.FillBusted, events.PositionChanged)
"""Events after which a flattening desk looks again."""


class TradingEngine:
    """One strategy on one account.

    ``mark_seconds``: How often the book is marked and its change explained; every fill is marked besides.
    """

    def __init__(self, desk: Desk, strategy: Strategy, *, mark_seconds: float = 60.0) -> None:
        self.desk = desk
        self.strategy = strategy
        self.now_ns = 0
        self.evaluations = 0
        """Number of times that the strategy was woken."""
        self._mark_ns = int(mark_seconds * NANOS_PER_SECOND)
        self._triggers: list[Trigger | None] = [None] * len(desk.instruments)
        if isinstance(strategy, UsesSubBooks):
            desk.divide(strategy.open_books(desk.view))
        parts = parts_of(desk, strategy)
        self._turn, self._cancels, self._decisions = parts.turn, parts.cancels, parts.decisions
        self._flattening, self._modes, self._halts = parts.flattening, parts.modes, parts.halts
        self._bookings = parts.bookings
        self._view, self._market = desk.view, desk.market
        self._on_wake = strategy.on_wake

    @property
    def is_led(self) -> bool:
        """Whether a journal says what was sent, and in which mode; nothing is decided here."""
        return self._turn.is_led

    def lead(self, own: Sequence[Output], journaled: Sequence[Output]) -> None:
        """Let a journal say from now on what was sent, and in which mode; nothing more is decided here.

        ``own``: What was decided here at the last event: it is taken back.
        ``journaled``: What the journal has in its place.
        """
        self._turn.is_led = True
        orders, desk_mode, counters = self.desk.orders, self.desk.gate.desk_mode, self.desk.gate.counters
        for output in reversed(own):
            orders.take_back(output)
        for output in journaled:
            if type(output) is SubmitOrder or type(output) is MultiLegOrder:
                orders.restore(output, self.now_ns)
                for sent in orders_of(output):
                    size = ZERO if sent.purpose in EXITS else sent.quantity
                    is_option = self.desk.instruments[sent.instrument_id].is_option
                    counters.note_order(self.now_ns, size, is_option=is_option)
            elif type(output) is CancelOrder:
                orders.cancel(output.client_order_id, again=True)
                counters.note_cancel(self.now_ns)
        for mode, decision in modes_in(journaled):
            if mode is not desk_mode.mode:
                facts = decision.facts
                why = ModeEntry(mode, decision.reasons[0], str(facts.get("who", "")), decision.ts_ns)
                desk_mode.keep(AccountMode(why, None, desk_mode.state.changes + 1))

    def _take_over(self) -> None:
        """Decide again, where a desk goes on from a journal that led it, with what the account holds."""
        if self._turn.is_led and isinstance(self.strategy, TakesOver):
            self._turn.is_led = False
            self._view.now_ns = self.now_ns
            self._flattening.open_session()
            self.strategy.take_over(self._view)

    @property
    def triggers(self) -> Sequence[Trigger | None]:
        """Triggers by instrument, of those whose every quote may lead to something; known in a session."""
        return self._triggers

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Take one event in and return what follows from it, in order.

        A good quote that the market reads from its rows is known there already.

        Raises InvariantError when time runs backwards, or an order event contradicts the ledger. The event's
        effects up to then are dropped.
        """
        now_ns = event.ts_recv_ns
        if now_ns < self.now_ns:
            raise InvariantError("an event is older than the last handled event", where=repr(event)[:120])
        self.now_ns = self._turn.now_ns = now_ns
        out = self._turn.out
        try:
            if isinstance(event, QuoteEvent):
                market = self._market
                if market.rows is None and not market.apply_quote(event):
                    return NOTHING
                trigger = self._triggers[event.instrument_id]
                if trigger is None:
                    return NOTHING
                wake = PRICE if type(trigger) is EveryQuote else trigger.take(event)
                if wake is None:
                    return NOTHING
                self._wake(event, wake)
                if type(trigger) is not EveryQuote:
                    trigger.done(event, wake)
            else:
                wake = self._take(event)
                if wake is not None:
                    self._wake(event, wake)
                    self._follow(event)
        except BaseException:
            out.clear()
            raise
        if not out:
            return NOTHING
        outputs = tuple(out)
        out.clear()
        return outputs

    def _wake(self, event: Event, wake: Wake) -> None:
        """Call the strategy, within a session and at its ends, and decide on what it proposes."""
        view = self._view
        if view.session is None and wake is not SESSION:
            return
        now_ns = self._turn.now_ns
        self.desk.learn(now_ns, self._concerned(event))
        view.now_ns = now_ns
        if self._turn.is_led:
            return
        self.evaluations += 1
        on_wake = self._on_wake  # called as a method it is looked for in the class first
        actions = on_wake(view, wake, event)
        if not actions:
            return
        check_sequence(actions, self.strategy.name)
        for action in actions:
            if type(action) is Proposal:
                check_proposal(action, self.strategy.name, len(self.desk.instruments))
                self._decisions.decide(action)
            elif type(action) is SetTimer or type(action) is AskFolder:
                self._turn.out.append(action)
            else:
                raise not_an_action(action, self.strategy.name)

    def _concerned(self, event: Event) -> InstrumentId | None:
        """Return the instrument that an event is about; None where it concerns the account."""
        if type(event) is QuoteEvent or type(event) is events.BarEvent:
            return event.instrument_id
        if is_order_event(event):
            return self.desk.orders.order(event.client_order_id).submitted.instrument_id
        return None

    def _follow(self, event: Event) -> None:
        """Do what comes after the strategy: look again at a book that is being closed, end a session."""
        if type(event) in _BOOKED and self.desk.gate.desk_mode.mode is FLATTENING:
            self._flattening.follow()
        elif type(event) is events.SessionEvent and event.phase is SessionPhase.CLOSE:
            self._bookings.mark(is_anchor=True)
            self._view.session = None

    def _take(self, event: OtherEvent) -> Wake | None:  # noqa: PLR0912, PLR0915 - one case an event
        """Do what an event that is no quote does; return why the strategy is woken, None if it is not."""
        wake: Wake | None = None
        market = self._market
        match event:
            case events.BarEvent():
                wake = self._on_bar(event)
            case events.TimerEvent():
                wake = self._on_timer(event)
            case events.OrderFilled():
                wake = self._bookings.fill(event)
            case events.FillBusted():
                wake = self._bookings.bust(event)
            case events.PositionChanged():
                wake = self._bookings.change(event)
            case events.OrderAccepted() | events.OrderRejected():
                wake = self._on_answer(event)
            case events.CancelRejected():
                wake = self._cancels.rejected(event)
            case (
                events.OrderCancelled()
                | events.OrderExpired()
                | events.OrderStatusUnknown()
                | events.OrderNotFound()
            ):
                self.desk.orders.apply(event)
                wake = ORDER
            case events.OrderSettled():
                self._on_settled(event)
            case events.UnmatchedOrderEvent():
                self.desk.orders.unmatched.append(event)
            case events.FailedEvent():
                self.desk.orders.note_failed(event)
            case events.SessionEvent():
                wake = self._on_session(event)
            case events.FolderAnswered():
                wake = Wake.ANSWER
            case events.AccountSnapshot():
                wake = self._on_account(event)
            case events.AccountLimits():
                self.desk.take_limits(event)
            case events.AccountComparison():
                self._on_comparison(event)
            case events.HoldingsShown():
                self._on_holdings(event)
            case events.ExerciseNotice():
                self.desk.take_notice(event)
            case events.VenueWords():
                self._on_words(event)
            case events.OperatorEvent():
                wake = self._modes.operate(event)
            case events.ModeKept():
                wake = self._modes.restore(event)
            case events.TradingHalt():
                self._halts.note_status(event)
            case events.TradeEvent():
                market.apply_trade(event)
            case events.OpenInterestEvent():
                market.apply_open_interest(event)
            case events.RateEvent():
                market.apply_rates(event)
            case events.DividendEvent():
                market.apply_dividend(event)
            case events.PriceAdjustmentEvent():
                market.apply_adjustment(event)
            case events.ForecastEvent():
                market.apply_forecast(event)
            case events.GammaExposureEvent():
                market.apply_gamma_exposure(event)
            case events.SessionBarsEvent():
                market.apply_session_bars(event)
            case events.ImpliedVolEvent():
                market.apply_implied_vol(event)
            case _:
                assert_never(event)
        return wake

    def _on_answer(self, event: events.OrderAccepted | events.OrderRejected) -> Wake:
        order = self.desk.orders.apply(event)
        is_rejected = type(event) is events.OrderRejected
        self.desk.gate.counters.note_answer(self.now_ns, rejected=is_rejected)
        if order.is_unwanted and not is_rejected:
            self._cancels.lives(order)
        return ORDER

    def _on_settled(self, event: events.OrderSettled) -> None:
        """Record a person's word on an order; what it books comes as events of its own."""
        order, what = self.desk.orders.order(event.client_order_id), "nothing filled, over"
        symbol = self.desk.instruments[order.submitted.instrument_id].symbol
        if event.filled:
            what = f"{number_text(event.filled)} filled at {number_text(event.price)}"
        name, who = event.client_order_id, event.who
        why = f"order {name} in {symbol}, in doubt, settled by {who}: {what}: {event.reason}"
        facts: dict[str, str | float | int] = {"order": name, "symbol": symbol, "who": who}
        self._turn.out.append(Decision(self.now_ns, DecisionKind.ALERT, True, (why,), facts, (name,)))

    def _on_account(self, event: events.AccountSnapshot) -> Wake:
        self.desk.adopt(event)
        self.desk.learn(self.now_ns, keeps=True)
        return Wake.ACCOUNT

    def _on_comparison(self, event: events.AccountComparison) -> None:
        self.desk.take_comparison(event)
        self._modes.await_comparison(event)
        if event.is_compared and event.is_renewed:
            self._flattening.follow()  # what the positions did not show, the book may hold
        if not event.is_compared:
            self._take_over()

    def _on_words(self, event: events.VenueWords) -> None:
        facts: dict[str, str | float | int] = {
            "stream": event.stream,
            "severe": float(event.is_severe),
            "times": float(event.times),
        }
        words = f"{event.stream}: {event.words}"
        self._turn.out.append(Decision(self.now_ns, DecisionKind.VENUE, True, (words,), facts))

    def _on_holdings(self, event: events.HoldingsShown) -> None:
        self.desk.take_holdings(event)
        self._flattening.leave()

    def _on_bar(self, event: events.BarEvent) -> Wake | None:
        self.desk.market.apply_bar(event)
        if event.instrument_id in self.desk.gate.halted:
            self._halts.note_bar(event)
        return None if self._triggers[event.instrument_id] is None else Wake.BAR

    def _on_session(self, event: events.SessionEvent) -> Wake:
        desk, out = self.desk, self._turn.out
        out += desk.settle_offsets(self.now_ns)
        if event.phase is not SessionPhase.CLOSE:
            desk.open_session(event)
            self._modes.open_session()
            if not desk.started:
                desk.started = True
                for trigger in triggers_of(self.strategy, desk.view):
                    self._triggers[trigger.instrument_id] = trigger
            out.append(SetTimer(_MARK_TIMER, self.now_ns + self._mark_ns))
        return SESSION

    def _on_timer(self, event: events.TimerEvent) -> Wake | None:
        now_ns, name = self.now_ns, event.name
        if name == _MARK_TIMER:
            self.desk.learn(now_ns, keeps=True)
            self._bookings.mark()
            if self.desk.correlation is not None:
                note_returns(self.desk, self.desk.correlation)
            self._cancels.watch()
            session = self._view.session
            if session is not None and now_ns < session.close_ns:
                self._turn.out.append(SetTimer(_MARK_TIMER, now_ns + self._mark_ns))
        elif name == LOSS_TIMER:
            self._bookings.mark()
        elif name == CANCEL_TIMER:
            self._cancels.watch()
        elif name == HALT_TIMER:
            self._cancels.repeat_halted()
        elif name == FLATTEN_TIMER:
            self._cancels.watch()
            self._flattening.step()
        else:
            return Wake.TIMER
        return None
