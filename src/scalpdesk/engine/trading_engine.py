"""``handle(event) -> outputs``: everything the desk decides is decided in here.

Read :meth:`TradingEngine.handle` downwards: market state, triggers, strategy, risk gate, orders,
out. It is synchronous and reads no clock, draws no random number and does no I/O; feeding it the
same events gives the same outputs. Backtest, replay, simulated exchange, paper and live differ only
in who feeds it and who carries its commands away.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from scalpdesk.closing.closer import closing_lines
from scalpdesk.closing.last_resort import GRACE_SECONDS, STEP_SECONDS, Flattener
from scalpdesk.core.enums import (
    EXERCISED,
    STRICTNESS,
    ChangeCause,
    DecisionKind,
    Mode,
    OperatorAction,
    OperatorCause,
    SessionPhase,
)
from scalpdesk.core.errors import ArgumentError, InvariantError, nearest_name
from scalpdesk.core.events import (
    AccountComparison,
    AccountLimits,
    AccountSnapshot,
    BarEvent,
    CancelRejected,
    DividendEvent,
    Event,
    FillBusted,
    FolderAnswered,
    ForecastEvent,
    GammaExposureEvent,
    ImpliedVolEvent,
    OpenInterestEvent,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    PositionChanged,
    PriceAdjustmentEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    SessionEvent,
    TimerEvent,
    TradeEvent,
    TradingHalt,
    UnmatchedOrderEvent,
)
from scalpdesk.core.intents import (
    EXITS,
    AskFolder,
    CancelIntent,
    Decision,
    LegOrders,
    MultiLegOrder,
    OrderIntent,
    Output,
    SetTimer,
    SubmitOrder,
)
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.engine.admission import OrderAdmission
from scalpdesk.engine.desk import LOSS_MODES, Desk
from scalpdesk.engine.exposure import note_returns, weighted_mark
from scalpdesk.engine.timers import LOSS_TIMER
from scalpdesk.marketdata.latest_quotes import InstrumentRows, SessionRows
from scalpdesk.marketdata.state import QuoteBook
from scalpdesk.marketdata.triggers import EveryQuote, Trigger, Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.order_manager import net_limit
from scalpdesk.strategies.contract import (
    OnSizeCut,
    Proposal,
    Strategy,
    UsesSubBooks,
    check_proposal,
    check_sequence,
    not_an_action,
    triggers_of,
)

MARK_TIMER = "mark"
FLATTEN_TIMER = "flatten"
HALT_TIMER = "halt: cancel again"
CANCEL_AGAIN_NS = 2 * NANOS_PER_SECOND
"""A halted desk repeats a cancel that was refused so much later; nothing else wakes it."""
CANCEL_TIMER = "cancels: not over"
CANCEL_ALERT_NS = MINUTE_NS
"""An order that is not over so long after its cancel was asked for is named in an alert."""
CANCEL_LATE_NS = 2 * NANOS_PER_SECOND
"""A cancel without an answer for so long is no ordinary one: from then on a timer waits for the alert."""
NOTHING: tuple[Output, ...] = ()
ORDER, PRICE, SESSION = Wake.ORDER, Wake.PRICE, Wake.SESSION
LEGS = LegOrders.LEGS
FLATTENING = Mode.FLATTENING  # looking up an enum's member costs as much as a call
After = Callable[[Any, Wake], None]
"""What follows once the strategy was woken; takes the event and the reason."""


class _AskedCancel:
    """When the cancel of an order was asked for, UTC nanoseconds."""

    __slots__ = ("first_ns", "has_timer", "last_ns")

    def __init__(self, now_ns: int) -> None:
        self.first_ns = self.last_ns = now_ns
        self.has_timer = False


class TradingEngine:
    """One strategy on one account.

    Parameters
    ----------
    mark_seconds
        How often the book is marked and its change explained; every fill is marked besides.
    """

    def __init__(self, desk: Desk, strategy: Strategy, *, mark_seconds: float = 60.0) -> None:
        self.desk = desk
        self.strategy = strategy
        self.now_ns = 0
        self.evaluations = 0
        """How often the strategy was woken."""
        self._admission = OrderAdmission(desk)
        self._mark_ns = int(mark_seconds * NANOS_PER_SECOND)
        self._triggers: list[Trigger | None] = [None] * len(desk.instruments)
        self._out: list[Output] = []
        self._mode_after_flattening: Mode | None = None
        """While the risk gate itself is flattening: the mode to go back to in the next session."""
        self._half_booked_ns = -1
        """Instant of a change of which more parts follow: the book has a worth then that it never had."""
        self._adjusted: dict[InstrumentId, str] = {}
        """Options that held ones were adjusted to, with the words for it: no strategy knows them."""
        self._flattener = Flattener(desk.instruments)
        self._flatten_due = False
        self._cancels_again = False
        self._asked_cancels: dict[str, _AskedCancel] = {}
        """By client order id, of orders that were not over when they were last looked at."""
        if isinstance(strategy, UsesSubBooks):
            desk.divide(strategy.open_books(desk.view))
        self._view = desk.view
        self._quotes: QuoteBook = desk.market.quotes
        self._recent = desk.market.recent
        self._apply_quote = desk.market.apply_quote
        self._on_wake = strategy.on_wake
        self._valuer, self._carry = desk.delta_engine, desk.delta_engine.carry
        self._valuer.learns = False  # from its first event on, and in events only

    @property
    def watched(self) -> AbstractSet[InstrumentId]:
        """Instruments whose every quote may lead to something; known once a session is open."""
        return {InstrumentId(number) for number, trigger in enumerate(self._triggers) if trigger is not None}

    def read_quotes(self, latest: QuoteBook, handled: QuoteBook) -> None:
        """Read the latest quotes in one book and set those that are handled in another."""
        self.desk.market.quotes = latest
        self._quotes = handled

    def trigger(self, number: InstrumentId) -> Trigger | None:
        """Return the trigger of an instrument; known once a session is open."""
        return self._triggers[number]

    def pass_over(self, rows: SessionRows, own: InstrumentRows, first: int, last: int) -> None:
        """Take in an instrument's quotes from ``first`` to before ``last``, at which no strategy is called.

        The state is the one that :meth:`handle` would leave after each of them: tradable quotes before the
        row that the instrument's trigger has found.
        """
        number, market, trigger = own.number, self.desk.market, self._triggers[own.number]
        if first == last or trigger is None:
            return
        self.now_ns = own.known_ns(last - 1)
        trigger.learn(own, first, last)
        locked = own.count_locked(first, last)
        if locked or self._recent:
            market.pass_over(number, rows, own.rows[first:last], locked)

    def handle(self, event: Event) -> tuple[Output, ...]:  # noqa: PLR0912, PLR0915 - one branch an event
        """Take one event in and return what follows from it, in order.

        Raises
        ------
        InvariantError
            When time runs backwards, or an order event contradicts the ledger. What the event had
            led to until then is dropped.
        """
        now_ns = event.ts_recv_ns
        if now_ns < self.now_ns:
            raise InvariantError(
                "an event lies before the one that was handled last", where=repr(event)[:120]
            )
        self.now_ns = now_ns
        wake: Wake | None = None
        after: After | None = None
        try:
            if type(event) is not QuoteEvent:
                self._valuer.learns = True
            # by frequency: the types are final, and comparing them costs a tenth of isinstance
            if type(event) is QuoteEvent:
                number, quotes = event.instrument_id, self._quotes
                last = quotes[number]
                # most quotes are good at sight and only kept; the others are judged
                if 0.0 < event.bid < event.ask < 1e300 and (
                    last is None or event.ts_event_ns >= last.ts_event_ns
                ):
                    quotes[number] = event
                elif not self._apply_quote(event):
                    return NOTHING
                trigger = self._triggers[number]
                if trigger is None:
                    return NOTHING
                if self._recent and number in self._recent:
                    recent = self._recent[number]
                    if not recent or recent[-1] is not event:
                        recent.append(event)
                if type(trigger) is EveryQuote:
                    wake = PRICE
                else:
                    wake = trigger.take(event)
                    if wake is None:
                        return NOTHING
                    after = trigger.done
            elif type(event) is OrderFilled:
                wake = self._on_fill(event)
                after = self._flatten_late if self.desk.gate.mode is FLATTENING else None
            elif type(event) is OrderAccepted or type(event) is OrderRejected:
                self.desk.orders.apply(event)
                self.desk.gate.counters.note_answer(now_ns, rejected=type(event) is OrderRejected)
                wake = ORDER
            elif type(event) is TradeEvent:
                self.desk.market.apply_trade(event)
            elif type(event) is BarEvent:
                self.desk.market.apply_bar(event)
                if event.instrument_id in self.desk.gate.halted:
                    self._on_traded(event)
                if self._triggers[event.instrument_id] is not None:
                    wake = Wake.BAR
            elif type(event) is TimerEvent:
                wake = self._on_timer(event)
            elif (
                type(event) is OrderCancelled
                or type(event) is OrderExpired
                or type(event) is OrderStatusUnknown
                or type(event) is OrderNotFound
            ):
                self.desk.orders.apply(event)
                wake = ORDER
            elif type(event) is CancelRejected:
                self._on_cancel_rejected(event)
                wake = ORDER
            elif type(event) is FillBusted:
                wake, after = self._on_bust(event), self._flatten_late
            elif type(event) is FolderAnswered:
                wake = Wake.ANSWER
            elif type(event) is SessionEvent:
                wake = SESSION
                self._out += self.desk.settle_offsets(now_ns)
                if event.phase is SessionPhase.CLOSE:
                    after = self._close_session
                else:
                    self._open_session(event)
            elif type(event) is PositionChanged:
                wake, after = self._on_position_changed(event), self._flatten_late
            elif type(event) is AccountSnapshot:
                self.desk.adopt(event)
                wake = Wake.ACCOUNT
            elif type(event) is AccountLimits:
                self.desk.gate.venue_limits = event
                self.desk.is_margined |= event.margin_fraction is not None
                self.desk.gate.cash_at_report = self.desk.account.cash
            elif type(event) is AccountComparison:
                self.desk.gate.is_compared = self.desk.view.is_compared = event.is_compared
            elif type(event) is OperatorEvent:
                wake = self._on_operator(event)
            elif type(event) is OpenInterestEvent:
                self.desk.market.apply_open_interest(event)
            elif type(event) is RateEvent:
                self.desk.market.apply_rates(event)
            elif type(event) is DividendEvent:
                self.desk.market.apply_dividend(event)
            elif type(event) is PriceAdjustmentEvent:
                self.desk.market.apply_adjustment(event)
            elif type(event) is ForecastEvent:
                self.desk.market.apply_forecast(event)
            elif type(event) is GammaExposureEvent:
                self.desk.market.apply_gamma_exposure(event)
            elif type(event) is SessionBarsEvent:
                self.desk.market.apply_session_bars(event)
            elif type(event) is ImpliedVolEvent:
                self.desk.market.apply_implied_vol(event)
            elif type(event) is TradingHalt:
                self._on_status(event)
            elif type(event) is UnmatchedOrderEvent:
                self.desk.orders.unmatched.append(event)
            else:
                assert_never(event)
            if wake is not None:
                view = self._view
                if view.session is not None or wake is SESSION:
                    self._valuer.learns = True
                    if wake is PRICE and now_ns >= self._carry.due_ns:  # at the same instant in every mode
                        self._carry.measure_due(now_ns)
                    view.now_ns = now_ns
                    self.evaluations += 1
                    on_wake = self._on_wake  # called as a method it is looked for in the class first
                    actions = on_wake(view, wake, event)
                    if actions:
                        check_sequence(actions, self.strategy.name)
                        for action in actions:
                            if type(action) is Proposal:
                                check_proposal(action, self.strategy.name, len(self.desk.instruments))
                                self._decide(action)
                            elif type(action) is SetTimer or type(action) is AskFolder:
                                self._out.append(action)
                            else:
                                raise not_an_action(action, self.strategy.name)  # noqa: TRY301 - as a fault within
                if after is not None:
                    after(event, wake)
        except BaseException:
            self._out.clear()
            raise
        finally:
            self._valuer.learns = False
        if not self._out:
            return NOTHING
        outputs, self._out = tuple(self._out), []
        return outputs

    # decisions ----------------------------------------------------------------------------------

    def _decide(self, proposal: Proposal) -> None:
        """Turn a proposal into a decision: taken with its orders, or skipped with every reason."""
        desk, now_ns, out = self.desk, self.now_ns, self._out
        manager, counters, instruments = desk.orders, desk.gate.counters, desk.instruments.by_id
        kind = proposal.kind
        if kind.__class__ is not DecisionKind:  # a plug-in's plain text
            kind = _kind_of(kind)
        orders: list[OrderIntent] = []
        cancels: list[str] = []
        for intent in proposal.intents:
            if type(intent) is not CancelIntent:
                orders.append(intent)
            elif manager.may_cancel(intent.client_order_id, now_ns):
                cancels.append(intent.client_order_id)
        if proposal.intents and not orders and not cancels and not proposal.carried_out:
            return  # only cancels, all refused a moment ago
        admitted = self._admission.judge(orders, now_ns, all_or_none=proposal.all_or_none)
        commands: list[SubmitOrder | MultiLegOrder] = []
        ids: list[str] = []
        combo: MultiLegOrder | None = None
        if proposal.leg_orders is not LEGS and self._admission.may_combine(
            admitted.intents, proposal.leg_orders
        ):
            combo = manager.submit_combo(admitted.intents, net_limit(admitted.intents), now_ns)
            commands.append(combo)
            ids += [leg.client_order_id for leg in combo.legs]
        for order in admitted.intents:
            if combo is None:
                command = manager.submit(order, now_ns)
                commands.append(command)
                ids.append(command.client_order_id)
            is_option = instruments[order.instrument_id].is_option
            size = ZERO if order.purpose in EXITS else order.quantity
            counters.note_order(now_ns, size, is_option=is_option)
        if admitted.notes and isinstance(self.strategy, OnSizeCut):
            self.strategy.on_cut(self._view, admitted.intents)
        for client_order_id in cancels:
            self._cancel(client_order_id)
        taken = bool(commands or cancels) or proposal.carried_out
        reasons = proposal.reasons + admitted.notes + admitted.refusals
        out.append(Decision(now_ns, kind, taken, reasons, proposal.facts, tuple(ids)))
        out += commands

    def _cancel(self, client_order_id: str, *, again: bool = False) -> None:
        command = self.desk.orders.cancel(client_order_id, again=again)
        if command is None:
            return
        self.desk.gate.counters.note_cancel(self.now_ns)
        self._out.append(command)
        asked = self._asked_cancels.get(client_order_id)
        if asked is None:
            self._asked_cancels[client_order_id] = _AskedCancel(self.now_ns)
        else:
            asked.last_ns = self.now_ns

    def _on_cancel_rejected(self, event: CancelRejected) -> None:
        """Apply a refusal; one that came at once ends the wait for the cancel, unless nothing may work on."""
        desk, now_ns = self.desk, self.now_ns
        order = desk.orders.apply(event)
        for leg in desk.orders.legs_with(order):
            asked = self._asked_cancels.get(leg.client_order_id)
            is_prompt = asked is not None and now_ns - asked.last_ns < CANCEL_LATE_NS
            if is_prompt and desk.gate.mode in LOSS_MODES:
                del self._asked_cancels[leg.client_order_id]
        self._watch_cancels()

    def _watch_cancels(self) -> None:
        """Name in an alert each order that is not over a minute after its cancel was asked for.

        A venue that takes a cancel may drop it, and may leave an order in ``pending_cancel`` for a day.
        """
        live, now_ns = self.desk.orders.live, self.now_ns
        for name, asked in tuple(self._asked_cancels.items()):
            order = live.get(name)
            if order is None:
                del self._asked_cancels[name]
            elif now_ns >= asked.first_ns + CANCEL_ALERT_NS:
                del self._asked_cancels[name]  # asked for again, it is named again
                symbol = self.desk.instruments[order.submitted.instrument_id].symbol
                seconds = (now_ns - asked.first_ns) // NANOS_PER_SECOND
                why = f"order {name} in {symbol} is not over {seconds} s after its cancel: {order.state}"
                facts: dict[str, str | float | int] = {"order": name, "symbol": symbol, "seconds": seconds}
                self._out.append(Decision(now_ns, DecisionKind.ALERT, True, (why,), facts))
            elif self.desk.gate.mode is Mode.HALTED or asked.has_timer:
                continue  # a halted desk looks every other second
            elif now_ns >= asked.last_ns + CANCEL_LATE_NS:
                asked.has_timer = True
                self._out.append(SetTimer(CANCEL_TIMER, asked.first_ns + CANCEL_ALERT_NS))

    # market and time ----------------------------------------------------------------------------

    def _close_session(self, event: SessionEvent, wake: Wake) -> None:  # noqa: ARG002 - a step after a wake
        self._mark(is_anchor=True)
        self._view.session = None

    def _open_session(self, event: SessionEvent) -> None:
        desk = self.desk
        desk.open_session(event)
        if self._mode_after_flattening is not None:
            mode, self._mode_after_flattening = self._mode_after_flattening, None
            if desk.gate.stopped_from is None:
                self._set_mode(mode, "a new session", "risk gate")
            else:
                desk.gate.stopped_from = mode
        self._flatten_due = self._cancels_again = False  # timers end with the session
        for asked in self._asked_cancels.values():
            asked.has_timer = False
        if desk.gate.mode is Mode.HALTED:
            self._cancel_again_soon()
        if desk.gate.mode is FLATTENING:
            self._begin_flattening()
        if not desk.started:
            desk.started = True
            for trigger in triggers_of(self.strategy, desk.view):
                self._triggers[trigger.instrument_id] = trigger
        self._out.append(SetTimer(MARK_TIMER, self.now_ns + self._mark_ns))

    def _on_timer(self, event: TimerEvent) -> Wake | None:
        if event.name == MARK_TIMER:
            if self.now_ns >= self._carry.due_ns:
                self._carry.measure_due(self.now_ns)
            self._mark()
            if self.desk.correlation is not None:
                note_returns(self.desk, self.desk.correlation)
            self._watch_cancels()
            session = self.desk.view.session
            if session is not None and self.now_ns < session.close_ns:
                self._out.append(SetTimer(MARK_TIMER, self.now_ns + self._mark_ns))
        elif event.name == LOSS_TIMER:
            self._mark()
        elif event.name == CANCEL_TIMER:
            self._watch_cancels()
        elif event.name == HALT_TIMER:
            self._cancels_again = False
            self._watch_cancels()
            if self.desk.gate.mode is Mode.HALTED:
                for client_order_id, order in tuple(self.desk.orders.live.items()):
                    if order.state is not OrderState.UNKNOWN:  # the question of what became of it comes first
                        self._cancel(client_order_id)
                self._cancel_again_soon()
        elif event.name == FLATTEN_TIMER:
            self._watch_cancels()
            self._flatten()
        else:
            return Wake.TIMER
        return None

    def _mark(self, *, is_anchor: bool = False) -> None:
        """Mark the book, explain the change since the last mark, and stop at the session's loss limit.

        A book that is half booked is not judged.
        """
        desk = self.desk
        mark = desk.attribution.mark(self.now_ns, is_anchor=is_anchor)
        nav = desk.attribution.nav
        for division in desk.divisions:
            division.mark(self.now_ns, is_anchor=is_anchor)
        if mark is not None:
            self._out.append(mark if desk.by_underlying is None else weighted_mark(desk, mark))
        if self._half_booked_ns == self.now_ns:
            return
        if nav < desk.session_equity and desk.gate.mode in LOSS_MODES and (why := desk.loss_at_limit(nav)):
            self._mode_after_flattening = desk.gate.mode
            self._set_mode(FLATTENING, why, "risk gate")
        stage = desk.margin_stage() if desk.is_margined and desk.gate.mode in LOSS_MODES else None
        if stage is not None and stage[0] is not desk.gate.mode:
            if stage[0] is FLATTENING:
                self._mode_after_flattening = desk.gate.mode
            self._set_mode(*stage, "risk gate")

    def _on_status(self, event: TradingHalt) -> None:
        """Follow a trading status, unless a later one came before it: a halt that is over stays over."""
        latest = self.desk.gate.status_ns
        if event.ts_event_ns < latest.get(event.instrument_id, 0):
            return
        latest[event.instrument_id] = event.ts_event_ns
        if event.is_halted and event.instrument_id in self.desk.gate.halted:
            # halted again, or still: a bar that began before this message does not show its end
            self.desk.gate.halted[event.instrument_id] = event.ts_event_ns
        self._on_halt(event.instrument_id, event.ts_event_ns if event.is_halted else None, event.reason)

    def _on_halt(self, instrument_id: InstrumentId, since_ns: int | None, reason: str) -> None:
        """Note a halt of trading in an instrument and cancel what works in it, or its end (None)."""
        desk, halted = self.desk, self.desk.gate.halted
        if (since_ns is None) is (instrument_id not in halted):
            return
        symbol = desk.instruments[instrument_id].symbol
        if since_ns is None:
            del halted[instrument_id]
            what = f"{symbol}: trading resumed"
            self._flatten_late()
        else:
            halted[instrument_id] = since_ns
            what = f"{symbol}: trading halted, no orders in it until it resumes"
        reasons = (f"{what} ({reason})" if reason else what,)
        self._out.append(Decision(self.now_ns, DecisionKind.ALERT, True, reasons, {"symbol": symbol}))
        if since_ns is not None:  # what rests would trade at a price that nobody has seen
            for name, order in tuple(desk.orders.live.items()):
                if desk.view.is_halted(order.submitted.instrument_id):
                    self._cancel(name)

    def _on_traded(self, event: BarEvent) -> None:
        """End a halt whose end was missed: a bar that began after it is made of trades."""
        gate, began_ns = self.desk.gate, event.ts_event_ns - event.bar_seconds * NANOS_PER_SECOND
        if began_ns >= gate.halted[event.instrument_id]:
            gate.status_ns[event.instrument_id] = began_ns + 1  # the halt's own message may come again
            self._on_halt(event.instrument_id, None, "it trades again")

    # orders and account -------------------------------------------------------------------------

    def _on_fill(self, event: OrderFilled) -> Wake | None:
        desk, now_ns = self.desk, self.now_ns
        order = desk.orders.orders.get(event.client_order_id) or desk.orders.order(event.client_order_id)
        sent, is_first = order.submitted, not (order.executions or order.busted)
        if not is_first and order.has_seen(event.execution_id):
            desk.orders.fill(order, event)
            return None
        self._mark()
        held_before = desk.positions.quantity(sent.instrument_id)
        desk.orders.fill(order, event)
        desk.book_fill(sent, event)
        desk.attribution.rebase(now_ns, desk.attribution.marks)
        if is_first and sent.purpose not in EXITS:
            why = desk.gate.why_disable(now_ns, sent.instrument_id, sent.side, held_before)
            if why is not None and desk.gate.mode is Mode.ACTIVE:
                symbol = desk.instruments[sent.instrument_id].symbol
                self._set_mode(Mode.REDUCING, f"{symbol}: {why}", "risk gate")
        is_flat = desk.gate.mode is FLATTENING and not desk.positions.held()
        if is_flat or desk.view.session is None:  # nothing marks later: the run may end here
            self._mark()
        return ORDER

    def _on_bust(self, event: FillBusted) -> Wake | None:
        desk = self.desk
        order = desk.orders.order(event.client_order_id)
        if event.execution_id not in order.executions:
            desk.orders.apply(event)
            return None
        self._mark()
        desk.orders.apply(event)
        desk.book_bust(event)
        desk.attribution.rebase(self.now_ns)
        if not event.is_corrected and not event.more_follow:
            return ORDER
        self._flatten_late()  # the execution in its place or another bust follows: the book is incomplete
        return None

    def _on_position_changed(self, event: PositionChanged) -> Wake | None:
        desk = self.desk
        if desk.positions.already_applied(event.reference):
            return None
        if event.cause is ChangeCause.DIVIDEND:
            desk.book_change(event)  # before the first quote without it: one step with the night
            return None if event.more_follow else Wake.ACCOUNT
        in_action = event.cause is ChangeCause.CORPORATE_ACTION
        if not (in_action and self._half_booked_ns == self.now_ns):  # one step with its other parts
            self._mark()
        desk.book_change(event)
        desk.attribution.rebase(self.now_ns)
        is_half = event.more_follow or event.cause in EXERCISED
        self._half_booked_ns = self.now_ns if is_half else -1
        if not (in_action and event.more_follow):
            self._mark()
        trades_again = desk.gate.mode in LOSS_MODES or self._mode_after_flattening is not None
        if event.source is not None:
            old, new = desk.instruments[event.source], desk.instruments[event.instrument_id]
            if old is not new and old.is_option:
                self._adjusted[event.instrument_id] = f"{old.symbol} was adjusted to {new.symbol}"
                if trades_again:
                    self._leave_adjusted()
        if not is_half:
            return Wake.ACCOUNT
        self._flatten_late()  # only half of an exercise is booked: the delivery that completes it follows
        return None

    # mode and flattening ------------------------------------------------------------------------

    def _on_operator(self, event: OperatorEvent) -> Wake | None:
        gate, mode = self.desk.gate, event.action.mode
        if event.cause is OperatorCause.RECONCILIATION and gate.kept_mode is not Mode.ACTIVE:
            if self._mode_after_flattening is Mode.ACTIVE:  # it counts from the next session on
                self._mode_after_flattening = mode
            return None
        if event.cause is not OperatorCause.STOP:
            gate.expires_from_active = event.cause is OperatorCause.DEADLINE and gate.mode is Mode.ACTIVE
            self._mode_after_flattening = None  # an operator's mode outlasts the session
            if mode is Mode.ACTIVE:
                gate.stopped_from = None
            elif gate.stopped_from is not None:  # it is kept for the next start, and counts now if stricter
                gate.stopped_from, mode = mode, max(mode, gate.mode, key=STRICTNESS.index)
        elif event.action is OperatorAction.RESUME:
            mode, gate.stopped_from = gate.kept_mode, None
        else:
            gate.stopped_from = gate.kept_mode
        if mode is Mode.HALTED or mode is FLATTENING:
            # what a flattening desk has at work closes positions: only what was to go is cancelled again
            self._cancel_again(everything=mode is Mode.HALTED and mode is gate.mode)
        if mode is gate.mode:
            return None
        if mode is Mode.ACTIVE:
            gate.counters.forget_executions()
        self._set_mode(mode, event.reason, event.who)
        if mode in LOSS_MODES:
            self._leave_adjusted()
        return Wake.OPERATOR

    def _leave_adjusted(self) -> None:
        """Close everything while an adjusted option is held: no strategy knows it, in any later session."""
        for number, why in self._adjusted.items():
            if self.desk.positions.quantity(number):
                self._mode_after_flattening = None
                self._set_mode(FLATTENING, why, "risk gate")
                return

    def _cancel_again(self, *, everything: bool) -> None:
        """Cancel again what is being cancelled, or all: an operator waits for no proof of a loss."""
        wholes: set[str] = set()
        for name, order in tuple(self.desk.orders.live.items()):
            whole = order.parent_id or name
            if (everything or order.state is OrderState.PENDING_CANCEL) and whole not in wholes:
                wholes.add(whole)
                self._cancel(name, again=True)

    def _set_mode(self, mode: Mode, reason: str, who: str) -> None:
        """Change the desk's mode, report it, and cancel what works at the venue where the mode says so."""
        desk = self.desk
        reasons = (f"{desk.gate.mode} to {mode}: {reason}",)
        desk.gate.mode = desk.view.mode = mode
        self._out.append(Decision(self.now_ns, DecisionKind.MODE, True, reasons, {"who": who}))
        if mode is Mode.HALTED or mode is FLATTENING:
            for client_order_id in desk.orders.live_ids():
                self._cancel(client_order_id)
        if mode is Mode.HALTED:
            self._cancel_again_soon()
        if mode is FLATTENING:
            self._begin_flattening()
        if mode in LOSS_MODES:  # what works may work on
            live = desk.orders.live
            for name in tuple(self._asked_cancels):
                if name not in live or live[name].state is not OrderState.PENDING_CANCEL:
                    del self._asked_cancels[name]

    def _cancel_again_soon(self) -> None:
        """Set the timer at which a halted desk cancels what still works; one at a time.

        A cancel may be refused or lost, and an order may show only later that it lives.
        """
        if self.desk.orders.live and not self._cancels_again:
            self._cancels_again = True
            self._out.append(SetTimer(HALT_TIMER, self.now_ns + CANCEL_AGAIN_NS))

    def _begin_flattening(self) -> None:
        """Give the strategy time for its own exit, then close what it leaves."""
        self._flattener.begin()
        self._flatten_soon(GRACE_SECONDS)

    def _flatten_late(self, *_: object) -> None:
        """Plan a step for what changes the book while the desk is flattening."""
        if self.desk.gate.mode is FLATTENING:
            self._flatten_soon()

    def _flatten_soon(self, seconds: float = STEP_SECONDS) -> None:
        """Plan a step, also after a late fill, a bust or a delivery when nothing was left before."""
        if not self._flatten_due and self._view.session is not None:
            self._flatten_due = True
            self._out.append(SetTimer(FLATTEN_TIMER, self.now_ns + int(seconds * NANOS_PER_SECOND)))

    def _flatten(self) -> None:
        """Take one step towards a flat book, while the desk is flattening."""
        desk = self.desk
        self._flatten_due = False
        if desk.gate.mode is not FLATTENING or desk.view.session is None:
            return
        books = None
        if desk.books is not None:
            books = {owner: book.positions for owner, book in desk.books.books.items()}
        step = self._flattener.step(
            self.now_ns,
            closing_lines(desk.positions, books),
            tuple(desk.orders.live.values()),
            desk.market.quotes,
            desk.gate.limits,
            desk.view.venue,
            desk.view.is_halted,
        )
        if step.reasons:
            intents = step.cancels or step.orders
            self._decide(Proposal(DecisionKind.EXIT, step.reasons, {}, intents, all_or_none=False))
        if step.again_in_seconds is not None:
            self._flatten_soon(step.again_in_seconds)


def _kind_of(text: str) -> DecisionKind:
    """Return a decision's kind by its name; another one could not be read back from a journal."""
    try:
        return DecisionKind(text)
    except ValueError:
        names = [kind.value for kind in DecisionKind]
        raise ArgumentError(
            "a proposal has a kind that is not known",
            where="Proposal.kind",
            value=text,
            nearest=nearest_name(text, names),
            fix=f"use one of {', '.join(names)}",
        ) from None
