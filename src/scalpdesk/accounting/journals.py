"""The day book of runs: their journals read in order of time, each execution and booking once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from scalpdesk.accounting.entries import BookEntry, EntryKind, Income
from scalpdesk.core.enums import CARRY, ENDED, EXERCISED, ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import (
    AccountSnapshot,
    Event,
    FillBusted,
    OrderAccepted,
    OrderFilled,
    PositionChanged,
    UnmatchedOrderEvent,
)
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder
from scalpdesk.core.units import ZERO, InstrumentId, run_currency
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.postings import Origin
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.reader import JournalReader, Step


@dataclass(slots=True)
class _DayBook:
    """What runs did that an accountant books, in order of time."""

    entries: list[BookEntry] = field(default_factory=list)
    income: list[Income] = field(default_factory=list)
    marks: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    """Last settlement price of a future in a year, by year and symbol."""
    unread: list[str] = field(default_factory=list)
    """Executions of orders that no run knows."""
    known_until: date = date.min
    """Day of the last event."""


@dataclass(slots=True)
class JournalFill:
    """An execution as a run has it, with the fee that was reported at last."""

    instrument: Instrument
    order: str
    execution: str
    ts_ns: int
    units: Decimal
    price: Decimal
    fee: Decimal
    venue_order: str = ""
    """The order's id at the venue; empty where no message of the run names it."""

    def entry(self) -> BookEntry:
        """Return its line in the day book."""
        return BookEntry(
            instrument=self.instrument,
            ts_ns=self.ts_ns,
            units=self.units,
            cash=-self.instrument.value(self.units, self.price) - self.fee,
            reference=f"{self.order}/{self.execution}",
            purchase=self.order,
        )


class JournalChange(NamedTuple):
    """What a run booked without an order."""

    instrument: Instrument
    event: PositionChanged
    source: Instrument | None


Key = tuple[str, str, str, int]


@dataclass(slots=True)
class JournalLines:
    """What one run, or several in order of time, have of an account."""

    fills: dict[Key, JournalFill] = field(default_factory=dict)
    changes: dict[Key, JournalChange] = field(default_factory=dict)
    held: dict[Key, BookEntry] = field(default_factory=dict)
    """What a run begins with: of every instrument, nothing too."""
    cash: Decimal | None = None
    """Cash that the first run begins with; None where it does not say."""
    currency: str = "USD"
    """Of that cash."""
    unread: dict[str, str] = field(default_factory=dict)
    """Executions of orders that no run knows, and why each was not read."""
    last_ns: int = 0


class _RunBook:
    """The lines of one run, from its steps."""

    def __init__(self, venue: str, instruments: Sequence[Instrument]) -> None:
        self.lines = JournalLines()
        self.busted: set[tuple[str, str, str]] = set()
        """Executions of earlier runs that were taken back in this one."""
        self._references: set[str] = set()
        self._has_begun = False
        self._venue, self._instruments = venue, instruments
        self._orders: dict[str, tuple[InstrumentId, int]] = {}
        self._venue_orders: dict[str, str] = {}
        self._executions: dict[tuple[str, str], Key] = {}

    def read(self, steps: Iterable[Step]) -> None:
        """Read the steps of a journal."""
        for events, outputs in steps:
            for event in events:
                self._on_event(event)
            self.lines.last_ns = events[-1].ts_recv_ns
            for output in outputs:
                if isinstance(output, SubmitOrder):
                    self._orders[output.client_order_id] = output.instrument_id, output.side.sign
                elif isinstance(output, MultiLegOrder):
                    for leg in output.legs:
                        self._orders[leg.client_order_id] = leg.instrument_id, leg.side.sign
        for fill in self.lines.fills.values():
            fill.venue_order = self._venue_orders.get(fill.order, "")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, OrderFilled):
            self._on_fill(event)
        elif isinstance(event, OrderAccepted):
            self._venue_orders[event.client_order_id] = event.venue_order_id
        elif isinstance(event, FillBusted):
            key = self._executions.pop((event.client_order_id, event.execution_id), None)
            if key is None:
                self.busted.add((self._venue, event.client_order_id, event.execution_id))
            else:
                del self.lines.fills[key]
        elif isinstance(event, PositionChanged):
            self._on_change(event)
        elif isinstance(event, AccountSnapshot):
            self._on_snapshot(event)
        elif isinstance(event, UnmatchedOrderEvent) and isinstance(event.event, OrderFilled):
            filled = event.event
            self.lines.unread[f"{filled.client_order_id}/{filled.execution_id}"] = event.why

    def _on_fill(self, event: OrderFilled) -> None:
        name = event.client_order_id, event.execution_id
        if name in self._executions:
            return
        if event.client_order_id not in self._orders:
            self.lines.unread["/".join(name)] = "an execution of an order that the run did not send"
            return
        number, sign = self._orders[event.client_order_id]
        key = self._venue, *name, event.ts_event_ns
        self._executions[name] = key
        self.lines.fills[key] = JournalFill(
            self._instruments[number], *name, event.ts_event_ns, sign * event.quantity, event.price, event.fee
        )

    def _on_change(self, event: PositionChanged) -> None:
        if event.reference in self._references:
            return
        self._references.add(event.reference)
        if self._is_late_fee(event):
            return
        source = None if event.source is None else self._instruments[event.source]
        key = self._venue, "", event.reference, event.ts_event_ns
        self.lines.changes[key] = JournalChange(self._instruments[event.instrument_id], event, source)

    def _is_late_fee(self, event: PositionChanged) -> bool:
        """Put a fee that was reported late into its execution; return whether that is known."""
        if event.cause is not ChangeCause.FEE or not event.reference.startswith(Origin.LATE_FEE):
            return False
        execution = event.reference.removeprefix(Origin.LATE_FEE)
        key = next((key for name, key in self._executions.items() if name[1] == execution), None)
        if key is not None:
            self.lines.fills[key].fee -= event.cash_change
        return key is not None

    def _on_snapshot(self, event: AccountSnapshot) -> None:
        if self._has_begun:
            return
        self._has_begun, self.lines.cash = True, event.cash
        held = {line.instrument_id: line.quantity for line in event.positions}
        for number, instrument in enumerate(self._instruments):
            self.lines.held[self._venue, "", f"held-{instrument.symbol}", event.ts_event_ns] = BookEntry(
                instrument=instrument,
                ts_ns=event.ts_event_ns,
                units=held.get(InstrumentId(number), ZERO),
                kind=EntryKind.HELD,
                reference="account",
            )


