"""All orders of the desk: intents become commands, and the venue's events move their states."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol, assert_never

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
    CancelRejected,
    FailedEvent,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    StatusEvent,
    UnmatchedOrderEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderIntent,
    Output,
    SubmitOrder,
    orders_of,
    sets_of_all,
)
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.orders.order import TERMINAL, Order, OrderState

# looking up an enum's member costs as much as a call
PENDING_NEW, WORKING = OrderState.PENDING_NEW, OrderState.WORKING
PENDING_CANCEL, UNKNOWN = OrderState.PENDING_CANCEL, OrderState.UNKNOWN
_CANCEL_SECONDS, _LONGEST_CANCEL_SECONDS = 1.0, 60.0
"""First and longest pause after a venue refused the cancel of an order."""


class OrdersView(Protocol):
    """The desk's orders, read-only."""

    @property
    def orders(self) -> Mapping[str, Order]:
        """All orders of the run, by id."""
        ...

    @property
    def live(self) -> Mapping[str, Order]:
        """Orders that may still fill, by id, oldest first."""
        ...

    def pending(self, instrument_id: InstrumentId) -> Decimal:
        """Return the signed open quantity of live orders."""
        ...

    def live_for(self, instrument_id: InstrumentId) -> Sequence[Order]:
        """Return the live orders on an instrument, oldest first."""
        ...


def net_limit(intents: Sequence[OrderIntent | SubmitOrder]) -> Decimal | None:
    """Return what one set may cost, currency per unit: paid above zero; None at the market."""
    sets, total = sets_of_all([intent.quantity for intent in intents]), ZERO
    for intent in intents:
        if intent.limit_price is None:
            return None
        total += intent.side.sign * intent.limit_price * (intent.quantity / sets)
    return total


def command_of(legs: Sequence[Order]) -> SubmitOrder | MultiLegOrder:
    """Return the command that sent an order on its own, or the legs of a combo."""
    sent = tuple(leg.submitted for leg in legs)
    if not legs[0].parent_id:
        return sent[0]
    return MultiLegOrder(legs[0].parent_id, sent, net_limit(sent), sent[0].time_in_force)


