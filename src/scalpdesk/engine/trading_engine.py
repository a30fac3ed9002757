"""The heart: ``handle(event) -> outputs``. Everything the desk decides is decided in here.

Read :meth:`TradingEngine.handle` downwards: market state, triggers, strategy, risk gate, orders,
out. It is synchronous and reads no clock, draws no random number and does no I/O; feeding it the
same events gives the same outputs. Backtest, replay, simulated exchange, paper and live differ only
in who feeds it and who carries its commands away.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from scalpdesk.core.enums import EXERCISED, DecisionKind, Mode, SessionPhase
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
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
    OpenInterestEvent,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    SessionEvent,
    TimerEvent,
    TradeEvent,
)
from scalpdesk.core.intents import CancelIntent, Decision, OrderIntent, Output, SetTimer, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.engine.admission import OrderAdmission
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.flattening import GRACE_SECONDS, STEP_SECONDS, Flattener
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.context import EXITS
from scalpdesk.strategies.contract import Action, OnSizeCut, Proposal, Strategy, UsesSubBooks

ZERO = Decimal(0)
MARK_TIMER = "mark"
FLATTEN_TIMER = "flatten"
NOTHING: tuple[Output, ...] = ()
ORDER, PRICE = Wake.ORDER, Wake.PRICE  # looking up an enum's member costs as much as a call
Check = Callable[[QuoteEvent], Wake | None]
Done = Callable[[QuoteEvent, Wake], None]


class TradingEngine:
    """One strategy on one account.

    Parameters
    ----------
    desk
        The parts: market state, positions, account, orders, risk gate, attribution.
    strategy
        What decides.
    mark_seconds
        How often the book is marked and its change explained; every fill is marked besides.
    """

    def __init__(self, desk: Desk, strategy: Strategy, *, mark_seconds: float = 60.0) -> None:
        self.desk = desk
        self.strategy = strategy
        self.now_ns = 0
        self.evaluations = 0
        """How often the strategy was asked."""
        self._admission = OrderAdmission(desk)
        self._mark_ns = int(mark_seconds * NANOS_PER_SECOND)
        self._triggers: dict[int, tuple[Check | None, Done | None]] = {}
        """What each trigger is asked and told, by instrument; None where every quote is a reason to think."""
        self._out: list[Output] = []
        self._latched: Mode | None = None
        """While the risk gate itself is flattening: the mode to go back to in the next session."""
        self._flattener = Flattener(desk)
        self._flatten_due = False
        if isinstance(strategy, UsesSubBooks):
            desk.divide(strategy.open_books(desk.view))
        # bound once: each of these is looked up for every quote
        self._view = desk.view
        self._quotes = desk.market.quotes
        self._apply_odd_quote = desk.market.apply_odd_quote
        self._on_wake = strategy.on_wake
        self._on = {
            TradeEvent: desk.market.apply_trade,
            BarEvent: self._on_bar,
            OpenInterestEvent: desk.market.apply_open_interest,
            RateEvent: desk.market.apply_rates,
            DividendEvent: desk.market.apply_dividend,
            ForecastEvent: desk.market.apply_forecast,
            GammaExposureEvent: desk.market.apply_gamma_exposure,
            SessionBarsEvent: desk.market.apply_session_bars,
            SessionEvent: self._on_session,
            OrderFilled: self._on_fill,
            OrderAccepted: self._on_order_event,
            OrderRejected: self._on_order_event,
            OrderCancelled: self._on_order_event,
            OrderExpired: self._on_order_event,
            CancelRejected: self._on_order_event,
            OrderStatusUnknown: self._on_order_event,
            OrderNotFound: self._on_order_event,
            FillBusted: self._on_bust,
            PositionChanged: self._on_position_changed,
            AccountSnapshot: self._on_snapshot,
            AccountLimits: self._on_account_limits,
            TimerEvent: self._on_timer,
            OperatorEvent: self._on_operator,
            FolderAnswered: self._on_answer,
        }

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Take one event in and return what follows from it, in order.

        Raises
        ------
        InvariantError
            When time runs backwards, or an order event contradicts the ledger.
        """
        now_ns = event.ts_recv_ns
        if now_ns < self.now_ns:
            raise InvariantError(
                "an event lies before the one that was handled last", where=repr(event)[:120]
            )
        self.now_ns = now_ns
        if type(event) is QuoteEvent:  # nearly all events: no dispatch, no list
            number = event.instrument_id
            last = self._quotes[number]
            # MarketState.apply_quote, written out: its call is a tenth of a quote's time
            if 0.0 < event.bid < event.ask < 1e300 and (
                last is None or event.ts_event_ns >= last.ts_event_ns
            ):
                self._quotes[number] = event
            elif not self._apply_odd_quote(event, last):
                return NOTHING
            trigger = self._triggers.get(number)
            if trigger is None:
                return NOTHING
            check, done = trigger
            wake = PRICE
            if check is not None:
                found = check(event)
                if found is None:
                    return NOTHING
                wake = found
            view = self._view
            if view.session is not None:  # _think, written out: its call is a tenth of a quote's time
                view.now_ns = now_ns
                self.evaluations += 1
                actions = self._on_wake(view, wake, event)
                if actions:
                    self._carry_out(actions)
            if done is not None:
                done(event, wake)
        else:
            self._on[type(event)](event)  # type: ignore[operator]
        if not self._out:
            return NOTHING
        outputs = tuple(self._out)
        self._out.clear()
        return outputs

    # thinking -----------------------------------------------------------------------------------

    def _think(self, wake: Wake, event: Event) -> None:
        """Ask the strategy; let what it wants through the gate."""
        view = self._view
        if view.session is None and wake is not Wake.SESSION:
            return
        view.now_ns = self.now_ns
        self.evaluations += 1
        actions = self._on_wake(view, wake, event)
        if actions:
            self._carry_out(actions)

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if type(action) is Proposal:
                self._decide(action)
            else:
                self._out.append(action)  # type: ignore[arg-type]

    def _decide(self, proposal: Proposal) -> None:
        """Turn a proposal into a decision: taken with its orders, or skipped with every reason."""
        orders: list[OrderIntent] = []
        cancels: list[CancelIntent] = []
        for intent in proposal.intents:
            if isinstance(intent, CancelIntent):
                cancels.append(intent)
                continue
            orders.append(intent)
        verdict = self._admission.judge(orders, self.now_ns, all_or_none=proposal.all_or_none)
        commands = self._send(verdict.intents)
        if verdict.notes and isinstance(self.strategy, OnSizeCut):
            self.strategy.on_cut(self._view, verdict.intents)
        for cancel in cancels:
            command = self.desk.orders.cancel(cancel.client_order_id)
            if command is not None:
                self.desk.gate.tallies.note_cancel(self.now_ns)
                self._out.append(command)
        self._out.append(
            Decision(
                ts_ns=self.now_ns,
                kind=proposal.kind,
                taken=bool(commands or cancels) or proposal.carried_out,
                reasons=proposal.reasons + verdict.notes + verdict.refusals,
                facts=proposal.facts,
                client_order_ids=tuple([command.client_order_id for command in commands]),
            )
        )
        self._out.extend(commands)

    def _send(self, intents: Sequence[OrderIntent]) -> list[SubmitOrder]:
        commands = []
        for intent in intents:
            commands.append(self.desk.orders.submit(intent, self.now_ns))
            is_option = isinstance(self.desk.instruments[intent.instrument_id], OptionContract)
            self.desk.gate.note_sent(self.now_ns, intent, is_option=is_option)
        return commands

    # market -------------------------------------------------------------------------------------

    def _on_bar(self, event: BarEvent) -> None:
        self.desk.market.apply_bar(event)
        if event.instrument_id in self._triggers:
            self._think(Wake.BAR, event)

    def _on_session(self, event: SessionEvent) -> None:
        desk = self.desk
        if event.phase is SessionPhase.OPEN:
            desk.open_session(event)
            if self._latched is not None:
                mode, self._latched = self._latched, None
                self._set_mode(mode, "a new session", "risk gate")
            self._flatten_due = False  # timers end with the session
            if desk.gate.mode is Mode.FLATTENING:
                self._begin_flattening()
            if not desk.started:
                desk.started = True
                for trigger in self.strategy.start(desk.view):
                    every = type(trigger) is EveryQuote
                    self._triggers[trigger.instrument_id] = (
                        (None, None) if every else (trigger.check, trigger.done)
                    )
            self._out.append(SetTimer(MARK_TIMER, self.now_ns + self._mark_ns))
            self._think(Wake.SESSION, event)
        else:
            self._think(Wake.SESSION, event)
            self._mark()
            desk.view.session = None

    def _on_timer(self, event: TimerEvent) -> None:
        if event.name == MARK_TIMER:
            self._mark()
            session = self.desk.view.session
            if session is not None and self.now_ns < session.close_ns:
                self._out.append(SetTimer(MARK_TIMER, self.now_ns + self._mark_ns))
            return
        if event.name == FLATTEN_TIMER:
            self._flatten()
            return
        self._think(Wake.TIMER, event)

    def _on_answer(self, event: FolderAnswered) -> None:
        self._think(Wake.ANSWER, event)

    def _mark(self) -> None:
        mark = self.desk.attribution.mark(self.now_ns)
        self.desk.view.nav = self.desk.attribution.nav
        if self.desk.books is not None:
            self.desk.books.mark(self.now_ns)
        if mark is not None:
            self._out.append(mark)
            self._check_daily_loss()

    # orders and account -------------------------------------------------------------------------

    def _on_fill(self, event: OrderFilled) -> None:
        desk = self.desk
        order = desk.orders.order(event.client_order_id)
        if order.has_seen(event.execution_id):
            desk.orders.apply(event)
            return
        self._mark()
        is_first = not order.was_filled
        held_before = desk.positions.quantity(order.submitted.instrument_id)
        desk.orders.apply(event)
        desk.book_fill(order.submitted, event)
        desk.attribution.rebase(self.now_ns)
        if is_first:
            self._watch_executions(order.submitted, held_before)
        if desk.view.session is None:  # known after the close: no later mark of this session explains it
            self._mark()
        self._think(ORDER, event)
        self._flatten_what_came_late()

    def _watch_executions(self, order: SubmitOrder, held_before: Decimal) -> None:
        """Executed again and again, or in and out of flat: only reduce, until a person resumes."""
        gate = self.desk.gate
        if order.purpose in EXITS:
            return
        why = gate.why_disable(self.now_ns, order.instrument_id, order.side, held_before)
        if why is not None and gate.mode is Mode.ACTIVE:
            symbol = self.desk.instruments[order.instrument_id].symbol
            self._set_mode(Mode.REDUCING, f"{symbol}: {why}", "risk gate")

    def _on_bust(self, event: FillBusted) -> None:
        desk = self.desk
        order = desk.orders.order(event.client_order_id)
        execution = order.executions.get(event.execution_id)
        if execution is None:
            desk.orders.apply(event)
            return
        self._mark()
        desk.orders.apply(event)
        desk.book_bust(order.submitted, event, *execution)
        desk.attribution.rebase(self.now_ns)
        if not event.is_corrected:  # the execution in its place follows: half a story is no reason to trade
            self._think(ORDER, event)
        self._flatten_what_came_late()

    def _on_order_event(self, event: OrderEvent) -> None:
        self.desk.orders.apply(event)
        if type(event) is OrderAccepted or type(event) is OrderRejected:
            self.desk.gate.tallies.note_answer(self.now_ns, refused=type(event) is OrderRejected)
        self._think(ORDER, event)

    def _on_position_changed(self, event: PositionChanged) -> None:
        desk = self.desk
        if desk.positions.already_applied(event.reference):
            return
        self._mark()
        desk.book_change(event)
        desk.attribution.rebase(self.now_ns)
        self._mark()
        if event.cause not in EXERCISED and not event.more_follow:
            # of an exercise only half is booked: the delivery that completes it follows at once
            self._think(Wake.ACCOUNT, event)
        self._flatten_what_came_late()

    def _on_snapshot(self, event: AccountSnapshot) -> None:
        self.desk.adopt(event)
        self._think(Wake.ACCOUNT, event)

    def _on_account_limits(self, event: AccountLimits) -> None:
        self.desk.gate.account = event
        self.desk.gate.cash_when_told = self.desk.account.cash

    def _on_operator(self, event: OperatorEvent) -> None:
        mode = event.action.mode
        self._latched = None  # said from outside: no new session takes it back
        if mode == self.desk.gate.mode:
            return
        if mode is Mode.ACTIVE:
            self.desk.gate.tallies.forgive()
        self._set_mode(mode, event.reason, event.who)
        self._think(Wake.OPERATOR, event)

    def _set_mode(self, mode: Mode, reason: str, who: str) -> None:
        """Change the desk's mode, say so, and take back what still works at the venue."""
        desk = self.desk
        was, desk.gate.mode, desk.view.mode = desk.gate.mode, mode, mode
        self._out.append(
            Decision(self.now_ns, DecisionKind.MODE, True, (f"{was} to {mode}: {reason}",), {"who": who})
        )
        if mode in (Mode.HALTED, Mode.FLATTENING):
            for client_order_id in desk.orders.live_ids():
                command = desk.orders.cancel(client_order_id)
                if command is not None:
                    desk.gate.tallies.note_cancel(self.now_ns)
                    self._out.append(command)
        if mode is Mode.FLATTENING:
            self._begin_flattening()

    def _begin_flattening(self) -> None:
        """Give the strategy a moment for its own exit, then look what it leaves."""
        self._flattener.begin()
        if not self._flatten_due and self.desk.view.session is not None:
            self._look_again_in(GRACE_SECONDS)

    def _flatten_what_came_late(self) -> None:
        """Look again after a late fill, a bust or a delivery, though nothing may have been left before."""
        if (
            self.desk.gate.mode is Mode.FLATTENING
            and not self._flatten_due
            and self._view.session is not None
        ):
            self._look_again_in(STEP_SECONDS)

    def _look_again_in(self, seconds: float) -> None:
        self._flatten_due = True
        self._out.append(SetTimer(FLATTEN_TIMER, self.now_ns + int(seconds * NANOS_PER_SECOND)))

    def _flatten(self) -> None:
        """Close what the strategy left, a step at a time, while the desk is flattening."""
        self._flatten_due = False
        if self.desk.gate.mode is not Mode.FLATTENING or self.desk.view.session is None:
            return
        step = self._flattener.step(self.now_ns)
        if step.proposal is not None:
            self._decide(step.proposal)
        if step.again_in_seconds is not None:
            self._look_again_in(step.again_in_seconds)

    def _check_daily_loss(self) -> None:
        """At the session's loss limit: open nothing more, flatten, until the next session."""
        desk = self.desk
        loss = desk.attribution.nav - desk.session_equity
        if loss >= ZERO:
            return
        limit = desk.daily_loss_limit()
        if loss <= -limit and desk.gate.mode in (Mode.ACTIVE, Mode.REDUCING):
            self._latched = desk.gate.mode
            self._set_mode(
                Mode.FLATTENING, f"daily loss: {loss:.2f} at the limit of {-limit:.2f}", "risk gate"
            )
