"""Positions and cash of an account, booked from fills, and its net asset value. Everything here is exact."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, Protocol

from scalpdesk.core.errors import InvariantError
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.state import MarketState

ZERO = Decimal(0)


class Position:
    """Position in one instrument; ``quantity`` is signed contracts or shares.

    Trades change the quantity at once; the average price and the realised profit follow when they are read.

    Parameters
    ----------
    instrument_id
        What is held.
    multiplier
        Units of the underlying per contract; 1 for shares.
    quantity, average_price
        What is held at the start, and its average price per unit.
    """

    __slots__ = (
        "_cost",
        "_priced",
        "_realized",
        "_trades",
        "_trades_priced",
        "fees",
        "instrument_id",
        "multiplier",
        "quantity",
    )

    def __init__(
        self,
        instrument_id: InstrumentId,
        multiplier: int,
        quantity: Decimal = ZERO,
        average_price: Decimal = ZERO,
    ) -> None:
        self.instrument_id = instrument_id
        self.multiplier = multiplier
        self.quantity = quantity
        self.fees = ZERO
        self._trades: list[tuple[Decimal, Decimal]] = [(quantity, average_price)] if quantity else []
        """Signed quantity and price of every trade; the first ``_trades_priced`` are in the figures below."""
        self._trades_priced = 0
        self._priced = self._cost = self._realized = ZERO
        """Quantity, its cost (quantity times price per unit, signed) and realised profit in currency."""

    def apply(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Book a trade at a price (currency per unit)."""
        self.quantity += signed_quantity
        self._trades.append((signed_quantity, price))

    def take_back(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Undo a trade, the latest of equal ones: average and realised profit become those of the others.

        Without such a trade the opposite one is booked.
        """
        trades = self._trades
        for index in reversed(range(len(trades))):
            if trades[index] == (signed_quantity, price):
                del trades[index]
                self.quantity -= signed_quantity
                self._trades_priced = 0
                self._priced = self._cost = self._realized = ZERO
                return
        self.apply(-signed_quantity, price)

    @property
    def average_price(self) -> Decimal:
        """Average price per unit of the open quantity."""
        self._price_trades()
        return self._cost / self._priced if self._priced else ZERO

    @property
    def cost(self) -> Decimal:
        """What the open quantity has cost, in currency; negative for a short position."""
        self._price_trades()
        return self._cost * self.multiplier

    @property
    def realized(self) -> Decimal:
        """Realised profit in currency, before fees, at average cost."""
        self._price_trades()
        return self._realized

    def _price_trades(self) -> None:
        trades = self._trades
        if self._trades_priced == len(trades):
            return
        for quantity, price in trades[self._trades_priced :]:
            held = self._priced
            self._priced = after = held + quantity
            if not held or (held > 0) == (quantity > 0):
                self._cost += price * quantity
                continue
            average = self._cost / held
            turns = (after > 0) != (held > 0)
            closed = -held if turns or not after else quantity
            self._realized -= closed * (price - average) * self.multiplier
            self._cost = price * after if turns else average * after
        self._trades_priced = len(trades)


class FifoLots:
    """First-in, first-out lots of hedge shares, for the realised profit of the scalps.

    >>> lots = FifoLots()
    >>> for quantity, price in ((10, 100), (5, 101), (-12, 102)):
    ...     lots.add(Decimal(quantity), Decimal(price))
    >>> lots.realized
    Decimal('22')
    """

    def __init__(self) -> None:
        self._trades: list[tuple[Decimal, Decimal]] = []
        self._trades_matched = 0
        self._lots: deque[tuple[Decimal, Decimal]] = deque()
        self._realized = ZERO

    def add(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Add a fill; lots are matched when ``realized`` is read."""
        self._trades.append((signed_quantity, price))

    def take_back(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Undo a fill, or add the opposite one where there is no such fill."""
        trades = self._trades
        for index in reversed(range(len(trades))):
            if trades[index] == (signed_quantity, price):
                del trades[index]
                self._trades_matched, self._realized = 0, ZERO
                self._lots.clear()
                return
        self.add(-signed_quantity, price)

    @property
    def realized(self) -> Decimal:
        """Profit of the matched lots, in currency per unit multiplier."""
        lots = self._lots
        for quantity, price in self._trades[self._trades_matched :]:
            left = quantity
            while left and lots and (lots[0][0] > 0) != (left > 0):
                lot_quantity, lot_price = lots[0]
                matched = min(abs(left), abs(lot_quantity))
                sign = 1 if lot_quantity > 0 else -1
                self._realized += matched * (price - lot_price) * sign
                left += matched * sign
                rest = lot_quantity - matched * sign
                if rest:
                    lots[0] = (rest, lot_price)
                else:
                    lots.popleft()
            if left:
                lots.append((left, price))
        self._trades_matched = len(self._trades)
        return self._realized


class ClosedTrades:
    """Trades from flat to flat: cash that the present one began with, and how many in a row lost.

    Parameters
    ----------
    cash
        Cash of the account while it is flat, in the quote currency.
    """

    def __init__(self, cash: Decimal = ZERO) -> None:
        self.start_cash = cash
        self.losses_in_a_row = 0
        """Losing trades of this session since the last winning one; one of exactly zero is neither."""
        self._before_last: tuple[Decimal, int] | None = None

    def close(self, cash: Decimal) -> None:
        """Count the present trade as closed: the account is flat and holds ``cash``."""
        before = (self.start_cash, self.losses_in_a_row)
        self.note(cash - self.start_cash)
        self.start_cash, self._before_last = cash, before

    def note(self, pnl: Decimal) -> None:
        """Count a closed trade by its profit (currency)."""
        if pnl < 0:
            self.losses_in_a_row += 1
        elif pnl > 0:
            self.losses_in_a_row = 0

    def reopen(self) -> None:
        """Take the last closing back, when an execution of it was busted: the trade goes on."""
        if self._before_last is not None:
            self.start_cash, self.losses_in_a_row = self._before_last
            self._before_last = None

    def move_cash(self, amount: Decimal) -> None:
        """Move the start along with cash that the owner brought (negative: took away)."""
        self.start_cash += amount
        if self._before_last is not None:
            self._before_last = (self._before_last[0] + amount, self._before_last[1])

    def new_session(self) -> None:
        """Begin a session's count at zero."""
        self.losses_in_a_row = 0
        if self._before_last is not None:
            self._before_last = (self._before_last[0], 0)


class BookedTrade(NamedTuple):
    """Change of a position: signed contracts or shares, price per unit, and fee in currency."""

    instrument_id: InstrumentId
    quantity: Decimal
    price: Decimal
    fee: Decimal


class PositionsView(Protocol):
    """Positions, read-only."""

    @property
    def positions(self) -> Mapping[InstrumentId, Position]:
        """Positions by instrument, closed ones included."""
        ...

    @property
    def scalps(self) -> Mapping[InstrumentId, FifoLots]:
        """FIFO lots by instrument."""
        ...

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Return the signed quantity held."""
        ...

    def held(self) -> Sequence[Position]:
        """Return the open positions."""
        ...


class PositionManager:
    """Positions of an account; every fill and other change is booked once.

    Parameters
    ----------
    instruments
        All instruments of the run.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self.positions: dict[InstrumentId, Position] = {}
        self.scalps: dict[InstrumentId, FifoLots] = {}
        self._bookings: dict[str, BookedTrade | None] = {}
        """By reference; None where nothing can be taken back."""

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        position = self.positions.get(instrument_id)
        return ZERO if position is None else position.quantity

    def held(self) -> list[Position]:
        """Return the open positions, in the order of their first trade."""
        return [position for position in self.positions.values() if position.quantity]

    def already_applied(self, reference: str) -> bool:
        """Return whether an execution or change was booked before."""
        return reference in self._bookings

    def book(
        self,
        instrument_id: InstrumentId,
        signed_quantity: Decimal,
        price: Decimal,
        reference: str,
        *,
        fee: Decimal = ZERO,
    ) -> Position:
        """Book ``signed_quantity`` at ``price``; return the updated position.

        Raises
        ------
        InvariantError
            When ``reference`` was booked before (see :meth:`already_applied`).
        """
        if reference in self._bookings:
            raise InvariantError("one execution would be booked twice", where="reference", value=reference)
        self._bookings[reference] = BookedTrade(instrument_id, signed_quantity, price, fee)
        position = self.positions.get(instrument_id)
        if position is None:
            multiplier = self._instruments[instrument_id].multiplier
            position = self.positions[instrument_id] = Position(instrument_id, multiplier)
            if multiplier == 1:
                self.scalps[instrument_id] = FifoLots()
        position.fees += fee
        lots = self.scalps.get(instrument_id)
        if lots is not None:
            lots.add(signed_quantity, price)
        position.apply(signed_quantity, price)
        return position

    def booking(self, reference: str) -> BookedTrade | None:
        """Return a booking that stands, or None where there is none or it was taken back."""
        return self._bookings.get(reference)

    def take_back(self, reference: str) -> BookedTrade:
        """Undo a booking, its fee with it, and return it.

        Raises
        ------
        InvariantError
            When there is no such booking, or it was taken back before.
        """
        booking = self._bookings.get(reference)
        if booking is None:
            raise InvariantError("no such booking to take back", where="reference", value=reference)
        self._bookings[reference] = None
        position = self.positions[booking.instrument_id]
        position.take_back(booking.quantity, booking.price)
        position.fees -= booking.fee
        lots = self.scalps.get(booking.instrument_id)
        if lots is not None:
            lots.take_back(booking.quantity, booking.price)
        return booking

    def note_applied(self, reference: str) -> None:
        """Record a change of cash alone (a dividend) as booked."""
        self._bookings[reference] = None


exact_price = lru_cache(maxsize=8_192)(exact)
"""`exact` with a cache: quotes lie on a grid, so a day has few distinct prices."""


class Account:
    """Cash in the quote currency, signed."""

    def __init__(self, cash: Decimal = ZERO) -> None:
        self.cash = cash

    def pay_for(self, signed_quantity: Decimal, price: Decimal, multiplier: int, fee: Decimal) -> None:
        """Book the cash of an execution and its fee."""
        self.cash -= signed_quantity * price * multiplier + fee


def mark_decimal(state: MarketState, position: Position) -> Decimal:
    """Return the exact mark of one unit: the latest one, or the average price when never quoted."""
    value = state.mark(position.instrument_id)
    return position.average_price if value is None else exact_price(value)


def net_asset_value(account: Account, held: Iterable[Position], state: MarketState) -> Decimal:
    """Return cash plus all positions at their marks, in the quote currency."""
    total = account.cash
    for position in held:
        total += position.quantity * position.multiplier * mark_decimal(state, position)
    return total
