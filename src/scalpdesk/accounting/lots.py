"""Lots: what was acquired or sold short at once, and the choice of those that a disposal ends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import ZERO, money_decimals, to_cents
from scalpdesk.instruments.contract import Instrument


class LotMethod(StrEnum):
    """Which lots a disposal ends first."""

    FIFO = "fifo"
    HIGHEST_COST = "highest-cost"
    """The highest cost, of short sales the lowest proceeds: the smallest gain."""
    SPECIFIC = "specific"
    """As identified; what is not identified, first in, first out."""


@dataclass(slots=True, kw_only=True)
class Lot:
    """Open units of one acquisition or short sale."""

    instrument: Instrument
    units: Decimal
    """Signed."""
    cash: Decimal
    """What opening moved, disallowed losses taken off: minus the cost, or the proceeds of a short sale."""
    acquired: date
    held_since: date
    """Beginning of the holding period: earlier than ``acquired`` after a wash sale."""
    reference: str
    purchase: str
    is_replacement: bool = False
    """Whether a disallowed loss has gone to it: each share replaces once."""
    doubts: frozenset[str] = frozenset()
    """Sections of the law by which its holding period may be another one."""
    straddled_until: date | None = None
    """When the last position that offset it ended; None while one is held, or none ever was."""

    @property
    def direction(self) -> int:
        """Whether it gains when the underlying rises: 1, or −1."""
        sign = 1 if self.units > 0 else -1
        return -sign if self.instrument.is_option and not self.instrument.is_call else sign

    def take(self, units: Decimal) -> "Lot":
        """Take a part off (unsigned units); its cash is to the cent, and the rest stays in the lot."""
        signed = units if self.units > 0 else -units
        if signed == self.units:
            part = replace(self)
        else:
            least = Decimal(1).scaleb(-money_decimals(self.instrument.currency))
            cash = to_cents(self.cash * signed / self.units, least)
            part = replace(self, units=signed, cash=cash)
        self.units -= part.units
        self.cash -= part.cash
        return part


Chosen = Mapping[str, Sequence[tuple[str, Decimal]]]
"""By disposal the lots that were identified, each with its units."""


def in_order(lots: Iterable[Lot], method: LotMethod) -> list[Lot]:
    """Return lots in the order in which a disposal ends them; ``lots`` are in order of their acquisition."""
    if method is LotMethod.HIGHEST_COST:
        return sorted(lots, key=lambda lot: lot.cash / abs(lot.units))
    return list(lots)


def picks(
    lots: Sequence[Lot], units: Decimal, method: LotMethod, chosen: Chosen, disposal: str
) -> Iterator[tuple[Lot, Decimal]]:
    """Yield the lots that a disposal of so many unsigned units ends, each with its units.

    Raises DataError when an identified lot is not open, or holds less.
    """
    left = units
    if method is LotMethod.SPECIFIC:
        for name, wanted in _named(chosen, disposal):
            for lot, part in _identified(lots, name, min(wanted, left), disposal):
                left -= part
                yield lot, part
    for lot in in_order(lots, method):
        part = min(left, abs(lot.units))
        if part:
            left -= part
            yield lot, part


def _identified(
    lots: Sequence[Lot], name: str, units: Decimal, disposal: str
) -> Iterator[tuple[Lot, Decimal]]:
    left = units
    for lot in lots:
        if _is_named(lot.reference, name) and (part := min(left, abs(lot.units))):
            left -= part
            yield lot, part
    if left:
        raise DataError(
            f"the identified lot has {units - left} of {units} units open at this disposal",
            where=f"--specific, disposal {disposal}",
            value=name,
            fix="name a lot of the same instrument that is open then, by its execution id",
        )


def _named(chosen: Chosen, disposal: str) -> Sequence[tuple[str, Decimal]]:
    return next((rows for name, rows in chosen.items() if _is_named(disposal, name)), ())


def _is_named(reference: str, name: str) -> bool:
    return reference == name or reference.endswith(f"/{name}")


def total_units(lots: Iterable[Lot]) -> Decimal:
    """Return the signed units of lots."""
    return sum((lot.units for lot in lots), ZERO)
