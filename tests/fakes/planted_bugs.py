"""Bugs that live trading programs are known for, planted on purpose for the length of one trial.

The trials are worth what they catch. Each bug here changes one or two functions of the desk while it is
planted, and nothing else. ``python -m tests.fakes.planted_bugs NAME …`` looks for the first seed below 1,000
that notices each; docs/evidence/planted-bugs.md and planted-bugs-books.md list them, and a test runs each bug
at its seed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.closing import last_resort
from scalpdesk.core.enums import ChangeCause, Mode
from scalpdesk.core.events import (
    CancelRejected,
    Event,
    OrderCancelled,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, Mark, OrderIntent, SubmitOrder
from scalpdesk.core.mode import ModeEntry
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.admission import ProposalFacts
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.modes import Modes
from scalpdesk.journal.log import JournalWriter
from scalpdesk.live.core import LiveCore
from scalpdesk.live.reconciliation import AccountQueries, Reconciler
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.orders.order import TERMINAL, Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.risk.gate import RiskGate
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.gamma_scalper.states import DoneState, EnteringState, HoldingState, LeavingState
from scalpdesk.strategies.toolkit import hedger, liquidation
from scalpdesk.strategies.toolkit.exits import BeforeClose, StraddleView
from scalpdesk.venues.contract import Notice
from scalpdesk.venues.order_path import OrderPath
from scalpdesk.venues.tracker import OrderTracker, TrackedOrder
from scalpdesk_alpaca.orders import OrderReports
from scalpdesk_testing.campaign import run_trial, trial_of
from scalpdesk_testing.market import SHARE
from scalpdesk_testing.small_desk import CountedWriter
from scalpdesk_testing.virtual_time import Stuck
from tests.fakes.edited_bugs import EDITED_BUGS

Change = tuple[Any, str, Any]
"""An object, the name of its attribute, and what stands there while the bug is planted."""


class PlantedBug(NamedTuple):
    """A bug.

    Parameters
    ----------
    story
        What it does.
    changes
        Makes the changes.
    protocol
        Of the trials that notice it.
    """

    story: str
    changes: Callable[[], list[Change]]
    protocol: str = "alpaca"


LAW_SEEDS = range(40)
"""Seeds that the tests of the trials run without a bug."""
MOST_SEEDS = 1_100


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """Have a bug for a while; everything is put back afterwards, whatever happens."""
    before: list[Change] = []
    try:
        for owner, name, new in bug.changes():
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, new)
        yield
    finally:
        for owner, name, old in reversed(before):
            setattr(owner, name, old)


def seed_that_notices(bug: PlantedBug, seeds: Iterable[int] = range(MOST_SEEDS)) -> tuple[int, str] | None:
    """Return a seed whose trial breaks a law under the bug, and the law; None when no seed does."""
    make = trial_of(bug.protocol)

    class UntilNoticed(make):
        """A trial that ends with the first event after which a law is broken."""

        def watch(self, event: Event, feed: Any) -> tuple[Any, ...]:
            commands: tuple[Any, ...] = super().watch(event, feed)
            if self.outcome.violations:
                self._is_stuck = True
                raise Stuck("a law is broken", where=repr(event))
            return commands

    with planted(bug):
        for seed in seeds:
            violations = run_trial(make.draw(seed), make=UntilNoticed).violations
            if violations:
                return seed, violations[0].invariant
    return None


def _phantom_pending() -> list[Change]:
    """A cancelled order goes on counting as pending, so the hedge waits for it for ever."""
    plain = OrderManager.pending

    def pending(self: OrderManager, instrument_id: InstrumentId) -> Decimal:
        ghosts = [
            order
            for order in self.orders.values()
            if order.state in (OrderState.CANCELLED, OrderState.REJECTED)
            and order.submitted.instrument_id == instrument_id
        ]
        rest = sum(
            ((one.submitted.quantity - one.filled) * one.submitted.side.sign for one in ghosts), Decimal(0)
        )
        return plain(self, instrument_id) + rest

    return [(OrderManager, "pending", pending)]


def _zero_cross_double() -> list[Change]:
    """A hedge across zero sends the whole quantity, and then what follows again."""

    def split(owned: int, quantity: int) -> list[int]:
        del owned
        return [quantity]

    plain = hedger.DeltaHedger.step

    def step(self: hedger.DeltaHedger, view: DeskView, legs: Any, *args: Any, **options: Any) -> Any:
        found = plain(self, view, legs, *args, **options)
        doubled: list[Action] = []
        for action in found:
            crosses = isinstance(action, Proposal) and any(
                isinstance(one, OrderIntent)
                and view.positions.quantity(SHARE) * one.side.sign < 0
                and one.quantity > abs(view.positions.quantity(SHARE))
                for one in action.intents
            )
            if crosses and isinstance(action, Proposal):
                doubled.append(msgspec.structs.replace(action, intents=action.intents * 2))
            else:
                doubled.append(action)
        return doubled

    return [(hedger, "split_at_zero", split), (hedger.DeltaHedger, "step", step)]


def _retry_with_new_id() -> list[Change]:
    """An order without an answer is sent again under another name."""
    plain = OrderPath.doubt

    def doubt(self: OrderPath, orders: Any, reason: str) -> None:
        tracked = list(orders)
        plain(self, tracked, reason)
        for one in tracked:
            command: SubmitOrder = one.submitted
            if not reason.startswith("cancel") and not command.client_order_id.endswith("r"):
                renamed = f"{command.client_order_id}-r"
                self.send(msgspec.structs.replace(command, client_order_id=renamed))

    return [(OrderPath, "doubt", doubt)]


def _fill_applied_twice() -> list[Change]:
    """A repeated execution is booked again."""

    def has_seen(self: Order, execution_id: str) -> bool:
        del self, execution_id
        return False

    def is_uncovered(self: Any, span: Any) -> bool:
        del self, span
        return True

    plain = Desk.book_fill

    def book_fill(self: Desk, command: SubmitOrder, event: OrderFilled) -> None:
        twice = f"{event.client_order_id}/{event.execution_id}"
        if self.positions.already_applied(twice):
            event = msgspec.structs.replace(event, execution_id=f"{event.execution_id}+")
        plain(self, command, event)

    execution = OrderTracker.execution

    def again(self: OrderTracker, one: TrackedOrder, execution_id: str, *rest: Any) -> Any:
        one.executions.pop(execution_id, None)
        return execution(self, one, execution_id, *rest)

    return [
        (Order, "has_seen", has_seen),
        (TrackedOrder, "is_uncovered", is_uncovered),
        (Desk, "book_fill", book_fill),
        (OrderTracker, "execution", again),
    ]


def _fill_after_cancel_ignored() -> list[Change]:
    """An execution that is told after the cancel changes nothing at the desk."""
    plain = OrderManager.fill

    def fill(self: OrderManager, order: Order, event: OrderFilled) -> None:
        if order.state not in TERMINAL:
            plain(self, order, event)

    book = Desk.book_fill

    def book_fill(self: Desk, command: SubmitOrder, event: OrderFilled) -> None:
        if self.orders.orders[event.client_order_id].has_seen(event.execution_id):
            book(self, command, event)

    return [(OrderManager, "fill", fill), (Desk, "book_fill", book_fill)]


def _unknown_is_rejected() -> list[Change]:
    """A time-out counts as a refusal."""
    plain = OrderManager.apply

    def apply(self: OrderManager, event: Any) -> Order:
        order = self.order(event.client_order_id)
        if isinstance(event, OrderStatusUnknown) and order.is_live and not order.filled:
            order.move(OrderState.REJECTED, "no answer")
            self.live.pop(event.client_order_id, None)
            return order
        return plain(self, event)

    return [(OrderManager, "apply", apply)]


def _stale_quote_used() -> list[Change]:
    """The age of a quote is not looked at."""
    plain = MarketState.verdict

    def verdict(self: MarketState, number: InstrumentId, now_ns: int) -> QuoteVerdict:
        quote: QuoteEvent | None = self.quotes[number]
        return plain(self, number, now_ns if quote is None else quote.ts_recv_ns)

    return [(MarketState, "verdict", verdict)]


def _limit_blind_to_unknown() -> list[Change]:
    """Orders in doubt are left out of the exposure."""

    def pending(self: OrderManager, instrument_id: InstrumentId) -> Decimal:
        return sum(
            (
                order.signed_leaves
                for order in self.live.values()
                if order.submitted.instrument_id == instrument_id and order.state is not OrderState.UNKNOWN
            ),
            Decimal(0),
        )

    plain = ProposalFacts.working

    def working(self: Any) -> Any:
        orders = self._desk.orders
        kept = orders.live
        orders.live = {name: one for name, one in kept.items() if one.state is not OrderState.UNKNOWN}
        try:
            return plain(self)
        finally:
            orders.live = kept

    live_for = OrderManager.live_for

    def known_for(self: OrderManager, instrument_id: InstrumentId) -> list[Order]:
        return [one for one in live_for(self, instrument_id) if one.state is not OrderState.UNKNOWN]

    return [
        (OrderManager, "pending", pending),
        (OrderManager, "live_for", known_for),
        (ProposalFacts, "working", working),
    ]


def _deadline_from_the_clock() -> list[Change]:
    """The exit is at 15:58 New York, whatever the session's own close."""
    plain = BeforeClose.reason

    def clock(self: BeforeClose, trade: StraddleView) -> str | None:
        from datetime import time

        from scalpdesk.instruments.sessions import new_york_ns

        late = new_york_ns(trade.session.day, time(15, 58))
        return plain(self, trade) if trade.now_ns >= late else None

    return [(BeforeClose, "reason", clock)]


