"""Positions and cash of an account, booked from fills, and its net asset value. Everything here is exact."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import ZERO, InstrumentId, exact, to_cents
from scalpdesk.instruments.contract import Instrument, Instruments
from scalpdesk.instruments.postings import OF_HOLDERS, Origin, Posting


class Position:
    """Position in one instrument; ``quantity`` is signed contracts or shares.

    Trades change the quantity at once; the average price and the realised profit follow when they are read.

    ``quantity``, ``average_price``: What is held at the start, and its average price per unit.
    """

    __slots__ = (
        "_base",
        "_cost",
        "_earned",
        "_earned_at",
        "_float",
        "_float_of",
        "_priced",
        "_realized",
        "_trades",
        "_trades_priced",
        "fees",
        "income",
        "instrument",
        "instrument_id",
        "multiplier",
        "quantity",
    )

    def __init__(
        self,
        instrument_id: InstrumentId,
        instrument: Instrument,
        quantity: Decimal = ZERO,
        average_price: Decimal = ZERO,
    ) -> None:
        self.instrument_id = instrument_id
        self.instrument = instrument
        self.multiplier = instrument.multiplier
        self.quantity = quantity
        self._float = 0.0
        self._float_of = ZERO
        """Quantity that ``_float`` was made of."""
        self.fees = ZERO
        self.income = ZERO
        """Cash that it paid beyond its trades (dividends), in currency."""
        self._trades: list[tuple[Decimal, Decimal]] = [(quantity, average_price)] if quantity else []
        """Signed quantity and price of every trade; the first ``_trades_priced`` are in the figures below."""
        self._trades_priced = 0
        self._base = (ZERO, ZERO, ZERO)
        """The figures below before the first of these trades."""
        self._priced = self._cost = self._realized = ZERO
        """Quantity, its cost (quantity times cost of a unit, signed) and realised profit in currency."""
        self._earned_at: tuple[Decimal, Decimal, Decimal, Decimal] | None = None
        """Mark, quantity, fees and income that ``_earned`` was worked out at."""
        self._earned = ZERO

    @property
    def float_quantity(self) -> float:
        """The quantity, read at each mark: made once for each, since it costs as much as two exact sums."""
        if self._float_of is not self.quantity:
            self._float_of, self._float = self.quantity, float(self.quantity)
        return self._float

    def apply(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Book a trade at a price (currency per unit)."""
        self.quantity += signed_quantity
        self._trades.append((signed_quantity, price))

    def adjust(self, units: Decimal, cost: Decimal = ZERO) -> None:
        """Add signed units, and cost in currency, without a trade: the realised profit stays as it is."""
        self.forget_trades()
        self._priced += units
        self._cost += cost / self.multiplier
        self.quantity += units
        self._base = (self._priced, self._cost, self._realized)

    def variation(self, price: Decimal) -> Decimal:
        """Return what the open quantity is worth at a price beyond its cost, in cents: it is paid in cash."""
        return to_cents(self.value(price) - self.cost)

    def settle(self, price: Decimal) -> Decimal:
        """Go on at a future's settlement price, as if closed and opened there; return the variation.

        >>> from datetime import date
        >>> from scalpdesk.instruments.contract import Future
        >>> from scalpdesk.instruments.ticks import CENT_TICK
        >>> future = Future("ES_202103", "ES", date(2021, 3, 19), CENT_TICK, multiplier=50)
        >>> position = Position(InstrumentId(0), future)
        >>> position.apply(Decimal(2), Decimal("3690.25"))
        >>> position.settle(Decimal("3694.50")), position.cost, position.realized
        (Decimal('425.00'), Decimal('369450.00'), Decimal('425.00'))
        """
        self.forget_trades()
        variation = self.variation(price)
        self._realized += self.value(price) - self.cost
        self._cost = self._priced * price
        self._base = (self._priced, self._cost, self._realized)
        self._earned_at = None
        return variation

    def forget_trades(self) -> None:
        """Keep of the trades so far what they come to; none of them can be undone any more."""
        self._price_trades()
        self._trades.clear()
        self._trades_priced = 0
        self._base = (self._priced, self._cost, self._realized)

    def take_back(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Undo a trade, the latest of equal trades: average and realised profit become those of the others.

        Without such a trade, or when units were adjusted since, the opposite one is booked.
        """
        trades = self._trades
        for index in reversed(range(len(trades))):
            if trades[index] == (signed_quantity, price):
                del trades[index]
                self.quantity -= signed_quantity
                self._trades_priced = 0
                self._priced, self._cost, self._realized = self._base
                return
        self.apply(-signed_quantity, price)

    @property
    def average_price(self) -> Decimal:
        """Average price per unit of the open quantity."""
        self._price_trades()
        if not self._priced:
            return ZERO
        return self.instrument.price_of(self._cost / self._priced)

    @property
    def cost(self) -> Decimal:
        """Cost of the open quantity, in currency; negative for a short position.

        The cost of an inverse contract is the coin that its dollars bought, with the opposite sign.
        """
        self._price_trades()
        return self._cost * self.multiplier

    @property
    def realized(self) -> Decimal:
        """Realised profit in currency, before fees, at average cost."""
        self._price_trades()
        return self._realized

    def profit(self, mark: Decimal) -> Decimal:
        """Return what it has earned at a mark (currency per unit): realised, open, income less fees."""
        known, quantity = self._earned_at, self.quantity
        # every booking makes a new quantity; an option's mark outlasts several moves of its underlying
        if (
            known is not None
            and known[0] is mark
            and known[1] is quantity
            and known[2] is self.fees
            and known[3] is self.income
        ):
            return self._earned
        if self._trades_priced != len(self._trades):
            self._price_trades()
        # by the cost, not by the average: that one is rounded, and its digits cost time
        unrealized = self.instrument.value(quantity, mark) - self._cost * self.multiplier
        self._earned = self._realized + unrealized + self.income - self.fees
        self._earned_at = mark, quantity, self.fees, self.income
        return self._earned

    def value(self, mark: Decimal) -> Decimal:
        """Return what the open quantity is worth at a mark (currency per unit), in currency."""
        return self.instrument.value(self.quantity, mark)

    def _price_trades(self) -> None:
        trades = self._trades
        if self._trades_priced == len(trades):
            return
        unit_cost = self.instrument.unit_cost
        for quantity, traded_at in trades[self._trades_priced :]:
            price, held = unit_cost(traded_at), self._priced
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
        self._base: tuple[tuple[tuple[Decimal, Decimal], ...], Decimal] = ((), ZERO)
        """Lots and realised profit before the first of these trades."""

    def add(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Add a fill; lots are matched when ``realized`` is read."""
        self._trades.append((signed_quantity, price))

    def rescale(self, units: Decimal, prices: Decimal) -> None:
        """Multiply the units and the prices of the open lots: their realised profit stays as it is."""
        self.forget_trades()
        self._lots = deque((quantity * units, price * prices) for quantity, price in self._lots if units)
        self._base = (tuple(self._lots), self._realized)

    def forget_trades(self) -> None:
        """Keep of the fills so far the open lots and what was realised; no fill can be undone any more."""
        realized = self.realized
        self._base = (tuple(self._lots), realized)
        self._trades.clear()
        self._trades_matched = 0

    def take_back(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Undo a fill, or add the opposite one where there is no such fill."""
        trades = self._trades
        for index in reversed(range(len(trades))):
            if trades[index] == (signed_quantity, price):
                del trades[index]
                lots, self._realized = self._base
                self._trades_matched, self._lots = 0, deque(lots)
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

    ``cash``: Cash of the account while it is flat, in the quote currency.
    """

    def __init__(self, cash: Decimal = ZERO) -> None:
        self.start_cash = cash
        self.losses_in_a_row = 0
        """Losing trades of this session since the last winning one; one of exactly zero is neither."""
        self.results: list[Decimal] = []
        """Profit of each closed trade, in the quote currency."""
        self._before_last: tuple[Decimal, int] | None = None

    def close(self, cash: Decimal) -> None:
        """Count the present trade as closed: the account is flat and holds ``cash``."""
        before = (self.start_cash, self.losses_in_a_row)
        self.results.append(cash - self.start_cash)
        self.note(self.results[-1])
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
            self.results.pop()

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


class PositionsView(Protocol):
    """Positions, read-only."""

    @property
    def positions(self) -> Mapping[InstrumentId, Position]:
        """Positions by instrument, closed positions included."""
        ...

    @property
    def scalps(self) -> Mapping[InstrumentId, FifoLots]:
        """FIFO lots by instrument, of shares and futures; profits per unit multiplier."""
        ...

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Return the signed quantity held."""
        ...

    def held(self) -> Sequence[Position]:
        """Return the open positions."""
        ...


def move_units(posting: Posting, target: Position, source: Position | None) -> None:
    """Book a posting's units on their position: an account's one rule for units and their cost.

    A bust undoes its execution; a conversion conserves cost and realises nothing. ``target`` and ``source``
    are the positions in its instrument and in its source; None without a source.
    """
    if posting.cause is ChangeCause.BUST:
        target.take_back(-posting.units, posting.price)
    elif source is None:
        target.apply(posting.units, posting.price)
    elif source is target:
        target.adjust(posting.units)
    else:
        cost = source.cost * posting.cost_fraction
        source.adjust(posting.source_units, -cost)
        target.adjust(posting.units, cost)


class PositionManager:
    """Positions of a book: a fold over its postings, each booked once."""

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self.positions: dict[InstrumentId, Position] = {}
        self.scalps: dict[InstrumentId, FifoLots] = {}
        self._bookings: dict[str, Posting | None] = {}
        """By reference: executions that stand and their late fees, None for what cannot be taken back."""
        self.has_futures = False
        """Whether a future was ever held: cash alone is the balance of other books."""
        self._held: Sequence[Position] | None = None
        """The open positions, until something is booked: a run over years has traded hundreds."""

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        position = self.positions.get(instrument_id)
        return ZERO if position is None else position.quantity

    def held(self) -> Sequence[Position]:
        """Return the open positions, in the order of their first trade."""
        if self._held is None:
            self._held = [position for position in self.positions.values() if position.quantity]
        return self._held

    def already_applied(self, reference: str) -> bool:
        """Return whether an execution or change was booked before."""
        return reference in self._bookings

    def apply(self, posting: Posting) -> None:
        """Book a posting once by its reference: units, cost, lots, fees and income.

        Raises InvariantError when its reference was booked before (see :meth:`already_applied`).
        """
        number, units, reference = posting.instrument_id, posting.units, posting.reference
        if reference in self._bookings:
            raise InvariantError("one posting would be booked twice", where="reference", value=reference)
        is_trade = isinstance(posting.cause, Purpose)
        can_go = is_trade or (posting.cause is ChangeCause.FEE and reference.startswith(Origin.LATE_FEE))
        self._bookings[reference] = posting if can_go else None
        self._held = None
        if not units and posting.source is None:
            payer = self.positions.get(number)
            if payer is not None and posting.cause in OF_HOLDERS:
                payer.income += posting.income
            elif payer is not None and posting.cause is ChangeCause.VARIATION:
                payer.settle(posting.price)
            return
        target = self.positions.get(number) or self._open(number)
        if posting.source is not None:
            self._convert(posting, target, self.positions.get(posting.source) or self._open(posting.source))
        else:
            target.apply(units, posting.price)
            lots = self.scalps.get(number)
            if lots is not None and units:
                lots.add(units, target.instrument.unit_cost(posting.price))
        if is_trade:
            target.fees -= posting.income
        elif posting.cause is not ChangeCause.TRANSFER:  # what the owner moves is no position's income
            target.income += posting.income

    def _open(self, instrument_id: InstrumentId) -> Position:
        position = self.positions[instrument_id] = Position(instrument_id, self.instruments[instrument_id])
        is_future = position.instrument.is_future
        self.has_futures = self.has_futures or is_future
        if position.multiplier == 1 or is_future:
            self.scalps[instrument_id] = FifoLots()
        return position

    def _convert(self, posting: Posting, target: Position, source: Position) -> None:
        """Move units with their cost, and carry the lots of shares along."""
        held, units = target.quantity, posting.units
        move_units(posting, target, source)
        left, lots = self.scalps.get(source.instrument_id), self.scalps.get(target.instrument_id)
        if source is not target and left is not None:
            # what leaves for good takes its lots along at their cost
            stays = ZERO if posting.source_units else 1 - posting.cost_fraction
            left.rescale(ZERO if posting.source_units else Decimal(1), stays)
        if lots is None or not units:
            return
        if source is target and held and target.quantity:
            lots.rescale(target.quantity / held, held / target.quantity)
        else:
            lots.add(units, posting.price if source is target else target.average_price)

    def forget(self, references: Iterable[str]) -> None:
        """Forget bookings that cannot come again or be taken back any more, and the trades behind all."""
        for reference in references:
            self._bookings.pop(reference, None)
        for position in self.positions.values():
            position.forget_trades()
        for lots in self.scalps.values():
            lots.forget_trades()

    def booking(self, reference: str) -> Posting | None:
        """Return an execution that stands, or its late fee; None where it is unknown or was taken back."""
        return self._bookings.get(reference)

    def execution(self, reference: str) -> Posting:
        """Return an execution that stands.

        Raises InvariantError when there is no such execution, or it was taken back before.
        """
        posting = self._bookings.get(reference)
        if posting is None:
            raise InvariantError("no such booking to take back", where="reference", value=reference)
        return posting

    def take_back(self, reference: str) -> Posting:
        """Undo an execution, its fee with it, and return it; raises as :meth:`execution` does."""
        posting = self.execution(reference)
        self._bookings[reference] = self._held = None
        position = self.positions[posting.instrument_id]
        position.take_back(posting.units, posting.price)
        position.fees += posting.income
        lots = self.scalps.get(posting.instrument_id)
        if lots is not None:
            lots.take_back(posting.units, position.instrument.unit_cost(posting.price))
        return posting


_OFF_GRID = 1e-9
COIN_DECIMALS = 8
MOST_PRICES = 8_192
_prices: Final[dict[float, Decimal]] = {}
"""What :func:`exact_price` was asked for, emptied when it is full: half the time of an ``lru_cache``."""


def exact_price(value: float) -> Decimal:
    """Return a price exactly, from a cache: quotes lie on a grid, so a day has few distinct prices.

    Below 1 the half of a tick may lie beyond four decimals, as premiums in coin do: it then has eight.
    """
    known = _prices.get(value)
    if known is not None:
        return known
    price = exact(value)
    if value < 1.0 and abs(float(price) - value) > _OFF_GRID:
        price = exact(value, COIN_DECIMALS)
    if len(_prices) >= MOST_PRICES:
        _prices.clear()
    _prices[value] = price
    return price


class Account:
    """Cash by currency, signed: no rate turns one into another, and figures are in the account's own.

    An inverse contract is booked as the exchange that it is: buying one brings coin, its mark takes coin out
    of the net asset value. What a venue calls the balance is this cash with the cost of the inverse
    positions added.
    """

    def __init__(self, cash: Decimal = ZERO, currency: str = "USD") -> None:
        self.currency = currency
        self.cash = cash
        """In the account's own currency."""
        self.others: dict[str, Decimal] = {}
        """In other currencies."""

    def add(self, currency: str, amount: Decimal) -> None:
        """Add cash (negative: take it) to the balance in a currency."""
        if currency == self.currency:
            self.cash += amount
        else:
            self.others[currency] = self.others.get(currency, ZERO) + amount


def balance_of(account: Account, held: Iterable[Position]) -> Decimal:
    """Return the cash balance that a futures broker shows: with the cost of the futures, currency.

    It moves by fees, by what closes, and by each day's variation.
    """
    return to_cents(account.cash + sum((each.cost for each in held if each.instrument.is_future), ZERO))


class _MarkView(Protocol):
    """Marks of instruments, as the desk's valuation has them."""

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the mark of one unit, currency per unit; None when never quoted."""
        ...


def mark_decimal(source: _MarkView, position: Position) -> Decimal:
    """Return the exact mark of one unit: the latest one, or the average price when never quoted."""
    value = source.mark(position.instrument_id)
    return position.average_price if value is None else exact_price(value)


def earned(number: InstrumentId, held: dict[InstrumentId, Position], source: _MarkView) -> Decimal:
    """Return what an instrument has earned at its mark, in currency: fees and income included."""
    position = held.get(number)
    return ZERO if position is None else position.profit(mark_decimal(source, position))


def earned_since(
    before: dict[InstrumentId, Decimal], held: dict[InstrumentId, Position], source: _MarkView
) -> Decimal:
    """Return what instruments have earned beyond so much ``before``, in currency."""
    total = ZERO
    for number, known in before.items():
        total += earned(number, held, source) - known
    return total


def net_asset_value(account: Account, held: Iterable[Position], source: _MarkView) -> Decimal:
    """Return cash plus the positions at their marks, in the account's own currency."""
    total, currency = account.cash, account.currency
    for position in held:
        if position.instrument.currency == currency:
            total += position.value(mark_decimal(source, position))
    return total
