"""The two sides of a reconciliation, and what may be found between them. Values only."""

from decimal import Decimal

import msgspec

from scalpdesk.core.events import FillBusted, PositionChanged
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId

ZERO = Decimal(0)
CENT = Decimal("0.01")


class OpenOrder(msgspec.Struct, frozen=True):
    """One order that is open on one side."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    filled: Decimal
    is_doubted: bool = False


class ForeignFill(msgspec.Struct, frozen=True):
    """An execution at the venue that belongs to no order of the desk."""

    execution_id: str
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    ts_event_ns: int


class AccountChange(msgspec.Struct, frozen=True):
    """A line of the venue's history that is no trade: exercise, assignment, dividend, fee, transfer.

    Parameters
    ----------
    reference
        Unique; booked once.
    cause
        As in :class:`scalpdesk.core.events.PositionChanged`.
    instrument_id
        What it moved; None when it moved cash alone.
    quantity_change, price, cash_change
        Signed contracts or shares, what a unit is booked at, and signed currency.
    ts_event_ns
        When it happened, UTC nanoseconds.
    detail
        For people.
    """

    reference: str
    cause: str
    instrument_id: InstrumentId | None
    quantity_change: Decimal
    price: Decimal
    cash_change: Decimal
    ts_event_ns: int
    detail: str = ""


class BookedFill(msgspec.Struct, frozen=True):
    """An execution that the desk has booked; ``quantity`` is signed contracts or shares."""

    client_order_id: str
    execution_id: str
    instrument_id: InstrumentId
    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO


class AccountPicture(msgspec.Struct, frozen=True):
    """One side's view of the account, as of ``ts_ns``. Quantities are signed contracts or shares."""

    ts_ns: int
    cash: Decimal
    holdings: dict[InstrumentId, Decimal]
    open_orders: tuple[OpenOrder, ...] = ()
    fills: tuple[BookedFill, ...] = ()
    """Of the desk: its latest executions, oldest first; what of them is gone at the venue was busted."""


class Explained(msgspec.Struct, frozen=True):
    """A difference with a name, and the event that books it."""

    cause: str
    detail: str
    event: PositionChanged | FillBusted


class Difference(msgspec.Struct, frozen=True):
    """A difference without an explanation; ``what`` is a symbol, ``cash`` or ``order ID``."""

    what: str
    desk: str
    venue: str

    def __str__(self) -> str:
        return f"{self.what}: desk {self.desk}, venue {self.venue}"


class Tolerance(msgspec.Struct, frozen=True):
    """What is not worth a person's time.

    Parameters
    ----------
    cash
        Difference of cash that is none, in currency.
    cash_cause_fraction
        Share of ``equity`` up to which a difference of cash alone is booked as interest or fees.
    equity
        Net asset value in currency.
    """

    cash: Decimal = CENT
    cash_cause_fraction: Decimal = Decimal("0.0005")
    equity: Decimal = ZERO
