"""Orders of the simulated broker: requests, working orders, executions, refusals, and the reports on them."""

from copy import copy
from decimal import Decimal
from enum import StrEnum
from typing import final

from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderKind, OrderType, Side, TimeInForce, Trailing
from scalpdesk.core.structs import FrozenLeaf, FrozenStruct, IdentityLeaf
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.simulation.fills.base import Resting


class OrderClass(StrEnum):
    """One order, or several that belong together."""

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"
    MLEG = "mleg"


class Status(StrEnum):
    """Where an order stands."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    HELD = "held"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"


_TERMINAL = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED})
MATCHABLE = frozenset({Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL, Status.PENDING_REPLACE})
"""Statuses in which the exchange may still fill an order; a cancel on its way does not protect it."""


class PositionIntent(StrEnum):
    """Effect of an order on a holding."""

    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"

    @property
    def side(self) -> Side:
        """The side of such an order."""
        return Side.BUY if self in {PositionIntent.BUY_TO_OPEN, PositionIntent.BUY_TO_CLOSE} else Side.SELL


BrokerKind = OrderKind | Trailing
"""Types of orders that the broker takes."""


class LegRequest(FrozenLeaf, frozen=True, gc=False):
    """One leg of an order over several contracts; ``ratio`` contracts for each unit of the parent."""

    symbol: str
    ratio: Decimal
    side: Side
    intent: PositionIntent | None = None
    client_order_id: str | None = None


class OrderRequest(FrozenLeaf, frozen=True, gc=False):
    """A client's order request. Prices in currency per unit; ``notional`` in currency."""

    symbol: str
    side: Side | None
    kind: BrokerKind
    lifetime: TimeInForce = TimeInForce.DAY
    quantity: Decimal | None = None
    notional: Decimal | None = None
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    extended_hours: bool = False
    structure: OrderClass = OrderClass.SIMPLE
    take_profit_limit: Decimal | None = None
    stop_loss_stop: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    legs: tuple[LegRequest, ...] = ()
    intent: PositionIntent | None = None
    instrument_id: InstrumentId | None = None
    """Instrument of the symbol, where the client knows it."""


class Changes(FrozenStruct, frozen=True):
    """Changes of a replacement; None leaves a field as it is."""

    quantity: Decimal | None = None
    lifetime: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class BrokerOrder(IdentityLeaf, eq=False, gc=False):
    """One order at the broker. Instants are UTC nanoseconds, 0 where it has not happened.

    Nothing that it holds leads back to it: the garbage collector need not look.
    """

    order_id: str
    client_order_id: str
    account: str
    number: int
    """Position in the order of arrival, over all accounts."""
    request: OrderRequest
    instrument_id: InstrumentId | None
    """None for the parent of several legs."""
    instrument: Instrument | None
    side: Side
    quantity: Decimal
    kind: BrokerKind
    lifetime: TimeInForce
    status: Status
    intent: PositionIntent
    created_ns: int
    updated_ns: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    """Price that it waits for now."""
    expires_ns: int = 0
    parent: str | None = None
    high_water: Decimal | None = None
    """Best price that a stop has seen: the lowest of a buy, the highest of a sell."""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    """Sum of quantity times price over the executions, currency."""
    filled_ns: int = 0
    expired_ns: int = 0
    canceled_ns: int = 0
    failed_ns: int = 0
    replaced_ns: int = 0
    replaced_by: str | None = None
    replaces: str | None = None
    legs: "tuple[BrokerOrder, ...]" = ()
    ratio: Decimal = Decimal(1)
    filled_before: Decimal = ZERO
    """For a replacement: quantity that the order before it had filled at the request."""
    busted: Decimal = ZERO
    """Filled once and taken back."""
    triggered: bool = False
    """A stop whose price has come."""
    withholds: Decimal = ZERO
    """Cash that each unit left keeps from other orders: options that open a position."""
    was_queued: bool = False
    """Came outside a session, and waited for the opening."""
    is_unpriced: bool = False
    """Opens a position, and no price was known when it came: the margin is asked for when it trades."""
    is_forced: bool = False
    """The broker's own, for the account: no order of its holder stands behind it."""
    resting: Resting | None = None
    reject_reason: str | None = None

    @property
    def leaves(self) -> Decimal:
        """Quantity still to be filled; what was busted is not worked again."""
        if self.filled or self.busted:
            return self.quantity - self.filled - self.busted
        return self.quantity

    @property
    def average(self) -> Decimal | None:
        """Mean price of what is filled, currency per unit; None before the first fill."""
        return self.value / self.filled if self.filled else None

    @property
    def is_open(self) -> bool:
        """Whether the order may still change the position."""
        return self.status not in _TERMINAL

    @property
    def is_combo_leg(self) -> bool:
        """Whether the order is a leg of an order over several contracts, and ends with that."""
        return self.parent is not None and self.request.structure is OrderClass.MLEG

    @property
    def waits_for_stop(self) -> bool:
        """Whether a stop price must come before it may trade."""
        return not (self.triggered or isinstance(self.kind, OrderType))

    @property
    def working_limit(self) -> Decimal | None:
        """Limit that applies now: None trades at the market."""
        return None if self.kind is OrderType.MARKET else self.limit_price

    def snapshot(self) -> "BrokerOrder":
        """Return a copy that later events do not change, legs included."""
        seen = copy(self)
        seen.legs = tuple(leg.snapshot() for leg in self.legs)
        return seen


class Execution(FrozenLeaf, frozen=True, gc=False):
    """One trade of an order, keyed by an id that is never used again."""

    execution_id: str
    account: str
    order_id: str
    client_order_id: str
    instrument_id: InstrumentId | None
    """None for the net trade of several legs."""
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    ts_ns: int
    cumulative: Decimal = ZERO
    """Filled of the order in all, this trade included."""
    leaves: Decimal = ZERO
    """Still to be filled after it."""
    corrects: str | None = None
    """The execution that this one stands in for."""
    is_maker: bool = False
    """Whether the order rested in the book before it."""


@final
class OrderUpdate(FrozenLeaf, frozen=True, gc=False):
    """Something that the broker reports to the holder of an order."""

    account: str
    event: str
    ts_ns: int
    number: int
    """Counts the updates of the broker."""
    order: BrokerOrder
    """As of this instant where the broker keeps snapshots, else as it is now."""
    execution: Execution | None = None
    position_quantity: Decimal | None = None
    """Signed holding after a fill."""
    leg_executions: tuple[Execution, ...] = ()
    """The trade of each leg, for an order over several contracts."""


@final
class Booking(FrozenStruct, frozen=True):
    """A change of an account without an order: expiry, delivery, dividend."""

    account: str
    change: PositionChanged


BrokerEvent = OrderUpdate | Booking


BUST_NOTE = "trade bust"
"""Note of the refund of a busted trade's fee."""


class Activity(FrozenStruct, frozen=True):
    """A line of the account's history: a fill, a fee, a dividend, an expiry, a delivery."""

    activity_id: str
    account: str
    kind: str
    """``FILL``, ``FEE``, ``DIV``, ``OPEXP``, ``OPEXC``, ``OPASN``, ``OPCSH``, ``OPTRD``, ``JNLC``."""
    ts_ns: int
    symbol: str
    quantity: Decimal
    price: Decimal
    net_amount: Decimal
    execution: Execution | None = None
    note: str = ""
