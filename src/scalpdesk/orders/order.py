"""One order's life as a state machine. The venue's word moves it; a transport error only doubts it."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from scalpdesk.core.errors import InvariantError
from scalpdesk.core.intents import SubmitOrder

ZERO = Decimal(0)


class OrderState(StrEnum):
    """Where an order stands."""

    PENDING_NEW = "pending_new"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
"""States that only a bust or a late fill may touch."""

_S = OrderState
_LIVE = frozenset({_S.PENDING_NEW, _S.WORKING, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.UNKNOWN})
ALLOWED: dict[OrderState, frozenset[OrderState]] = {
    _S.PENDING_NEW: _LIVE | TERMINAL,
    _S.WORKING: (_LIVE | TERMINAL) - {_S.PENDING_NEW},
    _S.PARTIALLY_FILLED: (_LIVE | TERMINAL) - {_S.PENDING_NEW, _S.WORKING, _S.REJECTED},
    _S.PENDING_CANCEL: (_LIVE | TERMINAL) - {_S.PENDING_NEW},
    _S.UNKNOWN: (_LIVE | TERMINAL) - {_S.PENDING_NEW},
    # A fill may arrive after the venue's last word (it happened before); a bust may reopen a count.
    _S.FILLED: frozenset({_S.CANCELLED}),
    _S.CANCELLED: frozenset({_S.FILLED}),
    _S.REJECTED: frozenset({_S.FILLED, _S.CANCELLED}),
    _S.EXPIRED: frozenset({_S.FILLED}),
}
"""Edges of the state machine. From a terminal state only an execution (or its bust) leads on."""


@dataclass(slots=True)
class Order:
    """An order as the desk knows it. Quantities are unsigned contracts or shares."""

    submitted: SubmitOrder
    created_ns: int
    state: OrderState = OrderState.PENDING_NEW
    filled: Decimal = ZERO
    average_price: Decimal = ZERO
    venue_order_id: str = ""
    reason: str = ""
    """Why it was rejected, cancelled or doubted."""
    executions: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    """Quantity and price by execution id."""
    resumes_as: OrderState = OrderState.WORKING
    """State to return to when a cancel is refused."""

    @property
    def client_order_id(self) -> str:
        """The id the desk gave it."""
        return self.submitted.client_order_id

    @property
    def is_live(self) -> bool:
        """True while the venue may still fill it."""
        return self.state not in TERMINAL

    @property
    def leaves(self) -> Decimal:
        """What may still be filled; zero once the order is over."""
        return self.submitted.quantity - self.filled if self.is_live else ZERO

    @property
    def signed_leaves(self) -> Decimal:
        """Leaves with the sign of the side."""
        return self.leaves * self.submitted.side.sign

    def move(self, state: OrderState, reason: str = "") -> None:
        """Go to ``state``.

        Raises
        ------
        InvariantError
            When the state machine has no such edge.
        """
        if state is self.state:
            return
        if state not in ALLOWED[self.state]:
            raise InvariantError(
                f"an order cannot go from {self.state} to {state}",
                where=f"order {self.client_order_id}",
                value=reason or None,
            )
        self.state = state
        if reason:
            self.reason = reason

    def fill(self, execution_id: str, quantity: Decimal, price: Decimal) -> bool:
        """Apply one execution; return False when it was applied before.

        Raises
        ------
        InvariantError
            When more would be filled than was ordered.
        """
        if execution_id in self.executions:
            return False
        filled = self.filled + quantity
        if filled > self.submitted.quantity:
            raise InvariantError(
                "an order would be filled beyond its quantity",
                where=f"order {self.client_order_id}",
                value=f"{filled} of {self.submitted.quantity}",
            )
        self.executions[execution_id] = (quantity, price)
        if self.filled:
            price = (self.average_price * self.filled + price * quantity) / filled
        self.average_price = price
        self.filled = filled
        if filled == self.submitted.quantity:
            self.move(OrderState.FILLED)
        elif self.state in (OrderState.PENDING_NEW, OrderState.WORKING, OrderState.UNKNOWN):
            self.move(OrderState.PARTIALLY_FILLED)
        elif self.state is OrderState.PENDING_CANCEL:
            self.resumes_as = OrderState.PARTIALLY_FILLED
        return True

    def bust(self, execution_id: str) -> tuple[Decimal, Decimal] | None:
        """Take one execution back; return its quantity and price, or None when it is not known."""
        gone = self.executions.pop(execution_id, None)
        if gone is None:
            return None
        self.filled -= gone[0]
        total = sum((quantity * price for quantity, price in self.executions.values()), ZERO)
        self.average_price = total / self.filled if self.filled else ZERO
        if self.state is OrderState.FILLED:
            # The venue does not work a busted quantity again: what is left of the order is over.
            self.move(OrderState.CANCELLED, "execution busted")
        return gone