def _leg_two_after_leg_one_failed() -> list[Change]:
    """An entry whose first leg was refused goes on with the second, and holds it as if it were both."""
    enter = EnteringState.step

    def go_on(self: EnteringState, view: DeskView, wake: Wake, event: Event) -> Any:
        legs = self.trade.structure.option_ids
        held = [view.positions.quantity(leg) for leg in legs]
        failed = [
            order
            for order in view.orders.orders.values()
            if order.submitted.instrument_id in legs
            and order.state in (OrderState.REJECTED, OrderState.CANCELLED)
        ]
        if failed and any(held) and not any(view.orders.pending(leg) for leg in legs):
            return HoldingState(self.tools, self.trade), ()
        return enter(self, view, wake, event)

    def is_whole(self: HoldingState, view: DeskView) -> bool:
        del self, view
        return True  # the desk's second line of defence would end it at once

    return [(EnteringState, "step", go_on), (HoldingState, "is_whole", is_whole)]


def _apply_but(kind: type, state: OrderState | None = None) -> list[Change]:
    """Order events of a kind change nothing (in a state)."""
    plain = OrderManager.apply

    def apply(self: OrderManager, event: Any) -> Order:
        order = self.order(event.client_order_id)
        if type(event) is kind and state in (None, order.state):
            return order
        return plain(self, event)

    return [(OrderManager, "apply", apply)]


