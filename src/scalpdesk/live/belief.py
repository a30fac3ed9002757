"""Which positions that a venue shows are believed beside what the run knows: one rule for all who leave.

A list of positions may be old, doubled or empty. Until it has proven itself, no more is closed than the
lesser of what it shows and what the run's books hold: that is right whichever of the two is wrong. What was
executed counts against the list until it has moved. It proves itself by moving with the executions that are
reported, and counts as it is from then on. A list that stands still although orders sent after it were
executed proves nothing; an execution of an earlier order it may have counted.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.venues.contract import VenuePosition

CONFIRM_SECONDS = 0.15
"""A list without books beside it, or that something from outside has moved, is confirmed by an equal one
after so long.
"""
LAG_SECONDS = 10.0
"""A list that does not agree with the executions that were reported is late; after so long it is believed."""
Units = dict[InstrumentId, Decimal]
"""Signed units by instrument."""


class PositionBelief:
    """What an account holds by the venue's lists and the run's books, moved by the executions since.

    ``books``: What the run holds by its own account; None where nothing is known of it.
    """

    def __init__(self, books: Mapping[InstrumentId, Decimal] | None = None) -> None:
        self.books: Units = {} if books is None else _without_zeros(books)
        self.held: Units | None = None
        """What may be closed; None before a list was believed."""
        self.is_proven = False
        """Whether the list counts as it is."""
        self.shown: Units = {}
        """The list shown last."""
        self.has_later = False
        """Whether an order that was sent after the list believed has been executed."""
        self.stands_still = False
        """Whether it is an old one: executions were reported since, and it shows none of them."""
        self._has_books = books is not None
        self._since = 0.0
        """Since when it has been the same; the loop's time."""
        self._reference: tuple[Units, Units] | None = None
        """An earlier list, and the books as they were then."""

    def fill(self, number: InstrumentId, signed: Decimal, *, is_later: bool = True) -> None:
        """Move what is held by an execution; ``is_later``: its order was sent after the list believed."""
        if signed:
            self.has_later = self.has_later or is_later
            self.books[number] = self.books.get(number, ZERO) + signed
            if self.held is not None:
                self.held[number] = self.held.get(number, ZERO) + signed

    def believes(self, positions: Iterable[VenuePosition], now: float) -> bool:
        """Take a list; return whether what may be closed is known by it. ``now`` is the loop's time."""
        shown: Units = {}
        for position in positions:
            if position.instrument_id is not None:
                number = position.instrument_id
                shown[number] = shown.get(number, ZERO) + position.quantity
        shown = _without_zeros(shown)
        if self._reference is None or self.shown != shown:
            self._since = now
        self.shown = shown
        if self._reference is None:
            self._reference = shown, _without_zeros(self.books)
        stood = now - self._since
        if not self._has_books and not self.is_proven:
            if stood < CONFIRM_SECONDS:
                return False
            return self._take(shown, shown, is_proven=True)
        listed, booked = self._reference
        moved = _sum(self.books, booked, -1)
        expected = _sum(listed, moved)
        self.stands_still = stands_still = bool(moved) and self.has_later and shown == listed
        is_late = shown != expected and (stands_still or stood < (LAG_SECONDS if moved else CONFIRM_SECONDS))
        if self.is_proven or (moved and shown == expected):
            return not is_late and self._take(shown, shown, is_proven=True)
        agreed = lesser(lesser(shown, expected) if moved else shown, self.books)
        if shown and not agreed:  # the books know of nothing that is shown
            is_late = stands_still or stood < LAG_SECONDS
            return not is_late and self._take(shown, shown, is_proven=True)
        if is_late:
            self.held = agreed
            return True
        return self._take(shown, agreed, is_proven=False)

    def _take(self, shown: Units, held: Units, *, is_proven: bool) -> bool:
        self._reference = shown, _without_zeros(self.books)
        self.held, self.is_proven, self.has_later = dict(held), is_proven, False
        return True

    def forget(self, numbers: Iterable[InstrumentId]) -> None:
        """Forget what the books hold of instruments that have expired."""
        for number in numbers:
            self.books.pop(number, None)

    def unshown(self) -> Units:
        """Return what the books hold and a list shows nothing of that has not proven itself."""
        if self.is_proven or not self._has_books:
            return {}
        return {each: units for each, units in self.books.items() if units and each not in self.shown}


def _without_zeros(units: Mapping[InstrumentId, Decimal]) -> Units:
    return {number: quantity for number, quantity in units.items() if quantity}


def _sum(
    first: Mapping[InstrumentId, Decimal], second: Mapping[InstrumentId, Decimal], sign: int = 1
) -> Units:
    numbers = dict.fromkeys((*first, *second))
    return _without_zeros({each: first.get(each, ZERO) + sign * second.get(each, ZERO) for each in numbers})


def lesser(shown: Mapping[InstrumentId, Decimal], books: Mapping[InstrumentId, Decimal]) -> Units:
    """Return of each instrument what both hold on the same side."""
    found: Units = {}
    for number, units in shown.items():
        known = books.get(number, ZERO)
        if known * units > 0:
            found[number] = min(units, known, key=abs)
    return found
