"""Ten bugs that live trading programs are known for, planted on purpose for the length of one trial.

The trials are worth what they catch. Each bug here changes one function of the desk while it is
planted, and nothing else; the campaign must meet a broken law within a stated number of seeds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.core.events import OrderFilled, OrderStatusUnknown, QuoteEvent
from scalpdesk.core.intents import OrderIntent, SubmitOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.admission import ProposalFacts
from scalpdesk.engine.desk import Desk
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.state import MarketState
from scalpdesk.orders.order import TERMINAL, Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper, ScalperPhase
from scalpdesk.strategies.toolkit import hedger
from scalpdesk.strategies.toolkit.exits import BeforeClose, StraddleView
from scalpdesk.venues.alpaca.orders import OrderSender
from scalpdesk_testing.market import SHARE
from scalpdesk_testing.schedule import draw_schedule
from scalpdesk_testing.trial import run_trial

Change = tuple[Any, str, Any]
"""An object, the name of its attribute, and what stands there while the bug is planted."""


class PlantedBug(NamedTuple):
    """A bug.

    Parameters
    ----------
    name, story
        What it is called, and what it does.
    within
        Seeds within which a trial must notice it.
    changes
        Makes the changes.
    """

    name: str
    story: str
    within: int
    changes: Callable[[], list[Change]]
    noticed: int = 0
    """A seed that has noticed it, tried first; the search for it takes its time."""


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


def seed_that_notices(bug: PlantedBug) -> tuple[int, str] | None:
    """Return a seed whose trial breaks a law under the bug, and the law; None when none does."""
    with planted(bug):
        for seed in (bug.noticed, *range(bug.within)):
            violations = run_trial(draw_schedule(seed)).violations
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
    plain = OrderSender._unknown

    def doubt(self: OrderSender, orders: Any, reason: str) -> None:
        tracked = list(orders)
        plain(self, tracked, reason)
        for one in tracked:
            command: SubmitOrder = one.submitted
            if not reason.startswith("cancel") and not command.client_order_id.endswith("r"):
                renamed = f"{command.client_order_id}-r"
                self.send(msgspec.structs.replace(command, client_order_id=renamed))

    return [(OrderSender, "_unknown", doubt)]


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

    from scalpdesk.venues.tracker import OrderTracker, TrackedOrder

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
    """An execution that is told after the cancel is dropped."""
    from scalpdesk.venues.tracker import OrderTracker, TrackedOrder

    plain = OrderTracker.execution

    def execution(self: OrderTracker, one: TrackedOrder, *rest: Any) -> Any:
        events = plain(self, one, *rest)
        was_over = one.ended and one.covered < one.submitted.quantity
        return [event for event in events if not (isinstance(event, OrderFilled) and was_over)]

    apply = OrderManager.apply

    def dropped(self: OrderManager, event: Any) -> Order:
        order = self.order(event.client_order_id)
        if isinstance(event, OrderFilled) and order.state in TERMINAL:
            return order
        return apply(self, event)

    book = Desk.book_fill

    def book_fill(self: Desk, command: SubmitOrder, event: OrderFilled) -> None:
        if self.orders.orders[event.client_order_id].has_seen(event.execution_id):
            book(self, command, event)

    return [
        (OrderTracker, "execution", execution),
        (OrderManager, "apply", dropped),
        (Desk, "book_fill", book_fill),
    ]


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
    """What is in doubt is left out of the exposure."""

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

    return [(OrderManager, "pending", pending), (ProposalFacts, "working", working)]


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
    enter = GammaScalper._enter

    def go_on(self: GammaScalper, view: DeskView) -> Any:
        pair = self._pair
        assert pair is not None
        held = [view.positions.quantity(leg) for leg in (pair.call_id, pair.put_id)]
        failed = [
            order
            for order in view.orders.orders.values()
            if order.submitted.instrument_id in (pair.call_id, pair.put_id)
            and order.state in (OrderState.REJECTED, OrderState.CANCELLED)
        ]
        if failed and any(held) and not any(view.orders.pending(leg) for leg in (pair.call_id, pair.put_id)):
            self.phase = ScalperPhase.HOLDING
            return ()
        return enter(self, view)

    def is_whole(self: GammaScalper, view: DeskView) -> bool:
        del self, view
        return True  # the desk's second line of defence would end it at once

    return [(GammaScalper, "_enter", go_on), (GammaScalper, "_is_whole", is_whole)]


PLANTED_BUGS: tuple[PlantedBug, ...] = (
    PlantedBug("phantom_pending", "a cancelled order counts as pending", 100, _phantom_pending),
    PlantedBug("zero_cross_double", "a hedge across zero goes out twice", 50, _zero_cross_double, 30),
    PlantedBug("retry_with_new_id", "a lost order is sent under a new name", 50, _retry_with_new_id),
    PlantedBug("fill_applied_twice", "a repeated execution is booked again", 50, _fill_applied_twice),
    PlantedBug(
        "fill_after_cancel_ignored",
        "an execution after the cancel is dropped",
        30,
        _fill_after_cancel_ignored,
    ),
    PlantedBug("unknown_is_rejected", "a time-out counts as a refusal", 50, _unknown_is_rejected),
    PlantedBug("stale_quote_used", "the age of a quote is not looked at", 50, _stale_quote_used),
    PlantedBug("limit_blind_to_unknown", "doubted orders are not counted", 30, _limit_blind_to_unknown),
    PlantedBug("deadline_from_the_clock", "the exit has a fixed clock time", 50, _deadline_from_the_clock),
    PlantedBug("leg_two_after_leg_one_failed", "half a straddle is kept", 100, _leg_two_after_leg_one_failed),
)
NOT_MET = frozenset({"fill_after_cancel_ignored", "limit_blind_to_unknown"})
"""Bugs that none of the first 1,400 seeds meets since orders wait for three connections, as in production."""
