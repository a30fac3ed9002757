"""Flex queries as the broker writes them, and what others' readers stumbled over, each with its report."""

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from scalpdesk.base import ChangeCause, DataError, from_ns
from scalpdesk_ibkr.statements import STATEMENTS

D = Decimal
NEW_YORK = ZoneInfo(STATEMENTS.zone)
HEAD = 'accountId="U1" fromDate="20240304" toDate="20240304" period="LastBusinessDay"'
TRADE = {
    "accountId": "U1",
    "currency": "USD",
    "assetCategory": "STK",
    "symbol": "KO",
    "tradeID": "2001",
    "transactionID": "1001",
    "dateTime": "20240304;103000",
    "transactionType": "ExchTrade",
    "quantity": "10",
    "tradePrice": "60.00",
    "ibCommission": "-0.35",
    "ibCommissionCurrency": "USD",
    "buySell": "BUY",
    "ibOrderID": "7",
    "ibExecID": "0000e0d5.65e5.01.01",
    "orderReference": "a-1",
    "notes": "",
    "levelOfDetail": "EXECUTION",
}


def row(tag, given=None, **changes):
    fields = {**(TRADE if given is None else given), **changes}
    return f"<{tag} " + " ".join(f'{name}="{value}"' for name, value in fields.items()) + "/>"


def flex(*rows, head=HEAD):
    inner = "".join(rows)
    text = (
        f"<FlexQueryResponse><FlexStatements><FlexStatement {head}>{inner}</FlexStatement></FlexStatements>"
    )
    return f"{text}</FlexQueryResponse>".encode()


def read(*rows, zone=NEW_YORK, **more):
    (found,) = STATEMENTS.read(flex(*rows, **more), zone)
    return found


def test_a_trade_has_the_ids_that_the_desk_knows_it_by():
    found = read(row("Trade"))
    (trade,) = found.trades
    assert (trade.execution, trade.order, trade.client_order) == ("0000e0d5.65e5.01.01", "7", "a-1")
    assert (trade.symbol, trade.units, trade.price, trade.fee) == ("KO", 10, D("60.00"), D("0.35"))
    assert from_ns(trade.ts_ns).strftime("%Y-%m-%dT%H:%M:%SZ") == "2024-03-04T15:30:00Z"
    assert (found.account, found.first, found.last) == ("U1", date(2024, 3, 4), date(2024, 3, 4))


@pytest.mark.rows("notes", ["FP;P", "P;RP", "O, P", "ZZ"])
def test_unknown_codes_and_attributes_refuse_nothing(notes):
    """ibflex refused a whole file for them: github.com/csingley/ibflex/issues/30, 37, 52, 74."""
    found = read(row("Trade", notes=notes, serialNumber="", positionActionID=""), "<Novelty a='1'/>")
    assert [trade.units for trade in found.trades] == [10]
    assert found.unread == []


def test_sums_beside_the_executions_count_nothing():
    """github.com/csingley/ibflex/issues/7: orders, symbols and asset classes stand in the same section."""
    sums = [row("Trade", levelOfDetail=level, quantity="10") for level in ("ORDER", "SYMBOL_SUMMARY")]
    others = [row(tag) for tag in ("Order", "SymbolSummary", "AssetSummary", "Lot")]
    assert len(read(row("Trade"), *sums, *others).trades) == 1


def cancel(**changes):
    usual = {
        "transactionType": "TradeCancel", "tradeID": "", "transactionID": "1002", "origTransactionID": "1001",
        "buySell": "BUY (Ca.)", "quantity": "-10", "ibCommission": "0", "ibExecID": "", "notes": "Ca",
    }  # fmt: skip
    return row("Trade", **{**usual, **changes})


@pytest.mark.rows(
    "changes",
    [
        {},
        {"origTransactionID": "", "origTradeID": "2001"},
        {"origTransactionID": "", "transactionType": "ExchTrade"},
    ],
)
def test_a_cancelled_and_rebooked_trade_counts_once_with_its_commission(changes):
    """github.com/portfolio-performance/portfolio/issues/5915 counted it twice; ib-edavki issues/55 and
    drnuke-bean pull/7 show cancellations that name the trade alone, or nothing but the order."""
    again = row("Trade", transactionID="1003", ibCommission="0", ibExecID="0000e0d5.65e5.01.02")
    found = read(row("Trade"), cancel(**changes), again)
    assert [(trade.execution, trade.units, trade.fee) for trade in found.trades] == [
        ("0000e0d5.65e5.01.02", 10, D("0.35"))
    ]
    assert (len(found.notes), found.unread) == (1, [])


