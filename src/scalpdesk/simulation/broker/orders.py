"""Orders as a broker keeps them: what was asked, where each one stands, and what is said about it."""

from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.simulation.fills.base import Resting

ZERO = Decimal(0)


class Kind(StrEnum):
    """How an order is priced and when it wakes."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class Lifetime(StrEnum):
    """How long an order lives; ``OPG`` and ``CLS`` trade in the opening and the closing only."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


class Structure(StrEnum):
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


TERMINAL = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED})
MATCHABLE = frozenset({Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL, Status.PENDING_REPLACE})
"""Statuses in which the exchange may still fill an order; a cancel on its way does not protect it."""


class PositionIntent(StrEnum):
    """What an order does to a holding."""

    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


@dataclass(frozen=True, slots=True)
class LegRequest:
    """One leg of an order over several contracts; ``ratio`` contracts for each unit of the parent."""

    symbol: str
    ratio: Decimal
    side: Side
    intent: PositionIntent | None = None


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asks for. Prices in currency per unit; ``notional`` in currency."""

    symbol: str
    side: Side | None
    kind: Kind
    lifetime: Lifetime = Lifetime.DAY
    quantity: Decimal | None = None
    notional: Decimal | None = None
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    structure: Structure = Structure.SIMPLE
    take_profit_limit: Decimal | None = None
    stop_loss_stop: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    legs: tuple[LegRequest, ...] = ()
    intent: PositionIntent | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replacement changes; None leaves a field as it is."""

    quantity: Decimal | None = None
    lifetime: Lifetime | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


@dataclass(slots=True, eq=False)
class VenueOrder:
    """One order at the broker. Instants are UTC nanoseconds, 0 where it has not happened."""

    order_id: str
    client_order_id: str
    account: str
    number: int
    """Position in the order of arrival, over all accounts."""
    request: OrderRequest
    instrument_id: InstrumentId | None
    """None for the parent of several legs."""
    side: Side
    quantity: Decimal
    kind: Kind
    lifetime: Lifetime
    status: Status
    intent: PositionIntent
    created_ns: int
    updated_ns: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    high_water: Decimal | None = None
    """Best price seen by a trailing stop."""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    """Sum of quantity times price over the executions, currency."""
    filled_ns: int = 0
    expired_ns: int = 0
    canceled_ns: int = 0
    failed_ns: int = 0
    replaced_ns: int = 0
    expires_ns: int = 0
    replaced_by: str | None = None
    replaces: str | None = None
    parent: str | None = None
    legs: list["VenueOrder"] = field(default_factory=list)
    ratio: Decimal = Decimal(1)
    filled_before: Decimal = ZERO
    """Of a replacement: what the order before it had filled when it was asked for."""
    busted: Decimal = ZERO
    """Filled once and taken back."""
    triggered: bool = False
    """A stop whose price has come."""
    resting: Resting | None = None
    reject_reason: str | None = None

    @property
    def leaves(self) -> Decimal:
        """Quantity still to be filled; what was busted is not worked again."""
        return self.quantity - self.filled - self.busted

    @property
    def average(self) -> Decimal | None:
        """Mean price of what is filled, currency per unit; None before the first fill."""
        return self.value / self.filled if self.filled else None

    @property
    def is_open(self) -> bool:
        """Whether the order may still change the position."""
        return self.status not in TERMINAL

    @property
    def waits_for_stop(self) -> bool:
        """Whether a stop price must come before it may trade."""
        return not self.triggered and self.kind in (Kind.STOP, Kind.STOP_LIMIT, Kind.TRAILING_STOP)

    @property
    def working_limit(self) -> Decimal | None:
        """Limit that applies now: None trades at the market."""
        return self.limit_price if self.kind in (Kind.LIMIT, Kind.STOP_LIMIT) else None

    def as_seen_now(self) -> "VenueOrder":
        """Return a copy that later events do not change, legs included."""
        seen = copy(self)
        seen.legs = [leg.as_seen_now() for leg in self.legs]
        return seen


@dataclass(frozen=True, slots=True)
class Execution:
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
    corrects: str | None = None
    """The execution that this one stands in for."""
    cumulative: Decimal = ZERO
    """Filled of the order in all, this trade included."""
    leaves: Decimal = ZERO
    """Still to be filled after it."""


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """Something that the broker tells the holder of an order. ``order`` is as of this instant."""

    account: str
    event: str
    ts_ns: int
    number: int
    """Counts the updates of the broker."""
    order: VenueOrder
    execution: Execution | None = None
    position_quantity: Decimal | None = None
    """Signed holding after a fill."""


@dataclass(frozen=True, slots=True)
class Activity:
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
