"""What an accountant books: units of an instrument that come or go, and the cash for them."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

import msgspec

from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import to_new_york


class EntryKind(StrEnum):
    """Kinds of entries."""

    TRADE = "trade"
    LAPSE = "lapse"
    CASH_SETTLEMENT = "cash_settlement"
    EXERCISE = "exercise"
    """The option's end by exercise or assignment: its cost goes into the delivery that follows."""
    DELIVERY = "delivery"
    RESCALE = "rescale"
    """A split: ``units`` come without cash, the cost stays."""
    CONVERT = "convert"
    """All units of ``source`` become ``units`` of this instrument, at their cost."""
    HELD = "held"
    """What a run begins with: it must be known from before."""


class BookEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line in the accountant's day book."""

    instrument: Instrument
    ts_ns: int
    """When it happened, UTC nanoseconds."""
    units: Decimal
    """Signed contracts or shares."""
    cash: Decimal = ZERO
    """Signed, fees included: negative for what was paid."""
    kind: EntryKind = EntryKind.TRADE
    reference: str = ""
    """Order and execution id, or the reference of a booking."""
    purchase: str = ""
    """Order: its executions are one purchase."""
    source: Instrument | None = None

    @property
    def day(self) -> date:
        """Day of the trade in New York."""
        return to_new_york(self.ts_ns).date()


class Income(msgspec.Struct, frozen=True):
    """Cash beyond trades: a dividend, interest, a fee of the account."""

    symbol: str
    day: date
    cause: str
    cash: Decimal
