"""Wash sales: losses that wait for, or find, what replaces them (IRC 1091)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain

from scalpdesk.accounting.disposals import Disposal
from scalpdesk.accounting.law import is_in_wash_window, is_section_1256
from scalpdesk.accounting.lots import Lot
from scalpdesk.core.units import to_cents
from scalpdesk.instruments.contract import Instrument, underlying_of


def _replaced_units(sold: Instrument, lot: Lot, *, is_short: bool) -> Decimal | None:
    """Return how many units of what was sold one unit of a lot replaces; None if it does not.

    The same thing on the same side does, and for a share a bought call: as many shares as it is on.
    """
    if (lot.units < 0) == is_short and lot.instrument.symbol == sold.symbol:
        return Decimal(1)
    other = lot.instrument
    if is_short or lot.units < 0 or not sold.is_share or not other.is_option or not other.is_call:
        return None
    acquires = other.delivers and other.underlying == sold.symbol
    return Decimal(other.deliverable) if acquires else None


@dataclass(slots=True)
class Loss:
    """The part of a loss that nothing has replaced yet."""

    disposal: Disposal
    units: Decimal
    """Unsigned."""
    amount: Decimal
    """Above 0."""
    purchase: str

    def take(self, units: Decimal) -> Decimal:
        """Take the loss of so many units out, to the cent."""
        part = self.amount
        if units < self.units:
            part = to_cents(self.amount * units / self.units)
        self.units -= units
        self.amount -= part
        return part


@dataclass(slots=True)
class WashSales:
    """Losses of the last 30 days, and the lots that may replace them."""

    waiting: dict[str, list[Loss]] = field(default_factory=dict)
    """By symbol of what was sold, the oldest first."""

    def on_loss(self, loss: Loss, open_lots: dict[str, list[Lot]]) -> None:
        """Match a loss with what was acquired in the 30 days before and is still held, earliest first."""
        disposal = loss.disposal
        candidates = (
            (lots, lot)
            for lots in open_lots.values()
            for lot in lots
            if lot.purchase != loss.purchase and is_in_wash_window(disposal.day, lot.acquired)
        )
        for lots, lot in sorted(candidates, key=lambda pair: pair[1].acquired):
            _replace_loss(loss, lots, lot)
        if loss.units:
            self.waiting.setdefault(disposal.instrument.symbol, []).append(loss)

    def on_acquisition(self, lots: list[Lot], lot: Lot) -> None:
        """Let a new lot, the last of its ``lots``, replace the losses that wait, the oldest first."""
        for symbol in dict.fromkeys((lot.instrument.symbol, underlying_of(lot.instrument))):
            losses = self.waiting.pop(symbol, [])
            losses = [each for each in losses if is_in_wash_window(each.disposal.day, lot.acquired)]
            for loss in losses:
                _replace_loss(loss, lots, lot)
            self.waiting[symbol] = [each for each in losses if each.units]

    def rescale(self, symbol: str, factor: Decimal) -> None:
        """Count the units of losses that wait as after a split."""
        for loss in self.waiting.get(symbol, ()):
            loss.units *= factor

    def still_open(self, last: date) -> Iterator[Loss]:
        """Yield losses whose window ends after the last day that is known."""
        for loss in chain.from_iterable(self.waiting.values()):
            if is_in_wash_window(loss.disposal.day, last + timedelta(days=1)):
                yield loss


def _replace_loss(loss: Loss, lots: list[Lot], lot: Lot) -> None:
    """Move a loss into the part of a lot that replaces it; that part becomes a lot of its own."""
    sold = loss.disposal.instrument
    each = _replaced_units(sold, lot, is_short=loss.disposal.is_short)
    if each is None or lot.is_replacement or not lot.units or not loss.units:
        return
    assert not is_section_1256(sold)
    units = min(loss.units, abs(lot.units) * each)
    disposal, amount = loss.disposal, loss.take(units)
    part = lot if units == abs(lot.units) * each else lot.take(units / each)
    if part is not lot:
        lots.insert(next(place for place, other in enumerate(lots) if other is lot), part)
    held = disposal.day - disposal.held_since
    part.cash -= amount
    part.held_since = min(part.held_since, part.acquired - held)
    part.is_replacement = True
    disposal.wash += amount
    disposal.replaced_by.append(part.reference)