def test_a_busted_trade_is_gone_and_its_commission_stays_a_fee_where_it_is_not_returned():
    """github.com/portfolio-performance/portfolio/pull/5586."""
    kept = read(row("Trade"), cancel())
    assert (kept.trades, [line.cash for line in kept.movements]) == ([], [D("-0.35")])
    returned = read(row("Trade"), cancel(ibCommission="0.35"))
    assert (returned.trades, returned.movements) == ([], [])


def test_a_cancellation_of_a_trade_of_an_earlier_statement_is_named():
    assert len(read(cancel()).unread) == 1


def test_a_commission_rebate_is_a_negative_fee():
    """github.com/GeneBO98/tradetally/issues/113 took the positive amount for a cost."""
    (trade,) = read(row("Trade", buySell="SELL", quantity="-700", ibCommission="0.35", taxes="-0.10")).trades
    assert (trade.units, trade.fee) == (-700, D("-0.25"))


@pytest.mark.rows(
    ("text", "zone", "at"),
    [
        ("20240304;103000", "America/New_York", "2024-03-04T15:30:00Z"),
        ("20240311,103000", "America/New_York", "2024-03-11T14:30:00Z"),
        ("2024-03-04;10:30:00", "Europe/Rome", "2024-03-04T09:30:00Z"),
        ("20240304 10:30:00 EST", "Europe/Rome", "2024-03-04T15:30:00Z"),
    ],
)
def test_times_are_in_the_reports_zone(text, zone, at):
    """github.com/LuxAlgo/trade-journal/issues/16 and portfolio-performance/portfolio/issues/4690: not UTC."""
    (trade,) = read(row("Trade", dateTime=text), zone=ZoneInfo(zone)).trades
    assert from_ns(trade.ts_ns).strftime("%Y-%m-%dT%H:%M:%SZ") == at


def test_a_trade_with_its_day_alone_says_so_and_an_ambiguous_day_is_not_guessed():
    """github.com/portfolio-performance/portfolio/pull/1201: fields of the time may be missing."""
    (trade,) = read(row("Trade", dateTime="", tradeDate="20240304")).trades
    assert not trade.has_time
    found = read(row("Trade", dateTime="04/03/2024;103000"), row("Trade"))
    assert (len(found.trades), len(found.unread)) == (1, 1)


OPTION = {"assetCategory": "OPT", "symbol": "KO    240304C00060000", "transactionType": "BookTrade"}


def test_ends_of_options_move_units_and_are_no_trades():
    """github.com/portfolio-performance/portfolio/pull/5201: rows at a price of 0 left zombie positions."""
    found = read(
        row("Trade", **OPTION, quantity="1", tradePrice="0", proceeds="0", ibCommission="0", notes="A"),
        row("Trade", transactionType="BookTrade", quantity="-100", proceeds="6000", ibCommission="0",
            notes="A", transactionID="1002", tradeID="2002"),
        row("Trade", **OPTION, quantity="2", tradePrice="0", proceeds="0", ibCommission="0", notes="Ep",
            transactionID="1003", tradeID="2003"),
        row("OptionEAE", {"symbol": OPTION["symbol"], "assetCategory": "OPT", "currency": "USD",
            "date": "20240304", "transactionType": "Expiration", "quantity": "2", "tradeID": "2003"}),
    )  # fmt: skip
    assert found.trades == []
    assert [(line.symbol, line.cause, line.units, line.cash) for line in found.movements] == [
        ("KO240304C00060000", ChangeCause.ASSIGNMENT, 1, 0),
        ("KO", ChangeCause.DELIVERY, -100, 6000),
        ("KO240304C00060000", ChangeCause.EXPIRED_WORTHLESS, 2, 0),
    ]


