"""Laws of the accountant's lots, for any trades."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.accounting.accountant import by_symbol, keep_books
from scalpdesk.accounting.entries import BookEntry
from scalpdesk.accounting.lots import LotMethod
from scalpdesk.core.units import DAY_NS, ZERO
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.futures import future_contract
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.portfolio.positions import FifoLots

pytestmark = pytest.mark.second

D = Decimal
SPY, KO, CALL = Equity("SPY"), Equity("KO"), us_option("KO260116C00070000", ["KO"])
INDEX, FUTURE = us_option("SPX260116C05000000"), future_contract("ES_202603")
FIRST = date(2023, 11, 1)
MARKS = by_symbol({(year, each.symbol): D(year) for each in (INDEX, FUTURE) for year in range(2023, 2027)})
cents = st.integers(1, 20_000).map(lambda cents: D(cents) / 100)
fees = st.integers(-20, 200).map(lambda cents: D(cents) / 100)
units = st.integers(-9, 9).filter(bool).map(D)


@st.composite
def day_books(draw, instruments=(SPY, KO, CALL, INDEX, FUTURE), fee=fees, size=30):
    entries, day = [], 0
    for number in range(draw(st.integers(0, size))):
        day += draw(st.sampled_from((0, 1, 9, 31, 200)))
        instrument, quantity = draw(st.sampled_from(instruments)), draw(units)
        entries.append(
            BookEntry(
                instrument=instrument,
                ts_ns=at(FIRST + timedelta(days=day)) + number,
                units=quantity,
                cash=-instrument.value(quantity, draw(cents)) - draw(fee),
                reference=f"o{number}/x",
            )
        )
    return [entry for entry in entries if entry.day.year <= 2026]


def at(day):
    return to_ns(datetime(day.year, day.month, day.day, 17, tzinfo=UTC))


def flattened(entries):
    """The same day book, and at its end all is closed at 10."""
    held = {}
    for entry in entries:
        held[entry.instrument] = held.get(entry.instrument, ZERO) + entry.units
    last = max((entry.ts_ns for entry in entries), default=at(FIRST))
    return entries + [
        BookEntry(
            instrument=each,
            ts_ns=last + 1,
            units=-quantity,
            cash=each.value(quantity, D(10)),
            reference=f"end/{each.symbol}",
        )
        for each, quantity in held.items()
        if quantity
    ]


def books_of(entries, method=LotMethod.FIFO, until=2026):
    return keep_books(entries, until=until, method=method, marks=MARKS)


methods = st.sampled_from((LotMethod.FIFO, LotMethod.HIGHEST_COST))


@given(day_books(), methods)
def test_gains_and_open_lots_come_to_the_cash_that_moved(entries, method):
    books = books_of(entries, method)
    worth = {lot.instrument: ZERO for lot in books.open_lots}
    for lot in books.open_lots:
        worth[lot.instrument] += lot.units
    recognised = sum((each.gain for each in books.disposals), ZERO)
    assert recognised + sum((lot.cash for lot in books.open_lots), ZERO) == sum(
        (entry.cash for entry in entries), ZERO
    )
    for instrument in {entry.instrument for entry in entries}:
        moved = sum((entry.units for entry in entries if entry.instrument == instrument), ZERO)
        assert worth.get(instrument, ZERO) == moved


@given(day_books().map(flattened))
def test_once_flat_the_total_is_that_of_every_method(entries):
    totals = {sum((each.gain for each in books_of(entries, method).disposals), ZERO) for method in LotMethod}
    assert totals == {sum((entry.cash for entry in entries), ZERO)}


@given(day_books((SPY, KO, CALL)), methods)
def test_a_disallowed_loss_is_never_more_than_the_loss(entries, method):
    for each in books_of(entries, method).disposals:
        assert 0 <= each.wash <= max(-each.result, ZERO)


@given(day_books(), st.integers(2023, 2025))
def test_what_comes_later_changes_no_disposal_but_by_a_wash_sale(entries, year):
    earlier = [entry for entry in entries if entry.day.year <= year]
    whole, part = books_of(entries), books_of(earlier, until=year)
    known = [(each.lot, each.reference, each.units, each.result) for each in part.disposals]
    assert [(each.lot, each.reference, each.units, each.result) for each in whole.disposals][
        : len(known)
    ] == known


@given(day_books((SPY,), fee=st.just(ZERO)))
def test_first_in_first_out_is_that_of_the_desk(entries):
    lots = FifoLots()
    for entry in entries:
        lots.add(entry.units, -entry.cash / entry.units)
    gains = sum((each.result for each in without_washes(entries).disposals), ZERO)
    assert gains == pytest.approx(lots.realized, abs=D("1e-20"))


def without_washes(entries):
    """The same trades 31 days apart, each in its order: no wash sale moves a cost."""
    apart = [
        BookEntry(
            instrument=entry.instrument,
            ts_ns=at(FIRST) + 31 * DAY_NS * number,
            units=entry.units,
            cash=entry.cash,
            reference=entry.reference,
        )
        for number, entry in enumerate(entries)
    ]
    return books_of(apart)
