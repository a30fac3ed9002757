"""Postings by the shortest way: executions, busts and changes in a book, or in its positions alone."""

from decimal import Decimal

from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.postings import of_bust, of_change, of_fill
from scalpdesk.portfolio.positions import Position, PositionManager
from scalpdesk.portfolio.sub_books import SubBooks

ZERO = Decimal(0)


def booked(
    positions: PositionManager,
    number: int,
    units: Decimal,
    price: Decimal,
    reference: str,
    *,
    fee: Decimal = ZERO,
) -> Position:
    """Book an execution in positions whose cash is kept elsewhere; return the position."""
    held = InstrumentId(number)
    terms = held, units, price, fee, Purpose.HEDGE, reference, 1
    positions.apply(of_fill(positions.instruments[held], *terms))
    return positions.positions[held]


def apply_change(positions: PositionManager, event: PositionChanged) -> None:
    """Book a change in positions whose cash is kept elsewhere; nothing need be listed for cash alone."""
    instrument = positions.instruments[InstrumentId(0) if not event.quantity_change else event.instrument_id]
    positions.apply(of_change(instrument, event))


def book_fill(
    books: SubBooks,
    owner: str,
    number: int,
    units: Decimal,
    price: Decimal,
    fee: Decimal,
    reference: str,
    purpose: Purpose,
    now_ns: int,
) -> None:
    """Book an owner's execution."""
    held = InstrumentId(number)
    books.apply(of_fill(books.instruments[held], held, units, price, fee, purpose, reference, now_ns, owner))


def book_bust(books: SubBooks, owner: str, reference: str, now_ns: int) -> None:
    """Take an owner's execution back."""
    books.apply(of_bust(books.of(owner).positions.execution(reference), now_ns))


def book_change(books: SubBooks, event: PositionChanged) -> None:
    """Divide a change of the account."""
    posting = of_change(books.instruments[event.instrument_id], event)
    books.apply(posting, more_follow=event.more_follow)
