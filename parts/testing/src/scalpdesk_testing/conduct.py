"""Laws of what the desk does over time, judged by the events that it is given and the commands that it gives.

Nothing here asks the desk why it acts: halts, timers, looks at the account, a person's commands and the day's
loss are followed on their own.
"""

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

from scalpdesk.core.enums import Mode, SessionPhase
from scalpdesk.core.events import (
    AccountComparison,
    AccountLimits,
    BarEvent,
    CancelRejected,
    Event,
    HoldingsShown,
    OrderNotFound,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
    TimerEvent,
    TradingHalt,
)
from scalpdesk.core.intents import EXITS, CancelOrder, Mark, MultiLegOrder, OrderType, Purpose, SubmitOrder
from scalpdesk.core.units import CENT, NANOS_PER_SECOND, NEVER_NS, ZERO, InstrumentId
from scalpdesk.exchange import OrderUpdate
from scalpdesk.orders.order import TERMINAL, OrderState
from scalpdesk.strategies import SessionEvent, SetTimer
from scalpdesk_testing.invariants import Scene
from scalpdesk_testing.market import SHARE
from scalpdesk_testing.outside_ledger import OutsideLedger

_SECOND = NANOS_PER_SECOND
_TIMER_PATIENCE_NS = 4 * _SECOND
"""By then a timer has fired, in a process that runs."""
_LOSS_PATIENCE_NS = 4 * _SECOND
"""By then a desk whose share is quoted has seen that the day's loss is at its limit."""
_MARK_PATIENCE_NS = 45 * _SECOND
"""Longer than between two marks of the book."""
_EXIT_PATIENCE_NS = 30 * _SECOND
"""A flattening desk with fresh quotes has an exit of each holding at work, or sent, within this time."""
_FLATTEN_SECONDS = 30.0
"""By then an exit of a flattening desk that was not filled was taken back."""
_CANCEL_PATIENCE_NS = 15 * _SECOND
"""A cancel that was sent, or refused, so short a time ago may still take effect."""
_OVER_PATIENCE_NS = 20 * _SECOND
"""An order that the desk holds for over is not open at the venue for longer, with a line."""
_CROSSING_PATIENCE_NS = 8 * _SECOND
"""By then the second order of a hedge across zero was sent."""
_WRITE_PATIENCE_NS = 10 * _SECOND
"""By then quotes that came are on the desk's disk, in a process that runs."""
DOUBT_SECONDS = 15.0
"""By then, with a line, the venue was asked for an order in doubt by its id, and again so long after that."""
_ACCEPTANCE_SECONDS = 10.0
"""So long after an order has left, its absence at the venue proves nothing."""
_FAR_SHARES = 5.0
"""A hedge may miss the middle of its band by so much: quotes are rounded, and some are spoilt."""
_LEFT_SHARES = 2.5
"""So much of a hedge across zero is left that its second order follows, above what quotes are rounded to."""
_MINUTE = 60 * _SECOND
_STRICT = (Mode.ACTIVE, Mode.REDUCING, Mode.FLATTENING, Mode.HALTED)
"""Modes by what they forbid."""