def _refused_cancel_forgotten() -> list[Change]:
    """A refused cancel leaves the order as being cancelled for ever."""
    return _apply_but(CancelRejected)


def _late_fill_dropped() -> list[Change]:
    """The gateway drops an execution of an order that it takes for ended."""
    plain = OrderTracker.execution

    def execution(self: OrderTracker, order: TrackedOrder, *rest: Any) -> Any:
        return [] if order.ended else plain(self, order, *rest)

    return [(OrderTracker, "execution", execution)]


def _time_out_is_reject() -> list[Change]:
    """The gateway reports a request without an answer as a refusal by the venue."""

    def unknown(self: OrderPath, orders: Any, reason: str) -> None:
        self.reject(orders, reason)

    return [(OrderPath, "doubt", unknown)]


def _duplicate_id_is_reject() -> list[Change]:
    """A 422 for an id that the venue has already is taken for a refusal."""

    async def doubted(self: OrderPath, orders: list[TrackedOrder], reason: str) -> None:
        self.reject(orders, reason)

    return [(OrderPath, "_doubted", doubted)]


def _cancel_answer_is_the_end() -> list[Change]:
    """The answer to a cancel counts as its end, before the venue has said so."""
    plain = OrderPath._settle_cancel

    def settle(self: OrderPath, order: TrackedOrder, answer: Any) -> None:
        plain(self, order, answer)
        if not order.unknown:
            now_ns = self.publisher.timestamp()
            event = OrderCancelled(order.submitted.client_order_id, now_ns, now_ns, "assumed")
            self.publish(self.tracker._end(order, event))

    return [(OrderPath, "_settle_cancel", settle)]


