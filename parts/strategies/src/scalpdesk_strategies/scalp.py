"""The life of a scalp in one option contract: its entry, its exits, its end, counted from its own fills."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Purpose, SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import TRADE_GAIN, Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import take_back


class Scalp:
    """A position of one option contract, counted from its own fills.

    A strategy's own scalp has what its exit rules need, and says in :meth:`ask_exits` what they ask for.

    ``view``, ``number``, ``contract``: The desk as the entry is proposed, and what is bought.
    ``ttl_seconds``: Age at which an entry order that is not filled is taken off.
    ``leaving``: Sells it once there is a reason to.
    ``tag``: Names the scalp in the records of its end.
    """

    timer: str
    """Name of the timer of an entry's end."""
    no_reason = "expired or taken away"
    """Reason of an end that no exit led to."""

    def __init__(
        self,
        view: DeskView,
        number: InstrumentId,
        contract: OptionContract,
        *,
        ttl_seconds: float,
        leaving: Liquidation,
        tag: Facts,
    ) -> None:
        self.number = number
        self.contract = contract
        self.ordered_ns = view.now_ns
        """When the entry was proposed, UTC nanoseconds."""
        self.ttl_seconds = ttl_seconds
        self.buy_due_ns = view.now_ns + int(ttl_seconds * NANOS_PER_SECOND)
        self.trade = view.begin_trade((number,))
        self.exit = leaving
        self.tag = tag
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

    # its life -------------------------------------------------------------------------------------

    def buy(
        self,
        now_ns: int,
        count: int,
        limit: Decimal,
        why: tuple[str, ...],
        facts: Facts,
        loss: Decimal | None = None,
    ) -> list[Action]:
        """Order contracts at a limit; ``loss`` is what they lose at their stop, in currency."""
        self.buy_due_ns = now_ns + int(self.ttl_seconds * NANOS_PER_SECOND)
        lot = TargetLine("", self.number, ZERO, Decimal(count), limit=limit, loss_at_stop=loss)
        intent = lot.next_order(why[0])
        facts = facts | {"contracts": count, "limit": str(limit)}
        timer = SetTimer(self.timer, self.buy_due_ns)
        return [Proposal(DecisionKind.ENTRY, why, facts, (intent,)), timer]

    def tend(self, view: DeskView, event: Event) -> list[Action] | None:
        """End an entry in time, sell what is to be sold, ask the exit rules; None once it is over."""
        if self.ordered_ns == view.now_ns and not self.has_orders:
            return []
        self.claim(view)
        buys, held = self.live(Side.BUY), self.held(view)
        if not buys and not held and not self.live(Side.SELL):
            return None
        if self.exit.why:
            return self.exit.note_refused(view, event) or self.sell(view)
        is_late = view.now_ns >= self.buy_due_ns
        late = drop_entry(buys, f"not filled within {self.ttl_seconds:g} s") if is_late else []
        return late + (self.ask_exits(view) if held else self.tend_entry(view, buys))

    def ask_exits(self, view: DeskView) -> list[Action]:
        """Do what the exit rules ask for while it is held."""
        raise NotImplementedError

    def tend_entry(self, view: DeskView, buys: Sequence[Order]) -> list[Action]:  # noqa: ARG002 - of a strategy
        """Look after an entry of which nothing is filled."""
        return []

    def facts(self, view: DeskView) -> Facts:
        """Return its figures, for the record of a decision."""
        price = view.mark(self.number)
        return self.tag | {
            "contract": self.contract.symbol,
            "entry_price": float(self.entry_price),
            **({} if price is None else {"price": price}),
            "held_contracts": int(self.held(view)),
        }

    def leave(self, view: DeskView, why: str, rest_seconds: float = 0.0) -> list[Action]:
        """Begin to sell for a reason."""
        self.exit.begin(view.now_ns, why, rest_seconds=rest_seconds)
        return self.sell(view)

    def sell(self, view: DeskView) -> list[Action]:
        """Close what is held; an entry still working is taken off the book first."""
        held = self.held(view)
        facts = self.facts(view) | {"contracts": int(abs(held))}
        return self.exit.step(view, [self.number] if held else (), facts, {self.number: held})

    def ended(self, why: str = "") -> list[Action]:
        """Report its end; of an entry that the gate refused the gate has reported why."""
        if self.bought:
            why = why or self.exit.why or self.no_reason
            facts: Facts = {**self.tag, "exit_reason": why, TRADE_GAIN: float(self.gain_usd)}
            return [Proposal(DecisionKind.EXIT, (f"flat in {self.contract.symbol}: {why}",), facts)]
        why = f"entry in {self.contract.symbol} ended without a fill"
        return [Proposal(DecisionKind.ENTRY, (why,), self.tag)] if self.has_orders else []


S = TypeVar("S", bound=Scalp)


class Scalps(list[S]):
    """Scalps that are open; those of this session that are over by the events so far are kept aside."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[S] = []

    def open_session(self, view: DeskView) -> None:
        """Keep what is held, and no more."""
        self[:] = [scalp for scalp in self if scalp.held(view)]
        self._ended.clear()

    def tend(self, view: DeskView, scalp: S, event: Event) -> list[Action]:
        """Look after a scalp; keep it aside once it is over."""
        actions = scalp.tend(view, event)
        if actions is not None:
            return actions
        self.remove(scalp)
        self._ended.append(scalp)
        scalp.ended_ns = view.now_ns
        return scalp.ended()

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
    """Return the cancel of an entry's orders, or nothing where no order can be cancelled."""
    return take_back(DecisionKind.ENTRY, orders, f"entry {why}: what was filled is kept", why)


def _filled(orders: Iterable[Order], side: Side) -> Decimal:
    return sum((order.filled for order in orders if order.submitted.side is side), ZERO)


def _value(orders: Iterable[Order], side: Side) -> Decimal:
    return sum((order.filled * order.average_price for order in orders if order.submitted.side is side), ZERO)
