"""One book: positions, cash, P&L and round trips of an account, or of the part of it that an owner has.

What a fill, a bust or a change without an order does to a book is written here once; the account's own book
and the books of its strategies and underlyings are all of this class.
"""

from decimal import Decimal

import msgspec

from scalpdesk.core.enums import CARRY, ENDED, EXERCISED, ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Mark, Purpose
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.portfolio.positions import (
    Account,
    ClosedTrades,
    PositionManager,
    settlement_charge,
    transfer_value,
)


class Book:
    """Positions, cash and P&L of one owner.

    Parameters
    ----------
    name
        The owner's name; empty for the account's own book and for what belongs to no owner.
    instruments, state, delta_engine, underlying
        What is traded, the latest market, the pricing, and the main underlying.
    cash
        Cash at the start, in the quote currency.
    closed_trades
        Counts its round trips; None for a count of its own.

    Attributes
    ----------
    account, positions, attribution
        Cash; units and lots; the explain.
    opened
        Signed units by instrument that the owner opened and has not closed, without hedges: its use of the
        budget.
    last_mark
        What its last mark found; None before the first.
    counts_trips
        Whether it counts round trips from flat to flat; a divided account leaves that to its parts.
    """

    def __init__(
        self,
        name: str,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        underlying: InstrumentId,
        *,
        cash: Decimal = ZERO,
        closed_trades: ClosedTrades | None = None,
    ) -> None:
        self.name = name
        self._instruments = instruments
        self._state = state
        self.account = Account(cash)
        self.positions = PositionManager(instruments)
        self.attribution = PnlExplain(
            instruments, state, delta_engine, self.account, self.positions, underlying
        )
        self.opened: dict[InstrumentId, Decimal] = {}
        self.closed_trades = ClosedTrades() if closed_trades is None else closed_trades
        self.counts_trips = True
        self.last_mark: Mark | None = None

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        return self.positions.quantity(instrument_id)

    def mark(self, now_ns: int, *, is_anchor: bool = False) -> None:
        """Explain the P&L since the last mark; ``is_anchor`` as :meth:`PnlExplain.mark` has it."""
        self.last_mark = self.attribution.mark(now_ns, is_anchor=is_anchor) or self.last_mark

    def begin(self, now_ns: int) -> None:
        """Start the explain and the round trips from what is held."""
        self.attribution.begin(now_ns)
        self.closed_trades.start_cash = self.attribution.nav

    def fill(
        self,
        number: InstrumentId,
        signed: Decimal,
        price: Decimal,
        fee: Decimal,
        reference: str,
        purpose: Purpose,
    ) -> None:
        """Book an execution: units, cash, its cost beyond the mark, and the count of round trips."""
        position = self.positions.book(number, signed, price, reference, fee=fee)
        self.account.cash -= position.instrument.value(signed, price) + fee
        self.attribution.note_trade(self._state.quotes[number], signed, price, fee)
        if purpose is Purpose.OPEN:
            self.opened[number] = self.opened.get(number, ZERO) + signed
        elif purpose is Purpose.CLOSE and number in self.opened:
            self.opened[number] = _towards_zero(self.opened[number], signed)
        if not position.quantity:
            self._note_round_trip()

    def bust(self, reference: str, purpose: Purpose) -> None:
        """Take back exactly the execution that the venue took back, its fee included.

        A busted trade owes no fees: clearing fees fall only on trades that clear, and a broker's ledger turns
        the whole line round.
        """
        was_flat = not self.positions.held()
        number, quantity, price, fee = self.positions.take_back(reference)
        self.account.cash += self._instruments[number].value(quantity, price) + fee
        self.attribution.note_trade(self._state.quotes[number], -quantity, price, -fee)
        if purpose in (Purpose.OPEN, Purpose.CLOSE):
            self.opened[number] = self.opened.get(number, ZERO) - quantity
        if was_flat and self.counts_trips:
            self.closed_trades.reopen()
        self._note_round_trip()

    def part_of(self, event: PositionChanged, quantity: Decimal, cash: Decimal) -> PositionChanged:
        """Return the part of an account's change that falls on this book: so many units, so much cash."""
        leaves = -self.quantity(event.source) if event.source is not None and event.source_change else ZERO
        return msgspec.structs.replace(
            event, quantity_change=quantity, source_change=leaves, cash_change=cash
        )

    def move(self, event: PositionChanged) -> None:
        """Book the units and the cash of a change that no order caused."""
        number, units = event.instrument_id, event.quantity_change
        held, opened = self.quantity(number), self.opened.get(number, ZERO)
        self.positions.change(event)
        self.account.cash += event.cash_change
        if not units or not opened:
            return
        if event.cause is not ChangeCause.CORPORATE_ACTION:
            self.opened[number] = _towards_zero(opened, units)
        elif held:
            self.opened[number] = opened * (held + units) / held

    def explain(self, event: PositionChanged, worth: Decimal) -> None:
        """Explain a change that is booked, and count the round trip that it ends.

        Parameters
        ----------
        event
            As it was booked by :meth:`move`.
        worth
            Net asset value before it, currency: of a corporate action, whose prices move with the units.
        """
        attribution, cause = self.attribution, event.cause
        if cause is ChangeCause.CORPORATE_ACTION:
            attribution.note_carry(attribution.current_nav() - worth)
        elif cause in ENDED:
            attribution.note_delivery(event.instrument_id, event.price)
            charge = settlement_charge(event, self._instruments[event.instrument_id].multiplier)
            if charge:
                attribution.note_carry(charge)
        elif cause in CARRY:
            attribution.note_carry(event.cash_change)
        elif cause is ChangeCause.TRANSFER:  # money brought or taken away is neither gained nor lost
            attribution.note_transfer(transfer_value(event, self._instruments[event.instrument_id]))
            self.closed_trades.move_cash(event.cash_change)
        if event.quantity_change:
            if cause not in EXERCISED:  # those end with their delivery
                self._note_round_trip()
        elif cause in CARRY and self.counts_trips and not self.positions.held():
            self.closed_trades.move_cash(event.cash_change)  # no trade of its own, nor the next one's

    def _note_round_trip(self) -> None:
        """Count a closed trade when the book is flat: options, hedge and costs from flat to flat."""
        if self.counts_trips and not self.positions.held():
            self.closed_trades.close(self.account.cash)


def _towards_zero(held: Decimal, signed: Decimal) -> Decimal:
    """Return ``held`` after ``signed``, which may reduce it to zero but not reverse it."""
    if not held or (held > 0) == (signed > 0):
        return held
    left = held + signed
    return left if (left > 0) == (held > 0) else ZERO