def _no_sync_before_send() -> list[Change]:
    """Orders leave before their intent is safe on disk."""
    plain = JournalWriter._write_out

    def write_out(self: JournalWriter, *, is_synced: bool) -> None:
        plain(self, is_synced=False)

    counted = CountedWriter._write_out

    def count(self: CountedWriter, *, is_synced: bool) -> None:
        counted(self, is_synced=False)

    return [(JournalWriter, "_write_out", write_out), (CountedWriter, "_write_out", count)]


def _sent_before_journaled() -> list[Change]:
    """Commands are handed over although the journal refused their record."""
    plain = LiveCore.feed

    def feed(self: LiveCore, event: Any) -> Any:
        journal = self.journal
        held: list[Any] = []

        class Later:
            add_event = journal.add_event

            def add_outputs(self, outputs: Any) -> None:
                held.append(outputs)

            def flush(self) -> None:
                return

        self.journal = Later()
        try:
            commands = plain(self, event)
        finally:
            self.journal = journal
        if not any(isinstance(one, SubmitOrder) for one in commands):
            for outputs in held:
                journal.add_outputs(outputs)
        return commands

    return [(LiveCore, "feed", feed)]


def _without_check(name: str) -> list[Change]:
    """A check of the risk gate is left out."""
    plain = RiskGate._compile

    def compiled(self: RiskGate, key: Any) -> Any:
        return tuple(check for check in plain(self, key) if check.__name__ != name)

    return [(RiskGate, "_compile", compiled)]


def _wash_trade_check_gone() -> list[Change]:
    return _without_check("meets_no_own_order")


def _duplicate_check_gone() -> list[Change]:
    return _without_check("is_no_duplicate")


def _mode_check_gone() -> list[Change]:
    return _without_check("mode_allows")


def _collar_gone() -> list[Change]:
    return _without_check("price_within_collar")


def _size_check_gone() -> list[Change]:
    return _without_check("quantity_is_sane")


def _exit_check_gone() -> list[Change]:
    return _without_check("closes_what_is_held")


def _margin_check_gone() -> list[Change]:
    return _without_check("margin_has_room")


def _reducing_opens() -> list[Change]:
    """REDUCING lets opening orders through; HALTED still holds."""
    plain = RiskGate._compile

    def compiled(self: RiskGate, key: Any) -> Any:
        reducing = key.mode is not Mode.HALTED
        return tuple(c for c in plain(self, key) if not (reducing and c.__name__ == "mode_allows"))

    return [(RiskGate, "_compile", compiled)]


def _halt_keeps_orders() -> list[Change]:
    """HALT sends no cancels."""
    plain = Modes._follow

    def follow(self: Modes, was: Mode, own: Mode, why: ModeEntry) -> None:
        plain(self, was, own, why)
        if self._desk.gate.mode is Mode.HALTED:
            self._turn.out[:] = [one for one in self._turn.out if not isinstance(one, CancelOrder)]

    return [(Modes, "_follow", follow)]


def _fills_priced_by_inference() -> list[Change]:
    """A fill is booked at the order's own limit, or a cent off, not at the price of its execution."""
    plain = OrderReports._execution

    def execution(self: OrderReports, order: Any, update: Any, quantity: Any, price: Any, now: int) -> None:
        limit = order.submitted.limit_price
        plain(self, order, update, quantity, limit or price + Decimal("0.01"), now)

    return [(OrderReports, "_execution", execution)]


