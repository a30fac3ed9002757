"""Inputs of the risk checks, and the orders that each check concerns."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple, Protocol

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits, QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderKind, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.limits import ResolvedLimits, RiskLimits


class Working(NamedTuple):
    """An order that may still be filled: at the venue, or admitted before in the same proposal."""

    instrument_id: InstrumentId
    instrument: Instrument
    side: Side
    leaves: Decimal
    """Unsigned quantity that may still be filled."""
    order_type: OrderKind
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
    """One open position; ``quantity`` is signed contracts or shares."""

    instrument_id: InstrumentId
    instrument: Instrument
    quantity: Decimal


class RiskFigures(NamedTuple):
    """Amounts of the account in its currency, and its losing trades."""

    equity: Decimal
    """Net asset value at the last mark."""
    session_equity: Decimal
    """The same at the session's open."""
    risk_before: Decimal
    """Put at risk by the orders admitted before in the same proposal."""
    loss_before: Decimal
    """Largest loss of those orders within a day."""
    consecutive_losses: int
    cash: Decimal
    cash_at_report: Decimal
    """Cash when the venue last reported its limits of the account."""
    margin_fraction: Decimal | None = None
    """Maintenance margin over collateral; None where nothing is closed by it."""


class Written(NamedTuple):
    """Demands on the account of a trade that sells options to open: all its legs together, once filled."""

    refusal: str | None
    """Why the account is not allowed to hold it, whatever it is worth; None where it is."""
    need: Decimal
    """Own funds that it ties up beside its proceeds, currency: the margin model's answer."""
    free: Decimal
    """Own funds that nothing tied up before it, currency; at a venue by its report."""
    day_loss: Decimal | None
    """Largest loss of the whole book in a day of large moves, 0 where the trade does not raise it; None while
    an option in it has no value."""
    margin_fraction: Decimal | None
    """Maintenance margin over collateral after it."""


class _DeskFacts(Protocol):
    """Facts about the desk that only some checks need; each is worked out when it is asked for."""

    def figures(self) -> RiskFigures:
        """Return the amounts that orders are held against."""
        ...

    def written(self) -> Written:
        """Return what the trade under check asks of the account, where it sells options to open."""
        ...

    def tied_up(self) -> Decimal | None:
        """Return what the book ties up once every opening order is filled, by the margin model.

        In currency; None while no option is sold: the sum of its parts is as much.
        """
        ...

    def options_level(self) -> int:
        """Return what the account may trade in options: by the venue's report, else by the settings."""
        ...

    def is_last_call(self) -> bool:
        """Return whether an option must go today: an exit from it cannot wait for a better quote."""
        ...

    def working(self) -> Sequence[Working]:
        """Return the orders that may still be filled, oldest first."""
        ...

    def held(self) -> Sequence[Held]:
        """Return the open positions."""
        ...

    @property
    def owners_apart(self) -> bool:
        """Whether strategies share the account, and each closes what is its own."""
        ...

    def held_by(self, owner: str, instrument_id: InstrumentId) -> Decimal | None:
        """Return the owner's signed units of an instrument; None where no strategies share the account."""
        ...

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the value of one unit (currency per unit), or None when it is not known."""
        ...

    def is_stub(self, quote: QuoteEvent) -> bool:
        """Return whether the sides of an option's quote lie too far apart to tell its price."""
        ...

    def verdict_on(self, symbol: str) -> QuoteVerdict:
        """Return the verdict on the latest quote of an underlying."""
        ...


class TradePart(Enum):
    """Part of an order in a trade that sells options to open."""

    ALONE = auto()
    """The order belongs to no such trade."""
    SPEAKER = auto()
    """Checks of the account ask it, for the whole trade."""
    LEG = auto()
    """Another order speaks for it."""


class OrderContext(msgspec.Struct, gc=False):
    """One order at one instant, as the checks see it; costly parts are computed on request."""

    intent: OrderIntent
    instrument: Instrument
    is_option: bool
    limits: RiskLimits
    resolved: ResolvedLimits
    mode: Mode
    quote: QuoteEvent | None
    verdict: QuoteVerdict
    held: Decimal
    """Signed contracts or shares held of the instrument."""
    live_orders: int
    """At the venue, those of the same proposal included."""
    orders_before: int
    """Orders admitted before in the same proposal."""
    in_session: bool
    now_ns: int
    counters: OrderCounters
    """As of ``now_ns`` or of an earlier instant: a check advances them when it would refuse otherwise."""
    venue_limits: AccountLimits | None
    """The venue's last report of the account's permissions; None before the first."""
    facts: _DeskFacts
    is_halted: bool = False
    """The exchanges have halted trading in the instrument or in its underlying."""
    is_compared: bool = True
    """False from the start of a resumed run until its account has been compared with the journal."""
    trade: TradePart = TradePart.ALONE
    """Its part in a trade that sells options to open: all legs of such a trade are judged together."""


Check = Callable[[OrderContext], str | None]
"""Returns why the order may not go, or None."""


class OrderKey(NamedTuple):
    """Properties of an order that decide which checks concern it."""

    purpose: Purpose
    order_type: str
    """Its name, as ``stop_limit``."""
    mode: Mode
    is_option: bool
    has_venue_limits: bool
    has_live_orders: bool
    is_halted: bool
    is_compared: bool = True
    is_index: bool = False


class Scope(NamedTuple):
    """Which orders a check concerns; it must have no objection to any other. None means either."""

    purposes: frozenset[Purpose] = frozenset(Purpose)
    order_types: frozenset[str] | None = None
    modes: frozenset[Mode] = frozenset(Mode)
    on_options: bool | None = None
    venue_limits: bool | None = None
    needs_live_orders: bool = False
    needs_halt: bool = False
    until_compared: bool = False
    """Asked only while the account has not been compared with the journal."""
    applies: Callable[[RiskLimits, OrderKey], bool] | None = None
    """Whether the limits switch the check on for such an order; None for always."""

    def contains(self, key: OrderKey, limits: RiskLimits) -> bool:
        """Return whether the check is to be asked of such an order."""
        return (
            key.purpose in self.purposes
            and (self.order_types is None or key.order_type in self.order_types)
            and key.mode in self.modes
            and self.on_options in (None, key.is_option)
            and self.venue_limits in (None, key.has_venue_limits)
            and (key.has_live_orders or not self.needs_live_orders)
            and (key.is_halted or not self.needs_halt)
            and not (key.is_compared and self.until_compared)
            and (self.applies is None or self.applies(limits, key))
        )


SCOPES: dict[Check, Scope] = {}
"""Scope of each check that does not concern every order."""
EVERY_ORDER = Scope()


def concerns(scope: Scope) -> Callable[[Check], Check]:
    """Declare which orders the decorated check concerns; the risk gate asks it of no other."""

    def declare(check: Check) -> Check:
        SCOPES[check] = scope
        return check

    return declare
