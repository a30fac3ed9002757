"""The accountant: a fold over the day book into disposals, open lots and income. Everything is exact."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

import msgspec

from scalpdesk.accounting.disposals import Disposal, Ending
from scalpdesk.accounting.entries import BookEntry, EntryKind
from scalpdesk.accounting.law import (
    DEFERRED,
    NOT_COMPUTED,
    PUT_BESIDE_NEW,
    PUT_BESIDE_OLD,
    REPLACED,
    SETTLEMENT_DAYS,
    STRADDLE_LOSS,
    STRADDLE_PERIOD,
    WASH_DAYS,
    is_long_term,
    is_section_1256,
    law_text,
)
from scalpdesk.accounting.lots import Chosen, Lot, LotMethod, picks, total_units
from scalpdesk.accounting.wash_sales import Loss, WashSales
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import ZERO, number_text, to_cents
from scalpdesk.instruments.contract import Instrument, underlying_of
from scalpdesk.instruments.sessions import next_session

_YearEndMark = Callable[[str, int], Decimal | None]
"""Price of a unit of a symbol at the end of a year; None where it is not known."""


@dataclass(slots=True)
class Books:
    """What the accountant has found."""

    disposals: list[Disposal] = field(default_factory=list)
    lots_at: dict[int, list[Lot]] = field(default_factory=dict)
    """Open lots at the end of each year."""
    open_lots: list[Lot] = field(default_factory=list)
    flags: list[tuple[int, str]] = field(default_factory=list)
    """What cannot be known from the journals, by year."""


class _AwaitedDelivery(NamedTuple):
    """Options that were exercised or assigned, and wait for their delivery."""

    units: Decimal
    """Signed units of the underlying that are to be delivered."""
    cash: Decimal
    """Of the options."""
    end: BookEntry
    doubts: frozenset[str]

    def at_strike(self) -> Decimal:
        """Return what the delivery is paid with, unsigned."""
        option = self.end.instrument
        assert option.is_option
        return abs(self.end.units) * option.strike * option.multiplier


def keep_books(
    entries: Iterable[BookEntry],
    *,
    until: int,
    method: LotMethod = LotMethod.FIFO,
    chosen: Chosen | None = None,
    marks: _YearEndMark = lambda _symbol, _year: None,
    carried: Iterable[Lot] = (),
    known_until: date = date.min,
) -> Books:
    """Book entries, which come in order of time, and every end of a year up to that of ``until``.

    Entries of later years are booked too: a purchase in January replaces what was sold in December.

    ``until``: Last year whose end is booked.
    ``method``, ``chosen``: The lots that disposals end, and those that were identified.
    ``marks``: Prices of section 1256 contracts at the end of a year.
    ``carried``: Lots that were held before the first entry, in order of their acquisition.
    ``known_until``: Last day of which the day book tells, if it is later than that of the last entry.

    Raises DataError where something is not known that the tables need: lots, a price, a delivery.
    """
    desk = _Accountant(method, chosen or {}, marks, until)
    for lot in carried:
        desk.hold(replace(lot))
    year: int | None = None
    last = date.min
    for entry in entries:
        last = entry.day
        year = last.year if year is None else year
        while year < last.year:
            desk.end_year(year)
            year += 1
        desk.book(entry)
    for ending in range(until if year is None else year, until + 1):
        desk.end_year(ending)
    desk.finish(max(last, known_until))
    return desk.books


class _Accountant:
    def __init__(self, method: LotMethod, chosen: Chosen, marks: _YearEndMark, until: int) -> None:
        self.books = Books()
        self.lots: dict[str, list[Lot]] = {}
        self._method, self._chosen, self._marks, self._until = method, chosen, marks, until
        self._wash = WashSales()
        self._offsets: list[tuple[Disposal, list[Lot]]] = []
        """Losses, with the lots that offset what was sold and were held then."""
        self._premiums: dict[str, list[_AwaitedDelivery]] = {}
        """By underlying."""

    def hold(self, lot: Lot) -> None:
        """Put a lot to the others, and flag what is held together: puts and shares, straddles."""
        new, item = lot, lot.instrument
        self._flag_straddle(new)
        pairs: list[tuple[Lot, Lot]] = []
        if item.is_share:
            pairs = [
                (put, new) for put in chain.from_iterable(self.lots.values()) if _is_put(put, item.symbol)
            ]
        elif _is_put(new, underlying_of(item)):
            pairs = [(new, share) for share in self.lots.get(underlying_of(item), ())]
        for put, share in pairs:
            if share.units < 0:
                continue
            if is_long_term(share.held_since, put.acquired):
                put.doubts |= {PUT_BESIDE_OLD}
            else:
                put.doubts |= {PUT_BESIDE_NEW}
                share.doubts |= {PUT_BESIDE_NEW}
        self.lots.setdefault(item.symbol, []).append(new)

    def _flag_straddle(self, new: Lot) -> None:
        """Flag a new lot and those that it offsets (Reg. 1.1092(b)-2T); of puts and shares 1233 says it."""
        for other in self._offsetting(new):
            other.straddled_until = None
            kinds = {new.instrument.is_share, other.instrument.is_share}
            put = next((lot for lot in (new, other) if lot.instrument.is_option), new)
            if kinds == {True, False} and _is_put(put, underlying_of(put.instrument)):
                continue
            if is_long_term(other.held_since, new.acquired) and other.units > 0:
                new.doubts |= {STRADDLE_LOSS}
            else:
                other.doubts |= {STRADDLE_PERIOD}
            new.doubts |= {STRADDLE_PERIOD}

    def _offsetting(self, lot: Lot) -> list[Lot]:
        """Return the open lots that gain where a lot loses, in one share and its options (IRC 1092(c))."""
        if not _may_straddle(lot.instrument):
            return []
        name = underlying_of(lot.instrument)
        return [
            each
            for lots in self.lots.values()
            for each in lots
            if each.units and each.direction != lot.direction
            if _may_straddle(each.instrument) and underlying_of(each.instrument) == name
        ]

    def _end_straddles(self, entry: BookEntry) -> None:
        """Note which lots nothing offsets any more."""
        if not _may_straddle(entry.instrument):
            return
        name = underlying_of(entry.instrument)
        for lots in self.lots.values():
            for lot in lots:
                is_open = STRADDLE_PERIOD in lot.doubts and lot.straddled_until is None
                if is_open and underlying_of(lot.instrument) == name and not self._offsetting(lot):
                    lot.straddled_until = entry.day

    def book(self, entry: BookEntry) -> None:
        kind = entry.kind
        if kind is EntryKind.HELD:
            self._compare(entry)
        elif kind is EntryKind.RESCALE:
            self._rescale(entry)
        elif kind is EntryKind.CONVERT:
            self._convert(entry)
        elif kind is EntryKind.EXERCISE:
            self._exercise(entry)
        elif kind is EntryKind.DELIVERY:
            premium = self._premium(entry)
            whole = msgspec.structs.replace(entry, cash=entry.cash + premium.cash)
            self._trade(whole, Ending.CLOSED, premium.doubts)
        else:
            endings = {EntryKind.LAPSE: Ending.LAPSED, EntryKind.CASH_SETTLEMENT: Ending.SETTLED}
            self._trade(entry, endings.get(kind, Ending.CLOSED))

    def _convert(self, entry: BookEntry) -> None:
        """Make the lots of the source those of another instrument, and divide its units among them."""
        assert entry.source is not None
        moved = [replace(lot, instrument=entry.instrument) for lot in self.lots.pop(entry.source.symbol, ())]
        self._add_units(moved, entry.units - total_units(moved), entry)
        self.lots.setdefault(entry.instrument.symbol, []).extend(moved)

    def _rescale(self, entry: BookEntry) -> None:
        lots = self.lots.get(entry.instrument.symbol, [])
        self._wash.rescale(entry.instrument.symbol, self._add_units(lots, entry.units, entry))

    @staticmethod
    def _add_units(lots: list[Lot], units: Decimal, entry: BookEntry) -> Decimal:
        """Add units to lots in proportion, the last one takes what division leaves; return the factor."""
        held, left = total_units(lots), units
        if not held:
            raise _unknown_lots(entry, units)
        for lot in lots:
            more = left if lot is lots[-1] else units * lot.units / held
            left -= more
            lot.units += more
        return (held + units) / held

    def _trade(self, entry: BookEntry, ending: Ending, doubts: frozenset[str] = frozenset()) -> None:
        """End lots of the other side, then open one with what is left."""
        lots = self.lots.setdefault(entry.instrument.symbol, [])
        rest = Lot(
            instrument=entry.instrument,
            units=entry.units,
            cash=entry.cash,
            acquired=entry.day,
            held_since=entry.day,
            reference=entry.reference,
            purchase=entry.purchase or entry.reference,
            doubts=doubts,
        )
        opposite = [lot for lot in lots if (lot.units > 0) != (entry.units > 0)]
        losses = []
        for lot, units in picks(opposite, abs(entry.units), self._method, self._chosen, entry.reference):
            losses += self._end(lot.take(units), rest.take(units).cash, entry, ending)
        lots[:] = [lot for lot in lots if lot.units]
        self._end_straddles(entry)
        if rest.units:
            if ending is not Ending.CLOSED:
                raise _unknown_lots(entry, rest.units)
            self.hold(rest)
        for loss in losses:  # once all lots of the sale are off: what was sold with it replaces nothing
            self._wash.on_loss(loss, self.lots)
        if rest.units and not is_section_1256(entry.instrument):
            self._wash.on_acquisition(lots, rest)

    def _end(self, part: Lot, cash: Decimal, entry: BookEntry, ending: Ending) -> list[Loss]:
        """Note a disposal; return its loss, where a wash sale could disallow it."""
        disposal = Disposal(
            instrument=part.instrument,
            units=part.units,
            opened=part.acquired,
            held_since=part.held_since,
            day=entry.day,
            recognised=entry.day,
            opened_for=part.cash,
            closed_for=cash,
            ending=ending,
            lot=part.reference,
            reference=entry.reference,
            doubts=part.doubts,
            straddled_until=part.straddled_until,
        )
        if disposal.is_short and part.instrument.is_share and disposal.result < 0:
            disposal.recognised = _settlement_day(entry.day)
        self.books.disposals.append(disposal)
        if disposal.result >= 0 or disposal.is_section_1256:
            return []
        if offsets := self._offsetting(part):
            self._offsets.append((disposal, offsets))
        return [Loss(disposal, abs(part.units), -disposal.result, part.purchase)]

    def _exercise(self, entry: BookEntry) -> None:
        """Take the option's lots off; their cash waits for the delivery of the underlying."""
        option = entry.instrument
        assert option.is_option
        lots = self.lots.get(option.symbol, [])
        if abs(total_units(lots)) < abs(entry.units) or (lots and (lots[0].units > 0) == (entry.units > 0)):
            raise _unknown_lots(entry, entry.units + total_units(lots))
        cash, doubts = ZERO, frozenset[str]()
        for lot, units in picks(lots, abs(entry.units), self._method, self._chosen, entry.reference):
            cash += lot.take(units).cash
            if option.is_call and lot.held_since < lot.acquired:
                doubts = frozenset({REPLACED})
        lots[:] = [lot for lot in lots if lot.units]
        self._end_straddles(entry)
        delivered = -entry.units * (1 if option.is_call else -1) * option.deliverable
        premium = _AwaitedDelivery(delivered, cash + entry.cash, entry, doubts)
        self._premiums.setdefault(underlying_of(option), []).append(premium)

    def _premium(self, entry: BookEntry) -> _AwaitedDelivery:
        """Return the options that a delivery comes from: the same units at the nearest strike."""
        waiting = self._premiums.get(underlying_of(entry.instrument), [])
        same = [each for each in waiting if each.units == entry.units]
        if not same:
            raise DataError(
                "units were delivered, and no option of them was exercised or assigned before",
                where=entry.reference,
                value=f"{number_text(entry.units)} {entry.instrument.symbol}",
                fix="name the run in which the option was traded too, or its lot in --carry FILE",
            )
        found = min(same, key=lambda each: abs(abs(entry.cash) - each.at_strike()))
        waiting.remove(found)
        return found

    def _compare(self, entry: BookEntry) -> None:
        """Refuse holdings of a run's beginning that no lot explains."""
        known = total_units(self.lots.get(entry.instrument.symbol, ()))
        if known != entry.units:
            raise DataError(
                f"a run begins with {number_text(entry.units)}, the lots known before it are"
                f" {number_text(known)}",
                where=entry.instrument.symbol,
                fix="name the earlier runs too, or give the lots in --carry FILE",
            )

    def end_year(self, year: int) -> None:
        """Mark section 1256 contracts to market, and keep what is open."""
        if year > self._until:
            return
        for lots in self.lots.values():
            for lot in lots:
                if is_section_1256(lot.instrument):
                    self._mark(lot, year)
        for disposal, offsets in self._offsets:
            if disposal.recognised.year == year and any(lot.units for lot in offsets):
                disposal.doubts |= {DEFERRED}
        everything = list(chain.from_iterable(self.lots.values()))
        self.books.lots_at[year] = [replace(lot) for lot in everything]

    def _mark(self, lot: Lot, year: int) -> None:
        symbol = lot.instrument.symbol
        price = self._marks(symbol, year)
        if price is None:
            raise DataError(
                f"a section 1256 contract is held over the end of {year}, and its price then is not known",
                where=symbol,
                fix=f"give it in --marks FILE: a line {year},{symbol},PRICE below year,symbol,price",
            )
        day, worth = date(year, 12, 31), lot.instrument.value(lot.units, price)
        self.books.disposals.append(
            Disposal(
                instrument=lot.instrument,
                units=lot.units,
                opened=lot.acquired,
                held_since=lot.held_since,
                day=day,
                recognised=day,
                opened_for=lot.cash,
                closed_for=worth,
                ending=Ending.MARKED,
                lot=lot.reference,
                reference=f"mark-{year}",
            )
        )
        lot.cash = -worth

    def finish(self, last: date) -> None:
        """Refuse what has no end, and flag what later days decide."""
        for waiting in self._premiums.values():
            for each in waiting:
                raise DataError(
                    "an option was exercised or assigned, and its delivery is in no journal",
                    where=each.end.reference,
                    value=f"{number_text(each.units)} {underlying_of(each.end.instrument)}",
                    fix="name the run in which the delivery was booked too",
                )
        books = self.books
        books.open_lots = list(chain.from_iterable(self.lots.values()))
        books.flags += _open_windows(self._wash.still_open(last))
        for year, lots in books.lots_at.items():
            books.flags += [(year, flag) for flag in straddles(books.disposals, lots, year)]
            books.flags += [(year, flag) for flag in _doubtful_terms(books.disposals, lots, year)]