class OrderManager:
    """Names, sends and follows orders.

    ``prefix``: Begins every client order id; unique to the account and the run, so that the ids of two runs
    never meet. Ids count up from it: a replay gives the same ids.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self.orders: dict[str, Order] = {}
        self.live: dict[str, Order] = {}
        """Orders that the venue may still fill, by client order id, oldest first."""
        self._combos: dict[str, tuple[Order, ...]] = {}
        """Legs by the id of their combo."""
        self.unmatched: list[UnmatchedOrderEvent] = []
        """Quarantine: order events that were recorded and not applied."""
        self.left: dict[str, OrderFilled] = {}
        """Executions that raised twice and are left to the account's comparison, by their ids."""
        self._failed: set[str] = set()
        """Executions that raised once: the venue reports them again."""
        self._refused_cancels: dict[str, BackOff] = {}
        self._forgotten: Counter[tuple[str, InstrumentId]] = Counter()
        self._forgotten_fills: Counter[tuple[str, InstrumentId]] = Counter()
        """Orders that were forgotten and their executions, by owner and instrument."""

    @property
    def next_id(self) -> str:
        """Id of the next order."""
        return f"{self._prefix}-{self._count + 1:06d}"

    def submit_combo(
        self, intents: Sequence[OrderIntent], net_limit_price: Decimal | None, now_ns: int
    ) -> MultiLegOrder:
        """Turn the intents of a combo into one command; its legs carry ids of their own and the combo's.

        ``net_limit_price`` is in currency per unit of one set, paid when above zero; None at the market.
        """
        self._count += 1
        parent_id = f"{self._prefix}-{self._count:06d}"
        legs = tuple(self.submit(intent, now_ns) for intent in intents)
        self._bind(parent_id, tuple(self.orders[leg.client_order_id] for leg in legs))
        return MultiLegOrder(parent_id, legs, net_limit_price, legs[0].time_in_force)

    def _bind(self, parent_id: str, legs: tuple[Order, ...]) -> None:
        self._combos[parent_id] = legs
        for leg in legs:
            leg.parent_id = parent_id

    def restore(self, command: SubmitOrder | MultiLegOrder, now_ns: int) -> Sequence[Order]:
        """Add the orders of a command that a journal holds, and return them."""
        sent = command.legs if isinstance(command, MultiLegOrder) else (command,)
        orders = tuple(Order(order, now_ns) for order in sent)
        for order in orders:
            self.orders[order.client_order_id] = self.live[order.client_order_id] = order
        last = orders[-1].client_order_id.removeprefix(f"{self._prefix}-")
        if last.isdecimal():  # of this run: the next one has another
            self._count = max(self._count, int(last))
        if isinstance(command, MultiLegOrder):
            self._bind(command.client_order_id, orders)
        return orders

    def take_back(self, output: Output) -> None:
        """Forget an order or a cancel that was only decided here, and that a journal does not have."""
        if type(output) is CancelOrder:
            order = self.live.get(output.client_order_id)
            for leg in () if order is None else self.legs_with(order):
                if leg.state is PENDING_CANCEL:
                    leg.is_unwanted = False
                    leg.move(leg.resumes_as)
            return
        for sent in orders_of(output):
            self.live.pop(sent.client_order_id, None)
            order = self.orders.pop(sent.client_order_id, None)
            if order is not None:
                self._combos.pop(order.parent_id, None)

    def submit(self, intent: OrderIntent, now_ns: int) -> SubmitOrder:
        """Turn an intent that passed the gate into a command with an id of its own."""
        self._count += 1
        client_order_id = f"{self._prefix}-{str(self._count).zfill(6)}"  # half the time of a format
        command = SubmitOrder(
            client_order_id,
            intent.instrument_id,
            intent.side,
            intent.quantity,
            intent.order_type,
            intent.limit_price,
            intent.time_in_force,
            intent.purpose,
            intent.owner,
        )
        order = Order(command, now_ns)
        self.orders[client_order_id] = self.live[client_order_id] = order
        return command

    def cancel(self, client_order_id: str, *, again: bool = False) -> CancelOrder | None:
        """Ask for an order's end, of a leg for its combo's; None when it is over or being cancelled.

        ``again`` asks also for what is being cancelled: the venue may have lost the first cancel.
        """
        order = self.live.get(client_order_id)
        if order is None or (order.state is PENDING_CANCEL and not again):
            return None
        for leg in self.legs_with(order):
            leg.is_unwanted = True
            if leg.is_live and leg.state not in (OrderState.UNKNOWN, OrderState.PENDING_CANCEL):
                leg.resumes_as = leg.state
                leg.move(OrderState.PENDING_CANCEL)
        return CancelOrder(client_order_id)

    def legs_with(self, order: Order) -> Sequence[Order]:
        """Return the legs of an order's combo, itself included; of an order on its own just that."""
        return self._combos.get(order.parent_id, (order,)) if order.parent_id else (order,)

    def may_cancel(self, client_order_id: str, now_ns: int) -> bool:
        """Return whether a cancel may be asked for: after each refusal the order is left alone for longer."""
        refused = self._refused_cancels.get(client_order_id)
        return refused is None or now_ns >= refused.until_ns

    def order(self, client_order_id: str) -> Order:
        """Return an order by its id.

        Raises InvariantError when the desk never sent it.
        """
        found = self.orders.get(client_order_id)
        if found is None:
            raise InvariantError(
                "the venue speaks of an order that this desk never sent",
                where="client_order_id",
                value=client_order_id,
                fix="look at the account for orders from elsewhere; one desk owns one account",
            )
        return found

    def apply(self, event: StatusEvent) -> Order:
        """Move the order that the event names; a late or repeated event never moves it back.

        Raises InvariantError when the order is unknown.
        """
        order = self.orders.get(event.client_order_id) or self.order(event.client_order_id)
        # isinstance costs ten times as much on these structs, and the event classes are final
        if type(event) is OrderAccepted:
            order.venue_order_id = order.venue_order_id or event.venue_order_id
            if order.state is PENDING_NEW or order.state is UNKNOWN:
                order.move(OrderState.PARTIALLY_FILLED if order.filled else WORKING)
            elif order.state is PENDING_CANCEL and order.resumes_as is PENDING_NEW:
                order.resumes_as = WORKING
        elif type(event) is FillBusted:
            order.bust(event.execution_id, is_corrected=event.is_corrected)
        elif type(event) is CancelRejected:
            self._resume(order, event)
        elif order.state in TERMINAL:
            return order
        elif type(event) is OrderRejected:
            # a venue that rejects after filling part has in truth cancelled the rest
            order.move(OrderState.CANCELLED if order.was_filled else OrderState.REJECTED, event.reason)
        elif type(event) is OrderCancelled:
            order.move(OrderState.CANCELLED, event.reason)
        elif type(event) is OrderExpired:
            order.move(OrderState.EXPIRED)
        elif type(event) is OrderStatusUnknown:
            order.move(UNKNOWN, event.reason)
        elif type(event) is OrderNotFound:
            if order.state is UNKNOWN:
                ended = OrderState.CANCELLED if order.was_filled else OrderState.REJECTED
                order.move(ended, "never reached the venue")
        else:
            assert_never(event)
        if order.state in TERMINAL:
            self.live.pop(event.client_order_id, None)
        return order

    def _resume(self, order: Order, event: CancelRejected) -> None:
        """Go back to before a refused cancel; a combo is cancelled whole, and so is its cancel refused."""
        pause = self._refused_cancels.setdefault(
            order.client_order_id, BackOff(_CANCEL_SECONDS, _LONGEST_CANCEL_SECONDS)
        )
        pause.fail(event.ts_recv_ns)
        for leg in self.legs_with(order):
            self._refused_cancels[leg.client_order_id] = pause
            if leg.state is PENDING_CANCEL:
                leg.move(leg.resumes_as, event.reason)

    def fill(self, order: Order, event: OrderFilled) -> None:
        """Apply an execution to the order that it names; raises InvariantError beyond its quantity."""
        order.fill(event.execution_id, event.quantity, event.price)
        if order.state in TERMINAL:
            self.live.pop(event.client_order_id, None)

    def note_failed(self, failed: FailedEvent) -> None:
        """Note an event that has no effect because it raised.

        An execution comes again from the venue's history. Where it raises again its order ends here, and the
        comparison with the account books it.
        """
        event = failed.event
        if type(event) is not OrderFilled:
            return
        name = event.execution_id
        if name not in self._failed:
            self._failed.add(name)
            return
        self.left[name] = event
        order = self.orders.get(event.client_order_id)
        if order is not None and order.is_live:
            order.move(OrderState.CANCELLED, "its execution is left to the account")
            self.live.pop(event.client_order_id, None)

    def forget(self, before_ns: int) -> list[Order]:
        """Forget the orders sent before an instant (UTC nanoseconds) that are over; return them.

        Rejected combos stay: a strategy may ask whether the venue takes combos; :meth:`counts` counts all.
        """
        over = [
            order
            for order in self.orders.values()
            if order.created_ns < before_ns
            and order.state is not OrderState.REJECTED
            and not any(leg.is_live for leg in self.legs_with(order))
        ]
        for order in over:
            name, whose = order.client_order_id, (order.submitted.owner, order.submitted.instrument_id)
            del self.orders[name]
            self._refused_cancels.pop(name, None)
            self._combos.pop(order.parent_id, None)
            self._forgotten[whose] += 1
            self._forgotten_fills[whose] += len(order.executions)
        return over

    def counts(self) -> dict[tuple[str, InstrumentId], tuple[int, int]]:
        """Return the number of orders sent and of executions that stand, by owner and instrument."""
        sent, fills = self._forgotten.copy(), self._forgotten_fills.copy()
        for order in self.orders.values():
            whose = order.submitted.owner, order.submitted.instrument_id
            sent[whose] += 1
            fills[whose] += len(order.executions)
        return {whose: (count, fills[whose]) for whose, count in sent.items()}

    def fill_count(self) -> int:
        """Return the number of executions that stand, of forgotten orders too."""
        return sum(fills for _, fills in self.counts().values())

    def pending(self, instrument_id: InstrumentId) -> Decimal:
        """Signed quantity of an instrument that live orders may still fill, unknown orders included."""
        total = ZERO
        for order in self.live.values():
            if order.submitted.instrument_id == instrument_id:
                total += order.signed_leaves
        return total

    def live_for(self, instrument_id: InstrumentId) -> list[Order]:
        """Live orders on an instrument, oldest first."""
        return [order for order in self.live.values() if order.submitted.instrument_id == instrument_id]