class Conduct:
    """Follows one trial over all lives of its desk.

    ``scene``: The desk and what the other laws look at.
    ``is_slowed``: Whether the desk's process may be late: it is frozen, its clock has jumped, or its disk
    refuses.
    """

    def __init__(self, scene: Scene, *, seconds: Callable[[], float], is_slowed: Callable[[], bool]) -> None:
        self._scene = scene
        self._seconds = seconds
        self.left_at: dict[str, float] = {}
        """Virtual time at which an order's bytes left the desk, by the id that they named."""
        self._in_doubt_since: dict[str, float] = {}
        """Virtual time since when an order in doubt was not asked for, by the id that its bytes name."""
        self._is_slowed = is_slowed
        self.ledger = OutsideLedger(scene.engine.desk)
        self._halted: dict[InstrumentId, int] = {}
        self._statuses: dict[InstrumentId, int] = {}
        """Instant of the latest trading status, and of the halt under way, by instrument."""
        self._timers: dict[tuple[str, int], int] = {}
        """Until when a timer may fire, by name and instant."""
        self._born_ns = 0
        self._is_compared = self._has_doubted = self._has_begun = True
        self._is_shown = False
        """Whether the venue's positions were shown in this life, and no comparison has begun since."""
        self._came_compared = False
        """Whether the journal ends with an account that was compared: that is taken back first."""
        self._lost_since_ns: int | None = None
        self._marked_ns = scene.session.open_ns
        self._exit_missing_ns: int | None = None
        self._sent_ns: deque[int] = deque()
        self._cancelled_ns: dict[str, int] = {}
        self._called_late: set[str] = set()
        self._over_since_ns: dict[str, int] = {}
        self._crossed_ns: int | None = None
        self._acted_ns, self._acted_amid = 0, False
        """When the booking handled last led to an order; whether one of the same look has followed."""
        self._written: tuple[int, int] = (0, 0)
        """Bytes that are on the desk's disk for good, and since when it is no more, UTC nanoseconds."""
        self._busted_ns = 0
        """When the venue took back a trade last, UTC nanoseconds: its line leaves the account's history."""
        self.has_strays = False
        """A gateway passes on what it should not: the desk may know an order's end before the gateway."""
        self.is_stated = False
        """The desk has named a difference without a cause, and no person has resumed it since."""
        self.asked: Mode = Mode.ACTIVE
        """Mode that a person asked for last, and got."""
        self._unanswered: set[Mode] = set()
        """Modes that a person has asked for since without an answer: the desk may have them, or not."""
        self._noted: Mode | None = None
        """Mode of a command that a starting desk has taken: it holds in the next life at the latest."""
        self._margin: Decimal | None = None
        """Maintenance margin over the account's own funds, by the venue's last word; None without one."""
        self._may_short = True
        """Whether the venue's last word was that the share may be sold short."""

    # lives ----------------------------------------------------------------------------------------------

    def begin_life(self) -> None:
        """Follow a desk that is rebuilt from its journal."""
        self.ledger = OutsideLedger(self._scene.engine.desk)
        self._halted.clear()
        self._statuses.clear()
        self._timers.clear()
        self._lost_since_ns = self._exit_missing_ns = self._crossed_ns = None
        self._over_since_ns.clear()
        self._in_doubt_since.clear()

    def resume(self, now_ns: int, *, is_fresh: bool) -> None:
        """The journal is replayed, and what comes now is news; ``is_fresh`` when it held nothing."""
        self._born_ns, self._is_compared, self._has_doubted = now_ns, is_fresh, False
        self._has_begun, self._is_shown = is_fresh, False
        self._came_compared = self._scene.engine.desk.gate.is_compared
        if self._noted is not None:
            self.asked, self._noted = self._noted, None
            self._unanswered.clear()
        self._marked_ns, self._written = now_ns, (0, now_ns)
        later = now_ns + 2 * _TIMER_PATIENCE_NS
        self._timers = {key: max(due_ns, later) for key, due_ns in self._timers.items()}

    def commanded(self, mode: Mode) -> None:
        """A person asks for a mode: until there is an answer it is not known whether the desk has it."""
        self._unanswered.add(mode)

    def noted(self, mode: Mode) -> None:
        """A starting desk has taken a person's command, and has it on disk."""
        self._noted = mode

    def operated(self, mode: Mode, asked: Mode) -> None:
        """A person's command was carried out and the desk answered with its mode.

        After a resume the desk may reduce for a reason of its own, and trade again once that is gone.
        """
        self._unanswered.clear()
        self._noted = None
        self.asked = asked if asked is Mode.ACTIVE else mode
        self.is_stated = self.is_stated and mode is not Mode.ACTIVE

    def venue_reported(self, update: OrderUpdate) -> None:
        """Follow what the venue reports, whether it reaches the desk or not."""
        if update.event == "trade_bust":
            self._busted_ns = update.ts_ns

    def line_opened(self) -> None:
        """The desk has a line again, after a break that no quote fell into perhaps."""
        self._in_doubt_since.clear()
        self._written = 0, self._written[1]  # without a line there was nothing to write

    def asked_for(self, client_order_id: str) -> None:
        """A question for an order by its id leaves the desk."""
        self._in_doubt_since.pop(client_order_id, None)

    def note(self, event: Event, outputs: tuple[object, ...]) -> None:
        """Follow an event with what came of it, of the journal too."""
        self.ledger.follow(event)
        is_booking = type(event) is PositionChanged
        self._acted_amid = is_booking and self._acted_ns == event.ts_recv_ns
        has_sent = any(type(output) in (SubmitOrder, MultiLegOrder) for output in outputs)
        self._acted_ns = event.ts_recv_ns if is_booking and has_sent else 0
        if type(event) is TradingHalt:
            number = event.instrument_id
            if event.ts_event_ns >= self._statuses.get(number, 0):
                self._statuses[number] = event.ts_event_ns
                if event.is_halted:
                    self._halted[number] = event.ts_event_ns
                else:
                    self._halted.pop(number, None)
        elif type(event) is BarEvent and event.instrument_id in self._halted:
            began_ns = event.ts_event_ns - event.bar_seconds * _SECOND
            if began_ns >= self._halted[event.instrument_id]:
                del self._halted[event.instrument_id]
                self._statuses[event.instrument_id] = began_ns + 1
        elif type(event) is TimerEvent:
            self._timers.pop((event.name, event.ts_event_ns), None)
        elif type(event) is SessionEvent:
            self._timers.clear()
            self._marked_ns = self._scene.engine.now_ns
        elif type(event) is AccountComparison:
            self._is_compared, self._is_shown = event.is_compared, False
        elif type(event) is HoldingsShown:
            self._is_shown = True
        elif type(event) is AccountLimits:
            self._may_short = event.may_short and SHARE in event.shortable
            self._margin = event.margin_fraction
        elif type(event) is CancelRejected:  # the next look cancels again
            self._cancelled_ns[event.client_order_id] = self._scene.engine.now_ns
        for output in outputs:
            if type(output) is SetTimer:
                now_ns = self._scene.engine.now_ns
                self._timers[output.name, output.due_ns] = max(output.due_ns, now_ns) + _TIMER_PATIENCE_NS
            elif type(output) is CancelOrder:
                self._cancelled_ns[output.client_order_id] = self._scene.engine.now_ns
            elif type(output) is Mark:
                self._marked_ns = self._scene.engine.now_ns

    # laws -----------------------------------------------------------------------------------------------

    def broken(self) -> Iterator[str]:
        """Yield what is wrong after the event of the scene, as law and detail."""
        scene = self._scene
        event, now_ns = scene.event, scene.now_ns
        assert event is not None
        if not self._has_begun:
            self._has_begun = True
            is_taken_back = type(event) is AccountComparison and not event.is_compared
            if self._came_compared and not is_taken_back:
                yield f"14 compared_before_trading: a resumed desk begins with {type(event).__name__}"
        if self._acted_amid:
            yield "14 bookings_of_a_look: an order was sent before all that one look had shown was booked"
        if isinstance(event, CancelRejected | OrderStatusUnknown | OrderNotFound):
            name = event.client_order_id
            is_over = scene.states_before.get(name) in TERMINAL
            # the cancel of an order that a bust ended may still be answered
            is_late = (
                type(event) is CancelRejected and is_over and scene.engine.desk.orders.orders[name].busted
            )
            if is_over and not self.has_strays and not is_late:
                yield f"13 over_is_over: {type(event).__name__} of {name}, which is over"
        for order in scene.submitted:
            why = self._why_not(order)
            if why is not None:
                yield why
        if any(type(output) is CancelOrder for output in scene.outputs):
            yield from self._cancelled_early()
        desk = scene.engine.desk
        if desk.view.mode is not desk.gate.mode:
            yield f"5 strategy_knows_the_mode: it is shown {desk.view.mode}, the desk is {desk.gate.mode}"
        is_plain_quote = type(event) is QuoteEvent and not scene.outputs
        if not is_plain_quote:
            books = self.ledger.differs(event)
            if books is not None:
                yield books
            yield from self._left_in_a_halt(event)
            is_close = type(event) is SessionEvent and event.phase is SessionPhase.CLOSE
            if (
                is_close
                and scene.now_ns > scene.session.close_ns + _TIMER_PATIENCE_NS
                and not self._is_slowed()
            ):
                yield "17 session_closes: the session closed late"
            yield from self._marks_off(event)
            yield from self._compared_early(event)
            yield from self._unacknowledged(event)
            if type(event) is OrderNotFound:
                yield from self._absent_early(event)
        if type(event) is QuoteEvent and event.instrument_id == SHARE:
            yield from self._overdue(now_ns)

    def _why_not(self, order: SubmitOrder) -> str | None:
        """Return why an order should not have been sent."""
        scene = self._scene
        desk, now_ns = scene.engine.desk, scene.now_ns
        what = f"{order.side.value} {order.quantity} {desk.instruments[order.instrument_id].symbol}"
        if SHARE in self._halted or order.instrument_id in self._halted:
            return f"5 nothing_in_a_halt: {what}"
        if not self._is_compared and not (self._is_shown and desk.leaves_by_positions):
            return f"14 compared_before_trading: {what} before the account was compared"
        limits = scene.plan.limits
        self._sent_ns.append(now_ns)
        while self._sent_ns[0] <= now_ns - _MINUTE:
            self._sent_ns.popleft()
        if len(self._sent_ns) > limits.max_orders_per_minute:
            return f"5 throttle: {len(self._sent_ns)} orders within a minute"
        if len(desk.orders.live) > limits.max_live_orders:
            return f"5 throttle: {len(desk.orders.live)} orders at the venue"
        most = limits.max_margin_fraction
        is_near = self._margin is not None and most is not None and float(self._margin) > most
        if order.purpose is Purpose.OPEN and is_near:
            return f"5 nothing_opens_near_a_call: {what} at a margin of {self._margin:.0%} of the account"
        if order.purpose is Purpose.OPEN and limits.max_daily_loss is not None:
            lost = self.ledger.loss()
            if lost >= limits.max_daily_loss:
                return f"16 loss_limit: {what} at a loss of {lost}"
        if order.purpose is Purpose.HEDGE and scene.plan.members == 1:
            return self._why_no_hedge(order, what)
        if order.purpose in EXITS and order.owner:
            return self._why_no_exit(order, what)
        return None

    def _why_no_exit(self, order: SubmitOrder, what: str) -> str | None:
        """A strategy's exit lowers what its own orders hold, whatever the account holds beside it."""
        held = self.ledger.owned(order.owner, order.instrument_id)
        if held is None:
            return None
        closing = order.quantity
        for name, other in self._scene.engine.desk.orders.live.items():
            sent = other.submitted
            alike = (sent.owner, sent.instrument_id, sent.side) == (
                order.owner,
                order.instrument_id,
                order.side,
            )
            if alike and name != order.client_order_id and sent.purpose in EXITS:
                closing += other.leaves
        is_lower = held * order.side.sign < 0 and closing <= abs(held)
        return None if is_lower else f"4 exit_lowers: {what}, {closing} in all, {order.owner} holds {held}"

    def _why_no_hedge(self, order: SubmitOrder, what: str) -> str | None:
        """One hedge a want, and of a size that brings the delta back."""
        scene = self._scene
        desk = scene.engine.desk
        for name, other in desk.orders.live.items():
            is_other = name != order.client_order_id and other.submitted.instrument_id == order.instrument_id
            if is_other and other.submitted.purpose is Purpose.HEDGE and other.leaves:
                return f"2 one_hedge_a_want: {what} beside {name}"
        if not scene.plan.is_hedged_to_the_middle or scene.plan.is_reckless or 6 in scene.excused:
            return None
        low, high = scene.delta_bounds()
        signed = float(order.quantity) * order.side.sign
        after_low, after_high = low + signed, high + signed
        miss = max(after_low, -after_high, 0.0)
        self._crossed_ns = None
        held = float(desk.positions.quantity(SHARE))
        if held and held + signed == 0.0:  # the holding crosses zero: the rest follows
            self._crossed_ns = scene.now_ns if max(after_low, -after_high) > _LEFT_SHARES else None
            is_towards = (low < 0.0) is (signed > 0.0) or (high < 0.0) is (signed > 0.0)
            return None if is_towards else f"6 hedge_size: {what} at a delta of {low:+.1f} to {high:+.1f}"
        straddles = max(float(abs(desk.positions.quantity(number))) for number in scene.plan.legs)
        # a straddle's legs offset the error of one volatility, those of a spread add up
        far = _FAR_SHARES * (1.0 if scene.plan.config.structure.shape == "straddle" else 2.0)
        if miss > far * max(straddles / scene.plan.config.straddles, 1.0):
            return f"6 hedge_size: {what} at a delta of {low:+.1f} to {high:+.1f}"
        return None

    def _cancelled_early(self) -> Iterator[str]:
        """Yield each resting hedge that is taken back before its time while the delta does not ask for it."""
        scene, plan = self._scene, self._scene.plan
        desk, now_ns = scene.engine.desk, scene.now_ns
        patience = plan.config.hedge.passive_seconds
        is_calm = scene.phase == "holding" and desk.gate.mode is Mode.ACTIVE and not self._halted
        if patience is None or not is_calm or plan.members > 1 or plan.is_reckless:
            return
        for output in scene.outputs:
            if type(output) is not CancelOrder or output.client_order_id not in desk.orders.orders:
                continue
            order = desk.orders.orders[output.client_order_id]
            sent = order.submitted
            is_resting = sent.purpose is Purpose.HEDGE and sent.order_type is OrderType.LIMIT
            if not is_resting or now_ns - order.created_ns >= patience * _SECOND:
                continue
            low, high = scene.delta_bounds()
            held = max(abs(desk.positions.quantity(number)) for number in plan.legs)
            band = plan.band_shares * min(float(held) / plan.config.straddles, 1.0)  # it is of a straddle
            if max(abs(low), abs(high)) < 1.2 * band:  # the desk's own limit is twice the band
                yield f"6 hedge_may_rest: {output.client_order_id} taken back at a delta of {low:+.1f}"

    def _unacknowledged(self, event: Event) -> Iterator[str]:
        """Before a resumed desk does anything else it doubts each order that it had no answer to."""
        if self._has_doubted or type(event) in (AccountComparison, OrderStatusUnknown):
            return
        self._has_doubted = True
        for name, order in self._scene.engine.desk.orders.live.items():
            is_old = order.state is not OrderState.UNKNOWN and order.created_ns < self._born_ns
            if is_old and not order.venue_order_id:
                yield f"13 unacknowledged_is_unknown: {name} is {order.state.value} after a restart"

    def _left_in_a_halt(self, event: Event) -> Iterator[str]:
        """Yield each order that is left at work in a symbol whose trading has just halted."""
        if type(event) is not TradingHalt or event.instrument_id not in self._halted:
            return
        for name, order in self._scene.engine.desk.orders.live.items():
            is_working = order.state in (OrderState.WORKING, OrderState.PARTIALLY_FILLED)
            if is_working and name not in self._cancelled_ns:
                yield f"5 nothing_in_a_halt: {name} works on in it"

    def _marks_off(self, event: Event) -> Iterator[str]:
        """Yield what a mark on the timer says that market and ledger do not."""
        scene, desk = self._scene, self._scene.engine.desk
        mark = next((output for output in scene.outputs if type(output) is Mark), None)
        if mark is None or type(event) is not TimerEvent:
            return
        explained = desk.attribution.totals
        if abs(explained["fees"] + self.ledger.fees_paid) > CENT:
            yield f"8 explained_fees: {explained['fees']}, outside {-self.ledger.fees_paid}"
        if abs(explained["carry"] - self.ledger.carried) > 1:  # the model's own carry is cents
            yield f"8 explained_carry: {explained['carry']}, outside {self.ledger.carried}"
        total = sum(explained.values(), ZERO)
        if abs(total - desk.attribution.nav_change) > CENT:
            yield f"8 explain_sums_to_nav: {total} since the start, change {desk.attribution.nav_change}"
        traded = SHARE, *scene.plan.legs
        is_fresh = all(desk.market.verdict(leg, scene.now_ns).value == "good" for leg in traded)
        if is_fresh and scene.has_fair_quotes and not self._is_slowed():
            why = scene.mark_is_off(mark)
            if why is not None:
                yield f"8 marks_greeks: {why}"

    def _compared_early(self, event: Event) -> Iterator[str]:
        """Yield what an active desk has otherwise than the venue once its account is compared."""
        desk, account = self._scene.engine.desk, self._scene.account
        is_end = type(event) is AccountComparison and event.is_compared and event.is_renewed
        moved_ns = max(self._busted_ns, *(line.ts_ns for line in account.activities), 0)
        # the venue's answers may be slow: it is compared as of the look, not as of now
        if not is_end or desk.gate.mode is not Mode.ACTIVE or moved_ns > event.ts_event_ns - 3 * _SECOND:
            return
        for number in map(InstrumentId, range(len(desk.instruments))):
            ours, theirs = desk.positions.quantity(number), account.quantity(number)
            if ours != theirs:
                yield f"14 compared_before_trading: {number} is compared, desk {ours}, venue {theirs}"

    def _over_at_the_desk(self, now_ns: int) -> Iterator[str]:
        """Yield each order that is over for the desk and works at the venue for long."""
        scene, orders = self._scene, self._scene.engine.desk.orders
        names = {scene.name_of(order) for order in scene.open_at_venue}
        over = {name for name in names if name in orders.orders and name not in orders.live}
        if not scene.connected():
            over = set()
        self._over_since_ns = {name: self._over_since_ns.get(name, now_ns) for name in over}
        for name, since_ns in tuple(self._over_since_ns.items()):
            if now_ns - since_ns > _OVER_PATIENCE_NS:
                self._over_since_ns[name] = NEVER_NS
                yield f"13 over_is_over: {name} is over for the desk and works at the venue"

    def _doubts_not_asked(self) -> Iterator[str]:
        """Yield each order in doubt that the venue was not asked for in time."""
        scene, now = self._scene, self._seconds()
        if not scene.connected():
            self._in_doubt_since.clear()
            return
        live = scene.engine.desk.orders.live.values()
        doubted = (order for order in live if order.state is OrderState.UNKNOWN)
        names = {order.parent_id or order.client_order_id for order in doubted}
        self._in_doubt_since = {name: self._in_doubt_since.get(name, now) for name in names}
        for name, since in self._in_doubt_since.items():
            if now - since > DOUBT_SECONDS:
                self._in_doubt_since[name] = now
                yield f"13 doubts_are_asked: {name} is in doubt, not asked for in {now - since:.0f} s"

    def _crossing_unfinished(self, now_ns: int) -> Iterator[str]:
        """Yield a hedge across zero whose second order never came."""
        scene = self._scene
        if self._crossed_ns is None:
            return
        low, high = scene.delta_bounds()
        desk = scene.engine.desk
        is_due = scene.phase == "holding" and desk.gate.mode is Mode.ACTIVE and not self._halted
        if not is_due or max(low, -high) < _LEFT_SHARES - 0.5:
            self._crossed_ns = None
        elif desk.orders.live or not self._is_compared or (low > 0.0 and not self._may_short):
            self._crossed_ns = now_ns
        elif now_ns - self._crossed_ns > _CROSSING_PATIENCE_NS:
            self._crossed_ns = None
            yield f"6 crossing_is_finished: the delta is {low:+.1f} after the first of two orders"

    def _late_orders(self, now_ns: int) -> Iterator[str]:
        """Yield hedges (of a flattening desk exits) that are too old and were not taken back."""
        scene, hedge = self._scene, self._scene.plan.config.hedge
        desk = scene.engine.desk
        is_flattening = desk.gate.mode is Mode.FLATTENING
        is_due = is_flattening or (scene.phase == "holding" and desk.gate.mode is Mode.ACTIVE)
        is_able = self._is_compared and not self._halted and scene.connected()
        is_able = is_able and desk.market.verdict(SHARE, now_ns).value == "good"  # a look asks for a price
        if not is_due or not is_able or scene.plan.members > 1:
            return
        seconds = hedge.order_ttl_seconds + (hedge.passive_seconds or 0.0) + 12.0
        limit_ns = int((_FLATTEN_SECONDS if is_flattening else seconds) * _SECOND)
        late = EXITS if is_flattening else (Purpose.HEDGE,)
        for name, order in desk.orders.live.items():
            is_working = order.state in (OrderState.WORKING, OrderState.PARTIALLY_FILLED)
            is_late = order.submitted.purpose in late and now_ns - order.created_ns > limit_ns
            if is_working and is_late and name not in self._called_late:
                self._called_late.add(name)
                if now_ns - self._cancelled_ns.get(name, 0) >= _CANCEL_PATIENCE_NS:
                    yield f"6 late_orders_are_taken_back: {name} works on"

    def _absent_early(self, event: OrderNotFound) -> Iterator[str]:
        """An order that has left is not there only once no venue may still come to accept it."""
        name = event.client_order_id
        order = self._scene.engine.desk.orders.orders[name]
        left_at = self.left_at.get(order.parent_id or name)
        if left_at is not None and self._seconds() - left_at < _ACCEPTANCE_SECONDS:
            yield f"13 absence_is_proven: {name} is held for absent {self._seconds() - left_at:.1f} s later"

    def _overdue(self, now_ns: int) -> Iterator[str]:
        """Yield what should have happened by now; asked at each quote of the share."""
        scene = self._scene
        desk = scene.engine.desk
        if self._is_slowed():
            later = now_ns + 2 * _TIMER_PATIENCE_NS
            self._timers = {key: max(due_ns, later) for key, due_ns in self._timers.items()}
            self._lost_since_ns = self._exit_missing_ns = None
            self._in_doubt_since.clear()
            self._written = 0, now_ns
            self._marked_ns = now_ns
            return
        if desk.view.session is None:
            return
        late = next((name for (name, _), due_ns in self._timers.items() if due_ns < now_ns), None)
        if late is not None:
            self._timers = {key: due_ns for key, due_ns in self._timers.items() if due_ns >= now_ns}
            yield f"17 timers_fire: {late} never came"
        synced = scene.journal.synced_bytes
        if synced != self._written[0]:
            self._written = synced, now_ns
        elif now_ns - self._written[1] > _WRITE_PATIENCE_NS:
            self._written = synced, now_ns
            yield "1 journal_is_written: nothing was written for 10 s"
        if self.ledger.is_flat():  # nothing changes, and nothing is marked
            self._marked_ns = now_ns
        if now_ns - self._marked_ns > _MARK_PATIENCE_NS:
            self._marked_ns = now_ns
            yield "8 book_is_marked: no mark for 45 s"
        mode = desk.gate.mode
        if _STRICT.index(desk.gate.kept_mode) < min(map(_STRICT.index, (self.asked, *self._unanswered))):
            asked, self.asked = self.asked, Mode.ACTIVE
            yield f"5 mode_is_kept: a person asked for {asked}, the desk is {desk.gate.kept_mode}"
        if self.is_stated and mode is Mode.ACTIVE:
            self.is_stated = False
            yield "14 stated_difference_reduces: the desk goes on beside a difference without a cause"
        limit = scene.plan.limits.max_daily_loss
        goes_on = limit is not None and mode in (Mode.ACTIVE, Mode.REDUCING) and not self._is_in_doubt(now_ns)
        if limit is not None and goes_on and self.ledger.loss() >= limit:
            since_ns = self._lost_since_ns = self._lost_since_ns or now_ns
            if now_ns - since_ns > _LOSS_PATIENCE_NS:
                self._lost_since_ns = None
                yield f"16 loss_limit: {self.ledger.loss()} lost, limit {limit}, and the desk is {mode}"
        else:
            self._lost_since_ns = None
        yield from self._exits_missing(now_ns)
        yield from self._late_orders(now_ns)
        yield from self._over_at_the_desk(now_ns)
        yield from self._crossing_unfinished(now_ns)
        yield from self._doubts_not_asked()

    def _is_in_doubt(self, now_ns: int) -> bool:
        """Return whether a held option has no good quote: the loss may be another, and the desk reduces."""
        desk = self._scene.engine.desk
        held = [number for number in self._scene.plan.legs if desk.positions.quantity(number)]
        return any(desk.market.verdict(number, now_ns).value != "good" for number in held)

    def _exits_missing(self, now_ns: int) -> Iterator[str]:
        """A flattening desk that could trade has an exit of each option at work."""
        scene = self._scene
        desk = scene.engine.desk
        market = desk.market
        is_able = (
            desk.gate.mode is Mode.FLATTENING
            and not self._halted
            and self._is_compared
            and not scene.has_stated_difference  # what it wants to sell may not be there
            and scene.connected()
            and all(market.verdict(number, now_ns).value == "good" for number in (SHARE, *scene.plan.legs))
        )
        held = [number for number in scene.plan.legs if desk.positions.quantity(number)]
        if not is_able or not held or any(desk.orders.live_for(number) for number in held):
            self._exit_missing_ns = None
            return
        since_ns = self._exit_missing_ns = self._exit_missing_ns or now_ns
        if now_ns - since_ns > _EXIT_PATIENCE_NS:
            self._exit_missing_ns = None
            yield "7 flattening_sells: nothing of the straddle is for sale for 30 s"
