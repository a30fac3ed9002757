"""Positions and cash of an account, booked from fills, and its net asset value. Everything here is exact."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

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
        "_average_price",
        "_priced",
        "_realized",
        "_trades",
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
        self.quantity = self._priced = quantity
        self.fees = ZERO
        self._average_price = average_price
        self._realized = ZERO
        self._trades: list[tuple[Decimal, Decimal]] = []
        """Trades that the average price does not hold yet; ``_priced`` is the quantity before them."""

    def apply(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Book a trade at a price (currency per unit)."""
        self.quantity += signed_quantity
        self._trades.append((signed_quantity, price))

    @property
    def average_price(self) -> Decimal:
        """Average price per unit of the open quantity."""
        if self._trades:
            self._price_trades()
        return self._average_price

    @property
    def realized(self) -> Decimal:
        """Realised profit in currency, before fees, at average cost."""
        if self._trades:
            self._price_trades()
        return self._realized

    def _price_trades(self) -> None:
        for quantity, price in self._trades:
            held = self._priced
            self._priced = after = held + quantity
            if not held:
                self._average_price = price
                continue
            if (held > 0) == (quantity > 0):
                self._average_price = (self._average_price * held + price * quantity) / after
                continue
            turns = (after > 0) != (held > 0)
            closed = -held if turns or not after else quantity
            self._realized -= closed * (price - self._average_price) * self.multiplier
            if not after:
                self._average_price = ZERO
            elif turns:
                self._average_price = price
        self._trades.clear()


class FifoLots:
    """First-in, first-out lots of hedge shares, for the realised profit of the scalps.

    >>> lots = FifoLots()
    >>> for quantity, price in ((10, 100), (5, 101), (-12, 102)):
    ...     lots.add(Decimal(quantity), Decimal(price))
    >>> lots.realized
    Decimal('22')
    """

    def __init__(self) -> None:
        self._lots: deque[tuple[Decimal, Decimal]] = deque()
        self._unmatched: list[tuple[Decimal, Decimal]] = []
        self._realized = ZERO

    def add(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Add a fill; lots are matched when ``realized`` is read."""
        self._unmatched.append((signed_quantity, price))

    @property
    def realized(self) -> Decimal:
        """Profit of the matched lots, in currency per unit multiplier."""
        lots = self._lots
        for quantity, price in self._unmatched:
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
        self._unmatched.clear()
        return self._realized


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
        self._applied: set[str] = set()

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        position = self.positions.get(instrument_id)
        return ZERO if position is None else position.quantity

    def held(self) -> list[Position]:
        """Return the open positions, in the order of their first trade."""
        return [position for position in self.positions.values() if position.quantity]

    def already_applied(self, reference: str) -> bool:
        """Return whether an execution or change was booked before."""
        return reference in self._applied

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
        if reference in self._applied:
            raise InvariantError("one execution would be booked twice", where="reference", value=reference)
        self._applied.add(reference)
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

    def note_applied(self, reference: str) -> None:
        """Record a change of cash alone (a dividend) as booked."""
        self._applied.add(reference)


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
