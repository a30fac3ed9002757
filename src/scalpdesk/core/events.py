"""Events of the desk. Every event is frozen and carries two stamps in UTC nanoseconds.

``ts_event_ns``
    when it happened at its source (for a recorded bar: the end of the bar).
``ts_recv_ns``
    when the desk knows it. The engine's clock is this stamp and nothing else.

The position of an event in the journal is its sequence number; an event does not carry it itself,
so that a million quotes need not be copied to be numbered.

The ``msgspec`` structs are encoded as tagged arrays: creating one costs a tenth of a frozen
dataclass, and the journal stores them as they are.
"""

from decimal import Decimal
from typing import TypeGuard, final, get_args

import msgspec

from scalpdesk.core.enums import ChangeCause, OperatorAction, OperatorCause, SessionPhase
from scalpdesk.core.mode import AccountMode
from scalpdesk.core.units import InstrumentId

_NO_UNITS, WHOLE = Decimal(0), Decimal(1)


@final
class QuoteEvent(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Best bid and ask of one instrument. A side that is not there is NaN with size 0."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float

    @property
    def mid(self) -> float:
        """Half of bid plus ask, in the quote currency per unit; NaN when a side is missing."""
        return 0.5 * (self.bid + self.ask)


@final
class TradeEvent(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A print on the tape."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    price: float
    size: float


@final
class BarEvent(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A closed bar; ``ts_event_ns`` is its end, the first instant at which it may be seen."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    bar_seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@final
class OpenInterestEvent(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Open contracts at the end of the previous session."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    open_interest_contracts: int


@final
class SessionEvent(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """A trading session opens or closes; ``session`` is its date as ``YYYY-MM-DD``."""

    ts_event_ns: int
    ts_recv_ns: int
    session: str
    phase: SessionPhase
    open_ns: int
    close_ns: int
    """Bounds of the session, UTC nanoseconds."""


@final
class RateEvent(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A rate curve as of now: days to maturity and continuously compounded rates (fractions)."""

    ts_event_ns: int
    ts_recv_ns: int
    days: tuple[float, ...]
    rates: tuple[float, ...]


@final
class DividendEvent(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A cash dividend of ``amount`` a share is declared; it goes ex at ``ts_ex_ns``."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    ts_ex_ns: int
    amount: Decimal


@final
class PriceAdjustmentEvent(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """A corporate action overnight after which earlier figures of an instrument have another scale.

    A price of before ``ts_event_ns`` (the open of the ex-date) compares with a later one as
    ``(price - paid) * price_factor``, a volume as ``volume * volume_factor``.
    """

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    price_factor: float
    """0.25 after a split of four for one."""
    volume_factor: float
    """4 after a split of four for one."""
    paid: float = 0.0
    """Special dividend, currency a unit of before."""

    def price(self, before: float) -> float:
        """Return an earlier price in the present scale."""
        return (before - self.paid) * self.price_factor


@final
class ForecastEvent(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """A volatility forecast for ``instrument_id`` over ``horizon_days`` trading days.

    ``vol``, ``low`` and ``high`` are fractions a year; NaN, with a reason, without a forecast.
    """

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    model: str
    horizon_days: int
    vol: float
    low: float
    high: float
    stderr: float
    reason: str


@final
class GammaExposureEvent(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Dealer gamma exposure of ``symbol``: what its source says, or that it is not known.

    Positive: dealers are taken to be long gamma. The sign is a convention, never an observation.
    """

    symbol: str
    """Underlying whose chain it was computed from, such as ``SPX``; it need not be traded here."""
    ts_event_ns: int
    """When the source last updated it."""
    ts_recv_ns: int
    exposure_usd: float
    """Change of dealers' delta in USD for a move of 1 %; NaN when not known."""
    source: str
    """``environment``, ``firestore`` or ``chain``."""
    reason: str = ""
    """Why it is not known; empty when it is."""
    near_usd: float = float("nan")
    """The same for strikes within half a per cent of the underlying; NaN if the source gives no strikes."""
    usual_usd: float = float("nan")
    """90 % quantile of the exposure's size over the last 60 sessions; NaN without a history."""
    near_usual_usd: float = float("nan")
    """The same of ``near_usd``."""


@final
class SessionBarsEvent(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Closed bars of a whole earlier session of one instrument, handed over before the first one opens.

    Strategies learn usual values (a minute's volume, yesterday's range) from it. Columns are of one length.
    """

    instrument_id: InstrumentId
    ts_event_ns: int
    """Close of that session."""
    ts_recv_ns: int
    session: str
    """Its date, ``YYYY-MM-DD``."""
    open_ns: int
    close_ns: int
    bar_seconds: int
    ends_ns: tuple[int, ...]
    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    close: tuple[float, ...]
    volume: tuple[float, ...]


@final
class ImpliedVolEvent(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """An underlying's implied volatility at the money for 30 days, and its closes of the year before."""

    instrument_id: InstrumentId
    ts_event_ns: int
    """When the latest value was measured."""
    ts_recv_ns: int
    vol: float
    """The latest, a fraction a year."""
    history: tuple[float, ...]
    """Closes of earlier days, oldest first; the latest is not among them."""
    source: str
    """Measured series: the symbol's own chain, or ``VIX`` in its place."""


@final
class TradingHalt(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """Trading in an instrument was halted, or resumed."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    is_halted: bool
    reason: str = ""
    """In the venue's own words."""


@final
class OrderAccepted(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """The venue has the order."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    venue_order_id: str


@final
class OrderRejected(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """The venue itself refused the order; a transport error is never this."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    reason: str


@final
class OrderFilled(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """One execution of ``quantity`` (unsigned contracts or shares) at ``price`` per unit."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    execution_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    """Paid by the desk, in the quote currency; a rebate is negative."""


@final
class OrderCancelled(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """The venue took the rest of the order off the book."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    reason: str


@final
class OrderExpired(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """The order's time in force ended."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int


@final
class CancelRejected(msgspec.Struct, frozen=True, array_like=True, tag=25, gc=False):
    """The venue would not cancel: the order is filled, gone or unknown there."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    reason: str


@final
class OrderStatusUnknown(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """The venue's view of the order is not known (time-out, 5xx, dropped connection)."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    reason: str


@final
class OrderNotFound(msgspec.Struct, frozen=True, array_like=True, tag=27, gc=False):
    """Positive proof that the venue never had this client order id."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int


@final
class FillBusted(msgspec.Struct, frozen=True, array_like=True, tag=28, gc=False):
    """The venue took back the execution it names."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    execution_id: str
    reason: str
    is_corrected: bool = False
    """The execution in its place comes next: its quantity is not gone from the order."""
    more_follow: bool = False
    """Whether other changes of the same look at the account come next; the strategy is woken after them."""


@final
class OrderSettled(msgspec.Struct, frozen=True, array_like=True, tag=30, gc=False):
    """A person says what became of an order in doubt; the events that book it come next."""

    client_order_id: str
    ts_event_ns: int
    ts_recv_ns: int
    filled: Decimal
    """Quantity filled of what was open; 0 where nothing was, or the order never arrived."""
    price: Decimal
    fee: Decimal
    """``price``, ``fee``: As in :class:`OrderFilled`; 0 without a fill."""
    reason: str
    """His words."""
    who: str


StatusEvent = (
    OrderAccepted
    | OrderRejected
    | OrderCancelled
    | OrderExpired
    | CancelRejected
    | OrderStatusUnknown
    | OrderNotFound
    | FillBusted
)
"""Order events other than executions."""
OrderEvent = StatusEvent | OrderFilled
_ORDER_EVENTS = frozenset(get_args(OrderEvent))
"""Its types; they are final."""


def is_order_event(event: object) -> TypeGuard[OrderEvent]:
    """Return whether something is an event of an order; a tenth of the time of `isinstance`."""
    return type(event) in _ORDER_EVENTS


@final
class UnmatchedOrderEvent(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """An order event that matches no known order, or would overfill one: recorded, not applied."""

    event: OrderEvent
    ts_event_ns: int
    ts_recv_ns: int
    why: str


@final
class PositionChanged(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """Units and cash move without an order: exercise, assignment, settlement, dividend, interest.

    ``quantity_change`` is signed contracts or shares; ``cash_change`` signed quote currency.
    """

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    cause: ChangeCause
    quantity_change: Decimal
    price: Decimal
    """Price at which a unit is booked: the strike for a delivery, the settlement value for an option."""
    cash_change: Decimal
    reference: str
    """Unique; the same reference is applied once."""
    more_follow: bool = False
    """Another change of the same story comes next: a book half changed is nothing to trade on."""
    source: InstrumentId | None = None
    """In a conversion, the instrument that gives the units and part of its cost; else None."""
    source_change: Decimal = _NO_UNITS
    """Signed units that leave the source; a split changes only ``quantity_change``."""
    cost_fraction: Decimal = WHOLE
    """Part of the source's cost, and of its value, that goes with the units."""


class HeldPosition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of an account snapshot; ``quantity`` is signed contracts or shares."""

    instrument_id: InstrumentId
    quantity: Decimal
    average_price: Decimal


@final
class AccountSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """Account's positions and cash as the venue reports them."""

    ts_event_ns: int
    ts_recv_ns: int
    cash: Decimal
    positions: tuple[HeldPosition, ...]


@final
class AccountLimits(msgspec.Struct, frozen=True, array_like=True, tag=42, gc=False):
    """Account's permissions and buying power as the venue reports them, in the account's currency."""

    ts_event_ns: int
    ts_recv_ns: int
    may_trade: bool
    may_short: bool
    options_level: int
    """0: no options, 1: covered, 2: long options, 3: spreads, 4: uncovered."""
    buying_power: Decimal
    """Notional of shares that may still be bought or sold short."""
    options_buying_power: Decimal
    """Premium that may still be paid."""
    shortable: tuple[InstrumentId, ...] = ()
    """Shares that are easy to borrow; what is not named may not be sold short."""
    margin_fraction: Decimal | None = None
    """Maintenance margin over collateral, of a venue that closes positions by it; None of any other."""


@final
class AccountComparison(msgspec.Struct, frozen=True, array_like=True, tag=43, gc=False):
    """The desk is to compare its account with the venue's, or has done so: no order goes before."""

    ts_event_ns: int
    ts_recv_ns: int
    is_compared: bool
    overdue: str = ""
    """Why the comparison is overdue, in words; empty while it is not. The desk reduces until it comes."""
    is_renewed: bool = True
    """False of a word on what is overdue, which says nothing new of the account."""


@final
class HoldingsShown(msgspec.Struct, frozen=True, array_like=True, tag=47, gc=False):
    """The venue's positions alone: a flattening desk leaves by them while no comparison comes.

    So it does where a comparison left a difference in units that nothing explains.
    """

    ts_event_ns: int
    ts_recv_ns: int
    positions: tuple[HeldPosition, ...]
    """All of them in instruments of the run."""


@final
class ExerciseNotice(msgspec.Struct, frozen=True, array_like=True, tag=44, gc=False):
    """The venue has taken the decision not to exercise bought contracts at their expiry."""

    instrument_id: InstrumentId
    ts_event_ns: int
    ts_recv_ns: int
    contracts: Decimal
    """All that are to lapse, with those of earlier notices."""


@final
class VenueWords(msgspec.Struct, frozen=True, array_like=True, tag=45, gc=False):
    """The venue said something that a person is to hear; nothing follows from it."""

    ts_event_ns: int
    ts_recv_ns: int
    stream: str
    """``orders``, ``quotes`` … that it is about."""
    words: str
    is_severe: bool
    """Of margin, liquidation or a blocked account."""
    times: int = 1
    """How often it was said since it was recorded last."""


@final
class TimerEvent(msgspec.Struct, frozen=True, array_like=True, tag=50, gc=False):
    """A timer that the engine asked for is due."""

    ts_event_ns: int
    ts_recv_ns: int
    name: str


@final
class OperatorEvent(msgspec.Struct, frozen=True, array_like=True, tag=53, gc=False):
    """A command of an operator or of the desk itself that changes its mode."""

    ts_event_ns: int
    ts_recv_ns: int
    action: OperatorAction
    reason: str
    who: str
    cause: OperatorCause


@final
class ModeKept(msgspec.Struct, frozen=True, array_like=True, tag=54, gc=False):
    """A run begins in the mode that its account was left in, by whatever run or person."""

    ts_event_ns: int
    ts_recv_ns: int
    state: AccountMode


@final
class FolderNeeds(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a strategy folder has to be shown the book so that it sees its hedge."""

    counts_shares: bool
    """Quantities of options stand for shares (contracts times their multiplier), not for contracts."""
    shares_as_position: bool
    """The shares that it has ordered are shown as a position with a delta of one."""
    why: str
    """What told so, in words."""


@final
class FolderAnswered(msgspec.Struct, frozen=True, array_like=True, tag=52, gc=False):
    """A strategy folder answered a request of the engine.

    It comes in like everything else that happens outside: a replay reads it from the journal and
    needs no folder.
    """

    ts_event_ns: int
    ts_recv_ns: int
    request: int
    """Number of the request."""
    messages: tuple[str, ...]
    """Answer to the request's events, each message as JSON, not validated yet."""
    failures: tuple[str, ...] = ()
    """Events that it failed on, in words."""
    took_us: int = 0
    """Time in the folder, microseconds."""
    state_lost: bool = False
    """Its process was ended: it begins afresh."""
    owner: str = ""
    """Strategy that asked, where several share a desk."""
    is_given_up: bool = False
    """The folder itself failed and decides no more."""
    needs: FolderNeeds | None = None
    """Answer to a request that asks for needs."""


_ChangeOfMarket = (
    TradeEvent
    | BarEvent
    | OpenInterestEvent
    | SessionEvent
    | RateEvent
    | DividendEvent
    | PriceAdjustmentEvent
    | ForecastEvent
    | GammaExposureEvent
    | SessionBarsEvent
    | ImpliedVolEvent
    | TradingHalt
)
"""What is told of the market besides quotes."""
MarketEvent = QuoteEvent | _ChangeOfMarket
AccountEvent = (
    PositionChanged
    | AccountSnapshot
    | AccountLimits
    | AccountComparison
    | HoldingsShown
    | ExerciseNotice
    | VenueWords
)
_NoQuote = (
    _ChangeOfMarket
    | OrderEvent
    | UnmatchedOrderEvent
    | OrderSettled
    | AccountEvent
    | TimerEvent
    | OperatorEvent
    | ModeKept
    | FolderAnswered
)
_HandledEvent = QuoteEvent | _NoQuote


@final
class FailedEvent(msgspec.Struct, frozen=True, array_like=True, tag=55):
    """An event on which the engine raised: recorded in its place, and without effect."""

    event: _HandledEvent
    ts_event_ns: int
    ts_recv_ns: int
    why: str


OtherEvent = _NoQuote | FailedEvent
"""Events that are no quotes."""
Event = QuoteEvent | OtherEvent
