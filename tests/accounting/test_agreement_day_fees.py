"""Fees that a broker charges by the day and kind, against a desk that counts with each execution."""

from datetime import date
from decimal import ROUND_UP, Decimal

import pytest

from scalpdesk.accounting.agreement import ComparedSpan, LineVerdict, compare
from scalpdesk.accounting.journals import read_lines
from scalpdesk.accounting.statements import Movement, Statement, StatementTrade
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.intents import Side
from scalpdesk.core.units import DAY_NS
from scalpdesk.instruments.fees import ALPACA_FEES, FeeBook, trade_date
from scalpdesk_testing.kit.journaled_run import CALL, OPTION, SHARE, START_NS, Equity, Run

D = Decimal
DAYS = (
    # units below 0 are sold
    [(CALL, 10, "1.20"), (SHARE, -300, "60.00"), (CALL, -10, "1.45"), (SHARE, 300, "59.90")],
    [(SHARE, -7, "60.03")],
    [(CALL, 1, "0.35"), (CALL, 1, "0.36"), (CALL, -2, "0.31"), (SHARE, 45, "60.10"), (SHARE, -45, "60.30")],
)


def charged_lines(fills, day, at_ns):
    """Return the broker's lines of a day: its published rates of March 2024, each kind rounded up."""
    shares, contracts = (sum(abs(each[1]) for each in fills if each[0] is kind) for kind in (SHARE, CALL))
    sold = [(each[0], -each[1], D(each[2])) for each in fills if each[1] < 0]
    value = sum(units * price * (100 if number is CALL else 1) for number, units, price in sold)
    kinds = {
        "REG": value * D("8.00") / 1_000_000,
        "TAF": sum(units * D("0.00279" if number is CALL else "0.000166") for number, units, _ in sold),
        "ORF": contracts * D("0.02685"),
        "OCC": contracts * D("0.02"),
        "CAT": shares * D(0),
    }
    return [
        Movement(
            reference=f"{day}-{kind}",
            kind="FEE",
            cause=ChangeCause.FEE,
            cash=-total.quantize(D("0.01"), ROUND_UP),
            currency="USD",
            ts_ns=at_ns + DAY_NS,
            charges_day=day,
        )
        for kind, total in kinds.items()
        if total
    ]


@pytest.fixture
def days(tmp_path):
    """Return a run of three days at Alpaca, and the broker's honest trades and lines of them."""
    run, fees = Run(tmp_path, "a"), FeeBook(ALPACA_FEES)
    trades, lines = [], []
    for number, fills in enumerate(DAYS):
        run.now_ns = START_NS + number * DAY_NS
        day = trade_date(run.now_ns)
        for at, (which, units, price) in enumerate(fills):
            instrument = OPTION if which is CALL else Equity("KO")
            side = Side.BUY if units > 0 else Side.SELL
            terms = instrument, side, D(abs(units)), D(price)
            fee = fees.charge(f"{day}-{at}", *terms, order=f"o{number}{at}", ts_ns=run.now_ns)
            filled = run.fill(which, side.value, abs(units), price, fee, f"{day}-{at}")
            trades.append(
                StatementTrade(
                    execution=filled.execution_id,
                    symbol=instrument.symbol,
                    units=D(units),
                    price=filled.price,
                    currency="USD",
                    ts_ns=filled.ts_event_ns,
                )
            )
        lines += charged_lines(fills, day, run.now_ns)
    return run, trades, lines


def compared(run, trades, lines):
    span = ComparedSpan(START_NS - DAY_NS, START_NS + 9 * DAY_NS)
    statement = Statement(trades=trades, movements=lines, fees_apart=True)
    return compare(statement, read_lines([run.end()]), span)


def test_an_honest_statement_agrees_on_each_of_three_days(days):
    found = compared(*days)
    assert [line.verdict for line in found.lines if line.kind == "fees"] == [LineVerdict.AGREES] * 3
    assert found.agrees


def test_what_the_venue_charged_otherwise_for_a_day_is_in_that_days_fees(days):
    """The desk booked a day too high and was corrected: the statement agrees, and nothing is left over."""
    run, trades, lines = days
    first = lines[0]
    lines[0] = Movement(
        reference=first.reference,
        kind="FEE",
        cause=ChangeCause.FEE,
        cash=first.cash + D("0.02"),
        currency="USD",
        ts_ns=first.ts_ns,
        charges_day=first.charges_day,
    )
    run.now_ns = START_NS + 4 * DAY_NS
    run.change(SHARE, ChangeCause.FEE, 0, 0, "0.02", f"fee/{first.charges_day}")
    found = compared(run, trades, lines)
    assert found.agrees
    assert first.charges_day == date(2024, 3, 4)