def _entry_of_change(instrument: Instrument, event: PositionChanged, source: Instrument | None) -> BookEntry:
    """Return the line of units that moved without an order."""
    cause, kind = event.cause, EntryKind.TRADE
    if event.source is not None and event.cost_fraction != 1:
        raise DataError(
            "a part of a position's cost went to another one: which part, its issuer's notice says",
            where=instrument.symbol,
            value=event.reference,
            fix="begin after it: give the lots that were held then in --carry FILE",
        )
    if cause is ChangeCause.TRANSFER and event.quantity_change:
        raise DataError(
            "units were moved in or out of the account: their cost and their day are not in the journal",
            where=instrument.symbol,
            value=event.reference,
            fix="begin after it: give the lots that were held then in --carry FILE",
        )
    if cause in EXERCISED:
        kind = EntryKind.EXERCISE
    elif cause is ChangeCause.DELIVERY:
        kind = EntryKind.DELIVERY
    elif cause in ENDED:
        kind = EntryKind.LAPSE if cause is ChangeCause.EXPIRED_WORTHLESS else EntryKind.CASH_SETTLEMENT
    elif cause is ChangeCause.CORPORATE_ACTION and not (event.price or event.cash_change):
        kind = EntryKind.RESCALE if source in {None, instrument} else EntryKind.CONVERT
    return BookEntry(
        instrument=instrument,
        ts_ns=event.ts_event_ns,
        units=event.quantity_change,
        cash=event.cash_change,
        kind=kind,
        reference=event.reference,
        source=source,
    )


def _run_book(reader: JournalReader) -> _RunBook:
    """Return the lines of one run."""
    header = reader.header
    found = _RunBook(header.venue, header.instruments)
    found.read(reader.steps())
    found.lines.currency = run_currency(header.config)
    begins_with = header.config.get("simulation", {}).get("starting_cash")
    if found.lines.cash is None and header.venue == "simulated" and begins_with is not None:
        found.lines.cash = Decimal(str(begins_with))  # a backtest that holds nothing shows no account
    return found


def read_lines(folders: Iterable[Path]) -> JournalLines:
    """Return the lines of runs, read in order of time. Raises JournalError when a journal is damaged."""
    return together(
        map(_run_book, sorted(map(JournalReader, folders), key=lambda each: each.header.started_ns))
    )


def read_day_book(folders: Iterable[Path]) -> _DayBook:
    """Return the day book of runs, read in order of time.

    Raises DataError when a journal holds something whose cost cannot be known. Raises JournalError when a
    journal is damaged.
    """
    return _day_book(read_lines(folders))


def together(runs: Iterable[_RunBook]) -> JournalLines:
    """Put the lines of runs together, which come in order of their start.

    What two runs have, such as an execution that a resumed run reads again, counts once.
    """
    found, known = JournalLines(), set[str]()
    for number, run in enumerate(runs):
        found.fills = run.lines.fills | found.fills
        found.changes = run.lines.changes | found.changes
        found.held = run.lines.held | found.held
        if number == 0:
            found.cash, found.currency = run.lines.cash, run.lines.currency
        found.unread |= run.lines.unread
        known.update(f"{fill.order}/{fill.execution}" for fill in run.lines.fills.values())
        found.last_ns = max(found.last_ns, run.lines.last_ns)
        for key in [key for key in found.fills if key[:3] in run.busted]:
            del found.fills[key]
    # a resumed run reads executions of the run before it again
    found.unread = {name: why for name, why in found.unread.items() if name not in known}
    return found


def _day_book(lines: JournalLines) -> _DayBook:
    """Return the lines of runs as an accountant books them."""
    unread = [f"{name}: {why}" for name, why in lines.unread.items()]
    book = _DayBook(unread=unread, known_until=to_new_york(lines.last_ns).date())
    book.entries = [*lines.held.values(), *(fill.entry() for fill in lines.fills.values())]
    for change in sorted(lines.changes.values(), key=lambda each: each.event.ts_event_ns):
        _book(change, book)
    book.entries.sort(key=lambda each: (each.ts_ns, _RANKS.get(each.kind, 1)))
    book.income = [line for line in book.income if line.cash]
    return book


def _book(change: JournalChange, book: _DayBook) -> None:
    """Put what was booked without an order where it belongs: marks, income or entries."""
    instrument, event, source = change
    day = to_new_york(event.ts_event_ns).date()
    if event.cause is ChangeCause.VARIATION:
        book.marks[day.year, instrument.symbol] = event.price
    elif event.quantity_change or source is not None:
        book.entries.append(_entry_of_change(instrument, event, source))
    elif event.cause in CARRY or event.cause is ChangeCause.CORPORATE_ACTION:
        book.income.append(Income(instrument.symbol, day, event.cause.value, event.cash_change))


_RANKS = {EntryKind.HELD: 0, EntryKind.DELIVERY: 2}
"""At one instant: what a run begins with comes before all else, an option ends before its delivery."""