def _partial_fill_is_whole() -> list[Change]:
    """A partial execution is booked as the whole order."""
    plain = OrderTracker.execution

    def execution(self: OrderTracker, order: TrackedOrder, name: str, quantity: Decimal, *rest: Any) -> Any:
        price, cumulative, *times = rest
        if not order.covered:
            quantity = cumulative = order.submitted.quantity
        return plain(self, order, name, quantity, price, cumulative, *times)

    return [(OrderTracker, "execution", execution)]


def _no_look_after_a_reconnect() -> list[Change]:
    """The account is not looked at when a stream comes back."""
    return [(Notice, "asks_for_reconciliation", property(lambda _self: False))]


def _never_reconciles() -> list[Change]:
    """After the start the account is never looked at again."""

    def ask(self: AccountQueries, wait_seconds: float = 0.0) -> None:
        if self.latest is None:
            plain(self, wait_seconds)

    plain = AccountQueries.ask
    return [(AccountQueries, "ask", ask)]


def _foreign_fills_booked_twice() -> list[Change]:
    """Somebody else's execution is booked again under another reference."""
    plain = Reconciler._act

    def act(self: Reconciler, found: Any, *rest: Any) -> Any:
        commands = plain(self, found, *rest)
        for one in found.explained:
            if isinstance(one.event, PositionChanged) and one.event.reference.startswith("foreign-"):
                again = msgspec.structs.replace(
                    one.event, reference=f"{one.event.reference}+", ts_recv_ns=self._core.engine.now_ns
                )
                commands += self._core.feed(again)
        return commands

    return [(Reconciler, "_act", act)]


def _wrong_sign(causes: frozenset[ChangeCause]) -> list[Change]:
    plain = Desk.book_change

    def book_change(self: Desk, event: PositionChanged) -> None:
        if event.cause in causes:
            event = msgspec.structs.replace(
                event, quantity_change=-event.quantity_change, cash_change=-event.cash_change
            )
        plain(self, event)

    return [(Desk, "book_change", book_change)]


def _wrong_sign_at_assignment() -> list[Change]:
    """Contracts that were assigned are booked with the wrong sign."""
    return _wrong_sign(frozenset({ChangeCause.ASSIGNMENT}))


def _wrong_sign_at_delivery() -> list[Change]:
    """Shares that an assignment took are booked as received."""
    return _wrong_sign(frozenset({ChangeCause.DELIVERY}))


def _dividend_charged() -> list[Change]:
    """A dividend received is booked as paid."""
    return _wrong_sign(frozenset({ChangeCause.DIVIDEND}))


def _pending_ignores_partial_fills() -> list[Change]:
    """An order that filled in part no longer counts as pending."""
    plain, live_for = OrderManager.pending, OrderManager.live_for

    def pending(self: OrderManager, instrument_id: InstrumentId) -> Decimal:
        parts = [one for one in live_for(self, instrument_id) if one.filled]
        return plain(self, instrument_id) - sum((one.signed_leaves for one in parts), Decimal(0))

    def untouched_for(self: OrderManager, instrument_id: InstrumentId) -> list[Order]:
        return [one for one in live_for(self, instrument_id) if not one.filled]

    return [(OrderManager, "pending", pending), (OrderManager, "live_for", untouched_for)]


def _hedge_on_the_wrong_side() -> list[Change]:
    """The hedge adds to the delta instead of taking it off."""
    return [(hedger, "quantity_to_target", lambda net, target: -int(target - net))]


def _hedge_forgets_the_multiplier() -> list[Change]:
    """The hedge is sized in contracts."""
    return [(hedger, "quantity_to_target", lambda net, target: int((target - net) / 100))]


def _hedge_left_behind() -> list[Change]:
    """The exit is over once the options are sold."""
    plain = LeavingState.sell

    def sell(self: LeavingState, view: DeskView, event: Event | None) -> Any:
        if not self.tools.held(view) and not view.orders.live:
            return DoneState(self.tools, self.start), ()
        return plain(self, view, event)

    return [(LeavingState, "sell", sell)]


