"""The calendar of P&L and the edge of a trade, by hand."""

from decimal import Decimal

import pytest

from scalpdesk.instruments.contract import Equity
from scalpdesk.report.fold import BookMark, Fill
from scalpdesk.report.pnl_calendar import NO_TRADE, DayResult, calendar_of
from scalpdesk.report.trade_edge import MarkedBook
from scalpdesk.report.trades import days_to_expiry
from scalpdesk_testing.kit.instruments import option

CENT = Decimal("0.01")
MINUTE = 60_000_000_000
LISTED = (option("C"), Equity("S"))
CALL = LISTED[0].symbol


def day(session, pnl, hours, vix=None):
    return DayResult(session, Decimal(pnl), {hour: Decimal(amount) for hour, amount in hours.items()}, vix)


def named(rows):
    return {row["name"]: row["pnl"] for row in rows}


def test_a_calendar_of_two_runs_by_hand():
    days = [
        day("2018-01-31", "10.00", {9: "4.004", 15: "5.996"}, 12.0),  # Wednesday
        day("2018-02-01", "-3.50", {10: "-3.50"}, 14.0),  # Thursday
        day("2018-02-07", "0.00", {}, 31.0),  # Wednesday
        day("2018-01-31", "5.00", {9: "5.00"}, 12.0),  # of another run
    ]
    trades = [
        (0, Decimal("12.004")),
        (0, Decimal(-4)),
        (45, Decimal(3)),
    ]
    found = calendar_of(days, trades, CENT)
    assert found["total"] == "11.50"
    assert named(found["days"]) == {"2018-01-31": "15.00", "2018-02-01": "-3.50", "2018-02-07": "0.00"}
    assert named(found["months"]) == {"2018-01": "15.00", "2018-02": "-3.50"}
    assert [row["name"] for row in found["weekdays"]] == ["Wednesday", "Thursday"]
    assert named(found["weekdays"]) == {"Wednesday": "15.00", "Thursday": "-3.50"}
    assert [(row["sessions"], row["hit_rate"]) for row in found["weekdays"]] == [(2, 1.0), (1, 0.0)]
    assert named(found["hours"]) == {"09:00": "9.00", "10:00": "-3.50", "15:00": "6.00"}
    assert named(found["days_to_expiry"]) == {"0": "8.00", "31 to 60": "3.00", NO_TRADE: "0.50"}
    assert [row["trades"] for row in found["days_to_expiry"]] == [2, 1, 0]
    assert [row["name"] for row in found["regimes"]] == ["VIX below 13", "VIX 13 to 17", "VIX 30 and above"]
    for table in ("days", "months", "weekdays", "hours", "days_to_expiry", "regimes"):
        assert sum(map(Decimal, named(found[table]).values())) == Decimal("11.50"), table


def test_a_calendar_of_nothing_is_empty():
    found = calendar_of([], [], CENT)
    assert found.pop("total") == "0"
    assert set(map(len, found.values())) == {0}


def fill(ts, symbol, side, quantity, price):
    return Fill(
        0, str(ts), str(ts), ts, ts, symbol, side, "open", Decimal(quantity), Decimal(price), Decimal(0)
    )


def mark(ts, change, spot, fees="0"):
    return BookMark(ts, Decimal(change), {"fees": Decimal(fees)}, spot, 0.0, 0.0)


def book(marks, fills, changes=(), underlying="S"):
    return MarkedBook(marks, fills, LISTED, changes, underlying)


T0 = 100 * MINUTE
FILLS = [
    fill(T0, CALL, "buy", 2, "3.00"),  # 600 paid, 1.30 of fees
    fill(T0 + 20_000_000_000, "S", "sell", 40, "200.00"),  # a hedge
    fill(T0 + 10 * MINUTE, CALL, "sell", 2, "3.50"),
]
MARKS = [
    mark(T0 - MINUTE, "0", 199.0),
    # half a dollar of spread a contract and the fee: worth 2.995 at the mark
    mark(T0 + 20_000_000_000, "-2.30", 200.0, "-1.30"),
    # a dollar up: options worth 720 at the mark, 40 shares short lost 40
    mark(T0 + MINUTE, "81", 201.0),
    mark(T0 + 9 * MINUTE, "5", 201.0),
    mark(T0 + 10 * MINUTE, "0", 201.0),
    mark(T0 + 40 * MINUTE, "0", 201.0),
]


def test_what_a_trade_was_worth_is_the_books_change_without_its_hedge_and_fees():
    found = book(MARKS, FILLS)
    closed = T0 + 10 * MINUTE
    worth, why = found.worth_after(T0, closed, 1)
    assert (worth, why) == (pytest.approx(-1 + 81 + 600 + 40), "")
    assert found.worth_after(T0, closed, 5) == (None, "no mark in the minute before")
    assert found.worth_after(T0, closed, 30)[1] == "closed by then"
    assert found.worth_after(T0, None, 60)[1] == "the run has no mark so late"
    other = book(MARKS, [*FILLS, fill(T0 + 1, "F", "buy", 1, "10")])
    assert other.worth_after(T0, closed, 1)[0] is None


def test_days_to_expiry_are_dates_of_new_york():
    opened = 1_517_879_700_000_000_000  # 2018-02-05 20:15 in New York
    assert days_to_expiry(opened, [1_517_950_800_000_000_000, 1_518_210_000_000_000_000]) == 1
