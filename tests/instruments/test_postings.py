"""Postings: what a fill, a bust and a change do to units, cash and income."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import AccountSnapshot, HeldPosition, PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.postings import Posting, of_bust, of_change, of_fill, of_snapshot, part_of

D = Decimal
SHARE = InstrumentId(0)
SPY, CALL = Equity("SPY"), us_option("SPY180305C00275000")


def change(cause, units=0, price=0, cash=0, **more):
    return PositionChanged(SHARE, 1, 2, ChangeCause(cause), D(units), D(price), D(cash), "c", **more)


@pytest.mark.rows(
    ("instrument", "units", "price", "cash"),
    [
        (SPY, 10, "500", "-5000.02"),
        (SPY, -10, "500", "4999.98"),
        (CALL, 2, "1.50", "-300.02"),
        (perpetual("BTC"), 100, "50000", "-0.0000"),  # 1,000 dollars bring 0.02 coin, and 0.02 is the fee
    ],
)
def test_a_fill_moves_units_against_cash_and_its_fee_and_a_bust_all_of_it_back(
    instrument, units, price, cash
):
    terms = SHARE, D(units), D(price), D("0.02"), Purpose.OPEN, "o/x", 7
    posting = of_fill(instrument, *terms, "a")
    assert (posting.owner, posting.units, posting.cash, posting.income) == ("a", units, D(cash), D("-0.02"))
    back = of_bust(posting, 9)
    assert (back.owner, back.reference, back.ts_ns, back.cause) == ("a", "o/x", 9, ChangeCause.BUST)
    assert (posting.units + back.units, posting.cash + back.cash, posting.income + back.income) == (0, 0, 0)


@pytest.mark.rows(
    ("event", "income"),
    [
        (change("dividend", cash="6"), "6"),
        (change("delivery", 100, "490", "-49000"), "0"),
        (change("cash_settlement", -3, "12", "35.50"), "-0.50"),
        (change("manual_trade", 10, "500", "-5001"), "-1"),
        (change("transfer", 4, "500"), "2000"),
        (change("corporate_action", 4, source=1, source_change=D(-2), cash="7"), "7"),
    ],
)
def test_income_is_the_cash_beyond_the_value_of_the_units(event, income):
    posting = of_change(SPY, event)
    assert (posting.cash, posting.income, posting.ts_ns) == (event.cash_change, D(income), 2)


def test_units_without_a_price_and_cash_come_out_of_the_holding_itself():
    posting = of_change(SPY, change("corporate_action", 10))
    assert (posting.source, posting.source_units, posting.income) == (SHARE, 0, 0)
    assert of_change(SPY, change("corporate_action", -1, "500", "500")).source is None


def test_the_parts_of_a_posting_sum_to_it():
    whole = of_change(CALL, change("cash_settlement", -3, "12", "3599"))
    parts = [part_of(whole, CALL, "a", D(-5), D("5999.50")), part_of(whole, CALL, "", D(2), D("-2400.50"))]
    assert [(part.owner, part.reference, part.income) for part in parts] == [
        ("a", "c", D("-0.50")),
        ("", "c", D("-0.50")),
    ]
    for name in ("units", "cash", "income"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)


def test_what_an_account_holds_at_the_start_comes_at_its_average_price():
    lines = (HeldPosition(SHARE, D(-5), D(490)), HeldPosition(InstrumentId(2), D(1), D(3)))
    first, second = of_snapshot(AccountSnapshot(1, 2, D(1_000), lines))
    assert first == Posting("", SHARE, D(-5), D(490), D(0), D(0), ChangeCause.TRANSFER, "snapshot-0", 2)
    assert (second.instrument_id, second.reference) == (2, "snapshot-2")
