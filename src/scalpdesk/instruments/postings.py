"""Postings: what a fill, a bust or a change without an order does to a book, as values.

A posting has one owner, so what its owners hold and have earned sums to the account. Positions, cash by
currency, lots, round trips and the tables of a run are folds over postings.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import AccountSnapshot, PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument

UNASSIGNED = ""
"""Owner of what belongs to no strategy."""
CORPORATE_ACTION = ChangeCause.CORPORATE_ACTION  # looking up an enum's member costs as much as a call
OF_HOLDERS = frozenset({ChangeCause.DIVIDEND, ChangeCause.FUNDING})
"""Causes whose cash goes with the holdings."""
WHOLE = Decimal(1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Origin(StrEnum):
    """Begins the reference of a booking that comes from the venue, before the venue's id of it."""

    FOREIGN_FILL = "foreign-"
    """Execution of the account that no order of the desk has."""
    ACTIVITY = "activity-"
    """Line of the venue's history beside executions."""
    LATE_FEE = "fee/"
    """What the venue charged otherwise than was booked with an execution.

    Before a date: of what a venue that charges by the day charged otherwise for the trades of that day.
    """

    @classmethod
    def fee_day(cls, reference: str) -> str:
        """Return the date, ``2024-03-01``, whose trades a reference corrects the fees of; else nothing."""
        day = reference.removeprefix(cls.LATE_FEE)
        return day if day != reference and _DAY.fullmatch(day) else ""


class Posting(msgspec.Struct, frozen=True, gc=False):
    """Signed units of an instrument, and the cash that moves with them in the instrument's currency."""

    owner: str
    """Strategy, or :data:`UNASSIGNED`."""
    instrument_id: InstrumentId
    units: Decimal
    """Signed contracts, shares or coins; 0 for cash alone."""
    price: Decimal
    """Price at which a unit is booked: the cost of the units is their value at it."""
    cash: Decimal
    """Signed, in the instrument's currency."""
    income: Decimal
    """Cash beyond the value of the units: a dividend, funding; negative for a fee."""
    cause: Purpose | ChangeCause
    """Purpose of the order that was filled; otherwise why units or cash moved."""
    reference: str
    """Unique, except that a bust has the reference of what it takes back."""
    ts_ns: int
    """When the desk knew it, UTC nanoseconds."""
    source: InstrumentId | None = None
    """Instrument out of which the units come with part of its cost, in a conversion; else None."""
    source_units: Decimal = ZERO
    """Signed units that leave the source; a split changes only ``units``."""
    cost_fraction: Decimal = WHOLE
    """Part of the source's cost that goes with the units."""


def of_fill(
    instrument: Instrument,
    number: InstrumentId,
    units: Decimal,
    price: Decimal,
    fee: Decimal,
    purpose: Purpose,
    reference: str,
    ts_ns: int,
    owner: str = UNASSIGNED,
) -> Posting:
    """Return the posting of an execution: signed units, what they cost, and a fee (currency)."""
    cash = -instrument.value(units, price) - fee
    return Posting(owner, number, units, price, cash, -fee, purpose, reference, ts_ns)


def of_bust(posting: Posting, ts_ns: int) -> Posting:
    """Return the posting that takes an execution back, its fee with it.

    A busted trade owes no fees: clearing fees fall only on trades that clear, and a broker's ledger turns
    the whole line round.
    """
    units, cash, income = -posting.units, -posting.cash, -posting.income
    cause, reference = ChangeCause.BUST, posting.reference
    return Posting(
        posting.owner, posting.instrument_id, units, posting.price, cash, income, cause, reference, ts_ns
    )


def of_late_fee_gone(late: Posting, ts_ns: int) -> Posting:
    """Return the posting that takes the late fee of a busted execution back."""
    reference = f"{late.reference}/busted"
    return msgspec.structs.replace(
        late, cash=-late.cash, income=-late.income, reference=reference, ts_ns=ts_ns
    )


def of_change(instrument: Instrument, change: PositionChanged, owner: str = UNASSIGNED) -> Posting:
    """Return the posting of a change that no order caused.

    A corporate action without a price and cash changes the units of a holding and not its cost.
    """
    number, units, price = change.instrument_id, change.quantity_change, change.price
    source, cash = change.source, change.cash_change
    income = cash
    if source is None and units and change.cause is CORPORATE_ACTION and not (price or cash):
        source = number
    if source is None and units:
        income += instrument.value(units, price)
    return Posting(
        owner,
        number,
        units,
        price,
        cash,
        income,
        change.cause,
        change.reference,
        change.ts_recv_ns,
        source,
        change.source_change,
        change.cost_fraction,
    )


def of_snapshot(snapshot: AccountSnapshot) -> Iterator[Posting]:
    """Yield the postings of what an account holds when a run begins, at its average prices."""
    for line in snapshot.positions:
        yield of_holding(line.instrument_id, line.quantity, line.average_price, snapshot.ts_recv_ns)


def of_holding(number: InstrumentId, units: Decimal, price: Decimal, ts_ns: int) -> Posting:
    """Return the posting of units that an account begins with, at their average price."""
    terms = ZERO, ZERO, ChangeCause.TRANSFER, f"snapshot-{number}", ts_ns
    return Posting(UNASSIGNED, number, units, price, *terms)


def part_of(posting: Posting, instrument: Instrument, owner: str, units: Decimal, cash: Decimal) -> Posting:
    """Return an owner's part of a posting: so many units, so much cash; of a conversion see ``source``."""
    income = cash
    if posting.source is None and units:
        income += instrument.value(units, posting.price)
    return msgspec.structs.replace(posting, owner=owner, units=units, cash=cash, income=income)
