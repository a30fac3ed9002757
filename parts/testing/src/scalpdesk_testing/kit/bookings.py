"""Postings by the shortest way: executions, busts and changes in a book, or in its positions alone."""

from decimal import Decimal
from typing import Any

from scalpdesk.base import InstrumentId, Position, Purpose
from scalpdesk.core.events import PositionChanged
from scalpdesk.instruments.postings import of_bust, of_change, of_fill
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.portfolio.sub_books import SubBooks

ZERO = Decimal(0)


def booked(
    positions: PositionManager, number: int, units: Decimal, price: Decimal, name: str, fee: Decimal = ZERO
) -> Position:
    """Book an execution in positions whose cash is kept elsewhere; return the position."""
    terms = InstrumentId(number), units, price, fee, Purpose.HEDGE, name, 1
    positions.apply(of_fill(positions.instruments[terms[0]], *terms))
    return positions.positions[terms[0]]


def apply_change(positions: PositionManager, event: PositionChanged) -> None:
    """Book a change in positions whose cash is kept elsewhere; cash alone needs no listed instrument."""
    number = event.instrument_id if event.quantity_change else InstrumentId(0)
    positions.apply(of_change(positions.instruments[number], event))


def book_fill(books: SubBooks, owner: str, number: InstrumentId, *terms: Any) -> None:
    """Book an owner's execution: units, price, fee, reference, purpose and time."""
    units, price, fee, reference, purpose, now_ns = terms
    instrument = books.instruments[number]
    books.apply(of_fill(instrument, number, units, price, fee, purpose, reference, now_ns, owner))


def book_bust(books: SubBooks, owner: str, reference: str, now_ns: int) -> None:
    """Take an owner's execution back."""
    books.apply(of_bust(books.of(owner).positions.execution(reference), now_ns))


def book_change(books: SubBooks, event: PositionChanged) -> None:
    """Divide a change of the account."""
    posting = of_change(books.instruments[event.instrument_id], event)
    books.apply(posting, more_follow=event.more_follow)
