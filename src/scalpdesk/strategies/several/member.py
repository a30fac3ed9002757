"""A member of a combined strategy: its view, its waiting orders and its triggers."""

from decimal import Decimal

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderIntent
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.marketdata.latest_quotes import InstrumentRows
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrdersView
from scalpdesk.portfolio.book import Book
from scalpdesk.strategies.contract import DeskView, Strategy, WritableDeskView


class _OwnOrders:
    """A strategy's own orders, with those that wait for another strategy's order; read-only."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.orders: dict[str, Order] = {}
        self.live: dict[str, Order] = {}
        self._count = 0
        self.waiting: dict[str, Order] = {}
        """Hedges and exits that wait until another strategy's order is off the book, by id."""

    def refresh(self, desk: OrdersView) -> None:
        """Refresh the live orders from the desk's."""
        self.live = {name: order for name, order in desk.live.items() if order.submitted.owner == self.owner}
        self.orders.update(self.live)
        self.live.update(self.waiting)

    def live_for(self, instrument_id: InstrumentId) -> list[Order]:
        """Return the live orders on an instrument, oldest first."""
        return [order for order in self.live.values() if order.submitted.instrument_id == instrument_id]

    def pending(self, instrument_id: InstrumentId) -> Decimal:
        """Return the signed open quantity of live orders."""
        return sum((order.signed_leaves for order in self.live_for(instrument_id)), ZERO)

    def wait_for(self, intent: OrderIntent, now_ns: int) -> Order:
        """Return an order of this intent that only the strategy sees, as one that is not at the venue yet."""
        self._count += 1
        client_order_id = f"{self.owner}-waiting-{self._count:06d}"
        order = Order(intent.order(client_order_id, self.owner), now_ns)
        self.orders[client_order_id] = self.waiting[client_order_id] = self.live[client_order_id] = order
        return order

    def stop_waiting(self, order: Order, why: str) -> None:
        """End a waiting order: it goes out under another name, or not at all."""
        self.waiting.pop(order.client_order_id, None)
        self.live.pop(order.client_order_id, None)
        if order.is_live:
            order.move(OrderState.CANCELLED, why)


class Waiting(msgspec.Struct):
    """A hedge or exit that waits, and the order that its strategy sees of it."""

    member: "Member"
    intent: OrderIntent
    order: Order


class Member:
    """One strategy of several.

    ``fraction``: Share of the account's equity that it may open risk with.
    ``view``: The desk's own view; the member gets one of its own that shows its own book.
    ``underlying``: Number of its own underlying.
    """

    def __init__(
        self,
        strategy: Strategy,
        book: Book,
        fraction: Decimal,
        view: WritableDeskView,
        underlying: InstrumentId,
    ) -> None:
        self.name = strategy.name
        self.strategy = strategy
        self.book = book
        self.fraction = fraction
        self.orders = _OwnOrders(self.name)
        self.view = WritableDeskView(
            view.instruments,
            view.market,
            view.delta_engine,
            book.positions,
            self.orders,
            book.account,
            underlying,
        )
        self.view.halted, self.view.desk_mode = view.halted, view.desk_mode
        self.bars_of: frozenset[InstrumentId] = frozenset()

    @property
    def is_flat(self) -> bool:
        """True when it holds nothing and no order of its own is alive (as of the last look)."""
        return not self.book.positions.held() and not self.orders.live

    def look(self, view: DeskView) -> None:
        """Bring its view up to date with the desk's."""
        own = self.view
        own.now_ns = view.now_ns
        own.session = view.session
        own.venue, own.cutoff, own.fees = view.venue, view.cutoff, view.fees
        own.is_compared = view.is_compared
        self.orders.refresh(view.orders)


def raised_by(member: Member) -> str:
    """Return the note of an exception that says which strategy of the desk raised it."""
    return f"raised by the strategy {member.name}"


class SharedTrigger(Trigger):
    """The triggers of several strategies on one instrument, as the one that the engine asks."""

    def __init__(self, instrument_id: InstrumentId) -> None:
        super().__init__(instrument_id)
        self._triggers: list[tuple[Member, Trigger]] = []
        self.due: list[tuple[Member, Trigger]] = []
        """Triggers that fire at the row found last."""

    @property
    def skips(self) -> bool:
        """Whether each of them passes over most quotes."""
        return all(trigger.skips for _, trigger in self._triggers)

    def add(self, member: Member, trigger: Trigger) -> None:
        """Take in a strategy's trigger."""
        self._triggers.append((member, trigger))

    def remove(self, member: Member) -> None:
        """Forget a strategy's triggers."""
        self._triggers = [entry for entry in self._triggers if entry[0] is not member]
        self.due = [entry for entry in self.due if entry[0] is not member]

    def next_row(self, quotes: InstrumentRows, first: int, last: int) -> int:
        """Return the first row at which any of them fires."""
        self.due = []
        found = last
        for entry in self._triggers:
            try:
                row = entry[1].next_row(quotes, first, min(found + 1, last))
            except Exception as error:
                error.add_note(raised_by(entry[0]))
                raise
            if row < found:
                self.due, found = [entry], row
            elif row == found < last:
                self.due.append(entry)
        return found

    def learn(self, quotes: InstrumentRows, first: int, last: int) -> None:
        """Let each take in rows."""
        for _, trigger in self._triggers:
            trigger.learn(quotes, first, last)

    def reason(self, quote: QuoteEvent) -> Wake:
        """Return the first reason that any of them has."""
        return self.due[0][1].reason(quote)

    def done(self, quote: QuoteEvent, wake: Wake) -> None:  # noqa: ARG002 - each has a reason of its own
        """Confirm each trigger that was due."""
        for _, trigger in self.due:
            trigger.done(quote, trigger.reason(quote))
        self.due = []
