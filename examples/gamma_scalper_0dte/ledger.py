"""The 0DTE gamma scalper's memory between two events of the v1 protocol, and the orders it answers with.

The ledger knows positions only from the events and counts its own hedges as done when it orders them:
the protocol has no fills. Everything is exact; time is the stamp on the event.
"""

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from scalpdesk.base import (
    NANOS_PER_SECOND,
    ZERO,
    ArgumentError,
    at_least,
    new_york_ns,
    to_new_york,
    us_option,
)
from scalpdesk.protocol import to_decimal
from scalpdesk.strategies import (
    HedgeVerdict,
    RegimeThresholdConfig,
    judge_hedge,
    net_delta,
    threshold_by_dealers,
)

MOST_POSITIONS = 10_000
MOST_UNDERLYINGS = 256
"""Bounds of what is remembered: a feed that invents symbols must not fill the memory."""

MIDNIGHT = time(0)
NEVER_NS = 1 << 62

QuantityUnit = Literal["shares", "contracts"]


LARGEST = Decimal("1e9")
"""No delta, quantity or price is larger; a number that is belongs to no market."""
SMALLEST = Decimal("1e-18")
"""Nor smaller, unless it is nought."""


class HedgeRules(RegimeThresholdConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the net delta is hedged.

    Parameters
    ----------
    stale_delta_seconds
        Age at which a delta that came without an update is too old to hedge on.
    """

    stale_delta_seconds: Annotated[float, at_least(0, 86_400, "seconds within a day")] = 60.0


def number_in(value: object) -> Decimal | None:
    """Return a JSON number (or the text of one) exactly as it is written; None for other values.

    A float is read by its shortest text: 0.65 is 0.65, not its binary neighbour. Booleans, NaN,
    infinities and numbers beyond :data:`LARGEST` or below :data:`SMALLEST` are no numbers here.

    >>> number_in(0.65), number_in(float("nan")), number_in(True)
    (Decimal('0.65'), None, None)
    """
    try:
        number = to_decimal(value)
    except ArgumentError:
        return None
    size = abs(number)
    return number if not size or SMALLEST <= size <= LARGEST else None


def threshold_for(gex: Decimal | None, rules: HedgeRules) -> Decimal:
    """Return the threshold: the tight one only where dealers are known to be short gamma.

    Parameters
    ----------
    gex
        Dealer gamma exposure in USD, None when it is not known or too old.
    rules
        Both thresholds.
    """
    known = None if gex is None else float(gex)
    return threshold_by_dealers(known, standard=rules.threshold, tight=rules.threshold_negative_gex)


class Hours(msgspec.Struct, frozen=True):
    """When orders may go on one day, UTC nanoseconds."""

    open_ns: int
    deadline_ns: int
    """From here on everything is left and nothing more is hedged."""
    close_ns: int


class Update(msgspec.Struct, frozen=True):
    """Contents of one event; None: not in the event."""

    symbol: str
    ts_ns: int
    is_option: bool
    delta: Decimal | None = None
    """Per unit of the option."""
    quantity: Decimal | None = None
    """Signed; in contracts or share-equivalents, as the ledger's unit says. For an underlying: the
    shares in the account, which decide its hedge."""
    underlying_price: Decimal | None = None


class LedgerOrder(msgspec.Struct, frozen=True):
    """One market order that follows from an event."""

    kind: Literal["hedge", "exit"]
    symbol: str
    side: Literal["buy", "sell"]
    quantity: Decimal
    underlying: str
    verdict: HedgeVerdict | None = None
    """The hedge rule's verdict; None for an exit."""
    underlying_price: Decimal | None = None


class _Position:
    __slots__ = ("delta", "delta_ns", "is_marked", "quantity", "ts_ns")

    def __init__(self) -> None:
        self.delta: Decimal | None = None
        self.delta_ns = 0
        self.is_marked = False
        """Whether an update came without a delta since the last one that had it."""
        self.quantity = Decimal(1)
        self.ts_ns = 0


class _Side:
    """One underlying: the options on it, its price, the shares that hedge it."""

    __slots__ = (
        "hedge_shares",
        "hours",
        "is_closed",
        "last_hedge_ns",
        "multiplier",
        "positions",
        "price",
        "symbol",
    )

    def __init__(self, symbol: str, multiplier: int) -> None:
        self.symbol = symbol
        self.multiplier = multiplier
        self.positions: dict[str, _Position] = {}
        self.price: Decimal | None = None
        self.hedge_shares = ZERO
        self.last_hedge_ns: int | None = None
        self.hours: Hours | None = None
        self.is_closed = False


class ZeroDteLedger:
    """Applies updates in order and returns the orders that follow.

    Parameters
    ----------
    rules
        Thresholds and times.
    hours
        Gives the hours of an underlying's options on a New York day, None when there is no session.
    quantity_unit
        ``contracts``: a position of 1 is the contract's multiplier in shares. ``shares``: quantities
        are share-equivalents already.
    default_underlying
        Underlying of an option whose symbol is not an OCC one.
    keep_hours
        Order only between the open and the close; false orders whenever an event comes (replay).
    """

    def __init__(
        self,
        rules: HedgeRules,
        hours: Callable[[str, date], Hours | None],
        *,
        quantity_unit: QuantityUnit = "contracts",
        default_underlying: str = "SPY",
        keep_hours: bool = True,
    ) -> None:
        self.rules = rules
        self.notes: list[tuple[str, str]] = []
        """Level (``info``, ``warn``, ``error``) and text of what the last update gave cause to say."""
        self._hours = hours
        self._unit = quantity_unit
        self._default = default_underlying
        self._keep_hours = keep_hours
        self._sides: dict[str, _Side] = {}
        self._side_of: dict[str, _Side] = {}
        self._removed_ns: dict[str, int] = {}
        """When today's positions that are gone went: an older event does not bring them back."""
        self._reported: set[str] = set()
        self._last_ns = -1
        self._day: date | None = None
        self._day_ends_ns = -1
        self._next_deadline_ns = NEVER_NS

    def positions(self) -> dict[str, Decimal]:
        """Return the signed quantity of each option position."""
        return {
            symbol: position.quantity
            for side in self._sides.values()
            for symbol, position in side.positions.items()
        }

    def hedge_shares(self, underlying: str) -> Decimal:
        """Return the signed shares ordered as a hedge and not yet flattened."""
        side = self._sides.get(underlying)
        return side.hedge_shares if side is not None else ZERO

    def is_closed(self, underlying: str) -> bool:
        """Return whether the exit of the session under way has been ordered."""
        side = self._sides.get(underlying)
        return side is not None and side.is_closed

    def knows(self, symbol: str) -> bool:
        """Return whether an option position of this symbol is held."""
        side = self._side_of.get(symbol)
        return side is not None and symbol in side.positions

    def is_underlying(self, symbol: str) -> bool:
        """Return whether a symbol is what options known here are on, and no option itself."""
        return symbol == self._default or symbol in self._sides

    def net_delta(self, underlying: str) -> Decimal | None:
        """Return the net delta in contract deltas; None while a position's delta is unknown."""
        side = self._sides.get(underlying)
        return ZERO if side is None else _net(side)

    def apply(self, update: Update, gex: Decimal | None = None) -> list[LedgerOrder]:
        """Take one update in; return the orders that follow, exits before anything else.

        Parameters
        ----------
        update
            What the event says.
        gex
            Dealer gamma exposure, None when not known or too old.
        """
        self.notes.clear()
        in_order = update.ts_ns >= self._last_ns
        if in_order:
            self._last_ns = update.ts_ns
            if update.ts_ns >= self._day_ends_ns:
                self._new_day(update.ts_ns)
        side = self._side(update)
        if side is not None and not side.is_closed:
            self._book(side, update)
        if not in_order:
            self._note_once("warn", f"{update.symbol}: an event lies before the last one; no orders follow")
            return []
        orders = self._exits(update.ts_ns) if update.ts_ns >= self._next_deadline_ns else []
        if side is None or side.is_closed or not (side.positions or side.hedge_shares):
            return orders
        hedge = self._hedge(side, update, gex)
        return [*orders, hedge] if hedge is not None else orders

    # booking ----------------------------------------------------------------------------------------

    def _side(self, update: Update) -> _Side | None:
        found = self._side_of.get(update.symbol)
        if found is not None:
            return found
        underlying, multiplier = update.symbol, 1
        if update.is_option:
            underlying, multiplier, expiry = self._terms(update.symbol)
            if expiry is not None and self._day is not None and expiry < self._day:
                self._note_once("warn", f"{update.symbol} expired on an earlier day: it is ignored")
                return None
        side = self._sides.get(underlying)
        if side is None:
            if len(self._sides) >= MOST_UNDERLYINGS:
                self._note_once("error", f"more than {MOST_UNDERLYINGS} underlyings: {underlying} is ignored")
                return None
            side = self._sides[underlying] = _Side(underlying, multiplier)
            self._open(side)
        if update.is_option:
            if len(self._side_of) >= MOST_POSITIONS:
                self._note_once("error", f"more than {MOST_POSITIONS} symbols: {update.symbol} is ignored")
                return None
            side.multiplier = multiplier
            self._side_of[update.symbol] = side
        return side

    def _terms(self, symbol: str) -> tuple[str, int, date | None]:
        """Underlying, multiplier and expiry of an option's symbol."""
        try:
            contract = us_option(symbol)
        except ArgumentError:
            contract = None
        underlying = self._default if contract is None else contract.underlying
        listed = 100 if contract is None else contract.multiplier
        expiry = None if contract is None else contract.expiry
        return underlying, listed if self._unit == "contracts" else 1, expiry

    def _book(self, side: _Side, update: Update) -> None:
        """Take quantities, deltas and prices over, each only when it is not older than what is known."""
        if update.underlying_price is not None and update.ts_ns >= self._last_ns:
            side.price = update.underlying_price
        if not update.is_option:
            if update.quantity is not None and update.ts_ns >= self._last_ns:
                side.hedge_shares = update.quantity
            return
        position = side.positions.get(update.symbol)
        if position is None:
            if update.ts_ns < self._removed_ns.get(update.symbol, -1):
                return
            position = _Position()
        elif update.ts_ns < position.ts_ns:
            return
        position.ts_ns = update.ts_ns
        if update.quantity is not None:
            position.quantity = update.quantity
        if not position.quantity:
            if side.positions.pop(update.symbol, None) is not None:
                self._removed_ns[update.symbol] = update.ts_ns
            self._side_of.pop(update.symbol, None)
            return
        if update.delta is None:
            position.is_marked = True
        else:
            position.delta, position.delta_ns, position.is_marked = update.delta, update.ts_ns, False
        side.positions[update.symbol] = position

    # hedging ----------------------------------------------------------------------------------------

    def _hedge(self, side: _Side, update: Update, gex: Decimal | None) -> LedgerOrder | None:
        now_ns = update.ts_ns
        hours = side.hours
        if self._keep_hours and (hours is None or not hours.open_ns <= now_ns < hours.close_ns):
            self._note_once("info", f"{side.symbol}: outside the session, no order")
            return None
        stale = self._stale(side, now_ns)
        if stale is not None:
            self._note_once("error", f"ALERT {stale}: no hedge until its delta is known again")
            return None
        if update.underlying_price is not None and update.underlying_price <= 0:
            self._note_once("warn", f"{side.symbol}: underlying price is not above zero, no hedge")
            return None
        if side.price is None or side.price <= 0:
            self._note_once("warn", f"{side.symbol}: underlying price is not known, no hedge")
            return None
        net = _net(side)
        if net is None:
            return None
        since = None if side.last_hedge_ns is None else now_ns - side.last_hedge_ns
        verdict = judge_hedge(
            net, side.multiplier, threshold_for(gex, self.rules), since, self.rules.seconds_between_hedges
        )
        quantity = verdict.quantity_shares
        if not quantity:
            return None
        side.hedge_shares += quantity
        side.last_hedge_ns = now_ns
        return LedgerOrder(
            "hedge",
            side.symbol,
            "buy" if quantity > 0 else "sell",
            Decimal(abs(quantity)),
            side.symbol,
            verdict,
            side.price,
        )

    def _stale(self, side: _Side, now_ns: int) -> str | None:
        """Return which position's delta cannot be hedged on, and why."""
        limit_ns = self.rules.stale_delta_seconds * NANOS_PER_SECOND
        for symbol, position in side.positions.items():
            if position.delta is None:
                return f"{symbol}: delta never came"
            if position.is_marked and now_ns - position.delta_ns > limit_ns:
                return f"{symbol}: delta is older than {self.rules.stale_delta_seconds:g} s"
        return None

    # the day ----------------------------------------------------------------------------------------

    def _new_day(self, ts_ns: int) -> None:
        """Open every latch, take up the day's hours, drop what expired on an earlier day."""
        self._day = to_new_york(ts_ns).date()
        self._day_ends_ns = new_york_ns(self._day + timedelta(days=1), MIDNIGHT)
        self._next_deadline_ns = NEVER_NS
        self._reported.clear()
        self._removed_ns.clear()
        for side in self._sides.values():
            side.is_closed = False
            self._drop_expired(side)
            self._open(side)
        # symbols that are not held any more were yesterday's
        self._side_of = {symbol: side for side in self._sides.values() for symbol in side.positions}

    def _open(self, side: _Side) -> None:
        side.hours = None if self._day is None else self._hours(side.symbol, self._day)
        if side.hours is not None:
            self._next_deadline_ns = min(self._next_deadline_ns, side.hours.deadline_ns)

    def _drop_expired(self, side: _Side) -> None:
        for symbol in list(side.positions):
            try:
                expiry = us_option(symbol).expiry
            except ArgumentError:
                continue
            if self._day is not None and expiry < self._day:
                del side.positions[symbol]
                self.notes.append(("error", f"{symbol} expired while it was held: no event came in time"))

    def _exits(self, now_ns: int) -> list[LedgerOrder]:
        """Leave what has reached its deadline, options and hedge together, once a session."""
        orders: list[LedgerOrder] = []
        self._next_deadline_ns = NEVER_NS
        for side in self._sides.values():
            if side.hours is None or side.is_closed:
                continue
            if now_ns < side.hours.deadline_ns:
                self._next_deadline_ns = min(self._next_deadline_ns, side.hours.deadline_ns)
                continue
            side.is_closed = True
            if self._keep_hours and now_ns >= side.hours.close_ns:
                if side.positions or side.hedge_shares:
                    self.notes.append(
                        ("error", f"ALERT {side.symbol}: the close passed and nothing was left")
                    )
                continue
            for symbol, position in side.positions.items():
                orders.append(_exit_order(symbol, position.quantity, side.symbol))
                self._side_of.pop(symbol, None)
            if side.hedge_shares:
                orders.append(_exit_order(side.symbol, side.hedge_shares, side.symbol))
            side.positions.clear()
            side.hedge_shares = ZERO
            side.last_hedge_ns = None
        return orders

    def _note_once(self, level: str, text: str) -> None:
        """Say a thing once a day, not at every event."""
        if text not in self._reported:
            self._reported.add(text)
            self.notes.append((level, text))


def _net(side: _Side) -> Decimal | None:
    if any(position.delta is None for position in side.positions.values()):
        return None
    return net_delta(
        ((position.delta or ZERO, position.quantity) for position in side.positions.values()),
        side.hedge_shares,
        side.multiplier,
    )


def _exit_order(symbol: str, held: Decimal, underlying: str) -> LedgerOrder:
    return LedgerOrder("exit", symbol, "sell" if held > 0 else "buy", abs(held), underlying)