def test_the_section_of_ends_has_the_name_of_its_rows():
    """As the broker writes it: the container has no attribute, and its rows repeat those of the trades."""
    end = {"symbol": OPTION["symbol"], "assetCategory": "OPT", "currency": "USD", "date": "20240304",
           "transactionType": "Assignment", "quantity": "1", "tradePrice": "0.0000", "proceeds": "0.00",
           "commisionsAndTax": "0.00", "costBasis": "21,792.73"}  # fmt: skip
    booked = row("Trade", **OPTION, quantity="1", tradePrice="0", proceeds="0", ibCommission="0", notes="A")
    for names in ({"tradeID": "2001"}, {}, {"tradeID": ""}):
        inner = row("OptionEAE", {**end, **names})
        found = read("<Trades>", booked, "</Trades>", "<OptionEAE>", inner, "</OptionEAE>")
        assert (found.unread, [line.units for line in found.movements]) == ([], [1])
    alone = read("<Trades/>", "<OptionEAE>", row("OptionEAE", end), row("OptionEAE", end), "</OptionEAE>")
    assert (alone.unread, [line.units for line in alone.movements]) == ([], [1, 1])


LINE = {"accountId": "U1", "currency": "USD", "symbol": "KO", "assetCategory": "STK", "date": "20240304"}


@pytest.mark.rows(
    ("tag", "fields", "moved"),
    [
        ("CorporateAction", {"type": "FS", "quantity": "30", "amount": "0", "proceeds": "0"}, ("KO", 30, 0)),
        ("CorporateAction", {"type": "TC", "quantity": "-10", "proceeds": "425.50"}, ("KO", -10, D("425.5"))),
        ("Transfer", {"type": "ACATS", "direction": "OUT", "quantity": "-10"}, ("KO", -10, 0)),
        ("Transfer", {"type": "INTERNAL", "direction": "OUT", "symbol": "--", "quantity": "0",
                      "cashTransfer": "-25,000"}, ("", 0, -25_000)),
        ("TransactionTax", {"quantity": "10", "taxAmount": "-0.35", "tradeId": "9"}, ("KO", 0, D("-0.35"))),
        ("SalesTax", {"symbol": "", "taxableAmount": "-10", "salesTax": "-2"}, ("", 0, -2)),
    ],
)  # fmt: skip
def test_each_row_that_moves_units_or_cash_is_kept(tag, fields, moved):
    found = read("<Section>", row(tag, {**LINE, **fields}), "</Section>")
    assert [(line.symbol, line.units, line.cash) for line in found.movements] == [moved]
    assert found.unread == []


@pytest.mark.rows(
    ("tag", "fields"),
    [
        ("SLBFee", {"quantity": "100", "netLendFee": "2.10"}),
        ("FxTransaction", {"quantity": "-100", "proceeds": "92"}),
        ("CommissionCredit", {"amount": "1"}),
        ("DebitCardActivity", {"amount": "-12.50"}),
        ("NobodyKnows", {"netCash": "-25,000.00"}),
        ("CorporateAction", {"type": "SO", "quantity": "0", "proceeds": "0", "amount": "7"}),
        ("Trade", {**TRADE, "levelOfDetail": "ORDER"}),
        ("AssetSummary", {"quantity": "10"}),
        ("CashTransaction", {"type": "Dividends", "amount": "4", "levelOfDetail": "SUMMARY"}),
        ("OpenPosition", {"position": "10", "levelOfDetail": "LOT"}),
    ],
)
def test_a_row_that_nobody_reads_and_a_sum_without_its_rows_are_named(tag, fields):
    (named,) = read("<Section>", row(tag, {**LINE, **fields}), "</Section>").unread
    assert tag in named


def test_a_payment_of_an_earlier_day_is_of_the_day_on_which_it_was_booked():
    """A dividend that is corrected bears its first time: outside the statement's days nobody compares it."""
    cash = {"currency": "USD", "type": "Dividends", "amount": "-4", "dateTime": "20240212;202000"}
    (line,) = read(row("CashTransaction", cash, reportDate="20240304")).movements
    assert from_ns(line.ts_ns).date() == date(2024, 3, 4)


