"""What the checks see of one intent, at one instant."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits, QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.limits import RiskLimits

ZERO = Decimal(0)
OPENING = frozenset({Purpose.OPEN})
"""Purposes that add risk. A hedge, a close and an unwind lower it and pass most checks."""
EXITS = frozenset({Purpose.CLOSE, Purpose.UNWIND_HEDGE})
"""Purposes that get rid of what is held."""


class Working(NamedTuple):
    """An order that may still be filled: one at the venue, or one judged before in the same proposal."""

    instrument_id: InstrumentId
    instrument: Instrument
    side: Side
    leaves: Decimal
    """Unsigned quantity that may still be filled."""
    order_type: OrderType
    limit_price: Decimal | None
    purpose: Purpose
    created_ns: int
    quantity: Decimal
    """Unsigned quantity that was ordered."""
    owner: str = ""

    @property
    def signed_leaves(self) -> Decimal:
        """Leaves with the sign of the side."""
        return self.leaves if self.side is Side.BUY else -self.leaves


class Held(NamedTuple):
    """One line of the book; ``quantity`` is signed contracts or shares."""

    instrument_id: InstrumentId
    instrument: Instrument
    quantity: Decimal


class BookView(Protocol):
    """The book as the checks ask for it; each answer is worked out only when asked."""

    def working(self) -> Sequence[Working]:
        """Orders that may still be filled, oldest first."""
        ...

    def held(self) -> Sequence[Held]:
        """Lines that are not flat."""
        ...

    def mark(self, number: InstrumentId) -> float | None:
        """Return what one unit is valued at (currency per unit), or None when it is not known."""
        ...


class EmptyBook:
    """A book without lines and orders."""

    def working(self) -> Sequence[Working]:
        """Return no orders."""
        return ()

    def held(self) -> Sequence[Held]:
        """Return no lines."""
        return ()

    def mark(self, number: InstrumentId) -> float | None:
        """Return None: nothing is known."""
        del number
        return None


EMPTY_BOOK = EmptyBook()


class OrderContext(msgspec.Struct):
    """What the checks see of one intent, at one instant."""

    intent: OrderIntent
    instrument: Instrument
    limits: RiskLimits
    mode: Mode
    quote: QuoteEvent | None
    verdict: QuoteVerdict
    held: Decimal
    """Signed contracts or shares held of the instrument."""
    equity: Decimal
    session_equity: Decimal
    """Equity at the session's open."""
    daily_pnl: Decimal
    consecutive_losses: int
    live_orders: int
    orders_last_minute: int
    in_session: bool
    risk_before: Decimal = ZERO
    """Currency put at risk by the intents of the same proposal that were judged before."""
    now_ns: int = 0
    cash: Decimal = ZERO
    account: AccountLimits | None = None
    """What the venue says the account may do; None where no venue said anything."""
    cash_when_told: Decimal = ZERO
    """Cash of the desk when the venue said it."""
    book: BookView = EMPTY_BOOK
    tallies: OrderCounters | None = None
    """What was sent, answered and refused lately; None judges the order alone."""
    owner_held: Decimal | None = None
    """Signed units in the book of the order's owner; None where no strategies share the account."""
    underlying_verdict: QuoteVerdict = QuoteVerdict.GOOD
    """On the quote of the option's underlying."""
    is_last_call: bool = False
    """The session ends so soon that an exit cannot wait for a better quote."""

    @property
    def opens(self) -> bool:
        """True when the order adds risk."""
        return self.intent.purpose in OPENING


Check = Callable[[OrderContext], str | None]