def _key_in_a_reason() -> list[Change]:
    """The reason of a lost request quotes the secret, and the reason is journaled."""
    plain = OrderPath.doubt

    def unknown(self: OrderPath, orders: Any, reason: str) -> None:
        plain(self, orders, f"{reason} (drill-canary-secret-9f1c2e)")

    return [(OrderPath, "doubt", unknown)]


def _ids_begin_anew() -> list[Change]:
    """Client order ids count live orders: one that is over gives its id to another."""
    plain = OrderManager.submit

    def submit(self: OrderManager, intent: OrderIntent, now_ns: int) -> SubmitOrder:
        self._count = len(self.live)
        return plain(self, intent, now_ns)

    return [(OrderManager, "submit", submit)]


def _restart_forgets_orders() -> list[Change]:
    """After a restart the gateway is not told which orders the desk has at the venue."""
    from scalpdesk_testing import trial

    return [(trial, "known_orders", lambda _engine: ())]


def _correction_is_a_second_fill() -> list[Change]:
    """A corrected execution is added; the one that it replaces stays."""

    def correct(self: OrderReports, order: Any, update: Any, now_ns: int) -> None:
        at_ns = update.ts_event_ns
        event = OrderFilled(
            order.submitted.client_order_id,
            at_ns,
            now_ns,
            update.execution_id,
            update.quantity,
            update.price,
            Decimal(0),
        )
        self.publisher.publish([event])

    return [(OrderReports, "_correct", correct)]


def _cancel_of_another_order() -> list[Change]:
    """The cancel names the first order that the gateway knows."""

    def venue_order_id(self: OrderReports, order: Any) -> str | None:
        del order
        return next((one.venue_order_id for one in self.tracker.orders.values() if one.venue_order_id), None)

    return [(OrderReports, "venue_order_id", venue_order_id)]


def _part_left_out_of_the_explain() -> list[Change]:
    """The explanation of a mark leaves one of its parts out."""
    plain = PnlExplain.mark

    def mark(self: PnlExplain, *args: Any, **options: Any) -> Any:
        made = plain(self, *args, **options)
        if isinstance(made, Mark):
            return msgspec.structs.replace(made, parts={**made.parts, "gamma": Decimal(0)})
        return made

    return [(PnlExplain, "mark", mark)]


def _covers_sold() -> list[Change]:
    """The wing of a sold leg is sold like everything else."""

    def keep(orders: Iterable[OrderIntent], *_: object) -> list[OrderIntent]:
        return list(orders)

    return [(liquidation, "keep_covers", keep), (last_resort, "keep_covers", keep)]