def test_what_values_and_accrues_moves_nothing_and_a_tax_counts_once():
    found = read(
        row("ChangeInNAV", {"depositsWithdrawals": "-25000", "salesTax": "1"}),
        row("ChangeInDividendAccrual", {**LINE, "quantity": "10", "netAmount": "4.85"}),
        row("ConversionRate", {"rate": "0.9"}),
        row("NobodyKnows", {"amount": "0", "fxRateToBase": "1", "feeRate": "0.4", "symbol": "KO"}),
        row("Trade", taxes="-0.35"),
        row("TransactionTax", {**LINE, "taxAmount": "-0.35", "tradeId": "2001"}),
    )
    assert (found.unread, found.movements) == ([], [])
    assert [trade.fee for trade in found.trades] == [D("0.70")]


def test_accounts_of_one_file_stay_apart():
    """github.com/portfolio-performance/portfolio/issues/5473 booked across accounts."""
    raw = flex(row("Trade")).replace(
        b"</FlexStatements>",
        b'<FlexStatement accountId="U2">' + row("Trade", quantity="3").encode() + b"</FlexStatement>"
        b"</FlexStatements>",
    )
    found = STATEMENTS.read(raw, NEW_YORK)
    assert [(each.account, each.trades[0].units) for each in found] == [("U1", 10), ("U2", 3)]


def test_cash_positions_and_balances():
    """github.com/vroonhof/opensteuerauszug/issues/218 and 436: short options; interest paid and charged."""
    cash = {"currency": "USD", "dateTime": "20240304", "levelOfDetail": "DETAIL"}
    found = read(
        row("CashTransaction", cash, type="Broker Interest Paid", amount="-1.20", transactionID="5"),
        row("CashTransaction", cash, type="Dividends", amount="4.85", symbol="KO", assetCategory="STK"),
        row("CashTransaction", cash, type="New Kind", amount="-2"),
        row("CashTransaction", {**cash, "levelOfDetail": "SUMMARY"}, type="Dividends", amount="4.85"),
        "<OpenPositions>",
        row("OpenPosition", {**OPTION, "position": "-12", "levelOfDetail": "SUMMARY"}),
        row("OpenPosition", {**OPTION, "position": "-12", "levelOfDetail": "LOT"}),
        "</OpenPositions>",
        row("CashReportCurrency", {"currency": "BASE_SUMMARY", "endingCash": "1"}),
        row("CashReportCurrency", {"currency": "USD", "endingCash": "9,399.65"}),
    )
    assert [(line.cause, line.symbol, line.cash) for line in found.movements] == [
        (ChangeCause.INTEREST, "", D("-1.20")),
        (ChangeCause.DIVIDEND, "KO", D("4.85")),
        (None, "", -2),
    ]
    assert (found.positions, found.has_all_positions) == ({"KO240304C00060000": -12}, True)
    assert found.cash == {"USD": D("9399.65")}


def test_a_trade_confirmation_has_other_names_for_the_same():
    fields = {
        "currency": "USD", "assetCategory": "FUT", "symbol": "ESH4", "underlyingSymbol": "ES",
        "expiry": "20240315", "dateTime": "20240304;103000", "transactionType": "ExchTrade", "quantity": "-1",
        "price": "5100.25", "commission": "-2.25", "commissionCurrency": "USD",
        "execID": "e.1", "orderID": "9", "levelOfDetail": "EXECUTION", "code": "O",
    }  # fmt: skip
    (trade,) = read(row("TradeConfirm", fields)).trades
    assert (trade.execution, trade.order, trade.symbol, trade.price) == (
        "e.1",
        "9",
        "ES_202403",
        D("5100.25"),
    )
    assert (trade.units, trade.fee) == (-1, D("2.25"))


@pytest.mark.rows("change", [{"quantity": "x"}, {"quantity": "NaN"}, {"tradePrice": ""}])
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_read(change):
    found = read(row("Trade", **change), row("Trade"))
    assert (len(found.trades), len(found.unread)) == (1, 1)


def test_a_commission_in_another_currency_is_named():
    found = read(row("Trade", ibCommissionCurrency="EUR"))
    assert ([trade.fee for trade in found.trades], len(found.unread)) == ([0], 1)


@pytest.mark.rows(
    "raw",
    [
        b"no statement",
        b"<FlexQueryResponse/>",
        b"<FlexStatementResponse><ErrorMessage>wait</ErrorMessage></FlexStatementResponse>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><FlexQueryResponse/>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><FlexQueryResponse/>',
    ],
)
def test_what_is_no_statement_is_refused(raw):
    with pytest.raises(DataError):
        STATEMENTS.read(raw, NEW_YORK)
