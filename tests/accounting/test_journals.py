"""The day book of journals: executions once, late fees, deliveries, splits, and cuts between runs."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.accounting.accountant import keep_books
from scalpdesk.accounting.entries import EntryKind
from scalpdesk.accounting.forms import tax_year
from scalpdesk.accounting.journals import read_day_book
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import AccountSnapshot, FillBusted, HeldPosition
from scalpdesk.core.units import DAY_NS
from scalpdesk.instruments.settlement import delivery
from scalpdesk_testing.kit.journaled_run import CALL, OPTION, SHARE, START_NS, Run

D = Decimal


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, "a")


def cash_of(book):
    return [(entry.kind, entry.units, entry.cash) for entry in book.entries]


def test_an_execution_counts_once_with_the_fee_that_was_reported_last(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.30", "e.1")
    run.event(filled)
    run.change(SHARE, ChangeCause.FEE, 0, 0, "-0.70", "fee/e.1")
    gone = run.fill(SHARE, "buy", 5, "61.00", "0.30")
    run.event(FillBusted(gone.client_order_id, *run.stamps(), gone.execution_id, "erroneous"))
    book = read_day_book([run.end()])
    assert cash_of(book) == [(EntryKind.TRADE, 10, D("-601.00"))]
    assert book.entries[0].reference == "a-1/e.1"
    assert book.income == []


def test_dividends_interest_and_fees_of_the_account_are_income(run):
    run.change(SHARE, ChangeCause.DIVIDEND, 0, 0, "4.85", "div-1")
    run.change(SHARE, ChangeCause.DIVIDEND, 0, 0, "4.85", "div-1")
    run.change(SHARE, ChangeCause.FEE, 0, 0, "-1.50", "market-data")
    book = read_day_book([run.end()])
    found = tax_year(keep_books(book.entries, until=2024), book.income, 2024).income
    assert [(row["cause"], row["cash"]) for row in found] == [("dividend", D("4.85")), ("fee", D("-1.50"))]


def test_an_assignment_reaches_the_shares_with_its_premium(run):
    run.fill(CALL, "sell", 1, "2.00", "0.65")
    for change in delivery(OPTION, CALL, SHARE, D(-1), *run.stamps()):
        run.event(change)
    books = keep_books(read_day_book([run.end()]).entries, until=2024)
    assert [(lot.units, lot.cash) for lot in books.open_lots] == [(-100, D("6199.35"))]


def test_a_split_and_a_renamed_option_keep_their_cost(run):
    run.fill(SHARE, "buy", 10, "60.00", "0")
    run.change(SHARE, ChangeCause.CORPORATE_ACTION, 10, 0, 0, "split", source=SHARE)
    books = keep_books(read_day_book([run.end()]).entries, until=2024)
    assert [(lot.units, lot.cash) for lot in books.open_lots] == [(20, -600)]


def test_a_converted_position_takes_its_lots_along(run):
    run.fill(SHARE, "buy", 10, "60.00", "0")
    run.fill(SHARE, "buy", 20, "66.00", "0")
    terms = {"source": SHARE, "source_change": D(-30)}
    run.change(CALL, ChangeCause.CORPORATE_ACTION, 60, 0, 0, "swap", **terms)
    books = keep_books(read_day_book([run.end()]).entries, until=2024)
    assert [(lot.instrument, lot.units, lot.cash) for lot in books.open_lots] == [
        (OPTION, 20, -600),
        (OPTION, 40, -1320),
    ]


@pytest.mark.parametrize(
    ("cause", "more"),
    [
        (ChangeCause.TRANSFER, {}),
        (ChangeCause.CORPORATE_ACTION, {"source": SHARE, "cost_fraction": D("0.3")}),
    ],
)
def test_what_has_a_cost_that_no_journal_knows_is_refused(run, cause, more):
    run.change(CALL, cause, 10, 0, 0, "moved", **more)
    with pytest.raises(DataError):
        read_day_book([run.end()])


def held_at_start(run, *lines):
    positions = tuple(HeldPosition(number, D(units), D(60)) for number, units in lines)
    run.event(AccountSnapshot(*run.stamps(), D(1000), positions))


def test_a_run_goes_on_with_the_lots_of_the_one_before(tmp_path):
    first = Run(tmp_path, "a")
    bought = first.fill(SHARE, "buy", 10, "60.00", "0.30")
    second = Run(tmp_path, "b", START_NS + DAY_NS)
    held_at_start(second, (SHARE, 10))
    second.event(bought)  # read again, of an order that this run did not send
    second.fill(SHARE, "sell", 10, "61.00", "0.30")
    book = read_day_book([second.end(), first.end()])  # whatever their order
    assert book.unread == []
    (sold,) = keep_books(book.entries, until=2024).disposals
    assert (sold.gain, sold.opened, sold.day) == (D("9.40"), date(2024, 3, 4), date(2024, 3, 5))


@pytest.mark.parametrize("held", [(), ((SHARE, 12),), ((SHARE, 10), (CALL, 1))])
def test_a_holding_that_no_lot_explains_is_refused(tmp_path, held):
    first, second = Run(tmp_path, "a"), Run(tmp_path, "b", START_NS + DAY_NS)
    first.fill(SHARE, "buy", 10, "60.00", "0.30")
    held_at_start(second, *held)
    with pytest.raises(DataError, match="begins with"):
        keep_books(read_day_book([first.end(), second.end()]).entries, until=2024)


def test_the_tables_are_those_of_the_year_however_it_is_cut_into_runs(tmp_path):
    trades = [
        ("buy", 10, 60),
        ("buy", 5, 66),
        ("sell", 12, 61),
        ("sell", 9, 64),
        ("buy", 6, 59),
        ("buy", 8, 58),
    ]

    def tables(cuts):
        runs, start = [], START_NS
        for number, (side, quantity, price) in enumerate(trades):
            if number in cuts or not runs:
                runs.append(Run(tmp_path, f"{sorted(cuts)}-{number}", start))
                start += DAY_NS
            runs[-1].now_ns = START_NS + number * 7 * DAY_NS
            runs[-1].fill(SHARE, side, quantity, price, "0.30", f"x{number}")
        book = read_day_book([each.end() for each in runs])
        year = tax_year(keep_books(book.entries, until=2024), book.income, 2024)
        names = "acquired", "sold", "proceeds", "cost", "adjustment", "gain"
        return [[row[name] for name in names] for row in year.form_8949], year.schedule_d

    whole = tables(set())
    assert len(whole[0]) >= 4
    assert any(row[4] for row in whole[0])
    for cuts in ({1}, {2, 4}, {1, 2, 3, 4, 5}):
        assert tables(cuts) == whole
