"""Messages of Alpaca that several readers, or both ends of a stream, have in common: each form stands once.

A form that one reader alone has need of stands beside that reader, with the few of the venue's fields that
the desk believes anything by; the exchange writes all of them.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.msgpack import Ext
from msgspec.structs import force_setattr

from scalpdesk.base import InstrumentId, QuoteEvent
from scalpdesk.venues.bounds import LARGEST_FIGURE, is_figure
from scalpdesk_alpaca.fields import LONGEST_SHOWN, Malformed, ns_of

NAN = float("nan")
Stamp = Callable[[int | None], int]
"""Returns ``ts_recv_ns`` for a message of the given event time."""
Lookup = Callable[[str], InstrumentId | None]
"""Returns the instrument of a venue symbol, None for an unknown symbol."""
Figures = tuple[float, float, float, float, float]
"""Open, high, low, close, volume."""


def number_of(symbol: str, lookup: Lookup) -> InstrumentId:
    """Return the instrument of a symbol."""
    number = lookup(symbol)
    if number is None:
        raise Malformed("unknown_symbol", repr(symbol))
    return number


# the market ---------------------------------------------------------------------------------------------


class QuoteRow(msgspec.Struct, frozen=True, gc=False):
    """The best prices of a symbol, in currency per unit; Alpaca writes 0 for a side that is not there."""

    t: str | Ext
    bp: float
    ap: float
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")

    def event(self, number: InstrumentId, stamp: Stamp) -> QuoteEvent:
        """Return the event of an instrument's quote."""
        at_ns = ns_of(self.t)
        bid, bid_size = side(self.bp, self.bs)
        ask, ask_size = side(self.ap, self.as_)
        return QuoteEvent(number, at_ns, stamp(at_ns), bid, ask, bid_size, ask_size)


def side(price: float, size: float) -> tuple[float, float]:
    """Return one side of a quote in the desk's form: a side that is not there is NaN with size 0.

    Alpaca writes 0 for a missing ask and for a missing bid; a bid of 0 means just that.
    """
    if price == 0 or math.isnan(price):
        return NAN, 0.0
    if not is_figure(price):
        raise Malformed("bad_price", str(price))
    return price, size if 0 <= size < LARGEST_FIGURE else 0.0


class BarRow(msgspec.Struct, frozen=True, gc=False):
    """A bar: its beginning, prices in currency per unit, volume in units."""

    t: str | Ext
    o: float
    h: float
    l: float  # noqa: E741 - the venue's own letter
    c: float
    v: float = 0.0

    def figures(self) -> Figures:
        """Return the figures of a bar that can be.

        Raises Malformed when the prices contradict one another or are no prices.
        """
        opened, high, low, close, volume = self.o, self.h, self.l, self.c, self.v
        is_sane = 0 < low <= min(opened, close) and max(opened, close) <= high < LARGEST_FIGURE
        if not (is_sane and 0 <= volume < LARGEST_FIGURE):
            raise Malformed("bad_bar", f"{opened} {high} {low} {close} {volume}")
        return opened, high, low, close, volume


class DividendRow(msgspec.Struct, frozen=True):
    """A cash dividend of so much a share."""

    symbol: str
    rate: Decimal
    ex_date: str
    special: bool = False


# the account and what may be traded: the exchange writes more fields beside these -------------------------


class AccountMessage(msgspec.Struct, frozen=True):
    """The account: its money and what it may do."""

    id: str
    status: str
    cash: Decimal
    currency: str = "USD"
    equity: Decimal = Decimal(0)
    maintenance_margin: Decimal | None = None
    buying_power: Decimal = Decimal(0)
    options_buying_power: Decimal = Decimal(0)
    options_trading_level: int | None = None
    options_approved_level: int | None = None
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False
    shorting_enabled: bool = False


class ClockMessage(msgspec.Struct, frozen=True):
    """The market's clock."""

    timestamp: str
    is_open: bool
    next_open: str
    next_close: str


class PositionMessage(msgspec.Struct, frozen=True):
    """A holding."""

    symbol: str
    qty: Decimal
    avg_entry_price: Decimal
    side: str = "long"
    asset_class: str = ""


class AssetMessage(msgspec.Struct, frozen=True):
    """A share that the venue lists."""

    symbol: str
    status: str = "inactive"
    tradable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = True


class ContractMessage(msgspec.Struct, frozen=True):
    """An option contract."""

    symbol: str
    expiration_date: str
    strike_price: Decimal
    underlying_symbol: str
    tradable: bool = True
    status: str = "active"
    multiplier: Decimal | None = None
    open_interest: Decimal | None = None
    ppind: bool | None = None
    """Penny programme indicator; some answers leave it out."""


def document(message: msgspec.Struct) -> dict[str, Any]:
    """Return a message as the exchange writes it: exact numbers are texts."""
    written: dict[str, Any] = msgspec.to_builtins(message)
    return written


# the streams, in both directions: the exchange sends these as they stand ----------------------------------


class Welcome(msgspec.Struct, frozen=True, tag_field="T", tag="success", rename={"message": "msg"}):
    """``connected`` or ``authenticated`` on a data stream."""

    message: str


class StreamFault(msgspec.Struct, frozen=True, tag_field="T", tag="error", rename={"message": "msg"}):
    """The server's error message on a data stream."""

    code: int
    message: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "message", self.message[:120])

    @property
    def is_final(self) -> bool:
        """True when trying again with the same keys and symbols cannot help.

        406 is not: the connection of this account that is still open may be our own, not yet noticed as dead.
        """
        return self.code in (400, 401, 402, 405, 409, 410, 411, 412, 413)


class Authorized(msgspec.Struct, frozen=True):
    """The answer to the authentication on ``/stream``, or to a request that came before it."""

    status: str
    action: str = "authenticate"
    """The request that it answers."""
    message: Any = UNSET
    """A note that nothing depends on."""

    @property
    def is_authorized(self) -> bool:
        """Whether the keys are accepted."""
        return self.status == "authorized"


class Listening(msgspec.Struct, frozen=True):
    """Streams that the connection listens to now."""

    streams: tuple[str, ...] = ()


class StreamError(msgspec.Struct, frozen=True, rename={"message": "error_message"}):
    """The server's error message on ``/stream``; it ends the connection."""

    message: str

    def __post_init__(self) -> None:
        force_setattr(self, "message", self.message[:LONGEST_SHOWN])
