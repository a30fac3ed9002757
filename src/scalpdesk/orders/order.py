"""One order's life as a state machine: the venue's answers move it, a transport error makes it unknown."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from scalpdesk.core.errors import InvariantError
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import ZERO


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


SETTLED = "settled/"
"""Begins the id of an execution that no message of the venue has brought: the account's position and cash
show it, or a person has seen it at the broker. The venue's own execution takes its place if it comes at last.
"""
TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
"""States that only a bust or a late fill may touch."""
UNCERTAIN = (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)
"""States in which a further cancel makes no sense."""

FILLED = OrderState.FILLED  # looking up an enum's member costs as much as a call
_S = OrderState
_LIVE = frozenset({_S.PENDING_NEW, _S.WORKING, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.UNKNOWN})
ALLOWED: dict[OrderState, frozenset[OrderState]] = {
    _S.PENDING_NEW: _LIVE | TERMINAL,
    _S.WORKING: (_LIVE | TERMINAL) - {_S.PENDING_NEW},
    _S.PARTIALLY_FILLED: (_LIVE | TERMINAL) - {_S.PENDING_NEW, _S.WORKING, _S.REJECTED},
    _S.PENDING_CANCEL: _LIVE | TERMINAL,  # back to new: the cancel overtook the order and was refused
    _S.UNKNOWN: (_LIVE | TERMINAL) - {_S.PENDING_NEW},
    # A fill may arrive after the venue's last word (it happened before); a bust may reopen a count.
    _S.FILLED: frozenset({_S.CANCELLED}),
    _S.CANCELLED: frozenset({_S.FILLED}),
    _S.REJECTED: frozenset({_S.FILLED, _S.CANCELLED}),
    _S.EXPIRED: frozenset({_S.FILLED}),
}
"""Edges of the state machine. From a terminal state only an execution (or its bust) leads on."""


_NO_EXECUTIONS: Mapping[str, tuple[Decimal, Decimal]] = MappingProxyType({})
_NOTHING_BUSTED: Mapping[str, Decimal] = MappingProxyType({})


class Order(Leaf, gc=False):
    """An order as the desk knows it. Quantities are unsigned contracts or shares."""

    submitted: SubmitOrder
    created_ns: int
    state: OrderState = OrderState.PENDING_NEW
    filled: Decimal = ZERO
    average_price: Decimal = ZERO
    venue_order_id: str = ""
    reason: str = ""
    """Why it was rejected or cancelled, or why its state is unknown."""
    executions: Mapping[str, tuple[Decimal, Decimal]] = _NO_EXECUTIONS
    """Quantity and price by execution id."""
    busted: Mapping[str, Decimal] = _NOTHING_BUSTED
    """Quantity by id of the executions taken back; zero while the execution itself was never seen."""
    resumes_as: OrderState = OrderState.WORKING
    """State to return to when a cancel is refused."""
    parent_id: str = ""
    """Id of the combo whose leg it is; empty for a single order."""
    is_unwanted: bool = False
    """A cancel was asked for, whatever became of that."""

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
        """Quantity that may still be filled; zero once the order is over.

        The venue does not work a busted quantity again: it is gone from the order.
        """
        if not self.is_live:
            return ZERO
        if not self.busted:
            return self.submitted.quantity - self.filled
        return max(self.submitted.quantity - self.filled - sum(self.busted.values(), ZERO), ZERO)

    @property
    def signed_leaves(self) -> Decimal:
        """Leaves with the sign of the side."""
        return self.leaves * self.submitted.side.sign

    @property
    def settled(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Quantity and price of the executions that no message of the venue has brought, by id."""
        return {name: each for name, each in self.executions.items() if name.startswith(SETTLED)}

    @property
    def was_filled(self) -> bool:
        """True once anything was executed, even if all of it was taken back."""
        return bool(self.executions or self.busted)

    def move(self, state: OrderState, reason: str = "") -> None:
        """Go to ``state``. Raises InvariantError when the state machine has no such edge."""
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

    def has_seen(self, execution_id: str) -> bool:
        """Return whether this execution was applied, or taken back, before."""
        return execution_id in self.executions or execution_id in self.busted

    def fill(self, execution_id: str, quantity: Decimal, price: Decimal) -> bool:
        """Apply one execution; return False when it was applied, or taken back, before.

        Raises InvariantError when nothing or less is filled, or more than was ordered.
        """
        if execution_id in self.executions:
            return False
        if quantity <= ZERO:  # beside a Decimal it costs half of what an int does
            raise InvariantError(
                "an execution must be above zero", where=f"order {self.client_order_id}", value=str(quantity)
            )
        if execution_id in self.busted:
            self.busted = {**self.busted, execution_id: quantity}
            self._end_when_used_up()
            return False
        wanted = self.submitted.quantity
        filled = quantity if self.filled is ZERO else self.filled + quantity
        is_whole = filled is wanted  # as most are: no sum, and nothing to compare
        if not is_whole and filled > wanted:
            raise InvariantError(
                "an order would be filled beyond its quantity",
                where=f"order {self.client_order_id}",
                value=f"{filled} of {wanted}",
            )
        execution = {execution_id: (quantity, price)}
        self.executions = {**self.executions, **execution} if self.executions else execution
        if self.filled:
            self.average_price = (self.average_price * self.filled + price * quantity) / filled
        else:
            self.average_price = price
        self.filled = filled
        if is_whole or filled == wanted:
            self.move(FILLED)
        elif self.state in (OrderState.PENDING_NEW, OrderState.WORKING, OrderState.UNKNOWN):
            self.move(OrderState.PARTIALLY_FILLED)
        elif self.state is OrderState.PENDING_CANCEL:
            self.resumes_as = OrderState.PARTIALLY_FILLED
        elif self.state is OrderState.REJECTED:
            # An order that was rejected after a partial fill was in truth cancelled, by either word.
            self.move(OrderState.CANCELLED)
        if self.busted:
            self._end_when_used_up()
        return True

    def bust(self, execution_id: str, *, is_corrected: bool = False) -> tuple[Decimal, Decimal] | None:
        """Take one execution back; return its quantity and price, or None when it was not applied.

        A bust that comes before its execution is remembered: the execution then changes nothing. The
        quantity of one that is corrected is not gone: another execution takes its place.
        """
        gone = self.executions.get(execution_id)
        if gone is None:
            self.busted = {execution_id: ZERO, **self.busted}
            return None
        self.executions = {key: value for key, value in self.executions.items() if key != execution_id}
        self.busted = {**self.busted, execution_id: ZERO if is_corrected else gone[0]}
        self.filled -= gone[0]
        total = sum((quantity * price for quantity, price in self.executions.values()), ZERO)
        self.average_price = total / self.filled if self.filled else ZERO
        if self.state is OrderState.FILLED:
            self.move(OrderState.CANCELLED, "execution busted")
        return gone

    def _end_when_used_up(self) -> None:
        if self.busted and self.is_live and not self.leaves:
            self.move(OrderState.CANCELLED, "execution busted")
