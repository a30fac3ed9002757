"""Orders and fills of one scalp in one option contract, counted apart from what else the account holds."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Purpose, Side
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal, TradeStart
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import cancels_of


class ScalpOrders:
    """A position of one option contract, counted from its own fills.

    Parameters
    ----------
    number, contract
        What is bought.
    ordered_ns
        When the entry was proposed, UTC nanoseconds.
    trade
        The contract's P&L before it.
    leaving
        Sells it once there is a reason to.
    """

    def __init__(
        self,
        number: InstrumentId,
        contract: OptionContract,
        ordered_ns: int,
        *,
        trade: TradeStart,
        leaving: Liquidation,
    ) -> None:
        self.number = number
        self.contract = contract
        self.ordered_ns = ordered_ns
        self.trade = trade
        self.exit = leaving
        self.ended_ns: int | None = None
        """When it was over; orders on the same contract after that are another scalp's."""
        self._orders: dict[str, Order] = {}

    def claim(self, view: DeskView) -> None:
        """Take note of this scalp's orders: those on its contract since it began."""
        known = self._orders
        for order in view.orders.live_for(self.number):
            if order.created_ns >= self.ordered_ns:
                known.setdefault(order.client_order_id, order)

    def claim_order(self, order: Order) -> bool:
        """Take note of an order that an event names, if it is this scalp's (it may be over already)."""
        if order.client_order_id in self._orders:
            return True
        is_later = self.ended_ns is not None and order.created_ns > self.ended_ns
        if is_later or order.submitted.instrument_id != self.number or order.created_ns < self.ordered_ns:
            return False
        self._orders[order.client_order_id] = order
        return True

    @property
    def has_orders(self) -> bool:
        """False while the gate has let none of its orders through."""
        return bool(self._orders)

    def live(self, side: Side) -> list[Order]:
        """Orders of one side that may still fill: entries, or sales."""
        return [
            item
            for item in self._orders.values()
            if item.is_live
            and item.submitted.side is side
            and (side is Side.SELL or item.submitted.purpose is Purpose.OPEN)
        ]

    @property
    def bought(self) -> Decimal:
        """Contracts bought so far."""
        return _filled(self._orders.values(), Side.BUY)

    @property
    def sold(self) -> Decimal:
        """Contracts sold so far."""
        return _filled(self._orders.values(), Side.SELL)

    @property
    def entry_price(self) -> Decimal:
        """Average paid per unit; 0 before the first fill."""
        return _value(self._orders.values(), Side.BUY) / self.bought if self.bought else ZERO

    @property
    def premium_paid(self) -> Decimal:
        """Cost of all contracts bought, in currency, before fees."""
        return self.bought * self.entry_price * self.contract.multiplier

    @property
    def gain_usd(self) -> Decimal:
        """Sales less purchases in currency, before fees."""
        orders = self._orders.values()
        return (_value(orders, Side.SELL) - _value(orders, Side.BUY)) * self.contract.multiplier

    def held(self, view: DeskView) -> Decimal:
        """Contracts of its own still held; never more than the account has.

        Below zero where a purchase was taken back that had been sold again.
        """
        own, account = self.bought - self.sold, view.positions.quantity(self.number)
        return min(max(own, account), ZERO) if own < 0 else max(min(own, account), ZERO)

    def sell(self, view: DeskView, facts: Facts) -> list[Action]:
        """Close what is held; an entry still working is taken off the book first."""
        held = self.held(view)
        if not held:
            return list(self.exit.take_off(view))
        facts = facts | {"contracts": int(abs(held))}
        return self.exit.step(view, [self.number], facts, {self.number: held})


S = TypeVar("S", bound=ScalpOrders)


class Scalps(list[S]):
    """Scalps that are open; those of this session that are over by the events so far are kept aside."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[S] = []

    def open_session(self, view: DeskView) -> None:
        """Keep what is held, and no more."""
        self[:] = [scalp for scalp in self if scalp.held(view)]
        self._ended.clear()

    def end(self, scalp: S, now_ns: int) -> None:
        """Count a scalp as over (UTC nanoseconds)."""
        self.remove(scalp)
        self._ended.append(scalp)
        scalp.ended_ns = now_ns

    def claim(self, view: DeskView, event: Event) -> tuple[S, Order, bool] | None:
        """Give an order's event to the scalp it belongs to; return both, and whether it is open once more.

        A fill after the venue's last answer, or one taken back, makes a scalp that was over hold again.
        """
        order = view.order_of(event)
        if order is None:
            return None
        for scalp in (*self, *self._ended):
            if scalp.claim_order(order):
                held = scalp.held(view)
                is_back = scalp in self._ended and held != 0
                if held < 0 and not scalp.exit.why:
                    scalp.exit.begin(view.now_ns, "its purchase was taken back after the sale")
                if is_back:
                    self._ended.remove(scalp)
                    self.append(scalp)
                    scalp.ended_ns = None
                return scalp, order, is_back
        return None


def drop_entry(orders: Sequence[Order], why: str) -> list[Action]:
    """Return the cancel of an entry's orders, or nothing where none can be cancelled."""
    intents = cancels_of(orders, why)
    kept = f"entry {why}: what was filled is kept"
    return [Proposal(DecisionKind.ENTRY, (kept,), {}, intents)] if intents else []


def _filled(orders: Iterable[Order], side: Side) -> Decimal:
    return sum((order.filled for order in orders if order.submitted.side is side), ZERO)


def _value(orders: Iterable[Order], side: Side) -> Decimal:
    return sum((order.filled * order.average_price for order in orders if order.submitted.side is side), ZERO)