PLANTED_BUGS: dict[str, PlantedBug] = {
    "covers_sold": PlantedBug("what covers a sold leg is sold before it is bought back", _covers_sold),
    "phantom_pending": PlantedBug("a cancelled order counts as pending", _phantom_pending),
    "zero_cross_double": PlantedBug("a hedge across zero goes out twice", _zero_cross_double),
    "retry_with_new_id": PlantedBug("a lost order is sent under a new name", _retry_with_new_id),
    "fill_applied_twice": PlantedBug("a repeated execution is booked again", _fill_applied_twice),
    "fill_after_cancel_ignored": PlantedBug(
        "an execution after the cancel is dropped", _fill_after_cancel_ignored
    ),
    "unknown_is_rejected": PlantedBug("the desk takes a time-out for a refusal", _unknown_is_rejected),
    "stale_quote_used": PlantedBug("the age of a quote is not looked at", _stale_quote_used),
    "limit_blind_to_unknown": PlantedBug("doubted orders are not counted", _limit_blind_to_unknown),
    "deadline_from_the_clock": PlantedBug("the exit has a fixed clock time", _deadline_from_the_clock),
    "leg_two_after_leg_one_failed": PlantedBug("half a straddle is kept", _leg_two_after_leg_one_failed),
    "refused_cancel_forgotten": PlantedBug(
        "a refused cancel leaves the order as being cancelled", _refused_cancel_forgotten
    ),
    "late_fill_dropped": PlantedBug("the gateway drops a fill of an ended order", _late_fill_dropped),
    "time_out_is_reject": PlantedBug("the gateway takes a time-out for a refusal", _time_out_is_reject),
    "duplicate_id_is_reject": PlantedBug("422 for a known id counts as a refusal", _duplicate_id_is_reject),
    "cancel_answer_is_the_end": PlantedBug(
        "the answer to a cancel counts as its end", _cancel_answer_is_the_end
    ),
    "no_sync_before_send": PlantedBug("an order leaves before its intent is synced", _no_sync_before_send),
    "sent_before_journaled": PlantedBug("an order leaves without a record", _sent_before_journaled),
    "wash_trade_check_gone": PlantedBug("no check against trading with oneself", _wash_trade_check_gone),
    "duplicate_check_gone": PlantedBug("no check against equal orders", _duplicate_check_gone),
    "mode_check_gone": PlantedBug("a halted desk sends orders", _mode_check_gone),
    "collar_gone": PlantedBug("no check of the limit price", _collar_gone),
    "size_check_gone": PlantedBug("no check of the size of an order", _size_check_gone),
    "exit_check_gone": PlantedBug("an exit may go through flat", _exit_check_gone),
    "margin_check_gone": PlantedBug("no check of the margin before something is opened", _margin_check_gone),
    "reducing_opens": PlantedBug("REDUCING lets opening orders through", _reducing_opens),
    "halt_keeps_orders": PlantedBug("HALT cancels nothing", _halt_keeps_orders),
    "fills_priced_by_inference": PlantedBug(
        "a fill is booked at another price than its own", _fills_priced_by_inference
    ),
    "partial_fill_is_whole": PlantedBug("a partial fill is booked in full", _partial_fill_is_whole),
    "no_look_after_a_reconnect": PlantedBug(
        "no reconciliation after a reconnect", _no_look_after_a_reconnect
    ),
    "never_reconciles": PlantedBug("no reconciliation after the start", _never_reconciles),
    "foreign_fills_booked_twice": PlantedBug("foreign fills count twice", _foreign_fills_booked_twice),
    "wrong_sign_at_assignment": PlantedBug(
        "assigned contracts with the wrong sign", _wrong_sign_at_assignment
    ),
    "wrong_sign_at_delivery": PlantedBug("delivered shares with the wrong sign", _wrong_sign_at_delivery),
    "dividend_charged": PlantedBug("a dividend with the wrong sign", _dividend_charged),
    "pending_ignores_partial_fills": PlantedBug(
        "what filled in part is pending no more", _pending_ignores_partial_fills
    ),
    "hedge_on_the_wrong_side": PlantedBug("hedges add to the delta", _hedge_on_the_wrong_side),
    "hedge_forgets_the_multiplier": PlantedBug(
        "hedges are sized in contracts", _hedge_forgets_the_multiplier
    ),
    "hedge_left_behind": PlantedBug("the hedge stays when the options are gone", _hedge_left_behind),
    "key_in_a_reason": PlantedBug("a secret reaches the journal", _key_in_a_reason),
    "ids_begin_anew": PlantedBug("ids of orders are used again", _ids_begin_anew),
    "restart_forgets_orders": PlantedBug(
        "a restart forgets the orders at the venue", _restart_forgets_orders
    ),
    "correction_is_a_second_fill": PlantedBug(
        "a correction adds to what it corrects", _correction_is_a_second_fill
    ),
    "cancel_of_another_order": PlantedBug("a cancel names another order", _cancel_of_another_order),
    "part_left_out_of_the_explain": PlantedBug(
        "the explanation of a mark lacks a part", _part_left_out_of_the_explain
    ),
    **{name: PlantedBug(edit.story, edit.changes, edit.protocol) for name, edit in EDITED_BUGS.items()},
}


def main(names: Sequence[str]) -> None:
    """Print the seed and the law that notice each bug."""
    for name in names or PLANTED_BUGS:
        found = seed_that_notices(PLANTED_BUGS[name])
        print(name, "NOT MET" if found is None else f"{found[0]} {found[1]}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