def _may_straddle(instrument: Instrument) -> bool:
    """Return whether it is a share, or an option that delivers one."""
    return instrument.is_share or (
        instrument.is_option and instrument.delivers and not instrument.is_on_future
    )


def _is_put(lot: Lot, symbol: str) -> bool:
    """Return whether a lot is of bought puts that deliver a share."""
    item = lot.instrument
    return (
        item.is_option and not item.is_call and item.delivers and lot.units > 0 and item.underlying == symbol
    )


def _open_windows(losses: Iterable[Loss]) -> Iterator[tuple[int, str]]:
    """Yield a flag for each year and symbol with losses that a later purchase would still disallow."""
    amounts: dict[tuple[int, str], Decimal] = {}
    ends: dict[tuple[int, str], date] = {}
    for loss in losses:
        key = loss.disposal.recognised.year, loss.disposal.instrument.symbol
        amounts[key] = amounts.get(key, ZERO) + loss.amount
        ends[key] = loss.disposal.day + timedelta(days=WASH_DAYS)
    for (year, symbol), amount in amounts.items():
        until = ends[year, symbol]
        yield year, f"wash sale open: {symbol} bought up to {until} disallows losses, now {to_cents(amount)}"


def straddles(disposals: Iterable[Disposal], lots: Iterable[Lot], year: int) -> list[str]:
    """Return a flag for each underlying with losses in a year and something open at its end (IRC 1092)."""
    held = {underlying_of(lot.instrument) for lot in lots if not is_section_1256(lot.instrument)}
    lost = {
        underlying_of(each.instrument)
        for each in disposals
        if each.recognised.year == year and each.gain < 0 and not each.is_section_1256
    }
    return [
        f"straddle: {symbol} had losses in {year}, and a position is open at its end: IRC 1092 may defer them"
        for symbol in sorted(held & lost)
    ]


def _doubtful_terms(disposals: Iterable[Disposal], lots: Iterable[Lot], year: int) -> list[str]:
    """Return a flag for each rule that is not computed and each instrument whose term it may change."""
    found = {
        (law, each.instrument.symbol)
        for each in disposals
        if each.recognised.year == year
        for law in each.term_doubts
    }
    found |= {(law, lot.instrument.symbol) for lot in lots for law in lot.doubts}
    return [f"{law_text(law)}, not computed: {symbol}: {NOT_COMPUTED[law]}" for law, symbol in sorted(found)]


def _settlement_day(traded: date) -> date:
    """Return the day on which a trade in shares settles.

    >>> _settlement_day(date(2024, 12, 31)), _settlement_day(date(2023, 12, 29))
    (datetime.date(2025, 1, 2), datetime.date(2024, 1, 3))
    """
    days = next(count for since, count in SETTLEMENT_DAYS if traded >= since)
    for _ in range(days):
        traded = next_session(traded).day
    return traded


def _unknown_lots(entry: BookEntry, units: Decimal) -> DataError:
    return DataError(
        f"{number_text(abs(units))} of {number_text(abs(entry.units))} units ended by {entry.kind.value}"
        " have no lot",
        where=entry.instrument.symbol,
        value=entry.reference,
        fix="name the run in which they were traded too, or give their lots in --carry FILE",
    )


def by_symbol(marks: Mapping[tuple[int, str], Decimal]) -> _YearEndMark:
    """Return year-end prices of a table by year and symbol."""
    return lambda symbol, year: marks.get((year, symbol))
